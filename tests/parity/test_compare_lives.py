"""`compare` outlives what a framework cannot do, and says where two nets part."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from halves import noise
from nets import failing, gnn, nn, pair, sequence
from own_layers import derived, override, own_block, own_module

from d2lutils import parity
from d2lutils.compat import mx
from d2lutils.gluon.inputs import operators

functional = nn.functional
IMAGES = noise(2, 2, 6, 6)

RIGHT = ["rounding only"] * 3
CURE = "MXNET_MKLDNN_ENABLED=0, set before MXNet is imported, cures it"


def concatenated(a: int, b: int) -> list[str]:
    """What is said in float32 of two convolutions whose outputs are concatenated."""

    def forward(net: Any, x: Any) -> Any:
        return net.c(operators(x).concat(net.a(x), net.b(x), dim=1))

    convs = [gnn.Conv2D(n, 3, padding=1, in_channels=2) for n in (a, b)]
    last = gnn.Conv2D(16, 3, in_channels=a + b)
    one = own_block(forward, a=convs[0], b=convs[1], c=last)
    two = own_module(
        lambda net, x: net.c(torch.cat([net.a(x), net.b(x)], 1)),
        a=nn.Conv2d(2, a, 3, padding=1),
        b=nn.Conv2d(2, b, 3, padding=1),
        c=nn.Conv2d(a + b, 16, 3),
    )
    report = parity.compare(*pair(one, two), IMAGES, steps=0)
    assert report.ok, report
    assert one.a.weight.grad().asnumpy().sum() == 0
    return [noise.verdict for noise in report.float32]


@pytest.mark.parametrize("widths", [(4, 12), (20, 12), (16, 16)])
def test_concatenation(widths: tuple[int, int]) -> None:
    """The first kills a process, the second raises, on processors with AVX-512; the
    report stands on each, and says the cure."""
    verdicts = concatenated(*widths)
    if verdicts == RIGHT:
        return
    assert widths != (16, 16)
    first, second = verdicts
    assert first == "rounding only"
    assert second.startswith(("Gluon's process died of SIG", "Gluon fails: "))
    assert second.endswith(f"; {CURE}")


@pytest.mark.needs_mxnet
def test_the_cure() -> None:
    here = Path(__file__).parent
    code = "from test_compare_lives import RIGHT, concatenated as verdicts\n"
    code += "assert verdicts(4, 12) == verdicts(20, 12) == RIGHT"
    paths = [str(here), str(here.parent), str(here.parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=100,
        env={
            **os.environ,
            "MXNET_MKLDNN_ENABLED": "0",
            "PYTHONPATH": os.pathsep.join(paths),
        },
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on Windows")
def test_a_child_that_dies_or_hangs() -> None:
    """What it had finished is kept."""

    def results(end: Any) -> Any:
        yield "output, evaluation", {"output 0": np.ones(2)}
        end()

    def hang() -> None:
        while True:
            pass

    for end, words in (
        (os.abort, "Gluon's process died of SIGABRT in oneDNN"),
        (hang, "Gluon's process did not end in oneDNN"),
    ):
        first, second = parity._survived(results(end), 0.5)
        assert np.array_equal(first[1]["output 0"], np.ones(2))
        assert second == ("output, training", words)


def gluon_around(function: Any) -> Any:
    """A function of a dense layer's output."""
    dense = gnn.Dense(2, in_units=3)
    return own_block(lambda net, x: function(net.dense(x)), dense=dense)


def torch_around(function: Any) -> Any:
    return own_module(lambda net, x: function(net.dense(x)), dense=nn.Linear(3, 2))


def same(x: Any) -> Any:
    return x


def around(gluon: Any = same, pytorch: Any = same, **options: Any) -> parity.Report:
    nets = pair(gluon_around(gluon), torch_around(pytorch))
    return parity.compare(*nets, noise(5, 3), **options)


class TestFailures:
    def test_cannot_be_hybridized(self) -> None:
        report = around(lambda y: y * y.shape[0], lambda y: y * y.shape[0])
        ((quantity, mode),) = failing(report)
        assert (quantity, mode) == ("output, evaluation", "hybridized")
        assert failing(report)[quantity, mode].verdict == (
            "cannot be hybridized: 'Symbol' object has no attribute 'shape'"
        )
        assert sum(row.mode == "imperative" for row in report.rows) == 7
        assert [n.verdict for n in report.float32] == ["rounding only"] * 3
        assert "the same imperatively, NOT compared hybridized" in repr(report)
        assert not report.ok

    def test_one_example_in_training(self) -> None:
        one = sequence(gnn.Dense(4, in_units=3), gnn.BatchNorm(in_channels=4))
        two = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        report = parity.compare(*pair(one, two), noise(1, 3))
        text = "PyTorch fails: Expected more than 1 value per channel when training"
        for mode in ("imperative", "hybridized"):
            row = failing(report)["output, training", mode]
            assert row.verdict.startswith(text)
        assert report.float32[0].verdict == "rounding only"
        assert report.float32[1].verdict.startswith(text)
        assert "MXNET" not in report.float32[1].verdict
        assert "\nNOT decided: " in repr(report)
        assert text in report._repr_html_()

    def test_no_training_of_a_projection(self) -> None:
        one = mx.gluon.rnn.LSTM(5, projection_size=2, input_size=3)
        nets = pair(one, nn.LSTM(3, 5, proj_size=2))
        report = parity.compare(*nets, noise(7, 2, 3))
        assert failing(report)["output, training", "imperative"].failed.startswith(
            "Gluon fails: No training support for LSTM with projection"
        )
        assert "MXNET" not in repr(report)

    @pytest.mark.parametrize("which", ["gluon", "pytorch"])
    def test_only_in_float64(self, which: str) -> None:
        if which == "gluon":
            make = {"gluon": lambda y: mx.nd.dot(y, mx.nd.ones((2, 2)))}
            make["pytorch"] = lambda y: y @ torch.ones(2, 2).to(y)
        else:
            make = {"gluon": same, "pytorch": lambda y: y @ torch.eye(2)}
        text = f"^compare: {which[:5].replace('pytor', 'torch')}_net runs in float32, "
        with pytest.raises(ValueError, match=f"{text}but not in float64") as caught:
            around(**make)
        assert "fails on inputs" not in str(caught.value)

    def test_nothing_to_compare(self) -> None:
        with pytest.raises(ValueError, match=r"^compare: gluon_net returns no array"):
            around(lambda y: None, lambda y: None)


class TestOutputs:
    def test_of_any_structure(self) -> None:
        def many(y: Any) -> Any:
            return {"b": [2 * y, None, (y, y.argmax(1))], "a": y}

        block = derived(gnn.Block, forward=lambda net, x: many(net.dense(x)))
        block.dense = gnn.Dense(2, in_units=3)
        report = parity.compare(*pair(block, torch_around(many)), noise(5, 3))
        assert report.ok, report

    def test_without_gradients_in_both(self) -> None:
        def one(y: Any) -> Any:
            return y, mx.nd.array([1.0, 2.0], dtype=y.dtype)

        report = around(one, lambda y: (y, torch.tensor([1.0, 2.0]).to(y)), steps=1)
        assert not {mode for _, mode in failing(report)} & {"imperative"}

    def test_not_a_number_in_both(self) -> None:
        report = around(lambda y: y * np.nan, lambda y: y * np.nan)
        row = failing(report)["output, evaluation", "imperative"]
        assert row.verdict == "not a number, most at output 0"
        assert "first parts after dense, in evaluation" in repr(report)


class TestRandom:
    """A net that does not agree with itself is not called different."""

    def test_in_evaluation(self) -> None:
        torch.manual_seed(0)
        report = around(pytorch=functional.dropout)
        wrong = failing(report)
        assert len(wrong) == 12
        for row in wrong.values():
            assert row.verdict.startswith("two runs of PyTorch's net differ by ")
        assert "differ" in report.float32[0].verdict
        assert "\nNOT decided: " in repr(report)
        assert not report.ok

    def test_in_training_only(self) -> None:
        report = around(lambda y: mx.nd.Dropout(y, p=0.5), steps=0)
        wrong = {q: row for (q, m), row in failing(report).items() if m == "imperative"}
        assert set(wrong) == {
            *("output, training", "input gradients", "parameter gradients")
        }
        for row in wrong.values():
            assert row.verdict.startswith("two runs of Gluon's net differ by ")
        assert report.float32[0].verdict == "rounding only"


def deep(**options: Any) -> tuple[Any, Any]:
    """The pair, with its layers under different paths."""
    chunk = sequence(
        *(gnn.Conv2D(4, 3, padding=1, in_channels=2), gnn.BatchNorm(in_channels=4)),
        gnn.Activation("relu"),
    )
    one = sequence(chunk, gnn.Dense(3, in_units=144))
    two = nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4, **options), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(144, 3)),
    )
    return pair(one, two)


def wrong(at: int, forward: Any) -> tuple[Any, Any]:
    one, two = deep()
    override(two[at], forward)
    return one, two


def between(*layers: Any) -> tuple[Any, Any]:
    """The pair, with PyTorch's net as the one None among the layers."""
    one, two = deep()
    flat = [x for layer in layers for x in (two if layer is None else [layer])]
    return one, nn.Sequential(*flat)


def drifts(layer: Any, x: Any) -> Any:
    """Right in evaluation, a little off in training."""
    return nn.BatchNorm2d.forward(layer, x) * (1 + 2e-8 * layer.training)


class Leaky(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return gradient * (1 + 1e-7)


PARTS = {
    "eps": (
        lambda: deep(eps=1.001e-5),
        r"at 1 \(Gluon's 0.1\): by \de-9, in evaluation",
    ),
    "activation": (
        lambda: wrong(2, lambda _, x: functional.leaky_relu(x, 1e-8)),
        r"between 1 \(Gluon's 0.1\) and 4 \(Gluon's 1\): by \de-[89], in evaluation",
    ),
    "input": (
        lambda: between(nn.Hardtanh(), None),
        r"before 1 \(Gluon's 0.0\): by 2, in evaluation",
    ),
    "output": (
        lambda: between(None, nn.ReLU()),
        r"after 4 \(Gluon's 1\), in evaluation",
    ),
    "training": (
        lambda: wrong(1, drifts),
        r"at 1 \(Gluon's 0.1\): by 2e-8, in training",
    ),
    "backward": (
        lambda: wrong(2, lambda _, x: Leaky.apply(x.relu())),
        "in the backward pass at 1.bias",
    ),
}


@pytest.mark.parametrize("name", list(PARTS))
def test_where_they_part(name: str) -> None:
    make, text = PARTS[name]
    report = parity.compare(*make(), IMAGES, steps=0)
    assert not report.ok
    (note,) = report.notes
    assert re.fullmatch(f"first parts {text}; two runs of each net agree", note), note
    assert repr(report).endswith(note)


def test_nothing_is_said_where_nothing_differs() -> None:
    report = parity.compare(*deep(), IMAGES)
    assert report.ok
    assert report.notes == []


class TestSwitchedOff:
    def test_is_said(self) -> None:
        one = sequence(gnn.Dense(4, in_units=3), gnn.Dropout(0.5), gnn.Dropout(0.0))
        two = nn.Sequential(nn.Linear(3, 4), nn.AlphaDropout(0.5), nn.Dropout(0.0))
        report = parity.compare(*pair(one, two), noise(5, 3))
        assert report.ok
        text = "switched off meanwhile: 1 Dropout in Gluon, 1 AlphaDropout in PyTorch"
        assert report.notes == [text]
        assert repr(report).endswith(f"\n{text}")
        assert text in report._repr_html_()
        assert (one[1]._rate, two[1].p) == (0.5, 0.5)

    def test_between_recurrent_layers(self) -> None:
        one, two = pair(
            mx.gluon.rnn.GRU(4, 2, input_size=3, dropout=0.5),
            nn.GRU(3, 4, 2, dropout=0.25),
        )
        report = parity.compare(one, two, noise(5, 2, 3), steps=1)
        assert report.ok, report
        assert report.notes == [
            "switched off meanwhile: 1 GRU's dropout in Gluon, 1 GRU's dropout in "
            "PyTorch"
        ]
        assert (one._dropout, two.dropout) == (0.5, 0.25)

    def test_branches_of_anybody(self) -> None:
        def forward(net: Any, x: Any) -> Any:
            return functional.dropout(x, net.drop_prob, net.training)

        drop = own_module(forward, "DropPath", drop_prob=0.5)
        one = sequence(gnn.Dense(4, in_units=3))
        two = nn.Sequential(nn.Linear(3, 4), drop)
        report = parity.compare(*pair(one, two), noise(5, 3), steps=1)
        assert report.ok, report
        assert report.notes == ["switched off meanwhile: 1 DropPath in PyTorch"]


class TestCastNets:
    """Replicas and nets in another precision."""

    def test_replicas(self) -> None:
        one, two = pair(gnn.Dense(2, in_units=3), nn.Linear(3, 2))
        report = parity.compare(one, nn.DataParallel(two), noise(5, 3), steps=1)
        assert report.ok, report
        many = gnn.Dense(2, in_units=3)
        many.initialize(ctx=[mx.cpu(0), mx.cpu(1)])
        parity.copy_parameters(two, many)
        for values in many.weight.list_data():
            assert np.array_equal(values.asnumpy(), two.weight.detach().numpy())
        assert parity.compare(many, two, noise(5, 3), steps=1).ok

    def test_half_precision(self) -> None:
        one = sequence(gnn.Dense(4, in_units=3), gnn.BatchNorm(in_channels=4))
        two = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        pair(one, two)
        one.cast("float16")
        two.half()
        parity.copy_parameters(one, two)
        assert two[0].weight.dtype == torch.float16
        parity.copy_parameters(two, one)
        report = parity.compare(one, two, noise(5, 3), steps=1)
        assert report.ok, report
        kinds = [np.dtype(p.dtype).name for p in (one[0].weight, one[1].gamma)]
        assert kinds == ["float16", "float32"]
