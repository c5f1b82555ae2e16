"""Tests where MXNet is missing: what is skipped, what is judged, and that it shows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest
import without_mxnet

ROOT = Path(__file__).resolve().parents[2]

# Whatever runs in this file's child processes finds no MXNet.
HIDDEN = """
import sys
from importlib.machinery import PathFinder

class WithoutMXNet(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] != "mxnet":
            return super().find_spec(name, path, target)

sys.meta_path[:] = [WithoutMXNet if f is PathFinder else f for f in sys.meta_path]
"""
TESTS = """
import subprocess, sys
from types import SimpleNamespace
import pytest, torch
import d2lutils.pytorch
from d2lutils.compat import mx
from d2lutils.gluon import blocks as gluon_blocks
from d2lutils.gluon.nin import nin_small
from d2lutils.pytorch import blocks
from without_mxnet import halves_here, judged

gnn = mx.gluon.nn

class Own(gnn.HybridBlock):
    def __init__(self):
        super().__init__()

HALVES = {
    "gluon": SimpleNamespace(chunk=gluon_blocks.ConvChunk, x=mx.nd.ones((2, 2, 5))),
    "pytorch": SimpleNamespace(chunk=blocks.ConvChunk, x=torch.ones(2, 2, 5)),
}
HERE = halves_here(HALVES)

# -- these pass everywhere

@pytest.mark.parametrize("half", HALVES)
def test_shape(half):  # of gluon is skipped
    chunk = HALVES[half].chunk(2, 3, 3)
    if half == "gluon":
        chunk.initialize()
    assert tuple(chunk(HALVES[half].x).shape) == (2, 3, 5)
    mx.nd.waitall()

def test_each_half_that_is_here():
    assert all(half.chunk(2, 3, 3) for half in HERE.values())

def test_the_package_sees_no_stand_in():
    kinds = {type(module).__name__ for module in sys.modules.values()}
    assert "StandIn" not in kinds

# -- these need MXNet

def test_head(): assert len(mx.nd.ones((2, 2)).asnumpy()) == 2
def test_class(): assert isinstance(Own(), gnn.Block)
def test_function(): assert nin_small(10)
def test_by_name(): assert HERE["gluon"]
def test_late():
    from d2lutils.compat import mx
    assert mx
def test_native():
    import mxnet
    assert mxnet

@pytest.mark.parametrize("net", [gnn.Dense(2)])
def test_parameter(net): assert type(net).__name__ == "Dense"
def test_by_the_name_of_its_module(monkeypatch):
    monkeypatch.setattr(nin_small.__module__ + ".nin_block", len)

@pytest.fixture
def ones(): return mx.nd.ones(2)
def test_fixture(ones): assert ones is not None

@pytest.mark.needs_mxnet
def test_elsewhere():
    code = "import d2lutils.compat"
    subprocess.run([sys.executable, "-c", code], check=True)
"""
NEED_MXNET = 11
# Each of these is red without MXNet, too: a wrong PyTorch half, a half that there is
# not, another failed import, a PyTorch half that imports MXNet.
FAULTS = """
def test_wrong(): assert blocks.ConvChunk is None
def test_name(): HERE["jax"]
def test_import(): import no_such_module
def test_half():
    name = next(iter(d2lutils.pytorch.__path__)) + "/planted.py"
    exec(compile("import d2lutils.compat", name, "exec"))
"""


def run(folder: Path, tests: str) -> tuple[int, list[tuple[str, str]]]:
    """pytest's exit status without MXNet; (what became of it, why) for each test."""
    for name in ("conftest.py", "without_mxnet.py"):
        shutil.copy(ROOT / "tests" / name, folder)
    (folder / "test_some.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    (folder / "hidden").mkdir()
    (folder / "hidden" / "sitecustomize.py").write_text(HIDDEN)
    path = os.pathsep.join([str(folder / "hidden"), str(ROOT)])
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--junitxml=r.xml", "test_some.py"],
        cwd=folder,
        env=kept | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = []
    assert (folder / "r.xml").exists(), ran.stdout + ran.stderr
    for case in ElementTree.parse(folder / "r.xml").iter("testcase"):
        skipped, child = case.find("skipped"), next(iter(case), None)
        why = "" if skipped is None else skipped.get("message", "")
        found.append(("passed" if child is None else child.tag, why))
    return ran.returncode, found


@pytest.mark.rare
def test_without_mxnet_what_needs_it_is_skipped_for_one_reason(tmp_path: Path) -> None:
    code, found = run(tmp_path, TESTS + FAULTS)
    assert Counter(found) == {
        ("passed", ""): 3,
        ("skipped", without_mxnet.REASON): NEED_MXNET,
        ("failure", ""): FAULTS.count("def test"),
    }
    assert code == 1


def test_what_counts_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "mxnet", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert without_mxnet.is_missing()
    (tmp_path / "mxnet" / "__pycache__").mkdir(parents=True)  # left behind
    assert without_mxnet.is_missing()
    (tmp_path / "mxnet" / "__init__.py").write_text("raise OSError('does not load')")
    assert not without_mxnet.is_missing()  # and so the tests that need it are red
