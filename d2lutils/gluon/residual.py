"""A chain of convolution chunks with a shortcut around it."""

from __future__ import annotations

from typing import Any

from d2lutils import checks
from d2lutils.compat import mx
from d2lutils.gluon.blocks import ConvChunk, Size
from d2lutils.gluon.inputs import check_input
from d2lutils.gluon.shortcuts import SubsampleZeroPad
from d2lutils.shapes import check_addable, resolve_padding

__all__ = ["ResidualChunks"]

nn: Any = mx.gluon.nn


class ResidualChunks(nn.HybridBlock):
    """ReLU(branch(x) + shortcut(x)), the branch a chain of `ConvChunk`s
    (He et al., 2015, section 3; the placements: He et al., 2016).

    The first chunk of the branch takes the stride and the new width,
    the others keep both. The shortcut must end with the same shape:

    - "identity": `x` itself; needs stride 1 and equal channels.
    - "projection": a 1x1 convolution with the stride, and batch norm.
    - "zeros": every stride-th position, zero channels behind.
    - "auto": identity where it fits, else projection.

    Shapes: (N, in_channels, L) → (N, channels, ceil(L / stride)) with
    padding "same", and the same along H and W for rank 2.

    Args:
        in_channels: channels of the input.
        channels: channels of every chunk, and of the output.
        kernel_size: taps along each spatial axis; odd for "same". Here
            and below a number for all axes or a tuple with that of
            each.
        stride: of the first chunk and of the shortcut.
        chain_length: chunks in the branch, at least 1.
        padding: zeros on each side, "same" or "valid".
        shortcut: "auto", "identity", "projection" or "zeros".
        relu_before_sum: end the branch in a ReLU. It can then only add.
        rank: number of spatial axes, 1 or 2.

    Raises:
        TypeError, ValueError: a bad argument, named with its value; in
            a call, an input that does not fit, or paths whose sizes
            differ.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel_size: Size,
        stride: Size = 1,
        chain_length: int = 1,
        padding: Size | str = "same",
        shortcut: str = "auto",
        relu_before_sum: bool = True,
        rank: int = 1,
    ) -> None:
        super().__init__()
        owner = "ResidualChunks"
        in_channels = checks.positive(owner, "in_channels", in_channels)
        channels = checks.positive(owner, "channels", channels)
        rank = checks.choice(owner, "rank", rank, (1, 2))
        taps = checks.axes(owner, "kernel_size", kernel_size, rank)
        steps = checks.axes(owner, "stride", stride, rank)
        chain_length = checks.positive(
            owner, "chain_length", chain_length
        )
        pads = resolve_padding(owner, padding, taps)
        checks.boolean(owner, "relu_before_sum", relu_before_sum)
        shortcut = checks.shortcut(
            owner, shortcut, in_channels, channels, steps
        )
        self.in_channels, self.rank = in_channels, rank
        self.window = (taps, steps, pads, chain_length)

        self.branch = nn.HybridSequential()
        for i in range(chain_length):
            chunk = ConvChunk(
                in_channels if i == 0 else channels,
                channels,
                taps,
                stride=steps if i == 0 else 1,
                padding=pads,
                relu=relu_before_sum or i < chain_length - 1,
                rank=rank,
            )
            self.branch.add(chunk)

        if shortcut == "identity":
            self.shortcut = mx.gluon.contrib.nn.Identity()
        elif shortcut == "projection":
            self.shortcut = ConvChunk(
                in_channels, channels, 1, steps, relu=False, rank=rank
            )
        else:
            self.shortcut = SubsampleZeroPad(
                in_channels, channels, steps, rank
            )
        self.relu = nn.Activation("relu")

    def forward(self, x: Any) -> Any:
        """(N, in_channels, …) → (N, channels, …)."""
        sizes = (self.rank, self.in_channels)
        if check_input("ResidualChunks", x, *sizes, self.branch):
            check_addable("ResidualChunks", x.shape[2:], *self.window)
        return super().forward(x)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.relu(self.branch(x) + self.shortcut(x))
