"""The checks of the chapter `one_idea`."""

from __future__ import annotations

from typing import Any

import numpy as np

from d2lutils.exercises import (
    by_property,
    framework,
    plain,
    require_kind,
    require_same,
    require_shape,
    wave,
)


@by_property(
    ("output", 4, 3, 3),
    ("input", 4, 3, 3),
    ("input", 2, 5, 1),
    ("output", 6, 6, 3),
    ("input", 3, 3, 5),
)
def one_idea_weightnet(answer: Any, side: str, out: int, inputs: int, k: int) -> None:
    torch = framework("pytorch")
    from d2lutils.pytorch.weightnet import WeightNet2d

    conv2d = torch.nn.functional.conv2d
    kernel = torch.from_numpy(wave(out, inputs, k, k)).float()
    x = torch.from_numpy(wave(3, inputs, 6, 5, step=0.9)).float()
    size = out if side == "output" else inputs
    gate = torch.from_numpy((1 + wave(3, size, step=2.3)) / 2).float()
    scale = gate[:, :, None, None]
    if side == "output":
        expected = conv2d(x, kernel, padding=k // 2) * scale
    else:
        expected = conv2d(x * scale, kernel, padding=k // 2)
    layer, alpha = answer(kernel.clone(), gate.clone(), side)
    require_kind(layer, WeightNet2d, "a WeightNet2d")
    with torch.no_grad():
        y = layer(x, alpha)
    require_shape(expected.shape, y)
    wrong = "the layer's output is not that of the gated convolution"
    require_same(expected, y, wrong, 1e-4, 1e-5)


def _fold_inputs() -> list[tuple[Any, ...]]:
    cases = []
    for n, out, inputs, k, eps in (
        (2, 3, 2, 3, 1e-5),
        (3, 4, 4, 1, 0.1),
        (1, 2, 5, 3, 1.0),
    ):
        steps = (0.7, 1.1, 1.3, 1.9)
        gamma, beta, mean, var = (wave(out, step=step) for step in steps)
        gate = (1 + wave(n, out, step=2.3)) / 2
        weight = wave(out, inputs, k, k)
        cases.append((weight, gamma, beta, mean, 0.5 + var**2, eps, gate))
    return cases


@by_property(_fold_inputs)
def one_idea_fold(answer: Any, *arguments: Any) -> None:
    kernels, biases = map(plain, answer(*arguments))
    weight, gamma, beta, mean, var, eps, gate = arguments
    scale = gamma / np.sqrt(var + eps)
    wanted = (gate * scale)[:, :, None, None, None] * weight
    require_shape(wanted.shape, kernels, "kernels:")
    wrong = "the kernels are not those of the folded convolution"
    require_same(wanted, kernels, wrong)
    wrong = "the kernels are right, the biases are not"
    require_same(gate * (beta - scale * mean), biases, wrong)
