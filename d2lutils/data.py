"""Small real data, the same arrays in the same order for both frameworks.

The embedded default is scikit-learn's copy of the UCI handwritten digits: 1,797
images of 8x8 pixels, ten classes, no download. As images they have shape
(N, 1, 8, 8); as sequences (N, 1, 64), each image read row by row. Digits this
small cannot show the benefit of great depth; they show that two programs learn
the same thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from d2lutils import checks

__all__ = ["Batches", "Split", "digits"]


@dataclass(frozen=True)
class Split:
    """Arrays of one part of a data set: `x` (N, C, …) floating, `y` (N,) int64."""

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def batches(self, batch_size: int, shuffle: bool = False, seed: int = 0) -> Batches:
        """Iterate over mini-batches; see `Batches`."""
        return Batches(self.x, self.y, batch_size, shuffle=shuffle, seed=seed)


class Batches:
    """Mini-batches of NumPy arrays whose order depends on the seed and epoch only.

    Iterating the e-th time over one object gives the e-th order of its seed, so two
    frameworks that each get an object of their own see the same batches. The last
    batch of an epoch is shorter where the size does not divide.

    Args:
        x: inputs, (N, …).
        y: labels, (N,).
        batch_size: examples per batch.
        shuffle: draw a new order each epoch.
        seed: of the orders.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: `x` and `y` of different length or empty, batch_size below 1.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        for name, value in (("x", x), ("y", y)):
            if not isinstance(value, np.ndarray):
                raise TypeError(
                    f"Batches: {name} must be a NumPy array, got {type(value).__name__}"
                )
        if y.ndim != 1 or x.ndim == 0 or len(x) != len(y) or len(y) == 0:
            raise ValueError(
                "Batches: x and y must have the same, positive number of examples "
                f"and y must be flat, got shapes {x.shape} and {y.shape}"
            )
        self.x, self.y = x, y
        self.batch_size = checks.positive("Batches", "batch_size", batch_size)
        self.shuffle = checks.boolean("Batches", "shuffle", shuffle)
        self.seed = checks.non_negative("Batches", "seed", seed)
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.y) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = np.arange(len(self.y))
        if self.shuffle:
            # PCG64 by name: default_rng may change its generator one day.
            bits = np.random.PCG64([self.seed, self.epoch])
            order = np.random.Generator(bits).permutation(len(self.y))
        self.epoch += 1
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield self.x[chosen], self.y[chosen]


def digits(
    form: str = "images", test_size: int = 360, dtype: Any = "float32"
) -> tuple[Split, Split]:
    """The embedded digits, split once and for all into training and test.

    Args:
        form: "images" for (N, 1, 8, 8), "sequences" for (N, 1, 64).
        test_size: examples held out; the split is stratified by class and the same
            on every machine.
        dtype: of the inputs, which are scaled from 0..16 to 0..1, then centred by
            the training set's mean and divided by its standard deviation.

    Returns:
        (train, test), each a `Split`.

    Raises:
        ValueError: an unknown form, a dtype that is not floating point, or a
            test_size that leaves a part without all ten classes.
    """
    from sklearn.datasets import load_digits

    checks.choice("digits", "form", form, ("images", "sequences"))
    test_size = checks.positive("digits", "test_size", test_size)
    try:
        kind = np.dtype(dtype).kind
    except TypeError:
        kind = ""
    if kind != "f":
        raise ValueError(f"digits: dtype must be floating point, got {dtype!r}")
    raw = load_digits()
    x = raw.images.astype("float64") / 16.0
    y = raw.target.astype("int64")
    if not 10 <= test_size <= len(y) - 10:
        raise ValueError(
            f"digits: test_size must be between 10 and {len(y) - 10}, got {test_size}"
        )
    test = _stratified(y, test_size)
    train = np.setdiff1d(np.arange(len(y)), test)
    if len(np.unique(y[train])) < 10:
        raise ValueError(
            "digits: test_size must be small enough to leave all ten classes for "
            f"training, got {test_size}"
        )
    mean, std = x[train].mean(), x[train].std()
    shape = (-1, 1, 8, 8) if form == "images" else (-1, 1, 64)
    x = ((x - mean) / std).reshape(shape).astype(dtype)
    return Split(x[train], y[train]), Split(x[test], y[test])


def _stratified(y: np.ndarray, size: int) -> np.ndarray:
    """Indices of `size` examples, the classes in turn, drawn with a fixed seed."""
    generator = np.random.Generator(np.random.PCG64(1797))
    by_class = [generator.permutation(np.flatnonzero(y == c)) for c in range(10)]
    depth = max(len(indices) for indices in by_class)
    in_turn = [
        indices[i] for i in range(depth) for indices in by_class if i < len(indices)
    ]
    return np.sort(np.array(in_turn[:size]))
