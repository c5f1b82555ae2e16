"""The checks of the chapter `batch_norm`."""

from __future__ import annotations

from typing import Any

import numpy as np

from d2lutils.exercises import (
    brief,
    by_property,
    by_reference,
    framework,
    require,
    require_same,
    wave,
)


@by_reference(
    (2 * wave(4, 3, 5, 5), np.ones(3), 0.9),
    (wave(2, 2, 1, 1, step=0.9), np.array([0.5, 2.0]), 0.5),
    (3 * wave(8, 4, step=1.1), np.ones(4), 0.97),
    (wave(3, 2, 7, step=2.3), np.array([4.0, 0.25]), 0.75),
)
def batch_norm_entry(
    x: np.ndarray, running_var: np.ndarray, momentum: float
) -> tuple[np.ndarray, np.ndarray]:
    values = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
    new = [values.var(axis=1, ddof=ddof) for ddof in (0, 1)]
    one, two = (momentum * running_var + (1 - momentum) * v for v in new)
    return one, two


@by_property((1, 0.9), (3, 0.5), (4, 0.75))
def batch_norm_renew(answer: Any, count: int, momentum: float) -> None:
    mx = framework("gluon")
    nn = mx.gluon.nn
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(3, 3, in_channels=2),
        nn.BatchNorm(in_channels=3, momentum=momentum),
        nn.Activation("relu"),
        nn.Flatten(),
        nn.Dense(2, in_units=48),
    )
    net.initialize()
    params = [p for p in net.collect_params().values() if p.grad_req != "null"]
    for number, p in enumerate(params):
        p.set_data(mx.nd.array(wave(*p.shape, step=0.7 + 0.3 * number)))
    weights = [p.data().asnumpy() for p in params]
    batches = [
        mx.nd.array(wave(5, 2, 6, 6, step=1.1 + 0.2 * i) + i) for i in range(count)
    ]
    mean, var = np.zeros(3), np.ones(3)
    for x in batches:
        y = net[0](x).asnumpy().astype("float64")
        mean = momentum * mean + (1 - momentum) * y.mean(axis=(0, 2, 3))
        var = momentum * var + (1 - momentum) * y.var(axis=(0, 2, 3))
    answer(net, batches)
    mx.nd.waitall()
    after = [p.data().asnumpy() for p in params]
    stay = all(np.array_equal(a, b) for a, b in zip(weights, after, strict=True))
    require(stay, "the weights have changed")
    norm = net[1]
    for wanted, parameter, start in (
        (mean, norm.running_mean, 0.0),
        (var, norm.running_var, 1.0),
    ):
        found = parameter.data().asnumpy()
        require((found != start).any(), "the running statistics have not moved")
        wrong = f"the running statistics are wrong, not {brief(wanted)}"
        require_same(wanted, found, wrong, 1e-4, 1e-5)
