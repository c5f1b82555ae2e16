"""Building the book: what stops a build, its settings, and what a reader takes away."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import cells
import downloads
import lists
import offline_math
import pytest
from bs4 import BeautifulSoup, Tag
from conftest import ROOT, SETTINGS, fixture_tree

from tools import browser, build


def test_references_are_in_order_and_named_after_author_and_year() -> None:
    page = (ROOT / "book" / "references.md").read_text("utf-8")
    keys = re.findall(r'<a id="(.+)">', page)
    assert keys == sorted(set(keys))
    entry = (
        r'<a id="(.+)"></a>\n(.+?) \((\d{4})\)\. \*.+\.\* .*\[(.+)\]\(https://(.+)\)\n'
    )
    found = re.findall(entry, page)
    assert [key for key, *_ in found] == keys
    for key, authors, year, shown, address in found:
        first = re.split(r",| and ", authors)[0].split()[-1].lower()
        assert key.startswith(f"{first}{year}"), key
        assert shown.partition(":")[2] in address, key


def test_what_leads_nowhere_stops_the_build(tmp_path: Path) -> None:
    tree = fixture_tree(tmp_path)
    (tree / "book" / "index.md").write_text(
        "# Page\n\n[Nobody, 1999](references.md#nobody1999)\n\n$\\frac{$\n\n"
        "```{cells} chapters/pairs nosuchid\n```\n\n"
        "```{cells} chapters/none cell-1\n```\n"
    )
    with pytest.raises(RuntimeError) as caught:
        build.build(tree)
    for word in ("nobody1999", "formula", "no cell nosuchid", "got chapters/none"):
        assert word in str(caught.value), word


def test_address_of_the_repository_makes_buttons(
    site: Path, fixture_site: Path
) -> None:
    header = ".bd-header-article a[href^=http]"
    if not re.search(r'(?m)^  url: "."', (ROOT / "_config.yml").read_text("utf-8")):
        assert elements(site / "chapters/nin.html", header) == []
    found = elements(fixture_site / "chapters/pairs.html", header)
    links = {str(link["href"]).split("?")[0] for link in found}
    repository = SETTINGS["url"]
    colab = "https://colab.research.google.com/github/a/b/blob/main"
    assert {
        repository,
        f"{repository}/issues/new",
        f"{repository}/edit/main/chapters/pairs.ipynb",
        f"{colab}/chapters/pairs.ipynb",
    } <= links


def test_address_of_the_book_makes_previews_and_a_sitemap(fixture_site: Path) -> None:
    base = SETTINGS["baseurl"].rstrip("/")
    page = fixture_site / "chapters/pairs.html"
    (image,) = elements(page, 'meta[property="og:image"]')
    assert image["content"] == f"{base}/_static/preview.png"
    assert (fixture_site / "_static" / "preview.png").exists()
    (address,) = elements(page, 'link[rel="canonical"]')
    assert address["href"] == f"{base}/chapters/pairs.html"
    sitemap = (fixture_site / "sitemap.xml").read_text("utf-8")
    pages = [*fixture_site.glob("book/*.html"), *fixture_site.glob("chapters/*.html")]
    names = {page.relative_to(fixture_site).as_posix() for page in pages}
    assert set(re.findall(f"<loc>{base}/([^<]+)</loc>", sitemap)) == names
    # The page for missing pages is shown at any depth.
    parts = "link[href], script[src], nav.book-nav a[href]"
    tags = elements(fixture_site / "404.html", parts)
    addresses = [str(tag.get("href") or tag.get("src")) for tag in tags]
    local = [a for a in addresses if not a.startswith(("#", "http"))]
    assert len(local) > 10
    assert [link for link in local if not link.startswith("/blocks/")] == []


def elements(page: Path, selector: str) -> list[Tag]:
    """What a selector finds in a page."""
    soup = BeautifulSoup(page.read_text("utf-8"), "html.parser")
    return list(soup.select(selector))


def test_what_cannot_be_had_is_one_line_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    words = r"\A[^\n]*katex@0\.16\.22[^\n]*npm_config_registry[^\n]*\Z"
    with pytest.raises(RuntimeError, match=words):
        offline_math.npm_package("katex", "0.16.22")
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(RuntimeError, match="CHROMIUM=/nowhere/chromium"):
        browser.chromium()


def test_only_the_style_and_fonts_of_katex_are_copied(fixture_site: Path) -> None:
    copied = fixture_site / "_static" / "katex"
    kinds = {path.suffix for path in copied.rglob("*") if path.is_file()}
    assert kinds == {".css", ".woff2"}
    fonts = re.findall(r"url\(([^)]*)\)", (copied / "katex.min.css").read_text("utf-8"))
    assert fonts
    assert all((copied / font).exists() for font in fonts)


# -- what can be taken away ------------------------------------------------------------


def test_archive_has_the_chapters_and_a_package_that_works(
    site: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(site / "downloads" / "chapters.zip") as archive:
        archive.extractall(tmp_path)
    there = tmp_path / "gluon-and-pytorch"
    for path in lists.notebooks():
        assert (there / path.relative_to(ROOT)).read_bytes() == path.read_bytes()
    assert (there / "LICENSE").exists()
    (wheel,) = there.glob("*.whl")
    needed = (there / "requirements.txt").read_text("utf-8")
    assert f"./{wheel.name}" in needed.splitlines()
    assert "mxnet==1.9.1; python_version" in needed
    assert wheel.name in (there / "README.txt").read_text("utf-8")
    with zipfile.ZipFile(wheel) as package:
        inside = set(package.namelist())
        package.extractall(tmp_path / "there")
    sources = (ROOT / "d2lutils").rglob("*.py")
    assert {path.relative_to(ROOT).as_posix() for path in sources} <= inside
    for path in lists.chapters():  # for the GPU report: their code alone
        copied = (tmp_path / "there" / "d2lutils" / "chapters" / path.name).read_text()
        code = [c for c in cells.notebook_cells(path) if c["cell_type"] == "code"]
        kept = json.loads(copied)["cells"]
        assert [c["source"] for c in kept] == [c["source"] for c in code]
        assert not any(c["outputs"] for c in kept)
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


def test_archive_is_the_same_from_the_same_sources(site: Path, tmp_path: Path) -> None:
    again = tmp_path / "downloads" / "chapters.zip"
    downloads.pack(again, lists.load(ROOT / "_config.yml")["title"])
    for path in again.parent.iterdir():
        assert path.read_bytes() == (site / "downloads" / path.name).read_bytes()


def test_a_pdf_of_other_pages_is_not_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, pdf = tmp_path / "book" / "index.md", tmp_path / "_build" / "book.pdf"
    for file in (page, pdf):
        file.parent.mkdir()
    page.write_text("# Page")
    monkeypatch.setattr(downloads, "ROOT", tmp_path)
    monkeypatch.setattr(downloads, "notebooks", list)
    assert downloads.printed() is None
    pdf.write_bytes(b"")
    for changed, offered in ((0, pdf), (pdf.stat().st_mtime + 10, None)):
        os.utime(page, (changed, changed))
        assert downloads.printed() == offered
