"""Whole nets on a device: NiN at 224 trained, and its memory against the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from d2lutils.ledger import ledger
from d2lutils.pytorch.memory import kept_bytes
from d2lutils.pytorch.nin import NiN
from d2lutils.pytorch.training import fit

__all__ = ["memory", "train"]

CLASSES, SIZE, EPOCHS = 10, 224, 10
MIB = 2**20


class _Stripes:
    """Batches of noisy stripes, whose width is their class, for some seconds a pass."""

    def __init__(self, batch: int, seconds: float, device: torch.device) -> None:
        self.batch, self.seconds, self.device = batch, seconds, device
        self.options: Any = {"device": device}
        self.options["generator"] = torch.Generator(device).manual_seed(0)
        self.steps = 0

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        end = time.monotonic() + self.seconds
        places = torch.arange(SIZE, device=self.device)
        while True:
            y = torch.randint(CLASSES, (self.batch,), **self.options)
            noise = torch.rand(self.batch, 1, SIZE, SIZE, **self.options)
            stripes = (places // (2 * y[:, None] + 2) % 2)[:, None, None]
            self.steps += 1
            yield noise + stripes - 1, y
            if time.monotonic() > end:
                return


def _net() -> NiN:
    """NiN, started He-normal and without its last ReLU, so that it learns at once."""
    torch.manual_seed(0)
    net = NiN(CLASSES, last_width=64, last_relu=False)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return net


def train(device: torch.device, seconds: float) -> dict[str, Any]:
    """NiN on images of 224x224 for some seconds, by the book's own loop.

    Batches of 64 on a card, of 8 on a CPU, made there.

    Raises:
        FloatingPointError: the loss is no longer finite.
    """
    batch = 8 if device.type == "cpu" else 64
    data = _Stripes(batch, seconds / EPOCHS, device)
    options: dict[str, Any] = {"epochs": EPOCHS, "device": device, "progress": False}
    history = fit(_net(), data, learning_rate=2**-7, **options)
    rate = data.steps * batch / history.seconds
    first, last = history.train_loss[0], history.train_loss[-1]
    right = history.train_accuracy[-1]
    return {
        "batch": batch,
        "steps": data.steps,
        "seconds": round(history.seconds, 1),
        "images_per_second": round(rate, 1),
        "loss": [round(value, 4) for value in history.train_loss],
        "accuracy": round(right, 3),
        "summary": f"{data.steps} steps of {batch} images in {history.seconds:.0f} s, "
        f"{rate:.0f} images/s, loss {first:.3f} → {last:.3f}, accuracy {right:.2f}",
    }


def memory(device: torch.device) -> dict[str, Any]:
    """What a forward pass in training keeps, against the ledger's number.

    On a card, by what the allocator has handed out, which rounds each tensor up to 512
    bytes; on a CPU by what autograd saves, as `pytorch.memory.kept_bytes` does. The
    ledger's rules are a CPU's, but for dropout's mask.
    """
    batch = 8 if device.type == "cpu" else 64
    shape, net = (batch, 1, SIZE, SIZE), NiN(CLASSES).to(device)
    said = ledger(net, (1, *shape[1:])).memory(batch_size=batch).kept
    if device.type == "cpu":
        found = kept_bytes(net, shape)
    else:  # pragma: needs-gpu
        net.train()
        net(torch.zeros(shape, device=device)).sum().backward()  # cuDNN's own memory
        net.zero_grad()
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated(device)
        y = net(torch.zeros(shape, device=device))
        torch.cuda.synchronize()
        found = torch.cuda.memory_allocated(device) - before
        del y
    return {
        "shape": list(shape),
        "measured_bytes": found,
        "ledger_bytes": said,
        "ratio": round(found / said, 4),
        "summary": f"NiN on {batch}x1x{SIZE}x{SIZE} keeps {found / MIB:.1f} MiB, the "
        f"ledger says {said / MIB:.1f}, ratio {found / said:.3f}",
    }
