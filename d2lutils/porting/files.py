"""Rows: files."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from d2lutils import parity
from d2lutils.compat import mx
from d2lutils.porting.judges import filed
from d2lutils.porting.rows import Rows

__all__ = ["ROWS"]

nd: Any = mx.nd
nn: Any = torch.nn
gnn: Any = mx.gluon.nn
gluon: Any = mx.gluon


def gluon_net(value: float = 0.5) -> Any:
    net = gnn.HybridSequential()
    net.add(gnn.Dense(4, in_units=3), gnn.Dense(2, in_units=4))
    net.initialize(mx.init.Constant(value))
    return net


def pytorch_net(value: float = 0.5) -> Any:
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    for name, p in net.named_parameters():
        nn.init.constant_(p, value if name.endswith("weight") else 0.0)
    return net


#: Sums of these are exact in float32, so that both frameworks find the same.
X = np.random.Generator(np.random.PCG64(0)).integers(-9, 9, (5, 3)).astype("float32")

ROWS = Rows()
row, pytorch, cure = ROWS.row, ROWS.pytorch, ROWS.cure


@row("parameters to a file and back", filed(), chapter="same_weights")
def _(path: str) -> Any:
    net, other = gluon_net(0.5), gluon_net(0.25)
    net.save_parameters(path)
    other.load_parameters(path)
    return other(nd.array(X))


@pytorch
def _(path: str) -> Any:
    net, other = pytorch_net(0.5), pytorch_net(0.25)
    torch.save(net.state_dict(), path)
    other.load_state_dict(torch.load(path, weights_only=True))
    return other(torch.tensor(X))


@row("the names in the file", filed(), chapter="same_weights")
def _(path: str) -> Any:
    gluon_net().save_parameters(path)
    return sorted(nd.load(path))


@pytorch
def _(path: str) -> Any:
    torch.save(pytorch_net().state_dict(), path)
    return sorted(torch.load(path, weights_only=True))


@row("some of the parameters only", filed())
def _(path: str) -> Any:
    net, other = gnn.HybridSequential(), gluon_net(0.25)
    net.add(gnn.Dense(4, in_units=3))
    net.initialize(mx.init.Constant(0.5))
    net.save_parameters(path)
    other.load_parameters(path, allow_missing=True)
    return [other[0].weight.data(), other[1].weight.data()]


@pytorch
def _(path: str) -> Any:
    net, other = nn.Sequential(nn.Linear(3, 4)), pytorch_net(0.25)
    nn.init.constant_(net[0].weight, 0.5)
    torch.save(net.state_dict(), path)
    saved = torch.load(path, weights_only=True)
    other.load_state_dict(saved, strict=False)
    return [other[0].weight, other[1].weight]


@row("more in the file than in the net, onto a device", filed())
def _(path: str) -> Any:
    net = gnn.Dense(4, in_units=3)
    saved = {"weight": nd.ones((4, 3)), "bias": nd.zeros(4), "old": nd.zeros(1)}
    nd.save(path, saved)
    net.load_parameters(path, ctx=mx.cpu(), ignore_extra=True)
    return net.weight.data()


@pytorch
def _(path: str) -> Any:
    net = nn.Linear(3, 4)
    saved = {"weight": torch.ones(4, 3), "bias": torch.zeros(4), "old": torch.zeros(1)}
    torch.save(saved, path)
    saved = torch.load(path, map_location="cpu", weights_only=True)
    found = net.load_state_dict(saved, strict=False)
    assert not found.missing_keys  # which Gluon would refuse
    return net.weight


@row("named arrays", filed())
def _(path: str) -> Any:
    nd.save(path, {"x": nd.ones(3), "y": nd.zeros((2, 2))})
    saved = nd.load(path)
    return [saved["x"], saved["y"]]


@pytorch
def _(path: str) -> Any:
    torch.save({"x": torch.ones(3), "y": torch.zeros(2, 2)}, path)
    saved = torch.load(path, weights_only=True)
    return [saved["x"], saved["y"]]


@row("one array", filed())
def _(path: str) -> Any:
    nd.save(path, nd.ones((2, 2)))
    return nd.load(path)[0].shape


@pytorch(differs="a list of one array comes back there")
def _(path: str) -> Any:
    torch.save(torch.ones(2, 2), path)
    return torch.load(path, weights_only=True)[0].shape


@cure
def _(path: str) -> Any:
    torch.save(torch.ones(2, 2), path)
    return torch.load(path, weights_only=True).shape


@row("a graph with its parameters, for another batch size", filed(), chapter="graph")
def _(path: str) -> Any:
    net = gluon_net()
    net.hybridize()
    net(nd.array(X))
    net.export(path)
    files = (f"{path}-symbol.json", ["data"], f"{path}-0000.params")
    loaded = gluon.SymbolBlock.imports(*files)
    return loaded(nd.array(X[:2]))


@pytorch
def _(path: str) -> Any:
    batch = {0: torch.export.Dim("batch", min=1)}
    net = torch.export.export(pytorch_net(), (torch.tensor(X),), dynamic_shapes=[batch])
    torch.export.save(net, f"{path}.pt2")
    loaded = torch.export.load(f"{path}.pt2").module()
    return loaded(torch.tensor(X[:2]))


@row("the state of training", filed())
def _(path: str) -> Any:
    net = gluon_net()
    trainer = gluon.Trainer(net.collect_params(), "adam")
    trainer._init_kvstore()
    trainer.save_states(path)
    trainer.load_states(path)
    return trainer.learning_rate


@pytorch
def _(path: str) -> Any:
    net = pytorch_net()
    optimizer = torch.optim.Adam(net.parameters())
    torch.save(optimizer.state_dict(), path)
    optimizer.load_state_dict(torch.load(path, weights_only=True))
    return optimizer.param_groups[0]["lr"]


@row("weights from a Gluon net, in PyTorch", filed())
def _(path: str) -> Any:
    net = gluon_net(0.5)
    net.save_parameters(path)
    return net(nd.array(X))


@pytorch
def _(path: str) -> Any:
    source, net = gluon_net(0.5), pytorch_net(0.25)
    parity.copy_parameters(source, net)
    torch.save(net.state_dict(), path)
    return net(torch.tensor(X))
