"""What a net never reads, measured, against the arithmetic of its windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from halves import GLUON
from nets import gnn, nn, sequence
from own_layers import own_block, own_module

from d2lutils import shapes
from d2lutils.compat import mx
from d2lutils.gluon import nin as gluon_nin
from d2lutils.ledger import chain_of, net_unread
from d2lutils.pytorch import nin as torch_nin

nd: Any = mx.nd


def conv(rank: int, k: Any, s: Any, p: Any, channels: int = 2) -> tuple[Any, Any]:
    """A convolution in both frameworks."""
    gluon = (gnn.Conv1D, gnn.Conv2D)[rank - 1]
    torch_layer = (nn.LazyConv1d, nn.LazyConv2d)[rank - 1]
    return gluon(channels, k, s, p), torch_layer(channels, k, s, p)


@pytest.mark.parametrize("seed", range(6))
def test_chains_are_read_as_their_windows_say(seed: int) -> None:
    """One axis: there a line is a single entry, which a maximum hides most easily."""
    draw = np.random.Generator(np.random.PCG64(seed))
    halves: tuple[list[Any], list[Any]] = ([], [])
    for _ in range(3):
        k, s = (int(n) for n in draw.integers(1, 6, 2))
        p = int(draw.integers(0, k // 2 + 1))
        pools = (gnn.MaxPool1D(k, s, p), nn.MaxPool1d(k, s, p))
        acts = (gnn.Activation("tanh"), nn.Tanh())
        norms = (gnn.BatchNorm(), nn.LazyBatchNorm1d())
        for layers in (conv(1, k, s, p), norms, acts, pools):
            for half, layer in zip(halves, layers, strict=True):
                half.append(layer)
    nets = GLUON.ready(sequence(*halves[0])), nn.Sequential(*halves[1])
    for name, net in zip(("gluon", "pytorch"), nets, strict=True):
        n = shapes.smallest_size(chain_of(net), name) + int(draw.integers(0, 60))
        expected = sorted(shapes.chain_unread(n, chain_of(net), name))
        assert net_unread(net, (2, 3, n)) == [expected]


@pytest.mark.parametrize("half", [gluon_nin, torch_nin])
def test_network_in_network_is_left_as_it_was(half: Any) -> None:
    net = half.NiN(10, 1, (2, 3, 2))
    if half is gluon_nin:
        GLUON.ready(net).hybridize()
        x = nd.ones((1, 1, 224, 227))
        before = net(x).asnumpy()
        assert net_unread(net, (1, 1, 224, 227)) == [[219, 220, 221, 222, 223], []]
        assert np.array_equal(net(x).asnumpy(), before)
    else:
        state = {name: value.clone() for name, value in net.state_dict().items()}
        assert net_unread(net, (1, 1, 224, 227)) == [[219, 220, 221, 222, 223], []]
        assert net.training
        for name, value in net.state_dict().items():
            assert torch.equal(value, state[name])
            assert value.dtype == torch.float32


def branches(block: Any, x: Any) -> Any:
    """A sum of two paths, the second of which reads what the first skips."""
    return block.one(x) + block.other(x)


def test_any_way_of_calling_layers() -> None:
    """A sum reads what one of its paths reads; both paths stride by 4."""
    wide, narrow = conv(2, 3, 4, 0), conv(2, 1, 4, 0)
    gluon = own_block(branches, one=narrow[0], other=wide[0])
    module = own_module(branches, one=narrow[1], other=wide[1])
    for net in (GLUON.ready(gluon), module):
        assert net_unread(net, (1, 1, 8, 7)) == [[3, 7], [3]]
    for net in (GLUON.ready(conv(2, 1, 4, 0)[0]), conv(2, 1, 4, 0)[1]):
        assert net_unread(net, (1, 1, 6, 4)) == [[1, 2, 3, 5], [1, 2, 3]]


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Conv2d(1, 2, 3, 2), nn.GroupNorm(1, 2), nn.Softmax(1)),
        sequence(gnn.Conv2D(2, 3, 2), gnn.LayerNorm(), gnn.HybridLambda("softmax")),
        nn.Sequential(nn.Conv2d(1, 2, 3, 2), *(nn.ReLU6(), nn.Conv2d(2, 2, 1)) * 9),
    ],
)
def test_what_reads_the_whole_map_or_is_clipped(net: Any) -> None:
    if not isinstance(net, nn.Module):
        GLUON.ready(net)
    assert net_unread(net, (1, 1, 8, 9)) == [[7], []]


def test_refused() -> None:
    for shape in ((1, 1), (1, 0, 8)):
        with pytest.raises(ValueError, match="net_unread: input_shape"):
            net_unread(nn.Conv1d(1, 1, 3), shape)
    with pytest.raises(TypeError, match="net must be a Gluon Block or a PyTorch Modu"):
        net_unread([1], (1, 1, 8))
    with pytest.raises(ValueError, match=r"not initialised: call net.initialize\(\)"):
        net_unread(gnn.Conv1D(1, 3), (1, 1, 8))
