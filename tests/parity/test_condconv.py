"""Kernels that depend on the input: every form against a loop of our own, parity."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pairs import failing, gnn, halves, nn, noise, sequence, train
from test_bad_input import refused_alike

from d2lutils import parity
from d2lutils.compat import mx
from d2lutils.porting.judges import randomize

GLUON, PYTORCH = halves("condconv")
GRAPH = ("auto", "unfolded", "mixture")  # what a hybridized net can do
WAYS = [
    *(("pytorch", form) for form in ("auto", *PYTORCH.FORMS)),
    *(("gluon", form) for form in ("auto", *GLUON.FORMS)),
    *(("hybridized", form) for form in GRAPH),
]
IDS = [f"{half}-{form}" for half, form in WAYS]
MODES = ("zeros", "reflect", "replicate", "circular")
BATCHES = (1, 2, 5)
EXPERTS = 3


def mirrored(module: str, name: str, *arguments: Any, **options: Any) -> Any:
    """The pair of blocks that one call makes in both halves, with lively weights."""
    one, two = (getattr(half, name) for half in halves(module))
    gluon, pytorch = one(*arguments, **options), two(*arguments, **options)
    randomize(pytorch)
    parity.copy_parameters(pytorch, gluon)
    return gluon, pytorch


def array(values: np.ndarray) -> Any:
    """An NDArray of the same dtype."""
    return mx.nd.array(values, dtype=values.dtype)


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, as a part of the largest number expected."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


class Task:
    """One convolution with kernels mixed by example, and its result by a plain loop."""

    def __init__(
        self,
        batch: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        bias: bool = False,
        mix_bias: bool = False,
        sizes: tuple[int, int] = (4, 6),
        space: tuple[int, int] = (7, 6),
    ) -> None:
        self.window = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "padding_mode": padding_mode,
        }
        self.sizes, self.kernel_size = sizes, kernel_size
        self.bias, self.mix_bias = bias, mix_bias
        inputs, outputs = sizes
        filters = (outputs, inputs // groups, kernel_size, kernel_size)
        self.arrays = {
            "x": noise(batch, inputs, *space, seed=2, dtype="float64"),
            "routing": noise(batch, EXPERTS, seed=3, dtype="float64"),
            "weight": noise(EXPERTS, *filters, seed=4, dtype="float64"),
        }
        if bias:
            shape = (EXPERTS, outputs) if mix_bias else (outputs,)
            self.arrays["bias"] = noise(*shape, seed=5, dtype="float64")
        self.results = self.loop()
        self.head = noise(*self.results["y"].shape, seed=6, dtype="float64")
        self.results = self.loop(self.head)

    def loop(self, head: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """PyTorch's own layer for each example, its weight the mixed kernel."""
        given = {
            name: torch.tensor(values, requires_grad=True)
            for name, values in self.arrays.items()
        }
        kernels = torch.einsum("nk,koihw->noihw", given["routing"], given["weight"])
        plain = nn.Conv2d(
            *self.sizes,
            self.kernel_size,
            **self.window,
            bias=False,
            dtype=torch.float64,
        )
        y = torch.cat(
            [
                torch.func.functional_call(plain, {"weight": kernel}, one[None])
                for one, kernel in zip(given["x"], kernels, strict=True)
            ]
        )
        if self.mix_bias:
            shares = given["routing"][:, :, None] * given["bias"][None]
            y = y + shares.sum(1)[:, :, None, None]
        elif self.bias:
            y = y + given["bias"][None, :, None, None]
        found = {"y": y.detach().numpy()}
        if head is not None:
            y.backward(torch.tensor(head))
            found |= {name: t.grad.numpy() for name, t in given.items()}
        return found

    def layer(self, way: tuple[str, str], dtype: str = "float64") -> Any:
        """The layer without routing, with these weights."""
        half, form = way
        options = self.window | {
            "bias": self.bias,
            "mix_bias": self.mix_bias,
            "num_experts": EXPERTS,
            "form": form,
        }
        module = PYTORCH if half == "pytorch" else GLUON
        net = module.Experts2d(*self.sizes, self.kernel_size, **options)
        names = [name for name in ("weight", "bias") if name in self.arrays]
        if half == "pytorch":
            net.to(getattr(torch, dtype))
            with torch.no_grad():
                for name in names:
                    getattr(net, name).copy_(torch.tensor(self.arrays[name]))
            return net
        net.initialize()
        net.cast(dtype)
        for name in names:
            getattr(net, name).set_data(array(self.arrays[name].astype(dtype)))
        net.hybridize(half == "hybridized")
        return net

    def run(
        self, net: Any, dtype: str = "float64", gradients: bool = False
    ) -> dict[str, np.ndarray]:
        """The output of a layer and, if asked for, the gradients of everything."""
        x, routing = (self.arrays[n].astype(dtype) for n in ("x", "routing"))
        names = [name for name in ("weight", "bias") if name in self.arrays]
        if isinstance(net, nn.Module):
            given = [torch.tensor(v, requires_grad=gradients) for v in (x, routing)]
            y = net(*given)
            found = {"y": y.detach().numpy()}
            if gradients:
                net.zero_grad()
                y.backward(torch.tensor(self.head.astype(dtype)))
                found |= dict(
                    zip(("x", "routing"), (t.grad.numpy() for t in given), strict=True)
                )
                found |= {name: getattr(net, name).grad.numpy() for name in names}
            return found
        given = [array(x), array(routing)]
        if not gradients:
            return {"y": net(*given).asnumpy()}
        for one in given:
            one.attach_grad()
        with mx.autograd.record():
            y = net(*given)
        y.backward(array(self.head.astype(dtype)))
        mx.nd.waitall()
        found = {"y": y.asnumpy(), "x": given[0].grad.asnumpy()}
        found["routing"] = given[1].grad.asnumpy()
        found |= {name: getattr(net, name).grad().asnumpy() for name in names}
        return found


# -- every form against the loop -------------------------------------------------------


def windows(mode: str) -> list[dict[str, Any]]:
    """Kernel sizes, strides, dilations and groups, with the paddings of a mode."""
    found = []
    for k, stride, dilation, groups, padding in itertools.product(
        (1, 2, 3), (1, 2), (1, 2), (1, 2), (0, 2) if mode == "zeros" else (2,)
    ):
        found.append(
            {
                "kernel_size": k,
                "stride": stride,
                "dilation": dilation,
                "groups": groups,
                "padding": padding,
                "padding_mode": mode,
            }
        )
    odd = {"zeros": 4, "reflect": 4, "replicate": 7, "circular": 5}[mode]
    found += [
        {"padding": odd, "padding_mode": mode, "space": (8, 5), "stride": 3},
        {"padding": 1, "padding_mode": mode, "space": (3, 11), "dilation": 2},
        {"padding": 1, "padding_mode": mode, "sizes": (4, 8), "groups": 4},
        {"padding": 1, "padding_mode": mode, "sizes": (5, 5), "groups": 5},
        {"padding": 1, "padding_mode": mode, "sizes": (1, 1), "space": (2, 9)},
    ]
    return found


@pytest.fixture(scope="module")
def tasks() -> dict[str, list[list[Task]]]:
    """For each mode and window, the tasks of all batch sizes."""
    return {
        mode: [[Task(batch, **w) for batch in BATCHES] for w in windows(mode)]
        for mode in MODES
    }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS, ids=IDS)
def test_forms_agree(way: tuple[str, str], mode: str, tasks: Any) -> None:
    """Distinct examples, maps that are not square; 1e-12 and, in float32, 1e-5.

    One layer meets all batch sizes, as after hybridize.
    """
    for several in tasks[mode]:
        for dtype, bound in (("float64", 1e-12), ("float32", 1e-5)):
            net = several[0].layer(way, dtype)
            for task in several:
                found = task.run(net, dtype)["y"]
                assert found.dtype == dtype
                assert apart(found, task.results["y"]) < bound, task.window


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS, ids=IDS)
def test_gradients_agree(way: tuple[str, str], mode: str, tasks: Any) -> None:
    """Of the input, the routing and the experts; in Gluon several times over."""
    for several in tasks[mode][::3] + tasks[mode][-5:]:
        net = several[0].layer(way)
        for _ in range(1 if way[0] == "pytorch" else 3):
            for task in several:
                found = task.run(net, gradients=True)
                assert set(found) == {"y", "x", "routing", "weight"}
                for name, values in found.items():
                    assert apart(values, task.results[name]) < 1e-10, name


@pytest.mark.parametrize("mix_bias", [False, True])
@pytest.mark.parametrize("way", WAYS, ids=IDS)
def test_bias(way: tuple[str, str], mix_bias: bool) -> None:
    """One for all, or one for each expert; gradients included."""
    several = [
        Task(n, padding=1, groups=2, bias=True, mix_bias=mix_bias) for n in BATCHES
    ]
    net = several[0].layer(way)
    for task in several:
        found = task.run(net, gradients=True)
        for name, values in found.items():
            assert apart(values, task.results[name]) < 1e-10, name


@pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])
def test_functions(half: int) -> None:
    """The forms by themselves, called without a layer."""
    module, make = (GLUON, PYTORCH)[half], (array, torch.tensor)[half]
    options = {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}
    for batch in BATCHES:
        task = Task(batch, **options)
        x, routing, experts = (make(a) for a in task.arrays.values())
        found = {
            name: f(x, routing, experts, **options) for name, f in module.FORMS.items()
        }
        kernels = module.mixed(routing, experts)
        assert tuple(kernels.shape) == (batch, *task.arrays["weight"].shape[1:])
        found["each"] = module.convolve_each(x, kernels, **options)
        found["columns"] = module.unfold_each(x, kernels, **options)
        for name, y in found.items():
            values = y.asnumpy() if half == 0 else y.numpy()
            assert apart(values, task.results["y"]) < 1e-12, name


def test_which_forms_there_are() -> None:
    assert [*PYTORCH.FORMS] == ["looped", "folded", "unfolded", "mixture", "vmapped"]
    assert [*GLUON.FORMS] == ["looped", "folded", "unfolded", "mixture"]
    assert list(PYTORCH.FORMS.values()) == [getattr(PYTORCH, n) for n in PYTORCH.FORMS]
    assert list(GLUON.FORMS.values()) == [getattr(GLUON, n) for n in GLUON.FORMS]


def channels_first(task: Task) -> np.ndarray:
    """The mistake: channel-major into the groups, (N, I, …) → (1, I * N, …)."""
    x, routing, experts = (torch.tensor(a) for a in task.arrays.values())
    kernels = torch.einsum("nk,koihw->noihw", routing, experts)
    n, _, *space = x.shape
    y = torch.nn.functional.conv2d(
        x.transpose(0, 1).reshape(1, -1, *space), kernels.flatten(0, 1), groups=n
    )
    return y.view(n, -1, *y.shape[2:]).numpy()


def test_distinct_examples_show_a_wrong_fold() -> None:
    """Why a single example cannot, and why the others here are distinct."""
    assert apart(channels_first(one := Task(1)), one.results["y"]) < 1e-12
    two = Task(2)
    assert apart(channels_first(two), two.results["y"]) > 0.1
    # Equal examples do not hide this, since their channels get mixed ...
    for name in ("x", "routing"):
        two.arrays[name][1] = two.arrays[name][0]
    assert apart(channels_first(two), two.loop()["y"]) > 0.1
    # ... unless there is one channel: then there is no other order.
    thin = Task(2, sizes=(1, 3))
    assert apart(channels_first(thin), thin.results["y"]) < 1e-12


def test_distinct_examples_show_a_wrong_kernel() -> None:
    """Each example convolved with another's: equal ones hide that entirely."""

    def wrong(task: Task) -> np.ndarray:
        x, routing, experts = (torch.tensor(a) for a in task.arrays.values())
        return PYTORCH.folded(x, routing.flip(0), experts).numpy()

    assert apart(wrong(one := Task(1)), one.results["y"]) < 1e-12
    two = Task(2)
    assert apart(wrong(two), two.results["y"]) > 0.1
    for name in ("x", "routing"):
        two.arrays[name][1] = two.arrays[name][0]
    assert apart(wrong(two), two.loop()["y"]) < 1e-12


@pytest.mark.parametrize("way", WAYS, ids=IDS)
def test_one_hot_routing_selects_its_expert(way: tuple[str, str]) -> None:
    """Exactly: the same bits as with this expert alone."""
    task = Task(EXPERTS, padding=1)
    task.arrays["routing"] = np.eye(EXPERTS)
    found = task.run(task.layer(way))["y"]
    other = Task(EXPERTS, padding=1)
    other.arrays["routing"] = np.eye(EXPERTS)
    for i in range(EXPERTS):
        # Other experts may be anything finite.
        keep = np.arange(EXPERTS)[:, None, None, None, None] == i
        weight = np.where(keep, task.arrays["weight"], 7.5)
        other.arrays["weight"] = weight
        alone = other.run(other.layer(way))["y"]
        assert np.array_equal(found[i], alone[i])
        x, kernel = torch.tensor(task.arrays["x"]), torch.tensor(weight[i])
        plain = torch.nn.functional.conv2d(x[i : i + 1], kernel, padding=1)
        assert apart(found[i : i + 1], plain.numpy()) < 1e-13


@pytest.mark.parametrize("way", WAYS, ids=IDS)
def test_linear_in_the_routing(way: tuple[str, str]) -> None:
    """The answers to a + 3b are those to a and three times those to b."""
    task = Task(2, padding=1)
    net, a = task.layer(way), task.arrays["routing"].copy()
    b = noise(*a.shape, seed=9, dtype="float64")
    found = []
    for routing in (a, b, a + 3 * b):
        task.arrays["routing"] = routing
        found.append(task.run(net)["y"])
    assert apart(found[2], found[0] + 3 * found[1]) < 1e-12


# -- the layer with its routing --------------------------------------------------------


def both(net: Any, *arrays: np.ndarray) -> np.ndarray:
    """The output of a net of either half, in evaluation."""
    if isinstance(net, nn.Module):
        with torch.no_grad():
            return net.eval()(*map(torch.tensor, arrays)).numpy()
    return net(*map(array, arrays)).asnumpy()


def doubled(nets: Any) -> Any:
    gluon, pytorch = nets
    gluon.cast("float64")
    pytorch.double()
    return gluon, pytorch


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("bias", ["none", "shared", "mixed"])
def test_routing_found_and_routing_given(bias: str, hybrid: bool) -> None:
    """In turn, for several batch sizes: sigmoid(linear(mean))."""
    gluon, pytorch = doubled(
        mirrored(
            "condconv",
            "CondConv2d",
            *(4, 6, 3, 2, 1),
            bias=bias != "none",
            mix_bias=bias == "mixed",
        )
    )
    gluon.hybridize(hybrid)
    linear = pytorch.routing[3]
    weight, shift = (t.detach().numpy() for t in (linear.weight, linear.bias))
    for n in (3, 1, 5, 3):
        x = noise(n, 4, 7, 6, seed=n, dtype="float64")
        means = x.mean(axis=(2, 3)) @ weight.T + shift
        routing = 1 / (1 + np.exp(-means))
        other = noise(n, 3, seed=20, dtype="float64")
        for net in (gluon, pytorch):
            found = both(net, x)
            assert apart(found, both(net, x, routing)) < 1e-13
            assert apart(both(net, x, other), both(net.experts, x, other)) == 0
            assert apart(both(net, x, other), found) > 0.01
        assert apart(both(gluon, x), both(pytorch, x)) < 1e-12
        assert apart(both(gluon, x, other), both(pytorch, x, other)) < 1e-12


@pytest.mark.parametrize("hybrid", [False, True])
def test_dropout_in_the_routing_in_training_alone(hybrid: bool) -> None:
    x = noise(8, 6, 5, 5)
    gluon, pytorch = mirrored("condconv", "CondConv2d", 6, 6, 3, dropout=0.5)
    gluon.hybridize(hybrid)
    fixed = [both(net, x) for net in (gluon, pytorch)]
    assert np.array_equal(fixed[0], both(gluon, x))
    assert np.array_equal(fixed[1], both(pytorch, x))
    assert apart(*fixed) < 1e-5
    with mx.autograd.train_mode():
        trained = [gluon(array(x)).asnumpy() for _ in range(2)]
        given = gluon(array(x), array(noise(8, 3))).asnumpy()
    pytorch.train()
    with torch.no_grad():
        trained += [pytorch(torch.tensor(x)).numpy() for _ in range(2)]
        others = pytorch(torch.tensor(x), torch.tensor(noise(8, 3))).numpy()
    assert len({one.tobytes() for one in (*trained, *fixed)}) == 6
    # Routing that is given is left alone.
    assert apart(given, both(gluon, x, noise(8, 3))) == 0
    assert apart(others, both(pytorch, x, noise(8, 3))) == 0


CONDCONV: list[dict[str, Any]] = [
    {},
    {"stride": 2, "padding": 1, "groups": 2},
    {"padding": 2, "dilation": 2, "bias": False, "num_experts": 1},
    {"padding": 1, "mix_bias": True, "num_experts": 4, "form": "mixture"},
    {"padding": 1, "form": "unfolded", "stride": 3},
    *({"padding": 2, "padding_mode": mode} for mode in MODES[1:]),
]


@pytest.mark.parametrize("options", CONDCONV, ids=str)
def test_condconv_is_the_same(options: Any) -> None:
    nets = mirrored("condconv", "CondConv2d", 4, 6, 3, dropout=0.0, **options)
    report = parity.compare(*nets, noise(3, 4, 7, 6))
    assert report.ok, failing(report)


@pytest.mark.parametrize(
    ("module", "name", "arguments", "options"),
    [
        ("squeeze_excite", "SqueezeExcite", (4, 2), {}),
        ("squeeze_excite", "SqueezeExcite", (4, 4), {}),
        ("weightnet", "WeightNet2d", (4, 6, 3, 2, 1), {"reduction": 2}),
        ("weightnet", "WeightNet2d", (4, 6, 3), {"M": 1, "G": 1, "reduction": 4}),
        ("weightnet", "WeightNet2d", (4, 6, 3), {"M": 6, "G": 3, "reduction": 1}),
        ("weightnet", "WeightNet2d", (4, 6, 1, 1), {"M": 4, "G": 4, "reduction": 2}),
        (
            "weightnet",
            "WeightNet2d",
            (4, 4, 3, 1, 1),
            {"M": 3, "G": 3, "reduction": 2, "depthwise": True},
        ),
    ],
    ids=str,
)
def test_relatives_are_the_same(
    module: str, name: str, arguments: Any, options: Any
) -> None:
    nets = mirrored(module, name, *arguments, **options)
    report = parity.compare(*nets, noise(3, 4, 7, 6))
    assert report.ok, failing(report)


RESNETS: list[dict[str, Any]] = [
    {},
    {"shortcut": "zeros"},
    {"reduction": 8},
    {"num_experts": 2, "dropout": 0.0},
    {"num_experts": 3, "dropout": 0.0, "reduction": 16, "shortcut": "zeros"},
]


@pytest.mark.parametrize("options", RESNETS, ids=str)
def test_resnet_is_the_same(options: Any) -> None:
    """The rate is small: a wrong sign in a last bit decides a ReLU near zero."""
    nets = mirrored("resnet", "ResNet", 8, 5, 2, **options)
    report = parity.compare(*nets, noise(6, 2, 9, 8), steps=2, learning_rate=2**-9)
    assert report.ok, failing(report)


# -- counts ----------------------------------------------------------------------------


def count(net: Any, statistics: bool = False) -> int:
    """Trained numbers; with `statistics`, those of batch norms alone."""
    if isinstance(net, nn.Module):
        tensors = net.buffers() if statistics else net.parameters()
        return sum(t.numel() for t in tensors if t.is_floating_point())
    return sum(
        prod(p.shape)
        for p in net.collect_params().values()
        if (p.grad_req == "null") == statistics
    )


@pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 272_474),
        ({"shortcut": "zeros"}, 269_722),
        ({"reduction": 16}, 274_847),
        ({"num_experts": 4}, 1_078_402 - 1_568),
        ({"num_experts": 8}, 2_150_026 - 1_568),
    ],
)
def test_counts_of_resnet_20(options: Any, expected: int, half: int) -> None:
    """Published counts of CondConv include the statistics of batch norms."""
    net = halves("resnet")[half].ResNet(20, **options)
    assert count(net) == expected
    if options.get("shortcut") != "zeros":
        assert count(net, statistics=True) == 1_568


@pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])
@pytest.mark.parametrize("bias", [0, 1, 2], ids=["none", "shared", "mixed"])
def test_counts_of_a_layer(bias: int, half: int) -> None:
    module = halves("condconv")[half]
    for count_, inputs, outputs, k, groups in ((1, 4, 6, 3, 2), (5, 6, 6, 1, 6)):
        net = module.CondConv2d(
            *(inputs, outputs, k),
            groups=groups,
            bias=bias > 0,
            mix_bias=bias == 2,
            num_experts=count_,
        )
        kernels = count_ * outputs * inputs // groups * k**2
        biases = (0, outputs, count_ * outputs)[bias]
        assert count(net) == kernels + biases + inputs * count_ + count_


# -- the family ------------------------------------------------------------------------


def test_condconv_is_a_sum_of_answers() -> None:
    """Each expert a plain layer, its answers weighed: in float64, in both halves."""
    x, routing = noise(4, 4, 7, 6, dtype="float64"), noise(4, 3, dtype="float64")
    for net in doubled(mirrored("condconv", "Experts2d", 4, 6, 3, bias=False)):
        total = 0
        weights = both_weights(net.weight)
        for k in range(3):
            if isinstance(net, nn.Module):
                plain = nn.Conv2d(4, 6, 3, bias=False, dtype=torch.float64)
                plain.weight.data = torch.tensor(weights[k])
            else:
                plain = gnn.Conv2D(6, 3, use_bias=False, in_channels=4)
                plain.initialize()
                plain.cast("float64")
                plain.weight.set_data(array(weights[k]))
            total = total + routing[:, k, None, None, None] * both(plain, x)
        assert apart(both(net, x, routing), total) < 1e-13


def both_weights(parameter: Any) -> np.ndarray:
    if isinstance(parameter, torch.Tensor):
        return parameter.detach().numpy()
    return parameter.data().asnumpy()


def test_weightnet_with_one_number_is_a_gate_behind() -> None:
    """M = G = 1 and the same gate: squeeze-and-excitation on output channels."""
    x = noise(4, 4, 7, 6, dtype="float64")
    gates = doubled(mirrored("squeeze_excite", "SqueezeExcite", 6, 2))
    options = {"M": 1, "G": 1, "reduction": 2}
    made = doubled(mirrored("weightnet", "WeightNet2d", 4, 6, 3, **options))
    for gate, net in zip(gates, made, strict=True):
        kernel = both_weights(net.generated.linear.weight).reshape(6, 4, 3, 3)
        y = nn.functional.conv2d(torch.tensor(x), torch.tensor(kernel)).numpy()
        alpha = both(gate.gate, y).reshape(4, 6)
        assert alpha.std() > 0.01
        assert apart(both(net, x, alpha), both(gate, y)) < 1e-13


def test_two_numbers_scale_two_parts_of_a_kernel() -> None:
    """M = G = 2: each number of alpha scales half of a filter; M for a channel."""
    x, alpha = noise(3, 4, 5, 6, dtype="float64"), noise(3, 12, dtype="float64")
    options = {"M": 2, "G": 2, "reduction": 2}
    for net in doubled(mirrored("weightnet", "WeightNet2d", 4, 6, 3, **options)):
        parts = both_weights(net.generated.linear.weight).reshape(12, 18)
        kernels = (alpha[:, :, None] * parts[None]).reshape(3, 6, 4, 3, 3)
        expected = np.concatenate(
            [
                nn.functional.conv2d(torch.tensor(one), torch.tensor(kernel)).numpy()
                for one, kernel in zip(x[:, None], kernels, strict=True)
            ]
        )
        assert apart(both(net, x, alpha), expected) < 1e-13


@pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])
@pytest.mark.parametrize("groups", [1, 4])
def test_each_expert_starts_as_a_plain_convolution(groups: int, half: int) -> None:
    torch.manual_seed(0)
    mx.random.seed(0)
    sizes = (32, 64, 3)
    options = {"groups": groups, "num_experts": 4, "mix_bias": True}
    net = halves("condconv")[half].CondConv2d(*sizes, **options)
    if half == 0:
        net.initialize(mx.init.Xavier())  # which is for the other layers
    bound = 1 / np.sqrt(32 // groups * 9)
    plain = nn.Conv2d(*sizes, groups=groups).weight.detach().numpy().std()
    weights = both_weights(net.experts.weight)
    for expert in weights:
        assert abs(expert.std() / (bound / np.sqrt(3)) - 1) < 0.02
        assert abs(expert.std() / plain - 1) < 0.03
        assert 0.99 * bound < np.abs(expert).max() <= bound * (1 + 1e-6)
    assert len({expert.tobytes() for expert in weights}) == 4
    biases = both_weights(net.experts.bias)
    assert 0.9 * bound < np.abs(biases).max() <= bound * (1 + 1e-6)


@pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])
@pytest.mark.parametrize("depthwise", [False, True])
def test_a_made_kernel_starts_as_a_plain_one(depthwise: bool, half: int) -> None:
    torch.manual_seed(0)
    mx.random.seed(0)
    options = {"M": 6, "G": 3, "depthwise": depthwise}
    net = halves("weightnet")[half].WeightNet2d(64, 64, 3, **options)
    if half == 0:
        net.initialize(mx.init.Xavier())  # which is for the other layers
    bound = 1 / np.sqrt(9 if depthwise else 64 * 9)
    weights = both_weights(net.generated.linear.weight)
    assert abs(weights.std() / (bound / np.sqrt(3)) - 1) < 0.03
    assert 0.99 * bound < np.abs(weights).max() <= bound * (1 + 1e-6)


# -- PyTorch: compiled, exported, in other dtypes and orders ---------------------------


def pytorch_layer(form: str, **options: Any) -> tuple[Any, torch.Tensor]:
    """With lively weights, and an input for it."""
    net = PYTORCH.CondConv2d(4, 6, 3, 2, 1, form=form, **options)
    randomize(net)
    return net.eval(), torch.tensor(noise(4, 4, 7, 6))


@pytest.mark.parametrize("form", ["auto", "mixture", "folded"])
def test_compiled(form: str) -> None:
    """For any batch; "auto" is "unfolded" then."""
    net, _ = pytorch_layer(form)
    weights = list(net.parameters())
    torch.compiler.reset()
    compiled = torch.compile(net, backend="aot_eager", dynamic=True)
    for n in (4, 7):
        x = torch.tensor(noise(n, 4, 7, 6, seed=n))
        grads = []
        for function in (net, compiled):
            y = function(x)
            grads.append((y, *torch.autograd.grad(y.square().sum(), weights)))
        for one, two in zip(*grads, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


def test_the_form_of_a_graph() -> None:
    """Groups where the batch size is a number; none where it is a symbol."""
    net, _ = pytorch_layer("auto")
    x = torch.tensor(noise(5, 4, 7, 6))  # unlike any size that is known
    found = []

    def grouped(graph: Any) -> bool:
        return any("conv2d" in str(node.target) for node in graph.nodes)

    def backend(module: Any, _: Any) -> Any:
        found.append(grouped(module.graph))
        return module.forward

    for dynamic in (False, True):
        torch.compiler.reset()
        torch.compile(net, backend=backend, dynamic=dynamic)(x)
    for shapes in (None, ({0: torch.export.Dim("batch")},)):
        found.append(
            grouped(torch.export.export(net, (x,), dynamic_shapes=shapes).graph)
        )
    assert found == [True, False, True, False]


@pytest.mark.parametrize("form", ["auto", *PYTORCH.FORMS])
def test_autocast(form: str) -> None:
    """With routing found or given; close, and gradients in the parameters' dtype."""
    for options in ({}, {"bias": False}, {"mix_bias": True}):
        net, x = pytorch_layer(form, **options)
        given = torch.tensor(noise(4, 3))
        for arguments in ((x,), (x, given), (x, given.bfloat16())):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                found = net(*arguments)
                found.float().sum().backward()
            assert found.dtype == torch.bfloat16
            expected = net(*(a.float() for a in arguments))
            torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=0.1)
        assert all(p.grad.dtype == torch.float32 for p in net.experts.parameters())


@pytest.mark.parametrize("form", ["auto", "unfolded", "mixture", "folded"])
class TestPyTorch:
    def test_export_with_any_batch(self, form: str) -> None:
        net, x = pytorch_layer(form)
        batch = torch.export.Dim("batch", min=1, max=64)
        shapes = ({0: batch},)
        exported = torch.export.export(net, (x,), dynamic_shapes=shapes).module()
        for n in (2, 5, 1):
            other = torch.tensor(noise(n, 4, 7, 6, seed=n))
            torch.testing.assert_close(exported(other), net(other))

    def test_memory_in_another_order(self, form: str) -> None:
        net, x = pytorch_layer(form)
        last = x.contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(net(last), net(x), rtol=1e-4, atol=1e-5)
        strided = x.repeat_interleave(2, 3)[..., ::2]
        torch.testing.assert_close(net(strided), net(x), rtol=1e-4, atol=1e-5)

    def test_copied(self, form: str) -> None:
        net, x = pytorch_layer(form)
        before = x.clone()
        assert torch.equal(copy.deepcopy(net)(x), net(x))
        assert torch.equal(x, before)


# -- Gluon: hybridized, inside other nets, exported ------------------------------------


def some_net(**options: Any) -> tuple[Any, Any]:
    """Somebody else's net with a layer of each kind, in both halves."""
    parts = [
        mirrored("condconv", "CondConv2d", 4, 6, 3, 2, 1, **options),
        mirrored("squeeze_excite", "SqueezeExcite", 6, 2),
        mirrored("weightnet", "WeightNet2d", 6, 4, 3, 1, 1, reduction=2),
    ]
    gluon = sequence(*(one for one, _ in parts), gnn.Flatten())
    pytorch = nn.Sequential(*(two for _, two in parts), nn.Flatten())
    return gluon, pytorch


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", GRAPH)
@pytest.mark.filterwarnings("ignore:Cannot decide type")  # MXNet's own, on reading
def test_gluon_net_exported(form: str, mode: str, tmp_path: Path) -> None:
    """Traced inside a sequence, read back for other batch and map sizes."""
    net, other = some_net(form=form, padding_mode=mode, mix_bias=True)
    net.hybridize()
    net(array(noise(3, 4, 7, 6)))
    net.export(str(tmp_path / "net"))
    files = [str(tmp_path / f"net-{end}") for end in ("symbol.json", "0000.params")]
    again = mx.gluon.SymbolBlock.imports(files[0], ["data"], files[1])
    for shape in ((1, 4, 7, 6), (5, 4, 7, 6), (2, 4, 5, 9)):
        x = noise(*shape, seed=shape[0])
        expected = both(other, x)
        assert apart(again(array(x)).asnumpy(), expected) < 1e-5
        assert apart(net(array(x)).asnumpy(), expected) < 1e-5


@pytest.mark.parametrize("form", GRAPH)
def test_gluon_trains_hybridized(form: str) -> None:
    """With a short last batch, as when run imperatively; then with dropout."""
    batches = [noise(n, 4, 7, 6, seed=n) for n in (5, 5, 3, 1, 7)]
    results = []
    for flags in (
        {},
        {"static_alloc": True},
        {"static_alloc": True, "static_shape": 1},
    ):
        net, _ = some_net(form=form, dropout=0.0)
        if flags:
            net.hybridize(**{key: bool(value) for key, value in flags.items()})
        results.append(train(net, batches, rate=2**-6))
    for losses, output in results[1:]:
        np.testing.assert_allclose(losses, results[0][0], rtol=1e-4)
        assert apart(output, results[0][1]) < 1e-4
    net, _ = some_net(form=form, dropout=0.5)
    net.hybridize(static_alloc=True)
    losses, output = train(net, [noise(8, 4, 7, 6)] * 8, rate=2**-4)
    assert np.isfinite(output).all()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("options", [{"num_experts": 2}, {"reduction": 8}], ids=str)
def test_gluon_resnet_trains_hybridized(options: Any) -> None:
    net, _ = mirrored("resnet", "ResNet", 8, 5, 2, **options)
    net.hybridize(static_alloc=True)
    losses, output = train(net, [noise(n, 2, 9, 8, seed=n) for n in (6, 6, 3)])
    assert np.isfinite(losses).all()
    assert np.isfinite(output).all()


@pytest.mark.parametrize("form", ["looped", "folded"])
def test_a_graph_without_a_batch_size_refuses(form: str) -> None:
    """In words, by itself and inside somebody else's net."""
    for wrap in (lambda net: net, sequence):
        net = wrap(GLUON.CondConv2d(4, 6, 3, form=form))
        net.initialize()
        assert net(array(noise(2, 4, 5, 5))).shape == (2, 6, 3, 3)
        net.hybridize()
        with pytest.raises(ValueError, match="CondConv2d: form=") as caught:
            net(array(noise(2, 4, 5, 5)))
        assert str(caught.value) == (
            f"CondConv2d: form={form!r} needs to know the batch size, which a "
            "hybridized net does not: use 'auto', 'unfolded' or 'mixture', or do not "
            "hybridize"
        )
        net.hybridize(False)
        assert net(array(noise(2, 4, 5, 5))).shape == (2, 6, 3, 3)


# -- bad input -------------------------------------------------------------------------


def make(module: str, name: str, *arguments: Any, **options: Any) -> Any:
    """A call that makes the block in one half, initialised."""

    def call(half: Any) -> Any:
        block = getattr(getattr(half, module), name)
        return half.ready(block(*arguments, **options))

    return call


def condconv(*arguments: Any, **options: Any) -> Any:
    return make("condconv", "CondConv2d", *arguments, **options)


def weightnet(*arguments: Any, **options: Any) -> Any:
    return make("weightnet", "WeightNet2d", *arguments, **options)


def resnet(*arguments: Any, **options: Any) -> Any:
    return make("resnet", "ResNet", *arguments, **options)


def gate(*arguments: Any, **options: Any) -> Any:
    return make("squeeze_excite", "SqueezeExcite", *arguments, **options)


REFUSED: list[tuple[Any, type[Exception], str]] = [
    (
        condconv(4, 6, 3, groups=4),
        ValueError,
        "CondConv2d: groups must divide in_channels=4 and out_channels=6, got 4",
    ),
    (
        condconv(3, 6, 3, groups=2),
        ValueError,
        "CondConv2d: groups must divide in_channels=3 and out_channels=6, got 2",
    ),
    (
        condconv(4, 6, 3, num_experts=0),
        ValueError,
        "CondConv2d: num_experts must be at least 1, got 0",
    ),
    (
        condconv(4, 6, 3, num_experts=2.0),
        TypeError,
        "CondConv2d: num_experts must be an integer, got 2.0",
    ),
    (
        condconv(0, 6, 3),
        ValueError,
        "CondConv2d: in_channels must be at least 1, got 0",
    ),
    (
        condconv(4, 6, (3, 3, 3)),
        ValueError,
        "CondConv2d: kernel_size must be an integer or have 2 entries, one for each "
        "axis, got (3, 3, 3)",
    ),
    (
        condconv(4, 6, 3, padding=-1),
        ValueError,
        "CondConv2d: padding must be at least 0, got -1",
    ),
    (
        condconv(4, 6, 3, padding_mode="same"),
        ValueError,
        "CondConv2d: padding_mode must be one of 'zeros', 'reflect', 'replicate', "
        "'circular', got 'same'",
    ),
    (
        condconv(4, 6, 3, bias=None),
        TypeError,
        "CondConv2d: bias must be True or False, got None",
    ),
    (
        condconv(4, 6, 3, mix_bias=1),
        TypeError,
        "CondConv2d: mix_bias must be True or False, got 1",
    ),
    (
        condconv(4, 6, 3, dropout=1),
        ValueError,
        "CondConv2d: dropout must be at least 0 and below 1, got 1",
    ),
    (
        condconv(4, 6, 3, dropout="0.2"),
        TypeError,
        "CondConv2d: dropout must be a number, got '0.2'",
    ),
    (
        gate(4, 5),
        ValueError,
        "SqueezeExcite: reduction must be at most channels=4, got 5",
    ),
    (
        gate(4, 0),
        ValueError,
        "SqueezeExcite: reduction must be at least 1, got 0",
    ),
    (
        weightnet(4, 6, 3),
        ValueError,
        "WeightNet2d: reduction must be at most in_channels=4, got 16",
    ),
    (
        weightnet(16, 6, 3, M=3, G=2),
        ValueError,
        "WeightNet2d: G must divide M=3 and the 144 numbers of one output channel's "
        "filter, got 2",
    ),
    (
        weightnet(16, 16, 3, M=2, G=2, depthwise=True),
        ValueError,
        "WeightNet2d: G must divide M=2 and the 9 numbers of one output channel's "
        "filter, got 2",
    ),
    (
        weightnet(16, 8, 3, depthwise=True),
        ValueError,
        "WeightNet2d: depthwise=True needs out_channels equal to in_channels, got "
        "in_channels=16, out_channels=8",
    ),
    (
        weightnet(16, 8, 3, depthwise="yes"),
        TypeError,
        "WeightNet2d: depthwise must be True or False, got 'yes'",
    ),
    (
        resnet(21),
        ValueError,
        "resnet_blocks: depth must be 6n + 2 (three groups of n blocks, a stem and a "
        "classifier), got 21; the nearest is 20",
    ),
    (
        resnet(8, shortcut="identity"),
        ValueError,
        "ResNetUnit: shortcut must be one of 'projection', 'zeros', got 'identity'",
    ),
    (
        resnet(8, reduction=17),
        ValueError,
        "SqueezeExcite: reduction must be at most channels=16, got 17",
    ),
    (
        resnet(8, num_experts=0),
        ValueError,
        "CondConv2d: num_experts must be at least 1, got 0",
    ),
    (
        resnet(8, num_experts=2, dropout=1.0),
        ValueError,
        "ResNetUnit: dropout must be at least 0 and below 1, got 1",
    ),
    (
        resnet(8, dropout=5),
        ValueError,
        "ResNetUnit: dropout must be at least 0 and below 1, got 5",
    ),
]


@pytest.mark.parametrize(
    ("call", "error", "text"), REFUSED, ids=[text[:60] for *_, text in REFUSED]
)
def test_refused(call: Any, error: Any, text: str) -> None:
    refused_alike(call, error, text)


@pytest.mark.parametrize("form", ["fast", None, True])
def test_unknown_form(form: Any) -> None:
    """Each half lists those that it has."""
    for module, last in ((GLUON, ""), (PYTORCH, ", 'vmapped'")):
        with pytest.raises(ValueError, match="form must be one of") as caught:
            module.CondConv2d(4, 6, 3, form=form)
        assert str(caught.value) == (
            "CondConv2d: form must be one of 'auto', 'looped', 'folded', 'unfolded', "
            f"'mixture'{last}, got {form!r}"
        )


def called(build: Any, *shape: int, dtype: str = "float32", **others: Any) -> Any:
    """A call of a block with zeros, and another argument's shape or value."""

    def call(half: Any) -> Any:
        rest = [
            half.zeros(*value[0], dtype=value[1]) if isinstance(value, tuple) else value
            for value in others.values()
        ]
        return build(half)(half.zeros(*shape, dtype=dtype), *rest)

    return call


LAYER = condconv(4, 6, 3)
MADE = weightnet(16, 6, 3)
CALLS: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (
        called(LAYER, 2, 3, 5, 5),
        ValueError,
        "CondConv2d: x must have shape (N, 4, H, W), got (2, 3, 5, 5)",
    ),
    (
        called(LAYER, 2, 4, 5),
        ValueError,
        "CondConv2d: x must have shape (N, 4, H, W), got (2, 4, 5)",
    ),
    (
        called(LAYER, 2, 4, 5, 5, dtype="float64"),
        ValueError,
        "CondConv2d: x has dtype float64, but the parameters have float32; convert "
        "one of them",
    ),
    (
        called(LAYER, 2, 3, 5, 5, routing=((2, 3), "float32")),
        ValueError,
        "CondConv2d: x must have shape (N, 4, H, W), got (2, 3, 5, 5)",
    ),
    *(
        (
            called(LAYER, 2, 4, 5, 5, routing=(shape, "float32")),
            ValueError,
            "CondConv2d: routing_weights must have shape (2, 3), a row for each "
            f"example, got {shape}",
        )
        for shape in ((2, 4), (1, 3), (3,), (2, 3, 1))
    ),
    (
        called(LAYER, 2, 4, 5, 5, routing=((2, 3), "float64")),
        ValueError,
        "CondConv2d: routing_weights has dtype float64, but x has float32; convert "
        "one of them",
    ),
    (
        called(LAYER, 2, 4, 5, 5, routing=[[1.0, 0.0, 0.0]] * 2),
        TypeError,
        "CondConv2d: routing_weights must be a tensor, got list",
    ),
    (
        called(LAYER, 2, 4, 5, 5, routing=np.zeros((2, 3), "float32")),
        TypeError,
        "CondConv2d: routing_weights must be a tensor, got ndarray",
    ),
    (
        lambda half: LAYER(half)(np.zeros((2, 4, 5, 5), "float32")),
        TypeError,
        "CondConv2d: x must be a tensor, got ndarray",
    ),
    (
        called(LAYER, 2, 4, 5, 2),
        ValueError,
        "CondConv2d: a window of 3 (kernel_size=3, dilation=1) does not fit into 2 "
        "inputs (n=2, padding=0 on each side)",
    ),
    (
        called(condconv(4, 6, 3, padding=4, padding_mode="reflect"), 2, 4, 5, 4),
        ValueError,
        "CondConv2d: padding=4 with padding_mode='reflect' needs at least 5 inputs "
        "along each axis, got 4",
    ),
    (
        called(condconv(4, 6, 3, padding=5, padding_mode="circular"), 2, 4, 5, 4),
        ValueError,
        "CondConv2d: padding=5 with padding_mode='circular' needs at least 5 inputs "
        "along each axis, got 4",
    ),
    (
        called(gate(4, 2), 2, 3, 5, 5),
        ValueError,
        "SqueezeExcite: x must have shape (N, 4, H, W), got (2, 3, 5, 5)",
    ),
    (
        called(MADE, 2, 8, 5, 5),
        ValueError,
        "WeightNet2d: x must have shape (N, 16, H, W), got (2, 8, 5, 5)",
    ),
    *(
        (
            called(MADE, 2, 16, 5, 5, alpha=(shape, "float32")),
            ValueError,
            "WeightNet2d: alpha must have shape (2, 12), a row for each example, got "
            f"{shape}",
        )
        for shape in ((2, 6), (1, 12), (2, 12, 1, 1))
    ),
    (
        called(MADE, 2, 16, 5, 5, alpha=0.5),
        TypeError,
        "WeightNet2d: alpha must be a tensor, got float",
    ),
    (
        called(resnet(8, in_channels=3), 2, 1, 8, 8),
        ValueError,
        "ResNet: x must have shape (N, 3, H, W), got (2, 1, 8, 8)",
    ),
]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    CALLS,
    ids=[f"{i}-{text[:60]}" for i, (*_, text) in enumerate(CALLS)],
)
def test_refused_in_a_call(call: Any, error: Any, text: str) -> None:
    refused_alike(call, error, text)


def test_the_largest_paddings_that_there_are() -> None:
    for padding, mode in ((3, "reflect"), (4, "circular"), (9, "replicate")):
        options = {"padding": padding, "padding_mode": mode}
        nets = mirrored("condconv", "CondConv2d", 4, 6, 3, **options)
        x = noise(2, 4, 5, 4)
        assert apart(*(both(net, x) for net in nets)) < 1e-5
