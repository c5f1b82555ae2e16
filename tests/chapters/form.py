"""The form of a chapter, as far as a machine can judge it.

Each rule is a function from a notebook to complaints. ``RULES`` has those of a
chapter's core, ``FURTHER_RULES`` those of its further measurements, ``PAGE_RULES``
those that hold for every executed page. CONTRIBUTING.md describes the form itself.
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
MAX_SOURCE = 30
#: Code cells in view, and words in all text cells, by folder.
CELLS = {"chapters": 25, "further": 40}
WORDS = {"chapters": (400, 1400), "further": (200, 1200)}
#: A prediction is resolved after so many code cells.
RESOLVED = 10
MIN_ALT = 20
EXERCISES = (2, 3)
MAX_BYTES = 1_500_000
ORDER = (
    "Where they differ",
    "Summary",
    "References",
    "Exercises",
)
CLOSING = (*ORDER, "Questions people ask")
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
CITATION_PATHS = {
    "chapters": "../book/references.md",
    "further": "../../book/references.md",
    "book": "references.md",
}
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
    """A notebook to judge.

    Its cells, its file's size, the known citation keys, its folder, and the answers
    "In a hurry" that `book/questions.yml` has for it.
    """

    cells: Sequence[Cell]
    size: int = 0
    citations: frozenset[str] | None = None
    folder: str = "chapters"
    hurry: str | None = None

    def code(self) -> Iterator[tuple[int, Cell]]:
        """The code cells with their numbers."""
        for number, cell in enumerate(self.cells):
            if cell["cell_type"] == "code":
                yield number, cell

    def steps(self) -> list[tuple[int, Cell]]:
        """The code cells after the set-up and the imports, with their numbers."""
        kinds = [cell["cell_type"] for cell in self.cells]
        first = kinds.index("code") if "code" in kinds else 0
        start = kinds.index("markdown", first) if "markdown" in kinds[first:] else first
        return [(number, cell) for number, cell in self.code() if number > start]

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
FURTHER_RULES: dict[str, Rule] = {}
PAGE_RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    """Register a rule that holds for a chapter's core."""
    RULES[function.__name__] = function
    return function


def chapter_rule(function: Rule) -> Rule:
    """Register a rule that holds for a core and for further measurements."""
    FURTHER_RULES[function.__name__] = function
    return rule(function)


def page_rule(function: Rule) -> Rule:
    """Register a rule that holds for every executed page."""
    PAGE_RULES[function.__name__] = function
    return chapter_rule(function)


def rules(folder: str) -> dict[str, Rule]:
    """The rules for a notebook in this folder."""
    return {"chapters": RULES, "further": FURTHER_RULES}.get(folder, PAGE_RULES)


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
    """A prediction before the set-up cell, resolved within ten code cells."""
    start = next((number for number, _ in nb.code()), len(nb.cells))
    opening = "".join(text for n, text in nb.markdown() if n < start)
    if not re.search(r"<summary><b>.*\bpredict", opening, re.IGNORECASE):
        yield "no <details> with a prediction stands before the set-up cell"
    taken_up = re.compile(r"\bpredict(?:ed|ions?)\b", re.IGNORECASE)
    resolved = (n for n, text in nb.markdown() if n > start and taken_up.search(text))
    at = next(resolved, None)
    if at is None:
        yield "the prediction is not resolved: no text says 'predicted', 'prediction'"
        return
    before = sum(number < at for number, _ in nb.steps())
    if before > RESOLVED:
        yield f"the prediction is resolved after {before} cells, not {RESOLVED}"


@rule
def in_a_hurry(nb: Notebook) -> Iterator[str]:
    """The short answers before the set-up cell are those of book/questions.yml."""
    start = next((number for number, _ in nb.code()), len(nb.cells))
    found = [cell["source"] for cell in nb.cells[:start]]
    if nb.hurry not in found:
        yield f"a text cell must be {stamp.HURRY!r} ..., which `make stamp` keeps"


@chapter_rule
def devices(nb: Notebook) -> Iterator[str]:
    """Each framework's imports choose its device."""
    first = nb.steps()[0][0] if nb.steps() else len(nb.cells)
    for number, cell in nb.code():
        misplaced = "nbval-ignore-output" not in tags(cell) or number >= first
        if "use_gpu()" in cell["source"] and misplaced:
            yield (
                f"cell {number} calls use_gpu(): it belongs among the imports, and "
                "needs the tag nbval-ignore-output with a reason"
            )
    chosen = [t for _, c in nb.code() if "use_gpu()" in c["source"] for t in tags(c)]
    for framework in ("gluon", "pytorch"):
        used = any(framework in tags(cell) for _, cell in nb.code())
        if used and framework not in chosen:
            yield f"no cell tagged {framework!r} calls devices.use_gpu()"


@chapter_rule
def number_of_cells(nb: Notebook) -> Iterator[str]:
    """A core has at most 25 code cells, without folded ones, stubs and solutions."""
    count = sum(not tags(cell) & LONG_TAGS for _, cell in nb.code())
    if count > CELLS[nb.folder]:
        yield f"{count} code cells, at most {CELLS[nb.folder]} are allowed"


@page_rule
def source_length(nb: Notebook) -> Iterator[str]:
    """A source that is shown has at most 30 lines a half; a longer one is linked."""
    for number, cell in nb.code():
        if "show.sources(" not in cell["source"]:
            continue
        for output in cell["outputs"]:
            text = output.get("data", {}).get("text/plain", "")
            for half in re.split(r"^# (?=Gluon|PyTorch)", text, flags=re.MULTILINE):
                lines = sum(bool(line.strip()) for line in half.splitlines()[1:])
                if lines > MAX_SOURCE:
                    yield f"cell {number} shows {lines} lines of source in a half"


@dataclass
class FurtherSection:
    """A section of further measurements."""

    title: str
    text: str


def further_sections(nb: Notebook) -> list[FurtherSection]:
    """The ``##`` sections: heading and what follows it directly."""
    text = "\n\n".join(text for _, text in nb.markdown())
    pieces = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    pairs = zip(pieces[::2], pieces[1::2], strict=True)
    return [FurtherSection(title.strip(), text.strip()) for title, text in pairs]


def results_first(nb: Notebook) -> Iterator[str]:
    """A section of further measurements opens with its result, in bold."""
    for section in further_sections(nb):
        if section.title not in CLOSING and not section.text.startswith("**"):
            yield f"'## {section.title}' does not open with its result in bold"


FURTHER_RULES["results_first"] = results_first


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


@chapter_rule
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


@chapter_rule
def words(nb: Notebook) -> Iterator[str]:
    """A core has 400 to 1,400 words, with its answers, references and exercises."""
    texts = (cell["source"] for cell in nb.cells if cell["cell_type"] == "markdown")
    count, (least, most) = sum(len(text.split()) for text in texts), WORDS[nb.folder]
    if not least <= count <= most:
        yield f"{count} words, {least} to {most} are allowed"


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
    path = CITATION_PATHS[nb.folder]
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
            yield "the references hold no link to ../book/references.md#key"


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
    """Two or three, each with a kind, a name, and a checked or written answer."""
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
