"""What must exist at the same time, against an oracle that tries every moment."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2lutils._lifetimes import Lifetimes, Operation, Trace, largest_live_set

KEYS = "abcdef"


def oracle(
    operations: Sequence[Operation], sizes: dict[str, int], held: Sequence[str]
) -> int:
    """For each operation and each block: must the block exist while it runs?"""
    touched = [{*op.reads, *op.writes} for op in operations]
    written = set[Hashable]().union(*(op.writes for op in operations))
    best = 0
    for i, now in enumerate(touched):
        before = set[Hashable]().union(*touched[:i])
        after = set[Hashable]().union(*touched[i + 1 :])
        live = now | (before & after)
        for key in held:
            if key not in written or key in before:
                live.add(key)
        best = max(best, sum(sizes.get(str(key), 0) for key in live))
    return best


some_keys = st.lists(st.sampled_from(KEYS), max_size=3, unique=True).map(tuple)
some_operations = st.lists(
    st.builds(Operation, st.just("op"), some_keys, some_keys), min_size=1, max_size=7
)
some_sizes = st.fixed_dictionaries({key: st.integers(0, 9) for key in KEYS})


@given(some_operations, some_sizes, some_keys)
def test_oracle(
    operations: list[Operation], sizes: dict[str, int], held: tuple[str, ...]
) -> None:
    got, _ = largest_live_set(operations, sizes, held)
    assert got == oracle(operations, sizes, held)


def test_a_skip_is_there_until_the_sum() -> None:
    operations = [Operation(f"op {i}", (i,), (i + 1,)) for i in range(3)]
    skip = [*operations, Operation("sum", (3, 1), (4,))]
    sizes = {0: 0, 1: 4, 2: 4, 3: 4, 4: 4}
    assert largest_live_set(operations, sizes) == (8, "op 1")
    assert largest_live_set(skip, sizes) == (12, "op 2")


def test_no_operation() -> None:
    assert largest_live_set([], {"x": 3, "y": 4}, ["x", "x"]) == (3, "")


def test_integers_do_not_follow_the_dtype() -> None:
    operations = [
        Operation("relu", ("x",), ("y",)),
        Operation("pool", ("y",), ("z", "places")),
    ]
    sizes: dict[Hashable, int] = {"x": 40, "y": 40, "z": 12, "places": 24}
    net = Lifetimes(operations, sizes, ["z"], 4, {"places"})
    assert net.largest() == net.largest(4) == (80, "relu")
    assert net.largest(8) == (160, "relu")
    assert net.largest(2) == (20 + 6 + 24, "pool")


def test_trace() -> None:
    trace = Trace(1, 2, 3, ["forward", "forward", "backward", "step"], [4, 7, 9, 5])
    assert trace.peak == 9
    assert [trace.at_end(p) for p in ("forward", "backward", "step")] == [7, 9, 5]
    with pytest.raises(IndexError):
        trace.at_end("sleep")
