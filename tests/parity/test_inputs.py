"""What the frameworks' own layers accept, the blocks accept: replaced, wrapped and
quantised parts, replicas, mixed precision, `mx.np` arrays, graphs of all kinds."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from halves import GLUON, exported, noise
from nets import gnn, halves, nn
from torch.nn.utils import prune, weight_norm

from d2lutils.compat import mx

pytestmark = pytest.mark.needs_mxnet

# (module, what is made, its input without the batch)
SHAPE = (4, 12, 12)
BLOCKS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "ConvChunk": ("blocks", "ConvChunk(4, 8, 3)", (4, 12)),
    "ResidualChunks": (
        "residual",
        "ResidualChunks(4, 8, 3, 2, 2, shortcut='zeros')",
        (4, 12),
    ),
    "SubsampleZeroPad": ("shortcuts", "SubsampleZeroPad(4, 8, 2)", SHAPE),
    "ZeroPadShortcut": ("shortcuts", "ZeroPadShortcut(4, 8, 2)", SHAPE),
    "SqueezeExcite": ("squeeze_excite", "SqueezeExcite(4, 2)", SHAPE),
    "PyramidUnit": ("pyramidnet", "PyramidUnit(4, 8, 2)", SHAPE),
    "PyramidNet": ("pyramidnet", "PyramidNet(8, 12, 5, 4, drop_prob=0.5)", SHAPE),
    "ResNet": ("resnet", "ResNet(8, 5, 4)", SHAPE),
    "ResNet, gated": ("resnet", "ResNet(8, 5, 4, 'zeros', 4, 2)", SHAPE),
    "NiN": ("nin", "NiN(5, 4, (4, 4, 4), (3, 1, 1))", (4, 16, 16)),
    "CIFARNiN": ("nin", "CIFARNiN(5, 4)", SHAPE),
    "CondConv2d": (
        "condconv",
        "CondConv2d(4, 8, 3, padding=1, groups=2, padding_mode='reflect')",
        SHAPE,
    ),
    "WeightNet2d": (
        "weightnet",
        "WeightNet2d(4, 8, 3, padding=1, reduction=2)",
        SHAPE,
    ),
}
NETS = ("PyramidNet", "ResNet", "ResNet, gated", "NiN", "CIFARNiN")
every = pytest.mark.parametrize("name", BLOCKS)


def made(name: str, half: int) -> Any:
    module, call, _ = BLOCKS[name]
    torch.manual_seed(1)
    block = eval(call, vars(halves(module)[half]))
    if half:
        return block.eval()
    block.initialize()
    return block


def batch(name: str, n: int = 3) -> torch.Tensor:
    return torch.as_tensor(noise(n, *BLOCKS[name][2], seed=n))


# -- replaced and wrapped parts --------------------------------------------------------


class Wrapped(nn.Module):
    """A layer with another around it, as adapters (LoRA) have."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def forward(self, x: Any) -> Any:
        return self.base(x)


def layers(net: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear)
    for parent in list(net.modules()):
        for name, child in list(parent._modules.items()):
            if type(child) in kinds:
                yield parent, name, child


def replica(net: Any) -> Any:
    """As `nn.DataParallel` makes them: without parameters."""
    copy = net._replicate_for_data_parallel()
    for name, child in net._modules.items():
        copy._modules[name] = None if child is None else replica(child)
    for name, parameter in net._parameters.items():
        value = None if parameter is None else parameter.detach().clone()
        setattr(copy, name, value)
    return copy


def wrapped(net: Any) -> Any:
    for parent, name, child in layers(net):
        parent._modules[name] = Wrapped(child)
    return net


def pruned(net: Any) -> Any:
    for _, _, child in layers(net):
        prune.l1_unstructured(child, "weight", 0.5)
    return net


def weight_normed(net: Any) -> Any:
    for _, _, child in layers(net):
        weight_norm(child)
    return net


def quantised(net: Any) -> Any:
    return torch.ao.quantization.quantize_dynamic(net, {nn.Linear})


@every
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("change", [replica, wrapped, pruned, weight_normed, quantised])
def test_layers_that_have_changed(name: str, change: Callable[[Any], Any]) -> None:
    x = batch(name)
    net = change(made(name, 1))
    assert len(list(map(net, [x, x]))) == 2  # a StopIteration would end it early
    if change is replica:
        torch.testing.assert_close(net(x), made(name, 1)(x))


@every
def test_meta_device(name: str) -> None:
    shape = made(name, 1)(batch(name)).shape
    assert made(name, 1).to("meta")(batch(name).to("meta")).shape == shape


def test_a_hook_that_casts() -> None:
    """The layer behind it takes what the hook makes."""
    chunk = halves("blocks")[1].ConvChunk(4, 8, 3).double()
    chunk.conv.register_forward_pre_hook(lambda _, x: x[0].double())
    assert chunk(batch("ConvChunk")).dtype == torch.float64


def small(half: int, channels: int) -> Any:
    """Somebody else's part, which takes images of 2x2 and another depth."""
    if half:
        return nn.Sequential(nn.Conv2d(channels, 16, 1), nn.ReLU())
    part = gnn.HybridSequential()
    part.add(gnn.Conv2D(16, 1, in_channels=channels), gnn.Activation("relu"))
    part.initialize()
    return part


def nothing(half: int) -> Any:
    """A part that hands on what it gets; Gluon wants one of the replaced one's type."""
    if half:
        return nn.Identity()
    part = gnn.HybridSequential()
    part.add(mx.gluon.contrib.nn.Identity())
    return part


@pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])
@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_replaced_parts(name: str, half: int, hybrid: bool) -> None:
    tensor = torch.as_tensor if half else mx.nd.array
    for part in ("head", "features", "stem", "blocks"):
        net = made(name, half)
        if not hasattr(net, part):
            continue
        channels = 1 if part in ("features", "stem") else 4
        size = 2 if part == "features" else BLOCKS[name][2][1]
        setattr(net, part, small(half, 1) if channels == 1 else nothing(half))
        if part == "blocks":
            net.head = nothing(half)
        if hybrid and not half:
            net.hybridize()
        x = tensor(noise(3, channels, size, size))
        assert len(list(map(net, [x, x]))) == 2
    mx.nd.waitall()


@pytest.mark.parametrize("half", [0, 1], ids=["gluon", "pytorch"])
def test_an_image_too_small_for_the_net_as_built_alone(half: int) -> None:
    """Without a pooling of its own a NiN takes what it refused."""
    net = halves("nin")[half].NiN(5, 4, (4, 4, 4), (3, 1, 1))
    if not half:
        net.initialize()
    x = (torch.as_tensor if half else mx.nd.array)(noise(2, 4, 9, 9))
    with pytest.raises(ValueError, match="NiN: x must have at least 15 positions"):
        net(x)
    if half:
        net.features[1] = nn.Identity()
    else:
        net.features._children["1"] = mx.gluon.contrib.nn.Identity()
    assert tuple(net(x).shape) == (2, 5)


# -- precision -------------------------------------------------------------------------


@every
@pytest.mark.parametrize("norms", [torch.bfloat16, torch.float32])
def test_bfloat16(name: str, norms: torch.dtype) -> None:
    net = made(name, 1).bfloat16()
    for layer in net.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.to(norms)
    assert net(batch(name).bfloat16()).dtype == torch.bfloat16


def test_gluon_in_float16() -> None:
    """As far as MXNet's own layers get on a CPU."""
    for name in NETS:
        net = made(name, 0)
        net.cast("float16")
        with pytest.raises(mx.MXNetError):
            net(mx.nd.array(batch(name).numpy(), dtype="float16")).asnumpy()


# What is set for a whole process is tested in one of its own.
PROCESS = """
import sys
import numpy as np
from d2lutils.compat import mx
mode = sys.argv[1]
if mode == "np":
    mx.npx.set_np()
if mode == "amp":
    from mxnet.contrib import amp
    amp.init(target_dtype="bfloat16")
from test_inputs import BLOCKS, made, batch
from halves import noise
from nets import halves, gnn
array = mx.np.array if mode == "np" else mx.nd.array
results = {}

def run(key, net, x, *more):
    for i, (name, p) in enumerate(sorted(net.collect_params().items())):
        scale = np.prod(p.shape[1:]) ** 0.5
        p.set_data(array(1 + noise(*p.shape, seed=i) / 2 if "var" in name
                         else noise(*p.shape, seed=i) / scale))
    x = array(x)
    for hybrid in (False, True):
        if hybrid:
            net.hybridize()
        results[f"{key} {hybrid}"] = net(x, *more)
        assert type(results[f"{key} {hybrid}"]) is type(x), key
    # Last, since training moves the running statistics.
    for hybrid in (True, False):
        net.hybridize(hybrid)
        with mx.autograd.record():
            loss = (net(x, *more) ** 2).sum()
        if net.collect_params().keys():
            loss.backward()
        mx.nd.waitall()

for name in BLOCKS:
    run(name, made(name, 0), batch(name).numpy())
for form in ("mixture", "unfolded"):
    layer = halves("condconv")[0].CondConv2d(
        4, 4, 3, padding_mode="circular", form=form, mix_bias=True, padding=1)
    layer.initialize()
    run(form, layer, batch("CondConv2d").numpy())
depth = halves("stochastic_depth")[0].StochasticDepth
conv = gnn.Conv2D(4, 3, padding=1, in_channels=4)
conv.initialize()
with mx.autograd.train_mode():
    x = batch("CondConv2d").numpy()
    run("row", depth(conv, 0.25, "row"), x, None, array([1.0, 0.0, 1.0]))
    run("batch", depth(conv, 0.25), x, None, True)
np.savez(sys.argv[2], **{k: v.astype("float32").asnumpy() for k, v in results.items()})
"""


def process(mode: str, folder: Path) -> dict[str, np.ndarray]:
    file = folder / f"{mode}.npz"
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROCESS, mode, str(file)],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    return dict(np.load(file))


def test_set_np_and_amp(tmp_path: Path) -> None:
    """After `npx.set_np` the same numbers, after `amp.init` nearly."""
    plain = process("plain", tmp_path)
    assert len(plain) == 2 * (len(BLOCKS) + 4)
    for mode, tolerance in (("np", 1e-5), ("amp", 0.2)):
        other = process(mode, tmp_path)
        assert other.keys() == plain.keys()
        for key, expected in plain.items():
            scale = np.abs(expected).max()
            difference = np.abs(other[key] - expected).max() / scale
            assert difference <= tolerance, (mode, key)


# -- graphs ----------------------------------------------------------------------------


def equal_at_other_sizes(graph: Any, net: Any, name: str) -> None:
    for n in (2, 5):
        torch.testing.assert_close(graph(batch(name, n)), net(batch(name, n)))


@every
def test_torch_jit_trace(name: str) -> None:
    net = made(name, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)  # from Python 3.14 on
        graph = torch.jit.trace(net, batch(name))
    equal_at_other_sizes(graph, net, name)


@pytest.mark.parametrize("name", ["WeightNet2d", "CondConv2d", "PyramidUnit"])
def test_torch_compile_for_every_batch_size(name: str) -> None:
    torch._dynamo.reset()
    net = made(name, 1)
    graph = torch.compile(net, dynamic=True, backend="aot_eager", fullgraph=True)
    equal_at_other_sizes(graph, net, name)


@every
def test_torch_fx(name: str) -> None:
    """An argument that may be left out is, when the graph is made."""
    net = made(name, 1)
    left_out = {"WeightNet2d": "alpha", "CondConv2d": "routing_weights"}
    arguments = {left_out[name]: None} if name in left_out else None
    equal_at_other_sizes(torch.fx.symbolic_trace(net, arguments), net, name)


@pytest.mark.parametrize("name", ["WeightNet2d", "CondConv2d", "PyramidUnit"])
@pytest.mark.filterwarnings("ignore")  # PyTorch's exporter about PyTorch
def test_onnx_with_any_batch(name: str) -> None:
    pytest.importorskip("onnxscript", reason="needs the packages onnx and onnxscript")
    from onnx.reference import ReferenceEvaluator

    net = made(name, 1)
    sizes = ({0: torch.export.Dim("batch")},)
    program = torch.onnx.export(
        net, (batch(name),), dynamo=True, dynamic_shapes=sizes, verbose=False
    )
    assert program is not None
    model = program.model_proto
    (found,) = ReferenceEvaluator(model).run(
        None, {model.graph.input[0].name: batch(name, 5).numpy()}
    )
    np.testing.assert_allclose(
        found, net(batch(name, 5)).detach().numpy(), rtol=1e-3, atol=1e-4
    )


@pytest.mark.filterwarnings("ignore:Cannot decide type")
@pytest.mark.parametrize("mode", ["batch", "row", "gather"])
@pytest.mark.parametrize("kind", ["PyramidNet", "PyramidUnit", "StochasticDepth"])
def test_gluon_export_keeps_every_branch(kind: str, mode: str, tmp_path: Path) -> None:
    """And leaves the block as it was: in training it goes on to drop."""
    if kind == "PyramidNet":
        options = {"drop_prob": 1, "drop_mode": mode}
        net = halves("pyramidnet")[0].PyramidNet(8, 12, 5, 4, **options)
        sums = [unit.sum for unit in net.blocks]
    elif kind == "PyramidUnit":
        net = halves("pyramidnet")[0].PyramidUnit(4, 8, 2, "basic", 1, mode)
        sums = [net.sum]
    else:
        conv = gnn.Conv2D(6, 3, padding=1, in_channels=4)
        net = halves("stochastic_depth")[0].StochasticDepth(conv, 1, mode, 2)
        sums = [net]
    before = [s.drop_prob for s in sums]
    net.initialize()
    net.hybridize()
    net(mx.nd.array(noise(2, *SHAPE)))
    graph = exported(net, tmp_path)
    for n in (1, 5):
        x = noise(n, *SHAPE, seed=n)
        expected = GLUON.output(net, x)
        np.testing.assert_allclose(
            GLUON.output(graph, x), expected, rtol=1e-4, atol=1e-5
        )
    assert [s.drop_prob for s in sums] == before
    if kind == "StochasticDepth":
        x = mx.nd.array(noise(2, *SHAPE))
        with mx.autograd.train_mode():
            assert not net(x)[:, 4:].asnumpy().any()
