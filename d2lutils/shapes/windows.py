"""Window arithmetic: how many outputs a layer has, and which inputs they read.

The functions work on one axis. A two-dimensional layer applies the same formula to
height and width, so it reads a pixel if and only if it reads its row and its column. If
an argument is a tuple with a number for each axis, the result is a tuple, too.

The formulas are those of Dumoulin and Visin, "A guide to convolution arithmetic for
deep learning" (arXiv 1603.07285), relationships 6 and 14, and for chains of Araujo,
Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill,
2019). Ceil mode follows the two frameworks.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from d2lutils import _arguments
from d2lutils._arguments import NonNegative, Positive, checked

FRAMEWORKS = ("pytorch", "gluon")
# Arguments that may be tuples with a number for each axis.
_PER_AXIS = (
    *("n", "kernel_size", "stride", "padding", "dilation"),
    *("output_padding", "position"),
)


def _axis_count(name: str, value: Any) -> int | None:
    """The number of axes of an argument's tuples; None if it has no tuple."""
    if isinstance(value, Window):
        return next(
            filter(None, (_axis_count(n, getattr(value, n, 0)) for n in _PER_AXIS)),
            None,
        )
    if isinstance(value, (tuple, list)):
        if name in _PER_AXIS:
            return len(value)
        return next(filter(None, (_axis_count(name, one) for one in value)), None)
    return None


def _along(name: str, value: Any, axis: int) -> Any:
    """An argument along one axis."""
    if isinstance(value, Window):
        names = (n for n in _PER_AXIS if hasattr(value, n))
        return replace(value, **{n: _along(n, getattr(value, n), axis) for n in names})
    if isinstance(value, (tuple, list)):
        if name in _PER_AXIS:
            return value[axis]
        return [_along(name, one, axis) for one in value]
    return value


def per_axis(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of one axis take tuples with a number for each axis.

    It is then called once per axis, and returns a tuple of the results.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def each(*arguments: Any, **options: Any) -> Any:
        values = (*arguments, *options.values())
        if not any(isinstance(v, (tuple, list, Window)) for v in values):
            return function(*arguments, **options)
        given = signature.bind(*arguments, **options).arguments
        count = next(filter(None, (_axis_count(k, v) for k, v in given.items())), None)
        if count is None:
            return function(*arguments, **options)
        owner = function.__name__
        for name, value in given.items():
            if name in _PER_AXIS:
                _arguments.axes(owner, name, value, count, _arguments.integer)
        return tuple(
            function(**{k: _along(k, v, axis) for k, v in given.items()})
            for axis in range(count)
        )

    return each


@per_axis
def output_size(
    n: int,
    kernel_size: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    framework: str = "pytorch",
) -> int:
    """The number of outputs of a window that slides over `n` inputs.

    Without `ceil_mode`: floor((n + 2 * padding - span) / stride) + 1, where
    span = dilation * (kernel_size - 1) + 1. The same in both frameworks.

    Args:
        n: inputs along the axis.
        kernel_size: taps of the window.
        stride: step from one window to the next.
        padding: zeros added on each side.
        dilation: step from one tap to the next.
        ceil_mode: round up instead of down, so that the last window may extend
            beyond the right edge (pooling layers only).
        framework: "pytorch" or "gluon"; they differ in ceil mode, where PyTorch
            drops a last window that would start in the right padding.

    Raises:
        TypeError: an argument is not an integer.
        ValueError: a size or stride below 1, a negative padding, an unknown
            framework, or a window that does not fit into the padded input.

    >>> output_size(224, 11, stride=4)
    54
    >>> output_size(64, 3, stride=2, padding=1)
    32
    """
    # Without @checked, which is slower: blocks call this in each forward pass.
    owner = "output_size"
    n = _arguments.positive(owner, "n", n)
    kernel_size = _arguments.positive(owner, "kernel_size", kernel_size)
    stride = _arguments.positive(owner, "stride", stride)
    padding = _arguments.non_negative(owner, "padding", padding)
    dilation = _arguments.positive(owner, "dilation", dilation)
    _arguments.boolean(owner, "ceil_mode", ceil_mode)
    _arguments.choice(owner, "framework", framework, FRAMEWORKS)
    span = dilation * (kernel_size - 1) + 1
    room = n + 2 * padding - span
    if room < 0:
        raise ValueError(
            f"{owner}: a window of {span} (kernel_size={kernel_size}, "
            f"dilation={dilation}) does not fit into {n + 2 * padding} inputs "
            f"(n={n}, padding={padding} on each side)"
        )
    if not ceil_mode:
        return room // stride + 1
    outputs = -(-room // stride) + 1
    if framework == "pytorch" and (outputs - 1) * stride >= n + padding:
        outputs -= 1
    return outputs


@per_axis
@checked
def transposed_output_size(
    n: Positive,
    kernel_size: Positive,
    stride: Positive = 1,
    padding: NonNegative = 0,
    output_padding: NonNegative = 0,
    dilation: Positive = 1,
) -> int:
    """The number of outputs of a transposed convolution of `n` inputs.

    (n - 1) * stride + span - 2 * padding + output_padding, where span = dilation *
    (kernel_size - 1) + 1: each input writes a window, and padding is cut off at both
    ends. It is the same in both frameworks, except that MXNet requires `output_padding`
    to be below the stride. With such a value, a convolution with the same numbers turns
    the result back into `n`; `output_padding` selects one of the sizes for which it
    does.

    Raises:
        TypeError: an argument is not an integer.
        ValueError: a number out of range, an `output_padding` smaller than neither the
            stride nor the dilation, or no output at all.

    >>> transposed_output_size(27, 3, stride=2)
    55
    """
    owner = "transposed_output_size"
    if output_padding >= max(stride, dilation):
        raise ValueError(
            f"{owner}: output_padding must be smaller than stride={stride} or "
            f"dilation={dilation}, got {output_padding}"
        )
    span = dilation * (kernel_size - 1) + 1
    outputs = (n - 1) * stride + span - 2 * padding + output_padding
    if outputs < 1:
        raise ValueError(
            f"{owner}: padding={padding} on each side leaves {outputs} outputs "
            f"(n={n}, kernel_size={kernel_size}, stride={stride})"
        )
    return outputs


@dataclass(frozen=True)
class Window:
    """The window of one layer of a chain, along one axis or several.

    Attributes:
        kernel_size, stride, padding, dilation, ceil_mode: as in `output_size`; a
            tuple has a number for each axis.
        kind: "conv" or "pool". Only a pool has a ceil mode. Its padding is at most half
            its kernel, so that every window reads some input.
        name: the layer's name, for messages; may be empty.

    Raises:
        TypeError, ValueError: a bad number, named together with the layer.

    >>> Window(3, stride=2, padding=1).output_size(64)
    32
    """

    kernel_size: Any
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    ceil_mode: bool = False
    kind: str = "conv"
    name: str = ""

    def __post_init__(self) -> None:
        owner = self.name or "Window"
        for name in ("kernel_size", "stride", "padding", "dilation"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        count = _axis_count("self", self)
        for name, check in (
            ("kernel_size", _arguments.positive),
            ("stride", _arguments.positive),
            ("padding", _arguments.non_negative),
            ("dilation", _arguments.positive),
        ):
            value = getattr(self, name)
            if count is None:
                check(owner, name, value)
            else:
                _arguments.axes(owner, name, value, count, check)
        _arguments.boolean(owner, "ceil_mode", self.ceil_mode)
        _arguments.choice(owner, "kind", self.kind, ("conv", "pool"))
        if self.kind == "conv" and self.ceil_mode:
            raise ValueError(f"{owner}: ceil_mode is for kind='pool' only")
        if count is not None:
            for axis in range(count):
                _along("self", self, axis)  # the new Window checks itself
        elif self.kind == "pool" and 2 * self.padding > self.kernel_size:
            raise ValueError(
                f"{owner}: padding must be at most half of kernel_size="
                f"{self.kernel_size} for kind='pool', got {self.padding}"
            )

    @property
    @per_axis
    def span(self) -> int:
        """The number of positions from the first tap to the last, inclusive."""
        return self.dilation * (self.kernel_size - 1) + 1

    @per_axis
    def output_size(self, n: int, framework: str = "pytorch") -> int:
        """The number of outputs for `n` inputs; errors name the layer."""
        if (self.kind, framework) == ("pool", "gluon") and self.dilation > 1:
            raise ValueError(
                f"{self.name or 'Window'}: MXNet's pooling has no dilation, got "
                f"{self.dilation}"
            )
        arguments = (self.kernel_size, self.stride, self.padding, self.dilation)
        try:
            size: int = output_size(n, *arguments, self.ceil_mode, framework)
        except (TypeError, ValueError) as error:
            if not self.name:
                raise
            text = str(error).removeprefix("output_size: ")
            raise type(error)(f"{self.name}: {text}") from None
        return size

    @per_axis
    def taps(self, n: int, framework: str = "pytorch") -> np.ndarray:
        """The positions that each output reads: integers, (outputs, kernel_size).

        Positions below 0, or `n` and above, are padding or, in ceil mode, beyond it.
        """
        outputs = np.arange(self.output_size(n, framework))[:, None]
        taps = self.dilation * np.arange(self.kernel_size)[None, :]
        return outputs * self.stride - self.padding + taps


#: The windows of NiN before its global average pooling, without the 1x1 convolutions,
#: which read every position of their input (Zhang et al., Dive into Deep Learning,
#: section 8.3).
NIN = (
    Window(11, 4, name="conv1"),
    Window(3, 2, kind="pool", name="pool1"),
    Window(5, 1, 2, name="conv2"),
    Window(3, 2, kind="pool", name="pool2"),
    Window(3, 1, 1, name="conv3"),
    Window(3, 2, kind="pool", name="pool3"),
    Window(3, 1, 1, name="conv4"),
)


#: The windows of the published NiN for CIFAR-10, also without 1x1 convolutions.
NIN_CIFAR = (
    Window(5, 1, 2, name="conv1"),
    Window(3, 2, ceil_mode=True, kind="pool", name="pool1"),
    Window(5, 1, 2, name="conv2"),
    Window(3, 2, ceil_mode=True, kind="pool", name="pool2"),
    Window(3, 1, 1, name="conv3"),
)


@per_axis
def reads(
    n: int,
    kernel_size: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    framework: str = "pytorch",
) -> list[int]:
    """How many windows read each of `n` inputs; arguments as `output_size`.

    >>> reads(8, 3, stride=2)
    [1, 1, 2, 1, 2, 1, 1, 0]
    """
    options = (padding, dilation, ceil_mode, framework)
    return _counts("reads", n, kernel_size, stride, *options)


def _counts(
    owner: str,
    n: int,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
    ceil_mode: bool,
    framework: str,
) -> list[int]:
    _arguments.boolean(owner, "ceil_mode", ceil_mode)
    kind = "pool" if ceil_mode else "conv"
    window = Window(kernel_size, stride, padding, dilation, ceil_mode, kind, owner)
    taps = window.taps(n, framework).ravel()
    inside = taps[(taps >= 0) & (taps < n)]
    return [int(count) for count in np.bincount(inside, minlength=n)]


@per_axis
def unread(
    n: int,
    kernel_size: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    framework: str = "pytorch",
) -> set[int]:
    """The input positions, counted from 0, that no window reads.

    Inputs there do not affect any output, and their gradient is zero. For arguments and
    errors see `output_size`.

    >>> unread(224, 11, stride=4)
    {223}
    """
    options = (padding, dilation, ceil_mode, framework)
    counts = _counts("unread", n, kernel_size, stride, *options)
    return {position for position, count in enumerate(counts) if count == 0}


@checked
def unread_parts(positions: set[int], n: Positive) -> dict[str, list[int]]:
    """Unread positions of an axis of `n`, divided into "left", "gaps" and "right".

    "left" and "right" are the contiguous runs at the ends. "gaps" are all others, which
    occur only if a stride or a dilation skips inputs.

    >>> unread_parts({1, 3, 4}, 5)
    {'left': [], 'gaps': [1], 'right': [3, 4]}
    """
    strange = sorted(q for q in positions if not 0 <= q < n)
    if strange:
        raise ValueError(
            f"unread_parts: positions must be from 0 to {n - 1}, got {strange}"
        )
    left = [q for q in sorted(positions) if set(range(q)) <= positions]
    right = [q for q in sorted(positions) if set(range(q, n)) <= positions]
    if len(left) == n:
        right = []
    gaps = sorted(positions - set(left) - set(right))
    return {"left": left, "gaps": gaps, "right": right}


@per_axis
def repairing_padding(
    n: int,
    kernel_size: int,
    stride: int = 1,
    dilation: int = 1,
    ceil_mode: bool = False,
    framework: str = "pytorch",
) -> int | None:
    """The smallest padding with which a layer reads all of `n` inputs, or None.

    It is None if a stride or a dilation skips inputs in the middle. More padding is not
    always better, because it also moves the last window.

    >>> repairing_padding(224, 11, stride=4)
    2
    """
    owner = "repairing_padding"
    n = _arguments.positive(owner, "n", n)
    window = Window(kernel_size, stride, 0, dilation, name=owner)
    # With padding ≥ span the first window reads only padding, and adding one stride to
    # the padding does not change which inputs are read.
    for padding in range(window.span + stride):
        if n + 2 * padding < window.span or (ceil_mode and 2 * padding > kernel_size):
            continue
        options = (padding, dilation, ceil_mode, framework)
        if 0 not in _counts(owner, n, kernel_size, stride, *options):
            return padding
    return None


def _chain(owner: str, layers: Sequence[Window]) -> tuple[Window, ...]:
    """`layers` as a tuple; raises unless it is one or more windows."""
    layers = tuple(layers)
    for i, layer in enumerate(layers):
        if not isinstance(layer, Window):
            raise TypeError(f"{owner}: layers[{i}] must be a Window, got {layer!r}")
    if not layers:
        raise ValueError(f"{owner}: layers must have at least one Window, got none")
    return layers


@per_axis
def chain_sizes(
    n: int, layers: Sequence[Window], framework: str = "pytorch"
) -> list[int]:
    """The size before the first layer, after it, after the second, and so on.

    Raises:
        TypeError, ValueError: as `output_size`; the message names the layer.

    >>> chain_sizes(224, NIN)
    [224, 54, 26, 26, 12, 12, 5, 5]
    """
    sizes = [_arguments.positive("chain_sizes", "n", n)]
    for layer in _chain("chain_sizes", layers):
        sizes.append(layer.output_size(sizes[-1], framework))
    return sizes


@per_axis
def chain_unread(
    n: int, layers: Sequence[Window], framework: str = "pytorch"
) -> set[int]:
    """The input positions that no output of the whole chain depends on.

    They include the positions that the first layer does not read, and those that affect
    only positions that a later layer does not read.

    >>> sorted(chain_unread(224, NIN))
    [219, 220, 221, 222, 223]
    """
    layers = _chain("chain_unread", layers)
    sizes = chain_sizes(n, layers, framework)
    needed = np.ones(sizes[-1], dtype=bool)
    for layer, size in zip(reversed(layers), reversed(sizes[:-1]), strict=True):
        needed = _read_by(needed, layer, size, framework)
    return {int(q) for q in np.flatnonzero(~needed)}


def _read_by(outputs: np.ndarray, layer: Window, n: int, framework: str) -> np.ndarray:
    """A mask of the `n` inputs that the outputs in a mask read."""
    taps = layer.taps(n, framework)[outputs]
    marked = np.zeros(n, dtype=bool)
    marked[taps[(taps >= 0) & (taps < n)]] = True
    return marked


@per_axis
def chain_readers(
    n: int, layers: Sequence[Window], position: int, framework: str = "pytorch"
) -> list[set[int]]:
    """The outputs of each layer that depend on the input at `position`.

    >>> chain_readers(224, NIN, 218)[:2]
    [{52, 53}, {25}]
    """
    layers = _chain("chain_readers", layers)
    sizes = chain_sizes(n, layers, framework)
    position = _arguments.non_negative("chain_readers", "position", position)
    if position >= n:
        raise ValueError(
            f"chain_readers: position must be from 0 to {n - 1}, got {position}"
        )
    marked, found = {position}, []
    for layer, size in zip(layers, sizes[:-1], strict=True):
        hits = np.isin(layer.taps(size, framework), list(marked)).any(axis=1)
        marked = {int(q) for q in np.flatnonzero(hits)}
        found.append(marked)
    return found


@dataclass(frozen=True)
class ReceptiveField:
    """Which inputs one output of a chain can depend on.

    Output j reads inputs from j * jump + offset to j * jump + offset + size - 1;
    positions outside the input are padding.

    Attributes:
        size: the number of inputs from the first to the last, inclusive.
        jump: the distance between neighbouring outputs, the product of the strides.
        offset: the first input of output 0: minus the total padding, in inputs.
    """

    size: int
    jump: int
    offset: int

    def inputs(self, j: int) -> range:
        """The inputs that output `j` spans, including padding."""
        first = j * self.jump + self.offset
        return range(first, first + self.size)


@per_axis
def receptive_field(layers: Sequence[Window]) -> ReceptiveField:
    """The receptive field of one output of a chain, with its jump and offset.

    >>> receptive_field(NIN)
    ReceptiveField(size=195, jump=32, offset=-64)
    """
    size, jump, offset = 1, 1, 0
    for layer in _chain("receptive_field", layers):
        size += (layer.span - 1) * jump
        offset -= layer.padding * jump
        jump *= layer.stride
    return ReceptiveField(size, jump, offset)


@dataclass(frozen=True)
class Sizes:
    """A set of input sizes that is periodic from some size on.

    Attributes:
        first: the sizes below `start`, in ascending order.
        start: the size from which the set is periodic.
        period: the length of a period.
        residues: the sizes in one period, minus `start`.
    """

    first: tuple[int, ...]
    start: int
    period: int
    residues: tuple[int, ...]

    def __contains__(self, n: object) -> bool:
        if not isinstance(n, (int, np.integer)):
            return False
        if n < self.start:
            return n in self.first
        return (n - self.start) % self.period in self.residues

    def __iter__(self) -> Iterator[int]:
        """The sizes in ascending order; endless unless the set is finite."""
        yield from self.first
        base = self.start
        while self.residues:
            yield from (base + residue for residue in self.residues)
            base += self.period

    def between(self, low: int, high: int) -> list[int]:
        """The sizes from `low` to `high`, inclusive."""
        return [n for n in range(low, high + 1) if n in self]

    def below(self, n: int) -> int | None:
        """The largest size that is at most `n`, or None."""
        return next((m for m in range(n, 0, -1) if m in self), None)

    def above(self, n: int) -> int | None:
        """The smallest size that is at least `n`, or None."""
        last = max(n, self.start) + self.period
        return next((m for m in range(n, last + 1) if m in self), None)

    def __repr__(self) -> str:
        shown = list(islice(self, 7))
        words = ", ".join(map(str, shown[:6])) or "no size"
        if len(shown) == 7:
            return f"{words}, …"
        return f"{words} and no other" if shown else words


def _repeating(good: set[int], start: int, period: int) -> Sizes:
    """`good`, complete below start + period, as the shortest `Sizes`."""
    known = [n in good for n in range(start + period)]
    while start > 1 and known[start - 1] == known[start - 1 + period]:
        start -= 1
    for shorter in range(1, period + 1):
        if period % shorter == 0 and all(
            known[n] == known[start + (n - start) % shorter]
            for n in range(start, start + period)
        ):
            period = shorter
            break
    residues = tuple(r for r in range(period) if known[start + r])
    return Sizes(tuple(sorted(n for n in good if n < start)), start, period, residues)


@per_axis
def smallest_size(layers: Sequence[Window], framework: str = "pytorch") -> int:
    """The smallest input size at which every window of a chain fits.

    >>> smallest_size(NIN)
    67
    """
    layers = _chain("smallest_size", layers)
    field = receptive_field(layers)
    for n in range(1, field.size):
        if _sizes(n, layers, framework):
            return n
    return field.size


def _sizes(n: int, layers: tuple[Window, ...], framework: str) -> list[int]:
    """`chain_sizes`, or an empty list if a window does not fit."""
    try:
        return chain_sizes(n, layers, framework)
    except ValueError:
        return []


@per_axis
def lossless_sizes(
    layers: Sequence[Window], framework: str = "pytorch", exact: bool = False
) -> Sizes:
    """All input sizes at which a chain reads every input.

    Args:
        layers: the chain.
        framework: "pytorch" or "gluon", for their rules in ceil mode.
        exact: also require that no layer's division leaves a remainder, so that the
            last window of each layer ends where its padded input ends.

    Returns:
        A `Sizes`: `n in sizes`, `sizes.below(n)`, `sizes.above(n)`,
        `sizes.between(low, high)`.

    >>> lossless_sizes(NIN)
    67, 75, 83, 91, 99, 107, …
    >>> lossless_sizes(NIN).above(224)
    227
    """
    layers = _chain("lossless_sizes", layers)
    field = receptive_field(layers)
    # From this size on no receptive field reaches from one end to the other, so that
    # the result depends only on n mod jump.
    start = 2 * (field.size - 2 * field.offset) + field.jump
    good = {
        n
        for n in range(1, start + field.jump)
        if _is_lossless(n, layers, framework, exact)
    }
    return _repeating(good, start, field.jump)


def _is_lossless(
    n: int, layers: tuple[Window, ...], framework: str, exact: bool
) -> bool:
    sizes = _sizes(n, layers, framework)
    if not sizes:
        return False
    if exact and any(
        (m + 2 * layer.padding - layer.span) % layer.stride
        for layer, m in zip(layers, sizes[:-1], strict=True)
    ):
        return False
    return not chain_unread(n, layers, framework)
