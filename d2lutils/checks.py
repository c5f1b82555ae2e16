"""Argument checks shared by both halves, so that both raise the same message.

Each function takes the name of the caller and of the argument, and either returns
the value in plain Python form or raises at once. Constructors use them always,
calls use them whenever a real array (not a Symbol) arrives.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

__all__ = [
    "batches",
    "boolean",
    "choice",
    "extra_channels",
    "finite_loss",
    "integer",
    "non_negative",
    "number",
    "positive",
    "same_kind",
    "shape_of",
    "shortcut",
    "tensor_shape",
]


def integer(owner: str, name: str, value: Any) -> int:
    """`value` as an int; TypeError for anything that is not an integer."""
    if isinstance(value, bool):
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


def number(
    owner: str,
    name: str,
    value: Any,
    low: float | None = None,
    high: float | None = None,
    *,
    open_low: bool = False,
) -> float:
    """`value` as a finite float within [low, high], or (low, high] if `open_low`."""
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"{owner}: {name} must be a number, got {value!r}")
    result = float(value)
    above = low is None or (result > low if open_low else result >= low)
    below = high is None or result <= high
    if not (above and below and math.isfinite(result)):
        left = "" if low is None else f"{'above' if open_low else 'at least'} {low:g}"
        right = "" if high is None else f"at most {high:g}"
        bounds = " and ".join(part for part in (left, right) if part) or "finite"
        raise ValueError(f"{owner}: {name} must be {bounds}, got {result:g}")
    return result


def boolean(owner: str, name: str, value: Any) -> bool:
    """`value` if it is True or False; TypeError otherwise."""
    if not isinstance(value, bool):
        raise TypeError(f"{owner}: {name} must be True or False, got {value!r}")
    return value


def choice(owner: str, name: str, value: Any, options: Sequence[Any]) -> Any:
    """`value` if it is one of `options`; ValueError that lists them otherwise."""
    # The type is compared too: True equals 1, but is not a rank.
    if not any(type(value) is type(o) and value == o for o in options):
        listed = ", ".join(repr(option) for option in options)
        raise ValueError(f"{owner}: {name} must be one of {listed}, got {value!r}")
    return value


def shape_of(owner: str, name: str, shape: Any) -> tuple[int, ...]:
    """`shape` as a tuple of positive ints; TypeError or ValueError otherwise."""
    if isinstance(shape, (str, bytes)) or not hasattr(shape, "__iter__"):
        raise TypeError(f"{owner}: {name} must be a tuple of sizes, got {shape!r}")
    return tuple(positive(owner, f"{name}[{i}]", n) for i, n in enumerate(shape))


_LAYOUTS = {2: "NC", 3: "NCL", 4: "NCHW"}


def tensor_shape(
    owner: str,
    name: str,
    shape: Sequence[int],
    axes: Sequence[int],
    channels: int | None = None,
) -> None:
    """Check the shape of a tensor argument, laid out (N, C), (N, C, L), (N, C, H, W).

    `axes` lists the numbers of axes allowed, the batch included; `channels` is the
    size that axis 1 must have, or None for any. Raises ValueError with the shape
    that was expected.
    """
    shape = tuple(int(n) for n in shape)
    wrong_channels = channels is not None and len(shape) > 1 and shape[1] != channels
    if len(shape) not in axes or wrong_channels or 0 in shape:
        expected = " or ".join(
            "("
            + ", ".join(
                str(channels) if axis == "C" and channels is not None else axis
                for axis in _LAYOUTS[count]
            )
            + ")"
            for count in axes
        )
        why = "; no axis may be empty" if 0 in shape and len(shape) in axes else ""
        raise ValueError(
            f"{owner}: {name} must have shape {expected}, got {shape}{why}"
        )


def same_kind(
    owner: str, name: str, what: str, got: object, parameters: object
) -> None:
    """ValueError unless an argument's dtype or device equals the parameters'."""
    if got != parameters:
        raise ValueError(
            f"{owner}: {name} has {what} {got}, but the parameters have {parameters}; "
            "convert one of them"
        )


def extra_channels(owner: str, shape: Sequence[int], channels: int) -> int:
    """How many channels padding must add to `shape`; ValueError if it is negative."""
    extra = channels - shape[1]
    if extra < 0:
        raise ValueError(
            f"{owner}: channels must be at least the input's {shape[1]}, got {channels}"
        )
    return extra


def shortcut(
    owner: str, value: Any, in_channels: int, channels: int, stride: int
) -> str:
    """The kind of shortcut that `value` stands for; ValueError if it cannot fit."""
    choice(owner, "shortcut", value, ("auto", "identity", "projection", "zeros"))
    fits = stride == 1 and in_channels == channels
    if value == "auto":
        return "identity" if fits else "projection"
    if value == "identity" and not fits:
        raise ValueError(
            f"{owner}: shortcut='identity' needs stride=1 and channels equal to "
            f"in_channels, got stride={stride}, in_channels={in_channels}, "
            f"channels={channels}; use 'projection' or 'zeros'"
        )
    if value == "zeros" and channels < in_channels:
        raise ValueError(
            f"{owner}: shortcut='zeros' can only add channels, got "
            f"in_channels={in_channels}, channels={channels}; use 'projection'"
        )
    return value


def batches(owner: str, name: str, value: Any) -> None:
    """TypeError unless `value` can be iterated over again and again."""
    if not hasattr(value, "__iter__") or hasattr(value, "__next__"):
        raise TypeError(
            f"{owner}: {name} must be an iterable of (x, y) batches that can be gone "
            f"through once an epoch, got {type(value).__name__}"
        )


def finite_loss(owner: str, loss: float, epoch: int, batch: int, rate: float) -> None:
    """FloatingPointError if a loss has become infinite or not a number."""
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"{owner}: the loss is {loss} in batch {batch} of epoch {epoch} "
            f"(counted from 0); learning_rate={rate:g} may be too large"
        )
