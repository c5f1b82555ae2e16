"""The list of mirrored pairs, by subject, and some that are planted.

To add a name: a line that calls it, and the judge that fits. The test of the list
names what is missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from d2lutils.pairs import Pair
from d2lutils.pairs.judges import function, net, refusals, same, scored, trained

__all__ = ["PLANTED", "TOPICS"]

_MAPS: dict[str, Any] = {"x": (3, 4, 7, 6)}
_MIXED = _MAPS | {"routing": (3, 2), "experts": (2, 6, 2, 3, 3)}
_WINDOW = "stride=2, padding=1, groups=2"
_EACH = _MAPS | {"kernels": (3, 6, 2, 3, 3)}
_SUM: dict[str, Any] = {"x": (3, 8, 5, 6), "identity": (3, 5, 5, 6)}
_NO_SHAPE = "'Symbol' object has no attribute 'shape'"
_AXES = "Current implementation expects padding on the first two axes to be zero"
_WAYS = "zero_padded_shortcuts"

#: The subjects, in the order of the book, and their pairs.
TOPICS: dict[str, list[Pair]] = {
    "Chunks and residual blocks": [
        Pair("ConvChunk(2, 8, 3)(x)", net(x=(3, 2, 9)), "batch_norm"),
        Pair(
            "ConvChunk(2, 8, 4, stride=3, padding=2, bias=True, rank=2)(x)",
            net(x=(3, 2, 7, 6)),
            "graph",
        ),
        Pair("ResidualChunks(4, 4, 3)(x)", net(x=(3, 4, 9)), "residual_chunks"),
        Pair(
            "ResidualChunks(3, 6, 3, stride=2, chain_length=3, rank=2)(x)",
            net(x=(3, 3, 7, 6)),
            "residual_chunks",
        ),
        Pair(
            "ResidualChunks(3, 6, 3, stride=2, shortcut='zeros', "
            "relu_before_sum=False)(x)",
            net(x=(3, 3, 9)),
            "residual_chunks",
        ),
    ],
    "Network in Network": [
        Pair("nin_block(2, 8, 3, padding=1)(x)", net(x=(3, 2, 7, 6)), "nin"),
        Pair("NiN()(x)", net(x=(2, 1, 67, 67)), "nin"),
        Pair("nin_small()(x)", net(x=(3, 1, 20, 20)), "nin"),
        Pair("CIFARNiN()(x)", net(x=(2, 3, 32, 32))),
    ],
    "Zero-padded shortcuts": [
        Pair("zero_pad_channels(x, 8)", function(x=(3, 5, 7, 6)), _WAYS),
        Pair("add_zero_padded(x, identity)", function(**_SUM), _WAYS),
        Pair(
            "SubsampleZeroPad(2, 6, stride=2)(x)",
            function(x=(3, 2, 7, 6)),
            "residual_chunks",
        ),
        Pair("ZeroPadShortcut(2, 6, stride=2)(x)", function(x=(3, 2, 7, 6)), _WAYS),
    ],
    "Other ways to write the sum": [
        Pair(
            "concat_ahead(x, identity, 3)",
            function(
                refused="Non-uniform data type in Concat", graph=_NO_SHAPE, **_SUM
            ),
            _WAYS,
        ),
        Pair(
            "concat_ahead(x, identity, 3)",
            function(graph=_NO_SHAPE, dtype="float32", **_SUM),
            _WAYS,
        ),
        Pair("concat_derived(x, identity, 3)", function(**_SUM), _WAYS),
        Pair("ConstantZeros(3, 5, 3, (5, 6))(x, identity, 3)", function(**_SUM), _WAYS),
        Pair("transpose_pad(x, identity, 3)", function(**_SUM), _WAYS),
        Pair(
            "pad_channels(x, identity, 3)",
            function(refused=_AXES, graph=_AXES, **_SUM),
            _WAYS,
        ),
        Pair("pad_view(x, identity, 3)", function(**_SUM), _WAYS),
        Pair("pad_5d(x, identity, 3)", function(**_SUM), _WAYS),
        Pair(
            "IdentityKernel(3, 5, 3, (5, 6))(x, identity, 3)", function(**_SUM), _WAYS
        ),
        Pair(
            "slice_in_place(x, identity, 3)",
            function(
                gradient="Assigning to NDArrays that are already in a computational "
                "graph",
                graph="Function copy is not implemented for Symbol",
                **_SUM,
            ),
            _WAYS,
        ),
        Pair("slice_and_concat(x, identity, 3)", function(**_SUM), _WAYS),
        Pair(
            "custom_function(x, identity, 3)", function(graph=_NO_SHAPE, **_SUM), _WAYS
        ),
        Pair("custom_operator(x, identity, 3)", function(**_SUM), _WAYS),
    ],
    "PyramidNet and stochastic depth": [
        Pair("PyramidUnit(5, 8, stride=2)(x)", net(x=(3, 5, 7, 6)), "pyramidnet"),
        Pair(
            "PyramidUnit(5, 4, block='bottleneck')(x)",
            net(x=(3, 5, 7, 6)),
            "pyramidnet",
        ),
        Pair("PyramidNet(20, 48)(x)", net(x=(4, 3, 9, 8)), "pyramidnet"),
        Pair(
            "PyramidNet(8, 12, drop_prob=0.5, drop_mode='row')(x)",
            net(x=(4, 3, 9, 8)),
            "stochastic_depth",
        ),
        Pair(
            "StochasticDepth(ConvChunk(4, 4, 3), 0.5)(x)",
            net(x=(3, 4, 9)),
            "stochastic_depth",
        ),
        Pair(
            "StochasticDepth(ConvChunk(4, 4, 3), 0.5, 'row')(x, None, keep)",
            net(x=(3, 4, 9), keep=np.array([1, 0, 1])),
            "stochastic_depth",
        ),
        Pair(
            "StochasticDepth(SubsampleZeroPad(4, 7), 0.25, 'gather', 3)(x, None, keep)",
            function(
                graph="mode='gather' decides anew",
                x=(3, 4, 5, 6),
                keep=np.array([1.0, 0.0, 1.0]),
            ),
            "stochastic_depth",
        ),
        Pair(
            "StochasticDepth(SubsampleZeroPad(4, 7), 0.25, 'row', 3)(x, None, keep)",
            function(x=(3, 4, 5, 6), keep=np.array([1.0, 0.0, 1.0])),
            "stochastic_depth",
        ),
        Pair(
            "StochasticDepth(SubsampleZeroPad(4, 7), 0.25, 'batch', 3)(x, None, False)",
            function(graph="mode='batch' decides anew", x=(3, 4, 5, 6)),
            "stochastic_depth",
        ),
    ],
    "Kernels that depend on the input": [
        Pair(
            "mixed(routing, experts)",
            function(routing=(3, 2), experts=(2, 6, 4, 3, 3), graph=_NO_SHAPE),
            "condconv",
        ),
        *(
            Pair(
                f"{form}(x, routing, experts, {_WINDOW})",
                function(graph=_NO_SHAPE, **_MIXED),
                "condconv",
            )
            for form in ("looped", "folded", "unfolded", "mixture")
        ),
        Pair(
            f"convolve_each(x, kernels, {_WINDOW})",
            function(graph=_NO_SHAPE, **_EACH),
            "condconv",
        ),
        Pair(
            f"unfold_each(x, kernels, {_WINDOW})",
            function(graph=_NO_SHAPE, **_EACH),
        ),
        Pair(
            "Experts2d(4, 6, 3, padding=1, padding_mode='reflect')(x, routing)",
            net(x=(3, 4, 7, 6), routing=(3, 3)),
            "condconv",
        ),
        Pair(
            "CondConv2d(4, 6, 3, padding=1)(x)",
            net(**_MAPS),
            "condconv",
        ),
        Pair(
            f"CondConv2d(4, 6, 3, {_WINDOW}, form='mixture', mix_bias=True)(x)",
            net(**_MAPS),
            "condconv",
        ),
        Pair("SqueezeExcite(8, reduction=2)(x)", net(x=(3, 8, 7, 6)), "one_idea"),
        Pair(
            "GeneratedConv2d(4, 6, 3, padding=1)(x, alpha)",
            net(x=(3, 4, 7, 6), alpha=(3, 12)),
            "one_idea",
        ),
        Pair("WeightNet2d(4, 6, 3, reduction=2)(x)", net(**_MAPS), "one_idea"),
        Pair(
            "WeightNet2d(4, 4, 3, M=3, G=3, reduction=2, depthwise=True)(x)",
            net(**_MAPS),
            "one_idea",
        ),
        Pair("ResNetUnit(4, 8, stride=2)(x)", net(**_MAPS), "one_idea"),
        Pair("ResNet(8)(x)", net(x=(3, 3, 9, 8)), "one_idea"),
        Pair(
            "ResNet(8, reduction=4, num_experts=2)(x)",
            net(x=(3, 3, 9, 8)),
            "condconv",
        ),
    ],
    "What is no function of numbers": [
        Pair(
            "fit(net, train, test, epochs=3, progress=False)",
            trained(),
            "blocks",
            "seconds",
        ),
        Pair(
            "fit(net, train, test, epochs=3, optimizer='adam', "
            "learning_rate=2**-7, progress=False)",
            trained(1e-4),
            "blocks",
            "closer than this: MXNet takes Adam's 0.999 in float32",
        ),
        Pair("accuracy(net, test)", scored(), "blocks"),
        Pair(
            "try_gpu(-1)",
            refusals("try_gpu(0.5)"),
            "nin",
            "which GPU is found: that is the machine's and the framework's",
        ),
        Pair("len(try_all_gpus()) > 0", same(), "", "which GPUs are found"),
        Pair(
            "why_no_gpu(-1)",
            refusals("why_no_gpu(0.5)"),
            "",
            "the reason: each framework has its own",
        ),
        Pair(
            "kept_bytes(net, (4, 10, 64))",
            same(net="ResidualChunks(10, 10, 3, chain_length=3)"),
            "nin_cost",
            "nets with max pooling or dropout: the frameworks keep different bytes",
        ),
        Pair(
            "live_bytes(net, (2, 1, 20, 20))[0]",
            same(net="nin_small()"),
            "nin_cost",
            "the name of the operation that needs them",
        ),
        Pair(
            "lifetimes(net, (2, 1, 20, 20)).largest()[0]",
            same(net="nin_small()"),
            "",
            "the operations: each framework has its own",
        ),
        Pair(
            "peak_bytes(net, (2, 1, 20, 20)) >= live_bytes(net, (2, 1, 20, 20))[0]",
            same(net="nin_small()"),
            "nin_cost",
            "the peak itself: it depends on when each framework frees",
        ),
        Pair(
            "check_input('Block', x, 2, 3)",
            refusals(
                "check_input('Block', x, 1, 4)",
                "check_input('Block', 0.5, 2, 4)",
                "check_input('Block', x, 2, 4, smallest=7)",
                **_MAPS,
            ),
            "batch_norm",
        ),
        Pair(
            "check_pair('add', identity, x, None)",
            refusals(
                "check_pair('add', x, identity, 2)",
                "check_pair('add', x, 0.5, None)",
                **_SUM,
            ),
            _WAYS,
        ),
        Pair(
            "check_routing('Block', x, routing, 4)",
            refusals(
                "check_routing('Block', x, 0.5, 3)",
                "check_routing('Block', x, x, 3)",
                x=(3, 4, 7, 6),
                routing=(3, 3),
            ),
            "one_idea",
        ),
        Pair("traced(x)", same(x=(3, 4))),
        Pair("any_size(x)", same(x=(3, 4))),
        Pair("mixed_precision(x)", same(x=(3, 4))),
        Pair("list(WAYS)", same(), _WAYS),
        Pair(
            "capabilities('add_zero_padded')",
            same(),
            _WAYS,
            "what the other ways can do; the chapter is about how that differs",
        ),
        Pair("[form for form in FORMS if form != 'vmapped']", same()),
    ],
}

#: What is not equal, planted: a judge that found nothing here would judge nothing.
PLANTED = [
    Pair(
        "ResidualChunks(4, 4, 3)(x)",
        net(x=(3, 4, 9)),
        other="ResidualChunks(4, 4, 3, relu_before_sum=False)(x)",
    ),
    Pair(
        "Experts2d(4, 6, 3, padding=1, padding_mode='reflect')(x, routing)",
        net(x=(3, 4, 7, 6), routing=(3, 3)),
        other="Experts2d(4, 6, 3, padding=1, padding_mode='replicate')(x, routing)",
    ),
    Pair(
        "StochasticDepth(SubsampleZeroPad(4, 7), 0.25, 'row', 3)(x, None, keep)",
        function(x=(3, 4, 5, 6), keep=np.array([1.0, 0.0, 1.0])),
        other="StochasticDepth(SubsampleZeroPad(4, 7), 0.5, 'row', 3)(x, None, keep)",
    ),
    Pair(
        "add_zero_padded(x, identity)",
        function(**_SUM),
        other="add_zero_padded(x, identity.detach() + 0 * identity)",
    ),
    Pair(
        "fit(net, train, test, epochs=3, progress=False)",
        trained(),
        other="fit(net, train, test, epochs=3, momentum=0.75, progress=False)",
    ),
    Pair(
        "check_input('Block', x, 2, 3)",
        refusals(**_MAPS),
        other="check_input('Chunk', x, 2, 3)",
    ),
]
