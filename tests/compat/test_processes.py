"""MXNet's data loaders with worker processes, whatever the start method is."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mxnet") is None, reason="MXNet is not installed"
)
LOAD = """
import multiprocessing, sys
if sys.argv[1] != "default":
    multiprocessing.set_start_method(sys.argv[1])
from d2lutils.compat import mx
import numpy as np
from mxnet.gluon.data import ArrayDataset, DataLoader
from mxnet.gluon.data.dataloader import DataLoaderV1

method = multiprocessing.get_start_method(allow_none=True)
data = ArrayDataset(np.arange(6, dtype="float32"), list(range(6)))
loaders = [DataLoader]
if sys.argv[1] != "spawn":
    data = data.transform_first(lambda x: mx.nd.array([x]))  # cannot be pickled
    loaders += [DataLoaderV1]
for loader in loaders:
    batches = [y.asnumpy().tolist() for x, y in loader(data, 4, num_workers=1)]
    assert batches == [[0, 1, 2, 3], [4, 5]], batches
if method:
    assert multiprocessing.get_start_method() == method
"""


# By default workers are forked, from Python 3.14 on by a server.
@pytest.mark.parametrize("method", ["default", "spawn"])
def test_workers_load(method: str) -> None:
    """Without a ``__main__`` that could be imported again, as in a notebook."""
    if method == "spawn" or sys.platform.startswith("linux"):
        command = [sys.executable, "-W", "error", "-c", LOAD, method]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
