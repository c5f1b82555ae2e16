"""CondConv: every form of both frameworks, the per-example loop as the measure."""

from __future__ import annotations

import functools
import importlib
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.cases import Case
from benchmarks.shortcuts import STEP, gluon_step, torch_step
from d2lutils.compat import mx
from d2lutils.gluon import condconv as gluon_forms
from d2lutils.gluon import resnet as gluon_resnet
from d2lutils.pytorch import condconv as torch_forms
from d2lutils.pytorch import resnet as torch_resnet
from d2lutils.pytorch.devices import try_gpu

# (batch, channels in, channels out, height and width): small batches of the middle of a
# net, larger ones, and a map where a single example keeps the machine busy.
SIZES = ((1, 64, 64, 16), (8, 64, 64, 16), (32, 64, 64, 16), (8, 64, 64, 56))
SIZES += ((32, 64, 64, 56), (8, 16, 16, 32), (8, 256, 256, 8))
EXPERTS, KERNEL, PADDING = 4, 3, 1
# One layer with more and more experts, and what is compared there.
COUNTS, COUNTED = (1, 2, 4, 8, 16), ("folded", "mixture")
# A whole net, and what its blocks get.
NETS: dict[str, dict[str, Any]] = {
    "ResNet-20": {},
    "SE-ResNet-20": {"reduction": 16},
    "CondConv-ResNet-20, K = 4": {"num_experts": 4},
    "CondConv-ResNet-20, K = 8": {"num_experts": 8},
}

# Whole layers against a public one: from large maps to small, from few channels to
# many, and two sizes near the point where the faster form changes.
LAYERS = ((8, 16, 16, 32), (8, 64, 64, 56), (8, 64, 64, 16), (32, 64, 64, 16))
LAYERS += ((8, 256, 256, 14), (8, 128, 128, 8), (8, 256, 256, 8), (32, 256, 256, 8))
LAYERS += ((8, 512, 512, 7),)

LOOP, PLAIN = "looped", "plain convolution (for scale)"
PUBLIC = "timm's CondConv2d"
ZOO = Path(__file__).parents[1] / ".venv" / "zoo"


def public_layer() -> Any:
    """timm's layer, without the rest of timm; None where it is not installed."""
    if not (ZOO / "timm").exists():
        return None
    for name in ("timm", "timm.layers"):
        # Its own __init__ would import torchvision and all of its models.
        package = types.ModuleType(name)
        package.__path__ = [str(ZOO / name.replace(".", "/"))]
        sys.modules.setdefault(name, package)
    try:
        return importlib.import_module("timm.layers.cond_conv2d").CondConv2d
    except ImportError:
        return None


def torch_candidates(
    size: tuple[int, int, int, int], dtype: torch.dtype = torch.float32
) -> dict[str, Any]:
    """PyTorch's forms, forward and backward, on the GPU if there is one."""
    batch, inputs, outputs, space = size
    like = {"device": try_gpu(), "dtype": dtype}
    x = torch.randn(batch, inputs, space, space, requires_grad=True, **like)
    routing = torch.rand(batch, EXPERTS, requires_grad=True, **like)
    shape = (EXPERTS, outputs, inputs, KERNEL, KERNEL)
    experts = torch.randn(shape, requires_grad=True, **like)
    grad = torch.randn(batch, outputs, space, space, **like)

    def step(form: Any, *weights: Any) -> Callable[[], Any]:
        def run() -> None:
            torch.autograd.grad(form(), (x, *weights), grad)

        return run

    def mixing(form: Any) -> Callable[[], Any]:
        def run() -> Any:
            return form(x, routing, experts, padding=PADDING)

        return step(run, routing, experts)

    candidates = {name: mixing(form) for name, form in torch_forms.FORMS.items()}
    plain = nn.Conv2d(inputs, outputs, KERNEL, padding=PADDING, bias=False).to(**like)
    candidates[PLAIN] = step(lambda: plain(x), plain.weight)
    public = public_layer()
    if public is not None:
        layer = public(
            inputs, outputs, KERNEL, padding=PADDING, num_experts=EXPERTS
        ).to(**like)
        candidates[PUBLIC] = step(lambda: layer(x, routing), routing, layer.weight)
    return candidates


class GluonMixing(mx.gluon.HybridBlock):
    """The forms that a graph can hold, as a block."""

    def __init__(self, form: Any, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.form, self.shape = form, shape

    def hybrid_forward(self, F: Any, x: Any, routing: Any, experts: Any) -> Any:
        window = (self.shape, (1, 1), (PADDING, PADDING), (1, 1), 1)
        return self.form(F, x, routing, experts, gluon_forms._Window(*window))


def gluon_candidates(size: tuple[int, int, int, int]) -> dict[str, Any]:
    """Gluon's forms, forward and backward; in a graph, too, where that can be."""
    batch, inputs, outputs, space = size
    x = mx.nd.random.normal(shape=(batch, inputs, space, space))
    routing = mx.nd.random.uniform(shape=(batch, EXPERTS))
    shape = (EXPERTS, outputs, inputs, KERNEL, KERNEL)
    experts = mx.nd.random.normal(shape=shape)
    weight = mx.nd.random.normal(shape=shape[1:])
    for array in (x, routing, experts, weight):
        array.attach_grad()
    grad = mx.nd.random.normal(shape=(batch, outputs, space, space))

    def step(form: Any, *arrays: Any) -> Callable[[], Any]:
        def run() -> None:
            with mx.autograd.record():
                out = form(*arrays)
            out.backward(grad)

        return run

    def padded(form: Any) -> Any:
        return lambda *arrays: form(*arrays, padding=PADDING)

    candidates = {
        name: step(padded(form), x, routing, experts)
        for name, form in gluon_forms.FORMS.items()
    }
    for name in ("unfolded", "mixture"):
        block = GluonMixing(gluon_forms.FORMS[name].with_F, shape)
        block.hybridize(static_alloc=True, static_shape=True)
        candidates[f"{name}, hybridized"] = step(block, x, routing, experts)
    layer = {"kernel": (KERNEL,) * 2, "pad": (PADDING,) * 2, "num_filter": outputs}

    def plain(x: Any, weight: Any) -> Any:
        return mx.nd.Convolution(x, weight, no_bias=True, **layer)

    candidates[PLAIN] = step(plain, x, weight)
    return candidates


def torch_layers(size: tuple[int, int, int, int], train: bool) -> dict[str, Any]:
    """Layers given their routing weights, with their checks; timm's the same way."""
    batch, inputs, outputs, space = size
    device = try_gpu()
    x = torch.randn(batch, inputs, space, space, device=device, requires_grad=train)
    routing = torch.rand(batch, EXPERTS, device=device, requires_grad=train)
    grad = torch.randn(batch, outputs, space, space, device=device)

    def run(layer: nn.Module, *given: torch.Tensor) -> Callable[[], Any]:
        layer.to(device)
        wanted = (*given, *layer.parameters())

        def once() -> None:
            with torch.set_grad_enabled(train):
                y = layer(*given)
            if train:
                torch.autograd.grad(y, wanted, grad)

        return once

    options: dict[str, Any] = {"padding": PADDING, "bias": False}
    sizes = (inputs, outputs, KERNEL)
    found = {PLAIN: run(nn.Conv2d(*sizes, **options), x)}
    options["num_experts"] = EXPERTS
    for form in ("auto", "folded", "unfolded"):
        layer = torch_forms.CondConv2d(*sizes, **options, form=form)
        found[form] = run(layer.experts, x, routing)
    public = public_layer()
    if public is not None:
        found[PUBLIC] = run(public(*sizes, **options), x, routing)
    return found


def gluon_layers(size: tuple[int, int, int, int], train: bool) -> dict[str, Any]:
    """The same in Gluon, and in a graph."""
    batch, inputs, outputs, space = size
    x = mx.nd.random.normal(shape=(batch, inputs, space, space))
    routing = mx.nd.random.uniform(shape=(batch, EXPERTS))
    grad = mx.nd.random.normal(shape=(batch, outputs, space, space))
    for array in (x, routing):
        array.attach_grad()

    def run(layer: Any, *given: Any) -> Callable[[], Any]:
        layer.initialize()

        def once() -> None:
            if not train:
                layer(*given)
                return
            with mx.autograd.record():
                y = layer(*given)
            y.backward(grad)

        return once

    plain = {"padding": PADDING, "use_bias": False, "in_channels": inputs}
    found = {PLAIN: run(mx.gluon.nn.Conv2D(outputs, KERNEL, **plain), x)}
    options: dict[str, Any] = {"padding": PADDING, "bias": False}
    options["num_experts"] = EXPERTS
    for form in ("auto", "folded", "unfolded", "auto, hybridized"):
        kind, *hybrid = form.split(", ")
        layer = gluon_forms.Experts2d(inputs, outputs, KERNEL, **options, form=kind)
        if hybrid:
            layer.hybridize(static_alloc=True, static_shape=True)
        found[form] = run(layer, x, routing)
    return found


def layers() -> Iterator[Case]:
    """What `form="auto"` chooses, against both forms and the public layer."""
    for size in LAYERS:
        shape = "x".join(map(str, (*size, size[-1])))
        for train, what in ((True, "forward and backward"), (False, "forward alone")):
            for half, make in (("pytorch", torch_layers), ("gluon", gluon_layers)):
                base = PUBLIC if half == "pytorch" and public_layer() else "folded"
                name = f"{half}: layer, {what}, {shape}"
                yield Case(name, base, make(size, train), repeat=20)


def torch_counts() -> dict[str, Any]:
    """Kernels mixed and answers mixed, with more and more experts."""
    device = try_gpu()
    x = torch.randn(8, 64, 16, 16, device=device, requires_grad=True)
    grad = torch.randn_like(x)
    layer = nn.Conv2d(64, 64, KERNEL, padding=PADDING, bias=False).to(device)

    def step(form: Any, *weights: Any) -> Callable[[], Any]:
        def run() -> None:
            torch.autograd.grad(form(x, *weights), (x, *weights), grad)

        return run

    candidates = {PLAIN: step(lambda x, weight: layer(x), layer.weight)}
    for count in COUNTS:
        routing = torch.rand(8, count, device=device, requires_grad=True)
        shape = (count, 64, 64, KERNEL, KERNEL)
        experts = torch.randn(shape, device=device, requires_grad=True)
        for name in COUNTED:
            form = functools.partial(torch_forms.FORMS[name], padding=PADDING)
            candidates[f"{name}, K = {count}"] = step(form, routing, experts)
    return candidates


def torch_predict(net: nn.Module) -> Callable[[], Any]:
    """Inference on as many images as in a training step."""
    device = try_gpu()
    net = net.to(device).eval()
    x = torch.randn(STEP, 3, 32, 32, device=device)

    def run() -> None:
        with torch.no_grad():
            net(x)

    return run


def gluon_predict(net: Any, hybrid: bool = True) -> Callable[[], Any]:
    """The same in Gluon."""
    net.initialize(mx.init.Xavier())
    if hybrid:
        net.hybridize(static_alloc=True, static_shape=True)
    x = mx.nd.random.normal(shape=(STEP, 3, 32, 32))
    return lambda: net(x)


def whole_nets() -> Iterator[Case]:
    """ResNet-20, plain, with gates and with experts."""
    base = next(iter(NETS))
    for name, run in (("a training step", torch_step), ("inference", torch_predict)):
        nets = {
            label: run(torch_resnet.ResNet(20, **made)) for label, made in NETS.items()
        }
        yield Case(f"pytorch: {name}, {STEP} images", base, nets)
    # A graph takes the form for any batch size; without one, the net takes the faster.
    for name, run in (("a training step", gluon_step), ("inference", gluon_predict)):
        nets = {
            label + note: run(gluon_resnet.ResNet(20, **made), hybrid)
            for label, made in NETS.items()
            for hybrid, note in ((True, ""), (False, " (imperative)"))
        }
        yield Case(f"gluon: {name}, {STEP} images", base, nets)


def cases() -> Iterator[Case]:
    """Forward and backward on all sizes, more experts, whole nets."""
    for size in SIZES:
        shape = "x".join(map(str, (*size, size[-1])))
        for half, make in (("pytorch", torch_candidates), ("gluon", gluon_candidates)):
            yield Case(f"{half}: forward and backward, {shape}", LOOP, make(size))
        if try_gpu().type != "cpu":  # pragma: needs-gpu
            halved = torch_candidates(size, torch.bfloat16)
            yield Case(
                f"pytorch: forward and backward, {shape}, bfloat16", LOOP, halved
            )
    yield Case("pytorch: experts, 8x64x64x16x16", PLAIN, torch_counts())
    yield from whole_nets()
