"""The windows of a net's layers, read from the net."""

from __future__ import annotations

from typing import Any

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
