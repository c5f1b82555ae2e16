"""Bad input: the same type and the same words in both halves, and at once."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pairs import halves

from d2lutils.compat import mx


def gluon_half() -> Any:
    modules = {m: halves(m)[0] for m in ("blocks", "residual", "shortcuts", "inputs")}

    def ready(block: Any) -> Any:
        block.initialize()
        return block

    return SimpleNamespace(
        **modules,
        ready=ready,
        zeros=lambda *shape, dtype="float32": mx.nd.zeros(shape, dtype=dtype),
        empty=lambda *shape: mx.nd.array(np.zeros(shape, "float32")),
        double=lambda block: block.cast("float64") or block,
    )


def pytorch_half() -> Any:
    modules = {m: halves(m)[1] for m in ("blocks", "residual", "shortcuts", "inputs")}
    return SimpleNamespace(
        **modules,
        ready=lambda block: block,
        zeros=lambda *shape, dtype="float32": torch.zeros(
            shape, dtype=getattr(torch, dtype)
        ),
        empty=torch.zeros,
        double=lambda block: block.double(),
    )


HALVES = {"gluon": gluon_half(), "pytorch": pytorch_half()}


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
    assert found["gluon"] == found["pytorch"]
    assert found["gluon"] == (error, text)


def conv(*arguments: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda half: half.ready(half.blocks.ConvChunk(*arguments, **options))


def chunks(*arguments: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda half: half.ready(half.residual.ResidualChunks(*arguments, **options))


def pads(*arguments: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda half: half.ready(
        half.shortcuts.SubsampleZeroPad(*arguments, **options)
    )


SIZES = [
    (0, ValueError, "must be at least 1, got 0"),
    (-2, ValueError, "must be at least 1, got -2"),
    (2.0, TypeError, "must be an integer, got 2.0"),
    ("2", TypeError, "must be an integer, got '2'"),
    (True, TypeError, "must be an integer, got True"),
    (None, TypeError, "must be an integer, got None"),
    ((2, 2), TypeError, "must be an integer, got (2, 2)"),
]
OWNERS = [
    (conv, "ConvChunk", ("in_channels", "channels", "kernel_size", "stride")),
    (
        chunks,
        "ResidualChunks",
        ("in_channels", "channels", "kernel_size", "stride", "chain_length"),
    ),
    (pads, "SubsampleZeroPad", ("in_channels", "channels", "stride")),
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
    if make is pads:
        del sizes["kernel_size"]
    refused_alike(make(**sizes | {name: value}), error, f"{owner}: {name} {text}")


CONSTRUCTORS: list[tuple[Any, type[Exception], str]] = [
    (conv(2, 4, 3, padding=-1), ValueError, "ConvChunk: padding must be at least 0, "),
    (
        conv(2, 4, 3, padding="valid"),
        ValueError,
        "ConvChunk: padding must be 'same' or an integer, got 'valid'",
    ),
    (
        conv(2, 4, 3, padding=1.5),
        TypeError,
        "ConvChunk: padding must be an integer, got 1.5",
    ),
    (
        conv(2, 4, 3, padding=(1, 1)),
        TypeError,
        "ConvChunk: padding must be an integer, got (1, 1)",
    ),
    (
        conv(2, 4, 3, padding=np.array([1, 1])),
        TypeError,
        "ConvChunk: padding must be an integer, got array([1, 1])",
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
        "ResidualChunks: padding must be 'same' or an integer, got 'full'",
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
]


@pytest.mark.parametrize(
    ("call", "error", "text"), CONSTRUCTORS, ids=[c[2][:60] for c in CONSTRUCTORS]
)
def test_constructors(call: Any, error: Any, text: str) -> None:
    found = [outcome(half, call) for half in HALVES.values()]
    assert found[0] == found[1]
    assert found[0][0] is error
    assert found[0][1].startswith(text)


# (owner, the block, rank)
BLOCKS = [
    ("ConvChunk", conv(4, 6, 3), 1),
    ("ConvChunk", conv(4, 6, 3, rank=2), 2),
    ("ResidualChunks", chunks(4, 6, 3), 1),
    ("ResidualChunks", chunks(4, 6, 3, rank=2), 2),
    ("SubsampleZeroPad", pads(4, 6, rank=1), 1),
    ("SubsampleZeroPad", pads(4, 6), 2),
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
        if owner == "SubsampleZeroPad":
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
            assert tuple(block(half.zeros(*shape)).shape) == (2, 6, *shape[2:])


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


class OtherDevice:
    """Stands for a parameter on a GPU, which no CPU machine can have."""

    dtype = "float32"
    _data = ()

    def list_ctx(self) -> list[Any]:
        return [mx.gpu(1)]


def test_device() -> None:
    """The same words, with PyTorch's spelling of devices."""
    text = (
        "Block: x has device cpu, but the parameters have cuda:1; convert one of them"
    )
    parameters = {
        "gluon": OtherDevice(),
        "pytorch": SimpleNamespace(dtype=torch.float32, device="cuda:1"),
    }
    for name, half in HALVES.items():
        with pytest.raises(ValueError, match="device") as caught:
            half.inputs.check_input(
                *("Block", half.zeros(1, 2, 3), 1, 2, parameters[name])
            )
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
    ]
    for half in HALVES.values():
        for call in calls:
            block = call(half)
            assert tuple(block(half.zeros(3, 2, 9)).shape) == (3, 8, 5)
        padded = half.shortcuts.zero_pad_channels(half.zeros(3, 2, 9), kind(4))
        assert tuple(padded.shape) == (3, 4, 9)
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
