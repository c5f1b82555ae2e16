"""SqueezeExcite: each channel times a gate that the example chooses."""

from __future__ import annotations

from typing import Any

import pytest
from halves import both
from reference import check, multiply_adds, ways

from d2lutils.gpu_report.equations import squeeze_excite


@ways
@pytest.mark.parametrize("reduction", [1, 2, 3, 8])
def test_equation(way: str, reduction: int) -> None:
    check(
        way,
        lambda half: half.squeeze_excite.SqueezeExcite(8, reduction),
        lambda w, x: squeeze_excite(w, x, reduction),
        (4, 8, 5, 3),
    )


@both
def test_multiply_adds(half: Any) -> None:
    """Two linear layers; the multiplication by the gate is not counted."""
    work = multiply_adds(
        half, lambda h: h.squeeze_excite.SqueezeExcite(32), 2, 32, 5, 7
    )
    assert work == 2 * 2 * 32 * 2
