"""Tests in environments other than `.venv`; `nox -l` lists them.

- ``bridge``: ``tests/compat`` for MXNet with each supported NumPy of each Python, from
  3.12 on with and without setuptools (which brings ``distutils`` back).
- ``torch``: the locked PyTorch with the newest NumPy, and the oldest supported PyTorch
  with NumPy 1.26, on each Python with builds of both. The PyTorch half's tests run
  without MXNet, then a few parity tests with it. On the book's oldest and newest Python
  all chapters run, too.
- ``without-mxnet``: the book and its tests with this Python, as on Apple silicon and
  Windows.
- ``newest``: all tests with the newest versions that the requirements allow.
- ``colab``: every chapter in runtimes like Colab's.
- ``stable``: the stored outputs under other settings of this machine, in the
  environment that nox runs in. A cell that moved is red with the comparer's words; the
  cure is at the cause (float64 where that is cheap), not a tolerance.

``make test-matrix LEGS="3.12 torch2.8"`` runs the legs of bridge and torch that have
one of these tags: a Python, a NumPy or PyTorch, ``bridge``, ``torch``, ``setuptools``,
or a leg's whole name.
Environments are kept in ``.matrix/``; those with a CUDA build of PyTorch, about 5 GB
each, only with ``KEEP=1``. A run that skips too many tests fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import nox
from packaging.requirements import Requirement

ROOT = Path(__file__).parent
nox.options.envdir = ".matrix"
nox.options.reuse_venv = "yes"
nox.options.sessions = []
# Legs that LEGS names must run; without it, those whose Python is missing are skipped.
nox.options.error_on_missing_interpreters = bool(os.environ.get("LEGS"))
# pyenv's shim `python3.12` starts only the version that pyenv is set to.
for folder in sorted(Path.home().glob(".pyenv/versions/3.*/bin"), reverse=True):
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"

# "newest" is unpinned: pip takes the newest NumPy with a wheel for the Python.
NUMPY = {
    "3.10": ("1.26", "2.0", "newest"),
    "3.11": ("1.26", "2.0", "newest"),
    "3.12": ("1.26", "2.0", "newest"),
    "3.13": ("2.1", "newest"),
    "3.14": ("2.3", "newest"),
    "3.15": ("newest",),
}
PYTHONS = tuple(NUMPY)
#: The oldest PyTorch runs with NumPy 1.26, which Python 3.13 does not have.
OLDEST_TORCH_UP_TO = "3.12"
MXNET = "mxnet==1.9.1"
# MXNet's own two requirements, and two packages whose wheels have libraries that MXNet
# needs and a slim system lacks: scikit-learn's libgomp, SciPy's libquadmath.
BRIDGE = ("requests", "graphviz", "pytest", "scikit-learn", "scipy")
# Imported by the PyTorch half's tests, beyond the package's own dependencies.
TORCH = ("requests", "graphviz", "pytest", "pytest-xdist", "hypothesis", "ipykernel")
#: Needed to run the chapters and compare their outputs.
CHAPTERS = ("nbval", "nbclient", "jupytext")
#: Tests that compare blocks and whole trainings with MXNet.
PARITY = (
    "tests/blocks/test_residual.py",
    "tests/blocks/test_training.py",
    "tests/parity/test_copy_parameters.py",
)
HALF = (
    *("tests", "--ignore=tests/chapters", "--ignore=tests/book"),
    *("--ignore=tests/compat", "--doctest-modules", "d2lutils"),
)
#: The share of tests that must run and not be skipped.
ABOUT_HALF, NEARLY_ALL = 0.4, 0.9
#: Python → NumPy, from Colab's published lists: its current and previous runtime.
COLAB = {"3.13": "2.1.3", "3.12": "2.0.2"}
COLAB_PACKAGES = (
    *("torch==2.11.0", "ipython==7.34.0", "ipykernel==6.17.1", "setuptools==75.2.0"),
    *("matplotlib==3.10.0", "graphviz==0.21"),
    *("requests", "scikit-learn", "tqdm", "pygments", "pooch", "nbclient", "pyyaml"),
)
#: What differs between the runs of ``stable``: variables of the environment.
SETTINGS = {
    "threads-1": {"D2L_THREADS": "1"},
    "threads-2": {"D2L_THREADS": "2"},
    # PyTorch's own kernels, its oneDNN, MXNet's older oneDNN, and MKL.
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "DNNL_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "busy": {},  # every core has something else to do
}
# Prints what became of a setting, as the frameworks themselves see it.
REACHED = """
import os
from tools import execute
os.environ.update(execute.fixed_environment(), DNNL_VERBOSE="1")
import torch
from d2lutils.compat import mx
weight = mx.nd.ones((8, 8, 3, 3))
mx.nd.Convolution(mx.nd.ones((1, 8, 8, 8)), weight, no_bias=True, kernel=(3, 3),
                  num_filter=8).wait_to_read()
threads = torch.get_num_threads()
print("PyTorch:", torch.backends.cpu.get_cpu_capability(), threads, "threads")
"""
# Ends by itself, too: when the process that started it is gone.
SPIN = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(1_000_000):
        pass
"""
#: For a cell. A busy machine is slow, and slowness is not judged here.
PATIENCE_SECONDS = 900


def locked_torch(python: str) -> str:
    """The locked version of PyTorch for a Python."""
    lock = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = map(Requirement, re.findall(r"^torch==.*", lock, re.MULTILINE))
    here = {"python_version": python}
    (pin,) = (p for p in pins if p.marker is None or p.marker.evaluate(here))
    return str(pin.specifier).removeprefix("==")


def oldest_torch() -> str:
    """The oldest version of PyTorch that the requirements allow."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    return re.findall(r"^torch>=(\d+\.\d+)$", text, re.MULTILINE)[0] + ".0"


def bridge_legs() -> Iterator[nox.param]:
    """Python, NumPy, and whether setuptools is installed."""
    for python, versions in NUMPY.items():
        for numpy in versions:
            for setuptools in (False, True) if python >= "3.12" else (False,):
                more = ["setuptools"] * setuptools
                name = "-".join([python, f"numpy{numpy}", *more])
                tags = ["matrix", "bridge", name, python, f"numpy{numpy}", *more]
                yield nox.param(python, numpy, setuptools, id=name, tags=tags)


def torch_legs() -> Iterator[nox.param]:
    """Python, NumPy, PyTorch, and whether the chapters run, too."""
    ends = (("3.11", oldest_torch()), (PYTHONS[-1], locked_torch(PYTHONS[-1])))
    for python in PYTHONS:
        versions = [("newest", locked_torch(python))]
        if python <= OLDEST_TORCH_UP_TO:
            versions.insert(0, ("1.26", oldest_torch()))
        for numpy, torch in versions:
            kind = f"torch{'.'.join(torch.split('.')[:2])}"
            name = f"{python}-{kind}"
            tags = ["matrix", "torch", name, python, kind]
            chapters = (python, torch) in ends
            yield nox.param(python, numpy, torch, chapters, id=name, tags=tags)


def numpy_pin(numpy: str) -> str:
    """The requirement for pip."""
    return "numpy" if numpy == "newest" else f"numpy=={numpy}.*"


def run_pytest(
    session: nox.Session, *arguments: str, passes: float, path: str = ""
) -> None:
    """Run tests in a session; at least the share ``passes`` must not be skipped.

    ``path`` is an additional folder on Python's import path.
    """
    report = Path(session.create_tmp()) / "report.xml"
    shared = ["-n", "2", "--dist", "loadfile"] * ("--noconftest" not in arguments)
    session.run(
        *("python", "-m", "pytest", "-q", f"--junitxml={report}", *shared),
        *("-p", "no:cacheprovider", *arguments),
        env={
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), path))),
            "PYTHONUTF8": "1",  # Windows has another default encoding
            "D2L_STORED_OUTPUTS": "1",
        },
    )
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    tests = sum(int(suite.get("tests", 0)) for suite in suites)
    skipped = sum(int(suite.get("skipped", 0)) for suite in suites)
    if tests - skipped < passes * tests:
        session.error(f"{skipped} of {tests} tests were skipped: this proves nothing")


def tests_of_tools() -> list[str]:
    """The test files of the repository's own tools, which need the book's packages."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    needs = re.compile(r"^from tools|^import noxfile", re.MULTILINE)
    return [str(f) for f in files if needs.search(f.read_text(encoding="utf-8"))]


@nox.session
@nox.parametrize("python, numpy, setuptools", [*bridge_legs()])
def bridge(session: nox.Session, numpy: str, setuptools: bool) -> None:
    """MXNet with one version of NumPy."""
    if not setuptools:  # a new virtual environment may have it
        session.run("pip", "uninstall", "--quiet", "--yes", "setuptools", silent=True)
    session.install(numpy_pin(numpy), *BRIDGE, *["setuptools"] * setuptools)
    session.install("--no-deps", MXNET)
    session.run("python", "tests/compat/probe.py", env={"PYTHONPATH": str(ROOT)})
    run_pytest(session, "--noconftest", "tests/compat", passes=NEARLY_ALL)


@nox.session
@nox.parametrize("python, numpy, torch, chapters", [*torch_legs()])
def torch(session: nox.Session, numpy: str, torch: str, chapters: bool) -> None:
    """The PyTorch half without MXNet, then with it."""
    more = CHAPTERS if chapters else ()
    project = nox.project.load_toml(ROOT / "pyproject.toml")["project"]
    needs = project["dependencies"]
    session.install(numpy_pin(numpy), f"torch=={torch}", *TORCH, *more, *needs)
    others = [f"--ignore={path}" for path in tests_of_tools()]
    run_pytest(session, *HALF, *others, passes=ABOUT_HALF)
    mxnet = str(Path(session.create_tmp()) / "mxnet")
    session.install("--no-deps", "--upgrade", "--target", mxnet, MXNET)
    run_pytest(session, *PARITY, passes=1, path=mxnet)
    if chapters:
        run_pytest(session, "--nbval", "chapters", passes=1, path=mxnet)
    place = Path(session.virtualenv.location)
    if any(place.glob("**/site-packages/nvidia")) and not os.environ.get("KEEP"):
        session.log(f"removing {place}; KEEP=1 keeps it")
        shutil.rmtree(place)


@nox.session(name="without-mxnet")
def without_mxnet(session: nox.Session) -> None:
    """The PyTorch half, every notebook and the book, where MXNet is not installed."""
    session.install("-c", "constraints.txt", "-e", ".[book,test]", "torch")
    lookup = "import importlib.util as u; print(u.find_spec('mxnet'))"
    if (session.run("python", "-c", lookup, silent=True) or "").strip() != "None":
        session.error("MXNet is in this environment: this would prove nothing")
    run_pytest(session, *HALF, passes=ABOUT_HALF)
    chapters = ("--nbval", "tests/chapters", "chapters", "book")
    run_pytest(session, *chapters, passes=NEARLY_ALL)
    session.run("python", "-m", "tools.build")
    said = session.run("python", "-m", "d2lutils", "doctor", silent=True) or ""
    session.log(said)
    if not re.search(r"^ *missing +MXNet\b", said, re.MULTILINE):
        session.error("the doctor does not say that MXNet is missing")


@nox.session(reuse_venv=False)
def newest(session: nox.Session) -> None:
    """All tests with the newest versions; the newest Python has the newest NumPy."""
    session.install("-r", "requirements.txt", "-e", ".[book,test]")
    if sys.platform == "linux" and sys.version_info >= (3, 13):
        session.install("--no-deps", MXNET)
    session.run("python", "-m", "tools.test", *session.posargs)


@nox.session(python=[*COLAB], tags=["colab"])
def colab(session: nox.Session) -> None:
    """Every chapter in a runtime like Colab's (about 5 GB each)."""
    session.install("pip", f"numpy=={COLAB[str(session.python)]}", *COLAB_PACKAGES)
    session.run("python", "-m", "tools.colab", *session.posargs)


@nox.session(venv_backend="none")
@nox.parametrize(
    "setting", [nox.param(name, id=name, tags=["stable", name]) for name in SETTINGS]
)
def stable(session: nox.Session, setting: str) -> None:
    """The stored outputs with one thread or two, with AVX2 alone, on busy cores."""
    variables = {"D2L_STORED_OUTPUTS": "1", **SETTINGS[setting]}
    session.run(sys.executable, "-c", REACHED, env=variables)
    command = [sys.executable, "-c", SPIN, str(os.getpid())]
    count = (os.cpu_count() or 1) if setting == "busy" else 0
    spinners = [subprocess.Popen(command) for _ in range(count)]
    try:
        session.run(
            *(sys.executable, "-m", "pytest", "-q", "-n", "2", "--nbval"),
            *(f"--nbval-cell-timeout={PATIENCE_SECONDS}", "-p", "no:cacheprovider"),
            *(session.posargs or ("chapters", "book")),
            env=variables,
        )
    finally:
        for spinner in spinners:
            spinner.kill()
