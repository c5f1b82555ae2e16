"""One idea behind SE, CondConv and WeightNet: the identities, and what breaks them.

Each holds in float64 to rounding, gradients included, in both frameworks; each has a
twin that must not hold, so that the comparison could fail.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from halves import PYTORCH, both, noise
from reference import parameters

from d2lutils.compat import mx

EXACT, APART = 1e-12, 0.01
N, INPUTS, OUTPUTS, SPACE = 3, 4, 6, (7, 5)
X = noise(N, INPUTS, *SPACE, seed=1, dtype="float64")
KERNEL = noise(OUTPUTS, INPUTS, 3, 3, seed=2, dtype="float64")
HEAD = noise(N, OUTPUTS, *SPACE, seed=3, dtype="float64")


def gates(count: int, seed: int = 4) -> np.ndarray:
    """Between 0 and 1, as a sigmoid's."""
    return 1 / (1 + np.exp(-noise(N, count, seed=seed, dtype="float64")))


def conv(x: Any, w: Any, *bias: Any, pad: int = 1) -> Any:
    """A plain 3x3 convolution of either framework."""
    if isinstance(x, torch.Tensor):
        return torch.conv2d(x, w, *bias, padding=pad)
    window = {"kernel": (3, 3), "pad": (pad, pad), "num_filter": w.shape[0]}
    return mx.nd.Convolution(x, w, *bias, **window, no_bias=not bias)


def padded(x: Any, mode: str, value: float = 0) -> Any:
    """One position more on each side."""
    if isinstance(x, torch.Tensor):
        name = "constant" if mode in ("zeros", "value") else mode
        fill = value if name == "constant" else None
        return torch.nn.functional.pad(x, (1,) * 4, name, fill)
    if mode == "circular":
        x = mx.nd.concat(x[:, :, -1:], x, x[:, :, :1], dim=2)
        return mx.nd.concat(x[:, :, :, -1:], x, x[:, :, :, :1], dim=3)
    names = {"replicate": "edge", "zeros": "constant", "value": "constant"}
    width = (0, 0, 0, 0, 1, 1, 1, 1)
    return mx.nd.pad(x, names.get(mode, mode), width, constant_value=value)


def values(a: Any) -> np.ndarray:
    """An array of either framework as NumPy's."""
    if isinstance(a, torch.Tensor):
        return a.detach().numpy()
    return a.asnumpy() if hasattr(a, "asnumpy") else a


def apart(one: Any, two: Any) -> float:
    """The largest difference, as a part of the largest number."""
    one, two = values(one), values(two)
    assert one.shape == two.shape
    return float(np.abs(one - two).max() / np.abs(two).max())


def each(half: Any, x: Any, kernels: Any, pad: int = 1) -> Any:
    return half.condconv.convolve_each(x, kernels, padding=pad)


def reshape(a: Any, *shape: int) -> Any:
    return a.reshape(shape)


def behind(half: Any, x: Any, w: Any, s: Any) -> Any:
    return conv(x, w) * reshape(s, N, -1, 1, 1)


def before(half: Any, x: Any, w: Any, s: Any) -> Any:
    return conv(x * reshape(s, N, -1, 1, 1), w)


def scaled(half: Any, x: Any, w: Any, s: Any, axis: int, pad: int = 1) -> Any:
    """The kernel scaled along its output (0) or input (1) axis by each example."""
    shape = [N, 1, 1, 1, 1]
    shape[1 + axis] = -1
    return each(half, x, reshape(s, *shape) * reshape(w, 1, *KERNEL.shape), pad)


@both
@pytest.mark.parametrize(
    ("gated", "axis", "count"), [(behind, 0, OUTPUTS), (before, 1, INPUTS)]
)
def test_a_gate_scales_one_axis(half: Any, gated: Any, axis: int, count: int) -> None:
    """Output, and the gradients of input, kernel and gate."""
    arrays = X, KERNEL, gates(count)
    one = half.gradients(lambda *a: gated(half, *a), *arrays, head=HEAD)
    two = half.gradients(lambda *a: scaled(half, *a, axis), *arrays, head=HEAD)
    assert len(one) == 4
    for a, b in zip(one, two, strict=True):
        assert apart(a, b) < EXACT


@both
def test_the_other_axis_is_another_function(half: Any) -> None:
    """With as many inputs as outputs the shapes would not tell."""
    square = noise(OUTPUTS, OUTPUTS, 3, 3, seed=5, dtype="float64")
    x, w = half.tensor(noise(N, OUTPUTS, *SPACE, dtype="float64")), half.tensor(square)
    s = half.tensor(gates(OUTPUTS))
    rows = reshape(s, N, -1, 1, 1, 1) * reshape(w, 1, *square.shape)
    columns = reshape(s, N, 1, -1, 1, 1) * reshape(w, 1, *square.shape)
    for gated, right, wrong in ((behind, rows, columns), (before, columns, rows)):
        expected = gated(half, x, w, s)
        assert apart(each(half, x, right), expected) < EXACT
        assert apart(each(half, x, wrong), expected) > APART


def made(
    half: Any, M: int, G: int, weight: np.ndarray, alpha: np.ndarray
) -> np.ndarray:
    """WeightNet's answer for given numbers."""
    layer = half.weightnet.WeightNet2d(
        INPUTS, OUTPUTS, 3, padding=1, M=M, G=G, reduction=2
    )
    half.double(half.ready(layer))
    half.fill(layer.generated.linear.weight, weight)
    return half.output(layer, X, alpha)


@both
def test_weightnet_with_a_number_for_each_pair(half: Any) -> None:
    """M = G = I: numbers repeated for all outputs are a gate on the input."""
    weight, s = KERNEL.reshape(-1, 1, 1, 1), gates(INPUTS)
    expected = before(half, *map(half.tensor, (X, KERNEL, s)))
    found = made(half, INPUTS, INPUTS, weight, np.tile(s, OUTPUTS))
    assert apart(found, expected) < EXACT
    wrong = made(half, INPUTS, INPUTS, weight, np.repeat(s, OUTPUTS, axis=1))
    assert apart(wrong, found) > APART
    # A number of its own for each pair of channels.
    free = gates(OUTPUTS * INPUTS, seed=6)
    pairs = free.reshape(N, OUTPUTS, INPUTS, 1, 1) * KERNEL
    expected = each(half, half.tensor(X), half.tensor(pairs))
    assert apart(made(half, INPUTS, INPUTS, weight, free), expected) < EXACT


@both
def test_weightnet_with_one_group_for_each_output(half: Any) -> None:
    """M = K, G = 1: numbers repeated for all outputs are the routing of CondConv."""
    experts = noise(5, *KERNEL.shape, seed=7, dtype="float64")
    weight = experts.reshape(5, -1).T.reshape(-1, 5, 1, 1)
    shares = gates(5)
    module = half.condconv
    expected = module.folded(*map(half.tensor, (X, shares, experts)), padding=1)
    found = made(half, 5, 1, weight, np.tile(shares, OUTPUTS))
    assert apart(found, expected) < EXACT
    free = gates(5 * OUTPUTS, seed=8)
    assert apart(made(half, 5, 1, weight, free), expected) > APART


@both
def test_condconv_needs_an_expert_for_each_gate(half: Any) -> None:
    """Experts of one output channel each are a gate behind; the rank says: no fewer."""
    module, s = half.condconv, gates(OUTPUTS)
    sparse = np.eye(OUTPUTS)[:, :, None, None, None] * KERNEL
    found = module.folded(*map(half.tensor, (X, s, sparse)), padding=1)
    expected = behind(half, *map(half.tensor, (X, KERNEL, s)))
    assert apart(found, expected) < EXACT
    many = noise(40, OUTPUTS, seed=9, dtype="float64")
    scaled_kernels = many[:, :, None, None, None] * KERNEL
    assert np.linalg.matrix_rank(scaled_kernels.reshape(40, -1)) == OUTPUTS
    few = module.mixed(half.tensor(many[:, :5]), half.tensor(sparse[:5]))
    few = values(few)
    assert np.linalg.matrix_rank(few.reshape(40, -1)) == OUTPUTS - 1


@both
def test_a_bias_must_be_scaled(half: Any) -> None:
    x, w, s = map(half.tensor, (X, KERNEL, gates(OUTPUTS)))
    b = half.tensor(noise(OUTPUTS, seed=10, dtype="float64"))
    gate, shift = reshape(s, N, -1, 1, 1), reshape(b, 1, -1, 1, 1)
    expected, kernel = conv(x, w, b) * gate, scaled(half, x, w, s, 0)
    assert apart(kernel + gate * shift, expected) < EXACT
    assert apart(kernel + shift, expected) > APART


@both
def test_where_a_relu_may_stand(half: Any) -> None:
    """Before a positive gate; not before a negative one, and not inside experts."""
    x, w, s = map(half.tensor, (X, KERNEL, gates(OUTPUTS)))
    gate, row = reshape(s, N, -1, 1, 1), scaled(half, x, w, s, 0)
    relu = torch.relu if half is PYTORCH else mx.nd.relu
    assert apart(relu(conv(x, w)) * gate, relu(row)) < EXACT
    assert apart(relu(conv(x, w)) * -gate, relu(-row)) > APART
    experts = [noise(*KERNEL.shape, seed=n, dtype="float64") for n in (11, 12)]
    shares = gates(2)
    total, bent = 0, 0
    for k, one in enumerate(experts):
        share = reshape(half.tensor(shares[:, k]), N, 1, 1, 1)
        y = conv(x, half.tensor(one))
        total, bent = total + share * y, bent + share * relu(y)
    module = half.condconv
    mixed = module.folded(
        x, half.tensor(shares), half.tensor(np.stack(experts)), padding=1
    )
    assert apart(total, mixed) < EXACT
    assert apart(bent, relu(mixed)) > APART


@both
def test_a_gate_on_the_input_passes_the_padding(half: Any) -> None:
    """All four modes; a border with a value of its own does not follow the gate."""
    x, w, s = map(half.tensor, (X, KERNEL, gates(INPUTS)))
    gated = x * reshape(s, N, -1, 1, 1)
    for mode, value in (
        ("zeros", 0.0),
        ("reflect", 0.0),
        ("replicate", 0.0),
        ("circular", 0.0),
        ("value", 1.0),
    ):
        one = conv(padded(gated, mode, value), w, pad=0)
        two = scaled(half, padded(x, mode, value), w, s, 1, pad=0)
        gap = apart(one, two)
        assert gap > APART if mode == "value" else gap < EXACT, mode


@both
def test_a_batch_norm_between(half: Any) -> None:
    """In evaluation folded kernel and shift are gated; in training neighbours count."""
    s = gates(OUTPUTS)
    gate, other = s[:, :, None, None], X.copy()
    other[-1] = noise(INPUTS, *SPACE, seed=15, dtype="float64")
    z = {
        name: values(conv(half.tensor(x), half.tensor(KERNEL)))
        for name, x in (("this", X), ("other", other))
    }
    gain = 1 + noise(OUTPUTS, seed=13, dtype="float64") / 4
    shift = noise(OUTPUTS, seed=14, dtype="float64")
    # The running statistics are those of this very batch.
    mean, variance = z["this"].mean((0, 2, 3)), z["this"].var((0, 2, 3))
    c = gain / np.sqrt(variance + 1e-5)
    d = (shift - c * mean)[None, :, None, None]
    kernels = (s * c)[:, :, None, None, None] * KERNEL
    folded = values(each(half, half.tensor(X), half.tensor(kernels)))

    def normed(x: np.ndarray, training: bool) -> np.ndarray:
        norm = half.double(half.ready(half.norm(OUTPUTS)))
        one, two = half.trained(norm)
        numbers = (one, two, norm.running_mean, norm.running_var)
        for number, value in zip(numbers, (gain, shift, mean, variance), strict=True):
            half.fill(number, value)
        return half.output(norm, x, training=training)

    for training in (False, True):
        behind_it = normed(z["this"], training) * gate
        before_it = normed(z["this"] * gate, training)
        # The folded kernel gives this batch's outputs; the gate scales the shift.
        assert apart(folded + gate * d, behind_it) < EXACT
        assert apart(folded + d, behind_it) > APART
        assert apart(before_it, behind_it) > APART
        # But for a gate before it, and for another batch, in evaluation alone.
        changed = (normed(z["other"], training) * gate)[0]
        gaps = apart(folded + d, before_it), apart(changed, behind_it[0])
        assert all(gap > APART if training else gap < EXACT for gap in gaps)


@both
def test_circular_padding_lets_the_gate_look_at_the_input(half: Any) -> None:
    """The mean of an output channel follows from the input's means; not with zeros."""
    predicted = X.mean(axis=(2, 3)) @ KERNEL.sum(axis=(2, 3)).T
    for mode in ("circular", "zeros"):
        y = values(conv(padded(half.tensor(X), mode), half.tensor(KERNEL), pad=0))
        gap = apart(y.mean(axis=(2, 3)), predicted)
        assert gap < EXACT if mode == "circular" else gap > APART


@both
def test_weightnet_and_the_kernels_it_stores(half: Any) -> None:
    """M / G kernels' worth, and two linear layers for the numbers."""
    for M, G in ((1, 1), (2, 2), (4, 1), (4, 4), (36, 36)):
        sizes = (INPUTS, OUTPUTS, 3, 1, 0, M, G, 2)
        count = parameters(half, lambda h: h.weightnet.WeightNet2d(*sizes))  # noqa: B023
        numbers = M * OUTPUTS
        assert count == M // G * KERNEL.size + INPUTS * 2 + 2 + 2 * numbers + numbers
