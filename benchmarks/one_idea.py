"""One layer whose kernel the input chooses: gates, experts, a made kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from benchmarks.cases import Case
from d2lutils.compat import mx
from d2lutils.gluon import condconv as gluon_condconv
from d2lutils.gluon import squeeze_excite as gluon_squeeze
from d2lutils.gluon import weightnet as gluon_weightnet
from d2lutils.pytorch import condconv as torch_condconv
from d2lutils.pytorch import squeeze_excite as torch_squeeze
from d2lutils.pytorch import weightnet as torch_weightnet
from d2lutils.pytorch.devices import try_gpu

BATCH, CHANNELS, SPACE = 8, 64, 16
PLAIN = "plain"


def torch_layers() -> dict[str, nn.Module]:
    """PyTorch's layers, 3x3 and without bias."""
    plain: dict[str, Any] = {"kernel_size": 3, "padding": 1, "bias": False}
    sizes = (CHANNELS, CHANNELS)
    cond, weight = torch_condconv.CondConv2d, torch_weightnet.WeightNet2d
    return {
        PLAIN: nn.Conv2d(*sizes, **plain),
        "SE": nn.Sequential(
            nn.Conv2d(*sizes, **plain), torch_squeeze.SqueezeExcite(CHANNELS)
        ),
        "CondConv, K = 4": cond(*sizes, **plain, num_experts=4),
        "CondConv, K = 8": cond(*sizes, **plain, num_experts=8),
        "WeightNet, M = G = 1": weight(*sizes, 3, padding=1, M=1, G=1),
        "WeightNet, M = G = 2": weight(*sizes, 3, padding=1, M=2, G=2),
        "WeightNet, M = 4, G = 1": weight(*sizes, 3, padding=1, M=4, G=1),
    }


def gluon_layers() -> dict[str, Any]:
    """The same in Gluon."""
    gnn = mx.gluon.nn
    sizes = (CHANNELS, CHANNELS)

    def plain() -> Any:
        return gnn.Conv2D(CHANNELS, 3, padding=1, use_bias=False, in_channels=CHANNELS)

    gated = gnn.HybridSequential()
    gated.add(plain(), gluon_squeeze.SqueezeExcite(CHANNELS))
    cond, weight = gluon_condconv.CondConv2d, gluon_weightnet.WeightNet2d
    options: dict[str, Any] = {"padding": 1, "bias": False}
    return {
        PLAIN: plain(),
        "SE": gated,
        "CondConv, K = 4": cond(*sizes, 3, num_experts=4, **options),
        "CondConv, K = 8": cond(*sizes, 3, num_experts=8, **options),
        "WeightNet, M = G = 1": weight(*sizes, 3, padding=1, M=1, G=1),
        "WeightNet, M = G = 2": weight(*sizes, 3, padding=1, M=2, G=2),
        "WeightNet, M = 4, G = 1": weight(*sizes, 3, padding=1, M=4, G=1),
    }


def torch_step(layer: nn.Module) -> Callable[[], Any]:
    """Forward and backward, on the GPU if there is one."""
    device = try_gpu()
    layer = layer.to(device)
    shape = (BATCH, CHANNELS, SPACE, SPACE)
    x = torch.randn(shape, device=device, requires_grad=True)
    grad, arrays = torch.randn_like(x), (x, *layer.parameters())

    def step() -> None:
        torch.autograd.grad(layer(x), arrays, grad)

    return step


def gluon_step(layer: Any) -> Callable[[], Any]:
    """The same in Gluon, not hybridized, so that kernels go into groups."""
    layer.initialize(mx.init.Xavier())
    x = mx.nd.random.normal(shape=(BATCH, CHANNELS, SPACE, SPACE))
    x.attach_grad()
    grad = mx.nd.random.normal(shape=x.shape)

    def step() -> None:
        with mx.autograd.record():
            y = layer(x)
        y.backward(grad)

    return step


def cases() -> Iterator[Case]:
    """Forward and backward of one layer, in both frameworks."""
    halves = {
        "pytorch": (torch_layers, torch_step),
        "gluon": (gluon_layers, gluon_step),
    }
    for half, (layers, step) in halves.items():
        steps = {name: step(layer) for name, layer in layers().items()}
        yield Case(f"{half}: forward and backward, one layer", PLAIN, steps)
