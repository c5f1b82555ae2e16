"""Shared libraries that MXNet needs and a minimal Linux does not have.

``libmxnet.so`` needs ``libgomp.so.1``, and its ``libgfortran.so.3`` needs
``libquadmath.so.0``. A slim container has neither, but wheels that are installed anyway
carry both: PyTorch's or scikit-learn's the one, SciPy's the other. There they have
another name, ``libgomp-e985bcbb.so.1.0.0``, also inside the file, so loading them does
not satisfy MXNet. The loader does accept any file that it *finds* under the name it
looks for, and for ``libmxnet.so`` it first looks in the folder from which it was told
to load it. So `load` fills a temporary folder with links: MXNet's own libraries, and
the missing ones under the names that are looked for. Once MXNet is loaded from there,
the folder is not needed any more: a later load of the real path gives the same library,
because the loader compares files. Nothing is written beside the installed packages.
"""

from __future__ import annotations

import ctypes
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

#: What was missing here, and the file that serves instead.
BORROWED: dict[str, Path] = {}

# The packages of Debian (and Ubuntu) and of Fedora, by the beginning of the name.
_PACKAGES = {
    "libgomp": ("libgomp1", "libgomp"),
    "libquadmath": ("libquadmath0", "libquadmath"),
    "libstdc++": ("libstdc++6", "libstdc++"),
    "libgcc_s": ("libgcc-s1", "libgcc"),
}
_MISSING = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")


class MissingLibraryError(ImportError):
    """A shared library that is needed is nowhere; ``cure`` is a command, or empty."""

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
    """The library that the loader did not find, or ``""`` for any other error."""
    found = _MISSING.search(str(error))
    return found[1] if found else ""


def owner(copy: Path) -> str:
    """The package that a copy belongs to: ``torch/lib/a.so`` or ``scipy.libs/a.so``."""
    folder = copy.parent
    return folder.parent.name if folder.name == "lib" else folder.stem


def load(library: Path, error: OSError) -> None:
    """Load ``library`` with other packages' copies of what it lacks.

    Args:
        library: the path of ``libmxnet.so``.
        error: what loading it natively ended with.

    Raises:
        MissingLibraryError: no installed package carries a library that is missing.
        OSError: it does not load for another reason.
    """
    while name := missing(error):
        copy = next(_copies(name), None)
        if copy is None or name in BORROWED:  # found, and not to be loaded
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
    """Files of installed wheels that are the library ``name``, the best first.

    PyTorch's comes first: it may need a newer one than others, and both frameworks
    should use the same.
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
