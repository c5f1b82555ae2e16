"""The judges, which run Gluon's and PyTorch's spellings and compare the results.

Each public function here makes a judge: first the general ones, then those of a single
topic, then those for the package's own halves.
"""

from __future__ import annotations

import functools
import tempfile
import types
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from d2lutils import parity
from d2lutils.compat import mx
from d2lutils.parity import TRAINING
from d2lutils.porting.rows import BOUND, Found, Judge, Quantity, Row, Spelling, judge
from d2lutils.processes import run_group

__all__ = [
    "copied",
    "distributions",
    "dropped",
    "filed",
    "functions",
    "grouped",
    "lengths",
    "nets",
    "outputs",
    "randomize",
    "rebound",
    "refusal",
    "same_errors",
    "same_value",
    "schedules",
    "scored",
    "steps",
    "traceable",
    "trained",
    "values",
    "verdict",
]

nd: Any = mx.nd
autograd: Any = mx.autograd

#: A shape stands for fixed random numbers, whose gradient is compared; an array stands
#: for itself; a function makes a block in each half; other values have no gradient.
Input = Any
INFINITE = float("inf")


# -- arrays ----------------------------------------------------------------------------


def _noise(seed: int, shape: Sequence[int]) -> np.ndarray:
    """Fixed standard normal numbers."""
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(tuple(shape))


def _filled(inputs: Iterable[Input], dtype: str = "float64") -> list[np.ndarray]:
    """The arrays among the inputs; shapes become arrays of fixed random numbers."""
    return [
        _noise(i, each).astype(dtype) if isinstance(each, tuple) else each
        for i, each in enumerate(inputs)
        if isinstance(each, (tuple, np.ndarray))
    ]


def _flat(result: Any) -> list[Any]:
    """What is in a result, and in the lists and tuples in it."""
    if isinstance(result, (list, tuple)):
        return [each for part in result for each in _flat(part)]
    return [result]


def _array(result: Any) -> np.ndarray:
    """A result of either framework as a NumPy array."""
    if hasattr(result, "asnumpy"):
        return np.asarray(result.asnumpy())
    if hasattr(result, "detach"):
        return np.asarray(result.detach().cpu().numpy())
    return np.asarray(result)


def _arrays(result: Any) -> list[np.ndarray]:
    """Any result of either framework as a list of NumPy arrays."""
    return [_array(each) for each in _flat(result)]


def _distance(one: Sequence[Any], two: Sequence[Any]) -> float:
    """max|a - b| / max(max|b|, 1) of two lists of arrays; infinite if shapes differ."""
    if len(one) != len(two):
        return INFINITE
    worst = 0.0
    for a, b in zip(map(np.asarray, one), map(np.asarray, two), strict=True):
        if a.shape != b.shape:
            return INFINITE
        if "U" in (a.dtype.kind, b.dtype.kind):
            worst = max(worst, _exact_distance(a.tolist(), b.tolist()))
            continue
        a, b = a.astype("float64"), b.astype("float64")
        finite = np.isfinite(b)
        if not np.array_equal(np.isfinite(a), finite) or not np.array_equal(
            a[~finite], b[~finite], equal_nan=True
        ):
            return INFINITE
        a, b = a[finite], b[finite]
        if a.size:
            worst = max(worst, float(np.abs(a - b).max() / max(np.abs(b).max(), 1.0)))
    return worst


def _exact_distance(one: Any, two: Any) -> float:
    """0 if the values are equal, else infinite."""
    return 0.0 if one == two else INFINITE


# -- general ---------------------------------------------------------------------------


@judge()
def values(
    gluon: Spelling, pytorch: Spelling, *inputs: Input, dtype: bool = False
) -> float:
    """Both functions return the same values for the same NumPy arrays.

    Args:
        inputs: NumPy arrays; a shape stands for a fixed array of that shape.
        dtype: whether the dtypes must be equal, too.
    """
    arrays = _filled(inputs)
    two = _arrays(pytorch(*(a.copy() for a in arrays)))
    one = _arrays(gluon(*(a.copy() for a in arrays)))
    if dtype and [a.dtype for a in one] != [b.dtype for b in two]:
        return INFINITE
    return _distance(one, two)


@judge()
def functions(
    gluon: Spelling,
    pytorch: Spelling,
    *inputs: Input,
    gradient: bool = True,
    dtype: bool = False,
) -> Found:
    """Both functions have the same outputs and gradients for the same arrays.

    Args:
        inputs: NumPy arrays, which each framework gets as its own type; a shape stands
            for a fixed array of that shape with values of both signs.
        gradient: whether to compare the gradients of floating-point inputs, too.
        dtype: whether the dtypes must be equal, too.
    """
    arrays = _filled(inputs)
    free = [i for i, a in enumerate(arrays) if a.dtype.kind == "f" and gradient]
    expected, slopes = _pytorch_pass(pytorch, arrays, free)
    found, gradients = _gluon_pass(gluon, arrays, free, autograd.pause)
    apart = _distance(found, expected)
    if dtype and [a.dtype for a in found] != [b.dtype for b in expected]:
        apart = INFINITE
    return Found(
        [
            Quantity("values", "", BOUND, apart),
            Quantity("gradients", "", BOUND, _distance(gradients, slopes)),
        ]
    )


def outputs(*inputs: Input, dtype: bool = False) -> Judge:
    """Both functions have the same outputs; gradients are not compared."""
    return functions(*inputs, gradient=False, dtype=dtype)


def _pytorch_pass(
    function: Spelling, arrays: list[np.ndarray], free: list[int]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The outputs of a call, and the gradient of each free input."""
    given = [torch.tensor(array) for array in arrays]
    for i in free:
        given[i].requires_grad_()
    out = function(*given)
    found = _arrays(out)
    if free:
        torch.autograd.backward(_flat(out), [torch.tensor(h) for h in _heads(found)])
    # Autograd leaves no gradient if the output does not depend on an input.
    slopes = (given[i].grad for i in free)
    return found, [np.zeros(0) if s is None else s.numpy() for s in slopes]


def _gluon_pass(
    function: Spelling,
    arrays: list[np.ndarray],
    free: list[int],
    otherwise: Callable[[], Any],
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The same in Gluon; without free inputs it runs unrecorded, under `otherwise`."""
    given = [nd.array(array, dtype=array.dtype) for array in arrays]
    for i in free:
        given[i].attach_grad()
    with autograd.record() if free else otherwise():
        out = function(*given)
    found = _arrays(out)
    if free:
        heads = [nd.array(h, dtype=h.dtype) for h in _heads(found)]
        autograd.backward(_flat(out), heads)
    return found, [given[i].grad.asnumpy() for i in free]


def _heads(outputs: list[np.ndarray]) -> list[np.ndarray]:
    """Fixed gradients of the outputs."""
    return [_noise(9 + i, a.shape).astype(a.dtype) for i, a in enumerate(outputs)]


@judge()
def refusal(
    gluon: Spelling, pytorch: Spelling, words: str, otherwise: Judge
) -> Found | float:
    """One framework raises an error with these words: an infinite distance.

    The judge `otherwise` runs both spellings. If neither raises, its result counts.
    """
    try:
        found = otherwise(gluon, pytorch)
        nd.waitall()
    except Exception as error:
        if words not in str(error):
            raise
        return INFINITE
    return found


@judge(kind="net")
def nets(gluon: Spelling, pytorch: Spelling, **inputs: Input) -> Found:
    """Both spellings make a layer; with the weights copied the layers are the same.

    `parity.compare` runs both, imperatively and hybridized: output and gradients in
    evaluation and training, running statistics, five training steps. In float32, one
    pass is compared with its noise floor. For layers without parameters only output
    and gradient are compared.
    """
    ours, theirs = gluon(), pytorch()
    arrays = _filled(inputs.values())
    count = sum(p.numel() for p in theirs.parameters())
    if not count and not ours.collect_params().keys():
        return functions(*arrays)(ours, theirs)
    randomize(theirs)
    try:
        parity.copy_parameters(theirs, ours)
    except ValueError as error:  # other parameters, or other shapes
        return Found([Quantity("parameters", "", 0.0, INFINITE, str(error))])
    if len(arrays) < len(inputs):
        ours, theirs = _as_blocks(ours, theirs, inputs)
    report = parity.compare(ours, theirs, *arrays)
    rows = report.rows
    noise = {row.verdict for row in report.float32}
    cells = {
        "one pass": verdict(row for row in rows if row.bound != TRAINING),
        "five steps": verdict(row for row in rows if row.bound == TRAINING),
        "float32": "; ".join(sorted(noise, reverse=True)),
        "parameters": f"{count:,}",
    }
    return Found(rows, cells)


def randomize(net: Any, seed: int = 0) -> None:
    """Give a PyTorch net random values that keep the scale of activations.

    A new net's biases of 0 and gains of 1 hide differences. With unscaled random values
    the signal would vanish in a deep net: only the last bias, and gradients of zero.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if not tensor.is_floating_point():
                continue
            shape = tuple(tensor.shape)
            values = generator.standard_normal(shape)
            if len(shape) > 1:
                inputs = shape[-3:] if len(shape) > 3 else shape[1:]
                values = values * np.sqrt(2 / prod(inputs))
            elif name.endswith("var"):
                values = 0.5 + np.abs(values)
            elif name.endswith("weight"):
                values = 1 + values / 4
            else:
                values = 0.1 + values / 16
            tensor.copy_(torch.as_tensor(values))


def _as_blocks(ours: Any, theirs: Any, inputs: dict[str, Input]) -> tuple[Any, Any]:
    """Functions or blocks of `inputs`, as blocks of the arrays among the inputs.

    As a block, even a function can be hybridized in Gluon.
    """

    def arguments(arrays: Sequence[Any]) -> list[Any]:
        given = iter(arrays)
        return [
            next(given) if isinstance(each, (tuple, np.ndarray)) else each
            for each in inputs.values()
        ]

    class GluonCall(mx.gluon.HybridBlock):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.called = ours

        def hybrid_forward(self, F: Any, *arrays: Any) -> Any:
            return self.called(*arguments(arrays))

    class TorchCall(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.called = theirs

        def forward(self, *arrays: Any) -> Any:
            return self.called(*arguments(arrays))

    return GluonCall(), TorchCall()


def verdict(quantities: Iterable[Quantity]) -> str:
    """A short summary of quantities; in bold those that differ."""
    quantities = list(quantities)
    wrong = dict.fromkeys(q.quantity for q in quantities if not q.ok)
    if wrong:
        return f"**differs:** {'; '.join(wrong)}"
    bounds = [q for q in quantities if q.bound]
    return max(bounds, key=lambda q: q.bound).verdict if bounds else "equal"


# -- for one topic ---------------------------------------------------------------------


@judge()
def dropped(gluon: Spelling, pytorch: Spelling, *shape: int) -> float:
    """Dropout of ones: how zeros depend on each other, and the value of the others."""
    mx.random.seed(0)
    torch.manual_seed(0)
    layer = gluon()
    with autograd.record():
        one = layer(nd.ones(shape)).asnumpy()
    two = pytorch()(torch.ones(shape)).numpy()
    apart = 0.0
    for mask in (one, two):
        # The share of rows with a dropped last place among those with a dropped first.
        flat = mask.reshape(len(mask), -1) == 0
        apart = abs(apart - flat[flat[:, 0], -1].mean())
    return 0.0 if apart < 0.05 and one.max() == two.max() else INFINITE


@judge()
def copied(
    gluon: Spelling, pytorch: Spelling, *inputs: Input, dtype: str = "float64"
) -> Found:
    """Outputs and gradients of both nets in training, with PyTorch's weights in both.

    A spelling makes a net, or a net and a function of it and its inputs.
    """
    torch.manual_seed(0)
    nets, calls = [], []
    for made in (gluon(), pytorch()):
        net, call = made if isinstance(made, tuple) else (made, None)
        nets.append(net)
        calls.append(partial(call, net) if call else net)
    ours, theirs = nets
    ours.initialize()
    ours.cast(dtype)
    theirs.to(getattr(torch, dtype))
    parity.copy_parameters(theirs, ours)
    return functions(*_filled(inputs, dtype))(*calls)


def _weights(
    gluon: Spelling, pytorch: Spelling, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """A weight from each framework's initialiser, with fixed seeds."""
    mx.random.seed(0)
    torch.manual_seed(0)
    ours, theirs = nd.zeros(shape), torch.zeros(shape)
    gluon()(mx.init.InitDesc("weight"), ours)
    pytorch(theirs)
    return ours.asnumpy(), theirs.numpy()


@judge()
def distributions(gluon: Spelling, pytorch: Spelling, *shape: int) -> float:
    """Both initialisers have the same distribution, for a weight of this shape.

    The two-sample Kolmogorov-Smirnov test of seeded samples; for equal distributions
    it would fail with a probability of one in a million.
    """
    one, two = (np.sort(w.ravel()) for w in _weights(gluon, pytorch, shape))
    both = np.concatenate([one, two])
    below = [np.searchsorted(each, both, "right") for each in (one, two)]
    apart = float(np.abs(below[0] - below[1]).max()) / one.size
    return 0.0 if apart < 2.7 * (2 / one.size) ** 0.5 else apart


@judge()
def lengths(gluon: Spelling, pytorch: Spelling, *shape: int) -> float:
    """The inner products of the rows of an initialised weight."""
    one, two = _weights(gluon, pytorch, shape)
    return float(np.abs(one @ one.T - two @ two.T).max())


@judge()
def steps(
    gluon: Spelling,
    pytorch: Spelling,
    number: int = 6,
    *,
    scale: float = 1.0,
    batch: int = 1,
    dtype: str = "float64",
    rate: Callable[[int], float] | None = None,
) -> float:
    """A parameter after each of some updates by the frameworks' optimisers.

    PyTorch's spelling makes an optimiser, or one and a function of the loss.

    Args:
        number: the number of steps.
        scale: factor of the gradients, which are fixed and the same for both.
        batch: the argument of Gluon's `step`; PyTorch has none.
        dtype: type of the parameter and its gradient.
        rate: gives the learning rate of each step; None to leave it unchanged.
    """
    start = _noise(0, (5,)).astype(dtype)
    gradients = (scale * _noise(1, (number, 5))).astype(dtype)
    theirs = torch.nn.Parameter(torch.tensor(start))
    ours = mx.gluon.Parameter("weight", shape=(5,), dtype=dtype)
    ours.initialize(init=mx.init.Zero())
    ours.set_data(nd.array(start, dtype=dtype))
    trainer, made = gluon([ours]), pytorch([theirs])
    optimizer, scaled = made if isinstance(made, tuple) else (made, lambda loss: loss)
    worst = 0.0
    for i, gradient in enumerate(gradients):
        if rate is not None:
            trainer.set_learning_rate(rate(i))
            for group in optimizer.param_groups:
                group["lr"] = rate(i)
        with autograd.record():
            loss = (ours.data() * nd.array(gradient, dtype=dtype)).sum()
        loss.backward()
        optimizer.zero_grad()
        scaled((theirs * torch.tensor(gradient)).sum()).backward()
        trainer.step(batch)
        optimizer.step()
        one, two = ours.data().asnumpy(), theirs.detach().numpy()
        worst = max(worst, float(np.abs(one - two).max()))
    return worst


@judge()
def schedules(gluon: Spelling, pytorch: Spelling, updates: int = 14) -> float:
    """The learning rates of some updates; PyTorch's schedule steps after each."""
    ours = gluon()
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = pytorch(optimizer)
    worst = 0.0
    for update in range(1, updates + 1):
        rate = optimizer.param_groups[0]["lr"]
        worst = max(worst, abs(ours(update) - rate))
        optimizer.step()
        theirs.step()
    return worst


@judge()
def filed(gluon: Spelling, pytorch: Spelling) -> Found:
    """Both spellings, called with a path in a temporary folder, give equal values."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # MXNet warns about a reloaded graph's input type, but then infers it.
        warnings.filterwarnings("ignore", "Cannot decide type")
        return values()(
            lambda: gluon(str(Path(folder) / "gluon")),
            lambda: pytorch(str(Path(folder) / "pytorch")),
        )


@judge()
def grouped(
    gluon: Spelling, pytorch: Spelling, rows: Callable[[], Iterable[Row]]
) -> float:
    """What Gluon returns for each device, PyTorch in each process of a group of two.

    Args:
        rows: gives all rows with this judge. One group runs all their spellings that
            take a rank, because it starts for longer than it works.
    """
    spelled = [each for row in rows() for each in (row.pytorch, row.cure)]
    all_of = tuple(each for each in spelled if each and _takes_rank(each))
    found = _in_group(all_of if pytorch in all_of else (pytorch,))[pytorch.__name__]
    if isinstance(found, str):
        raise RuntimeError(found)
    one, two = (
        [np.concatenate([np.ravel(array) for array in _arrays(each)])]
        for each in (gluon(), found)
    )
    return _distance(one, two)


def _takes_rank(spelling: Spelling) -> bool:
    return spelling.__code__.co_varnames[: spelling.__code__.co_argcount] == ("rank",)


@functools.cache
def _in_group(spellings: tuple[Spelling, ...]) -> dict[str, Any]:
    """By name what the processes return, or the first one's error."""
    names = [each.__name__ for each in spellings]
    given = {"names": names}
    results = run_group(_called, 2, uses=spellings, arguments=given)
    found: dict[str, Any] = {}
    for name in names:
        each = [result[name] for result in results]
        found[name] = next((e for e in each if isinstance(e, str)), each)
    return found


def _called(names: list[str]) -> dict[str, Any]:
    """What functions return in this process of a group, or their errors as text."""
    import torch
    from torch import distributed

    globals().update(torch=torch, nn=torch.nn, dist=distributed)
    distributed.init_process_group("gloo")
    found = {}
    for name in names:
        try:
            found[name] = globals()[name](distributed.get_rank())
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    distributed.barrier()  # one that ends while others still connect would fail them
    distributed.destroy_process_group()
    return found


# -- for the package's halves ----------------------------------------------------------


@judge(kind="function")
def traceable(
    gluon: Spelling,
    pytorch: Spelling,
    *,
    refused: str = "",
    gradient: str = "",
    graph: str = "",
    dtype: str = "float64",
    **inputs: Input,
) -> Found:
    """Values and the gradient of each input: called, recorded, and in Gluon's graph.

    A spelling is a function of the inputs, or makes a block without parameters.

    Args:
        refused, gradient, graph: part of Gluon's error message for the call, for its
            gradient and for the call in a graph; "" where there is no error. If Gluon
            raises no such error, the row fails.
        dtype: "float32" for functions that Gluon has in no other type; then the results
            must be equal.
        inputs: the inputs of the call.
    """
    bound = BOUND if dtype == "float64" else 0.0
    words = {"called": refused, "recorded": gradient, "in a graph": graph}
    arrays = _filled(inputs.values(), dtype)
    free = [i for i, each in enumerate(inputs.values()) if isinstance(each, tuple)]
    names = ["values", *(f"gradient of {list(inputs)[i]}" for i in free)]
    makes_block = not pytorch.__code__.co_argcount
    one, two = (gluon(), pytorch()) if makes_block else (gluon, pytorch)
    ours, theirs = _as_blocks(one, two, inputs)
    ours.initialize()
    ours.cast(dtype)
    theirs.to(getattr(torch, dtype))
    expected, slopes = _pytorch_pass(theirs, arrays, free)
    found = []
    for place, refusing in words.items():
        recorded = [] if place == "called" else free
        ours.hybridize(place == "in a graph")
        run = partial(_gluon_pass, ours, arrays, recorded, autograd.train_mode)
        if refusing:
            error = _error(run)
            unheard = 0.0 if refusing in error else INFINITE
            found.append(Quantity(f"refusal, {place}", place, 0.0, unheard, error))
        elif not refused:
            outs, gradients = run()
            both = zip(names, outs + gradients, expected + slopes, strict=False)
            found += [
                Quantity(name, place, bound, _distance([a], [b])) for name, a, b in both
            ]
    kept = [q for q in found if not q.quantity.startswith("refusal")]
    wrong = [q for q in found if not q.ok]
    text = verdict(wrong or kept) if wrong or kept else "not compared"
    text += ", values only" if gradient else ""
    text += ", imperative only" if graph and not refused else ""
    text += f", in {dtype}" if dtype != "float64" else ""
    first: dict[str, str] = {}  # message → where Gluon raises it first
    for place, refusing in words.items():
        first.setdefault(refusing, place)
    said = [f"{place}: `{words}`" for words, place in first.items() if words]
    cells = {"values and gradients": text, "Gluon refuses": "<br>".join(said)}
    return Found(found, cells)


@judge()
def same_value(gluon: Spelling, pytorch: Spelling, **inputs: Input) -> Found:
    """Both spellings return the same plain value."""
    ours, theirs = _given(inputs, gluon, pytorch)
    return _equal(gluon(*ours), pytorch(*theirs))


@judge()
def same_errors(
    gluon: Spelling, pytorch: Spelling, *calls: Spelling, **inputs: Input
) -> Found:
    """Both halves raise the same error for the row's call and for some others."""
    ours, theirs = _given(inputs, gluon, pytorch)
    found = []
    for call in (None, *calls):
        one, two = (gluon, pytorch) if call is None else _both(call, gluon, pytorch)
        errors = [_error(partial(one, *ours)), _error(partial(two, *theirs))]
        unlike = 0.0 if errors[0] == errors[1] != "" else INFINITE
        worst = " and ".join(error or "none" for error in errors) if unlike else ""
        found.append(Quantity("refusal", "", 0.0, unlike, worst))
    text = verdict(found)
    if text == "equal":
        text = f"{len(found)} refusals, word for word"
    return Found(found, {"found": text})


@judge()
def trained(gluon: Spelling, pytorch: Spelling, bound: float = TRAINING) -> Found:
    """Both halves train a small classifier in float64, with the same result."""
    ours, theirs = _classifiers()
    histories = (gluon(ours, *_digits()), pytorch(theirs, *_digits()))
    bounds = {"train_loss": bound, "train_accuracy": 0.0, "test_accuracy": 0.0}
    found = []
    for name, limit in bounds.items():
        one, two = (getattr(history, name) for history in histories)
        apart = _distance([one], [two])
        found.append(Quantity(name.replace("_", " "), "", limit, apart))
    weights = (_arrays(ours[0].weight.data()), _arrays(theirs[1].weight))
    found.append(Quantity("weights", "", bound, _distance(*weights)))
    text = verdict(found)
    if all(quantity.ok for quantity in found):
        text = f"losses and weights {found[0].verdict}, accuracies equal"
    return Found(found, {"inputs": _CLASSIFIER, "found": text})


@judge()
def scored(gluon: Spelling, pytorch: Spelling) -> Found:
    """Both halves give the same net the same score."""
    (ours, theirs), (_, test) = _classifiers(), _digits()
    found = _equal(gluon(ours, test), pytorch(theirs, test))
    found.cells["inputs"] = _CLASSIFIER
    return found


def rebound(function: Spelling, names: dict[str, Any]) -> Spelling:
    """The same function with `names` as its globals."""
    return types.FunctionType(function.__code__, names)


def _both(
    function: Spelling, gluon: Spelling, pytorch: Spelling
) -> tuple[Spelling, Spelling]:
    """A function with the global names of each half."""
    one, two = (rebound(function, half.__globals__) for half in (gluon, pytorch))
    return one, two


def _equal(one: Any, two: Any) -> Found:
    """Whether two plain values are equal."""
    unlike = _exact_distance(one, two)
    worst = f"{one!r} and {two!r}" if unlike else ""
    found = [Quantity("value", "", 0.0, unlike, worst)]
    return Found(found, {"found": verdict(found)})


def _given(
    inputs: dict[str, Input], gluon: Spelling, pytorch: Spelling
) -> tuple[list[Any], list[Any]]:
    """The inputs as each framework's own types."""
    ours, theirs = [], []
    arrays = iter(_filled(inputs.values()))
    for each in inputs.values():
        if callable(each):
            one, two = (make() for make in _both(each, gluon, pytorch))
            randomize(two)
            parity.copy_parameters(two, one)
        else:
            array = next(arrays)
            one, two = nd.array(array, dtype=array.dtype), torch.tensor(array)
        ours.append(one)
        theirs.append(two)
    return ours, theirs


def _error(call: Callable[[], Any]) -> str:
    """The error of a call, including MXNet's asynchronous ones; "" if none."""
    try:
        call()
        nd.waitall()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


_CLASSIFIER = "a classifier of digits, and their batches"


def _classifiers() -> tuple[Any, Any]:
    """A net of two linear layers in both frameworks, with the same parameters."""
    gnn, nn = mx.gluon.nn, torch.nn
    ours = gnn.HybridSequential()
    ours.add(
        gnn.Dense(16, activation="relu", in_units=64),
        gnn.Dense(10, in_units=16),
    )
    ours.cast("float64")
    layers = (nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    theirs = nn.Sequential(nn.Flatten(), *layers).double()
    randomize(theirs)
    parity.copy_parameters(theirs, ours)
    return ours, theirs


def _digits() -> tuple[Any, Any]:
    """Batches of digits for training, in a fixed order, and for testing."""
    from d2lutils.data import Batches, digits

    train, test = digits("sequences", dtype="float64")
    return (
        Batches(train.x[:200], train.y[:200], 48, shuffle=True, seed=1),
        Batches(test.x, test.y, 100),
    )
