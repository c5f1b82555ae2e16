"""Sphinx extension: the files that a reader can download.

Writes ``downloads/chapters.zip`` into the site: all chapters, the package's wheel, a
requirements file and a few lines on how to begin; and the wheel beside it, to go with a
single notebook. The directive ``{downloads}`` lists them, each chapter, and the PDF of
the book, if ``make pdf`` has made one since the pages changed last.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import tomllib
from lists import ROOT, ListOf, chapters, notebooks, place, titles
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging

LOG = logging.getLogger(__name__)
FOLDER = "downloads"
ARCHIVE, PDF = "chapters.zip", "book.pdf"
#: What the wheel is made of.
SOURCES = (
    *("d2lutils", "chapters", "setup.py", "pyproject.toml"),
    *("README.md", "LICENSE"),
)
#: Pages that chapters link to.
PAGES = (
    *("references.md", "notation.md", "setup.md", "tested.md"),
    "parity.ipynb",
    "porting.ipynb",
)
#: The same bytes from the same sources: the oldest date that an archive can hold.
DATE = (1980, 1, 1, 0, 0, 0)
EPOCH = "315532800"
BUILD = "import sys; from setuptools.build_meta import *; build_wheel(sys.argv[1])"
REQUIREMENTS = """\
# pip install -r requirements.txt, in this folder. Python 3.10 to 3.15.
./{wheel}
torch
jupyterlab
# Gluon's half, where MXNet has a wheel. From Python 3.13 on its own metadata stands in
# the way: install it by itself with `pip install --no-deps mxnet==1.9.1`.
{mxnet}
requests
graphviz
"""
BEGIN = """\
{title}: all chapters

1. Make an environment:   python -m venv .venv
2. Install:               .venv/bin/pip install -r requirements.txt
                          (on Windows: .venv\\Scripts\\pip install -r requirements.txt)
3. Open the chapters:     .venv/bin/jupyter lab chapters

On Colab: upload one notebook and the wheel ({wheel}) to the same runtime.
Where MXNet has no wheel (Windows, Apple silicon), the PyTorch cells run alone.
"""


def build_wheel(target: Path) -> Path:
    """Build the package's wheel from a copy of its sources."""
    with tempfile.TemporaryDirectory() as folder:
        for name in SOURCES:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
                shutil.copytree(source, Path(folder, name), ignore=ignored)
            else:
                shutil.copy(source, folder)
        ran = subprocess.run(
            [sys.executable, "-c", BUILD, str(target)],
            cwd=folder,
            env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH},
            capture_output=True,
            text=True,
        )
    wheels = list(target.glob("*.whl"))
    if ran.returncode or not wheels:
        raise ExtensionError(f"the wheel was not built:\n{ran.stdout}{ran.stderr}")
    return wheels[0]


def pack(file: Path, book_title: str) -> None:
    """Write the archive and, beside it, the wheel."""
    shutil.rmtree(file.parent, ignore_errors=True)
    file.parent.mkdir(parents=True)
    wheel = build_wheel(file.parent)
    pages = [*notebooks(), *(ROOT / "book" / name for name in PAGES)]
    # The line that says on which systems MXNet has wheels.
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    mxnet = next(line for line in lines if line.startswith("mxnet"))
    words = {"wheel": wheel.name, "mxnet": mxnet, "title": book_title}
    contents: dict[str, bytes] = {
        "README.txt": BEGIN.format(**words).encode(),
        "requirements.txt": REQUIREMENTS.format(**words).encode(),
        wheel.name: wheel.read_bytes(),
        "LICENSE": (ROOT / "LICENSE").read_bytes(),
        **{path.relative_to(ROOT).as_posix(): path.read_bytes() for path in pages},
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(f"gluon-and-pytorch/{name}", DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)


def version() -> str:
    """The package's version."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def wheel_name() -> str:
    """The file name of the package's wheel."""
    return f"d2lutils-{version()}-py3-none-any.whl"


def printed() -> Path | None:
    """The PDF of the book, unless a chapter or a page has changed since."""
    file = ROOT / "_build" / PDF
    pages = [*notebooks(), *(p for p in (ROOT / "book").iterdir() if p.is_file())]
    newest = max(page.stat().st_mtime for page in [*pages, Path(__file__)])
    return file if file.exists() and file.stat().st_mtime > newest else None


class Downloads(ListOf):
    """``{downloads}``"""

    @classmethod
    def markdown(cls) -> list[str]:
        def raw(name: str, text: str) -> str:
            return f'<a href="../{FOLDER}/{name}" download>{text}</a>'

        lines = [
            f"- {raw(ARCHIVE, 'All chapters in one archive')}: the notebooks, the "
            f"package `d2lutils` {version()} as a wheel, a requirements file.",
            f"- {raw(wheel_name(), 'The package alone')}, to upload beside a single "
            "notebook.",
        ]
        pdf = f"{raw(PDF, 'The whole book as PDF')}, for paper."
        if printed() is None:
            pdf = "The whole book as PDF is not in this copy; `make pdf` makes it."
        lines.append(f"- {pdf}\n\nThe chapters one by one, with their outputs:\n")
        names = titles()
        for path in notebooks():
            source = f"../_sources/chapters/{place(path)}.ipynb"
            mark = "1." if path in chapters() else "    -"
            name = names[place(path)]
            lines.append(f'{mark} <a href="{source}" download>{name}</a>')
        return lines


def write(app: Sphinx, exception: Exception | None) -> None:
    """Put the files into the site."""
    # The fixture of the tests is a book without the package.
    package = (Path(app.srcdir) / "pyproject.toml").exists()
    if exception is None and app.builder.format == "html" and package:
        target = Path(app.outdir, FOLDER)
        pack(target / ARCHIVE, app.config.html_title)
        if pdf := printed():
            shutil.copy2(pdf, target)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive and the handler."""
    app.add_directive("downloads", Downloads)
    app.connect("build-finished", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
