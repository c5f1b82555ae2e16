"""MXNet's CUDA build: who may have it, how it is set up, what is loaded for it.

Nothing here needs a card, a network or the CUDA build: pip is a recorder, and so is the
loader, but for the test that compiles small libraries.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from d2lutils._compat import cuda11

ROOT = Path(__file__).resolve().parents[2]
LINUX = ("Linux", "x86_64")
#: The cards that the wheel has machine code for, as read from its fat binaries.
CODE = [(5, 0), (6, 0), (7, 0), (8, 0), (8, 6)]
OURS = [str(library.path) for library in cuda11.LIBRARIES]


def place(
    monkeypatch: pytest.MonkeyPatch,
    card: tuple[int, int] | None = (7, 5),
    here: tuple[str, str] = LINUX,
) -> None:
    """This machine has that card and is of that kind."""
    monkeypatch.setattr(cuda11, "capability", lambda: card)
    monkeypatch.setattr(cuda11.platform, "system", lambda: here[0])
    monkeypatch.setattr(cuda11.platform, "machine", lambda: here[1])


def has(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """These packages are installed, and no others."""
    found = {name.replace("_", "-"): version for name, version in versions.items()}
    monkeypatch.setattr(cuda11, "_version", lambda name: found.get(name, ""))


# --- who may have it ------------------------------------------------------------------


def test_a_card_is_refused_unless_some_code_runs_on_it() -> None:
    """Machine code runs on cards of its major number, from its minor one on."""
    for card in ((major, minor) for major in range(1, 14) for minor in range(10)):
        runs = any(card[0] == m and card[1] >= n for m, n in CODE)
        assert (cuda11.refusal(card, *LINUX) == "") == runs, card


@pytest.mark.parametrize(
    ("card", "here", "words"),
    [
        ((3, 7), LINUX, "compute capability 3.7, and .* begins at 5.0"),
        ((9, 0), LINUX, "compute capability 9.0, and .* up to 8.9"),
        (None, LINUX, "no NVIDIA card answers"),
        ((8, 0), ("Darwin", "arm64"), "for Linux on x86-64; this is Darwin arm64"),
    ],
)
def test_where_it_cannot_run_nothing_is_changed(
    card: tuple[int, int] | None,
    here: tuple[str, str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place(monkeypatch, card, here)
    with pytest.raises(RuntimeError, match=rf"^Nothing was changed: .*{words}"):
        cuda11.install(run=lambda command: pytest.fail(f"ran {command}"))
    assert cuda11.main(["--install"]) == 1
    assert "Nothing was changed" in capsys.readouterr().err


class Driver:
    """A driver with one card of compute capability 7.5, and a call that fails."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            if name == "cuDeviceGetAttribute":
                arguments[0]._obj.value = {75: 7, 76: 5}[arguments[1]]
            return 100 if name == self.fails else 0

        return call


def test_the_driver_is_asked_for_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    assert cuda11.capability() == (7, 5)
    for call in ("cuInit", "cuDeviceGet", "cuDeviceGetAttribute"):
        monkeypatch.setattr(ctypes, "CDLL", lambda name, call=call: Driver(call))
        assert cuda11.capability() is None
    monkeypatch.undo()
    monkeypatch.setattr(cuda11, "DRIVER", "libno-such-driver.so.1")
    assert cuda11.capability() is None


# --- setting it up --------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with the CPU build of MXNet, and a card that is supported."""
    place(monkeypatch)
    monkeypatch.setattr(cuda11, "FOLDER", tmp_path / "site" / "cuda11")
    has(monkeypatch, mxnet="1.9.1")
    return cuda11.FOLDER


def put_libraries() -> None:
    """What `install` leaves in FOLDER."""
    for name, version in cuda11._PINS.items():
        info = cuda11.FOLDER / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(text)
    for library in cuda11.LIBRARIES:
        library.path.parent.mkdir(parents=True, exist_ok=True)
        library.path.touch()


class Pip:
    """Records what pip is asked for; fails at the n-th call."""

    def __init__(self, fails_at: int = -1) -> None:
        self.calls: list[list[str]] = []
        self.fails_at = fails_at

    def __call__(self, command: Sequence[str]) -> int:
        assert list(command[:3]) == [sys.executable, "-m", "pip"]
        words = [word for word in command[3:] if word != "--disable-pip-version-check"]
        self.calls.append(words)
        return int(len(self.calls) - 1 == self.fails_at)


def test_what_pip_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pip = Pip()
    cuda11.install(run=pip)
    told = capsys.readouterr().out
    assert "about 2.1 GB" in told
    assert all(name in told for name in cuda11.REQUIREMENTS)
    download, libraries, remove, mxnet = pip.calls
    assert [call[0] for call in (download, libraries, mxnet)] == [
        *("download", "install", "install")
    ]
    names = [name for name in download if "==" in name]
    assert names == list(cuda11.REQUIREMENTS)
    assert [name for name in libraries if "==" in name] == names[1:]
    assert libraries[libraries.index("--target") + 1] == str(folder)
    assert (remove[0], remove[-1]) == ("uninstall", "mxnet")
    assert mxnet[-1] == "mxnet-cu117==1.9.1"
    assert "--target" not in mxnet
    for call in (download, libraries, mxnet):
        assert "--no-deps" in call  # NumPy and PyTorch stay as they are
    for call in (libraries, mxnet):  # all was downloaded before anything changed
        assert "--no-index" in call
        source = call[call.index("--find-links") + 1]
        assert source == download[download.index("--dest") + 1]
    has(monkeypatch)  # nothing is removed where there is no MXNet
    cuda11.install(run=(again := Pip()))
    assert "uninstall" not in [call[0] for call in again.calls]


@pytest.mark.parametrize("step", [0, 2])
def test_a_step_that_fails_is_the_last(folder: Path, step: int) -> None:
    put_libraries()
    pip = Pip(fails_at=step)
    with pytest.raises(RuntimeError, match=r"failed \(exit status 1\).*mxnet==1\.9\.1"):
        cuda11.install(run=pip)
    assert len(pip.calls) == step + 1
    # A download that fails has touched nothing.
    assert folder.exists() == (step == 0)


def test_installed_means_all_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    has(monkeypatch, mxnet_cu117="1.9.1")
    assert not cuda11.installed()
    put_libraries()
    assert cuda11.installed()
    cuda11.install(run=lambda command: pytest.fail(f"ran {command}"))
    assert "installed already" in capsys.readouterr().out
    library = cuda11.LIBRARIES[-1].path
    library.unlink()
    assert not cuda11.installed()
    library.touch()
    (info,) = folder.glob("nvidia_cudnn_cu11-*")
    text = (info / "METADATA").read_text()
    (info / "METADATA").write_text(text.replace("8.5.0.96", "8.9.4.25"))
    assert not cuda11.installed()
    (info / "METADATA").write_text(text)
    has(monkeypatch, mxnet_cu117="1.9.1", mxnet="1.9.1")  # one overwrites the other
    assert not cuda11.installed()


def test_the_command_looks(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cuda11.main([]) == 0
    told = capsys.readouterr().out
    assert "card       compute capability 7.5" in told
    assert "can be set up: python -m d2lutils cuda11 --install" in told
    put_libraries()
    has(monkeypatch, mxnet_cu117="1.9.1")
    assert cuda11.main(["--check"]) == 0
    told = capsys.readouterr().out
    assert "libraries  10 of 10" in told
    assert "MXNet's CUDA build is set up" in told
    place(monkeypatch, card=None)
    assert cuda11.main([]) == 1
    assert "cannot run here: no NVIDIA card answers" in capsys.readouterr().out


# --- loading --------------------------------------------------------------------------


class Loader:
    """Stands in for ctypes.CDLL: opens what is there, and remembers the order."""

    def __init__(self, *there: str | Path, process: Sequence[str] = ()) -> None:
        self.there = {str(place) for place in there}
        self.process = set(process)
        self.opened: list[str] = []

    def __call__(self, place: str, mode: int = 0) -> None:
        if mode == os.RTLD_NOLOAD:
            if place not in self.process:
                raise OSError
            return
        assert mode == ctypes.RTLD_LOCAL, "its symbols would be offered to PyTorch"
        if place not in self.there:
            raise OSError(f"{place}: cannot open shared object file")
        self.opened.append(place)
        self.process.add(Path(place).name)


def load(monkeypatch: pytest.MonkeyPatch, loader: Loader, **others: Path) -> list[str]:
    """What `preload` opens, after the driver; `others` are another package's."""
    if not hasattr(os, "RTLD_NOLOAD"):
        pytest.skip("Windows loads libraries in another way; there is no such build")
    found = {path.name: path for path in others.values()}
    monkeypatch.setattr(cuda11, "_libraries_elsewhere", lambda: found)
    monkeypatch.setattr(ctypes, "CDLL", loader)
    cuda11.preload()
    assert loader.opened[0] == cuda11.DRIVER
    return loader.opened[1:]


def test_each_is_loaded_once_after_what_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loader = Loader(cuda11.DRIVER, *OURS, process=["libnccl.so.2"])
    opened = load(monkeypatch, loader)
    assert opened == [path for path in OURS if not path.endswith("libnccl.so.2")]
    names = [Path(path).name.split(".")[0] for path in opened]
    assert names.index("libcudart") < names.index("libcublas")
    assert names.index("libcublas") < names.index("libcusolver")
    assert names.index("libcublas") < names.index("libcudnn")
    assert load(monkeypatch, loader)[len(opened) :] == [cuda11.DRIVER]


def test_a_library_of_the_same_name_from_another_package_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """PyTorch's NCCL has what both ask for, ours has not; cuRAND is the exception."""
    theirs = {"nccl": tmp_path / "libnccl.so.2", "curand": tmp_path / "libcurand.so.10"}
    opened = load(monkeypatch, Loader(cuda11.DRIVER, *OURS, *theirs.values()), **theirs)
    assert str(theirs["nccl"]) in opened
    assert str(theirs["curand"]) not in opened
    # Ours serves where the other does not load, and the system's comes last.
    broken = tmp_path / "libcusolver.so.11"
    names = [library.name for library in cuda11.LIBRARIES]
    for there in (OURS, OURS[:2] + names[2:]):
        loader = Loader(cuda11.DRIVER, *there)
        assert load(monkeypatch, loader, cusolver=broken) == there


def test_what_is_missing_is_named_with_its_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = cuda11.LIBRARIES[7]
    rest = [path for path in OURS if path != str(library.path)]
    with pytest.raises(ImportError) as caught:
        load(monkeypatch, Loader(cuda11.DRIVER, *rest))
    for words in (
        "needs libcudnn.so.8 from the package nvidia-cudnn-cu11==8.5.0.96",
        f"{library.path}: cannot open",
        "python -m d2lutils cuda11 --install",
        "pip install --no-deps mxnet==1.9.1",
    ):
        assert words in str(caught.value)
    with pytest.raises(ImportError, match=r"driver .*\(libcuda\.so\.1\).*CPU"):
        load(monkeypatch, Loader(*OURS))


def test_of_two_libraries_the_earlier_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("second", "first"):
        library = tmp_path / name / "nvidia" / "nccl" / "lib" / "libnccl.so.2"
        library.parent.mkdir(parents=True)
        library.touch()
        monkeypatch.syspath_prepend(tmp_path / name)
    assert cuda11._libraries_elsewhere()["libnccl.so.2"] == library


def printed(script: str, first: Path) -> str:
    """What an indented script prints in a new process that finds a folder first."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (first, ROOT)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    return result.stdout


def compile_library(path: Path, code: str, *needed: Path | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    source = path.with_suffix(".c")
    source.write_text(code)
    options = ["-shared", "-fPIC", f"-Wl,-soname,{path.name}", "-o", str(path)]
    # Needed by name, and without a path to find it by, as libmxnet.so needs its own.
    inputs = [str(source), *map(str, needed)]
    subprocess.run(["cc", *options, *inputs], check=True, capture_output=True)
    return path


@pytest.mark.skipif(
    not shutil.which("cc") or not sys.platform.startswith("linux"),
    reason="needs Linux and a C compiler",
)
@pytest.mark.parametrize("first", ["mxnet", "torch"])
def test_one_nccl_serves_both(tmp_path: Path, first: str) -> None:
    """With the real loader: an old and a new library of one name, a user of each.

    The user of the old one is found by name alone, after `preload`; the user of the
    new one brings its path, as PyTorch does.
    """
    old, new = tmp_path / "ours", tmp_path / "nvidia" / "nccl" / "lib"
    both = "int ncclReduce(void) { return VALUE; }"
    ours = compile_library(
        old / "nvidia/nccl/lib/libnccl.so.2", both.replace("VALUE", "1")
    )
    more = "\nint ncclMemFree(void) { return 3; }"
    theirs = compile_library(new / "libnccl.so.2", both.replace("VALUE", "2") + more)
    driver = compile_library(
        tmp_path / "libcuda.so.1", "int cuInit(int f) { return 0; }"
    )
    code = "int ncclReduce(void); int reduces(void) { return ncclReduce(); }"
    mxnet = compile_library(tmp_path / "libmxnet.so", code, ours)
    code = "int ncclMemFree(void); int frees(void) { return ncclMemFree(); }"
    torch = tmp_path / "libtorch_cuda.so"
    compile_library(torch, code, theirs, f"-Wl,-rpath,{new}")
    script = f"""
        import ctypes
        from pathlib import Path
        import {cuda11.__name__} as cuda11

        def mxnet():
            cuda11.preload()
            return ctypes.CDLL({str(mxnet)!r}, mode=ctypes.RTLD_LOCAL).reduces()

        def torch():
            return ctypes.CDLL({str(torch)!r}, mode=ctypes.RTLD_GLOBAL).frees()

        cuda11.DRIVER, cuda11.FOLDER = {str(driver)!r}, Path({str(old)!r})
        cuda11.LIBRARIES = [x for x in cuda11.LIBRARIES if x.part == "nccl"]
        try:
            mxnet_alone = ctypes.CDLL({str(mxnet)!r})
        except OSError as error:
            assert "libnccl.so.2: cannot open" in str(error), error
        print(sorted([{first}(), {({"mxnet": "torch", "torch": "mxnet"})[first]}()]))
        """
    assert printed(script, tmp_path) == "[2, 3]\n"  # "nvidia" is found there


@pytest.mark.parametrize(
    ("distribution", "called"), [("mxnet_cu117-1.9.1", True), ("mxnet-1.9.1", False)]
)
def test_the_bridge_preloads_for_the_cuda_build_only(
    tmp_path: Path, distribution: str, called: bool
) -> None:
    package = tmp_path / "mxnet"
    package.mkdir()
    for name in ("__init__", "libinfo"):
        (package / f"{name}.py").write_text("__version__ = '1.9.1'\n")
    (tmp_path / f"{distribution}.dist-info").mkdir()
    script = f"""
        import sys
        if {called}:
            import {cuda11.__name__} as cuda11
            cuda11.DRIVER = "libno-such-driver.so.1"
        try:
            from d2lutils.compat import mx
            print("imported", mx.__version__)
        except ImportError as error:
            print(error)
            assert "mxnet" not in sys.modules
        assert ({cuda11.__name__!r} in sys.modules) == {called}
        """
    words = "needs the driver of an NVIDIA card" if called else "imported 1.9.1"
    assert words in printed(script, tmp_path)
