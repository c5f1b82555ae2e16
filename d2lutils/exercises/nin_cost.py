"""The checks of the chapter `nin_cost`."""

from __future__ import annotations

from d2lutils._lifetimes import Operation, largest_live_set
from d2lutils.exercises import by_reference


@by_reference(
    # NiN's first block with its pooling.
    (200_704, [("conv", 1_119_744), ("relu", 1_119_744)] * 3 + [("max", 259_584)]),
    (676, [("conv", 1936), ("max", 400), ("conv", 400), ("relu", 400)]),
    (400, [("conv", 3200), ("relu", 3200), ("dropout", 3200), ("conv", 1600)]),
    (784, [("conv", 2704), ("conv", 2304), ("relu", 2304), ("max", 576)]),
    (784, [("conv", 2704), ("max", 676), ("dropout", 676), ("max", 144)]),
)
def nin_cost_kept(given: int, chain: list[tuple[str, int]]) -> int:
    kept: dict[str, int] = {}
    name, size = "input", given
    for i, (kind, made) in enumerate(chain):
        if kind != "relu" and kind != "dropout":
            kept[name] = size
        name, size = f"output {i}", made
        if kind == "relu":
            kept[name] = size
        elif kind != "conv":
            kept[f"{kind} {i}"] = 2 * size if kind == "max" else size
    return sum(kept.values())


_CHUNK = [(["image"], ["x"]), (["x"], ["a"]), (["a"], ["b"]), (["b", "x"], ["y"])]


@by_reference(
    (_CHUNK, dict.fromkeys(["image", "x", "a", "b", "y"], 2560), ["image", "y"]),
    (_CHUNK, {"image": 1, "x": 16, "a": 40, "b": 30, "y": 8}, ["image", "y"]),
    # A chain: only the input is held.
    (
        [(["x"], ["a"]), (["a"], ["b"]), (["b"], ["c"]), (["c"], ["y"])],
        {"x": 1, "a": 64, "b": 32, "c": 65, "y": 2},
        ["x", "y"],
    ),
    # An operation in place, one with two results, an input that is read late.
    (
        [(["x"], ["a"]), (["a"], ["a"]), (["a"], ["b"]), (["b", "x"], ["y"])],
        {"x": 8, "a": 4, "b": 2, "y": 1},
        ["x", "y"],
    ),
    (
        [(["x"], ["a", "b"]), (["a"], ["c"]), (["c", "b"], ["y"])],
        {"x": 4, "a": 8, "b": 16, "c": 32, "y": 64},
        ["x", "y"],
    ),
    (
        [(["x"], ["a"]), (["a"], ["b"]), (["b", "z"], ["y"])],
        {"x": 1, "a": 10, "b": 10, "y": 1, "z": 100},
        ["x", "z", "y"],
    ),
)
def nin_cost_live_set(
    operations: list[tuple[list[str], list[str]]],
    sizes: dict[str, int],
    held: list[str],
) -> int:
    steps = [
        Operation(str(i), tuple(reads), tuple(writes))
        for i, (reads, writes) in enumerate(operations)
    ]
    return largest_live_set(steps, dict(sizes), held)[0]
