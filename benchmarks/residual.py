"""Residual chunks: what hybridizing, the fourth axis and the skip cost, as ratios."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.cases import Case
from d2lutils.compat import mx
from d2lutils.gluon import blocks as gluon_blocks
from d2lutils.gluon import residual as gluon_residual
from d2lutils.pytorch import residual as torch_residual

BATCH, CHANNELS, LENGTH = 32, 60, 256


def gluon_step(net: Any) -> Callable[[], None]:
    """Forward and backward of a Gluon net in training."""
    net.initialize()
    x = mx.nd.random.normal(shape=(BATCH, CHANNELS, LENGTH))

    def step() -> None:
        with mx.autograd.record():
            out = net(x)
        out.backward()

    return step


def torch_step(net: torch.nn.Module) -> Callable[[], None]:
    """Forward and backward of a PyTorch net in training."""
    x = torch.randn(BATCH, CHANNELS, LENGTH)
    return lambda: net(x).sum().backward()


def cases() -> list[Case]:
    """Three questions that the chapter residual_chunks raises."""
    arguments = (CHANNELS, CHANNELS, 3, 1, 3)
    imperative = gluon_residual.ResidualChunks(*arguments)
    hybrid = gluon_residual.ResidualChunks(*arguments)
    hybrid.hybridize(static_alloc=True, static_shape=True)
    plain = torch_residual.ResidualChunks(*arguments)

    # 60 channels: the library's batch norm fails for multiples of eight.
    nn = mx.gluon.nn
    chunk, naive = gluon_blocks.ConvChunk(CHANNELS, CHANNELS, 3), nn.HybridSequential()
    naive.add(
        nn.Conv1D(CHANNELS, 3, padding=1, use_bias=False, in_channels=CHANNELS),
        nn.BatchNorm(in_channels=CHANNELS),
        nn.Activation("relu"),
    )
    size = f"{BATCH}x{CHANNELS}x{LENGTH}"
    return [
        Case(
            f"a residual block of three chunks, {size}, forward and backward",
            "PyTorch",
            {
                "PyTorch": torch_step(plain),
                "Gluon, imperative": gluon_step(imperative),
                "Gluon, hybridized": gluon_step(hybrid),
            },
        ),
        Case(
            f"Gluon's batch norm in one dimension, {size}, forward and backward",
            "nn.BatchNorm as it is",
            {
                "nn.BatchNorm as it is": gluon_step(naive),
                "over a view with a fourth axis (ConvChunk)": gluon_step(chunk),
            },
        ),
        Case(
            f"what the skip costs in PyTorch, {size}, forward and backward",
            "the branch alone",
            {
                "the branch alone": torch_step(plain.branch),
                "branch, sum and ReLU": torch_step(plain),
            },
        ),
    ]
