"""The rules of stochastic depth: their end points, and what survives on average."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2lutils.shapes import RULES, drop_probs, expected_blocks

BLOCKS = st.integers(1, 200)
PROBS = st.floats(0, 1)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("paper", [0.125, 0.25, 0.375, 0.5]),
        ("from zero", [0, 0.125, 0.25, 0.375]),
        ("end to end", [0, 0.5 / 3, 1 / 3, 0.5]),
        ("constant", [0.5] * 4),
    ],
)
def test_by_hand(rule: str, expected: list[float]) -> None:
    assert drop_probs(4, 0.5, rule) == pytest.approx(expected, abs=1e-15)


@given(BLOCKS, PROBS)
def test_end_points(blocks: int, p: float) -> None:
    """(the first block's, the last block's) of each rule."""
    ends = {rule: drop_probs(blocks, p, rule) for rule in RULES}
    assert {len(probs) for probs in ends.values()} == {blocks}
    first = {rule: probs[0] for rule, probs in ends.items()}
    last = {rule: probs[-1] for rule, probs in ends.items()}
    assert first["paper"] == pytest.approx(p / blocks)
    assert last["paper"] == pytest.approx(p)
    assert first["from zero"] == 0
    assert last["from zero"] == pytest.approx(p * (blocks - 1) / blocks)
    assert first["end to end"] == 0
    assert last["end to end"] == pytest.approx(p if blocks > 1 else 0)
    assert first["constant"] == last["constant"] == p
    for probs in ends.values():
        assert all(0 <= q <= 1 for q in probs)
        assert all(type(q) is float for q in probs)
        steps = np.diff(probs)
        assert np.allclose(steps, steps[:1], rtol=0, atol=1e-12)  # linear


@given(BLOCKS)
def test_expected_blocks(blocks: int) -> None:
    assert expected_blocks(54, 0.5) == 40.25  # of the 110 layers in the paper
    assert expected_blocks(blocks, 0.5) == pytest.approx((3 * blocks - 1) / 4)
    assert expected_blocks(blocks, 0.0) == blocks
    assert expected_blocks(blocks, 1.0, "constant") == 0
    assert expected_blocks(blocks, 0.5, "from zero") == pytest.approx(
        (3 * blocks + 1) / 4
    )


RULE = (
    "rule must be one of 'paper', 'from zero', 'end to end', 'constant', got 'linear'"
)


@pytest.mark.parametrize("function", [drop_probs, expected_blocks])
@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((0, 0.5), ValueError, "num_blocks must be at least 1, got 0"),
        ((4.0, 0.5), TypeError, "num_blocks must be an integer, got 4.0"),
        ((4, 1.5), ValueError, "drop_prob must be at least 0 and at most 1, got 1.5"),
        ((4, "0.5"), TypeError, "drop_prob must be a number, got '0.5'"),
        ((4, 0.5, "linear"), ValueError, RULE),
    ],
)
def test_refused(function: Any, arguments: Any, error: Any, text: str) -> None:
    with pytest.raises(error) as caught:
        function(*arguments)
    assert str(caught.value) == f"drop_probs: {text}"
