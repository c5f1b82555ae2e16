"""CondConv: a convolution that mixes its kernel for each example."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from d2lutils import checks
from d2lutils._adapters.layers import Facts, Shape, declare
from d2lutils.pytorch.inputs import (
    any_size,
    check_input,
    check_routing,
)
from d2lutils.shapes import (
    PADDING_MODES,
    check_padded_fits,
    condconv_form,
    least_sizes,
    padding_sides,
)

__all__ = [
    "FORMS",
    "CondConv2d",
    "Experts2d",
    "convolve_each",
    "folded",
    "looped",
    "mixed",
    "mixture",
    "unfold_each",
    "unfolded",
    "vmapped",
]

Size = int | tuple[int, int]


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _space(
    space: Any,
    taps: Any,
    stride: Size,
    padding: Size,
    dilation: Size,
) -> list[int]:
    """The height and width of a convolution's output."""
    s, p, d = map(_pair, (stride, padding, dilation))
    # By index: in a graph of torch.fx nothing goes through a shape.
    return [
        (space[i] + 2 * p[i] - d[i] * (taps[i] - 1) - 1) // s[i] + 1
        for i in (0, 1)
    ]


def mixed(routing: torch.Tensor, experts: torch.Tensor) -> torch.Tensor:
    """The kernel of each example: (N, K) and (K, O, …) → (N, O, …)."""
    kernels = routing @ experts.flatten(1)
    # Not by view: a shape of torch.fx cannot be taken apart.
    return kernels.unflatten(1, experts.shape[1:])


def looped(
    x: torch.Tensor,
    routing: torch.Tensor,
    experts: torch.Tensor,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> torch.Tensor:
    """One example after the other, each with its own kernel: slow, and
    the reference for all others.

    Shapes: x (N, I, H, W), routing (N, K), experts (K, O, I / groups,
    k, k) → (N, O, H', W').
    """
    window = (None, stride, padding, dilation, groups)
    outputs = []
    for i in range(len(x)):
        shares = routing[i, :, None, None, None, None]
        kernel = (shares * experts).sum(0)
        outputs.append(F.conv2d(x[i : i + 1], kernel, *window))
    return torch.cat(outputs)


def convolve_each(
    x: torch.Tensor,
    kernels: torch.Tensor,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Convolve each example with its own kernel, as one convolution of
    one example with N times the groups.

    Shapes: x (N, I, H, W), kernels (N, O, I / groups, k, k), bias
    (N, O) → (N, O, H', W').
    """
    # Example by example, so that each group meets its own kernel:
    # (N, I, H, W) → (1, N * I, H, W), (N, O, …) → (N * O, …).
    y = F.conv2d(
        x.reshape(1, -1, *x.shape[2:]),
        kernels.flatten(0, 1),
        None if bias is None else bias.flatten(),
        stride,
        padding,
        dilation,
        x.shape[0] * groups,
    )
    return y.view(x.shape[0], -1, *y.shape[2:])


def folded(
    x: torch.Tensor,
    routing: torch.Tensor,
    experts: torch.Tensor,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> torch.Tensor:
    """The batch folded into the groups of one convolution.

    Shapes: as `looped`.
    """
    kernels = mixed(routing, experts)
    return convolve_each(x, kernels, stride, padding, dilation, groups)


def unfold_each(
    x: torch.Tensor,
    kernels: torch.Tensor,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> torch.Tensor:
    """Convolve each example with its own kernel, as one matrix product
    with its patches as columns.

    Shapes: as `convolve_each`.
    """
    taps = kernels.shape[3:]
    space = _space(x.shape[2:], taps, stride, padding, dilation)
    # Proxies of torch.fx and sizes in a trace cannot be compared.
    known = isinstance(kernels, torch.Tensor) and all(
        type(k) is int for k in taps
    )
    if known and taps == (1, 1) and padding in (0, (0, 0)):
        # Each position is a patch already.
        rows, columns = _pair(stride)
        patches = x[:, :, ::rows, ::columns].flatten(2)
    else:
        patches = F.unfold(x, taps, dilation, padding, stride)
    # (N, I * taps, L) → (N, groups, I / groups * taps, L)
    weights = kernels.flatten(2)
    if groups > 1:
        patches = patches.unflatten(1, (groups, -1))
        weights = weights.unflatten(1, (groups, -1))
        return (weights @ patches).flatten(1, 2).unflatten(2, space)
    return (weights @ patches).unflatten(2, space)


def unfolded(
    x: torch.Tensor,
    routing: torch.Tensor,
    experts: torch.Tensor,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> torch.Tensor:
    """Patches as columns, then one matrix product for each example.

    Shapes: as `looped`.
    """
    kernels = mixed(routing, experts)
    return unfold_each(x, kernels, stride, padding, dilation, groups)


def mixture(
    x: torch.Tensor,
    routing: torch.Tensor,
    experts: torch.Tensor,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> torch.Tensor:
    """All experts on all examples, then the answers mixed instead of
    the kernels: the same by linearity, at K times the work.

    Shapes: as `looped`.
    """
    count = experts.shape[0]
    # A group needs the filters of all experts that belong to it:
    # (K, groups, O / groups, …) → (groups * K * O / groups, …).
    filters = experts.unflatten(1, (groups, -1)).transpose(0, 1)
    y = F.conv2d(
        x,
        filters.flatten(0, 2),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    y = y.unflatten(1, (groups, count, -1))
    return torch.einsum("nk,ngkohw->ngohw", routing, y).flatten(1, 2)


def vmapped(
    x: torch.Tensor,
    routing: torch.Tensor,
    experts: torch.Tensor,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> torch.Tensor:
    """The convolution of one example, vectorised by `torch.vmap`.

    Shapes: as `looped`.
    """

    def one(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        window = (None, stride, padding, dilation, groups)
        return F.conv2d(x[None], kernel, *window)[0]

    kernels = mixed(routing, experts)
    # Under autocast they have another dtype, and vmap casts nothing.
    return torch.vmap(one)(x.to(kernels.dtype), kernels)


#: Every way to convolve each example with its own kernel, by name.
FORMS: dict[str, Callable[..., Any]] = {
    "looped": looped,
    "folded": folded,
    "unfolded": unfolded,
    "mixture": mixture,
    "vmapped": vmapped,
}


class Experts2d(nn.Module):
    """Kernels and a way to convolve each example with a mixture of
    them: `CondConv2d` without the routing.

    Shapes: (N, in_channels, H, W) and (N, num_experts) → (N,
    out_channels, H', W').

    Args, Raises: as `CondConv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        num_experts: int = 3,
        form: str = "auto",
        mix_bias: bool = False,
    ) -> None:
        super().__init__()
        owner = "CondConv2d"
        in_channels, out_channels, groups = checks.grouped(
            owner, in_channels, out_channels, groups
        )
        taps = checks.axes(owner, "kernel_size", kernel_size, 2)
        steps = checks.axes(owner, "stride", stride, 2)
        gaps = checks.axes(owner, "dilation", dilation, 2)
        sides = padding_sides(owner, padding, taps, steps, gaps)
        checks.boolean(owner, "bias", bias)
        checks.choice(
            owner, "padding_mode", padding_mode, PADDING_MODES
        )
        num_experts = checks.positive(owner, "num_experts", num_experts)
        checks.choice(owner, "form", form, ("auto", *FORMS))
        checks.boolean(owner, "mix_bias", mix_bias)
        self.in_channels, self.num_experts = in_channels, num_experts
        self.out_channels = out_channels
        # What a convolution cannot add itself is added before it.
        apart = padding_mode != "zeros" or any(a != b for a, b in sides)
        inside = (0, 0) if apart else tuple(a for a, _ in sides)
        self.window = (steps, inside, gaps, groups)
        # From the last axis to the first, as F.pad counts.
        sizes = tuple(n for pair in reversed(sides) for n in pair)
        self.pads = sizes if apart and any(sizes) else None
        self.sizes = (taps, sides, gaps, padding_mode)
        self.least = least_sizes(*self.sizes)
        self.form, self.mix_bias = form, mix_bias
        shape = (
            num_experts,
            out_channels,
            in_channels // groups,
            *taps,
        )
        # Each expert as nn.Conv2d would start in PyTorch; on the whole
        # tensor the fan-in would be counted with the outputs in it.
        bound = 1 / math.sqrt(math.prod(shape[2:]))
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.uniform_(self.weight, -bound, bound)
        self.bias = None
        if bias:
            sizes = shape[:2] if mix_bias else shape[1:2]
            self.bias = nn.Parameter(torch.empty(sizes))
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(
        self, x: torch.Tensor, routing_weights: torch.Tensor
    ) -> torch.Tensor:
        """(N, in_channels, H, W) → (N, out_channels, H', W')."""
        known = self._fits(x, routing_weights)
        if not known:
            owner = "CondConv2d"
            if check_input(owner, x, 2, self.in_channels, self):
                sizes = (self.num_experts,)
                check_routing(owner, x, routing_weights, *sizes)
                check_padded_fits(owner, x.shape[2:], *self.sizes)
        if self.pads:
            mode = self.sizes[-1]
            mode = "constant" if mode == "zeros" else mode
            x = F.pad(x, self.pads, mode=mode)
        form, weight, bias = self._form(x, known), self.weight, None
        if self.bias is not None:
            bias = self.bias[None]
            if self.mix_bias:
                bias = routing_weights @ self.bias
        if form == "folded":
            if bias is not None:
                bias = bias.expand(x.shape[0], -1)
            kernels = mixed(routing_weights, weight)
            return convolve_each(x, kernels, *self.window, bias)
        y = FORMS[form](x, routing_weights, weight, *self.window)
        if bias is None:
            return y
        # Under autocast the answer has another dtype, and keeps it.
        return y + bias.to(y.dtype)[:, :, None, None]

    def _fits(self, x: Any, routing: Any) -> bool:
        """Whether a call is certainly right: one look at all, since the
        checks that find words take as long as a small convolution."""
        if (
            torch.compiler.is_compiling()
            or not type(x) is type(routing) is torch.Tensor
            or x.ndim != 4
        ):
            return False
        n, channels, height, width = x.shape
        weight, (rows, columns) = self.weight, self.least
        return (
            type(n) is int  # a symbol, where a graph is made
            and n > 0
            and channels == self.in_channels
            and height >= rows
            and width >= columns
            and routing.shape == (n, self.num_experts)
            and x.dtype == routing.dtype == weight.dtype
            and x.device == routing.device == weight.device
        )

    def _form(self, x: torch.Tensor, known: bool = False) -> str:
        """The fastest form by the stored benchmarks, unless one is set.

        With as many groups as examples, Inductor cannot compile a graph
        for any batch size.
        """
        if self.form != "auto":
            return self.form
        if not known and any_size(x):
            return "unfolded"
        (rows, columns), _, _, groups = self.window
        _, _, height, width = x.shape
        positions = height * width // (rows * columns)
        return condconv_form(self.out_channels // groups, positions)


class CondConv2d(nn.Module):
    """A convolution whose kernel is a mixture that each example chooses
    (Yang et al., 2019, arXiv 1904.04971, section 3).

    y = (a_1 W_1 + … + a_K W_K) * x + b, a = sigmoid(R mean(x) + c): the
    mean is over space, R and c are a linear layer.

    Shapes: (N, in_channels, H, W) → (N, out_channels, H', W'), where
    each spatial size follows `d2lutils.shapes.output_size`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size, stride, padding, dilation: along both axes, or a
            pair with that of each. Padding may be "valid" for 0 or
            "same", as in `torch.nn.Conv2d`.
        groups: of the convolution; it must divide both channels.
        bias: give the convolution a bias.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        num_experts: kernels to mix, K.
        dropout: of the means, before the linear layer, in training.
        form: "auto", or the name of one of `FORMS`.
        mix_bias: one bias for each expert, mixed like the kernels,
            instead of one for all.

    Raises:
        TypeError, ValueError: a bad argument, named with its value; in
            a call, an input or routing weights whose shape, dtype or
            device does not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        num_experts: int = 3,
        dropout: float = 0.2,
        form: str = "auto",
        mix_bias: bool = False,
    ) -> None:
        super().__init__()
        self.experts = Experts2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            num_experts,
            form,
            mix_bias,
        )
        self.in_channels = self.experts.in_channels
        dropout = checks.number(
            "CondConv2d", "dropout", dropout, 0, 1, open_high=True
        )
        self.routing = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(in_channels, num_experts),
            nn.Sigmoid(),
        )

    def forward(
        self,
        x: torch.Tensor,
        routing_weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(N, in_channels, H, W) → (N, out_channels, H', W').

        Args:
            x: the input.
            routing_weights: (N, num_experts), instead of those that the
                layer finds itself.
        """
        if routing_weights is None:
            sizes = (2, self.in_channels)
            check_input("CondConv2d", x, *sizes, self.routing)
            routing_weights = self.routing(x)
        return self.experts(x, routing_weights)


def _mixing_work(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """Multiply-adds: a kernel for each example is mixed, then used."""
    kernel = math.prod(layer.weight.shape[2:])
    mixed = output[0] * math.prod(layer.weight.shape)
    return mixed + math.prod(output) * kernel


declare(Experts2d, Facts(work=_mixing_work))
