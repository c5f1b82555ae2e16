"""What each layer of a net produces, holds and computes, from real passes.

`ledger(net, shape)` runs a net of either framework on zeros and records for every
layer its output shape, its parameters, its multiply-adds and the bytes that it makes
training keep. A multiply-add is one multiplication with its addition (two
floating-point operations); biases, batch norms, activations and pooling are not
counted, as in the papers' tables.

Bytes follow from two questions. What does the backward pass of a layer need: its
input, its output, something of its own (`_KEEPS`)? And which tensors are the same
memory? What two layers keep is counted once. `memory` in either half measures the
same bytes without these rules; the tests hold both together.
"""

from __future__ import annotations

import csv
import importlib
import inspect
import io
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from d2lutils import checks
from d2lutils.lifetimes import Lifetimes
from d2lutils.nets import (
    STATISTICS,
    GluonNet,
    Net,
    bare_kind,
    bare_name,
    from_framework,
    net_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DTYPES", "OPTIMIZERS", "Entry", "Ledger", "Memory", "ledger", "rule"]

#: Numbers that an optimiser keeps for each trained number.
OPTIMIZERS = {"sgd": 0, "momentum": 1, "adam": 2}
#: Bytes of a number.
DTYPES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
#: What training keeps, in the colours of the figure.
KEPT_COLORS = {
    "activations": "#5b6470",
    "indices": "#c2491a",
    "masks": "#1f6fb4",
    "statistics": "#00785a",
}


@dataclass(frozen=True)
class Entry:
    """One call of one layer.

    `output` is its shape, batch included; `weights` and `biases` count trained
    numbers, `buffers` running statistics; `multiply_adds` are for the whole batch.
    A layer called twice has two entries, the second without parameters.

    The rest is in bytes, for the whole batch: `activations` is the layer's output, if
    anything keeps it for the backward pass; `indices`, `masks` and `statistics` are
    what a max pooling, a dropout and a batch norm keep besides.
    """

    path: str
    kind: str
    output: tuple[int, ...]
    weights: int = 0
    biases: int = 0
    buffers: int = 0
    multiply_adds: int = 0
    activations: int = 0
    indices: int = 0
    masks: int = 0
    statistics: int = 0

    @property
    def parameters(self) -> int:
        """Trained numbers: weights and biases."""
        return self.weights + self.biases

    @property
    def kept(self) -> int:
        """Bytes that training keeps from here to the backward pass."""
        return self.activations + self.indices + self.masks + self.statistics


@dataclass(frozen=True)
class Memory:
    """Bytes that a net takes with some batch size, dtype and optimiser.

    Attributes:
        batch_size, dtype, optimizer: what it is for.
        parameters, buffers: of the net. Inference needs both, too.
        gradients, state: one gradient for each parameter, and the optimiser's numbers.
        input, activations, indices, masks, statistics: what training keeps from the
            forward to the backward pass; see `Entry`.
        live: the largest set of tensors that inference needs at the same time, the
            input and the output included.
    """

    batch_size: int
    dtype: str
    optimizer: str
    parameters: int
    buffers: int
    gradients: int
    state: int
    input: int
    activations: int
    indices: int
    masks: int
    statistics: int
    live: int

    @property
    def kept(self) -> int:
        """What training keeps from the forward to the backward pass."""
        parts = (self.activations, self.indices, self.masks, self.statistics)
        return self.input + sum(parts)

    @property
    def training(self) -> int:
        """All of the above together, as they are after a forward pass.

        Gluon always has gradients then; PyTorch only where `zero_grad` keeps them, and
        by default it makes them while backward frees what was kept. On top come the
        gradients of activations and work space.
        """
        fixed = self.parameters + self.buffers + self.gradients + self.state
        return fixed + self.kept

    @property
    def inference(self) -> int:
        """The net and the largest live set."""
        return self.parameters + self.buffers + self.live


@dataclass
class Ledger:
    """The entries of a net in the order in which its layers ran.

    Attributes:
        entries: one for each call of a layer.
        shape, dtype: of the input that the net was run on.
        input: bytes of the input, if training keeps it.
        between: bytes that training keeps of what is made between layers, by a sum
            for instance.
        live: the largest set of tensors that inference needs at the same time, in
            bytes, and the operation that needs them; None where that is not known.
        lifetimes: the operations of inference, from which `live` follows.
        unknown: why `kept` and `live` are not known, by name.
        frozen: trained numbers that get no gradient, since somebody said so.
    """

    entries: list[Entry] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    input: int = 0
    between: int = 0
    live: tuple[int, str] | None = None
    lifetimes: Lifetimes | None = None
    unknown: dict[str, str] = field(default_factory=dict)
    frozen: int = 0

    @property
    def parameters(self) -> int:
        """Trained numbers of all layers."""
        return sum(entry.parameters for entry in self.entries)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of all layers, for the whole batch."""
        return sum(entry.multiply_adds for entry in self.entries)

    @property
    def buffers(self) -> int:
        """Running statistics of all layers."""
        return sum(entry.buffers for entry in self.entries)

    @property
    def kept(self) -> int:
        """Bytes that training keeps from the forward to the backward pass.

        Raises:
            ValueError: a layer has no rule, or the net does not run in training.
        """
        self._require_kept()
        return self.input + self.between + sum(entry.kept for entry in self.entries)

    def _require_kept(self) -> None:
        if "kept" in self.unknown:
            raise ValueError(f"ledger: {self.unknown['kept']}")

    def memory(
        self,
        batch_size: int | None = None,
        dtype: str | None = None,
        optimizer: str = "sgd",
    ) -> Memory:
        """The bytes with another batch size, dtype or optimiser.

        What is kept grows with the batch, but for a batch norm's statistics; indices
        do not shrink with the dtype, so another operation may need most.

        Args:
            batch_size: examples; by default those of the run.
            dtype: of parameters and activations alike; by default that of the run.
            optimizer: "sgd", "momentum" or "adam".

        Raises:
            TypeError, ValueError: a bad argument; bytes that are not known.
        """
        owner = "memory"
        batch = self.shape[0] if batch_size is None else batch_size
        batch = checks.positive(owner, "batch_size", batch)
        dtype = self.dtype if dtype is None else dtype
        size = DTYPES[checks.choice(owner, "dtype", dtype, tuple(DTYPES))]
        states = OPTIMIZERS[
            checks.choice(owner, "optimizer", optimizer, tuple(OPTIMIZERS))
        ]
        if self.lifetimes is None:
            raise ValueError(f"ledger: {self.unknown['live']}")
        self._require_kept()
        old = DTYPES[self.dtype]

        def scaled(count: int, by_dtype: bool = True, by_batch: bool = True) -> int:
            # Whole examples and whole numbers: these divisions leave nothing.
            if by_batch:
                count = count // self.shape[0] * batch
            return count // old * size if by_dtype else count

        def total(name: str) -> int:
            return sum(getattr(entry, name) for entry in self.entries)

        return Memory(
            batch_size=batch,
            dtype=dtype,
            optimizer=optimizer,
            parameters=size * self.parameters,
            buffers=size * self.buffers,
            gradients=size * (self.parameters - self.frozen),
            state=size * states * (self.parameters - self.frozen),
            input=scaled(self.input),
            activations=scaled(total("activations") + self.between),
            indices=scaled(total("indices"), by_dtype=False),
            masks=scaled(total("masks")),
            statistics=scaled(total("statistics"), by_batch=False),
            live=scaled(self.lifetimes.largest(size)[0], by_dtype=False),
        )

    def crossover(self, optimizer: str = "adam", dtype: str | None = None) -> int:
        """The smallest batch whose kept bytes exceed all that has the size of the
        parameters: themselves, their gradients and the optimiser's state.

        Raises:
            TypeError, ValueError: as `memory`.
        """
        one = self.memory(1, dtype, optimizer)
        fixed = one.parameters + one.gradients + one.state
        example = one.kept - one.statistics
        if not example:
            raise ValueError(
                "crossover: training keeps nothing, so no batch exceeds it"
            )
        return max(1, (fixed - one.statistics) // example + 1)

    def _rows(self) -> tuple[list[str], list[list[Any]]]:
        """Headers and one row for each entry: words and numbers."""
        headers = ["layer", "kind", "output", "parameters", "multiply-adds"]
        rows: list[list[Any]] = [
            [
                entry.path or "(net)",
                entry.kind,
                "x".join(map(str, entry.output[1:])),
                entry.parameters,
                entry.multiply_adds,
            ]
            for entry in self.entries
        ]
        total: list[Any] = ["total", "", "", self.parameters, self.multiply_adds]
        if "kept" not in self.unknown:
            headers.append("kept bytes")
            for row, entry in zip(rows, self.entries, strict=True):
                row.append(entry.kept)
            for name in ("input", "between"):
                if getattr(self, name):
                    rows.append([name, "", "", 0, 0, getattr(self, name)])
            total.append(self.kept)
        return headers, [*rows, total]

    def csv(self) -> str:
        """Everything about each layer, a line each, with a line of names on top."""
        names = ["path", "kind", "output", "weights", "biases", "buffers"]
        names += ["multiply_adds", "activations", "indices", "masks", "statistics"]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        for entry in self.entries:
            values = {**vars(entry), "output": "x".join(map(str, entry.output))}
            writer.writerow([values[name] for name in names])
        return text.getvalue()

    def figure(self, ax: Axes | None = None) -> Axes:
        """Draw the bytes that training keeps as one stacked bar for each layer.

        Args:
            ax: axes to draw on; a new figure by default.

        Raises:
            ValueError: bytes that are not known.
        """
        import matplotlib.pyplot as plt

        self._require_kept()
        bars = [("input", {"activations": self.input})] if self.input else []
        for entry in self.entries:
            parts = {name: getattr(entry, name) for name in KEPT_COLORS}
            bars.append((f"{entry.path} {entry.kind}".strip(), parts))
        if self.between:
            bars.append(("between layers", {"activations": self.between}))
        bars = [(label, parts) for label, parts in bars if any(parts.values())]
        if ax is None:
            size = (7.2, 1.2 + 0.24 * len(bars))
            _, ax = plt.subplots(figsize=size, layout="constrained")
        rows = range(len(bars))
        left = [0.0] * len(bars)
        for name, color in KEPT_COLORS.items():
            widths = [parts.get(name, 0) / 1e6 for _, parts in bars]
            if any(widths):
                ax.barh(rows, widths, left=left, color=color, label=name)
                left = [a + b for a, b in zip(left, widths, strict=True)]
        ax.set_yticks(rows, [label for label, _ in bars])
        ax.invert_yaxis()
        ax.set_xlabel("kept for the backward pass, megabytes (10⁶ bytes)")
        ax.legend()
        return ax

    def _table(self) -> tuple[list[str], list[list[str]]]:
        headers, rows = self._rows()
        return headers, [
            [f"{cell:,}" if isinstance(cell, int) else cell for cell in row]
            for row in rows
        ]

    def __repr__(self) -> str:
        from d2lutils import show

        headers, lines = self._table()
        return repr(show.table(lines, headers))

    def _repr_html_(self) -> str:
        from d2lutils import show

        headers, lines = self._table()
        align = ["left"] * 3 + ["right"] * (len(headers) - 3)
        return show.table(lines, headers, align=align)._repr_html_()


@dataclass(frozen=True)
class _Keeps:
    """What the backward pass of a layer needs.

    `indices` is in bytes for each number of the output, `mask` stands for a number of
    the net's dtype there, `statistics` are numbers for each channel.
    """

    input: bool = False
    output: bool = False
    indices: int = 0
    mask: bool = False
    statistics: int = 0


_NOTHING, _INPUT = _Keeps(), _Keeps(input=True)
_OUTPUT, _BOTH = _Keeps(output=True), _Keeps(input=True, output=True)
# Backward of these needs no values: they move numbers about, or add zeros.
_HAND_ON = ("Flatten", "Identity", "SubsampleZeroPad", "ZeroPadShortcut")
_CURVES = ("ELU", "GELU", "LeakyReLU", "PReLU", "SELU")
_HARD = ("Hardsigmoid", "Hardswish", "Hardtanh", "ReLU6", "Softplus")
_NORM = _Keeps(input=True, statistics=2)  # of the batch: mean, 1 / deviation
_KEEPS: dict[str, dict[str, _Keeps]] = {
    "pytorch": {
        **dict.fromkeys(("Conv", "ConvTranspose", "Linear", "AvgPool"), _INPUT),
        **dict.fromkeys((*_CURVES, *_HARD, "SiLU"), _INPUT),
        **dict.fromkeys(("ReLU", "Sigmoid", "Tanh"), _OUTPUT),
        **dict.fromkeys(("LogSoftmax", "Softmax"), _OUTPUT),
        **dict.fromkeys(("MaxPool", "AdaptiveMaxPool"), _Keeps(input=True, indices=8)),
        "BatchNorm": _NORM,
        "Dropout": _Keeps(mask=True),
        **dict.fromkeys((*_HAND_ON, "Upsample", "ZeroPad"), _NOTHING),
    },
    "gluon": {
        **dict.fromkeys(("Conv", "ConvTranspose", "Dense"), _INPUT),
        # A pooling's backward gets its output, too, whether it needs it or not; on a
        # CPU max pooling remembers places in four bytes each.
        **dict.fromkeys(("AvgPool", "GlobalAvgPool"), _BOTH),
        **dict.fromkeys(
            ("MaxPool", "GlobalMaxPool"), _Keeps(input=True, output=True, indices=4)
        ),
        "relu": _OUTPUT,
        **dict.fromkeys(("sigmoid", "softrelu", "softsign", "tanh"), _BOTH),
        **dict.fromkeys(_CURVES, _BOTH),
        "BatchNorm": _NORM,
        "Dropout": _Keeps(mask=True),
        **dict.fromkeys(_HAND_ON, _NOTHING),
    },
}


# Gluon's operations that keep nothing, also as functions between layers; what joins
# and cuts, adds, and multiplies by a number. NumPy's sums keep both of their terms.
_FREE = {
    *("Flatten", "Reshape", "SliceChannel", "SwapAxis", "_copy", "expand_dims"),
    *("slice", "slice_axis", "squeeze", "stack", "transpose", "mean"),
    *("add_n", "broadcast_add", "broadcast_sub", "elemwise_add", "elemwise_sub"),
    *("_plus_scalar", "_minus_scalar", "_rminus_scalar", "_mul_scalar", "_div_scalar"),
    *("_np_reshape", "_np_transpose", "_npi_concatenate", "_npi_mean", "_split_v2"),
    *("_npi_add_scalar", "_npi_subtract_scalar", "_npi_rsubtract_scalar"),
    *("_npi_multiply_scalar", "_npi_true_divide_scalar"),
}


_READERS = ("BatchNorm", "Convolution", "Deconvolution", "FullyConnected", "Pooling")


def _keeps(framework: str, layer: Any) -> _Keeps | None:
    """What the backward pass of a layer needs, or None if no rule says so."""
    kind = bare_kind(layer)
    if kind == "Linear" and not layer.weight.requires_grad:
        return _NOTHING  # the others keep as much for any one of their gradients
    if kind == "BatchNorm" and not getattr(layer, "training", True):
        return _INPUT if layer.running_mean is not None else _NORM
    if kind in ("Conv", "Dense") and getattr(layer, "act", None) is not None:
        after = _keeps(framework, layer.act)
        # What would be kept between the two is nobody's output.
        return _BOTH if after == _OUTPUT else None
    if kind == "Activation":  # Gluon's has its function as an argument
        kind = layer._act_type
    if kind == "AdaptiveAvgPool":  # one output is a mean, which needs no values
        sizes = layer.output_size
        sizes = sizes if isinstance(sizes, (tuple, list)) else (sizes,)
        return _NOTHING if set(sizes) == {1} else _INPUT
    if framework == "gluon" and _pads(layer) and np.max(layer.stride) == 1:
        return _INPUT  # for its shape; with a stride that of `_copies`
    if kind == "Dropout" and not _plain_dropout(layer):
        return None
    if _copies_input(layer):
        return _NOTHING  # of its own output
    return _KEEPS[framework].get(kind)


def _pads(layer: Any) -> bool:
    """Whether a layer is one of this package's that append channels of zeros."""
    kinds = ("SubsampleZeroPad", "ZeroPadShortcut")
    return bare_kind(layer) in kinds and layer.channels > layer.in_channels


def _plain_dropout(layer: Any) -> bool:
    """Whether a dropout has a mask of the size of its input."""
    kind = next((k for k in type(layer).__mro__ if from_framework(k)), type(layer))
    return kind.__name__ == "Dropout" and not getattr(layer, "_axes", ())


# Work of one call: of the layer, its inputs' shapes and its first output's shape.
Work = Callable[[Any, list[tuple[int, ...]], tuple[int, ...]], int]


def _kernel(layer: Any) -> tuple[tuple[int, ...], int, str]:
    """Kernel size, groups and layout of a convolution: what it was made with."""
    numbers = getattr(layer, "_kwargs", None)
    if numbers:
        return numbers["kernel"], numbers["num_group"], numbers["layout"]
    return layer.kernel_size, layer.groups, ""


def _conv(layer: Any, inputs: list[tuple[int, ...]], output: tuple[int, ...]) -> int:
    """Each output value is a product with one kernel, of I / groups channels."""
    kernel, groups, layout = _kernel(layer)
    channels = inputs[0][layout.index("C")] if layout else layer.in_channels
    return prod(output) * channels // groups * prod(kernel)


def _transposed(
    layer: Any, inputs: list[tuple[int, ...]], output: tuple[int, ...]
) -> int:
    """Each input value multiplies one kernel, of O / groups channels."""
    kernel, groups, layout = _kernel(layer)
    channels = output[layout.index("C")] if layout else layer.out_channels
    return prod(inputs[0]) * channels // groups * prod(kernel)


def _dense(layer: Any, inputs: list[tuple[int, ...]], output: tuple[int, ...]) -> int:
    # Gluon's flattens, unless told otherwise.
    axes = inputs[0][1:] if getattr(layer, "_flatten", False) else inputs[0][-1:]
    return prod(output) * prod(axes)


def _bilinear(
    layer: Any, inputs: list[tuple[int, ...]], output: tuple[int, ...]
) -> int:
    """For each output value a matrix times a vector, then a product of vectors."""
    return prod(output) * inputs[0][-1] * (inputs[1][-1] + 1)


def _recurrent(gates: int) -> Work:
    """Each gate is a matrix for the input and one for the state, at each step."""

    def work(layer: Any, inputs: list[tuple[int, ...]], output: tuple[int, ...]) -> int:
        def number(name: str, default: int = 0) -> int:
            return (
                getattr(layer, name, None) or getattr(layer, f"_{name}", 0) or default
            )

        hidden = number("hidden_size")
        projected = number("proj_size") or number("projection_size")
        state = projected or hidden
        directions = number("dir") or 1 + bool(number("bidirectional"))
        *steps, width = inputs[0]
        total = 0
        for _ in range(number("num_layers", 1)):
            one = gates * hidden * (width + state) + hidden * projected
            total += directions * one
            width = directions * state
        return prod(steps) * total

    return work


def _attention(
    layer: Any, inputs: list[tuple[int, ...]], output: tuple[int, ...]
) -> int:
    """Four projections, the scores and the weighted sums."""
    (*_, wide), (*_, keys), (*_, values) = inputs[:3]
    time = 0 if len(output) == 2 or not layer.batch_first else 1
    batch = 1 if len(output) == 2 else output[1 - time]
    queries, read = inputs[0][time], inputs[1][time]
    seen = read + (layer.bias_k is not None) + layer.add_zero_attn
    projections = 2 * queries * wide + read * (keys + values)
    return batch * wide * (projections + 2 * queries * seen)


# By a layer's class without its rank, in either framework; those that hold parameters.
_RULES: dict[str, Work] = {
    "Conv": _conv,
    "ConvTranspose": _transposed,
    **dict.fromkeys(("Dense", "Linear"), _dense),
    "Bilinear": _bilinear,
    **dict.fromkeys(("RNN", "RNNCell"), _recurrent(1)),
    **dict.fromkeys(("GRU", "GRUCell"), _recurrent(3)),
    **dict.fromkeys(("LSTM", "LSTMCell"), _recurrent(4)),
    "MultiheadAttention": _attention,
    # A kernel for each example, mixed from (K, O, I / groups, k, k), then used.
    "Experts": lambda layer, inputs, output: (
        output[0] * prod(layer.weight.shape)
        + prod(output) * prod(layer.weight.shape[2:])
    ),
    # Its linear layer made the kernel.
    "GeneratedConv": lambda layer, inputs, output: prod(output) * prod(layer.shape[1:]),
    # What the papers do not count, or what only looks something up.
    **dict.fromkeys(
        (
            *("BatchNorm", "GroupNorm", "InstanceNorm", "LayerNorm", "RMSNorm"),
            *("Embedding", "EmbeddingBag", "PReLU"),
        ),
        lambda layer, inputs, output: 0,
    ),
}
_ADDED: dict[type, Work] = {}
# Blocks of this package that compute something besides what their layers do.
_COMPOSITE = ("GeneratedConv", "SqueezeExcite")
# Layers whose children do what their rule already says.
_WHOLE = ("MultiheadAttention",)


def rule(kind: type, multiply_adds: Work) -> None:
    """Tell what a call of a layer computes, for its class and what derives from it.

    A layer with a rule counts as one: its parameters are all that it holds, also in
    children, whose own work the rule must include.

    Args:
        kind: a class of Gluon Blocks or PyTorch Modules. The nearest base with a rule
            decides; a rule given again replaces the old one.
        multiply_adds: a function of the layer, a list with the shape of each input, and
            the shape of the first output. It returns the multiply-adds of the call,
            for the whole batch.

    Raises:
        TypeError: `kind` is no class, `multiply_adds` no function.

    >>> from math import prod
    >>> import torch
    >>> from torch import nn
    >>> from d2lutils.ledger import ledger, rule
    >>> class Scale(nn.Module):
    ...     def __init__(self, channels):
    ...         super().__init__()
    ...         self.scale = nn.Parameter(torch.ones(channels, 1, 1))
    ...     def forward(self, x):
    ...         return x * self.scale
    >>> rule(Scale, lambda layer, inputs, output: prod(output))
    >>> ledger(Scale(3), (2, 3, 4, 4)).multiply_adds
    96
    """
    if not isinstance(kind, type):
        raise TypeError(f"rule: kind must be a class, got {kind!r}")
    if not callable(multiply_adds):
        raise TypeError(
            f"rule: multiply_adds must be a function, got {multiply_adds!r}"
        )
    _ADDED[kind] = multiply_adds


def _rule_of(layer: Any) -> tuple[str, Work | None]:
    """The nearest class of a layer that has a rule, its name without rank, and it."""
    for base in type(layer).__mro__:
        if base in _ADDED:
            return "", _ADDED[base]
        kind = bare_name(base)
        if from_framework(base) and kind in _RULES:
            return kind, _RULES[kind]
    return "", None


def _adds_matrices(kind: str, layer: Any, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether a class of one's own computes with more than its base's weight, as an
    adaptation of low rank does; a scale for each channel is not counted anyway."""
    own = kind in ("Conv", "ConvTranspose", "Dense", "Linear")
    return (
        own
        and bare_kind(layer) != kind
        and any(
            role not in ("weight", "bias")
            and sum(n > 1 for n in shape) > 1
            and shape != shapes.get("weight")  # works number by number
            for role, shape in shapes.items()
        )
    )


def _children(net: Any) -> dict[str, Any]:
    """The direct children of a Block or Module, by name."""
    return dict(getattr(net, "_children", None) or getattr(net, "_modules", {}))


def _leaves(
    net: Any, path: str = "", found: dict[int, tuple[str, Any]] | None = None
) -> dict[int, tuple[str, Any]]:
    """(path, layer) of every layer with a rule or without children, in registration
    order.

    A layer that is registered twice is listed once, under its first path. A block that
    computes something besides what its layers do is listed, too.
    """
    found = {} if found is None else found
    children = {k: v for k, v in _children(net).items() if v is not None}
    kind, work = _rule_of(net)
    if work is not None:
        # Gluon's `activation=` makes a child; PyTorch's parametrizations are one.
        children = {
            name: child
            for name, child in children.items()
            if kind
            and kind not in _WHOLE
            and name != "parametrizations"
            and child is not getattr(net, "act", None)
        }
    if work is not None or not children or bare_kind(net) in _COMPOSITE:
        found.setdefault(id(net), (path, net))
    for name, child in children.items():
        _leaves(child, f"{path}.{name}" if path else str(name), found)
    return found


def _arrays(arrays: Any) -> list[Any]:
    """The arrays in nested tuples and lists, one after the other."""
    if isinstance(arrays, (tuple, list)):
        return [one for array in arrays for one in _arrays(array)]
    return [arrays] if hasattr(arrays, "shape") else []


def _shapes(arrays: Any) -> list[tuple[int, ...]]:
    return [tuple(array.shape) for array in _arrays(arrays)]


class _UnknownWorkError(Exception):
    """A layer has parameters, but no rule says what it computes."""


class _Recorder:
    """Makes an entry of each call that a layer's forward hook reports."""

    def __init__(self, net: Net, leaves: dict[int, tuple[str, Any]]) -> None:
        self.net = net
        self.entries: list[Entry] = []
        paths = sorted((path for path, _ in leaves.values()), key=len, reverse=True)
        # The tensors of each layer, those of its parametrizations included, by name.
        self.tensors: dict[str, dict[str, Any]] = {}
        self.kinds: dict[str, str] = {}
        for layer in net.layers:
            inside = (p for p in paths if f"{layer.path}.".startswith(f"{p}.") or not p)
            path = next(inside, layer.path)
            self.kinds.setdefault(path, layer.kind)
            whole = layer.tensors.get("weight")
            for role, tensor in layer.tensors.items():
                if role in STATISTICS or not self._is_constant(role, tensor, whole):
                    name = f"{layer.path}.{role}"[len(path) :].lstrip(".")
                    self.tensors.setdefault(path, {})[name] = tensor
        self.seen: set[str] = set()
        self.counted: set[int] = set()
        self.frozen = 0

    def _is_constant(self, role: str, tensor: Any, weight: Any) -> bool:
        """Whether a tensor is stored and never trained: Gluon's constants, the gamma of
        a norm without scale, a mask beside the weight that it belongs to. Freezing a
        parameter does not make it one."""
        if role not in ("weight", "bias") and weight is not None:
            alike = self.net.shape(tensor) == self.net.shape(weight)
            if alike and not _gets_gradient(tensor):
                return True
        constant = type(tensor).__name__ == "Constant"
        return constant or not getattr(tensor, "_differentiable", True)

    def _shapes(self, path: str) -> dict[str, tuple[int, ...]]:
        tensors = self.tensors.get(path, {})
        return {name: self.net.shape(tensor) for name, tensor in tensors.items()}

    def _sizes(self, path: str) -> dict[str, int]:
        """Numbers by kind, of tensors that no other layer has been counted with."""
        sizes = dict.fromkeys(("weights", "biases", "buffers"), 0)
        for name, tensor in self.tensors.get(path, {}).items():
            identity = self.net.identity(tensor)
            if identity not in self.counted:
                self.counted.add(identity)
                kind = "biases" if "bias" in name else "weights"
                kind = "buffers" if name in STATISTICS else kind
                size = prod(self.net.shape(tensor))
                sizes[kind] += size
                if kind != "buffers" and not _gets_gradient(tensor):
                    self.frozen += size
        return sizes

    def hook(self, path: str, layer: Any) -> Callable[..., None]:
        """A forward hook for the layer at a path."""
        kind, work = _rule_of(layer)

        def record(_layer: Any, inputs: Any, output: Any) -> None:
            shapes = self._shapes(path)
            produced = next(iter(_shapes(output)), ())
            if work is not None and not _adds_matrices(kind, layer, shapes):
                count = work(layer, _shapes(inputs), produced)
            elif shapes:
                raise self._unknown(path, type(layer).__name__)
            else:
                count = 0
            if not isinstance(count, (int, np.integer)) or count < 0:
                raise _UnknownWorkError(
                    f"the rule for {path or 'the net'} ({type(layer).__name__}) must "
                    f"return an integer from 0 on, got {count!r}"
                )
            self.seen.add(path)
            self.entries.append(
                Entry(
                    path,
                    type(layer).__name__.lstrip("_"),
                    produced,
                    multiply_adds=int(count),
                    **self._sizes(path),
                )
            )

        return record

    def _unknown(self, path: str, kind: str, more: str = "") -> _UnknownWorkError:
        return _UnknownWorkError(
            f"no rule for the work of {path or 'the net'} ({kind}), which has "
            f"parameters {self._shapes(path)}{more}; d2lutils.ledger.rule adds one"
        )

    def complete(self) -> None:
        """Raise for a layer whose parameters no entry accounts for."""
        for path in self.tensors:
            if path not in self.seen:
                more = " and did not run, or not as a layer without children"
                raise self._unknown(path, self.kinds[path], more)


def _gets_gradient(tensor: Any) -> bool:
    if isinstance(tensor, tuple):  # a module and the name of its parameter
        return bool(getattr(*tensor).requires_grad)
    return bool(tensor.grad_req != "null")


class _Keeper:
    """Finds out which memory the layers of a net make training keep."""

    def __init__(self, adapter: Net) -> None:
        self.adapter = adapter
        self.framework = "gluon" if isinstance(adapter, GluonNet) else "pytorch"
        self.paths: list[str] = []
        self.own: list[dict[str, int]] = []  # bytes besides tensors, for each call
        self.producers: dict[Hashable, int] = {}
        self.kept: dict[Hashable, int] = {}
        self.alive: list[Any] = []  # or their memory could be used again
        self.missing = ""
        self.inside: set[str] = set()  # Gluon's operations, by their nodes' names

    def _operations(self, arrays: Any) -> dict[str, tuple[str, list[str]]]:
        """Gluon's recorded operations on the way to the arrays."""
        found: dict[str, tuple[str, list[str]]] = {}
        if isinstance(self.adapter, GluonNet):
            for array in _arrays(arrays):
                found |= self.adapter.operations(array)
        return found

    def between(self, outputs: list[Any]) -> list[str]:
        """Kinds of Gluon's operations outside layers that may keep something."""
        found = self._operations(outputs)
        outside = {name: kind for name, (kind, _) in found.items()}
        # A ReLU keeps its output, which is counted where a layer keeps its input.
        counted = set()
        for name in outside.keys() & self.inside:
            kind, reads = found[name]
            if kind in _READERS:
                counted.add(reads[0])
            del outside[name]
        kinds = {
            kind
            for name, kind in outside.items()
            if kind not in ("relu", "_npx_relu") or name not in counted
        }
        return sorted(kinds - _FREE)

    def hook(self, path: str, layer: Any, rate: float | None) -> Callable[..., Any]:
        """A forward hook for the layer at a path; `rate` is a dropout's."""

        def record(_layer: Any, inputs: Any, output: Any) -> Any:
            keeps = _keeps(self.framework, layer)
            replaced = None
            # One that is frozen in evaluation mode drops nothing.
            drops = rate and getattr(layer, "training", True)
            if keeps is not None and keeps.mask:
                if rate == 1:
                    keeps = None  # all zeros, without a mask
                elif not drops:
                    keeps = _NOTHING
                elif hasattr(output, "clone"):
                    # PyTorch's dropout, switched off here, returned its very input.
                    output = replaced = output.clone()
            outputs = _arrays(output)
            self.alive += [*inputs, output]
            index = len(self.paths)
            self.paths.append(path)
            self.own.append({})
            for array in outputs:
                self.producers.setdefault(self.adapter.block_of(array)[0], index)
            if isinstance(self.adapter, GluonNet):
                own = type(layer).__module__.startswith("mxnet.")
                if own and not getattr(layer, "act", None):
                    self.inside |= {self.adapter.operation(a) for a in outputs}
                else:  # several operations
                    after, before = map(self._operations, (outputs, inputs))
                    self.inside |= after.keys() - before.keys()
            if not any(map(self.adapter.is_recorded, outputs)):
                return replaced  # nothing before it is trained
            if keeps is None or not all(
                hasattr(a, "shape") for a in (inputs[0], output)
            ):
                kind = type(layer).__name__.lstrip("_")
                self.missing = self.missing or (
                    f"no rule for what training keeps of {path or 'the net'} ({kind})"
                )
                return None
            if keeps.input:
                read, size = self.adapter.block_of(inputs[0])
                self.kept[read] = size
            if keeps.output:
                made, size = self.adapter.block_of(output)
                self.kept[made] = size
                self.producers[made] = index  # also in place
            numbers, item = prod(output.shape), _itemsize(output)
            on_gpu = bool(getattr(output, "is_cuda", False))
            axis = getattr(layer, "_kwargs", {}).get("axis", 1)
            channels = output.shape[axis] if keeps.statistics else 0
            self.own[index] = {
                "activations": _copies(self.framework, layer, output),
                "indices": keeps.indices * numbers,
                "masks": (1 if on_gpu else item) * numbers * keeps.mask,
                "statistics": item * keeps.statistics * channels,
            }
            return replaced

        return record


def _copies_input(layer: Any) -> bool:
    """Whether a curve in place keeps a copy of what it overwrites."""
    return bare_kind(layer) in (*_HARD, "SiLU") and getattr(layer, "inplace", False)


def _copies(framework: str, layer: Any, output: Any) -> int:
    """Bytes of tensors inside a layer that its backward pass gets."""
    if _copies_input(layer):
        return _itemsize(output) * prod(output.shape)
    if framework == "pytorch" or not _pads(layer):
        return 0
    # What is padded, reshaped into a copy, all zeros, and one channel of them; what a
    # stride leaves besides, for its shape.
    channels = layer.channels + 1 + layer.in_channels * (np.max(layer.stride) > 1)
    return _itemsize(output) * prod(output.shape) // layer.channels * channels


def _itemsize(array: Any) -> int:
    if hasattr(array, "element_size"):
        return int(array.element_size())
    return np.dtype(array.dtype).itemsize


@contextmanager
def _hooked(adapter: Net, net: Any, make: Callable[..., Any]) -> Iterator[None]:
    """A forward hook on every layer inside; none afterwards."""
    if isinstance(adapter, GluonNet):
        adapter.hybridize(False)  # hooks inside a cached graph do not run

    def named(hook: Callable[..., Any]) -> Callable[..., Any]:
        def with_names(layer: Any, inputs: Any, names: Any, output: Any) -> Any:
            if names:  # in the order in which the layer declares them
                bound = inspect.signature(layer.forward).bind(*inputs, **names)
                inputs = tuple(bound.arguments.values())
            return hook(layer, inputs, output)

        return with_names

    hooks = []
    for path, layer in _leaves(net).values():
        hook = make(path, layer)
        if isinstance(adapter, GluonNet):
            hooks.append(layer.register_forward_hook(hook))
        else:
            hooks.append(layer.register_forward_hook(named(hook), with_kwargs=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.detach() if isinstance(adapter, GluonNet) else hook.remove()


def _dangerous(result: Ledger, adapter: Net) -> bool:
    """Whether oneDNN may end the process in a recorded float32 pass of a Gluon net:
    joining and cutting maps did so. In float64 it has no part."""
    if result.dtype != "float32" or not isinstance(adapter, GluonNet):
        return False
    names = [o.name for o in result.lifetimes.operations] if result.lifetimes else []
    return any(re.search("concat|slice|split", name) for name in names)


def _training(result: Ledger, adapter: Net, net: Any, zeros: list[np.ndarray]) -> None:
    """Fill in what training keeps, or why that is not known."""
    keeper = _Keeper(adapter)
    rates = {
        path: getattr(layer, "p", getattr(layer, "_rate", None))
        for path, layer in _leaves(net).values()
        if bare_kind(layer) == "Dropout"
    }

    def make(path: str, layer: Any) -> Callable[..., Any]:
        return keeper.hook(path, layer, rates.get(path))

    double = _dangerous(result, adapter)
    try:
        with adapter.undisturbed(), _hooked(adapter, net, make):
            if double and isinstance(adapter, GluonNet):
                adapter.cast("float64")
            inputs, outputs, saved = adapter.train(zeros)
            between = keeper.between(outputs)
    except Exception as error:
        result.unknown["kept"] = f"the net fails in training: {checks.reason(error)}"
        return
    if keeper.missing:
        result.unknown["kept"] = keeper.missing
        return
    if keeper.paths != [entry.path for entry in result.entries]:
        result.unknown["kept"] = "other layers run in training than in inference"
        return
    if between:
        result.unknown["kept"] = (
            f"no rule for what {', '.join(between)} between the layers makes training "
            "keep; gluon.memory.kept_bytes measures it"
        )
        return
    if double:
        keeper.kept = {key: size // 2 for key, size in keeper.kept.items()}
        for own in keeper.own:
            own |= {name: n // 2 for name, n in own.items() if name != "indices"}
    found = sum(keeper.kept.values()) + sum(
        count for own in keeper.own for kind, count in own.items() if kind != "masks"
    )
    if saved is not None and saved != found:
        # A dropout is off here and its mask missing, on both sides.
        result.unknown["kept"] = (
            f"the rules for the layers say {found:,} bytes, but PyTorch saves "
            f"{saved:,}: something besides whole layers, such as a functional call or "
            "a padding mode, changes what training keeps"
        )
        return
    given = {adapter.block_of(x)[0] for x in inputs}
    activations = [0] * len(result.entries)
    for key, size in keeper.kept.items():
        if key in given:
            result.input += size
        elif key in keeper.producers:
            activations[keeper.producers[key]] += size
        else:
            result.between += size
    result.entries = [
        replace(
            entry,
            activations=count + own.get("activations", 0),
            indices=own.get("indices", 0),
            masks=own.get("masks", 0),
            statistics=own.get("statistics", 0),
        )
        for entry, count, own in zip(
            result.entries, activations, keeper.own, strict=True
        )
    ]


def ledger(net: Any, input_shape: Sequence[int]) -> Ledger:
    """Run a net on zeros and write down what each layer did.

    What is done outside layers, such as a sum, is seen only through the layers that
    read it. In PyTorch on a CPU the bytes that training keeps are held against what
    autograd really saves, and refused if they differ; so is a Gluon net with functions
    between its layers that may keep more (`gluon.memory.kept_bytes` measures it). The
    multiply-adds of a function are not seen, such as a product with the weight of a
    layer that also ran. The rules are those of a CPU, but for PyTorch's dropout mask.
    Branches that stochastic depth might drop are all there. The net gets one input:
    zeros of its own dtype, or whole numbers where its first layer is an embedding.

    The work of a layer follows from what it was made with and the shapes of its input
    and output, wherever its weights are stored. A class of one's own counts by the
    nearest base with a rule, also if it overrides the forward pass; `rule` adds one.
    What Gluon stores but never trains, such as the gamma of a norm without scale, is no
    parameter; what somebody froze is one, and is counted in `frozen` besides.

    Args:
        net: a Gluon Block, initialised, or a PyTorch Module. It is run in evaluation
            and in training mode, and left as it was.
        input_shape: (N, C, L), (N, C, H, W) or what else the net takes, batch included.

    Returns:
        A `Ledger`: `.entries`, `.parameters`, `.multiply_adds`, `.kept`, `.live`,
        `.memory(batch_size, dtype, optimizer)`, `.crossover()`, `.csv()`, `.figure()`,
        a table in a notebook.

    Raises:
        TypeError: `net` belongs to neither framework, a size is no integer.
        ValueError: a size below 1, a layer with parameters whose work is not known,
            or a forward pass that fails (the message has the shape).
    """
    owner = "ledger"
    shape = checks.shape_of(owner, "input_shape", input_shape)
    adapter = net_of(owner, "net", net)
    leaves = _leaves(net)
    zeros = [adapter.example(shape)]
    entries: list[Entry] = []
    try:
        adapter.settle(zeros)
        recorder = _Recorder(adapter, leaves)
        entries = recorder.entries
        with adapter.undisturbed(), _hooked(adapter, net, recorder.hook):
            adapter.evaluate(zeros)
        recorder.complete()
    except _UnknownWorkError as error:
        raise ValueError(f"{owner}: {error}") from None
    except Exception as error:
        after = (
            f" after layer {entries[-1].path} {entries[-1].output}" if entries else ""
        )
        raise ValueError(
            f"{owner}: the net fails on input_shape={shape}{after}: "
            f"{checks.reason(error)}"
        ) from error
    result = Ledger(entries, shape, adapter.dtype(), frozen=recorder.frozen)
    half = "gluon" if isinstance(adapter, GluonNet) else "pytorch"
    memory = importlib.import_module(f"d2lutils.{half}.memory")
    try:
        result.lifetimes = memory.lifetimes(net, shape)
        result.live = result.lifetimes.largest()
    except ValueError as error:
        result.unknown["live"] = str(error).removeprefix("lifetimes: ")
    _training(result, adapter, net, zeros)
    return result
