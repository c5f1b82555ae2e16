"""Lighthouse on the rendered book: ``make audit``, ``tools/audit.py [page ...]``.

Serves ``_build/html`` as a static host does, behind gzip, and visits each page with
Lighthouse as it is for mobile: a slow phone on a slow network, simulated. Medians of
three runs (``--runs``) are printed and held against the bounds below; the exit status
is 1 if one is broken. Pages are named as in ``_toc.yml``, by default all of it.

Performance is computed from how long this machine takes: let nothing else run.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import gzip
import http.server
import io
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "book" / "ext")]

from tools import browser as browser_tool  # noqa: E402
from tools import serve  # noqa: E402

LIGHTHOUSE = "13.5.0"
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
#: At least, of 1; and at most, in bytes over the wire without the figures.
BOUNDS = dict(zip(CATEGORIES, (0.95, 1.0, 1.0, 0.95), strict=True))
HEAVIEST = 400 * 1024
COMPRESSED = ("text/", "application/javascript", "application/json", "image/svg")


class Handler(serve.Handler):
    """Sends what a static host would: text compressed, all to be kept a while."""

    def send_head(self) -> Any:
        """The headers of a file, and the file."""
        path = Path(self.translate_path(self.path))
        kind = self.guess_type(path)
        asked = "gzip" in self.headers.get("Accept-Encoding", "")
        if not (path.is_file() and asked and kind.startswith(COMPRESSED)):
            return super().send_head()
        content = gzip.compress(path.read_bytes(), 6, mtime=0)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return io.BytesIO(content)

    def end_headers(self) -> None:
        """The same time to live for all files."""
        self.send_header("Cache-Control", "max-age=600")
        super().end_headers()


@dataclass
class Figures:
    """What one visit measured; times in milliseconds, sizes in bytes."""

    performance: float
    accessibility: float
    best_practices: float
    seo: float
    lcp: float  # largest contentful paint
    cls: float  # cumulative layout shift
    tbt: float  # total blocking time
    bare: float  # over the wire, without figures
    shown: float  # over the wire, with the figures that were loaded


def figures(report: dict[str, Any]) -> Figures:
    """The figures of one report. Raises ``RuntimeError`` if the visit failed."""
    if error := report.get("runtimeError"):
        raise RuntimeError(f"Lighthouse: {error['message']}")
    audits = report["audits"]
    scores = [report["categories"][name]["score"] for name in CATEGORIES]
    if None in scores:
        raise RuntimeError("Lighthouse could not judge one of its categories")
    bare = shown = 0
    for request in audits["network-requests"]["details"]["items"]:
        if urlparse(request["url"]).scheme.startswith("http"):
            shown += request["transferSize"]
            bare += request["transferSize"] * ("/_images/" not in request["url"])
    performance, accessibility, best_practices, seo = scores
    return Figures(
        performance=performance,
        accessibility=accessibility,
        best_practices=best_practices,
        seo=seo,
        lcp=audits["largest-contentful-paint"]["numericValue"],
        cls=audits["cumulative-layout-shift"]["numericValue"],
        tbt=audits["total-blocking-time"]["numericValue"],
        bare=bare,
        shown=shown,
    )


def median(visits: Iterable[Figures]) -> Figures:
    """The median of each figure by itself."""
    columns = zip(*(astuple(visit) for visit in visits), strict=True)
    return Figures(*(statistics.median(column) for column in columns))


def broken(page: str, found: Figures) -> list[str]:
    """One line for each bound that a page breaks."""
    scores = zip(CATEGORIES, astuple(found), strict=False)
    lines = [
        f"{page}: {name} {score:.2f}, not {BOUNDS[name]:.2f}"
        for name, score in scores
        if score < BOUNDS[name]
    ]
    if found.bare > HEAVIEST:
        lines.append(
            f"{page}: {found.bare / 1024:.0f} KiB without figures, not "
            f"{HEAVIEST / 1024:.0f}"
        )
    return lines


HEAD = f"{'page':32} perf  acc best  seo  LCP s   CLS  TBT ms  KiB  with figures"


def row(page: str, found: Figures, whole: float) -> str:
    """A page's line below ``HEAD``; ``whole`` counts all its figures, in bytes."""
    scores = " ".join(f"{score:4.2f}" for score in astuple(found)[: len(CATEGORIES)])
    return (
        f"{page:32} {scores}  {found.lcp / 1000:5.2f} {found.cls:5.3f}  "
        f"{found.tbt:6.0f} {found.bare / 1024:4.0f}  {whole / 1024:12.0f}"
    )


def all_figures(site: Path, page: str) -> int:
    """Bytes of the figures of a page: those far below are loaded as one comes near."""
    text = (site / f"{page}.html").read_text("utf-8")
    names = set(re.findall(r'src="[^"]*_images/([^"]+)"', text))
    return sum((site / "_images" / name).stat().st_size for name in names)


def pages(toc: Path = ROOT / "_toc.yml") -> list[str]:
    """All pages of the book, in its order."""
    book = yaml.safe_load(toc.read_text("utf-8"))
    chapters = [chapter for part in book["parts"] for chapter in part["chapters"]]
    return [book["root"], *(chapter["file"] for chapter in chapters)]


def machine() -> str:
    """What the figures depend on, in one line."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{load}, "
        f"{datetime.date.today()}"
    )


def visit(address: str, chromium: str) -> dict[str, Any]:
    """Lighthouse's report on one visit."""
    import offline_math

    program = offline_math.npm_package("lighthouse", LIGHTHOUSE) / "cli" / "index.js"
    flags = ["--headless=new", *browser_tool.FLAGS]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        options = ["--quiet", "--output=json", f"--output-path={report}"]
        options += [f"--only-categories={','.join(CATEGORIES)}"]
        options += ["--disable-full-page-screenshot", "--no-enable-error-reporting"]
        options += [f"--chrome-flags={' '.join(flags)}"]
        ran = subprocess.run(
            [str(offline_math.NODE), str(program), address, *options],
            env={**os.environ, "CHROME_PATH": chromium},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if ran.returncode or not report.exists():
            raise RuntimeError(f"Lighthouse failed on {address}:\n{ran.stderr}")
        found: dict[str, Any] = json.loads(report.read_text("utf-8"))
    return found


def audit(site: Path, names: list[str], runs: int) -> list[str]:
    """Visit the pages, print their figures, and return the bounds that are broken."""
    chromium = browser_tool.chromium()
    print(
        f"Lighthouse {LIGHTHOUSE}, mobile, behind gzip, median of {runs}: {machine()}"
    )
    print(HEAD)
    faults = []
    handler = functools.partial(Handler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in names:
            address = f"http://127.0.0.1:{server.server_port}/{name}.html"
            found = median(figures(visit(address, chromium)) for _ in range(runs))
            whole = found.bare + all_figures(site, name)
            print(row(name, found, whole), flush=True)
            faults += broken(name, found)
        server.shutdown()
    return faults


def main() -> None:
    """Audit, and say what is out of bounds."""
    parser = argparse.ArgumentParser(description="Lighthouse on the rendered book")
    parser.add_argument("pages", nargs="*", help="as in _toc.yml; default: all of it")
    parser.add_argument("--runs", type=int, default=3, help="visits a page (3)")
    parser.add_argument("--site", type=Path, default=serve.SITE, help="its folder")
    given = parser.parse_args()
    names = given.pages or pages()
    missing = [name for name in names if not (given.site / f"{name}.html").exists()]
    if missing:
        sys.exit(f"not rendered: {', '.join(missing)} (make book)")
    try:
        faults = audit(given.site, names, given.runs)
    except RuntimeError as error:
        sys.exit(str(error))
    print(*faults, sep="\n", end="\n" if faults else "")
    print(
        f"{len(faults)} bounds broken on {len(names)} pages. Performance alone varies "
        "with the machine: is it quiet?"
        if faults
        else f"All {len(names)} pages are within the bounds."
    )
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
