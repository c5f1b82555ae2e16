"""The core chapters' PyTorch cells, run without Jupyter and without Gluon.

Each chapter runs in its own interpreter, ``python -m d2lutils.gpu_report.cells nin``:
the cells tagged ``pytorch`` and those that need no framework, in order, in one
namespace. Cells for Gluon or for both frameworks are left out. One that then lacks a
name which only such cells make needs Gluon, too, and is counted so.
"""

from __future__ import annotations

import ast
import builtins
import json
import linecache
import re
import sys
import time
import types
from pathlib import Path
from typing import Any

import d2lutils
from d2lutils._errors import reason
from d2lutils.gpu_report import child

__all__ = ["chapters", "run", "run_cells"]

PATIENCE_SECONDS = 120
#: Shell and magic lines, which stand only in what prepares a Colab runtime.
_SHELL = re.compile(r"^(\s*)[!%].*$", re.MULTILINE)


def chapters() -> dict[str, Path]:
    """The core chapters by name: those in a wheel, or those of a checkout."""
    package = Path(d2lutils.__file__).parent
    for folder in (package / "chapters", package.parent / "chapters"):
        if found := sorted(folder.glob("*.ipynb")):
            return {path.stem: path for path in found}
    return {}


def _cells(path: Path) -> list[tuple[str, str, str]]:
    """(id, framework, source) of each code cell; "" where it needs no framework."""
    found = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            tags = cell["metadata"].get("tags", [])
            half = next((t for t in tags if t in ("gluon", "pytorch", "both")), "")
            found.append((cell["id"], half, "".join(cell["source"])))
    return found


def _names(tree: ast.AST) -> set[str]:
    """The names that a piece of code binds."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.alias(name=name, asname=other):
                found.add(other or name.partition(".")[0])
    return found


def _shown(value: Any, _: Any = None) -> None:
    """What a notebook would do with the value of a cell, but for showing it."""
    if value is not None:
        repr(value)
        for kind in ("_repr_html_", "_repr_markdown_"):
            getattr(value, kind, lambda: None)()


def run_cells(path: Path) -> dict[str, Any]:
    """Run a chapter's cells in this process, which belongs to them afterwards.

    Returns:
        The ids of cells: `ran`, `left_out`, and `needs_gluon` with the name that each
        lacks; `failed`, a line for each; and `seconds`.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # One file for all cells, so that their classes' source can be found.
    whole = ""
    module = types.ModuleType("__main__")
    module.__file__ = f"{path.stem}.py"
    sys.modules["__main__"] = module
    vars(module)["display"] = _shown
    found: dict[str, Any] = {"ran": [], "left_out": [], "needs_gluon": {}, "failed": []}
    elsewhere: set[str] = set()
    start = time.perf_counter()
    for name, half, source in _cells(path):
        source = _SHELL.sub(r"\1pass", source)
        tree = ast.parse(source)
        if half in ("gluon", "both"):
            elsewhere |= _names(tree)
            found["left_out"].append(name)
            continue
        lines = whole.count("\n")
        whole += f"{source}\n\n"
        linecache.cache[module.__file__] = (
            *(len(whole), None, whole.splitlines(keepends=True), module.__file__),
        )
        ast.increment_lineno(tree, lines)
        last = tree.body[-1] if tree.body else None
        if isinstance(last, ast.Expr):
            call = ast.Call(ast.Name("display", ast.Load()), [last.value], [])
            last.value = ast.fix_missing_locations(ast.copy_location(call, last.value))
        try:
            code = compile(tree, module.__file__, "exec", dont_inherit=True)
            exec(code, vars(module))
            found["ran"].append(name)
        except NameError as error:
            if error.name in elsewhere and not hasattr(builtins, error.name):
                elsewhere |= _names(tree)
                found["needs_gluon"][name] = error.name
            else:
                found["failed"].append(f"{name}: NameError: {reason(error)}")
        except Exception as error:
            why = f"{type(error).__name__}: {reason(error)}"
            found["failed"].append(f"{name}: {why}")
        pyplot.close("all")
    return found | {"seconds": round(time.perf_counter() - start, 1)}


def run(seconds: float) -> dict[str, Any]:
    """All core chapters, one after the other, while there is time."""
    end, late = time.monotonic() + seconds, []
    rows: dict[str, dict[str, Any]] = {}
    for name, path in chapters().items():
        left = min(PATIENCE_SECONDS, end - time.monotonic())
        row: dict[str, Any] = {"late": True}
        if left > 0:
            row = child.ask("cells", str(path), left)
        if row.get("late") and left < PATIENCE_SECONDS:
            late.append(name)
            continue
        if isinstance(row.get("failed"), str):
            row["failed"] = [row["failed"]]
        rows[name] = row
        said = "; ".join(row["failed"]) or f"{row['seconds']} s"
        print(f"  {name:<24} {said}", flush=True)
    wrong = [f"{n}, {line}" for n, row in rows.items() for line in row["failed"]]
    sums = {
        key: sum(len(row.get(key, ())) for row in rows.values())
        for key in ("ran", "needs_gluon", "left_out")
    }
    said = (
        f"{len(rows)} chapters, {sums['ran']} cells ran, {sums['needs_gluon']} need "
        f"Gluon's results, {sums['left_out']} are Gluon's or for both"
    )
    if late:
        said += f"; not run, for want of time: {', '.join(late)}"
    if not rows and not late:
        wrong.append("this installation has no chapters")
    result: dict[str, Any] = {"summary": said, "chapters": rows, "not_run": late}
    return result | ({"failed": "; ".join(wrong)} if wrong else {})


if __name__ == "__main__":
    child.answer(lambda path: run_cells(Path(path)))
