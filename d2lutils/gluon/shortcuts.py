"""Shortcuts without parameters: more channels by zero padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from d2lutils import checks
from d2lutils.compat import mx
from d2lutils.gluon.inputs import check_input

__all__ = ["SubsampleZeroPad", "zero_pad_channels"]

nn: Any = mx.gluon.nn


def _append_zeros(F: Any, x: Any, extra: int) -> Any:
    """`extra` channels of zeros behind `x`, for any rank and batch."""
    # `pad` refuses the channel axis, so the channels move to axis 2 of
    # a view: (N, C, …) → (N, C, S) → (N, 1, C, S). The codes copy an
    # axis (0), infer it (-1) and split one (-4), so no size need be
    # known.
    view = F.reshape(
        F.reshape(x, shape=(0, 0, -1)), shape=(0, -4, 1, -1, 0)
    )
    width = (0, 0, 0, 0, 0, extra, 0, 0)
    view = F.pad(
        view, mode="constant", constant_value=0, pad_width=width
    )
    padded = F.reshape(view, shape=(0, -3, 0))
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
    """
    owner = "zero_pad_channels"
    channels = checks.positive(owner, "channels", channels)
    if isinstance(x, mx.sym.Symbol):
        padded = _append_zeros(mx.sym, x, channels)
        return mx.sym.slice_axis(padded, axis=1, begin=0, end=channels)
    check_input(owner, x, (1, 2), None)
    checks.floating(owner, "x", np.dtype(x.dtype).name)
    extra = checks.extra_channels(owner, x.shape, channels)
    return _append_zeros(mx.nd, x, extra) if extra else x


class SubsampleZeroPad(nn.HybridBlock):
    """Every stride-th position, then zero channels behind (option A of
    He et al., 2015, section 3.3). It has no parameters.

    Shapes: (N, in_channels, L) → (N, channels, ceil(L / stride)), and
    the same along H and W for rank 2.

    Args:
        in_channels: channels of the input.
        channels: channels of the output, at least in_channels.
        stride: step along each spatial axis.
        rank: number of spatial axes, 1 or 2.

    Raises:
        TypeError, ValueError: a bad argument or input, named.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        rank: int = 2,
    ) -> None:
        super().__init__()
        owner = "SubsampleZeroPad"
        in_channels = checks.positive(owner, "in_channels", in_channels)
        channels = checks.positive(owner, "channels", channels)
        stride = checks.positive(owner, "stride", stride)
        rank = checks.choice(owner, "rank", rank, (1, 2))
        checks.extra_channels(owner, (1, in_channels), channels)
        self.in_channels, self.channels = in_channels, channels
        self.rank, self.stride = rank, stride

    def forward(self, x: Any) -> Any:
        """(N, in_channels, …) → (N, channels, …)."""
        owner = "SubsampleZeroPad"
        check_input(owner, x, self.rank, self.in_channels)
        if isinstance(x, mx.nd.NDArray):
            checks.floating(owner, "x", np.dtype(x.dtype).name)
        return super().forward(x)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        if self.stride > 1:
            every = (None,) * (2 + self.rank)
            steps = (None, None) + (self.stride,) * self.rank
            x = F.slice(x, begin=every, end=every, step=steps)
        extra = self.channels - self.in_channels
        return _append_zeros(F, x, extra) if extra else x
