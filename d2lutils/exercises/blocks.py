"""The checks of the chapter `blocks`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from d2lutils.exercises import (
    by_property,
    by_reference,
    framework,
    require,
    require_kind,
    require_same,
)


def _functions() -> list[tuple[Any, ...]]:
    def double(x: Any) -> Any:
        return x * 2

    def increment(x: Any) -> Any:
        return x + 1

    def total(x: Any) -> Any:
        return np.sum(x)

    grid = np.arange(6.0).reshape(2, 3)
    return [
        ([double, increment], 3),
        ([increment, double], 3),
        ([], 5),
        ([np.negative, double, total], grid),
        ([len], "abcd"),
    ]


@by_reference(_functions)
def blocks_trace(functions: list[Callable[[Any], Any]], x: Any) -> list[Any]:
    results = [x]
    for function in functions:
        results.append(function(results[-1]))
    return results


# Widths of the linear layers, and whether the list ends in a repeated layer.
_WIDTHS = [([4, 3, 2], False), ([5, 5], True), ([3, 6, 6, 1], True), ([2, 7], False)]


@by_property(*_WIDTHS)
def blocks_chain(answer: Any, widths: list[int], repeat: bool) -> None:
    mx = framework("gluon")
    nn = mx.gluon.nn
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Dense(outputs, in_units=inputs), nn.Activation("relu")]
    layers += [nn.Dense(widths[-1], in_units=widths[-1])] * (2 if repeat else 1)
    net = answer(list(layers))
    require_kind(net, nn.HybridBlock, "a HybridBlock")
    names, found = [str(i) for i in range(len(layers))], list(net._children)
    require(found == names, f"the children are named {found} instead of {names}")
    net.initialize(mx.init.Uniform(1.0))
    x = mx.nd.array(np.linspace(-1, 1, 3 * widths[0]).reshape(3, -1))
    expected = x
    for layer in layers:
        expected = layer(expected)
    for mode in ("imperative", "hybridized"):
        if mode == "hybridized":
            net.hybridize()
        wrong = f"the output ({mode}) is not that of the layers in order"
        require_same(expected, net(x), wrong, rtol=1e-5, atol=1e-6)
    length = len(net)
    require(length == len(layers), f"its len is {length} instead of {len(layers)}")
    for i in range(-len(layers), len(layers)):
        held = net[i] is layers[i]
        require(held, f"net[{i}] is not the layer that was given")
    for i, layer in enumerate(layers):
        line = f"({i}): {layer!r}"
        require(line in repr(net), f"print(net) does not show '{line}'")


def _nets() -> dict[str, tuple[dict[str, Any], list[str]]]:
    """Attributes for a Module, and the names of those that hide parameters."""
    nn = framework("pytorch").nn
    layer = nn.Linear(2, 2)
    return {
        "a list of layers": ({"body": [nn.Linear(2, 2), nn.ReLU()]}, ["body"]),
        "a list that is registered, too": ({"a": layer, "b": [layer]}, []),
        "a tuple and a dict": (
            {"z": (nn.Linear(1, 2),), "a": {"one": nn.Conv2d(1, 2, 3)}},
            ["a", "z"],
        ),
        "a list in a dict": ({"a": {"one": [nn.Linear(1, 2)]}}, ["a"]),
        "a Sequential in a list": ({"a": [nn.Sequential(nn.Linear(1, 2))]}, ["a"]),
        "a ReLU before the layer": ({"b": [nn.ReLU(), nn.Linear(2, 2)]}, ["b"]),
        "a registered layer first": (
            {"a": layer, "b": [layer, nn.Conv1d(1, 2, 3)]},
            ["b"],
        ),
        "a ModuleList": ({"body": nn.ModuleList([nn.Linear(2, 2)])}, []),
        "widths, and a list of ReLUs": ({"w": [2, 3], "b": [nn.ReLU()]}, []),
    }


@by_property(lambda: [(case,) for case in _nets()])
def blocks_hidden(answer: Any, case: str) -> None:
    attributes, expected = _nets()[case]
    net = framework("pytorch").nn.Module()
    for name, value in attributes.items():
        setattr(net, name, value)
    require_same(expected, answer(net))
