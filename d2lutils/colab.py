"""Prepare a Colab runtime for a chapter: ``!python -m d2lutils colab``.

A runtime comes with NumPy, PyTorch and hundreds of packages that fit together, some of
them already loaded, so no installed package may change its version. Missing packages
are installed with everything else pinned to its present version. MXNet's wheel is
installed without its dependencies, which include an old NumPy (``d2lutils.compat``
makes the new one work). Importing this module imports no framework.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from d2lutils._compat import cuda11

__all__ = ["installed", "main", "prepare"]

PACKAGE = "d2lutils"
# MXNet's CPU build, or one of its CUDA builds.
_MXNET = re.compile(r"mxnet(-cu\d+)?")
_CUDA11 = "!python -m d2lutils cuda11 --install"
_EXTRA = re.compile(r"""\bextra\s*==\s*["'](\w+)""")
# A PEP 440 version; pip rejects the whole constraints file for one that is not.
_VERSION = re.compile(
    r"(\d+!)?\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z\d]+(\.[a-z\d]+)*)?"
)


def prepare() -> None:
    """Install the missing packages, and print versions and devices.

    Changes no installed version; a second call installs nothing. If pip fails, the
    reason is printed instead of raised; where MXNet is missing, a chapter skips the
    cells that need it.
    """
    before = installed()
    mxnet = [line for line in _requirements("gluon") if _name(line) == "mxnet"]
    others = [line for line in _requirements("gluon") if _name(line) != "mxnet"]
    wanted = dict.fromkeys(_requirements() + others)
    missing = [line for line in wanted if _name(line) not in before]
    _install(missing, before)
    missing_mxnet = [] if any(map(_MXNET.fullmatch, before)) else mxnet
    _install(missing_mxnet, None)
    importlib.invalidate_caches()
    after = installed()
    print(f"{PACKAGE} {after[PACKAGE]}")
    if missing or missing_mxnet:
        print(_difference(before, after))
    else:
        print("Nothing to install")
    print("\n".join([_versions(after), *_devices()]))


def installed() -> dict[str, str]:
    """The version of every installed distribution, by its normalised name."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        # Both are None for broken metadata, although the type hints say str.
        name: Any = distribution.metadata["Name"]
        version: Any = distribution.version
        if name and version:
            found.setdefault(_name(name), version)
    return found


def _name(requirement: str) -> str:
    """The name at the start of a requirement, normalised as in PEP 503."""
    match = re.match(r"[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""


def _requirements(extra: str = "") -> list[str]:
    """This package's requirements without extras, or those of one extra."""
    lines = [line.partition(";") for line in metadata.requires(PACKAGE) or []]
    return [
        requirement.strip()
        for requirement, _, marker in lines
        if "".join(_EXTRA.findall(marker)) == extra
    ]


def _install(missing: list[str], fixed: dict[str, str] | None) -> None:
    """Let pip install ``missing``; if it fails, print why in one line.

    Args:
        missing: requirements; nothing happens if there are none.
        fixed: installed versions to keep, or None to install without dependencies.
    """
    if not missing:
        return
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    with tempfile.TemporaryDirectory() as folder:
        options = ["--no-deps"]
        if fixed is not None:
            pins = Path(folder, "constraints.txt")
            pins.write_text(
                "".join(
                    f"{name}=={version}\n"
                    for name, version in fixed.items()
                    if _VERSION.fullmatch(version)
                )
            )
            options = ["--constraint", str(pins)]
        ran = subprocess.run(
            [*pip, "install", "--quiet", *options, *missing],
            capture_output=True,
            text=True,
        )
    if ran.returncode:
        lines = [line for line in ran.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR:")]
        why = (errors or lines or [f"exit status {ran.returncode}"])[-1]
        print(f"pip could not install {', '.join(missing)}: {why}")


def _difference(before: dict[str, str], after: dict[str, str]) -> str:
    """Which packages were installed, and a warning if others changed."""
    new = [f"{name} {after[name]}" for name in sorted(after.keys() - before.keys())]
    changed = [
        f"{name} {version} is now {after.get(name, 'gone')}"
        for name, version in sorted(before.items())
        if after.get(name) != version
    ]
    text = f"Installed: {', '.join(new) or 'nothing'}"
    if changed:
        text += (
            f"\nCHANGED, which must not be: {'; '.join(changed)}. Start a new runtime "
            "(Runtime, Disconnect and delete runtime)."
        )
    return text


def _versions(there: dict[str, str]) -> str:
    """The versions of Python, NumPy and PyTorch in one line."""
    libraries = [
        f"{label} {there.get(name, 'missing')}"
        for label, name in (("NumPy", "numpy"), ("PyTorch", "torch"))
    ]
    return ", ".join([f"Python {platform.python_version()}", *libraries])


def _devices() -> list[str]:
    """On which device each half runs and why, or why its framework fails."""
    lines: list[str] = []
    card: tuple[int, int] | None = None
    try:
        torch = importlib.import_module("torch")
        if torch.cuda.is_available():
            major, minor = card = torch.cuda.get_device_capability(0)
            name = torch.cuda.get_device_name(0)
            lines.append(f"GPU: {name}, compute capability {major}.{minor}")
        lines.append(f"PyTorch runs on {_device('pytorch')}")
    except (ImportError, OSError) as problem:
        lines.append(f"PyTorch cannot be used: {problem}")
    try:
        lines.append(f"MXNet runs on {_device('gluon')}")
    except ImportError as problem:
        return [*lines, f"MXNet cannot be used: {problem}"]
    if card is not None and lines[-1].startswith("MXNet runs on the CPU"):
        why = cuda11.refusal(card, platform.system(), platform.machine())
        lines.append(f"MXNet's build for this GPU: {why or _CUDA11}")
    return lines


def _device(half: str) -> str:
    """The device that a half runs on; for the CPU, also why."""
    devices = importlib.import_module(f"{PACKAGE}.{half}.devices")
    why = devices.why_no_gpu()
    return f"the CPU: {why}" if why else str(devices.try_gpu())


def main(argv: list[str] | None = None) -> int:
    """The command ``colab``, which takes no arguments."""
    argparse.ArgumentParser(
        prog="python -m d2lutils colab", description=prepare.__doc__
    ).parse_args(argv)
    prepare()
    return 0
