"""The ledger's bytes against measured ones, rule by rule and net by net."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from pairs import gnn, halves, nn, sequence
from snapshots import Snapshot

from d2lutils._adapters.layers import ACTIVATIONS, LAYERS, layer_kind
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


# What can stand between two convolutions, by rank: how it is made, and what for.
Maker = Callable[[int], Any]


def of(framework: Any, name: str, *arguments: Any, **options: Any) -> Maker:
    """A layer whose class has the rank in its name, at the {}."""
    return lambda rank: getattr(framework, name.format(rank))(*arguments, **options)


def padding(half: str, name: str, channels: int, stride: int) -> Maker:
    shortcuts = importlib.import_module(f"d2lutils.{half}.shortcuts")
    return lambda rank: getattr(shortcuts, name)(5, channels, stride, rank)


IN_PLACE = ("ELU", "Hardsigmoid", "Hardswish", "LeakyReLU", "ReLU", "ReLU6", "SELU")
TORCH: dict[str, Maker] = {
    "conv": of(nn, "Conv{}d", 5, 5, 3, padding=1),
    "grouped conv": of(nn, "Conv{}d", 5, 5, 3, groups=5, bias=False),
    "transposed conv": of(nn, "ConvTranspose{}d", 5, 5, 3, 2),
    "average": of(nn, "AvgPool{}d", 3, 2),
    "average, padded": of(nn, "AvgPool{}d", 3, 2, 1, ceil_mode=True),
    "max": of(nn, "MaxPool{}d", 3, 2),
    "max, padded": of(nn, "MaxPool{}d", 3, 2, 1),
    "max, dilated": of(nn, "MaxPool{}d", 3, 1, dilation=2),
    "mean": of(nn, "AdaptiveAvgPool{}d", 1),
    "means": of(nn, "AdaptiveAvgPool{}d", 3),
    "maximum": of(nn, "AdaptiveMaxPool{}d", 1),
    "maxima": of(nn, "AdaptiveMaxPool{}d", 3),
    **{
        name: of(nn, name)
        for name in (
            *(*IN_PLACE, "GELU", "Hardtanh", "Identity", "PReLU", "SiLU", "Sigmoid"),
            *("Softplus", "Tanh"),
        )
    },
    **{f"{name} in place": of(nn, name, inplace=True) for name in (*IN_PLACE, "SiLU")},
    "Softmax": of(nn, "Softmax", 1),
    "LogSoftmax": of(nn, "LogSoftmax", 1),
    "Upsample": of(nn, "Upsample", None, 2),
    "ZeroPad": of(nn, "ZeroPad{}d", 1),
    "batch norm": of(nn, "BatchNorm{}d", 5),
    "bare batch norm": of(nn, "BatchNorm{}d", 5, 1e-5, 0.1, False, False),
    "dropout": of(nn, "Dropout", 0.5),
    "dropout in place": of(nn, "Dropout", 0.5, inplace=True),
    "no dropout": of(nn, "Dropout", 0.0),
}
GLUON: dict[str, Maker] = {
    "conv": of(gnn, "Conv{}D", 5, 3, padding=1, in_channels=5),
    "grouped conv": of(gnn, "Conv{}D", 5, 3, groups=5, use_bias=False, in_channels=5),
    "conv, ReLU": of(gnn, "Conv{}D", 5, 3, in_channels=5, activation="relu"),
    "transposed conv": of(gnn, "Conv{}DTranspose", 5, 3, 2, in_channels=5),
    "transposed conv, ReLU": of(
        gnn, "Conv{}DTranspose", 5, 3, 2, in_channels=5, activation="relu"
    ),
    "average": of(gnn, "AvgPool{}D", 3, 2),
    "average, padded": of(gnn, "AvgPool{}D", 3, 2, 1, ceil_mode=True),
    "max": of(gnn, "MaxPool{}D", 3, 2),
    "max, padded": of(gnn, "MaxPool{}D", 3, 2, 1),
    "mean": of(gnn, "GlobalAvgPool{}D"),
    "maximum": of(gnn, "GlobalMaxPool{}D"),
    **{name: of(gnn, "Activation", name) for name in ACTIVATIONS},
    **{name: of(gnn, name) for name in ("ELU", "GELU", "PReLU", "SELU")},
    "LeakyReLU": of(gnn, "LeakyReLU", 0.125),
    "batch norm": of(gnn, "BatchNorm", in_channels=5),
    "dropout": of(gnn, "Dropout", 0.5),
    "no dropout": of(gnn, "Dropout", 0.0),
    "Identity": of(mx.gluon.contrib.nn, "Identity"),
}
MAKERS = {"gluon": GLUON, "pytorch": TORCH}
for each in HALVES:
    for kind in ("SubsampleZeroPad", "ZeroPadShortcut"):
        MAKERS[each] |= {
            f"{kind}, {channels} channels, stride {stride}": padding(
                each, kind, channels, stride
            )
            for channels in (5, 8)
            for stride in (1, 2)
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


def conv(half: str, inputs: int, outputs: int, size: int, rank: int) -> Any:
    if half == "pytorch":
        return getattr(nn, f"Conv{rank}d")(inputs, outputs, size)
    return getattr(gnn, f"Conv{rank}D")(outputs, size, in_channels=inputs)


def between(half: str, layer: Any, rank: int, channels: int = 5) -> Any:
    """conv 3→5, 3 wide · the layer · conv →4, 1 wide."""
    first, last = conv(half, 3, 5, 3, rank), conv(half, channels, 4, 1, rank)
    return stacked(half, first, layer, last)


# The rules do not ask for the rank; where a name has one, it is tried.
RULES = [
    pytest.param(each, name, rank, id=f"{each}-{name}-{rank}")
    for each in HALVES
    for name in MAKERS[each]
    for rank in ((1, 2) if "conv" in name or "m" in name[:3] else (2,))
]


class TestRules:
    @pytest.mark.parametrize(("half", "name", "rank"), RULES)
    def test_between_two_convolutions(self, half: str, name: str, rank: int) -> None:
        channels = 8 if ", 8 channels" in name else 5
        net = between(half, MAKERS[half][name](rank), rank, channels)
        book, kept = both(half, net, (2, 3, *(9, 11)[:rank]))
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
            layer = make(2)
            kind = layer_kind(layer)
            tested.add(layer._act_type if kind == "Activation" else kind)
        known = {kind for kind, facts in LAYERS.items() if getattr(facts, half)}
        known |= {"SubsampleZeroPad", "ZeroPadShortcut"}
        if half == "gluon":
            known = known - {"Activation"} | set(ACTIVATIONS)
        assert tested == known

    def test_unseen_padding(self) -> None:
        """Gluon's pooling is a layer, the padding behind it is not."""
        net = between("gluon", padding("gluon", "ZeroPadShortcut", 8, 2)(2), 2, 8)
        with pytest.raises(ValueError, match=r"no rule for what Concat.* between"):
            _ = ledger(net, (2, 3, 9, 11)).kept

    @pytest.mark.parametrize(
        ("half", "layer", "kind"),
        [
            ("pytorch", nn.GroupNorm(1, 5), "GroupNorm"),
            ("pytorch", nn.Dropout2d(0.5), "Dropout2d"),
            ("pytorch", nn.Dropout(1.0), "Dropout"),
            ("pytorch", nn.LocalResponseNorm(2), "LocalResponseNorm"),
            ("gluon", gnn.InstanceNorm(in_channels=5), "InstanceNorm"),
            ("gluon", gnn.Dropout(0.5, axes=(2, 3)), "Dropout"),
            ("gluon", gnn.Swish(), "Swish"),
        ],
        ids=str,
    )
    def test_no_rule(self, half: str, layer: Any, kind: str) -> None:
        net = between(half, layer, 2)
        book = ledger(net, (2, 3, 9, 9))
        text = f"ledger: no rule for what training keeps of 1 ({kind})"
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
        assert live <= MEMORY[half].peak_bytes(net, self.SHAPE)
        book = ledger(net, self.SHAPE)
        assert book.memory().inference == 4 * book.parameters + need


NET_SHAPES = {
    "NiN": (1, 67, 67),
    "CIFARNiN": (3, 32, 32),
    "nin_small": (1, 20, 20),
}


class TestNets:
    @pytest.mark.parametrize("name", NET_SHAPES)
    def test_nin(self, half: str, name: str) -> None:
        net, shape = made(half, "nin", name), (2, *NET_SHAPES[name])
        book, kept = both(half, net, shape)
        assert book.kept == kept
        if name == "CIFARNiN":
            assert kept == {"gluon": 6_157_392, "pytorch": 6_059_008}[half]
        other = made("pytorch" if half == "gluon" else "gluon", "nin", name)
        assert book.live is not None
        assert book.live[0] == (ledger(other, shape).live or (0,))[0]
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
        """The graph decides alone what it keeps: here 40 bytes more."""
        net = made("gluon", "nin", "NiN")
        plain = ledger(net, (1, 1, 224, 224))
        net.hybridize(static_alloc=True, static_shape=True)
        flags = dict(net._flags)
        book, kept = both("gluon", net, (1, 1, 224, 224))
        assert book.kept == plain.kept == kept - 40
        assert dict(net._flags) == flags
        assert flags["static_alloc"] is True


class TestResidual:
    @pytest.mark.parametrize(
        ("channels", "rank", "options"),
        [
            ((6, 6), 1, {}),
            ((6, 6), 2, {"chain_length": 3}),
            ((3, 8), 1, {"stride": 2, "chain_length": 2}),
            ((6, 6), 1, {"relu_before_sum": False}),
            ((3, 8), 2, {"stride": 2, "relu_before_sum": False}),
            ((6, 6), 2, {"shortcut": "projection"}),
            ((3, 8), 2, {"shortcut": "zeros"}),
            ((3, 8), 1, {"shortcut": "zeros", "stride": 2}),
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

    def test_as_first_asked(self, half: str) -> None:
        net = made(half, "residual", "ResidualChunks", 10, 10, 3, chain_length=3)
        book, kept = both(half, net, (4, 10, 64))
        assert book.kept == kept == 82_160
        assert book.live is not None
        kernel = 4 * 300 * (half == "gluon")  # in inference it is copied
        assert book.live[0] == 3 * 4 * 4 * 10 * 64 + kernel
        assert MEMORY[half].peak_bytes(net, (4, 10, 64)) >= book.live[0]

    @pytest.mark.parametrize("residual", [True, False])
    def test_a_skip_needs_a_third_map(self, half: str, residual: bool) -> None:
        """Two of the largest maps are enough without a skip, not with one."""
        block = made(half, "residual", "ResidualChunks", 6, 6, 3, chain_length=2)
        if not residual:
            chunk = partial(made, half, "blocks", "ConvChunk", 6, 6, 3, padding=1)
            block = stacked(half, chunk(), chunk())
        book = ledger(stacked(half, conv(half, 3, 6, 1, 1), block), (2, 3, 16))
        outputs = [4 * int(np.prod(e.output)) for e in book.entries]
        pairs = itertools.pairwise(outputs)
        two, given = max(a + b for a, b in pairs), 4 * 2 * 3 * 16
        assert book.live is not None
        kernel = 4 * 6 * 6 * 3 * (half == "gluon")  # a copy
        assert book.live[0] == given + two + (two // 2 if residual else 0) + kernel


class TestPyramidNet:
    SHAPE = (2, 3, 32, 32)

    @pytest.mark.parametrize("drop_prob", [0.0, 0.5])
    def test_pytorch(self, drop_prob: float) -> None:
        """As measured, exactly; whatever might be dropped is there."""
        net = made("pytorch", "pyramidnet", "PyramidNet", 20, 48, drop_prob=drop_prob)
        book, kept = both("pytorch", net, self.SHAPE)
        assert book.kept == kept == 5_465_856

    def test_gluon(self) -> None:
        """What its sums pad is seen by no layer."""
        net = made("gluon", "pyramidnet", "PyramidNet", 20, 48)
        book, kept = both("gluon", net, self.SHAPE)
        with pytest.raises(ValueError, match=r"no rule for what Concat.* between"):
            _ = book.kept
        assert kept == 1_039_872 + 5_556_480


EXPLORED = {
    "nin": ("NiN", (67, 131)),
    "cifar": ("CIFARNiN", (28, 45)),
    "small": ("nin_small", (28, 45)),
}


class TestExplorer:
    """The interactive ledger's arithmetic is that of `ledger`."""

    def net(self, half: str, name: str, dropout: bool) -> Any:
        options = {} if dropout else {"dropout": 0.0}
        if name == "nin_small" and not dropout:
            small = {"widths": (24, 48, 64), "stem": (3, 1, 1)}
            small |= {"last_width": 64, "last_relu": False}
            return made(half, "nin", "NiN", 10, 1, **small, **options)
        return made(half, "nin", name, **options)

    @pytest.mark.parametrize("dropout", [True, False])
    @pytest.mark.parametrize("key", EXPLORED)
    def test_equal(self, half: str, key: str, dropout: bool) -> None:
        name, sizes = EXPLORED[key]
        net = self.net(half, name, dropout)
        for size in sizes if dropout else sizes[:1]:
            for inplace in (False, True) if half == "pytorch" else (False,):
                for m in net.modules() if half == "pytorch" else ():
                    if isinstance(m, nn.ReLU):
                        m.inplace = inplace
                book = ledger(net, (1, NETS[key]["channels"], size, size))
                self.compare(book, half, key, size, inplace, dropout)

    def compare(
        self, book: Ledger, half: str, key: str, size: int, inplace: bool, dropout: bool
    ) -> None:
        for batch, dtype, optimizer in (
            (1, "float32", "sgd"),
            (64, "float32", "adam"),
            (3, "float64", "momentum"),
            (32, "float16", "adam"),
            (256, "float16", "sgd"),
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


class TestFailures:
    @pytest.mark.parametrize(
        ("shape", "error", "text"),
        [
            (20, TypeError, "input_shape must be a tuple of sizes, got 20"),
            (
                (1, 2, 20, 20),
                ValueError,
                "the net fails on input_shape=(1, 2, 20, 20): NiN: x must have shape "
                "(N, 1, H, W), got (1, 2, 20, 20)",
            ),
        ],
        ids=str,
    )
    def test_shape(self, half: str, shape: Any, error: Any, text: str) -> None:
        net = made(half, "nin", "nin_small")
        for call in (*CALLS, OWN[half]):
            with pytest.raises(error) as caught:
                getattr(MEMORY[half], call)(net, shape)
            assert str(caught.value) == f"{call}: {text}"

    def test_no_net(self, half: str) -> None:
        other = made("pytorch" if half == "gluon" else "gluon", "nin", "nin_small")
        kinds = {"gluon": "Gluon Block", "pytorch": "PyTorch Module"}
        for call in (*CALLS, OWN[half]):
            for net, text in (
                (other, f"net must be a {kinds[half]}, got NiN"),
                (3, "net must be a Gluon Block or a PyTorch Module, got int"),
            ):
                with pytest.raises(TypeError) as caught:
                    getattr(MEMORY[half], call)(net, (1, 1, 20, 20))
                assert str(caught.value) == f"{call}: {text}"

    def test_no_parameters(self, half: str) -> None:
        net = gnn.Activation("relu") if half == "gluon" else nn.ReLU()
        for call in ["kept_bytes"] + ["step_trace"] * (half == "pytorch"):
            with pytest.raises(ValueError, match=f"^{call}: net has no parameters$"):
                getattr(MEMORY[half], call)(net, (1, 2))
        assert MEMORY[half].peak_bytes(net, (1, 2)) == 16

    def test_not_initialised(self) -> None:
        net = NINS["gluon"].nin_small()
        for call in (*CALLS, OWN["gluon"]):
            with pytest.raises(ValueError, match=f"^{call}: .*is not initialised"):
                getattr(MEMORY["gluon"], call)(net, (1, 1, 20, 20))

    def test_untraceable(self) -> None:
        class Asks(mx.gluon.Block):
            def __init__(self) -> None:
                super().__init__()
                self.conv = gnn.Conv2D(4, 3, in_channels=3)

            def forward(self, x: Any) -> Any:
                return self.conv(x) if len(x.shape) == 4 else x

        net, shape = Asks(), (1, 3, 5, 5)
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

    def test_wrong_words(self) -> None:
        nets = {each: made(each, "nin", "nin_small") for each in HALVES}
        with pytest.raises(ValueError, match="sgd") as caught:
            MEMORY["pytorch"].step_trace(nets["pytorch"], (1, 1, 20, 20), "rms")
        assert str(caught.value) == (
            "step_trace: optimizer must be one of 'sgd', 'momentum', 'adam', got 'rms'"
        )
        with pytest.raises(TypeError) as kind:
            MEMORY["gluon"].planned_bytes(nets["gluon"], (1, 1, 20, 20), 1)
        assert str(kind.value) == "planned_bytes: training must be True or False, got 1"

    def test_trace_of_no_classifier(self) -> None:
        with pytest.raises(ValueError, match="classes") as caught:
            MEMORY["pytorch"].step_trace(nn.Conv2d(3, 4, 3), (1, 3, 5, 5))
        assert str(caught.value) == (
            "step_trace: net must return (N, classes), got (1, 4, 3, 3)"
        )


class TestLeftAsItWas:
    """A net with dropout, batch norm and gradients, after every call, failed or not."""

    SHAPE = (2, 3, 9, 9)

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
        net = nn.Sequential(
            *(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.25)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)),
        ).double()
        net(torch.ones(self.SHAPE, dtype=torch.float64)).sum().backward()
        net[1].eval()
        self.check("pytorch", net)

    @pytest.mark.parametrize("hybrid", [False, True])
    def test_gluon(self, hybrid: bool) -> None:
        net = stacked(
            "gluon",
            *(gnn.Conv2D(6, 3, in_channels=3), gnn.BatchNorm(in_channels=6)),
            *(gnn.Activation("relu"), gnn.Dropout(0.25), gnn.GlobalAvgPool2D()),
            *(gnn.Flatten(), gnn.Dense(4, in_units=6)),
        )
        if hybrid:
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


class TestPlannedBytes:
    """What MXNet plans for the whole graph."""

    def test_training_and_inference(self) -> None:
        net, shape = made("gluon", "nin", "nin_small"), (2, 1, 20, 20)
        planned = MEMORY["gluon"].planned_bytes
        book = ledger(net, shape)
        training, inference = (planned(net, shape, mode) for mode in (True, False))
        # Gradients of activations are in the plan, the input is not.
        assert training >= book.kept - book.input
        assert book.live is not None
        assert book.live[0] - book.input <= inference < training
        assert planned(net, shape) == training

    def test_grows_with_the_batch(self) -> None:
        net = made("gluon", "nin", "nin_small")
        for training in (True, False):
            one, four = (
                MEMORY["gluon"].planned_bytes(net, (batch, 1, 20, 20), training)
                for batch in (1, 4)
            )
            assert four == pytest.approx(4 * one, rel=0.01)


class TestSeveralOutputs:
    """A net may return a tuple, an operation may have several outputs."""

    class Gluon(gnn.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.conv = gnn.Conv2D(4, 3, in_channels=1)

        def hybrid_forward(self, F: Any, x: Any) -> Any:
            one, two = F.split(self.conv(x), num_outputs=2, axis=1)
            return one, one + two

    def test_live_bytes(self) -> None:
        net = self.Gluon()
        net.initialize()
        maps = 4 * 36  # bytes of one channel of 6x6
        # The image, both halves, and their sum; the second half goes no further.
        expected = 4 * 64 + 2 * maps + 2 * maps + 2 * maps
        assert MEMORY["gluon"].live_bytes(net, (1, 1, 8, 8))[0] == max(
            expected, 4 * 64 + 8 * maps
        )


def test_planned_bytes_of_another_dtype() -> None:
    """MXNet reports the same for each."""
    net = made("gluon", "nin", "nin_small", 10, 1)
    net.cast("float64")
    with pytest.raises(ValueError, match="planned_bytes: net must be float32") as error:
        MEMORY["gluon"].planned_bytes(net, (1, 1, 28, 28))
    assert str(error.value).endswith("got float64")


def test_gradients_are_on_inside() -> None:
    net = made("pytorch", "nin", "nin_small", 10, 1)
    expected = MEMORY["pytorch"].kept_bytes(net, (1, 1, 16, 16))
    with torch.no_grad():
        assert MEMORY["pytorch"].kept_bytes(net, (1, 1, 16, 16)) == expected > 0
        assert ledger(net, (1, 1, 16, 16)).kept == expected
        assert MEMORY["pytorch"].step_trace(net, (1, 1, 16, 16)).peak > expected


def test_step_trace_needs_something_to_train() -> None:
    net = made("pytorch", "nin", "nin_small", 10, 1).requires_grad_(False)
    with pytest.raises(ValueError, match="step_trace: net has no parameter that gets"):
        MEMORY["pytorch"].step_trace(net, (1, 1, 16, 16))


def test_step_trace_says_that_backward_fails() -> None:
    net = nn.Sequential(
        nn.Linear(4, 3), nn.Sigmoid(), nn.ReLU(inplace=True), nn.Linear(3, 2)
    )
    with pytest.raises(ValueError, match="step_trace: the backward pass of net fails"):
        MEMORY["pytorch"].step_trace(net, (2, 4))
