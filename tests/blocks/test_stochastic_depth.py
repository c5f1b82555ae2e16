"""StochasticDepth: what is dropped, how often, scaled how, in which mode and graph."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from halves import GLUON, PYTORCH, both, exported, made, mirrored, noise
from reference import check, close

from d2lutils import parity
from d2lutils.compat import mx
from d2lutils.gpu_report.equations import Weights, masked_sum, zeros_behind

nn, gnn = torch.nn, mx.gluon.nn
modes = pytest.mark.parametrize("mode", ["batch", "row", "gather"])
KEEPS = [[1, 0, 0, 1, 1], [0, 0, 0, 1, 0], [1] * 5, [0] * 5]


def depth(half: Any, *arguments: Any) -> Any:
    return half.stochastic_depth.StochasticDepth(*arguments)


def twice(half: Any) -> Any:
    """A branch that doubles its input and says how often it was called."""

    def double(x: Any) -> Any:
        block.calls += 1
        return 2 * x

    block = half.call(double)
    block.calls = 0
    return block


def graph(inner: Any) -> Any:
    """Somebody's Gluon net around stochastic depth: hybridized, a graph."""
    net = GLUON.call(lambda x, *more: inner(x, None, *more), inner)
    net.hybridize(static_alloc=True)
    return net


def decision(half: Any, mode: str, keep: Any) -> Any:
    """What a mode takes: a truth value, or a tensor of ones and zeros."""
    if mode == "batch":
        return bool(np.all(keep))
    return half.tensor(np.array(keep, "float32"))


# -- equations -------------------------------------------------------------------------


def masked(mode: str, half: Any) -> Any:
    """Convolution, stochastic depth with a mask as second input, classifier."""
    branch = half.sequence(half.norm(4), half.conv(4, 7, 3, 1), half.norm(7))
    first, inner = half.conv(2, 4, 3, 1), depth(half, branch, 0.375, mode, 3)
    last = half.sequence(half.relu(), half.flatten(), half.dense(7 * 30, 3))
    return half.call(
        lambda x, keep: last(inner(first(x), None, keep)), first, inner, last
    )


@pytest.mark.parametrize("keep", KEEPS[:3], ids=str)
@pytest.mark.parametrize(
    ("way", "mode"),
    [
        *((way, "row") for way in ("pytorch", "gluon", "hybridized")),
        *((way, "gather") for way in ("pytorch", "gluon")),
    ],
)
def test_equation_with_a_mask(way: str, mode: str, keep: Any) -> None:
    mask = np.array(keep, "int32")
    check(way, partial(masked, mode), partial(masked_sum, mode), (5, 2, 6, 5), mask)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("way", ["pytorch", "gluon"])
def test_equation_of_a_batch(way: str, keep: bool) -> None:
    """Dropped as a whole: the branch is not called, and new channels are zero."""

    def build(half: Any) -> Any:
        inner = depth(half, half.conv(2, 6, 3, 1), 0.75, "batch", 4)
        return half.call(lambda x: inner(x, None, keep), inner)

    def reference(w: Weights, x: Any) -> Any:
        y = w.conv(x, 6, 3, bias=True, padding=1) * (4 * keep if w.training else 1)
        return zeros_behind(x, 6) + y

    check(way, build, reference, (3, 2, 4, 5))


@pytest.mark.parametrize("keep", [[1, 1, 1, 1], [1, 0, 0, 1], [0, 0, 0, 0]], ids=str)
def test_halves_over_steps(keep: list[int]) -> None:
    """With the mask passed in; the comparison sets the probability to 0 meanwhile."""
    nets = mirrored(partial(masked, "row"))
    report = parity.compare(*nets, noise(4, 2, 6, 5), np.array(keep, "int32"), steps=3)
    assert report.ok, report


# -- what is dropped, and what is not --------------------------------------------------


@both
@modes
def test_end_points(half: Any, mode: str) -> None:
    """Never dropped at 0, always at 1; what is dropped whole is not computed."""
    x = noise(4, 3, 2, 3)
    never, always = (depth(half, twice(half), p, mode) for p in (0.0, 1.0))
    for _ in range(5):
        assert np.array_equal(half.output(never, x, training=True), 3 * x)
        assert np.array_equal(half.output(always, x, training=True), x)
    assert never.branch.calls == 5
    assert always.branch.calls == (5 if mode == "row" else 0)
    assert np.array_equal(half.gradients(always, x)[1], np.ones_like(x))
    assert np.array_equal(half.output(always, x), 3 * x)


@both
@modes
def test_evaluation_keeps_and_does_not_scale(half: Any, mode: str) -> None:
    x = noise(4, 3, 5)
    net = depth(half, twice(half), 0.75, mode)
    for _ in range(10):
        assert np.array_equal(half.output(net, x), 3 * x)
        # A mask makes no difference there.
        drop = decision(half, mode, np.zeros(4))
        assert np.array_equal(half.output(net, x, None, drop), 3 * x)
    assert net.branch.calls == 20


@both
@pytest.mark.parametrize("kind", ["float64", "int32", "uint8", "truth values"])
@pytest.mark.parametrize("mode", ["row", "gather"])
def test_masks(half: Any, mode: str, kind: str) -> None:
    """Whatever kind of number the mask has, or what a comparison gives."""
    x, net = noise(4, 3, 5), depth(half, twice(half), 0.75, mode)
    if kind == "truth values":
        mask = half.tensor(np.array([0.9, 0.1, 0.2, 0.4], "float32")) > 0.3
    else:
        mask = half.tensor(np.array([1, 0, 0, 1], kind))
    factors = np.array([9, 1, 1, 9], "float32")[:, None, None]
    assert np.array_equal(half.output(net, x, None, mask, training=True), factors * x)


@both
@modes
def test_identity_of_its_own(half: Any, mode: str) -> None:
    """A shortcut may have been pooled: another tensor than what the branch reads."""
    x, identity = noise(2, 2, 5), noise(2, 2, 5, seed=2)
    net = depth(half, twice(half), 0.5, mode)
    for keep, wanted in (([1, 1], identity + 4 * x), ([0, 0], identity)):
        mask = decision(half, mode, keep)
        assert np.array_equal(
            half.output(net, x, identity, mask, training=True), wanted
        )
    assert np.array_equal(half.output(net, x, identity), identity + 2 * x)


@both
@modes
def test_a_mask_beats_the_probability(half: Any, mode: str) -> None:
    """At 0 it drops all the same, unscaled; at 1 a kept branch has no share."""
    x = noise(2, 3, 4)
    for p, keep, wanted in ((0.0, 0, x), (0.0, 1, 3 * x), (1.0, 1, x)):
        net = depth(half, twice(half), p, mode)
        mask = decision(half, mode, [keep] * 2)
        assert np.array_equal(half.output(net, x, None, mask, training=True), wanted)


@both
def test_add_is_called_where_channels_are_added(half: Any) -> None:
    def add(y: Any, identity: Any, extra: int) -> Any:
        calls.append(extra)
        return y

    calls: list[int] = []
    for extra in (0, 2):
        branch = half.ready(half.conv(3, 3 + extra, 1, rank=1))
        half.output(depth(half, branch, 0.5, "row", extra, add), noise(2, 3, 4))
    assert calls == [2]


@both
def test_the_probability_is_fixed(half: Any) -> None:
    """A graph could hold it already."""
    net = depth(half, twice(half), 0.25)
    assert net.drop_prob == 0.25
    with pytest.raises(AttributeError):
        net.drop_prob = 0.5


# -- how often -------------------------------------------------------------------------

ERRORS = 4.5  # standard errors; the seeds are fixed, so a passing draw stays one
KINDS = [
    *((half, kind) for half in (GLUON, PYTORCH) for kind in ("batch", "row", "gather")),
    (GLUON, "graph"),
]
kinds = pytest.mark.parametrize(("half", "kind"), KINDS, ids=str)


def dropped(half: Any, kind: str, p: float, calls: int, rows: int) -> np.ndarray:
    """(calls, rows) of whether the branch was left out, by looking at the output."""
    net = depth(half, twice(half), p, "row" if kind == "graph" else kind)
    net = graph(net) if kind == "graph" else net
    x = np.ones((rows, 1, 1), "float32")
    found = [half.output(net, x, training=True)[:, 0, 0] for _ in range(calls)]
    found = np.stack(found)
    assert (np.isclose(found, 1 + 2 / (1 - p)) | (found == 1)).all()
    return found == 1


def near(count: float, n: int, p: float) -> bool:
    return abs(count - n * p) <= ERRORS * np.sqrt(n * p * (1 - p))


@kinds
@pytest.mark.parametrize("p", [0.125, 0.5, 0.9])
def test_frequency(half: Any, kind: str, p: float) -> None:
    """Binomial, with each draw independent of the one before and beside it."""
    half.seed(7)
    calls, rows = (1200, 1) if kind == "batch" else (60, 50)
    drops = dropped(half, kind, p, calls, rows)
    assert near(drops.sum(), drops.size, p)
    # Two draws agree with probability p² + (1 - p)²: from call to call, row to row.
    pairs = [drops[1:] == drops[:-1]]
    if kind != "batch":
        pairs.append(drops[:, 1:] == drops[:, :-1])
    for agree in pairs:
        assert near(agree.sum(), agree.size, p**2 + (1 - p) ** 2)


@both
def test_a_batch_is_dropped_as_a_whole(half: Any) -> None:
    half.seed(3)
    drops = dropped(half, "batch", 0.5, calls=40, rows=6)
    assert (drops.all(axis=1) | ~drops.any(axis=1)).all()
    assert 0 < drops[:, 0].sum() < 40


@kinds
def test_seeds_repeat_the_draws(half: Any, kind: str) -> None:
    runs = []
    for seed in (11, 11, 12):
        half.seed(seed)
        runs.append(dropped(half, kind, 0.5, *(40, 1) if kind == "batch" else (4, 20)))
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize(
    ("half", "hybrid"), [(GLUON, False), (GLUON, True), (PYTORCH, False)]
)
def test_two_blocks_draw_for_themselves(half: Any, hybrid: bool) -> None:
    """In one graph, too."""
    half.seed(2)
    net = half.sequence(*(depth(half, twice(half), 0.5, "row") for _ in range(2)))
    if hybrid:
        net.hybridize()
    out = half.output(net, np.ones((2000, 1, 1), "float32"), training=True)
    # 1, 5 or 25: a quarter, a half, a quarter.
    for value, share in ((1, 0.25), (5, 0.5), (25, 0.25)):
        assert near((out == value).sum(), 2000, share)


@both
def test_units_of_a_net_follow_the_linear_rule(half: Any) -> None:
    """Branches of PyramidNet are called as often as the paper says, hybridized too."""
    build = lambda h: h.pyramidnet.PyramidNet(8, 4, drop_prob=0.75)  # noqa: E731
    net, calls = made(half, build), [0] * 3

    def count(i: int, *_: Any) -> None:
        calls[i] += 1

    if half is GLUON:
        net.hybridize(static_alloc=True, static_shape=True)
    for i, unit in enumerate(net.blocks):
        unit.sum.branch.register_forward_hook(partial(count, i))
    half.seed(1)
    for _ in range(300):
        half.output(net, noise(2, 3, 3, 3), training=True)
    for number, survival in zip(calls, (0.75, 0.5, 0.25), strict=True):
        assert near(number, 300, survival)


# -- gathering -------------------------------------------------------------------------


def convolved(half: Any) -> Any:
    """Two convolutions that make five channels of two, a batch norm between."""
    return half.sequence(half.conv(2, 5, 3, 1), half.norm(5), half.conv(5, 5, 1))


@both
class TestGather:
    def test_running_statistics(self, half: Any) -> None:
        """Those of a batch of the kept examples alone."""
        x, statistics = noise(5, 2, 4, 3), []
        for values, keep in ((x, [1, 0, 0, 1, 1]), (x[[0, 3, 4]], [1, 1, 1])):
            branch = made(half, convolved)
            net = depth(half, branch, 0.5, "gather", 3)
            half.gradients(net, values, None, decision(half, "gather", keep))
            norm = branch[1]
            statistics.append([norm.running_mean, norm.running_var])
        for one, two in zip(*statistics, strict=True):
            close(half.value(one), half.value(two), 1e-5)

    @pytest.mark.parametrize("keep", KEEPS, ids=str)
    def test_without_batch_norm_it_is_row_mode(self, half: Any, keep: Any) -> None:
        """Output and all gradients, also where all or none of the examples are kept."""
        branch, found = made(half, lambda h: h.conv(2, 5, 3, 1)), []
        for mode in ("row", "gather"):
            net, mask = depth(half, branch, 0.5, mode, 3), decision(half, mode, keep)
            found.append(half.gradients(net, noise(5, 2, 4, 3), None, mask))
        for one, two in zip(*found, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)

    def test_the_branch_gets_the_kept_examples(self, half: Any) -> None:
        """What is saved: the branch is called with three of five, or not at all."""
        net, sizes = depth(half, twice(half), 0.5, "gather"), []
        net.branch.register_forward_pre_hook(lambda _, x: sizes.append(len(x[0])))
        for keep in KEEPS:
            mask = decision(half, "gather", keep)
            half.output(net, noise(5, 2, 4), None, mask, training=True)
        assert sizes == [3, 1, 5]

    def test_nothing_kept(self, half: Any) -> None:
        """As in mode "row", with no gradient for the weights."""
        net = depth(half, made(half, convolved), 0.5, "gather", 3)
        x, mask = noise(5, 2, 4, 3), decision(half, "gather", [0] * 5)
        out, gradient, *others = half.gradients(net, x, None, mask)
        assert np.array_equal(out[:, :2], x)
        assert (out[:, 2:] == 0).all()
        assert (gradient == 1).all()
        assert all((other == 0).all() for other in others)

    def test_what_is_dropped_is_not_read(self, half: Any) -> None:
        """A NaN in an example that is dropped stays where it is."""
        x = noise(2, 2, 3)
        x[0] = np.nan
        net = depth(half, twice(half), 0.5, "gather")
        out = half.output(net, x, None, decision(half, "gather", [0, 1]), training=True)
        assert np.isnan(out[0]).all()
        np.testing.assert_allclose(out[1], 5 * x[1], rtol=1e-6)

    def test_the_same_seed_keeps_the_same_as_row_mode(self, half: Any) -> None:
        outputs = []
        for mode in ("row", "gather"):
            half.seed(4)
            net = depth(half, twice(half), 0.5, mode)
            outputs.append(half.output(net, noise(9, 2, 3), training=True))
        np.testing.assert_allclose(*outputs, rtol=1e-6)

    def test_one_value_a_channel(self, half: Any) -> None:
        """Gluon's batch norm makes its beta of it, PyTorch's refuses; all is said."""
        branch = made(half, convolved)
        net = depth(half, branch, 0.5, "gather", 3)
        arguments = noise(3, 2, 1, 1), None, decision(half, "gather", [0, 1, 0])
        if half is GLUON:
            beta = branch[2](branch[1].beta.data().reshape((1, 5, 1, 1))).asnumpy()
            found = half.output(net, *arguments, training=True)
            np.testing.assert_allclose(found[1, 2:], 2 * beta[0, 2:], rtol=1e-5)
            return
        with pytest.raises(ValueError, match="Expected more than 1 value") as caught:
            half.output(net, *arguments, training=True)
        assert str(caught.value).startswith(
            "StochasticDepth: mode='gather' kept 1 of 3 examples, and branch fails on "
            "one, so use mode='row': "
        )

    def test_a_branch_that_mixes_examples_is_refused(self, half: Any) -> None:
        join = (
            partial(mx.nd.concat, dim=0) if half is GLUON else lambda *x: torch.cat(x)
        )
        net = depth(half, half.call(lambda x: join(x, x)), 0.5, "gather")
        mask = decision(half, "gather", [1, 0, 1])
        with pytest.raises(ValueError, match="StochasticDepth: branch must") as caught:
            half.output(net, noise(3, 2, 3), None, mask, training=True)
        text = "make (2, C, …) of the 2 examples kept, got (4, 2, 3)"
        assert str(caught.value).endswith(text)


@pytest.mark.parametrize("options", [{}, {"static_alloc": True}])
def test_a_branch_that_is_a_graph_takes_any_number(options: dict[str, Any]) -> None:
    net = depth(GLUON, made(GLUON, convolved), 0.5, "gather", 3)
    x, masks = noise(5, 2, 4, 3), [decision(GLUON, "gather", k) for k in KEEPS]
    plain = [GLUON.gradients(net, x, None, mask)[:2] for mask in masks]
    net.branch.hybridize(**options)
    for mask, wanted in zip(masks * 2, plain * 2, strict=True):
        found = GLUON.gradients(net, x, None, mask)[:2]
        for one, two in zip(found, wanted, strict=True):
            close(one, two, 1e-5)


# -- Gluon's graphs --------------------------------------------------------------------

REFUSAL = (
    "StochasticDepth: mode={!r} decides anew for each batch, which a hybridized net "
    "cannot: it would repeat its first decision; hybridize the branches only, or use "
    "mode='row'"
)
deciding = pytest.mark.parametrize("mode", ["batch", "gather"])


class TestGraph:
    @pytest.mark.parametrize("first", [False, True], ids=["evaluation", "training"])
    def test_drops_in_training_alone(self, first: bool) -> None:
        """A mode asked of Python while tracing would be frozen into the graph."""
        mx.random.seed(0)
        net = graph(depth(GLUON, twice(GLUON), 0.5, "row"))
        x = np.ones((200, 1, 1), "float32")
        GLUON.output(net, x, training=first)
        for _ in range(3):
            assert (GLUON.output(net, x) == 3).all()
            trained = GLUON.output(net, x, training=True)
            assert 50 < (trained == 1).sum() < 150
            assert ((trained == 1) | (trained == 5)).all()
        (inner,) = net._children.values()
        assert inner.branch.calls == 1  # traced once, for both

    @modes
    @pytest.mark.parametrize("first", [False, True], ids=["evaluation", "training"])
    def test_pyramidnet(self, mode: str, first: bool) -> None:
        """Hybridized, used in either order: it drops in training, and only there."""
        mx.random.seed(0)
        options = {"drop_prob": 0.75, "drop_mode": mode}
        net, other = mirrored(lambda h: h.pyramidnet.PyramidNet(8, 12, **options))
        x = noise(6, 3, 5, 5)
        wanted = PYTORCH.output(other, x)
        net.hybridize(static_alloc=True)
        GLUON.output(net, x, training=first)
        for _ in range(3):
            close(GLUON.output(net, x), wanted, 1e-4)
            trained = [GLUON.output(net, x, training=True) for _ in range(6)]
            assert len({out.tobytes() for out in trained}) > 1
        for active in (False, True):  # run imperatively, and as a graph again
            net.hybridize(active)
            close(GLUON.output(net, x), wanted, 1e-4)

    @deciding
    def test_pyramidnet_makes_graphs_of_branches(self, mode: str) -> None:
        """What stays in Python is the decision; all else is a graph."""
        net = GLUON.pyramidnet.PyramidNet(8, 12, drop_prob=0.5, drop_mode=mode)
        net.hybridize()
        parts = (net, net.stem, net.head)
        assert [part._active for part in parts] == [False, True, True]
        assert [unit.sum.branch._active for unit in net.blocks] == [True] * 3
        assert [unit._active for unit in net.blocks] == [False] * 3
        for options in ({}, {"drop_prob": 0.5, "drop_mode": "row"}):
            net = GLUON.pyramidnet.PyramidNet(8, 12, **options)
            for active in (True, False):
                net.hybridize(active)
                assert net._active == active

    @deciding
    def test_decisions_of_python_are_refused(self, mode: str) -> None:
        """By an error that says what to do, at the first call and in a whole net."""
        x = noise(2, 3, 4)
        net = graph(depth(GLUON, twice(GLUON), 0.5, mode))
        options = {"drop_prob": 0.5, "drop_mode": mode}
        inner = GLUON.pyramidnet.PyramidNet(8, 12, **options)
        outer = GLUON.ready(GLUON.sequence(inner, GLUON.relu()))
        outer.hybridize()
        for block, values in ((net, x), (net, x), (outer, noise(2, 3, 5, 5))):
            with pytest.raises(ValueError, match="decides anew") as caught:
                GLUON.output(block, values)
            assert str(caught.value) == REFUSAL.format(mode)
        net.hybridize(False)
        assert np.array_equal(GLUON.output(net, x), 3 * x)

    def test_a_given_decision_is_refused(self) -> None:
        """Also where the probability is 0: a graph would repeat it."""
        inner = depth(GLUON, twice(GLUON), 0.0, "batch")
        net = GLUON.call(lambda x: inner(x, None, True), inner)
        net.hybridize()
        with pytest.raises(ValueError, match="decides anew"):
            GLUON.output(net, noise(2, 3, 4))

    def test_batch_mode_without_a_probability_is_a_sum(self) -> None:
        net, x = graph(depth(GLUON, twice(GLUON), 0.0, "batch")), noise(2, 3, 4)
        for training in (True, False):
            assert np.array_equal(GLUON.output(net, x, training=training), 3 * x)

    @modes
    def test_a_readers_block_that_is_no_graph(self, mode: str) -> None:
        """A `Block` runs in Python: hybridize reaches the branch and no further."""
        branch = GLUON.sequence(GLUON.dense(3, 3))
        inner = depth(GLUON, branch, 0.5, mode)
        net = gnn.Sequential()
        net.add(inner, gnn.Lambda("relu"))
        mx.random.seed(0)
        net.initialize(mx.init.One())
        net.hybridize()
        assert branch._active
        x = np.ones((1, 2, 3), "float32")
        for _ in range(3):
            assert (GLUON.output(net, x) == 4).all()
            values = {GLUON.output(net, x, training=True)[0, 0, 0] for _ in range(30)}
            assert values == {1.0, 7.0}

    @pytest.mark.parametrize("extra", [0, 3])
    def test_always_dropped(self, extra: int) -> None:
        """The identity in training, where 1 / (1 - 1) must not appear."""
        inner = depth(GLUON, GLUON.conv(2, 2 + extra, 1), 1.0, "row", extra)
        net, x = graph(GLUON.ready(inner)), noise(3, 2, 4, 5)
        wanted = np.pad(x, ((0, 0), (0, extra), (0, 0), (0, 0)))
        for _ in range(2):
            out, gradient, *others = GLUON.gradients(net, x)
            assert np.array_equal(out, wanted)
            assert (gradient == 1).all()
            assert all((other == 0).all() for other in others)

    @pytest.mark.parametrize("first", [False, True], ids=["evaluation", "training"])
    def test_exported(self, first: bool, tmp_path: Path) -> None:
        """Read back it keeps everything in evaluation, and still drops in training."""
        mx.random.seed(0)
        inner = depth(GLUON, GLUON.conv(2, 3, 1, rank=1), 0.5, "row", 1)
        net = graph(GLUON.ready(inner))
        GLUON.output(net, noise(3, 2, 4), training=first)
        again = exported(net, tmp_path)
        for n in (1, 7):
            x = noise(n, 2, 4, seed=n)
            wanted = GLUON.output(inner, x)
            for reader in (net, again):
                close(GLUON.output(reader, x), wanted, 1e-5)
        out = GLUON.output(again, np.ones((100, 2, 1), "float32"), training=True)
        assert 25 < (out[:, 2] == 0).sum() < 75


# -- what PyTorch's readers wrap around it ---------------------------------------------


class TestPyTorch:
    @staticmethod
    def net(mode: str, p: float = 0.5) -> Any:
        return made(PYTORCH, lambda h: depth(h, nn.Conv1d(2, 3, 1), p, mode, 1)).train()

    def test_row_mode_compiles_whole(self) -> None:
        """In training, forward and backward, with its own draws or a mask."""
        torch.compiler.reset()
        net = self.net("row")
        compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
        for n in (40, 60):
            x = torch.tensor(noise(n, 2, 4, seed=n), requires_grad=True)
            out = compiled(x)
            padded, branch = zeros_behind(x, 3), net.branch(x)
            rows = (out - padded).abs().amax((1, 2)) < 1e-6
            assert 5 < rows.sum() < n - 5
            torch.testing.assert_close(out[~rows], (padded + 2 * branch)[~rows])
            out.sum().backward()
            assert (x.grad[rows] == 1).all()
            assert (x.grad[~rows] != 1).all()
        keep = torch.tensor([1, 0] * 30)
        torch.testing.assert_close(compiled(x, None, keep), net(x, None, keep))

    def test_batch_mode_compiles_in_parts(self) -> None:
        """Python's decision breaks the graph, which is allowed unless forbidden."""
        torch.compiler.reset()
        net, x = self.net("batch"), torch.tensor(noise(4, 2, 4))
        compiled = torch.compile(net, backend="aot_eager")
        padded = zeros_behind(x, 3)
        kept, seen = padded + 2 * net.branch(x), set()
        for _ in range(20):
            out = compiled(x)
            seen.add(torch.equal(out, padded))
            assert torch.equal(out, padded) or torch.allclose(out, kept)
        assert seen == {True, False}
        torch.compiler.reset()
        whole = torch.compile(net, backend="aot_eager", fullgraph=True)
        with pytest.raises(Exception, match=r"graph break|data-dependent|item"):
            whole(x)
        net.eval()
        torch.compiler.reset()
        whole = torch.compile(net, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(whole(x), net(x))

    def test_gather_mode_compiles_in_parts(self) -> None:
        torch.compiler.reset()
        net, x = self.net("gather"), torch.tensor(noise(5, 2, 4))
        compiled = torch.compile(net, backend="aot_eager")
        for keep in map(torch.tensor, KEEPS):
            torch.testing.assert_close(compiled(x, None, keep), net(x, None, keep))

    @modes
    def test_export_with_any_batch(self, mode: str) -> None:
        net, x = self.net(mode).eval(), torch.tensor(noise(3, 2, 4))
        batch = torch.export.Dim("batch", min=1, max=64)
        exported = torch.export.export(net, (x,), dynamic_shapes=({0: batch},))
        for n in (1, 5, 64):
            x = torch.tensor(noise(n, 2, 4, seed=n))
            torch.testing.assert_close(exported.module()(x), net(x))

    @modes
    def test_copied_and_pickled(self, mode: str) -> None:
        net, x = self.net(mode), torch.tensor(noise(4, 2, 3))
        assert set(net.state_dict()) == {"branch.weight", "branch.bias"}
        for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert (other.drop_prob, other.mode, other.extra) == (0.5, mode, 1)
            outputs = []
            for block in (net, other):
                torch.manual_seed(4)
                outputs.append(block.train()(x))
            assert torch.equal(*outputs)

    @pytest.mark.parametrize("mode", ["row", "gather"])
    def test_autocast_orders_and_frozen_branches(self, mode: str) -> None:
        """A branch in bfloat16, an identity in float32, memory in any order."""
        net, keep = self.net(mode), torch.tensor([1, 0, 0, 1])
        x = torch.tensor(noise(4, 4, 2)).permute(0, 2, 1)
        wanted = net(x.contiguous(), None, keep)
        torch.testing.assert_close(net(x, None, keep), wanted)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = net(x, None, keep)
        torch.testing.assert_close(found, wanted, rtol=3e-2, atol=3e-2)
        found.sum().backward()
        assert net.branch.weight.grad.dtype == torch.float32
        net.requires_grad_(False)
        assert not net(x, None, keep).requires_grad
