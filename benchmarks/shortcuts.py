"""Zero-padded sums: every way of both frameworks, and what is left in a whole net."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
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
from d2lutils.gluon import padded_sums as gluon_sums
from d2lutils.gluon import pyramidnet as gluon_net
from d2lutils.pytorch import padded_sums as torch_sums
from d2lutils.pytorch import pyramidnet as torch_net
from d2lutils.pytorch.devices import try_gpu

# (batch, channels of the identity, channels of the sum, height and width). The first
# doubles the width, as a classic ResNet does; the next two are blocks of PyramidNet-110
# with alpha 48; the last has its smallest map and a wider step than it ever takes.
SIZES = ((64, 32, 64, 32), (128, 17, 18, 32), (128, 40, 41, 16), (128, 60, 64, 8))

COPY = "add to a slice in place"
CONCAT = "concatenate, sized ahead"
TRANSPOSE = "transpose, pad, transpose"
REFUSED = "pad the channel axis"
OURS = "add_zero_padded"
NO_SUM = "no sum where channels are added (for scale)"
# What MXNet can do only outside a graph (gluon.padded_sums.capabilities shows why).
IMPERATIVE = {CONCAT, COPY, "autograd.Function"}
IN_A_NET = {
    "gluon": (TRANSPOSE, "pad a view (N, 1, C, S)", "custom operator", OURS),
    "pytorch": (CONCAT, COPY, REFUSED, OURS),
}
Size = tuple[int, int, int, int]


def torch_ways(size: Size, backward: bool) -> dict[str, Any]:
    """PyTorch's ways on one size, on the GPU if there is one."""
    batch, narrow, wide, space = size
    x = torch_array(batch, wide, space, space, backward=backward)
    identity = torch_array(batch, narrow, space, space, backward=backward)
    grad = torch.randn_like(x) if backward else None
    extra = wide - narrow

    def run(way: Any) -> Any:
        if isinstance(way, nn.Module):
            way.to(try_gpu())
        return torch_pass(lambda x, y: way(x, y, extra), [x, identity], grad)

    return {
        name: run(make(batch, narrow, extra, (space, space)))
        for name, make in torch_sums.WAYS.items()
    }


class GluonSum(mx.gluon.HybridBlock):
    """One of Gluon's ways as a block."""

    def __init__(self, way: Any, extra: int) -> None:
        super().__init__()
        self.way, self.extra = way, extra

    def hybrid_forward(self, F: Any, x: Any, identity: Any) -> Any:
        return self.way(x, identity, self.extra)


def gluon_ways(size: Size, backward: bool) -> dict[str, Any]:
    """Gluon's ways on one size, hybridized where they can be."""
    batch, narrow, wide, space = size
    inputs = [gluon_array(batch, n, space, space) for n in (wide, narrow)]
    grad = gluon_array(*inputs[0].shape, backward=False)
    candidates = {}
    for name, make in gluon_sums.WAYS.items():
        if name == REFUSED or (backward and name == COPY):
            continue  # MXNet raises
        way = make(batch, narrow, wide - narrow, (space, space))
        block = GluonSum(way, wide - narrow)
        block.initialize()
        if name in IMPERATIVE:
            name = f"{name} (imperative)"
        else:
            static(block)
        candidates[name] = gluon_pass(block, inputs, grad, backward)
    return candidates


def no_sum(x: Any, identity: Any, extra: int) -> Any:
    """The branch alone."""
    return x


def whole_nets() -> Iterator[Case]:
    """PyramidNet-110 with alpha 48, a training step; public implementations, too."""
    name = f"a training step of PyramidNet-110/a48, {STEP} images"
    ours, ways = torch_net.PyramidNet, torch_sums.WAYS
    nets = {n: ours(110, 48, add=ways[n](0, 0, 0, ())) for n in IN_A_NET["pytorch"]}
    # Wrong, but no way can be faster than this.
    nets[NO_SUM] = ours(110, 48, add=no_sum)
    if public := public_net("pytorchcv"):
        nets["pytorchcv's own net"] = public
    steps = {name: torch_step(net) for name, net in nets.items()}
    yield Case(f"pytorch: {name}", OURS, steps, repeat=20)

    ours, ways = gluon_net.PyramidNet, gluon_sums.WAYS
    nets = {n: ours(110, 48, add=ways[n](0, 0, 0, ())) for n in IN_A_NET["gluon"]}
    nets[NO_SUM] = ours(110, 48, add=no_sum)
    nets = {name: static(net) for name, net in nets.items()}
    if public := public_net("gluoncv2"):
        # Hybridized, its training fails: "could not construct a sub-memory".
        nets["gluoncv2's own net (imperative)"] = public
        nets[f"{OURS} (imperative)"] = ours(110, 48)
    steps = {name: gluon_step(net) for name, net in nets.items()}
    yield Case(f"gluon: {name}", OURS, steps, repeat=20)


def public_net(package: str) -> Any:
    """PyramidNet-110/a48 of a public model zoo, or None where it is not installed."""
    if str(ZOO) not in sys.path:
        sys.path.append(str(ZOO))
    try:
        zoo = importlib.import_module(f"{package}.models.pyramidnet_cifar")
    except ImportError:
        return None
    return zoo.pyramidnet110_a48_cifar10()


def cases() -> Iterator[Case]:
    """Forward, and forward with backward, on four sizes."""
    for size in SIZES:
        batch, narrow, wide, space = size
        shape = f"{batch}x({narrow}→{wide})x{space}x{space}"
        passes = ((False, "forward"), (True, "forward and backward"))
        for backward, what in passes:
            base = CONCAT if backward else COPY
            yield Case(f"pytorch: {what}, {shape}", base, torch_ways(size, backward))
        for backward, what in passes:
            made = gluon_ways(size, backward)
            yield Case(f"gluon: {what}, {shape}", TRANSPOSE, made)
