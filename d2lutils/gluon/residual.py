"""A chain of convolution chunks with a shortcut around it."""

from __future__ import annotations

from functools import partial
from typing import Any

from d2lutils._arguments import (
    Bool,
    PerAxis,
    Positive,
    Rank,
    Shortcut,
    checked,
)
from d2lutils.compat import mx
from d2lutils.gluon.blocks import ConvChunk
from d2lutils.gluon.inputs import takes_input
from d2lutils.gluon.shortcuts import SubsampleZeroPad
from d2lutils.shapes import Padding, check_addable

__all__ = ["ResidualChunks"]

nn: Any = mx.gluon.nn


@takes_input("branch", fits=partial(check_addable, "ResidualChunks"))
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
        TypeError, ValueError: a bad argument or input, named; paths
            whose sizes differ.

    >>> block = ResidualChunks(2, 8, 3, stride=2, chain_length=3)
    >>> block.initialize()
    >>> block(mx.nd.zeros((1, 2, 64))).shape
    (1, 8, 32)
    """

    @checked
    def __init__(
        self,
        in_channels: Positive,
        channels: Positive,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        chain_length: Positive = 1,
        padding: Padding = "same",
        shortcut: Shortcut = "auto",
        relu_before_sum: Bool = True,
        rank: Rank = 1,
    ) -> None:
        super().__init__()
        self.in_channels, self.rank = in_channels, rank
        self.window = (kernel_size, stride, padding, chain_length)

        self.branch = nn.HybridSequential()
        for i in range(chain_length):
            chunk = ConvChunk(
                in_channels if i == 0 else channels,
                channels,
                kernel_size,
                stride=stride if i == 0 else 1,
                padding=padding,
                relu=relu_before_sum or i < chain_length - 1,
                rank=rank,
            )
            self.branch.add(chunk)

        if shortcut == "identity":
            self.shortcut = mx.gluon.contrib.nn.Identity()
        elif shortcut == "projection":
            self.shortcut = ConvChunk(
                in_channels, channels, 1, stride, relu=False, rank=rank
            )
        else:
            self.shortcut = SubsampleZeroPad(
                in_channels, channels, stride, rank
            )
        self.relu = nn.Activation("relu")

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """(N, in_channels, …) → (N, channels, …)."""
        return self.relu(self.branch(x) + self.shortcut(x))
