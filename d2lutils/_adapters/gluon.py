"""A Gluon Block, seen as a `Net`."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from math import prod
from typing import Any

import numpy as np

from d2lutils._adapters import (
    STATISTICS,
    Head,
    Layer,
    Net,
    arrays_in,
    changed,
    to_numpy,
)
from d2lutils._adapters.files import (
    fixed_gamma,
    layers_by_name,
    norm_options,
    torch_role,
)
from d2lutils.compat import mx

autograd = mx.autograd


class GluonNet(Net):
    """A Gluon Block, seen as a `Net`; its tensors are Parameters."""

    framework = "gluon"

    def __init__(self, owner: str, net: Any) -> None:
        self.owner, self.net = owner, net
        self.all_layers = []
        self.blocks: list[Any] = []
        # Whether the first recorded graph concatenates, or may do so inside a cached
        # graph: in float32 oneDNN can then end the process in the backward pass.
        self.may_crash: bool | None = None
        # A recurrent layer returns its states only if it was given some.
        self.states = isinstance(net, mx.gluon.rnn.rnn_layer._RNNLayer)
        self._walk(net, "")
        self.layers = [layer for layer in self.all_layers if layer.tensors]

    def _walk(self, block: Any, path: str) -> None:
        if any(block is known for known in self.blocks):
            return  # a block that is used twice is listed once, as PyTorch does
        self.blocks.append(block)
        if isinstance(block, mx.gluon.SymbolBlock):
            norms = norm_options(json.loads(block._cached_graph[1].tojson()))
            for layer in layers_by_name(block.params, norms):
                layer.path = f"{path}.{layer.path}" if path else layer.path
                self.all_layers.append(layer)
            return
        own = {torch_role(role): p for role, p in block._reg_params.items()}
        if own:
            kind = mx.gluon.parameter.Constant
            constants = {role: p for role, p in own.items() if isinstance(p, kind)}
            tensors = {role: p for role, p in own.items() if role not in constants}
            trained = {role for role in tensors if role not in STATISTICS}
            options = getattr(block, "_kwargs", {})
            self.all_layers.append(
                Layer(
                    *(path, type(block).__name__, tensors, trained, constants),
                    *(fixed_gamma(options), options, block),
                )
            )
        for name, child in block._children.items():
            self._walk(child, f"{path}.{name}" if path else str(name))

    # -- parameters --

    def shape(self, tensor: Any) -> tuple[int, ...]:
        # An unknown size is 0, and -1 under npx.set_np().
        return tuple(max(n, 0) for n in tensor.shape or (0,))

    def get(self, tensor: Any) -> np.ndarray | None:
        if tensor._data is None:
            return None
        return to_numpy(tensor.data(tensor.list_ctx()[0]))

    def assign(self, tensor: Any, values: np.ndarray) -> None:
        # In inference oneDNN re-orders the kernels of 1-D, 3-D and grouped
        # convolutions. Values assigned to one are lost, and an error comes later.
        # Asking for its address, while nothing uses it, restores the order.
        mx.nd.waitall()
        for array in tensor._data or ():
            get, address = mx.base._LIB.MXNDArrayGetData, ctypes.c_void_p()
            mx.base.check_call(get(array.handle, ctypes.byref(address)))
        if tensor._data is None:
            # Never initialised, or waiting for its shape, which is known now.
            tensor.shape = values.shape
            tensor.initialize(init=mx.init.Zero(), force_reinit=True)
        tensor.set_data(_array(values, tensor.dtype))

    def initialize_constants(self) -> None:
        for layer in self.all_layers:
            for tensor in layer.constants.values():
                if tensor._data is None:
                    tensor.initialize()

    def identity(self, tensor: Any) -> int:
        return id(tensor)

    def gets_gradient(self, tensor: Any) -> bool:
        return bool(tensor.grad_req != "null")

    def _trained(self) -> list[Any]:
        """Parameters that get a gradient; shared ones are listed once."""
        found = {id(p): p for _, p, _ in self.items() if self.gets_gradient(p)}
        return list(found.values())

    def mx_dtype(self) -> Any:
        """As `dtype`, but bfloat16 is MXNet's own kind of NumPy dtype."""
        first = self.first_parameter()
        return "float32" if first is None else first.dtype

    def dtype(self) -> str:
        return np.dtype(self.mx_dtype()).name

    def cast(self, dtype: str) -> None:
        self.net.cast(dtype)

    def infer_shapes(self, inputs: Sequence[np.ndarray]) -> None:
        for name, tensor, _ in self.items():
            if tensor._data is None and not tensor._deferred_init:
                raise ValueError(
                    f"{self.owner}: {name} is not initialised: call net.initialize() "
                    "first"
                )
        if self.lacks_values():
            self.evaluate(inputs)

    def hybridize(self, active: bool) -> None:
        """Run as a graph with static memory, or imperatively."""
        self.net.hybridize(active, **({"static_alloc": True} if active else {}))

    # -- passes --

    def to_arrays(self, inputs: Sequence[np.ndarray]) -> list[Any]:
        first = self.first_parameter()
        context = mx.cpu() if first is None else first.list_ctx()[0]
        dtype = self.mx_dtype()
        return [_array(x, dtype if _is_real(x) else x.dtype, context) for x in inputs]

    def _call(self, arrays: list[Any]) -> list[Any]:
        """The net's outputs, one array after the other."""
        cell = isinstance(self.net, mx.gluon.rnn.RecurrentCell)
        if not cell and not self.states:
            return arrays_in(self.net(*arrays))
        x, *states = arrays
        if not states:
            batch = x.shape[0 if cell else self.net._layout.find("N")]
            info = self.net.state_info(batch)
            states = [_array(np.zeros(i["shape"]), x.dtype, x.ctx) for i in info]
        outputs = self.net(x, states)
        # A cell's output is also one of its states, and PyTorch's returns only those.
        return arrays_in(outputs[1] if cell else outputs)

    def forward(self, inputs: Sequence[np.ndarray], training: bool) -> list[np.ndarray]:
        with autograd.train_mode() if training else autograd.predict_mode():
            return [to_numpy(o) for o in self._call(self.to_arrays(inputs))]

    def forward_backward(
        self, inputs: Sequence[np.ndarray], head: Head, training: bool = True
    ) -> dict[str, Any]:
        for parameter in self._trained():
            if not mx.util.is_np_array():
                parameter.zero_grad()
                continue
            for gradient in parameter.list_grad():  # zero_grad raises on mx.np arrays
                gradient[()] = 0
        arrays = self.to_arrays(inputs)
        real = [a for a in arrays if _is_real(a)]
        for array in real:
            array.attach_grad()
        with autograd.record(train_mode=training):
            outputs = self._call(arrays)
        plain = [to_numpy(o) for o in outputs]
        graphs = [_graph(o) for o in outputs]
        if self.may_crash is None:
            text = "".join(s.tojson().lower() for s in graphs if s is not None)
            self.may_crash = "concat" in text or "cachedop" in text
        heads: dict[int, list[Any]] = {}
        for h, o, graph in zip(head(plain), outputs, graphs, strict=True):
            if graph is not None and _is_real(o):
                # MXNet counts an array once, even if it is returned twice.
                known = heads.setdefault(id(o), [o, 0])
                known[1] = known[1] + _array(h, o.dtype, o.ctx)
        if heads:
            pairs = map(list, zip(*heads.values(), strict=True))
            # Unless told, backward takes batch statistics for those of training.
            autograd.backward(*pairs, train_mode=training)
        return {
            "outputs": plain,
            "inputs": [a.grad.asnumpy() for a in real],
            "gradients": {
                name: p.grad(p.list_ctx()[0]).asnumpy()
                if self.gets_gradient(p)
                else np.zeros(self.shape(p))
                for name, p, trained in self.items()
                if trained
            },
        }

    def recorded_pass(
        self, inputs: Sequence[np.ndarray]
    ) -> tuple[list[Any], list[Any], int | None]:
        arrays = self.to_arrays(inputs)
        with autograd.record():
            outputs = self._call(arrays)
        mx.nd.waitall()
        return arrays, outputs, None

    def is_recorded(self, array: Any) -> bool:
        return _graph(array) is not None

    def storage_of(self, array: Any) -> tuple[Hashable, int]:
        return id(array), prod(array.shape) * np.dtype(array.dtype).itemsize

    def operation(self, array: Any) -> str:
        """The name of the recorded operation that made an array, or nothing."""
        graph = _graph(array)
        return graph.name if graph is not None else ""

    def operations(self, arrays: Iterable[Any]) -> dict[str, tuple[str, list[str]]]:
        """What was recorded on the way to arrays: by the name of each operation its
        kind and the names of those whose outputs it reads."""
        found = {}
        for graph in map(_graph, arrays):
            nodes = [] if graph is None else json.loads(graph.tojson())["nodes"]
            for node in nodes:
                if node["op"] != "null":
                    is_relu = node.get("attrs", {}).get("act_type") == "relu"
                    reads = [nodes[place]["name"] for place, *_ in node["inputs"]]
                    found[node["name"]] = ("relu" if is_relu else node["op"], reads)
        return found

    def optimizer(
        self, rate: float, momentum: float, decay: float
    ) -> Callable[[], None]:
        # A Trainer would attach itself to the reader's parameters. Like a Trainer this
        # steps once for a shared parameter and heeds lr_mult and wd_mult.
        parameters = self._trained()
        numbered = dict(enumerate(parameters))
        sgd = mx.optimizer.SGD(
            momentum, learning_rate=rate, wd=decay, param_dict=numbered
        )
        update = mx.optimizer.get_updater(sgd)

        def step() -> None:
            for i, parameter in enumerate(parameters):
                context = parameter.list_ctx()[0]
                update(i, parameter.grad(context), parameter.data(context))

        return step

    @contextmanager
    def undisturbed(self, dropout: bool = False) -> Iterator[None]:
        state = self.state()
        dtypes = [
            (tensor, tensor.dtype)
            for layer in self.all_layers
            for tensor in [*layer.tensors.values(), *layer.constants.values()]
        ]
        parameters = self._trained()
        gradients = [[g.copy() for g in p.list_grad()] for p in parameters]
        flags = [(b, b._active, b._flags) for b in self.blocks if hasattr(b, "_active")]
        rates = self.random_rates(dropout)
        try:
            with changed((block, name, 0.0) for block, name, _ in rates):
                yield
        finally:
            _forget_errors(parameters)
            for tensor, dtype in dtypes:
                tensor.cast(dtype)
            self.load(state)
            for block, active, options in flags:
                block._active, block._flags = active, options
                block._clear_cached_op()
            for parameter, saved in zip(parameters, gradients, strict=True):
                for gradient, values in zip(parameter.list_grad(), saved, strict=True):
                    gradient[:] = values

    # -- layers --

    def modules(self) -> Iterable[Any]:
        return self.blocks

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


def _is_real(array: Any) -> bool:
    return np.issubdtype(array.dtype, np.floating)


def _array(values: Any, dtype: Any, context: Any = None) -> Any:
    """An array of the kind that Gluon takes now: `mx.np`'s under npx.set_np()."""
    if np.dtype(dtype).kind == "V":
        return _array(values, "float32", context).astype(dtype)
    make = mx.np if mx.util.is_np_array() else mx.nd
    return make.array(values, ctx=context, dtype=dtype)


def _graph(output: Any) -> Any:
    """The recorded graph on the way to an output; None if it has no gradient."""
    try:
        return autograd.get_symbol(output)
    except mx.MXNetError:
        return None


def _forget_errors(parameters: list[Any]) -> None:
    """Read each array: one that an operator failed on is unusable until then."""
    for p in parameters:
        for array in [*p.list_data(), *p.list_grad()]:
            with suppress(mx.MXNetError):
                array.wait_to_read()
    with suppress(mx.MXNetError):
        mx.nd.waitall()
