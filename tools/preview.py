"""The picture of the book: ``python -m tools.preview`` (``make preview``).

Takes ``book/assets/preview.png`` from the rendered front page, in the shape that link
previews have. The README shows it, too.
"""

from __future__ import annotations

import sys

from tools import ROOT, SITE, browser

PAGE = SITE / "book" / "index.html"
FILE = ROOT / "book" / "assets" / "preview.png"
#: What link previews show is 1200 by 630; the page needs 1440 for its two columns.
SIZE, SCALE = (1440, 756), 1.25


def main() -> None:
    """Take the picture and say where it is."""
    if not PAGE.exists():
        sys.exit("there is no rendered book yet: make book")
    with browser.launched() as chromium:
        page = chromium.new_page(
            viewport={"width": SIZE[0], "height": SIZE[1]},
            device_scale_factor=SCALE,
            color_scheme="light",
            reduced_motion="reduce",
        )
        page.goto(PAGE.as_uri())
        page.evaluate("document.fonts.ready")
        page.screenshot(path=FILE)
    print(f"{FILE.relative_to(ROOT)}: {FILE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
