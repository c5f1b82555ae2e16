"""Rules of arguments: what passes, in which form, and what the messages say."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import traceback
from fractions import Fraction
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2lutils import _arguments as rules
from d2lutils import _inputs as inputs
from d2lutils import _training as training
from d2lutils._arguments import (
    Bool,
    NonNegative,
    PerAxis,
    Positive,
    Probability,
    Rank,
    Rule,
    checked,
    checked_as,
    rules_of,
)
from d2lutils.compat import mx

O = "Owner"  # noqa: E741

# -- one value -------------------------------------------------------------------------

PASSES = [
    (rules.integer, (np.array(3),), 3),
    (rules.positive, (np.uint8(1),), 1),
    (rules.non_negative, (0,), 0),
    (rules.number, (np.float32(0.5),), 0.5),
    (rules.number, (Fraction(1, 4), 0, 1), 0.25),
    (rules.number, (np.int64(1), 0, 1), 1.0),
    (rules.boolean, (False,), False),
    (rules.choice, (np.int64(2), (1, 2)), 2),
    (rules.shape_of, ([np.int64(2), 3],), (2, 3)),
    (rules.shape_of, ((),), ()),
    (rules.axes, (np.int64(3), 2), (3, 3)),
    (rules.axes, (np.array(3), 1), (3,)),
    (rules.axes, ([3, np.uint8(1)], 2), (3, 1)),
    (rules.axes, ((0, 1), 2, rules.non_negative), (0, 1)),
    (rules.widened, (4, 4), 4),
    (rules.dividing, (2, 4, 6), 2),
]


@pytest.mark.parametrize(("function", "arguments", "result"), PASSES)
def test_passes(function: Any, arguments: tuple[Any, ...], result: Any) -> None:
    found = function(O, "a", *arguments)
    assert found == result
    assert type(found) is type(result)


ENTRIES = "a must be an integer or have 2 entries, one for each axis, got "
PAIRS = "a must give pairs (x, y), got "
WHOLE = "a must give whole numbers as y, got "
# (function, arguments after owner and name, message after "Owner: ")
WRONG_VALUES: list[tuple[Any, tuple[Any, ...], str]] = [
    (rules.positive, (-2,), "a must be at least 1, got -2"),
    (rules.non_negative, (-1,), "a must be at least 0, got -1"),
    (rules.number, (math.nan, 0), "a must be finite, got nan"),
    (rules.number, (math.inf,), "a must be finite, got inf"),
    (rules.number, (-0.5, 0), "a must be at least 0, got -0.5"),
    (rules.number, (2, None, 1), "a must be at most 1, got 2"),
    (rules.number, (1.5, 0, 1), "a must be at least 0 and at most 1, got 1.5"),
    (rules.choice, ("c", ("a", "b")), "a must be one of 'a', 'b', got 'c'"),
    (rules.choice, (True, (1, 2)), "a must be one of 1, 2, got True"),
    (rules.choice, (1.0, (1, 2)), "a must be one of 1, 2, got 1.0"),
    (rules.choice, ([1], (1, 2)), "a must be one of 1, 2, got [1]"),
    (rules.choice, (np.ones(2), (1, 2)), "a must be one of 1, 2, got array([1., 1.])"),
    (rules.shape_of, ((2, 0),), "a[1] must be at least 1, got 0"),
    (rules.axes, ((3, 3, 3), 2), ENTRIES + "(3, 3, 3)"),
    (rules.axes, ([3], 2), ENTRIES + "(3,)"),
    (rules.axes, ((), 2), ENTRIES + "()"),
    (rules.axes, ((1, 1), 1), "a must be an integer or have 1 entry, got (1, 1)"),
    (rules.axes, ((3, -1), 2), "a[1] must be at least 1, got -1"),
    (rules.widened, (2, 3), "a must be at least the input's 3, got 2"),
    (
        rules.dividing,
        (4, 4, 6),
        "a must divide in_channels=4 and out_channels=6, got 4",
    ),
]
WRONG_KINDS: list[tuple[Any, tuple[Any, ...], str]] = [
    (rules.integer, (3.0,), "a must be an integer, got 3.0"),
    (rules.integer, ("3",), "a must be an integer, got '3'"),
    (rules.integer, (None,), "a must be an integer, got None"),
    (rules.integer, (2j,), "a must be an integer, got 2j"),
    (rules.integer, (np.array([3]),), "a must be an integer, got array([3])"),
    (rules.positive, (False,), "a must be an integer, got False"),
    (rules.axes, ((True, 3), 2), "a[0] must be an integer, got True"),
    (rules.axes, (None, 2), "a must be an integer, got None"),
    (rules.axes, ("33", 2), "a must be an integer, got '33'"),
    (
        rules.axes,
        (np.array([1.5, 1]), 2),
        f"a[0] must be an integer, got {np.float64(1.5)!r}",
    ),
    (rules.number, ("1",), "a must be a number, got '1'"),
    (rules.number, (True,), "a must be a number, got True"),
    (rules.number, (1j,), "a must be a number, got 1j"),
    (rules.number, (np.zeros(2),), "a must be a number, got array([0., 0.])"),
    (rules.boolean, (1,), "a must be True or False, got 1"),
    (rules.boolean, (None,), "a must be True or False, got None"),
    (rules.shape_of, (3,), "a must be a tuple of sizes, got 3"),
    (rules.shape_of, ("23",), "a must be a tuple of sizes, got '23'"),
    (rules.shape_of, ((2, 1.5),), "a[1] must be an integer, got 1.5"),
    (rules.function, ("sum",), "a must be a function, got 'sum'"),
    (training.batch, ((1, 2, 3),), PAIRS + "tuple of 3"),
    (training.batch, ((np.ones((2, 1)), np.array([True, False])),), WHOLE + "bool"),
]


@pytest.mark.parametrize(
    ("error", "function", "arguments", "text"),
    [
        *((ValueError, *row) for row in WRONG_VALUES),
        *((TypeError, *row) for row in WRONG_KINDS),
    ],
)
def test_refused(
    error: type[Exception], function: Any, arguments: tuple[Any, ...], text: str
) -> None:
    with pytest.raises(error) as caught:
        function(O, "a", *arguments)
    assert type(caught.value) is error
    assert str(caught.value) == f"{O}: {text}"


def test_numpy_booleans_are_no_numbers() -> None:
    for function in (rules.integer, rules.number):
        with pytest.raises(TypeError, match=r"got .*True"):
            function(O, "a", np.bool_(True))


def test_open_bound() -> None:
    assert rules.number(O, "a", 0.1, 0, 1, open_low=True) == 0.1
    with pytest.raises(ValueError, match=r"must be above 0 and at most 1, got 0$"):
        rules.number(O, "a", 0, 0, 1, open_low=True)
    assert rules.number(O, "a", 0, 0, 1, open_high=True) == 0
    with pytest.raises(ValueError, match=r"must be at least 0 and below 1, got 1$"):
        rules.number(O, "a", 1, 0, 1, open_high=True)
    with pytest.raises(ValueError, match=r"must be below 1, got 2$"):
        rules.number(O, "a", 2, None, 1, open_high=True)


@given(st.integers())
def test_integers_stay_what_they_are(value: int) -> None:
    assert rules.integer(O, "a", value) == value
    assert (value >= 1) == _accepts(rules.positive, value)
    assert (value >= 0) == _accepts(rules.non_negative, value)


def _accepts(function: Any, value: Any) -> bool:
    try:
        return bool(function(O, "a", value) == value)
    except ValueError:
        return False


# -- the decorator ---------------------------------------------------------------------


@checked
def share(
    sizes: PerAxis,
    part: Probability | None = None,
    *,
    rank: Rank = 2,
    kind: Literal["a", "b"] = "a",
    free: int = 0,
) -> Any:
    """What it is called with."""
    return sizes, part, rank, kind, free


class Base:
    @checked
    def __init__(self, size: Positive, flag: Bool = False) -> None:
        self.size, self.flag = size, flag


class Derived(Base):
    def __init__(self, size: int) -> None:
        super().__init__(size)


def test_values_are_handed_on_as_the_rules_return_them() -> None:
    assert share(3) == ((3, 3), None, 2, "a", 0)
    assert share([np.int64(3)], rank=np.int64(1)) == ((3,), None, 1, "a", 0)
    assert share(sizes=3, part=1, kind="b", free="x") == ((3, 3), 1.0, 2, "b", "x")
    assert type(share(3, 1)[1]) is float
    assert Base(np.uint8(2)).size == 2


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: share(0), ValueError, "share: sizes must be at least 1, got 0"),
        (
            lambda: share(3, rank=3),
            ValueError,
            "share: rank must be one of 1, 2, got 3",
        ),
        (
            lambda: share(3, kind=None),
            ValueError,
            "share: kind must be one of 'a', 'b'",
        ),
        (lambda: share(3, "1"), TypeError, "share: part must be a number, got '1'"),
        (lambda: Base(0), ValueError, "Base: size must be at least 1, got 0"),
        (lambda: Derived(0), ValueError, "Base: size must be at least 1, got 0"),
        # What Python itself refuses, it refuses in its own words.
        (lambda: share(), TypeError, "share() missing 1 required positional argument"),
        (lambda: share(1, 2, 3), TypeError, "share() takes from 1 to 2 positional"),
        (lambda: share(1, size=3), TypeError, "share() got an unexpected keyword"),
        (lambda: share(1, sizes=3), TypeError, "share() got multiple values for arg"),
        (lambda: Base(), TypeError, "Base.__init__() missing 1 required positional"),
    ],
)
def test_refused_by_the_decorator(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(text)
    # The caller, the wrapper, the rule and what it asks.
    assert len(traceback.extract_tb(caught.value.__traceback__)) <= 7


def test_nothing_begins_before_all_have_agreed() -> None:
    began = []

    @checked_as("Block")
    def begin(first: Positive, second: NonNegative = 0) -> None:
        began.append((first, second))

    with pytest.raises(ValueError, match=r"^Block: second must be at least 0, got -1$"):
        begin(1, -1)
    assert began == []
    begin(1)
    assert began == [(1, 0)]


def test_what_a_rule_sees_has_been_checked() -> None:
    seen = []

    def rule(owner: str, name: str, value: Any, *others: Any) -> Any:
        seen.append((name, *others))
        return -value

    late = Annotated[int, Rule(rule, sees=("last", "free"))]
    early = Annotated[int, Rule(rule)]

    def function(first: late, free: int = 7, last: early = 3) -> Any:
        return first, free, last

    function.__annotations__ |= {"first": late, "last": early}
    assert checked(function)(1) == (-1, 7, -3)
    assert seen == [("last",), ("first", -3, 7)]
    assert list(rules_of(function)) == ["last", "first"]


def test_a_dictionary_of_options_may_grow() -> None:
    options = {"a": 1}
    rule = rules.one_of("auto", options)
    with pytest.raises(ValueError, match=r"a must be one of 'auto', 'a', got 'b'$"):
        rule.check(O, "a", "b")
    options["b"] = 2
    assert rule.check(O, "a", "b") == "b"


def test_a_decorated_function_shows_what_it_is() -> None:
    assert list(inspect.signature(share).parameters) == [
        *("sizes", "part", "rank", "kind", "free"),
    ]
    assert str(inspect.signature(Base)) == (
        "(size: 'Positive', flag: 'Bool' = False) -> 'None'"
    )
    assert share.__doc__ == "What it is called with."
    assert inspect.getsource(share).startswith("@checked\ndef share(")
    for copied in (copy.deepcopy(Base(3)), pickle.loads(pickle.dumps(Base(3)))):
        assert copied.size == 3


# -- arrays ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axes", "channels", "text"),
    [
        ((2, 3), (3,), None, "(N, C, L), got (2, 3)"),
        ((2, 3, 4), (3,), 5, "(N, 5, L), got (2, 3, 4)"),
        ((2, 3, 4), (4,), 5, "(N, 5, H, W), got (2, 3, 4)"),
        ((2, 3), (3, 4), None, "(N, C, L) or (N, C, H, W), got (2, 3)"),
        ((0, 3, 4), (3,), 3, "(N, 3, L), got (0, 3, 4); no axis may be empty"),
        ((2, 3), (2,), 4, "(N, 4), got (2, 3)"),
        ((), (3,), None, "(N, C, L), got ()"),
    ],
)
def test_tensor_shape(
    shape: tuple[int, ...], axes: tuple[int, ...], channels: int | None, text: str
) -> None:
    inputs.tensor_shape(O, "x", (1, 3, 4), (3, 4), 3)
    inputs.tensor_shape(O, "x", (1, 3, 4, 4), (3, 4))
    with pytest.raises(ValueError, match="x must have shape") as caught:
        inputs.tensor_shape(O, "x", shape, axes, channels)
    assert str(caught.value) == f"{O}: x must have shape {text}"


@pytest.mark.parametrize("shape", [(2, 3, 1), (2, 3, 5, 1), (2, 3, 1, 5)])
def test_smallest_axis(shape: tuple[int, ...]) -> None:
    inputs.tensor_shape(O, "x", (2, 1, 2), (3, 4), smallest=2)
    inputs.tensor_shape(O, "x", (2, 1), (2,), smallest=2)  # no spatial axis
    with pytest.raises(ValueError, match="positions") as caught:
        inputs.tensor_shape(O, "x", shape, (3, 4), smallest=2)
    assert str(caught.value) == (
        f"{O}: x must have at least 2 positions along each spatial axis, got {shape}"
    )


def test_addable() -> None:
    assert inputs.addable(O, (2, 5, 7), (2, 3, 7)) == 2
    assert inputs.addable(O, (2, 5, 7, 1), (2, 5, 7, 1), np.int64(0)) == 0
    assert inputs.addable(O, [2, 9, 7, 1], (2, 1, 7, 1), np.uint8(8)) == 8


# -- what a training run is called with ------------------------------------------------


def test_batch_takes_labels_of_any_kind() -> None:
    x = np.ones((2, 1))
    for y in ([0, 1], np.array([0, 1], "uint8"), mx.nd.array([0, 1])):
        found, labels = training.batch(O, "a", (x, y))
        assert found is x
        assert labels.dtype == "int64"
        assert labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("shape", "labels", "text"),
    [
        ((2, 3), [0, 3], "labels must be from 0 to 2 for 3 classes, got 0 to 3"),
        ((2, 3), [-1, 0], "labels must be from 0 to 2 for 3 classes, got -1 to 0"),
        ((2,), [0, 1], "net must turn 2 examples into logits of shape (2, classes)"),
        ((1, 3), [0, 1], "shape (2, classes), got (1, 3)"),
        ((2, 3, 1), [0, 1], "shape (2, classes), got (2, 3, 1)"),
    ],
)
def test_labels_fit(shape: tuple[int, ...], labels: list[int], text: str) -> None:
    training.labels_fit(O, (2, 3), np.array([0, 2]))
    with pytest.raises(ValueError, match=r"labels|logits") as caught:
        training.labels_fit(O, shape, np.array(labels))
    assert text in str(caught.value)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:12", "mps"])
def test_device_names(name: str) -> None:
    training.device_name(O, name, int)
    training.device_name(O, 7, int)


@pytest.mark.parametrize(
    "value", ["gpu", "cuda:", "cuda:-1", "cpu:x", "", "CPU", "cuda:0\n", 1.5, None]
)
def test_device_refused(value: Any) -> None:
    error = ValueError if isinstance(value, str) else TypeError
    with pytest.raises(error) as caught:
        training.device_name(O, value, int)
    assert str(caught.value) == (
        f"{O}: device must be a device or a name such as 'cpu', 'cuda:0' or 'mps', "
        f"got {value!r}"
    )


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_loss_that_is_not_finite(loss: float) -> None:
    with pytest.raises(FloatingPointError) as caught:
        training.finite_loss(O, loss, epoch=2, batch=7, rate=0.5)
    assert str(caught.value) == (
        f"{O}: the loss is {loss} in batch 7 of epoch 2 (counted from 0); "
        "learning_rate=0.5 may be too large"
    )
    training.finite_loss(O, 0.0, 0, 0, 0.5)


def test_parameters() -> None:
    training.some_parameters(O, iter([0]))
    with pytest.raises(ValueError, match=f"^{O}: net has no parameters$"):
        training.some_parameters(O, iter([]))
