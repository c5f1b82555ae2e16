"""Bytes of memory that a net really takes, measured on this machine."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from d2lutils import _arguments, _errors
from d2lutils._adapters import with_zeros
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
    adapter, x = with_zeros(owner, net, input_shape, "pytorch")
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
    adapter, x = with_zeros(owner, net, input_shape, "pytorch")
    itemsize = getattr(torch, adapter.dtype()).itemsize
    found = Lifetimes(itemsize=itemsize)
    with (
        adapter.undisturbed(dropout=True),
        torch.no_grad(),
        _Recorder(adapter.storages(), found) as recorder,
    ):
        net.eval()
        recorder.touch(x)
        out = _run(owner, net, x)
        found.held = [_key(t) for t in (x, *_tensors(out))]
    return found


def peak_bytes(
    net: Any, input_shape: Sequence[int], training: bool = False
) -> int:
    """The bytes of tensors that exist at the same time, the input
    included.

    Measured after each operation: in inference, or in forward and
    backward of a classifier with softmax cross-entropy. Parameters and
    their gradients are left out. Python frees a tensor once nothing
    refers to it; a frame that still has it in a variable keeps it, so
    this can be more than `live_bytes`. Work space inside an operation
    is not seen.

    Args:
        net, input_shape: as in `kept_bytes`.
        training: whether to measure a training step.

    Raises:
        TypeError, ValueError: as `kept_bytes`, or as `step_trace`.
    """
    if training:
        return step_trace(net, input_shape).peak
    owner = "peak_bytes"
    adapter, x = with_zeros(owner, net, input_shape, "pytorch")
    with (
        adapter.undisturbed(dropout=True),
        torch.no_grad(),
        _Census(adapter.storages()) as census,
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
    adapter, x = with_zeros(owner, net, input_shape, "pytorch")
    some_parameters(owner, net.parameters())
    _arguments.choice(owner, "optimizer", optimizer, OPTIMIZERS)
    some_trained(owner, net.parameters())
    with adapter.undisturbed(dropout=True), torch.enable_grad():
        net.train()
        step = _optimizer(optimizer, net)
        labels = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        with _Census(adapter.storages()) as census:
            census.add(x)
            census.phase = "forward"
            logits = _run(owner, net, x)
            shape = tuple(getattr(logits, "shape", ()))
            if len(shape) != 2:
                got = shape or type(logits).__name__
                raise ValueError(
                    f"{owner}: net must return (N, classes), got {got}"
                )
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
        gradients = [
            p.grad for p in net.parameters() if p.grad is not None
        ]
        # Adam also counts its steps, one number a parameter.
        values = [v for s in step.state.values() for v in s.values()]
        state = [v for v in values if torch.is_tensor(v) and v.ndim]
        kept = {census.known[_key(t)][2] for t in (*gradients, *state)}
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
    return sum({_key(t): _size(t) for t in tensors}.values())


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [t for t in tree_leaves(tree) if isinstance(t, torch.Tensor)]


class _Recorder(TorchDispatchMode):
    """Writes down every operation with the memory that it touches,
    except `own`, the net's."""

    def __init__(self, own: set[Hashable], found: Lifetimes) -> None:
        super().__init__()
        self.own, self.found = own, found
        self.alive: list[
            torch.Tensor
        ] = []  # or an address is used again

    def touch(self, *tensors: torch.Tensor) -> tuple[Hashable, ...]:
        """Keys of tensors that are not the net's own."""
        keys: list[Hashable] = []
        for tensor in tensors:
            key = _key(tensor)
            if key not in self.own:
                self.alive.append(tensor)
                self.found.sizes[key] = _size(tensor)
                if not tensor.is_floating_point():
                    self.found.whole.add(key)
                keys.append(key)
        return tuple(keys)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        reads = self.touch(*_tensors((args, kwargs)))
        writes = self.touch(*_tensors(out))
        name = func.overloadpacket.__name__
        self.found.operations.append(Operation(name, reads, writes))
        return out


class _Census(TorchDispatchMode):
    """Counts, after every operation, the memory that still exists,
    except `own`, the net's."""

    def __init__(self, own: set[Hashable]) -> None:
        super().__init__()
        self.own = own
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

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for key, (reference, *_) in list(self.known.items()):
            if reference.expired():
                del self.known[key]
        self.add(*_tensors(out))
        self.points.append(
            {n: size for _, size, n in self.known.values()}
        )
        self.phases.append(self.phase)
        return out
