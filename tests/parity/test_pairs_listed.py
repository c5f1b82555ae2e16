"""The list of mirrored pairs: complete, equal, and every row of it can say no."""

from __future__ import annotations

import functools
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pairs import MODULES, halves
from test_mirror import EXCEPTIONS

from d2lutils import pairs, parity
from d2lutils._adapters.pytorch import TorchNet
from d2lutils.pairs import Pair, judges, listed

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "book" / "parity.ipynb"
ALL = [pair for topic in listed.TOPICS.values() for pair in topic]
IDS = [pair.call for pair in ALL]


def kind(pair: Pair) -> str:
    """How it is compared: net, function or rest."""
    return pair.judge.kind


def of(*kinds: str) -> Any:
    """The pairs with some judges, as a parameter."""
    chosen = [pair for pair in ALL if kind(pair) in kinds]
    return pytest.mark.parametrize("pair", chosen, ids=[p.call for p in chosen])


def judged(pair: Pair, name: str) -> Any:
    """An argument that the judge of a pair was made with."""
    return inspect.getclosurevars(pair.judge.run).nonlocals[name]


def wrong(finding: pairs.Finding) -> set[str]:
    """The quantities that break their bounds."""
    return {row.quantity for row in finding.rows if not row.ok}


# -- the list --------------------------------------------------------------------------


def unlisted(listed_pairs: Iterable[Pair]) -> set[str]:
    """Public names of either half that no pair is about."""
    offered = {name for m in MODULES for half in halves(m) for name in half.__all__}
    return offered - {pair.name for pair in listed_pairs} - set(pairs.ONE_SIDED)


def test_no_mirrored_name_is_missing() -> None:
    assert unlisted(ALL) == set()


@pytest.mark.parametrize("name", sorted({pair.name for pair in ALL}))
def test_a_missing_name_is_named(name: str) -> None:
    assert unlisted(pair for pair in ALL if pair.name != name) == {name}


def test_modules_are_all_of_them() -> None:
    assert sorted(pairs.MODULES) == sorted(MODULES)
    for name, paths in pairs.MODULES.items():
        assert paths == tuple(half.__name__ for half in halves(name))


def test_names_mean_one_thing() -> None:
    """One namespace holds a half: no two modules may offer the same name."""
    for half in (0, 1):
        names = [name for m in MODULES for name in halves(m)[half].__all__]
        assert len(names) == len(set(names))
        assert set(names) == set(pairs.namespace(half))


def test_one_sided_names_are_the_mirrors_exceptions() -> None:
    assert set(pairs.ONE_SIDED) == {n for m, n in EXCEPTIONS if m != "*"}
    for name, (half, why) in pairs.ONE_SIDED.items():
        has = [name in pairs.namespace(i) for i in (0, 1)]
        assert has == [half == "Gluon", half == "PyTorch"]
        assert why


def test_calls_are_unique() -> None:
    """But for one that runs in float32, too."""
    twice = {call for call in IDS if IDS.count(call) > 1}
    assert twice == {"concat_ahead(x, identity, 3)"}


# Shown under another name: the chapter runs the ways from their table, and a unit
# inside its net.
INSIDE = {"ResNetUnit": "ResNet", "looped": "torch_loop"} | {
    pair.name: "WAYS" for pair in listed.TOPICS["Other ways to write the sum"]
}


@pytest.mark.parametrize("pair", [p for p in ALL if p.chapter], ids=lambda p: p.call)
def test_the_chapter_shows_it(pair: Pair) -> None:
    text = (ROOT / "chapters" / f"{pair.chapter}.ipynb").read_text("utf-8")
    assert re.search(rf"\b{INSIDE.get(pair.name, pair.name)}\b", text)


# -- the findings ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def found() -> dict[str, list[pairs.Finding]]:
    return pairs.findings()


def test_all_are_equal(found: dict[str, list[pairs.Finding]]) -> None:
    findings = [finding for topic in found.values() for finding in topic]
    assert [f.pair.call for f in findings] == IDS
    assert {f.pair.call: f.rows for f in findings if not f.ok} == {}
    without = {f.pair.name for f in findings if not f.compared}
    assert without == {"concat_ahead", "pad_channels"}
    nets = [finding for finding in findings if kind(finding.pair) == "net"]
    quantities = {"output, evaluation", "input gradients", "parameter gradients"}
    quantities |= {"arguments", "parameters after 5 steps", "evaluation after 5 steps"}
    for finding in nets:
        rows = finding.rows
        assert {row.quantity for row in rows} >= quantities
        assert {row.mode for row in rows} == {"", "imperative", "hybridized"}


def test_the_page_shows_what_is_found(found: dict[str, list[pairs.Finding]]) -> None:
    """What the stored page says of each row is what this run finds."""
    cells = json.loads(PAGE.read_text("utf-8"))["cells"]
    outputs = [o for cell in cells for o in cell.get("outputs", [])]
    texts = ["".join(o["data"].get("text/markdown", "")) for o in outputs]
    stored = "\n".join(texts)
    count = 0
    for topic, findings in found.items():
        assert any(f"## {topic}" in "".join(cell["source"]) for cell in cells)
        for each in sorted({kind(finding.pair) for finding in findings}):
            assert pairs.table(findings, each).text in stored
            count += 1
    assert stored.count("| in both halves |") == count
    assert pairs.planted_table(pairs.planted()).text in stored
    plain = "\n".join("".join(o["data"]["text/plain"]) for o in outputs)
    assert repr(pairs.overview(found)) in plain


def test_planted_pairs_are_found() -> None:
    expected = [
        {"output, evaluation", "input gradients", "parameters after 5 steps"},
        {"output, training", "parameter gradients", "evaluation after 5 steps"},
        {"values", "gradient of x"},
        {"gradient of identity"},
        {"train loss", "weights"},
        {"refusal"},
    ]
    found = pairs.planted()
    assert len(found) == len(expected)
    for finding, quantities in zip(found, expected, strict=True):
        assert not finding.ok
        assert wrong(finding) >= quantities
    text = pairs.planted_table(found).text
    assert text.count("**differs:**") >= len(found)
    for pair in listed.PLANTED:
        assert f"`{pair.call}` | `{pair.other}`" in text
    # Equal again without what is planted.
    for pair in listed.PLANTED[2:4]:
        assert replace(pair, other="").find().ok


# -- every row can say no --------------------------------------------------------------


class Nudge(torch.nn.Module):
    """The last weight moves a little whenever its block is called."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block

    def forward(self, *inputs: Any) -> Any:
        weights = [p for p in self.block.parameters() if p.ndim > 1]
        with torch.no_grad():
            weights[-1].add_(1e-6)
        return self.block(*inputs)


class Louder(torch.nn.Module):
    """Its block's output, a hundred-millionth larger."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block

    def forward(self, *inputs: Any) -> Any:
        return self.block(*inputs) * (1 + 1e-8)


class Steeper(torch.nn.Module):
    """Its block's output, with gradients a hundred-millionth larger."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block

    def forward(self, *inputs: Any) -> Any:
        y = self.block(*inputs)
        return y + (y - y.detach()) * 1e-8


def spoiled(pair: Pair, wrapper: Any) -> dict[str, Any]:
    """PyTorch's half of a pair with something wrong in what it makes."""
    own = pairs.namespace(1)[pair.name]

    @functools.wraps(own)
    def made(*arguments: Any, **options: Any) -> Any:
        return wrapper(own(*arguments, **options))

    return {pair.name: made}


@pytest.fixture
def one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """No steps of training: each takes longer than the pass."""

    def compare(*arguments: Any, **options: Any) -> parity.Report:
        return parity.compare(*arguments, **options | {"steps": 0})

    monkeypatch.setattr(judges, "parity", SimpleNamespace(**vars(parity)))
    monkeypatch.setattr(judges.parity, "compare", compare)


@pytest.mark.usefixtures("one_pass")
@of("net")
class TestNets:
    def test_a_weight_is_another(self, pair: Pair) -> None:
        finding = pair.find(two=spoiled(pair, Nudge))
        assert {"output, evaluation", "output, training"} <= wrong(finding)
        assert "**differs:** output, evaluation" in finding.line()["one pass"]

    def test_the_output_is_another(self, pair: Pair) -> None:
        finding = pair.find(two=spoiled(pair, Louder))
        assert {"output, evaluation", "output, training"} <= wrong(finding)

    def test_the_gradient_is_another(self, pair: Pair) -> None:
        finding = pair.find(two=spoiled(pair, Steeper))
        assert wrong(finding) == {"input gradients", "parameter gradients"}

    def test_every_example_and_weight_matters(self, pair: Pair) -> None:
        """In a net whose numbers have died nothing would be compared."""
        made, inputs = [], judged(pair, "inputs")

        def keep(block: Any) -> Any:
            made.append(block)
            return block

        pair.find(two=spoiled(pair, keep))
        net = made[-1].double().train()
        for module in net.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if hasattr(module, "_drop_prob"):
                module._drop_prob = 0.0
        arrays = [torch.tensor(v) for v in judges._values(inputs).values()]
        if "None, keep" in pair.call:
            arrays.insert(1, None)
        out = net(*arrays)
        out.backward(torch.tensor(judges._head(tuple(out.shape))))
        assert len({row.tobytes() for row in out.detach().numpy()}) == len(out)
        gradients = {n: float(p.grad.abs().max()) for n, p in net.named_parameters()}
        # A bias that a batch norm removes has a true gradient of zero.
        idle = {n for n, g in gradients.items() if g < 1e-8 * max(gradients.values())}
        assert all(name.endswith("bias") for name in idle), idle


FUNCTIONS = [pair for pair in ALL if kind(pair) == "function"]
CALLED = [p for p in FUNCTIONS if not judged(p, "refused")]
RECORDED = [p for p in CALLED if not judged(p, "expected_words")["recorded"]]


class TestFunctions:
    @staticmethod
    def find(pair: Pair, spoil: Callable[[Any, float], Any]) -> pairs.Finding:
        """A pair with PyTorch's result spoilt, by as little as the dtype shows."""
        own = pairs.namespace(1)[pair.name]
        size = {"float64": 1e-8, "float32": 1e-6}[judged(pair, "dtype")]

        @functools.wraps(own)
        def called(*arguments: Any, **options: Any) -> Any:
            made = own(*arguments, **options)
            if not isinstance(made, torch.nn.Module):
                return spoil(made, size)
            made.register_forward_hook(lambda _block, _inputs, y: spoil(y, size))
            return made

        return pair.find(two={pair.name: called})

    def test_how_many_there_are(self) -> None:
        assert len(FUNCTIONS) - len(CALLED) == 2
        assert len(CALLED) - len(RECORDED) == 1

    @pytest.mark.parametrize("pair", CALLED, ids=lambda pair: pair.call)
    def test_the_values_are_others(self, pair: Pair) -> None:
        finding = self.find(pair, lambda y, size: y * (1 + size))
        assert "values" in wrong(finding)
        assert "**differs:** values" in finding.line()["one pass"]

    @pytest.mark.parametrize("pair", CALLED, ids=lambda pair: pair.call)
    def test_other_shapes(self, pair: Pair) -> None:
        finding = self.find(pair, lambda y, _: y[:, :, :-1])
        assert "values" in wrong(finding)

    @pytest.mark.parametrize("pair", RECORDED, ids=lambda pair: pair.call)
    def test_the_gradient_is_another(self, pair: Pair) -> None:
        finding = self.find(pair, lambda y, size: y + (y - y.detach()) * size)
        broken = wrong(finding)
        assert broken
        assert all(quantity.startswith("gradient of ") for quantity in broken)


SUM = {"x": (3, 8, 5, 6), "identity": (3, 5, 5, 6)}


@pytest.mark.parametrize("option", ["refused", "gradient", "graph"])
def test_a_refusal_that_is_none(option: str) -> None:
    """A row that says Gluon refuses is wrong if Gluon does not, or in other words."""
    judge = judges.function(**{option: "not today"}, **SUM)
    for call in ("add_zero_padded(x, identity)", "pad_channels(x, identity, 3)"):
        finding = Pair(call, judge).find()
        assert not finding.ok
        assert "refusal" in " ".join(wrong(finding)) or "fails" in str(finding.line())


def test_what_fails_is_not_equal() -> None:
    """In one half or in both; the page says so and goes on."""
    judge = judges.net(x=(3, 2, 9))
    both = Pair("ConvChunk(2, 8, 0)(x)", judge).find()
    other = "ConvChunk(2, 9, 3)(x)"
    half = Pair("ConvChunk(2, 8, 3)(x)", judge, other=other).find()
    for finding in (both, half):
        assert not finding.ok
        assert wrong(finding) == {"running it"}
        assert finding.line()["one pass"].startswith("**fails:** ValueError: ")
    assert "kernel_size" in both.line()["one pass"]
    assert pairs.overview({"x": [both]}).rows[0] == ["x", "1", "1", "0", "1"]


def test_what_an_error_says_is_text_on_the_page() -> None:
    """Types stand in angle brackets, which Markdown takes for a tag."""
    finding = Pair("ConvChunk(2, 8, '<b>|')(x)", judges.net(x=(3, 2, 9))).find()
    assert "got '&lt;b&gt;\\|'" in finding.line()["one pass"]
    assert "got '<b>|'" in finding.rows[-1].worst


def test_training_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pass, but PyTorch steps a little further."""
    own = TorchNet.optimizer
    monkeypatch.setattr(
        TorchNet,
        "optimizer",
        lambda self, rate, *more: own(self, rate * (1 + 1e-3), *more),
    )
    pair = next(pair for pair in ALL if kind(pair) == "net")
    finding = pair.find()
    assert wrong(finding) >= {"parameters after 5 steps"}
    assert not any(row.bound == parity.ONE_PASS and not row.ok for row in finding.rows)
    assert finding.line()["one pass"] == "within 1e-10"
    assert finding.line()["five steps"].startswith("**differs:** ")


def others_words(own: Any) -> Any:
    """The same refusals in other words."""

    @functools.wraps(own)
    def called(*arguments: Any, **options: Any) -> Any:
        try:
            return own(*arguments, **options)
        except Exception as error:
            raise type(error)(f"{error}!") from None

    return called


def refusing_nothing(own: Any) -> Any:
    return functools.wraps(own)(lambda *_arguments, **_options: None)


def result(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What gives another result."""

    def spoil(own: Any) -> Any:
        return functools.wraps(own)(lambda *a, **options: change(own(*a, **options)))

    return spoil


def slower(own: Any) -> Any:
    """Training at another rate."""

    @functools.wraps(own)
    def fit(*arguments: Any, **options: Any) -> Any:
        rate = options.pop("learning_rate", 0.125) * (1 + 1e-2)
        return own(*arguments, learning_rate=rate, **options)

    return fit


# By name: what is wrong in PyTorch's half.
SPOILS: dict[str, list[Callable[[Any], Any]]] = {
    "fit": [slower],
    "accuracy": [result(lambda share: share + 1 / 360)],
    "try_gpu": [others_words, refusing_nothing],
    "try_all_gpus": [result(lambda _: [])],
    "why_no_gpu": [others_words, refusing_nothing],
    "kept_bytes": [result(lambda n: n + 4)],
    "live_bytes": [result(lambda found: (found[0] + 4, found[1]))],
    "lifetimes": [
        result(lambda found: SimpleNamespace(largest=lambda: (found.largest()[0] + 4,)))
    ],
    "peak_bytes": [result(lambda n: n // 8)],
    "check_input": [others_words, refusing_nothing],
    "check_pair": [others_words, refusing_nothing],
    "check_routing": [others_words, refusing_nothing],
    "any_size": [result(lambda found: not found)],
    "mixed_precision": [result(lambda found: not found)],
    "traced": [result(lambda found: not found)],
    "WAYS": [lambda ways: dict(list(ways.items())[1:])],
    "FORMS": [lambda forms: dict(list(forms.items())[1:])],
    "capabilities": [result(lambda found: found | {"1-D": "ValueError: no"})],
}


@of("rest")
def test_other_rows_can_say_no(pair: Pair) -> None:
    own = pairs.namespace(1)[pair.name]
    for spoil in SPOILS[pair.name]:
        finding = pair.find(two={pair.name: spoil(own)})
        assert not finding.ok
        assert finding.line()["found"].startswith("**differs:** ")


@pytest.mark.parametrize("name", sorted({p.name for p in ALL} - {"WAYS", "FORMS"}))
def test_a_signature_that_is_another(name: str) -> None:
    """Another default, another name, another order, one argument more: all found."""
    one, two = (pairs.namespace(half)[name] for half in (0, 1))
    rows, count = pairs._signatures(one, two)
    assert [row.verdict for row in rows] == ["equal"]
    own = list(inspect.signature(two).parameters.values())
    assert count == len(own)
    extra = inspect.Parameter("one_more", inspect.Parameter.KEYWORD_ONLY)
    others = [[*own, extra]]
    if own:
        others.append([own[0].replace(name="other"), *own[1:]])
        others.append([*own[:-1], own[-1].replace(default=np.pi)])
    if len(own) > 1:
        plain = [p.replace(default=inspect.Parameter.empty) for p in own]
        others.append([plain[1], plain[0], *plain[2:]])

    for parameters in others:

        def other() -> None: ...

        other.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        rows, _ = pairs._signatures(
            one if not inspect.isclass(one) else _callable(one), other
        )
        assert [row.ok for row in rows] == [False]


def _callable(cls: Any) -> Any:
    """A class as a function with its constructor's arguments."""
    return functools.wraps(cls)(lambda *arguments, **options: None)


def test_a_method_that_is_another() -> None:
    """Public methods count, too, and those that one half alone has."""
    one, two = (pairs.namespace(half)["StochasticDepth"] for half in (0, 1))

    class Keyless(two):  # type: ignore[misc, valid-type]
        def forward(self, x: Any, identity: Any = None) -> Any:
            return super().forward(x, identity)

    assert pairs._signatures(one, Keyless)[0][0].worst == "forward"
    one, two = (pairs.namespace(half)["SqueezeExcite"] for half in (0, 1))

    class More(two):  # type: ignore[misc, valid-type]
        def ratio(self) -> float:
            return 1.0

    assert pairs._signatures(one, More)[0][0].worst == "ratio"
    pair = next(pair for pair in ALL if pair.name == "SqueezeExcite")
    finding = pair.find(two={"SqueezeExcite": More})
    assert wrong(finding) == {"arguments"}
    assert finding.line()["arguments"] == "**differ** in ratio"


def test_a_table_of_nothing() -> None:
    finding = listed.PLANTED[-1].find()
    assert kind(finding.pair) == "rest"
    with pytest.raises(ValueError, match="nothing among these is of kind 'net'"):
        pairs.table([finding], "net")


def test_the_list_imports_no_framework() -> None:
    """So that whoever has one of them can read it."""
    code = (
        "import sys, d2lutils.pairs.listed; print({'torch', 'mxnet'} & {*sys.modules})"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr
