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
from halves import GLUON, PYTORCH, both, made, noise

from d2lutils.compat import mx

COLUMNS = (
    *("eager", "gradient", "graph", "any batch", "1-D", "extra > channels"),
    "in a net",
)
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
CELLS = [(half, way) for half in (GLUON, PYTORCH) for way in TABLE[half.name]]


def test_the_same_ways_in_both_halves() -> None:
    names = [list(half.padded_sums.WAYS) for half in (GLUON, PYTORCH)]
    assert names == [list(TABLE["gluon"]), list(TABLE["pytorch"])] == names[:1] * 2


# The compiler instantiates an autograd.Function, which PyTorch itself warns of.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize(
    ("half", "way"), CELLS, ids=[f"{h}: {way}" for h, way in CELLS]
)
def test_table(half: Any, way: str) -> None:
    found, wanted = half.padded_sums.capabilities(way), TABLE[half.name][way]
    assert tuple(found) == COLUMNS
    assert {column for column, reason in found.items() if reason} == set(wanted), found
    for column, words in wanted.items():
        assert words in found[column]
    for reason in found.values():
        # One line, without a place in somebody's source.
        assert "\n" not in reason
        assert "src/" not in reason
        assert not reason or reason.partition(": ")[0].isidentifier()
    mx.nd.waitall()  # and nothing comes later


@both
def test_unknown_way(half: Any) -> None:
    listed = ", ".join(map(repr, TABLE[half.name]))
    with pytest.raises(ValueError, match="way must be one of") as caught:
        half.padded_sums.capabilities("by magic")
    text = f"capabilities: way must be one of {listed}, got 'by magic'"
    assert str(caught.value) == text


# -- the same numbers in a whole net ---------------------------------------------------


def steps(half: Any, make: Any) -> list[np.ndarray]:
    """Weights after three steps, and last gradients, of a net that adds in a way."""
    net = made(half, lambda half: half.pyramidnet.PyramidNet(8, 13))
    space = (7, 8)
    for unit in net.blocks:
        if unit.pool is not None:
            space = tuple(-(-n // 2) for n in space)
        extra = unit.sum.extra
        assert extra > 0
        unit.sum.add = make(4, unit.channels - extra, extra, space)
        if isinstance(unit.sum.add, mx.gluon.Block):
            unit.sum.add.initialize()
    if half is GLUON:
        net.hybridize(static_alloc=True, static_shape=True)
        options = {"learning_rate": 2**-5}
        trainer = mx.gluon.Trainer(net.collect_params(), "sgd", options)
    else:
        sgd = torch.optim.SGD(net.parameters(), 2**-5)
    for seed in range(3):
        x = half.tensor(noise(4, 3, 7, 8, seed=seed))
        if half is GLUON:
            x.attach_grad()
            with mx.autograd.record():
                loss = (net(x) ** 2).mean()
            loss.backward()
            trainer.step(1)
        else:
            x.requires_grad_()
            sgd.zero_grad()
            (net(x) ** 2).mean().backward()
            sgd.step()
    return [*half.weights(net), half.numpy(x.grad)]


@both
def test_every_way_trains_a_net_alike(half: Any) -> None:
    """`capabilities` asks there for a finite loss only; here it is the same loss."""
    works = [way for way, bad in TABLE[half.name].items() if "in a net" not in bad]
    assert len(works) == {"gluon": 7, "pytorch": 13}[half.name]
    ways = half.padded_sums.WAYS
    reference = steps(half, ways["add_zero_padded"])
    for way in works:
        for one, two in zip(steps(half, ways[way]), reference, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4, err_msg=way)


# -- capabilities says no --------------------------------------------------------------


def into_the_last_channels(half: Any, x: Any, identity: Any, extra: int) -> Any:
    """Zeros before the identity instead of behind it."""
    if half is PYTORCH:
        return torch.cat((x[:, :extra], x[:, extra:] + identity), dim=1)
    F = mx.sym if isinstance(x, mx.sym.Symbol) else mx.nd
    first = F.slice_axis(x, axis=1, begin=0, end=extra)
    last = F.slice_axis(x, axis=1, begin=extra, end=None)
    return F.concat(first, last + identity, dim=1)


def without_gradient(half: Any, x: Any) -> Any:
    if half is PYTORCH:
        return x.detach()
    return (mx.sym if isinstance(x, mx.sym.Symbol) else mx.nd).BlockGrad(x)


def no_gradient(half: Any, x: Any, identity: Any, extra: int) -> Any:
    """Right values; nothing flows back to the identity."""
    right = half.padded_sums.slice_and_concat
    return right(x, without_gradient(half, identity), extra)


def double_gradient(half: Any, x: Any, identity: Any, extra: int) -> Any:
    """Right values; x counts twice in the backward pass."""
    right = half.padded_sums.slice_and_concat
    return right(x, identity, extra) + x - without_gradient(half, x)


def not_a_number(half: Any, x: Any, identity: Any, extra: int) -> Any:
    return half.padded_sums.slice_and_concat(x, identity, extra) * np.nan


@both
@pytest.mark.parametrize(
    ("plant", "right"),
    [
        (into_the_last_channels, set()),
        (no_gradient, {"eager"}),
        (double_gradient, {"eager"}),
        (not_a_number, set()),
    ],
)
def test_a_wrong_way_is_found(
    half: Any, plant: Any, right: Any, monkeypatch: Any
) -> None:
    """In a net no more than a finite loss is asked for, and Gluon's ReLU makes 0 of
    what is not a number."""
    module = half.padded_sums
    way = lambda *operands: plant(half, *operands)  # noqa: E731
    monkeypatch.setitem(module.WAYS, "planted", lambda *sizes: way)
    found = module.capabilities("planted")
    net = found.pop("in a net")
    bad = half is PYTORCH and plant is not_a_number
    assert net == ("ArithmeticError: the loss is not finite" if bad else "")
    assert {column for column, reason in found.items() if not reason} == right


def test_logging_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's half silences the compiler's log of a failure, and only then."""
    seen: list[int] = []
    manager = logging.getLogger("d2lutils.tests").manager

    def way(x: Any, identity: Any, extra: int) -> Any:
        seen.append(manager.disable)
        raise RuntimeError("no")

    ways = PYTORCH.padded_sums.WAYS
    monkeypatch.setitem(ways, "refuses", lambda *sizes: way)
    found = PYTORCH.padded_sums.capabilities("refuses")
    assert found["eager"] == "RuntimeError: no"
    assert all(found.values())
    assert seen[0] == logging.ERROR
    assert manager.disable == logging.NOTSET
