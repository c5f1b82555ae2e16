"""CondConv: every form of both frameworks, the per-example loop as the measure."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.cases import GLUON, STEP, TORCH, Case, Half, static
from d2lutils.compat import mx
from d2lutils.gluon import condconv as gluon_forms
from d2lutils.gluon import resnet as gluon_resnet
from d2lutils.gpu_report import speed
from d2lutils.gpu_report.speed import (
    EXPERTS,
    KERNEL,
    LAYERS,
    PADDING,
    PLAIN,
    TIMM,
    Size,
    shape_of,
    timm_layer,
)
from d2lutils.pytorch import condconv as torch_forms
from d2lutils.pytorch import resnet as torch_resnet
from d2lutils.pytorch.devices import try_gpu

# (batch, channels in, channels out, height and width): small batches of the middle of a
# net, larger ones, and a map where a single example keeps the machine busy.
SIZES = ((1, 64, 64, 16), (8, 64, 64, 16), (32, 64, 64, 16), (8, 64, 64, 56))
SIZES += ((32, 64, 64, 56), (8, 16, 16, 32), (8, 256, 256, 8))
# One layer with more and more experts, and what is compared there.
COUNTS, COUNTED = (1, 2, 4, 8, 16), ("folded", "mixture")
# A whole net, and what its blocks get.
NETS: dict[str, dict[str, Any]] = {
    "ResNet-20": {},
    "SE-ResNet-20": {"reduction": 16},
    "CondConv-ResNet-20, K = 4": {"num_experts": 4},
    "CondConv-ResNet-20, K = 8": {"num_experts": 8},
}

OWN: dict[str, Any] = {"pytorch": torch_forms, "gluon": gluon_forms}
LOOP = "looped"


class GluonMixing(mx.gluon.HybridBlock):
    """The forms that a graph can hold, as a block."""

    def __init__(self, form: Any, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.form, self.shape = form, shape

    def hybrid_forward(self, F: Any, x: Any, routing: Any, experts: Any) -> Any:
        window = (self.shape, (1, 1), (PADDING, PADDING), (1, 1), 1)
        return self.form(F, x, routing, experts, gluon_forms._Window(*window))


def forms(half: Half, size: Size, **options: Any) -> dict[str, Any]:
    """The forms, forward and backward; in Gluon's graph, too, where that can be."""
    batch, inputs, outputs, space = size
    shape = (EXPERTS, outputs, inputs, KERNEL, KERNEL)
    x = half.array(batch, inputs, space, space, **options)
    routing = half.array(batch, EXPERTS, uniform=True, **options)
    given = [x, routing, half.array(*shape, **options)]
    grad = half.array(batch, outputs, space, space, backward=False, **options)
    candidates = {
        name: half.run(functools.partial(form, padding=PADDING), given, grad)
        for name, form in OWN[half.name].FORMS.items()
    }
    layers = {PLAIN: half.conv(inputs, outputs)}
    if half is GLUON:
        for name in ("unfolded", "mixture"):
            block = static(GluonMixing(gluon_forms.FORMS[name].with_F, shape))
            candidates[f"{name}, hybridized"] = half.run(block, given, grad)
    elif public := timm_layer():
        more = {"padding": PADDING, "num_experts": EXPERTS}
        layers[TIMM] = public(inputs, outputs, KERNEL, **more)
    for name, layer in layers.items():
        layer = speed.placed(layer, **options) if options else layer
        taken = [x] if name == PLAIN else [x, routing]
        candidates[name] = half.run(layer, taken, grad)
    return candidates


def given_their_weights(half: Half, size: Size, train: bool) -> dict[str, Any]:
    """Layers given their routing weights; in Gluon's graph, too."""
    found, run = speed.layers(half, OWN[half.name], size, train)
    if half is GLUON:
        options: dict[str, Any] = {"padding": PADDING, "bias": False}
        options["num_experts"] = EXPERTS
        hybrid = gluon_forms.Experts2d(size[1], size[2], KERNEL, **options)
        found["auto, hybridized"] = run(static(hybrid))
    return found


def layers() -> Iterator[Case]:
    """What `form="auto"` chooses, against both forms and the public layer."""
    for size in LAYERS:
        for train, what in ((True, "forward and backward"), (False, "forward alone")):
            for half in (TORCH, GLUON):
                base = TIMM if half is TORCH and timm_layer() else "folded"
                name = f"{half.name}: layer, {what}, {shape_of(size)}"
                candidates = given_their_weights(half, size, train)
                yield Case(name, base, candidates, repeat=20)


def counts() -> dict[str, Any]:
    """Kernels mixed and answers mixed, with more and more experts."""
    x = TORCH.array(8, 64, 16, 16)
    grad = TORCH.array(8, 64, 16, 16, backward=False)
    candidates = {PLAIN: TORCH.run(TORCH.conv(64, 64), [x], grad)}
    for count in COUNTS:
        routing = TORCH.array(8, count, uniform=True)
        experts = TORCH.array(count, 64, 64, KERNEL, KERNEL)
        for name in COUNTED:
            form = functools.partial(torch_forms.FORMS[name], padding=PADDING)
            step = TORCH.run(form, [x, routing, experts], grad)
            candidates[f"{name}, K = {count}"] = step
    return candidates


def whole_nets() -> Iterator[Case]:
    """ResNet-20, plain, with gates and with experts."""
    for half, resnet in ((TORCH, torch_resnet), (GLUON, gluon_resnet)):
        runs = {"a training step": half.step, "inference": half.predict}
        for name, run in runs.items():
            nets = {}
            for label, made in NETS.items():
                net = resnet.ResNet(20, **made)
                nets[label] = run(static(net) if half is GLUON else net)
                # A graph takes the form for any batch size; without one, the net takes
                # the faster.
                if half is GLUON:
                    nets[f"{label} (imperative)"] = run(resnet.ResNet(20, **made))
            yield Case(f"{half.name}: {name}, {STEP} images", next(iter(NETS)), nets)


def cases() -> Iterator[Case]:
    """Forward and backward on all sizes, more experts, whole nets."""
    for size in SIZES:
        what = f"forward and backward, {shape_of(size)}"
        for half in (TORCH, GLUON):
            yield Case(f"{half.name}: {what}", LOOP, forms(half, size))
        if try_gpu().type != "cpu":  # pragma: needs-gpu
            halved = forms(TORCH, size, dtype=torch.bfloat16)
            yield Case(f"pytorch: {what}, bfloat16", LOOP, halved)
    yield Case("pytorch: experts, 8x64x64x16x16", PLAIN, counts())
    yield from whole_nets()
