"""What a suite consists of: candidates that do the same, measured side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from d2lutils.compat import mx
from d2lutils.pytorch.devices import try_gpu

#: Where `make bench` puts public implementations.
ZOO = Path(__file__).parents[1] / ".venv" / "zoo"
#: Examples in a training step of a whole net.
STEP = 16


@dataclass(frozen=True)
class Case:
    """Candidates that do the same, and the one that the others are measured by.

    `repeat` caps the counted rounds, for candidates that take long.
    """

    name: str
    base: str
    candidates: dict[str, Callable[[], Any]]
    repeat: int | None = None


def torch_array(*shape: int, backward: bool = True, **options: Any) -> torch.Tensor:
    """Random numbers, on the GPU if there is one."""
    return torch.randn(shape, device=try_gpu(), requires_grad=backward, **options)


def gluon_array(*shape: int, backward: bool = True) -> Any:
    """Random numbers."""
    array = mx.nd.random.normal(shape=shape)
    if backward:
        array.attach_grad()
    return array


def torch_pass(
    call: Callable[..., Any], inputs: Sequence[Any], grad: Any, *weights: Any
) -> Callable[[], None]:
    """Forward and backward to inputs and weights; forward alone if `grad` is None."""

    def forward() -> None:
        with torch.no_grad():
            call(*inputs)

    def both() -> None:
        torch.autograd.grad(call(*inputs), (*inputs, *weights), grad)

    return forward if grad is None else both


def gluon_pass(
    call: Callable[..., Any],
    inputs: Sequence[Any],
    grad: Any = None,
    backward: bool = True,
) -> Callable[[], Any]:
    """Forward, and backward if asked for; a `grad` of None stands for ones."""

    def both() -> None:
        with mx.autograd.record():
            out = call(*inputs)
        out.backward(grad)

    return both if backward else lambda: call(*inputs)


def torch_step(net: nn.Module) -> Callable[[], None]:
    """A training step on random images: forward, backward, SGD with momentum."""
    net = net.to(try_gpu()).train()
    x = torch_array(STEP, 3, 32, 32, backward=False)
    y = torch.randint(10, (STEP,), device=try_gpu())
    sgd = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9)

    def step() -> None:
        sgd.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        sgd.step()

    return step


def static(net: Any) -> Any:
    """A Gluon net, hybridized in the fastest way."""
    net.hybridize(static_alloc=True, static_shape=True)
    return net


def gluon_step(net: Any) -> Callable[[], None]:
    """The same step in Gluon."""
    net.initialize(mx.init.Xavier())
    x = gluon_array(STEP, 3, 32, 32, backward=False)
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
