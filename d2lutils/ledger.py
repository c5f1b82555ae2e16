"""What each layer of a net produces, holds and computes, from one real pass.

`ledger(net, shape)` runs a net of either framework once on zeros and records for
every layer its output shape, its parameters and its multiply-adds. A multiply-add
is one multiplication with its addition (two floating-point operations); biases,
batch norms, activations and pooling are not counted, as in the papers' tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from d2lutils import checks
from d2lutils.nets import STATISTICS, GluonNet, Net, net_of

__all__ = ["Entry", "Ledger", "ledger"]


@dataclass(frozen=True)
class Entry:
    """One call of one layer.

    `output` is its shape, batch included; `weights` and `biases` count trained
    numbers, `buffers` running statistics; `multiply_adds` are for the whole batch.
    A layer called twice has two entries, the second without parameters.
    """

    path: str
    kind: str
    output: tuple[int, ...]
    weights: int = 0
    biases: int = 0
    buffers: int = 0
    multiply_adds: int = 0

    @property
    def parameters(self) -> int:
        """Trained numbers: weights and biases."""
        return self.weights + self.biases


@dataclass
class Ledger:
    """The entries of a net in the order in which its layers ran."""

    entries: list[Entry] = field(default_factory=list)

    @property
    def parameters(self) -> int:
        """Trained numbers of all layers."""
        return sum(entry.parameters for entry in self.entries)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of all layers, for the whole batch."""
        return sum(entry.multiply_adds for entry in self.entries)

    @property
    def buffers(self) -> int:
        """Running statistics of all layers."""
        return sum(entry.buffers for entry in self.entries)

    def _table(self) -> tuple[list[str], list[list[str]]]:
        headers = ["layer", "kind", "output", "parameters", "multiply-adds"]
        lines = [
            [
                entry.path or "(net)",
                entry.kind,
                "x".join(map(str, entry.output[1:])),
                f"{entry.parameters:,}",
                f"{entry.multiply_adds:,}",
            ]
            for entry in self.entries
        ]
        total = ["total", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}"]
        return headers, [*lines, total]

    def __repr__(self) -> str:
        from d2lutils import show

        headers, lines = self._table()
        return repr(show.table(lines, headers))

    def _repr_html_(self) -> str:
        from d2lutils import show

        headers, lines = self._table()
        align = ["left"] * 3 + ["right"] * 2
        return show.table(lines, headers, align=align)._repr_html_()


# Layers that compute nothing that the papers count as a multiply-add.
_FREE = {
    *("Activation", "ELU", "GELU", "LeakyReLU", "PReLU", "ReLU", "SELU", "SiLU"),
    *("Sigmoid", "Softmax", "Swish", "Tanh", "Dropout", "Flatten"),
    *("AdaptiveAvgPool", "AdaptiveMaxPool", "AvgPool", "MaxPool"),
    *("GlobalAvgPool", "GlobalMaxPool"),
    *("BatchNorm", "GroupNorm", "InstanceNorm", "LayerNorm"),
    *("HybridLambda", "Identity", "Lambda"),
}


def _work(kind: str, weight: tuple[int, ...], output: tuple[int, ...]) -> int | None:
    """Multiply-adds of a layer, or None for a kind that is not known."""
    kind = kind.lstrip("_")
    if kind.startswith("Conv") and "Transpose" not in kind:
        # Each output value is a product of one kernel: (O, I / groups, k, …).
        return prod(output) * prod(weight[1:])
    if kind in ("Linear", "Dense"):
        return prod(output) * weight[1]
    bare = kind.rstrip("d").rstrip("D").rstrip("123")
    return 0 if bare in _FREE else None


def _children(net: Any) -> dict[str, Any]:
    """The direct children of a Block or Module, by name."""
    return dict(getattr(net, "_children", None) or getattr(net, "_modules", {}))


def _leaves(
    net: Any, path: str = "", found: dict[int, tuple[str, Any]] | None = None
) -> dict[int, tuple[str, Any]]:
    """(path, layer) of every layer without children, in registration order.

    A layer that is registered twice is listed once, under its first path.
    """
    found = {} if found is None else found
    children = {k: v for k, v in _children(net).items() if v is not None}
    if not children:
        found.setdefault(id(net), (path, net))
    for name, child in children.items():
        _leaves(child, f"{path}.{name}" if path else str(name), found)
    return found


class _UnknownWorkError(Exception):
    """A layer has parameters, but no rule says what it computes."""


class _Recorder:
    """Makes an entry of each call that a layer's forward hook reports."""

    def __init__(self, net: Net, entries: list[Entry]) -> None:
        self.net, self.entries = net, entries
        self.layers = {layer.path: layer for layer in net.layers}
        self.seen: set[str] = set()

    def hook(self, path: str, layer: Any) -> Callable[..., None]:
        """A forward hook for the layer at a path."""

        def record(_layer: Any, _inputs: Any, output: Any) -> None:
            kind = type(layer).__name__
            tensors = self.layers[path].tensors if path in self.layers else {}
            shapes = {role: self.net.shape(t) for role, t in tensors.items()}
            first = output[0] if isinstance(output, (tuple, list)) else output
            produced = tuple(first.shape)
            work = _work(kind, shapes.get("weight", ()), produced)
            if work is None:
                if shapes:
                    raise _UnknownWorkError(
                        f"no rule for the work of {path or 'the net'} ({kind}), "
                        f"which has parameters {shapes}"
                    )
                work = 0
            sizes = {role: prod(shape) for role, shape in shapes.items()}
            if path in self.seen:
                sizes = {}
            self.seen.add(path)
            buffers = sum(sizes.pop(role, 0) for role in STATISTICS)
            biases = sizes.pop("bias", 0)
            self.entries.append(
                Entry(
                    path,
                    kind.lstrip("_"),
                    produced,
                    weights=sum(sizes.values()),
                    biases=biases,
                    buffers=buffers,
                    multiply_adds=work,
                )
            )

        return record

    def complete(self) -> None:
        """Raise for a layer whose parameters no entry accounts for."""
        for path, layer in self.layers.items():
            if path not in self.seen:
                shapes = {role: self.net.shape(t) for role, t in layer.tensors.items()}
                raise _UnknownWorkError(
                    f"no rule for the work of {path or 'the net'} ({layer.kind}), "
                    f"which has parameters {shapes} and did not run as a layer "
                    "without children"
                )

    @contextmanager
    def attached(self, net: Any) -> Iterator[None]:
        """Hooks on every layer inside; none afterwards."""
        gluon = isinstance(self.net, GluonNet)
        if isinstance(self.net, GluonNet):
            self.net.hybridize(False)  # hooks inside a cached graph do not run
        hooks = [
            layer.register_forward_hook(self.hook(path, layer))
            for path, layer in _leaves(net).values()
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.detach() if gluon else hook.remove()


def ledger(net: Any, input_shape: Sequence[int]) -> Ledger:
    """Run a net once on zeros and write down what each layer did.

    Args:
        net: a Gluon Block, initialised, or a PyTorch Module. It is run in
            evaluation mode and left as it was.
        input_shape: (N, C, L) or (N, C, H, W), batch included.

    Returns:
        A `Ledger`: `.entries`, `.parameters`, `.multiply_adds`, a table in a notebook.

    Raises:
        TypeError: `net` belongs to neither framework, a size is no integer.
        ValueError: a size below 1, a layer with parameters whose work is not known,
            or a forward pass that fails (the message has the shape).
    """
    owner = "ledger"
    shape = checks.shape_of(owner, "input_shape", input_shape)
    adapter = net_of(owner, "net", net)
    zeros = [np.zeros(shape, dtype="float32")]
    entries: list[Entry] = []
    try:
        adapter.settle(zeros)
        recorder = _Recorder(adapter, entries)
        with adapter.undisturbed(), recorder.attached(net):
            adapter.evaluate(zeros)
        recorder.complete()
    except _UnknownWorkError as error:
        raise ValueError(f"{owner}: {error}") from None
    except Exception as error:
        after = (
            f" after layer {entries[-1].path} {entries[-1].output}" if entries else ""
        )
        raise ValueError(
            f"{owner}: the net fails on input_shape={shape}{after}: "
            f"{checks.reason(error)}"
        ) from error
    return Ledger(entries)
