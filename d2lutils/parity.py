"""Are two nets, one per framework, the same function? Copy weights and compare.

`copy_parameters` walks two nets in the order in which their layers were registered
and copies every parameter and running statistic from one to the other.
`compare` then runs both on the same inputs in float64, where a real difference
cannot hide behind rounding: outputs, gradients, and a few steps of SGD. In float32
two correct programs drift apart within five steps of a net with batch norm, so
float32 is only reported, for one pass, beside how far each framework is from its
own float64 result (its noise floor).

No framework is imported before one of its nets is at hand.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from d2lutils import _arguments, _errors
from d2lutils._adapters import STATISTICS, Layer, Net, Parameters, adapter_of, to_numpy
from d2lutils._adapters.child import in_child
from d2lutils._adapters.files import source_of
from d2lutils._adapters.matching import (
    match_layers,
    resized,
    roles_of,
    shape_in,
    shared_constants,
)

__all__ = ["Noise", "Report", "Row", "compare", "copy_parameters"]

ONE_PASS = 1e-10
TRAINING = 1e-6
NOISE = 4.0
# Rounding of a gradient whose true value is zero is some 1e-15 of the largest one;
# 1e-3 of it times ONE_PASS is 1e-13, 1e-6 times ONE_PASS would be below rounding.
FLOOR = 1e-3
_TINY = 1e-300


# -- copying ---------------------------------------------------------------------------


def copy_parameters(
    source: Any, target: Any, names: Mapping[str, str] | None = None
) -> None:
    """Copy all parameters and running statistics from one net into another.

    Layers are matched in the order in which they were registered, parameters by
    their role (Gluon's gamma and beta are PyTorch's weight and bias, l0_i2h_weight is
    weight_ih_l0), shapes must agree. Works from Gluon to PyTorch, back, and within
    one framework. What is copied is what the source computes with: ones for the gamma
    of `BatchNorm(scale=False)`, whatever it stores, ones and zeros for a norm with
    `affine=False`, the weight that a weight norm or pruning leaves. (A dict or a file
    without its symbol beside it does not say which gamma is fixed.) Constants and
    buffers are copied where both nets have them under one name. A Gluon target that
    is not initialised, or waits for its shapes, is initialised by this. Values take
    the target's dtype. Either everything is copied or nothing.

        copy_parameters("net-0000.params", torch_net)

    Args:
        source: a Gluon Block (a SymbolBlock, too), a PyTorch Module, a dict of arrays
            by name, or the path of a file: of `save_parameters` or `export`, of
            `torch.save(net.state_dict(), path)`, or of `numpy.savez`.
        target: a Gluon Block or a PyTorch Module.
        names: layers to match by name instead of in order, the source's to the
            target's: {"features.0": "stem", "fc_weight": "head.weight"}.

    Raises:
        TypeError: one of them is none of these.
        FileNotFoundError: there is no such file.
        ValueError: the nets differ in structure or a shape (the first mismatch is
            named with both sides), `names` has an unknown layer, the source has no
            values yet, or the target cannot hold them: a fixed scale or shift, a lazy
            layer, the meta device, a weight that is computed from others.
    """
    owner = "copy_parameters"
    if names is not None and not isinstance(names, Mapping):
        raise TypeError(f"{owner}: names must map names to names, got {names!r}")
    one, two = source_of(owner, "source", source), adapter_of(owner, "target", target)
    copies: list[tuple[Any, np.ndarray | None]] = [
        _copied(one, a, two, b, role)
        for a, b in match_layers(one, two, ("source", "target"), names)
        for role in roles_of(a, b)
    ]
    copies += [(b, one.get(a)) for _, a, b in shared_constants(one, two)]
    for tensor, values in copies:
        if tensor is not None and values is not None:
            two.assign(tensor, values)
    two.initialize_constants()


def _require_settable(net: Net, name: str, layer: Layer, role: str) -> None:
    """ValueError for what is computed from other tensors before each pass."""
    if role in layer.computed:
        raise ValueError(
            f"{net.owner}: {name} {layer.name(role)} is computed from other tensors; "
            "make it permanent first (torch.nn.utils.prune.remove, remove_weight_norm, "
            "remove_spectral_norm, or parametrize.remove_parametrizations)"
        )


def _copied(
    one: Parameters, a: Layer, two: Net, b: Layer, role: str
) -> tuple[Any, np.ndarray]:
    """The target's tensor, None where it stores nothing, and the values for it."""
    given, tensor = a.tensor(role), b.tensor(role)
    target = f"{two.owner}: target {b.name(role)}"
    _require_settable(two, "target", b, role)
    values = a.fixed[role] if role in a.fixed else one.get(given)
    if values is None:
        raise ValueError(f"{one.owner}: source {a.name(role)} {one.why_missing(given)}")
    # A Gluon target without values is initialised with those of the source.
    if tensor is not None and two.framework == "pytorch":
        if two.shape(tensor) == (0,):
            raise ValueError(f"{target} is lazy: run one forward pass")
        if two.get(tensor) is None:
            raise ValueError(f"{target} {two.why_missing(tensor)}")
    shape = shape_in(two, b, role)
    if 0 in shape and given is not None:
        shape = one.shape(given)
    fitting = resized(values, shape)
    if fitting is None:
        raise ValueError(
            f"{target} has one number for a group of channels, "
            f"and source {a.name(role)} differs within a group"
        )
    if role in b.fixed and not (fitting == b.fixed[role]).all():
        number = b.fixed[role].flat[0]
        why = "scale=False" if tensor is not None else f"it has no {role}"
        raise ValueError(
            f"{target} is always {number:g} in this {b.kind} "
            f"({why}), and source {a.name(role)} is not"
        )
    return tensor, fitting


# -- the report ------------------------------------------------------------------------


def _about(difference: float) -> str:
    """One significant digit, so that it is the same on each machine."""
    return re.sub(r"e([-+])0*", r"e\1", f"{float(f'{difference:.0e}'):g}")


@dataclass(frozen=True)
class Row:
    """One comparison: the largest difference found and the bound it must keep.

    `failed` says why there is nothing to compare: a framework failed, or two runs of
    one net differ.
    """

    quantity: str
    mode: str
    bound: float
    difference: float
    worst: str = ""
    failed: str = ""

    @property
    def ok(self) -> bool:
        """Whether the difference keeps the bound (never, if it is not a number)."""
        return not self.failed and bool(self.difference <= self.bound)

    @property
    def verdict(self) -> str:
        """The result in words that do not change from machine to machine."""
        if self.failed:
            return self.failed
        if self.ok:
            # 1e-6 rather than 1e-06.
            return f"within 1e{round(np.log10(self.bound))}" if self.bound else "equal"
        if np.isinf(self.difference):
            return f"differs at {self.worst}"
        where = f", most at {self.worst}" if self.worst else ""
        if np.isnan(self.difference):
            return f"not a number{where}"
        return f"differs by {_about(self.difference)}{where}"


@dataclass(frozen=True)
class Noise:
    """float32: how far apart the frameworks are, and each from its own float64."""

    quantity: str
    apart: float
    floor: float
    failed: str = ""

    @property
    def verdict(self) -> str:
        """Whether the difference is of the size of rounding, in words."""
        if self.failed:
            return self.failed
        if self.apart <= NOISE * self.floor:
            return "rounding only"
        return f"more than {NOISE:g}x its rounding"


@dataclass
class Report:
    """The result of `compare`: rows in float64, and float32 beside them.

    float32 has no bound: `.float32` says how far apart the frameworks are, and how far
    one of them is at most from its own float64 result. `notes` are lines below the
    table: where two nets part, what was switched off.
    """

    rows: list[Row] = field(default_factory=list)
    float32: list[Noise] = field(default_factory=list)
    layers: int = 0
    numbers: int = 0
    steps: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every float64 comparison was made and keeps its bound."""
        return bool(self.rows) and all(row.ok for row in self.rows)

    def _table(self) -> tuple[list[str], list[list[str]]]:
        modes = list(dict.fromkeys(row.mode for row in self.rows))
        quantities = list(dict.fromkeys(row.quantity for row in self.rows))
        cells = {(row.quantity, row.mode): row.verdict for row in self.rows}
        lines = [
            [quantity, *(cells.get((quantity, mode), "") for mode in modes)]
            for quantity in quantities
        ]
        beside = {noise.quantity: noise.verdict for noise in self.float32}
        for line in lines:
            line.append(beside.pop(line[0], ""))
        lines += [[name, *("" for _ in modes), text] for name, text in beside.items()]
        heads = [f"float64, {mode}" for mode in modes]
        return ["Gluon against PyTorch", *heads, "float32, one pass"], lines

    def _summary(self) -> str:
        wrong = [row for row in self.rows if not row.ok]
        if self.ok:
            verdict = "the same"
        elif not wrong or any(not row.failed for row in wrong):
            verdict = "NOT the same"
        elif all(row.mode == "hybridized" for row in wrong):
            verdict = "the same imperatively, NOT compared hybridized"
        else:
            verdict = "NOT decided"
        return (
            f"{verdict}: {self.layers} layers with parameters, {self.numbers:,} "
            f"numbers, {self.steps} training steps"
        )

    def __repr__(self) -> str:
        from d2lutils import show

        headers, lines = self._table()
        table = show.table(lines, headers, align=["left"] * len(headers))
        return "\n".join([repr(table), self._summary(), *self.notes])

    def _repr_html_(self) -> str:
        from d2lutils import show

        headers, lines = self._table()
        words = "; ".join([self._summary(), *self.notes])
        table = show.table(lines, headers, caption=f"Parity: {words}")
        return table._repr_html_()


# -- the comparison --------------------------------------------------------------------


def _difference(a: np.ndarray, b: np.ndarray, floor: float = _TINY) -> float:
    """max|a - b| / max(max|b|, floor), in float64; infinite for unequal shapes."""
    if a.shape != b.shape:
        return float("inf")
    if a.size == 0:
        return 0.0
    a, b = a.astype("float64"), b.astype("float64")
    with np.errstate(invalid="ignore"):  # inf - inf is not a number
        return float(np.abs(a - b).max() / max(np.abs(b).max(), floor))


def _worst(
    pairs: dict[str, tuple[np.ndarray, np.ndarray]], floor: float = _TINY
) -> tuple[float, str]:
    """The largest difference among named pairs, and its name; NaN is the largest."""
    worst, where = 0.0, ""
    for name, (a, b) in pairs.items():
        difference = _difference(a, b, floor)
        if not difference <= worst:
            worst, where = difference, name
            if a.shape != b.shape:
                where = f"{name}: shapes {a.shape} and {b.shape}"
            if np.isnan(worst):
                break
    return worst, where


def _numbered(what: str, arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{what} {i}": array for i, array in enumerate(arrays)}


def _paired(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Outputs or gradients of inputs of both nets, by name."""
    if len(a) != len(b):
        raise ValueError(f"compare: {len(a)} outputs in Gluon, {len(b)} in PyTorch")
    return {name: (a[name], b[name]) for name in a}


def _largest(arrays: Any) -> float:
    return max((float(np.abs(a).max()) for a in arrays if a.size), default=0.0)


def _fixed(net: Net, layer: Layer, role: str) -> np.ndarray | None:
    """What a layer computes with if training never changes it; None otherwise."""
    if role in layer.constants and role not in layer.tensors:
        return net.get(layer.constants[role])
    return layer.fixed.get(role)


@dataclass(frozen=True)
class _Slot:
    """One parameter or statistic of both nets: its names there, empty where it is not
    stored, and what is computed with if that is fixed."""

    role: str
    gluon: str
    torch: str
    fixed: tuple[np.ndarray | None, np.ndarray | None]
    trained: bool
    options: dict[str, Any]

    @property
    def name(self) -> str:
        return self.torch or self.gluon

    def pair(self, gluon: dict[str, Any], torch: dict[str, Any]) -> tuple[Any, Any]:
        """Both values, in one shape where one net has a number for several."""
        a, b = self.fixed
        a = gluon[self.gluon] if a is None else a
        b = torch[self.torch] if b is None else b
        if a.size < b.size or a.ndim < b.ndim:  # a fixed number has no dimensions
            return resized(a, b.shape), b
        return a, resized(b, a.shape) if b.size < a.size or b.ndim < a.ndim else b


def _slot(one: Net, a: Layer, two: Net, b: Layer, role: str) -> _Slot:
    gluon, torch = (x.name(role) if role in x.tensors else "" for x in (a, b))
    fixed = _fixed(one, a, role), _fixed(two, b, role)
    trained = role in a.trained or role in b.trained
    return _Slot(role, gluon, torch, fixed, trained, a.options)


class _FrameworkError(Exception):
    """A framework failed: the quantity that it was to compute, and why."""


# (quantity, (largest difference, where)), one after the other.
_Found = Iterator[tuple[str, tuple[float, str]]]


class _Comparison:
    """One call of `compare`, after its arguments have been checked."""

    def __init__(
        self,
        gluon: Any,
        torch: Any,
        pairs: list[tuple[Layer, Layer]],
        inputs: list[np.ndarray],
        seed: int,
    ) -> None:
        self.gluon, self.torch, self.inputs, self.seed = gluon, torch, inputs, seed
        self.nets: dict[str, Any] = {"Gluon": gluon, "PyTorch": torch}
        self.pairs = pairs
        self.slots = [
            _slot(gluon, a, torch, b, role) for a, b in pairs for role in roles_of(a, b)
        ]
        self.constants: dict[str, Any] = {
            name: (gluon.get(a), torch.get(b))
            for name, a, b in shared_constants(gluon, torch)
        }
        self.hybridized = False  # Gluon's net is, and it ran imperatively
        self.apart: list[str] = []  # parameters whose gradients differ
        self.start = gluon.state(), torch.state()

    @contextmanager
    def guard(self, quantity: str, name: str) -> Iterator[None]:
        """`_FrameworkError` with the reason if a framework fails inside."""
        try:
            yield
        except Exception as error:
            hybridizing = name == "Gluon" and self.hybridized
            what = "cannot be hybridized" if hybridizing else f"{name} fails"
            raise _FrameworkError(quantity, f"{what}: {_short(error)}") from error

    def head(self, outputs: list[np.ndarray]) -> list[np.ndarray]:
        """The gradient of half the mean squared distance to a fixed random target."""
        generator = np.random.Generator(np.random.PCG64(self.seed))
        return [
            (o - generator.standard_normal(o.shape)) / max(o.size, 1) for o in outputs
        ]

    def paired(self, gluon: dict[str, Any], torch: dict[str, Any]) -> dict[str, Any]:
        """Named values of both nets, by PyTorch's names."""
        return {slot.name: slot.pair(gluon, torch) for slot in self.slots}

    def before(self) -> tuple[float, str]:
        """The largest difference before anything runs, constants included."""
        return _worst({**self.paired(*self.start), **self.constants})

    def reset(self) -> None:
        """Give both nets the values that they came with."""
        self.gluon.load(self.start[0])
        self.torch.load(self.start[1])

    def evaluated(self, quantity: str, name: str) -> dict[str, np.ndarray]:
        """The outputs of a net in evaluation."""
        with self.guard(quantity, name):
            return _numbered("output", self.nets[name].evaluate(self.inputs))

    def passes(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """What a net computes in evaluation, a forward and a backward pass: (quantity,
        arrays by name), gradients by PyTorch's names."""
        quantity = "output, evaluation"
        yield quantity, self.evaluated(quantity, name)
        with self.guard("output, training", name):
            run = self.nets[name].forward_backward(self.inputs, self.head)
        gradients = run["gradients"]
        yield "output, training", _numbered("output", run["outputs"])
        yield "input gradients", _numbered("input", run["inputs"])
        names = {s.name: s.gluon if name == "Gluon" else s.torch for s in self.slots}
        found = {to: gradients[own] for to, own in names.items() if own in gradients}
        yield "parameter gradients", found
        yield "sizes", run.get("sizes", {})

    def one_pass(self) -> _Found:
        """Differences of an evaluation, a forward and a backward pass."""
        ours, theirs = (self.passes(name) for name in self.nets)
        quantity, arrays = next(ours)
        yield quantity, _worst(_paired(arrays, next(theirs)[1]))
        before = self.gluon.state()
        one, two = dict(ours), dict(theirs)
        quantity = "output, training"
        yield quantity, _worst(_paired(one[quantity], two[quantity]))
        a, b = (run["parameter gradients"] for run in (one, two))
        inputs = two["input gradients"]
        floor = FLOOR * _largest([*b.values(), *inputs.values()]) + _TINY
        if inputs:
            pairs = _paired(one["input gradients"], inputs)
            yield "input gradients", _worst(pairs, floor)
        # A parameter that a net does not store is fixed there, so has no gradient.
        pairs = {
            s.name: (
                a[s.name] if s.name in a else np.zeros(b[s.name].shape),
                b[s.name] if s.name in b else np.zeros(a[s.name].shape),
            )
            for s in self.slots
            if s.name in a or s.name in b
        }
        differences = {n: _difference(*pair, floor) for n, pair in pairs.items()}
        self.apart = [n for n, d in differences.items() if not d <= ONE_PASS]
        yield "parameter gradients", _worst(pairs, floor)
        if two["sizes"]:
            yield "running statistics", self.statistics(before, two["sizes"])

    def statistics(
        self, before: dict[str, np.ndarray], sizes: dict[str, int]
    ) -> tuple[float, str]:
        """Running statistics after one step, as Gluon's batch predicts PyTorch's."""
        after, found = self.gluon.state(), self.torch.state()
        pairs = {}
        for slot in self.slots:
            if slot.role not in STATISTICS or not (slot.gluon and slot.torch):
                continue
            old, predicted = before[slot.gluon], after[slot.gluon]
            # Where a layer's momentum is not known, the statistics must be equal.
            if "momentum" in slot.options and not slot.options.get("use_global_stats"):
                # Gluon's momentum is the share it keeps, and MXNet holds it in
                # float32: 0.9 is 0.89999998 there. PyTorch's is the share that is
                # new, so it should be what is left of Gluon's.
                momentum = slot.options["momentum"]
                keeps, takes = float(np.float32(momentum)), 1.0 - momentum
                batch = (predicted - keeps * old) / (1.0 - keeps)
                n = sizes.get(slot.torch.rpartition(".")[0], 0)
                if slot.role == "running_var" and n > 1:
                    batch = batch * (n / (n - 1))  # biased in Gluon, not in PyTorch
                predicted = (1.0 - takes) * old + takes * batch
            pairs[slot.name] = predicted, found[slot.torch]
        # A mean whose true value is zero, as of a sum of batch norms, is rounding.
        return _worst(pairs, FLOOR * _largest(a for a, _ in pairs.values()) + _TINY)

    def train(self, steps: int, rate: float, momentum: float, decay: float) -> _Found:
        """Differences after some steps of each framework's own SGD."""
        quantity = f"parameters after {steps} steps"
        update = {n: x.optimizer(rate, momentum, decay) for n, x in self.nets.items()}
        for _ in range(steps):
            for name, net in self.nets.items():
                with self.guard(quantity, name):
                    net.forward_backward(self.inputs, self.head)
                    update[name]()
        a, b = self.gluon.state(), self.torch.state()
        trained = {slot.name for slot in self.slots if slot.trained}
        pairs = {n: p for n, p in self.paired(a, b).items() if n in trained}
        floor = 1e-6 * _largest(p for _, p in pairs.values()) + _TINY
        yield quantity, _worst(pairs, floor)
        # The variances differ by a known factor a step: evaluate with Gluon's.
        for slot in self.slots:
            if slot.role in STATISTICS and slot.torch and slot.gluon:
                b[slot.torch] = a[slot.gluon]
        self.torch.load(b)
        quantity = f"evaluation after {steps} steps"
        outputs = (self.evaluated(quantity, name) for name in self.nets)
        yield quantity, _worst(_paired(*outputs))

    def parting(self, failing: list[Row]) -> str:
        """Where two nets part first, in the order in which their layers are called."""
        quantities = {row.quantity for row in failing}
        for kind in ("evaluation", "training"):
            if f"output, {kind}" in quantities:
                place = self.first_call(kind == "training")
                return f"first parts {place}, in {kind}" if place else ""
        if "parameter gradients" in quantities and self.apart:
            # A backward pass starts at the last layer.
            return f"first parts in the backward pass at {self.apart[-1]}"
        return ""

    def first_call(self, training: bool) -> str:
        """The first call of a layer in which the nets differ, and by how much; empty
        if no layer can be looked at."""
        pairs = [(a, b) for a, b in self.pairs if a.module is not None and b.tensors]
        self.reset()
        ours, theirs = (
            net.recorded_calls(
                [pair[i].module for pair in pairs], self.inputs, training
            )
            for i, net in enumerate(self.nets.values())
        )
        self.reset()
        last = ""
        for number, *arrays in theirs:
            a, b = pairs[number]
            place = b.path or "the net itself"
            if a.path != b.path:
                place = f"{place} (Gluon's {a.path or 'net itself'})"
            calls = (i for i, call in enumerate(ours) if call[0] == number)
            partner = next(calls, None)
            if partner is None:
                return f"at {place}, which only PyTorch calls"
            _, *expected = ours.pop(partner)
            given, made = (_apart(*x) for x in zip(expected, arrays, strict=True))
            if given:
                return f"{f'between {last} and' if last else 'before'} {place}: {given}"
            if made:
                return f"at {place}: {made}"
            last = place
        return f"after {last}" if last else ""

    def unlike_itself(self) -> dict[str, str]:
        """The kinds of pass in which two runs of one net differ, each with the words
        for it."""
        words: dict[str, str] = {}
        for name, net in self.nets.items():
            for kind in ("evaluation", "training"):
                runs = []
                for _ in range(2):
                    self.reset()
                    outputs = net.forward(self.inputs, kind == "training")
                    runs.append(_numbered("output", outputs))
                apart = _worst(_paired(*runs))[0]
                if not apart <= ONE_PASS and not np.isnan(apart):
                    text = f"two runs of {name}'s net differ by {_about(apart)}"
                    words.setdefault(kind, text)
        return words


def _apart(one: list[np.ndarray], two: list[np.ndarray]) -> str:
    """By how much two lists of arrays differ, in words; empty if they do not."""
    for a, b in zip(one, two):  # noqa: B905 (what only one framework returns)
        difference = _difference(a.reshape(b.shape) if a.size == b.size else a, b)
        if np.isnan(difference):
            return "not a number"
        if np.isinf(difference):
            return f"shapes {a.shape} and {b.shape}"
        if difference > ONE_PASS:
            return f"by {_about(difference)}"
    return ""


def _short(error: BaseException) -> str:
    """The reason of an error, at most a line long."""
    text = _errors.reason(error)
    return text if len(text) <= 120 else f"{text[:119]}…"


def compare(
    gluon_net: Any,
    torch_net: Any,
    *inputs: Any,
    steps: int = 5,
    learning_rate: float = 2**-5,
    momentum: float = 0.5,
    weight_decay: float = 2**-10,
    seed: int = 0,
) -> Report:
    """Compare two nets that hold the same parameters, pass by pass and in training.

    Everything runs in float64, imperatively and hybridized: outputs in evaluation
    and training, gradients of half the mean squared distance to a random target,
    running statistics, parameters after some steps of each framework's SGD, and
    evaluation after that with the statistics copied. Dropout is off meanwhile, and
    afterwards both nets are as they were, dtype and gradients included.

    The difference of two tensors is max|a - b| / max(max|b|, 1e-3 times the largest
    gradient of the net), so that a true gradient of zero does not count rounding; in
    the same way for running statistics, where a true mean can be zero.

    What one framework cannot do stands in the report: a net that cannot be hybridized,
    a layer that refuses one example in training, a float32 pass that oneDNN ends. If
    something differs the report says where the nets part first, and whether two runs
    of the same net agree.

    Args:
        gluon_net: a Gluon Block, initialised.
        torch_net: a PyTorch Module with the same parameters (`copy_parameters`).
        inputs: arrays that both nets are called with, (N, …); after the first those
            of recurrent layers are their states.
        steps: of SGD; 0 for none.
        learning_rate: at most 0.05, and like `momentum` and `weight_decay` best
            exact in binary, since MXNet passes them on in float32.
        seed: of the random target.

    Returns:
        A `Report`: `.ok`, `.rows`, and a table in a notebook.

    Raises:
        TypeError: a net or an input of the wrong kind.
        ValueError: no inputs or an empty one, different structure, a number out of
            range, a net that fails on the inputs, or only in float64, or different
            numbers of outputs.
    """
    owner = "compare"
    gluon = adapter_of(owner, "gluon_net", gluon_net)
    torch = adapter_of(owner, "torch_net", torch_net)
    if (gluon.framework, torch.framework) != ("gluon", "pytorch"):
        raise TypeError(f"{owner}: gluon_net comes first, torch_net second")
    steps = _arguments.non_negative(owner, "steps", steps)
    _arguments.number(owner, "learning_rate", learning_rate, 0, 0.05)
    _arguments.number(owner, "momentum", momentum, 0, 1)
    _arguments.number(owner, "weight_decay", weight_decay, 0)
    arrays = _checked_inputs(inputs)
    seed = _arguments.non_negative(owner, "seed", seed)
    run = _Comparison(gluon, torch, _checked_pairs(gluon, torch, arrays), arrays, seed)
    report = Report(layers=len(gluon.layers), steps=steps)
    report.numbers = sum(p.size for p in run.start[0].values())
    with gluon.undisturbed(), torch.undisturbed():
        off = [
            f"{n} {kind} in {name}"
            for name, net in run.nets.items()
            for kind, n in net.switched_off.items()
        ]
        if off:
            report.notes.append(f"switched off meanwhile: {', '.join(off)}")
        same = run.before()
        if same[0] != 0:
            # Nets with different parameters need no further comparison.
            report.rows = [Row("parameters before", "imperative", 0.0, *same)]
            return report
        _to_float64(run)
        rates = (learning_rate, momentum, weight_decay)
        for mode in ("imperative", "hybridized"):
            gluon.hybridize(mode == "hybridized")
            run.hybridized = mode == "hybridized" and not any(
                row.failed for row in report.rows
            )
            report.rows.append(Row("parameters before", mode, 0.0, *same))
            run.reset()
            stages = [(ONE_PASS, run.one_pass())]
            if steps:
                stages.append((TRAINING, run.train(steps, *rates)))
            report.rows += _rows(run, mode, stages)
        gluon.hybridize(False)
        run.hybridized = False
        report.float32 = _float32(run)
        _explain(run, report)
    return report


def _checked_inputs(inputs: tuple[Any, ...]) -> list[np.ndarray]:
    arrays = []
    for i, x in enumerate(inputs):
        framework = hasattr(x, "asnumpy") or hasattr(x, "detach")
        if not framework and not isinstance(x, np.ndarray):
            raise TypeError(
                f"compare: input {i} must be an array or tensor, got {type(x).__name__}"
            )
        arrays.append(to_numpy(x))
        if arrays[-1].size == 0:
            raise ValueError(f"compare: input {i} of shape {x.shape} is empty")
    if not arrays:
        raise ValueError("compare: give at least one input")
    return arrays


def _checked_pairs(
    gluon: Net, torch: Net, arrays: list[np.ndarray]
) -> list[tuple[Layer, Layer]]:
    """The pairs of layers, once both nets know their shapes."""
    if not gluon.layers or not torch.layers:
        raise ValueError("compare: the nets have no parameters to compare")
    _runs("gluon_net", gluon, arrays, gluon.infer_shapes)
    _runs("torch_net", torch, arrays, torch.infer_shapes)
    pairs = match_layers(gluon, torch, ("Gluon's", "PyTorch's"))
    for _, layer in pairs:
        for role in layer.computed:
            _require_settable(torch, "torch_net", layer, role)
    return pairs


def _rows(run: _Comparison, mode: str, stages: list[tuple[float, _Found]]) -> list[Row]:
    """The rows of one mode, up to the first quantity that could not be computed."""
    rows: list[Row] = []
    for bound, stage in stages:
        try:
            for quantity, difference in stage:
                rows.append(Row(quantity, mode, bound, *difference))
        except _FrameworkError as error:
            quantity, why = error.args
            rows.append(Row(quantity, mode, bound, np.nan, failed=why))
            break
        run.reset()
    return rows


def _explain(run: _Comparison, report: Report) -> None:
    """Say where nets that differ part, or that one of them is random."""
    failing = [row for row in report.rows if not row.ok and not row.failed]
    if not failing:
        return
    for net in run.nets.values():
        net.cast("float64")
    try:
        random = run.unlike_itself()
        everywhere = random.get("evaluation")
        words = everywhere or random.get("training")
        imperative = [row for row in failing if row.mode == "imperative"]
        if words:
            spared = "" if everywhere else "output, evaluation"
            report.rows = [
                replace(row, failed=words)
                if row in failing and row.quantity != spared
                else row
                for row in report.rows
            ]
            report.float32 = [
                noise if noise.quantity == spared else replace(noise, failed=words)
                for noise in report.float32
            ]
        elif imperative:
            parting = run.parting(imperative)
            agree = "two runs of each net agree"
            report.notes.insert(0, f"{parting}; {agree}" if parting else agree)
        else:
            report.notes.insert(0, "they part only once hybridized")
    except Exception as error:
        report.notes.insert(0, f"where they part cannot be told: {_short(error)}")


def _to_float64(run: _Comparison) -> None:
    """Cast both nets; ValueError in words if one does not run, or not in float64."""
    nets = {"gluon_net": run.gluon, "torch_net": run.torch}
    outputs = {}
    for name, net in nets.items():
        try:
            net.cast("float64")
            outputs[name] = net.evaluate(run.inputs)
        except Exception as error:
            net.cast("float32")
            _runs(name, net, run.inputs, net.evaluate)
            raise ValueError(
                f"{net.owner}: {name} runs in float32, but not in float64, in which "
                f"nets are compared: {_short(error)}. A layer without float64, or a "
                "constant or cast that does not take its input's dtype, does this"
            ) from error
    if len(outputs["gluon_net"]) != len(outputs["torch_net"]) and run.gluon.states:
        run.gluon.states = False
        outputs["gluon_net"] = run.gluon.evaluate(run.inputs)
    for name, net in nets.items():
        if not outputs[name]:
            raise ValueError(f"{net.owner}: {name} returns no array")
    _paired(*(_numbered("output", arrays) for arrays in outputs.values()))


def _runs(name: str, net: Net, arrays: list[np.ndarray], function: Any) -> None:
    """Call `function` with the inputs; ValueError in words if the net refuses them."""
    try:
        function(arrays)
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(f"{net.owner}: "):
            raise
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(
            f"{net.owner}: {name} fails on inputs of shape {shapes}: "
            f"{_errors.reason(error)}"
        ) from error


# The cure for oneDNN's faults in float32, and seconds that a child may take.
_CURE = "MXNET_MKLDNN_ENABLED=0, set before MXNet is imported, cures it"
_PATIENCE = 60.0
_PASSES = ("output, evaluation", "output, training", "parameter gradients")


def _float32(run: _Comparison) -> list[Noise]:
    """One pass in float32: how far apart, and how far each from its own float64."""
    results: dict[tuple[str, str], dict[str, Any]] = {}
    taken = 0.0
    for dtype in ("float64", "float32"):
        for net in run.nets.values():
            net.cast(dtype)
        run.reset()
        start = time.monotonic()
        for name in run.nets:
            passes = _until_failure(run.passes(name))
            if name == "Gluon" and dtype == "float32" and _may_crash(run.gluon):
                passes = _survived(passes, _PATIENCE + 20 * taken)
            results[name, dtype] = dict(passes)
        taken = time.monotonic() - start
    rows: list[Noise] = []
    for quantity in _PASSES:
        row = _noise(quantity, {key: r.get(quantity) for key, r in results.items()})
        if row is not None:
            rows.append(row)
        if row is None or row.failed:
            break
    return rows


def _until_failure(passes: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The passes that float32 reports; after a failure the last one is its reason."""
    try:
        for quantity, arrays in passes:
            if quantity in _PASSES:
                yield quantity, arrays
    except _FrameworkError as error:
        yield error.args


def _noise(quantity: str, column: dict[tuple[str, str], Any]) -> Noise | None:
    """One quantity of both nets in both types; None where it was not reached."""
    failed = [text for text in column.values() if isinstance(text, str)]
    if failed:
        ours = column["Gluon", "float32"] in failed
        exact = column["Gluon", "float64"]
        cure = f"; {_CURE}" if ours and isinstance(exact, dict) else ""
        return Noise(quantity, np.nan, np.nan, f"{failed[0]}{cure}")
    if None in column.values():
        return None
    floor = _TINY
    if "grad" in quantity:
        floor += FLOOR * _largest(column["PyTorch", "float64"].values())

    def apart(one: tuple[str, str], two: tuple[str, str]) -> float:
        a, b = column[one], column[two]
        pairs = {n: (a[n], b[n]) for n in b if n in a and a[n].shape == b[n].shape}
        return _worst(pairs, floor)[0]

    between = apart(("Gluon", "float32"), ("PyTorch", "float32"))
    own = (apart((n, "float32"), (n, "float64")) for n in ("Gluon", "PyTorch"))
    return Noise(quantity, between, max(own))


def _may_crash(net: Any) -> bool:
    """Whether oneDNN may end the process in the net's float32 backward pass."""
    on = os.environ.get("MXNET_MKLDNN_ENABLED", "1") not in ("0", "false")
    first = net.first_parameter()
    on_cpu = first is not None and first.list_ctx()[0].device_type == "cpu"
    return bool(net.may_crash) and on and on_cpu and hasattr(os, "fork")


def _survived(passes: Iterator[tuple[str, Any]], limit: float) -> Iterator[Any]:
    """The passes of Gluon's net in a child process, and how that died if it did."""
    found, end = in_child(passes, limit)
    yield from found
    if end:
        yield _PASSES[len(found)], f"Gluon's process {end} in oneDNN"
