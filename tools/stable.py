"""Do the stored outputs hold on other machines? ``make test-stable``.

Runs every notebook once under each setting, stores nothing, and lets ``pytest --nbval``
compare with what is stored: one thread and two, no vector instructions beyond AVX2, and
a machine with something else to do on each core. Each cell that moved is printed with
the comparer's words; a table at the end counts them, and the exit status is 1 if one
did. The cure is at the cause (float64 where that is cheap), not a tolerance.

All of it takes about half an hour on two cores; ``--chapters nin blocks`` and
``--settings avx2`` choose.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

from tools import ROOT, execute
from tools.test import Outcome, cores, run, told

#: For a cell. A busy machine is slow, and slowness is not judged here.
PATIENCE_SECONDS = 900
BUSY = "busy"
#: What is different about a run: variables of the environment.
SETTINGS: dict[str, Mapping[str, str]] = {
    "threads-1": {execute.D2L_THREADS: "1"},
    "threads-2": {execute.D2L_THREADS: "2"},
    # PyTorch's own kernels, its oneDNN, MXNet's older oneDNN, and MKL.
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "DNNL_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    BUSY: {},
}
# Ends by itself, too: when the process that started it is gone.
SPIN = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(1_000_000):
        pass
"""
# What a setting came to, as the frameworks themselves see it.
REACHED = """
import torch
from d2lutils.compat import mx
x = mx.nd.ones((1, 8, 8, 8))
mx.nd.Convolution(x, mx.nd.ones((8, 8, 3, 3)), no_bias=True, kernel=(3, 3),
                  num_filter=8).wait_to_read()
print("torch:", torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())
"""


@contextlib.contextmanager
def spinning(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Keep so many cores busy meanwhile."""
    command = [sys.executable, "-c", SPIN, str(os.getpid())]
    spinners = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield spinners
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def reached(setting: Mapping[str, str]) -> str:
    """What the frameworks make of a setting: instructions and threads."""
    with variables({**setting, "DNNL_VERBOSE": "1"}):
        ran = subprocess.run(
            [sys.executable, "-c", REACHED],
            env=execute.fixed_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    torch = re.search(r"^torch: (.*) (\d+)$", ran.stdout, re.MULTILINE)
    onednn = re.search(r"isa:(.*)", ran.stdout)
    if torch is None or onednn is None:
        return f"not known: {(ran.stderr.strip().splitlines() or ['no answer'])[-1]}"
    return f"PyTorch {torch[1]} with {torch[2]} threads, MXNet {onednn[1].strip()}"


@contextlib.contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process's environment meanwhile."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def judge(name: str, paths: Sequence[str]) -> Outcome:
    """Run notebooks under a setting."""
    busy = cores() if name == BUSY else 0
    with variables(SETTINGS[name]), spinning(busy):
        patience = f"--nbval-cell-timeout={PATIENCE_SECONDS}"
        return run(name, ["--nbval", patience, *paths])


def main(arguments: list[str] | None = None) -> int:
    """Print what moved and how much that is; 0 if nothing did."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    paths = {
        path.stem: str(path.relative_to(ROOT)) for path in execute.executed_notebooks()
    }
    parser.add_argument(
        "--chapters", nargs="+", choices=paths, default=list(paths), metavar="CHAPTER"
    )
    parser.add_argument(
        "--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS)
    )
    options = parser.parse_args(arguments)
    for name in options.settings:
        busy = f", {cores()} busy cores" if name == BUSY else ""
        print(f"{name}: {reached(SETTINGS[name])}{busy}", flush=True)
    chosen = [paths[chapter] for chapter in options.chapters]
    return told([judge(name, chosen) for name in options.settings])


if __name__ == "__main__":
    sys.exit(main())
