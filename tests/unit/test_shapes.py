"""Window arithmetic, with both frameworks as oracles."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from d2lutils import shapes
from d2lutils.compat import mx

functional = torch.nn.functional
SIZES = st.integers(1, 40)
KERNELS = st.integers(1, 8)
STRIDES = st.integers(1, 5)


def mxnet_size(operator: Any, n: int, **parameters: Any) -> int | None:
    """The length that MXNet infers, or None if it refuses."""
    result = operator(mx.sym.var("x"), **parameters)
    try:
        return int(result.infer_shape(x=(1, 1, n))[1][0][2])
    except mx.MXNetError:
        return None


def torch_size(function: Any, n: int, *arguments: Any, **parameters: Any) -> int | None:
    """The length that PyTorch computes, or None if it refuses."""
    try:
        return int(function(torch.zeros(1, 1, n), *arguments, **parameters).shape[2])
    except RuntimeError:
        return None


def ours(*arguments: Any, **parameters: Any) -> int | None:
    """The length by output_size, or None if it refuses."""
    try:
        return shapes.output_size(*arguments, **parameters)
    except ValueError:
        return None


@settings(max_examples=300)
@given(SIZES, KERNELS, STRIDES, st.integers(0, 6), st.integers(1, 4))
@example(n=224, k=11, s=4, p=0, d=1)
@example(n=3, k=4, s=1, p=0, d=1)
@example(n=3, k=3, s=2, p=1, d=2)
def test_convolution(n: int, k: int, s: int, p: int, d: int) -> None:
    expected = ours(n, k, s, p, d)
    assert ours(n, k, s, p, d, framework="gluon") == expected
    weight = torch.zeros(1, 1, k)
    found = torch_size(functional.conv1d, n, weight, stride=s, padding=p, dilation=d)
    assert found == expected
    window = {"kernel": (k,), "stride": (s,), "pad": (p,), "dilate": (d,)}
    assert mxnet_size(mx.sym.Convolution, n, num_filter=1, **window) == expected


def test_frameworks_differ_in_ceil_mode() -> None:
    window = {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True}
    assert shapes.output_size(5, **window) == 3
    assert shapes.output_size(5, **window, framework="gluon") == 4


@given(SIZES, st.integers(0, 5), STRIDES)
def test_same_padding_divides_by_the_stride(n: int, half: int, s: int) -> None:
    k = 2 * half + 1
    assert shapes.same_padding(k) == half
    assert shapes.resolve_padding("o", "same", k) == half
    assert shapes.output_size(n, k, s, half) == -(-n // s)


SPAN = "(kernel_size=3, dilation=2) does not fit into 3 inputs (n=3, padding=0 on each"
REFUSED = {
    "same_padding(4)": (
        "same_padding: kernel_size must be odd so that both sides get the same "
        "padding, got 4"
    ),
    "resolve_padding('Owner', 'full', 3)": (
        "Owner: padding must be 'same', 'valid' or an integer, got 'full'"
    ),
    "resolve_padding('Owner', (1, 1), 3)": (
        "TypeError: Owner: padding must be an integer, got (1, 1)"
    ),
    "resolve_padding('Owner', -1, 3)": "Owner: padding must be at least 0, got -1",
    "output_size(3, 3, dilation=2)": f"output_size: a window of 5 {SPAN} side)",
    "output_size(64, 3, stride=0)": "output_size: stride must be at least 1, got 0",
    "output_size(64.0, 3)": "TypeError: output_size: n must be an integer, got 64.0",
    "output_size(64, 3, ceil_mode=1)": (
        "TypeError: output_size: ceil_mode must be True or False, got 1"
    ),
    "output_size(64, 3, framework='mxnet')": (
        "output_size: framework must be one of 'pytorch', 'gluon', got 'mxnet'"
    ),
    "residual_sizes(64, 3, 1, 1, 0)": (
        "residual_sizes: chain_length must be at least 1, got 0"
    ),
}


@pytest.mark.parametrize(("call", "text"), REFUSED.items())
def test_refused(call: str, text: str) -> None:
    message = text.removeprefix("TypeError: ")
    with pytest.raises(ValueError if message == text else TypeError) as caught:
        eval(call, vars(shapes))
    assert str(caught.value) == message


def test_chain_as_first_asked() -> None:
    assert shapes.residual_sizes(64, 3, 2, 0, 3) == ([31, 29, 27], 32)
    assert shapes.residual_sizes(64, 3, 1, 0, 3) == ([62, 60, 58], 64)
    assert shapes.residual_sizes(64, 3, 2, 1, 3) == ([32, 32, 32], 32)


WINDOWS = (SIZES, KERNELS, STRIDES, st.integers(0, 4), st.integers(1, 4))


@given(*WINDOWS)
def test_addable_if_and_only_if_the_ends_agree(
    n: int, k: int, s: int, p: int, length: int
) -> None:
    try:
        branch, skip = shapes.residual_sizes(n, k, s, p, length)
    except ValueError:
        with pytest.raises(ValueError, match="does not fit"):
            shapes.check_addable("Owner", [n], k, s, p, length)
        return
    assert len(branch) == length
    if branch[-1] == skip:
        shapes.check_addable("Owner", [n, n], k, s, p, length)
        return
    with pytest.raises(ValueError, match="cannot be added") as caught:
        shapes.check_addable("Owner", [n], k, s, p, length)
    assert str(caught.value) == (
        f"Owner: the branch turns {n} into {branch[-1]} and the shortcut into {skip}, "
        f"so they cannot be added (kernel_size={k}, stride={s}, padding={p}, "
        f"chain_length={length}); padding='same' makes them equal"
    )


@given(SIZES, st.integers(0, 4), STRIDES, st.integers(1, 4))
def test_same_padding_always_adds(n: int, half: int, s: int, length: int) -> None:
    shapes.check_addable("Owner", [n], 2 * half + 1, s, half, length)


def test_the_second_axis_is_looked_at() -> None:
    shapes.check_addable("Owner", [4], 2, 2, 0, 1)
    with pytest.raises(ValueError, match="turns 5 into 2 and the shortcut into 3"):
        shapes.check_addable("Owner", [4, 5], 2, 2, 0, 1)
    with pytest.raises(ValueError, match="does not fit into 2 inputs"):
        shapes.check_fits([5, 2], 3, 1, 0)
    shapes.check_fits([5, 2], 3, 1, 1)
