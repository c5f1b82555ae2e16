"""One layer whose kernel the input chooses: gates, experts, a made kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from benchmarks.cases import GLUON, TORCH, Case
from d2lutils.compat import mx
from d2lutils.gluon import condconv as gluon_condconv
from d2lutils.gluon import squeeze_excite as gluon_squeeze
from d2lutils.gluon import weightnet as gluon_weightnet
from d2lutils.pytorch import condconv as torch_condconv
from d2lutils.pytorch import squeeze_excite as torch_squeeze
from d2lutils.pytorch import weightnet as torch_weightnet

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


def cases() -> Iterator[Case]:
    """Forward and backward of one layer; Gluon not hybridized: kernels into groups."""
    gluon_gated = mx.gluon.nn.HybridSequential()
    torch_gated = nn.Sequential()
    for half, gated, squeeze, modules in (
        (TORCH, torch_gated, torch_squeeze, (torch_condconv, torch_weightnet)),
        (GLUON, gluon_gated, gluon_squeeze, (gluon_condconv, gluon_weightnet)),
    ):
        add = gated.append if half is TORCH else gated.add
        add(half.conv(CHANNELS, CHANNELS))
        add(squeeze.SqueezeExcite(CHANNELS))
        layers = {PLAIN: half.conv(CHANNELS, CHANNELS), "SE": gated}
        layers |= chosen(*modules)
        x, grad = half.array(*SHAPE), half.array(*SHAPE, backward=False)
        steps = {name: half.run(layer, [x], grad) for name, layer in layers.items()}
        yield Case(f"{half.name}: forward and backward, one layer", PLAIN, steps)
