"""CondConv: every form of both frameworks, the per-example loop as the measure."""

from __future__ import annotations

import functools
import importlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from benchmarks.cases import (
    STEP,
    ZOO,
    Case,
    gluon_array,
    gluon_pass,
    gluon_step,
    static,
    torch_array,
    torch_pass,
    torch_step,
)
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
Size = tuple[int, int, int, int]


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


def routing_weights(size: Size, backward: bool = True, **options: Any) -> Any:
    """How much each example takes of each expert, in PyTorch."""
    return torch.rand(
        size[0], EXPERTS, device=try_gpu(), requires_grad=backward, **options
    )


def torch_candidates(size: Size, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """PyTorch's forms, forward and backward, on the GPU if there is one."""
    batch, inputs, outputs, space = size
    x = torch_array(batch, inputs, space, space, dtype=dtype)
    routing = routing_weights(size, dtype=dtype)
    experts = torch_array(EXPERTS, outputs, inputs, KERNEL, KERNEL, dtype=dtype)
    grad = torch_array(batch, outputs, space, space, backward=False, dtype=dtype)
    candidates = {
        name: torch_pass(
            functools.partial(form, padding=PADDING), [x, routing, experts], grad
        )
        for name, form in torch_forms.FORMS.items()
    }
    like = {"device": try_gpu(), "dtype": dtype}
    plain = nn.Conv2d(inputs, outputs, KERNEL, padding=PADDING, bias=False).to(**like)
    candidates[PLAIN] = torch_pass(plain, [x], grad, plain.weight)
    if public := public_layer():
        options = {"padding": PADDING, "num_experts": EXPERTS}
        layer = public(inputs, outputs, KERNEL, **options).to(**like)
        candidates[PUBLIC] = torch_pass(layer, [x, routing], grad, layer.weight)
    return candidates


class GluonMixing(mx.gluon.HybridBlock):
    """The forms that a graph can hold, as a block."""

    def __init__(self, form: Any, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.form, self.shape = form, shape

    def hybrid_forward(self, F: Any, x: Any, routing: Any, experts: Any) -> Any:
        window = (self.shape, (1, 1), (PADDING, PADDING), (1, 1), 1)
        return self.form(F, x, routing, experts, gluon_forms._Window(*window))


def gluon_candidates(size: Size) -> dict[str, Any]:
    """Gluon's forms, forward and backward; in a graph, too, where that can be."""
    _, inputs, outputs, _ = size
    x, routing, grad = gluon_inputs(size)
    shape = (EXPERTS, outputs, inputs, KERNEL, KERNEL)
    experts, weight = gluon_array(*shape), gluon_array(*shape[1:])
    candidates = {
        name: gluon_pass(
            functools.partial(form, padding=PADDING), [x, routing, experts], grad
        )
        for name, form in gluon_forms.FORMS.items()
    }
    for name in ("unfolded", "mixture"):
        block = static(GluonMixing(gluon_forms.FORMS[name].with_F, shape))
        candidates[f"{name}, hybridized"] = gluon_pass(
            block, [x, routing, experts], grad
        )
    layer = {"kernel": (KERNEL,) * 2, "pad": (PADDING,) * 2, "num_filter": outputs}
    plain = functools.partial(mx.nd.Convolution, no_bias=True, **layer)
    candidates[PLAIN] = gluon_pass(plain, [x, weight], grad)
    return candidates


def gluon_inputs(size: Size) -> tuple[Any, Any, Any]:
    """Images, routing weights and the output's gradient."""
    batch, inputs, outputs, space = size
    routing = mx.nd.random.uniform(shape=(batch, EXPERTS))
    routing.attach_grad()
    x = gluon_array(batch, inputs, space, space)
    return x, routing, gluon_array(batch, outputs, space, space, backward=False)


def torch_layers(size: Size, train: bool) -> dict[str, Any]:
    """Layers given their routing weights, with their checks; timm's the same way."""
    batch, inputs, outputs, space = size
    x = torch_array(batch, inputs, space, space, backward=train)
    routing = routing_weights(size, train)
    grad = torch_array(batch, outputs, space, space, backward=False) if train else None

    def run(layer: nn.Module, *given: torch.Tensor) -> Callable[[], None]:
        return torch_pass(layer, given, grad, *layer.to(try_gpu()).parameters())

    options: dict[str, Any] = {"padding": PADDING, "bias": False}
    sizes = (inputs, outputs, KERNEL)
    found = {PLAIN: run(nn.Conv2d(*sizes, **options), x)}
    options["num_experts"] = EXPERTS
    for form in ("auto", "folded", "unfolded"):
        layer = torch_forms.CondConv2d(*sizes, **options, form=form)
        found[form] = run(layer.experts, x, routing)
    if public := public_layer():
        found[PUBLIC] = run(public(*sizes, **options), x, routing)
    return found


def gluon_layers(size: Size, train: bool) -> dict[str, Any]:
    """The same in Gluon, and in a graph."""
    _, inputs, outputs, _ = size
    x, routing, grad = gluon_inputs(size)

    def run(layer: Any, *given: Any) -> Callable[[], Any]:
        layer.initialize()
        return gluon_pass(layer, given, grad, train)

    options: dict[str, Any] = {"padding": PADDING, "use_bias": False}
    plain = mx.gluon.nn.Conv2D(outputs, KERNEL, in_channels=inputs, **options)
    found = {PLAIN: run(plain, x)}
    options = {"padding": PADDING, "bias": False, "num_experts": EXPERTS}
    for form in ("auto", "folded", "unfolded", "auto, hybridized"):
        kind, *hybrid = form.split(", ")
        layer = gluon_forms.Experts2d(inputs, outputs, KERNEL, **options, form=kind)
        found[form] = run(static(layer) if hybrid else layer, x, routing)
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
    x, grad = torch_array(8, 64, 16, 16), torch_array(8, 64, 16, 16, backward=False)
    layer = nn.Conv2d(64, 64, KERNEL, padding=PADDING, bias=False).to(try_gpu())
    candidates = {PLAIN: torch_pass(layer, [x], grad, layer.weight)}
    for count in COUNTS:
        routing = torch.rand(8, count, device=try_gpu(), requires_grad=True)
        experts = torch_array(count, 64, 64, KERNEL, KERNEL)
        for name in COUNTED:
            form = functools.partial(torch_forms.FORMS[name], padding=PADDING)
            step = torch_pass(form, [x, routing, experts], grad)
            candidates[f"{name}, K = {count}"] = step
    return candidates


def torch_predict(net: nn.Module) -> Callable[[], Any]:
    """Inference on as many images as in a training step."""
    x = torch_array(STEP, 3, 32, 32, backward=False)
    return torch_pass(net.to(try_gpu()).eval(), [x], None)


def gluon_predict(net: Any) -> Callable[[], Any]:
    """The same in Gluon."""
    net.initialize(mx.init.Xavier())
    x = gluon_array(STEP, 3, 32, 32, backward=False)
    return gluon_pass(net, [x], backward=False)


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
        nets = {}
        for label, made in NETS.items():
            nets[label] = run(static(gluon_resnet.ResNet(20, **made)))
            nets[f"{label} (imperative)"] = run(gluon_resnet.ResNet(20, **made))
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
