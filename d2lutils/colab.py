"""Prepare a Colab runtime for a chapter: ``!python -m d2lutils colab``.

A runtime comes with NumPy, PyTorch and hundreds of packages that fit together, some of
them loaded already. So whatever is there keeps its version: what this package needs and
does not find is installed with everything else pinned to its present version, and
MXNet's wheel goes in without its metadata, which asks for an old NumPy
(``d2lutils.compat`` makes up for that). Importing this module imports no framework.
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
# MXNet's build for the CPU, or one for GPUs in its place.
_MXNET = re.compile(r"mxnet(-cu\d+)?")
_CUDA11 = "!python -m d2lutils cuda11 --install"
_EXTRA = re.compile(r"""\bextra\s*==\s*["'](\w+)""")
# A version as PEP 440 has it; one that pip cannot read would spoil the whole list.
_VERSION = re.compile(
    r"(\d+!)?\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z\d]+(\.[a-z\d]+)*)?"
)


def prepare() -> None:
    """Install what is missing beside what is there, and print what was found.

    Changes no version of anything that is installed; a second call installs nothing.
    Never raises because pip fails: the reason is printed, and a chapter's cells that
    need MXNet are skipped where it is missing.
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
    """The version of every installed distribution, by its name as pip compares it."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        # Without metadata these are None, whatever the types say.
        name: Any = distribution.metadata["Name"]
        version: Any = distribution.version
        if name and version:
            found.setdefault(_name(name), version)
    return found


def _name(requirement: str) -> str:
    """The name that a requirement begins with, as PEP 503 normalises it."""
    match = re.match(r"[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""


def _requirements(extra: str = "") -> list[str]:
    """What this package's own metadata asks for, always or for one extra."""
    lines = [line.partition(";") for line in metadata.requires(PACKAGE) or []]
    return [
        requirement.strip()
        for requirement, _, marker in lines
        if "".join(_EXTRA.findall(marker)) == extra
    ]


def _install(missing: list[str], fixed: dict[str, str] | None) -> None:
    """Let pip install ``missing``; say in one line why it could not.

    Args:
        missing: requirements; nothing happens if there are none.
        fixed: the versions that must stay, or None to install without dependencies.
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
    """What was installed, and whether anything that was there has changed."""
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
    """Python, NumPy and PyTorch, as far as they are there."""
    libraries = [
        f"{label} {there.get(name, 'missing')}"
        for label, name in (("NumPy", "numpy"), ("PyTorch", "torch"))
    ]
    return ", ".join([f"Python {platform.python_version()}", *libraries])


def _devices() -> list[str]:
    """Where each half runs, and why; a framework that fails says so in words."""
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
    """The device that a half runs on; for the CPU with the reason."""
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
