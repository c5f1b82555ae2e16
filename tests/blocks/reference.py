"""Compare blocks with references, which are papers' equations in plain PyTorch.

A reference is a function `f(w, x)`. It does not call the package's blocks; it takes
their parameters from `w`, in the order of the layers, with the shapes that it expects.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from halves import GLUON, PYTORCH, Build, is_float, noise, randomize

from d2lutils import parity
from d2lutils.ledger import ledger

#: The ways to run a block.
ways = pytest.mark.parametrize("way", ["pytorch", "gluon", "hybridized"])


class Weights:
    """The parameters and running statistics of a net, in order."""

    def __init__(self, net: Any, training: bool) -> None:
        tensors = net.state_dict(keep_vars=True).values()
        self.tensors = [t for t in tensors if t.is_floating_point()]
        self.training = training

    def __call__(self, *shape: int) -> torch.Tensor:
        """The next tensor, which must have this shape."""
        tensor = self.tensors.pop(0)
        assert tuple(tensor.shape) == shape
        return tensor

    def conv(
        self,
        x: torch.Tensor,
        channels: int,
        size: int,
        bias: bool = False,
        **window: Any,
    ) -> torch.Tensor:
        """A convolution with a kernel of `size` along each of 1 or 2 axes."""
        rank = x.ndim - 2
        kernel = self(channels, x.shape[1], *(size,) * rank)
        shift = self(channels) if bias else None
        return getattr(torch, f"conv{rank}d")(x, kernel, shift, **window)

    def norm(self, z: torch.Tensor) -> torch.Tensor:
        """Batch normalisation (Ioffe and Szegedy, 2015, algorithm 1), eps 1e-5."""
        gain, shift, mean, variance = (self(z.shape[1]) for _ in range(4))
        axes = [0, *range(2, z.ndim)]
        if self.training:
            mean, variance = z.mean(axes), z.var(axes, unbiased=False)
        scale = gain / (variance + 1e-5).sqrt()
        shift = shift - mean * scale
        shape = (-1,) + (1,) * (z.ndim - 2)
        return z * scale.reshape(shape) + shift.reshape(shape)

    def linear(self, x: torch.Tensor, outputs: int) -> torch.Tensor:
        return x @ self(outputs, x.shape[1]).T + self(outputs)


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


def expected(net: Any, reference: Reference, arrays: Any, training: bool) -> Any:
    """The reference's output with a net's parameters, and a function for gradients."""
    weights = Weights(net, training)
    given = [torch.tensor(a, requires_grad=is_float(a)) for a in arrays]
    y = reference(weights, *given)
    assert weights.tensors == [], "the block has more parameters than its equation"

    def gradients(head: np.ndarray) -> list[np.ndarray]:
        inputs = [*(t for t in given if t.requires_grad), *net.parameters()]
        options = {"allow_unused": True, "materialize_grads": True}
        found = torch.autograd.grad(y, inputs, torch.tensor(head), **options)
        return [t.numpy() for t in found]

    return y.detach().numpy(), gradients


def close(found: np.ndarray, wanted: np.ndarray, bound: float = 1e-10) -> None:
    """Assert that arrays differ by at most `bound`, relative to the largest value."""
    assert found.shape == wanted.shape
    scale = max(1.0, float(np.abs(wanted).max(initial=0)))
    assert np.abs(found - wanted).max(initial=0) <= bound * scale


def zeros_behind(x: torch.Tensor, channels: int) -> torch.Tensor:
    """x with zeros appended up to this number of channels."""
    extra = x.new_zeros(x.shape[0], channels - x.shape[1], *x.shape[2:])
    return torch.cat((x, extra), 1)


def each(x: torch.Tensor, kernels: torch.Tensor, **window: Any) -> torch.Tensor:
    """Convolve each example with its own kernel, in a loop."""
    one = [torch.conv2d(a[None], k, **window) for a, k in zip(x, kernels, strict=True)]
    return torch.cat(one)


# -- counts ----------------------------------------------------------------------------


def multiply_adds(half: Any, build: Build, *shape: int) -> int:
    """The ledger's count for one pass of a new block."""
    return ledger(half.ready(build(half)), shape).multiply_adds


def parameters(half: Any, build: Build) -> int:
    """The number of trained parameters of a new block; no memory is allocated."""
    with torch.device("meta"):
        return sum(int(np.prod(p.shape)) for p in half.trained(build(half)))
