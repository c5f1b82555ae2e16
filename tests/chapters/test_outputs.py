"""Stored notebooks by themselves; ``stored_cells.py`` runs their cells."""

from __future__ import annotations

from pathlib import Path

import compare
import pytest

from tools import execute, notebook

NOTEBOOKS = execute.executed_notebooks()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_was_run_once_from_top_to_bottom(path: Path) -> None:
    found = compare.check_stored(notebook.read(path))
    if found:
        pytest.fail("\n".join([path.name, *found]), pytrace=False)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_belong_to_the_code(path: Path) -> None:
    if execute.is_stale(path):
        pytest.fail(
            f"the code of {path.name}, or package code that it imports, changed since "
            "its outputs were stored: run `make execute`",
            pytrace=False,
        )
