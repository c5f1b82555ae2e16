"""The tests that every chapter's exercises need, made of its answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from without_mxnet import judged


def tests(
    right: Mapping[str, Sequence[Any]],
    wrong: Mapping[str, Sequence[tuple[Any, str]]],
) -> tuple[Callable[..., None], Callable[..., None]]:
    """Tests that right answers pass and that wrong ones are told why they are wrong.

    `right` has answers by exercise; the solution in the notebook, whose stored output
    says that it passed, need not be among them. `wrong` has pairs of an answer and
    words of the reason.
    """

    @pytest.mark.parametrize(
        ("name", "answer"), [(n, a) for n, answers in right.items() for a in answers]
    )
    def test_right(name: str, answer: Any) -> None:
        result = judged(name, answer)
        assert result.passed, result.message
        assert int(result.message.split("(")[1].split()[0]) >= 3  # hidden inputs

    @pytest.mark.parametrize(
        ("name", "answer", "why"),
        [(n, *case) for n, cases in wrong.items() for case in cases],
    )
    def test_wrong(name: str, answer: Any, why: str) -> None:
        result = judged(name, answer)
        assert result.attempted
        assert not result.passed
        assert result.message.startswith(f"{name}: not yet. ")
        assert why in result.message
        assert " at 0x" not in result.message
        assert "\n" not in result.message

    return test_right, test_wrong
