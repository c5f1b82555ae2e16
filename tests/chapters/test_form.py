"""Every chapter and executed page has the book's form; and the rules can say no."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import form
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from tools import execute, notebook, stamp

NOTEBOOKS = execute.executed_notebooks()
BIBLIOGRAPHY = execute.ROOT / "book" / "references.bib"


def citation_keys() -> frozenset[str] | None:
    """The keys of the bibliography, or ``None`` where there is no file."""
    if not BIBLIOGRAPHY.exists():
        return None
    text = BIBLIOGRAPHY.read_text(encoding="utf-8")
    return frozenset(re.findall(r"^@\w+\{\s*([^,\s]+)\s*,", text, re.MULTILINE))


def rules_for(path: Path) -> dict[str, form.Rule]:
    """All rules for a chapter, the general ones for an executed page."""
    return form.RULES if path.parent.name == "chapters" else form.PAGE_RULES


@pytest.mark.parametrize(
    ("path", "name"),
    [
        pytest.param(path, name, id=f"{path.stem}-{name}")
        for path in NOTEBOOKS
        for name in rules_for(path)
    ],
)
def test_form(path: Path, name: str) -> None:
    if name == "citations" and citation_keys() is None:
        pytest.skip("book/references.bib is missing: citations cannot be judged")
    nb = form.Notebook(
        notebook.read(path).cells,
        path.stat().st_size,
        citation_keys(),
        path.parent.name,
    )
    found = list(form.RULES[name](nb))
    if found:
        why = form.RULES[name].__doc__ or ""
        pytest.fail("\n".join([f"{path.name}: {why}", *found]), pytrace=False)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_colab_knows_what_a_notebook_wants(path: Path) -> None:
    metadata = notebook.read(path).metadata
    if metadata.get("accelerator") != "GPU" or "colab" not in metadata:
        pytest.fail(f"{path.name} has no metadata for Colab: `make stamp`", False)
    assert metadata.colab == {"provenance": [], "toc_visible": True, "gpuType": "T4"}


# -- the rules can say no --------------------------------------------------------------

FILLER = "A block keeps its parts together and passes numbers through them. " * 90
FIGURE = new_output("display_data", data={"image/png": "aGk=", "text/plain": "<Fig>"})


def printed(text: str) -> Any:
    return new_output("stream", name="stdout", text=text)


def code(source: str, *outputs: Any, **metadata: Any) -> Any:
    return new_code_cell(source, outputs=list(outputs), metadata=metadata)


def good_chapter() -> list[Any]:
    """A chapter in miniature that keeps every rule."""
    cells = [
        new_markdown_cell(
            "# Trial\n\nYou will be able to tell.\n\n"
            "<details><summary>Predict</summary>\n\n- one\n- two\n\n</details>"
        ),
        code(
            f"import sys\n\n{stamp.block(stamp.configured())}\n\n"
            "from d2lutils import exercises, show\n\nshow.setup()"
        ),
        new_markdown_cell("## A problem\n\nA kernel of size 12. " + FILLER),
        code("# Gluon\nimport mxnet as mx\nsize = 12", tags=["gluon"]),
        code("# PyTorch\nimport torch\nsize = 12", tags=["pytorch"]),
        code(
            "# Gluon and PyTorch\nparity.compare(mx, torch)",
            printed("within 1e-10"),
            tags=["both"],
        ),
        code("draw()", FIGURE, mystnb={"image": {"alt": "A line that rises steeply."}}),
        new_markdown_cell("You predicted one of the two."),
        new_markdown_cell("## Questions people ask\n\nWhy?"),
        new_markdown_cell("## Where they differ\n\nHere."),
        new_markdown_cell("## Summary\n\nBecause."),
        new_markdown_cell(
            "## References\n\n[He et al., 2015](../book/references.md#he2015deep)"
        ),
        new_markdown_cell(
            "## Exercises\n\n### Why\n\n**conceptual** · `why`\n\nSay why.\n\n"
            "<details><summary>Answer</summary>Because.</details>\n\n"
            "### Why not\n\n**extended** · `why_not`\n\n"
            "<details><summary>Answer</summary>Because.</details>"
        ),
        new_markdown_cell("### Build it\n\n**code** · `build_it`\n\nWrite it."),
        code(
            "def f():\n    raise NotImplementedError\n\n\n"
            'exercises.check("build_it", f)',
            printed("build_it: not attempted yet\n"),
            tags=["exercise"],
        ),
        code(
            'def f():\n    return 1\n\n\nexercises.check("build_it", f)',
            printed("build_it: passed (3 inputs)\n"),
            tags=["solution", "hide-cell"],
            cellView="form",
            jupyter={"source_hidden": True},
        ),
    ]
    return copy.deepcopy(cells)


def complaints(cells: list[Any], rule: str, size: int = 1000) -> list[str]:
    nb = form.Notebook(cells, size, frozenset({"he2015deep"}))
    return list(form.RULES[rule](nb))


@pytest.mark.parametrize("rule", form.RULES)
def test_a_good_chapter_breaks_no_rule(rule: str) -> None:
    assert complaints(good_chapter(), rule) == []


def setting(position: int, source: str) -> Callable[[list[Any]], None]:
    def change(cells: list[Any]) -> None:
        cells[position].source = source

    return change


def replacing(position: int, old: str, new: str) -> Callable[[list[Any]], None]:
    def change(cells: list[Any]) -> None:
        assert old in cells[position].source
        cells[position].source = cells[position].source.replace(old, new)

    return change


def tagging(position: int, *tags: str) -> Callable[[list[Any]], None]:
    def change(cells: list[Any]) -> None:
        cells[position].metadata["tags"] = list(tags)

    return change


def printing(position: int, text: str) -> Callable[[list[Any]], None]:
    def change(cells: list[Any]) -> None:
        cells[position].outputs = [printed(text)]

    return change


def showing(position: int, data: dict[str, str]) -> Callable[[list[Any]], None]:
    def change(cells: list[Any]) -> None:
        cells[position].outputs = [new_output("display_data", data=data)]

    return change


def dropping(position: int) -> Callable[[list[Any]], None]:
    def change(cells: list[Any]) -> None:
        del cells[position]

    return change


def describing(position: int, alt: str) -> Callable[[list[Any]], None]:
    def change(cells: list[Any]) -> None:
        cells[position].metadata["mystnb"] = {"image": {"alt": alt}}

    return change


BROKEN = [
    ("title_first", replacing(0, "# Trial", "Trial")),
    ("title_first", replacing(2, "## A problem", "# A problem")),
    ("setup_cell", replacing(1, "show.setup()", "show")),
    ("setup_cell", replacing(1, '"google.colab"', '"colab"')),
    ("setup_cell", replacing(1, "-q --no-deps", "-q")),
    ("setup_cell", replacing(1, "    !python -m d2lutils colab\n\n", "\n")),
    ("setup_cell", replacing(1, "colab\n\nfrom", "colab\nfrom")),
    ("setup_cell", replacing(1, "import sys\n", "import sys\n\nx = 1\n")),
    ("setup_cell", replacing(1, "show.setup()", "x = 1\nshow.setup()")),
    ("setup_cell", replacing(1, "show.setup()", "import torch\nshow.setup()")),
    (
        "setup_cell",
        replacing(1, "exercises, show", "exercises, gluon, show"),
    ),
    ("collapsed", lambda cells: cells[15].metadata.pop("cellView")),
    ("collapsed", lambda cells: cells[15].metadata.pop("jupyter")),
    ("collapsed", lambda cells: cells[14].metadata.update(cellView="form")),
    ("prediction", replacing(0, "<details>", "")),
    ("prediction", replacing(7, "predicted", "thought of")),
    ("framework_tags", tagging(3)),
    ("framework_tags", tagging(3, "pytorch")),
    ("framework_tags", tagging(3, "gluon", "both")),
    ("framework_tags", tagging(14, "exercise", "raises-exception")),
    ("framework_tags", setting(3, "import mxnet as mx\n# Gluon")),
    ("names_where_frameworks_are_missing", setting(6, "mx.nd.ones(2)")),
    ("names_where_frameworks_are_missing", setting(4, "# PyTorch\nmx.nd.ones(2)")),
    ("cell_length", setting(6, "x = 1\n" * 16)),
    ("cell_length", setting(6, "\n")),
    ("line_width", setting(3, f"# Gluon\nname = '{'n' * 64}'")),
    ("words", replacing(2, FILLER, "")),
    ("words", replacing(2, FILLER, FILLER * 3)),
    ("plain_markdown", setting(7, "```{note}\nYou predicted.\n```")),
    ("plain_markdown", setting(7, "As {cite}`he2015deep` predicted.")),
    ("plain_markdown", setting(7, ":::{tip}\npredicted\n:::")),
    ("plain_markdown", setting(7, "(target)=\npredicted")),
    ("citations", replacing(11, "he2015deep", "he2099deep")),
    ("citations", replacing(11, "../book/", "")),
    ("numbers_in_prose", replacing(7, "predicted", "predicted 97.3 % for")),
    ("section_order", replacing(8, "Questions people ask", "Questions")),
    ("section_order", replacing(9, "Where they differ", "Summary")),
    ("section_order", lambda cells: cells.insert(8, cells.pop(10))),
    ("references", replacing(11, "../book/references.md#he2015deep", "x")),
    ("alt_texts", describing(6, "")),
    ("alt_texts", describing(6, "A figure.")),
    ("alt_texts", setting(7, "![](predicted.png)")),
    ("alt_texts", setting(7, '<img src="predicted.png">')),
    ("same_on_every_machine", printing(6, "read /home/me/data.npz")),
    ("same_on_every_machine", printing(6, "<Block at 0x7f33a01bc2d0>")),
    ("same_on_every_machine", showing(6, {"text/plain": "<Axes: xlabel='epoch'>"})),
    ("same_on_every_machine", showing(6, {"text/html": "<p>/tmp/x/y.py</p>"})),
    ("parity_report", printing(5, "equal")),
    ("parity_report", setting(5, "# Gluon and PyTorch\nprint('within 1e-10')")),
    ("exercises", replacing(12, "### Why not", "Why not")),
    ("exercises", replacing(12, "**conceptual**", "**easy**")),
    ("exercises", replacing(12, "`why_not`", "`why`")),
    ("exercises", replacing(12, "<details>", "")),
    ("exercises", replacing(13, "**code** · `build_it`", "`build_it`")),
    ("exercises", replacing(14, 'check("build_it", f)', 'check("build", f)')),
    ("exercises", replacing(14, 'exercises.check("build_it", f)', "f()")),
    ("exercises", printing(14, "build_it: passed (3 inputs)\n")),
    ("exercises", printing(15, "build_it: not yet.\n")),
    ("exercises", tagging(15, "solution")),
    ("exercises", tagging(14)),
    ("exercises", dropping(15)),
    ("exercises", lambda cells: cells.append(cells.pop(14))),
]


@pytest.mark.parametrize(
    ("rule", "change"),
    [pytest.param(*case, id=f"{i}-{case[0]}") for i, case in enumerate(BROKEN)],
)
def test_a_rule_notices(rule: str, change: Callable[[list[Any]], None]) -> None:
    cells = good_chapter()
    change(cells)
    assert complaints(cells, rule)


def test_a_big_file_is_noticed() -> None:
    assert complaints(good_chapter(), "file_size", 1_500_001)


def test_every_rule_was_seen_to_notice() -> None:
    assert {name for name, _ in BROKEN} | {"file_size"} == set(form.RULES)
