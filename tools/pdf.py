"""The whole book as one PDF: ``python -m tools.pdf [file]`` (``make pdf``).

Prints every page of the rendered book with Chromium in the order of the contents, puts
a page of contents in front, numbers the pages, makes links between pages of the book
links within the PDF, and gives it an outline. Both frameworks are in it, one under the
other. Without a file name it writes ``_build/book.pdf``.
"""

from __future__ import annotations

import html
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

from bs4 import BeautifulSoup
from playwright.sync_api import Browser
from pypdf import PdfReader, PdfWriter
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    Fit,
    NameObject,
    NullObject,
    NumberObject,
)

from tools import ROOT, SITE
from tools import browser as browser_tool

PAPER: dict[str, Any] = {
    "format": "A4",
    "print_background": True,
    "margin": {"top": "18mm", "bottom": "20mm", "left": "17mm", "right": "17mm"},
}
SHEET = """<!doctype html><meta charset="utf-8"><style>
@page { size: A4; margin: 0 } body { margin: 0; font: 10pt sans-serif; color: #333 }
a { color: inherit; text-decoration: none }
.sheet { height: 297mm; position: relative; break-after: page; overflow: hidden }
.number { position: absolute; bottom: 9mm; width: 100%; text-align: center }
h1 { font-size: 28pt; margin: 60mm 25mm 12mm; line-height: 1.1 }
li { display: flex; justify-content: space-between; margin: 0 25mm; padding: 1.2mm 0;
  font-size: 12pt; border-bottom: 1px solid #ddd } ul { padding: 0; margin: 0 }
</style>"""


@dataclass
class Part:
    """One printed page of the book."""

    path: Path
    title: str
    pdf: PdfReader
    start: int
    length: int


def contents(site: Path) -> tuple[str, list[tuple[Path, str]]]:
    """The book's title, and path and title of its pages in order."""
    first = next(iter(site.glob("index.html")), None)
    if first is None:
        raise RuntimeError("there is no rendered book yet: make book")
    entry = BeautifulSoup(first.read_text("utf-8"), "html.parser")
    link = entry.select_one("h1 a")
    front = site / str(link["href"]) if link else first
    menu = BeautifulSoup(front.read_text("utf-8"), "html.parser")
    pages = []
    for item in menu.select("nav.book-nav li[class^=toctree] > a"):
        path = (front.parent / str(item["href"])).resolve()
        path = front.resolve() if item["href"] == "#" else path
        pages.append((path, item.get_text(" ", strip=True)))
    return entry.title.get_text() if entry.title else "Book", pages


def printed(browser: Browser, address: str = "", text: str = "") -> PdfReader:
    """A page of the site, or a text, as PDF."""
    context = browser.new_context(color_scheme="light", reduced_motion="reduce")
    page = context.new_page()
    if address:
        page.goto(address)
        page.evaluate("document.fonts.ready")
        page.evaluate(browser_tool.ALL_FIGURES)
        paper = PAPER
    else:
        page.set_content(text)
        paper = {"prefer_css_page_size": True}
    raw = page.pdf(outline=bool(address), tagged=True, **paper)
    context.close()
    return PdfReader(io.BytesIO(raw))


def target(writer: PdfWriter, number: int, top: float | None) -> ArrayObject:
    """An explicit destination in the joined file."""
    height = NullObject() if top is None else NumberObject(int(top))
    kind = [NameObject("/XYZ"), NullObject(), height, NullObject()]
    return ArrayObject([writer.pages[number].indirect_reference, *kind])


def places(part: Part) -> dict[str, tuple[int, float | None]]:
    """Named places of one part: name to page in the joined file and height."""
    found: dict[str, tuple[int, float | None]] = {}
    for name, place in part.pdf.named_destinations.items():
        number = part.pdf.get_destination_page_number(place)
        if number is not None and number >= 0:
            found[name.lstrip("/")] = (part.start + number, place.top)
    return found


def relink(writer: PdfWriter, parts: list[Part]) -> None:
    """Make links between pages of the book links within the file."""
    named = {part.path: places(part) for part in parts}
    starts = {part.path: part.start for part in parts}
    for part in parts:
        for number in range(part.start, part.start + part.length):
            links = writer.pages[number].get("/Annots") or ArrayObject()
            for reference in list(links):
                link = reference.get_object()
                action = link.get("/A", DictionaryObject()).get_object()
                name = link.get("/Dest", action.get("/D"))
                uri = str(action.get("/URI", ""))
                if isinstance(name, str):
                    path, anchor = part.path, name.lstrip("/")
                elif uri.startswith("file:"):
                    address, anchor = urldefrag(uri)
                    path = Path(unquote(address.removeprefix("file://")))
                else:
                    continue
                link.pop("/A", None)
                link.pop("/Dest", None)
                if path in starts:
                    place = named[path].get(unquote(anchor), (starts[path], None))
                    link[NameObject("/Dest")] = target(writer, *place)
                else:
                    links.remove(reference)


def outline(writer: PdfWriter, part: Part) -> None:
    """The part's title and, below it, its sections."""
    parent = writer.add_outline_item(title=part.title, page_number=part.start)
    below = next((item for item in part.pdf.outline if isinstance(item, list)), [])
    for item in below:
        if not isinstance(item, list):
            number = part.pdf.get_destination_page_number(item)
            if number is not None and number >= 0:
                writer.add_outline_item(
                    title=str(item.title),
                    page_number=part.start + number,
                    parent=parent,
                    fit=Fit.xyz(top=item.top),
                )


def make(site: Path, file: Path, browser: Browser) -> int:
    """Write the PDF and return its number of pages."""
    title, pages = contents(site)
    parts, start = [], 1
    for path, name in pages:
        pdf = printed(browser, path.as_uri())
        parts.append(Part(path, name, pdf, start, len(pdf.pages)))
        start += len(pdf.pages)
    lines = "".join(
        f'<li><a href="#p{part.start}">{html.escape(part.title)}</a>'
        f"<span>{part.start + 1}</span>"
        for part in parts
    )
    front = f'<div class="sheet"><h1>{html.escape(title)}</h1><ul>{lines}</ul></div>'
    sheets = "".join(
        f'<div class="sheet" id="p{n - 1}"><div class="number">{n}</div></div>'
        for n in range(2, start + 1)
    )
    stamps = printed(browser, text=SHEET + front + sheets)
    writer = PdfWriter()
    writer.add_page(stamps.pages[0])
    for part in parts:
        for sheet in part.pdf.pages:
            writer.add_page(sheet).merge_page(stamps.pages[len(writer.pages) - 1])
    relink(writer, [Part(Path(), title, stamps, 0, 1), *parts])
    for part in parts:
        outline(writer, part)
    writer.add_metadata({"/Title": title})
    writer.compress_identical_objects()
    file.parent.mkdir(parents=True, exist_ok=True)
    writer.write(file)
    return len(writer.pages)


def main() -> None:
    """Write the PDF and say where it is."""
    file = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "_build" / "book.pdf"
    try:
        with browser_tool.launched() as chromium:
            count = make(SITE, file, chromium)
    except RuntimeError as error:
        sys.exit(str(error))
    print(f"{file}: {count} pages, {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
