"""Run the benchmarks and store them: ``python -m benchmarks`` (``make bench``)."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks import (
    batch_norm,
    condconv,
    convert,
    graph,
    one_idea,
    shortcuts,
    stochastic_depth,
)
from benchmarks.cases import Case
from d2lutils import timing
from d2lutils.pytorch.devices import try_gpu
from d2lutils.timing import Timing, interleaved

#: In the package, so that an installed one has them.
RESULTS = Path(timing.__file__).parent / "results"
SUITES: dict[str, Callable[[], Iterable[Case]]] = {
    "shortcuts": shortcuts.cases,
    "pyramidnet": shortcuts.whole_nets,
    "condconv": condconv.cases,
    "condconv_layers": condconv.layers,
    "one_idea": one_idea.cases,
    "batch_norm": batch_norm.cases,
    "graph": graph.cases,
    "stochastic_depth": stochastic_depth.cases,
    "convert": convert.cases,
}


def machine() -> dict[str, Any]:
    """What the numbers depend on; the device is the one of the PyTorch half."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numpy", "mxnet", "torch")},
        "device": torch.cuda.get_device_name() if try_gpu().type == "cuda" else "CPU",
    }


def processor() -> str:
    """The processor's own name, where the system tells it."""
    cpus = Path("/proc/cpuinfo")
    words = cpus.read_text() if cpus.exists() else ""
    found = re.search(r"^model name\s*: (.+)", words, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def row(name: str, timing: Timing, base: Timing) -> dict[str, Any]:
    """One candidate as plain data: milliseconds, quartiles, ratio to the base."""
    return {
        "name": name,
        "ms": round(timing.median * 1e3, 4),
        "ms_quartiles": [round(timing.low * 1e3, 4), round(timing.high * 1e3, 4)],
        "ratio": round(timing.ratio(base), 3),
        "runs": timing.runs,
    }


def main() -> None:
    """Run the suites, print their tables, store them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", help=f"of {', '.join(SUITES)}")
    parser.add_argument("--repeat", type=int, default=30)
    options = parser.parse_args()
    unknown = set(options.suites) - set(SUITES)
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    today = datetime.date.today().isoformat()
    for suite in options.suites or SUITES:
        stored = []
        for case in SUITES[suite]():
            repeat = min(options.repeat, case.repeat or options.repeat)
            timings = interleaved(case.candidates, repeat=repeat)
            base = timings[case.base]
            rows = [row(name, timing, base) for name, timing in timings.items()]
            stored.append({"case": case.name, "base": case.base, "rows": rows})
            print(f"\n{case.name} (ratio to: {case.base})", flush=True)
            for r in rows:
                low, high = r["ms_quartiles"]
                print(
                    f"  {r['ratio']:6.2f}  {r['name']:<44} "
                    f"{r['ms']:8.3f} ms  [{low:.3f}, {high:.3f}]"
                )
        RESULTS.mkdir(exist_ok=True)
        # A GPU's results stand beside the CPU's, which the chapters' figures need.
        found = machine()
        where = "" if found["device"] == "CPU" else ".gpu"
        path = RESULTS / f"{suite}{where}.json"
        result = {"date": today, "machine": found, "cases": stored}
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"\nstored in {path.relative_to(Path(__file__).parents[1])}")


if __name__ == "__main__":
    main()
