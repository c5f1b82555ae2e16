"""What makes, runs and checks the book; `make help` lists the targets.

Each module is run from the repository's root: ``python -m tools.build``.

- the book: `build` renders it, `serve` and `preview` show it, `pdf` prints it;
- the notebooks: `notebook` turns them into text and back, `execute` runs them, `seeds`
  watches their random numbers, `stamp` says where Colab installs from;
- the tests: `test` runs the stages, `browser` finds a Chromium for them, `stable` and
  `pretend_gpu` run the chapters on other machines than this one, `colab` in runtimes
  like Colab's, `links` and `audit` look at the pages from outside.

The environments of other Pythons and versions are made by `noxfile.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: What renders the book has parts that tools use as well.
EXTENSIONS = ROOT / "book" / "ext"
if str(EXTENSIONS) not in sys.path:
    sys.path.append(str(EXTENSIONS))
