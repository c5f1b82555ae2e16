"""What a reader passes is shown as text: it adds no element and no attribute."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from d2lutils import show
from d2lutils.explorers.base import Explorer
from d2lutils.explorers.batch_fold import batch_fold
from d2lutils.explorers.dimensions import dimensions
from d2lutils.explorers.kernel_mixer import kernel_mixer
from d2lutils.explorers.memory_ledger import memory_ledger
from d2lutils.explorers.pyramid_widths import pyramid_widths
from d2lutils.explorers.residual_builder import residual_builder
from d2lutils.explorers.stochastic_grid import stochastic_grid
from d2lutils.parity import Report, Row

EXPLORERS = [
    batch_fold,
    dimensions,
    kernel_mixer,
    memory_ledger,
    pyramid_widths,
    residual_builder,
    stochastic_grid,
]
NASTY = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    """" onmouseover="alert(1)" x='""",
    "' onmouseover='alert(1)' x=\"",
    "</svg></style></title></caption></td><b>",
    "<!-- &lt;script&gt; &#60; ]]> \u2028 --",
]


class Structure(HTMLParser):
    """The elements of a fragment with the names of their attributes, and its text."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.text: list[str] = []
        self.feed(fragment)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))
        self.text += [value for _, value in attrs if value]

    def handle_endtag(self, tag: str) -> None:
        self.elements.append((f"/{tag}",))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        self.elements.append(("comment",))

    def unknown_decl(self, data: str) -> None:
        self.elements.append(("declaration",))


def shown_as_text(make: Callable[[str], str], words: str) -> None:
    """Words change the text of a fragment and nothing else of it."""
    plain, found = Structure(make("plain words")), Structure(make(words))
    assert found.elements == plain.elements
    assert any(words in text for text in found.text)


@pytest.mark.parametrize("words", NASTY)
@pytest.mark.parametrize("explorer", EXPLORERS, ids=lambda e: e.__name__)
@pytest.mark.parametrize("argument", ["title", "goal"])
def test_explorers(
    explorer: Callable[..., Explorer], argument: str, words: str
) -> None:
    shown_as_text(lambda w: explorer(**{argument: w})._repr_html_(), words)


@pytest.mark.parametrize("explorer", EXPLORERS, ids=lambda e: e.__name__)
def test_all_other_arguments_are_checked(explorer: Callable[..., Explorer]) -> None:
    """No other text comes as far as the figure."""
    names = set(inspect.signature(explorer).parameters) - {"title", "goal"}
    assert len(names) > 4
    for name in names:
        with pytest.raises((TypeError, ValueError), match=f": {name} must be"):
            explorer(**{name: NASTY[0]})


@pytest.mark.parametrize("words", NASTY)
@pytest.mark.parametrize("place", ["cell", "header", "caption"])
def test_tables(place: str, words: str) -> None:
    def make(w: str) -> str:
        given = {"cell": "a", "header": "b", "caption": "c"} | {place: w}
        rows = [[given["cell"], 1], ["d", 2]]
        heads = [given["header"], "e"]
        return show.table(rows, heads, caption=given["caption"])._repr_html_()

    shown_as_text(make, words)


@pytest.mark.parametrize("words", NASTY)
def test_titles_of_sources(words: str) -> None:
    def make(w: str) -> str:
        return show.sources(shown_as_text, inspect, titles=("a", w))._repr_html_()

    shown_as_text(make, words)


def shows_markup() -> str:
    """A source with <script>alert("1")</script> & 'quotes' in it."""
    return "</pre><img src=x onerror=alert(1)>"


def test_the_code_of_sources() -> None:
    page = show.sources(shows_markup, shows_markup)._repr_html_()
    assert "<script" not in page
    assert "<img" not in page
    code = re.sub("<[^>]*>", "", page)
    assert code.count("&lt;script&gt;alert(") == code.count("&lt;/pre&gt;&lt;img") == 2


@pytest.mark.parametrize("words", NASTY)
def test_reports_of_parity(words: str) -> None:
    def make(w: str) -> str:
        rows = [Row(w, "imperative", 0.0, 0.0), Row("b", "imperative", 0.0, 1.0, w)]
        return Report(rows=rows)._repr_html_()

    shown_as_text(make, words)


@pytest.mark.parametrize("words", NASTY)
def test_names_of_layers(words: str) -> None:
    torch = pytest.importorskip("torch")
    from d2lutils.ledger import ledger

    def make(w: str) -> str:
        net = torch.nn.Sequential()
        net.add_module(w, torch.nn.Linear(4, 5))
        return ledger(net, (1, 4))._repr_html_()

    shown_as_text(make, words)
