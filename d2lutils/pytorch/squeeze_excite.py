"""Squeeze-and-excitation: a gate for each channel, from all of them."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import nn

from d2lutils._adapters.layer_facts import Facts, declare
from d2lutils._arguments import Positive, at_most, checked
from d2lutils.pytorch.inputs import takes_input

__all__ = ["SqueezeExcite"]


Reduction = Annotated[int, at_most("channels")]


@takes_input("gate", channels="channels")
class SqueezeExcite(nn.Module):
    """Scale each channel by a number between 0 and 1 that the example
    chooses (Hu et al., 2018, arXiv 1709.01507, section 3).

    Mean over space → linear layer → ReLU → linear layer → sigmoid.

    Shapes: (N, channels, H, W) → the same.

    Args:
        channels: of the input.
        reduction: how many times narrower the hidden layer is.

    Raises:
        TypeError, ValueError: a bad argument or input, named.

    >>> SqueezeExcite(32)(torch.ones(1, 32, 7, 7)).shape
    torch.Size([1, 32, 7, 7])
    """

    @checked
    def __init__(
        self, channels: Positive, reduction: Reduction = 16
    ) -> None:
        super().__init__()
        self.channels = channels
        hidden = channels // reduction
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, hidden),
            nn.ReLU(),
            nn.Linear(hidden, channels),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) → (N, channels, H, W)."""
        return x * self.gate(x)[:, :, None, None]


# The gate's layers have entries of their own. Scaling is no
# multiply-add; what it makes training keep has no rule.
declare(SqueezeExcite, Facts(work=lambda layer, inputs, output: 0))
