"""Run every test that CI runs, stage by stage, and print what ran (`make test`).

A stage that fails does not hide the others: all run, the exit status says whether
one was red, and the last lines count what ran.

Where there are two cores, two tests run at a time, in processes of their own. Most
files are never divided: the cells of a chapter share a kernel, and what is slow to make
is made once for a file. The tests of the pages are, but for those that say that they
belong together (`xdist_group`). The book is rendered once, before they begin, and a
browser is found or installed before the first test of any stage.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import browser, build  # noqa: E402

COVERAGE = ["--cov=d2lutils", "--cov-report=term:skip-covered", "--cov-fail-under=90"]
LINTING = "lint and types"
BROWSER = "rendered pages in a browser"
STAGES = {
    "package: unit, property, parity, bridge": [
        *("tests/unit", "tests/blocks", "tests/parity", "tests/compat"),
        *COVERAGE,
    ],
    "chapters: form and outputs": ["--nbval", "tests/chapters", "chapters", "book"],
    BROWSER: ["tests/book"],
}


BIN = Path(sys.executable).parent
LINT = {
    "ruff": [BIN / "ruff", "check", "."],
    "formatting, notebooks too": [BIN / "ruff", "format", "--check", "."],
    "types of d2lutils": [BIN / "mypy"],
    "workflows": [sys.executable, "tools/workflows.py"],
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


def side_by_side(available: int, divide: bool = False) -> list[str]:
    """pytest's arguments for two workers that share files, or divide them.

    There are none where there is one core.
    """
    workers = min(2, available)
    unit = "loadgroup" if divide else "loadfile"
    return ["-n", str(workers), "--dist", unit] if workers > 1 else []


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
    print(f"\n=== {LINTING}", flush=True)
    start = time.perf_counter()
    codes = [subprocess.call(list(map(str, c)), cwd=ROOT) for c in LINT.values()]
    failed = sum(code != 0 for code in codes)
    seconds = time.perf_counter() - start
    return Outcome(LINTING, len(codes) - failed, failed, 0, seconds, max(codes))


def run(name: str, arguments: list[str]) -> Outcome:
    """Run pytest for one stage in a process of its own."""
    print(f"\n=== {name}", flush=True)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}"]
        command += side_by_side(cores(), divide=name == BROWSER)
        # Bars and colours belong to a live reader, not to a stored output.
        environment = {**os.environ, "D2L_STORED_OUTPUTS": "1"}
        if name == BROWSER:
            environment |= rendered(Path(folder))
        code = subprocess.call([*command, *arguments], cwd=ROOT, env=environment)
        passed, failed, skipped = counts(report)
    return Outcome(name, passed, failed, skipped, time.perf_counter() - start, code)


def main() -> int:
    """Run the stages named on the command line by a word of theirs, or all."""
    words = sys.argv[1:]
    names = [LINTING, *STAGES]
    chosen = [n for n in names if not words or any(word in n for word in words)]
    if not chosen:
        print(f"test: no stage is called {' '.join(words)!r}; there are: ", end="")
        print("; ".join(names))
        return 2
    if BROWSER in chosen:
        try:
            # Once, here: two workers that install it get in each other's way.
            os.environ["CHROMIUM"] = browser.chromium()
        except RuntimeError as error:
            print(f"test: {error}")
            return 1
    return told([lint() if n == LINTING else run(n, STAGES[n]) for n in chosen])


def told(outcomes: list[Outcome]) -> int:
    """Print what ran; 0 if nothing was red."""
    print("\n=== what ran")
    width = max(len(outcome.name) for outcome in outcomes)
    for o in outcomes:
        verdict = "ok" if o.code == 0 else f"RED (exit {o.code})"
        print(
            f"{o.name:<{width}}  {o.passed:>5} passed {o.failed:>3} failed "
            f"{o.skipped:>3} skipped {o.seconds:>6.0f} s  {verdict}"
        )
    totals = [sum(getattr(o, k) for o in outcomes) for k in ("passed", "failed")]
    skipped = sum(o.skipped for o in outcomes)
    print(f"{totals[0]} passed, {totals[1]} failed, {skipped} skipped")
    return int(any(o.code != 0 for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
