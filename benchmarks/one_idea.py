"""One layer whose kernel the input chooses: gates, experts, a made kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from benchmarks.cases import Case, gluon_array, gluon_pass, torch_array, torch_pass
from d2lutils.compat import mx
from d2lutils.gluon import condconv as gluon_condconv
from d2lutils.gluon import squeeze_excite as gluon_squeeze
from d2lutils.gluon import weightnet as gluon_weightnet
from d2lutils.pytorch import condconv as torch_condconv
from d2lutils.pytorch import squeeze_excite as torch_squeeze
from d2lutils.pytorch import weightnet as torch_weightnet
from d2lutils.pytorch.devices import try_gpu

SHAPE = BATCH, CHANNELS, _, _ = 8, 64, 16, 16
PLAIN = "plain"


def chosen(condconv: Any, weightnet: Any) -> dict[str, Any]:
    """Layers of either half whose kernel the input chooses, 3x3 and without bias."""
    sizes = (CHANNELS, CHANNELS, 3)
    options: dict[str, Any] = {"padding": 1, "bias": False}
    return {
        "CondConv, K = 4": condconv.CondConv2d(*sizes, num_experts=4, **options),
        "CondConv, K = 8": condconv.CondConv2d(*sizes, num_experts=8, **options),
        "WeightNet, M = G = 1": weightnet.WeightNet2d(*sizes, padding=1, M=1, G=1),
        "WeightNet, M = G = 2": weightnet.WeightNet2d(*sizes, padding=1, M=2, G=2),
        "WeightNet, M = 4, G = 1": weightnet.WeightNet2d(*sizes, padding=1, M=4, G=1),
    }


def torch_steps() -> dict[str, Any]:
    """Forward and backward in PyTorch, on the GPU if there is one."""

    def plain() -> nn.Module:
        return nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)

    gated = nn.Sequential(plain(), torch_squeeze.SqueezeExcite(CHANNELS))
    layers: dict[str, nn.Module] = {PLAIN: plain(), "SE": gated}
    layers |= chosen(torch_condconv, torch_weightnet)
    x = torch_array(*SHAPE)
    grad = torch.randn_like(x)
    return {
        name: torch_pass(layer, [x], grad, *layer.to(try_gpu()).parameters())
        for name, layer in layers.items()
    }


def gluon_steps() -> dict[str, Any]:
    """The same in Gluon, not hybridized, so that kernels go into groups."""
    gnn = mx.gluon.nn

    def plain() -> Any:
        return gnn.Conv2D(CHANNELS, 3, padding=1, use_bias=False, in_channels=CHANNELS)

    gated = gnn.HybridSequential()
    gated.add(plain(), gluon_squeeze.SqueezeExcite(CHANNELS))
    layers = {PLAIN: plain(), "SE": gated} | chosen(gluon_condconv, gluon_weightnet)
    x, grad = gluon_array(*SHAPE), gluon_array(*SHAPE, backward=False)
    for layer in layers.values():
        layer.initialize(mx.init.Xavier())
    return {name: gluon_pass(layer, [x], grad) for name, layer in layers.items()}


def cases() -> Iterator[Case]:
    """Forward and backward of one layer, in both frameworks."""
    for half, steps in (("pytorch", torch_steps), ("gluon", gluon_steps)):
        yield Case(f"{half}: forward and backward, one layer", PLAIN, steps())
