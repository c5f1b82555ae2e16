"""StochasticDepth: what is dropped, how often, scaled how, in which mode and graph."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pairs import gnn, halves, mirrored, nn, noise, pair, sequence

from d2lutils import parity
from d2lutils.compat import mx

GLUON, PYTORCH = (half.StochasticDepth for half in halves("stochastic_depth"))


class GluonTwice(gnn.HybridBlock):
    """A branch that doubles its input and counts how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        self.calls += 1
        return 2 * x


class TorchTwice(nn.Module):
    """The same."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return 2 * x


def gluon_out(block: Any, *inputs: Any, training: bool = True) -> np.ndarray:
    """The output alone, of one call."""
    arrays = [mx.nd.array(v) if isinstance(v, np.ndarray) else v for v in inputs]
    with mx.autograd.train_mode() if training else mx.autograd.predict_mode():
        return block(*arrays).asnumpy()


def gluon_grad(block: Any, *inputs: Any) -> np.ndarray:
    """The gradient of the output's sum by the first input, in training."""
    arrays = [mx.nd.array(v) if isinstance(v, np.ndarray) else v for v in inputs]
    arrays[0].attach_grad()
    with mx.autograd.record():
        total = (block(*arrays) * 1).sum()
    total.backward()
    return arrays[0].grad.asnumpy()


def torch_out(block: Any, *inputs: Any, training: bool = True) -> np.ndarray:
    """As `gluon_out`."""
    block.train(training)
    tensors = [torch.tensor(v) if isinstance(v, np.ndarray) else v for v in inputs]
    with torch.no_grad():
        return block(*tensors).numpy()


def torch_grad(block: Any, *inputs: Any) -> np.ndarray:
    """As `gluon_grad`."""
    block.train()
    tensors = [torch.tensor(v) if isinstance(v, np.ndarray) else v for v in inputs]
    tensors[0].requires_grad_()
    block(*tensors).sum().backward()
    return tensors[0].grad.numpy()


def gluon_conv(rank: int, in_channels: int, channels: int) -> Any:
    """A 1x1 convolution of ones: each output is the sum over the channels."""
    layer = (gnn.Conv1D, gnn.Conv2D)[rank - 1]
    conv = layer(channels, 1, in_channels=in_channels, use_bias=False)
    conv.initialize(mx.init.One())
    return conv


def torch_conv(rank: int, in_channels: int, channels: int) -> Any:
    """The same."""
    layer = (nn.Conv1d, nn.Conv2d)[rank - 1]
    conv = layer(in_channels, channels, 1, bias=False)
    nn.init.ones_(conv.weight)
    return conv


HALVES = {
    "gluon": SimpleNamespace(
        depth=GLUON,
        twice=GluonTwice,
        conv=gluon_conv,
        out=gluon_out,
        grad=gluon_grad,
        seed=mx.random.seed,
    ),
    "pytorch": SimpleNamespace(
        depth=PYTORCH,
        twice=TorchTwice,
        conv=torch_conv,
        out=torch_out,
        grad=torch_grad,
        seed=torch.manual_seed,
    ),
}


@pytest.fixture(params=list(HALVES))
def half(request: pytest.FixtureRequest) -> Any:
    return HALVES[request.param]


MODES = pytest.mark.parametrize("mode", ["batch", "row", "gather"])
SHAPES = pytest.mark.parametrize("shape", [(4, 3, 5), (4, 3, 2, 3)])


class GluonGraph(gnn.HybridBlock):
    """Somebody's net around stochastic depth: hybridized, a graph."""

    def __init__(self, depth: Any) -> None:
        super().__init__()
        self.depth = depth

    def hybrid_forward(self, F: Any, x: Any, *more: Any) -> Any:
        return self.depth(x, None, *more)


def graph(depth: Any) -> Any:
    net = GluonGraph(depth)
    net.hybridize(static_alloc=True)
    return net


# -- what is dropped, and what is not --------------------------------------------------


@SHAPES
@MODES
def test_end_points(half: Any, mode: str, shape: tuple[int, ...]) -> None:
    """Never dropped at 0, always at 1; where dropped, a whole batch is not computed."""
    x = noise(*shape)
    never, always = (half.depth(half.twice(), p, mode) for p in (0.0, 1.0))
    for _ in range(5):
        assert np.array_equal(half.out(never, x), 3 * x)
        assert np.array_equal(half.out(always, x), x)
    assert never.branch.calls == 5
    assert always.branch.calls == (5 if mode == "row" else 0)
    assert np.array_equal(half.grad(never, x), np.full(shape, 3))
    assert np.array_equal(half.grad(always, x), np.ones(shape))
    for depth in (never, always):
        assert np.array_equal(half.out(depth, x, training=False), 3 * x)


@MODES
def test_evaluation_keeps_and_does_not_scale(half: Any, mode: str) -> None:
    x = noise(4, 3, 5)
    depth = half.depth(half.twice(), 0.75, mode)
    drop = False if mode == "batch" else np.zeros(4, "float32")
    for _ in range(10):
        assert np.array_equal(half.out(depth, x, training=False), 3 * x)
        # A mask makes no difference there.
        assert np.array_equal(half.out(depth, x, None, drop, training=False), 3 * x)
    assert depth.branch.calls == 20


def test_batch_mode_skips_or_scales(half: Any) -> None:
    x = noise(4, 3, 5)
    depth = half.depth(half.twice(), 0.75, "batch")
    assert np.array_equal(half.out(depth, x, None, False), x)
    assert np.array_equal(half.grad(depth, x, None, False), np.ones_like(x))
    assert depth.branch.calls == 0
    assert np.array_equal(half.out(depth, x, None, True), 9 * x)  # x + 2 x / (1 / 4)
    assert np.array_equal(half.grad(depth, x, None, True), np.full_like(x, 9))
    assert depth.branch.calls == 2


@SHAPES
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8"])
@pytest.mark.parametrize("mode", ["row", "gather"])
def test_examples_are_masked(
    half: Any, mode: str, shape: tuple[int, ...], dtype: str
) -> None:
    """Each example by itself, whatever kind of number the mask has."""
    x = noise(*shape)
    keep = np.array([1, 0, 0, 1])
    factors = np.array([9, 1, 1, 9], "float32").reshape((4,) + (1,) * (x.ndim - 1))
    depth = half.depth(half.twice(), 0.75, mode)
    nets = [depth]
    if half is HALVES["gluon"]:
        mask: Any = mx.nd.array(keep, dtype=dtype)
        if mode == "row":
            nets.append(graph(half.depth(half.twice(), 0.75, mode)))
    else:
        mask = torch.tensor(keep, dtype=getattr(torch, dtype))
    for net in nets:
        arguments = (mask,) if net is not depth else (None, mask)
        for _ in range(2):
            assert np.array_equal(half.out(net, x, *arguments), factors * x)
            gradient = half.grad(net, x, *arguments)
            assert np.array_equal(gradient, factors * np.ones_like(x))
            evaluated = half.out(net, x, *arguments, training=False)
            assert np.array_equal(evaluated, 3 * x)


@pytest.mark.parametrize("mode", ["row", "gather"])
def test_a_mask_of_truth_values(half: Any, mode: str) -> None:
    """What a comparison gives in each framework."""
    x = noise(3, 2, 4)
    depth = half.depth(half.twice(), 0.5, mode)
    scores = np.array([0.1, 0.9, 0.4], "float32")
    if half is HALVES["gluon"]:
        keep: Any = mx.nd.array(scores) > 0.3
    else:
        keep = torch.tensor(scores) > 0.3
    out = half.out(depth, x, None, keep)
    assert np.array_equal(out, x * np.array([[[1]], [[5]], [[5]]], "float32"))


@pytest.mark.parametrize("mode", ["row", "gather"])
def test_other_examples_do_not_notice(half: Any, mode: str) -> None:
    x = noise(5, 3, 4, 4)
    branch = half.conv(2, 3, 6)
    depth = half.depth(branch, 0.5, mode, 3)
    every = np.ones(5, "float32")
    expected = half.out(depth, x, None, _tensor(half, every))
    for i in range(5):
        keep = every.copy()
        keep[i] = 0
        out = half.out(depth, x, None, _tensor(half, keep))
        others = [j for j in range(5) if j != i]
        assert np.array_equal(out[others], expected[others])
        assert np.array_equal(out[i, :3], x[i])
        assert (out[i, 3:] == 0).all()


def _tensor(half: Any, values: np.ndarray) -> Any:
    return (mx.nd.array if half is HALVES["gluon"] else torch.tensor)(values)


@pytest.mark.parametrize("rank", [1, 2])
@MODES
def test_new_channels_go_dark(half: Any, mode: str, rank: int) -> None:
    """With zero padding a dropped example has exactly zeros there, and no gradient."""
    x = noise(3, 2, *(4, 5)[:rank])
    depth = half.depth(half.conv(rank, 2, 6), 0.5, mode, 4)
    keeps = [False] if mode == "batch" else [np.zeros(3, "float32")]
    for keep in keeps:
        mask = keep if mode == "batch" else _tensor(half, keep)
        out = half.out(depth, x, None, mask)
        assert out.shape == (3, 6, *x.shape[2:])
        assert np.array_equal(out[:, :2], x)
        assert (out[:, 2:] == 0).all()
        assert np.array_equal(half.grad(depth, x, None, mask), np.ones_like(x))
    kept = half.out(depth, x, training=False)
    total = x.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(kept[:, 2:], total.repeat(4, 1), rtol=1e-5)
    np.testing.assert_allclose(kept[:, :2], x + total, rtol=1e-4, atol=1e-6)


@MODES
def test_identity_of_its_own(half: Any, mode: str) -> None:
    """A shortcut may have been pooled: another tensor than what the branch reads."""
    x, identity = noise(3, 2, 5), noise(3, 2, 5, seed=2)
    depth = half.depth(half.twice(), 0.5, mode)
    keep = True if mode == "batch" else _tensor(half, np.array([1, 0, 1], "float32"))
    out = half.out(depth, x, _tensor(half, identity), keep)
    expected = identity + 4 * x
    if mode != "batch":
        expected[1] = identity[1]
    assert np.array_equal(out, expected)
    drop = False if mode == "batch" else _tensor(half, np.zeros(3, "float32"))
    assert np.array_equal(half.out(depth, x, _tensor(half, identity), drop), identity)
    evaluated = half.out(depth, x, _tensor(half, identity), training=False)
    assert np.array_equal(evaluated, identity + 2 * x)


@MODES
def test_a_mask_beats_the_probability(half: Any, mode: str) -> None:
    """At 0 it drops all the same, unscaled; at 1 a kept branch has no share."""
    x = noise(2, 3, 4)
    ones, zeros = (_tensor(half, np.full(2, v, "float32")) for v in (1, 0))
    keep, drop = (True, False) if mode == "batch" else (ones, zeros)
    never, always = (half.depth(half.twice(), p, mode) for p in (0.0, 1.0))
    assert np.array_equal(half.out(never, x, None, drop), x)
    assert np.array_equal(half.out(never, x, None, keep), 3 * x)
    assert np.array_equal(half.out(always, x, None, keep), x)


@MODES
def test_add_is_called_where_channels_are_added(half: Any, mode: str) -> None:
    calls: list[int] = []

    def add(y: Any, identity: Any, extra: int) -> Any:
        calls.append(extra)
        return y

    x = noise(2, 3, 4)
    same = half.depth(half.conv(1, 3, 3), 0.5, mode, 0, add)
    total = x.sum(axis=1, keepdims=True).repeat(3, 1)
    found = half.out(same, x, training=False)
    np.testing.assert_allclose(found, x + total, rtol=1e-4, atol=1e-6)
    assert calls == []
    wider = half.depth(half.conv(1, 3, 5), 0.5, mode, 2, add)
    found = half.out(wider, x, training=False)
    np.testing.assert_allclose(found[:, :3], total, rtol=1e-4, atol=1e-6)
    assert calls == [2]


def test_the_probability_is_fixed(half: Any) -> None:
    """A graph could hold it already."""
    depth = half.depth(half.twice(), 0.25)
    assert depth.drop_prob == 0.25
    with pytest.raises(AttributeError):
        depth.drop_prob = 0.5


# -- how often -------------------------------------------------------------------------

ERRORS = 4.5  # standard errors; the seeds are fixed, so a passing draw stays one


def dropped(half: Any, kind: str, p: float, calls: int, rows: int) -> np.ndarray:
    """(calls, rows) of whether the branch was left out, by looking at the output."""
    mode = "row" if kind == "graph" else kind
    depth = half.depth(half.twice(), p, mode)
    net = graph(depth) if kind == "graph" else depth
    x = np.ones((rows, 1, 1), "float32")
    found = np.stack([half.out(net, x)[:, 0, 0] for _ in range(calls)])
    assert np.isclose(found, 1 + 2 / (1 - p)).sum() + (found == 1).sum() == found.size
    return found == 1


def near(count: float, n: int, p: float) -> bool:
    return abs(count - n * p) <= ERRORS * np.sqrt(n * p * (1 - p))


CASES = [
    *(("gluon", kind) for kind in ("batch", "row", "gather", "graph")),
    *(("pytorch", kind) for kind in ("batch", "row", "gather")),
]


@pytest.mark.parametrize("p", [0.125, 0.5, 0.9])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_frequency(name: str, kind: str, p: float) -> None:
    """Binomial, with each draw independent of the one before and beside it."""
    half = HALVES[name]
    half.seed(7)
    calls, rows = (1200, 1) if kind == "batch" else (60, 50)
    drops = dropped(half, kind, p, calls, rows)
    assert near(drops.sum(), drops.size, p)
    # Two draws agree with probability p² + (1 - p)²: from call to call, row to row.
    same = p**2 + (1 - p) ** 2
    agree = drops[1:] == drops[:-1]
    assert near(agree.sum(), agree.size, same)
    if kind != "batch":
        agree = drops[:, 1:] == drops[:, :-1]
        assert near(agree.sum(), agree.size, same)


def test_a_batch_is_dropped_as_a_whole(half: Any) -> None:
    half.seed(3)
    drops = dropped(half, "batch", 0.5, calls=40, rows=6)
    assert (drops.all(axis=1) | ~drops.any(axis=1)).all()
    assert 0 < drops[:, 0].sum() < 40


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_expectation_is_that_of_evaluation(name: str, kind: str) -> None:
    half = HALVES[name]
    half.seed(5)
    p = 0.25
    calls, rows = (800, 1) if kind == "batch" else (20, 100)
    drops = dropped(half, kind, p, calls, rows)
    outputs = np.where(drops, 1, 1 + 2 / (1 - p))
    error = 2 / (1 - p) * np.sqrt(p * (1 - p) / drops.size)
    assert abs(outputs.mean() - 3) <= ERRORS * error


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_seeds_repeat_the_draws(name: str, kind: str) -> None:
    half = HALVES[name]
    runs = []
    for seed in (11, 11, 12):
        half.seed(seed)
        runs.append(dropped(half, kind, 0.5, *(40, 1) if kind == "batch" else (4, 20)))
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize("hybrid", [False, True])
def test_two_blocks_draw_for_themselves(half: Any, hybrid: bool) -> None:
    """In one graph, too."""
    half.seed(2)
    p, rows = 0.5, 2000
    depths = [half.depth(half.twice(), p, "row") for _ in range(2)]
    if half is HALVES["gluon"]:
        net: Any = sequence(*depths)
        net.hybridize(hybrid)
    elif hybrid:
        return
    else:
        net = nn.Sequential(*depths)
    out = half.out(net, np.ones((rows, 1, 1), "float32"))[:, 0, 0]
    # 1, 5 or 25: a quarter, a half, a quarter.
    for value, share in ((1, 0.25), (5, 0.5), (25, 0.25)):
        assert near((out == value).sum(), rows, share)


@pytest.mark.parametrize("name", list(HALVES))
def test_blocks_of_a_net_follow_the_linear_rule(name: str) -> None:
    """Branches of PyramidNet are called as often as the paper says, hybridized too."""
    half = HALVES[name]
    net = mirrored("pyramidnet", "PyramidNet", 8, 4, drop_prob=0.75)[
        list(HALVES).index(name)
    ]
    calls = [0] * 3

    def count(i: int) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            calls[i] += 1

        return hook

    if name == "gluon":
        net.hybridize(static_alloc=True, static_shape=True)
    for i, unit in enumerate(net.blocks):
        unit.sum.branch.register_forward_hook(count(i))
    half.seed(1)
    x, passes = noise(2, 3, 3, 3), 300
    for _ in range(passes):
        half.out(net, x)
    for number, survival in zip(calls, (0.75, 0.5, 0.25), strict=True):
        assert near(number, passes, survival)


# -- parity, with the mask passed in ---------------------------------------------------


class GluonMasked(gnn.HybridBlock):
    """Convolution, stochastic depth with a mask as second input, classifier."""

    def __init__(self, drop_prob: float, mode: str = "row") -> None:
        super().__init__()
        branch = sequence(
            gnn.BatchNorm(in_channels=4),
            gnn.Conv2D(7, 3, padding=1, in_channels=4),
            gnn.BatchNorm(in_channels=7),
        )
        self.first = gnn.Conv2D(4, 3, padding=1, in_channels=2)
        self.depth = GLUON(branch, drop_prob, mode, 3)
        self.last = sequence(gnn.GlobalAvgPool2D(), gnn.Dense(3, in_units=7))

    def hybrid_forward(self, F: Any, x: Any, keep: Any) -> Any:
        return self.last(self.depth(self.first(x), None, keep))


class TorchMasked(nn.Module):
    """The same."""

    def __init__(self, drop_prob: float, mode: str = "row") -> None:
        super().__init__()
        branch = nn.Sequential(
            nn.BatchNorm2d(4), nn.Conv2d(4, 7, 3, padding=1), nn.BatchNorm2d(7)
        )
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.depth = PYTORCH(branch, drop_prob, mode, 3)
        self.last = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 3)
        )

    def forward(self, x: Any, keep: Any) -> Any:
        return self.last(self.depth(self.first(x), None, keep))


@pytest.mark.parametrize("keep", [[1, 1, 1, 1], [1, 0, 0, 1], [0, 0, 0, 0]])
def test_parity_with_a_mask(keep: list[int]) -> None:
    """Outputs, gradients and three steps; the comparison sets the probability to 0."""
    nets = pair(GluonMasked(0.25), TorchMasked(0.25))
    report = parity.compare(*nets, noise(4, 2, 6, 5), np.array(keep, "int32"), steps=3)
    assert report.ok, report
    assert [net.depth.drop_prob for net in nets] == [0.25, 0.25]


@pytest.mark.parametrize(
    ("mode", "hybrid"), [("row", False), ("row", True), ("gather", False)]
)
@pytest.mark.parametrize("keep", [[1, 0, 1, 0], [0, 0, 1, 0], [1, 1, 1, 1], [0] * 4])
def test_parity_with_a_mask_and_a_scale(
    mode: str, hybrid: bool, keep: list[int]
) -> None:
    """The same with the scale of 1 / (1 - p) in it, in training."""
    gluon, pytorch = pair(GluonMasked(0.375, mode), TorchMasked(0.375, mode))
    gluon.cast("float64")
    gluon.hybridize(hybrid)
    x = noise(4, 2, 6, 5, dtype="float64")
    weights = noise(4, 3, seed=3, dtype="float64")
    with mx.autograd.record():
        found = gluon(
            mx.nd.array(x, dtype="float64"), mx.nd.array(keep, dtype="float64")
        )
        loss = (found * mx.nd.array(weights, dtype="float64")).sum()
    loss.backward()
    pytorch.double().train()
    expected = pytorch(torch.tensor(x), torch.tensor(keep))
    (expected * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(
        found.asnumpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12
    )
    # A branch that was not called has no gradient; Gluon's was zero and stays so.
    trained = [p for p in gluon.collect_params().values() if p.grad_req != "null"]
    pairs = zip(trained, pytorch.parameters(), strict=True)
    for one, two in pairs:
        np.testing.assert_allclose(
            one.grad().asnumpy(),
            np.zeros(two.shape) if two.grad is None else two.grad.numpy(),
            rtol=1e-9,
            atol=1e-11,
        )


@pytest.mark.parametrize("keep", [True, False])
def test_parity_of_a_batch(keep: bool) -> None:
    """The decision passed in, the branch a graph of its own in Gluon."""
    gluon, pytorch = (
        depth(branch, 0.375, "batch", 3)
        for depth, branch in (
            (GLUON, sequence(gnn.Conv1D(5, 3, padding=1, in_channels=2))),
            (PYTORCH, nn.Sequential(nn.Conv1d(2, 5, 3, padding=1))),
        )
    )
    pair(gluon, pytorch)
    gluon.cast("float64")
    pytorch.double()
    x = noise(3, 2, 6, dtype="float64")
    for hybrid in (False, True):
        gluon.hybridize(hybrid)
        a = mx.nd.array(x, dtype="float64")
        b = torch.tensor(x, requires_grad=True)
        a.attach_grad()
        with mx.autograd.record():
            one = gluon(a, None, keep)
            loss = (one**2).sum()
        loss.backward()
        two = pytorch(b, None, keep)
        (two**2).sum().backward()
        np.testing.assert_allclose(
            one.asnumpy(), two.detach().numpy(), rtol=1e-10, atol=1e-12
        )
        np.testing.assert_allclose(a.grad.asnumpy(), b.grad.numpy(), rtol=1e-10)


# -- gathering -------------------------------------------------------------------------


def branches(norm: bool) -> tuple[Any, Any]:
    """Two convolutions that make five channels of two, alike in both halves."""
    norms = ([gnn.BatchNorm(in_channels=5)], [nn.BatchNorm2d(5)])
    one = sequence(
        gnn.Conv2D(5, 3, padding=1, in_channels=2),
        *(norms[0] if norm else []),
        gnn.Conv2D(5, 1, in_channels=5),
    )
    two = nn.Sequential(
        nn.Conv2d(2, 5, 3, padding=1),
        *(norms[1] if norm else []),
        nn.Conv2d(5, 5, 1),
    )
    one, two = pair(one, two)
    one.cast("float64")
    return one, two.double().train()


def run(depth: Any, x: np.ndarray, keep: Any) -> list[np.ndarray]:
    """Output, and the gradients of its squares by input and weights."""
    if isinstance(depth, nn.Module):
        depth.zero_grad()
        a = torch.tensor(x, requires_grad=True)
        out = depth(a, None, torch.tensor(keep))
        (out**2).sum().backward()
        made = [out.detach(), a.grad, *(p.grad for p in depth.parameters())]
        return [v.numpy() for v in made if v is not None]
    a = mx.nd.array(x, dtype="float64")
    a.attach_grad()
    with mx.autograd.record():
        out = depth(a, None, mx.nd.array(keep))
        loss = (out**2).sum()
    loss.backward()
    trained = [p for p in depth.collect_params().values() if p.grad_req != "null"]
    fresh = [p.grad() for p in trained] if np.any(keep) else []
    return [v.asnumpy() for v in (out, a.grad, *fresh)]


KEEPS = [[1, 0, 0, 1, 1], [0, 0, 0, 1, 0], [1] * 5, [0] * 5]


class TestGather:
    @pytest.mark.parametrize("keep", KEEPS)
    def test_without_batch_norm_it_is_row_mode(self, half: Any, keep: Any) -> None:
        """Outputs and gradients; where nothing is kept, none for the weights."""
        branch = branches(False)[list(HALVES.values()).index(half)]
        x = noise(5, 2, 4, 3, dtype="float64")
        found, expected = (
            run(half.depth(branch, 0.375, mode, 3), x, keep)
            for mode in ("gather", "row")
        )
        assert len(found) == (6 if any(keep) else 2)
        for one, two in zip(found, expected, strict=False):
            np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("keep", KEEPS[:3])
    def test_a_batch_norm_sees_the_kept_examples(self, half: Any, keep: Any) -> None:
        """Output and running statistics are those of a batch of them alone."""
        i = list(HALVES.values()).index(half)
        gathered, alone = branches(True)[i], branches(True)[i]
        x, rows = noise(5, 2, 4, 3, dtype="float64"), np.flatnonzero(keep)
        found = run(half.depth(gathered, 0.5, "gather", 3), x, keep)[0]
        every = [1] * len(rows)
        expected = run(half.depth(alone, 0.5, "row", 3), x[rows], every)[0]
        np.testing.assert_allclose(found[rows], expected, rtol=1e-11, atol=1e-12)
        for one, two in zip(*map(statistics, (gathered, alone)), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-12)

    def test_the_branch_gets_the_kept_examples(self, half: Any) -> None:
        """What is saved: the branch is called with three of five, or not at all."""
        depth = half.depth(half.twice(), 0.5, "gather")
        sizes = []
        depth.branch.register_forward_pre_hook(lambda _, x: sizes.append(len(x[0])))
        for keep in KEEPS:
            half.out(depth, noise(5, 2, 4), None, _tensor(half, np.array(keep)))
        assert sizes == [3, 1, 5]

    def test_what_is_dropped_is_not_read(self, half: Any) -> None:
        """A NaN in an example that is dropped stays where it is."""
        x = noise(2, 2, 3)
        x[0] = np.nan
        depth = half.depth(half.twice(), 0.5, "gather")
        out = half.out(depth, x, None, _tensor(half, np.array([0, 1])))
        assert np.isnan(out[0]).all()
        np.testing.assert_allclose(out[1], 5 * x[1], rtol=1e-6)

    def test_the_same_seed_keeps_the_same_as_row_mode(self, half: Any) -> None:
        outputs = []
        for mode in ("row", "gather"):
            half.seed(4)
            outputs.append(
                half.out(half.depth(half.twice(), 0.5, mode), noise(9, 2, 3))
            )
        np.testing.assert_allclose(*outputs, rtol=1e-6)

    def test_one_value_a_channel(self) -> None:
        """Gluon's batch norm makes its beta of it, PyTorch's refuses; all is said."""
        x, keep = noise(3, 2, 1, 1, dtype="float64"), [0, 1, 0]
        gluon, pytorch = branches(True)
        beta = gluon[2](gluon[1].beta.data().reshape((1, 5, 1, 1))).asnumpy()
        found = run(GLUON(gluon, 0.5, "gather", 3), x, keep)[0]
        np.testing.assert_allclose(found[1, 2:], 2 * beta[0, 2:], rtol=1e-6)
        with pytest.raises(ValueError, match="Expected more than 1 value") as caught:
            run(PYTORCH(pytorch, 0.5, "gather", 3), x, keep)
        assert str(caught.value).startswith(
            "StochasticDepth: mode='gather' kept 1 of 3 examples, and branch fails on "
            "one, so use mode='row': "
        )

    def test_a_branch_that_mixes_examples_is_refused(self) -> None:
        def gluon(F: Any, x: Any) -> Any:
            return F.concat(x, x, dim=0)

        message = "branch must make (2, C, …) of the 2 examples kept, got (4, 2, 3)"
        double = gnn.HybridLambda(gluon)
        for depth, array in (
            (GLUON(double, 0.5, "gather"), mx.nd.array),
            (PYTORCH(TorchDouble(), 0.5, "gather"), torch.tensor),
        ):
            with (
                mx.autograd.train_mode(),
                pytest.raises(ValueError, match="must") as caught,
            ):
                depth(array(noise(3, 2, 3)), None, array(np.array([1, 0, 1])))
            assert str(caught.value) == f"StochasticDepth: {message}"

    def test_not_contiguous_frozen_and_without_a_gradient(self) -> None:
        x = torch.tensor(noise(4, 5, 3, 2)).permute(0, 3, 1, 2)
        keep = torch.tensor([0, 1, 1, 0])
        torch.manual_seed(0)
        branch = nn.Conv2d(2, 2, 3, padding=1)
        expected = PYTORCH(branch, 0.5, "row")(x, None, keep)
        depth = PYTORCH(branch.requires_grad_(False), 0.5, "gather")
        for layout in (x, x.to(memory_format=torch.channels_last)):
            found = depth(layout, None, keep)
            torch.testing.assert_close(found, expected)
            assert not found.requires_grad

    @pytest.mark.parametrize("options", [{}, {"static_alloc": True}])
    def test_a_branch_that_is_a_graph_takes_any_number(
        self, options: dict[str, Any]
    ) -> None:
        branch, _ = branches(True)
        depth = GLUON(branch, 0.5, "gather", 3)
        x = noise(5, 2, 4, 3, dtype="float64")
        expected = [run(depth, x, keep) for keep in KEEPS]
        depth.branch.hybridize(**options)
        for keep, plain in zip(KEEPS * 2, expected * 2, strict=True):
            for one, two in zip(run(depth, x, keep), plain, strict=True):
                np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-12)


class TorchDouble(nn.Module):
    """Makes two examples of each."""

    def forward(self, x: Any) -> Any:
        return torch.cat((x, x))


def statistics(branch: Any) -> list[np.ndarray]:
    norm = branch[1]
    if isinstance(branch, nn.Module):
        return [norm.running_mean.numpy(), norm.running_var.numpy()]
    return [norm.running_mean.data().asnumpy(), norm.running_var.data().asnumpy()]


# -- Gluon's graphs --------------------------------------------------------------------

REFUSAL = (
    "StochasticDepth: mode={!r} decides anew for each batch, which a hybridized net "
    "cannot: it would repeat its first decision; hybridize the branches only, or use "
    "mode='row'"
)


class TestGraph:
    def test_evaluation_first_still_drops(self) -> None:
        """A mode asked of Python while tracing would be frozen into the graph."""
        mx.random.seed(0)
        net = graph(GLUON(GluonTwice(), 0.5, "row"))
        x = np.ones((200, 1, 1), "float32")
        for _ in range(3):
            assert (gluon_out(net, x, training=False) == 3).all()
            trained = gluon_out(net, x)
            assert 50 < (trained == 1).sum() < 150
            assert (trained == 1).sum() + (trained == 5).sum() == 200
        assert net.depth.branch.calls == 1  # traced once, for both

    def test_training_first_is_deterministic_in_evaluation(self) -> None:
        mx.random.seed(0)
        net = graph(GLUON(GluonTwice(), 0.5, "row"))
        x = noise(50, 2, 3)
        first = gluon_out(net, x)
        for _ in range(5):
            assert np.array_equal(gluon_out(net, x, training=False), 3 * x)
        assert not np.array_equal(gluon_out(net, x), first)

    @MODES
    @pytest.mark.parametrize("first", ["evaluation", "training"])
    def test_pyramidnet(self, mode: str, first: str) -> None:
        """Hybridized and used in either order: it drops in training, and only there."""
        mx.random.seed(0)
        options = {"drop_prob": 0.75, "drop_mode": mode}
        net, other = mirrored("pyramidnet", "PyramidNet", 8, 12, **options)
        x = noise(6, 3, 5, 5)
        other.eval()
        expected = other(torch.tensor(x)).detach().numpy()
        net.hybridize(static_alloc=True)
        if first == "training":
            gluon_out(net, x)
        for _ in range(3):
            evaluated = gluon_out(net, x, training=False)
            np.testing.assert_allclose(evaluated, expected, rtol=1e-3, atol=1e-4)
            trained = [gluon_out(net, x) for _ in range(6)]
            assert len({out.tobytes() for out in trained}) > 1
        # Back to running imperatively, and to a graph.
        for active in (False, True):
            net.hybridize(active)
            evaluated = gluon_out(net, x, training=False)
            np.testing.assert_allclose(evaluated, expected, rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize("mode", ["batch", "gather"])
    def test_pyramidnet_makes_graphs_of_branches(self, mode: str) -> None:
        """What stays in Python is the decision; all else is a graph."""
        options: dict[str, Any] = {"drop_prob": 0.5, "drop_mode": mode}
        net, _ = mirrored("pyramidnet", "PyramidNet", 8, 12, **options)
        net.hybridize()
        assert not net._active
        assert net.stem._active
        assert net.head._active
        assert [unit.sum.branch._active for unit in net.blocks] == [True] * 3
        assert [unit._active for unit in net.blocks] == [False] * 3
        for options in ({}, {"drop_prob": 0.5, "drop_mode": "row"}):
            net, _ = mirrored("pyramidnet", "PyramidNet", 8, 12, **options)
            net.hybridize()
            assert net._active
            net.hybridize(False)
            assert not net._active

    @pytest.mark.parametrize("mode", ["batch", "gather"])
    def test_python_s_decisions_are_refused_there(self, mode: str) -> None:
        """By an error that says what to do, at the first call and in a whole net."""
        x = mx.nd.array(noise(2, 3, 4))
        net = graph(GLUON(GluonTwice(), 0.5, mode))
        for _ in range(2):
            with pytest.raises(ValueError, match="decides anew") as caught:
                net(x)
            assert str(caught.value) == REFUSAL.format(mode)
        net.hybridize(False)
        assert np.array_equal(gluon_out(net, x, training=False), 3 * x.asnumpy())
        options = {"drop_prob": 0.5, "drop_mode": mode}
        inner, _ = mirrored("pyramidnet", "PyramidNet", 8, 12, **options)
        outer = sequence(inner, gnn.Activation("relu"))
        outer.hybridize()
        with pytest.raises(ValueError, match="decides anew") as caught:
            outer(mx.nd.array(noise(2, 3, 5, 5)))
        assert str(caught.value) == REFUSAL.format(mode)
        mx.nd.waitall()

    def test_a_decision_is_refused_there(self) -> None:
        """Also where the probability is 0: a graph would repeat it."""

        class Fixed(gnn.HybridBlock):
            def __init__(self) -> None:
                super().__init__()
                self.depth = GLUON(GluonTwice(), 0.0, "batch")

            def hybrid_forward(self, F: Any, x: Any) -> Any:
                return self.depth(x, None, True)

        net = Fixed()
        net.hybridize()
        with pytest.raises(ValueError, match="decides anew"):
            net(mx.nd.array(noise(2, 3, 4)))

    def test_batch_mode_without_a_probability_is_a_sum(self) -> None:
        net = graph(GLUON(GluonTwice(), 0.0, "batch"))
        x = noise(2, 3, 4)
        for training in (True, False):
            assert np.array_equal(gluon_out(net, x, training=training), 3 * x)

    @MODES
    def test_a_readers_block_that_is_no_graph(self, mode: str) -> None:
        """A `Block` runs in Python: hybridize reaches the branch and no further."""

        class Net(mx.gluon.Block):
            def __init__(self) -> None:
                super().__init__()
                self.depth = depth

            def forward(self, x: Any) -> Any:
                return self.depth(x).relu()

        mx.random.seed(0)
        branch = sequence(gnn.Dense(3, in_units=3, flatten=False))
        depth = GLUON(branch, 0.5, mode)
        net = Net()
        net.initialize(mx.init.One())
        net.hybridize()
        assert branch._active
        x = np.ones((1, 2, 3), "float32")
        for _ in range(3):
            assert (gluon_out(net, x, training=False) == 4).all()
            values = {float(gluon_out(net, x)[0, 0, 0]) for _ in range(30)}
            assert values == {1.0, 7.0}

    @pytest.mark.parametrize("extra", [0, 3])
    @pytest.mark.parametrize("rank", [1, 2])
    def test_always_dropped(self, rank: int, extra: int) -> None:
        """The identity in training, where 1 / (1 - 1) must not appear."""
        x = noise(3, 2, *(4, 5)[:rank])
        depth = GLUON(gluon_conv(rank, 2, 2 + extra), 1.0, "row", extra)
        net = graph(depth)
        expected = np.zeros((3, 2 + extra, *x.shape[2:]), "float32")
        expected[:, :2] = x
        for _ in range(2):
            assert np.array_equal(gluon_out(net, x), expected)
            assert np.array_equal(gluon_grad(net, x), np.ones_like(x))
            assert (depth.branch.weight.grad().asnumpy() == 0).all()
            kept = gluon_out(net, x, training=False)
            total = x.sum(axis=1, keepdims=True).repeat(2 + extra, 1)
            np.testing.assert_allclose(kept, expected + total, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_dtypes(self, dtype: str) -> None:
        mx.random.seed(0)
        net = graph(GLUON(gluon_conv(2, 2, 3), 0.5, "row", 1))
        net.cast(dtype)
        x = mx.nd.ones((100, 2, 1, 1), dtype=dtype)
        with mx.autograd.record():
            out = net(x)
        out.backward()
        assert np.dtype(out.dtype).name == dtype
        assert set(out.asnumpy()[:, 2].ravel()) == {0.0, 4.0}

    @pytest.mark.filterwarnings("ignore:Cannot decide type")  # MXNet's own, on reading
    @pytest.mark.parametrize("first", ["evaluation", "training"])
    def test_exported(self, first: str, tmp_path: Path) -> None:
        """Read back it keeps everything in evaluation, and still drops in training."""
        mx.random.seed(0)
        net = graph(GLUON(gluon_conv(1, 2, 3), 0.5, "row", 1))
        gluon_out(net, noise(3, 2, 4), training=first == "training")
        net.export(str(tmp_path / "net"))
        files = [str(tmp_path / f"net-{end}") for end in ("symbol.json", "0000.params")]
        again = mx.gluon.SymbolBlock.imports(files[0], ["data"], files[1])
        for n in (1, 7):
            x = noise(n, 2, 4, seed=n)
            expected = gluon_out(net.depth, x, training=False)
            for reader in (net, again):
                out = gluon_out(reader, x, training=False)
                np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
        out = gluon_out(again, np.ones((100, 2, 1), "float32"))
        assert 25 < (out[:, 2] == 0).sum() < 75

    def test_parameters_saved_and_loaded(self, tmp_path: Path) -> None:
        one, two = (GLUON(gluon_conv(1, 2, 3), 0.5, "batch", 1) for _ in range(2))
        one.branch.weight.set_data(mx.nd.array(noise(3, 2, 1)))
        one.save_parameters(str(tmp_path / "depth.params"))
        two.load_parameters(str(tmp_path / "depth.params"))
        x = noise(2, 2, 3)
        assert np.array_equal(
            gluon_out(one, x, training=False), gluon_out(two, x, training=False)
        )


# -- what PyTorch's readers wrap around it ---------------------------------------------


class TestPyTorch:
    @staticmethod
    def depth(mode: str, p: float = 0.5) -> Any:
        depth = PYTORCH(nn.Conv1d(2, 3, 1), p, mode, 1)
        torch.manual_seed(0)
        for parameter in depth.parameters():
            nn.init.normal_(parameter)
        return depth

    def test_row_mode_compiles_whole(self) -> None:
        """In training, forward and backward; each row is dropped or scaled."""
        torch.compiler.reset()
        depth = self.depth("row")
        compiled = torch.compile(depth, backend="aot_eager", fullgraph=True)
        for n in (40, 60):
            x = torch.tensor(noise(n, 2, 4, seed=n), requires_grad=True)
            out = compiled(x)
            branch = depth.branch(x)
            padded = nn.functional.pad(x, (0, 0, 0, 1))
            rows = (out - padded).abs().amax((1, 2)) < 1e-6
            assert 5 < rows.sum() < n - 5
            torch.testing.assert_close(out[~rows], (padded + 2 * branch)[~rows])
            assert (out[rows, 2] == 0).all()
            out.sum().backward()
            assert (x.grad[rows] == 1).all()
            assert (x.grad[~rows] != 1).all()

    def test_row_mode_compiles_with_a_mask(self) -> None:
        torch.compiler.reset()
        depth = self.depth("row")
        compiled = torch.compile(depth, backend="aot_eager", fullgraph=True)
        x, keep = torch.tensor(noise(4, 2, 4)), torch.tensor([1, 0, 0, 1])
        expected = depth(x, None, keep)
        torch.testing.assert_close(compiled(x, None, keep), expected)

    def test_batch_mode_compiles_in_parts(self) -> None:
        """Python's decision breaks the graph, which is allowed unless forbidden."""
        torch.compiler.reset()
        depth = self.depth("batch")
        compiled = torch.compile(depth, backend="aot_eager")
        x = torch.tensor(noise(4, 2, 4))
        padded = nn.functional.pad(x, (0, 0, 0, 1))
        kept = padded + 2 * depth.branch(x)
        seen = set()
        for _ in range(20):
            out = compiled(x)
            was_dropped = torch.equal(out, padded)
            seen.add(was_dropped)
            if not was_dropped:
                torch.testing.assert_close(out, kept)
        assert seen == {True, False}
        torch.compiler.reset()
        whole = torch.compile(depth, backend="aot_eager", fullgraph=True)
        with pytest.raises(Exception, match=r"graph break|data-dependent|item"):
            whole(x)
        depth.eval()
        torch.compiler.reset()
        whole = torch.compile(depth, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(whole(x), depth(x))

    def test_gather_mode_compiles_in_parts(self) -> None:
        torch.compiler.reset()
        depth = self.depth("gather")
        compiled = torch.compile(depth, backend="aot_eager")
        x = torch.tensor(noise(4, 2, 4))
        for keep in ([1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0]):
            mask = torch.tensor(keep)
            torch.testing.assert_close(compiled(x, None, mask), depth(x, None, mask))
        assert compiled(x).shape == (4, 3, 4)

    @MODES
    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_distributed_data_parallel(self, mode: str, tmp_path: Path) -> None:
        """A branch that no example of a process runs leaves parameters unused."""
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
        )
        wrapper = nn.parallel.DistributedDataParallel
        x = torch.tensor(noise(1, 2, 4))
        try:
            for find in (False, True):
                torch.manual_seed(0)
                depth = PYTORCH(nn.Conv1d(2, 3, 1), 0.999, mode, 1)
                net = wrapper(
                    nn.Sequential(nn.Conv1d(2, 2, 1), depth),
                    find_unused_parameters=find,
                )
                net(x).sum().backward()
                if find or mode == "row":
                    net(x).sum().backward()
                    continue
                with pytest.raises(RuntimeError, match="find_unused_parameters=True"):
                    net(x)
        finally:
            torch.distributed.destroy_process_group()

    @MODES
    def test_export_with_any_batch(self, mode: str) -> None:
        depth = self.depth(mode).eval()
        batch = torch.export.Dim("batch", min=1, max=64)
        x = torch.tensor(noise(3, 2, 4))
        exported = torch.export.export(depth, (x,), dynamic_shapes=({0: batch},))
        for n in (1, 5, 64):
            x = torch.tensor(noise(n, 2, 4, seed=n))
            torch.testing.assert_close(exported.module()(x), depth(x))

    @MODES
    def test_copied_pickled_and_loaded(self, mode: str) -> None:
        depth = self.depth(mode)
        assert set(depth.state_dict()) == {"branch.weight", "branch.bias"}
        file = io.BytesIO()
        torch.save(depth.state_dict(), file)
        file.seek(0)
        loaded = PYTORCH(nn.Conv1d(2, 3, 1), 0.5, mode, 1)
        loaded.load_state_dict(torch.load(file, weights_only=True))
        x = torch.tensor(noise(4, 2, 3))
        for other in (copy.deepcopy(depth), pickle.loads(pickle.dumps(depth)), loaded):
            assert (other.drop_prob, other.mode, other.extra) == (0.5, mode, 1)
            for training in (True, False):
                outputs = []
                for block in (depth, other):
                    torch.manual_seed(4)
                    outputs.append(block.train(training)(x))
                assert torch.equal(*outputs)

    @pytest.mark.parametrize("mode", ["row", "gather"])
    def test_autocast(self, mode: str) -> None:
        """A branch in bfloat16, an identity in float32."""
        depth = self.depth(mode)
        x, keep = torch.tensor(noise(4, 2, 4)), torch.tensor([1, 0, 0, 1])
        expected = depth(x, None, keep)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = depth(x, None, keep)
        torch.testing.assert_close(found, expected, rtol=3e-2, atol=3e-2)
        found.sum().backward()
        assert depth.branch.weight.grad.dtype == torch.float32
