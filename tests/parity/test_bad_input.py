"""Bad input: the same type and the same words in both halves, and at once."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pairs import halves
from without_mxnet import halves_here

from d2lutils.compat import mx

MODULES = (
    *("blocks", "residual", "shortcuts", "inputs", "stochastic_depth", "pyramidnet"),
    *("padded_sums", "nin", "condconv", "squeeze_excite", "weightnet", "resnet"),
)


def gluon_half() -> Any:
    modules = {m: halves(m)[0] for m in MODULES}

    def ready(block: Any) -> Any:
        block.initialize()
        return block

    return SimpleNamespace(
        **modules,
        ready=ready,
        zeros=lambda *shape, dtype="float32": mx.nd.zeros(shape, dtype=dtype),
        empty=lambda *shape: mx.nd.array(np.zeros(shape, "float32")),
        double=lambda block: block.cast("float64") or block,
        relu=lambda: mx.gluon.nn.Activation("relu"),
        train=lambda block: TrainMode(block),
    )


def pytorch_half() -> Any:
    modules = {m: halves(m)[1] for m in MODULES}
    return SimpleNamespace(
        **modules,
        ready=lambda block: block,
        zeros=lambda *shape, dtype="float32": torch.zeros(
            shape, dtype=getattr(torch, dtype)
        ),
        empty=torch.zeros,
        double=lambda block: block.double(),
        relu=torch.nn.ReLU,
        train=lambda block: block.train(),
    )


class TrainMode:
    """A Gluon block that is called as in training."""

    def __init__(self, block: Any) -> None:
        self.block = block

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        with mx.autograd.train_mode():
            return self.block(*arguments, **options)


HALVES = halves_here({"gluon": gluon_half(), "pytorch": pytorch_half()})


def outcome(half: Any, call: Callable[[Any], Any]) -> tuple[type, str]:
    """The error of a call, or (type(None), "") where there is none."""
    try:
        call(half)
    except Exception as error:
        return type(error), str(error)
    finally:
        mx.nd.waitall()  # nothing of ours may surface later
    return type(None), ""


def refused_alike(
    call: Callable[[Any], Any], error: type[Exception], text: str
) -> None:
    found = {name: outcome(half, call) for name, half in HALVES.items()}
    assert found == dict.fromkeys(HALVES, (error, text))


def conv(*arguments: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda half: half.ready(half.blocks.ConvChunk(*arguments, **options))


def chunks(*arguments: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda half: half.ready(half.residual.ResidualChunks(*arguments, **options))


def pads(*arguments: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda half: half.ready(
        half.shortcuts.SubsampleZeroPad(*arguments, **options)
    )


def zeros(*arguments: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda half: half.ready(
        half.shortcuts.ZeroPadShortcut(*arguments, **options)
    )


def unit(*arguments: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda half: half.ready(half.pyramidnet.PyramidUnit(*arguments, **options))


def pyramid(*arguments: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda half: half.ready(half.pyramidnet.PyramidNet(*arguments, **options))


def nin(name: str, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda half: half.ready(getattr(half.nin, name)(*arguments, **options))


def depth(drop_prob: Any, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    """Stochastic depth around a ReLU, in training."""
    return lambda half: half.train(
        half.stochastic_depth.StochasticDepth(
            half.relu(), drop_prob, *arguments, **options
        )
    )


SIZES = [
    (0, ValueError, "must be at least 1, got 0"),
    (-2, ValueError, "must be at least 1, got -2"),
    (2.0, TypeError, "must be an integer, got 2.0"),
    ("2", TypeError, "must be an integer, got '2'"),
    (True, TypeError, "must be an integer, got True"),
    (None, TypeError, "must be an integer, got None"),
    (2j, TypeError, "must be an integer, got 2j"),
]
OWNERS = [
    (conv, "ConvChunk", ("in_channels", "channels", "kernel_size", "stride")),
    (
        chunks,
        "ResidualChunks",
        ("in_channels", "channels", "kernel_size", "stride", "chain_length"),
    ),
    (pads, "SubsampleZeroPad", ("in_channels", "channels", "stride")),
    (zeros, "ZeroPadShortcut", ("in_channels", "channels", "stride")),
]


@pytest.mark.parametrize(("value", "error", "text"), SIZES)
@pytest.mark.parametrize(
    ("make", "owner", "name"),
    [(make, owner, name) for make, owner, names in OWNERS for name in names],
)
def test_sizes(
    make: Any, owner: str, name: str, value: Any, error: Any, text: str
) -> None:
    sizes = {"in_channels": 4, "channels": 4, "kernel_size": 3}
    if make in (pads, zeros):
        del sizes["kernel_size"]
    refused_alike(make(**sizes | {name: value}), error, f"{owner}: {name} {text}")


CONSTRUCTORS: list[tuple[Any, type[Exception], str]] = [
    (conv(2, 4, 3, padding=-1), ValueError, "ConvChunk: padding must be at least 0, "),
    (
        conv(2, 4, 3, padding="full"),
        ValueError,
        "ConvChunk: padding must be 'same', 'valid' or an integer, got 'full'",
    ),
    (
        conv(2, 4, 3, padding=1.5),
        TypeError,
        "ConvChunk: padding must be an integer, got 1.5",
    ),
    (
        conv(2, 4, 3, padding=(1, 1)),
        ValueError,
        "ConvChunk: padding must be an integer or have 1 entry, got (1, 1)",
    ),
    (
        conv(2, 4, 3, padding=np.array([1.5])),
        TypeError,
        "ConvChunk: padding[0] must be an integer, got ",
    ),
    (
        conv(2, 4, 4),
        ValueError,
        "same_padding: kernel_size must be odd so that both sides get the same "
        "padding, got 4",
    ),
    (conv(2, 4, 3, bias=1), TypeError, "ConvChunk: bias must be True or False, got 1"),
    (
        conv(2, 4, 3, relu="yes"),
        TypeError,
        "ConvChunk: relu must be True or False, got 'yes'",
    ),
    (conv(2, 4, 3, rank=3), ValueError, "ConvChunk: rank must be one of 1, 2, got 3"),
    (
        conv(2, 4, 3, rank=True),
        ValueError,
        "ConvChunk: rank must be one of 1, 2, got True",
    ),
    (
        chunks(4, 4, 2),
        ValueError,
        "same_padding: kernel_size must be odd so that both sides get the same "
        "padding, got 2",
    ),
    (
        chunks(4, 4, 3, padding="full"),
        ValueError,
        "ResidualChunks: padding must be 'same', 'valid' or an integer, got 'full'",
    ),
    (
        chunks(4, 4, 3, relu_before_sum=0),
        TypeError,
        "ResidualChunks: relu_before_sum must be True or False, got 0",
    ),
    (
        chunks(4, 4, 3, rank=0),
        ValueError,
        "ResidualChunks: rank must be one of 1, 2, got 0",
    ),
    (
        chunks(4, 4, 3, shortcut="skip"),
        ValueError,
        "ResidualChunks: shortcut must be one of 'auto', 'identity', 'projection', "
        "'zeros', got 'skip'",
    ),
    (
        chunks(4, 5, 3, shortcut="identity"),
        ValueError,
        "ResidualChunks: shortcut='identity' needs stride=1 and channels equal to "
        "in_channels, got stride=1, in_channels=4, channels=5; use 'projection' or "
        "'zeros'",
    ),
    (
        chunks(4, 4, 3, 2, shortcut="identity"),
        ValueError,
        "ResidualChunks: shortcut='identity' needs stride=1 and channels equal to "
        "in_channels, got stride=2, in_channels=4, channels=4; use 'projection' or "
        "'zeros'",
    ),
    (
        chunks(5, 4, 3, shortcut="zeros"),
        ValueError,
        "ResidualChunks: shortcut='zeros' can only add channels, got in_channels=5, "
        "channels=4; use 'projection'",
    ),
    (
        pads(5, 4),
        ValueError,
        "SubsampleZeroPad: channels must be at least the input's 5, got 4",
    ),
    (
        pads(4, 5, rank=3),
        ValueError,
        "SubsampleZeroPad: rank must be one of 1, 2, got 3",
    ),
    (
        zeros(5, 4),
        ValueError,
        "ZeroPadShortcut: channels must be at least the input's 5, got 4",
    ),
    (
        zeros(4, 5, rank=3),
        ValueError,
        "ZeroPadShortcut: rank must be one of 1, 2, got 3",
    ),
    (
        zeros(4, 5, rank="2"),
        ValueError,
        "ZeroPadShortcut: rank must be one of 1, 2, got '2'",
    ),
]

PROBS = [
    (-0.25, ValueError, "drop_prob must be at least 0 and at most 1, got -0.25"),
    (1.5, ValueError, "drop_prob must be at least 0 and at most 1, got 1.5"),
    (float("nan"), ValueError, "drop_prob must be finite, got nan"),
    ("0.5", TypeError, "drop_prob must be a number, got '0.5'"),
    (True, TypeError, "drop_prob must be a number, got True"),
    (None, TypeError, "drop_prob must be a number, got None"),
]
UNIT: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"in_channels": 0}, ValueError, "in_channels must be at least 1, got 0"),
    ({"in_channels": 4.0}, TypeError, "in_channels must be an integer, got 4.0"),
    ({"width": -1}, ValueError, "width must be at least 1, got -1"),
    ({"width": True}, TypeError, "width must be an integer, got True"),
    ({"width": 3}, ValueError, "channels must be at least the input's 4, got 3"),
    (
        {"in_channels": 9, "width": 2, "block": "bottleneck"},
        ValueError,
        "channels must be at least the input's 9, got 8",
    ),
    ({"stride": 3}, ValueError, "stride must be one of 1, 2, got 3"),
    ({"stride": 0}, ValueError, "stride must be one of 1, 2, got 0"),
    ({"stride": 2.0}, ValueError, "stride must be one of 1, 2, got 2.0"),
    (
        {"block": "wide"},
        ValueError,
        "block must be one of 'basic', 'bottleneck', got 'wide'",
    ),
]
# The unit hands these on to its StochasticDepth, which says so.
DEPTH: list[tuple[dict[str, Any], type[Exception], str]] = [
    *(({"drop_prob": value}, error, text) for value, error, text in PROBS),
    (
        {"mode": "layer"},
        ValueError,
        "mode must be one of 'batch', 'row', 'gather', got 'layer'",
    ),
    (
        {"mode": None},
        ValueError,
        "mode must be one of 'batch', 'row', 'gather', got None",
    ),
    ({"add": "sum"}, TypeError, "add must be a function, got 'sum'"),
]
NET: list[tuple[dict[str, Any], type[Exception], str]] = [
    *(({"drop_prob": value}, error, f"PyramidNet: {t}") for value, error, t in PROBS),
    (
        {"depth": 21},
        ValueError,
        "pyramid_blocks: depth must be 6n + 2 for stem='cifar' and block='basic' "
        "(three groups of n blocks, a stem and a classifier), got 21; the nearest is "
        "20",
    ),
    (
        {"depth": 21, "block": "bottleneck"},
        ValueError,
        "pyramid_blocks: depth must be 9n + 2 for stem='cifar' and block='bottleneck' "
        "(three groups of n blocks, a stem and a classifier), got 21; the nearest is "
        "20",
    ),
    (
        {"depth": 110, "stem": "imagenet"},
        ValueError,
        "pyramid_blocks: depth must be one of 18, 34 for stem='imagenet' and "
        "block='basic', got 110; the nearest is 34",
    ),
    (
        {"depth": 8.0},
        TypeError,
        "pyramid_blocks: depth must be an integer, got 8.0",
    ),
    ({"depth": 0}, ValueError, "pyramid_blocks: depth must be at least 1, got 0"),
    ({"alpha": 0}, ValueError, "pyramid_widths: alpha must be above 0, got 0"),
    ({"alpha": -1.5}, ValueError, "pyramid_widths: alpha must be above 0, got -1.5"),
    (
        {"alpha": float("nan")},
        ValueError,
        "pyramid_widths: alpha must be finite, got nan",
    ),
    (
        {"alpha": True},
        TypeError,
        "pyramid_widths: alpha must be a number, got True",
    ),
    (
        {"alpha": 0.5, "widening": "multiplicative"},
        ValueError,
        "pyramid_widths: alpha must be at least 1 for widening='multiplicative', since "
        "zeros can only add channels, got 0.5",
    ),
    (
        {"num_classes": 0},
        ValueError,
        "PyramidNet: num_classes must be at least 1, got 0",
    ),
    (
        {"num_classes": "10"},
        TypeError,
        "PyramidNet: num_classes must be an integer, got '10'",
    ),
    (
        {"in_channels": -3},
        ValueError,
        "PyramidNet: in_channels must be at least 1, got -3",
    ),
    (
        {"block": None},
        ValueError,
        "pyramid_blocks: block must be one of 'basic', 'bottleneck', got None",
    ),
    (
        {"widening": "linear"},
        ValueError,
        "pyramid_widths: widening must be one of 'additive', 'multiplicative', got "
        "'linear'",
    ),
    (
        {"stem": "mnist"},
        ValueError,
        "pyramid_blocks: stem must be one of 'cifar', 'imagenet', got 'mnist'",
    ),
    (
        {"drop_mode": "layer"},
        ValueError,
        "PyramidNet: drop_mode must be one of 'batch', 'row', 'gather', got 'layer'",
    ),
    (
        {"add": 3},
        TypeError,
        "StochasticDepth: add must be a function, got 3",
    ),
]


def alone(text: str) -> str:
    """A parameter's id: what is said after the owner's name."""
    return text.partition(": ")[2][:50] or text[:50]


@pytest.mark.parametrize(
    ("changes", "error", "text"), UNIT, ids=[alone(c[2]) for c in UNIT]
)
def test_pyramid_unit(
    changes: dict[str, Any], error: type[Exception], text: str
) -> None:
    arguments = {"in_channels": 4, "width": 6} | changes
    refused_alike(unit(**arguments), error, f"PyramidUnit: {text}")


@pytest.mark.parametrize(
    ("changes", "error", "text"), DEPTH, ids=[alone(c[2]) for c in DEPTH]
)
def test_stochastic_depth(
    changes: dict[str, Any], error: type[Exception], text: str
) -> None:
    text = f"StochasticDepth: {text}"
    refused_alike(depth(**{"drop_prob": 0.5} | changes), error, text)
    if "mode" in changes:
        changes = {"drop_mode": changes["mode"]}
    refused_alike(unit(4, 6, **changes), error, text)


@pytest.mark.parametrize("value", [-1, 1.0, True, None])
def test_extra_of_stochastic_depth(value: Any) -> None:
    below = type(value) is int
    text = "at least 0, got -1" if below else f"an integer, got {value!r}"
    refused_alike(
        depth(0.5, "row", value),
        ValueError if below else TypeError,
        f"StochasticDepth: extra must be {text}",
    )


@pytest.mark.parametrize("branch", [None, 3, abs, "conv"])
def test_branch(branch: Any) -> None:
    kind = type(branch).__name__
    refused_alike(
        lambda half: half.stochastic_depth.StochasticDepth(branch, 0.5),
        TypeError,
        f"StochasticDepth: branch must be a layer or block, got {kind}",
    )


@pytest.mark.parametrize(
    ("changes", "error", "text"), NET, ids=[alone(c[2]) for c in NET]
)
def test_pyramidnet(changes: dict[str, Any], error: type[Exception], text: str) -> None:
    refused_alike(pyramid(**{"depth": 8, "alpha": 12} | changes), error, text)


@pytest.mark.parametrize(
    ("options", "nearest"),
    [
        ({"depth": 111}, 110),
        ({"depth": 3}, 8),
        ({"depth": 167, "block": "bottleneck"}, 164),
        ({"depth": 19, "stem": "imagenet"}, 18),
    ],
)
def test_the_nearest_depth_is_taken(options: dict[str, Any], nearest: int) -> None:
    for half in HALVES.values():
        error, text = outcome(half, pyramid(alpha=9, **options))
        assert error is ValueError
        assert text.endswith(f"; the nearest is {nearest}")
        with torch.device("meta"):
            half.pyramidnet.PyramidNet(**options | {"alpha": 9, "depth": nearest})


@pytest.mark.parametrize(
    ("call", "error", "text"), CONSTRUCTORS, ids=[c[2][:60] for c in CONSTRUCTORS]
)
def test_constructors(call: Any, error: Any, text: str) -> None:
    ((kind, words),) = {outcome(half, call) for half in HALVES.values()}
    assert kind is error
    assert words.startswith(text)


# (owner, the block, rank)
BLOCKS = [
    ("ConvChunk", conv(4, 6, 3), 1),
    ("ConvChunk", conv(4, 6, 3, rank=2), 2),
    ("ResidualChunks", chunks(4, 6, 3), 1),
    ("ResidualChunks", chunks(4, 6, 3, rank=2), 2),
    ("SubsampleZeroPad", pads(4, 6, rank=1), 1),
    ("SubsampleZeroPad", pads(4, 6), 2),
    ("ZeroPadShortcut", zeros(4, 6, rank=1), 1),
    ("ZeroPadShortcut", zeros(4, 6), 2),
    ("PyramidUnit", unit(4, 6), 2),
    ("PyramidUnit", unit(4, 6, drop_prob=1.0), 2),
    ("PyramidNet", pyramid(8, 12, 6, 4), 2),
    ("PyramidNet", pyramid(8, 12, 6, 4, drop_prob=0.5, drop_mode="row"), 2),
]


@pytest.mark.parametrize(
    ("owner", "make", "rank"), BLOCKS, ids=[f"{o}-{r}" for o, _, r in BLOCKS]
)
class TestCalls:
    @pytest.mark.parametrize(
        "shape", [(4,), (2, 4), (2, 3, 5), (2, 3, 5, 5), (2, 4, 5, 5, 5), ()]
    )
    def test_shape(
        self, owner: str, make: Any, rank: int, shape: tuple[int, ...]
    ) -> None:
        expected = "(N, 4, L)" if rank == 1 else "(N, 4, H, W)"
        text = f"{owner}: x must have shape {expected}, got {shape}"
        # A Gluon array without axes does not exist: it has one.
        if shape == ():
            text = text.replace("()", "(1,)")
            shape = (1,)
        refused_alike(lambda half: make(half)(half.zeros(*shape)), ValueError, text)

    def test_the_other_rank(self, owner: str, make: Any, rank: int) -> None:
        shape = (2, 4, 5, 5) if rank == 1 else (2, 4, 5)
        expected = "(N, 4, L)" if rank == 1 else "(N, 4, H, W)"
        text = f"{owner}: x must have shape {expected}, got {shape}"
        refused_alike(lambda half: make(half)(half.zeros(*shape)), ValueError, text)

    @pytest.mark.parametrize("axis", [0, 2])
    def test_empty(self, owner: str, make: Any, rank: int, axis: int) -> None:
        shape = [2, 4, 5, 5][: rank + 2]
        shape[axis] = 0
        expected = "(N, 4, L)" if rank == 1 else "(N, 4, H, W)"
        text = (
            f"{owner}: x must have shape {expected}, got {tuple(shape)}; "
            "no axis may be empty"
        )
        refused_alike(lambda half: make(half)(half.empty(*shape)), ValueError, text)

    @pytest.mark.parametrize("value", [None, 3, [1.0], np.zeros((2, 4, 5), "float32")])
    def test_kind(self, owner: str, make: Any, rank: int, value: Any) -> None:
        text = f"{owner}: x must be a tensor, got {type(value).__name__}"
        refused_alike(lambda half: make(half)(value), TypeError, text)

    @pytest.mark.parametrize("dtype", ["float64", "float16", "int32"])
    def test_dtype(self, owner: str, make: Any, rank: int, dtype: str) -> None:
        shape = (2, 4, 5, 5)[: rank + 2]
        if owner in ("SubsampleZeroPad", "ZeroPadShortcut"):
            if dtype != "int32":
                return  # no parameters, so any floating-point number will do
            error: type[Exception] = TypeError
            text = f"{owner}: x must be floating point, got int32"
        else:
            error = ValueError
            text = (
                f"{owner}: x has dtype {dtype}, but the parameters have float32; "
                "convert one of them"
            )
        refused_alike(
            lambda half: make(half)(half.zeros(*shape, dtype=dtype)), error, text
        )

    def test_the_error_is_not_the_end(self, owner: str, make: Any, rank: int) -> None:
        """A block that refused something takes the right thing afterwards."""
        shape = (2, 4, 5, 5)[: rank + 2]
        for half in HALVES.values():
            block = make(half)
            assert outcome(half, lambda h, b=block: b(h.zeros(2, 4)))[0] is ValueError
            expected = (2, 6) if owner == "PyramidNet" else (2, 6, *shape[2:])
            assert tuple(block(half.zeros(*shape)).shape) == expected


def test_dtype_of_the_parameters() -> None:
    text = (
        "ConvChunk: x has dtype float32, but the parameters have float64; "
        "convert one of them"
    )
    refused_alike(
        lambda half: half.double(conv(2, 4, 3)(half))(half.zeros(1, 2, 5)),
        ValueError,
        text,
    )


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize(
    ("make", "size", "text"),
    [
        (
            lambda rank: conv(2, 4, 5, padding=1, rank=rank),
            2,
            "output_size: a window of 5 (kernel_size=5, dilation=1) does not fit into "
            "4 inputs (n=2, padding=1 on each side)",
        ),
        (
            lambda rank: chunks(2, 4, 3, padding=0, chain_length=3, rank=rank),
            6,
            # 6 → 4 → 2, and then no window fits.
            "output_size: a window of 3 (kernel_size=3, dilation=1) does not fit into "
            "2 inputs (n=2, padding=0 on each side)",
        ),
        (
            lambda rank: chunks(2, 4, 3, 2, 3, padding=0, rank=rank),
            64,
            "ResidualChunks: the branch turns 64 into 27 and the shortcut into 32, so "
            "they cannot be added (kernel_size=3, stride=2, padding=0, "
            "chain_length=3); padding='same' makes them equal",
        ),
        (
            lambda rank: chunks(2, 4, 3, 1, 3, padding=0, rank=rank),
            64,
            "ResidualChunks: the branch turns 64 into 58 and the shortcut into 64, so "
            "they cannot be added (kernel_size=3, stride=1, padding=0, "
            "chain_length=3); padding='same' makes them equal",
        ),
    ],
    ids=["kernel", "chain", "stride 2", "stride 1"],
)
def test_sizes_that_do_not_fit(make: Any, size: int, text: str, rank: int) -> None:
    shape = (2, 2, *(size,) * rank)
    refused_alike(lambda half: make(rank)(half)(half.zeros(*shape)), ValueError, text)


@pytest.mark.parametrize(
    ("shape", "channels", "error", "text"),
    [
        ((2, 3, 4), 2, ValueError, "channels must be at least the input's 3, got 2"),
        ((2, 3, 4), 0, ValueError, "channels must be at least 1, got 0"),
        ((2, 3, 4), 4.0, TypeError, "channels must be an integer, got 4.0"),
        ((2, 3, 4), True, TypeError, "channels must be an integer, got True"),
        (
            (2, 3),
            4,
            ValueError,
            "x must have shape (N, C, L) or (N, C, H, W), got (2, 3)",
        ),
        (
            (2, 3, 4, 4, 4),
            4,
            ValueError,
            "x must have shape (N, C, L) or (N, C, H, W), got (2, 3, 4, 4, 4)",
        ),
    ],
)
def test_zero_pad_channels(
    shape: tuple[int, ...], channels: Any, error: Any, text: str
) -> None:
    refused_alike(
        lambda half: half.shortcuts.zero_pad_channels(half.zeros(*shape), channels),
        error,
        f"zero_pad_channels: {text}",
    )


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_zero_pad_channels_wants_floats(dtype: str) -> None:
    refused_alike(
        lambda half: half.shortcuts.zero_pad_channels(
            half.zeros(2, 3, 4, dtype=dtype), 5
        ),
        TypeError,
        f"zero_pad_channels: x must be floating point, got {dtype}",
    )


def test_zero_pad_channels_of_something_else() -> None:
    refused_alike(
        lambda half: half.shortcuts.zero_pad_channels([[[1.0]]], 5),
        TypeError,
        "zero_pad_channels: x must be a tensor, got list",
    )


def test_zero_pad_channels_of_nothing() -> None:
    refused_alike(
        lambda half: half.shortcuts.zero_pad_channels(half.empty(0, 3, 4), 5),
        ValueError,
        "zero_pad_channels: x must have shape (N, C, L) or (N, C, H, W), got "
        "(0, 3, 4); no axis may be empty",
    )


# -- add_zero_padded -------------------------------------------------------------------


def adds(
    x: tuple[int, ...],
    identity: tuple[int, ...],
    extra: Any = None,
    dtypes: tuple[str, str] = ("float32", "float32"),
) -> Callable[[Any], Any]:
    return lambda half: half.shortcuts.add_zero_padded(
        half.zeros(*x, dtype=dtypes[0]), half.zeros(*identity, dtype=dtypes[1]), extra
    )


RANKS = "must have shape (N, C, L) or (N, C, H, W)"
MISFIT = "identity must have the batch and space of x and at most its channels, got x"
ADDS: list[tuple[Any, type[Exception], str]] = [
    (adds((2, 5), (2, 3)), ValueError, f"x {RANKS}, got (2, 5)"),
    (
        adds((2, 5, 3, 3, 3), (2, 3, 3, 3, 3)),
        ValueError,
        f"x {RANKS}, got (2, 5, 3, 3, 3)",
    ),
    (adds((2, 5, 3), (2, 3)), ValueError, f"identity {RANKS}, got (2, 3)"),
    (
        adds((2, 5, 3), (2, 3, 3, 1)),
        ValueError,
        f"{MISFIT} (2, 5, 3) and identity (2, 3, 3, 1)",
    ),
    (
        adds((2, 5, 3), (1, 3, 3)),
        ValueError,
        f"{MISFIT} (2, 5, 3) and identity (1, 3, 3)",
    ),
    (
        adds((2, 5, 3), (2, 3, 4)),
        ValueError,
        f"{MISFIT} (2, 5, 3) and identity (2, 3, 4)",
    ),
    (
        adds((2, 5, 4, 3), (2, 3, 3, 4)),
        ValueError,
        f"{MISFIT} (2, 5, 4, 3) and identity (2, 3, 3, 4)",
    ),
    (
        adds((2, 3, 4), (2, 5, 4)),
        ValueError,
        f"{MISFIT} (2, 3, 4) and identity (2, 5, 4)",
    ),
    (
        adds((2, 5, 4), (2, 3, 4), 3),
        ValueError,
        "extra must be the channels of x less those of identity, 5 - 3 = 2, got 3",
    ),
    (
        adds((2, 5, 4), (2, 3, 4), 0),
        ValueError,
        "extra must be the channels of x less those of identity, 5 - 3 = 2, got 0",
    ),
    (adds((2, 5, 4), (2, 3, 4), -2), ValueError, "extra must be at least 0, got -2"),
    (
        adds((2, 5, 4), (2, 3, 4), 2.0),
        TypeError,
        "extra must be an integer, got 2.0",
    ),
    (
        adds((2, 5, 4), (2, 4, 4), True),
        TypeError,
        "extra must be an integer, got True",
    ),
    (
        adds((2, 5, 4), (2, 3, 4), None, ("float32", "float64")),
        ValueError,
        "identity has dtype float64, but x has float32; convert one of them",
    ),
    (
        adds((2, 5, 4), (2, 3, 4), None, ("float16", "float32")),
        ValueError,
        "identity has dtype float32, but x has float16; convert one of them",
    ),
    (
        adds((2, 5, 4), (2, 3, 4), None, ("int32", "int32")),
        TypeError,
        "x must be floating point, got int32",
    ),
    (
        adds((2, 5, 4), (2, 3, 4), None, ("float32", "int64")),
        TypeError,
        "identity must be floating point, got int64",
    ),
    (
        lambda half: half.shortcuts.add_zero_padded([[[1.0]]], half.zeros(1, 1, 1)),
        TypeError,
        "x must be a tensor, got list",
    ),
    (
        lambda half: half.shortcuts.add_zero_padded(
            half.zeros(1, 2, 1), np.zeros((1, 1, 1))
        ),
        TypeError,
        "identity must be a tensor, got ndarray",
    ),
    (
        lambda half: half.shortcuts.add_zero_padded(half.zeros(1, 2, 1), None),
        TypeError,
        "identity must be a tensor, got NoneType",
    ),
    (
        lambda half: half.shortcuts.add_zero_padded(
            half.empty(0, 5, 4), half.empty(0, 3, 4)
        ),
        ValueError,
        f"x {RANKS}, got (0, 5, 4); no axis may be empty",
    ),
    (
        lambda half: half.shortcuts.add_zero_padded(
            half.zeros(2, 5, 4), half.empty(2, 0, 4)
        ),
        ValueError,
        f"identity {RANKS}, got (2, 0, 4); no axis may be empty",
    ),
]


@pytest.mark.parametrize(
    ("call", "error", "text"), ADDS, ids=[str(i) for i in range(len(ADDS))]
)
def test_add_zero_padded(call: Any, error: type[Exception], text: str) -> None:
    refused_alike(call, error, f"add_zero_padded: {text}")


@pytest.mark.parametrize("extra", [-1, 1.5, True])
def test_add_zero_padded_of_symbols_looks_at_extra(extra: Any) -> None:
    """All that it can look at there."""
    with pytest.raises((TypeError, ValueError)) as caught:
        halves("shortcuts")[0].add_zero_padded(mx.sym.var("x"), mx.sym.var("y"), extra)
    assert str(caught.value).startswith("add_zero_padded: extra must be ")


def test_add_zero_padded_on_two_devices() -> None:
    """No CPU machine has two; the message is that of all dtypes and devices."""
    from d2lutils import checks

    with pytest.raises(ValueError, match="device") as caught:
        checks.alike("add_zero_padded", "identity", "x", "device", "cuda:0", "cpu")
    assert str(caught.value) == (
        "add_zero_padded: identity has device cuda:0, but x has cpu; convert one of "
        "them"
    )


# -- calls of what is new --------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("stride", [2, 3])
def test_a_map_smaller_than_the_window(stride: int, rank: int) -> None:
    """MXNet's pooling cannot; both say so, and take one position more."""
    shape = (2, 4, *(stride - 1, 9)[:rank])
    text = (
        f"ZeroPadShortcut: x must have at least {stride} positions along each spatial "
        f"axis, got {shape}"
    )
    make = zeros(4, 6, stride, rank)
    refused_alike(lambda half: make(half)(half.zeros(*shape)), ValueError, text)
    for half in HALVES.values():
        fits = half.zeros(2, 4, *(stride, 9)[:rank])
        assert make(half)(fits).shape[2] == 1


@pytest.mark.parametrize(
    ("owner", "make", "channels", "smallest"),
    [
        ("PyramidUnit", unit(4, 6, 2), 4, 2),
        ("PyramidUnit", unit(4, 6, 2, drop_prob=1.0), 4, 2),
        ("PyramidUnit", unit(4, 2, 2, "bottleneck"), 4, 2),
        ("PyramidNet", pyramid(8, 12), 3, 3),
        ("PyramidNet", pyramid(18, 12, stem="imagenet"), 3, 17),
        ("NiN", nin("NiN", widths=(2, 2, 2)), 1, 67),
        ("NiN", nin("nin_small", in_channels=2), 2, 15),
        ("NiN", nin("NiN", widths=(2, 2, 2), stem=(5, 2, 1)), 1, 31),
        ("CIFARNiN", nin("CIFARNiN"), 3, 6),
    ],
)
def test_images_that_are_too_small(
    owner: str, make: Any, channels: int, smallest: int
) -> None:
    for size in ((smallest - 1, smallest), (smallest, smallest - 1)):
        shape = (2, channels, *size)
        text = (
            f"{owner}: x must have at least {smallest} positions along each spatial "
            f"axis, got {shape}"
        )
        refused_alike(
            lambda half, shape=shape: make(half)(half.zeros(*shape)), ValueError, text
        )
    for half in HALVES.values():
        assert len(make(half)(half.zeros(2, channels, smallest, smallest))) == 2
    mx.nd.waitall()


X = (2, 3, 4)
MASK = "keep must have shape (2,), one entry for each example, got"


def calls(
    drop_prob: float, mode: str, *more: Any, x: Any = X, extra: int = 0
) -> Callable[[Any], Any]:
    """A call in training; what is a tuple stands for zeros of that shape."""

    def call(half: Any) -> Any:
        def made(value: Any) -> Any:
            return half.zeros(*value) if isinstance(value, tuple) else value

        return depth(drop_prob, mode, extra)(half)(made(x), *map(made, more))

    return call


# (a call, its error, and the text after "StochasticDepth: " unless it names an owner)
CALLS: list[tuple[Any, type[Exception], str]] = [
    (calls(0.5, "row", x=(2, 3)), ValueError, f"x {RANKS}, got (2, 3)"),
    (calls(1.0, "batch", x=(2, 3)), ValueError, f"x {RANKS}, got (2, 3)"),
    (calls(0.5, "batch", x=[1.0]), TypeError, "x must be a tensor, got list"),
    (calls(0.5, "row", x=3), TypeError, "x must be a tensor, got int"),
    # Whether or not the branch is dropped: the identity is looked at.
    (calls(1.0, "batch", [1.0]), TypeError, "identity must be a tensor, got list"),
    (calls(0.0, "batch", [1.0]), TypeError, "identity must be a tensor, got list"),
    (calls(1.0, "batch", (2, 3)), ValueError, f"identity {RANKS}, got (2, 3)"),
    (calls(0.0, "row", (2, 3)), ValueError, f"identity {RANKS}, got (2, 3)"),
    (
        calls(0.0, "batch", (2, 4, 4)),
        ValueError,
        f"add_zero_padded: {MISFIT} (2, 3, 4) and identity (2, 4, 4)",
    ),
    (
        calls(0.5, "row", (1, 3, 4)),
        ValueError,
        f"add_zero_padded: {MISFIT} (2, 3, 4) and identity (1, 3, 4)",
    ),
    (
        calls(0.0, "batch", extra=1),
        ValueError,
        "add_zero_padded: extra must be the channels of x less those of identity, "
        "3 - 3 = 0, got 1",
    ),
    (
        calls(0.5, "row", (2, 2, 4)),
        ValueError,
        "add_zero_padded: extra must be the channels of x less those of identity, "
        "3 - 2 = 1, got 0",
    ),
    (
        calls(0.5, "batch", None, 1),
        TypeError,
        "keep must be True or False, got 1",
    ),
    (
        calls(0.5, "batch", None, np.True_),
        TypeError,
        f"keep must be True or False, got {np.True_!r}",
    ),
    (
        calls(0.5, "row", None, True),
        TypeError,
        "keep must be a tensor in mode 'row', got bool",
    ),
    (
        calls(0.5, "row", None, [1, 0]),
        TypeError,
        "keep must be a tensor in mode 'row', got list",
    ),
    (
        calls(0.5, "row", None, np.ones(2)),
        TypeError,
        "keep must be a tensor in mode 'row', got ndarray",
    ),
    (calls(0.5, "row", None, (3,)), ValueError, f"{MASK} (3,)"),
    (calls(0.5, "row", None, (2, 1)), ValueError, f"{MASK} (2, 1)"),
    (calls(0.5, "row", None, (1, 2)), ValueError, f"{MASK} (1, 2)"),
    (calls(0.5, "row", None, (2, 1, 1)), ValueError, f"{MASK} (2, 1, 1)"),
    # A probability of 0 does not excuse a bad mask.
    (calls(0.0, "row", None, (3,)), ValueError, f"{MASK} (3,)"),
]


@pytest.mark.parametrize(
    ("call", "error", "text"), CALLS, ids=[str(i) for i in range(len(CALLS))]
)
def test_calls_of_stochastic_depth(
    call: Any, error: type[Exception], text: str
) -> None:
    owner = "" if text.startswith("add_zero_padded: ") else "StochasticDepth: "
    refused_alike(call, error, owner + text)


def test_a_bad_mask_is_told_in_evaluation_too() -> None:
    gluon = depth(0.5, "row")(HALVES["gluon"]).block
    pytorch = depth(0.5, "row")(HALVES["pytorch"]).eval()
    for half, block in ((HALVES["gluon"], gluon), (HALVES["pytorch"], pytorch)):
        with pytest.raises(ValueError, match="keep must have shape") as caught:
            block(half.zeros(*X), None, half.zeros(3))
        assert str(caught.value) == f"StochasticDepth: {MASK} (3,)"


def test_capabilities_of_nothing() -> None:
    for name in (None, 3, "", "Add_zero_padded"):
        found = {
            key: outcome(half, lambda h, n=name: h.padded_sums.capabilities(n))
            for key, half in HALVES.items()
        }
        assert len(set(found.values())) == 1
        assert {error for error, _ in found.values()} == {ValueError}


def test_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same words, with PyTorch's spelling of devices. The weight stands for one on
    a GPU, which no CPU machine can have."""
    text = (
        "Block: x has device cpu, but the parameters have cuda:1; convert one of them"
    )
    weights = {
        "gluon": SimpleNamespace(
            dtype="float32", _data=(), list_ctx=lambda: [mx.gpu(1)]
        ),
        "pytorch": SimpleNamespace(dtype=torch.float32, device="cuda:1"),
    }
    for name, half in HALVES.items():
        monkeypatch.setattr(half.inputs, "_own_weight", lambda *_, n=name: weights[n])
        with pytest.raises(ValueError, match="device") as caught:
            half.inputs.check_input("Block", half.zeros(1, 2, 3), 1, 2, half.relu())
        assert str(caught.value) == text


def test_symbols_and_traces_are_not_looked_at() -> None:
    halves("inputs")[0].check_input("Block", mx.sym.var("x"), 1, 2)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_numpy_integers_are_taken(kind: Any) -> None:
    calls = [
        conv(kind(2), kind(8), kind(3), kind(2), kind(1), rank=kind(1)),
        chunks(kind(2), kind(8), kind(3), kind(2), kind(2), rank=kind(1)),
        chunks(kind(2), kind(8), kind(3), kind(2), shortcut="zeros", rank=kind(1)),
        pads(kind(2), kind(8), kind(2), kind(1)),
        zeros(kind(2), kind(8), kind(2), kind(1)),
    ]
    for half in HALVES.values():
        for call in calls:
            block = call(half)
            assert tuple(block(half.zeros(3, 2, 9)).shape) == (3, 8, 5)
        padded = half.shortcuts.zero_pad_channels(half.zeros(3, 2, 9), kind(4))
        assert tuple(padded.shape) == (3, 4, 9)
        total = half.shortcuts.add_zero_padded(padded, half.zeros(3, 2, 9), kind(2))
        assert tuple(total.shape) == (3, 4, 9)
        block = unit(kind(2), kind(8), kind(2))(half)
        assert tuple(block(half.zeros(3, 2, 9, 8)).shape) == (3, 8, 5, 4)
        net = pyramid(kind(8), kind(12), kind(5), kind(2))(half)
        assert tuple(net(half.zeros(3, 2, 5, 5)).shape) == (3, 5)
        block = depth(np.float64(0.0), "row", kind(0))(half)
        assert tuple(block(half.zeros(3, 2, 9)).shape) == (3, 2, 9)
    mx.nd.waitall()


def test_every_axis_is_looked_at() -> None:
    text = (
        "output_size: a window of 5 (kernel_size=5, dilation=1) does not fit into "
        "4 inputs (n=4, padding=0 on each side)"
    )
    refused_alike(
        lambda half: conv(2, 4, 5, padding=0, rank=2)(half)(half.zeros(1, 2, 9, 4)),
        ValueError,
        text,
    )


# -- Network in Network ----------------------------------------------------------------

NIN_SIZES: list[tuple[str, dict[str, Any], str]] = [
    ("nin_block", {"in_channels": 3, "channels": 4, "kernel_size": 3}, "in_channels"),
    ("nin_block", {"in_channels": 3, "channels": 4, "kernel_size": 3}, "channels"),
    ("nin_block", {"in_channels": 3, "channels": 4, "kernel_size": 3}, "kernel_size"),
    ("nin_block", {"in_channels": 3, "channels": 4, "kernel_size": 3}, "stride"),
    ("NiN", {}, "num_classes"),
    ("NiN", {}, "in_channels"),
    ("nin_small", {}, "num_classes"),
    ("nin_small", {}, "in_channels"),
    ("CIFARNiN", {}, "num_classes"),
    ("CIFARNiN", {}, "in_channels"),
]


@pytest.mark.parametrize(("value", "error", "text"), SIZES)
@pytest.mark.parametrize(
    ("name", "options", "argument"),
    NIN_SIZES,
    ids=[f"{n}-{a}" for n, _, a in NIN_SIZES],
)
def test_sizes_of_nin(
    name: str, options: dict[str, Any], argument: str, value: Any, error: Any, text: str
) -> None:
    owner = "NiN" if name == "nin_small" else name
    call = nin(name, **options | {argument: value})
    refused_alike(call, error, f"{owner}: {argument} {text}")


STEM = "stem must be (kernel_size, stride, padding), got"
RATE = "dropout must be at least 0 and below 1, got"
NIN_BLOCK = {"in_channels": 3, "channels": 4, "kernel_size": 3}
NINS: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    (
        "nin_block",
        NIN_BLOCK | {"last_relu": 1},
        TypeError,
        "last_relu must be True or False, got 1",
    ),
    ("NiN", {"last_relu": 0}, TypeError, "last_relu must be True or False, got 0"),
    ("NiN", {"last_width": 0}, ValueError, "last_width must be at least 1, got 0"),
    ("NiN", {"last_width": "8"}, TypeError, "last_width must be an integer, got '8'"),
    (
        "nin_block",
        NIN_BLOCK | {"padding": -1},
        ValueError,
        "padding must be at least 0, got -1",
    ),
    (
        "nin_block",
        NIN_BLOCK | {"padding": "full"},
        ValueError,
        "padding must be 'same', 'valid' or an integer, got 'full'",
    ),
    (
        "nin_block",
        NIN_BLOCK | {"pointwise": 4},
        TypeError,
        "pointwise must be a tuple of sizes, got 4",
    ),
    (
        "nin_block",
        NIN_BLOCK | {"pointwise": "44"},
        TypeError,
        "pointwise must be a tuple of sizes, got '44'",
    ),
    (
        "nin_block",
        NIN_BLOCK | {"pointwise": (4, 0)},
        ValueError,
        "pointwise[1] must be at least 1, got 0",
    ),
    (
        "nin_block",
        NIN_BLOCK | {"pointwise": [4.0]},
        TypeError,
        "pointwise[0] must be an integer, got 4.0",
    ),
    (
        "NiN",
        {"widths": (8, 8)},
        ValueError,
        "widths must have 3 entries, got (8, 8)",
    ),
    (
        "NiN",
        {"widths": (8, 8, 8, 8)},
        ValueError,
        "widths must have 3 entries, got (8, 8, 8, 8)",
    ),
    ("NiN", {"widths": ()}, ValueError, "widths must have 3 entries, got ()"),
    ("NiN", {"widths": 8}, TypeError, "widths must be a tuple of sizes, got 8"),
    ("NiN", {"widths": None}, TypeError, "widths must be a tuple of sizes, got None"),
    (
        "NiN",
        {"widths": (8, 0, 8)},
        ValueError,
        "widths[1] must be at least 1, got 0",
    ),
    (
        "NiN",
        {"widths": (8, 8, True)},
        TypeError,
        "widths[2] must be an integer, got True",
    ),
    ("NiN", {"stem": 3}, TypeError, f"{STEM} 3"),
    ("NiN", {"stem": "311"}, TypeError, f"{STEM} '311'"),
    ("NiN", {"stem": None}, TypeError, f"{STEM} None"),
    ("NiN", {"stem": (3, 1)}, ValueError, f"{STEM} (3, 1)"),
    ("NiN", {"stem": [3, 1, 1, 1]}, ValueError, f"{STEM} (3, 1, 1, 1)"),
    ("NiN", {"stem": (0, 1, 1)}, ValueError, "stem[0] must be at least 1, got 0"),
    ("NiN", {"stem": (3, 0, 1)}, ValueError, "stem[1] must be at least 1, got 0"),
    ("NiN", {"stem": (3, 1, -1)}, ValueError, "stem[2] must be at least 0, got -1"),
    (
        "NiN",
        {"stem": (3, 1, "same")},
        TypeError,
        "stem[2] must be an integer, got 'same'",
    ),
    ("NiN", {"pool": "sum"}, ValueError, "pool must be one of 'avg', 'max', got 'sum'"),
    ("NiN", {"pool": None}, ValueError, "pool must be one of 'avg', 'max', got None"),
    *(
        (name, {"dropout": value}, error, text)
        for name in ("NiN", "CIFARNiN")
        for value, error, text in (
            (-0.5, ValueError, f"{RATE} -0.5"),
            # MXNet divides by what is kept: 0 * inf there, and zeros in PyTorch.
            (1, ValueError, f"{RATE} 1"),
            (1.5, ValueError, f"{RATE} 1.5"),
            (float("nan"), ValueError, "dropout must be finite, got nan"),
            ("0.5", TypeError, "dropout must be a number, got '0.5'"),
            (True, TypeError, "dropout must be a number, got True"),
        )
    ),
]


@pytest.mark.parametrize(
    ("name", "options", "error", "text"),
    NINS,
    ids=[f"{name}-{text[:50]}" for name, _, _, text in NINS],
)
def test_nin(
    name: str, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    refused_alike(nin(name, **options), error, f"{name}: {text}")


@pytest.mark.parametrize(
    ("owner", "make"),
    [
        ("NiN", nin("NiN", 5, 4, (2, 2, 2), (3, 1, 1))),
        ("NiN", nin("NiN", 5, 4, (2, 2, 2), (3, 1, 1), pool="max")),
        ("NiN", nin("nin_small", 5, 4)),
        ("CIFARNiN", nin("CIFARNiN", 5, 4)),
    ],
    ids=["NiN", "NiN-max", "nin_small", "CIFARNiN"],
)
class TestCallsOfNiN:
    @pytest.mark.parametrize(
        "shape", [(4,), (2, 4), (2, 4, 16), (2, 3, 16, 16), (2, 4, 16, 16, 16)]
    )
    def test_shape(self, owner: str, make: Any, shape: tuple[int, ...]) -> None:
        text = f"{owner}: x must have shape (N, 4, H, W), got {shape}"
        refused_alike(lambda half: make(half)(half.zeros(*shape)), ValueError, text)

    @pytest.mark.parametrize("axis", [0, 2, 3])
    def test_empty(self, owner: str, make: Any, axis: int) -> None:
        shape = tuple(0 if i == axis else n for i, n in enumerate((2, 4, 16, 16)))
        text = (
            f"{owner}: x must have shape (N, 4, H, W), got {shape}; no axis may be "
            "empty"
        )
        refused_alike(lambda half: make(half)(half.empty(*shape)), ValueError, text)

    @pytest.mark.parametrize("value", [None, 3, [1.0], np.zeros((2, 4, 16, 16))])
    def test_kind(self, owner: str, make: Any, value: Any) -> None:
        text = f"{owner}: x must be a tensor, got {type(value).__name__}"
        refused_alike(lambda half: make(half)(value), TypeError, text)

    @pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "uint8"])
    def test_dtype(self, owner: str, make: Any, dtype: str) -> None:
        text = (
            f"{owner}: x has dtype {dtype}, but the parameters have float32; "
            "convert one of them"
        )
        refused_alike(
            lambda half: make(half)(half.zeros(2, 4, 16, 16, dtype=dtype)),
            ValueError,
            text,
        )

    def test_the_error_is_not_the_end(self, owner: str, make: Any) -> None:
        """Nor once the Gluon net is hybridized."""
        for name, half in HALVES.items():
            for hybrid in {False, name == "gluon"}:
                net = make(half)
                if hybrid:
                    net.hybridize()
                for shape in ((2, 4), (2, 4, 5, 5), (2, 3, 16, 16)):
                    found = outcome(half, lambda h, n=net, s=shape: n(h.zeros(*s)))
                    assert found[0] is ValueError
                    assert tuple(net(half.zeros(2, 4, 16, 16)).shape) == (2, 5)
        mx.nd.waitall()


def test_numpy_integers_are_taken_by_nin() -> None:
    i = np.int64
    for half in HALVES.values():
        block = nin("nin_block", i(3), i(4), i(3), i(1), i(1), np.array([5, 6]))(half)
        assert tuple(block(half.zeros(2, 3, 7, 7)).shape) == (2, 6, 7, 7)
        widths, stem = np.array([2, 3, 4]), np.array([3, 1, 1])
        net = nin("NiN", i(5), i(2), widths, stem, np.float32(0.5))(half)
        assert tuple(net(half.zeros(2, 2, 16, 16)).shape) == (2, 5)
    mx.nd.waitall()
