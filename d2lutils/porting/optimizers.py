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
lr: Any = mx.lr_scheduler

ROWS = Rows()
row, pytorch, cure = ROWS.row, ROWS.pytorch, ROWS.cure


row("gradient descent", steps())(
    gluon=lambda ps: gluon.Trainer(ps, "sgd", {"learning_rate": 0.25}),
    pytorch=lambda ps: torch.optim.SGD(ps, lr=0.25),
)
row("`step`", steps(batch=4))(
    gluon=lambda ps: gluon.Trainer(ps, "sgd", {"learning_rate": 0.25}),
    pytorch=lambda ps: torch.optim.SGD(ps, lr=0.25),
    differs="`trainer.step(4)` divides the gradient by 4, `optimizer.step()` not",
    cure=lambda ps: torch.optim.SGD(ps, lr=0.25 / 4),
)
row("weight decay", steps())(
    gluon=lambda ps: gluon.Trainer(ps, "sgd", {"learning_rate": 0.25, "wd": 0.125}),
    pytorch=lambda ps: torch.optim.SGD(ps, lr=0.25, weight_decay=0.125),
)
row("momentum", steps())(
    gluon=lambda ps: gluon.Trainer(ps, "sgd", {"learning_rate": 0.25, "momentum": 0.5}),
    pytorch=lambda ps: torch.optim.SGD(ps, lr=0.25, momentum=0.5),
)
row(
    "momentum, once the learning rate changes",
    steps(rate=lambda i: 0.25 / 2 ** (i // 3)),
)(
    gluon=lambda ps: gluon.Trainer(ps, "sgd", {"learning_rate": 0.25, "momentum": 0.5}),
    pytorch=lambda ps: torch.optim.SGD(ps, lr=0.25, momentum=0.5),
    differs="the velocity holds the rates of its time there, only gradients here",
)


@cure
def _(params: Any) -> Any:
    class SGD(torch.optim.Optimizer):
        def step(self) -> None:  # type: ignore[override]
            rate = self.param_groups[0]["lr"]
            for p in params:
                v = 0.5 * self.state[p].get("v", 0) - rate * p.grad
                p.data += v
                self.state[p]["v"] = v

    return SGD(params, {"lr": 0.25})


row("Nesterov's momentum", steps())(
    gluon=lambda ps: gluon.Trainer(ps, "nag", {"learning_rate": 0.25, "momentum": 0.5}),
    pytorch=lambda ps: torch.optim.SGD(ps, lr=0.25, momentum=0.5, nesterov=True),
)
row("Adam", steps(), within=1e-5)(
    gluon=lambda ps: gluon.Trainer(ps, "adam", {"learning_rate": 0.25}),
    pytorch=lambda ps: torch.optim.Adam(ps, lr=0.25),
)
row("Adam, gradients as small as `epsilon`", steps(scale=1e-7), within=1e-5)(
    gluon=lambda ps: gluon.Trainer(ps, "adam", {"learning_rate": 0.25}),
    pytorch=lambda ps: torch.optim.Adam(ps, lr=0.25),
    differs="`epsilon` is added to the root before the bias is corrected there",
)


@cure
def _(params: Any) -> Any:
    class Adam(torch.optim.Optimizer):
        def step(self) -> None:  # type: ignore[override]
            for p in params:
                s = self.state[p]
                s["t"] = s.get("t", 0) + 1
                s["m"] = 0.9 * s.get("m", 0) + 0.1 * p.grad
                s["v"] = 0.999 * s.get("v", 0) + 0.001 * p.grad**2
                rate = 0.25 * (1 - 0.999 ** s["t"]) ** 0.5 / (1 - 0.9 ** s["t"])
                p.data -= rate * s["m"] / (s["v"].sqrt() + 1e-8)

    return Adam(params, {})


row("Adam with weight decay", steps(), within=1e-5)(
    gluon=lambda ps: gluon.Trainer(ps, "adam", {"learning_rate": 0.25, "wd": 0.5}),
    pytorch=lambda ps: torch.optim.Adam(ps, lr=0.25, weight_decay=0.5),
)
row("Adamax", steps(), within=1e-6)(
    gluon=lambda ps: gluon.Trainer(ps, "adamax", {"learning_rate": 0.25}),
    pytorch=lambda ps: torch.optim.Adamax(ps, lr=0.25),
)
row("RMSProp, float32, its defaults", steps(dtype="float32"), within=1e-6)(
    gluon=lambda ps: gluon.Trainer(ps, "rmsprop", {"learning_rate": 0.25}),
    pytorch=lambda ps: torch.optim.RMSprop(ps, lr=0.25),
    differs="0.9 of the old mean square is kept there, 0.99 here",
    cure=lambda ps: torch.optim.RMSprop(ps, lr=0.25, alpha=0.9),
)
row("RMSProp, float32, `epsilon`", steps(dtype="float32"), within=1e-6)(
    gluon=lambda ps: gluon.Trainer(ps, "rmsprop", {"epsilon": 0.01}),
    pytorch=lambda ps: torch.optim.RMSprop(ps, lr=0.001, alpha=0.9, eps=0.01),
    differs="under the root there, beside it here",
)


@cure
def _(params: Any) -> Any:
    class RMSProp(torch.optim.Optimizer):
        def step(self) -> None:  # type: ignore[override]
            for p in params:
                n = 0.9 * self.state[p].get("n", 0) + 0.1 * p.grad**2
                p.data -= 0.001 * p.grad / (n + 0.01).sqrt()
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
    gluon=lambda ps: gluon.Trainer(ps, "adadelta", {"learning_rate": 0.25}),
    pytorch=lambda ps: torch.optim.Adadelta(ps, lr=0.25, eps=1e-5),
    differs="the learning rate is ignored there",
    cure=lambda ps: torch.optim.Adadelta(ps, lr=1.0, eps=1e-5),
)
row("AdaGrad in float64", refusal("expected float32, got float64", steps()))(
    gluon=lambda ps: gluon.Trainer(ps, "adagrad", {"learning_rate": 0.25}),
    pytorch=lambda ps: torch.optim.Adagrad(ps, lr=0.25),
    differs="refused there: its state is float32",
)


@row("clip each element of the gradient", steps())
def _(params: Any) -> Any:
    options = {"learning_rate": 0.25, "clip_gradient": 0.5}
    return gluon.Trainer(params, "sgd", options)


@pytorch
def _(params: Any) -> Any:
    sgd = torch.optim.SGD(params, lr=0.25)
    clip = torch.nn.utils.clip_grad_value_
    sgd.register_step_pre_hook(lambda *_: clip(params, 0.5))
    return sgd


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
