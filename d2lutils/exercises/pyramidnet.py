"""The checks of the chapter `pyramidnet`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from d2lutils.exercises import by_reference
from d2lutils.shapes import pyramid_widths


def _parameters(widths: Sequence[int]) -> int:
    """Parameters of a basic PyramidNet: 3 input channels, a stem of 16, 10 classes."""
    total, last = 29 * 16, 16
    for width in widths:
        total += 9 * width * (last + width) + 2 * last + 4 * width
        last = width
    return total + 12 * last + 10


@by_reference((20, 48), (110, 48), (110, 84), (110, 270), (14, 5), (8, 7))
def pyramid_running_floor(depth: int, alpha: int) -> list[int]:
    widths, width = [], 16
    blocks = (depth - 2) // 2
    for _ in range(blocks):
        width = (width * blocks + alpha) // blocks
        widths.append(width)
    return widths


@by_reference(
    (20, 1_000_000), (14, 50_000), (110, 2_000_000), (20, 310_845), (20, 310_846)
)
def pyramid_smallest_alpha(depth: int, at_least: int) -> int:
    return next(
        alpha
        for alpha in count(1)
        if _parameters(pyramid_widths(depth, alpha)) >= at_least
    )
