"""Checks of the arrays that blocks are called with: the part without a framework.

`gluon.inputs` and `pytorch.inputs` read an array's shape, dtype and device. This module
compares them with what a block needs and words the errors. `takes_input` makes a block
check its input before it computes anything.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from d2lutils._arguments import non_negative, shown


def takes_input_of(
    check_input: Callable[..., bool], check_routing: Callable[..., None]
) -> Callable[..., Any]:
    """`takes_input` for one half, built on that half's checks of arrays."""

    def takes_input(
        part: str = "",
        *,
        channels: str = "in_channels",
        smallest: str = "",
        explained_by: str = "",
        fits: Callable[..., None] | None = None,
        per_example: str = "",
        unless: str = "",
        owner: str = "",
    ) -> Callable[[type], type]:
        """Make a block check its arguments before it computes anything.

        Args:
            part: attribute path of the layer that x goes to, the `layer` of
                `check_input`; "self" for the block itself, "" for none.
            channels: attribute with the number of channels of x; "" for any. The
                number of spatial axes is the attribute `rank`, or 2.
            smallest: attribute with the least size of each spatial axis.
            explained_by: like `smallest`, but checked only after the call has failed,
                because a net with replaced parts may accept smaller inputs.
            fits: called as fits(sizes, *block.window) with the spatial sizes.
            per_example: attribute with the length of each row of the second argument.
            unless: name of the second argument; if it is given, nothing is checked.
            owner: the name in messages; by default the class's.
        """

        def decorate(cls: type) -> type:
            name = owner or cls.__name__
            forward = _forward(cls)
            second = [*inspect.signature(forward).parameters, ""][2]

            def check(block: Any, x: Any, more: Any) -> None:
                if unless == second and more is not None:
                    return
                rank = getattr(block, "rank", 2)
                width = getattr(block, channels) if channels else None
                least = getattr(block, smallest) if smallest else 1
                layer: Any = block if part else None
                for step in part.split(".") if part not in ("", "self") else ():
                    layer = getattr(layer, step)
                if check_input(name, x, rank, width, layer, least):
                    if per_example:
                        count = getattr(block, per_example)
                        check_routing(name, x, more, count, second)
                    if fits is not None:
                        fits(x.shape[2:], *block.window)

            @functools.wraps(forward)
            def checking(self: Any, x: Any, *more: Any, **options: Any) -> Any:
                check(self, x, more[0] if more else options.get(second))
                if not explained_by:
                    return forward(self, x, *more, **options)
                try:
                    return forward(self, x, *more, **options)
                except (RuntimeError, ValueError):
                    least = getattr(self, explained_by)
                    check_input(name, x, 2, None, None, least)
                    raise

            cls.forward = checking  # type: ignore[attr-defined]
            return cls

        return decorate

    return takes_input


def _forward(cls: Any) -> Any:
    """A class's own forward; for a Gluon block, one that calls hybrid_forward."""
    if "forward" in vars(cls):
        return cls.forward
    inherited = cls.forward

    def forward(self: Any, x: Any) -> Any:
        return inherited(self, x)

    forward.__doc__ = cls.hybrid_forward.__doc__
    forward.__module__ = cls.__module__
    forward.__qualname__ = f"{cls.__qualname__}.forward"
    return forward


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

    `axes` lists the allowed numbers of axes, including the batch axis; `channels` is
    the required size of axis 1, or None for any; `smallest` is the least size of the
    spatial axes, one number or a tuple. Raises ValueError with the expected shape.
    """
    # Every call of a block comes here, so valid shapes return first.
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


def addable(
    owner: str, x: Sequence[int], identity: Sequence[int], extra: Any = None
) -> int:
    """How many channels `x` has beyond `identity`; ValueError if they cannot be added.

    `extra` is the number that the caller expects, or None.
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
    """ValueError unless a branch returned one output for each of `kept` examples."""
    shape = tuple(int(n) for n in shape)
    if shape[:1] != (kept,):
        raise ValueError(
            f"{owner}: branch must make ({kept}, C, …) of the {kept} examples kept, "
            f"got {shape}"
        )


def table_shape(
    owner: str, name: str, shape: Sequence[int], batch: int, count: int
) -> None:
    """ValueError unless the shape is (batch, count)."""
    shape = tuple(int(n) for n in shape)
    if shape != (batch, count):
        raise ValueError(
            f"{owner}: {name} must have shape ({batch}, {count}), a row for each "
            f"example, got {shape}"
        )


def floating(owner: str, name: str, dtype: str) -> None:
    """TypeError unless `dtype` names a floating-point type."""
    if "float" not in dtype:
        raise TypeError(f"{owner}: {name} must be floating point, got {dtype}")
