"""Sphinx extension: anchors to link to, those of the references above all.

Each entry of ``book/references.md`` stands behind an anchor, so a chapter cites with a
plain Markdown link that works in Jupyter, on a code host and in the book:
``[He et al., 2015](../book/references.md#he2015deep)``. MyST knows only anchors of
headings; this extension tells it about ``<a id="…"></a>`` in any page, so that such
links resolve and a dangling one is a warning (in our builds an error).
"""

from __future__ import annotations

import re
from typing import Any

from cells import named_places
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class RegisterAnchors(SphinxTransform):
    """Make ``<a id="…"></a>`` of a page known to MyST as targets of links."""

    default_priority = 870  # before MyST resolves links within a page (879)

    def apply(self, **kwargs: Any) -> None:
        places = named_places(self)
        for raw in self.document.findall(nodes.raw):
            for anchor in re.findall(r'<a id="([^"]+)">', raw.astext()):
                places.setdefault(anchor, (raw.line or 0, anchor, anchor))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the transform."""
    app.add_transform(RegisterAnchors)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
