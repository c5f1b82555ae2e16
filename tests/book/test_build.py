"""Building the book: references, settings, and the words of its failures."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import offline_math
import pytest
import references
from bs4 import BeautifulSoup
from conftest import ROOT, fixture_tree
from pybtex.database import parse_file

from tools import browser, build

BIB = ROOT / "book" / "references.bib"
PAGE = ROOT / "book" / "references.md"


def test_references_page_is_in_step_with_the_bibliography() -> None:
    assert PAGE.read_text("utf-8") == references.render(BIB)


def test_each_reference_has_an_anchor_an_author_a_year_and_a_preprint() -> None:
    entries = parse_file(str(BIB)).entries
    anchors = re.findall(r'<a id="([^"]+)"></a>', PAGE.read_text("utf-8"))
    assert sorted(anchors, key=str.lower) == sorted(entries, key=str.lower)
    for key, entry in entries.items():
        assert entry.persons["author"], key
        year = entry.fields["year"]
        first = entry.persons["author"][0].last_names[0].lower()
        assert key.startswith(f"{first}{year}"), key
        assert re.fullmatch(r"\d{4}\.\d{4,5}", entry.fields["eprint"]), key


def test_no_citation_in_the_sources_dangles() -> None:
    known = set(parse_file(str(BIB)).entries)
    for path in [*ROOT.glob("book/*.md"), *ROOT.glob("chapters/*.ipynb")]:
        cited = set(re.findall(r"references\.md#([\w-]+)", path.read_text("utf-8")))
        assert cited <= known, path


def test_dangling_citation_stops_the_build(tmp_path: Path) -> None:
    tree = fixture_tree(tmp_path)
    page = tree / "book" / "index.md"
    page.write_text("# Page\n\n[Nobody, 1999](references.md#nobody1999)\n")
    with pytest.raises(RuntimeError, match="nobody1999"):
        build.build(tree)


def test_repository_is_one_setting(tmp_path: Path, fixture_site: Path) -> None:
    address = "https://github.com/someone/somewhere"
    tree = fixture_tree(tmp_path, address)
    linked = build.build(tree).parent
    header = ".bd-header-article a[href^=http]"

    def links(site: Path) -> list[str]:
        text = (site / "chapters" / "pairs.html").read_text("utf-8")
        found = BeautifulSoup(text, "html.parser").select(header)
        return [str(link["href"]) for link in found]

    assert links(fixture_site) == []
    found = links(linked)
    assert address in found
    assert any(link.startswith(f"{address}/issues/new") for link in found)
    assert any(link.startswith(f"{address}/edit/main/chapters/pairs") for link in found)
    colab = "https://colab.research.google.com/github/someone/somewhere/blob/main/"
    assert f"{colab}chapters/pairs.ipynb" in found


def test_missing_npm_package_is_one_line_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    with pytest.raises(RuntimeError) as caught:
        offline_math.npm_package("katex", "0.16.22")
    text = str(caught.value)
    assert "\n" not in text
    assert "katex@0.16.22" in text
    assert "npm_config_registry" in text


def test_katex_package_is_the_renderers_version() -> None:
    package = offline_math.npm_package("katex", offline_math.katex.katex_version)
    stated = json.loads((package / "package.json").read_text("utf-8"))["version"]
    assert stated == offline_math.katex.katex_version


def test_only_the_style_and_fonts_of_katex_are_copied(fixture_site: Path) -> None:
    copied = fixture_site / "_static" / "katex"
    kinds = {path.suffix for path in copied.rglob("*") if path.is_file()}
    assert kinds == {".css", ".woff2"}
    css = (copied / "katex.min.css").read_text("utf-8")
    fonts = re.findall(r"url\(([^)]*)\)", css)
    assert fonts
    assert all((copied / font).exists() for font in fonts)


def test_browser_is_named_or_the_cure_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(RuntimeError, match="CHROMIUM=/nowhere/chromium"):
        browser.chromium()
    monkeypatch.delenv("CHROMIUM")
    monkeypatch.setattr(browser, "found", lambda: None)
    monkeypatch.setattr(browser, "install", lambda: None)
    with pytest.raises(RuntimeError, match="install Chromium or Chrome"):
        browser.chromium()
