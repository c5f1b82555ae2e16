"""Every chapter and executed page has the book's form; and the rules can say no."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import form
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from tools import execute, notebook, stamp

NOTEBOOKS = execute.executed_notebooks()
REFERENCES = (execute.ROOT / "book" / "references.md").read_text("utf-8")
HURRY = stamp.in_a_hurry()
KEYS = frozenset(re.findall(r'<a id="([^"]+)">', REFERENCES))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=execute.place)
def test_form(path: Path) -> None:
    """All rules for a core, others for further measurements and for pages."""
    whole = notebook.read(path)
    hurry = HURRY.get(execute.place(path))
    nb = form.Notebook(whole.cells, path.stat().st_size, KEYS, path.parent.name, hurry)
    rules = form.rules(nb.folder).values()
    found = [f"{found} ({rule.__doc__})" for rule in rules for found in rule(nb)]
    if notebook.normalize(copy.deepcopy(whole)) != whole:
        found.append("its metadata is not the book's: `make stamp` writes it")
    if found:
        pytest.fail("\n".join([path.name, *found]), pytrace=False)


# -- the rules can say no --------------------------------------------------------------

FILLER = "A block keeps its parts together and passes numbers through them. " * 60
IGNORED = ["nbval-ignore-output"]
ANSWERS = f"{stamp.HURRY}\n\n- **Why?** Because.\n\n</details>"
FIGURE = new_output("display_data", data={"image/png": "aGk=", "text/plain": "<Fig>"})


def printed(text: str) -> Any:
    return new_output("stream", name="stdout", text=text)


def shown(text: str) -> Any:
    return new_output("display_data", data={"text/plain": text})


def code(source: str, *outputs: Any, **metadata: Any) -> Any:
    return new_code_cell(source, outputs=list(outputs), metadata=metadata)


def good_chapter() -> list[Any]:
    """A chapter in miniature that keeps every rule."""
    cells = [
        new_markdown_cell(
            "# Trial\n\nYou will be able to tell.\n\n<details><summary><b>Your "
            "prediction: which?</b></summary>\n\n- one\n- two\n\n</details>"
        ),
        new_markdown_cell(ANSWERS),
        code(
            f"import sys\n\n{stamp.block(stamp.configured())}\n\n"
            "from d2lutils import exercises, show\n\nshow.setup()"
        ),
        code(
            "# Gluon\nimport mxnet as mx\ndevices.use_gpu()", tags=["gluon", *IGNORED]
        ),
        code("# PyTorch\nimport torch\ndevices.use_gpu()", tags=["pytorch", *IGNORED]),
        new_markdown_cell("## A problem\n\nA kernel of size 12. " + FILLER),
        code(
            "# Gluon and PyTorch\nsize = 12\nparity.compare(mx, torch)",
            printed("within 1e-10"),
            tags=["both"],
        ),
        code("draw()", FIGURE, mystnb={"image": {"alt": "A line that rises steeply."}}),
        new_markdown_cell("You predicted one of the two."),
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
        ),
    ]
    return copy.deepcopy(cells)


def complaints(cells: list[Any], rule: str, size: int = 1000) -> list[str]:
    nb = form.Notebook(cells, size, frozenset({"he2015deep"}), hurry=ANSWERS)
    return list(form.RULES[rule](nb))


# A rule, the number of a cell, and what of its source or its tags becomes what.
BROKEN: list[tuple[str, int, str, str | list[str]]] = [
    ("title_first", 0, "# Trial", "Trial"),
    ("setup_cell", 2, '"google.colab"', '"colab"'),
    ("setup_cell", 2, "import sys\n", "import sys\n\nx = 1\n"),
    ("setup_cell", 2, "exercises, show", "exercises, gluon, show"),
    ("prediction", 0, "prediction", "wish"),
    ("prediction", 8, "predicted", "thought of"),
    ("in_a_hurry", 1, "Because.", "So."),
    ("devices", 3, "tags", ["gluon"]),
    ("devices", 4, "devices.use_gpu()", ""),
    ("framework_tags", 3, "tags", []),
    ("framework_tags", 3, "tags", ["pytorch"]),
    ("framework_tags", 14, "tags", ["exercise", "raises-exception"]),
    ("names_where_frameworks_are_missing", 4, "import torch", "mx.nd.ones(2)"),
    ("cell_length", 7, "draw()", "x = 1\n" * 16),
    ("line_width", 3, "import mxnet", f"name = '{'n' * 64}'"),
    ("words", 5, FILLER, ""),
    ("words", 5, FILLER, FILLER * 3),
    ("plain_markdown", 8, "You", "```{note}\nYou"),
    ("plain_markdown", 8, "You", "As {cite}`he2015deep` you"),
    ("citations", 11, "he2015deep", "he2099deep"),
    ("citations", 11, "../book/", ""),
    ("numbers_in_prose", 8, "predicted", "predicted 97.3 % for"),
    ("section_order", 10, "Summary", "In short"),
    ("section_order", 9, "Where they differ", "Summary"),
    ("section_order", 11, "../book/references.md#he2015deep", "x"),
    ("alt_texts", 8, "You", "![](a.png) You"),
    ("alt_texts", 8, "You", '<img src="a.png"> You'),
    ("parity_report", 6, "parity.compare(mx, torch)", "print('within 1e-10')"),
    ("exercises", 12, "### ", ""),
    ("exercises", 12, "**conceptual**", "**easy**"),
    ("exercises", 12, "<details>", ""),
    ("exercises", 14, 'check("build_it", f)', 'check("build", f)'),
    ("exercises", 15, "tags", ["solution"]),
    ("exercises", 14, "tags", []),
]
OUTPUTS = [
    ("alt_texts", 3, FIGURE),
    ("same_on_every_machine", 7, printed("read /home/me/data.npz")),
    ("same_on_every_machine", 7, printed("<Block at 0x7f33a01bc2d0>")),
    ("parity_report", 6, printed("equal")),
    ("exercises", 14, printed("build_it: passed (3 inputs)\n")),
    ("exercises", 15, printed("build_it: not yet.\n")),
]


@pytest.mark.parametrize("rule", form.RULES)
def test_a_rule_notices(rule: str) -> None:
    """What breaks it, and that the chapter in miniature does not."""
    assert complaints(good_chapter(), rule) == []
    broken = []
    for _, at, old, new in (case for case in BROKEN if case[0] == rule):
        broken.append(good_chapter())
        if isinstance(new, list):
            broken[-1][at].metadata[old] = new
        else:
            assert old in broken[-1][at].source
            broken[-1][at].source = broken[-1][at].source.replace(old, new)
    for _, at, output in (case for case in OUTPUTS if case[0] == rule):
        broken.append(good_chapter())
        broken[-1][at].outputs = [output]
    size = 1000
    if rule == "file_size":
        broken, size = [good_chapter()], 1_500_001
    if rule in ("number_of_cells", "prediction"):
        count = {"number_of_cells": 25, "prediction": 10}[rule]
        broken.append(good_chapter())
        broken[-1][6:6] = [code("x = 1")] * count
    if rule == "source_length":
        broken.append(good_chapter())
        source = "# Gluon\ndef f():\n" + "    x = 1\n" * 30 + "\n# PyTorch\nx = 1\n"
        broken[-1][7] = code("show.sources(f, g)", shown(source))
    assert broken
    for cells in broken:
        assert complaints(cells, rule, size), cells


def test_further_measurements_open_with_their_results() -> None:
    def found(text: str) -> list[str]:
        nb = form.Notebook([new_markdown_cell("# Trial"), new_markdown_cell(text)])
        return list(form.FURTHER_RULES["results_first"](nb))

    assert found("## One\n\n**It is so.** Why.\n\n## References\n\nOne.") == []
    assert found("## One\n\nWhy it is so.") != []
