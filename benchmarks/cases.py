"""What a suite consists of: candidates that do the same, measured side by side.

`Case`, `Half` and the PyTorch half are the package's: the GPU report uses them,
too.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from d2lutils.compat import mx
from d2lutils.gpu_report.speed import IMAGES, STEP, TORCH, Case, Half

__all__ = ["GLUON", "STEP", "TORCH", "ZOO", "Case", "Half", "public_net", "static"]

#: Where `make bench` puts public implementations.
ZOO = Path(__file__).parents[1] / ".venv" / "zoo"
sys.path.append(str(ZOO))


def public_net(package: str, module: str, name: str) -> Any:
    """A net of a public model zoo's module, or None where it is not installed."""
    try:
        zoo = importlib.import_module(f"{package}.models.{module}")
    except ImportError:
        return None
    return getattr(zoo, name)()


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


GLUON = Half("gluon", gluon_array, gluon_conv, gluon_run, gluon_step, gluon_predict)
