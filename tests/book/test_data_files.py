"""The glossary and the questions: each entry leads to a cell that shows what it says.

The numbers in a text are found as in the chapters, by ``prose``: one that a reader
could take for a result must occur in a cell that the entry points to.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import form
import lists
import prose
import pytest
from conftest import ROOT
from IPython.core.inputtransformer2 import TransformerManager

from tools import notebook

TERMS = lists.load(ROOT / "book" / "glossary.yml")
GROUPS = lists.load(ROOT / "book" / "questions.yml")
QUESTIONS = [question for group in GROUPS for question in group["questions"]]
#: How many cells a term may point to, how many sentences a text may have, and how many
#: entries point to a chapter at least.
SEE, SENTENCES, POINTERS = range(1, 4), range(1, 4), 3
#: What the names before the dots stand for in the columns of the glossary.
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


@dataclass
class Entry:
    """Something that the files say: its texts, and the addresses of its cells."""

    name: str
    texts: list[str]
    at: list[str]


def entries() -> list[Entry]:
    """Terms, groups and questions."""
    found = []
    for term in TERMS:
        columns = [term[key] for key in ALIASES if key in term]
        found.append(Entry(term["term"], [term["text"], *columns], term["see"]))
    for group in GROUPS:
        at = [question["at"] for question in group["questions"]]
        found.append(Entry(group["title"], [group["title"], group["about"]], at))
    for question in QUESTIONS:
        texts = [question["ask"], question["answer"]]
        found.append(Entry(question["ask"], texts, [question["at"]]))
    return found


@cache
def cells() -> dict[str, Mapping[str, Any]]:
    """Every cell of every chapter by its address, ``chapter#id``."""
    return {
        f"{path.stem}#{cell.id}": cell
        for path in lists.chapters()
        for cell in notebook.read(path).cells
    }


def test_every_entry_has_its_fields_and_no_others() -> None:
    for kind, needed, allowed in (
        (TERMS, {"term", "text", "see"}, {"also", "gluon", "pytorch"}),
        (GROUPS, {"title", "about", "questions"}, set()),
        (QUESTIONS, {"ask", "answer", "at"}, set()),
    ):
        for entry in kind:
            assert needed <= entry.keys() <= needed | allowed, entry
            for key, value in entry.items():
                wanted = list if key in ("also", "see", "questions") else str
                assert value, (key, entry)
                assert isinstance(value, wanted), (key, entry)


def test_texts_are_complete_in_three_sentences() -> None:
    """Whom a group of questions is for is said in one."""
    texts = [(term["text"], SENTENCES) for term in TERMS]
    texts += [(question["answer"], SENTENCES) for question in QUESTIONS]
    texts += [(group["about"], range(1, 2)) for group in GROUPS]
    for text, allowed in texts:
        assert len(list(prose.sentences(text))) in allowed, text
        assert text.endswith("."), text


def test_terms_are_in_order_and_nothing_occurs_twice() -> None:
    terms = [term["term"].casefold() for term in TERMS]
    assert terms == sorted(terms)
    others = [name.casefold() for term in TERMS for name in term.get("also", [])]
    asked = [question["ask"].casefold() for question in QUESTIONS]
    seen = [(term["term"], place) for term in TERMS for place in term["see"]]
    for names in (terms + others, asked, seen):
        assert [name for name, count in Counter(names).items() if count > 1] == []


def test_an_address_leads_to_code_that_shows_something_and_gives_nothing_away() -> None:
    for term in TERMS:
        assert len(term["see"]) in SEE, term["term"]
    for entry in entries():
        for place in entry.at:
            cell = cells().get(place)
            assert cell, f"{entry.name}: there is no cell {place}"
            assert cell["cell_type"] == "code", (entry.name, place)
            assert not form.is_setup(cell), (entry.name, place)
            assert not only_imports(cell["source"]), (entry.name, place)
            assert not form.tags(cell) & {"exercise", "solution"}, (entry.name, place)
    for question in QUESTIONS:
        assert cells()[question["at"]]["outputs"], question["ask"]


def only_imports(source: str) -> bool:
    """Whether code does nothing but import."""
    tree = ast.parse(TransformerManager().transform_cell(source))
    return all(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body)


def test_a_number_that_could_be_a_result_occurs_in_a_cell() -> None:
    missing = []
    for entry in entries():
        evidence = "\n".join(prose.evidence_of(cells()[place]) for place in entry.at)
        known, squeezed = prose.numbers_in(evidence), re.sub(r"\s+", "", evidence)
        for sentence in (s for text in entry.texts for s in prose.sentences(text)):
            for number in prose.unknown_numbers(sentence, known, squeezed):
                missing.append(f"{entry.name}: {number} is in none of {entry.at}")
    assert missing == []


def test_terms_and_questions_lead_to_every_chapter() -> None:
    places = [place for term in TERMS for place in term["see"]]
    places += [question["at"] for question in QUESTIONS]
    counts = Counter(place.split("#")[0] for place in places)
    assert [p.stem for p in lists.chapters() if counts[p.stem] < POINTERS] == []


def test_what_the_glossary_calls_a_frameworks_is_there() -> None:
    problems = [
        f"{term['term']}: {code}: {problem}"
        for term in TERMS
        for framework in ALIASES.keys() & term.keys()
        for code in re.findall(r"`([^`]+)`", term[framework])
        if (problem := lacking(framework, code))
    ]
    assert problems == []


@pytest.mark.parametrize(
    ("framework", "code", "problem"),
    [
        ("gluon", "nn.Conv2D(strides=2)", None),
        ("gluon", "nn.Conv2d", "there is no mxnet.gluon.nn.Conv2d"),
        ("gluon", "nn.Conv2D(stride=2)", "has no argument 'stride'"),
        ("gluon", "torch.relu", "'torch' is none of mx"),
        ("pytorch", "torch.utils.checkpoint.checkpoint", None),
        ("pytorch", "torch.nn.Linear.weight", "there is no torch.nn.Linear.weight"),
        ("pytorch", "nn.Linear(…)", "not a name"),
    ],
)
def test_what_is_not_there_is_found(
    framework: str, code: str, problem: str | None
) -> None:
    found = lacking(framework, code)
    assert found == problem or (problem and problem in str(found))


def lacking(framework: str, code: str) -> str | None:
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
    name = ALIASES[framework][root]
    thing = module(name)
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
