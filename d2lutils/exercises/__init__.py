"""The checks of the exercises, by name; each chapter has a file.

An exercise's cell has a stub, a function or class whose body is
``raise NotImplementedError``, followed by ``exercises.check("name", answer)``. For the
stub this prints "not attempted yet", for an answer "passed", or what is wrong and for
which hidden input. It never raises because of an answer.

    >>> check("nin_head_mib", lambda n, hidden: 0)
    nin_head_mib: not yet. For input (224, 4096) expected 214.188, got 0.

To add an exercise, write a function with its name in its chapter's file, with one of
two decorators:

- ``@by_reference(*inputs)`` if the function is the right answer. The learner's function
  must return the same for every hidden input, with numbers within ``rtol`` and
  ``atol``.
- ``@by_property(*inputs)`` if the function takes the learner's answer and a hidden
  input, and calls ``require(condition, complaint)`` for each property of a right
  answer. Use it for classes and blocks, or if many answers are right.

The inputs are at least three argument tuples, or a function that makes a list of them.
Import frameworks only through ``framework``, inside functions, so that a check for one
runs without the other. ``tools/execute.py`` runs a chapter again if its own file here
has changed, but not for another chapter's file.
"""

from __future__ import annotations

import copy
import difflib
import functools
import importlib
import numbers
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

__all__ = ["Result", "check", "judge", "names"]

Inputs = Callable[[], Sequence[tuple[Any, ...]]]
Function = TypeVar("Function", bound=Callable[..., Any])

# Exercise → (makes the hidden inputs, judges an answer on one of them).
CHECKS: dict[str, tuple[Inputs, Callable[..., None]]] = {}


@dataclass(frozen=True)
class Result:
    """The result of a check; ``message`` is the line that ``check`` prints."""

    passed: bool
    attempted: bool
    message: str


class Wrong(Exception):  # noqa: N818 - a verdict, not an error
    """The answer is wrong; the message says how."""


class Unavailable(Exception):  # noqa: N818 - a verdict, not an error
    """The check itself needs a framework that is not installed."""


def check(name: str, answer: Any) -> None:
    """Judge an answer and print one line about it.

    Args:
        name: the exercise's name, as in its heading.
        answer: a function or a class, as the exercise requires.

    Raises:
        ValueError: an unknown name; the message lists similar ones.
    """
    print(judge(name, answer).message)


def judge(name: str, answer: Any) -> Result:
    """Judge an answer, with the arguments of ``check``, and return the result."""
    if name not in CHECKS:
        near = difflib.get_close_matches(str(name), CHECKS, n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"name must be that of an exercise, got {name!r}{hint}")
    inputs, judge_one = CHECKS[name]
    not_attempted = Result(False, False, f"{name}: not attempted yet")

    def not_yet(why: str) -> Result:
        return Result(False, True, f"{name}: not yet. {why.rstrip('.')}.")

    if answer is None or answer is Ellipsis or answer is NotImplemented:
        return not_attempted
    if not callable(answer):
        return not_yet(f"A function or class is asked for, got {answer!r}")
    try:
        cases = inputs()
        for number, case in enumerate(cases):
            shown = brief(case)  # before the answer can change it
            try:
                judge_one(answer, *_copies(case))
            except Unavailable:
                raise
            except Wrong as problem:
                return not_yet(f"For input {shown} {problem}")
            except Exception as problem:
                if isinstance(problem, NotImplementedError) and number == 0:
                    return not_attempted
                lines = [line.strip() for line in str(problem).splitlines()]
                said = next(filter(None, lines), "")
                text = f"{type(problem).__name__} was raised: {said}".rstrip(": ")
                return not_yet(f"For input {shown} {text}")
    except Unavailable as problem:
        return Result(False, True, f"{name}: cannot be judged here. {problem}.")
    return Result(True, True, f"{name}: passed ({len(cases)} inputs)")


def names() -> list[str]:
    """The names of all exercises with a check, in the order of the book."""
    return list(CHECKS)


# -- for the chapters' files -----------------------------------------------------------


def by_property(*inputs: Any) -> Callable[[Function], Function]:
    """Register a function that checks an answer on one input with ``require``.

    Args:
        inputs: argument tuples, or one function that makes a list of them.
    """

    def register(judge_one: Function) -> Function:
        name = judge_one.__name__
        if name in CHECKS:
            raise ValueError(f"two exercises are named {name!r}")
        made = inputs[0] if callable(inputs[0]) else lambda: inputs
        CHECKS[name] = (made, judge_one)
        return judge_one

    return register


def by_reference(
    *inputs: Any, rtol: float = 1e-6, atol: float = 1e-9
) -> Callable[[Function], Function]:
    """Register a right answer; the learner's must agree on every hidden input."""

    def register(reference: Function) -> Function:
        def judge_one(answer: Any, *arguments: Any) -> None:
            expected = reference(*_copies(arguments))
            got = answer(*arguments)
            if got is NotImplemented:
                raise NotImplementedError
            require_same(expected, got, rtol=rtol, atol=atol)

        by_property(*inputs)(functools.update_wrapper(judge_one, reference))
        return reference

    return register


def require(condition: Any, complaint: str) -> None:
    """Fail the check with this complaint unless the condition holds."""
    if not condition:
        raise Wrong(complaint)


def require_kind(got: Any, kind: Any, words: str) -> None:
    """Fail the check unless ``got`` is an instance of a class, or of one of several."""
    if not isinstance(got, kind):
        raise Wrong(f"{words} is expected, got {brief(got)}")


def require_shape(expected: tuple[int, ...], got: Any, what: str = "") -> None:
    """Fail the check unless ``got`` has this shape; ``what`` begins the complaint."""
    shape = tuple(np.shape(got))
    wrong = f"{what} the shape must be {tuple(expected)}, got {shape}".strip()
    require(shape == tuple(expected), wrong)


def require_same(
    expected: Any, got: Any, complaint: str = "", rtol: float = 1e-6, atol: float = 1e-9
) -> None:
    """Fail the check unless two results agree; by default the complaint has both."""
    if not same(expected, got, rtol, atol):
        raise Wrong(complaint or f"expected {brief(expected)}, got {brief(got)}")


def framework(name: str) -> Any:
    """The module ``mxnet`` for ``"gluon"``, ``torch`` for ``"pytorch"``."""
    try:
        if name == "gluon":
            return importlib.import_module("d2lutils.compat").mx
        return importlib.import_module("torch")
    except ImportError as problem:
        sentence = re.split(r"(?<=[.!?])\s", " ".join(str(problem).split()))[0]
        raise Unavailable(sentence.rstrip(".")) from None


def wave(*shape: int, step: float = 1.7) -> np.ndarray:
    """Irregular values from -1 to 1, the same on every machine."""
    n = np.arange(1.0, 1 + np.prod(shape))
    return np.sin(step * n + n**2 / 97).reshape(shape)


def plain(value: Any) -> Any:
    """A tensor as a NumPy array, a NumPy scalar as a Python number, else `value`."""
    if hasattr(value, "asnumpy"):
        value = value.asnumpy()
    elif hasattr(value, "detach") and hasattr(value, "cpu"):
        value = value.detach().cpu().numpy()
    return value.item() if isinstance(value, np.generic) else value


def same(expected: Any, got: Any, rtol: float = 1e-6, atol: float = 1e-9) -> bool:
    """Whether two results have the same structure, and numbers within a tolerance."""
    expected, got = plain(expected), plain(got)
    if isinstance(expected, Mapping):
        return (
            isinstance(got, Mapping)
            and expected.keys() == got.keys()
            and all(same(expected[key], got[key], rtol, atol) for key in expected)
        )
    if isinstance(expected, list | tuple):
        return (
            isinstance(got, list | tuple)
            and len(expected) == len(got)
            and all(same(a, b, rtol, atol) for a, b in zip(expected, got, strict=True))
        )
    if _is_numeric(expected):
        return (
            _is_numeric(got)
            and np.shape(expected) == np.shape(got)
            and np.allclose(got, expected, rtol=rtol, atol=atol, equal_nan=True)
        )
    return type(expected) is type(got) and bool(expected == got)


def brief(value: Any, limit: int = 120) -> str:
    """A short text for a value, without memory addresses."""
    value = plain(value)
    if isinstance(value, np.ndarray):
        inside = np.array2string(value, precision=4, threshold=12, separator=", ")
        text = f"array{value.shape} {' '.join(inside.split())}"
    elif isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, list):
        text = f"[{', '.join(brief(item, limit) for item in value)}]"
    elif isinstance(value, tuple):
        text = ", ".join(brief(item, limit) for item in value)
        text = f"({text}{',' if len(value) == 1 else ''})"
    elif hasattr(value, "__name__"):
        text = value.__name__
    else:
        text = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(repr(value).split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _is_numeric(value: Any) -> bool:
    number = isinstance(value, numbers.Number) and not isinstance(value, bool)
    return number or isinstance(value, np.ndarray)


def _copies(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments with containers and arrays copied; an answer may change them."""
    return tuple(
        copy.deepcopy(value)
        if isinstance(value, list | dict | set | np.ndarray)
        else value
        for value in arguments
    )


# In the order of the book.
_CHAPTERS = (
    "blocks",
    "same_weights",
    "graph",
    "last_pixels",
    "nin",
    "nin_cost",
    "batch_norm",
    "residual_chunks",
    "zero_padded_shortcuts",
    "pyramidnet",
    "stochastic_depth",
    "condconv",
    "one_idea",
    "take_along",
    "many_devices",
)
for _chapter in _CHAPTERS:
    importlib.import_module(f"{__name__}.{_chapter}")
