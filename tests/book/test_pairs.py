"""Pairs of cells and the switch, on the fixture book: every kind of cell is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Tab, Visit, released
from playwright.sync_api import Locator, Page, Route
from visits import WATCH_SHIFTS

Open = Callable[..., Tab]
CHOSEN = "() => document.documentElement.dataset.framework"
KEEP = 'localStorage.setItem("framework", "{}")'
# The longest line of a block of code, and whether it fits at a readable size.
FITS = """all => all.map(pre => [
    Math.max(...pre.innerText.split("\\n").map(line => line.length)),
    pre.scrollWidth <= pre.clientWidth && getComputedStyle(pre).whiteSpace === "pre"
        && parseFloat(getComputedStyle(pre).fontSize) >= 12])"""


@pytest.fixture
def opened(fixture_site: Path, visit: Visit) -> Open:
    """Open the page with pairs from a file."""

    def open_(**how: object) -> Tab:
        return visit(f"{fixture_site.as_uri()}/chapters/pairs.html", **how)

    return open_


def box(element: Locator) -> dict[str, float]:
    """Where an element stands."""
    return dict(element.bounding_box() or {})


def pairs(page: Page) -> list[list[dict[str, float]]]:
    """Boxes of the visible halves of each pair: of cells, of sources."""
    found = [*page.locator(".pair").all(), page.locator(".d2l-sources")]
    halves = [pair.locator(":scope > *:not(style)").all() for pair in found]
    return [[box(half) for half in both if half.is_visible()] for both in halves]


def choose(page: Page, label: str) -> None:
    """Press one position of the switch."""
    page.get_by_role("radio", name=label, exact=True).check()


def shown(page: Page) -> tuple[int, int]:
    """How many of the three cells of Gluon and of PyTorch are visible."""
    gluon, pytorch = (
        [cell.is_visible() for cell in page.locator(f".tag_{name}").all()]
        for name in ("gluon", "pytorch")
    )
    assert len(gluon) == len(pytorch) == 3
    return sum(gluon), sum(pytorch)


# -- where the halves stand ------------------------------------------------------------


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("width", [1440, 1439, 390])
def test_halves_stand_beside_or_below_each_other(
    opened: Open, width: int, scripts: bool
) -> None:
    page = opened(width=width, java_script_enabled=scripts).page
    assert shown(page) == (3, 3)
    assert page.locator(".framework-switch").is_visible() is scripts
    labels = page.locator(".side-label").all_inner_texts()
    assert labels == ["Gluon", "PyTorch"] * 2 + ["PyTorch", "Gluon", "Exercise"]
    for first, second in pairs(page):
        if width < 1440:
            assert first["x"] == second["x"]
            assert first["y"] + first["height"] <= second["y"]
        else:
            sidebar = box(page.locator(".bd-sidebar-primary"))
            assert sidebar["x"] + sidebar["width"] < first["x"]
            assert first["y"] == second["y"]
            assert first["x"] + first["width"] < second["x"]
            assert second["x"] + second["width"] <= width


@pytest.mark.parametrize("width", [1440, 1920])
def test_72_characters_fit_a_column(opened: Open, width: int) -> None:
    page = opened(width=width).page
    # A classic scroll bar takes 15 of the pixels.
    page.add_style_tag(content="html { padding-right: 15px; }")
    code = page.locator(".pair .cell_input pre, .d2l-sources pre")
    longest, fits = zip(*code.evaluate_all(FITS), strict=True)
    assert all(fits)
    assert max(longest[:4]) == max(longest[4:]) == 72


def test_lines_of_prose_are_no_longer_than_72_characters(opened: Open) -> None:
    share = (
        opened()
        .page.locator(".bd-article > section > p")
        .first.evaluate(
            """p => { const probe = document.createElement("span");
                  probe.textContent = "0".repeat(72); p.append(probe);
                  const limit = probe.getBoundingClientRect().width; probe.remove();
                  return p.getBoundingClientRect().width / limit }"""
        )
    )
    assert 0.6 < share <= 1


@pytest.mark.parametrize("chosen", ["both", "gluon"])
def test_print_shows_both_one_under_the_other(opened: Open, chosen: str) -> None:
    page = opened(init_script=KEEP.format(chosen)).page
    page.emulate_media(media="print")
    assert shown(page) == (3, 3)
    for upper, lower in pairs(page):
        assert upper["y"] + upper["height"] <= lower["y"]
    assert page.locator(".framework-switch").is_hidden()


# -- the switch ------------------------------------------------------------------------


def test_choice_hides_partners_only(opened: Open) -> None:
    page = opened().page
    for label, visible in (("PyTorch", (1, 3)), ("Gluon", (3, 1)), ("Both", (3, 3))):
        choose(page, label)
        assert shown(page) == visible
        column = box(page.locator(".tag_both"))
        for halves in pairs(page):
            if label != "Both":
                (only,) = halves
                assert (only["x"], only["width"]) == (column["x"], column["width"])


def test_switch_by_keyboard(opened: Open) -> None:
    page = opened(width=390).page
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "framework":
            break
    assert page.evaluate("document.activeElement.value") == "both"
    keys = ["ArrowRight"] * 2 + ["Alt+Shift+KeyF"] * 3
    for key, name in zip(keys, ["gluon", "pytorch", "both"] * 2, strict=False):
        page.keyboard.press(key)
        assert page.evaluate(CHOSEN) == name
        assert page.locator("input[name=framework]:checked").input_value() == name


def test_switching_keeps_the_place(opened: Open) -> None:
    page = opened(width=1280).page
    page.locator("#exercises h2").scroll_into_view_if_needed()
    page.evaluate("scrollBy(0, 200)")
    paragraph = page.locator("#exercises p").first
    before = box(paragraph)["y"]
    page.keyboard.press("Alt+Shift+KeyF")
    assert abs(box(paragraph)["y"] - before) < 2


@pytest.mark.parametrize("way", ["served", "file"])
def test_choice_is_remembered(
    way: str, fixture_site: Path, fixture_served: str, visit: Visit
) -> None:
    base = fixture_served if way == "served" else fixture_site.as_uri()
    tab = visit(f"{base}/chapters/pairs.html")
    choose(tab.page, "Gluon")
    tab.page.wait_for_timeout(200)  # Chromium stores it a moment later
    tab.page.goto(f"{base}/book/index.html")
    assert tab.page.evaluate(CHOSEN) == "gluon"
    tab.page.get_by_role("link", name="pairs", exact=True).click()
    assert tab.page.get_by_role("radio", name="Gluon", exact=True).is_checked()
    assert shown(tab.page) == (3, 1)
    assert tab.problems == []


def test_choice_made_before_the_script_is_there_counts(
    fixture_served: str, visit: Visit
) -> None:
    page = visit().page
    held: list[Route] = []
    page.route("**/book.js*", lambda route: held.append(route))
    page.goto(f"{fixture_served}/chapters/pairs.html", wait_until="commit")
    page.locator(".framework-switch label", has_text="Gluon").click()
    released(page, held)
    page.wait_for_function("document.documentElement.dataset.framework === 'gluon'")


def test_choice_is_applied_before_anything_is_painted(
    opened: Open, fixture_served: str, visit: Visit
) -> None:
    # Only the script in the head runs: every file of scripts is kept away.
    page = opened(init_script=KEEP.format("pytorch")).page
    page.route("**/*.js*", lambda route: route.abort())
    page.reload()
    assert shown(page) == (1, 3)
    head = page.locator("head").inner_html()
    assert head.index("dataset.framework") < head.index('rel="stylesheet"')

    page = visit(init_script=f"{WATCH_SHIFTS}; {KEEP.format('gluon')}").page
    # Formulas move when their fonts come late on a busy machine.
    page.route("**/*.woff2", lambda route: route.abort())
    page.goto(f"{fixture_served}/chapters/pairs.html")
    page.evaluate("document.fonts.ready")
    assert page.evaluate("window.shifted") < 0.005


def test_storage_that_is_denied_or_nonsense_means_both(opened: Open) -> None:
    denied = """Object.defineProperty(window, "localStorage",
                {get() { throw new DOMException("denied", "SecurityError") }})"""
    # The theme's own colour switch needs storage; ours must not add to its trouble.
    page = opened(init_script=denied).page
    assert page.evaluate(CHOSEN) == "both"
    choose(page, "Gluon")
    assert shown(page) == (3, 1)
    assert opened(init_script=KEEP.format("keras")).page.evaluate(CHOSEN) == "both"


# -- other cells -----------------------------------------------------------------------


def test_solutions_are_closed_and_measured_numbers_have_no_code(opened: Open) -> None:
    page = opened().page
    assert page.get_by_text("passed", exact=True).is_hidden()
    page.locator(".tag_solution details summary").click()
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


def test_buttons_can_be_hit_on_a_phone(opened: Open) -> None:
    page = opened(width=390, height=844).page
    buttons = page.locator(".bd-header-article :is(button, label):visible").all()
    assert len(buttons) > 3
    for button in map(box, buttons):
        assert min(button["width"], button["height"]) >= 24
        assert button["x"] + button["width"] <= 390
