"""What a suite consists of: candidates that do the same, measured side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Case"]


@dataclass(frozen=True)
class Case:
    """Candidates that do the same, and the one that the others are measured by.

    `repeat` caps the counted rounds, for candidates that take long.
    """

    name: str
    base: str
    candidates: dict[str, Callable[[], Any]]
    repeat: int | None = None
