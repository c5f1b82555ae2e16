"""The check of links asks each address that a page shows, and tells dead from alive."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import fixture_tree
from nbformat.v4 import new_markdown_cell

from tools import links


class Handler(http.server.BaseHTTPRequestHandler):
    """Knows two pages, of which one is somewhere else by now."""

    def do_GET(self) -> None:
        status = {"/here": 200, "/moved": 302}.get(self.path, 404)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/here")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


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
    asked = {link["uri"] for link in found if link["uri"].startswith("http:")}
    pages = ("here", "moved", "gone-from-page", "gone-from-chapter")
    assert asked == {f"{address}/{name}" for name in pages}
    others = {link["status"] for link in found if link["uri"].startswith("https:")}
    assert others == {"ignored"}
    dead, alive = links.verdict(found)
    assert alive == 2
    assert len(dead) == 2
    assert dead[0].startswith("book/index.md:")
    assert f"{address}/gone-from-page (404" in dead[0]
    assert dead[1].startswith("chapters/pairs.ipynb:")


FOUND = {
    "filename": "book/a.md",
    "lineno": 3,
    "uri": "https://example.org/",
    "info": "",
    "status": "working",
}


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        ("working", 0, "1 addresses answer, 0 links are dead"),
        ("redirected", 0, "1 addresses answer, 0 links are dead"),
        ("broken", 1, "book/a.md:3: https://example.org/ (broken)\n0 addresses"),
        ("timeout", 1, "book/a.md:3: https://example.org/ (timeout)\n0 addresses"),
        # A book without links, or a machine without a network: nothing was learnt.
        ("unchecked", 1, "0 addresses answer, 0 links are dead"),
    ],
)
def test_the_exit_status(
    status: str,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(links, "checked", lambda _: [FOUND | {"status": status}])
    assert links.main() == code
    assert capsys.readouterr().out.startswith(said)


def test_a_book_that_cannot_be_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(links, "ROOT", tmp_path)
    assert links.main() == 1
    assert "no link was checked" in capsys.readouterr().out
