"""Let `pytest --nbval` run the book's notebooks and compare outputs by its own rules.

Nothing else belongs here, because every test run imports this file, also in
environments without Jupyter.
"""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Let `tests/chapters/stored_cells.py` collect the notebooks instead of nbval."""
    if config.getoption("nbval", False) or config.getoption("nbval_lax", False):
        import stored_cells  # found through pyproject.toml

        config.pluginmanager.register(stored_cells)
