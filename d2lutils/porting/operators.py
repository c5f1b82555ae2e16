"""Rows: operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from d2lutils.compat import mx
from d2lutils.porting.judges import functions, outputs, refusal
from d2lutils.porting.rows import Rows

__all__ = ["ROWS"]

nd: Any = mx.nd

PLACES = np.array([2, 0, 1], dtype="int32")
OUTSIDE = np.array([-1, 5], dtype="int32")
LENGTHS = np.array([2, 4, 1], dtype="int32")
TIES = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.7])
SMALL = np.array([[1e-4, -2e-4], [3e-5, 1e-5]])

ROWS = Rows()
row, pytorch, cure = ROWS.row, ROWS.pytorch, ROWS.cure


row("reshape, `0`: keep this axis", functions((2, 3, 4)))(
    gluon=lambda x: x.reshape((0, -1)),
    pytorch=lambda x: x.flatten(1),
)
row("reshape, `-2`: keep all that remain", functions((2, 3, 4)))(
    gluon=lambda x: x.reshape((-2, 1, 1)),
    pytorch=lambda x: x[..., None, None],
)
row("reshape, `-3`: join two axes", functions((2, 3, 4, 5)))(
    gluon=lambda x: x.reshape((0, -3, 0)),
    pytorch=lambda x: x.flatten(1, 2),
)
row("reshape, `-4`: split an axis", functions((2, 6, 4)))(
    gluon=lambda x: x.reshape((0, -4, 2, -1, 0)),
    pytorch=lambda x: x.unflatten(1, (2, -1)),
)
row(
    "reshape like another array", outputs((4, 6), np.zeros((2, 3, 4), dtype="float32"))
)(
    gluon=lambda x, y: nd.reshape_like(x, y),
    pytorch=lambda x, y: x.reshape(y.shape),
)
row("exchange axes", functions((2, 3, 4)))(
    gluon=lambda x: [x.transpose((2, 0, 1)), x.swapaxes(0, 1)],
    pytorch=lambda x: [x.permute(2, 0, 1), x.swapaxes(0, 1)],
)
row("transpose without axes", functions((2, 3, 4)))(
    gluon=lambda x: x.transpose(),
    pytorch=lambda x: x.transpose(0, 1),
    differs="reverses all axes there; two are exchanged here",
    cure=lambda x: x.permute(2, 1, 0),
)
row("add and drop an axis", functions((2, 1, 3)))(
    gluon=lambda x: x.expand_dims(1).squeeze(axis=2),
    pytorch=lambda x: x.unsqueeze(1).squeeze(2),
)
row("repeat elements, repeat the whole", functions((2, 3)))(
    gluon=lambda x: [x.repeat(2, axis=1), x.tile((2, 3))],
    pytorch=lambda x: [x.repeat_interleave(2, dim=1), x.tile(2, 3)],
)
row("`repeat`", functions(np.arange(3.0)))(
    both=lambda x: x.repeat(2),
    differs="0 0 1 1 2 2 there, 0 1 2 0 1 2 here",
    cure=lambda x: x.repeat_interleave(2),
)
row("stretch to a shape", functions((1, 3)))(
    gluon=lambda x: x.broadcast_to((4, 3)),
    pytorch=lambda x: x.expand(4, 3),
)
row("broadcasting operators", functions((4, 3), (1, 3)))(
    gluon=lambda x, y: nd.broadcast_maximum(nd.broadcast_mul(x, y), y),
    pytorch=lambda x, y: torch.maximum(x * y, y),
)
row("join, stack, split", functions((2, 6)), chapter="zero_padded_shortcuts")(
    gluon=lambda x: [nd.concat(x, x, dim=1), nd.stack(x, x), *x.split(2)],
    pytorch=lambda x: [torch.cat([x, x], 1), torch.stack([x, x]), *x.chunk(2, 1)],
)
row("`split`", functions((6, 4)))(
    gluon=lambda x: nd.split(x, 2),
    pytorch=lambda x: torch.split(x, 2),
    differs="number of parts, axis 1; size of each, axis 0",
    cure=lambda x: torch.split(x, x.shape[1] // 2, 1),
)
row("split at positions", functions((2, 6)))(
    gluon=lambda x: nd.split_v2(x, (1, 4), axis=1),
    pytorch=lambda x: torch.tensor_split(x, (1, 4), dim=1),
)
row("slice", functions((4, 6)))(
    gluon=lambda x: nd.slice(x, begin=(1, 0), end=(3, 4), step=(1, 2)),
    pytorch=lambda x: x[1:3, 0:4:2],
)
row("slice one axis", functions((4, 6)))(
    gluon=lambda x: nd.slice_axis(x, axis=1, begin=1, end=-1),
    pytorch=lambda x: x.narrow(1, 1, x.shape[1] - 2),
)
row(
    "replace a slice",
    refusal("is non-differentiable", functions((5, 4), (2, 4))),
    chapter="zero_padded_shortcuts",
)(
    gluon=lambda x, y: nd._internal._slice_assign(x, y, begin=(1, 0), end=(3, 4)),
    pytorch=lambda x, y: torch.slice_scatter(x, y, 0, 1, 3),
    differs="refused there; concatenate instead",
)
row("backwards", functions((2, 5)))(
    gluon=lambda x: x[:, ::-1],
    pytorch=lambda x: x.flip(1),
)
row("rows by number", functions((4, 3), PLACES))(
    gluon=lambda x, i: nd.take(x, i),
    pytorch=lambda x, i: x[i],
)
row("`take`", functions((4, 3), PLACES.astype("int64")))(
    both=lambda x, i: x.take(i),
    differs="rows there, elements of the flat tensor here",
    cure=lambda x, i: x.index_select(0, i),
)
row(
    "rows by number, out of range",
    refusal("is out of bounds", functions((4, 3), OUTSIDE)),
)(
    gluon=lambda x, i: nd.take(x, i),
    pytorch=lambda x, i: x[i],
    differs="clipped there, so that -1 is the first row; an error here",
    cure=lambda x, i: x[i.clamp(0, len(x) - 1)],
)
row("one element of each row", functions((3, 4), PLACES))(
    gluon=lambda x, i: nd.pick(x, i),
    pytorch=lambda x, i: x.gather(1, i[:, None].long()).squeeze(1),
)
row("elements by several indices", functions((3, 4), PLACES))(
    gluon=lambda x, i: nd.gather_nd(x, nd.stack(i, i)),
    pytorch=lambda x, i: x[i, i],
)
row("one-hot vectors", functions(PLACES, dtype=True))(
    gluon=lambda i: nd.one_hot(i, 4),
    pytorch=lambda i: F.one_hot(i.long(), 4),
    differs="float32 there, int64 here",
    cure=lambda i: F.one_hot(i.long(), 4).float(),
)
row("position of the largest", outputs(np.eye(3, dtype="float32"), dtype=True))(
    gluon=lambda x: x.argmax(axis=1),
    pytorch=lambda x: x.argmax(1),
    differs="float32 there, int64 here",
    cure=lambda x: x.argmax(1).float(),
)
row("the largest `k`", outputs((3, 5)))(
    gluon=lambda x: nd.topk(x, k=2),
    pytorch=lambda x: torch.topk(x, 2),
    differs="places there, as floats; values and places here",
    cure=lambda x: torch.topk(x, 2).indices.float(),
)
row("sort", outputs((3, 5)))(
    gluon=lambda x: [x.sort(axis=1), x.argsort(axis=1)],
    pytorch=lambda x: [*x.sort(1)],
)
row("sum of everything", functions((3, 4)))(
    both=lambda x: x.sum(),
    differs="shape (1,) there, () here",
    cure=lambda x: x.sum().reshape(1),
)
row("sum and mean of an axis", functions((2, 3, 4)))(
    gluon=lambda x: [x.sum(axis=1), x.mean(axis=(0, 2), keepdims=True)],
    pytorch=lambda x: [x.sum(1), x.mean((0, 2), keepdim=True)],
)
row("sum of all other axes", functions((2, 3, 4)))(
    gluon=lambda x: nd.sum(x, axis=1, exclude=True),
    pytorch=lambda x: x.sum((0, 2)),
)
row("the largest of an axis", functions((3, 4)))(
    gluon=lambda x: x.max(axis=1),
    pytorch=lambda x: x.amax(1),
)
row("the largest of an axis, with ties: the gradient", functions(np.ones((3, 4))))(
    gluon=lambda x: x.max(axis=1),
    pytorch=lambda x: x.amax(1),
    differs="each of the equal ones gets all of it there, its share here",
)


@cure
def _(x: Any) -> Any:
    top = x.detach().amax(1, keepdim=True)
    return ((x - top) * (x == top)).sum(1) + top.squeeze(1)


row("norm", functions((3, 4)))(
    gluon=lambda x: [x.norm(axis=1), nd.norm(x, ord=1, axis=1)],
    pytorch=lambda x: [x.norm(dim=1), x.norm(p=1, dim=1)],
)
row("mean and variance", functions((5, 3)), chapter="batch_norm")(
    gluon=lambda x: nd.moments(x, axes=0),
    pytorch=lambda x: [x.mean(0), x.var(0)],
    differs="`nd.moments` divides by n, `var` by n - 1",
    cure=lambda x: [x.mean(0), x.var(0, correction=0)],
)
row("product of matrices", functions((2, 3), (3, 4)))(
    gluon=lambda x, y: nd.dot(x, y),
    pytorch=lambda x, y: x @ y,
)
row("`dot` of more than two axes", functions((3, 2, 3), (3, 3, 4)))(
    gluon=lambda x, y: nd.dot(x, y),
    pytorch=lambda x, y: torch.matmul(x, y),
    differs="last axis of one with first of the other there; batched here",
    cure=lambda x, y: torch.tensordot(x, y, 1),
)
row("batch of products", functions((5, 2, 3), (5, 4, 3)))(
    gluon=lambda x, y: nd.batch_dot(x, y, transpose_b=True),
    pytorch=lambda x, y: torch.bmm(x, y.mT),
)
row("choose elementwise", functions((3, 4), np.ones((3, 4))))(
    gluon=lambda x, y: nd.where(x > 0, x, y),
    pytorch=lambda x, y: torch.where(x > 0, x, y),
)
row("clip", functions((3, 4)))(both=lambda x: x.clip(-0.5, 0.5))

row("round halves", outputs(TIES))(
    both=lambda x: x.round(),
    differs="away from zero there, to the even number here",
    cure=lambda x: (x.abs() + 0.5).floor() * x.sign(),
)
row("`rint` of halves", outputs(TIES))(
    gluon=lambda x: x.rint(),
    pytorch=lambda x: x.round(),
    differs="down there",
    cure=lambda x: (x - 0.5).ceil(),
)
row("the gradient of `abs` and `sign` at zero", functions(np.array([-1.0, 0.0, 2.0])))(
    both=lambda x: x.abs() + x.sign()
)
row("pad two axes of four", functions((2, 3, 4, 4)), chapter="zero_padded_shortcuts")(
    gluon=lambda x: nd.pad(x, "edge", (0, 0, 0, 0, 1, 1, 2, 2)),
    pytorch=lambda x: F.pad(x, (2, 2, 1, 1), "replicate"),
)
row(
    "pad the channels",
    refusal("first two axes to be zero", functions((2, 3, 4, 4))),
    chapter="zero_padded_shortcuts",
)(
    gluon=lambda x: nd.pad(x, "constant", (0, 0, 0, 2, 0, 0, 0, 0)),
    pytorch=lambda x: F.pad(x, (0, 0, 0, 0, 0, 2)),
    differs="refused there",
)
row("softmax", functions((2, 3, 4)))(
    gluon=lambda x: [nd.softmax(x), nd.log_softmax(x, axis=1)],
    pytorch=lambda x: [x.softmax(-1), x.log_softmax(1)],
)
row("softmax with a temperature", functions((2, 3)))(
    gluon=lambda x: nd.softmax(x, temperature=2.0),
    pytorch=lambda x: (x / 2.0).softmax(-1),
)
row("softmax of the first few", outputs((3, 4), LENGTHS))(
    lambda x, n: nd.softmax(x, length=n, use_length=True)
)


@pytorch
def _(x: Any, lengths: Any) -> Any:
    mask = torch.arange(x.shape[1]) < lengths[:, None]
    return x.masked_fill(~mask, float("-inf")).softmax(-1)


row(
    "zeros behind each sequence's end, (T, N, C)",
    outputs((4, 3, 2), LENGTHS.astype("float64")),
)(lambda x, n: nd.SequenceMask(x, n, use_sequence_length=True))


@pytorch
def _(x: Any, lengths: Any) -> Any:
    mask = torch.arange(len(x))[:, None] < lengths
    return x * mask[..., None]


row("sigmoid, tanh, ReLU, softplus, softsign", functions((3, 4)))(
    lambda x: [
        nd.Activation(x, kind)
        for kind in ("sigmoid", "tanh", "relu", "softrelu", "softsign")
    ]
)


@pytorch
def _(x: Any) -> Any:
    smooth = [F.softplus(x), F.softsign(x)]
    return [x.sigmoid(), x.tanh(), x.relu(), *smooth]


row("hard sigmoid", functions((3, 4)))(
    gluon=lambda x: nd.hard_sigmoid(x, alpha=0.25),
    pytorch=lambda x: F.hardsigmoid(x),
    differs="slope `alpha` there, 1/6 here",
    cure=lambda x: (0.25 * x + 0.5).clip(0, 1),
)
row("smooth L1", functions((3, 4)))(
    gluon=lambda x: nd.smooth_l1(x, scalar=2.0),
    pytorch=lambda x: F.smooth_l1_loss(x, 0 * x, beta=0.25, reduction="none"),
)
row("L2 normalisation", functions(SMALL))(
    gluon=lambda x: nd.L2Normalization(x, eps=2**-30),
    pytorch=lambda x: F.normalize(x, eps=2**-30),
    differs="`eps` is added under the root there: it shows for small vectors",
    cure=lambda x: x / (x.square().sum(1, keepdim=True) + 2**-30).sqrt(),
)
row("L2 normalisation of a map", functions((3, 4, 5)))(
    gluon=lambda x: nd.L2Normalization(x),
    pytorch=lambda x: F.normalize(x),
    differs="all but the first axis there, axis 1 here",
    cure=lambda x: x / (x.square().sum((1, 2), keepdim=True) + 1e-10).sqrt(),
)
row("convolution", functions((2, 3, 5, 5), (4, 3, 3, 3), (4,)), chapter="condconv")(
    gluon=lambda x, w, b: nd.Convolution(x, w, b, kernel=(3, 3), num_filter=4),
    pytorch=lambda x, w, b: F.conv2d(x, w, b),
)
row("patches", functions((2, 3, 5, 5)), chapter="condconv")(
    gluon=lambda x: nd.im2col(x, kernel=(3, 3), pad=(1, 1)),
    pytorch=lambda x: F.unfold(x, 3, padding=1),
)
row("linear layer", functions((2, 3), (4, 3), (4,)))(
    gluon=lambda x, w, b: nd.FullyConnected(x, w, b, num_hidden=4),
    pytorch=lambda x, w, b: F.linear(x, w, b),
)


@row(
    "batch norm, the operator",
    functions((3, 2, 4, 4), (2,), (2,)),
    chapter="batch_norm",
)
def _(x: Any, gamma: Any, beta: Any) -> Any:
    mean, var = nd.zeros_like(beta), nd.ones_like(beta)
    return nd.BatchNorm(x, gamma, beta, mean, var)


@pytorch(differs="`fix_gamma=True` and `eps=1e-3` unless told")
def _(x: Any, gamma: Any, beta: Any) -> Any:
    mean, var = torch.zeros_like(beta), torch.ones_like(beta)
    return F.batch_norm(x, mean, var, gamma, beta, training=True)


@cure
def _(x: Any, gamma: Any, beta: Any) -> Any:
    mean, var = torch.zeros_like(beta), torch.ones_like(beta)
    one = 1 + 0 * gamma
    return F.batch_norm(x, mean, var, one, beta, training=True, eps=1e-3)


row("enlarge by repeating", functions((2, 3, 4, 4)))(
    gluon=lambda x: nd.UpSampling(x, scale=2, sample_type="nearest"),
    pytorch=lambda x: F.interpolate(x, scale_factor=2),
)
row("enlarge bilinearly", functions((2, 3, 4, 4)))(
    gluon=lambda x: nd.contrib.BilinearResize2D(x, height=7, width=7),
    pytorch=lambda x: F.interpolate(x, (7, 7), mode="bilinear"),
    differs="corners are kept there",
    cure=lambda x: F.interpolate(x, (7, 7), mode="bilinear", align_corners=True),
)
row("depth to space", functions((2, 12, 3, 3)))(
    gluon=lambda x: nd.depth_to_space(x, 2),
    pytorch=lambda x: F.pixel_shuffle(x, 2),
    differs="the channels are in another order",
    cure=lambda x: F.pixel_shuffle(
        x.unflatten(1, (4, -1)).swapaxes(1, 2).flatten(1, 2), 2
    ),
)
row("a loop with a state", functions((4, 3)))(
    lambda x: nd.contrib.foreach(lambda a, s: (a + s, a + s), x, x[0])[0]
)


@pytorch
def _(x: Any) -> Any:
    s, out = x[0], []
    for a in x:
        s = a + s
        out.append(s)
    return torch.stack(out)
