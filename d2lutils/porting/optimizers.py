"""Rows: optimisers and schedules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.optim import lr_scheduler as schedule

from d2lutils.compat import mx
from d2lutils.porting import Judge, Row, refusal, values

__all__ = ["ROWS"]

nd: Any = mx.nd
gluon: Any = mx.gluon
lr: Any = mx.lr_scheduler


def steps(
    number: int = 6,
    *,
    scale: float = 1.0,
    batch: int = 1,
    dtype: str = "float64",
    rate: Callable[[int], float] | None = None,
) -> Judge:
    """A parameter along some steps, each framework with its own update.

    Args:
        number: of steps.
        scale: of the gradients, which are the same fixed random ones for both.
        batch: the argument of Gluon's `step`; PyTorch has none.
        dtype: of the parameter and its gradient.
        rate: the learning rate of each step, if it is set.
    """

    def judge(gluon_spelling: Any, pytorch_spelling: Any) -> float:
        generator = np.random.Generator(np.random.PCG64(0))
        start = generator.standard_normal(5).astype(dtype)
        gradients = (scale * generator.standard_normal((number, 5))).astype(dtype)
        theirs = torch.nn.Parameter(torch.tensor(start))
        ours = gluon.Parameter("weight", shape=(5,), dtype=dtype)
        ours.initialize(init=mx.init.Zero())
        ours.set_data(nd.array(start, dtype=dtype))
        trainer, optimizer = gluon_spelling([ours]), pytorch_spelling([theirs])
        worst = 0.0
        for i, gradient in enumerate(gradients):
            if rate is not None:
                trainer.set_learning_rate(rate(i))
                for group in optimizer.param_groups:
                    group["lr"] = rate(i)
            with mx.autograd.record():
                loss = (ours.data() * nd.array(gradient, dtype=dtype)).sum()
            loss.backward()
            theirs.grad = torch.tensor(gradient)
            trainer.step(batch)
            optimizer.step()
            one, two = ours.data().asnumpy(), theirs.detach().numpy()
            worst = max(worst, float(np.abs(one - two).max()))
        return worst

    return judge


def schedules(updates: int = 14) -> Judge:
    """The learning rates of some updates, PyTorch's stepped after each of them."""

    def judge(gluon_spelling: Any, pytorch_spelling: Any) -> float:
        ours = gluon_spelling()
        parameter = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([parameter], lr=1.0)
        theirs = pytorch_spelling(optimizer)
        worst = 0.0
        for update in range(1, updates + 1):
            rate = optimizer.param_groups[0]["lr"]
            worst = max(worst, abs(ours(update) - rate))
            optimizer.step()
            theirs.step()
        return worst

    return judge


def gluon_clip_norm() -> Any:
    gradients = [nd.array([3.0, 0.0]), nd.array([4.0])]
    gluon.utils.clip_global_norm(gradients, 1.0)
    return gradients


def pytorch_clip_norm() -> Any:
    parameters = [
        torch.nn.Parameter(torch.zeros(2)),
        torch.nn.Parameter(torch.zeros(1)),
    ]
    for p, g in zip(parameters, ([3.0, 0.0], [4.0]), strict=True):
        p.grad = torch.tensor(g)
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    return [p.grad for p in parameters]


def gluon_multipliers(params: Any) -> Any:
    params[0].lr_mult, params[0].wd_mult = 0.5, 0.0
    return gluon.Trainer(params, "sgd", {"learning_rate": 0.25, "wd": 0.125})


def pytorch_groups(params: Any) -> Any:
    group = {"params": params, "lr": 0.25 * 0.5, "weight_decay": 0.0}
    return torch.optim.SGD([group], lr=0.25, weight_decay=0.125)


def momentum_with_the_rate(params: Any) -> Any:
    class SGD(torch.optim.Optimizer):
        def step(self) -> None:  # type: ignore[override]
            rate = self.param_groups[0]["lr"]
            for p in params:
                v = 0.5 * self.state[p].get("v", 0) - rate * p.grad
                p.data += v
                self.state[p]["v"] = v

    return SGD(params, {"lr": 0.25})


def gluon_clipped(params: Any) -> Any:
    options = {"learning_rate": 0.25, "clip_gradient": 0.5}
    return gluon.Trainer(params, "sgd", options)


def pytorch_clipped(params: Any) -> Any:
    sgd = torch.optim.SGD(params, lr=0.25)
    clip = torch.nn.utils.clip_grad_value_
    sgd.register_step_pre_hook(lambda *_: clip(params, 0.5))
    return sgd


def shifted_poly(optimizer: Any) -> Any:
    def share(t: int) -> float:
        return (1 - min(t + 1, 10) / 10) ** 2

    return schedule.LambdaLR(optimizer, share)


def shifted_cosine(optimizer: Any) -> Any:
    def share(t: int) -> float:
        return (1 + np.cos(np.pi * min(t + 1, 10) / 10)) / 2

    return schedule.LambdaLR(optimizer, share)


def gluon_warmed() -> Any:
    return lr.FactorScheduler(6, 0.5, base_lr=1.0, warmup_steps=4)


def pytorch_warmed(o: Any) -> Any:
    warm = schedule.LinearLR(o, 1 / 4, total_iters=3)
    return schedule.ChainedScheduler([warm, schedule.StepLR(o, 6, 0.5)])


def gluon_set_rate(params: Any) -> Any:
    trainer = gluon.Trainer(params, "sgd", {"learning_rate": 1.0})
    trainer.set_learning_rate(0.25)
    return trainer


def pytorch_set_rate(params: Any) -> Any:
    sgd = torch.optim.SGD(params, lr=1.0)
    for group in sgd.param_groups:
        group["lr"] = 0.25
    return sgd


def adam_before_correction(params: Any) -> Any:
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


def rmsprop_inside(params: Any) -> Any:
    class RMSProp(torch.optim.Optimizer):
        def step(self) -> None:  # type: ignore[override]
            for p in params:
                n = 0.9 * self.state[p].get("n", 0) + 0.1 * p.grad**2
                p.data -= 0.001 * p.grad / (n + 0.01).sqrt()
                self.state[p]["n"] = n

    return RMSProp(params, {})


def adagrad_decayed(params: Any) -> Any:
    adagrad = torch.optim.Adagrad(params, lr=0.25)

    def decay(*_: Any) -> None:
        for p in params:
            p.data *= 1 - 0.25 * 0.5

    adagrad.register_step_pre_hook(decay)
    return adagrad


ROWS = [
    Row(
        "gradient descent",
        gluon=lambda ps: gluon.Trainer(ps, "sgd", {"learning_rate": 0.25}),
        pytorch=lambda ps: torch.optim.SGD(ps, lr=0.25),
        judge=steps(),
    ),
    Row(
        "`step`",
        gluon=lambda ps: gluon.Trainer(ps, "sgd", {"learning_rate": 0.25}),
        pytorch=lambda ps: torch.optim.SGD(ps, lr=0.25),
        judge=steps(batch=4),
        differs="`trainer.step(4)` divides the gradient by 4, `optimizer.step()` not",
        cure=lambda ps: torch.optim.SGD(ps, lr=0.25 / 4),
    ),
    Row(
        "weight decay",
        gluon=lambda ps: gluon.Trainer(ps, "sgd", {"learning_rate": 0.25, "wd": 0.125}),
        pytorch=lambda ps: torch.optim.SGD(ps, lr=0.25, weight_decay=0.125),
        judge=steps(),
    ),
    Row(
        "momentum",
        gluon=lambda ps: gluon.Trainer(
            ps, "sgd", {"learning_rate": 0.25, "momentum": 0.5}
        ),
        pytorch=lambda ps: torch.optim.SGD(ps, lr=0.25, momentum=0.5),
        judge=steps(),
    ),
    Row(
        "momentum, once the learning rate changes",
        gluon=lambda ps: gluon.Trainer(
            ps, "sgd", {"learning_rate": 0.25, "momentum": 0.5}
        ),
        pytorch=lambda ps: torch.optim.SGD(ps, lr=0.25, momentum=0.5),
        judge=steps(rate=lambda i: 0.25 / 2 ** (i // 3)),
        differs="the velocity holds the rates of its time there, only gradients here",
        cure=momentum_with_the_rate,
    ),
    Row(
        "Nesterov's momentum",
        gluon=lambda ps: gluon.Trainer(
            ps, "nag", {"learning_rate": 0.25, "momentum": 0.5}
        ),
        pytorch=lambda ps: torch.optim.SGD(ps, lr=0.25, momentum=0.5, nesterov=True),
        judge=steps(),
    ),
    Row(
        "Adam",
        gluon=lambda ps: gluon.Trainer(ps, "adam", {"learning_rate": 0.25}),
        pytorch=lambda ps: torch.optim.Adam(ps, lr=0.25),
        judge=steps(),
        within=1e-5,
    ),
    Row(
        "Adam, gradients as small as `epsilon`",
        gluon=lambda ps: gluon.Trainer(ps, "adam", {"learning_rate": 0.25}),
        pytorch=lambda ps: torch.optim.Adam(ps, lr=0.25),
        judge=steps(scale=1e-7),
        differs="`epsilon` is added to the root before the bias is corrected there",
        cure=adam_before_correction,
        within=1e-5,
    ),
    Row(
        "Adam with weight decay",
        gluon=lambda ps: gluon.Trainer(ps, "adam", {"learning_rate": 0.25, "wd": 0.5}),
        pytorch=lambda ps: torch.optim.Adam(ps, lr=0.25, weight_decay=0.5),
        judge=steps(),
        within=1e-5,
    ),
    Row(
        "Adamax",
        gluon=lambda ps: gluon.Trainer(ps, "adamax", {"learning_rate": 0.25}),
        pytorch=lambda ps: torch.optim.Adamax(ps, lr=0.25),
        judge=steps(),
        within=1e-6,
    ),
    Row(
        "RMSProp, float32, its defaults",
        gluon=lambda ps: gluon.Trainer(ps, "rmsprop", {"learning_rate": 0.25}),
        pytorch=lambda ps: torch.optim.RMSprop(ps, lr=0.25),
        judge=steps(dtype="float32"),
        differs="0.9 of the old mean square is kept there, 0.99 here",
        cure=lambda ps: torch.optim.RMSprop(ps, lr=0.25, alpha=0.9),
        within=1e-6,
    ),
    Row(
        "RMSProp, float32, `epsilon`",
        gluon=lambda ps: gluon.Trainer(ps, "rmsprop", {"epsilon": 0.01}),
        pytorch=lambda ps: torch.optim.RMSprop(ps, lr=0.001, alpha=0.9, eps=0.01),
        judge=steps(dtype="float32"),
        differs="under the root there, beside it here",
        cure=rmsprop_inside,
        within=1e-6,
    ),
    Row(
        "AdaGrad, float32",
        gluon=lambda ps: gluon.Trainer(ps, "adagrad", {"learning_rate": 0.25}),
        pytorch=lambda ps: torch.optim.Adagrad(ps, lr=0.25),
        judge=steps(dtype="float32"),
        within=1e-6,
    ),
    Row(
        "AdaGrad, float32, weight decay",
        gluon=lambda ps: gluon.Trainer(
            ps, "adagrad", {"learning_rate": 0.25, "wd": 0.5}
        ),
        pytorch=lambda ps: torch.optim.Adagrad(ps, lr=0.25, weight_decay=0.5),
        judge=steps(dtype="float32"),
        differs="not part of the gradient there: it stays out of the sum of squares",
        cure=adagrad_decayed,
        within=1e-6,
    ),
    Row(
        "AdaDelta, float32",
        gluon=lambda ps: gluon.Trainer(ps, "adadelta", {"learning_rate": 0.25}),
        pytorch=lambda ps: torch.optim.Adadelta(ps, lr=0.25, eps=1e-5),
        judge=steps(dtype="float32"),
        differs="the learning rate is ignored there",
        cure=lambda ps: torch.optim.Adadelta(ps, lr=1.0, eps=1e-5),
        within=1e-6,
    ),
    Row(
        "AdaGrad in float64",
        gluon=lambda ps: gluon.Trainer(ps, "adagrad", {"learning_rate": 0.25}),
        pytorch=lambda ps: torch.optim.Adagrad(ps, lr=0.25),
        judge=refusal("expected float32, got float64", steps()),
        differs="refused there: its state is float32",
    ),
    Row(
        "clip each element of the gradient",
        gluon=gluon_clipped,
        pytorch=pytorch_clipped,
        judge=steps(),
    ),
    Row(
        "clip the norm of all gradients",
        gluon=gluon_clip_norm,
        pytorch=pytorch_clip_norm,
        judge=values(),
        within=1e-6,
    ),
    Row(
        "rate and decay of one parameter",
        gluon=gluon_multipliers,
        pytorch=pytorch_groups,
        judge=steps(),
    ),
    Row(
        "set the learning rate",
        gluon=gluon_set_rate,
        pytorch=pytorch_set_rate,
        judge=steps(),
    ),
    Row(
        "schedule: a factor every few updates",
        gluon=lambda: lr.FactorScheduler(4, 0.5, base_lr=1.0),
        pytorch=lambda o: schedule.StepLR(o, 4, 0.5),
        judge=schedules(),
    ),
    Row(
        "schedule: a factor after given updates",
        gluon=lambda: lr.MultiFactorScheduler([4, 9], 0.5, base_lr=1.0),
        pytorch=lambda o: schedule.MultiStepLR(o, [4, 9], 0.5),
        judge=schedules(),
    ),
    Row(
        "schedule: polynomial",
        gluon=lambda: lr.PolyScheduler(10, 1.0, pwr=2),
        pytorch=lambda o: schedule.PolynomialLR(o, 10, 2),
        judge=schedules(),
        differs="the first update counts as 1 there, as 0 here",
        cure=shifted_poly,
    ),
    Row(
        "schedule: cosine",
        gluon=lambda: lr.CosineScheduler(10, 1.0),
        pytorch=lambda o: schedule.CosineAnnealingLR(o, 10),
        judge=schedules(),
        differs="as for the polynomial; and here the rate rises again afterwards",
        cure=shifted_cosine,
    ),
    Row(
        "schedule: warm-up first",
        gluon=gluon_warmed,
        pytorch=pytorch_warmed,
        judge=schedules(),
    ),
]
