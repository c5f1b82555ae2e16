"""The two halves mirror each other: files, names, signatures, documentation."""

from __future__ import annotations

import difflib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest
from nets import MODULES, halves

import d2lutils.gluon
from d2lutils import (
    _arguments,
    _errors,
    _inputs,
    _training,
    data,
    ledger,
    parity,
    shapes,
    timing,
)
from d2lutils.porting.halves import ONE_SIDED, methods

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
        if callable(getattr(half, name)) and name not in ONE_SIDED
    ]


PUBLIC = [(module, name) for module in MODULES for name in names(module)]
public = pytest.mark.parametrize(("module", "name"), PUBLIC)


def both(module: str, name: str) -> Iterator[Any]:
    return (getattr(half, name) for half in halves(module))


def test_same_files() -> None:
    gluon = [module.name for module in pkgutil.iter_modules(d2lutils.gluon.__path__)]
    assert sorted(gluon) == sorted(MODULES)
    assert {"blocks", "devices", "residual", "shortcuts", "training"} <= set(gluon)


@pytest.mark.parametrize("module", MODULES)
def test_same_names(module: str) -> None:
    one, two = halves(module)
    shared = [
        [name for name in half.__all__ if name not in ONE_SIDED] for half in (one, two)
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


@public
def test_methods_in_the_same_order(module: str, name: str) -> None:
    """Their arguments are compared by `test_halves.py`, which has a row for each."""
    one, two = both(module, name)
    if inspect.isclass(two):
        assert list(methods(one)) == list(methods(two))


@public
def test_docstrings(module: str, name: str) -> None:
    for half in both(module, name):
        own = methods(half).values() if inspect.isclass(half) else [half]
        for function in own:
            assert function.__doc__ or function.__name__ == "__init__", function


CORE = (_arguments, _errors, _inputs, _training, data, ledger)
CORE += (parity, shapes, timing)


@pytest.mark.parametrize("module", CORE, ids=lambda m: m.__name__.rpartition(".")[2])
def test_core_has_docstrings(module: Any) -> None:
    public = [name for name in vars(module) if not name.startswith("_")]
    for name in getattr(module, "__all__", public):
        member = getattr(module, name)
        if getattr(member, "__module__", "").split(".")[0] != "d2lutils":
            continue
        if inspect.isclass(member):
            assert member.__doc__, f"{name} has no docstring"
            assert not member.__doc__.startswith(f"{name}("), f"{name}: dataclass's own"
        elif inspect.isfunction(member):
            assert member.__doc__, f"{name} has no docstring"


def arguments(function: Any) -> list[str]:
    """The names under "Args:" in a docstring."""
    section = re.search(
        r"^Args:\n(.*?)(?=^\S|\Z)", inspect.getdoc(function) or "", re.M | re.S
    )
    if section is None:
        return []
    found = re.findall(r"^ {4}(\w[\w, ]*):", section[1], re.M)
    return [name.strip() for names in found for name in names.split(",")]


@public
def test_same_documentation(module: str, name: str) -> None:
    one, two = both(module, name)
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
    """`test_same_documentation` would be empty if `arguments` found none."""
    assert {"in_channels", "stride"} < set(arguments(halves("blocks")[0].ConvChunk))


@pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])
@pytest.mark.parametrize("module", MODULES)
def test_lines_fit_into_a_column_of_the_page(module: str, half: int) -> None:
    lines = inspect.getsource(halves(module)[half]).splitlines()
    assert [line for line in lines if len(line) > 72] == []
