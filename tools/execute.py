"""Re-execute chapters and store their outputs: ``make execute``.

Without names, every notebook in ``chapters/`` and ``book/`` whose code changed since
its outputs were stored is run: its own code cells, or any module of ``d2lutils`` that
they import, directly or through another module. ``--all`` runs all of them, ``--check``
runs none, lists the stale ones and fails if there are any.

A notebook runs top to bottom in a fresh kernel of this very interpreter, in its own
folder, with everything fixed that could leak into an output. It is stored only if no
cell raised, wrote to stderr or printed a path of this machine; otherwise the cell and
the reason are printed and the file stays as it was.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import nbclient  # noqa: E402
import nbformat  # noqa: E402
from ipykernel.kernelspec import get_kernel_dict  # noqa: E402
from IPython.core.inputtransformer2 import TransformerManager  # noqa: E402
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager  # noqa: E402
from jupyter_client.manager import AsyncKernelManager  # noqa: E402
from nbclient.exceptions import CellExecutionError, CellTimeoutError  # noqa: E402
from nbformat import NotebookNode  # noqa: E402

from d2lutils import porting  # noqa: E402
from tools import notebook as notebooks  # noqa: E402

BUDGET_SECONDS = 40
CELL_TIMEOUT_SECONDS = 120
PACKAGE = "d2lutils"
LAZY = re.compile(rf"{PACKAGE}(\.\w+)+")
STORED = re.compile(r"""\bstored\(\s*["']([\w.]+)["']""")
CARDS = re.compile(r"\bporting\.cards\(")
COLAB = "'google.colab' in sys.modules"
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
#: Set before a kernel starts, here and in tests/chapters: what could change an output.
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",  # stored outputs are from a CPU
    "D2L_STORED_OUTPUTS": "1",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONHASHSEED": "0",
    # PyTorch uses it inside, and says so from Python 3.14 on.
    "PYTHONWARNINGS": "ignore:`torch.jit.script`:FutureWarning",
    "TQDM_DISABLE": "1",
    "TZ": "UTC",
}
UNSET = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
)


class Refused(Exception):  # noqa: N818 - an outcome that is told to the author
    """The notebook ran, or failed to, in a way that must not be stored."""


# -- which notebooks are stale ---------------------------------------------------------


def code_hash(nb: NotebookNode, name: str, root: Path = ROOT) -> str:
    """Hash a notebook's code cells, the package code and the benchmarks they use.

    Args:
        nb: the notebook.
        name: its file name without the ending; of the chapters' checks in
            ``exercises`` only those of this chapter count.
        root: the folder that holds the package.
    """
    digest = hashlib.sha256()
    code = list(_code(nb))
    for source in code:
        digest.update(source.encode() + b"\0")
    for path in sorted(package_files("\n".join(code), name, root)):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    for suite in sorted(set(STORED.findall("\n".join(code)))):
        results = root / PACKAGE / "results" / f"{suite}.json"
        if results.is_file():
            digest.update(results.read_bytes())
    if CARDS.search("\n".join(code)):
        digest.update(porting.cards(root / "chapters").text.encode())
    return digest.hexdigest()[:16]


def package_files(code: str, name: str, root: Path = ROOT) -> set[Path]:
    """The package's files that ``code`` imports, followed through their own imports."""
    found: set[Path] = set()
    waiting = list(_imported(code, None, root))
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path.read_text(encoding="utf-8"), path, root)
            if path.match(f"{PACKAGE}/exercises/__init__.py"):
                waiting += filter(Path.is_file, [path.with_name(f"{name}.py")])
    return found


def _code(nb: NotebookNode) -> Iterator[str]:
    """Each code cell as plain Python: magics and shell lines become calls."""
    transform = TransformerManager().transform_cell
    for cell in nb.cells:
        if cell.cell_type == "code":
            yield _without_colab(transform(cell.source))


def _without_colab(code: str) -> str:
    """Code without what runs on Colab alone: no stored output comes from there."""
    lines = code.splitlines(keepends=True)
    for node in ast.parse(code).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == COLAB:
            if not node.orelse and node.end_lineno is not None:
                lines[node.lineno - 1 : node.end_lineno] = []
            break
    return "".join(lines)


def _imported(code: str, path: Path | None, root: Path) -> set[Path]:
    """The package's files that import statements anywhere in ``code`` name.

    A module named in a string counts, too: that is how lazy imports look.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level and path is not None:
                parent = path.relative_to(root).with_suffix("").parts[: -node.level]
                base = ".".join([*parent, *base.split(".")] if base else parent)
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and LAZY.fullmatch(str(node.value)):
            names.add(str(node.value))
    files: set[Path] = set()
    for name in names:
        parts = name.split(".")
        if parts[0] != PACKAGE:
            continue
        for length in range(1, len(parts) + 1):
            module = root.joinpath(*parts[:length])
            files |= {
                file
                for file in (module / "__init__.py", module.with_suffix(".py"))
                if file.is_file()
            }
    return files


def stored_hash(nb: NotebookNode) -> str | None:
    """The hash of the code that made the stored outputs, if there is one."""
    value: str | None = nb.metadata.get("d2l", {}).get("code_hash")
    return value


def is_stale(path: Path, root: Path = ROOT) -> bool:
    """Whether a notebook's code changed since its outputs were stored."""
    nb = notebooks.read(path)
    # A cell whose outputs were dropped on the way from text has never run.
    ran = all(c.execution_count for c in nb.cells if c.cell_type == "code")
    return not ran or stored_hash(nb) != code_hash(nb, path.stem, root)


def executed_notebooks(root: Path = ROOT) -> list[Path]:
    """The notebooks whose outputs the repository stores."""
    return sorted([*root.glob("chapters/*.ipynb"), *root.glob("book/*.ipynb")])


# -- running one -----------------------------------------------------------------------


class OwnInterpreter(KernelSpecManager):  # type: ignore[misc]
    """Every kernel name means this interpreter, whatever is registered here."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """The specification of a kernel that runs ``sys.executable``."""
        return KernelSpec(resource_dir="", **get_kernel_dict())


class OwnKernelManager(AsyncKernelManager):  # type: ignore[misc]
    """Starts kernels of this interpreter only."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(kernel_spec_manager=OwnInterpreter(), **arguments)


def fixed_environment(root: Path = ROOT) -> dict[str, str]:
    """This process's environment with everything fixed that could change an output."""
    environment = {k: v for k, v in os.environ.items() if k not in UNSET}
    environment.update(ENVIRONMENT)
    # ROOT, too: the extension that IPython loads is there.
    paths = dict.fromkeys([str(root), str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment


def new_profile() -> tempfile.TemporaryDirectory[str]:
    """A fresh IPYTHONDIR; a kernel that is given it refuses draws without a seed."""
    folder = tempfile.TemporaryDirectory()
    profile = Path(folder.name, "profile_default")
    profile.mkdir()
    setting = "get_config().InteractiveShellApp.extensions = ['tools.seeds']\n"
    (profile / "ipython_config.py").write_text(setting, encoding="utf-8")
    return folder


def execute(
    nb: NotebookNode,
    folder: Path,
    root: Path = ROOT,
    setting: Mapping[str, str] | None = None,
    patience: float | None = None,
) -> NotebookNode:
    """Run a notebook in a fresh kernel and return it with tidy outputs.

    Args:
        nb: the notebook; it stays as it is.
        folder: where it runs.
        root: the folder that holds the package.
        setting: environment variables beyond the fixed ones (``tools/stable.py``).
        patience: seconds that a cell may take, ``CELL_TIMEOUT_SECONDS`` by default.

    Raises:
        Refused: naming the cell, if one raised, took too long, wrote to stderr or
            printed a path of this machine.
    """
    import matplotlib.font_manager  # noqa: F401 - a cold font cache warns on stderr

    patience = patience or CELL_TIMEOUT_SECONDS
    fresh = nbformat.from_dict(nb)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    with new_profile() as profile:
        client = nbclient.NotebookClient(
            fresh,
            kernel_manager_class=OwnKernelManager,
            timeout=patience,
            record_timing=False,
            resources={"metadata": {"path": str(folder)}},
        )
        environment = fixed_environment(root) | {"IPYTHONDIR": profile}
        environment |= setting or {}
        try:
            client.execute(env=environment, stderr=subprocess.DEVNULL)
        except CellExecutionError as problem:
            raise Refused(_failed_cell(fresh, str(problem))) from None
        except CellTimeoutError:
            text = f"took longer than {patience:g} s"
            raise Refused(_failed_cell(fresh, text)) from None
    for number, cell in enumerate(fresh.cells):
        if cell.cell_type == "code":
            cell.outputs = merge_streams(cell.outputs)
            _refuse_noise(cell, number, root)
    notebooks.normalize(fresh)
    for count, cell in enumerate(
        (cell for cell in fresh.cells if cell.cell_type == "code"), start=1
    ):
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
    return fresh


def merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join neighbouring pieces of one stream: where it was cut is chance."""
    merged: list[NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if (
            last is not None
            and output.output_type == last.output_type == "stream"
            and output.name == last.name
        ):
            last.text += output.text
        else:
            merged.append(nbformat.from_dict(output))
    return merged


def output_texts(output: NotebookNode) -> Iterator[str]:
    """Every text in one output: a stream's, or each textual representation."""
    if output.output_type == "stream":
        yield output.text
    for mime, value in output.get("data", {}).items():
        if not mime.startswith("image/") or mime == "image/svg+xml":
            yield value if isinstance(value, str) else str(value)


def _refuse_noise(cell: NotebookNode, number: int, root: Path) -> None:
    """Refuse what must not be stored: stderr, and paths of this machine."""
    places = {str(root), str(Path.home()), tempfile.gettempdir(), sys.prefix}
    places -= {"/", "/root"}
    for output in cell.outputs:
        where = f"cell {number} ({cell.id})"
        head = _head(cell.source)
        if output.output_type == "stream" and output.name == "stderr":
            raise Refused(f"{where} wrote to stderr:\n{head}\n\n{output.text}")
        for text in output_texts(output):
            for place in sorted(places):
                if place in text:
                    line = next(li for li in text.splitlines() if place in li)
                    raise Refused(
                        f"{where} printed a path of this machine:\n{head}\n\n{line}"
                    )


def _failed_cell(nb: NotebookNode, traceback: str) -> str:
    """Name the cell at which the run stopped."""
    failed = [
        (number, cell)
        for number, cell in enumerate(nb.cells)
        if cell.cell_type == "code"
        and any(output.output_type == "error" for output in cell.outputs)
    ]
    where = [f"cell {number} ({cell.id}) failed" for number, cell in failed]
    return "\n".join([*where, ANSI.sub("", traceback)])


def _head(source: str, lines: int = 6) -> str:
    shown = source.splitlines()[:lines]
    return "\n".join(f"    {line}" for line in shown)


def run(path: Path, root: Path = ROOT) -> bool:
    """Run one notebook file, store it if all is well, and print how it went."""
    label = path.relative_to(root) if path.is_relative_to(root) else path
    nb = notebooks.read(path)
    start = time.perf_counter()
    try:
        fresh = execute(nb, path.parent, root)
    except Refused as problem:
        print(f"{label}: not stored, {problem}", flush=True)
        return False
    seconds = time.perf_counter() - start
    metadata: dict[str, Any] = dict(fresh.metadata.get("d2l", {}))
    metadata["code_hash"] = code_hash(nb, path.stem, root)
    fresh.metadata["d2l"] = NotebookNode(metadata)
    notebooks.write(fresh, path)
    size = path.stat().st_size / 1000
    print(f"{label}: {seconds:.1f} s, {size:,.0f} kB", flush=True)
    if seconds > BUDGET_SECONDS:
        print(f"{label}: WARNING: over the budget of {BUDGET_SECONDS} s", flush=True)
    return True


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; 0 if all notebooks are well and stored."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="only these, always")
    parser.add_argument("--all", action="store_true", help="run unchanged ones, too")
    parser.add_argument("--check", action="store_true", help="only list stale ones")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    paths = [path.resolve() for path in options.notebooks] or executed_notebooks(root)
    if options.check:
        stale = [path for path in paths if is_stale(path, root)]
        for path in stale:
            print(f"{path.name}: its code changed since it was run: `make execute`")
        return 1 if stale else 0
    if not (options.notebooks or options.all):
        stale = [path for path in paths if is_stale(path, root)]
        print(f"{len(paths) - len(stale)} of {len(paths)} notebooks are up to date")
        paths = stale
    results = [run(path, root) for path in paths]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
