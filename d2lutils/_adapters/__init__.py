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

import inspect
import re
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from d2lutils import _arguments
from d2lutils._adapters.layer_facts import class_kind

STATISTICS = ("running_mean", "running_var")
# The gradients of a loss, from the outputs.
Head = Callable[[list[np.ndarray]], list[np.ndarray]]

# Layers that drop whole branches, all that draw random numbers, and the attributes that
# hold the rate.
_BRANCHES = re.compile(r"StochasticDepth|DropPath")
_RANDOM = re.compile(
    rf"{_BRANCHES.pattern}|Dropout|DropBlock|^_?RNN|MultiheadAttention"
)
_RATES = ("p", "_rate", "drop_prob", "_drop_prob", "dropout", "_dropout")


@dataclass
class Layer:
    """A layer with tensors of its own. Roles are PyTorch's names: weight, bias, ….

    Attributes:
        path, kind: its place in the net, and its class.
        tensors: parameters and running statistics, by role.
        trained: the roles that are trained.
        constants: PyTorch's buffers and Gluon's `Constant`, never trained.
        fixed: what a norm without scale or shift computes with, whatever it stores.
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


class Parameters(Protocol):
    """Parameters and statistics by layer: what can be copied from."""

    owner: str
    layers: list[Layer]  # those that store parameters or running statistics
    all_layers: list[Layer]  # and those with only constants or fixed numbers

    def get(self, tensor: Any) -> np.ndarray | None:
        """The values of a tensor, or None while it has none."""

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


class Net(Parameters, Protocol):
    """A net of either framework, with what copying, comparing and measuring need."""

    framework: str  # "gluon" or "pytorch"
    net: Any
    switched_off: Counter[str]  # what `undisturbed` has switched off, by class

    # -- parameters --

    def assign(self, tensor: Any, values: np.ndarray) -> None:
        """Overwrite a tensor, keeping its dtype and device."""

    def identity(self, tensor: Any) -> int:
        """The same number for the same parameter, wherever it is used."""

    def gets_gradient(self, tensor: Any) -> bool: ...
    def cast(self, dtype: str) -> None: ...

    def dtype(self) -> str:
        """The type of the first parameter, "float32" in a net without any."""

    def infer_shapes(self, inputs: Sequence[np.ndarray]) -> None:
        """Run one pass if shapes are still to be inferred from the input."""

    def first_parameter(self) -> Any:
        """Some parameter, or None in a net without any."""
        return next((tensor for _, tensor, _ in self.items()), None)

    def lacks_values(self) -> bool:
        return any(self.get(tensor) is None for _, tensor, _ in self.items())

    def initialize_constants(self) -> None:
        """Give constants that have no values yet those of their definition."""
        return  # PyTorch's always have some

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
            self.assign(tensor, state[name])

    # -- passes --

    def to_arrays(self, inputs: Sequence[np.ndarray]) -> list[Any]:
        """The framework's arrays on the net's device, real numbers in its dtype."""

    def forward(self, inputs: Sequence[np.ndarray], training: bool) -> list[np.ndarray]:
        """The outputs of one pass without gradients."""

    def forward_backward(
        self, inputs: Sequence[np.ndarray], head: Head, training: bool = True
    ) -> dict[str, Any]:
        """Outputs and gradients of one pass, in training mode by default.

        Returns:
            "outputs" and "inputs": arrays, and gradients of the real inputs;
            "gradients": of the parameters, by name; PyTorch's also "sizes": how many
            numbers each statistic is of, by the paths of batch norms.
        """

    def recorded_pass(
        self, inputs: Sequence[np.ndarray]
    ) -> tuple[list[Any], list[Any], int | None]:
        """One forward pass in training mode, recorded for a backward pass: inputs and
        outputs as the framework's arrays, and the bytes that autograd saved, if the
        framework says so."""

    def is_recorded(self, array: Any) -> bool:
        """Whether a backward pass reaches an array: something before it is trained."""

    def storage_of(self, array: Any) -> tuple[Hashable, int]:
        """A key of the memory that an array occupies, and its bytes."""

    def optimizer(
        self, rate: float, momentum: float, decay: float
    ) -> Callable[[], None]:
        """One step of the framework's own SGD, as a function."""

    def undisturbed(self, dropout: bool = False) -> AbstractContextManager[None]:
        """Stochastic depth, and dropout unless `dropout`, off inside; everything as
        it was afterwards."""

    def evaluate(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs in evaluation mode."""
        return self.forward(inputs, training=False)

    def example(self, shape: Sequence[int]) -> np.ndarray:
        """Zeros to run the net on; whole numbers where its first layer looks rows of
        a table up."""
        for layer in self.modules():
            names = {class_kind(kind) for kind in type(layer).__mro__}
            if names & {"Embedding", "EmbeddingBag"}:
                return np.zeros(shape, dtype="int64")
            if not children_of(layer):
                break
        return np.zeros(shape, dtype="float32")

    def recorded_calls(
        self, layers: Sequence[Any], inputs: Sequence[np.ndarray], training: bool
    ) -> list[tuple[int, list[np.ndarray], list[np.ndarray]]]:
        """Calls of some layers in one forward pass, in order: each has the number of
        its layer in `layers`, its inputs and its outputs.

        Running statistics may move; the net must not be hybridized.
        """
        found: list[tuple[int, list[np.ndarray], list[np.ndarray]]] = []

        def record(number: int, _: Any, *arrays: Any) -> None:
            given, made = ([to_numpy(a) for a in arrays_in(x)] for x in arrays)
            found.append((number, given, made))

        hooks = [partial(record, number) for number in range(len(layers))]
        with hooked(zip(layers, hooks, strict=True)):
            self.forward(inputs, training)
        return found

    # -- layers --

    def modules(self) -> Iterable[Any]:
        """The net and every layer and block in it, once each, from the top."""

    def window(self, layer: Any) -> dict[str, Sequence[int]]:
        """The arguments of a `Window` that a convolution or pooling has, by axis."""

    def random_rates(self, dropout: bool) -> list[tuple[Any, str, float]]:
        """(layer, attribute, rate) of what is random in training; with `dropout` only
        of what drops whole branches. Counts them in `switched_off`."""
        pattern, found = _BRANCHES if dropout else _RANDOM, []
        for layer in self.modules():
            if any(pattern.search(kind.__name__) for kind in type(layer).__mro__):
                for name in _RATES:
                    rate = vars(layer).get(name)  # a property may have no setter
                    if isinstance(rate, (int, float)) and rate > 0:
                        found.append((layer, name, rate))
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


@contextmanager
def hooked(hooks: Iterable[tuple[Any, Callable[..., Any]]]) -> Iterator[None]:
    """Forward hooks, given as (layer, hook), inside; none afterwards.

    A hook gets the layer, its inputs, those given by name too, and what it returned.
    """
    handles = []
    for layer, hook in hooks:
        if hasattr(layer, "hybridize"):  # Gluon's layers take no input by name
            handles.append(layer.register_forward_hook(hook))
        else:
            hook = partial(_with_names, hook)
            handles.append(layer.register_forward_hook(hook, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.detach() if hasattr(handle, "detach") else handle.remove()


def _with_names(hook: Any, layer: Any, inputs: Any, names: Any, output: Any) -> Any:
    if names:  # in the order in which the layer declares them
        bound = inspect.signature(layer.forward).bind(*inputs, **names)
        inputs = tuple(bound.arguments.values())
    return hook(layer, inputs, output)


def to_numpy(array: Any) -> np.ndarray:
    """A copy of an array of either framework or NumPy's; bfloat16, which NumPy lacks,
    as float32."""
    if hasattr(array, "asnumpy"):
        if np.dtype(array.dtype).kind == "V":
            array = array.astype("float32")
        return array.asnumpy()
    if not hasattr(array, "detach"):
        return np.array(array)
    array = array.detach().cpu()
    if array.is_quantized:
        array = array.dequantize()
    if str(array.dtype) == "torch.bfloat16":
        array = array.float()
    return array.to_dense().resolve_conj().resolve_neg().numpy().copy()


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
    if not found or framework not in ("", found):
        wanted = kinds[framework] if found else " or ".join(kinds.values())
        raise TypeError(
            f"{owner}: {name} must be {wanted}, got {type(net).__name__}{other}"
        )
    if found == "gluon":
        from d2lutils._adapters.gluon import GluonNet

        return GluonNet(owner, net)
    from d2lutils._adapters.pytorch import TorchNet

    return TorchNet(owner, net)


def with_zeros(
    owner: str, net: Any, input_shape: Sequence[int], framework: str
) -> tuple[Any, Any]:
    """The adapter of a net whose shapes are known, and zeros of its dtype, on its
    device, to run it on."""
    adapter = adapter_of(owner, "net", net, framework)
    inputs = [adapter.example(_arguments.shape_of(owner, "input_shape", input_shape))]
    adapter.infer_shapes(inputs)
    return adapter, adapter.to_arrays(inputs)[0]
