"""What the keys do on pages, explorers where readers meet them, and motion."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import Visit
from explorer_cases import CASES
from explorer_harness import live_root, operate_by_keys
from test_pages import PAGES
from visits import MOVING, RECORD, walk

CHAPTER = "chapters/residual_chunks"


def test_the_way_back_is_the_same(site: Path, visit: Visit) -> None:
    page = visit(f"{site.as_uri()}/book/explorers.html", reduced_motion="reduce").page
    page.evaluate(RECORD)
    there, back = walk(page, "Tab"), walk(page, "Shift+Tab")
    # From the top of the page the way back may begin twice, by the browser's doing.
    whole = back[-len(there) :]
    assert [s["name"] for s in whole] == [s["name"] for s in reversed(there)]
    assert [stop for stop in back if stop["covered"] or not stop["shows"]] == []


def test_skip_link_is_first_and_leads_to_the_text(site: Path, visit: Visit) -> None:
    page = visit(f"{site.as_uri()}/{CHAPTER}.html", reduced_motion="reduce").page
    page.keyboard.press("Tab")
    link = page.get_by_role("link", name="Skip to main content")
    assert link.evaluate("e => e === document.activeElement")
    assert (link.bounding_box() or {})["y"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate(
        "document.querySelector('#main-content').contains(document.activeElement)"
    )


def test_code_is_copied_by_keyboard(served: str, visit: Visit) -> None:
    permissions = ["clipboard-read", "clipboard-write"]
    page = visit(f"{served}/{CHAPTER}.html", permissions=permissions).page
    cell = page.locator(".cell_input").first
    code = cell.locator("pre").inner_text()
    cell.locator("button.copybtn").press("Enter")
    page.wait_for_function("navigator.clipboard.readText().then((text) => text !== '')")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == code.strip()


def test_every_explorer_works_on_its_pages(site: Path, visit: Visit) -> None:
    """Each stands in one chapter; keys change its verdict as Python says."""
    in_chapters = []
    for page in PAGES:
        text = (site / f"{page}.html").read_text("utf-8")
        names = re.findall(r'data-explorer="(\w+)"', text)
        if page.startswith("chapters/"):
            in_chapters += names
        if names:
            tab = visit(f"{site.as_uri()}/{page}.html", reduced_motion="reduce")
            for name in names:
                operate_by_keys(live_root(tab.page, name), CASES[name])
            assert tab.problems == []
    assert sorted(in_chapters) == sorted(CASES)


@pytest.mark.parametrize("name", ["book/index", CHAPTER])
def test_nothing_moves_while_it_is_used(name: str, site: Path, visit: Visit) -> None:
    """The switch, the colours, the contents, an answer, the search."""
    page = visit(f"{site.as_uri()}/{name}.html", reduced_motion="reduce").page
    page.keyboard.press("Alt+Shift+KeyF")
    for selector in (
        ".theme-switch-button",
        ".primary-toggle",
        ".primary-toggle",
        ".bd-article details:not(.hide, .setup) summary",
        ".book-nav .search-button__button",
    ):
        for target in page.locator(selector).all()[:1]:
            target.hover()
            target.click()
            assert page.evaluate(MOVING) == [], selector
