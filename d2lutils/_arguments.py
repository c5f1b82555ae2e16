"""Rules for arguments, written as annotations: `channels: Positive`.

`@checked` applies the rules in a function's or constructor's annotations before its
body runs, and passes the body the values that the rules return. Both halves share the
rules, so both raise the same messages. Rules are `Literal`, and `Annotated` with a
`Rule`, such as the names at the end of this module. `| None` also accepts None.
Arguments with any other annotation are not checked.

>>> @checked
... def chunk(channels: Positive, stride: PerAxis = 1, rank: Rank = 1) -> object:
...     return channels, stride
>>> chunk(8, stride=2, rank=2)
(8, (2, 2))
>>> chunk(0)
Traceback (most recent call last):
ValueError: chunk: channels must be at least 1, got 0
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import operator
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


# -- the decorator ---------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """What an argument must be.

    Attributes:
        check: called as check(owner, name, value, *seen); returns the value as a plain
            Python object, or raises TypeError or ValueError.
        sees: names of other arguments of the call; `seen` are their checked values.
    """

    check: Callable[..., Any]
    sees: tuple[str, ...] = ()


def checked(function: Decorated) -> Decorated:
    """Check a function's or constructor's arguments; messages name it or its class."""
    name = function.__qualname__.removesuffix(".__init__").split(".")[-1]
    return checked_as(name)(function)


def checked_as(owner: str) -> Callable[[Decorated], Decorated]:
    """Like `checked`, but messages name `owner`."""
    return functools.partial(_checked, owner)


def _checked(owner: str, function: Any) -> Any:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            bound = signature.bind(*arguments, **options)
        except TypeError:
            return function(*arguments, **options)  # raises Python's own message
        bound.apply_defaults()
        given = bound.arguments
        for name, rule in rules_of(function).items():
            seen = (given[other] for other in rule.sees)
            given[name] = rule.check(owner, name, given[name], *seen)
        return function(*bound.args, **bound.kwargs)

    return call


@functools.cache
def rules_of(function: Callable[..., Any]) -> dict[str, Rule]:
    """The rules in a function's annotations; those that a rule sees come before it.

    Annotations are read at the first call, because the names in them may be defined
    after the function.
    """
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return", None)
    found = {name: rule for name, hint in hints.items() if (rule := _rule(hint))}
    ordered: dict[str, Rule] = {}

    def add(name: str) -> None:
        if name in found and name not in ordered:
            for other in found[name].sees:
                add(other)
            ordered[name] = found[name]

    for name in found:
        add(name)
    return ordered


def _rule(hint: Any) -> Rule | None:
    """The rule in an annotation, or None."""
    if get_origin(hint) in (Union, types.UnionType):
        parts = get_args(hint)
        rule = next(filter(None, map(_rule, parts)), None)
        if rule is not None and types.NoneType in parts:
            return Rule(_unless_none(rule.check), rule.sees)
        return rule
    if get_origin(hint) is Literal:
        return Rule(functools.partial(choice, options=get_args(hint)))
    extras = getattr(hint, "__metadata__", ())
    return next((extra for extra in extras if isinstance(extra, Rule)), None)


def _unless_none(check: Callable[..., Any]) -> Callable[..., Any]:
    def optional(owner: str, name: str, value: Any, *seen: Any) -> Any:
        return None if value is None else check(owner, name, value, *seen)

    return optional


# -- checks of one value ---------------------------------------------------------------

_BOOLEANS = (bool, np.bool_)


def integer(owner: str, name: str, value: Any) -> int:
    """`value` as an int; TypeError for anything that is not an integer."""
    if isinstance(value, _BOOLEANS):
        raise TypeError(f"{owner}: {name} must be an integer, got {value!r}")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{owner}: {name} must be an integer, got {value!r}") from None


def positive(owner: str, name: str, value: Any) -> int:
    """`value` as an int ≥ 1; TypeError or ValueError otherwise."""
    value = integer(owner, name, value)
    if value < 1:
        raise ValueError(f"{owner}: {name} must be at least 1, got {value}")
    return value


def non_negative(owner: str, name: str, value: Any) -> int:
    """`value` as an int ≥ 0; TypeError or ValueError otherwise."""
    value = integer(owner, name, value)
    if value < 0:
        raise ValueError(f"{owner}: {name} must be at least 0, got {value}")
    return value


def axes(
    owner: str,
    name: str,
    value: Any,
    count: int,
    check: Callable[[str, str, Any], int] = positive,
) -> Any:
    """`value` as a tuple of `count` ints; it may be one integer for all axes.

    `check` validates each integer; it is `positive` or `non_negative`.
    """
    # A 0-dimensional array or tensor has __iter__, but counts as one number.
    one = not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0
    if one or isinstance(value, (str, bytes)):
        return (check(owner, name, value),) * count
    found = tuple(value)
    if len(found) != count:
        entries = "1 entry" if count == 1 else f"{count} entries, one for each axis"
        raise ValueError(
            f"{owner}: {name} must be an integer or have {entries}, got {found}"
        )
    return tuple(check(owner, f"{name}[{i}]", n) for i, n in enumerate(found))


def shown(sizes: Sequence[int]) -> Any:
    """Sizes per axis for a message: one number if they are all equal."""
    return sizes[0] if len(set(sizes)) == 1 else tuple(sizes)


def number(
    owner: str,
    name: str,
    value: Any,
    low: float | None = None,
    high: float | None = None,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """`value` as a finite float from `low` to `high`; an open bound is excluded."""
    if isinstance(value, _BOOLEANS) or not isinstance(value, numbers.Real):
        raise TypeError(f"{owner}: {name} must be a number, got {value!r}")
    result = float(value)
    if not math.isfinite(result):
        raise ValueError(f"{owner}: {name} must be finite, got {result:g}")
    above = low is None or (result > low if open_low else result >= low)
    below = high is None or (result < high if open_high else result <= high)
    if not (above and below):
        left = "" if low is None else f"{'above' if open_low else 'at least'} {low:g}"
        right = (
            "" if high is None else f"{'below' if open_high else 'at most'} {high:g}"
        )
        bounds = " and ".join(part for part in (left, right) if part)
        raise ValueError(f"{owner}: {name} must be {bounds}, got {result:g}")
    return result


def boolean(owner: str, name: str, value: Any) -> bool:
    """`value` if it is True or False; TypeError otherwise."""
    if not isinstance(value, bool):
        raise TypeError(f"{owner}: {name} must be True or False, got {value!r}")
    return value


def choice(owner: str, name: str, value: Any, options: Sequence[Any]) -> Any:
    """The option equal to `value`; ValueError listing all options if there is none."""
    # Types must match as well, because True == 1; NumPy's integers count as int.
    kind = int if isinstance(value, np.integer) else type(value)
    for option in options:
        if kind is type(option) and value == option:
            return option
    listed = ", ".join(repr(option) for option in options)
    raise ValueError(f"{owner}: {name} must be one of {listed}, got {value!r}")


def shape_of(owner: str, name: str, shape: Any) -> tuple[int, ...]:
    """`shape` as a tuple of positive ints; TypeError or ValueError otherwise."""
    if isinstance(shape, (str, bytes)) or not hasattr(shape, "__iter__"):
        raise TypeError(f"{owner}: {name} must be a tuple of sizes, got {shape!r}")
    return tuple(positive(owner, f"{name}[{i}]", n) for i, n in enumerate(shape))


def function(owner: str, name: str, value: Any) -> Any:
    """`value` if it can be called; TypeError otherwise."""
    if not callable(value):
        raise TypeError(f"{owner}: {name} must be a function, got {value!r}")
    return value


def one_of(*options: Any) -> Rule:
    """A rule: one of `options`; a dictionary stands for its keys, read at each call."""

    def check(owner: str, name: str, value: Any) -> Any:
        keys = (o if isinstance(o, dict) else (o,) for o in options)
        return choice(owner, name, value, [key for some in keys for key in some])

    return Rule(check)


def at_most(other: str) -> Rule:
    """A rule: an int from 1 to the value of the argument `other`."""

    def check(owner: str, name: str, value: Any, largest: int) -> int:
        value = positive(owner, name, value)
        if value > largest:
            raise ValueError(
                f"{owner}: {name} must be at most {other}={largest}, got {value}"
            )
        return value

    return Rule(check, sees=(other,))


def widened(owner: str, name: str, value: Any, channels: int) -> int:
    """`value` as an int ≥ `channels`, since zero padding can only add channels."""
    value = positive(owner, name, value)
    if value < channels:
        raise ValueError(
            f"{owner}: {name} must be at least the input's {channels}, got {value}"
        )
    return value


def dividing(
    owner: str, name: str, value: Any, in_channels: int, out_channels: int
) -> int:
    """`value` as a number of groups that divides both channel counts."""
    value = positive(owner, name, value)
    if in_channels % value or out_channels % value:
        raise ValueError(
            f"{owner}: {name} must divide in_channels={in_channels} and "
            f"out_channels={out_channels}, got {value}"
        )
    return value


# -- checks for particular blocks ------------------------------------------------------


def _shortcut(
    owner: str,
    name: str,
    value: Any,
    in_channels: int,
    channels: int,
    stride: Sequence[int],
) -> str:
    """The kind of shortcut, with "auto" resolved; ValueError if it cannot fit."""
    choice(owner, name, value, ("auto", "identity", "projection", "zeros"))
    fits = set(stride) == {1} and in_channels == channels
    if value == "auto":
        return "identity" if fits else "projection"
    if value == "identity" and not fits:
        raise ValueError(
            f"{owner}: shortcut='identity' needs stride=1 and channels equal to "
            f"in_channels, got stride={shown(stride)}, "
            f"in_channels={in_channels}, channels={channels}; use 'projection' or "
            "'zeros'"
        )
    if value == "zeros" and channels < in_channels:
        raise ValueError(
            f"{owner}: shortcut='zeros' can only add channels, got "
            f"in_channels={in_channels}, channels={channels}; use 'projection'"
        )
    return value


def _three_widths(owner: str, name: str, value: Any) -> tuple[int, ...]:
    """`value` as three positive ints; TypeError or ValueError otherwise."""
    found = shape_of(owner, name, value)
    if len(found) != 3:
        raise ValueError(f"{owner}: {name} must have 3 entries, got {found}")
    return found


def _stem(owner: str, name: str, value: Any) -> tuple[Any, Any, Any]:
    """(kernel size, stride, padding) of a first layer, each per axis, checked."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise TypeError(
            f"{owner}: {name} must be (kernel_size, stride, padding), got {value!r}"
        )
    found = tuple(value)
    if len(found) != 3:
        raise ValueError(
            f"{owner}: {name} must be (kernel_size, stride, padding), got {found}"
        )
    return (
        axes(owner, f"{name}[0]", found[0], 2),
        axes(owner, f"{name}[1]", found[1], 2),
        axes(owner, f"{name}[2]", found[2], 2, non_negative),
    )


def _depthwise(
    owner: str, name: str, value: Any, in_channels: int, out_channels: int
) -> bool:
    boolean(owner, name, value)
    if value and in_channels != out_channels:
        raise ValueError(
            f"{owner}: depthwise=True needs out_channels equal to in_channels, got "
            f"in_channels={in_channels}, out_channels={out_channels}"
        )
    return bool(value)


def _kernel_groups(
    owner: str,
    name: str,
    value: Any,
    M: int,
    in_channels: int,
    kernel_size: tuple[int, int],
    depthwise: bool,
) -> int:
    value = positive(owner, name, value)
    count = (1 if depthwise else in_channels) * math.prod(kernel_size)
    if M % value or count % value:
        raise ValueError(
            f"{owner}: {name} must divide M={M} and the {count} numbers of one output "
            f"channel's filter, got {value}"
        )
    return value


def _one_or_two(owner: str, name: str, value: Any) -> int:
    found: int = choice(owner, name, value, (1, 2))
    return found


# -- annotations -----------------------------------------------------------------------

Positive = Annotated[int, Rule(positive)]
NonNegative = Annotated[int, Rule(non_negative)]
Bool = Annotated[bool, Rule(boolean)]
Rank = Literal[1, 2]
#: One number for all `rank` spatial axes, or a tuple with one for each.
PerAxis = Annotated[Any, Rule(axes, sees=("rank",))]
#: The same for two axes, height and width.
Pair = Annotated[Any, Rule(functools.partial(axes, count=2))]
Probability = Annotated[float, Rule(functools.partial(number, low=0, high=1))]
#: Below 1, since a rate of 1 keeps nothing, and MXNet's dropout then returns NaN.
DropoutRate = Annotated[
    float, Rule(functools.partial(number, low=0, high=1, open_high=True))
]
NonNegativeNumber = Annotated[float, Rule(functools.partial(number, low=0))]
#: A tuple of sizes, of any length.
Dimensions = Annotated[Sequence[int], Rule(shape_of)]
Function = Annotated[Callable[..., Any], Rule(function)]
#: Output channels; there must be at least as many as input channels.
Widened = Annotated[int, Rule(widened, sees=("in_channels",))]
Groups = Annotated[int, Rule(dividing, sees=("in_channels", "out_channels"))]
#: How a residual block's shortcut gets the shape of its branch; "auto" is resolved.
Shortcut = Annotated[str, Rule(_shortcut, sees=("in_channels", "channels", "stride"))]
#: The widths of NiN's first three blocks, and the window of its first convolution.
Widths = Annotated[Sequence[int], Rule(_three_widths)]
StemWindow = Annotated[Any, Rule(_stem)]
#: A stride of 1 or 2: one number for both axes, or a tuple.
HalvingStride = Annotated[
    Any, Rule(functools.partial(axes, count=2, check=_one_or_two))
]
#: True for one filter per channel, which needs equally many channels out and in.
Depthwise = Annotated[bool, Rule(_depthwise, sees=("in_channels", "out_channels"))]
#: WeightNet's G, which divides M and the number of weights in a filter.
KernelGroups = Annotated[
    int,
    Rule(_kernel_groups, sees=("M", "in_channels", "kernel_size", "depthwise")),
]
