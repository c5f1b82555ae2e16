"""Sphinx extension: cells that can be linked to, and shown on other pages.

- Each code cell of a notebook gets the anchor ``cell-<id>``, with the id that the
  notebook gives it, and a link to itself. From Markdown:
  ``[here](../chapters/nin.ipynb#cell-0f8b3da4)``; a dangling link is a warning.
- The directive ``cells`` shows stored cells of a chapter on another page, code and
  output, or only the output. Nothing is copied into the sources and nothing executed:

  ```{cells} chapters/nin 0f8b3da4 1a2b3c4d
  :only: output
  ```
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

LOG = logging.getLogger(__name__)


@cache
def notebook_cells(path: Path) -> list[dict[str, Any]]:
    """The cells of a notebook as they are stored; a build reads each once."""
    return list(json.loads(path.read_text("utf-8"))["cells"])


def source_of(cell: dict[str, Any]) -> str:
    """The text of a stored cell."""
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def named_places(transform: SphinxTransform) -> dict[str, tuple[int, str, str]]:
    """The anchors of a page that MyST resolves links to; those that are added count."""
    metadata = transform.env.metadata[transform.env.docname]
    places = metadata.setdefault("myst_slugs", {})
    transform.document.myst_slugs = places
    return places


def is_cell(node: nodes.Node) -> bool:
    """Whether a node is a code cell of a notebook."""
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


def part(cell: nodes.container, name: str) -> nodes.Element | None:
    """The source or the output of a cell."""
    wanted = f"cell_code_{name}"
    return next((c for c in cell.children if c.get("nb_element") == wanted), None)


class NameCells(SphinxTransform):
    """Give the code cells their anchors, and tell MyST about them."""

    default_priority = 870  # before MyST resolves links within a page (879)

    def apply(self, **kwargs: Any) -> None:
        path = Path(self.env.doc2path(self.env.docname))
        if path.suffix != ".ipynb":
            return
        stored, places = notebook_cells(path), named_places(self)
        for cell in self.document.findall(is_cell):
            anchor = f"cell-{stored[cell['cell_index']]['id']}"
            cell["ids"] = [anchor]
            places[anchor] = (cell.line or 0, anchor, anchor)


class shown(nodes.General, nodes.Element):  # noqa: N801 (docutils' spelling)
    """Stands for cells of another page until that page has been read."""


class ShowCells(SphinxDirective):
    """``{cells} document id id …``; ``:only: output`` leaves the code out."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec = {  # noqa: RUF012
        "only": lambda word: directives.choice(word, ("output",))
    }

    def run(self) -> list[nodes.Node]:
        given = self.arguments[0]
        document, *ids = given.split()
        path = Path(self.env.srcdir, f"{document}.ipynb")
        if not path.is_file() or not ids:
            raise self.error(f"cells: wants a notebook and ids, got {given}")
        self.env.note_dependency(str(path))
        node = shown("", document=document, cells=ids, **self.options)
        self.set_source_info(node)
        return [node]


class InsertCells(SphinxPostTransform):
    """Put copies of the cells in their places, before myst-nb renders them (4)."""

    default_priority = 3

    def run(self, **kwargs: Any) -> None:
        for node in list(self.document.findall(shown)):
            there = self.env.get_doctree(node["document"])
            found = {
                name: cell for cell in there.findall(is_cell) for name in cell["ids"]
            }
            copies: list[nodes.Node] = []
            for name in node["cells"]:
                if f"cell-{name}" not in found:
                    place = f"{node['document']} has no cell {name}"
                    LOG.warning("cells: %s", place, location=node)
                    continue
                cell = found[f"cell-{name}"].deepcopy()
                cell["ids"] = []
                if node.get("only"):
                    output = part(cell, "output")
                    cell.children = [] if output is None else [output]
                    for key in ("hide_mode", "prompt_show", "prompt_hide"):
                        cell.attributes.pop(key, None)
                copies.append(cell)
            node.replace_self(copies)


class LinkCells(SphinxPostTransform):
    """Put a link to itself into each cell, after hidden ones are collapsed."""

    default_priority = 210
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for cell in self.document.findall(is_cell):
            for name in cell["ids"]:
                link = (
                    f'<a class="cell-link" href="#{name}" '
                    'title="Link to this cell" aria-label="Link to this cell">#</a>'
                )
                cell.insert(0, nodes.raw("", link, format="html"))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register anchors, directive and transforms."""
    app.add_node(shown)
    app.add_directive("cells", ShowCells)
    app.add_transform(NameCells)
    app.add_post_transform(InsertCells)
    app.add_post_transform(LinkCells)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
