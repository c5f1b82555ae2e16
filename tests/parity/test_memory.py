"""The ledger's bytes against measured ones, rule by rule and net by net."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from nets import gluon_net, gnn, halves, nn, sequence, torch_net
from own_layers import own_block
from snapshots import Snapshot

from d2lutils._adapters.layer_facts import ACTIVATIONS, LAYERS, layer_kind
from d2lutils.compat import mx
from d2lutils.explorers.memory_ledger import NETS, compute
from d2lutils.ledger import OPTIMIZERS, Ledger, ledger

HALVES = ("gluon", "pytorch")
MEMORY = dict(zip(HALVES, halves("memory"), strict=True))
NINS = dict(zip(HALVES, halves("nin"), strict=True))


def made(half: str, where: str, name: str, *arguments: Any, **options: Any) -> Any:
    """A net of this package, initialised."""
    block = importlib.import_module(f"d2lutils.{half}.{where}")
    net = getattr(block, name)(*arguments, **options)
    if half == "gluon":
        net.initialize()
    return net


def both(half: str, net: Any, shape: tuple[int, ...]) -> tuple[Ledger, int]:
    """By rule and measured."""
    return ledger(net, shape), MEMORY[half].kept_bytes(net, shape)


@pytest.fixture(params=HALVES)
def half(request: pytest.FixtureRequest) -> str:
    return request.param


# What can stand between two convolutions: how it is made.
Maker = Callable[[], Any]


def padding(half: str, name: str, channels: int, stride: int) -> Maker:
    shortcuts = importlib.import_module(f"d2lutils.{half}.shortcuts")
    return partial(getattr(shortcuts, name), 5, channels, stride, 2)


IN_PLACE = ("ELU", "Hardsigmoid", "Hardswish", "LeakyReLU", "ReLU", "ReLU6", "SELU")
TORCH: dict[str, Maker] = {
    "conv": partial(nn.Conv2d, 5, 5, 3, padding=1),
    "grouped conv": partial(nn.Conv2d, 5, 5, 3, groups=5, bias=False),
    "transposed conv": partial(nn.ConvTranspose2d, 5, 5, 3, 2),
    "average": partial(nn.AvgPool2d, 3, 2),
    "average, padded": partial(nn.AvgPool2d, 3, 2, 1, ceil_mode=True),
    "max": partial(nn.MaxPool2d, 3, 2),
    "max, padded": partial(nn.MaxPool2d, 3, 2, 1),
    "max, dilated": partial(nn.MaxPool2d, 3, 1, dilation=2),
    "mean": partial(nn.AdaptiveAvgPool2d, 1),
    "means": partial(nn.AdaptiveAvgPool2d, 3),
    "maximum": partial(nn.AdaptiveMaxPool2d, 1),
    "maxima": partial(nn.AdaptiveMaxPool2d, 3),
    **{
        name: getattr(nn, name)
        for name in (
            *(*IN_PLACE, "GELU", "Hardtanh", "Identity", "PReLU", "SiLU", "Sigmoid"),
            *("Softplus", "Tanh"),
        )
    },
    **{
        f"{name} in place": partial(getattr(nn, name), inplace=True)
        for name in (*IN_PLACE, "SiLU")
    },
    "Softmax": partial(nn.Softmax, 1),
    "LogSoftmax": partial(nn.LogSoftmax, 1),
    "Upsample": partial(nn.Upsample, None, 2),
    "ZeroPad": partial(nn.ZeroPad2d, 1),
    "batch norm": partial(nn.BatchNorm2d, 5),
    "bare batch norm": partial(nn.BatchNorm2d, 5, 1e-5, 0.1, False, False),
    "dropout": partial(nn.Dropout, 0.5),
    "dropout in place": partial(nn.Dropout, 0.5, inplace=True),
    "no dropout": partial(nn.Dropout, 0.0),
}
GLUON: dict[str, Maker] = {
    "conv": partial(gnn.Conv2D, 5, 3, padding=1, in_channels=5),
    "grouped conv": partial(gnn.Conv2D, 5, 3, groups=5, use_bias=False, in_channels=5),
    "conv, ReLU": partial(gnn.Conv2D, 5, 3, in_channels=5, activation="relu"),
    "transposed conv": partial(gnn.Conv2DTranspose, 5, 3, 2, in_channels=5),
    "transposed conv, ReLU": partial(
        gnn.Conv2DTranspose, 5, 3, 2, in_channels=5, activation="relu"
    ),
    "average": partial(gnn.AvgPool2D, 3, 2),
    "average, padded": partial(gnn.AvgPool2D, 3, 2, 1, ceil_mode=True),
    "max": partial(gnn.MaxPool2D, 3, 2),
    "max, padded": partial(gnn.MaxPool2D, 3, 2, 1),
    "mean": gnn.GlobalAvgPool2D,
    "maximum": gnn.GlobalMaxPool2D,
    **{name: partial(gnn.Activation, name) for name in ACTIVATIONS},
    **{name: getattr(gnn, name) for name in ("ELU", "GELU", "PReLU", "SELU")},
    "LeakyReLU": partial(gnn.LeakyReLU, 0.125),
    "batch norm": partial(gnn.BatchNorm, in_channels=5),
    "dropout": partial(gnn.Dropout, 0.5),
    "no dropout": partial(gnn.Dropout, 0.0),
    "Identity": mx.gluon.contrib.nn.Identity,
}
MAKERS = {"gluon": GLUON, "pytorch": TORCH}
for each in HALVES:
    for kind in ("SubsampleZeroPad", "ZeroPadShortcut"):
        MAKERS[each] |= {
            f"{kind}, {channels} channels, stride {stride}": padding(
                each, kind, channels, stride
            )
            for channels, stride in ((5, 2), (8, 1), (8, 2))
        }
# Gluon's has a pooling inside, and what is padded behind it is seen by no layer.
UNSEEN = "ZeroPadShortcut, 8 channels, stride 2"
del MAKERS["gluon"][UNSEEN]


def stacked(half: str, *layers: Any) -> Any:
    """A sequence of the layers, initialised."""
    if half == "pytorch":
        return nn.Sequential(*layers)
    net = sequence(*layers)
    for parameter in net.collect_params().values():
        if parameter._data is None:
            parameter.initialize()
    return net


def conv(half: str, inputs: int, outputs: int, size: int) -> Any:
    if half == "pytorch":
        return nn.Conv2d(inputs, outputs, size)
    return gnn.Conv2D(outputs, size, in_channels=inputs)


def between(half: str, layer: Any, channels: int = 5) -> Any:
    """conv 3→5, 3 wide · the layer · conv →4, 1 wide."""
    return stacked(half, conv(half, 3, 5, 3), layer, conv(half, channels, 4, 1))


RULES = [(each, name) for each in HALVES for name in MAKERS[each]]


class TestRules:
    @pytest.mark.parametrize(("half", "name"), RULES)
    def test_between_two_convolutions(self, half: str, name: str) -> None:
        channels = 8 if ", 8 channels" in name else 5
        net = between(half, MAKERS[half][name](), channels)
        book, kept = both(half, net, (2, 3, 9, 11))
        assert book.kept == kept

    @pytest.mark.parametrize("flatten", [True, False])
    def test_dense(self, half: str, flatten: bool) -> None:
        if half == "pytorch":
            layers = [nn.Flatten()] * flatten
            net = stacked(half, *layers, nn.Linear(6, 5), nn.Linear(5, 4))
        else:
            layers = [gnn.Flatten()] * flatten
            dense = partial(gnn.Dense, flatten=flatten)
            net = stacked(half, *layers, dense(5, in_units=6), dense(4, in_units=5))
        book, kept = both(half, net, (2, 3, 2) if flatten else (2, 3, 6))
        assert book.kept == kept

    def test_every_rule_is_tested(self, half: str) -> None:
        tested = {"Flatten", "Linear" if half == "pytorch" else "Dense"}
        for make in MAKERS[half].values():
            layer = make()
            kind = layer_kind(layer)
            tested.add(layer._act_type if kind == "Activation" else kind)
        known = {kind for kind, facts in LAYERS.items() if getattr(facts, half)}
        known |= {"SubsampleZeroPad", "ZeroPadShortcut"}
        if half == "gluon":
            known = known - {"Activation"} | set(ACTIVATIONS)
        assert tested == known

    def test_unseen_padding(self) -> None:
        """Gluon's pooling is a layer, the padding behind it is not."""
        net = between("gluon", padding("gluon", "ZeroPadShortcut", 8, 2)(), 8)
        with pytest.raises(ValueError, match=r"no rule for what Concat.* between"):
            _ = ledger(net, (2, 3, 9, 11)).kept

    @pytest.mark.parametrize(
        ("half", "layer"),
        [
            *(("pytorch", nn.GroupNorm(1, 5)), ("pytorch", nn.Dropout2d(0.5))),
            *(("pytorch", nn.Dropout(1.0)), ("gluon", gnn.InstanceNorm(in_channels=5))),
            *(("gluon", gnn.Dropout(0.5, axes=(2, 3))), ("gluon", gnn.Swish())),
        ],
        ids=str,
    )
    def test_no_rule(self, half: str, layer: Any) -> None:
        net = between(half, layer)
        book = ledger(net, (2, 3, 9, 9))
        text = f"ledger: no rule for what training keeps of 1 ({type(layer).__name__})"
        for use in (lambda: book.kept, book.memory, book.crossover, book.figure):
            with pytest.raises(ValueError, match="no rule") as caught:
                use()
            assert str(caught.value) == text
        assert book.entries[0].parameters == 5 * 28
        assert book.multiply_adds == 2 * 49 * (5 * 27 + 4 * 5)
        assert book.live is not None
        assert "kept bytes" not in repr(book)
        assert MEMORY[half].kept_bytes(net, (2, 3, 9, 9)) > 0


class TestNiN:
    SHAPE = (1, 1, 224, 224)
    POOLED = (96 * 26**2, 256 * 12**2, 384 * 5**2)
    MAPS = (96 * 54**2, 256 * 26**2, 384 * 12**2, 10 * 5**2)

    def test_pytorch(self) -> None:
        """Counted by hand, by rule, measured; the four parts."""
        book, kept = both("pytorch", made("pytorch", "nin", "NiN"), self.SHAPE)
        # The last pooling's output goes through dropout, whose output is kept.
        numbers = 3 * sum(self.MAPS) + sum(self.POOLED)
        assert numbers == 1_636_974
        memory = book.memory()
        assert memory.activations == 4 * numbers
        assert memory.input == book.input == 4 * 224**2 == 200_704
        assert memory.indices == 8 * sum(self.POOLED) == 890_880
        assert memory.masks == 4 * self.POOLED[2] == 38_400
        assert memory.statistics == book.between == 0
        assert book.kept == memory.kept == kept == 7_677_880

    def test_gluon(self) -> None:
        """4-byte places; the dropped and the mean map of each class besides."""
        book, kept = both("gluon", made("gluon", "nin", "NiN"), self.SHAPE)
        more = 4 * self.POOLED[2] + 4 * 10
        assert book.kept == kept == 7_677_880 - 4 * sum(self.POOLED) + more
        assert book.memory().indices == 4 * sum(self.POOLED)
        assert kept == 7_270_880

    def test_inference(self, half: str) -> None:
        """The input, and the map before and after a ReLU, in both."""
        net = made(half, "nin", "NiN")
        need = 4 * 224**2 + 2 * 4 * self.MAPS[0]
        live, _ = MEMORY[half].live_bytes(net, self.SHAPE)
        assert live == need == 2_440_192


class TestNets:
    def test_cifar_nin(self, half: str) -> None:
        net, shape = made(half, "nin", "CIFARNiN"), (2, 3, 32, 32)
        book, kept = both(half, net, shape)
        assert book.kept == kept == {"gluon": 6_157_392, "pytorch": 6_059_008}[half]
        assert book.live is not None
        assert book.live[0] <= MEMORY[half].peak_bytes(net, shape)

    def test_double(self, half: str) -> None:
        """Twice the bytes, but for the places; as `memory` says beforehand."""
        net, shape = made(half, "nin", "nin_small"), (2, 1, 20, 20)
        single = ledger(net, shape)
        net.cast("float64") if half == "gluon" else net.double()
        book, kept = both(half, net, shape)
        assert book.dtype == "float64"
        assert book.kept == kept == single.memory(dtype="float64").kept
        assert kept == 2 * single.kept - single.memory().indices

    def test_hybridized(self) -> None:
        """The graph decides alone what it keeps: here 40 bytes more for each image."""
        net, shape = made("gluon", "nin", "nin_small"), (2, 1, 20, 20)
        plain = ledger(net, shape)
        net.hybridize(static_alloc=True, static_shape=True)
        book, kept = both("gluon", net, shape)
        assert book.kept == plain.kept == kept - 2 * 40


class TestResidual:
    @pytest.mark.parametrize(
        ("channels", "rank", "options"),
        [
            ((6, 6), 2, {"chain_length": 3}),
            ((3, 8), 1, {"stride": 2, "shortcut": "zeros"}),
            ((3, 8), 2, {"stride": 2, "relu_before_sum": False}),
        ],
        ids=str,
    )
    def test_kept(
        self, half: str, channels: tuple[int, int], rank: int, options: Any
    ) -> None:
        net = made(
            half, "residual", "ResidualChunks", *channels, 3, rank=rank, **options
        )
        book, kept = both(half, net, (2, channels[0], *(9, 8)[:rank]))
        assert book.kept == kept

    def test_a_skip_needs_a_third_map(self, half: str) -> None:
        net = made(half, "residual", "ResidualChunks", 10, 10, 3, chain_length=3)
        book, kept = both(half, net, (4, 10, 64))
        assert book.kept == kept == 82_160
        assert book.live is not None
        kernel = 4 * 300 * (half == "gluon")  # in inference it is copied
        assert book.live[0] == 3 * 4 * 4 * 10 * 64 + kernel
        assert MEMORY[half].peak_bytes(net, (4, 10, 64)) >= book.live[0]


def test_stochastic_depth_drops_nothing() -> None:
    net = made("pytorch", "pyramidnet", "PyramidNet", 20, 48, drop_prob=0.5)
    book, kept = both("pytorch", net, (2, 3, 32, 32))
    assert book.kept == kept


#: By the explorer's name: the net, and the size of its input.
EXPLORED = {"nin": ("NiN", 67), "cifar": ("CIFARNiN", 28), "small": ("nin_small", 45)}


class TestExplorer:
    """The interactive ledger's arithmetic is that of `ledger`."""

    @pytest.mark.parametrize(
        ("key", "dropout", "inplace"),
        [("nin", True, False), ("cifar", False, True), ("small", True, False)],
    )
    def test_equal(self, half: str, key: str, dropout: bool, inplace: bool) -> None:
        name, size = EXPLORED[key]
        net = made(half, "nin", name, **({} if dropout else {"dropout": 0.0}))
        inplace = inplace and half == "pytorch"
        for module in net.modules() if inplace else ():
            if isinstance(module, nn.ReLU):
                module.inplace = True
        book = ledger(net, (1, NETS[key]["channels"], size, size))
        for batch, dtype, optimizer in (
            (1, "float32", "sgd"),
            (3, "float64", "momentum"),
            (256, "float16", "adam"),
        ):
            drawn = compute(
                key, half, batch, size, optimizer, dtype, inplace, dropout, "training"
            )
            memory = book.memory(batch, dtype, optimizer)
            assert drawn["parts"] == {
                name: getattr(memory, name) for name in drawn["parts"]
            }
            assert drawn["training"] == memory.training
            assert drawn["inference"] == memory.inference
            assert drawn["crossover"] == book.crossover(optimizer, dtype)
            if (batch, dtype) == (1, "float32"):
                kept = [e.kept for e in book.entries if e.kept]
                names = ("activations", "indices", "masks")
                assert [sum(r[n] for n in names) for r in drawn["rows"][1:]] == kept
                assert book.live is not None
                largest = drawn["ops"][drawn["largest"]]
                assert book.live[0] == sum(
                    largest[n] for n in ("input", "maps", "indices")
                )

    def test_smallest_sizes(self) -> None:
        for key, (name, _) in EXPLORED.items():
            assert NETS[key]["smallest"] == getattr(NINS["pytorch"], name)().smallest


CALLS = ("kept_bytes", "lifetimes", "live_bytes", "peak_bytes")
OWN = {"gluon": "planned_bytes", "pytorch": "step_trace"}
OTHER = {"gluon": ["pytorch"], "pytorch": ["gluon"]}


class TestPeakInTraining:
    SHAPE = (4, 1, 20, 20)

    def test_pytorch_frees_as_it_goes_and_gluon_in_bulks(self) -> None:
        peaks = {}
        for half in ("gluon", "pytorch"):
            net = made(half, "nin", "nin_small")
            kept = MEMORY[half].kept_bytes(net, self.SHAPE)
            peaks[half] = MEMORY[half].peak_bytes(net, self.SHAPE, training=True)
            assert kept < peaks[half] < 3 * kept
        trace = MEMORY["pytorch"].step_trace(net, self.SHAPE)
        assert peaks["pytorch"] == trace.peak < peaks["gluon"]

    def test_frozen(self, half: str) -> None:
        net = made(half, "nin", "nin_small")
        if half == "gluon":
            net.collect_params().setattr("grad_req", "null")
        else:
            net.requires_grad_(False)
        with pytest.raises(ValueError, match="net has no parameter that gets a"):
            MEMORY[half].peak_bytes(net, self.SHAPE, training=True)


class TestFailures:
    def test_refused(self, half: str) -> None:
        """What each function checks first: its net, the shape, the forward pass."""
        net, other = (made(each, "nin", "nin_small") for each in (half, *OTHER[half]))
        kind = {"gluon": "Gluon Block", "pytorch": "PyTorch Module"}[half]
        for call in (*CALLS, OWN[half]):
            for given, shape, text in (
                (net, 20, "input_shape must be a tuple of sizes, got 20"),
                (
                    net,
                    (1, 2, 20, 20),
                    "the net fails on input_shape=(1, 2, 20, 20): NiN",
                ),
                (other, (1, 1, 20, 20), f"net must be a {kind}, got NiN"),
            ):
                with pytest.raises((TypeError, ValueError)) as caught:
                    getattr(MEMORY[half], call)(given, shape)
                assert str(caught.value).startswith(f"{call}: {text}")

    def test_no_parameters(self, half: str) -> None:
        net = gnn.Activation("relu") if half == "gluon" else nn.ReLU()
        for call in ["kept_bytes"] + ["step_trace"] * (half == "pytorch"):
            with pytest.raises(ValueError, match=f"^{call}: net has no parameters$"):
                getattr(MEMORY[half], call)(net, (1, 2))
        assert MEMORY[half].peak_bytes(net, (1, 2)) == 16

    def test_not_initialised(self) -> None:
        for call in (*CALLS, OWN["gluon"]):
            with pytest.raises(ValueError, match=f"^{call}: .*is not initialised"):
                getattr(MEMORY["gluon"], call)(gnn.Dense(2, in_units=3), (1, 3))

    def test_untraceable(self) -> None:
        class Asks(mx.gluon.Block):
            def forward(self, x: Any) -> Any:
                return self.conv(x) if len(x.shape) == 4 else x

        net, shape = Asks(), (1, 3, 5, 5)
        net.conv = gnn.Conv2D(4, 3, in_channels=3)
        net.initialize()
        for call in ("lifetimes", "live_bytes", "planned_bytes"):
            with pytest.raises(ValueError, match=f"^{call}: net cannot be traced: "):
                getattr(MEMORY["gluon"], call)(net, shape)
        book, kept = both("gluon", net, shape)
        assert book.kept == kept == 4 * 3 * 25
        assert book.live is None
        with pytest.raises(ValueError, match=r"^ledger: net cannot be traced: "):
            book.memory()

    def test_one_value_to_normalise(self) -> None:
        """PyTorch refuses it in training, so only inference is known."""
        net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        book = ledger(net, (1, 3))
        text = "the net fails in training: Expected more than 1 value per channel"
        with pytest.raises(ValueError, match=f"^ledger: {text}"):
            _ = book.kept
        with pytest.raises(ValueError, match=text):
            book.memory()
        assert (book.parameters, book.multiply_adds) == (24, 12)
        assert book.live == (4 * (3 + 2 * 4), "native_batch_norm")
        assert ledger(net, (2, 3)).kept == 2 * 4 * (3 + 4) + 2 * 4 * 4

    @pytest.mark.parametrize(
        ("make", "shape", "text"),
        [
            (
                lambda: nn.Conv2d(3, 4, 3),
                *((1, 3, 5, 5), r"net must return \(N, classes\), got \(1, 4, 3, 3\)"),
            ),
            (
                lambda: nn.Linear(4, 2).requires_grad_(False),
                *((2, 4), "net has no parameter that gets"),
            ),
            (
                lambda: nn.Sequential(
                    nn.Linear(4, 3), nn.Sigmoid(), nn.ReLU(True), nn.Linear(3, 2)
                ),
                *((2, 4), "the backward pass of net fails"),
            ),
        ],
    )
    def test_step_trace(self, make: Any, shape: Any, text: str) -> None:
        with pytest.raises(ValueError, match=f"^step_trace: {text}"):
            MEMORY["pytorch"].step_trace(make(), shape)
        with pytest.raises(ValueError, match=r"^step_trace: optimizer must be one of"):
            MEMORY["pytorch"].step_trace(nn.Linear(4, 2), (2, 4), "rms")

    def test_planned_bytes(self) -> None:
        net, planned = made("gluon", "nin", "nin_small"), MEMORY["gluon"].planned_bytes
        with pytest.raises(TypeError, match=r"^planned_bytes: training must be "):
            planned(net, (1, 1, 20, 20), 1)
        net.cast("float64")  # MXNet reports the same for each dtype
        with pytest.raises(ValueError, match=r"must be float32.* got float64$"):
            planned(net, (1, 1, 20, 20))


class TestLeftAsItWas:
    """A net with dropout, batch norm and gradients, after every call, failed or not."""

    SHAPE = (2, 2, 9, 9)

    def check(self, half: str, net: Any) -> None:
        memory, before = MEMORY[half], Snapshot(net)
        for name in ("", *CALLS, OWN[half]):
            (getattr(memory, name) if name else ledger)(net, self.SHAPE)
            before.check()
        for function in (memory.kept_bytes, memory.peak_bytes, ledger):
            with pytest.raises(ValueError, match="fails"):
                function(net, (2, 4, 9, 9))
            before.check()

    def test_pytorch(self) -> None:
        net = torch_net().append(nn.Dropout(0.25)).double()
        net(torch.ones(self.SHAPE, dtype=torch.float64)).sum().backward()
        net[1].eval()
        self.check("pytorch", net)

    def test_gluon(self) -> None:
        net = gluon_net()
        net.add(gnn.Dropout(0.25))
        net.initialize()
        net.hybridize(static_alloc=True, inline_limit=3)
        with mx.autograd.record():
            net(mx.nd.ones(self.SHAPE)).sum().backward()
        output = net(mx.nd.ones(self.SHAPE)).asnumpy()
        self.check("gluon", net)
        assert np.array_equal(net(mx.nd.ones(self.SHAPE)).asnumpy(), output)


class TestStepTrace:
    """One training step in PyTorch, watched after each operation."""

    SHAPE = (4, 1, 20, 20)

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_against_the_ledger(self, optimizer: str) -> None:
        net = made("pytorch", "nin", "nin_small")
        trace = MEMORY["pytorch"].step_trace(net, self.SHAPE, optimizer)
        book = ledger(net, self.SHAPE)
        memory = book.memory(optimizer=optimizer)
        assert trace.parameters == memory.parameters == 4 * 112_762
        assert trace.gradients == memory.gradients == 4 * 112_762
        assert trace.state == memory.state == OPTIMIZERS[optimizer] * 4 * 112_762
        # Logits, log probabilities, and the loss with the weight it is divided by.
        assert trace.at_end("forward") == memory.kept + 2 * 4 * 4 * 10 + 8
        assert trace.peak > trace.at_end("forward")
        # Backward frees what was kept, the input and the loss excepted.
        for phase in ("backward", "step"):
            assert 0 <= trace.at_end(phase) - book.input < 200
        assert len(trace.phases) == len(trace.activations)
        order = ("forward", "backward", "step")
        assert sorted(trace.phases, key=order.index) == trace.phases
        assert set(trace.phases) == set(order)

    def test_statistics_are_parameters_here(self) -> None:
        net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        trace = MEMORY["pytorch"].step_trace(net, (2, 3))
        # The number of batches is one integer.
        assert trace.parameters == 4 * (24 + 8) + 8
        assert trace.gradients == 4 * 24


def test_planned_bytes() -> None:
    """What MXNet plans for the whole graph."""
    net, shape = made("gluon", "nin", "nin_small"), (2, 1, 20, 20)
    planned = MEMORY["gluon"].planned_bytes
    book = ledger(net, shape)
    training, inference = (planned(net, shape, mode) for mode in (True, False))
    # Gradients of activations are in the plan, the input is not.
    assert training >= book.kept - book.input
    assert book.live is not None
    assert book.live[0] - book.input <= inference < training
    assert planned(net, shape) == training
    assert planned(net, (8, *shape[1:])) == pytest.approx(4 * training, rel=0.01)


def test_several_outputs() -> None:
    """A net may return a tuple, an operation may have several outputs."""

    def forward(net: Any, x: Any) -> Any:
        one, two = net.conv(x).split(num_outputs=2, axis=1)
        return one, one + two

    net = own_block(forward, conv=gnn.Conv2D(4, 3, in_channels=1))
    net.initialize()
    # The image and, in channels of 6x6, the map that is split with its halves.
    live, _ = MEMORY["gluon"].live_bytes(net, (1, 1, 8, 8))
    assert live == 4 * 64 + 8 * 4 * 36


def test_gradients_are_on_inside() -> None:
    net = made("pytorch", "nin", "nin_small", 10, 1)
    expected = MEMORY["pytorch"].kept_bytes(net, (1, 1, 16, 16))
    with torch.no_grad():
        assert MEMORY["pytorch"].kept_bytes(net, (1, 1, 16, 16)) == expected > 0
        assert ledger(net, (1, 1, 16, 16)).kept == expected
        assert MEMORY["pytorch"].step_trace(net, (1, 1, 16, 16)).peak > expected
