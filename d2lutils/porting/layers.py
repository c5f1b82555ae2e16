"""Rows: layers and blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from d2lutils.compat import mx
from d2lutils.porting.judges import (
    copied,
    dropped,
    functions,
    nets,
    outputs,
    refusal,
    values,
)
from d2lutils.porting.rows import Rows

__all__ = ["ROWS"]

nd: Any = mx.nd
nn: Any = torch.nn
gnn: Any = mx.gluon.nn
rnn: Any = mx.gluon.rnn
contrib: Any = mx.gluon.contrib.nn
autograd: Any = mx.autograd
gluon: Any = mx.gluon

WITH_NAN = np.array([[-1.0, np.nan, 2.0]], dtype="float32")

ROWS = Rows()
row, pytorch, cure = ROWS.row, ROWS.pytorch, ROWS.cure


row("convolution", nets(x=(2, 4, 9, 9)))(
    gluon=lambda: gnn.Conv2D(8, 3, strides=2, padding=1, in_channels=4),
    pytorch=lambda: nn.Conv2d(4, 8, 3, stride=2, padding=1),
)
row("convolution, one axis, dilated, without bias", nets(x=(2, 4, 9)))(
    gluon=lambda: gnn.Conv1D(6, 3, dilation=2, use_bias=False, in_channels=4),
    pytorch=lambda: nn.Conv1d(4, 6, 3, dilation=2, bias=False),
)
row("convolution in groups", nets(x=(2, 4, 5, 5)))(
    gluon=lambda: gnn.Conv2D(8, 3, groups=4, in_channels=4),
    pytorch=lambda: nn.Conv2d(4, 8, 3, groups=4),
)
row("transposed convolution", nets(x=(2, 4, 5, 5)))(
    gluon=lambda: gnn.Conv2DTranspose(6, 3, 2, 1, 1, in_channels=4),
    pytorch=lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1),
)
row("convolution with its activation", nets(x=(2, 4, 5, 5)), chapter="blocks")(
    gluon=lambda: gnn.Conv2D(8, 3, activation="relu", in_channels=4),
    pytorch=lambda: nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU()),
)
row("linear layer", nets(x=(5, 6)))(
    gluon=lambda: gnn.Dense(3, in_units=6),
    pytorch=lambda: nn.Linear(6, 3),
)
row("linear layer on more than two axes", nets(x=(5, 2, 6)), chapter="blocks")(
    gluon=lambda: gnn.Dense(3, in_units=12),
    pytorch=lambda: nn.Linear(6, 3),
    differs="`Dense` flattens all but the first axis",
    cure=lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 3)),
)
row("linear layer on the last axis", nets(x=(5, 2, 6)), chapter="nin")(
    gluon=lambda: gnn.Dense(3, flatten=False, in_units=6),
    pytorch=lambda: nn.Linear(6, 3),
)
row("batch norm", nets(x=(3, 4, 5, 5)), chapter="batch_norm")(
    gluon=lambda: gnn.BatchNorm(in_channels=4),
    pytorch=lambda: nn.BatchNorm2d(4),
)
row("batch norm, `momentum`", nets(x=(3, 4, 5, 5)), chapter="batch_norm")(
    gluon=lambda: gnn.BatchNorm(momentum=0.75, in_channels=4),
    pytorch=lambda: nn.BatchNorm2d(4, momentum=0.75),
    differs="the share that is kept there, that is new here",
    cure=lambda: nn.BatchNorm2d(4, momentum=0.25),
)


@row("batch norm, running variance", outputs((3, 4, 5, 5)), chapter="batch_norm")
def _(x: Any) -> Any:
    net = gnn.BatchNorm(momentum=0.5, in_channels=4)
    net.initialize()
    net.cast("float64")
    with autograd.record():
        y = net(x)
    y.backward()
    return net.running_var.data()


@pytorch(differs="divided by n there, by n - 1 here")
def _(x: Any) -> Any:
    net = nn.BatchNorm2d(4, momentum=0.5, dtype=torch.float64)
    net(x)
    return net.running_var


@cure
def _(x: Any) -> Any:
    net = nn.BatchNorm2d(4, momentum=0.5, dtype=torch.float64)
    old, n = net.running_var.clone(), x.numel() // x.shape[1]
    net(x)
    net.running_var += (0.5 * old - net.running_var) / n
    return net.running_var


@row(
    "batch norm, when the statistics move", outputs((3, 4, 5, 5)), chapter="batch_norm"
)
def _(x: Any) -> Any:
    net = gnn.BatchNorm(in_channels=4)
    net.initialize()
    net.cast("float64")
    with autograd.record():
        net(x)
    return net.running_mean.data()


@pytorch(differs="in the backward pass there, in the forward pass here")
def _(x: Any) -> Any:
    net = nn.BatchNorm2d(4, dtype=torch.float64)
    net(x)
    return net.running_mean


row("batch norm without scale and shift", copied((3, 4, 5, 5)))(
    gluon=lambda: gnn.BatchNorm(scale=False, center=False, in_channels=4),
    pytorch=lambda: nn.BatchNorm2d(4, affine=False),
)
row("layer norm", copied((5, 2, 6)))(
    gluon=lambda: gnn.LayerNorm(in_channels=6),
    pytorch=lambda: nn.LayerNorm(6),
)
row("instance norm", copied((3, 4, 5, 5), dtype="float32"), within=1e-5)(
    gluon=lambda: gnn.InstanceNorm(in_channels=4),
    pytorch=lambda: nn.InstanceNorm2d(4, affine=True),
)
row("instance norm in float64", refusal("Unsupported data type", copied((3, 4, 5, 5))))(
    gluon=lambda: gnn.InstanceNorm(in_channels=4),
    pytorch=lambda: nn.InstanceNorm2d(4, affine=True),
    differs="refused there",
)
row("group norm", refusal("Expected weight", functions((3, 4, 5, 5), (2,), (2,))))(
    gluon=lambda x, w, b: nd.GroupNorm(x, w, b, num_groups=2),
    pytorch=lambda x, w, b: F.group_norm(x, 2, w, b),
    differs="scale and shift of each group there, of each channel here",
)


@cure
def _(x: Any, w: Any, b: Any) -> Any:
    w, b = w.repeat_interleave(2), b.repeat_interleave(2)
    return F.group_norm(x, 2, w, b)


row("dropout", dropped(4000, 4, 3))(
    gluon=lambda: gnn.Dropout(0.25),
    pytorch=lambda: nn.Dropout(0.25),
)
row("dropout of whole channels", dropped(4000, 1, 3))(
    gluon=lambda: gnn.Dropout(0.25, axes=(2,)),
    pytorch=lambda: nn.Dropout1d(0.25),
)
row("dropout in evaluation", outputs((3, 4)), chapter="stochastic_depth")(
    gluon=lambda x: gnn.Dropout(0.25)(x),
    pytorch=lambda x: nn.Dropout(0.25).eval()(x),
)


row("embedding", copied(np.array([[0, 4, 1], [2, 2, 3]])))(
    gluon=lambda: gnn.Embedding(5, 3),
    pytorch=lambda: nn.Embedding(5, 3),
)
row(
    "embedding of a number out of range",
    refusal("out of range", functions(np.array([0, 7]), (4, 3))),
)(
    gluon=lambda i, w: nd.Embedding(i, w, input_dim=4, output_dim=3),
    pytorch=lambda i, w: F.embedding(i, w),
    differs="the last row there, an error here",
    cure=lambda i, w: F.embedding(i.clamp(0, len(w) - 1), w),
)


row("LSTM, gates in the order i f g o", copied((5, 2, 3)))(
    gluon=lambda: rnn.LSTM(4, num_layers=2, input_size=3),
    pytorch=lambda: nn.LSTM(3, 4, num_layers=2),
    differs="an array there, a tuple of it and the states here",
    cure=lambda: (nn.LSTM(3, 4, num_layers=2), lambda net, x: net(x)[0]),
)
row("LSTM, both directions, (N, T, C)", copied((2, 5, 3)))(
    gluon=lambda: rnn.LSTM(4, layout="NTC", bidirectional=True, input_size=3),
    pytorch=lambda: (
        nn.LSTM(3, 4, batch_first=True, bidirectional=True),
        lambda net, x: net(x)[0],
    ),
)
row("LSTM with states, each (layers, N, C)", copied((2, 5, 3), (1, 2, 4), (1, 2, 4)))(
    gluon=lambda: (
        rnn.LSTM(4, layout="NTC", input_size=3),
        lambda net, x, h, c: net(x, [h, c]),
    ),
    pytorch=lambda: (
        nn.LSTM(3, 4, batch_first=True),
        lambda net, x, h, c: net(x, (h, c)),
    ),
)
row("GRU, gates in the order r z n", copied((5, 2, 3)))(
    gluon=lambda: rnn.GRU(4, input_size=3),
    pytorch=lambda: (nn.GRU(3, 4), lambda net, x: net(x)[0]),
)
row("plain recurrent layer", copied((5, 2, 3)), within=1e-6)(
    gluon=lambda: rnn.RNN(4, input_size=3),
    pytorch=lambda: (nn.RNN(3, 4), lambda net, x: net(x)[0]),
    differs="ReLU there unless told, tanh here",
    cure=lambda: (nn.RNN(3, 4, nonlinearity="relu"), lambda net, x: net(x)[0]),
)


@row("a cell, unrolled", copied((5, 2, 3), dtype="float32"), within=1e-6)
def _() -> Any:
    cell = rnn.LSTMCell(4, input_size=3)
    return cell, lambda cell, x: cell.unroll(5, x, layout="TNC", merge_outputs=True)[0]


@pytorch
def _() -> Any:
    def unroll(cell: Any, x: Any) -> Any:
        state, outs = None, []
        for step in x:
            state = cell(step, state)
            outs.append(state[0])
        return torch.stack(outs)

    return nn.LSTMCell(3, 4), unroll


row("max pooling", nets(x=(2, 3, 8, 8)), chapter="last_pixels")(
    gluon=lambda: gnn.MaxPool2D(3, strides=2, padding=1),
    pytorch=lambda: nn.MaxPool2d(3, stride=2, padding=1),
)
row("pooling, the stride left out", nets(x=(2, 3, 9, 9)))(
    gluon=lambda: gnn.MaxPool2D(3),
    pytorch=lambda: nn.MaxPool2d(3),
)
row(
    "max pooling, last windows that start in the padding",
    nets(x=(2, 3, 9)),
    chapter="last_pixels",
)(
    gluon=lambda: gnn.MaxPool1D(2, 2, padding=1, ceil_mode=True),
    pytorch=lambda: nn.MaxPool1d(2, 2, padding=1, ceil_mode=True),
    differs="such a window exists only there",
)
row("average pooling with padding", nets(x=(2, 3, 8, 8)))(
    gluon=lambda: gnn.AvgPool2D(3, 2, 1, count_include_pad=False),
    pytorch=lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
)
row("average pooling with padding, in ceil mode", nets(x=(2, 3, 8, 8)))(
    gluon=lambda: gnn.AvgPool2D(3, 2, 1, ceil_mode=True),
    pytorch=lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True),
)
row("mean of a map", nets(x=(2, 3, 5, 4)), chapter="nin")(
    gluon=lambda: gnn.GlobalAvgPool2D(),
    pytorch=lambda: nn.AdaptiveAvgPool2d(1),
)
row("largest of a map", nets(x=(2, 3, 5, 4)))(
    gluon=lambda: gnn.GlobalMaxPool2D(),
    pytorch=lambda: nn.AdaptiveMaxPool2d(1),
)
row("leaky ReLU", nets(x=(3, 4)), within=1e-6)(
    gluon=lambda: gnn.LeakyReLU(0.25),
    pytorch=lambda: nn.LeakyReLU(0.25),
)
row("leaky ReLU of float64", outputs((3, 4)))(
    gluon=lambda x: gnn.LeakyReLU(0.25)(x),
    pytorch=lambda x: nn.LeakyReLU(0.25)(x),
    differs="negative values are rounded to float32 there",
    cure=lambda x: torch.where(x > 0, x, (0.25 * x).float().double()),
)
row("PReLU", copied((3, 4)), within=1e-6)(
    gluon=lambda: gnn.PReLU(),
    pytorch=lambda: nn.PReLU(),
)
row("ELU", nets(x=(3, 4)))(
    gluon=lambda: gnn.ELU(),
    pytorch=lambda: nn.ELU(),
)
row("SELU", outputs((3, 4)), within=1e-6)(
    gluon=lambda x: gnn.SELU()(x),
    pytorch=lambda x: nn.SELU()(x),
)
row("SELU, the gradient", functions((3, 4)), within=1e-6)(
    gluon=lambda x: gnn.SELU()(x),
    pytorch=lambda x: nn.SELU()(x),
    differs="wrong there for negative values: 1.0507 times the output is in it",
)
row("GELU", nets(x=(3, 4)), within=1e-6)(
    gluon=lambda: gnn.GELU(),
    pytorch=lambda: nn.GELU(),
)
row("Swish", nets(x=(3, 4)))(
    gluon=lambda: gnn.Swish(),
    pytorch=lambda: nn.SiLU(),
)
row("ReLU of NaN, float32", outputs(WITH_NAN), chapter="last_pixels")(
    gluon=lambda x: gnn.Activation("relu")(x),
    pytorch=lambda x: nn.ReLU()(x),
    differs="0 there, NaN here",
    cure=lambda x: nn.ReLU()(x.nan_to_num(0)),
)
row("flatten", nets(x=(2, 3, 4)))(
    gluon=lambda: gnn.Flatten(),
    pytorch=lambda: nn.Flatten(),
)
row("mirrored border", nets(x=(2, 3, 4, 4)))(
    gluon=lambda: gnn.ReflectionPad2D(2),
    pytorch=lambda: nn.ReflectionPad2d(2),
)


@row("layers one after another", nets(x=(5, 6)), chapter="blocks")
def _() -> Any:
    net = gnn.HybridSequential()
    net.add(gnn.Dense(8, in_units=6, activation="relu"))
    net.add(gnn.Dense(3, in_units=8))
    return net


pytorch(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))


@row("layers beside each other, joined", nets(x=(2, 3, 4, 4)))
def _() -> Any:
    net = contrib.HybridConcurrent(axis=1)
    net.add(gnn.Conv2D(2, 1, in_channels=3), gnn.Conv2D(4, 1, in_channels=3))
    return net


@pytorch
def _() -> Any:
    class Concurrent(nn.ModuleList):
        def forward(self, x: Any) -> Any:
            return torch.cat([branch(x) for branch in self], 1)

    return Concurrent([nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 1)])


row("a function as a layer", nets(x=(3, 4)))(
    lambda: gnn.HybridLambda(lambda F, x: 2 * F.tanh(x))
)


@pytorch
def _() -> Any:
    class Double(nn.Module):
        def forward(self, x: Any) -> Any:
            return 2 * torch.tanh(x)

    return Double()


row("a layer that does nothing", nets(x=(3, 4)))(
    gluon=lambda: contrib.Identity(),
    pytorch=lambda: nn.Identity(),
)
row("sub-pixel convolution's last step", nets(x=(2, 12, 3, 3)))(
    gluon=lambda: contrib.PixelShuffle2D(2),
    pytorch=lambda: nn.PixelShuffle(2),
)


@row("a hook after forward", outputs((3, 4)))
def _(x: Any) -> Any:
    seen = []
    net = gnn.Activation("tanh")
    net.register_forward_hook(lambda block, args, out: seen.append(out))
    net(x)
    return seen


@pytorch
def _(x: Any) -> Any:
    seen = []
    net = nn.Tanh()
    net.register_forward_hook(lambda module, args, out: seen.append(out))
    net(x)
    return seen


@row("half precision", values())
def _() -> Any:
    net = gnn.BatchNorm(in_channels=2)
    net.initialize()
    net.cast("float16")
    return np.dtype(net.gamma.dtype).name


@pytorch(differs="`cast` leaves batch norm in float32")
def _() -> Any:
    net = nn.BatchNorm2d(2)
    net.half()
    return str(net.weight.dtype).removeprefix("torch.")


@cure
def _() -> Any:
    net = nn.BatchNorm2d(2)
    for m in net.modules():
        m.float() if isinstance(m, nn.BatchNorm2d) else m.half()
    return str(net.weight.dtype).removeprefix("torch.")


@row("a net as a graph", copied((5, 6)), chapter="graph")
def _() -> Any:
    net = gnn.Dense(3, in_units=6, activation="relu")
    net.hybridize(static_alloc=True, static_shape=True)
    return net


@pytorch
def _() -> Any:
    net = nn.Sequential(nn.Linear(6, 3), nn.ReLU())
    net.compile(backend="aot_eager")
    return net


@row("a parameter of one's own", copied((2, 3)), chapter="blocks")
def _() -> Any:
    class Scale(gluon.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            with self.name_scope():
                self.scale = self.params.get("scale", shape=(3,))

        def hybrid_forward(self, F: Any, x: Any, scale: Any) -> Any:
            return F.broadcast_mul(x, scale)

    return Scale()


@pytorch
def _() -> Any:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.rand(3))

        def forward(self, x: Any) -> Any:
            return x * self.scale

    return Scale()


@row("names of parameters, with a prefix", values(), chapter="blocks")
def _() -> Any:
    net = gnn.HybridSequential(prefix="net_")
    with net.name_scope():
        net.add(gnn.Dense(4, in_units=3), gnn.Dense(2, in_units=4))
    return list(net.collect_params())


@pytorch(differs="class and number there, the place here")
def _() -> Any:
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    return [name for name, _ in net.named_parameters(prefix="net")]
