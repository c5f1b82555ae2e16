"""A row of two spellings, and the judge that runs and compares both.

Two spellings are the same if every quantity that the judge measures is within its
bound. If a row says that they differ, some quantity must exceed its bound; with the
row's cure, if it has one, none may. Importing this module imports neither framework.
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
    """The results of a row's spellings are not what the row says."""


@dataclass
class Found:
    """The result of a judge: quantities, each with its bound, and cells for a page."""

    quantities: list[Quantity]
    cells: dict[str, str] = field(default_factory=dict)

    @property
    def wrong(self) -> list[Quantity]:
        """The quantities that exceed their bounds."""
        return [quantity for quantity in self.quantities if not quantity.ok]

    @property
    def ok(self) -> bool:
        """Whether there are quantities, all of them within their bounds."""
        return bool(self.quantities) and not self.wrong


@dataclass(frozen=True)
class Judge:
    """A way to compare two spellings, with its settings.

    `kind` is "net", "function" or "rest": its table on the parity page.
    """

    compare: Callable[[Spelling, Spelling], Found | float]
    settings: dict[str, Any]
    kind: str

    @property
    def inputs(self) -> dict[str, Any]:
        """The inputs of the block or function, by name."""
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
    """Decorate a function that compares two spellings, so that it makes judges.

    The function gets Gluon's spelling, PyTorch's and its settings; it returns a
    `Found`, or only the distance of the results. The decorated function gets only the
    settings and returns a judge.
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
    """The same task in Gluon and in PyTorch, and whether the results are the same.

    Attributes:
        name: the task.
        gluon, pytorch: its spellings.
        judge: compares them.
        differs: what PyTorch's nearest spelling does differently; empty if nothing.
        cure: a longer PyTorch spelling whose result is the same as Gluon's.
        chapter: the chapter whose card "Where they differ" shows it.
        within: a wider bound than the judge's, where a framework computes in float32.
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
            WrongRowError: the results are not what the row says.
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
        """The quantities that exceed their bounds, with their distances, or ""."""
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
        """The name, both spellings and the result, as Markdown."""
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

    `row` takes a row's name and judge, then its spellings::

        row("counting", values(dtype=True))(
            gluon=lambda: nd.arange(3),
            pytorch=lambda: torch.arange(3),
            differs="float32 there, int64 here",
            cure=lambda: torch.arange(3.0),
        )

    A spelling of several lines is a function: Gluon's is decorated with `@row(...)`,
    PyTorch's, which follows it, with `@pytorch`, and the cure with `@cure`.
    """

    def row(self, name: str, judge: Judge, **options: Any) -> Callable[..., None]:
        """A function that takes the next row's spellings; `options` are its fields."""

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
    """A table whose cells are Markdown, for a page."""
    from d2lutils import show

    heads = list(heads)
    text = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    return show.markdown("\n".join(text + [f"| {' | '.join(x)} |" for x in lines]))
