"""The two halves of the package, Gluon's and PyTorch's, compared name by name.

A row of `own_blocks` is one line, such as `lambda: ConvChunk(2, 8, 3)`, that runs in
both halves with the same arguments and inputs. The judge compares the results; the
signatures must be equal, too. A failing row names the quantities that differ. The
parity page shows the findings. The tests assert that every public name has a row and
that every judge notices a planted difference.

Importing this module imports both frameworks.
"""

from __future__ import annotations

import functools
import html
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from d2lutils import _errors
from d2lutils.porting.judges import rebound
from d2lutils.porting.rows import Found, Judge, Quantity, Row, Spelling, markdown_table
from d2lutils.porting.source import spelling

__all__ = [
    "MODULES",
    "ONE_SIDED",
    "compared",
    "find",
    "findings",
    "methods",
    "names",
    "overview",
    "own",
    "planted",
    "planted_table",
    "signatures",
    "subject",
    "table",
]

#: Gluon's modules; PyTorch's have the same names. Their full names let `make execute`
#: find them, so that it runs the page again when a block changes.
MODULES = (
    "d2lutils.gluon.blocks",
    "d2lutils.gluon.condconv",
    "d2lutils.gluon.devices",
    "d2lutils.gluon.inputs",
    "d2lutils.gluon.memory",
    "d2lutils.gluon.nin",
    "d2lutils.gluon.padded_sums",
    "d2lutils.gluon.pyramidnet",
    "d2lutils.gluon.residual",
    "d2lutils.gluon.resnet",
    "d2lutils.gluon.shortcuts",
    "d2lutils.gluon.squeeze_excite",
    "d2lutils.gluon.stochastic_depth",
    "d2lutils.gluon.training",
    "d2lutils.gluon.weightnet",
)
_ROWS = "d2lutils.porting.own_blocks"

#: Public names that only one half has: that half, and the reason.
ONE_SIDED = {
    "vmapped": ("PyTorch", "MXNet cannot vectorise a function over the batch"),
    "step_trace": (
        "PyTorch",
        "MXNet frees memory a while after the last use, in an order of its own",
    ),
    "operators": ("Gluon", "PyTorch has one kind of tensor"),
    "planned_bytes": ("Gluon", "PyTorch plans no memory before it runs"),
}
# Methods for a block's graph; PyTorch's blocks need none.
_GLUON_ONLY = ("hybrid_forward", "hybridize", "export")

Names = dict[str, Any]

#: The columns of the tables, by kind of judge.
COLUMNS = {
    "net": (
        *("in both halves", "arguments", "one pass", "five steps", "float32"),
        *("parameters", "shown in"),
    ),
    "function": (
        *("in both halves", "arguments", "values and gradients", "Gluon refuses"),
        "shown in",
    ),
    "rest": ("in both halves", "arguments", "found", "not compared", "shown in"),
}
_FOUND = ("one pass", "five steps", "values and gradients", "found")


@functools.cache
def names(half: str) -> Names:
    """All public names of a half, "gluon" or "pytorch", which this imports."""
    found: Names = {}
    for path in MODULES:
        module = importlib.import_module(path.replace("gluon", half))
        found |= {name: getattr(module, name) for name in module.__all__}
    return found


def own(judge: Judge, chapter: str = "") -> Callable[..., Row]:
    """A function that makes a row from one line, which runs in both halves.

    The line is a function of the judge's inputs, or a function without arguments that
    makes the block to call with them. `beside` says what is not compared, and why. A
    row with a planted difference has an `other` line for PyTorch.

    Args:
        judge: compares the results.
        chapter: the chapter that shows the block; "" if none does.
    """

    def spelled(
        line: Spelling, *, other: Spelling | None = None, beside: str = ""
    ) -> Row:
        name = _call(line, judge)
        return Row(name, line, other or line, judge, chapter=chapter, beside=beside)

    return spelled


def _call(line: Spelling, judge: Judge) -> str:
    """A row's line as text; for a line that makes a block, also the block's inputs."""
    text = " ".join(spelling(line))
    if judge.kind == "rest" or line.__code__.co_argcount:
        return text
    arguments = [
        name if isinstance(each, (tuple, np.ndarray)) else repr(each)
        for name, each in judge.inputs.items()
    ]
    return f"{text}({', '.join(arguments)})"


def _sizes(inputs: Names) -> str:
    """The inputs of a call as text: shapes, or the code that makes a net."""
    words = []
    for name, each in inputs.items():
        if callable(each):
            words.append(f"{name} = `{' '.join(spelling(each))}`")
        elif isinstance(each, (tuple, np.ndarray)):
            words.append(f"{name} {getattr(each, 'shape', each)}")
    return ", ".join(words)


def subject(row: Row) -> str:
    """The name that a row is about: the first public one in its line."""
    return next(n for n in row.pytorch.__code__.co_names if n in names("pytorch"))


def find(row: Row, spoilt: Names | None = None) -> Found:
    """Run a row in both halves and compare them.

    Args:
        row: one of `own_blocks`.
        spoilt: objects that replace PyTorch's, by name.

    Returns:
        The quantities, that of the signature first, and the cells of the page's tables.
    """
    one, two = names("gluon"), names("pytorch") | (spoilt or {})
    name, judge = subject(row), row.judge
    try:
        found = judge(rebound(row.gluon, one), rebound(row.pytorch, two))
    except Exception as error:
        why = f"{type(error).__name__}: {_errors.reason(error)}"
        failed = Quantity("running it", "", 0.0, float("inf"), why)
        # Escaped for a Markdown table, where "<class 'int'>" would be a tag.
        shown = html.escape(why, quote=False).replace("|", "\\|")
        column = next(column for column in COLUMNS[judge.kind] if column in _FOUND)
        found = Found([failed], {column: f"**fails:** {shown}"})
    arguments, said = signatures(one[name], two[name])
    inputs = found.cells.pop("inputs", _sizes(judge.inputs))
    cells = {
        "in both halves": f"`{row.name}`{f'<br>{inputs}' if inputs else ''}",
        "arguments": said,
        "not compared": row.beside,
    }
    if row.chapter:
        link = f"../chapters/{row.chapter}.ipynb"
        cells["shown in"] = f"[{_title(row.chapter)}]({link})"
    return Found([*arguments, *found.quantities], cells | found.cells)


# -- signatures ------------------------------------------------------------------------


def signatures(one: Any, two: Any) -> tuple[list[Quantity], str]:
    """Compare the names, order, defaults and kinds of arguments.

    For a class, those of its constructor and of every public method. Returns the
    quantity, and the page's cell with the number of arguments.
    """
    if not callable(two):
        return [], "–"
    pairs = {"the call": (one, two)}
    if inspect.isclass(two):
        pairs = {
            name: (getattr(one, name, None), getattr(two, name, None))
            for name in {**methods(two), **methods(one)}
        }
    unlike = [name for name, (a, b) in pairs.items() if _arguments(a) != _arguments(b)]
    said = f"{len(inspect.signature(two).parameters)}, the same"
    if unlike:
        said = f"**differ** in {', '.join(unlike)}"
    difference = float("inf") if unlike else 0.0
    return [Quantity("arguments", "", 0.0, difference, ", ".join(unlike))], said


def methods(cls: Any) -> dict[str, Any]:
    """A class's constructor and the public methods that it defines itself."""
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


#: Rows, each with its result.
Findings = list[tuple[Row, Found]]


def findings() -> dict[str, Findings]:
    """Compare all rows; the results by subject."""
    topics: dict[str, list[Row]] = importlib.import_module(_ROWS).TOPICS
    return {topic: [(row, find(row)) for row in rows] for topic, rows in topics.items()}


def planted() -> Findings:
    """Compare rows with a planted difference, to show that it is found."""
    rows: list[Row] = importlib.import_module(_ROWS).PLANTED
    return [(row, find(row)) for row in rows]


def _title(chapter: str) -> str:
    """A chapter's file name as a title."""
    names = {"nin": "NiN", "pyramidnet": "PyramidNet", "condconv": "CondConv"}
    return " ".join(names.get(word, word) for word in chapter.split("_"))


def table(findings: Findings, kind: str) -> Any:
    """The findings of one kind as a Markdown table.

    Raises:
        ValueError: there are none of that kind.
    """
    lines = [found.cells for row, found in findings if row.judge.kind == kind]
    if not lines:
        raise ValueError(f"table: nothing among these is of kind {kind!r}")
    columns = COLUMNS[kind]
    return markdown_table(columns, [[x.get(c) or "–" for c in columns] for x in lines])


def planted_table(findings: Findings) -> Any:
    """The findings of `planted` as a table: both calls and the difference."""
    lines = []
    for row, found in findings:
        calls = [f"`{_call(line, row.judge)}`" for line in (row.gluon, row.pytorch)]
        said = [text for column, text in found.cells.items() if column in _FOUND]
        lines.append([*calls, "<br>".join(said)])
    return markdown_table(["Gluon", "PyTorch", "found"], lines)


def overview(topics: dict[str, Findings]) -> Any:
    """A table of the numbers of names, calls, equal and unequal results by subject."""
    from d2lutils import show

    rows, refused = [], 0
    for topic, findings in topics.items():
        equal = [found.ok for row, found in findings if compared(row, found)]
        names = len({subject(row) for row, _ in findings})
        rows.append([topic, names, len(findings), sum(equal), equal.count(False)])
        refused += len(findings) - len(equal)
    sums = [sum(column) for column in list(zip(*rows, strict=True))[1:]]
    return show.table(
        [*rows, ["all", *sums]],
        ["subject", "names", "calls", "equal", "unequal"],
        caption=f"Calls that Gluon refuses, so that nothing can be compared: {refused}",
    )


def compared(row: Row, found: Found) -> bool:
    """Whether results were compared; False if Gluon refuses all of the row's calls."""
    kinds = {quantity.quantity.split(",")[0] for quantity in found.quantities}
    return row.judge.kind == "rest" or not kinds <= {"arguments", "refusal"}
