"""Sphinx extension: code cells of the two frameworks beside each other.

A cell tagged ``gluon`` directly followed by one tagged ``pytorch`` becomes a pair:

    <div class="pair">
      <div class="side gluon"><p class="side-label">Gluon</p> cell </div>
      <div class="side pytorch"><p class="side-label">PyTorch</p> cell </div>
    </div>

A tagged cell without a partner gets the same ``side`` with its label and stays outside
of any pair, so that no choice of framework hides it. Cells tagged ``exercise`` get a
label, too; cells tagged ``solution`` a prompt that says what is behind it. How many
columns there are and what the switch hides is decided in ``book/assets/book.css``.
"""

from __future__ import annotations

from typing import Any

from cells import is_cell
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

LABELS = {"gluon": "Gluon", "pytorch": "PyTorch", "exercise": "Exercise"}


def labels(cell: nodes.container) -> list[str]:
    """Which of the labelled tags a cell carries, in the order of ``LABELS``."""
    return [tag for tag in LABELS if f"tag_{tag}" in cell["classes"]]


def framework(node: nodes.Node) -> str | None:
    """``"gluon"`` or ``"pytorch"`` for a cell of one framework, else None."""
    if not is_cell(node):
        return None
    found = [tag for tag in labels(node) if tag != "exercise"]
    return found[0] if len(found) == 1 else None


def side(cell: nodes.container) -> nodes.container:
    """A labelled box around a copy of one cell (the caller removes the original)."""
    tags = labels(cell)
    text = " · ".join(LABELS[tag] for tag in tags)
    label = nodes.paragraph("", text, classes=["side-label"])
    return nodes.container("", label, cell, classes=["side", *tags])


class PairCells(SphinxPostTransform):
    """Regroup the cells; before myst-nb collapses hidden ones (priority 199)."""

    default_priority = 150
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        cells = [n for n in self.document.findall(nodes.container) if is_cell(n)]
        for cell in cells:
            for code in cell.findall(nodes.literal_block):
                if code.get("language") == "python":
                    code["language"] = "ipython3"  # knows `!pip` and `%magic`
            if "tag_solution" in cell["classes"] and cell.get("hide_mode"):
                cell["prompt_show"] = "Show the solution"
                cell["prompt_hide"] = "Hide the solution"
        done: set[int] = set()
        for cell in cells:
            if id(cell) in done or not labels(cell):
                continue
            parent, at = cell.parent, cell.parent.index(cell)
            following = parent[at + 1] if at + 1 < len(parent) else None
            group = [cell]
            if framework(cell) == "gluon" and following is not None:
                group += [following] if framework(following) == "pytorch" else []
            done.update(id(member) for member in group)
            sides = [side(member) for member in group]
            pair = nodes.container("", *sides, classes=["pair"])
            parent[at : at + len(group)] = [pair] if len(group) == 2 else sides


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the transform."""
    app.add_post_transform(PairCells)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
