"""What layers do: one table for both frameworks, an entry for each kind of layer.

An entry says how a layer moves windows over its input (`chain_of` asks), how many
multiply-adds a call takes and what its backward pass needs (the ledger asks). Entries
of the frameworks' layers stand in `LAYERS` by the class's name without its rank. A
block of this package has its entry beside its class, put there by `declare`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

Shape = tuple[int, ...]
# The multiply-adds of a call, from the layer and the shapes of its inputs and output.
Work = Callable[[Any, list[Shape], Shape], int]


@dataclass(frozen=True)
class Keeps:
    """What the backward pass of a layer needs from the forward pass."""

    input: bool = False
    output: bool = False
    # For each number of the output: numbers in tensors inside the layer, bytes of
    # positions, and whether a mask has a number, too.
    inside: Fraction | int = 0
    indices: int = 0
    mask: bool = False
    statistics: int = 0  # numbers for each channel


# What a layer of this kind keeps; a function where its options decide. None: unknown.
KeepsOrFunction = Keeps | Callable[[Any], Keeps | None] | None

NO_CHAIN = "only a plain sequence of known layers is a chain"


@dataclass(frozen=True)
class Facts:
    """What is known of a kind of layer.

    Attributes:
        chain: its place in a chain of windows. "pointwise": each output reads one
            position. "conv", "pool" and "pad" have a window of that kind. "end": an
            output reads the whole map, so the chain ends. "sequence": a container.
            Empty: it is in no chain, and `no_chain` says why.
        work: its multiply-adds, of its children too if `whole`; None if unknown.
        gluon, pytorch: what training keeps of a call in either framework.
    """

    chain: str = ""
    work: Work | None = None
    gluon: KeepsOrFunction = None
    pytorch: KeepsOrFunction = None
    whole: bool = False
    no_chain: str = NO_CHAIN

    def keeps(self, framework: str, layer: Any) -> Keeps | None:
        """What training keeps of a call of the layer; None if unknown."""
        found: KeepsOrFunction = getattr(self, framework)
        return found(layer) if callable(found) else found


# -- multiply-adds ---------------------------------------------------------------------


def _kernel(layer: Any) -> tuple[Shape, int, str]:
    """Kernel size, groups and layout of a convolution: what it was made with."""
    numbers = getattr(layer, "_kwargs", None)
    if numbers:
        return numbers["kernel"], numbers["num_group"], numbers["layout"]
    return layer.kernel_size, layer.groups, ""


def _conv(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """Each output value is a product with one kernel, of I / groups channels."""
    kernel, groups, layout = _kernel(layer)
    channels = inputs[0][layout.index("C")] if layout else layer.in_channels
    return prod(output) * channels // groups * prod(kernel)


def _transposed(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """Each input value multiplies one kernel, of O / groups channels."""
    kernel, groups, layout = _kernel(layer)
    channels = output[layout.index("C")] if layout else layer.out_channels
    return prod(inputs[0]) * channels // groups * prod(kernel)


def _dense(layer: Any, inputs: list[Shape], output: Shape) -> int:
    # Gluon's flattens its input, unless told otherwise.
    axes = inputs[0][1:] if getattr(layer, "_flatten", False) else inputs[0][-1:]
    return prod(output) * prod(axes)


def _bilinear(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """For each output value a matrix times a vector, then a product of vectors."""
    return prod(output) * inputs[0][-1] * (inputs[1][-1] + 1)


def _recurrent(gates: int) -> Work:
    """Each gate is a matrix for the input and one for the state, at each step."""

    def work(layer: Any, inputs: list[Shape], output: Shape) -> int:
        def number(name: str, default: int = 0) -> int:
            own = getattr(layer, name, None) or getattr(layer, f"_{name}", 0)
            return own or default

        hidden = number("hidden_size")
        projected = number("proj_size") or number("projection_size")
        state = projected or hidden
        directions = number("dir") or 1 + bool(number("bidirectional"))
        *steps, width = inputs[0]
        total = 0
        for _ in range(number("num_layers", 1)):
            one = gates * hidden * (width + state) + hidden * projected
            total += directions * one
            width = directions * state
        return prod(steps) * total

    return work


def _attention(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """Four projections, the scores and the weighted sums of the values."""
    (*_, wide), (*_, keys), (*_, values) = inputs[:3]
    time = 0 if len(output) == 2 or not layer.batch_first else 1
    batch = 1 if len(output) == 2 else output[1 - time]
    queries, read = inputs[0][time], inputs[1][time]
    seen = read + (layer.bias_k is not None) + layer.add_zero_attn
    projections = 2 * queries * wide + read * (keys + values)
    return batch * wide * (projections + 2 * queries * seen)


def _uncounted(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """For what the papers' tables do not count, and for look-ups."""
    return 0


# -- what training keeps ---------------------------------------------------------------

_NOTHING, _INPUT, _OUTPUT = Keeps(), Keeps(input=True), Keeps(output=True)
_BOTH = Keeps(input=True, output=True)
# The batch's mean and 1 / standard deviation.
_NORM = Keeps(input=True, statistics=2)
# What Gluon's Activation computes is an argument, not a class.
ACTIVATIONS = {
    **{"relu": _OUTPUT, "sigmoid": _BOTH, "softrelu": _BOTH},
    **{"softsign": _BOTH, "tanh": _BOTH},
}


def _activation(layer: Any) -> Keeps | None:
    return ACTIVATIONS.get(layer._act_type)


def _then_activation(layer: Any) -> Keeps | None:
    """A convolution or dense layer of Gluon's, which may have an activation inside.

    The tensor before the activation is no layer's output, so an activation that keeps
    its input has no rule here.
    """
    if layer.act is None:
        return _INPUT
    after = facts_of(layer.act).keeps("gluon", layer.act)
    return _BOTH if after == _OUTPUT else None


def _linear(layer: Any) -> Keeps:
    """Only a linear layer without a trained weight does without its input."""
    return _INPUT if layer.weight.requires_grad else _NOTHING


def _batch_norm(layer: Any) -> Keeps:
    """In evaluation mode it normalises with the running statistics, if it has some."""
    if not layer.training and layer.running_mean is not None:
        return _INPUT
    return _NORM


def _dropout(layer: Any) -> Keeps | None:
    """One that drops whole channels or axes has a smaller mask, without a rule."""
    bases = (kind.__name__ for kind in type(layer).__mro__ if from_framework(kind))
    plain = next(bases) == "Dropout" and not getattr(layer, "_axes", ())
    return Keeps(mask=True) if plain else None


def _copied_in_place(layer: Any) -> Keeps:
    """In place it copies what it overwrites."""
    return Keeps(inside=1) if layer.inplace else _INPUT


def _adaptive_average(layer: Any) -> Keeps:
    """A single output is a mean, whose gradient needs no values."""
    sizes = layer.output_size
    sizes = sizes if isinstance(sizes, (tuple, list)) else (sizes,)
    return _NOTHING if set(sizes) == {1} else _INPUT


# -- the table -------------------------------------------------------------------------

_WHOLE_MAP = "its statistics are of the whole map, so each output reads every input"
_READS_TWICE = "its padding reads the input once more"
_LARGER = "it makes the map larger, which no window does"
_CURVE = Facts("pointwise", gluon=_BOTH, pytorch=_INPUT)
_HARD_CURVE = Facts("pointwise", pytorch=_copied_in_place)
_BY_OUTPUT = Facts("pointwise", pytorch=_OUTPUT)

LAYERS: dict[str, Facts] = {
    **dict.fromkeys(("HybridSequential", "Sequential"), Facts("sequence")),
    "Conv": Facts("conv", _conv, _then_activation, _INPUT),
    "ConvTranspose": Facts("", _transposed, _then_activation, _INPUT, no_chain=_LARGER),
    "Dense": Facts("end", _dense, gluon=_then_activation),
    "Linear": Facts("end", _dense, pytorch=_linear),
    "Bilinear": Facts(work=_bilinear),
    # Pooling. MXNet's backward gets the output, whether it needs it or not; on a CPU
    # its max pooling keeps positions of four bytes each, PyTorch's of eight.
    "AvgPool": Facts("pool", gluon=_BOTH, pytorch=_INPUT),
    "MaxPool": Facts(
        "pool",
        gluon=Keeps(input=True, output=True, indices=4),
        pytorch=Keeps(input=True, indices=8),
    ),
    "LPPool": Facts("pool"),
    "GlobalAvgPool": Facts("end", gluon=_BOTH),
    "GlobalMaxPool": Facts("end", gluon=Keeps(input=True, output=True, indices=4)),
    "AdaptiveAvgPool": Facts("end", pytorch=_adaptive_average),
    "AdaptiveMaxPool": Facts("end", pytorch=Keeps(input=True, indices=8)),
    # Norms.
    "BatchNorm": Facts("pointwise", _uncounted, _NORM, _batch_norm),
    "SyncBatchNorm": Facts("pointwise", _uncounted),
    **dict.fromkeys(
        ("GroupNorm", "InstanceNorm", "LayerNorm", "RMSNorm"),
        Facts(work=_uncounted, no_chain=_WHOLE_MAP),
    ),
    **dict.fromkeys(("CrossMapLRN", "LocalResponseNorm"), Facts("pointwise")),
    # Activations.
    "Activation": Facts("pointwise", gluon=_activation),
    **dict.fromkeys(("ELU", "GELU", "LeakyReLU", "SELU"), _CURVE),
    "PReLU": Facts("pointwise", _uncounted, _BOTH, _INPUT),
    **dict.fromkeys(("Hardsigmoid", "Hardswish", "Hardtanh", "ReLU6"), _HARD_CURVE),
    "SiLU": _HARD_CURVE,
    "Softplus": Facts("pointwise", pytorch=_INPUT),
    **dict.fromkeys(("ReLU", "Sigmoid", "Tanh"), _BY_OUTPUT),
    **dict.fromkeys(("LogSoftmax", "Softmax"), Facts(pytorch=_OUTPUT)),
    **dict.fromkeys(
        (
            *("CELU", "Hardshrink", "LogSigmoid", "Mish", "RELU6", "RReLU"),
            *("Softshrink", "Softsign", "Swish", "Tanhshrink", "Threshold"),
        ),
        Facts("pointwise"),
    ),
    # What moves numbers or adds zeros: backward needs no values.
    "Dropout": Facts("pointwise", gluon=_dropout, pytorch=_dropout),
    **dict.fromkeys(
        ("AlphaDropout", "ChannelShuffle", "FeatureAlphaDropout"), Facts("pointwise")
    ),
    "Identity": Facts("pointwise", gluon=_NOTHING, pytorch=_NOTHING),
    "Flatten": Facts("end", gluon=_NOTHING, pytorch=_NOTHING),
    "ZeroPad": Facts("pad", pytorch=_NOTHING),
    "ConstantPad": Facts("pad"),
    **dict.fromkeys(
        ("CircularPad", "ReflectionPad", "ReplicationPad"),
        Facts(no_chain=_READS_TWICE),
    ),
    "Upsample": Facts(pytorch=_NOTHING, no_chain=_LARGER),
    **dict.fromkeys(
        ("MaxUnpool", "PixelShuffle", "UpsamplingBilinear", "UpsamplingNearest"),
        Facts(no_chain=_LARGER),
    ),
    # Sequences.
    **dict.fromkeys(("Embedding", "EmbeddingBag"), Facts(work=_uncounted)),
    **dict.fromkeys(("RNN", "RNNCell"), Facts(work=_recurrent(1))),
    **dict.fromkeys(("GRU", "GRUCell"), Facts(work=_recurrent(3))),
    **dict.fromkeys(("LSTM", "LSTMCell"), Facts(work=_recurrent(4))),
    "MultiheadAttention": Facts(work=_attention, whole=True),
}
_DECLARED: dict[type, Facts] = {}


def declare(kind: type, facts: Facts) -> None:
    """Give a block of this package, and what derives from it, an entry."""
    _DECLARED[kind] = facts


# -- finding an entry ------------------------------------------------------------------


def class_kind(kind: type) -> str:
    """A class's name without its rank: Conv for Conv2d and Conv2D, and so on."""
    return re.sub(r"[123][dD](?=Transpose$|$)", "", kind.__name__.lstrip("_"))


def from_framework(kind: type) -> bool:
    """Whether a class is one of MXNet's or PyTorch's."""
    return kind.__module__.split(".")[0] in ("mxnet", "torch")


def entry_of(kind: type) -> Facts | None:
    """The entry of this very class."""
    if from_framework(kind):
        return LAYERS.get(class_kind(kind))
    return _DECLARED.get(kind)


def _by_forward(layer: Any) -> tuple[type, Facts]:
    """The class whose forward pass a layer has, and its entry.

    A class that only derives from a known layer counts as that layer; one that
    overrides the forward pass does something else, of which nothing is known.
    """
    for kind in type(layer).__mro__:
        facts = entry_of(kind)
        if facts is not None:
            return kind, facts
        if {"__call__", "forward", "hybrid_forward"} & set(vars(kind)):
            break
    return type(layer), Facts()


def layer_kind(layer: Any) -> str:
    """The name without rank of the class whose forward pass a layer has."""
    return class_kind(_by_forward(layer)[0])


def facts_of(layer: Any) -> Facts:
    """What is known of a layer: the entry of the class whose forward pass it has."""
    return _by_forward(layer)[1]
