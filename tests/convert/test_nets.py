"""Whole nets: the source, the proof, training on, errors, damaged files."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from d2lutils._adapters import params
from d2lutils.compat import mx
from d2lutils.gluon import condconv, nin, pyramidnet, residual, resnet, weightnet
from d2lutils.porting import convert
from d2lutils.porting.convert import graph
from d2lutils.porting.convert.files import write_safetensors

gluon, nd, S = mx.gluon, mx.nd, mx.sym
nn, zoo = gluon.nn, gluon.model_zoo.vision


def ready(net: Any, *shape: int) -> Any:
    """The net with seeded parameters, after a pass that makes its graph."""
    mx.random.seed(0)
    net.initialize(mx.init.Xavier())
    net.hybridize()
    net(nd.random.normal(shape=shape))
    return net


class LSTMClassifier(gluon.HybridBlock):
    """An embedding, a recurrent layer both ways, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        with self.name_scope():
            self.embed = nn.Embedding(20, 6)
            self.lstm = gluon.rnn.LSTM(7, 2, layout="NTC", bidirectional=True)
            self.out = nn.Dense(3)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.out(F.mean(self.lstm(self.embed(x)), axis=1))


def segmentation() -> Any:
    net = nn.HybridSequential()
    with net.name_scope():
        for channels in (8, 16):
            net.add(nn.Conv2D(channels, 3, padding=1), nn.BatchNorm())
            net.add(nn.Activation("relu"), nn.MaxPool2D())
        net.add(nn.Conv2DTranspose(4, 4, 2, 1), nn.Conv2DTranspose(2, 4, 2, 1))
    return net


def symbol_resnet() -> Any:
    """A ResNet as the Symbol API's examples wrote it, with a norm of the data."""

    def norm(x: Any, name: str, **settings: Any) -> Any:
        settings = {"fix_gamma": False, "eps": 2e-5, **settings}
        return S.BatchNorm(x, name=name, momentum=0.9, **settings)

    def conv(x: Any, width: int, name: str, kernel: int = 3, stride: int = 1) -> Any:
        sizes = {
            "kernel": (kernel,) * 2,
            "stride": (stride,) * 2,
            "pad": (kernel // 2,) * 2,
        }
        return S.Convolution(x, num_filter=width, no_bias=True, name=name, **sizes)

    x = norm(S.var("data"), "bn_data", fix_gamma=True)
    x = conv(x, 8, "conv0")
    for stage, width in enumerate((8, 16), 1):
        for unit in (1, 2):
            name, stride = f"stage{stage}_unit{unit}", 1 + (stage == 2 and unit == 1)
            first = S.Activation(
                norm(x, f"{name}_bn1"), act_type="relu", name=f"{name}_relu1"
            )
            y = conv(first, width, f"{name}_conv1", stride=stride)
            y = S.Activation(
                norm(y, f"{name}_bn2"), act_type="relu", name=f"{name}_relu2"
            )
            y = conv(y, width, f"{name}_conv2")
            x = y + (x if unit > 1 else conv(first, width, f"{name}_sc", 1, stride))
    x = S.Pooling(
        S.Activation(norm(x, "bn1"), act_type="relu"),
        global_pool=True,
        pool_type="avg",
        kernel=(7, 7),
    )
    return S.SoftmaxOutput(
        S.FullyConnected(S.Flatten(x), num_hidden=5, name="fc1"), name="softmax"
    )


NETS: dict[str, tuple[Any, tuple[int, ...], int]] = {
    "alexnet": (lambda: zoo.alexnet(classes=5), (1, 3, 64, 64), 90),
    "densenet": (lambda: zoo.densenet121(classes=5), (1, 3, 224, 224), 170),
    "mobilenet": (lambda: zoo.mobilenet0_25(classes=5), (1, 3, 32, 32), 120),
    "mobilenet v2": (lambda: zoo.mobilenet_v2_0_25(classes=5), (1, 3, 32, 32), 120),
    "resnet v1": (lambda: zoo.resnet18_v1(classes=5), (1, 3, 32, 32), 110),
    "resnet v2": (lambda: zoo.resnet18_v2(classes=5), (1, 3, 32, 32), 110),
    "squeezenet": (lambda: zoo.squeezenet1_1(classes=5), (1, 3, 224, 224), 110),
    "vgg": (lambda: zoo.vgg11_bn(classes=5), (1, 3, 32, 32), 100),
    "our nin": (lambda: nin.NiN(10), (1, 1, 224, 224), 90),
    "our pyramidnet": (lambda: pyramidnet.PyramidNet(20, 24), (1, 3, 16, 16), 260),
    "our resnet": (lambda: resnet.ResNet(8), (1, 3, 16, 16), 110),
    "our chunks": (
        lambda: residual.ResidualChunks(3, 8, 3, chain_length=2),
        (2, 3, 9),
        70,
    ),
    "our condconv": (
        lambda: condconv.CondConv2d(3, 4, 3, num_experts=3),
        (2, 3, 8, 8),
        70,
    ),
    "our weightnet": (lambda: weightnet.WeightNet2d(16, 8, 3), (2, 16, 6, 6), 60),
    "lstm": (LSTMClassifier, (2, 5), 60),
    "segmentation": (segmentation, (1, 3, 16, 16), 60),
}


@pytest.mark.parametrize("name", NETS)
def test_net(name: str, tmp_path: Path) -> None:
    make, shape, most = NETS[name]
    net = ready(make(), *shape)
    result = convert.to_pytorch(net, inputs={"data": shape})
    assert result.proof is not None
    assert not result.proof.apart, result.proof
    assert len(result.source.splitlines()) < most
    x = np.random.default_rng(2).normal(size=shape).astype("float32")
    if name == "lstm":
        x = np.abs(x).round()
    expected = net(nd.array(x)).asnumpy()
    np.testing.assert_allclose(loaded(result, tmp_path, x), expected, 1e-3, 1e-4)


def loaded(result: convert.Converted, folder: Path, x: np.ndarray) -> np.ndarray:
    """What the saved files compute in a process that has PyTorch alone."""
    result.save(folder)
    np.save(folder / "x.npy", x)
    code = (
        "import sys, numpy, torch, net\n"
        "x = torch.tensor(numpy.load('x.npy'))\n"
        "numpy.save('y.npy', net.load()(x).detach().numpy())\n"
        "assert not {'d2lutils', 'mxnet'} & {n.split('.')[0] for n in sys.modules}"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=folder, check=True)
    values: np.ndarray = np.load(folder / "y.npy")
    return values


def test_symbol_api_with_a_head_and_a_fixed_scale(tmp_path: Path) -> None:
    """As a training service leaves it: arg: and aux:, a label, fix_gamma."""
    symbol = symbol_resnet()
    rng = np.random.default_rng(0)
    shapes, _, states = symbol.infer_shape(data=(1, 3, 16, 16))
    arrays = {}
    for name, shape in zip(symbol.list_arguments(), shapes, strict=True):
        if name not in ("data", "softmax_label"):
            arrays[f"arg:{name}"] = nd.array(rng.normal(size=shape) * 0.3)
    for name, shape in zip(symbol.list_auxiliary_states(), states, strict=True):
        arrays[f"aux:{name}"] = nd.array(rng.uniform(0.5, 2, shape))
    symbol.save(str(tmp_path / "net-symbol.json"))
    nd.save(str(tmp_path / "net-0000.params"), arrays)
    result = convert.to_pytorch(
        tmp_path / "net-symbol.json", tmp_path / "net-0000.params"
    )
    assert result.proof is not None
    assert not result.proof.apart, result.proof
    assert "SoftmaxOutput `softmax` is a softmax in inference" in result.report
    assert "self.bn_data.weight.requires_grad_(False)  # fix_gamma" in result.source
    fixed = [n for n, p in result.module.named_parameters() if not p.requires_grad]
    assert fixed == ["bn_data.weight"]
    assert (result.module.bn_data.weight == 1).all()  # type: ignore[operator,union-attr]
    assert result.source.count("class ") == 3  # two kinds of unit and the net


def test_it_trains_on_as_gluon_does() -> None:
    shape = (4, 3, 16, 16)
    net = ready(resnet.ResNet(8, dropout=0.0), *shape)
    module = convert.to_pytorch(net, inputs={"data": shape}, compare=False).module
    module.double().train()
    net.cast("float64")
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    rng = np.random.default_rng(0)
    for _ in range(5):
        x, y = rng.normal(size=shape), rng.integers(0, 10, shape[0])
        with mx.autograd.record():
            loss = gluon.loss.SoftmaxCrossEntropyLoss()(
                net(nd.array(x, dtype="float64")), nd.array(y, dtype="float64")
            ).mean()
        loss.backward()
        trainer.step(1)
        optimizer.zero_grad()
        own = torch.nn.functional.cross_entropy(
            module(torch.tensor(x)), torch.tensor(y)
        )
        own.backward()
        optimizer.step()
        assert abs(own.item() - loss.asscalar()) < 1e-7
    trained = net.collect_params()
    names = convert.to_pytorch(net, inputs={"data": shape}, compare=False).names
    for path, tensor in module.named_parameters():
        expected = trained[names[path]].data().asnumpy()
        np.testing.assert_allclose(tensor.detach().numpy(), expected, 0, 1e-6)


# --- what is refused, and how ---------------------------------------------------------


def small(tmp_path: Path, symbol: Any = None) -> tuple[Path, Path]:
    """Files of a small net."""
    if symbol is None:
        symbol = S.FullyConnected(
            S.Activation(S.var("data"), act_type="relu"), num_hidden=2, name="fc"
        )
    rng = np.random.default_rng(0)
    shapes, _, _ = symbol.infer_shape(data=(1, 4))
    arrays = {
        f"arg:{name}": nd.array(rng.normal(size=shape))
        for name, shape in zip(symbol.list_arguments(), shapes, strict=True)
        if name != "data"
    }
    files = tmp_path / "net-symbol.json", tmp_path / "net-0000.params"
    symbol.save(str(files[0]))
    nd.save(str(files[1]), arrays)
    return files


def test_operators_without_a_rule_are_all_named(tmp_path: Path) -> None:
    x = S.FullyConnected(S.var("data"), num_hidden=2, name="fc")
    x = S.sort(x, name="sorted") + S.topk(x, k=2, name="best")
    files = small(tmp_path, x)
    with pytest.raises(convert.ConversionError) as caught:
        convert.to_pytorch(*files)
    for part in (
        "sort",
        "topk",
        "'sorted'",
        "'best'",
        "'k': '2'",
        'convert.rule("name")',
    ):
        assert part in str(caught.value)
    assert convert.main([*map(str, files), "-o", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out").exists()


def test_a_rule_can_be_added(tmp_path: Path) -> None:
    from d2lutils.porting.convert.rules import RULES

    files = small(
        tmp_path, S.sort(S.FullyConnected(S.var("data"), num_hidden=3, name="fc"))
    )

    @convert.rule("sort")
    def sort(call: convert.Call) -> convert.Emission:
        return convert.Emission(f"{{0}}.sort({call.axis('axis', -1)})[0]")

    try:
        result = convert.to_pytorch(*files)
    finally:
        del RULES["sort"]
    assert result.proof is not None
    assert not result.proof.apart


def test_settings_that_a_rule_overlooks_are_told(tmp_path: Path) -> None:
    from d2lutils.porting.convert.rules import RULES

    net = S.FullyConnected(S.var("data"), num_hidden=3, name="fc")
    net = S.sort(net, is_ascend=0, name="sorted")
    files = small(tmp_path, net)
    try:
        convert.rule("sort")(lambda call: convert.Emission("{0}.sort(-1)[0]"))
        found = convert.to_pytorch(*files)
    finally:
        RULES.pop("sort", None)
    assert "`sorted`: its rule does not look at is_ascend=0" in found.report
    assert found.proof is not None
    assert found.proof.apart == "sorted"


class Shuffled(gluon.HybridBlock):
    """Channels of two groups, interleaved, by the codes of Gluon's reshape."""

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        x = F.reshape(x, shape=(0, -4, 2, -1, -2))
        return F.reshape(F.swapaxes(x, 1, 2), shape=(0, -3, -2))


def test_reshape_that_copies_sizes_takes_images_of_any_size() -> None:
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3), Shuffled(), nn.Conv2D(2, 1))
    found = convert.to_pytorch(ready(net, 1, 3, 8, 8), inputs={"data": (1, 3, 8, 8)})
    x = np.random.default_rng(0).normal(size=(3, 3, 9, 7)).astype("float32")
    expected = net(nd.array(x)).asnumpy()
    with torch.no_grad():
        ours = found.module(torch.tensor(x)).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_weights_that_are_missing_are_not_left_random(tmp_path: Path) -> None:
    found = convert.to_pytorch(*small(tmp_path))
    state = {"fc.bias": torch.zeros(2)}
    found.save(tmp_path)
    write_safetensors(tmp_path / "net.safetensors", state)
    scope: dict[str, Any] = {"__file__": str(tmp_path / "net.py"), "__name__": "net"}
    exec(found.source, scope)
    with pytest.raises(RuntimeError, match=r"fc\.weight"):
        scope["load"]()


def test_missing_parameters_are_all_named(tmp_path: Path) -> None:
    symbol, _ = small(tmp_path)
    with pytest.raises(convert.ConversionError, match="fc_weight, fc_bias"):
        convert.to_pytorch(symbol, {"other": np.zeros(3)})
    result = convert.to_pytorch(
        symbol,
        {"fc_weight": np.zeros((2, 4)), "fc_bias": np.zeros(2), "other": np.zeros(3)},
    )
    assert "not used: other" in result.report


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (
            {"inputs": {"data": (1, 5)}},
            r"FullyConnected 'fc' does not fit its inputs \(1, 5\)",
        ),
        ({"inputs": {"x": (1, 4)}}, "no input is called .'x'.; there are: data"),
        ({"inputs": {}}, "neither params nor inputs has: data"),
    ],
)
def test_inputs_that_do_not_fit(arguments: Any, match: str, tmp_path: Path) -> None:
    with pytest.raises(convert.ConversionError, match=match):
        convert.to_pytorch(*small(tmp_path), **arguments)


def test_names_that_are_no_identifiers(tmp_path: Path) -> None:
    x = S.var("data")
    for name in (
        "1st",
        "a b",
        "a_b",
        "class",
        "x",
        "forward",
        "é\n\"'''",
        "import os;",
    ):
        x = S.FullyConnected(x, num_hidden=4, name=name)
    result = convert.to_pytorch(*small(tmp_path, x), name="from import 3")
    assert result.proof is not None
    assert not result.proof.apart
    compile(result.source, "net.py", "exec")
    assert "os;" not in result.source


def test_operators_of_one_name(tmp_path: Path) -> None:
    """MXNet lets them share it; the second one follows the first."""
    x = S.FullyConnected(S.var("data"), num_hidden=4, name="fc")
    x = S.relu(S.sin(S.relu(x, name="same"), name="same_1"), name="same") + x
    result = convert.to_pytorch(*small(tmp_path, x))
    assert result.proof is not None
    assert not result.proof.apart
    assert {"same", "same_1", "same_2"} <= result.proof.differences.keys()


def test_a_block_that_has_not_run() -> None:
    net = nn.HybridSequential()
    net.add(nn.Dense(2))
    net.initialize()
    with pytest.raises(convert.ConversionError, match=r"net\.hybridize"):
        convert.to_pytorch(net)
    with pytest.raises(TypeError, match="a path or a Gluon HybridBlock, got int"):
        convert.to_pytorch(3)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = small(tmp_path)
    command = [*map(str, files), "-o", str(tmp_path / "out"), "--name", "Small"]
    assert convert.main([*command, "--input", "data=1,4"]) == 0
    assert "equal to" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "net.py",
        "net.safetensors",
        "report.md",
    }
    assert convert.main(["none.json", str(files[1]), "-o", "out"]) == 1
    assert "symbol names no file: none.json" in capsys.readouterr().err


# --- files of strangers ---------------------------------------------------------------


def test_parameter_files_are_read_as_mxnet_reads_them(tmp_path: Path) -> None:
    path = str(tmp_path / "x.params")
    rng = np.random.default_rng(0)
    arrays = {
        kind: nd.array(rng.integers(0, 2, (2, 3)), dtype=kind)
        for kind in ("float32", "float64", "float16", "uint8", "int32", "int8", "int64")
    }
    dense = nd.array(rng.normal(size=(4, 3)) * (rng.random((4, 1)) > 0.5))
    arrays |= {"rows": dense.tostype("row_sparse"), "csr": dense.tostype("csr")}
    nd.waitall()  # MXNet's save may write a sparse array before it is there
    nd.save(path, arrays)
    found = params.read(Path(path))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array.asnumpy())
        assert found[name].dtype == np.dtype(array.dtype)
    with mx.util.np_shape(True), mx.util.np_array(True):
        mx.npx.save(path, {"scalar": mx.np.array(3.0)})
    assert params.read(Path(path))["scalar"].shape == ()


def test_a_file_of_very_many_arrays() -> None:
    count = 100_000
    names = b"".join(struct.pack("<Q", 6) + b"%06d" % i for i in range(count))
    head = struct.pack("<QQQ", 0x112, 0, count)
    data = head + bytes(4 * count) + struct.pack("<Q", count) + names
    assert len(params.parse(data)) == count
    with pytest.raises(convert.ConversionError, match="two arrays called '000001'"):
        params.parse(data.replace(b"000002", b"000001"))


def test_damaged_files_end_in_one_error(tmp_path: Path) -> None:
    """10,000 changes of a byte or a length: read, or refused in our own words."""
    symbol, parameters = small(tmp_path)
    rng = np.random.default_rng(0)
    counts = {True: 0, False: 0}
    for data, parse in (
        (parameters.read_bytes(), params.parse),
        (symbol.read_bytes(), parsed_symbol),
    ):
        for _ in range(5000):
            damaged = bytearray(data)
            for _ in range(rng.integers(1, 4)):
                damaged[rng.integers(len(damaged))] = rng.integers(256)
            if rng.random() < 0.2:
                del damaged[rng.integers(len(damaged)) :]
            try:
                parse(bytes(damaged))
            except convert.ConversionError:
                counts[False] += 1
            else:
                counts[True] += 1
    assert sum(counts.values()) == 10_000
    assert min(counts.values()) > 1000


def parsed_symbol(data: bytes) -> Any:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(data)
        file.flush()
        return graph.read(Path(file.name))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "is no JSON: .* in line 1"),
        ("[]", "has no list of nodes"),
        ('{"nodes": [3], "heads": []}', r"nodes\[0\] is no node: 3"),
        ('{"nodes": [{"op": 1}], "heads": []}', r"nodes\[0\] has no op: 1"),
        ('{"nodes": [{"op": "null", "name": "a"}], "heads": []}', "names no outputs"),
        (
            '{"nodes": [{"op": "x", "name": "a", "inputs": [[0, 0]]}]}',
            "names node 0, which is not before",
        ),
        ("[" * 100_000, "is no graph"),
    ],
)
def test_symbols_that_are_none(text: str, match: str, tmp_path: Path) -> None:
    path = tmp_path / "net-symbol.json"
    path.write_text(text)
    with pytest.raises(convert.ConversionError, match=match):
        graph.read(path)


def test_a_graph_of_an_old_version(tmp_path: Path) -> None:
    """Before 0.9: settings under "param", states not listed, two numbers an input."""
    settings = {"eps": "0.001", "fix_gamma": "False", "momentum": "0.9"}

    def node(op: str, name: str, *inputs: int, **param: str) -> dict[str, Any]:
        return {
            "op": op,
            "param": param,
            "name": name,
            "inputs": [[i, 0] for i in inputs],
        }

    nodes = [node("null", name) for name in ("data", "bn_gamma", "bn_beta")]
    nodes += [node("BatchNorm", "bn", 0, 1, 2, **settings), node("Flatten", "flat", 3)]
    path = tmp_path / "net-symbol.json"
    path.write_text(
        json.dumps({"nodes": nodes, "arg_nodes": [0, 1, 2], "heads": [[4, 0]]})
    )
    rng = np.random.default_rng(0)
    arrays = {
        f"bn_{n}": rng.uniform(0.5, 1, 3)
        for n in ("gamma", "beta", "moving_mean", "moving_var")
    }
    result = convert.to_pytorch(path, arrays, inputs={"data": (2, 3, 4, 4)})
    assert result.proof is not None
    assert not result.proof.apart, result.proof
    assert result.names["bn.running_var"] == "bn_moving_var"
