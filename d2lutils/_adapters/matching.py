"""Which layers of two nets hold the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from d2lutils._adapters import Layer, Parameters


def _describe(net: Parameters, layer: Layer) -> str:
    tensors = [f"{role} {net.shape(t)}" for role, t in layer.tensors.items()]
    tensors += [f"{r} fixed" for r in layer.fixed if r not in layer.tensors]
    return f"{layer.path or 'the net itself'} ({layer.kind}: {', '.join(tensors)})"


def _compatible(one: tuple[int, ...], two: tuple[int, ...]) -> bool:
    """Equal shapes, where 0 stands for a size that is not known yet."""
    if (0,) in (one, two):
        return True
    return len(one) == len(two) and all(
        a == b or 0 in (a, b) for a, b in zip(one, two, strict=True)
    )


def roles_of(a: Layer, b: Layer) -> list[str]:
    """What either of two layers computes with, in order."""
    return list(dict.fromkeys([*a.roles, *b.roles]))


def shape_in(net: Parameters, layer: Layer, role: str) -> Any:
    """The shape that a layer computes with, None if it has no such tensor."""
    tensor = layer.tensor(role)
    if tensor is not None:
        return net.shape(tensor)
    return layer.fixed[role].shape if role in layer.fixed else None


def _fit(one: Parameters, a: Layer, two: Parameters, b: Layer) -> bool:
    """Whether two layers can hold the same numbers."""
    # Gluon's GroupNorm has one gamma for a group, PyTorch's one for a channel.
    groups = a.kind == b.kind == "GroupNorm"
    for role in roles_of(a, b):
        s, t = shape_in(one, a, role), shape_in(two, b, role)
        if s is None or t is None:
            return False
        if not _compatible(s, t) and (not groups or max(*s, *t) % min(*s, *t)):
            return False
    return True


def _named(net: Parameters, label: str, name: str) -> Layer:
    """The layer of this name, or with a tensor of this name."""
    for layer in net.all_layers:
        tensors = [*layer.roles, *layer.constants]
        if name == layer.path or name in map(layer.name, tensors):
            return layer
    known = ", ".join(layer.path or "''" for layer in net.layers[:8])
    more = ", ..." if len(net.layers) > 8 else ""
    raise ValueError(
        f"{net.owner}: names: {label} has no layer {name!r}; it has {known}{more}"
    )


def _paired_by_name(
    one: Parameters, two: Parameters, labels: tuple[str, str], names: Mapping[str, str]
) -> list[tuple[Layer, Layer]]:
    """The pairs that `names` asks for; ValueError where shapes differ or one is used
    twice."""
    pairs: list[tuple[Layer, Layer]] = []
    for ours, theirs in names.items():
        a, b = _named(one, labels[0], ours), _named(two, labels[1], theirs)
        if not _fit(one, a, two, b):
            sides = f"{labels[0]} {_describe(one, a)}, {labels[1]} {_describe(two, b)}"
            raise ValueError(f"{one.owner}: names: layers differ: {sides}")
        if not any(a is c and b is d for c, d in pairs):
            pairs.append((a, b))
    for label, layers in zip(labels, zip(*pairs, strict=True), strict=False):
        if len({id(layer) for layer in layers}) < len(layers):
            raise ValueError(f"{one.owner}: names: a layer of {label} occurs twice")
    return pairs


def match_layers(
    one: Parameters,
    two: Parameters,
    labels: tuple[str, str],
    names: Mapping[str, str] | None = None,
) -> list[tuple[Layer, Layer]]:
    """Pairs of layers; ValueError at the first in which two nets are built differently.

    Layers that `names` does not pair are matched in order. One that stores nothing to
    be trained (only constants, or a norm without scale and shift) is passed over if the
    other net has no partner for it.
    """
    pairs = _paired_by_name(one, two, labels, names or {})
    done = {id(layer) for pair in pairs for layer in pair}
    ours, theirs = (
        [
            layer
            for layer in reversed(net.all_layers)
            if not layer.is_part and id(layer) not in done
        ]
        for net in (one, two)
    )
    while ours or theirs:
        a, b = (left[-1] if left else None for left in (ours, theirs))
        if a and b and _fit(one, a, two, b):
            pairs.append((ours.pop(), theirs.pop()))
        elif a and not (a.tensors or a.computed):
            ours.pop()
        elif b and not (b.tensors or b.computed):
            theirs.pop()
        else:
            sides = [
                f"{label} {_describe(net, layer)}"
                for label, net, layer in zip(labels, (one, two), (a, b), strict=True)
                if layer
            ]
            number = sum(bool(c.tensors or d.tensors) for c, d in pairs)
            raise ValueError(
                f"{one.owner}: layer {number} differs: {', '.join(sides)}"
                if len(sides) == 2
                else f"{one.owner}: {labels[0]} has {len(one.layers)} layers with "
                f"parameters, {labels[1]} has {len(two.layers)}; the first without a "
                f"partner is {sides[0]}"
            )
    return pairs


def shared_constants(one: Parameters, two: Parameters) -> list[tuple[str, Any, Any]]:
    """(name, tensor, tensor) of constants that both nets have under one name.

    What only one of them has is no parameter and no difference.
    """
    ours, theirs = map(_constants, (one, two))
    return [
        (name, a, b)
        for role in ours
        if len(ours[role]) == len(theirs.get(role, []))
        for (_, a), (name, b) in zip(ours[role], theirs[role], strict=True)
        if one.shape(a) == two.shape(b)
    ]


def _constants(net: Parameters) -> dict[str, list[tuple[str, Any]]]:
    """(name, tensor) of a net's constants, by their roles."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for layer in net.all_layers:
        for role, tensor in layer.constants.items():
            found.setdefault(role, []).append((layer.name(role), tensor))
    return found


def resized(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Values in another shape: of one number for all, or one for each group of
    channels; None if channels of a group differ."""
    if 0 in shape or values.shape == shape:
        return values
    if values.ndim == 0:
        return np.full(shape, values)
    if shape[0] > len(values):
        return np.repeat(values, shape[0] // len(values))
    groups = values.reshape(shape[0], -1)
    return groups[:, 0] if (groups == groups[:, :1]).all() else None
