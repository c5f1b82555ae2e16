"""What all interactive figures share: their controls, and the HTML that shows them.

An explorer is two files. `<name>.py` has

- `CONTROLS`: the inputs that the reader moves;
- `compute(**settings)`: a JSON-serialisable dict with all results for the settings;
- `words(result)`: (verdict, summary), a line that begins with ✓ or ✗, and one or two
  sentences of detail.

`<name>.js` has `compute(settings)`, equal to Python's, and `view(result)`, which draws.
All figures share `runtime.js`, which documents what `view` returns, and the style sheet
`explorers.css`. tests/unit/test_explorers.py compares the results of both languages.

The figure is a self-contained HTML fragment, so it works in a page of the book, from a
file, in JupyterLab and in a sandboxed frame. It contains the words for the opening
settings, which the script replaces by the picture and the controls. Without the script,
as in a notebook that JupyterLab does not trust, the words stay.
"""

from __future__ import annotations

import hashlib
import html
import inspect
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Annotated, Any

from d2lutils import _arguments

__all__ = [
    "Control",
    "Explorer",
    "Pin",
    "choice",
    "clicked",
    "num",
    "number",
    "opener",
    "plural",
    "slider",
    "switch",
]

WITHOUT_SCRIPT = (
    "This figure is interactive and needs JavaScript. In a notebook, run its cell."
)


@dataclass(frozen=True)
class Control:
    """One labelled input, made by `slider`, `number`, `choice`, `switch` or `clicked`.

    Attributes:
        name: the setting that it changes.
        label: the text that the reader sees.
        kind: "range", "number", "select", "checkbox" or "hidden".
        low, high, step: the values of a slider or number.
        options: (value, words) for each option of a choice.
    """

    name: str
    label: str
    kind: str
    low: float = 0
    high: float = 0
    step: float = 1
    options: tuple[tuple[str, str], ...] = ()

    def check(self, owner: str, value: Any) -> None:
        """Raise ValueError or TypeError unless the control can show `value`."""
        if self.kind == "checkbox":
            _arguments.boolean(owner, self.name, value)
        elif self.kind == "select":
            values = [option for option, _ in self.options]
            _arguments.choice(owner, self.name, value, values)
        else:
            _arguments.number(owner, self.name, value, self.low, self.high)
            steps = (value - self.low) / self.step
            if abs(steps - round(steps)) > 1e-9:
                raise ValueError(
                    f"{owner}: {self.name} must go in steps of {num(self.step)} from "
                    f"{num(self.low)}, got {value}"
                )


def slider(name: str, label: str, low: float, high: float, step: float = 1) -> Control:
    """A slider from `low` to `high`, for a small number of values."""
    return Control(name, label, "range", low, high, step)


def number(name: str, label: str, low: float, high: float, step: float = 1) -> Control:
    """A field for a number from `low` to `high`, for a large number of values."""
    return Control(name, label, "number", low, high, step)


def choice(name: str, label: str, *options: tuple[str, str]) -> Control:
    """A list of (value, words), from which the reader chooses one."""
    return Control(name, label, "select", options=options)


def switch(name: str, label: str) -> Control:
    """A checkbox."""
    return Control(name, label, "checkbox")


def clicked(name: str, label: str, low: float, high: float) -> Control:
    """A whole number that changes only by clicks on parts of the picture."""
    return Control(name, label, "hidden", low, high)


def _pin(owner: str, name: str, value: Any) -> int:
    value = _arguments.integer(owner, name, value)
    if value < -1:
        raise ValueError(f"{owner}: {name} must be at least -1, got {value}")
    return value


#: What a click has chosen; -1 for nothing.
Pin = Annotated[int, _arguments.Rule(_pin)]


def num(value: float) -> str:
    """A number with at most two decimals, written as JavaScript writes it."""
    rounded = math.floor(value * 100 + 0.5) / 100
    return str(int(rounded)) if rounded == int(rounded) else repr(rounded)


def plural(n: int, thing: str) -> str:
    """A count with its noun: "1 step", "2 steps"."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


Compute = Callable[..., dict[str, Any]]
Words = Callable[[dict[str, Any]], tuple[str, str]]


class Explorer:
    """An interactive figure; the last expression of a notebook cell shows it.

    Args:
        name: the name of the explorer and of its files.
        title: its heading, plain text.
        goal: the reader's task, plain text.
        settings: the opening arguments of `compute`.
        controls: inputs, each for one of the settings.
        compute, words: see the module's docstring.
        tables: constants for the script, available as `config.tables`.

    Raises:
        ValueError, TypeError: a setting that its control cannot show.
    """

    def __init__(
        self,
        name: str,
        title: str,
        goal: str,
        settings: Mapping[str, Any],
        controls: tuple[Control, ...],
        compute: Compute,
        words: Words,
        tables: Mapping[str, Any] | None = None,
    ) -> None:
        for control in controls:
            control.check(name, settings[control.name])
        self.name, self.title, self.goal = name, title, goal
        self.settings, self.controls = dict(settings), controls
        self._compute, self._words = compute, words
        key = json.dumps([name, title, goal, self.settings], sort_keys=True)
        digest = hashlib.sha256(key.encode()).hexdigest()[:10]
        self.id = f"d2x-{name.replace('_', '-')}-{digest}"
        self.config = {
            "id": self.id,
            "start": self.settings,
            "defaults": _defaults(compute),
            "controls": [asdict(control) for control in controls],
            "tables": tables or {},
        }

    @property
    def result(self) -> dict[str, Any]:
        """The result of `compute` for the opening settings."""
        return self._compute(**self.settings)

    def words(self, **changes: Any) -> tuple[str, str]:
        """Verdict and summary for the opening settings with these `changes`."""
        return self._words(self._compute(**self.settings | changes))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.settings.items())
        return "\n".join([f"{self.name}({arguments})", *self.words()])

    @property
    def script(self) -> str:
        """The script without the call of `start`, as statements."""
        # Escaped, because "</script>" in a text would end the script element.
        config = json.dumps(self.config).replace("<", "\\u003c").replace("&", "\\u0026")
        parts = ['"use strict";', f"const config = {config};"]
        return "\n".join([*parts, _read("runtime.js"), _read(f"{self.name}.js")])

    def _repr_html_(self) -> str:
        """The HTML fragment: style, words for the opening settings, script."""
        verdict, summary = self.words()
        esc = html.escape
        return (
            f'<div class="d2x" id="{self.id}" data-explorer="{self.name}" '
            f'data-ok="{"yes" if verdict[0] == "✓" else "no"}" role="group" '
            f'aria-label="{esc(self.title)}">\n<style>\n{_read("explorers.css")}</style>\n'
            f'<p class="x-title"><b>{esc(self.title)}</b> {esc(self.goal)}</p>\n'
            f'<div class="x-plain"><p>{esc(verdict)}</p><p>{esc(summary)}</p>'
            f"<p>{WITHOUT_SCRIPT}</p></div>\n</div>\n"
            f"<script>\n(() => {{\n{self.script}start();\n}})();\n</script>"
        )


def opener(
    name: str,
    compute: Compute,
    words: Words,
    controls: tuple[Control, ...],
    title: str,
    goal: str,
    tables: Mapping[str, Any] | None = None,
) -> Callable[..., Explorer]:
    """The function that opens a figure; it takes `compute`'s arguments, title and goal.

    It raises TypeError or ValueError if `compute` does, or if a control cannot show a
    value.
    """
    signature = inspect.signature(compute)
    texts = [
        inspect.Parameter(key, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=text)
        for key, text in (("title", title), ("goal", goal))
    ]
    signature = signature.replace(
        parameters=[*signature.parameters.values(), *texts], return_annotation=Explorer
    )

    def opened(*args: Any, **kwargs: Any) -> Explorer:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        settings = given.arguments
        title, goal = settings.pop("title"), settings.pop("goal")
        checked = compute(**settings)["settings"]
        return Explorer(name, title, goal, checked, controls, compute, words, tables)

    opened.__name__ = opened.__qualname__ = name
    opened.__module__ = compute.__module__
    opened.__doc__ = (
        f"The figure {title!r}.\n\nIt takes the arguments of `compute`, within the "
        "ranges of its controls, and a title and a goal to show above it.\n\n"
        f"{compute.__doc__}"
    )
    opened.__signature__ = signature  # type: ignore[attr-defined]
    return opened


def _defaults(compute: Compute) -> dict[str, Any]:
    parameters = inspect.signature(compute).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters}


@cache
def _read(file: str) -> str:
    """A script or style sheet without comments and indentation.

    Changing a comment therefore does not change the outputs stored in notebooks.
    """
    source = resources.files(__package__).joinpath(file).read_text("utf-8")
    source = re.sub(r"(?s:/\*.*?\*/)|(?m:^\s*//.*$)", "", source)
    lines = (line.strip() for line in source.splitlines())
    return "".join(f"{line}\n" for line in lines if line)
