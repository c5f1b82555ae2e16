"""The history of a run, schedules, and the progress bar."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2lutils import _training as history
from d2lutils._training import History


def test_plain_data() -> None:
    run = History("gluon", "cpu(0)", [2.0, 1.0], [0.25, 0.5], [0.5, 0.75], 1.5, True)
    assert run.epochs == 2
    plain = json.loads(json.dumps(run.as_dict()))
    assert plain == {
        "framework": "gluon",
        "device": "cpu(0)",
        "train_loss": [2.0, 1.0],
        "train_accuracy": [0.25, 0.5],
        "test_accuracy": [0.5, 0.75],
        "seconds": 1.5,
        "finished": True,
    }


@given(st.integers(0, 3), st.integers(0, 1), st.integers(0, 1))
def test_trim_keeps_complete_epochs(epochs: int, more: int, tested: int) -> None:
    run = History("gluon", "cpu")
    run.train_loss = [float(i) for i in range(epochs + more)]
    run.train_accuracy = [float(i) for i in range(epochs)]
    run.test_accuracy = [float(i) for i in range((epochs + more) * tested)]
    run.trim()
    assert run.train_loss == run.train_accuracy == [float(i) for i in range(epochs)]
    assert run.test_accuracy == run.train_loss[: epochs * tested]


def test_schedules() -> None:
    assert [history.constant(p) for p in (0, 0.3, 1)] == [1, 1, 1]
    assert [history.cosine(p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    falling = [history.cosine(i / 20) for i in range(21)]
    assert falling == sorted(falling, reverse=True)


def test_schedule_by_name_or_function() -> None:
    assert history.schedule_of("fit", "cosine") is history.cosine
    assert history.schedule_of("fit", "constant") is history.constant

    def own(progress: float) -> float:
        return 1 - progress

    assert history.schedule_of("fit", own) is own


def test_position_counts_batches_where_it_can() -> None:
    assert history.position(3, 0, [None] * 4) == 3
    assert history.position(3, 2, [None] * 4) == 3.5
    assert history.position(3, 2, iter(())) == 3


class TestProgressBar:
    def test_off(self) -> None:
        items = range(3)
        assert history.progress_bar(items, "Gluon", False) is items

    def test_on(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert list(history.progress_bar(range(3), "Gluon", True)) == [0, 1, 2]
        captured = capsys.readouterr()
        assert "Gluon: 100%" in captured.err
        assert captured.out == ""

    @pytest.mark.parametrize(
        ("terminal", "stored", "shown"),
        [(True, "", True), (True, "1", False), (False, "", False)],
    )
    def test_by_default(
        self, terminal: bool, stored: str, shown: bool, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
        monkeypatch.setenv("D2L_STORED_OUTPUTS", stored)
        monkeypatch.delitem(history.sys.modules, "ipykernel", raising=False)
        items = range(0)
        bar = history.progress_bar(items, "Gluon", None)
        assert (bar is not items) == shown
        if shown:
            bar.close()

    def test_in_a_live_notebook(self, monkeypatch: Any) -> None:
        monkeypatch.setitem(history.sys.modules, "ipykernel", history)
        monkeypatch.delenv("D2L_STORED_OUTPUTS", raising=False)
        items = range(0)
        bar = history.progress_bar(items, "Gluon", None)
        assert bar is not items
        bar.close()
