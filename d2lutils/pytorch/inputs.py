"""Checks of the arrays that blocks are called with."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import nn

from d2lutils import _inputs
from d2lutils._arguments import Rule

__all__ = [
    "any_size",
    "check_input",
    "check_pair",
    "check_routing",
    "mixed_precision",
    "traced",
]

_CONV = {1: nn.Conv1d, 2: nn.Conv2d}
# Layers that change neither the dtype nor the channels.
_BETWEEN = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
    nn.Dropout,
)


def traced(x: Any) -> bool:
    """Whether `x` is traced into a graph, where sizes may be symbols.

    Comparing a symbol would tie the graph to one batch size, so `x`
    is not checked then.
    """
    return (
        torch.compiler.is_compiling()
        # A proxy of torch.fx stands for a tensor.
        or not isinstance(x, torch.Tensor)
        or any(type(n) is not int for n in x.shape)
    )


def any_size(x: torch.Tensor) -> bool:
    """Whether `x` is traced into a graph for inputs of any size."""
    if not torch.compiler.is_compiling():
        return not isinstance(x, torch.Tensor) or any(
            type(n) is not int for n in x.shape
        )
    # Imported here, because it takes a second to load.
    from torch.fx.experimental.symbolic_shapes import has_static_value

    return not all(map(has_static_value, x.shape))


def mixed_precision(x: torch.Tensor) -> bool:
    """Whether layers on the device of `x` choose their own dtype.

    They do under `torch.autocast`, on its device.
    """
    kind = x.device.type
    available = torch.amp.is_autocast_available(kind)
    return available and torch.is_autocast_enabled(kind)


def check_input(
    owner: str,
    x: Any,
    rank: int | tuple[int, ...],
    channels: int | None,
    layer: nn.Module | None = None,
    smallest: int | tuple[int, ...] = 1,
    name: str = "x",
) -> bool:
    """Raise an error if `x` does not fit a block.

    Args:
        owner: the block's name, for the message.
        x: the block's input.
        rank: number of spatial axes that `x` must have; a tuple for
            several choices.
        channels: required size of axis 1; None for any.
        layer: the layer that `x` goes to; `x` must have the dtype and
            device of its weight. If the layer was replaced, nothing is
            checked, because it may take other inputs. Without a layer
            `x` must be floating point.
        smallest: least size of each spatial axis.
        name: the argument's name, for the message.

    Returns:
        Whether `x` was checked, which it is not if it is `traced`.

    Raises:
        TypeError: `x` is not a tensor.
        ValueError: wrong shape, dtype or device.

    >>> check_input("Block", torch.zeros(1, 2, 9), rank=1, channels=2)
    True
    """
    _check_tensor(owner, name, x)
    if traced(x):
        return False
    ranks = (rank,) if isinstance(rank, int) else rank
    weight = None
    if layer is not None:
        weight = _own_weight(layer, ranks[0], channels)
        if weight is None:
            return False
    axes = [rank + 2 for rank in ranks]
    _inputs.tensor_shape(owner, name, x.shape, axes, channels, smallest)
    if weight is None:
        _inputs.floating(owner, name, _dtype(x))
        return True
    if x.dtype != weight.dtype and not mixed_precision(x):
        got, own = _dtype(x), _dtype(weight)
        _inputs.same_kind(owner, name, "dtype", got, own)
    if x.device != weight.device:
        got, own = str(x.device), str(weight.device)
        _inputs.same_kind(owner, name, "device", got, own)
    return True


def _own_weight(
    layer: nn.Module, rank: int, channels: int | None
) -> torch.Tensor | None:
    """The weight that is applied to x first.

    None if its layer was replaced, or is hooked, pruned, quantised,
    sharded or in a replica, because it may then take inputs that do not
    match its weight.
    """
    kind = type(layer)
    if _hooked(layer):
        return None
    ours = kind.__module__.startswith("d2lutils.")
    weight = layer._parameters.get("weight")
    if weight is None and (ours or kind is nn.Sequential):
        for child in layer._modules.values():
            if child is None or (
                type(child) in _BETWEEN and not _hooked(child)
            ):
                continue
            return _own_weight(child, rank, channels)
    if type(weight) not in (nn.Parameter, torch.Tensor):
        return None
    if kind is nn.Linear:
        inputs: Any = layer.in_features
    elif ours or kind is _CONV[rank]:
        inputs = layer.in_channels
    else:
        return None
    return weight if channels in (None, inputs) else None


def _hooked(layer: nn.Module) -> bool:
    """Whether a hook or a replaced forward could change x."""
    return bool(
        layer._forward_pre_hooks
        or layer._forward_hooks
        or "forward" in vars(layer)
    )


def _check_tensor(owner: str, name: str, x: Any) -> None:
    """TypeError unless an argument is a tensor or tensor-like."""
    if torch.compiler.is_compiling() or isinstance(x, torch.Tensor):
        return
    if not torch.overrides.is_tensor_like(x):
        raise TypeError(
            f"{owner}: {name} must be a tensor, got {type(x).__name__}"
        )


def _dtype(x: torch.Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


def check_pair(
    owner: str, x: Any, identity: Any, extra: int | None
) -> int:
    """Raise an error unless `identity`, padded, can be added to `x`.

    Args:
        owner: the caller's name, for the message.
        x: the wider tensor, of rank 3 or 4.
        identity: the narrower one.
        extra: the difference of their channels, or None.

    Returns:
        How many channels `x` has beyond those of `identity`.

    Raises:
        TypeError: not floating-point tensors.
        ValueError: shapes, dtypes or devices that do not fit, or a
            wrong `extra`.

    >>> x, identity = torch.zeros(1, 5, 9), torch.zeros(1, 2, 9)
    >>> check_pair("add", x, identity, None)
    3
    """
    _check_tensor(owner, "x", x)
    _check_tensor(owner, "identity", identity)
    if traced(x):
        if extra is None:
            return x.shape[1] - identity.shape[1]
        return extra
    for name, tensor in (("x", x), ("identity", identity)):
        _inputs.tensor_shape(owner, name, tensor.shape, (3, 4))
        _inputs.floating(owner, name, _dtype(tensor))
    extra = _inputs.addable(owner, x.shape, identity.shape, extra)
    _check_alike(owner, "identity", identity, x)
    return extra


def _check_alike(
    owner: str, name: str, tensor: torch.Tensor, x: torch.Tensor
) -> None:
    """ValueError unless a tensor has the dtype and device of x."""
    if tensor.dtype != x.dtype and not mixed_precision(x):
        got, own = _dtype(tensor), _dtype(x)
        _inputs.alike(owner, name, "x", "dtype", got, own)
    if tensor.device != x.device:
        got, own = str(tensor.device), str(x.device)
        _inputs.alike(owner, name, "x", "device", got, own)


def check_routing(
    owner: str,
    x: Any,
    routing: Any,
    count: int,
    name: str = "routing_weights",
) -> None:
    """Raise an error unless `routing` has the shape (N, count).

    Args:
        owner: the caller's name, for the message.
        x: the block's input, (N, …), already checked.
        routing: numbers that choose each example's kernel, (N, count).
        count: required numbers per example.
        name: the argument's name, for the message.

    Raises:
        TypeError: `routing` is not a tensor.
        ValueError: wrong shape, dtype or device.
    """
    _check_tensor(owner, name, routing)
    if traced(x):
        return
    _inputs.table_shape(owner, name, routing.shape, len(x), count)
    _check_alike(owner, name, routing, x)


takes_input = _inputs.takes_input_of(check_input, check_routing)


def _layer(owner: str, name: str, value: Any) -> Any:
    if not isinstance(value, nn.Module):
        raise TypeError(
            f"{owner}: {name} must be a layer or block, got "
            f"{type(value).__name__}"
        )
    return value


Layer = Annotated[nn.Module, Rule(_layer)]
