"""Sphinx extension: code cells of the two frameworks beside each other.

A cell tagged ``gluon`` directly followed by one tagged ``pytorch`` becomes a pair:

    <div class="pair">
      <div class="side gluon"><p class="side-label">Gluon</p> cell </div>
      <div class="side pytorch"><p class="side-label">PyTorch</p> cell </div>
    </div>

A tagged cell without a partner gets the same ``side`` with its label and stays outside
of any pair, so that no choice of framework hides it. Cells tagged ``exercise`` get a
label, too; cells tagged ``solution`` a prompt that says what is behind it. Code that is
hidden folds up below what it made, set-up and imports into one line. How many
columns there are and what the switch hides is decided in ``book/assets/book.css``.
"""

from __future__ import annotations

from typing import Any

from cells import is_cell, part
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

LABELS = {"gluon": "Gluon", "pytorch": "PyTorch", "exercise": "Exercise"}
SETUP = '<details class="setup"><summary>Set-up and imports</summary>'


def labels(cell: nodes.container) -> list[str]:
    """Which of the labelled tags a cell carries, in the order of ``LABELS``."""
    return [tag for tag in LABELS if f"tag_{tag}" in cell["classes"]]


def framework(node: nodes.Node) -> str | None:
    """``"gluon"`` or ``"pytorch"`` for a cell of one framework, else None."""
    if not is_cell(node):
        return None
    found = [tag for tag in labels(node) if tag != "exercise"]
    return found[0] if len(found) == 1 else None


def only_prose(cell: nodes.container) -> bool:
    """Whether a cell with hidden code only prints a sentence with its numbers."""
    output, more = part(cell, "output"), (nodes.image, nodes.raw, nodes.literal_block)
    hidden = cell.get("hide_mode") == "input" and output is not None
    return hidden and not any(isinstance(node, more) for node in output.findall())


def tidy(cell: nodes.container) -> None:
    """Remove from a cell what a notebook needs and the page shows in another way."""
    source = part(cell, "source")
    if source is None:
        return
    if cell.get("hide_mode") == "input" and "show.sources(" in source.astext():
        # The output is code already: no button for the code that shows it.
        cell.remove(source)
        del cell["hide_mode"]
        return
    if only_prose(cell):
        cell["prompt_show"] = cell["prompt_hide"] = "How this was computed"
    for code in source.findall(nodes.literal_block):
        if code.get("language") == "python":
            code["language"] = "ipython3"  # knows `!pip` and `%magic`
        first, _, rest = code.astext().partition("\n")
        if framework(cell) and first == f"# {LABELS[framework(cell)]}":
            code.rawsource = rest  # the label says it
            code.children = [nodes.Text(rest)]


def side(cell: nodes.container) -> nodes.container:
    """A labelled box around a cell."""
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
            tidy(cell)
            if "tag_solution" in cell["classes"] and cell.get("hide_mode"):
                cell["prompt_show"] = "Show the solution"
                cell["prompt_hide"] = "Hide the solution"
        done: set[int] = set()
        for cell in cells:
            if id(cell) in done or not labels(cell) or only_prose(cell):
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
        self.fold_setup()

    def fold_setup(self) -> None:
        """Fold what stands between a chapter's opening and its first section."""
        top = next(self.document.findall(nodes.section), None)
        first = next((c for c in top or [] if is_cell(c)), None)
        if top is None or first is None or "google.colab" not in first.astext():
            return
        start = top.index(first)
        end = start
        while end < len(top) and isinstance(top[end], nodes.container):
            shows = (c for c in top[end].findall(is_cell) if part(c, "output"))
            if any("use_gpu()" not in cell.astext() for cell in shows):
                break
            end += 1
        opening, closing = (
            nodes.raw("", t, format="html") for t in (SETUP, "</details>")
        )
        top[start:end] = [opening, *top[start:end], closing]


class FoldBelow(SphinxPostTransform):
    """Put hidden code below its output, after myst-nb has folded it (199)."""

    default_priority = 205
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for cell in self.document.findall(is_cell):
            if cell.get("hide_mode") == "input" and len(cell) == 2:
                cell.children.reverse()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the transform."""
    app.add_post_transform(PairCells)
    app.add_post_transform(FoldBelow)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
