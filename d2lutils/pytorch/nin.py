"""Network in Network: a small network in every pixel."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from d2lutils._arguments import (
    Bool,
    Dimensions,
    DropoutRate,
    Pair,
    Positive,
    StemWindow,
    Widths,
    checked,
    shown,
)
from d2lutils.pytorch.inputs import takes_input
from d2lutils.shapes import (
    NIN,
    NIN_CIFAR,
    Padding,
    Window,
    smallest_size,
)

__all__ = ["CIFARNiN", "NiN", "nin_block", "nin_small"]


@checked
def nin_block(
    in_channels: Positive,
    channels: Positive,
    kernel_size: Pair,
    stride: Pair = 1,
    padding: Padding = 0,
    pointwise: Dimensions | None = None,
    last_relu: Bool = True,
) -> nn.Sequential:
    """A convolution, then 1x1 convolutions, a ReLU after each
    (Lin, Chen and Yan, 2014, arXiv 1312.4400, section 3.1: mlpconv).

    Shapes: (N, in_channels, H, W) → (N, C, H', W'), where C is the last
    of `pointwise` and the sizes follow `shapes.output_size`.

    Args:
        in_channels: channels of the input.
        channels: channels of the first convolution.
        kernel_size, stride, padding: of the first convolution, along
            both axes or a pair with that of each; padding also "same"
            for (kernel_size - 1) / 2 or "valid" for 0.
        pointwise: channels of the 1x1 convolutions; two of `channels`
            by default.
        last_relu: end in a ReLU; False leaves it out.

    Raises:
        TypeError, ValueError: a bad argument or input, named.

    >>> block = nin_block(3, 8, 5, stride=2, padding=2)
    >>> block(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 8, 16, 16])
    """
    block = nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel_size, stride, padding)
    )
    if pointwise is None:
        pointwise = (channels, channels)
    for width in pointwise:
        block.append(nn.ReLU())
        block.append(nn.Conv2d(channels, width, 1))
        channels = width
    if last_relu:
        block.append(nn.ReLU())
    return block


def _head(pool: str) -> nn.Sequential:
    """One number for each class map."""
    layer: Any = (
        nn.AdaptiveAvgPool2d(1)
        if pool == "avg"
        else nn.AdaptiveMaxPool2d(1)
    )
    return nn.Sequential(layer, nn.Flatten())


@takes_input("features", explained_by="smallest")
class NiN(nn.Module):
    """Network in Network for images of one size, 224 by default
    (the variant of Zhang et al., Dive into Deep Learning, section 8.3).

    Three NiN blocks with a 3x3 max pooling of stride 2 after each,
    dropout, a fourth block with a channel for each class, and the mean
    of each class map. As published, the last block is narrow from its
    first layer on and ends in a ReLU too, so no logit is negative, and
    a class whose map is zero gets no gradient.

    Shapes: (N, in_channels, H, W) → (N, num_classes) logits.

    Args:
        num_classes: channels of the last block.
        in_channels: channels of the images.
        widths: of the first three blocks.
        stem: kernel size, stride and padding of the first convolution;
            each may be a pair.
        dropout: share of the numbers set to zero before the last block,
            below 1 (at 1 MXNet's are not a number).
        pool: "avg" or "max" over each class map. With "max" only one
            position of each map gets a gradient: another net.
        last_width: channels of the last block before its last layer;
            num_classes by default.
        last_relu: end the last block in a ReLU; False leaves it out.

    Raises:
        TypeError, ValueError: a bad argument or input, named.

    >>> NiN()(torch.zeros(1, 1, 224, 224)).shape
    torch.Size([1, 10])
    """

    @checked
    def __init__(
        self,
        num_classes: Positive = 10,
        in_channels: Positive = 1,
        widths: Widths = (96, 256, 384),
        stem: StemWindow = (11, 4, 0),
        dropout: DropoutRate = 0.5,
        pool: Literal["avg", "max"] = "avg",
        last_width: Positive | None = None,
        last_relu: Bool = True,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        # Windows have one number where both axes have the same.
        taps, steps, pads = map(shown, stem)
        conv1 = Window(taps, steps, pads, name="conv1")
        self.windows = (conv1, *NIN[1:])
        self.smallest = smallest_size(self.windows)
        last_width = last_width or num_classes
        self.features = nn.Sequential(
            nin_block(in_channels, widths[0], *stem),
            nn.MaxPool2d(3, 2),
            nin_block(widths[0], widths[1], 5, padding=2),
            nn.MaxPool2d(3, 2),
            nin_block(widths[1], widths[2], 3, padding=1),
            nn.MaxPool2d(3, 2),
            nn.Dropout(dropout),
            nin_block(
                widths[2],
                last_width,
                3,
                padding=1,
                pointwise=(last_width, num_classes),
                last_relu=last_relu,
            ),
        )
        self.head = _head(pool)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) → (N, num_classes)."""
        return self.head(self.features(x))


def nin_small(num_classes: int = 10, in_channels: int = 1) -> NiN:
    """A NiN that a CPU can train, for images from 15 to 32 pixels wide.

    Widths 24, 48 and 64, a 3x3 stem without stride, dropout 0.25. The
    last block is wide until its last layer and has no last ReLU, and
    the weights start He-normal (He et al., 2015, arXiv 1502.01852), the
    biases at zero: without these so small a net seldom learns.

    >>> nin_small()(torch.zeros(1, 1, 28, 28)).shape
    torch.Size([1, 10])
    """
    net = NiN(
        num_classes,
        in_channels,
        widths=(24, 48, 64),
        stem=(3, 1, 1),
        dropout=0.25,
        last_width=64,
        last_relu=False,
    )
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return net


@takes_input("features", smallest="smallest")
class CIFARNiN(nn.Module):
    """Network in Network as published for CIFAR-10, 32x32 pixels
    (Lin, Chen and Yan, 2014, arXiv 1312.4400, and the authors' model).

    Blocks 192-160-96, 192-192-192 and 192-192-classes; between them a
    3x3 max and a 3x3 average pooling of stride 2 in ceil mode, each
    followed by dropout; the mean of each class map.

    Shapes: (N, in_channels, H, W) → (N, num_classes) logits.

    Args:
        num_classes: channels of the last block.
        in_channels: channels of the images.
        dropout: share of the numbers set to zero after each pooling.

    Raises:
        TypeError, ValueError: a bad argument or input, named.

    >>> CIFARNiN()(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 10])
    """

    @checked
    def __init__(
        self,
        num_classes: Positive = 10,
        in_channels: Positive = 3,
        dropout: DropoutRate = 0.5,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.windows = NIN_CIFAR
        self.smallest = smallest_size(self.windows)
        last = (192, num_classes)
        self.features = nn.Sequential(
            nin_block(in_channels, 192, 5, 1, 2, pointwise=(160, 96)),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Dropout(dropout),
            nin_block(96, 192, 5, padding=2),
            nn.AvgPool2d(3, 2, ceil_mode=True),
            nn.Dropout(dropout),
            nin_block(192, 192, 3, padding=1, pointwise=last),
        )
        self.head = _head("avg")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) → (N, num_classes)."""
        return self.head(self.features(x))
