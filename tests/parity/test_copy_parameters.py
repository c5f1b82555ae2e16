"""`copy_parameters` in all directions, all or nothing, with errors that name both."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from halves import noise, randomize
from nets import gnn, nn, sequence

from d2lutils import parity
from d2lutils.compat import mx
from d2lutils.gluon import blocks as gluon_blocks


def gluon_net(in_channels: int = 2, initialize: bool = True) -> Any:
    net = sequence(
        gnn.Conv2D(4, 3, in_channels=in_channels),
        gnn.BatchNorm(in_channels=4 if in_channels else 0),
        gnn.PReLU(),
        gnn.Dense(3, in_units=16 * in_channels // 2),
    )
    if initialize:
        net.initialize(mx.init.Uniform(1))
    return net


def torch_net(seed: int | None = None) -> Any:
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.PReLU(),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    if seed is not None:
        randomize(net, seed)
    return net


MAKE = {"gluon": gluon_net, "pytorch": torch_net}


def values(net: Any) -> list[np.ndarray]:
    """Everything, in the order weight, bias, statistics of each layer."""
    if isinstance(net, nn.Module):
        state = {n: t for n, t in net.state_dict().items() if "num_batches" not in n}
        return [t.numpy().copy() for t in state.values()]
    found = []
    roles = ["weight", "gamma", "alpha", "bias", "beta", "running_mean", "running_var"]
    for layer in net._children.values():
        parameters = [layer._reg_params[r] for r in roles if r in layer._reg_params]
        found += [p.data().asnumpy() for p in parameters]
    return found


def equal(one: list[np.ndarray], two: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def same(one: Any, two: Any) -> bool:
    return equal(values(one), values(two))


@pytest.mark.parametrize(("source", "target"), list(itertools.product(MAKE, repeat=2)))
def test_four_directions(source: str, target: str) -> None:
    random = torch_net(seed=3)
    one, two = MAKE[source](), MAKE[target]()
    parity.copy_parameters(random, one)
    assert same(one, random), "running statistics included"
    before = values(one)
    parity.copy_parameters(one, two)
    assert same(one, two)
    assert equal(before, values(one))
    assert len(before) == 9


def test_copies_share_no_memory() -> None:
    for one, two in ((torch_net(3), torch_net()), (gluon_net(), gluon_net())):
        parity.copy_parameters(one, two)
        before = values(one)
        if isinstance(two, nn.Module):
            randomize(two, 9)
        else:
            two.initialize(mx.init.Uniform(2), force_reinit=True)
        assert equal(before, values(one))


@pytest.mark.parametrize("initialize", [False, True])
@pytest.mark.parametrize("in_channels", [2, 0])
def test_into_a_net_that_waits(initialize: bool, in_channels: int) -> None:
    target = gluon_net(in_channels, initialize)
    source = torch_net(seed=3)
    parity.copy_parameters(source, target)
    assert same(source, target)
    # And it can be trained: gradients are attached.
    with mx.autograd.record():
        loss = target(mx.nd.array(noise(2, 2, 4, 4))).sum()
    loss.backward()
    assert target[0].weight.grad().shape == (4, 2, 3, 3)
    mx.nd.waitall()


class TestDtypes:
    def test_target_keeps_its_own(self) -> None:
        source = torch_net(seed=3).double()
        source[0].weight.data[0, 0, 0, 0] = 1 / 3
        for target in (torch_net(), gluon_net()):
            parity.copy_parameters(source, target)
            assert all(a.dtype == "float32" for a in values(target))
            assert values(target)[0][0, 0, 0, 0] == np.float32(1 / 3)
        exact = gluon_net()
        exact.cast("float64")
        parity.copy_parameters(source, exact)
        assert same(source, exact)

    def test_bfloat16(self) -> None:
        source, target = nn.Linear(3, 2).bfloat16(), gnn.Dense(2, in_units=3)
        parity.copy_parameters(source, target)
        expected = source.weight.detach().float().numpy()
        assert np.array_equal(target.weight.data().asnumpy(), expected)


def conv(channels: int, **options: Any) -> Any:
    return gnn.Conv2D(channels, 3, in_channels=2, **options)


# (source, target, the message)
MISMATCHES: dict[str, tuple[Any, Any, str]] = {
    "other rank": (
        lambda: sequence(gnn.Conv1D(4, 3, in_channels=2, use_bias=False)),
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3, bias=False)),
        "layer 0 differs: source 0 (Conv1D: weight (4, 2, 3)), "
        "target 0 (Conv2d: weight (4, 2, 3, 3))",
    ),
    "other width, in the second layer": (
        lambda: sequence(conv(4), gnn.Dense(3, in_units=4)),
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.Linear(5, 3)),
        "layer 1 differs: source 1 (Dense: weight (3, 4), bias (3,)), "
        "target 1 (Linear: weight (3, 5), bias (3,))",
    ),
    "bias dropped": (
        lambda: sequence(conv(4)),
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3, bias=False)),
        "layer 0 differs: source 0 (Conv2D: weight (4, 2, 3, 3), bias (4,)), "
        "target 0 (Conv2d: weight (4, 2, 3, 3))",
    ),
    "one more in the target": (
        lambda: sequence(gnn.Dense(3, in_units=3)),
        lambda: nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.BatchNorm1d(3)),
        "source has 1 layers with parameters, target has 2; the first without a "
        "partner is target 2 (BatchNorm1d: weight (3,), bias (3,), running_mean (3,), "
        "running_var (3,))",
    ),
}


@pytest.mark.parametrize("case", list(MISMATCHES))
@pytest.mark.parametrize("swapped", [False, True])
def test_first_mismatch_with_both_sides(case: str, swapped: bool) -> None:
    make_source, make_target, text = MISMATCHES[case]
    source, target = make_source(), make_target()
    source.initialize(mx.init.Uniform(1))
    before = [t.clone() for t in target.state_dict().values()]
    both = {n: p.data().asnumpy() for n, p in source.collect_params().items()}
    if swapped:
        with pytest.raises(ValueError, match=r"^copy_parameters: "):
            parity.copy_parameters(target, source)
    else:
        with pytest.raises(ValueError, match=r"^copy_parameters: ") as caught:
            parity.copy_parameters(source, target)
        assert str(caught.value) == f"copy_parameters: {text}"
    # Nothing was copied, not even what fits.
    now = target.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(before, now, strict=True))
    for name, parameter in source.collect_params().items():
        assert np.array_equal(parameter.data().asnumpy(), both[name])


def test_a_number_is_not_a_shape_that_waits() -> None:
    class Scalar(nn.Module):
        def __init__(self, *shape: int) -> None:
            super().__init__()
            self.first = nn.Parameter(torch.ones(2))
            self.weight = nn.Parameter(torch.ones(shape))

    target = Scalar()
    source = Scalar(3)
    source.first.data += 1
    with pytest.raises(ValueError, match=r"^copy_parameters: layer 0 differs"):
        parity.copy_parameters(source, target)
    assert target.first[0] == 1


class TestValuesThatAreNotThere:
    def test_gluon_source(self) -> None:
        for source in (gluon_net(initialize=False), gluon_net(0)):
            target = torch_net(seed=3)
            before = values(target)
            with pytest.raises(ValueError, match=r"^copy_parameters: ") as caught:
                parity.copy_parameters(source, target)
            assert str(caught.value) == (
                "copy_parameters: source 0.weight has no values yet: initialise the "
                "net and run one forward pass first"
            )
            assert equal(before, values(target))

    def test_lazy_torch_target(self) -> None:
        target = nn.Sequential(nn.Linear(3, 4), nn.LazyLinear(2))
        source = sequence(gnn.Dense(4, in_units=3), gnn.Dense(2, in_units=4))
        source.initialize()
        before = target[0].weight.detach().clone()
        with pytest.raises(ValueError, match=r"^copy_parameters: ") as caught:
            parity.copy_parameters(source, target)
        text = "copy_parameters: target 1.weight is lazy: run one forward pass"
        assert str(caught.value) == text
        assert torch.equal(target[0].weight, before)

    def test_lazy_torch_source(self) -> None:
        with pytest.raises(ValueError, match=r"source \.?weight has no values yet"):
            parity.copy_parameters(nn.LazyLinear(2), gnn.Dense(2, in_units=4))


def test_refused() -> None:
    kinds = "must be a Gluon Block or a PyTorch Module, got"
    for source, target, text in (
        (3, nn.ReLU(), f"source {kinds} int"),
        (nn.ReLU(), None, f"target {kinds} None"),
        (nn.ReLU, nn.ReLU(), f"source {kinds} t"),
    ):
        with pytest.raises(TypeError, match=f"^copy_parameters: {text}"):
            parity.copy_parameters(source, target)


# -- after a pass in inference, when oneDNN has re-ordered kernels ---------------------

AFTER_INFERENCE: dict[str, Any] = {
    "1-D": lambda: (gnn.Conv1D(8, 3, in_channels=8), nn.Conv1d(8, 8, 3), (2, 8, 5)),
    "3-D": lambda: (
        *(gnn.Conv3D(32, 3, in_channels=16), nn.Conv3d(16, 32, 3), (2, 16, 5, 5, 5)),
    ),
    "grouped": lambda: (
        gnn.Conv2D(16, 3, groups=2, in_channels=16),
        *(nn.Conv2d(16, 16, 3, groups=2), (2, 16, 5, 5)),
    ),
    "dense": lambda: (gnn.Dense(16, in_units=16), nn.Linear(16, 16), (2, 16)),
}


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("name", AFTER_INFERENCE)
def test_new_values_after_inference(name: str, hybrid: bool) -> None:
    """The new kernel runs, at once, and reads back; nothing fails later."""
    gluon, pytorch, shape = AFTER_INFERENCE[name]()
    gluon.initialize()
    gluon.hybridize(hybrid)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    gluon(mx.nd.array(x))  # not waited for
    for seed in (0, 1):
        torch.manual_seed(seed)
        for parameter in pytorch.parameters():
            nn.init.normal_(parameter)
        parity.copy_parameters(pytorch, gluon)
        mx.nd.waitall()
        expected = pytorch(torch.tensor(x)).detach().numpy()
        found = gluon(mx.nd.array(x)).asnumpy()
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
        kernel = pytorch.weight.detach().numpy()
        assert np.array_equal(gluon.weight.data().asnumpy(), kernel)


def test_a_pass_in_training_mode_gives_the_kernel_back() -> None:
    """As questions.yml says, for whoever loads into a net of MXNet's own layers."""
    layer = gnn.Conv1D(8, 3, in_channels=8)
    layer.initialize()
    x = mx.nd.ones((2, 8, 12))
    for value in (1, 2):
        layer(x).wait_to_read()
        with mx.autograd.train_mode():
            layer(x).wait_to_read()
        layer.weight.set_data(mx.nd.full((8, 8, 3), value))
        mx.nd.waitall()
        assert (layer(x).asnumpy() == 24 * value).all()


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_chunk_takes_new_values_after_inference(hybrid: bool, tmp_path: Any) -> None:
    """However they come; MXNet's own 1-D convolution fails later on."""
    one, two = (gluon_blocks.ConvChunk(4, 8, 3) for _ in range(2))
    for net in (one, two):
        net.initialize(mx.init.Normal(1), force_reinit=True)
        net.hybridize(hybrid)
    x = mx.nd.array(np.random.default_rng(0).normal(size=(2, 4, 9)))
    before, expected = one(x).asnumpy(), two(x).asnumpy()
    assert np.abs(before - expected).max() > 0.1
    file = str(tmp_path / "net.params")
    two.save_parameters(file)
    one.load_parameters(file)
    np.testing.assert_allclose(one(x).asnumpy(), expected, rtol=1e-5, atol=1e-6)
    for parameter in one.collect_params().values():
        parameter.set_data(parameter.data() * 0)
    assert (one(x).asnumpy() == 0).all()
    mx.nd.waitall()
