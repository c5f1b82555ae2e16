"""The three tests that every chapter's exercises need, made of its answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from without_mxnet import judged


def stub(*_arguments: Any) -> Any:
    """What a reader finds in the chapter."""
    raise NotImplementedError


def tests(
    right: Mapping[str, Sequence[Any]],
    wrong: Mapping[str, Sequence[tuple[Any, str]]],
) -> tuple[Callable[..., None], Callable[..., None], Callable[..., None]]:
    """Tests that stubs are not attempted, right answers pass, wrong ones are told why.

    `right` has answers by exercise, `wrong` pairs of an answer and words of the reason.
    """

    @pytest.mark.parametrize("name", right)
    def test_stub_is_not_attempted(name: str) -> None:
        result = judged(name, stub)
        assert not result.passed
        assert not result.attempted

    @pytest.mark.parametrize(
        ("name", "answer"), [(n, a) for n, answers in right.items() for a in answers]
    )
    def test_right_answer_passes(name: str, answer: Any) -> None:
        result = judged(name, answer)
        assert result.passed, result.message

    @pytest.mark.parametrize(
        ("name", "answer", "why"),
        [(n, *case) for n, cases in wrong.items() for case in cases],
    )
    def test_wrong_answer_is_rejected(name: str, answer: Any, why: str) -> None:
        result = judged(name, answer)
        assert not result.passed
        assert result.attempted
        assert why in result.message

    return (
        test_stub_is_not_attempted,
        test_right_answer_passes,
        test_wrong_answer_is_rejected,
    )
