"""ResNet for CIFAR, with gates or conditional convolutions in its blocks."""

from __future__ import annotations

from typing import Any

import pytest
from halves import both
from reference import (
    check,
    multiply_adds,
    parameters,
    ways,
)

from d2lutils.gpu_report.equations import resnet

Settings = dict[str, Any]


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
