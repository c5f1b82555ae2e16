"""Shared libraries that MXNet needs and a minimal Linux does not have.

``libmxnet.so`` needs ``libgomp.so.1``, and its ``libgfortran.so.3`` needs
``libquadmath.so.0``. A slim container has neither, but other installed wheels contain
them: PyTorch's and scikit-learn's the first, SciPy's the second. These copies have
another name, such as ``libgomp-e985bcbb.so.1.0.0``, which is also recorded inside the
file, so loading them first does not satisfy MXNet. But the loader accepts any file that
it *finds* under the name it looks for, and it looks first in the folder of
``libmxnet.so`` itself. So `load` fills a temporary folder with links to MXNet's own
libraries and, under the expected names, to the missing ones, and loads MXNet from
there. The folder is not needed after that: loading the real path later returns the same
library, because the loader compares files. Nothing is written beside the installed
packages.
"""

from __future__ import annotations

import ctypes
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

#: Missing library → the file that is loaded instead.
BORROWED: dict[str, Path] = {}

# Library → its packages on Debian (and Ubuntu) and on Fedora.
_PACKAGES = {
    "libgomp": ("libgomp1", "libgomp"),
    "libquadmath": ("libquadmath0", "libquadmath"),
    "libstdc++": ("libstdc++6", "libstdc++"),
    "libgcc_s": ("libgcc-s1", "libgcc"),
}
_MISSING = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")


class MissingLibraryError(ImportError):
    """A needed shared library was not found; ``cure`` installs it, or is empty."""

    def __init__(self, library: str, note: str = "") -> None:
        debian, fedora = _PACKAGES.get(library.partition(".so")[0], ("", ""))
        self.library = library
        self.cure = f"apt-get install {debian}" if debian else ""
        text = f"{library}, which MXNet needs, is not on this system"
        if debian:
            text += f". On Debian and Ubuntu: {self.cure}; on Fedora: "
            text += f"dnf install {fedora}"
        super().__init__(f"{text}. {note}".strip())


def missing(error: BaseException) -> str:
    """The library that the loader did not find; ``""`` for any other error."""
    found = _MISSING.search(str(error))
    return found[1] if found else ""


def owner(copy: Path) -> str:
    """The package that a copy belongs to: ``torch/lib/a.so`` or ``scipy.libs/a.so``."""
    folder = copy.parent
    return folder.parent.name if folder.name == "lib" else folder.stem


def load(library: Path, error: OSError) -> None:
    """Load ``library`` with other packages' copies of the libraries it lacks.

    Args:
        library: the path of ``libmxnet.so``.
        error: the error of loading it directly.

    Raises:
        MissingLibraryError: no installed package has a copy of a missing library.
        OSError: it does not load for another reason.
    """
    while name := missing(error):
        copy = next(_copies(name), None)
        if copy is None or name in BORROWED:  # found, but it does not load
            BORROWED.clear()
            raise MissingLibraryError(name) from error
        BORROWED[name] = copy
        with tempfile.TemporaryDirectory(prefix="d2lutils-") as folder:
            own = {path.name: path for path in library.parent.glob("*.so*")}
            for link, path in {**own, **BORROWED}.items():
                (Path(folder) / link).symlink_to(path.resolve())
            try:
                ctypes.CDLL(str(Path(folder) / library.name))
            except OSError as another:
                error = another
            else:
                return
    BORROWED.clear()
    raise error


def _copies(name: str) -> Iterator[Path]:
    """Copies of the library ``name`` in installed wheels, the best first.

    PyTorch's comes first, because both frameworks should use the same copy and PyTorch
    may need a newer one than the others.
    """
    stem, _, version = name.partition(".so")
    patterns = (f"{stem}.so{version}*", f"{stem}-*.so{version}*")
    for place in (
        "torch/lib",
        "numpy.libs",
        "scipy.libs",
        "scikit_learn.libs",
        "*.libs",
    ):
        for folder in sys.path:
            for pattern in patterns:
                yield from sorted(Path(folder or ".").glob(f"{place}/{pattern}"))
