"""The glossary and the questions: each entry leads to a cell that shows what it says.

The numbers in a text are found as in the chapters, by ``prose``: one that a reader
could take for a result must occur in a cell that the entry points to.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
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
#: What the names in the columns of the glossary begin with.
IMPORTS = {
    "gluon": "from d2lutils.compat import mx; from mxnet import autograd, gluon, nd;"
    "from mxnet.gluon import nn",
    "pytorch": "import torch, torch.utils.checkpoint; from torch import nn",
}


def entries() -> list[tuple[str, list[str], list[str]]]:
    """Terms, groups and questions: name, texts, and the addresses of their cells."""
    found = []
    for term in TERMS:
        columns = [term[key] for key in IMPORTS if key in term]
        found.append((term["term"], [term["text"], *columns], term["see"]))
    for group in GROUPS:
        at = [question["at"] for question in group["questions"]]
        found.append((group["title"], [group["title"], group["about"]], at))
    for question in QUESTIONS:
        texts = [question["ask"], question["answer"]]
        found.append((question["ask"], texts, [question["at"]]))
    return found


@cache
def cells() -> dict[str, Mapping[str, Any]]:
    """Every cell of every chapter by its address, ``chapter#id``."""
    return {
        f"{lists.place(path)}#{cell.id}": cell
        for path in lists.notebooks()
        for cell in notebook.read(path).cells
    }


def test_every_entry_has_its_fields_and_no_others() -> None:
    for kind, needed, allowed in (
        (TERMS, {"term", "text", "see"}, {"also", "gluon", "pytorch"}),
        (GROUPS, {"title", "about", "questions"}, set()),
        (QUESTIONS, {"ask", "answer", "at"}, {"also"}),
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
    assert all(len(term["see"]) in SEE for term in TERMS)
    for name, _, places in entries():
        for place in places:
            cell = cells().get(place)
            assert cell, f"{name}: there is no cell {place}"
            assert cell["cell_type"] == "code", (name, place)
            assert not form.is_setup(cell), (name, place)
            assert not only_imports(cell["source"]), (name, place)
            assert not form.tags(cell) & {"exercise", "solution"}, (name, place)
    for question in QUESTIONS:
        assert cells()[question["at"]]["outputs"], question["ask"]


def only_imports(source: str) -> bool:
    """Whether code does nothing but import."""
    tree = ast.parse(TransformerManager().transform_cell(source))
    return all(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body)


def test_a_number_that_could_be_a_result_occurs_in_a_cell() -> None:
    missing = []
    for name, texts, places in entries():
        evidence = "\n".join(prose.evidence_of(cells()[place]) for place in places)
        known, squeezed = prose.numbers_in(evidence), re.sub(r"\s+", "", evidence)
        for sentence in (s for text in texts for s in prose.sentences(text)):
            for number in prose.unknown_numbers(sentence, known, squeezed):
                missing.append(f"{name}: {number} is in none of {places}")
    assert missing == []


def test_terms_and_questions_lead_to_every_chapter() -> None:
    places = [place for term in TERMS for place in term["see"]]
    places += [question["at"] for question in QUESTIONS]
    counts = Counter(place.split("#")[0].split("/")[-1] for place in places)
    assert [p.stem for p in lists.chapters() if counts[p.stem] < POINTERS] == []


@pytest.mark.parametrize("framework", IMPORTS)
def test_what_the_glossary_calls_a_frameworks_is_there(framework: str) -> None:
    package = "torch" if framework == "pytorch" else "mxnet"
    if find_spec(package) is None:  # importing MXNet alone would fail on today's NumPy
        pytest.skip(f"{package} is not installed")
    names: dict[str, Any] = {}
    exec(IMPORTS[framework], names)
    spellings = "\n".join(term.get(framework, "") for term in TERMS)
    codes = re.findall(r"`([^`]+)`", spellings)
    assert len(codes) > 20
    assert [code for code in codes if not exists(code, names)] == []
    assert not exists("nn.Conv3D2", names)
    assert not exists(f"{codes[0].split('(')[0]}(no_such_argument=2)", names)


def exists(code: str, names: dict[str, Any]) -> bool:
    """Whether ``code``, a dotted name or a call of one, has its name and arguments."""
    node = ast.parse(code, mode="eval").body
    keywords: set[str | None] = set()
    if isinstance(node, ast.Call):
        keywords, node = {k.arg for k in node.keywords}, node.func
    try:
        thing = eval(ast.unparse(node), names)
    except (AttributeError, NameError):
        return False
    # A class hands what it does not name on to its bases.
    bases = inspect.getmro(thing) if inspect.isclass(thing) else ()
    accepted: set[str | None] = set()
    for function in [c.__init__ for c in bases if "__init__" in vars(c)] or [thing]:
        if not keywords - accepted:
            break
        parameters = inspect.signature(function).parameters
        accepted |= parameters.keys()
        if all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
            break
    return keywords <= accepted


def test_the_index_of_names_has_what_chapters_take_from_the_package() -> None:
    """Also where a package, as `shapes`, hands on what its modules define."""
    listed = "\n".join(lists.Names.markdown())
    used = {name for path in lists.notebooks() for name in lists.uses(path)}
    for name in ("shapes.output_size", "shapes.drop_probs", "ledger.chain_of"):
        assert f"d2lutils.{name}" in used
        assert f"| `{name.partition('.')[2]}` | `d2lutils." in listed, name
