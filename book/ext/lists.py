"""Sphinx extension: lists that pages are made of, from data and from the chapters.

What a chapter says itself is not written down a second time:

- ``{chapters}``   the chapters in the order of ``_toc.yml``: title, one line from
                   ``book/pages.yml``, reading time
- ``{questions}``  ``book/questions.yml``, each with a link to the cell that answers it
- ``{asked}``      the questions that the chapters themselves end with
- ``{terms}``      ``book/glossary.yml``
- ``{names}``      the package's public names, and the chapters whose code uses them
- ``{gpureport}``  what ``make gpu-report`` found on a card, or that none has run it
"""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from cells import notebook_cells, source_of
from docutils import nodes
from docutils.statemachine import StringList
from myst_parser.mdit_to_docutils.base import default_slugify
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
#: Ten times as fast, where PyYAML was built with libyaml.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Reading speed: words of prose and lines of code a minute.
WORDS, LINES = 200, 25
#: At most so many chapters are listed for a name.
MANY = 4
ASKED = "Questions people ask"
SECTIONS_UNREAD = ("References", "Exercises")


def load(path: Path) -> Any:
    """A YAML file."""
    return yaml.load(path.read_text("utf-8"), LOADER)  # noqa: S506 - a safe one


def pages(root: Path = ROOT) -> list[str]:
    """The pages of the book as ``_toc.yml`` names them, in its order."""
    contents = load(root / "_toc.yml")
    found = [contents["root"]]
    parts = contents.get("parts", [contents])  # a small book has none
    for entry in (entry for part in parts for entry in part["chapters"]):
        below = (section["file"] for section in entry.get("sections", []))
        found += [entry["file"], *below]
    return found


def notebooks(root: Path = ROOT) -> list[Path]:
    """The chapters' notebooks in order, each followed by its further measurements."""
    names = [name for name in pages(root) if name.startswith("chapters/")]
    return [root / f"{name}.ipynb" for name in names]


def chapters() -> list[Path]:
    """The chapters' notebooks, in order, without the further measurements."""
    return [path for path in notebooks() if path.parent.name == "chapters"]


def place(path: Path) -> str:
    """What a notebook is called in an address: ``nin``, ``further/nin``."""
    further = path.parent.name == "further"
    return f"further/{path.stem}" if further else path.stem


def titles() -> dict[str, str]:
    """The heading of each notebook by its place."""
    return {place(path): title(path) for path in notebooks()}


def title(path: Path) -> str:
    """The heading of a notebook."""
    return source_of(notebook_cells(path)[0]).splitlines()[0].removeprefix("# ")


def sections(path: Path) -> list[tuple[str, dict[str, Any], str]]:
    """A notebook in pieces: the ``##`` section, the cell, the text of the piece."""
    found, section = [], ""
    for cell in notebook_cells(path):
        text = source_of(cell)
        if cell["cell_type"] != "markdown":
            found.append((section, cell, text))
            continue
        for piece in re.split(r"^(?=## )", text, flags=re.MULTILINE):
            if piece.startswith("## "):
                section = piece.splitlines()[0].removeprefix("## ").strip()
            found.append((section, cell, piece))
    return found


def minutes(path: Path) -> int:
    """Reading time: prose and shown code up to the exercises, in steps of 5 minutes."""
    words = lines = 0
    for section, cell, text in sections(path):
        tags = cell["metadata"].get("tags", [])
        if section in SECTIONS_UNREAD or any(tag.startswith("hide-") for tag in tags):
            continue
        if cell["cell_type"] == "markdown":
            words += len(text.split())
        else:
            lines += sum(bool(line.strip()) for line in text.splitlines())
    return max(5, 5 * round((words / WORDS + lines / LINES) / 5))


def asked(path: Path) -> list[str]:
    """The questions of a chapter's own section, as Markdown."""
    found = []
    for section, cell, text in sections(path):
        if section == ASKED and cell["cell_type"] == "markdown":
            found += re.findall(r"^### (.+)", text, re.MULTILINE)
    return found


@cache
def public_names(module: Path) -> tuple[str, ...]:
    """Top-level classes and functions of a module that do not begin with ``_``.

    An explorer's function is made by a call of ``opener``. A module also has what it
    imports from another one of the package and lists in ``__all__``.
    """
    names, imported, listed = [], [], set[str]()
    for node in ast.parse(module.read_text("utf-8")).body:
        match node:
            case ast.ImportFrom(module=str(source)) if source.startswith("d2lutils."):
                imported += [alias.name for alias in node.names]
            case ast.Assign([ast.Name("__all__")], ast.List() as items):
                listed = set(ast.literal_eval(items))
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names.append(name)
            case ast.Assign([ast.Name(name)], ast.Call(ast.Name("opener"))):
                names.append(name)
    names += [name for name in imported if name in listed and not name.isupper()]
    return tuple(name for name in names if not name.startswith("_"))


def uses(path: Path) -> dict[str, str]:
    """What a notebook's code takes from the package: dotted name to its first cell.

    ``from d2lutils.x import f`` makes ``f`` stand for ``d2lutils.x.f``, and after
    ``from d2lutils import show`` ``show.table`` for ``d2lutils.show.table``.
    """
    stands_for: dict[str, str] = {}
    first: dict[str, str] = {}
    for section, cell, text in sections(path):
        if cell["cell_type"] != "code" or section in SECTIONS_UNREAD:
            continue
        tree = ast.parse(re.sub(r"^(\s*)[!%].*$", r"\1pass", text, flags=re.MULTILINE))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for name in node.names:
                    whole = f"{node.module}.{name.name}"
                    if whole.startswith("d2lutils."):
                        stands_for[name.asname or name.name] = whole
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in stands_for:
                first.setdefault(stands_for[node.id], cell["id"])
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                whole = f"{stands_for.get(node.value.id, '')}.{node.attr}"
                first.setdefault(whole, cell["id"])
    return first


def link(text: str, document: str, anchor: str = "") -> str:
    """A Markdown link from a page in ``book/`` to a notebook."""
    return f"[{text}](../{document}.ipynb{'#' + anchor if anchor else ''})"


def cell_link(text: str, address: str) -> str:
    """A link to ``chapter#cell``."""
    chapter, cell = address.split("#")
    return link(text, f"chapters/{chapter}", f"cell-{cell}")


class ListOf(SphinxDirective):
    """A directive that writes Markdown, and has it parsed in its place."""

    data = ""

    @classmethod
    def markdown(cls) -> list[str]:
        """The lines that stand for the directive."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        lines = "\n".join(self.markdown()).splitlines()
        box = nodes.container(classes=[f"list-{self.name}"])
        self.state.nested_parse(
            StringList(lines, self.data or self.name),
            self.content_offset,
            box,
            match_titles=True,
        )
        return [box] if box.children else []  # sections went into the page's own


class Chapters(ListOf):
    """``{chapters}``"""

    data = "book/pages.yml"

    @classmethod
    def markdown(cls) -> list[str]:
        about = load(ROOT / cls.data)
        lines = []
        for number, path in enumerate(chapters(), 1):
            name = f"chapters/{path.stem}"
            first = f"{link(title(path), name)} *{minutes(path)} min*"
            more = path.parent / "further" / path.name
            if more in notebooks():
                document = f"chapters/{place(more)}"
                first += f", {link('further', document)} *{minutes(more)} min*"
            lines.append(f"{number}. {first}\n\n    {about[name]}\n")
        speed = f"prose at {WORDS} words and code at {LINES} lines a minute"
        times = f"The times are for reading, {speed}, without the exercises."
        return [*lines, times]


class Questions(ListOf):
    """``{questions}``"""

    data = "book/questions.yml"

    @classmethod
    def markdown(cls) -> list[str]:
        names, lines = titles(), []
        for group in load(ROOT / cls.data):
            lines.append(f"## {group['title']}\n\n{group['about'].strip()}\n")
            for entry in group["questions"]:
                chapter = entry["at"].split("#")[0]
                shown = cell_link(names[chapter], entry["at"])
                lines.append(f"### {entry['ask']}\n")
                lines.append(f"{entry['answer'].strip()}\n\n*Shown in {shown}*\n")
        return lines


class Asked(ListOf):
    """``{asked}``"""

    @classmethod
    def markdown(cls) -> list[str]:
        lines = []
        for path in filter(asked, notebooks()):
            name = f"chapters/{place(path)}"
            lines.append(f"- {link(title(path), name)}\n")
            for question in asked(path):
                lines.append(f"  - {link(question, name, default_slugify(question))}")
            lines.append("")
        return lines


class Terms(ListOf):
    """``{terms}``"""

    data = "book/glossary.yml"

    @classmethod
    def markdown(cls) -> list[str]:
        called, lines, letters = titles(), [], {}
        for entry in load(ROOT / cls.data):
            anchor = f"term-{default_slugify(entry['term'])}"
            letters.setdefault(entry["term"][0].upper(), anchor)
            also = f" ({', '.join(entry['also'])})" if entry.get("also") else ""
            names = (("gluon", "Gluon"), ("pytorch", "PyTorch"))
            more = [f"{name}: {entry[key]}" for key, name in names if key in entry]
            shown: dict[str, str] = {}
            for address in entry["see"]:
                name = called[address.split("#")[0]]
                shown[address] = "a second cell" if name in shown.values() else name
            places = (cell_link(text, address) for address, text in shown.items())
            more.append(f"Shown in {', '.join(places)}")
            lines.append(f'<a id="{anchor}"></a>**{entry["term"]}**{also}')
            lines.append(f": {' '.join(entry['text'].split())}\n")
            lines.append(f"  *{'. '.join(more)}.*\n")
        jumps = (f'<a href="#{anchor}">{name}</a>' for name, anchor in letters.items())
        return [f'<p class="letters">{" ".join(jumps)}</p>\n', *lines]


class Names(ListOf):
    """``{names}``"""

    @classmethod
    def markdown(cls) -> list[str]:
        used = [(path, uses(path)) for path in notebooks()]
        package = ROOT / "d2lutils"
        rows = []
        for module in package.rglob("*.py"):
            if module.parent.name == "gluon":  # the mirror of the other half
                continue
            where = ".".join(module.relative_to(ROOT).with_suffix("").parts)
            where = where.removesuffix(".__init__")
            for name in public_names(module):
                dotted = f"{where}.{name}"
                whole = {dotted, dotted.replace(".pytorch.", ".gluon.")}
                places = []
                for path, first in used:
                    cells = [first[w] for w in sorted(whole) if w in first]
                    if cells:
                        document = f"chapters/{place(path)}"
                        places.append(link(title(path), document, f"cell-{cells[0]}"))
                if places:
                    shown = where.replace(".pytorch.", ".{gluon,pytorch}.")
                    more = len(places) - MANY
                    many = [*places[:MANY], f"{more} more"] if more > 1 else places
                    rows.append(f"| `{name}` | `{shown}` | {', '.join(many)} |")
        head = ["| Name | Module | Used in |", "|---|---|---|"]
        return head + sorted(rows, key=str.lower)


class GpuReport(ListOf):
    """``{gpureport}``"""

    data = "d2lutils/results/gpu.json"

    @classmethod
    def markdown(cls) -> list[str]:
        path = ROOT / cls.data
        if not path.exists():
            return ["**No card has run it yet.**"]
        found = json.loads(path.read_text("utf-8"))
        machine, lines = found["machine"], []
        for name, part in found["parts"].items():
            word = next((k for k in ("failed", "skipped") if k in part), "summary")
            verdict = "" if word == "summary" else f"**{word}**: "
            lines.append(f"- {name}, {part['seconds']:.0f} s: {verdict}{part[word]}")
        about = "compute capability {capability}, driver {driver}, CUDA {cuda}"
        head = f"On one {machine['device']} ({about.format(**machine)}, PyTorch "
        head += f"{machine['versions']['torch']}), {found['date']}:"
        return [head, "", *lines]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    for directive in (Chapters, Questions, Asked, Terms, Names, GpuReport):
        app.add_directive(directive.__name__.lower(), directive)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
