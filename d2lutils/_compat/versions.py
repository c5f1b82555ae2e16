"""Stand-in for ``distutils.version``, which Python 3.12 removed.

MXNet compares NumPy's version with it. Only MXNet's modules import it; it is not added
to ``sys.modules`` as ``distutils``.
"""

from __future__ import annotations

import functools
import re


@functools.total_ordering
class LooseVersion:
    """A version number that compares by its numeric parts."""

    def __init__(self, text: str) -> None:
        self.vstring = text
        match = re.match(r"\d+(?:\.\d+)*", text)
        self.version = [int(part) for part in match[0].split(".")] if match else []

    def __str__(self) -> str:
        return self.vstring

    def _parts(self, other: object) -> list[int] | None:
        if isinstance(other, str):
            other = type(self)(other)
        return other.version if isinstance(other, LooseVersion) else None

    def __eq__(self, other: object) -> bool:
        parts = self._parts(other)
        return NotImplemented if parts is None else self.version == parts

    def __lt__(self, other: object) -> bool:
        parts = self._parts(other)
        return NotImplemented if parts is None else self.version < parts

    __hash__ = None  # type: ignore[assignment]


class StrictVersion(LooseVersion):
    """The same class here, because NumPy's version numbers need no stricter parsing."""
