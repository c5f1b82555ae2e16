"""A training loop small enough to read, the same in both halves."""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np

from d2lutils._arguments import (
    NonNegative,
    NonNegativeNumber,
    Positive,
    Probability,
    Rule,
    checked,
)
from d2lutils._errors import reason
from d2lutils._training import (
    Batches,
    History,
    NamedSchedule,
    batch,
    device_name,
    finite_loss,
    labels_fit,
    position,
    progress_bar,
    some_examples,
    some_parameters,
    some_trained,
    tell_device,
)
from d2lutils.compat import mx
from d2lutils.gluon.devices import try_gpu, why_no_gpu
from d2lutils.gluon.stochastic_depth import StochasticDepth

__all__ = ["accuracy", "fit"]

autograd = mx.autograd
_KINDS = {"cpu": "cpu", "cuda": "gpu"}


@checked
def fit(
    net: Trainable,
    train_data: Batches,
    test_data: Batches | None = None,
    epochs: Positive = 10,
    learning_rate: NonNegativeNumber = 0.125,
    optimizer: Literal["sgd", "adam"] = "sgd",
    momentum: Probability = 0.875,
    weight_decay: NonNegativeNumber = 0.0,
    schedule: NamedSchedule = "cosine",
    seed: NonNegative = 0,
    device: Devices | None = None,
    progress: bool | None = None,
) -> History:
    """Train a classifier with softmax cross-entropy.

    Args:
        net: its outputs are logits of shape (N, classes).
        train_data: an iterable of (x, y) batches, iterated over once
            per epoch: arrays of shape (N, …) and integer labels (N,).
        test_data: like `train_data`, evaluated after each epoch; None
            for none.
        epochs: passes over `train_data`.
        learning_rate: the initial rate; `schedule` multiplies it.
            MXNet rounds it to float32, so only a constant rate that is
            exact in binary is the same number in both halves.
        optimizer: "sgd" (with `momentum`) or "adam".
        momentum: SGD's momentum; 0 for none.
        weight_decay: added to each gradient as weight_decay times
            weight.
        schedule: "constant", "cosine", or a function from progress (0
            to 1, per batch) to a factor.
        seed: for the framework's random numbers (dropout, stochastic
            depth).
        device: where to train; `try_gpu()` by default. `net` stays
            there. A list of devices shares each batch out among them;
            a batch norm then sees its device's part alone, and tests
            are made on the first device.
        progress: show a bar; by default wherever outputs are not
            stored.

    In a worker of a parameter server (DMLC_ROLE is "worker") it takes
    the mean of all workers' gradients; they start from one worker's
    weights, each need as many batches, and should differ in `seed`. The
    history is the worker's own.

    Returns:
        A `History`. An interrupt (Ctrl-C) ends the run and keeps the
        complete epochs, with `finished` False.

    Raises:
        TypeError, ValueError: a bad argument, named with its value; a
            net whose parameters are all frozen; several devices for a
            net that skips whole blocks; a bad batch, such as labels
            without a class in the logits.
        FloatingPointError: the loss is no longer finite.

    >>> x, y = np.ones((6, 2)), np.zeros(6, int)
    >>> net = mx.gluon.nn.Dense(3, in_units=2)
    >>> net.initialize()
    >>> history = fit(net, [(x, y)], epochs=5, progress=False)
    >>> history.epochs, history.train_accuracy[-1]
    (5, 1.0)
    """
    why = why_no_gpu() if device is None else "as asked"
    devices = [try_gpu()] if device is None else device
    named = ", ".join(map(str, devices))
    tell_device("Gluon", named, why, progress)

    mx.random.seed(seed)
    net.collect_params().reset_ctx(devices)
    options = {"learning_rate": learning_rate, "wd": weight_decay}
    if optimizer == "sgd":
        options["momentum"] = momentum
    parameters = list(net.collect_params().values())
    # On several devices, too, each is updated with this optimizer.
    step = mx.gluon.Trainer(
        net.collect_params(),
        optimizer,
        options,
        update_on_kvstore=False,
    )
    workers = _Workers(parameters)
    # A branch that stochastic depth skips has no new gradient. In
    # other nets that is a mistake, which the Trainer reports.
    skips = _skips_blocks(net)
    if skips and (len(devices) > 1 or workers.grads):
        where = "in several workers" if workers.grads else f"on {named}"
        raise ValueError(
            f"fit: {where} a block may be dropped at one place and "
            "kept at another: use StochasticDepth's mode='row'"
        )
    if skips:
        # A batch may skip all trained blocks. MXNet refuses backward
        # for a loss that depends on no parameter, so add this to it.
        dtype = next(iter(net.collect_params().values())).dtype
        nothing = mx.nd.zeros((1,), ctx=devices[0], dtype=dtype)
        nothing.attach_grad()
    loss_function = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    history = History(framework="gluon", device=named)
    start = time.perf_counter()
    last = 0.0
    try:
        for epoch in progress_bar(range(epochs), "Gluon", progress):
            total = right = count = 0.0
            for i, given in enumerate(train_data):
                x, y = batch("fit", "train_data", given)
                at = position(epoch, i, train_data) / epochs
                now = learning_rate * schedule(at)
                change = now / last if last else 1.0
                if optimizer == "sgd":
                    # Only MXNet's velocity includes the rate, so it
                    # is rescaled to make the same steps.
                    step.optimizer.momentum = momentum * change
                step.set_learning_rate(now)
                last = now
                for parameter in parameters:
                    if parameter.grad_req == "add":
                        parameter.zero_grad()
                losses, outputs = [], []
                for rows, share, place in _shares(len(y), devices):
                    part = _inputs(x[rows], net, place)
                    target = _labels(y[rows], place)
                    with autograd.record():
                        logits = net(part)
                        labels_fit("fit", logits.shape, y[rows])
                        loss = loss_function(logits, target).mean()
                        if skips:
                            loss = loss + nothing
                        losses.append(loss * share)
                    outputs.append((logits, target, share))
                # The devices compute at once: nothing waited above.
                autograd.backward(losses)
                workers.average()
                if skips and optimizer == "sgd":
                    _rescale_skipped(step, change)
                # The loss is already a mean, so divide by 1.
                step.step(1, ignore_stale_grad=skips)
                value = sum(loss.asnumpy().item() for loss in losses)
                finite_loss("fit", value, epoch, i, learning_rate)
                total += value * len(y)
                for logits, target, share in outputs:
                    right += _hits(logits, target) if share else 0.0
                count += len(y)
            some_examples("fit", "train_data", count)
            # Test before the epoch is recorded, so that an interrupt
            # leaves no incomplete epoch.
            if test_data is not None:
                history.test_accuracy.append(
                    accuracy(net, test_data, devices[0])
                )
            history.train_loss.append(total / count)
            history.train_accuracy.append(right / count)
        history.finished = True
    except KeyboardInterrupt:
        history.trim()
    history.seconds = time.perf_counter() - start
    return history


@checked
def accuracy(
    net: Net, data: Batches, device: Device | None = None
) -> float:
    """The share of examples that `net` gets right, in evaluation mode.

    Args:
        net: its outputs are logits of shape (N, classes).
        data: an iterable of (x, y) batches.
        device: where `net` is; by default that of its parameters.

    Raises:
        TypeError, ValueError: bad data, named; labels without a class
            in the logits.

    >>> x, y = np.ones((6, 2)), np.zeros(6, int)
    >>> net = mx.gluon.nn.Dense(3, in_units=2)
    >>> net.initialize(mx.init.Zero())
    >>> accuracy(net, [(x, y)])
    1.0
    """
    if device is None:
        device = next(iter(net.collect_params().values())).list_ctx()[0]
    right = count = 0.0
    with autograd.predict_mode():
        for given in data:
            x, y = batch("accuracy", "data", given)
            logits = net(_inputs(x, net, device))
            labels_fit("accuracy", logits.shape, y)
            right += _hits(logits, _labels(y, device))
            count += len(y)
    some_examples("accuracy", "data", count)
    return right / count


def _shares(
    count: int, devices: list[Any]
) -> Iterator[tuple[slice, float, Any]]:
    """Each device's rows of a batch, their share of it, the device."""
    for i, device in enumerate(devices):
        first = count * i // len(devices)
        end = count * (i + 1) // len(devices)
        if first < end:
            yield slice(first, end), (end - first) / count, device
        else:
            # The Trainer asks for a new gradient on each device.
            yield slice(0, 1), 0.0, device


class _Workers:
    """The workers of a parameter server, if this process is one."""

    _fits = itertools.count()

    def __init__(self, parameters: list[Any]) -> None:
        self.grads: dict[str, Any] = {}
        if os.environ.get("DMLC_ROLE") != "worker":
            return
        store = _store()
        # A second `init` of a key would hang, so each fit has its own
        # keys. So have weights and gradients: a worker could else read
        # the first sum of gradients as its initial weights.
        fit = next(self._fits)
        for i, parameter in enumerate(parameters):
            weight, grad = f"weight {fit} {i}", f"gradient {fit} {i}"
            try:
                data = parameter.list_data()
            except mx.gluon.parameter.DeferredInitializationError:
                raise ValueError(
                    f"fit: {parameter.name} has no shape yet, so "
                    "workers cannot share it: call net on a batch first"
                ) from None
            store.init(weight, data[0])
            store.pull(weight, out=data)
            if parameter.grad_req != "null":
                store.init(grad, data[0])
                self.grads[grad] = parameter

    def average(self) -> None:
        """Give each gradient the mean over all workers."""
        for key, parameter in self.grads.items():
            grads = parameter.list_grad()
            _store().push(key, grads)
            _store().pull(key, out=grads)
            for grad in grads:
                # The store has summed this worker's devices, which
                # the Trainer does once more.
                grad /= _store().num_workers * len(grads)


@functools.cache
def _store() -> Any:
    """The connection to the servers; the end of one is that of all."""
    return mx.kv.create("dist_sync")


def _skips_blocks(net: Any) -> bool:
    """Whether a training step may skip some block of `net`."""
    if isinstance(net, StochasticDepth):
        return net.mode != "row" and net.drop_prob > 0
    return any(_skips_blocks(child) for child in net._children.values())


def _rescale_skipped(step: Any, change: float) -> None:
    """Rescale the velocities that this step does not update."""
    for i, parameter in enumerate(step._params):
        velocity = step._updaters[0].states.get(i)
        fresh = parameter.list_data()[0]._fresh_grad
        if velocity is not None and not fresh:
            velocity *= change


def _inputs(x: Any, net: Any, device: Any) -> Any:
    """A batch as an array of the net's dtype on its device."""
    dtype = next(iter(net.collect_params().values())).dtype
    return _array(x, device, dtype)


def _labels(y: Any, device: Any) -> Any:
    """A batch of class indices on the net's device."""
    return _array(y, device, "int64")


def _array(values: Any, device: Any, dtype: Any) -> Any:
    """An array for MXNet's layers: of `mx.np` after `set_np`."""
    if isinstance(values, mx.nd.NDArray):
        values = values.asnumpy()
    array = mx.np.array if mx.util.is_np_array() else mx.nd.array
    return array(np.asarray(values), ctx=device, dtype=dtype)


def _hits(logits: Any, y: Any) -> float:
    """The number of rows of `logits` whose maximum is at `y`."""
    # argmax has the logits' dtype, and `==` needs equal dtypes.
    best = logits.argmax(axis=1).astype(y.dtype)
    return float((best == y).sum().asnumpy().item())


def _net(owner: str, name: str, net: Any) -> Any:
    """`net` if it is a net with parameters."""
    if not isinstance(net, mx.gluon.Block):
        raise TypeError(
            f"{owner}: {name} must be a Gluon Block, got {net!r}"
        )
    some_parameters(owner, net.collect_params().values())
    return net


def _trainable(owner: str, name: str, net: Any) -> Any:
    """`net` if not all of its parameters are frozen."""
    some_trained(
        owner, _net(owner, name, net).collect_params().values()
    )
    return net


def _devices(owner: str, name: str, value: Any) -> list[Any]:
    """One device, or several, as a list."""
    several = isinstance(value, (list, tuple)) and len(value) > 0
    given = value if several else [value]
    found = [_device(owner, name, device) for device in given]
    if len(set(found)) < len(found):
        raise ValueError(
            f"{owner}: {name} names a device twice: {value}"
        )
    return found


def _device(owner: str, name: str, device: Any) -> Any:
    """The framework's device; ValueError if it cannot be used."""
    device_name(owner, device, mx.Context)
    try:
        found = device
        if isinstance(device, str):
            kind, _, index = device.partition(":")
            if kind not in _KINDS:
                raise ValueError(f"MXNet has no {kind} devices")
            found = mx.Context(_KINDS[kind], int(index or 0))
        if found.device_type == "gpu":
            why = why_no_gpu(found.device_id)
            if why:
                raise ValueError(why)
        mx.nd.zeros((1,), ctx=found).wait_to_read()
    except Exception as error:
        raise ValueError(
            f"{owner}: device {str(device)!r} cannot be used: "
            f"{reason(error)}"
        ) from None
    return found


Net = Annotated[Any, Rule(_net)]
Trainable = Annotated[Any, Rule(_trainable)]
Device = Annotated[Any, Rule(_device)]
Devices = Annotated[Any, Rule(_devices)]
