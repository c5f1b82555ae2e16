"""From Python to a graph: what hybridizing and compiling gain, as ratios."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from benchmarks.cases import GLUON, TORCH, Case
from d2lutils.compat import mx
from d2lutils.gluon.blocks import ConvChunk as GluonChunk
from d2lutils.gluon.nin import NiN as GluonNiN
from d2lutils.pytorch.blocks import ConvChunk as TorchChunk
from d2lutils.pytorch.devices import try_gpu
from d2lutils.pytorch.nin import NiN as TorchNiN

DEPTH = 60  # tiny layers in a chain
TINY = f"a chain of {DEPTH} tiny layers"
SHAPES = {
    TINY: (1, 8),
    "four chunks": (16, 16, 16, 16),
    "NiN": (8, 1, 99, 99),
}
GRAPHS: dict[str, dict[str, bool]] = {
    "hybridized": {},
    "static_alloc": {"static_alloc": True},
    "static_alloc and static_shape": {"static_alloc": True, "static_shape": True},
}


def gluon_net(name: str) -> Any:
    """One of the three nets."""
    if name == "NiN":
        return GluonNiN(widths=(16, 24, 32))
    net = mx.gluon.nn.HybridSequential()
    for _ in range(DEPTH if name == TINY else 4):
        if name == TINY:
            net.add(mx.gluon.nn.Dense(8, in_units=8, activation="relu"))
        else:
            net.add(GluonChunk(16, 16, 3, rank=2))
    return net


def torch_net(name: str) -> nn.Module:
    """The same nets, on the GPU if there is one."""
    if name == "NiN":
        return TorchNiN(widths=(16, 24, 32)).to(try_gpu())
    net = nn.Sequential()
    for _ in range(DEPTH if name == TINY else 4):
        if name == TINY:
            net.extend([nn.Linear(8, 8), nn.ReLU()])
        else:
            net.append(TorchChunk(16, 16, 3, rank=2))
    return net.to(try_gpu())


class AfterMask(mx.gluon.HybridBlock):
    """Choose rows, as many as the mask says, then run a net on them."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def hybrid_forward(self, F: Any, x: Any, mask: Any) -> Any:
        return self.net(F.contrib.boolean_mask(x, mask))


def gluon_runs(make: Callable[[], Any], inputs: Any, backward: bool) -> dict[str, Any]:
    """The net imperatively, and as a graph with each option."""
    candidates = {"imperative": GLUON.run(make(), inputs, backward=backward)}
    for label, options in GRAPHS.items():
        net = make()
        net.hybridize(**options)
        candidates[label] = GLUON.run(net, inputs, backward=backward)
    return candidates


def backends() -> list[str]:
    """What `torch.compile` can be measured with on this machine."""
    compilers = os.environ.get("CXX", "g++"), "clang++"
    if any(map(shutil.which, compilers)):
        return ["aot_eager", "inductor"]
    print("inductor is left out: no C++ compiler was found", flush=True)
    return ["aot_eager"]


def torch_runs(name: str, backward: bool) -> dict[str, Any]:
    """The net eagerly, and compiled."""
    x = TORCH.array(*SHAPES[name], backward=False)
    nets: dict[str, Any] = {"eager": torch_net(name)}
    for backend in backends():
        nets[backend] = torch.compile(torch_net(name).train(backward), backend=backend)
    return {
        label: TORCH.run(net.train(backward), [x], backward=backward)
        for label, net in nets.items()
    }


def gluon_first() -> dict[str, Any]:
    """A call of an imperative net, and the first one of a hybridized net."""
    net, x = gluon_net("four chunks"), mx.nd.ones(SHAPES["four chunks"])
    graph = gluon_net("four chunks")
    net.initialize()
    graph.initialize()

    def first() -> None:
        graph.hybridize()  # forgets the graph
        graph(x)

    return {"imperative": lambda: net(x), "hybridized, first call": first}


def torch_first() -> dict[str, Any]:
    """A call of an eager net, and the first one of a compiled net."""
    from torch._inductor import config

    net = torch_net("four chunks").eval()
    x = TORCH.array(*SHAPES["four chunks"], backward=False)

    def first(backend: str) -> Callable[[], None]:
        def run() -> None:
            torch.compiler.reset()
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")  # caches are off: that is meant
                with config.patch(force_disable_caches=True):
                    torch.compile(net, backend=backend)(x)

        return run

    candidates: dict[str, Any] = {"eager": TORCH.run(net, [x], backward=False)}
    for backend in backends():
        candidates[f"{backend}, first call"] = first(backend)
    return candidates


def cases() -> Iterator[Case]:
    """Three nets, forward and with backward; a dynamic shape; the first call."""
    for name, shape in SHAPES.items():
        for backward in (False, True):
            torch.compiler.reset()
            what = "forward and backward" if backward else "forward"
            x = GLUON.array(*shape, backward=False)

            def make(name: str = name) -> Any:
                return gluon_net(name)

            gluon = gluon_runs(make, (x,), backward)
            yield Case(f"gluon: {name}, {what}", "imperative", gluon)
            yield Case(f"pytorch: {name}, {what}", "eager", torch_runs(name, backward))
    inputs = mx.nd.ones((2, 8)), mx.nd.array([0, 1])
    masked = gluon_runs(lambda: AfterMask(gluon_net(TINY)), inputs, False)
    yield Case(f"gluon: {TINY} behind a boolean_mask, forward", "imperative", masked)
    yield Case("gluon: first call, four chunks", "imperative", gluon_first())
    yield Case("pytorch: first call, four chunks", "eager", torch_first(), repeat=3)
