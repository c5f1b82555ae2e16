"""A Chromium for the tests and the PDF, and a server for the pages that it visits.

``python -m tools.browser`` prints the path of the program. It is looked for in this
order: the variable ``CHROMIUM``, the usual names on the path, Playwright's own. Where
none is found, one is installed: with apt by root, else by ``playwright install``.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import offline_math
from playwright.sync_api import Browser, sync_playwright

from d2lutils.doctor import BROWSERS, MAC

# Playwright's own Node needs libatomic, which a minimal system lacks; the one that
# renders the book's formulas needs nothing.
if offline_math.NODE.exists():
    os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(offline_math.NODE))

ROOT_USER = hasattr(os, "geteuid") and os.geteuid() == 0
#: No background traffic; root needs --no-sandbox in a container.
FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    *(["--no-sandbox"] if ROOT_USER else []),
]
# Figures load lazily, as a reader scrolls to them; this loads all of them.
ALL_FIGURES = """Promise.all([...document.images].map(image => {
    image.loading = "eager";
    return image.decode().catch(() => null);
}))"""
CURE = (
    "no Chromium was found and none could be installed: install Chromium or Chrome, "
    "or name one with CHROMIUM=/path/to/chromium, and run the same command again"
)


def runs(path: str) -> bool:
    """Whether a program starts; a stub that only recommends a package does not."""
    try:
        ran = subprocess.run([path, "--version"], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ran.returncode == 0


def found() -> str | None:
    """The first Chromium that runs.

    Raises:
        RuntimeError: ``CHROMIUM`` names something that is no program.
    """
    if given := os.environ.get("CHROMIUM"):
        path = shutil.which(given)
        if path is None:
            raise RuntimeError(f"CHROMIUM={given} is not a program that can be run")
        return path
    for name in (*BROWSERS, MAC):
        path = shutil.which(name)
        if path and runs(path):
            return path
    try:
        with sync_playwright() as playwright:
            path = playwright.chromium.executable_path
    except Exception:  # its driver does not run on this system
        return None
    return path if Path(path).exists() else None


def install() -> None:
    """Try to install one, and print the commands on stderr."""
    commands = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    if ROOT_USER and shutil.which("apt-get"):
        # Another package manager may be at work; apt waits for it.
        apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
        added = [*apt, "install", "-y", "--no-install-recommends", "chromium"]
        commands = [[*apt, "update"], added, *commands]
    for command in commands:
        print("+", *command, file=sys.stderr, flush=True)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(command, stdout=subprocess.DEVNULL, env=quiet, check=False)
        if found():
            return


def chromium() -> str:
    """Path of a Chromium, installed if need be; ``RuntimeError`` with the cure."""
    path = found()
    if path is None:
        install()
        path = found()
    if path is None:
        raise RuntimeError(CURE)
    return path


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """A headless Chromium, closed at the end of the block."""
    path = chromium()  # not inside: Playwright cannot be started twice
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Sends files, and logs no line for each of them."""

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves a page hangs up, which is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def served(site: Path, handler: type[QuietHandler] = QuietHandler) -> Iterator[str]:
    """Serve a folder from a thread; gives the address without a slash at its end."""
    where = functools.partial(handler, directory=str(site))
    with _Server(("127.0.0.1", 0), where) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


if __name__ == "__main__":
    try:
        print(chromium())
    except RuntimeError as error:
        sys.exit(str(error))
