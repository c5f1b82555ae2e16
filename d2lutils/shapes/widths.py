"""Numbers and widths of the blocks of a net; the faster form of CondConv."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import partial
from typing import Annotated, Any

from d2lutils import _arguments
from d2lutils._arguments import Positive, checked


def condconv_form(filters: int, positions: int) -> str:
    """The faster form of CondConv, from measurements: "folded" or "unfolded".

    For each number in a patch, folding rearranges `filters` weights (the output
    channels of a group) and unfolding copies `positions` inputs (about as many as there
    are output positions).

    >>> condconv_form(filters=512, positions=7 * 7)
    'unfolded'
    """
    return "unfolded" if filters > 2 * positions else "folded"


BLOCKS = {"basic": 2, "bottleneck": 3}  # convolutions in a block
_IMAGENET = {
    "basic": {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)},
    "bottleneck": {
        50: (3, 4, 6, 3),
        101: (3, 4, 23, 3),
        152: (3, 8, 36, 3),
        200: (3, 24, 36, 3),
    },
}
STEMS = ("cifar", "imagenet")
WIDENINGS = ("additive", "multiplicative")
Block = Annotated[str, _arguments.one_of(BLOCKS)]
Stem = Annotated[str, _arguments.one_of(*STEMS)]
Widening = Annotated[str, _arguments.one_of(*WIDENINGS)]
Alpha = Annotated[
    float, _arguments.Rule(partial(_arguments.number, low=0, open_low=True))
]


def block_channels(width: int, block: str) -> int:
    """Output channels of a PyramidNet block whose 3x3 convolutions have this width.

    >>> block_channels(16, "bottleneck")
    64
    """
    return width if block == "basic" else 4 * width


def _block_width(
    owner: str, name: str, value: Any, in_channels: int, block: str
) -> int:
    value = _arguments.positive(owner, name, value)
    _arguments.widened(owner, "channels", block_channels(value, block), in_channels)
    return value


#: Wide enough that the block's output has at least the input's channels.
BlockWidth = Annotated[
    int, _arguments.Rule(_block_width, sees=("in_channels", "block"))
]


@checked
def pyramid_blocks(
    depth: Positive, block: Block = "basic", stem: Stem = "cifar"
) -> tuple[int, ...]:
    """The number of blocks in each group of a PyramidNet; a new group halves the map.

    For CIFAR there are three equal groups: depth = 6n + 2 for basic blocks, 9n + 2 for
    bottlenecks (Han et al., 2017, arXiv 1610.02915, section 3). For ImageNet there are
    four groups, as in the ResNet of that depth (He et al., 2015, table 1).

    Args:
        depth: layers with weights: stem, convolutions of the blocks, classifier.
        block: "basic" (two convolutions) or "bottleneck" (three).
        stem: "cifar" or "imagenet".

    Raises:
        TypeError: `depth` is not an integer.
        ValueError: an unknown block or stem, or an impossible depth; the message names
            the nearest possible one.

    >>> pyramid_blocks(110)
    (18, 18, 18)
    """
    owner = "pyramid_blocks"
    if stem == "imagenet":
        known = _IMAGENET[block]
        if depth not in known:
            nearest = min(known, key=lambda d: abs(d - depth))
            raise ValueError(
                f"{owner}: depth must be one of {', '.join(map(str, known))} for "
                f"stem='imagenet' and block={block!r}, got {depth}; the nearest is "
                f"{nearest}"
            )
        return known[depth]
    layers = 3 * BLOCKS[block]  # one more block in each group
    of = f" for stem='cifar' and block={block!r}"
    return _groups(owner, depth, layers, of)


def resnet_blocks(depth: int) -> tuple[int, ...]:
    """The number of blocks in each of the three groups of a CIFAR ResNet.

    depth = 6n + 2 (He et al., 2015, arXiv 1512.03385, section 4.2).

    Raises:
        TypeError: `depth` is not an integer.
        ValueError: an impossible depth; the message names the nearest possible one.

    >>> resnet_blocks(20)
    (3, 3, 3)
    """
    return _groups("resnet_blocks", depth, 6, "")


def _groups(owner: str, depth: int, layers: int, of: str) -> tuple[int, ...]:
    """Three equal groups of blocks; one more block in each adds `layers` layers."""
    depth = _arguments.positive(owner, "depth", depth)
    blocks, rest = divmod(depth - 2, layers)
    if rest or blocks < 1:
        nearest = layers * max(1, round((depth - 2) / layers)) + 2
        raise ValueError(
            f"{owner}: depth must be {layers}n + 2{of} (three groups of n blocks, a "
            f"stem and a classifier), got {depth}; the nearest is {nearest}"
        )
    return (blocks,) * 3


@checked
def pyramid_widths(
    depth: int,
    alpha: Alpha,
    block: str = "basic",
    widening: Widening = "additive",
    start: Positive = 16,
    stem: str = "cifar",
) -> list[int]:
    """The width of every block of a PyramidNet, k = 1 … N (Han et al., 2017, eq. 2–3).

    Additive: start + alpha * k / N. Multiplicative: start * alpha ** (k / N). Each
    width is the exact value, rounded half up; adding to the previous rounded width
    instead would lose a fraction at every block. A bottleneck's output has 4 times this
    width.

    Args:
        depth, block, stem: as in `pyramid_blocks`, which gives N.
        alpha: channels that the whole net adds, or the factor by which it widens.
        widening: "additive" or "multiplicative".
        start: width of the stem.

    Raises:
        TypeError, ValueError: a bad argument, named: alpha must be above 0, and at
            least 1 for multiplicative widening, since a zero-padded shortcut can only
            add channels.

    >>> pyramid_widths(20, 48)
    [21, 27, 32, 37, 43, 48, 53, 59, 64]
    """
    total = sum(pyramid_blocks(depth, block, stem))
    if widening == "additive":
        # Fractions, so that floor(start + a k / N + 1 / 2) rounds halves exactly.
        a = Fraction(alpha)
        return [
            math.floor(start + a * k / total + Fraction(1, 2))
            for k in range(1, total + 1)
        ]
    if alpha < 1:
        raise ValueError(
            "pyramid_widths: alpha must be at least 1 for widening='multiplicative', "
            f"since zeros can only add channels, got {alpha:g}"
        )
    return [math.floor(start * alpha ** (k / total) + 0.5) for k in range(1, total + 1)]
