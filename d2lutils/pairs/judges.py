"""How the two halves of a pair are compared.

A judge gets a pair and the public names of both halves, runs the call in each and
returns rows with a bound. Nothing here imports a framework before a judge runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import numpy as np

from d2lutils import parity
from d2lutils.pairs import Judge, Names, Pair, Result
from d2lutils.pairs.calls import parts, run
from d2lutils.parity import ONE_PASS, TRAINING, Row

__all__ = ["enliven", "function", "net", "refusals", "same", "scored", "trained"]

#: A shape stands for fixed random numbers whose gradient is compared, an array for a
#: constant, a text for a net that each half makes of it.
Input = tuple[int, ...] | np.ndarray | str

_CLASSIFIER = "a classifier of digits, and their batches"


# -- running a call --------------------------------------------------------------------


def _values(inputs: dict[str, Input], dtype: str = "float64") -> dict[str, np.ndarray]:
    """The arrays that a call gets."""
    generator = np.random.Generator(np.random.PCG64(1))
    return {
        name: (
            generator.standard_normal(value).astype(dtype)
            if isinstance(value, tuple)
            else value
        )
        for name, value in inputs.items()
        if not isinstance(value, str)
    }


def _sizes(inputs: dict[str, Input]) -> str:
    """What a call gets, in words: shapes, or what made a net."""
    return ", ".join(
        f"{name} = `{value}`"
        if isinstance(value, str)
        else f"{name} {value.shape if isinstance(value, np.ndarray) else value}"
        for name, value in inputs.items()
    )


def enliven(net: Any, seed: int = 0) -> None:
    """Give a torch net random values with which numbers come through many layers.

    Fresh nets hide differences, with biases of 0 and gains of 1; with any random
    numbers a deep net's outputs would all be its last bias, every gradient zero.
    """
    import torch

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


def _made(made: tuple[str, str], one: Names, two: Names) -> tuple[Any, Any]:
    """A block in both halves, with the same lively values."""
    gluon, pytorch = run(made[0], one), run(made[1], two)
    enliven(pytorch)
    parity.copy_parameters(pytorch, gluon)
    return gluon, pytorch


def _wrapped(
    texts: tuple[str, str], one: Names, two: Names, inputs: list[str]
) -> tuple[Any, Any]:
    """A call as a block in both frameworks, so that Gluon's can be hybridized.

    What makes a block is in the names, under `block`.
    """
    import torch

    from d2lutils.compat import mx

    class GluonCall(mx.gluon.HybridBlock):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            if "block" in one:
                self.block = one["block"]

        def hybrid_forward(self, F: Any, *arrays: Any) -> Any:
            return run(texts[0], one | dict(zip(inputs, arrays, strict=True)))

    class TorchCall(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            if "block" in two:
                self.block = two["block"]

        def forward(self, *arrays: Any) -> Any:
            return run(texts[1], two | dict(zip(inputs, arrays, strict=True)))

    return GluonCall(), TorchCall()


# -- judges ----------------------------------------------------------------------------


def net(steps: int = 5, **inputs: Input) -> Judge:
    """A block with parameters: one pass and a few steps of training, in float64.

    Weights are copied across, then `parity.compare` runs both, imperatively and
    hybridized: outputs, gradients of inputs and parameters, running statistics,
    parameters after the steps. In float32 one pass is put beside its noise floor.
    """

    def judge(pair: Pair, one: Names, two: Names) -> Result:
        halves = [parts(call) for call in pair.calls()]
        gluon, pytorch = _made((halves[0][0], halves[1][0]), one, two)
        count = sum(p.numel() for p in pytorch.parameters())
        values = _values(inputs)
        if halves[0][1] != f"block({', '.join(values)})":
            texts = (halves[0][1], halves[1][1])
            named = (one | {"block": gluon}, two | {"block": pytorch})
            gluon, pytorch = _wrapped(texts, *named, list(values))
        report = parity.compare(gluon, pytorch, *values.values(), steps=steps)
        noise = {row.verdict for row in report.float32}
        cells = {
            "inputs": _sizes(inputs),
            "one pass": _verdict(r for r in report.rows if r.bound != TRAINING),
            "five steps": _verdict(r for r in report.rows if r.bound == TRAINING),
            "float32": "; ".join(sorted(noise, reverse=True)),
            "parameters": f"{count:,}",
        }
        return Result(report.rows, cells)

    return Judge("net", judge)


def function(
    refused: str = "",
    gradient: str = "",
    graph: str = "",
    dtype: str = "float64",
    **inputs: Input,
) -> Judge:
    """What has no parameters: values, and the gradient of each input.

    Args:
        refused, gradient, graph: what Gluon says to the call, to its gradient, to
            the call in a graph; "" where it works. It must say so, or the pair fails.
        dtype: float32 where Gluon can do no other; then nothing may differ at all.
        inputs: of the call.
    """
    bound = ONE_PASS if dtype == "float64" else 0.0
    expected_words = {
        "called": refused,
        "recorded": gradient,
        "in a graph": graph,
    }

    def judge(pair: Pair, one: Names, two: Names) -> Result:
        values, free = _values(inputs, dtype), _free(inputs)
        made, texts = zip(*(parts(call) for call in pair.calls()), strict=True)
        if made[0]:
            one = one | {"block": run(made[0], one)}
            two = two | {"block": run(made[1], two)}
        gluon, pytorch = _wrapped((texts[0], texts[1]), one, two, list(values))
        gluon.initialize()
        gluon.cast(dtype)
        expected = _torch_pass(pytorch.to(_torch_dtype(dtype)), values, free)
        rows = []
        for place, words in expected_words.items():
            recorded = [] if place == "called" else free
            gluon.hybridize(place == "in a graph")
            if refused and not words:
                continue
            if words:
                error = _error(functools.partial(_gluon_pass, gluon, values, recorded))
                unheard = 0.0 if words in error else float("inf")
                rows.append(Row(f"refusal, {place}", place, 0.0, unheard, error))
                continue
            for quantity, array in _gluon_pass(gluon, values, recorded).items():
                difference = _apart(array, expected[quantity])
                rows.append(Row(quantity, place, bound, difference))
        kept = [row for row in rows if not row.quantity.startswith("refusal")]
        wrong = [row for row in rows if not row.ok]
        verdict = _verdict(wrong or kept) if wrong or kept else "not compared"
        verdict += ", values only" if gradient else ""
        verdict += ", imperative only" if graph and not refused else ""
        verdict += f", in {dtype}" if dtype != "float64" else ""
        said: dict[str, str] = {}
        for place, words in expected_words.items():
            if words:
                said.setdefault(words, place)
        cells = {
            "inputs": _sizes(inputs),
            "one pass": verdict,
            "refuses": "<br>".join(f"{p}: `{w}`" for w, p in said.items()),
        }
        return Result(rows, cells, bool(kept))

    return Judge("function", judge)


def same(**inputs: Input) -> Judge:
    """Both calls give the same plain value."""

    def judge(pair: Pair, one: Names, two: Names) -> Result:
        results = []
        for call, names in zip(pair.calls(), _given(inputs, one, two), strict=True):
            results.append(run(call, names))
        unlike = 0.0 if results[0] == results[1] else float("inf")
        worst = "" if not unlike else f"{results[0]!r} and {results[1]!r}"
        row = Row("value", "", 0.0, unlike, worst)
        return Result([row], {"inputs": _sizes(inputs), "found": _verdict([row])})

    return Judge("rest", judge)


def refusals(*calls: str, **inputs: Input) -> Judge:
    """Both halves refuse each of some calls with the same error, word for word."""

    def judge(pair: Pair, one: Names, two: Names) -> Result:
        named = _given(inputs, one, two)
        rows = []
        for calls_of in (pair.calls(), *((call, call) for call in calls)):
            errors = [
                _error(functools.partial(run, call, names))
                for call, names in zip(calls_of, named, strict=True)
            ]
            alike = errors[0] == errors[1] != ""
            worst = "" if alike else " and ".join(error or "none" for error in errors)
            rows.append(Row("refusal", "", 0.0, 0.0 if alike else float("inf"), worst))
        found = _verdict(rows)
        if found == "equal":
            found = f"{len(rows)} refusals, word for word"
        return Result(rows, {"inputs": _sizes(inputs), "found": found})

    return Judge("rest", judge)


def trained(bound: float = TRAINING) -> Judge:
    """Both halves train a small classifier, in float64, and end at the same place."""

    def judge(pair: Pair, one: Names, two: Names) -> Result:
        gluon, pytorch = _classifiers()
        histories = []
        for call, names, own in zip(
            pair.calls(), (one, two), (gluon, pytorch), strict=True
        ):
            history = run(call, names | {"net": own} | _digits())
            histories.append(history)
        rows = []
        for quantity, limit in (
            ("train_loss", bound),
            ("train_accuracy", 0.0),
            ("test_accuracy", 0.0),
        ):
            a, b = (np.array(getattr(history, quantity)) for history in histories)
            rows.append(Row(quantity.replace("_", " "), "", limit, _apart(a, b)))
        a = gluon[0].weight.data().asnumpy()
        b = pytorch[1].weight.detach().cpu().numpy()
        rows.append(Row("weights", "", bound, _apart(a, b)))
        found = _verdict(rows)
        if all(row.ok for row in rows):
            found = f"losses and weights {rows[0].verdict}, accuracies equal"
        return Result(rows, {"inputs": _CLASSIFIER, "found": found})

    return Judge("rest", judge)


def scored() -> Judge:
    """Both halves say the same of the same net."""

    def judge(pair: Pair, one: Names, two: Names) -> Result:
        results = [
            run(call, names | {"net": own} | _digits())
            for call, names, own in zip(
                pair.calls(), (one, two), _classifiers(), strict=True
            )
        ]
        unlike = 0.0 if results[0] == results[1] else float("inf")
        row = Row("value", "", 0.0, unlike)
        return Result([row], {"inputs": _CLASSIFIER, "found": _verdict([row])})

    return Judge("rest", judge)


def _verdict(rows: Iterable[Row]) -> str:
    """Some rows in a few words; in bold what differs."""
    rows = list(rows)
    wrong = dict.fromkeys(row.quantity for row in rows if not row.ok)
    if wrong:
        return f"**differs:** {'; '.join(wrong)}"
    bounds = [row for row in rows if row.bound]
    return max(bounds, key=lambda row: row.bound).verdict if bounds else "equal"


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """max|a - b| / max(max|b|, 1); infinite for other shapes."""
    if a.shape != b.shape:
        return float("inf")
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1.0))


def _free(inputs: dict[str, Input]) -> list[str]:
    """The inputs whose gradient is compared."""
    return [name for name, value in inputs.items() if isinstance(value, tuple)]


def _error(call: Callable[[], Any]) -> str:
    """The error of a call, MXNet's late ones included; "" if there is none."""
    from d2lutils.compat import mx

    try:
        call()
        mx.nd.waitall()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _given(inputs: dict[str, Input], one: Names, two: Names) -> tuple[Names, Names]:
    """Both halves' names with the inputs as each framework's own."""
    import torch

    from d2lutils.compat import mx

    ours, theirs = dict(one), dict(two)
    for name, array in _values(inputs).items():
        ours[name] = mx.nd.array(array, dtype=array.dtype)
        theirs[name] = torch.tensor(array)
    for name, text in inputs.items():
        if isinstance(text, str):
            ours[name], theirs[name] = _made((text, text), one, two)
    return ours, theirs


def _head(shape: tuple[int, ...]) -> np.ndarray:
    """A fixed gradient of an output."""
    return np.random.Generator(np.random.PCG64(2)).standard_normal(shape)


def _torch_dtype(dtype: str) -> Any:
    import torch

    return getattr(torch, dtype)


def _torch_pass(
    block: Any, values: dict[str, np.ndarray], free: list[str]
) -> dict[str, np.ndarray]:
    """The output of a call, and the gradient of each free input."""
    import torch

    given = {name: torch.tensor(array) for name, array in values.items()}
    for name in free:
        given[name].requires_grad_()
    out = block(*given.values())
    out.backward(torch.tensor(_head(tuple(out.shape))).to(out))
    found: Names = {"values": out.detach().numpy()}
    for name in free:
        gradient = given[name].grad
        # Autograd leaves none where the output does not depend on an input.
        found[f"gradient of {name}"] = (
            np.zeros(0) if gradient is None else gradient.numpy()
        )
    return found


def _gluon_pass(
    block: Any, values: dict[str, np.ndarray], free: list[str]
) -> dict[str, np.ndarray]:
    """The same in Gluon; without free inputs nothing is recorded."""
    from d2lutils.compat import mx

    given = {n: mx.nd.array(array, dtype=array.dtype) for n, array in values.items()}
    for name in free:
        given[name].attach_grad()
    with mx.autograd.record() if free else mx.autograd.train_mode():
        out = block(*given.values())
    found = {"values": out.asnumpy()}
    if free:
        out.backward(mx.nd.array(_head(out.shape), dtype=out.dtype))
    return found | {f"gradient of {name}": given[name].grad.asnumpy() for name in free}


def _classifiers() -> tuple[Any, Any]:
    """A net of two linear layers in both frameworks, with the same values."""
    import torch

    from d2lutils.compat import mx

    gluon = mx.gluon.nn.HybridSequential()
    gluon.add(
        mx.gluon.nn.Dense(16, activation="relu", in_units=64),
        mx.gluon.nn.Dense(10, in_units=16),
    )
    gluon.cast("float64")
    nn = torch.nn
    layers = (nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    pytorch = nn.Sequential(nn.Flatten(), *layers).double()
    enliven(pytorch)
    parity.copy_parameters(pytorch, gluon)
    return gluon, pytorch


def _digits() -> Names:
    """Batches of digits: some to train on, in the same order each time, and a test."""
    from d2lutils.data import Batches, digits

    train, test = digits("sequences", dtype="float64")
    return {
        "train": Batches(train.x[:200], train.y[:200], 48, shuffle=True, seed=1),
        "test": Batches(test.x, test.y, 100),
    }
