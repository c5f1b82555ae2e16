"""Search: opened by key and by button, from a server and from a file, by word or name.

A hit has to lead to a page that contains what was searched for.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Visit, released
from playwright.sync_api import Page, Route, expect

CHAPTER = "chapters/residual_chunks.html"
DIALOG = "#pst-search-dialog"
FIELD = f"{DIALOG} input"
HITS = f"{DIALOG} .search-hits a"
PAGE_FIELD = ".bd-search-container input"
PAGE_HITS = "#search-results li a"
FILES = ("searchindex.js", "searchtools.js", "language_data.js")


@pytest.fixture(params=["served", "file"])
def base(request: pytest.FixtureRequest, site: Path, served: str) -> str:
    """The address of the book, on a server and as files."""
    return served if request.param == "served" else site.as_uri()


def search(page: Page, words: str) -> None:
    """Open the dialog by its key and type."""
    page.keyboard.press("Control+k")
    page.locator(FIELD).press_sequentially(words)


def test_hit_leads_to_a_page_with_the_words(base: str, visit: Visit) -> None:
    tab = visit(f"{base}/{CHAPTER}")
    page = tab.page
    page.wait_for_load_state("networkidle")
    assert not [url for url in tab.requests if url.endswith(FILES)]  # not yet wanted
    for query in ("zero_pad_channels", "receptive field"):
        search(page, query)
        first = page.locator(HITS).first
        expect(first).to_be_visible()
        page.locator(FIELD).press("Tab")
        expect(first).to_be_focused()
        target = str(first.get_attribute("href"))
        page.keyboard.press("Enter")
        page.wait_for_url(target)
        text = page.locator("article").text_content() or ""
        assert all(word.lower() in text.lower() for word in query.split())
        # The storage of pages from files is written a moment later, so a quick reader
        # of these may see the words without their colour.
        if base.startswith("http"):
            expect(page.locator("article .highlighted").first).to_be_attached()
    assert tab.problems == []


def test_enter_leads_to_all_hits(base: str, visit: Visit) -> None:
    tab = visit(f"{base}/{CHAPTER}")
    page = tab.page
    search(page, "memory")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=memory")
    expect(page.locator("#search-results h2")).to_have_text("Search Results")
    hits = page.locator(PAGE_HITS)
    assert hits.count() > 3
    page.keyboard.press("Control+k")  # on this page, the key leads to its own field
    expect(page.locator(DIALOG)).to_be_hidden()
    expect(page.locator(PAGE_FIELD)).to_be_focused()
    target = str(hits.first.get_attribute("href"))
    hits.first.click()
    page.wait_for_url(f"**/{target}")
    assert "memory" in (page.locator("article").text_content() or "").lower()
    assert tab.problems == []


@pytest.mark.parametrize(
    ("selector", "width"), [(".search-button", 390), (".search-button-field", 1440)]
)
def test_every_way_out_gives_the_focus_back(
    selector: str, width: int, served: str, visit: Visit
) -> None:
    page = visit(f"{served}/{CHAPTER}", width=width).page
    dialog, button = page.locator(DIALOG), page.locator(f"{selector}.btn")
    for close in ("Escape", "Control+k"):
        button.focus()
        page.keyboard.press("Enter")
        expect(page.locator(FIELD)).to_be_focused()
        page.keyboard.press(close)
        expect(dialog).to_be_hidden()
        expect(button).to_be_focused()
    search(page, "memory")
    page.locator(HITS).nth(1).focus()
    page.keyboard.press("Escape")
    expect(button).to_be_focused()
    button.click()
    expect(dialog).to_be_visible()
    page.mouse.click(5, 5)
    expect(dialog).to_be_hidden()


def test_what_nobody_wrote_is_not_found_and_said_so(served: str, visit: Visit) -> None:
    page = visit(f"{served}/{CHAPTER}").page
    page.keyboard.press("/")
    page.locator(FIELD).press_sequentially("qqxyzzy")
    status = page.locator(f"{DIALOG} [role=status]")
    expect(status).to_have_text("Nothing found.")
    assert page.locator(HITS).count() == 0
    page.locator(FIELD).fill("residual")
    expect(page.locator(HITS).first).to_be_visible()
    page.locator(FIELD).fill("")
    expect(status).to_have_text("")
    page.reload()  # words that were typed, but not followed, are not marked
    page.wait_for_load_state("networkidle")
    assert page.locator(".highlighted").count() == 0


# -- before a script is there ----------------------------------------------------------


def test_what_is_typed_while_the_index_is_on_its_way_counts(
    served: str, visit: Visit
) -> None:
    page = visit(f"{served}/{CHAPTER}").page
    held: list[Route] = []
    for file in ("searchtools.js", "searchindex.js"):
        page.route(f"**/{file}", lambda route: held.append(route))
    page.keyboard.press("Control+k")
    page.keyboard.type("mem")
    released(page, held)
    page.wait_for_function("typeof Search === 'object'")
    page.keyboard.type("ory")
    released(page, held)
    expect(page.locator(HITS).first).to_be_visible()
    expect(page.locator(FIELD)).to_have_value("memory")


@pytest.mark.parametrize("late", ["search.js", "searchtools.js"])
def test_enter_loses_no_words(late: str, served: str, visit: Visit) -> None:
    page = visit().page
    page.route(f"**/{late}*", lambda route: None)
    page.goto(f"{served}/{CHAPTER}", wait_until="commit")
    if late == "search.js":  # then the button leads to the search page
        page.locator(".search-button-field").click()
        page.wait_for_url("**/search.html*", wait_until="commit")
        page.locator(PAGE_FIELD).fill("memory")
    else:
        page.wait_for_load_state()
        page.keyboard.press("Control+k")
        page.keyboard.type("memory")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=memory*", wait_until="commit")
    page.unroute_all()
    page.reload()
    expect(page.locator(PAGE_HITS).first).to_be_visible()
    expect(page.locator(PAGE_FIELD)).to_have_value("memory")


def test_words_typed_on_the_search_page_survive_its_scripts(
    served: str, visit: Visit
) -> None:
    page = visit().page
    held: list[Route] = []
    page.route("**/searchtools.js*", lambda route: held.append(route))
    page.goto(f"{served}/search.html?q=memory", wait_until="commit")
    field = page.locator(PAGE_FIELD)
    field.fill("receptive field")
    released(page, held)
    page.unroute_all()
    page.wait_for_load_state()
    expect(page.locator(PAGE_HITS).first).to_be_visible()
    expect(field).to_have_value("receptive field")
    field.press("Enter")
    page.wait_for_url("**/search.html?q=receptive+field*")
