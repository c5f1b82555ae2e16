"""The windows that `chain_of` reads out of a net are those that the net has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import gnn, nn, sequence
from own_layers import derived, own_block, own_module

from d2lutils import shapes
from d2lutils.compat import mx
from d2lutils.gluon import nin as gluon_nin
from d2lutils.ledger import chain_of
from d2lutils.pytorch import nin as torch_nin
from d2lutils.shapes import NIN, NIN_CIFAR, Window

mobilenet: Any = mx.gluon.model_zoo.vision.mobilenet


def unnamed(chain: tuple[Window, ...]) -> list[tuple[Any, ...]]:
    return [
        (w.kernel_size, w.stride, w.padding, w.dilation, w.ceil_mode, w.kind)
        for w in chain
    ]


# -- every kind of layer, in both frameworks -------------------------------------------


def conv(half: str, rank: int, k: Any, s: Any, p: Any, d: Any) -> Any:
    if half == "gluon":
        layer = (gnn.Conv1D, gnn.Conv2D)[rank - 1]
        return layer(1, k, strides=s, padding=p, dilation=d, in_channels=1)
    return (nn.Conv1d, nn.Conv2d)[rank - 1](1, 1, k, s, p, d)


def pool(half: str, rank: int, kind: str, k: Any, s: Any, p: Any, ceil: bool) -> Any:
    if half == "gluon":
        return getattr(gnn, f"{kind}Pool{rank}D")(k, s, p, ceil_mode=ceil)
    return getattr(nn, f"{kind}Pool{rank}d")(k, s, p, ceil_mode=ceil)


HALVES = ["gluon", "pytorch"]


def whole(half: str, layers: list[Any]) -> Any:
    return nn.Sequential(*layers) if half == "pytorch" else sequence(*layers)


@pytest.mark.parametrize("half", HALVES)
def test_rank_1(half: str) -> None:
    layers = [
        conv(half, 1, 5, 2, 3, 2),
        pool(half, 1, "Max", 3, 2, 1, True),
        pool(half, 1, "Avg", 4, 3, 2, False),
    ]
    assert chain_of(whole(half, layers)) == (
        Window(5, 2, 3, 2, name="0"),
        Window(3, 2, 1, ceil_mode=True, kind="pool", name="1"),
        Window(4, 3, 2, kind="pool", name="2"),
    )
    assert [chain_of(layer)[0].name for layer in layers] == [
        "Conv",
        "MaxPool",
        "AvgPool",
    ]


@pytest.mark.parametrize("half", HALVES)
def test_rank_2_with_other_numbers_on_each_axis(half: str) -> None:
    layers = [
        conv(half, 2, (5, 3), (2, 1), (3, 0), (1, 2)),
        pool(half, 2, "Max", (3, 2), (2, 4), (1, 0), True),
        pool(half, 2, "Avg", (1, 5), (1, 2), (0, 2), False),
    ]
    net = whole(half, layers)
    assert unnamed(chain_of(net)) == [
        (5, 2, 3, 1, False, "conv"),
        (3, 2, 1, 1, True, "pool"),
    ], "a window of one input is left out along that axis"
    assert unnamed(chain_of(net, axis=1)) == [
        (3, 1, 0, 2, False, "conv"),
        (2, 4, 0, 1, True, "pool"),
        (5, 2, 2, 1, False, "pool"),
    ]


def test_defaults_and_what_pytorch_alone_has() -> None:
    for layer in (nn.AvgPool2d(3), gnn.AvgPool2D(3), nn.MaxPool1d(3), gnn.MaxPool1D(3)):
        assert unnamed(chain_of(layer)) == [(3, 3, 0, 1, False, "pool")]
    dilated = nn.MaxPool1d(3, 2, 1, dilation=2)
    assert unnamed(chain_of(dilated)) == [(3, 2, 1, 2, False, "pool")]


POINTWISE = [
    *(nn.ReLU(), nn.BatchNorm2d(1), nn.Dropout1d(), nn.PReLU(), nn.LazyConv2d(2, 1)),
    *(nn.Conv2d(1, 2, 1, padding="same"), nn.AvgPool2d(1), nn.ZeroPad2d(0)),
    *(gnn.Activation("relu"), gnn.BatchNorm(), gnn.LeakyReLU(0.1), gnn.MaxPool2D(1)),
    mobilenet.RELU6(),
]


@pytest.mark.parametrize("layer", POINTWISE, ids=lambda layer: type(layer).__name__)
def test_what_looks_at_one_position_is_left_out(layer: Any) -> None:
    if isinstance(layer, nn.Module):
        net = nn.Sequential(layer, nn.Conv2d(1, 1, 3))
    else:
        net = sequence(layer, gnn.Conv2D(1, 3))
    assert chain_of(net) == (Window(3, name="1"),)
    with pytest.raises(ValueError, match="no layer with a window"):
        chain_of(layer)


def test_a_1x1_window_that_skips_or_pads_is_kept() -> None:
    net = nn.Sequential(nn.Conv1d(1, 1, 1, 2), nn.Conv1d(1, 1, 1, 1, 1))
    other = sequence(gnn.Conv1D(1, 1, 2), gnn.Conv1D(1, 1, 1, 1))
    expected = [(1, 2, 0, 1, False, "conv"), (1, 1, 1, 1, False, "conv")]
    assert unnamed(chain_of(net)) == unnamed(chain_of(other)) == expected


ENDS = [
    *(nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(7), nn.Flatten(), nn.Linear(4, 4)),
    *(gnn.GlobalAvgPool2D(), gnn.Flatten(), gnn.Dense(4)),
]


@pytest.mark.parametrize("end", ENDS, ids=lambda layer: type(layer).__name__)
def test_what_looks_at_the_whole_map_ends_the_chain(end: Any) -> None:
    """Also inside another sequence; layers after it may be of any kind."""
    if isinstance(end, nn.Module):
        first, inner = nn.Conv2d(1, 1, 3), nn.Sequential(end)
        net = nn.Sequential(first, inner, nn.Conv2d(1, 1, 5), nn.Softmax(1))
    else:
        first, inner = gnn.Conv2D(1, 3), sequence(end)
        net = sequence(first, inner, gnn.Conv2D(1, 5), gnn.HybridLambda("relu"))
    assert chain_of(net) == (Window(3, name="0"),)
    with pytest.raises(ValueError, match="no layer with a window"):
        chain_of(end)


def test_nested_and_named() -> None:
    net = nn.Sequential()
    net.add_module("stem", nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()))
    net.add_module("pool", nn.MaxPool2d(2))
    names = [window.name for window in chain_of(nn.Sequential(net, nn.Conv2d(2, 2, 3)))]
    assert names == ["0.stem.0", "0.pool", "1"]
    inner = sequence(gnn.Conv2D(2, 3), gnn.Activation("relu"))
    other = gnn.Sequential()
    other.add(sequence(inner, gnn.MaxPool2D(2)), gnn.Conv2D(2, 3))
    assert [window.name for window in chain_of(other)] == ["0.0.0", "0.1", "1"]


def test_a_layer_used_twice_counts_twice() -> None:
    layer = nn.Conv1d(1, 1, 3)
    assert len(chain_of(nn.Sequential(layer, nn.ReLU(), layer))) == 2


@pytest.mark.parametrize("half", [gluon_nin, torch_nin], ids=HALVES)
def test_network_in_network(half: Any) -> None:
    for net, chain in (
        (half.NiN(10, 1, (2, 2, 2)), NIN),
        (half.CIFARNiN(), NIN_CIFAR),
        (half.nin_small(), (Window(3, 1, 1), *NIN[1:])),
        (half.NiN(10, 1, (2, 2, 2), stem=(5, 2, 1)), (Window(5, 2, 1), *NIN[1:])),
    ):
        assert unnamed(chain_of(net.features)) == unnamed(chain)
        assert unnamed(net.windows) == unnamed(chain)
        assert [w.name for w in net.windows][1:] == [w.name for w in chain][1:]
        assert net.smallest == shapes.smallest_size(chain_of(net.features))


# -- paddings by name or by a layer, classes of one's own ------------------------------


PADDED = [
    (nn.Conv2d(1, 1, 5, 2, "valid"), [(5, 2, 0, 1)]),
    (nn.Conv1d(1, 1, 3, padding="same", dilation=3), [(3, 1, 3, 3)]),
    (nn.Sequential(nn.ZeroPad2d((3, 3, 2, 2)), nn.Conv2d(1, 1, 3)), [2, (3, 1, 0, 1)]),
    (nn.Sequential(nn.ConstantPad1d(1, 7.0), nn.Conv1d(1, 1, 3)), [1, (3, 1, 0, 1)]),
    (nn.LPPool1d(2, 3), [(3, 3, 0, 1)]),
    (nn.LazyConv1d(1, 3), [(3, 1, 0, 1)]),
    (derived(nn.Sequential, derived(nn.Conv2d, 1, 1, 3, 2)), [(3, 2, 0, 1)]),
    (sequence(derived(gnn.Conv2D, 1, 3)), [(3, 1, 0, 1)]),
    (nn.utils.parametrizations.weight_norm(nn.Conv1d(1, 1, 3)), [(3, 1, 0, 1)]),
]


@pytest.mark.parametrize(("net", "expected"), PADDED)
def test_paddings_and_own_classes(net: Any, expected: list[Any]) -> None:
    chain = chain_of(net)
    found = [(w.kernel_size, w.stride, w.padding, w.dilation) for w in chain]
    pads = [(1, 1, e, 1) if isinstance(e, int) else e for e in expected]
    assert found == pads
    if isinstance(net, nn.Module) and not isinstance(net, nn.LazyConv1d):
        rank = 1 if "1d" in str(net) else 2
        out = net(torch.zeros(1, 1, *(11,) * rank))
        assert shapes.chain_sizes(11, chain)[-1] == out.shape[2]


# -- the chain is what the net does ----------------------------------------------------


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["conv", "Max", "Avg"]),
            *(st.tuples(st.integers(1, 4), st.integers(1, 4)),) * 2,
            st.tuples(st.integers(0, 2), st.integers(0, 2)),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_random_nets_have_the_sizes_of_their_chains(plan: list[Any]) -> None:
    """Both axes, both frameworks, each with its own rule in ceil mode."""
    for half in HALVES:
        layers = []
        for kind, k, s, p, ceil in plan:
            if kind == "conv":
                layers.append(conv(half, 2, k, s, p, (1, 2)))
            else:
                half_of = tuple(min(a, b // 2) for a, b in zip(p, k, strict=True))
                layers.append(pool(half, 2, kind, k, s, half_of, ceil))
        net = whole(half, layers)
        along = []
        for axis in (0, 1):
            try:
                chain = chain_of(net, axis)
            except ValueError:
                assert all(k[axis] == s[axis] == 1 for _, k, s, _, _ in plan)
                along.append((9 + axis, 9 + axis))
                continue
            n = shapes.smallest_size(chain, half) + 9 + axis
            along.append((n, shapes.chain_sizes(n, chain, half)[-1]))
        (h, rows), (w, columns) = along
        if half == "pytorch":
            found = tuple(net(torch.zeros(1, 1, h, w)).shape[2:])
        else:
            net.initialize()
            found = net(mx.nd.zeros((1, 1, h, w))).shape[2:]
        assert found == (rows, columns)


def test_reading_leaves_a_net_as_it_was() -> None:
    """Not initialised, shapes not yet known: only the numbers are read."""
    net = sequence(gnn.Conv2D(4, 3), gnn.BatchNorm(), gnn.MaxPool2D(2))
    net.hybridize()
    assert len(chain_of(net)) == 2
    assert net[0].weight._data is None
    assert net[0].weight.shape == (4, 0, 3, 3)
    net.initialize()
    assert net(mx.nd.array(np.zeros((1, 2, 9, 9)))).shape == (1, 4, 3, 3)


# -- what is refused -------------------------------------------------------------------


def same(layer: Any, x: Any) -> Any:
    """A forward pass, which is not looked into."""
    return x


REASONS: dict[str, list[Any]] = {
    "only a plain sequence of known layers is a chain": [
        *(own_module(same, conv=nn.Conv2d(1, 1, 3)), own_block(same)),
        # It may skip a layer, or pad the input first.
        derived(nn.Sequential, nn.Conv2d(1, 1, 3), forward=same),
        derived(nn.Conv2d, 1, 1, 3, forward=same),
        *(gnn.HybridLambda("relu"), nn.GLU(), own_module(same, "Linear")),
    ],
    "it makes the map larger, which no window does": [
        *(nn.Upsample(scale_factor=2), gnn.Conv1DTranspose(1, 3)),
    ],
    "its statistics are of the whole map, so each output reads every input": [
        *(nn.GroupNorm(1, 1), gnn.LayerNorm()),
    ],
    "its padding reads the input once more": [
        *(nn.ReplicationPad2d(1), gnn.ReflectionPad2D(1)),
    ],
}
ALIKE = "padding must be alike on both sides of an axis, and not negative"
REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    *(
        (layer, {}, f"no rule for the net ({type(layer).__name__}); {why}")
        for why, layers in REASONS.items()
        for layer in layers
    ),
    (
        nn.Sequential(nn.Conv2d(1, 1, 3), nn.Sequential(nn.ReLU(), own_module(same))),
        {},
        f"no rule for 1.1 (Own); {next(iter(REASONS))}",
    ),
    (nn.Sequential(), {}, "net has no layer with a window"),
    (nn.Conv2d(1, 1, 3), {"axis": -1}, "axis must be at least 0, got -1"),
    (
        sequence(gnn.BatchNorm(), gnn.Conv1D(1, 3)),
        {"axis": 1},
        "axis must be below 1 for 1 (Conv1D), got 1",
    ),
    (
        nn.Sequential(nn.Conv1d(1, 1, 4, padding="same")),
        {},
        f"{ALIKE}, got 'same', which is (left, right, …) = (1, 2)",
    ),
    (
        nn.Sequential(nn.ZeroPad2d((1, 1, 0, 1))),
        {},
        f"{ALIKE}, got (1, 1, 0, 1), which is (left, right, …) = (1, 1, 0, 1)",
    ),
    (
        # A circular padding reads input positions a second time.
        nn.Sequential(nn.Conv1d(1, 1, 2, 4, 1, padding_mode="circular")),
        {},
        "padding_mode must be 'zeros', got 'circular'",
    ),
    (
        [nn.Conv2d(1, 1, 3)],
        {},
        "net must be a Gluon Block or a PyTorch Module, got list",
    ),
]


@pytest.mark.parametrize(
    ("net", "options", "text"), REFUSED, ids=[text[:50] for *_, text in REFUSED]
)
def test_refused(net: Any, options: dict[str, Any], text: str) -> None:
    error = TypeError if isinstance(net, list) else ValueError
    with pytest.raises(error) as caught:
        chain_of(net, **options)
    assert str(caught.value) == f"chain_of: {text}"


@pytest.mark.parametrize("half", HALVES)
def test_a_padding_that_pools_refuse(half: str) -> None:
    """MXNet would run it; the message names the layer."""
    layer = pool(half, 1, "Max", 3, 2, 2, False)
    net = whole(half, [layer])
    with pytest.raises(ValueError, match="at most half") as caught:
        chain_of(net)
    assert str(caught.value) == (
        "0: padding must be at most half of kernel_size=3 for kind='pool', got 2"
    )
