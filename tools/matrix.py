"""The package in every environment that it promises: ``make test-matrix``.

Two kinds of leg, for each CPython 3.10 to 3.15 found here:

- *bridge*: MXNet beside each NumPy promised for that Python, on 3.12 and newer with and
  without setuptools (which brings ``distutils`` back): ``tests/compat/probe.py`` and
  the tests beside it.
- *torch*: the PyTorch of the lock beside the newest NumPy, and the oldest supported one
  beside NumPy 1.26, where there are builds of them: the PyTorch half's tests (all of
  ``tests/unit`` and ``tests/parity`` that is not about the repository's own tools)
  without MXNet, then a small parity with MXNet in the same process. On the oldest and
  the newest Python of the book every chapter runs as well, its outputs compared with
  those that are stored: with the oldest supported PyTorch, and with the newest.

``LEGS="3.12"`` runs the legs of a Python, ``LEGS="3.12-torch2.8"`` that leg alone,
``LEGS="torch"`` all of a kind; ``--list`` names them. Environments are made under
``.matrix/`` and kept for the next time, but for those with a CUDA build of PyTorch,
about 5 GB each: the table says what a leg took, ``--keep`` keeps them. Exits with 1 if
anything is red, or if no leg was run.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomllib
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import environments, without_mxnet  # noqa: E402
from tools import test as stages  # noqa: E402
from tools.environments import FOLDER, PIP, last_line, python_in, run  # noqa: E402

# The newest NumPy with a wheel for a Python is whatever pip takes without a pin.
NUMPY = {
    "3.10": ("1.26.*", "2.0.*", ""),
    "3.11": ("1.26.*", "2.0.*", ""),
    "3.12": ("1.26.*", "2.0.*", ""),
    "3.13": ("2.1.*", ""),
    "3.14": ("2.3.*", ""),
    "3.15": ("",),
}
MXNET = "mxnet==1.9.1"
# MXNet's own two, pytest, and whose wheels have the libraries that MXNet needs and a
# slim system lacks: libgomp scikit-learn's, libquadmath SciPy's.
BRIDGE = ("requests", "graphviz", "pytest", "scikit-learn", "scipy")
# What the tests of the PyTorch half import beside the package's own dependencies.
TORCH = ("requests", "graphviz", "pytest", "pytest-xdist", "hypothesis", "ipykernel")
#: And what the chapters' outputs are compared with.
CHAPTERS = ("nbval", "nbclient", "jupytext")
#: Python 3.13 has no NumPy 1.26, which the oldest PyTorch is run with.
OLDEST_UP_TO = "3.12"
#: Run with MXNet: the package's own comparison, of blocks and of whole trainings.
PARITY = (
    *("tests/blocks/test_residual.py", "tests/blocks/test_training.py"),
    "tests/parity/test_copy_parameters.py",
)
LARGE_MB = 2000
HEADER = ("Leg", "Python", "NumPy", "installed", "alone", "with the other framework")


@dataclass(frozen=True)
class Leg:
    """One row of the table: an environment, and what is run there."""

    python: str
    numpy: str
    torch: str = ""
    setuptools: bool = False

    @property
    def name(self) -> str:
        """Such as ``3.12-numpy2.0-setuptools`` or ``3.12-torch2.13``."""
        if self.torch:
            return f"{self.python}-torch{'.'.join(self.torch.split('.')[:2])}"
        numpy = self.numpy.rstrip(".*") or "newest"
        return f"{self.python}-numpy{numpy}" + "-setuptools" * self.setuptools

    @property
    def runs_chapters(self) -> bool:
        """Whether it is one of the two that run the chapters, too."""
        ends = (("3.11", oldest_torch()), ("3.15", locked_torch("3.15")))
        return (self.python, self.torch) in ends

    @property
    def folder(self) -> Path:
        """Where its environment is made."""
        return FOLDER / f"py{self.name}"

    def chosen(self, words: Sequence[str]) -> bool:
        """Whether one of the words is its name, or a part of it, or none is given."""
        kind = "torch" if self.torch else "bridge"
        parts = {self.name, kind, *self.name.split("-")}
        return not words or not parts.isdisjoint(words)

    def build(self, interpreter: str) -> str | None:
        """Make the environment unless it is there; return what went wrong."""
        numpy = f"numpy=={self.numpy}" if self.numpy else "numpy"
        if self.torch:
            wanted = (numpy, f"torch=={self.torch}", *TORCH, *dependencies())
            wanted += CHAPTERS * self.runs_chapters
            return environments.build(self.folder, interpreter, (*PIP, *wanted))
        wanted = (numpy, *BRIDGE, *(["setuptools"] if self.setuptools else []))
        steps = [(*PIP, *wanted), (*PIP, "--no-deps", MXNET)]
        if not self.setuptools:  # venv of Python 3.10 and 3.11 installs it
            steps.append(("-m", "pip", "uninstall", "--quiet", "--yes", "setuptools"))
        return environments.build(self.folder, interpreter, *steps)

    def row(self, interpreter: str, quick: bool) -> tuple[list[str], bool]:
        """Return the cells of the table's row, and whether all is well."""
        problem = self.build(interpreter)
        if problem:
            short = [self.name, self.python, self.numpy or "newest", "–"]
            return [*short, f"**not built**: {problem}", "–"], False
        code = "import numpy, sys; print(sys.version.split()[0], numpy.__version__)"
        versions = last_line(run([self.executable, "-c", code]).stdout).split()
        size = f"{environments.megabytes(self.folder):,} MB"
        check = self.check_torch if self.torch else self.check_bridge
        cells, well = check(quick)
        return [self.name, *versions, size, *cells], well

    @property
    def executable(self) -> str:
        """Its Python."""
        return str(python_in(self.folder))

    def check_bridge(self, quick: bool) -> tuple[list[str], bool]:
        """The probe, and unless ``quick`` the bridge's tests."""
        probe = run([self.executable, "tests/compat/probe.py"])
        try:
            summary = json.loads(last_line(probe.stdout))
        except json.JSONDecodeError:
            return [f"**failed**: {last_line(probe.stderr)}", "–"], False
        failed = ", ".join(summary["failed"]) or last_line(probe.stderr)
        seconds = f"import {summary['import_s']:.1f} s"
        result = f"**failed**: {failed}" if failed else f"{summary['checks']} passed"
        if quick:
            return ["–", f"probe: {result}, {seconds}"], not failed
        cell, well = self.pytest("--noconftest", "tests/compat")
        return [f"bridge: {cell}", f"probe: {result}, {seconds}"], well and not failed

    def check_torch(self, quick: bool) -> tuple[list[str], bool]:
        """The PyTorch half alone, unless ``quick``, and a parity with MXNet."""
        cells, well = ["–"], True
        if not quick:
            others = [f"--ignore={path}" for path in about_tools()]
            least = without_mxnet.AT_LEAST["package without tools"]
            cell, well = self.pytest(*without_mxnet.HALF, *others, least=least)
            cells = [f"PyTorch half: {cell}"]
        mxnet = FOLDER / "mxnet"
        if not (mxnet / "mxnet" / "libinfo.py").exists():
            where = ("--no-deps", "--target", str(mxnet))
            installed = run([self.executable, *PIP, *where, MXNET])
            if installed.returncode:
                return [*cells, f"**no MXNet**: {last_line(installed.stderr)}"], False
        cell, good = self.pytest(*PARITY, path=str(mxnet), skips=False)
        cells, well = [*cells, f"parity: {cell}"], well and good
        if self.runs_chapters and not quick:
            cell, good = self.pytest("--nbval", "chapters", path=str(mxnet))
            cells[-1] += f"; chapters: {cell}"
        return cells, well and good

    def pytest(
        self, *arguments: str, least: int = 1, skips: bool = True, path: str = ""
    ) -> tuple[str, bool]:
        """Run tests in the environment: the table's cell, and whether all is well.

        At least ``least`` must pass; none may be skipped unless ``skips``. What pytest
        printed is kept below ``.matrix/``, in a log named after the leg.
        """
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            command = [self.executable, "-m", "pytest", "-q", f"--junitxml={report}"]
            if "--noconftest" not in arguments:
                command += stages.side_by_side(stages.cores())
            command += ["-p", "no:cacheprovider", *arguments]
            tests = run(command, path)
            passed, failed, skipped = stages.counts(report)
        kind = "-with-mxnet" if path else ""
        log = FOLDER / f"{self.name}{kind}.log"
        log.write_text(tests.stdout + tests.stderr, encoding="utf-8")
        cell = f"{passed} passed" + f", {skipped} skipped" * bool(skipped)
        if tests.returncode or failed:
            why = f"{failed} failed" if failed else last_line(tests.stdout)
            return f"**{why}**, {cell}", False
        if passed < least or (skipped and not skips):
            return f"**too few**, {least} are expected: {cell}", False
        return cell, True


def dependencies() -> list[str]:
    """What the package itself needs."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return list(tomllib.load(file)["project"]["dependencies"])


def locked_torch(python: str) -> str:
    """The PyTorch of the lock for a Python."""
    lock = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = map(Requirement, re.findall(r"^torch==.*", lock, re.MULTILINE))
    here = {"python_version": python}
    (pin,) = (p for p in pins if p.marker is None or p.marker.evaluate(here))
    return str(pin.specifier).removeprefix("==")


def oldest_torch() -> str:
    """The first release of the oldest PyTorch that the requirements allow."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    return re.findall(r"^torch>=(\d+\.\d+)$", text, re.MULTILINE)[0] + ".0"


def about_tools() -> list[Path]:
    """The unit tests of the repository's own tools, which need the book's packages."""
    files = sorted((ROOT / "tests" / "unit").glob("test_*.py"))
    return [f for f in files if "\nfrom tools import" in f.read_text(encoding="utf-8")]


def legs() -> Iterator[Leg]:
    """All of them, in the table's order."""
    for python, versions in NUMPY.items():
        minor = int(python.split(".")[1])
        for numpy in versions:
            yield Leg(python, numpy)
            if minor >= 12:
                yield Leg(python, numpy, setuptools=True)
        if minor <= int(OLDEST_UP_TO.split(".")[1]):
            yield Leg(python, "1.26.*", torch=oldest_torch())
        yield Leg(python, "", torch=locked_torch(python))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the legs that are asked for; 0 if there was one and all are well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("legs", nargs="*", help="words that choose; all by default")
    parser.add_argument("--list", action="store_true", help="name the legs, run none")
    parser.add_argument("--quick", action="store_true", help="probe and parity only")
    parser.add_argument("--clean", action="store_true", help="build all afresh")
    parser.add_argument("--keep", action="store_true", help="keep what is large")
    options = parser.parse_args(arguments)
    chosen = [leg for leg in legs() if leg.chosen(options.legs)]
    if not chosen:
        print(f"no leg is called {' '.join(options.legs)}; --list names them")
        return 1
    if options.list:
        print("\n".join(leg.name for leg in chosen))
        return 0
    found = environments.interpreters()
    print("| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER), flush=True)
    good, ran = True, 0
    for leg in chosen:
        if leg.python not in found:
            print(f"| {leg.name} |" + " – |" * 4 + " no such interpreter here |")
            continue
        if options.clean:
            shutil.rmtree(leg.folder, ignore_errors=True)
        cells, well = leg.row(found[leg.python], options.quick)
        good, ran = good and well, ran + 1
        print("| " + " | ".join(cells) + " |", flush=True)
        large = leg.torch and environments.megabytes(leg.folder) > LARGE_MB
        if large and not options.keep:
            shutil.rmtree(leg.folder)
    return 0 if good and ran else 1


if __name__ == "__main__":
    sys.exit(main())
