"""Bytes of memory that a net really takes, measured on this machine."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from d2lutils import _arguments as checks
from d2lutils import _errors
from d2lutils._adapters import adapter_of
from d2lutils._adapters.pytorch import TorchNet
from d2lutils._lifetimes import Lifetimes, Operation, Trace
from d2lutils._training import some_parameters, some_trained

__all__ = [
    "kept_bytes",
    "lifetimes",
    "live_bytes",
    "peak_bytes",
    "step_trace",
]


def kept_bytes(net: Any, input_shape: Sequence[int]) -> int:
    """Bytes that a forward pass in training keeps for backward.

    Measured with `torch.autograd.graph.saved_tensors_hooks`: every
    memory block that some operation saves, once, parameters and running
    statistics left out. The input is among them if it is saved.

    Args:
        net: a Module. It is run on zeros and left as it was.
        input_shape: (N, C, L) or (N, C, H, W).

    Raises:
        TypeError, ValueError: a bad argument, or a forward that fails.
    """
    owner = "kept_bytes"
    adapter, x = _prepared(owner, net, input_shape)
    some_parameters(owner, net.parameters())
    with (
        adapter.undisturbed(dropout=True),
        torch.enable_grad(),
        adapter.saved() as saved,
    ):
        net.train()
        _run(owner, net, x)
    return sum(saved.values())


def live_bytes(net: Any, input_shape: Sequence[int]) -> tuple[int, str]:
    """The bytes that inference needs at the same time, at least.

    From the list of operations of one pass: the largest set of tensors
    that are needed at once, the input and the output included, and the
    operation that needs them. See `_lifetimes.largest_live_set`.

    Args, Raises: as `kept_bytes`.
    """
    return _lifetimes("live_bytes", net, input_shape).largest()


def lifetimes(net: Any, input_shape: Sequence[int]) -> Lifetimes:
    """The operations of one pass in inference, with what they touch.

    Args, Raises: as `live_bytes`.
    """
    return _lifetimes("lifetimes", net, input_shape)


def _lifetimes(
    owner: str, net: Any, input_shape: Sequence[int]
) -> Lifetimes:
    adapter, x = _prepared(owner, net, input_shape)
    with (
        adapter.undisturbed(dropout=True),
        torch.no_grad(),
        _Recorder(net) as recorder,
    ):
        net.eval()
        recorder.hold(x)
        out = _run(owner, net, x)
        held = [_key(t) for t in (x, *_tensors(out))]
    return Lifetimes(
        recorder.operations,
        recorder.sizes,
        held,
        adapter.itemsize(),
        recorder.whole,
    )


def peak_bytes(net: Any, input_shape: Sequence[int]) -> int:
    """The bytes of tensors that exist at the same time in inference.

    Measured after each operation of one pass, the input included.
    Python frees a tensor once nothing refers to it; a frame that still
    has it in a variable keeps it, so this can be more than
    `live_bytes`. Work space inside an operation is not seen.

    Args, Raises: as `kept_bytes`.
    """
    owner = "peak_bytes"
    adapter, x = _prepared(owner, net, input_shape)
    with (
        adapter.undisturbed(dropout=True),
        torch.no_grad(),
        _Census(net) as census,
    ):
        net.eval()
        census.add(x)
        _run(owner, net, x)
    return max(sum(point.values()) for point in census.points)


def step_trace(
    net: Any, input_shape: Sequence[int], optimizer: str = "sgd"
) -> Trace:
    """Bytes in memory during the first training step of a classifier.

    Measured after each operation of forward, backward and update, for
    softmax cross-entropy. The input counts as an activation.

    Args:
        net: a Module with outputs (N, classes). It is left as it was.
        input_shape: (N, C, L) or (N, C, H, W).
        optimizer: "sgd", "momentum" or "adam".

    Raises:
        TypeError, ValueError: a bad argument, a forward or backward
            that fails, or outputs of another shape.
    """
    owner = "step_trace"
    adapter, x = _prepared(owner, net, input_shape)
    some_parameters(owner, net.parameters())
    checks.choice(owner, "optimizer", optimizer, OPTIMIZERS)
    some_trained(owner, net.parameters())
    with adapter.undisturbed(dropout=True), torch.enable_grad():
        net.train()
        step = _optimizer(optimizer, net)
        labels = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        with _Census(net) as census:
            census.add(x)
            census.phase = "forward"
            logits = _run(owner, net, x)
            _check_logits(owner, logits)
            loss = torch.nn.functional.cross_entropy(logits, labels)
            del logits
            census.phase = "backward"
            try:
                loss.backward()
            except RuntimeError as error:
                raise ValueError(
                    f"{owner}: the backward pass of net fails: "
                    f"{_errors.reason(error)}"
                ) from error
            census.phase = "step"
            step.step()
        gradients = [p.grad for p in net.parameters()]
        # Adam also counts its steps, one number a parameter.
        values = [v for s in step.state.values() for v in s.values()]
        state = [v for v in values if torch.is_tensor(v) and v.ndim]
        kept = census.numbers((*gradients, *state))
        return Trace(
            parameters=_total((*net.parameters(), *net.buffers())),
            gradients=_total(gradients),
            state=_total(state),
            phases=census.phases,
            activations=[
                sum(n for key, n in point.items() if key not in kept)
                for point in census.points
            ],
        )


def _check_logits(owner: str, logits: Any) -> None:
    shape = tuple(getattr(logits, "shape", ()))
    if len(shape) != 2:
        got = shape or type(logits).__name__
        raise ValueError(
            f"{owner}: net must return (N, classes), got {got}"
        )


OPTIMIZERS = ("sgd", "momentum", "adam")


def _optimizer(name: str, net: Any) -> torch.optim.Optimizer:
    # One parameter at a time: the fused forms make copies of all.
    if name == "adam":
        return torch.optim.Adam(
            net.parameters(), lr=2**-10, foreach=False
        )
    momentum = 0.875 if name == "momentum" else 0.0
    return torch.optim.SGD(
        net.parameters(), lr=2**-10, momentum=momentum, foreach=False
    )


def _prepared(
    owner: str, net: Any, input_shape: Sequence[int]
) -> tuple[TorchNet, torch.Tensor]:
    """The net's adapter and zeros of its dtype, on its device."""
    adapter = adapter_of(owner, "net", net, "pytorch")
    shape = checks.shape_of(owner, "input_shape", input_shape)
    return adapter, adapter.zeros(shape)


def _run(owner: str, net: Any, x: torch.Tensor) -> Any:
    try:
        return net(x)
    except Exception as error:
        raise ValueError(
            f"{owner}: the net fails on input_shape={tuple(x.shape)}: "
            f"{_errors.reason(error)}"
        ) from error


def _key(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _size(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().nbytes()


def _total(tensors: Any) -> int:
    sizes = {_key(t): _size(t) for t in tensors if t is not None}
    return sum(sizes.values())


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [t for t in tree_leaves(tree) if isinstance(t, torch.Tensor)]


class _Recorder(TorchDispatchMode):
    """Writes down every operation with the memory that it touches."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.own = {
            _key(t) for t in (*net.parameters(), *net.buffers())
        }
        self.operations: list[Operation] = []
        self.sizes: dict[Hashable, int] = {}
        self.whole: set[Hashable] = set()
        self.alive: list[torch.Tensor] = []

    def hold(self, *tensors: torch.Tensor) -> tuple[Hashable, ...]:
        """Keys of tensors that are not the net's own."""
        keys: list[Hashable] = []
        for tensor in tensors:
            if _key(tensor) not in self.own:
                self.alive.append(tensor)
                self.sizes[_key(tensor)] = _size(tensor)
                if not tensor.is_floating_point():
                    self.whole.add(_key(tensor))
                keys.append(_key(tensor))
        return tuple(keys)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        reads = self.hold(*_tensors((args, kwargs)))
        writes = self.hold(*_tensors(out))
        name = func.overloadpacket.__name__
        self.operations.append(Operation(name, reads, writes))
        return out


class _Census(TorchDispatchMode):
    """Counts, after every operation, the memory that still exists."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.own = {
            _key(t) for t in (*net.parameters(), *net.buffers())
        }
        # By address: a weak reference, the bytes, a number of our own,
        # since an address may be used again.
        self.known: dict[int, tuple[StorageWeakRef, int, int]] = {}
        self.count = 0
        self.points: list[dict[int, int]] = []
        self.phases: list[str] = []
        self.phase = ""

    def add(self, *tensors: torch.Tensor) -> None:
        """Watch the memory of tensors that are not the net's own."""
        for tensor in tensors:
            key = _key(tensor)
            if key not in self.own and key not in self.known:
                self.count += 1
                reference = StorageWeakRef(tensor.untyped_storage())
                self.known[key] = (reference, _size(tensor), self.count)

    def numbers(self, tensors: Any) -> set[int]:
        """The numbers of tensors that still exist."""
        return {
            self.known[_key(t)][2] for t in tensors if t is not None
        }

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.known = {
            key: value
            for key, value in self.known.items()
            if not value[0].expired()
        }
        self.add(*_tensors(out))
        self.points.append(
            {number: size for _, size, number in self.known.values()}
        )
        self.phases.append(self.phase)
        return out
