"""The explorers in Chromium, in a reader's hands.

tests/unit/test_explorers.py compares what the scripts compute and say with Python. All
share one runtime and one style sheet, so keys, names and themes are tried on the
dimension explorer, which has a control of each kind.
"""

from __future__ import annotations

import html
from typing import Any

import pytest
from conftest import Visit
from explorer_cases import CASES, Case, Settings
from explorer_harness import CLIPPED, CONTRAST, live_root, operate, verdict
from playwright.sync_api import Locator, Page

DIMENSIONS = CASES["dimensions"]
# Sets all controls at once, where how it is done is not the question; twice, since the
# first time may move the end of a slider.
PUT = """(root, settings) => { for (const _ of [1, 2]) {
    for (const input of root.querySelectorAll("[name]"))
        input[input.type === "checkbox" ? "checked" : "value"] = settings[input.name];
    root.querySelector("fieldset").dispatchEvent(new Event("input"));
} }"""


def show(page: Page, body: str, on_html: str = "", on_body: str = "") -> None:
    """Fill a page with ``body``."""
    page.set_content(
        f'<!doctype html><html lang="en" {on_html}><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Explorer</title></head><body {on_body}>{body}</body></html>"
    )


def open_root(visit: Visit, case: Case, changes: Any = None, **how: Any) -> Locator:
    """An explorer alone on a page, alive."""
    page = visit(**{"reduced_motion": "reduce"} | how).page
    show(page, case.make(**changes or {})._repr_html_())
    return live_root(page, case.name)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_controls_lead_to_what_python_says(case: Case, visit: Visit) -> None:
    tab = visit(reduced_motion="reduce")
    explorer = case.make()
    show(tab.page, explorer._repr_html_())
    root = live_root(tab.page, case.name)
    assert root.evaluate("r => r.compute({})") == case.compute()
    for changes in case.corners[:3]:
        for control in explorer.controls:
            if control.name in changes:
                operate(root, control, changes[control.name])
        said, summary = explorer.words(**changes)
        solved = said[0] == "✓"
        assert verdict(root) == said, changes
        assert root.get_attribute("data-ok") == ("yes" if solved else "no")
        assert root.locator("svg").get_attribute("aria-label") == summary
        count = f"{len(changes)} {'change' if solved else 'setting'}"
        assert count in root.locator(".x-count").inner_text()
        for label in root.locator("label:has(input[type=range])").all():
            shown = label.locator("b").text_content() or ""
            assert float(shown) == float(label.locator("input").input_value())
        root.get_by_role("button", name="Start over").click()
        assert verdict(root) == explorer.words()[0]
        assert root.locator(".x-count").inner_text() == "Nothing changed yet."
    assert tab.problems == tab.requests == []


def test_what_is_not_a_number_in_range(visit: Visit) -> None:
    root = open_root(visit, CASES["residual_builder"])
    field = root.locator("[name=length]")
    picture = root.locator("svg").inner_html()
    for text in ("", "0", "1.5", "1000", "1e"):
        field.press("Control+a")
        field.press("Delete")
        field.press_sequentially(text)
        wrong = "✗ Length: a number from 1 to 128, without decimals"
        assert verdict(root) == wrong, text
        assert root.get_attribute("data-ok") == "no"
        assert field.get_attribute("aria-invalid") == "true"
    field.fill("64")
    assert field.get_attribute("aria-invalid") is None
    assert verdict(root) == "✗ 27 + 64: lengths 27 and 64 differ"
    assert root.locator("svg").inner_html() == picture


# -- where it stands -------------------------------------------------------------------

FRAME = """<iframe sandbox="allow-scripts" title="output" width="780" height="900"
srcdoc="<!doctype html><html lang='en'><title>f</title><body>{}"></iframe>"""
# The fragment comes later, as in JupyterLab, which then runs its script by itself; or
# its script runs at once, well before the root is there, as in Colab.
LATER = """<div id="out"></div><template>{}</template><script>setTimeout(() => {{
    const out = document.querySelector("#out");
    out.innerHTML = document.querySelector("template").innerHTML;
    for (const old of out.querySelectorAll("script")) {{
        const script = document.createElement("script");
        script.textContent = old.textContent;
        old.replaceWith(script);
    }}
}}, 100)</script>"""


@pytest.mark.parametrize("place", ["frame", "inserted", "late"])
def test_every_place(visit: Visit, place: str) -> None:
    page = visit().page
    fragment = DIMENSIONS.make()._repr_html_()
    root, script = fragment.split("<script>")
    body = {
        "frame": FRAME.format(html.escape(fragment)),
        "inserted": LATER.format(fragment),
        "late": f"<script>{script}{LATER.format(root)}",
    }
    show(page, body[place])
    live = live_root(page.frames[1] if place == "frame" else page, "dimensions")
    live.locator("[name=n]").press("ArrowRight")
    assert verdict(live) == DIMENSIONS.make().words(n=225)[0]


def test_same_one_twice_on_a_page(visit: Visit) -> None:
    """Each answers to its own controls, also in a page that was saved and opened."""
    page = visit().page
    show(page, 2 * DIMENSIONS.make()._repr_html_())
    for _ in range(2):
        first, second = page.locator(".d2x").all()
        assert first.get_attribute("id") != second.get_attribute("id")
        second.locator("[name=n]").press("ArrowRight")
        assert verdict(first) == DIMENSIONS.make().words()[0]
        assert verdict(second) == DIMENSIONS.make().words(n=225)[0]
        page.set_content(page.content())
        assert page.locator("svg").count() == 2


def all_of_them(visit: Visit, **how: Any) -> Page:
    """A page with all explorers."""
    page = visit(**{"reduced_motion": "reduce"} | how).page
    show(page, "".join(case.make()._repr_html_() for case in CASES.values()))
    return page


def test_without_script(visit: Visit) -> None:
    page = all_of_them(visit, java_script_enabled=False)
    for case in CASES.values():
        text = page.locator(f"[data-explorer={case.name}]").inner_text()
        for line in (*case.make().words(), "interactive and needs JavaScript"):
            assert line in text
    assert page.locator("svg, input, select, button").count() == 0


# -- what it looks like ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "on_html", "on_body", "dark"),
    [
        ("dark", "", "", True),
        ("dark", 'data-theme="light"', "", False),
        ("light", 'data-theme="dark"', "", True),
        ("dark", "", 'data-jp-theme-light="true"', False),
        ("light", "", 'data-jp-theme-light="false"', True),
        ("dark", 'theme="light"', "", False),
        ("light", 'theme="dark"', "", True),
    ],
)
def test_who_decides_on_light_and_dark(
    system: str, on_html: str, on_body: str, dark: bool, visit: Visit
) -> None:
    """The system, or else the book, JupyterLab, or Colab."""
    page = visit(color_scheme=system).page
    show(page, DIMENSIONS.make()._repr_html_(), on_html, on_body)
    paper = page.locator(".d2x").evaluate("r => getComputedStyle(r).backgroundColor")
    assert paper == ("rgb(22, 27, 34)" if dark else "rgb(255, 255, 255)")


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (800, "light")])
def test_readable_and_whole(width: int, scheme: str, visit: Visit) -> None:
    page = all_of_them(visit, width=width, height=1200, color_scheme=scheme)
    for case in CASES.values():
        root = live_root(page, case.name)
        drawn: list[Settings] = case.settings(3, seed=5)
        for settings in (case.make().settings, *drawn[:3], *drawn[-3:]):
            root.evaluate(PUT, settings)
            assert root.evaluate(CLIPPED) == [], settings
            assert root.evaluate("r => r.scrollWidth <= r.clientWidth")
            texts = root.evaluate(CONTRAST)
            assert len(texts) > 10
            assert [text for text in texts if text["ratio"] < 4.5] == [], settings
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_nothing_moves_for_who_asked_for_that(visit: Visit) -> None:
    for motion, moves in (("reduce", False), ("no-preference", True)):
        root = open_root(visit, CASES["residual_builder"], reduced_motion=motion)
        root.locator("[name=padding]").press("ArrowRight")
        root.locator("[name=stride]").press("ArrowLeft")
        assert root.get_attribute("data-ok") == "yes"
        running = root.evaluate("r => r.getAnimations({subtree: true}).length")
        assert (running > 0) is moves


# -- parts that are pressed, and sliders -----------------------------------------------


def pinned(root: Locator) -> str:
    return root.locator('input[name="pin"]').input_value()


def test_click_on_a_part(visit: Visit) -> None:
    """A click sets, one on the same part lets go, one elsewhere moves on."""
    root = open_root(visit, DIMENSIONS, height=1200)
    before = root.locator("svg").inner_html()
    for label, pin, depends in (
        ("input 218", "218", "conv1 52, 53; pool1 25; conv2 23 to 25; pool2 11"),
        ("input 223, lost", "223", "conv1 none"),
        ("input 223, lost", "-1", ""),
        ("inputs 32 to 63", "48", "conv1 10 to 12"),
    ):
        root.get_by_role("button", name=label, exact=True).click()
        assert pinned(root) == pin
        text = root.locator(".x-detail").inner_text()
        assert ("depend on input" in text) == bool(depends)
        assert depends in text
        assert root.get_by_role("button", pressed=True).count() == (pin != "-1")
    root.get_by_role("button", name="Start over").click()
    assert root.locator("svg").inner_html() == before


def test_keys_on_parts(visit: Visit) -> None:
    """One Tab stop; arrows, Home and End move; Enter and Space press; focus stays."""
    small = {"chain": "conv", "n": 12, "kernel_size": 3, "stride": 2}
    root = open_root(visit, DIMENSIONS, small)
    # Its buttons stand in a group: an image cannot hold any.
    summary = DIMENSIONS.make(**small).words()[1]
    assert root.get_by_role("group", name=summary, exact=True).count() == 1

    def focused(key: str) -> Any:
        root.page.keyboard.press(key)
        return root.page.evaluate(
            "(({activeElement: e}) => e.getAttribute('aria-label') ?? e.name)(document)"
        )

    for key, label in (
        ("Tab", "input 11, lost"),
        ("ArrowRight", "input 11, lost"),
        ("ArrowUp", "input 10"),
        ("Home", "input 0"),
        ("ArrowDown", "input 1"),
        ("End", "input 11, lost"),
        ("ArrowLeft", "input 10"),
        ("Control+ArrowLeft", "input 10"),
    ):
        assert focused(key) == label, key
        assert pinned(root) == "-1"
        assert root.locator('[data-set][tabindex="0"]').count() == 1
    for key, pin in (("Enter", "10"), (" ", "-1"), (" ", "10")):
        assert (focused(key), pinned(root)) == ("input 10", pin)
    # The next stop is the first control, and the way back ends at what is pinned.
    assert focused("Tab") == "n"
    assert focused("ArrowRight") == "n"
    assert focused("Shift+Tab") == "input 10"


def test_slider_whose_end_moves(visit: Visit) -> None:
    """It stays at the end, or where it was put, while its end moves."""
    small = {"chain": "conv", "n": 23, "kernel_size": 3, "stride": 4}
    root = open_root(visit, DIMENSIONS, small)
    n, step = root.locator("[name=n]"), root.locator("[name=step]")
    for control, key, times, state in (
        (n, "ArrowRight", 4, ("6", "6", "Window 6 reads 24 to 26")),
        (step, "ArrowLeft", 2, ("4", "6", "Window 4 reads 16 to 18")),
        (n, "ArrowLeft", 15, ("2", "2", "Window 2 reads 8 to 10")),
        (n, "ArrowRight", 15, ("4", "6", "Window 4 reads 16 to 18")),
        (step, "End", 1, ("6", "6", "Window 6 reads 24 to 26")),
        (n, "ArrowLeft", 1, ("5", "5", "Window 5 reads 20 to 22")),
    ):
        for _ in range(times):
            control.press(key)
        reads = root.locator("svg .x-soft").first.text_content()
        assert (step.input_value(), step.get_attribute("max"), reads) == state
    opened = open_root(visit, DIMENSIONS, {"step": 10})
    assert opened.locator("[name=step]").input_value() == "10"


def test_open_details_stay_open(visit: Visit) -> None:
    root = open_root(visit, DIMENSIONS)
    details = root.locator(".x-detail details")
    for is_open in (True, False):
        details.locator("summary").click()
        root.locator("[name=n]").press("ArrowLeft")
        assert (details.get_attribute("open") is not None) is is_open
