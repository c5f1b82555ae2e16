"""The chunk that everything in the book is made of."""

from __future__ import annotations

import torch
from torch import nn

from d2lutils import checks
from d2lutils.pytorch.inputs import check_input
from d2lutils.shapes import check_fits, resolve_padding

__all__ = ["ConvChunk"]

Size = int | tuple[int, ...]

_CONV = {1: nn.Conv1d, 2: nn.Conv2d}
_NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}


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
        TypeError, ValueError: a bad argument, named with its value; in
            a call, an input whose shape, dtype or device does not fit,
            or that is too small for the kernel.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = "same",
        bias: bool = False,
        relu: bool = True,
        rank: int = 1,
    ) -> None:
        super().__init__()
        owner = "ConvChunk"
        in_channels = checks.positive(owner, "in_channels", in_channels)
        channels = checks.positive(owner, "channels", channels)
        rank = checks.choice(owner, "rank", rank, (1, 2))
        taps = checks.axes(owner, "kernel_size", kernel_size, rank)
        steps = checks.axes(owner, "stride", stride, rank)
        pads = resolve_padding(owner, padding, taps)
        checks.boolean(owner, "bias", bias)
        checks.boolean(owner, "relu", relu)
        self.in_channels, self.rank = in_channels, rank
        self.window = (taps, steps, pads)
        self.conv = _CONV[rank](
            in_channels,
            channels,
            taps,
            stride=steps,
            padding=pads,
            bias=bias,
        )
        self.norm = _NORM[rank](channels)
        self.relu = nn.ReLU() if relu else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, …) → (N, channels, …)."""
        sizes = (self.rank, self.in_channels)
        if check_input("ConvChunk", x, *sizes, self.conv):
            check_fits(x.shape[2:], *self.window)
        x = self.norm(self.conv(x))
        return x if self.relu is None else self.relu(x)
