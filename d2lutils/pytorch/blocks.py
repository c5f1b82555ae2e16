"""The chunk that everything in the book is made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from d2lutils._arguments import (
    Bool,
    PerAxis,
    Positive,
    Rank,
    checked,
)
from d2lutils.pytorch.inputs import takes_input
from d2lutils.shapes import Padding, check_fits

__all__ = ["ConvChunk"]

_CONV: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d}
_NORM: dict[int, Any] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}


@takes_input("conv", fits=check_fits)
class ConvChunk(nn.Module):
    """Convolution → batch norm → ReLU (Ioffe and Szegedy, 2015).

    Shapes: (N, in_channels, L) → (N, channels, L') for rank 1,
    (N, in_channels, H, W) → (N, channels, H', W') for rank 2, where
    each spatial size follows `d2lutils.shapes.output_size`.

    Args:
        in_channels: channels of the input.
        channels: channels of the output.
        kernel_size: taps along each spatial axis; here and below a
            number for all axes or a tuple with that of each.
        stride: step along each spatial axis.
        padding: zeros on each side, "same" for (kernel_size - 1) / 2,
            or "valid" for none.
        bias: give the convolution a bias. The batch norm subtracts it
            again, so its true gradient is zero.
        relu: end in a ReLU; False leaves it out.
        rank: number of spatial axes, 1 or 2.

    Raises:
        TypeError, ValueError: a bad argument or input, named with its
            value.

    >>> ConvChunk(2, 8, 3, stride=2)(torch.zeros(1, 2, 64)).shape
    torch.Size([1, 8, 32])
    """

    @checked
    def __init__(
        self,
        in_channels: Positive,
        channels: Positive,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        padding: Padding = "same",
        bias: Bool = False,
        relu: Bool = True,
        rank: Rank = 1,
    ) -> None:
        super().__init__()
        self.in_channels, self.rank = in_channels, rank
        self.window = (kernel_size, stride, padding)
        self.conv = _CONV[rank](
            in_channels,
            channels,
            kernel_size,
            stride=stride,
            padding=padding,
            bias=bias,
        )
        self.norm = _NORM[rank](channels)
        self.relu = nn.ReLU() if relu else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, …) → (N, channels, …)."""
        x = self.norm(self.conv(x))
        return x if self.relu is None else self.relu(x)
