"""Rows: layers and blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from d2lutils import parity
from d2lutils.compat import mx
from d2lutils.porting import Judge, Row, functions, nets, refusal, values

__all__ = ["ROWS"]

nd: Any = mx.nd
nn: Any = torch.nn
gnn: Any = mx.gluon.nn
rnn: Any = mx.gluon.rnn
contrib: Any = mx.gluon.contrib.nn
autograd: Any = mx.autograd

WITH_NAN = np.array([[-1.0, np.nan, 2.0]], dtype="float32")


def dropped(*shape: int) -> Judge:
    """Dropout of ones: the share of zeros by place, and the value of the others."""

    def judge(gluon: Any, pytorch: Any) -> float:
        mx.random.seed(0)
        torch.manual_seed(0)
        layer = gluon()
        with autograd.record():
            one = layer(nd.ones(shape)).asnumpy()
        two = pytorch()(torch.ones(shape)).numpy()
        apart = 0.0
        for mask in (one, two):
            # Where the first place is dropped, how often is the last one, too?
            flat = mask.reshape(len(mask), -1) == 0
            apart = abs(apart - flat[flat[:, 0], -1].mean())
        return 0.0 if apart < 0.05 and one.max() == two.max() else float("inf")

    return judge


def fresh(*shape: int, dtype: str = "float64") -> Judge:
    """Both layers as they begin, in training: the same output and gradient."""
    x = np.random.Generator(np.random.PCG64(0)).standard_normal(shape)

    def judge(gluon: Any, pytorch: Any) -> float:
        ours = gluon()
        ours.initialize()
        ours.cast(dtype)
        theirs = pytorch().to(getattr(torch, dtype))
        return functions(x.astype(dtype))(ours, theirs)

    return judge


def recurrent(*shape: int) -> Judge:
    """Output and gradient of recurrent layers; weights are copied by their names."""

    def judge(gluon: Any, pytorch: Any) -> float:
        torch.manual_seed(0)
        ours, theirs = gluon(), pytorch().double()
        ours.initialize()
        ours.cast("float64")
        for name, parameter in ours._reg_params.items():
            layer, source, kind = name.split("_")  # such as l0_i2h_weight
            source = {"i2h": "ih", "h2h": "hh"}[source]
            end = f"l{layer[1:]}" + ("_reverse" if layer[0] == "r" else "")
            values = theirs.state_dict()[f"{kind}_{source}_{end}"].numpy()
            parameter.set_data(nd.array(values, dtype="float64"))
        return functions(shape)(ours, lambda x: theirs(x)[0])

    return judge


def embedded(i: Any) -> Judge:
    """The rows of embeddings with the same weights."""

    def judge(gluon: Any, pytorch: Any) -> float:
        ours, theirs = gluon(), pytorch()
        ours.initialize()
        parity.copy_parameters(theirs, ours)
        return functions(i)(ours, theirs)

    return judge


def repeated_group_norm(x: Any, w: Any, b: Any) -> Any:
    w, b = w.repeat_interleave(2), b.repeat_interleave(2)
    return F.group_norm(x, 2, w, b)


def gluon_running_variance(x: Any) -> Any:
    net = gnn.BatchNorm(momentum=0.5, in_channels=4)
    net.initialize()
    net.cast("float64")
    with autograd.record():
        y = net(x)
    y.backward()
    return net.running_var.data()


def pytorch_running_variance(x: Any) -> Any:
    net = nn.BatchNorm2d(4, momentum=0.5, dtype=torch.float64)
    net(x)
    return net.running_var


def biased_running_variance(x: Any) -> Any:
    net = nn.BatchNorm2d(4, momentum=0.5, dtype=torch.float64)
    old, n = net.running_var.clone(), x.numel() // x.shape[1]
    net(x)
    net.running_var += (0.5 * old - net.running_var) / n
    return net.running_var


def gluon_after_forward(x: Any) -> Any:
    net = gnn.BatchNorm(in_channels=4)
    net.initialize()
    net.cast("float64")
    with autograd.record():
        net(x)
    return net.running_mean.data()


def pytorch_after_forward(x: Any) -> Any:
    net = nn.BatchNorm2d(4, dtype=torch.float64)
    net(x)
    return net.running_mean


def gluon_sequential() -> Any:
    net = gnn.HybridSequential()
    net.add(gnn.Dense(8, in_units=6, activation="relu"))
    net.add(gnn.Dense(3, in_units=8))
    return net


def gluon_concurrent() -> Any:
    net = contrib.HybridConcurrent(axis=1)
    net.add(gnn.Conv2D(2, 1, in_channels=3), gnn.Conv2D(4, 1, in_channels=3))
    return net


def pytorch_concurrent() -> Any:
    class Concurrent(nn.ModuleList):
        def forward(self, x: Any) -> Any:
            return torch.cat([branch(x) for branch in self], 1)

    return Concurrent([nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 1)])


def pytorch_lambda() -> Any:
    class Double(nn.Module):
        def forward(self, x: Any) -> Any:
            return 2 * torch.tanh(x)

    return Double()


def gluon_children() -> Any:
    net = gnn.HybridSequential()
    net.add(gnn.Dense(2), gnn.Dense(3))
    return [len(net), net[1]._units, len(net[:1])]


def pytorch_children() -> Any:
    net = nn.Sequential(nn.LazyLinear(2), nn.LazyLinear(3))
    return [len(net), net[1].out_features, len(net[:1])]


def gluon_half() -> Any:
    net = gnn.BatchNorm(in_channels=2)
    net.initialize()
    net.cast("float16")
    return np.dtype(net.gamma.dtype).name


def pytorch_half() -> Any:
    net = nn.BatchNorm2d(2)
    net.half()
    return str(net.weight.dtype).removeprefix("torch.")


def pytorch_half_but_norms() -> Any:
    net = nn.BatchNorm2d(2)
    for m in net.modules():
        m.float() if isinstance(m, nn.BatchNorm2d) else m.half()
    return str(net.weight.dtype).removeprefix("torch.")


def wrong_selu(x: Any) -> Any:
    class Selu(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x, y := F.selu(x))
            return y

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            x, y = ctx.saved_tensors
            return dy * torch.where(x > 0, 1.0507010, 1.0507010 * (1.6732632 + y))

    return Selu.apply(x)


def gluon_all_dropped(x: Any) -> Any:
    with autograd.train_mode():
        y = gnn.Dropout(1.0)(x)
    return y


def pytorch_all_dropped(x: Any) -> Any:
    return nn.Dropout(1.0)(x)


def gluon_hook(x: Any) -> Any:
    seen = []
    net = gnn.Activation("tanh")
    net.register_forward_hook(lambda block, args, out: seen.append(out))
    net(x)
    return seen


def pytorch_hook(x: Any) -> Any:
    seen = []
    net = nn.Tanh()
    net.register_forward_hook(lambda module, args, out: seen.append(out))
    net(x)
    return seen


ROWS = [
    Row(
        "convolution",
        gluon=lambda: gnn.Conv2D(8, 3, strides=2, padding=1, in_channels=4),
        pytorch=lambda: nn.Conv2d(4, 8, 3, stride=2, padding=1),
        judge=nets(2, 4, 9, 9),
    ),
    Row(
        "convolution, one axis, dilated, without bias",
        gluon=lambda: gnn.Conv1D(6, 3, dilation=2, use_bias=False, in_channels=4),
        pytorch=lambda: nn.Conv1d(4, 6, 3, dilation=2, bias=False),
        judge=nets(2, 4, 9),
    ),
    Row(
        "convolution in groups",
        gluon=lambda: gnn.Conv2D(8, 3, groups=4, in_channels=4),
        pytorch=lambda: nn.Conv2d(4, 8, 3, groups=4),
        judge=nets(2, 4, 5, 5),
    ),
    Row(
        "transposed convolution",
        gluon=lambda: gnn.Conv2DTranspose(6, 3, 2, 1, 1, in_channels=4),
        pytorch=lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1),
        judge=nets(2, 4, 5, 5),
    ),
    Row(
        "convolution with its activation",
        gluon=lambda: gnn.Conv2D(8, 3, activation="relu", in_channels=4),
        pytorch=lambda: nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU()),
        judge=nets(2, 4, 5, 5),
        card="blocks",
    ),
    Row(
        "linear layer",
        gluon=lambda: gnn.Dense(3, in_units=6),
        pytorch=lambda: nn.Linear(6, 3),
        judge=nets(5, 6),
    ),
    Row(
        "linear layer on more than two axes",
        gluon=lambda: gnn.Dense(3, in_units=12),
        pytorch=lambda: nn.Linear(6, 3),
        judge=nets(5, 2, 6),
        differs="`Dense` flattens all but the first axis",
        cure=lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 3)),
        card="blocks",
    ),
    Row(
        "linear layer on the last axis",
        gluon=lambda: gnn.Dense(3, flatten=False, in_units=6),
        pytorch=lambda: nn.Linear(6, 3),
        judge=nets(5, 2, 6),
        card="nin",
    ),
    Row(
        "batch norm",
        gluon=lambda: gnn.BatchNorm(in_channels=4),
        pytorch=lambda: nn.BatchNorm2d(4),
        judge=nets(3, 4, 5, 5),
        card="batch_norm",
    ),
    Row(
        "batch norm, `momentum`",
        gluon=lambda: gnn.BatchNorm(momentum=0.75, in_channels=4),
        pytorch=lambda: nn.BatchNorm2d(4, momentum=0.75),
        judge=nets(3, 4, 5, 5),
        differs="the share that is kept there, that is new here",
        cure=lambda: nn.BatchNorm2d(4, momentum=0.25),
        card="batch_norm",
    ),
    Row(
        "batch norm, running variance",
        gluon=gluon_running_variance,
        pytorch=pytorch_running_variance,
        judge=functions((3, 4, 5, 5), gradient=False),
        differs="divided by n there, by n - 1 here",
        cure=biased_running_variance,
        card="batch_norm",
    ),
    Row(
        "batch norm, when the statistics move",
        gluon=gluon_after_forward,
        pytorch=pytorch_after_forward,
        judge=functions((3, 4, 5, 5), gradient=False),
        differs="in the backward pass there, in the forward pass here",
        card="batch_norm",
    ),
    Row(
        "batch norm without scale and shift",
        gluon=lambda: gnn.BatchNorm(scale=False, center=False, in_channels=4),
        pytorch=lambda: nn.BatchNorm2d(4, affine=False),
        judge=fresh(3, 4, 5, 5),
    ),
    Row(
        "layer norm",
        gluon=lambda: gnn.LayerNorm(in_channels=6),
        pytorch=lambda: nn.LayerNorm(6),
        judge=fresh(5, 2, 6),
    ),
    Row(
        "instance norm",
        gluon=lambda: gnn.InstanceNorm(in_channels=4),
        pytorch=lambda: nn.InstanceNorm2d(4, affine=True),
        judge=fresh(3, 4, 5, 5, dtype="float32"),
        within=1e-5,
    ),
    Row(
        "instance norm in float64",
        gluon=lambda: gnn.InstanceNorm(in_channels=4),
        pytorch=lambda: nn.InstanceNorm2d(4, affine=True),
        judge=refusal("Unsupported data type", fresh(3, 4, 5, 5)),
        differs="refused there",
    ),
    Row(
        "group norm",
        gluon=lambda x, w, b: nd.GroupNorm(x, w, b, num_groups=2),
        pytorch=lambda x, w, b: F.group_norm(x, 2, w, b),
        judge=refusal("Expected weight", functions((3, 4, 5, 5), (2,), (2,))),
        differs="scale and shift of each group there, of each channel here",
        cure=repeated_group_norm,
    ),
    Row(
        "dropout",
        gluon=lambda: gnn.Dropout(0.25),
        pytorch=lambda: nn.Dropout(0.25),
        judge=dropped(4000, 4, 3),
    ),
    Row(
        "dropout of whole channels",
        gluon=lambda: gnn.Dropout(0.25, axes=(2,)),
        pytorch=lambda: nn.Dropout1d(0.25),
        judge=dropped(4000, 1, 3),
    ),
    Row(
        "dropout in evaluation",
        gluon=lambda x: gnn.Dropout(0.25)(x),
        pytorch=lambda x: nn.Dropout(0.25).eval()(x),
        judge=functions((3, 4), gradient=False),
        card="stochastic_depth",
    ),
    Row(
        "dropout of everything",
        gluon=gluon_all_dropped,
        pytorch=pytorch_all_dropped,
        judge=functions((3, 4), gradient=False),
        differs="NaN there, zeros here",
        cure=lambda x: nn.Dropout(1.0)(x) / 0,
    ),
    Row(
        "embedding",
        gluon=lambda: gnn.Embedding(5, 3),
        pytorch=lambda: nn.Embedding(5, 3),
        judge=embedded(np.array([[0, 4, 1], [2, 2, 3]])),
    ),
    Row(
        "embedding of a number out of range",
        gluon=lambda i, w: nd.Embedding(i, w, input_dim=4, output_dim=3),
        pytorch=lambda i, w: F.embedding(i, w),
        judge=refusal("out of range", functions(np.array([0, 7]), (4, 3))),
        differs="the last row there, an error here",
        cure=lambda i, w: F.embedding(i.clamp(0, len(w) - 1), w),
    ),
    Row(
        "LSTM, (T, N, C), gates in the order i f g o",
        gluon=lambda: rnn.LSTM(4, num_layers=2, input_size=3),
        pytorch=lambda: nn.LSTM(3, 4, num_layers=2),
        judge=recurrent(5, 2, 3),
    ),
    Row(
        "LSTM, (N, T, C)",
        gluon=lambda: rnn.LSTM(4, layout="NTC", input_size=3),
        pytorch=lambda: nn.LSTM(3, 4, batch_first=True),
        judge=recurrent(2, 5, 3),
    ),
    Row(
        "LSTM, both directions",
        gluon=lambda: rnn.LSTM(4, bidirectional=True, input_size=3),
        pytorch=lambda: nn.LSTM(3, 4, bidirectional=True),
        judge=recurrent(5, 2, 3),
    ),
    Row(
        "GRU, gates in the order r z n",
        gluon=lambda: rnn.GRU(4, input_size=3),
        pytorch=lambda: nn.GRU(3, 4),
        judge=recurrent(5, 2, 3),
    ),
    Row(
        "plain recurrent layer",
        gluon=lambda: rnn.RNN(4, input_size=3),
        pytorch=lambda: nn.RNN(3, 4),
        judge=recurrent(5, 2, 3),
        differs="ReLU there unless told, tanh here",
        cure=lambda: nn.RNN(3, 4, nonlinearity="relu"),
        within=1e-6,
    ),
    Row(
        "max pooling",
        gluon=lambda: gnn.MaxPool2D(3, strides=2, padding=1),
        pytorch=lambda: nn.MaxPool2d(3, stride=2, padding=1),
        judge=nets(2, 3, 8, 8),
        card="last_pixels",
    ),
    Row(
        "pooling, the stride left out",
        gluon=lambda: gnn.MaxPool2D(3),
        pytorch=lambda: nn.MaxPool2d(3),
        judge=nets(2, 3, 9, 9),
    ),
    Row(
        "max pooling, last windows that start in the padding",
        gluon=lambda: gnn.MaxPool1D(2, 2, padding=1, ceil_mode=True),
        pytorch=lambda: nn.MaxPool1d(2, 2, padding=1, ceil_mode=True),
        judge=nets(2, 3, 9),
        differs="such a window exists only there",
        card="last_pixels",
    ),
    Row(
        "average pooling with padding",
        gluon=lambda: gnn.AvgPool2D(3, 2, 1, count_include_pad=False),
        pytorch=lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        judge=nets(2, 3, 8, 8),
    ),
    Row(
        "average pooling with padding, in ceil mode",
        gluon=lambda: gnn.AvgPool2D(3, 2, 1, ceil_mode=True),
        pytorch=lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True),
        judge=nets(2, 3, 8, 8),
    ),
    Row(
        "mean of a map",
        gluon=lambda: gnn.GlobalAvgPool2D(),
        pytorch=lambda: nn.AdaptiveAvgPool2d(1),
        judge=nets(2, 3, 5, 4),
        card="nin",
    ),
    Row(
        "largest of a map",
        gluon=lambda: gnn.GlobalMaxPool2D(),
        pytorch=lambda: nn.AdaptiveMaxPool2d(1),
        judge=nets(2, 3, 5, 4),
    ),
    Row(
        "leaky ReLU",
        gluon=lambda: gnn.LeakyReLU(0.25),
        pytorch=lambda: nn.LeakyReLU(0.25),
        judge=nets(3, 4),
        within=1e-6,
    ),
    Row(
        "leaky ReLU of float64",
        gluon=lambda x: gnn.LeakyReLU(0.25)(x),
        pytorch=lambda x: nn.LeakyReLU(0.25)(x),
        judge=functions((3, 4), gradient=False),
        differs="negative values are rounded to float32 there",
        cure=lambda x: torch.where(x > 0, x, (0.25 * x).float().double()),
    ),
    Row(
        "PReLU",
        gluon=lambda: gnn.PReLU(),
        pytorch=lambda: nn.PReLU(),
        judge=fresh(3, 4),
        within=1e-6,
    ),
    Row(
        "ELU",
        gluon=lambda: gnn.ELU(),
        pytorch=lambda: nn.ELU(),
        judge=nets(3, 4),
    ),
    Row(
        "SELU",
        gluon=lambda x: gnn.SELU()(x),
        pytorch=lambda x: nn.SELU()(x),
        judge=functions((3, 4), gradient=False),
        within=1e-6,
    ),
    Row(
        "SELU, the gradient",
        gluon=lambda x: gnn.SELU()(x),
        pytorch=lambda x: nn.SELU()(x),
        judge=functions((3, 4)),
        differs="wrong there for negative values: 1.0507 times the output is in it",
        cure=wrong_selu,
        within=1e-6,
    ),
    Row(
        "GELU",
        gluon=lambda: gnn.GELU(),
        pytorch=lambda: nn.GELU(),
        judge=nets(3, 4),
        within=1e-6,
    ),
    Row(
        "Swish",
        gluon=lambda: gnn.Swish(),
        pytorch=lambda: nn.SiLU(),
        judge=nets(3, 4),
    ),
    Row(
        "ReLU of NaN, float32",
        gluon=lambda x: gnn.Activation("relu")(x),
        pytorch=lambda x: nn.ReLU()(x),
        judge=functions(WITH_NAN, gradient=False),
        differs="0 there, NaN here",
        cure=lambda x: nn.ReLU()(x.nan_to_num(0)),
        card="last_pixels",
    ),
    Row(
        "flatten",
        gluon=lambda: gnn.Flatten(),
        pytorch=lambda: nn.Flatten(),
        judge=nets(2, 3, 4),
    ),
    Row(
        "mirrored border",
        gluon=lambda: gnn.ReflectionPad2D(2),
        pytorch=lambda: nn.ReflectionPad2d(2),
        judge=nets(2, 3, 4, 4),
    ),
    Row(
        "layers one after another",
        gluon=gluon_sequential,
        pytorch=lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)),
        judge=nets(5, 6),
        card="blocks",
    ),
    Row(
        "layers of a container",
        gluon=gluon_children,
        pytorch=pytorch_children,
        judge=values(),
        card="blocks",
    ),
    Row(
        "layers beside each other, joined",
        gluon=gluon_concurrent,
        pytorch=pytorch_concurrent,
        judge=nets(2, 3, 4, 4),
    ),
    Row(
        "a function as a layer",
        gluon=lambda: gnn.HybridLambda(lambda F, x: 2 * F.tanh(x)),
        pytorch=pytorch_lambda,
        judge=nets(3, 4),
    ),
    Row(
        "a layer that does nothing",
        gluon=lambda: contrib.Identity(),
        pytorch=lambda: nn.Identity(),
        judge=nets(3, 4),
    ),
    Row(
        "sub-pixel convolution's last step",
        gluon=lambda: contrib.PixelShuffle2D(2),
        pytorch=lambda: nn.PixelShuffle(2),
        judge=nets(2, 12, 3, 3),
    ),
    Row(
        "a hook after forward",
        gluon=gluon_hook,
        pytorch=pytorch_hook,
        judge=functions((3, 4), gradient=False),
    ),
    Row(
        "half precision",
        gluon=gluon_half,
        pytorch=pytorch_half,
        judge=values(),
        differs="`cast` leaves batch norm in float32",
        cure=pytorch_half_but_norms,
    ),
]
