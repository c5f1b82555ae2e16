"""Every page of the rendered book: self-contained, silent, connected, accessible."""

from __future__ import annotations

import json
from pathlib import Path

import lists
import pytest
from conftest import Visit
from visits import complaints

PAGES = lists.pages()


@pytest.mark.parametrize("name", [*PAGES, "search", "404"])
def test_page(name: str, site: Path, served: str, visit: Visit) -> None:
    found = list(complaints(name, site, served, visit))
    if found:
        pytest.fail("\n".join([f"{name}:", *found]), pytrace=False)


def test_the_address_of_the_site_leads_to_the_first_page(
    site: Path, visit: Visit
) -> None:
    tab = visit(f"{site.as_uri()}/index.html")
    tab.page.wait_for_url("**/book/index.html")
    assert tab.page.locator("nav.book-nav a[aria-current=page]").count() == 1
    assert tab.problems == []


# What is put into an article that has no fault, and what has to be said of it.
SEEN = {
    "<p style='color: #bbb'>pale</p>": "axe, 1440, light: color-contrast",
    "<p style='color: #444'>dark</p>": "axe, 390, dark: color-contrast",
    "<button></button>": "axe, 390, dark: button-name",
    "<img src='/_static/favicon.svg'>": "without description or size: <img",
    "<div style='width: 1600px'>wide</div>": "pixels wide in a window of 1440",
    "<div style='width: 800px'>wide</div>": "pixels wide in a window of 390",
    "<p id='main-content'>twice</p>": "an id that occurs twice: main-content",
    "<a href='/book/index.html#gone'>gone</a>": "leads nowhere: /book/index.html#gone",
    "<a href='/book/gone.html'>gone</a>": "leads nowhere: /book/gone.html",
    "<img src='http://127.0.0.1:9/x.png' alt='x'>": "asks somebody else",
    "<script>console.warn('late')</script>": "console warning: late",
    "<p style='animation: x 1s !important'>now</p>": "moves: <p",
}
REACHED = {
    "<style>article a:focus-visible { outline: 0 !important }</style>": "does not show",
    "<p style='position: fixed; inset: 0; z-index: 9999'>over</p>": "below p over",
    "<p inert><a href='#'>out of reach</a></p>": "Tab misses <a",
}
PLANT = """addEventListener("DOMContentLoaded", () => document.querySelector("article")
    .append(document.createRange().createContextualFragment(%s)))"""


@pytest.mark.parametrize("planted", [SEEN, REACHED], ids=["seen", "reached"])
def test_planted_faults_are_found(
    planted: dict[str, str], site: Path, served: str, visit: Visit
) -> None:
    fault = PLANT % json.dumps("".join(planted))
    found = list(complaints("book/tested", site, served, visit, fault))
    missed = {
        html: words
        for html, words in planted.items()
        if not any(words in complaint for complaint in found)
    }
    assert missed == {}, found
