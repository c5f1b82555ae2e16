"""Rows: initialisers and parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from d2lutils.compat import mx
from d2lutils.porting.judges import distributions, lengths, refusal, values
from d2lutils.porting.rows import Rows

__all__ = ["ROWS"]

nd: Any = mx.nd
nn: Any = torch.nn
init: Any = mx.init
gnn: Any = mx.gluon.nn
gluon: Any = mx.gluon
rnn: Any = mx.gluon.rnn

ROWS = Rows()
row, pytorch, cure = ROWS.row, ROWS.pytorch, ROWS.cure


row(
    "default weights of a linear layer", distributions(600, 400), chapter="same_weights"
)(
    gluon=lambda: init.Uniform(),
    pytorch=lambda w: nn.init.kaiming_uniform_(w, a=5**0.5),
    differs="±0.07 there, ±1/√fan_in here",
    cure=lambda w: nn.init.uniform_(w, -0.07, 0.07),
)
row("default weights of an embedding", distributions(600, 400))(
    gluon=lambda: init.Uniform(),
    pytorch=lambda w: nn.init.normal_(w),
    differs="±0.07 there, a standard deviation of 1 here",
    cure=lambda w: nn.init.uniform_(w, -0.07, 0.07),
)
row("Xavier, uniform", distributions(200, 150, 3, 3))(
    gluon=lambda: init.Xavier(),
    pytorch=lambda w: nn.init.xavier_uniform_(w),
)
row("Xavier, Gaussian", distributions(600, 400))(
    gluon=lambda: init.Xavier("gaussian"),
    pytorch=lambda w: nn.init.xavier_normal_(w),
    differs="magnitude 3 there for both kinds; the variance wants 1",
    cure=lambda w: nn.init.xavier_normal_(w, gain=3**0.5),
)
row("Kaiming, as for ReLU", distributions(200, 150, 3, 3))(
    gluon=lambda: init.Xavier("gaussian", "in", 2),
    pytorch=lambda w: nn.init.kaiming_normal_(w),
)
row("`MSRAPrelu`", distributions(800, 300))(
    gluon=lambda: init.MSRAPrelu(),
    pytorch=lambda w: nn.init.kaiming_normal_(w, a=0.25),
    differs="mean of fan-in and fan-out there, fan-in here",
)


@cure
def _(w: Any) -> Any:
    fan_in, fan_out = w[0].numel(), w[:, 0].numel()
    std = (2 / (1 + 0.25**2) / ((fan_in + fan_out) / 2)) ** 0.5
    return nn.init.normal_(w, 0, std)


row("normal", distributions(600, 400))(
    gluon=lambda: init.Normal(),
    pytorch=lambda w: nn.init.normal_(w),
    differs="standard deviation 0.01 there, 1 here",
    cure=lambda w: nn.init.normal_(w, std=0.01),
)
row("orthogonal", lengths(20, 50), within=1e-5)(
    gluon=lambda: init.Orthogonal(),
    pytorch=lambda w: nn.init.orthogonal_(w),
    differs="scale 1.414 there",
    cure=lambda w: nn.init.orthogonal_(w, gain=1.414),
)
row("one value", distributions(6, 4))(
    gluon=lambda: init.Constant(0.5),
    pytorch=lambda w: nn.init.constant_(w, 0.5),
)


@row("the bias, if weights are initialised", values(), chapter="same_weights")
def _() -> Any:
    net = gnn.Dense(3, in_units=4)
    net.initialize(init.Xavier())
    return net.bias.data()


@pytorch(differs="zero there; random here, as the layer made it")
def _() -> Any:
    net = nn.Linear(4, 3)
    nn.init.xavier_uniform_(net.weight)
    return net.bias


@cure
def _() -> Any:
    net = nn.Linear(4, 3)
    nn.init.xavier_uniform_(net.weight)
    nn.init.zeros_(net.bias)
    return net.bias


@row("all weights of a net", values())
def _() -> Any:
    net = gnn.HybridSequential()
    net.add(gnn.Dense(4, in_units=3), gnn.Dense(2, in_units=4))
    net.initialize(init.One())
    return [p.data() for p in net.collect_params(".*weight").values()]


@pytorch
def _() -> Any:
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    for name, p in net.named_parameters():
        if name.endswith("weight"):
            nn.init.ones_(p)
    return [p for n, p in net.named_parameters() if n.endswith("weight")]


@row("an initialiser for each kind of parameter", values())
def _() -> Any:
    net = gnn.Dense(3, in_units=4)
    net.initialize(init.Constant(0.5))
    for p in net.collect_params(".*bias").values():
        p.initialize(init.One(), force_reinit=True)
    return [net.weight.data(), net.bias.data()]


@pytorch
def per_kind() -> Any:
    net = nn.Linear(4, 3)
    for name, p in net.named_parameters():
        nn.init.constant_(p, 0.5 if name.endswith("weight") else 1.0)
    return [net.weight, net.bias]


@row("`Mixed`", refusal("must be of string type", values()))
def _() -> Any:
    net = gnn.Dense(3, in_units=4)
    kinds = [init.Constant(0.5), init.One()]
    net.initialize(init.Mixed([".*weight", ".*"], kinds))
    return [net.weight.data(), net.bias.data()]


pytorch(per_kind, differs="refused there: it is for `mx.mod`")


@row("an LSTM that does not forget at first", values())
def _() -> Any:
    bias = init.LSTMBias(forget_bias=1.0)
    net = rnn.LSTM(2, input_size=3, i2h_bias_initializer=bias)
    net.initialize()
    return net.l0_i2h_bias.data() + net.l0_h2h_bias.data()


@pytorch
def _() -> Any:
    net = nn.LSTM(3, 2)
    nn.init.zeros_(net.bias_ih_l0)
    nn.init.zeros_(net.bias_hh_l0)
    nn.init.ones_(net.bias_ih_l0[2:4])
    return net.bias_ih_l0 + net.bias_hh_l0


@row("sizes found at the first call", values(), chapter="same_weights")
def _() -> Any:
    net = gnn.Dense(3)
    net.initialize()
    net(nd.ones((2, 5)))
    return net.weight.shape


@pytorch
def _() -> Any:
    net = nn.LazyLinear(3)
    net(torch.ones(2, 5))
    return net.weight.shape


@row("set a parameter", values())
def _() -> Any:
    net = gnn.Dense(3, in_units=4)
    net.initialize()
    net.weight.set_data(nd.ones((3, 4)))
    return net.weight.data()


@pytorch
def _() -> Any:
    net = nn.Linear(4, 3)
    with torch.no_grad():
        net.weight.copy_(torch.ones(3, 4))
    return net.weight


@row("count the parameters of a batch norm", values(), chapter="pyramidnet")
def _() -> Any:
    net = gnn.BatchNorm(in_channels=4)
    return sum(np.prod(p.shape) for p in net.collect_params().values())


@pytorch(differs="the running statistics are among them there")
def _() -> Any:
    net = nn.BatchNorm2d(4)
    return sum(p.numel() for p in net.parameters())


@cure
def _() -> Any:
    net = nn.BatchNorm2d(4)
    statistics = [net.running_mean, net.running_var]
    return sum(p.numel() for p in [*net.parameters(), *statistics])


@row("freeze", values())
def _() -> Any:
    net = gnn.Dense(3, in_units=4)
    net.collect_params().setattr("grad_req", "null")
    return [p.grad_req != "null" for p in net.collect_params().values()]


@pytorch
def _() -> Any:
    net = nn.Linear(4, 3)
    net.requires_grad_(False)
    return [p.requires_grad for p in net.parameters()]


@row("one layer's weights in another", values())
def _() -> Any:
    one = gnn.Dense(4, in_units=4)
    two = gnn.Dense(4, in_units=4, params=one.params)
    return two.weight is one.weight


@pytorch
def _() -> Any:
    one, two = nn.Linear(4, 4), nn.Linear(4, 4)
    two.weight, two.bias = one.weight, one.bias
    return two.weight is one.weight


@row("a constant that belongs to a block", values(), chapter="zero_padded_shortcuts")
def _() -> Any:
    class Scale(gluon.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.factor = self.params.get_constant("factor", nd.array([2.0]))

        def hybrid_forward(self, F: Any, x: Any, factor: Any) -> Any:
            return F.broadcast_mul(x, factor)

    net = Scale()
    net.initialize()
    return net(nd.ones((2, 3)))


@pytorch
def _() -> Any:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("factor", torch.tensor([2.0]))

        def forward(self, x: Any) -> Any:
            return x * self.factor

    net = Scale()
    return net(torch.ones(2, 3))
