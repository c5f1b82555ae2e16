"""PyramidNet: the paper's units and counts, and what it is built of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from halves import both, compared, made, noise
from reference import (
    check,
    multiply_adds,
    parameters,
    ways,
)

from d2lutils.gpu_report.equations import pyramid_unit, pyramidnet
from d2lutils.shapes import drop_probs, pyramid_widths

functional = torch.nn.functional
Settings = dict[str, Any]
WIDER = {"widening": "multiplicative"}
DEEPER = {"block": "bottleneck"}
IMAGENET = {"stem": "imagenet"}

# -- equations -------------------------------------------------------------------------


@ways
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("block", "in_channels", "width", "extra"),
    [
        ("basic", 8, 8, 0),
        ("basic", 7, 8, 1),
        ("basic", 5, 13, 8),
        ("bottleneck", 8, 2, 0),
        ("bottleneck", 5, 4, 11),
    ],
)
def test_unit(
    way: str, block: str, in_channels: int, width: int, extra: int, stride: int
) -> None:
    """Nothing to add, a channel, and more channels to add than there are."""

    def build(half: Any) -> Any:
        net = half.pyramidnet.PyramidUnit(in_channels, width, stride, block)
        assert net.sum.extra == extra
        return net

    shape = (3, in_channels, 7, 6)
    check(way, build, lambda w, x: pyramid_unit(w, x, width, stride, block), shape)


@ways
@pytest.mark.parametrize(
    ("depth", "alpha", "o", "groups", "size"),
    [
        (8, 12, {}, 3, (7, 5)),
        (14, 12, {}, 3, (8, 8)),
        (8, 1.5, WIDER, 3, (6, 6)),
        (11, 9, DEEPER, 3, (6, 7)),
        (18, 20, IMAGENET, 4, (33, 35)),
    ],
)
def test_equation(
    way: str, depth: int, alpha: float, o: Settings, groups: int, size: Any
) -> None:
    start = {"start": 64} if "stem" in o else {}
    widths = pyramid_widths(depth, alpha, **o, **start)
    check(
        way,
        lambda half: half.pyramidnet.PyramidNet(depth, alpha, 5, 2, **o),
        lambda w, x: pyramidnet(w, x, widths, groups, o),
        (4, 2, *size),
        bound=1e-8,
    )


# -- parity ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "o"),
    [
        ((20, 48), {}),
        ((8, 12), {"drop_prob": 0.5}),
        ((8, 12), {"drop_prob": 0.5, "drop_mode": "row"}),
        ((8, 12), {"drop_prob": 0.5, "drop_mode": "gather"}),
        ((11, 9), DEEPER | {"drop_prob": 1.0}),
    ],
)
def test_halves_over_steps(arguments: Any, o: Settings) -> None:
    """With randomness off meanwhile; all as it was afterwards."""
    nets = []

    def build(half: Any) -> Any:
        nets.append(half.pyramidnet.PyramidNet(*arguments, **o))
        return nets[-1]

    report = compared(build, 4, 3, 8, 8, steps=5)
    assert report.steps == 5
    if arguments == (20, 48):
        # Stem and head: 2 + 2 layers, and 5 in each of 9 blocks.
        assert report.layers == 2 + 2 + 5 * 9
    for net in nets:
        drops = [unit.sum.drop_prob for unit in net.blocks]
        assert drops == drop_probs(len(drops), o.get("drop_prob", 0.0))


# -- counts ----------------------------------------------------------------------------

COUNTS = [
    # The same integers in two public model zoos, CIFAR-10.
    ((110, 48), {}, 1_772_706),
    ((110, 84), {}, 3_904_446),
    ((110, 270), {}, 28_485_477),
    ((164, 270), DEEPER, 27_216_021),
    # Derived with these widths.
    ((20, 48), {}, 310_845),
    ((110, 4.75), WIDER, 1_762_206),
    ((110, 8), WIDER, 3_876_547),
    ((110, 27), WIDER, 28_361_693),
    # The same integer in a public model zoo, ImageNet.
    ((101, 360, 1000), DEEPER | IMAGENET, 42_455_070),
]


@both
@pytest.mark.parametrize(("arguments", "o", "count"), COUNTS)
def test_parameters(half: Any, arguments: Any, o: Settings, count: int) -> None:
    build = lambda half: half.pyramidnet.PyramidNet(*arguments, **o)  # noqa: E731
    assert parameters(half, build) == count


def test_the_papers_own_table_is_a_little_lower() -> None:
    """Table 4 of the paper gives millions; the authors' own code gives these counts."""
    for table, (_, _, count) in zip((1.7, 3.8, 28.3), COUNTS, strict=False):
        assert 0.006 < 1 - table * 1e6 / count < 0.042


def work(depth: int, alpha: int, block: str = "basic") -> int:
    """Counted by hand for 32x32: a unit that strides does so in its first 3x3."""
    widths, inputs, positions = pyramid_widths(depth, alpha, block), 16, 32**2
    total = 9 * 3 * 16 * positions
    for k, width in enumerate(widths):
        after = positions // 4 if k and k % (len(widths) // 3) == 0 else positions
        if block == "basic":
            total += 9 * (inputs + width) * width * after
            inputs = width
        else:
            total += inputs * width * positions + (9 + 4) * width**2 * after
            inputs = 4 * width
        positions = after
    return total + inputs * 10


@both
@pytest.mark.parametrize("arguments", [(20, 48), (11, 9, "bottleneck")])
def test_multiply_adds(half: Any, arguments: Any) -> None:
    depth, alpha, *block = arguments
    o = {"block": block[0]} if block else {}
    build = lambda h: h.pyramidnet.PyramidNet(depth, alpha, **o)  # noqa: E731
    assert multiply_adds(half, build, 1, 3, 32, 32) == work(*arguments)


def test_multiply_adds_of_the_papers_nets() -> None:
    assert (work(110, 48), work(110, 84)) == (403_813_504, 772_168_168)


# -- how it is built -------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("arguments", "o", "start", "firsts"),
    [
        ((110, 48), {}, 16, [18, 36]),
        ((29, 30), DEEPER, 16, [3, 6]),
        ((20, 4), WIDER, 16, [3, 6]),
        ((50, 100), DEEPER | IMAGENET, 64, [3, 7, 13]),
    ],
)
def test_units(
    half: Any, arguments: Any, o: Settings, start: int, firsts: list[int]
) -> None:
    """Widths, where the map is halved, and the paper's linear rule."""
    units = list(half.pyramidnet.PyramidNet(*arguments, drop_prob=0.5, **o).blocks)
    widths = pyramid_widths(*arguments, **o, start=start)
    channels = [w * (4 if "block" in o else 1) for w in widths]
    assert [unit.channels for unit in units] == channels
    assert [unit.sum.extra for unit in units] == np.diff([start, *channels]).tolist()
    assert [k for k, unit in enumerate(units) if unit.pool is not None] == firsts
    assert [unit.sum.drop_prob for unit in units] == drop_probs(len(units), 0.5)
    assert {unit.sum.mode for unit in units} == {"batch"}


@both
def test_add_is_used_where_channels_are_added(half: Any) -> None:
    calls: list[tuple[int, int]] = []

    def add(x: Any, identity: Any, extra: int) -> Any:
        calls.append((x.shape[1] - identity.shape[1], extra))
        return half.shortcuts.add_zero_padded(x, identity, extra)

    net = half.ready(half.pyramidnet.PyramidNet(20, 4, add=add))
    half.output(net, noise(2, 3, 5, 5))
    # 16 + 4 k / 9: four of the nine blocks add a channel.
    assert calls == [(1, 1)] * 4


@both
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_input_stays_as_it_is(half: Any, block: str) -> None:
    """A unit alone, whose ReLUs may write where they read."""
    net = made(half, lambda h: h.pyramidnet.PyramidUnit(3, 5, 2, block))
    x = noise(2, 3, 5, 5)
    array = half.tensor(x)
    net(array)
    assert np.array_equal(half.numpy(array), x)
