"""Say where Colab gets the package from: ``make stamp URL=https://...``.

Writes the repository's address and branch into ``_config.yml`` and, into the set-up
cell of every notebook, the lines that prepare a Colab runtime. Without an address the
cell installs an uploaded wheel, or says how to upload it. ``WHEEL=`` names a wheel
instead, by path or address.

The folded answers "In a hurry" at the head of a chapter are written, too, from
``book/questions.yml``.

Outputs, ids and all other cells stay as they are, and the same call twice, or an
address set and unset again, gives the same bytes. What Colab reads in a notebook's
metadata comes from ``python -m tools.notebook``, which this runs, too.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import yaml
from nbformat import NotebookNode

from tools import ROOT
from tools import notebook as notebooks
from tools.execute import executed_notebooks, place

HURRY = "<details><summary><b>In a hurry</b></summary>"
GUARD = 'if "google.colab" in sys.modules:'
BRANCH = "main"
#: What is installed while there is no address: the wheel, as it was uploaded.
UPLOADED = "d2lutils-*.whl"
#: How it gets there, in the cell; what the shell says if it is not there.
ROUTE = """\
    # Take the wheel, also in the zip, from the book's Downloads page.
    # Upload it with the folder button at the left and run this again.
"""
NO_WHEEL = "See the comment."
# No blanks, and nothing that is special to the shell, IPython or YAML.
ADDRESS = re.compile(r"(https|file)://[\w.~:/@%+-]+")
NAME = re.compile(r"\w[\w./-]*")
WHEEL = re.compile(r"[\w.~:/%+-]+\.whl")


def source_of(url: str, branch: str = BRANCH, wheel: str = "") -> str:
    """What pip installs: the wheel, else the repository's branch, else an upload.

    Raises:
        ValueError: an argument has another form than an address, a name, a wheel.
    """
    if url and not ADDRESS.fullmatch(url):
        raise ValueError(f"URL must look like https://host/owner/name, got {url!r}")
    if not NAME.fullmatch(branch):
        raise ValueError(f"BRANCH must be a branch or a tag, got {branch!r}")
    if wheel and not WHEEL.fullmatch(wheel):
        raise ValueError(f"WHEEL must be a path or an address of a .whl, got {wheel!r}")
    return wheel or (f"git+{url}@{branch}" if url else UPLOADED)


def block(source: str) -> str:
    """The lines of every set-up cell that prepare a Colab runtime."""
    route, otherwise = "", ""
    if source == UPLOADED:
        route, otherwise = ROUTE, f' || echo "{NO_WHEEL}"'
    return (
        f"{GUARD}\n{route}    !pip install -q --no-deps {source}{otherwise}\n"
        "    !python -m d2lutils colab"
    )


def configured(root: Path = ROOT) -> str:
    """What the notebooks install, going by ``_config.yml``."""
    text = (root / "_config.yml").read_text(encoding="utf-8")
    repository = yaml.safe_load(text)["repository"]
    return source_of(**{key: str(value) for key, value in repository.items()})


def with_block(cell: str, source: str) -> str:
    """A set-up cell with today's lines for Colab, a blank line before and after.

    Raises:
        ValueError: the cell has no such lines.
    """
    lines = cell.split("\n")
    if GUARD not in lines:
        raise ValueError(f"no line {GUARD!r} in the set-up cell")
    start = lines.index(GUARD)
    end = start + 1
    while end < len(lines) and lines[end].startswith(" "):
        end += 1
    while start and lines[start - 1].startswith("#"):
        start -= 1
    parts = ["\n".join(lines[:start]), block(source), "\n".join(lines[end:])]
    return "\n\n".join(part.strip("\n") for part in parts if part.strip("\n"))


def with_repository(config: str, **settings: str) -> str:
    """The text of ``_config.yml`` with settings of its repository; comments stay.

    Raises:
        ValueError: there is no line for one of the settings.
    """
    for key, value in settings.items():
        # In quotes unless YAML reads the bare word as this string, unlike "" or 1.0.
        plain = value if yaml.safe_load(value) == value else f'"{value}"'
        line = re.compile(rf"(?m)^(repository:\n(?:[ #].*\n)*?  {key}: )\S+")
        config, count = line.subn(rf"\g<1>{plain}", config)
        if count != 1:
            raise ValueError(f"_config.yml has no line '  {key}: ...' in repository:")
    return config


def in_a_hurry(root: Path = ROOT) -> dict[str, str]:
    """The folded answers at the head of each chapter, from ``book/questions.yml``.

    A question stands in the core that answers it and in those that it names in
    ``also``, with the first sentence of its answer.
    """
    path = root / "book" / "questions.yml"
    groups = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else []
    lines: dict[str, list[str]] = {}
    for question in (question for group in groups for question in group["questions"]):
        notebook, cell = question["at"].split("#")
        ask, answer = (" ".join(question[key].split()) for key in ("ask", "answer"))
        short = re.split(r"(?<=[.!?])\s", answer)[0]
        for chapter in [notebook, *question.get("also", [])]:
            file = "" if notebook == chapter else f"{notebook}.ipynb"
            line = f"- **{ask}** {short} [Shown.]({file}#cell-{cell})"
            lines.setdefault(chapter, []).append(line)
    return {
        chapter: "\n".join([HURRY, "", *found, "", "</details>"])
        for chapter, found in lines.items()
    }


def stamped(root: Path, source: str) -> dict[Path, NotebookNode]:
    """Every notebook with the lines for Colab, not yet written.

    Raises:
        ValueError: naming the notebook whose set-up cell has no such lines.
    """
    found, questions = {}, in_a_hurry(root)
    for path in executed_notebooks(root):
        nb = notebooks.normalize(notebooks.read(path))
        for cell in nb.cells:
            if cell.source.startswith(HURRY):
                cell.source = questions.get(place(path), "")
        cell = next(cell for cell in nb.cells if cell.cell_type == "code")
        try:
            cell.source = with_block(cell.source, source)
        except ValueError as problem:
            raise ValueError(f"{path.name}: {problem}") from None
        found[path] = nb
    return found


def stamp(root: Path, url: str = "", branch: str = BRANCH, wheel: str = "") -> str:
    """Stamp configuration and notebooks; what Colab will install.

    Raises:
        ValueError: before anything is written.
    """
    source = source_of(url, branch, wheel)
    config = root / "_config.yml"
    text = config.read_text(encoding="utf-8")
    text = with_repository(text, url=url, branch=branch, wheel=wheel)
    for path, nb in stamped(root, source).items():
        notebooks.write(nb, path)
    config.write_text(text, encoding="utf-8")
    return source


def main(arguments: list[str] | None = None) -> int:
    """Stamp notebooks and configuration as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="", help="of the repository; empty: unset")
    parser.add_argument("--branch", default=BRANCH, help="or a tag")
    parser.add_argument("--wheel", default="", help="path or address of a wheel")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        source = stamp(options.root, options.url, options.branch, options.wheel)
    except ValueError as problem:
        print(f"stamp: {problem}")
        return 1
    print(f"Colab installs {source}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
