"""Work in an interpreter of its own, whose crash is one line of a report."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from d2lutils._errors import reason

__all__ = ["answer", "ask"]

#: Before the answer, behind whatever else was printed.
_MARK = "\x1e"


def ask(module: str, argument: str, seconds: float) -> dict[str, Any]:
    """What ``python -m d2lutils.gpu_report.MODULE ARGUMENT`` answers.

    Where it does not, `failed` says how it ended; `late` is True if it took longer.
    """
    command = [sys.executable, "-m", f"{__package__}.{module}", argument]
    try:
        ran = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env={**os.environ, "D2L_STORED_OUTPUTS": "1"},  # no progress bars
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"no end within {seconds:.0f} s", "late": True}
    try:
        found: dict[str, Any] = json.loads(ran.stdout.rpartition(_MARK)[2])
    except ValueError:
        last = next(iter(reversed(ran.stderr.strip().splitlines())), "")
        return {"failed": f"it ended with exit status {ran.returncode}: {last}"}
    return found


def answer(work: Callable[[str], dict[str, Any]]) -> None:
    """Do the work on the command line's argument and print what it found."""
    output = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        try:
            found = work(sys.argv[1])
        except Exception as error:
            found = {"failed": f"{type(error).__name__}: {reason(error)}"}
    print(_MARK, json.dumps(found), sep="", file=output)
