"""The ledger: counted by hand, equal in both halves, and the net left as it was."""

from __future__ import annotations

import csv
import itertools
import warnings
from typing import Any

import pytest
import torch
from halves import GLUON
from nets import gnn, nn, sequence
from own_layers import derived, own_block, own_module, stay_in_evaluation
from torch.nn.utils import prune

from d2lutils import ledger as module
from d2lutils.compat import mx
from d2lutils.gluon import condconv as gluon_condconv
from d2lutils.gluon import resnet as gluon_resnet
from d2lutils.gluon import weightnet as gluon_weightnet
from d2lutils.gluon.inputs import operators
from d2lutils.gluon.memory import kept_bytes
from d2lutils.gluon.residual import ResidualChunks as GluonChunks
from d2lutils.ledger import DTYPES, Entry, Ledger, ledger, rule
from d2lutils.pytorch import condconv as torch_condconv
from d2lutils.pytorch import resnet as torch_resnet
from d2lutils.pytorch import weightnet as torch_weightnet
from d2lutils.pytorch.memory import kept_bytes as torch_kept_bytes
from d2lutils.pytorch.nin import nin_small
from d2lutils.pytorch.residual import ResidualChunks as TorchChunks

utils, rnn = nn.utils, mx.gluon.rnn
BOTH = pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])


def gluon_sequence(*layers: Any) -> Any:
    """A Gluon HybridSequential, initialised."""
    return GLUON.ready(sequence(*layers))


def conv_nets(bias: bool = True, groups: int = 1) -> tuple[Any, Any]:
    """conv 4→6, 3x3, stride 2 · batch norm · ReLU · average · dense 6→5."""
    gluon = gluon_sequence(
        gnn.Conv2D(6, 3, strides=2, groups=groups, use_bias=bias, in_channels=4),
        *(gnn.BatchNorm(in_channels=6), gnn.Activation("relu")),
        *(gnn.GlobalAvgPool2D(), gnn.Flatten(), gnn.Dense(5, in_units=6)),
    )
    pytorch = nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2, groups=groups, bias=bias),
        *(nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)),
    )
    return gluon, pytorch


@pytest.mark.parametrize(("groups", "bias"), [(1, True), (2, False)])
@BOTH
def test_by_hand(half: int, groups: int, bias: bool) -> None:
    result = ledger(conv_nets(bias, groups)[half], (2, 4, 9, 9))
    conv, norm, relu, pool, flat, dense = result.entries
    weights = 6 * 4 * 3 * 3 // groups
    assert conv.output == (2, 6, 4, 4)
    assert (conv.weights, conv.biases) == (weights, 6 * bias)
    assert conv.multiply_adds == 2 * 16 * weights
    assert (norm.weights, norm.biases, norm.buffers) == (6, 6, 12)
    assert norm.multiply_adds == relu.multiply_adds == pool.multiply_adds == 0
    assert [e.parameters for e in (relu, pool, flat)] == [0, 0, 0]
    assert dense.output == (2, 5)
    assert (dense.parameters, dense.multiply_adds) == (35, 2 * 30)
    assert result.parameters == weights + 6 * bias + 12 + 35
    assert result.buffers == 12
    assert result.multiply_adds == 32 * weights + 60


def totals(result: Ledger) -> list[Any]:
    return [
        (e.path, e.output, e.weights, e.biases, e.buffers, e.multiply_adds)
        for e in result.entries
    ]


def test_halves_agree() -> None:
    arguments = {"stride": 2, "chain_length": 3, "rank": 2}
    gluon = GluonChunks(3, 10, 3, **arguments)
    gluon.initialize()
    one, two = (
        ledger(net, (2, 3, 9, 7)) for net in (gluon, TorchChunks(3, 10, 3, **arguments))
    )
    assert totals(one) == totals(two)
    assert one.entries[0].output == (2, 10, 5, 4)


def test_a_layer_called_twice_counts_once() -> None:
    """Work is done twice, parameters are there once: also where it is listed twice."""
    dense, linear = gnn.Dense(3, in_units=3), nn.Linear(3, 3)
    gluon = gluon_sequence(dense, gnn.Activation("relu"), dense)
    for net in (gluon, nn.Sequential(linear, nn.ReLU(), linear)):
        result = ledger(net, (2, 3))
        assert [e.parameters for e in result.entries] == [12, 0, 0]
        assert [e.multiply_adds for e in result.entries] == [18, 0, 18]


def scale_layer(half: int) -> Any:
    """A layer of one's own, whose parameter scales channels."""
    if half:
        scale = nn.Parameter(torch.ones(4, 1, 1))
        return own_module(lambda net, x: x * net.scale, scale=scale)

    class Own(gnn.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.scale = self.params.get("scale", shape=(4, 1, 1))

        def hybrid_forward(self, F: Any, x: Any, scale: Any) -> Any:
            return F.broadcast_mul(x, scale)

    return Own()


def only(half: int, layer: Any) -> Any:
    """A net of one layer."""
    return nn.Sequential(layer) if half else gluon_sequence(layer)


class TestUnknownWork:
    @BOTH
    def test_is_an_error(self, half: int) -> None:
        with pytest.raises(ValueError, match="no rule") as caught:
            ledger(only(half, scale_layer(half)), (1, 4, 5, 5))
        assert str(caught.value) == (
            "ledger: no rule for the work of 0 (Own), which has parameters "
            "{'scale': (4, 1, 1)}; d2lutils.ledger.rule adds one"
        )

    def test_no_parameters_are_forgotten(self) -> None:
        """Those beside children, and those of layers that did not run."""
        parts = {"linear": nn.Linear(3, 3), "scale": nn.Parameter(torch.ones(3))}
        net = own_module(lambda net, x: net.linear(x) * net.scale, **parts)
        with pytest.raises(ValueError, match=r"work of the net .Own.*'scale': .3,."):
            ledger(net, (1, 3))
        net = own_module(lambda net, x: x @ net.linear.weight, linear=nn.Linear(3, 3))
        with pytest.raises(ValueError, match=r"work of linear \(Linear\)"):
            ledger(net, (1, 3))

    def test_own_layers_without_parameters_are_free(self) -> None:
        """An entry has the shape of the first output."""
        net = own_module(lambda net, x: (2 * x, x[:1]))
        (entry,) = ledger(net, (2, 3)).entries
        assert (entry.output, entry.multiply_adds) == ((2, 3), 0)


class TestFailures:
    @BOTH
    def test_where_and_on_what(self, half: int) -> None:
        net = (
            gluon_sequence(gnn.Dense(3, in_units=2), gnn.Dense(4, in_units=5)),
            nn.Sequential(nn.Linear(2, 3), nn.Linear(5, 4)),
        )[half]
        with pytest.raises(ValueError, match="fails") as caught:
            ledger(net, (7, 2))
        text = str(caught.value)
        begin = "ledger: the net fails on input_shape=(7, 2) after layer 0 (7, 3): "
        assert text.startswith(begin)
        assert len(text) > len(begin)
        assert "\n" not in text
        mx.nd.waitall()

    def test_not_initialised(self) -> None:
        net = sequence(gnn.Dense(3, in_units=2))
        with pytest.raises(ValueError, match=r"0\.weight is not initialised"):
            ledger(net, (1, 2))

    def test_refused(self) -> None:
        for net, shape, text in (
            (3, (1, 2), "net must be a Gluon Block or a PyTorch Module"),
            (nn.Linear(2, 2), 2, "input_shape must be a tuple of sizes"),
        ):
            with pytest.raises(TypeError, match=f"^ledger: {text}"):
                ledger(net, shape)


def test_shapes_that_wait() -> None:
    gluon = gluon_sequence(gnn.Conv1D(4, 3), gnn.Dense(5))
    pytorch = nn.Sequential(nn.LazyConv1d(4, 3), nn.Flatten(), nn.LazyLinear(5))
    for net in (gluon, pytorch):
        assert ledger(net, (2, 3, 8)).parameters == 4 * 9 + 4 + 5 * 24 + 5
    assert pytorch.training


SHAPE = (2, 1, 15, 17)
KINDS = ("activations", "indices", "masks", "statistics")


def small_net() -> Any:
    """nin_small with a batch norm in front: statistics, places, masks."""
    return nn.Sequential(nn.BatchNorm2d(1), nin_small())


@pytest.fixture(scope="module")
def book() -> Ledger:
    return ledger(small_net(), SHAPE)


class TestBytesByHand:
    """The totals are measured in both frameworks by `tests/parity/test_memory.py`."""

    def test_each_layers_part(self) -> None:
        net = nn.Sequential(
            *(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.ReLU(), nn.MaxPool1d(2)),
            *(nn.Dropout(0.5), nn.Conv1d(2, 1, 1)),
        )
        book = ledger(net, (3, 1, 10))
        rows = [[getattr(e, kind) for kind in KINDS] for e in book.entries]
        wide, pooled = 3 * 2 * 8, 3 * 2 * 4
        assert rows == [
            [4 * wide, 0, 0, 0],  # the batch norm's input
            [0, 0, 0, 4 * 2 * 2],
            [4 * wide, 0, 0, 0],  # the ReLU's output, which is the pooling's input
            [0, 8 * pooled, 0, 0],
            [4 * pooled, 0, 4 * pooled, 0],  # its output is the convolution's input
            [0, 0, 0, 0],
        ]
        assert book.input == 4 * 3 * 10
        assert book.between == 0
        assert book.kept == book.input + sum(e.kept for e in book.entries)

    def test_sums_between_layers(self) -> None:
        """A sum that a layer reads is no layer's output."""
        layers = {"one": nn.Linear(3, 3), "two": nn.Linear(3, 3)}
        net = own_module(lambda net, x: net.two(x + net.one(x)), **layers)
        book = ledger(net, (2, 3))
        assert (book.input, book.between, book.kept) == (24, 24, 48)
        assert [e.kept for e in book.entries] == [0, 0]
        assert repr(book).splitlines()[-2].split()[0] == "between"

    def test_a_tensor_that_two_layers_keep_counts_once(self) -> None:
        def forward(net: Any, x: Any) -> Any:
            x = net.first(x)
            return net.left(x) + net.right(x)

        layers = {"left": nn.Linear(4, 2), "right": nn.Linear(4, 2)}
        book = ledger(own_module(forward, first=nn.Linear(3, 4), **layers), (5, 3))
        assert [e.activations for e in book.entries] == [4 * 5 * 4, 0, 0]
        assert book.kept == 4 * 5 * (3 + 4)


class TestMemory:
    def test_defaults_are_those_of_the_run(self, book: Ledger) -> None:
        memory = book.memory()
        run = (memory.batch_size, memory.dtype, memory.optimizer)
        assert run == (2, "float32", "sgd")
        assert (memory.kept, memory.live) == (book.kept, (book.live or (0,))[0])
        for kind in KINDS[1:]:
            assert getattr(memory, kind) == sum(getattr(e, kind) for e in book.entries)
            assert getattr(memory, kind) > 0

    def test_sums(self, book: Ledger) -> None:
        memory = book.memory(7, "float16", "adam")
        count = 112_762 + 2
        assert memory.parameters == memory.gradients == 2 * count
        assert (memory.state, memory.buffers) == (4 * count, 4)
        parts = [getattr(memory, kind) for kind in KINDS]
        assert memory.kept == memory.input + sum(parts)
        assert memory.training == 8 * count + 4 + memory.kept
        assert memory.inference == 2 * count + 4 + memory.live

    def test_another_batch(self, book: Ledger) -> None:
        assert book.memory(8) == ledger(small_net(), (8, *SHAPE[1:])).memory()

    @pytest.mark.parametrize("dtype", ["float64", "float16"])
    def test_another_dtype(self, dtype: str) -> None:
        """Indices keep their size, so another operation may need most."""
        net = nin_small()
        book = ledger(net, SHAPE)
        fresh = ledger(net.to(getattr(torch, dtype)), SHAPE)
        assert book.memory(dtype=dtype) == fresh.memory()
        assert fresh.memory(dtype="float32") == book.memory()
        assert book.live is not None
        scaled = book.live[0] * DTYPES[dtype] // 4
        assert (fresh.memory().live == scaled) == (dtype == "float64")

    def test_refused(self, book: Ledger) -> None:
        for arguments, text in (
            ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
            ({"dtype": "int8"}, "dtype must be one of 'float16', 'bfloat16', "),
            ({"optimizer": "rms"}, "optimizer must be one of 'sgd', 'momentum', "),
        ):
            with pytest.raises(ValueError, match=f"^memory: {text}"):
                book.memory(**arguments)


class TestCrossover:
    def test_brute_force(self, book: Ledger) -> None:
        for batch in itertools.count(1):
            memory = book.memory(batch, "float16", "momentum")
            if memory.kept > memory.parameters + memory.gradients + memory.state:
                break
        assert book.crossover("momentum", "float16") == batch

    def test_equal_is_not_more(self) -> None:
        """One image keeps 8 bytes, of 2 parameters SGD needs 16: the third is more."""
        book = ledger(nn.Linear(2, 1, bias=False), (1, 2))
        assert (book.kept, book.memory().gradients) == (8, 8)
        assert book.crossover("sgd") == 3
        assert book.crossover("adam") == 5

    def test_statistics_do_not_grow(self) -> None:
        """Of 3 channels: 48 bytes are fixed; 24 for the batch and 24 an image."""
        book = ledger(nn.BatchNorm1d(3), (2, 3, 2))
        assert [book.memory(batch).kept for batch in (1, 2)] == [48, 72]
        assert book.crossover("sgd") == 2

    def test_bounds(self) -> None:
        assert ledger(nn.Conv1d(1, 1, 1, bias=False), (2, 1, 99)).crossover() == 1
        with pytest.raises(ValueError, match="keeps nothing"):
            ledger(nn.Flatten(), (2, 3)).crossover()


def test_csv(book: Ledger) -> None:
    lines = list(csv.DictReader(book.csv().splitlines()))
    texts = {"path", "kind", "output"}
    read = [
        Entry(
            **{key: line[key] for key in ("path", "kind")},
            output=tuple(map(int, line["output"].split("x"))),
            **{key: int(line[key]) for key in line.keys() - texts},
        )
        for line in lines
    ]
    assert read == book.entries


def test_figure(book: Ledger) -> None:
    """The lengths of its bars are what is kept, part by part."""
    from matplotlib import pyplot as plt

    ax = book.figure()
    lengths = {
        bars.get_label(): sum(bar.get_width() for bar in bars) for bars in ax.containers
    }
    memory = book.memory()
    expected = {kind: getattr(memory, kind) / 1e6 for kind in KINDS}
    expected["activations"] += book.input / 1e6
    assert lengths == pytest.approx(expected)
    rows = [label.get_text() for label in ax.get_yticklabels()]
    assert "input" in rows
    assert len(rows) == 1 + sum(1 for e in book.entries if e.kept)
    plt.close(ax.figure)
    _, given = plt.subplots()
    assert book.figure(given) is given
    plt.close(given.figure)


def test_table(book: Ledger) -> None:
    first, *rows = repr(book).splitlines()
    assert first.rstrip().endswith("kept bytes")
    assert rows[-1].split() == [
        *("total", f"{book.parameters:,}", f"{book.multiply_adds:,}"),
        f"{book.kept:,}",
    ]
    assert "24x15x17" in repr(book)
    html = ledger(nn.Linear(4, 5), (1, 4))._repr_html_()
    assert "(net)" in html
    assert "Linear" in html


def test_two_operations_in_one_layer_without_a_rule() -> None:
    """Tanh's backward takes what stands between the two, which no layer shows."""
    net = gluon_sequence(gnn.Conv2D(4, 1, in_channels=3, activation="tanh"))
    book = ledger(net, (1, 3, 5, 5))
    assert book.parameters == 16
    with pytest.raises(ValueError, match=r"training keeps of 0 \(Conv2D\)"):
        _ = book.kept


class TestWhatNoLayerShows:
    """In PyTorch the rules are held against what autograd really saves."""

    def functional(self, function: Any) -> Any:
        layers = {"first": nn.Conv2d(1, 4, 3), "last": nn.Conv2d(4, 2, 3)}
        return own_module(lambda net, x: net.last(function(net.first(x))), **layers)

    def test_a_function_that_keeps_more_is_refused(self) -> None:
        net = self.functional(lambda x: torch.nn.functional.max_pool2d(x, 2))
        book = ledger(net, (2, 1, 12, 12))
        assert book.parameters == 40 + 74
        with pytest.raises(ValueError, match=r"PyTorch saves [\d,]+: something"):
            _ = book.kept

    def test_a_function_that_keeps_what_layers_keep(self) -> None:
        """A ReLU's output is the next layer's input, whoever made it."""
        net = self.functional(torch.relu)
        assert ledger(net, (2, 1, 12, 12)).kept == torch_kept_bytes(net, (2, 1, 12, 12))

    def test_a_padding_mode_that_copies(self) -> None:
        net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"))
        with pytest.raises(ValueError, match="padding mode"):
            _ = ledger(net, (1, 1, 8, 8)).kept

    def test_a_frozen_layer_has_no_gradient(self) -> None:
        net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        net[2].requires_grad_(False)
        book = ledger(net, (2, 4))
        assert (book.parameters, book.frozen) == (15 + 8, 8)
        memory = book.memory(optimizer="adam")
        assert (memory.parameters, memory.gradients, memory.state) == (92, 60, 120)

    def test_random_numbers_go_on(self) -> None:
        net = self.functional(lambda x: torch.nn.functional.dropout(x, 0.5))
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        ledger(net, (1, 1, 8, 8))
        assert torch.equal(torch.rand(3), expected)


@BOTH
class TestKernelsOfEachExample:
    """Layers that make a kernel for each example before they use it."""

    @staticmethod
    def ready(net: Any) -> Any:
        if isinstance(net, mx.gluon.Block):
            net.initialize()
        return net

    def test_condconv(self, half: int) -> None:
        layer = (gluon_condconv, torch_condconv)[half].CondConv2d
        net = self.ready(layer(4, 6, 3, stride=2, groups=2, num_experts=5))
        result = ledger(net, (2, 4, 9, 9))
        kernel = 6 * 4 // 2 * 9
        assert result.parameters == 5 * kernel + 6 + 4 * 5 + 5
        # Routing, mixing and convolving, for two examples of 4x4 positions.
        assert result.multiply_adds == 2 * (4 * 5 + 5 * kernel + 16 * kernel)
        with pytest.raises(ValueError, match=r"no rule .* training keeps of experts"):
            _ = result.kept

    def test_weightnet(self, half: int) -> None:
        layer = (gluon_weightnet, torch_weightnet)[half].WeightNet2d
        net = self.ready(layer(32, 32, 3, padding=1, M=6, G=3, depthwise=True))
        result = ledger(net, (2, 32, 5, 5))
        kernel = 32 * 9
        vector = 32 * 2 + 2 + 2 * 6 * 32 + 6 * 32  # 32 → 2 → 6 for each channel
        assert result.parameters == vector + kernel * 6 // 3
        made = 32 * 2 + 2 * 6 * 32 + kernel * 6 // 3
        assert result.multiply_adds == 2 * (made + 25 * kernel)

    def test_resnet(self, half: int) -> None:
        net = (gluon_resnet, torch_resnet)[half].ResNet
        plain = ledger(self.ready(net(20)), (1, 3, 8, 8))
        gated = ledger(self.ready(net(20, reduction=16)), (1, 3, 8, 8))
        assert plain.parameters == 272_474
        gates = 3 * 2 * (16 * 1 + 32 * 2 + 64 * 4)
        assert gated.multiply_adds - plain.multiply_adds == gates
        with pytest.raises(ValueError, match=r"training keeps of .*SqueezeExcite"):
            _ = gated.kept


def gluon_cell() -> Any:
    """A recurrent cell, called once with its first states."""

    class Cell(mx.gluon.Block):
        def __init__(self) -> None:
            super().__init__()
            self.cell = rnn.GRUCell(5)

        def forward(self, x: Any) -> Any:
            return self.cell(x, self.cell.begin_state(x.shape[0]))[0]

    return Cell()


def first(layer: Any) -> Any:
    """A recurrent layer or cell without its states."""

    def forward(net: Any, x: Any) -> Any:
        out = net.layer(x)
        return out[0] if isinstance(out, tuple) else out

    return own_module(forward, layer=layer)


def attention() -> Any:
    layer = nn.MultiheadAttention(6, 2, batch_first=True)
    return own_module(lambda net, x: net.layer(value=x, query=x, key=x)[0], layer=layer)


def low_rank() -> Any:
    """Layers that it calls have entries of their own."""

    def forward(layer: Any, x: Any) -> Any:
        return nn.Linear.forward(layer, x) + layer.up(layer.down(x))

    linear = derived(nn.Linear, 4, 5, forward=forward)
    linear.down, linear.up = nn.Linear(4, 2), nn.Linear(2, 5)
    return linear


def masked() -> Any:
    """Random connections: the mask is stored among the parameters."""

    def forward(layer: Any, x: Any) -> Any:
        return layer._conv_forward(x, layer.weight * layer.mask, layer.bias)

    conv = derived(nn.Conv2d, 4, 6, 3, forward=forward)
    conv.mask = nn.Parameter(torch.ones_like(conv.weight), requires_grad=False)
    return conv


def bilinear() -> Any:
    return own_module(lambda net, x: net.layer(x, x), layer=nn.Bilinear(3, 3, 2))


def linear_of_a_buffer() -> Any:
    linear = nn.Linear(4, 5)
    weight = linear.weight.detach()
    del linear.weight
    linear.register_buffer("weight", weight)
    return linear


def quantized() -> Any:
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU())
    return torch.ao.quantization.quantize_dynamic(net, {nn.Linear})


def conv_made_by(change: Any) -> Any:
    """The work follows from what a layer was made with, wherever its weight is."""
    conv = nn.Conv2d(3, 8, 3)
    change(conv)
    return nn.Sequential(conv, nn.ReLU())


MADE = {
    "pruned": (lambda c: prune.l1_unstructured(c, "weight", 0.5), 0),
    "weight norm": (utils.parametrizations.weight_norm, 8),
    "old weight norm": (utils.weight_norm, 8),
}
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
# Two layers, two directions: matrices for the input and for the state.
MATRICES = {name: 2 * n * 5 * ((3 + 5) + (10 + 5)) for name, n in GATES.items()}
PROJECTED = 4 * 5 * (3 + 2) + 5 * 2

# (Gluon's net, PyTorch's, the input's shape, parameters, multiply-adds)
Make = Any
COUNTS: dict[str, tuple[Make, Make, tuple[int, ...], int, int]] = {
    "dense on more axes": (
        lambda: gnn.Dense(5, in_units=4, flatten=False),
        lambda: nn.Linear(4, 5),
        *((2, 3, 4), 25, 2 * 3 * 5 * 4),
    ),
    "an activation inside": (
        lambda: gnn.Conv2D(4, 3, in_channels=3, activation="relu"),
        *(None, (2, 3, 6, 6), 4 * 27 + 4, 2 * 16 * 4 * 27),
    ),
    "bilinear": (
        *(None, bilinear, (4, 3), 2 * 9 + 2),
        4 * 2 * 3 * (3 + 1),
    ),
    # Each of the 4 x 5 x 7 input numbers meets a kernel of 6 / 2 maps.
    "transposed, 2 groups": (
        lambda: gnn.Conv2DTranspose(6, (3, 2), 2, groups=2, in_channels=4),
        lambda: nn.ConvTranspose2d(4, 6, (3, 2), 2, groups=2),
        *((2, 4, 5, 7), 72 + 6, 2 * 5 * 7 * 72),
    ),
    "sizes of each axis": (
        lambda: gnn.Conv2D(6, (3, 1), (2, 1), (0, 1), (1, 2), groups=2, in_channels=4),
        lambda: nn.Conv2d(4, 6, (3, 1), (2, 1), (0, 1), (1, 2), groups=2),
        *((2, 4, 9, 7), 6 * 2 * 3 + 6, 2 * 6 * 4 * 9 * 2 * 3),
    ),
    **{
        kind: (
            lambda k=kind: getattr(rnn, k)(5, 2, bidirectional=True, input_size=3),
            lambda k=kind: first(getattr(nn, k)(3, 5, 2, bidirectional=True)),
            *((7, 2, 3), matrices + 2 * 2 * 2 * GATES[kind] * 5, 7 * 2 * matrices),
        )
        for kind, matrices in MATRICES.items()
    },
    "projected": (
        lambda: rnn.LSTM(5, input_size=3, projection_size=2),
        lambda: first(nn.LSTM(3, 5, proj_size=2)),
        *((7, 2, 3), PROJECTED + 2 * 4 * 5, 7 * 2 * PROJECTED),
    ),
    "GRU cell": (
        *(gluon_cell, lambda: first(nn.GRUCell(3, 5))),
        *((2, 3), 3 * 5 * (3 + 5 + 2), 2 * 3 * 5 * (3 + 5)),
    ),
    # Projections of 4 queries and 4 keys, 4 x 4 scores with 6 numbers each, twice.
    "attention": (
        *(None, attention, (3, 4, 6), 4 * 36 + 4 * 6),
        3 * (4 * 4 * 6 * 6 + 2 * 4 * 4 * 6),
    ),
    # Norms and curves are not counted; Gluon's group norm has a gamma a group.
    "free": (
        lambda: sequence(
            *(gnn.LayerNorm(), gnn.InstanceNorm(), gnn.PReLU(), gnn.Swish())
        ),
        lambda: nn.Sequential(
            *(nn.LayerNorm(6), nn.InstanceNorm1d(4, 0, 0.1, True), nn.PReLU()),
            nn.Upsample(None, 2),
        ),
        *((2, 4, 6), 12 + 8 + 1, 0),
    ),
    **{
        name: (
            *(None, lambda c=change: conv_made_by(c), (1, 3, 8, 8)),
            *(216 + 8 + more, 36 * 8 * 27),
        )
        for name, (change, more) in MADE.items()
    },
    "weight in a buffer": (None, linear_of_a_buffer, (3, 4), 5, 60),
    "quantized": (None, quantized, (3, 4), 0, 60),
    "layers beside it": (None, low_rank, (3, 4), 25 + 10 + 15, 3 * (20 + 8 + 10)),
    "mask": (None, masked, (2, 4, 9, 9), 222, 2 * 49 * 216),
    # He et al., 2016: the zoo's first norm has neither scale nor shift.
    "ResNet v2": (
        mx.gluon.model_zoo.vision.resnet18_v2,
        *(None, (1, 3, 32, 32), 11_687_848, 37_523_456),
    ),
}


COUNTED = [
    pytest.param(half, name, id=f"{name}-{('gluon', 'pytorch')[half]}")
    for name, row in COUNTS.items()
    for half in (0, 1)
    if row[half] is not None
]


@pytest.mark.parametrize(("half", "name"), COUNTED)
def test_counted_by_hand(half: int, name: str) -> None:
    make, (shape, parameters, work) = COUNTS[name][half], COUNTS[name][2:]
    with warnings.catch_warnings():  # of what PyTorch will move or fuse
        warnings.simplefilter("ignore")
        net = make()
        if half == 0:
            net.initialize()
        result = ledger(net, shape)
    assert (result.parameters, result.multiply_adds) == (parameters, work)


@BOTH
def test_looked_up(half: int) -> None:
    """An embedding in front gets whole numbers; its table is tied to the end."""
    if half:
        net = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9))
        net[1].weight = net[0].weight
    else:
        table = gnn.Embedding(9, 4)
        dense = gnn.Dense(9, flatten=False, in_units=4, params=table.params)
        net = gluon_sequence(table, dense)
    book = ledger(net, (2, 3))
    assert [e.output for e in book.entries] == [(2, 3, 4), (2, 3, 9)]
    assert [e.parameters for e in book.entries] == [36, 9]
    assert book.multiply_adds == 6 * 36
    # Its input has 8 bytes for each place, whatever the net's dtype.
    assert book.lifetimes is not None
    for size in (4, 8):
        assert book.lifetimes.largest(size)[0] == 8 * 6 + size * 6 * (4 + 9)


class TestDerived:
    """A class of one's own counts by the nearest base that has a rule."""

    def test_both_halves(self) -> None:
        one = derived(gnn.Conv2D, 6, 3), derived(gnn.BatchNorm)
        two = derived(nn.Conv2d, 4, 6, 3), derived(nn.BatchNorm2d, 6)
        for net, measured in (
            (gluon_sequence(*one), kept_bytes),
            (nn.Sequential(*two), torch_kept_bytes),
        ):
            result = ledger(net, (2, 4, 9, 9))
            assert [e.parameters for e in result.entries] == [222, 12]
            assert result.multiply_adds == 2 * 49 * 216
            assert result.kept == measured(net, (2, 4, 9, 9))

    def test_its_own_forward_pass(self) -> None:
        """The work is the base's; what training keeps may not be."""

        class GConv(gnn.Conv2D):
            def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any) -> Any:
                return super().hybrid_forward(F, x, weight * 2, bias)

        class TConv(nn.Conv2d):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments)
                self.gain = nn.Parameter(torch.ones(6, 1, 1, 1))

            def forward(self, x: Any) -> Any:
                return self._conv_forward(x, self.weight * self.gain, self.bias)

        for net, more in ((gluon_sequence(GConv(6, 3)), 0), (TConv(4, 6, 3), 6)):
            result = ledger(net, (2, 4, 9, 9))
            assert result.parameters == 222 + more
            assert result.multiply_adds == 2 * 49 * 216
            with pytest.raises(ValueError, match="no rule for what training keeps"):
                _ = result.kept

    def test_more_matrices_are_more_work(self) -> None:
        def forward(layer: Any, x: Any) -> Any:
            return nn.Linear.forward(layer, x) + x @ layer.down.T @ layer.up.T

        linear = derived(nn.Linear, 4, 5, forward=forward)
        linear.down = nn.Parameter(torch.ones(2, 4))
        linear.up = nn.Parameter(torch.ones(5, 2))
        with pytest.raises(ValueError, match=r"no rule .*Own.*'down': \(2, 4\)"):
            ledger(linear, (3, 4))


class TestConstants:
    """What is stored and never trained is no parameter; what is frozen still is."""

    def test_norm_without_scale(self) -> None:
        norm = gnn.BatchNorm(scale=False, center=False, in_channels=6)
        net = gluon_sequence(gnn.Conv2D(6, 1, in_channels=4, use_bias=False), norm)
        result = ledger(net, (2, 4, 3, 3))
        assert (result.parameters, result.frozen, result.buffers) == (24, 0, 12)
        net.collect_params().setattr("grad_req", "null")
        result = ledger(net, (2, 4, 3, 3))
        assert (result.parameters, result.frozen, result.buffers) == (24, 24, 12)


def test_numpy_arrays() -> None:
    """After `npx.set_np()` a net counts the same, in every column."""

    def book() -> Any:
        net = conv_nets()[0]
        net.add(gnn.Dropout(0.5), gnn.Dense(3, in_units=5))
        net[-1].initialize()
        result = ledger(net, (2, 4, 9, 9))
        assert result.kept == kept_bytes(net, (2, 4, 9, 9))
        assert result.live is not None
        return totals(result), result.kept, result.live[0]

    expected = book()
    mx.npx.set_np()
    try:
        assert book() == expected
        net = GluonChunks(8, 8, 3, rank=2)
        net.initialize()
        with pytest.raises(ValueError, match="_npi_add between the layers"):
            _ = ledger(net, (1, 8, 5, 5)).kept
    finally:
        mx.npx.reset_np()


@pytest.fixture(params=["gluon", "pytorch"])
def half(request: pytest.FixtureRequest) -> str:
    return request.param


def some_layers(half: str) -> Any:
    """A net whose layers 0, 1, 5, 6, 8 and 10 have parameters."""
    if half == "gluon":
        return gluon_sequence(
            *(gnn.Conv2D(4, 3, in_channels=3), gnn.BatchNorm(in_channels=4)),
            *(gnn.Activation("relu"), gnn.MaxPool2D(2), gnn.Dropout(0.5)),
            gnn.Conv2D(4, 1, in_channels=4, activation="relu"),
            *(gnn.PReLU(), gnn.Flatten(), gnn.Dense(5, in_units=36)),
            *(gnn.Activation("sigmoid"), gnn.Dense(2, in_units=5)),
        )
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Dropout(0.5), nn.Conv2d(4, 4, 1), nn.PReLU(), nn.Flatten()),
        *(nn.Linear(36, 5), nn.Sigmoid(), nn.Linear(5, 2)),
    )


ALL = (0, 1, 5, 6, 8, 10)
#: By layer, the frozen parameters: those with this part in their names.
FROZEN: dict[str, dict[int, str]] = {
    "the first two": dict.fromkeys((0, 1), ""),
    "the first half": dict.fromkeys((0, 1, 5), ""),
    "all": dict.fromkeys(ALL, ""),
    "a convolution's weight": {5: "weight"},
    "a convolution's bias": {5: "bias"},
    "all but a shift": {**dict.fromkeys(ALL, ""), 1: "weight"},
    "all but a dense bias": {**dict.fromkeys(ALL, ""), 8: "weight"},
}
#: PyTorch alone has a rule for each gradient of a layer.
FROZEN_TORCH = {"a scale": {1: "weight"}, "a dense weight": {8: "weight"}}


def freeze(layer: Any, role: str = "") -> None:
    """All parameters of a layer, or those whose names have a part."""
    if isinstance(layer, nn.Module):
        for name, parameter in layer.named_parameters():
            if role in name:
                parameter.requires_grad_(False)
    else:
        for name, parameter in layer.collect_params().items():
            if role in name:
                parameter.grad_req = "null"


class TestFrozen:
    """What needs no gradient keeps nothing, measured."""

    SHAPE = (2, 3, 9, 9)

    def check(self, half: str, net: Any) -> int:
        measured = kept_bytes if half == "gluon" else torch_kept_bytes
        kept = ledger(net, self.SHAPE).kept
        assert kept == measured(net, self.SHAPE)
        return kept

    @pytest.mark.parametrize(
        ("half", "name"),
        [("gluon", name) for name in FROZEN]
        + [("pytorch", name) for name in [*FROZEN, *FROZEN_TORCH]],
    )
    def test_kept(self, half: str, name: str) -> None:
        net = some_layers(half)
        for index, role in {**FROZEN, **FROZEN_TORCH}[name].items():
            freeze(net[index], role)
        assert (self.check(half, net) == 0) == (name == "all")

    def test_norm_and_dropout_in_evaluation(self) -> None:
        net = some_layers("pytorch")
        train = {"train": stay_in_evaluation}
        net[1] = derived(nn.BatchNorm2d, 4, **train).requires_grad_(False)
        net[4] = derived(nn.Dropout, 0.5, **train)
        self.check("pytorch", net)
        memory = ledger(net, self.SHAPE).memory()
        assert memory.statistics == memory.masks == 0


def test_cut_and_joined_maps() -> None:
    """In float32, oneDNN ended the process in the recorded pass of such a net. Joining
    keeps what it joins; cutting and adding keep nothing."""

    def cut(x: Any) -> Any:
        return x.slice(begin=(None,) * 4, end=(None, None, -1, -1))

    def joined(net: Any, x: Any) -> Any:
        width = (0, 0, 0, 0, 1, 0, 1, 0)
        padded = cut(x).pad(mode="constant", pad_width=width, constant_value=0)
        return operators(x).concat(net.one(x), net.two(padded), dim=1)

    def added(net: Any, x: Any) -> Any:
        both = cut(x)
        return net.one(both) + net.two(both)

    def net(forward: Any) -> Any:
        convs = (gnn.Conv2D(16, 1, in_channels=16) for _ in range(2))
        middle = own_block(forward, **dict(zip(("one", "two"), convs, strict=True)))
        first = gnn.Conv2D(16, 3, in_channels=3)
        return gluon_sequence(first, middle, gnn.Dropout(0.5))

    book = ledger(net(joined), (2, 3, 9, 9))
    assert book.multiply_adds == 2 * 49 * (27 * 16 + 2 * 256)
    with pytest.raises(ValueError, match="Concat, Pad between the layers"):
        _ = book.kept
    # The input, what both convolutions read, the mask.
    assert ledger(net(added), (2, 3, 9, 9)).kept == 4 * 2 * (3 * 81 + 2 * 36 * 16)


class TestAddedRule:
    @pytest.fixture(autouse=True)
    def _forget(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_ADDED", {})

    @BOTH
    def test_also_for_what_derives_from_it(self, half: int) -> None:
        layer = scale_layer(half)

        def work(layer: Any, inputs: Any, output: Any) -> int:
            assert (inputs, output) == ([(2, 4, 5, 5)], (2, 4, 5, 5))
            return 2 * int(layer.scale.shape[0])

        rule(type(layer), work)
        layer.__class__ = type("Derived", (type(layer),), {})
        (entry,) = ledger(only(half, layer), (2, 4, 5, 5)).entries
        assert (entry.kind, entry.multiply_adds, entry.parameters) == ("Derived", 8, 4)

    def test_children_are_part_of_it(self) -> None:
        net = own_module(lambda net, x: net.linear(x), linear=nn.Linear(3, 3))
        rule(type(net), lambda layer, inputs, output: 9)
        (entry,) = ledger(nn.Sequential(net), (2, 3)).entries
        assert (entry.multiply_adds, entry.parameters) == (9, 12)

    def test_replaces_a_built_in_one(self) -> None:
        rule(nn.Linear, lambda layer, inputs, output: 7)
        assert ledger(nn.Sequential(nn.Linear(3, 3)), (2, 3)).multiply_adds == 7

    def test_refused(self) -> None:
        with pytest.raises(TypeError, match=r"^rule: kind must be a class, got 'Conv'"):
            rule("Conv", int)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"^rule: multiply_adds must be a function"):
            rule(nn.Linear, 3)  # type: ignore[arg-type]
        rule(nn.Linear, lambda layer, inputs, output: 0.5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"rule for 0 \(Linear\) .* got 0.5"):
            ledger(nn.Sequential(nn.Linear(3, 3)), (2, 3))


def test_the_biases_of_a_recurrent_layer_are_biases() -> None:
    (entry,) = ledger(nn.LSTM(3, 4), (5, 2, 3)).entries
    assert (entry.weights, entry.biases) == (16 * (3 + 4), 2 * 16)
