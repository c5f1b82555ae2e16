"""What each way to add zero-padded channels can do: the whole table, as expected data.

The chapter prints this table from a run; here stands what the run must find, in both
frameworks, with the words of each reason that a reader would search for.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from pairs import MODULES, halves, noise, randomize

from d2lutils import parity
from d2lutils.compat import mx

COLUMNS = (
    *("eager", "gradient", "graph", "any batch", "1-D", "extra > channels"),
    "in a net",
)
HALVES = dict(zip(("gluon", "pytorch"), halves("padded_sums"), strict=True))
PYRAMIDNETS = dict(zip(HALVES, halves("pyramidnet"), strict=True))
WORKS: dict[str, str] = {}

AXES = "MXNetError: Current implementation expects padding on the first two axes to be"
SHAPELESS = "AttributeError: 'Symbol' object has no attribute 'shape'"
COPYLESS = "NotImplementedForSymbol: Function copy is not implemented for Symbol"
RECORDED = "Assigning to NDArrays that are already in a computational graph"
SUBMEMORY = "MXNetError: could not construct a sub-memory"

# Only what fails is listed, with words of its reason.
TABLE: dict[str, dict[str, dict[str, str]]] = {
    "gluon": {
        "concatenate, sized ahead": dict.fromkeys(
            ("graph", "any batch", "in a net"), SHAPELESS
        ),
        "concatenate, derived from the branch": {"in a net": SUBMEMORY},
        "concatenate a constant parameter": {
            "any batch": "expected [3,-1,6,6], got [4,24,6,6]",
            "in a net": SUBMEMORY,
        },
        "transpose, pad, transpose": {"1-D": "param.axes.ndim() (3 vs. 4)"},
        "pad the channel axis": dict.fromkeys(COLUMNS, AXES)
        | {"1-D": "MXNetError: Current implementation only supports 4-D or 5-D input"},
        "pad a view (N, 1, C, S)": WORKS,
        "pad five axes": {"1-D": "MXNetError: Input shape vs padding spec mismatch"},
        "1x1 identity kernel": {"1-D": "Input data should be 4D"},
        "add to a slice in place": {
            "gradient": RECORDED,
            "graph": COPYLESS,
            "any batch": COPYLESS,
            "1-D": RECORDED,
            "extra > channels": RECORDED,
            "in a net": COPYLESS,
        },
        "add to a slice, concatenate the rest": WORKS,
        "autograd.Function": dict.fromkeys(
            ("graph", "any batch", "in a net"), SHAPELESS
        ),
        "custom operator": WORKS,
        "add_zero_padded": WORKS,
    },
    "pytorch": {
        "concatenate, sized ahead": WORKS,
        "concatenate, derived from the branch": WORKS,
        "concatenate a constant parameter": {"any batch": "RuntimeError"},
        "transpose, pad, transpose": {"1-D": "RuntimeError: permute"},
        "pad the channel axis": WORKS,
        "pad a view (N, 1, C, S)": WORKS,
        "pad five axes": {"1-D": "size of tensor a (64) must match the size of tensor"},
        "1x1 identity kernel": {"1-D": "weight of size [64, 40, 1, 1]"},
        "add to a slice in place": WORKS,
        "add to a slice, concatenate the rest": WORKS,
        "autograd.Function": WORKS,
        "custom operator": WORKS,
        "add_zero_padded": WORKS,
    },
}
CELLS = [(half, way) for half, ways in TABLE.items() for way in ways]


def test_the_same_ways_in_both_halves() -> None:
    assert "padded_sums" in MODULES
    names = [list(half.WAYS) for half in HALVES.values()]
    assert names[0] == names[1] == list(TABLE["gluon"]) == list(TABLE["pytorch"])


# The compiler instantiates an autograd.Function, which PyTorch itself warns of.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize(("half", "way"), CELLS, ids=[": ".join(c) for c in CELLS])
def test_table(half: str, way: str) -> None:
    found = HALVES[half].capabilities(way)
    assert tuple(found) == COLUMNS
    failing = {column for column, reason in found.items() if reason}
    assert failing == set(TABLE[half][way]), found
    for column, words in TABLE[half][way].items():
        assert words in found[column]
    for reason in found.values():
        # One line, without a place in somebody's source.
        assert "\n" not in reason
        assert "src/" not in reason
        assert not reason or reason.partition(": ")[0].isidentifier()
    mx.nd.waitall()  # and nothing comes later


def test_ours_is_the_one_that_can_do_everything() -> None:
    for ways in TABLE.values():
        assert ways["add_zero_padded"] == {}
    works = [way for way, failures in TABLE["gluon"].items() if not failures]
    assert works == [
        "pad a view (N, 1, C, S)",
        "add to a slice, concatenate the rest",
        "custom operator",
        "add_zero_padded",
    ]


@pytest.mark.parametrize("half", list(HALVES))
def test_unknown_way(half: str) -> None:
    listed = ", ".join(repr(name) for name in TABLE[half])
    with pytest.raises(ValueError, match="way must be one of") as caught:
        HALVES[half].capabilities("by magic")
    assert str(caught.value) == (
        f"capabilities: way must be one of {listed}, got 'by magic'"
    )


# -- the same numbers in a whole net ---------------------------------------------------


def gluon_steps(make: Any) -> list[np.ndarray]:
    """Losses and last gradients of a hybridized net in training with a way."""
    net = installed("gluon", make)
    net.hybridize(static_alloc=True, static_shape=True)
    options = {"learning_rate": 2**-5}
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", options)
    losses = []
    for seed in range(3):
        x = mx.nd.array(noise(4, 3, 7, 8, seed=seed))
        x.attach_grad()
        with mx.autograd.record():
            loss = (net(x) ** 2).mean()
        loss.backward()
        trainer.step(1)
        losses.append(loss.asnumpy())
    return [*losses, x.grad.asnumpy()]


def torch_steps(make: Any) -> list[np.ndarray]:
    """The same in PyTorch."""
    net = installed("pytorch", make)
    sgd = torch.optim.SGD(net.parameters(), 2**-5)
    losses = []
    for seed in range(3):
        x = torch.tensor(noise(4, 3, 7, 8, seed=seed), requires_grad=True)
        sgd.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        sgd.step()
        losses.append(loss.detach().numpy())
    return [*losses, x.grad.numpy()]


def installed(half: str, make: Any) -> Any:
    """A PyramidNet with odd widths, whose sums are made in the given way."""
    net, source = PYRAMIDNETS[half].PyramidNet(8, 13), PYRAMIDNETS["pytorch"]
    start = source.PyramidNet(8, 13)
    randomize(start)
    parity.copy_parameters(start, net)
    space = (7, 8)
    for unit in net.blocks:
        if unit.pool is not None:
            space = tuple(-(-n // 2) for n in space)
        extra = unit.sum.extra
        assert extra > 0
        unit.sum.add = make(4, unit.channels - extra, extra, space)
        if isinstance(unit.sum.add, mx.gluon.Block):
            unit.sum.add.initialize()
    return net


def alike(found: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    """Whether losses and gradients are the same but for rounding in float32."""
    return all(
        np.allclose(one, two, rtol=1e-3, atol=1e-5)
        for one, two in zip(found, expected, strict=True)
    )


STEPS = {"gluon": gluon_steps, "pytorch": torch_steps}
IN_A_NET = [cell for cell in CELLS if "in a net" not in TABLE[cell[0]][cell[1]]]


@pytest.mark.parametrize("half", list(HALVES))
def test_every_way_trains_a_net_alike(half: str) -> None:
    """`capabilities` asks there for a finite loss only; here it is the same loss."""
    ways = [way for name, way in IN_A_NET if name == half]
    assert len(ways) == {"gluon": 7, "pytorch": 13}[half]
    reference = STEPS[half](HALVES[half].WAYS["add_zero_padded"])
    for way in ways:
        assert alike(STEPS[half](HALVES[half].WAYS[way]), reference), way


# -- capabilities says no --------------------------------------------------------------


def sum_in_last_channels(half: str) -> Any:
    """Zeros before the identity instead of behind it."""
    if half == "gluon":

        def gluon(x: Any, identity: Any, extra: int) -> Any:
            F = mx.sym if isinstance(x, mx.sym.Symbol) else mx.nd
            first = F.slice_axis(x, axis=1, begin=0, end=extra)
            last = F.slice_axis(x, axis=1, begin=extra, end=None)
            return F.concat(first, last + identity, dim=1)

        return gluon
    return lambda x, identity, extra: torch.cat(
        (x[:, :extra], x[:, extra:] + identity), dim=1
    )


def no_gradient(half: str) -> Any:
    """Right values; nothing flows back to the identity."""
    right = HALVES[half].slice_and_concat
    if half == "gluon":

        def gluon(x: Any, identity: Any, extra: int) -> Any:
            F = mx.sym if isinstance(x, mx.sym.Symbol) else mx.nd
            return right(x, F.BlockGrad(identity), extra)

        return gluon
    return lambda x, identity, extra: right(x, identity.detach(), extra)


def double_gradient(half: str) -> Any:
    """Right values; x counts twice in the backward pass."""
    right = HALVES[half].slice_and_concat
    if half == "gluon":

        def gluon(x: Any, identity: Any, extra: int) -> Any:
            F = mx.sym if isinstance(x, mx.sym.Symbol) else mx.nd
            return right(x, identity, extra) + x - F.BlockGrad(x)

        return gluon
    return lambda x, identity, extra: right(x, identity, extra) + x - x.detach()


def not_a_number(half: str) -> Any:
    right = HALVES[half].slice_and_concat
    return lambda x, identity, extra: right(x, identity, extra) * np.nan


UNEQUAL = "AssertionError: Not equal to tolerance"
# The columns that must be red, and the words in them (a gradient that PyTorch never
# fills is None, Gluon's is 0).
PLANTED = {
    "into the last channels": (sum_in_last_channels, set(COLUMNS), UNEQUAL),
    "no gradient": (no_gradient, set(COLUMNS) - {"eager"}, "Error: "),
    "double gradient": (double_gradient, set(COLUMNS) - {"eager"}, UNEQUAL),
    "not a number": (not_a_number, set(COLUMNS), UNEQUAL),
}


@pytest.mark.parametrize("name", list(PLANTED))
@pytest.mark.parametrize("half", list(HALVES))
def test_a_wrong_way_is_found(
    half: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, columns, words = PLANTED[name]
    way = plant(half)
    monkeypatch.setitem(HALVES[half].WAYS, name, lambda *sizes: way)
    found = HALVES[half].capabilities(name)
    # A net needs no more than a finite loss, and Gluon's ReLU makes 0 of what is
    # not a number; whether a net learns the same is tested above.
    net = found.pop("in a net")
    bad = half == "pytorch" and name == "not a number"
    assert net == ("ArithmeticError: the loss is not finite" if bad else "")
    columns = columns - {"in a net"}
    assert {column for column, reason in found.items() if reason} == columns
    assert all(words in found[column] for column in columns)


@pytest.mark.parametrize("name", ["into the last channels", "no gradient"])
@pytest.mark.parametrize("half", list(HALVES))
def test_a_wrong_way_trains_a_net_otherwise(half: str, name: str) -> None:
    """`test_every_way_trains_a_net_alike` would see it."""
    way = PLANTED[name][0](half)
    right = STEPS[half](HALVES[half].WAYS["add_zero_padded"])
    found = STEPS[half](lambda *sizes: way)
    assert not alike(found, right)


def test_logging_comes_back() -> None:
    """PyTorch's half silences the compiler's log of a failure, and only then."""
    seen: list[int] = []
    logger = logging.getLogger("d2lutils.tests")

    def way(x: Any, identity: Any, extra: int) -> Any:
        seen.append(logger.manager.disable)
        raise RuntimeError("no")

    half = HALVES["pytorch"]
    half.WAYS["refuses"] = lambda *sizes: way
    try:
        found = half.capabilities("refuses")
    finally:
        del half.WAYS["refuses"]
    assert found["eager"] == "RuntimeError: no"
    assert all(found.values())
    assert seen[0] == logging.ERROR
    assert logger.manager.disable == logging.NOTSET
