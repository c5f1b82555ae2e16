"""A PyTorch Module, seen as a `Net`."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from d2lutils._adapters import (
    STATISTICS,
    Head,
    Layer,
    Net,
    arrays_in,
    changed,
    hooked,
    to_numpy,
)
from d2lutils._adapters.layer_facts import from_framework


class TorchNet(Net):
    """A PyTorch Module, seen as a `Net`; its tensors are (module, name)."""

    framework = "pytorch"

    def __init__(self, owner: str, net: Any) -> None:
        self.owner, self.net = owner, net
        layers = (_layer(path, module) for path, module in net.named_modules())
        self.all_layers = [layer for layer in layers if layer is not None]
        self.layers = [layer for layer in self.all_layers if layer.tensors]

    # -- parameters --

    def shape(self, tensor: Any) -> tuple[int, ...]:
        value = getattr(*tensor)
        return (0,) if _is_lazy(value) else tuple(value.shape)

    def get(self, tensor: Any) -> np.ndarray | None:
        value = getattr(*tensor)
        return None if _is_lazy(value) or value.is_meta else to_numpy(value)

    def why_missing(self, tensor: Any) -> str:
        value = getattr(*tensor)
        if not _is_lazy(value) and value.is_meta:
            return "has no values: it is on the meta device"
        return super().why_missing(tensor)

    def assign(self, tensor: Any, values: np.ndarray) -> None:
        with torch.no_grad():
            getattr(*tensor).copy_(torch.as_tensor(values))

    def identity(self, tensor: Any) -> int:
        return id(getattr(*tensor))

    def gets_gradient(self, tensor: Any) -> bool:
        return bool(getattr(*tensor).requires_grad)

    def dtype(self) -> str:
        first = self.first_parameter()
        if first is None:
            return "float32"
        return str(getattr(*first).dtype).removeprefix("torch.")

    def cast(self, dtype: str) -> None:
        self.net.to(getattr(torch, dtype))

    def infer_shapes(self, inputs: Sequence[np.ndarray]) -> None:
        for name, tensor, _ in self.items():
            value = getattr(*tensor)
            if value.is_meta and not _is_lazy(value):
                raise ValueError(f"{self.owner}: {name} {self.why_missing(tensor)}")
        if self.lacks_values():
            with changed((m, "training", False) for m in self.net.modules()):
                self.evaluate(inputs)

    # -- passes --

    def to_arrays(self, inputs: Sequence[np.ndarray], grad: bool = False) -> list[Any]:
        first = self.first_parameter()
        device = "cpu" if first is None else getattr(*first).device
        dtype = getattr(torch, self.dtype())
        arrays = []
        for x in inputs:
            array = torch.as_tensor(x).to(device)
            if array.is_floating_point():
                array = array.to(dtype).requires_grad_(grad)
            arrays.append(array)
        return arrays

    def _call(self, arrays: list[Any]) -> list[Any]:
        """The net's outputs, one array after the other."""
        if isinstance(self.net, (nn.LSTM, nn.LSTMCell)) and len(arrays) > 1:
            arrays = [arrays[0], tuple(arrays[1:])]  # the states are one argument
        return arrays_in(self.net(*arrays))

    def forward(self, inputs: Sequence[np.ndarray], training: bool) -> list[np.ndarray]:
        self.net.train(training)
        with torch.no_grad():
            outputs = self._call(self.to_arrays(inputs))
        return [*map(to_numpy, outputs)]

    def forward_backward(
        self, inputs: Sequence[np.ndarray], head: Head, training: bool = True
    ) -> dict[str, Any]:
        self.net.train(training)
        self.net.zero_grad()
        arrays = self.to_arrays(inputs, grad=True)
        names = {m: n for n, m in self.net.named_modules() if _has_statistics(m)}
        sizes = {}

        def count(norm: Any, _: Any, output: Any) -> None:
            sizes[names[norm]] = output.numel() // norm.running_var.numel()

        with hooked((norm, count) for norm in names):
            outputs = self._call(arrays)
        plain = [to_numpy(o) for o in outputs]
        heads = [
            (o, torch.as_tensor(h).to(o))
            for h, o in zip(head(plain), outputs, strict=True)
            if o.requires_grad
        ]
        if heads:
            torch.autograd.backward([o for o, _ in heads], [h for _, h in heads])
        return {
            "outputs": plain,
            "inputs": [self._gradient(a) for a in arrays if a.requires_grad],
            "gradients": {
                name: self._gradient(getattr(*tensor))
                for name, tensor, trained in self.items()
                if trained
            },
            "sizes": sizes,
        }

    def _gradient(self, tensor: Any) -> np.ndarray:
        if tensor.grad is None:
            return np.zeros(tensor.shape)
        return to_numpy(tensor.grad)

    def recorded_pass(
        self, inputs: Sequence[np.ndarray]
    ) -> tuple[list[Any], list[Any], int | None]:
        self.net.train()
        arrays = self.to_arrays(inputs)
        with torch.enable_grad(), self.saved() as saved:
            outputs = self._call(arrays)
        on_cpu = all(a.device.type == "cpu" for a in arrays)
        return arrays, outputs, sum(saved.values()) if on_cpu else None

    @contextmanager
    def saved(self) -> Iterator[dict[Hashable, int]]:
        """Bytes of each memory block that autograd saves inside, except the net's."""
        own = self.storages()
        found: dict[Hashable, int] = {}
        alive = []  # or an address could be used again

        def pack(tensor: Any) -> Any:
            key, size = self.storage_of(tensor)
            if key not in own:
                found[key] = size
                alive.append(tensor)
            return tensor

        hooks = torch.autograd.graph.saved_tensors_hooks
        with hooks(pack, lambda tensor: tensor):
            yield found

    def is_recorded(self, array: Any) -> bool:
        return bool(array.requires_grad)

    def storage_of(self, array: Any) -> tuple[Hashable, int]:
        storage = array.untyped_storage()
        return storage._cdata, storage.nbytes()

    def storages(self) -> set[Hashable]:
        """Keys of the memory of parameters and buffers."""
        own = (*self.net.parameters(), *self.net.buffers())
        return {self.storage_of(tensor)[0] for tensor in own}

    def optimizer(
        self, rate: float, momentum: float, decay: float
    ) -> Callable[[], None]:
        weights = self.net.parameters()
        return torch.optim.SGD(weights, rate, momentum, weight_decay=decay).step

    @contextmanager
    def undisturbed(self, dropout: bool = False) -> Iterator[None]:
        """As `Net.undisturbed`. TF32 is off, too, and the state of PyTorch's random
        generators is restored; MXNet's cannot be read."""
        rates = self.random_rates(dropout)
        backends: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
        gpus = {p.device for p in self.net.parameters() if p.is_cuda}
        if gpus and any(backend.allow_tf32 for backend in backends):
            self.switched_off["TF32"] = 1
        with (
            torch.random.fork_rng(gpus, device_type="cuda"),
            changed((p, "grad", None) for p in self.net.parameters()),
            changed((m, "training", m.training) for m in self.net.modules()),
            changed((module, name, 0.0) for module, name, _ in rates),
            changed((backend, "allow_tf32", False) for backend in backends),
            self._values_kept(),
        ):
            yield

    @contextmanager
    def _values_kept(self) -> Iterator[None]:
        """Restore values. A cast replaces the data of parameters and the buffers of
        modules, so the old tensors are put back, too."""
        data = [(p, p.data, p.data.clone()) for p in self.net.parameters()]
        buffers = [
            (module, name, buffer, buffer.clone())
            for module in self.net.modules()
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]
        try:
            yield
        finally:
            for parameter, own, values in data:
                parameter.grad = None
                parameter.data = own.copy_(values)
            for module, name, own, values in buffers:
                module._buffers[name] = own.copy_(values)

    # -- layers --

    def modules(self) -> Iterable[Any]:
        return self.net.modules()

    def window(self, layer: Any) -> dict[str, Sequence[int]]:
        name = next(k.__name__ for k in type(layer).__mro__ if from_framework(k))
        rank = int(re.findall(r"[123]", name)[-1])
        mode = getattr(layer, "padding_mode", "zeros")
        if mode != "zeros":  # padding that reads the input is no part of a window
            raise ValueError(
                f"{self.owner}: padding_mode must be 'zeros', got {mode!r}"
            )

        def sizes(value: Any) -> tuple[int, ...]:
            return (value,) * rank if isinstance(value, int) else tuple(value)

        kernel = getattr(layer, "kernel_size", 1)  # layers that only pad have none
        padding: Any = getattr(layer, "padding", 0)
        if padding == "valid":
            padding = 0
        elif padding == "same":
            padding = self._both_sides(layer._reversed_padding_repeated_twice, "same")
        elif not hasattr(layer, "kernel_size"):
            padding = self._both_sides(padding, padding)
        return {
            "kernel_size": sizes(kernel),
            "stride": sizes(getattr(layer, "stride", None) or kernel),
            "padding": sizes(padding),
            "dilation": sizes(getattr(layer, "dilation", 1)),
            "ceil_mode": (getattr(layer, "ceil_mode", False),) * rank,
        }

    def _both_sides(self, padding: Sequence[int], given: Any) -> tuple[int, ...]:
        """One number for each axis, from (left, right, top, bottom, …), which has the
        last axis first."""
        before, after = padding[-2::-2], padding[-1::-2]
        if tuple(before) != tuple(after) or min(padding) < 0:
            raise ValueError(
                f"{self.owner}: padding must be alike on both sides of an axis, and "
                f"not negative, got {given!r}, which is (left, right, …) = "
                f"{tuple(padding)}"
            )
        return tuple(before)


def _is_lazy(value: Any) -> bool:
    return nn.parameter.is_lazy(value)


def _has_statistics(module: Any) -> bool:
    return getattr(module, "running_var", None) is not None


def _layer(path: str, module: Any) -> Layer | None:
    """A module's own tensors; None if it has none."""
    tensors = {r: (module, r) for r, p in module._parameters.items() if p is not None}
    constants = {
        role: (module, role)
        for role, buffer in module._buffers.items()
        if buffer is not None and role != "num_batches_tracked"
    }
    trained = set(tensors)
    for role in STATISTICS:
        if role in constants:
            tensors[role] = constants.pop(role)
    computed, parts = _computed(module, tensors)
    fixed = _fixed(module)
    if not (tensors or constants or fixed or computed):
        return None
    return Layer(
        path,
        type(module).__name__,
        tensors,
        trained,
        constants,
        fixed,
        module=module,
        computed=computed,
        parts=parts,
        is_part="parametrizations" in path.split("."),
    )


def _computed(module: Any, tensors: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """What a layer computes before each pass, by role, and the roles of its own tensors
    that this is computed from. `torch.nn.utils.parametrize` does so, and older hooks,
    which keep weight_orig, or weight_g and weight_v, and set weight."""
    names = list(module._modules.get("parametrizations", ()))
    parts = set()
    for part in tensors:
        name, _, end = part.rpartition("_")
        if end in ("orig", "g", "v") and name in module.__dict__:
            names.append(name)
            parts.add(part)
    for hook in module._forward_pre_hooks.values() if parts else ():
        if hasattr(hook, "apply_mask"):  # of torch.nn.utils.prune
            hook(module, ())  # the weight may be older than what was loaded
    return {name: (module, name) for name in names}, parts


def _fixed(module: Any) -> dict[str, np.ndarray]:
    """Ones and zeros of a norm without scale and shift, zeros of a recurrent layer
    without biases: Gluon's layers always store these."""
    own = module._parameters
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)) and not module.bias:
        return {
            role.replace("weight", "bias"): np.zeros(len(p))
            for role, p in own.items()
            if "weight_hr" not in role
        }
    if "Norm" not in type(module).__name__:
        return {}
    names = ("normalized_shape", "num_features", "num_channels")
    shape = next((getattr(module, n) for n in names if hasattr(module, n)), None)
    return {
        role: make(shape)
        for role, make in {"weight": np.ones, "bias": np.zeros}.items()
        if shape is not None and role in own and own[role] is None
    }
