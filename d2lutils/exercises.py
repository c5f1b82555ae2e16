"""The checks that learners call, by exercise name.

A stub in a chapter is a function (or class) whose body is
``raise NotImplementedError``, or for a plain value ``answer = ...``. It ends in
``exercises.check("name", answer)``, which prints "not attempted yet" for the stub,
what is wrong and for which hidden input, or "passed"; it never raises for an answer.

To add an exercise, register its check in its chapter's section below. There are three
kinds, each a few lines:

- ``@_reference(name, inputs)`` over the right answer: the learner's function is called
  on every hidden input and must give the same, numbers within ``rtol`` and ``atol``.
- ``@_property(name, inputs)`` over ``judge(answer, *hidden_input)``, which returns
  ``None`` if the answer is right there and otherwise a :func:`_differs` or a sentence.
  For classes and blocks, or wherever many answers are right.
- ``@_value(name)`` over a function without arguments that works out the right value.

``inputs`` is a list of at least three argument tuples, or a function that makes it.
Frameworks are imported inside the functions only, so that a check for one framework
runs without the other. Everything between a chapter's marker and the next belongs to
that chapter alone: ``tools/execute.py`` re-runs a chapter only if its own section, or
the part above the first marker, has changed.
"""

from __future__ import annotations

import copy
import difflib
import importlib
import json
import numbers
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Result", "check", "judge", "names"]

Inputs = Sequence[tuple[Any, ...]] | Callable[[], Sequence[tuple[Any, ...]]]


@dataclass(frozen=True)
class Result:
    """What a check found: ``message`` is the line that ``check`` prints."""

    passed: bool
    attempted: bool
    message: str


def check(name: str, answer: Any) -> None:
    """Judge an answer and print one line about it.

    Args:
        name: the exercise's name, as its heading says it.
        answer: a function, a class or a value, as the exercise asks.

    Raises:
        ValueError: for a name that no exercise has; it lists similar names.
    """
    print(judge(name, answer).message)


def judge(name: str, answer: Any) -> Result:
    """Judge an answer and return the :class:`Result`; arguments as for ``check``."""
    if name not in _CHECKS:
        near = difflib.get_close_matches(str(name), _CHECKS, n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"name must be that of an exercise, got {name!r}{hint}")
    if answer is None or answer is Ellipsis or answer is NotImplemented:
        return _not_attempted(name)
    return _CHECKS[name](answer)


def names() -> list[str]:
    """The names of all exercises that have a check, in the order of the book."""
    return list(_CHECKS)


# -- machinery -------------------------------------------------------------------------

_CHECKS: dict[str, Callable[[Any], Result]] = {}


class _Stub(Exception):  # noqa: N818 - a signal, not an error
    """The learner's code is still the stub."""


class _Unavailable(Exception):  # noqa: N818 - a signal, not an error
    """The check itself needs a framework that is not here."""


def _framework(name: str) -> Any:
    """``"gluon"`` → the module ``mxnet``, ``"pytorch"`` → ``torch``, for a check."""
    try:
        if name == "gluon":
            return importlib.import_module("d2lutils.compat").mx
        return importlib.import_module("torch")
    except ImportError as problem:
        sentence = re.split(r"(?<=[.!?])\s", " ".join(str(problem).split()))[0]
        raise _Unavailable(sentence.rstrip(".")) from None


def _register(
    name: str, inputs: Inputs, judge_one: Callable[..., str | None], callable_: bool
) -> None:
    """Register a check that calls ``judge_one(answer, *arguments)`` on each input."""
    if name in _CHECKS:
        raise ValueError(f"two exercises are named {name!r}")

    def run(answer: Any) -> Result:
        if callable_ and not callable(answer):
            return _not_yet(name, f"A function or class is asked for, got {answer!r}")
        try:
            cases = list(inputs() if callable(inputs) else inputs)
            if len(cases) < 3:
                raise ValueError(f"check {name!r} has fewer than three hidden inputs")
            for number, arguments in enumerate(cases):
                shown = _brief(arguments)
                complaint = _judge_case(judge_one, answer, arguments, number == 0)
                if complaint is not None:
                    return _not_yet(name, f"For input {shown} {complaint}")
        except _Stub:
            return _not_attempted(name)
        except _Unavailable as problem:
            message = f"{name}: cannot be judged here. {problem}."
            return Result(False, True, message)
        return Result(True, True, f"{name}: passed ({len(cases)} inputs)")

    _CHECKS[name] = run


def _judge_case(
    judge_one: Callable[..., str | None],
    answer: Any,
    arguments: tuple[Any, ...],
    first: bool,
) -> str | None:
    """One hidden input; the learner's exceptions become a complaint."""
    try:
        return judge_one(answer, *_copies(arguments))
    except _Unavailable:
        raise
    except NotImplementedError as problem:
        if first:
            raise _Stub from problem
        return "NotImplementedError was raised"
    except Exception as problem:
        line = next((line for line in str(problem).splitlines() if line.strip()), "")
        return f"{type(problem).__name__} was raised: {line.strip()}".rstrip(": ")


def _reference(
    name: str, inputs: Inputs, rtol: float = 1e-6, atol: float = 1e-9
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a right answer: the learner's must agree on every hidden input."""

    def register(reference: Callable[..., Any]) -> Callable[..., Any]:
        def judge_one(answer: Any, *arguments: Any) -> str | None:
            expected = reference(*_copies(arguments))
            got = answer(*arguments)
            if got is NotImplemented:
                raise NotImplementedError
            return None if _same(expected, got, rtol, atol) else _differs(expected, got)

        _register(name, inputs, judge_one, callable_=True)
        return reference

    return register


def _property(
    name: str, inputs: Inputs
) -> Callable[[Callable[..., str | None]], Callable[..., str | None]]:
    """Register ``judge(answer, *input)`` → ``None`` if right, else what is wrong."""

    def register(judge_one: Callable[..., str | None]) -> Callable[..., str | None]:
        _register(name, inputs, judge_one, callable_=True)
        return judge_one

    return register


def _value(
    name: str, rtol: float = 1e-6, atol: float = 1e-9
) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Register a plain value, worked out when it is asked for."""
    if name in _CHECKS:
        raise ValueError(f"two exercises are named {name!r}")

    def register(solve: Callable[[], Any]) -> Callable[[], Any]:
        def run(answer: Any) -> Result:
            if callable(answer):
                return _not_yet(name, "A value is asked for, not a function or class")
            expected = solve()
            if _same(expected, answer, rtol, atol):
                return Result(True, True, f"{name}: passed")
            hint = f"{_brief(answer)} is not it"
            if _is_number(expected) and _is_number(answer):
                hint = f"{answer} is too {'large' if answer > expected else 'small'}"
            return _not_yet(name, hint)

        _CHECKS[name] = run
        return solve

    return register


def _not_attempted(name: str) -> Result:
    return Result(False, False, f"{name}: not attempted yet")


def _not_yet(name: str, why: str) -> Result:
    return Result(False, True, f"{name}: not yet. {why.rstrip('.')}.")


def _differs(expected: Any, got: Any) -> str:
    """What a check says about a wrong result."""
    return f"expected {_brief(expected)}, got {_brief(got)}"


def _copies(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Copies of containers and arrays: an answer may change its input."""
    return tuple(
        copy.deepcopy(value)
        if isinstance(value, list | dict | set | np.ndarray)
        else value
        for value in arguments
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """A tensor of either framework as a NumPy array; anything else as it is."""
    if hasattr(value, "asnumpy"):
        return value.asnumpy()
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        return value.detach().cpu().numpy()
    return value


def _same(expected: Any, got: Any, rtol: float = 1e-6, atol: float = 1e-9) -> bool:
    """Whether two results agree: structure exactly, numbers within a tolerance."""
    expected, got = _plain(expected), _plain(got)
    if isinstance(expected, bool | np.bool_) or isinstance(got, bool | np.bool_):
        both = isinstance(expected, bool | np.bool_) and isinstance(
            got, bool | np.bool_
        )
        return bool(both and expected == got)
    if isinstance(expected, str | bytes | None | set | frozenset):
        return type(expected) is type(got) and bool(expected == got)
    if isinstance(expected, np.ndarray) or _is_number(expected):
        if not (isinstance(got, np.ndarray) or _is_number(got)):
            return False
        a, b = np.asarray(expected), np.asarray(got)
        if a.shape != b.shape:
            return False
        if a.dtype.kind not in "biufc" or b.dtype.kind not in "biufc":
            return bool((a == b).all())
        return bool(np.allclose(b, a, rtol=rtol, atol=atol, equal_nan=True))
    if isinstance(expected, Mapping):
        return (
            isinstance(got, Mapping)
            and expected.keys() == got.keys()
            and all(_same(expected[key], got[key], rtol, atol) for key in expected)
        )
    if isinstance(expected, list | tuple):
        return (
            isinstance(got, list | tuple)
            and len(expected) == len(got)
            and all(map(_same, expected, got, _forever(rtol), _forever(atol)))
        )
    return bool(expected == got)


def _forever(value: float) -> Iterator[float]:
    while True:
        yield value


def _brief(value: Any, limit: int = 120) -> str:
    """A short text for a value: the same on every machine, without addresses."""
    value = _plain(value)
    if isinstance(value, np.ndarray):
        inside = np.array2string(value, precision=4, threshold=12, separator=", ")
        text = f"array{value.shape} {' '.join(inside.split())}"
    elif isinstance(value, np.generic):
        text = _brief(value.item(), limit)
    elif isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, list):
        text = f"[{', '.join(_brief(item, limit) for item in value)}]"
    elif isinstance(value, tuple):
        text = ", ".join(_brief(item, limit) for item in value)
        text = f"({text}{',' if len(value) == 1 else ''})"
    elif isinstance(value, type) or hasattr(value, "__name__"):
        text = value.__name__
    else:
        text = re.sub(r"\s+", " ", repr(value))
        text = re.sub(r" at 0x[0-9a-fA-F]+", "", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


# == chapter: blocks ===================================================================


def _blocks_trace_inputs() -> list[tuple[Any, ...]]:
    def double(x: Any) -> Any:
        return x * 2

    def increment(x: Any) -> Any:
        return x + 1

    def total(x: Any) -> Any:
        return np.sum(x)

    grid = np.arange(6.0).reshape(2, 3)
    return [
        ([double, increment], 3),
        ([increment, double], 3),
        ([], 5),
        ([np.negative, double, total], grid),
        ([len], "abcd"),
    ]


@_reference("blocks_trace", _blocks_trace_inputs)
def _blocks_trace(functions: list[Callable[[Any], Any]], x: Any) -> list[Any]:
    results = [x]
    for function in functions:
        results.append(function(results[-1]))
    return results


def _blocks_widths() -> list[tuple[Any, ...]]:
    """Widths of the linear layers, and whether the list ends in a repeated layer."""
    return [([4, 3, 2], False), ([5, 5], True), ([3, 6, 6, 1], True), ([2, 7], False)]


@_property("blocks_repair", _blocks_widths)
def _blocks_repair(answer: Any, widths: list[int], repeat: bool) -> str | None:
    from itertools import pairwise

    torch = _framework("pytorch")
    nn = torch.nn
    layers = [nn.Linear(widths[0], widths[0])]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    # A repeat: the same layer again, with the same weights.
    layers += [nn.Linear(widths[-1], widths[-1])] * (2 if repeat else 1)
    layers.append(nn.Linear(widths[-1], 2))
    x = torch.linspace(-1, 1, 3 * widths[0]).reshape(3, -1)
    expected = x
    for layer in layers:
        expected = layer(expected)
    net = answer(list(layers))
    if not isinstance(net, nn.Module):
        return f"a Module is expected, got {_brief(net)}"
    if not torch.equal(net(x), expected):
        return "the output is not that of the layers in order"
    wanted = {id(p) for layer in layers for p in layer.parameters()}
    found = {id(p) for p in net.parameters()}
    if found != wanted:
        return f"parameters() finds {len(found)} of {len(wanted)} tensors"
    body = [net.body[i] for i in range(len(net.body))]
    if len(body) != len(layers) - 1:
        return f"self.body has length {len(body)} instead of {len(layers) - 1}"
    if any(a is not b for a, b in zip([*body, net.head], layers, strict=True)):
        return "self.body and self.head do not hold the layers that were given"
    return None


@_property("blocks_chain", _blocks_widths)
def _blocks_chain(answer: Any, widths: list[int], repeat: bool) -> str | None:
    from itertools import pairwise

    mx = _framework("gluon")
    nn = mx.gluon.nn
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Dense(outputs, in_units=inputs), nn.Activation("relu")]
    layers += [nn.Dense(widths[-1], in_units=widths[-1])] * (2 if repeat else 1)
    net = answer(list(layers))
    if not isinstance(net, nn.HybridBlock):
        return f"a HybridBlock is expected, got {_brief(net)}"
    names = [str(i) for i in range(len(layers))]
    if list(net._children) != names:
        return f"the children are named {list(net._children)} instead of {names}"
    net.initialize(mx.init.Uniform(1.0))
    x = mx.nd.array(np.linspace(-1, 1, 3 * widths[0]).reshape(3, -1))
    expected = x
    for layer in layers:
        expected = layer(expected)
    for mode in ("imperative", "hybridized"):
        if mode == "hybridized":
            net.hybridize()
        if not _same(expected, net(x), rtol=1e-5, atol=1e-6):
            return f"the output ({mode}) is not that of the layers in order"
    if len(net) != len(layers):
        return f"its len is {len(net)} instead of {len(layers)}"
    for i in range(-len(layers), len(layers)):
        if net[i] is not layers[i]:
            return f"net[{i}] is not the layer that was given"
    for i, layer in enumerate(layers):
        if f"({i}): {layer!r}" not in repr(net):
            return f"print(net) does not show '({i}): {layer!r}'"
    return None


def _blocks_nets() -> dict[str, tuple[dict[str, Any], list[str]]]:
    """Attributes for a Module, and which of them hide parameters."""
    nn = _framework("pytorch").nn
    layer = nn.Linear(2, 2)
    return {
        "a list of layers": ({"body": [nn.Linear(2, 2), nn.ReLU()]}, ["body"]),
        "a list that is registered, too": ({"a": layer, "b": [layer]}, []),
        "a tuple and a dict": (
            {"z": (nn.Linear(1, 2),), "a": {"one": nn.Conv2d(1, 2, 3)}},
            ["a", "z"],
        ),
        "a list in a dict": ({"a": {"one": [nn.Linear(1, 2)]}}, ["a"]),
        "a Sequential in a list": ({"a": [nn.Sequential(nn.Linear(1, 2))]}, ["a"]),
        "a ReLU before the layer": ({"b": [nn.ReLU(), nn.Linear(2, 2)]}, ["b"]),
        "a registered layer first": (
            {"a": layer, "b": [layer, nn.Conv1d(1, 2, 3)]},
            ["b"],
        ),
        "a ModuleList": ({"body": nn.ModuleList([nn.Linear(2, 2)])}, []),
        "widths, and a list of ReLUs": ({"w": [2, 3], "b": [nn.ReLU()]}, []),
    }


def _blocks_cases() -> list[tuple[Any, ...]]:
    return [(name,) for name in _blocks_nets()]


@_property("blocks_hidden", _blocks_cases)
def _blocks_hidden(answer: Any, case: str) -> str | None:
    attributes, expected = _blocks_nets()[case]
    net = _framework("pytorch").nn.Module()
    for name, value in attributes.items():
        setattr(net, name, value)
    got = answer(net)
    return None if _same(expected, got) else _differs(expected, got)


# == chapter: residual_chunks ==========================================================


@_reference(
    "residual_ladder",
    [
        (64, 3, 2, 0, 3),
        (64, 3, 2, 1, 3),
        (63, 5, 3, 1, 4),
        (33, 4, 1, 0, 2),
        (10, 1, 2, 0, 1),
    ],
)
def _residual_ladder(
    length: int, kernel_size: int, stride: int, padding: int, chain_length: int
) -> list[int]:
    from d2lutils.shapes import residual_sizes

    branch, _ = residual_sizes(length, kernel_size, stride, padding, chain_length)
    return branch


@_property("residual_fewest_edits", [(64,), (63,), (34,), (10,), (9,)])
def _residual_fewest_edits(answer: Callable[..., Any], length: int) -> str | None:
    first: dict[str, Any] = {
        "in_channels": 10,
        "channels": 10,
        "kernel_size": 3,
        "stride": 2,
        "chain_length": 3,
        "padding": 0,
        "shortcut": "identity",
    }
    edits = answer(length)
    if not isinstance(edits, dict):
        return f"a dictionary of changed arguments is asked for, got {_brief(edits)}"
    if answer(length + 1) != edits:
        return "the edits must be the same for every length"
    unknown = sorted(set(edits) - set(first))
    if unknown:
        return f"there is no argument {unknown[0]!r}; there are {', '.join(first)}"
    for name in ("in_channels", "channels", "stride", "chain_length"):
        if edits.get(name, first[name]) != first[name]:
            return f"{name} is part of the question and must stay {first[name]}"
    call = {**first, **edits}
    changed = [name for name in first if call[name] != first[name]]
    shown = ", ".join(f"{name}={call[name]!r}" for name in changed) or "no change"
    sizes = _ends(length, **call)
    if isinstance(sizes, str):
        return f"{shown}: {sizes}"
    if sizes[0] != sizes[1]:
        return f"{shown} leaves {sizes[0]} + {sizes[1]}"
    return None if len(changed) == 2 else f"{shown} adds, but fewer edits do, too"


def _ends(length: int, **call: Any) -> tuple[int, int] | str:
    """Lengths after branch and shortcut of a residual call, or why there are none."""
    from d2lutils import checks, shapes

    kernel_size, stride = call["kernel_size"], call["stride"]
    try:
        padding = shapes.resolve_padding("padding", call["padding"], kernel_size)
        branch, skip = shapes.residual_sizes(
            length, kernel_size, stride, padding, call["chain_length"]
        )
        # The identity does not stride, whatever the branch does.
        if (
            checks.choice(
                "call",
                "shortcut",
                call["shortcut"],
                ("identity", "projection", "zeros"),
            )
            == "identity"
        ):
            skip = length
    except (TypeError, ValueError) as error:
        return str(error)
    return branch[-1], skip


@_property("residual_inplace", [(2, 3, 8), (1, 4, 16), (5, 2, 9)])
def _residual_inplace(
    answer: Callable[..., Any], n: int, c: int, length: int
) -> str | None:
    torch = _framework("pytorch")
    branches = answer(c)
    if not isinstance(branches, tuple) or len(branches) != 2:
        return f"a pair (passes, fails) is asked for, got {_brief(branches)}"
    for branch, should_fail in zip(branches, (False, True), strict=True):
        if not isinstance(branch, torch.nn.Module):
            return f"a PyTorch Module is asked for, got {_brief(branch)}"
        x = torch.randn(n, c, length, requires_grad=True)
        out = branch(x)
        last = out.grad_fn.name() if out.grad_fn is not None else ""
        if "BatchNorm" in last or "Relu" in last:
            return "neither branch may end in a batch norm or a ReLU"
        if out.shape != x.shape:
            return f"the branch makes {tuple(out.shape)} of {tuple(x.shape)}"
        try:
            out += x
            out.sum().backward()
            failed = False
        except RuntimeError as error:
            if "inplace" not in str(error) and "in-place" not in str(error):
                raise
            failed = True
        if failed != should_fail:
            return (
                f"the {'second' if should_fail else 'first'} branch "
                f"{'raises no error' if should_fail else 'raises the error'}"
            )
    return None


# == chapter: zero_padded_shortcuts ====================================================


@_property(
    "zero_padded_own_way",
    [(6, 4, (6, 5)), (3, 13, (4, 4)), (12, 4, (7,)), (1, 1, (3,))],
)
def _zero_padded_own_way(
    answer: Callable[..., Any], channels: int, extra: int, space: tuple[int, ...]
) -> str | None:
    import json

    mx = _framework("gluon")
    HybridBlock: Any = mx.gluon.HybridBlock
    F = mx.sym
    traced = answer(F, F.var("x"), F.var("identity"), channels, extra)
    if not isinstance(traced, mx.sym.Symbol):
        return f"with Symbols the result must be a Symbol, got {_brief(traced)}"
    for node in json.loads(traced.tojson())["nodes"]:
        if node["op"].strip("_").lower() in ("pad", "concat", "stack"):
            return f"there is a {node['op']!r} in the graph"

    class Sum(HybridBlock):
        def hybrid_forward(self, F: Any, x: Any, identity: Any) -> Any:
            return answer(F, x, identity, channels, extra)

    bits = np.random.PCG64([channels, extra])
    generator = np.random.Generator(bits)
    for mode in ("imperative", "hybridized"):
        net = Sum()
        net.hybridize(mode == "hybridized")
        for n in (4, 3, 1):
            shape = (n, channels + extra, *space)
            x, grad = generator.standard_normal((2, *shape)).astype("float32")
            identity = generator.standard_normal((n, channels, *space))
            spread = n == 3 and channels > 1
            if spread:
                identity[0, 0] = np.nan
            a, b = mx.nd.array(x), mx.nd.array(identity)
            a.attach_grad()
            b.attach_grad()
            with mx.autograd.record():
                out = net(a, b)
            out.backward(mx.nd.array(grad))
            expected = x.copy()
            expected[:, :channels] += identity
            where = f"({mode}, a batch of {n})"
            if out.shape != shape:
                return f"the shape is {out.shape} instead of {shape} {where}"
            if not _same(expected, out, rtol=1e-4, atol=1e-5):
                sound = np.isfinite(out.asnumpy()) == np.isfinite(expected)
                why = "are wrong" if sound.all() else "have NaNs that spread"
                return f"the values {why} {where}"
            for name, got, wanted in (
                ("x", a.grad, grad),
                ("identity", b.grad, grad[:, :channels]),
            ):
                if not _same(wanted, got, rtol=1e-4, atol=1e-5):
                    return f"the gradient of {name} is wrong {where}"
    return None


def _zero_padded_gradients() -> list[tuple[Any, ...]]:
    generator = np.random.Generator(np.random.PCG64(7))
    cases = []
    for n, c, wide, h, w in ((2, 3, 5, 6, 6), (1, 2, 7, 5, 4), (3, 4, 4, 7, 9)):
        grad = generator.standard_normal((n, wide, -(-h // 2), -(-w // 2)))
        cases.append((grad, c, h, w))
    return cases


@_reference("zero_padded_gradient", _zero_padded_gradients)
def _zero_padded_gradient(
    grad: np.ndarray, in_channels: int, height: int, width: int
) -> np.ndarray:
    def entries(size: int) -> np.ndarray:
        """For each position, how many share its window."""
        return np.minimum(2, size - np.arange(size) // 2 * 2)

    spread = grad[:, :in_channels].repeat(2, axis=2).repeat(2, axis=3)
    shared = np.outer(entries(height), entries(width))
    gradient: np.ndarray = spread[:, :, :height, :width] / shared
    return gradient


@_property("zero_padded_front", [(2, 3, 1, 4), (3, 5, 3, 2), (4, 4, 7, 3)])
def _zero_padded_front(
    answer: Callable[..., Any], inner: int, channels: int, extra: int, out: int
) -> str | None:
    def convolve(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        view: Any = np.lib.stride_tricks.sliding_window_view
        windows = view(x, (3, 3), axis=(2, 3))
        result: np.ndarray = np.einsum("nchwij,ocij->nohw", windows, weight)
        return result

    def net(last: np.ndarray, following: np.ndarray, front: bool) -> np.ndarray:
        pads = [(0, 0), (extra, 0) if front else (0, extra), (0, 0), (0, 0)]
        return convolve(convolve(x, last) + np.pad(identity, pads), following)

    generator = np.random.Generator(np.random.PCG64([inner, channels, extra]))
    x = generator.standard_normal((2, inner, 8, 7))
    identity = generator.standard_normal((2, channels, 6, 5))
    last = generator.standard_normal((channels + extra, inner, 3, 3))
    following = generator.standard_normal((out, channels + extra, 3, 3))
    got = answer(last.copy(), following.copy(), extra)
    if not isinstance(got, tuple | list) or len(got) != 2:
        return f"a pair of weights is asked for, got {_brief(got)}"
    moved = [np.asarray(_plain(weight)) for weight in got]
    for name, before, after in zip(
        ("last", "following"), (last, following), moved, strict=True
    ):
        if after.shape != before.shape:
            return f"{name} has shape {after.shape} instead of {before.shape}"
    same = _same(net(last, following, False), net(moved[0], moved[1], True))
    if not same:
        if _same(last, moved[0]):
            return "the output differs: the branch's channels have to move, too"
        return "the output of the net with zeros in front is not the same"
    return None


# == chapter: pyramidnet ===============================================================


def _pyramid_parameters(widths: Sequence[int]) -> int:
    """Of a basic PyramidNet: 3 channels in, 16 in the stem, 10 classes."""
    total, last = 29 * 16, 16
    for width in widths:
        total += 9 * width * (last + width) + 2 * last + 4 * width
        last = width
    return total + 12 * last + 10


@_reference(
    "pyramid_running_floor",
    [(20, 48), (110, 48), (110, 84), (110, 270), (14, 5), (8, 7)],
)
def _pyramid_running_floor(depth: int, alpha: int) -> list[int]:
    widths, width = [], 16
    blocks = (depth - 2) // 2
    for _ in range(blocks):
        width = (width * blocks + alpha) // blocks
        widths.append(width)
    return widths


@_reference(
    "pyramid_smallest_alpha",
    [(20, 1_000_000), (14, 50_000), (110, 2_000_000), (20, 310_845), (20, 310_846)],
)
def _pyramid_smallest_alpha(depth: int, at_least: int) -> int:
    from itertools import count

    from d2lutils.shapes import pyramid_widths

    return next(
        alpha
        for alpha in count(1)
        if _pyramid_parameters(pyramid_widths(depth, alpha)) >= at_least
    )


@_reference("pyramid_same_end", [(110, 64), (20, 64), (110, 100), (38, 48), (8, 20)])
def _pyramid_same_end(depth: int, end: int) -> tuple[int, int]:
    from d2lutils.shapes import pyramid_widths

    line = pyramid_widths(depth, end - 16)
    curve = pyramid_widths(depth, end / 16, widening="multiplicative")
    return _pyramid_parameters(line), _pyramid_parameters(curve)


# == chapter: stochastic_depth =========================================================


@_reference(
    "stochastic_depth_last",
    [(54, 27), (54, 40.25), (54, 54), (9, 5), (18, 12.6), (1, 0.25)],
)
def _stochastic_depth_last(num_blocks: int, expected: float) -> float:
    return 1 - 2 * (num_blocks - expected) / (num_blocks + 1)


def _stochastic_depth_counts() -> list[tuple[Any, ...]]:
    """Claimed probabilities and counts made by a rule: no random number decides.

    The counts lie around their expectation as a fair sample's would: by the quantiles
    of the normal distribution, mixed over the blocks. A wrong rule is eight standard
    errors away in some block, or much more.
    """
    from statistics import NormalDist

    from d2lutils.survival import drop_probs

    def sample(probabilities: list[float], steps: int) -> list[int]:
        blocks = len(probabilities)
        counts = []
        for i, p in enumerate(probabilities):
            share = (i * 5 % blocks + 0.5) / blocks  # every quantile once: 5 fits
            away = NormalDist().inv_cdf(share) * (steps * p * (1 - p)) ** 0.5
            counts.append(min(steps, max(0, round(steps * p + away))))
        return counts

    paper, zero, ends, same = (
        drop_probs(54, 0.5, rule)
        for rule in ("paper", "from zero", "end to end", "constant")
    )
    large = 1_000_000
    cases = [
        (paper, paper, large),
        (zero, zero, large),
        (ends, ends, large),
        (same, same, 400),
        (paper, paper, 2_000),
        (paper, zero, large),
        (zero, paper, large),
        (ends, zero, large),
        (paper, paper[::-1], large),  # as many in all
        (same, paper, 2_000),
    ]
    result = [
        (sample(made, steps), steps, claimed, made != claimed)
        for claimed, made, steps in cases
    ]
    certain = [0.0, 0.5, 1.0]
    result.append(([0, 505, 1000], 1000, certain, False))
    result.append(([1, 505, 1000], 1000, certain, True))
    result.append(([0, 505, 999], 1000, certain, True))
    return result


@_property("stochastic_depth_rejects", _stochastic_depth_counts)
def _stochastic_depth_rejects(
    answer: Any,
    dropped: list[int],
    steps: int,
    probabilities: list[float],
    wrong: bool,
) -> str | None:
    got = answer(list(dropped), steps, list(probabilities))
    if got not in (True, False):
        return f"True or False is expected, got {_brief(got)}"
    if bool(got) == wrong:
        return None
    return (
        "the counts cannot come from these probabilities, and were accepted"
        if wrong
        else "the counts are a fair sample of these probabilities, and were rejected"
    )


@_property(
    "stochastic_depth_paper",
    [("conv", 0.5), ("norm", 0.5), ("norm", 0.75), ("pyramid", 0.9375)],
)
def _stochastic_depth_paper(answer: Any, kind: str, survival: float) -> str | None:
    torch = _framework("pytorch")
    nn = torch.nn
    layers = [nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)]
    layers += [nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)]
    if kind != "conv":
        layers.append(nn.BatchNorm2d(4))
    if kind == "pyramid":
        layers.insert(0, nn.BatchNorm2d(4))
    branch = nn.Sequential(*layers).double()
    with torch.no_grad():  # as if trained: no value is the one that it began with
        for i, tensor in enumerate([*branch.parameters(), *branch.buffers()]):
            if tensor.is_floating_point():
                wave = torch.sin(torch.arange(tensor.numel()) * 1.7 + i)
                tensor.copy_((1.25 + wave).reshape(tensor.shape) / 4)
    x = torch.sin(torch.arange(2 * 4 * 25).double()).reshape(2, 4, 5, 5)
    original = copy.deepcopy(branch)
    changed = answer(branch, survival)
    if not isinstance(changed, nn.Module):
        return f"a Module is expected, got {_brief(changed)}"
    names = [name for name, _ in original.named_parameters()]
    if [name for name, _ in changed.named_parameters()] != names:
        return "the layers and their parameters must stay, with other values"
    with torch.no_grad():
        original.eval()
        changed.eval()
        if not torch.allclose(x + survival * changed(x), x + original(x)):
            return "in evaluation the paper's block differs from the library's"
        original.train()
        changed.train()
        if not torch.allclose(x + changed(x), x + original(x) / survival):
            return "in a training pass that keeps the branch the two differ"
    return None


@_reference(
    "stochastic_depth_dark",
    [
        ([16, 20, 24, 28], [0.0, 0.25, 0.5]),
        ([16, 32], [0.5]),
        ([16, 16, 21, 40], [0.5, 1.0, 1.0]),
        ([16, 22, 24, 24, 30], [0.5, 0.25, 0.75, 0.125]),
        ([8, 16, 24], [0.0, 0.0]),
    ],
)
def _stochastic_depth_dark(widths: list[int], drops: list[float]) -> float:
    expected, never_kept = 0.0, 1.0
    for k in reversed(range(len(drops))):
        never_kept *= drops[k]
        expected += never_kept * (widths[k + 1] - widths[k])
    return expected


# == chapter: last_pixels ==============================================================

_NIN_WINDOWS = ((11, 4, 0), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1), (3, 2, 0))


@_reference(
    "last_pixels_next_size",
    [
        (224, [*_NIN_WINDOWS, (3, 1, 1)]),
        (196, [*_NIN_WINDOWS]),
        (224, [(11, 4, 0)]),
        (224, [(11, 4, 2), (3, 2, 0)]),
        (227, [(11, 4, 0), (3, 2, 0)]),
        (30, [(3, 2, 1), (3, 2, 1), (5, 3, 0)]),
        (100, [(7, 5, 1)]),
    ],
)
def _last_pixels_next_size(n: int, layers: list[tuple[int, int, int]]) -> int | None:
    from d2lutils.shapes import Window, lossless_sizes

    return lossless_sizes([Window(*layer) for layer in layers]).above(n)


@_reference(
    "last_pixels_worse_padding",
    [(224, 11, 4), (225, 11, 4), (100, 9, 8), (224, 7, 5), (64, 3, 2), (50, 12, 12)],
)
def _last_pixels_worse_padding(n: int, kernel_size: int, stride: int) -> list[int]:
    from d2lutils.shapes import unread

    lost = [len(unread(n, kernel_size, stride, p)) for p in range(kernel_size // 2 + 1)]
    return [p for p, count in enumerate(lost) if count > lost[0]]


@_property(
    "last_pixels_never_read",
    [
        ("one layer", 224),
        ("padded", 30),
        ("maxima", 20),
        ("weights that cancel", 12),
        ("gaps", 20),
        ("a chain", 99),
    ],
)
def _last_pixels_never_read(answer: Any, kind: str, n: int) -> str | None:
    from d2lutils.ledger import chain_of
    from d2lutils.shapes import chain_unread

    torch = _framework("pytorch")
    nn = torch.nn
    nets: dict[str, list[Any]] = {
        "one layer": [nn.Conv1d(1, 1, 11, 4)],
        "padded": [nn.Conv1d(1, 2, 5, 4, padding=1)],
        "maxima": [nn.MaxPool1d(3, 3)],
        "weights that cancel": [nn.Conv1d(1, 1, 2, 2), nn.Conv1d(1, 1, 2)],
        "gaps": [nn.Conv1d(1, 1, 3, 4, dilation=2)],
        "a chain": [
            nn.Conv1d(1, 3, 11, 4),
            nn.ReLU(),
            nn.MaxPool1d(3, 2),
            nn.Conv1d(3, 2, 5, padding=2),
        ],
    }
    net = nn.Sequential(*nets[kind])
    with torch.no_grad():
        for p in net.parameters():  # signs take turns, no weight is zero
            size = 1 + torch.arange(p.numel()) % 3 / 4
            sign = 1 - 2 * (torch.arange(p.numel()) % 2)
            equal = kind == "weights that cancel"
            p.copy_((sign if equal else sign * size).reshape(p.shape))
    expected = chain_unread(n, chain_of(net))
    got = answer(net, n)
    if not isinstance(got, set | frozenset):
        return f"a set is expected, got {_brief(got)}"
    if {int(q) for q in got} == expected:
        return None
    return _differs(sorted(expected), sorted(int(q) for q in got))


# == chapter: nin ======================================================================


def _nin_layers() -> list[tuple[Any, ...]]:
    generator = np.random.Generator(np.random.PCG64(7))
    cases = []
    for n, i, o, h, w in ((2, 3, 4, 5, 6), (1, 1, 3, 4, 2), (3, 5, 1, 1, 7)):
        shapes = ((o, i, 1, 1), (o,), (n, i, h, w))
        cases.append(tuple(generator.standard_normal(shape) for shape in shapes))
    return cases


@_reference("nin_pointwise", _nin_layers, atol=1e-6)
def _nin_pointwise(weight: np.ndarray, bias: np.ndarray, x: np.ndarray) -> np.ndarray:
    y = np.einsum("oi,nihw->nohw", weight[:, :, 0, 0], x)
    return y + bias[:, None, None]


@_reference("nin_head_mib", [(224, 4096), (67, 4096), (227, 1024), (448, 512)])
def _nin_head_mib(n: int, hidden: int) -> float:
    from d2lutils.shapes import NIN, chain_sizes

    flat = 384 * chain_sizes(n, NIN)[-1] ** 2
    numbers_ = (flat + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * 10
    return 4 * numbers_ / 2**20


def _nin_images() -> list[tuple[Any, ...]]:
    generator = np.random.Generator(np.random.PCG64(8))
    shapes = ((2, 3, 4, 5), (3, 1, 5, 2), (1, 4, 3, 3))
    cases: list[tuple[Any, ...]] = [(generator.standard_normal(s),) for s in shapes]
    rows = generator.standard_normal((2, 3, 4, 1))
    cases.append((np.repeat(rows, 4, axis=3),))  # every row is constant
    return cases


@_property("nin_bag_of_pixels", _nin_images)
def _nin_bag_of_pixels(answer: Any, x: np.ndarray) -> str | None:
    got = np.asarray(answer(x.copy()))
    if got.shape != x.shape:
        return f"shape {x.shape} is expected, got {got.shape}"
    if any(np.array_equal(a, b) for a, b in zip(got, x, strict=True)):
        return "an image came back as it was"
    generator = np.random.Generator(np.random.PCG64(9))
    for _ in range(5):
        one, two = got, x
        for width in (8, 8, 10):
            matrix = generator.standard_normal((width, one.shape[1]))
            bias = generator.standard_normal((width, 1, 1))
            one, two = (
                np.maximum(np.einsum("oi,nihw->nohw", matrix, z) + bias, 0)
                for z in (one, two)
            )
        if not np.allclose(one.mean((2, 3)), two.mean((2, 3)), rtol=1e-6, atol=1e-9):
            return "a net of 1x1 convolutions tells the two apart"
    return None


def _nin_maps() -> list[tuple[Any, ...]]:
    generator = np.random.Generator(np.random.PCG64(10))
    cases = []
    for n, c, h, w, pool in (
        (2, 3, 5, 5, "avg"),
        (2, 3, 5, 5, "max"),
        (1, 2, 3, 4, "avg"),
        (3, 1, 2, 4, "max"),
    ):
        maps = generator.standard_normal((n, c, h, w)) - 4  # all negative
        cases.append((maps, generator.standard_normal((n, c)), pool))
    return cases


@_reference("nin_head_gradient", _nin_maps)
def _nin_head_gradient(maps: np.ndarray, above: np.ndarray, pool: str) -> np.ndarray:
    result = np.zeros_like(maps)
    for i, c in np.ndindex(above.shape):
        if pool == "avg":
            result[i, c] = above[i, c] / maps[i, c].size
        else:
            at = np.unravel_index(np.argmax(maps[i, c]), maps[i, c].shape)
            result[i, c][at] = above[i, c]
    return result


# == chapter: nin_cost =================================================================


@_reference(
    "nin_cost_crossover",
    [
        (7_677_880, 15_355_760, 1_992_166, 16),  # NiN
        (7_677_880, 15_355_760, 1_992_166, 8),
        (1_000, 2_000, 250, 16),  # equal at batch 4: not more
        (900, 1_300, 200, 12),  # 500 bytes whatever the batch
        (5_000, 9_000, 100, 8),  # the first batch already
    ],
)
def _nin_cost_crossover(one: int, two: int, parameters: int, per: int) -> int:
    batch = 1
    while one + (batch - 1) * (two - one) <= per * parameters:
        batch += 1
    return batch


_CHUNK = [
    (["image"], ["x"]),
    (["x"], ["a"]),
    (["a"], ["b"]),
    (["b", "x"], ["y"]),
]


@_reference(
    "nin_cost_live_set",
    [
        (_CHUNK, dict.fromkeys(["image", "x", "a", "b", "y"], 2560), ["image", "y"]),
        (_CHUNK, {"image": 1, "x": 16, "a": 40, "b": 30, "y": 8}, ["image", "y"]),
        # A chain: nothing waits but the input.
        (
            [(["x"], ["a"]), (["a"], ["b"]), (["b"], ["c"]), (["c"], ["y"])],
            {"x": 1, "a": 64, "b": 32, "c": 65, "y": 2},
            ["x", "y"],
        ),
        # In place, two results, an input that is read late, a long shortcut.
        (
            [(["x"], ["a"]), (["a"], ["a"]), (["a"], ["b"]), (["b", "x"], ["y"])],
            {"x": 8, "a": 4, "b": 2, "y": 1},
            ["x", "y"],
        ),
        (
            [(["x"], ["a", "b"]), (["a"], ["c"]), (["c", "b"], ["y"])],
            {"x": 4, "a": 8, "b": 16, "c": 32, "y": 64},
            ["x", "y"],
        ),
        (
            [(["x"], ["a"]), (["a"], ["b"]), (["b", "z"], ["y"])],
            {"x": 1, "a": 10, "b": 10, "y": 1, "z": 100},
            ["x", "z", "y"],
        ),
    ],
)
def _nin_cost_live_set(
    operations: list[tuple[list[str], list[str]]],
    sizes: dict[str, int],
    held: list[str],
) -> int:
    from d2lutils._lifetimes import Operation, largest_live_set

    steps = [
        Operation(str(i), tuple(reads), tuple(writes))
        for i, (reads, writes) in enumerate(operations)
    ]
    return largest_live_set(steps, dict(sizes), held)[0]


@_property(
    "nin_cost_checkpoint",
    [
        ("nin_small", (1, 1, 24, 24), {}),
        ("CIFARNiN", (1, 3, 32, 32), {}),
        ("NiN", (1, 1, 64, 64), {"widths": (16, 48, 64), "stem": (5, 2, 0)}),
        ("NiN", (1, 1, 48, 48), {"widths": (4, 64, 96), "stem": (3, 2, 1)}),
    ],
)
def _nin_cost_checkpoint(
    answer: Any, name: str, shape: tuple[int, ...], options: dict[str, Any]
) -> str | None:
    torch = _framework("pytorch")
    from d2lutils.pytorch import memory, nin

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = getattr(nin, name)(**options)
        x = torch.linspace(-1, 1, int(np.prod(shape))).reshape(shape)
        theirs = answer(copy.deepcopy(net))
        if not isinstance(theirs, torch.nn.Module):
            return f"a Module is expected, got {_brief(theirs)}"
        results = []
        for module in (net, theirs):
            torch.manual_seed(1)  # the same dropout
            out = module.train()(x)
            module.zero_grad()
            out.square().sum().backward()
            results.append((out.detach(), [p.grad for p in module.parameters()]))
    (out, grads), (their_out, their_grads) = results
    if out.shape != their_out.shape or not torch.allclose(out, their_out, atol=1e-5):
        return "the outputs differ from those of the net"
    if len(grads) != len(their_grads) or not all(
        b is not None and (a - b).abs().max() <= 1e-3 * a.abs().max()
        for a, b in zip(grads, their_grads, strict=True)
    ):
        return "the gradients differ from those of the net"
    kept, their_kept = (memory.kept_bytes(m, shape) for m in (net, theirs))
    if 2 * their_kept > kept:
        return f"{their_kept:,} bytes are kept, more than half of {kept:,}"
    worst, their_worst = (memory.step_trace(m, shape).peak for m in (net, theirs))
    if 10 * their_worst > 9 * worst:
        return (
            f"the worst moment has {their_worst:,} bytes, of {worst:,} before: "
            "not a tenth less"
        )
    return None


# == chapter: condconv =================================================================


@_property(
    "condconv_repair",
    [
        # images, experts, sizes (O, I, k), whether all images are equal, memory format
        (5, 3, (4, 6, 3), False, "contiguous"),
        (1, 3, (4, 6, 3), False, "contiguous"),
        (4, 4, (3, 2, 3), False, "contiguous"),
        (4, 2, (6, 4, 3), True, "contiguous"),
        (3, 4, (5, 3, 3), False, "channels_last"),
    ],
)
def _condconv_repair(
    answer: Any,
    batch: int,
    count: int,
    sizes: tuple[int, int, int],
    equal: bool,
    memory: str,
) -> str | None:
    torch = _framework("pytorch")
    from d2lutils.pytorch.condconv import looped

    outputs, inputs, k = sizes

    def waves(*shape: int) -> Any:
        numbers = torch.arange(int(np.prod(shape)), dtype=torch.float64)
        return torch.sin(numbers * 1.7 + numbers**2 / 97).reshape(shape)

    x = waves(1 if equal else batch, inputs, 6, 5).repeat(
        batch if equal else 1, 1, 1, 1
    )
    # Brightness differs, so that routing does.
    x = x + waves(1 if equal else batch, inputs, 1, 1)
    matrix, offset = 2 * waves(count, inputs), waves(count) / 2
    experts = waves(count, outputs, inputs, k, k)
    if memory == "channels_last":
        x = x.to(memory_format=torch.channels_last)
    routing = torch.sigmoid(x.mean(dim=(2, 3)) @ matrix.T + offset)
    expected = looped(x, routing, experts, padding=1)
    got = answer(x, matrix, offset, experts)
    if not isinstance(got, torch.Tensor):
        return f"a tensor is expected, got {_brief(got)}"
    if got.shape != expected.shape:
        return f"the shape must be {tuple(expected.shape)}, got {tuple(got.shape)}"
    for i, (a, b) in enumerate(zip(expected, got, strict=True)):
        if not torch.allclose(a, b.to(a.dtype), atol=1e-9):
            return f"image {i} differs from what a loop over the images gives"
    return None


_HALF8 = np.full(8, 0.5)


@_reference(
    "condconv_deviation",
    [
        ((8, 64, 64, 3, 3), _HALF8),
        ((8, 64, 64, 3, 3), _HALF8, True),
        ((4, 16, 8, 3, 3), np.array([1.0, 0.0, 0.0, 0.0])),
        ((3, 32, 16, 5, 5), np.array([0.9, 0.25, 0.5]), False),
        ((2, 24, 6, 1, 3), np.array([0.75, 0.125]), True),
    ],
)
def _condconv_deviation(
    shape: tuple[int, ...], weights: np.ndarray, whole_tensor: bool = False
) -> float:
    _, outputs, inputs, height, width = shape
    fan_in = inputs * height * width * (outputs if whole_tensor else 1)
    return float(np.sqrt(2 / fan_in * np.square(weights).sum()))


@_reference(
    "condconv_experts",
    [(2_500_000,), (1_076_834,), (1_076_833,), (2_148_458,), (300_000,), (200_000,)],
)
def _condconv_experts(limit: int) -> int:
    # Stem, projections, batch norms, classifier; then what an expert brings.
    without = 272_474 - 267_264
    return max(1, (limit - without) // (267_264 + 642) + 1)


@_property(
    "condconv_pointwise",
    [
        ((2, 5), (3, 4, 6), (5, 7)),
        ((1, 4), (1, 2, 3), (4, 4)),
        ((3, 1), (3, 3, 3), (1, 6)),
        ((4, 2), (2, 8, 2), (3, 1)),
    ],
)
def _condconv_pointwise(
    answer: Any,
    batches: tuple[int, int],
    sizes: tuple[int, int, int],
    space: tuple[int, int],
) -> str | None:
    mx = _framework("gluon")
    from d2lutils.gluon.condconv import looped

    count, outputs, inputs = sizes
    shape = (count, outputs, inputs, 1, 1)

    hybrid: Any = mx.gluon.HybridBlock

    class Block(hybrid):
        def hybrid_forward(self, F: Any, x: Any, routing: Any, experts: Any) -> Any:
            return answer(F, x, routing, experts, shape)

    def waves(*shape: int) -> Any:
        numbers = np.arange(np.prod(shape), dtype="float64")
        return mx.nd.array(np.sin(numbers * 1.7 + numbers**2 / 97).reshape(shape))

    block = Block()
    block.hybridize()
    for batch in batches:  # of one graph
        given = (waves(batch, inputs, *space), waves(batch, count), waves(*shape))
        got = block(*given)
        if not isinstance(got, mx.nd.NDArray):
            return f"one array is expected, got {_brief(got)}"
        expected = looped(*given).asnumpy()
        if got.shape != expected.shape:
            return (
                f"with {batch} images the shape must be {expected.shape}, "
                f"got {got.shape}"
            )
        if not np.allclose(got.asnumpy(), expected, rtol=1e-4, atol=1e-5):
            return f"with {batch} images it differs from a loop over the images"
    return None


# == chapter: one_idea =================================================================


def _one_idea_wave(*shape: int, step: float = 1.7) -> np.ndarray:
    """Values that repeat nowhere."""
    return np.sin(step * np.arange(1.0, 1 + np.prod(shape))).reshape(shape)


@_property(
    "one_idea_weightnet",
    [
        ("output", 4, 3, 3),
        ("input", 4, 3, 3),
        ("input", 2, 5, 1),
        ("output", 6, 6, 3),
        ("input", 3, 3, 5),
    ],
)
def _one_idea_weightnet(
    answer: Any, side: str, out: int, inputs: int, k: int
) -> str | None:
    torch = _framework("pytorch")
    from d2lutils.pytorch.weightnet import WeightNet2d

    conv2d = torch.nn.functional.conv2d
    kernel = torch.tensor(_one_idea_wave(out, inputs, k, k), dtype=torch.float32)
    x = torch.tensor(_one_idea_wave(3, inputs, 6, 5, step=0.9), dtype=torch.float32)
    size = out if side == "output" else inputs
    gate = torch.tensor((1 + _one_idea_wave(3, size, step=2.3)) / 2)
    gate = gate.to(torch.float32)
    scale = gate[:, :, None, None]
    if side == "output":
        expected = conv2d(x, kernel, padding=k // 2) * scale
    else:
        expected = conv2d(x * scale, kernel, padding=k // 2)
    layer, alpha = answer(kernel.clone(), gate.clone(), side)
    if not isinstance(layer, WeightNet2d):
        return f"a WeightNet2d is expected, got {_brief(layer)}"
    with torch.no_grad():
        y = layer(x, alpha)
    if y.shape != expected.shape:
        return _differs(tuple(expected.shape), tuple(y.shape))
    if not torch.allclose(y, expected, rtol=1e-4, atol=1e-5):
        return "the layer's output is not that of the gated convolution"
    return None


@_reference(
    "one_idea_reduction",
    [(20, 16), (20, 8), (56, 16), (20, 3), (110, 4)],
)
def _one_idea_reduction(depth: int, reduction: int) -> int:
    hidden = [(c, c // reduction) for c in (16, 32, 64)]
    return (depth - 2) // 6 * sum(2 * c * h + h + c for c, h in hidden)


def _one_idea_fold_inputs() -> list[tuple[Any, ...]]:
    cases = []
    for n, out, inputs, k, eps in (
        (2, 3, 2, 3, 1e-5),
        (3, 4, 4, 1, 0.1),
        (1, 2, 5, 3, 1.0),
    ):
        waves = [_one_idea_wave(out, step=step) for step in (0.7, 1.1, 1.3, 1.9)]
        gamma, beta, mean, var = waves
        gate = (1 + _one_idea_wave(n, out, step=2.3)) / 2
        weight = _one_idea_wave(out, inputs, k, k)
        cases.append((weight, gamma, beta, mean, 0.5 + var**2, eps, gate))
    return cases


@_property("one_idea_fold", _one_idea_fold_inputs)
def _one_idea_fold(answer: Any, *arguments: Any) -> str | None:
    weight, gamma, beta, mean, var, eps, gate = arguments
    kernels, biases = map(_plain, answer(*_copies(arguments)))
    scale = gamma / np.sqrt(var + eps)
    wanted = (gate * scale)[:, :, None, None, None] * weight
    if np.shape(kernels) != wanted.shape:
        return f"the kernels' shape: {_differs(wanted.shape, np.shape(kernels))}"
    if not _same(wanted, kernels):
        return "the kernels are not those of the folded convolution"
    if not _same(gate * (beta - scale * mean), biases):
        return "the kernels are right, the biases are not"
    return None


@_reference(
    "one_idea_input_mean",
    [
        (_one_idea_wave(2, 4, step=0.7), _one_idea_wave(4, 3, 3, 3)),
        (_one_idea_wave(1, 3, step=1.1), _one_idea_wave(3, 3, 1, 1)),
        (_one_idea_wave(4, 4, step=1.3), _one_idea_wave(4, 4, 3, 3)),
        (_one_idea_wave(3, 2, step=1.9), _one_idea_wave(2, 5, 5, 5)),
    ],
)
def _one_idea_input_mean(weight: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    result: np.ndarray = weight @ kernel.sum(axis=(2, 3))
    return result


# == chapter: batch_norm ===============================================================


def _batch_norm_wave(*shape: int, step: float = 1.7) -> np.ndarray:
    """Values that repeat nowhere."""
    return np.sin(step * np.arange(1.0, 1 + np.prod(shape))).reshape(shape)


@_reference(
    "batch_norm_entry",
    [
        (2 * _batch_norm_wave(4, 3, 5, 5), np.ones(3), 0.9),
        (_batch_norm_wave(2, 2, 1, 1, step=0.9), np.array([0.5, 2.0]), 0.5),
        (3 * _batch_norm_wave(8, 4, step=1.1), np.ones(4), 0.97),
        (_batch_norm_wave(3, 2, 7, step=2.3), np.array([4.0, 0.25]), 0.75),
    ],
)
def _batch_norm_entry(
    x: np.ndarray, running_var: np.ndarray, momentum: float
) -> tuple[np.ndarray, np.ndarray]:
    values = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
    new = [values.var(axis=1, ddof=ddof) for ddof in (0, 1)]
    one, two = (momentum * running_var + (1 - momentum) * v for v in new)
    return one, two


@_reference(
    "batch_norm_momentum",
    [(0.97,), (0.9,), (0.97, 4), (0.9, 2), (0.5, 3)],
)
def _batch_norm_momentum(momentum: float, parts: int = 1) -> float:
    keeps: float = momentum ** (1 / parts)
    return 1 - keeps


@_reference("batch_norm_zero_gradient", [(False, 1), (True, 1), (False, 0), (True, 0)])
def _batch_norm_zero_gradient(relu: bool, padding: int) -> set[str]:
    constant = not relu and padding == 0
    return {"conv1.bias", "conv2.bias"} | ({"norm1.bias"} if constant else set())


@_property("batch_norm_renew", [(1, 0.9), (3, 0.5), (4, 0.75)])
def _batch_norm_renew(answer: Any, count: int, momentum: float) -> str | None:
    mx = _framework("gluon")
    nn = mx.gluon.nn
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(3, 3, in_channels=2),
        nn.BatchNorm(in_channels=3, momentum=momentum),
        nn.Activation("relu"),
        nn.Flatten(),
        nn.Dense(2, in_units=48),
    )
    net.initialize()
    params = list(net.collect_params().values())
    for number, p in enumerate(params):
        if p.grad_req != "null":
            wave = _batch_norm_wave(*p.shape, step=0.7 + 0.3 * number)
            p.set_data(mx.nd.array(wave))
    weights = [p.data().asnumpy() for p in params if p.grad_req != "null"]
    batches = [
        mx.nd.array(_batch_norm_wave(5, 2, 6, 6, step=1.1 + 0.2 * i) + i)
        for i in range(count)
    ]
    mean, var = np.zeros(3), np.ones(3)
    for x in batches:
        y = net[0](x).asnumpy().astype("float64")
        mean = momentum * mean + (1 - momentum) * y.mean(axis=(0, 2, 3))
        var = momentum * var + (1 - momentum) * y.var(axis=(0, 2, 3))
    answer(net, batches)
    mx.nd.waitall()
    after = [p.data().asnumpy() for p in params if p.grad_req != "null"]
    if not all(np.array_equal(a, b) for a, b in zip(weights, after, strict=True)):
        return "the weights have changed"
    norm = net[1]
    for wanted, book, start in (
        (mean, norm.running_mean, 0.0),
        (var, norm.running_var, 1.0),
    ):
        found = book.data().asnumpy()
        if (found == start).all():
            return "the running statistics have not moved"
        if not np.allclose(found, wanted, rtol=1e-4, atol=1e-5):
            return f"the running statistics are wrong: {_differs(wanted, found)}"
    return None


# == chapter: same_weights =============================================================


def _same_weights_layers() -> list[tuple[Any, ...]]:
    """The kind of layer, its arguments in both frameworks, and its input's shape."""
    return [
        ("Dense", {"units": 5, "in_units": 3}, (2, 3)),
        ("Dense", {"units": 2, "in_units": 4, "use_bias": False}, (3, 4)),
        ("BatchNorm", {"in_channels": 6, "epsilon": 2**-6}, (2, 6, 3, 3)),
        ("Conv2D", {"channels": 4, "kernel_size": 3, "in_channels": 2}, (1, 2, 5, 5)),
        ("Conv1D", {"channels": 5, "kernel_size": 2, "in_channels": 5}, (2, 5, 4)),
    ]


@_property("same_weights_copy", _same_weights_layers)
def _same_weights_copy(
    answer: Any, kind: str, options: dict[str, Any], shape: tuple[int, ...]
) -> str | None:
    mx, torch = _framework("gluon"), _framework("pytorch")
    nn = torch.nn
    source = getattr(mx.gluon.nn, kind)(**options)
    source.initialize()
    for number, (name, p) in enumerate(source._collect_params_with_prefix().items()):
        wave = np.sin(np.arange(1, 1 + np.prod(p.shape)) * (1.3 + 0.4 * number))
        values = 0.5 + wave**2 if name == "running_var" else wave
        p.set_data(mx.nd.array(values.reshape(p.shape)))
    if kind == "Dense":
        target = nn.Linear(
            options["in_units"], options["units"], bias=options.get("use_bias", True)
        )
    elif kind == "BatchNorm":
        target = nn.BatchNorm2d(options["in_channels"], eps=options["epsilon"])
    else:
        target = getattr(nn, kind.replace("D", "d"))(
            options["in_channels"], options["channels"], options["kernel_size"]
        )
    known = {id(p) for p in target.parameters() if p.requires_grad}
    target.eval()
    answer(source, target)
    if {id(p) for p in target.parameters() if p.requires_grad} != known:
        return "the target's trainable parameters are no longer those it had"
    x = np.cos(np.arange(np.prod(shape), dtype="float32")).reshape(shape)
    expected = source(mx.nd.array(x)).asnumpy()
    with torch.no_grad():
        got = target(torch.as_tensor(x)).numpy()
    if not _same(expected, got, rtol=1e-4, atol=1e-5):
        return "the outputs in evaluation differ"
    return None


def _same_weights_nets() -> list[tuple[Any, ...]]:
    """A net as nested lists of (units, flatten) or "relu", and its input's shape."""
    return [
        ([(4, False), "relu", (3, True)], (2, 5, 3)),
        ([(4, True), "relu", (3, True)], (2, 6)),
        ([[(4, False), (4, True)], "relu", (2, True)], (3, 2, 2, 2)),
        ([(4, False), [(3, False), "relu"], (2, False)], (2, 3, 4)),
        ([["relu", (3, False)], [[(5, True)], (3, True)]], (2, 1, 4)),
    ]


@_property("same_weights_flatten", _same_weights_nets)
def _same_weights_flatten(
    answer: Any, layers: list[Any], shape: tuple[int, ...]
) -> str | None:
    mx = _framework("gluon")
    nn = mx.gluon.nn
    expected = []

    def build(parts: list[Any], path: str, axes: int) -> tuple[Any, int]:
        net = nn.HybridSequential()
        for number, part in enumerate(parts):
            at = f"{path}{number}"
            if isinstance(part, list):
                child, axes = build(part, f"{at}.", axes)
            elif part == "relu":
                child = nn.Activation("relu")
            else:
                child = nn.Dense(part[0], flatten=part[1])
                if part[1] and axes > 2:
                    expected.append(at)
                axes = 2 if part[1] else axes
            net.add(child)
        return net, axes

    net, _ = build(layers, "", len(shape))
    net.initialize()
    got = answer(net, mx.nd.ones(shape))
    if not isinstance(got, list) or got != sorted(expected):
        return _differs(sorted(expected), got)
    return None


def _same_weights_steps() -> list[tuple[Any, ...]]:
    ones = np.ones((2, 3))
    zeros, big = np.zeros(4), np.array([1000.0, 1e-3])
    same = {"w": ones, "b": zeros}
    slightly = {"w": ones * (1 + 2**-12), "b": zeros}
    broken = {"w": ones * np.nan, "b": zeros}
    one_element = {"w": big * np.array([1.0, 3.0]), "b": zeros}
    moved = {"w": ones, "b": zeros + 1e-30}
    return [
        ([same, same, slightly, same], [same] * 4, 1e-4),
        ([same, slightly, slightly], [same] * 3, 1e-3),
        ([same, broken], [same] * 2, 1e-4),
        ([one_element] * 2, [{"w": big, "b": zeros}] * 2, 1e-4),
        ([same, same, moved], [same] * 3, 1e-4),
        ([slightly], [same], 1e-4),
    ]


@_reference("same_weights_leaves", _same_weights_steps)
def _same_weights_leaves(
    one: list[dict[str, np.ndarray]], two: list[dict[str, np.ndarray]], bound: float
) -> int | None:
    for step, (ours, theirs) in enumerate(zip(one, two, strict=True), 1):
        for name, b in theirs.items():
            if not np.abs(ours[name] - b).max() <= bound * np.abs(b).max():
                return step
    return None


def _same_weights_sums() -> list[tuple[Any, ...]]:
    harmonic = (1 / np.arange(1, 1001)).astype("float32")
    waves = np.sin(np.arange(777) ** 2).astype("float32")
    return [
        (harmonic, 1),
        (harmonic, 2),
        (harmonic[::-1].copy(), 3),
        (waves, 4),
        (waves * np.float32(1e4), 7),
    ]


@_property("same_weights_threads", _same_weights_sums)
def _same_weights_threads(answer: Any, x: np.ndarray, threads: int) -> str | None:
    def add_up(values: Any) -> Any:
        total = np.float32(0)
        for value in values:
            total = np.float32(total + value)
        return total

    expected = add_up([add_up(piece) for piece in np.array_split(x, threads)])
    got = np.asarray(answer(x, threads))
    if got.dtype != np.float32:
        return f"a float32 is expected, got {got.dtype}"
    if got.shape != () or got != expected:
        return f"expected {float(expected)!r}, got {got.tolist()!r}"
    return None


# == chapter: graph ====================================================================


def _graph_wave(*shape: int, step: float = 1.7) -> np.ndarray:
    """Values that repeat nowhere, some larger than one."""
    values = 2 * np.sin(step * np.arange(1.0, 1 + np.prod(shape))).reshape(shape)
    return values.astype("float32")


def _graph_block(mx: Any, answer: Any, calls: list[int]) -> Any:
    """The answer as a hybridized block that counts how often it is traced."""

    class Block(mx.gluon.HybridBlock):
        def hybrid_forward(self, F: Any, x: Any) -> Any:
            calls.append(1)
            return answer(F, x)

    block = Block()
    block.hybridize()
    return block


@_property(
    "graph_rewrite",
    [(2, (3, 5), 1.0), (4, (2, 6), 0.25), (3, (5, 4), 0.1), (1, (4, 2), 3.0)],
)
def _graph_rewrite(
    answer: Any, channels: int, batches: tuple[int, int], scale: float
) -> str | None:
    mx = _framework("gluon")
    block = _graph_block(mx, answer, [])
    for batch in batches:  # of one graph
        x = scale * _graph_wave(batch, channels)
        wanted = (
            np.repeat(x[:, :, None], 2, axis=2),
            x - x.mean(axis=0),
            x / max(1.0, float(np.max(x))),
        )
        got = block(mx.nd.array(x))
        if not isinstance(got, list | tuple) or len(got) != 3:
            return "a list of three results is expected"
        for name, a, b in zip(
            ("doubled", "centred", "limited"), wanted, got, strict=True
        ):
            if not _same(a, b, rtol=1e-5, atol=1e-6):
                if a.shape != b.shape:
                    return f"{name} must have shape {a.shape}, got {b.shape}"
                return f"the values of {name} are wrong for a batch of {batch}"
    return None


@_property("graph_flag", [(True, 3), (False, 4), (True, 1), (False, 20)])
def _graph_flag(answer: Any, first: bool, size: int) -> str | None:
    mx = _framework("gluon")
    calls: list[int] = []
    block = _graph_block(mx, answer, calls)
    for training in (first, not first, first):
        x = mx.nd.array(_graph_wave(size, 2))
        x.attach_grad()
        with mx.autograd.record(train_mode=training):
            y = block(x)
        y.backward(train_mode=training)
        factor, mode = (2, "training") if training else (-1, "evaluation")
        begun = "training" if first else "evaluation"
        if len(calls) > 1:
            return f"it was traced again in {mode}"
        if not _same(factor * x.asnumpy(), y, rtol=1e-5):
            return f"traced in {begun}, the values in {mode} are wrong"
        if not _same(np.full(x.shape, factor, "float32"), x.grad, rtol=1e-5):
            return f"traced in {begun}, the gradient in {mode} is wrong"
    return None


_GRAPH_LINES = {
    'print("hi")': "gone",
    "self.calls += 1": "gone",
    "x = x * self.scale": "frozen",
    "x = x + random.random()": "frozen",
    "x = x + F.random.normal_like(x)": "alive",
    "x = F.Dropout(x, p=0.5)": "alive",
    "if autograd.is_training(): x = 2 * x": "gone",
    "for _ in range(self.depth): x = F.relu(x)": "frozen",
    "x = F.where(x > 0, x, -x)": "alive",
}


@_property("graph_survives", [(line,) for line in _GRAPH_LINES])
def _graph_survives(answer: Any, line: str) -> str | None:
    got = answer(line)
    if got not in ("gone", "frozen", "alive"):
        return f"one of 'gone', 'frozen' and 'alive' is expected, got {_brief(got)}"
    return None if got == _GRAPH_LINES[line] else f"{got!r} is not what happens"


@_property(
    "graph_retraces",
    [
        ([4, 4, 4],),
        ([4, 5, 6, 7],),
        ([4, 1, 4, 1],),
        ([1, 4, 5],),
        ([4, 5, 1, 7, 4],),
        ([2, 1, 9, 3],),
    ],
)
def _graph_retraces(answer: Any, sizes: list[int]) -> str | None:
    torch = _framework("pytorch")
    graphs = []

    def backend(graph: Any, examples: Any) -> Any:
        graphs.append(graph)
        return graph

    torch.compiler.reset()
    compiled = torch.compile(lambda x: 2 * x + 1, backend=backend)
    got = answer(list(sizes))
    for size in sizes:
        compiled(torch.ones(size, 3))
    return None if _same(len(graphs), got) else _differs(len(graphs), got)


def _graph_depth_inputs() -> list[tuple[Any, ...]]:
    mx = _framework("gluon")
    x, w = mx.sym.var("x"), mx.sym.var("w")
    chain = mx.sym.relu(mx.sym.tanh(mx.sym.relu(x)))
    skip = x + mx.sym.sigmoid(mx.sym.relu(x * w))
    side = mx.sym.Group([mx.sym.relu(x), mx.sym.tanh(mx.sym.sigmoid(chain))])
    late = mx.sym.dot(chain, mx.sym.relu(w))
    return [(symbol.tojson(),) for symbol in (chain, skip, side, late, x)]


@_reference("graph_depth", _graph_depth_inputs)
def _graph_depth(text: str) -> int:
    graph = json.loads(text)
    depths: list[int] = []
    for node in graph["nodes"]:
        before = [depths[i] for i, *_ in node["inputs"]]
        depths.append(max(before, default=0) + (node["op"] != "null"))
    return depths[graph["heads"][0][0]]
