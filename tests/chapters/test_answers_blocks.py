"""The checks of `blocks` reject plausible wrong answers."""

from __future__ import annotations

from typing import Any

import answers
import torch

from d2lutils.compat import mx
from d2lutils.exercises.blocks import blocks_trace as trace

Module = torch.nn.Module
nn = mx.gluon.nn


class Silent(nn.HybridBlock):  # type: ignore[misc]
    """The chapter's chain, built from a list: `print` shows nothing."""

    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        for i, layer in enumerate(layers):
            self.register_child(layer, self.name_of(i))

    def name_of(self, i: int) -> str:
        return str(i)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        for layer in self._children.values():
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self._children)

    def __getitem__(self, i: int) -> Any:
        return list(self._children.values())[i]


class Printed(Silent):
    def __repr__(self) -> str:
        return "\n".join(f"({n}): {layer!r}" for n, layer in self._children.items())


class IndexByName(Printed):
    def __getitem__(self, i: int) -> Any:
        return self._children[str(i)]


class OtherNames(Printed):
    def name_of(self, i: int) -> str:
        return f"layer{i}"


class Unnumbered(Silent):
    def __repr__(self) -> str:
        return "\n".join(map(repr, self._children.values()))


def library(container: Any) -> Any:
    def chain(layers: list[Any]) -> Any:
        net = container()
        net.add(*layers)
        return net

    return chain


def hides(kinds: Any, lost: Any) -> Any:
    """An answer: which attributes of these types have something that is lost."""

    def hidden(net: Any) -> list[str]:
        known = {id(p) for p in net.parameters()}
        attributes = vars(net).items()
        return sorted(
            n for n, v in attributes if isinstance(v, kinds) and lost(v, known)
        )

    return hidden


def items(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value


def modules(value: Any) -> list[Any]:
    return [item for item in items(value) if isinstance(item, Module)]


def unknown(module: Any, known: set[int]) -> bool:
    return any(id(p) not in known for p in module.parameters())


def at_any_depth(value: Any, known: set[int]) -> bool:
    if isinstance(value, Module):
        return unknown(value, known)
    inner = isinstance(value, (list, tuple, dict))
    return inner and any(at_any_depth(item, known) for item in items(value))


def one_level(value: Any, known: set[int]) -> bool:
    return any(unknown(module, known) for module in modules(value))


CONTAINERS = (list, tuple, dict)
test_right, test_wrong = answers.tests(
    {
        "blocks_trace": [lambda functions, x: tuple(trace(functions, x))],
        "blocks_chain": [Printed, library(nn.HybridSequential)],
        "blocks_hidden": [hides(CONTAINERS, at_any_depth)],
    },
    {
        "blocks_trace": [
            (
                lambda fs, x: [x, *(f(x) for f in fs)],
                "expected [3, 6, 7], got [3, 6, 4]",
            ),
            (lambda fs, x: trace(fs, x)[1:], "expected [3, 6, 7], got [6, 7]"),
            (lambda fs, x: trace(fs, x)[-1], "expected [3, 6, 7], got 7"),
            (lambda fs, x: trace(fs[::-1], x), "expected [3, 6, 7], got [3, 4, 8]"),
            (lambda fs: fs, "TypeError was raised"),
            ([1, 2], "A function or class is asked for, got [1, 2]"),
        ],
        "blocks_chain": [
            (Silent, "print(net) does not show '(0): Dense"),
            (IndexByName, "KeyError was raised"),
            (OtherNames, "the children are named ['layer0'"),
            (library(nn.Sequential), "a HybridBlock is expected, got Sequential"),
            (Unnumbered, "print(net) does not show '(0): Dense"),
        ],
        "blocks_hidden": [
            (hides(list, lambda v, known: modules(v)), "expected [], got ['b']"),
            (hides(CONTAINERS, one_level), "a list in a dict"),
            (hides((list, tuple), one_level), "expected ['a', 'z'], got ['z']"),
            (lambda net: [], "expected ['body'], got []"),
        ],
    },
)
