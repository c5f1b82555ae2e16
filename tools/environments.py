"""Virtual environments below ``.matrix/``, each kept until what is in it changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".matrix"
PIP = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet")
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15")


def python_in(folder: Path) -> Path:
    """The interpreter of a virtual environment, on this platform."""
    windows = sys.platform == "win32"
    return folder.joinpath(*(("Scripts", "python.exe") if windows else ("bin/python",)))


def build(
    folder: Path, interpreter: str, *steps: Sequence[str], also: str = ""
) -> str | None:
    """Make an environment unless it is there; return what went wrong.

    Args:
        folder: where it goes; what is there and was made otherwise is removed.
        interpreter: the Python that it is of.
        steps: arguments of its Python, in order; usually ``(*PIP, …)``.
        also: text that the environment depends on, such as a lock's.
    """
    wanted = "\n".join((interpreter, *map(" ".join, steps), also))
    stamp = folder / "built"
    digest = hashlib.sha256(wanted.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return None
    shutil.rmtree(folder, ignore_errors=True)
    python = str(python_in(folder))
    make = [interpreter, "-m", "venv", str(folder)]
    for command in (make, *([python, *step] for step in steps)):
        result = run(command)
        if result.returncode:
            return last_line(result.stderr) or f"exit status {result.returncode}"
    stamp.write_text(digest)
    return None


def run(command: Sequence[str], path: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``command`` in the repository, with this checkout's d2lutils.

    ``path`` is one more folder for Python to import from.
    """
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(path),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def environment(path: str = "") -> dict[str, str]:
    """This process's variables, for a Python of another environment."""
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), path))),
        "PYTHONUTF8": "1",  # Windows has another encoding by default
    }
    variables.pop("PYTHONDONTWRITEBYTECODE", None)  # bytecode is what makes it quick
    return variables


def last_line(text: str) -> str:
    """The last line of a text that is not blank."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def megabytes(folder: Path) -> int:
    """What the files below a folder hold, in MB."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return round(sum(path.lstat().st_size for path in files) / 1e6)


def interpreters() -> dict[str, str]:
    """Return the CPythons to be found: on the path, and those of pyenv."""
    candidates = [shutil.which(f"python{version}") for version in VERSIONS]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates += map(str, sorted(pyenv.glob("3.*/bin/python"), reverse=True))
    candidates.append(sys.executable)
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
        if implementation == "CPython" and short in VERSIONS:
            found.setdefault(short, candidate)
    return found
