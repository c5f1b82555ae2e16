"""Sizes per axis: an integer or a pair, wherever the frameworks' layers take one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from halves import noise, randomize
from nets import halves

from d2lutils import parity, shapes
from d2lutils.compat import mx

GLUON, PYTORCH = halves("condconv")
WINDOWS: list[dict[str, Any]] = [
    {"kernel_size": (3, 1)},
    {"kernel_size": [1, 3], "padding": (0, 1)},
    {"kernel_size": 3, "stride": (2, 1), "padding": (1, 0)},
    {"kernel_size": (2, 3), "dilation": (1, 2), "padding": (1, 2)},
    {"kernel_size": (2, 4), "stride": (1, 3), "groups": 2, "padding": (0, 3)},
    {"kernel_size": 1, "stride": (2, 3)},
    {"kernel_size": (3, 5), "padding": "same"},
    {"kernel_size": (2, 3), "padding": "same", "dilation": (3, 1)},
    {"kernel_size": (4, 2), "padding": "same", "padding_mode": "reflect"},
    {"kernel_size": (3, 2), "padding": "valid", "groups": 2},
    *(
        {"kernel_size": (3, 2), "padding": pads, "padding_mode": mode}
        for mode in ("reflect", "replicate", "circular")
        for pads in ((2, 1), (0, 2))
    ),
]
WAYS = [
    *(("pytorch", form) for form in ("auto", *PYTORCH.FORMS)),
    *(("gluon", form) for form in ("auto", *GLUON.FORMS)),
    *(("hybridized", form) for form in ("auto", "unfolded", "mixture")),
]


def expected(x: Any, routing: Any, weight: Any, window: dict[str, Any]) -> Any:
    """PyTorch's own layer for each example, its weight the mixed kernel."""
    kernels = torch.einsum("nk,koihw->noihw", routing, weight)
    plain = torch.nn.Conv2d(4, 6, **window, bias=False, dtype=torch.float64)
    return torch.cat(
        [
            torch.func.functional_call(plain, {"weight": kernel}, one[None])
            for one, kernel in zip(x, kernels, strict=True)
        ]
    )


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_every_form_of_condconv(window: dict[str, Any]) -> None:
    """Values and gradients, against one layer for each example."""
    arrays = [noise(3, 4, 8, 7, seed=1, dtype="float64")]
    arrays.append(noise(3, 2, seed=2, dtype="float64"))
    taps = window["kernel_size"]
    taps = (taps, taps) if isinstance(taps, int) else tuple(taps)
    shape = (2, 6, 4 // window.get("groups", 1), *taps)
    arrays.append(noise(*shape, seed=3, dtype="float64"))
    given = [torch.tensor(a, requires_grad=True) for a in arrays]
    y = expected(*given, window)
    head = noise(*y.shape, seed=4, dtype="float64")
    right = [y, *torch.autograd.grad(y, given, torch.tensor(head))]
    for half, form in WAYS:
        options = window | {"num_experts": 2, "bias": False, "form": form}
        if half == "pytorch":
            net = PYTORCH.Experts2d(4, 6, **options).double()
            net.weight.data = torch.tensor(arrays[2])
            x, routing = given[:2]
            y = net(x, routing)
            grads = torch.autograd.grad(y, (x, routing, net.weight), torch.tensor(head))
            found = [t.detach().numpy() for t in (y, *grads)]
        else:
            net = GLUON.Experts2d(4, 6, **options)
            net.initialize()
            net.cast("float64")
            net.weight.set_data(mx.nd.array(arrays[2], dtype="float64"))
            net.hybridize(half == "hybridized")
            x, routing = (mx.nd.array(a, dtype="float64") for a in arrays[:2])
            for one in (x, routing):
                one.attach_grad()
            with mx.autograd.record():
                y = net(x, routing)
            y.backward(mx.nd.array(head, dtype="float64"))
            ours = (y, x.grad, routing.grad, net.weight.grad())
            found = [a.asnumpy() for a in ours]
        for a, b in zip(found, right, strict=True):
            np.testing.assert_allclose(
                a, b.detach().numpy(), rtol=0, atol=1e-10, err_msg=f"{half} {form}"
            )


BLOCKS: list[tuple[str, str, tuple[int, ...]]] = [
    ("condconv", "CondConv2d(4, 6, (3, 1), (2, 1), (1, 0))", (3, 6, 4, 7)),
    (
        "weightnet",
        "WeightNet2d(4, 6, (3, 1), (1, 2), (1, 0), G=1, reduction=2)",
        (),
    ),
    (
        "weightnet",
        "WeightNet2d(4, 6, (1, 3), padding='same', G=1, reduction=2)",
        (),
    ),
    ("blocks", "ConvChunk(4, 6, (3, 2), (2, 1), (1, 0), rank=2)", (3, 6, 4, 6)),
    ("blocks", "ConvChunk(4, 6, (3, 5), (1, 2), rank=2)", (3, 6, 8, 4)),
    ("blocks", "ConvChunk(4, 6, 3, padding='valid', rank=2)", (3, 6, 6, 5)),
    ("residual", "ResidualChunks(4, 6, (3, 1), (2, 1), 2, rank=2)", (3, 6, 4, 7)),
    (
        "residual",
        "ResidualChunks(4, 6, 3, (1, 2), shortcut='zeros', rank=2)",
        (3, 6, 8, 4),
    ),
    ("nin", "nin_block(4, 6, (3, 1), (1, 2), (1, 0))", (3, 6, 8, 4)),
    ("nin", "nin_block(4, 6, (1, 5), padding='same')", (3, 6, 8, 7)),
    ("shortcuts", "ZeroPadShortcut(4, 6, (2, 1))", (3, 6, 4, 7)),
    ("shortcuts", "SubsampleZeroPad(4, 6, [1, 3])", (3, 6, 8, 3)),
    ("resnet", "ResNetUnit(4, 6, (2, 1))", (3, 6, 4, 7)),
    ("resnet", "ResNetUnit(4, 6, (1, 2), shortcut='zeros')", (3, 6, 8, 4)),
]


@pytest.mark.parametrize(("module", "made", "shape"), BLOCKS)
def test_blocks(module: str, made: str, shape: tuple[int, ...]) -> None:
    """The pair is one function; the size is the one that `shapes` tells."""
    gluon, pytorch = (eval(made, vars(half)) for half in halves(module))
    randomize(pytorch)
    pytorch.double().eval()
    gluon.initialize()
    gluon.cast("float64")
    parity.copy_parameters(pytorch, gluon)
    x = noise(3, 4, 8, 7, dtype="float64")
    one = gluon(mx.nd.array(x, dtype="float64")).asnumpy()
    two = pytorch(torch.tensor(x)).detach().numpy()
    assert shape in ((), two.shape)
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-10)
    gluon.hybridize()
    three = gluon(mx.nd.array(x, dtype="float64")).asnumpy()
    np.testing.assert_allclose(one, three, rtol=0, atol=1e-10)


def test_one_axis() -> None:
    """A 1-tuple where there is one axis."""
    for half in halves("blocks"):
        assert half.ConvChunk(4, 6, (3,), (2,), (1,)).window == ((3,), (2,), (1,))
    for half in halves("shortcuts"):
        assert half.ZeroPadShortcut(4, 6, (2,), rank=1).stride == (2,)


def test_nin_stem() -> None:
    nets = [half.NiN(stem=((11, 7), (4, 3), (0, 2))) for half in halves("nin")]
    assert [net.smallest for net in nets] == [(67, 45)] * 2
    y = nets[1](torch.zeros(1, 1, 67, 45))
    assert y.shape == (1, 10)
    text = "NiN: x must have at least (67, 45) positions along each spatial axis"
    with pytest.raises(ValueError, match=text.replace("(", r"\(").replace(")", r"\)")):
        nets[1](torch.zeros(1, 1, 67, 44))


def test_window_arithmetic() -> None:
    """A tuple of results where a number is a tuple; one number as it was."""
    assert shapes.output_size((9, 8), (3, 1), padding=(1, 0)) == (9, 8)
    assert shapes.output_size(8, (3, 1), 2) == (3, 4)
    assert shapes.output_size(8, 3, 2) == 3
    assert shapes.unread((5, 6), (3, 1), (2, 4)) == (set(), {1, 2, 3, 5})
    assert shapes.same_padding((3, 5)) == (1, 2)
    assert shapes.transposed_output_size((4, 5), 3, (2, 1)) == (9, 7)
    layers = [shapes.Window((3, 1), 2), shapes.Window(3, (1, 2), [1, 0])]
    along = [
        [shapes.Window(3, 2), shapes.Window(3, 1, 1)],
        [shapes.Window(1, 2), shapes.Window(3, 2, 0)],
    ]
    for name in ("receptive_field", "smallest_size", "lossless_sizes"):
        function = getattr(shapes, name)
        assert function(layers) == tuple(map(function, along))
    sizes = tuple(shapes.chain_sizes(20, chain) for chain in along)
    assert shapes.chain_sizes((20, 20), layers) == sizes
    assert layers[0].span == (3, 1)
    assert layers[0].output_size((9, 9)) == (4, 5)
    with pytest.raises(ValueError, match="stride must be an integer or have 2 entries"):
        shapes.Window((3, 1), (1, 1, 1))
    with pytest.raises(ValueError, match="kernel_size must be an integer or have 2"):
        shapes.output_size((9, 8), (3, 1, 1))


def test_which_form_is_chosen() -> None:
    """Many channels and small maps unfold, large maps fold; Gluon always folds."""
    assert shapes.condconv_form(256, 64) == shapes.condconv_form(512, 49) == "unfolded"
    assert shapes.condconv_form(64, 256) == shapes.condconv_form(16, 1024) == "folded"
    for stride, groups, form in (
        (1, 1, "folded"),
        (2, 1, "unfolded"),
        (2, 4, "folded"),
    ):
        options = {"padding": 1, "stride": stride, "groups": groups}
        one = GLUON.Experts2d(4, 64, 3, **options)
        assert one._form(mx.nd.zeros((2, 4, 8, 8))) == "folded"
        two = PYTORCH.Experts2d(4, 64, 3, **options)
        assert two._form(torch.zeros(2, 4, 8, 8)) == form
