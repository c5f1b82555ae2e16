"""Gluon's half on its device, in a process of its own: two frameworks' CUDA libraries
in one process, or a kernel that a card cannot run, must not end the report.

``python -m d2lutils.gpu_report.gluon cuda`` is that process.
"""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Callable
from typing import Any

import numpy as np

from d2lutils._compat import cuda11
from d2lutils.gpu_report import child

__all__ = ["run", "work"]

BOUND = 1e-10


def _blocks() -> dict[str, tuple[Callable[[], Any], tuple[int, ...]]]:
    from d2lutils.gluon.blocks import ConvChunk
    from d2lutils.gluon.condconv import CondConv2d
    from d2lutils.gluon.nin import nin_block
    from d2lutils.gluon.pyramidnet import PyramidNet
    from d2lutils.gluon.residual import ResidualChunks

    return {
        "ConvChunk": (lambda: ConvChunk(2, 8, 3, rank=2), (3, 2, 7, 6)),
        "ResidualChunks": (lambda: ResidualChunks(3, 6, 3, 2, rank=2), (3, 3, 7, 6)),
        "nin_block": (lambda: nin_block(2, 8, 3, padding=1), (3, 2, 7, 6)),
        "CondConv2d": (lambda: CondConv2d(4, 6, 3, dropout=0.0), (3, 4, 7, 6)),
        "PyramidNet": (lambda: PyramidNet(8, 12), (4, 3, 9, 8)),
    }


def _passed(net: Any, x: np.ndarray, ctx: Any) -> list[np.ndarray]:
    """Output and gradients in training, in float64."""
    from d2lutils.compat import mx

    net.collect_params().reset_ctx(ctx)
    array = mx.nd.array(x, ctx=ctx, dtype="float64")
    array.attach_grad()
    with mx.autograd.record():
        y = net(array)
        loss = (y * y).sum()
    loss.backward()
    trained = [p for p in net.collect_params().values() if p.grad_req != "null"]
    return [a.asnumpy() for a in (y, array.grad, *(p.grad(ctx) for p in trained))]


def work(kind: str) -> dict[str, Any]:
    """A kernel, the parity of some blocks with the CPU, and a training.

    Args:
        kind: "cpu" or "cuda".
    """
    from d2lutils import data
    from d2lutils.compat import mx
    from d2lutils.gluon import devices
    from d2lutils.gluon.nin import nin_small
    from d2lutils.gluon.training import fit

    why = devices.why_no_gpu()
    if kind != "cpu" and why:
        return {"summary": f"not run: {why}", "why_not": why}
    ctx = mx.cpu() if kind == "cpu" else devices.try_gpu()
    ones = mx.nd.ones((64, 64), ctx=ctx)
    if float(mx.nd.dot(ones, ones).sum().asscalar()) != 64.0**3:
        raise ArithmeticError(f"a matrix product on {ctx} is wrong")
    apart = {}
    for name, (build, shape) in _blocks().items():
        mx.random.seed(0)
        net = build()
        net.initialize(mx.init.Xavier(), ctx=mx.cpu())
        net.cast("float64")
        x = np.random.Generator(np.random.PCG64(1)).standard_normal(shape)
        here = _passed(net, x, mx.cpu())
        there = _passed(net, x, ctx)
        largest = max(float(np.abs(a).max()) for a in here)
        differences = (np.abs(a - b).max() for a, b in zip(there, here, strict=True))
        apart[name] = float(max(differences)) / largest
    train = data.digits("images")[0]
    mx.random.seed(0)
    net = nin_small()
    net.initialize(ctx=ctx)
    part = data.Split(data.resize(np.asarray(train.x), 16), train.y)
    batches = part.batches(32, shuffle=True, seed=0)
    options: dict[str, Any] = {"optimizer": "adam", "device": ctx, "progress": False}
    history = fit(net, batches, None, 3, 2**-9, **options)
    first, last = history.train_loss[0], history.train_loss[-1]
    worst = max(apart, key=lambda name: apart[name])
    result: dict[str, Any] = {
        "device": str(ctx),
        "mxnet": mx.__version__,
        "float64": {name: float(f"{d:.1e}") for name, d in apart.items()},
        "loss": [round(value, 4) for value in history.train_loss],
        "summary": f"MXNet {mx.__version__} on {ctx}: a kernel ran, {len(apart)} "
        f"blocks at most {apart[worst]:.0e} from the CPU, nin_small trained for "
        f"{history.seconds:.0f} s, loss {first:.3f} → {last:.3f}",
    }
    if not apart[worst] <= BOUND:
        result["failed"] = f"{worst} differs by {apart[worst]:.0e} from the CPU's"
    return result


def _set_up(install: bool) -> str:
    """Why MXNet cannot run on this machine's card, and what would change that."""
    card = cuda11.capability()
    why = cuda11.refusal(card, platform.system(), platform.machine())
    if why or cuda11.installed():
        return why
    if not install:
        return (
            "MXNet's CUDA build is not set up; `python -m d2lutils gpu-report "
            "--install-gluon`, or `python -m d2lutils cuda11 --install`, downloads 2.1 "
            "GB and does"
        )
    cuda11.install(card)
    return ""


def run(kind: str, install: bool = False, seconds: float = 180.0) -> dict[str, Any]:
    """`work` in its own process, after what it needs was looked for.

    Args:
        kind: "cpu" or "cuda".
        install: let MXNet's CUDA build be installed, where the card can run it.
        seconds: the process may take.

    Raises:
        RuntimeError, OSError: it was to be installed, and that failed.
    """
    if kind == "cpu":
        spec = importlib.util.find_spec("mxnet")
        there = spec is not None and spec.origin is not None
        why = "" if there else "MXNet is not installed"
    else:
        why = _set_up(install)
    if why:
        return {"summary": f"not run: {why}", "why_not": why}
    return child.ask("gluon", kind, seconds)


if __name__ == "__main__":
    child.answer(work)
