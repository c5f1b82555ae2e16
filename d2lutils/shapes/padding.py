"""Padding arguments of layers, and the sizes at which windows and sums fit."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Annotated, Any

from d2lutils import _arguments
from d2lutils.shapes.windows import Window, output_size, per_axis


@per_axis
def same_padding(kernel_size: int) -> int:
    """The padding per side that keeps the length at stride 1: (kernel_size - 1) / 2.

    With a stride s the length n becomes ceil(n / s), as for a 1x1 window. An even
    kernel would need one zero more on one side than on the other, which a single number
    cannot express, so it is refused.

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: `kernel_size` is even or below 1.

    >>> same_padding(3)
    1
    """
    kernel_size = _arguments.positive("same_padding", "kernel_size", kernel_size)
    if kernel_size % 2 == 0:
        raise ValueError(
            "same_padding: kernel_size must be odd so that both sides get the same "
            f"padding, got {kernel_size}"
        )
    return (kernel_size - 1) // 2


def resolve_padding(owner: str, padding: Any, kernel_size: Any) -> Any:
    """Zeros per side: "same" stands for `same_padding`, "valid" for 0.

    Args:
        owner: the caller's name, for the messages.
        padding: zeros per side, "same" or "valid"; also a tuple if kernel_size is one.
        kernel_size: taps of the window, or a tuple with those of each axis.

    Returns:
        An integer, or a tuple if kernel_size is one.

    Raises:
        TypeError: `padding` is neither a string nor made of integers.
        ValueError: another string, a negative number, "same" with an even kernel.
    """
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(
                f"{owner}: padding must be 'same', 'valid' or an integer, got "
                f"{padding!r}"
            )
        if padding == "same":
            return same_padding(kernel_size)
        padding = 0
    if isinstance(kernel_size, tuple):
        count = len(kernel_size)
        return _arguments.axes(
            owner, "padding", padding, count, _arguments.non_negative
        )
    return _arguments.non_negative(owner, "padding", padding)


def _resolved(owner: str, name: str, value: Any, kernel_size: Any) -> Any:
    return resolve_padding(owner, value, kernel_size)


#: A layer's padding: an integer, one for each axis, "same" or "valid".
Padding = Annotated[Any, _arguments.Rule(_resolved, sees=("kernel_size",))]


def padding_sides(
    owner: str,
    padding: Any,
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Any:
    """(positions before, positions after) for each axis, as PyTorch's layers pad.

    "same" keeps the length; it puts an odd position after, and needs a stride of 1.

    >>> padding_sides("Layer", "same", (3, 2), (1, 1), (1, 1))
    ((1, 1), (0, 1))
    """
    if padding != "same":
        found = resolve_padding(owner, padding, kernel_size)
        return tuple((n, n) for n in found)
    if set(stride) != {1}:
        raise ValueError(
            f"{owner}: padding='same' needs stride=1, got {_arguments.shown(stride)}"
        )
    totals = [d * (k - 1) for k, d in zip(kernel_size, dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def split_padding(sides: Any, padding_mode: str) -> tuple[Any, Any]:
    """(zeros per side for the convolution itself, sides to pad before it).

    A layer of either framework only adds zeros, and as many before as after.

    >>> split_padding(((1, 1), (0, 1)), "zeros")
    ((0, 0), ((1, 1), (0, 1)))
    """
    if padding_mode == "zeros" and all(a == b for a, b in sides):
        return tuple(a for a, _ in sides), ()
    return (0,) * len(sides), sides if any(map(any, sides)) else ()


def _sides(owner: str, name: str, value: Any, *window: Any) -> Any:
    return padding_sides(owner, value, *window)


#: Any padding of PyTorch's layers; the function gets (before, after) for each axis.
PaddingSides = Annotated[
    Any, _arguments.Rule(_sides, sees=("kernel_size", "stride", "dilation"))
]


def residual_sizes(
    n: int, kernel_size: int, stride: int, padding: int, chain_length: int
) -> tuple[list[int], int]:
    """Sizes along the branch and after the shortcut of a residual chain.

    The first window of the branch strides, the rest do not; the shortcut reads
    every stride-th input, as a 1x1 convolution with that stride does.

    Args:
        n: inputs along the axis.
        kernel_size, stride, padding: the numbers of the branch's windows.
        chain_length: windows in the branch.

    Returns:
        (sizes after each window of the branch, size after the shortcut). Branch and
        shortcut can be added if and only if the branch's last size is the shortcut's.

    Raises:
        TypeError, ValueError: as `output_size`.

    >>> residual_sizes(64, kernel_size=3, stride=2, padding=0, chain_length=3)
    ([31, 29, 27], 32)
    """
    chain_length = _arguments.positive("residual_sizes", "chain_length", chain_length)
    sizes = [output_size(n, kernel_size, stride, padding)]
    for _ in range(chain_length - 1):
        sizes.append(output_size(sizes[-1], kernel_size, 1, padding))
    return sizes, output_size(n, 1, stride)


def check_fits(
    sizes: Sequence[int], kernel_size: Any, stride: Any, padding: Any
) -> None:
    """ValueError unless a window fits into the padded input along each axis."""
    output_size(tuple(sizes), kernel_size, stride, padding)


PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
PaddingMode = Annotated[str, _arguments.one_of(*PADDING_MODES)]


@functools.lru_cache
def least_sizes(
    kernel_size: tuple[int, ...],
    sides: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    padding_mode: str,
) -> tuple[int, ...]:
    """The smallest input along each axis that can be padded and holds a window.

    "reflect" needs more inputs than it adds on a side, "circular" at least as many.
    """
    windows = zip(kernel_size, sides, dilation, strict=True)
    return tuple(
        max(1, d * (k - 1) + 1 - before - behind, _inputs_needed(behind, padding_mode))
        for k, (before, behind), d in windows
    )


def _inputs_needed(padding: int, padding_mode: str) -> int:
    """The number of inputs needed to add `padding` on a side."""
    return {"reflect": padding + 1, "circular": padding}.get(padding_mode, 0)


def check_padded_fits(
    owner: str,
    sizes: Sequence[int],
    kernel_size: tuple[int, ...],
    sides: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    padding_mode: str,
) -> None:
    """ValueError unless each axis can be padded and then holds a window.

    `sides` are those of `padding_sides`; the limits are `least_sizes`.
    """
    # Every call of a layer comes here, so valid sizes return first.
    window = (kernel_size, sides, dilation, padding_mode)
    if all(map(operator.ge, sizes, least_sizes(*window))):
        return
    for n, k, (before, behind), d in zip(
        sizes, kernel_size, sides, dilation, strict=True
    ):
        if before == behind:  # else "same", where a window always fits
            Window(k, 1, before, d, name=owner).output_size(n)
        least = _inputs_needed(behind, padding_mode)
        if n < least:
            raise ValueError(
                f"{owner}: padding={behind} with padding_mode={padding_mode!r} needs "
                f"at least {least} inputs along each axis, got {n}"
            )


def check_addable(
    owner: str,
    sizes: Sequence[int],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    chain_length: int,
) -> None:
    """ValueError unless branch and shortcut have equal output sizes on each axis."""
    window = (kernel_size, stride, padding)
    each = [
        _arguments.axes(owner, "window", w, len(sizes), _arguments.integer)
        for w in window
    ]
    for n, k, s, p in zip(sizes, *each, strict=True):
        branch, skip = residual_sizes(n, k, s, p, chain_length)
        if branch[-1] != skip:
            raise ValueError(
                f"{owner}: the branch turns {n} into {branch[-1]} and the shortcut "
                f"into {skip}, so they cannot be added (kernel_size={k}, "
                f"stride={s}, padding={p}, chain_length={chain_length}); "
                "padding='same' makes them equal"
            )
