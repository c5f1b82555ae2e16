"""Converted nets, against the same nets as a public zoo wrote them in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.cases import GLUON, TORCH, Case, public_net
from d2lutils.porting import convert

BASE = "written by hand"
#: By name: the zoos' module. The nets end in an average over 7x7 positions.
NETS = {
    "resnet50": "resnet",
    "mobilenetv2_w1": "mobilenetv2",
    "densenet121": "densenet",
}
IMAGES = 4, 3, 224, 224


def cases() -> Iterator[Case]:
    """Inference, and forward with backward, where both zoos are installed."""
    for name, module in NETS.items():
        old, hand = (public_net(zoo, module, name) for zoo in ("gluoncv2", "pytorchcv"))
        if old is None or hand is None:
            continue
        old.initialize()
        old.hybridize()
        old(GLUON.array(*IMAGES, backward=False))
        new = convert.to_pytorch(old, inputs={"data": IMAGES}, compare=False).module
        x = TORCH.array(*IMAGES, backward=False)
        for backward, what in ((False, "inference"), (True, "forward and backward")):
            nets = {BASE: hand.train(backward), "converted": new.train(backward)}
            runs = {
                key: TORCH.run(net, [x], backward=backward) for key, net in nets.items()
            }
            yield Case(f"{name}: {what}, {IMAGES[0]} images", BASE, runs, 20)
