"""Window arithmetic and width rules: how many outputs, how many channels.

One axis at a time; a two-dimensional layer applies the same formula to its height
and to its width. Follows Dumoulin and Visin, "A guide to convolution arithmetic
for deep learning" (arXiv 1603.07285), relationship 6, and what the two frameworks
do in ceil mode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from d2lutils import checks

__all__ = [
    "check_addable",
    "check_fits",
    "output_size",
    "pyramid_blocks",
    "pyramid_widths",
    "residual_sizes",
    "resolve_padding",
    "same_padding",
]

FRAMEWORKS = ("pytorch", "gluon")


def output_size(
    n: int,
    kernel_size: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    framework: str = "pytorch",
) -> int:
    """The number of outputs of a window that slides over `n` inputs.

    Without `ceil_mode`: floor((n + 2 * padding - span) / stride) + 1, where
    span = dilation * (kernel_size - 1) + 1. The same in both frameworks.

    Args:
        n: inputs along the axis.
        kernel_size: taps of the window.
        stride: step from one window to the next.
        padding: zeros added on each side.
        dilation: step from one tap to the next.
        ceil_mode: round up instead of down, so that a last window may hang over
            the right edge (pooling layers only).
        framework: "pytorch" or "gluon"; they differ in ceil mode, where PyTorch
            drops a last window that would start in the right padding.

    Raises:
        TypeError: an argument is not an integer.
        ValueError: a size or stride below 1, a negative padding, an unknown
            framework, or a window that does not fit into the padded input.

    >>> output_size(224, 11, stride=4)
    54
    >>> output_size(64, 3, stride=2, padding=1)
    32
    """
    owner = "output_size"
    n = checks.positive(owner, "n", n)
    kernel_size = checks.positive(owner, "kernel_size", kernel_size)
    stride = checks.positive(owner, "stride", stride)
    padding = checks.non_negative(owner, "padding", padding)
    dilation = checks.positive(owner, "dilation", dilation)
    checks.boolean(owner, "ceil_mode", ceil_mode)
    checks.choice(owner, "framework", framework, FRAMEWORKS)
    span = dilation * (kernel_size - 1) + 1
    room = n + 2 * padding - span
    if room < 0:
        raise ValueError(
            f"{owner}: a window of {span} (kernel_size={kernel_size}, "
            f"dilation={dilation}) does not fit into {n + 2 * padding} inputs "
            f"(n={n}, padding={padding} on each side)"
        )
    if not ceil_mode:
        return room // stride + 1
    outputs = -(-room // stride) + 1
    if framework == "pytorch" and (outputs - 1) * stride >= n + padding:
        outputs -= 1
    return outputs


def same_padding(kernel_size: int) -> int:
    """The padding per side that keeps the length at stride 1: (kernel_size - 1) / 2.

    With a stride s the length n becomes ceil(n / s), as for a 1x1 window. An even
    kernel needs one zero more on one side than on the other, which neither
    framework's convolution layers can do with one number, so it is refused.

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: `kernel_size` is even or below 1.

    >>> same_padding(3)
    1
    """
    kernel_size = checks.positive("same_padding", "kernel_size", kernel_size)
    if kernel_size % 2 == 0:
        raise ValueError(
            "same_padding: kernel_size must be odd so that both sides get the same "
            f"padding, got {kernel_size}"
        )
    return (kernel_size - 1) // 2


def resolve_padding(owner: str, padding: int | str, kernel_size: int) -> int:
    """`padding` as a number per side, where "same" stands for `same_padding`.

    Args:
        owner: the caller's name, for the messages.
        padding: zeros per side, or "same".
        kernel_size: taps of the window.

    Raises:
        TypeError: `padding` is neither an integer nor a string.
        ValueError: another string, a negative number, "same" with an even kernel.
    """
    if isinstance(padding, str):
        if padding == "same":
            return same_padding(kernel_size)
        raise ValueError(
            f"{owner}: padding must be 'same' or an integer, got {padding!r}"
        )
    return checks.non_negative(owner, "padding", padding)


def residual_sizes(
    n: int, kernel_size: int, stride: int, padding: int, chain_length: int
) -> tuple[list[int], int]:
    """Sizes along the branch and after the shortcut of a residual chain.

    The first window of the branch strides, the rest do not; the shortcut reads
    every stride-th input, as a 1x1 convolution with that stride does.

    Args:
        n: inputs along the axis.
        kernel_size, stride, padding: of the branch's windows.
        chain_length: windows in the branch.

    Returns:
        (sizes after each window of the branch, size after the shortcut). The two
        paths can be added if and only if the last size equals the shortcut's.

    Raises:
        TypeError, ValueError: as `output_size`.

    >>> residual_sizes(64, kernel_size=3, stride=2, padding=0, chain_length=3)
    ([31, 29, 27], 32)
    """
    chain_length = checks.positive("residual_sizes", "chain_length", chain_length)
    sizes = [output_size(n, kernel_size, stride, padding)]
    for _ in range(chain_length - 1):
        sizes.append(output_size(sizes[-1], kernel_size, 1, padding))
    return sizes, output_size(n, 1, stride)


def check_fits(
    sizes: Sequence[int], kernel_size: int, stride: int, padding: int
) -> None:
    """ValueError unless a window fits into the padded input along each axis."""
    for n in sizes:
        output_size(n, kernel_size, stride, padding)


def check_addable(
    owner: str,
    sizes: Sequence[int],
    kernel_size: int,
    stride: int,
    padding: int,
    chain_length: int,
) -> None:
    """ValueError unless branch and shortcut end with equal sizes along each axis."""
    for n in sizes:
        branch, skip = residual_sizes(n, kernel_size, stride, padding, chain_length)
        if branch[-1] != skip:
            raise ValueError(
                f"{owner}: the branch turns {n} into {branch[-1]} and the shortcut "
                f"into {skip}, so they cannot be added (kernel_size={kernel_size}, "
                f"stride={stride}, padding={padding}, chain_length={chain_length}); "
                "padding='same' makes them equal"
            )


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


def pyramid_blocks(
    depth: int, block: str = "basic", stem: str = "cifar"
) -> tuple[int, ...]:
    """The number of blocks in each group of a PyramidNet; a new group halves the map.

    For CIFAR three equal groups: depth = 6n + 2 for basic blocks, 9n + 2 for
    bottlenecks (Han et al., 2017, arXiv 1610.02915, section 3). For ImageNet four
    groups, with the sizes of the ResNet of that depth (He et al., 2015, table 1).

    Args:
        depth: layers with weights: stem, convolutions of the blocks, classifier.
        block: "basic" (two convolutions) or "bottleneck" (three).
        stem: "cifar" or "imagenet".

    Raises:
        TypeError: `depth` is not an integer.
        ValueError: an unknown block or stem, or a depth that no such net has; the
            message names the nearest that does.

    >>> pyramid_blocks(110)
    (18, 18, 18)
    """
    owner = "pyramid_blocks"
    depth = checks.positive(owner, "depth", depth)
    checks.choice(owner, "block", block, tuple(BLOCKS))
    checks.choice(owner, "stem", stem, STEMS)
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
    blocks, rest = divmod(depth - 2, layers)
    if rest or blocks < 1:
        nearest = layers * max(1, round((depth - 2) / layers)) + 2
        raise ValueError(
            f"{owner}: depth must be {layers}n + 2 for stem='cifar' and "
            f"block={block!r} (three groups of n blocks, a stem and a classifier), "
            f"got {depth}; the nearest is {nearest}"
        )
    return (blocks,) * 3


def pyramid_widths(
    depth: int,
    alpha: float,
    block: str = "basic",
    widening: str = "additive",
    start: int = 16,
    stem: str = "cifar",
) -> list[int]:
    """The width of every block of a PyramidNet, k = 1 … N (Han et al., 2017, eq. 2–3).

    Additive: start + alpha * k / N. Multiplicative: start * alpha ** (k / N). The
    exact value is rounded half up where it is used; rounding each block's width and
    adding to the rounded one would lose a fraction at every block. A bottleneck's
    output has 4 times this width.

    Args:
        depth, block, stem: as in `pyramid_blocks`, which gives N.
        alpha: channels added by the whole net, or the factor that it widens by.
        widening: "additive" or "multiplicative".
        start: width of the stem.

    Raises:
        TypeError, ValueError: a bad argument, named: alpha must be above 0, and at
            least 1 for multiplicative widening, since a shortcut of zeros can only
            add channels.

    >>> pyramid_widths(20, 48)
    [21, 27, 32, 37, 43, 48, 53, 59, 64]
    """
    owner = "pyramid_widths"
    total = sum(pyramid_blocks(depth, block, stem))
    alpha = checks.number(owner, "alpha", alpha, 0, open_low=True)
    checks.choice(owner, "widening", widening, WIDENINGS)
    start = checks.positive(owner, "start", start)
    if widening == "additive":
        # In whole numbers, so that a half is a half: floor(start + a k / N + 1 / 2).
        a = Fraction(alpha)
        return [
            math.floor(start + a * k / total + Fraction(1, 2))
            for k in range(1, total + 1)
        ]
    if alpha < 1:
        raise ValueError(
            f"{owner}: alpha must be at least 1 for widening='multiplicative', since "
            f"zeros can only add channels, got {alpha:g}"
        )
    return [math.floor(start * alpha ** (k / total) + 0.5) for k in range(1, total + 1)]
