"""CIFAR ResNets with plain, squeezed or conditional convolutions."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import nn

from d2lutils._arguments import (
    DropoutRate,
    Pair,
    Positive,
    checked,
    one_of,
)
from d2lutils.pytorch.condconv import CondConv2d
from d2lutils.pytorch.inputs import takes_input
from d2lutils.pytorch.shortcuts import SubsampleZeroPad
from d2lutils.pytorch.squeeze_excite import SqueezeExcite
from d2lutils.shapes import resnet_blocks

__all__ = ["ResNet", "ResNetUnit"]

UnitShortcut = Annotated[str, one_of("projection", "zeros")]


def _conv(
    in_channels: int,
    channels: int,
    stride: Any,
    num_experts: int | None,
    dropout: float,
) -> Any:
    """A 3x3 convolution without bias, plain or conditional."""
    if num_experts is None:
        return nn.Conv2d(
            in_channels, channels, 3, stride, 1, bias=False
        )
    return CondConv2d(
        in_channels,
        channels,
        3,
        stride,
        1,
        bias=False,
        num_experts=num_experts,
        dropout=dropout,
    )


@takes_input("branch")
class ResNetUnit(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., 2015, arXiv
    1512.03385, section 4.2).

    Convolution → batch norm → ReLU → convolution → batch norm, a gate
    if asked for, + shortcut → ReLU.

    Shapes: (N, in_channels, H, W) → (N, channels, ceil(H / stride),
    ceil(W / stride)).

    Args:
        in_channels: channels of the input.
        channels: channels of the output.
        stride: of the first convolution and of the shortcut, along both
            axes or a pair.
        shortcut: where the shapes differ, "projection" (a 1x1
            convolution and batch norm) or "zeros" (every stride-th
            position, zero channels behind).
        reduction: of a `SqueezeExcite` before the sum; None for none.
        num_experts: of `CondConv2d` in place of both convolutions; None
            for plain ones.
        dropout: of their routing.

    Raises:
        TypeError, ValueError: a bad argument or input, named.

    >>> unit = ResNetUnit(4, 8, stride=2)
    >>> unit(torch.zeros(1, 4, 9, 8)).shape
    torch.Size([1, 8, 5, 4])
    """

    @checked
    def __init__(
        self,
        in_channels: Positive,
        channels: Positive,
        stride: Pair = 1,
        shortcut: UnitShortcut = "projection",
        reduction: int | None = None,
        num_experts: int | None = None,
        dropout: DropoutRate = 0.2,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        form = (num_experts, dropout)
        self.branch = nn.Sequential(
            _conv(in_channels, channels, stride, *form),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            _conv(channels, channels, 1, *form),
            nn.BatchNorm2d(channels),
        )
        if reduction is not None:
            self.branch.append(SqueezeExcite(channels, reduction))
        if stride == (1, 1) and in_channels == channels:
            self.shortcut: Any = nn.Identity()
        elif shortcut == "zeros":
            self.shortcut = SubsampleZeroPad(
                in_channels, channels, stride
            )
        else:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False),
                nn.BatchNorm2d(channels),
            )
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) → (N, channels, …)."""
        return self.relu(self.branch(x) + self.shortcut(x))


@takes_input("stem")
class ResNet(nn.Module):
    """The ResNet for CIFAR (He et al., 2015, arXiv 1512.03385, section
    4.2), with gates (Hu et al., 2018) or conditional convolutions (Yang
    et al., 2019) in its blocks if asked for.

    Shapes: (N, in_channels, H, W) → (N, num_classes) logits.

    Args:
        depth: 6n + 2 layers: n blocks of width 16, 32 and 64 each.
        num_classes: outputs of the classifier.
        in_channels: channels of the images.
        shortcut, reduction, num_experts, dropout: as in `ResNetUnit`.

    Raises:
        TypeError, ValueError: a bad argument or input, named; a depth
            that does not fit, with the nearest that does.

    >>> net = ResNet(20)
    >>> net(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 10])
    """

    @checked
    def __init__(
        self,
        depth: int = 20,
        num_classes: Positive = 10,
        in_channels: Positive = 3,
        shortcut: str = "projection",
        reduction: int | None = None,
        num_experts: int | None = None,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
        )
        options = (shortcut, reduction, num_experts, dropout)
        self.blocks = nn.Sequential()
        width = 16
        for group, blocks in enumerate(resnet_blocks(depth)):
            for i in range(blocks):
                stride = 2 if group and i == 0 else 1
                channels = 16 * 2**group
                unit = ResNetUnit(width, channels, stride, *options)
                self.blocks.append(unit)
                width = channels
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, num_classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) → (N, num_classes)."""
        return self.head(self.blocks(self.stem(x)))
