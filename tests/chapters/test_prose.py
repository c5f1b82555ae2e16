"""No number without evidence on the pages that are no notebooks; and the rule itself.

A page's evidence is its own code blocks, the cells that it shows (``{cells}``), and the
cells that it links to (``../chapters/nin.ipynb#cell-0f8b3da4``), section by section.
Notebooks are judged in `test_form`, the data of lists in `tests/book/test_data_files`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import prose
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from tools import notebook

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "book").glob("*.md"))
SHOWN = re.compile(r"\{cells\}\s+(\S+)((?:\s+[0-9a-f]{8})+)")
LINKED = re.compile(
    r"\((?:\.\./)?(chapters/(?:further/)?\w+)\.ipynb#cell-([0-9a-f]{8})\)"
)


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


def numbers(text: str) -> list[str]:
    """The numbers of a page that have no evidence."""
    return [planted.number for planted in prose.planted_numbers(as_cells(text))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_number_without_evidence(path: Path) -> None:
    found = prose.planted_numbers(as_cells(path.read_text("utf-8")))
    assert [f"{planted.number}: {planted.sentence}" for planted in found] == []


def test_blocks_and_cells_that_are_shown_or_linked_are_evidence() -> None:
    block = "```{cells} chapters/residual_chunks bd9a6fbf c888bbaf\n```\n"
    link = "[here](../chapters/residual_chunks.ipynb#cell-c888bbaf)"
    assert numbers(f"# Page\n\nSo 27 and 64, not 28.\n\n{block}") == ["28"]
    assert numbers(f"# Page\n\nSo 27 and 64, not 28, {link}.") == ["28"]
    page = "# Page\n\n## One\n\n```\nn = 81\n```\n\nSo 81.\n\n## Two\n\nSo 81, too."
    assert numbers(page) == ["81"]


OUTPUT = new_output("stream", name="stdout", text="(2, 10, 64) 98.06% 1e-10 0.965\n")
HTML = new_output(
    "display_data",
    data={"text/html": "<style>p{width:77px}</style><td>1,772,706</td>"},
)


def planted(text: str, heading: str = "## A section") -> list[str]:
    """The numbers of a section of a chapter that have no evidence."""
    code = new_code_cell("kernel = 27 + 64\n", outputs=[OUTPUT, HTML])
    empty = new_markdown_cell("# Title\n\n## Another\n\nWith nothing.")
    cells = [empty, new_markdown_cell(f"{heading}\n\n{text}"), code]
    return [found.number for found in prose.planted_numbers(cells)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("It reaches 97.3% in the end.", "97.3%"),
        ("It takes 5 ms.", "5 ms"),
        ("It is 3 times faster.", "3 times faster"),
        ("A factor of .4 remains.", ".4"),
        ("The bound is $10^{-9}$.", "1e-9"),
        ("The sum is `27 + 65`.", "65"),
        ("| a | 81 |\n|---|---|", "81"),
        ("<p>Width 81</p>", "81"),
        ("First [this](https://example.org/2).\nThen 81 of them.", "81"),
        ("The width is 77.", "77"),  # a style sheet is no evidence
        ("It was 0.966, [they say](references.html).", "0.966"),
    ],
)
def test_a_planted_number_is_caught(text: str, number: str) -> None:
    assert planted(text) == [number]


@pytest.mark.parametrize(
    "text",
    [
        "Three chunks, 3 of them, 10 channels. The numbers 0, 1 and 10.",
        "It reaches 98.06 % (that is 0.965, or 96.5 %).",
        "Within $10^{-10}$, that is `1e-10`.",
        "The sum is `27 + 64`, in math $27+64$.",
        "A shape of 27x64, or 27 × 64, or $27 \\times 64$.",
        "A ResNet-110 on CIFAR-10 in float64, Conv2d and x86-64, 64-bit.",
        "MXNet 1.9.1 was retired in 2023; Python 3.11 and NumPy 1.26 run it.",
        "They report 6.43 % ([He et al., 2015](../book/references.md#he2015deep)).",
        "See [this page](https://example.org/2016/1234.html) <https://x.org/55>.",
        "1. first\n2. second\n11. eleventh",
        "```python\n## 27\nx = 64\n```\n\nStill 64.",
    ],
)
def test_a_rightful_number_passes(text: str) -> None:
    assert planted(text) == []


def test_sections_have_their_own_evidence_and_the_first_has_the_opening() -> None:
    cells: list[Any] = [
        new_markdown_cell("# Title\n\nWhy 81?"),
        new_markdown_cell("## One"),
        new_code_cell("width = 81"),
        new_markdown_cell("It is 81.\n\n## Two\n\nIt was 81."),
    ]
    (found,) = prose.planted_numbers(cells)
    assert str(found).startswith("cell 3: 81 is in no code or output")
    assert found.sentence == "It was 81."
    assert planted("arXiv 1512.03385, pages 770 to 778, 2016", "## References") == []
