"""Zero-padded sums: every way of both frameworks, and what is left in a whole net."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.cases import Case
from d2lutils.compat import mx
from d2lutils.gluon import padded_sums as gluon_sums
from d2lutils.gluon import pyramidnet as gluon_net
from d2lutils.pytorch import padded_sums as torch_sums
from d2lutils.pytorch import pyramidnet as torch_net
from d2lutils.pytorch.devices import try_gpu

# (batch, channels of the identity, channels of the sum, height and width). The first
# doubles the width, as a classic ResNet does; the next two are blocks of PyramidNet-110
# with alpha 48; the last has its smallest map and a wider step than it ever takes.
SIZES = ((64, 32, 64, 32), (128, 17, 18, 32), (128, 40, 41, 16), (128, 60, 64, 8))
STEP = 16  # examples in a training step of the whole net

COPY = "add to a slice in place"
CONCAT = "concatenate, sized ahead"
TRANSPOSE = "transpose, pad, transpose"
OURS = "add_zero_padded"
NO_SUM = "no sum where channels are added (for scale)"
# What MXNet can do only outside a graph (gluon.padded_sums.capabilities shows why).
IMPERATIVE = {CONCAT, "autograd.Function"}
IN_A_NET = {
    "gluon": (TRANSPOSE, "pad a view (N, 1, C, S)", "custom operator", OURS),
    "pytorch": (CONCAT, COPY, "pad the channel axis", OURS),
}

ZOO = Path(__file__).parents[1] / ".venv" / "zoo"


def torch_ways(size: tuple[int, int, int, int], backward: bool) -> dict[str, Any]:
    """PyTorch's ways on one size, on the GPU if there is one."""
    batch, narrow, wide, space = size
    device = try_gpu()
    x = torch.randn(batch, wide, space, space, device=device, requires_grad=backward)
    identity = torch.randn(batch, narrow, space, space, device=device)
    identity.requires_grad_(backward)
    grad = torch.randn_like(x)

    def forward(way: Any) -> Callable[[], Any]:
        def run() -> None:
            with torch.no_grad():
                way(x, identity, wide - narrow)

        return run

    def both(way: Any) -> Callable[[], Any]:
        def run() -> None:
            out = way(x, identity, wide - narrow)
            torch.autograd.grad(out, (x, identity), grad)

        return run

    made = {
        name: make(batch, narrow, wide - narrow, (space, space))
        for name, make in torch_sums.WAYS.items()
    }
    for way in made.values():
        if isinstance(way, nn.Module):
            way.to(device)
    return {name: (both if backward else forward)(way) for name, way in made.items()}


class GluonSum(mx.gluon.HybridBlock):
    """One of Gluon's ways as a block."""

    def __init__(self, way: Any, extra: int) -> None:
        super().__init__()
        self.way, self.extra = way, extra

    def hybrid_forward(self, F: Any, x: Any, identity: Any) -> Any:
        return self.way(x, identity, self.extra)


def gluon_ways(size: tuple[int, int, int, int], backward: bool) -> dict[str, Any]:
    """Gluon's ways on one size, hybridized where they can be."""
    batch, narrow, wide, space = size
    x = mx.nd.random.normal(shape=(batch, wide, space, space))
    identity = mx.nd.random.normal(shape=(batch, narrow, space, space))
    x.attach_grad()
    identity.attach_grad()
    grad = mx.nd.random.normal(shape=x.shape)

    def forward(block: Any) -> Callable[[], Any]:
        return lambda: block(x, identity)

    def both(block: Any) -> Callable[[], Any]:
        def run() -> None:
            with mx.autograd.record():
                out = block(x, identity)
            out.backward(grad)

        return run

    candidates = {}
    for name, make in gluon_sums.WAYS.items():
        if name == "pad the channel axis" or (backward and name == COPY):
            continue  # refused by MXNet
        way = make(batch, narrow, wide - narrow, (space, space))
        block = GluonSum(way, wide - narrow)
        block.initialize()
        imperative = name in IMPERATIVE | {COPY}
        if not imperative:
            block.hybridize(static_alloc=True, static_shape=True)
        label = f"{name} (imperative)" if imperative else name
        candidates[label] = (both if backward else forward)(block)
    return candidates


def torch_step(net: nn.Module) -> Callable[[], Any]:
    """A training step on random images: forward, backward, SGD with momentum."""
    device = try_gpu()
    net = net.to(device).train()
    x = torch.randn(STEP, 3, 32, 32, device=device)
    y = torch.randint(10, (STEP,), device=device)
    sgd = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9)

    def step() -> None:
        sgd.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        sgd.step()

    return step


def gluon_step(net: Any, hybrid: bool = True) -> Callable[[], Any]:
    """The same step in Gluon."""
    net.initialize(mx.init.Xavier())
    if hybrid:
        net.hybridize(static_alloc=True, static_shape=True)
    x = mx.nd.random.normal(shape=(STEP, 3, 32, 32))
    y = mx.nd.random.randint(0, 10, (STEP,))
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    options = {"learning_rate": 1e-3, "momentum": 0.9}
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", options)

    def step() -> None:
        with mx.autograd.record():
            value = loss(net(x), y).mean()
        value.backward()
        trainer.step(1)

    return step


def no_sum(x: Any, identity: Any, extra: int) -> Any:
    """The branch alone."""
    return x


def whole_nets() -> Iterator[Case]:
    """PyramidNet-110 with alpha 48, a training step; public implementations, too."""
    halves = {
        "pytorch": (torch_net, torch_sums, torch_step, "pytorchcv"),
        "gluon": (gluon_net, gluon_sums, gluon_step, "gluoncv2"),
    }
    for half, (nets, sums, step, package) in halves.items():
        candidates = {}
        for name in IN_A_NET[half]:
            way = sums.WAYS[name](0, 0, 0, ())
            candidates[name] = step(nets.PyramidNet(110, 48, add=way))
        # Wrong, but no way can be faster than this.
        candidates[NO_SUM] = step(nets.PyramidNet(110, 48, add=no_sum))
        public = public_net(package)
        if public is not None and half == "pytorch":
            candidates[f"{package}'s own net"] = step(public)
        elif public is not None:
            # Hybridized, its training fails: "could not construct a sub-memory".
            candidates[f"{package}'s own net (imperative)"] = step(public, False)
            ours = gluon_net.PyramidNet(110, 48)
            candidates[f"{OURS} (imperative)"] = step(ours, False)
        name = f"{half}: a training step of PyramidNet-110/a48, {STEP} images"
        yield Case(name, OURS, candidates, repeat=20)


def public_net(package: str) -> Any:
    """PyramidNet-110/a48 of a public model zoo, or None where it is not installed."""
    try:
        zoo = importlib.import_module(f"{package}.models.pyramidnet_cifar")
    except ImportError:
        if str(ZOO) in sys.path or not ZOO.exists():
            return None
        sys.path.append(str(ZOO))
        return public_net(package)
    return zoo.pyramidnet110_a48_cifar10()


def cases() -> Iterator[Case]:
    """Forward, and forward with backward, on four sizes."""
    for size in SIZES:
        batch, narrow, wide, space = size
        shape = f"{batch}x({narrow}→{wide})x{space}x{space}"
        yield Case(f"pytorch: forward, {shape}", COPY, torch_ways(size, False))
        yield Case(
            f"pytorch: forward and backward, {shape}", CONCAT, torch_ways(size, True)
        )
        yield Case(f"gluon: forward, {shape}", TRANSPOSE, gluon_ways(size, False))
        yield Case(
            f"gluon: forward and backward, {shape}", TRANSPOSE, gluon_ways(size, True)
        )
