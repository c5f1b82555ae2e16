"""CondConv: kernels mixed for each example, in every form against a plain loop."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from halves import GLUON, PYTORCH, both, compared, exported, made, mirrored, noise
from reference import check, close, multiply_adds, ways

from d2lutils.compat import mx
from d2lutils.gpu_report.equations import Weights, bank, cond_conv, each, mixture

functional = torch.nn.functional
Settings = dict[str, Any]
GRAPH = ("auto", "unfolded", "mixture")  # the forms that a hybridized net can have
FORMS = {
    "pytorch": ("auto", "looped", "folded", "unfolded", "mixture", "vmapped"),
    "gluon": ("auto", "looped", "folded", "unfolded", "mixture"),
    "hybridized": GRAPH,
}
WAYS = [(way, form) for way, forms in FORMS.items() for form in forms]
MODES = ("zeros", "reflect", "replicate", "circular")
EXPERTS = 3


# -- every form ------------------------------------------------------------------------

WINDOWS: list[Settings] = [
    {"size": 1},
    {"size": 1, "stride": 2, "groups": 2},
    {"size": 2, "stride": 2, "dilation": 2},
    {"size": 3, "dilation": 2, "padding": 2, "groups": 2},
    {"size": 3, "stride": 3, "padding": 4, "space": (8, 5)},
    {"padding": 1, "space": (3, 11), "stride": 2, "dilation": 2},
    {"padding": 1, "outputs": 8, "groups": 4},
    {"padding": 1, "inputs": 5, "outputs": 5, "groups": 5},
    {"padding": 1, "inputs": 1, "outputs": 1, "space": (2, 9)},
    {"padding": 1, "groups": 2, "bias": True},
    {"padding": 1, "groups": 2, "bias": True, "mix_bias": True},
    # Another setting for each axis.
    {"size": 1, "stride": (1, 2)},
    {"size": (2, 3), "stride": (1, 2), "padding": (1, 0), "padding_mode": "reflect"},
    {"size": (4, 2), "padding": "same", "dilation": (1, 3)},
    # The largest paddings that there are.
    {"padding": 3, "padding_mode": "reflect", "space": (5, 4)},
    {"padding": 4, "padding_mode": "circular", "space": (5, 4)},
    {"padding": 9, "padding_mode": "replicate", "space": (5, 4)},
    *(
        {"padding": 2, "padding_mode": mode, "stride": 2, "dilation": 2, "groups": 2}
        for mode in MODES[1:]
    ),
]


def build(sizes: tuple[int, ...], half: Any, **options: Any) -> Any:
    return half.condconv.Experts2d(*sizes, **options)


def reference(sizes: Any, o: Settings, w: Weights, x: Any, routing: Any) -> Any:
    return mixture(x, routing, *bank(w, *sizes, EXPERTS, o), o)


@pytest.mark.parametrize(("way", "form"), WAYS)
def test_forms(way: str, form: str) -> None:
    """Distinct examples, maps that are not square, batches of 1, 2 and 5.

    A batch of one hides how a batch is folded into groups, equal examples hide a
    kernel handed to the wrong one.
    """
    for window in WINDOWS:
        o = {"bias": False, "space": (7, 6)} | window
        size, space = o.pop("size", 3), o.pop("space")
        inputs, outputs = o.pop("inputs", 4), o.pop("outputs", 6)
        sizes = (inputs, outputs, size)
        check(
            way,
            partial(build, sizes, num_experts=EXPERTS, form=form, **o),
            partial(reference, sizes, o),
            *((1, inputs, *space), (1, EXPERTS)),
            batches=(1, 2, 5),
        )


@both
def test_functions(half: Any) -> None:
    """The forms by themselves, called without a layer."""
    module, options = half.condconv, {"stride": 2, "dilation": 2, "groups": 2}
    assert ("auto", *module.FORMS) == FORMS[half.name]
    assert [*module.FORMS.values()] == [getattr(module, name) for name in module.FORMS]
    for batch in (1, 2, 5):
        arrays = [
            noise(batch, 4, 7, 6, seed=2, dtype="float64"),
            noise(batch, EXPERTS, seed=3, dtype="float64"),
            noise(EXPERTS, 6, 2, 3, 3, seed=4, dtype="float64"),
        ]
        x, a, bank = map(torch.tensor, arrays)
        kernels = torch.einsum("nk,koihw->noihw", a, bank)
        wanted = each(functional.pad(x, (1,) * 4), kernels, **options).numpy()
        x, a, bank = map(half.tensor, arrays)
        options["padding"] = 1
        found = [f(x, a, bank, **options) for f in module.FORMS.values()]
        mixed = module.mixed(a, bank)
        close(half.numpy(mixed), kernels.numpy(), 1e-12)
        found.append(module.convolve_each(x, mixed, **options))
        found.append(module.unfold_each(x, mixed, **options))
        for y in found:
            close(half.numpy(y), wanted, 1e-12)
        del options["padding"]


# -- the layer with its routing --------------------------------------------------------

LAYERS: list[Settings] = [
    {},
    {"stride": 2, "padding": 1, "groups": 2, "bias": False},
    {"padding": 2, "dilation": 2, "mix_bias": True},
    {"padding": 2, "padding_mode": "reflect"},
]


@ways
@pytest.mark.parametrize("o", LAYERS, ids=str)
def test_equation(way: str, o: Settings) -> None:
    check(
        way,
        lambda h: h.condconv.CondConv2d(4, 6, 3, dropout=0.0, num_experts=5, **o),
        lambda w, x: cond_conv(w, x, 6, 3, 5, o),
        (3, 4, 7, 6),
        batches=(3, 1, 5),
    )


@pytest.mark.parametrize("form", ["auto", "mixture", "unfolded"])
def test_halves_over_steps(form: str) -> None:
    o = {"padding": 1, "mix_bias": True, "dropout": 0.0, "form": form}
    compared(lambda h: h.condconv.CondConv2d(4, 6, 3, **o), 3, 4, 7, 6)


@both
@pytest.mark.parametrize("hybrid", [False, True])
def test_routing_given_and_dropout(half: Any, hybrid: bool) -> None:
    """Given routing is used as it is; dropout is for what the layer finds itself."""
    net = made(half, lambda h: h.condconv.CondConv2d(6, 6, 3, dropout=0.5))
    if half is GLUON:
        net.hybridize(hybrid)
    x, a = noise(8, 6, 5, 5), noise(8, 3)
    found = [half.output(net, x, training=i > 1) for i in range(4)]
    assert np.array_equal(found[0], found[1])
    assert len({one.tobytes() for one in found}) == 3
    given = half.output(net.experts, x, a)
    for training in (False, True):
        assert np.array_equal(half.output(net, x, a, training=training), given)


@both
def test_dropout_is_of_the_means_not_of_the_routing(half: Any) -> None:
    """Where all means are dropped, sigmoid(bias) routes every example."""
    net = made(half, lambda h: h.condconv.CondConv2d(6, 6, 3, dropout=0.9999))
    (bias,) = (w for w in half.weights(net) if w.shape == (EXPERTS,))
    x, routing = noise(8, 6, 5, 5), np.tile(1 / (1 + np.exp(-bias)), (8, 1))
    expected = half.output(net.experts, x, routing.astype("float32"))
    assert np.allclose(half.output(net, x, training=True), expected, atol=1e-5)


@both
@pytest.mark.parametrize("groups", [1, 4])
def test_each_expert_starts_as_a_plain_convolution(half: Any, groups: int) -> None:
    half.seed(0)
    options = {"groups": groups, "num_experts": 4, "mix_bias": True}
    net = half.condconv.CondConv2d(32, 64, 3, **options)
    if half is GLUON:
        net.initialize(mx.init.Xavier())  # which is for the other layers
    bound = 1 / np.sqrt(32 // groups * 9)
    weights, biases = half.weights(net.experts)
    for expert in weights:
        assert abs(expert.std() / (bound / np.sqrt(3)) - 1) < 0.02
        assert 0.99 * bound < np.abs(expert).max() <= bound * (1 + 1e-6)
    assert len({expert.tobytes() for expert in weights}) == 4
    assert 0.9 * bound < np.abs(biases).max() <= bound * (1 + 1e-6)


@both
@pytest.mark.parametrize("groups", [1, 2])
def test_multiply_adds(half: Any, groups: int) -> None:
    """Routing, mixing and convolving: 2 examples, and 4x3 positions by the stride."""
    work = multiply_adds(
        half,
        lambda h: h.condconv.CondConv2d(4, 6, 3, 2, groups=groups, num_experts=5),
        *(2, 4, 9, 7),
    )
    kernel = 6 * 4 // groups * 9
    assert work == 2 * (4 * 5 + 5 * kernel + 4 * 3 * kernel)


# -- PyTorch: the form of a graph, dtypes ----------------------------------------------


def layer(form: str = "auto", **options: Any) -> tuple[Any, torch.Tensor]:
    net = made(
        PYTORCH, lambda h: h.condconv.CondConv2d(4, 6, 3, 2, form=form, **options)
    )
    return net.eval(), torch.tensor(noise(5, 4, 7, 6))  # unlike any size that is known


def test_the_form_of_a_graph() -> None:
    """Groups where the batch size is a number; none where it is a symbol."""
    net, x = layer()
    found = []

    def grouped(graph: Any) -> bool:
        return any("conv2d" in str(node.target) for node in graph.nodes)

    def backend(module: Any, _: Any) -> Any:
        found.append(grouped(module.graph))
        return module.forward

    for dynamic in (False, True):
        torch.compiler.reset()
        torch.compile(net, backend=backend, dynamic=dynamic)(x)
    for sizes in (None, ({0: torch.export.Dim("batch")},)):
        graph = torch.export.export(net, (x,), dynamic_shapes=sizes).graph
        found.append(grouped(graph))
    assert found == [True, False, True, False]


@pytest.mark.parametrize("form", FORMS["pytorch"])
def test_autocast(form: str) -> None:
    """With routing found or given; close, and gradients in the parameters' dtype."""
    for options in ({}, {"bias": False}, {"mix_bias": True}):
        net, x = layer(form, **options)
        given = torch.tensor(noise(5, 3))
        for arguments in ((x,), (x, given), (x, given.bfloat16())):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                found = net(*arguments)
                found.float().sum().backward()
            assert found.dtype == torch.bfloat16
            wanted = net(*(a.float() for a in arguments))
            torch.testing.assert_close(found.float(), wanted, rtol=0.1, atol=0.1)
        assert all(p.grad.dtype == torch.float32 for p in net.experts.parameters())


# -- Gluon: graphs ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", GRAPH)
def test_exported_for_any_batch_and_map(form: str, mode: str, tmp_path: Path) -> None:
    options = {"form": form, "padding_mode": mode, "mix_bias": True}
    net, other = mirrored(lambda h: h.condconv.CondConv2d(4, 6, 3, 2, 1, **options))
    net.hybridize()
    GLUON.output(net, noise(3, 4, 7, 6))
    again = exported(net, tmp_path)
    for shape in ((1, 4, 7, 6), (5, 4, 7, 6), (2, 4, 5, 9)):
        x = noise(*shape)
        wanted = PYTORCH.output(other, x)
        close(GLUON.output(again, x), wanted, 1e-5)
        close(GLUON.output(net, x), wanted, 1e-5)


@pytest.mark.parametrize("form", ["looped", "folded"])
def test_a_graph_without_a_batch_size_refuses(form: str) -> None:
    """In words, by itself and inside somebody else's net."""
    for wrap in (lambda net: net, GLUON.sequence):
        net = GLUON.ready(wrap(GLUON.condconv.CondConv2d(4, 6, 3, form=form)))
        net.hybridize()
        with pytest.raises(ValueError, match="CondConv2d: form=") as caught:
            net(GLUON.zeros(2, 4, 5, 5))
        assert str(caught.value) == (
            f"CondConv2d: form={form!r} needs to know the batch size, which a "
            "hybridized net does not: use 'auto', 'unfolded' or 'mixture', or do not "
            "hybridize"
        )
        net.hybridize(False)
        assert net(GLUON.zeros(2, 4, 5, 5)).shape == (2, 6, 3, 3)


@both
def test_unknown_form(half: Any) -> None:
    """Each half lists those that it has."""
    names = ", ".join(map(repr, FORMS[half.name]))
    text = f"CondConv2d: form must be one of {names}, got 'fast'"
    with pytest.raises(ValueError, match=f"^{text}$"):
        half.condconv.CondConv2d(4, 6, 3, form="fast")
