"""Rows: autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from d2lutils.compat import mx
from d2lutils.porting.judges import functions, refusal, values
from d2lutils.porting.rows import Rows

__all__ = ["ROWS"]

nd: Any = mx.nd
autograd: Any = mx.autograd
operator: Any = mx.operator
gluon: Any = mx.gluon

ROWS = Rows()
row, pytorch, cure = ROWS.row, ROWS.pytorch, ROWS.cure


@row("the gradient of a sum", values())
def _() -> Any:
    x = nd.array([1.0, 2.0, 3.0])
    x.attach_grad()
    with autograd.record():
        y = (x * x).sum()
    y.backward()
    return x.grad


@pytorch
def _() -> Any:
    x = torch.tensor([1.0, 2.0, 3.0])
    x.requires_grad_()
    y = (x * x).sum()
    y.backward()
    return x.grad


@row(
    "`backward` of several numbers",
    refusal("grad can be implicitly created only for scalar", values()),
)
def _() -> Any:
    x = nd.array([1.0, 2.0, 3.0])
    x.attach_grad()
    with autograd.record():
        y = x * x
    y.backward()
    return x.grad


@pytorch(differs="of their sum there, an error here")
def _() -> Any:
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * x
    y.backward()
    return x.grad


@cure
def _() -> Any:
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * x
    y.sum().backward()
    return x.grad


@row("`backward` with weights", values())
def _() -> Any:
    x = nd.array([1.0, 2.0, 3.0])
    x.attach_grad()
    with autograd.record():
        y = x * x
    y.backward(nd.array([1.0, 0.0, 2.0]))
    return x.grad


@pytorch
def _() -> Any:
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * x
    y.backward(torch.tensor([1.0, 0.0, 2.0]))
    return x.grad


@row("what is recorded", values())
def _() -> Any:
    x = nd.array([2.0])
    x.attach_grad()
    y = x * x
    with autograd.record():
        z = 3 * x + y
    z.backward()
    return x.grad


@pytorch(differs="what stands in `record` there, all but `no_grad` here")
def _() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    y = x * x
    z = 3 * x + y
    z.backward()
    return x.grad


@cure
def _() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    with torch.no_grad():
        y = x * x
    z = 3 * x + y
    z.backward()
    return x.grad


@row("pause recording", values())
def _() -> Any:
    with autograd.record():
        seen = [autograd.is_recording()]
        with autograd.pause():
            seen.append(autograd.is_recording())
    return seen


@pytorch
def _() -> Any:
    with torch.enable_grad():
        seen = [torch.is_grad_enabled()]
        with torch.no_grad():
            seen.append(torch.is_grad_enabled())
    return seen


@row("`backward` twice", values())
def _() -> Any:
    x = nd.array([2.0])
    x.attach_grad()
    for _ in range(2):
        with autograd.record():
            y = x * x
        y.backward()
    return x.grad


@pytorch(differs="the second gradient replaces the first there, is added here")
def twice() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    for _ in range(2):
        y = x * x
        y.backward()
    return x.grad


@cure
def _() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    for _ in range(2):
        x.grad = None
        y = x * x
        y.backward()
    return x.grad


@row("gradients that add up", values())
def _() -> Any:
    x = nd.array([2.0])
    x.attach_grad(grad_req="add")
    for _ in range(2):
        with autograd.record():
            y = x * x
        y.backward()
    return x.grad


pytorch(twice)


@row("the gradient before the first `backward`", values(), chapter="stochastic_depth")
def _() -> Any:
    x = nd.array([2.0])
    x.attach_grad()
    return x.grad


@pytorch(differs="zeros there, None here")
def _() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    return [] if x.grad is None else x.grad


@cure
def _() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    x.grad = torch.zeros_like(x)
    return x.grad


@row("`backward` through the same graph again", values())
def _() -> Any:
    x = nd.array([2.0])
    x.attach_grad()
    with autograd.record():
        y = x * x
    y.backward(retain_graph=True)
    y.backward()
    return x.grad


@pytorch
def _() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    y = x * x
    y.backward(retain_graph=True)
    x.grad = None
    y.backward()
    return x.grad


@row(
    "a gradient of the gradient of a product",
    refusal("is non-differentiable", values()),
)
def _() -> Any:
    x = nd.array([2.0])
    x.attach_grad()
    with autograd.record():
        y = x * x
        dx = autograd.grad(y, x, create_graph=True, retain_graph=True)[0]
    dx.backward()
    return x.grad


@pytorch(differs="refused there")
def _() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    y = x * x
    dx = torch.autograd.grad(y, x, create_graph=True)[0]
    dx.backward()
    return x.grad


@row("the gradient of something inside", values())
def _() -> Any:
    x = nd.array([2.0])
    x.attach_grad()
    with autograd.record():
        y = x * x
        y.attach_grad()
        z = 3 * y
    z.backward()
    return [y.grad, x.grad]


@pytorch(differs="`attach_grad` cuts the graph there")
def _() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    y = x * x
    y.retain_grad()
    z = 3 * y
    z.backward()
    return [y.grad, x.grad]


@cure
def _() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    x.grad = torch.zeros_like(x)
    y = (x * x).detach().requires_grad_()
    z = 3 * y
    z.backward()
    return [y.grad, x.grad]


row("no gradient from here", functions((3, 4)))(
    gluon=lambda x: nd.BlockGrad(x) * x + x.detach(),
    pytorch=lambda x: x.detach() * x + x.detach(),
)


@row("training or evaluation", values(), chapter="same_weights")
def _() -> Any:
    seen = [autograd.is_training()]
    with autograd.record():
        seen.append(autograd.is_training())
    with autograd.record(train_mode=False):
        seen.append(autograd.is_training())
    with autograd.train_mode():
        seen.append(autograd.is_training())
    return seen


@pytorch(differs="a state of the thread there; of each module here, True at the start")
def _() -> Any:
    net = nn.Identity()
    seen = [net.training]
    with torch.enable_grad():
        seen.append(net.training)
    net.eval()
    seen.append(net.training)
    net.train()
    seen.append(net.training)
    return seen


@row(
    "a function with its own gradient",
    functions((3, 4)),
    chapter="zero_padded_shortcuts",
)
def _(x: Any) -> Any:
    class Clipped(autograd.Function):
        def forward(self, x: Any) -> Any:
            self.save_for_backward(x)
            return x.clip(-1, 1)

        def backward(self, dy: Any) -> Any:
            (x,) = self.saved_tensors
            return dy * (x.abs() < 2)

    return Clipped()(x)


@pytorch
def clipped(x: Any) -> Any:
    class Clipped(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x.clip(-1, 1)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            (x,) = ctx.saved_tensors
            return dy * (x.abs() < 2)

    return Clipped.apply(x)


@row("an operator of one's own", functions((3, 4)), chapter="zero_padded_shortcuts")
def _(x: Any) -> Any:
    class Clip(operator.CustomOp):
        def forward(self, req: Any, in_data: Any, out_data: Any, **_: Any) -> None:
            self.assign(out_data[0], req[0], in_data[0].clip(-1, 1))

        def backward(
            self, req: Any, out_grad: Any, in_data: Any, in_grad: Any, **_: Any
        ) -> None:
            near = in_data[0].abs() < 2
            self.assign(in_grad[0], req[0], out_grad[0] * near)

    @operator.register("clipped")
    class ClipProp(operator.CustomOpProp):
        def create_operator(self, ctx: Any, shapes: Any, dtypes: Any) -> Any:
            return Clip()

    return nd.Custom(x, op_type="clipped")


pytorch(clipped)


row("one branch of two", functions((3, 4)))(
    gluon=lambda x: nd.contrib.cond(x.sum() > 0, lambda: x * 2, lambda: x - 1),
    pytorch=lambda x: x * 2 if x.sum() > 0 else x - 1,
)


@row(
    "writing into a slice while recording",
    refusal("already in a computational graph", functions((3, 4))),
    chapter="zero_padded_shortcuts",
)
def _(x: Any) -> Any:
    y = x * 2
    y[0:2] += 1
    return y


@pytorch(differs="refused there")
def _(x: Any) -> Any:
    y = x * 2
    y[0:2] += 1
    return y
