"""The checks of the chapter `take_along`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from d2lutils.exercises import by_property, by_reference, require, require_same, wave


@by_property((2, 3, 1, False), (3, 1, 3, True), (4, 2, 3, False), (1, 2, 1, True))
def take_along_fold(
    answer: Any, outputs: int, inputs: int, k: int, fixed: bool
) -> None:
    """A bias and a scale that are those of the norm behind the convolution."""
    weight = wave(outputs, inputs, k, k)
    gamma, beta, mean = (wave(outputs, step=step) for step in (0.7, 2.3, 1.1))
    variance, eps = wave(outputs, step=0.3) ** 2 + 0.1, 1e-2
    got = answer(weight, gamma, beta, mean, variance, eps, fixed)
    require(
        isinstance(got, tuple) and len(got) == 2, "a weight and a bias are expected"
    )
    scale = (np.ones(outputs) if fixed else gamma) / np.sqrt(variance + eps)
    one = weight.sum(axis=(1, 2, 3))  # the response to an image of ones
    require_same(
        (one - mean) * scale + beta,
        np.asarray(got[0]).sum(axis=(1, 2, 3)) + got[1],
        "on an image of ones the folded layer is not the norm of the convolution",
    )
    require_same(weight * scale[:, None, None, None], got[0], "the weight is wrong")


def _graph(*nodes: tuple[str, str, tuple[int, ...]]) -> str:
    """A symbol's JSON: (name, operator, numbers of the nodes it reads)."""
    items = [
        {"name": n, "op": op, "inputs": [[i, 0, 0] for i in read]}
        for n, op, read in nodes
    ]
    return json.dumps({"nodes": items, "heads": [[len(items) - 1, 0, 0]]})


DATA, WEIGHT = ("data", "null", ()), ("w", "null", ())
CHAIN = (DATA, WEIGHT, ("conv", "Convolution", (0, 1)), ("relu", "Activation", (2,)))


@by_reference(
    (_graph(*CHAIN),),
    (_graph(*CHAIN, ("sum", "elemwise_add", (3, 2)), ("out", "Flatten", (4,))),),
    (_graph(*CHAIN, ("square", "elemwise_mul", (3, 3))),),
)
def take_along_edges(graph: str) -> list[tuple[str, str]]:
    """Pairs of operators, the one that is read first."""
    nodes = json.loads(graph)["nodes"]
    return [
        (nodes[i]["name"], node["name"])
        for node in nodes
        for i, *_ in node["inputs"]
        if "null" not in (node["op"], nodes[i]["op"])
    ]
