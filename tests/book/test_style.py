"""Pages look the same with the site's one style sheet and with those it is made of."""

from __future__ import annotations

import re
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
      "font-family", "font-size", "font-weight", "padding", "position",
      "opacity", "visibility", "overflow", "z-index", "text-decoration"];
    return [e.tagName + "." + e.className, getComputedStyle(e, "::before").content,
      Math.round(e.getBoundingClientRect().x),
      ...names.map(name => style.getPropertyValue(name))].join(" | ");
  })"""


@pytest.mark.parametrize(
    ("name", "width", "theme"),
    [("chapters/condconv", 1440, "light"), ("book/porting", 390, "dark")],
)
def test_nothing_that_shows_was_taken_out(
    name: str, width: int, theme: Any, site: Path, served: str, visit: Visit
) -> None:
    def look(whole: bool) -> list[str]:
        page = visit(width=width, color_scheme=theme, reduced_motion="reduce").page
        if whole:
            static = site / "_static"
            sheet = lighten.joined(static, lighten.sheets(static))
            page.route(
                "**/site.css*",
                lambda route: route.fulfill(body=sheet, content_type="text/css"),
            )
        page.goto(f"{served}/{name}.html")
        page.evaluate("document.fonts.ready")
        page.keyboard.press("Control+k")  # the dialog of the search
        page.keyboard.type("memory")
        page.locator(".search-hits a").first.wait_for()
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(300)
        # Sizes to a pixel: layout rounds its thirds either way.
        return [re.sub(r"\.\d+px", "px", line) for line in page.evaluate(LOOK)]

    used, whole = look(False), look(True)
    assert len(used) == len(whole) > 500
    apart = [
        list(zip(one.split(" | "), two.split(" | "), strict=True))
        for one, two in zip(used, whole, strict=True)
        if one != two
    ]
    assert [[pair for pair in fields if len(set(pair)) == 2] for fields in apart] == []
