"""Stochastic depth: what a training step of a PyramidNet takes in each mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.cases import GLUON, STEP, TORCH, Case, static
from d2lutils.gluon import pyramidnet as gluon_net
from d2lutils.gpu_report.speed import BASE, MODES, STEPS, several
from d2lutils.pytorch import pyramidnet as torch_net


def cases() -> Iterator[Case]:
    """PyramidNet-20 with alpha 48, by the paper's rule."""
    what = f"{STEPS} training steps of PyramidNet-20/a48, {STEP} images"
    for half, module in ((TORCH, torch_net), (GLUON, gluon_net)):
        build: Any = module.PyramidNet
        nets = {
            name: build(20, 48, drop_prob=p, drop_mode=mode)
            for name, (mode, p) in MODES.items()
        }
        candidates = {
            name: several(half.step(static(net) if half is GLUON else net))
            for name, net in nets.items()
        }
        yield Case(f"{half.name}: {what}", BASE, candidates, repeat=16)
