"""MXNet in every environment that the bridge promises: ``make test-matrix``.

For each CPython 3.10 to 3.13 found here, each NumPy promised for it, and on 3.12 and
newer with and without setuptools (which brings ``distutils`` back): makes a virtual
environment under ``.matrix/`` (kept for the next time), runs ``tests/compat/probe.py``
and the tests beside it, and prints a Markdown table. Exits with 1 if anything is red.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".matrix"
# The newest NumPy with a wheel for a Python is whatever pip takes without a pin.
NUMPY = {
    "3.10": ("1.26.*", "2.0.*", ""),
    "3.11": ("1.26.*", "2.0.*", ""),
    "3.12": ("1.26.*", "2.0.*", ""),
    "3.13": ("2.1.*", ""),
}
REQUIREMENTS = ("requests", "graphviz", "scipy", "pytest")
MXNET = "mxnet==1.9.1"
HEADER = ("Python", "NumPy", "setuptools", "import s", "probe", "tests")


@dataclass(frozen=True)
class Environment:
    """What one row of the table is about."""

    python: str
    numpy: str
    setuptools: bool

    @property
    def folder(self) -> Path:
        numpy = self.numpy.rstrip(".*") or "newest"
        extra = "-setuptools" if self.setuptools else ""
        return FOLDER / f"py{self.python}-numpy{numpy}{extra}"

    @property
    def requirements(self) -> tuple[str, ...]:
        numpy = f"numpy=={self.numpy}" if self.numpy else "numpy"
        return (numpy, *REQUIREMENTS, *(["setuptools"] if self.setuptools else []))

    @property
    def executable(self) -> Path:
        return self.folder / "bin" / "python"

    def build(self, interpreter: str) -> str | None:
        """Make the environment unless it is there; return what went wrong."""
        wanted = " ".join((interpreter, *self.requirements, MXNET))
        stamp = self.folder / "built"
        digest = hashlib.sha256(wanted.encode()).hexdigest()
        if stamp.exists() and stamp.read_text() == digest:
            return None
        shutil.rmtree(self.folder, ignore_errors=True)
        pip = [str(self.executable), "-m", "pip", "--disable-pip-version-check"]
        steps = [
            [interpreter, "-m", "venv", str(self.folder)],
            [*pip, "install", "--quiet", *self.requirements],
            [*pip, "install", "--quiet", "--no-deps", MXNET],
        ]
        if not self.setuptools:  # venv of Python 3.10 and 3.11 installs it
            steps.append([*pip, "uninstall", "--quiet", "--yes", "setuptools"])
        for step in steps:
            result = run(step)
            if result.returncode:
                return last_line(result.stderr)
        stamp.write_text(digest)
        return None

    def row(self, interpreter: str, quick: bool) -> tuple[list[str], bool]:
        """Return the cells of the table's row, and whether all is well."""
        start = [
            self.python,
            self.numpy or "newest",
            "yes" if self.setuptools else "no",
        ]
        problem = self.build(interpreter)
        if problem:
            return [*start, "–", f"**not built**: {problem}", "–"], False
        probe = run([str(self.executable), "tests/compat/probe.py"])
        try:
            summary = json.loads(last_line(probe.stdout))
        except json.JSONDecodeError:
            return [*start, "–", f"**failed**: {last_line(probe.stderr)}", "–"], False
        start[:2] = summary["python"], summary["numpy"]
        seconds = f"{summary['import_s']:.1f}"
        failed = ", ".join(summary["failed"]) or last_line(probe.stderr)
        result = f"**failed**: {failed}" if failed else f"{summary['checks']} passed"
        if quick:
            return [*start, seconds, result, "–"], not failed
        options = ["--noconftest", "-q", "-p", "no:cacheprovider"]
        command = [str(self.executable), "-m", "pytest", *options, "tests/compat"]
        tests = run(command)
        outcome = last_line(tests.stdout)
        cell = f"**failed**: {outcome}" if tests.returncode else outcome
        return [*start, seconds, result, cell], not (failed or tests.returncode)


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run ``command`` in the repository, with this checkout's d2lutils."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # bytecode is what makes it quick
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def interpreters() -> dict[str, str]:
    """Return the CPythons to be found: on the path, and those of pyenv."""
    candidates = [shutil.which(f"python{version}") for version in NUMPY]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates += map(str, sorted(pyenv.glob("3.*/bin/python"), reverse=True))
    code = (
        "import ensurepip, platform, venv; "
        "print(platform.python_implementation(), platform.python_version())"
    )
    found: dict[str, str] = {}
    for candidate in filter(None, candidates):
        result = subprocess.run(
            [candidate, "-c", code], capture_output=True, text=True, check=False
        )
        implementation, _, version = result.stdout.strip().partition(" ")
        short = ".".join(version.split(".")[:2])
        if implementation == "CPython" and short in NUMPY:
            found.setdefault(short, candidate)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", nargs="+", choices=NUMPY, default=list(NUMPY))
    parser.add_argument("--quick", action="store_true", help="the probe only")
    parser.add_argument("--clean", action="store_true", help="build all afresh")
    options = parser.parse_args()
    if options.clean:
        shutil.rmtree(FOLDER, ignore_errors=True)
    found = interpreters()
    print("| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER), flush=True)
    good = True
    for python in options.python:
        if python not in found:
            print(f"| {python} | – | – | – | no such interpreter here | – |")
            continue
        modern = int(python.split(".")[1]) >= 12
        for numpy in NUMPY[python]:
            for setuptools in (False, True) if modern else (False,):
                environment = Environment(python, numpy, setuptools)
                cells, well = environment.row(found[python], options.quick)
                good = good and well
                print("| " + " | ".join(cells) + " |", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
