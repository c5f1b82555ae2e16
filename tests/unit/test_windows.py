"""What windows read: both frameworks as oracles, by gradient and by one-hot inputs.

A convolution whose weights are all 1 and a pooling that adds up have a gradient of
the sum of their outputs that counts how many windows read each input. A max pooling
of one-hot inputs does the same without a gradient, dilated or not.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from d2lutils import shapes
from d2lutils.compat import mx
from d2lutils.shapes import NIN, NIN_CIFAR, Sizes, Window

functional = torch.nn.functional

# Each example asks a framework or two.
examples = settings(max_examples=150)


@st.composite
def windows(
    draw: Any,
    kind: str = "conv",
    kernels: int = 8,
    strides: int = 6,
    dilations: int = 4,
    ceil_mode: bool | None = None,
) -> Window:
    """A window: gaps, kernels of 1 and large paddings are all among them."""
    k, s = draw(st.integers(1, kernels)), draw(st.integers(1, strides))
    d = draw(st.integers(1, dilations))
    p = draw(st.integers(0, k // 2 if kind == "pool" else kernels - 2))
    if ceil_mode is None:
        ceil_mode = kind == "pool" and draw(st.booleans())
    return Window(k, s, p, d, ceil_mode, kind)


@st.composite
def fitted(draw: Any, *arguments: Any, **options: Any) -> tuple[int, Window]:
    """(n, a window that fits into n inputs)."""
    window = draw(windows(*arguments, **options))
    least = max(1, window.span - 2 * window.padding)
    return least + draw(st.integers(0, 24)), window


def numbers(window: Window) -> tuple[Any, ...]:
    """The arguments after n of `reads` and `unread`, without the framework."""
    return (
        *(window.kernel_size, window.stride, window.padding, window.dilation),
        window.ceil_mode,
    )


# -- the two oracles -------------------------------------------------------------------

Axes = Sequence[Window]  # the windows of one layer, axis by axis


def parts(axes: Axes) -> dict[str, tuple[int, ...]]:
    return {
        "kernel": tuple(w.kernel_size for w in axes),
        "stride": tuple(w.stride for w in axes),
        "pad": tuple(w.padding for w in axes),
        "dilate": tuple(w.dilation for w in axes),
    }


def torch_layer(x: torch.Tensor, axes: Axes, pool: str = "sum") -> torch.Tensor:
    """A layer of ones, or of sums or maxima, over (N, 1, L) or (N, 1, H, W)."""
    rank, part = len(axes), parts(axes)
    if axes[0].kind == "conv":
        weight = torch.ones(1, 1, *part["kernel"])
        conv = getattr(functional, f"conv{rank}d")
        return conv(x, weight, None, part["stride"], part["pad"], part["dilate"])
    ceil_mode = axes[0].ceil_mode
    if pool == "max":
        function = getattr(functional, f"max_pool{rank}d")
        return function(x, *part.values(), ceil_mode=ceil_mode)
    options = {"ceil_mode": ceil_mode, "divisor_override": 1}
    return functional.avg_pool2d(
        x, part["kernel"], part["stride"], part["pad"], **options
    )


def mxnet_layer(x: Any, axes: Axes, pool: str = "sum") -> Any:
    """The same in MXNet."""
    part = parts(axes)
    if axes[0].kind == "conv":
        weight = mx.nd.ones((1, 1, *part["kernel"]))
        return mx.nd.Convolution(x, weight, num_filter=1, no_bias=True, **part)
    del part["dilate"]
    convention = "full" if axes[0].ceil_mode else "valid"
    return mx.nd.Pooling(x, pool_type=pool, pooling_convention=convention, **part)


def torch_gradient(chain: Sequence[Axes], *sizes: int) -> tuple[list[Any], np.ndarray]:
    """Sizes before and after every layer, and the gradient of what comes out."""
    x = torch.ones(1, 1, *sizes, requires_grad=True)
    y, found = x, [tuple(x.shape[2:])]
    for axes in chain:
        y = torch_layer(y, axes)
        found.append(tuple(y.shape[2:]))
    y.sum().backward()
    return found, x.grad.numpy()[0, 0]


def mxnet_gradient(chain: Sequence[Axes], *sizes: int) -> tuple[list[Any], np.ndarray]:
    """The same in MXNet."""
    x = mx.nd.ones((1, 1, *sizes))
    x.attach_grad()
    found = [sizes]
    with mx.autograd.record():
        y = x
        for axes in chain:
            y = mxnet_layer(y, axes)
            found.append(y.shape[2:])
    y.backward()
    return found, x.grad.asnumpy()[0, 0]


GRADIENTS = {"pytorch": torch_gradient, "gluon": mxnet_gradient}


def torch_one_hot(chain: Sequence[Window], n: int) -> list[np.ndarray]:
    """For each layer, does output j (column) depend on input q (row)?

    Convolutions of ones and max poolings of what is not negative: an output is above
    zero if and only if it reads the only input that is.
    """
    y, found = torch.eye(n)[:, None], []
    for window in chain:
        y = torch_layer(y, (window,), "max").clamp(min=0)  # a window of padding: -inf
        found.append(y.numpy()[:, 0])
    return found


def mxnet_one_hot(chain: Sequence[Window], n: int) -> list[np.ndarray]:
    """The same in MXNet."""
    y, found = mx.nd.array(np.eye(n)[:, None]), []
    for window in chain:
        y = mx.nd.relu(mxnet_layer(y, (window,), "max"))
        found.append(y.asnumpy()[:, 0])
    return found


ONE_HOT = {"pytorch": torch_one_hot, "gluon": mxnet_one_hot}


# -- one layer -------------------------------------------------------------------------


def check_reads(n: int, window: Window, framework: str, counts: np.ndarray) -> None:
    """`reads` and `unread` against the counts of an oracle."""
    arguments = (n, *numbers(window), framework)
    assert shapes.reads(*arguments) == counts.astype(int).tolist()
    assert shapes.unread(*arguments) == set(np.flatnonzero(counts == 0).tolist())


@examples
@given(fitted())
@example((224, Window(11, 4)))
@example((1, Window(1)))
@example((5, Window(2, 3)))  # a gap
@example((1, Window(2, padding=1, dilation=2)))  # every tap in the padding
def test_reads_of_a_convolution(case: tuple[int, Window]) -> None:
    n, window = case
    for framework, gradient in GRADIENTS.items():
        sizes, counts = gradient([(window,)], n)
        assert sizes[1] == (window.output_size(n, framework),)
        check_reads(n, window, framework, counts)


@examples
@given(fitted("pool", dilations=3))
@example((5, Window(2, 2, 1, 1, True, "pool")))
# MXNet keeps a last window that sees nothing but padding.
@example((1, Window(2, 3, 1, 1, True, "pool")))
def test_reads_of_a_max_pooling(case: tuple[int, Window]) -> None:
    n, window = case
    for framework, one_hot in ONE_HOT.items():
        if framework == "gluon" and window.dilation > 1:
            continue  # MXNet's pooling has none
        (outputs,) = one_hot([window], n)
        assert outputs.shape == (n, window.output_size(n, framework))
        check_reads(n, window, framework, outputs.sum(axis=1))


@given(fitted())
def test_parts_are_the_whole(case: tuple[int, Window]) -> None:
    n, window = case
    everything = {"left": [*range(n)], "gaps": [], "right": []}
    assert shapes.unread_parts(set(range(n)), n) == everything
    lost = shapes.unread(n, *numbers(window))
    found = shapes.unread_parts(lost, n)
    assert list(found) == ["left", "gaps", "right"]
    every = [*found["left"], *found["gaps"], *found["right"]]
    assert every == sorted(lost)
    assert found["left"] == list(range(len(found["left"])))
    assert found["right"] == list(range(n - len(found["right"]), n))
    if found["gaps"]:
        assert window.stride > 1 or window.dilation > 1
        assert len(found["left"]) < found["gaps"][0]
        assert found["gaps"][-1] < n - 1 - len(found["right"])


@given(fitted("pool"), st.sampled_from(["pytorch", "gluon"]))
def test_taps(case: tuple[int, Window], framework: str) -> None:
    n, window = case
    if framework == "gluon" and window.dilation > 1:
        return
    taps = window.taps(n, framework)
    assert taps.shape == (window.output_size(n, framework), window.kernel_size)
    assert taps[0, 0] == -window.padding
    assert set(np.diff(taps, axis=1).ravel().tolist()) <= {window.dilation}
    assert set(np.diff(taps, axis=0).ravel().tolist()) <= {window.stride}
    assert taps[0, -1] - taps[0, 0] == window.span - 1
    if framework == "pytorch":
        assert taps[-1, 0] < n, "no window starts in the right padding"


# -- repairs ---------------------------------------------------------------------------


@examples
@given(fitted(kernels=6), st.booleans(), st.sampled_from(["pytorch", "gluon"]))
@example((224, Window(11, 4)), False, "pytorch")
def test_repairing_padding(
    case: tuple[int, Window], ceil_mode: bool, framework: str
) -> None:
    """By trying far more paddings than it does."""
    n, window = case
    k, s, d = window.kernel_size, window.stride, window.dilation
    if ceil_mode and framework == "gluon":
        d = 1
    expected = None
    for padding in range(k // 2 + 1 if ceil_mode else 4 * (window.span + s)):
        try:
            lost = shapes.unread(n, k, s, padding, d, ceil_mode, framework)
        except ValueError:
            continue  # does not fit
        if not lost:
            expected = padding
            break
    found = shapes.repairing_padding(n, k, s, d, ceil_mode, framework)
    assert found == expected
    if d == 1 and s <= k:
        assert found is not None
        assert found <= k // 2, "so a pool may have it, too"


def test_more_padding_is_not_always_better() -> None:
    lost = [sorted(shapes.unread(224, 11, 4, p)) for p in range(6)]
    assert lost == [[223], [222, 223], [], [], [], []]
    assert shapes.repairing_padding(224, 11, stride=4) == 2
    assert shapes.repairing_padding(223, 11, stride=4) == 0
    assert shapes.repairing_padding(9, 1, stride=2) is None
    # In ceil mode the first window that hangs over repairs the edge by itself.
    assert shapes.repairing_padding(224, 3, 2, ceil_mode=True) == 0


# -- transposed convolutions -----------------------------------------------------------

SMALL = st.integers(0, 4)


def torch_transposed(n: int, *window: int) -> int | None:
    k, s, p, more, d = window
    x, weight = torch.zeros(1, 1, n), torch.zeros(1, 1, k)
    try:
        y = functional.conv_transpose1d(x, weight, None, s, p, more, 1, d)
    except RuntimeError:
        return None
    return int(y.shape[2])


def mxnet_transposed(n: int, *window: int) -> int | None:
    """What MXNet infers, or None where it refuses or leaves no output."""
    k, s, p, more, d = window
    options = {"kernel": (k,), "stride": (s,), "pad": (p,), "adj": (more,)}
    y = mx.sym.Deconvolution(mx.sym.var("x"), num_filter=1, dilate=(d,), **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "Cannot decide shape"
        try:
            found = y.infer_shape(x=(1, 1, n))[1]
        except mx.MXNetError:
            return None
    return int(found[0][2]) or None if found else None


@examples
@given(st.integers(1, 20), st.integers(1, 8), st.integers(1, 6), SMALL, SMALL, SMALL)
@example(n=27, k=3, s=2, p=0, more=0, dilation=0)
@example(n=1, k=1, s=1, p=1, more=0, dilation=0)  # nothing would be left
@example(n=4, k=3, s=1, p=0, more=1, dilation=1)  # PyTorch alone takes this
def test_transposed(n: int, k: int, s: int, p: int, more: int, dilation: int) -> None:
    d = dilation + 1
    try:
        expected = shapes.transposed_output_size(n, k, s, p, more, d)
    except ValueError:
        expected = None
    assert torch_transposed(n, k, s, p, more, d) == expected
    if more < s:
        assert mxnet_transposed(n, k, s, p, more, d) == expected
    else:
        # PyTorch's rule is ours: less than the stride, or less than the dilation.
        assert mxnet_transposed(n, k, s, p, more, d) is None
        assert (expected is None) or more < d
    if expected is None or more >= s:
        return
    # The way back, and what each output is made of.
    assert shapes.output_size(expected, k, s, p, d) == n
    written = functional.conv_transpose1d(
        torch.ones(1, 1, n), torch.ones(1, 1, k), None, s, p, more, 1, d
    )
    counts = written[0, 0].int().tolist()
    assert shapes.reads(expected, k, s, p, d) == counts


# -- chains ----------------------------------------------------------------------------


@st.composite
def layers(
    draw: Any,
    most: int = 4,
    kernels: int = 4,
    strides: int = 3,
    dilations: int = 2,
    pool_dilations: int = 1,
) -> list[Window]:
    kinds = draw(st.lists(st.sampled_from(["conv", "pool"]), min_size=1, max_size=most))
    most_of = {"conv": dilations, "pool": pool_dilations}
    return [draw(windows(kind, kernels, strides, most_of[kind])) for kind in kinds]


@examples
@given(layers(pool_dilations=2), st.integers(0, 12), st.sampled_from([*ONE_HOT]))
@example([Window(3), Window(1, 2)], 2, "pytorch")
@example(
    [Window(2, 2, 1, 1, True, "pool"), Window(2, 2, 1, 1, True, "pool")], 4, "gluon"
)
def test_chain(chain: list[Window], more: int, framework: str) -> None:
    """Sizes, readers of each input, unread inputs, and the receptive field."""
    if framework == "gluon":
        chain = [w if w.kind == "conv" else plain(w) for w in chain]
    field = shapes.receptive_field(chain)
    smallest = shapes.smallest_size(chain, framework)
    # Then some output's receptive field lies inside.
    inside = field.size - 2 * field.offset + field.jump
    for n in {smallest + more, inside + more}:
        found = ONE_HOT[framework](chain, n)
        sizes = [n, *(outputs.shape[1] for outputs in found)]
        assert shapes.chain_sizes(n, chain, framework) == sizes
        lost = set(np.flatnonzero(found[-1].sum(axis=1) == 0).tolist())
        assert shapes.chain_unread(n, chain, framework) == lost
        for q in {0, n // 2, n - 1, *list(lost)[:1]}:
            readers = [set(np.flatnonzero(outputs[q]).tolist()) for outputs in found]
            assert shapes.chain_readers(n, chain, q, framework) == readers
        whole = 0
        for j, column in enumerate(found[-1].T):
            inputs = np.flatnonzero(column).tolist()
            spanned = field.inputs(j)
            assert set(inputs) <= set(spanned)
            if spanned.start >= 0 and spanned.stop <= n:
                assert (inputs[0], inputs[-1] + 1) == (spanned.start, spanned.stop)
                whole += 1
        assert whole or n < inside
    if smallest > 1:
        with pytest.raises(ValueError, match="does not fit"):
            shapes.chain_sizes(smallest - 1, chain, framework)


def plain(window: Window) -> Window:
    """A pooling without dilation, as MXNet has it."""
    return Window(*numbers(window)[:3], 1, window.ceil_mode, window.kind)


# -- sizes that lose nothing -----------------------------------------------------------


def reads_all(n: int, chain: Sequence[Window], framework: str) -> bool:
    """Whether a chain fits and reads every input, by the definition."""
    try:
        return not shapes.chain_unread(n, chain, framework)
    except ValueError:
        return False


def without_remainder(n: int, chain: Sequence[Window], framework: str) -> bool:
    if not reads_all(n, chain, framework):
        return False
    for window, m in zip(chain, shapes.chain_sizes(n, chain, framework), strict=False):
        if (m + 2 * window.padding - window.span) % window.stride:
            return False
    return True


@settings(max_examples=100)
@given(
    layers(3, kernels=4, strides=3, dilations=2),
    st.sampled_from(["pytorch", "gluon"]),
    st.booleans(),
)
@example(list(NIN_CIFAR), "pytorch", False)
@example([Window(1, 2), Window(1, 3)], "pytorch", False)
@example([Window(2, 1, 3), Window(3, 3, 4, 2)], "pytorch", True)
def test_lossless_sizes(chain: list[Window], framework: str, exact: bool) -> None:
    """By brute force, far beyond where the repetition begins."""
    sizes = shapes.lossless_sizes(chain, framework, exact)
    field = shapes.receptive_field(chain)
    holds = without_remainder if exact else reads_all
    last = max(sizes.start + 3 * sizes.period, field.size) + 2 * field.jump + 20
    expected = [n for n in range(1, last + 1) if holds(n, chain, framework)]
    assert sizes.between(1, last) == expected
    assert sizes.between(-3, last) == expected
    assert list(islice(sizes, len(expected))) == expected
    assert (0 in sizes, -5 in sizes) == (False, False)
    # Nothing below the first and nothing in between is passed over.
    for n in {1, last // 3, last // 2, *expected[:1], *expected[-1:]}:
        below, above = sizes.below(n), sizes.above(n)
        assert below == max((m for m in expected if m <= n), default=None)
        at_least = [m for m in expected if m >= n]
        if at_least:
            assert above == at_least[0]
        elif not sizes.residues:
            assert above is None


def test_sizes_as_text() -> None:
    assert repr(shapes.lossless_sizes(NIN)) == "67, 75, 83, 91, 99, 107, …"
    assert repr(shapes.lossless_sizes(NIN, exact=True)).startswith("67, 99, 131, ")
    # Where the taps lie apart, few sizes are read: some of them, or none.
    assert repr(Sizes((), 1, 1, ())) == "no size"
    assert repr(Sizes((3, 5), 6, 1, ())) == "3, 5 and no other"
    assert repr(Sizes((), 1, 1, (0,))) == "1, 2, 3, 4, 5, 6, …"
    assert repr(Sizes((2, 4, 6, 7, 8, 9), 10, 1, ())) == "2, 4, 6, 7, 8, 9 and no other"
    assert repr(Sizes((2, 4, 6, 7, 8, 9, 11), 12, 1, ())) == "2, 4, 6, 7, 8, 9, …"


def test_few_or_no_sizes() -> None:
    # Every second input: one input alone is read, and no other number of them.
    single = shapes.lossless_sizes([Window(1, 2)])
    assert list(single) == single.between(1, 50) == [1]
    assert repr(single) == "1 and no other"
    assert (single.below(100), single.below(0), single.above(2)) == (1, None, None)
    empty = Sizes((), 1, 1, ())
    assert list(empty) == [] == empty.between(1, 9)
    assert (empty.below(9), empty.above(9), 3 in empty) == (None, None, False)


def test_what_is_in_sizes() -> None:
    sizes = shapes.lossless_sizes(NIN)
    values = (67, np.int64(67), 68, "67", 67.0, None)
    assert [value in sizes for value in values] == [True, True] + [False] * 4
    assert sizes == shapes.lossless_sizes(iter(NIN))
    assert sizes != shapes.lossless_sizes(NIN, exact=True)


def test_exact_is_not_that_every_layer_reads_all() -> None:
    """A 1x1 window that strides skips inputs of its own without a remainder."""
    chain = (Window(3), Window(1, 2))
    assert 5 in shapes.lossless_sizes(chain, exact=True)
    assert shapes.chain_sizes(5, chain) == [5, 3, 2]
    assert shapes.unread(3, 1, 2) == {1}


# -- the facts of Network in Network ---------------------------------------------------


@pytest.mark.parametrize("framework", [*GRADIENTS])
@pytest.mark.parametrize(
    ("n", "along", "lost"),
    [
        (224, [224, 54, 26, 26, 12, 12, 5, 5], 5),  # 224² - 219² = 2,215 pixels
        (227, [227, 55, 27, 27, 13, 13, 6, 6], 0),
        (67, [67, 15, 7, 7, 3, 3, 1, 1], 0),
        (219, [219, 53, 26, 26, 12, 12, 5, 5], 0),
        (226, [226, 54, 26, 26, 12, 12, 5, 5], 7),
    ],
)
def test_nin_at_sizes(framework: str, n: int, along: list[int], lost: int) -> None:
    found, counts = GRADIENTS[framework]([(w, w) for w in NIN], n, n)
    assert [size for size, _ in found] == along == shapes.chain_sizes(n, NIN)
    unread = np.zeros((n, n), dtype=bool)
    unread[n - lost :] = unread[:, n - lost :] = True
    assert np.array_equal(counts == 0, unread)
    assert shapes.chain_unread(n, NIN, framework) == set(range(n - lost, n))
    assert (n in shapes.lossless_sizes(NIN, framework)) == (lost == 0)


@pytest.mark.parametrize("framework", [*GRADIENTS])
def test_nin_sizes_that_lose_nothing(framework: str) -> None:
    sizes = shapes.lossless_sizes(NIN, framework)
    assert sizes.between(1, 300) == list(range(67, 301, 8))
    assert (sizes.below(224), sizes.above(224)) == (219, 227)
    whole = shapes.lossless_sizes(NIN, framework, exact=True)
    assert whole.between(1, 300) == list(range(67, 301, 32))
    assert {n % 32 for n in islice(whole, 20)} == {3}
    assert (whole.below(224), whole.above(224)) == (195, 227)
    assert shapes.smallest_size(NIN, framework) == 67


@pytest.mark.parametrize("framework", [*GRADIENTS])
def test_nin_for_cifar(framework: str) -> None:
    found, counts = GRADIENTS[framework]([(w, w) for w in NIN_CIFAR], 32, 32)
    along = [32, 32, 16, 16, 8, 8]
    assert [size for size, _ in found] == along
    assert shapes.chain_sizes(32, NIN_CIFAR, framework) == along
    assert (counts > 0).all()
    # Ceil mode loses nothing; in whole steps one needs 4 m + 3.
    sizes = shapes.lossless_sizes(NIN_CIFAR, framework)
    assert sizes.between(1, 40) == list(range(6, 41))
    exact = shapes.lossless_sizes(NIN_CIFAR, framework, exact=True)
    assert exact.between(1, 40) == list(range(7, 41, 4))


# -- what is refused -------------------------------------------------------------------

CHAIN = (Window(3, name="stem"), Window(5, 2, name="second"))
FITS = "does not fit into"
HALF = "padding must be at most half of kernel_size=3 for kind='pool', got 2"

# What is called, and how its error begins.
REFUSED = [
    (
        "chain_sizes(5, CHAIN)",
        f"second: a window of 5 (kernel_size=5, dilation=1) {FITS}",
    ),
    (
        "Window(5, 2, 1, 2, name='conv1').output_size(6)",
        f"conv1: a window of 9 (kernel_size=5, dilation=2) {FITS} 8 inputs (n=6, "
        "padding=1 on each side)",
    ),
    ("reads(3, 5)", f"reads: a window of 5 (kernel_size=5, dilation=1) {FITS} 3"),
    ("Window(3, 0, name='conv1')", "conv1: stride must be at least 1, got 0"),
    ("Window(0)", "Window: kernel_size must be at least 1, got 0"),
    ("Window(3.0)", "TypeError: Window: kernel_size must be an integer, got 3.0"),
    (
        "Window(3, ceil_mode=1, kind='pool')",
        "TypeError: Window: ceil_mode must be True or False, got 1",
    ),
    (
        "Window(3, kind='dense')",
        "Window: kind must be one of 'conv', 'pool', got 'dense'",
    ),
    ("Window(3, ceil_mode=True)", "Window: ceil_mode is for kind='pool' only"),
    ("Window(3, 2, 2, kind='pool', name='pool1')", f"pool1: {HALF}"),
    ("reads(9, 3, padding=2, ceil_mode=True)", f"reads: {HALF}"),
    (
        "Window(3, 2, 1, 2, kind='pool', name='pool1').output_size(9, 'gluon')",
        "pool1: MXNet's pooling has no dilation, got 2",
    ),
    ("reads(0, 5)", "reads: n must be at least 1, got 0"),
    ("unread(5, 3, stride=0)", "unread: stride must be at least 1, got 0"),
    (
        "unread(5, 3, framework='mxnet')",
        "unread: framework must be one of 'pytorch', 'gluon', got 'mxnet'",
    ),
    ("repairing_padding(0, 3)", "repairing_padding: n must be at least 1, got 0"),
    (
        "unread_parts({1, 5}, 5)",
        "unread_parts: positions must be from 0 to 4, got [5]",
    ),
    (
        "chain_readers(224, NIN, 224)",
        "chain_readers: position must be from 0 to 223, got 224",
    ),
    (
        "transposed_output_size(4, 3, 2, output_padding=2)",
        "transposed_output_size: output_padding must be smaller than stride=2 or "
        "dilation=1, got 2",
    ),
    (
        "transposed_output_size(1, 3, 2, padding=2)",
        "transposed_output_size: padding=2 on each side leaves -1 outputs (n=1, "
        "kernel_size=3, stride=2)",
    ),
]


@pytest.mark.parametrize(("call", "text"), REFUSED)
def test_refused(call: str, text: str) -> None:
    message = text.removeprefix("TypeError: ")
    with pytest.raises(ValueError if message == text else TypeError) as caught:
        eval(call, vars(shapes) | {"CHAIN": CHAIN})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "call",
    [
        *("receptive_field({})", "smallest_size({})", "lossless_sizes({})"),
        *("chain_sizes(9, {})", "chain_unread(9, {})", "chain_readers(9, {}, 0)"),
    ],
)
def test_chains_that_are_none(call: str) -> None:
    for layers, text in (
        ("()", "layers must have at least one Window, got none"),
        ("[Window(3), (3, 2)]", "layers[1] must be a Window, got (3, 2)"),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            eval(call.format(layers), vars(shapes))
        assert str(caught.value) == f"{call.partition('(')[0]}: {text}"


def test_the_frameworks_refuse_half_a_kernel_of_padding_as_we_do() -> None:
    """PyTorch counts taps, not the inputs that they span; MXNet is more liberal."""
    x = torch.zeros(1, 1, 30)
    for k in range(1, 6):
        for d in range(1, 4):
            for p in range(5):
                try:
                    Window(k, 1, p, d, kind="pool")
                except ValueError:
                    with pytest.raises(RuntimeError, match="half of kernel size"):
                        functional.max_pool1d(x, k, 1, p, d)
                else:
                    functional.max_pool1d(x, k, 1, p, d)


def test_a_window_that_does_not_fit_is_refused_in_ceil_mode_too() -> None:
    """As by MXNet. PyTorch takes it, and lets it hang over on the right."""
    assert (
        functional.max_pool1d(torch.zeros(1, 1, 2), 3, 2, ceil_mode=True).shape[2] == 1
    )
    x = mx.nd.zeros((1, 1, 2))
    with pytest.raises(mx.MXNetError, match="exceeds input"):
        mx.nd.Pooling(x, kernel=(3,), stride=(2,), pooling_convention="full")
    for framework in GRADIENTS:
        with pytest.raises(ValueError, match="does not fit into 2 inputs"):
            shapes.output_size(2, 3, 2, ceil_mode=True, framework=framework)
