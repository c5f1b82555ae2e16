"""From Gluon to PyTorch: rows of two spellings, each with a check that runs.

A row is two small functions, one for each framework, and a judge that runs both and
says how far their results are apart. A row that claims to be the same must be within
1e-10 in float64; one that claims to differ must differ, and its cure, if it has one,
must be the same. What the table shows is the source of the functions that ran, so a
spelling on the page cannot be another than the one that was checked.
"""

from __future__ import annotations

import ast
import copy
import functools
import importlib
import json
import linecache
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["TOPICS", "Row", "WrongRowError", "cards", "check", "rows", "table"]

BOUND = 1e-10

#: The modules that hold rows, in the order of the page. They are named in full: so
#: `make execute` finds them, and runs the page again when a row has changed.
TOPICS = {
    "arrays": "d2lutils.porting.arrays",
    "operators": "d2lutils.porting.operators",
    "layers": "d2lutils.porting.layers",
    "initializers": "d2lutils.porting.initializers",
    "losses": "d2lutils.porting.losses",
    "optimizers": "d2lutils.porting.optimizers",
    "autograd": "d2lutils.porting.autograd",
    "data": "d2lutils.porting.data",
    "files": "d2lutils.porting.files",
}

Spelling = Callable[..., Any]
#: Runs both spellings and says how far they are apart; infinite for other shapes.
Judge = Callable[[Spelling, Spelling], float]


class WrongRowError(AssertionError):
    """A row says something that its own check does not find."""


@dataclass(frozen=True)
class Row:
    """One thing that a Gluon user looks for.

    Attributes:
        name: what it is, in the field's words.
        gluon, pytorch: both spellings.
        judge: how the two are compared.
        differs: what PyTorch's nearest spelling does otherwise; empty if nothing.
        cure: a PyTorch spelling that does the same after all.
        card: the chapter whose card "Where they differ" explains it.
        within: how far apart two results may be that count as the same; more than
            1e-10 only where a framework itself computes in float32.
    """

    name: str
    gluon: Spelling
    pytorch: Spelling
    judge: Judge
    differs: str = ""
    cure: Spelling | None = None
    card: str = ""
    within: float = BOUND

    def check(self) -> None:
        """Run both spellings, and the cure.

        Raises:
            WrongRowError: they are not what the row says.
        """
        apart = self._apart(self.pytorch)
        if self.differs:
            if apart <= self.within:
                raise WrongRowError(
                    f"{self.name}: said to differ, but they are the same"
                )
            if self.cure is not None:
                apart = self._apart(self.cure)
                if not apart <= self.within:
                    raise WrongRowError(
                        f"{self.name}: the cure is not the same: {apart:.1e} apart"
                    )
        elif not apart <= self.within:
            raise WrongRowError(
                f"{self.name}: said to be the same, but they are {apart:.1e} apart"
            )
        elif self.cure is not None:
            raise WrongRowError(f"{self.name}: a cure for what does not differ")

    def _apart(self, spelling: Spelling) -> float:
        try:
            return self.judge(self.gluon, spelling)
        except Exception as error:
            raise WrongRowError(
                f"{self.name}: {type(error).__name__}: {error}"
            ) from error

    def cells(self) -> list[str]:
        """What it is, both spellings and what was found, as Markdown."""
        bound = "" if self.within == BOUND else f" within 1e{np.log10(self.within):.0f}"
        found = f"the same{bound}"
        if self.differs:
            found = f"**differs:** {self.differs}"
        if self.card:
            link = f"../chapters/{self.card}.ipynb#where-they-differ"
            found += f" ([{self.card.replace('_', ' ')}]({link}))"
        spelled = _code(self.pytorch)
        if self.cure is not None:
            spelled += f"<br>*the same{bound}:*<br>{_code(self.cure)}"
        return [self.name, _code(self.gluon), spelled, found]


def spelling(function: Spelling) -> list[str]:
    """What a function does, line by line, without the function around it.

    Raises:
        ValueError: a function whose source cannot be told from another's.
    """
    code = function.__code__
    lines = linecache.getlines(code.co_filename)
    on_line = [
        node
        for node in _functions("".join(lines))
        if node.lineno == code.co_firstlineno
    ]
    # A function inside another one's line belongs to it.
    inner = {id(part) for node in on_line for part in ast.walk(node) if part != node}
    found = [node for node in on_line if id(node) not in inner]
    if len(found) != 1:
        raise ValueError(
            f"spelling: line {code.co_firstlineno} of "
            f"{Path(code.co_filename).name} must hold one function, got {len(found)}"
        )
    node = ast.increment_lineno(copy.deepcopy(found[0]), 1 - found[0].lineno)
    source = "".join(lines[found[0].lineno - 1 : found[0].end_lineno])
    if isinstance(node, ast.Lambda):
        return [_joined(source, node.body)]
    body = node.body[1:] if ast.get_docstring(node) else node.body
    shown = [line for part in body for line in _lines(source, part)]
    return [*shown[:-1], shown[-1].removeprefix("return ")]


@functools.lru_cache
def _functions(source: str) -> list[ast.Lambda | ast.FunctionDef]:
    """All functions in a file."""
    nodes = ast.walk(ast.parse(source))
    return [node for node in nodes if isinstance(node, (ast.Lambda, ast.FunctionDef))]


def _lines(source: str, node: ast.stmt) -> list[str]:
    """A statement's lines, a line for each simple statement in it."""
    body = getattr(node, "body", None)
    if body is None:
        return [_joined(source, node)]
    marks = [f"@{_joined(source, d)}" for d in getattr(node, "decorator_list", [])]
    if isinstance(node, ast.FunctionDef):
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None  # a spelling is as short as a reader's
        head = f"def {node.name}({ast.unparse(node.args)}):"
    else:
        # A decorator of what comes first stands between.
        heads = source.splitlines()[node.lineno - 1 : body[0].lineno - 1]
        head = " ".join(line.strip() for line in heads if line.strip()[:1] != "@")
    within = [line for part in body for line in _lines(source, part)]
    return [*marks, head, *(f"    {line}" for line in within)]


def _joined(source: str, node: ast.AST) -> str:
    """What stands for a node in the source, on one line."""
    text = ast.get_source_segment(source, node) or ""
    text = " ".join(part.strip() for part in text.splitlines())
    # A bracket that was opened or closed on a line of its own.
    return re.sub(r"([(\[{]) ", r"\1", re.sub(r",? ([)\]}])", r"\1", text))


def _code(function: Spelling) -> str:
    """A spelling in a cell of a Markdown table."""
    lines = [line.replace("|", "\\|") for line in spelling(function)]
    return "<br>".join(f"`{line}`" for line in lines)


def rows(topic: str) -> list[Row]:
    """The rows of a topic; this imports both frameworks.

    Raises:
        ValueError: no such topic.
    """
    if topic not in TOPICS:
        raise ValueError(
            f"rows: topic must be one of {', '.join(TOPICS)}, got {topic!r}"
        )
    found: list[Row] = importlib.import_module(TOPICS[topic]).ROWS
    return found


def check(topic: str) -> int:
    """Run the checks of all rows of a topic, and say how many there are.

    Raises:
        WrongRowError: naming the first row whose check fails.
    """
    found = rows(topic)
    for row in found:
        row.check()
    return len(found)


def table(topic: str) -> Any:
    """Check a topic, then show it as a table.

    Raises:
        WrongRowError: a row's check fails; then there is no table.
    """
    from d2lutils import show

    check(topic)
    lines = ["| what | Gluon | PyTorch | found |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row.cells())} |" for row in rows(topic)]
    return show.markdown("\n".join(lines))


# -- judges ----------------------------------------------------------------------------


def _apart(one: Any, two: Any) -> float:
    """max|a - b| / max(max|b|, 1) of two lists of arrays; infinite for other shapes."""
    if len(one) != len(two):
        return float("inf")
    worst = 0.0
    for a, b in zip(one, two, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape:
            return float("inf")
        if a.size == 0:
            continue
        if "U" in (a.dtype.kind, b.dtype.kind):
            if not np.array_equal(a, b):
                return float("inf")
            continue
        a, b = a.astype("float64"), b.astype("float64")
        if not np.array_equal(np.isfinite(a), np.isfinite(b)) or not np.array_equal(
            a[~np.isfinite(a)], b[~np.isfinite(b)], equal_nan=True
        ):
            return float("inf")
        a, b = a[np.isfinite(a)], b[np.isfinite(b)]
        if a.size:
            worst = max(worst, float(np.abs(a - b).max() / max(np.abs(b).max(), 1.0)))
    return worst


def _arrays(result: Any) -> list[np.ndarray]:
    """Any result of either framework as a list of NumPy arrays."""
    if isinstance(result, (list, tuple)):
        return [array for part in result for array in _arrays(part)]
    if hasattr(result, "asnumpy"):
        return [result.asnumpy()]
    if hasattr(result, "detach"):
        return [result.detach().cpu().numpy()]
    return [np.asarray(result)]


def values(*inputs: Any, dtype: bool = False) -> Judge:
    """Both functions, called with the same NumPy arrays, return the same values.

    Args:
        inputs: NumPy arrays; a shape stands for a fixed array of that shape.
        dtype: the dtypes must be equal, too.
    """
    arrays = [_some(each) for each in inputs]

    def judge(gluon: Spelling, pytorch: Spelling) -> float:
        two = _arrays(pytorch(*(a.copy() for a in arrays)))
        one = _arrays(gluon(*(a.copy() for a in arrays)))
        if dtype and [a.dtype for a in one] != [b.dtype for b in two]:
            return float("inf")
        return _apart(one, two)

    return judge


def functions(*inputs: Any, gradient: bool = True, dtype: bool = False) -> Judge:
    """Both functions do the same to the same arrays; so do their gradients.

    Args:
        inputs: NumPy arrays, which each framework gets as its own; a shape stands for
            a fixed array of that shape with values of both signs.
        gradient: compare the gradients with respect to what is not an integer, too.
        dtype: the dtypes must be equal, too.
    """
    arrays = [_some(each) for each in inputs]

    def judge(gluon: Spelling, pytorch: Spelling) -> float:
        import torch

        from d2lutils.compat import mx

        ours = [mx.nd.array(a, dtype=a.dtype) for a in arrays]
        theirs = [torch.tensor(a) for a in arrays]
        real = [i for i, a in enumerate(arrays) if a.dtype.kind == "f" and gradient]
        for i in real:
            ours[i].attach_grad()
            theirs[i].requires_grad_()
        other = pytorch(*theirs)
        with mx.autograd.record() if real else mx.autograd.pause():
            out = gluon(*ours)
        one, two = _arrays(out), _arrays(other)
        if dtype and [a.dtype for a in one] != [b.dtype for b in two]:
            return float("inf")
        apart = _apart(one, two)
        if not real or not np.isfinite(apart):
            return apart
        heads = [_some(a.shape, 1).astype(a.dtype) for a in one]
        outs = list(out) if isinstance(out, (list, tuple)) else [out]
        others = list(other) if isinstance(other, (list, tuple)) else [other]
        torch.autograd.backward(others, [torch.tensor(h) for h in heads])
        mx.autograd.backward(outs, [mx.nd.array(h, dtype=h.dtype) for h in heads])
        return max(
            apart,
            _apart(
                [ours[i].grad.asnumpy() for i in real],
                _arrays([theirs[i].grad for i in real]),
            ),
        )

    return judge


def refusal(words: str, judge: Judge) -> Judge:
    """Gluon must refuse, in these words; then the two are infinitely far apart.

    PyTorch's spelling runs first and must not fail; without Gluon's error the row is
    what `judge` says.
    """

    def judged(gluon: Spelling, pytorch: Spelling) -> float:
        from d2lutils.compat import mx

        try:
            apart = judge(gluon, pytorch)
            mx.nd.waitall()
        except Exception as error:
            if words not in str(error):
                raise
            return float("inf")
        return apart

    return judged


def nets(*shape: int) -> Judge:
    """Both functions return a layer; with the weights copied they are the same.

    Compared are output and gradients in evaluation and training, running statistics
    and five training steps (`parity.compare`); infinite if any of these differs. Of
    layers without parameters output and gradient.
    """

    def judge(gluon: Spelling, pytorch: Spelling) -> float:
        from d2lutils import parity

        ours, theirs = gluon(), pytorch()
        ours.initialize()
        x = _some(shape)
        if not ours.collect_params().keys() and not list(theirs.parameters()):
            return functions(x)(ours, theirs)
        try:
            parity.copy_parameters(theirs, ours)
        except ValueError:  # other parameters, or others' shapes
            return float("inf")
        return 0.0 if parity.compare(ours, theirs, x).ok else float("inf")

    return judge


def _some(shape: Any, seed: int = 0) -> np.ndarray:
    """A fixed array of a shape; an array stays what it is."""
    if isinstance(shape, np.ndarray):
        return shape
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.standard_normal(shape)


# -- cards -----------------------------------------------------------------------------


def cards(folder: Path | None = None) -> Any:
    """The cards "Where they differ" of all chapters, in the order of the book.

    Args:
        folder: the chapters; by default those beside the package. Where only the
            package is installed, as on Colab, a sentence says that there are none.

    Raises:
        ValueError: no chapters in the folder that was named.
    """
    from d2lutils import show

    beside = Path(__file__).parents[2] / "chapters"
    paths = _in_order(folder or beside)
    if not paths and folder is None:
        return show.markdown(
            "Each chapter has its card; here they are not beside the package. A clone "
            "of the repository and the rendered page have them all."
        )
    if not paths:
        raise ValueError(f"cards: no chapters in {folder}")
    parts = []
    for path in paths:
        title, card = _card(path)
        if card:
            link = f"../chapters/{path.name}#where-they-differ"
            parts.append(f"**[{title}]({link})**\n\n{card}")
    return show.markdown("\n\n".join(parts))


def _in_order(folder: Path) -> list[Path]:
    """The chapters in the order of `_toc.yml`, which alone has it."""
    contents = folder.parent / "_toc.yml"
    if not contents.exists():
        return []
    entries = [
        line.split("file:", 1)[1].strip()
        for line in contents.read_text("utf-8").splitlines()
        if "file:" in line
    ]
    names = [
        entry.split("/", 1)[1] for entry in entries if entry.startswith("chapters/")
    ]
    return [folder / f"{name}.ipynb" for name in names]


def _card(path: Path) -> tuple[str, str]:
    """A chapter's title and the table of its card; an empty one if it has none."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    texts = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
    title = next(t for t in texts if t.startswith("# ")).splitlines()[0][2:].strip()
    for text in texts:
        _, found, rest = text.partition("## Where they differ\n")
        if found:
            lines = rest.split("\n## ", 1)[0].strip().splitlines()
            return title, "\n".join(line for line in lines if line.startswith("|"))
    return title, ""
