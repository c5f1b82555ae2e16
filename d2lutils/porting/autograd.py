"""Rows: autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from d2lutils.compat import mx
from d2lutils.porting import Row, functions, refusal, values

__all__ = ["ROWS"]

nd: Any = mx.nd
autograd: Any = mx.autograd
gluon: Any = mx.gluon


def gluon_gradient() -> Any:
    x = nd.array([1.0, 2.0, 3.0])
    x.attach_grad()
    with autograd.record():
        y = (x * x).sum()
    y.backward()
    return x.grad


def pytorch_gradient() -> Any:
    x = torch.tensor([1.0, 2.0, 3.0])
    x.requires_grad_()
    y = (x * x).sum()
    y.backward()
    return x.grad


def gluon_vector() -> Any:
    x = nd.array([1.0, 2.0, 3.0])
    x.attach_grad()
    with autograd.record():
        y = x * x
    y.backward()
    return x.grad


def pytorch_vector() -> Any:
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * x
    y.backward()
    return x.grad


def pytorch_summed() -> Any:
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * x
    y.sum().backward()
    return x.grad


def gluon_head() -> Any:
    x = nd.array([1.0, 2.0, 3.0])
    x.attach_grad()
    with autograd.record():
        y = x * x
    y.backward(nd.array([1.0, 0.0, 2.0]))
    return x.grad


def pytorch_head() -> Any:
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * x
    y.backward(torch.tensor([1.0, 0.0, 2.0]))
    return x.grad


def gluon_unrecorded() -> Any:
    x = nd.array([2.0])
    x.attach_grad()
    y = x * x
    with autograd.record():
        z = 3 * x + y
    z.backward()
    return x.grad


def pytorch_recorded() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    y = x * x
    z = 3 * x + y
    z.backward()
    return x.grad


def pytorch_unrecorded() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    with torch.no_grad():
        y = x * x
    z = 3 * x + y
    z.backward()
    return x.grad


def gluon_twice() -> Any:
    x = nd.array([2.0])
    x.attach_grad()
    for _ in range(2):
        with autograd.record():
            y = x * x
        y.backward()
    return x.grad


def pytorch_twice() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    for _ in range(2):
        y = x * x
        y.backward()
    return x.grad


def pytorch_twice_cleared() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    for _ in range(2):
        x.grad = None
        y = x * x
        y.backward()
    return x.grad


def gluon_added() -> Any:
    x = nd.array([2.0])
    x.attach_grad(grad_req="add")
    for _ in range(2):
        with autograd.record():
            y = x * x
        y.backward()
    return x.grad


def gluon_unused() -> Any:
    x = nd.array([2.0])
    x.attach_grad()
    return x.grad


def pytorch_unused() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    return [] if x.grad is None else x.grad


def pytorch_unused_zeros() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    x.grad = torch.zeros_like(x)
    return x.grad


def gluon_again() -> Any:
    x = nd.array([2.0])
    x.attach_grad()
    with autograd.record():
        y = x * x
    y.backward(retain_graph=True)
    y.backward()
    return x.grad


def pytorch_again() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    y = x * x
    y.backward(retain_graph=True)
    x.grad = None
    y.backward()
    return x.grad


def gluon_two_losses() -> Any:
    x = nd.array([2.0])
    x.attach_grad()
    with autograd.record():
        y, z = x * x, 3 * x
    autograd.backward([y, z])
    return x.grad


def pytorch_two_losses() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    y, z = x * x, 3 * x
    torch.autograd.backward([y, z])
    return x.grad


def gluon_grad() -> Any:
    x = nd.array([2.0])
    x.attach_grad()
    with autograd.record():
        y = nd.sin(x)
        dx = autograd.grad(y, x, create_graph=True, retain_graph=True)[0]
    dx.backward()
    return x.grad


def pytorch_grad() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    y = torch.sin(x)
    dx = torch.autograd.grad(y, x, create_graph=True)[0]
    dx.backward()
    return x.grad


def gluon_grad_of_product() -> Any:
    x = nd.array([2.0])
    x.attach_grad()
    with autograd.record():
        y = x * x
        dx = autograd.grad(y, x, create_graph=True, retain_graph=True)[0]
    dx.backward()
    return x.grad


def pytorch_grad_of_product() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    y = x * x
    dx = torch.autograd.grad(y, x, create_graph=True)[0]
    dx.backward()
    return x.grad


def gluon_marked() -> Any:
    x, dx = nd.array([2.0]), nd.zeros(1)
    autograd.mark_variables([x], [dx])
    with autograd.record():
        y = x * x
    y.backward()
    return dx


def pytorch_marked() -> Any:
    x, dx = torch.tensor([2.0]), torch.zeros(1)
    x.requires_grad_()
    x.grad = dx
    y = x * x
    y.backward()
    return dx


def gluon_inside() -> Any:
    x = nd.array([2.0])
    x.attach_grad()
    with autograd.record():
        y = x * x
        y.attach_grad()
        z = 3 * y
    z.backward()
    return [y.grad, x.grad]


def pytorch_inside() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    y = x * x
    y.retain_grad()
    z = 3 * y
    z.backward()
    return [y.grad, x.grad]


def pytorch_cut_inside() -> Any:
    x = torch.tensor([2.0], requires_grad=True)
    x.grad = torch.zeros_like(x)
    y = (x * x).detach().requires_grad_()
    z = 3 * y
    z.backward()
    return [y.grad, x.grad]


def gluon_modes() -> Any:
    seen = [autograd.is_training()]
    with autograd.record():
        seen.append(autograd.is_training())
    with autograd.record(train_mode=False):
        seen.append(autograd.is_training())
    with autograd.train_mode():
        seen.append(autograd.is_training())
    return seen


def pytorch_modes() -> Any:
    net = nn.Identity()
    seen = [net.training]
    with torch.enable_grad():
        seen.append(net.training)
    net.eval()
    seen.append(net.training)
    net.train()
    seen.append(net.training)
    return seen


def pytorch_modes_by_hand() -> Any:
    net = nn.Identity().eval()
    seen = [net.training]
    for mode in (True, False, True):
        net.train(mode)
        seen.append(net.training)
    return seen


def gluon_paused() -> Any:
    with autograd.record():
        seen = [autograd.is_recording()]
        with autograd.pause():
            seen.append(autograd.is_recording())
    return seen


def pytorch_paused() -> Any:
    with torch.enable_grad():
        seen = [torch.is_grad_enabled()]
        with torch.no_grad():
            seen.append(torch.is_grad_enabled())
    return seen


def gluon_own(x: Any) -> Any:
    class Clipped(autograd.Function):
        def forward(self, x: Any) -> Any:
            self.save_for_backward(x)
            return x.clip(-1, 1)

        def backward(self, dy: Any) -> Any:
            (x,) = self.saved_tensors
            return dy * (x.abs() < 2)

    return Clipped()(x)


def pytorch_own(x: Any) -> Any:
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


def gluon_slice(x: Any) -> Any:
    y = x * 2
    y[0:2] += 1
    return y


def pytorch_slice(x: Any) -> Any:
    y = x * 2
    y[0:2] += 1
    return y


ROWS = [
    Row(
        "the gradient of a sum",
        gluon=gluon_gradient,
        pytorch=pytorch_gradient,
        judge=values(),
    ),
    Row(
        "`backward` of several numbers",
        gluon=gluon_vector,
        pytorch=pytorch_vector,
        judge=refusal("grad can be implicitly created only for scalar", values()),
        differs="of their sum there, an error here",
        cure=pytorch_summed,
    ),
    Row(
        "`backward` with weights",
        gluon=gluon_head,
        pytorch=pytorch_head,
        judge=values(),
    ),
    Row(
        "`backward` of two losses",
        gluon=gluon_two_losses,
        pytorch=pytorch_two_losses,
        judge=values(),
    ),
    Row(
        "what is recorded",
        gluon=gluon_unrecorded,
        pytorch=pytorch_recorded,
        judge=values(),
        differs="what stands in `record` there, all but `no_grad` here",
        cure=pytorch_unrecorded,
    ),
    Row(
        "pause recording",
        gluon=gluon_paused,
        pytorch=pytorch_paused,
        judge=values(),
    ),
    Row(
        "`backward` twice",
        gluon=gluon_twice,
        pytorch=pytorch_twice,
        judge=values(),
        differs="the second gradient replaces the first there, is added here",
        cure=pytorch_twice_cleared,
    ),
    Row(
        "gradients that add up",
        gluon=gluon_added,
        pytorch=pytorch_twice,
        judge=values(),
    ),
    Row(
        "the gradient before the first `backward`",
        gluon=gluon_unused,
        pytorch=pytorch_unused,
        judge=values(),
        differs="zeros there, None here",
        cure=pytorch_unused_zeros,
        card="stochastic_depth",
    ),
    Row(
        "`backward` through the same graph again",
        gluon=gluon_again,
        pytorch=pytorch_again,
        judge=values(),
    ),
    Row(
        "a gradient of a gradient",
        gluon=gluon_grad,
        pytorch=pytorch_grad,
        judge=values(),
    ),
    Row(
        "a gradient of the gradient of a product",
        gluon=gluon_grad_of_product,
        pytorch=pytorch_grad_of_product,
        judge=refusal("is non-differentiable", values()),
        differs="refused there",
    ),
    Row(
        "a place of one's own for the gradient",
        gluon=gluon_marked,
        pytorch=pytorch_marked,
        judge=values(),
    ),
    Row(
        "the gradient of something inside",
        gluon=gluon_inside,
        pytorch=pytorch_inside,
        judge=values(),
        differs="`attach_grad` cuts the graph there",
        cure=pytorch_cut_inside,
    ),
    Row(
        "no gradient from here",
        gluon=lambda x: nd.BlockGrad(x) * x + x.detach(),
        pytorch=lambda x: x.detach() * x + x.detach(),
        judge=functions((3, 4)),
    ),
    Row(
        "training or evaluation",
        gluon=gluon_modes,
        pytorch=pytorch_modes,
        judge=values(),
        differs="a state of the thread there; of each module here, True at the start",
        cure=pytorch_modes_by_hand,
        card="same_weights",
    ),
    Row(
        "a function with its own gradient",
        gluon=gluon_own,
        pytorch=pytorch_own,
        judge=functions((3, 4)),
        card="zero_padded_shortcuts",
    ),
    Row(
        "writing into a slice while recording",
        gluon=gluon_slice,
        pytorch=pytorch_slice,
        judge=refusal("already in a computational graph", functions((3, 4))),
        differs="refused there",
        card="zero_padded_shortcuts",
    ),
]
