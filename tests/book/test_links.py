"""The check of links asks each address that a page shows, and tells dead from alive."""

from __future__ import annotations

import http.server
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import fixture_tree, running
from nbformat.v4 import new_markdown_cell

from tools import links


class Handler(http.server.BaseHTTPRequestHandler):
    """Knows two pages, one of which has moved to the other's address."""

    def do_GET(self) -> None:
        status = {"/here": 200, "/moved": 302}.get(self.path, 404)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/here")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815 (http.server's spelling)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        yield from running(server)


@pytest.mark.rare
def test_pages_and_notebooks_are_asked_about(tmp_path: Path, address: str) -> None:
    tree = fixture_tree(tmp_path)
    page = tree / "book" / "index.md"
    page.write_text(
        f"# Page\n\n[a]({address}/here) and [b]({address}/moved)\n\n"
        f"[c]({address}/gone-from-page)\n"
    )
    chapter = tree / "chapters" / "pairs.ipynb"
    notebook = nbformat.read(chapter, 4)
    notebook.cells.append(new_markdown_cell(f"[d]({address}/gone-from-chapter)"))
    nbformat.write(notebook, chapter)
    # Nothing but the server of this test is asked.
    settings = tree / "_config.yml"
    ignored = "  config:\n    linkcheck_ignore: ['https:']\n"
    changed = settings.read_text("utf-8").replace("  config:\n", ignored)
    settings.write_text(changed, "utf-8")
    found = links.checked(tree)
    outside = [link for link in found if link["uri"].startswith("http")]
    asked = {link["uri"] for link in outside if link["status"] != "ignored"}
    pages = ("here", "moved", "gone-from-page", "gone-from-chapter")
    assert asked == {f"{address}/{name}" for name in pages}
    dead, alive = links.verdict(found)
    assert alive == 2
    first, second = dead
    assert first.startswith("book/index.md:")
    assert f"{address}/gone-from-page (404" in first
    assert second.startswith("chapters/pairs.ipynb:")


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        ("working", 0, "1 addresses answer, 0 links are dead"),
        ("broken", 1, "book/a.md:3: https://example.org/ (broken)\n0 addresses"),
        # A book without links, or a machine without a network: nothing was learnt.
        ("unchecked", 1, "0 addresses answer, 0 links are dead"),
        (None, 1, "no link was checked"),
    ],
)
def test_the_exit_status(
    status: str | None,
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = {"filename": "book/a.md", "lineno": 3, "uri": "https://example.org/"}
    if status is None:  # a book that cannot be read
        monkeypatch.setattr(links, "ROOT", tmp_path)
    else:
        every = [found | {"status": status, "info": ""}]
        monkeypatch.setattr(links, "checked", lambda _: every)
    assert links.main() == code
    assert said in capsys.readouterr().out
