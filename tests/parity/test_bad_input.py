"""Bad input: the same type and the same words in both halves, and at once.

Rules stand in annotations, so one test walks over all public constructors and functions
and breaks the rule of each argument once. What else a rule refuses is in
`tests/unit/test_arguments.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from nets import MODULES, halves
from without_mxnet import halves_here

from d2lutils._arguments import rules_of
from d2lutils.compat import mx

BLOCKS = [name for name in MODULES if name != "memory"]


def public(half: int) -> dict[str, Any]:
    """What one half offers, by name, but for what measures memory."""
    modules = [halves(name)[half] for name in BLOCKS]
    return {name: vars(module)[name] for module in modules for name in module.__all__}


def gluon_half() -> Any:
    def ready(made: Any) -> Any:
        if isinstance(made, mx.gluon.Block):
            made.initialize()
        return made

    def zeros(*shape: int, dtype: str = "float32") -> Any:
        return mx.nd.array(np.zeros(shape, dtype), dtype=dtype)

    return SimpleNamespace(
        **public(0) | {name: halves(name)[0] for name in BLOCKS},
        ready=ready,
        zeros=zeros,
        double=lambda block: block.cast("float64") or block,
        relu=lambda: mx.gluon.nn.Activation("relu"),
        dense=lambda: ready(mx.gluon.nn.Dense(3, in_units=2)),
        train_mode=mx.autograd.train_mode,
    )


def pytorch_half() -> Any:
    def zeros(*shape: int, dtype: str = "float32") -> Any:
        return torch.zeros(shape, dtype=getattr(torch, dtype))

    return SimpleNamespace(
        **public(1) | {name: halves(name)[1] for name in BLOCKS},
        ready=lambda made: made,
        zeros=zeros,
        double=lambda block: block.double(),
        relu=torch.nn.ReLU,
        dense=lambda: torch.nn.Linear(2, 3),
        train_mode=torch.enable_grad,
    )


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
    call: Callable[[Any], Any] | str, error: type[Exception], text: str
) -> None:
    if isinstance(call, str):
        code = call

        def call(half: Any) -> Any:
            return eval(code, vars(half) | {"np": np, "X": X})

    found = {name: outcome(half, call) for name, half in HALVES.items()}
    assert found == dict.fromkeys(HALVES, (error, text))


# -- constructors and functions: each argument breaks its rule once --------------------

CONV = {"in_channels": 4, "channels": 6, "kernel_size": 3}
EACH = {"in_channels": 4, "out_channels": 6, "kernel_size": 3}
DATA = [(np.ones((2, 2), "float32"), np.array([0, 1]))]
#: Arguments with which each of them works; a string is code.
WORKS: dict[str, dict[str, Any]] = {
    "ConvChunk": CONV,
    "ResidualChunks": CONV,
    "SubsampleZeroPad": {"in_channels": 4, "channels": 6},
    "ZeroPadShortcut": {"in_channels": 4, "channels": 6},
    "SqueezeExcite": {"channels": 4, "reduction": 2},
    "ResNetUnit": {"in_channels": 4, "channels": 6},
    "ResNet": {"depth": 8, "in_channels": 4},
    "PyramidUnit": {"in_channels": 4, "width": 6},
    "PyramidNet": {"depth": 8, "alpha": 12, "in_channels": 4},
    "StochasticDepth": {"branch": "relu()", "drop_prob": 0.5},
    "nin_block": CONV,
    "NiN": {"in_channels": 4, "widths": (2, 2, 2), "stem": (3, 1, 1)},
    "nin_small": {"in_channels": 4},
    "CIFARNiN": {"in_channels": 4},
    "CondConv2d": EACH,
    "Experts2d": EACH,
    "WeightNet2d": EACH | {"reduction": 2},
    "GeneratedConv2d": EACH,
    "fit": {"net": "dense()", "train_data": DATA, "epochs": 1, "progress": False},
    "accuracy": {"net": "dense()", "data": DATA},
    "try_gpu": {},
    "use_gpu": {},
    "why_no_gpu": {},
}
#: Whom the messages name, where it is another.
OWNERS = {
    "Experts2d": "CondConv2d",
    "GeneratedConv2d": "WeightNet2d",
    "nin_small": "NiN",
}
SIZE = (0, " must be at least 1, got 0")
ONE_OF = " must be one of "
#: By annotation: a value that breaks the rule, and what follows the argument's name.
BREAKS: dict[str, tuple[Any, str]] = {
    "Positive": SIZE,
    "Widened": SIZE,
    "Groups": SIZE,
    "Reduction": SIZE,
    "BlockWidth": SIZE,
    "KernelGroups": SIZE,
    "PerAxis": SIZE,
    "NonNegative": (-1, " must be at least 0, got -1"),
    "Rank": (3, ONE_OF + "1, 2, got 3"),
    "HalvingStride": ((2, 3), "[1] must be one of 1, 2, got 3"),
    "Padding": ("full", " must be 'same', 'valid' or an integer, got 'full'"),
    "PaddingSides": ("full", " must be 'same', 'valid' or an integer, got 'full'"),
    "PaddingMode": ("", ONE_OF + "'zeros', 'reflect', 'replicate', 'circular', got ''"),
    "Dimensions": ((4, 0), "[1] must be at least 1, got 0"),
    "Widths": ((8, 8), " must have 3 entries, got (8, 8)"),
    "StemWindow": ((3, 1, -1), "[2] must be at least 0, got -1"),
    "Probability": (1.5, " must be at least 0 and at most 1, got 1.5"),
    "DropoutRate": (1, " must be at least 0 and below 1, got 1"),
    "NonNegativeNumber": (-0.5, " must be at least 0, got -0.5"),
    "Mode": ("layer", ONE_OF + "'batch', 'row', 'gather', got 'layer'"),
    "Block": ("wide", ONE_OF + "'basic', 'bottleneck', got 'wide'"),
    "Shortcut": (
        *("skip", ONE_OF + "'auto', 'identity', 'projection', 'zeros', got 'skip'"),
    ),
    "UnitShortcut": (2, ONE_OF + "'projection', 'zeros', got 2"),
    "Literal['avg', 'max']": (None, ONE_OF + "'avg', 'max', got None"),
    "Literal['sgd', 'adam']": ("SGD", ONE_OF + "'sgd', 'adam', got 'SGD'"),
    "NamedSchedule": ("linear", ONE_OF + "'constant', 'cosine', got 'linear'"),
    "Device": (
        "tpu",
        " must be a device or a name such as 'cpu', 'cuda:0' or 'mps', got 'tpu'",
    ),
}
#: The same, where a TypeError is due.
BREAKS_KIND: dict[str, tuple[Any, str]] = {
    "Bool": (1, " must be True or False, got 1"),
    "Depthwise": (None, " must be True or False, got None"),
    "Pair": ((3, "1"), "[1] must be an integer, got '1'"),
    "Function": (3, " must be a function, got 3"),
    "Layer": (abs, " must be a layer or block, got builtin_function_or_method"),
    "Batches": (
        iter([]),
        " must be an iterable of (x, y) batches that can be gone through once an "
        "epoch, got list_iterator",
    ),
}
#: In each half its own words, which test_training.py and test_condconv.py have.
OWN_WORDS = {"Net", "Trainable", "Form"}


def constructor(name: str) -> Any:
    """A function, or the function that a class makes its objects with."""
    found = getattr(HALVES["pytorch"], name)
    return inspect.unwrap(found.__init__ if inspect.isclass(found) else found)


def owner(name: str) -> str:
    return OWNERS.get(name, name)


def made(name: str, **changes: Any) -> Callable[[Any], Any]:
    """A call that makes it from arguments that work, but for some changes."""

    def call(half: Any) -> Any:
        options = {
            key: eval(value, vars(half)) if isinstance(value, str) else value
            for key, value in WORKS[name].items()
            if key not in changes
        }
        return half.ready(getattr(half, name)(**options | changes))

    return call


def wirings() -> Iterator[Any]:
    for name in WORKS:
        for argument in rules_of(constructor(name)):
            hint = inspect.signature(constructor(name)).parameters[argument].annotation
            if hint.removesuffix(" | None") not in OWN_WORDS:
                yield pytest.param(name, argument, hint, id=f"{name}-{argument}")


@pytest.mark.parametrize(("name", "argument", "hint"), list(wirings()))
def test_each_argument_has_its_rule(name: str, argument: str, hint: str) -> None:
    hint = hint.removesuffix(" | None")
    error = ValueError if hint in BREAKS else TypeError
    value, text = (BREAKS | BREAKS_KIND)[hint]
    call = made(name, **{argument: value})
    refused_alike(call, error, f"{owner(name)}: {argument}{text}")


def test_whatever_has_rules_is_walked_over() -> None:
    callables = [name for name, value in public(1).items() if callable(value)]
    ruled = {name for name in callables if rules_of(constructor(name))}
    assert ruled - {"capabilities"} == WORKS.keys() - {"nin_small"}


@pytest.mark.parametrize("name", WORKS)
def test_numpy_integers_are_taken(name: str) -> None:
    def converted(value: Any) -> Any:
        value = np.array(value) if isinstance(value, tuple) else value
        return np.int64(value) if type(value) is int else value

    integers = {
        key: converted(value)
        for key, value in WORKS[name].items()
        if not isinstance(value, str)
    }
    for half in HALVES.values():
        assert outcome(half, made(name, **integers)) == (type(None), "")


EVEN = "same_padding: kernel_size must be odd so that both sides get the same padding"
IDENTITY = "ResidualChunks: shortcut='identity' needs stride=1 and channels equal to "
OTHER = "; use 'projection' or 'zeros'"
GROUPS = "(three groups of n blocks, a stem and a classifier)"
NUMBERS = "and the 36 numbers of one output channel's filter, got"
#: Rules between arguments, and arguments that are handed on to what names them.
TOGETHER: dict[str, str] = {
    "ConvChunk(4, 6, kernel_size=4)": f"{EVEN}, got 4",
    "ConvChunk(4, 6, 3, padding=-1)": "ConvChunk: padding must be at least 0, got -1",
    "ConvChunk(4, 6, 3, padding=(1, 1))": "ConvChunk: padding must be an integer or "
    "have 1 entry, got (1, 1)",
    "ResidualChunks(4, 6, kernel_size=2)": f"{EVEN}, got 2",
    "ResidualChunks(4, 5, 3, shortcut='identity')": IDENTITY
    + "in_channels, got stride=1, in_channels=4, channels=5"
    + OTHER,
    "ResidualChunks(4, 4, 3, 2, shortcut='identity')": IDENTITY
    + "in_channels, got stride=2, in_channels=4, channels=4"
    + OTHER,
    "ResidualChunks(4, 3, 3, shortcut='zeros')": "ResidualChunks: shortcut='zeros' can "
    "only add channels, got in_channels=4, channels=3; use 'projection'",
    "SubsampleZeroPad(4, 3)": "SubsampleZeroPad: channels must be at least the "
    "input's 4, got 3",
    "ZeroPadShortcut(4, 3)": "ZeroPadShortcut: channels must be at least the input's "
    "4, got 3",
    "SqueezeExcite(4, 5)": "SqueezeExcite: reduction must be at most channels=4, got 5",
    "WeightNet2d(4, 6, 3, reduction=5)": "WeightNet2d: reduction must be at most "
    "in_channels=4, got 5",
    "WeightNet2d(4, 6, 3, M=3, G=2)": f"WeightNet2d: G must divide M=3 {NUMBERS} 2",
    "WeightNet2d(4, 6, 3, M=5, G=5)": f"WeightNet2d: G must divide M=5 {NUMBERS} 5",
    "WeightNet2d(4, 4, 3, reduction=1, depthwise=True)": "WeightNet2d: G must divide "
    "M=2 and the 9 numbers of one output channel's filter, got 2",
    "WeightNet2d(4, 6, 3, depthwise=True)": "WeightNet2d: depthwise=True needs "
    "out_channels equal to in_channels, got in_channels=4, out_channels=6",
    "CondConv2d(4, 6, 3, groups=3)": "CondConv2d: groups must divide in_channels=4 and "
    "out_channels=6, got 3",
    "CondConv2d(4, 6, 3, (1, 2), padding='same')": "CondConv2d: padding='same' needs "
    "stride=1, got (1, 2)",
    "CondConv2d(4, 6, 3, padding=(1, -1))": "CondConv2d: padding[1] must be at least "
    "0, got -1",
    "ResNetUnit(4, 6, reduction=7)": "SqueezeExcite: reduction must be at most "
    "channels=6, got 7",
    "ResNetUnit(4, 6, num_experts=0)": "CondConv2d: num_experts must be at least 1, "
    "got 0",
    "ResNetUnit(4, 3, shortcut='zeros')": "SubsampleZeroPad: channels must be at least "
    "the input's 4, got 3",
    "ResNet(depth=21)": f"resnet_blocks: depth must be 6n + 2 {GROUPS}, got 21; the "
    "nearest is 20",
    "ResNet(reduction=17)": "SqueezeExcite: reduction must be at most channels=16, got "
    "17",
    "ResNet(num_experts=0)": "CondConv2d: num_experts must be at least 1, got 0",
    "ResNet(shortcut=1)": "ResNetUnit: shortcut must be one of 'projection', 'zeros', "
    "got 1",
    "ResNet(dropout=1.0)": "ResNetUnit: dropout must be at least 0 and below 1, got 1",
    "PyramidUnit(4, 3)": "PyramidUnit: channels must be at least the input's 4, got 3",
    "PyramidUnit(9, 2, block='bottleneck')": "PyramidUnit: channels must be at least "
    "the input's 9, got 8",
    "PyramidUnit(4, 6, drop_prob=2)": "StochasticDepth: drop_prob must be at least 0 "
    "and at most 1, got 2",
    "PyramidUnit(4, 6, drop_mode=0)": "StochasticDepth: mode must be one of 'batch', "
    "'row', 'gather', got 0",
    "PyramidNet(depth=21, alpha=9)": "pyramid_blocks: depth must be 6n + 2 for "
    f"stem='cifar' and block='basic' {GROUPS}, got 21; the nearest is 20",
    "PyramidNet(110, 9, stem='imagenet')": "pyramid_blocks: depth must be one of 18, "
    "34 for stem='imagenet' and block='basic', got 110; the nearest is 34",
    "PyramidNet(8, alpha=float('nan'))": "pyramid_widths: alpha must be finite, got "
    "nan",
    "PyramidNet(8, 0.5, widening='multiplicative')": "pyramid_widths: alpha must be at "
    "least 1 for widening='multiplicative', since zeros can only add channels, got 0.5",
    "PyramidNet(8, 9, block=None)": "pyramid_blocks: block must be one of 'basic', "
    "'bottleneck', got None",
    "PyramidNet(8, 9, widening='linear')": "pyramid_widths: widening must be one of "
    "'additive', 'multiplicative', got 'linear'",
    "PyramidNet(8, 9, stem='mnist')": "pyramid_blocks: stem must be one of 'cifar', "
    "'imagenet', got 'mnist'",
    "NiN(stem=(3, 0, 1))": "NiN: stem[1] must be at least 1, got 0",
    "NiN(stem=(3, 1))": "NiN: stem must be (kernel_size, stride, padding), got (3, 1)",
    "nin_small(num_classes=0)": "NiN: num_classes must be at least 1, got 0",
    "nin_small(in_channels=0)": "NiN: in_channels must be at least 1, got 0",
}
TOGETHER_KIND: dict[str, str] = {
    "ConvChunk(4, 6, 3, padding=1.5)": "ConvChunk: padding must be an integer, got 1.5",
    "PyramidUnit(4, 6, add='sum')": "StochasticDepth: add must be a function, got "
    "'sum'",
    "PyramidNet(8, 9, add=3)": "StochasticDepth: add must be a function, got 3",
    "PyramidNet(8.0, 9)": "pyramid_blocks: depth must be an integer, got 8.0",
    "NiN(stem='311')": "NiN: stem must be (kernel_size, stride, padding), got '311'",
}


@pytest.mark.parametrize("call", TOGETHER | TOGETHER_KIND)
def test_arguments_that_do_not_go_together(call: str) -> None:
    error = ValueError if call in TOGETHER else TypeError
    refused_alike(call, error, (TOGETHER | TOGETHER_KIND)[call])


def test_no_argument_is_left_out() -> None:
    """What has no rule is handed on, and a row above says to whom."""
    for name in WORKS:
        rows = [row for row in TOGETHER | TOGETHER_KIND if row.startswith(f"{name}(")]
        names = set(inspect.signature(constructor(name)).parameters)
        free = names - rules_of(constructor(name)).keys() - {"self", "progress"}
        assert {a for a in free if not any(f"{a}=" in row for row in rows)} == set()


@pytest.mark.parametrize(
    ("depth", "options", "nearest"),
    [(3, {}, 8), (167, {"block": "bottleneck"}, 164), (19, {"stem": "imagenet"}, 18)],
)
def test_the_nearest_depth_is_taken(
    depth: int, options: dict[str, Any], nearest: int
) -> None:
    for half in HALVES.values():
        error, text = outcome(half, made("PyramidNet", depth=depth, **options))
        assert error is ValueError
        assert text.endswith(f"; the nearest is {nearest}")
        with torch.device("meta"):
            half.PyramidNet(depth=nearest, alpha=9, **options)


def test_a_way_that_there_is_not() -> None:
    for name in (None, "Add_zero_padded"):
        found = {
            outcome(half, lambda h, n=name: h.capabilities(n))
            for half in HALVES.values()
        }
        assert {error for error, _ in found} == {ValueError}
        assert len(found) == 1


# -- calls of blocks -------------------------------------------------------------------

#: (which, changes to what works, spatial axes)
CALLED: dict[str, tuple[str, dict[str, Any], int]] = {
    **{name: (name, {}, 2) for name in WORKS if name not in ("StochasticDepth",)},
    "ConvChunk": ("ConvChunk", {}, 1),
    "ResidualChunks": ("ResidualChunks", {}, 1),
    "ConvChunk, rank 2": ("ConvChunk", {"rank": 2}, 2),
    "ResidualChunks, rank 2": ("ResidualChunks", {"rank": 2}, 2),
    "SubsampleZeroPad, rank 1": ("SubsampleZeroPad", {"rank": 1}, 1),
    "ZeroPadShortcut, rank 1": ("ZeroPadShortcut", {"rank": 1}, 1),
    "PyramidUnit, always dropped": ("PyramidUnit", {"drop_prob": 1}, 2),
    "NiN, max": ("NiN", {"pool": "max"}, 2),
}
for name in ("nin_block", "fit", "accuracy", "try_gpu", "use_gpu", "why_no_gpu"):
    del CALLED[name]
#: What is not float32 is refused where a parameter is, or only what is an integer.
NO_WEIGHT_FOR_X = ("SubsampleZeroPad", "ZeroPadShortcut", "GeneratedConv2d")
SECOND = {"Experts2d": (2, 3), "GeneratedConv2d": (2, 12)}


def more(name: str, half: Any) -> list[Any]:
    return [half.zeros(*SECOND[name])] if name in SECOND else []


@pytest.mark.parametrize("key", CALLED)
class TestCalls:
    def refused(self, key: str, x: Any, text: str, dtype: str = "float32") -> None:
        name, changes, _ = CALLED[key]

        def call(half: Any) -> Any:
            given = half.zeros(*x, dtype=dtype) if isinstance(x, tuple) else x
            return made(name, **changes)(half)(given, *more(name, half))

        kind = "must be a tensor" in text or "floating" in text
        error = TypeError if kind else ValueError
        refused_alike(call, error, f"{owner(name)}: {text}")

    def test_shape(self, key: str) -> None:
        rank = CALLED[key][2]
        expected = "(N, 4, L)" if rank == 1 else "(N, 4, H, W)"
        for shape in ((2, 4), (2, 3, 9, 9)[: rank + 2], (2, 4, 9, 9)[: 5 - rank]):
            text = f"x must have shape {expected}, got {shape}"
            self.refused(key, shape, text)
        for shape in ((0, 4, 9, 9)[: rank + 2], (2, 4, 0, 9)[: rank + 2]):
            text = f"x must have shape {expected}, got {shape}; no axis may be empty"
            self.refused(key, shape, text)

    def test_kind(self, key: str) -> None:
        for value in ([1.0], np.zeros(4), None):
            name = type(value).__name__
            self.refused(key, value, f"x must be a tensor, got {name}")

    def test_dtype(self, key: str) -> None:
        name, _, rank = CALLED[key]
        shape = (2, 4, 16, 16)[: rank + 2]
        if name in NO_WEIGHT_FOR_X:
            text = "x must be floating point, got int32"
            self.refused(key, shape, text, "int32")
        else:
            text = "x has dtype float64, but the parameters have float32; convert one "
            self.refused(key, shape, text + "of them", "float64")

    def test_the_error_is_not_the_end(self, key: str) -> None:
        """A block that refused something takes the right thing; hybridized, too."""
        name, changes, rank = CALLED[key]
        for half in HALVES.values():
            block = made(name, **changes)(half)
            for hybrid in (False, True):
                if hybrid and hasattr(block, "hybridize"):
                    block.hybridize()
                bad = outcome(half, lambda h, b=block: b(h.zeros(2, 4), *more(name, h)))
                assert bad[0] is ValueError
                x = half.zeros(*(2, 4, 16, 16)[: rank + 2])
                assert len(block(x, *more(name, half))) == 2
        mx.nd.waitall()


def test_dtype_of_the_parameters() -> None:
    text = (
        "ConvChunk: x has dtype float32, but the parameters have float64; convert one "
        "of them"
    )
    refused_alike("double(ready(ConvChunk(4, 6, 3)))(zeros(1, 4, 5))", ValueError, text)


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
    call = "inputs.check_input('Block', zeros(1, 2, 3), 1, 2, relu())"
    refused_alike(call, ValueError, text)


def test_symbols_are_not_looked_at() -> None:
    halves("inputs")[0].check_input("Block", mx.sym.var("x"), 1, 2)


WINDOW = "output_size: a window of {0} (kernel_size={0}, dilation=1) does not fit into "
PADDED = " inputs (n={}, padding={} on each side)"
#: Windows that do not fit into the input, and paths that cannot be added.
MISFITS = {
    "ConvChunk(4, 6, 5, padding=1)|4, 2": WINDOW.format(5) + "4" + PADDED.format(2, 1),
    # The second axis is looked at, too.
    "ConvChunk(4, 6, 5, padding=0, rank=2)|4, 9, 4": WINDOW.format(5)
    + "4"
    + PADDED.format(4, 0),
    # 6 → 4 → 2, and then no window fits.
    "ResidualChunks(4, 6, 3, 1, 3, padding=0)|4, 6": WINDOW.format(3)
    + "2"
    + PADDED.format(2, 0),
    "ResidualChunks(4, 6, 3, 2, 3, padding=0, rank=2)|4, 64, 64": "ResidualChunks: the "
    "branch turns 64 into 27 and the shortcut into 32, so they cannot be added "
    "(kernel_size=3, stride=2, padding=0, chain_length=3); padding='same' makes them "
    "equal",
    "CondConv2d(4, 6, 5)|4, 5, 4": "CondConv2d: a window of 5 (kernel_size=5, "
    "dilation=1) does not fit into 4 inputs (n=4, padding=0 on each side)",
    "CondConv2d(4, 6, 3, padding=2, padding_mode='reflect')|4, 9, 2": "CondConv2d: "
    "padding=2 with padding_mode='reflect' needs at least 3 inputs along each axis, "
    "got 2",
    "CondConv2d(4, 6, 3, padding=5, padding_mode='circular')|4, 5, 4": "CondConv2d: "
    "padding=5 with padding_mode='circular' needs at least 5 inputs along each axis, "
    "got 4",
    "WeightNet2d(4, 6, 5, reduction=1)|4, 4, 5": "WeightNet2d: a window of 5 "
    "(kernel_size=5, dilation=1) does not fit into 4 inputs (n=4, padding=0 on each "
    "side)",
}


@pytest.mark.parametrize("key", MISFITS)
def test_sizes_that_do_not_fit(key: str) -> None:
    block, _, shape = key.partition("|")
    refused_alike(f"ready({block})(zeros(2, {shape}))", ValueError, MISFITS[key])


@pytest.mark.parametrize(
    ("name", "changes", "smallest"),
    [
        ("ZeroPadShortcut", {"stride": 3}, 3),
        ("PyramidUnit", {"stride": 2}, 2),
        ("PyramidUnit", {"stride": 2, "drop_prob": 1.0}, 2),
        ("PyramidNet", {}, 3),
        ("PyramidNet", {"depth": 18, "stem": "imagenet"}, 17),
        ("NiN", {"stem": (11, 4, 0)}, 67),
        ("NiN", {"stem": (5, 2, 1)}, 31),
        ("nin_small", {}, 15),
        ("CIFARNiN", {}, 6),
    ],
)
def test_images_that_are_too_small(
    name: str, changes: dict[str, Any], smallest: int
) -> None:
    """Both say so, and take one position more; MXNet's pooling could not."""
    make = made(name, **changes)
    for size in ((smallest - 1, smallest), (smallest, smallest - 1)):
        shape = (2, 4, *size)
        text = (
            f"{owner(name)}: x must have at least {smallest} positions along each "
            f"spatial axis, got {shape}"
        )
        refused_alike(
            lambda half, shape=shape: make(half)(half.zeros(*shape)), ValueError, text
        )
    for half in HALVES.values():
        assert len(make(half)(half.zeros(2, 4, smallest, smallest))) == 2
    mx.nd.waitall()


# -- calls of functions and of stochastic depth ----------------------------------------

X = (2, 3, 4)
RANKS = "must have shape (N, C, L) or (N, C, H, W), got"
EMPTY = "; no axis may be empty"
MISFIT = "identity must have the batch and space of x and at most its channels, got x"
EXTRA = "extra must be the channels of x less those of identity, "
PAD, ADD = "zero_pad_channels: ", "add_zero_padded: "
LAYER = "ready(CondConv2d(4, 6, 3))(zeros(2, 4, 5, 5), "
MAKER = "ready(WeightNet2d(4, 6, 3, reduction=1))(zeros(2, 4, 5, 5), "
TABLE = "routing_weights must have shape (2, 3), a row for each example, got "
FUNCTIONS = {
    f"{LAYER}zeros(2, 4))": f"CondConv2d: {TABLE}(2, 4)",
    f"{LAYER}zeros(1, 3))": f"CondConv2d: {TABLE}(1, 3)",
    f"{LAYER}zeros(3))": f"CondConv2d: {TABLE}(3,)",
    **{
        f"{MAKER}zeros{shape})": "WeightNet2d: alpha must have shape (2, 12), a row "
        f"for each example, got {shape}"
        for shape in ((2, 6), (1, 12), (2, 12, 1, 1))
    },
    f"{LAYER}zeros(2, 3, dtype='float64'))": "CondConv2d: routing_weights has dtype "
    "float64, but x has float32; convert one of them",
    "zero_pad_channels(zeros(2, 3, 4), 2)": PAD
    + "channels must be at least the input's 3, got 2",
    "zero_pad_channels(zeros(2, 3, 4), 0)": PAD + "channels must be at least 1, got 0",
    "zero_pad_channels(zeros(2, 3), 4)": PAD + f"x {RANKS} (2, 3)",
    "zero_pad_channels(zeros(0, 3, 4), 4)": PAD + f"x {RANKS} (0, 3, 4){EMPTY}",
    "add_zero_padded(zeros(2, 5), zeros(2, 3))": ADD + f"x {RANKS} (2, 5)",
    "add_zero_padded(zeros(2, 5, 3), zeros(2, 3))": ADD + f"identity {RANKS} (2, 3)",
    "add_zero_padded(zeros(2, 5, 4), zeros(2, 0, 4))": ADD
    + f"identity {RANKS} (2, 0, 4){EMPTY}",
    "add_zero_padded(zeros(2, 5, 4, 3), zeros(2, 3, 3, 4))": ADD
    + f"{MISFIT} (2, 5, 4, 3) and identity (2, 3, 3, 4)",
    "add_zero_padded(zeros(2, 3, 4), zeros(2, 5, 4))": ADD
    + f"{MISFIT} (2, 3, 4) and identity (2, 5, 4)",
    "add_zero_padded(zeros(2, 5, 4), zeros(2, 3, 4), 0)": ADD
    + EXTRA
    + "5 - 3 = 2, got 0",
    "add_zero_padded(zeros(2, 5, 4), zeros(2, 3, 4), -2)": ADD
    + "extra must be at least 0, got -2",
    "add_zero_padded(zeros(2, 5, 4), zeros(2, 3, 4, dtype='float64'))": ADD
    + "identity has dtype float64, but x has float32; convert one of them",
}
FUNCTIONS_KIND = {
    f"{MAKER}0.5)": "WeightNet2d: alpha must be a tensor, got float",
    f"{LAYER}[[1.0, 0.0, 0.0]] * 2)": "CondConv2d: routing_weights must be a "
    "tensor, got list",
    "zero_pad_channels(zeros(2, 3, 4, dtype='uint8'), 4)": PAD
    + "x must be floating point, got uint8",
    "zero_pad_channels([[[1.0]]], 5)": PAD + "x must be a tensor, got list",
    "add_zero_padded(zeros(2, 5, 4, dtype='int32'), zeros(2, 3, 4))": ADD
    + "x must be floating point, got int32",
    "add_zero_padded(zeros(2, 5, 4), zeros(2, 3, 4, dtype='int64'))": ADD
    + "identity must be floating point, got int64",
    "add_zero_padded([[[1.0]]], zeros(1, 1, 1))": ADD + "x must be a tensor, got list",
    "add_zero_padded(zeros(1, 2, 1), None)": ADD
    + "identity must be a tensor, got NoneType",
}


@pytest.mark.parametrize("call", FUNCTIONS | FUNCTIONS_KIND)
def test_calls_of_functions(call: str) -> None:
    error = ValueError if call in FUNCTIONS else TypeError
    refused_alike(call, error, (FUNCTIONS | FUNCTIONS_KIND)[call])


def test_add_zero_padded_of_symbols_looks_at_extra() -> None:
    """All that it can look at there."""
    with pytest.raises(ValueError, match="extra must be at least 0, got -1"):
        halves("shortcuts")[0].add_zero_padded(mx.sym.var("x"), mx.sym.var("y"), -1)


DEPTH = "StochasticDepth: "
MASK = DEPTH + "keep must have shape (2,), one entry for each example, got"
#: Of StochasticDepth(relu(), …): all is looked at, also if the branch is dropped.
DEPTHS = {
    "1.0, 'batch'|zeros(2, 3)": DEPTH + f"x {RANKS} (2, 3)",
    "0.0, 'row'|zeros(*X), zeros(2, 3)": DEPTH + f"identity {RANKS} (2, 3)",
    "0.0, 'batch'|zeros(*X), zeros(2, 4, 4)": ADD
    + f"{MISFIT} (2, 3, 4) and identity (2, 4, 4)",
    "0.5, 'row'|zeros(*X), zeros(1, 3, 4)": ADD
    + f"{MISFIT} (2, 3, 4) and identity (1, 3, 4)",
    "0.0, 'batch', 1|zeros(*X)": ADD + EXTRA + "3 - 3 = 0, got 1",
    "0.5, 'row'|zeros(*X), None, zeros(2, 1)": f"{MASK} (2, 1)",
    "0.0, 'gather'|zeros(*X), None, zeros(3)": f"{MASK} (3,)",
}
DEPTHS_KIND = {
    "0.5, 'row'|3": DEPTH + "x must be a tensor, got int",
    "1.0, 'batch'|zeros(*X), [1.0]": DEPTH + "identity must be a tensor, got list",
    "0.5, 'batch'|zeros(*X), None, np.True_": DEPTH
    + f"keep must be True or False, got {np.True_!r}",
    "0.5, 'row'|zeros(*X), None, [1, 0]": DEPTH
    + "keep must be a tensor in mode 'row', got list",
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("key", DEPTHS | DEPTHS_KIND)
def test_calls_of_stochastic_depth(key: str, training: bool) -> None:
    options, _, given = key.partition("|")

    def call(half: Any) -> Any:
        names = vars(half) | {"np": np, "X": X}
        block = eval(f"StochasticDepth(relu(), {options})", names)
        arguments = eval(f"({given},)", names)
        if not training:
            return getattr(block, "eval", lambda: block)()(*arguments)
        with half.train_mode():
            return block(*arguments)

    error = ValueError if key in DEPTHS else TypeError
    refused_alike(call, error, (DEPTHS | DEPTHS_KIND)[key])
