"""Worker processes for MXNet's data loaders, started as they were.

``gluon.data.DataLoader`` was written for workers that are forked: they have the dataset
as it is, also one that cannot be pickled, and an imported MXNet. From Python 3.14 on
processes start another way on Linux by default, ``forkserver``: such a worker dies of
its first import of MXNet, its pool starts another, and the loader never returns. So
MXNet's modules get ``Pool``, ``Process`` and ``Queue`` from here. The start method of
the program is not touched, and one that sets ``spawn`` still spawns, as do Macs.
"""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from multiprocessing.context import (
    BaseContext,
    ForkContext,
    ForkProcess,
    SpawnContext,
    SpawnProcess,
)
from typing import Any


class _Forked(ForkProcess):
    @staticmethod
    def _Popen(process: Any) -> Any:  # noqa: N802
        """Fork without the warning of Python 3.12: MXNet always has threads."""
        with warnings.catch_warnings():
            message = ".*multi-threaded, use of fork"
            warnings.filterwarnings("ignore", message, DeprecationWarning)
            return ForkProcess._Popen(process)


class _Fork(ForkContext):
    Process = _Forked


class _Spawned(SpawnProcess):
    """A new interpreter imports this module to unpickle it, and with it MXNet."""


class _Spawn(SpawnContext):
    Process = _Spawned


_FORK, _SPAWN = _Fork(), _Spawn()


def context() -> BaseContext:
    """What stands for ``multiprocessing`` where MXNet starts a process."""
    method = multiprocessing.get_start_method(allow_none=True)
    if method is None and sys.platform == "darwin":
        return _SPAWN
    return _SPAWN if method == "spawn" else _FORK


import d2lutils.compat  # noqa: E402, F401  last: it imports what imports this module
