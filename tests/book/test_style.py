"""The site's one style sheet looks like all sheets that it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lighten
import pytest
from conftest import Visit

LOOK = """() => [...document.querySelectorAll("body *")]
  .filter(e => !e.closest("svg, script"))
  .map(e => {
    const style = getComputedStyle(e);
    const names = ["color", "background-color", "display", "width", "height", "border",
      "font-family", "font-size", "font-weight", "padding", "margin", "position",
      "opacity", "visibility", "overflow", "z-index", "text-decoration"];
    return [e.tagName + "." + e.className, getComputedStyle(e, "::before").content,
      ...names.map(name => style.getPropertyValue(name))].join(" | ");
  })"""


def all_sheets(site: Path) -> str:
    """What the style sheet was made from, whole."""
    static = site / "_static"
    (code_cells,) = (path.name for path in static.glob("mystnb*.css"))
    names = [
        *lighten.FIRST,
        *("pygments.css", "styles/sphinx-book-theme.css", "copybutton.css"),
        *(code_cells, "katex/katex.min.css", "katex-math.css"),
        *lighten.OURS,
    ]
    return lighten.joined(static, names)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("name", ["chapters/condconv", "book/porting", "book/index"])
def test_nothing_that_shows_was_taken_out(
    name: str, width: int, theme: Any, site: Path, served: str, visit: Visit
) -> None:
    def look(whole: bool) -> list[str]:
        page = visit(width=width, color_scheme=theme, reduced_motion="reduce").page
        if whole:
            sheet = all_sheets(site)
            page.route(
                "**/site.css*",
                lambda route: route.fulfill(body=sheet, content_type="text/css"),
            )
        page.goto(f"{served}/{name}.html")
        page.evaluate("document.fonts.ready")
        page.keyboard.press("Control+k")  # the dialog of the search
        page.keyboard.type("memory")
        page.locator(".search-hits a").first.wait_for()
        found: list[str] = page.evaluate(LOOK)
        return found

    used, whole = look(False), look(True)
    assert len(used) == len(whole) > 500
    assert [pair for pair in zip(used, whole, strict=True) if pair[0] != pair[1]] == []
