"""What a reader passes is shown as text: it adds no element and no attribute."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from explorer_cases import CASES

from d2lutils import show
from d2lutils.parity import Report, Row

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

    unknown_decl = handle_comment


def shown_as_text(make: Callable[[str], Any]) -> None:
    """Words change the text of a fragment and nothing else of it."""
    plain = Structure(make("plain words")._repr_html_())
    for words in NASTY:
        found = Structure(make(words)._repr_html_())
        assert found.elements == plain.elements
        assert any(words in text for text in found.text)


def test_explorers() -> None:
    """Title and goal are shown; no other text comes as far as the figure."""
    for case in CASES.values():
        explorer = getattr(case.module, case.name)
        names = set(inspect.signature(explorer).parameters)
        assert len(names) > 6
        for name in names:
            if name in ("title", "goal"):
                shown_as_text(lambda words, e=explorer, n=name: e(**{n: words}))
            else:
                with pytest.raises((TypeError, ValueError), match=f": {name} must be"):
                    explorer(**{name: NASTY[0]})


def shows_markup() -> str:
    """A source with <script>alert("1")</script> & 'quotes' in it."""
    return "</pre><img src=x onerror=alert(1)>"


def test_tables_and_sources() -> None:
    shown_as_text(lambda words: show.table([[words, 1]], ["b", "c"], caption="d"))
    shown_as_text(lambda words: show.table([["a", 1]], [words, "c"], caption="d"))
    shown_as_text(lambda words: show.table([["a", 1]], ["b", "c"], caption=words))
    page = show.sources(shows_markup, shows_markup)._repr_html_()
    assert "<script" not in page
    assert "<img" not in page
    code = re.sub("<[^>]*>", "", page)
    assert code.count("&lt;script&gt;alert(") == code.count("&lt;/pre&gt;&lt;img") == 2


def test_reports_of_parity() -> None:
    other = Row("b", "imperative", 0.0, 1.0)
    shown_as_text(lambda words: Report([Row(words, "imperative", 0.0, 0.0), other]))
    shown_as_text(lambda words: Report([Row("b", "imperative", 0.0, 1.0, words)]))


def test_names_of_layers() -> None:
    torch = pytest.importorskip("torch")
    from d2lutils.ledger import ledger

    def make(words: str) -> Any:
        net = torch.nn.Sequential()
        net.add_module(words, torch.nn.Linear(4, 5))
        return ledger(net, (1, 4))

    shown_as_text(make)
