"""MXNet 1.9.1 on today's Python and NumPy.

    from d2lutils.compat import mx

Afterwards ``import mxnet`` and ``from mxnet import gluon`` work as usual, from
anywhere in the process. MXNet was retired in 2023; its last release was written for
NumPy 1.23 and Python 3.10. This module leaves MXNet's files unchanged and rewrites
their code at import, so that inside MXNet:

* ``import numpy`` gives the installed NumPy plus the names that were removed from it
  since 1.23 (``d2lutils._compat.numpy1``);
* values are converted to text as in NumPy 1. MXNet passes the parameters of operators
  as text, and NumPy 2 turns ``str((np.int64(3),))`` into ``(np.int64(3),)``
  (``d2lutils._compat.text``);
* arithmetic between NumPy scalars and Python numbers has the precision of NumPy 1: a
  metric's sum stays float64 (``d2lutils._compat.promotion``);
* ``distutils.version``, which Python 3.12 removed, is replaced
  (``d2lutils._compat.versions``);
* on a minimal Linux without ``libgomp`` or ``libquadmath``, copies from other
  installed packages are loaded instead (``d2lutils._compat.libraries``).

Code outside MXNet is not affected. The whole process sees these changes:

``sys.meta_path``
    gains one finder, first in the list, for ``mxnet``, its submodules and the packages
    named to `also`. It stays, because submodules may be imported at any later time.
``os.environ``
    gains ``MXNET_STORAGE_FALLBACK_LOG_VERBOSE=0`` and ``MXNET_SUBGRAPH_VERBOSE=0``,
    unless they are already set. Without them MXNet's C++ side writes paragraphs about
    sparse storage, and a timed line for each bound symbol, to standard error.
``sys.modules``
    gains MXNet and its imports, and ``d2lutils._compat.*``.

The rewritten bytecode is cached beside Python's own, as ``*.opt-d2lutils*.pyc``, unless
``PYTHONDONTWRITEBYTECODE`` is set or the folder is read-only.
Like any new process, one that ``multiprocessing`` starts with ``spawn`` or
``forkserver`` must import this module before MXNet; a forked one need not.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import re
import sys
from pathlib import Path
from types import ModuleType

from d2lutils._compat import WHEELS, libraries

__all__ = ["also", "mx"]

_VERSION = "1.9.1"
_INSTALL = f"pip install --no-deps mxnet=={_VERSION} && pip install requests graphviz"
_WITHOUT = "The PyTorch half of this package (d2lutils.pytorch) works without it."
_QUIET = ("MXNET_STORAGE_FALLBACK_LOG_VERBOSE", "MXNET_SUBGRAPH_VERBOSE")


def _load() -> ModuleType:
    """Import MXNet through the bridge, or return it if it is already imported."""
    present = sys.modules.get("mxnet")
    if present is not None and _complete(present):
        _check_version(str(getattr(present, "__version__", "unknown")))
        return present
    if importlib.util.find_spec("numpy") is None:
        raise ImportError(f"MXNet needs NumPy: pip install numpy. {_WITHOUT}")
    from d2lutils._compat.importer import MXNetFinder

    _forget()
    folder = _installed()
    _check_version(_version_in(folder))
    if any(folder.parent.glob("mxnet_cu11*.dist-info")):  # a build for NVIDIA cards
        from d2lutils._compat import cuda11

        cuda11.preload()
    if MXNetFinder not in sys.meta_path:
        sys.meta_path.insert(0, MXNetFinder)
    for name in _QUIET:
        os.environ.setdefault(name, "0")
    try:
        return _import(folder)
    except libraries.MissingLibraryError as error:
        _forget()
        raise type(error)(error.library, _WITHOUT) from error.__cause__
    except (ImportError, OSError) as error:
        _forget()
        raise ImportError(
            f"MXNet {_VERSION} is installed in {folder}, but does not load on "
            f"{_here()}: {error}. It needs: {_INSTALL}. {_WITHOUT}"
        ) from error


def _import(folder: Path) -> ModuleType:
    """Import MXNet, borrowing shared libraries that the system lacks."""
    try:
        return importlib.import_module("mxnet")
    except OSError as error:
        if not libraries.missing(error):
            raise
        # MXNet's own search, which an environment variable can redirect.
        [path, *_] = sys.modules["mxnet.libinfo"].find_lib_path()
        _forget()
        libraries.load(Path(path), error)
    return importlib.import_module("mxnet")


def _complete(module: ModuleType) -> bool:
    """Whether the import of MXNet, with or without the bridge, ran to its end."""
    return all(hasattr(module, name) for name in ("__version__", "nd", "gluon", "api"))


def _forget() -> None:
    """Remove the modules that a failed import of MXNet left behind."""
    for name in list(sys.modules):
        if name == "mxnet" or name.startswith("mxnet."):
            del sys.modules[name]


def _installed() -> Path:
    """Return MXNet's folder; raise an ImportError that says how to install it."""
    spec = importlib.util.find_spec("mxnet")
    # Without an origin it is an empty folder that uninstalling MXNet left behind.
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent
    if (platform.system(), platform.machine()) in WHEELS:
        cure = f"Install it with: {_INSTALL}"
    else:
        cure = (
            "Its wheels are for Linux (x86-64, aarch64) and macOS on Intel only; use "
            "one of these, WSL or Google Colab"
        )
    raise ImportError(f"MXNet is not installed on {_here()}. {cure}. {_WITHOUT}")


def _version_in(folder: Path) -> str:
    """Read MXNet's version without importing it."""
    try:
        text = (folder / "libinfo.py").read_text(encoding="utf-8")
    except OSError:
        return "unknown"
    match = re.search(r"^__version__ *= *['\"](.+?)['\"]", text, re.MULTILINE)
    return match[1] if match else "unknown"


def _check_version(found: str) -> None:
    if found != _VERSION:
        raise ImportError(
            f"This package bridges MXNet {_VERSION} only, and MXNet {found} is "
            f"installed. Install the other one with: {_INSTALL}. {_WITHOUT}"
        )


def _here() -> str:
    machine = f"{platform.system()} {platform.machine()}"
    return f"{machine} with Python {platform.python_version()}"


def also(*names: str) -> None:
    """Import packages built on MXNet through the bridge; call this before their import.

    >>> from d2lutils import compat
    >>> compat.also("gluoncv")  # doctest: +SKIP
    >>> import gluoncv  # doctest: +SKIP

    If a package refuses the installed PyTorch (its import raises a RuntimeError that
    mentions torch), it is imported as if PyTorch were missing; then only its MXNet part
    works. A package's other requirements must be installed: gluoncv needs portalocker,
    yacs, autocfg, tqdm and Pillow. If one is missing, it reports "missing `mxnet` &
    `torch`"; the true reason is further up in the traceback.

    Args:
        names: top-level packages, installed but not yet imported. Naming one twice has
            no effect.

    Raises:
        TypeError: a name is not a string.
        ValueError: not a package name, or a package that the bridge itself uses.
        ImportError: a package is not installed, or is already imported.
    """
    from d2lutils._compat.importer import MXNetFinder

    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"names: expected str, got {name!r}")
        if not name.isidentifier():
            raise ValueError(f"names: {name!r} is not the name of a top-level package")
        if name in ("numpy", "torch", "d2lutils") or name in sys.stdlib_module_names:
            raise ValueError(f"names: {name} is not a package on top of MXNet")
        if name in MXNetFinder.packages:
            continue
        if name in sys.modules:
            raise ImportError(
                f"{name} is imported already; call compat.also({name!r}) before that"
            )
        if importlib.util.find_spec(name) is None:
            raise ImportError(f"{name} is not installed")
    MXNetFinder.packages.update(names)
    if MXNetFinder not in sys.meta_path:
        sys.meta_path.insert(0, MXNetFinder)


mx = _load()
