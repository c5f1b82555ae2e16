"""Rows of two spellings, Gluon's and PyTorch's, each with a check that runs.

A row is two small functions, one for each framework, and a judge that runs both and
says how far their results are apart. What a table shows is the source of the functions
that ran, so a spelling on the page cannot be another than the one that was checked.

The topics here are what a Gluon user looks for; `halves` lists every name of this
book's own package, whose two halves run the same line. Importing this imports neither
framework.
"""

from __future__ import annotations

import importlib
from typing import Any

from d2lutils.porting.differences import cards
from d2lutils.porting.rows import BOUND, Row, WrongRowError, markdown_table
from d2lutils.porting.source import spelling

__all__ = [
    "BOUND",
    "TOPICS",
    "Row",
    "WrongRowError",
    "cards",
    "rows",
    "spelling",
    "table",
]

#: The modules that hold rows, in the order of the page. They are named in full: so
#: `make execute` finds them, and runs the page again when a row has changed.
TOPICS = {
    "arrays": "d2lutils.porting.arrays",
    "operators": "d2lutils.porting.operators",
    "layers": "d2lutils.porting.layers",
    "initializers": "d2lutils.porting.initializers",
    "losses": "d2lutils.porting.losses",
    "optimizers": "d2lutils.porting.optimizers",
    "autograd": "d2lutils.porting.autograd",
    "data": "d2lutils.porting.data",
    "files": "d2lutils.porting.files",
}


def rows(topic: str) -> list[Row]:
    """The rows of a topic; this imports both frameworks.

    Raises:
        ValueError: no such topic.
    """
    if topic not in TOPICS:
        raise ValueError(
            f"rows: topic must be one of {', '.join(TOPICS)}, got {topic!r}"
        )
    found: list[Row] = importlib.import_module(TOPICS[topic]).ROWS
    return found


def table(topic: str) -> Any:
    """Check a topic, then show it as a table.

    Raises:
        WrongRowError: a row's check fails; then there is no table.
    """
    found = rows(topic)
    for row in found:
        row.check()
    heads = ("what", "Gluon", "PyTorch", "found")
    return markdown_table(heads, [row.cells() for row in found])
