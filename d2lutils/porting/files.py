"""Rows: files."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from d2lutils import parity
from d2lutils.compat import mx
from d2lutils.porting import Judge, Row, values

__all__ = ["ROWS"]

nd: Any = mx.nd
nn: Any = torch.nn
gnn: Any = mx.gluon.nn
gluon: Any = mx.gluon


def filed() -> Judge:
    """Both spellings get a path in a folder that is thrown away; the same values."""

    def judge(gluon_spelling: Any, pytorch_spelling: Any) -> float:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            # A reloaded graph asks for the type of its input, and finds it.
            warnings.filterwarnings("ignore", "Cannot decide type")
            return values()(
                lambda: gluon_spelling(str(Path(folder) / "gluon")),
                lambda: pytorch_spelling(str(Path(folder) / "pytorch")),
            )

    return judge


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


def gluon_parameters(path: str) -> Any:
    net, other = gluon_net(0.5), gluon_net(0.25)
    net.save_parameters(path)
    other.load_parameters(path)
    return other(nd.array(X))


def pytorch_parameters(path: str) -> Any:
    net, other = pytorch_net(0.5), pytorch_net(0.25)
    torch.save(net.state_dict(), path)
    other.load_state_dict(torch.load(path, weights_only=True))
    return other(torch.tensor(X))


def gluon_names(path: str) -> Any:
    gluon_net().save_parameters(path)
    return sorted(nd.load(path))


def pytorch_names(path: str) -> Any:
    torch.save(pytorch_net().state_dict(), path)
    return sorted(torch.load(path, weights_only=True))


def gluon_arrays(path: str) -> Any:
    nd.save(path, {"x": nd.ones(3), "y": nd.zeros((2, 2))})
    saved = nd.load(path)
    return [saved["x"], saved["y"]]


def pytorch_arrays(path: str) -> Any:
    torch.save({"x": torch.ones(3), "y": torch.zeros(2, 2)}, path)
    saved = torch.load(path, weights_only=True)
    return [saved["x"], saved["y"]]


def gluon_one(path: str) -> Any:
    nd.save(path, nd.ones((2, 2)))
    return nd.load(path)[0].shape


def pytorch_one(path: str) -> Any:
    torch.save(torch.ones(2, 2), path)
    return torch.load(path, weights_only=True)[0].shape


def pytorch_whole(path: str) -> Any:
    torch.save(torch.ones(2, 2), path)
    return torch.load(path, weights_only=True).shape


def gluon_partial(path: str) -> Any:
    net, other = gnn.HybridSequential(), gluon_net(0.25)
    net.add(gnn.Dense(4, in_units=3))
    net.initialize(mx.init.Constant(0.5))
    net.save_parameters(path)
    other.load_parameters(path, allow_missing=True)
    return [other[0].weight.data(), other[1].weight.data()]


def pytorch_partial(path: str) -> Any:
    net, other = nn.Sequential(nn.Linear(3, 4)), pytorch_net(0.25)
    nn.init.constant_(net[0].weight, 0.5)
    torch.save(net.state_dict(), path)
    saved = torch.load(path, weights_only=True)
    other.load_state_dict(saved, strict=False)
    return [other[0].weight, other[1].weight]


def gluon_exported(path: str) -> Any:
    net = gluon_net()
    net.hybridize()
    net(nd.array(X))
    net.export(path)
    files = (f"{path}-symbol.json", ["data"], f"{path}-0000.params")
    loaded = gluon.SymbolBlock.imports(*files)
    return loaded(nd.array(X[:2]))


def pytorch_exported(path: str) -> Any:
    batch = {0: torch.export.Dim("batch", min=1)}
    net = torch.export.export(pytorch_net(), (torch.tensor(X),), dynamic_shapes=[batch])
    torch.export.save(net, f"{path}.pt2")
    loaded = torch.export.load(f"{path}.pt2").module()
    return loaded(torch.tensor(X[:2]))


def gluon_trainer(path: str) -> Any:
    net = gluon_net()
    trainer = gluon.Trainer(net.collect_params(), "adam")
    trainer._init_kvstore()
    trainer.save_states(path)
    trainer.load_states(path)
    return trainer.learning_rate


def pytorch_trainer(path: str) -> Any:
    net = pytorch_net()
    optimizer = torch.optim.Adam(net.parameters())
    torch.save(optimizer.state_dict(), path)
    optimizer.load_state_dict(torch.load(path, weights_only=True))
    return optimizer.param_groups[0]["lr"]


def gluon_given(path: str) -> Any:
    net = gluon_net(0.5)
    net.save_parameters(path)
    return net(nd.array(X))


def pytorch_given(path: str) -> Any:
    source, net = gluon_net(0.5), pytorch_net(0.25)
    parity.copy_parameters(source, net)
    torch.save(net.state_dict(), path)
    return net(torch.tensor(X))


ROWS = [
    Row(
        "parameters to a file and back",
        gluon=gluon_parameters,
        pytorch=pytorch_parameters,
        judge=filed(),
        card="same_weights",
    ),
    Row(
        "the names in the file",
        gluon=gluon_names,
        pytorch=pytorch_names,
        judge=filed(),
        card="same_weights",
    ),
    Row(
        "some of the parameters only",
        gluon=gluon_partial,
        pytorch=pytorch_partial,
        judge=filed(),
    ),
    Row(
        "named arrays",
        gluon=gluon_arrays,
        pytorch=pytorch_arrays,
        judge=filed(),
    ),
    Row(
        "one array",
        gluon=gluon_one,
        pytorch=pytorch_one,
        judge=filed(),
        differs="a list of one array comes back there",
        cure=pytorch_whole,
    ),
    Row(
        "a graph with its parameters, for another batch size",
        gluon=gluon_exported,
        pytorch=pytorch_exported,
        judge=filed(),
        card="graph",
    ),
    Row(
        "the state of training",
        gluon=gluon_trainer,
        pytorch=pytorch_trainer,
        judge=filed(),
    ),
    Row(
        "weights from a Gluon net, in PyTorch",
        gluon=gluon_given,
        pytorch=pytorch_given,
        judge=filed(),
    ),
]
