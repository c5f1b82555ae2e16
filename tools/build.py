"""Render the book: ``python -m tools.build`` (``make book``).

Renders ``_build/html`` from the outputs stored in the notebooks; a warning is an error.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools import ROOT

# jsonschema imports a parser of addresses if there is one (JupyterLab brings it), which
# takes two seconds, and never asks it anything here.
RUN = (
    "import sys; sys.modules['rfc3987_syntax'] = None;"
    "from jupyter_book.cli.main import main; main()"
)


def build(root: Path = ROOT, output: Path | None = None) -> Path:
    """Render the book below ``root`` and return its first page.

    ``output`` is where ``_build`` goes, ``root`` by default. Raises ``RuntimeError``
    with the renderer's words if it fails or warns.
    """
    import lighten
    import offline_math

    offline_math.npm_package("katex", offline_math.katex.katex_version)
    offline_math.npm_package("purgecss", lighten.PURGECSS)
    output = output or root
    command = [sys.executable, "-c", RUN, "build", str(root)]
    # All pages: they depend on each other's cells, on data, styles and extensions.
    command += ["--all", "--path-output", str(output)]
    command += ["--warningiserror", "--keep-going", "--quiet"]
    ran = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    page = output / "_build" / "html" / "index.html"
    if ran.returncode or not page.exists():
        raise RuntimeError(f"{ran.stdout}\nthe book was not rendered".lstrip())
    return page


def main() -> None:
    """Render, and say what to open."""
    try:
        page = build()
    except RuntimeError as error:
        sys.exit(str(error))
    print(f"The book is rendered. Open {page.as_uri()}")


if __name__ == "__main__":
    main()
