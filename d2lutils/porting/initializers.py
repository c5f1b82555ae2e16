"""Rows: initialisers and parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from d2lutils.compat import mx
from d2lutils.porting import Judge, Row, values

__all__ = ["ROWS"]

nd: Any = mx.nd
nn: Any = torch.nn
init: Any = mx.init
gnn: Any = mx.gluon.nn
gluon: Any = mx.gluon


def distributions(*shape: int) -> Judge:
    """Seeded samples of an initialiser that makes a weight of this shape.

    Their distribution functions are at most as far apart as those of two samples of
    one distribution in all but one of a million pairs (Kolmogorov and Smirnov).
    """

    def judge(gluon: Any, pytorch: Any) -> float:
        mx.random.seed(0)
        torch.manual_seed(0)
        ours, theirs = nd.zeros(shape), torch.zeros(shape)
        gluon()(init.InitDesc("weight"), ours)
        pytorch(theirs)
        one, two = np.sort(ours.asnumpy().ravel()), np.sort(theirs.numpy().ravel())
        both = np.concatenate([one, two])
        apart = np.abs(
            np.searchsorted(one, both, "right") - np.searchsorted(two, both, "right")
        ).max()
        apart = float(apart) / one.size
        return 0.0 if apart < 2.7 * (2 / one.size) ** 0.5 else apart

    return judge


def lengths(*shape: int) -> Judge:
    """The products of an initialiser's rows with each other."""

    def judge(gluon: Any, pytorch: Any) -> float:
        ours, theirs = nd.zeros(shape), torch.zeros(shape)
        gluon()(init.InitDesc("weight"), ours)
        pytorch(theirs)
        one, two = ours.asnumpy(), theirs.numpy()
        return float(np.abs(one @ one.T - two @ two.T).max())

    return judge


def kaiming_of_both_sides(w: Any) -> Any:
    fan_in, fan_out = w[0].numel(), w[:, 0].numel()
    std = (2 / (1 + 0.25**2) / ((fan_in + fan_out) / 2)) ** 0.5
    return nn.init.normal_(w, 0, std)


def gluon_bias() -> Any:
    net = gnn.Dense(3, in_units=4)
    net.initialize(init.Xavier())
    return net.bias.data()


def pytorch_bias() -> Any:
    net = nn.Linear(4, 3)
    nn.init.xavier_uniform_(net.weight)
    return net.bias


def pytorch_zero_bias() -> Any:
    net = nn.Linear(4, 3)
    nn.init.xavier_uniform_(net.weight)
    nn.init.zeros_(net.bias)
    return net.bias


def gluon_all() -> Any:
    net = gnn.HybridSequential()
    net.add(gnn.Dense(4, in_units=3), gnn.Dense(2, in_units=4))
    net.initialize(init.One())
    return [p.data() for p in net.collect_params(".*weight").values()]


def pytorch_all() -> Any:
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    for name, p in net.named_parameters():
        if name.endswith("weight"):
            nn.init.ones_(p)
    return [p for n, p in net.named_parameters() if n.endswith("weight")]


def gluon_count() -> Any:
    net = gnn.BatchNorm(in_channels=4)
    return sum(np.prod(p.shape) for p in net.collect_params().values())


def pytorch_count() -> Any:
    net = nn.BatchNorm2d(4)
    return sum(p.numel() for p in net.parameters())


def pytorch_count_with_statistics() -> Any:
    net = nn.BatchNorm2d(4)
    statistics = [net.running_mean, net.running_var]
    return sum(p.numel() for p in [*net.parameters(), *statistics])


def gluon_waits() -> Any:
    net = gnn.Dense(3)
    net.initialize()
    net(nd.ones((2, 5)))
    return net.weight.shape


def pytorch_waits() -> Any:
    net = nn.LazyLinear(3)
    net(torch.ones(2, 5))
    return net.weight.shape


def gluon_frozen() -> Any:
    net = gnn.Dense(3, in_units=4)
    net.collect_params().setattr("grad_req", "null")
    return [p.grad_req != "null" for p in net.collect_params().values()]


def pytorch_frozen() -> Any:
    net = nn.Linear(4, 3)
    net.requires_grad_(False)
    return [p.requires_grad for p in net.parameters()]


def gluon_shared() -> Any:
    one = gnn.Dense(4, in_units=4)
    two = gnn.Dense(4, in_units=4, params=one.params)
    return two.weight is one.weight


def pytorch_shared() -> Any:
    one, two = nn.Linear(4, 4), nn.Linear(4, 4)
    two.weight, two.bias = one.weight, one.bias
    return two.weight is one.weight


def gluon_constant() -> Any:
    class Scale(gluon.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.factor = self.params.get_constant("factor", nd.array([2.0]))

        def hybrid_forward(self, F: Any, x: Any, factor: Any) -> Any:
            return F.broadcast_mul(x, factor)

    net = Scale()
    net.initialize()
    return net(nd.ones((2, 3)))


def pytorch_constant() -> Any:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("factor", torch.tensor([2.0]))

        def forward(self, x: Any) -> Any:
            return x * self.factor

    net = Scale()
    return net(torch.ones(2, 3))


def gluon_set() -> Any:
    net = gnn.Dense(3, in_units=4)
    net.initialize()
    net.weight.set_data(nd.ones((3, 4)))
    return net.weight.data()


def pytorch_set() -> Any:
    net = nn.Linear(4, 3)
    with torch.no_grad():
        net.weight.copy_(torch.ones(3, 4))
    return net.weight


ROWS = [
    Row(
        "default weights of a linear layer",
        gluon=lambda: init.Uniform(),
        pytorch=lambda w: nn.init.kaiming_uniform_(w, a=5**0.5),
        judge=distributions(600, 400),
        differs="±0.07 there, ±1/√fan_in here",
        cure=lambda w: nn.init.uniform_(w, -0.07, 0.07),
        card="same_weights",
    ),
    Row(
        "Xavier, uniform",
        gluon=lambda: init.Xavier(),
        pytorch=lambda w: nn.init.xavier_uniform_(w),
        judge=distributions(200, 150, 3, 3),
    ),
    Row(
        "Xavier, Gaussian",
        gluon=lambda: init.Xavier("gaussian"),
        pytorch=lambda w: nn.init.xavier_normal_(w),
        judge=distributions(600, 400),
        differs="magnitude 3 there for both kinds; the variance wants 1",
        cure=lambda w: nn.init.xavier_normal_(w, gain=3**0.5),
    ),
    Row(
        "Kaiming, as for ReLU",
        gluon=lambda: init.Xavier("gaussian", "in", 2),
        pytorch=lambda w: nn.init.kaiming_normal_(w),
        judge=distributions(200, 150, 3, 3),
    ),
    Row(
        "`MSRAPrelu`",
        gluon=lambda: init.MSRAPrelu(),
        pytorch=lambda w: nn.init.kaiming_normal_(w, a=0.25),
        judge=distributions(800, 300),
        differs="mean of fan-in and fan-out there, fan-in here",
        cure=kaiming_of_both_sides,
    ),
    Row(
        "normal",
        gluon=lambda: init.Normal(),
        pytorch=lambda w: nn.init.normal_(w),
        judge=distributions(600, 400),
        differs="standard deviation 0.01 there, 1 here",
        cure=lambda w: nn.init.normal_(w, std=0.01),
    ),
    Row(
        "orthogonal",
        gluon=lambda: init.Orthogonal(),
        pytorch=lambda w: nn.init.orthogonal_(w),
        judge=lengths(20, 50),
        differs="scale 1.414 there",
        cure=lambda w: nn.init.orthogonal_(w, gain=1.414),
        within=1e-5,
    ),
    Row(
        "one value",
        gluon=lambda: init.Constant(0.5),
        pytorch=lambda w: nn.init.constant_(w, 0.5),
        judge=distributions(6, 4),
    ),
    Row(
        "the bias, if weights are initialised",
        gluon=gluon_bias,
        pytorch=pytorch_bias,
        judge=values(),
        differs="zero there; random here, as the layer made it",
        cure=pytorch_zero_bias,
        card="same_weights",
    ),
    Row(
        "all weights of a net",
        gluon=gluon_all,
        pytorch=pytorch_all,
        judge=values(),
    ),
    Row(
        "sizes found at the first call",
        gluon=gluon_waits,
        pytorch=pytorch_waits,
        judge=values(),
        card="same_weights",
    ),
    Row(
        "set a parameter",
        gluon=gluon_set,
        pytorch=pytorch_set,
        judge=values(),
    ),
    Row(
        "count the parameters of a batch norm",
        gluon=gluon_count,
        pytorch=pytorch_count,
        judge=values(),
        differs="the running statistics are among them there",
        cure=pytorch_count_with_statistics,
        card="pyramidnet",
    ),
    Row(
        "freeze",
        gluon=gluon_frozen,
        pytorch=pytorch_frozen,
        judge=values(),
    ),
    Row(
        "one layer's weights in another",
        gluon=gluon_shared,
        pytorch=pytorch_shared,
        judge=values(),
    ),
    Row(
        "a constant that belongs to a block",
        gluon=gluon_constant,
        pytorch=pytorch_constant,
        judge=values(),
        card="zero_padded_shortcuts",
    ),
]
