"""The checks of the chapter `nin_cost`."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from d2lutils._lifetimes import Operation, largest_live_set
from d2lutils.exercises import (
    by_property,
    by_reference,
    framework,
    require,
    require_kind,
)


@by_reference(
    (7_677_880, 15_355_760, 1_992_166, 16),  # NiN
    (7_677_880, 15_355_760, 1_992_166, 8),
    (1_000, 2_000, 250, 16),  # equal at batch 4, not larger
    (900, 1_300, 200, 12),  # 500 bytes for any batch
    (5_000, 9_000, 100, 8),  # already at batch 1
)
def nin_cost_crossover(one: int, two: int, parameters: int, per: int) -> int:
    batch = 1
    while one + (batch - 1) * (two - one) <= per * parameters:
        batch += 1
    return batch


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


@by_property(
    ("nin_small", (1, 1, 24, 24), {}),
    ("CIFARNiN", (1, 3, 32, 32), {}),
    ("NiN", (1, 1, 64, 64), {"widths": (16, 48, 64), "stem": (5, 2, 0)}),
    ("NiN", (1, 1, 48, 48), {"widths": (4, 64, 96), "stem": (3, 2, 1)}),
)
def nin_cost_checkpoint(
    answer: Any, name: str, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    torch = framework("pytorch")
    from d2lutils.pytorch import memory, nin

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = getattr(nin, name)(**options)
        x = torch.linspace(-1, 1, int(np.prod(shape))).reshape(shape)
        theirs = answer(copy.deepcopy(net))
        require_kind(theirs, torch.nn.Module, "a Module")
        results = []
        for module in (net, theirs):
            torch.manual_seed(1)  # for equal dropout
            out = module.train()(x)
            module.zero_grad()
            out.square().sum().backward()
            results.append((out.detach(), [p.grad for p in module.parameters()]))
    (out, grads), (their_out, their_grads) = results
    equal = out.shape == their_out.shape and torch.allclose(out, their_out, atol=1e-5)
    require(equal, "the outputs differ from those of the net")
    equal = len(grads) == len(their_grads) and all(
        b is not None and (a - b).abs().max() <= 1e-3 * a.abs().max()
        for a, b in zip(grads, their_grads, strict=True)
    )
    require(equal, "the gradients differ from those of the net")
    kept, their_kept = (memory.kept_bytes(m, shape) for m in (net, theirs))
    share = f"{their_kept:,} bytes are kept, more than half of {kept:,}"
    require(2 * their_kept <= kept, share)
    worst, their_worst = (memory.step_trace(m, shape).peak for m in (net, theirs))
    share = f"the worst moment has {their_worst:,} bytes, of {worst:,} before"
    require(10 * their_worst <= 9 * worst, f"{share}: not a tenth less")
