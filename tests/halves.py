"""Build, run and compare blocks of both halves in the same way, for tests.

`GLUON` and `PYTORCH` have their half's modules as attributes
(`GLUON.blocks.ConvChunk`), make plain layers, and return outputs and gradients as NumPy
arrays.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from d2lutils import parity
from d2lutils.compat import mx
from d2lutils.gpu_report.equations import noise, randomize

nn, gnn = torch.nn, mx.gluon.nn
Build = Callable[[Any], Any]


class Half:
    """The methods that both halves share."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, module: str) -> Any:
        if module.startswith("_"):
            raise AttributeError(module)
        found = importlib.import_module(f"d2lutils.{self.name}.{module}")
        vars(self)[module] = found  # torch.compile cannot look through an import
        return found

    def __repr__(self) -> str:
        return self.name

    def array(self, value: Any) -> Any:
        """A NumPy array as the framework's own; anything else unchanged."""
        return self.tensor(value) if isinstance(value, np.ndarray) else value

    def zeros(self, *shape: int, dtype: str = "float32") -> Any:
        return self.tensor(np.zeros(shape, dtype))

    def weights(self, net: Any) -> list[np.ndarray]:
        """The values of the trained parameters."""
        return [self.value(p) for p in self.trained(net)]


class GluonCall(gnn.HybridBlock):
    """A function as a block, with the layers that it calls."""

    def __init__(self, function: Callable[..., Any], *layers: Any) -> None:
        super().__init__()
        self.function = function
        for layer in layers:
            self.register_child(layer)

    def hybrid_forward(self, F: Any, *arrays: Any) -> Any:
        return self.function(*arrays)


class TorchCall(nn.Module):
    """The same for PyTorch."""

    def __init__(self, function: Callable[..., Any], *layers: Any) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, *arrays: Any) -> Any:
        return self.function(*arrays)


class Gluon(Half):
    call = GluonCall
    relu = staticmethod(lambda: gnn.Activation("relu"))
    flatten = staticmethod(lambda: gnn.Flatten())
    norm = staticmethod(lambda channels: gnn.BatchNorm(in_channels=channels))
    seed = staticmethod(lambda value: mx.random.seed(value))

    def tensor(self, values: np.ndarray) -> Any:
        make = mx.np.array if mx.util.is_np_array() else mx.nd.array
        return make(values, dtype=values.dtype)

    def numpy(self, array: Any) -> np.ndarray:
        return array.asnumpy()

    def value(self, parameter: Any) -> np.ndarray:
        return parameter.data().asnumpy()

    def fill(self, parameter: Any, values: np.ndarray) -> None:
        parameter.set_data(self.tensor(values))

    def sequence(self, *layers: Any) -> Any:
        net = gnn.HybridSequential()
        net.add(*layers)
        return net

    def conv(self, inputs: int, outputs: int, size: int, pad: int = 0, rank: int = 2):
        layer = (gnn.Conv1D, gnn.Conv2D)[rank - 1]
        return layer(outputs, size, padding=pad, in_channels=inputs)

    def dense(self, inputs: int, outputs: int) -> Any:
        return gnn.Dense(outputs, in_units=inputs, flatten=False)

    def ready(self, net: Any) -> Any:
        """The net with initialised parameters."""
        net.initialize()
        return net

    def double(self, net: Any) -> Any:
        net.cast("float64")
        return net

    def trained(self, net: Any) -> list[Any]:
        """The trained parameters, as the framework's own objects."""
        return [p for p in net.collect_params().values() if p.grad_req != "null"]

    def output(self, net: Any, *values: Any, training: bool = False) -> np.ndarray:
        with mx.autograd.train_mode() if training else mx.autograd.predict_mode():
            return net(*map(self.array, values)).asnumpy()

    def gradients(self, net: Any, *values: Any, head: Any = None) -> list[np.ndarray]:
        """In training mode: the output, then gradients of inputs and parameters."""
        given = [self.array(v) for v in values]
        arrays = [v for v, like in zip(given, values, strict=True) if is_float(like)]
        for one in arrays:
            one.attach_grad()
        with mx.autograd.record():
            y = net(*given) * 1  # MXNet records nothing if a net returns its input
        y.backward(None if head is None else self.tensor(head))
        found = [y, *(a.grad for a in arrays)]
        if isinstance(net, mx.gluon.Block):
            found += [p.grad() for p in self.trained(net)]
        mx.nd.waitall()  # asynchronous errors of MXNet are raised here
        return [a.asnumpy() for a in found]


class PyTorch(Half):
    call = TorchCall
    relu = staticmethod(lambda: nn.ReLU())
    flatten = staticmethod(lambda: nn.Flatten())
    norm = staticmethod(lambda channels: nn.BatchNorm2d(channels))
    seed = staticmethod(lambda value: torch.manual_seed(value))

    def tensor(self, values: np.ndarray) -> Any:
        return torch.tensor(values)

    def numpy(self, array: Any) -> np.ndarray:
        return array.detach().numpy()

    def value(self, parameter: Any) -> np.ndarray:
        return parameter.detach().numpy().copy()

    def fill(self, parameter: Any, values: np.ndarray) -> None:
        parameter.data.copy_(self.tensor(values))

    def sequence(self, *layers: Any) -> Any:
        return nn.Sequential(*layers)

    def conv(self, inputs: int, outputs: int, size: int, pad: int = 0, rank: int = 2):
        layer = (nn.Conv1d, nn.Conv2d)[rank - 1]
        return layer(inputs, outputs, size, padding=pad)

    def dense(self, inputs: int, outputs: int) -> Any:
        return nn.Linear(inputs, outputs)

    def ready(self, net: Any) -> Any:
        return net

    def double(self, net: Any) -> Any:
        return net.double()

    def trained(self, net: Any) -> list[Any]:
        return list(net.parameters())

    def output(self, net: Any, *values: Any, training: bool = False) -> np.ndarray:
        if isinstance(net, nn.Module):
            net.train(training)
        with torch.no_grad():
            return net(*map(self.array, values)).numpy()

    def gradients(self, net: Any, *values: Any, head: Any = None) -> list[np.ndarray]:
        given = [self.array(v) for v in values]
        arrays = [v for v, like in zip(given, values, strict=True) if is_float(like)]
        arrays = [v.requires_grad_() for v in arrays]
        if isinstance(net, nn.Module):
            arrays += net.train().parameters()
        y = net(*given)
        head = torch.ones_like(y) if head is None else torch.tensor(head)
        found = torch.autograd.grad(y, arrays, head, materialize_grads=True)
        return [a.detach().numpy() for a in (y, *found)]


GLUON, PYTORCH = Gluon("gluon"), PyTorch("pytorch")
both = pytest.mark.parametrize("half", [GLUON, PYTORCH], ids=str)


# -- values ----------------------------------------------------------------------------


def is_float(value: Any) -> bool:
    """Whether a value is a floating-point array, which gets a gradient."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def mirrored(build: Build, seed: int = 0) -> tuple[Any, Any]:
    """Gluon's and PyTorch's block, with the same random values."""
    gluon, pytorch = build(GLUON), randomize(build(PYTORCH), seed)
    parity.copy_parameters(pytorch, gluon)
    return gluon, pytorch


def made(half: Half, build: Build, seed: int = 0) -> Any:
    """The block of one half, with the values that it has in `mirrored`."""
    if half is PYTORCH:
        return randomize(build(PYTORCH), seed)
    return mirrored(build, seed)[0]


def compared(build: Build, *shape: int, seed: int = 0, **options: Any) -> Any:
    """The report of `parity.compare`, which must not find a difference."""
    report = parity.compare(*mirrored(build, seed), noise(*shape), **options)
    assert report.ok, report
    assert {row.mode for row in report.rows} >= {"imperative", "hybridized"}
    return report


# -- Gluon's graphs --------------------------------------------------------------------


def exported(net: Any, folder: Path, *inputs: str) -> Any:
    """A hybridized net that was called, written to files and read back."""
    net.export(str(folder / "net"))
    symbol, parameters = folder / "net-symbol.json", folder / "net-0000.params"
    names = list(inputs or ("data",))
    file = str(parameters) if parameters.exists() else None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Cannot decide type")  # MXNet's own
        return mx.gluon.SymbolBlock.imports(str(symbol), names, file)


def losses(
    net: Any, batches: Sequence[np.ndarray], rate: float
) -> tuple[list[float], np.ndarray]:
    """Losses of SGD steps on a Gluon net, then its output in evaluation mode."""
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": rate})
    found = []
    for x in batches:
        with mx.autograd.record():
            loss = (net(mx.nd.array(x)) ** 2).mean()
        loss.backward()
        trainer.step(1)
        found.append(float(loss.asscalar()))
    mx.nd.waitall()
    return found, net(mx.nd.array(batches[0])).asnumpy()
