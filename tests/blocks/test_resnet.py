"""ResNet for CIFAR, with gates or conditional convolutions in its blocks."""

from __future__ import annotations

from typing import Any

import pytest
from halves import both
from reference import (
    Weights,
    check,
    multiply_adds,
    parameters,
    ways,
    zeros_behind,
)
from test_condconv import cond_conv
from test_squeeze_excite import squeeze_excite

Settings = dict[str, Any]


def conv(w: Weights, x: Any, channels: int, stride: int, o: Settings) -> Any:
    if "num_experts" not in o:
        return w.conv(x, channels, 3, stride=stride, padding=1)
    window = {"stride": stride, "padding": 1, "bias": False}
    return cond_conv(w, x, channels, 3, o["num_experts"], window)


def unit(w: Weights, x: Any, channels: int, stride: int, o: Settings) -> Any:
    """He et al., 2015, figure 2; the gate: Hu et al., 2018, figure 3."""
    y = w.norm(conv(w, x, channels, stride, o)).relu()
    y = w.norm(conv(w, y, channels, 1, o))
    if "reduction" in o:
        y = squeeze_excite(w, y, o["reduction"])
    if x.shape == y.shape:
        shortcut = x
    elif o.get("shortcut") == "zeros":
        shortcut = zeros_behind(x[:, :, ::stride, ::stride], channels)
    else:
        shortcut = w.norm(w.conv(x, channels, 1, stride=stride))
    return (y + shortcut).relu()


def resnet(w: Weights, x: Any, depth: int, classes: int, o: Settings) -> Any:
    """Section 4.2: n blocks each of 16, 32 and 64 channels, the map halved twice."""
    x = w.norm(w.conv(x, 16, 3, padding=1)).relu()
    for group, channels in enumerate((16, 32, 64)):
        for i in range((depth - 2) // 6):
            x = unit(w, x, channels, 2 if group and not i else 1, o)
    return w.linear(x.mean((2, 3)), classes)


OPTIONS: list[Settings] = [
    {},
    {"shortcut": "zeros"},
    {"reduction": 8},
    {"num_experts": 2},
    {"num_experts": 3, "reduction": 16, "shortcut": "zeros"},
]


@ways
@pytest.mark.parametrize("o", OPTIONS, ids=str)
def test_equation(way: str, o: Settings) -> None:
    check(
        way,
        lambda half: half.resnet.ResNet(8, 5, 2, dropout=0.0, **o),
        lambda w, x: resnet(w, x, 8, 5, o),
        (6, 2, 9, 8),
        bound=1e-8,
    )


@both
@pytest.mark.parametrize(
    ("o", "count"),
    [
        ({}, 272_474),
        ({"shortcut": "zeros"}, 269_722),
        ({"reduction": 16}, 274_847),
        # Published counts include the 1,568 statistics of batch norms.
        ({"num_experts": 4}, 1_078_402 - 1_568),
        ({"num_experts": 8}, 2_150_026 - 1_568),
    ],
)
def test_parameters_of_resnet_20(half: Any, o: Settings, count: int) -> None:
    assert parameters(half, lambda half: half.resnet.ResNet(20, **o)) == count


@both
@pytest.mark.parametrize("o", [{}, {"reduction": 16}, {"num_experts": 4}], ids=str)
def test_multiply_adds(half: Any, o: Settings) -> None:
    """Counted by hand for images of 20x12: maps of 20x12, 10x6 and 5x3."""
    work, inputs = 9 * 3 * 16 * 240, 16
    for channels, positions in ((16, 240), (32, 60), (64, 15)):
        for _ in range(3):
            kernels = 9 * inputs * channels, 9 * channels**2
            work += sum(kernels) * positions
            if inputs < channels:
                work += inputs * channels * positions
            if "reduction" in o:
                work += 2 * channels * (channels // 16)
            if "num_experts" in o:  # the routing, and the kernels that are mixed
                work += 4 * (inputs + channels) + 4 * sum(kernels)
            inputs = channels
    work += 64 * 10
    build = lambda half: half.resnet.ResNet(20, **o)  # noqa: E731
    assert multiply_adds(half, build, 2, 3, 20, 12) == 2 * work
