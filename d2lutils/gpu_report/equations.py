"""The blocks written again from their papers, in plain PyTorch.

An equation is a function `f(w, x)`. It does not call the package's blocks; it takes
their parameters from `w`, in the order of the layers, with the shapes that it expects.
The tests hold both halves to these equations, and the GPU report the PyTorch half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional

__all__ = [
    "Weights",
    "bank",
    "chunk",
    "cifar_nin",
    "cond_conv",
    "each",
    "expected",
    "masked_sum",
    "means",
    "mixture",
    "nin",
    "nin_block",
    "noise",
    "pair",
    "pyramid_unit",
    "pyramidnet",
    "randomize",
    "residual",
    "resnet",
    "resnet_unit",
    "squeeze_excite",
    "weightnet",
    "zeros_behind",
]

Settings = dict[str, Any]


# -- values ----------------------------------------------------------------------------


def noise(*shape: int, seed: int = 1, dtype: str = "float32") -> np.ndarray:
    """Standard normal numbers."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.standard_normal(shape).astype(dtype)


def randomize(net: Any, seed: int = 0) -> Any:
    """Give a PyTorch net random values that keep the scale of activations.

    A new net's biases of 0 and gains of 1 hide differences. With unscaled random values
    the signal would vanish in a deep net: only the last bias, and gradients of zero.
    """
    for i, (name, tensor) in enumerate(net.state_dict().items()):
        shape = tuple(tensor.shape)
        values = noise(*shape, seed=1000 * seed + i, dtype="float64")
        if len(shape) > 1:  # the experts of CondConv have five axes
            values *= np.sqrt(2 / np.prod(shape[1:] if len(shape) < 5 else shape[2:]))
        elif name.endswith("var"):
            values = 0.5 + np.abs(values)
        elif name.endswith("weight"):
            values = 1 + values / 4
        else:
            values = 0.1 + values / 16
        if tensor.is_floating_point():
            tensor.copy_(torch.as_tensor(values))
    return net


class Weights:
    """The parameters and running statistics of a net, in order."""

    def __init__(self, net: Any, training: bool) -> None:
        tensors = net.state_dict(keep_vars=True).values()
        self.tensors = [t for t in tensors if t.is_floating_point()]
        self.training = training

    def __call__(self, *shape: int) -> torch.Tensor:
        """The next tensor, which must have this shape."""
        tensor: torch.Tensor = self.tensors.pop(0)
        assert tuple(tensor.shape) == shape
        return tensor

    def conv(
        self,
        x: torch.Tensor,
        channels: int,
        size: int,
        bias: bool = False,
        **window: Any,
    ) -> Any:
        """A convolution with a kernel of `size` along each of 1 or 2 axes."""
        rank = x.ndim - 2
        kernel = self(channels, x.shape[1], *(size,) * rank)
        shift = self(channels) if bias else None
        return getattr(torch, f"conv{rank}d")(x, kernel, shift, **window)

    def norm(self, z: torch.Tensor) -> torch.Tensor:
        """Batch normalisation (Ioffe and Szegedy, 2015, algorithm 1), eps 1e-5."""
        gain, shift, mean, variance = (self(z.shape[1]) for _ in range(4))
        axes = [0, *range(2, z.ndim)]
        if self.training:
            mean, variance = z.mean(axes), z.var(axes, unbiased=False)
        scale = gain / (variance + 1e-5).sqrt()
        shift = shift - mean * scale
        shape = (-1,) + (1,) * (z.ndim - 2)
        return z * scale.reshape(shape) + shift.reshape(shape)

    def linear(self, x: torch.Tensor, outputs: int) -> torch.Tensor:
        """x W' + b."""
        return x @ self(outputs, x.shape[1]).T + self(outputs)


def expected(
    net: Any, equation: Callable[..., Any], arrays: Any, training: bool
) -> tuple[np.ndarray, Callable[[np.ndarray], list[np.ndarray]]]:
    """An equation's output with a net's parameters, and a function that gives the
    gradients of inputs and parameters from that of the output."""
    weights = Weights(net, training)
    given = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    y = equation(weights, *given)
    assert weights.tensors == [], "the block has more parameters than its equation"

    def gradients(head: np.ndarray) -> list[np.ndarray]:
        inputs = [*(t for t in given if t.requires_grad), *net.parameters()]
        options: Any = {"allow_unused": True, "materialize_grads": True}
        found = torch.autograd.grad(y, inputs, torch.tensor(head), **options)
        return [t.numpy() for t in found]

    return y.detach().numpy(), gradients


# -- shortcuts -------------------------------------------------------------------------


def zeros_behind(x: torch.Tensor, channels: int) -> torch.Tensor:
    """x with zeros appended up to this number of channels."""
    extra = x.new_zeros(x.shape[0], channels - x.shape[1], *x.shape[2:])
    return torch.cat((x, extra), 1)


def means(x: torch.Tensor, stride: int) -> torch.Tensor:
    """Of windows of `stride` positions; the last over what there is."""
    for axis in range(2, x.ndim):
        parts = x.split(stride, axis)
        x = torch.stack([part.mean(axis) for part in parts], axis)
    return x


# -- chunks, residual blocks, stochastic depth -----------------------------------------


def chunk(w: Weights, x: Any, channels: int, size: int, o: Settings) -> Any:
    """Convolution, batch norm and, unless `relu` is False, a ReLU."""
    window = {name: o.get(name, other) for name, other in (("stride", 1), ("pad", 0))}
    y = w.conv(
        *(x, channels, size, o.get("bias", False)),
        stride=window["stride"],
        padding=window["pad"],
    )
    return w.norm(y).relu() if o.get("relu", True) else w.norm(y)


def residual(w: Weights, x: Any, channels: int, o: Settings) -> Any:
    """He et al., 2015, equations 1 and 2, with kernels of 3."""
    length, before = o.get("chain_length", 1), o.get("relu_before_sum", True)
    y, stride = x, o.get("stride", 1)
    for i in range(length):
        last = {"pad": 1, "relu": before or i < length - 1}
        y = chunk(w, y, channels, 3, last | {"stride": stride if i == 0 else 1})
    if o["shortcut"] == "projection":
        x = chunk(w, x, channels, 1, {"stride": stride, "relu": False})
    elif o["shortcut"] == "zeros":
        every = (..., *(slice(None, None, stride),) * (x.ndim - 2))
        x = zeros_behind(x[every], channels)
    return (y + x).relu()


def masked_sum(mode: str, w: Weights, x: Any, keep: Any) -> Any:
    """identity + keep * branch / (1 - p) (Huang et al., 2016, equation 2, rescaled),
    p = 0.375, between a convolution and a classifier.

    The paper scales by 1 - p in evaluation instead. Batch norms see all examples or,
    in mode "gather", those that are kept.
    """
    x = w.conv(x, 4, 3, bias=True, padding=1)
    kept = keep.bool() if w.training and mode == "gather" else keep >= 0
    y = w.norm(w.conv(w.norm(x[kept]), 7, 3, bias=True, padding=1))
    whole = y.new_zeros(len(x), *y.shape[1:]).index_put((kept,), y)
    if w.training:
        whole = whole * keep[:, None, None, None] / (1 - 0.375)
    return w.linear((zeros_behind(x, 7) + whole).relu().flatten(1), 3)


# -- Network in Network ----------------------------------------------------------------


def nin_block(
    w: Weights, x: Any, channels: int, size: int, pointwise: Any = None, **window: Any
) -> Any:
    """Lin, Chen and Yan, 2014, equation 2: a ReLU after each of the convolutions."""
    x = w.conv(x, channels, size, bias=True, **window).relu()
    for width in (channels, channels) if pointwise is None else pointwise:
        x = w.conv(x, width, 1, bias=True).relu()
    return x


def nin(w: Weights, x: Any, o: Settings) -> Any:
    """Dive into Deep Learning, section 8.3."""
    size, stride, padding = o.get("stem", (11, 4, 0))
    first, second, third = o["widths"]
    x = nin_block(w, x, first, size, stride=stride, padding=padding)
    x = functional.max_pool2d(x, 3, 2)
    x = functional.max_pool2d(nin_block(w, x, second, 5, padding=2), 3, 2)
    x = functional.max_pool2d(nin_block(w, x, third, 3, padding=1), 3, 2)
    classes = o["num_classes"]
    last: Any = o.get("last_width", classes)
    x = nin_block(w, x, last, 3, (last,), padding=1)
    x = w.conv(x, classes, 1, bias=True)
    if o.get("last_relu", True):
        x = x.relu()
    return x.amax((2, 3)) if o.get("pool") == "max" else x.mean((2, 3))


def cifar_nin(w: Weights, x: Any, classes: int) -> Any:
    """The authors' model: a max and an average pooling in ceil mode."""
    x = nin_block(w, x, 192, 5, (160, 96), padding=2)
    x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
    x = nin_block(w, x, 192, 5, padding=2)
    x = functional.avg_pool2d(x, 3, 2, ceil_mode=True)
    return nin_block(w, x, 192, 3, (192, classes), padding=1).mean((2, 3))


# -- PyramidNet ------------------------------------------------------------------------


def pyramid_unit(
    w: Weights, x: Any, width: int, stride: int, block: str = "basic"
) -> Any:
    """Han et al., 2017, figure 6d: no first ReLU, a norm at the end, none after it."""
    y = w.norm(x)
    if block == "basic":
        y = w.norm(w.conv(y, width, 3, stride=stride, padding=1)).relu()
        y = w.norm(w.conv(y, width, 3, padding=1))
    else:
        y = w.norm(w.conv(y, width, 1)).relu()
        y = w.norm(w.conv(y, width, 3, stride=stride, padding=1)).relu()
        y = w.norm(w.conv(y, 4 * width, 1))
    if stride == 2:
        x = functional.avg_pool2d(x, 2, ceil_mode=True)
    return y + zeros_behind(x, y.shape[1])


def pyramidnet(w: Weights, x: Any, widths: list[int], groups: int, o: Settings) -> Any:
    """Table 1: the first unit of every group but the first strides."""
    if o.get("stem") == "imagenet":
        x = w.norm(w.conv(x, 64, 7, stride=2, padding=3)).relu()
        x = functional.max_pool2d(x, 3, 2, padding=1)
    else:
        x = w.norm(w.conv(x, 16, 3, padding=1))
    size = len(widths) // groups
    for k, width in enumerate(widths):
        stride = 2 if k and k % size == 0 else 1
        x = pyramid_unit(w, x, width, stride, o.get("block", "basic"))
    return w.linear(w.norm(x).relu().mean((2, 3)), 5)


# -- kernels that depend on the input --------------------------------------------------


def pair(value: Any) -> tuple[int, int]:
    """A setting of both axes, as one number or two."""
    return value if isinstance(value, tuple) else (value, value)


def each(x: torch.Tensor, kernels: torch.Tensor, **window: Any) -> torch.Tensor:
    """Convolve each example with its own kernel, in a loop."""
    pairs: Iterator[Any] = zip(x, kernels, strict=True)
    return torch.cat([torch.conv2d(a[None], k, **window) for a, k in pairs])


def bank(w: Weights, inputs: int, outputs: int, size: Any, count: int, o: Any) -> Any:
    """The experts of CondConv and, if there are any, their biases."""
    experts = w(count, outputs, inputs // o.get("groups", 1), *pair(size))
    if not o.get("bias", True):
        return experts, None
    return experts, w(*(count,) * o.get("mix_bias", False), outputs)


def mixture(x: Any, routing: Any, experts: Any, bias: Any, o: Settings) -> Any:
    """(a_1 W_1 + … + a_K W_K) * x + b (Yang et al., 2019, section 3), as a loop."""
    kernels = torch.einsum("nk,koihw->noihw", routing, experts)
    mode = o.get("padding_mode", "zeros")
    if o.get("padding") == "same":  # the odd position behind, as in PyTorch
        taps = zip(kernels.shape[3:], pair(o.get("dilation", 1)), strict=True)
        sides = [(d * (k - 1) // 2, (d * (k - 1) + 1) // 2) for k, d in taps]
    else:
        sides = [(n, n) for n in pair(o.get("padding", 0))]
    pad = [*sides[1], *sides[0]]
    x = functional.pad(x, pad, "constant" if mode == "zeros" else mode)
    window = {name: o.get(name, 1) for name in ("stride", "dilation", "groups")}
    y = each(x, kernels, **window)
    if bias is None:
        return y
    return y + (routing @ bias if o.get("mix_bias") else bias[None])[:, :, None, None]


def cond_conv(w: Weights, x: Any, outputs: int, size: int, count: int, o: Any) -> Any:
    """The same with its routing, a = sigmoid(R mean(x) + c)."""
    experts, bias = bank(w, x.shape[1], outputs, size, count, o)
    routing = w.linear(x.mean((2, 3)), count).sigmoid()
    return mixture(x, routing, experts, bias, o)


def squeeze_excite(w: Weights, x: Any, reduction: int) -> Any:
    """x * sigmoid(W2 ReLU(W1 mean(x))) (Hu et al., 2018, equations 2 to 4)."""
    channels = x.shape[1]
    hidden = w.linear(x.mean((2, 3)), channels // reduction).relu()
    return x * w.linear(hidden, channels).sigmoid()[:, :, None, None]


def weightnet(w: Weights, x: Any, outputs: int, size: int, o: Settings) -> Any:
    """Ma et al., 2020, section 3.2: y = kernel(sigmoid(W2 W1 mean(x))) * x.

    Group g of an output channel's kernel is made from M / G of its numbers.
    """
    n, inputs = x.shape[:2]
    M, G = o.get("M", 2), o.get("G", 2)
    groups = inputs if o.get("depthwise") else 1
    count = inputs // groups * size**2
    made = w(outputs * count, M // G, 1, 1).reshape(outputs, G, count // G, M // G)
    hidden = w.linear(x.mean((2, 3)), inputs // o["reduction"])
    alpha = w.linear(hidden, M * outputs).sigmoid().reshape(n, outputs, G, 1, M // G)
    kernels = (alpha * made).sum(-1).reshape(n, outputs, -1, size, size)
    window = {"stride": o.get("stride", 1), "padding": o.get("padding", 0)}
    return each(x, kernels, groups=groups, **window)


def resnet_unit(w: Weights, x: Any, channels: int, stride: int, o: Settings) -> Any:
    """He et al., 2015, figure 2; the gate: Hu et al., 2018, figure 3."""

    def conv(x: Any, stride: int) -> Any:
        if "num_experts" not in o:
            return w.conv(x, channels, 3, stride=stride, padding=1)
        window = {"stride": stride, "padding": 1, "bias": False}
        return cond_conv(w, x, channels, 3, o["num_experts"], window)

    y = w.norm(conv(w.norm(conv(x, stride)).relu(), 1))
    if "reduction" in o:
        y = squeeze_excite(w, y, o["reduction"])
    if x.shape == y.shape:
        shortcut = x
    elif o.get("shortcut") == "zeros":
        shortcut = zeros_behind(x[:, :, ::stride, ::stride], channels)
    else:
        shortcut = w.norm(w.conv(x, channels, 1, stride=stride))
    return (y + shortcut).relu()


def resnet(w: Weights, x: Any, depth: int, classes: int, o: Settings) -> Any:
    """Section 4.2: n blocks each of 16, 32 and 64 channels, the map halved twice."""
    x = w.norm(w.conv(x, 16, 3, padding=1)).relu()
    for group, channels in enumerate((16, 32, 64)):
        for i in range((depth - 2) // 6):
            x = resnet_unit(w, x, channels, 2 if group and not i else 1, o)
    return w.linear(x.mean((2, 3)), classes)
