"""Run every test that CI runs, stage by stage, and count what ran (``make test``).

A stage that fails does not hide the others: all run, the exit status says whether one
was red, and the last lines count what ran. ``python -m tools.test chapters`` runs one
stage; ``rare`` is run only when it is named.

Where there are two cores, two tests run at a time, in processes of their own. Most
files are never divided: the cells of a chapter share a kernel, and what is slow to make
is made once for a file. The tests of the pages are divided, but for those that say that
they belong together (`xdist_group`). The book is rendered once, while the linters run,
and a browser is found or installed before the first test of any stage.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tools import ROOT, browser, build

COVERAGE = ["--cov=d2lutils", "--cov-report=term:skip-covered", "--cov-fail-under=90"]
USUAL = ["-m", "not rare"]
#: Each stage's arguments for pytest; those with pages need a browser.
STAGES = {
    "package": [
        *("tests", "--ignore=tests/chapters", "--ignore=tests/book", *USUAL),
        *("--doctest-modules", "d2lutils", *COVERAGE),
    ],
    "chapters": ["--nbval", "tests/chapters", "chapters", "book", *USUAL],
    "pages": ["tests/book", *USUAL],
    "rare": ["tests", "-m", "rare"],
}
PAGES = ("pages", "rare")

BIN = Path(sys.executable).parent
LINT = {
    "ruff": ["ruff", "check", "."],
    "formatting, notebooks too": ["ruff", "format", "--check", "."],
    "types of d2lutils": ["mypy"],
    # Without the network: schema, pins, permissions, credentials, text that is run.
    "workflows": [
        *("zizmor", "--offline", "--quiet", "--no-progress", "--color=never"),
        *("--persona=pedantic", "--strict-collection", ".github"),
    ],
}


@dataclass
class Outcome:
    """What one stage came to."""

    name: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    code: int


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def workers(available: int, divide: bool = False) -> list[str]:
    """pytest's arguments for two workers that share files, or divide them.

    There are none where there is one core.
    """
    unit = "loadgroup" if divide else "loadfile"
    return ["-n", "2", "--dist", unit] if available > 1 else []


def rendered(output: Path) -> dict[str, str]:
    """Render the book for all workers: the variable that names it.

    Where it cannot be rendered there is none, and the tests say so in their own words.
    """
    if "D2L_SITE" in os.environ:
        return {}
    try:
        return {"D2L_SITE": str(build.build(output=output).parent)}
    except RuntimeError as error:
        print(error, flush=True)
        return {}


def counts(report: Path) -> tuple[int, int, int]:
    """(passed, failed, skipped) from a JUnit file; zeros where there is none."""
    if not report.exists():
        return 0, 0, 0
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    tests = failed = skipped = 0
    for suite in suites:
        tests += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    return tests - failed - skipped, failed, skipped


def lint() -> Outcome:
    """Run the linters; each counts as one test."""
    print("\n=== lint", flush=True)
    start = time.perf_counter()
    codes = [
        subprocess.call([str(BIN / tool), *arguments], cwd=ROOT)
        for tool, *arguments in LINT.values()
    ]
    failed = sum(code != 0 for code in codes)
    seconds = time.perf_counter() - start
    return Outcome("lint", len(codes) - failed, failed, 0, seconds, max(codes))


def run(
    name: str,
    arguments: list[str],
    site: Callable[[], dict[str, str]] | None = None,
) -> Outcome:
    """Run pytest for one stage in a process of its own.

    ``site`` gives the variable that names the rendered book, where one is needed.
    """
    print(f"\n=== {name}", flush=True)
    start = time.perf_counter()
    # No progress bars or colours: stored outputs have none.
    environment = {**os.environ, "D2L_STORED_OUTPUTS": "1"}
    if site is not None:
        environment |= site()
    if (3, 12) <= sys.version_info < (3, 14):  # it is coverage's default after that
        environment.setdefault("COVERAGE_CORE", "sysmon")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}"]
        command += workers(cores(), divide=site is not None)
        code = subprocess.call([*command, *arguments], cwd=ROOT, env=environment)
        passed, failed, skipped = counts(report)
    return Outcome(name, passed, failed, skipped, time.perf_counter() - start, code)


def main(words: list[str]) -> int:
    """Run the stages that are named, or all but the rare one; 0 if none is red."""
    names = ["lint", *STAGES]
    if unknown := [word for word in words if word not in names]:
        print(f"test: no stage is called {unknown[0]}; there are: {', '.join(names)}")
        return 2
    chosen = words or [name for name in names if name != "rare"]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        site = None
        if set(chosen) & set(PAGES):
            try:
                # Once, here: two workers that install it get in each other's way.
                os.environ["CHROMIUM"] = browser.chromium()
            except RuntimeError as error:
                print(f"test: {error}")
                return 1
            site = pool.submit(rendered, Path(folder)).result
        outcomes = [
            lint()
            if name == "lint"
            else run(name, STAGES[name], site if name in PAGES else None)
            for name in chosen
        ]
    return told(outcomes)


def told(outcomes: list[Outcome]) -> int:
    """Print what ran; 0 if nothing was red."""
    print("\n=== what ran")
    for o in outcomes:
        verdict = "ok" if o.code == 0 else f"RED (exit {o.code})"
        print(
            f"{o.name:<9}  {o.passed:>5} passed {o.failed:>3} failed "
            f"{o.skipped:>3} skipped {o.seconds:>6.0f} s  {verdict}"
        )
    passed = sum(o.passed for o in outcomes)
    failed = sum(o.failed for o in outcomes)
    skipped = sum(o.skipped for o in outcomes)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return int(any(o.code != 0 for o in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
