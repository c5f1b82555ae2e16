"""The rendered book, a browser, and tabs that remember everything that happened.

``D2L_SITE=/path/to/html`` names a book that is rendered already; without it the book
is rendered once, with warnings as errors, into a temporary folder.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fixture_notebook
import pytest
from playwright.sync_api import Browser, Page, Route

from tools import browser as browser_tool
from tools import build

ROOT = Path(__file__).resolve().parents[2]
FIXTURE = Path(__file__).parent / "fixture"


#: Where the fixture book says that it is published, and its sources.
SETTINGS = {
    "url": "https://github.com/a/b",
    "baseurl": "https://books.example/blocks/",
}


def fixture_tree(target: Path) -> Path:
    """The fixture book as a tree of its own, with the real extensions and settings.

    Only ``SETTINGS`` are its own.
    """
    book = ROOT / "book"
    shutil.copytree(book / "ext", target / "book" / "ext")
    shutil.copytree(book / "assets", target / "book" / "assets")
    for name in ("references.md", "pages.yml"):
        shutil.copy(book / name, target / "book")
    shutil.copytree(FIXTURE, target, dirs_exist_ok=True)
    fixture_notebook.write(target / "chapters" / "pairs.ipynb")
    text = (ROOT / "_config.yml").read_text("utf-8")
    for name, value in SETTINGS.items():
        text, count = re.subn(rf"(?m)^  {name}: .*$", f'  {name}: "{value}"', text)
        assert count == 1
    (target / "_config.yml").write_text(text, "utf-8")
    return target


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the rendered book."""
    if given := os.environ.get("D2L_SITE"):
        return Path(given).resolve()
    output = tmp_path_factory.mktemp("book")
    return build.build(output=output).parent


@pytest.fixture(scope="session")
def fixture_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rendered fixture book: one cell of each kind, see `fixture_notebook`."""
    tree = fixture_tree(tmp_path_factory.mktemp("fixture"))
    return build.build(tree).parent


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One headless Chromium for all tests."""
    with browser_tool.launched() as running:
        yield running


@pytest.fixture(scope="session")
def served(site: Path) -> Iterator[str]:
    """Address of the book on localhost."""
    with browser_tool.served(site) as address:
        yield address


@pytest.fixture(scope="session")
def fixture_served(fixture_site: Path) -> Iterator[str]:
    """Address of the fixture book on localhost."""
    with browser_tool.served(fixture_site) as address:
        yield address


@dataclass
class Tab:
    """A page in a context of its own, and what it did."""

    page: Page
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        page = self.page
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("requestfailed", self._failure)
        page.on("response", self._response)
        page.on("console", self._message)

    def _failure(self, request: Any) -> None:
        # Aborted: a click led to another page before this was loaded, or it became a
        # download. Whether an icon asked for last still came is a matter of load.
        if request.failure != "net::ERR_ABORTED":
            self.problems.append(f"not loaded ({request.failure}): {request.url}")

    def _response(self, response: Any) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.status}: {response.url}")

    def _message(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"console {message.type}: {message.text}")


Visit = Callable[..., Tab]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open a page in a fresh context: ``visit(url, width=390, ...)``."""
    contexts = []

    def visit_(url: str = "", width: int = 1440, height: int = 900, **more: Any) -> Tab:
        script = more.pop("init_script", None)
        size: Any = {"width": width, "height": height}
        context = browser.new_context(viewport=size, **more)
        contexts.append(context)
        if script:
            context.add_init_script(script)
        tab = Tab(context.new_page())
        if url:
            tab.page.goto(url)
        return tab

    yield visit_
    for context in contexts:
        context.close()


def released(page: Page, held: list[Route]) -> None:
    """Wait until a request has come that a route holds back, and let it pass."""
    for _ in range(500):
        if held:
            break
        page.wait_for_timeout(10)
    held.pop().continue_()
