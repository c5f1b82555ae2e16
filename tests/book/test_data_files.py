"""The glossary and the questions: each entry leads to a cell that shows what it says.

Each rule is a function from the data to complaints, and each is proven with a planted
fault. The numbers in a text are found as in the chapters, by ``prose``: one that a
reader could take for a result must occur in a cell that the entry points to.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "chapters")]

import form  # noqa: E402
import prose  # noqa: E402

from tools import notebook  # noqa: E402

TERMS = (55, 75)
GROUPS = 6
QUESTIONS = (6, 13)
SEE = (1, 3)
SENTENCES = (1, 3)
POINTERS = 3
# What a term or question has to say, and what it may.
TERM_KEYS = ({"term", "text", "see"}, {"also", "gluon", "pytorch"})
GROUP_KEYS = ({"title", "about", "questions"}, set())
QUESTION_KEYS = ({"ask", "answer", "at"}, set())
LISTS = {"also", "see", "questions"}
ADDRESS = re.compile(r"(?P<chapter>\w+)#(?P<id>[\w-]+)")
CODE = re.compile(r"`([^`]+)`")
# The names that stand for modules in the columns of the glossary.
ALIASES = {
    "gluon": {
        "mx": "mxnet",
        "nd": "mxnet.ndarray",
        "nn": "mxnet.gluon.nn",
        "gluon": "mxnet.gluon",
        "autograd": "mxnet.autograd",
    },
    "pytorch": {"torch": "torch", "nn": "torch.nn"},
}

Cell = Mapping[str, Any]
Entry = Mapping[str, Any]


@dataclass
class Data:
    """Both files, and the cells of every chapter by their ids."""

    terms: Sequence[Entry]
    groups: Sequence[Entry]
    chapters: Mapping[str, Mapping[str, Cell]]

    def questions(self) -> Iterator[Entry]:
        """The questions of all groups."""
        for group in self.groups:
            yield from group["questions"]

    def entries(self) -> Iterator[tuple[str, Sequence[str], Sequence[str]]]:
        """A name, the texts and the addresses of all that says something."""
        for term in self.terms:
            columns = [term[key] for key in ALIASES if key in term]
            yield term["term"], [term["text"], *columns], term["see"]
        for group in self.groups:
            at = [question["at"] for question in group["questions"]]
            yield group["title"], [group["title"], group["about"]], at
            for question in group["questions"]:
                texts = [question["ask"], question["answer"]]
                yield question["ask"], texts, [question["at"]]

    def pointers(self) -> Iterator[tuple[str, str]]:
        """The name of each term and question, with each of its addresses."""
        for term in self.terms:
            yield from ((term["term"], at) for at in term["see"])
        for question in self.questions():
            yield question["ask"], question["at"]

    def cell(self, address: str) -> Cell | None:
        """The cell at ``chapter#id``, if there is one."""
        match = ADDRESS.fullmatch(address)
        return match and self.chapters.get(match["chapter"], {}).get(match["id"])


Rule = Callable[[Data], Iterator[str]]
RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    """Register a rule."""
    RULES[function.__name__] = function
    return function


@rule
def form_of_entries(data: Data) -> Iterator[str]:
    """Every entry has its fields and no others, none of them empty."""
    kinds = [(term, TERM_KEYS) for term in data.terms]
    kinds += [(group, GROUP_KEYS) for group in data.groups]
    kinds += [(question, QUESTION_KEYS) for question in data.questions()]
    for entry, (needed, allowed) in kinds:
        name = entry.get("term") or entry.get("title") or entry.get("ask")
        for key in sorted(needed - entry.keys()):
            yield f"{name}: lacks {key!r}"
        for key in sorted(entry.keys() - needed - allowed):
            yield f"{name}: {key!r} is no field"
        for key, value in entry.items():
            if not value or not isinstance(value, list if key in LISTS else str):
                yield f"{name}: {key!r} is {value!r}"


@rule
def how_many(data: Data) -> Iterator[str]:
    """The files are as long as a reader can bear, and so are the lists in them."""
    found = [("terms", len(data.terms), TERMS)]
    found += [("groups of questions", len(data.groups), (GROUPS, GROUPS))]
    found += [
        (f"{group['title']}: questions", len(group["questions"]), QUESTIONS)
        for group in data.groups
    ]
    found += [(f"{t['term']}: cells to see", len(t["see"]), SEE) for t in data.terms]
    for what, count, (low, high) in found:
        if not low <= count <= high:
            yield f"{what}: {count}, not {low} to {high}"


@rule
def short(data: Data) -> Iterator[str]:
    """A text is complete in three sentences, and says whom a group is for in one."""
    texts = [(term["term"], term["text"], SENTENCES) for term in data.terms]
    texts += [(q["ask"], q["answer"], SENTENCES) for q in data.questions()]
    texts += [(group["title"], group["about"], (1, 1)) for group in data.groups]
    for name, text, (low, high) in texts:
        count = len(list(prose.sentences(text)))
        if not low <= count <= high:
            yield f"{name}: {count} sentences, not {low} to {high}"
        if not text.endswith("."):
            yield f"{name}: its text does not end in a full stop"


@rule
def sorted_terms(data: Data) -> Iterator[str]:
    """Terms stand in alphabetical order, whatever their case."""
    names = [term["term"].casefold() for term in data.terms]
    for one, two in zip(names, sorted(names), strict=True):
        if one != two:
            yield f"{one!r} stands where {two!r} belongs"
            return


@rule
def unique(data: Data) -> Iterator[str]:
    """A term, another name of a term, or a question occurs once."""
    names = [n for term in data.terms for n in (term["term"], *term.get("also", []))]
    for group in (names, [question["ask"] for question in data.questions()]):
        for name, count in Counter(name.casefold() for name in group).items():
            if count > 1:
                yield f"{name!r} occurs {count} times"
    for term in data.terms:
        if len(set(term["see"])) < len(term["see"]):
            yield f"{term['term']}: a cell occurs twice"


@rule
def addresses(data: Data) -> Iterator[str]:
    """An address leads to a code cell that shows something and gives nothing away."""
    for name, address in data.pointers():
        cell = data.cell(address)
        if cell is None:
            yield f"{name}: there is no cell {address!r}"
        elif cell["cell_type"] != "code":
            yield f"{name}: {address} is no code cell"
        elif form.is_setup(cell) or only_imports(cell["source"]):
            yield f"{name}: {address} only sets up"
        elif form.tags(cell) & {"exercise", "solution"}:
            yield f"{name}: {address} belongs to an exercise"
    for question in data.questions():
        cell = data.cell(question["at"])
        if cell and cell["cell_type"] == "code" and not cell["outputs"]:
            yield f"{question['ask']}: {question['at']} has no output to show"


def only_imports(source: str) -> bool:
    """Whether code does nothing but import."""
    tree = ast.parse(TransformerManager().transform_cell(source))
    return all(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body)


@rule
def numbers(data: Data) -> Iterator[str]:
    """A number that could be a result occurs in a cell that the entry points to."""
    for name, texts, at in data.entries():
        cells = [cell for address in at if (cell := data.cell(address))]
        evidence = "\n".join(map(prose.evidence_of, cells))
        known, squeezed = prose.numbers_in(evidence), re.sub(r"\s+", "", evidence)
        for text in texts:
            for sentence in prose.sentences(text):
                for number in prose.unknown_numbers(sentence, known, squeezed):
                    yield f"{name}: {number} is in none of {', '.join(at)}"


@rule
def every_chapter(data: Data) -> Iterator[str]:
    """Terms and questions lead to every chapter."""
    counts = Counter(address.split("#")[0] for _, address in data.pointers())
    for chapter in data.chapters:
        if counts[chapter] < POINTERS:
            yield f"{chapter}: {counts[chapter]} entries lead there, not {POINTERS}"


@rule
def framework_names(data: Data) -> Iterator[str]:
    """What the glossary calls a framework's is there, with its keyword arguments."""
    for term in data.terms:
        for framework in ALIASES.keys() & term.keys():
            for code in CODE.findall(term[framework]):
                if problem := missing(framework, code):
                    yield f"{term['term']}: {code}: {problem}"


def missing(framework: str, code: str) -> str | None:
    """Why ``code``, a dotted name or a call of one, cannot be; or ``None``."""
    try:
        node = ast.parse(code, mode="eval").body
    except SyntaxError:
        return "not a name"
    keywords = []
    if isinstance(node, ast.Call):
        keywords, node = [k.arg for k in node.keywords if k.arg], node.func
    root, *path = ast.unparse(node).split(".")
    if root not in ALIASES[framework]:
        return f"{root!r} is none of {', '.join(ALIASES[framework])}"
    thing, name = module(ALIASES[framework][root]), ALIASES[framework][root]
    for part in path:
        name = f"{name}.{part}"
        if not hasattr(thing, part):
            try:
                importlib.import_module(name)
            except ImportError:
                return f"there is no {name}"
        thing = getattr(thing, part)
    accepted = arguments(thing) if keywords else None
    unknown = [k for k in keywords if accepted is not None and k not in accepted]
    return f"{name} has no argument {unknown[0]!r}" if unknown else None


def arguments(thing: Any) -> set[str] | None:
    """The names that a call takes; a class hands ``**kwargs`` on to its bases."""
    called = [thing]
    if inspect.isclass(thing):
        called = [c.__init__ for c in inspect.getmro(thing) if "__init__" in vars(c)]
    names: set[str] = set()
    for function in called:
        parameters = inspect.signature(function).parameters
        names |= parameters.keys()
        if all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
            return names
    return None  # anything goes


def module(name: str) -> Any:
    """A framework's module; MXNet has to be brought to today's NumPy first."""
    if name.startswith("mxnet"):
        importlib.import_module("d2lutils.compat").mx  # noqa: B018 - loads it
    return importlib.import_module(name)


# -- the book's data -------------------------------------------------------------------


@cache
def book() -> Data:
    """The two files, and the chapters in the order of the contents."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    chapters = {}
    for file in files:
        folder, name = file.split("/")
        if folder == "chapters":
            cells = notebook.read(ROOT / f"{file}.ipynb").cells
            chapters[name] = {cell.id: cell for cell in cells}
    loaded = [
        yaml.safe_load((ROOT / "book" / name).read_text("utf-8"))
        for name in ("glossary.yml", "questions.yml")
    ]
    return Data(*loaded, chapters)


@pytest.mark.parametrize("name", RULES)
def test_the_data(name: str) -> None:
    found = list(RULES[name](book()))
    if found:
        pytest.fail("\n".join([str(RULES[name].__doc__), *found]), pytrace=False)


# -- the rules can say no --------------------------------------------------------------


def good() -> Data:
    """Data in miniature that keep every rule."""
    cells = {
        "setup": new_code_cell("import sys\n\nshow.setup()"),
        "imports": new_code_cell("# Gluon\nfrom mxnet import nd\nimport numpy as np"),
        "text": new_markdown_cell("Some text."),
        "silent": new_code_cell("answer = 91"),
        "shown": new_code_cell(
            "print(27 + 64)",
            outputs=[new_output("stream", name="stdout", text="91\n")],
        ),
        "stub": new_code_cell("f = None", metadata={"tags": ["exercise"]}),
        "solved": new_code_cell("f = 1", metadata={"tags": ["solution"]}),
    }
    terms: list[dict[str, Any]] = [
        {"term": f"term {i:03}", "text": "A thing.", "see": ["one#shown"]}
        for i in range(100, 160)
    ]
    terms[0] |= {
        "also": ["another name"],
        "text": "It makes 91 of $27 + 64$. A `Block` of 3 parts.",
        "gluon": "`nn.Conv2D(strides=2)`, and `mx.nd.relu`; `gluon.Trainer.step`",
        "pytorch": "`nn.Conv2d(stride=2)`, `torch.utils.checkpoint.checkpoint`",
    }
    question = {"answer": "Yes. It makes 91.", "at": "one#shown"}
    groups = [
        {
            "title": f"Group {i}",
            "about": "For whoever asks.",
            "questions": [
                {"ask": f"Is part {'abcdef'[n]} of group {i} right?", **question}
                for n in range(6)
            ],
        }
        for i in range(GROUPS)
    ]
    return Data(terms, groups, {"one": cells})


def test_good_data_keep_every_rule() -> None:
    for name, judge in RULES.items():
        assert list(judge(good())) == [], name


def set_term(**fields: Any) -> Callable[[Data], None]:
    return lambda data: data.terms[0].update(fields)


def set_question(**fields: Any) -> Callable[[Data], None]:
    return lambda data: data.groups[1]["questions"][2].update(fields)


def set_group(**fields: Any) -> Callable[[Data], None]:
    return lambda data: data.groups[1].update(fields)


PLANTED: dict[str, list[tuple[Callable[[Data], Any], str]]] = {
    "form_of_entries": [
        (lambda data: data.terms[3].pop("text"), "term 103: lacks 'text'"),
        (set_term(sea=["one#shown"]), "'sea' is no field"),
        (set_term(also="a name"), "'also' is 'a name'"),
        (set_term(text=""), "'text' is ''"),
        (lambda data: data.groups[0].pop("about"), "Group 0: lacks 'about'"),
        (set_question(at=["one#shown"]), "'at' is ['one#shown']"),
    ],
    "how_many": [
        (lambda data: data.terms.__delitem__(slice(10)), "terms: 50"),
        (lambda data: data.terms.extend(data.terms[:30]), "terms: 90"),
        (lambda data: data.groups.pop(), "groups of questions: 5"),
        (lambda data: data.groups[4]["questions"].pop(), "Group 4: questions: 5"),
        (set_term(see=["one#shown"] * 4), "term 100: cells to see: 4"),
    ],
    "short": [
        (set_term(text="One. Two. Three. Four."), "4 sentences"),
        (set_question(answer="One. Two! Three? Four."), "4 sentences"),
        (set_group(about="One. Two."), "Group 1: 2 sentences"),
        (set_question(answer="Yes"), "full stop"),
    ],
    "sorted_terms": [
        (set_term(term="zebra"), "'zebra' stands where 'term 101' belongs"),
        (set_term(term="Term 101a"), "'term 101a' stands where"),
    ],
    "unique": [
        (set_term(term="Term 101"), "'term 101' occurs 2 times"),
        (set_term(also=["TERM 120"]), "'term 120' occurs 2 times"),
        (set_term(also=["x", "X"]), "'x' occurs 2 times"),
        (set_question(ask="Is part a of group 0 right?"), "occurs 2 times"),
        (set_term(see=["one#shown", "one#shown"]), "a cell occurs twice"),
    ],
    "addresses": [
        (set_term(see=["one#shown", "one#gone"]), "no cell 'one#gone'"),
        (set_question(at="two#shown"), "no cell 'two#shown'"),
        (set_question(at="one"), "no cell 'one'"),
        (set_question(at="one#text"), "is no code cell"),
        (set_question(at="one#setup"), "only sets up"),
        (set_question(at="one#imports"), "only sets up"),
        (set_question(at="one#stub"), "belongs to an exercise"),
        (set_question(at="one#silent"), "one#silent has no output"),
        (set_term(see=["one#solved"]), "belongs to an exercise"),
    ],
    "numbers": [
        (set_term(text="It makes 92."), "term 100: 92 is in none of one#shown"),
        (set_term(gluon="`nn.Dropout(0.25)`"), "0.25 is in none of"),
        (set_question(answer="It takes 5 ms."), "5 ms is in none of"),
        (set_question(ask="Why 1,437 of them?"), "1,437 is in none of"),
        (set_question(answer="At $10^{-9}$."), "1e-9 is in none of"),
        (set_group(about="For 12 of them."), "Group 1: 12 is in none of"),
        (set_question(at="one#stub"), "91 is in none of one#stub"),
    ],
    "every_chapter": [
        (lambda data: data.chapters.update(two={}), "two: 0 entries lead there"),
    ],
    "framework_names": [
        (set_term(gluon="`nn.Conv2d`"), "there is no mxnet.gluon.nn.Conv2d"),
        (set_term(gluon="`nn.Conv2D(stride=2)`"), "has no argument 'stride'"),
        (set_term(gluon="`torch.relu`"), "'torch' is none of mx"),
        (set_term(pytorch="`nn.Conv2D`"), "there is no torch.nn.Conv2D"),
        (set_term(pytorch="`torch.nn.Linear.weight`"), "there is no torch.nn.Linear"),
        (set_term(pytorch="`relu`"), "'relu' is none of"),
        (set_term(pytorch="`nn.Linear(…)`"), "not a name"),
    ],
}


def test_every_rule_has_a_planted_fault() -> None:
    assert PLANTED.keys() == RULES.keys()


@pytest.mark.parametrize(
    ("name", "plant", "complaint"),
    [
        pytest.param(name, plant, complaint, id=f"{name}-{complaint}")
        for name, faults in PLANTED.items()
        for plant, complaint in faults
    ],
)
def test_a_planted_fault_is_found(
    name: str, plant: Callable[[Data], Any], complaint: str
) -> None:
    data = copy.deepcopy(good())
    plant(data)
    found = list(RULES[name](data))
    assert any(complaint in line for line in found), found
