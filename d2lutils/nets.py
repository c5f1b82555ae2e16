"""What copying and comparing need of a net, behind one interface for both frameworks.

`net_of` gives the adapter for a Gluon Block or a PyTorch Module. An adapter lists the
layers that have parameters of their own in the order in which they were registered,
reads and writes their values as NumPy arrays, runs passes and restores everything it
touched. A framework is imported only once one of its nets is at hand.
"""

from __future__ import annotations

import ctypes
import json
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from d2lutils import checks
from d2lutils.shapes import Window

__all__ = [
    "STATISTICS",
    "ArrayNet",
    "GluonNet",
    "Layer",
    "Net",
    "TorchNet",
    "bare_kind",
    "chain_of",
    "net_of",
    "source_of",
]

Head = Callable[[list[np.ndarray]], list[np.ndarray]]

STATISTICS = ("running_mean", "running_var")
# Gluon's and the symbols' names of what PyTorch calls weight, bias and so on.
_ROLES = {
    **{"gamma": "weight", "beta": "bias", "alpha": "weight"},
    **{"moving_mean": "running_mean", "moving_var": "running_var"},
}
# l0_i2h_weight of a recurrent layer, i2h_weight of a cell. The gates stand in the same
# order in both frameworks: i, f, g, o of an LSTM and r, z, n of a GRU.
_RECURRENT = re.compile(r"(?:([lr])(\d+)_)?([ih])2([hr])_(weight|bias)")
# What a parameter's full name ends in, where the layer is not known otherwise.
_ENDING = re.compile(
    rf"(?:^|_)({_RECURRENT.pattern}|(?:running|moving)_(?:mean|var)"
    r"|weight|bias|gamma|beta|alpha)$"
)
# Layers that draw random numbers, and where they keep the rate. Of the second kind
# are those that drop whole branches, in this package and elsewhere.
_RANDOM = re.compile(r"Dropout|DropBlock|^_?RNN|MultiheadAttention")
_DEPTH = re.compile(r"StochasticDepth|DropPath")
_RATES = ("p", "_rate", "drop_prob", "_drop_prob", "dropout", "_dropout")


def _role(name: str) -> str:
    """PyTorch's name of a parameter that Gluon may call otherwise."""
    found = _RECURRENT.fullmatch(name)
    if not found:
        return _ROLES.get(name, name)
    direction, layer, one, two, kind = found.groups()
    place = f"_l{layer}" if layer else ""
    return f"{kind}_{one}{two}{place}{'_reverse' if direction == 'r' else ''}"


@dataclass
class Layer:
    """A layer with parameters of its own: its path, class and tensors by role.

    `constants` are tensors that belong to the net and are never trained (PyTorch's
    buffers, Gluon's `Constant`). `fixed` holds what the layer computes with, whatever
    is stored: ones and zeros of a norm without scale and shift. `options` are those of
    a norm, `module` the layer itself where there is one. `computed` are tensors that
    a parametrization or pruning makes of others: of `parts` of this layer, or of
    layers below it (`is_part`).
    """

    path: str
    kind: str
    tensors: dict[str, Any]
    trained: set[str]
    constants: dict[str, Any] = field(default_factory=dict)
    fixed: dict[str, np.ndarray] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    module: Any = None
    computed: dict[str, Any] = field(default_factory=dict)
    parts: set[str] = field(default_factory=set)
    is_part: bool = False

    def name(self, role: str) -> str:
        """The name of one of its tensors in the whole net."""
        return f"{self.path}.{role}" if self.path else role


class Net:
    """What copying and comparing need of a net, in either framework."""

    owner: str
    layers: list[Layer]  # those that store parameters or running statistics
    every: list[Layer]  # and those that hold constants or fixed numbers alone
    off: Counter[str]  # what `undisturbed` has switched off, by class

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
        return self.forward(inputs, training=False)

    def cast(self, dtype: str) -> None:
        """Everything in the net to a type."""
        raise NotImplementedError

    def get(self, tensor: Any) -> np.ndarray | None:
        """The values of a parameter, or None while it has none."""
        raise NotImplementedError

    def missing(self, tensor: Any) -> str:
        """Why a parameter has no values, and the cure."""
        return "has no values yet: initialise the net and run one forward pass first"

    def calls(
        self, inputs: Sequence[np.ndarray], training: bool
    ) -> list[tuple[Layer, list[np.ndarray], list[np.ndarray]]]:
        """Each layer's inputs and outputs in one forward pass, in the order of calls.

        Running statistics may move; the net must not be hybridized.
        """
        found: list[tuple[Layer, list[np.ndarray], list[np.ndarray]]] = []

        def record(layer: Layer) -> Callable[..., None]:
            def hook(_: Any, inputs: Any, outputs: Any) -> None:
                a, b = (_leaves(x) for x in (inputs, outputs))
                found.append(
                    (layer, [self.values(x) for x in a], [self.values(x) for x in b])
                )

            return hook

        hooks = [
            layer.module.register_forward_hook(record(layer))
            for layer in self.layers
            if layer.module is not None
        ]
        try:
            self.forward(inputs, training)
        finally:
            for hook in hooks:
                hook.detach() if hasattr(hook, "detach") else hook.remove()
        return found

    def forward(self, inputs: Sequence[np.ndarray], training: bool) -> list[np.ndarray]:
        """The outputs of one pass without gradients."""
        raise NotImplementedError

    def values(self, array: Any) -> np.ndarray:
        """One of the framework's arrays in NumPy; bfloat16, which has no type there,
        as float32."""
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

    def train(
        self, inputs: Sequence[np.ndarray]
    ) -> tuple[list[Any], list[Any], int | None]:
        """One forward pass in training mode, recorded for a backward pass: inputs and
        outputs as the framework's arrays, and the bytes that autograd saved, if it
        tells."""
        raise NotImplementedError

    def itemsize(self) -> int:
        """Bytes of a number of the net."""
        raise NotImplementedError

    def is_recorded(self, array: Any) -> bool:
        """Whether a backward pass reaches an array: something before it is trained."""
        raise NotImplementedError

    def example(self, shape: Sequence[int]) -> np.ndarray:
        """Zeros to run the net on: whole numbers, which are places, where its first
        layer looks something up."""
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
                yield layer.name(role), tensor, role in layer.trained

    def state(self) -> dict[str, np.ndarray]:
        """The values of everything, by name."""
        values = {}
        for name, tensor, _ in self.items():
            array = self.get(tensor)
            if array is None:
                raise ValueError(f"{self.owner}: {name} {self.missing(tensor)}")
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
        self.every, self.off = [], Counter()
        for path, module in net.named_modules():
            tensors = {
                role: (module, role)
                for role, p in module._parameters.items()
                if p is not None
            }
            trained = set(tensors)
            constants = {
                role: (module, role)
                for role, buffer in module._buffers.items()
                if buffer is not None and role != "num_batches_tracked"
            }
            for role in STATISTICS:
                if role in constants:
                    tensors[role] = constants.pop(role)
            fixed = self._fixed(module)
            computed, parts = self._computed(module, tensors)
            if tensors or constants or fixed or computed:
                layer = Layer(path, type(module).__name__, tensors, trained, constants)
                layer.fixed, layer.module = fixed, module
                layer.computed, layer.parts = computed, parts
                layer.is_part = "parametrizations" in path.split(".")
                self.every.append(layer)
        self.layers = [layer for layer in self.every if layer.tensors]

    def _computed(
        self, module: Any, tensors: dict[str, Any]
    ) -> tuple[dict[str, Any], set[str]]:
        """Tensors that a layer makes of others before each pass, and its own parts of
        them: by `torch.nn.utils.parametrize`, or by the older hooks, which keep
        weight_orig, or weight_g and weight_v, and set weight."""
        made = list(module._modules.get("parametrizations", ()))
        parts = set()
        for part in tensors:
            name, _, end = part.rpartition("_")
            if end in ("orig", "g", "v") and name in module.__dict__:
                made.append(name)
                parts.add(part)
        for hook in module._forward_pre_hooks.values() if parts else ():
            # What was loaded since the last pass is not in the weight yet.
            if hasattr(hook, "apply_mask"):  # of torch.nn.utils.prune
                hook(module, ())
        return {name: (module, name) for name in made}, parts

    def _fixed(self, module: Any) -> dict[str, np.ndarray]:
        """Ones and zeros of a norm without them, zeros of a recurrent layer's biases:
        Gluon's layers always store these."""
        nn, own = self.torch.nn, module._parameters
        if isinstance(module, (nn.RNNBase, nn.RNNCellBase)) and not module.bias:
            return {
                role.replace("weight", "bias"): np.zeros(len(p))
                for role, p in own.items()
                if "weight_hr" not in role
            }
        lacks = any(p is None for p in own.values())  # `==` fails while it is lazy
        if "Norm" not in type(module).__name__ or not lacks:
            return {}
        names = ("normalized_shape", "num_features", "num_channels")
        shape = next((getattr(module, n) for n in names if hasattr(module, n)), None)
        absent = {"weight": np.ones, "bias": np.zeros}
        return {
            role: make(shape)
            for role, make in absent.items()
            if shape is not None and role in own and own[role] is None
        }

    def block_of(self, tensor: Any) -> tuple[Hashable, int]:
        storage = tensor.untyped_storage()
        return storage._cdata, storage.nbytes()

    def identity(self, tensor: Any) -> int:
        return id(self._tensor(tensor))

    def train(
        self, inputs: Sequence[np.ndarray]
    ) -> tuple[list[Any], list[Any], int | None]:
        self.net.train()
        arrays = self._arrays(inputs, self.dtype(), False)
        with self.torch.enable_grad(), self.saved() as saved:
            outputs = self._call(arrays)
        on_cpu = all(a.device.type == "cpu" for a in arrays)
        return arrays, outputs, sum(saved.values()) if on_cpu else None

    def itemsize(self) -> int:
        return getattr(self.torch, self.dtype()).itemsize

    def is_recorded(self, array: Any) -> bool:
        return bool(array.requires_grad)

    def example(self, shape: Sequence[int]) -> np.ndarray:
        return _example(self.net.modules(), shape)

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
        name = next(k.__name__ for k in type(layer).__mro__ if from_framework(k))
        rank = int(re.findall(r"[123]", name)[-1])
        mode = getattr(layer, "padding_mode", "zeros")
        if mode != "zeros":  # the padding would read the input once more
            raise ValueError(
                f"{self.owner}: padding_mode must be 'zeros', got {mode!r}"
            )

        def sizes(value: Any) -> tuple[int, ...]:
            return (value,) * rank if isinstance(value, int) else tuple(value)

        padding: Any = getattr(layer, "padding", 0)
        if not hasattr(layer, "kernel_size"):  # a layer that only pads
            ones = (1,) * rank
            sides = self.both_sides(padding, padding)
            numbers = {"kernel_size": ones, "stride": ones, "padding": sides}
            return {**numbers, "dilation": ones, "ceil_mode": (False,) * rank}
        if padding == "valid":
            padding = 0
        elif padding == "same":
            padding = self.both_sides(layer._reversed_padding_repeated_twice, "same")
        return {
            "kernel_size": sizes(layer.kernel_size),
            "stride": sizes(layer.stride or layer.kernel_size),
            "padding": sizes(padding),
            "dilation": sizes(getattr(layer, "dilation", 1)),
            "ceil_mode": (getattr(layer, "ceil_mode", False),) * rank,
        }

    def both_sides(self, padding: Sequence[int], given: Any) -> tuple[int, ...]:
        """(left, right, top, bottom, …), the last axis first, as one number an axis."""
        before, after = padding[-2::-2], padding[-1::-2]
        if tuple(before) != tuple(after) or min(padding) < 0:
            raise ValueError(
                f"{self.owner}: padding must be alike on both sides of an axis, and "
                f"not negative, got {given!r}, which is (left, right, …) = "
                f"{tuple(padding)}"
            )
        return tuple(before)

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
        return None if self._lazy(value) or value.is_meta else self.values(value)

    def missing(self, tensor: Any) -> str:
        value = self._tensor(tensor)
        if not self._lazy(value) and value.is_meta:
            return "has no values: it is on the meta device"
        return super().missing(tensor)

    def values(self, array: Any) -> np.ndarray:
        array = array.detach().cpu()
        if array.is_quantized:
            array = array.dequantize()
        if array.layout != self.torch.strided:
            array = array.to_dense()
        if array.dtype == self.torch.bfloat16:
            array = array.float()
        return array.resolve_conj().resolve_neg().numpy().copy()

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
        for name, tensor, _ in self.items():
            if self._tensor(tensor).is_meta and not self._lazy(self._tensor(tensor)):
                raise ValueError(f"{self.owner}: {name} {self.missing(tensor)}")
        if self.waits():
            modes = [(m, m.training) for m in self.net.modules()]
            try:
                self.evaluate(inputs)
            finally:
                for module, mode in modes:
                    module.training = mode

    def _call(self, arrays: list[Any]) -> list[Any]:
        """The net's outputs, one array after the other."""
        nn = self.torch.nn
        if isinstance(self.net, (nn.LSTM, nn.LSTMCell)) and len(arrays) > 1:
            arrays = [arrays[0], tuple(arrays[1:])]  # the states are one argument
        return _leaves(self.net(*arrays))

    def forward(self, inputs: Sequence[np.ndarray], training: bool) -> list[np.ndarray]:
        self.net.train(training)
        with self.torch.no_grad():
            outputs = self._call(self._arrays(inputs, self.dtype(), False))
        return [self.values(o) for o in outputs]

    def forward_backward(
        self, inputs: Sequence[np.ndarray], head: Head
    ) -> dict[str, Any]:
        self.net.train()
        self.net.zero_grad()
        sizes: dict[str, int] = {}
        names = {id(module): name for name, module in self.net.named_modules()}

        def count(module: Any, args: Any, output: Any) -> None:
            sizes[names[id(module)]] = output.numel() // module.running_var.numel()

        norms = [
            m for m in self.net.modules() if getattr(m, "running_var", None) is not None
        ]
        hooks = [norm.register_forward_hook(count) for norm in norms]
        try:
            arrays = self._arrays(inputs, self.dtype(), True)
            outputs = self._call(arrays)
        finally:
            for hook in hooks:
                hook.remove()
        plain = [self.values(o) for o in outputs]
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
                np.zeros(a.shape) if a.grad is None else self.values(a.grad)
                for a in arrays
                if a.requires_grad
            ],
            "gradients": {
                name: np.zeros(self.shape(t)) if g is None else self.values(g)
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
        """Zeros of the net's dtype, or whole numbers, on its device."""
        inputs = [self.example(shape)]
        self.settle(inputs)
        (x,) = self._arrays(inputs, self.dtype(), False)
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
        rates = _rates(self.net.modules(), dropout)
        flags = [(torch.backends.cudnn, torch.backends.cudnn.allow_tf32)]
        flags.append(
            (torch.backends.cuda.matmul, torch.backends.cuda.matmul.allow_tf32)
        )
        self.off = _kinds(rates)
        if devices and any(flag for _, flag in flags):
            self.off["TF32"] = 1
        for module, name, _ in rates:
            setattr(module, name, 0.0)
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
            for module, name, rate in rates:
                setattr(module, name, rate)
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
        self.every, self.off = [], Counter()
        self.blocks: list[Any] = []
        # Whether the first graph recorded concatenates, or hides what it does: in
        # float32 oneDNN may end the process in the backward pass of that.
        self.deadly: bool | None = None
        # A recurrent layer returns its states only if it was given some.
        self.states = isinstance(net, mx.gluon.rnn.rnn_layer._RNNLayer)
        self._walk(net, "")
        self.layers = [layer for layer in self.every if layer.tensors]

    def _walk(self, block: Any, path: str) -> None:
        if any(block is known for known in self.blocks):
            return  # used twice, listed once, as by PyTorch
        self.blocks.append(block)
        if isinstance(block, self.mx.gluon.SymbolBlock):
            graph = json.loads(block._cached_graph[1].tojson())
            for layer in _named(dict(block.params.items()), _norms(graph)):
                layer.path = f"{path}.{layer.path}" if path else layer.path
                self.every.append(layer)
            return
        own = {_role(role): p for role, p in block._reg_params.items()}
        if own:
            kind = self.mx.gluon.parameter.Constant
            constants = {role: p for role, p in own.items() if isinstance(p, kind)}
            tensors = {role: p for role, p in own.items() if role not in constants}
            trained = {role for role in tensors if role not in STATISTICS}
            options = getattr(block, "_kwargs", {})
            self.every.append(
                Layer(
                    *(path, type(block).__name__, tensors, trained, constants),
                    *(_fixed_gamma(options), options, block),
                )
            )
        for name, child in block._children.items():
            self._walk(child, f"{path}.{name}" if path else str(name))

    def block_of(self, tensor: Any) -> tuple[Hashable, int]:
        return id(tensor), prod(tensor.shape) * np.dtype(tensor.dtype).itemsize

    def identity(self, tensor: Any) -> int:
        return id(tensor)

    def train(
        self, inputs: Sequence[np.ndarray]
    ) -> tuple[list[Any], list[Any], int | None]:
        arrays = self._arrays(inputs)
        with self.mx.autograd.record():
            outputs = self._call(arrays)
        self.mx.nd.waitall()
        return arrays, outputs, None

    def itemsize(self) -> int:
        first = self.first()
        return np.dtype("float32" if first is None else first.dtype).itemsize

    def is_recorded(self, array: Any) -> bool:
        return self.recorded(array) is not None

    def example(self, shape: Sequence[int]) -> np.ndarray:
        return _example(self.blocks, shape)

    def operation(self, array: Any) -> str:
        """The name of the operation that made an array, empty if none was recorded."""
        graph = self.recorded(array)
        return graph.name if graph is not None else ""

    def operations(self, array: Any) -> dict[str, tuple[str, list[str]]]:
        """What was recorded on the way to an array: by the name of each operation its
        kind and the names of those whose outputs it reads."""
        graph = self.recorded(array)
        nodes = json.loads(graph.tojson())["nodes"] if graph is not None else []
        found = {}
        for node in nodes:
            if node["op"] != "null":
                is_relu = node.get("attrs", {}).get("act_type") == "relu"
                reads = [nodes[place]["name"] for place, *_ in node["inputs"]]
                found[node["name"]] = ("relu" if is_relu else node["op"], reads)
        return found

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
        # An unknown size is 0, and -1 under npx.set_np().
        return tuple(max(n, 0) for n in tensor.shape or (0,))

    def get(self, tensor: Any) -> np.ndarray | None:
        if tensor._data is None:
            return None
        return self.values(tensor.data(tensor.list_ctx()[0]))

    def values(self, array: Any) -> np.ndarray:
        if np.dtype(array.dtype).kind == "V":  # bfloat16
            array = array.astype("float32")
        return array.asnumpy()

    def array(self, values: Any, dtype: Any, context: Any = None) -> Any:
        """An array of the kind that Gluon takes now: `mx.np`'s under npx.set_np()."""
        if np.dtype(dtype).kind == "V":
            return self.array(values, "float32", context).astype(dtype)
        make = self.mx.np if self.mx.util.is_np_array() else self.mx.nd
        return make.array(values, ctx=context, dtype=dtype)

    def set(self, tensor: Any, values: np.ndarray) -> None:
        # In inference oneDNN re-orders the kernels of 1-D, 3-D and grouped
        # convolutions. Values assigned to one are lost, and an error comes later;
        # asking for its address puts it back in order, once nothing uses it.
        self.mx.nd.waitall()
        for array in tensor._data or ():
            address = ctypes.c_void_p()
            base = self.mx.base
            base.check_call(
                base._LIB.MXNDArrayGetData(array.handle, ctypes.byref(address))
            )
        if tensor._data is None:
            # Never initialised, or waiting for its shape, which is known now.
            tensor.shape = values.shape
            tensor.initialize(init=self.mx.init.Zero(), force_reinit=True)
        tensor.set_data(self.array(values, tensor.dtype))

    def initialize_constants(self) -> None:
        """Give constants that have no values yet those of their definition."""
        for layer in self.every:
            for tensor in layer.constants.values():
                if tensor._data is None:
                    tensor.initialize()

    def dtype(self) -> str:
        first = self.first()
        return "float32" if first is None else np.dtype(first.dtype).name

    def cast(self, dtype: str) -> None:
        self.net.cast(dtype)

    def _arrays(self, inputs: Sequence[np.ndarray]) -> list[Any]:
        first = self.first()
        context = self.mx.cpu() if first is None else first.list_ctx()[0]
        dtype = "float32" if first is None else first.dtype
        return [
            self.array(
                x, dtype if np.issubdtype(x.dtype, np.floating) else x.dtype, context
            )
            for x in inputs
        ]

    def _call(self, arrays: list[Any]) -> list[Any]:
        """The net's outputs, one array after the other."""
        cell = isinstance(self.net, self.mx.gluon.rnn.RecurrentCell)
        if not cell and not self.states:
            return _leaves(self.net(*arrays))
        x, *states = arrays
        if not states:
            batch = x.shape[0 if cell else self.net._layout.find("N")]
            info = self.net.state_info(batch)
            states = [self.array(np.zeros(i["shape"]), x.dtype, x.ctx) for i in info]
        outputs = self.net(x, states)
        # A cell's output is one of its states, and PyTorch's returns these alone.
        return _leaves(outputs[1] if cell else outputs)

    def settle(self, inputs: Sequence[np.ndarray]) -> None:
        for name, tensor, _ in self.items():
            if tensor._data is None and not tensor._deferred_init:
                raise ValueError(
                    f"{self.owner}: {name} is not initialised: call net.initialize() "
                    "first"
                )
        if self.waits():
            self.evaluate(inputs)

    def forward(self, inputs: Sequence[np.ndarray], training: bool) -> list[np.ndarray]:
        autograd = self.mx.autograd
        with autograd.train_mode() if training else autograd.predict_mode():
            return [self.values(o) for o in self._call(self._arrays(inputs))]

    def forward_backward(
        self, inputs: Sequence[np.ndarray], head: Head
    ) -> dict[str, Any]:
        for _, parameter, _ in self.items():
            if parameter.grad_req == "null":
                continue
            if self.mx.util.is_np_array():  # where zero_grad raises
                for gradient in parameter.list_grad():
                    gradient[()] = 0
            else:
                parameter.zero_grad()
        arrays = self._arrays(inputs)
        real = [a for a in arrays if np.issubdtype(a.dtype, np.floating)]
        for array in real:
            array.attach_grad()
        with self.mx.autograd.record():
            outputs = self._call(arrays)
        plain = [self.values(o) for o in outputs]
        recorded = [self.recorded(o) for o in outputs]
        if self.deadly is None:
            graph = "".join(s.tojson().lower() for s in recorded if s is not None)
            self.deadly = "concat" in graph or "cachedop" in graph
        heads: dict[int, list[Any]] = {}
        for h, o, symbol in zip(head(plain), outputs, recorded, strict=True):
            if symbol is not None and np.issubdtype(o.dtype, np.floating):
                # MXNet would count an array that is returned twice once.
                known = heads.setdefault(id(o), [o, 0])
                known[1] = known[1] + self.array(h, o.dtype, o.ctx)
        if heads:
            self.mx.autograd.backward(*map(list, zip(*heads.values(), strict=True)))
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

    def recorded(self, output: Any) -> Any:
        """The graph on the way to an output; None if it has no gradient."""
        try:
            return self.mx.autograd.get_symbol(output)
        except self.mx.MXNetError:
            return None

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
        """Zeros of the net's dtype, or whole numbers, on its device."""
        inputs = [self.example(shape)]
        self.settle(inputs)
        (x,) = self._arrays(inputs)
        return x

    @contextmanager
    def undisturbed(self, dropout: bool = False) -> Iterator[None]:
        """Stochastic depth, and dropout unless asked for, off inside; all as it was
        afterwards."""
        state = self.state()
        dtypes = [
            (tensor, tensor.dtype)
            for layer in self.every
            for tensor in [*layer.tensors.values(), *layer.constants.values()]
        ]
        parameters = [p for _, p, _ in self.items() if p.grad_req != "null"]
        gradients = [[g.copy() for g in p.list_grad()] for p in parameters]
        flags = [(b, b._active, b._flags) for b in self.blocks if hasattr(b, "_active")]
        rates = _rates(self.blocks, dropout)
        self.off = _kinds(rates)
        for block, name, _ in rates:
            setattr(block, name, 0.0)
        try:
            yield
        finally:
            self._forget_errors(parameters)
            for tensor, dtype in dtypes:
                tensor.cast(dtype)
            self.load(state)
            for block, name, rate in rates:
                setattr(block, name, rate)
            for block, active, options in flags:
                block._active, block._flags = active, options
                block._clear_cached_op()
            for parameter, saved in zip(parameters, gradients, strict=True):
                for gradient, values in zip(parameter.list_grad(), saved, strict=True):
                    gradient[:] = values

    def _forget_errors(self, parameters: list[Any]) -> None:
        """An array that an operator failed on stays unusable until it was read."""
        for p in parameters:
            for array in [*p.list_data(), *p.list_grad()]:
                with suppress(self.mx.MXNetError):
                    array.wait_to_read()
        with suppress(self.mx.MXNetError):
            self.mx.nd.waitall()


def _rates(layers: Iterable[Any], dropout: bool) -> list[tuple[Any, str, float]]:
    """(layer, attribute, rate) of what is random in training; with `dropout` only of
    what drops whole branches."""
    found = []
    for layer in layers:
        names = [kind.__name__ for kind in type(layer).__mro__]
        if any(map(_DEPTH.search, names)) or (
            not dropout and any(map(_RANDOM.search, names))
        ):
            own = vars(layer)  # a property may have no setter
            rates = [(name, own.get(name)) for name in _RATES]
            found += [
                (layer, name, rate)
                for name, rate in rates
                if isinstance(rate, (int, float)) and rate > 0
            ]
    return found


def _example(layers: Iterable[Any], shape: Sequence[int]) -> np.ndarray:
    """Zeros for the first of a net's layers."""
    for layer in layers:
        names = {bare_name(kind) for kind in type(layer).__mro__}
        if names & {"Embedding", "EmbeddingBag"}:
            return np.zeros(shape, dtype="int64")
        if not (getattr(layer, "_children", None) or getattr(layer, "_modules", None)):
            break
    return np.zeros(shape, dtype="float32")


def _kinds(rates: list[tuple[Any, str, float]]) -> Counter[str]:
    """How many of each kind of layer are random."""
    names = [(type(layer).__name__, name) for layer, name, _ in rates]
    return Counter(
        f"{kind}'s dropout" if "dropout" in name else kind for kind, name in names
    )


def _leaves(outputs: Any) -> list[Any]:
    """The arrays in what a net returns: alone, in lists, tuples and dicts (by key)."""
    if isinstance(outputs, Mapping):
        outputs = [outputs[key] for key in sorted(outputs, key=str)]
    if isinstance(outputs, (list, tuple)):
        return [leaf for output in outputs for leaf in _leaves(output)]
    return [outputs] if hasattr(outputs, "dtype") else []


def _fixed_gamma(options: dict[str, Any]) -> dict[str, np.ndarray]:
    """MXNet computes with ones, whatever gamma holds, if `fix_gamma` is set."""
    return {"weight": np.ones(())} if options.get("fix_gamma") is True else {}


def _norms(graph: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The options of the batch norms in a symbol's JSON, by the names of their
    inputs."""
    nodes, found = graph["nodes"], {}
    for node in nodes:
        if node["op"] in ("BatchNorm", "BatchNorm_v1", "_contrib_SyncBatchNorm"):
            given = node.get("attrs", {})
            options = {
                "momentum": float(given.get("momentum", 0.9)),
                "fix_gamma": given.get("fix_gamma", "True") in ("True", "1"),
                "use_global_stats": given.get("use_global_stats") in ("True", "1"),
            }
            for index, *_ in node["inputs"][1:]:
                found[nodes[index]["name"]] = options
    return found


def _named(
    arrays: dict[str, Any], norms: dict[str, dict[str, Any]] | None = None
) -> list[Layer]:
    """Layers from the names of their parameters, in the order of the first of each."""
    layers: dict[str, Layer] = {}
    for name, array in arrays.items():
        own = name.removeprefix("arg:").removeprefix("aux:")
        path, _, role = own.rpartition(".")
        ending = _ENDING.search(own)
        if not path and ending:
            path, role = own[: ending.start()], ending[1]
        if role == "num_batches_tracked":
            continue
        role = _role(role)
        options = (norms or {}).get(own, {})
        layer = layers.setdefault(
            path, Layer(path, "by name", {}, set(), {}, _fixed_gamma(options), options)
        )
        layer.tensors[role] = array
        if role not in STATISTICS:
            layer.trained.add(role)
    return list(layers.values())


class ArrayNet(Net):
    """Arrays by name, from a dict or a file, seen as a `Net` to copy from."""

    def __init__(
        self,
        owner: str,
        arrays: Mapping[str, Any],
        norms: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        self.owner = owner
        plain = {}
        for name, array in arrays.items():
            if not isinstance(name, str):
                raise TypeError(f"{owner}: source has a key that is no name: {name!r}")
            plain[name] = self.values(array)
            if plain[name].dtype.kind not in "biufc":
                raise TypeError(
                    f"{owner}: source[{name!r}] must be an array, "
                    f"got {type(array).__name__}"
                )
        if not plain:
            raise ValueError(f"{owner}: source holds no arrays")
        self.layers = self.every = _named(plain, norms)

    def values(self, array: Any) -> np.ndarray:
        if hasattr(array, "list_data"):  # a Parameter of Gluon's
            array = array.list_data()[0]
        if hasattr(array, "detach") and hasattr(array, "cpu"):
            array = array.detach().cpu()
            return (array.float() if "bfloat16" in str(array.dtype) else array).numpy()
        if hasattr(array, "asnumpy"):
            if np.dtype(array.dtype).kind == "V":
                array = array.astype("float32")
            return array.asnumpy()
        return np.asarray(array)

    def get(self, tensor: Any) -> np.ndarray | None:
        return tensor

    def shape(self, tensor: Any) -> tuple[int, ...]:
        return tensor.shape


_MXNET_FILE = b"\x12\x01\0\0\0\0\0\0"


def _read(owner: str, path: Path) -> ArrayNet:
    """The arrays of a file that MXNet, PyTorch or NumPy has written."""
    if not path.is_file():
        raise FileNotFoundError(f"{owner}: source names no file: {path.name}")
    norms = None
    with path.open("rb") as file:
        start = file.read(len(_MXNET_FILE))
    if start == _MXNET_FILE:
        from d2lutils.compat import mx

        arrays = mx.nd.load(str(path))
        # export writes net-symbol.json beside net-0000.params; it alone knows which
        # gammas are fixed.
        graph = path.with_name(re.sub(r"-\d+$", "", path.stem) + "-symbol.json")
        if graph.is_file():
            norms = _norms(json.loads(graph.read_text(encoding="utf-8")))
    elif zipfile.is_zipfile(path) and any(
        name.endswith(".npy") for name in zipfile.ZipFile(path).namelist()
    ):
        arrays = dict(np.load(path))
    else:
        import torch

        try:
            arrays = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ValueError(
                f"{owner}: source {path.name} is not what save_parameters, export, "
                "torch.save(net.state_dict(), …) or numpy.savez writes"
            ) from error
    if not isinstance(arrays, Mapping):
        raise ValueError(f"{owner}: source {path.name} holds arrays without names")
    return ArrayNet(owner, arrays, norms)


def source_of(owner: str, name: str, source: Any) -> Net:
    """The adapter for a net, a dict of arrays or a file, to copy from."""
    if isinstance(source, (str, Path)):
        return _read(owner, Path(source))
    # What collect_params returns is no Mapping.
    if isinstance(source, Mapping) or hasattr(source, "get_constant"):
        return ArrayNet(owner, dict(source.items()))
    return net_of(owner, name, source, " (nor a file, nor arrays by name)")


def net_of(owner: str, name: str, net: Any, other: str = "") -> TorchNet | GluonNet:
    """The adapter for a net; TypeError if it belongs to neither framework (`other`
    says what else it is not)."""
    # A framework that was never imported cannot have made this net.
    torch, mxnet = sys.modules.get("torch"), sys.modules.get("mxnet")
    if torch is not None and isinstance(net, torch.nn.Module):
        return TorchNet(owner, net)
    if mxnet is not None and isinstance(net, mxnet.gluon.Block):
        return GluonNet(owner, net)
    raise TypeError(
        f"{owner}: {name} must be a Gluon Block or a PyTorch Module, "
        f"got {type(net).__name__}{other}"
    )


# Layers that look at one position at a time, over all channels or not, and those that
# look at all of them.
_POINTWISE = {
    *("Activation", "AlphaDropout", "BatchNorm", "CELU", "ChannelShuffle"),
    *("CrossMapLRN", "Dropout", "ELU", "FeatureAlphaDropout", "GELU", "Hardshrink"),
    *("Hardsigmoid", "Hardswish", "Hardtanh", "Identity", "LeakyReLU"),
    *("LocalResponseNorm", "LogSigmoid", "Mish", "PReLU", "RELU6", "RReLU", "ReLU"),
    *("ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softshrink"),
    *("Softsign", "Swish", "SyncBatchNorm", "Tanh", "Tanhshrink", "Threshold"),
}
_WHOLE = {"AdaptiveAvgPool", "AdaptiveMaxPool", "Flatten"}
_WHOLE |= {"Dense", "GlobalAvgPool", "GlobalMaxPool", "Linear"}
_WINDOWS = {"Conv": "conv", "LPPool": "pool", "MaxPool": "pool", "AvgPool": "pool"}
# What zeros, or any other constant, around the map do to it.
_PADS = {"ZeroPad", "ConstantPad"}
# Why a layer is in no chain, where there is more to say than its name.
_NO_CHAIN = {
    **dict.fromkeys(
        ("GroupNorm", "InstanceNorm", "LayerNorm", "RMSNorm"),
        "its statistics are of the whole map, so each output reads every input",
    ),
    **dict.fromkeys(
        ("CircularPad", "ReflectionPad", "ReplicationPad"),
        "its padding reads the input once more",
    ),
    **dict.fromkeys(
        (
            *("ConvTranspose", "PixelShuffle", "Upsample", "UpsamplingBilinear"),
            *("MaxUnpool", "UpsamplingNearest"),
        ),
        "it makes the map larger, which no window does",
    ),
}


def bare_name(kind: type) -> str:
    """A class's name without its rank: Conv for Conv2d and Conv2D, and so on."""
    return re.sub(r"[123][dD](?=Transpose$|$)", "", kind.__name__.lstrip("_"))


def from_framework(kind: type) -> bool:
    """Whether a class is a framework's or this package's own."""
    return kind.__module__.split(".")[0] in ("d2lutils", "mxnet", "torch")


def bare_kind(layer: Any) -> str:
    """The name without rank of the class whose forward pass a layer has.

    A class of one's own that only derives from a layer counts as that layer; one that
    overrides `forward` or `hybrid_forward` does something else.
    """
    for kind in type(layer).__mro__:
        parametrized = kind.__module__.startswith("torch.nn.utils")
        if from_framework(kind) and not parametrized:
            return bare_name(kind)
        if {"__call__", "forward", "hybrid_forward"} & set(vars(kind)):
            break
    return bare_name(type(layer))


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
    kind = bare_kind(layer).removeprefix("Lazy")
    if kind in ("Sequential", "HybridSequential"):
        gluon = hasattr(layer, "_children")
        children = layer._children if gluon else layer._modules
        return all(
            _collect(owner, adapter, child, f"{path}.{name}".lstrip("."), axis, found)
            for name, child in children.items()
        )
    if kind in _WHOLE:
        return False
    if kind in _WINDOWS or kind in _PADS:
        numbers = adapter.window(layer)
        if axis >= len(numbers["kernel_size"]):
            raise ValueError(
                f"{owner}: axis must be below {len(numbers['kernel_size'])} for "
                f"{path or 'the net'} ({type(layer).__name__}), got {axis}"
            )
        sizes = {name: int(value[axis]) for name, value in numbers.items()}
        ceil_mode = bool(sizes.pop("ceil_mode"))
        role = _WINDOWS.get(kind, "conv")
        window = Window(**sizes, ceil_mode=ceil_mode, kind=role, name=path or kind)
        if (window.span, window.stride, window.padding) != (1, 1, 0):
            found.append(window)
        return True
    if kind not in _POINTWISE:
        why = _NO_CHAIN.get(kind, "only a plain sequence of known layers is a chain")
        raise ValueError(
            f"{owner}: no rule for {path or 'the net'} ({type(layer).__name__}); {why}"
        )
    return True
