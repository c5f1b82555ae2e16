"""Pairs of cells and the switch, on the fixture book: every kind of cell is there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Tab, Visit
from playwright.sync_api import Locator, Page, Route
from visits import WATCH_SHIFTS

Open = Callable[..., Tab]
NOT_TEXT = ("background", ".linenos", ".highlight .w ")
CHOSEN = "() => document.documentElement.dataset.framework"


@pytest.fixture
def opened(fixture_site: Path, visit: Visit) -> Open:
    """Open the page with pairs from a file."""

    def open_(**how: object) -> Tab:
        return visit(f"{fixture_site.as_uri()}/chapters/pairs.html", **how)

    return open_


def boxes(pair: Locator) -> list[dict[str, float]]:
    """Boxes of the visible halves of a pair, from left or from above."""
    halves = pair.locator(":scope > *:not(style)")
    visible = [half for half in halves.all() if half.is_visible()]
    return [half.bounding_box() or {} for half in visible]


def everything(page: Page) -> list[Locator]:
    """The pairs of cells and the pair of sources."""
    return [*page.locator(".pair").all(), page.locator(".d2l-sources")]


def radio(page: Page, label: str) -> Locator:
    """One position of the switch."""
    return page.get_by_role("radio", name=label, exact=True)


def shown(page: Page, framework: str) -> tuple[int, int]:
    """How many cells of a framework are visible, and how many there are."""
    cells = page.locator(f".tag_{framework}").all()
    return sum(cell.is_visible() for cell in cells), len(cells)


def test_the_page_has_what_is_tested(opened: Open) -> None:
    page = opened().page
    assert page.locator(".pair").count() == 2
    assert page.locator(".side").count() == 4 + 2 + 1
    labels = page.locator(".side-label").all_inner_texts()
    assert labels == ["Gluon", "PyTorch"] * 2 + ["PyTorch", "Gluon", "Exercise"]
    assert page.locator(".tag_both .side-label").count() == 0


@pytest.mark.parametrize("scripts", [True, False])
def test_two_columns_from_1440(opened: Open, scripts: bool) -> None:
    page = opened(java_script_enabled=scripts).page
    for pair in everything(page):
        left, right = boxes(pair)
        assert left["y"] == right["y"]
        assert left["x"] + left["width"] < right["x"]
        assert right["x"] + right["width"] <= 1440
        sidebar = page.locator(".bd-sidebar-primary").bounding_box() or {}
        assert left["x"] > sidebar["x"] + sidebar["width"]


@pytest.mark.parametrize("width", [1439, 1280, 1024, 390])
def test_one_column_in_order_below(opened: Open, width: int) -> None:
    for pair in everything(opened(width=width).page):
        upper, lower = boxes(pair)
        assert upper["x"] == lower["x"]
        assert upper["y"] + upper["height"] <= lower["y"]


@pytest.mark.parametrize("width", [1440, 1600, 1920])
def test_72_characters_fit_a_column(opened: Open, width: int) -> None:
    # A classic scroll bar takes 15 of the 1440 pixels.
    page = opened(width=width).page
    page.add_style_tag(content="html { padding-right: 15px; }")
    code = page.locator(".pair .cell_input pre, .d2l-sources pre")
    assert code.count() == 6
    for pre in code.all():
        measured = pre.evaluate(
            """pre => ({size: parseFloat(getComputedStyle(pre).fontSize),
                        wrap: getComputedStyle(pre).whiteSpace,
                        inside: pre.clientWidth, needed: pre.scrollWidth,
                        longest: Math.max(...pre.innerText.split("\\n")
                                              .map(line => line.length))})"""
        )
        assert measured["size"] >= 12
        assert measured["needed"] <= measured["inside"], measured
        assert measured["wrap"] == "pre"
    longest = code.evaluate_all(
        """all => all.map(pre => Math.max(...pre.innerText.split("\\n")
                                          .map(line => line.length)))"""
    )
    assert max(longest[:4]) == 72
    assert max(longest[4:]) == 72


def test_prose_keeps_its_measure(opened: Open) -> None:
    page = opened().page
    width = page.locator(".bd-article > section > p").first.evaluate(
        """p => { const probe = document.createElement("span");
                  probe.textContent = "0".repeat(72); p.append(probe);
                  const limit = probe.getBoundingClientRect().width; probe.remove();
                  return p.getBoundingClientRect().width / limit }"""
    )
    assert 0.6 < width <= 1


def test_choice_hides_partners_only(opened: Open) -> None:
    page = opened().page
    assert shown(page, "gluon") == (3, 3)
    assert shown(page, "pytorch") == (3, 3)
    radio(page, "PyTorch").check()
    assert shown(page, "gluon") == (1, 3)
    assert shown(page, "pytorch") == (3, 3)
    assert page.locator(".tag_both").is_visible()
    for pair in everything(page):
        (only,) = boxes(pair)
        column = page.locator(".tag_both").bounding_box() or {}
        assert (only["x"], only["width"]) == (column["x"], column["width"])
    radio(page, "Gluon").check()
    assert shown(page, "gluon") == (3, 3)
    assert shown(page, "pytorch") == (1, 3)
    radio(page, "Both").check()
    assert shown(page, "gluon") == shown(page, "pytorch") == (3, 3)


@pytest.mark.parametrize("width", [1440, 390])
def test_switch_by_keyboard(opened: Open, width: int) -> None:
    page = opened(width=width).page
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "framework":
            break
    assert page.evaluate("document.activeElement.value") == "both"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(CHOSEN) == "gluon"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(CHOSEN) == "pytorch"
    for expected in ("both", "gluon", "pytorch"):
        page.keyboard.press("Alt+Shift+KeyF")
        assert page.evaluate(CHOSEN) == expected
        assert page.locator("input[name=framework]:checked").input_value() == expected


@pytest.mark.parametrize("way", ["served", "file"])
def test_choice_is_remembered(
    way: str, fixture_site: Path, fixture_served: str, visit: Visit
) -> None:
    base = fixture_served if way == "served" else fixture_site.as_uri()
    tab = visit(f"{base}/chapters/pairs.html")
    radio(tab.page, "Gluon").check()
    tab.page.goto(f"{base}/book/index.html")
    assert tab.page.evaluate(CHOSEN) == "gluon"
    tab.page.get_by_role("link", name="pairs", exact=True).click()
    assert tab.page.evaluate(CHOSEN) == "gluon"
    assert radio(tab.page, "Gluon").is_checked()
    assert shown(tab.page, "pytorch") == (1, 3)
    assert tab.problems == []


def test_choice_made_before_the_script_is_there_counts(
    fixture_served: str, visit: Visit
) -> None:
    page = visit().page
    held: list[Route] = []
    page.route("**/book.js*", lambda route: held.append(route))
    page.goto(f"{fixture_served}/chapters/pairs.html", wait_until="commit")
    page.locator(".framework-switch label", has_text="Gluon").click()
    for _ in range(500):
        if held:
            break
        page.wait_for_timeout(10)
    held.pop().continue_()
    page.wait_for_function("document.documentElement.dataset.framework === 'gluon'")


def test_choice_is_applied_before_anything_is_painted(opened: Open) -> None:
    # Only the script in the head runs: every file of scripts is kept away.
    tab = opened()
    radio(tab.page, "PyTorch").check()
    tab.page.route("**/*.js*", lambda route: route.abort())
    tab.page.reload()
    assert tab.page.evaluate(CHOSEN) == "pytorch"
    assert shown(tab.page, "gluon") == (1, 3)
    head = tab.page.locator("head").inner_html()
    assert head.index("dataset.framework") < head.index('rel="stylesheet"')


def test_storage_that_is_denied_or_nonsense_means_both(opened: Open) -> None:
    denied = """Object.defineProperty(window, "localStorage",
                {get() { throw new DOMException("denied", "SecurityError") }})"""
    tab = opened(init_script=denied)
    # The theme's own colour switch needs storage; ours must not add to its trouble.
    assert tab.page.evaluate(CHOSEN) == "both"
    radio(tab.page, "Gluon").check()
    assert shown(tab.page, "pytorch") == (1, 3)
    nonsense = opened(init_script='localStorage.setItem("framework", "keras")')
    assert nonsense.page.evaluate(CHOSEN) == "both"


@pytest.mark.parametrize("width", [1440, 390])
def test_without_script_everything_is_there(opened: Open, width: int) -> None:
    page = opened(width=width, java_script_enabled=False).page
    assert shown(page, "gluon") == shown(page, "pytorch") == (3, 3)
    assert page.locator(".framework-switch").is_hidden()


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_moves_while_the_page_arrives(
    fixture_served: str, visit: Visit, width: int
) -> None:
    for kept in ("both", "gluon"):
        script = f'{WATCH_SHIFTS}; localStorage.setItem("framework", "{kept}")'
        page = visit(width=width, init_script=script).page
        # Without fonts, since formulas move when theirs come late on a busy machine.
        page.route("**/*.woff2", lambda route: route.abort())
        page.goto(f"{fixture_served}/chapters/pairs.html")
        page.evaluate("document.fonts.ready")
        page.wait_for_timeout(100)
        assert page.evaluate("window.shifted") < 0.005


def test_switching_keeps_the_place(opened: Open) -> None:
    page = opened(width=1280).page
    heading = page.locator("#exercises h2")
    heading.scroll_into_view_if_needed()
    page.evaluate("scrollBy(0, 200)")
    before = page.locator("#exercises p").first.bounding_box() or {}
    page.keyboard.press("Alt+Shift+KeyF")
    after = page.locator("#exercises p").first.bounding_box() or {}
    assert abs(after["y"] - before["y"]) < 2


@pytest.mark.parametrize("chosen", ["both", "gluon"])
def test_print_shows_both_one_under_the_other(opened: Open, chosen: str) -> None:
    page = opened(init_script=f'localStorage.setItem("framework", "{chosen}")').page
    page.emulate_media(media="print")
    assert shown(page, "gluon") == shown(page, "pytorch") == (3, 3)
    for pair in everything(page):
        upper, lower = boxes(pair)
        assert upper["y"] + upper["height"] <= lower["y"]
    assert page.locator(".framework-switch").is_hidden()


def test_solutions_are_closed_and_measured_numbers_have_no_code(opened: Open) -> None:
    page = opened().page
    solution = page.locator(".tag_solution details")
    assert solution.get_attribute("open") is None
    assert page.get_by_text("passed", exact=True).is_hidden()
    solution.locator("summary").click()
    assert page.get_by_text("passed", exact=True).is_visible()
    assert page.get_by_text("The test accuracy is 97.2%.").is_visible()
    assert page.get_by_text("show.markdown").is_hidden()


def test_figures_become_part_of_a_dark_page(opened: Open) -> None:
    page = opened(color_scheme="dark").page
    image = page.locator(".cell_output img").first
    image.scroll_into_view_if_needed()
    looks = image.evaluate(
        "i => [getComputedStyle(i).filter, getComputedStyle(i).mixBlendMode]"
    )
    assert looks == ["invert(1) hue-rotate(180deg)", "screen"]
    size = image.evaluate("i => [i.width, i.naturalWidth, i.getAttribute('width')]")
    assert size == [360, 720, "360"]


def test_explorer_passes_through_in_full_width(opened: Open) -> None:
    page = opened().page
    explorer = page.locator("[data-explorer=demo]")
    column = page.locator(".tag_both").bounding_box() or {}
    box = explorer.bounding_box() or {}
    assert (box["x"], box["width"]) == (column["x"], column["width"])


def test_no_sideways_scrolling_on_a_phone(opened: Open) -> None:
    page = opened(width=390, height=844).page
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for button in page.locator(".bd-header-article :is(button, label)").all():
        if button.is_visible():
            box = button.bounding_box() or {}
            assert box["width"] >= 24
            assert box["height"] >= 24
            assert box["x"] + box["width"] <= 390


def luminance(color: str) -> float:
    """Relative luminance of ``#rrggbb``, as WCAG defines it."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p < 0.04 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_colours_of_code_can_be_read(fixture_site: Path, mode: str) -> None:
    static = fixture_site / "_static"
    book = (static / "book.css").read_text("utf-8")
    surface = re.search(
        rf'data-theme="{mode}"\][^}}]*--pst-color-surface: (#\w{{6}})', book
    )
    assert surface
    behind = luminance(surface[1])
    pale = []
    for rule in (static / "pygments.css").read_text("utf-8").splitlines():
        color = re.search(rf'"{mode}"\] \.highlight .*[ {{;]color: (#\w{{6}})', rule)
        if color and not any(word in rule for word in NOT_TEXT):
            light, dark = sorted((luminance(color[1]), behind), reverse=True)
            if (light + 0.05) / (dark + 0.05) < 4.5:
                pale.append(rule)
    assert pale == []
