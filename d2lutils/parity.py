"""Are two nets, one per framework, the same function? Copy weights and compare.

`copy_parameters` walks two nets in the order in which their layers were registered
and copies every parameter and running statistic from one to the other.
`compare` then runs both on the same inputs in float64, where a real difference
cannot hide behind rounding: outputs, gradients, and a few steps of SGD. In float32
two correct programs drift apart within five steps of a net with batch norm, so
float32 is only reported, for one pass, beside how far each framework is from its
own float64 result (its noise floor).

Nothing here imports a framework before it is handed one of its nets.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from d2lutils import checks
from d2lutils.nets import STATISTICS, GluonNet, Layer, Net, TorchNet, net_of

__all__ = ["Noise", "Report", "Row", "compare", "copy_parameters"]

ONE_PASS = 1e-10
TRAINING = 1e-6
NOISE = 4.0
# Rounding of a gradient whose true value is zero is some 1e-15 of the largest one;
# 1e-3 of it times ONE_PASS is 1e-13, 1e-6 times ONE_PASS would be below rounding.
FLOOR = 1e-3
_TINY = 1e-300


def _describe(net: Net, layer: Layer) -> str:
    tensors = ", ".join(f"{role} {net.shape(t)}" for role, t in layer.tensors.items())
    return f"{layer.path or 'the net itself'} ({layer.kind}: {tensors})"


def _compatible(one: tuple[int, ...], two: tuple[int, ...]) -> bool:
    """Equal shapes, where 0 stands for a size that is not known yet."""
    if (0,) in (one, two):
        return True
    return len(one) == len(two) and all(
        a == b or a == 0 or b == 0 for a, b in zip(one, two, strict=True)
    )


def _match(owner: str, one: Net, two: Net, labels: tuple[str, str]) -> None:
    """ValueError at the first layer in which two nets are built differently."""
    for i in range(max(len(one.layers), len(two.layers))):
        if i >= len(one.layers) or i >= len(two.layers):
            longer, label = (
                (one, labels[0]) if i < len(one.layers) else (two, labels[1])
            )
            raise ValueError(
                f"{owner}: {labels[0]} has {len(one.layers)} layers with parameters, "
                f"{labels[1]} has {len(two.layers)}; the first without a partner is "
                f"{label} {_describe(longer, longer.layers[i])}"
            )
        a, b = one.layers[i], two.layers[i]
        if set(a.tensors) != set(b.tensors) or not all(
            _compatible(one.shape(a.tensors[r]), two.shape(b.tensors[r]))
            for r in a.tensors
        ):
            raise ValueError(
                f"{owner}: layer {i} differs: {labels[0]} {_describe(one, a)}, "
                f"{labels[1]} {_describe(two, b)}"
            )


def copy_parameters(source: Any, target: Any) -> None:
    """Copy all parameters and running statistics from one net into another.

    Layers are matched in the order in which they were registered, parameters by
    their role (Gluon's gamma and beta are PyTorch's weight and bias), shapes must
    agree. Works from Gluon to PyTorch, back, and within one framework. A Gluon
    target that is not initialised, or waits for its shapes, is initialised by this.
    Values take the target's dtype. Either everything is copied or nothing.

    Args:
        source, target: a Gluon Block or a PyTorch Module each.

    Raises:
        TypeError: one of them is neither.
        ValueError: the nets differ in structure or a shape (the first mismatch is
            named with both sides), or the source has no values yet.
    """
    owner = "copy_parameters"
    one, two = net_of(owner, "source", source), net_of(owner, "target", target)
    _match(owner, one, two, ("source", "target"))
    copies = []
    for a, b in zip(one.layers, two.layers, strict=True):
        for role, tensor in a.tensors.items():
            values = one.get(tensor)
            if values is None:
                raise ValueError(
                    f"{owner}: source {a.path}.{role} has no values yet: initialise "
                    "the net and run one forward pass first"
                )
            if isinstance(two, TorchNet) and two.shape(b.tensors[role]) == (0,):
                raise ValueError(
                    f"{owner}: target {b.path}.{role} is lazy: run one forward pass"
                )
            copies.append((b.tensors[role], values))
    for tensor, values in copies:
        two.set(tensor, values)


def _power(bound: float) -> str:
    """1e-6 rather than 1e-06."""
    return f"1e{round(np.log10(bound))}"


@dataclass(frozen=True)
class Row:
    """One comparison: the largest difference found and the bound it must keep."""

    quantity: str
    mode: str
    bound: float
    difference: float
    worst: str = ""

    @property
    def ok(self) -> bool:
        """Whether the difference keeps the bound (never, if it is not a number)."""
        return bool(self.difference <= self.bound)

    @property
    def verdict(self) -> str:
        """The result in words that do not change from machine to machine."""
        if self.ok:
            return f"within {_power(self.bound)}" if self.bound else "equal"
        more = f" by more than {_power(self.bound)}" if self.bound else ""
        return f"differs{more}" + (f", most at {self.worst}" if self.worst else "")


@dataclass(frozen=True)
class Noise:
    """float32: how far apart the frameworks are, and each from its own float64."""

    quantity: str
    apart: float
    floor: float

    @property
    def verdict(self) -> str:
        """Whether the difference is of the size of rounding, in words."""
        if self.apart <= NOISE * self.floor:
            return "rounding only"
        return f"more than {NOISE:g}x its rounding"


@dataclass
class Report:
    """The result of `compare`: rows in float64, and float32 beside them.

    In float32 nothing has a bound: the numbers of `.float32` say how far apart the
    frameworks are, and the most that one of them is from its own float64 result.
    """

    rows: list[Row] = field(default_factory=list)
    float32: list[Noise] = field(default_factory=list)
    layers: int = 0
    numbers: int = 0
    steps: int = 0

    @property
    def ok(self) -> bool:
        """Whether every float64 comparison keeps its bound."""
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
            line.append(beside.get(line[0], ""))
        heads = [f"float64, {mode}" for mode in modes]
        return ["Gluon against PyTorch", *heads, "float32, one pass"], lines

    def _summary(self) -> str:
        verdict = "the same" if self.ok else "NOT the same"
        return (
            f"{verdict}: {self.layers} layers with parameters, {self.numbers:,} "
            f"numbers, {self.steps} training steps"
        )

    def __repr__(self) -> str:
        headers, lines = self._table()
        widths = [max(map(len, column)) for column in zip(headers, *lines, strict=True)]
        text = [
            "  ".join(
                cell.ljust(w) for cell, w in zip(row, widths, strict=True)
            ).rstrip()
            for row in [headers, ["-" * w for w in widths], *lines]
        ]
        return "\n".join([*text, self._summary()])

    def _repr_html_(self) -> str:
        from d2lutils import show

        headers, lines = self._table()
        table = show.table(lines, headers, caption=f"Parity: {self._summary()}")
        return table._repr_html_()


def _difference(a: np.ndarray, b: np.ndarray, floor: float = _TINY) -> float:
    """max|a - b| / max(max|b|, floor), in float64; infinite for unequal shapes."""
    if a.shape != b.shape:
        return float("inf")
    if a.size == 0:
        return 0.0
    a, b = a.astype("float64"), b.astype("float64")
    with np.errstate(invalid="ignore"):  # inf - inf is a difference: not a number
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


def _numbered(what: str, a: list[Any], b: list[Any]) -> dict[str, tuple[Any, Any]]:
    if len(a) != len(b):
        raise ValueError(f"compare: {len(a)} {what}s in Gluon, {len(b)} in PyTorch")
    return {f"{what} {i}": pair for i, pair in enumerate(zip(a, b, strict=True))}


def _largest(arrays: Any) -> float:
    return max((float(np.abs(a).max()) for a in arrays if a.size), default=0.0)


class _Comparison:
    """One call of `compare`, after its arguments have been checked."""

    def __init__(
        self, gluon: GluonNet, torch: TorchNet, inputs: list[np.ndarray], seed: int
    ) -> None:
        self.gluon, self.torch, self.inputs, self.seed = gluon, torch, inputs, seed
        self.names = dict(
            zip(
                (n for n, _, _ in gluon.items()),
                (n for n, _, _ in torch.items()),
                strict=True,
            )
        )

    def head(self, outputs: list[np.ndarray]) -> list[np.ndarray]:
        """The gradient of half the mean squared distance to a fixed random target."""
        generator = np.random.Generator(np.random.PCG64(self.seed))
        return [(o - generator.standard_normal(o.shape)) / o.size for o in outputs]

    def paired(self, gluon: dict[str, Any], torch: dict[str, Any]) -> dict[str, Any]:
        """Named values of both nets, by PyTorch's names."""
        return {
            other: (gluon[name], torch[other])
            for name, other in self.names.items()
            if name in gluon and other in torch
        }

    def reset(self, state: dict[str, np.ndarray]) -> None:
        """Both nets to the same state, given by Gluon's names."""
        self.gluon.load(state)
        self.torch.load({self.names[name]: values for name, values in state.items()})

    def one_pass(self) -> dict[str, tuple[float, str]]:
        """Differences of one evaluation, one forward and one backward pass."""
        result = {}
        result["output, evaluation"] = _worst(
            _numbered(
                "output",
                self.gluon.evaluate(self.inputs),
                self.torch.evaluate(self.inputs),
            )
        )
        before = self.gluon.state()
        one = self.gluon.forward_backward(self.inputs, self.head)
        two = self.torch.forward_backward(self.inputs, self.head)
        result["output, training"] = _worst(
            _numbered("output", one["outputs"], two["outputs"])
        )
        floor = FLOOR * _largest([*two["gradients"].values(), *two["inputs"]]) + _TINY
        if two["inputs"]:
            result["input gradients"] = _worst(
                _numbered("input", one["inputs"], two["inputs"]), floor
            )
        result["parameter gradients"] = _worst(
            self.paired(one["gradients"], two["gradients"]), floor
        )
        if two["sizes"]:
            result["running statistics"] = self.statistics(before, two["sizes"])
        return result

    def statistics(
        self, before: dict[str, np.ndarray], sizes: dict[str, int]
    ) -> tuple[float, str]:
        """Running statistics after one step, as Gluon's batch predicts PyTorch's."""
        after = self.gluon.state()
        predicted = {}
        for name, old in before.items():
            layer, _, role = name.rpartition(".")
            if role not in STATISTICS:
                continue
            other = self.names[name].rpartition(".")[0]
            # Gluon's momentum is the share it keeps, and MXNet holds it in float32:
            # 0.9 is 0.89999998 there. PyTorch's is the share that is new, so it
            # should be what is left of Gluon's.
            momentum = self.gluon.block(layer)._kwargs["momentum"]
            keeps, takes = float(np.float32(momentum)), 1.0 - momentum
            batch = (after[name] - keeps * old) / (1.0 - keeps)
            n = sizes.get(other, 0)
            if role == "running_var" and n > 1:
                batch = batch * (n / (n - 1))  # biased there, unbiased here
            predicted[name] = (1.0 - takes) * old + takes * batch
        # A mean that is truly zero, as of a sum of batch norms, is rounding.
        floor = FLOOR * _largest(predicted.values()) + _TINY
        return _worst(self.paired(predicted, self.torch.state()), floor)

    def train(
        self, steps: int, rate: float, momentum: float, decay: float
    ) -> dict[str, tuple[float, str]]:
        """Differences after some steps of each framework's own SGD."""
        one = self.gluon.optimizer(rate, momentum, decay)
        two = self.torch.optimizer(rate, momentum, decay)
        for _ in range(steps):
            self.gluon.forward_backward(self.inputs, self.head)
            one()
            self.torch.forward_backward(self.inputs, self.head)
            two()
        a, b = self.gluon.state(), self.torch.state()
        trained = {n for n, _, is_trained in self.torch.items() if is_trained}
        pairs = {n: p for n, p in self.paired(a, b).items() if n in trained}
        floor = 1e-6 * _largest(b[n] for n in trained) + _TINY
        result = {f"parameters after {steps} steps": _worst(pairs, floor)}
        # The variances differ by a known factor a step: evaluate with Gluon's.
        for name, values in a.items():
            if name.rsplit(".", 1)[-1] in STATISTICS:
                b[self.names[name]] = values
        self.torch.load(b)
        result[f"evaluation after {steps} steps"] = _worst(
            _numbered(
                "output",
                self.gluon.evaluate(self.inputs),
                self.torch.evaluate(self.inputs),
            )
        )
        return result

    def passes(self, net: GluonNet | TorchNet) -> dict[str, dict[str, np.ndarray]]:
        """What one pass computes in one framework, for the float32 column."""
        evaluated = net.evaluate(self.inputs)
        run = net.forward_backward(self.inputs, self.head)
        gradients = run["gradients"]
        if net is self.gluon:
            gradients = {self.names[name]: g for name, g in gradients.items()}
        return {
            "output, evaluation": {f"output {i}": o for i, o in enumerate(evaluated)},
            "output, training": {
                f"output {i}": o for i, o in enumerate(run["outputs"])
            },
            "parameter gradients": gradients,
        }


def _floor(quantity: str, reference: dict[str, np.ndarray]) -> float:
    return FLOOR * _largest(reference.values()) + _TINY if "grad" in quantity else _TINY


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

    Args:
        gluon_net: a Gluon Block, initialised.
        torch_net: a PyTorch Module with the same parameters (`copy_parameters`).
        inputs: arrays that both nets are called with, (N, …).
        steps: of SGD; 0 for none.
        learning_rate: at most 0.05, and like `momentum` and `weight_decay` best
            exact in binary, since MXNet passes them on in float32.
        seed: of the random target.

    Returns:
        A `Report`: `.ok`, `.rows`, and a table in a notebook.

    Raises:
        TypeError: a net or an input of the wrong kind.
        ValueError: no inputs or an empty one, different structure, a number out of
            range, a net that fails on the inputs, or different numbers of outputs.
    """
    owner = "compare"
    gluon = net_of(owner, "gluon_net", gluon_net)
    torch = net_of(owner, "torch_net", torch_net)
    if not isinstance(gluon, GluonNet) or not isinstance(torch, TorchNet):
        raise TypeError(f"{owner}: gluon_net comes first, torch_net second")
    steps = checks.non_negative(owner, "steps", steps)
    checks.number(owner, "learning_rate", learning_rate, 0, 0.05)
    checks.number(owner, "momentum", momentum, 0, 1)
    checks.number(owner, "weight_decay", weight_decay, 0)
    arrays = [_plain(owner, i, x) for i, x in enumerate(inputs)]
    if not arrays:
        raise ValueError(f"{owner}: give at least one input")
    for i, array in enumerate(arrays):
        if array.size == 0:
            raise ValueError(f"{owner}: input {i} of shape {array.shape} is empty")
    seed = checks.non_negative(owner, "seed", seed)
    if not gluon.layers or not torch.layers:
        raise ValueError(f"{owner}: the nets have no parameters to compare")
    _runs("gluon_net", gluon, arrays, gluon.settle)
    _runs("torch_net", torch, arrays, torch.settle)
    _match(owner, gluon, torch, ("Gluon's", "PyTorch's"))
    run = _Comparison(gluon, torch, arrays, seed)
    report = Report(layers=len(gluon.layers), steps=steps)
    report.numbers = sum(p.size for p in gluon.state().values())
    with ExitStack() as stack:
        stack.enter_context(gluon.undisturbed())
        stack.enter_context(torch.undisturbed())
        start = gluon.state()
        same = _worst(run.paired(start, torch.state()))
        if same[0] != 0:
            # Nothing that follows could be equal, or would mean anything.
            report.rows = [Row("parameters before", "imperative", 0.0, *same)]
            return report
        for name, net in (("gluon_net", gluon), ("torch_net", torch)):
            net.cast("float64")
            _runs(name, net, arrays, net.evaluate)
        for mode in ("imperative", "hybridized"):
            gluon.hybridize(mode == "hybridized")
            report.rows.append(Row("parameters before", mode, 0.0, *same))
            run.reset(start)
            one_pass = run.one_pass()
            report.rows += [Row(q, mode, ONE_PASS, *d) for q, d in one_pass.items()]
            run.reset(start)
            if steps:
                trained = run.train(steps, learning_rate, momentum, weight_decay)
                report.rows += [Row(q, mode, TRAINING, *d) for q, d in trained.items()]
        report.float32 = _float32(run, start)
    return report


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
            f"{checks.reason(error)}"
        ) from error


def _float32(run: _Comparison, start: dict[str, np.ndarray]) -> list[Noise]:
    """One pass in float32: how far apart, and how far each from its own float64."""
    run.gluon.hybridize(False)
    results = {}
    for dtype in ("float64", "float32"):
        for net in (run.gluon, run.torch):
            net.cast(dtype)
        run.reset(start)
        for name, net in (("gluon", run.gluon), ("torch", run.torch)):
            results[name, dtype] = run.passes(net)
    rows = []
    for quantity, exact in results["torch", "float64"].items():
        floor = _floor(quantity, exact)

        def apart(one: tuple[str, str], two: tuple[str, str]) -> tuple[float, str]:
            a, b = results[one][quantity], results[two][quantity]  # noqa: B023
            return _worst({n: (a[n], b[n]) for n in b if n in a}, floor)  # noqa: B023

        between = apart(("gluon", "float32"), ("torch", "float32"))
        noise = max(
            apart((name, "float32"), (name, "float64")) for name in ("gluon", "torch")
        )
        rows.append(Noise(quantity, between[0], noise[0]))
    return rows


def _plain(owner: str, i: int, x: Any) -> np.ndarray:
    """An input of any kind as a NumPy array."""
    if hasattr(x, "asnumpy"):
        return x.asnumpy()
    if hasattr(x, "detach"):
        return x.detach().cpu().numpy()
    if not isinstance(x, np.ndarray):
        raise TypeError(
            f"{owner}: input {i} must be an array or tensor, got {type(x).__name__}"
        )
    return x
