"""ConvChunk: convolution, batch norm, ReLU, in this order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from halves import GLUON, both, made, noise
from reference import check, close, ways

from d2lutils.gpu_report.equations import chunk

SIZES = {1: (9,), 2: (7, 6)}


@ways
@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize(
    ("size", "stride", "padding", "pad", "options"),
    [
        (3, 1, "same", 1, {}),
        (3, 2, "same", 1, {"relu": False}),
        (4, 3, 2, 2, {"bias": True}),
        (2, 1, "valid", 0, {"bias": True, "relu": False}),
    ],
)
def test_equation(
    way: str, size: int, stride: int, padding: Any, pad: int, options: Any, rank: int
) -> None:
    def build(half: Any) -> Any:
        chunk = half.blocks.ConvChunk
        return chunk(2, 8, size, stride, padding, rank=rank, **options)

    o = options | {"stride": stride, "pad": pad}
    check(way, build, lambda w, x: chunk(w, x, 8, size, o), (3, 2, *SIZES[rank]))


@both
def test_running_statistics(half: Any) -> None:
    """A tenth of the way to the batch's; PyTorch's variance is that of a sample."""
    net = made(half, lambda half: half.blocks.ConvChunk(2, 8, 3, rank=2))
    half.double(net)
    x = noise(3, 2, 7, 6, dtype="float64")
    z = half.output(net.conv, x)
    count = z.size // 8
    factor = 1 if half is GLUON else count / (count - 1)
    batch = z.mean((0, 2, 3)), z.var((0, 2, 3)) * factor

    def statistics() -> list[np.ndarray]:
        values = (net.norm.running_mean, net.norm.running_var)
        return [half.value(v) for v in values]

    before = statistics()
    half.gradients(net, x)
    for old, new, moved in zip(before, batch, statistics(), strict=True):
        close(moved, 0.9 * old + 0.1 * new, 1e-7)
