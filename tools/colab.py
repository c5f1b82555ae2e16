"""Every chapter in a runtime like Colab's: ``make test-colab``, ``test-colab-image``.

It runs in the runtime itself: in Colab's own image, or in the environments that
`noxfile.py` makes with the versions of Colab's published lists. The real set-up cell
prepares the runtime, in a kernel where ``google.colab`` is a stand-in: without a wheel,
from a local git repository that a copy of the notebooks is stamped for, and from the
wheel. The cell runs twice. After it, what is installed may differ from before by what
it announced and by nothing else. Then every chapter runs to its end, each in a kernel
of its own; outputs are not compared. What was installed is removed again. Exits with 1
if anything is red.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from tools import ROOT, execute, notebook, stamp

CELL_TIMEOUT_SECONDS = 600
NOT_COPIED = shutil.ignore_patterns(
    *(".git", ".venv", ".matrix", "_build", "build", "dist", "*.egg-info"),
    *("__pycache__", ".*_cache"),
)
STAND_IN = (
    "import sys, types; "
    "sys.modules.setdefault('google.colab', types.ModuleType('google.colab'))"
)


class Red(Exception):  # noqa: N818 - an outcome that is told to the author
    """Something is not as it must be."""


@dataclass
class Runtime:
    """This interpreter, and the folder that chapters run in, as on Colab."""

    folder: Path

    def pip(self, *arguments: str) -> str:
        """Run this Python's pip; what it printed. ``Red`` with its last line."""
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        ran = subprocess.run(
            [*command, *arguments],
            cwd=self.folder,
            env=self.variables(),
            capture_output=True,
            text=True,
        )
        if ran.returncode:
            raise Red((ran.stderr.strip().splitlines() or ["pip failed"])[-1])
        return ran.stdout

    def variables(self) -> dict[str, str]:
        """An environment in which `pip` and `python` are this Python's."""
        ours = ("PYTHONPATH", "VIRTUAL_ENV", "MPLBACKEND", "D2L_STORED_OUTPUTS")
        variables = {k: v for k, v in os.environ.items() if k not in ours}
        here = str(Path(sys.executable).parent)
        path = os.pathsep.join([here, variables.get("PATH", "")])
        return variables | {"PATH": path}

    def packages(self) -> dict[str, str]:
        """Every installed distribution and its version."""
        listed = json.loads(self.pip("list", "--format=json"))
        return {
            re.sub("[-_.]+", "-", one["name"]).lower(): one["version"] for one in listed
        }

    def reset(self, before: dict[str, str]) -> None:
        """Remove what was not there before; ``Red`` if that does not restore it."""
        if new := self.packages().keys() - before.keys():
            self.pip("uninstall", "--quiet", "--yes", *sorted(new))
        if self.packages() != before:
            raise Red(f"cannot be undone: remove {sys.prefix}")

    def run(self, nb: NotebookNode) -> list[str]:
        """Run a notebook in a fresh kernel; what each of its code cells printed.

        Raises:
            Red: naming the cell that raised, and how.
        """
        with tempfile.TemporaryDirectory() as profile:
            startup = Path(profile, "profile_default", "startup")
            startup.mkdir(parents=True)
            (startup / "colab.py").write_text(STAND_IN)
            client = NotebookClient(
                nb,
                kernel_manager_class=execute.OwnKernelManager,
                timeout=CELL_TIMEOUT_SECONDS,
                resources={"metadata": {"path": str(self.folder)}},
            )
            variables = self.variables() | {"IPYTHONDIR": profile}
            try:
                client.execute(env=variables, stderr=subprocess.DEVNULL)
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as problem:
                raise Red(failure(nb, problem)) from None
        return [printed(cell) for cell in nb.cells if cell.cell_type == "code"]


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
                return f"cell {number} ({cell.id}): {execute.ANSI.sub('', text)}"
    return f"{type(problem).__name__}: {str(problem).strip().splitlines()[-1]}"


def setup_cells(path: Path, times: int) -> NotebookNode:
    """A notebook of a chapter's set-up cell, several times."""
    nb = notebook.read(path)
    notebook.clear(nb)
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


def prepared(runtime: Runtime, path: Path, before: dict[str, str]) -> str:
    """Let a chapter's set-up cell prepare the runtime, twice; what it announced.

    Raises:
        Red: a cell raised, or what is installed is not what was announced.
    """
    first, second = runtime.run(setup_cells(path, 2))
    after, said = runtime.packages(), announced(first)
    expected = {**before, **said}
    if expected != after or before.keys() & said.keys():
        names = {n for n, _ in expected.items() ^ after.items()}
        raise Red(f"not as announced: {sorted(names)}; the cell said {first!r}")
    if "mxnet" not in said or "Nothing to install" not in second:
        raise Red(f"first: {first!r}, second: {second!r}")
    return ", ".join(f"{name} {version}" for name, version in sorted(said.items()))


def explained(runtime: Runtime, path: Path) -> str:
    """Run the set-up cell where no wheel was uploaded; what it says.

    Raises:
        Red: it does not point to its comment, or it does not stop.
    """
    nb = setup_cells(path, 1)
    try:
        runtime.run(nb)
    except Red:
        said = printed(nb.cells[0])
        if stamp.ROUTE not in nb.cells[0].source or stamp.NO_WHEEL not in said:
            raise Red(f"the cell printed {said!r}") from None
        return f"{stamp.NO_WHEEL!r}, which says how to upload it"
    raise Red("the cell went on")


def completed(runtime: Runtime, path: Path) -> str:
    """Run a chapter to its end; it may not change what is installed."""
    before, nb = runtime.packages(), notebook.read(path)
    notebook.clear(nb)
    runtime.run(nb)
    if runtime.packages() != before:
        raise Red("it changed what is installed")
    return "ran to its end"


def repository(target: Path) -> Path:
    """A git repository of the tree; its notebooks install from this very repository."""
    shutil.copytree(ROOT, target, ignore=NOT_COPIED)
    stamp.stamp(target, url=target.as_uri(), branch="main")
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        [*who, "commit", "--quiet", "--no-gpg-sign", "--message=The tree"],
    ):
        subprocess.run(["git", *command], cwd=target, check=True)
    return target


def told(what: str, step: Callable[[], str]) -> bool:
    """Do what is to be checked and print how it went; whether it went well."""
    start = time.perf_counter()
    try:
        result, well = step(), True
    except Red as problem:
        result, well = f"RED: {' '.join(str(problem).split())}", False
    print(f"{what}, {time.perf_counter() - start:.0f} s: {result}", flush=True)
    return well


def check(runtime: Runtime, chosen: list[str], work: Path) -> bool:
    """Check the runtime with some notebooks, and leave it as it was."""
    before = runtime.packages()
    uploaded = work / "uploaded"
    shutil.copytree(ROOT, uploaded, ignore=NOT_COPIED)
    stamp.stamp(uploaded)
    first = uploaded / chosen[0]
    well = told("no wheel", lambda: explained(runtime, first))
    runtime.reset(before)
    cloned = repository(work / "cloned") / chosen[0]
    well &= told("set-up from git", lambda: prepared(runtime, cloned, before))
    runtime.reset(before)
    runtime.pip("wheel", "--quiet", "--no-deps", "-w", ".", str(uploaded))
    shutil.rmtree(uploaded / "build", ignore_errors=True)
    ready = told("set-up from the wheel", lambda: prepared(runtime, first, before))
    for name in chosen if ready else ():
        path = uploaded / name
        well &= told(path.stem, lambda path=path: completed(runtime, path))
    runtime.reset(before)
    return well and ready


def main(chapters: list[str]) -> int:
    """Check with the notebooks that are named, or with all; 0 if all is well."""
    chosen = [
        path.relative_to(ROOT).as_posix()
        for path in execute.executed_notebooks()
        if not chapters or execute.place(path) in chapters
    ]
    if not chosen:
        print(f"no chapter is called {' '.join(chapters)}")
        return 1
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work, "content")
        folder.mkdir()
        runtime = Runtime(folder)
        if "d2lutils" in runtime.packages():
            print("this would replace this interpreter's own d2lutils")
            return 1
        try:
            well = check(runtime, chosen, Path(work))
        except Red as problem:
            print(f"RED: {problem}")
            well = False
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
