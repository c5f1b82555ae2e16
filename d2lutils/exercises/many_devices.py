"""The checks of the chapter `many_devices`."""

from __future__ import annotations

from typing import Any

import numpy as np

from d2lutils.exercises import by_property, require, require_same, wave


def _parts(counts: tuple[int, ...], *shape: int) -> list[np.ndarray]:
    """Rows of numbers for each device, all different."""
    rows = wave(sum(counts), *shape)
    return np.split(rows, np.cumsum(counts)[:-1])


@by_property(((4, 4), 3), ((5, 1, 2), 2), ((3, 0, 6), 4), ((7,), 1))
def many_devices_mean(answer: Any, counts: tuple[int, ...], size: int) -> None:
    """The mean over all rows, from the parts' means."""
    parts = _parts(counts, size)
    nothing = np.full(size, np.nan)
    means = [part.mean(axis=0) if len(part) else nothing for part in parts]
    got = np.asarray(answer(means, list(counts)))
    if 0 in counts and np.isnan(got).any():
        require(False, f"NaN for parts of {counts} examples")
    require_same(
        np.concatenate(parts).mean(axis=0),
        got,
        f"for parts of {counts} examples it is not the mean of all examples",
    )


@by_property(((4, 4), 3, 0.0), ((5, 1, 2), 2, 0.0), ((6, 2), 2, 1e9), ((7,), 1, 0.0))
def many_devices_statistics(
    answer: Any, counts: tuple[int, ...], channels: int, offset: float
) -> None:
    """Mean and variance over all rows, from those of the parts."""
    plain = [part + i for i, part in enumerate(_parts(counts, channels))]
    everything = np.concatenate(plain)
    means = np.array([part.mean(axis=0) + offset for part in plain])
    variances = np.array([part.var(axis=0) for part in plain])
    got = answer(list(counts), means, variances)
    require(
        isinstance(got, tuple) and len(got) == 2, "a mean and a variance are expected"
    )
    mean, variance = map(np.asarray, got)
    require_same(
        everything.mean(axis=0) + offset,
        mean,
        f"the mean is wrong for parts of {counts} values",
    )
    far = np.abs(variance - everything.var(axis=0)).max() if variance.size else 1.0
    require(
        variance.shape == mean.shape and far < 1e-5,
        f"the variance is wrong for parts of {counts} values"
        + (", whose means are near 1e9" if offset else ""),
    )
