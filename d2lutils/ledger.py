"""What each layer of a net produces, holds and computes, from real passes.

`ledger(net, shape)` runs a net of either framework on zeros and records for every
layer its output shape, its parameters, its multiply-adds and the bytes that it makes
training keep. A multiply-add is one multiplication with its addition (two
floating-point operations); biases, batch norms, activations and pooling are not
counted, as in the papers' tables.

The bytes follow from what the backward pass of a layer needs (its input, its output,
something of its own) and from which tensors are the same memory: what two layers keep
is counted once. `gluon.memory` and `pytorch.memory` measure the same bytes without
these rules, and the tests compare the two.

What each kind of layer computes and keeps stands in `_adapters.layer_facts`. `chain_of`
reads the windows of a net's layers, `net_unread` says which rows and columns of its
input no layer reads.
"""

from __future__ import annotations

import csv
import importlib
import io
import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from d2lutils import _arguments, _errors
from d2lutils._adapters import (
    STATISTICS,
    Net,
    adapter_of,
    arrays_in,
    children_of,
    hooked,
)
from d2lutils._adapters.chains import chain_of, net_unread
from d2lutils._adapters.layer_facts import (
    Facts,
    Keeps,
    Work,
    class_kind,
    entry_of,
    facts_of,
    from_framework,
    layer_kind,
)
from d2lutils._lifetimes import Lifetimes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "DTYPES",
    "OPTIMIZERS",
    "Entry",
    "Ledger",
    "Memory",
    "chain_of",
    "ledger",
    "net_unread",
    "rule",
]

#: Numbers that an optimiser keeps for each trained number.
OPTIMIZERS = {"sgd": 0, "momentum": 1, "adam": 2}
#: Bytes of a number.
DTYPES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
#: The figure's colours, by what training keeps.
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
        between: bytes that training keeps of tensors from between the layers, such
            as a sum.
        live: the largest set of tensors that inference needs at the same time, in
            bytes, and the operation that needs them; None where that is not known.
        lifetimes: the operations of inference, from which `live` follows.
        unknown: why `kept` and `live` are not known, by name.
        frozen: numbers of frozen parameters, which get no gradient.
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
        return self._total("parameters")

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of all layers, for the whole batch."""
        return self._total("multiply_adds")

    @property
    def buffers(self) -> int:
        """Running statistics of all layers."""
        return self._total("buffers")

    @property
    def kept(self) -> int:
        """Bytes that training keeps from the forward to the backward pass.

        Raises:
            ValueError: a layer has no rule, or the net does not run in training.
        """
        self._require_kept()
        return self.input + self.between + self._total("kept")

    def _total(self, name: str) -> int:
        return sum(getattr(entry, name) for entry in self.entries)

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

        What is kept grows with the batch, except for a batch norm's statistics. Indices
        do not shrink with the dtype, so another operation may then need most.

        Args:
            batch_size: examples; by default those of the run.
            dtype: of parameters and activations alike; by default that of the run.
            optimizer: "sgd", "momentum" or "adam".

        Raises:
            TypeError, ValueError: a bad argument; bytes that are not known.
        """
        owner = "memory"
        batch = self.shape[0] if batch_size is None else batch_size
        batch = _arguments.positive(owner, "batch_size", batch)
        dtype = self.dtype if dtype is None else dtype
        size = DTYPES[_arguments.choice(owner, "dtype", dtype, tuple(DTYPES))]
        _arguments.choice(owner, "optimizer", optimizer, tuple(OPTIMIZERS))
        if self.lifetimes is None:
            raise ValueError(f"ledger: {self.unknown['live']}")
        self._require_kept()
        old = DTYPES[self.dtype]

        def scaled(count: int, by_dtype: bool = True, by_batch: bool = True) -> int:
            # Counts are of whole examples and numbers: no division has a remainder.
            if by_batch:
                count = count // self.shape[0] * batch
            return count // old * size if by_dtype else count

        trained = size * (self.parameters - self.frozen)
        return Memory(
            batch_size=batch,
            dtype=dtype,
            optimizer=optimizer,
            parameters=size * self.parameters,
            buffers=size * self.buffers,
            gradients=trained,
            state=trained * OPTIMIZERS[optimizer],
            input=scaled(self.input),
            activations=scaled(self._total("activations") + self.between),
            indices=scaled(self._total("indices"), by_dtype=False),
            masks=scaled(self._total("masks")),
            statistics=scaled(self._total("statistics"), by_batch=False),
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

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Headers and one row for each entry, without bytes that are not known."""
        headers = ["layer", "kind", "output", "parameters", "multiply-adds"]
        headers += ["kept bytes"] * ("kept" not in self.unknown)
        rows: list[tuple[Any, ...]] = []
        for e in self.entries:
            output = "x".join(map(str, e.output[1:]))
            path = e.path or "(net)"
            rows.append((path, e.kind, output, e.parameters, e.multiply_adds, e.kept))
        for name in ("input", "between"):
            if getattr(self, name):
                rows.append((name, "", "", 0, 0, getattr(self, name)))
        kept = sum(row[-1] for row in rows)
        rows.append(("total", "", "", self.parameters, self.multiply_adds, kept))
        return headers, [
            [f"{x:,}" if isinstance(x, int) else x for x in row[: len(headers)]]
            for row in rows
        ]

    def csv(self) -> str:
        """Everything about each layer, a line each, with a line of names on top."""
        names = [column.name for column in fields(Entry)]
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        for entry in self.entries:
            output = "x".join(map(str, entry.output))
            writer.writerow({**vars(entry), "output": output})
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
        bars = [("input", {"activations": self.input})]
        for entry in self.entries:
            parts = {name: getattr(entry, name) for name in KEPT_COLORS}
            bars.append((f"{entry.path} {entry.kind}".strip(), parts))
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

    def __repr__(self) -> str:
        from d2lutils import show

        headers, lines = self._table()
        return repr(show.table(lines, headers))

    def _repr_html_(self) -> str:
        from d2lutils import show

        headers, lines = self._table()
        align = ["left"] * 3 + ["right"] * (len(headers) - 3)
        return show.table(lines, headers, align=align)._repr_html_()


_ADDED: dict[type, Facts] = {}


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
    _ADDED[kind] = Facts(work=multiply_adds, whole=True)


def _rule_of(layer: Any) -> tuple[type, Facts] | None:
    """The nearest class of a layer whose work is known, and what is known of it."""
    for kind in type(layer).__mro__:
        facts = _ADDED.get(kind) or entry_of(kind)
        if facts is not None and facts.work is not None:
            return kind, facts
    return None


def _adds_matrices(kind: type, layer: Any, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether a class derived from a layer adds matrices to it, as low-rank adaptation
    does. A scale for each channel needs no rule: such products are not counted."""
    if kind in _ADDED or facts_of(layer).work is not None:
        return False
    return class_kind(kind) in ("Conv", "ConvTranspose", "Dense", "Linear") and any(
        role not in ("weight", "bias")
        and sum(n > 1 for n in shape) > 1
        and shape != shapes.get("weight")  # that is an elementwise product
        for role, shape in shapes.items()
    )


def _leaves(net: Any) -> list[tuple[str, Any]]:
    """(path, layer) of every layer with a rule or without children, in registration
    order.

    A layer that is registered twice is listed once, under its first path. A block with
    a rule for what it computes itself is listed beside its children.
    """
    found: dict[int, tuple[str, Any]] = {}

    def collect(layer: Any, path: str) -> None:
        children, known = children_of(layer), _rule_of(layer)
        if known is not None:
            # Gluon's `activation=` and PyTorch's parametrizations are children, too;
            # what they do is part of the layer.
            children.pop("parametrizations", None)
            activation = getattr(layer, "act", None)
            children = {
                name: child
                for name, child in children.items()
                if child is not activation and not known[1].whole
            }
        if known is not None or not children:
            found.setdefault(id(layer), (path, layer))
        for name, child in children.items():
            collect(child, f"{path}.{name}" if path else str(name))

    collect(net, "")
    return list(found.values())


def _shapes(arrays: Any) -> list[tuple[int, ...]]:
    return [tuple(array.shape) for array in arrays_in(arrays)]


def _kind(layer: Any) -> str:
    return type(layer).__name__.lstrip("_")


def _hooked(net: Net, record: Callable[..., Any]) -> AbstractContextManager[None]:
    """`record` gets the path, the layer, the inputs and the output of each call."""
    if net.framework == "gluon":
        net.net.hybridize(False)  # hooks inside a cached graph do not run
    return hooked([(layer, partial(record, path)) for path, layer in _leaves(net.net)])


class _UnknownWorkError(Exception):
    """A layer has parameters, but no rule says what it computes."""


class _Recorder:
    """Makes an entry of each call that a layer's forward hook reports."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.entries: list[Entry] = []
        self.frozen = 0
        self.counted: set[int] = set()
        # The tensors of each layer, those of its parametrizations included, by name.
        self.tensors: dict[str, dict[str, Any]] = {}
        self.waiting: dict[str, str] = {}  # kinds of those that have not run
        paths = sorted((path for path, _ in _leaves(net.net)), key=len, reverse=True)
        for layer in net.layers:
            inside = (p for p in paths if f"{layer.path}.".startswith(f"{p}.") or not p)
            path = next(inside, layer.path)
            whole = layer.tensors.get("weight")
            for role, tensor in layer.tensors.items():
                if role in STATISTICS or not self._is_constant(role, tensor, whole):
                    name = f"{layer.path}.{role}"[len(path) :].lstrip(".")
                    self.tensors.setdefault(path, {})[name] = tensor
                    self.waiting.setdefault(path, layer.kind)

    def _is_constant(self, role: str, tensor: Any, weight: Any) -> bool:
        """Whether a tensor is stored and never trained: Gluon's constants, the gamma of
        a norm without scale, a mask of a weight. A frozen parameter is none."""
        if role not in ("weight", "bias") and weight is not None:
            alike = self.net.shape(tensor) == self.net.shape(weight)
            if alike and not self.net.gets_gradient(tensor):
                return True
        constant = type(tensor).__name__ == "Constant"
        return constant or not getattr(tensor, "_differentiable", True)

    def _shapes(self, path: str) -> dict[str, tuple[int, ...]]:
        tensors = self.tensors.get(path, {})
        return {name: self.net.shape(tensor) for name, tensor in tensors.items()}

    def _sizes(self, path: str) -> dict[str, int]:
        """Numbers by kind; a tensor that layers share counts for the first of them."""
        sizes = dict.fromkeys(("weights", "biases", "buffers"), 0)
        for name, tensor in self.tensors.get(path, {}).items():
            identity = self.net.identity(tensor)
            if identity not in self.counted:
                self.counted.add(identity)
                kind = "biases" if "bias" in name else "weights"
                kind = "buffers" if name in STATISTICS else kind
                size = prod(self.net.shape(tensor))
                sizes[kind] += size
                if kind != "buffers" and not self.net.gets_gradient(tensor):
                    self.frozen += size
        return sizes

    def _work(self, path: str, layer: Any, inputs: Any, output: tuple[int, ...]) -> int:
        """The multiply-adds of a call."""
        shapes, known = self._shapes(path), _rule_of(layer)
        if known is None or _adds_matrices(known[0], layer, shapes):
            if shapes:
                raise self._unknown(path, type(layer).__name__)
            return 0
        work = known[1].work
        assert work is not None
        count = work(layer, _shapes(inputs), output)
        if not isinstance(count, (int, np.integer)) or count < 0:
            raise _UnknownWorkError(
                f"the rule for {path or 'the net'} ({type(layer).__name__}) must "
                f"return an integer from 0 on, got {count!r}"
            )
        return int(count)

    def record(self, path: str, layer: Any, inputs: Any, output: Any) -> None:
        """Add the entry of a call."""
        shape = next(iter(_shapes(output)), ())
        count = self._work(path, layer, inputs, shape)
        sizes = self._sizes(path)
        entry = Entry(path, _kind(layer), shape, multiply_adds=count, **sizes)
        self.entries.append(entry)
        self.waiting.pop(path, None)

    def _unknown(self, path: str, kind: str, more: str = "") -> _UnknownWorkError:
        return _UnknownWorkError(
            f"no rule for the work of {path or 'the net'} ({kind}), which has "
            f"parameters {self._shapes(path)}{more}; d2lutils.ledger.rule adds one"
        )

    def complete(self) -> None:
        """Raise for a layer whose parameters no entry accounts for."""
        for path, kind in self.waiting.items():
            more = " and did not run, or not as a layer without children"
            raise self._unknown(path, kind, more)


# Gluon's operations that keep nothing, in layers and between them: they join, cut, add,
# and multiply by a number. Sums of mx.np arrays keep both terms, so are not among them.
_KEEP_NOTHING = {
    *("Flatten", "Reshape", "SliceChannel", "SwapAxis", "_copy", "expand_dims"),
    *("slice", "slice_axis", "squeeze", "stack", "transpose", "mean"),
    *("add_n", "broadcast_add", "broadcast_sub", "elemwise_add", "elemwise_sub"),
    *("_plus_scalar", "_minus_scalar", "_rminus_scalar", "_mul_scalar", "_div_scalar"),
    *("_np_reshape", "_np_transpose", "_npi_concatenate", "_npi_mean", "_split_v2"),
    *("_npi_add_scalar", "_npi_subtract_scalar", "_npi_rsubtract_scalar"),
    *("_npi_multiply_scalar", "_npi_true_divide_scalar"),
}
_READERS = ("BatchNorm", "Convolution", "Deconvolution", "FullyConnected", "Pooling")


class _Keeper:
    """Finds out which memory the layers of a net make training keep."""

    def __init__(self, net: Any) -> None:
        self.net = net
        # The rates before dropout is switched off.
        self.rates = {
            path: getattr(layer, "p", getattr(layer, "_rate", None))
            for path, layer in _leaves(net.net)
            if layer_kind(layer) == "Dropout"
        }
        # The paths of layers in the order of calls, with the bytes besides tensors.
        self.calls: list[tuple[str, Counter[str]]] = []
        self.producers: dict[Hashable, Counter[str]] = {}
        self.kept: dict[Hashable, int] = {}
        self.alive: list[Any] = []  # or their memory could be reused
        self.missing = ""
        self.inside: set[str] = set()  # Gluon's operations, by their nodes' names

    def record(self, path: str, layer: Any, inputs: Any, output: Any) -> Any:
        """Add what a call keeps."""
        keeps = facts_of(layer).keeps(self.net.framework, layer)
        replaced = None
        if keeps is not None and keeps.mask:
            rate = self.rates.get(path)
            if rate == 1:
                keeps = None  # its output is all zeros, and there is no mask
            elif not rate or not getattr(layer, "training", True):
                keeps = Keeps()  # in evaluation mode, too, it drops nothing
            elif hasattr(output, "clone"):
                # PyTorch's dropout, switched off here, returned its very input.
                output = replaced = output.clone()
        self._add_call(path, layer, inputs, output)
        if any(map(self.net.is_recorded, arrays_in(output))):
            single = all(hasattr(a, "shape") for a in (inputs[0], output))
            if keeps is not None and single:
                self._add_bytes(layer, keeps, inputs[0], output)
            elif not self.missing:
                self.missing = (
                    "no rule for what training keeps of "
                    f"{path or 'the net'} ({_kind(layer)})"
                )
        return replaced

    def _add_call(self, path: str, layer: Any, inputs: Any, output: Any) -> None:
        outputs, own = arrays_in(output), Counter[str]()
        self.calls.append((path, own))
        self.alive += [*inputs, output]
        for array in outputs:
            self.producers.setdefault(self.net.storage_of(array)[0], own)
        if self.net.framework == "gluon":
            if from_framework(type(layer)) and not getattr(layer, "act", None):
                self.inside |= {self.net.operation(a) for a in outputs}
            else:  # several operations
                after, before = map(self.net.operations, (outputs, arrays_in(inputs)))
                self.inside |= after.keys() - before.keys()

    def _add_bytes(self, layer: Any, keeps: Keeps, given: Any, output: Any) -> None:
        own = self.calls[-1][1]
        if keeps.input:
            read, size = self.net.storage_of(given)
            self.kept[read] = size
        if keeps.output:
            made, size = self.net.storage_of(output)
            self.kept[made] = size
            self.producers[made] = own  # also in place
        numbers, item = prod(output.shape), _itemsize(output)
        on_gpu = bool(getattr(output, "is_cuda", False))
        axis = getattr(layer, "_kwargs", {}).get("axis", 1)
        channels = output.shape[axis] if keeps.statistics else 0
        own["activations"] = int(item * numbers * keeps.inside)
        own["indices"] = keeps.indices * numbers
        own["masks"] = (1 if on_gpu else item) * numbers * keeps.mask
        own["statistics"] = item * keeps.statistics * channels

    def between(self, outputs: list[Any]) -> list[str]:
        """Kinds of Gluon's operations outside layers that may keep something."""
        if self.net.framework != "gluon":
            return []
        found = self.net.operations(outputs)
        # A ReLU keeps its output, which is counted where a layer keeps its input.
        counted = {
            reads[0]
            for name, (kind, reads) in found.items()
            if name in self.inside and kind in _READERS
        }
        kinds = {
            kind
            for name, (kind, _) in found.items()
            if name not in self.inside
            and not (kind in ("relu", "_npx_relu") and name in counted)
        }
        return sorted(kinds - _KEEP_NOTHING)

    def halve(self) -> None:
        """Bytes of a float32 pass, from those of one in float64."""
        self.kept = {key: size // 2 for key, size in self.kept.items()}
        for _, own in self.calls:
            for name in own.keys() - {"indices"}:
                own[name] //= 2

    def why_unknown(
        self, entries: list[Entry], between: list[str], saved: int | None
    ) -> str:
        """Why the bytes found cannot be right; empty if nothing shows that."""
        if self.missing:
            return self.missing
        if [path for path, _ in self.calls] != [entry.path for entry in entries]:
            return "other layers run in training than in inference"
        if between:
            return (
                f"no rule for what {', '.join(between)} between the layers makes "
                "training keep; gluon.memory.kept_bytes measures it"
            )
        # Dropout is off here, so neither side has its masks.
        found = sum(self.kept.values())
        found += sum(own.total() - own["masks"] for _, own in self.calls)
        if saved is not None and saved != found:
            return (
                f"the rules for the layers say {found:,} bytes, but PyTorch saves "
                f"{saved:,}: something besides whole layers, such as a functional call "
                "or a padding mode, changes what training keeps"
            )
        return ""

    def enter(self, result: Ledger, inputs: list[Any]) -> None:
        """Add the bytes to the ledger."""
        given = {self.net.storage_of(x)[0] for x in inputs}
        for key, size in self.kept.items():
            if key in given:
                result.input += size
            elif key in self.producers:
                self.producers[key]["activations"] += size
            else:
                result.between += size
        pairs = zip(result.entries, self.calls, strict=True)
        result.entries = [Entry(**{**vars(entry), **own}) for entry, (_, own) in pairs]


def _itemsize(array: Any) -> int:
    if hasattr(array, "element_size"):
        return int(array.element_size())
    return np.dtype(array.dtype).itemsize


def _may_crash(result: Ledger, net: Net) -> bool:
    """Whether oneDNN may end the process in a recorded float32 pass of a Gluon net, as
    it does after joining or cutting maps. In float64 MXNet does without oneDNN."""
    if result.dtype != "float32" or net.framework != "gluon":
        return False
    names = [o.name for o in result.lifetimes.operations] if result.lifetimes else []
    return any(re.search("concat|slice|split", name) for name in names)


def _add_training(result: Ledger, net: Net, zeros: list[np.ndarray]) -> None:
    """Fill in what training keeps, or why that is not known."""
    keeper = _Keeper(net)
    double = _may_crash(result, net)
    try:
        with net.undisturbed(), _hooked(net, keeper.record):
            if double:
                net.cast("float64")
            inputs, outputs, saved = net.recorded_pass(zeros)
            between = keeper.between(outputs)
    except Exception as error:
        result.unknown["kept"] = f"the net fails in training: {_errors.reason(error)}"
        return
    if double:
        keeper.halve()
    why = keeper.why_unknown(result.entries, between, saved)
    if why:
        result.unknown["kept"] = why
    else:
        keeper.enter(result, inputs)


def ledger(net: Any, input_shape: Sequence[int]) -> Ledger:
    """Run a net on zeros and write down what each layer did.

    What a net computes outside layers, such as a sum, is seen only through the layers
    that read it. In PyTorch on a CPU the bytes that training keeps are compared with
    those that autograd saves, and refused if they differ; so is a Gluon net with
    functions between its layers that may keep more (`gluon.memory.kept_bytes` measures
    it). The multiply-adds of a function are not seen, such as a product with the weight
    of a layer that also ran. The rules are those of a CPU, except for PyTorch's dropout
    mask. Stochastic depth drops no branch. The net gets one input: zeros of its own
    dtype, or whole numbers where its first layer is an embedding.

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

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.ReLU())
    >>> book = ledger(net, (1, 3, 9, 9))
    >>> book.entries[0].output, book.parameters, book.multiply_adds
    ((1, 8, 4, 4), 224, 3456)
    """
    owner = "ledger"
    shape = _arguments.shape_of(owner, "input_shape", input_shape)
    adapter = adapter_of(owner, "net", net)
    zeros = [adapter.example(shape)]
    recorder = _recorded(adapter, shape, zeros)
    result = Ledger(recorder.entries, shape, adapter.dtype(), frozen=recorder.frozen)
    memory = importlib.import_module(f"d2lutils.{adapter.framework}.memory")
    try:
        result.lifetimes = memory.lifetimes(net, shape)
        result.live = result.lifetimes.largest()
    except ValueError as error:
        result.unknown["live"] = str(error).removeprefix("lifetimes: ")
    _add_training(result, adapter, zeros)
    return result


def _recorded(net: Net, shape: Sequence[int], zeros: list[np.ndarray]) -> _Recorder:
    """The calls of one pass in evaluation mode; ValueError in words if it fails."""
    entries: list[Entry] = []
    try:
        net.infer_shapes(zeros)
        recorder = _Recorder(net)
        entries = recorder.entries
        with net.undisturbed(), _hooked(net, recorder.record):
            net.evaluate(zeros)
        recorder.complete()
    except _UnknownWorkError as error:
        raise ValueError(f"{net.owner}: {error}") from None
    except Exception as error:
        after = (
            f" after layer {entries[-1].path} {entries[-1].output}" if entries else ""
        )
        raise ValueError(
            f"{net.owner}: the net fails on input_shape={shape}{after}: "
            f"{_errors.reason(error)}"
        ) from error
    return recorder
