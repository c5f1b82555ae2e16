"""Squeeze-and-excitation: a gate for each channel, from all of them."""

from __future__ import annotations

import torch
from torch import nn

from d2lutils import checks
from d2lutils._adapters.layers import Facts, declare
from d2lutils.pytorch.inputs import check_input

__all__ = ["SqueezeExcite"]


class SqueezeExcite(nn.Module):
    """Scale each channel by a number between 0 and 1 that the example
    chooses (Hu et al., 2018, arXiv 1709.01507, section 3).

    Mean over space → linear layer → ReLU → linear layer → sigmoid.

    Shapes: (N, channels, H, W) → the same.

    Args:
        channels: of the input.
        reduction: how many times narrower the hidden layer is.

    Raises:
        TypeError, ValueError: a bad argument, named with its value; in
            a call, an input whose shape, dtype or device does not fit.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        channels, hidden = checks.squeezed(
            "SqueezeExcite", "channels", channels, reduction
        )
        self.channels = channels
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
        check_input("SqueezeExcite", x, 2, self.channels, self.gate)
        return x * self.gate(x)[:, :, None, None]


# The gate's layers have entries of their own. Scaling is no
# multiply-add; what it makes training keep has no rule.
declare(SqueezeExcite, Facts(work=lambda layer, inputs, output: 0))
