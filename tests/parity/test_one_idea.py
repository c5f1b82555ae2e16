"""One idea behind SE, CondConv and WeightNet: the identities, and what breaks them.

Each holds in float64 to rounding, gradients included, in both frameworks; each has a
twin that must not hold, so that the comparison could fail.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pairs import gnn, halves, nn, noise

from d2lutils.compat import mx

EXACT, APART = 1e-12, 0.01
N, INPUTS, OUTPUTS, SPACE = 3, 4, 6, (7, 5)
X = noise(N, INPUTS, *SPACE, seed=1, dtype="float64")
KERNEL = noise(OUTPUTS, INPUTS, 3, 3, seed=2, dtype="float64")
HEAD = noise(N, OUTPUTS, *SPACE, seed=3, dtype="float64")


def gates(count: int, seed: int = 4) -> np.ndarray:
    """Between 0 and 1, as a sigmoid's."""
    return 1 / (1 + np.exp(-noise(N, count, seed=seed, dtype="float64")))


class Torch:
    """What the identities need, in PyTorch."""

    half = 1
    relu = staticmethod(torch.relu)

    @staticmethod
    def array(values: np.ndarray) -> Any:
        return torch.tensor(values)

    @staticmethod
    def conv(x: Any, w: Any, *bias: Any, pad: int = 1) -> Any:
        return nn.functional.conv2d(x, w, *bias, padding=pad)

    @staticmethod
    def shaped(a: Any, *shape: int) -> Any:
        return a.reshape(shape)

    @staticmethod
    def padded(x: Any, mode: str, value: float = 0) -> Any:
        name = "constant" if mode in ("zeros", "value") else mode
        fill = value if name == "constant" else None
        return nn.functional.pad(x, (1,) * 4, name, fill)

    @staticmethod
    def run(function: Callable[..., Any], *arrays: np.ndarray) -> list[np.ndarray]:
        """The output, and the gradient of each array."""
        given = [torch.tensor(a, requires_grad=True) for a in arrays]
        y = function(*given)
        y.backward(torch.tensor(HEAD))
        return [t.detach().numpy() for t in (y, *(one.grad for one in given))]

    @staticmethod
    def norm(statistics: dict[str, np.ndarray], training: bool) -> Callable[[Any], Any]:
        layer = nn.BatchNorm2d(OUTPUTS, dtype=torch.float64).train(training)
        names = ("weight", "bias", "running_mean", "running_var")
        values = map(torch.tensor, statistics.values())
        layer.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
        return layer

    @staticmethod
    def in_mode(training: bool, function: Callable[[], Any]) -> np.ndarray:
        return function().detach().numpy()

    @staticmethod
    def load(layer: Any, weight: np.ndarray) -> Any:
        layer.double()
        layer.generated.linear.weight.data = torch.tensor(weight)
        return layer


class Gluon:
    """The same in Gluon."""

    half = 0
    relu = staticmethod(mx.nd.relu)

    @staticmethod
    def array(values: np.ndarray) -> Any:
        return mx.nd.array(values, dtype="float64")

    @staticmethod
    def conv(x: Any, w: Any, *bias: Any, pad: int = 1) -> Any:
        window = {"kernel": (3, 3), "pad": (pad, pad), "num_filter": OUTPUTS}
        return mx.nd.Convolution(x, w, *bias, **window, no_bias=not bias)

    @staticmethod
    def shaped(a: Any, *shape: int) -> Any:
        return a.reshape(shape)

    @staticmethod
    def padded(x: Any, mode: str, value: float = 0) -> Any:
        if mode == "circular":
            x = mx.nd.concat(x[:, :, -1:], x, x[:, :, :1], dim=2)
            return mx.nd.concat(x[:, :, :, -1:], x, x[:, :, :, :1], dim=3)
        names = {"replicate": "edge", "zeros": "constant", "value": "constant"}
        width = (0, 0, 0, 0, 1, 1, 1, 1)
        return mx.nd.pad(x, names.get(mode, mode), width, constant_value=value)

    @staticmethod
    def run(function: Callable[..., Any], *arrays: np.ndarray) -> list[np.ndarray]:
        given = [Gluon.array(a) for a in arrays]
        for one in given:
            one.attach_grad()
        with mx.autograd.record():
            y = function(*given)
        y.backward(Gluon.array(HEAD))
        return [t.asnumpy() for t in (y, *(one.grad for one in given))]

    @staticmethod
    def norm(statistics: dict[str, np.ndarray], training: bool) -> Callable[[Any], Any]:
        layer = gnn.BatchNorm(in_channels=OUTPUTS)
        layer.initialize()
        layer.cast("float64")
        names = ("gamma", "beta", "running_mean", "running_var")
        for name, values in zip(names, statistics.values(), strict=True):
            getattr(layer, name).set_data(Gluon.array(values))
        return layer

    @staticmethod
    def in_mode(training: bool, function: Callable[[], Any]) -> np.ndarray:
        with mx.autograd.record(train_mode=training):
            y = function()
        return y.asnumpy()

    @staticmethod
    def load(layer: Any, weight: np.ndarray) -> Any:
        layer.initialize()
        layer.cast("float64")
        layer.generated.linear.weight.set_data(Gluon.array(weight))
        return layer


both = pytest.mark.parametrize("fw", [Gluon, Torch], ids=["gluon", "pytorch"])


def apart(one: Any, two: Any) -> float:
    """The largest difference, as a part of the largest number."""
    one, two = (
        a.asnumpy() if hasattr(a, "asnumpy") else np.asarray(a) for a in (one, two)
    )
    assert one.shape == two.shape
    return float(np.abs(one - two).max() / np.abs(two).max())


def each(fw: Any, x: Any, kernels: Any, pad: int = 1) -> Any:
    return halves("condconv")[fw.half].convolve_each(x, kernels, padding=pad)


def behind(fw: Any, x: Any, w: Any, s: Any) -> Any:
    return fw.conv(x, w) * fw.shaped(s, N, -1, 1, 1)


def before(fw: Any, x: Any, w: Any, s: Any) -> Any:
    return fw.conv(x * fw.shaped(s, N, -1, 1, 1), w)


def scaled(fw: Any, x: Any, w: Any, s: Any, axis: int, pad: int = 1) -> Any:
    """The kernel scaled along its output (0) or input (1) axis by each example."""
    shape = [N, 1, 1, 1, 1]
    shape[1 + axis] = -1
    return each(fw, x, fw.shaped(s, *shape) * fw.shaped(w, 1, *KERNEL.shape), pad)


@both
@pytest.mark.parametrize(
    ("gated", "axis", "count"), [(behind, 0, OUTPUTS), (before, 1, INPUTS)]
)
def test_a_gate_scales_one_axis(fw: Any, gated: Any, axis: int, count: int) -> None:
    """Output, and the gradients of input, kernel and gate."""
    arrays = X, KERNEL, gates(count)
    one = fw.run(lambda *a: gated(fw, *a), *arrays)
    two = fw.run(lambda *a: scaled(fw, *a, axis), *arrays)
    assert len(one) == 4
    for a, b in zip(one, two, strict=True):
        assert apart(a, b) < EXACT


@both
def test_the_other_axis_is_another_function(fw: Any) -> None:
    """With as many inputs as outputs the shapes would not tell."""
    square = noise(OUTPUTS, OUTPUTS, 3, 3, seed=5, dtype="float64")
    x, w = fw.array(noise(N, OUTPUTS, *SPACE, dtype="float64")), fw.array(square)
    s = fw.array(gates(OUTPUTS))
    rows = fw.shaped(s, N, -1, 1, 1, 1) * fw.shaped(w, 1, *square.shape)
    columns = fw.shaped(s, N, 1, -1, 1, 1) * fw.shaped(w, 1, *square.shape)
    for gated, right, wrong in ((behind, rows, columns), (before, columns, rows)):
        expected = fw.conv(x, w) if gated is None else gated(fw, x, w, s)
        assert apart(each(fw, x, right), expected) < EXACT
        assert apart(each(fw, x, wrong), expected) > APART


def made(fw: Any, M: int, G: int, weight: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """WeightNet's answer for given numbers."""
    layer = halves("weightnet")[fw.half].WeightNet2d(
        INPUTS, OUTPUTS, 3, padding=1, M=M, G=G, reduction=2
    )
    y = fw.load(layer, weight)(fw.array(X), fw.array(alpha))
    return y.asnumpy() if fw is Gluon else y.detach().numpy()


@both
def test_weightnet_with_a_number_for_each_pair(fw: Any) -> None:
    """M = G = I: numbers repeated for all outputs are a gate on the input."""
    weight, s = KERNEL.reshape(-1, 1, 1, 1), gates(INPUTS)
    expected = before(fw, *map(fw.array, (X, KERNEL, s)))
    found = made(fw, INPUTS, INPUTS, weight, np.tile(s, OUTPUTS))
    assert apart(found, expected.asnumpy() if fw is Gluon else expected) < EXACT
    wrong = made(fw, INPUTS, INPUTS, weight, np.repeat(s, OUTPUTS, axis=1))
    assert apart(wrong, found) > APART
    # A number of its own for each pair of channels.
    free = gates(OUTPUTS * INPUTS, seed=6)
    pairs = free.reshape(N, OUTPUTS, INPUTS, 1, 1) * KERNEL
    expected = each(fw, fw.array(X), fw.array(pairs))
    assert apart(made(fw, INPUTS, INPUTS, weight, free), expected) < EXACT


@both
def test_weightnet_with_one_group_for_each_output(fw: Any) -> None:
    """M = K, G = 1: numbers repeated for all outputs are the routing of CondConv."""
    experts = noise(5, *KERNEL.shape, seed=7, dtype="float64")
    weight = experts.reshape(5, -1).T.reshape(-1, 5, 1, 1)
    shares = gates(5)
    module = halves("condconv")[fw.half]
    expected = module.folded(*map(fw.array, (X, shares, experts)), padding=1)
    found = made(fw, 5, 1, weight, np.tile(shares, OUTPUTS))
    assert apart(found, expected) < EXACT
    free = gates(5 * OUTPUTS, seed=8)
    assert apart(made(fw, 5, 1, weight, free), expected) > APART


@both
def test_condconv_needs_an_expert_for_each_gate(fw: Any) -> None:
    """Experts of one output channel each are a gate behind; the rank says: no fewer."""
    module, s = halves("condconv")[fw.half], gates(OUTPUTS)
    sparse = np.eye(OUTPUTS)[:, :, None, None, None] * KERNEL
    found = module.folded(*map(fw.array, (X, s, sparse)), padding=1)
    expected = behind(fw, *map(fw.array, (X, KERNEL, s)))
    assert apart(found.asnumpy() if fw is Gluon else found, expected) < EXACT
    many = noise(40, OUTPUTS, seed=9, dtype="float64")
    scaled_kernels = many[:, :, None, None, None] * KERNEL
    assert np.linalg.matrix_rank(scaled_kernels.reshape(40, -1)) == OUTPUTS
    few = module.mixed(fw.array(many[:, :5]), fw.array(sparse[:5]))
    few = few.asnumpy() if fw is Gluon else few.numpy()
    assert np.linalg.matrix_rank(few.reshape(40, -1)) == OUTPUTS - 1


@both
def test_a_bias_must_be_scaled(fw: Any) -> None:
    x, w, s = map(fw.array, (X, KERNEL, gates(OUTPUTS)))
    b = fw.array(noise(OUTPUTS, seed=10, dtype="float64"))
    gate, shift = fw.shaped(s, N, -1, 1, 1), fw.shaped(b, 1, -1, 1, 1)
    expected, kernel = fw.conv(x, w, b) * gate, scaled(fw, x, w, s, 0)
    assert apart(kernel + gate * shift, expected) < EXACT
    assert apart(kernel + shift, expected) > APART


@both
def test_where_a_relu_may_stand(fw: Any) -> None:
    """Before a positive gate; not before a negative one, and not inside experts."""
    x, w, s = map(fw.array, (X, KERNEL, gates(OUTPUTS)))
    gate, row = fw.shaped(s, N, -1, 1, 1), scaled(fw, x, w, s, 0)
    relu = fw.relu
    assert apart(relu(fw.conv(x, w)) * gate, relu(row)) < EXACT
    assert apart(relu(fw.conv(x, w)) * -gate, relu(-row)) > APART
    experts = [noise(*KERNEL.shape, seed=n, dtype="float64") for n in (11, 12)]
    shares = gates(2)
    total, bent = 0, 0
    for k, one in enumerate(experts):
        share = fw.shaped(fw.array(shares[:, k]), N, 1, 1, 1)
        y = fw.conv(x, fw.array(one))
        total, bent = total + share * y, bent + share * relu(y)
    module = halves("condconv")[fw.half]
    mixed = module.folded(x, fw.array(shares), fw.array(np.stack(experts)), padding=1)
    assert apart(total, mixed) < EXACT
    assert apart(bent, relu(mixed)) > APART


@both
def test_a_gate_on_the_input_passes_the_padding(fw: Any) -> None:
    """All four modes; a border with a value of its own does not follow the gate."""
    x, w, s = map(fw.array, (X, KERNEL, gates(INPUTS)))
    gated = x * fw.shaped(s, N, -1, 1, 1)
    for mode, value in (
        ("zeros", 0.0),
        ("reflect", 0.0),
        ("replicate", 0.0),
        ("circular", 0.0),
        ("value", 1.0),
    ):
        one = fw.conv(fw.padded(gated, mode, value), w, pad=0)
        two = scaled(fw, fw.padded(x, mode, value), w, s, 1, pad=0)
        gap = apart(one, two)
        assert gap > APART if mode == "value" else gap < EXACT, mode


@both
def test_a_batch_norm_between(fw: Any) -> None:
    """In evaluation folded kernel and shift are gated; in training neighbours count."""
    s = gates(OUTPUTS)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(X, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), axis=(2, 3)
    )
    z = np.einsum("nihwuv,oiuv->nohw", windows, KERNEL)
    books = {
        "gamma": 1 + noise(OUTPUTS, seed=13, dtype="float64") / 4,
        "beta": noise(OUTPUTS, seed=14, dtype="float64"),
        "mean": z.mean(axis=(0, 2, 3)),  # of this very batch
        "var": z.var(axis=(0, 2, 3)),
    }
    c = books["gamma"] / np.sqrt(books["var"] + 1e-5)
    d = books["beta"] - c * books["mean"]
    kernels = (s * c)[:, :, None, None, None] * KERNEL
    y = each(fw, fw.array(X), fw.array(kernels))
    y = y.asnumpy() if fw is Gluon else y.numpy()
    shift = d[None, :, None, None]
    gate = fw.shaped(fw.array(s), N, -1, 1, 1)
    other = X.copy()
    other[-1] = noise(INPUTS, *SPACE, seed=15, dtype="float64")

    def orders(x: np.ndarray, training: bool) -> list[np.ndarray]:
        results = []
        for moved in (False, True):
            norm = fw.norm(books, training)
            plain = fw.conv(fw.array(x), fw.array(KERNEL))

            def one(norm: Any = norm, plain: Any = plain, moved: bool = moved) -> Any:
                return norm(plain * gate) if moved else norm(plain) * gate

            results.append(fw.in_mode(training, one))
        return results

    for training in (False, True):
        one, moved = orders(X, training)
        # The folded kernel gives this batch's outputs; the gate scales the shift.
        assert apart(y + s[:, :, None, None] * shift, one) < EXACT
        assert apart(y + shift, one) > APART
        assert apart(moved, one) > APART
        # But for a gate before it, and for another batch, in evaluation alone.
        gaps = apart(y + shift, moved), apart(orders(other, training)[0][0], one[0])
        assert all(gap > APART if training else gap < EXACT for gap in gaps)


@both
def test_circular_padding_lets_the_gate_look_at_the_input(fw: Any) -> None:
    """The mean of an output channel follows from the input's means; not with zeros."""
    predicted = X.mean(axis=(2, 3)) @ KERNEL.sum(axis=(2, 3)).T
    for mode in ("circular", "zeros"):
        y = fw.conv(fw.padded(fw.array(X), mode), fw.array(KERNEL), pad=0)
        y = y.asnumpy() if fw is Gluon else y.numpy()
        gap = apart(y.mean(axis=(2, 3)), predicted)
        assert gap < EXACT if mode == "circular" else gap > APART


@pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])
def test_weightnet_and_the_kernels_it_stores(half: int) -> None:
    """M / G kernels' worth, and two linear layers for the numbers."""
    for M, G in ((1, 1), (2, 2), (4, 1), (4, 4), (36, 36)):
        net = halves("weightnet")[half].WeightNet2d(INPUTS, OUTPUTS, 3, 1, 0, M, G, 2)
        tensors = (
            net.parameters() if half else (p for p in net.collect_params().values())
        )
        numbers = M * OUTPUTS
        routing = INPUTS * 2 + 2 + 2 * numbers + numbers
        found = sum(int(np.prod(t.shape)) for t in tensors)
        assert found == M // G * KERNEL.size + routing
