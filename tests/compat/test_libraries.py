"""MXNet on a system without libgomp and libquadmath, which a subclass of ctypes plays.

Needs the wheels that carry them, and pytest and MXNet. A real system without them is
made by ``debootstrap --variant=minbase``.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from d2lutils._compat import libraries

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux")
    or any(importlib.util.find_spec(name) is None for name in ("mxnet", "sklearn")),
    reason="needs Linux, MXNet and the wheels of scikit-learn",
)
GOMP, QUADMATH = "libgomp.so.1", "libquadmath.so.0"
NOT_FOUND = "{}: cannot open shared object file: No such file or directory"

# The loader's rule, as far as it matters here: a library that is found beside
# libmxnet.so is taken from there, and libmxnet.so is loaded once.
SYSTEM = f"""
import ctypes, os, sys

class System(ctypes.CDLL):
    loaded, folders = False, []

    def __init__(self, name, *args, **kwargs):
        folder, file = os.path.split(str(name or ""))
        if file == "libmxnet.so" and not System.loaded:
            System.folders.append(folder)
            for library in ("{GOMP}", "{QUADMATH}"):
                if not os.path.exists(os.path.join(folder, library)):
                    raise OSError("{NOT_FOUND}".format(library))
            System.loaded = True
        super().__init__(name, *args, **kwargs)

ctypes.CDLL = System
"""
WORK = """
from d2lutils._compat import libraries
from d2lutils.compat import mx

assert set(libraries.BORROWED) == {"libgomp.so.1", "libquadmath.so.0"}
assert not any(map(os.path.exists, System.folders[1:])), System.folders
with open("/proc/self/maps") as file:
    mapped = file.read()
for path in libraries.BORROWED.values():
    assert str(path.resolve()) in mapped, path
assert mapped.count("libmxnet.so") == mapped.count("mxnet/libmxnet.so")

layer = mx.gluon.nn.Conv2D(8, 3)
layer.initialize()
with mx.autograd.record():
    loss = layer(mx.nd.ones((2, 8, 6, 6))).sum()
loss.backward()
assert layer.weight.grad().sum().asscalar() == 2 * 16 * 8 * 9 * 8
assert mx.nd.dot(mx.nd.ones((9, 9)), mx.nd.ones((9, 9))).sum().asscalar() == 729
"""


def start(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SYSTEM + textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def outcome(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, ""), errors
    return output


def test_two_processes_at_once_borrow_both_libraries() -> None:
    """One of them is the doctor, who says where they are from."""
    ask = """
        from d2lutils import doctor
        print(doctor.answer("MXNet")[0].detail)
        """
    working, doctor = start(WORK), start(ask)
    outcome(working)
    pattern = f"{GOMP} of (torch|scikit_learn), {QUADMATH} of [a-z]"
    assert re.search(pattern, outcome(doctor))


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"
)
def test_torch_imported_later_uses_the_same_openmp() -> None:
    code = """
        import torch
        assert torch.nn.Conv2d(8, 8, 3)(torch.ones(1, 8, 5, 5)).shape == (1, 8, 3, 3)
        with open("/proc/self/maps") as file:
            gomp = {line.split()[-1] for line in file if "libgomp" in line}
        [shared] = [path for path in gomp if "/scikit_learn.libs/" not in path]
        assert "/torch/lib/" in shared
        """
    outcome(start(WORK + textwrap.dedent(code)))


def test_message_where_no_wheel_has_it() -> None:
    """It names the library and its package, not MXNet; so does the doctor."""
    code = """
        from d2lutils import doctor
        from d2lutils._compat import libraries
        libraries._copies = lambda name: iter(())
        try:
            import d2lutils.compat
        except ImportError as error:
            print(error)
        print(*doctor.answer("MXNet"))
        assert "mxnet" not in sys.modules
        """
    message, found = outcome(start(code)).splitlines()
    assert message.startswith("libgomp.so.1, which MXNet needs, is not on this system")
    assert "apt-get install libgomp1;" in message
    assert "d2lutils.pytorch" in message
    assert "pip install" not in message
    assert "state='broken'" in found
    assert "detail='libgomp.so.1, which it needs, is not on this system'" in found
    assert "cure='apt-get install libgomp1'" in found


def test_a_library_that_does_not_fit_is_tried_once(tmp_path: Path) -> None:
    (tmp_path / "libmxnet.so").write_text("not a library")
    with pytest.raises(OSError, match=r"invalid ELF|file too short"):
        libraries.load(tmp_path / "libmxnet.so", OSError(NOT_FOUND.format(GOMP)))
    assert libraries.BORROWED == {}


def test_missing_names_the_library_only_where_one_is_missing() -> None:
    assert libraries.missing(OSError(NOT_FOUND.format(GOMP))) == GOMP
    assert libraries.missing(OSError("/a/b.so: undefined symbol: x")) == ""
    unknown = libraries.MissingLibraryError("libxyz.so.3")
    assert (unknown.library, unknown.cure) == ("libxyz.so.3", "")
