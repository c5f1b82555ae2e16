"""The checks of the chapter `graph`."""

from __future__ import annotations

from typing import Any

import numpy as np

from d2lutils.exercises import (
    by_property,
    framework,
    require,
    require_kind,
    require_same,
    require_shape,
    wave,
)


def _block(mx: Any, answer: Any, calls: list[int]) -> Any:
    """The answer as a hybridized block that counts how often it is traced."""

    class Block(mx.gluon.HybridBlock):
        def hybrid_forward(self, F: Any, x: Any) -> Any:
            calls.append(1)
            return answer(F, x)

    block = Block()
    block.hybridize()
    return block


@by_property((2, (3, 5), 1.0), (4, (2, 6), 0.25), (3, (5, 4), 0.1), (1, (4, 2), 3.0))
def graph_rewrite(
    answer: Any, channels: int, batches: tuple[int, int], scale: float
) -> None:
    mx = framework("gluon")
    block = _block(mx, answer, [])
    for batch in batches:  # in one graph
        x = 2 * scale * wave(batch, channels)
        wanted = {
            "doubled": np.repeat(x[:, :, None], 2, axis=2),
            "centred": x - x.mean(axis=0),
            "limited": x / max(1.0, float(np.max(x))),
        }
        got = block(mx.nd.array(x))
        require_kind(got, list | tuple, "a list of three results")
        for (name, a), b in zip(wanted.items(), got, strict=True):
            require_shape(a.shape, b, f"{name}:")
            wrong = f"the values of {name} are wrong for a batch of {batch}"
            require_same(a, b, wrong, 1e-5, 1e-6)


@by_property((True, 3), (False, 4), (True, 1), (False, 20))
def graph_flag(answer: Any, first: bool, size: int) -> None:
    mx = framework("gluon")
    calls: list[int] = []
    block = _block(mx, answer, calls)
    modes = {True: "training", False: "evaluation"}
    begun = f"traced in {modes[first]}"
    for training in (first, not first, first):
        x = mx.nd.array(2 * wave(size, 2))
        x.attach_grad()
        with mx.autograd.record(train_mode=training):
            y = block(x)
        y.backward(train_mode=training)
        factor, mode = 2 if training else -1, modes[training]
        require(len(calls) == 1, f"it was traced again in {mode}")
        wrong = f"{begun}, the values in {mode} are wrong"
        require_same(factor * x, y, wrong)
        wrong = f"{begun}, the gradient in {mode} is wrong"
        require_same(np.full(x.shape, factor), x.grad, wrong)


@by_property(
    ([4, 4, 4],),
    ([4, 5, 6, 7],),
    ([4, 1, 4, 1],),
    ([1, 4, 5],),
    ([4, 5, 1, 7, 4],),
    ([2, 1, 9, 3],),
)
def graph_retraces(answer: Any, sizes: list[int]) -> None:
    torch = framework("pytorch")
    graphs = []

    def backend(graph: Any, examples: Any) -> Any:
        graphs.append(graph)
        return graph

    torch.compiler.reset()
    compiled = torch.compile(lambda x: 2 * x + 1, backend=backend)
    got = answer(list(sizes))
    for size in sizes:
        compiled(torch.ones(size, 3))
    require_same(len(graphs), got)
