"""WeightNet: a small network that makes the kernel of each example."""

from __future__ import annotations

import math
from typing import Any

from d2lutils import checks
from d2lutils._adapters.layers import Facts, Shape, declare
from d2lutils.compat import mx
from d2lutils.gluon.condconv import (
    Size,
    _unfold_each,
    convolve_each,
)
from d2lutils.gluon.inputs import (
    any_size,
    check_input,
    check_routing,
    operators,
)
from d2lutils.shapes import check_padded_fits, resolve_padding

__all__ = ["GeneratedConv2d", "WeightNet2d"]

nn: Any = mx.gluon.nn


class GeneratedConv2d(nn.HybridBlock):
    """A convolution whose kernel a grouped linear layer makes of a
    vector: `WeightNet2d` without what makes the vector.

    Shapes: (N, in_channels, H, W) and (N, M * out_channels) → (N,
    out_channels, H', W').

    Args, Raises: as `WeightNet2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        M: int = 2,
        G: int = 2,
        depthwise: bool = False,
    ) -> None:
        super().__init__()
        owner = "WeightNet2d"
        in_channels, out_channels, groups = checks.depthwise(
            owner, in_channels, out_channels, depthwise
        )
        taps = checks.axes(owner, "kernel_size", kernel_size, 2)
        steps = checks.axes(owner, "stride", stride, 2)
        pads = resolve_padding(owner, padding, taps)
        inputs = in_channels // groups
        count = inputs * math.prod(taps)
        M, G = checks.weight_groups(owner, M, G, count)
        self.in_channels, self.numbers = in_channels, M * out_channels
        self.window = (steps, pads, (1, 1), groups)
        self.shape = (out_channels, inputs, *taps)
        self.sizes = (
            taps,
            tuple((n, n) for n in pads),
            (1, 1),
            "zeros",
        )
        # Each group makes a part of one output channel's kernel from
        # M / G of the numbers.
        self.linear = nn.Conv2D(
            out_channels * count,
            1,
            groups=G * out_channels,
            use_bias=False,
            in_channels=M * out_channels,
            # As a plain kernel would start: each weight is an entry of
            # a kernel, and the linear layer's own fan-in is only M / G.
            weight_initializer=mx.init.Uniform(1 / math.sqrt(count)),
        )

    def forward(self, x: Any, alpha: Any) -> Any:
        """(N, in_channels, H, W) → (N, out_channels, H', W')."""
        owner = "WeightNet2d"
        if check_input(owner, x, 2, self.in_channels):
            check_routing(owner, x, alpha, self.numbers, "alpha")
            check_padded_fits(owner, x.shape[2:], *self.sizes)
        check_input(owner, x, 2, None, self.linear)
        return super().forward(x, alpha)

    def hybrid_forward(self, F: Any, x: Any, alpha: Any) -> Any:
        F = operators(x)
        kernels = self.linear(F.reshape(alpha, (0, 0, 1, 1)))
        kernels = F.reshape(kernels, (-1, *self.shape))
        if not any_size(x):
            return convolve_each(x, kernels, *self.window)
        # A graph for all batches cannot have as many groups as one.
        shape = (0, *self.shape)
        return _unfold_each(F, x, kernels, shape, *self.window)


class WeightNet2d(nn.HybridBlock):
    """A convolution whose kernel is made for each example (Ma et al.,
    2020, arXiv 2007.11823, section 3.2).

    alpha = sigmoid(fc2(fc1(mean(x)))) has M numbers for each output
    channel; a linear layer with G * out_channels groups, without bias,
    makes the kernel of them. M = G = 1 scales the output channels of a
    fixed kernel, as a squeeze-and-excitation after it does.

    Shapes: (N, in_channels, H, W) → (N, out_channels, H', W'), where
    each spatial size follows `d2lutils.shapes.output_size`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size, stride, padding: along both axes, or a pair with
            that of each. Padding may be "valid" for 0 or "same" for
            (kernel_size - 1) / 2.
        M: numbers for each output channel, a multiple of G.
        G: groups of the linear layer for each output channel.
        reduction: how many times narrower than the input the hidden
            layer is.
        depthwise: one filter for each channel; in_channels must equal
            out_channels.

    Raises:
        TypeError, ValueError: a bad argument, named with its value; in
            a call, an input whose shape, dtype or device does not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        M: int = 2,
        G: int = 2,
        reduction: int = 16,
        depthwise: bool = False,
    ) -> None:
        super().__init__()
        self.generated = GeneratedConv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            M,
            G,
            depthwise,
        )
        in_channels, hidden = checks.squeezed(
            "WeightNet2d", "in_channels", in_channels, reduction
        )
        self.in_channels = in_channels
        self.alpha = nn.HybridSequential()
        self.alpha.add(
            nn.GlobalAvgPool2D(),
            nn.Flatten(),
            nn.Dense(hidden, in_units=in_channels),
            nn.Dense(self.generated.numbers, in_units=hidden),
            nn.Activation("sigmoid"),
        )

    def forward(self, x: Any, alpha: Any = None) -> Any:
        """(N, in_channels, H, W) → (N, out_channels, H', W').

        Args:
            x: the input.
            alpha: (N, M * out_channels), instead of the numbers that
                the layer finds itself; M for each channel in turn.
        """
        if alpha is None:
            sizes = (2, self.in_channels)
            check_input("WeightNet2d", x, *sizes, self.alpha)
            return super().forward(x)
        return self.generated(x, alpha)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.generated(x, self.alpha(x))


def _convolving_work(
    layer: Any, inputs: list[Shape], output: Shape
) -> int:
    """Multiply-adds of the convolution; the linear layer that makes its
    kernel has an entry of its own."""
    return math.prod(output) * math.prod(layer.shape[1:])


declare(GeneratedConv2d, Facts(work=_convolving_work))
