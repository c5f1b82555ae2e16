"""PyramidNet: a residual network that widens in every block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from d2lutils._arguments import (
    HalvingStride,
    Positive,
    Probability,
    checked,
)
from d2lutils.compat import mx
from d2lutils.gluon.inputs import takes_input
from d2lutils.gluon.stochastic_depth import (
    StochasticDepth,
    _deciding,
    _Exported,
)
from d2lutils.shapes import (
    Block,
    BlockWidth,
    Mode,
    block_channels,
    drop_probs,
    pyramid_blocks,
    pyramid_widths,
)

__all__ = ["PyramidNet", "PyramidUnit"]

nn: Any = mx.gluon.nn


def _conv(
    in_channels: int, channels: int, kernel_size: int, stride: Any = 1
) -> Any:
    """A convolution without bias that keeps the size at stride 1."""
    return nn.Conv2D(
        channels,
        kernel_size,
        strides=stride,
        padding=kernel_size // 2,
        use_bias=False,
        in_channels=in_channels,
    )


def _norm(channels: int) -> Any:
    return nn.BatchNorm(in_channels=channels)


def _relu() -> Any:
    return nn.Activation("relu")


def _branch(
    in_channels: int, width: int, stride: Any, block: str
) -> Any:
    """Norms around the convolutions, a ReLU before all but the first
    (figure 6d of the paper)."""
    layers = [_norm(in_channels)]
    if block == "basic":
        layers += [
            _conv(in_channels, width, 3, stride),
            _norm(width),
            _relu(),
            _conv(width, width, 3),
            _norm(width),
        ]
    else:
        layers += [
            _conv(in_channels, width, 1),
            _norm(width),
            _relu(),
            _conv(width, width, 3, stride),
            _norm(width),
            _relu(),
            _conv(width, 4 * width, 1),
            _norm(4 * width),
        ]
    branch = nn.HybridSequential()
    branch.add(*layers)
    return branch


@takes_input("sum.branch", smallest="stride")
class PyramidUnit(_Exported):
    """One block: branch + zero-padded shortcut, no ReLU after the sum
    (Han et al., 2017, arXiv 1610.02915, sections 3.2 and 3.3).

    Where it strides, the shortcut is an average pooling of 2 in ceil
    mode. Channels that the branch adds have zeros as their identity.

    Shapes: (N, in_channels, H, W) → (N, C, ceil(H / stride),
    ceil(W / stride)) with C = width, or 4 * width for a bottleneck.

    Args:
        in_channels: channels of the input, at most C.
        width: channels inside the block.
        stride: 1 or 2, along both axes or a pair.
        block: "basic" or "bottleneck".
        drop_prob: of the branch, in training; see `StochasticDepth`.
        drop_mode: "batch", "row" or "gather".
        add: how the sum is made; see `StochasticDepth`.

    Raises:
        TypeError, ValueError: a bad argument or input, named.

    >>> unit = PyramidUnit(4, 6, stride=2)
    >>> unit.initialize()
    >>> unit(mx.nd.zeros((1, 4, 9, 8))).shape
    (1, 6, 5, 4)
    """

    @checked
    def __init__(
        self,
        in_channels: Positive,
        width: BlockWidth,
        stride: HalvingStride = 1,
        block: Block = "basic",
        drop_prob: float = 0.0,
        drop_mode: str = "batch",
        add: Callable[[Any, Any, int], Any] | None = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.stride = in_channels, stride
        self.channels = block_channels(width, block)
        self.pool = None
        if 2 in stride:
            self.pool = nn.AvgPool2D(stride, stride, ceil_mode=True)
        self.sum = StochasticDepth(
            _branch(in_channels, width, stride, block),
            drop_prob,
            drop_mode,
            self.channels - in_channels,
            add,
        )

    def hybridize(self, active: bool = True, **options: Any) -> None:
        # A graph would freeze the decisions of modes "batch" and
        # "gather": only the branch, which lies below, becomes one.
        super().hybridize(active, **options)
        if _deciding(self):
            self._active = False

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """(N, in_channels, H, W) → (N, channels, …)."""
        identity = x if self.pool is None else self.pool(x)
        return self.sum(x, identity)


@takes_input("stem", explained_by="smallest")
class PyramidNet(_Exported):
    """PyramidNet (Han et al., 2017, arXiv 1610.02915).

    Stem, blocks that each widen a little, batch norm, ReLU, global
    average pooling, classifier. Block k of N has the width that
    `d2lutils.shapes.pyramid_widths` gives, and survives a training step
    with probability 1 - drop_prob * k / N.

    With drop_prob > 0 and drop_mode "batch" or "gather", `hybridize`
    turns the branches into graphs and leaves the decisions to Python;
    `export` keeps every branch, as evaluation does.

    Shapes: (N, in_channels, H, W) → (N, num_classes) logits.

    Args:
        depth: layers with weights, as in `shapes.pyramid_blocks`.
        alpha: channels added by the whole net, or the factor that it
            widens by.
        num_classes: outputs of the classifier.
        in_channels: channels of the images.
        block: "basic" or "bottleneck".
        widening: "additive" or "multiplicative".
        stem: "cifar" (one 3x3 convolution, width 16) or "imagenet"
            (7x7 with stride 2, then 3x3 max pooling, width 64).
        drop_prob: of the last block's branch; see `StochasticDepth`.
        drop_mode: "batch", "row" or "gather".
        add: how the sums are made; see `StochasticDepth`.

    Raises:
        TypeError, ValueError: a bad argument or input, named; a depth
            that does not fit, with the nearest that does.

    >>> net = PyramidNet(20, alpha=48)
    >>> net.initialize()
    >>> net(mx.nd.zeros((1, 3, 32, 32))).shape
    (1, 10)
    """

    @checked
    def __init__(
        self,
        depth: int,
        alpha: float,
        num_classes: Positive = 10,
        in_channels: Positive = 3,
        block: str = "basic",
        widening: str = "additive",
        stem: str = "cifar",
        drop_prob: Probability = 0.0,
        drop_mode: Mode = "batch",
        add: Callable[[Any, Any, int], Any] | None = None,
    ) -> None:
        super().__init__()
        groups = pyramid_blocks(depth, block, stem)
        width = 16 if stem == "cifar" else 64
        options = (block, widening, width, stem)
        widths = pyramid_widths(depth, alpha, *options)
        self.in_channels = in_channels
        # Leaves two positions for the last shortcut that pools.
        self.smallest = 3 if stem == "cifar" else 17

        self.stem = nn.HybridSequential()
        if stem == "cifar":
            self.stem.add(_conv(in_channels, width, 3), _norm(width))
        else:
            self.stem.add(
                _conv(in_channels, width, 7, stride=2),
                _norm(width),
                _relu(),
                nn.MaxPool2D(3, 2, padding=1),
            )
        # Each group but the first begins with a block that strides.
        firsts = {sum(groups[:i]) for i in range(1, len(groups))}
        drops = drop_probs(len(widths), drop_prob)
        self.blocks = nn.HybridSequential()
        for k, inner in enumerate(widths):
            unit = PyramidUnit(
                width,
                inner,
                2 if k in firsts else 1,
                block,
                drops[k],
                drop_mode,
                add,
            )
            self.blocks.add(unit)
            width = unit.channels
        self.head = nn.HybridSequential()
        self.head.add(
            _norm(width),
            _relu(),
            nn.GlobalAvgPool2D(),
            nn.Flatten(),
            nn.Dense(num_classes, in_units=width),
        )

    def hybridize(self, active: bool = True, **options: Any) -> None:
        super().hybridize(active, **options)
        if _deciding(self):
            self._active = self.blocks._active = False

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """(N, in_channels, H, W) → (N, num_classes)."""
        return self.head(self.blocks(self.stem(x)))
