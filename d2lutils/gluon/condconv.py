"""CondConv: a convolution that mixes its kernel for each example."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from d2lutils import checks
from d2lutils._adapters.layers import Facts, Shape, declare
from d2lutils.compat import mx
from d2lutils.gluon.inputs import (
    any_size,
    check_input,
    check_routing,
    operators,
)
from d2lutils.shapes import (
    PADDING_MODES,
    check_padded_fits,
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
]

Size = int | tuple[int, int]

nn: Any = mx.gluon.nn


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def mixed(routing: Any, experts: Any) -> Any:
    """The kernel of each example: (N, K) and (K, O, …) → (N, O, …)."""
    return _mixed(operators(routing), routing, experts, experts.shape)


def _mixed(F: Any, routing: Any, experts: Any, shape: Any) -> Any:
    kernels = F.dot(routing, F.reshape(experts, (shape[0], -1)))
    return F.reshape(kernels, (-1, *shape[1:]))


def looped(
    x: Any,
    routing: Any,
    experts: Any,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    """One example after the other, each with its own kernel: slow, and
    the reference for all others.

    Shapes: x (N, I, H, W), routing (N, K), experts (K, O, I / groups,
    k, k) → (N, O, H', W').
    """
    window = (experts.shape, stride, padding, dilation, groups)
    return _looped(operators(x), x, routing, experts, *window)


def _looped(
    F: Any,
    x: Any,
    routing: Any,
    experts: Any,
    shape: Any,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
) -> Any:
    outputs = []
    for i in range(len(x)):
        shares = F.slice_axis(routing, axis=0, begin=i, end=i + 1)
        shares = F.reshape(shares, (-1, 1, 1, 1, 1))
        kernel = F.sum(F.broadcast_mul(shares, experts), axis=0)
        one = F.slice_axis(x, axis=0, begin=i, end=i + 1)
        window = _window(shape, stride, padding, dilation, groups)
        outputs.append(F.Convolution(one, kernel, **window))
    return F.concat(*outputs, dim=0)


def _window(
    shape: Any,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
    copies: int = 1,
) -> dict[str, Any]:
    """Of a convolution with `copies` times the filters."""
    return {
        "kernel": shape[3:],
        "stride": _pair(stride),
        "pad": _pair(padding),
        "dilate": _pair(dilation),
        "num_filter": copies * shape[1],
        "num_group": groups,
        "no_bias": True,
    }


def convolve_each(
    x: Any,
    kernels: Any,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    bias: Any = None,
) -> Any:
    """Convolve each example with its own kernel, as one convolution of
    one example with N times the groups.

    Shapes: x (N, I, H, W), kernels (N, O, I / groups, k, k), bias
    (N, O) → (N, O, H', W').
    """
    n, shape = len(x), kernels.shape
    # Example by example, so that each group meets its own kernel:
    # (N, I, H, W) → (1, N * I, H, W), (N, O, …) → (N * O, …).
    F = operators(x)
    window = _window(shape, stride, padding, dilation, n * groups, n)
    inputs = [
        F.reshape(x, (1, -1, *x.shape[2:])),
        F.reshape(kernels, (-1, *shape[2:])),
    ]
    if bias is not None:
        inputs.append(F.reshape(bias, (-1,)))
        window["no_bias"] = False
    y = F.Convolution(*inputs, **window)
    return F.reshape(y, (n, -1, *y.shape[2:]))


def folded(
    x: Any,
    routing: Any,
    experts: Any,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    """The batch folded into the groups of one convolution.

    Shapes: as `looped`.
    """
    window = (experts.shape, stride, padding, dilation, groups)
    return _folded(operators(x), x, routing, experts, *window)


def _folded(
    F: Any,
    x: Any,
    routing: Any,
    experts: Any,
    shape: Any,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
) -> Any:
    kernels = _mixed(F, routing, experts, shape)
    return convolve_each(x, kernels, stride, padding, dilation, groups)


def unfold_each(
    x: Any,
    kernels: Any,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    """Convolve each example with its own kernel, as one matrix product
    with its patches as columns.

    Shapes: as `convolve_each`.
    """
    window = (kernels.shape, stride, padding, dilation, groups)
    return _unfold_each(operators(x), x, kernels, *window)


def _unfold_each(
    F: Any,
    x: Any,
    kernels: Any,
    shape: Any,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
) -> Any:
    _, outputs, inputs, *taps = shape
    if any(_pair(padding)):
        # Here and not in im2col: a copy that is padded for its shape
        # alone, further down, gets a gradient that MXNet dies of.
        x = _padded(F, x, [(n, n) for n in _pair(padding)])
    rows, columns = _pair(stride)
    spans = [
        d * (k - 1) for d, k in zip(_pair(dilation), taps, strict=True)
    ]
    # A window starts at each of these positions: H' by W' of them.
    starts = F.slice(
        x,
        begin=(None, 0, 0, 0),
        end=(None, 1, *(-span or None for span in spans)),
        step=(1, 1, rows, columns),
    )
    patches = F.im2col(
        x,
        kernel=tuple(taps),
        stride=(rows, columns),
        dilate=_pair(dilation),
        pad=(0, 0),
    )
    # (N, I * taps, L) → (N * groups, I / groups * taps, L)
    count = inputs * math.prod(taps)
    patches = F.reshape(patches, (-1, count, 0))
    sizes = (-1, outputs // groups, count)
    y = F.batch_dot(F.reshape(kernels, sizes), patches)
    ends = {"lhs_begin": 2, "lhs_end": 3, "rhs_begin": 2, "rhs_end": 4}
    return F.reshape_like(
        F.reshape(y, (-1, outputs, 0)), starts, **ends
    )


def unfolded(
    x: Any,
    routing: Any,
    experts: Any,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    """Patches as columns, then one matrix product for each example.

    Shapes: as `looped`.
    """
    window = (experts.shape, stride, padding, dilation, groups)
    return _unfolded(operators(x), x, routing, experts, *window)


def _unfolded(
    F: Any,
    x: Any,
    routing: Any,
    experts: Any,
    shape: Any,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
) -> Any:
    kernels = _mixed(F, routing, experts, shape)
    window = (shape, stride, padding, dilation, groups)
    return _unfold_each(F, x, kernels, *window)


def mixture(
    x: Any,
    routing: Any,
    experts: Any,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    """All experts on all examples, then the answers mixed instead of
    the kernels: the same by linearity, at K times the work.

    Shapes: as `looped`.
    """
    window = (experts.shape, stride, padding, dilation, groups)
    return _mixture(operators(x), x, routing, experts, *window)


def _mixture(
    F: Any,
    x: Any,
    routing: Any,
    experts: Any,
    shape: Any,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
) -> Any:
    count, outputs = shape[:2]
    # A group needs the filters of all experts that belong to it:
    # (K, groups, O / groups, …) → (groups * K * O / groups, …).
    filters = F.reshape(experts, (count, groups, -1))
    filters = F.reshape(F.swapaxes(filters, 0, 1), (-1, *shape[2:]))
    y = F.Convolution(
        x,
        filters,
        **_window(shape, stride, padding, dilation, groups, count),
    )
    answers = F.reshape(y, (0, groups, count, -1))
    shares = F.reshape(routing, (0, 1, count, 1))
    total = F.sum(F.broadcast_mul(answers, shares), axis=2)
    # As many rows and columns as the answers have.
    maps = F.slice_axis(y, axis=1, begin=0, end=outputs)
    return F.reshape_like(total, maps)


#: Every way to convolve each example with its own kernel, by name.
FORMS: dict[str, Callable[..., Any]] = {
    "looped": looped,
    "folded": folded,
    "unfolded": unfolded,
    "mixture": mixture,
}
WITH_F: dict[str, Callable[..., Any]] = {
    "looped": _looped,
    "folded": _folded,
    "unfolded": _unfolded,
    "mixture": _mixture,
}


class Experts2d(nn.HybridBlock):
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
        # What a convolution cannot add itself is added before it.
        apart = padding_mode != "zeros" or any(a != b for a, b in sides)
        inside = (0, 0) if apart else tuple(a for a, _ in sides)
        self.window = (steps, inside, gaps, groups)
        self.pads = sides if apart and any(map(any, sides)) else None
        self.sizes = (taps, sides, gaps, padding_mode)
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
        self.weight = self.params.get(
            "weight", shape=shape, init=mx.init.Uniform(bound)
        )
        self.bias = None
        if bias:
            self.bias = self.params.get(
                "bias",
                shape=shape[:2] if mix_bias else shape[1:2],
                init=mx.init.Uniform(bound),
            )

    def forward(self, x: Any, routing_weights: Any) -> Any:
        """(N, in_channels, H, W) → (N, out_channels, H', W')."""
        owner = "CondConv2d"
        if check_input(owner, x, 2, self.in_channels, self):
            check_routing(owner, x, routing_weights, self.num_experts)
            check_padded_fits(owner, x.shape[2:], *self.sizes)
        return super().forward(x, routing_weights)

    def hybrid_forward(
        self,
        F: Any,
        x: Any,
        routing_weights: Any,
        weight: Any,
        bias: Any = None,
    ) -> Any:
        F = operators(x)
        if self.pads:
            x = _padded(F, x, self.pads, self.sizes[-1])
        form, shape = self._form(x), self.weight.shape
        if bias is not None:
            mixes = self.mix_bias
            bias = F.dot(routing_weights, bias) if mixes else bias
            bias = F.reshape(bias, (-1, shape[1]))
        if form == "folded":
            if bias is not None:
                bias = F.broadcast_to(bias, (len(x), shape[1]))
            kernels = _mixed(F, routing_weights, weight, shape)
            return convolve_each(x, kernels, *self.window, bias)
        y = WITH_F[form](
            F, x, routing_weights, weight, shape, *self.window
        )
        if bias is None:
            return y
        return F.broadcast_add(y, F.reshape(bias, (0, 0, 1, 1)))

    def _form(self, x: Any) -> str:
        """The fastest form by the stored benchmarks, unless one is set.

        A graph does not know how many examples there are, and cannot
        have as many groups. Without one MXNet asks for the memory of
        the patches anew each time: in training nothing is gained.
        """
        if not any_size(x):
            return "folded" if self.form == "auto" else self.form
        form = "unfolded" if self.form == "auto" else self.form
        if form in ("looped", "folded"):
            raise ValueError(
                f"CondConv2d: form={form!r} needs to know the batch "
                "size, which a hybridized net does not: use 'auto', "
                "'unfolded' or 'mixture', or do not hybridize"
            )
        return form


class CondConv2d(nn.HybridBlock):
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
        form: "auto", or the name of one of `FORMS`; hybridized only
            "auto", "unfolded" and "mixture".
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
        self.routing = nn.HybridSequential()
        self.routing.add(
            nn.GlobalAvgPool2D(),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Dense(num_experts, in_units=in_channels),
            nn.Activation("sigmoid"),
        )

    def forward(self, x: Any, routing_weights: Any = None) -> Any:
        """(N, in_channels, H, W) → (N, out_channels, H', W').

        Args:
            x: the input.
            routing_weights: (N, num_experts), instead of those that the
                layer finds itself.
        """
        if routing_weights is None:
            sizes = (2, self.in_channels)
            check_input("CondConv2d", x, *sizes, self.routing)
            return super().forward(x)
        return self.experts(x, routing_weights)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.experts(x, self.routing(x))


_MODES = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "edge",
}


def _padded(F: Any, x: Any, sides: Any, mode: str = "zeros") -> Any:
    """`x` with more positions (before, behind) each of its axes."""
    if mode == "circular":  # which MXNet's pad does not know
        for axis, (before, behind) in enumerate(sides, 2):
            parts = [x]
            if before:
                last = {"begin": -before, "end": None}
                parts.insert(0, F.slice_axis(x, axis=axis, **last))
            if behind:
                first = {"begin": 0, "end": behind}
                parts.append(F.slice_axis(x, axis=axis, **first))
            x = F.concat(*parts, dim=axis) if parts[1:] else x
        return x
    width = (0, 0, 0, 0, *(n for pair in sides for n in pair))
    return F.pad(x, mode=_MODES[mode], pad_width=width)


def _mixing_work(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """Multiply-adds: a kernel for each example is mixed, then used."""
    kernel = math.prod(layer.weight.shape[2:])
    mixed = output[0] * math.prod(layer.weight.shape)
    return mixed + math.prod(output) * kernel


declare(Experts2d, Facts(work=_mixing_work))
