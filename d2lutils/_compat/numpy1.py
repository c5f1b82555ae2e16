"""NumPy for MXNet's modules: the installed one plus names that it has removed.

MXNet's ``import numpy`` is compiled as an import of this module. It has every public
name of the installed NumPy, and the names of NumPy 1.23 that MXNet uses and later
releases removed. The real ``numpy`` does not change.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import types
from collections.abc import Callable
from typing import Any

import numpy as _numpy

from d2lutils._compat import promotion

NUMPY_2 = builtins.int(_numpy.__version__.split(".")[0]) >= 2


def _dispatched(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``function`` NumPy's ``__array_function__`` protocol.

    The removed functions supported it, and MXNet's arrays rely on it: their
    ``__array_function__`` converts the arguments to NumPy arrays and calls the function
    again.
    """

    @functools.wraps(function)
    def public(*args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            items = value if isinstance(value, (list, tuple)) else (value,)
            for item in items:
                kind = type(item)
                if kind is _numpy.ndarray or not hasattr(kind, "__array_function__"):
                    continue
                # Called as NumPy does; MXNet made it a static method with ``self``.
                return kind.__array_function__(item, public, (kind,), args, kwargs)
        return function(*args, **kwargs)

    return public


@_dispatched
def alltrue(a: Any, *args: Any, **kwargs: Any) -> Any:
    """``numpy.all`` by its old name; removed in 2.0."""
    return _numpy.all(a, *args, **kwargs)


@_dispatched
def sometrue(a: Any, *args: Any, **kwargs: Any) -> Any:
    """``numpy.any`` by its old name; removed in 2.0."""
    return _numpy.any(a, *args, **kwargs)


@_dispatched
def product(a: Any, *args: Any, **kwargs: Any) -> Any:
    """``numpy.prod`` by its old name; removed in 2.0."""
    return _numpy.prod(a, *args, **kwargs)


@_dispatched
def round_(a: Any, decimals: int = 0, out: Any = None) -> Any:
    """``numpy.round`` by its old name; removed in 2.0."""
    return _numpy.round(a, decimals=decimals, out=out)


@_dispatched
def msort(a: Any) -> Any:
    """A copy of ``a`` sorted along its first axis; removed in 2.0."""
    return _numpy.sort(a, axis=0)


@_dispatched
def in1d(
    ar1: Any,
    ar2: Any,
    assume_unique: builtins.bool = False,
    invert: builtins.bool = False,
) -> Any:
    """For each item of ``ar1``, flattened, whether ``ar2`` has it; removed in 2.4."""
    return _numpy.isin(_numpy.ravel(ar1), ar2, assume_unique, invert)


@_dispatched
def trapz(y: Any, x: Any = None, dx: Any = 1.0, axis: builtins.int = -1) -> Any:
    """``numpy.trapezoid`` by its old name; removed in 2.4."""
    name = "trapezoid" if hasattr(_numpy, "trapezoid") else "trapz"
    return getattr(_numpy, name)(y, x, dx, axis)


def nanpercentile(*args: Any, **kwargs: Any) -> Any:
    """``numpy.nanpercentile``, whose ``interpolation`` was renamed ``method``."""
    return _numpy.nanpercentile(*args, **_with_method(kwargs))


def nanquantile(*args: Any, **kwargs: Any) -> Any:
    """``numpy.nanquantile``, whose ``interpolation`` was renamed ``method``."""
    return _numpy.nanquantile(*args, **_with_method(kwargs))


def _with_method(kwargs: dict[builtins.str, Any]) -> dict[builtins.str, Any]:
    if "interpolation" in kwargs:
        kwargs["method"] = kwargs.pop("interpolation")
    return kwargs


def count_nonzero(*args: Any, **kwargs: Any) -> Any:
    """``numpy.count_nonzero``; before 2.3 it returned an int if there was no axis."""
    count = _numpy.count_nonzero(*args, **kwargs)
    return builtins.int(count) if isinstance(count, _numpy.integer) else count


def array(object: Any, dtype: Any = None, **kwargs: Any) -> Any:
    """``numpy.array``, where Python numbers outside the range of ``dtype`` wrap.

    ``array(-1, "uint8")`` was 255; NumPy 2 raises OverflowError.
    """
    try:
        return _numpy.array(object, dtype, **kwargs)
    except OverflowError as error:
        if dtype is None:
            raise
        return _numpy.array(_wrapped(object, dtype, error), **kwargs)


def _wrapped(value: Any, dtype: Any, error: OverflowError) -> Any:
    """``value`` as an array of ``dtype``, an integer type, with numbers that wrap.

    For any other type raise ``error``.
    """
    if _numpy.dtype(dtype).kind not in "ui":
        raise error
    items = _numpy.array(value)
    if items.dtype.kind == "f":  # NumPy 1 converted each item separately
        items = items.astype(_numpy.int64)
    return items.astype(dtype)


def wrapping(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a function that makes an array; Python numbers out of range wrap.

    For example ``full(2, -1, "uint8")`` and ``uint8(-1)``.
    """
    try:
        return function(*args, **kwargs)
    except OverflowError as error:
        if isinstance(function, type) and issubclass(function, _numpy.generic):
            return _wrapped(args[0], function, error)[()]
        name = function.__name__
        if name in PLACES:
            position = PLACES[name]
            dtype = kwargs.pop("dtype", None)
            if dtype is None and len(args) > position:
                dtype = args[position]
            if dtype is None and name == "full_like":
                dtype = args[0].dtype
            if dtype is None or _numpy.dtype(dtype).kind not in "ui":
                raise
            if name == "full_like":
                kwargs["dtype"] = _numpy.int64
                return function(*args[:position], **kwargs).astype(dtype)
            return _wrapped(function(*args[:position], **kwargs), dtype, error)
        raise


def combined(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a function such as ``clip`` or ``maximum`` with NumPy 1's result type."""
    first = builtins.int(function is _numpy.where)  # its condition is not an operand
    last = getattr(function, "nin", 3)
    named = [name for name in ("a_min", "a_max") if name in kwargs]
    operands = args[first:last]
    values = promotion.together(*operands, *(kwargs[name] for name in named))
    kwargs.update(zip(named, values[len(operands) :], strict=True))
    values = values[: len(operands)]
    return function(*args[:first], *values, *args[last:], **kwargs)


#: The position of ``dtype`` among the arguments of functions that make arrays.
PLACES = {"asarray": 1, "ascontiguousarray": 1, "full": 2, "full_like": 2, "arange": 3}


def set_item(value: Any, array: Any, key: Any) -> None:
    """``array[key] = value``; in an integer array a number out of range wraps."""
    try:
        array[key] = value
    except OverflowError as error:
        if not isinstance(array, _numpy.ndarray):
            raise
        array[key] = _wrapped(value, array.dtype, error)


class item:  # noqa: N801
    """``array[key] += value`` is ``item(array, key).change(iadd, value)``.

    So ``array`` and ``key`` are evaluated once, and before ``value``.
    """

    def __init__(self, array: Any, key: Any) -> None:
        self._array, self._key, self._current = array, key, array[key]

    def change(self, function: Callable[[Any, Any], Any], value: Any) -> None:
        set_item(function(self._current, value), self._array, self._key)


def fill(array: Any, *args: Any, **kwargs: Any) -> Any:
    """``array.fill(value)``; in an integer array a number out of range wraps."""
    try:
        return array.fill(*args, **kwargs)
    except OverflowError as error:
        if not isinstance(array, _numpy.ndarray):
            raise
        return array.fill(_wrapped(args[0], array.dtype, error))


def as_array(self: Any, dtype: Any = None, copy: Any = None) -> Any:
    """``NDArray.__array__``, which NumPy's functions use to convert an array.

    Without it NumPy treats an NDArray as a sequence, and recurses without end because
    each item is an NDArray again. NumPy 1.23 stopped at 32 dimensions.
    """
    if copy is False:
        raise ValueError("an NDArray's values cannot be had without a copy of them")
    values = self.asnumpy()
    return values if dtype is None else values.astype(dtype, copy=False)


def rebuilt(kind: Any, items: Any) -> Any:
    """Return ``kind(items)``; also for named tuples, which NumPy 2 returns."""
    return kind._make(items) if hasattr(kind, "_make") else kind(items)


def fallback(ufunc: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``ufunc`` as NumPy 1 did; MXNet has converted its arrays to NumPy's.

    But MXNet does not convert ``out``, so NumPy and MXNet call each other without end:
    a RecursionError in NumPy 1, a crash of the process in NumPy 2.0 to 2.2.
    """
    out = kwargs.get("out")
    if out is not None and not isinstance(out, _numpy.ndarray):
        raise RecursionError(f"{ufunc.__name__} of MXNet's arrays takes no out=")
    if NUMPY_2 and len(args) == 2 and ufunc is not _numpy.ldexp:  # float, int
        args = promotion.promoted(*args)
    return ufunc(*args, **kwargs)


def return_what_numpy_returns(table: dict[Any, Callable[..., Any]]) -> None:
    """Make NumPy's functions return the same type of sequence for MXNet's arrays.

    ``numpy.linalg.eig(a)`` is a named tuple since 1.25, ``numpy.meshgrid(a, b)`` a
    tuple since 2.0. ``table`` maps each function of NumPy to MXNet's implementation.
    MXNet's own ``mx.np`` functions stay as they are.
    """
    one = _numpy.ones((1, 1))
    unary: list[Callable[..., Any]] = [_numpy.linalg.eig, _numpy.linalg.eigh]
    binary: list[Callable[..., Any]] = [_numpy.broadcast_arrays, _numpy.meshgrid]
    binary += [_numpy.atleast_1d, _numpy.atleast_2d, _numpy.atleast_3d]
    for function in (*unary, *binary):
        kind = type(function(one, one) if function in binary else function(one))
        table[function] = _returning(kind, table[function])


def _returning(kind: type, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def returning(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        sequence = isinstance(result, (list, tuple))
        return rebuilt(kind, result) if sequence else result

    return returning


def _expired(name: builtins.str) -> Callable[..., Any]:
    """A financial function as in NumPy 1.23, where it only raised."""

    def function(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            f"In accordance with NEP 32, the function {name} was removed from "
            "NumPy version 1.20.  A replacement for this function is available in "
            "the numpy_financial library: https://pypi.org/project/numpy-financial"
        )

    function.__name__ = name
    return function


def _namespace() -> dict[builtins.str, Any]:
    """NumPy's public names, plus the removed ones that the installed NumPy lacks."""
    names = {
        name: value for name, value in vars(_numpy).items() if not name.startswith("__")
    }
    # Aliases of Python's own types before 1.24. In NumPy 2 bool is NumPy's scalar.
    for kind in ("bool", "int", "float", "complex", "object", "str"):
        names[kind] = getattr(builtins, kind)
    for name in ("fv", "ipmt", "irr", "mirr", "nper", "npv", "pmt", "ppmt", "pv"):
        names[name] = _expired(name)
    names["rate"] = _expired("rate")
    nan, inf = _numpy.nan, _numpy.inf
    names.update(NAN=nan, NaN=nan, Inf=inf, PINF=inf, NINF=-inf, PZERO=0.0, NZERO=-0.0)
    # From 1.25 on the real ones warn when called; 2.0 removed them. Where they exist,
    # MXNet must register them, so that numpy.sometrue(mx_array) calls MXNet.
    for own in (sometrue, product, round_):
        names.setdefault(own.__name__, own)
    own_names = (alltrue, msort, in1d, trapz, array, nanpercentile, nanquantile)
    for own in (*own_names, count_nonzero):
        names[own.__name__] = own
    if NUMPY_2:
        utilities = importlib.import_module("numpy.lib.array_utils")
        numeric = types.SimpleNamespace(
            normalize_axis_tuple=utilities.normalize_axis_tuple
        )
        names["core"] = types.SimpleNamespace(numeric=numeric)
        names["compat"] = types.SimpleNamespace(basestring=builtins.str)
    return names


def __getattr__(name: builtins.str) -> Any:
    """Names that NumPy itself loads on first use."""
    return getattr(_numpy, name)


globals().update(_namespace())
__version__ = _numpy.__version__
