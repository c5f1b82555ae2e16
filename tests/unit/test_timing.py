"""Interleaved timing, on a clock that the test turns itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from d2lutils import timing
from d2lutils.timing import Timing, interleaved


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
    assert clock.calls == ["slow", "fast"] * 5
    assert result["slow"] == Timing(median=5, low=2.5, high=7.5, runs=4)
    assert result["fast"] == Timing(median=1, low=1, high=1, runs=4)
    assert result["slow"].ratio(result["fast"]) == 5
    assert result["fast"].ratio(result["slow"]) == 0.2


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
