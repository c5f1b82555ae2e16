"""A training loop small enough to read, the same in both halves."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import torch
from torch import nn

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
from d2lutils.pytorch.devices import try_gpu, why_no_gpu
from d2lutils.pytorch.stochastic_depth import StochasticDepth

__all__ = ["accuracy", "fit"]


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
    device: Device | None = None,
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
            there. A distributed net trains where it was wrapped.
        progress: show a bar; by default wherever outputs are not
            stored.

    A net inside `DistributedDataParallel` trains with those of the
    other processes, which each need as many batches and should differ
    in `seed`. The history is the process's own.

    Returns:
        A `History`. An interrupt (Ctrl-C) ends the run and keeps the
        complete epochs, with `finished` False.

    Raises:
        TypeError, ValueError: a bad argument, named with its value; a
            net whose parameters are all frozen; several devices, or a
            distributed net that skips whole blocks without
            `find_unused_parameters=True`; a bad batch, such as labels
            without a class in the logits.
        FloatingPointError: the loss is no longer finite.

    >>> x, y = torch.ones(6, 2), torch.zeros(6)
    >>> net = nn.Linear(2, 3)
    >>> history = fit(net, [(x, y)], epochs=5, progress=False)
    >>> history.epochs, history.train_accuracy[-1]
    (5, 1.0)
    """
    why = why_no_gpu() if device is None else "as asked"
    alone = net
    if isinstance(net, nn.parallel.DistributedDataParallel):
        # It was wrapped where it is, and must not be moved. Tests are
        # this process's own, so they must not wait for others.
        device, why = next(net.parameters()).device, "as wrapped"
        alone = net.module
    device = try_gpu() if device is None else device
    tell_device("PyTorch", device, why, progress)

    torch.manual_seed(seed)
    net.to(device)
    if optimizer == "sgd":
        step: Any = torch.optim.SGD(
            net.parameters(),
            lr=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
        )
    else:
        step = torch.optim.Adam(
            net.parameters(),
            lr=learning_rate,
            weight_decay=weight_decay,
        )
    # A batch may skip all trained blocks.
    skips = any(_skips_blocks(module) for module in net.modules())
    if skips and not getattr(net, "find_unused_parameters", True):
        raise ValueError(
            "fit: net drops whole blocks, whose parameters then have "
            "no gradient: wrap it as DistributedDataParallel(net, "
            "find_unused_parameters=True), or use StochasticDepth's "
            "mode='row'"
        )
    loss_function = nn.CrossEntropyLoss()
    history = History(framework="pytorch", device=str(device))
    start = time.perf_counter()
    try:
        for epoch in progress_bar(range(epochs), "PyTorch", progress):
            net.train()
            total = right = count = 0.0
            for i, given in enumerate(train_data):
                x, y = batch("fit", "train_data", given)
                x, target = _inputs(x, net, device), _labels(y, device)
                at = position(epoch, i, train_data) / epochs
                for group in step.param_groups:
                    group["lr"] = learning_rate * schedule(at)
                step.zero_grad()
                logits = net(x)
                labels_fit("fit", logits.shape, y)
                loss = loss_function(logits, target)
                if loss.requires_grad or not skips:
                    loss.backward()
                step.step()
                # Autocast would reuse copies of the weights before
                # this step.
                torch.clear_autocast_cache()
                value = loss.item()
                finite_loss("fit", value, epoch, i, learning_rate)
                total += value * len(y)
                right += (logits.argmax(1) == target).sum().item()
                count += len(y)
            some_examples("fit", "train_data", count)
            # Test before the epoch is recorded, so that an interrupt
            # leaves no incomplete epoch.
            if test_data is not None:
                history.test_accuracy.append(
                    accuracy(alone, test_data, device)
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

    >>> x, net = torch.ones(6, 2), nn.Linear(2, 3)
    >>> accuracy(net, [(x, net(x).argmax(1))])
    1.0
    """
    if device is None:
        device = next(net.parameters()).device
    was_training = net.training
    net.eval()
    right = count = 0.0
    try:
        with torch.no_grad():
            for given in data:
                x, y = batch("accuracy", "data", given)
                logits = net(_inputs(x, net, device))
                labels_fit("accuracy", logits.shape, y)
                target = _labels(y, device)
                right += (logits.argmax(1) == target).sum().item()
                count += len(y)
    finally:
        net.train(was_training)
    some_examples("accuracy", "data", count)
    return right / count


def _skips_blocks(module: Any) -> bool:
    """Whether a training step may skip the branch in `module`."""
    if not isinstance(module, StochasticDepth):
        return False
    return module.mode != "row" and module.drop_prob > 0


def _inputs(
    x: Any, net: nn.Module, device: torch.device
) -> torch.Tensor:
    """A batch as a tensor of the net's dtype on its device."""
    dtype = next(net.parameters()).dtype
    return torch.as_tensor(x).to(device=device, dtype=dtype)


def _labels(y: Any, device: torch.device) -> torch.Tensor:
    """A batch of class indices on the net's device."""
    return torch.as_tensor(y).to(device=device, dtype=torch.int64)


def _net(owner: str, name: str, net: Any) -> Any:
    """`net` if it is a net with parameters."""
    if not isinstance(net, nn.Module):
        raise TypeError(
            f"{owner}: {name} must be a PyTorch Module, got {net!r}"
        )
    some_parameters(owner, net.parameters())
    return net


def _trainable(owner: str, name: str, net: Any) -> Any:
    """`net` if not all of its parameters are frozen."""
    some_trained(owner, _net(owner, name, net).parameters())
    return net


def _device(owner: str, name: str, device: Any) -> torch.device:
    """The framework's device; ValueError if it cannot be used."""
    if isinstance(device, (list, tuple)):
        raise TypeError(
            f"{owner}: {name} must be one device, got {len(device)}: "
            "for several start a process for each, as torchrun does, "
            "and wrap net in DistributedDataParallel"
        )
    device_name(owner, device, torch.device)
    try:
        found = torch.device(device)
        if found.type == "cuda":
            why = why_no_gpu(found.index or 0)
            if why:
                raise ValueError(why)
        torch.zeros(1, device=found)
    except Exception as error:
        raise ValueError(
            f"{owner}: device {str(device)!r} cannot be used: "
            f"{reason(error)}"
        ) from None
    return found


Net = Annotated[nn.Module, Rule(_net)]
Trainable = Annotated[nn.Module, Rule(_trainable)]
Device = Annotated[torch.device, Rule(_device)]
