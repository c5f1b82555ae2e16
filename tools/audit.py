"""Lighthouse on the rendered book: ``make audit PAGES="chapters/nin"``.

Serves ``_build/html`` as a static host does, behind gzip, and visits each page with
Lighthouse as it is for mobile: a slow phone on a slow network, simulated. Medians of
three runs (``--runs``) are printed and held against the bounds below; the exit status
is 1 if one is broken. Pages are named as in ``_toc.yml``, by default all of it.

Performance is computed from how long this machine takes: let nothing else run.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lists
import offline_math

from tools import SITE, browser

LIGHTHOUSE = "13.5.0"
#: Each category's lowest score.
BOUNDS = {"performance": 0.95, "accessibility": 1, "best-practices": 1, "seo": 0.95}
#: At most so many KiB over the wire without the figures.
HEAVIEST = 400
COMPRESSED = ("text/", "application/javascript", "application/json", "image/svg")


class StaticHost(browser.QuietHandler):
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


def measured(report: dict[str, Any]) -> dict[str, float]:
    """The scores, times and sizes of one visit. ``RuntimeError`` if it failed."""
    if error := report.get("runtimeError"):
        raise RuntimeError(f"Lighthouse: {error['message']}")
    scores = {name: report["categories"][name]["score"] for name in BOUNDS}
    if None in scores.values():
        raise RuntimeError("Lighthouse could not judge one of its categories")
    audits = report["audits"]
    sizes = {
        request["url"]: request["transferSize"] / 1024
        for request in audits["network-requests"]["details"]["items"]
        if request["url"].startswith("http")
    }
    figures = sum(size for url, size in sizes.items() if "/_images/" in url)
    return scores | {
        "LCP s": audits["largest-contentful-paint"]["numericValue"] / 1000,
        "CLS": audits["cumulative-layout-shift"]["numericValue"],
        "TBT ms": audits["total-blocking-time"]["numericValue"],
        "KiB": sum(sizes.values()) - figures,
        "with figures": sum(sizes.values()),
    }


def broken(page: str, found: dict[str, float]) -> Iterator[str]:
    """One line for each bound that a page breaks."""
    for name, bound in BOUNDS.items():
        if found[name] < bound:
            yield f"{page}: {name} {found[name]:.2f}, not {bound:.2f}"
    if found["KiB"] > HEAVIEST:
        yield f"{page}: {found['KiB']:.0f} KiB without figures, not {HEAVIEST}"


def visit(address: str, chromium: str) -> dict[str, Any]:
    """Lighthouse's report on one visit."""
    program = offline_math.npm_package("lighthouse", LIGHTHOUSE) / "cli" / "index.js"
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        options = ["--quiet", "--output=json", f"--output-path={report}"]
        options += [f"--only-categories={','.join(BOUNDS)}"]
        options += ["--disable-full-page-screenshot", "--no-enable-error-reporting"]
        options += [f"--chrome-flags={' '.join(['--headless=new', *browser.FLAGS])}"]
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
    """Visit the pages, print what was measured, and return the broken bounds."""
    chromium = browser.chromium()
    print(
        f"Lighthouse {LIGHTHOUSE}, mobile, behind gzip, median of {runs}: "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{datetime.date.today()}"
    )
    faults: list[str] = []
    with browser.served(site, StaticHost) as address:
        for name in names:
            page = f"{address}/{name}.html"
            visits = [measured(visit(page, chromium)) for _ in range(runs)]
            found = {
                key: statistics.median(one[key] for one in visits) for key in visits[0]
            }
            shown = ", ".join(f"{key} {value:.3g}" for key, value in found.items())
            print(f"{name}: {shown}", flush=True)
            faults += broken(name, found)
    return faults


def main() -> None:
    """Audit, and say what is out of bounds."""
    parser = argparse.ArgumentParser(description="Lighthouse on the rendered book")
    parser.add_argument("pages", nargs="*", help="as in _toc.yml; default: all of it")
    parser.add_argument("--runs", type=int, default=3, help="visits a page (3)")
    given = parser.parse_args()
    names = given.pages or lists.pages()
    missing = [name for name in names if not (SITE / f"{name}.html").exists()]
    if missing:
        sys.exit(f"not rendered: {', '.join(missing)} (make book)")
    try:
        faults = audit(SITE, names, given.runs)
    except RuntimeError as error:
        sys.exit(str(error))
    print(*faults, sep="\n", end="\n" if faults else "")
    if faults:
        sys.exit(f"{len(faults)} bounds broken. Is this machine quiet?")
    print(f"All {len(names)} pages are within the bounds.")


if __name__ == "__main__":
    main()
