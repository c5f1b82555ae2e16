"""The form of a chapter, as far as a machine can judge it.

Each rule is a function from a notebook to complaints; ``RULES`` has those of a chapter,
``PAGE_RULES`` those that hold for an executed page of ``book/``, too. The form itself
is described in CONTRIBUTING.md.
"""

from __future__ import annotations

import ast
import re
import symtable
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import prose
from IPython.core.inputtransformer2 import TransformerManager

from tools import stamp

MAX_LINES = 15
MAX_WIDTH = 72
WORDS = (900, 2300)
MIN_ALT = 20
EXERCISES = (3, 6)
MAX_BYTES = 1_500_000
ORDER = (
    "Questions people ask",
    "Where they differ",
    "Summary",
    "References",
    "Exercises",
)
FIRST_LINES = {
    "gluon": "# Gluon",
    "pytorch": "# PyTorch",
    "both": "# Gluon and PyTorch",
}
NEEDS = {
    "gluon": {"gluon"},
    "pytorch": {"pytorch"},
    "both": {"gluon", "pytorch"},
}
# Cells that are no step of the construction, and may be long.
LONG_TAGS = {"exercise", "solution", "figure", "hide-input", "hide-cell"}
BANNED_TAGS = {"raises-exception", "nbval-skip", "skip-execution"}
FRAMEWORKS = re.compile(
    r"^\s*(?:import|from)\s+(?:mxnet|torch|d2lutils\.(?:compat|gluon|pytorch))\b"
    r"|^\s*from\s+d2lutils\s+import\b[^#\n]*\b(?:gluon|pytorch|compat)\b",
    re.MULTILINE,
)
DIRECTIVE = re.compile(
    r"^\s*(?:```+|~~~+|:::+)\{"  # a directive
    r"|\{[\w:+-]+\}`"  # a role
    r"|^\([\w-]+\)=\s*$"  # a target
    r"|^\+\+\+",  # a block break
    re.MULTILINE,
)
CITATION_KEY = re.compile(r"\]\((?P<path>[^)#\s]*references\.\w+)#(?P<key>[^)\s]+)\)")
CITATION_PATH = "../book/references.md"
IMAGE = re.compile(r"!\[(?P<alt>[^\]]*)\]\(|<img\b(?P<attributes>[^>]*)>")
PATH = re.compile(
    r"(?<![\w/.:-])/(?:home|root|usr|tmp|work|var|Users|opt|private|mnt|content)/\w"
    r"|\b[A-Z]:\\\\?(?:Users|Windows|Program)"
)
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}")
BARE_REPR = re.compile(r"\[?<[\w.]+[ :]|(?:Text|Axes)\(")
KIND_LINE = re.compile(r"^\*\*(?P<kind>\w+)\*\* · `(?P<name>\w+)`$")
KINDS = ("conceptual", "code", "extended")

Cell = Mapping[str, Any]
Rule = Callable[["Notebook"], Iterator[str]]


@dataclass
class Notebook:
    """A notebook to judge: its cells, its file's size, the known citation keys."""

    cells: Sequence[Cell]
    size: int = 0
    citations: frozenset[str] | None = None
    folder: str = "chapters"

    def code(self) -> Iterator[tuple[int, Cell]]:
        """The code cells with their numbers."""
        for number, cell in enumerate(self.cells):
            if cell["cell_type"] == "code":
                yield number, cell

    def markdown(self) -> Iterator[tuple[int, str]]:
        """The text cells' sources without the code in them, with their numbers."""
        for number, cell in enumerate(self.cells):
            if cell["cell_type"] == "markdown":
                yield number, prose.FENCE.sub("", cell["source"])

    def headings(self, level: int) -> list[str]:
        """All headings of one level."""
        pattern = re.compile(rf"^{'#' * level} (.+?)\s*$", re.MULTILINE)
        return [title for _, text in self.markdown() for title in pattern.findall(text)]


RULES: dict[str, Rule] = {}
PAGE_RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    """Register a rule that holds for chapters."""
    RULES[function.__name__] = function
    return function


def page_rule(function: Rule) -> Rule:
    """Register a rule that holds for chapters and for executed pages."""
    PAGE_RULES[function.__name__] = function
    return rule(function)


def tags(cell: Cell) -> set[str]:
    """A cell's tags."""
    return set(cell["metadata"].get("tags", []))


def is_setup(cell: Cell) -> bool:
    """Whether this is the set-up cell."""
    return "show.setup()" in cell["source"]


def output_texts(cell: Cell) -> Iterator[str]:
    """The texts of a cell's outputs."""
    for output in cell["outputs"]:
        if "text" in output:
            yield output["text"]
        for mime, value in output.get("data", {}).items():
            if mime.startswith("text/") or mime == "image/svg+xml":
                yield value


# -- the opening -----------------------------------------------------------------------


@page_rule
def title_first(nb: Notebook) -> Iterator[str]:
    """The first cell is text and begins with the only title."""
    first = nb.cells[0] if nb.cells else {"cell_type": "", "source": ""}
    if first["cell_type"] != "markdown" or not first["source"].startswith("# "):
        yield "cell 0 must be text that begins with the title, '# ...'"
    if len(nb.headings(1)) != 1:
        yield f"there must be one title, found {nb.headings(1)}"


@page_rule
def setup_cell(nb: Notebook) -> Iterator[str]:
    """The first code cell: imports, the lines for Colab, imports, show.setup()."""
    number, cell = next(nb.code(), (0, {"source": ""}))
    source = cell["source"]
    lines = stamp.block(stamp.configured())
    if f"\n\n{lines}\n\n" not in source:
        yield (
            f"cell {number} lacks the lines for Colab that _config.yml asks for, "
            f"between blank lines; `make stamp` writes them:\n{lines}"
        )
        return
    before, _, after = source.partition(lines)
    first = [*ast.parse(before).body, *ast.parse(after).body]
    calls = [ast.unparse(node) for node in first]
    if "show.setup()" not in calls:
        yield f"cell {number}, the first code cell, must call show.setup()"
        return
    for node in first[: calls.index("show.setup()")]:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            yield f"cell {number} does more than to import: {ast.unparse(node)}"
    if FRAMEWORKS.search(source):
        yield (
            f"cell {number} imports a framework; do that in '# Gluon' and '# PyTorch' "
            "cells after it, which can be skipped where the framework is missing"
        )


@rule
def prediction(nb: Notebook) -> Iterator[str]:
    """A prediction is asked for before the first step, and taken up again later."""
    steps = [number for number, cell in nb.code() if not is_setup(cell)]
    start = steps[0] if steps else len(nb.cells)
    if not any("<details" in text for n, text in nb.markdown() if n < start):
        yield "no <details> with a prediction stands before the first step"
    taken_up = re.compile(r"\bpredict(?:ed|ions?)\b", re.IGNORECASE)
    if not any(taken_up.search(text) for n, text in nb.markdown() if n > start):
        yield (
            "the prediction is not taken up again: no later text says 'predicted' or "
            "'prediction'"
        )


# -- cells -----------------------------------------------------------------------------


@page_rule
def framework_tags(nb: Notebook) -> Iterator[str]:
    """A cell's tag and its first line say the same."""
    for number, cell in nb.code():
        chosen = tags(cell) & FIRST_LINES.keys()
        first = (cell["source"].splitlines() or [""])[0].strip()
        if len(chosen) > 1:
            yield f"cell {number} has the tags {sorted(chosen)}: use 'both' alone"
        for tag in chosen:
            if first != FIRST_LINES[tag]:
                yield (
                    f"cell {number} has the tag {tag!r} and must begin with "
                    f"{FIRST_LINES[tag]!r}, not {first!r}"
                )
        for tag, line in FIRST_LINES.items():
            if first == line and tag not in chosen:
                yield f"cell {number} begins with {line!r} and needs the tag {tag!r}"
        if tags(cell) & BANNED_TAGS:
            yield f"cell {number} has the tag {sorted(tags(cell) & BANNED_TAGS)}"


@page_rule
def names_where_frameworks_are_missing(nb: Notebook) -> Iterator[str]:
    """A cell uses no name from a cell that is skipped where this one is run."""
    made: dict[str, tuple[int, set[str]]] = {}
    for number, cell in nb.code():
        framework = next(iter(tags(cell) & NEEDS.keys()), "")
        needs = NEEDS.get(framework, set())
        assigned, used = _names(cell["source"])
        for name in sorted(used):
            maker, needed = made.get(name, (number, set()))
            if needed - needs:
                yield (
                    f"cell {number} uses {name!r} from cell {maker}, which is skipped "
                    f"where {' or '.join(sorted(needed - needs))} is missing: either "
                    "this cell needs the tag and the first line, too, or the name "
                    "belongs into a cell that needs no framework"
                )
        for name in assigned:
            made[name] = (number, needs)


def _names(source: str) -> tuple[set[str], set[str]]:
    """Names that a cell binds at its top level, and others that it may read."""
    code = TransformerManager().transform_cell(source)
    top = symtable.symtable(code, "cell", "exec")
    found = top.get_symbols()
    bound = {s.get_name() for s in found if s.is_assigned() or s.is_imported()}
    read: set[str] = set()
    tables = [top]
    for table in tables:
        found = table.get_symbols()
        read |= {s.get_name() for s in found if s.is_referenced() and s.is_global()}
        tables += table.get_children()
    return bound, read - bound


@rule
def cell_length(nb: Notebook) -> Iterator[str]:
    """A step of the construction has at most 15 lines that are not blank."""
    for number, cell in nb.code():
        lines = sum(bool(line.strip()) for line in cell["source"].splitlines())
        if lines > MAX_LINES and not (is_setup(cell) or tags(cell) & LONG_TAGS):
            yield f"cell {number} has {lines} lines, at most {MAX_LINES} are allowed"
        if lines == 0:
            yield f"cell {number} is empty"


@page_rule
def line_width(nb: Notebook) -> Iterator[str]:
    """Code in a pair fits into its column."""
    for number, cell in nb.code():
        if tags(cell) & {"gluon", "pytorch"}:
            for line in cell["source"].splitlines():
                if len(line) > MAX_WIDTH:
                    yield (
                        f"cell {number} has a line of {len(line)} characters, at most "
                        f"{MAX_WIDTH} are allowed in a pair: {line.strip()!r}"
                    )


# -- text ------------------------------------------------------------------------------


@rule
def words(nb: Notebook) -> Iterator[str]:
    """A chapter has 900 to 2,300 words of prose."""
    count = prose.words(nb.cells)
    if not WORDS[0] <= count <= WORDS[1]:
        yield f"{count} words of prose, {WORDS[0]} to {WORDS[1]} are allowed"


@page_rule
def plain_markdown(nb: Notebook) -> Iterator[str]:
    """No directives, roles or targets: Colab shows them as raw text."""
    for number, cell in enumerate(nb.cells):
        if cell["cell_type"] == "markdown":
            for match in DIRECTIVE.finditer(cell["source"]):
                yield f"cell {number} has MyST syntax: {match[0].strip()!r}"


@page_rule
def citations(nb: Notebook) -> Iterator[str]:
    """Citations lead to entries of the bibliography."""
    path = CITATION_PATH if nb.folder == "chapters" else "references.md"
    for number, text in nb.markdown():
        for match in CITATION_KEY.finditer(text):
            if match["path"] != path:
                yield f"cell {number} cites {match['path']}; the page is {path}"
            if nb.citations is not None and match["key"] not in nb.citations:
                yield f"cell {number} cites {match['key']!r}: not in the bibliography"


@page_rule
def numbers_in_prose(nb: Notebook) -> Iterator[str]:
    """No measured result stands in prose; see prose.py."""
    for planted in prose.planted_numbers(nb.cells):
        yield str(planted)


@rule
def section_order(nb: Notebook) -> Iterator[str]:
    """The closing sections are there, once each, in order; something is cited."""
    titles = nb.headings(2)
    for title in ORDER:
        if titles.count(title) != 1:
            yield f"'## {title}' must occur once, found {titles.count(title)}"
    present = [title for title in titles if title in ORDER]
    wanted = [title for title in ORDER if title in present]
    if present != wanted:
        yield f"the order of sections is {present}, it must be {wanted}"
    for section in prose.sections(nb.cells):
        text = "".join(text for _, text in section.texts)
        if section.title == "References" and not CITATION_KEY.search(text):
            yield f"the references hold no link to {CITATION_PATH}#key"


# -- outputs ---------------------------------------------------------------------------


@page_rule
def alt_texts(nb: Notebook) -> Iterator[str]:
    """Each figure has a text that says what it shows."""
    for number, cell in nb.code():
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            image = cell["metadata"].get("mystnb", {}).get("image", {})
            alt = image.get("alt", "")
            if len(alt) < MIN_ALT:
                yield (
                    f"cell {number} shows a figure; metadata.mystnb.image.alt must "
                    f"say what it shows in at least {MIN_ALT} characters, got {alt!r}"
                )
    for number, text in nb.markdown():
        for match in IMAGE.finditer(text):
            attributes = match["attributes"]
            alt = match["alt"]
            if attributes is not None:
                found = re.search(r'\balt="([^"]*)"', attributes)
                alt = found[1] if found else ""
            if len(alt) < MIN_ALT:
                yield f"cell {number} has an image without alt text: {match[0]!r}"


@page_rule
def same_on_every_machine(nb: Notebook) -> Iterator[str]:
    """Outputs hold no path, no memory address, no bare repr of an object."""
    for number, cell in nb.code():
        for text in output_texts(cell):
            for pattern, what in ((PATH, "a path"), (ADDRESS, "an address")):
                match = pattern.search(text)
                if match:
                    around = text[max(0, match.start() - 20) : match.end() + 30]
                    yield f"cell {number} outputs {what}: {around!r}"
        for output in cell["outputs"]:
            data = output.get("data", {})
            if set(data) == {"text/plain"} and BARE_REPR.match(data["text/plain"]):
                yield (
                    f"cell {number} outputs the object {data['text/plain'][:60]!r}; "
                    "end the cell with a semicolon, or show something of it"
                )


@page_rule
def file_size(nb: Notebook) -> Iterator[str]:
    """A notebook stays below 1.5 MB."""
    if nb.size > MAX_BYTES:
        yield f"{nb.size / 1e6:.2f} MB, at most {MAX_BYTES / 1e6} MB are allowed"


@rule
def parity_report(nb: Notebook) -> Iterator[str]:
    """The chapter proves its two halves equal, and the proof is stored."""
    for _, cell in nb.code():
        if re.search(r"\bparity\.compare\(|\bcompare\(", cell["source"]) and any(
            "within" in text for text in output_texts(cell)
        ):
            return
    yield "no cell calls parity.compare and shows its report ('within ...')"


# -- exercises -------------------------------------------------------------------------


@dataclass
class Exercise:
    """A third-level heading among the exercises, and what follows it."""

    title: str
    kind: str = ""
    name: str = ""
    text: str = ""
    cells: list[tuple[int, Cell]] = field(default_factory=list)


def exercises_of(nb: Notebook) -> list[Exercise]:
    """The exercises under '## Exercises': '### Title', then '**kind** · `name`'."""
    found: list[Exercise] = []
    inside = False
    for number, cell in enumerate(nb.cells):
        if cell["cell_type"] == "code":
            if inside and found:
                found[-1].cells.append((number, cell))
            continue
        for line in cell["source"].splitlines():
            if line.startswith("## "):
                inside = line.strip() == "## Exercises"
            elif inside and line.startswith("### "):
                found.append(Exercise(line.removeprefix("### ").strip()))
            elif inside and found:
                match = KIND_LINE.match(line.strip())
                if match and not found[-1].kind:
                    found[-1].kind, found[-1].name = match["kind"], match["name"]
                else:
                    found[-1].text += line + "\n"
    return found


@rule
def exercises(nb: Notebook) -> Iterator[str]:
    """Three to six, each with a kind, a name, and a checked or written answer."""
    found = exercises_of(nb)
    if not EXERCISES[0] <= len(found) <= EXERCISES[1]:
        yield f"{len(found)} exercises, {EXERCISES[0]} to {EXERCISES[1]} are allowed"
    names = [exercise.name for exercise in found]
    for exercise in found:
        where = f"exercise {exercise.title!r}"
        if exercise.kind not in KINDS:
            yield f"{where}: '**kind** · `name`' must stand below it, kinds are {KINDS}"
            continue
        if names.count(exercise.name) > 1:
            yield f"{where}: two exercises are named {exercise.name!r}"
        has_details = "<details" in exercise.text
        if exercise.kind == "conceptual" and not has_details:
            yield f"{where} is conceptual and needs its answer in <details>"
        if exercise.kind == "code" or (exercise.kind == "extended" and exercise.cells):
            yield from _checked_cells(exercise, where)
        elif exercise.kind == "extended" and not has_details:
            yield f"{where} needs a stub and a solution, or an answer in <details>"


def _checked_cells(exercise: Exercise, where: str) -> Iterator[str]:
    stubs = [(n, cell) for n, cell in exercise.cells if "exercise" in tags(cell)]
    solutions = [(n, cell) for n, cell in exercise.cells if "solution" in tags(cell)]
    if len(stubs) != 1 or len(solutions) != 1 or stubs[0][0] > solutions[0][0]:
        yield f"{where} needs one cell tagged 'exercise', then one tagged 'solution'"
        return
    if "hide-cell" not in tags(solutions[0][1]):
        yield f"{where}: its solution needs the tag 'hide-cell'"
    for (number, cell), outcome in (
        (stubs[0], "not attempted yet"),
        (solutions[0], "passed"),
    ):
        lines = cell["source"].strip().splitlines() or [""]
        call = rf'exercises\.check\("{re.escape(exercise.name)}", .+\)$'
        if not re.match(call, lines[-1]):
            yield (
                f"{where}: cell {number} must end in "
                f'exercises.check("{exercise.name}", ...), not {lines[-1]!r}'
            )
        printed = "".join(output_texts(cell))
        if not re.search(rf"^{re.escape(exercise.name)}: {outcome}", printed, re.M):
            yield f"{where}: cell {number} must have printed {outcome!r}: {printed!r}"
