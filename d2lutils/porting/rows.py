"""A row of two spellings, and the judge that runs both.

The spellings of a row are the same if what its judge finds keeps every bound. In a row
that is said to differ some bound must be broken, and the cure, if there is one, must
keep them all. Importing this imports neither framework.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Concatenate, ParamSpec

import numpy as np

from d2lutils.parity import ONE_PASS as BOUND
from d2lutils.parity import Row as Quantity
from d2lutils.porting.source import markdown

__all__ = [
    "BOUND",
    "Found",
    "Judge",
    "Quantity",
    "Row",
    "Rows",
    "Spelling",
    "WrongRowError",
    "judge",
    "markdown_table",
]

Spelling = Callable[..., Any]
P = ParamSpec("P")


class WrongRowError(AssertionError):
    """A row says something that its own check does not find."""


@dataclass
class Found:
    """What a judge found: quantities, each with its bound, and cells for a page."""

    quantities: list[Quantity]
    cells: dict[str, str] = field(default_factory=dict)

    @property
    def wrong(self) -> list[Quantity]:
        """The quantities that break their bounds."""
        return [quantity for quantity in self.quantities if not quantity.ok]

    @property
    def ok(self) -> bool:
        """Whether something was found, and every quantity keeps its bound."""
        return bool(self.quantities) and not self.wrong


@dataclass(frozen=True)
class Judge:
    """A way to compare two spellings, with its settings.

    `kind` is "net", "function" or "rest": the table of the parity page.
    """

    compare: Callable[[Spelling, Spelling], Found | float]
    settings: dict[str, Any]
    kind: str

    @property
    def inputs(self) -> dict[str, Any]:
        """What a block or a function of the book is called with, by name."""
        found: dict[str, Any] = self.settings.get("inputs", {})
        return found

    def __call__(self, gluon: Spelling, pytorch: Spelling) -> Found:
        """Run both spellings and compare them."""
        found = self.compare(gluon, pytorch)
        if isinstance(found, Found):
            return found
        return Found([Quantity("values", "", BOUND, found)])


def judge(
    kind: str = "rest",
) -> Callable[
    [Callable[Concatenate[Spelling, Spelling, P], Found | float]], Callable[P, Judge]
]:
    """Make judges of a function that compares two spellings.

    The function gets Gluon's spelling, PyTorch's and its settings; it returns what it
    found, or only how far the two are apart. Called with the settings alone, what is
    decorated gives a judge.
    """

    def decorate(
        compare: Callable[Concatenate[Spelling, Spelling, P], Found | float],
    ) -> Callable[P, Judge]:
        @functools.wraps(compare)
        def made(*arguments: P.args, **options: P.kwargs) -> Judge:
            def judged(gluon: Spelling, pytorch: Spelling) -> Found | float:
                return compare(gluon, pytorch, *arguments, **options)

            settings = signature.bind(None, None, *arguments, **options)
            settings.apply_defaults()
            return Judge(judged, settings.arguments, kind)

        signature = inspect.signature(compare)
        return made

    return decorate


@dataclass(frozen=True)
class Row:
    """Two spellings of one thing, and whether they are the same.

    Attributes:
        name: what it is, in the field's words.
        gluon, pytorch: both spellings.
        judge: how the two are compared.
        differs: what PyTorch's nearest spelling does otherwise; empty if nothing.
        cure: a PyTorch spelling that does the same after all.
        chapter: the chapter that shows it, in its card where the two differ.
        within: how far apart two results may be that count as the same, where a
            framework itself computes in float32 and the judge's bound is too narrow.
        beside: what is not compared, and why.
    """

    name: str
    gluon: Spelling
    pytorch: Spelling
    judge: Judge
    differs: str = ""
    cure: Spelling | None = None
    chapter: str = ""
    within: float = 0.0
    beside: str = ""

    def check(self) -> None:
        """Run both spellings, and the cure.

        Raises:
            WrongRowError: they are not what the row says.
        """
        apart = self._apart(self.pytorch)
        if self.differs and not apart:
            raise WrongRowError(f"{self.name}: said to differ, but they are the same")
        if not self.differs and apart:
            raise WrongRowError(f"{self.name}: said to be the same, but {apart}")
        if self.cure is None:
            return
        if not self.differs:
            raise WrongRowError(f"{self.name}: a cure for what does not differ")
        if apart := self._apart(self.cure):
            raise WrongRowError(f"{self.name}: the cure is not the same: {apart}")

    def _apart(self, spelling: Spelling) -> str:
        """Which quantities break their bounds, and by how much; "" if none does."""
        try:
            found = self.judge(self.gluon, spelling)
        except Exception as error:
            message = f"{self.name}: {type(error).__name__}: {error}"
            raise WrongRowError(message) from error
        return "; ".join(
            f"{quantity.quantity} are {quantity.difference:.1e} apart"
            for quantity in found.wrong
            if quantity.failed or not quantity.difference <= self.within
        )

    def cells(self) -> list[str]:
        """What it is, both spellings and what was found, as Markdown."""
        bound = f" within 1e{np.log10(self.within):.0f}" if self.within else ""
        found = f"**differs:** {self.differs}" if self.differs else f"the same{bound}"
        if self.chapter:
            link = f"../chapters/{self.chapter}.ipynb#where-they-differ"
            found += f" ([{self.chapter.replace('_', ' ')}]({link}))"
        pytorch = markdown(self.pytorch)
        if self.cure is not None:
            pytorch += f"<br>*the same{bound}:*<br>{markdown(self.cure)}"
        return [self.name, markdown(self.gluon), pytorch, found]


class Rows(list[Row]):
    """The rows of a topic, in the order of the page.

    `row` takes what a row is and how it is judged, then its spellings::

        row("counting", values(dtype=True))(
            gluon=lambda: nd.arange(3),
            pytorch=lambda: torch.arange(3),
            differs="float32 there, int64 here",
            cure=lambda: torch.arange(3.0),
        )

    A spelling of several lines is a function: `@row(...)` stands above Gluon's, and
    below it follow PyTorch's with `@pytorch` and the cure with `@cure`.
    """

    def row(self, name: str, judge: Judge, **options: Any) -> Callable[..., None]:
        """What takes the spellings of the next row; `options` are fields of `Row`."""

        def spelled(
            gluon: Spelling | None = None,
            pytorch: Spelling | None = None,
            both: Spelling | None = None,
            **more: Any,
        ) -> None:
            one, two = gluon or both, pytorch or both
            self.append(Row(name, one, two, judge, **options, **more))  # type: ignore[arg-type]

        return spelled

    def pytorch(self, spelling: Spelling | None = None, *, differs: str = "") -> Any:
        """PyTorch's spelling of the last row."""
        if spelling is None:
            return functools.partial(self.pytorch, differs=differs)
        self[-1] = replace(self[-1], pytorch=spelling, differs=differs)
        return spelling

    def cure(self, spelling: Spelling) -> Spelling:
        """The cure of the last row."""
        self[-1] = replace(self[-1], cure=spelling)
        return spelling


def markdown_table(heads: Iterable[str], lines: Iterable[Iterable[str]]) -> Any:
    """A table on a page, of cells that are Markdown."""
    from d2lutils import show

    heads = list(heads)
    text = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    return show.markdown("\n".join(text + [f"| {' | '.join(x)} |" for x in lines]))
