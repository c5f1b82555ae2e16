"""Search: opened by key and by button, from a server and from a file, by word or name.

A hit has to lead to a page that contains what was searched for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Tab, Visit
from playwright.sync_api import Page, Route, expect

CHAPTER = "chapters/residual_chunks.html"
DIALOG = "#pst-search-dialog"
FIELD = f"{DIALOG} input"
HITS = f"{DIALOG} .search-hits a"
QUERIES = (
    "zero_pad_channels",
    "hybrid_forward",
    "ResidualChunks",
    "receptive field",
    "memory",
)
Open = Callable[..., Tab]


@pytest.fixture(params=["served", "file"])
def opened(
    request: pytest.FixtureRequest, site: Path, served: str, visit: Visit
) -> Open:
    """Open a page of the book, from a server and from a file."""
    base = served if request.param == "served" else site.as_uri()
    return lambda page=CHAPTER, **more: visit(f"{base}/{page}", **more)


def is_open(page: Page) -> bool:
    """Whether the dialog is."""
    found: bool = page.evaluate(f"document.querySelector('{DIALOG}').open")
    return found


def focused(page: Page) -> str:
    """The class of the element that has the focus."""
    return str(page.evaluate("document.activeElement.className"))


@pytest.mark.parametrize("query", QUERIES)
def test_hit_leads_to_a_page_with_the_words(query: str, opened: Open) -> None:
    tab = opened()
    page = tab.page
    page.keyboard.press("Control+k")
    page.locator(FIELD).press_sequentially(query)
    first = page.locator(HITS).first
    expect(first).to_be_visible()
    page.locator(FIELD).press("Tab")
    assert first.evaluate("link => link === document.activeElement")
    target = str(first.get_attribute("href"))
    page.keyboard.press("Enter")
    page.wait_for_url(target)
    text = page.locator("article").text_content() or ""
    assert all(word.lower() in text.lower() for word in query.split())
    expect(page.locator("article .highlighted").first).to_be_attached()
    assert tab.problems == []


def test_nothing_of_the_search_is_loaded_before_it_is_wanted(opened: Open) -> None:
    tab = opened()
    page = tab.page
    names = ("searchindex.js", "searchtools.js", "language_data.js")
    page.wait_for_load_state("networkidle")
    assert not [url for url in tab.requests if url.endswith(names)]
    page.keyboard.press("Control+k")
    page.wait_for_function("typeof Search === 'object' && Search.hasIndex()")
    page.keyboard.press("Control+k")
    page.keyboard.press("Control+k")
    loaded = [url for url in tab.requests if url.endswith(names)]
    assert sorted(url.rsplit("/", 1)[1] for url in loaded) == sorted(names)


@pytest.mark.parametrize(
    ("selector", "width"), [(".search-button", 390), (".search-button-field", 1440)]
)
def test_button_opens_and_escape_gives_the_focus_back(
    selector: str, width: int, opened: Open
) -> None:
    page = opened(width=width).page
    button = page.locator(f"{selector}.search-button__button")
    for close in ("Escape", "Control+k"):
        button.focus()
        page.keyboard.press("Enter")
        assert is_open(page)
        expect(page.locator(FIELD)).to_be_focused()
        page.keyboard.press(close)
        assert not is_open(page)
        expect(button).to_be_focused()
    button.click()
    assert is_open(page)
    page.mouse.click(5, 5)
    assert not is_open(page)


def test_escape_closes_from_a_hit_too(opened: Open) -> None:
    page = opened().page
    link = page.locator("nav.book-nav a.current")
    link.focus()
    page.keyboard.press("/")
    page.locator(FIELD).press_sequentially("memory")
    page.locator(HITS).nth(1).focus()
    page.keyboard.press("Escape")
    assert not is_open(page)
    expect(link).to_be_focused()


def test_what_nobody_wrote_is_not_found_and_said_so(opened: Open) -> None:
    page = opened().page
    page.keyboard.press("Control+k")
    page.locator(FIELD).press_sequentially("qqxyzzy")
    expect(page.locator(f"{DIALOG} [role=status]")).to_have_text("Nothing found.")
    assert page.locator(HITS).count() == 0
    page.locator(FIELD).fill("")
    expect(page.locator(f"{DIALOG} [role=status]")).to_have_text("")


def test_what_is_typed_while_the_index_is_on_its_way_counts(
    served: str, visit: Visit
) -> None:
    page = visit(f"{served}/{CHAPTER}").page
    held: list[Route] = []

    def release() -> None:
        for _ in range(500):
            if held:
                break
            page.wait_for_timeout(10)
        held.pop().continue_()

    for file in ("searchtools.js", "searchindex.js"):
        page.route(f"**/{file}", lambda route: held.append(route))
    page.keyboard.press("Control+k")
    page.keyboard.type("mem")
    release()
    page.wait_for_function("typeof Search === 'object'")
    page.keyboard.type("ory")
    release()
    expect(page.locator(HITS).first).to_be_visible()
    expect(page.locator(FIELD)).to_have_value("memory")


@pytest.mark.parametrize("late", ["search.js", "searchtools.js", "searchindex.js"])
def test_enter_before_a_script_is_there_loses_no_words(
    late: str, served: str, visit: Visit
) -> None:
    page = visit().page
    held: list[Route] = []
    page.route(f"**/{late}*", lambda route: held.append(route))
    page.goto(f"{served}/{CHAPTER}", wait_until="commit")
    if late == "search.js":  # then the button leads to the search page
        page.locator(".search-button-field").click()
        page.wait_for_url("**/search.html*", wait_until="commit")
        page.locator(".bd-search-container input").fill("memory")
    else:
        page.wait_for_load_state()
        page.keyboard.press("Control+k")
        page.keyboard.type("memory")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=memory*", wait_until="commit")
    page.unroute_all()
    page.reload()
    expect(page.locator("#search-results li a").first).to_be_visible()
    expect(page.locator(".bd-search-container input")).to_have_value("memory")


def test_words_typed_on_the_search_page_survive_its_scripts(
    served: str, visit: Visit
) -> None:
    page = visit().page
    held: list[Route] = []
    page.route("**/searchtools.js*", lambda route: held.append(route))
    page.goto(f"{served}/search.html?q=memory", wait_until="commit")
    field = page.locator(".bd-search-container input")
    field.fill("receptive field")
    for _ in range(500):
        if held:
            break
        page.wait_for_timeout(10)
    held.pop().continue_()
    page.unroute_all()
    page.wait_for_load_state()
    expect(page.locator("#search-results li a").first).to_be_visible()
    expect(field).to_have_value("receptive field")
    field.press("Enter")
    page.wait_for_url("**/search.html?q=receptive+field*")


def test_enter_leads_to_all_hits(opened: Open) -> None:
    tab = opened()
    page = tab.page
    page.keyboard.press("Control+k")
    page.locator(FIELD).press_sequentially("memory")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=memory")
    expect(page.locator("#search-results h2")).to_have_text("Search Results")
    hits = page.locator("#search-results li a")
    assert hits.count() > 3
    page.keyboard.press("Control+k")
    assert not is_open(page)
    expect(page.locator(".bd-search-container input")).to_be_focused()
    target = str(hits.first.get_attribute("href"))
    hits.first.click()
    page.wait_for_url(f"**/{target}")
    assert "memory" in (page.locator("article").text_content() or "").lower()
    assert tab.problems == []


def test_page_that_was_searched_for_forgets_it(opened: Open) -> None:
    page = opened().page
    page.keyboard.press("Control+k")
    page.locator(FIELD).press_sequentially("residual")
    expect(page.locator(HITS).first).to_be_visible()
    page.keyboard.press("Control+k")
    page.reload()
    page.wait_for_timeout(200)
    assert page.locator(".highlighted").count() == 0
