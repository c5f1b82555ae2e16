"""Whether MXNet works here: a tour that asserts values, for any environment.

    python tests/compat/probe.py

Needs d2lutils, MXNet and NumPy, nothing else. Prints one line of JSON and exits
with 1 if anything went wrong. Each check passes NumPy numbers where a program might,
because those are what a newer NumPy writes differently.
"""

from __future__ import annotations

import contextlib
import io
import json
import platform
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

start = time.perf_counter()
from d2lutils.compat import mx  # noqa: E402

IMPORT_SECONDS = time.perf_counter() - start

import mxnet  # noqa: E402
from mxnet import autograd, gluon, nd, sym  # noqa: E402
from mxnet.gluon import nn  # noqa: E402

TEN, THREE, TWO, ONE = np.int64(10), np.int32(3), np.int64(2), np.uint8(1)


def same(array: object, expected: object, tolerance: float = 1e-6) -> None:
    values = array.asnumpy() if hasattr(array, "asnumpy") else np.asarray(array)
    np.testing.assert_allclose(values, expected, tolerance, tolerance)


def small_net() -> nn.HybridSequential:
    net = nn.HybridSequential(prefix="net_")
    with net.name_scope():
        net.add(nn.Conv2D(np.int64(4), (THREE, THREE), padding=ONE), nn.BatchNorm())
        net.add(nn.Activation("relu"), nn.GlobalAvgPool2D(), nn.Dense(TEN))
    return net


def train() -> None:
    """Losses fall, and are the same imperative and hybridized."""
    images = nd.array(np.linspace(-1, 1, 20 * 36).reshape(20, 1, 6, 6))
    images[::2] *= -1  # two kinds of picture
    labels = nd.array(np.arange(20) % 2)
    objective = gluon.loss.SoftmaxCrossEntropyLoss()
    histories = []
    for hybrid in (False, True):
        mx.random.seed(3)
        net = small_net()
        net.initialize(mx.init.Xavier(magnitude=np.float64(2)))
        if hybrid:
            net.hybridize(static_alloc=True)
        settings = {"learning_rate": np.float32(0.05)}
        trainer = gluon.Trainer(net.collect_params(), "adam", settings)
        losses = []
        for _ in range(15):
            with autograd.record():
                loss = objective(net(images), labels)
            loss.backward()
            trainer.step(np.int64(20))
            losses.append(float(loss.mean().asscalar()))
        assert losses[-1] < 0.7 * losses[0], losses
        histories.append(losses)
    same(histories[0], histories[1], 1e-3)


def save_and_load() -> None:
    """Parameters, an exported graph, arrays, an optimiser's states."""
    images = nd.ones((2, 1, 6, 6))
    net = small_net()
    net.initialize(mx.init.Constant(0.1))
    net.hybridize()
    before = net(images)
    with tempfile.TemporaryDirectory() as folder:
        name = str(Path(folder) / "net")
        net.save_parameters(name + ".params")
        other = small_net()
        other.load_parameters(name + ".params")
        same(other(images), before.asnumpy())
        net.export(name, epoch=np.int64(7))
        symbol_file, parameters = name + "-symbol.json", name + "-0007.params"
        with warnings.catch_warnings():
            # MXNet's own remark, with any NumPy, that it cannot tell the input's type.
            warnings.simplefilter("ignore", UserWarning)
            block = gluon.SymbolBlock.imports(symbol_file, ["data"], parameters)
        same(block(images), before.asnumpy())
        nd.save(name, {"a": nd.arange(THREE), "b": nd.ones((TWO,), dtype="int64")})
        same(nd.load(name)["a"], [0, 1, 2])


def index_and_shape() -> None:
    x = nd.arange(12).reshape((THREE, np.int64(-1)))
    same(x[np.int64(1)], [4, 5, 6, 7])
    same(x[ONE : np.int64(3), np.int64(2)], [6, 10])
    same(x[np.array([0, 2]), np.array([1, 3])], [1, 11])
    same(nd.slice(x, begin=(ONE, None), end=(np.int64(2), TWO)), [[4, 5]])
    same(x.sum(axis=(np.int64(0), np.int64(1))), [66])
    same(nd.one_hot(nd.array([1]), depth=np.int64(3)), [[0, 1, 0]])
    same(nd.full((TWO,), np.float32(2.5)), [2.5, 2.5])
    same(nd.array(np.float32(3)), 3)
    same(nd.array([-1, 256], dtype="uint8"), [255, 0])
    x[np.int64(0)] = np.float64(9)
    same(x[0], [9, 9, 9, 9])
    assert nd.random.uniform(np.float32(0), ONE, shape=(TWO, THREE)).shape == (2, 3)


def pad() -> None:
    x = nd.ones((ONE, 1, 2, TWO))
    width = (0, 0, 0, 0, np.int64(1), 0, 0, np.int64(2))
    padded = nd.pad(x, mode="constant", pad_width=width, constant_value=np.float32(5))
    same(padded[0, 0], [[5, 5, 5, 5], [1, 1, 5, 5], [1, 1, 5, 5]])
    moved = nd.moveaxis(nd.zeros((2, 3, 4)), np.int64(0), np.int64(2))
    assert moved.shape == (3, 4, 2)


def numpy_interface() -> None:
    """``mx.np``, its fallbacks, and NumPy's own functions on its arrays."""
    a = mx.np.array([[3.0, 1.0], [2.0, 5.0]])
    same(mx.np.sum(a, axis=np.int64(1)), [4, 7])
    same(mx.np.msort(a), [[2, 1], [3, 5]])
    same(mx.np.in1d(a, mx.np.array([5.0])), [False, False, False, True])
    same(mx.np.trapz(a), [2, 3.5])
    assert mx.np.alltrue(a > 0)
    same(mx.np.linalg.qr(a)[1].shape, (2, 2))
    assert isinstance(np.concatenate([a, a]), mx.np.ndarray)
    same(np.add(a, np.float64(1)), [[4, 2], [3, 6]])
    assert np.divide(a, np.float64(2)).dtype == np.float32
    same(mx.np.random.uniform(size=np.int64(4)).shape, [4])
    assert repr(mx.np.arange(2000.0)).endswith("1.999e+03])"), repr(mx.np.arange(2000))
    assert (mx.np.bool, mx.np.PINF, mx.np.NZERO) == (bool, np.inf, 0.0)


def symbols() -> None:
    """Attributes, shapes and exported text hold plain numbers."""
    data = sym.var("data", shape=(TWO, np.int64(3)), lr_mult=np.float32(2))
    net = sym.FullyConnected(data, num_hidden=np.int64(4), name="fc")
    net = sym.reshape(net, shape=(np.int64(-1), TWO))
    assert "np." not in net.tojson()
    assert data.attr("__shape__") == "(2, 3)"
    assert net.infer_shape(data=(TWO, THREE))[1] == [(4, 2)]
    assert sym.load_json(net.tojson()).tojson() == net.tojson()
    executor = net.simple_bind(mx.cpu(), data=(TWO, THREE))
    assert executor.forward()[0].shape == (4, 2)
    assert repr(nn.Dense(np.int64(3), in_units=TWO)) == "Dense(2 -> 3, linear)"


def metrics() -> None:
    labels, scores = [nd.array([0, 1])], [nd.array([[0.7, 0.3], [0.6, 0.4]])]
    accuracy = mx.metric.create("acc")
    accuracy.update(labels, scores)
    assert accuracy.get() == ("accuracy", 0.5)
    assert str(accuracy) == "EvalMetric: {'accuracy': 0.5}", str(accuracy)
    loss = mx.metric.Loss()
    for _ in range(3):
        loss.update(None, [nd.array([2.0**24 + 2])])
        loss.update(None, [nd.array([1.0])])
    assert loss.sum_metric == 3 * (2**24 + 3), "summed in float32"


def data_loader() -> None:
    """With and without worker processes: the same batches."""
    items = gluon.data.ArrayDataset(np.arange(6, dtype="float32"), list(range(6)))
    for workers in (0, 2):
        loader = gluon.data.DataLoader(items, np.int64(4), num_workers=workers)
        batches = [(x.asnumpy().tolist(), y.asnumpy().tolist()) for x, y in loader]
        assert batches == [([0, 1, 2, 3], [0, 1, 2, 3]), ([4, 5], [4, 5])], batches


def model_zoo() -> None:
    net = gluon.model_zoo.vision.resnet18_v1(classes=np.int64(7))
    net.initialize(mx.init.Xavier())
    net.hybridize()
    assert net(nd.zeros((1, 3, 32, 32))).shape == (1, 7)


def records() -> None:
    with tempfile.TemporaryDirectory() as folder:
        name = str(Path(folder) / "r")
        writer = mx.recordio.MXIndexedRecordIO(name + ".idx", name + ".rec", "w")
        header = mx.recordio.IRHeader(0, np.array([1, 2]), np.int64(5), 0)
        writer.write_idx(np.int64(0), mx.recordio.pack(header, b"content"))
        writer.close()
        reader = mx.recordio.MXIndexedRecordIO(name + ".idx", name + ".rec", "r")
        header, content = mx.recordio.unpack(reader.read_idx(0))
        reader.close()
    assert (header.label.tolist(), content) == ([1, 2], b"content")


def sparse_and_dlpack() -> None:
    matrix = nd.sparse.csr_matrix(
        ([1.0, 2.0], [np.int64(0), 1], [0, 1, 2]), shape=(TWO, THREE)
    )
    same(matrix, [[1, 0, 0], [0, 2, 0]])
    same(matrix[ONE : np.int64(2)], [[0, 2, 0]])
    rows = nd.sparse.row_sparse_array((np.ones((1, 2)), [np.int64(2)]), shape=(3, TWO))
    same(rows, [[0, 0], [0, 0], [1, 1]])
    same(nd.from_dlpack(nd.ones((2,)).to_dlpack_for_read()), [1, 1])
    same(nd.from_numpy(np.ones((2, 2), "float32")), np.ones((2, 2)))


def test_utils() -> None:
    utils = mx.test_utils
    square = sym.square(sym.var("x"))
    utils.check_numeric_gradient(square, [np.ones((2, 2))], numeric_eps=1e-3)
    utils.assert_almost_equal(nd.ones((2,)), np.ones(2), rtol=np.float32(1e-3))
    options = np.get_printoptions()
    message = ""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            utils.assert_almost_equal(np.array([[1.0, 2.0]]), np.array([[1.0, 3.0]]))
    except AssertionError as error:
        message = str(error)
    finally:
        np.set_printoptions(**options)  # which that function changes
    assert "(0, 1)" in message, message


CHECKS: tuple[Callable[[], None], ...] = (
    *(train, save_and_load, index_and_shape, pad, numpy_interface, symbols, metrics),
    *(data_loader, model_zoo, records, sparse_and_dlpack, test_utils),
)


def main() -> int:
    assert mxnet is mx
    failed = []
    for check in CHECKS:
        try:
            check()
            nd.waitall()
        except Exception:
            failed.append(check.__name__)
            traceback.print_exc()
    summary = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "mxnet": mx.__version__,
        "import_s": round(IMPORT_SECONDS, 2),
        "checks": len(CHECKS),
        "failed": failed,
    }
    print(json.dumps(summary))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
