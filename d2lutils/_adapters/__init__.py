"""One interface to nets of both frameworks, for `parity`, `ledger` and `memory`.

`adapter_of` gives the adapter of a Gluon Block or a PyTorch Module. An adapter lists
the layers that have parameters of their own, in the order of registration, reads and
writes their values as NumPy arrays, runs passes, and restores everything it touched.
A framework is imported only once one of its nets is at hand.

- `gluon`, `pytorch`: the two adapters;
- `files`: arrays by name, from a dict or a file, to copy from;
- `layers`: what each kind of layer does, in one table;
- `chains`: the windows of a net;
- `matching`: which layers of two nets hold the same numbers;
- `child`: work that may end the process, in a child of it.
"""

from __future__ import annotations

import re
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from d2lutils._adapters.layers import class_kind

STATISTICS = ("running_mean", "running_var")
# The gradients of a loss, from the outputs.
Head = Callable[[list[np.ndarray]], list[np.ndarray]]

# Layers that draw random numbers, and the attributes that hold the rate; the second
# kind drops whole branches, in this package and elsewhere.
_RANDOM = re.compile(r"Dropout|DropBlock|^_?RNN|MultiheadAttention")
_DEPTH = re.compile(r"StochasticDepth|DropPath")
_RATES = ("p", "_rate", "drop_prob", "_drop_prob", "dropout", "_dropout")


@dataclass
class Layer:
    """A layer with tensors of its own. Roles are PyTorch's names: weight, bias, ….

    Attributes:
        path, kind: its place in the net, and its class.
        tensors: parameters and running statistics, by role.
        trained: the roles that are trained.
        constants: tensors that are never trained (PyTorch's buffers, Gluon's
            `Constant`).
        fixed: what the layer computes with, whatever it stores: ones and zeros of a
            norm without scale and shift.
        options: of a norm.
        module: the layer itself, where there is one.
        computed: tensors that a parametrization or pruning computes from `parts` of
            this layer, or from layers below it, for which `is_part` is true.
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

    @property
    def roles(self) -> list[str]:
        """What the layer computes with, stored or not."""
        stored = [role for role in self.tensors if role not in self.parts]
        return list(dict.fromkeys([*stored, *self.computed, *self.fixed]))

    def tensor(self, role: str) -> Any:
        """The tensor of a role, or None. The other framework may train a constant."""
        return {**self.constants, **self.computed, **self.tensors}.get(role)


class Parameters(ABC):
    """Parameters and statistics by layer: what can be copied from."""

    owner: str
    layers: list[Layer]  # those that store parameters or running statistics
    all_layers: list[Layer]  # and those with only constants or fixed numbers

    @abstractmethod
    def get(self, tensor: Any) -> np.ndarray | None:
        """The values of a tensor, or None while it has none."""

    @abstractmethod
    def shape(self, tensor: Any) -> tuple[int, ...]:
        """The shape of a tensor; zeros where a size is not known yet."""

    def why_missing(self, tensor: Any) -> str:
        """Why a tensor has no values, and the cure."""
        return "has no values yet: initialise the net and run one forward pass first"

    def items(self) -> Iterator[tuple[str, Any, bool]]:
        """(name, tensor, is it trained) of every parameter and statistic."""
        for layer in self.layers:
            for role, tensor in layer.tensors.items():
                yield layer.name(role), tensor, role in layer.trained


class Net(Parameters):
    """A net of either framework, with what copying, comparing and measuring need."""

    framework: str  # "gluon" or "pytorch"
    net: Any
    switched_off: Counter[str]  # what `undisturbed` has switched off, by class

    # -- parameters --

    @abstractmethod
    def set(self, tensor: Any, values: np.ndarray) -> None:
        """Overwrite a tensor, keeping its dtype and device."""

    @abstractmethod
    def identity(self, tensor: Any) -> int:
        """The same number for the same parameter, wherever it is used."""

    @abstractmethod
    def gets_gradient(self, tensor: Any) -> bool:
        """Whether a parameter is trained, and not frozen."""

    @abstractmethod
    def cast(self, dtype: str) -> None:
        """Everything in the net to a type."""

    @abstractmethod
    def dtype(self) -> str:
        """The type of the first parameter, "float32" in a net without any."""

    @abstractmethod
    def itemsize(self) -> int:
        """Bytes of a number of the net."""

    @abstractmethod
    def infer_shapes(self, inputs: Sequence[np.ndarray]) -> None:
        """Run one pass if shapes are still to be inferred from the input."""

    def first_parameter(self) -> Any:
        """Some parameter, or None in a net without any."""
        return next((tensor for _, tensor, _ in self.items()), None)

    def lacks_values(self) -> bool:
        """Whether some parameter has no values yet."""
        return any(self.get(tensor) is None for _, tensor, _ in self.items())

    def initialize_constants(self) -> None:
        """Give constants that have no values yet those of their definition."""

    def state(self) -> dict[str, np.ndarray]:
        """The values of everything, by name."""
        values = {}
        for name, tensor, _ in self.items():
            array = self.get(tensor)
            if array is None:
                raise ValueError(f"{self.owner}: {name} {self.why_missing(tensor)}")
            values[name] = array
        return values

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Set everything to values that `state` returned."""
        for name, tensor, _ in self.items():
            self.set(tensor, state[name])

    # -- passes --

    @abstractmethod
    def to_numpy(self, array: Any) -> np.ndarray:
        """One of the framework's arrays; bfloat16, which NumPy lacks, as float32."""

    @abstractmethod
    def to_arrays(self, inputs: Sequence[np.ndarray]) -> list[Any]:
        """The framework's arrays on the net's device, real numbers in its dtype."""

    @abstractmethod
    def forward(self, inputs: Sequence[np.ndarray], training: bool) -> list[np.ndarray]:
        """The outputs of one pass without gradients."""

    @abstractmethod
    def forward_backward(
        self, inputs: Sequence[np.ndarray], head: Head
    ) -> dict[str, Any]:
        """Outputs and gradients of one pass in training mode.

        Returns:
            "outputs" and "inputs": arrays, and gradients of the real inputs;
            "gradients": of the parameters, by name; "sizes": numbers that each
            statistic is of, by the paths of PyTorch's batch norms.
        """

    @abstractmethod
    def recorded_pass(
        self, inputs: Sequence[np.ndarray]
    ) -> tuple[list[Any], list[Any], int | None]:
        """One forward pass in training mode, recorded for a backward pass: inputs and
        outputs as the framework's arrays, and the bytes that autograd saved, if the
        framework says so."""

    @abstractmethod
    def is_recorded(self, array: Any) -> bool:
        """Whether a backward pass reaches an array: something before it is trained."""

    @abstractmethod
    def storage_of(self, array: Any) -> tuple[Hashable, int]:
        """A key of the memory that an array occupies, and its bytes."""

    @abstractmethod
    def optimizer(
        self, rate: float, momentum: float, decay: float
    ) -> Callable[[], None]:
        """One step of the framework's own SGD, as a function."""

    @abstractmethod
    def undisturbed(self, dropout: bool = False) -> AbstractContextManager[None]:
        """Stochastic depth, and dropout unless `dropout`, off inside; everything as
        it was afterwards."""

    def evaluate(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs in evaluation mode."""
        return self.forward(inputs, training=False)

    def example(self, shape: Sequence[int]) -> np.ndarray:
        """Zeros to run the net on: whole numbers, which are places, where its first
        layer looks something up."""
        for layer in self.modules():
            names = {class_kind(kind) for kind in type(layer).__mro__}
            if names & {"Embedding", "EmbeddingBag"}:
                return np.zeros(shape, dtype="int64")
            if not children_of(layer):
                break
        return np.zeros(shape, dtype="float32")

    def zeros(self, shape: Sequence[int]) -> Any:
        """`example` as the framework's array, once all shapes are known."""
        inputs = [self.example(shape)]
        self.infer_shapes(inputs)
        return self.to_arrays(inputs)[0]

    def recorded_calls(
        self, inputs: Sequence[np.ndarray], training: bool
    ) -> list[tuple[Layer, list[np.ndarray], list[np.ndarray]]]:
        """Each layer's inputs and outputs in one forward pass, in the order of calls.

        Running statistics may move; the net must not be hybridized.
        """
        found: list[tuple[Layer, list[np.ndarray], list[np.ndarray]]] = []

        def record(layer: Layer) -> Callable[..., None]:
            def hook(_: Any, inputs: Any, outputs: Any) -> None:
                arrays = (arrays_in(x) for x in (inputs, outputs))
                given, made = ([self.to_numpy(x) for x in each] for each in arrays)
                found.append((layer, given, made))

            return hook

        hooks = [
            layer.module.register_forward_hook(record(layer))
            for layer in self.layers
            if layer.module is not None
        ]
        try:
            self.forward(inputs, training)
        finally:
            remove(hooks)
        return found

    # -- layers --

    @abstractmethod
    def modules(self) -> Iterable[Any]:
        """The net and every layer and block in it, once each, from the top."""

    @abstractmethod
    def window(self, layer: Any) -> dict[str, Sequence[int]]:
        """The arguments of a `Window` that a convolution or pooling has, by axis."""

    def random_rates(self, dropout: bool) -> list[tuple[Any, str, float]]:
        """(layer, attribute, rate) of what is random in training; with `dropout` only
        of what drops whole branches. Counts them in `switched_off`."""
        found = []
        for layer in self.modules():
            names = [kind.__name__ for kind in type(layer).__mro__]
            depth = any(map(_DEPTH.search, names))
            if depth or (not dropout and any(map(_RANDOM.search, names))):
                own = vars(layer)  # a property may have no setter
                rates = [(name, own.get(name)) for name in _RATES]
                found += [
                    (layer, name, rate)
                    for name, rate in rates
                    if isinstance(rate, (int, float)) and rate > 0
                ]
        self.switched_off = Counter(
            f"{type(layer).__name__}'s dropout"
            if "dropout" in name
            else type(layer).__name__
            for layer, name, _ in found
        )
        return found


def children_of(net: Any) -> dict[str, Any]:
    """The direct children of a Block or Module, by name."""
    children = getattr(net, "_children", None) or getattr(net, "_modules", {})
    return {name: child for name, child in children.items() if child is not None}


def arrays_in(outputs: Any) -> list[Any]:
    """The arrays in what a net returns: alone, in lists, tuples and dicts (by key)."""
    if isinstance(outputs, Mapping):
        outputs = [outputs[key] for key in sorted(outputs, key=str)]
    if isinstance(outputs, (list, tuple)):
        return [array for output in outputs for array in arrays_in(output)]
    return [outputs] if hasattr(outputs, "dtype") else []


@contextmanager
def changed(settings: Iterable[tuple[Any, str, Any]]) -> Iterator[None]:
    """Set (object, attribute, value) inside, and restore the attributes afterwards."""
    settings = list(settings)
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in settings]
    try:
        for owner, name, value in settings:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def remove(hooks: Iterable[Any]) -> None:
    """Take forward hooks of either framework off their layers."""
    for hook in hooks:
        hook.detach() if hasattr(hook, "detach") else hook.remove()


def adapter_of(
    owner: str, name: str, net: Any, framework: str = "", other: str = ""
) -> Any:
    """The adapter of a net.

    Args:
        owner, name: the function that asks and its argument, for the message.
        net: a Gluon Block or a PyTorch Module.
        framework: "gluon" or "pytorch" if it must be that.
        other: what else the argument might have been.

    Raises:
        TypeError: the net belongs to neither framework, or to the other one.
    """
    kinds = {"gluon": "a Gluon Block", "pytorch": "a PyTorch Module"}
    # A framework that was never imported cannot have made this net.
    torch, mxnet = sys.modules.get("torch"), sys.modules.get("mxnet")
    found = ""
    if torch is not None and isinstance(net, torch.nn.Module):
        found = "pytorch"
    elif mxnet is not None and isinstance(net, mxnet.gluon.Block):
        found = "gluon"
    if not found or (framework and found != framework):
        wanted = kinds[framework] if found else " or ".join(kinds.values())
        raise TypeError(
            f"{owner}: {name} must be {wanted}, got {type(net).__name__}{other}"
        )
    if found == "pytorch":
        from d2lutils._adapters.pytorch import TorchNet

        return TorchNet(owner, net)
    from d2lutils._adapters.gluon import GluonNet

    return GluonNet(owner, net)
