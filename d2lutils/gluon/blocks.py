"""The chunk that everything in the book is made of."""

from __future__ import annotations

from typing import Any

from d2lutils._adapters.layer_facts import LAYERS, declare
from d2lutils._arguments import (
    Bool,
    PerAxis,
    Positive,
    Rank,
    checked,
)
from d2lutils.compat import mx
from d2lutils.gluon.inputs import operators, takes_input
from d2lutils.shapes import Padding, check_fits

__all__ = ["ConvChunk"]

nn: Any = mx.gluon.nn


class _BatchNorm1D(nn.BatchNorm):
    """Batch norm over (N, C, L) that survives training on a CPU.

    MXNet 1.9.1 fails there, asynchronously, with "Check failed:
    !is_view" when C is a multiple of 8. A fourth axis of size one
    avoids it.
    """

    def hybrid_forward(self, F: Any, x: Any, **parameters: Any) -> Any:
        ops = operators(x)
        x = ops.expand_dims(x, axis=3)
        x = super().hybrid_forward(F, x, **parameters)
        return ops.squeeze(x, axis=3)


class _Conv1D(nn.Conv1D):
    """Convolution over (N, C, L) whose kernel takes new values at once.

    MXNet 1.9.1 re-orders the kernel of a 1-D convolution in inference.
    Assigning to it then fails, asynchronously, with "Check failed:
    to.IsDefaultData()", and the old kernel runs on. A copy of it may be
    re-ordered. In training nothing is, and no copy is kept; a graph is
    for both.
    """

    def hybrid_forward(
        self, F: Any, x: Any, weight: Any, bias: Any = None
    ) -> Any:
        training = mx.autograd.is_training()
        if isinstance(x, mx.sym.Symbol) or not training:
            weight = weight * 1
        return super().hybrid_forward(F, x, weight, bias)


# They compute and keep what the layers that they derive from do.
declare(_BatchNorm1D, LAYERS["BatchNorm"])
declare(_Conv1D, LAYERS["Conv"])

_CONV = {1: _Conv1D, 2: nn.Conv2D}
_NORM = {1: _BatchNorm1D, 2: nn.BatchNorm}


@takes_input("conv", fits=check_fits)
class ConvChunk(nn.HybridBlock):
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

    >>> chunk = ConvChunk(2, 8, 3, stride=2)
    >>> chunk.initialize()
    >>> chunk(mx.nd.zeros((1, 2, 64))).shape
    (1, 8, 32)
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
            channels,
            kernel_size,
            strides=stride,
            padding=padding,
            use_bias=bias,
            in_channels=in_channels,
        )
        self.norm = _NORM[rank](in_channels=channels)
        self.relu = nn.Activation("relu") if relu else None

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """(N, in_channels, …) → (N, channels, …)."""
        x = self.norm(self.conv(x))
        return x if self.relu is None else self.relu(x)
