"""Arrays by name from MXNet's ``.params`` files, without MXNet.

The format is MXNet's own (``src/ndarray/ndarray.cc``): a magic number, a list of
arrays, a list of names; little-endian. A file is a stranger's, so every size is checked
against the bytes that are left before anything is made of it.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from pathlib import Path

import numpy as np

from d2lutils._errors import ConversionError

_LIST = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_BFLOAT16 = 12
_TYPES = {
    **{0: "f4", 1: "f8", 2: "f2", 3: "u1", 4: "i4", 5: "i1", 6: "i8", 7: "?"},
    **{8: "i2", 9: "u2", 10: "u4", 11: "u8", _BFLOAT16: "u2"},
}
_SPARSE = {1: 1, 2: 2}  # row_sparse has one index array, csr two


def read(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name, as `save_parameters`, `export`, `nd.save` and Module wrote them.

    The prefixes ``arg:`` and ``aux:`` are kept. Arrays are views of the file's bytes,
    so they cannot be written to; bfloat16 becomes float32.

    Raises:
        FileNotFoundError: there is no such file.
        ConversionError: it is no such file, or damaged; the message names the place.
    """
    if not path.is_file():
        raise FileNotFoundError(f"params names no file: {path.name}")
    return parse(path.read_bytes(), path.name)


def parse(data: bytes, name: str = "the file") -> dict[str, np.ndarray]:
    """Arrays by name from the bytes of a file; see `read`."""
    reader = _Reader(data, name)
    if reader.number("Q", "magic number") != _LIST:
        raise ConversionError(f"{name} is no parameter file of MXNet's")
    reader.number("Q", "reserved number")
    arrays = [reader.array(i) for i in range(reader.count("arrays", 4))]
    names = [reader.text(i) for i in range(reader.count("names", 8))]
    if len(names) != len(arrays):
        raise ConversionError(
            f"{name} holds {len(arrays)} arrays and {len(names)} names; a file of "
            "arrays without names cannot be matched with a graph"
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConversionError(f"{name} holds two arrays called {twice[0]!r}")
    if reader.place != len(data):
        raise ConversionError(
            f"{name} goes on for {len(data) - reader.place} bytes behind its last name"
        )
    return dict(zip(names, arrays, strict=True))


class _Reader:
    """Goes through the bytes of a file from the front."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name, self.place = data, name, 0

    def fail(self, what: str) -> ConversionError:
        return ConversionError(f"{self.name} is damaged at byte {self.place}: {what}")

    def take(self, size: int, what: str) -> int:
        """The place of the next `size` bytes, which are then passed."""
        if size > len(self.data) - self.place:
            raise self.fail(
                f"{what} needs {size} bytes, and {len(self.data) - self.place} are left"
            )
        self.place += size
        return self.place - size

    def number(self, kind: str, what: str) -> int:
        layout = f"<{kind}"
        place = self.take(struct.calcsize(layout), what)
        value: int = struct.unpack_from(layout, self.data, place)[0]
        return value

    def count(self, what: str, least: int) -> int:
        """How many of something follow, each of at least `least` bytes."""
        value = self.number("Q", f"the number of {what}")
        if value * least > len(self.data) - self.place:
            raise self.fail(f"{value} {what} do not fit into what is left")
        return value

    def text(self, i: int) -> str:
        size = self.number("Q", f"the length of name {i}")
        place = self.take(size, f"name {i}")
        try:
            return self.data[place : place + size].decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail(f"name {i} is no text") from None

    def shape(
        self, what: str, axes: int | None = None, kind: str = "q"
    ) -> tuple[int, ...]:
        axes = self.number("I", f"the axes of {what}") if axes is None else axes
        if not 0 <= axes <= 32:
            raise self.fail(f"{what} has {axes} axes")
        sizes = tuple(self.number(kind, f"the shape of {what}") for _ in range(axes))
        if min(sizes, default=0) < 0:
            raise self.fail(f"{what} has shape {sizes}")
        return sizes

    def items(self, shape: tuple[int, ...], flag: int, what: str) -> np.ndarray:
        if flag not in _TYPES:
            raise self.fail(f"{what} has the unknown type {flag}")
        dtype = np.dtype(f"<{_TYPES[flag]}" if _TYPES[flag] != "?" else "?")
        count = math.prod(shape)
        place = self.take(count * dtype.itemsize, what)
        try:
            values = np.frombuffer(self.data, dtype, count, place).reshape(shape)
        except ValueError:  # no numbers, and an axis that NumPy cannot have
            raise self.fail(f"{what} has shape {shape}") from None
        if flag == _BFLOAT16:
            values = (values.astype("u4") << 16).view("f4")
        return values

    def array(self, i: int) -> np.ndarray:
        what = f"array {i}"
        magic = self.number("I", what)
        if magic not in (_V1, _V2, _V3):  # before version 0.12: the number of axes
            return self.dense(self.shape(what, magic, "I"), what)
        storage = 0 if magic == _V1 else self.number("i", f"the storage of {what}")
        if storage in _SPARSE:
            return self.sparse(storage, what)
        if storage not in (0, -1):
            raise self.fail(f"{what} has the unknown storage {storage}")
        axes = self.number("i", f"the axes of {what}") if magic == _V3 else None
        return self.dense(self.shape(what, axes), what, scalar=magic == _V3)

    def dense(
        self, shape: tuple[int, ...], what: str, scalar: bool = False
    ) -> np.ndarray:
        if not shape and not scalar:  # an array that was never given a shape
            return np.zeros((0,), "f4")
        self.take(8, f"the device of {what}")
        return self.items(shape, self.number("i", f"the type of {what}"), what)

    def sparse(self, storage: int, what: str) -> np.ndarray:
        """A row_sparse or csr array, made dense if that is no bigger than the file."""
        stored, shape = self.shape(what), self.shape(what)
        self.take(8, f"the device of {what}")
        flag = self.number("i", f"the type of {what}")
        kinds = []
        for _ in range(_SPARSE[storage]):
            kind = self.number("i", f"the index type of {what}")
            kinds.append((kind, self.shape(f"the index of {what}")))
        values = self.items(stored, flag, what)
        indices = [self.items(s, k, f"the index of {what}") for k, s in kinds]
        if math.prod(shape) * values.itemsize > 2 * len(self.data):
            raise self.fail(f"{what} of shape {shape} would be larger than the file")
        try:
            dense = np.zeros(shape, values.dtype)
            if storage == 1:
                dense[indices[0].astype("i8")] = values
            else:
                ends, columns = (index.astype("i8") for index in indices)
                counts = np.diff(ends)
                if len(counts) != shape[0] or (counts < 0).any():
                    raise IndexError
                if counts.sum() != len(columns):
                    raise IndexError
                rows = np.repeat(np.arange(shape[0]), counts)
                dense[rows, columns] = values
        except (IndexError, ValueError):
            raise self.fail(f"the index of {what} does not fit its shape") from None
        return dense
