"""`pytest --nbval`: the book's notebooks are run and judged by the book's own rules.

Nothing else stands here, since every test run reads this file first, in environments
without Jupyter, too.
"""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Let `tests/chapters/stored_cells.py` collect the notebooks where nbval would."""
    if config.getoption("nbval", False) or config.getoption("nbval_lax", False):
        import stored_cells  # pyproject.toml says where it is

        config.pluginmanager.register(stored_cells)
