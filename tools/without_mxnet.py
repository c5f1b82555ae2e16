"""The book where MXNet is not installed: ``make test-without-mxnet``.

As on Apple silicon and Windows. Makes an environment of its own, below ``.matrix/``,
with the book, its tests and PyTorch, and no MXNet (where PyPI serves the CUDA build of
PyTorch, that is about 5 GB). There:

1. the PyTorch half's tests: what needs Gluon is skipped for one reason, by
   ``tests/without_mxnet.py``;
2. every notebook runs to its end: a cell that needs MXNet says in one line why it was
   skipped, the others are compared with what is stored;
3. the book is rendered;
4. ``python -m d2lutils doctor`` looks at the machine.

The last lines count what ran. A count below ``AT_LEAST`` is red: nobody shall take a
run that skipped everything for a run in which all is well.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import build, environments  # noqa: E402
from tools import test as stages  # noqa: E402

PLACE = environments.FOLDER / "without-mxnet"
LOCK = ROOT / "constraints.txt"
HALF = ("tests/unit", "tests/blocks", "tests/parity")
#: Tests that pass without MXNet: what was counted, less a few that a platform lacks.
AT_LEAST = {"package": 2800, "package without tools": 2500, "chapters": 1650}


def make() -> str | None:
    """Make the environment unless it is there; return what went wrong."""
    wanted = ("-c", str(LOCK), "-e", ".[book,test]", "torch")
    contents = [path.read_text("utf-8") for path in (LOCK, ROOT / "pyproject.toml")]
    return environments.build(
        *(PLACE, sys.executable, (*environments.PIP, *wanted)), also="".join(contents)
    )


def check() -> int:
    """Run everything with this interpreter, which has no MXNet; 0 if nothing is red."""
    if has_mxnet():
        print(f"{sys.executable} has MXNet: this would prove nothing")
        return 1
    outcomes = [
        stages.run("package: the PyTorch half", [*HALF]),
        stages.run(
            "chapters: form and outputs",
            ["--nbval", "tests/chapters", "chapters", "book"],
        ),
        one("book: rendered", render),
        one("doctor: exit status and MXNet", doctor),
    ]
    for outcome in outcomes:
        least = AT_LEAST.get(outcome.name.partition(":")[0], 1)
        if outcome.passed < least:
            print(f"{outcome.name}: {outcome.passed} passed, {least} are expected")
            outcome.code = outcome.code or 1
    print("\n{} of the notebooks' {} code cells need MXNet".format(*cells()))
    return stages.told(outcomes)


def has_mxnet() -> bool:
    """Whether this interpreter finds an MXNet, one that does not load included."""
    spec = importlib.util.find_spec("mxnet")
    return spec is not None and spec.origin is not None


def cells() -> tuple[int, int]:
    """How many code cells of the notebooks need MXNet, and how many there are."""
    # Not at the head: the interpreter that makes the environment need not have them.
    sys.path.insert(0, str(ROOT / "tests" / "chapters"))
    import compare

    from tools import execute, notebook

    need = [
        compare.needs_gluon(cell.metadata)
        for path in execute.executed_notebooks()
        for cell in notebook.read(path).cells
        if cell.cell_type == "code"
    ]
    return sum(need), len(need)


def one(name: str, step: Callable[[], str]) -> stages.Outcome:
    """A step as a stage with one test; what it returns is what went wrong."""
    print(f"\n=== {name}", flush=True)
    start = time.perf_counter()
    wrong = step()
    if wrong:
        print(wrong, flush=True)
    passed, failed = (0, 1) if wrong else (1, 0)
    seconds = time.perf_counter() - start
    return stages.Outcome(name, passed, failed, 0, seconds, failed)


def render() -> str:
    """Render the book into a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            page = build.build(output=Path(folder))
        except RuntimeError as error:
            return str(error)
        print(f"{len(list(page.parent.rglob('*.html')))} pages")
        return ""


def doctor() -> str:
    """The doctor must find that all is well, and that MXNet is not there."""
    command = [sys.executable, "-m", "d2lutils", "doctor"]
    ran = environments.run(command)
    print(ran.stdout + ran.stderr, flush=True)
    if ran.returncode:
        return f"the doctor's exit status is {ran.returncode}"
    found = re.search(r"^ *missing +MXNet\b", ran.stdout, re.MULTILINE)
    return "" if found else "the doctor does not say that MXNet is missing"


def main() -> int:
    """Make the environment, and run everything there."""
    if sys.argv[1:] == ["--here"]:
        return check()
    print(f"making {PLACE.relative_to(ROOT)}, without MXNet", flush=True)
    problem = make()
    if problem:
        print(f"it could not be made: {problem}")
        return 1
    python = str(environments.python_in(PLACE))
    variables = environments.environment()
    return subprocess.call([python, __file__, "--here"], cwd=ROOT, env=variables)


if __name__ == "__main__":
    sys.exit(main())
