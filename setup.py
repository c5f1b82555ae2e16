"""Puts the core chapters' code into the wheel, for ``python -m d2lutils gpu-report``.

Everything else about the package is in ``pyproject.toml``. Text and outputs, which are
most of a notebook, stay behind.
"""

from __future__ import annotations

import json
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CHAPTERS = Path(__file__).parent / "chapters"


class WithChapters(build_py):
    """Also writes ``d2lutils/chapters/*.ipynb``; an editable install needs none."""

    def run(self) -> None:
        """Build as usual, then write each chapter's code cells."""
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib, "d2lutils", "chapters")
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(CHAPTERS.glob("*.ipynb")):
            notebook = json.loads(path.read_text(encoding="utf-8"))
            cells = [c for c in notebook["cells"] if c["cell_type"] == "code"]
            notebook["cells"] = [c | {"outputs": []} for c in cells]
            text = json.dumps(notebook, ensure_ascii=False)
            Path(folder, path.name).write_text(text, encoding="utf-8")


setup(cmdclass={"build_py": WithChapters})
