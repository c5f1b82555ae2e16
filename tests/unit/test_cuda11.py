"""MXNet's CUDA build: who may have it, how it is set up, what is loaded for it.

Nothing here needs a card, a network or the CUDA build: pip is a recorder, and so is the
loader, but for the tests that compile small libraries. ``make test-cuda11`` tries the
real ones.
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
from tools import cuda11 as tool

ROOT = Path(__file__).resolve().parents[2]
LINUX = ("Linux", "x86_64")
# What the wheel has machine code for; `make test-cuda11` reads it off the wheel.
CODE = [(5, 0), (6, 0), (7, 0), (8, 0), (8, 6)]

# --- who may have it ------------------------------------------------------------------


def run_apart(script: str) -> subprocess.CompletedProcess[str]:
    """Run an indented script in a process of its own, with this package."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("major", range(1, 14))
def test_a_card_is_refused_unless_some_code_runs_on_it(major: int) -> None:
    """Machine code runs on cards of its major number, from its minor one on."""
    for minor in range(10):
        runs = any(major == m and minor >= n for m, n in CODE)
        assert (cuda11.refusal((major, minor), *LINUX) == "") == runs, (major, minor)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ((3, 7), "compute capability 3.7, and the machine code .* begins at 5.0"),
        ((9, 0), "compute capability 9.0, and .* up to 8.9 and cannot be translated"),
        ((12, 0), "compute capability 12.0, and .* up to 8.9"),
        (None, "no NVIDIA card answers"),
    ],
)
def test_a_refusal_says_why(
    card: tuple[int, int] | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_refused(monkeypatch, card, LINUX, words)


@pytest.mark.parametrize(
    "here", [("Linux", "aarch64"), ("Darwin", "arm64"), ("Windows", "AMD64")]
)
def test_other_platforms_are_refused(
    here: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = f"for Linux on x86-64; this is {' '.join(here)}"
    assert_refused(monkeypatch, (8, 0), here, words)


def assert_refused(
    monkeypatch: pytest.MonkeyPatch,
    card: tuple[int, int] | None,
    here: tuple[str, str],
    words: str,
) -> None:
    """In words, and by `install`, which then runs nothing."""
    place(monkeypatch, card, here)
    with pytest.raises(RuntimeError, match=rf"^Nothing was changed: .*{words}"):
        cuda11.install(run=lambda command: pytest.fail(f"ran {command}"))


def place(
    monkeypatch: pytest.MonkeyPatch,
    card: tuple[int, int] | None = (7, 5),
    here: tuple[str, str] = LINUX,
) -> None:
    monkeypatch.setattr(cuda11, "capability", lambda: card)
    monkeypatch.setattr(cuda11.platform, "system", lambda: here[0])
    monkeypatch.setattr(cuda11.platform, "machine", lambda: here[1])


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


def test_the_driver_is_asked_for_the_capability(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    assert cuda11.capability() == (7, 5)


@pytest.mark.parametrize("call", ["cuInit", "cuDeviceGet", "cuDeviceGetAttribute"])
def test_a_driver_without_a_card(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(fails=call))
    assert cuda11.capability() is None


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
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


def has(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """These packages are installed, and no others."""
    found = {name.replace("_", "-"): version for name, version in versions.items()}
    monkeypatch.setattr(cuda11, "_version", lambda name: found.get(name, ""))


def put_libraries(**other_versions: str) -> None:
    """What `install` leaves in FOLDER."""
    for name, version in cuda11._PINS.items():
        told = other_versions.get(name.replace("-", "_"), version)
        info = cuda11.FOLDER / f"{name.replace('-', '_')}-{told}.dist-info"
        info.mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {told}\n"
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

    @property
    def commands(self) -> list[str]:
        return [call[0] for call in self.calls]


def test_what_pip_is_asked_for(folder: Path) -> None:
    pip = Pip()
    cuda11.install(run=pip)
    assert pip.commands == ["download", "install", "uninstall", "install"]
    download, libraries, remove, mxnet = pip.calls
    names = [name for name in download if "==" in name]
    assert names == list(cuda11.REQUIREMENTS)
    assert [name for name in libraries if "==" in name] == names[1:]
    assert libraries[libraries.index("--target") + 1] == str(folder)
    assert remove[-2:] == ["--yes", "mxnet"]
    assert mxnet[-1] == "mxnet-cu117==1.9.1"
    assert "--target" not in mxnet
    for call in (download, libraries, mxnet):
        assert "--no-deps" in call  # NumPy and PyTorch stay as they are
        assert "--only-binary=:all:" in call
    for call in (libraries, mxnet):  # all was downloaded before anything changed
        assert "--no-index" in call
        source = call[call.index("--find-links") + 1]
        assert source == download[download.index("--dest") + 1]
    assert not Path(source).exists()


def test_nothing_is_removed_where_there_is_no_mxnet(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch)
    pip = Pip()
    cuda11.install(run=pip)
    assert pip.commands == ["download", "install", "install"]


def test_the_size_is_told_before_the_download(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def pip(command: Sequence[str]) -> int:
        told = capsys.readouterr().out
        assert "about 2.1 GB" in told
        assert all(name in told for name in cuda11.REQUIREMENTS)
        return 1

    with pytest.raises(RuntimeError, match="pip download failed"):
        cuda11.install(run=pip)


@pytest.mark.parametrize("step", range(4))
def test_a_step_that_fails_is_the_last(folder: Path, step: int) -> None:
    put_libraries()
    pip = Pip(fails_at=step)
    with pytest.raises(RuntimeError, match=r"failed \(exit status 1\).*mxnet==1\.9\.1"):
        cuda11.install(run=pip)
    assert len(pip.calls) == step + 1
    # A download that fails has touched nothing.
    assert folder.exists() == (step == 0)


def test_twice_is_harmless(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_libraries()
    has(monkeypatch, mxnet_cu117="1.9.1")
    pip = Pip()
    cuda11.install(run=pip)
    assert pip.calls == []
    assert "installed already" in capsys.readouterr().out


def test_installed_means_all_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch, mxnet_cu117="1.9.1")
    assert not cuda11.installed()
    put_libraries()
    assert cuda11.installed()
    for library in cuda11.LIBRARIES:
        library.path.unlink()
        assert not cuda11.installed(), library
        library.path.touch()
    for versions in (
        {"mxnet": "1.9.1"},
        {"mxnet_cu117": "1.9.0"},
        {"mxnet_cu117": "1.9.1", "mxnet": "1.9.1"},
    ):
        has(monkeypatch, **versions)
        assert not cuda11.installed(), versions


def test_another_version_of_a_library_is_not_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch, mxnet_cu117="1.9.1")
    put_libraries(nvidia_cudnn_cu11="8.9.4.25")
    assert not cuda11.installed()


def test_the_pins() -> None:
    """One exact version each; the parts of CUDA that MXNet was built with."""
    names = [requirement.split("==")[0] for requirement in cuda11.REQUIREMENTS]
    assert len(set(names)) == len(names) == 11
    assert {library.package for library in cuda11.LIBRARIES} == set(names[1:])
    assert "nvidia-cudnn-cu11==8.5.0.96" in cuda11.REQUIREMENTS
    assert "nvidia-cuda-nvrtc-cu11==11.8.89" in cuda11.REQUIREMENTS  # knows 8.9


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
    monkeypatch.setattr(cuda11, "_of_others", lambda: found)
    monkeypatch.setattr(ctypes, "CDLL", loader)
    cuda11.preload()
    assert loader.opened[0] == cuda11.DRIVER
    return loader.opened[1:]


OURS = [str(library.path) for library in cuda11.LIBRARIES]


def test_each_is_loaded_by_its_path_after_what_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = load(monkeypatch, Loader(cuda11.DRIVER, *OURS))
    assert opened == OURS
    names = [Path(path).name.split(".")[0] for path in opened]
    for first, second in (
        ("libcudart", "libcublas"),
        ("libcublas", "libcusolver"),
        ("libcublas", "libcudnn"),
    ):
        assert names.index(first) < names.index(second)


def test_what_the_process_has_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = Loader(cuda11.DRIVER, *OURS, process=["libnccl.so.2"])
    opened = load(monkeypatch, loader)
    assert opened == [path for path in OURS if not path.endswith("libnccl.so.2")]


def test_twice_loads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = Loader(cuda11.DRIVER, *OURS)
    first = load(monkeypatch, loader)
    assert load(monkeypatch, loader)[len(first) :] == [cuda11.DRIVER]


def test_a_library_of_the_same_name_from_another_package_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """PyTorch's NCCL has what both ask for, ours has not; cuRAND is the exception."""
    theirs = {name: tmp_path / f"lib{name}.so.2" for name in ("nccl",)}
    theirs["curand"] = tmp_path / "libcurand.so.10"
    everything = Loader(cuda11.DRIVER, *OURS, *theirs.values())
    opened = load(monkeypatch, everything, **theirs)
    assert str(theirs["nccl"]) in opened
    assert str(theirs["curand"]) not in opened
    assert [Path(p).name for p in opened] == [Path(p).name for p in OURS]


def test_ours_serves_where_the_other_does_not_load(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "libcusolver.so.11"
    loader = Loader(cuda11.DRIVER, *OURS)
    assert load(monkeypatch, loader, cusolver=broken) == OURS


def test_the_system_serves_last(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [library.name for library in cuda11.LIBRARIES]
    opened = load(monkeypatch, Loader(cuda11.DRIVER, *names, *OURS[:2]))
    assert opened == OURS[:2] + names[2:]


@pytest.mark.parametrize("library", cuda11.LIBRARIES, ids=lambda one: one.name)
def test_a_missing_library_is_named_with_its_package_and_the_cure(
    library: cuda11.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = [path for path in OURS if path != str(library.path)]
    with pytest.raises(ImportError) as caught:
        load(monkeypatch, Loader(cuda11.DRIVER, *rest))
    message = str(caught.value)
    assert f"needs {library.name} from the package {library.package}==" in message
    assert f"{library.path}: cannot open" in message
    assert "python -m d2lutils cuda11 --install" in message
    assert "pip install --no-deps mxnet==1.9.1" in message


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImportError, match=r"driver .*\(libcuda\.so\.1\).*CPU"):
        load(monkeypatch, Loader(*OURS))


# --- loading, in earnest: small libraries of the same name ----------------------------

needs_cc = pytest.mark.skipif(
    not shutil.which("cc") or not sys.platform.startswith("linux"),
    reason="needs Linux and a C compiler",
)


def compile_library(path: Path, code: str, *needed: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    source = path.with_suffix(".c")
    source.write_text(code)
    options = ["-shared", "-fPIC", f"-Wl,-soname,{path.name}", "-o", str(path)]
    # Needed by name, and without a path to find it by, as libmxnet.so needs its own.
    inputs = [str(source), *map(str, needed)]
    subprocess.run(["cc", *options, *inputs], check=True, capture_output=True)
    return path


def test_of_two_libraries_the_earlier_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("second", "first"):
        library = tmp_path / name / "nvidia" / "nccl" / "lib" / "libnccl.so.2"
        library.parent.mkdir(parents=True)
        library.touch()
        monkeypatch.syspath_prepend(tmp_path / name)
    assert cuda11._of_others()["libnccl.so.2"] == library


@needs_cc
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
    compile_library(torch, code, theirs, Path(f"-Wl,-rpath,{new}"))
    script = f"""
        import ctypes, sys
        from pathlib import Path
        from d2lutils._compat import cuda11

        def mxnet():
            cuda11.preload()
            return ctypes.CDLL({str(mxnet)!r}, mode=ctypes.RTLD_LOCAL).reduces()

        def torch():
            return ctypes.CDLL({str(torch)!r}, mode=ctypes.RTLD_GLOBAL).frees()

        cuda11.DRIVER, cuda11.FOLDER = {str(driver)!r}, Path({str(old)!r})
        cuda11.LIBRARIES = [x for x in cuda11.LIBRARIES if x.part == "nccl"]
        if "alone" in sys.argv:  # what must not be done: ours whatever the others have
            cuda11._of_others = dict
        calls = [mxnet, torch]
        if {first!r} == "torch":
            calls.reverse()
        print(sorted(call() for call in calls))
        """

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join((str(ROOT), str(tmp_path)))  # "nvidia" is found there
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), *options],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    result = run()
    assert (result.stdout, result.stderr) == ("[2, 3]\n", "")
    alone = run("alone")
    if first == "mxnet":
        assert "undefined symbol: ncclMemFree" in alone.stderr
    else:
        assert alone.stdout == "[2, 3]\n"  # PyTorch's was there first


@needs_cc
def test_a_library_alone_is_found_by_name(tmp_path: Path) -> None:
    """No variable, no path in the user: without `preload` it is not found."""
    path = tmp_path / "ours/nvidia/curand/lib/libcurand.so.10"
    ours = compile_library(path, "int curandGenerate(void) { return 7; }")
    code = "int curandGenerate(void); int draws(void) { return curandGenerate(); }"
    mxnet = compile_library(tmp_path / "libmxnet.so", code, ours)
    driver = compile_library(
        tmp_path / "libcuda.so.1", "int cuInit(int f) { return 0; }"
    )
    script = f"""
        import ctypes
        from pathlib import Path
        from d2lutils._compat import cuda11

        cuda11.DRIVER, cuda11.FOLDER = {str(driver)!r}, Path({str(tmp_path / "ours")!r})
        cuda11.LIBRARIES = [x for x in cuda11.LIBRARIES if x.part == "curand"]
        try:
            ctypes.CDLL({str(mxnet)!r})
        except OSError as error:
            assert "libcurand.so.10: cannot open" in str(error), error
        else:
            raise SystemExit("found without its path")
        cuda11.preload()
        print(ctypes.CDLL({str(mxnet)!r}).draws())
        """
    result = run_apart(script)
    assert (result.stdout, result.stderr) == ("7\n", "")


# --- the bridge calls it when the CUDA build is there, and only then ------------------


@pytest.mark.parametrize(
    ("distribution", "called"),
    [("mxnet_cu117-1.9.1", True), ("mxnet_cu112-1.9.1", True), ("mxnet-1.9.1", False)],
)
def test_the_bridge_preloads_for_the_cuda_build(
    tmp_path: Path, distribution: str, called: bool
) -> None:
    package = tmp_path / "mxnet"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '1.9.1'\n")
    (package / "libinfo.py").write_text("__version__ = '1.9.1'\n")
    (tmp_path / f"{distribution}.dist-info").mkdir()
    script = f"""
        import sys
        if {called}:
            from d2lutils._compat import cuda11
            cuda11.DRIVER = "libno-such-driver.so.1"
        try:
            from d2lutils.compat import mx
            print("imported", mx.__version__)
        except ImportError as error:
            print(error)
            assert "mxnet" not in sys.modules
        assert ("d2lutils._compat.cuda11" in sys.modules) == {called}
        """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    words = "needs the driver of an NVIDIA card" if called else "imported 1.9.1"
    assert words in result.stdout


# --- the command ----------------------------------------------------------------------


def test_look_where_it_cannot_be(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place(monkeypatch, card=None)
    assert cuda11.main(["--check"]) == cuda11.main([]) == 1
    told = capsys.readouterr().out
    assert "card       none" in told
    assert "MXNet      mxnet 1.9.1\n" in told
    assert "libraries  0 of 10" in told
    assert "cannot run here: no NVIDIA card answers" in told


def test_look_where_it_can_be_and_where_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cuda11.main([]) == 0
    told = capsys.readouterr().out
    assert "card       compute capability 7.5" in told
    assert "can be set up: python -m d2lutils cuda11 --install" in told
    put_libraries()
    has(monkeypatch, mxnet_cu117="1.9.1")
    assert cuda11.main([]) == 0
    told = capsys.readouterr().out
    assert "MXNet      mxnet-cu117 1.9.1\n" in told
    assert "libraries  10 of 10" in told
    assert "MXNet's CUDA build is set up" in told


def test_set_it_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cuda11, "install", lambda: print("set up"))
    assert cuda11.main(["--install"]) == 0
    assert "set up" in capsys.readouterr().out


def test_a_refused_setup_is_told_on_stderr(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place(monkeypatch, card=(9, 0))
    assert cuda11.main(["--install"]) == 1
    assert "Nothing was changed: the card has" in capsys.readouterr().err


# --- the check of the real libraries --------------------------------------------------


def elf(name: str, **fields: Any) -> tool.Elf:
    return tool.Elf(Path(name), **fields)


def small() -> dict[str, tool.Elf]:
    """A user, what it needs, and what that needs: all is well."""
    user = elf(
        "user",
        needed=["middle", cuda11.DRIVER],
        wanted={("middle", "V2")},
        undefined={("f", "V2"), ("deep", "")},
    )
    middle = elf(
        "middle", needed=["bottom"], versions={"V1", "V2"}, defined={("f", "V2")}
    )
    bottom = elf("bottom", defined={("deep", "")})
    return {"user": user, "middle": middle, "bottom": bottom}


def test_nothing_is_missing_where_all_is_there() -> None:
    nothing = {"libraries": [], "versions": [], "symbols": []}
    assert tool.missing("user", small()) == nothing


def test_a_missing_library_version_and_symbol_are_found() -> None:
    libraries = small()
    del libraries["bottom"]
    assert tool.missing("middle", libraries)["libraries"] == ["bottom"]
    assert tool.missing("user", libraries)["symbols"] == ["deep"]

    libraries = small()
    libraries["middle"].versions.remove("V2")
    assert tool.missing("user", libraries)["versions"] == ["V2 of middle"]

    libraries = small()
    libraries["middle"].defined = {("f", "V1")}
    assert tool.missing("user", libraries)["symbols"] == ["f"]

    libraries = small()  # defined, but by a library that nobody here needs
    libraries["middle"].needed = []
    assert tool.missing("user", libraries)["symbols"] == ["deep"]


def test_cards_and_code() -> None:
    """Ready code serves its own generation, PTX all later ones."""
    served = [card for card in tool.CARDS if tool.serves(card, {70, 86}, set())]
    assert served == [(7, n) for n in range(10)] + [(8, n) for n in range(6, 10)]
    assert tool.serves((9, 0), {70}, {80})
    assert not tool.serves((7, 5), {80}, {80})


def test_a_wrong_statement_about_cards_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = {"libmxnet.so": ({50, 60, 70, 80, 86}, set[int]())}
    code |= {"libfull.so": ({50, 60, 70}, {70}), "libgap.so": ({50, 70, 80}, set())}
    code |= {"libplain.so": (set(), set())}  # for the processor alone
    monkeypatch.setattr(tool, "machine_code", lambda path: code[path.name])
    mxnet, full, gap, plain = map(Path, code)
    assert tool.check_cards(mxnet, [full, plain]) == 0
    assert tool.check_cards(mxnet, [full, gap]) == 10
    assert "libgap.so for 6.1" in capsys.readouterr().out
    monkeypatch.setattr(cuda11, "SUPPORTED", ((5, 0), (9, 0)))
    assert tool.check_cards(mxnet, []) == 1
    assert "disagree: [(9, 0)]" in capsys.readouterr().out


@needs_cc
def test_the_stand_in_for_the_driver_has_no_card(tmp_path: Path) -> None:
    """In a process of its own: a driver, once loaded, stays."""
    assert tool.stand_in(["cuLaunchKernel"], tmp_path) == ""
    script = f"""
        import ctypes
        from d2lutils._compat import cuda11

        driver, version = ctypes.CDLL({str(tmp_path / cuda11.DRIVER)!r}), ctypes.c_int()
        assert driver.cuDriverGetVersion(ctypes.byref(version)) == 0
        print(version.value, driver.cuLaunchKernel(), driver.cuInit(0))
        print(cuda11.capability())
        """
    result = run_apart(script)
    assert (result.stdout, result.stderr) == ("12000 100 100\nNone\n", "")
