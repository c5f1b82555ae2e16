"""Forked worker processes for MXNet's data loaders, as before Python 3.14.

``gluon.data.DataLoader`` was written for forked workers, which inherit an imported
MXNet and the dataset, even one that cannot be pickled. From Python 3.14 on the default
on Linux is ``forkserver``. Such a worker crashes when it first imports MXNet, its pool
starts another, and the loader never returns. So MXNet's modules get ``Pool``,
``Process`` and ``Queue`` from here. The program's own start method does not change;
where it is ``spawn``, as on Macs, these spawn too.
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
        """Fork without Python 3.12's warning, since MXNet always has threads."""
        with warnings.catch_warnings():
            message = ".*multi-threaded, use of fork"
            warnings.filterwarnings("ignore", message, DeprecationWarning)
            return ForkProcess._Popen(process)


class _Fork(ForkContext):
    Process = _Forked


class _Spawned(SpawnProcess):
    """Unpickling it in a new interpreter imports this module, and so MXNet."""


class _Spawn(SpawnContext):
    Process = _Spawned


_FORK, _SPAWN = _Fork(), _Spawn()


def context() -> BaseContext:
    """The context that replaces ``multiprocessing`` in MXNet's modules."""
    method = multiprocessing.get_start_method(allow_none=True)
    if method is None and sys.platform == "darwin":
        return _SPAWN
    return _SPAWN if method == "spawn" else _FORK


import d2lutils.compat  # noqa: E402, F401  last, because of the import cycle
