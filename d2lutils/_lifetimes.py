"""How many bytes of tensors must exist at the same time, from a list of operations.

`gluon.memory` and `pytorch.memory` turn a net into a list of `Operation`; the rest is
the same arithmetic for both. Parameters are left out: they exist all the time.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Lifetimes", "Operation", "Trace", "largest_live_set"]


@dataclass(frozen=True)
class Operation:
    """One operation: its name and the keys of the memory that it reads and writes.

    A view has the key of what it views, and an operation in place writes what it reads.
    """

    name: str
    reads: tuple[Hashable, ...]
    writes: tuple[Hashable, ...]


def largest_live_set(
    operations: Sequence[Operation],
    sizes: Mapping[Any, int],
    held: Sequence[Hashable] = (),
) -> tuple[int, str]:
    """The largest number of bytes that some operation needs to exist while it runs.

    It needs what it reads and writes, and what was written before it and is read after
    it. Tensors that nothing reads any more are not counted.

    Args:
        operations: in the order in which they run.
        sizes: bytes of each memory block.
        held: blocks that exist from the first operation to the last, such as the
            inputs, which the caller holds, and the outputs.

    Returns:
        (bytes, name of the first operation that needs them); without operations what
        is held, and no name.

    >>> a, b = Operation("a", ("x",), ("y",)), Operation("b", ("y",), ("z",))
    >>> largest_live_set([a, b], {"x": 1, "y": 4, "z": 2}, held=["x"])
    (7, 'b')
    """
    if not operations:
        return sum(sizes[key] for key in set(held) if key in sizes), ""
    first: dict[Hashable, int] = {}
    last: dict[Hashable, int] = {}
    for i, operation in enumerate(operations):
        for key in (*operation.reads, *operation.writes):
            first.setdefault(key, i)
            last[key] = i
    written = {key for operation in operations for key in operation.writes}
    for key in held:
        last[key] = len(operations)
        if key not in written:  # an input exists before anything reads it
            first[key] = 0
    live = [
        sum(
            n
            for key, n in sizes.items()
            if key in first and first[key] <= i <= last[key]
        )
        for i in range(len(operations))
    ]
    most = live.index(max(live))
    return live[most], operations[most].name


@dataclass
class Lifetimes:
    """The operations of one pass of a net in inference, and what they touch.

    Attributes:
        operations: in the order in which they run.
        sizes: bytes of each memory block.
        held: blocks that exist all the time or, once written, to the end.
        itemsize: bytes of a number of the net.
        whole: blocks of integers, whose size does not follow the net's dtype.
    """

    operations: list[Operation] = field(default_factory=list)
    sizes: dict[Hashable, int] = field(default_factory=dict)
    held: Sequence[Hashable] = ()
    itemsize: int = 4
    whole: set[Hashable] = field(default_factory=set)

    def largest(self, itemsize: int | None = None) -> tuple[int, str]:
        """As `largest_live_set`, if a number had `itemsize` bytes."""
        item = self.itemsize if itemsize is None else itemsize
        sizes = {
            key: size if key in self.whole else size // self.itemsize * item
            for key, size in self.sizes.items()
        }
        return largest_live_set(self.operations, sizes, self.held)


@dataclass
class Trace:
    """Bytes in memory over the time of one training step.

    Attributes:
        parameters, gradients, state: bytes of the net's parameters (running
            statistics included), of their gradients and of the optimiser's state at
            the end of the step.
        phases: of each point: "forward", "backward" or "step".
        activations: bytes of everything else, at each point.
    """

    parameters: int
    gradients: int
    state: int
    phases: list[str] = field(default_factory=list)
    activations: list[int] = field(default_factory=list)

    @property
    def peak(self) -> int:
        """The largest number of bytes of activations, at any point."""
        return max(self.activations)

    def at_end(self, phase: str) -> int:
        """Bytes of activations at the last point of a phase."""
        pairs = zip(self.phases, self.activations, strict=True)
        return [count for name, count in pairs if name == phase][-1]
