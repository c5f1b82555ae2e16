"""Every mirrored pair is the same function: outputs, gradients, training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pairs import gnn, halves, mirrored, nn, noise, pair, sequence

from d2lutils import parity
from d2lutils.compat import mx
from d2lutils.data import Batches, digits

SIZES = {1: (9,), 2: (7, 6)}


def check(nets: tuple[Any, Any], *shape: int, **options: Any) -> parity.Report:
    report = parity.compare(*nets, noise(*shape), **options)
    assert report.ok, report
    return report


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    ("kernel_size", "stride", "padding"),
    [(3, 1, "same"), (3, 2, "same"), (4, 3, 2), (2, 1, 0)],
)
def test_conv_chunk(
    rank: int, bias: bool, relu: bool, kernel_size: int, stride: int, padding: Any
) -> None:
    nets = mirrored(
        *("blocks", "ConvChunk", 2, 8, kernel_size, stride, padding, bias, relu, rank)
    )
    report = check(nets, 3, 2, *SIZES[rank], steps=3)
    assert report.layers == 2
    assert {row.quantity for row in report.rows} >= {
        "output, evaluation",
        "output, training",
        "input gradients",
        "parameter gradients",
        "running statistics",
        "parameters after 3 steps",
        "evaluation after 3 steps",
    }


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("relu_before_sum", [True, False])
@pytest.mark.parametrize("chain_length", [1, 3])
@pytest.mark.parametrize(
    ("shortcut", "stride", "widths"),
    [
        ("identity", 1, (8, 8)),
        ("projection", 1, (3, 8)),
        ("projection", 2, (3, 6)),
        ("zeros", 1, (3, 6)),
        ("zeros", 2, (3, 8)),
    ],
)
def test_residual_chunks(
    shortcut: str,
    stride: int,
    widths: tuple[int, int],
    chain_length: int,
    relu_before_sum: bool,
    rank: int,
) -> None:
    options = {"padding": "same", "shortcut": shortcut, "rank": rank}
    nets = mirrored(
        *("residual", "ResidualChunks", *widths, 3, stride, chain_length),
        relu_before_sum=relu_before_sum,
        **options,
    )
    check(nets, 3, widths[0], *SIZES[rank], steps=3)


@pytest.mark.parametrize("in_channels", [4, 3])
def test_shortcut_auto_is_the_same_in_both(in_channels: int) -> None:
    nets = mirrored("residual", "ResidualChunks", in_channels, 4, 3)
    kinds = {type(net.shortcut).__name__ for net in nets}
    assert kinds == ({"Identity"} if in_channels == 4 else {"ConvChunk"})
    check(nets, 2, in_channels, 7)


def test_asked_for_sizes_without_padding() -> None:
    """Padding 0 works where both paths happen to end with the same size."""
    options = {"stride": 2, "padding": 0, "shortcut": "projection", "chain_length": 1}
    nets = mirrored("residual", "ResidualChunks", 2, 4, 2, **options)
    check(nets, 3, 2, 8)


@pytest.mark.parametrize("shape", [(3, 2, 5), (2, 3, 4, 5), (1, 1, 1)])
@pytest.mark.parametrize("extra", [0, 1, 6])
def test_zero_pad_channels(shape: tuple[int, ...], extra: int) -> None:
    one, two = (half.zero_pad_channels for half in halves("shortcuts"))
    x = noise(*shape)
    channels = shape[1] + extra
    a, b = mx.nd.array(x), torch.tensor(x, requires_grad=True)
    a.attach_grad()
    weights = noise(shape[0], channels, *shape[2:], seed=2)
    with mx.autograd.record():
        ya = one(a, channels)
        loss = (ya * mx.nd.array(weights)).sum()
    loss.backward()
    yb = two(b, channels)
    (yb * torch.tensor(weights)).sum().backward()
    expected = np.zeros(weights.shape, "float32")
    expected[:, : shape[1]] = x
    assert np.array_equal(ya.asnumpy(), expected)
    assert np.array_equal(yb.detach().numpy(), expected)
    assert np.array_equal(a.grad.asnumpy(), weights[:, : shape[1]])
    assert np.array_equal(b.grad.numpy(), weights[:, : shape[1]])


def test_zero_padding_nothing_returns_the_input() -> None:
    one, two = (half.zero_pad_channels for half in halves("shortcuts"))
    a, b = mx.nd.ones((1, 2, 3)), torch.ones(1, 2, 3)
    assert one(a, 2) is a
    assert two(b, 2) is b


@pytest.mark.parametrize(("rank", "stride"), [(1, 1), (1, 2), (2, 1), (2, 3)])
@pytest.mark.parametrize("channels", [2, 5, 8])
def test_subsample_zero_pad(rank: int, stride: int, channels: int) -> None:
    """Values and gradients by hand, imperatively and hybridized."""
    one, two = (half.SubsampleZeroPad for half in halves("shortcuts"))
    x = noise(3, 2, *SIZES[rank])
    every = (slice(None), slice(None), *(slice(None, None, stride),) * rank)
    kept = x[every]
    expected = np.zeros((3, channels, *kept.shape[2:]), "float32")
    expected[:, :2] = kept
    weights = noise(*expected.shape, seed=2)
    gradient = np.zeros_like(x)
    gradient[every] = weights[:, :2]
    block = one(2, channels, stride, rank)
    # MXNet records nothing for a hybridized net that returns its input as it is.
    changes = stride > 1 or channels > 2
    for hybrid in (False, True) if changes else (False,):
        block.hybridize(hybrid)
        a = mx.nd.array(x)
        a.attach_grad()
        with mx.autograd.record():
            y = block(a)
            loss = (y * mx.nd.array(weights)).sum()
        loss.backward()
        assert np.array_equal(y.asnumpy(), expected)
        assert np.array_equal(a.grad.asnumpy(), gradient)
    b = torch.tensor(x, requires_grad=True)
    y = two(2, channels, stride, rank)(b)
    (y * torch.tensor(weights)).sum().backward()
    assert np.array_equal(y.detach().numpy(), expected)
    assert np.array_equal(b.grad.numpy(), gradient)


def test_subsample_zero_pad_in_a_net() -> None:
    one, two = (half.SubsampleZeroPad for half in halves("shortcuts"))
    nets = pair(
        sequence(one(2, 6, 2, 2), gnn.Conv2D(3, 3, in_channels=6)),
        nn.Sequential(two(2, 6, 2, 2), nn.Conv2d(6, 3, 3)),
    )
    check(nets, 3, 2, 7, 8)


def classifiers(norm: bool = True) -> tuple[Any, Any]:
    """Two residual blocks and a classifier for sequences of 64 steps."""
    one, two = (half.ResidualChunks for half in halves("residual"))
    widths = ((1, 4), (4, 6)) if norm else ()
    gluon = sequence(
        *(one(a, b, 3, 4, 2, shortcut="zeros") for a, b in widths),
        gnn.Flatten(),
        gnn.Dense(10, in_units=24 if norm else 64),
    )
    pytorch = nn.Sequential(
        *(two(a, b, 3, 4, 2, shortcut="zeros") for a, b in widths),
        nn.Flatten(),
        nn.Linear(24 if norm else 64, 10),
    )
    gluon.cast("float64")
    return pair(gluon, pytorch.double())


def sequences(n: int) -> tuple[Batches, Batches]:
    """Shuffled training batches with a short last one, and test batches."""
    train, test = digits("sequences", dtype="float64")
    return (
        Batches(train.x[:n], train.y[:n], 48, shuffle=True, seed=1),
        Batches(test.x, test.y, 100),
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 2**-6, "schedule": "constant", "momentum": 0.5},
        {"optimizer": "adam", "learning_rate": 2**-7, "weight_decay": 2**-6},
        {"momentum": 0.0, "schedule": lambda progress: 1 / (1 + progress)},
    ],
    ids=["default", "decay", "adam", "function"],
)
def test_fit_learns_the_same(options: dict[str, Any]) -> None:
    histories = []
    nets = classifiers()
    for half, net in zip(halves("training"), nets, strict=True):
        train, test = sequences(200)
        history = half.fit(net, train, test, epochs=2, progress=False, **options)
        histories.append(history)
    one, two = histories
    assert one.framework == "gluon"
    assert two.framework == "pytorch"
    assert one.epochs == two.epochs == 2
    # MXNet takes Adam's 0.999 in float32, which moves 1 - 0.999 by 1e-5 of itself.
    rel = 1e-4 if options.get("optimizer") == "adam" else 1e-6
    assert one.train_loss == pytest.approx(two.train_loss, rel=rel)
    assert one.train_accuracy == two.train_accuracy
    # Running variances differ by n / (n - 1) a step: one example of 360 may tip.
    assert one.test_accuracy == pytest.approx(two.test_accuracy, abs=1.01 / 360)
    assert one.train_loss[1] < one.train_loss[0]


def test_fit_ends_with_the_same_weights() -> None:
    nets = classifiers(norm=False)
    histories = []
    for half, net in zip(halves("training"), nets, strict=True):
        train, test = sequences(200)
        histories.append(half.fit(net, train, test, epochs=3, progress=False))
    one, two = histories
    assert one.train_loss == pytest.approx(two.train_loss, rel=1e-6)
    assert one.test_accuracy == two.test_accuracy
    np.testing.assert_allclose(
        nets[0][1].weight.data().asnumpy(),
        nets[1][1].weight.detach().numpy(),
        rtol=1e-6,
        atol=1e-7,
    )


class GluonSkips(mx.gluon.Block):
    """A classifier that leaves out its hidden layer in the steps that a list says."""

    def __init__(self, keeps: list[bool]) -> None:
        super().__init__()
        branch = sequence(
            gnn.Dense(16, in_units=64, flatten=False),
            gnn.Activation("relu"),
            gnn.Dense(64, in_units=16, flatten=False),
        )
        self.depth = halves("stochastic_depth")[0].StochasticDepth(branch, 0.5)
        self.out = gnn.Dense(10, in_units=64)
        self.keeps = iter(keeps)

    def forward(self, x: Any) -> Any:
        keep = next(self.keeps) if mx.autograd.is_training() else None
        return self.out(self.depth(x, None, keep))


class TorchSkips(nn.Module):
    """The same."""

    def __init__(self, keeps: list[bool]) -> None:
        super().__init__()
        branch = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 64))
        self.depth = halves("stochastic_depth")[1].StochasticDepth(branch, 0.5)
        self.out = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        self.keeps = iter(keeps)

    def forward(self, x: Any) -> Any:
        keep = next(self.keeps) if self.training else None
        return self.out(self.depth(x, None, keep))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"schedule": "constant", "weight_decay": 2**-6},
        {"momentum": 0.0, "weight_decay": 2**-6},
        {"schedule": lambda progress: 1 / (1 + progress)},
        {"optimizer": "adam", "learning_rate": 2**-7, "weight_decay": 2**-6},
    ],
    ids=["default", "constant", "no momentum", "function", "adam"],
)
def test_fit_learns_the_same_where_blocks_are_skipped(options: dict[str, Any]) -> None:
    """A branch keeps its momentum while it is left out, whatever the rate does."""
    keeps = [i % 5 in (0, 3) for i in range(30)]
    gluon, pytorch = GluonSkips(keeps), TorchSkips(keeps)
    gluon.cast("float64")
    histories = []
    for half, net in zip(
        halves("training"), pair(gluon, pytorch.double()), strict=True
    ):
        train, test = sequences(200)
        arguments = {"learning_rate": 2**-4, "epochs": 6, "progress": False} | options
        histories.append(half.fit(net, train, test, **arguments))
    one, two = histories
    # MXNet takes momentum and Adam's betas in float32.
    rel = 1e-4 if options.get("optimizer") == "adam" else 1e-5
    assert one.train_loss == pytest.approx(two.train_loss, rel=rel)
    assert one.train_accuracy == two.train_accuracy
    assert one.test_accuracy == two.test_accuracy
    assert one.train_loss[-1] < one.train_loss[0] / 2


def test_fit_sees_another_batch_order() -> None:
    """The two histories do differ if one side is fed in another order."""
    losses = []
    for seed, half, net in zip((1, 2), halves("training"), classifiers(), strict=True):
        train, _ = digits("sequences", dtype="float64")
        batches = Batches(train.x[:200], train.y[:200], 48, shuffle=True, seed=seed)
        losses.append(half.fit(net, batches, epochs=1, progress=False).train_loss)
    assert losses[0] != pytest.approx(losses[1], rel=1e-6)


def test_accuracy_is_the_same() -> None:
    nets = classifiers()
    found = []
    for half, net in zip(halves("training"), nets, strict=True):
        found.append(half.accuracy(net, sequences(200)[1]))
    assert found[0] == found[1]
    _, test = sequences(200)
    with torch.no_grad():
        right = sum(
            int((nets[1].eval()(torch.as_tensor(x)).argmax(1).numpy() == y).sum())
            for x, y in test
        )
    assert found[1] == right / 360
