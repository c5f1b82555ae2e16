"""Every page by keyboard alone, without motion, and for readers who mix up colours."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from conftest import Tab, Visit
from explorer_harness import CASES, live_root
from playwright.sync_api import Page
from test_pages import PAGES

from d2lutils import show
from d2lutils.explorers import base

CHAPTER = "chapters/residual_chunks"
ALL = [*PAGES, "search"]

# -- where the focus goes --------------------------------------------------------------

# Each stop of the focus and what a reader saw of it when the next key went down: its
# looks, which must not be those that it has without the focus, and what lies over it.
# A radio button of the switch is clear, and the words beside it are what one sees.
RECORD = """() => {
window.stops = [];
const drawn = (e) => e.matches("[type=radio]") ? e.nextElementSibling : e;
const looks = (element) => {
    const s = getComputedStyle(drawn(element));
    const width = s.outlineStyle === "none" ? "0px" : s.outlineWidth;
    return `${width === "0px" ? "" : s.outlineColor} ${s.boxShadow}`;
};
const opacity = (element) => {
    let product = 1;
    for (let e = drawn(element); e; e = e.parentElement)
        product *= Number(getComputedStyle(e).opacity);
    return product;
};
const words = (e) => {
    const said = e.getAttribute("aria-label") || e.innerText || e.title || e.value || "";
    return `${e.localName} ${said.trim().slice(0, 60)}`;
};
// Whether some of the first line of its box can be seen where it begins or ends.
const covered = (element) => {
    const whole = element.getClientRects()[0];
    const left = Math.max(whole.left, 0), right = Math.min(whole.right, innerWidth);
    const top = Math.max(whole.top, 0), bottom = Math.min(whole.bottom, innerHeight);
    if (left >= right || top >= bottom) return "outside the window";
    const over = [0.1, 0.5, 0.9].map((share) => document.elementFromPoint(
        (left + right) / 2, top + share * (bottom - top)));
    return over.some((e) => e && (element.contains(e) || e.contains(element)
        || element.closest("label")?.contains(e))) ? "" : over[1] ? words(over[1]) : "";
};
let last = null;
addEventListener("keydown", () => {
    if (last) Object.assign(last, { looks: looks(last.element),
        opacity: opacity(last.element), covered: covered(last.element) });
}, true);
addEventListener("focusin", ({ target }) => {
    if (last) last.shows = looks(last.element) !== last.looks;
    last = { element: target, name: words(target) };
    stops.push(last);
}, true);
window.restart = () => { stops = []; last = null; };
}"""
STOPS = """stops.map(({ name, shows, opacity, covered }, i) => ({
    name, shows, opacity, covered,
    number: stops.findIndex((stop) => stop.element === stops[i].element) }))"""
# What must be reached: all that one can press, open, choose or follow.
WANTED = """() => [...document.querySelectorAll(
        "a[href], button, input, select, textarea, summary, [tabindex]")]
    .filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.disabled
        && e.tabIndex >= 0 && !e.closest("dialog:not([open])")
        && !(e.type === "radio" && !e.checked))
    .filter((e) => !stops.some((stop) => stop.element === e))
    .map((e) => e.outerHTML.slice(0, 120))"""


def walk(page: Page, key: str, limit: int) -> list[dict[str, Any]]:
    """The stops of a key until it comes back to the first; `limit` is too many."""
    page.evaluate("restart()")
    for _ in range(limit // 20 + 1):
        for _ in range(20):
            page.keyboard.press(key)
        stops = page.evaluate(STOPS)
        again = [i for i, stop in enumerate(stops) if stop["number"] < i]
        if again:
            return stops[: again[0]]
    pytest.fail(f"{key} is still going after {limit} stops: {stops[-1]}")


@pytest.mark.parametrize("name", ALL)
def test_x(name: str, site: Path, visit: Visit) -> None:
    tab = visit(f"{site.as_uri()}/{name}.html", reduced_motion="reduce")
    page = tab.page
    page.evaluate(RECORD)
    import time
    t = time.time()
    f = walk(page, "Tab", 1000)
    print(name, len(f), time.time() - t)
    for s in f:
        if not s["shows"] or s["opacity"] < 1 or s["covered"]:
            print("  ", s)
    print(page.evaluate(WANTED)[:5])
    b = walk(page, "Shift+Tab", 1000)
    print(len(b))
    print([s["name"] for s in b if s["covered"]][:5])
    x, y = [s["name"] for s in f], [s["name"] for s in b][::-1]
    print(x == y, [a for a in x if a not in y][:3], [a for a in y if a not in x][:3])
