"""Sphinx extension: one bibliography, one page, anchors to link to.

``book/references.md`` is generated from ``book/references.bib`` whenever the book is
built. Each entry stands behind an anchor, so a chapter cites with a plain Markdown link
that works in Jupyter, on a code host and in the book:
``[He et al., 2015](../book/references.md#he2015deep)``. MyST knows only anchors of
headings; this extension tells it about ``<a id="…"></a>`` in any page, so that such
links resolve and a dangling one is a warning (in our builds an error).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cells import named_places
from docutils import nodes
from pybtex.database import Entry, Person, parse_file
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

HEAD = """\
# References

What the chapters cite, by first author. Each entry links to its free preprint.
"""


def plain(text: str) -> str:
    """BibTeX text without braces, and with its accents as letters."""
    return text.replace('{\\"o}', "ö").replace("{", "").replace("}", "")


def full_name(person: Person) -> str:
    """A name in reading order."""
    parts = [*person.first_names, *person.middle_names]
    parts += [*person.prelast_names, *person.last_names]
    return plain(" ".join(parts))


def entry_text(key: str, entry: Entry) -> str:
    """One entry as a Markdown paragraph behind its anchor."""
    names = [full_name(person) for person in entry.persons["author"]]
    if len(names) > 6:
        names = [*names[:5], f"{len(names) - 5} others"]
    authors = ", ".join(names[:-1]) + " and " + names[-1] if names[1:] else names[0]
    fields = entry.fields
    where = f" {plain(fields['booktitle'])}." if "booktitle" in fields else ""
    preprint = f"[arXiv:{fields['eprint']}](https://arxiv.org/abs/{fields['eprint']})"
    return (
        f'<a id="{key}"></a>\n'
        f"{authors} ({fields['year']}). *{plain(fields['title'])}.*{where} {preprint}\n"
    )


def render(bibliography: Path) -> str:
    """The whole page as Markdown."""
    entries = parse_file(str(bibliography)).entries
    order = sorted(entries, key=str.lower)
    return "\n".join([HEAD, *(entry_text(key, entries[key]) for key in order)])


def generate(app: Sphinx) -> None:
    """Write the page, if it is out of step, before Sphinx looks at its sources."""
    page = Path(app.srcdir, "book", "references.md")
    text = render(page.with_suffix(".bib"))
    if not page.exists() or page.read_text("utf-8") != text:
        page.write_text(text, "utf-8")


class RegisterAnchors(SphinxTransform):
    """Make ``<a id="…"></a>`` of a page known to MyST as targets of links."""

    default_priority = 870  # before MyST resolves links within a page (879)

    def apply(self, **kwargs: Any) -> None:
        places = named_places(self)
        for raw in self.document.findall(nodes.raw):
            for anchor in re.findall(r'<a id="([^"]+)">', raw.astext()):
                places.setdefault(anchor, (raw.line or 0, anchor, anchor))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the handlers."""
    app.connect("builder-inited", generate)
    app.add_transform(RegisterAnchors)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
