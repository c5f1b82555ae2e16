"""Arithmetic with NumPy scalars as in NumPy 1, for MXNet's modules only.

Before NumPy 2 (NEP 50) a Python float counted as float64 beside a NumPy scalar, and a
scalar never widened an array of its kind. MXNet relies on both: its metrics add float32
scalars to Python numbers, so under NumPy 2's rules a sum over an epoch would be kept in
float32. The functions here convert the operands first, so that NumPy 2 gives NumPy 1's
result.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

_NUMBERS = (bool, int, float, complex)
_KINDS = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
_Operator = Callable[[Any, Any], Any]


def _promoting(function: _Operator, signed: bool = False) -> _Operator:
    """``function`` on operands promoted as in NumPy 1.

    ``signed``: uint8 and 300 give int16, the first of NumPy's types that holds both;
    otherwise, as for +, -, * and /, they give uint16.
    """

    def promoting(a: Any, b: Any) -> Any:
        if isinstance(a, (np.generic, np.ndarray)):
            if type(b) in _NUMBERS or isinstance(b, (np.generic, np.ndarray)):
                a, b = promoted(a, b, signed)
        elif isinstance(b, (np.generic, np.ndarray)) and type(a) in _NUMBERS:
            a, b = promoted(a, b, signed)
        return function(a, b)

    return promoting


def promoted(a: Any, b: Any, signed: bool = False) -> tuple[Any, Any]:
    """Return both operands, with scalars converted to NumPy 1's type for them."""
    ndim_a, ndim_b = np.ndim(a), np.ndim(b)
    if ndim_a and ndim_b:
        return a, b
    dtype_a, dtype_b = np.asarray(a).dtype, np.asarray(b).dtype
    if dtype_a.kind not in _KINDS or dtype_b.kind not in _KINDS:
        return a, b
    if ndim_a:
        return a, _beside(dtype_a, b, dtype_b, signed)
    if ndim_b:
        return _beside(dtype_b, a, dtype_a, signed), b
    # Of two scalars, a Python number counts as float64, int64 or complex128.
    return dtype_a.type(a), dtype_b.type(b)


def _beside(
    array: np.dtype[Any], scalar: Any, dtype: np.dtype[Any], signed: bool = False
) -> Any:
    """Return ``scalar`` with its NumPy 1 type beside an array of type ``array``."""
    if _KINDS[dtype.kind] <= _KINDS[array.kind]:
        value: Any = np.asarray(scalar)[()]
        if dtype.kind in "ui" and value >= 0 and array.kind == "i":
            value = -int(value) - 1  # as a signed number of the same size
        dtype = np.promote_types(array, np.min_scalar_type(value))
        if signed and array.kind == dtype.kind == "u" and array != dtype:
            other = np.dtype(f"i{dtype.itemsize}")
            dtype = other if value <= np.iinfo(other).max else dtype
    return np.asarray(scalar).astype(dtype)[()]


def together(*values: Any) -> list[Any]:
    """Return a function's operands, with numbers converted to NumPy 1's type for them.

    They stay as they are if all are Python numbers, or if one is neither an array, a
    number nor None.
    """
    arrays = [v.dtype for v in values if isinstance(v, np.ndarray) and v.ndim]
    numbers = [v for v in values if type(v) in _NUMBERS or isinstance(v, np.generic)]
    known = len(arrays) + len(numbers) + sum(v is None for v in values) == len(values)
    if not known or (not arrays and all(type(v) in _NUMBERS for v in numbers)):
        return list(values)
    kinds = arrays or [np.asarray(v).dtype for v in numbers]
    # Without arrays a Python number counts as float64, int64 or complex128.
    dtype = np.result_type(*kinds)
    if arrays and dtype.kind in _KINDS:
        # Negative numbers first: uint8, -1 and 300 gave int16.
        for number in sorted(numbers, key=lambda v: bool(np.real(v) >= 0)):
            kind = np.asarray(number).dtype
            dtype = np.promote_types(dtype, _beside(dtype, number, kind).dtype)
    if dtype.kind not in _KINDS:
        return list(values)
    return [
        v if v is None or isinstance(v, np.ndarray) else dtype.type(v) for v in values
    ]


add = _promoting(operator.add)
sub = _promoting(operator.sub)
mul = _promoting(operator.mul)
truediv = _promoting(operator.truediv)
floordiv = _promoting(operator.floordiv, signed=True)
power = _promoting(operator.pow)
mod = _promoting(operator.mod, signed=True)
and_ = _promoting(operator.and_, signed=True)
or_ = _promoting(operator.or_, signed=True)
xor = _promoting(operator.xor, signed=True)
lshift = _promoting(operator.lshift, signed=True)
rshift = _promoting(operator.rshift, signed=True)


def _in_place(function: _Operator, promoting: _Operator) -> _Operator:
    """``a = function(a, b)`` as in NumPy 1; an array keeps its type."""

    def in_place(a: Any, b: Any) -> Any:
        if type(a) is type(b) is int:  # counters
            return function(a, b)
        if isinstance(a, np.generic) or type(a) in _NUMBERS:
            return promoting(a, b)
        number = type(b) in _NUMBERS or isinstance(b, np.generic)
        if number and isinstance(a, np.ndarray) and a.ndim:
            b = promoted(a, b)[1]  # uint8 += 300: computed in uint16, stored in uint8
        return function(a, b)

    return in_place


iadd = _in_place(operator.iadd, add)
isub = _in_place(operator.isub, sub)
imul = _in_place(operator.imul, mul)
itruediv = _in_place(operator.itruediv, truediv)
ifloordiv = _in_place(operator.ifloordiv, floordiv)
ipower = _in_place(operator.ipow, power)
iand_ = _in_place(operator.iand, and_)
ior_ = _in_place(operator.ior, or_)
ixor = _in_place(operator.ixor, xor)


def _comparing(function: _Operator) -> _Operator:
    """``function(a, b)`` for an empty sequence ``b``, as in NumPy 1.

    The elementwise result had no items and counted as false; arrays that could not be
    compared with ``()`` were unequal. Since NumPy 2.2 and 1.25 these raise.
    """

    def comparing(a: Any, b: Any) -> Any:
        try:
            result = function(a, b)
        except ValueError:
            return function is operator.ne
        empty = isinstance(result, np.ndarray) and result.size == 0
        return False if empty else result

    return comparing


equal = _comparing(operator.eq)
not_equal = _comparing(operator.ne)


def _scalar(value: Any) -> Any:
    """Return an array of one item as its item; NumPy 2.5 rejects float(array)."""
    one = isinstance(value, np.ndarray) and value.size == 1 and value.ndim > 0
    return value.item() if one else value


def as_float(*args: Any) -> float:
    """Return ``float(value)``; an array of one item counts as its item."""
    return float(*map(_scalar, args))


def as_int(*args: Any, **kwargs: Any) -> int:
    """Return ``int(value)``; an array of one item counts as its item."""
    return int(*map(_scalar, args), **kwargs)


def as_scalars(values: Any) -> list[Any]:
    """Return the values for a C array; an array of one item counts as its item."""
    return [_scalar(value) for value in values]
