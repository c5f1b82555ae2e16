"""MXNet on an NVIDIA card, from PyPI alone: its CUDA 11 build with all libraries.

    python -m d2lutils cuda11             report what is, and could be, installed
    python -m d2lutils cuda11 --install   set it up

MXNet's last CUDA build, ``mxnet-cu117``, has machine code for compute capability 5.0,
6.0, 7.0, 8.0 and 8.6, and no PTX that a driver could translate for other cards. A card
runs code for its own major number and the same or a lower minor number. So all cards
from 5.0 to 8.9 can run it; Hopper (9.0) and newer cards cannot.

The build needs the libraries of CUDA 11.7 and cuDNN 8.5. NVIDIA publishes them on PyPI,
but under the same paths as those of CUDA 12 and 13: ``nvidia-nccl-cu11`` would replace
the ``libnccl.so.2`` of an installed PyTorch. So they are installed into a separate
folder, ``FOLDER``, and ``preload`` loads them from there by path before MXNet asks for
them by name. No environment variable is needed.

Some libraries have the same name in several CUDA versions, and asking for a library by
name gives the one that the process has already loaded. PyTorch for CUDA 12 and 13 needs
functions that the ``libnccl.so.2`` of CUDA 11 lacks, while MXNet works with the newer
one. So if another package has a library of the same name, both frameworks get that one.
The exception is ``libcurand.so.10``: all versions have the same functions, but that of
CUDA 13 has no machine code for cards older than 7.5, which MXNet supports. If PyTorch
is imported first, MXNet gets all of these libraries from it.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "DRIVER",
    "FOLDER",
    "LIBRARIES",
    "REQUIREMENTS",
    "Library",
    "capability",
    "install",
    "installed",
    "main",
    "preload",
    "refusal",
]

#: The lowest and the highest compute capability that can run the build's code.
SUPPORTED = ((5, 0), (8, 9))
MXNET = "mxnet-cu117==1.9.1"
# The versions in PyTorch's builds for CUDA 11.7 (with cuFFT from 11.8), and the cuDNN
# that MXNet was compiled with, because it warns about any other. NVRTC is from 11.8:
# hybridized nets compile kernels for the card with it, and 11.7 does not know 8.9.
# Both versions have the file names that MXNet looks for.
_PINS = {
    "nvidia-cuda-runtime-cu11": "11.7.99",
    "nvidia-cublas-cu11": "11.10.3.66",
    "nvidia-cufft-cu11": "10.9.0.58",
    "nvidia-curand-cu11": "10.2.10.91",
    "nvidia-cusparse-cu11": "11.7.4.91",
    "nvidia-cusolver-cu11": "11.4.0.1",
    "nvidia-cuda-nvrtc-cu11": "11.8.89",
    "nvidia-cudnn-cu11": "8.5.0.96",
    "nvidia-nccl-cu11": "2.14.3",
    "nvidia-nvtx-cu11": "11.7.91",
}
#: The requirements to install, for pip.
REQUIREMENTS = (MXNET, *(f"{name}=={version}" for name, version in _PINS.items()))
_DOWNLOAD_GB = 2.1
_DISK_GB = 3.5

#: The folder for the libraries, apart from other packages' CUDA libraries.
FOLDER = Path(sysconfig.get_path("platlib")) / "d2lutils-cuda11"
#: Part of the card's driver, never on PyPI.
DRIVER = "libcuda.so.1"
# Loaded from FOLDER even if another package has it; see above.
_OWN = "libcurand.so.10"
_COMMAND = "python -m d2lutils cuda11 --install"
_BACK = "pip uninstall mxnet-cu117, then pip install --no-deps mxnet==1.9.1"

Card = tuple[int, int]
Runner = Callable[[Sequence[str]], int]


class Library(NamedTuple):
    """A shared library: its package, its folder in the package, and its name."""

    package: str
    part: str
    name: str

    @property
    def path(self) -> Path:
        """Its path after ``install``."""
        return FOLDER / "nvidia" / self.part / "lib" / self.name


#: The libraries that MXNet asks for by name, each after those that it depends on. cuDNN
#: and NVRTC find their own parts by built-in paths.
LIBRARIES = tuple(
    Library(f"nvidia-{part.replace('_', '-')}-cu11", part, name)
    for part, name in (
        ("cuda_runtime", "libcudart.so.11.0"),
        ("cublas", "libcublas.so.11"),
        ("cufft", "libcufft.so.10"),
        ("curand", "libcurand.so.10"),
        ("cusparse", "libcusparse.so.11"),
        ("cusolver", "libcusolver.so.11"),
        ("cuda_nvrtc", "libnvrtc.so.11.2"),
        ("cudnn", "libcudnn.so.8"),
        ("nccl", "libnccl.so.2"),
        ("nvtx", "libnvToolsExt.so.1"),
    )
)


# --- the card -------------------------------------------------------------------------


def capability() -> Card | None:
    """Compute capability of the first card, as (major, minor); None without a card.

    It comes from the driver, so no framework is needed.
    """
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return None
    device, values = ctypes.c_int(), (ctypes.c_int(), ctypes.c_int())
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    for attribute, value in zip((75, 76), values, strict=True):  # major, minor
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device):
            return None
    return values[0].value, values[1].value


def refusal(card: Card | None, system: str, machine: str) -> str:
    """Why MXNet's CUDA build cannot run; "" if it can.

    Args:
        card: compute capability, as from `capability()`.
        system, machine: as from `platform.system()` and `platform.machine()`.
    """
    if (system, machine) != ("Linux", "x86_64"):
        return f"MXNet's CUDA build is for Linux on x86-64; this is {system} {machine}"
    if card is None:
        return "no NVIDIA card answers: there is none, or its driver is missing"
    oldest, newest = SUPPORTED
    if oldest <= card <= newest:
        return ""
    end = (
        f"begins at {oldest[0]}.{oldest[1]}"
        if card < oldest
        else f"serves cards up to {newest[0]}.{newest[1]} and cannot be translated"
    )
    return (
        f"the card has compute capability {card[0]}.{card[1]}, and the machine code "
        f"in MXNet's CUDA build {end}"
    )


# --- setting it up --------------------------------------------------------------------


def install(card: Card | None = None, run: Runner = subprocess.call) -> None:
    """Replace MXNet by its CUDA build, and install the libraries that it needs.

    Everything is downloaded before anything changes. Only MXNet is replaced, and the
    libraries get their own folder; NumPy, PyTorch and all other packages stay as they
    are. If the build is already set up, nothing happens.

    Args:
        card: compute capability to set up for; None for that of this machine's card.
        run: runs a command and returns its exit status.

    Raises:
        RuntimeError: the build cannot run here, or pip failed; the message says why.
        OSError: the folder for the libraries cannot be written.
    """
    card = card or capability()
    reason = refusal(card, platform.system(), platform.machine())
    if reason:
        raise RuntimeError(f"Nothing was changed: {reason}.")
    if installed():
        print("MXNet's CUDA build and its libraries are installed already.")
        return
    print(
        f"Downloading about {_DOWNLOAD_GB:.1f} GB from PyPI, {_DISK_GB:.1f} GB once "
        f"unpacked: {', '.join(REQUIREMENTS)}.\nmxnet-cu117 takes the place of mxnet; "
        f"the CUDA libraries go to {FOLDER}; nothing else is installed or changed.",
        flush=True,
    )
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="d2lutils-", dir=FOLDER.parent) as folder:
        _pip(run, "download", "--dest", folder, *REQUIREMENTS)
        wheels = ["--no-index", "--find-links", folder]
        shutil.rmtree(FOLDER, ignore_errors=True)
        _pip(run, "install", *wheels, "--target", str(FOLDER), *REQUIREMENTS[1:])
        # Both wheels install the folder mxnet, so the old one must be removed first.
        if _version("mxnet"):
            _pip(run, "uninstall", "--yes", "mxnet")
        _pip(run, "install", *wheels, MXNET)
    print("Restart Python: a process that has imported MXNet keeps the one it has.")


def installed() -> bool:
    """Whether the CUDA build and all its libraries are installed, as by `install`."""
    found = {
        package.metadata["Name"].lower().replace("_", "-"): package.version
        for package in importlib.metadata.distributions(path=[str(FOLDER)])
    }
    return (
        f"mxnet-cu117=={_version('mxnet-cu117')}" == MXNET
        and not _version("mxnet")
        and all(found.get(name) == version for name, version in _PINS.items())
        and all(library.path.is_file() for library in LIBRARIES)
    )


def _pip(run: Runner, command: str, *arguments: str) -> None:
    """Run pip in this environment, without dependencies; raise if it fails."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    plain = [] if command == "uninstall" else ["--no-deps", "--only-binary=:all:"]
    # The download takes minutes, so its progress is shown.
    quiet = [] if command == "download" else ["--quiet"]
    code = run([*pip, command, *quiet, *plain, *arguments])
    importlib.invalidate_caches()
    if code:
        raise RuntimeError(
            f"pip {command} failed (exit status {code}). If MXNet is gone now, its "
            "build for the CPU comes back with: pip install --no-deps mxnet==1.9.1"
        )


def _version(package: str) -> str:
    """The installed version of a package; "" if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


# --- loading --------------------------------------------------------------------------


def preload() -> None:
    """Load the driver and the CUDA libraries, so that MXNet finds them by name.

    Each comes from the first of these that has it: this process, another installed
    package, `FOLDER`, the system. A second call has no effect.

    Raises:
        ImportError: one cannot be loaded; the message names its package and the
            command that installs it.
    """
    if _failure(DRIVER):
        raise ImportError(
            f"MXNet's CUDA build needs the driver of an NVIDIA card ({DRIVER}), which "
            f"this machine does not have. Back to the build for the CPU: {_BACK}."
        )
    others = _libraries_elsewhere()
    for library in LIBRARIES:
        first, second = others.get(library.name, library.path), library.path
        if library.name == _OWN:
            first, second = second, first
        if not _failure(library.name, os.RTLD_NOLOAD):
            continue  # this process has it
        if all(_failure(place) for place in (first, second, library.name)):
            version = _PINS[library.package]
            raise ImportError(
                f"MXNet's CUDA build needs {library.name} from the package "
                f"{library.package}=={version}, and it does not load: "
                f"{_failure(library.path)}. This brings all it needs: {_COMMAND}. "
                f"Back to the build for the CPU: {_BACK}."
            )


def _libraries_elsewhere() -> dict[str, Path]:
    """CUDA libraries outside `FOLDER`, in the package ``nvidia``, by name.

    Of two with the same name, the one earlier on the path, as with modules.
    """
    spec = importlib.util.find_spec("nvidia")
    places = spec.submodule_search_locations if spec else None
    return {
        path.name: path
        for place in reversed(list(places or ()))
        for path in Path(place).glob("*/lib/lib*.so*")
    }


def _failure(place: str | Path, mode: int = ctypes.DEFAULT_MODE) -> str:
    """Load a library and its dependencies; the loader's message if that fails, or "".

    The default mode does not export the library's symbols, because other libraries may
    need those of another CUDA; it can be found by name in any mode.
    """
    try:
        ctypes.CDLL(str(place), mode=mode)
    except OSError as error:
        return str(error) or "unknown reason"
    return ""


# --- the command ----------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m d2lutils cuda11`: report or install, and return the exit status.

    0: MXNet's CUDA build is set up, or can be; 1: it cannot.
    """
    parser = argparse.ArgumentParser(
        prog="python -m d2lutils cuda11",
        description="MXNet's CUDA 11 build and the libraries it loads, from PyPI.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="look only (the default)")
    what.add_argument("--install", action="store_true", help="set it up")
    if parser.parse_args(argv).install:
        try:
            install()
        except (RuntimeError, OSError) as error:  # OSError: the folder is not writable
            print(error, file=sys.stderr)
            return 1
        return 0
    return _report()


def _report() -> int:
    """Print what is installed and what could be; return the exit status."""
    card = capability()
    reason = refusal(card, platform.system(), platform.machine())
    here = sum(library.path.is_file() for library in LIBRARIES)
    named = [f"{name} {_version(name)}" for name in ("mxnet", "mxnet-cu117")]
    found = [name for name in named if not name.endswith(" ")]
    print(f"card       {f'compute capability {card[0]}.{card[1]}' if card else 'none'}")
    print(f"MXNet      {' and '.join(found) or 'not installed'}")
    print(f"libraries  {here} of {len(LIBRARIES)} in {FOLDER}")
    if reason:
        print(f"MXNet's CUDA build cannot run here: {reason}.")
    elif installed():
        print("MXNet's CUDA build is set up; `python -m d2lutils doctor` tries it.")
    else:
        print(f"MXNet's CUDA build can be set up: {_COMMAND}")
    return int(bool(reason))
