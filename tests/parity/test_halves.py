"""The rows of the book's own halves: complete, equal, and each of them can say no."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from nets import MODULES
from nets import halves as both

from d2lutils import parity
from d2lutils._adapters.pytorch import TorchNet
from d2lutils.compat import mx
from d2lutils.porting import Row, halves, judges, own_blocks
from d2lutils.porting.halves import find, subject
from d2lutils.porting.rows import Found
from d2lutils.pytorch.training import _skips_blocks

pytestmark = pytest.mark.needs_mxnet

ROOT = Path(__file__).parents[2]
ALL = [row for topic in own_blocks.TOPICS.values() for row in topic]
SUM = {"x": (3, 8, 5, 6), "identity": (3, 5, 5, 6)}


def of(kind: str) -> list[Row]:
    """The rows with a judge of some kind."""
    return [row for row in ALL if row.judge.kind == kind]


def row_of(kind: str, **settings: Any) -> Row:
    """The first such row whose judge has these settings."""
    return next(r for r in of(kind) if settings.items() <= r.judge.settings.items())


def wrong(found: Found) -> set[str]:
    """The quantities that break their bounds."""
    return {quantity.quantity for quantity in found.wrong}


# -- the list --------------------------------------------------------------------------


def test_everything_public_is_listed() -> None:
    offered = {name for m in MODULES for half in both(m) for name in half.__all__}
    assert offered == {subject(row) for row in ALL} | set(halves.ONE_SIDED)


def test_modules_are_all_of_them() -> None:
    assert sorted(halves.MODULES) == sorted(both(m)[0].__name__ for m in MODULES)


def test_names_mean_one_thing() -> None:
    """One namespace holds a half: no two modules may offer the same name."""
    for i, half in enumerate(("gluon", "pytorch")):
        names = [name for m in MODULES for name in both(m)[i].__all__]
        assert sorted(names) == sorted(halves.names(half))


def test_one_sided_names_are_of_one_side() -> None:
    for name, (half, why) in halves.ONE_SIDED.items():
        has = [name in halves.names(each) for each in ("gluon", "pytorch")]
        assert has == [half == "Gluon", half == "PyTorch"]
        assert why


def test_lines_are_unique() -> None:
    """But for one that runs in float32, too."""
    names = [row.name for row in ALL]
    assert {name for name in names if names.count(name) > 1} == {
        "concat_ahead(x, identity, 3)"
    }


# Shown under another name: the chapter runs the ways from their table, and a unit
# inside its net.
INSIDE = {"ResNetUnit": "ResNet", "looped": "torch_loop"}
INSIDE |= dict.fromkeys(["check_input", "check_routing"], "takes_input") | {
    subject(row): "WAYS" for row in own_blocks.TOPICS["Other ways to write the sum"]
}


def test_the_chapter_shows_it() -> None:
    for row in ALL:
        if row.chapter:
            paths = (ROOT / "chapters").rglob(f"{row.chapter}.ipynb")
            text = "".join(path.read_text("utf-8") for path in paths)
            shown = INSIDE.get(subject(row), subject(row))
            assert re.search(rf"\b{shown}\b", text), row.name


# -- the findings ----------------------------------------------------------------------
# What the page shows of them is compared when its notebook runs.


def test_all_are_equal() -> None:
    findings = [finding for topic in halves.findings().values() for finding in topic]
    assert [row for row, _ in findings] == ALL
    assert {row.name: found.wrong for row, found in findings if not found.ok} == {}
    refused = {
        subject(row) for row, found in findings if not halves.compared(row, found)
    }
    assert refused == {"concat_ahead", "pad_channels"}
    quantities = {"output, evaluation", "input gradients", "parameter gradients"}
    quantities |= {"arguments", "parameters after 5 steps", "evaluation after 5 steps"}
    for row, found in findings:
        if row.judge.kind == "net":
            assert {q.quantity for q in found.quantities} >= quantities
            modes = {q.mode for q in found.quantities}
            assert modes == {"", "imperative", "hybridized"}


def test_planted_rows_are_found_out() -> None:
    expected = [
        {"output, evaluation", "input gradients", "parameters after 5 steps"},
        {"output, training", "parameter gradients", "evaluation after 5 steps"},
        {"values", "gradient of x"},
        {"gradient of identity"},
        {"train loss", "weights"},
        {"refusal"},
    ]
    findings = halves.planted()
    for (_, found), quantities in zip(findings, expected, strict=True):
        assert wrong(found) >= quantities
    assert halves.planted_table(findings).text.count("**differs:**") >= len(expected)
    # Equal again without what is planted.
    for row in own_blocks.PLANTED[2:4]:
        assert find(replace(row, pytorch=row.gluon)).ok
    with pytest.raises(ValueError, match="nothing among these is of kind 'net'"):
        halves.table(findings[-1:], "net")


# -- replicas --------------------------------------------------------------------------


def block(row: Row, half: str) -> Any:
    """The row's block in one half."""
    return judges.rebound(row.gluon, halves.names(half))()


def inputs_of(row: Row, make: Callable[[Any], Any]) -> list[Any]:
    """Its inputs, arrays as `make` makes them."""
    values = row.judge.inputs.values()
    arrays = iter(judges._filled(values, "float32"))
    kinds = (tuple, np.ndarray)
    return [make(next(arrays)) if isinstance(x, kinds) else x for x in values]


@pytest.mark.parametrize("row", of("net"), ids=lambda row: row.name)
def test_on_two_contexts(row: Row) -> None:
    """Outputs and gradients on each are those on one, hybridized, too."""
    theirs = block(row, "pytorch")
    judges.randomize(theirs)
    two = [mx.cpu(0), mx.cpu(1)]
    found: list[Any] = []
    for contexts, hybrid in ((two[:1], False), (two, False), (two, True)):
        net = block(row, "gluon")
        net.initialize(ctx=contexts)
        parity.copy_parameters(theirs, net)
        net.hybridize(hybrid)
        # A graph drops other examples.
        net.apply(lambda each: vars(each).update(_drop_prob=0.0))
        for context in contexts:
            make = functools.partial(mx.nd.array, ctx=context)
            inputs = inputs_of(row, make)
            inputs[0].attach_grad()
            mx.random.seed(0, ctx=context)
            output = net(*inputs)
            with mx.autograd.record():
                trained = net(*inputs) * 1
            trained.backward()
            assert output.context == inputs[0].grad.context == context
            found.append([a.asnumpy() for a in (output, trained, inputs[0].grad)])
    for replica in found[1:]:
        for one, other in zip(found[0], replica, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def group() -> Iterator[None]:
    """A group of this process alone."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("row", of("net"), ids=lambda row: row.name)
def test_distributed(row: Row) -> None:
    """The same outputs and gradients; the same names of parameters, after a prefix."""
    net, inputs = block(row, "pytorch"), inputs_of(row, torch.tensor)
    judges.randomize(net)
    state = {f"module.{k}": v.clone() for k, v in net.state_dict().items()}
    inputs[0].requires_grad_()  # a block that is dropped hands on its gradient alone
    found = []
    skips = any(map(_skips_blocks, net.modules()))
    wrapped = torch.nn.parallel.DistributedDataParallel(
        copy.deepcopy(net), find_unused_parameters=skips
    )
    assert wrapped.state_dict().keys() == state.keys()
    for each in (net, wrapped):
        for _ in range(2):  # a gradient that had not come would end the second pass
            torch.manual_seed(0)
            each.zero_grad()
            output = each.train()(*inputs)
            output.square().sum().backward()
        grads = [p.grad for p in each.parameters()]
        found.append([output, *(torch.zeros(()) if g is None else g for g in grads)])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
    wrapped.load_state_dict(state)
    for name, value in wrapped.module.state_dict().items():
        assert torch.equal(value, state[f"module.{name}"])


# -- every row can say no --------------------------------------------------------------


def spoilt(row: Row, spoil: Callable[[Any], Any]) -> Found:
    """What is found of a row with something wrong in PyTorch's half."""
    name = subject(row)
    return find(row, {name: spoil(halves.names("pytorch")[name])})


def result(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What gives another result."""

    def spoil(own: Any) -> Any:
        return functools.wraps(own)(lambda *a, **options: change(own(*a, **options)))

    return spoil


def hooked(change: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """What makes a block whose output is another."""

    def hook(made: Any) -> Any:
        made.register_forward_hook(lambda block, _inputs, y: change(block, y))
        return made

    return result(hook)


def nudged(block: Any, y: Any) -> Any:
    """After each call the last weight moves a little."""
    with torch.no_grad():
        [p for p in block.parameters() if p.ndim > 1][-1].add_(1e-6)
    return y


OUTPUTS = {"output, evaluation", "output, training"}
GRADIENTS = {"input gradients", "parameter gradients"}
#: What is done to a net's output, and what must then be wrong, at least.
SPOILT_NETS: list[tuple[Callable[[Any, Any], Any], set[str]]] = [
    (nudged, {"output, training"}),
    (lambda block, y: y * (1 + 1e-8), OUTPUTS),
    (lambda block, y: y + (y - y.detach()) * 1e-8, GRADIENTS),
]


@pytest.mark.parametrize(("change", "quantities"), SPOILT_NETS)
def test_a_net_that_is_another(
    change: Callable[[Any, Any], Any], quantities: set[str]
) -> None:
    assert wrong(spoilt(row_of("net"), hooked(change))) >= quantities


@pytest.mark.parametrize("row", of("net"), ids=lambda row: row.name)
def test_every_example_and_weight_matters(row: Row) -> None:
    """In a net whose numbers have died nothing would be compared."""
    net = row.pytorch()
    judges.randomize(net)
    net = net.double().train()
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "_drop_prob"):
            module._drop_prob = 0.0
    inputs = row.judge.inputs.values()
    arrays = iter(judges._filled(inputs))
    out = net(*(None if x is None else torch.tensor(next(arrays)) for x in inputs))
    assert len({row.tobytes() for row in out.detach().numpy()}) == len(out)
    out.backward(torch.tensor(judges._noise(2, out.shape)))
    gradients = {n: float(p.grad.abs().max()) for n, p in net.named_parameters()}
    # A bias that a batch norm removes has a true gradient of zero.
    idle = {n for n, g in gradients.items() if g < 1e-8 * max(gradients.values())}
    assert all(name.endswith("bias") for name in idle), idle


def test_a_function_that_is_another() -> None:
    row = row_of("function", refused="", gradient="", dtype="float64")
    for change, quantity in (
        (lambda y: y * (1 + 1e-8), "values"),
        (lambda y: y[:, :, :-1], "values"),
        (lambda y: y + (y - y.detach()) * 1e-8, "gradient of x"),
    ):
        assert quantity in wrong(spoilt(row, result(change)))


@pytest.mark.parametrize("option", ["refused", "gradient", "graph"])
def test_a_refusal_that_is_none(option: str) -> None:
    """A row that says Gluon refuses is wrong if Gluon does not, or in other words."""
    judge = judges.traceable(**{option: "not today"}, **SUM)
    for row in own_blocks.TOPICS["Other ways to write the sum"]:
        if subject(row) in ("concat_derived", "pad_channels"):
            found = find(replace(row, judge=judge))
            assert "refusal" in " ".join(wrong(found)) or "fails" in str(found.cells)


def test_what_fails_is_not_equal() -> None:
    """The page says so and goes on; types in angle brackets would be tags there."""

    def refuses(*_arguments: Any, **_options: Any) -> Any:
        raise ValueError("got '<b>|'")

    row = own_blocks.TOPICS["Chunks and residual blocks"][0]
    found = spoilt(row, lambda own: functools.wraps(own)(refuses))
    assert wrong(found) == {"running it"}
    assert found.quantities[-1].worst == "ValueError: got '<b>|'"
    text = "**fails:** ValueError: got '&lt;b&gt;\\|'"
    assert found.cells["one pass"] == text
    assert halves.overview({"x": [(row, found)]}).rows[0] == ["x", "1", "1", "0", "1"]


def test_training_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pass, but PyTorch steps a little further."""
    step = TorchNet.optimizer
    monkeypatch.setattr(
        TorchNet,
        "optimizer",
        lambda self, rate, *more: step(self, rate * (1 + 1e-3), *more),
    )
    found = find(row_of("net"))
    assert "parameters after 5 steps" in wrong(found)
    assert found.cells["one pass"] == "within 1e-10"
    assert found.cells["five steps"].startswith("**differs:** ")


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


def slower(own: Any) -> Any:
    """Training at another rate."""

    @functools.wraps(own)
    def fit(*arguments: Any, **options: Any) -> Any:
        rate = options.pop("learning_rate", 0.125) * (1 + 1e-2)
        return own(*arguments, learning_rate=rate, **options)

    return fit


REFUSALS = [others_words, refusing_nothing]
OPPOSITE = [result(lambda found: not found)]
#: By name: what is wrong in PyTorch's half.
SPOILS: dict[str, list[Callable[[Any], Any]]] = {
    "fit": [slower],
    "accuracy": [result(lambda share: share + 1 / 360)],
    "try_gpu": REFUSALS,
    "try_all_gpus": [result(lambda _: [])],
    "use_gpu": REFUSALS,
    "why_no_gpu": REFUSALS,
    "kept_bytes": [result(lambda n: n + 4)],
    "live_bytes": [result(lambda found: (found[0] + 4, found[1]))],
    "lifetimes": [
        result(lambda found: SimpleNamespace(largest=lambda: (found.largest()[0] + 4,)))
    ],
    "peak_bytes": [result(lambda n: n // 8)],
    "check_input": REFUSALS,
    "check_pair": REFUSALS,
    "check_routing": REFUSALS,
    "any_size": OPPOSITE,
    "mixed_precision": OPPOSITE,
    "traced": OPPOSITE,
    "WAYS": [lambda ways: dict(list(ways.items())[1:])],
    "FORMS": [lambda forms: dict(list(forms.items())[1:])],
    "capabilities": [result(lambda found: found | {"1-D": "ValueError: no"})],
}


@pytest.mark.parametrize("row", of("rest"), ids=lambda row: row.name)
def test_other_rows_can_say_no(row: Row) -> None:
    for spoil in SPOILS[subject(row)]:
        found = spoilt(row, spoil)
        assert found.cells["found"].startswith("**differs:** ")


# -- signatures ------------------------------------------------------------------------


def test_signatures_that_are_others() -> None:
    """Another default, another order, another kind of argument: all are found."""

    def own(a: int, b: int = 1) -> None: ...

    def default(a: int, b: int = 2) -> None: ...

    def order(b: int, a: int = 1) -> None: ...

    def kind(a: int, *, b: int = 1) -> None: ...

    quantities, said = halves.signatures(own, own)
    assert [q.verdict for q in quantities] == ["equal"]
    assert said == "2, the same"
    for other in (default, order, kind):
        (quantity,), _ = halves.signatures(own, other)
        assert not quantity.ok, other


def test_a_method_that_is_another() -> None:
    """Public methods count, too, and those that one half alone has."""
    one, two = (halves.names(half)["StochasticDepth"] for half in ("gluon", "pytorch"))

    class Keyless(two):  # type: ignore[misc, valid-type]
        def forward(self, x: Any, identity: Any = None) -> Any:
            return super().forward(x, identity)

    assert halves.signatures(one, Keyless)[0][0].worst == "forward"

    class More(halves.names("pytorch")["SqueezeExcite"]):  # type: ignore[misc]
        def ratio(self) -> float:
            return 1.0

    row = next(row for row in ALL if subject(row) == "SqueezeExcite")
    found = find(row, {"SqueezeExcite": More})
    assert wrong(found) == {"arguments"}
    assert found.cells["arguments"] == "**differ** in ratio"
