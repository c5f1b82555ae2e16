"""The checks of the chapter `zero_padded_shortcuts`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from d2lutils.exercises import (
    by_property,
    by_reference,
    framework,
    plain,
    require,
    require_kind,
    require_same,
    require_shape,
    same,
    wave,
)


@by_property((6, 4, (6, 5)), (3, 13, (4, 4)), (12, 4, (7,)), (1, 1, (3,)))
def zero_padded_own_way(
    answer: Any, channels: int, extra: int, space: tuple[int, ...]
) -> None:
    mx = framework("gluon")
    F = mx.sym
    traced = answer(F, F.var("x"), F.var("identity"), channels, extra)
    require_kind(traced, F.Symbol, "for Symbols a Symbol")
    for node in json.loads(traced.tojson())["nodes"]:
        forbidden = node["op"].strip("_").lower() in ("pad", "concat", "stack")
        require(not forbidden, f"there is a {node['op']!r} in the graph")
    hybrid: Any = mx.gluon.HybridBlock

    class Sum(hybrid):
        def hybrid_forward(self, F: Any, x: Any, identity: Any) -> Any:
            return answer(F, x, identity, channels, extra)

    for mode in ("imperative", "hybridized"):
        net = Sum()
        net.hybridize(mode == "hybridized")
        for n in (4, 3, 1):
            where = f"({mode}, a batch of {n})"
            shape = (n, channels + extra, *space)
            x, grad = wave(*shape), wave(*shape, step=1.1)
            identity = wave(n, channels, *space, step=0.7)
            if n == 3 and channels > 1:
                identity[0, 0] = np.nan
            a, b = mx.nd.array(x), mx.nd.array(identity)
            a.attach_grad()
            b.attach_grad()
            with mx.autograd.record():
                out = net(a, b)
            out.backward(mx.nd.array(grad))
            expected = x.copy()
            expected[:, :channels] += identity
            require_shape(shape, out, where)
            sound = np.isfinite(out.asnumpy()) == np.isfinite(expected)
            why = "are wrong" if sound.all() else "have NaNs that spread"
            require_same(expected, out, f"the values {why} {where}", 1e-4, 1e-5)
            for name, got, wanted in (
                ("x", a.grad, grad),
                ("identity", b.grad, grad[:, :channels]),
            ):
                wrong = f"the gradient of {name} is wrong {where}"
                require_same(wanted, got, wrong, 1e-4, 1e-5)


@by_reference(
    (wave(2, 5, 3, 3), 3, 6, 6),
    (wave(1, 7, 3, 2), 2, 5, 4),
    (wave(3, 4, 4, 5), 4, 7, 9),
)
def zero_padded_gradient(
    grad: np.ndarray, in_channels: int, height: int, width: int
) -> np.ndarray:
    def entries(size: int) -> np.ndarray:
        """For each position, the number of positions in its window."""
        return np.minimum(2, size - np.arange(size) // 2 * 2)

    spread = grad[:, :in_channels].repeat(2, axis=2).repeat(2, axis=3)
    shared = np.outer(entries(height), entries(width))
    gradient: np.ndarray = spread[:, :, :height, :width] / shared
    return gradient


@by_property((2, 3, 1, 4), (3, 5, 3, 2), (4, 4, 7, 3))
def zero_padded_front(
    answer: Any, inner: int, channels: int, extra: int, out: int
) -> None:
    def convolve(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        view: Any = np.lib.stride_tricks.sliding_window_view
        windows = view(x, (3, 3), axis=(2, 3))
        result: np.ndarray = np.einsum("nchwij,ocij->nohw", windows, weight)
        return result

    def net(last: np.ndarray, following: np.ndarray, front: bool) -> np.ndarray:
        pads = [(0, 0), (extra, 0) if front else (0, extra), (0, 0), (0, 0)]
        return convolve(convolve(x, last) + np.pad(identity, pads), following)

    x = wave(2, inner, 8, 7)
    identity = wave(2, channels, 6, 5, step=0.7)
    last = wave(channels + extra, inner, 3, 3, step=1.1)
    following = wave(out, channels + extra, 3, 3, step=2.3)
    got = answer(last.copy(), following.copy(), extra)
    require_kind(got, tuple | list, "a pair of weights")
    moved = [np.asarray(plain(weight)) for weight in got]
    for name, before, after in zip(
        ("last", "following"), (last, following), moved, strict=True
    ):
        require_shape(before.shape, after, f"{name}:")
    right = same(net(last, following, False), net(moved[0], moved[1], True))
    moves = right or not same(last, moved[0])
    require(moves, "the output differs: the branch's channels have to move, too")
    require(right, "the output of the net with zeros in front is not the same")
