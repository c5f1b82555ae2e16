"""The small language of the list of pairs: it gives what Python gives, or refuses."""

from __future__ import annotations

import ast
import inspect
from types import SimpleNamespace
from typing import Any

import pytest

from d2lutils.pairs import listed
from d2lutils.pairs.calls import parts, run


def told(*arguments: Any, **options: Any) -> tuple[Any, Any]:
    """What a call was given."""
    return arguments, options


NAMES: dict[str, Any] = {
    "f": told,
    "block": lambda *made: lambda *given, **options: (made, given, options),
    "table": {"vmapped": 1, "looped": 2, "folded": 3},
    "o": SimpleNamespace(largest=lambda: (7, "relu"), size=4, __secret=1),
    "x": 3,
    "n": 10,
}

FINE = [
    "f(x, None, -1, 2**-7, a='b', c=True, d=0.5)",
    "block(2, (3, -4))(x, n, keep=False)",
    "f((4, 10, 64))[0]",
    "o.largest()[0]",
    "f(x + 0 * n)",
    "o.size >= x",
    "len(table) > 0",
    "list(table)",
    "[name for name in table if name != 'vmapped']",
    "[name for name in table]",
    "[f(name, x) for name in table if name != 'folded' if len(name) > 6]",
]


@pytest.mark.parametrize("call", FINE)
def test_it_gives_what_python_gives(call: str) -> None:
    assert run(call, NAMES) == eval(call, dict(NAMES))


def test_names_go_before_the_two_of_its_own() -> None:
    assert run("len(list)", {"len": str, "list": 5}) == "5"


def test_a_name_of_a_list_stays_inside_it() -> None:
    run("[x for x in table]", NAMES)
    assert run("x", NAMES) == 3


REFUSED = [
    "__import__('os').system('true')",
    "().__class__",
    "o._SimpleNamespace__secret",
    "f.__globals__",
    "lambda: 1",
    "(x := 4)",
    "f(*table)",
    "f(**table)",
    "f(a=1, a=2)",
    "{**table}",
    "{1, 2}",
    "[1, 2]",
    "table[0:1]",
    "f'{x}'",
    "x if n else 1",
    "x and n",
    "not x",
    "x - n",
    "x < n < 20",
    "[a for a, b in table]",
    "[a + b for a in table for b in table]",
    "(name for name in table)",
    "{name: 1 for name in table}",
    "await f",
]


@pytest.mark.parametrize("call", REFUSED)
def test_anything_else_is_refused(call: str) -> None:
    with pytest.raises((ValueError, NameError)) as refusal:
        run(call, NAMES)
    if refusal.type is NameError:
        assert "__import__" in call
    else:
        assert "run: a call may not hold" in str(refusal.value)


@pytest.mark.parametrize("call", ["import os", "x = 1", "f(", ""])
def test_what_is_no_expression(call: str) -> None:
    with pytest.raises(ValueError, match=r"run: .* is no expression"):
        run(call, NAMES)


@pytest.mark.parametrize("call", ["open('x')", "eval('1')", "[a for b in table]"])
def test_no_other_name_is_there(call: str) -> None:
    with pytest.raises(NameError, match=r"name '(open|eval|a)' is not defined"):
        run(call, NAMES)


class Anything:
    """Stands for whatever a call of the list needs."""

    def __getattr__(self, name: str) -> Anything:
        return self

    def __call__(self, *_: Any, **__: Any) -> Anything:
        return self

    def __getitem__(self, index: Any) -> Anything:
        return self

    def __rmul__(self, other: Any) -> Anything:
        return self

    def __add__(self, other: Any) -> Anything:
        return self

    def __gt__(self, other: Any) -> bool:
        return True

    def __ge__(self, other: Any) -> bool:
        return True

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Any:
        return iter(["one"])


def written() -> set[str]:
    """Every call that the list holds, those of its judges included."""
    pairs = [*(p for topic in listed.TOPICS.values() for p in topic), *listed.PLANTED]
    found = {call for pair in pairs for call in pair.calls()}
    for pair in pairs:
        given = inspect.getclosurevars(pair.judge.run).nonlocals
        found |= {*given.get("calls", ())}
        found |= {v for v in given.get("inputs", {}).values() if isinstance(v, str)}
    return found


@pytest.mark.parametrize("call", sorted(written()))
def test_every_call_of_the_list_is_in_the_language(call: str) -> None:
    """So that no refusal of the language passes for one of both halves."""
    used = {n.id for n in ast.walk(ast.parse(call)) if isinstance(n, ast.Name)}
    thing = Anything()
    names = dict.fromkeys({*used, "block"} - {"len", "list"}, thing)
    run(call, names)
    made, called = parts(call)
    if made:
        assert run(made, names) is run(called, names) is thing
    else:
        assert called == call


def test_a_block_is_told_from_its_call() -> None:
    assert parts("NiN(1)(x, keep=None)") == ("NiN(1)", "block(x, keep=None)")
    assert parts("accuracy(net, test)") == ("", "accuracy(net, test)")
