"""The filter over the rows of the porting page, from files, by keyboard."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Visit
from playwright.sync_api import Page, expect

ROWS = ".tag_porting tbody tr"
HEADS = "section:has(> .tag_porting) > :is(h2, h3)"


def typed(page: Page, words: str) -> list[str]:
    """Type words into the filter, by keyboard alone; the names of what shows then."""
    page.get_by_label("Show only rows with").focus()
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    page.keyboard.type(words)
    return page.locator(f"{ROWS}:visible td:first-child").all_inner_texts()


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_rows_by_a_name_in_either_spelling(
    width: int, theme: str, site: Path, visit: Visit
) -> None:
    tab = visit(f"{site.as_uri()}/book/porting.html", width, color_scheme=theme)
    page = tab.page
    status = page.locator(".row-filter [role=status]")
    total, heads = page.locator(ROWS).count(), page.locator(HEADS).count()
    assert page.locator(f"{ROWS}:visible").count() == total > 200
    expect(status).to_have_text("")
    for words, name in (
        ("nd.batch_dot", "batch of products"),
        ("torch.bmm", "batch of products"),
        ("mx.nd.batch_dot", "batch of products"),  # which no row writes like this
        ("EMBEDDING default", "default weights of an embedding"),
        ("SyncBatchNorm", "batch norm over several devices"),
    ):
        assert typed(page, words) == [name]
        expect(status).to_have_text(f"1 of {total} rows")
        assert page.locator(f"{HEADS}:visible").count() == 1
        assert page.locator("a[href='#arrays-and-devices']:visible").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert typed(page, "qqxyzzy") == []
    expect(status).to_have_text("No row has it.")
    assert page.locator(f"{HEADS}:visible").count() == 0
    assert len(typed(page, "")) == total
    expect(status).to_have_text("")
    assert page.locator(f"{HEADS}:visible").count() == heads
    assert tab.problems == []


def test_nothing_is_remembered(served: str, visit: Visit) -> None:
    page = visit(f"{served}/book/porting.html").page
    assert typed(page, "torch.bmm") == ["batch of products"]
    page.reload()
    expect(page.get_by_label("Show only rows with")).to_have_value("")
    assert page.locator(f"{ROWS}[hidden]").count() == 0
    assert page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})") == "{}"


def test_without_script_there_are_all_rows_and_no_filter(
    site: Path, visit: Visit
) -> None:
    address = f"{site.as_uri()}/book/porting.html"
    page = visit(address, java_script_enabled=False).page
    assert page.locator(f"{ROWS}:visible").count() == page.locator(ROWS).count() > 200
    assert page.locator(".row-filter").count() == 0


@pytest.mark.parametrize("name", ["porting", "parity"])
def test_a_wide_table_shows_whole(name: str, site: Path, visit: Visit) -> None:
    """It sticks out of its cell, which must not fade as if it scrolled."""
    page = visit(f"{site.as_uri()}/book/{name}.html").page
    page.locator(".bd-article tbody tr").last.scroll_into_view_if_needed()
    boxes = page.locator(".cell_output:has(> .pst-scrollable-table-container)")
    assert boxes.count() > 3
    for box in boxes.all():
        assert box.get_attribute("data-more") is None
