"""Pages made of lists and of other pages' cells; what can be taken away; the head."""

from __future__ import annotations

import json
import os
import pkgutil
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urldefrag

import downloads
import lists
import pytest
from bs4 import BeautifulSoup
from cells import notebook_cells
from conftest import ROOT, Visit, fixture_tree

import d2lutils.explorers
from tools import build

CHAPTERS = lists.chapters()
PARTS = {"base"}  # modules of the explorers that are none themselves


def soup(site: Path, name: str) -> BeautifulSoup:
    return BeautifulSoup((site / f"{name}.html").read_text("utf-8"), "html.parser")


# -- the front page --------------------------------------------------------------------


def test_front_page_shows_a_pair_a_live_figure_and_a_proof(
    site: Path, visit: Visit
) -> None:
    tab = visit(f"{site.as_uri()}/book/index.html")
    sides = tab.page.locator(".pair").first.locator(".side")
    assert sides.count() == 2
    left, right = (sides.nth(i).bounding_box() for i in (0, 1))
    assert left
    assert right
    assert left["y"] == right["y"] < 900  # seen before anybody scrolls
    assert left["x"] < right["x"]
    explorer = tab.page.locator("[data-explorer=residual_builder]")
    assert explorer.get_attribute("data-ok") == "no"
    explorer.locator("select").select_option("projection")
    explorer.locator("input[type=range]").nth(2).press("ArrowRight")
    assert explorer.get_attribute("data-ok") == "yes"
    assert "within 1e-10" in tab.page.locator("article table").first.inner_text()
    assert tab.problems == []


def test_front_page_lists_the_chapters_in_order_with_line_and_time(site: Path) -> None:
    items = soup(site, "book/index").select(".list-chapters > ol > li")
    assert len(items) == len(CHAPTERS)
    lines = lists.load(ROOT / "book" / "pages.yml")
    for item, path in zip(items, CHAPTERS, strict=True):
        assert item.a
        assert item.a["href"] == f"../chapters/{path.stem}.html"
        assert item.a.get_text() == lists.title(path)
        assert item.em
        assert item.em.get_text() == f"{lists.minutes(path)} min"
        line = re.sub(r"[`\s]+", "", lines[f"chapters/{path.stem}"])
        assert line in re.sub(r"[`\s]+", "", item.get_text())


def test_reading_time_counts_prose_and_shown_code_before_the_exercises(
    tmp_path: Path,
) -> None:
    def cell(kind: str, source: str, *tags: str) -> dict[str, object]:
        return {"cell_type": kind, "source": source, "metadata": {"tags": list(tags)}}

    def minutes(*cells: dict[str, object]) -> int:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.ipynb"
        path.write_text(json.dumps({"cells": cells}))
        return lists.minutes(path)

    prose, code = cell("markdown", "word " * 2000), cell("code", "x = 1\n\n" * 250)
    hidden = cell("code", "x = 1\n" * 2500, "hide-input")
    later = cell("markdown", "## Exercises\n\n" + "word " * 9000)
    assert minutes(prose) == 10
    assert minutes(prose, code) == 20
    assert minutes(prose, code, hidden, later, code) == 20
    assert minutes(cell("markdown", "Short.")) == 5


def test_every_page_has_its_line_and_the_readme_the_chapters() -> None:
    lines = lists.load(ROOT / "book" / "pages.yml")
    toc = lists.load(ROOT / "_toc.yml")
    names = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    assert sorted(lines) == sorted([toc["root"], *names])
    assert all(40 <= len(line) <= 200 for line in lines.values())
    assert len(set(lines.values())) == len(lines)
    readme = (ROOT / "README.md").read_text("utf-8").lower()
    for path in CHAPTERS:
        name = f"chapters/{path.stem}"
        assert f"`{name}.ipynb`](" in readme, name
        assert lines[name].lower().rstrip(".") in readme, name


# -- cells on other pages, links to cells ----------------------------------------------


def test_explorers_page_has_every_explorer_once_and_alive(
    site: Path, visit: Visit
) -> None:
    there = {
        module.name for module in pkgutil.iter_modules(d2lutils.explorers.__path__)
    }
    tab = visit(f"{site.as_uri()}/book/explorers.html")
    roots = tab.page.locator("[data-explorer]")
    names = roots.evaluate_all("all => all.map(e => e.dataset.explorer)")
    assert sorted(names) == sorted(there - PARTS)
    alive = roots.evaluate_all("all => all.map(e => typeof e.compute)")
    assert set(alive) == {"function"}
    assert tab.page.locator(".cell_input").count() == 0
    assert tab.problems == []


def test_each_cell_has_its_anchor_and_link(site: Path) -> None:
    for path in CHAPTERS:
        page = soup(site, f"chapters/{path.stem}")
        cells = [c for c in notebook_cells(path) if c["cell_type"] == "code"]
        wanted = {f"cell-{cell['id']}" for cell in cells}
        assert wanted == {str(tag["id"]) for tag in page.select("div.cell[id]")}
        links = page.select("div.cell > a.cell-link")
        assert {str(link["href"]) for link in links} == {f"#{name}" for name in wanted}


def test_link_to_a_cell_arrives_below_the_header(site: Path, visit: Visit) -> None:
    cells = [c for c in notebook_cells(CHAPTERS[7]) if c["cell_type"] == "code"]
    name = f"cell-{cells[20]['id']}"
    address = f"{site.as_uri()}/chapters/{CHAPTERS[7].stem}.html#{name}"
    tab = visit(address, reduced_motion="reduce")
    tab.page.wait_for_timeout(300)
    top = tab.page.locator(f"#{name}").evaluate("e => e.getBoundingClientRect().top")
    header = tab.page.locator(".bd-header-article").bounding_box()
    assert header
    assert header["height"] <= top < 200
    link = tab.page.locator(f"#{name} > .cell-link")
    assert link.evaluate("e => getComputedStyle(e).opacity") == "0"
    link.focus()
    tab.page.keyboard.press("Shift+Tab")
    tab.page.keyboard.press("Tab")
    assert link.evaluate("e => getComputedStyle(e).opacity") == "1"


@pytest.mark.parametrize(
    "wanted", ["chapters/pairs nosuchid", "chapters/none abcdef01"]
)
def test_unknown_cell_stops_the_build(tmp_path: Path, wanted: str) -> None:
    tree = fixture_tree(tmp_path)
    page = tree / "book" / "index.md"
    page.write_text(f"# Page\n\n```{{cells}} {wanted}\n```\n")
    with pytest.raises(RuntimeError, match=r"cells: .*(nosuchid|none)"):
        build.build(tree)


def test_questions_lead_to_a_cell_or_to_the_question_itself(site: Path) -> None:
    page = soup(site, "book/questions")
    data = lists.load(ROOT / "book" / "questions.yml")
    answered = page.select("section section > h3")
    assert len(answered) == sum(len(group["questions"]) for group in data)
    for heading in answered:
        last = heading.find_next_siblings("p")[-1]
        assert last.a
        assert re.fullmatch(
            r"\.\./chapters/\w+\.html#cell-[0-9a-f]{8}", str(last.a["href"])
        )
    asked = page.select(".list-asked ul ul a")
    assert len(asked) == sum(len(lists.asked(path)) for path in CHAPTERS)
    assert len(asked) > 50
    for link in asked:
        document, anchor = urldefrag(str(link["href"]))
        name = (site / "book" / document).resolve().relative_to(site.resolve())
        target = soup(site, str(name.with_suffix(""))).find(id=anchor)
        assert target is not None, link
        text = (target if target.get_text() else target.parent or target).get_text()
        words = re.findall(r"\w+", link.get_text())
        assert words[0] in text
        assert words[-1] in text


def test_index_of_names_points_to_cells_that_use_them(site: Path) -> None:
    rows = soup(site, "book/glossary").select(".list-names tbody tr")
    assert len(rows) > 40
    for row in rows:
        name, _, places = row.find_all("td")
        for link in places.select("a"):
            document, anchor = urldefrag(str(link["href"]))
            path = ROOT / "chapters" / f"{Path(document).stem}.ipynb"
            cell = next(
                c for c in notebook_cells(path) if anchor == f"cell-{c.get('id')}"
            )
            text, source = path.read_text("utf-8"), "".join(cell["source"])
            called = name.get_text().strip()
            spelt = [called, *re.findall(rf"\b{called} as (\w+)", text)]
            assert any(re.search(rf"\b{word}\b", source) for word in spelt), link
    names = {row.td.get_text().strip() for row in rows if row.td}
    assert {"ResidualChunks", "zero_pad_channels", "compare", "sources"} <= names
    assert not {"net", "x", "nn", "parity"} & names


# -- what can be taken away ------------------------------------------------------------


def test_a_page_is_rendered_again_when_its_lists_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds = (lists.Asked, lists.Names, downloads.Downloads)
    said = {kind.__name__: "\n".join(kind.markdown()).splitlines() for kind in kinds}
    env = SimpleNamespace(
        found_docs={"lists", "plain"}, metadata={"lists": {"lists": said}, "plain": {}}
    )
    assert lists.outdated(None, env, set(), set(), set()) == []
    monkeypatch.setattr(lists, "asked", lambda path: ["Why?"])
    assert lists.outdated(None, env, set(), set(), set()) == ["lists"]


def test_archive_has_chapters_wheel_and_requirements(site: Path) -> None:
    with zipfile.ZipFile(site / "downloads" / "chapters.zip") as archive:
        names = [name.removeprefix("gluon-and-pytorch/") for name in archive.namelist()]
        for path in CHAPTERS:
            stored = archive.read(f"gluon-and-pytorch/chapters/{path.name}")
            assert stored == path.read_bytes()
        wheel = next(name for name in names if name.endswith(".whl"))
        needed = archive.read("gluon-and-pytorch/requirements.txt").decode()
        begin = archive.read("gluon-and-pytorch/README.txt").decode()
    assert {"README.txt", "LICENSE", "requirements.txt"} <= set(names)
    assert f"./{wheel}" in needed.splitlines()
    assert wheel in begin
    assert "mxnet==1.9.1; python_version" in needed


def test_wheel_of_the_archive_has_the_package(site: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(site / "downloads" / "chapters.zip") as archive:
        wheel = next(name for name in archive.namelist() if name.endswith(".whl"))
        file = tmp_path / Path(wheel).name
        file.write_bytes(archive.read(wheel))
    with zipfile.ZipFile(file) as package:
        inside = {name for name in package.namelist() if name.startswith("d2lutils/")}
        package.extractall(tmp_path / "there")
    sources = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "d2lutils").rglob("*.py")
    }
    assert sources <= inside
    assert "d2lutils/results/condconv.json" in inside
    program = (
        "from d2lutils import shapes, timing;"
        "from d2lutils.explorers.dimensions import dimensions;"
        "timing.stored('condconv'); dimensions()._repr_html_(); print(shapes.__file__)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path / "there",
        env={"PYTHONPATH": str(tmp_path / "there")},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert str(tmp_path) in ran.stdout


def test_archive_is_the_same_from_the_same_sources(tmp_path: Path) -> None:
    files = [tmp_path / name / "chapters.zip" for name in ("one", "two")]
    for file in files:
        downloads.pack(file, "Title")
    assert files[0].read_bytes() == files[1].read_bytes()


def test_downloads_page_names_what_is_there(site: Path) -> None:
    links = soup(site, "book/downloads").select("article a[download]")
    files = [(site / "book" / str(link["href"])).resolve() for link in links]
    assert all(file.exists() for file in files)
    assert {path.name for path in CHAPTERS} <= {file.name for file in files}
    there = downloads.printed() is not None
    assert ("book.pdf" in {file.name for file in files}) == there


def test_a_pdf_of_other_pages_is_not_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_build", "book", "chapters"):
        (tmp_path / name).mkdir()
    page, pdf = tmp_path / "book" / "index.md", tmp_path / "_build" / "book.pdf"
    page.write_text("# Page")
    monkeypatch.setattr(downloads, "ROOT", tmp_path)
    monkeypatch.setattr(downloads, "chapters", list)
    assert downloads.printed() is None
    pdf.write_bytes(b"")
    os.utime(page, (0, 0))
    assert downloads.printed() == pdf
    later = pdf.stat().st_mtime + 10
    os.utime(page, (later, later))
    assert downloads.printed() is None


# -- the head of a page, and an address of its own -------------------------------------


def test_each_page_says_what_it_is_about(site: Path) -> None:
    lines = lists.load(ROOT / "book" / "pages.yml")
    for name, line in lines.items():
        page = soup(site, name)
        for key in ({"name": "description"}, {"property": "og:description"}):
            tag = page.head.find("meta", key) if page.head else None
            assert tag is not None, name
            assert tag["content"] == line.replace("`", ""), name
        assert page.select_one('meta[property="og:title"]'), name
        assert page.select_one('meta[property="og:image"]') is None, name
    assert not (site / "sitemap.xml").exists()


def test_an_address_brings_sitemap_preview_and_links_of_the_missing_page(
    tmp_path: Path,
) -> None:
    base = "https://books.example/blocks"
    tree = fixture_tree(tmp_path)
    settings = tree / "_config.yml"
    text = settings.read_text("utf-8")
    assert '\n  baseurl: ""\n' in text
    settings.write_text(text.replace('baseurl: ""', f'baseurl: "{base}/"'), "utf-8")
    site = build.build(tree).parent
    listed = re.findall(
        r"<loc>([^<]+)</loc>", (site / "sitemap.xml").read_text("utf-8")
    )
    pages = [p for p in site.glob("*/*.html") if p.parent.name in ("book", "chapters")]
    names = {p.relative_to(site).as_posix() for p in pages}
    assert {f"{base}/{name}" for name in names} == set(listed)
    page = soup(site, "chapters/pairs")
    image = page.select_one('meta[property="og:image"]')
    address = page.select_one('link[rel="canonical"]')
    assert image
    assert image["content"] == f"{base}/_static/preview.png"
    assert (site / "_static" / "preview.png").exists()
    assert address
    assert address["href"] == f"{base}/chapters/pairs.html"
    missing = soup(site, "404")
    local = [
        str(tag.get("href") or tag.get("src"))
        for tag in missing.select("link[href], script[src], nav.book-nav a[href]")
        if not str(tag.get("href") or tag.get("src")).startswith(("#", "http"))
    ]
    assert len(local) > 10
    assert [link for link in local if not link.startswith("/blocks/")] == []


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


def test_contents_can_be_put_away_and_brought_back(site: Path, visit: Visit) -> None:
    for width in (1024, 1440, 1920):
        page = visit(f"{site.as_uri()}/chapters/nin.html", width=width).page
        button, contents = page.locator(".primary-toggle"), page.locator(".book-nav")
        assert contents.is_visible()
        button.click()
        contents.wait_for(state="hidden")
        box = button.bounding_box()
        assert box
        assert box["x"] >= 0
        assert page.evaluate("document.querySelector('.bd-main').offsetLeft") == 0
        button.click()
        contents.wait_for(state="visible")


def test_print_is_light_and_shows_the_predictions(site: Path, visit: Visit) -> None:
    page = visit(f"{site.as_uri()}/chapters/nin.html", color_scheme="dark").page
    closed = page.locator("article details:not([open])").count()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert page.locator("article > section > details:not([open])").count() == 0
    assert page.locator("#exercises details[open]").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.locator("article details:not([open])").count() == closed


def test_set_up_is_folded_and_code_below_what_it_made(site: Path, visit: Visit) -> None:
    page = visit(f"{site.as_uri()}/chapters/nin.html").page
    fold = page.locator("details.setup")
    assert fold.count() == 1
    assert "google.colab" in (fold.text_content() or "")
    assert not fold.locator("pre").first.is_visible()
    figure = page.locator(".cell.tag_figure.tag_hide-input").first
    tops = figure.evaluate(
        "e => ['img', 'summary'].map(s => e.querySelector(s).getBoundingClientRect().y)"
    )
    assert tops[0] < tops[1]
    # A button for code would stand above the code that `show.sources` shows.
    assert page.locator(".cell:has(.d2l-sources) details").count() == 0
    overview = f"{site.as_uri()}/book/parity.html"
    assert visit(overview).page.locator("article table").first.is_visible()
