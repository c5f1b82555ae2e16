"""fit and accuracy of each half: what they do, keep and refuse. Parity is elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from d2lutils.compat import mx
from d2lutils.data import Batches, digits
from d2lutils.gluon import pyramidnet as gluon_pyramidnet
from d2lutils.gluon import stochastic_depth as gluon_depth
from d2lutils.gluon import training as gluon_training
from d2lutils.pytorch import pyramidnet as pytorch_pyramidnet
from d2lutils.pytorch import stochastic_depth as pytorch_depth
from d2lutils.pytorch import training as pytorch_training

Batch = tuple[np.ndarray, np.ndarray]


def gluon_net(dropout: float = 0.0) -> Any:
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Dropout(dropout), mx.gluon.nn.Dense(2, in_units=2))
    net.initialize(mx.init.Zero())
    return net


def torch_net(dropout: float = 0.0) -> Any:
    net = torch.nn.Sequential(torch.nn.Dropout(dropout), torch.nn.Linear(2, 2))
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    return net


def gluon_weight(net: Any) -> np.ndarray:
    return net[1].weight.data().asnumpy()


def torch_weight(net: Any) -> np.ndarray:
    return net[1].weight.detach().numpy().copy()


HALVES = {
    "gluon": SimpleNamespace(
        fit=gluon_training.fit,
        accuracy=gluon_training.accuracy,
        net=gluon_net,
        weight=gluon_weight,
        device=mx.cpu(),
        bare=lambda: mx.gluon.nn.Activation("relu"),
        tensor=mx.nd.array,
        kind="a Gluon Block",
    ),
    "pytorch": SimpleNamespace(
        fit=pytorch_training.fit,
        accuracy=pytorch_training.accuracy,
        net=torch_net,
        weight=torch_weight,
        device=torch.device("cpu"),
        bare=torch.nn.ReLU,
        tensor=torch.as_tensor,
        kind="a PyTorch Module",
    ),
}


@pytest.fixture(params=list(HALVES))
def half(request: pytest.FixtureRequest) -> Any:
    return HALVES[request.param]


def points(n: int = 12) -> Batch:
    """Two classes that a straight line separates."""
    x = np.random.Generator(np.random.PCG64(0)).standard_normal((n, 2))
    return x.astype("float32"), (x[:, 0] > 0).astype("int64")


def batches() -> list[Batch]:
    x, y = points()
    return [(x[:8], y[:8]), (x[8:], y[8:])]


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


def interrupt() -> None:
    raise KeyboardInterrupt


def test_first_step_by_hand(half: Any) -> None:
    """From zero weights softmax gives 1/2 each, and the first loss is log 2."""
    x, y = points()
    net = half.net()
    options = {"momentum": 0.0, "schedule": "constant", "learning_rate": 0.5}
    history = half.fit(net, [(x, y)], epochs=1, progress=False, **options)
    assert history.train_loss == pytest.approx([np.log(2)], rel=1e-5)
    signs = 2.0 * y - 1
    gradient = (x * signs[:, None]).mean(axis=0) / 2
    expected = 0.5 * np.stack([-gradient, gradient])
    np.testing.assert_allclose(half.weight(net), expected, rtol=1e-5, atol=1e-7)


def test_after_set_np() -> None:
    """`fit` does the same with `mx.np` arrays."""
    histories = [HALVES["gluon"].fit(gluon_net(), batches(), progress=False)]
    mx.npx.set_np()
    try:
        histories.append(HALVES["gluon"].fit(gluon_net(), batches(), progress=False))
    finally:
        mx.npx.reset_np()
    one, two = (history.train_loss for history in histories)
    assert one == pytest.approx(two, rel=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("schedule", ["cosine", "constant", lambda p: 1 - p])
def test_learns(half: Any, optimizer: str, schedule: Any) -> None:
    data = batches()
    options = {"optimizer": optimizer, "schedule": schedule, "learning_rate": 0.25}
    history = half.fit(half.net(), data, data, epochs=20, progress=False, **options)
    assert history.finished
    assert history.epochs == len(history.test_accuracy) == 20
    assert history.train_loss[-1] < 0.5 * history.train_loss[0]
    assert history.test_accuracy[-1] == 1.0
    assert all(0 <= a <= 1 for a in history.train_accuracy)
    assert history.seconds > 0
    assert all(type(v) is float for v in history.train_loss + history.test_accuracy)
    assert history.device == str(half.device)


def test_loss_is_the_mean_over_examples(half: Any) -> None:
    """A short last batch counts for as many examples as it has."""
    x, y = points(9)
    parts = [(x[:8], y[:8]), (x[8:], y[8:])]
    frozen = {"learning_rate": 0.0, "epochs": 1, "progress": False}
    net = half.net()
    split, whole = (half.fit(net, d, **frozen) for d in (parts, [(x, y)]))
    assert split.train_loss == pytest.approx(whole.train_loss, rel=1e-6)
    assert split.train_accuracy == whole.train_accuracy


def test_schedule_sees_progress_from_zero_to_one(half: Any) -> None:
    seen: list[float] = []

    def schedule(progress: float) -> float:
        seen.append(progress)
        return 1.0

    half.fit(half.net(), batches(), epochs=2, schedule=schedule, progress=False)
    assert seen == [0, 0.25, 0.5, 0.75]


def test_schedule_changes_the_step(half: Any) -> None:
    nets = [half.net() for _ in range(2)]
    for net, factor in zip(nets, (1.0, 0.5), strict=True):
        half.fit(
            net,
            [points()],
            epochs=1,
            momentum=0.0,
            schedule=lambda progress, factor=factor: factor,
            progress=False,
        )
    np.testing.assert_allclose(
        half.weight(nets[1]), half.weight(nets[0]) / 2, rtol=1e-6
    )


def test_weight_decay_and_momentum_count(half: Any) -> None:
    results = []
    for options in ({}, {"weight_decay": 0.5}, {"momentum": 0.0}):
        net = half.net()
        half.fit(net, batches(), epochs=2, progress=False, **options)
        results.append(half.weight(net))
    assert not np.allclose(results[0], results[1])
    assert not np.allclose(results[0], results[2])


def test_seed_repeats_dropout(half: Any) -> None:
    runs = []
    for seed in (1, 1, 2):
        net = half.net(dropout=0.5)
        half.fit(net, batches(), epochs=3, seed=seed, progress=False)
        runs.append(half.weight(net))
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_a_net_in_evaluation_mode_is_trained_in_training_mode() -> None:
    """PyTorch's nets have a mode of their own; Gluon's follow the recording."""
    weights = []
    for training in (True, False):
        net = torch_net(dropout=0.5).train(training)
        pytorch_training.fit(net, batches(), batches(), epochs=3, progress=False)
        weights.append(torch_weight(net))
        assert net.training
    assert np.array_equal(*weights)


def test_device_by_name(half: Any) -> None:
    for device in ("cpu", half.device):
        history = half.fit(
            half.net(), batches(), epochs=1, device=device, progress=False
        )
        assert history.finished
        assert half.accuracy(half.net(), batches(), device=device) <= 1


def test_takes_arrays_of_its_own_framework(half: Any) -> None:
    x, y = points()
    expected = half.fit(half.net(), [(x, y)], epochs=2, progress=False)
    own = [(half.tensor(x), half.tensor(y))]
    found = half.fit(half.net(), own, epochs=2, progress=False)
    assert found.train_loss == expected.train_loss


def test_progress_bar_is_shown_on_request(
    half: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("D2L_STORED_OUTPUTS", "1")
    half.fit(half.net(), batches(), epochs=1, progress=True)
    assert "100%" in capsys.readouterr().err
    half.fit(half.net(), batches(), epochs=1)
    assert capsys.readouterr().err == ""


def test_a_reader_is_told_once_on_which_device_and_why(
    half: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("d2lutils._training._told", set())
    monkeypatch.setattr(half.fit.__module__ + ".why_no_gpu", lambda: "it is elsewhere")
    for _ in range(2):
        half.fit(half.net(), batches(), epochs=1, progress=True)
    said = capsys.readouterr().out
    assert said.endswith(": it is elsewhere\n")
    assert said.count("trains on cpu") == 1
    half.fit(half.net(), batches(), epochs=1, progress=True, device="cpu")
    assert capsys.readouterr().out.endswith(": as asked\n")
    half.fit(half.net(), batches(), epochs=1, progress=False)
    assert capsys.readouterr().out == ""


class TestInterrupt:
    @pytest.mark.parametrize("epoch", [0, 1, 2])
    def test_while_training(self, half: Any, epoch: int) -> None:
        history = half.fit(
            half.net(), Data(epoch, interrupt), batches(), epochs=9, progress=False
        )
        assert not history.finished
        assert history.epochs == epoch
        assert len(history.train_accuracy) == len(history.test_accuracy) == epoch
        assert history.seconds > 0

    @pytest.mark.parametrize("epoch", [0, 1])
    def test_while_testing(self, half: Any, epoch: int) -> None:
        history = half.fit(
            half.net(), batches(), Data(epoch, interrupt), epochs=9, progress=False
        )
        assert not history.finished
        lengths = {
            len(history.train_loss),
            len(history.train_accuracy),
            len(history.test_accuracy),
        }
        assert lengths == {epoch}

    def test_without_test_data(self, half: Any) -> None:
        history = half.fit(half.net(), Data(2, interrupt), epochs=9, progress=False)
        assert (history.epochs, history.test_accuracy) == (2, [])

    def test_other_errors_are_not_swallowed(self, half: Any) -> None:
        def fail() -> None:
            raise OSError("disk")

        with pytest.raises(OSError, match="disk"):
            half.fit(half.net(), Data(1, fail), epochs=3, progress=False)


class TestAccuracy:
    def test_by_hand(self, half: Any) -> None:
        x, y = points(10)
        # Zero weights: all logits are equal, and argmax takes the first class.
        share = float((y == 0).mean())
        assert half.accuracy(half.net(), [(x, y)]) == pytest.approx(share)
        parts = [(x[:7], y[:7]), (x[7:], y[7:])]
        assert half.accuracy(half.net(), parts) == pytest.approx(share)

    def test_in_evaluation_mode(self, half: Any) -> None:
        """With dropout on, hardly any two of these would agree."""
        data = [points(200)]
        net = half.net(dropout=0.9)
        half.fit(net, data, epochs=40, learning_rate=0.25, progress=False)
        found = {half.accuracy(net, data) for _ in range(5)}
        assert len(found) == 1
        assert found.pop() > 0.9

    def test_training_mode_comes_back(self) -> None:
        for training in (True, False):
            net = torch_net()
            net.train(training)
            pytorch_training.accuracy(net, batches())
            assert net.training is training

        net.train()
        with pytest.raises(KeyboardInterrupt):
            pytorch_training.accuracy(net, Data(0, interrupt))
        assert net.training


class GluonUnused(mx.gluon.HybridBlock):
    """A net with a layer that it never calls, and maybe one that it drops."""

    def __init__(self, *depth: Any) -> None:
        super().__init__()
        self.unused = mx.gluon.nn.Dense(1, in_units=2)
        self.dense = mx.gluon.nn.Dense(2, in_units=2)
        self.depth = gluon_depth.StochasticDepth(*depth) if depth else None
        self.initialize()

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        if self.depth is not None:
            x = self.depth(F.expand_dims(x, axis=1))
        return self.dense(x)


def gluon_branch() -> Any:
    return mx.gluon.nn.Conv1D(1, 1, in_channels=1)


class TestStochasticDepth:
    """A branch that was skipped has no gradient in that step, which is no mistake."""

    @staticmethod
    def images() -> tuple[Batches, Batches]:
        train, test = digits("images")
        return (
            Batches(train.x[:160], train.y[:160], 32, shuffle=True, seed=0),
            Batches(test.x[:100], test.y[:100], 50),
        )

    @pytest.mark.parametrize("optimizer", ["sgd", "adam"])
    @pytest.mark.parametrize("mode", ["batch", "row", "gather"])
    @pytest.mark.parametrize("hybrid", [False, True])
    def test_pyramidnet_trains(self, mode: str, optimizer: str, hybrid: bool) -> None:
        train, test = self.images()
        options = {"in_channels": 1, "drop_prob": 0.5, "drop_mode": mode}
        gluon = gluon_pyramidnet.PyramidNet(8, 12, **options)
        mx.random.seed(0)
        gluon.initialize(mx.init.Xavier())
        nets = {"gluon": (gluon_training, gluon)}
        if hybrid:
            gluon.hybridize(static_alloc=True)
        else:
            torch.manual_seed(0)
            pytorch = pytorch_pyramidnet.PyramidNet(8, 12, **options)
            nets["pytorch"] = (pytorch_training, pytorch)
        rate = {"sgd": 2**-4, "adam": 2**-6}[optimizer]
        for training, net in nets.values():
            history = training.fit(
                *(net, train, test),
                epochs=4,
                learning_rate=rate,
                optimizer=optimizer,
                progress=False,
            )
            assert history.finished
            assert history.train_loss[-1] < history.train_loss[0]
            assert history.test_accuracy[-1] > 0.3

    @pytest.mark.parametrize("optimizer", ["sgd", "adam"])
    def test_a_skipped_branch_stays_as_it_is(self, optimizer: str) -> None:
        """Weight decay and momentum wait, too; the rest of the net learns."""
        dense = mx.gluon.nn.Dense(2, in_units=2)
        gluon = mx.gluon.nn.HybridSequential()
        gluon.add(gluon_depth.StochasticDepth(gluon_branch(), 1.0), dense)
        gluon.initialize(mx.init.Uniform(1))
        branch = torch.nn.Conv1d(1, 1, 1)
        linear = torch.nn.Linear(2, 2)
        pytorch = torch.nn.Sequential(
            pytorch_depth.StochasticDepth(branch, 1.0), torch.nn.Flatten(), linear
        )

        def weights() -> list[np.ndarray]:
            return [
                gluon[0].branch.weight.data().asnumpy(),
                branch.weight.detach().numpy().copy(),
                dense.weight.data().asnumpy(),
                linear.weight.detach().numpy().copy(),
            ]

        before = weights()
        data = [(x[:, None], y) for x, y in batches()]
        for training, net in ((gluon_training, gluon), (pytorch_training, pytorch)):
            options = {"optimizer": optimizer, "weight_decay": 0.5, "progress": False}
            training.fit(net, data, epochs=2, **options)
        same = [np.array_equal(*pair) for pair in zip(before, weights(), strict=True)]
        assert same == [True, True, False, False]

    def test_seed_repeats_what_is_dropped(self) -> None:
        """The same start and seed lose the same; another seed drops other blocks."""
        losses: dict[str, list[float]] = {"gluon": [], "pytorch": []}
        for seed in (1, 1, 2):
            mx.random.seed(0)
            torch.manual_seed(0)
            options = {"in_channels": 1, "drop_prob": 0.5}
            gluon = gluon_pyramidnet.PyramidNet(8, 12, **options)
            gluon.initialize(mx.init.Xavier())
            pytorch = pytorch_pyramidnet.PyramidNet(8, 12, **options)
            for training, net in ((gluon_training, gluon), (pytorch_training, pytorch)):
                train, _ = self.images()
                history = training.fit(net, train, epochs=1, seed=seed, progress=False)
                losses[history.framework] += history.train_loss
        for first, again, other in losses.values():
            assert first == pytest.approx(again, rel=1e-4)
            assert first != pytest.approx(other, rel=1e-3)

    @pytest.mark.parametrize("depth", [(), (gluon_branch, 0.5, "row")])
    @pytest.mark.parametrize(
        ("hybrid", "text"),
        [
            (False, "has not been updated by backward"),
            (True, "is not used by any computation"),
        ],
    )
    def test_a_forgotten_layer_is_still_told(
        self, depth: tuple[Any, ...], hybrid: bool, text: str
    ) -> None:
        """Gluon warns of a parameter without a gradient; that stays."""
        net = GluonUnused(*((depth[0](), *depth[1:]) if depth else ()))
        net.hybridize(hybrid)
        with pytest.raises(UserWarning, match=text):
            gluon_training.fit(net, batches(), epochs=1, progress=False)

    def test_where_the_net_is_looked_through(self) -> None:
        """Stochastic depth is found however deep it lies."""
        depth = gluon_depth.StochasticDepth(gluon_branch(), 0.5)
        inner = mx.gluon.nn.HybridSequential()
        inner.add(mx.gluon.nn.Flatten(), depth)
        outer = mx.gluon.nn.Sequential()
        outer.add(mx.gluon.nn.Dense(2, in_units=2), inner)
        assert gluon_training._skips_blocks(outer)
        assert gluon_training._skips_blocks(depth)
        assert not gluon_training._skips_blocks(outer[0])


BAD = {
    "nets": ({"net": 3}, TypeError, "net must be {kind}, got 3"),
    "train_data None": (
        {"train_data": None},
        TypeError,
        "train_data must be an iterable of (x, y) batches that can be gone through "
        "once an epoch, got NoneType",
    ),
    "generator": (
        {"train_data": (b for b in batches())},
        TypeError,
        "train_data must be an iterable of (x, y) batches that can be gone through "
        "once an epoch, got generator",
    ),
    "generator of tests": (
        {"test_data": iter(batches())},
        TypeError,
        "test_data must be an iterable of (x, y) batches that can be gone through "
        "once an epoch, got list_iterator",
    ),
    "no batches": ({"train_data": []}, ValueError, "train_data gave no batches"),
    "no pairs": (
        {"train_data": [np.ones((4, 2))]},
        TypeError,
        "train_data must give pairs (x, y), got ndarray",
    ),
    "empty batch": (
        {"train_data": [(np.ones((0, 2)), np.zeros(0, "int64"))]},
        ValueError,
        "train_data must give x (N, …) and y (N,) with the same N of at least 1, got "
        "shapes (0, 2) and (0,)",
    ),
    "labels short": (
        {"train_data": [(np.ones((4, 2)), np.zeros(3, "int64"))]},
        ValueError,
        "train_data must give x (N, …) and y (N,) with the same N of at least 1, got "
        "shapes (4, 2) and (3,)",
    ),
    "labels not flat": (
        {"train_data": [(np.ones((4, 2)), np.zeros((4, 1), "int64"))]},
        ValueError,
        "train_data must give x (N, …) and y (N,) with the same N of at least 1, got "
        "shapes (4, 2) and (4, 1)",
    ),
    "labels broken": (
        {"train_data": [(np.ones((4, 2)), np.full(4, 0.5))]},
        TypeError,
        "train_data must give whole numbers as y, got float64",
    ),
    "label too large": (
        {"train_data": [(np.ones((2, 2)), np.array([0, 2]))]},
        ValueError,
        "labels must be from 0 to 1 for 2 classes, got 0 to 2",
    ),
    "label negative": (
        {"train_data": [(np.ones((2, 2)), np.array([0, -1]))]},
        ValueError,
        "labels must be from 0 to 1 for 2 classes, got -1 to 0",
    ),
    "epochs zero": ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
    "epochs float": ({"epochs": 1.5}, TypeError, "epochs must be an integer, got 1.5"),
    "epochs bool": ({"epochs": True}, TypeError, "epochs must be an integer, got True"),
    "rate": (
        {"learning_rate": -0.5},
        ValueError,
        "learning_rate must be at least 0, got -0.5",
    ),
    "rate nan": (
        {"learning_rate": float("nan")},
        ValueError,
        "learning_rate must be finite, got nan",
    ),
    "rate text": (
        {"learning_rate": "fast"},
        TypeError,
        "learning_rate must be a number, got 'fast'",
    ),
    "optimizer": (
        {"optimizer": "rmsprop"},
        ValueError,
        "optimizer must be one of 'sgd', 'adam', got 'rmsprop'",
    ),
    "momentum": (
        {"momentum": 1.5},
        ValueError,
        "momentum must be at least 0 and at most 1, got 1.5",
    ),
    "decay": (
        {"weight_decay": -1},
        ValueError,
        "weight_decay must be at least 0, got -1",
    ),
    "schedule": (
        {"schedule": "steps"},
        ValueError,
        "schedule must be one of 'constant', 'cosine', got 'steps'",
    ),
    "seed": ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
    "device": (
        {"device": "tpu"},
        ValueError,
        "device must be a device or a name such as 'cpu', 'cuda:0' or 'mps', got 'tpu'",
    ),
    "device type": (
        {"device": 1.5},
        TypeError,
        "device must be a device or a name such as 'cpu', 'cuda:0' or 'mps', got 1.5",
    ),
}


@pytest.mark.parametrize("case", list(BAD))
def test_fit_refuses(half: Any, case: str) -> None:
    changes, error, text = BAD[case]
    arguments = {"net": half.net(), "train_data": batches(), "epochs": 1} | changes
    with pytest.raises(error) as caught:
        half.fit(progress=False, **arguments)
    assert type(caught.value) is error
    assert str(caught.value) == "fit: " + text.format(kind=half.kind)
    mx.nd.waitall()  # and nothing comes later


@pytest.mark.parametrize("case", ["nets", "no batches", "no pairs", "label too large"])
def test_accuracy_refuses(half: Any, case: str) -> None:
    changes, error, text = BAD[case]
    net = changes.get("net", half.net())
    with pytest.raises(error) as caught:
        half.accuracy(net, changes.get("train_data", []))
    expected = text.format(kind=half.kind).replace("train_data", "data")
    assert str(caught.value) == f"accuracy: {expected}"


def test_net_without_parameters(half: Any) -> None:
    for function in (half.fit, half.accuracy):
        text = f"^{function.__name__}: net has no parameters$"
        with pytest.raises(ValueError, match=text):
            function(half.bare(), batches())


def test_gpu_that_is_not_there(half: Any, capfd: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():  # pragma: needs-gpu
        pytest.skip("this machine has a GPU")
    for device in ("cuda:7", "cuda"):
        begin = f"^fit: device '{device}' cannot be used: "
        with pytest.raises(ValueError, match=begin) as caught:
            half.fit(half.net(), batches(), epochs=1, device=device)
        text = str(caught.value)
        assert "Traceback" not in text
        assert "\n" not in text
    mx.nd.waitall()
    assert capfd.readouterr().err == ""  # MXNet logs a line with the time of day


def test_mps_is_unknown_to_mxnet() -> None:
    with pytest.raises(ValueError, match="'mps' cannot be used: MXNet has no mps dev"):
        gluon_training.fit(gluon_net(), batches(), device="mps")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_loss_that_is_not_a_number(half: Any, value: float) -> None:
    bad = (np.full((2, 2), value, "float32"), np.array([0, 1]))
    with pytest.raises(FloatingPointError) as caught:
        half.fit(half.net(), [*batches(), bad], epochs=3, progress=False)
    assert str(caught.value) == (
        "fit: the loss is nan in batch 2 of epoch 0 (counted from 0); "
        "learning_rate=0.125 may be too large"
    )
    mx.nd.waitall()


def test_numpy_numbers_are_taken(half: Any) -> None:
    history = half.fit(
        half.net(),
        batches(),
        epochs=np.int64(1),
        learning_rate=np.float32(0.125),
        momentum=np.float64(0),
        seed=np.uint8(3),
        progress=False,
    )
    assert history.epochs == 1


# -- frozen nets -----------------------------------------------------------------------


def frozen_nets(*trained: int) -> tuple[Any, Any]:
    """Dense, stochastic depth around a convolution, dense: only some are trained."""
    gluon = mx.gluon.nn.HybridSequential()
    gluon.add(
        mx.gluon.nn.Dense(2, in_units=2, flatten=False),
        gluon_depth.StochasticDepth(gluon_branch(), 0.9),
        mx.gluon.nn.Dense(2, in_units=2),
    )
    gluon.initialize()
    pytorch = torch.nn.Sequential(
        torch.nn.Linear(2, 2),
        pytorch_depth.StochasticDepth(torch.nn.Conv1d(1, 1, 1), 0.9),
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2)),
    )
    for i in range(3):
        if i not in trained:
            gluon[i].collect_params().setattr("grad_req", "null")
            pytorch[i].requires_grad_(False)
    return (gluon_training, gluon), (pytorch_training, pytorch)


class TestFrozen:
    data = tuple((x[:, None], y) for x, y in batches())

    def test_a_net_that_is_frozen_as_a_whole_is_refused(self) -> None:
        for training, net in frozen_nets():
            with pytest.raises(ValueError, match="no parameter that") as caught:
                training.fit(net, self.data, progress=False)
            text = "fit: net has no parameter that gets a gradient"
            assert str(caught.value) == text

    @pytest.mark.parametrize("trained", [0, 1, 2])
    def test_one_layer_is_trained(self, trained: int) -> None:
        """The second is left out in most batches, which leaves nothing to train."""
        for training, net in frozen_nets(trained):
            history = training.fit(net, self.data, epochs=3, progress=False)
            assert history.finished

    def test_gradients_that_are_added_up_start_anew(self) -> None:
        losses = []
        for grad_req in ("write", "add"):
            (_, net), _ = frozen_nets(0, 2)
            for i, p in enumerate(net.collect_params().values()):
                p.set_data(mx.nd.array(np.random.default_rng(i).normal(size=p.shape)))
                if p.grad_req != "null":
                    p.grad_req = grad_req
            history = gluon_training.fit(net, self.data, epochs=3, progress=False)
            losses.append(history.train_loss)
        assert losses[0] == losses[1]

    def test_inside_autocast_weights_move(self) -> None:
        """Its copies of the weights must not outlive a step."""
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            history = pytorch_training.fit(net, self.data, epochs=3, progress=False)
        assert len(set(history.train_loss)) == 3
