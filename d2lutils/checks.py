"""Argument checks shared by both halves, so that both raise the same message.

Each function takes the name of the caller and of the argument, and either returns
the value in plain Python form or raises at once. Constructors use them always,
calls use them whenever a real array (not a Symbol) arrives.
"""

from __future__ import annotations

import math
import numbers
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

__all__ = [
    "addable",
    "alike",
    "axes",
    "batch",
    "batches",
    "boolean",
    "choice",
    "depthwise",
    "device_name",
    "extra_channels",
    "finite_loss",
    "floating",
    "grouped",
    "integer",
    "labels_fit",
    "mask_shape",
    "non_negative",
    "number",
    "positive",
    "reason",
    "same_kind",
    "shape_of",
    "shortcut",
    "shown",
    "some_examples",
    "some_parameters",
    "some_trained",
    "squeezed",
    "stem",
    "table_shape",
    "tensor_shape",
    "weight_groups",
    "widening",
    "widths",
    "without_places",
]

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
    """`value` as a tuple for `count` axes: one integer for all of them, or one each.

    Each must pass `check`: `positive` or `non_negative`.
    """
    # An array of no axes, or a tensor, has an __iter__ too; it is one number.
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
    """Sizes per axis as a message has them: one number where they are equal."""
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
    """`value` as a finite float from `low` to `high`; an open end is not included."""
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
    """The one of `options` that `value` is; ValueError that lists them otherwise."""
    # The type is compared too: True equals 1, but is not a rank. NumPy's 1 is one.
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


def grouped(
    owner: str, in_channels: Any, out_channels: Any, groups: Any
) -> tuple[int, int, int]:
    """The channels and groups of a convolution; the groups must divide both."""
    found = (
        positive(owner, "in_channels", in_channels),
        positive(owner, "out_channels", out_channels),
        positive(owner, "groups", groups),
    )
    if found[0] % found[2] or found[1] % found[2]:
        raise ValueError(
            f"{owner}: groups must divide in_channels={found[0]} and "
            f"out_channels={found[1]}, got {found[2]}"
        )
    return found


def depthwise(
    owner: str, in_channels: Any, out_channels: Any, value: Any
) -> tuple[int, int, int]:
    """The channels and groups of a convolution that has a filter for each channel.

    One group, if `value` is False; ValueError if it is True and the channels differ.
    """
    boolean(owner, "depthwise", value)
    found = grouped(owner, in_channels, out_channels, 1)
    if not value:
        return found
    if found[0] != found[1]:
        raise ValueError(
            f"{owner}: depthwise=True needs out_channels equal to in_channels, got "
            f"in_channels={found[0]}, out_channels={found[1]}"
        )
    return found[0], found[1], found[1]


def table_shape(
    owner: str, name: str, shape: Sequence[int], batch: int, count: int
) -> None:
    """ValueError unless there are `count` numbers for each of `batch` examples."""
    shape = tuple(int(n) for n in shape)
    if shape != (batch, count):
        raise ValueError(
            f"{owner}: {name} must have shape ({batch}, {count}), a row for each "
            f"example, got {shape}"
        )


def squeezed(owner: str, name: str, channels: Any, reduction: Any) -> tuple[int, int]:
    """(channels, width of a hidden layer `reduction` times narrower), checked."""
    channels = positive(owner, name, channels)
    reduction = positive(owner, "reduction", reduction)
    if reduction > channels:
        raise ValueError(
            f"{owner}: reduction must be at most {name}={channels}, got {reduction}"
        )
    return channels, channels // reduction


def weight_groups(owner: str, M: Any, G: Any, count: int) -> tuple[int, int]:
    """WeightNet's M and G; G must divide M and the `count` numbers of a filter."""
    M, G = positive(owner, "M", M), positive(owner, "G", G)
    if M % G or count % G:
        raise ValueError(
            f"{owner}: G must divide M={M} and the {count} numbers of one output "
            f"channel's filter, got {G}"
        )
    return M, G


def widths(owner: str, name: str, value: Any, count: int) -> tuple[int, ...]:
    """`value` as `count` positive ints; TypeError or ValueError otherwise."""
    found = shape_of(owner, name, value)
    if len(found) != count:
        raise ValueError(f"{owner}: {name} must have {count} entries, got {found}")
    return found


def stem(owner: str, name: str, value: Any) -> tuple[Any, Any, Any]:
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


_LAYOUTS = {2: "NC", 3: "NCL", 4: "NCHW"}


def tensor_shape(
    owner: str,
    name: str,
    shape: Sequence[int],
    axes: Sequence[int],
    channels: int | None = None,
    smallest: int | Sequence[int] = 1,
) -> None:
    """Check the shape of a tensor argument, laid out (N, C), (N, C, L), (N, C, H, W).

    `axes` lists the numbers of axes allowed, the batch included; `channels` is the
    size that axis 1 must have, or None for any; `smallest` is what each spatial axis
    must have at least, or a tuple with it for each. Raises ValueError with the shape
    that was expected.
    """
    # The usual answer comes first: each call of a block waits for it.
    fits = len(shape) in axes and channels in (None, shape[1])
    if fits and min(shape) > 0 and smallest == 1:
        return
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
    count = len(shape) - 2
    least = (smallest,) * count if isinstance(smallest, int) else tuple(smallest)
    if any(n < m for n, m in zip(shape[2:], least, strict=True)):
        raise ValueError(
            f"{owner}: {name} must have at least {shown(least)} positions along each "
            f"spatial axis, got {shape}"
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


def addable(
    owner: str, x: Sequence[int], identity: Sequence[int], extra: Any = None
) -> int:
    """By how many channels `x` exceeds `identity`; ValueError if they cannot be added.

    `extra` is what the caller believes that number to be, or None.
    """
    if extra is not None:
        extra = non_negative(owner, "extra", extra)
    x, identity = (tuple(int(n) for n in shape) for shape in (x, identity))
    same = len(x) == len(identity) and (x[0], x[2:]) == (identity[0], identity[2:])
    if not same or identity[1] > x[1]:
        raise ValueError(
            f"{owner}: identity must have the batch and space of x and at most its "
            f"channels, got x {x} and identity {identity}"
        )
    found = x[1] - identity[1]
    if extra is not None and extra != found:
        raise ValueError(
            f"{owner}: extra must be the channels of x less those of identity, "
            f"{x[1]} - {identity[1]} = {found}, got {extra}"
        )
    return found


def alike(
    owner: str, name: str, other: str, what: str, got: object, own: object
) -> None:
    """ValueError unless one argument's dtype or device equals another's."""
    if got != own:
        raise ValueError(
            f"{owner}: {name} has {what} {got}, but {other} has {own}; convert one of "
            "them"
        )


def mask_shape(owner: str, name: str, shape: Sequence[int], batch: int) -> None:
    """ValueError unless a mask has one entry for each of `batch` examples."""
    shape = tuple(int(n) for n in shape)
    if shape != (batch,):
        raise ValueError(
            f"{owner}: {name} must have shape ({batch},), one entry for each example, "
            f"got {shape}"
        )


def kept_rows(owner: str, shape: Sequence[int], kept: int) -> None:
    """ValueError unless a branch made one output for each of `kept` examples."""
    shape = tuple(int(n) for n in shape)
    if shape[:1] != (kept,):
        raise ValueError(
            f"{owner}: branch must make ({kept}, C, …) of the {kept} examples kept, "
            f"got {shape}"
        )


def widening(
    owner: str, in_channels: Any, channels: Any, stride: Any, rank: Any
) -> tuple[int, int, tuple[int, ...], int]:
    """The arguments of a shortcut that can only add channels, checked."""
    in_channels = positive(owner, "in_channels", in_channels)
    channels = positive(owner, "channels", channels)
    rank = choice(owner, "rank", rank, (1, 2))
    stride = axes(owner, "stride", stride, rank)
    extra_channels(owner, (1, in_channels), channels)
    return in_channels, channels, stride, rank


def shortcut(
    owner: str, value: Any, in_channels: int, channels: int, stride: Sequence[int]
) -> str:
    """The kind of shortcut that `value` stands for; ValueError if it cannot fit."""
    choice(owner, "shortcut", value, ("auto", "identity", "projection", "zeros"))
    fits = set(stride) == {1} and in_channels == channels
    if value == "auto":
        return "identity" if fits else "projection"
    if value == "identity" and not fits:
        raise ValueError(
            f"{owner}: shortcut='identity' needs stride=1 and channels equal to "
            f"in_channels, got stride={shown(stride)}, in_channels={in_channels}, "
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


def batch(owner: str, name: str, value: Any) -> tuple[Any, np.ndarray]:
    """(x, y) of one batch, y as a NumPy array; TypeError or ValueError otherwise."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(
            f"{owner}: {name} must give pairs (x, y), got {type(value).__name__}"
            + (f" of {len(value)}" if isinstance(value, (tuple, list)) else "")
        )
    x, y = value
    if hasattr(y, "asnumpy"):
        y = y.asnumpy()
    y = np.asarray(y.detach().cpu() if hasattr(y, "detach") else y)
    # MXNet's arrays are float32 unless one asks for something else: 3.0 is a label.
    whole = y.dtype.kind in "iu" or (y.dtype.kind == "f" and (y == np.round(y)).all())
    if not whole:
        raise TypeError(f"{owner}: {name} must give whole numbers as y, got {y.dtype}")
    shape = tuple(int(n) for n in np.shape(x))
    if y.ndim != 1 or len(shape) < 1 or shape[0] != len(y) or 0 in shape:
        raise ValueError(
            f"{owner}: {name} must give x (N, …) and y (N,) with the same N of at "
            f"least 1, got shapes {shape} and {y.shape}"
        )
    return x, y.astype("int64")


def labels_fit(owner: str, logits: Sequence[int], y: np.ndarray) -> None:
    """ValueError unless logits of shape `logits` have a class for every label."""
    shape = tuple(int(n) for n in logits)
    if len(shape) != 2 or shape[0] != len(y):
        raise ValueError(
            f"{owner}: net must turn {len(y)} examples into logits of shape "
            f"({len(y)}, classes), got {shape}"
        )
    if y.min() < 0 or y.max() >= shape[1]:
        raise ValueError(
            f"{owner}: labels must be from 0 to {shape[1] - 1} for {shape[1]} "
            f"classes, got {y.min()} to {y.max()}"
        )


def some_examples(owner: str, name: str, count: float) -> None:
    """ValueError if a pass through a data set came upon no example."""
    if not count:
        raise ValueError(f"{owner}: {name} gave no batches")


def some_parameters(owner: str, parameters: Any) -> None:
    """ValueError if a net has no parameters at all."""
    if not any(True for _ in parameters):
        raise ValueError(f"{owner}: net has no parameters")


def some_trained(owner: str, parameters: Any) -> None:
    """ValueError if every parameter of a net of either framework is frozen."""
    if not any(
        getattr(parameter, "requires_grad", False)
        or getattr(parameter, "grad_req", "null") != "null"
        for parameter in parameters
    ):
        raise ValueError(f"{owner}: net has no parameter that gets a gradient")


def device_name(owner: str, value: Any, kind: type) -> None:
    """Raise unless `value` is a `kind` or a string such as "cpu" or "cuda:0"."""
    wanted = "device must be a device or a name such as 'cpu', 'cuda:0' or 'mps'"
    if isinstance(value, str):
        if not re.fullmatch(r"(cpu|cuda|mps)(:[0-9]+)?", value):
            raise ValueError(f"{owner}: {wanted}, got {value!r}")
    elif not isinstance(value, kind):
        raise TypeError(f"{owner}: {wanted}, got {value!r}")


def floating(owner: str, name: str, dtype: str) -> None:
    """TypeError unless the name of a dtype is that of floating-point numbers."""
    if "float" not in dtype:
        raise TypeError(f"{owner}: {name} must be floating point, got {dtype}")


_NOISE_LINE = re.compile(r'Traceback \(most recent|File "|Stack trace|\[bt\]|[~^\s]*$')
_CPP_PLACE = re.compile(
    r"(\[\d\d:\d\d:\d\d\]\s*)|([\w.+~/\\-]*\.(cc|cpp|cu|cuh|h|hpp|py):\d+:?\s*)"
    # The counter in an operator's name depends on what ran before.
    r"|(Error in operator \S+:\s*)"
)


def reason(error: BaseException) -> str:
    """The first line of an exception that tells a reader something, without places."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not _NOISE_LINE.match(line)]
    if not lines:
        return type(error).__name__
    line = lines[0]
    if line.endswith(":") and len(lines) > 1:
        line = f"{line} {lines[1]}"
    # PyTorch 2.15 names the operator of a product first: "addmm: mat1 and mat2 …".
    line = re.sub(rf"^({type(error).__name__}|MXNetError|\w*mm):\s*", "", line)
    line = _CPP_PLACE.sub("", line)
    return without_places(line).strip().rstrip(":").rstrip()


def without_places(text: str) -> str:
    """Drop folders of absolute paths, and memory addresses."""
    text = re.sub(r"(?<![\w.:/])(?:~|[A-Za-z]:)?[/\\](?:[\w.+@-]+[/\\])+", "", text)
    return re.sub(r"\b0x[0-9a-fA-F]{6,}", "0x…", text)


def finite_loss(owner: str, loss: float, epoch: int, batch: int, rate: float) -> None:
    """FloatingPointError if a loss has become infinite or not a number."""
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"{owner}: the loss is {loss} in batch {batch} of epoch {epoch} "
            f"(counted from 0); learning_rate={rate:g} may be too large"
        )
