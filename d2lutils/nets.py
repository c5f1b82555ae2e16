"""What copying and comparing need of a net, behind one interface for both frameworks.

`net_of` gives the adapter for a Gluon Block or a PyTorch Module. An adapter lists the
layers that have parameters of their own in the order in which they were registered,
reads and writes their values as NumPy arrays, runs passes and restores everything it
touched. A framework is imported only once one of its nets is at hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from d2lutils import checks
from d2lutils.shapes import Window

__all__ = [
    "STATISTICS",
    "GluonNet",
    "Layer",
    "Net",
    "TorchNet",
    "bare_kind",
    "chain_of",
    "net_of",
]

Head = Callable[[list[np.ndarray]], list[np.ndarray]]

STATISTICS = ("running_mean", "running_var")
# Gluon's names of what PyTorch calls weight and bias.
_ROLES = {"gamma": "weight", "beta": "bias", "alpha": "weight"}


@dataclass
class Layer:
    """A layer with parameters of its own: its path, class and tensors by role."""

    path: str
    kind: str
    tensors: dict[str, Any]
    trained: set[str]


class Net:
    """What copying and comparing need of a net, in either framework."""

    owner: str
    layers: list[Layer]

    def first(self) -> Any:
        """Some parameter, or None in a net without any."""
        return next((tensor for _, tensor, _ in self.items()), None)

    def settle(self, inputs: Sequence[np.ndarray]) -> None:
        """Run one pass if shapes are still to be inferred from the input."""
        raise NotImplementedError

    def waits(self) -> bool:
        """Whether some parameter has no values yet."""
        return any(self.get(tensor) is None for _, tensor, _ in self.items())

    def evaluate(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs in evaluation mode."""
        raise NotImplementedError

    def get(self, tensor: Any) -> np.ndarray | None:
        """The values of a parameter, or None while it has none."""
        raise NotImplementedError

    def shape(self, tensor: Any) -> tuple[int, ...]:
        """The shape of a parameter; zeros where it is not known yet."""
        raise NotImplementedError

    def set(self, tensor: Any, values: np.ndarray) -> None:
        """Overwrite a parameter, keeping its dtype and device."""
        raise NotImplementedError

    def block_of(self, tensor: Any) -> tuple[Hashable, int]:
        """A key of the memory that a tensor occupies, and its bytes."""
        raise NotImplementedError

    def identity(self, tensor: Any) -> int:
        """The same number for the same parameter, wherever it is used."""
        raise NotImplementedError

    def frozen(self) -> int:
        """How many trained numbers get no gradient."""
        raise NotImplementedError

    def train(self, inputs: Sequence[np.ndarray]) -> tuple[list[Any], int | None]:
        """One forward pass in training mode, recorded for a backward pass: the inputs
        as the framework's arrays, and the bytes that autograd saved, if it tells."""
        raise NotImplementedError

    def undisturbed(self, dropout: bool = False) -> AbstractContextManager[None]:
        """Randomness off inside; all as it was afterwards."""
        raise NotImplementedError

    def window(self, layer: Any) -> dict[str, Sequence[int]]:
        """The arguments of a `Window` that a convolution or pooling has, by axis."""
        raise NotImplementedError

    def items(self) -> Iterator[tuple[str, Any, bool]]:
        """(name, tensor, is it trained) of every parameter and statistic."""
        for layer in self.layers:
            for role, tensor in layer.tensors.items():
                name = f"{layer.path}.{role}" if layer.path else role
                yield name, tensor, role in layer.trained

    def state(self) -> dict[str, np.ndarray]:
        """The values of everything, by name."""
        values = {}
        for name, tensor, _ in self.items():
            array = self.get(tensor)
            if array is None:
                raise ValueError(
                    f"{self.owner}: {name} has no values yet: initialise the net and "
                    "run one forward pass first"
                )
            values[name] = array
        return values

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Set everything to values that `state` returned."""
        for name, tensor, _ in self.items():
            self.set(tensor, state[name])


class TorchNet(Net):
    """A PyTorch Module, seen as a `Net`."""

    def __init__(self, owner: str, net: Any) -> None:
        import torch

        self.owner, self.torch, self.net = owner, torch, net
        self.layers = []
        for path, module in net.named_modules():
            tensors = {
                role: (module, role)
                for role, p in module._parameters.items()
                if p is not None
            }
            trained = set(tensors)
            for role in STATISTICS:
                if module._buffers.get(role) is not None:
                    tensors[role] = (module, role)
            if tensors:
                self.layers.append(Layer(path, type(module).__name__, tensors, trained))

    def block_of(self, tensor: Any) -> tuple[Hashable, int]:
        storage = tensor.untyped_storage()
        return storage._cdata, storage.nbytes()

    def identity(self, tensor: Any) -> int:
        return id(self._tensor(tensor))

    def frozen(self) -> int:
        return sum(p.numel() for p in self.net.parameters() if not p.requires_grad)

    def train(self, inputs: Sequence[np.ndarray]) -> tuple[list[Any], int | None]:
        self.net.train()
        arrays = self._arrays(inputs, self.dtype(), False)
        with self.torch.enable_grad(), self.saved() as saved:
            self.net(*arrays)
        on_cpu = all(a.device.type == "cpu" for a in arrays)
        return arrays, sum(saved.values()) if on_cpu else None

    @contextmanager
    def saved(self) -> Iterator[dict[Hashable, int]]:
        """Bytes of each memory block that autograd saves inside, but for the net's."""
        own = {self.block_of(t)[0] for t in self.net.parameters()}
        own |= {self.block_of(t)[0] for t in self.net.buffers()}
        found: dict[Hashable, int] = {}
        alive = []  # or an address could be used again

        def pack(tensor: Any) -> Any:
            key, size = self.block_of(tensor)
            if key not in own:
                found[key] = size
                alive.append(tensor)
            return tensor

        hooks = self.torch.autograd.graph.saved_tensors_hooks
        with hooks(pack, lambda tensor: tensor):
            yield found

    def window(self, layer: Any) -> dict[str, Sequence[int]]:
        rank = int(re.findall(r"[123]", type(layer).__name__)[-1])
        if isinstance(layer.padding, str):
            raise ValueError(
                f"{self.owner}: padding must be a number, got {layer.padding!r}"
            )
        mode = getattr(layer, "padding_mode", "zeros")
        if mode != "zeros":  # the padding would read the input once more
            raise ValueError(
                f"{self.owner}: padding_mode must be 'zeros', got {mode!r}"
            )

        def sizes(value: Any) -> tuple[int, ...]:
            return (value,) * rank if isinstance(value, int) else tuple(value)

        return {
            "kernel_size": sizes(layer.kernel_size),
            "stride": sizes(layer.stride),
            "padding": sizes(layer.padding),
            "dilation": sizes(getattr(layer, "dilation", 1)),
            "ceil_mode": (getattr(layer, "ceil_mode", False),) * rank,
        }

    def module(self, path: str) -> Any:
        """The layer at a path."""
        return self.net.get_submodule(path)

    def _tensor(self, tensor: Any) -> Any:
        module, role = tensor
        return getattr(module, role)

    def _lazy(self, value: Any) -> bool:
        return self.torch.nn.parameter.is_lazy(value)

    def shape(self, tensor: Any) -> tuple[int, ...]:
        value = self._tensor(tensor)
        return (0,) if self._lazy(value) else tuple(value.shape)

    def get(self, tensor: Any) -> np.ndarray | None:
        value = self._tensor(tensor)
        return None if self._lazy(value) else self._values(value)

    def _values(self, value: Any) -> np.ndarray:
        value = value.detach().cpu()
        if value.dtype == self.torch.bfloat16:  # NumPy has none
            value = value.float()
        return value.numpy().copy()

    def set(self, tensor: Any, values: np.ndarray) -> None:
        with self.torch.no_grad():
            self._tensor(tensor).copy_(self.torch.as_tensor(values))

    def dtype(self) -> str:
        if self.first() is None:
            return "float32"
        value = self._tensor(self.first())
        return str(value.dtype).removeprefix("torch.")

    def cast(self, dtype: str) -> None:
        self.net.to(getattr(self.torch, dtype))

    def _arrays(
        self, inputs: Sequence[np.ndarray], dtype: str, grad: bool
    ) -> list[Any]:
        first = self.first()
        device = "cpu" if first is None else self._tensor(first).device
        arrays = []
        for x in inputs:
            real = np.issubdtype(x.dtype, np.floating)
            # MPS has no float64; there the proof runs on the CPU.
            t = self.torch.as_tensor(x).to(device)
            if real:
                t = t.to(getattr(self.torch, dtype))
            arrays.append(t.requires_grad_(grad and real))
        return arrays

    def settle(self, inputs: Sequence[np.ndarray]) -> None:
        if self.waits():
            modes = [(m, m.training) for m in self.net.modules()]
            try:
                self.evaluate(inputs)
            finally:
                for module, mode in modes:
                    module.training = mode

    def evaluate(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.net.eval()
        with self.torch.no_grad():
            outputs = _as_list(self.net(*self._arrays(inputs, self.dtype(), False)))
        return [self._values(o) for o in outputs]

    def forward_backward(
        self, inputs: Sequence[np.ndarray], head: Head
    ) -> dict[str, Any]:
        self.net.train()
        self.net.zero_grad()
        sizes: dict[str, int] = {}
        names = {id(module): name for name, module in self.net.named_modules()}

        def count(module: Any, args: Any, output: Any) -> None:
            sizes[names[id(module)]] = args[0].numel() // args[0].shape[1]

        norms = [
            m for m in self.net.modules() if getattr(m, "running_var", None) is not None
        ]
        hooks = [norm.register_forward_hook(count) for norm in norms]
        try:
            arrays = self._arrays(inputs, self.dtype(), True)
            outputs = _as_list(self.net(*arrays))
        finally:
            for hook in hooks:
                hook.remove()
        plain = [self._values(o) for o in outputs]
        heads = [
            (o, self.torch.as_tensor(h).to(o))
            for h, o in zip(head(plain), outputs, strict=True)
            if o.requires_grad
        ]
        if heads:
            self.torch.autograd.backward([o for o, _ in heads], [h for _, h in heads])
        return {
            "outputs": plain,
            "inputs": [
                np.zeros(a.shape) if a.grad is None else self._values(a.grad)
                for a in arrays
                if a.requires_grad
            ],
            "gradients": {
                name: np.zeros(self.shape(t)) if g is None else self._values(g)
                for name, t, trained in self.items()
                if trained
                for g in [self._tensor(t).grad]
            },
            "sizes": sizes,
        }

    def optimizer(
        self, rate: float, momentum: float, decay: float
    ) -> Callable[[], None]:
        sgd = self.torch.optim.SGD(
            self.net.parameters(), lr=rate, momentum=momentum, weight_decay=decay
        )
        return sgd.step

    def zeros(self, shape: Sequence[int]) -> Any:
        """Zeros of the net's dtype, on its device."""
        self.settle([np.zeros(shape, dtype="float32")])
        (x,) = self._arrays([np.zeros(shape, dtype="float32")], self.dtype(), False)
        return x

    @contextmanager
    def undisturbed(self, dropout: bool = False) -> Iterator[None]:
        """Dropout, stochastic depth and TF32 off inside; all as it was afterwards.

        With `dropout` that stays on. PyTorch's random numbers go on afterwards as if
        nothing had used them, MXNet's cannot.
        """
        torch = self.torch
        generator = torch.get_rng_state()
        devices = list({p.device for p in self.net.parameters() if p.is_cuda})
        others = [torch.cuda.get_rng_state(device) for device in devices]
        modes = [(m, m.training) for m in self.net.modules()]
        gradients = [(p, p.grad) for p in self.net.parameters()]
        # A cast gives a parameter other data and a module other buffers: the old
        # ones come back, with the values they had.
        data = [(p, p.data, p.data.clone()) for p in self.net.parameters()]
        buffers = [
            (m, name, buffer, buffer.clone())
            for m in self.net.modules()
            for name, buffer in m._buffers.items()
            if buffer is not None
        ]
        drops = [
            (m, m.p)
            for m in self.net.modules()
            if isinstance(m, torch.nn.modules.dropout._DropoutNd) and not dropout
        ]
        depths = [(m, m._drop_prob) for m in self.net.modules() if _drops(m)]
        flags = [(torch.backends.cudnn, torch.backends.cudnn.allow_tf32)]
        flags.append(
            (torch.backends.cuda.matmul, torch.backends.cuda.matmul.allow_tf32)
        )
        for module, _ in drops:
            module.p = 0.0
        for module, _ in depths:
            module._drop_prob = 0.0
        for backend, _ in flags:
            backend.allow_tf32 = False
        for parameter, _ in gradients:
            parameter.grad = None
        try:
            yield
        finally:
            for parameter, own, values in data:
                parameter.grad = None
                parameter.data = own.copy_(values)
            for module, name, own, values in buffers:
                module._buffers[name] = own.copy_(values)
            for module, mode in modes:
                module.training = mode
            for parameter, gradient in gradients:
                parameter.grad = gradient
            for module, p in drops:
                module.p = p
            for module, p in depths:
                module._drop_prob = p
            for backend, flag in flags:
                backend.allow_tf32 = flag
            torch.set_rng_state(generator)
            for state, device in zip(others, devices, strict=True):
                torch.cuda.set_rng_state(state, device)


class GluonNet(Net):
    """A Gluon Block, seen as a `Net`."""

    def __init__(self, owner: str, net: Any) -> None:
        from d2lutils.compat import mx

        self.owner, self.mx, self.net = owner, mx, net
        self.layers = []
        self.blocks: list[Any] = []
        self._walk(net, "")

    def _walk(self, block: Any, path: str) -> None:
        if any(block is known for known in self.blocks):
            return  # used twice, listed once, as by PyTorch
        self.blocks.append(block)
        tensors = {_ROLES.get(role, role): p for role, p in block._reg_params.items()}
        if tensors:
            trained = {role for role in tensors if role not in STATISTICS}
            self.layers.append(Layer(path, type(block).__name__, tensors, trained))
        for name, child in block._children.items():
            self._walk(child, f"{path}.{name}" if path else str(name))

    def block_of(self, tensor: Any) -> tuple[Hashable, int]:
        return id(tensor), prod(tensor.shape) * np.dtype(tensor.dtype).itemsize

    def identity(self, tensor: Any) -> int:
        return id(tensor)

    def frozen(self) -> int:
        unique = {id(p): p for _, p, trained in self.items() if trained}
        return sum(prod(p.shape) for p in unique.values() if p.grad_req == "null")

    def train(self, inputs: Sequence[np.ndarray]) -> tuple[list[Any], int | None]:
        arrays = self._arrays(inputs, self.dtype())
        with self.mx.autograd.record():
            self.net(*arrays)
        self.mx.nd.waitall()
        return arrays, None

    def window(self, layer: Any) -> dict[str, Sequence[int]]:
        numbers = layer._kwargs
        rank = len(numbers["kernel"])
        full = numbers.get("pooling_convention") == "full"
        return {
            "kernel_size": numbers["kernel"],
            "stride": numbers["stride"],
            "padding": numbers["pad"],
            "dilation": numbers.get("dilate", (1,) * rank),
            "ceil_mode": (full,) * rank,
        }

    def block(self, path: str) -> Any:
        """The layer at a path."""
        block = self.net
        for name in path.split(".") if path else []:
            block = block._children[name]
        return block

    def shape(self, tensor: Any) -> tuple[int, ...]:
        return tuple(tensor.shape or (0,))

    def get(self, tensor: Any) -> np.ndarray | None:
        if tensor._data is None:
            return None
        return tensor.data(tensor.list_ctx()[0]).asnumpy()

    def set(self, tensor: Any, values: np.ndarray) -> None:
        if tensor._data is None:
            # Never initialised, or waiting for its shape, which is known now.
            tensor.shape = values.shape
            tensor.initialize(init=self.mx.init.Zero(), force_reinit=True)
        tensor.set_data(self.mx.nd.array(values, dtype=tensor.dtype))

    def dtype(self) -> str:
        first = self.first()
        return "float32" if first is None else np.dtype(first.dtype).name

    def cast(self, dtype: str) -> None:
        self.net.cast(dtype)

    def _arrays(self, inputs: Sequence[np.ndarray], dtype: str) -> list[Any]:
        first = self.first()
        context = self.mx.cpu() if first is None else first.list_ctx()[0]
        return [
            self.mx.nd.array(
                x,
                ctx=context,
                dtype=dtype if np.issubdtype(x.dtype, np.floating) else x.dtype,
            )
            for x in inputs
        ]

    def settle(self, inputs: Sequence[np.ndarray]) -> None:
        for name, tensor, _ in self.items():
            if tensor._data is None and not tensor._deferred_init:
                raise ValueError(
                    f"{self.owner}: {name} is not initialised: call net.initialize() "
                    "first"
                )
        if self.waits():
            self.evaluate(inputs)

    def evaluate(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        with self.mx.autograd.predict_mode():
            outputs = _as_list(self.net(*self._arrays(inputs, self.dtype())))
        return [o.asnumpy() for o in outputs]

    def forward_backward(
        self, inputs: Sequence[np.ndarray], head: Head
    ) -> dict[str, Any]:
        for _, parameter, _ in self.items():
            if parameter.grad_req != "null":
                parameter.zero_grad()
        arrays = self._arrays(inputs, self.dtype())
        real = [a for a in arrays if np.issubdtype(a.dtype, np.floating)]
        for array in real:
            array.attach_grad()
        with self.mx.autograd.record():
            outputs = _as_list(self.net(*arrays))
        plain = [o.asnumpy() for o in outputs]
        heads = [
            self.mx.nd.array(h, ctx=o.context, dtype=o.dtype)
            for h, o in zip(head(plain), outputs, strict=True)
        ]
        self.mx.autograd.backward(outputs, heads)
        return {
            "outputs": plain,
            "inputs": [a.grad.asnumpy() for a in real],
            "gradients": {
                name: p.grad(p.list_ctx()[0]).asnumpy()
                if p.grad_req != "null"
                else np.zeros(self.shape(p))
                for name, p, trained in self.items()
                if trained
            },
        }

    def optimizer(
        self, rate: float, momentum: float, decay: float
    ) -> Callable[[], None]:
        # Not a Trainer: that would attach itself to the reader's parameters. Like a
        # Trainer it steps once for a shared parameter and heeds lr_mult and wd_mult.
        unique = {id(p): p for _, p, _ in self.items() if p.grad_req != "null"}
        parameters = list(unique.values())
        sgd = self.mx.optimizer.SGD(
            learning_rate=rate,
            momentum=momentum,
            wd=decay,
            param_dict=dict(enumerate(parameters)),
        )
        update = self.mx.optimizer.get_updater(sgd)

        def step() -> None:
            for i, parameter in enumerate(parameters):
                context = parameter.list_ctx()[0]
                update(i, parameter.grad(context), parameter.data(context))

        return step

    def hybridize(self, active: bool) -> None:
        self.net.hybridize(active, **({"static_alloc": True} if active else {}))

    def zeros(self, shape: Sequence[int]) -> Any:
        """Zeros of the net's dtype, on its device."""
        self.settle([np.zeros(shape, dtype="float32")])
        (x,) = self._arrays([np.zeros(shape, dtype="float32")], self.dtype())
        return x

    @contextmanager
    def undisturbed(self, dropout: bool = False) -> Iterator[None]:
        """Stochastic depth, and dropout unless asked for, off inside; all as it was
        afterwards."""
        state = self.state()
        dtypes = [(tensor, tensor.dtype) for _, tensor, _ in self.items()]
        parameters = [p for _, p, _ in self.items() if p.grad_req != "null"]
        gradients = [[g.copy() for g in p.list_grad()] for p in parameters]
        flags = [(b, b._active, b._flags) for b in self.blocks if hasattr(b, "_active")]
        drops = [
            (b, b._rate)
            for b in self.blocks
            if isinstance(b, self.mx.gluon.nn.Dropout) and not dropout
        ]
        depths = [(b, b._drop_prob) for b in self.blocks if _drops(b)]
        for block, _ in drops:
            block._rate = 0.0
        for block, _ in depths:
            block._drop_prob = 0.0
        try:
            yield
        finally:
            for tensor, dtype in dtypes:
                tensor.cast(dtype)
            self.load(state)
            for block, rate in drops:
                block._rate = rate
            for block, rate in depths:
                block._drop_prob = rate
            for block, active, options in flags:
                block._active, block._flags = active, options
                block._clear_cached_op()
            for parameter, saved in zip(parameters, gradients, strict=True):
                for gradient, values in zip(parameter.list_grad(), saved, strict=True):
                    gradient[:] = values


def _drops(block: Any) -> bool:
    """Whether a block is this package's `StochasticDepth`, of either half."""
    kind = type(block)
    return kind.__name__ == "StochasticDepth" and kind.__module__.startswith("d2lutils")


def _as_list(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def net_of(owner: str, name: str, net: Any) -> TorchNet | GluonNet:
    """The adapter for a net; TypeError if it belongs to neither framework."""
    # A framework that was never imported cannot have made this net.
    torch, mxnet = sys.modules.get("torch"), sys.modules.get("mxnet")
    if torch is not None and isinstance(net, torch.nn.Module):
        return TorchNet(owner, net)
    if mxnet is not None and isinstance(net, mxnet.gluon.Block):
        return GluonNet(owner, net)
    raise TypeError(
        f"{owner}: {name} must be a Gluon Block or a PyTorch Module, "
        f"got {type(net).__name__}"
    )


# Layers that look at one position at a time, and those that look at all of them.
_POINTWISE = {
    *("Activation", "BatchNorm", "Dropout", "ELU", "GELU", "Identity", "LeakyReLU"),
    *("PReLU", "ReLU", "SELU", "SiLU", "Sigmoid", "Softplus", "Swish", "Tanh"),
}
_WHOLE = {"AdaptiveAvgPool", "AdaptiveMaxPool", "Flatten"}
_WHOLE |= {"Dense", "GlobalAvgPool", "GlobalMaxPool", "Linear"}
_WINDOWS = {"Conv": "conv", "MaxPool": "pool", "AvgPool": "pool"}


def bare_kind(layer: Any) -> str:
    """A layer's class without its rank: Conv for Conv2d and Conv2D, and so on."""
    return re.sub(r"[123][dD]$", "", type(layer).__name__.lstrip("_"))


def chain_of(net: Any, axis: int = 0) -> tuple[Window, ...]:
    """The windows of a plain sequence of layers, along one axis.

    Layers that look at one position at a time, 1x1 convolutions without stride
    included, are left out; a layer that looks at the whole map ends the chain.

    Args:
        net: an `nn.Sequential` or `nn.HybridSequential`, possibly of others, or one
            layer. What a `forward` of somebody else's does cannot be seen.
        axis: the spatial axis, 0 for the length or height, 1 for the width.

    Returns:
        A tuple of `d2lutils.shapes.Window`, named after the layers' paths.

    Raises:
        TypeError: `net` belongs to neither framework.
        ValueError: no such axis, no window at all, or a layer or container that this
            function does not know, named.
    """
    owner = "chain_of"
    adapter = net_of(owner, "net", net)
    axis = checks.non_negative(owner, "axis", axis)
    windows: list[Window] = []
    _collect(owner, adapter, net, "", axis, windows)
    if not windows:
        raise ValueError(f"{owner}: net has no layer with a window")
    return tuple(windows)


def _collect(
    owner: str, adapter: Net, layer: Any, path: str, axis: int, found: list[Window]
) -> bool:
    """Append the windows of a layer to `found`; False once the chain has ended."""
    kind = bare_kind(layer)
    if kind in ("Sequential", "HybridSequential"):
        gluon = hasattr(layer, "_children")
        children = layer._children if gluon else layer._modules
        return all(
            _collect(owner, adapter, child, f"{path}.{name}".lstrip("."), axis, found)
            for name, child in children.items()
        )
    if kind in _WHOLE:
        return False
    if kind in _WINDOWS:
        numbers = adapter.window(layer)
        if axis >= len(numbers["kernel_size"]):
            raise ValueError(
                f"{owner}: axis must be below {len(numbers['kernel_size'])} for "
                f"{path or 'the net'} ({type(layer).__name__}), got {axis}"
            )
        sizes = {name: int(value[axis]) for name, value in numbers.items()}
        ceil_mode = bool(sizes.pop("ceil_mode"))
        window = Window(
            **sizes, ceil_mode=ceil_mode, kind=_WINDOWS[kind], name=path or kind
        )
        if (window.span, window.stride, window.padding) != (1, 1, 0):
            found.append(window)
        return True
    if kind not in _POINTWISE:
        raise ValueError(
            f"{owner}: no rule for {path or 'the net'} ({type(layer).__name__}); only "
            "a plain sequence of known layers is a chain"
        )
    return True
