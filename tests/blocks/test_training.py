"""fit and accuracy: steps by hand, parity of the halves, what is kept and refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from halves import GLUON, PYTORCH, both, mirrored, noise

from d2lutils.compat import mx
from d2lutils.data import Batches, digits
from d2lutils.processes import run_group, run_parameter_server

Settings = dict[str, Any]
Batch = tuple[np.ndarray, np.ndarray]


def points(n: int = 12) -> Batch:
    """Two classes that a straight line separates."""
    x = noise(n, 2, seed=0)
    return x, (x[:, 0] > 0).astype("int64")


def batches() -> list[Batch]:
    x, y = points()
    return [(x[:8], y[:8]), (x[8:], y[8:])]


def linear(half: Any, dropout: float = 0.0) -> Any:
    """A linear classifier that starts with weights of zero."""
    layer = mx.gluon.nn.Dropout if half is GLUON else torch.nn.Dropout
    net = half.ready(half.sequence(layer(dropout), half.dense(2, 2)))
    for parameter in half.trained(net):
        half.fill(parameter, np.zeros(parameter.shape, "float32"))
    return net


def fit(half: Any, net: Any, *data: Any, **options: Any) -> Any:
    return half.training.fit(net, *data, **{"progress": False} | options)


class Data:
    """Batches that do something in a given epoch."""

    def __init__(self, epoch: int, act: Callable[[], None]) -> None:
        self.epoch, self.act, self.passes = epoch, act, 0

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[Batch]:
        first, second = batches()
        yield first
        if self.passes == self.epoch:
            self.act()
        self.passes += 1
        yield second


def fail(error: type[BaseException]) -> Callable[[], None]:
    def act() -> None:
        raise error("here")

    return act


# -- steps by hand ---------------------------------------------------------------------


def by_hand(o: Settings, epochs: int) -> tuple[np.ndarray, list[float]]:
    """Weights and losses of softmax regression.

    SGD with momentum: v = m v + g + d w, w = w - rate v. Adam: Kingma and Ba, 2015,
    algorithm 1.
    """
    weight, shift = np.zeros((2, 2)), np.zeros(2)
    state = [np.zeros((2, 3)) for _ in range(2)]
    losses, t = [], 0
    decay, momentum = o.get("weight_decay", 0.0), o.get("momentum", 0.875)
    schedule = o.get("schedule", lambda progress: (1 + np.cos(np.pi * progress)) / 2)
    for epoch in range(epochs):
        total = 0.0
        for i, (x, y) in enumerate(batches()):
            logits = x @ weight.T + shift
            shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
            total -= np.log(shares[range(len(y)), y]).sum()
            shares[range(len(y)), y] -= 1
            inputs = np.column_stack((x, np.ones(len(x))))
            joined = np.column_stack((weight, shift))
            gradient = shares.T @ inputs / len(x) + decay * joined
            rate = o["learning_rate"] * schedule((epoch + i / 2) / epochs)
            t += 1
            if o.get("optimizer") == "adam":
                state[0] = 0.9 * state[0] + 0.1 * gradient
                state[1] = 0.999 * state[1] + 0.001 * gradient**2
                root = np.sqrt(state[1] / (1 - 0.999**t)) + 1e-8
                joined = joined - rate * state[0] / (1 - 0.9**t) / root
            else:
                state[0] = momentum * state[0] + gradient
                joined = joined - rate * state[0]
            weight, shift = joined[:, :2], joined[:, 2]
        losses.append(total / 12)
    return weight, losses


@both
@pytest.mark.parametrize(
    "o",
    [
        {},
        {"momentum": 0.0, "schedule": lambda progress: 1.0},
        {"momentum": 0.5, "weight_decay": 0.25},
        {"schedule": lambda progress: 1 / (1 + progress)},
        {"optimizer": "adam", "weight_decay": 0.25},
    ],
    ids=["default", "plain", "decay", "function", "adam"],
)
def test_steps_by_hand(half: Any, o: Settings) -> None:
    """Losses are means over examples: the second batch is the shorter one."""
    o = {"learning_rate": 0.25} | o
    net = half.double(linear(half))
    history = fit(half, net, batches(), epochs=4, **o)
    weight, losses = by_hand(o, 4)
    # MXNet takes momentum and Adam's betas in float32, and Adam's epsilon elsewhere.
    bound = 1e-4 if "optimizer" in o else 1e-6
    np.testing.assert_allclose(history.train_loss, losses, rtol=bound)
    np.testing.assert_allclose(half.weights(net)[0], weight, rtol=bound, atol=bound)


# -- the same in both halves -----------------------------------------------------------


def classifier(half: Any) -> Any:
    """Two residual blocks and a linear layer for sequences of 64 steps."""
    chunks = half.residual.ResidualChunks
    widths = ((1, 4), (4, 6))
    return half.sequence(
        *(chunks(a, b, 3, 4, 2, shortcut="zeros") for a, b in widths),
        half.flatten(),
        half.dense(24, 10),
    )


def skipping(half: Any) -> Any:
    """A classifier that leaves out its hidden layer in the steps that a list says."""
    keeps = iter([i % 5 in (0, 3) for i in range(30)])
    branch = half.sequence(half.dense(64, 16), half.relu(), half.dense(16, 64))
    depth = half.stochastic_depth.StochasticDepth(branch, 0.5)
    last = half.sequence(half.flatten(), half.dense(64, 10))

    def function(x: Any) -> Any:
        training = mx.autograd.is_training() if half is GLUON else net.training
        return last(depth(x, None, next(keeps) if training else None))

    net = half.call(function, depth, last)
    return net


@pytest.mark.parametrize(
    ("build", "o"),
    [
        (classifier, {}),
        (classifier, {"weight_decay": 2**-6, "schedule": "constant", "momentum": 0.5}),
        (classifier, {"optimizer": "adam", "learning_rate": 2**-7}),
        # A branch keeps its momentum while it is left out, whatever the rate does.
        (skipping, {}),
        (skipping, {"momentum": 0.0, "weight_decay": 2**-6, "schedule": "constant"}),
        (skipping, {"schedule": lambda progress: 1 / (1 + progress)}),
        (skipping, {"optimizer": "adam", "learning_rate": 2**-7}),
    ],
)
def test_joinedhalves_learn_the_same(build: Any, o: Settings) -> None:
    histories = []
    for half, net in zip((GLUON, PYTORCH), mirrored(build), strict=True):
        train, test = digits("sequences", dtype="float64")
        data = Batches(train.x[:200], train.y[:200], 48, shuffle=True, seed=1)
        tests = Batches(test.x, test.y, 100)
        options = {"learning_rate": 2**-4, "epochs": 6 if build is skipping else 2} | o
        history = fit(half, half.double(net), data, tests, **options)
        assert history.framework == half.name
        assert history.test_accuracy[-1] == half.training.accuracy(net, tests)
        histories.append(history)
    one, two = histories
    # MXNet takes Adam's 0.999 in float32, which moves 1 - 0.999 by 1e-5 of itself.
    rel = 1e-3 if o.get("optimizer") == "adam" else 1e-5
    assert one.train_loss == pytest.approx(two.train_loss, rel=rel)
    assert one.train_accuracy == pytest.approx(two.train_accuracy, abs=1.01 / 200)
    # Running variances differ by n / (n - 1) a step: one example of 360 may tip.
    assert one.test_accuracy == pytest.approx(two.test_accuracy, abs=1.01 / 360)
    assert one.train_loss[-1] < one.train_loss[0]


# -- what fit does ---------------------------------------------------------------------


def test_after_set_np() -> None:
    """`fit` does the same with `mx.np` arrays."""
    histories = [fit(GLUON, linear(GLUON), batches())]
    mx.npx.set_np()
    try:
        histories.append(fit(GLUON, linear(GLUON), batches()))
    finally:
        mx.npx.reset_np()
    one, two = (history.train_loss for history in histories)
    assert one == pytest.approx(two, rel=1e-5)


@both
def test_history(half: Any) -> None:
    data = batches()
    history = fit(half, linear(half), data, data, epochs=20, learning_rate=0.25)
    assert history.finished
    assert history.epochs == len(history.test_accuracy) == 20
    assert history.test_accuracy[-1] == 1.0
    assert all(0 <= a <= 1 for a in history.train_accuracy)
    assert history.seconds > 0
    assert all(type(v) is float for v in history.train_loss + history.test_accuracy)
    assert history.device == ("cpu(0)" if half is GLUON else "cpu")


@both
def test_schedule_sees_progress_from_zero_to_one(half: Any) -> None:
    seen: list[float] = []
    schedule = lambda progress: seen.append(progress) or 1.0  # noqa: E731
    fit(half, linear(half), batches(), epochs=2, schedule=schedule)
    assert seen == [0, 0.25, 0.5, 0.75]


@both
def test_seed_repeats_dropout(half: Any) -> None:
    runs = []
    for seed in (1, 1, 2):
        net = linear(half, dropout=0.5)
        fit(half, net, batches(), epochs=3, seed=seed)
        runs.append(half.weights(net)[0])
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_a_net_in_evaluation_mode_is_trained_in_training_mode() -> None:
    """PyTorch's nets have a mode of their own; Gluon's follow the recording."""
    weights = []
    for training in (True, False):
        net = linear(PYTORCH, dropout=0.5).train(training)
        fit(PYTORCH, net, batches(), batches(), epochs=3)
        weights.append(PYTORCH.weights(net)[0])
        assert net.training
    assert np.array_equal(*weights)


@both
def test_devices_and_numbers_of_other_kinds(half: Any) -> None:
    """A device by name or as it is, NumPy's numbers, arrays of its own framework."""
    device = mx.cpu() if half is GLUON else torch.device("cpu")
    own = [(half.tensor(x), half.tensor(y)) for x, y in batches()]
    numbers = {
        "momentum": np.float64(0.875),
        "seed": np.uint8(0),
        "epochs": np.int64(2),
    }
    losses = [
        fit(half, linear(half), batches(), epochs=2, device="cpu").train_loss,
        fit(half, linear(half), batches(), epochs=2, device=device).train_loss,
        fit(half, linear(half), batches(), **numbers).train_loss,
        fit(half, linear(half), own, epochs=2).train_loss,
    ]
    assert losses == losses[:1] * 4
    assert half.training.accuracy(linear(half), batches(), device="cpu") <= 1


@both
def test_what_is_shown(half: Any, capsys: Any, monkeypatch: Any) -> None:
    """A bar on request; once on which device and why."""
    monkeypatch.setenv("D2L_STORED_OUTPUTS", "1")
    monkeypatch.setattr("d2lutils._training._told", set())
    monkeypatch.setattr(half.training, "why_no_gpu", lambda: "it is elsewhere")
    for _ in range(2):
        half.training.fit(linear(half), batches(), epochs=1, progress=True)
    said = capsys.readouterr()
    assert "100%" in said.err
    assert said.out.endswith(": it is elsewhere\n")
    assert said.out.count("trains on cpu") == 1
    fit(half, linear(half), batches(), epochs=1, progress=True, device="cpu")
    assert capsys.readouterr().out.endswith(": as asked\n")
    half.training.fit(linear(half), batches(), epochs=1)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


@both
@pytest.mark.parametrize(
    ("train", "test", "epoch"),
    [(0, None, 0), (2, None, 2), (None, 0, 0), (None, 1, 1)],
)
def test_interrupt(half: Any, train: Any, test: Any, epoch: int) -> None:
    """While training or testing: complete epochs stay."""
    data = [
        batches() if at is None else Data(at, fail(KeyboardInterrupt))
        for at in (train, test)
    ]
    history = fit(half, linear(half), *data, epochs=9)
    assert not history.finished
    assert history.epochs == epoch
    assert len(history.train_accuracy) == len(history.test_accuracy) == epoch
    assert history.seconds > 0
    with pytest.raises(OSError, match="here"):  # other errors are not swallowed
        fit(half, linear(half), Data(1, fail(OSError)), epochs=3)


@both
def test_accuracy(half: Any) -> None:
    """All logits are equal, and argmax takes the first class; in evaluation mode."""
    x, y = points(10)
    share = float((y == 0).mean())
    for data in ([(x, y)], [(x[:7], y[:7]), (x[7:], y[7:])]):
        assert half.training.accuracy(linear(half), data) == pytest.approx(share)
    # With dropout on, hardly any two of these would agree.
    net, many = linear(half, dropout=0.9), [points(200)]
    fit(half, net, many, epochs=40, learning_rate=0.25)
    found = {half.training.accuracy(net, many) for _ in range(5)}
    assert len(found) == 1
    assert found.pop() > 0.9


def test_training_mode_comes_back() -> None:
    net = linear(PYTORCH)
    for training in (False, True):
        PYTORCH.training.accuracy(net.train(training), batches())
        assert net.training is training
    with pytest.raises(KeyboardInterrupt):
        PYTORCH.training.accuracy(net, Data(0, fail(KeyboardInterrupt)))
    assert net.training


# -- blocks that are left out ----------------------------------------------------------


def images() -> Batches:
    train, _ = digits("images")
    return Batches(train.x[:160], train.y[:160], 32, shuffle=True, seed=0)


def small(half: Any, mode: str = "batch") -> Any:
    half.seed(0)
    options = {"in_channels": 1, "drop_prob": 0.5, "drop_mode": mode}
    return half.ready(half.pyramidnet.PyramidNet(8, 12, **options))


@pytest.mark.parametrize(
    ("half", "hybrid"), [(GLUON, False), (GLUON, True), (PYTORCH, False)]
)
@pytest.mark.parametrize(
    ("mode", "optimizer", "rate"),
    [("batch", "sgd", 2**-4), ("row", "adam", 2**-6), ("gather", "sgd", 2**-4)],
)
def test_pyramidnet_trains(
    half: Any, hybrid: bool, mode: str, optimizer: str, rate: float
) -> None:
    """A branch that was skipped has no gradient in that step, which is no mistake."""
    net = small(half, mode)
    if hybrid:
        net.hybridize(static_alloc=True)
    options = {"optimizer": optimizer, "learning_rate": rate, "epochs": 4}
    history = fit(half, net, images(), **options)
    assert history.train_loss[-1] < history.train_loss[0]
    assert history.train_accuracy[-1] > 0.3


@both
def test_seed_repeats_what_is_dropped(half: Any) -> None:
    losses = []
    for seed in (1, 1, 2):
        losses += fit(half, small(half), images(), epochs=1, seed=seed).train_loss
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0] != pytest.approx(losses[2], rel=1e-3)


def around_a_branch(half: Any, drop_prob: float, *trained: int) -> Any:
    """Linear, stochastic depth, linear: only some are trained."""
    branch = half.conv(1, 1, 1, rank=1)
    depth = half.stochastic_depth.StochasticDepth(branch, drop_prob)
    last = half.sequence(half.flatten(), half.dense(2, 2))
    net = half.ready(half.sequence(half.dense(2, 2), depth, last))
    for i in {0, 1, 2} - set(trained):
        if half is GLUON:
            net[i].collect_params().setattr("grad_req", "null")
        else:
            net[i].requires_grad_(False)
    return net


SEQUENCES = [(x[:, None], y) for x, y in batches()]


@both
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_skipped_branch_stays_as_it_is(half: Any, optimizer: str) -> None:
    """Weight decay and momentum wait, too; the rest of the net learns."""
    net = around_a_branch(half, 1.0, 0, 1, 2)
    before = half.weights(net)
    fit(half, net, SEQUENCES, epochs=2, optimizer=optimizer, weight_decay=0.5)
    same = [np.array_equal(*p) for p in zip(before, half.weights(net), strict=True)]
    assert same == [False, False, True, True, False, False]


@both
@pytest.mark.parametrize("trained", [0, 1, 2])
def test_one_layer_is_trained(half: Any, trained: int) -> None:
    """The branch is left out in most batches, which leaves nothing to train."""
    net = around_a_branch(half, 0.9, trained)
    assert fit(half, net, SEQUENCES, epochs=3).finished


@pytest.mark.parametrize("depth", [False, True])
@pytest.mark.parametrize(
    ("hybrid", "text"),
    [
        (False, "has not been updated by backward"),
        (True, "is not used by any computation"),
    ],
)
def test_a_forgotten_layer_is_still_told(depth: bool, hybrid: bool, text: str) -> None:
    """Gluon warns of a parameter without a gradient; that stays."""
    layers = [GLUON.dense(2, 2), GLUON.dense(2, 1)]
    if depth:
        branch = GLUON.conv(1, 1, 1, rank=1)
        layers.append(GLUON.stochastic_depth.StochasticDepth(branch, 0.5, "row"))

    def function(x: Any) -> Any:
        x = x.expand_dims(axis=1)
        return layers[0](layers[2](x) if depth else x).reshape((0, -1))

    net = GLUON.ready(GLUON.call(function, *layers))
    net.hybridize(hybrid)
    with pytest.raises(UserWarning, match=text):
        fit(GLUON, net, batches(), epochs=1)


def test_gradients_that_are_added_up_start_anew() -> None:
    losses = []
    for grad_req in ("write", "add"):
        net = around_a_branch(GLUON, 0.9, 0, 2)
        for i, p in enumerate(net.collect_params().values()):
            GLUON.fill(p, noise(*p.shape, seed=i))
            if p.grad_req != "null":
                p.grad_req = grad_req
        losses.append(fit(GLUON, net, SEQUENCES, epochs=3).train_loss)
    assert losses[0] == losses[1]


def test_inside_autocast_weights_move() -> None:
    """Its copies of the weights must not outlive a step."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        history = fit(PYTORCH, linear(PYTORCH), batches(), epochs=3)
    assert len(set(history.train_loss)) == 3


# -- several devices and processes -----------------------------------------------------


CONTEXTS = [mx.cpu(i) for i in range(5)]
SIZES = (8, 3, 1)  # the last batch is smaller than any number of devices


def uneven() -> list[Batch]:
    x, y = points(sum(SIZES))
    ends = np.cumsum(SIZES)
    return [(x[e - n : e], y[e - n : e]) for e, n in zip(ends, SIZES, strict=True)]


def layers(grad_reqs: str = "write write") -> Any:
    """Two layers in float64, each with its way to keep gradients."""
    net = GLUON.ready(GLUON.sequence(GLUON.dense(2, 4), GLUON.dense(4, 2)))
    for layer, grad_req in zip(net, grad_reqs.split(), strict=True):
        layer.collect_params().setattr("grad_req", grad_req)
    for i, p in enumerate(net.collect_params().values()):
        GLUON.fill(p, noise(*p.shape, seed=i))
    return GLUON.double(net)


def all_weights(net: Any) -> list[np.ndarray]:
    """The parameters on each of its devices."""
    parameters = net.collect_params().values()
    return [data.asnumpy() for p in parameters for data in p.list_data()]


@pytest.mark.parametrize(
    ("grad_reqs", "o"),
    [
        ("write write", {}),
        ("write write", {"optimizer": "adam", "weight_decay": 0.25}),
        ("null write", {"weight_decay": 0.25}),
        ("add null", {"momentum": 0.0}),
    ],
)
@pytest.mark.parametrize("count", [2, 5])
def test_several_devices_are_as_one(count: int, grad_reqs: str, o: Settings) -> None:
    histories, weights = [], []
    for devices in (CONTEXTS[:1], CONTEXTS[:count]):
        net, options = layers(grad_reqs), {"epochs": 3, "device": devices} | o
        net.hybridize(count == 5)
        histories.append(fit(GLUON, net, uneven(), batches(), **options))
        weights.append(all_weights(net))
    one, several = histories
    assert several.device == ", ".join(map(str, CONTEXTS[:count]))
    assert several.train_loss == pytest.approx(one.train_loss, rel=1e-12)
    assert several.train_accuracy == one.train_accuracy
    assert several.test_accuracy == one.test_accuracy
    expected = [data for data in weights[0] for _ in range(count)]
    for found, data in zip(weights[1], expected, strict=True):
        np.testing.assert_allclose(found, data, rtol=1e-12, atol=1e-12)
    # And back: what several devices hold is one net.
    assert fit(GLUON, net, batches(), epochs=1, device="cpu").finished


def test_several_devices_drop_rows() -> None:
    options: Settings = {"learning_rate": 2**-4, "epochs": 4, "device": CONTEXTS[:2]}
    history = fit(GLUON, small(GLUON, "row"), images(), **options)
    assert history.train_loss[-1] < history.train_loss[0]
    with pytest.raises(ValueError, match="at one place and kept at another") as caught:
        fit(GLUON, small(GLUON), images(), **options)
    assert str(caught.value) == (
        "fit: on cpu(0), cpu(1) a block may be dropped at one place and kept at "
        "another: use StochasticDepth's mode='row'"
    )


@pytest.mark.parametrize(
    ("half", "device", "error", "text"),
    [
        (GLUON, [], TypeError, "DEVICE []"),
        (GLUON, [["cpu"]], TypeError, "DEVICE ['cpu']"),
        (
            GLUON,
            ("cpu:1", mx.cpu(1)),
            ValueError,
            "device names a device twice: ('cpu:1', cpu(1))",
        ),
        (
            PYTORCH,
            ["cpu", "cpu"],
            TypeError,
            "device must be one device, got 2: for several start a process for each, "
            "as torchrun does, and wrap net in DistributedDataParallel",
        ),
    ],
)
def test_devices_that_are_refused(
    half: Any, device: Any, error: Any, text: str
) -> None:
    with pytest.raises(error) as caught:
        fit(half, linear(half), batches(), device=device)
    assert type(caught.value) is error
    assert str(caught.value) == "fit: " + text.replace("DEVICE", DEVICE)


def gluon_part(part: int, of: int, start: float, fits: int) -> Any:
    """Weights and losses of some trainings on a part of each batch."""
    import numpy as np

    from d2lutils.compat import mx
    from d2lutils.gluon.training import fit

    found = []
    for i in range(fits):
        x = np.random.default_rng(i).standard_normal((12, 2))
        y = (x[:, 0] > 0).astype("int64")
        data = [(x[a:b][part::of], y[a:b][part::of]) for a, b in ((0, 8), (8, 12))]
        net = mx.gluon.nn.Dense(2, in_units=2)
        net.initialize(mx.init.Constant(start))
        net.bias.set_data(mx.nd.array([start, 0]))
        net.cast("float64")
        if i:
            net.bias.grad_req = "null"
        options = {"optimizer": ("sgd", "adam")[i], "device": "cpu"}
        history = fit(net, data, epochs=2, progress=False, **options)
        weights = [p.data().asnumpy().tolist() for p in (net.weight, net.bias)]
        found.append([*weights, history.train_loss])
    return found


def working() -> Any:
    """A worker: a push and a pull of its own, then two trainings."""
    import numpy as np

    from d2lutils.compat import mx
    from d2lutils.gluon.stochastic_depth import StochasticDepth
    from d2lutils.gluon.training import _store, fit

    store = _store()
    third = mx.nd.array(np.full(2, 1 / 3), dtype="float64")
    store.init("thirds", third)
    store.push("thirds", third)
    store.pull("thirds", out=third)
    start = (1 + store.rank) / 4
    parts = gluon_part(store.rank, store.num_workers, start, 2)
    depth = StochasticDepth(mx.gluon.nn.Dense(2, in_units=2), 0.5)
    depth.initialize()
    later = mx.gluon.nn.Dense(2, prefix="later_")
    later.initialize()
    said = []
    for net in (depth, later):
        try:
            fit(net, [(np.ones((2, 2)), np.zeros(2))], progress=False)
        except ValueError as error:
            said.append(str(error))
    return third, parts, said


@pytest.mark.needs_mxnet
def test_two_workers_are_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """They start from the first one's weights; sums are exact in float64.

    Memory that is not set is not zero here, as it may be anywhere.
    """
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.perturb=1")
    found = run_parameter_server(working, uses=[gluon_part])
    monkeypatch.undo()
    assert [pulled for pulled, *_ in found] == [[2 / 3, 2 / 3]] * 2
    for *_, said in found:
        assert said == [
            "fit: in several workers a block may be dropped at one place and kept at "
            "another: use StochasticDepth's mode='row'",
            "fit: later_weight has no shape yet, so workers cannot share it: call net "
            "on a batch first",
        ]
    for i, (*weights, losses) in enumerate(gluon_part(0, 1, 0.25, 2)):
        workers = [fits[i] for _, fits, _ in found]
        for *own, _ in workers:
            for one, two in zip(own, weights, strict=True):
                np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-12)
        mean = np.mean([own for *_, own in workers], axis=0)
        np.testing.assert_allclose(mean, losses, rtol=1e-12)


def pytorch_part(part: int, of: int) -> Any:
    """Weights and losses of two trainings on a part of each batch."""
    import numpy as np
    import torch

    from d2lutils.pytorch.training import fit

    found = []
    for i, optimizer in enumerate(("sgd", "adam")):
        x = np.random.default_rng(i).standard_normal((12, 2))
        y = (x[:, 0] > 0).astype("int64")
        data = [(x[a:b][part::of], y[a:b][part::of]) for a, b in ((0, 8), (8, 12))]
        net = torch.nn.Linear(2, 2).double()
        torch.nn.init.constant_(net.weight, (1 + part) / 4)
        torch.nn.init.zeros_(net.bias)
        whole = torch.nn.parallel.DistributedDataParallel(net) if of > 1 else net
        options = {"optimizer": optimizer, "weight_decay": 0.25, "device": "cpu"}
        history = fit(whole, data, epochs=2, progress=False, **options)
        weights = [p.detach().tolist() for p in net.parameters()]
        found.append([*weights, history.train_loss])
    return found


def distributed() -> Any:
    """A process of a group: trainings, and nets whose blocks may be dropped."""
    import numpy as np
    import torch
    from torch import distributed, nn

    from d2lutils.pytorch.stochastic_depth import StochasticDepth
    from d2lutils.pytorch.training import fit

    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    found = pytorch_part(rank, 2)
    x = np.random.default_rng(rank).standard_normal((8, 1, 2))
    data, said = [(x, np.arange(8) % 2)] * 6, []
    torch.manual_seed(0)
    for unused, mode in ((False, "batch"), (True, "batch"), (False, "row")):
        depth = StochasticDepth(nn.Conv1d(1, 1, 1), 0.5, mode)
        net = nn.Sequential(nn.Linear(2, 2), depth, nn.Flatten(), nn.Linear(2, 2))
        wrapped = nn.parallel.DistributedDataParallel(
            net, find_unused_parameters=unused
        )
        try:
            fit(wrapped, data, epochs=2, device="cpu", progress=False)
        except ValueError as error:
            said.append(str(error))
        else:
            said.append([p.detach().tolist() for p in net.parameters()])
    # One process tests, and the other does not wait for it.
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(2), nn.Linear(2, 2)).double()
    tested = data[:1] if rank == 0 else None
    wrapped = nn.parallel.DistributedDataParallel(net)
    fit(wrapped, data, tested, epochs=2, device="cpu", progress=False)
    distributed.destroy_process_group()
    return found, said


def test_a_group_of_two_is_as_one() -> None:
    (one, said), (two, others) = run_group(distributed, uses=[pytorch_part])
    for i, (*weights, losses) in enumerate(pytorch_part(0, 1)):
        for *own, _ in (one[i], two[i]):
            for a, b in zip(own, weights, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
        mean = np.mean([one[i][-1], two[i][-1]], axis=0)
        np.testing.assert_allclose(mean, losses, rtol=1e-12)
    assert said == others
    assert said[0] == (
        "fit: net drops whole blocks, whose parameters then have no gradient: wrap it "
        "as DistributedDataParallel(net, find_unused_parameters=True), or use "
        "StochasticDepth's mode='row'"
    )
    assert all(isinstance(each, list) for each in said[1:])


# -- bad input -------------------------------------------------------------------------

ONCE = (
    "must be an iterable of (x, y) batches that can be gone through once an epoch, got"
)
SAME_N = "train_data must give x (N, …) and y (N,) with the same N of at least 1, got"
DEVICE = "device must be a device or a name such as 'cpu', 'cuda:0' or 'mps', got"


def labels(*values: Any) -> Any:
    return [(np.ones((len(values), 2)), np.array(values))]


BAD: list[tuple[Settings, type[Exception], str]] = [
    ({"net": 3}, TypeError, "net must be {kind}, got 3"),
    ({"train_data": []}, ValueError, "train_data gave no batches"),
    (
        {"train_data": [np.ones((4, 2))]},
        TypeError,
        "train_data must give pairs (x, y), got ndarray",
    ),
    (
        {"train_data": labels(0, 2)},
        ValueError,
        "labels must be from 0 to 1 for 2 classes, got 0 to 2",
    ),
    (
        {"train_data": labels(0.5)},
        TypeError,
        "train_data must give whole numbers as y, got float64",
    ),
    *(
        (
            {"train_data": [(np.ones(x), np.zeros(y, "int64"))]},
            ValueError,
            f"{SAME_N} shapes {x} and {y}",
        )
        for x, y in (((0, 2), (0,)), ((4, 2), (3,)), ((4, 2), (4, 1)))
    ),
    ({"train_data": None}, TypeError, f"train_data {ONCE} NoneType"),
    ({"train_data": (b for b in batches())}, TypeError, f"train_data {ONCE} generator"),
    ({"device": 1.5}, TypeError, f"{DEVICE} 1.5"),
]


@both
@pytest.mark.parametrize("i", range(len(BAD)), ids=[text[:50] for *_, text in BAD])
def test_refused(half: Any, i: int) -> None:
    """By `fit`, and by `accuracy` where it takes the argument."""
    changes, error, text = BAD[i]
    kind = "a Gluon Block" if half is GLUON else "a PyTorch Module"
    arguments = {"net": linear(half), "train_data": batches(), "epochs": 1} | changes
    with pytest.raises(error) as caught:
        fit(half, **arguments)
    assert type(caught.value) is error
    assert str(caught.value) == "fit: " + text.format(kind=kind)
    if i < 4:
        with pytest.raises(error) as caught:
            half.training.accuracy(arguments["net"], arguments["train_data"])
        text = text.format(kind=kind).replace("train_data", "data")
        assert str(caught.value) == f"accuracy: {text}"
    mx.nd.waitall()  # and nothing comes later


@both
def test_nets_without_anything_to_train(half: Any) -> None:
    for name in ("fit", "accuracy"):
        with pytest.raises(ValueError, match=f"^{name}: net has no parameters$"):
            getattr(half.training, name)(half.relu(), batches())
    with pytest.raises(ValueError, match="no parameter that gets a gradient"):
        fit(half, around_a_branch(half, 0.9), SEQUENCES)


@both
def test_gpu_that_is_not_there(half: Any, capfd: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():  # pragma: needs-gpu
        pytest.skip("this machine has a GPU")
    for device in ("cuda:7", "cuda"):
        begin = f"^fit: device '{device}' cannot be used: "
        with pytest.raises(ValueError, match=begin) as caught:
            fit(half, linear(half), batches(), device=device)
        assert "Traceback" not in str(caught.value)
        assert "\n" not in str(caught.value)
    mx.nd.waitall()
    assert capfd.readouterr().err == ""  # MXNet logs a line with the time of day


def test_mps_is_unknown_to_mxnet() -> None:
    with pytest.raises(ValueError, match="'mps' cannot be used: MXNet has no mps dev"):
        fit(GLUON, linear(GLUON), batches(), device="mps")


@both
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_loss_that_is_not_a_number(half: Any, value: float) -> None:
    bad = (np.full((2, 2), value, "float32"), np.array([0, 1]))
    with pytest.raises(FloatingPointError) as caught:
        fit(half, linear(half), [*batches(), bad], epochs=3)
    assert str(caught.value) == (
        "fit: the loss is nan in batch 2 of epoch 0 (counted from 0); "
        "learning_rate=0.125 may be too large"
    )
    mx.nd.waitall()
