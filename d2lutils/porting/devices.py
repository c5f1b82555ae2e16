"""Rows: several devices, and several processes.

Where Gluon takes two contexts of this process, PyTorch takes two processes: each calls
the PyTorch spelling with its rank, in a group of gloo. These spellings have names, by
which one group runs all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import nn

from d2lutils.compat import mx
from d2lutils.porting.judges import grouped, outputs, refusal
from d2lutils.porting.rows import Rows

__all__ = ["ROWS"]

# PyTorch 2.15 would have us say each time that a gradient is there.
dist: Any = torch.distributed
nd: Any = mx.nd
tdata: Any = torch.utils.data
gluon: Any = mx.gluon
gnn: Any = mx.gluon.nn
gdata: Any = mx.gluon.data
init: Any = mx.init
autograd: Any = mx.autograd

X = np.arange(20.0, dtype="float32").reshape(10, 2)

ROWS = Rows()
row, pytorch, cure = ROWS.row, ROWS.pytorch, ROWS.cure
together = grouped(lambda: ROWS)


row("a batch for several devices", outputs(X))(
    gluon=lambda x: gluon.utils.split_and_load(x, [mx.cpu(0), mx.cpu(1)]),
    pytorch=lambda x: [part.to("cpu") for part in x.chunk(2)],
)
row(
    "nine examples for four devices", refusal("cannot be evenly split", outputs(X[:9]))
)(
    gluon=lambda x: gluon.utils.split_and_load(x, [mx.cpu(i) for i in range(4)]),
    pytorch=lambda x: x.tensor_split(4),
    differs="refused there",
)


@row("nine examples for four devices, unevenly", outputs(X[:9]))
def _(x: Any) -> Any:
    devices = [mx.cpu(i) for i in range(4)]
    return gluon.utils.split_and_load(x, devices, even_split=False)


pytorch(
    lambda x: x.chunk(4),
    differs="3, 2, 2 and 2 there; 3, 3 and 3 here, and a device without work",
)
cure(lambda x: x.tensor_split(4))


@row(
    "three examples for four devices, unevenly",
    refusal("inferring shapes failed", outputs(X[:3])),
)
def _(x: Any) -> Any:
    devices = [mx.cpu(i) for i in range(4)]
    return gluon.utils.split_and_load(x, devices, even_split=False)


pytorch(
    lambda x: x.tensor_split(4),
    differs="refused there, as whenever a device would get nothing; "
    "here the last part is empty",
)


row("a process's share of a dataset", outputs(X[:9]))(
    gluon=lambda x: list(gdata.SimpleDataset(x).shard(2, 1)),
    pytorch=lambda x: [x[i] for i in tdata.DistributedSampler(x, 2, 1, shuffle=False)],
    differs="the last four there; here every second one, and the first again, so that "
    "all processes have as many",
    cure=lambda x: list(x.tensor_split(2)[1]),
)


@row("the same start everywhere", together)
def _() -> Any:
    devices = [mx.cpu(0), mx.cpu(1)]
    net = gnn.Dense(2, in_units=2)
    net.initialize(init.Normal(), ctx=devices)
    first = net.weight.data(devices[0])
    return [net.weight.data(d).as_in_context(mx.cpu(0)) - first for d in devices]


def same_start(rank: int) -> Any:
    torch.manual_seed(rank)
    linear = nn.Linear(2, 2)
    nn.parallel.DistributedDataParallel(linear)
    weights = [torch.zeros(2, 2), torch.zeros(2, 2)]
    dist.all_gather(weights, linear.weight.detach())
    return weights[rank] - weights[0]


pytorch(same_start)


@row("push to a store, and pull the sum", together)
def _() -> Any:
    store = mx.kv.create("local")
    store.init("w", nd.zeros(2))
    store.push("w", [nd.ones(2), 2 * nd.ones(2)])
    pulled = [nd.zeros(2), nd.zeros(2)]
    store.pull("w", out=pulled)
    return pulled


def push_and_pull(rank: int) -> Any:
    pushed = (rank + 1) * torch.ones(2)
    dist.all_reduce(pushed)
    return pushed


pytorch(push_and_pull)


@row("gradients summed, looked at, then the update", together)
def _() -> Any:
    devices = [mx.cpu(0), mx.cpu(1)]
    w = gluon.Parameter("w", shape=(2,))
    w.initialize(init.One(), ctx=devices)
    options = {"learning_rate": 0.25}
    trainer = gluon.Trainer([w], "sgd", options, update_on_kvstore=False)
    with autograd.record():
        losses = [
            (w.data(d) * nd.array([i, 2], ctx=d)).sum() for i, d in enumerate(devices)
        ]
    autograd.backward(losses)
    trainer.allreduce_grads()
    seen = [w.grad(d).copy() for d in devices]
    trainer.update(2)
    return [[grad, w.data(d)] for grad, d in zip(seen, devices, strict=True)]


def all_reduce_grads(rank: int) -> Any:
    w = nn.Parameter(torch.ones(2))
    sgd = torch.optim.SGD([w], lr=0.25)
    loss = (w * torch.tensor([rank, 2.0])).sum()
    loss.backward()
    dist.all_reduce(w.grad)
    seen = w.grad.clone()  # type: ignore[union-attr]
    w.grad /= 2  # type: ignore[operator, assignment]
    sgd.step()
    return [seen, w]


pytorch(all_reduce_grads)


@row("`update_on_kvstore`: steps on equal shares", together, within=1e-6)
def _() -> Any:
    devices = [mx.cpu(0), mx.cpu(1)]
    net = gnn.Dense(1, use_bias=False, in_units=2)
    net.initialize(init.One(), ctx=devices)
    ps, options = net.collect_params(), {"learning_rate": 0.25, "momentum": 0.5}
    trainer = gluon.Trainer(ps, "sgd", options, "device", update_on_kvstore=True)
    x = nd.array([[0, 1], [2, 0], [1, 1], [0, 2]])
    for _ in range(3):
        with autograd.record():
            losses = [net(x) ** 2 for x in gluon.utils.split_and_load(x, devices)]
        autograd.backward(losses)
        trainer.step(4)
    return [net.weight.data(d) for d in devices]


def equal_shares(rank: int) -> Any:
    linear = nn.Linear(2, 1, bias=False)
    nn.init.ones_(linear.weight)
    net = nn.parallel.DistributedDataParallel(linear)
    sgd = torch.optim.SGD(net.parameters(), lr=0.25, momentum=0.5)
    x = torch.tensor([[0.0, 1], [2, 0], [1, 1], [0, 2]])
    for _ in range(3):
        loss = (net(x.tensor_split(2)[rank]) ** 2).mean()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    return linear.weight


pytorch(equal_shares)


@row("a step on three examples", together, within=1e-6)
def _() -> Any:
    devices = [mx.cpu(0), mx.cpu(1)]
    w = gluon.Parameter("w", shape=(1,))
    w.initialize(init.One(), ctx=devices)
    trainer = gluon.Trainer([w], "sgd", {"learning_rate": 0.25})
    x = nd.array([1, 2, 4])
    parts = gluon.utils.split_and_load(x, devices, even_split=False)
    with autograd.record():
        losses = [part * w.data(part.context) for part in parts]
    autograd.backward(losses)
    trainer.step(3)
    return [w.data(d) for d in devices]


def uneven_shares(rank: int) -> Any:
    linear = nn.Linear(1, 1, bias=False)
    nn.init.ones_(linear.weight)
    net = nn.parallel.DistributedDataParallel(linear)
    part = torch.tensor([[1.0], [2], [4]]).tensor_split(2)[rank]
    net(part).mean().backward()
    torch.optim.SGD(net.parameters(), lr=0.25).step()
    return linear.weight


pytorch(
    uneven_shares,
    differs="`DistributedDataParallel` averages the processes, whatever their shares; "
    "so let the loss be a sum, times the number of processes, over all examples",
)


def weighted_shares(rank: int) -> Any:
    linear = nn.Linear(1, 1, bias=False)
    nn.init.ones_(linear.weight)
    net = nn.parallel.DistributedDataParallel(linear)
    part = torch.tensor([[1.0], [2], [4]]).tensor_split(2)[rank]
    loss = net(part).sum() * dist.get_world_size() / 3
    loss.backward()
    torch.optim.SGD(net.parameters(), lr=0.25).step()
    return linear.weight


cure(weighted_shares)


@row("`kvstore=None`: each device alone", together)
def _() -> Any:
    devices = [mx.cpu(0), mx.cpu(1)]
    w = gluon.Parameter("w", shape=(2,))
    w.initialize(init.One(), ctx=devices)
    trainer = gluon.Trainer([w], "sgd", {"learning_rate": 0.25}, kvstore=None)
    with autograd.record():
        losses = [(w.data(d) * i).sum() for i, d in enumerate(devices)]
    autograd.backward(losses)
    trainer.step(1)
    return [w.data(d) for d in devices]


def alone(rank: int) -> Any:
    w = nn.Parameter(torch.ones(2))
    (w * rank).sum().backward()
    torch.optim.SGD([w], lr=0.25).step()
    return w


pytorch(alone)


@row("`ignore_stale_grad`: a weight without use in the second step", together)
def _() -> Any:
    devices = [mx.cpu(0), mx.cpu(1)]
    w, v = (gluon.Parameter(name, shape=(1,)) for name in "wv")
    for parameter in (w, v):
        parameter.initialize(init.One(), ctx=devices)
    trainer = gluon.Trainer([w, v], "sgd", {"learning_rate": 0.125})
    for used in ([w, v], [v]):
        with autograd.record():
            losses = [sum(p.data(d) for p in used) for d in devices]
        autograd.backward(losses)
        trainer.step(1, ignore_stale_grad=True)
    return [[w.data(d), v.data(d)] for d in devices]


def unused(rank: int) -> Any:
    w, v = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    sgd = torch.optim.SGD([w, v], lr=0.125)
    for used in ([w, v], [v]):
        sgd.zero_grad()
        torch.cat([*used]).sum().backward()
        for p in used:
            dist.all_reduce(p.grad)
        sgd.step()
    return [w, v]


pytorch(
    unused,
    differs="on several devices the weight moves there a second time, by its old "
    "gradient; here it stays, as on a single device there",
)
