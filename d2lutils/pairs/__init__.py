"""Every mirrored pair, each with the call that compares its two halves.

A pair is one line of text, such as `ConvChunk(2, 8, 3)(x)`, that runs in both halves
of the package: the same name, the same arguments, the same inputs. A judge runs it
and gives back rows with a bound, as `parity.compare` does, so that a pair which is
not equal says in which quantity. The parity page shows what was found; the tests
assert that every public name is here and that every judge can say no.

Importing this imports neither framework.
"""

from __future__ import annotations

import ast
import functools
import html
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from d2lutils import checks
from d2lutils.parity import Row

__all__ = [
    "MODULES",
    "ONE_SIDED",
    "Finding",
    "Judge",
    "Pair",
    "Result",
    "findings",
    "namespace",
    "overview",
    "planted",
    "planted_table",
    "table",
]

#: Gluon's and PyTorch's half. They are named in full: so `make execute` finds them,
#: and runs the page again when a block has changed.
MODULES = {
    "blocks": ("d2lutils.gluon.blocks", "d2lutils.pytorch.blocks"),
    "condconv": ("d2lutils.gluon.condconv", "d2lutils.pytorch.condconv"),
    "devices": ("d2lutils.gluon.devices", "d2lutils.pytorch.devices"),
    "inputs": ("d2lutils.gluon.inputs", "d2lutils.pytorch.inputs"),
    "memory": ("d2lutils.gluon.memory", "d2lutils.pytorch.memory"),
    "nin": ("d2lutils.gluon.nin", "d2lutils.pytorch.nin"),
    "padded_sums": ("d2lutils.gluon.padded_sums", "d2lutils.pytorch.padded_sums"),
    "pyramidnet": ("d2lutils.gluon.pyramidnet", "d2lutils.pytorch.pyramidnet"),
    "residual": ("d2lutils.gluon.residual", "d2lutils.pytorch.residual"),
    "resnet": ("d2lutils.gluon.resnet", "d2lutils.pytorch.resnet"),
    "shortcuts": ("d2lutils.gluon.shortcuts", "d2lutils.pytorch.shortcuts"),
    "squeeze_excite": (
        "d2lutils.gluon.squeeze_excite",
        "d2lutils.pytorch.squeeze_excite",
    ),
    "stochastic_depth": (
        "d2lutils.gluon.stochastic_depth",
        "d2lutils.pytorch.stochastic_depth",
    ),
    "training": ("d2lutils.gluon.training", "d2lutils.pytorch.training"),
    "weightnet": ("d2lutils.gluon.weightnet", "d2lutils.pytorch.weightnet"),
}

#: Public names that one half alone has, and why.
ONE_SIDED = {
    "vmapped": ("PyTorch", "MXNet cannot vectorise a function over the batch"),
    "step_trace": (
        "PyTorch",
        "MXNet frees memory a while after the last use, in an order of its own",
    ),
    "operators": ("Gluon", "PyTorch has one kind of tensor"),
    "planned_bytes": ("Gluon", "PyTorch plans no memory before it runs"),
}
# Gluon's own halves of a method, which PyTorch needs no name for.
_GLUON_ONLY = ("hybrid_forward", "hybridize", "export")

Names = dict[str, Any]


@functools.cache
def namespace(half: int) -> Names:
    """All public names of a half: 0 is Gluon's, 1 PyTorch's. It imports that half."""
    names: Names = {}
    for paths in MODULES.values():
        module = importlib.import_module(paths[half])
        names |= {name: getattr(module, name) for name in module.__all__}
    return names


@dataclass
class Result:
    """What a judge found: rows, each with its bound, and cells for the page."""

    rows: list[Row]
    cells: dict[str, str]
    compared: bool = True


@dataclass(frozen=True)
class Judge:
    """A way to compare: `run` gets the pair, Gluon's names and PyTorch's names.

    `kind` is "net", "function" or "rest": the table in which a pair stands.
    """

    kind: str
    run: Callable[[Pair, Names, Names], Result]


@dataclass(frozen=True)
class Pair:
    """One public name, and how its two halves are compared.

    Attributes:
        call: what runs in both halves.
        judge: how the results are compared.
        chapter: the chapter that shows it; "" if none does.
        beside: what is not compared, and why.
        other: PyTorch's call, where a planted pair has another one.
    """

    call: str
    judge: Judge
    chapter: str = ""
    beside: str = ""
    other: str = ""

    @property
    def name(self) -> str:
        """The name that the call is about: the first in it that is ours."""
        tree = ast.walk(ast.parse(self.call))
        names = (node.id for node in tree if isinstance(node, ast.Name))
        return next(name for name in names if name in namespace(1))

    def calls(self) -> tuple[str, str]:
        """Gluon's call and PyTorch's: the same text, unless this is planted."""
        return self.call, self.other or self.call

    def find(self, one: Names | None = None, two: Names | None = None) -> Finding:
        """Run both halves and compare them.

        Args:
            one, two: names to take instead of Gluon's and PyTorch's own.
        """
        one, two = namespace(0) | (one or {}), namespace(1) | (two or {})
        signature, count = _signatures(one[self.name], two[self.name])
        try:
            result = self.judge.run(self, one, two)
        except Exception as error:
            why = f"{type(error).__name__}: {checks.reason(error)}"
            row = Row("running it", "", 0.0, float("inf"), why)
            # In a cell of a Markdown table, where "<class 'int'>" would be a tag.
            shown = html.escape(why, quote=False).replace("|", "\\|")
            column = "found" if self.judge.kind == "rest" else "one pass"
            result = Result([row], {column: f"**fails:** {shown}"})
        rows = [*signature, *result.rows]
        return Finding(self, rows, count, result.cells, result.compared)


@dataclass
class Finding:
    """What was found of a pair."""

    pair: Pair
    rows: list[Row]
    arguments: int | None
    cells: dict[str, str]
    compared: bool = True

    @property
    def ok(self) -> bool:
        """Whether the signature is the same and every row keeps its bound."""
        return bool(self.rows) and all(row.ok for row in self.rows)

    def line(self) -> dict[str, str]:
        """The cells of the page's table, by column, as Markdown."""
        name, chapter = f"`{self.pair.call}`", self.pair.chapter
        if self.cells.get("inputs"):
            name += f"<br>{self.cells['inputs']}"
        wrong = [row for row in self.rows if row.quantity == "arguments" and not row.ok]
        arguments = "–" if self.arguments is None else f"{self.arguments}, the same"
        shown = f"../chapters/{chapter}.ipynb"
        return self.cells | {
            "call": name,
            "arguments": f"**differ** in {wrong[0].worst}" if wrong else arguments,
            "not compared": self.pair.beside,
            "shown in": f"[{_title(chapter)}]({shown})" if chapter else "",
        }


# -- signatures ------------------------------------------------------------------------


def _signatures(one: Any, two: Any) -> tuple[list[Row], int | None]:
    """Whether names, order, defaults and kinds of arguments are the same.

    Of a class those of its constructor and of every public method; also how many
    arguments a caller has, or None for what cannot be called.
    """
    if not callable(two):
        return [], None
    pairs = {"the call": (one, two)}
    if inspect.isclass(two):
        pairs = {
            name: (getattr(one, name, None), getattr(two, name, None))
            for name in {**_methods(two), **_methods(one)}
        }
    unlike = [name for name, (a, b) in pairs.items() if _arguments(a) != _arguments(b)]
    count = len(inspect.signature(two).parameters)
    difference = float("inf") if unlike else 0.0
    return [Row("arguments", "", 0.0, difference, ", ".join(unlike))], count


def _methods(cls: Any) -> dict[str, Any]:
    return {
        name: member
        for name, member in vars(cls).items()
        if inspect.isfunction(member)
        and (name == "__init__" or not name.startswith("_"))
        and name not in _GLUON_ONLY
    }


def _arguments(function: Any) -> list[tuple[str, Any, Any]] | None:
    if function is None:
        return None
    found = inspect.signature(function).parameters.values()
    return [(p.name, p.default, p.kind) for p in found]


# -- the page --------------------------------------------------------------------------


def findings() -> dict[str, list[Finding]]:
    """Compare all pairs; by subject. This imports both frameworks."""
    topics: dict[str, list[Pair]] = _listed().TOPICS
    return {topic: [pair.find() for pair in pairs] for topic, pairs in topics.items()}


def planted() -> list[Finding]:
    """Compare what is not equal, to see that it is found."""
    pairs: list[Pair] = _listed().PLANTED
    return [pair.find() for pair in pairs]


def _listed() -> Any:
    return importlib.import_module("d2lutils.pairs.listed")


def _title(chapter: str) -> str:
    """A chapter's file name in words."""
    names = {"nin": "NiN", "pyramidnet": "PyramidNet", "condconv": "CondConv"}
    return " ".join(names.get(word, word) for word in chapter.split("_"))


#: The columns of the tables, and what stands above them.
COLUMNS = {
    "net": {
        "call": "in both halves",
        "arguments": "arguments",
        "one pass": "one pass",
        "five steps": "five steps",
        "float32": "float32",
        "parameters": "parameters",
        "shown in": "shown in",
    },
    "function": {
        "call": "in both halves",
        "arguments": "arguments",
        "one pass": "values and gradients",
        "refuses": "Gluon refuses",
        "shown in": "shown in",
    },
    "rest": {
        "call": "in both halves",
        "arguments": "arguments",
        "found": "found",
        "not compared": "not compared",
        "shown in": "shown in",
    },
}


def table(found: list[Finding], kind: str) -> Any:
    """The findings of one kind as a Markdown table.

    Raises:
        ValueError: none is of that kind.
    """
    lines = [each.line() for each in found if each.pair.judge.kind == kind]
    if not lines:
        raise ValueError(f"table: nothing among these is of kind {kind!r}")
    columns = COLUMNS[kind]
    return _markdown(
        list(columns.values()),
        [[line.get(key) or "–" for key in columns] for line in lines],
    )


def planted_table(found: list[Finding]) -> Any:
    """What `planted` found: both calls, which are not the same, and what differs."""
    lines = []
    for each in found:
        calls = [f"`{call}`" for call in each.pair.calls()]
        said = [each.cells.get(key, "") for key in ("one pass", "five steps", "found")]
        lines.append([*calls, "<br>".join(text for text in said if text)])
    return _markdown(["Gluon", "PyTorch", "found"], lines)


def _markdown(heads: list[str], lines: list[list[str]]) -> Any:
    from d2lutils import show

    text = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    return show.markdown("\n".join(text + [f"| {' | '.join(x)} |" for x in lines]))


def overview(found: dict[str, list[Finding]]) -> Any:
    """How many names and calls a subject has, and what was found of them."""
    from d2lutils import show

    rows, refused = [], 0
    for topic, findings in found.items():
        compared = [finding for finding in findings if finding.compared]
        equal = sum(finding.ok for finding in compared)
        names = len({finding.pair.name for finding in findings})
        rows.append([topic, names, len(findings), equal, len(compared) - equal])
        refused += len(findings) - len(compared)
    sums = [sum(column) for column in list(zip(*rows, strict=True))[1:]]
    return show.table(
        [*rows, ["all", *sums]],
        ["subject", "names", "calls", "equal", "unequal"],
        caption=f"Calls that Gluon refuses, so that nothing can be compared: {refused}",
    )
