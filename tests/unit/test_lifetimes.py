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
    """Block by block: is it wanted while operation i runs?"""
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


def chain(*sizes: int) -> tuple[list[Operation], dict[Hashable, int]]:
    """Operation i reads tensor i and writes tensor i + 1."""
    steps = range(len(sizes) - 1)
    operations = [Operation(f"op {i}", (i,), (i + 1,)) for i in steps]
    return operations, dict(enumerate(sizes))


def test_a_chain_needs_two_tensors() -> None:
    assert largest_live_set(*chain(1, 5, 7, 2, 9)) == (12, "op 1")


def test_an_input_held_is_there_to_the_end() -> None:
    assert largest_live_set(*chain(4, 5, 7, 2, 9), held=[0]) == (16, "op 1")
    assert largest_live_set(*chain(4, 5, 5, 5), held=[0]) == (14, "op 1")


def test_an_output_held_is_there_once_written() -> None:
    operations = [
        Operation("first", ("x",), ("out",)),
        Operation("second", ("x",), ("y",)),
        Operation("third", ("y",), ("z",)),
    ]
    sizes = {"x": 1, "out": 10, "y": 3, "z": 3}
    assert largest_live_set(operations, sizes)[0] == 11
    assert largest_live_set(operations, sizes, ["out"]) == (16, "third")


def test_a_skip_is_there_until_the_sum() -> None:
    plain, sizes = chain(0, 4, 4, 4, 4)
    assert largest_live_set(plain, sizes)[0] == 8
    skip = [*plain[:3], Operation("sum", (3, 1), (4,))]
    assert largest_live_set(skip, sizes) == (12, "op 2")


def test_in_place_writes_nothing_new() -> None:
    operations = [Operation("a", ("x",), ("y",)), Operation("b", ("y",), ("y",))]
    assert largest_live_set(operations, {"x": 1, "y": 4}) == (5, "a")


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
