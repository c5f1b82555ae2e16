"""Rows: arrays and devices."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from d2lutils.compat import mx
from d2lutils.porting.judges import (
    functions,
    outputs,
    refusal,
    values,
)
from d2lutils.porting.rows import Rows

__all__ = ["ROWS"]

nd: Any = mx.nd
gnn: Any = mx.gluon.nn
nn: Any = torch.nn
autograd: Any = mx.autograd

ODD = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.7])
INTEGERS = np.array([7, -7, 4], dtype="int32")

ROWS = Rows()
row, pytorch, cure = ROWS.row, ROWS.pytorch, ROWS.cure


row("an array from NumPy's float64", values((2, 3), dtype=True), chapter="one_idea")(
    gluon=lambda a: nd.array(a),
    pytorch=lambda a: torch.tensor(a),
    differs="`nd.array` makes it float32 unless `dtype` is given",
    cure=lambda a: torch.tensor(a, dtype=torch.float32),
)
row("an array from a list of integers", values(dtype=True))(
    gluon=lambda: nd.array([1, 2, 3]),
    pytorch=lambda: torch.tensor([1, 2, 3]),
    differs="float32 there, int64 here",
    cure=lambda: torch.tensor([1.0, 2.0, 3.0]),
)
row("zeros, ones, one value", values(dtype=True))(
    gluon=lambda: [nd.zeros((2, 3)), nd.ones((2, 3)), nd.full((2, 3), 7)],
    pytorch=lambda: [torch.zeros(2, 3), torch.ones(2, 3), torch.full((2, 3), 7.0)],
)
row("counting", values(dtype=True))(
    gluon=lambda: nd.arange(3),
    pytorch=lambda: torch.arange(3),
    differs="float32 there, int64 here",
    cure=lambda: torch.arange(3.0),
)
row("shape, axes, number of elements", outputs((2, 3)))(
    gluon=lambda x: [x.shape, x.ndim, x.size],
    pytorch=lambda x: [x.shape, x.ndim, x.numel()],
)


@row("to NumPy", values())
def _() -> Any:
    x = nd.ones((4, 3))
    x.asnumpy()[:] = 0
    return x


@pytorch(differs="`numpy()` shares its memory, `asnumpy` copies")
def _() -> Any:
    x = torch.ones(4, 3)
    x.numpy()[:] = 0
    return x


@cure
def _() -> Any:
    x = torch.ones(4, 3)
    x.numpy().copy()[:] = 0
    return x


row("to a Python number", outputs((1,)))(
    gluon=lambda x: x.asscalar(),
    pytorch=lambda x: x.item(),
)
row("another dtype", outputs(ODD, dtype=True))(
    gluon=lambda x: x.astype("int32"),
    pytorch=lambda x: x.to(torch.int32),
)
row(
    "float32 plus float64",
    refusal(
        "Incompatible attr",
        outputs(np.ones(3, dtype="float32"), np.ones(3)),
    ),
)(
    both=lambda x, y: x + y,
    differs="an error there, float64 here",
)
row("dividing integers", outputs(INTEGERS, dtype=True))(
    both=lambda x: x / 2,
    differs="integers there, towards zero; floats here",
    cure=lambda x: torch.div(x, 2, rounding_mode="trunc"),
)
row("a remainder", outputs(ODD))(both=lambda x: x % 3)

row("comparing", outputs((2, 3), dtype=True))(
    both=lambda x: x > 0,
    differs="ones and zeros of the dtype of `x` there, booleans here",
    cure=lambda x: (x > 0).to(x.dtype),
)
row("choosing by a mask", outputs(ODD))(
    both=lambda x: x[x > 0],
    differs="ones and zeros are positions there",
    cure=lambda x: x[(x > 0).long()],
)
row("rows where a mask is set", functions((5, 3)))(
    gluon=lambda x: nd.contrib.boolean_mask(x, x[:, 0] > 0),
    pytorch=lambda x: x[x[:, 0] > 0],
)
row("shapes that broadcast", functions((4, 3), (3,)))(both=lambda x, y: x * y + x)


@row("writing in place", outputs((4, 3)), chapter="residual_chunks")
def _(x: Any) -> Any:
    y = x.copy()
    y[:, 1] = 5
    y += 1
    return y


@pytorch
def _(x: Any) -> Any:
    y = x.clone()
    y[:, 1] = 5
    y += 1
    return y


@row("writing into a slice of rows", values())
def _() -> Any:
    x = nd.ones((4, 3))
    x[1:3][:] = 0
    return x


@pytorch
def _() -> Any:
    x = torch.ones(4, 3)
    x[1:3][:] = 0
    return x


@row("writing into a slice of columns", values())
def _() -> Any:
    x = nd.ones((4, 3))
    column = x[:, 1]
    column[:] = 0
    return x


@pytorch(differs="a copy there, a view here: only here `x` changes")
def _() -> Any:
    x = torch.ones(4, 3)
    column = x[:, 1]
    column[:] = 0
    return x


@cure
def _() -> Any:
    x = torch.ones(4, 3)
    column = x[:, 1].clone()
    column[:] = 0
    return x


@row("random numbers from a seed", values(), chapter="stochastic_depth")
def _() -> Any:
    mx.random.seed(0)
    return nd.random.normal(0, 1, shape=(4,))


@pytorch(differs="other numbers; make them once, in NumPy, for both")
def _() -> Any:
    torch.manual_seed(0)
    return torch.normal(0.0, 1.0, size=(4,))


@row("onto a device", outputs((2, 3)))
def _(x: Any) -> Any:
    x = x.as_in_context(mx.cpu())
    return x.context.device_type


@pytorch
def _(x: Any) -> Any:
    x = x.to("cpu")
    return x.device.type


@row("move a net", values())
def _() -> Any:
    net = gnn.Dense(3, in_units=4)
    net.initialize()
    net.collect_params().reset_ctx(mx.cpu())
    return net.weight.list_ctx()[0].device_type


@pytorch
def _() -> Any:
    net = nn.Linear(4, 3)
    net.to("cpu")
    return net.weight.device.type


row("a sparse matrix times a dense one", outputs(np.eye(3), (3, 4)))(
    gluon=lambda x, y: nd.sparse.dot(x.tostype("csr"), y),
    pytorch=lambda x, y: x.to_sparse() @ y,
)


@row("a gradient with few rows", values())
def _() -> Any:
    net = gnn.Embedding(5, 3, sparse_grad=True)
    net.initialize()
    with autograd.record():
        loss = net(nd.array([4, 1, 1])).sum()
    loss.backward()
    return [net.weight.grad().indices, net.weight.grad().data]


@pytorch
def _() -> Any:
    net = nn.Embedding(5, 3, sparse=True)
    net(torch.tensor([4, 1, 1])).sum().backward()
    grad = net.weight.grad.coalesce()
    return [grad.indices()[0], grad.values()]
