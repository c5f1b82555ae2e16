"""The rule for numbers in prose on the pages that are no notebooks.

A page's evidence is its own code blocks, the cells that it shows (``{cells}``), and the
cells that it links to (``../chapters/nin.ipynb#cell-0f8b3da4``), section by section.
The lists on the pages come from data; `tests/book/test_data_files.py` judges these.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import prose
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from tools import notebook

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "book").glob("*.md"))
SHOWN = re.compile(r"\{cells\}\s+(\S+)((?:\s+[0-9a-f]{8})+)")
LINKED = re.compile(r"\((?:\.\./)?(chapters/\w+)\.ipynb#cell-([0-9a-f]{8})\)")


def stored(document: str, name: str) -> Any:
    """A cell of a notebook by its id."""
    cells = notebook.read(ROOT / f"{document}.ipynb").cells
    return next(cell for cell in cells if cell.id == name)


def as_cells(text: str) -> list[Any]:
    """A Markdown page as the cells of a notebook."""
    # The title of the page is no section; a page that is one section is that section.
    text = re.sub(r"\A# References$", "## References", text, flags=re.MULTILINE)
    cells: list[Any] = []
    for piece in re.split(r"^(?=## )", text, flags=re.MULTILINE):
        fences = [match[0] for match in prose.FENCE.finditer(piece)]
        cells.append(new_markdown_cell(prose.FENCE.sub("", piece)))
        for document, names in (m.groups() for f in fences for m in SHOWN.finditer(f)):
            cells += [stored(document, name) for name in names.split()]
        cells += [new_code_cell(f) for f in fences if not SHOWN.search(f)]
        cells += [stored(*match.groups()) for match in LINKED.finditer(piece)]
    return cells


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_number_without_evidence(path: Path) -> None:
    found = prose.planted_numbers(as_cells(path.read_text("utf-8")))
    assert [f"{planted.number}: {planted.sentence}" for planted in found] == []


def numbers(text: str) -> list[str]:
    return [planted.number for planted in prose.planted_numbers(as_cells(text))]


def test_a_planted_number_on_a_page_is_caught() -> None:
    assert numbers("# Page\n\n## One\n\nIt reaches 97.3 %. So 81.") == ["97.3 %", "81"]
    page = "# Page\n\n## One\n\n```\nn = 81\n```\n\nSo 81.\n\n## Two\n\nSo 81, too."
    assert numbers(page) == ["81"]


def test_cells_that_are_shown_or_linked_are_evidence() -> None:
    block = "```{cells} chapters/residual_chunks bd9a6fbf c888bbaf\n```\n"
    link = "[here](../chapters/residual_chunks.ipynb#cell-c888bbaf)"
    assert numbers(f"# Page\n\nSo 27 and 64, not 28.\n\n{block}") == ["28"]
    assert numbers(f"# Page\n\nSo 27 and 64, not 28, {link}.") == ["28"]
