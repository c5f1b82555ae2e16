"""What PyTorch spells for each of MXNet's operators.

A rule is a function of a `Call` that returns an `Emission`. `rule` registers it:

>>> from d2lutils.porting import convert
>>> @convert.rule("my_scale")
... def my_scale(call):
...     return convert.Emission(f"{{0}} * {call.number('factor', 1.0)!r}")
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from d2lutils.porting.convert.graph import ConversionError, Node

RULES: dict[str, Callable[[Call], Emission]] = {}


#: Attributes that change nothing, or that the shapes tell.
_TOLD = {"num_args", "num_filter", "num_hidden", "input_dim", "output_dim"}
_IDLE = {"cudnn_off", "cudnn_tune", "infer_range", "sparse_grad", "workspace"}
_IDLE |= {"lstm_state_clip_max", "lstm_state_clip_min", "lstm_state_clip_nan"}


class _Attributes(dict[str, str]):
    """An operator's attributes, which remember what a rule has looked at."""

    def __init__(self, given: Mapping[str, str]) -> None:
        super().__init__(given)
        self.seen: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.seen.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.seen.add(name)
        return super().get(name, default)


class Text(str):
    """An expression, where an argument is no number."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@dataclass
class Layer:
    """A module that keeps parameters or settings: its class, arguments and tensors.

    `tensors` are values by their name in the module, `variables` the names they have in
    MXNet's file, `defaults` what PyTorch takes for arguments that are left out.
    Training leaves the parameters in `frozen` as they are; `note` says why.
    """

    kind: str
    arguments: dict[str, Any]
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    note: str = ""


@dataclass
class Emission:
    """How an operator is spelled.

    Args:
        text: the expression; ``{0}`` is the first input that is no part of the layer,
            ``{layer}`` the layer.
        layer: the module it needs, if any.
        inputs: which of the operator's inputs ``{0}``, ``{1}`` … are; all by default.
        outputs: how many values the expression gives.
        flatten: flatten the first input before, as a step of its own.
        helper: the name of a helper in `helpers.SOURCES` that it calls.
        note: what the report says about it.
    """

    text: str
    layer: Layer | None = None
    inputs: Sequence[int] | None = None
    outputs: int = 1
    flatten: bool = False
    helper: str = ""
    note: str = ""


class Call:
    """One operator with its attributes, the shapes of its inputs and its parameters."""

    def __init__(
        self,
        node: Node,
        shapes: Sequence[tuple[int, ...]],
        variables: Sequence[str],
        values: Sequence[np.ndarray | None],
        producers: Sequence[str] = (),
    ) -> None:
        self.attributes = _Attributes(node.attrs)
        self.node = replace(node, attrs=self.attributes)
        self.shapes = list(shapes)
        self.variables, self.values = list(variables), list(values)
        #: The operators that the inputs come from; "null" for a variable.
        self.producers = list(producers)

    def __len__(self) -> int:
        return len(self.shapes)

    def fail(self, why: str) -> ConversionError:
        """The error to raise where an operator's settings have no counterpart."""
        return ConversionError(f"{self.node.op} {self.node.name!r}: {why}")

    def ignore(self, *names: str) -> None:
        """Attributes that change nothing here."""
        self.attributes.seen.update(names)

    @property
    def unread(self) -> str:
        """The attributes that the rule has not looked at."""
        known = self.attributes.seen | _TOLD | _IDLE
        return ", ".join(
            f"{name}={value}"
            for name, value in sorted(self.attributes.items())
            if value != "None" and name not in known and not name.startswith("__")
        )

    def has(self, name: str) -> bool:
        """Whether an attribute is given, and is not None."""
        return self.node.attrs.get(name, "None") not in ("None", "")

    def choice(self, name: str, default: str, options: Sequence[str]) -> str:
        """An attribute that is one of several words."""
        value = self.node.attrs.get(name, default)
        if value not in options:
            raise self.fail(f"{name}={value!r} is not one of {', '.join(options)}")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """An attribute that is true or false."""
        value = self.node.attrs.get(name, str(default)).strip().lower()
        if value not in ("true", "false", "0", "1"):
            raise self.fail(f"{name}={value!r} is neither true nor false")
        return value in ("true", "1")

    def number(self, name: str, default: float | None = None) -> float:
        """An attribute that is a number; a whole one comes as an int."""
        text = self.node.attrs.get(name, "" if default is None else repr(default))
        return self._number(name, text)

    def whole(self, name: str, default: int | None = None) -> int:
        """An attribute that is an integer."""
        value = self.number(name, default)
        if value != int(value):
            raise self.fail(f"{name}={value!r} is no integer")
        return int(value)

    def _number(self, name: str, text: str) -> float:
        text = text.strip().rstrip("L")
        try:
            return int(text) if re.fullmatch(r"[-+]?\d{1,18}", text) else float(text)
        except ValueError:
            raise self.fail(f"{name}={text!r:.40} is no number") from None

    def sizes(self, name: str, default: Any = None) -> tuple[Any, ...]:
        """An attribute that is a tuple of integers; None among them stays None."""
        if not self.has(name) or self.node.attrs[name].strip() in ("()", "[]"):
            return tuple(default or ())
        text = self.node.attrs[name].strip()
        items = re.sub(r"^[\[(]|,?\s*[\])]$", "", text).split(",")
        found = tuple(
            None if item.strip() == "None" else self._number(name, item)
            for item in items
        )
        if any(n is not None and n != int(n) for n in found):
            raise self.fail(f"{name}={text!r:.40} are no integers")
        return tuple(None if n is None else int(n) for n in found)

    def axis(self, name: str, default: int, rank: int | None = None) -> int:
        """An axis, counted from the front."""
        rank = len(self.shapes[0]) if rank is None else rank
        value = self.whole(name, default)
        if not -rank <= value < rank:
            raise self.fail(f"{name}={value} is no axis of {self.shapes[0]}")
        return value % rank

    def parameter(self, index: int) -> np.ndarray:
        """The values of an input that must be a parameter."""
        value = self.values[index] if index < len(self.values) else None
        if value is None:
            raise self.fail(f"input {index} must be a parameter, and is computed")
        return value

    def tensors(self, **places: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """(values, MXNet's names) of parameters, by the names they have in PyTorch."""
        values = {name: self.parameter(i) for name, i in places.items()}
        return values, {name: self.variables[i] for name, i in places.items()}


def rule(*names: str) -> Callable[[Callable[[Call], Emission]], Any]:
    """Register a function as the rule for operators; a later one replaces it."""

    def register(function: Callable[[Call], Emission]) -> Any:
        for name in names:
            RULES[name] = function
        return function

    return register


def same(values: Sequence[Any]) -> Any:
    """Sizes as a layer's argument: one number where all axes agree."""
    return values[0] if len(set(values)) == 1 else tuple(values)


from d2lutils.porting.convert.rules import (  # noqa: E402, F401  they register rules
    arithmetic,
    layers,
    sequences,
    shaping,
)
