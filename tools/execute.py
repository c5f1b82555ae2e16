"""Re-execute chapters and store their outputs: ``make execute``.

Without names, every notebook in ``chapters/`` and ``book/`` whose code changed since
its outputs were stored is run: its own code cells, a module of ``d2lutils`` that they
import, directly or through another module, or stored timings that they draw. Comments
and docstrings do not count; where a page shows one, the tests see that its output is
another now, and ``make execute NOTEBOOKS=chapters/nin.ipynb`` runs that chapter.
``--all`` runs all of them.

A notebook runs top to bottom in a fresh kernel of this very interpreter, in its own
folder, with everything fixed that could leak into an output. It is stored only if no
cell raised, wrote to stderr or printed a path of this machine; otherwise the cell and
the reason are printed and the file stays as it was.
"""

from __future__ import annotations

import argparse
import ast
import functools
import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
import time
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbformat
from ipykernel.kernelspec import get_kernel_dict
from IPython.core.inputtransformer2 import TransformerManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat import NotebookNode

from tools import ROOT
from tools import notebook as notebooks

#: By folder: a core is short, further measurements and pages may take longer.
BUDGET_SECONDS = {"chapters": 20, "further": 90, "book": 60}
CELL_TIMEOUT_SECONDS = 120
PACKAGE = "d2lutils"
LAZY = re.compile(rf"{PACKAGE}(\.\w+)+")
STORED = re.compile(r"""\bstored\(\s*["']([\w.]+)["']""")
CARDS = re.compile(r"\bporting\.cards\(")
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
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
#: For `make test-stable`: compute with so many threads, which is otherwise left open.
D2L_THREADS = "D2L_THREADS"
#: For `tools.pretend_gpu`: one more extension of IPython for each kernel.
D2L_EXTENSION = "D2L_EXTENSION"


class Refused(Exception):  # noqa: N818 - an outcome that is told to the author
    """The notebook ran, or failed to, in a way that must not be stored."""


# -- which notebooks are stale ---------------------------------------------------------


def code_hash(nb: NotebookNode, name: str, root: Path = ROOT) -> str:
    """Hash a notebook's code cells, and the package code and timings they use.

    Args:
        nb: the notebook.
        name: its file name without the ending, which is its module of exercises, too.
        root: the folder that holds the package.
    """
    transform = TransformerManager().transform_cell  # magics become calls
    cells = [transform(c.source) for c in nb.cells if c.cell_type == "code"]
    code = "\n".join(cells)
    digest = hashlib.sha256(code_only(code, keep_strings=True).encode())
    for path in sorted(package_files(code, name, root)):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(code_only(path.read_text(encoding="utf-8")).encode() + b"\0")
    for suite in sorted(set(STORED.findall(code))):
        results = root / PACKAGE / "results" / f"{suite}.json"
        if results.is_file():
            digest.update(results.read_bytes())
    if CARDS.search(code):
        from d2lutils import porting

        digest.update(porting.cards(root / "chapters").text.encode())
    return digest.hexdigest()[:16]


@functools.cache
def code_only(source: str, keep_strings: bool = False) -> str:
    """Source without comments and blank lines and, unless kept, docstrings.

    Taken out of the text: a syntax tree is written in another way by each Python.
    """
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in [] if keep_strings else ast.walk(ast.parse(source)):
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            first, last = value.lineno - 1, value.end_lineno or value.lineno
            if not lines[first][: value.col_offset].strip():  # no `def f(): "words"`
                lines[first:last] = [""] * (last - first)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def package_files(code: str, name: str, root: Path = ROOT) -> set[Path]:
    """The package's files that ``code`` imports, followed through their own imports.

    ``exercises`` imports a chapter's module when a check is asked for by name: of those
    only this chapter's counts.
    """
    found: set[Path] = set()
    exercises = root / PACKAGE / "exercises"
    waiting = list(_imported(code, None, root))
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting += _imported(path.read_text(encoding="utf-8"), path, root)
        own = exercises / f"{name}.py"
        if path == exercises / "__init__.py" and own.is_file():
            waiting.append(own)
    return found


@functools.cache
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


def is_stale(path: Path, root: Path = ROOT) -> bool:
    """Whether a notebook's code changed since its outputs were stored."""
    nb = notebooks.read(path)
    # A cell whose outputs were dropped on the way from text has never run.
    ran = all(c.execution_count for c in nb.cells if c.cell_type == "code")
    stored = nb.metadata.get("d2l", {}).get("code_hash")
    return not ran or stored != code_hash(nb, path.stem, root)


def executed_notebooks(root: Path = ROOT) -> list[Path]:
    """The notebooks whose outputs the repository stores."""
    patterns = ("chapters/*.ipynb", "chapters/further/*.ipynb", "book/*.ipynb")
    return sorted(path for pattern in patterns for path in root.glob(pattern))


def place(path: Path) -> str:
    """What a notebook is called: ``nin``, ``further/nin``, ``porting``."""
    further = path.parent.name == "further"
    return f"further/{path.stem}" if further else path.stem


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
    unset = (*THREADS, "PYTHONSTARTUP", "PYTHONWARNINGS")
    environment = {k: v for k, v in os.environ.items() if k not in unset}
    environment |= ENVIRONMENT
    if count := environment.get(D2L_THREADS):
        environment |= dict.fromkeys(THREADS, count)
    # ROOT, too: the extension that IPython loads is there.
    paths = dict.fromkeys([str(root), str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment


def new_profile() -> tempfile.TemporaryDirectory[str]:
    """A fresh IPYTHONDIR; a kernel that is given it refuses draws without a seed."""
    folder = tempfile.TemporaryDirectory()
    profile = Path(folder.name, "profile_default")
    profile.mkdir()
    extensions = ["tools.seeds", *filter(None, [os.environ.get(D2L_EXTENSION)])]
    setting = f"get_config().InteractiveShellApp.extensions = {extensions}\n"
    (profile / "ipython_config.py").write_text(setting, encoding="utf-8")
    return folder


def execute(nb: NotebookNode, folder: Path, root: Path = ROOT) -> NotebookNode:
    """Run a notebook in a fresh kernel and return it with tidy outputs.

    Args:
        nb: the notebook; it stays as it is.
        folder: where it runs.
        root: the folder that holds the package.

    Raises:
        Refused: naming the cell, if one raised, took too long, wrote to stderr or
            printed a path of this machine.
    """
    import matplotlib.font_manager  # noqa: F401 - a cold font cache warns on stderr

    fresh = nbformat.from_dict(nb)
    notebooks.clear(fresh)
    with new_profile() as profile:
        client = nbclient.NotebookClient(
            fresh,
            kernel_manager_class=OwnKernelManager,
            timeout=CELL_TIMEOUT_SECONDS,
            record_timing=False,
            coalesce_streams=True,  # where a stream was cut is chance
            resources={"metadata": {"path": str(folder)}},
        )
        environment = fixed_environment(root) | {"IPYTHONDIR": profile}
        try:
            client.execute(env=environment, stderr=subprocess.DEVNULL)
        except CellExecutionError as problem:
            raise Refused(_failed_cell(fresh, str(problem))) from None
        except CellTimeoutError:
            text = f"took longer than {CELL_TIMEOUT_SECONDS:g} s"
            raise Refused(_failed_cell(fresh, text)) from None
    notebooks.normalize(fresh)
    code = [(n, cell) for n, cell in enumerate(fresh.cells) if cell.cell_type == "code"]
    for count, (number, cell) in enumerate(code, start=1):
        _refuse_noise(cell, number, root)
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
    return fresh


def _texts(output: NotebookNode) -> Iterator[str]:
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
    where = f"cell {number} ({cell.id})"
    head = "\n".join(f"    {line}" for line in cell.source.splitlines()[:6])
    for output in cell.outputs:
        if output.get("name") == "stderr":
            raise Refused(f"{where} wrote to stderr:\n{head}\n\n{output.text}")
        for line in "\n".join(_texts(output)).splitlines():
            if any(place in line for place in places):
                raise Refused(
                    f"{where} printed a path of this machine:\n{head}\n\n{line}"
                )


def _failed_cell(nb: NotebookNode, traceback: str) -> str:
    """Name the cell at which the run stopped."""
    where = [
        f"cell {number} ({cell.id}) failed"
        for number, cell in enumerate(nb.cells)
        if any(output.output_type == "error" for output in cell.get("outputs", []))
    ]
    return "\n".join([*where, ANSI.sub("", traceback)])


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
    print(f"{label}: {seconds:.1f} s, {path.stat().st_size / 1000:,.0f} kB", flush=True)
    budget = BUDGET_SECONDS.get(path.parent.name, seconds)
    if seconds > budget:
        print(f"{label}: WARNING: over the budget of {budget} s", flush=True)
    return True


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; 0 if all notebooks are well and stored."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="only these, always")
    parser.add_argument("--all", action="store_true", help="run unchanged ones, too")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    paths = [path.resolve() for path in options.notebooks] or executed_notebooks(root)
    if not (options.notebooks or options.all):
        stale = [path for path in paths if is_stale(path, root)]
        print(f"{len(paths) - len(stale)} of {len(paths)} notebooks are up to date")
        paths = stale
    results = [run(path, root) for path in paths]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
