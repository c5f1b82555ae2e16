"""Stored notebooks by themselves; ``stored_cells.py`` runs their cells."""

from __future__ import annotations

from pathlib import Path

import compare
import pytest

from tools import execute, notebook

NOTEBOOKS = execute.executed_notebooks()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=execute.place)
def test_notebook_was_run_once_from_top_to_bottom(path: Path) -> None:
    found = compare.check_stored(notebook.read(path))
    if found:
        pytest.fail("\n".join([path.name, *found]), pytrace=False)
