"""Squeeze-and-excitation: a gate for each channel, from all of them."""

from __future__ import annotations

from typing import Annotated, Any

from d2lutils._adapters.layer_facts import Facts, declare
from d2lutils._arguments import Positive, at_most, checked
from d2lutils.compat import mx
from d2lutils.gluon.inputs import operators, takes_input

__all__ = ["SqueezeExcite"]

nn: Any = mx.gluon.nn


Reduction = Annotated[int, at_most("channels")]


@takes_input("gate", channels="channels")
class SqueezeExcite(nn.HybridBlock):
    """Scale each channel by a number between 0 and 1 that the example
    chooses (Hu et al., 2018, arXiv 1709.01507, section 3).

    Mean over space → linear layer → ReLU → linear layer → sigmoid.

    Shapes: (N, channels, H, W) → the same.

    Args:
        channels: of the input.
        reduction: how many times narrower the hidden layer is.

    Raises:
        TypeError, ValueError: a bad argument or input, named.

    >>> block = SqueezeExcite(32)
    >>> block.initialize()
    >>> block(mx.nd.ones((1, 32, 7, 7))).shape
    (1, 32, 7, 7)
    """

    @checked
    def __init__(
        self, channels: Positive, reduction: Reduction = 16
    ) -> None:
        super().__init__()
        self.channels = channels
        hidden = channels // reduction
        self.gate = nn.HybridSequential()
        self.gate.add(
            nn.GlobalAvgPool2D(),
            nn.Flatten(),
            nn.Dense(hidden, in_units=channels),
            nn.Activation("relu"),
            nn.Dense(channels, in_units=hidden),
            nn.Activation("sigmoid"),
        )

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """(N, channels, H, W) → (N, channels, H, W)."""
        F = operators(x)
        gate = F.reshape(self.gate(x), (0, 0, 1, 1))
        return F.broadcast_mul(x, gate)


# The gate's layers have entries of their own. Scaling is no
# multiply-add; what it makes training keep has no rule.
declare(SqueezeExcite, Facts(work=lambda layer, inputs, output: 0))
