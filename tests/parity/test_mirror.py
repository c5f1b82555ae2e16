"""The two halves mirror each other: files, names, signatures, documentation."""

from __future__ import annotations

import difflib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pairs import MODULES, halves

import d2lutils.gluon
from d2lutils import (
    _arguments,
    _errors,
    _inputs,
    _training,
    data,
    ledger,
    lifetimes,
    nets,
    parity,
    shapes,
    timing,
)

# What may differ, each with its reason.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("*", "hybrid_forward"): (
        "Gluon's traceable half of a block; forward checks its arguments in both"
    ),
    ("*", "hybridize"): (
        "Gluon's graphs would freeze what Python decides anew for each batch"
    ),
    ("inputs", "operators"): "only MXNet has two kinds of arrays",
    ("condconv", "vmapped"): "only PyTorch vectorises a function over the batch",
    ("memory", "planned_bytes"): "only MXNet plans memory before it runs",
    ("memory", "step_trace"): (
        "PyTorch says after each operation what exists; MXNet frees a while later, in "
        "an order of its own"
    ),
}
# Here each half says how it measures, which the frameworks do by different means.
MEASURES = ".memory"
# Words that stand for the same thing in each half's documentation.
WORDS = (
    ("MXNet lists", "PyTorch lists"),
    (" (CUDA or Apple's MPS)", ""),
    ("; an NDArray or a Symbol. A Symbol", ""),
)


pytestmark = pytest.mark.needs_mxnet


def names(module: str) -> list[str]:
    half = halves(module)[1]
    return [
        name
        for name in half.__all__
        if callable(getattr(half, name)) and (module, name) not in EXCEPTIONS
    ]


PUBLIC = [(module, name) for module in MODULES for name in names(module)]
CLASSES = [
    (module, name)
    for module, name in PUBLIC
    if inspect.isclass(getattr(halves(module)[1], name))
]


def methods(cls: type) -> dict[str, Any]:
    """The public methods that a class defines itself, and its constructor."""
    return {
        name: member
        for name, member in vars(cls).items()
        if inspect.isfunction(member)
        and (name == "__init__" or not name.startswith("_"))
        and ("*", name) not in EXCEPTIONS
    }


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [
        (p.name, p.default, p.kind)
        for p in inspect.signature(function).parameters.values()
    ]


def pairs_of_callables() -> Iterator[Any]:
    for module, name in PUBLIC:
        one, two = (getattr(half, name) for half in halves(module))
        if inspect.isclass(one):
            for method in methods(one):
                yield pytest.param(
                    getattr(one, method),
                    getattr(two, method, None),
                    id=f"{name}.{method}",
                )
        else:
            yield pytest.param(one, two, id=name)


CALLABLES = list(pairs_of_callables())


def test_same_files() -> None:
    gluon = [module.name for module in pkgutil.iter_modules(d2lutils.gluon.__path__)]
    assert sorted(gluon) == sorted(MODULES)
    assert {"blocks", "devices", "residual", "shortcuts", "training"} <= set(gluon)


@pytest.mark.parametrize("module", MODULES)
def test_same_names(module: str) -> None:
    one, two = halves(module)
    shared = [
        [name for name in half.__all__ if (module, name) not in EXCEPTIONS]
        for half in (one, two)
    ]
    assert shared[0] == shared[1]
    for half in (one, two):
        order = sorted(half.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n))
        assert order == list(half.__all__), "constants, classes, functions, each sorted"
        own = {
            name
            for name, value in vars(half).items()
            if getattr(value, "__module__", None) == half.__name__
            and callable(value)
            and not name.startswith("_")
        }
        public = {name for name in half.__all__ if callable(getattr(half, name))}
        assert own == public, "public, but not in __all__, or the reverse"


@pytest.mark.parametrize("module", MODULES)
def test_same_order(module: str) -> None:
    """The same definitions stand in the same order, helpers included."""
    one, two = (
        re.findall(r"^(?:def|class) (\w+)", inspect.getsource(half), re.M)
        for half in halves(module)
    )
    common = [name for name in one if name in two]
    assert common == [name for name in two if name in one]
    assert set(names(module)) <= set(common)


@pytest.mark.parametrize(("one", "two"), CALLABLES)
def test_same_parameters(one: Any, two: Any) -> None:
    assert two is not None
    assert parameters(one) == parameters(two)


@pytest.mark.parametrize(("module", "name"), CLASSES)
def test_same_methods(module: str, name: str) -> None:
    one, two = (list(methods(getattr(half, name))) for half in halves(module))
    assert one == two


def undocumented(function: Any, path: str) -> list[str]:
    """What is missing: a docstring, or a type hint of a parameter or of the result."""
    signature = inspect.signature(function)
    missing = [
        f"{path}: {p.name} has no type hint"
        for p in signature.parameters.values()
        if p.annotation is p.empty and p.name != "self"
    ]
    if signature.return_annotation is signature.empty:
        missing.append(f"{path}: no type of the result")
    if not function.__doc__ and function.__name__ != "__init__":
        missing.append(f"{path}: no docstring")
    return missing


@pytest.mark.parametrize(("one", "two"), CALLABLES)
def test_hints_and_docstrings(one: Any, two: Any) -> None:
    for function in (one, two):
        path = f"{function.__module__}.{function.__qualname__}"
        assert undocumented(function, path) == []


CORE = (_arguments, _errors, _inputs, _training, data, ledger, lifetimes, nets)
CORE += (parity, shapes, timing)


@pytest.mark.parametrize("module", CORE, ids=lambda m: m.__name__.rpartition(".")[2])
def test_core_has_hints_and_docstrings(module: Any) -> None:
    public = [name for name in vars(module) if not name.startswith("_")]
    for name in getattr(module, "__all__", public):
        member = getattr(module, name)
        if getattr(member, "__module__", "").split(".")[0] != "d2lutils":
            continue
        if inspect.isclass(member):
            assert member.__doc__, f"{name} has no docstring"
            assert not member.__doc__.startswith(f"{name}("), f"{name}: dataclass's own"
        elif inspect.isfunction(member):
            assert undocumented(member, name) == []


def arguments(function: Any) -> list[str]:
    """The names under "Args:" in a docstring."""
    section = re.search(
        r"^Args:\n(.*?)(?=^\S|\Z)", inspect.getdoc(function) or "", re.M | re.S
    )
    if section is None:
        return []
    found = re.findall(r"^ {4}(\w[\w, ]*):", section[1], re.M)
    return [name.strip() for names in found for name in names.split(",")]


def documented() -> Iterator[Any]:
    for module, name in PUBLIC:
        yield pytest.param(*(getattr(half, name) for half in halves(module)), id=name)


@pytest.mark.parametrize(("one", "two"), list(documented()))
def test_same_documentation(one: Any, two: Any) -> None:
    assert arguments(one) == arguments(two)
    signature = [n for n in inspect.signature(two).parameters if n != "self"]
    if arguments(two):
        assert arguments(two) == signature, "Args: and the signature differ"
    texts = []
    for function in (one, two):
        text = inspect.getdoc(function) or ""
        for words, others in WORDS:
            text = text.replace(words, others)
        texts.append(text)
    # The first sentence is the same, the rest nearly: each has its own remarks.
    assert texts[0].split(".")[0] == texts[1].split(".")[0]
    if one.__module__.endswith(MEASURES):
        return
    assert difflib.SequenceMatcher(None, *texts, autojunk=False).ratio() > 0.7


def test_the_reader_of_arguments_reads() -> None:
    """This test would be empty if `arguments` found none."""
    assert arguments(halves("blocks")[0].ConvChunk) == [
        *("in_channels", "channels", "kernel_size", "stride", "padding", "bias"),
        *("relu", "rank"),
    ]


@pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])
@pytest.mark.parametrize("module", MODULES)
def test_lines_fit_into_a_column_of_the_page(module: str, half: int) -> None:
    lines = inspect.getsource(halves(module)[half]).splitlines()
    assert [line for line in lines if len(line) > 72] == []


def test_exceptions_are_used() -> None:
    defined = {
        name
        for module, cls in CLASSES
        for half in halves(module)
        for name in vars(getattr(half, cls))
    }
    defined |= {name for m in MODULES for half in halves(m) for name in half.__all__}
    assert {name for _, name in EXCEPTIONS} <= defined
