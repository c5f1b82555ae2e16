"""WeightNet2d: a kernel for each example, made by a grouped linear layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from halves import GLUON, both, noise
from reference import check, close, multiply_adds, ways

from d2lutils.compat import mx
from d2lutils.gpu_report.equations import weightnet

Settings = dict[str, Any]


SETTINGS: list[tuple[int, int, Settings]] = [
    (6, 3, {"stride": 2, "padding": 1, "reduction": 2}),
    (6, 3, {"M": 1, "G": 1, "reduction": 4}),
    (6, 3, {"M": 6, "G": 3, "reduction": 1}),
    (6, 1, {"M": 4, "G": 4, "reduction": 2}),
    (4, 3, {"M": 3, "G": 3, "reduction": 2, "depthwise": True, "padding": 1}),
]


@ways
@pytest.mark.parametrize(("outputs", "size", "settings"), SETTINGS)
def test_equation(way: str, outputs: int, size: int, settings: Settings) -> None:
    check(
        way,
        lambda h: h.weightnet.WeightNet2d(4, outputs, size, **settings),
        lambda w, x: weightnet(w, x, outputs, size, settings),
        (3, 4, 7, 6),
        batches=(3, 1),
    )


@both
def test_its_relatives(half: Any) -> None:
    """With given numbers it is a gate behind or before a kernel, or CondConv.

    The chapter on the one idea of all three shows why, and where it ends.
    """
    x, kernel = (
        noise(*shape, dtype="float64") for shape in ((3, 4, 7, 5), (6, 4, 3, 3))
    )
    experts = noise(5, 6, 4, 3, 3, seed=2, dtype="float64")
    behind, before, shares = (noise(3, n, seed=n, dtype="float64") for n in (6, 4, 5))

    def plain(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        return torch.conv2d(torch.tensor(x), torch.tensor(w), padding=1).numpy()

    one = kernel.reshape(-1, 1, 1, 1)
    five = experts.reshape(5, -1).T.reshape(-1, 5, 1, 1)
    mixed = [share[:, None, None, None, None] * experts for share in shares]
    pairs = zip(x[:, None], mixed, strict=True)
    for M, G, weight, alpha, wanted in (
        (1, 1, one, behind, plain(x, kernel) * behind[:, :, None, None]),
        (4, 4, one, np.tile(before, 6), plain(x * before[:, :, None, None], kernel)),
        (
            *(5, 1, five, np.tile(shares, 6)),
            np.concatenate([plain(a, kernels.sum(0)) for a, kernels in pairs]),
        ),
    ):
        net = half.weightnet.WeightNet2d(4, 6, 3, padding=1, M=M, G=G, reduction=2)
        half.double(half.ready(net))
        half.fill(net.generated.linear.weight, weight)
        close(half.output(net, x, alpha), wanted, 1e-12)


@both
@pytest.mark.parametrize("depthwise", [False, True])
def test_starts_as_a_plain_convolution(half: Any, depthwise: bool) -> None:
    """Uniform up to 1 / sqrt(fan-in) of the kernel that is made."""
    half.seed(0)
    net = half.weightnet.WeightNet2d(64, 64, 3, M=6, G=3, depthwise=depthwise)
    if half is GLUON:
        net.initialize(mx.init.Xavier())  # which is for the other layers
    bound = 1 / np.sqrt(9 if depthwise else 64 * 9)
    (weights,) = half.weights(net.generated)
    assert abs(weights.std() / (bound / np.sqrt(3)) - 1) < 0.03
    assert 0.99 * bound < np.abs(weights).max() <= bound * (1 + 1e-6)


@both
@pytest.mark.parametrize("depthwise", [False, True])
def test_multiply_adds(half: Any, depthwise: bool) -> None:
    """Numbers, kernel and convolution of each example; here with a stride."""
    work = multiply_adds(
        half,
        lambda h: h.weightnet.WeightNet2d(
            *(32, 32, 3, 2, 1), M=6, G=3, depthwise=depthwise
        ),
        *(2, 32, 9, 6),
    )
    kernel = 32 * (1 if depthwise else 32) * 9
    alpha = 32 * 2 + 2 * 6 * 32
    assert work == 2 * (alpha + kernel * 6 // 3 + 5 * 3 * kernel)
