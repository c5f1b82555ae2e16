"""Batch norm on 1-D data: what Gluon's cure of `!is_view` costs, in several ways."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.cases import Case
from d2lutils.compat import mx
from d2lutils.gluon import blocks as gluon_blocks
from d2lutils.pytorch.devices import try_gpu

BATCH, LENGTH, FINE, FAILS = 32, 256, 60, 64

nn = mx.gluon.nn


def gluon_step(net: Any, shape: tuple[int, ...]) -> Callable[[], None]:
    """Forward and backward of a Gluon net in training."""
    net.initialize()
    net.hybridize(static_alloc=True, static_shape=True)
    x = mx.nd.random.normal(shape=shape)
    x.attach_grad()

    def step() -> None:
        with mx.autograd.record():
            out = net(x)
        out.backward()

    return step


def torch_step(net: torch.nn.Module, shape: tuple[int, ...]) -> Callable[[], None]:
    """Forward and backward of a PyTorch net in training, on the GPU if there is one."""
    net = net.to(try_gpu())
    x = torch.randn(shape, device=try_gpu(), requires_grad=True)
    return lambda: net(x).sum().backward()


def gluon_pair(channels: int, norm: Any) -> Any:
    """Convolution → batch norm in one dimension."""
    net = nn.HybridSequential()
    options = {"padding": 1, "use_bias": False, "in_channels": channels}
    net.add(nn.Conv1D(channels, 3, **options), norm(in_channels=channels))
    return net


def torch_pair(channels: int) -> torch.nn.Module:
    """Convolution → batch norm in one dimension."""
    conv = torch.nn.Conv1d(channels, channels, 3, padding=1, bias=False)
    return torch.nn.Sequential(conv, torch.nn.BatchNorm1d(channels))


class Elsewhere:
    """A step in a process of its own: MXNet reads its settings when it is loaded."""

    def __init__(self, norm: str, settings: dict[str, str]) -> None:
        code = f"""
            import sys
            from benchmarks import batch_norm as b
            from d2lutils.gluon import blocks
            net = b.gluon_pair(b.FAILS, {norm})
            step = b.gluon_step(net, (b.BATCH, b.FAILS, b.LENGTH))
            for _ in sys.stdin:
                step()
                b.mx.nd.waitall()
                print("done", flush=True)
        """
        # Idle threads of one process must not turn beside the other's work.
        settings = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", **settings}
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=settings,
            text=True,
        )

    def __call__(self) -> None:
        """One step there, until it is done."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != "done\n":
            raise RuntimeError("batch_norm: the other process has ended")


def cases() -> list[Case]:
    """The cure where the plain layer works, and against the other cure."""
    cured = gluon_blocks._BatchNorm1D
    alone, fine, fails = (
        (BATCH, channels, LENGTH) for channels in (FAILS, FINE, FAILS)
    )

    def size(shape: tuple[int, ...]) -> str:
        return "x".join(map(str, shape)) + ", forward and backward"

    return [
        Case(
            f"batch norm alone, {size(alone)}",
            "Gluon, as it is",
            {
                "Gluon, as it is": gluon_step(nn.BatchNorm(in_channels=FAILS), alone),
                "Gluon, cured": gluon_step(cured(in_channels=FAILS), alone),
                "PyTorch": torch_step(torch.nn.BatchNorm1d(FAILS), alone),
            },
        ),
        Case(
            f"convolution and batch norm, {size(fine)}",
            "Gluon, as it is",
            {
                "Gluon, as it is": gluon_step(gluon_pair(FINE, nn.BatchNorm), fine),
                "Gluon, cured": gluon_step(gluon_pair(FINE, cured), fine),
                "PyTorch": torch_step(torch_pair(FINE), fine),
            },
        ),
        Case(
            f"two cures, each in its own process, {size(fails)}",
            "Gluon, cured",
            {
                "Gluon, cured": Elsewhere("blocks._BatchNorm1D", {}),
                "MXNET_MKLDNN_ENABLED=0": Elsewhere(
                    "b.nn.BatchNorm", {"MXNET_MKLDNN_ENABLED": "0"}
                ),
            },
        ),
    ]
