"""Residual chunks: what hybridizing, the fourth axis and the skip cost, as ratios."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.cases import Case, gluon_array, gluon_pass, static
from d2lutils.compat import mx
from d2lutils.gluon.blocks import ConvChunk
from d2lutils.gluon.residual import ResidualChunks as GluonChunks
from d2lutils.pytorch.residual import ResidualChunks as TorchChunks

# 60 channels: the library's batch norm fails for multiples of eight.
BATCH, CHANNELS, LENGTH = 32, 60, 256


def gluon_step(net: Any) -> Callable[[], None]:
    """Forward and backward of a Gluon net in training."""
    net.initialize()
    return gluon_pass(net, [gluon_array(BATCH, CHANNELS, LENGTH, backward=False)])


def torch_step(net: torch.nn.Module) -> Callable[[], None]:
    """Forward and backward of a PyTorch net in training."""
    x = torch.randn(BATCH, CHANNELS, LENGTH)
    return lambda: net(x).sum().backward()


def plain_chunk() -> Any:
    """A ConvChunk with the library's own batch norm."""
    nn, net = mx.gluon.nn, mx.gluon.nn.HybridSequential()
    net.add(
        nn.Conv1D(CHANNELS, 3, padding=1, use_bias=False, in_channels=CHANNELS),
        nn.BatchNorm(in_channels=CHANNELS),
        nn.Activation("relu"),
    )
    return net


def cases() -> list[Case]:
    """Three questions that the chapter residual_chunks raises."""
    arguments = (CHANNELS, CHANNELS, 3, 1, 3)
    net = TorchChunks(*arguments)
    size = f"{BATCH}x{CHANNELS}x{LENGTH}, forward and backward"
    return [
        Case(
            f"a residual block of three chunks, {size}",
            "PyTorch",
            {
                "PyTorch": torch_step(net),
                "Gluon, imperative": gluon_step(GluonChunks(*arguments)),
                "Gluon, hybridized": gluon_step(static(GluonChunks(*arguments))),
            },
        ),
        Case(
            f"Gluon's batch norm in one dimension, {size}",
            "nn.BatchNorm as it is",
            {
                "nn.BatchNorm as it is": gluon_step(plain_chunk()),
                "over a view with a fourth axis (ConvChunk)": gluon_step(
                    ConvChunk(CHANNELS, CHANNELS, 3)
                ),
            },
        ),
        Case(
            f"what the skip costs in PyTorch, {size}",
            "the branch alone",
            {
                "the branch alone": torch_step(net.branch),
                "branch, sum and ReLU": torch_step(net),
            },
        ),
    ]
