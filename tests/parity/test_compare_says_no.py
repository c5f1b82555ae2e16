"""`compare` finds planted differences, names the place, and leaves both nets alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from halves import mirrored, noise
from nets import failing, gluon_net, gnn, nn, pair, sequence, torch_net
from own_layers import override, own_block, own_module
from snapshots import Snapshot

from d2lutils import parity
from d2lutils.compat import mx

functional = nn.functional


IMAGES = noise(5, 2, 6, 6)


def nets(**options: Any) -> tuple[Any, Any]:
    return pair(gluon_net(), torch_net(**options))


def wrong(at: int, forward: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    """The pair, with another forward pass of one layer of PyTorch's."""
    one, two = nets()
    override(two[at], forward)
    return one, two


def frozen_statistics(layer: Any, x: Any) -> Any:
    return functional.batch_norm(
        *(x, layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )


def not_a_number(layer: Any, x: Any) -> Any:
    y = functional.linear(x, layer.weight, layer.bias)
    return torch.cat([y[:, :1] * torch.nan, y[:, 1:]], dim=1)


EVALUATION, TRAINING = "output, evaluation", "output, training"
INPUTS, PARAMETERS = "input gradients", "parameter gradients"
STATISTICS = "running statistics"

# Of the first quantity that differs: where most, and the rows that stay right.
FIRST: dict[str, tuple[str, set[str]]] = {
    EVALUATION: ("output 0", {STATISTICS}),
    TRAINING: ("output 0", {EVALUATION}),
    INPUTS: ("input 0", {EVALUATION, TRAINING, STATISTICS}),
    PARAMETERS: ("3.weight", {EVALUATION, TRAINING, INPUTS, STATISTICS}),
    STATISTICS: ("1.running_", {EVALUATION, TRAINING, INPUTS, PARAMETERS}),
}
PLANTED: dict[str, tuple[Callable[[], Any], str]] = {
    "stride": (lambda: nets(stride=2), EVALUATION),
    "momentum": (lambda: nets(momentum=0.2), STATISTICS),
    "only in training": (lambda: wrong(1, frozen_statistics), TRAINING),
    "gradient of a weight": (
        lambda: wrong(
            3,
            lambda layer, x: functional.conv2d(x, layer.weight.detach(), padding=1),
        ),
        PARAMETERS,
    ),
    "gradient of the input": (
        lambda: wrong(
            0, lambda layer, x: functional.conv2d(x.detach(), layer.weight, padding=1)
        ),
        INPUTS,
    ),
    "not a number": (lambda: wrong(6, not_a_number), EVALUATION),
}


@pytest.mark.parametrize("name", list(PLANTED))
def test_planted(name: str) -> None:
    make, first = PLANTED[name]
    where, right = FIRST[first]
    report = parity.compare(*make(), IMAGES)
    assert not report.ok
    for mode in ("imperative", "hybridized"):
        quantities = [
            row.quantity for row in report.rows if row.mode == mode and not row.ok
        ]
        assert quantities[0] == first
        assert not right & set(quantities)
        row = failing(report)[first, mode]
        assert row.worst.startswith(where)
        bad = np.isnan(row.difference)
        size = "not a number" if bad else r"differs by (\de-\d|0\.0*\d|\d0*)"
        assert re.fullmatch(f"{size}, most at {re.escape(row.worst)}", row.verdict)
    assert "\nNOT the same: " in repr(report)
    assert "two runs of each net agree" in repr(report).splitlines()[-1]
    assert len(report.float32) == 3
    assert "NOT the same" in report._repr_html_()


class TestParameters:
    """What differs before anything runs is said first, and nothing else is."""

    @staticmethod
    def only_row(pair: tuple[Any, Any]) -> parity.Row:
        report = parity.compare(*pair, IMAGES)
        assert not report.ok
        (row,) = report.rows
        assert row.quantity == "parameters before"
        bad = np.isnan(row.difference)
        words = "not a number" if bad else "differs by"
        assert row.verdict.startswith(words)
        assert row.verdict.endswith(f", most at {row.worst}")
        assert repr(report).count(words) == 1
        return row

    def test_one_number(self) -> None:
        one, two = nets()
        two[1].running_var[0] *= 1 + 1e-6
        assert self.only_row((one, two)).worst == "1.running_var"

    def test_lower_precision(self) -> None:
        one, two = nets()
        two[3].half()
        assert self.only_row((one, two)).worst == "3.weight"
        assert two[3].weight.dtype == torch.float16, "compare has changed the dtype"
        assert two[0].weight.dtype == torch.float32

    def test_higher_precision(self) -> None:
        one, two = nets()
        two.double()[6].weight.data[0, 0] += 1e-12
        assert self.only_row((one, two)).worst == "6.weight"
        assert two[6].weight.dtype == torch.float64

    def test_not_finite_in_both(self) -> None:
        """Equal, and still no proof of anything; worse than any other difference."""
        one, two = nets()
        two[3].weight.data[0] = torch.nan
        parity.copy_parameters(two, one)
        for other in (two[0], two[6]):
            other.weight.data[0] += 1
        assert self.only_row((one, two)).worst == "3.weight"


def test_only_hybridized() -> None:
    """`is_training()` is frozen by the trace; imperatively all is well."""

    def frozen_dropout(net: Any, x: Any) -> Any:
        return 2 * x if mx.autograd.is_training() else x * 1

    doubles = own_module(lambda net, x: 2 * x if net.training else x * 1)
    frozen = own_block(frozen_dropout)
    one = sequence(gnn.Dense(4, in_units=3), frozen, gnn.Dense(2, in_units=4))
    two = nn.Sequential(nn.Linear(3, 4), doubles, nn.Linear(4, 2))
    report = parity.compare(*pair(one, two), noise(5, 3))
    broken = failing(report)
    assert {mode for _, mode in broken} == {"hybridized"}
    assert broken[TRAINING, "hybridized"].worst == "output 0"
    line = next(s for s in repr(report).splitlines() if s.startswith(TRAINING))
    assert "within 1e-10" in line
    assert "differs by 0.5, most at output 0" in line
    assert repr(report).endswith("they part only once hybridized")


def small() -> tuple[Any, Any]:
    return pair(sequence(gnn.Dense(2, in_units=3)), nn.Sequential(nn.Linear(3, 2)))


class TestOnlyAfterSteps:
    def test_a_multiplier_of_one_parameter(self) -> None:
        one, two = small()
        one[0].bias.lr_mult = 0.0
        report = parity.compare(one, two, noise(5, 3))
        for mode in ("imperative", "hybridized"):
            row = failing(report)["parameters after 5 steps", mode]
            assert re.fullmatch("differs by .*, most at 0.bias", row.verdict)
        assert {q for q, _ in failing(report)} <= {
            "parameters after 5 steps",
            "evaluation after 5 steps",
        }
        assert parity.compare(one, two, noise(5, 3), steps=0).ok

    @pytest.mark.filterwarnings("ignore:Parameter .* is not used by any computation")
    def test_an_unused_layer(self) -> None:
        """PyTorch skips what has no gradient, MXNet lets it decay."""

        blocks = {"used": gnn.Dense(2, in_units=3), "idle": gnn.Dense(2, in_units=3)}
        one = own_block(lambda net, x: net.used(x), **blocks)
        layers = {"used": nn.Linear(3, 2), "idle": nn.Linear(3, 2)}
        two = own_module(lambda net, x: net.used(x), **layers)
        report = parity.compare(*pair(one, two), noise(5, 3))
        assert {q for q, _ in failing(report)} == {"parameters after 5 steps"}
        row = failing(report)["parameters after 5 steps", "imperative"]
        assert row.worst.startswith("idle.")

    def test_a_parameter_that_is_not_trained(self) -> None:
        one, two = small()
        two[0].weight.requires_grad_(False)
        report = parity.compare(one, two, noise(5, 3))
        assert failing(report)[PARAMETERS, "imperative"].worst == "0.weight"
        one[0].weight.grad_req = "null"
        assert parity.compare(one, two, noise(5, 3)).ok


class TestOutputs:
    def test_of_other_shape(self) -> None:
        one, two = small()
        two.append(nn.Unflatten(1, (1, 2)))
        row = failing(parity.compare(one, two, noise(5, 3)))[EVALUATION, "imperative"]
        assert row.worst == "output 0: shapes (5, 2) and (5, 1, 2)"
        assert row.difference == np.inf

    def test_of_other_number(self) -> None:
        one, two = small()
        two.append(own_module(lambda net, x: (x, x)))
        before = two.training
        with pytest.raises(
            ValueError, match=r"^compare: 1 outputs in Gluon, 2 in PyTo"
        ):
            parity.compare(one, two, noise(5, 3))
        assert two.training is before
        assert two[0].weight.dtype == torch.float32

    def test_several_are_all_looked_at(self) -> None:
        def nets(factor: float) -> tuple[Any, Any]:
            one = own_block(lambda net, x, z: (net.a(x), x * z), a=gnn.Dense(2))
            layer = nn.Linear(3, 2)
            two = own_module(lambda net, x, z: (net.a(x), x * z * factor), a=layer)
            return pair(one, two)

        inputs = noise(5, 3), noise(5, 3, seed=2)
        assert parity.compare(*nets(1.0), *inputs).ok
        report = parity.compare(*nets(1.5), *inputs)
        broken = failing(report)
        assert broken[EVALUATION, "imperative"].worst == "output 1"
        assert broken[INPUTS, "imperative"].worst.startswith("input ")
        assert (PARAMETERS, "imperative") not in broken

    def test_without_gradients(self) -> None:
        def forward(net: Any, x: Any) -> Any:
            with torch.no_grad():
                return net.linear(x)

        constant = own_module(forward, linear=nn.Linear(3, 2))
        one, two = pair(gnn.Dense(2, in_units=3), constant)
        broken = failing(parity.compare(one, two, noise(5, 3)))
        assert (EVALUATION, "imperative") not in broken
        assert broken[INPUTS, "imperative"].worst == "input 0"
        assert (PARAMETERS, "imperative") in broken


class TestKindsOfNets:
    def test_integers_as_input(self) -> None:
        one, two = pair(gnn.Embedding(7, 3), nn.Embedding(7, 3))
        numbers = np.array([[1, 2], [6, 0]], "int64")
        report = parity.compare(one, two, numbers)
        assert report.ok, report
        assert INPUTS not in {row.quantity for row in report.rows}

    def test_layers_used_twice(self) -> None:
        a, b = gnn.Dense(3, in_units=3), nn.Linear(3, 3)
        one = sequence(a, gnn.Activation("relu"), a)
        two = nn.Sequential(b, nn.ReLU(), b)
        report = parity.compare(*pair(one, two), noise(5, 3))
        assert report.ok, report
        assert report.layers == 1

    def test_gradients_that_add_up(self) -> None:
        one, two = nets()
        one.collect_params().setattr("grad_req", "add")
        assert parity.compare(one, two, IMAGES).ok

    def test_shapes_that_wait(self) -> None:
        one = sequence(gnn.Conv2D(4, 3), gnn.Dense(2))
        one.initialize()
        two = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))
        two.train()
        report = parity.compare(one, two, IMAGES)
        assert [row.quantity for row in report.rows] == ["parameters before"]
        assert two.training
        parity.copy_parameters(one, two)
        assert parity.compare(one, two, IMAGES).ok

    @pytest.mark.parametrize("kind", [mx.nd.array, torch.as_tensor, np.asarray])
    def test_inputs_of_any_kind(self, kind: Any) -> None:
        one, two = pair(gnn.Dense(2, in_units=3), nn.Linear(3, 2))
        assert parity.compare(one, two, kind(noise(5, 3))).ok


def test_dropout_is_back_after_a_failure_while_hybridized() -> None:
    """The graph that was traced without dropout must not stay behind."""
    one = sequence(gnn.Dense(8, in_units=3), gnn.Dropout(0.5), gnn.Dense(2, in_units=8))
    two = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.25), nn.Linear(8, 2))
    pair(one, two)

    def forward(net: Any, x: Any) -> Any:
        if one._active:
            raise RuntimeError("in the middle")
        return x

    two.append(own_module(forward))
    report = parity.compare(one, two, noise(5, 3))
    assert failing(report)[EVALUATION, "hybridized"].failed == (
        "PyTorch fails: in the middle"
    )
    assert {mode for _, mode in failing(report)} == {"hybridized"}
    assert not one._active
    assert (one[1]._rate, two[1].p) == (0.5, 0.25)
    one._active = True  # as hybridize() would, but without clearing the graph
    x = mx.nd.array(noise(50, 3))
    with mx.autograd.train_mode():
        assert not np.array_equal(one(x).asnumpy(), one(x).asnumpy())


class TestLeftAsTheyWere:
    @staticmethod
    def trained(dtype: str) -> tuple[Any, Any]:
        """A pair in the middle of its life: gradients, counters, mixed modes."""
        one, two = nets()
        one.cast(dtype)
        two.to(getattr(torch, dtype))
        x = IMAGES.astype(dtype)
        with mx.autograd.record():
            one(mx.nd.array(x, dtype=dtype)).sum().backward()
        two(torch.as_tensor(x)).sum().backward()
        mx.nd.waitall()
        parity.copy_parameters(one, two)
        two[6].bias.grad = None
        two[1].eval()
        return one, two

    @pytest.mark.parametrize(
        ("dtype", "hybrid"), [("float32", True), ("float64", False)]
    )
    def test_after_a_comparison(self, dtype: str, hybrid: bool) -> None:
        one, two = self.trained(dtype)
        if hybrid:
            one.hybridize(static_alloc=True, static_shape=True)
        assert two[1].num_batches_tracked == 1
        before = Snapshot(one, two)
        parity.compare(one, two, IMAGES)
        before.check()
        x = mx.nd.array(IMAGES, dtype=dtype)
        one(x)
        assert bool(one._cached_graph) == hybrid
        assert two[1].num_batches_tracked == 1

    def test_after_a_failure(self) -> None:
        def forward(net: Any, x: Any) -> Any:
            if net.training:
                raise RuntimeError("in the middle")
            return x

        one, two = self.trained("float32")
        two.append(own_module(forward))
        before = Snapshot(one, two)
        report = parity.compare(one, two, IMAGES)
        assert report.rows[1].ok
        assert report.rows[2].verdict == "PyTorch fails: in the middle"
        before.check()

    def test_mixed_dtypes(self) -> None:
        one, two = nets()
        two[6].double()
        two.register_buffer("extra", torch.ones(2, dtype=torch.float64))
        one[6].cast("float64")
        before = Snapshot(one, two)
        parity.compare(one, two, IMAGES)
        before.check()

    def test_a_trainer_of_the_reader_goes_on(self) -> None:
        """It holds the parameters that it was given, and they still move."""
        one, two = nets()
        trainer = mx.gluon.Trainer(one.collect_params(), "sgd", {"learning_rate": 0.5})
        parity.compare(one, two, IMAGES)
        with mx.autograd.record():
            loss = one(mx.nd.array(IMAGES)).sum()
        loss.backward()
        trainer.step(1)
        # The gradient of a sum over 5 examples is 5.
        moved = two[6].bias.detach().numpy() - 2.5
        np.testing.assert_allclose(one[6].bias.data().asnumpy(), moved, rtol=1e-5)


@pytest.fixture(scope="module")
def report() -> parity.Report:
    options = {"stride": 2, "shortcut": "zeros"}
    nets = mirrored(lambda h: h.residual.ResidualChunks(2, 4, 3, **options))
    return parity.compare(*nets, noise(3, 2, 9))


class TestReport:
    def test_prints_no_raw_numbers(self, report: parity.Report) -> None:
        text = repr(report)
        assert "e-1" in text
        assert set(re.findall(r"\de-\d+", text)) <= {*("1e-10", "1e-6")}
        assert text.splitlines()[-1] == (
            "the same: 2 layers with parameters, 40 numbers, 5 training steps"
        )
        lines = text.splitlines()
        assert lines[0].startswith("Gluon against PyTorch")
        assert all(line == line.rstrip() for line in lines)

    def test_rows(self, report: parity.Report) -> None:
        assert report.ok
        assert {row.mode for row in report.rows} == {"imperative", "hybridized"}
        assert {row.bound for row in report.rows} == {0.0, 1e-10, 1e-6}
        assert len(report.rows) == 16
        assert [n.quantity for n in report.float32] == [
            *(EVALUATION, TRAINING, PARAMETERS)
        ]
        for n in report.float32:
            assert 0 < n.floor < 1e-5
            assert n.apart < 1e-5
        assert repr(report).count("rounding only") == 3
        assert "<table" in report._repr_html_()
        assert "Parity: the same" in report._repr_html_()

    def test_float32_sees_more_than_rounding(self) -> None:
        one, two = nets()
        two[1].eps = 1e-3
        report = parity.compare(one, two, IMAGES, steps=0)
        worst = report.float32[0]
        assert worst.apart > 100 * worst.floor
        assert worst.verdict == "more than 4x its rounding"

    def test_no_steps(self) -> None:
        assert not parity.Report().ok, "nothing compared is not the same"
        report = parity.compare(*small(), noise(5, 3), steps=0)
        assert report.ok
        assert not any("after" in row.quantity for row in report.rows)
        assert "0 training steps" in repr(report)


def test_arguments_refused() -> None:
    """One bad value each; the rules are those of `checks`."""
    for options in (
        *({"steps": -1}, {"learning_rate": 0.1}, {"momentum": 2}),
        *({"weight_decay": -1}, {"seed": -1}),
    ):
        (name,) = options
        with pytest.raises(ValueError, match=f"^compare: {name} must be"):
            parity.compare(*small(), noise(5, 3), **options)


REFUSED: dict[str, Callable[[], tuple[Any, ...]]] = {
    "input 0 must be an array or": lambda: (*small(), [1.0]),
    "give at least one input": small,
    r"input 0 of shape \(0, 3\) is empty": lambda: (*small(), noise(0, 3)),
    "gluon_net comes first, torch_net": lambda: (*reversed(small()), noise(5, 3)),
    "gluon_net must be a Gluon Block or": lambda: (3, small()[1], noise(5, 3)),
    "the nets have no parameters": lambda: (
        *(gnn.Activation("relu"), nn.ReLU(), noise(5, 3)),
    ),
    r"weight is not initialised: call net.initialize\(\) first": lambda: (
        *(gnn.Dense(2, in_units=3), small()[1], noise(5, 3)),
    ),
    r"gluon_net fails on inputs of shape \(5, 4\): .*hape": lambda: (
        *(*small(), noise(5, 4)),
    ),
    "torch_net fails on inputs of": lambda: (
        *pair(sequence(gnn.Dense(2, in_units=6)), nn.Sequential(nn.Linear(6, 2))),
        noise(5, 3, 2),  # Dense flattens
    ),
    "layer 0 differs: Gluon's 0 .Dense: weight .2, 3., bias": lambda: (
        *(small()[0], nn.Bilinear(3, 3, 2), noise(5, 3)),
    ),
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    kind = TypeError if "must be a" in text or "first, torch" in text else ValueError
    with pytest.raises(kind, match=f"^compare: {text}") as caught:
        parity.compare(*REFUSED[text]())
    assert "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)
    mx.nd.waitall()


def test_the_noise_floor_is_that_of_the_noisier_framework() -> None:
    one = {"output 0": np.ones(3)}
    column = {
        (name, kind): one
        for name in ("Gluon", "PyTorch")
        for kind in ("float64", "float32")
    }
    column["Gluon", "float32"] = {"output 0": np.ones(3) + 1e-6}
    found = parity._noise("output, evaluation", column)
    assert found is not None
    assert found.floor == pytest.approx(1e-6)
