"""The cards "Where they differ", collected from the chapters."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

__all__ = ["cards"]


def cards(folder: Path | None = None) -> Any:
    """The cards "Where they differ" of all chapters, in the order of the book.

    Args:
        folder: the chapters; by default those beside the package. If only the package
            is installed, as on Colab, the result is a sentence that says so.

    Raises:
        ValueError: there are no chapters in `folder`.
    """
    from d2lutils import show

    beside = Path(__file__).parents[2] / "chapters"
    paths = _in_order(folder or beside)
    if not paths and folder is None:
        return show.markdown(
            "Each chapter has its card; here they are not beside the package. A clone "
            "of the repository and the rendered page have them all."
        )
    if not paths:
        raise ValueError(f"cards: no chapters in {folder}")
    parts = []
    for path in paths:
        title, card = _card(path)
        if card:
            link = f"../chapters/{path.name}#where-they-differ"
            # Links leave from the chapters' folder there, and from the book's here.
            card = re.sub(r"\]\((?=[\w/]+\.ipynb)", "](../chapters/", card)
            parts.append(f"**[{title}]({link})**\n\n{card}")
    return show.markdown("\n\n".join(parts))


def _in_order(folder: Path) -> list[Path]:
    """The chapters in the order of `_toc.yml`."""
    contents = folder.parent / "_toc.yml"
    if not contents.exists():
        return []
    entries = [
        line.split("file:", 1)[1].strip()
        for line in contents.read_text("utf-8").splitlines()
        if "file:" in line
    ]
    names = [  # a chapter's card is in its core, not in its further measurements
        entry.removeprefix("chapters/")
        for entry in entries
        if entry.startswith("chapters/") and "/further/" not in entry
    ]
    return [folder / f"{name}.ipynb" for name in names]


def _card(path: Path) -> tuple[str, str]:
    """A chapter's title and the table in its card, or "" if it has no card."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    texts = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
    title = next(t for t in texts if t.startswith("# ")).splitlines()[0][2:].strip()
    for text in texts:
        _, found, rest = text.partition("## Where they differ\n")
        if found:
            lines = rest.split("\n## ", 1)[0].strip().splitlines()
            return title, "\n".join(line for line in lines if line.startswith("|"))
    return title, ""
