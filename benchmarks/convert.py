"""Converted nets, against the same nets as a public zoo wrote them in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.cases import GLUON, IMAGES, TORCH, Case, public_net
from d2lutils.porting import convert

BASE = "written by hand"
NETS = ("resnet50", "mobilenetv2_w1", "densenet121")


def cases() -> Iterator[Case]:
    """Inference, and a training step, where both zoos are installed."""
    for name in NETS:
        old, hand = public_net("gluoncv2", name), public_net("pytorchcv", name)
        if old is None or hand is None:
            continue
        old.initialize()
        old.hybridize()
        old(GLUON.array(*IMAGES, backward=False))
        module = convert.to_pytorch(old, inputs={"data": IMAGES}, compare=False).module
        for run, what in ((TORCH.predict, "inference"), (TORCH.step, "training step")):
            candidates = {BASE: run(hand), "converted": run(module)}
            yield Case(f"{name}: {what}, {IMAGES[0]} images", BASE, candidates, 20)
