"""The checks of the chapter `nin`."""

from __future__ import annotations

from typing import Any

import numpy as np

from d2lutils.exercises import (
    by_property,
    by_reference,
    require,
    require_same,
    require_shape,
    wave,
)
from d2lutils.shapes import NIN, chain_sizes

_SIZES = ((2, 3, 4, 5, 6), (1, 1, 3, 4, 2), (3, 5, 1, 1, 7))  # N, I, O, H, W


@by_reference(
    *(
        (wave(o, i, 1, 1), wave(o, step=0.7), wave(n, i, h, w, step=1.1))
        for n, i, o, h, w in _SIZES
    ),
    atol=1e-6,
)
def nin_pointwise(weight: np.ndarray, bias: np.ndarray, x: np.ndarray) -> np.ndarray:
    y = np.einsum("oi,nihw->nohw", weight[:, :, 0, 0], x)
    return y + bias[:, None, None]


@by_reference((224, 4096), (67, 4096), (227, 1024), (448, 512))
def nin_head_mib(n: int, hidden: int) -> float:
    flat = 384 * chain_sizes(n, NIN)[-1] ** 2
    numbers = (flat + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * 10
    return 4 * numbers / 2**20


@by_property(
    (wave(2, 3, 4, 5),),
    (wave(3, 1, 5, 2),),
    (wave(1, 4, 3, 3),),
    (np.repeat(wave(2, 3, 4, 1), 4, axis=3),),  # every row is constant
)
def nin_bag_of_pixels(answer: Any, x: np.ndarray) -> None:
    got = np.asarray(answer(x.copy()))
    require_shape(x.shape, got)
    moved = not any(np.array_equal(a, b) for a, b in zip(got, x, strict=True))
    require(moved, "an image came back as it was")
    for net in range(5):
        one, two = got, x
        for width in (8, 8, 10):
            matrix = wave(width, one.shape[1], step=1.1 + net)
            bias = wave(width, 1, 1, step=0.7 + net)
            one, two = (
                np.maximum(np.einsum("oi,nihw->nohw", matrix, z) + bias, 0)
                for z in (one, two)
            )
        wrong = "a net of 1x1 convolutions tells the two apart"
        require_same(two.mean((2, 3)), one.mean((2, 3)), wrong)
