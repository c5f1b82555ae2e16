"""Compare blocks with their equations, `f(w, x)` in `d2lutils.gpu_report.equations`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from halves import GLUON, PYTORCH, Build, is_float, noise, randomize

from d2lutils import parity
from d2lutils.gpu_report.equations import expected
from d2lutils.ledger import ledger

#: The ways to run a block.
ways = pytest.mark.parametrize("way", ["pytorch", "gluon", "hybridized"])


Reference = Callable[..., torch.Tensor]


def check(
    way: str,
    build: Build,
    reference: Reference,
    *inputs: tuple[int, ...] | np.ndarray,
    batches: tuple[int, ...] = (),
    bound: float = 1e-10,
) -> None:
    """Assert that a block computes its equation; the same block for all batch sizes.

    An input is an array of integers, or a shape, which stands for random numbers.

    Compares outputs in evaluation mode, in float32 and float64, and outputs and
    gradients of all inputs and parameters in training mode, in float64.
    """
    half, net = PYTORCH, randomize(build(PYTORCH))
    exact = copy.deepcopy(net).double()
    if way != "pytorch":
        half, net = GLUON, build(GLUON)
        if list(exact.parameters()):
            parity.copy_parameters(exact, net)
        net.hybridize(way == "hybridized")
    several = []
    for n in batches or (inputs[0][0],):
        shapes = [i if isinstance(i, np.ndarray) else (n, *i[1:]) for i in inputs]
        several.append([values(shape, i) for i, shape in enumerate(shapes)])
    for arrays in several:
        wanted, _ = expected(exact, reference, arrays, training=False)
        single = [a.astype("float32") if is_float(a) else a for a in arrays]
        close(half.output(net, *single), wanted, 1e-4)
    half.double(net)
    for arrays in several:
        wanted, _ = expected(exact, reference, arrays, training=False)
        close(half.output(net, *arrays), wanted, bound)
        rows = {row.tobytes() for row in wanted}
        assert len(rows) == len(wanted), "each example must have its own output"
    for arrays in several:
        wanted, gradients = expected(exact, reference, arrays, training=True)
        head = noise(*wanted.shape, seed=99, dtype="float64")
        found = half.gradients(net, *arrays, head=head)
        for one, two in zip(found, (wanted, *gradients(head)), strict=True):
            close(one, two, bound)


def values(shape: Any, seed: int) -> np.ndarray:
    if isinstance(shape, np.ndarray):
        return shape
    return noise(*shape, seed=seed, dtype="float64")


def close(found: np.ndarray, wanted: np.ndarray, bound: float = 1e-10) -> None:
    """Assert that arrays differ by at most `bound`, relative to the largest value."""
    assert found.shape == wanted.shape
    scale = max(1.0, float(np.abs(wanted).max(initial=0)))
    assert np.abs(found - wanted).max(initial=0) <= bound * scale


# -- counts ----------------------------------------------------------------------------


def multiply_adds(half: Any, build: Build, *shape: int) -> int:
    """The ledger's count for one pass of a new block."""
    return ledger(half.ready(build(half)), shape).multiply_adds


def parameters(half: Any, build: Build) -> int:
    """The number of trained parameters of a new block; no memory is allocated."""
    with torch.device("meta"):
        return sum(int(np.prod(p.shape)) for p in half.trained(build(half)))
