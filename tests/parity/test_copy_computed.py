"""`copy_parameters` copies what is computed: fixed scales, recurrent layers, constants,
files and arrays by name, NumPy's arrays of MXNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from halves import noise, randomize
from nets import gnn, nn, pair, sequence
from own_layers import derived, own_module, stay_in_evaluation
from torch.nn.utils import prune

from d2lutils import parity
from d2lutils.compat import mx

rnn: Any = mx.gluon.rnn
IMAGES = noise(5, 4, 3, 3)


def norm(kind: Any, gamma: Any = 1, beta: Any = 0, **options: Any) -> Any:
    """A Gluon norm over four channels, with these values."""
    if kind is not gnn.GroupNorm:
        options["in_channels"] = 4
    layer = kind(**options)
    layer.initialize()
    for parameter, value in ((layer.gamma, gamma), (layer.beta, beta)):
        values = np.broadcast_to(np.float32(value), parameter.shape)
        parameter.set_data(mx.nd.array(values))
    return layer


def affine(layer: Any, weight: Any = None, bias: Any = None) -> Any:
    """A PyTorch norm with these values."""
    for own, value in ((layer.weight, weight), (layer.bias, bias)):
        if value is not None:
            own.data[:] = torch.as_tensor(value, dtype=torch.float32)
    return layer


def outputs(gluon: Any, pytorch: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a = gluon(mx.nd.array(x)).asnumpy()
    return a, pytorch.eval()(torch.as_tensor(x)).detach().numpy()


# What can be copied: (Gluon's layer, PyTorch's), in both directions.
NORMS: dict[str, tuple[Any, Any]] = {
    "scale": (
        lambda: norm(gnn.BatchNorm, 3, 2, scale=False),
        lambda: nn.BatchNorm2d(4),
    ),
    "neither": (
        lambda: norm(gnn.BatchNorm, 3, 0, scale=False, center=False),
        lambda: nn.BatchNorm2d(4, affine=False),
    ),
    "instance, affine": (
        lambda: norm(gnn.InstanceNorm, 3, 2),
        lambda: nn.InstanceNorm2d(4, affine=True),
    ),
    "group": (
        lambda: norm(gnn.GroupNorm, [3, 4], 2, num_groups=2),
        lambda: nn.GroupNorm(2, 4),
    ),
}


@pytest.mark.parametrize("name", list(NORMS))
def test_norms_compute_the_same(name: str) -> None:
    make, make_torch = NORMS[name]
    gluon, pytorch = make(), make_torch()
    parity.copy_parameters(gluon, pytorch)
    a, b = outputs(gluon, pytorch, IMAGES)
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    back = make()
    for parameter in back._reg_params.values():
        parameter.set_data(mx.nd.ones(parameter.shape) * 7)
    parity.copy_parameters(pytorch, back)
    again, _ = outputs(back, pytorch, IMAGES)
    np.testing.assert_allclose(again, b, rtol=1e-4, atol=1e-5)


def test_into_a_layer_that_waits() -> None:
    off = {"scale": False, "center": False}
    for source, target in (
        (nn.BatchNorm2d(4, affine=False), gnn.BatchNorm(**off)),
        (nn.LayerNorm(4, elementwise_affine=False), gnn.LayerNorm(**off)),
        (nn.InstanceNorm2d(4), gnn.InstanceNorm()),
    ):
        parity.copy_parameters(source, target)
        assert np.array_equal(target.gamma.data().asnumpy(), np.ones(4))
        assert np.array_equal(target.beta.data().asnumpy(), np.zeros(4))


FIXED: dict[str, tuple[Any, Any, str]] = {
    "gamma": (
        lambda: affine(nn.BatchNorm2d(4), 3),
        lambda: norm(gnn.BatchNorm, scale=False),
        "target weight is always 1 in this BatchNorm (scale=False)",
    ),
    "layer norm without bias": (
        lambda: norm(gnn.LayerNorm, 3, 2),
        lambda: nn.LayerNorm(4, bias=False),
        "target bias is always 0 in this LayerNorm (it has no bias)",
    ),
    "within a group": (
        lambda: affine(nn.GroupNorm(2, 4), [3, 1, 4, 4]),
        lambda: norm(gnn.GroupNorm, num_groups=2),
        "target weight has one number for a group of channels",
    ),
    "bias of a recurrent layer": (
        lambda: affine_rnn(rnn.GRU(5, input_size=3)),
        lambda: nn.GRU(3, 5, bias=False),
        "target bias_ih_l0 is always 0 in this GRU (it has no bias_ih_l0)",
    ),
}


def affine_rnn(layer: Any) -> Any:
    layer.initialize(mx.init.Uniform(1))
    layer.l0_i2h_bias.set_data(mx.nd.ones(layer.l0_i2h_bias.shape))
    return layer


@pytest.mark.parametrize("name", list(FIXED))
def test_what_cannot_be_expressed_is_refused(name: str) -> None:
    make_source, make_target, text = FIXED[name]
    source, target = make_source(), make_target()

    def values() -> list[Any]:
        if isinstance(target, nn.Module):
            return [t.clone().numpy() for t in target.state_dict().values()]
        return [p.data().asnumpy() for p in target._reg_params.values()]

    before = values()
    with pytest.raises(ValueError, match=r"^copy_parameters: ") as caught:
        parity.copy_parameters(source, target)
    assert str(caught.value).startswith(f"copy_parameters: {text}")
    assert all(np.array_equal(a, b) for a, b in zip(before, values(), strict=True))


COMPUTED = {
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "weight norm": nn.utils.parametrizations.weight_norm,
}


@pytest.mark.parametrize("name", list(COMPUTED))
def test_a_weight_that_is_made_of_others(name: str) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    source = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    COMPUTED[name](source[0])
    randomize(source)
    source.eval()
    gluon = sequence(gnn.Dense(4, in_units=4), gnn.Dense(2, in_units=4))
    for target in (plain, gluon):
        parity.copy_parameters(source, target)
    x = noise(5, 4)
    a, b = outputs(gluon, source, x)
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert np.array_equal(outputs(gluon, plain, x)[1], b)
    before = {n: t.clone() for n, t in source.state_dict().items()}
    text = "0.weight is computed from other tensors; make it permanent first"
    with pytest.raises(ValueError, match=f"^copy_parameters: target {text}"):
        parity.copy_parameters(plain, source)
    with pytest.raises(ValueError, match=f"^compare: torch_net {text}"):
        parity.compare(gluon, source, x)
    for n, t in source.state_dict().items():
        assert torch.equal(before[n], t)


def test_a_norm_without_parameters_needs_no_partner() -> None:
    """Gluon's side may compute it in a function of its own."""
    one = sequence(gnn.Dense(3, in_units=3), gnn.Dense(2, in_units=3))
    two = nn.Sequential(
        nn.Linear(3, 3), nn.LayerNorm(3, elementwise_affine=False), nn.Linear(3, 2)
    )
    pair(one, two)
    expected = two[2].bias.detach().numpy()
    assert np.array_equal(one[1].bias.data().asnumpy(), expected)


@pytest.mark.parametrize("trained", [False, True])
def test_compare_with_a_fixed_gamma(trained: bool) -> None:
    one = sequence(
        gnn.Conv2D(4, 1, in_channels=4), gnn.BatchNorm(in_channels=4, scale=False)
    )
    two = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    one.initialize(mx.init.Uniform(1))
    one[1].gamma.set_data(mx.nd.ones(4) * 3)
    parity.copy_parameters(one, two)
    two[1].weight.requires_grad_(trained)
    report = parity.compare(one, two, IMAGES)
    assert report.ok is not trained, report
    if trained:
        row = next(row for row in report.rows if not row.ok)
        assert (row.quantity, row.worst) == ("parameter gradients", "1.weight")
    assert np.array_equal(one[1].gamma.data().asnumpy(), 3 * np.ones(4))


def test_statistics_move_by_the_layers_own_momentum() -> None:
    one = sequence(gnn.BatchNorm(in_channels=4, momentum=0.7))
    two = nn.Sequential(nn.BatchNorm2d(4, momentum=0.3))
    report = parity.compare(*pair(one, two), IMAGES)
    assert report.ok, report


def test_statistics_that_do_not_move() -> None:
    one = sequence(gnn.BatchNorm(in_channels=4, use_global_stats=True))
    two = nn.Sequential(derived(nn.BatchNorm2d, 4, train=stay_in_evaluation))
    report = parity.compare(*pair(one, two), IMAGES)
    assert report.ok, report


# (Gluon's, PyTorch's, more inputs than the sequence)
RECURRENT: dict[str, tuple[Any, Any, tuple[tuple[int, ...], ...]]] = {
    "LSTM": (
        lambda: rnn.LSTM(5, 2, bidirectional=True, input_size=3),
        *(lambda: nn.LSTM(3, 5, 2, bidirectional=True), ()),
    ),
    "GRU": (
        lambda: rnn.GRU(5, 2, layout="NTC", input_size=3, dropout=0.5),
        lambda: nn.GRU(3, 5, 2, batch_first=True, dropout=0.5),
        ((2, 7, 5),),
    ),
    "LSTM cell": (
        lambda: rnn.LSTMCell(5, input_size=3),
        *(lambda: nn.LSTMCell(3, 5), ((7, 5), (7, 5))),
    ),
    "RNN cell": (lambda: rnn.RNNCell(5, input_size=3), lambda: nn.RNNCell(3, 5), ()),
    "waiting": (lambda: rnn.LSTM(5), lambda: nn.LSTM(3, 5), ()),
}


@pytest.mark.parametrize("name", list(RECURRENT))
def test_recurrent_layers(name: str) -> None:
    gluon, pytorch, states = RECURRENT[name]
    one, two = pair(gluon(), pytorch())
    x = noise(7, 3) if "cell" in name else noise(7, 2, 3)
    report = parity.compare(
        one, two, x, *(noise(*shape, seed=2) for shape in states), steps=2
    )
    assert report.ok, report
    again = pytorch()
    parity.copy_parameters(one, again)
    for a, b in zip(two.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_recurrent_layer_without_biases() -> None:
    one, two = pair(rnn.LSTM(5, input_size=3), nn.LSTM(3, 5, bias=False))
    assert np.array_equal(one.l0_h2h_bias.data().asnumpy(), np.zeros(20))
    parity.copy_parameters(one, two)


class GluonOffset(gnn.HybridBlock):
    def __init__(self) -> None:
        super().__init__()
        self.dense = gnn.Dense(2, in_units=3)
        values = mx.nd.array([[1.0, 2.0]])
        self.offset = self.params.get_constant("offset", values)

    def hybrid_forward(self, F: Any, x: Any, offset: Any) -> Any:
        return F.broadcast_add(self.dense(x), offset)


def torch_offset(buffer: bool = True) -> Any:
    """The same; the offset is a buffer, or stands in the forward pass."""

    def forward(net: Any, x: Any) -> Any:
        return net.dense(x) + (net.offset if buffer else x.new_tensor([[1, 2]]))

    net = own_module(forward, dense=nn.Linear(3, 2))
    if buffer:
        net.register_buffer("offset", torch.tensor([[1.0, 2.0]]))
    return net


class TestConstants:
    @pytest.mark.parametrize("buffer", [True, False])
    def test_are_no_layers(self, buffer: bool) -> None:
        one, two = pair(GluonOffset(), torch_offset(buffer))
        report = parity.compare(one, two, noise(5, 3), steps=1)
        assert report.ok, report
        assert (report.layers, report.numbers) == (1, 8)
        assert np.dtype(one.offset.dtype) == "float32"

    def test_are_copied_and_checked(self) -> None:
        one, two = GluonOffset(), torch_offset()
        one.initialize()
        two.offset += 5
        parity.copy_parameters(one, two)
        assert two.offset.tolist() == [[1, 2]]
        two.offset += 1
        (row,) = parity.compare(one, two, noise(5, 3)).rows
        assert row.worst == "offset"
        parity.copy_parameters(two, one)
        assert one.offset.data().asnumpy().tolist() == [[2, 3]]
        assert parity.compare(one, two, noise(5, 3), steps=0).ok


def test_a_fixed_gamma_of_one_channel_compares() -> None:
    one = sequence(gnn.BatchNorm(in_channels=1, scale=False))
    one.initialize()
    two = nn.Sequential(nn.BatchNorm2d(1))
    two[0].weight.requires_grad_(False)
    parity.copy_parameters(one, two)
    assert parity.compare(one, two, noise(4, 1, 5, 5)).ok


def whole_nets() -> tuple[Any, Any]:
    """With a batch norm whose gamma is fixed."""
    one = sequence(
        gnn.Conv2D(4, 3, padding=1, in_channels=4),
        gnn.BatchNorm(in_channels=4),
        gnn.BatchNorm(in_channels=4, scale=False),
        gnn.Dense(3, in_units=36),
    )
    two = nn.Sequential(
        *(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)),
        *(nn.Flatten(), nn.Linear(36, 3)),
    )
    randomize(two)
    two[2].weight.data[:] = 1
    parity.copy_parameters(two, one)
    return one, two


class TestSources:
    """Every way to hold a trained net but the net itself."""

    @staticmethod
    def check(source: Any, two: Any) -> None:
        """Into both frameworks."""
        fresh, gluon = whole_nets()[::-1]
        randomize(fresh, 9)
        fresh[2].weight.data[:] = 1
        parity.copy_parameters(fresh, gluon)
        parity.copy_parameters(source, fresh)
        parity.copy_parameters(source, gluon)
        a, b = outputs(gluon, fresh, IMAGES)
        expected = two.eval()(torch.as_tensor(IMAGES)).detach().numpy()
        assert np.array_equal(b, expected)
        np.testing.assert_allclose(a, expected, rtol=1e-3, atol=1e-5)

    def test_gluon_files(self, tmp_path: Path) -> None:
        one, two = whole_nets()
        one.save_parameters(str(tmp_path / "one.params"))
        self.check(tmp_path / "one.params", two)
        one.collect_params().save(str(tmp_path / "flat.params"))
        self.check(str(tmp_path / "flat.params"), two)
        self.check(mx.nd.load(str(tmp_path / "one.params")), two)
        self.check(one.collect_params(), two)

    @pytest.mark.filterwarnings("ignore:Cannot decide type")
    def test_exported(self, tmp_path: Path) -> None:
        """The symbol beside the file knows that gamma is fixed."""
        one, two = whole_nets()
        one.hybridize()
        one(mx.nd.array(IMAGES))
        one[2].gamma.set_data(mx.nd.ones(4) * 3)
        one.export(str(tmp_path / "net"))
        self.check(tmp_path / "net-0000.params", two)
        names = [str(tmp_path / f"net-{end}") for end in ("symbol.json", "0000.params")]
        block = mx.gluon.SymbolBlock.imports(names[0], ["data"], names[1])
        self.check(block, two)
        randomize(two, 4)
        with pytest.raises(
            ValueError, match=r"batchnorm\d+.weight is always 1 in this"
        ):
            parity.copy_parameters(two, block)
        two[2].weight.data[:] = 1
        two[2].weight.requires_grad_(False)
        parity.copy_parameters(two, block)
        report = parity.compare(block, two, IMAGES, steps=1, weight_decay=0.0)
        assert report.ok, report
        assert report.layers == 4

    def test_torch_and_numpy(self, tmp_path: Path) -> None:
        _, two = whole_nets()
        torch.save(two.state_dict(), tmp_path / "two.pt")
        self.check(tmp_path / "two.pt", two)
        arrays = {name: t.numpy() for name, t in two.state_dict().items()}
        np.savez(tmp_path / "two.npz", **arrays)
        self.check(tmp_path / "two.npz", two)
        self.check(arrays, two)
        self.check(two.state_dict(), two)

    def test_recurrent_by_name(self) -> None:
        one, two = pair(rnn.GRU(5, 2, input_size=3), nn.GRU(3, 5, 2))
        for source in (two.state_dict(), one.collect_params()):
            fresh = nn.GRU(3, 5, 2)
            parity.copy_parameters(source, fresh)
            assert torch.equal(fresh.weight_hh_l1, two.weight_hh_l1)

    def test_matched_by_name(self, tmp_path: Path) -> None:
        """Layers registered in another order; those without a name follow in order."""
        one = gnn.HybridSequential()
        one.add(gnn.Dense(3, in_units=3), gnn.Dense(3, in_units=3), gnn.BatchNorm())
        one.initialize(mx.init.Normal(0.5))
        one(mx.nd.ones((2, 3)))
        names = ("head", "norm", "stem")
        layers = (nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
        two = nn.Sequential(OrderedDict(zip(names, layers, strict=True)))
        one.save_parameters(str(tmp_path / "one.params"))
        for source in (one, tmp_path / "one.params"):
            for chosen in ({"0": "stem"}, {"0.weight": "stem.bias", "1": "head"}):
                randomize(two, 3)
                parity.copy_parameters(source, two, chosen)
                for ours, theirs in ((one[0], two.stem), (one[1], two.head)):
                    weight = ours.weight.data().asnumpy()
                    assert np.array_equal(weight, theirs.weight.detach().numpy())
        before = two.stem.weight.clone()
        for chosen, text in (
            ({"3": "stem"}, "source has no layer '3'; it has 0, 1, 2"),
            ({"0": "tail"}, "target has no layer 'tail'; it has head, norm, stem"),
            ({"0": "norm"}, r"layers differ: source 0 \(Dense: .* target norm"),
            ({"0": "stem", "1": "stem"}, "a layer of target occurs twice"),
        ):
            with pytest.raises(ValueError, match=f"^copy_parameters: names: {text}"):
                parity.copy_parameters(one, two, chosen)
        with pytest.raises(TypeError, match="names must map names to names"):
            parity.copy_parameters(one, two, "stem")  # type: ignore[arg-type]
        assert torch.equal(two.stem.weight, before)

    def test_a_damaged_file(self, tmp_path: Path) -> None:
        one, two = whole_nets()
        path = tmp_path / "one.params"
        one.save_parameters(str(path))
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(
            ValueError, match=r"^copy_parameters: source one\.params is"
        ):
            parity.copy_parameters(path, two)

    def test_refused(self, tmp_path: Path) -> None:
        target = nn.Linear(3, 2)
        before = target.weight.clone()
        (tmp_path / "text.pt").write_text("no arrays")
        weight = np.ones((2, 3))
        for source, kind, text in (
            ({}, ValueError, "source holds no arrays"),
            ({"weight": "x"}, TypeError, r"source\['weight'\] must be an array, got"),
            ({3: weight}, TypeError, "source has a key that is no name: 3"),
            ({"weight": weight}, ValueError, "layer 0 differs: source the net itself"),
            (tmp_path / "none.pt", FileNotFoundError, "source names no file: none.pt"),
            (tmp_path / "text.pt", ValueError, "source text.pt is not what"),
        ):
            with pytest.raises(kind, match=f"^copy_parameters: {text}"):
                parity.copy_parameters(source, target)
        with pytest.raises(TypeError, match=r"^copy_parameters: target must be a"):
            parity.copy_parameters(target, {})
        assert torch.equal(target.weight, before)


def test_meta_device() -> None:
    real, meta = nn.Linear(3, 2), nn.Linear(3, 2, device="meta")
    text = "weight has no values: it is on the meta device"
    for source, target in ((real, meta), (meta, real)):
        with pytest.raises(ValueError, match=text):
            parity.copy_parameters(source, target)
    one, _ = pair(gnn.Dense(2, in_units=3), real)
    with pytest.raises(ValueError, match=f"^compare: {text}"):
        parity.compare(one, meta, noise(5, 3))


@pytest.fixture
def numpy_arrays() -> Iterator[None]:
    mx.npx.set_np()
    try:
        yield
    finally:
        mx.npx.reset_np()


@pytest.mark.usefixtures("numpy_arrays")
class TestNumpyArrays:
    """All of it under `npx.set_np()`."""

    def test_a_net(self) -> None:
        """One layer waits for its shape."""
        one = sequence(
            *(gnn.Conv2D(4, 3, padding=1, in_channels=4), gnn.BatchNorm(in_channels=4)),
            *(gnn.Activation("relu"), gnn.Dense(3, in_units=0)),
        )
        two = nn.Sequential(
            *(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(36, 3)),
        )
        report = parity.compare(*pair(one, two), mx.np.array(IMAGES))
        assert report.ok, report
        assert len(report.float32) == 3
        assert isinstance(one[0].weight.data(), mx.np.ndarray)

    def test_a_recurrent_layer(self) -> None:
        one, two = pair(rnn.LSTM(5, input_size=3), nn.LSTM(3, 5))
        report = parity.compare(one, two, noise(7, 2, 3), steps=1)
        assert report.ok, report
