"""Notebook outputs: errors, mirrored sources, tables, measured numbers.

Importing this module imports neither framework. Everything that it puts into a stored
output is the same on every machine: no paths, no addresses, no times, no counters.
"""

from __future__ import annotations

import ast
import html
import importlib
import inspect
import linecache
import numbers
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from types import FunctionType, MethodType, ModuleType, TracebackType
from typing import Any, Literal

from d2lutils import _errors

__all__ = [
    "COLORS",
    "error",
    "markdown",
    "setup",
    "sources",
    "table",
]

#: Each meaning has the same colour everywhere in the book. All have a contrast of at
#: least 4.5 : 1 to white, and blue and orange-red can be told apart with the common
#: kinds of colour blindness.
COLORS: dict[str, str] = {
    "gluon": "#1f6fb4",
    "pytorch": "#c2491a",
    "both": "#5b6470",
    "neutral": "#5b6470",
    "good": "#00785a",
    "bad": "#660038",
}

_INK = "#1f2933"
#: A number as text, with a unit of a letter or two: "12 %", "1.7M", "4e-13".
_NUMBER = re.compile(r"[-+−]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?( ?[%×xKMGs]i?B?)?|–")
_NEEDS = {
    "# Gluon": ("gluon",),
    "# PyTorch": ("pytorch",),
    "# Gluon and PyTorch": ("gluon", "pytorch"),
}


# -- set-up ----------------------------------------------------------------------------


def setup() -> None:
    """Prepare a notebook: figures in the book's style, and cells that can be skipped.

    Call it once, in the set-up cell. Figures get fixed sizes and fonts, and the same
    bytes in every run. If a later cell begins with ``# Gluon``, ``# PyTorch`` or
    ``# Gluon and PyTorch`` and that framework cannot be imported, the cell prints one
    line with the reason instead. Calling it again changes nothing. Outside IPython only
    the style is set.
    """
    shell = _ipython()
    if shell is not None:
        hooks = shell.input_transformers_cleanup
        if not any(getattr(hook, "_d2l_skips", False) for hook in hooks):
            hooks.insert(0, _skip_unavailable)
        if getattr(shell, "kernel", None) is not None:
            from matplotlib_inline.backend_inline import set_matplotlib_formats

            shell.run_line_magic("matplotlib", "inline")
            # Twice the pixels, shown at half the size. No "tight" bounding box, so that
            # a figure's size does not depend on the width of its labels.
            set_matplotlib_formats(
                "retina", bbox_inches=None, metadata={"Software": None}
            )
    _set_style()


def _ipython() -> Any:
    """The running IPython shell, or ``None``; never starts one."""
    module = sys.modules.get("IPython")
    return module.get_ipython() if module is not None else None


def _set_style() -> None:
    import matplotlib
    from cycler import cycler

    matplotlib.rcParams.update(
        {
            key: value
            for key, value in matplotlib.rcParamsDefault.items()
            if not key.startswith(("backend", "datapath", "interactive", "toolbar"))
        }
    )
    order = ("gluon", "pytorch", "good", "bad", "neutral")
    matplotlib.rcParams.update(
        {
            "figure.figsize": (7.2, 3.6),
            "figure.dpi": 100,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "savefig.facecolor": "white",
            "savefig.dpi": "figure",
            "svg.hashsalt": "d2l",
            "font.family": "DejaVu Sans",
            "font.size": 10.0,
            "mathtext.fontset": "dejavusans",
            "text.color": _INK,
            "axes.facecolor": "white",
            "axes.edgecolor": "#9aa5b1",
            "axes.labelcolor": _INK,
            "axes.titlesize": 11.0,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.prop_cycle": cycler(color=[COLORS[name] for name in order]),
            "grid.color": "#e4e7eb",
            "grid.linewidth": 0.8,
            "xtick.color": _INK,
            "ytick.color": _INK,
            "xtick.major.size": 0.0,
            "ytick.major.size": 0.0,
            "lines.linewidth": 2.0,
            "legend.frameon": False,
        }
    )


def _skip_unavailable(lines: list[str]) -> list[str]:
    """Replace a cell whose framework is missing by one line that says so."""
    first = next((line.strip() for line in lines if line.strip()), "")
    for framework in _NEEDS.get(first, ()):
        reason = _why_missing(framework)
        if reason is not None:
            name = {"gluon": "MXNet", "pytorch": "PyTorch"}[framework]
            message = f"Skipped, since this cell needs {name}. {reason}"
            return [f"print({message!r})\n"]
    return lines


_skip_unavailable._d2l_skips = True  # type: ignore[attr-defined]


def _why_missing(framework: str) -> str | None:
    """The first sentence of the framework's ``ImportError``, or ``None``."""
    try:
        if framework == "gluon":
            # The attribute is needed: the module can be imported without MXNet.
            _ = importlib.import_module("d2lutils.compat").mx
        else:
            importlib.import_module("torch")
    except ImportError as problem:
        if isinstance(problem, ModuleNotFoundError) and problem.name == "torch":
            return "It is not installed here: pip install torch."
        text = " ".join(str(problem).split())
        sentence = re.split(r"(?<=[.!?])\s+(?=[A-Z])", text)[0]
        return _errors.without_places(sentence).rstrip(".") + "."
    return None


# -- errors ----------------------------------------------------------------------------


class error:  # noqa: N801 - used like a function: `with show.error(ValueError):`
    """Run a ``with`` block that must fail, and print the error.

    Args:
        expected: the type of exception that the body must raise, or a tuple of types.
            Any other exception passes through.

    If MXNet is loaded, this waits for its asynchronous work, so that a late error shows
    here and not in a later cell. It prints the exception's type and the first
    informative line of its message, without paths, C++ locations or times. The object
    bound by ``with ... as`` has the same text as its attribute ``text``.

    Raises:
        AssertionError: the body raised nothing.
        TypeError: ``expected`` is not an exception type or a tuple of them.
    """

    def __init__(
        self, expected: type[Exception] | tuple[type[Exception], ...] = Exception
    ) -> None:
        types = expected if isinstance(expected, tuple) else (expected,)
        for kind in types:
            if not (isinstance(kind, type) and issubclass(kind, Exception)):
                raise TypeError(
                    f"expected must be an exception type or a tuple of them, "
                    f"got {expected!r}"
                )
        self.expected = types
        self.text = ""

    def __enter__(self) -> error:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[True] | None:
        late = _wait_for_mxnet()
        if problem is None:
            problem = late
            if problem is not None and not isinstance(problem, self.expected):
                raise problem
        if problem is None:
            names = " or ".join(kind.__name__ for kind in self.expected)
            raise AssertionError(
                f"this cell was written to show {names}, but nothing was raised"
            )
        if not isinstance(problem, self.expected):
            return None
        name, reason = type(problem).__name__, _errors.reason(problem)
        self.text = name if reason == name else f"{name}: {reason}"
        print(self.text)  # one line: pages and notebooks wrap it to their width
        return True


def _wait_for_mxnet() -> Exception | None:
    """Wait for MXNet's pending work; return the error that it raises, if any."""
    mxnet = sys.modules.get("mxnet")
    if mxnet is None or not hasattr(mxnet, "nd"):
        return None
    try:
        mxnet.nd.waitall()
    except Exception as late:
        return late
    return None


# -- rich objects ----------------------------------------------------------------------

# These colours are for Jupyter and Colab; the book's style sheet overrides them.
_DARK = (
    ':is(html[data-theme="dark"],[data-jp-theme-light="false"],[theme="dark"]) '
    ".d2l-sources"
)
_LIGHT_TOKENS = {
    "k kn kd kc kr ow": "#7a2f9a",
    "nf nc fm": "#1a5fa0",
    "s s1 s2 sd sa si": "#2c6b2f",
    "c1 c": "#5f6772",
    "mi mf bp nb": "#9a4a00",
}
_DARK_TOKENS = {
    "k kn kd kc kr ow": "#dcaaf3",
    "nf nc fm": "#8cc4ff",
    "s s1 s2 sd sa si": "#a5d6a7",
    "c1 c": "#a9b3bf",
    "mi mf bp nb": "#ffc08a",
}


def _rules(root: str, tokens: Mapping[str, str]) -> str:
    """CSS rules that colour Pygments' classes inside ``root``."""
    return "".join(
        f"{root} .highlight :is(.{',.'.join(classes.split())}){{color:{color}}}"
        for classes, color in tokens.items()
    )


_SOURCES_CSS = (
    ".d2l-sources{display:flex;flex-wrap:wrap;gap:12px;align-items:stretch}"
    ".d2l-sources>figure{flex:1 1 490px;min-width:min(490px,100%);margin:0;"
    "display:flex;flex-direction:column}"
    ".d2l-sources figcaption{font:600 13px/1.6 system-ui,sans-serif;"
    "border-top:3px solid;padding-top:2px;margin:0;text-align:left}"
    ".d2l-sources .highlight{flex:1;background:#f6f8fa;color:#1f2933;"
    "border-radius:4px;margin:0}"
    ".d2l-sources .highlight pre{margin:0;padding:8px;overflow-x:auto;background:none;"
    "border:0;font-size:12px;line-height:1.45;color:inherit;text-align:left}"
    + f".d2l-sources .d2l-gluon{{color:{COLORS['gluon']}}}"
    + f".d2l-sources .d2l-pytorch{{color:{COLORS['pytorch']}}}"
    + _rules(".d2l-sources", _LIGHT_TOKENS)
    + f"{_DARK} .highlight{{background:#1f242b;color:#e6e9ed;color-scheme:dark}}"
    + f"{_DARK} .d2l-gluon{{color:#7fb9ee}}"
    + f"{_DARK} .d2l-pytorch{{color:#ff9d73}}"
    + _rules(_DARK, _DARK_TOKENS)
)


class _Sources:
    """Two sources side by side: HTML in a notebook, text elsewhere."""

    def __init__(self, gluon: str, pytorch: str) -> None:
        self.codes = gluon, pytorch

    def __repr__(self) -> str:
        gluon, pytorch = self.codes
        return f"# Gluon\n{gluon}\n\n# PyTorch\n{pytorch}"

    def _repr_html_(self) -> str:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import PythonLexer

        figures = []
        for title, code in zip(("Gluon", "PyTorch"), self.codes, strict=True):
            body = highlight(code, PythonLexer(), HtmlFormatter(nowrap=True))
            figures.append(
                f'<figure><figcaption class="d2l-{title.lower()}">{title}'
                f'</figcaption><div class="highlight"><pre tabindex="0">{body}</pre>'
                "</div></figure>"
            )
        return (
            f'<div class="d2l-sources"><style>{_SOURCES_CSS}</style>'
            f"{''.join(figures)}</div>"
        )


def sources(
    gluon_object: Any,
    pytorch_object: Any,
    docstrings: bool = True,
) -> _Sources:
    """Show the sources of two mirrored classes, functions or modules side by side.

    Args:
        gluon_object, pytorch_object: two classes, functions, methods or modules.
        docstrings: whether to show docstrings.

    Raises:
        TypeError: an object without its own source, such as an instance.
    """
    return _Sources(
        _source_of(gluon_object, "gluon_object", docstrings),
        _source_of(pytorch_object, "pytorch_object", docstrings),
    )


def _source_of(obj: Any, argument: str, docstrings: bool) -> str:
    if not isinstance(obj, type | FunctionType | MethodType | ModuleType):
        raise TypeError(
            f"{argument} must be a class, function, method or module, got an instance "
            f"of {type(obj).__name__}"
        )
    try:
        code = inspect.getsource(obj)
    except (OSError, TypeError):
        code = _source_in_notebook(obj)
    code = textwrap.dedent(code).strip("\n") + "\n"
    return code if docstrings else _without_docstrings(code)


def _source_in_notebook(obj: Any) -> str:
    """The source of a class defined in a cell, which ``inspect`` does not find."""
    for member in vars(obj).values() if isinstance(obj, type) else ():
        if isinstance(member, FunctionType):
            lines = linecache.getlines(member.__code__.co_filename)
            for node in ast.walk(ast.parse("".join(lines))):
                if isinstance(node, ast.ClassDef) and node.name == obj.__name__:
                    return "".join(lines[node.lineno - 1 : node.end_lineno])
    raise TypeError(f"no source was found for {getattr(obj, '__name__', obj)!r}")


def _without_docstrings(code: str) -> str:
    """Drop docstrings and the blank line after each."""
    lines = code.splitlines(keepends=True)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, documented) or ast.get_docstring(node) is None:
            continue
        if len(node.body) == 1:
            continue  # the docstring is the whole body and must stay
        first = node.body[0]
        end = first.end_lineno or first.lineno
        if end < len(lines) and not lines[end].strip():
            end += 1
        for number in range(first.lineno - 1, end):
            lines[number] = ""
    return "".join(lines)


class _Table:
    """A table: HTML in a notebook, aligned text elsewhere."""

    def __init__(
        self,
        rows: list[list[str]],
        headers: list[str],
        caption: str | None,
        align: list[str],
    ) -> None:
        self.rows = rows
        self.headers = headers
        self.caption = caption
        self.align = align

    def __repr__(self) -> str:
        widths = [
            max(len(row[column]) for row in [self.headers, *self.rows])
            for column in range(len(self.headers))
        ]

        def line(cells: Sequence[str]) -> str:
            columns = zip(cells, widths, self.align, strict=True)
            aligned = [
                cell.rjust(width)
                if align == "right"
                else cell.center(width)
                if align == "center"
                else cell.ljust(width)
                for cell, width, align in columns
            ]
            return "  ".join(aligned).rstrip()

        rule = "  ".join("-" * width for width in widths)
        lines = [line(self.headers), rule, *map(line, self.rows)]
        if self.caption is not None:
            lines.insert(0, self.caption)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        def cells(tag: str, values: Sequence[str]) -> str:
            scope = ' scope="col"' if tag == "th" else ""
            return "".join(
                f'<{tag}{scope} style="text-align:{align}">{html.escape(value)}</{tag}>'
                for value, align in zip(values, self.align, strict=True)
            )

        caption = (
            f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        )
        body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in self.rows)
        return (
            f'<table class="d2l-table">{caption}\n'
            f"<thead><tr>{cells('th', self.headers)}</tr></thead>\n"
            f"<tbody>\n{body}\n</tbody></table>"
        )


def table(
    rows: Sequence[Sequence[Any]],
    headers: Sequence[str],
    caption: str | None = None,
    align: Sequence[str] | None = None,
) -> _Table:
    """Make a table of plain values.

    Args:
        rows: the cells. Integers get thousands separators, floats four significant
            digits, ``None`` becomes a dash; pass a string for any other format.
        headers: one for each column; none may be empty, because a screen reader reads
            the header with each cell.
        caption: a line above the table.
        align: ``"left"``, ``"right"`` or ``"center"`` for each column. By default
            columns of numbers, also with a unit such as ``%``, are right-aligned,
            except that text in the first column counts as row names.

    Raises:
        ValueError: an empty header, a row whose number of cells is not that of the
            headers, or an unknown alignment.
    """
    if not all(str(header).strip() for header in headers):
        raise ValueError(f"headers must all have words, got {list(headers)!r}")
    values = [list(row) for row in rows]
    for number, row in enumerate(values):
        if len(row) != len(headers):
            raise ValueError(
                f"rows[{number}] has {len(row)} cells for {len(headers)} headers"
            )
    if align is None:
        columns = range(len(headers))
        chosen = [
            "right" if _is_numeric([row[i] for row in values], i == 0) else "left"
            for i in columns
        ]
    else:
        chosen = list(align)
        if len(chosen) != len(headers) or {*chosen} - {"left", "right", "center"}:
            raise ValueError(
                f"align must give left, right or center for each of {len(headers)} "
                f"columns, got {chosen!r}"
            )
    cells = [[_cell(value) for value in row] for row in values]
    return _Table(cells, [str(header) for header in headers], caption, chosen)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_numeric(column: Sequence[Any], names: bool) -> bool:
    """Whether a column has numbers; ``names`` says that text in it names the rows."""
    texts = [value for value in column if isinstance(value, str)]
    rest = [value for value in column if not isinstance(value, str)]
    known = [value for value in rest if value is not None]
    return (
        bool(texts or known)
        and not (names and texts)
        and all(map(_is_number, known))
        and all(map(_NUMBER.fullmatch, texts))
    )


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if not _is_number(value):
        return str(value)
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}"
    return f"{float(value):.4g}"


class _Markdown:
    """Text that a notebook renders as Markdown."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


def markdown(text: str) -> _Markdown:
    """Show Markdown as a cell's output, for sentences with measured numbers.

    Args:
        text: Markdown, such as an f-string with the numbers that the cell measured.

    Raises:
        TypeError: ``text`` is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__}")
    return _Markdown(text)
