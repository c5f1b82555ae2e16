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
        # All that the script may add: what makes buttons of the clickable parts.
        if script:
            svg.evaluate(
                """e=>e.querySelectorAll('[data-set]').forEach(g=>{
                for(const a of['role','tabindex','aria-pressed'])
                g.removeAttribute(a)})"""
            )
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
        # A slider beyond its end for now may have kept where it was put before.
        beyond = sum(s[name] > limit for name, limit in view.limits.items())
        if changes:
            counts = range(changes, changes + beyond + 1)
            assert any(f"{count} " in words for count in counts)
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
    names = [c.name for c in case.make().controls if c.kind != "hidden"]
    if len(names) < len(case.make().controls):
        names.insert(0, "g")  # one stop for all that can be clicked in the picture
    for _ in range(len(names) + 1):
        root.page.keyboard.press("Tab")
        reached.append(
            root.evaluate(
                """r=>{const e=document.activeElement,s=getComputedStyle(e);
                return[e.name||e.tagName,r.contains(e),e.matches(':focus-visible'),
                s.outlineStyle,parseFloat(s.outlineWidth)]}"""
            )
        )
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
    picture: Any = "img"
    for control in case.make().controls:
        if control.kind == "hidden":  # buttons, which an image cannot hold
            picture = "group"
            continue
        role: Any = roles[control.kind]
        field = root.get_by_role(role, name=control.label, exact=True)
        assert field.get_attribute("name") == control.name
    assert root.get_by_role("status").count() == 1
    svg = root.locator("svg")
    assert svg.get_attribute("role") == picture
    label = svg.get_attribute("aria-label")
    assert label
    assert root.get_by_role(picture, name=label, exact=True).count() == 1
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


def open_dimensions(open_tab: Open, **changes: Any) -> Locator:
    explorer = CASES["dimensions"].make(**changes)
    tab = open_tab(viewport={"width": 900, "height": 1200})
    tab.show(explorer._repr_html_())
    return live_root(tab.page, explorer.name)


def focused(root: Locator) -> dict[str, Any]:
    """What is said about the element that has the focus, and whether it shows."""
    return root.page.evaluate(
        """()=>{const e=document.activeElement,s=getComputedStyle(e);return{
        label:e.getAttribute('aria-label'),role:e.getAttribute('role'),
        pressed:e.getAttribute('aria-pressed'),
        shows:e.matches(':focus-visible')&&s.outlineStyle=='solid'}}"""
    )


def pinned(root: Locator) -> str:
    return root.locator('input[name="pin"]').input_value()


def test_click_on_a_part(open_tab: Open) -> None:
    """A click sets, one on the same part lets go, one elsewhere moves on."""
    root = open_dimensions(open_tab)
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
        on = root.get_by_role("button", pressed=True)
        assert on.count() == (pin != "-1")
    assert "1 setting changed" in root.locator(".x-count").inner_text()
    root.get_by_role("button", name="Start over").click()
    assert pinned(root) == "-1"
    assert root.locator("svg").inner_html() == before


def test_keys_on_parts(open_tab: Open) -> None:
    """One Tab stop; arrows, Home and End move; Enter and Space press; focus stays."""
    root = open_dimensions(open_tab, chain="conv", n=12, kernel_size=3, stride=2)
    press = root.page.keyboard.press
    press("Tab")
    assert focused(root) == {
        "label": "input 11, lost",
        "role": "button",
        "pressed": "false",
        "shows": True,
    }
    for key, label in (
        ("ArrowRight", "input 11, lost"),
        ("ArrowLeft", "input 10"),
        ("ArrowUp", "input 9"),
        ("ArrowDown", "input 10"),
        ("Home", "input 0"),
        ("ArrowLeft", "input 0"),
        ("End", "input 11, lost"),
        ("ArrowLeft", "input 10"),
    ):
        press(key)
        assert focused(root)["label"] == label, key
        assert focused(root)["shows"]
        assert pinned(root) == "-1"
        assert root.locator('[data-set][tabindex="0"]').count() == 1
    for key, pin in (("Enter", "10"), (" ", "-1"), (" ", "10")):
        press(key)
        assert pinned(root) == pin
        now = focused(root)
        assert now["label"] == "input 10"
        assert now["pressed"] == ("false" if pin == "-1" else "true")
        assert now["shows"]
    press("Control+ArrowLeft")
    assert focused(root)["label"] == "input 10"
    # The next stop is the first control, and the way back ends at what is pinned.
    press("Tab")
    assert root.page.evaluate("document.activeElement.name") == "n"
    press("Shift+Tab")
    assert focused(root)["label"] == "input 10"
    # Redrawn from elsewhere: the focus is left where it is, the stop is the pinned.
    operate(root, CASES["dimensions"].make().controls[0], 20)
    assert root.page.evaluate("document.activeElement.name") == "n"
    stop = root.locator('[data-set][tabindex="0"]')
    assert stop.get_attribute("aria-label") == "input 10"


def test_parts_of_a_picture_have_labels_of_their_own(open_tab: Open) -> None:
    root = open_dimensions(open_tab)
    for s in CASES["dimensions"].settings(25, seed=6):
        put(root, s)
        parts = root.locator("svg [data-set]")
        labels = parts.evaluate_all("all=>all.map(e=>e.getAttribute('aria-label'))")
        assert len(set(labels)) == len(labels) > 0
        assert root.locator('svg [tabindex="0"]').count() == 1


def test_slider_whose_end_moves(open_tab: Open) -> None:
    """It stays at the end, or where it was put, while its end moves."""
    root = open_dimensions(open_tab, chain="conv", n=23, kernel_size=3, stride=4)
    n, step = (root.locator(f'[name="{name}"]') for name in ("n", "step"))

    def state() -> tuple[str, str | None, str]:
        words = root.locator("label:has([name=step]) b").inner_text()
        assert words == step.input_value()
        reads = root.locator("svg .x-soft").first.text_content() or ""
        return words, step.get_attribute("max"), reads

    assert state() == ("5", "5", "Window 5 reads 20 to 22")
    n.press("ArrowLeft")
    assert state() == ("4", "4", "Window 4 reads 16 to 18")
    assert "1 setting changed" in root.locator(".x-count").inner_text()
    for _ in range(5):
        n.press("ArrowRight")
    assert state() == ("6", "6", "Window 6 reads 24 to 26")
    for _ in range(2):
        step.press("ArrowLeft")
    assert state() == ("4", "6", "Window 4 reads 16 to 18")
    for _ in range(15):
        n.press("ArrowLeft")
    assert state() == ("2", "2", "Window 2 reads 8 to 10")
    for _ in range(15):
        n.press("ArrowRight")
    assert state() == ("4", "6", "Window 4 reads 16 to 18")
    step.press("End")
    n.press("ArrowLeft")
    assert state() == ("5", "5", "Window 5 reads 20 to 22")
    root.get_by_role("button", name="Start over").click()
    assert state() == ("5", "5", "Window 5 reads 20 to 22")
    assert root.locator(".x-count").inner_text() == "Nothing changed yet."


def test_slider_that_opens_below_its_end(open_tab: Open) -> None:
    root = open_dimensions(open_tab, step=10)
    assert root.locator("[name=step]").input_value() == "10"
    root.locator("[name=stride]").press("ArrowRight")
    assert root.locator("[name=step]").input_value() == "10"
    assert "1 setting changed" in root.locator(".x-count").inner_text()


def test_open_details_stay_open(open_tab: Open) -> None:
    root = open_dimensions(open_tab)
    details = root.locator(".x-detail details")
    details.locator("summary").click()
    assert "219 below, 227 above" in details.inner_text()
    root.locator("[name=n]").press("ArrowLeft")
    assert details.get_attribute("open") is not None
    details.locator("summary").click()
    root.locator("[name=n]").press("ArrowLeft")
    assert details.get_attribute("open") is None


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
