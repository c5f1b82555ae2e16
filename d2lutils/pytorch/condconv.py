"""CondConv: a convolution that mixes its kernel for each example."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

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
from d2lutils.pytorch.inputs import any_size, takes_input
from d2lutils.shapes import (
    PaddingMode,
    PaddingSides,
    check_padded_fits,
    condconv_form,
    split_padding,
)
from d2lutils.timing import stored

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
    # By index: a shape in a graph of torch.fx cannot be iterated over.
    return [
        (space[i] + 2 * p[i] - d[i] * (taps[i] - 1) - 1) // s[i] + 1
        for i in (0, 1)
    ]


class _Window(NamedTuple):
    """A convolution, as each example has it with its own kernel."""

    stride: Size
    padding: Size
    dilation: Size
    groups: int


def _form(function: Callable[..., Any]) -> Callable[..., Any]:
    """The form with the arguments of a convolution."""

    def form(
        x: torch.Tensor,
        routing: torch.Tensor,
        experts: torch.Tensor,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
    ) -> Any:
        window = _Window(stride, padding, dilation, groups)
        return function(x, routing, experts, window)

    signature = inspect.signature(form)
    functools.update_wrapper(form, function)
    vars(form)["__signature__"] = signature
    return form


def mixed(routing: torch.Tensor, experts: torch.Tensor) -> torch.Tensor:
    """The kernel of each example: (N, K) and (K, O, …) → (N, O, …).

    >>> mixed(torch.ones(2, 3), torch.ones(3, 8, 4, 3, 3)).shape
    torch.Size([2, 8, 4, 3, 3])
    """
    kernels = routing @ experts.flatten(1)
    # Not by view: a shape in a graph of torch.fx cannot be unpacked.
    return kernels.unflatten(1, experts.shape[1:])


@_form
def looped(
    x: Any, routing: Any, experts: Any, window: _Window
) -> torch.Tensor:
    """One example after the other, each with its own kernel: slow, and
    the reference for all others.

    Shapes: x (N, I, H, W), routing (N, K), experts (K, O, I / groups,
    k, k) → (N, O, H', W').

    >>> x, routing = torch.ones(2, 4, 9, 9), torch.ones(2, 3)
    >>> looped(x, routing, torch.ones(3, 8, 4, 3, 3)).shape
    torch.Size([2, 8, 7, 7])
    """
    outputs = []
    for i in range(len(x)):
        shares = routing[i, :, None, None, None, None]
        kernel = (shares * experts).sum(0)
        outputs.append(F.conv2d(x[i : i + 1], kernel, None, *window))
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

    >>> x, kernels = torch.ones(2, 4, 9, 9), torch.ones(2, 8, 4, 3, 3)
    >>> convolve_each(x, kernels, padding=1).shape
    torch.Size([2, 8, 9, 9])
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


@_form
def folded(
    x: Any, routing: Any, experts: Any, window: _Window
) -> torch.Tensor:
    """The batch folded into the groups of one convolution.

    Shapes: as `looped`.
    """
    kernels = mixed(routing, experts)
    return convolve_each(x, kernels, *window)


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

    >>> x, kernels = torch.ones(2, 4, 9, 9), torch.ones(2, 8, 4, 3, 3)
    >>> unfold_each(x, kernels, stride=2).shape
    torch.Size([2, 8, 4, 4])
    """
    taps = kernels.shape[3:]
    space = _space(x.shape[2:], taps, stride, padding, dilation)
    # Proxies of torch.fx, and sizes in a trace, cannot be compared.
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


@_form
def unfolded(
    x: Any, routing: Any, experts: Any, window: _Window
) -> torch.Tensor:
    """Patches as columns, then one matrix product for each example.

    Shapes: as `looped`.
    """
    kernels = mixed(routing, experts)
    return unfold_each(x, kernels, *window)


@_form
def mixture(
    x: Any, routing: Any, experts: Any, window: _Window
) -> torch.Tensor:
    """All experts on all examples, then the answers mixed instead of
    the kernels: the same by linearity, at K times the work.

    Shapes: as `looped`.
    """
    count, groups = experts.shape[0], window.groups
    # A group needs the filters of all experts that belong to it:
    # (K, groups, O / groups, …) → (groups * K * O / groups, …).
    filters = experts.unflatten(1, (groups, -1)).transpose(0, 1)
    y = F.conv2d(x, filters.flatten(0, 2), None, *window)
    y = y.unflatten(1, (groups, count, -1))
    return torch.einsum("nk,ngkohw->ngohw", routing, y).flatten(1, 2)


@_form
def vmapped(
    x: Any, routing: Any, experts: Any, window: _Window
) -> torch.Tensor:
    """The convolution of one example, vectorised by `torch.vmap`.

    Shapes: as `looped`.
    """

    def one(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x[None], kernel, None, *window)[0]

    kernels = mixed(routing, experts)
    # Under autocast the kernels have another dtype than x, and vmap
    # does not convert.
    return torch.vmap(one)(x.to(kernels.dtype), kernels)


#: Every way to convolve each example with its own kernel, by name.
FORMS: dict[str, Callable[..., Any]] = {
    "looped": looped,
    "folded": folded,
    "unfolded": unfolded,
    "mixture": mixture,
    "vmapped": vmapped,
}


Form = Annotated[str, one_of("auto", FORMS)]
# Batch, channels in, channels out, positions; and the faster form.
_Measured = dict[torch.dtype, tuple[tuple[tuple[int, ...], str], ...]]


@functools.cache
def _measured() -> _Measured:
    """The faster form by dtype and size on the card whose report is
    stored; empty without one."""
    found: dict[torch.dtype, list[Any]] = {}
    try:
        rows = stored("gpu")["condconv"]
    except ValueError:
        return {}
    for row in rows:
        n, inputs, outputs, space = row["size"]
        form = min(row["ms"], key=row["ms"].get)
        size = (n, inputs, outputs, space**2)
        dtype = getattr(torch, row["dtype"])
        found.setdefault(dtype, []).append((size, form))
    return {dtype: tuple(forms) for dtype, forms in found.items()}


def _nearest(measured: Any, size: tuple[int, ...]) -> str:
    """The form at the size whose numbers are the fewest times larger
    or smaller."""
    best, least = "folded", math.inf
    # A plain loop, which torch.compile can follow.
    for known, form in measured:
        apart = 1.0
        for a, b in zip(known, size, strict=True):
            apart *= max(a, b) / min(a, b)
        if apart < least:
            best, least = form, apart
    return best


@takes_input(
    "self",
    per_example="num_experts",
    fits=partial(check_padded_fits, "CondConv2d"),
    owner="CondConv2d",
)
class Experts2d(nn.Module):
    """Kernels and a way to convolve each example with a mixture of
    them: `CondConv2d` without the routing.

    Shapes: (N, in_channels, H, W) and (N, num_experts) → (N,
    out_channels, H', W').

    Args, Raises: as `CondConv2d`.

    >>> layer = Experts2d(4, 8, 3, padding="same")
    >>> layer(torch.ones(2, 4, 9, 9), torch.ones(2, 3)).shape
    torch.Size([2, 8, 9, 9])
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
        self.out_channels = out_channels
        inside, self.pads = split_padding(padding, padding_mode)
        self.padding_mode = padding_mode
        self.options = (stride, inside, dilation, groups)
        self.window = (kernel_size, padding, dilation, padding_mode)
        self.form, self.mix_bias = form, mix_bias
        self.measured = _measured()
        inputs = in_channels // groups
        shape = (num_experts, out_channels, inputs, *kernel_size)
        # Each expert starts as PyTorch's nn.Conv2d would. For the whole
        # tensor the fan-in would count the output channels, too.
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
        if self.pads:
            zeros = self.padding_mode == "zeros"
            mode = "constant" if zeros else self.padding_mode
            # From the last axis to the first, as F.pad counts.
            pads = [n for pair in reversed(self.pads) for n in pair]
            x = F.pad(x, pads, mode=mode)
        form, bias = self._form(x), None
        if self.bias is not None:
            bias = self.bias[None]
            if self.mix_bias:
                bias = routing_weights @ self.bias
        if form == "folded":
            if bias is not None:
                bias = bias.expand(x.shape[0], -1)
            kernels = mixed(routing_weights, self.weight)
            return convolve_each(x, kernels, *self.options, bias)
        convolve = FORMS[form]
        y = convolve(x, routing_weights, self.weight, *self.options)
        if bias is None:
            return y
        # Under autocast y has another dtype than bias, and keeps it.
        return y + bias.to(y.dtype)[:, :, None, None]

    def _form(self, x: torch.Tensor) -> str:
        """The fastest form by the stored benchmarks, unless one is set:
        on a GPU, those of the GPU report, if there are any.

        With as many groups as examples, Inductor cannot compile a graph
        for any batch size.
        """
        if self.form != "auto":
            return self.form
        if any_size(x):
            return "unfolded"
        (rows, columns), _, _, groups = self.options
        n, _, height, width = x.shape
        positions = height * width // (rows * columns)
        filters = self.out_channels // groups
        if x.is_cuda and self.measured:
            known = self.measured.get(x.dtype)
            if known is None:
                known = next(iter(self.measured.values()))
            inputs = self.in_channels // groups
            size = (n, inputs, filters, max(positions, 1))
            return _nearest(known, size)
        return condconv_form(filters, positions)


@takes_input("routing", unless="routing_weights")
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
        form: "auto", or the name of one of `FORMS`. "auto" takes the
            fastest by measurement. On a GPU, that is the size nearest
            to x in the stored results of `python -m d2lutils
            gpu-report`; where none are stored, the CPU's rule.
        mix_bias: one bias for each expert, mixed like the kernels,
            instead of one for all.

    Raises:
        TypeError, ValueError: a bad argument or input, named.

    >>> layer = CondConv2d(4, 8, 3, padding=1)
    >>> layer(torch.ones(2, 4, 9, 9)).shape
    torch.Size([2, 8, 9, 9])
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
            routing_weights = self.routing(x)
        return self.experts(x, routing_weights)


def _mixing_work(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """Multiply-adds: a kernel for each example is mixed, then used."""
    kernel = math.prod(layer.weight.shape[2:])
    mixed = output[0] * math.prod(layer.weight.shape)
    return mixed + math.prod(output) * kernel


declare(Experts2d, Facts(work=_mixing_work))
