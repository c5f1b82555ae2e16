"""Checks of the arrays that blocks are called with."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import numpy as np

from d2lutils import _inputs
from d2lutils._arguments import Rule
from d2lutils.compat import mx

__all__ = [
    "any_size",
    "check_input",
    "check_pair",
    "check_routing",
    "mixed_precision",
    "operators",
    "traced",
]

nn: Any = mx.gluon.nn

_CONV = {1: nn.Conv1D, 2: nn.Conv2D}
# Layers that change neither the dtype nor the channels.
_BETWEEN = (
    nn.BatchNorm,
    nn.AvgPool2D,
    nn.GlobalAvgPool2D,
    nn.Flatten,
    nn.Dropout,
)
_NUMPY = (mx.np.ndarray, mx.symbol.numpy._Symbol)


def traced(x: Any) -> bool:
    """Whether `x` is traced into a graph, where sizes may be symbols.

    A Symbol has no shape, so it cannot be checked.
    """
    return isinstance(x, mx.sym.Symbol)


def any_size(x: Any) -> bool:
    """Whether `x` is traced into a graph for inputs of any size.

    All of MXNet's graphs are.
    """
    return traced(x)


def mixed_precision(x: Any) -> bool:
    """Whether layers on the device of `x` choose their own dtype.

    They do after `amp.init`, on all devices.
    """
    amp = sys.modules.get("mxnet.contrib.amp.amp")
    return amp is not None and amp._amp_initialized


class _Operators:
    """The operators of `mx.nd` or `mx.sym` for arrays of `mx.np`.

    They reject such arrays, so inputs and results are converted,
    without a copy.
    """

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        operator = getattr(self._module, name)

        def call(*inputs: Any, **options: Any) -> Any:
            converted = map(_as_nd_or_symbol, inputs)
            result = operator(*converted, **options)
            return result.as_np_ndarray()

        return call


def _as_nd_or_symbol(x: Any) -> Any:
    return x.as_nd_ndarray() if isinstance(x, _NUMPY) else x


def operators(x: Any) -> Any:
    """The operators for `x`, an NDArray or Symbol.

    If `x` is of `mx.np` (after `npx.set_np()`), so are the results.
    """
    module = mx.sym if isinstance(x, mx.sym.Symbol) else mx.nd
    return _Operators(module) if isinstance(x, _NUMPY) else module


def check_input(
    owner: str,
    x: Any,
    rank: int | tuple[int, ...],
    channels: int | None,
    layer: Any = None,
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

    >>> check_input("Block", mx.nd.zeros((1, 2, 9)), rank=1, channels=2)
    True
    """
    if traced(x):
        return False
    _check_tensor(owner, name, x)
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
    got, own = _dtype(x), _dtype(weight)
    if got != own and not mixed_precision(x):
        _inputs.same_kind(owner, name, "dtype", got, own)
    if weight._data is None:
        return True  # not initialised: Gluon's own error says so
    devices = [_device(context) for context in weight.list_ctx()]
    if _device(x.context) not in devices:
        got, own = _device(x.context), ", ".join(devices)
        _inputs.same_kind(owner, name, "device", got, own)
    return True


def _own_weight(layer: Any, rank: int, channels: int | None) -> Any:
    """The weight that is applied to x first.

    None if its layer was replaced or has hooks, because it may then
    take inputs that do not match its weight.
    """
    kind = type(layer)
    if _hooked(layer):
        return None
    ours = kind.__module__.startswith("d2lutils.")
    weight = getattr(layer, "_reg_params", {}).get("weight")
    if weight is None and (ours or kind is nn.HybridSequential):
        for child in layer._children.values():
            if type(child) in _BETWEEN and not _hooked(child):
                continue
            return _own_weight(child, rank, channels)
    if weight is None or type(weight) is not mx.gluon.Parameter:
        return None
    if kind is nn.Dense:
        inputs = weight.shape[1]
    elif kind is _CONV[rank] or (
        ours and issubclass(kind, _CONV[rank])
    ):
        inputs = layer._in_channels
    elif ours:
        inputs = layer.in_channels
    else:
        return None
    return weight if channels in (None, inputs) else None


def _hooked(layer: Any) -> bool:
    """Whether a hook or a replaced forward could change x."""
    return bool(
        layer._forward_pre_hooks
        or layer._forward_hooks
        or "forward" in vars(layer)
    )


def _check_tensor(owner: str, name: str, x: Any) -> None:
    """TypeError unless an argument is a tensor."""
    if not isinstance(x, mx.nd.NDArray):
        raise TypeError(
            f"{owner}: {name} must be a tensor, got {type(x).__name__}"
        )


def _dtype(x: Any) -> str:
    name = np.dtype(x.dtype).name
    return "bfloat16" if name == "void16" else name


def _device(context: Any) -> str:
    """A context's name in PyTorch: "cpu", "cuda:0"."""
    if context.device_type == "gpu":
        return f"cuda:{context.device_id}"
    return "cpu"


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

    >>> x, identity = mx.nd.zeros((1, 5, 9)), mx.nd.zeros((1, 2, 9))
    >>> check_pair("add", x, identity, None)
    3
    """
    for name, tensor in (("x", x), ("identity", identity)):
        _check_tensor(owner, name, tensor)
        _inputs.tensor_shape(owner, name, tensor.shape, (3, 4))
        _inputs.floating(owner, name, _dtype(tensor))
    extra = _inputs.addable(owner, x.shape, identity.shape, extra)
    _check_alike(owner, "identity", identity, x)
    return extra


def _check_alike(owner: str, name: str, tensor: Any, x: Any) -> None:
    """ValueError unless a tensor has the dtype and device of x."""
    got, own = _dtype(tensor), _dtype(x)
    if got != own and not mixed_precision(x):
        _inputs.alike(owner, name, "x", "dtype", got, own)
    got, own = _device(tensor.context), _device(x.context)
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
    if traced(x):
        return
    _check_tensor(owner, name, routing)
    _inputs.table_shape(owner, name, routing.shape, len(x), count)
    _check_alike(owner, name, routing, x)


takes_input = _inputs.takes_input_of(check_input, check_routing)


def _layer(owner: str, name: str, value: Any) -> Any:
    if not isinstance(value, mx.gluon.HybridBlock):
        raise TypeError(
            f"{owner}: {name} must be a layer or block, got "
            f"{type(value).__name__}"
        )
    return value


Layer = Annotated[Any, Rule(_layer)]
