"""Layers of a reader's own, from the function that their forward pass is."""

from __future__ import annotations

from collections.abc import Callable
from types import new_class
from typing import Any

from nets import gnn, nn


def own_block(forward: Callable[..., Any], **parts: Any) -> Any:
    """A HybridBlock with children or values by name; `forward(block, *inputs)`."""

    class Own(gnn.HybridBlock):
        def hybrid_forward(self, F: Any, *inputs: Any) -> Any:
            return forward(self, *inputs)

    return _with(Own(), parts)


def own_module(forward: Callable[..., Any], name: str = "Own", **parts: Any) -> Any:
    """A Module of that name, likewise."""
    return _with(type(name, (nn.Module,), {"forward": forward})(), parts)


def derived(base: Any, *arguments: Any, **own: Any) -> Any:
    """A layer of a class of one's own, which may have another forward pass."""
    # Not `type(…)`: where MXNet is missing, the base is a stand-in for a class.
    return new_class("Own", (base,), exec_body=lambda body: body.update(own))(
        *arguments
    )


def override(layer: Any, forward: Callable[..., Any]) -> None:
    """Give a layer another forward pass; all else stays as it is."""
    layer.__class__ = type("Own", (type(layer),), {"forward": forward})


def stay_in_evaluation(layer: Any, mode: bool = True) -> Any:
    """A Module's `train`, where statistics are frozen."""
    return nn.Module.train(layer, False)


def _with(layer: Any, parts: dict[str, Any]) -> Any:
    for name, part in parts.items():
        setattr(layer, name, part)
    return layer
