"""Thirty public nets that exist in both frameworks: ``python -m benchmarks.zoo``.

The nets are those of `gluoncv2` and `pytorchcv` (``pip install --no-deps gluoncv2
pytorchcv``; ``--packages`` names the folder if they are elsewhere), without trained
weights. For each the ledger counts both halves, the count published in pytorchcv's own
checks stands beside it, and `copy_parameters` and `compare` say whether both are the
same program. Each net has a process of its own, and what it found is stored at once.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

RESULT = Path(__file__).with_suffix(".json")
# One net of each family, the smallest, of 32 pixels where there is one.
NETS = re.findall(
    r"\w+",
    """nin_cifar10 resnet20_cifar10 preresnet20_cifar10 seresnet20_cifar10
    sepreresnet20_cifar10 diaresnet20_cifar10 resdropresnet20_cifar10
    densenet40_k12_cifar10 xdensenet40_2_k24_bc_cifar10 ror3_56_cifar10
    pyramidnet110_a48_cifar10 shakeshakeresnet20_2x16d_cifar10
    squeezenet_v1_1 squeezeresnet_v1_1 mobilenet_wd4 fdmobilenet_wd4 mobilenetv2_wd4
    mobilenetv3_small_w7d20 igcv3_wd4 mnasnet_small proxylessnas_cpu spnasnet
    mixnet_s ghostnet shufflenet_g1_wd4 shufflenetv2_wd2 menet108_8x1_g3
    condensenet74_c4_g4 darknet_tiny darknet_ref""",
)


def source(package: str, name: str) -> Path:
    """The file that defines a net; importing all of them would need more packages."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is missing: pip install --no-deps {package}")
    folder = Path(spec.submodule_search_locations[0]) / "models"
    for path in sorted(folder.glob("*.py")):
        if f"\ndef {name}(" in path.read_text(encoding="utf-8"):
            return path
    raise SystemExit(f"{package} has no {name}")


def examine(name: str, steps: int) -> dict[str, Any]:
    """What one net is, in both frameworks."""
    from d2lutils.compat import mx
    from d2lutils.ledger import ledger
    from d2lutils.parity import compare, copy_parameters

    paths = {p: source(p, name) for p in ("gluoncv2", "pytorchcv")}
    pattern = rf"model != {name} or weight_count == (\d+)"
    published = re.search(pattern, paths["pytorchcv"].read_text(encoding="utf-8"))
    shape = (1, 3, *([32 if "cifar" in name else 224] * 2))
    found: dict[str, Any] = {"net": name, "shape": list(shape)}
    found["published"] = int(published.group(1)) if published else None
    nets = []
    for package, path in paths.items():
        net = getattr(importlib.import_module(f"{package}.models.{path.stem}"), name)()
        if package == "gluoncv2":
            net.initialize(mx.init.Xavier())
        book = ledger(net, shape)
        found[package] = [book.parameters, book.frozen, book.multiply_adds]
        nets.append(net)
    try:
        import numpy as np

        copy_parameters(*nets)
        x = np.random.default_rng(0).normal(size=(2, *shape[1:]))
        report = compare(*nets, x, steps=steps)
        found["same"] = report.ok
        if not report.ok:
            found["report"] = str(report).splitlines()
    except Exception as error:
        found["same"], found["report"] = False, [f"{type(error).__name__}: {error}"]
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """A line for each net: counted, published, the same or not."""
    lines = [f"{'net':34} {'published':>10} {'gluon':>10} {'pytorch':>10} {'m-a':>13}"]
    for row in rows:
        counts = [row.get(p, ["-"] * 3) for p in ("gluoncv2", "pytorchcv")]
        work = counts[0][2] if counts[0][2] == counts[1][2] else "differ"
        same = {True: "the same", False: "NOT the same"}.get(row.get("same"), "died")
        lines.append(
            f"{row['net']:34} {row.get('published') or '-':>10} {counts[0][0]:>10} "
            f"{counts[1][0]:>10} {work:>13}  {same}"
        )
    return "\n".join(lines)


def main() -> None:
    """Examine the nets, each in its own process; print and store a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", help="names; all thirty by default")
    parser.add_argument("--packages", help="folder of gluoncv2 and pytorchcv")
    parser.add_argument("--steps", type=int, default=1, help="of SGD in compare")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--timeout", type=int, default=600, help="seconds for a net")
    options = parser.parse_args()
    if options.packages:
        sys.path.append(options.packages)
    if options.one:
        print(json.dumps(examine(options.nets[0], options.steps)))
        return
    rows = json.loads(RESULT.read_text()) if RESULT.exists() else []
    rows = {row["net"]: row for row in rows}
    command = [sys.executable, "-m", "benchmarks.zoo", "--one", *sys.argv[1:]]
    command = [word for word in command if word not in options.nets]
    for name in options.nets or NETS:
        start = time.perf_counter()
        run: Any = {"capture_output": True, "text": True}
        run["timeout"] = options.timeout
        try:
            done = subprocess.run([*command, name], **run)
            if done.returncode < 0:  # oneDNN ended the process: without it, then
                without = {**os.environ, "MXNET_MKLDNN_ENABLED": "0"}
                done = subprocess.run([*command, name], env=without, **run)
            rows[name] = json.loads(done.stdout.splitlines()[-1])
        except subprocess.TimeoutExpired:
            rows[name] = {"net": name, "report": f"longer than {options.timeout} s"}
        except (IndexError, ValueError):
            last = done.stderr.splitlines()[-1:] or [""]
            rows[name] = {"net": name, "report": f"ended {done.returncode}: {last[0]}"}
        rows[name]["seconds"] = round(time.perf_counter() - start)
        print(table([rows[name]]).splitlines()[1], flush=True)
        RESULT.write_text(json.dumps(list(rows.values()), indent=1) + "\n")
    print(table(list(rows.values())))


if __name__ == "__main__":
    main()
