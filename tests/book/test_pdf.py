"""The book as a PDF, made from the fixture book."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from pypdf import PdfReader

from tools import pdf

pytestmark = pytest.mark.rare


@pytest.fixture(scope="module")
def book(
    fixture_site: Path, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> PdfReader:
    file = tmp_path_factory.mktemp("pdf") / "book.pdf"
    pages = pdf.make(fixture_site, file, browser)
    reader = PdfReader(file)
    assert len(reader.pages) == pages
    return reader


def test_contents_name_the_page_where_each_part_begins(book: PdfReader) -> None:
    lines = (book.pages[0].extract_text() or "").splitlines()
    stated = dict(line.rsplit(" ", 1) for line in lines if line[-1:].isdigit())
    parts = [item for item in book.outline if not isinstance(item, list)]
    begins = {i.title: book.get_destination_page_number(i) + 1 for i in parts}
    assert list(begins) == ["Front page", "Pairs", "References"]
    assert {title: int(number) for title, number in stated.items()} == begins
    for title, number in begins.items():
        heading = "Fixture" if title == "Front page" else title
        assert heading in (book.pages[number - 1].extract_text() or "")


def test_pages_are_numbered(book: PdfReader) -> None:
    for number, page in enumerate(book.pages, start=1):
        if number > 1:
            assert str(number) in (page.extract_text() or "").split()


def test_links_stay_in_the_file_or_lead_to_the_web(book: PdfReader) -> None:
    inside = outside = 0
    for page in book.pages:
        for reference in page.get("/Annots") or []:
            link: Any = reference.get_object()
            if "/Dest" in link:
                assert link["/Dest"][0].get_object() in book.pages
                inside += 1
            else:
                assert link["/A"]["/URI"].startswith("https://arxiv.org/")
                outside += 1
    assert inside >= 3 + 2
    assert outside > 10


def test_both_frameworks_and_the_sections_are_in_it(book: PdfReader) -> None:
    text = "\n".join(page.extract_text() or "" for page in book.pages)
    for word in ("Conv1D(10)", "Conv1d(10, 20)", "97.2%"):
        assert word in text
    labels = [line for line in text.splitlines() if line in ("Gluon", "PyTorch")]
    assert labels[:2] == ["Gluon", "PyTorch"]  # one under the other
    below = next(item for item in book.outline if isinstance(item, list))
    assert [item.title for item in below][:2] == ["A pair", "Without a partner"]
