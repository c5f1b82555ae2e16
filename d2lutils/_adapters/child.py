"""Work in a child of this process, because a framework may end the process."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator
from typing import IO, Any, NoReturn


def in_child(results: Iterator[Any], limit: float) -> tuple[list[Any], str]:
    """Run a generator in a child of this process, for at most `limit` seconds.

    The child is forked, since a net is arbitrary Python; MXNet stops its threads
    before a fork and starts them after it.

    Returns:
        What the generator had yielded, and how the child ended: empty if as it should.
    """
    with tempfile.TemporaryFile() as file:
        with warnings.catch_warnings():  # that other threads run beside a fork
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            _store(results, limit, file)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        file.seek(0)
        found = list(_stored(file))
    if code == -signal.SIGALRM:
        return found, "did not end"
    if code < 0:
        return found, f"died of {signal.Signals(-code).name}"
    return found, "died" if code else ""


def _store(results: Iterator[Any], limit: float, file: IO[bytes]) -> NoReturn:
    """Store the results one by one, print nothing, and end the process."""
    try:
        # MXNet's own handlers search their stack trace for seconds.
        for name in ("SIGFPE", "SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGALRM"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, limit)  # then SIGALRM ends the process
        resource = importlib.import_module("resource")  # not on Windows
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)

        def store() -> None:
            for result in results:
                pickle.dump(result, file)
                file.flush()

        # The fork has lost OpenMP's threads; a new thread starts its own.
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
