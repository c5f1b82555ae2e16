"""PyramidNet: the paper's counts, parity of unit and net, and whatever wraps them."""

from __future__ import annotations

import copy
import io
from contextlib import nullcontext
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pairs import halves, mirrored, noise, pair, sequence, train

from d2lutils import parity
from d2lutils.compat import mx
from d2lutils.ledger import ledger
from d2lutils.shapes import drop_probs, output_size, pyramid_widths

GLUON, PYTORCH = halves("pyramidnet")

# -- counts ----------------------------------------------------------------------------

WIDER = {"widening": "multiplicative"}
DEEPER = {"block": "bottleneck"}
COUNTS = [
    # The same integers in two public model zoos, CIFAR-10.
    ((110, 48), {}, 1_772_706),
    ((110, 84), {}, 3_904_446),
    ((110, 270), {}, 28_485_477),
    ((164, 270), DEEPER, 27_216_021),
    # Derived with these widths.
    ((20, 48), {}, 310_845),
    ((110, 4.75), WIDER, 1_762_206),
    ((110, 8), WIDER, 3_876_547),
    ((110, 27), WIDER, 28_361_693),
    # The same integer in a public model zoo, ImageNet.
    ((101, 360, 1000), DEEPER | {"stem": "imagenet"}, 42_455_070),
]


@pytest.mark.parametrize(("arguments", "options", "count"), COUNTS)
def test_parameters(
    arguments: tuple[Any, ...], options: dict[str, Any], count: int
) -> None:
    """Neither half allocates anything here: shapes are enough to count."""
    with torch.device("meta"):
        pytorch = PYTORCH.PyramidNet(*arguments, **options)
    assert sum(p.numel() for p in pytorch.parameters()) == count
    gluon = GLUON.PyramidNet(*arguments, **options)
    trained = [p for p in gluon.collect_params().values() if p.grad_req != "null"]
    assert sum(prod(p.shape) for p in trained) == count


@pytest.mark.parametrize(
    ("table", "alpha", "count"),
    [(1.7, 48, 1_772_706), (3.8, 84, 3_904_446), (28.3, 270, 28_485_477)],
)
def test_the_papers_own_table_is_a_little_lower(
    table: float, alpha: int, count: int
) -> None:
    """Table 4 of the paper gives millions; the authors' own code gives these counts."""
    assert 0.006 < 1 - table * 1e6 / count < 0.042


@pytest.mark.parametrize(
    ("alpha", "work"), [(48, 403_813_504), (84, 772_168_168)], ids=["a48", "a84"]
)
def test_multiply_adds(alpha: int, work: int) -> None:
    gluon = GLUON.PyramidNet(110, alpha)
    gluon.initialize()
    found = [
        ledger(net, (1, 3, 32, 32)) for net in (gluon, PYTORCH.PyramidNet(110, alpha))
    ]
    counts = {48: 1_772_706, 84: 3_904_446}
    for book in found:
        assert book.multiply_adds == work
        assert book.parameters == counts[alpha]


# -- how it is built -------------------------------------------------------------------


@pytest.mark.parametrize("half", [GLUON, PYTORCH], ids=["gluon", "pytorch"])
@pytest.mark.parametrize(
    ("arguments", "options", "start"),
    [
        ((20, 48), {}, 16),
        ((110, 48), {}, 16),
        ((29, 30), DEEPER, 16),
        ((20, 4), WIDER, 16),
        ((18, 100), {"stem": "imagenet"}, 64),
        ((50, 100), DEEPER | {"stem": "imagenet"}, 64),
    ],
)
def test_blocks(
    half: Any, arguments: tuple[Any, ...], options: dict[str, Any], start: int
) -> None:
    net = half.PyramidNet(*arguments, drop_prob=0.5, **options)
    units = list(net.blocks)
    stem = options.get("stem", "cifar")
    widths = pyramid_widths(
        *arguments,
        options.get("block", "basic"),
        options.get("widening", "additive"),
        start,
        stem,
    )
    factor = 4 if options.get("block") == "bottleneck" else 1
    channels = [factor * width for width in widths]
    assert [unit.channels for unit in units] == channels
    assert [unit.in_channels for unit in units] == [start, *channels[:-1]]
    assert [unit.sum.extra for unit in units] == np.diff([start, *channels]).tolist()
    # The first block of each group but the first halves the map.
    strides = [i for i, unit in enumerate(units) if unit.pool is not None]
    groups = {"cifar": 3, "imagenet": 4}[stem]
    assert len(strides) == groups - 1
    if stem == "cifar":
        third = len(units) // 3
        assert strides == [third, 2 * third]
    # The paper's linear rule.
    assert [unit.sum.drop_prob for unit in units] == drop_probs(len(units), 0.5)
    assert {unit.sum.mode for unit in units} == {"batch"}


def test_six_blocks_of_110_add_nothing() -> None:
    for half in (GLUON, PYTORCH):
        extras = [unit.sum.extra for unit in half.PyramidNet(110, 48).blocks]
        assert len(extras) == 54
        assert extras.count(0) == 6


@pytest.mark.parametrize("size", [(32, 32), (3, 3), (7, 10), (9, 4), (17, 5)])
def test_maps(size: tuple[int, int]) -> None:
    """Halved in ceil mode twice, whatever the size; both halves alike."""
    maps: dict[str, list[tuple[int, ...]]] = {"gluon": [], "pytorch": []}
    gluon, pytorch = mirrored("pyramidnet", "PyramidNet", 8, 12)
    for unit in gluon.blocks:
        unit.register_forward_hook(lambda _b, _x, y: maps["gluon"].append(y.shape))
    for unit in pytorch.blocks:
        unit.register_forward_hook(
            lambda _b, _x, y: maps["pytorch"].append(tuple(y.shape))
        )
    x = noise(2, 3, *size)
    gluon(mx.nd.array(x)).wait_to_read()
    pytorch(torch.tensor(x))
    expected = [(2, 20, *size)]
    for channels in (24, 28):
        size = tuple(output_size(n, 2, 2, ceil_mode=True) for n in size)
        expected.append((2, channels, *size))
    assert maps["gluon"] == maps["pytorch"] == expected


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_order_of_a_branch(block: str) -> None:
    """No ReLU before the first convolution, and none at the end."""
    for half in (GLUON, PYTORCH):
        unit = half.PyramidUnit(8, 10, 2, block)
        kinds = [type(layer).__name__[:4].lower() for layer in unit.sum.branch]
        kinds = ["relu" if kind == "acti" else kind for kind in kinds]
        middle = ["conv", "batc", "relu"] * (1 if block == "basic" else 2)
        assert kinds == ["batc", *middle, "conv", "batc"]


@pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])
def test_add_is_used_where_channels_are_added(half: int) -> None:
    calls: list[tuple[int, int]] = []
    right = halves("shortcuts")[half].add_zero_padded

    def add(x: Any, identity: Any, extra: int) -> Any:
        calls.append((x.shape[1] - identity.shape[1], extra))
        return right(x, identity, extra)

    net = (GLUON, PYTORCH)[half].PyramidNet(20, 4, add=add)
    x = noise(2, 3, 5, 5)
    if half == 0:
        net.initialize()
        net(mx.nd.array(x)).wait_to_read()
    else:
        net(torch.tensor(x))
    # 16 + 4 k / 9: four of the nine blocks add a channel.
    assert calls == [(1, 1)] * 4


# -- parity ----------------------------------------------------------------------------


def check(nets: tuple[Any, Any], *shape: int, **options: Any) -> parity.Report:
    report = parity.compare(*nets, noise(*shape), **options)
    assert report.ok, report
    return report


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("block", "in_channels", "width", "extra"),
    [
        ("basic", 8, 8, 0),
        ("basic", 7, 8, 1),
        ("basic", 5, 13, 8),
        ("bottleneck", 8, 2, 0),
        ("bottleneck", 11, 3, 1),
        ("bottleneck", 5, 4, 11),
    ],
)
def test_unit(
    block: str, in_channels: int, width: int, extra: int, stride: int
) -> None:
    """Nothing to add, a channel, and more channels to add than there are."""
    nets = mirrored("pyramidnet", "PyramidUnit", in_channels, width, stride, block)
    assert [net.sum.extra for net in nets] == [extra] * 2
    check(nets, 3, in_channels, 7, 6, steps=3)


@pytest.mark.parametrize("mode", ["batch", "row", "gather"])
def test_unit_with_its_randomness_off(mode: str) -> None:
    nets = mirrored("pyramidnet", "PyramidUnit", 5, 8, 2, "basic", 0.5, mode)
    check(nets, 3, 5, 5, 7, steps=3)
    assert [net.sum.drop_prob for net in nets] == [0.5, 0.5]


NETS = [
    ((8, 12), {}, (6, 6)),
    ((8, 12), {}, (7, 5)),
    ((8, 24), {}, (8, 8)),  # widths that are multiples of 8
    ((8, 1.5), WIDER, (6, 6)),
    ((11, 9), DEEPER, (6, 7)),
    ((11, 2), DEEPER | WIDER, (5, 6)),
    ((8, 12), {"drop_prob": 0.5}, (6, 6)),
    ((8, 12), {"drop_prob": 0.5, "drop_mode": "row"}, (6, 6)),
    ((8, 12), {"drop_prob": 0.5, "drop_mode": "gather"}, (6, 6)),
    ((11, 9), DEEPER | {"drop_prob": 1.0}, (5, 5)),
    ((18, 20), {"stem": "imagenet"}, (17, 19)),
    ((18, 20), {"stem": "imagenet", "drop_prob": 0.5, "drop_mode": "row"}, (18, 17)),
]


@pytest.mark.parametrize(("arguments", "options", "size"), NETS)
def test_net(
    arguments: tuple[Any, ...], options: dict[str, Any], size: tuple[int, int]
) -> None:
    """Imperative and hybridized, randomness off; all as it was afterwards."""
    nets = mirrored(
        *("pyramidnet", "PyramidNet", *arguments),
        num_classes=5,
        in_channels=2,
        **options,
    )
    nets[0].hybridize()
    before = [block._active for block in gluon_blocks(nets[0])]
    drops = [unit.sum.drop_prob for unit in nets[0].blocks]
    report = check(nets, 4, 2, *size, steps=0 if "stem" in options else 3)
    assert {row.mode for row in report.rows} == {"imperative", "hybridized"}
    assert [block._active for block in gluon_blocks(nets[0])] == before
    for net in nets:
        assert [unit.sum.drop_prob for unit in net.blocks] == drops
    assert drops == drop_probs(len(drops), options.get("drop_prob", 0.0))


def gluon_blocks(net: Any) -> list[Any]:
    found = [net]
    for child in net._children.values():
        found += gluon_blocks(child)
    return found


def test_imagenet_bottleneck_of_50_layers() -> None:
    """Outputs alone: 16 blocks of three convolutions each take a while."""
    options = DEEPER | {"stem": "imagenet", "num_classes": 3, "in_channels": 1}
    gluon, pytorch = mirrored("pyramidnet", "PyramidNet", 50, 12, **options)
    gluon.cast("float64")
    x = noise(2, 1, 17, 18, dtype="float64")
    for training in (False, True):
        pytorch.double().train(training)
        with torch.no_grad(), mx.autograd.train_mode() if training else nullcontext():
            found = gluon(mx.nd.array(x, dtype="float64")).asnumpy()
            expected = pytorch(torch.tensor(x)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_pyramidnet_20_over_five_steps() -> None:
    """The design's proof; the chapter has it on CIFAR's size."""
    nets = mirrored("pyramidnet", "PyramidNet", 20, 48)
    report = check(nets, 4, 3, 16, 16, steps=5)
    assert report.steps == 5
    # stem and head: 2 + 2 layers, and 5 in each of 9 blocks
    assert report.layers == 2 + 2 + 5 * 9


def test_the_comparison_sees_a_wrong_shortcut() -> None:
    """Zeros before the identity instead of behind it: the same net but for that."""

    def before(x: Any, identity: Any, extra: int) -> Any:
        return torch.cat((x[:, :extra], x[:, extra:] + identity), dim=1)

    gluon = GLUON.PyramidUnit(4, 6)
    nets = pair(gluon, PYTORCH.PyramidUnit(4, 6, add=before))
    report = parity.compare(*nets, noise(3, 4, 5, 5), steps=0)
    assert not report.ok


# -- Gluon: hybridized, in training, exported ------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options"),
    [((20, 48), {}), ((8, 24), {}), ((20, 5), {}), ((11, 9), DEEPER)],
    ids=["odd widths", "multiples of 8", "some without", "bottleneck"],
)
def test_gluon_trains_hybridized(
    arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """In float32, as readers do, with a short last batch: as when run imperatively."""
    sizes = (5, 5, 3, 1, 7)
    batches = [noise(n, 3, 9, 8, seed=n) for n in sizes]
    results = []
    for flags in ({}, {"static_alloc": True}):
        net, _ = mirrored("pyramidnet", "PyramidNet", *arguments, **options)
        if flags:
            net.hybridize(**flags)
        results.append(train(net, batches, rate=2**-5))
    (plain, output), (hybridized, other) = results
    assert np.isfinite(plain).all()
    np.testing.assert_allclose(hybridized, plain, rtol=1e-2)
    np.testing.assert_allclose(other, output, rtol=5e-2, atol=1e-2)


def test_gluon_trains_with_a_static_shape() -> None:
    net, _ = mirrored("pyramidnet", "PyramidNet", 8, 13)
    net.hybridize(static_alloc=True, static_shape=True)
    losses, _ = train(net, [noise(5, 3, 8, 8)] * 5, rate=2**-5)
    assert losses[-1] < losses[0]


@pytest.mark.filterwarnings("ignore:Cannot decide type")  # MXNet's own, on reading
@pytest.mark.parametrize("drop_prob", [0.0, 0.75])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_gluon_net_exported(block: str, drop_prob: float, tmp_path: Path) -> None:
    """Read back for other batch sizes, in evaluation."""
    depth = {"basic": 8, "bottleneck": 11}[block]
    net, other = mirrored(
        *("pyramidnet", "PyramidNet", depth, 13),
        block=block,
        drop_prob=drop_prob,
        drop_mode="row",
    )
    net.hybridize()
    net(mx.nd.array(noise(3, 3, 7, 8)))
    net.export(str(tmp_path / "net"))
    files = [str(tmp_path / f"net-{end}") for end in ("symbol.json", "0000.params")]
    again = mx.gluon.SymbolBlock.imports(files[0], ["data"], files[1])
    other.eval()
    for n in (1, 4):
        x = noise(n, 3, 7, 8, seed=n)
        expected = other(torch.tensor(x)).detach().numpy()
        for reader in (net, again):
            found = reader(mx.nd.array(x)).asnumpy()
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_inside_somebody_elses_hybridized_net() -> None:
    """Without stochastic depth a unit is a block like any other there."""
    unit, other = mirrored("pyramidnet", "PyramidUnit", 4, 7, 2)
    net = sequence(unit, mx.gluon.nn.Activation("relu"))
    net.hybridize()
    x = noise(3, 4, 5, 6)
    other.eval()
    np.testing.assert_allclose(
        net(mx.nd.array(x)).asnumpy(),
        other(torch.tensor(x)).relu().detach().numpy(),
        rtol=1e-4,
        atol=1e-5,
    )


def test_gluon_parameters_saved_and_loaded(tmp_path: Path) -> None:
    net, _ = mirrored("pyramidnet", "PyramidNet", 8, 12, drop_prob=0.5)
    again = GLUON.PyramidNet(8, 12)
    net.save_parameters(str(tmp_path / "net.params"))
    again.load_parameters(str(tmp_path / "net.params"))
    x = mx.nd.array(noise(2, 3, 6, 6))
    assert np.array_equal(net(x).asnumpy(), again(x).asnumpy())


# -- what PyTorch's readers wrap around it ---------------------------------------------


@pytest.mark.parametrize("options", [{}, DEEPER], ids=["basic", "bottleneck"])
class TestPyTorch:
    @staticmethod
    def net(options: dict[str, Any]) -> tuple[Any, torch.Tensor]:
        depth = 11 if options else 8
        net = mirrored("pyramidnet", "PyramidNet", depth, 13, **options)[1]
        return net, torch.tensor(noise(4, 3, 7, 8))

    def test_compile(self, options: dict[str, Any]) -> None:
        """Whole: no Python is left between the layers."""
        net, x = self.net(options)
        torch.compiler.reset()
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        net.eval()
        for inputs in (x, x[:3]):
            torch.testing.assert_close(compiled(inputs), net(inputs))

    def test_compile_in_training(self, options: dict[str, Any]) -> None:
        unit = mirrored("pyramidnet", "PyramidUnit", 3, 5, 2, **options)[1]
        x = torch.tensor(noise(4, 3, 7, 8))
        torch.compiler.reset()
        compiled = torch.compile(unit, backend="aot_eager", fullgraph=True)
        expected = unit(x)
        expected.sum().backward()
        gradients = [p.grad.clone() for p in unit.parameters()]
        unit.zero_grad()
        found = compiled(x)
        found.sum().backward()
        torch.testing.assert_close(found, expected)
        for p, gradient in zip(unit.parameters(), gradients, strict=True):
            torch.testing.assert_close(p.grad, gradient, rtol=1e-4, atol=1e-4)

    def test_export_with_any_batch(self, options: dict[str, Any]) -> None:
        net, x = self.net(options)
        net.eval()
        batch = torch.export.Dim("batch", min=1, max=64)
        exported = torch.export.export(net, (x,), dynamic_shapes=({0: batch},))
        for n in (1, 3, 64):
            other = torch.tensor(noise(n, 3, 7, 8, seed=n))
            torch.testing.assert_close(
                exported.module()(other), net(other), rtol=1e-4, atol=1e-4
            )

    def test_memory_in_another_order(self, options: dict[str, Any]) -> None:
        net, x = self.net(options)
        net.eval()
        last = x.contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(net(last), net(x), rtol=1e-4, atol=1e-4)
        kept = net.to(memory_format=torch.channels_last).blocks(net.stem(last))
        assert kept.is_contiguous(memory_format=torch.channels_last)

    def test_autocast(self, options: dict[str, Any]) -> None:
        net, x = self.net(options)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = net(x)
            found.float().sum().backward()
        torch.testing.assert_close(found.float(), net(x), rtol=0.2, atol=0.3)
        assert all(p.grad.dtype == torch.float32 for p in net.parameters())

    def test_copied_saved_and_loaded(self, options: dict[str, Any]) -> None:
        net, x = self.net(options)
        net.eval()
        expected = net(x)
        file = io.BytesIO()
        torch.save(net.state_dict(), file)
        file.seek(0)
        again = PYTORCH.PyramidNet(11 if options else 8, 13, **options)
        again.load_state_dict(torch.load(file, weights_only=True))
        for other in (copy.deepcopy(net), again.eval()):
            assert torch.equal(other(x), expected)

    def test_input_stays_as_it_is(self, options: dict[str, Any]) -> None:
        """Also of a unit alone, whose ReLUs may write where they read."""
        net, x = self.net(options)
        unit = PYTORCH.PyramidUnit(3, 5, **options)
        before = x.clone()
        for block in (net, unit):
            block(x).sum().backward()
            assert torch.equal(x, before)


def test_gluon_input_stays_as_it_is() -> None:
    unit, _ = mirrored("pyramidnet", "PyramidUnit", 3, 5, 2)
    x = noise(2, 3, 5, 5)
    a = mx.nd.array(x)
    for hybrid in (False, True):
        unit.hybridize(hybrid)
        with mx.autograd.record():
            y = unit(a)
        y.backward()
        assert np.array_equal(a.asnumpy(), x)
