"""Shortcuts without parameters: more channels by zero padding.

Every other known way to write the sum, and what is wrong with each,
is in `padded_sums`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from d2lutils._adapters.layer_facts import Facts, Keeps, declare
from d2lutils._arguments import (
    PerAxis,
    Positive,
    Rank,
    Widened,
    checked,
    positive,
    widened,
)
from d2lutils.pytorch.inputs import (
    check_input,
    check_pair,
    takes_input,
    traced,
)

__all__ = [
    "SubsampleZeroPad",
    "ZeroPadShortcut",
    "add_zero_padded",
    "zero_pad_channels",
]


def _append_zeros(
    x: torch.Tensor, extra: int, rank: int
) -> torch.Tensor:
    """`extra` channels of zeros behind `x` with `rank` spatial axes."""
    # F.pad counts from the last axis: nothing on the spatial ones.
    return functional.pad(x, (0, 0) * rank + (0, extra))


def zero_pad_channels(x: torch.Tensor, channels: int) -> torch.Tensor:
    """Append channels of zeros behind `x` until there are `channels`.

    Shapes: (N, C, L) → (N, channels, L), and likewise (N, C, H, W).
    The gradient is the first C channels of the output's gradient. Where
    nothing is to be added the result is `x` itself.

    Args:
        x: the input, any batch size.
        channels: channels of the result, at least C.

    Raises:
        TypeError: `x` is not a tensor of floating-point numbers,
            `channels` not an integer.
        ValueError: wrong rank, or fewer channels than `x` has.

    >>> zero_pad_channels(torch.zeros(1, 2, 9), 6).shape
    torch.Size([1, 6, 9])
    """
    owner = "zero_pad_channels"
    channels = positive(owner, "channels", channels)
    check_input(owner, x, (1, 2), None)
    extra = widened(owner, "channels", channels, x.shape[1])
    extra -= x.shape[1]
    return _append_zeros(x, extra, x.ndim - 2) if extra else x


class _AddToFirst(torch.autograd.Function):
    """identity added to the first channels of x, in one pass."""

    @staticmethod
    def forward(ctx: Any, x: Any, identity: Any) -> Any:
        c = ctx.channels = identity.shape[1]
        kind = torch.promote_types(x.dtype, identity.dtype)
        out = torch.empty_like(x, dtype=kind)
        torch.add(x[:, :c], identity, out=out[:, :c])
        out[:, c:] = x[:, c:]
        return out

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        # A view, not a copy. For slices of x, autograd would allocate a
        # tensor of zeros each.
        return grad, grad[:, : ctx.channels]


def add_zero_padded(
    x: torch.Tensor, identity: torch.Tensor, extra: int | None = None
) -> torch.Tensor:
    """x + identity, where identity may have fewer channels: the sum as
    if zeros stood behind it (Han et al., 2017, section 3.2).

    Shapes: x (N, C, …), identity (N, C - extra, …) → (N, C, …), of rank
    3 or 4. The gradient of x is the output's, that of identity its
    first C - extra channels.

    Args:
        x: the wider tensor, usually a branch's output.
        identity: the narrower one.
        extra: channels of x beyond those of identity; found from the
            shapes by default.

    Raises:
        TypeError: not tensors of floating-point numbers.
        ValueError: batch, space, dtype or device differ, identity has
            more channels than x, or `extra` is not their difference.

    >>> x, identity = torch.zeros(1, 6, 9), torch.zeros(1, 2, 9)
    >>> add_zero_padded(x, identity).shape
    torch.Size([1, 6, 9])
    """
    extra = check_pair("add_zero_padded", x, identity, extra)
    if extra == 0:
        return x + identity
    if traced(x) or torch._C._are_functorch_transforms_active():
        # A compiler cannot trace out= into a slice, and torch.func does
        # not know _AddToFirst.
        sums = (x[:, :-extra] + identity, x[:, -extra:])
        return torch.cat(sums, 1)
    sum_: torch.Tensor = _AddToFirst.apply(x, identity)
    return sum_


@takes_input()
class SubsampleZeroPad(nn.Module):
    """Every stride-th position, then zero channels behind (option A of
    He et al., 2015, section 3.3). It has no parameters.

    Shapes: (N, in_channels, L) → (N, channels, ceil(L / stride)), and
    the same along H and W for rank 2.

    Args:
        in_channels: channels of the input.
        channels: channels of the output, at least in_channels.
        stride: step along each spatial axis, or a tuple of steps.
        rank: number of spatial axes, 1 or 2.

    Raises:
        TypeError, ValueError: a bad argument or input, named.

    >>> shortcut = SubsampleZeroPad(2, 6, stride=2)
    >>> shortcut(torch.zeros(1, 2, 9, 8)).shape
    torch.Size([1, 6, 5, 4])
    """

    @checked
    def __init__(
        self,
        in_channels: Positive,
        channels: Widened,
        stride: PerAxis = 1,
        rank: Rank = 2,
    ) -> None:
        super().__init__()
        self.in_channels, self.channels = in_channels, channels
        self.stride, self.rank = stride, rank

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, …) → (N, channels, …)."""
        for axis, step in enumerate(self.stride, 2):
            every = (slice(None),) * axis + (slice(None, None, step),)
            x = x[every] if step > 1 else x
        extra = self.channels - self.in_channels
        return _append_zeros(x, extra, self.rank) if extra else x


@takes_input(smallest="stride")
class ZeroPadShortcut(nn.Module):
    """Average pooling, then zero channels behind: PyramidNet's shortcut
    (Han et al., 2017, section 3.2). It has no parameters.

    The window is as large as the stride and the last one may hang over
    the edge (ceil mode); the mean is then over the positions there are.
    An axis must have as many positions as one window: MXNet refuses
    a window larger than its input.

    Shapes: (N, in_channels, L) → (N, channels, ceil(L / stride)), and
    the same along H and W for rank 2.

    Args:
        in_channels: channels of the input.
        channels: channels of the output, at least in_channels.
        stride: size and step of the pooling, or a tuple of them; 1 for
            none.
        rank: number of spatial axes, 1 or 2.

    Raises:
        TypeError, ValueError: a bad argument or input, named.

    >>> shortcut = ZeroPadShortcut(2, 6, stride=2)
    >>> shortcut(torch.zeros(1, 2, 9, 8)).shape
    torch.Size([1, 6, 5, 4])
    """

    @checked
    def __init__(
        self,
        in_channels: Positive,
        channels: Widened,
        stride: PerAxis = 1,
        rank: Rank = 2,
    ) -> None:
        super().__init__()
        self.in_channels, self.channels = in_channels, channels
        self.stride, self.rank = stride, rank
        pool: Any = nn.AvgPool1d if rank == 1 else nn.AvgPool2d
        self.pool = None
        if any(step > 1 for step in stride):
            self.pool = pool(stride, stride, ceil_mode=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, …) → (N, channels, …)."""
        x = x if self.pool is None else self.pool(x)
        extra = self.channels - self.in_channels
        return _append_zeros(x, extra, self.rank) if extra else x


# Their backward passes move numbers about, and need no values.
declare(SubsampleZeroPad, Facts(pytorch=Keeps()))
declare(ZeroPadShortcut, Facts(pytorch=Keeps()))
