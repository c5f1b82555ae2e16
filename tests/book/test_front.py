"""Pages made of lists and of other pages' cells; the page around the chapters."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import urldefrag

import lists
import pytest
from bs4 import BeautifulSoup
from cells import notebook_cells
from conftest import ROOT, Visit
from explorer_cases import CASES

CHAPTERS = lists.chapters()
LINES = lists.load(ROOT / "book" / "pages.yml")
NIN = "chapters/nin.html"


@cache
def soup(page: Path) -> BeautifulSoup:
    """A page, parsed."""
    return BeautifulSoup(page.read_text("utf-8"), "html.parser")


# -- lists -----------------------------------------------------------------------------


def test_front_page_lists_the_chapters_in_order_with_line_and_time(site: Path) -> None:
    items = soup(site / "book/index.html").select(".list-chapters > ol > li")
    for item, path in zip(items, CHAPTERS, strict=True):
        link, *more = item.select("a")
        time, *_ = item.select("em")
        further = path.parent / "further" / path.name
        assert bool(more) == (further in lists.notebooks())
        for other in more:
            assert other["href"] == f"../chapters/further/{path.stem}.html"
        assert link["href"] == f"../chapters/{path.stem}.html"
        assert link.get_text() == lists.title(path)
        assert time.get_text() == f"{lists.minutes(path)} min"
        line = re.sub(r"[`\s]+", "", LINES[f"chapters/{path.stem}"])
        assert line in re.sub(r"[`\s]+", "", item.get_text())


def test_reading_time_counts_prose_and_shown_code_before_the_exercises(
    tmp_path: Path,
) -> None:
    def cell(kind: str, source: str, *tags: str) -> dict[str, object]:
        return {"cell_type": kind, "source": source, "metadata": {"tags": list(tags)}}

    prose, code = cell("markdown", "word " * 2000), cell("code", "x = 1\n\n" * 250)
    hidden = cell("code", "x = 1\n" * 2500, "hide-input")
    later = cell("markdown", "## Exercises\n\n" + "word " * 9000)
    short = cell("markdown", "Short.")
    for minutes, cells in (
        (10, [prose]),
        (20, [prose, code, hidden, later, code]),
        (5, [short]),
    ):
        path = tmp_path / f"{minutes}.ipynb"
        path.write_text(json.dumps({"cells": cells}))
        assert lists.minutes(path) == minutes


def test_every_page_has_its_line_in_the_head_and_every_chapter_in_the_readme(
    site: Path,
) -> None:
    assert sorted(LINES) == sorted(lists.pages())
    assert all(40 <= len(line) <= 200 for line in LINES.values())
    assert len(set(LINES.values())) == len(LINES)
    readme = (ROOT / "README.md").read_text("utf-8").lower()
    for name, line in LINES.items():
        for key in ("name=description", 'property="og:description"'):
            (tag,) = soup(site / f"{name}.html").select(f"head meta[{key}]")
            assert tag["content"] == line.replace("`", ""), name
        if name.startswith("chapters/") and "/further/" not in name:
            assert f"`{name}.ipynb`](" in readme, name
            assert line.lower().rstrip(".") in readme, name


def test_links_to_questions_lead_to_the_question_itself(site: Path) -> None:
    """Whether a link leads anywhere at all is asked in `test_pages`."""
    links = soup(site / "book/questions.html").select(".list-asked ul ul a")
    assert len(links) > 10
    for link in links:
        page, anchor = urldefrag(str(link["href"]))
        target = soup((site / "book" / page).resolve()).find(id=anchor)
        assert target, link
        target = target if target.get_text() else target.parent or target
        words = re.findall(r"\w+", link.get_text())
        assert words[0] in target.get_text(), link
        assert words[-1] in target.get_text(), link


def test_index_of_names_points_to_cells_that_use_them(site: Path) -> None:
    names = set()
    for row in soup(site / "book/glossary.html").select(".list-names tbody tr"):
        name, _, places = row.find_all("td")
        called = name.get_text().strip()
        names.add(called)
        for link in places.select("a"):
            page, anchor = urldefrag(str(link["href"]))
            path = (ROOT / "book" / page).resolve().with_suffix(".ipynb")
            cells = {f"cell-{c.get('id')}": c for c in notebook_cells(path)}
            spelt = re.findall(rf"\b{called} as (\w+)", path.read_text("utf-8"))
            words = "|".join([called, *spelt])
            assert re.search(rf"\b({words})\b", lists.source_of(cells[anchor])), link
    assert {"ResidualChunks", "zero_pad_channels", "compare", "sources"} <= names
    assert not {"net", "x", "nn", "parity"} & names


def test_further_measurements_are_a_child_of_their_chapter(site: Path) -> None:
    """In the table of contents; from chapter to chapter one goes past them."""
    one, two, three = (path.stem for path in CHAPTERS[:3])
    for name, entries, around in (
        (two, [f"further/{two}"], [one, three]),
        (f"further/{two}", [two], [two, three]),
    ):
        page = soup(site / f"chapters/{name}.html")
        here = (site / f"chapters/{name}.html").parent
        entry = page.select_one(".book-nav li.toctree-l1.current")
        links = entry.select("a:not(.page-sections a)") if entry else []
        assert links[-1].get_text() == "Further measurements"
        names = [str(link["href"]) for link in links if link["href"] != "#"]
        names += [str(a["href"]) for a in page.select(".prev-next-area a")]
        there = [f"{other}.html" for other in (*entries, *around)]
        assert [(here / n).resolve() for n in names] == [
            (site / "chapters" / n).resolve() for n in there
        ]


# -- cells -----------------------------------------------------------------------------


def test_each_cell_has_its_anchor_and_link(site: Path) -> None:
    for path in lists.notebooks():
        page = soup(site / f"chapters/{lists.place(path)}.html")
        cells = [c for c in notebook_cells(path) if c["cell_type"] == "code"]
        wanted = {f"cell-{cell['id']}" for cell in cells}
        assert wanted == {str(tag["id"]) for tag in page.select("div.cell[id]")}
        links = page.select("div.cell > a.cell-link")
        assert {str(link["href"]) for link in links} == {f"#{name}" for name in wanted}


def test_link_to_a_cell_arrives_below_the_header(site: Path, visit: Visit) -> None:
    page = site / f"chapters/{CHAPTERS[7].stem}.html"
    name = str(soup(page).select("div.cell[id]")[20]["id"])
    tab = visit(f"{page.as_uri()}#{name}", reduced_motion="reduce")
    header = tab.page.locator(".bd-header-article").bounding_box() or {}
    tab.page.wait_for_function(
        """([name, least]) => {
            const { top } = document.getElementById(name).getBoundingClientRect();
            return least <= top && top < 200;
        }""",
        arg=[name, header["height"]],
    )


def test_explorers_page_has_every_explorer_once_and_alive(
    site: Path, visit: Visit
) -> None:
    page = visit(f"{site.as_uri()}/book/explorers.html").page
    alive = page.locator("[data-explorer]").evaluate_all(
        "all => all.filter(e => e.compute).map(e => e.dataset.explorer)"
    )
    assert sorted(alive) == sorted(CASES)
    assert page.locator(".cell_input").count() == 0


def test_front_page_shows_a_pair_a_live_figure_and_a_proof(
    site: Path, visit: Visit
) -> None:
    page = visit(f"{site.as_uri()}/book/index.html").page
    sides = page.locator(".pair").first.locator(".side").all()
    left, right = (side.bounding_box() or {} for side in sides)
    assert left["y"] == right["y"] < 900  # seen before anybody scrolls
    assert left["x"] < right["x"]
    explorer = page.locator("[data-explorer=residual_builder]")
    assert explorer.get_attribute("data-ok") == "no"
    assert explorer.evaluate("e => typeof e.compute") == "function"
    assert "within 1e-10" in page.locator("article table").first.inner_text()


def test_set_up_is_folded_and_code_below_what_it_made(site: Path, visit: Visit) -> None:
    page = visit(f"{site.as_uri()}/{NIN}").page
    fold = page.locator("details.setup")
    assert "google.colab" in (fold.text_content() or "")
    assert not fold.locator("pre").first.is_visible()
    figure = page.locator(".cell.tag_figure.tag_hide-input").first
    tops = figure.evaluate(
        "e => ['img', 'summary'].map(s => e.querySelector(s).getBoundingClientRect().y)"
    )
    assert tops[0] < tops[1]
    # A button for code would stand above the code that `show.sources` shows.
    assert page.locator(".cell:has(.d2l-sources) details").count() == 0


# -- the page around them --------------------------------------------------------------


def test_missing_page_finds_its_style_and_contents_from_any_depth(
    site: Path, served: str, visit: Visit
) -> None:
    text = (site / "404.html").read_text("utf-8")
    tab = visit()
    tab.page.route(
        f"{served}/no/such/page.html",
        lambda route: route.fulfill(body=text, content_type="text/html"),
    )
    tab.page.goto(f"{served}/no/such/page.html")
    assert tab.page.locator("article h1").inner_text() == "No such page"
    tab.page.locator("nav.book-nav a", has_text="PyramidNet").click()
    assert tab.page.url == f"{served}/chapters/pyramidnet.html"
    assert tab.problems == []


@pytest.mark.parametrize("width", [1024, 1440])
def test_contents_can_be_put_away_and_brought_back(
    width: int, site: Path, visit: Visit
) -> None:
    page = visit(f"{site.as_uri()}/{NIN}", width=width).page
    button, contents = page.locator(".primary-toggle"), page.locator(".book-nav")
    button.click()
    contents.wait_for(state="hidden")
    assert (button.bounding_box() or {})["x"] >= 0
    assert page.evaluate("document.querySelector('.bd-main').offsetLeft") == 0
    button.click()
    contents.wait_for(state="visible")


def test_print_is_light_and_shows_the_predictions(site: Path, visit: Visit) -> None:
    page = visit(f"{site.as_uri()}/{NIN}", color_scheme="dark").page
    theme = "document.documentElement.dataset.theme"
    closed = page.locator("article details:not([open])").count()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(theme) == "light"
    assert page.locator("article > section > details:not([open])").count() == 0
    assert page.locator("#exercises details[open]").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(theme) == "dark"
    assert page.locator("article details:not([open])").count() == closed
