"""The porting page: every row is checked, and a wrong one is found out."""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from d2lutils import porting
from d2lutils.compat import mx
from d2lutils.porting import (
    Judge,
    Row,
    WrongRowError,
    files,
    functions,
    initializers,
    layers,
    nets,
    optimizers,
    refusal,
    values,
)

CHAPTERS = Path(__file__).parents[2] / "chapters"
PAGE = CHAPTERS.parent / "book" / "porting.ipynb"
ALL = [(topic, row) for topic in porting.TOPICS for row in porting.rows(topic)]
gnn = mx.gluon.nn
pytestmark = pytest.mark.needs_mxnet


# What the page explains in words above the table of a topic.
OWN_NAMES = {"files": {"gluon_net", "pytorch_net", "X"}}


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
    opposite = replace(row, differs="" if row.differs else "planted", cure=None)
    with pytest.raises(WrongRowError, match="said to"):
        opposite.check()
    name, gluon, pytorch, found = row.cells()
    assert name == row.name
    assert "|" not in row.name + row.differs, "it would end the cell"
    for spelled in filter(None, (row.gluon, row.pytorch, row.cure)):
        unknown = strange_names(spelled) - OWN_NAMES.get(topic, set())
        assert not unknown, f"the page does not say what {unknown} is"
    assert gluon.startswith("`")
    assert pytorch.startswith("`")
    assert found.startswith(("the same", "**differs:** "))
    if row.card:
        cells = json.loads((CHAPTERS / f"{row.card}.ipynb").read_text("utf-8"))["cells"]
        assert any("## Where they differ" in "".join(c["source"]) for c in cells)


def test_enough_rows() -> None:
    assert len(ALL) >= 75
    assert len({(topic, row.name) for topic, row in ALL}) == len(ALL)
    assert sum(bool(row.differs) for _, row in ALL) >= 15


def relu(x: Any) -> Any:
    return mx.nd.relu(x)


class Upside(nn.Module):
    """Rows in reverse order."""

    def forward(self, x: Any) -> Any:
        return x.flip(0)


def trainer(name: str, **options: Any) -> Any:
    return lambda params: mx.gluon.Trainer(params, name, options)


def sgd(**options: Any) -> Any:
    return lambda params: torch.optim.SGD(params, **options)


# For each judge that the row modules add: what looks right and is not.
WRONG = [
    pytest.param(judge, gluon, pytorch, id=name)
    for name, judge, gluon, pytorch in [
        (
            "three percent wider",
            initializers.distributions(600, 400),
            lambda: mx.init.Uniform(0.1),
            lambda w: nn.init.uniform_(w, -0.103, 0.103),
        ),
        (
            "a normal distribution of the same variance",
            initializers.distributions(600, 400),
            lambda: mx.init.Xavier(),
            nn.init.xavier_normal_,
        ),
        (
            "not orthogonal",
            initializers.lengths(20, 50),
            lambda: mx.init.Orthogonal(1.0),
            lambda w: nn.init.normal_(w, std=50**-0.5),
        ),
        (
            "another rate",
            optimizers.steps(),
            trainer("sgd", learning_rate=0.25),
            sgd(lr=0.250001),
        ),
        (
            "decay forgotten",
            optimizers.steps(),
            trainer("sgd", learning_rate=0.25, wd=0.125),
            sgd(lr=0.25),
        ),
        (
            "one update late",
            optimizers.schedules(),
            lambda: mx.lr_scheduler.FactorScheduler(4, 0.5, base_lr=1.0),
            lambda o: torch.optim.lr_scheduler.StepLR(o, 5, 0.5),
        ),
        (
            "another share dropped",
            layers.dropped(4000, 4, 3),
            lambda: gnn.Dropout(0.25),
            lambda: nn.Dropout(0.5),
        ),
        (
            "whole channels dropped",
            layers.dropped(4000, 1, 3),
            lambda: gnn.Dropout(0.25),
            lambda: nn.Dropout1d(0.25),
        ),
        (
            "layouts exchanged",
            layers.recurrent(5, 5, 3),
            lambda: mx.gluon.rnn.GRU(4, layout="NTC", input_size=3),
            lambda: nn.GRU(3, 4),
        ),
        (
            "other epsilon",
            layers.fresh(5, 6),
            lambda: gnn.LayerNorm(in_channels=6),
            lambda: nn.LayerNorm(6, eps=1e-6),
        ),
        (
            "two rows exchanged",
            layers.embedded(np.array([0, 1])),
            lambda: gnn.Embedding(4, 3),
            lambda: nn.Sequential(nn.Embedding(4, 3), Upside()),
        ),
        (
            "another value in the file",
            files.filed(),
            lambda path: files.gluon_parameters(path),
            lambda path: 2 * files.pytorch_parameters(path),
        ),
    ]
]


class TestPlanted:
    """Rows that say what is not so."""

    def test_said_to_be_the_same(self) -> None:
        row = Row("x", relu, torch.tanh, functions((3, 4)))
        with pytest.raises(WrongRowError, match="x: said to be the same, but they are"):
            row.check()

    def test_said_to_differ(self) -> None:
        row = Row("x", relu, torch.relu, functions((3, 4)), differs="in everything")
        with pytest.raises(
            WrongRowError, match="said to differ, but they are the same"
        ):
            row.check()

    def test_a_cure_that_is_none(self) -> None:
        row = Row(
            *("x", relu, torch.tanh, functions((3, 4))),
            differs="another function",
            cure=torch.sigmoid,
        )
        with pytest.raises(WrongRowError, match="the cure is not the same"):
            row.check()

    def test_a_cure_for_nothing(self) -> None:
        row = Row("x", relu, torch.relu, functions((3, 4)), cure=torch.relu)
        with pytest.raises(WrongRowError, match="a cure for what does not differ"):
            row.check()

    def test_a_spelling_that_fails(self) -> None:
        row = Row("x", relu, lambda x: x.no_such_method(), functions((3, 4)))
        with pytest.raises(WrongRowError, match="x: AttributeError"):
            row.check()

    def test_only_the_gradient_differs(self) -> None:
        row = Row(
            "x", relu, lambda x: torch.relu(x).detach() + 0 * x, functions((3, 4))
        )
        with pytest.raises(WrongRowError, match="said to be the same"):
            row.check()

    def test_other_shapes(self) -> None:
        row = Row("x", relu, lambda x: torch.relu(x)[None], functions((3, 4)))
        with pytest.raises(WrongRowError, match="they are inf apart"):
            row.check()

    def test_a_layer_of_another_size(self) -> None:
        row = Row(
            "x",
            lambda: gnn.Conv2D(8, 3, in_channels=4),
            lambda: nn.Conv2d(4, 8, 5),
            nets(2, 4, 9, 9),
        )
        with pytest.raises(WrongRowError, match="they are inf apart"):
            row.check()

    def test_a_layer_that_moves_its_statistics_otherwise(self) -> None:
        row = Row(
            "x",
            lambda: gnn.BatchNorm(in_channels=4, momentum=0.9),
            lambda: nn.BatchNorm2d(4, momentum=0.9),
            nets(2, 4, 9, 9),
        )
        with pytest.raises(WrongRowError, match="they are inf apart"):
            row.check()

    def test_values(self) -> None:
        assert values()(lambda: [1, 2.0], lambda: (1, 2.0)) == 0
        assert values()(lambda: [1, 2.0], lambda: (1, 2.5)) == pytest.approx(0.2)
        assert values()(lambda: np.nan, lambda: 0.0) == np.inf
        assert values()(lambda: [1], lambda: [1, 1]) == np.inf

    def test_further_apart_than_within(self) -> None:
        row = Row("x", relu, lambda x: torch.relu(x) + 1e-5, functions((3, 4)))
        with pytest.raises(WrongRowError, match="said to be the same"):
            replace(row, within=1e-6).check()
        replace(row, within=1e-4).check()

    def test_refused_in_other_words(self) -> None:
        def refuses(x: Any) -> Any:
            raise ValueError("not today")

        judge = refusal("not today", functions((3, 4)))
        Row("x", refuses, torch.relu, judge, differs="refused there").check()
        judge = refusal("never", functions((3, 4)))
        with pytest.raises(WrongRowError, match="x: ValueError: not today"):
            Row("x", refuses, torch.relu, judge, differs="refused there").check()

    def test_not_refused(self) -> None:
        judge = refusal("not today", functions((3, 4)))
        row = Row("x", relu, torch.relu, judge, differs="refused there")
        with pytest.raises(WrongRowError, match="they are the same"):
            row.check()

    @pytest.mark.parametrize(("judge", "gluon", "pytorch"), WRONG)
    def test_a_wrong_spelling(self, judge: Judge, gluon: Any, pytorch: Any) -> None:
        with pytest.raises(WrongRowError, match="said to be the same"):
            Row("x", gluon, pytorch, judge).check()

    def test_in_a_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        wrong = Row("planted", relu, torch.tanh, functions((3, 4)))
        monkeypatch.setattr(porting, "rows", lambda topic: [*ALL[:1], wrong][1:])
        with pytest.raises(WrongRowError, match="planted"):
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

    def test_a_function_within_a_function(self) -> None:
        outer = lambda: list(map(lambda x: x + 1, [1, 2]))  # noqa: C417, E731
        assert porting.spelling(outer) == ["list(map(lambda x: x + 1, [1, 2]))"]

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
            if "file: chapters/" in line
        ]
        places = [text.index(f"({'../chapters/'}{name}.ipynb#where") for name in names]
        assert places == sorted(places)
        assert text.count("|---") >= len(names)

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"cards: no chapters in .*chapters"):
            porting.cards(tmp_path / "chapters")

    def test_only_the_package(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As on Colab, where the page is a notebook without its neighbours."""
        installed = tmp_path / "site-packages" / "d2lutils" / "porting" / "__init__.py"
        monkeypatch.setattr(porting, "__file__", str(installed))
        assert "not beside the package" in porting.cards().text
