"""Stochastic depth: what a training step of a PyramidNet takes in each mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.cases import GLUON, STEP, TORCH, Case, Half, static
from d2lutils.gluon import pyramidnet as gluon_net
from d2lutils.pytorch import pyramidnet as torch_net

#: Steps in a run, each with decisions of its own: a single depth says little.
STEPS = 4
BASE = "every block"
#: By name: how the net decides, and the last block's drop probability.
MODES = {
    BASE: ("batch", 0.0),
    "decides, drops none": ("batch", 1e-12),
    "batch": ("batch", 0.5),
    "row": ("row", 0.5),
    "gather": ("gather", 0.5),
}


def steps(half: Half, net: Any) -> Callable[[], None]:
    """Several training steps."""
    one = half.step(static(net) if half is GLUON else net)

    def several() -> None:
        for _ in range(STEPS):
            one()

    return several


def cases() -> Iterator[Case]:
    """PyramidNet-20 with alpha 48, by the paper's rule."""
    what = f"{STEPS} training steps of PyramidNet-20/a48, {STEP} images"
    for half, module in ((TORCH, torch_net), (GLUON, gluon_net)):
        build: Any = module.PyramidNet
        candidates = {
            name: steps(half, build(20, 48, drop_prob=p, drop_mode=mode))
            for name, (mode, p) in MODES.items()
        }
        yield Case(f"{half.name}: {what}", BASE, candidates, repeat=16)
