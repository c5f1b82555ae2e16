"""Every page of the rendered book: self-contained, silent, connected, accessible."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlparse

import offline_math
import pytest
import yaml
from bs4 import BeautifulSoup
from conftest import ROOT, Visit
from playwright.sync_api import Page

AXE = "4.10.3"
WATCH_SHIFTS = """window.shifted = 0; new PerformanceObserver(list => {
    for (const entry of list.getEntries()) window.shifted += entry.value;
}).observe({type: "layout-shift", buffered: true})"""


def toc_pages() -> list[str]:
    """Names of the pages that ``_toc.yml`` lists."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    chapters = [c for part in toc["parts"] for c in part["chapters"]]
    return [toc["root"], *(chapter["file"] for chapter in chapters)]


PAGES = toc_pages()


@pytest.fixture(scope="session")
def documents(site: Path) -> dict[Path, BeautifulSoup]:
    """All pages of the site, parsed."""
    files = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    return {
        path: BeautifulSoup(path.read_text("utf-8"), "html.parser") for path in files
    }


def test_every_page_of_the_contents_is_rendered(site: Path) -> None:
    assert [name for name in PAGES if not (site / f"{name}.html").exists()] == []


@pytest.mark.parametrize("way", ["served", "file"])
@pytest.mark.parametrize("name", [*PAGES, "search"])
def test_page_asks_nobody_moves_nothing_and_complains_of_nothing(
    name: str, way: str, site: Path, served: str, visit: Visit
) -> None:
    base = served if way == "served" else site.as_uri()
    tab = visit(f"{base}/{name}.html", init_script=WATCH_SHIFTS)
    tab.page.evaluate("document.fonts.ready")
    # Formulas may move when their font comes late: from a file, where browsers preload
    # none, and on a busy machine. From 0.1 a page counts as unstable.
    if way == "served":
        assert tab.page.evaluate("window.shifted") < 0.1
    tab.page.mouse.wheel(0, 4000)
    tab.page.wait_for_timeout(100)
    outside = [url for url in tab.requests if not url.startswith((base, "data:"))]
    assert outside == []
    assert tab.problems == []


def test_links_and_anchors_lead_somewhere(
    site: Path, documents: dict[Path, BeautifulSoup]
) -> None:
    ids = {
        path: {tag["id"] for tag in document.select("[id]")}
        for path, document in documents.items()
    }
    dangling = []
    for path, document in documents.items():
        for tag in document.select("[href], [src]"):
            address = str(tag.get("href") or tag.get("src") or "")
            if urlparse(address).scheme:
                continue
            target, anchor = urldefrag(address)
            target = unquote(target.split("?")[0])
            here = site if target.startswith("/") else path.parent  # of the 404 page
            file = (here / target.lstrip("/")).resolve() if target else path
            fine = file.exists() and (not anchor or anchor in ids.get(file, {anchor}))
            if not fine:
                dangling.append(f"{path.relative_to(site)}: {address}")
    assert dangling == []


def test_images_are_described_and_have_a_size(
    site: Path, documents: dict[Path, BeautifulSoup]
) -> None:
    bare = [
        f"{path.relative_to(site)}: {image}"
        for path, document in documents.items()
        for image in document.select("article img")
        if not (image.get("alt") and image.get("width") and image.get("height"))
        or "_images" in image["alt"]
    ]
    assert bare == []


def test_ids_are_unique_and_no_formula_failed(
    site: Path, documents: dict[Path, BeautifulSoup]
) -> None:
    for path, document in documents.items():
        ids = [tag["id"] for tag in document.select("[id]")]
        assert sorted({i for i in ids if ids.count(i) > 1}) == [], path
        assert document.select(".katex-error") == [], path


def test_no_script_for_mathematics_icons_or_thebe(site: Path) -> None:
    for name in PAGES:
        text = (site / f"{name}.html").read_text("utf-8")
        scripts = " ".join(
            str(script.get("src") or "preloads fonts")
            for script in BeautifulSoup(text, "html.parser").select("script")
        ).lower()
        for word in ("mathjax", "fontawesome", "thebe", "katex", "togglebutton"):
            assert word not in scripts, (name, word)


def test_first_visit_knows_where_it_is(site: Path, visit: Visit) -> None:
    tab = visit(f"{site.as_uri()}/index.html")
    tab.page.wait_for_url("**/book/index.html")
    assert tab.page.locator("nav.book-nav a[aria-current=page]").count() == 1
    assert tab.problems == []


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, from npm; skipped where it cannot be had."""
    try:
        return (offline_math.npm_package("axe-core", AXE) / "axe.min.js").read_text()
    except RuntimeError as error:
        pytest.skip(str(error))


def violations(page: Page, **options: object) -> list[object]:
    """What axe finds; the colours of code are judged at once in test_pairs."""
    found = page.evaluate(
        """options => axe.run({exclude: ["pre", ".katex"]},
            {resultTypes: ["violations"], preload: false, ...options})""",
        options,
    )
    return [
        (v["id"], v["impact"], [n["html"][:160] for n in v["nodes"][:3]])
        for v in found["violations"]
    ]


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("name", [*PAGES, "search", "404"])
def test_accessible(name: str, width: int, served: str, visit: Visit, axe: str) -> None:
    size: dict[str, Any] = {"width": width, "reduced_motion": "reduce"}
    tab = visit(f"{served}/{name}.html", **size)
    page = tab.page
    page.evaluate(axe)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    strict = {"label-content-name-mismatch": {"enabled": True}}
    assert violations(page, rules=strict) == []
    # Of axe's rules, one looks at colours.
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert violations(page, runOnly=["color-contrast"]) == []
