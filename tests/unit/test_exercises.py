"""How answers are judged, whatever the exercise; each chapter's answers are tested in
tests/chapters/test_answers_<chapter>.py.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from without_mxnet import judged

from d2lutils import exercises
from d2lutils.exercises.blocks import blocks_trace as trace


def function_stub(*arguments: Any) -> Any:
    raise NotImplementedError


class ClassStub:
    def __init__(self, *arguments: Any) -> None:
        raise NotImplementedError


def test_every_exercise_is_in_its_chapter() -> None:
    folder = Path(__file__).parents[2] / "chapters"
    for name in exercises.names():
        chapter = exercises.CHECKS[name][1].__module__.rpartition(".")[2]
        text = (folder / f"{chapter}.ipynb").read_text("utf-8")
        assert f'exercises.check(\\"{name}\\"' in text, name


def test_every_exercise_has_two_wrong_answers() -> None:
    folder = Path(__file__).parents[1] / "chapters"
    chapters = {
        path.stem: path.read_text("utf-8") for path in folder.glob("test_answers_*.py")
    }
    assert exercises.names()[0].startswith("blocks_")  # the first chapter
    for name in exercises.names():
        chapter = exercises.CHECKS[name][1].__module__.rpartition(".")[2]
        answers = chapters[f"test_answers_{chapter}"].split(f'"{name}": [')
        assert answers[-1].split("],")[0].count("(") >= 2


@pytest.mark.parametrize("name", exercises.names())
def test_a_stub_is_not_attempted(name: str) -> None:
    for stub in (function_stub, ClassStub, ..., None, NotImplemented):
        result = judged(name, stub)
        assert not result.passed
        assert not result.attempted
        assert result.message == f"{name}: not attempted yet"


def test_check_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for answer in (function_stub, trace, lambda functions, x: [x]):
        exercises.check("blocks_trace", answer)
    assert capsys.readouterr().out.splitlines() == [
        "blocks_trace: not attempted yet",
        "blocks_trace: passed (5 inputs)",
        "blocks_trace: not yet. For input ([double, increment], 3) "
        "expected [3, 6, 7], got [3].",
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


# -- checks that exist only here -------------------------------------------------------


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exercises, "CHECKS", {})


@pytest.mark.usefixtures("registry")
def test_an_answer_may_change_its_input_but_not_the_check() -> None:
    @exercises.by_reference(([1],), ([2],), ([],))
    def longer(items: list[int]) -> list[int]:
        return [*items, 0]

    def in_place(items: list[int]) -> list[int]:
        items.append(0)
        return items

    for _ in range(2):
        assert exercises.judge("longer", in_place).passed
    assert exercises.names() == ["longer"]
    with pytest.raises(ValueError, match="two exercises are named 'longer'"):
        exercises.by_reference(([1],))(longer)


@pytest.mark.usefixtures("registry")
def test_a_stub_later_on_is_an_attempt() -> None:
    @exercises.by_reference((2,), (4,), (5,))
    def half(n: int) -> float:
        return n / 2

    def even_only(n: int) -> Any:
        return n / 2 if n % 2 == 0 else function_stub()

    result = exercises.judge("half", even_only)
    assert result.attempted
    assert "For input (5,) NotImplementedError was raised" in result.message
    assert not exercises.judge("half", lambda n: NotImplemented).attempted


@pytest.mark.usefixtures("registry")
def test_a_property_judges_classes() -> None:
    @exercises.by_property(lambda: [(1,), (2,), (3,)])
    def counter(answer: Any, n: int) -> None:
        made = answer()
        exercises.require_kind(made, list, "a list")
        for _ in range(n):
            made.append(0)
        exercises.require_same(n, len(made))
        exercises.require_shape((n,), made, "all:")
        exercises.require(n != 3, "three is too many")

    class Stuck(list[int]):
        def append(self, item: int) -> None:
            self[:] = [item]

    def message(answer: Any) -> str:
        return exercises.judge("counter", answer).message

    assert message(list) == "counter: not yet. For input (3,) three is too many."
    assert message(Stuck) == "counter: not yet. For input (2,) expected 2, got 1."
    assert message(set).endswith("For input (1,) a list is expected, got set().")
    assert message(lambda: [[0]]).endswith("expected 1, got 2.")


@pytest.mark.usefixtures("registry")
def test_a_missing_framework_is_said_and_not_held_against_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @exercises.by_reference(lambda: [(exercises.framework("pytorch").ones(3),)])
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

    @exercises.by_reference(lambda: [(torch.ones(n),) for n in range(1, 4)])
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
        (True, 1, False),
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
    ],
)
def test_what_is_the_same(expected: Any, got: Any, same: bool) -> None:
    assert exercises.same(expected, got) is same


def test_a_brief_text_is_short_and_has_no_address() -> None:
    assert exercises.brief(0.1 + 0.2) == "0.3"
    assert exercises.brief(np.float64(0.5)) == "0.5"
    assert exercises.brief([len, object]) == "[len, object]"
    assert exercises.brief(object()) == "<object object>"
    assert len(exercises.brief("x" * 500)) == 120
    assert exercises.brief(np.zeros((2, 2))) == "array(2, 2) [[0., 0.], [0., 0.]]"


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
