"""Batch norm on 1-D data: what working around `!is_view` costs in Gluon."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.cases import GLUON, TORCH, Case, static
from d2lutils.compat import mx
from d2lutils.gluon import blocks as gluon_blocks

BATCH, LENGTH, FINE, FAILS = 32, 256, 60, 64

nn = mx.gluon.nn


def gluon_step(net: Any, channels: int) -> Callable[[], None]:
    """Forward and backward of a Gluon net in training."""
    return GLUON.run(static(net), [GLUON.array(BATCH, channels, LENGTH)])


def torch_step(net: torch.nn.Module, channels: int) -> Callable[[], None]:
    """Forward and backward of a PyTorch net in training."""
    return TORCH.run(net, [TORCH.array(BATCH, channels, LENGTH)])


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

    CODE = """
import sys
from benchmarks import batch_norm as b
step = b.gluon_step(b.gluon_pair(b.FAILS, {}), b.FAILS)
for _ in sys.stdin:
    step()
    b.mx.nd.waitall()
    print("done", flush=True)
"""

    def __init__(self, norm: str, settings: dict[str, str]) -> None:
        # Idle threads of one process must not turn beside the other's work.
        settings = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", **settings}
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.CODE.format(norm)],
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
    """The workaround where the plain layer works, and against the other one."""
    cured, plain = gluon_blocks._BatchNorm1D, nn.BatchNorm

    def size(channels: int) -> str:
        return f"{BATCH}x{channels}x{LENGTH}, forward and backward"

    return [
        Case(
            f"batch norm alone, {size(FAILS)}",
            "Gluon, as it is",
            {
                "Gluon, as it is": gluon_step(plain(in_channels=FAILS), FAILS),
                "Gluon, cured": gluon_step(cured(in_channels=FAILS), FAILS),
                "PyTorch": torch_step(torch.nn.BatchNorm1d(FAILS), FAILS),
            },
        ),
        Case(
            f"convolution and batch norm, {size(FINE)}",
            "Gluon, as it is",
            {
                "Gluon, as it is": gluon_step(gluon_pair(FINE, plain), FINE),
                "Gluon, cured": gluon_step(gluon_pair(FINE, cured), FINE),
                "PyTorch": torch_step(torch_pair(FINE), FINE),
            },
        ),
        Case(
            f"two cures, each in its own process, {size(FAILS)}",
            "Gluon, cured",
            {
                "Gluon, cured": Elsewhere("b.gluon_blocks._BatchNorm1D", {}),
                "MXNET_MKLDNN_ENABLED=0": Elsewhere(
                    "b.nn.BatchNorm", {"MXNET_MKLDNN_ENABLED": "0"}
                ),
            },
        ),
    ]
