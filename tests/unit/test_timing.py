"""Interleaved timing, on a clock that the test turns itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from d2lutils import timing
from d2lutils.timing import Timing, interleaved, stored

ROOT = Path(__file__).resolve().parents[2]
SUITES = sorted(path.stem for path in (ROOT / "d2lutils/results").glob("*.json"))


class Clock:
    """Time passes only where a candidate says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def candidate(self, name: str, *seconds: float) -> Callable[[], None]:
        taken = iter(seconds)

        def run() -> None:
            self.calls.append(name)
            self.now += next(taken)

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock.now)
    return clock


def test_in_turn_without_the_warm_up(clock: Clock) -> None:
    candidates = {
        "slow": clock.candidate("slow", 100, 4, 2, 8, 6),
        "fast": clock.candidate("fast", 100, 1, 1, 1, 1),
    }
    result = interleaved(candidates, repeat=4, warmup=1)
    rounds = [tuple(clock.calls[i : i + 2]) for i in range(0, 10, 2)]
    assert all(sorted(names) == ["fast", "slow"] for names in rounds)
    assert result["slow"] == Timing(median=5, low=2.5, high=7.5, runs=4)
    assert result["fast"] == Timing(median=1, low=1, high=1, runs=4)
    assert result["slow"].ratio(result["fast"]) == 5
    assert result["fast"].ratio(result["slow"]) == 0.2


def test_each_candidate_goes_first_sometimes(clock: Clock) -> None:
    candidates = {name: clock.candidate(name, *(1,) * 30) for name in "abc"}
    interleaved(candidates, repeat=30, warmup=0)
    rounds = [tuple(clock.calls[i : i + 3]) for i in range(0, 90, 3)]
    assert {names[0] for names in rounds} == set("abc")
    assert len(set(rounds)) == 6


def test_waits_before_and_after_each_call(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait() -> None:
        clock.calls.append("wait")
        clock.now += 0.5  # work that was still under way

    monkeypatch.setattr(timing, "synchronize", wait)
    result = interleaved({"a": clock.candidate("a", 1, 1, 1)}, repeat=3, warmup=0)
    assert clock.calls == ["wait", "a", "wait"] * 3
    # The wait after a call belongs to it, the one before does not.
    assert result["a"].median == 1.5


def test_waits_for_the_frameworks_that_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[str] = []
    array = SimpleNamespace(waitall=lambda: waits.append("mxnet"))
    cuda = SimpleNamespace(is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "mxnet", SimpleNamespace(nd=array))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    timing.synchronize()
    assert waits == ["mxnet"]
    monkeypatch.delitem(sys.modules, "mxnet")
    monkeypatch.delitem(sys.modules, "torch")
    timing.synchronize()
    assert waits == ["mxnet"]


def test_real_clock() -> None:
    result = interleaved({"nothing": lambda: None}, repeat=3)["nothing"]
    assert 0 < result.low <= result.median <= result.high
    assert result.runs == 3


@pytest.mark.parametrize(
    ("candidates", "options", "error", "text"),
    [
        ({}, {}, ValueError, "give at least one candidate and repeat of at least 3"),
        ({"a": print}, {"repeat": 2}, ValueError, "got 1 and 2"),
        ({"a": print}, {"repeat": 3.0}, TypeError, "repeat must be an integer"),
        ({"a": print}, {"warmup": -1}, ValueError, "warmup must be at least 0, got -1"),
        ({"a": 3}, {}, TypeError, "candidates['a'] is not callable"),
        ([print], {}, TypeError, "candidates must be"),
    ],
)
def test_refused(
    candidates: Any, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        interleaved(candidates, **options)
    assert str(caught.value).startswith("interleaved: ")
    assert text in str(caught.value)


@pytest.mark.parametrize("suite", SUITES)
def test_stored(suite: str) -> None:
    """What a chapter relies on is in every suite that is stored."""
    result = stored(suite)
    assert result == json.loads((ROOT / f"d2lutils/results/{suite}.json").read_text())
    more = {"seconds", "budget_seconds", "condconv", "parts"}
    wanted = {"date", "machine", "cases"} | (more if suite == "gpu" else set())
    assert set(result) == wanted
    assert {"processor", "cores", "python", "versions"} <= set(result["machine"])
    assert result["cases"]
    for case in result["cases"]:
        rows = {row["name"]: row for row in case["rows"]}
        assert len(rows) == len(case["rows"])
        assert rows[case["base"]]["ratio"] == 1
        for row in rows.values():
            low, high = row["ms_quartiles"]
            assert 0 < low <= row["ms"] <= high
            ratio = row["ms"] / rows[case["base"]]["ms"]
            assert row["ratio"] == pytest.approx(ratio, rel=5e-3, abs=1e-3)
            assert row["runs"] >= 3


def test_the_suites_that_chapters_draw() -> None:
    assert {"shortcuts", "pyramidnet"} <= set(SUITES)
    cases = {suite: stored(suite)["cases"] for suite in SUITES}
    # Two frameworks, four sizes, forward and both; a whole step in each framework.
    assert len(cases["shortcuts"]) == 16
    assert len(cases["pyramidnet"]) == 2
    for case in cases["shortcuts"] + cases["pyramidnet"]:
        assert any(row["name"] == "add_zero_padded" for row in case["rows"])


@pytest.mark.parametrize(
    "suite", ["nothing", "", "../results/shortcuts", "shortcuts.json", None, 3, []]
)
def test_stored_refuses(suite: Any) -> None:
    with pytest.raises(ValueError, match=r"^stored: suite must be one of ") as caught:
        stored(suite)
    listed = ", ".join(repr(name) for name in SUITES)
    assert str(caught.value) == f"stored: suite must be one of {listed}, got {suite!r}"
