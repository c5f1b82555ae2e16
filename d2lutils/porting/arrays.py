"""Rows: arrays and devices."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from d2lutils.compat import mx
from d2lutils.porting import Row, functions, refusal, values

__all__ = ["ROWS"]

nd: Any = mx.nd


# Each writes into a part of an array, and looks at the whole.


def gluon_rows() -> Any:
    x = nd.ones((4, 3))
    x[1:3][:] = 0
    return x


def pytorch_rows() -> Any:
    x = torch.ones(4, 3)
    x[1:3][:] = 0
    return x


def gluon_column() -> Any:
    x = nd.ones((4, 3))
    column = x[:, 1]
    column[:] = 0
    return x


def pytorch_column() -> Any:
    x = torch.ones(4, 3)
    column = x[:, 1]
    column[:] = 0
    return x


def copied_column() -> Any:
    x = torch.ones(4, 3)
    column = x[:, 1].clone()
    column[:] = 0
    return x


def gluon_transposed() -> Any:
    x = nd.ones((4, 3))
    x.T[:] = 0
    return x


def pytorch_transposed() -> Any:
    x = torch.ones(4, 3)
    x.T[:] = 0
    return x


def copied_transposed() -> Any:
    x = torch.ones(4, 3)
    x.T.clone()[:] = 0
    return x


def gluon_to_numpy() -> Any:
    x = nd.ones((4, 3))
    x.asnumpy()[:] = 0
    return x


def pytorch_to_numpy() -> Any:
    x = torch.ones(4, 3)
    x.numpy()[:] = 0
    return x


def copied_to_numpy() -> Any:
    x = torch.ones(4, 3)
    x.numpy().copy()[:] = 0
    return x


def gluon_assign(x: Any) -> Any:
    y = x.copy()
    y[:, 1] = 5
    y += 1
    return y


def pytorch_assign(x: Any) -> Any:
    y = x.clone()
    y[:, 1] = 5
    y += 1
    return y


def gluon_seed() -> Any:
    mx.random.seed(0)
    return nd.random.normal(0, 1, shape=(4,))


def pytorch_seed() -> Any:
    torch.manual_seed(0)
    return torch.normal(0.0, 1.0, size=(4,))


def gluon_device(x: Any) -> Any:
    x = x.as_in_context(mx.cpu())
    return x.context.device_type


def pytorch_device(x: Any) -> Any:
    x = x.to("cpu")
    return x.device.type


def gluon_gpu() -> Any:
    return mx.gpu() if mx.context.num_gpus() else mx.cpu()


def pytorch_gpu() -> Any:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def where_both_see_a_gpu(gluon: Any, pytorch: Any) -> float:
    """Both choose the kind of device that their build can see, which may be none."""
    kinds = {"cpu": False, "gpu": True, "cuda": True}
    return float(
        kinds[gluon().device_type] != bool(mx.context.num_gpus())
        or kinds[pytorch().type] != bool(torch.cuda.device_count())
    )


ODD = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.7])
INTEGERS = np.array([7, -7, 4], dtype="int32")

ROWS = [
    Row(
        "an array from NumPy's float64",
        gluon=lambda a: nd.array(a),
        pytorch=lambda a: torch.tensor(a),
        judge=values((2, 3), dtype=True),
        differs="`nd.array` makes it float32 unless `dtype` is given",
        cure=lambda a: torch.tensor(a, dtype=torch.float32),
        card="one_idea",
    ),
    Row(
        "an array from a list of integers",
        gluon=lambda: nd.array([1, 2, 3]),
        pytorch=lambda: torch.tensor([1, 2, 3]),
        judge=values(dtype=True),
        differs="float32 there, int64 here",
        cure=lambda: torch.tensor([1.0, 2.0, 3.0]),
    ),
    Row(
        "zeros, ones, one value",
        gluon=lambda: [nd.zeros((2, 3)), nd.ones((2, 3)), nd.full((2, 3), 7)],
        pytorch=lambda: [torch.zeros(2, 3), torch.ones(2, 3), torch.full((2, 3), 7.0)],
        judge=values(dtype=True),
    ),
    Row(
        "counting",
        gluon=lambda: nd.arange(3),
        pytorch=lambda: torch.arange(3),
        judge=values(dtype=True),
        differs="float32 there, int64 here",
        cure=lambda: torch.arange(3.0),
    ),
    Row(
        "like another array",
        gluon=lambda x: [nd.zeros_like(x), nd.ones_like(x)],
        pytorch=lambda x: [torch.zeros_like(x), torch.ones_like(x)],
        judge=functions((2, 3), gradient=False, dtype=True),
    ),
    Row(
        "shape, axes, number of elements",
        gluon=lambda x: [x.shape, x.ndim, x.size],
        pytorch=lambda x: [x.shape, x.ndim, x.numel()],
        judge=functions((2, 3), gradient=False),
    ),
    Row(
        "to NumPy",
        gluon=gluon_to_numpy,
        pytorch=pytorch_to_numpy,
        judge=values(),
        differs="`numpy()` shares its memory, `asnumpy` copies",
        cure=copied_to_numpy,
    ),
    Row(
        "to a Python number",
        gluon=lambda x: x.asscalar(),
        pytorch=lambda x: x.item(),
        judge=functions((1,), gradient=False),
    ),
    Row(
        "another dtype",
        gluon=lambda x: x.astype("int32"),
        pytorch=lambda x: x.to(torch.int32),
        judge=functions(ODD, gradient=False, dtype=True),
    ),
    Row(
        "float32 plus float64",
        gluon=lambda x, y: x + y,
        pytorch=lambda x, y: x + y,
        judge=refusal(
            "Incompatible attr",
            functions(np.ones(3, dtype="float32"), np.ones(3), gradient=False),
        ),
        differs="an error there, float64 here",
    ),
    Row(
        "dividing integers",
        gluon=lambda x: x / 2,
        pytorch=lambda x: x / 2,
        judge=functions(INTEGERS, gradient=False, dtype=True),
        differs="integers there, towards zero; floats here",
        cure=lambda x: torch.div(x, 2, rounding_mode="trunc"),
    ),
    Row(
        "a remainder",
        gluon=lambda x: x % 3,
        pytorch=lambda x: x % 3,
        judge=functions(ODD, gradient=False),
    ),
    Row(
        "comparing",
        gluon=lambda x: x > 0,
        pytorch=lambda x: x > 0,
        judge=functions((2, 3), gradient=False, dtype=True),
        differs="ones and zeros of the dtype of `x` there, booleans here",
        cure=lambda x: (x > 0).to(x.dtype),
    ),
    Row(
        "choosing by a mask",
        gluon=lambda x: x[x > 0],
        pytorch=lambda x: x[x > 0],
        judge=functions(ODD, gradient=False),
        differs="ones and zeros are positions there",
        cure=lambda x: x[(x > 0).long()],
    ),
    Row(
        "rows where a mask is set",
        gluon=lambda x: nd.contrib.boolean_mask(x, x[:, 0] > 0),
        pytorch=lambda x: x[x[:, 0] > 0],
        judge=functions((5, 3)),
    ),
    Row(
        "shapes that broadcast",
        gluon=lambda x, y: x * y + x,
        pytorch=lambda x, y: x * y + x,
        judge=functions((4, 3), (3,)),
    ),
    Row(
        "writing in place",
        gluon=gluon_assign,
        pytorch=pytorch_assign,
        judge=functions((4, 3), gradient=False),
        card="residual_chunks",
    ),
    Row(
        "writing into a slice of rows",
        gluon=gluon_rows,
        pytorch=pytorch_rows,
        judge=values(),
    ),
    Row(
        "writing into a slice of columns",
        gluon=gluon_column,
        pytorch=pytorch_column,
        judge=values(),
        differs="a copy there, a view here: only here `x` changes",
        cure=copied_column,
    ),
    Row(
        "writing into the transpose",
        gluon=gluon_transposed,
        pytorch=pytorch_transposed,
        judge=values(),
        differs="a copy there, a view here",
        cure=copied_transposed,
    ),
    Row(
        "random numbers from a seed",
        gluon=gluon_seed,
        pytorch=pytorch_seed,
        judge=values(),
        differs="other numbers; make them once, in NumPy, for both",
        card="stochastic_depth",
    ),
    Row(
        "onto a device",
        gluon=gluon_device,
        pytorch=pytorch_device,
        judge=functions((2, 3), gradient=False),
    ),
    Row(
        "a GPU, where there is one",
        gluon=gluon_gpu,
        pytorch=pytorch_gpu,
        judge=where_both_see_a_gpu,
    ),
]
