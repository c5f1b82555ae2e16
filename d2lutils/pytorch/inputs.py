"""The check that every block here makes on what it is called with."""

from __future__ import annotations

from typing import Any

import torch

from d2lutils import checks

__all__ = ["check_input", "check_pair", "check_routing"]


def check_input(
    owner: str,
    x: Any,
    rank: int | tuple[int, ...],
    channels: int | None,
    parameter: torch.Tensor | None = None,
    smallest: int = 1,
    name: str = "x",
) -> None:
    """Raise at once if `x` does not fit a block, in words.

    Inside `torch.compile` and `torch.export` sizes may be symbols, and
    comparing them would tie the graph to one batch size: no check
    there.

    Args:
        owner: the block's name, for the message.
        x: what the block was called with.
        rank: number of spatial axes that `x` must have, 1 or 2 or
            either.
        channels: size that axis 1 must have; None for any.
        parameter: one of the block's, for its dtype and device.
        smallest: positions that each spatial axis must have.
        name: of the argument, for the message.

    Raises:
        TypeError: `x` is not a tensor.
        ValueError: wrong shape, dtype or device.
    """
    if torch.compiler.is_compiling():
        return
    if not isinstance(x, torch.Tensor):
        raise TypeError(
            f"{owner}: {name} must be a tensor, got {type(x).__name__}"
        )
    ranks = (rank,) if isinstance(rank, int) else rank
    axes = [rank + 2 for rank in ranks]
    checks.tensor_shape(owner, name, x.shape, axes, channels, smallest)
    if parameter is None:
        return
    if not torch.is_autocast_enabled(x.device.type):
        got, own = (str(t.dtype).split(".")[-1] for t in (x, parameter))
        checks.same_kind(owner, name, "dtype", got, own)
    got, own = str(x.device), str(parameter.device)
    checks.same_kind(owner, name, "device", got, own)


def check_pair(
    owner: str, x: Any, identity: Any, extra: int | None
) -> int:
    """Raise at once unless `identity`, padded, can be added to `x`.

    Args:
        owner: the caller's name, for the message.
        x: the wider tensor, of rank 3 or 4.
        identity: the narrower one.
        extra: by how many channels, or None to find out.

    Returns:
        The channels of x beyond those of identity.

    Raises:
        TypeError: not tensors of floating-point numbers.
        ValueError: shapes, dtypes or devices that do not fit, or an
            `extra` that is not the difference.
    """
    if torch.compiler.is_compiling():
        return x.shape[1] - identity.shape[1]
    for name, tensor in (("x", x), ("identity", identity)):
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(
                f"{owner}: {name} must be a tensor, got "
                f"{type(tensor).__name__}"
            )
        checks.tensor_shape(owner, name, tensor.shape, (3, 4))
        kind = str(tensor.dtype).split(".")[-1]
        checks.floating(owner, name, kind)
    extra = checks.addable(owner, x.shape, identity.shape, extra)
    for what in ("dtype", "device"):
        if what == "dtype" and torch.is_autocast_enabled(x.device.type):
            continue
        got, own = (
            str(getattr(t, what)).split(".")[-1] for t in (identity, x)
        )
        checks.alike(owner, "identity", "x", what, got, own)
    return extra


def check_routing(
    owner: str,
    x: Any,
    routing: Any,
    count: int,
    name: str = "routing_weights",
) -> None:
    """Raise at once unless `routing` has so many numbers an example.

    Args:
        owner: the caller's name, for the message.
        x: its input, (N, …), checked already.
        routing: numbers that choose each example's kernel, (N, count).
        count: how many there must be.
        name: of the argument, for the message.

    Raises:
        TypeError: `routing` is not a tensor.
        ValueError: wrong shape, dtype or device.
    """
    if torch.compiler.is_compiling():
        return
    if not isinstance(routing, torch.Tensor):
        raise TypeError(
            f"{owner}: {name} must be a tensor, got "
            f"{type(routing).__name__}"
        )
    checks.table_shape(owner, name, routing.shape, len(x), count)
    for what in ("dtype", "device"):
        if what == "dtype" and torch.is_autocast_enabled(x.device.type):
            continue
        got, own = (
            str(getattr(t, what)).split(".")[-1] for t in (routing, x)
        )
        checks.alike(owner, name, "x", what, got, own)
