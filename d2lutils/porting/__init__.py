"""Tables of equivalent code in Gluon and PyTorch; each row is run and compared.

A row has two small functions, its spellings in the two frameworks, and a judge that
runs both and measures how far their results are apart. A table shows the source of the
functions that ran, so the page cannot show code that was not compared.

The topics here are those that a Gluon user looks for. `halves` compares this package's
own halves, name by name. Importing this module imports neither framework.
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

#: The modules with rows, in the order of the page. Their full names let `make execute`
#: find them, so that it runs the page again when a row changes.
TOPICS = {
    "arrays": "d2lutils.porting.arrays",
    "operators": "d2lutils.porting.operators",
    "layers": "d2lutils.porting.layers",
    "initializers": "d2lutils.porting.initializers",
    "losses": "d2lutils.porting.losses",
    "optimizers": "d2lutils.porting.optimizers",
    "autograd": "d2lutils.porting.autograd",
    "data": "d2lutils.porting.data",
    "devices": "d2lutils.porting.devices",
    "files": "d2lutils.porting.files",
}


def rows(topic: str) -> list[Row]:
    """The rows of a topic; this imports both frameworks.

    Raises:
        ValueError: an unknown topic.
    """
    if topic not in TOPICS:
        raise ValueError(
            f"rows: topic must be one of {', '.join(TOPICS)}, got {topic!r}"
        )
    found: list[Row] = importlib.import_module(TOPICS[topic]).ROWS
    return found


def table(topic: str) -> Any:
    """Check the rows of a topic on the CPU, and show them as a table.

    Raises:
        WrongRowError: a row's results are not what it says.
    """
    import torch

    from d2lutils.compat import mx

    found = rows(topic)
    with torch.device("cpu"), mx.cpu():  # whatever device the page computes on
        for row in found:
            row.check()
    heads = ("what", "Gluon", "PyTorch", "found")
    return markdown_table(heads, [row.cells() for row in found])
