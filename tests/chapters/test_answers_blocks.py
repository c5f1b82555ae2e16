"""The checks of `blocks`: right answers pass, stubs and wrong ones do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from without_mxnet import judged

from d2lutils import exercises
from d2lutils.compat import mx

nn = mx.gluon.nn


# -- blocks_repair ---------------------------------------------------------------------


class Listed(torch.nn.Module):
    """The class as the chapter finds it: a plain list."""

    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        self.body: Any = layers[:-1]
        self.head = layers[-1]

    def forward(self, x: Any) -> Any:
        for layer in self.body:
            x = layer(x)
        return self.head(x)


class Repaired(Listed):
    def __init__(self, layers: list[Any]) -> None:
        super().__init__(layers)
        self.body = torch.nn.ModuleList(layers[:-1])


class InSequential(Listed):
    def __init__(self, layers: list[Any]) -> None:
        super().__init__(layers)
        self.body = torch.nn.Sequential(*layers[:-1])


class ListedAndAdded(Listed):
    def __init__(self, layers: list[Any]) -> None:
        super().__init__(layers)
        for i, layer in enumerate(self.body):
            self.add_module(f"layer{i}", layer)


class SkipsRepeats(Repaired):
    def forward(self, x: Any) -> Any:
        for layer in self.body.children():
            x = layer(x)
        return self.head(x)


class HeadTwice(Repaired):
    """`layers[:-1]` became `layers`: the head runs in the body, too."""

    def __init__(self, layers: list[Any]) -> None:
        super().__init__(layers)
        self.body = torch.nn.ModuleList(layers)


class ForgetsLast(Repaired):
    def __init__(self, layers: list[Any]) -> None:
        super().__init__(layers)
        self.body = torch.nn.ModuleList(layers[:-2])


class Flat(torch.nn.Sequential):
    """Right numbers and parameters, but no `body` and no `head`."""

    def __init__(self, layers: list[Any]) -> None:
        super().__init__(*layers)


# -- blocks_chain ----------------------------------------------------------------------


class Silent(nn.HybridBlock):  # type: ignore[misc]
    """The chapter's chain, built from a list: `print` shows nothing."""

    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        for layer in layers:
            self.register_child(layer)

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
        rows = [f"  ({name}): {layer!r}" for name, layer in self._children.items()]
        return "\n".join(["Chain(", *rows, ")"])


class FromLibrary(nn.HybridSequential):  # type: ignore[misc]
    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        self.add(*layers)


class IndexByName(Printed):
    def __getitem__(self, i: int) -> Any:
        return self._children[str(i)]


class NamedByAttribute(Printed):
    def __init__(self, layers: list[Any]) -> None:
        nn.HybridBlock.__init__(self)
        for i, layer in enumerate(layers):
            setattr(self, f"layer{i}", layer)


class Unhybrid(nn.Sequential):  # type: ignore[misc]
    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        self.add(*layers)


class Unnumbered(Printed):
    def __repr__(self) -> str:
        return "\n".join(map(repr, self._children.values()))


# -- blocks_hidden ---------------------------------------------------------------------


def hidden(net: Any) -> list[str]:
    known = {id(p) for p in net.parameters()}

    def lost(value: Any) -> bool:
        if isinstance(value, torch.nn.Module):
            return any(id(p) not in known for p in value.parameters())
        if isinstance(value, dict):
            value = list(value.values())
        return isinstance(value, (list, tuple)) and any(map(lost, value))

    return sorted(
        name
        for name, value in vars(net).items()
        if isinstance(value, (list, tuple, dict)) and lost(value)
    )


def any_module_in_a_list(net: Any) -> list[str]:
    return sorted(
        name
        for name, value in vars(net).items()
        if isinstance(value, list)
        and any(isinstance(item, torch.nn.Module) for item in value)
    )


def one_level_only(net: Any) -> list[str]:
    known = {id(p) for p in net.parameters()}
    found = []
    for name, value in vars(net).items():
        items = list(value.values()) if isinstance(value, dict) else value
        if isinstance(items, (list, tuple)):
            modules = [m for m in items if isinstance(m, torch.nn.Module)]
            if any(id(p) not in known for m in modules for p in m.parameters()):
                found.append(name)
    return sorted(found)


def not_in_modules(net: Any) -> list[str]:
    """Asks for registered layers instead of registered parameters."""
    found = []
    for name, value in vars(net).items():
        if isinstance(value, (list, tuple)):
            modules = [m for m in value if isinstance(m, torch.nn.Module)]
            if any(m not in set(net.modules()) for m in modules):
                found.append(name)
    return sorted(found)


RIGHT: dict[str, list[Any]] = {
    "blocks_repair": [Repaired, InSequential, ListedAndAdded],
    "blocks_chain": [Printed, FromLibrary],
    "blocks_hidden": [hidden],
}
WRONG: dict[str, list[Any]] = {
    "blocks_repair": [Listed, SkipsRepeats, HeadTwice, ForgetsLast, Flat, 3],
    "blocks_chain": [Silent, IndexByName, NamedByAttribute, Unhybrid, Unnumbered],
    "blocks_hidden": [
        any_module_in_a_list,
        one_level_only,
        not_in_modules,
        lambda net: [],
    ],
}


def function_stub(*arguments: Any) -> Any:
    raise NotImplementedError


class TorchStub(torch.nn.Module):
    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        raise NotImplementedError


class GluonStub(nn.HybridBlock):  # type: ignore[misc]
    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        raise NotImplementedError


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("stub", [function_stub, TorchStub, GluonStub, ...])
def test_the_stub_is_not_attempted(name: str, stub: Any) -> None:
    assert judged(name, stub).message == f"{name}: not attempted yet"


@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name in RIGHT for answer in RIGHT[name]]
)
def test_a_right_answer_passes(name: str, answer: Any) -> None:
    result = judged(name, answer)
    assert result.passed, result.message


@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name in WRONG for answer in WRONG[name]]
)
def test_a_wrong_answer_is_rejected(name: str, answer: Any) -> None:
    result = judged(name, answer)
    assert result.attempted
    assert not result.passed
    assert result.message.startswith(f"{name}: not yet. ")
    assert " at 0x" not in result.message
    assert "\n" not in result.message


def test_every_exercise_of_the_chapter_is_tested() -> None:
    named = {name for name in exercises.names() if name.startswith("blocks_")}
    assert named == set(RIGHT) | {"blocks_trace"}  # the latter in tests/unit
