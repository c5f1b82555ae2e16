"""Zero-padded sums: every way of both frameworks, and what is left in a whole net."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.cases import GLUON, STEP, TORCH, Case, Half, public_net, static
from d2lutils.compat import mx
from d2lutils.gluon import padded_sums as gluon_sums
from d2lutils.gluon import pyramidnet as gluon_net
from d2lutils.gpu_report.speed import CONCAT, SUMS, Size, sum_inputs, torch_way
from d2lutils.pytorch import padded_sums as torch_sums
from d2lutils.pytorch import pyramidnet as torch_net

#: In the zoos.
NET = "pyramidnet110_a48_cifar10"

COPY = "add to a slice in place"
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


class GluonSum(mx.gluon.HybridBlock):
    """One of Gluon's ways as a block."""

    def __init__(self, way: Any, extra: int) -> None:
        super().__init__()
        self.way, self.extra = way, extra

    def hybrid_forward(self, F: Any, x: Any, identity: Any) -> Any:
        return self.way(x, identity, self.extra)


def ways(half: Half, size: Size, backward: bool) -> dict[str, Any]:
    """A framework's ways on one size, hybridized where they can be."""
    batch, narrow, wide, space = size
    extra = wide - narrow
    inputs, grad = sum_inputs(half, size, backward)
    candidates = {}
    sums: Any = torch_sums if half is TORCH else gluon_sums
    for name, make in sums.WAYS.items():
        if half is GLUON and (name == REFUSED or (backward and name == COPY)):
            continue  # MXNet raises
        if half is TORCH:
            call: Any = torch_way(make, size)
        else:
            way = make(batch, narrow, extra, (space, space))
            call = GluonSum(way, extra)
            if name in IMPERATIVE:
                name = f"{name} (imperative)"
            else:
                static(call)
        candidates[name] = half.run(call, inputs, grad, backward)
    return candidates


def no_sum(x: Any, identity: Any, extra: int) -> Any:
    """The branch alone."""
    return x


def whole_nets() -> Iterator[Case]:
    """PyramidNet-110 with alpha 48, a training step; public implementations, too."""
    what = f"a training step of PyramidNet-110/a48, {STEP} images"
    for half, module, sums, zoo in (
        (TORCH, torch_net, torch_sums, "pytorchcv"),
        (GLUON, gluon_net, gluon_sums, "gluoncv2"),
    ):
        ours: Any = module.PyramidNet
        nets = {
            name: ours(110, 48, add=sums.WAYS[name](0, 0, 0, ()))
            for name in IN_A_NET[half.name]
        }
        # Wrong, but no way can be faster than this.
        nets[NO_SUM] = ours(110, 48, add=no_sum)
        if half is GLUON:
            nets = {name: static(net) for name, net in nets.items()}
        if public := public_net(zoo, "pyramidnet_cifar", NET):
            # Hybridized, its training fails: "could not construct a sub-memory".
            imperative = " (imperative)" if half is GLUON else ""
            nets[f"{zoo}'s own net{imperative}"] = public
            if half is GLUON:
                nets[f"{OURS} (imperative)"] = ours(110, 48)
        steps = {name: half.step(net) for name, net in nets.items()}
        yield Case(f"{half.name}: {what}", OURS, steps, repeat=20)


def cases() -> Iterator[Case]:
    """Forward, and forward with backward, on four sizes."""
    for size in SUMS:
        batch, narrow, wide, space = size
        shape = f"{batch}x({narrow}→{wide})x{space}x{space}"
        for half in (TORCH, GLUON):
            for backward, what in ((False, "forward"), (True, "forward and backward")):
                base = TRANSPOSE if half is GLUON else CONCAT if backward else COPY
                name = f"{half.name}: {what}, {shape}"
                yield Case(name, base, ways(half, size, backward))
