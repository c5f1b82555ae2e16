"""Shortcuts without parameters: more channels by zero padding.

Every other known way to write the sum, and what is wrong with each,
is in `padded_sums`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from d2lutils._adapters.layer_facts import Facts, Keeps, declare
from d2lutils._arguments import (
    PerAxis,
    Positive,
    Rank,
    Widened,
    checked,
    non_negative,
    positive,
    widened,
)
from d2lutils.compat import mx
from d2lutils.gluon.inputs import (
    check_input,
    check_pair,
    operators,
    takes_input,
    traced,
)

__all__ = [
    "SubsampleZeroPad",
    "ZeroPadShortcut",
    "add_zero_padded",
    "zero_pad_channels",
]

nn: Any = mx.gluon.nn


def _append_zeros(F: Any, x: Any, extra: int) -> Any:
    """`extra` channels of zeros behind `x`, for any rank and batch."""
    # Zeros of the right batch and space: one channel of x, its values
    # replaced (0 * x would keep a NaN) and repeated. A view of rank 3,
    # (N, C, S), because on rank 4 oneDNN's concatenation cannot cut a
    # gradient that comes in blocks of channels, as a convolution's
    # does: it fails, or ends the process, in training.
    view = F.reshape(x, shape=(0, 0, -1))
    one = F.slice_axis(view, axis=1, begin=0, end=1)
    zeros = F.broadcast_axis(F.zeros_like(one), axis=1, size=extra)
    padded = F.concat(view, zeros, dim=1)
    # The spatial axes come back from x: S → (L,) or (H, W).
    return F.reshape_like(
        padded, x, lhs_begin=2, lhs_end=3, rhs_begin=2, rhs_end=None
    )


def zero_pad_channels(x: Any, channels: int) -> Any:
    """Append channels of zeros behind `x` until there are `channels`.

    Shapes: (N, C, L) → (N, channels, L), and likewise (N, C, H, W).
    The gradient is the first C channels of the output's gradient. Where
    nothing is to be added the result is `x` itself.

    Args:
        x: the input, any batch size; an NDArray or a Symbol. A Symbol
            does not know its C: `channels` zeros are appended and cut
            to size, and too small a number goes unnoticed.
        channels: channels of the result, at least C.

    Raises:
        TypeError: `x` is not a tensor of floating-point numbers,
            `channels` not an integer.
        ValueError: wrong rank, or fewer channels than `x` has.

    >>> zero_pad_channels(mx.nd.zeros((1, 2, 9)), 6).shape
    (1, 6, 9)
    """
    owner = "zero_pad_channels"
    channels = positive(owner, "channels", channels)
    F = operators(x)
    if traced(x):
        padded = _append_zeros(F, x, channels)
        return F.slice_axis(padded, axis=1, begin=0, end=channels)
    check_input(owner, x, (1, 2), None)
    extra = widened(owner, "channels", channels, x.shape[1])
    extra -= x.shape[1]
    return _append_zeros(F, x, extra) if extra else x


def add_zero_padded(
    x: Any, identity: Any, extra: int | None = None
) -> Any:
    """x + identity, where identity may have fewer channels: the sum as
    if zeros stood behind it (Han et al., 2017, section 3.2).

    Shapes: x (N, C, …), identity (N, C - extra, …) → (N, C, …), of rank
    3 or 4. The gradient of x is the output's, that of identity its
    first C - extra channels.

    Args:
        x: the wider tensor, usually a branch's output; an NDArray or a
            Symbol.
        identity: the narrower one, of the same kind.
        extra: channels of x beyond those of identity; found from the
            shapes by default. A Symbol has none: without `extra` the
            sum is right there, too, but costs a tensor of zeros as
            large as x.

    Raises:
        TypeError: not tensors of floating-point numbers.
        ValueError: batch, space, dtype or device differ, identity has
            more channels than x, or `extra` is not their difference.

    >>> x, identity = mx.nd.zeros((1, 6, 9)), mx.nd.zeros((1, 2, 9))
    >>> add_zero_padded(x, identity).shape
    (1, 6, 9)
    """
    owner = "add_zero_padded"
    F = operators(x)
    if traced(x):
        if extra is None:
            # C zeros are enough whatever C is; the rest is cut off.
            views = (
                F.reshape(t, shape=(0, 0, -1))
                for t in (identity, F.zeros_like(x))
            )
            padded = F.concat(*views, dim=1)
            padded = F.slice_like(
                padded, F.reshape(x, shape=(0, 0, -1)), axes=(1,)
            )
            return x + F.reshape_like(padded, x)
        extra = non_negative(owner, "extra", extra)
    else:
        extra = check_pair(owner, x, identity, extra)
    return x + (
        _append_zeros(F, identity, extra) if extra else identity
    )


@takes_input()
class SubsampleZeroPad(nn.HybridBlock):
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
    >>> shortcut(mx.nd.zeros((1, 2, 9, 8))).shape
    (1, 6, 5, 4)
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

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """(N, in_channels, …) → (N, channels, …)."""
        F = operators(x)
        if any(step > 1 for step in self.stride):
            every = (None,) * (2 + self.rank)
            steps = (None, None, *self.stride)
            x = F.slice(x, begin=every, end=every, step=steps)
        extra = self.channels - self.in_channels
        return _append_zeros(F, x, extra) if extra else x


@takes_input(smallest="stride")
class ZeroPadShortcut(nn.HybridBlock):
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
    >>> shortcut(mx.nd.zeros((1, 2, 9, 8))).shape
    (1, 6, 5, 4)
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
        pool = nn.AvgPool1D if rank == 1 else nn.AvgPool2D
        self.pool = None
        if any(step > 1 for step in stride):
            self.pool = pool(stride, stride, ceil_mode=True)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """(N, in_channels, …) → (N, channels, …)."""
        F = operators(x)
        x = x if self.pool is None else self.pool(x)
        extra = self.channels - self.in_channels
        return _append_zeros(F, x, extra) if extra else x


def _padding_keeps(layer: Any) -> Keeps:
    """What training keeps of `_append_zeros`, where it has to append.

    Inside: what is padded, reshaped into a copy, all zeros, and one
    channel of them; with a stride also what that leaves, for its shape.
    """
    if layer.channels == layer.in_channels:
        return Keeps()
    strided = max(layer.stride) > 1
    channels = layer.channels + 1 + layer.in_channels * strided
    inside = Fraction(channels, layer.channels)
    return Keeps(input=not strided, inside=inside)


declare(SubsampleZeroPad, Facts(gluon=_padding_keeps))
declare(ZeroPadShortcut, Facts(gluon=_padding_keeps))
