"""The book's own halves as rows: one line each, which runs in both.

The line is written with PyTorch's names, and Gluon runs it with its own. To add a
name: a line that calls it, and the judge that fits. The test of the list names what is
missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from d2lutils.porting.halves import own
from d2lutils.porting.judges import (
    nets,
    same_errors,
    same_value,
    scored,
    traceable,
    trained,
)
from d2lutils.porting.rows import Row
from d2lutils.pytorch.blocks import ConvChunk
from d2lutils.pytorch.condconv import (
    FORMS,
    CondConv2d,
    Experts2d,
    convolve_each,
    folded,
    looped,
    mixed,
    mixture,
    unfold_each,
    unfolded,
)
from d2lutils.pytorch.devices import try_all_gpus, try_gpu, use_gpu, why_no_gpu
from d2lutils.pytorch.inputs import (
    any_size,
    check_input,
    check_pair,
    check_routing,
    mixed_precision,
    traced,
)
from d2lutils.pytorch.memory import (
    kept_bytes,
    lifetimes,
    live_bytes,
    peak_bytes,
)
from d2lutils.pytorch.nin import CIFARNiN, NiN, nin_block, nin_small
from d2lutils.pytorch.padded_sums import (
    WAYS,
    ConstantZeros,
    IdentityKernel,
    capabilities,
    concat_ahead,
    concat_derived,
    custom_function,
    custom_operator,
    pad_5d,
    pad_channels,
    pad_view,
    slice_and_concat,
    slice_in_place,
    transpose_pad,
)
from d2lutils.pytorch.pyramidnet import PyramidNet, PyramidUnit
from d2lutils.pytorch.residual import ResidualChunks
from d2lutils.pytorch.resnet import ResNet, ResNetUnit
from d2lutils.pytorch.shortcuts import (
    SubsampleZeroPad,
    ZeroPadShortcut,
    add_zero_padded,
    zero_pad_channels,
)
from d2lutils.pytorch.squeeze_excite import SqueezeExcite
from d2lutils.pytorch.stochastic_depth import StochasticDepth
from d2lutils.pytorch.training import accuracy, fit
from d2lutils.pytorch.weightnet import GeneratedConv2d, WeightNet2d

__all__ = ["PLANTED", "TOPICS"]

_MAPS: dict[str, Any] = {"x": (3, 4, 7, 6)}
_MIXED = _MAPS | {"routing": (3, 2), "experts": (2, 6, 2, 3, 3)}
_EACH = _MAPS | {"kernels": (3, 6, 2, 3, 3)}
_SUM: dict[str, Any] = {"x": (3, 8, 5, 6), "identity": (3, 5, 5, 6)}
_KEPT: dict[str, Any] = {
    "x": (3, 4, 5, 6),
    "identity": None,
    "keep": np.array([1.0, 0.0, 1.0]),
}
_NO_SHAPE = "'Symbol' object has no attribute 'shape'"
_AXES = "Current implementation expects padding on the first two axes to be zero"
_WAYS = "zero_padded_shortcuts"

#: The subjects, in the order of the book, and their rows.
TOPICS: dict[str, list[Row]] = {
    "Chunks and residual blocks": [
        own(nets(x=(3, 2, 9)), "batch_norm")(lambda: ConvChunk(2, 8, 3)),
        own(nets(x=(3, 2, 7, 6)), "batch_norm")(
            lambda: ConvChunk(2, 8, 4, stride=3, padding=2, bias=True, rank=2)
        ),
        own(nets(x=(3, 4, 9)), "residual_chunks")(lambda: ResidualChunks(4, 4, 3)),
        own(nets(x=(3, 3, 7, 6)), "residual_chunks")(
            lambda: ResidualChunks(3, 6, 3, stride=2, chain_length=3, rank=2)
        ),
        own(nets(x=(3, 3, 9)), "residual_chunks")(
            lambda: ResidualChunks(
                3, 6, 3, stride=2, shortcut="zeros", relu_before_sum=False
            )
        ),
    ],
    "Network in Network": [
        own(nets(x=(3, 2, 7, 6)), "nin")(lambda: nin_block(2, 8, 3, padding=1)),
        own(nets(x=(2, 1, 67, 67)), "nin")(lambda: NiN()),
        own(nets(x=(3, 1, 20, 20)), "nin")(lambda: nin_small()),
        own(nets(x=(2, 3, 32, 32)))(lambda: CIFARNiN()),
    ],
    "Zero-padded shortcuts": [
        own(traceable(x=(3, 5, 7, 6)), _WAYS)(lambda x: zero_pad_channels(x, 8)),
        own(traceable(**_SUM), _WAYS)(lambda x, identity: add_zero_padded(x, identity)),
        own(traceable(x=(3, 2, 7, 6)))(lambda: SubsampleZeroPad(2, 6, stride=2)),
        own(traceable(x=(3, 2, 7, 6)), _WAYS)(lambda: ZeroPadShortcut(2, 6, stride=2)),
    ],
    "Other ways to write the sum": [
        own(
            traceable(
                refused="Non-uniform data type in Concat", graph=_NO_SHAPE, **_SUM
            ),
            _WAYS,
        )(lambda x, identity: concat_ahead(x, identity, 3)),
        own(traceable(graph=_NO_SHAPE, dtype="float32", **_SUM), _WAYS)(
            lambda x, identity: concat_ahead(x, identity, 3)
        ),
        own(traceable(**_SUM), _WAYS)(
            lambda x, identity: concat_derived(x, identity, 3)
        ),
        own(traceable(**_SUM, count=3), _WAYS)(lambda: ConstantZeros(3, 5, 3, (5, 6))),
        own(traceable(**_SUM), _WAYS)(
            lambda x, identity: transpose_pad(x, identity, 3)
        ),
        own(traceable(refused=_AXES, graph=_AXES, **_SUM), _WAYS)(
            lambda x, identity: pad_channels(x, identity, 3)
        ),
        own(traceable(**_SUM), _WAYS)(lambda x, identity: pad_view(x, identity, 3)),
        own(traceable(**_SUM), _WAYS)(lambda x, identity: pad_5d(x, identity, 3)),
        own(traceable(**_SUM, count=3), _WAYS)(lambda: IdentityKernel(3, 5, 3, (5, 6))),
        own(
            traceable(
                gradient="Assigning to NDArrays that are already in a computational "
                "graph",
                graph="Function copy is not implemented for Symbol",
                **_SUM,
            ),
            _WAYS,
        )(lambda x, identity: slice_in_place(x, identity, 3)),
        own(traceable(**_SUM), _WAYS)(
            lambda x, identity: slice_and_concat(x, identity, 3)
        ),
        own(traceable(graph=_NO_SHAPE, **_SUM), _WAYS)(
            lambda x, identity: custom_function(x, identity, 3)
        ),
        own(traceable(**_SUM), _WAYS)(
            lambda x, identity: custom_operator(x, identity, 3)
        ),
    ],
    "PyramidNet and stochastic depth": [
        own(nets(x=(3, 5, 7, 6)), "pyramidnet")(lambda: PyramidUnit(5, 8, stride=2)),
        own(nets(x=(3, 5, 7, 6)), "pyramidnet")(
            lambda: PyramidUnit(5, 4, block="bottleneck")
        ),
        own(nets(x=(4, 3, 9, 8)), "pyramidnet")(lambda: PyramidNet(20, 48)),
        own(nets(x=(4, 3, 9, 8)), "stochastic_depth")(
            lambda: PyramidNet(8, 12, drop_prob=0.5, drop_mode="row")
        ),
        own(nets(x=(3, 4, 9)), "stochastic_depth")(
            lambda: StochasticDepth(ConvChunk(4, 4, 3), 0.5)
        ),
        own(
            nets(x=(3, 4, 9), identity=None, keep=np.array([1, 0, 1])),
            "stochastic_depth",
        )(lambda: StochasticDepth(ConvChunk(4, 4, 3), 0.5, "row")),
        own(traceable(graph="mode='gather' decides anew", **_KEPT), "stochastic_depth")(
            lambda: StochasticDepth(SubsampleZeroPad(4, 7), 0.25, "gather", 3)
        ),
        own(traceable(**_KEPT), "stochastic_depth")(
            lambda: StochasticDepth(SubsampleZeroPad(4, 7), 0.25, "row", 3)
        ),
        own(
            traceable(graph="mode='batch' decides anew", **_KEPT | {"keep": False}),
            "stochastic_depth",
        )(lambda: StochasticDepth(SubsampleZeroPad(4, 7), 0.25, "batch", 3)),
    ],
    "Kernels that depend on the input": [
        own(
            traceable(routing=(3, 2), experts=(2, 6, 4, 3, 3), graph=_NO_SHAPE),
            "condconv",
        )(lambda routing, experts: mixed(routing, experts)),
        own(traceable(graph=_NO_SHAPE, **_MIXED), "condconv")(
            lambda x, routing, experts: looped(
                x, routing, experts, stride=2, padding=1, groups=2
            )
        ),
        own(traceable(graph=_NO_SHAPE, **_MIXED), "condconv")(
            lambda x, routing, experts: folded(
                x, routing, experts, stride=2, padding=1, groups=2
            )
        ),
        own(traceable(graph=_NO_SHAPE, **_MIXED), "condconv")(
            lambda x, routing, experts: unfolded(
                x, routing, experts, stride=2, padding=1, groups=2
            )
        ),
        own(traceable(graph=_NO_SHAPE, **_MIXED), "condconv")(
            lambda x, routing, experts: mixture(
                x, routing, experts, stride=2, padding=1, groups=2
            )
        ),
        own(traceable(graph=_NO_SHAPE, **_EACH), "condconv")(
            lambda x, kernels: convolve_each(x, kernels, stride=2, padding=1, groups=2)
        ),
        own(traceable(graph=_NO_SHAPE, **_EACH))(
            lambda x, kernels: unfold_each(x, kernels, stride=2, padding=1, groups=2)
        ),
        own(nets(x=(3, 4, 7, 6), routing=(3, 3)), "condconv")(
            lambda: Experts2d(4, 6, 3, padding=1, padding_mode="reflect")
        ),
        own(nets(**_MAPS), "condconv")(lambda: CondConv2d(4, 6, 3, padding=1)),
        own(nets(**_MAPS), "condconv")(
            lambda: CondConv2d(
                4, 6, 3, stride=2, padding=1, groups=2, form="mixture", mix_bias=True
            )
        ),
        own(nets(x=(3, 8, 7, 6)), "one_idea")(lambda: SqueezeExcite(8, reduction=2)),
        own(nets(x=(3, 4, 7, 6), alpha=(3, 12)), "one_idea")(
            lambda: GeneratedConv2d(4, 6, 3, padding=1)
        ),
        own(nets(**_MAPS), "one_idea")(lambda: WeightNet2d(4, 6, 3, reduction=2)),
        own(nets(**_MAPS), "one_idea")(
            lambda: WeightNet2d(4, 4, 3, M=3, G=3, reduction=2, depthwise=True)
        ),
        own(nets(**_MAPS), "one_idea")(lambda: ResNetUnit(4, 8, stride=2)),
        own(nets(x=(3, 3, 9, 8)), "one_idea")(lambda: ResNet(8)),
        own(nets(x=(3, 3, 9, 8)), "condconv")(
            lambda: ResNet(8, reduction=4, num_experts=2)
        ),
    ],
    "What is no function of numbers": [
        own(trained(), "blocks")(
            lambda net, train, test: fit(net, train, test, epochs=3, progress=False),
            beside="seconds",
        ),
        own(trained(1e-4), "blocks")(
            lambda net, train, test: fit(
                net,
                train,
                test,
                epochs=3,
                optimizer="adam",
                learning_rate=2**-7,
                progress=False,
            ),
            beside="closer than this: MXNet takes Adam's 0.999 in float32",
        ),
        own(scored(), "blocks")(lambda net, test: accuracy(net, test)),
        own(same_errors(lambda: try_gpu(0.5)), "same_weights")(  # type: ignore[arg-type]
            lambda: try_gpu(-1),
            beside="which GPU is found: that is the machine's and the framework's",
        ),
        own(same_value())(
            lambda: len(try_all_gpus()) > 0,
            beside="which GPUs are found",
        ),
        own(same_errors(lambda: use_gpu(0.5)), "blocks")(  # type: ignore[arg-type]
            lambda: use_gpu(-1),
            beside="which GPU becomes the default, and the reason",
        ),
        own(same_errors(lambda: why_no_gpu(0.5)))(  # type: ignore[arg-type]
            lambda: why_no_gpu(-1),
            beside="the reason: each framework has its own",
        ),
        own(
            same_value(net=lambda: ResidualChunks(10, 10, 3, chain_length=3)),
            "nin_cost",
        )(
            lambda net: kept_bytes(net, (4, 10, 64)),
            beside="nets with max pooling or dropout: "
            "the frameworks keep different bytes",
        ),
        own(same_value(net=lambda: nin_small()), "nin_cost")(
            lambda net: live_bytes(net, (2, 1, 20, 20))[0],
            beside="the name of the operation that needs them",
        ),
        own(same_value(net=lambda: nin_small()))(
            lambda net: lifetimes(net, (2, 1, 20, 20)).largest()[0],
            beside="the operations: each framework has its own",
        ),
        own(same_value(net=lambda: nin_small()), "nin_cost")(
            lambda net: (
                peak_bytes(net, (2, 1, 20, 20)) >= live_bytes(net, (2, 1, 20, 20))[0]
            ),
            beside="the peak itself: it depends on when each framework frees",
        ),
        own(
            same_errors(
                lambda x: check_input("Block", x, 1, 4),
                lambda x: check_input("Block", 0.5, 2, 4),
                lambda x: check_input("Block", x, 2, 4, smallest=7),
                **_MAPS,
            ),
            "batch_norm",
        )(
            lambda x: check_input("Block", x, 2, 3),
        ),
        own(
            same_errors(
                lambda x, identity: check_pair("add", x, identity, 2),
                lambda x, identity: check_pair("add", x, 0.5, None),
                **_SUM,
            ),
        )(
            lambda x, identity: check_pair("add", identity, x, None),
        ),
        own(
            same_errors(
                lambda x, routing: check_routing("Block", x, 0.5, 3),
                lambda x, routing: check_routing("Block", x, x, 3),
                x=(3, 4, 7, 6),
                routing=(3, 3),
            ),
            "one_idea",
        )(
            lambda x, routing: check_routing("Block", x, routing, 4),
        ),
        own(same_value(x=(3, 4)))(lambda x: traced(x)),
        own(same_value(x=(3, 4)))(lambda x: any_size(x)),
        own(same_value(x=(3, 4)))(lambda x: mixed_precision(x)),
        own(same_value(), _WAYS)(lambda: list(WAYS)),
        own(same_value(), _WAYS)(
            lambda: capabilities("add_zero_padded"),
            beside="what the other ways can do; the chapter is about how that differs",
        ),
        own(same_value())(lambda: [form for form in FORMS if form != "vmapped"]),
    ],
}

#: What is not equal, planted: a judge that found nothing here would judge nothing.
PLANTED = [
    own(nets(x=(3, 4, 9)))(
        lambda: ResidualChunks(4, 4, 3),
        other=lambda: ResidualChunks(4, 4, 3, relu_before_sum=False),
    ),
    own(nets(x=(3, 4, 7, 6), routing=(3, 3)))(
        lambda: Experts2d(4, 6, 3, padding=1, padding_mode="reflect"),
        other=lambda: Experts2d(4, 6, 3, padding=1, padding_mode="replicate"),
    ),
    own(traceable(**_KEPT))(
        lambda: StochasticDepth(SubsampleZeroPad(4, 7), 0.25, "row", 3),
        other=lambda: StochasticDepth(SubsampleZeroPad(4, 7), 0.5, "row", 3),
    ),
    own(traceable(**_SUM))(
        lambda x, identity: add_zero_padded(x, identity),
        other=lambda x, identity: add_zero_padded(x, identity.detach() + 0 * identity),
    ),
    own(trained())(
        lambda net, train, test: fit(net, train, test, epochs=3, progress=False),
        other=lambda net, train, test: fit(
            net, train, test, epochs=3, momentum=0.75, progress=False
        ),
    ),
    own(same_errors(**_MAPS))(
        lambda x: check_input("Block", x, 2, 3),
        other=lambda x: check_input("Chunk", x, 2, 3),
    ),
]
