"""Every chapter in environments like Colab's: ``make test-colab``.

For Colab's current and its previous runtime: makes an environment with the versions of
its published list below ``.matrix/`` (kept for the next time; PyTorch is the CUDA build
there, about 5 GB each) and lets the real set-up cell prepare it, in a kernel where
``google.colab`` is a stand-in: without a wheel, from the wheel, and once from a local
git repository that a copy of the notebooks is stamped for. The cell runs twice. After
it, what is installed may differ from before by what it announced and by nothing else.
Then every chapter runs to its end, each in a kernel of its own; outputs are not
compared. What was installed is removed again. Exits with 1 if anything is red.

``--here`` does it once, in the interpreter that runs this, for Colab's own image.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import nbformat  # noqa: E402
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager  # noqa: E402
from jupyter_client.manager import AsyncKernelManager  # noqa: E402
from nbclient import NotebookClient  # noqa: E402
from nbclient.exceptions import (  # noqa: E402
    CellExecutionError,
    CellTimeoutError,
    DeadKernelError,
)
from nbformat import NotebookNode  # noqa: E402

from tools import environments, stamp  # noqa: E402
from tools.execute import executed_notebooks  # noqa: E402

#: Colab's published lists: the current runtime, the previous one that can be chosen.
RUNTIMES = {"3.13": "2.1.3", "3.12": "2.0.2"}
PACKAGES = (
    "torch==2.11.0",
    "ipython==7.34.0",
    "ipykernel==6.17.1",
    "setuptools==75.2.0",
    "matplotlib==3.10.0",
    "graphviz==0.21",
    *("requests", "scikit-learn", "tqdm", "pygments", "pooch"),
)
CELL_TIMEOUT_SECONDS = 600
BRANCH = "main"
#: The runtime that the git address is tried in, too.
WITH_GIT = "3.13"
STAND_IN = (
    "import sys, types; "
    "sys.modules.setdefault('google.colab', types.ModuleType('google.colab'))"
)
LIST = """\
import json, re
from importlib import metadata
found = {}
for d in metadata.distributions():
    name = re.sub("[-_.]+", "-", d.metadata["Name"]).lower()
    found.setdefault(name, d.version)
print(json.dumps(found))
"""
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
HEADER = ("Python", "from", "what", "s", "result")


class Red(Exception):  # noqa: N818 - an outcome that is told to the author
    """Something is not as it must be."""


@dataclass
class Interpreter:
    """A Python that chapters run in, and the folder that they run in, as on Colab."""

    python: Path
    folder: Path

    def call(self, *arguments: str) -> str:
        """Run this Python on its own; what it printed.

        Raises:
            Red: with the last line of its errors.
        """
        ran = subprocess.run(
            [self.python, *arguments],
            cwd=self.folder,
            env=self.variables(),
            capture_output=True,
            text=True,
        )
        if ran.returncode:
            raise Red(environments.last_line(ran.stderr))
        return ran.stdout

    def variables(self) -> dict[str, str]:
        """An environment in which `pip` and `python` are this Python's."""
        ours = ("PYTHONPATH", "VIRTUAL_ENV", "MPLBACKEND", "D2L_STORED_OUTPUTS")
        variables = {k: v for k, v in os.environ.items() if k not in ours}
        path = os.pathsep.join([str(self.python.parent), variables.get("PATH", "")])
        return variables | {"PATH": path}

    def packages(self) -> dict[str, str]:
        """Every installed distribution and its version."""
        found: dict[str, str] = json.loads(self.call("-I", "-c", LIST))
        return found

    def reset(self, before: dict[str, str]) -> None:
        """Remove what was not there before, files that were made by running included.

        Raises:
            Red: something has another version than before.
        """
        new = self.packages().keys() - before.keys()
        if new:
            self.call("-m", "pip", "uninstall", "--quiet", "--yes", *sorted(new))
            site = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
            for name in new:
                folder = Path(self.call("-I", "-c", site).strip(), name)
                shutil.rmtree(folder, ignore_errors=True)
        if self.packages() != before:
            raise Red(f"cannot be undone: remove {self.python.parent.parent}")

    def run(self, nb: NotebookNode) -> list[str]:
        """Run a notebook in a fresh kernel; what each of its code cells printed.

        Raises:
            Red: naming the cell that raised, and how.
        """
        manager = kernels_of(self.python)
        client = NotebookClient(
            nb,
            kernel_manager_class=manager,
            timeout=CELL_TIMEOUT_SECONDS,
            resources={"metadata": {"path": str(self.folder)}},
        )
        with tempfile.TemporaryDirectory() as profile:
            variables = self.variables() | {"IPYTHONDIR": profile}
            try:
                client.execute(env=variables, stderr=subprocess.DEVNULL)
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as problem:
                raise Red(failure(nb, problem)) from None
        return [printed(cell) for cell in nb.cells if cell.cell_type == "code"]


def kernels_of(python: Path) -> type[AsyncKernelManager]:
    """A kernel manager that starts kernels of one Python, whatever is registered."""
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    command += [f"--IPKernelApp.exec_lines={STAND_IN}"]

    class Specs(KernelSpecManager):  # type: ignore[misc]
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return KernelSpec(argv=command, display_name="Python 3", language="python")

    class Kernels(AsyncKernelManager):  # type: ignore[misc]
        def __init__(self, **arguments: Any) -> None:
            super().__init__(kernel_spec_manager=Specs(), **arguments)

    return Kernels


def printed(cell: NotebookNode) -> str:
    """What a cell wrote to its streams."""
    text = "".join(o.text for o in cell.outputs if o.output_type == "stream")
    return text.replace("\r\n", "\n")  # a shell line runs in a terminal


def failure(nb: NotebookNode, problem: Exception) -> str:
    """Which cell stopped the run, and the last line of why."""
    for number, cell in enumerate(nb.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                text = f"{output.ename}: {output.evalue}"
                return f"cell {number} ({cell.id}): {ANSI.sub('', text)}"
    return f"{type(problem).__name__}: {environments.last_line(str(problem))}"


def chapter(path: Path) -> NotebookNode:
    """A notebook without its outputs."""
    nb = nbformat.read(path, as_version=4)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nb


def setup_cells(path: Path, times: int) -> NotebookNode:
    """A notebook of a chapter's set-up cell, several times."""
    nb = chapter(path)
    first = next(cell for cell in nb.cells if cell.cell_type == "code")
    nb.cells = [nbformat.from_dict(first) for _ in range(times)]
    for number, cell in enumerate(nb.cells):
        cell.id = f"{first.id}-{number}"
    return nb


def announced(text: str) -> dict[str, str]:
    """The packages that a set-up cell says it has installed, with their versions."""
    found = dict(re.findall(r"^(d2lutils) (\S+)$", text, re.MULTILINE))
    for line in re.findall(r"^Installed: (.+)$", text, re.MULTILINE):
        found |= dict(re.findall(r"([\w-]+) ([^\s,]+)", line))
    return found


def prepared(interpreter: Interpreter, path: Path, before: dict[str, str]) -> str:
    """Let a chapter's set-up cell prepare the runtime, twice; what it announced.

    Raises:
        Red: a cell raised, or what is installed is not what was announced.
    """
    first, second = interpreter.run(setup_cells(path, 2))
    after = interpreter.packages()
    said = announced(first)
    if {**before, **said} != after or before.keys() & said.keys():
        names = sorted(
            name
            for name in {**before, **after}
            if {**before, **said}.get(name) != after.get(name)
        )
        raise Red(f"not as announced: {', '.join(names)}; the cell said {first!r}")
    if "mxnet" not in said or "Nothing to install" not in second:
        raise Red(f"first: {first!r}, second: {second!r}")
    return ", ".join(f"{name} {version}" for name, version in sorted(said.items()))


def explained(interpreter: Interpreter, path: Path) -> str:
    """Run the set-up cell where no wheel was uploaded; what it says.

    Raises:
        Red: it does not point to its comment, or it does not stop.
    """
    nb = setup_cells(path, 1)
    try:
        interpreter.run(nb)
    except Red:
        said = printed(nb.cells[0])
        if stamp.ROUTE not in nb.cells[0].source or stamp.NO_WHEEL not in said:
            raise Red(f"the cell printed {said!r}") from None
        return f"{stamp.NO_WHEEL!r}, which says how to upload it"
    raise Red("the cell went on")


def copy_of_tree(target: Path, **settings: str) -> Path:
    """A copy of the files that are, or could be, in the repository, stamped."""
    for name in files_of_tree():
        source = ROOT / name
        if source.is_symlink() or source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / name, follow_symlinks=False)
    stamp.stamp(target, **settings)
    return target


def files_of_tree() -> list[str]:
    """Names of the files that git has or would take; of all where there is no git."""
    if not (ROOT / ".git").exists():
        return [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.split("\0") if name]


def repository(target: Path) -> Path:
    """A git repository of the tree; its notebooks install from this very repository."""
    copy_of_tree(target, url=target.as_uri(), branch=BRANCH)
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (
        ["init", "--quiet", f"--initial-branch={BRANCH}"],
        ["add", "--all"],
        [*who, "commit", "--quiet", "--no-gpg-sign", "--message=The tree"],
    ):
        subprocess.run(["git", *command], cwd=target, check=True)
    return target


def build_wheel(target: Path, here: bool) -> None:
    """Build the package's wheel, as the book's Downloads page does.

    That needs Sphinx, which Colab's image need not have: ``here`` pip builds it.
    """
    if here:
        with tempfile.TemporaryDirectory() as folder:
            copy = copy_of_tree(Path(folder))
            pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
            subprocess.run([*pip, "-w", target, copy], check=True)
        return
    sys.path.insert(0, str(ROOT / "book" / "ext"))
    import downloads

    downloads.build_wheel(target)


class Table:
    """Rows that are printed as they come, and whether one of them was red."""

    def __init__(self) -> None:
        self.red = 0
        self.show(*HEADER)
        print("|" + "---|" * len(HEADER), flush=True)

    def show(self, *cells: str) -> None:
        """Print a row."""
        print("| " + " | ".join(cells) + " |", flush=True)

    def row(self, python: str, source: str, what: str, check: Any) -> bool:
        """Do what is to be checked and print how it went; whether it went well."""
        start = time.perf_counter()
        try:
            result = check() or "ran to its end"
        except Red as problem:
            self.red += 1
            text = " ".join(str(problem).split()).replace("|", "\\|")
            result = f"**{text}**"
        seconds = f"{time.perf_counter() - start:.0f}"
        self.show(python, source, what, seconds, result)
        return not result.startswith("**")


def names_of(chosen: list[str]) -> list[str]:
    """The notebooks that are asked for, all by default: ``chapters/nin`` is ``nin``."""
    paths = [path.relative_to(ROOT) for path in executed_notebooks()]
    return [p.as_posix() for p in paths if not chosen or p.stem in chosen]


def check_runtime(
    table: Table,
    label: str,
    interpreter: Interpreter,
    chosen: list[str],
    work: Path,
    here: bool,
) -> None:
    """All rows of one runtime; what it installed is removed again, but not here."""
    before = interpreter.packages()
    uploaded = copy_of_tree(work / "uploaded")
    first = chosen[0]
    table.row(label, "–", "no wheel", lambda: explained(interpreter, uploaded / first))
    interpreter.reset(before)
    if label.startswith(WITH_GIT):
        path = repository(work / "cloned") / first
        table.row(label, "git", "set-up", lambda: prepared(interpreter, path, before))
        interpreter.reset(before)
    build_wheel(interpreter.folder, here)
    if table.row(
        *(label, "wheel", "set-up"),
        lambda: prepared(interpreter, uploaded / first, before),
    ):
        after = interpreter.packages()
        for name in chosen:
            nb, short = chapter(uploaded / name), Path(name).stem
            table.row(label, "wheel", short, lambda n=nb: interpreter.run(n) and "")
        table.row(*(label, "wheel", "packages"), lambda: unchanged(interpreter, after))
    if not here:
        interpreter.reset(before)


def unchanged(interpreter: Interpreter, packages: dict[str, str]) -> str:
    """Whether the chapters left what is installed as it was."""
    if interpreter.packages() != packages:
        raise Red("a chapter changed what is installed")
    return f"{len(packages)}, none changed by a chapter"


def runtimes(chosen: list[str]) -> Iterator[tuple[str, Path | str]]:
    """Each runtime's name, with its Python or what was wrong with making it."""
    found = environments.interpreters()
    for python in chosen:
        numpy = RUNTIMES[python]
        label = f"{python}, NumPy {numpy}"
        folder = environments.FOLDER / f"colab-{python}"
        if python not in found:
            yield label, "no such interpreter here"
            continue
        wanted = (f"numpy=={numpy}", *PACKAGES)
        print(
            f"{folder.relative_to(ROOT)}: kept from before, or made now; with the CUDA "
            "build of PyTorch, about 5 GB",
            file=sys.stderr,
            flush=True,
        )
        step = (*environments.PIP, *wanted)
        problem = environments.build(folder, found[python], step)
        yield label, problem or environments.python_in(folder)


def main(arguments: list[str] | None = None) -> int:
    """Check what the command line asks for; 0 if all is well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runtime", nargs="+", choices=RUNTIMES, default=[*RUNTIMES])
    parser.add_argument("--chapter", nargs="+", default=[], help="only these")
    parser.add_argument("--here", action="store_true", help="in Colab's own image")
    options = parser.parse_args(arguments)
    chosen = names_of(options.chapter)
    if not chosen:
        print(f"no chapter is called {' '.join(options.chapter)}")
        return 1
    found: list[tuple[str, Path | str]]
    if options.here:
        found = [("here", Path(sys.executable))]
    else:
        found = list(runtimes(options.runtime))
    table = Table()
    for label, python in found:
        if isinstance(python, str):
            table.red += 1
            table.show(label, "–", "–", "–", f"**not built: {python}**")
            continue
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work, "content")
            folder.mkdir()
            interpreter = Interpreter(python, folder)
            if options.here and "d2lutils" in interpreter.packages():
                print("--here would replace this interpreter's own d2lutils")
                return 1
            try:
                check_runtime(
                    table, label, interpreter, chosen, Path(work), options.here
                )
            except Red as problem:
                table.red += 1
                table.show(label, "–", "–", "–", f"**{problem}**")
    return 1 if table.red else 0


if __name__ == "__main__":
    sys.exit(main())
