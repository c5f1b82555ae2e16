"""What the keys do, explorers on their pages, motion, and colours that are mixed up."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Tab, Visit
from explorer_cases import CASES
from explorer_harness import live_root, operate_by_keys
from test_pages import PAGES
from visits import MOVING, RECORD, walk

from d2lutils import show

CHAPTER = "chapters/residual_chunks"
# The pair of set-up cells is folded away.
PAIR = ".pair:not(details *)"

# -- where the focus goes --------------------------------------------------------------


def open_page(visit: Visit, site: Path, name: str, **how: Any) -> Tab:
    """Open a page from a file, without motion."""
    how = {"reduced_motion": "reduce"} | how
    return visit(f"{site.as_uri()}/{name}.html", **how)


@pytest.mark.parametrize("name", ["book/index", "book/explorers"])
def test_the_way_back_is_the_same(name: str, site: Path, visit: Visit) -> None:
    page = open_page(visit, site, name).page
    page.evaluate(RECORD)
    there, back = walk(page, "Tab"), walk(page, "Shift+Tab")
    # From the top of the page the way back may begin twice, by the browser's doing.
    whole = back[-len(there) :]
    assert [s["name"] for s in whole] == [s["name"] for s in reversed(there)]
    assert [stop for stop in back if stop["covered"] or not stop["shows"]] == []


# -- what the keys do ------------------------------------------------------------------


def test_skip_link_is_first_and_leads_to_the_text(site: Path, visit: Visit) -> None:
    page = open_page(visit, site, CHAPTER).page
    page.keyboard.press("Tab")
    link = page.get_by_role("link", name="Skip to main content")
    assert link.evaluate("e => e === document.activeElement")
    assert (link.bounding_box() or {})["y"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate(
        "document.querySelector('#main-content').contains(document.activeElement)"
    )


def test_answers_and_hidden_code_open_by_keyboard(site: Path, visit: Visit) -> None:
    page = open_page(visit, site, CHAPTER).page
    kinds = {
        "an answer": page.locator(".bd-article details:not(.hide, .setup)").first,
        "the set-up": page.locator(".bd-article details.setup").first,
        "hidden code": page.locator(".bd-article details.hide").first,
    }
    for details in kinds.values():
        summary = details.locator(":scope > summary")
        for key, is_open in (("Enter", True), (" ", False), (" ", True)):
            summary.press(key)
            assert (details.get_attribute("open") is not None) is is_open
        body = details.locator(":scope > :not(summary)").first
        assert body.is_visible()


def test_code_is_copied_by_keyboard(served: str, visit: Visit) -> None:
    permissions = ["clipboard-read", "clipboard-write"]
    page = visit(f"{served}/{CHAPTER}.html", permissions=permissions).page
    cell = page.locator(".cell_input").first
    code = cell.locator("pre").inner_text()
    cell.locator("button.copybtn").press("Enter")
    page.wait_for_function("navigator.clipboard.readText().then((text) => text !== '')")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == code.strip()


# -- explorers, where readers meet them ------------------------------------------------


@pytest.fixture(scope="session")
def explorers(site: Path) -> dict[str, list[str]]:
    """The explorers on each page of the book that has some."""
    found = {
        name: re.findall(
            r'data-explorer="(\w+)"', (site / f"{name}.html").read_text("utf-8")
        )
        for name in PAGES
    }
    return {name: there for name, there in found.items() if there}


def test_each_explorer_stands_in_a_chapter(explorers: dict[str, list[str]]) -> None:
    there = [
        e for page, found in explorers.items() if "chapters/" in page for e in found
    ]
    assert sorted(there) == sorted(CASES)


def test_explorers_on_their_pages(
    site: Path, visit: Visit, explorers: dict[str, list[str]]
) -> None:
    """Keys change the verdict as Python says, parts are pressed, Enter starts over."""
    for page, names in explorers.items():
        tab = open_page(visit, site, page)
        for name in names:
            operate_by_keys(live_root(tab.page, name), CASES[name])
        assert tab.problems == []


# -- motion ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["book/index", CHAPTER])
def test_nothing_moves_while_it_is_used(name: str, site: Path, visit: Visit) -> None:
    """The switch, the colours, the contents, an answer, the search."""
    page = open_page(visit, site, name).page
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


# -- colours ---------------------------------------------------------------------------

#: How far two colours that mean different things have to stay apart, in Lab; a
#: difference of 2.3 is one that is just noticed side by side.
APART = 20.0
# Machado, Oliveira and Fernandes, 2009, at full severity, on linear RGB.
SIGHT = {
    "all three cones": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
# What the dark book does to figures: invert(1) hue-rotate(180deg).
ROTATE = np.array([[-0.574, 1.43, 0.144], [0.426, 0.43, 0.144], [0.426, 1.43, -0.856]])


def rgb(color: str) -> np.ndarray:
    """``#rrggbb`` as three numbers up to 1."""
    return np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def in_dark(color: np.ndarray) -> np.ndarray:
    """A figure's colour in the dark book."""
    return np.clip(ROTATE @ (1 - color), 0, 1)


def seen(color: np.ndarray, sight: str) -> np.ndarray:
    """The colour in Lab as somebody sees it."""
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(SIGHT[sight] @ linear, 0, 1) / TO_XYZ.sum(axis=1)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def too_close(colors: dict[str, np.ndarray]) -> list[str]:
    """Pairs of colours that somebody mixes up."""
    return [
        f"{a} and {b}, {sight}: {distance:.0f}"
        for sight in SIGHT
        for a, b in itertools.combinations(colors, 2)
        if (distance := np.linalg.norm(seen(colors[a], sight) - seen(colors[b], sight)))
        < APART
    ]


def test_mixed_up_colours_are_found() -> None:
    assert too_close({"red": rgb("#d62728"), "blue": rgb("#1f77b4")}) == []
    found = too_close({"red": rgb("#d62728"), "green": rgb("#2ca02c")})
    assert [words.rsplit(":", 1)[0] for words in found] == [
        "red and green, deuteranopia"
    ]
    assert too_close({"a": rgb("#ffffff"), "b": rgb("#ffffff")})[0].endswith(": 0")
    assert np.allclose(seen(rgb("#ffffff"), "all three cones"), [100, 0, 0], atol=0.01)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_accents_of_the_page(mode: str, site: Path, visit: Visit) -> None:
    page = open_page(visit, site, CHAPTER, color_scheme=mode).page
    colors = page.evaluate(
        """() => Object.fromEntries(["gluon", "pytorch"].map((name) =>
            [name, getComputedStyle(document.documentElement)
                .getPropertyValue(`--${name}`).trim()]))"""
    )
    assert too_close({name: rgb(color) for name, color in colors.items()}) == []


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("pair", [("gluon", "pytorch"), ("good", "bad")])
def test_colours_of_figures(mode: str, pair: tuple[str, str]) -> None:
    colors = {name: rgb(show.COLORS[name]) for name in pair}
    if mode == "dark":
        colors = {name: in_dark(color) for name, color in colors.items()}
    assert too_close(colors) == []


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_right_and_wrong_in_explorers(mode: str) -> None:
    sheet = (ROOT / "d2lutils/explorers/explorers.css").read_text("utf-8")
    pairs = re.findall(r"--(ok|bad): light-dark\((#\w{6}), (#\w{6})\)", sheet)
    colors = {name: rgb(both[mode == "dark"]) for name, *both in pairs}
    assert sorted(colors) == ["bad", "ok"]
    assert too_close(colors) == []


def test_halves_curves_and_links_say_it_without_colour(
    site: Path, visit: Visit
) -> None:
    """Words above each half, dashes in the curves, lines under links in prose."""
    page = open_page(visit, site, CHAPTER).page
    for side in page.locator(f"{PAIR} > .side").all():
        which = (
            "PyTorch" if "pytorch" in (side.get_attribute("class") or "") else "Gluon"
        )
        label = side.locator(".side-label")
        assert label.is_visible()
        assert label.inner_text() == which
    plain = page.locator(".bd-article p > a").evaluate_all(
        """all => all.filter((a) => !a.querySelector("img")
            && getComputedStyle(a).textDecorationLine !== "underline"
            && !a.classList.contains("headerlink")).map((a) => a.outerHTML)"""
    )
    assert plain == []
