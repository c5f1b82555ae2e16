"""Which import brings in which framework: each half lives without the other."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import d2lutils
import d2lutils.pytorch

# compat is the bridge to MXNet: importing it is importing MXNet.
CORE = [
    f"d2lutils.{module.name}"
    for module in pkgutil.iter_modules(d2lutils.__path__)
    if module.name not in ("compat", "gluon", "pytorch", "_compat")
]
HALF = [module.name for module in pkgutil.iter_modules(d2lutils.pytorch.__path__)]

CHILD = """
import importlib, sys

class Missing:
    '''Makes a framework look as if it were not installed.'''
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Missing())
for name in {modules!r}:
    importlib.import_module(name)
print(sorted({{"mxnet", "torch"}} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("modules", "hidden", "frameworks"),
    [
        (["d2lutils"], (), "[]"),
        (CORE, (), "[]"),
        (CORE, ("mxnet", "torch"), "[]"),
        ([f"d2lutils.pytorch.{name}" for name in HALF], ("mxnet",), "['torch']"),
        pytest.param(
            *([f"d2lutils.gluon.{name}" for name in HALF], ("torch",), "['mxnet']"),
            marks=pytest.mark.needs_mxnet,
        ),
    ],
    ids=["package", "core", "core without frameworks", "pytorch", "gluon"],
)
def test_frameworks(
    modules: list[str], hidden: tuple[str, ...], frameworks: str
) -> None:
    code = CHILD.format(modules=modules, hidden=hidden)
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.stdout.strip(), done.stderr) == (frameworks, "")
