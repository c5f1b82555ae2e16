"""Each rule against MXNet: every node of a small graph, in float64 where MXNet can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from d2lutils.compat import mx
from d2lutils.porting import convert

S = mx.sym
IMAGE, ROWS, STEPS = (2, 4, 7, 6), (3, 8), (5, 2, 4)
WEIGHT = S.var("w")
Case = tuple[Callable[..., Any], tuple[int, ...]]


def case(shape: tuple[int, ...], function: Callable[..., Any]) -> Case:
    return function, shape


def window(op: str, **settings: Any) -> Callable[[Any], Any]:
    return lambda x: getattr(S, op)(x, name="layer", **settings)


def recurrent(
    mode: str,
    *states: Any,
    num_layers: int = 1,
    bidirectional: bool = False,
    **more: Any,
) -> Callable[[Any], Any]:
    """A recurrent layer of three units over two sequences; its outputs, as a group."""
    layers = num_layers * (1 + bidirectional)

    def layer(x: Any) -> Any:
        outputs = S.RNN(
            *(x, S.var("layer_parameters"), *(made((layers, 2, 3)) for made in states)),
            **{"state_size": 3, "mode": mode, "name": "layer", **more},
            num_layers=num_layers,
            bidirectional=bidirectional,
        )
        return S.Group(list(outputs))

    return layer


def pool(**settings: Any) -> Callable[[Any], Any]:
    return window("Pooling", **{"kernel": (3, 3), "stride": (2, 2)} | settings)


CASES: dict[str, Case] = {
    "conv": case(
        IMAGE,
        window("Convolution", kernel=(3, 2), num_filter=6, stride=(2, 1), pad=(1, 0)),
    ),
    "conv groups": case(
        IMAGE,
        window(
            "Convolution",
            kernel=(3, 3),
            num_filter=6,
            num_group=2,
            dilate=(2, 2),
            no_bias=True,
        ),
    ),
    "conv 1d": case((2, 4, 9), window("Convolution", kernel=(3,), num_filter=5)),
    "conv 3d": case(
        (1, 2, 5, 4, 6), window("Convolution", kernel=(2, 3, 2), num_filter=3)
    ),
    "deconv": case(
        IMAGE,
        window(
            "Deconvolution",
            kernel=(4, 4),
            num_filter=6,
            stride=(2, 2),
            pad=(1, 1),
            adj=(1, 0),
        ),
    ),
    "deconv target": case(
        IMAGE,
        window(
            "Deconvolution",
            kernel=(4, 4),
            num_filter=4,
            stride=(2, 2),
            target_shape=(13, 12),
            num_group=2,
            no_bias=False,
        ),
    ),
    "dense": case(IMAGE, window("FullyConnected", num_hidden=5)),
    "dense rows": case(
        STEPS, window("FullyConnected", num_hidden=5, flatten=False, no_bias=True)
    ),
    "batch norm": case(IMAGE, window("BatchNorm", fix_gamma=False, eps=2e-5)),
    "batch norm fixed": case(IMAGE, window("BatchNorm")),
    "batch norm global": case(
        IMAGE, window("BatchNorm", use_global_stats=True, momentum=0.99)
    ),
    "batch norm axis": case(IMAGE, window("BatchNorm", axis=-1)),
    "batch norm rows": case(ROWS, window("BatchNorm")),
    "instance norm": case(IMAGE, window("InstanceNorm")),
    "layer norm": case(STEPS, window("LayerNorm")),
    "layer norm axis": case(IMAGE, window("LayerNorm", axis=1, eps=1e-3)),
    "group norm": case(IMAGE, window("GroupNorm", num_groups=2)),
    "lrn": case(IMAGE, window("LRN", nsize=3)),
    **{
        f"l2 {m}": case(IMAGE, window("L2Normalization", mode=m))
        for m in ("instance", "channel", "spatial")
    },
    **{
        f"activation {a}": case(IMAGE, window("Activation", act_type=a))
        for a in ("relu", "sigmoid", "tanh", "softrelu", "softsign")
    },
    **{
        f"leaky {a}": case(IMAGE, window("LeakyReLU", act_type=a))
        for a in ("leaky", "prelu", "elu", "selu", "gelu")
    },
    "leaky rrelu": case(IMAGE, lambda x: S.LeakyReLU(x, act_type="rrelu")[0]),
    "dropout": case(
        IMAGE,
        lambda x: S.Dropout(
            S.exp(S.Dropout(S.exp(S.Dropout(x)), axes=(2, 3))), axes=(1,)
        ),
    ),
    "pool": case(IMAGE, pool()),
    "pool full": case(IMAGE, pool(pooling_convention="full")),
    "pool full pad": case(
        IMAGE, pool(pooling_convention="full", pad=(1, 1), stride=(3, 3))
    ),
    "pool avg": case(IMAGE, pool(pool_type="avg", pad=(1, 1))),
    "pool avg inside": case(
        IMAGE, pool(pool_type="avg", pad=(1, 1), count_include_pad=False)
    ),
    "pool avg full": case(
        IMAGE,
        pool(pool_type="avg", pooling_convention="full", pad=(1, 1), stride=(3, 3)),
    ),
    "pool avg full inside": case(
        IMAGE,
        pool(
            pool_type="avg",
            pooling_convention="full",
            pad=(1, 1),
            stride=(3, 3),
            count_include_pad=False,
        ),
    ),
    "pool sum": case(IMAGE, pool(pool_type="sum")),
    "pool sum full": case(
        IMAGE, pool(pool_type="sum", pooling_convention="full", pad=(1, 1))
    ),
    "pool lp": case(IMAGE, lambda x: pool(pool_type="lp", p_value=2)(S.abs(x))),
    "pool 1d": case((2, 3, 9), window("Pooling", kernel=(2,), stride=(2,))),
    "pool default stride": case(
        IMAGE, window("Pooling", kernel=(2, 2), pool_type="max")
    ),
    **{
        f"pool global {k}": case(
            IMAGE, window("Pooling", global_pool=True, kernel=(1, 1), pool_type=k)
        )
        for k in ("max", "avg", "sum")
    },
    "adaptive": case(
        IMAGE, lambda x: S.contrib.AdaptiveAvgPooling2D(x, output_size=(3, 2))
    ),
    "upsampling": case(
        IMAGE, lambda x: S.UpSampling(x, scale=3, sample_type="nearest")
    ),
    "upsampling bilinear": case(
        IMAGE,
        lambda x: S.UpSampling(
            x,
            S.var("layer_weight", shape=(4, 1, 4, 4)),
            scale=2,
            sample_type="bilinear",
            num_filter=4,
        ),
    ),
    "resize": case(IMAGE, lambda x: S.contrib.BilinearResize2D(x, height=9, width=11)),
    "embedding": case(
        ROWS, lambda x: S.Embedding(x, input_dim=7, output_dim=3, name="layer")
    ),
    "flatten": case(IMAGE, S.Flatten),
    "concat": case(IMAGE, lambda x: S.concat(x, x * 2, S.exp(x), dim=1)),
    "stack": case(ROWS, lambda x: S.stack(x, x * 2, axis=1)),
    "split": case(IMAGE, lambda x: S.add_n(*S.split(x, num_outputs=2, axis=1))),
    "split squeeze": case(
        STEPS,
        lambda x: S.concat(
            *S.split(x, num_outputs=5, axis=0, squeeze_axis=True), dim=1
        ),
    ),
    "split_v2": case(
        ROWS, lambda x: S.concat(*reversed(list(S.split_v2(x, (2, 5), axis=1))), dim=1)
    ),
    **{
        f"reshape {c}": case(IMAGE, lambda x, c=c: S.reshape(x, shape=c))
        for c in (
            (0, -1),
            (-1, 42),
            (0, 0, -1),
            (-3, 0, -1),
            (0, -4, 2, -1, -2),
            (2, 4, 42),
            (0, 0, -3),
            (-2, 1),
        )
    },
    "reshape_like": case(ROWS, lambda x: S.reshape_like(x, S.transpose(x))),
    "axes": case(
        IMAGE,
        lambda x: S.squeeze(
            S.expand_dims(S.transpose(x, axes=(0, 2, 3, 1)), axis=2), axis=2
        ),
    ),
    "swapaxes": case(IMAGE, lambda x: S.SwapAxis(S.transpose(x), dim1=0, dim2=2)),
    "slice": case(
        IMAGE,
        lambda x: S.slice(
            x, begin=(None, 1, 2), end=(None, 3, None), step=(None, 1, 2)
        ),
    ),
    "slice_axis": case(
        IMAGE,
        lambda x: S.slice_axis(
            S.slice_axis(x, axis=-1, begin=1, end=-1), axis=1, begin=1, end=None
        ),
    ),
    "slice_like": case(
        IMAGE,
        lambda x: S.slice_like(x, S.slice_axis(x, axis=2, begin=0, end=3), axes=(2,)),
    ),
    "crop": case(
        IMAGE,
        lambda x: S.Crop(
            x, S.slice_axis(x, axis=2, begin=0, end=3), center_crop=True, num_args=2
        ),
    ),
    **{
        f"pad {m}": case(
            IMAGE,
            lambda x, m=m: S.pad(
                x, mode=m, pad_width=(0, 0, 0, 0, 1, 2, 2, 0), constant_value=1.5
            ),
        )
        for m in ("constant", "edge", "reflect")
    },
    "tile": case(ROWS, lambda x: S.tile(x, reps=(2, 1, 2))),
    "repeat": case(ROWS, lambda x: S.repeat(S.repeat(x, repeats=2, axis=1), repeats=2)),
    "flip": case(ROWS, lambda x: S.flip(x, axis=1)),
    "broadcast": case(
        ROWS,
        lambda x: (
            S.broadcast_to(S.mean(x, axis=0, keepdims=True), shape=(4, 0))
            + S.broadcast_axis(S.mean(x, axis=0, keepdims=True), axis=0, size=4)
        ),
    ),
    "broadcast_like": case(
        ROWS, lambda x: S.broadcast_like(S.mean(x, axis=0, keepdims=True), x)
    ),
    "space": case(
        (1, 4, 4, 6),
        lambda x: (
            S.depth_to_space(S.space_to_depth(x, 2), 2)
            + S.space_to_depth(S.depth_to_space(x, 2), 2)
        ),
    ),
    "where": case(ROWS, lambda x: S.where(x > 0, x, x * 0.1)),
    "one_hot": case(
        ROWS, lambda x: S.one_hot(S.argmax(x, axis=1), 8, on_value=2, off_value=-1)
    ),
    "pick": case(ROWS, lambda x: S.pick(x, S.argmax(x, axis=1)) + S.max(x, axis=1)),
    "take": case(ROWS, lambda x: S.take(x, S.argmin(x, axis=1), axis=1)),
    "argmax": case(
        IMAGE,
        lambda x: S.Group(
            [
                S.argmax(x, axis=1, keepdims=True),
                S.argmax(x),
                S.argmax_channel(S.Flatten(x)),
            ]
        ),
    ),
    "reductions": case(
        IMAGE,
        lambda x: (
            S.sum(x, axis=(2, 3))
            + S.mean(x, axis=(0, 1), exclude=True)
            + S.max(x, axis=(2, 3))
            - S.min(x, axis=(2, 3))
        ),
    ),
    "sum of all": case(
        ROWS, lambda x: S.sum(x) * S.norm(x) + S.prod(S.abs(x)) * S.mean(x)
    ),
    "norm": case(ROWS, lambda x: S.norm(x, ord=1, axis=1, keepdims=True)),
    **{
        f"softmax {a}": case(
            IMAGE, lambda x, a=a: S.softmax(x, axis=a) + S.log_softmax(x, axis=a)
        )
        for a in (-1, 1)
    },
    "softmin": case(ROWS, lambda x: S.softmin(x) + S.softmax(x, temperature=2.0)),
    "softmax activation": case(
        IMAGE, lambda x: S.SoftmaxActivation(x) + S.SoftmaxActivation(x, mode="channel")
    ),
    "softmax output": case(ROWS, lambda x: S.SoftmaxOutput(x, name="softmax")),
    "softmax output rows": case(STEPS, lambda x: S.SoftmaxOutput(x, name="softmax")),
    "softmax output kept": case(
        STEPS, lambda x: S.SoftmaxOutput(x, preserve_shape=True, name="softmax")
    ),
    "softmax output multi": case(
        IMAGE, lambda x: S.SoftmaxOutput(x, multi_output=True, name="softmax")
    ),
    "heads": case(
        ROWS,
        lambda x: S.Group(
            [
                S.LinearRegressionOutput(x),
                S.LogisticRegressionOutput(x),
                S.MAERegressionOutput(x),
                S.make_loss(x),
                S.BlockGrad(x),
            ]
        ),
    ),
    "binary": case(
        ROWS,
        lambda x: (
            (x + x * x - x / (S.abs(x) + 1))
            + S.broadcast_maximum(x, S.mean(x, axis=0, keepdims=True))
            + S.broadcast_power(S.abs(x), x)
        ),
    ),
    "compare": case(
        ROWS,
        lambda x: (
            (x > 0.5)
            + S.broadcast_lesser(x, S.mean(x, axis=0, keepdims=True))
            + (x == x)
            + (x != 0)
            + S.logical_not(x > 0)
        ),
    ),
    "scalars": case(
        ROWS,
        lambda x: (
            1
            - (2 / (S.abs(x) + 1)) ** 2
            + 2**x
            + (x - (-1.5)) % 2
            + S.maximum(x, -0.5)
            + S.minimum(x, 0.5)
        ),
    ),
    "unary": case(
        ROWS,
        lambda x: S.add_n(
            *(
                getattr(S, n)(x)
                for n in (
                    "negative",
                    "abs",
                    "exp",
                    "square",
                    "sign",
                    "floor",
                    "ceil",
                    "round",
                    "rint",
                    "fix",
                    "trunc",
                    "cbrt",
                    "sin",
                    "cos",
                    "arctan",
                    "tanh",
                    "sigmoid",
                    "relu",
                    "erf",
                    "expm1",
                    "zeros_like",
                    "ones_like",
                    "radians",
                    "arcsinh",
                    "hard_sigmoid",
                    "softsign",
                )
            )
        ),
    ),
    "positive": case(
        ROWS,
        lambda x: S.add_n(
            *(
                getattr(S, n)(S.abs(x) + 0.5)
                for n in (
                    "sqrt",
                    "rsqrt",
                    "log",
                    "log2",
                    "log10",
                    "log1p",
                    "reciprocal",
                    "gammaln",
                    "rcbrt",
                )
            )
        ),
    ),
    "smooth_l1": case(ROWS, lambda x: S.smooth_l1(x, scalar=2.0)),
    "clip": case(ROWS, lambda x: S.clip(x, -0.5, 0.5) + S.clip(x, 0, 6)),
    "dot": case(
        ROWS, lambda x: S.dot(x, x, transpose_b=True) + S.dot(x, S.transpose(x))
    ),
    "dot rows": case(STEPS, lambda x: S.dot(x, S.var("layer_weight", shape=(4, 3)))),
    "batch_dot": case(
        STEPS,
        lambda x: (
            S.batch_dot(x, x, transpose_b=True)
            + S.linalg.gemm2(x, x, transpose_b=True, alpha=0.5)
        ),
    ),
    "arange": case(ROWS, lambda x: S.broadcast_mul(x, S.arange(8).reshape((1, 8)))),
    "sequences": case(
        STEPS,
        lambda x: (
            S.SequenceReverse(x)
            + S.broadcast_like(S.expand_dims(S.SequenceLast(x), 0), x)
        ),
    ),
    "lstm": case(STEPS, recurrent("lstm", S.zeros, S.zeros, bidirectional=True)),
    "gru": case(STEPS, recurrent("gru", S.zeros, num_layers=2, state_outputs=True)),
    "lstm states": case(
        STEPS,
        recurrent("lstm", S.zeros, S.ones, num_layers=2, state_outputs=True),
    ),
    **{
        f"rnn {m}": case(STEPS, recurrent(m, S.zeros)) for m in ("rnn_relu", "rnn_tanh")
    },
    "shared": case(
        ROWS,
        lambda x: S.FullyConnected(
            S.FullyConnected(x, WEIGHT, no_bias=True, num_hidden=8),
            WEIGHT,
            no_bias=True,
            num_hidden=8,
        ),
    ),
    "two outputs": case(
        ROWS, lambda x: S.Group([S.FullyConnected(x, num_hidden=3), S.softmax(x)])
    ),
}


def exported(symbol: Any, shape: tuple[int, ...], tmp_path: Any) -> tuple[Any, Any]:
    """The two files of a graph with seeded parameters."""
    rng = np.random.default_rng(1)
    shapes, _, states = symbol.infer_shape(data=shape)
    arrays = {}
    for name, size in zip(symbol.list_arguments(), shapes, strict=True):
        if name != "data" and not name.endswith("label"):
            arrays[f"arg:{name}"] = mx.nd.array(rng.normal(size=size) * 0.5)
    for name, size in zip(symbol.list_auxiliary_states(), states, strict=True):
        arrays[f"aux:{name}"] = mx.nd.array(rng.uniform(0.5, 2, size))
    files = tmp_path / "net-symbol.json", tmp_path / "net-0000.params"
    symbol.save(str(files[0]))
    mx.nd.save(str(files[1]), arrays)
    return files


@pytest.mark.parametrize("name", CASES)
def test_rule(name: str, tmp_path: Any) -> None:
    function, shape = CASES[name]
    files = exported(function(S.var("data")), shape, tmp_path)
    net = convert.to_pytorch(*files, inputs={"data": shape})
    assert net.proof is not None
    assert not net.proof.apart, net.proof
    assert net.proof.differences
