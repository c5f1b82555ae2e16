"""Rows: optimisers and schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.optim import lr_scheduler as schedule

from d2lutils.compat import mx
from d2lutils.porting.judges import refusal, schedules, steps, values
from d2lutils.porting.rows import Rows

__all__ = ["ROWS"]

nd: Any = mx.nd
gluon: Any = mx.gluon
init: Any = mx.init
autograd: Any = mx.autograd
lr: Any = mx.lr_scheduler

ROWS = Rows()
row, pytorch, cure = ROWS.row, ROWS.pytorch, ROWS.cure


row("gradient descent", steps())(
    gluon=lambda ps: gluon.Trainer(ps, "sgd", {"learning_rate": 0.25}),
    pytorch=lambda ps: torch.optim.SGD(ps, lr=0.25),
)
row("`step`", steps(batch=4))(
    gluon=lambda ps: gluon.Trainer(ps, "sgd", {"learning_rate": 0.25, "wd": 0.125}),
    pytorch=lambda ps: torch.optim.SGD(ps, lr=0.25, weight_decay=0.125),
    differs="`trainer.step(4)` divides the gradient by 4. Divide the loss, as its mean "
    "over the batch does; dividing the rate would divide the decay, too",
    cure=lambda ps: (
        torch.optim.SGD(ps, lr=0.25, weight_decay=0.125),
        lambda loss: loss / 4,
    ),
)
row("`step`, Adam", steps(batch=4), within=1e-5)(
    gluon=lambda ps: gluon.Trainer(ps, "adam", {"learning_rate": 0.25, "wd": 0.125}),
    pytorch=lambda ps: torch.optim.Adam(ps, lr=0.25 / 4, weight_decay=0.125),
    differs="Adam hardly feels the size of a gradient, so that another rate is "
    "another program",
    cure=lambda ps: (
        torch.optim.Adam(ps, lr=0.25, weight_decay=0.125),
        lambda loss: loss / 4,
    ),
)
row("weight decay", steps())(
    gluon=lambda ps: gluon.Trainer(ps, "sgd", {"learning_rate": 0.25, "wd": 0.125}),
    pytorch=lambda ps: torch.optim.SGD(ps, lr=0.25, weight_decay=0.125),
)
row("momentum", steps())(
    gluon=lambda ps: gluon.Trainer(ps, "sgd", {"learning_rate": 0.25, "momentum": 0.5}),
    pytorch=lambda ps: torch.optim.SGD(ps, lr=0.25, momentum=0.5),
)


@row(
    "momentum, once the learning rate changes",
    steps(rate=lambda i: 0.25 / 2 ** (i // 3)),
)
def _(params: Any) -> Any:
    options = {"learning_rate": 0.25, "momentum": 0.5, "wd": 0.125}
    return gluon.Trainer(params, "sgd", options)


@pytorch(
    differs="the velocity holds the rates of its time there, only gradients here",
)
def _(params: Any) -> Any:
    return torch.optim.SGD(params, lr=0.25, momentum=0.5, weight_decay=0.125)


@cure
def _(params: Any) -> Any:
    sgd = torch.optim.SGD(params, lr=0.25, momentum=0.5, weight_decay=0.125)
    rate = 0.25

    def rescale(*_: Any) -> None:
        nonlocal rate
        for state in sgd.state.values():
            state["momentum_buffer"] *= rate / sgd.param_groups[0]["lr"]
        rate = sgd.param_groups[0]["lr"]

    sgd.register_step_pre_hook(rescale)
    return sgd


row("Nesterov's momentum", steps())(
    gluon=lambda ps: gluon.Trainer(ps, "nag", {"learning_rate": 0.25, "momentum": 0.5}),
    pytorch=lambda ps: torch.optim.SGD(ps, lr=0.25, momentum=0.5, nesterov=True),
)


@row("Nesterov's momentum with weight decay", steps())
def _(params: Any) -> Any:
    options = {"learning_rate": 0.25, "momentum": 0.5, "wd": 0.125}
    return gluon.Trainer(params, "nag", options)


@pytorch(differs="the velocity gets the decay of the weight after the step there")
def _(params: Any) -> Any:
    return torch.optim.SGD(
        params,
        lr=0.25,
        momentum=0.5,
        weight_decay=0.125,
        nesterov=True,
    )


@cure
def _(params: Any) -> Any:
    class NAG(torch.optim.Optimizer):
        def step(self) -> None:  # type: ignore[override]
            for p in params:
                v = 0.5 * self.state[p].get("v", 0)
                p.data += 0.5 * v - 1.5 * 0.25 * (p.grad + 0.125 * p.data)
                self.state[p]["v"] = v - 0.25 * (p.grad + 0.125 * p.data)

    return NAG(params, {})


row("Adam", steps(), within=1e-5)(
    gluon=lambda ps: gluon.Trainer(ps, "adam", {"learning_rate": 0.25}),
    pytorch=lambda ps: torch.optim.Adam(ps, lr=0.25),
)
row("Adam, gradients as small as `epsilon`", steps(scale=1e-7), within=1e-5)(
    gluon=lambda ps: gluon.Trainer(ps, "adam", {"learning_rate": 0.25, "wd": 1e-7}),
    pytorch=lambda ps: torch.optim.Adam(ps, lr=0.25, weight_decay=1e-7),
    differs="`epsilon` is added to the root before the bias is corrected there",
)


@cure
def _(params: Any) -> Any:
    adam = torch.optim.Adam(params, lr=0.25, weight_decay=1e-7)
    updates = 0

    def correct(*_: Any) -> None:
        nonlocal updates
        updates += 1
        adam.param_groups[0]["eps"] = 1e-8 / (1 - 0.999**updates) ** 0.5

    adam.register_step_pre_hook(correct)
    return adam


row("Adam with weight decay", steps(), within=1e-5)(
    gluon=lambda ps: gluon.Trainer(ps, "adam", {"learning_rate": 0.25, "wd": 0.5}),
    pytorch=lambda ps: torch.optim.Adam(ps, lr=0.25, weight_decay=0.5),
)
row("Adamax", steps(), within=1e-6)(
    gluon=lambda ps: gluon.Trainer(ps, "adamax", {"learning_rate": 0.25, "wd": 0.125}),
    pytorch=lambda ps: torch.optim.Adamax(ps, lr=0.25, weight_decay=0.125),
)
row("RMSProp, float32, its defaults", steps(dtype="float32"), within=1e-6)(
    gluon=lambda ps: gluon.Trainer(ps, "rmsprop", {"wd": 0.125}),
    pytorch=lambda ps: torch.optim.RMSprop(ps, lr=0.001, weight_decay=0.125),
    differs="0.9 of the old mean square is kept there, 0.99 here",
    cure=lambda ps: torch.optim.RMSprop(ps, lr=0.001, alpha=0.9, weight_decay=0.125),
)
row("RMSProp, float32, `epsilon`", steps(dtype="float32"), within=1e-6)(
    gluon=lambda ps: gluon.Trainer(ps, "rmsprop", {"epsilon": 0.01, "wd": 0.125}),
    pytorch=lambda ps: torch.optim.RMSprop(ps, 0.001, 0.9, 0.01, 0.125),
    differs="under the root there, beside it here",
)


@cure
def _(params: Any) -> Any:
    class RMSProp(torch.optim.Optimizer):
        def step(self) -> None:  # type: ignore[override]
            for p in params:
                g = p.grad + 0.125 * p.data
                n = 0.9 * self.state[p].get("n", 0) + 0.1 * g**2
                p.data -= 0.001 * g / (n + 0.01).sqrt()
                self.state[p]["n"] = n

    return RMSProp(params, {})


row("AdaGrad, float32", steps(dtype="float32"), within=1e-6)(
    gluon=lambda ps: gluon.Trainer(ps, "adagrad", {"learning_rate": 0.25}),
    pytorch=lambda ps: torch.optim.Adagrad(ps, lr=0.25),
)
row("AdaGrad, float32, weight decay", steps(dtype="float32"), within=1e-6)(
    gluon=lambda ps: gluon.Trainer(ps, "adagrad", {"learning_rate": 0.25, "wd": 0.5}),
    pytorch=lambda ps: torch.optim.Adagrad(ps, lr=0.25, weight_decay=0.5),
    differs="not part of the gradient there: it stays out of the sum of squares",
)


@cure
def _(params: Any) -> Any:
    adagrad = torch.optim.Adagrad(params, lr=0.25)

    def decay(*_: Any) -> None:
        for p in params:
            p.data *= 1 - 0.25 * 0.5

    adagrad.register_step_pre_hook(decay)
    return adagrad


row("AdaDelta, float32", steps(dtype="float32"), within=1e-6)(
    gluon=lambda ps: gluon.Trainer(ps, "adadelta", {"wd": 0.125}),
    pytorch=lambda ps: torch.optim.Adadelta(ps, 0.01, eps=1e-5, weight_decay=0.125),
    differs="the learning rate is ignored there, and the decay shrinks the weight",
)


@cure
def _(params: Any) -> Any:
    adadelta = torch.optim.Adadelta(params, lr=1.0, eps=1e-5)

    def decay(*_: Any) -> None:
        for p in params:
            p.data *= 1 - 0.125

    adadelta.register_step_pre_hook(decay)
    return adadelta


row("AdaGrad in float64", refusal("expected float32, got float64", steps()))(
    gluon=lambda ps: gluon.Trainer(ps, "adagrad", {"learning_rate": 0.25}),
    pytorch=lambda ps: torch.optim.Adagrad(ps, lr=0.25),
    differs="refused there: its state is float32",
)


@row("clip each element of the gradient", steps())
def _(params: Any) -> Any:
    options = {"learning_rate": 0.25, "clip_gradient": 0.5, "wd": 0.125}
    return gluon.Trainer(params, "sgd", options)


@pytorch
def _(params: Any) -> Any:
    sgd = torch.optim.SGD(params, lr=0.25, weight_decay=0.125)
    clip = torch.nn.utils.clip_grad_value_
    sgd.register_step_pre_hook(lambda *_: clip(params, 0.5))
    return sgd


@row("clip each element, Adam with weight decay", steps(), within=1e-5)
def _(params: Any) -> Any:
    options = {"learning_rate": 0.25, "clip_gradient": 0.5, "wd": 0.5}
    return gluon.Trainer(params, "adam", options)


@pytorch(differs="the decay is clipped with the gradient there")
def _(params: Any) -> Any:
    adam = torch.optim.Adam(params, lr=0.25, weight_decay=0.5)
    clip = torch.nn.utils.clip_grad_value_
    adam.register_step_pre_hook(lambda *_: clip(params, 0.5))
    return adam


@cure
def _(params: Any) -> Any:
    adam = torch.optim.Adam(params, lr=0.25)

    def decay_and_clip(*_: Any) -> None:
        for p in params:
            p.grad = (p.grad + 0.5 * p.data).clip(-0.5, 0.5)

    adam.register_step_pre_hook(decay_and_clip)
    return adam


@row("clip the norm of all gradients", values(), within=1e-6)
def _() -> Any:
    gradients = [nd.array([3.0, 0.0]), nd.array([4.0])]
    gluon.utils.clip_global_norm(gradients, 1.0)
    return gradients


@pytorch
def _() -> Any:
    parameters = [
        torch.nn.Parameter(torch.zeros(2)),
        torch.nn.Parameter(torch.zeros(1)),
    ]
    for p, g in zip(parameters, ([3.0, 0.0], [4.0]), strict=True):
        p.grad = torch.tensor(g)
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    return [p.grad for p in parameters]


@row("rate and decay of one parameter", steps())
def _(params: Any) -> Any:
    params[0].lr_mult, params[0].wd_mult = 0.5, 0.0
    return gluon.Trainer(params, "sgd", {"learning_rate": 0.25, "wd": 0.125})


@pytorch
def _(params: Any) -> Any:
    group = {"params": params, "lr": 0.25 * 0.5, "weight_decay": 0.0}
    return torch.optim.SGD([group], lr=0.25, weight_decay=0.125)


@row("`multi_precision`: float16, updated in float32", steps(dtype="float16"))
def _(params: Any) -> Any:
    options = {"learning_rate": 2**-10, "wd": 0.125, "multi_precision": True}
    return gluon.Trainer(params, "sgd", options)


@pytorch(differs="PyTorch's optimisers round each step to the weight's type")
def _(params: Any) -> Any:
    return torch.optim.SGD(params, lr=2**-10, weight_decay=0.125)


@cure
def _(params: Any) -> Any:
    exact = [p.detach().float() for p in params]
    sgd = torch.optim.SGD(exact, lr=2**-10, weight_decay=0.125)

    def before(*_: Any) -> None:
        for p, master in zip(params, exact, strict=True):
            master.grad, p.grad = p.grad.float(), None

    def after(*_: Any) -> None:
        for p, master in zip(params, exact, strict=True):
            p.data.copy_(master)

    sgd.register_step_pre_hook(before)
    sgd.register_step_post_hook(after)
    return sgd


@row("set the learning rate", steps())
def _(params: Any) -> Any:
    trainer = gluon.Trainer(params, "sgd", {"learning_rate": 1.0})
    trainer.set_learning_rate(0.25)
    return trainer


@pytorch
def _(params: Any) -> Any:
    sgd = torch.optim.SGD(params, lr=1.0)
    for group in sgd.param_groups:
        group["lr"] = 0.25
    return sgd


row("schedule: a factor every few updates", schedules())(
    gluon=lambda: lr.FactorScheduler(4, 0.5, base_lr=1.0),
    pytorch=lambda o: schedule.StepLR(o, 4, 0.5),
)
row("schedule: a factor after given updates", schedules())(
    gluon=lambda: lr.MultiFactorScheduler([4, 9], 0.5, base_lr=1.0),
    pytorch=lambda o: schedule.MultiStepLR(o, [4, 9], 0.5),
)
row("schedule: polynomial", schedules())(
    gluon=lambda: lr.PolyScheduler(10, 1.0, pwr=2),
    pytorch=lambda o: schedule.PolynomialLR(o, 10, 2),
    differs="the first update counts as 1 there, as 0 here",
)


@cure
def _(optimizer: Any) -> Any:
    def share(t: int) -> float:
        return (1 - min(t + 1, 10) / 10) ** 2

    return schedule.LambdaLR(optimizer, share)


row("schedule: cosine", schedules())(
    gluon=lambda: lr.CosineScheduler(10, 1.0),
    pytorch=lambda o: schedule.CosineAnnealingLR(o, 10),
    differs="as for the polynomial; and here the rate rises again afterwards",
)


@cure
def _(optimizer: Any) -> Any:
    def share(t: int) -> float:
        return (1 + np.cos(np.pi * min(t + 1, 10) / 10)) / 2

    return schedule.LambdaLR(optimizer, share)


row("schedule: warm-up first", schedules())(
    lambda: lr.FactorScheduler(6, 0.5, base_lr=1.0, warmup_steps=4)
)


@pytorch
def _(o: Any) -> Any:
    warm = schedule.LinearLR(o, 1 / 4, total_iters=3)
    return schedule.ChainedScheduler([warm, schedule.StepLR(o, 6, 0.5)])
