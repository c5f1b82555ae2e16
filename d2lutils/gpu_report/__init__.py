"""What the PyTorch half does on a card, in one command: ``gpu-report``.

    python -m d2lutils gpu-report                  on the first NVIDIA card
    python -m d2lutils gpu-report --device cpu     the same parts, smaller, on the CPU
    make gpu-report                                and store it for the pages

It needs PyTorch and no network, and ends within eight minutes on one card. Each part
stands alone: one that fails is a line of the report, and the exit status is 1.

- `equations`: the blocks written again from their papers;
- `agreement`: each block on the device, on the CPU, and its equation;
- `speed`: benchmarks, and what `make bench` shares with them;
- `nets`: NiN trained, and its memory;
- `cells`: the core chapters;
- `gluon`: Gluon's half, where MXNet can run on the device.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from d2lutils import timing
from d2lutils._errors import reason, without_places

__all__ = ["PARTS", "main", "report"]

BUDGET_SECONDS = 480.0
TRAIN_SECONDS = 60.0
#: Where the pages, `timing.stored("gpu")` and CondConv look.
STORED = Path(timing.__file__).parent / "results" / "gpu.json"
RED, GREEN, PLAIN = "\033[31m", "\033[32m", "\033[0m"


def _part(module: str, function: str, *arguments: Any) -> dict[str, Any]:
    # Imported late: PyTorch must see which devices it may use.
    loaded = importlib.import_module(f"{__name__}.{module}")
    found: dict[str, Any] = getattr(loaded, function)(*arguments)
    return found


#: The parts in their order. Each gets the device, the options and the seconds that are
#: left, and returns plain data: `summary`, and `failed` if something is not right.
PARTS: dict[str, Callable[[Any, argparse.Namespace, float], dict[str, Any]]] = {
    "parity": lambda d, o, left: _part("agreement", "run", d),
    "memory": lambda d, o, left: _part("nets", "memory", d),
    "train": lambda d, o, left: _part("nets", "train", d, o.train_seconds),
    "speed": lambda d, o, left: _part("speed", "run", d, min(left, o.budget / 4)),
    "compile": lambda d, o, left: _part(
        *("speed", "run_compiled", d, min(left, o.budget / 6))
    ),
    "chapters": lambda d, o, left: _part("cells", "run", left),
    "gluon": lambda d, o, left: _part("gluon", "run", d.type, o.install_gluon),
}


def _device(name: str | None) -> Any:
    """The device that is asked for, by default the first card; `ValueError` if it is
    not there. It is the only one that is seen from here on, in child processes, too."""
    kind, _, index = (name or "cuda").partition(":")
    if kind not in ("cpu", "cuda") or not (index or "0").isdecimal():
        raise ValueError(f"--device must be cpu, cuda or cuda:N, got {name!r}")
    if kind == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        # Or idle threads turn beside another program's work.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    elif index:  # pragma: needs-gpu
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        chosen = seen.split(",")[int(index)] if seen else index
        os.environ["CUDA_VISIBLE_DEVICES"] = chosen
    import torch

    from d2lutils.pytorch.devices import why_no_gpu

    if kind == "cpu":
        return torch.device("cpu")
    why = why_no_gpu() or ("" if torch.cuda.is_available() else "it is not NVIDIA's")
    if why:
        raise ValueError(f"no NVIDIA card can be used: {why}. On the CPU: --device cpu")
    return torch.device("cuda", 0)  # pragma: needs-gpu


def _machine(device: Any) -> dict[str, Any]:
    """What the numbers depend on."""
    import torch

    from d2lutils.gpu_report import speed

    found = speed.machine("torchvision", "timm", "d2lutils")
    if device.type == "cuda":  # pragma: needs-gpu
        card = torch.cuda.get_device_properties(device)
        found |= {
            "capability": f"{card.major}.{card.minor}",
            "memory_gib": round(card.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver": _driver(),
        }
    return found


def _driver() -> str:  # pragma: needs-gpu
    """The version of NVIDIA's driver; "unknown" where its own tool is missing."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return next(iter(ran.stdout.split()), "unknown")


def report(device: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Run the parts and print a line for each; the report as plain data.

    `date`, `machine` and `cases` are as in `timing.stored`; `condconv` is what
    `CondConv2d` chooses its form by; `parts` has each part's own result, its `seconds`,
    and `failed` or `skipped` with one line.
    """
    start = time.monotonic()
    parts: dict[str, dict[str, Any]] = {}
    for name in options.parts:
        began = time.monotonic()
        left = options.budget - (began - start)
        print(f"\n=== {name}", flush=True)
        if left <= 0:
            parts[name] = {"skipped": f"the budget of {options.budget:g} s was used up"}
        else:
            try:
                parts[name] = PARTS[name](device, options, left)
            except Exception as error:
                parts[name] = {"failed": f"{type(error).__name__}: {reason(error)}"}
        parts[name]["seconds"] = round(time.monotonic() - began, 1)
        print(_line(name, parts[name]), flush=True)
    cases = [case for part in parts.values() for case in part.pop("cases", ())]
    return {
        "date": datetime.date.today().isoformat(),
        "machine": _machine(device),
        "seconds": round(time.monotonic() - start, 1),
        "budget_seconds": options.budget,
        "cases": cases,
        "condconv": parts.get("speed", {}).pop("condconv", []),
        "parts": parts,
    }


def _line(name: str, part: dict[str, Any]) -> str:
    """A part in one line, red if it failed."""
    verdict = next((key for key in ("failed", "skipped") if key in part), "ok")
    said = ": ".join(part[key] for key in (verdict, "summary") if key in part)
    colour = {"ok": GREEN, "failed": RED}.get(verdict, "")
    if not sys.stdout.isatty() or not colour:
        return f"{name:<9} {verdict:<8} {part['seconds']:6.1f} s  {said}"
    return f"{colour}{name:<9} {verdict:<8}{PLAIN} {part['seconds']:6.1f} s  {said}"


def _without_places(value: Any) -> Any:
    """Plain data without this machine's paths."""
    if isinstance(value, dict):
        return {key: _without_places(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_places(item) for item in value]
    return without_places(value) if isinstance(value, str) else value


def main(argv: list[str] | None = None) -> int:
    """The command ``gpu-report``: 0 if no part failed, 2 without the device."""
    parser = argparse.ArgumentParser(
        prog="python -m d2lutils gpu-report",
        description=str(__doc__).split("\n\n- ")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", help="cuda (the default), cuda:N or cpu")
    parser.add_argument("--out", type=Path, help="by default gpu-report.json")
    parser.add_argument(
        *("--store",), action="store_true", help="a card's: for the pages and CondConv"
    )
    parser.add_argument("--parts", default=",".join(PARTS), help="some of: %(default)s")
    parser.add_argument("--budget", type=float, default=BUDGET_SECONDS, help="seconds")
    parser.add_argument("--train-seconds", type=float, default=TRAIN_SECONDS)
    parser.add_argument(
        *("--install-gluon",), action="store_true", help="MXNet's CUDA build, 2.1 GB"
    )
    options = parser.parse_args(argv)
    options.parts = options.parts.split(",")
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    try:
        device = _device(options.device)
    except (ValueError, IndexError, ImportError) as error:
        print(f"gpu-report: {error}", file=sys.stderr)
        return 2
    if options.store and (device.type == "cpu" or set(options.parts) != set(PARTS)):
        parser.error("--store is for all parts on a card")
    path = options.out or (STORED if options.store else Path("gpu-report.json"))
    found = _without_places(report(device, options))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print("\n=== gpu-report")
    for name, part in found["parts"].items():
        print(_line(name, part))
    machine = found["machine"]
    failed = [name for name, part in found["parts"].items() if "failed" in part]
    print(
        f"{machine['device']}, PyTorch {machine['versions']['torch']}, "
        f"{found['date']}, {found['seconds']:.0f} s, written to {path.name}; "
        f"{'failed: ' + ', '.join(failed) if failed else 'nothing failed'}"
    )
    return int(bool(failed))
