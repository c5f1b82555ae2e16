"""An editor's round trip: notebook to text and back, without losing anything.

To write a new chapter, write text first: a Python file in the percent format, such as
``blocks.py``. ``# %% [markdown]`` starts a text cell (its lines are comments, or
one triple-quoted string), ``# %%`` starts a code cell, and cell metadata follows as
``key=JSON`` on the same line::

    # %% [markdown]
    # # Blocks and Sequential

    # %% tags=["gluon"]
    # Gluon
    net = nn.HybridSequential()

    # %% tags=["both"] mystnb={"image": {"alt": "Three curves, one on the other."}}
    # Gluon and PyTorch
    plt.plot(gluon_history.test_accuracy, color=show.COLORS["gluon"])

    # %% tags=["solution", "hide-cell"]
    exercises.check("blocks_trace", trace)

Then ``python -m tools.notebook to-notebook blocks.py chapters/blocks.ipynb`` and
``python -m tools.execute chapters/blocks.ipynb``, which runs it and stores the outputs.

To change a chapter, either edit the same file and repeat, or take the notebook apart
with ``python -m tools.notebook to-text chapters/blocks.ipynb blocks.py`` (or
``.md`` for jupytext's Markdown). That text carries each cell's id; leave the ids
where they are, and drop the id of a cell that you copied. On the way back a cell keeps
its id if the text names it or if its content is unchanged, and a code cell keeps its
outputs if its source is unchanged. New cells get ids from a hash of their content and
position, so the same text always gives the same file. What Jupyter and Colab need to
show a hidden cell collapsed follows from the tags (``solution``, ``hide-cell``,
``hide-input``, ``remove-input``) and is never written by hand. Text files are not
committed: the notebook is a chapter's only source.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import defaultdict
from itertools import zip_longest
from pathlib import Path

import nbformat
from nbformat import NotebookNode

FORMATS = {".py": "py:percent", ".md": "md"}
COLLAPSED_TAGS = {"solution", "hide-cell", "hide-input", "remove-input"}
# What jupytext notes for itself, and what editors leave behind.
NOISE = {
    "lines_to_next_cell",
    "lines_to_end_of_cell_marker",
    "execution",
    "collapsed",
    "ExecuteTime",
    "trusted",
    "scrolled",
    "id",
    "colab",
    "outputId",
    "colab_type",
}


def to_text(nb: NotebookNode, fmt: str) -> str:
    """Write a notebook's cells as text in ``"py:percent"`` or ``"md"``.

    Raises ``ValueError`` if reading the text back would not give the same cells.
    """
    copy = nbformat.from_dict(nb)
    clear(copy)
    for cell in copy.cells:
        _set_collapsed(cell, False)
        cell.metadata = NotebookNode(id=cell.id, **cell.metadata)
    copy.metadata = NotebookNode(
        jupytext={"cell_metadata_filter": "all", "notebook_metadata_filter": "-all"},
        language_info={"name": "python"},
    )
    import jupytext  # Colab's image has none, and needs none to be stamped

    text: str = jupytext.writes(copy, fmt=fmt)
    back = to_notebook(text, fmt, nb)
    for number, (old, new) in enumerate(zip_longest(nb.cells, back.cells)):
        if old is None or new is None or _content(old) != _content(new):
            at = f"cell {number} ({old.id})" if old else "the end"
            raise ValueError(
                f"{at} does not survive the way to {fmt} and back: two text cells in "
                "a row, or a cell marker inside a cell?"
            )
    return text


def to_notebook(text: str, fmt: str, old: NotebookNode | None = None) -> NotebookNode:
    """Make a notebook from text; unchanged cells of ``old`` keep ids and outputs."""
    import jupytext

    nb = jupytext.reads(text, fmt=fmt)
    before = list(old.cells) if old is not None else []
    by_id = {cell.id: cell for cell in before}
    named = {cell.metadata.get("id") for cell in nb.cells}
    same: dict[tuple[str, str], list[NotebookNode]] = defaultdict(list)
    for cell in reversed(before):
        if cell.id not in named:
            same[_content(cell)].append(cell)
    taken: set[str] = set()
    for position, cell in enumerate(nb.cells):
        partner = by_id.get(cell.metadata.get("id"))
        if partner is None and same[_content(cell)]:
            partner = same[_content(cell)].pop()
        if partner is not None and partner.id in taken:
            partner = None  # the cell was copied with its id
        if partner is None:
            cell.id = _fresh_id(cell, position, taken | by_id.keys())
        else:
            cell.id = partner.id
        taken.add(cell.id)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            if partner is not None and _content(partner) == _content(cell):
                cell.outputs = partner.outputs
                cell.execution_count = partner.execution_count
        if partner is not None and "attachments" in partner:
            cell.attachments = partner.attachments
    nb.metadata = NotebookNode(old.metadata) if old is not None else NotebookNode()
    return normalize(nb)


def normalize(nb: NotebookNode) -> NotebookNode:
    """Give a notebook the book's metadata: no versions, no editor's noise. In place."""
    nb.nbformat, nb.nbformat_minor = 4, 5
    d2l = nb.metadata.get("d2l")
    nb.metadata = NotebookNode(
        kernelspec=NotebookNode(
            display_name="Python 3", language="python", name="python3"
        ),
        # The IPython lexer, or a cell with `!pip` cannot be highlighted.
        language_info=NotebookNode(name="python", pygments_lexer="ipython3"),
        # As Colab writes it: a GPU if there is one to have, the contents at the side.
        accelerator="GPU",
        colab=NotebookNode(provenance=[], toc_visible=True, gpuType="T4"),
    )
    if d2l:
        nb.metadata["d2l"] = d2l
    for cell in nb.cells:
        for key in NOISE & cell.metadata.keys():
            del cell.metadata[key]
        if cell.cell_type == "code":
            collapse = bool(COLLAPSED_TAGS & set(cell.metadata.get("tags", [])))
            _set_collapsed(cell, collapse)
            for output in cell.outputs:
                if "metadata" in output:
                    size = output.metadata.get("image/png")
                    output.metadata = NotebookNode({"image/png": size} if size else {})
    return nb


def clear(nb: NotebookNode) -> None:
    """Drop the outputs of all code cells, in place."""
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


def read(path: Path) -> NotebookNode:
    """Read a notebook file as nbformat 4; cells without an id get one."""
    nb = nbformat.read(path, as_version=4)
    taken = {cell.id for cell in nb.cells if "id" in cell}
    for position, cell in enumerate(nb.cells):
        if "id" not in cell:
            cell["id"] = _fresh_id(cell, position, taken)
            taken.add(cell["id"])
    return nb


def write(nb: NotebookNode, path: Path) -> None:
    """Validate a notebook and write it, the same bytes for the same content."""
    nbformat.validate(nb)
    path.write_text(nbformat.writes(nb).rstrip("\n") + "\n", encoding="utf-8")


def _set_collapsed(cell: NotebookNode, collapsed: bool) -> None:
    """Say to JupyterLab and to Colab whether a cell's source is folded away."""
    jupyter = dict(cell.metadata.get("jupyter", {}))
    jupyter.pop("source_hidden", None)
    jupyter.pop("outputs_hidden", None)
    cell.metadata.pop("cellView", None)
    if collapsed:
        jupyter["source_hidden"] = True
        cell.metadata["cellView"] = "form"
    if jupyter:
        cell.metadata["jupyter"] = NotebookNode(jupyter)
    else:
        cell.metadata.pop("jupyter", None)


def _content(cell: NotebookNode) -> tuple[str, str]:
    return cell.cell_type, cell.source


def _fresh_id(cell: NotebookNode, position: int, taken: set[str]) -> str:
    """An id from the cell's content and position, different from those taken."""
    content = f"{position}\n{cell.cell_type}\n{cell.source}"
    while True:
        fresh = hashlib.sha256(content.encode()).hexdigest()[:8]
        if fresh not in taken:
            return fresh
        content += "\n"


def _format_of(path: Path) -> str:
    if path.suffix not in FORMATS:
        raise SystemExit(f"{path}: the text's name must end in .py or .md")
    return FORMATS[path.suffix]


def main(arguments: list[str] | None = None) -> int:
    """Run ``to-text NOTEBOOK TEXT`` or ``to-notebook TEXT NOTEBOOK``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("direction", choices=["to-text", "to-notebook"])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args(arguments)
    source, target = options.source, options.target
    if options.direction == "to-text":
        target.write_text(to_text(read(source), _format_of(target)), encoding="utf-8")
    else:
        old = read(target) if target.exists() else None
        text = source.read_text(encoding="utf-8")
        write(to_notebook(text, _format_of(source), old), target)
    print(f"{source} -> {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
