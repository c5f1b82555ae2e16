"""What blocks check of the arrays that they are called with."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import numpy as np

from d2lutils import _inputs as checks
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
    """Whether a graph is being made, where sizes may be symbols.

    A Symbol has no shape to look at, so that no check is made there.
    """
    return isinstance(x, mx.sym.Symbol)


def any_size(x: Any) -> bool:
    """Whether a graph is being made for inputs of every size.

    All of MXNet's are.
    """
    return traced(x)


def mixed_precision(x: Any) -> bool:
    """Whether layers on the device of `x` choose the dtype themselves.

    They do after `amp.init`, on all devices.
    """
    amp = sys.modules.get("mxnet.contrib.amp.amp")
    return amp is not None and amp._amp_initialized


class _Operators:
    """MXNet's older operators for the arrays of `mx.np`, which they
    refuse: converted on the way in and out, without a copy."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        operator = getattr(self._module, name)

        def call(*inputs: Any, **options: Any) -> Any:
            result = operator(*(_older(x) for x in inputs), **options)
            return result.as_np_ndarray()

        return call


def _older(x: Any) -> Any:
    return x.as_nd_ndarray() if isinstance(x, _NUMPY) else x


def operators(x: Any) -> Any:
    """Where the operators for `x` are: an NDArray or a Symbol, also of
    `mx.np` (after `npx.set_np()`), which the results then are too."""
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
    """Raise at once if `x` does not fit a block, in words.

    Args:
        owner: the block's name, for the message.
        x: what the block was called with.
        rank: number of spatial axes that `x` must have, 1 or 2 or
            either.
        channels: size that axis 1 must have; None for any.
        layer: the part of the block that `x` goes to, for the dtype and
            device of its weight. If that part is not as the block made
            it, it knows best what it takes, and nothing is checked.
            Without a part `x` must be floating point.
        smallest: positions that each spatial axis must have.
        name: of the argument, for the message.

    Returns:
        Whether `x` has been checked: not in a graph, see `traced`.

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
    checks.tensor_shape(owner, name, x.shape, axes, channels, smallest)
    if weight is None:
        checks.floating(owner, name, _dtype(x))
        return True
    got, own = _dtype(x), _dtype(weight)
    if got != own and not mixed_precision(x):
        checks.same_kind(owner, name, "dtype", got, own)
    if weight._data is None:
        return True  # not initialised: Gluon's own error says so
    devices = [_device(context) for context in weight.list_ctx()]
    if _device(x.context) not in devices:
        got, own = _device(x.context), ", ".join(devices)
        checks.same_kind(owner, name, "device", got, own)
    return True


def _own_weight(layer: Any, rank: int, channels: int | None) -> Any:
    """The weight that meets x first, in a block as it was made.

    None where the layer that has it was replaced or is hooked: it may
    then take something else than its weight tells.
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
    """Whether a hook or a replaced forward could change x before it."""
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
    """A context in PyTorch's spelling: "cpu", "cuda:0"."""
    if context.device_type == "gpu":
        return f"cuda:{context.device_id}"
    return "cpu"


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

    >>> x, identity = mx.nd.zeros((1, 5, 9)), mx.nd.zeros((1, 2, 9))
    >>> check_pair("add", x, identity, None)
    3
    """
    for name, tensor in (("x", x), ("identity", identity)):
        _check_tensor(owner, name, tensor)
        checks.tensor_shape(owner, name, tensor.shape, (3, 4))
        checks.floating(owner, name, _dtype(tensor))
    extra = checks.addable(owner, x.shape, identity.shape, extra)
    _check_alike(owner, "identity", identity, x)
    return extra


def _check_alike(owner: str, name: str, tensor: Any, x: Any) -> None:
    """ValueError unless an argument has the dtype and device of x."""
    got, own = _dtype(tensor), _dtype(x)
    if got != own and not mixed_precision(x):
        checks.alike(owner, name, "x", "dtype", got, own)
    got, own = _device(tensor.context), _device(x.context)
    checks.alike(owner, name, "x", "device", got, own)


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
    if traced(x):
        return
    _check_tensor(owner, name, routing)
    checks.table_shape(owner, name, routing.shape, len(x), count)
    _check_alike(owner, name, routing, x)


takes_input = checks.takes_input_of(check_input, check_routing)


def _layer(owner: str, name: str, value: Any) -> Any:
    if not isinstance(value, mx.gluon.HybridBlock):
        raise TypeError(
            f"{owner}: {name} must be a layer or block, got "
            f"{type(value).__name__}"
        )
    return value


Layer = Annotated[Any, Rule(_layer)]
