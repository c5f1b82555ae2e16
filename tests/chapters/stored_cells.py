"""Run the stored notebooks with nbval, and let ``compare`` judge their outputs.

``pytest --nbval chapters book`` collects every notebook: one item a code cell, named
``chapters/blocks.ipynb::Cell 3``. A path or ``-k blocks`` picks a chapter, ``-n 2``
runs two at a time, ``--nbval-lax`` runs without comparing. With ``D2L_ON_GPU=1``
chapters see the machine's GPUs and are run without comparison, too. Without MXNet each
cell that needs it must say so in one line; of the others all run, and those that are
exact are compared.

The root's ``conftest.py`` makes this a plugin of pytest.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import compare
import pytest
import without_mxnet
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, RunningKernel, start_new_kernel
from nbval.plugin import IPyNbCell, IPyNbFile

from tools import execute, notebook

WITHOUT_MXNET = without_mxnet.is_missing()
ON_GPU = bool(os.environ.get("D2L_ON_GPU"))
#: Ways in which xdist would give cells of one notebook to several kernels.
DIVIDING = ("load", "worksteal")


def pytest_configure(config: pytest.Config) -> None:
    """A cell that hangs must not hold a run for nbval's 2,000 s; no notebook is cut."""
    option = config.option
    if option.nbval_cell_timeout == 2000:
        option.nbval_cell_timeout = float(execute.CELL_TIMEOUT_SECONDS)
    if getattr(option, "dist", None) in DIVIDING:
        option.dist = "loadfile"


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Collect the notebooks of the book in nbval's place; others stay nbval's."""
    found = yield
    if file_path.resolve() not in execute.executed_notebooks():
        return found
    return [Chapter.from_parent(parent, path=file_path)]


class ChapterKernel(RunningKernel):
    """A kernel of this interpreter, in the environment that outputs are stored in."""

    def __init__(self, folder: Path) -> None:
        import matplotlib.font_manager  # noqa: F401 - a cold cache warns on stderr

        environment = execute.fixed_environment()
        if ON_GPU:
            del environment["CUDA_VISIBLE_DEVICES"]
        self.profile = execute.new_profile()
        environment["IPYTHONDIR"] = self.profile.name
        with open(os.devnull, "w") as nowhere:
            self.km, self.kc = start_new_kernel(
                kernel_name=CURRENT_ENV_KERNEL_NAME,
                cwd=str(folder),
                env=environment,
                stderr=nowhere,
            )
        self._ensure_iopub_up()

    def execute_cell_input(self, cell_input: str, allow_stdin: Any = None) -> str:
        """As nbval does, but into the history: else IPython ignores a final ``;``."""
        message_id: str = self.kc.execute(
            cell_input, store_history=True, allow_stdin=False, stop_on_error=False
        )
        return message_id

    def stop(self) -> None:
        """Stop the kernel and close what it opened."""
        self.kc.stop_channels()
        self.km.shutdown_kernel(now=True)
        self.kc.context.destroy(linger=0)
        self.km.context.destroy(linger=0)
        del self.km
        self.profile.cleanup()


class Chapter(IPyNbFile):
    """A notebook: one kernel, one item a code cell."""

    def setup(self) -> None:
        """Start the kernel."""
        self.stopped_by: str | None = None
        self.kernel = ChapterKernel(self.path.parent)

    def collect(self) -> Iterator[pytest.Item]:
        """One item a code cell, whatever tags or comments say to nbval."""
        self.nb = notebook.read(self.path)
        for number, cell in enumerate(self.nb.cells):
            if cell.cell_type == "code":
                yield ChapterCell.from_parent(
                    self,
                    name=f"Cell {number}",
                    cell_num=number,
                    cell=cell,
                    options={"check": True, "skip": False, "check_exception": False},
                )

    def teardown(self) -> None:
        """Stop the kernel."""
        if self.kernel is not None and self.kernel.is_alive():
            self.kernel.stop()


class ChapterCell(IPyNbCell):
    """A code cell: nbval runs it, ``compare`` judges it."""

    def runtest(self) -> None:
        """Run the cell, unless an earlier one of its chapter raised."""
        if self.parent.stopped_by is not None:
            pytest.skip(f"{self.parent.stopped_by} could not be run")
        self.stage = "run"
        self.never_executed = self.cell.execution_count is None
        if self.never_executed:
            self.cell.execution_count = 0  # else nbval would not compare
        try:
            super().runtest()
        except (Exception, Empty):
            if self.stage == "run":
                self.parent.stopped_by = self.name
            raise

    def compare_outputs(
        self, test: list[Any], ref: list[Any], skip_compare: Any = None
    ) -> bool:
        """Called by nbval with the fresh and the stored outputs."""
        self.stage = "compare"
        if WITHOUT_MXNET:
            found = compare.compare_without_gluon(ref, test, self.cell.metadata)
        else:
            lax = ON_GPU or self.config.option.nbval_lax
            reference = test if lax else ref
            found = compare.compare_cell(reference, test, self.cell.metadata)
        if self.never_executed:
            found.insert(0, "the stored cell was never executed: `make execute`")
        self.comparison_traceback = found
        return not found

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> str:
        """The cell's first lines, and how its outputs differ or what it raised."""
        problem = excinfo.value
        head = "\n".join(f"    {line}" for line in self.cell.source.splitlines()[:6])
        why = str(problem)
        trace = getattr(problem, "inner_traceback", None)
        if trace:
            why = f"{why}:\n{execute.ANSI.sub('', trace)}"
        return f"{self.parent.path.name}, cell {self.cell_num}\n\n{head}\n\n{why}"

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the cell is, for pytest's headings."""
        return self.parent.path, 0, f"{self.parent.path.stem}::{self.name}"
