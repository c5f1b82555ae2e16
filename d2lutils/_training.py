"""What a training run leaves behind, and the pieces of a run that need no framework.

`fit` of both halves fills the same `History`, follows the same schedules and shows
the same progress bar, so these live here once.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from d2lutils import checks

__all__ = [
    "History",
    "constant",
    "cosine",
    "position",
    "progress_bar",
    "schedule_of",
    "shows_progress",
    "tell_device",
]

Schedule = Callable[[float], float]


@dataclass
class History:
    """One value per epoch, as plain floats.

    `train_loss` is the mean cross-entropy in nats over the epoch's batches while
    the weights move, `train_accuracy` likewise; `test_accuracy` is measured after
    the epoch in evaluation mode. Accuracies are shares between 0 and 1. `seconds`
    is the wall time of the whole run. `finished` is False after an interrupt.
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
        """Keep complete epochs only: lists of equal length."""
        complete = len(self.train_accuracy)
        if self.test_accuracy:
            complete = min(complete, len(self.test_accuracy))
        for values in (self.train_loss, self.train_accuracy, self.test_accuracy):
            del values[complete:]

    def as_dict(self) -> dict[str, Any]:
        """The history as plain data, ready for JSON."""
        return asdict(self)


def constant(progress: float) -> float:
    """A schedule that keeps the learning rate: factor 1 at any progress."""
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
    return SCHEDULES[checks.choice(owner, "schedule", schedule, tuple(SCHEDULES))]


def position(epoch: int, batch: int, data: Any) -> float:
    """Where a run stands, in epochs; within one only if `data` has a length."""
    return epoch + (batch / len(data) if hasattr(data, "__len__") else 0.0)


def shows_progress(show: bool | None) -> bool:
    """Whether a progress bar is to appear.

    With `show=None` it appears on a terminal and in a live notebook, and stays away
    where outputs are stored and compared (the environment variable
    `D2L_STORED_OUTPUTS` says so): its redraws could never be repeated.
    """
    if show is not None:
        return show
    live = sys.stderr.isatty() or "ipykernel" in sys.modules
    return live and not os.environ.get("D2L_STORED_OUTPUTS")


def tell_device(framework: str, device: Any, why: str, show: bool | None) -> None:
    """Say once where a framework trains, and why there; see `shows_progress`."""
    line = f"{framework} trains on {device}" + (f": {why}" if why else "")
    if shows_progress(show) and line not in _told:
        _told.add(line)
        print(line)


_told: set[str] = set()


def progress_bar(items: Iterable[Any], label: str, show: bool | None) -> Any:
    """`items` behind a tqdm bar on stderr, or bare; see `shows_progress`."""
    if not shows_progress(show):
        return items
    from tqdm import tqdm

    return tqdm(items, desc=label, unit="epoch", leave=True)
