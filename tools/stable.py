"""Do the stored outputs hold on other machines? ``make test-stable``.

Runs every notebook once under each setting, stores nothing, and compares with what is
stored, by the comparer and the tolerances of ``tests/chapters``: one thread and two,
no vector instructions beyond AVX2, and a machine with something else to do on each
core. A table says what stayed the same; below it stands each cell that moved, its
class, the number in it that moved most, and the comparer's words. The exit status is 1
if one did. The cure is at the cause (float64 where that is cheap), not a tolerance.

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
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "chapters")]

import compare  # noqa: E402
from nbformat import NotebookNode  # noqa: E402

from tools import execute, notebook  # noqa: E402
from tools.test import cores  # noqa: E402

SHOWN_LINES = 12
#: For a cell. A busy machine is slow, and slowness is not judged here.
PATIENCE_SECONDS = 900


@dataclass(frozen=True)
class Setting:
    """What is different about a run."""

    variables: Mapping[str, str] = field(default_factory=dict)
    busy: bool = False


def threads(count: int) -> Setting:
    """Both frameworks and NumPy compute with so many threads."""
    libraries = ("OMP", "MKL", "OPENBLAS")
    return Setting({f"{name}_NUM_THREADS": str(count) for name in libraries})


SETTINGS = {
    "threads-1": threads(1),
    "threads-2": threads(2),
    # PyTorch's own kernels, its oneDNN, MXNet's older oneDNN, and MKL.
    "avx2": Setting(
        {
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "DNNL_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        }
    ),
    "busy": Setting(busy=True),
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


@dataclass(frozen=True)
class Moved:
    """A cell whose fresh outputs are not what is stored."""

    cell: str
    kind: str
    most: str
    why: tuple[str, ...]

    def __str__(self) -> str:
        lines = [line for text in self.why for line in text.splitlines()]
        left = len(lines) - SHOWN_LINES
        if left > 0:  # a traceback ends with what matters, a difference begins with it
            half = SHOWN_LINES // 2
            lines = [*lines[:half], f"… {left} more lines", *lines[-half:]]
        head = ", ".join(part for part in (self.cell, self.kind, self.most) if part)
        return "\n".join([head, *(f"    {line}" for line in lines)])


def moved(stored: NotebookNode, fresh: NotebookNode) -> list[Moved]:
    """The cells of a notebook that moved, judged by the project's comparer."""
    found = []
    for number, (old, new) in enumerate(zip(stored.cells, fresh.cells, strict=True)):
        if old.cell_type != "code":
            continue
        why = compare.compare_cell(old.outputs, new.outputs, old.metadata)
        if why:
            kind = compare.policy_of(old.metadata).kind
            most = largest_change(old.outputs, new.outputs)
            found.append(Moved(f"cell {number} ({old.id})", kind, most, tuple(why)))
    return found


def largest_change(
    stored: Sequence[Mapping[str, Any]], fresh: Sequence[Mapping[str, Any]]
) -> str:
    """The number that moved most, as a share of itself; "" if none can be paired."""
    changes = []
    for old, new in zip(stored, fresh, strict=False):
        texts = zip(execute.output_texts(old), execute.output_texts(new), strict=False)
        for pair in texts:
            before, after = (compare.NUMBER.findall(text) for text in pair)
            if len(before) != len(after):
                continue
            for a, b in zip(before, after, strict=True):
                one, two = (float(text.replace(",", "")) for text in (a, b))
                if one != two:
                    share = abs(one - two) / abs(one) if one else float("inf")
                    changes.append((share, f"{a} became {b}, {share:.2g} of itself"))
    return max(changes)[1] if changes else ""


@contextlib.contextmanager
def spinning(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Keep so many cores busy meanwhile."""
    spinners: list[subprocess.Popen[bytes]] = []
    command = [sys.executable, "-c", SPIN, str(os.getpid())]
    try:
        for _ in range(count):
            spinners.append(subprocess.Popen(command))
        yield spinners
    finally:
        for spinner in spinners:
            spinner.kill()
        for spinner in spinners:
            spinner.wait()


def judge(path: Path, setting: Setting) -> list[Moved]:
    """Run a notebook under a setting; the cells that moved, or why it did not run."""
    if execute.is_stale(path):
        why = "its code changed since its outputs were stored: `make execute`"
        return [Moved("stale", "", "", (why,))]
    stored = notebook.read(path)
    with spinning(cores() if setting.busy else 0):
        try:
            fresh = execute.execute(
                stored,
                path.parent,
                setting=setting.variables,
                patience=PATIENCE_SECONDS,
            )
        except execute.Refused as problem:
            return [Moved("not run", "", "", (str(problem),))]
    return moved(stored, fresh)


def reached(setting: Setting) -> str:
    """What the frameworks make of a setting: instructions and threads."""
    environment = execute.fixed_environment() | dict(setting.variables)
    ran = subprocess.run(
        [sys.executable, "-c", REACHED],
        env=environment | {"DNNL_VERBOSE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    torch = re.search(r"^torch: (.*) (\d+)$", ran.stdout, re.MULTILINE)
    onednn = re.search(r"isa:(.*)", ran.stdout)
    if torch is None or onednn is None:
        return f"not known: {(ran.stderr.strip().splitlines() or ['no answer'])[-1]}"
    text = f"PyTorch {torch[1]} with {torch[2]} threads, MXNet {onednn[1].strip()}"
    return f"{text}, {cores()} busy cores" if setting.busy else text


def main(arguments: list[str] | None = None) -> int:
    """Print the table and what moved; 0 if nothing did."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    paths = {path.stem: path for path in execute.executed_notebooks()}
    parser.add_argument(
        "--chapters", nargs="+", choices=paths, default=list(paths), metavar="CHAPTER"
    )
    parser.add_argument(
        "--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS)
    )
    options = parser.parse_args(arguments)
    for name in options.settings:
        print(f"{name}: {reached(SETTINGS[name])}", flush=True)
    print(f"\n| chapter | {' | '.join(options.settings)} | s |", flush=True)
    print("|---" * (len(options.settings) + 2) + "|")
    details = []
    for chapter in options.chapters:
        print(f"| {chapter} |", end="", flush=True)
        start = time.perf_counter()
        for name in options.settings:
            found = judge(paths[chapter], SETTINGS[name])
            verdict = ", ".join(cell.cell for cell in found) or "same"
            print(f" {verdict} |", end="", flush=True)
            details += [f"{chapter}, {name}: {cell}" for cell in found]
        print(f" {time.perf_counter() - start:.0f} |", flush=True)
    print("", *details, sep="\n")
    print(f"not the same: {len(details)}" if details else "no cell moved")
    return 1 if details else 0


if __name__ == "__main__":
    sys.exit(main())
