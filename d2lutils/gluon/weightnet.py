"""WeightNet: a small network that makes the kernel of each example."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Any

from d2lutils._adapters.layer_facts import Facts, Shape, declare
from d2lutils._arguments import (
    Depthwise,
    KernelGroups,
    Pair,
    Positive,
    at_most,
    checked,
    checked_as,
)
from d2lutils.compat import mx
from d2lutils.gluon.condconv import (
    _unfold_each,
    _Window,
    convolve_each,
)
from d2lutils.gluon.inputs import (
    any_size,
    operators,
    takes_input,
)
from d2lutils.shapes import Padding, check_padded_fits

__all__ = ["GeneratedConv2d", "WeightNet2d"]

Reduction = Annotated[int, at_most("in_channels")]

nn: Any = mx.gluon.nn


@takes_input(
    per_example="numbers",
    fits=partial(check_padded_fits, "WeightNet2d"),
    owner="WeightNet2d",
)
@takes_input("linear", channels="", owner="WeightNet2d")
class GeneratedConv2d(nn.HybridBlock):
    """A convolution whose kernel a grouped linear layer makes of a
    vector: `WeightNet2d` without what makes the vector.

    Shapes: (N, in_channels, H, W) and (N, M * out_channels) → (N,
    out_channels, H', W').

    Args, Raises: as `WeightNet2d`.

    >>> layer = GeneratedConv2d(4, 8, 3, padding=1)
    >>> layer.initialize()
    >>> layer(mx.nd.ones((2, 4, 9, 9)), mx.nd.ones((2, 16))).shape
    (2, 8, 9, 9)
    """

    @checked_as("WeightNet2d")
    def __init__(
        self,
        in_channels: Positive,
        out_channels: Positive,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Padding = 0,
        M: Positive = 2,
        G: KernelGroups = 2,
        depthwise: Depthwise = False,
    ) -> None:
        super().__init__()
        groups = out_channels if depthwise else 1
        inputs = in_channels // groups
        count = inputs * math.prod(kernel_size)
        self.in_channels, self.numbers = in_channels, M * out_channels
        self.options = (stride, padding, (1, 1), groups)
        self.shape = (out_channels, inputs, *kernel_size)
        sides = tuple((n, n) for n in padding)
        self.window = (kernel_size, sides, (1, 1), "zeros")
        # Each group turns M / G numbers into a part of one output
        # channel's kernel.
        self.linear = nn.Conv2D(
            out_channels * count,
            1,
            groups=G * out_channels,
            use_bias=False,
            in_channels=M * out_channels,
            # Each weight becomes an entry of a kernel, so it starts as
            # a plain kernel's; this layer's own fan-in is only M / G.
            weight_initializer=mx.init.Uniform(1 / math.sqrt(count)),
        )

    def forward(self, x: Any, alpha: Any) -> Any:
        """(N, in_channels, H, W) → (N, out_channels, H', W')."""
        return super().forward(x, alpha)

    def hybrid_forward(self, F: Any, x: Any, alpha: Any) -> Any:
        F = operators(x)
        kernels = self.linear(F.reshape(alpha, (0, 0, 1, 1)))
        kernels = F.reshape(kernels, (-1, *self.shape))
        if not any_size(x):
            return convolve_each(x, kernels, *self.options)
        # The number of groups would fix a graph's batch size.
        window = _Window((0, *self.shape), *self.options)
        return _unfold_each(F, x, kernels, window)


@takes_input("alpha", unless="alpha")
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
        TypeError, ValueError: a bad argument or input, named.

    >>> layer = WeightNet2d(16, 8, 3, padding=1)
    >>> layer.initialize()
    >>> layer(mx.nd.ones((2, 16, 9, 9))).shape
    (2, 8, 9, 9)
    """

    @checked
    def __init__(
        self,
        in_channels: Positive,
        out_channels: Positive,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Padding = 0,
        M: Positive = 2,
        G: KernelGroups = 2,
        reduction: Reduction = 16,
        depthwise: Depthwise = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        hidden = in_channels // reduction
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
