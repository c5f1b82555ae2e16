"""The framework-free pieces of a training run, shared by `fit` in both halves."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import numpy as np

from d2lutils._arguments import Rule, choice

__all__ = [
    "Batches",
    "History",
    "NamedSchedule",
    "batch",
    "batches",
    "constant",
    "cosine",
    "device_name",
    "finite_loss",
    "labels_fit",
    "position",
    "progress_bar",
    "schedule_of",
    "shows_progress",
    "some_examples",
    "some_parameters",
    "some_trained",
    "tell_device",
]

Schedule = Callable[[float], float]


@dataclass
class History:
    """One value per epoch, as plain floats.

    `train_loss` (mean cross-entropy in nats) and `train_accuracy` are measured on the
    epoch's batches while the weights change; `test_accuracy` is measured after the
    epoch in evaluation mode. Accuracies are between 0 and 1. `seconds` is the wall
    time of the whole run. `finished` is False after an interrupt.
    """

    framework: str
    device: str
    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    seconds: float = 0.0
    finished: bool = False

    @property
    def epochs(self) -> int:
        """The number of complete epochs."""
        return len(self.train_loss)

    def trim(self) -> None:
        """Drop an incomplete epoch, so that all lists have the same length."""
        complete = len(self.train_accuracy)
        if self.test_accuracy:
            complete = min(complete, len(self.test_accuracy))
        for values in (self.train_loss, self.train_accuracy, self.test_accuracy):
            del values[complete:]

    def as_dict(self) -> dict[str, Any]:
        """The history as plain data, ready for JSON."""
        return asdict(self)


def constant(progress: float) -> float:
    """A constant learning rate: factor 1 at any progress."""
    return 1.0


def cosine(progress: float) -> float:
    """Half a cosine from 1 at progress 0 to 0 at progress 1 (arXiv 1608.03983)."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


SCHEDULES: dict[str, Schedule] = {"constant": constant, "cosine": cosine}


def schedule_of(owner: str, schedule: str | Schedule) -> Schedule:
    """The schedule with that name, or the function itself.

    Raises:
        ValueError: an unknown name.
    """
    if callable(schedule):
        return schedule
    return SCHEDULES[choice(owner, "schedule", schedule, tuple(SCHEDULES))]


def position(epoch: int, batch: int, data: Any) -> float:
    """Progress of a run in epochs; fractional only if `data` has a length."""
    return epoch + (batch / len(data) if hasattr(data, "__len__") else 0.0)


def shows_progress(show: bool | None) -> bool:
    """Whether to show a progress bar.

    With `show=None` it appears on a terminal and in a live notebook, but not where the
    environment variable `D2L_STORED_OUTPUTS` is set: a bar's redraws differ from run to
    run, so stored outputs could not be compared.
    """
    if show is not None:
        return show
    live = sys.stderr.isatty() or "ipykernel" in sys.modules
    return live and not os.environ.get("D2L_STORED_OUTPUTS")


def tell_device(framework: str, device: Any, why: str, show: bool | None) -> None:
    """Print, once, on which device a framework trains and why; see `shows_progress`."""
    line = f"{framework} trains on {device}" + (f": {why}" if why else "")
    if shows_progress(show) and line not in _told:
        _told.add(line)
        print(line)


_told: set[str] = set()


def progress_bar(items: Iterable[Any], label: str, show: bool | None) -> Any:
    """`items`, wrapped in a tqdm bar on stderr if `shows_progress`."""
    if not shows_progress(show):
        return items
    from tqdm import tqdm

    return tqdm(items, desc=label, unit="epoch", leave=True)


# -- checks of arguments and data ------------------------------------------------------


def batches(owner: str, name: str, value: Any) -> Any:
    """`value` if it can be iterated over repeatedly; TypeError otherwise."""
    if not hasattr(value, "__iter__") or hasattr(value, "__next__"):
        raise TypeError(
            f"{owner}: {name} must be an iterable of (x, y) batches that can be gone "
            f"through once an epoch, got {type(value).__name__}"
        )
    return value


def batch(owner: str, name: str, value: Any) -> tuple[Any, np.ndarray]:
    """(x, y) of one batch, y as a NumPy array; TypeError or ValueError otherwise."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(
            f"{owner}: {name} must give pairs (x, y), got {type(value).__name__}"
            + (f" of {len(value)}" if isinstance(value, (tuple, list)) else "")
        )
    x, y = value
    if hasattr(y, "asnumpy"):
        y = y.asnumpy()
    y = np.asarray(y.detach().cpu() if hasattr(y, "detach") else y)
    # MXNet's arrays are float32 by default, so 3.0 is a valid label.
    whole = y.dtype.kind in "iu" or (y.dtype.kind == "f" and (y == np.round(y)).all())
    if not whole:
        raise TypeError(f"{owner}: {name} must give whole numbers as y, got {y.dtype}")
    shape = tuple(int(n) for n in np.shape(x))
    if y.ndim != 1 or len(shape) < 1 or shape[0] != len(y) or 0 in shape:
        raise ValueError(
            f"{owner}: {name} must give x (N, …) and y (N,) with the same N of at "
            f"least 1, got shapes {shape} and {y.shape}"
        )
    return x, y.astype("int64")


def labels_fit(owner: str, logits: Sequence[int], y: np.ndarray) -> None:
    """ValueError unless logits of this shape have a class for every label."""
    shape = tuple(int(n) for n in logits)
    if len(shape) != 2 or shape[0] != len(y):
        raise ValueError(
            f"{owner}: net must turn {len(y)} examples into logits of shape "
            f"({len(y)}, classes), got {shape}"
        )
    if y.min() < 0 or y.max() >= shape[1]:
        raise ValueError(
            f"{owner}: labels must be from 0 to {shape[1] - 1} for {shape[1]} "
            f"classes, got {y.min()} to {y.max()}"
        )


def some_examples(owner: str, name: str, count: float) -> None:
    """ValueError if a pass through a data set found no examples."""
    if not count:
        raise ValueError(f"{owner}: {name} gave no batches")


def some_parameters(owner: str, parameters: Any) -> None:
    """ValueError if a net has no parameters at all."""
    if not any(True for _ in parameters):
        raise ValueError(f"{owner}: net has no parameters")


def some_trained(owner: str, parameters: Any) -> None:
    """ValueError if every parameter of a net is frozen, in either framework."""
    if not any(
        getattr(parameter, "requires_grad", False)
        or getattr(parameter, "grad_req", "null") != "null"
        for parameter in parameters
    ):
        raise ValueError(f"{owner}: net has no parameter that gets a gradient")


def device_name(owner: str, value: Any, kind: type) -> None:
    """Raise unless `value` is a `kind` or a string such as "cpu" or "cuda:0"."""
    wanted = "device must be a device or a name such as 'cpu', 'cuda:0' or 'mps'"
    if isinstance(value, str):
        if not re.fullmatch(r"(cpu|cuda|mps)(:[0-9]+)?", value):
            raise ValueError(f"{owner}: {wanted}, got {value!r}")
    elif not isinstance(value, kind):
        raise TypeError(f"{owner}: {wanted}, got {value!r}")


def finite_loss(owner: str, loss: float, epoch: int, batch: int, rate: float) -> None:
    """FloatingPointError if a loss has become infinite or not a number."""
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"{owner}: the loss is {loss} in batch {batch} of epoch {epoch} "
            f"(counted from 0); learning_rate={rate:g} may be too large"
        )


def _schedule(owner: str, name: str, value: Any) -> Schedule:
    return schedule_of(owner, value)


#: Batches that can be iterated over repeatedly.
Batches = Annotated[Any, Rule(batches)]
#: A schedule or its name; the function gets the schedule.
NamedSchedule = Annotated[Any, Rule(_schedule)]
