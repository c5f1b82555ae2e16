"""The checks of the chapter `same_weights`."""

from __future__ import annotations

from typing import Any

import numpy as np

from d2lutils.exercises import (
    by_property,
    framework,
    require,
    require_same,
    wave,
)


@by_property(
    # The kind of layer, its arguments in Gluon, and the shape of its input.
    ("Dense", {"units": 5, "in_units": 3}, (2, 3)),
    ("Dense", {"units": 2, "in_units": 4, "use_bias": False}, (3, 4)),
    ("BatchNorm", {"in_channels": 6, "epsilon": 2**-6}, (2, 6, 3, 3)),
    ("Conv2D", {"channels": 4, "kernel_size": 3, "in_channels": 2}, (1, 2, 5, 5)),
    ("Conv1D", {"channels": 5, "kernel_size": 2, "in_channels": 5}, (2, 5, 4)),
)
def same_weights_copy(
    answer: Any, kind: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    mx, torch = framework("gluon"), framework("pytorch")
    nn = torch.nn
    source = getattr(mx.gluon.nn, kind)(**options)
    source.initialize()
    for number, (name, p) in enumerate(source._collect_params_with_prefix().items()):
        values = wave(*p.shape, step=1.3 + 0.4 * number)
        if name == "running_var":
            values = 0.5 + values**2
        p.set_data(mx.nd.array(values))
    if kind == "Dense":
        target = nn.Linear(
            options["in_units"], options["units"], bias=options.get("use_bias", True)
        )
    elif kind == "BatchNorm":
        target = nn.BatchNorm2d(options["in_channels"], eps=options["epsilon"])
    else:
        target = getattr(nn, kind.replace("D", "d"))(
            options["in_channels"], options["channels"], options["kernel_size"]
        )
    known = {id(p) for p in target.parameters() if p.requires_grad}
    target.eval()
    answer(source, target)
    after = {id(p) for p in target.parameters() if p.requires_grad}
    stay = after == known
    require(stay, "the target's trainable parameters are no longer those it had")
    x = np.cos(np.arange(np.prod(shape), dtype="float32")).reshape(shape)
    with torch.no_grad():
        got = target(torch.as_tensor(x))
    wrong = "the outputs in evaluation differ"
    require_same(source(mx.nd.array(x)), got, wrong, 1e-4, 1e-5)


@by_property(
    # A net as nested lists of (units, flatten) or "relu", and the shape of its input.
    ([(4, False), "relu", (3, True)], (2, 5, 3)),
    ([(4, True), "relu", (3, True)], (2, 6)),
    ([[(4, False), (4, True)], "relu", (2, True)], (3, 2, 2, 2)),
    ([(4, False), [(3, False), "relu"], (2, False)], (2, 3, 4)),
    ([["relu", (3, False)], [[(5, True)], (3, True)]], (2, 1, 4)),
)
def same_weights_flatten(
    answer: Any, layers: list[Any], shape: tuple[int, ...]
) -> None:
    mx = framework("gluon")
    nn = mx.gluon.nn
    expected = []

    def build(parts: list[Any], path: str, axes: int) -> tuple[Any, int]:
        net = nn.HybridSequential()
        for number, part in enumerate(parts):
            at = f"{path}{number}"
            if isinstance(part, list):
                child, axes = build(part, f"{at}.", axes)
            elif part == "relu":
                child = nn.Activation("relu")
            else:
                child = nn.Dense(part[0], flatten=part[1])
                if part[1] and axes > 2:
                    expected.append(at)
                axes = 2 if part[1] else axes
            net.add(child)
        return net, axes

    net, _ = build(layers, "", len(shape))
    net.initialize()
    got = answer(net, mx.nd.ones(shape))
    require_same(sorted(expected), got)
