"""What one visit of a page looks at: see ``complaints``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urldefrag, urlparse

import offline_math
from conftest import Tab, Visit
from playwright.sync_api import Page

from tools.browser import ALL_FIGURES

AXE = "4.10.3"
#: Scripts of the theme and of its extensions that the pages do without.
UNWANTED = ("mathjax", "fontawesome", "thebe", "katex.min.js", "togglebutton")
SKIP = "a Skip to main content"

WATCH_SHIFTS = """window.shifted = 0; new PerformanceObserver(list => {
    for (const entry of list.getEntries()) window.shifted += entry.value;
}).observe({type: "layout-shift", buffered: true})"""
MARKUP = """() => {
    const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
    const images = [...document.querySelectorAll("article img")].filter(i =>
        !i.alt || i.alt.includes("_images")
        || !i.getAttribute("width") || !i.getAttribute("height"));
    return {
        twice: ids.filter((id, i) => ids.indexOf(id) !== i),
        bare: images.map(i => i.outerHTML.slice(0, 120)),
        links: [...document.querySelectorAll("[href], [src]")].map(e => new URL(
            e.getAttribute("href") ?? e.getAttribute("src"), location).href),
    };
}"""
MOVING = """() => {
    const running = new Set(document.getAnimations().map(a => a.effect.target));
    return [...document.querySelectorAll("*")].filter(e => {
        const s = getComputedStyle(e);
        const times = `${s.transitionDuration}, ${s.animationDuration}`.split(", ");
        const named = s.animationName !== "none" || s.transitionProperty !== "none";
        return s.scrollBehavior === "smooth" || running.has(e)
            || named && times.some(time => parseFloat(time) > 0.001);
    }).map(e => e.outerHTML.slice(0, 80));
}"""
# One element for each look of text: axe needs seconds to judge the contrast of a whole
# page, on which a few dozen looks repeat. What is positioned may lie on something else.
LOOKS = """() => {
    const behind = new Map([[null, ""]]);
    const back = (e) => {
        if (!behind.has(e)) {
            const { backgroundColor, backgroundImage, opacity, position } =
                getComputedStyle(e);
            const own = [backgroundColor, backgroundImage, opacity];
            if (position !== "static") own.push(position, e.className);
            behind.set(e, `${back(e.parentElement)} ${own}`);
        }
        return behind.get(e);
    };
    const found = new Map();
    for (const e of document.querySelectorAll("body *:not(pre *, .katex *, script)")) {
        const says = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
        if (!says || !e.checkVisibility()) continue;
        const { color, fontSize, fontWeight } = getComputedStyle(e);
        found.set(`${[color, fontSize, fontWeight]} ${back(e)}`, e);
    }
    return [...found.values()];
}"""
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
    const said = [e.getAttribute("aria-label"), e.innerText, e.title, e.value];
    return `${e.localName} ${(said.find(Boolean) || '').trim().slice(0, 60)}`;
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
    const e = last?.element;
    if (e && e === document.activeElement) Object.assign(last, {
        looks: looks(e), opacity: opacity(e), covered: covered(e) });
}, true);
addEventListener("focusin", ({ target }) => {
    if (last?.element === target) return;  // once more, on the way round
    if (last) last.shows = looks(last.element) !== last.looks;
    last = { element: target, name: words(target) };
    stops.push(last);
}, true);
window.restart = () => { stops = []; last = null; };
}"""
STOPS = """stops.map(({ name, shows, opacity, covered }) =>
    ({ name, shows: shows ?? true, opacity, covered }))"""
# What must be reached: all that one can press, open, choose or follow. Of the radio
# buttons of a switch the chosen one, of the parts of a picture one.
MISSED = """() => [...document.querySelectorAll(
        "a[href], button, input, select, textarea, summary, [tabindex]")]
    .filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.disabled
        && e.tabIndex >= 0 && !(e.type === "radio" && !e.checked))
    .filter((e) => !stops.some((stop) => stop.element === e))
    .map((e) => e.outerHTML.slice(0, 120))"""


@cache
def axe() -> str:
    """The source of axe-core, from npm."""
    folder = offline_math.npm_package("axe-core", AXE)
    return (folder / "axe.min.js").read_text("utf-8")


@cache
def anchors(file: Path) -> frozenset[str]:
    """The ids of a page as it is written."""
    return frozenset(re.findall(r'\sid="([^"]*)"', file.read_text("utf-8")))


def dangling(links: list[str], site: Path, served: str) -> Iterator[str]:
    """The links within the book that lead nowhere."""
    for link in dict.fromkeys(links):
        address, anchor = map(unquote, urldefrag(link))
        if address.startswith(served):
            file = site / urlparse(address).path.lstrip("/")
            known = not anchor or file.suffix != ".html" or anchor in anchors(file)
            if not (file.exists() and known):
                yield link.removeprefix(served)


def violations(page: Page, whole: bool) -> Iterator[str]:
    """What axe finds; ``test_colours`` judges the colours of code.

    The frame around the article, and the contrast of each look. ``whole``: and the
    article, which needs no second look in another width.
    """
    found = page.evaluate(
        f"""async (whole) => {{
            const quick = {{resultTypes: ["violations"], preload: false}};
            const named = {{"label-content-name-mismatch": {{enabled: true}}}};
            const plain = {{...named, "color-contrast": {{enabled: false}}}};
            const frame = document.querySelectorAll("header, nav, footer, dialog");
            const parts = {{include: [...({LOOKS})(), ...frame]}};
            const all = {{exclude: ["pre", ".katex"]}};
            const results = [await axe.run(parts, {{rules: named, ...quick}})];
            if (whole) results.push(await axe.run(all, {{rules: plain, ...quick}}));
            return results.flatMap(result => result.violations);
        }}""",
        whole,
    )
    for violation in found:
        places = [node["html"][:120] for node in violation["nodes"][:3]]
        yield f"{violation['id']}: {' '.join(places)}"


def walk(page: Page, key: str = "Tab", limit: int = 1000) -> list[dict[str, Any]]:
    """The stops of a key from the skip link until it is there again.

    Raises ``RuntimeError`` if it is not there after so many stops.
    """
    page.locator("a", has_text="Skip to main content").focus()
    page.evaluate("restart()")
    for _ in range(0, limit, 20):
        for _ in range(20):
            page.keyboard.press(key)
        names = page.evaluate("stops.map(stop => stop.name)")
        if SKIP in names:
            return list(page.evaluate(STOPS)[: names.index(SKIP)])
    raise RuntimeError(f"{key} is still going after {limit} stops: {names[-1]}")


def by_keyboard(page: Page) -> Iterator[str]:
    """What cannot be reached by the Tab key, or not be seen when it has the focus."""
    page.evaluate(RECORD)
    try:
        stops = walk(page)
    except RuntimeError as error:
        yield f"keyboard: {error}"
        return
    for missed in page.evaluate(MISSED):
        yield f"keyboard: Tab misses {missed}"
    for stop in stops:
        if not stop["shows"] or stop["opacity"] < 0.9:
            yield f"keyboard: the focus does not show on {stop['name']}"
        if stop["covered"]:
            yield f"keyboard: {stop['name']} has the focus below {stop['covered']}"


def traffic(tab: Tab, base: str) -> Iterator[str]:
    """What a page asked of others, and what it complained of."""
    yield from tab.problems
    for url in tab.requests:
        if not url.startswith((base, "data:")):
            yield f"asks somebody else: {url}"
        if any(word in url for word in UNWANTED):
            yield f"loads {url}"


def complaints(
    name: str, site: Path, served: str, visit: Visit, fault: str = ""
) -> Iterator[str]:
    """Everything that is wrong with a page.

    From a server: that it does not move while it arrives, nor later for readers who
    asked for that; its ids, figures and links; axe and the layout, wide and light, then
    on a phone and dark. From a file: that everything can be reached by keyboard. Both
    times: no request to somebody else, no message on the console.

    ``fault`` is a script that is run before the page's own.
    """
    script = f"{WATCH_SHIFTS};{fault}"
    tab = visit(f"{served}/{name}.html", init_script=script, reduced_motion="reduce")
    page = tab.page
    page.evaluate("document.fonts.ready")
    # From 0.1 a page counts as unstable; fonts of formulas may come late.
    if (shifted := page.evaluate("window.shifted")) >= 0.1:
        yield f"moves while it arrives: a layout shift of {shifted:.2f}"
    page.evaluate(ALL_FIGURES)
    yield from (f"moves: {element}" for element in page.evaluate(MOVING))
    markup = page.evaluate(MARKUP)
    yield from (f"an id that occurs twice: {name}" for name in markup["twice"])
    yield from (f"without description or size: {image}" for image in markup["bare"])
    for link in dangling(markup["links"], site, served):
        yield f"leads nowhere: {link}"
    page.evaluate(axe())
    states: tuple[tuple[int, Literal["light", "dark"]], ...]
    states = (1440, "light"), (390, "dark")
    for width, theme in states:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme)
        page.wait_for_function(
            "theme => document.documentElement.dataset.theme === theme", arg=theme
        )
        if (wide := page.evaluate("document.documentElement.scrollWidth")) != width:
            yield f"{wide} pixels wide in a window of {width}"
        for violation in violations(page, whole=width == 390):
            yield f"axe, {width}, {theme}: {violation}"
    yield from traffic(tab, served)
    if name != "404":  # its links begin at the top of a server
        tab = visit(
            f"{site.as_uri()}/{name}.html", init_script=fault, reduced_motion="reduce"
        )
        yield from by_keyboard(tab.page)
        yield from traffic(tab, site.as_uri())
