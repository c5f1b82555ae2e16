"""The windows of a net's layers, read from the net, and the inputs it never reads."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from d2lutils import _arguments
from d2lutils._adapters import Net, adapter_of, children_of
from d2lutils._adapters.layer_facts import facts_of, layer_kind
from d2lutils.shapes import Window


def chain_of(net: Any, axis: int = 0) -> tuple[Window, ...]:
    """The windows of a plain sequence of layers, along one axis.

    Layers that look at one position at a time, 1x1 convolutions without stride
    included, are left out; a layer that looks at the whole map ends the chain.

    Args:
        net: an `nn.Sequential` or `nn.HybridSequential`, possibly of others, or one
            layer. What another container's `forward` does cannot be seen.
        axis: the spatial axis, 0 for the length or height, 1 for the width.

    Returns:
        A tuple of `d2lutils.shapes.Window`, named after the layers' paths.

    Raises:
        TypeError: `net` belongs to neither framework.
        ValueError: no such axis, no window at all, or a layer or container that this
            function does not know, named.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Conv1d(1, 4, 3), torch.nn.MaxPool1d(2))
    >>> [(window.name, window.span, window.stride) for window in chain_of(net)]
    [('0', 3, 1), ('1', 2, 2)]
    """
    owner = "chain_of"
    adapter = adapter_of(owner, "net", net)
    axis = _arguments.non_negative(owner, "axis", axis)
    windows: list[Window] = []
    _collect(adapter, net, "", axis, windows)
    if not windows:
        raise ValueError(f"{owner}: net has no layer with a window")
    return tuple(windows)


def _collect(
    adapter: Net, layer: Any, path: str, axis: int, found: list[Window]
) -> bool:
    """Append the windows of a layer to `found`; False once the chain has ended."""
    facts = facts_of(layer)
    if facts.chain == "sequence":
        return all(
            _collect(adapter, child, f"{path}.{name}".lstrip("."), axis, found)
            for name, child in children_of(layer).items()
        )
    if not facts.chain:
        raise ValueError(
            f"{adapter.owner}: no rule for {path or 'the net'} "
            f"({type(layer).__name__}); {facts.no_chain}"
        )
    if facts.chain in ("conv", "pool", "pad"):
        numbers = adapter.window(layer)
        if axis >= len(numbers["kernel_size"]):
            raise ValueError(
                f"{adapter.owner}: axis must be below {len(numbers['kernel_size'])} "
                f"for {path or 'the net'} ({type(layer).__name__}), got {axis}"
            )
        sizes: dict[str, Any] = {n: int(value[axis]) for n, value in numbers.items()}
        sizes["ceil_mode"] = bool(sizes["ceil_mode"])
        window = Window(
            **sizes,
            kind="pool" if facts.chain == "pool" else "conv",
            name=path or layer_kind(layer),
        )
        if (window.span, window.stride, window.padding) != (1, 1, 0):
            found.append(window)
    return facts.chain != "end"


def net_unread(net: Any, input_shape: Sequence[int]) -> list[list[int]]:
    """The rows and columns of its input that a net never reads, whatever its weights.

    A net may have any layers and any way of calling them. Gradients in float64 decide,
    not its own weights: inside, all weights are positive, biases are zero and dropout
    is off, so that no ReLU blocks and nothing cancels. Where a maximum would hide a
    line, the line is made larger until it wins. So a line that is not listed is read
    for certain; one that is listed could be read if a function that is not 0 at 0, such
    as a sigmoid, comes before padding and a maximum.

    Args:
        net: a Gluon Block, initialised, or a PyTorch Module, with one input. It is
            evaluated, and left as it was.
        input_shape: (N, C, L) or (N, C, H, W), batch included.

    Returns:
        Unread positions, counted from 0, in ascending order: a list for each axis.

    Raises:
        TypeError: `net` belongs to neither framework, a size is no integer.
        ValueError: a size below 1, an input without a spatial axis, a Gluon net that
            is not initialised.

    >>> import torch
    >>> net_unread(torch.nn.Conv2d(1, 1, 11, stride=4), (1, 1, 224, 227))
    [[223], []]
    """
    owner = "net_unread"
    adapter = adapter_of(owner, "net", net)
    shape = _arguments.shape_of(owner, "input_shape", input_shape)
    if len(shape) < 3:
        raise ValueError(
            f"{owner}: input_shape must be (N, C, L) or (N, C, H, W), got {shape}"
        )
    adapter.infer_shapes([np.ones(shape)])
    draw = np.random.Generator(np.random.PCG64(0))
    with adapter.undisturbed():
        if adapter.framework == "gluon":
            adapter.hybridize(False)
        adapter.cast("float64")
        for layer in adapter.layers:
            for role, tensor in layer.tensors.items():
                fixed = 0.0 if "bias" in role or role == "running_mean" else 1.0
                values = np.full(adapter.shape(tensor), fixed)
                if fixed and role in layer.trained:  # a mean over the inputs, nearly
                    values[...] = 0.5 + draw.random(values.shape)
                    values /= prod(values.shape[1:])
                adapter.assign(tensor, values)
        axes = range(2, len(shape))
        return [_without_gradient(adapter, shape, axis, draw) for axis in axes]


def _without_gradient(
    adapter: Net, shape: tuple[int, ...], axis: int, draw: np.random.Generator
) -> list[int]:
    """The positions along an axis without a gradient, also where they are large."""

    def head(outputs: list[np.ndarray]) -> list[np.ndarray]:
        return [1 + draw.random(o.shape) for o in outputs]

    others = tuple(i for i in range(len(shape)) if i != axis)
    unread = np.ones(shape[axis], dtype=bool)
    while unread.any():
        # So small that no sigmoid or clipped ReLU saturates.
        scale = np.expand_dims(np.where(unread, 1e-6, 1e-9), others)
        x = scale * (1 + draw.random(shape))
        (gradient,) = adapter.forward_backward([x], head, training=False)["inputs"]
        read = (gradient != 0).any(axis=others)
        if not (read & unread).any():
            break
        unread &= ~read
    return [int(position) for position in np.flatnonzero(unread)]
