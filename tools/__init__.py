"""What makes, runs and checks the book; `make help` lists the targets.

Each module is run from the repository's root: ``python -m tools.build``.

- the book: `build` renders it, `preview` takes its picture, `pdf` prints it;
- the notebooks: `notebook` turns them into text and back, `execute` runs them, `seeds`
  watches their random numbers, `stamp` says where Colab installs from;
- the tests: `test` runs the stages, `browser` finds a Chromium for them and serves the
  pages, `audit` lets Lighthouse look at these, `pretend_gpu` runs the chapters on two
  devices, `colab` in a runtime like Colab's.

`noxfile.py` has the environments of other Pythons and versions, and other settings.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
#: What renders the book has parts that tools use as well.
EXTENSIONS = ROOT / "book" / "ext"
if str(EXTENSIONS) not in sys.path:
    sys.path.append(str(EXTENSIONS))
