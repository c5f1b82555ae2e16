"""Network in Network: its equation and counts, and which pixels it reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from halves import GLUON, PYTORCH, both, made, noise, randomize
from reference import check, multiply_adds, parameters, ways

from d2lutils import data, parity, shapes
from d2lutils.gpu_report.equations import cifar_nin, nin, nin_block

functional = torch.nn.functional
Settings = dict[str, Any]
NARROW = {"widths": (8, 8, 8), "num_classes": 3}

# -- equations -------------------------------------------------------------------------


@ways
@pytest.mark.parametrize(
    ("arguments", "pointwise", "window"),
    [
        ((3, 8, 3), None, {"padding": 1}),
        ((1, 6, 11, 4, 2), None, {"stride": 4, "padding": 2}),
        ((3, 8, 4, 3), (7,), {"stride": 3}),
        ((3, 4, 1), (), {}),
        ((3, 8, 3), (16, 5, 8), {}),
    ],
)
def test_block(way: str, arguments: Any, pointwise: Any, window: Settings) -> None:
    inputs, channels, size, *_ = arguments
    check(
        way,
        lambda h: h.nin.nin_block(*arguments[:3], **window, pointwise=pointwise),
        lambda w, x: nin_block(w, x, channels, size, pointwise, **window),
        (3, inputs, 17, 14),
    )


@ways
@pytest.mark.parametrize(
    ("o", "size"),
    [
        ({}, (67, 67)),  # the real stem, on the smallest image
        ({"pool": "max"}, (71, 100)),
        ({"stem": (5, 2, 2), "widths": (5, 7, 6)}, (31, 30)),
        ({"stem": (3, 1, 1), "last_width": 9, "last_relu": False}, (16, 23)),
    ],
)
def test_nin(way: str, o: Settings, size: Any) -> None:
    o = NARROW | o
    check(
        way,
        lambda half: half.nin.NiN(in_channels=2, dropout=0.0, **o),
        lambda w, x: nin(w, x, o),
        (2, 2, *size),
    )


@ways
@pytest.mark.parametrize("size", [(9, 12), (32, 32)])
def test_cifar_nin(way: str, size: Any) -> None:
    """Also where ceil mode lets a window hang over."""
    check(
        way,
        lambda half: half.nin.CIFARNiN(4, dropout=0.0),
        lambda w, x: cifar_nin(w, x, 4),
        (2, 3, *size),
    )


@both
def test_small(half: Any) -> None:
    """The same as a NiN of its settings; in evaluation, since it has a dropout."""
    o = {"stem": (3, 1, 1), "last_width": 64, "last_relu": False}
    o |= {"widths": (24, 48, 64), "num_classes": 10}
    one, two = (
        made(half, f) for f in (lambda h: h.nin.nin_small(), lambda h: h.nin.NiN(**o))
    )
    x = noise(4, 1, 16, 17)
    assert np.array_equal(half.output(one, x), half.output(two, x))


@both
@pytest.mark.parametrize(
    ("name", "layers", "rate"),
    [
        ("NiN", "block pool block pool block pool drop block", 0.5),
        ("nin_small", "block pool block pool block pool drop block", 0.25),
        ("CIFARNiN", "block pool drop block pool drop block", 0.5),
    ],
)
def test_where_numbers_are_dropped(
    half: Any, name: str, layers: str, rate: float
) -> None:
    """Before the last block; in the authors' model after each pooling."""
    net = getattr(half.nin, name)()
    words = {"Dropout": "drop", "Sequential": "block", "HybridSequential": "block"}
    kinds = [words.get(type(layer).__name__, "pool") for layer in net.features]
    assert kinds == layers.split()
    drops = [
        layer for layer, kind in zip(net.features, kinds, strict=True) if kind == "drop"
    ]
    assert {d._rate if half is GLUON else d.p for d in drops} == {rate}


@both
@pytest.mark.parametrize("dropout", [0.0, 0.25, 0.9375])
def test_dropout_in_training_alone(half: Any, dropout: float) -> None:
    options = NARROW | {"stem": (3, 1, 1), "dropout": dropout}
    net = made(half, lambda h: h.nin.NiN(**options))
    x = noise(16, 1, 16, 16)
    trained, fixed = half.output(net, x, training=True), half.output(net, x)
    assert np.isfinite(trained).all()
    assert np.allclose(trained, fixed) == (dropout == 0)


# -- counts ----------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("NiN", (), 30_336 + 746_240 + 1_180_800 + 34_790),
        ("NiN", (10, 3), 1_992_166 + 2 * 96 * 121),
        ("NiN", (100,), 1_992_166 - 34_790 + (384 * 900 + 100) + 2 * 10_100),
        ("CIFARNiN", (), 966_986),
        ("CIFARNiN", (100,), 966_986 + 90 * 193),
        ("nin_small", (10, 3), 112_762 + 2 * 24 * 9),
    ],
)
def test_parameters(half: Any, name: str, arguments: Any, count: int) -> None:
    assert parameters(half, lambda half: getattr(half.nin, name)(*arguments)) == count


@both
def test_multiply_adds(half: Any) -> None:
    """By hand on 1x224x224: (inputs, outputs, taps) on maps of 54, 26, 12 and 5."""
    work = 0
    for side, inputs, outputs, taps in (
        (54, 1, 96, 11**2),
        (26, 96, 256, 5**2),
        (12, 256, 384, 3**2),
        (5, 384, 10, 3**2),
    ):
        work += side**2 * outputs * (inputs * taps + 2 * outputs)
    assert work == 762_297_352
    assert multiply_adds(half, lambda half: half.nin.NiN(), 1, 1, 224, 224) == work


# -- how it starts, and that it learns -------------------------------------------------


@both
def test_the_small_one_starts_he_normal(half: Any) -> None:
    """Weights of deviation sqrt(2 / fan-in) in every layer, biases of zero."""
    half.seed(0)
    tensors = half.weights(half.ready(half.nin.nin_small()))
    assert len(tensors) == 2 * 12
    for weight, bias in zip(tensors[::2], tensors[1::2], strict=True):
        deviation = np.sqrt(2 / np.prod(weight.shape[1:]))
        # Four standard errors of a deviation.
        assert abs(weight.std() / deviation - 1) < 4 / np.sqrt(2 * weight.size)
        assert np.abs(weight).max() > 2 * deviation  # normal, not uniform
        assert (bias == 0).all()


@both
def test_the_small_one_learns(half: Any) -> None:
    """A net that does not learn stays at one in ten."""
    train, _ = data.digits("images")
    part = data.Split(data.resize(train.x[:480], 16), train.y[:480])
    half.seed(0)
    net = half.ready(half.nin.nin_small())
    batches = part.batches(32, shuffle=True, seed=0)
    fit = half.training.fit
    history = fit(net, batches, None, 8, 2**-9, "adam", progress=False)
    assert history.train_accuracy[-1] > 0.5


# -- what the real net reads -----------------------------------------------------------


def unread(net: Any, half: Any) -> np.ndarray:
    """The pixels of 224x224 that the net does not read, by window arithmetic."""
    rows = sorted(shapes.chain_unread(224, net.windows, half.name))
    found = np.zeros((224, 224), dtype=bool)
    found[rows] = found[:, rows] = True
    assert found.sum() == 2_215
    return found


@both
def test_2215_pixels_are_not_read(half: Any) -> None:
    """All of them at once: other values there, the same output to the last bit.

    All weights are positive, and the pixels are, so no ReLU stops anything; one huge
    pixel is the maximum of every pooling that sees it.
    """
    source = randomize(PYTORCH.nin.NiN(2, 1, (2, 2, 2)))
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.abs_()
    net = source if half is PYTORCH else GLUON.nin.NiN(2, 1, (2, 2, 2))
    if half is GLUON:
        parity.copy_parameters(source, net)
    x = np.abs(noise(1, 1, 224, 224)) + np.float32(0.5)
    base, lost = half.output(net, x), unread(net, half)
    for value in (0, -1e6, 1e6):
        assert np.array_equal(half.output(net, np.where(lost, value, x)), base)
    # And the innermost of the pixels just outside is one too many.
    x[0, 0, 218, 218] = 1e4
    assert (half.output(net, x) > base).all()


@both
def test_2215_pixels_have_no_gradient(half: Any) -> None:
    """In each of 48 images; every other pixel has one in some image.

    A maximum passes its gradient to one input alone, so no single image can show it.
    In training: MXNet's max pooling on a CPU keeps the places of its maxima there
    alone, and hands back something random without them.
    """
    net = made(half, lambda h: h.nin.NiN(3, 1, (8, 8, 8), dropout=0.0))
    seen = np.zeros((224, 224), dtype=bool)
    for seed in range(6):
        gradient = half.gradients(net, noise(8, 1, 224, 224, seed=seed))[1]
        seen |= (gradient != 0).any(axis=(0, 1))
    assert np.array_equal(~seen, unread(net, half))
