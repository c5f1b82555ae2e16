"""The porting page: every row is checked, and a wrong one is found out."""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nets import gnn, nn
from own_layers import own_module

from d2lutils import porting
from d2lutils.compat import mx
from d2lutils.porting import Row, WrongRowError, differences, judges
from d2lutils.porting.judges import functions, nets, refusal, values

CHAPTERS = Path(__file__).parents[2] / "chapters"
PAGE = CHAPTERS.parent / "book" / "porting.ipynb"
ALL = [(topic, row) for topic in porting.TOPICS for row in porting.rows(topic)]
pytestmark = pytest.mark.needs_mxnet


# What the page explains in words above the table of a topic.
OWN_NAMES = {
    "files": {"gluon_net", "pytorch_net", "X"},
    "data": {"write_images", "write_records"},
}


@functools.cache
def page_names() -> set[str]:
    """The names that the page's first cells import."""
    cells = json.loads(PAGE.read_text("utf-8"))["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    lines = "\n".join(code[:3]).splitlines()
    imports = "\n".join(line for line in lines if line.startswith(("import ", "from ")))
    return {
        (alias.asname or alias.name)
        for node in ast.parse(imports).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def strange_names(function: Any) -> set[str]:
    """Names in a spelling that neither it nor the page explains."""
    tree = ast.parse("\n".join(porting.spelling(function)))
    nodes = list(ast.walk(tree))
    bound = {n.id for n in nodes if isinstance(n, ast.Name) and _stores(n)}
    bound |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    bound |= {n.name for n in nodes if isinstance(n, ast.ClassDef | ast.FunctionDef)}
    bound |= set(inspect.signature(function).parameters) | set(dir(builtins))
    read = {n.id for n in nodes if isinstance(n, ast.Name) and not _stores(n)}
    return read - bound - page_names()


def _stores(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


@pytest.mark.parametrize(
    ("topic", "row"), ALL, ids=[f"{topic}-{row.name}" for topic, row in ALL]
)
def test_row(topic: str, row: Row) -> None:
    row.check()
    name, gluon, pytorch, found = row.cells()
    assert name == row.name
    assert "|" not in row.name + row.differs, "it would end the cell"
    for spelled in filter(None, (row.gluon, row.pytorch, row.cure)):
        unknown = strange_names(spelled) - OWN_NAMES.get(topic, set())
        assert not unknown, f"the page does not say what {unknown} is"
    assert gluon.startswith("`")
    assert pytorch.startswith("`")
    assert found.startswith(("the same", "**differs:** "))
    if row.chapter:
        path = CHAPTERS / f"{row.chapter}.ipynb"
        cells = json.loads(path.read_text("utf-8"))["cells"]
        assert any("## Where they differ" in "".join(c["source"]) for c in cells)


def test_names_are_unique() -> None:
    assert len({(topic, row.name) for topic, row in ALL}) == len(ALL)


def relu(x: Any) -> Any:
    return mx.nd.relu(x)


def fails(x: Any) -> Any:
    raise ValueError("not today")


def planted(gluon: Any, pytorch: Any, judge: Any, **options: Any) -> Row:
    return Row("x", gluon, pytorch, judge, **options)


MATRIX = functions((3, 4))
#: Of a row about `relu`: PyTorch's spelling, what else it says, and the objection.
PLANTED: list[tuple[Any, dict[str, Any], str]] = [
    (torch.tanh, {}, "x: said to be the same, but values are"),
    (torch.relu, {"differs": "so"}, "said to differ, but they are the same"),
    (torch.tanh, {"differs": "so", "cure": torch.sigmoid}, "the cure is not the same"),
    (torch.relu, {"cure": torch.relu}, "a cure for what does not differ"),
    (lambda x: x.no_such_method(), {}, "x: AttributeError"),
    (lambda x: torch.relu(x).detach() + 0 * x, {}, r"the same, but gradients are \d"),
    (lambda x: torch.relu(x)[None], {}, "values are inf apart"),
    (lambda x: torch.relu(x) + 1e-5, {"within": 1e-6}, "said to be the same"),
]


@pytest.mark.parametrize(("pytorch", "options", "message"), PLANTED)
def test_a_wrong_row_is_found_out(
    pytorch: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(WrongRowError, match=message):
        planted(relu, pytorch, MATRIX, **options).check()


def test_a_wrong_size_or_refusal_is_found_out() -> None:
    convs = (lambda: gnn.Conv2D(8, 3, in_channels=4)), (lambda: nn.Conv2d(4, 8, 5))
    never = refusal("never", MATRIX)
    for row, message in (
        (planted(*convs, nets(x=(2, 4, 9, 9))), "parameters are inf apart"),
        (planted(fails, torch.relu, never, differs="so"), "x: ValueError: not today"),
    ):
        with pytest.raises(WrongRowError, match=message):
            row.check()


def test_right_rows_like_the_wrong_ones() -> None:
    planted(relu, lambda x: torch.relu(x) + 1e-5, MATRIX, within=1e-4).check()
    planted(fails, torch.relu, refusal("not today", MATRIX), differs="so").check()


def test_values() -> None:
    def apart(one: Any, two: Any, **options: Any) -> float:
        found = values(**options)(lambda: one, lambda: two)
        return found.quantities[0].difference

    assert apart([1, 2.0], (1, 2.0)) == 0
    assert apart([1, 2.0], (1, 2.5)) == pytest.approx(0.2)
    assert apart(np.nan, np.nan) == 0
    assert apart(["a"], ["a"]) == 0
    for unlike in ((np.nan, 0.0), (np.inf, -np.inf), ([1], [1, 1]), (["a"], ["b"])):
        assert apart(*unlike) == np.inf
    assert apart(1, 1.0) == 0
    assert apart(1, 1.0, dtype=True) == np.inf


def trainer(name: str, **options: Any) -> Any:
    return lambda params: mx.gluon.Trainer(params, name, options)


def sgd(**options: Any) -> Any:
    return lambda params: torch.optim.SGD(params, **options)


#: For each judge of one topic: what looks right and is not.
WRONG = {
    "three percent wider": (
        judges.distributions(600, 400),
        lambda: mx.init.Uniform(0.1),
        lambda w: nn.init.uniform_(w, -0.103, 0.103),
    ),
    "a normal distribution of the same variance": (
        judges.distributions(600, 400),
        lambda: mx.init.Xavier(),
        nn.init.xavier_normal_,
    ),
    "not orthogonal": (
        judges.lengths(20, 50),
        lambda: mx.init.Orthogonal(1.0),
        lambda w: nn.init.normal_(w, std=50**-0.5),
    ),
    "another rate": (
        judges.steps(),
        trainer("sgd", learning_rate=0.25),
        sgd(lr=0.250001),
    ),
    "decay forgotten": (
        judges.steps(),
        trainer("sgd", learning_rate=0.25, wd=0.125),
        sgd(lr=0.25),
    ),
    "one update late": (
        judges.schedules(),
        lambda: mx.lr_scheduler.FactorScheduler(4, 0.5, base_lr=1.0),
        lambda o: torch.optim.lr_scheduler.StepLR(o, 5, 0.5),
    ),
    "another share dropped": (
        judges.dropped(4000, 4, 3),
        lambda: gnn.Dropout(0.25),
        lambda: nn.Dropout(0.5),
    ),
    "whole channels dropped": (
        judges.dropped(4000, 1, 3),
        lambda: gnn.Dropout(0.25),
        lambda: nn.Dropout1d(0.25),
    ),
    "layouts exchanged": (
        judges.copied((5, 5, 3)),
        lambda: mx.gluon.rnn.GRU(4, layout="NTC", input_size=3),
        lambda: (nn.GRU(3, 4), lambda net, x: net(x)[0]),
    ),
    "a tuple for an array": (
        judges.copied((5, 5, 3)),
        lambda: mx.gluon.rnn.GRU(4, input_size=3),
        lambda: nn.GRU(3, 4),
    ),
    "other epsilon": (
        judges.copied((5, 6)),
        lambda: gnn.LayerNorm(in_channels=6),
        lambda: nn.LayerNorm(6, eps=1e-6),
    ),
    "two rows exchanged": (
        judges.copied(np.array([0, 1])),
        lambda: gnn.Embedding(4, 3),
        lambda: nn.Sequential(nn.Embedding(4, 3), own_module(lambda net, x: x.flip(0))),
    ),
    "the rate divided in place of the loss": (
        judges.steps(batch=4),
        trainer("sgd", learning_rate=0.25, wd=0.125),
        sgd(lr=0.25 / 4, weight_decay=0.125),
    ),
    "another value in the file": (
        judges.filed(),
        porting.rows("files")[0].gluon,
        lambda path: 2 * porting.rows("files")[0].pytorch(path),
    ),
}


@pytest.mark.parametrize(("judge", "gluon", "pytorch"), WRONG.values(), ids=WRONG)
def test_a_wrong_spelling(judge: Any, gluon: Any, pytorch: Any) -> None:
    with pytest.raises(WrongRowError, match="said to be the same"):
        planted(gluon, pytorch, judge).check()


def forgets_the_other(rank: int) -> Any:
    w = torch.tensor([rank + 1.0])
    return w


def fails_on_one(rank: int) -> Any:
    if rank == 1:
        raise ValueError("not today")


def test_a_wrong_spelling_in_a_group() -> None:
    """One that returns something else in a process, and one that fails in it."""
    found: list[Row] = []
    judge = judges.grouped(lambda: found)
    found += [
        planted(lambda: [mx.nd.ones(1), mx.nd.ones(1)], each, judge)
        for each in (forgets_the_other, fails_on_one)
    ]
    for row, message in zip(
        found, ("said to be the same", "ValueError: not today"), strict=True
    ):
        with pytest.raises(WrongRowError, match=message):
            row.check()


def test_a_wrong_row_makes_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = planted(relu, torch.tanh, MATRIX)
    monkeypatch.setattr(porting, "rows", lambda topic: [wrong])
    with pytest.raises(WrongRowError, match="x: said to be"):
        porting.table("layers")


class TestSpelling:
    def test_what_is_shown_is_what_runs(self) -> None:
        def two(x: Any) -> Any:
            """Not shown."""
            y = x + 1
            return y.reshape(
                (2, -1),
            )

        assert porting.spelling(two) == ["y = x + 1", "y.reshape((2, -1))"]
        row = Row("x", two, lambda x: x | 1, functions())
        assert row.cells()[1] == "`y = x + 1`<br>`y.reshape((2, -1))`"
        assert row.cells()[2] == r"`x \| 1`"

    def test_blocks_keep_their_lines(self) -> None:
        def nested(x: Any) -> Any:
            class Double(nn.Module):
                @staticmethod
                def forward(
                    x: Any,
                ) -> Any:
                    for _ in range(2):
                        x = x + 1
                    return 2 * x

            return Double()(x)

        assert porting.spelling(nested) == [
            "class Double(nn.Module):",
            "    @staticmethod",
            "    def forward(x):",
            "        for _ in range(2):",
            "            x = x + 1",
            "        return 2 * x",
            "Double()(x)",
        ]

    def test_two_on_a_line(self) -> None:
        one, _ = (lambda: 1), (lambda: 2)
        with pytest.raises(ValueError, match="must hold one function, got 2"):
            porting.spelling(one)

    def test_unknown_topic(self) -> None:
        with pytest.raises(
            ValueError, match=r"topic must be one of arrays, .* 'layer'"
        ):
            porting.rows("layer")


class TestCards:
    def test_all_chapters_in_order(self) -> None:
        text = porting.cards().text
        contents = (CHAPTERS.parent / "_toc.yml").read_text("utf-8")
        names = [
            line.split("chapters/")[1].strip()
            for line in contents.splitlines()
            if "file: chapters/" in line and "/further/" not in line
        ]
        places = [text.index(f"({'../chapters/'}{name}.ipynb#where") for name in names]
        assert places == sorted(places)
        assert text.count("|---") >= len(names)
        assert "](further/" not in text  # links leave from book/

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"cards: no chapters in .*chapters"):
            porting.cards(tmp_path / "chapters")

    def test_only_the_package(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As on Colab, where the page is a notebook without its neighbours."""
        installed = (
            tmp_path / "site-packages" / "d2lutils" / "porting" / "differences.py"
        )
        monkeypatch.setattr(differences, "__file__", str(installed))
        assert "not beside the package" in porting.cards().text
