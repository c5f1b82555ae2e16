"""Work in a child of this process, because a framework may end the process."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator
from typing import IO, Any


def in_child(results: Iterator[Any], limit: float) -> tuple[list[Any], str]:
    """Run a generator in a child of this process, for at most `limit` seconds.

    The child is forked, since a net is arbitrary Python; MXNet stops its threads
    before a fork and starts them after it.

    Returns:
        What the generator had yielded, and how the child ended: empty if as it should.
    """
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryFile() as file:
        child = fork.Process(target=_store, args=(results, file))
        with warnings.catch_warnings():  # of a fork beside other threads
            warnings.simplefilter("ignore", DeprecationWarning)
            child.start()
        child.join(limit)
        code = child.exitcode
        if code is None:
            child.kill()
            child.join()
        file.seek(0)
        found = list(_stored(file))
    if code is None:
        return found, "did not end"
    if code < 0:
        return found, f"died of {signal.Signals(-code).name}"
    return found, "died" if code else ""


def _store(results: Iterator[Any], file: IO[bytes]) -> None:
    """Store the results one by one, in silence, and end the process."""
    try:
        # MXNet's own handlers search their stack trace for seconds.
        for name in ("SIGFPE", "SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        resource = importlib.import_module("resource")  # not on Windows
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)

        def store() -> None:
            for result in results:
                pickle.dump(result, file)
                file.flush()

        # OpenMP's threads of the forking thread are gone; a new thread has its own.
        thread = threading.Thread(target=store)
        thread.start()
        thread.join()
    finally:
        os._exit(0)  # without the parent's exit handlers


def _stored(file: IO[bytes]) -> Iterator[Any]:
    try:
        while True:
            yield pickle.load(file)  # noqa: S301 (written by our child)
    except (EOFError, pickle.UnpicklingError):  # the last may be cut off
        return
