"""Values as text in NumPy 1's format, for MXNet's modules only.

MXNet passes every operator parameter to its C++ side as ``str(value)``. NumPy 2
shows the scalars inside a tuple, list or dict with their type, so
``str((np.int64(3),))`` is ``"(np.int64(3),)"``, which the C++ side cannot read. The
functions here replace ``str``, ``repr``, ``%`` and ``format`` in MXNet's modules. Each
tries the original first, and only if the result mentions NumPy, tries again with the
scalars replaced by Python numbers.
"""

from __future__ import annotations

import collections
import re
from typing import Any

import numpy as np

from d2lutils._compat.promotion import mod

# How NumPy 2 begins a scalar: np.int64(3), np.True_, np.str_('x').
_NAMED = re.compile(r"\bnp\.[A-Za-z_]")
# NumPy 2.2 adds this to the text of an abbreviated array.
_SHAPE = re.compile(r",\s+shape=\([\d, ]*\)(?=[,)])")
_DICTS = (dict, collections.OrderedDict, collections.defaultdict)


class _Float(float):
    """A float whose repr is a given text."""

    text: str

    @classmethod
    def of(cls, value: float, text: str) -> _Float:
        number = cls(value)
        number.text = text
        return number

    def __repr__(self) -> str:
        return self.text


class _Shown:
    """Replaces a scalar that has no Python equivalent; its repr is a given text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def as_str(value: Any = "", *rest: Any) -> str:
    """Return ``str(value)``, NumPy scalars inside containers as plain numbers."""
    text = str(value, *rest)
    return text if rest or not _NAMED.search(text) else str(plain(value))


def as_repr(value: Any) -> str:
    """Return ``repr(value)``, NumPy scalars as plain numbers."""
    text = repr(value)
    if isinstance(value, np.ndarray) and value.size:
        return _SHAPE.sub("", text)
    return repr(plain(value)) if _NAMED.search(text) else text


def modulo(left: Any, right: Any) -> Any:
    """Return ``left % right``; strings are formatted as by `as_str`."""
    if type(left) is not str:
        return mod(left, right)
    several = type(right) is tuple
    right = tuple(map(_as_number, right)) if several else _as_number(right)
    text = left % right
    return left % plain(right) if _NAMED.search(text) else text


def _as_number(value: Any) -> Any:
    """Return an array of one item as a number, which ``%f`` needs since NumPy 2.5."""
    if type(value) is np.ndarray and value.size == 1 and value.dtype.kind in "biuf":
        return _Float.of(value.item(), str(value))
    return value


def formatted(template: Any, *args: Any, **kwargs: Any) -> Any:
    """Return ``template.format(...)``; strings are formatted as by `as_str`."""
    result = template.format(*args, **kwargs)
    if type(template) is str and _NAMED.search(result):
        return template.format(*plain(args), **plain(kwargs))
    return result


def plain(value: Any) -> Any:
    """Return ``value`` with NumPy scalars replaced by objects that NumPy 1 shows."""
    kind = type(value)
    if isinstance(value, np.generic):
        return _plain_scalar(value)
    if isinstance(value, tuple):
        # Not kind(...), because a named tuple's constructor takes other arguments.
        return tuple.__new__(kind, map(plain, value))
    if kind in (list, set, frozenset):
        return kind(map(plain, value))
    if kind is collections.deque:
        return collections.deque(map(plain, value), value.maxlen)
    if kind in _DICTS:
        copy = value.copy()
        copy.clear()
        copy.update((plain(key), plain(item)) for key, item in value.items())
        return copy
    if kind is slice:
        return slice(plain(value.start), plain(value.stop), plain(value.step))
    return value


def _plain_scalar(value: np.generic) -> Any:
    if isinstance(value, np.floating):
        return _Float.of(float(value), str(value))
    if isinstance(value, (np.integer, np.bool_, np.str_, np.bytes_)):
        return value.item()
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return _Shown(repr(value).replace("np.", "numpy.", 1))
    return _Shown(str(value))
