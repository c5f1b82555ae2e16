"""Shortcuts without parameters: more channels by zero padding."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from d2lutils import checks
from d2lutils.pytorch.inputs import check_input

__all__ = ["SubsampleZeroPad", "zero_pad_channels"]


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
    """
    owner = "zero_pad_channels"
    channels = checks.positive(owner, "channels", channels)
    check_input(owner, x, (1, 2), None)
    checks.floating(owner, "x", str(x.dtype).split(".")[-1])
    extra = checks.extra_channels(owner, x.shape, channels)
    if extra == 0:
        return x
    # F.pad counts from the last axis: nothing on the spatial ones.
    return functional.pad(x, (0, 0) * (x.ndim - 2) + (0, extra))


class SubsampleZeroPad(nn.Module):
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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, …) → (N, channels, …)."""
        owner = "SubsampleZeroPad"
        check_input(owner, x, self.rank, self.in_channels)
        checks.floating(owner, "x", str(x.dtype).split(".")[-1])
        if self.stride > 1:
            every = slice(None, None, self.stride)
            x = (
                x[:, :, every]
                if self.rank == 1
                else x[:, :, every, every]
            )
        return zero_pad_channels(x, self.channels)
