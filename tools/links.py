"""Ask every outside address of the book whether it still answers: ``make test-links``.

It needs the network and asks other people's servers, so it is no part of the tests.
Sphinx's own checker does the asking: patiently, again where that can help, and one
anchor as well as a page. Exits with 1 if an address is dead.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tools import ROOT, build

DEAD = ("broken", "timeout")
ALIVE = ("working", "redirected")


def checked(root: Path) -> list[dict[str, Any]]:
    """What Sphinx found of each outside address of the book below ``root``.

    Raises ``RuntimeError`` with the renderer's words if it came to nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", build.RUN, "build", str(root)]
        command += ["--builder", "linkcheck", "--path-output", folder, "--quiet"]
        ran = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        # Its exit status is no help: it is 1 for a dead link and for a broken book.
        found = list(Path(folder).rglob("output.json"))
        if not found:
            raise RuntimeError(f"{ran.stdout}\nno link was checked")
        lines = found[0].read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def verdict(found: Iterable[dict[str, Any]]) -> tuple[list[str], int]:
    """A line for each dead address and place, and how many addresses answer."""
    dead, alive = [], set()
    for link in found:
        if link["status"] in DEAD:
            place = f"{link['filename']}:{link['lineno']}"
            why = textwrap.shorten(link["info"] or link["status"], 100)
            dead.append(f"{place}: {link['uri']} ({why})")
        elif link["status"] in ALIVE:
            alive.add(link["uri"])
    return sorted(dead), len(alive)


def main() -> int:
    """Check, and print what is dead."""
    try:
        dead, alive = verdict(checked(ROOT))
    except RuntimeError as error:
        print(error)
        return 1
    print(*dead, sep="\n", end="\n" if dead else "")
    print(f"{alive} addresses answer, {len(dead)} links are dead")
    # No answer at all is a machine without a network, not a book without links.
    return int(bool(dead) or not alive)


if __name__ == "__main__":
    sys.exit(main())
