"""What a suite consists of: candidates that do the same, measured side by side."""

from __future__ import annotations

import importlib
import sys
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
#: Images in a training step of a whole net, and their shape.
STEP = 16
IMAGES = STEP, 3, 32, 32


@dataclass(frozen=True)
class Case:
    """Candidates that do the same, and the one that the others are measured by.

    `repeat` caps the counted rounds, for candidates that take long.
    """

    name: str
    base: str
    candidates: dict[str, Callable[[], Any]]
    repeat: int | None = None


@dataclass(frozen=True)
class Half:
    """What the suites ask of either framework, in the same words.

    Attributes:
        name: "pytorch" or "gluon".
        array: random numbers of a shape, that want a gradient unless `backward` is
            False; from 0 to 1 if `uniform`.
        conv: a 3x3 convolution without bias that keeps height and width.
        run: forward and backward of a call on inputs, to these and to the weights if it
            is a layer; `grad` is the output's gradient, ones by default. Without
            `backward` the forward pass alone.
        step: a training step of a net on random images: forward, backward, SGD with
            momentum.
        predict: inference on as many images.

    A layer or net is given to them without values (Gluon) and on any device (PyTorch).
    """

    name: str
    array: Callable[..., Any]
    conv: Callable[[int, int], Any]
    run: Callable[..., Callable[[], Any]]
    step: Callable[[Any], Callable[[], Any]]
    predict: Callable[[Any], Callable[[], Any]]


def public_net(package: str, module: str, name: str) -> Any:
    """A net of a public model zoo's module, or None where it is not installed."""
    if str(ZOO) not in sys.path:
        sys.path.append(str(ZOO))
    try:
        zoo = importlib.import_module(f"{package}.models.{module}")
    except ImportError:
        return None
    return getattr(zoo, name)()


# -- PyTorch, on the GPU if there is one -----------------------------------------------


def torch_array(
    *shape: int, backward: bool = True, uniform: bool = False, **options: Any
) -> torch.Tensor:
    draw = torch.rand if uniform else torch.randn
    return draw(shape, device=try_gpu(), requires_grad=backward, **options)


def torch_conv(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


def torch_run(
    call: Callable[..., Any],
    inputs: Sequence[Any],
    grad: Any = None,
    backward: bool = True,
) -> Callable[[], None]:
    layer = isinstance(call, nn.Module)
    weights = list(call.to(try_gpu()).parameters()) if layer else []
    wanted = [tensor for tensor in (*inputs, *weights) if tensor.requires_grad]

    def forward() -> None:
        with torch.no_grad():
            call(*inputs)

    def both() -> None:
        out = call(*inputs)
        ones = torch.ones_like(out) if grad is None else grad
        torch.autograd.grad(out, wanted, ones)

    return both if backward else forward


def torch_step(net: nn.Module) -> Callable[[], None]:
    net = net.to(try_gpu()).train()
    x = torch_array(*IMAGES, backward=False)
    y = torch.randint(10, (STEP,), device=try_gpu())
    sgd = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9)

    def step() -> None:
        sgd.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        sgd.step()

    return step


def torch_predict(net: nn.Module) -> Callable[[], Any]:
    return torch_run(net.eval(), [torch_array(*IMAGES)], backward=False)


# -- Gluon -----------------------------------------------------------------------------


def gluon_array(*shape: int, backward: bool = True, uniform: bool = False) -> Any:
    draw = mx.nd.random.uniform if uniform else mx.nd.random.normal
    array = draw(shape=shape)
    if backward:
        array.attach_grad()
    return array


def gluon_conv(inputs: int, outputs: int) -> Any:
    options = {"padding": 1, "use_bias": False, "in_channels": inputs}
    return mx.gluon.nn.Conv2D(outputs, 3, **options)


def gluon_run(
    call: Callable[..., Any],
    inputs: Sequence[Any],
    grad: Any = None,
    backward: bool = True,
) -> Callable[[], Any]:
    if isinstance(call, mx.gluon.Block):
        call.initialize(mx.init.Xavier())

    def both() -> None:
        with mx.autograd.record():
            out = call(*inputs)
        out.backward(grad)

    return both if backward else lambda: call(*inputs)


def gluon_step(net: Any) -> Callable[[], None]:
    net.initialize(mx.init.Xavier())
    x = gluon_array(*IMAGES, backward=False)
    y = mx.nd.random.randint(0, 10, (STEP,))
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    options = {"learning_rate": 1e-3, "momentum": 0.9}
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", options)

    def step() -> None:
        with mx.autograd.record():
            value = loss(net(x), y).mean()
        value.backward()
        trainer.step(1, ignore_stale_grad=True)  # of blocks left out at random

    return step


def gluon_predict(net: Any) -> Callable[[], Any]:
    return gluon_run(net, [gluon_array(*IMAGES)], backward=False)


def static(net: Any) -> Any:
    """A Gluon net, hybridized in the fastest way."""
    net.hybridize(static_alloc=True, static_shape=True)
    return net


TORCH = Half("pytorch", torch_array, torch_conv, torch_run, torch_step, torch_predict)
GLUON = Half("gluon", gluon_array, gluon_conv, gluon_run, gluon_step, gluon_predict)
