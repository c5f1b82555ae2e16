"""Timings whose ratios can be trusted: warm-up, synchronisation, interleaving.

A single time says little on a shared machine. `interleaved` runs the candidates in
turn, so that a slow moment affects all of them. Each round has a new order, so that no
candidate always follows the same one and reuses the memory that it freed. The results
are medians with quartiles.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2lutils import _arguments

__all__ = ["Timing", "interleaved", "stored", "synchronize"]


@dataclass(frozen=True)
class Timing:
    """Seconds of one candidate: the median, and the quartiles around it."""

    median: float
    low: float
    high: float
    runs: int

    def ratio(self, other: Timing) -> float:
        """This median as a share of another's."""
        return self.median / other.median


def synchronize() -> None:
    """Wait for the asynchronous work of the frameworks that are imported."""
    mxnet, torch = sys.modules.get("mxnet"), sys.modules.get("torch")
    if mxnet is not None:
        mxnet.nd.waitall()
    if torch is not None and torch.cuda.is_available():  # pragma: needs-gpu
        torch.cuda.synchronize()


def interleaved(
    candidates: Mapping[str, Callable[[], Any]], repeat: int = 20, warmup: int = 3
) -> dict[str, Timing]:
    """Time functions without arguments in turn, in a new order each round.

    Args:
        candidates: functions by name.
        repeat: counted rounds, at least 3.
        warmup: uncounted rounds before those.

    Returns:
        A `Timing` by name, in seconds.

    Raises:
        TypeError: not a mapping, or a candidate that cannot be called.
        ValueError: no candidates, or fewer than 3 rounds.
    """
    owner = "interleaved"
    repeat = _arguments.positive(owner, "repeat", repeat)
    warmup = _arguments.non_negative(owner, "warmup", warmup)
    if not isinstance(candidates, Mapping):
        raise TypeError(
            f"{owner}: candidates must be functions by name, "
            f"got {type(candidates).__name__}"
        )
    if repeat < 3 or not candidates:
        raise ValueError(
            f"{owner}: give at least one candidate and repeat of at least 3, "
            f"got {len(candidates)} and {repeat}"
        )
    for name, function in candidates.items():
        if not callable(function):
            raise TypeError(f"{owner}: candidates[{name!r}] is not callable")
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    shuffled = random.Random(0)
    for round_ in range(warmup + repeat):
        order = list(candidates.items())
        shuffled.shuffle(order)
        for name, function in order:
            synchronize()
            start = time.perf_counter()
            function()
            synchronize()
            if round_ >= warmup:
                seconds[name].append(time.perf_counter() - start)
    result = {}
    for name, values in seconds.items():
        low, median, high = statistics.quantiles(values, n=4)
        result[name] = Timing(median, low, high, len(values))
    return result


def stored(suite: str) -> dict[str, Any]:
    """The results that `make bench` stored for a suite, as plain data.

    Returns:
        `date`, `machine` (processor, cores, versions, device) and `cases`, each with
        `case`, `base` and `rows` (`name`, `ms`, `ms_quartiles`, `ratio`, `runs`). The
        suite "gpu", which `make gpu-report` stores on a card, also has `parts`.

    Raises:
        ValueError: no results are stored under that name; the message lists the names
            that exist.
    """
    folder = Path(__file__).parent / "results"
    known = sorted(path.stem for path in folder.glob("*.json"))
    if suite not in known:
        raise ValueError(
            f"stored: suite must be one of {', '.join(map(repr, known))}, got {suite!r}"
        )
    text = (folder / f"{suite}.json").read_text(encoding="utf-8")
    result: dict[str, Any] = json.loads(text)
    return result
