"""The explorers in Chromium, in a reader's hands.

tests/unit/test_explorers.py compares what the scripts compute and say with Python. All
share one runtime and one style sheet, so keys, names and themes are tried on the
dimension explorer, which has a control of each kind.
"""

from __future__ import annotations

from typing import Any

import explorer_harness as harness
import pytest
from conftest import Visit
from explorer_cases import CASES, Case
from explorer_harness import PLACES, live_root, operate, put, show
from playwright.sync_api import Locator, Page

DIMENSIONS = CASES["dimensions"]


def open_root(visit: Visit, case: Case, changes: Any = None, **how: Any) -> Locator:
    """An explorer alone on a page, alive."""
    page = visit(**{"reduced_motion": "reduce"} | how).page
    show(page, case.make(**changes or {})._repr_html_())
    return live_root(page, case.name)


def verdict(root: Locator) -> str:
    return root.locator(".x-verdict").inner_text()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_controls_lead_to_what_python_says(case: Case, visit: Visit) -> None:
    tab = visit(reduced_motion="reduce")
    explorer = case.make()
    show(tab.page, explorer._repr_html_())
    root = live_root(tab.page, case.name)
    assert root.evaluate("r => r.compute({})") == case.compute()
    for changes in case.corners:
        for control in explorer.controls:
            if control.name in changes:
                operate(root, control, changes[control.name])
        said, summary = explorer.words(**changes)
        assert verdict(root) == said, changes
        assert root.get_attribute("data-ok") == ("yes" if said[0] == "✓" else "no")
        assert root.locator("svg").get_attribute("aria-label") == summary
        count = (
            f"{len(changes)} change" if said[0] == "✓" else f"{len(changes)} setting"
        )
        assert count in root.locator(".x-count").inner_text()
        for label in root.locator("label:has(input[type=range])").all():
            shown = float(label.locator("b").text_content() or "")
            assert shown == float(label.locator("input").input_value())
        root.get_by_role("button", name="Start over").click()
        assert verdict(root) == explorer.words()[0]
        assert root.locator(".x-count").inner_text() == "Nothing changed yet."
    assert tab.problems == tab.requests == []


def test_what_is_not_a_number_in_range(visit: Visit) -> None:
    root = open_root(visit, CASES["residual_builder"])
    field = root.locator("[name=length]")
    picture = root.locator("svg").inner_html()
    for text in ("", "0", "-3", "1.5", "1000", "1e"):
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


@pytest.mark.parametrize("place", PLACES)
def test_every_place(visit: Visit, place: str) -> None:
    """A page, a sandboxed frame, inserted by JupyterLab, the script before the root."""
    page = visit().page
    show(page, PLACES[place](DIMENSIONS.make()._repr_html_()))
    root = live_root(page.frames[1] if place == "frame" else page, "dimensions")
    root.locator("[name=n]").press("ArrowRight")
    assert verdict(root) == DIMENSIONS.make().words(n=225)[0]


def all_roots(visit: Visit, **how: Any) -> Page:
    """A page with all explorers, alive."""
    page = visit(**{"reduced_motion": "reduce"} | how).page
    show(page, "".join(case.make()._repr_html_() for case in CASES.values()))
    return page


def test_same_one_twice_on_a_page(visit: Visit) -> None:
    """Each answers to its own controls, also in a page that was saved and opened."""
    page = visit().page
    fragment = DIMENSIONS.make()._repr_html_()
    show(page, fragment + fragment)
    for _ in range(2):
        first, second = page.locator(".d2x").all()
        assert first.get_attribute("id") != second.get_attribute("id")
        second.locator("[name=n]").press("ArrowRight")
        assert verdict(first) == DIMENSIONS.make().words()[0]
        assert verdict(second) == DIMENSIONS.make().words(n=225)[0]
        page.set_content(page.content())
        assert page.locator("svg").count() == 2


def test_without_script(visit: Visit) -> None:
    page = all_roots(visit, java_script_enabled=False)
    for case in CASES.values():
        text = page.locator(f"[data-explorer={case.name}]").inner_text()
        for line in (*case.make().words(), "interactive and needs JavaScript"):
            assert line in text
    assert page.locator("svg, input, select, button").count() == 0


def test_tab_key_reaches_every_control(visit: Visit) -> None:
    root = open_root(visit, DIMENSIONS)
    names = [c.name for c in DIMENSIONS.make().controls if c.kind != "hidden"]
    # One stop for all that can be clicked in the picture.
    for name in ["g", *names, "BUTTON"]:
        root.page.keyboard.press("Tab")
        reached = root.evaluate(
            """root => {
                const e = document.activeElement, style = getComputedStyle(e);
                return [e.name || e.tagName, root.contains(e), style.outlineStyle,
                    parseFloat(style.outlineWidth) >= 2];
            }"""
        )
        assert reached == [name, True, "solid", True]


def test_names_for_a_screen_reader(visit: Visit) -> None:
    root = open_root(visit, DIMENSIONS)
    roles: dict[str, Any] = {"range": "slider", "number": "spinbutton"}
    roles |= {"select": "combobox", "checkbox": "checkbox"}
    for control in DIMENSIONS.make().controls:
        if control.kind != "hidden":
            field = root.get_by_role(
                roles[control.kind], name=control.label, exact=True
            )
            assert field.get_attribute("name") == control.name
    assert root.get_by_role("status").count() == 1
    summary = DIMENSIONS.make().words()[1]
    # Buttons, which an image cannot hold; a figure without any is one.
    assert root.get_by_role("group", name=summary, exact=True).count() == 1
    assert root.get_attribute("aria-label") == "Dimension explorer"
    residual = open_root(visit, CASES["residual_builder"])
    assert residual.get_by_role("img").count() == 1


@pytest.mark.parametrize(
    ("system", "on_html", "on_body", "dark"),
    [
        ("light", "", "", False),
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_readable(scheme: str, visit: Visit) -> None:
    page = all_roots(visit, color_scheme=scheme, height=1200)
    for case in CASES.values():
        root = live_root(page, case.name)
        for changes in ({}, *case.corners[:3]):
            put(root, case.make().settings | changes)
            found = root.evaluate(harness.CONTRAST)
            assert len(found) > 10
            assert [text for text in found if text["ratio"] < 4.5] == []


@pytest.mark.parametrize("width", [360, 800])
def test_nothing_is_clipped(width: int, visit: Visit) -> None:
    page = all_roots(visit, width=width)
    for case in CASES.values():
        root = live_root(page, case.name)
        for settings in case.settings(5, seed=5):
            put(root, settings)
            assert root.evaluate(harness.CLIPPED) == [], settings
            assert root.evaluate("r => r.scrollWidth <= r.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_nothing_moves_for_who_asked_for_that(visit: Visit) -> None:
    for motion, moves in (("reduce", False), ("no-preference", True)):
        root = open_root(visit, CASES["residual_builder"], reduced_motion=motion)
        root.locator("[name=padding]").press("ArrowRight")
        root.locator("[name=stride]").press("ArrowLeft")
        assert root.get_attribute("data-ok") == "yes"
        running = root.evaluate("r => r.getAnimations({subtree: true}).length")
        assert (running > 0) is moves


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
        ("input 50", "50", "conv1 10 to 12"),
    ):
        root.get_by_role("button", name=label, exact=True).click()
        assert pinned(root) == pin
        text = root.locator(".x-detail").inner_text()
        assert ("depend on input" in text) == bool(depends)
        assert depends in text
        assert root.get_by_role("button", pressed=True).count() == (pin != "-1")
    root.get_by_role("button", name="Start over").click()
    assert root.locator("svg").inner_html() == before


def focused(root: Locator) -> str | None:
    return root.page.evaluate("document.activeElement.getAttribute('aria-label')")


def test_keys_on_parts(visit: Visit) -> None:
    """One Tab stop; arrows, Home and End move; Enter and Space press; focus stays."""
    small = {"chain": "conv", "n": 12, "kernel_size": 3, "stride": 2}
    root = open_root(visit, DIMENSIONS, small)
    press = root.page.keyboard.press
    for key, label in (
        ("Tab", "input 11, lost"),
        ("ArrowRight", "input 11, lost"),
        ("ArrowLeft", "input 10"),
        ("ArrowUp", "input 9"),
        ("ArrowDown", "input 10"),
        ("Home", "input 0"),
        ("End", "input 11, lost"),
        ("ArrowLeft", "input 10"),
        ("Control+ArrowLeft", "input 10"),
    ):
        press(key)
        assert focused(root) == label, key
        assert pinned(root) == "-1"
        assert root.locator('[data-set][tabindex="0"]').count() == 1
    for key, pin in (("Enter", "10"), (" ", "-1"), (" ", "10")):
        press(key)
        assert (pinned(root), focused(root)) == (pin, "input 10")
    # The next stop is the first control, and the way back ends at what is pinned.
    press("Tab")
    assert root.page.evaluate("document.activeElement.name") == "n"
    press("ArrowRight")
    assert root.page.evaluate("document.activeElement.name") == "n"
    press("Shift+Tab")
    assert focused(root) == "input 10"


def test_slider_whose_end_moves(visit: Visit) -> None:
    """It stays at the end, or where it was put, while its end moves."""
    small = {"chain": "conv", "n": 23, "kernel_size": 3, "stride": 4}
    root = open_root(visit, DIMENSIONS, small)
    n, step = root.locator("[name=n]"), root.locator("[name=step]")
    for control, key, times, state in (
        (n, "ArrowLeft", 1, ("4", "4", "Window 4 reads 16 to 18")),
        (n, "ArrowRight", 5, ("6", "6", "Window 6 reads 24 to 26")),
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
        assert root.locator("label:has([name=step]) b").inner_text() == state[0]
    root.get_by_role("button", name="Start over").click()
    assert step.input_value() == "5"
    opened = open_root(visit, DIMENSIONS, {"step": 10})
    assert opened.locator("[name=step]").input_value() == "10"


def test_open_details_stay_open(visit: Visit) -> None:
    root = open_root(visit, DIMENSIONS)
    details = root.locator(".x-detail details")
    for is_open in (True, False):
        details.locator("summary").click()
        root.locator("[name=n]").press("ArrowLeft")
        assert (details.get_attribute("open") is not None) is is_open
