"""Each exercise's check accepts a right answer, and rejects stubs and wrong ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from without_mxnet import judged

from d2lutils import exercises


def trace(functions: list[Callable[[Any], Any]], x: Any) -> list[Any]:
    results = [x]
    for function in functions:
        results.append(function(results[-1]))
    return results


def trace_each_from_the_start(functions: list[Callable[[Any], Any]], x: Any) -> Any:
    return [x, *(function(x) for function in functions)]


def ladder(
    length: int, kernel_size: int, stride: int, padding: int, chain_length: int
) -> list[int]:
    sizes = []
    for step in range(chain_length):
        stride_here = stride if step == 0 else 1
        length = (length + 2 * padding - kernel_size) // stride_here + 1
        sizes.append(length)
    return sizes


def ladder_with_every_stride(n: int, k: int, s: int, p: int, chain: int) -> list[int]:
    sizes = [n]
    for _ in range(chain):
        sizes.append((sizes[-1] + 2 * p - k) // s + 1)
    return sizes[1:]


def branches(channels: int, last: str, first: str = "Conv1d") -> Any:
    """Two branches, each a convolution and the named layer."""
    nn = pytest.importorskip("torch").nn

    def branch(name: str) -> Any:
        layer = {
            "BatchNorm1d": nn.BatchNorm1d,
            "Conv1d": lambda c: nn.Conv1d(c, c, 1),
            "ReLU": lambda c: nn.ReLU(),
            "Sigmoid": lambda c: nn.Sigmoid(),
        }[name]
        convolution = nn.Conv1d(channels, channels, 3, padding=1)
        return nn.Sequential(convolution, layer(channels))

    return branch(first), branch(last)


# Right answers and at least two plausible wrong ones. Those that take a framework's
# blocks stand in tests/chapters/test_answers_<chapter>.py.
RIGHT: dict[str, list[Any]] = {
    "blocks_trace": [trace, lambda functions, x: tuple(trace(functions, x))],
    "residual_ladder": [ladder],
    "residual_fewest_edits": [
        lambda length: {"padding": 1, "shortcut": "projection"},
        lambda length: {"padding": "same", "shortcut": "zeros"},
    ],
    "residual_inplace": [lambda channels: branches(channels, "Sigmoid")],
}
WRONG: dict[str, list[Any]] = {
    "blocks_trace": [
        trace_each_from_the_start,
        lambda functions, x: trace(functions, x)[1:],
        lambda functions, x: trace(functions, x)[-1],
        lambda functions, x: trace(functions[::-1], x),
        lambda functions: functions,
        [1, 2],
    ],
    "residual_ladder": [
        ladder_with_every_stride,
        lambda n, k, s, p, chain: ladder(n, k, s, 0, chain),
        lambda n, k, s, p, chain: ladder(n, k, 1, p, chain),
        lambda n, k, s, p, chain: [n, *ladder(n, k, s, p, chain)],
        lambda n, k, s, p, chain: ladder(n, k, s, p, chain)[-1],
    ],
    "residual_fewest_edits": [
        lambda length: {"shortcut": "projection"},
        lambda length: {"padding": 1},
        lambda length: {"padding": 1, "shortcut": "projection", "kernel_size": 5},
        lambda length: {"stride": 1, "padding": 1},
        lambda length: {"padding": 1, "shortcut": "project"},
        lambda length: {"pad": 1, "shortcut": "projection"},
        lambda length: ["padding", "shortcut"],
    ],
    "residual_inplace": [
        lambda channels: branches(channels, "Conv1d"),
        lambda channels: branches(channels, "Sigmoid", "Sigmoid"),
        lambda channels: branches(channels, "ReLU"),
        lambda channels: branches(channels, "Sigmoid", "BatchNorm1d"),
        lambda channels: branches(channels + 1, "Sigmoid"),
        lambda channels: branches(channels, "Sigmoid")[0],
        lambda channels: (1, 2),
    ],
}


def function_stub(*arguments: Any) -> Any:
    raise NotImplementedError


class ClassStub:
    def __init__(self, *arguments: Any) -> None:
        raise NotImplementedError


def test_every_exercise_has_right_and_wrong_answers() -> None:
    """Here, or in ``tests/chapters/test_answers_<chapter>.py``, in the same form."""
    assert set(RIGHT) == set(WRONG)
    assert min(map(len, WRONG.values())) >= 2
    folder = Path(__file__).parents[1] / "chapters"
    texts = [path.read_text("utf-8") for path in folder.glob("test_answers_*.py")]
    elsewhere = {
        name
        for name in exercises.names()
        if any(text.count(f'"{name}": [') == 2 for text in texts)
    }
    assert set(RIGHT) | elsewhere == set(exercises.names())


@pytest.mark.parametrize("name", exercises.names())
def test_a_stub_is_not_attempted(name: str) -> None:
    for stub in (function_stub, ClassStub, ..., None, NotImplemented):
        result = judged(name, stub)
        if result.attempted:  # a value is asked for, and a callable is given
            assert "A value is asked for" in result.message
        else:
            assert result.message == f"{name}: not attempted yet"
        assert not result.passed


@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name in RIGHT for answer in RIGHT[name]]
)
def test_a_right_answer_passes(name: str, answer: Any) -> None:
    result = judged(name, answer)
    assert result.passed, result.message
    assert result.message.startswith(f"{name}: passed")


@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name in WRONG for answer in WRONG[name]]
)
def test_a_wrong_answer_is_rejected(name: str, answer: Any) -> None:
    result = judged(name, answer)
    assert result.attempted
    assert not result.passed
    assert result.message.startswith(f"{name}: not yet. ")
    assert " at 0x" not in result.message
    assert "\n" not in result.message


def test_check_prints_one_line_and_returns_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for answer in (function_stub, trace, trace_each_from_the_start):
        assert exercises.check("blocks_trace", answer) is None  # type: ignore[func-returns-value]
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "blocks_trace: not attempted yet",
        "blocks_trace: passed (5 inputs)",
        "blocks_trace: not yet. For input ([double, increment], 3) "
        "expected [3, 6, 7], got [3, 6, 4].",
    ]


def test_an_exception_is_one_line_with_type_and_message() -> None:
    result = exercises.judge("blocks_trace", lambda functions, x: functions["a"])
    assert result.attempted
    assert "TypeError was raised: list indices must be" in result.message


def test_an_unknown_name_lists_similar_ones() -> None:
    with pytest.raises(ValueError, match="did you mean 'blocks_trace'"):
        exercises.check("block_trace", trace)
    with pytest.raises(ValueError, match=r"exercise, got 'zzz'$"):
        exercises.check("zzz", trace)


# -- the machinery, on checks that exist only here -------------------------------------


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exercises, "_CHECKS", {})


@pytest.mark.usefixtures("registry")
def test_an_answer_may_change_its_input_but_not_the_check() -> None:
    @exercises._reference("longer", [([1],), ([2],), ([],)])
    def longer(items: list[int]) -> list[int]:
        return [*items, 0]

    def in_place(items: list[int]) -> list[int]:
        items.append(0)
        return items

    for _ in range(2):
        assert exercises.judge("longer", in_place).passed


@pytest.mark.usefixtures("registry")
def test_a_stub_later_on_is_an_attempt() -> None:
    @exercises._reference("half", [(2,), (4,), (5,)])
    def half(n: int) -> float:
        return n / 2

    def even_only(n: int) -> Any:
        if n % 2:
            raise NotImplementedError
        return n / 2

    result = exercises.judge("half", even_only)
    assert result.attempted
    assert "For input (5,) NotImplementedError was raised" in result.message
    assert not exercises.judge("half", lambda n: NotImplemented).attempted


@pytest.mark.usefixtures("registry")
def test_a_property_judges_classes() -> None:
    @exercises._property("counter", lambda: [(1,), (2,), (3,)])
    def counter(answer: Any, n: int) -> str | None:
        made = answer()
        for _ in range(n):
            made.add()
        return None if made.n == n else exercises._differs(n, made.n)

    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def add(self) -> None:
            self.n += 1

    class Stuck(Counter):
        def add(self) -> None:
            self.n = 1

    assert exercises.judge("counter", Counter).passed
    assert exercises.judge("counter", Stuck).message == (
        "counter: not yet. For input (2,) expected 2, got 1."
    )
    assert not exercises.judge("counter", ClassStub).attempted


@pytest.mark.usefixtures("registry")
def test_a_value_is_judged_without_giving_it_away() -> None:
    @exercises._value("smallest_n")
    def smallest_n() -> int:
        return 227

    @exercises._value("which")
    def which() -> str:
        return "activation"

    assert exercises.judge("smallest_n", 227).passed
    assert exercises.judge("smallest_n", np.int64(227)).passed
    assert not exercises.judge("smallest_n", ...).attempted
    low, high = (exercises.judge("smallest_n", n).message for n in (226, 228))
    assert low == "smallest_n: not yet. 226 is too small."
    assert high == "smallest_n: not yet. 228 is too large."
    assert not exercises.judge("smallest_n", "227").passed
    assert not exercises.judge("smallest_n", True).passed
    assert exercises.judge("which", "activation").passed
    wrong = exercises.judge("which", "relu").message
    assert wrong == "which: not yet. 'relu' is not it."
    assert "value is asked for" in exercises.judge("which", len).message


@pytest.mark.usefixtures("registry")
def test_registration_refuses_mistakes() -> None:
    @exercises._reference("twice", [(1,), (2,)])
    def twice(n: int) -> int:
        return 2 * n

    with pytest.raises(ValueError, match="two exercises are named 'twice'"):
        exercises._value("twice")
    with pytest.raises(ValueError, match="two exercises are named 'twice'"):
        exercises._property("twice", [])(lambda answer: None)
    with pytest.raises(ValueError, match="fewer than three hidden inputs"):
        exercises.judge("twice", twice)


@pytest.mark.usefixtures("registry")
def test_a_missing_framework_is_said_and_not_held_against_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def inputs() -> list[tuple[Any, ...]]:
        torch = exercises._framework("pytorch")
        return [(torch.ones(n),) for n in range(3)]

    @exercises._reference("total", inputs)
    def total(x: Any) -> Any:
        return x.sum()

    monkeypatch.setitem(sys.modules, "torch", None)
    result = exercises.judge("total", lambda x: x.sum())
    assert not result.passed
    assert result.message.startswith("total: cannot be judged here. ")
    assert "torch" in result.message


@pytest.mark.usefixtures("registry")
def test_tensors_are_compared_as_numbers() -> None:
    torch = pytest.importorskip("torch")

    @exercises._reference("total", lambda: [(torch.ones(n),) for n in range(1, 4)])
    def total(x: Any) -> Any:
        return x * 2

    assert exercises.judge("total", lambda x: x + x).passed
    message = exercises.judge("total", lambda x: x * 3).message
    assert message.endswith("expected array(1,) [2.], got array(1,) [3.].")


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        (1.0, 1.0 + 1e-9, True),
        (1.0, 1.1, False),
        (1, True, False),
        (True, True, True),
        (True, np.True_, True),
        ("a", "a", True),
        ("1", 1, False),
        (None, None, True),
        (None, 0, False),
        ([1, 2], (1, 2.0), True),
        ([1, 2], [1], False),
        ([1, 2], 3, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1}, [1], False),
        ({1, 2}, {2, 1}, True),
        (np.ones(3), np.ones(3), True),
        (np.ones(3), np.ones((3, 1)), False),
        (np.ones(3), [1, 1, 1], False),
        (float("nan"), float("nan"), True),
        (np.array(["a"]), np.array(["a"]), True),
        (range(3), range(3), True),
    ],
)
def test_what_is_the_same(expected: Any, got: Any, same: bool) -> None:
    assert exercises._same(expected, got) is same


def test_a_brief_text_is_short_and_has_no_address() -> None:
    assert exercises._brief(0.1 + 0.2) == "0.3"
    assert exercises._brief(np.float64(0.5)) == "0.5"
    assert exercises._brief([len, object]) == "[len, object]"
    assert exercises._brief(object()) == "<object object>"
    assert len(exercises._brief("x" * 500)) == 120
    assert exercises._brief(np.zeros((2, 2))) == "array(2, 2) [[0., 0.], [0., 0.]]"


def test_importing_needs_no_framework() -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['mxnet'] = None; "
        "from d2lutils import exercises; "
        "exercises.check('blocks_trace', lambda f, x: [x])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "not yet" in done.stdout
