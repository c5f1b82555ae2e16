"""The explorers in Chromium: the script against Python, and a reader's hands on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import explorer_harness as harness
import pytest
from explorer_harness import CASES, PLACES, Case, Tab, live_root, operate, put
from playwright.sync_api import Browser, Locator

Open = Callable[..., Tab]

LIGHT_AND_DARK = {
    # who decides: the system, the book, JupyterLab, Colab
    "system, light": ("light", "", "", False),
    "system, dark": ("dark", "", "", True),
    "book, light on a dark system": ("dark", 'data-theme="light"', "", False),
    "book, dark on a light system": ("light", 'data-theme="dark"', "", True),
    "lab, light on a dark system": ("dark", "", 'data-jp-theme-light="true"', False),
    "lab, dark on a light system": ("light", "", 'data-jp-theme-light="false"', True),
    "colab, light on a dark system": ("dark", 'theme="light"', "", False),
    "colab, dark on a light system": ("light", 'theme="dark"', "", True),
}


@pytest.fixture
def open_tab(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Open a fresh tab; at the end nothing may have complained or been fetched."""
    tabs: list[Tab] = []

    def open_(**options: Any) -> Tab:
        options = {"reduced_motion": "reduce"} | options
        context = browser.new_context(**options)
        tabs.append(Tab(context.new_page(), tmp_path))
        return tabs[-1]

    yield open_
    problems = [problem for tab in tabs for problem in tab.problems]
    for tab in tabs:
        tab.page.context.close()
    assert problems == []


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def open_first(case: Case, open_tab: Open, **options: Any) -> Locator:
    tab = open_tab(**options)
    explorer = case.make()
    tab.show(explorer._repr_html_())
    return live_root(tab.page, explorer.name)


def test_script_computes_and_draws_as_python_does(case: Case, open_tab: Open) -> None:
    root = open_first(case, open_tab)
    explorer, settings = case.make(), case.settings(500, seed=1)
    assert len({str(sorted(s.items())) for s in settings}) > 200
    results, views = root.evaluate(
        "(r,all)=>[all.map(s=>r.compute(s)),all.map(s=>r.view(s))]", settings
    )
    for i, s in enumerate(settings):
        assert results[i] == case.compute(**s), s
        assert views[i] == asdict(explorer.view(**s)), s


def test_script_fills_in_defaults(case: Case, open_tab: Open) -> None:
    root = open_first(case, open_tab)
    assert root.evaluate("r=>r.compute({})") == case.compute()


def test_script_takes_over_the_first_frame_unchanged(
    case: Case, open_tab: Open
) -> None:
    fragment = case.make()._repr_html_()
    pictures = []
    for script in (False, True):
        tab = open_tab(java_script_enabled=script)
        tab.show(fragment)
        if script:
            live_root(tab.page, case.make().name)
        svg = tab.page.locator(".d2x svg")
        pictures.append((svg.inner_html(), tab.page.inner_text(".x-verdict")))
    assert pictures[0] == pictures[1]


def test_controls_lead_to_what_python_says(case: Case, open_tab: Open) -> None:
    """20 settings by keys, typing and choosing, each from where the last one ended."""
    root = open_first(case, open_tab)
    explorer = case.make()
    for s in case.settings(20, seed=2):
        for control in explorer.controls:
            operate(root, control, s[control.name])
        view = explorer.view(**s)
        assert root.locator(".x-verdict").inner_text() == view.verdict, s
        assert root.get_attribute("data-ok") == ("yes" if view.ok else "no")
        assert root.locator("svg").get_attribute("aria-label") == view.summary
        changes = sum(s[name] != value for name, value in explorer.settings.items())
        words = root.locator(".x-count").inner_text()
        if changes:
            assert f"{changes} " in words
            assert words.startswith("Solved") == view.ok
        for label in root.locator("label:has(input[type=range])").all():
            shown = label.locator("b").text_content()
            assert float(shown or "") == float(label.locator("input").input_value())
    root.get_by_role("button", name="Start over").click()
    assert root.locator(".x-verdict").inner_text() == explorer.first.verdict
    assert root.locator(".x-count").inner_text() == "Nothing changed yet."


@pytest.mark.parametrize("text", ["", "0", "-3", "1.5", "1000", "1e"])
def test_what_is_not_a_number_in_range(case: Case, open_tab: Open, text: str) -> None:
    root = open_first(case, open_tab)
    field = root.locator("input[type=number]").first
    picture = root.locator("svg").inner_html()
    field.press("Control+a")
    field.press("Delete")
    field.press_sequentially(text)
    low, high = field.get_attribute("min"), field.get_attribute("max")
    said = root.locator(".x-verdict").inner_text()
    assert said.endswith(f": a number from {low} to {high}, without decimals")
    assert field.get_attribute("aria-invalid") == "true"
    if text in ("", "0", "-3"):  # never a number in range while it is typed
        assert root.locator("svg").inner_html() == picture
    field.fill("4")
    assert field.get_attribute("aria-invalid") is None
    assert "without decimals" not in root.locator(".x-verdict").inner_text()


@pytest.mark.parametrize("place", PLACES)
def test_every_place(case: Case, open_tab: Open, place: str) -> None:
    """A file, a sandboxed frame, inserted by JupyterLab, the script before the root."""
    explorer = case.make()
    tab = open_tab()
    tab.show(PLACES[place](explorer._repr_html_()))
    where = tab.page.frames[1] if place == "frame" else tab.page
    root = live_root(where, explorer.name)
    s = case.settings(12, seed=3)[-1]
    for control in explorer.controls:
        operate(root, control, s[control.name])
    assert root.locator(".x-verdict").inner_text() == explorer.view(**s).verdict


def test_several_on_one_page(open_tab: Open) -> None:
    """Two different ones, and the same one twice; each answers to its own controls."""
    explorers = [case.make() for case in CASES.values()]
    explorers.append(explorers[0])
    tab = open_tab()
    tab.show("".join(e._repr_html_() for e in explorers))
    tab.page.wait_for_function(
        "n=>[...document.querySelectorAll('.d2x')].filter(r=>r.compute).length==n",
        arg=len(explorers),
    )
    ids = tab.page.eval_on_selector_all("[id]", "all=>all.map(e=>e.id)")
    assert len(ids) == len(set(ids)) == len(explorers)
    roots = tab.page.locator(".d2x")
    before = [roots.nth(i).inner_text() for i in range(len(explorers))]
    number = roots.last.locator("input[type=number]").first
    number.fill("9")
    after = [roots.nth(i).inner_text() for i in range(len(explorers))]
    same = [a == b for a, b in zip(after, before, strict=True)]
    assert same == [True] * (len(explorers) - 1) + [False]


def test_without_script(case: Case, open_tab: Open) -> None:
    explorer = case.make()
    tab = open_tab(java_script_enabled=False)
    tab.show(explorer._repr_html_())
    page = tab.page
    assert page.locator(".x-verdict").inner_text() == explorer.first.verdict
    assert page.locator("noscript p").is_visible()
    picture = page.locator("svg").bounding_box()
    assert picture is not None
    assert picture["width"] >= 300
    for control in explorer.controls:
        assert page.locator(f'[name="{control.name}"]').is_disabled()


def test_tab_key_reaches_every_control(case: Case, open_tab: Open) -> None:
    root = open_first(case, open_tab)
    reached = []
    for _ in range(len(case.make().controls) + 1):
        root.page.keyboard.press("Tab")
        reached.append(
            root.evaluate(
                """r=>{const e=document.activeElement,s=getComputedStyle(e);
                return[e.name||e.tagName,r.contains(e),e.matches(':focus-visible'),
                s.outlineStyle,parseFloat(s.outlineWidth)]}"""
            )
        )
    names = [control.name for control in case.make().controls]
    assert [name for name, *_ in reached] == [*names, "BUTTON"]
    for name, inside, focus_visible, style, width in reached:
        assert (inside, focus_visible, style) == (True, True, "solid"), name
        assert width >= 2


def test_names_for_a_screen_reader(case: Case, open_tab: Open) -> None:
    root = open_first(case, open_tab)
    roles = {
        "range": "slider",
        "number": "spinbutton",
        "select": "combobox",
        "checkbox": "checkbox",
    }
    for control in case.make().controls:
        role: Any = roles[control.kind]
        field = root.get_by_role(role, name=control.label, exact=True)
        assert field.get_attribute("name") == control.name
    assert root.get_by_role("status").count() == 1
    assert root.get_by_role("img").get_attribute("aria-label")
    assert root.get_attribute("aria-label") == case.make().title


@pytest.mark.parametrize("who", LIGHT_AND_DARK)
def test_readable_in_light_and_dark(case: Case, open_tab: Open, who: str) -> None:
    system, on_html, on_body, dark = LIGHT_AND_DARK[who]
    tab = open_tab(color_scheme=system, viewport={"width": 900, "height": 1200})
    explorer = case.make()
    # The worst surroundings: text as dark as the card, or as light.
    style = f'style="color:{"#000" if dark else "#fff"}" {on_body}'
    tab.show(explorer._repr_html_(), on_html, style)
    root = live_root(tab.page, explorer.name)
    paper = root.evaluate("r=>getComputedStyle(r).backgroundColor")
    brightness = sum(map(int, paper.removeprefix("rgb(").rstrip(")").split(",")))
    assert (brightness < 300) is dark
    seen = set()
    for s in case.settings(10, seed=4):
        put(root, s)
        seen.add(root.get_attribute("data-ok"))
        found = root.evaluate(harness.CONTRAST)
        assert len(found) > 10
        assert [f for f in found if f["ratio"] < 4.5] == []
    assert seen == {"yes", "no"}


@pytest.mark.parametrize("width", [360, 390, 800, 1100])
def test_every_width(case: Case, open_tab: Open, width: int) -> None:
    root = open_first(case, open_tab, viewport={"width": width, "height": 900})
    explorer = case.make()
    for s in case.settings(25, seed=5):
        put(root, s)
        assert root.locator(".x-verdict").inner_text() == explorer.view(**s).verdict
        assert root.evaluate(harness.CLIPPED) == [], s
        wide = root.evaluate(
            "r=>[document.documentElement.scrollWidth,r.scrollWidth-r.clientWidth]"
        )
        assert wide[0] <= width
        assert wide[1] <= 0


def test_nothing_moves_for_who_asked_for_that(open_tab: Open) -> None:
    for motion, moves in (("reduce", False), ("no-preference", True)):
        root = open_first(CASES["residual_builder"], open_tab, reduced_motion=motion)
        for name in ("padding", "stride"):
            step = "ArrowRight" if name == "padding" else "ArrowLeft"
            root.locator(f'[name="{name}"]').press(step)
        assert root.get_attribute("data-ok") == "yes"
        running = root.evaluate("r=>r.getAnimations({subtree:true}).length")
        assert (running > 0) is moves


def test_random_settings_are_varied() -> None:
    """The harness itself: it visits both outcomes and every reason."""
    case = CASES["residual_builder"]
    settings = case.settings(500, seed=1)
    reasons = [case.compute(**s)["reason"] for s in settings]
    words = ("fit", "lengths", "channels", "stride")
    for word in words:
        assert any(word in reason for reason in reasons), word
    assert 20 < reasons.count("") < 480
    assert case.settings(500, seed=1) == settings
