"""Widths and blocks of a PyramidNet against the paper's numbers and a closed form."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2lutils import shapes
from d2lutils.shapes import pyramid_blocks, pyramid_widths, resnet_blocks

# 6n + 2 or 9n + 2 layers: (depth, block, blocks in each of the three groups).
CIFAR = [
    (8, "basic", 1),
    (20, "basic", 3),
    (110, "basic", 18),
    (11, "bottleneck", 1),
    (164, "bottleneck", 18),
    (272, "bottleneck", 30),
]
IMAGENET = [
    (18, "basic", (2, 2, 2, 2)),
    (34, "basic", (3, 4, 6, 3)),
    (50, "bottleneck", (3, 4, 6, 3)),
    (101, "bottleneck", (3, 4, 23, 3)),
    (152, "bottleneck", (3, 8, 36, 3)),
    (200, "bottleneck", (3, 24, 36, 3)),
]
CONVOLUTIONS = {"basic": 2, "bottleneck": 3}


@pytest.mark.parametrize(("depth", "block", "blocks"), CIFAR)
def test_blocks_for_cifar(depth: int, block: str, blocks: int) -> None:
    assert pyramid_blocks(depth, block) == (blocks,) * 3
    assert CONVOLUTIONS[block] * 3 * blocks + 2 == depth
    if block == "basic":
        assert resnet_blocks(depth) == (blocks,) * 3


@pytest.mark.parametrize(("depth", "block", "blocks"), IMAGENET)
def test_blocks_for_imagenet(depth: int, block: str, blocks: tuple[int, ...]) -> None:
    assert pyramid_blocks(depth, block, "imagenet") == blocks
    # The stem and the classifier count, too.
    assert CONVOLUTIONS[block] * sum(blocks) + 2 == depth


@pytest.mark.parametrize(
    ("depth", "alpha", "start", "ends"),
    [
        (110, 48, [17, 18, 19, 20, 20, 21, 22, 23, 24, 25], (32, 48, 64)),
        (110, 84, [18, 19, 21, 22, 24], (44, 72, 100)),
        (20, 48, [21, 27, 32, 37, 43, 48, 53, 59, 64], (32, 48, 64)),
    ],
)
def test_additive(
    depth: int, alpha: int, start: list[int], ends: tuple[int, ...]
) -> None:
    widths = pyramid_widths(depth, alpha)
    assert widths[: len(start)] == start
    size = len(widths) // 3
    assert tuple(widths[size - 1 :: size]) == ends


def test_a_half_is_rounded_up() -> None:
    """16 + 9 k / 6 has a half at every other block."""
    widths = pyramid_widths(14, 9)
    assert widths == [18, 19, 21, 22, 24, 25]
    assert [round(16 + 9 * k / 6) for k in range(1, 7)] == [18, 19, 20, 22, 24, 25]


@pytest.mark.parametrize(
    ("depth", "alpha", "first", "last"),
    [(110, 4.75, [16, 17, 17, 18], 76), (110, 8, [17, 17, 18], 128), (20, 4, [19], 64)],
)
def test_multiplicative(depth: int, alpha: float, first: list[int], last: int) -> None:
    widths = pyramid_widths(depth, alpha, widening="multiplicative")
    assert widths[: len(first)] == first
    assert widths[-1] == last
    blocks = len(widths)
    for k, width in enumerate(widths, start=1):
        exact = math.log(16) + k / blocks * math.log(alpha)
        assert abs(width - math.exp(exact)) <= 0.5 + 1e-9


def test_imagenet_starts_with_64() -> None:
    widths = pyramid_widths(101, 360, "bottleneck", start=64, stem="imagenet")
    assert len(widths) == 33
    assert widths[0] == 75  # 64 + 360 / 33 = 74.9
    assert widths[-1] == 424


NETS = st.one_of(
    st.tuples(st.integers(1, 60).map(lambda n: 6 * n + 2), st.just("basic")),
    st.tuples(st.integers(1, 40).map(lambda n: 9 * n + 2), st.just("bottleneck")),
)


@given(NETS, st.integers(1, 400), st.integers(1, 80))
def test_additive_is_the_closed_form(
    net: tuple[int, str], alpha: int, start: int
) -> None:
    depth, block = net
    widths = pyramid_widths(depth, alpha, block, start=start)
    blocks = 3 * pyramid_blocks(depth, block)[0]
    assert widths == [
        (2 * start * blocks + 2 * alpha * k + blocks) // (2 * blocks)
        for k in range(1, blocks + 1)
    ]
    assert widths[-1] == start + alpha


ALPHAS = st.floats(1e-3, 500).filter(lambda a: a > 0)


@given(
    NETS, ALPHAS, st.integers(1, 80), st.sampled_from(["additive", "multiplicative"])
)
def test_widths_only_grow(
    net: tuple[int, str], alpha: float, start: int, widening: str
) -> None:
    """From any alpha: never narrower, and at the end start and alpha together."""
    if widening == "multiplicative":
        alpha += 1
    widths = pyramid_widths(net[0], alpha, net[1], widening, start)
    assert all(type(width) is int for width in widths)
    assert [start, *widths] == sorted([start, *widths])
    exact = Fraction(alpha)
    exact = exact + start if widening == "additive" else exact * start
    assert widths[-1] == pytest.approx(float(exact), abs=0.5 + 1e-9)


def test_a_fraction_of_a_channel() -> None:
    assert pyramid_widths(20, 0.5)[-1] == 17  # 16.5, rounded up
    assert pyramid_widths(20, 0.25) == [16] * 9
    assert pyramid_widths(20, 1, widening="multiplicative") == [16] * 9


@given(
    st.integers(1, 400),
    st.sampled_from(["basic", "bottleneck"]),
    st.sampled_from(["cifar", "imagenet"]),
)
def test_the_nearest_depth_is_named_and_fits(depth: int, block: str, stem: str) -> None:
    fitting = []
    for other in range(1, 500):
        try:
            fitting.append((other, pyramid_blocks(other, block, stem))[0])
        except ValueError:
            continue
    if depth in fitting:
        return
    with pytest.raises(ValueError, match=r"; the nearest is \d+$") as caught:
        pyramid_blocks(depth, block, stem)
    named = int(str(caught.value).rpartition(" ")[2])
    assert named in fitting
    assert abs(named - depth) == min(abs(other - depth) for other in fitting)


REFUSED = {
    "pyramid_blocks(111)": (
        "depth must be 6n + 2 for stem='cifar' and block='basic' (three groups of n "
        "blocks, a stem and a classifier), got 111; the nearest is 110"
    ),
    "pyramid_blocks(160, 'bottleneck')": (
        "depth must be 9n + 2 for stem='cifar' and block='bottleneck' (three groups of "
        "n blocks, a stem and a classifier), got 160; the nearest is 164"
    ),
    "pyramid_blocks(100, 'bottleneck', 'imagenet')": (
        "depth must be one of 50, 101, 152, 200 for stem='imagenet' and "
        "block='bottleneck', got 100; the nearest is 101"
    ),
    "pyramid_blocks(0)": "depth must be at least 1, got 0",
    "pyramid_blocks(20, 'wide')": (
        "block must be one of 'basic', 'bottleneck', got 'wide'"
    ),
    "pyramid_blocks(20, stem='svhn')": (
        "stem must be one of 'cifar', 'imagenet', got 'svhn'"
    ),
    **{
        f"resnet_blocks({depth})": (
            "depth must be 6n + 2 (three groups of n blocks, a stem and a classifier), "
            f"got {depth}; the nearest is {nearest}"
        )
        for depth, nearest in ((1, 8), (2, 8), (18, 20), (109, 110))
    },
    "resnet_blocks(0)": "depth must be at least 1, got 0",
    "pyramid_widths(20, 0)": "alpha must be above 0, got 0",
    "pyramid_widths(20, float('inf'))": "alpha must be finite, got inf",
    "pyramid_widths(20, 48, widening='linear')": (
        "widening must be one of 'additive', 'multiplicative', got 'linear'"
    ),
    "pyramid_widths(20, 0.5, widening='multiplicative')": (
        "alpha must be at least 1 for widening='multiplicative', since zeros can only "
        "add channels, got 0.5"
    ),
    "pyramid_widths(20, 48, start=0)": "start must be at least 1, got 0",
    "pyramid_blocks(110.0)": "TypeError: depth must be an integer, got 110.0",
    "resnet_blocks('20')": "TypeError: depth must be an integer, got '20'",
    "pyramid_widths(20, '48')": "TypeError: alpha must be a number, got '48'",
    "pyramid_widths(20, 48, start=9.0)": "TypeError: start must be an integer, got 9.0",
}


@pytest.mark.parametrize(("call", "text"), REFUSED.items())
def test_refused(call: str, text: str) -> None:
    message = text.removeprefix("TypeError: ")
    with pytest.raises(ValueError if message == text else TypeError) as caught:
        eval(call, vars(shapes))
    assert str(caught.value) == f"{call.partition('(')[0]}: {message}"


def test_widths_refuse_what_blocks_refuse() -> None:
    with pytest.raises(ValueError, match=r"^pyramid_blocks: "):
        pyramid_widths(21, 48)
