"""CondConv: a convolution that mixes its kernel for each example."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple

from d2lutils._adapters.layer_facts import Facts, Shape, declare
from d2lutils._arguments import (
    Bool,
    DropoutRate,
    Groups,
    Pair,
    Positive,
    checked,
    checked_as,
    one_of,
)
from d2lutils.compat import mx
from d2lutils.gluon.inputs import (
    any_size,
    operators,
    takes_input,
)
from d2lutils.shapes import (
    PaddingMode,
    PaddingSides,
    check_padded_fits,
    split_padding,
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


class _Window(NamedTuple):
    """A convolution, as each example has it with its own kernel."""

    shape: tuple[int, ...]  # (K or N, O, I / groups, k, k)
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    @classmethod
    def of(
        cls,
        kernels: Any,
        stride: Size,
        padding: Size,
        dilation: Size,
        groups: int,
    ) -> _Window:
        s, p, d = map(_pair, (stride, padding, dilation))
        return cls(kernels.shape, s, p, d, groups)

    def options(self, copies: int = 1) -> dict[str, Any]:
        """Of `F.Convolution` with `copies` times the filters."""
        return {
            "kernel": self.shape[3:],
            "stride": self.stride,
            "pad": self.padding,
            "dilate": self.dilation,
            "num_filter": copies * self.shape[1],
            "num_group": self.groups,
            "no_bias": True,
        }


def _form(function: Callable[..., Any]) -> Callable[..., Any]:
    """The form with the arguments of a convolution, for arrays.

    `with_F` is the form itself. It takes Symbols, too: they do not know
    their shape, so that `_Window` does.
    """

    def form(
        x: Any,
        routing: Any,
        experts: Any,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
    ) -> Any:
        window = _Window.of(experts, stride, padding, dilation, groups)
        return function(operators(x), x, routing, experts, window)

    signature = inspect.signature(form)
    functools.update_wrapper(form, function)
    vars(form).update(__signature__=signature, with_F=function)
    return form


def mixed(routing: Any, experts: Any) -> Any:
    """The kernel of each example: (N, K) and (K, O, …) → (N, O, …).

    >>> mixed(mx.nd.ones((2, 3)), mx.nd.ones((3, 8, 4, 3, 3))).shape
    (2, 8, 4, 3, 3)
    """
    return _mixed(operators(routing), routing, experts, experts.shape)


def _mixed(F: Any, routing: Any, experts: Any, shape: Any) -> Any:
    kernels = F.dot(routing, F.reshape(experts, (shape[0], -1)))
    return F.reshape(kernels, (-1, *shape[1:]))


@_form
def looped(
    F: Any, x: Any, routing: Any, experts: Any, window: _Window
) -> Any:
    """One example after the other, each with its own kernel: slow, and
    the reference for all others.

    Shapes: x (N, I, H, W), routing (N, K), experts (K, O, I / groups,
    k, k) → (N, O, H', W').

    >>> x, routing = mx.nd.ones((2, 4, 9, 9)), mx.nd.ones((2, 3))
    >>> looped(x, routing, mx.nd.ones((3, 8, 4, 3, 3))).shape
    (2, 8, 7, 7)
    """
    outputs = []
    for i in range(len(x)):
        shares = F.slice_axis(routing, axis=0, begin=i, end=i + 1)
        shares = F.reshape(shares, (-1, 1, 1, 1, 1))
        kernel = F.sum(F.broadcast_mul(shares, experts), axis=0)
        one = F.slice_axis(x, axis=0, begin=i, end=i + 1)
        outputs.append(F.Convolution(one, kernel, **window.options()))
    return F.concat(*outputs, dim=0)


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

    >>> x = mx.nd.ones((2, 4, 9, 9))
    >>> kernels = mx.nd.ones((2, 8, 4, 3, 3))
    >>> convolve_each(x, kernels, padding=1).shape
    (2, 8, 9, 9)
    """
    n, F = len(x), operators(x)
    # Example by example, so that each group meets its own kernel:
    # (N, I, H, W) → (1, N * I, H, W), (N, O, …) → (N * O, …).
    window = _Window.of(kernels, stride, padding, dilation, n * groups)
    options = window.options(copies=n)
    inputs = [
        F.reshape(x, (1, -1, *x.shape[2:])),
        F.reshape(kernels, (-1, *kernels.shape[2:])),
    ]
    if bias is not None:
        inputs.append(F.reshape(bias, (-1,)))
        options["no_bias"] = False
    y = F.Convolution(*inputs, **options)
    return F.reshape(y, (n, -1, *y.shape[2:]))


@_form
def folded(
    F: Any, x: Any, routing: Any, experts: Any, window: _Window
) -> Any:
    """The batch folded into the groups of one convolution.

    Shapes: as `looped`.
    """
    kernels = _mixed(F, routing, experts, window.shape)
    return convolve_each(x, kernels, *window[1:])


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

    >>> x = mx.nd.ones((2, 4, 9, 9))
    >>> kernels = mx.nd.ones((2, 8, 4, 3, 3))
    >>> unfold_each(x, kernels, stride=2).shape
    (2, 8, 4, 4)
    """
    window = _Window.of(kernels, stride, padding, dilation, groups)
    return _unfold_each(operators(x), x, kernels, window)


def _unfold_each(F: Any, x: Any, kernels: Any, window: _Window) -> Any:
    _, outputs, inputs, *taps = window.shape
    if any(window.padding):
        # Not in im2col: `starts` needs the padded input for its shape,
        # and padding it only there makes MXNet crash in backward.
        x = _padded(F, x, [(n, n) for n in window.padding])
    spans = [
        d * (k - 1) for d, k in zip(window.dilation, taps, strict=True)
    ]
    # A window starts at each of these positions: H' by W' of them.
    starts = F.slice(
        x,
        begin=(None, 0, 0, 0),
        end=(None, 1, *(-span or None for span in spans)),
        step=(1, 1, *window.stride),
    )
    patches = F.im2col(
        x,
        kernel=tuple(taps),
        stride=window.stride,
        dilate=window.dilation,
        pad=(0, 0),
    )
    # (N, I * taps, L) → (N * groups, I / groups * taps, L)
    count = inputs * math.prod(taps)
    patches = F.reshape(patches, (-1, count, 0))
    sizes = (-1, outputs // window.groups, count)
    y = F.batch_dot(F.reshape(kernels, sizes), patches)
    ends = {"lhs_begin": 2, "lhs_end": 3, "rhs_begin": 2, "rhs_end": 4}
    return F.reshape_like(
        F.reshape(y, (-1, outputs, 0)), starts, **ends
    )


@_form
def unfolded(
    F: Any, x: Any, routing: Any, experts: Any, window: _Window
) -> Any:
    """Patches as columns, then one matrix product for each example.

    Shapes: as `looped`.
    """
    kernels = _mixed(F, routing, experts, window.shape)
    return _unfold_each(F, x, kernels, window)


@_form
def mixture(
    F: Any, x: Any, routing: Any, experts: Any, window: _Window
) -> Any:
    """All experts on all examples, then the answers mixed instead of
    the kernels: the same by linearity, at K times the work.

    Shapes: as `looped`.
    """
    (count, outputs, *filter_), groups = window.shape, window.groups
    # A group needs the filters of all experts that belong to it:
    # (K, groups, O / groups, …) → (groups * K * O / groups, …).
    filters = F.reshape(experts, (count, groups, -1))
    filters = F.reshape(F.swapaxes(filters, 0, 1), (-1, *filter_))
    y = F.Convolution(x, filters, **window.options(copies=count))
    answers = F.reshape(y, (0, groups, count, -1))
    shares = F.reshape(routing, (0, 1, count, 1))
    total = F.sum(F.broadcast_mul(answers, shares), axis=2)
    # The rows and columns come from the answers.
    maps = F.slice_axis(y, axis=1, begin=0, end=outputs)
    return F.reshape_like(total, maps)


#: Every way to convolve each example with its own kernel, by name.
FORMS: dict[str, Callable[..., Any]] = {
    "looped": looped,
    "folded": folded,
    "unfolded": unfolded,
    "mixture": mixture,
}
Form = Annotated[str, one_of("auto", FORMS)]


@takes_input(
    "self",
    per_example="num_experts",
    fits=partial(check_padded_fits, "CondConv2d"),
    owner="CondConv2d",
)
class Experts2d(nn.HybridBlock):
    """Kernels and a way to convolve each example with a mixture of
    them: `CondConv2d` without the routing.

    Shapes: (N, in_channels, H, W) and (N, num_experts) → (N,
    out_channels, H', W').

    Args, Raises: as `CondConv2d`.

    >>> layer = Experts2d(4, 8, 3, padding="same")
    >>> layer.initialize()
    >>> layer(mx.nd.ones((2, 4, 9, 9)), mx.nd.ones((2, 3))).shape
    (2, 8, 9, 9)
    """

    @checked_as("CondConv2d")
    def __init__(
        self,
        in_channels: Positive,
        out_channels: Positive,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: PaddingSides = 0,
        dilation: Pair = 1,
        groups: Groups = 1,
        bias: Bool = True,
        padding_mode: PaddingMode = "zeros",
        num_experts: Positive = 3,
        form: Form = "auto",
        mix_bias: Bool = False,
    ) -> None:
        super().__init__()
        self.in_channels, self.num_experts = in_channels, num_experts
        inside, self.pads = split_padding(padding, padding_mode)
        self.padding_mode = padding_mode
        self.options = (stride, inside, dilation, groups)
        self.window = (kernel_size, padding, dilation, padding_mode)
        self.form, self.mix_bias = form, mix_bias
        inputs = in_channels // groups
        shape = (num_experts, out_channels, inputs, *kernel_size)
        # Each expert starts as PyTorch's nn.Conv2d would. For the whole
        # tensor the fan-in would count the output channels, too.
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
            x = _padded(F, x, self.pads, self.padding_mode)
        form = self._form(x)
        window = _Window(self.weight.shape, *self.options)
        if bias is not None:
            if self.mix_bias:
                bias = F.dot(routing_weights, bias)
            bias = F.reshape(bias, (-1, window.shape[1]))
        if form == "folded":
            if bias is not None:
                bias = F.broadcast_to(bias, (len(x), window.shape[1]))
            kernels = _mixed(F, routing_weights, weight, window.shape)
            return convolve_each(x, kernels, *self.options, bias)
        convolve = FORMS[form].with_F  # type: ignore[attr-defined]
        y = convolve(F, x, routing_weights, weight, window)
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


@takes_input("routing", unless="routing_weights")
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
        TypeError, ValueError: a bad argument or input, named.

    >>> layer = CondConv2d(4, 8, 3, padding=1)
    >>> layer.initialize()
    >>> layer(mx.nd.ones((2, 4, 9, 9))).shape
    (2, 8, 9, 9)
    """

    @checked
    def __init__(
        self,
        in_channels: Positive,
        out_channels: Positive,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Size | str = 0,
        dilation: Pair = 1,
        groups: Groups = 1,
        bias: Bool = True,
        padding_mode: PaddingMode = "zeros",
        num_experts: Positive = 3,
        dropout: DropoutRate = 0.2,
        form: Form = "auto",
        mix_bias: Bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
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
