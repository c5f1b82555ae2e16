"""Network in Network: counts, parity, what is read, and whatever wraps it."""

from __future__ import annotations

import copy
import importlib
import io
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pairs import gnn, halves, nn, noise, sequence, train

from d2lutils import data, parity, shapes
from d2lutils.compat import mx
from d2lutils.ledger import Ledger, ledger

GLUON, PYTORCH = halves("nin")
NARROW = {"widths": (8, 8, 8), "num_classes": 3}


def enliven(net: Any, seed: int = 0) -> None:
    """Random weights with which numbers come through twelve ReLUs in a row.

    The weights of `pairs.randomize` halve the signal at each: a few layers on every
    output is its bias, every gradient zero, and a comparison compares nothing.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    with torch.no_grad():
        for tensor in net.state_dict().values():
            shape = tuple(tensor.shape)
            values = generator.standard_normal(shape)
            if len(shape) > 1:
                values *= np.sqrt(2 / np.prod(shape[1:]))
            else:
                values = 0.1 + 0.05 * values
            tensor.copy_(torch.as_tensor(values))


def pair(gluon: Any, pytorch: Any, seed: int = 0) -> tuple[Any, Any]:
    """Both nets with the same lively values; the Gluon one is initialised by this."""
    enliven(pytorch, seed)
    parity.copy_parameters(pytorch, gluon)
    return gluon, pytorch


def mirrored(name: str, *arguments: Any, seed: int = 0, **options: Any) -> Any:
    """The pair of nets that one call makes in both halves."""
    one, two = (getattr(half, name) for half in (GLUON, PYTORCH))
    return pair(one(*arguments, **options), two(*arguments, **options), seed)


def is_alive(net: Any, x: np.ndarray) -> bool:
    """Whether each example has its own output and each parameter some gradient."""
    own = copy.deepcopy(net).eval()
    outputs = own(torch.tensor(x))
    outputs.sum().backward()
    different = len({o.tobytes() for o in outputs.detach().numpy()}) == len(x)
    return different and all(bool(p.grad.any()) for p in own.parameters())


def alive(name: str, x: np.ndarray, *arguments: Any, **options: Any) -> Any:
    """The first pair of nets, by seed, in which every parameter matters for `x`."""
    for seed in range(50):
        nets = mirrored(name, *arguments, seed=seed, **options)
        if is_alive(nets[1], x):
            return nets
    raise AssertionError("no net in which every parameter matters")


# -- counts ----------------------------------------------------------------------------

# (output, parameters with bias, multiply-adds) of a row: a NiN block is three layers.
TABLE: list[tuple[tuple[int, ...], list[int], list[int]]] = [
    (
        (96, 54, 54),
        [11_712, 9_312, 9_312],
        [33_872_256, 26_873_856, 26_873_856],
    ),
    ((96, 26, 26), [0], [0]),
    (
        (256, 26, 26),
        [614_656, 65_792, 65_792],
        [415_334_400, 44_302_336, 44_302_336],
    ),
    ((256, 12, 12), [0], [0]),
    (
        (384, 12, 12),
        [885_120, 147_840, 147_840],
        [127_401_984, 21_233_664, 21_233_664],
    ),
    ((384, 5, 5), [0], [0]),
    ((10, 5, 5), [34_570, 110, 110], [864_000, 2_500, 2_500]),
    ((10,), [0], [0]),
]
BLOCKS = [30_336, 746_240, 1_180_800, 34_790]


def books(name: str, shape: tuple[int, ...], *arguments: Any) -> list[Ledger]:
    """The ledgers of both halves."""
    gluon, pytorch = (getattr(half, name)(*arguments) for half in (GLUON, PYTORCH))
    gluon.initialize()
    return [ledger(net, shape) for net in (gluon, pytorch)]


def is_window(kind: str) -> bool:
    return kind.startswith(("Conv", "MaxPool", "Flatten"))


def test_table_of_nin() -> None:
    """Layer by layer, on 1x224x224, from one pass of each framework."""
    for book in books("NiN", (1, 1, 224, 224)):
        entries = [e for e in book.entries if is_window(e.kind)]
        assert len(entries) == 12 + 3 + 1
        for output, parameters, work in TABLE:
            row, entries = entries[: len(work)], entries[len(work) :]
            assert [e.output for e in row] == [(1, *output)] * len(row)
            assert [e.parameters for e in row] == parameters
            assert [e.multiply_adds for e in row] == work
        assert entries == []
        assert book.parameters == 1_992_166
        assert book.multiply_adds == 762_297_352
        assert book.buffers == 0
    assert [sum(p) for _, p, _ in TABLE if any(p)] == BLOCKS
    assert sum(BLOCKS) == 1_992_166


def test_the_activations_that_training_keeps_first() -> None:
    """The outputs of convolutions and pools, which the ledger's bytes start from."""
    for book in books("NiN", (1, 1, 224, 224)):
        kept = [
            prod(e.output) for e in book.entries if e.kind.startswith(("Conv", "MaxP"))
        ]
        assert sum(kept) == 1_636_974


def count(net: Any) -> int:
    if isinstance(net, nn.Module):
        return sum(p.numel() for p in net.parameters())
    trained = [p for p in net.collect_params().values() if p.grad_req != "null"]
    return sum(prod(p.shape) for p in trained)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("NiN", (), 1_992_166),
        ("NiN", (10, 3), 1_992_166 + 2 * 96 * 121),
        ("NiN", (100,), 1_992_166 - 34_790 + (384 * 900 + 100) + 2 * 10_100),
        ("CIFARNiN", (), 966_986),
        ("CIFARNiN", (100,), 966_986 + 90 * 193),
        ("nin_small", (), 112_762),
        ("nin_small", (10, 3), 112_762 + 2 * 24 * 9),
    ],
)
def test_parameters(name: str, arguments: tuple[int, ...], expected: int) -> None:
    """Shapes are enough to count: nothing is allocated in either half."""
    with torch.device("meta"):
        assert count(getattr(PYTORCH, name)(*arguments)) == expected
    assert count(getattr(GLUON, name)(*arguments)) == expected


def test_a_head_without_a_fully_connected_layer() -> None:
    with torch.device("meta"):
        dense = nn.Sequential(
            nn.Linear(9_600, 4_096), nn.Linear(4_096, 4_096), nn.Linear(4_096, 10)
        )
        last = PYTORCH.NiN().features[-1]
    assert 384 * 5 * 5 == 9_600
    assert round(4 * count(dense) / 2**20, 1) == 214.2
    assert count(last) == 34_790


def test_cifar_block_by_block() -> None:
    for book in books("CIFARNiN", (2, 3, 32, 32)):
        maps = [e.output for e in book.entries if e.kind.startswith("Conv")]
        blocks = [(192, 160, 96), (192, 192, 192), (192, 192, 10)]
        assert maps == [
            (2, width, size, size)
            for block, size in zip(blocks, (32, 16, 8), strict=True)
            for width in block
        ]
        assert book.parameters == 966_986
        pools = [
            e.output[2:] for e in book.entries if e.kind.startswith(("Max", "Avg"))
        ]
        assert pools == [(16, 16), (8, 8)]


@pytest.mark.parametrize("half", [GLUON, PYTORCH], ids=["gluon", "pytorch"])
def test_nin_block(half: Any) -> None:
    """Three convolutions, a ReLU after each; the widths that one asks for."""

    def kinds(block: Any) -> list[str]:
        return [type(layer).__name__[:4].lower() for layer in block]

    block = half.nin_block(3, 8, 5, 2, 1)
    assert [k.replace("acti", "relu") for k in kinds(block)] == ["conv", "relu"] * 3
    assert count(block) == 8 * (3 * 25 + 1) + 2 * 8 * 9
    assert count(half.nin_block(3, 8, 5, pointwise=(6, 7))) == 608 + 6 * 9 + 7 * 7
    assert len(half.nin_block(3, 8, 5, pointwise=())) == 2
    assert len(half.nin_block(3, 8, 5, pointwise=[4])) == 4


# -- parity ----------------------------------------------------------------------------


def check(nets: tuple[Any, Any], x: np.ndarray, **options: Any) -> parity.Report:
    """Imperative and hybridized, one pass and five steps unless told otherwise."""
    assert is_alive(nets[1], x), "nothing would be compared"
    report = parity.compare(*nets, x, **options)
    assert report.ok, report
    assert {row.mode for row in report.rows} == {"imperative", "hybridized"}
    return report


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((3, 8, 3), {"padding": 1}),
        ((2, 5, 5, 2), {}),
        ((1, 6, 11, 4, 2), {}),
        ((3, 8, 4, 3), {"pointwise": (7,)}),
        ((3, 4, 1), {"pointwise": ()}),
        ((3, 8, 3), {"pointwise": (16, 5, 8)}),
    ],
)
def test_parity_of_a_block(arguments: tuple[int, ...], options: Any) -> None:
    x = noise(3, arguments[0], 17, 14)
    report = check(alive("nin_block", x, *arguments, **options), x)
    assert report.layers == 1 + len(options.get("pointwise", (0, 0)))


@pytest.mark.parametrize("pool", ["avg", "max"])
@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (67, 67)),  # the real stem, on the smallest image
        ({}, (71, 100)),
        ({"stem": (3, 1, 1), "in_channels": 2}, (16, 23)),
        ({"stem": (5, 2, 2), "widths": (5, 7, 6), "dropout": 0.0}, (31, 30)),
        ({"stem": (3, 1, 1), "last_width": 9, "last_relu": False}, (16, 16)),
        ({"stem": (3, 1, 1), "last_width": 3}, (15, 15)),
    ],
)
def test_parity_of_nin(options: dict[str, Any], size: Any, pool: str) -> None:
    """Dropout is off meanwhile, and on again afterwards."""
    x = noise(2, options.get("in_channels", 1), *size)
    nets = alive("NiN", x, **NARROW | options, pool=pool)
    report = check(nets, x, steps=5)
    assert (report.layers, report.steps) == (12, 5)
    rate = options.get("dropout", 0.5)
    drops = [layer for layer in nets[0].features if isinstance(layer, gnn.Dropout)]
    assert [d._rate for d in drops] == [rate]
    assert [m.p for m in nets[1].modules() if isinstance(m, nn.Dropout)] == [rate]


@pytest.mark.parametrize(
    ("arguments", "shape"), [((), (4, 1, 16, 16)), ((4, 3), (2, 3, 15, 18))]
)
def test_parity_of_the_small_one(arguments: Any, shape: tuple[int, ...]) -> None:
    x = noise(*shape)
    check(alive("nin_small", x, *arguments), x)


@pytest.mark.parametrize(("size", "steps"), [((9, 12), 5), ((32, 32), 0)])
def test_parity_of_the_one_for_cifar(size: tuple[int, int], steps: int) -> None:
    """Also at a size where ceil mode lets a window hang over."""
    x = noise(2, 3, *size)
    report = check(alive("CIFARNiN", x, dropout=0.25), x, steps=steps)
    assert (report.layers, report.numbers) == (9, 966_986)


def test_float64() -> None:
    """On its own: the nets take their dtype from their parameters."""
    for name, options, shape in (
        ("NiN", NARROW | {"stem": (3, 1, 1)}, (2, 1, 17, 19)),
        ("CIFARNiN", {"num_classes": 4}, (2, 3, 7, 8)),
    ):
        gluon, pytorch = mirrored(name, **options)
        gluon.cast("float64")
        pytorch.double().eval()
        x = noise(*shape, dtype="float64")
        found = gluon(mx.nd.array(x, dtype="float64"))
        assert found.dtype == np.float64
        expected = pytorch(torch.tensor(x)).detach().numpy()
        np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-10)


def test_the_comparison_sees_another_pool() -> None:
    gluon = GLUON.NiN(**NARROW, stem=(3, 1, 1))
    nets = pair(gluon, PYTORCH.NiN(**NARROW, stem=(3, 1, 1), pool="max"))
    report = parity.compare(*nets, noise(2, 1, 31, 31), steps=0)
    assert not report.ok


# -- the head --------------------------------------------------------------------------


def class_maps(half: str, net: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The class maps and the gradient of the sum of the logits there."""
    if half == "pytorch":
        maps = net.eval().features(torch.tensor(x)).detach().requires_grad_()
        net.head(maps).sum().backward()
        return maps.detach().numpy(), maps.grad.numpy()
    maps = net.features(mx.nd.array(x))
    maps.attach_grad()
    with mx.autograd.record():
        total = net.head(maps).sum()
    total.backward()
    return maps.asnumpy(), maps.grad.asnumpy()


@pytest.mark.parametrize("half", ["gluon", "pytorch"])
def test_average_and_maximum_are_different_nets(half: str) -> None:
    """An average hands its gradient to every position, a maximum to a single one."""
    x = noise(3, 1, 47, 39)
    options = NARROW | {"stem": (3, 1, 1), "num_classes": 4}
    index = {"gluon": 0, "pytorch": 1}[half]
    nets = {
        pool: mirrored("NiN", **options, pool=pool)[index] for pool in ("avg", "max")
    }
    # Shifted up, so that no map is zero everywhere and its maximum a tie.
    for net in nets.values():
        if half == "pytorch":
            with torch.no_grad():
                net.features[-1][-2].bias += 10
        else:
            bias = net.features[-1][-2].bias
            bias.set_data(bias.data() + 10)
    maps, average = class_maps(half, nets["avg"], x)
    others, most = class_maps(half, nets["max"], x)
    assert maps.shape == (3, 4, 5, 4)
    assert np.array_equal(maps, others)
    assert (average == np.float32(1 / 20)).all()
    flat = most.reshape(12, 20)
    assert (flat.sum(axis=1) == 1).all()
    assert ((flat == 0).sum(axis=1) == 19).all()
    assert np.array_equal(flat.argmax(axis=1), maps.reshape(12, 20).argmax(axis=1))


@pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])
def test_last_block(half: int) -> None:
    """Narrow throughout and with a ReLU as published, or wide and without."""
    published, other = (
        mirrored("NiN", 7, 2, stem=(3, 1, 1), **options)[half]
        for options in ({}, {"last_width": 12, "last_relu": False})
    )
    shapes_of = [
        [tuple(layer.weight.shape) for layer in net.features[-1] if is_conv(layer)]
        for net in (published, other)
    ]
    assert shapes_of[0] == [(7, 384, 3, 3), (7, 7, 1, 1), (7, 7, 1, 1)]
    assert shapes_of[1] == [(12, 384, 3, 3), (12, 12, 1, 1), (7, 12, 1, 1)]
    assert len(published.features[-1]) == 6
    assert len(other.features[-1]) == 5
    assert is_conv(other.features[-1][-1])


def is_conv(layer: Any) -> bool:
    return isinstance(layer, (gnn.Conv2D, nn.Conv2d))


@pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])
def test_the_small_one_starts_he_normal(half: int) -> None:
    """Weights of deviation sqrt(2 / fan-in) in every layer, biases of zero."""
    torch.manual_seed(0)
    mx.random.seed(0)
    net = (GLUON, PYTORCH)[half].nin_small()
    if half == 0:
        net.initialize()
    layers = [
        layer
        for block in net.features
        if isinstance(block, (gnn.HybridSequential, nn.Sequential))
        for layer in block
        if is_conv(layer)
    ]
    assert len(layers) == 12
    for layer in layers:
        weight, bias = (
            np.asarray(t.data().asnumpy() if half == 0 else t.detach().numpy())
            for t in (layer.weight, layer.bias)
        )
        expected = np.sqrt(2 / np.prod(weight.shape[1:]))
        # Four standard errors of a deviation.
        assert abs(weight.std() / expected - 1) < 4 / np.sqrt(2 * weight.size)
        assert np.abs(weight).max() > 2 * expected  # normal, not uniform
        assert (bias == 0).all()


@pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])
def test_the_small_one_learns(half: int) -> None:
    """What it is for. A net that does not learn stays at one in ten."""
    train, _ = data.digits("images")
    part = data.Split(data.resize(train.x[:480], 16), train.y[:480])
    module = ("gluon", "pytorch")[half]
    fit = importlib.import_module(f"d2lutils.{module}.training").fit
    torch.manual_seed(0)
    mx.random.seed(0)
    net = (GLUON, PYTORCH)[half].nin_small()
    if half == 0:
        net.initialize()
    batches = part.batches(32, shuffle=True, seed=0)
    history = fit(net, batches, None, 8, 2**-9, "adam", progress=False)
    assert history.train_accuracy[-1] > 0.5


@pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])
def test_no_logit_is_negative(half: int) -> None:
    """The last block ends in a ReLU, as published."""
    narrow = {"stem": (3, 1, 1), "widths": (8, 8, 8)}
    for name, options, size in (("NiN", narrow, 20), ("CIFARNiN", {}, 12)):
        net = mirrored(name, 7, 2, **options)[half]
        x = noise(5, 2, size, size)
        logits = (
            net(mx.nd.array(x)).asnumpy()
            if half == 0
            else net.eval()(torch.tensor(x)).detach().numpy()
        )
        assert logits.shape == (5, 7)
        assert (logits >= 0).all()
        assert (logits == 0).any() or (logits > 0).all()


# -- what the real net reads -----------------------------------------------------------


def positive(half: str, **options: Any) -> tuple[Any, Any]:
    """A NiN of the real stem whose output grows with every pixel that it reads.

    All weights are positive, and the pixels are, so no ReLU stops anything; one huge
    pixel is the maximum of every pooling that sees it. Returns the net, which is in
    evaluation, and a function that runs it.
    """
    gluon, pytorch = mirrored("NiN", 2, 1, (2, 2, 2), **options)
    with torch.no_grad():
        for parameter in pytorch.parameters():
            parameter.abs_()
    parity.copy_parameters(pytorch, gluon)
    if half == "gluon":
        return gluon, lambda x: gluon(mx.nd.array(x)).asnumpy()
    pytorch.eval()

    def run(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return pytorch(torch.tensor(x)).numpy()

    return pytorch, run


def image(size: int) -> np.ndarray:
    return np.abs(noise(1, 1, size, size)) + np.float32(0.5)


@pytest.mark.parametrize("half", ["gluon", "pytorch"])
@pytest.mark.parametrize(("size", "lost"), [(224, 5), (219, 0), (227, 0), (226, 7)])
def test_rows_and_columns_that_matter(half: str, size: int, lost: int) -> None:
    """One pixel of an image is made huge: the output tells unless it is not read."""
    _, run = positive(half)
    assert shapes.chain_unread(size, shapes.NIN) == set(range(size - lost, size))
    x = image(size)
    edges = [*range(12), *range(100, 116), *range(size - 24, size)]
    images = np.repeat(x, 2 * len(edges), axis=0)
    # Rounding depends on the size of the batch, and on nothing else.
    base = np.concatenate([run(part) for part in np.split(images, 8)])
    for i, position in enumerate(edges):
        images[i, 0, position, 37] = 1e4
        images[len(edges) + i, 0, 101, position] = 1e4
    found = np.concatenate([run(part) for part in np.split(images, 8)])
    changed = (np.abs(found - base) > 1e-2 * base).all(axis=1)
    expected = [position < size - lost for position in edges]
    assert changed.tolist() == expected * 2
    # What is not read changes nothing at all, whatever it is.
    same = ~changed
    assert np.array_equal(found[same], base[same])


@pytest.mark.parametrize("half", ["gluon", "pytorch"])
def test_2215_pixels_are_not_read(half: str) -> None:
    """All of them at once: other values there, the same output to the last bit."""
    net, run = positive(half)
    chain = net.windows
    rows = sorted(shapes.chain_unread(224, chain, half))
    unread = np.zeros((224, 224), dtype=bool)
    unread[rows] = unread[:, rows] = True
    assert unread.sum() == 2_215
    x = image(224)
    base = run(x)
    for value in (0, -1e6, 1e6):
        other = x.copy()
        other[0, 0, unread] = value
        assert np.array_equal(run(other), base)
    # And the innermost of the pixels just outside is one too many.
    other = x.copy()
    other[0, 0, 218, 218] = 1e4
    assert (run(other) > base).all()


def input_gradient(net: Any, x: np.ndarray) -> np.ndarray:
    """Of the sum of the outputs of a net without dropout, in training.

    Not `record(train_mode=False)`: MXNet's max pooling on a CPU keeps the places of
    its maxima in training alone, and hands back something random without them.
    """
    if isinstance(net, nn.Module):
        t = torch.tensor(x, requires_grad=True)
        net(t).sum().backward()
        return t.grad.numpy()
    a = mx.nd.array(x)
    a.attach_grad()
    with mx.autograd.record():
        total = net(a).sum()
    total.backward()
    return a.grad.asnumpy()


@pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])
def test_2215_pixels_have_no_gradient(half: int) -> None:
    """In each of 48 images; every other pixel has one in some image.

    A maximum passes its gradient to one input alone, so no single image can show it.
    """
    net = mirrored("NiN", 3, 1, (8, 8, 8), dropout=0.0)[half]
    unread = np.zeros((224, 224), dtype=bool)
    rows = sorted(shapes.chain_unread(224, net.windows, ("gluon", "pytorch")[half]))
    unread[rows] = unread[:, rows] = True
    seen = np.zeros((224, 224), dtype=bool)
    for seed in range(6):
        x = noise(8, 1, 224, 224, seed=seed)
        gradient = input_gradient(net, x)
        seen |= (gradient != 0).any(axis=(0, 1))
    assert np.array_equal(~seen, unread)
    assert unread.sum() == 2_215


@pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])
@pytest.mark.parametrize(
    ("name", "options", "smallest"),
    [("NiN", NARROW, 67), ("nin_small", {}, 15), ("CIFARNiN", {}, 6)],
)
def test_smallest_image(
    name: str, options: dict[str, Any], smallest: int, half: int
) -> None:
    net = mirrored(name, in_channels=1, **options)[half]
    assert net.smallest == smallest
    array = mx.nd.array if half == 0 else torch.tensor
    assert len(net(array(noise(2, 1, smallest, smallest + 1)))) == 2
    with pytest.raises(ValueError, match=f"at least {smallest} positions"):
        net(array(noise(2, 1, smallest, smallest - 1)))
    mx.nd.waitall()


# -- Gluon: hybridized, in training, exported ------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("NiN", {"widths": (8, 16, 8), "dropout": 0.0, "stem": (3, 1, 1)}, (17, 16)),
        ("NiN", {"widths": (5, 7, 9), "dropout": 0.0, "stem": (5, 2, 0)}, (35, 33)),
        ("NiN", NARROW | {"dropout": 0.0, "pool": "max"}, (67, 67)),
        ("CIFARNiN", {"in_channels": 1, "dropout": 0.0}, (7, 8)),
    ],
)
def test_gluon_trains_hybridized(name: str, options: Any, size: Any) -> None:
    """In float32, as readers do, with a short last batch: as when run imperatively."""
    batches = [noise(n, 1, *size, seed=n) for n in (5, 5, 3, 1, 7)]
    results = []
    for flags in (
        {},
        {"static_alloc": True},
        {"static_alloc": True, "static_shape": 1},
    ):
        net, _ = mirrored(name, **options)
        if flags:
            net.hybridize(**{key: bool(value) for key, value in flags.items()})
        results.append(train(net, batches, rate=2**-6))
    plain, output = results[0]
    assert np.isfinite(plain).all()
    assert len(set(plain)) == len(plain)
    for hybridized, other in results[1:]:
        np.testing.assert_allclose(hybridized, plain, rtol=1e-3)
        np.testing.assert_allclose(other, output, rtol=1e-2, atol=1e-3)


def test_gluon_trains_with_dropout_hybridized() -> None:
    net, _ = mirrored("nin_small")
    net.hybridize(static_alloc=True)
    losses, output = train(net, [noise(8, 1, 16, 16)] * 8, rate=2**-8)
    assert losses[-1] < losses[0]
    assert np.isfinite(output).all()


def test_another_batch_and_another_size_after_hybridize() -> None:
    gluon, pytorch = mirrored("NiN", **NARROW, stem=(3, 1, 1))
    pytorch.eval()
    gluon.hybridize()
    for shape in ((3, 1, 16, 16), (1, 1, 16, 16), (7, 1, 16, 16), (2, 1, 23, 31)):
        x = noise(*shape)
        np.testing.assert_allclose(
            gluon(mx.nd.array(x)).asnumpy(),
            pytorch(torch.tensor(x)).detach().numpy(),
            rtol=1e-4,
            atol=1e-6,
        )


class Twice(gnn.HybridBlock):
    """Somebody else's net, which uses ours as a part."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return 2 * self.inner(F.relu(x)) + 1


@pytest.mark.parametrize("hybrid", [False, True])
def test_inside_somebody_elses_net(hybrid: bool) -> None:
    gluon, pytorch = mirrored("NiN", **NARROW, stem=(3, 1, 1))
    net = Twice(gluon)
    net.hybridize(hybrid)
    pytorch.eval()
    for n in (2, 5):
        x = noise(n, 1, 17, 19)
        expected = 2 * pytorch(torch.tensor(x).relu()) + 1
        found = net(mx.nd.array(x)).asnumpy()
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-4)
    losses, _ = train(net, [noise(4, 1, 17, 19)] * 3, rate=2**-6)
    assert np.isfinite(losses).all()


def test_a_wrong_shape_inside_somebody_elses_hybridized_net() -> None:
    """No shapes are seen there, and it is MXNet's own error, but an error."""
    net = Twice(GLUON.NiN(**NARROW))
    net.initialize()
    net.hybridize()
    with pytest.raises(mx.MXNetError):
        net(mx.nd.array(noise(1, 1, 20, 20))).wait_to_read()


def test_a_block_in_a_sequence() -> None:
    """With batch norms between, as one builds on from here."""
    gluon = sequence(
        GLUON.nin_block(2, 8, 3, 2, 1), gnn.BatchNorm(in_channels=8), gnn.Flatten()
    )
    pytorch = nn.Sequential(
        PYTORCH.nin_block(2, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Flatten()
    )
    check(pair(gluon, pytorch), noise(3, 2, 7, 6), steps=3)


@pytest.mark.filterwarnings("ignore:Cannot decide type")  # MXNet's own, on reading
@pytest.mark.parametrize("name", ["nin_small", "CIFARNiN"])
def test_gluon_net_exported(name: str, tmp_path: Path) -> None:
    """Read back for other batch sizes, in evaluation."""
    net, other = mirrored(name, in_channels=1)
    net.hybridize()
    net(mx.nd.array(noise(3, 1, 17, 18)))
    net.export(str(tmp_path / "net"))
    files = [str(tmp_path / f"net-{end}") for end in ("symbol.json", "0000.params")]
    again = mx.gluon.SymbolBlock.imports(files[0], ["data"], files[1])
    other.eval()
    for n in (1, 4):
        x = noise(n, 1, 17, 18, seed=n)
        expected = other(torch.tensor(x)).detach().numpy()
        found = again(mx.nd.array(x)).asnumpy()
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_gluon_parameters_saved_and_loaded(tmp_path: Path) -> None:
    net, _ = mirrored("nin_small")
    again = GLUON.nin_small()
    net.save_parameters(str(tmp_path / "net.params"))
    again.load_parameters(str(tmp_path / "net.params"))
    x = mx.nd.array(noise(2, 1, 16, 16))
    assert np.array_equal(net(x).asnumpy(), again(x).asnumpy())


# -- what PyTorch's readers wrap around it ---------------------------------------------


@pytest.mark.parametrize("name", ["nin_small", "CIFARNiN"])
class TestPyTorch:
    @staticmethod
    def net(name: str) -> tuple[Any, torch.Tensor]:
        net = mirrored(name, 4, 2)[1].eval()
        return net, torch.tensor(noise(4, 2, 17, 18))

    def test_compile(self, name: str) -> None:
        """Whole: no Python is left between the layers."""
        net, x = self.net(name)
        torch.compiler.reset()
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        for inputs in (x, x[:3]):
            torch.testing.assert_close(compiled(inputs), net(inputs))

    def test_export_with_any_batch(self, name: str) -> None:
        net, x = self.net(name)
        batch = torch.export.Dim("batch", min=1, max=64)
        exported = torch.export.export(net, (x,), dynamic_shapes=({0: batch},))
        for n in (1, 3):
            other = torch.tensor(noise(n, 2, 17, 18, seed=n))
            torch.testing.assert_close(exported.module()(other), net(other))

    def test_memory_in_another_order(self, name: str) -> None:
        net, x = self.net(name)
        last = x.contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(net(last), net(x), rtol=1e-4, atol=1e-5)

    def test_autocast(self, name: str) -> None:
        net, x = self.net(name)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = net(x)
            found.float().sum().backward()
        torch.testing.assert_close(found.float(), net(x), rtol=0.1, atol=0.1)
        assert all(p.grad.dtype == torch.float32 for p in net.parameters())

    def test_copied_saved_and_loaded(self, name: str) -> None:
        net, x = self.net(name)
        expected = net(x)
        file = io.BytesIO()
        torch.save(net.state_dict(), file)
        file.seek(0)
        again = getattr(PYTORCH, name)(4, 2)
        again.load_state_dict(torch.load(file, weights_only=True))
        for other in (copy.deepcopy(net), again.eval()):
            assert torch.equal(other(x), expected)

    def test_input_stays_as_it_is(self, name: str) -> None:
        net, x = self.net(name)
        before = x.clone()
        net.train()(x).sum().backward()
        assert torch.equal(x, before)


@pytest.mark.parametrize("dropout", [0.0, 0.25, 0.9375])
def test_dropout_in_training(dropout: float) -> None:
    """On in training alone."""
    x = noise(16, 1, 16, 16)
    options = NARROW | {"stem": (3, 1, 1), "dropout": dropout}
    gluon, pytorch = alive("NiN", x, **options)
    with mx.autograd.record(), torch.no_grad():
        trained = [gluon(mx.nd.array(x)).asnumpy(), pytorch(torch.tensor(x)).numpy()]
    pytorch.eval()
    with torch.no_grad():
        fixed = [gluon(mx.nd.array(x)).asnumpy(), pytorch(torch.tensor(x)).numpy()]
    np.testing.assert_allclose(*fixed, rtol=1e-4, atol=1e-6)
    for one, two in zip(trained, fixed, strict=True):
        assert np.isfinite(one).all()
        assert np.allclose(one, two) == (dropout == 0)
