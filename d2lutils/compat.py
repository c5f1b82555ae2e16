"""MXNet 1.9.1 on today's Python and NumPy.

    from d2lutils.compat import mx

Afterwards ``import mxnet`` and ``from mxnet import gluon`` work as usual, from
anywhere in the process. MXNet was retired in 2023; its last release was written for
NumPy 1.23 and Python 3.10. This module compiles MXNet's own, unchanged files so that
they find what they were written for:

* ``import numpy`` inside MXNet gives a module with everything of the installed NumPy
  and the names it has lost since 1.23 (``d2lutils._compat.numpy1``);
* on NumPy 2 values become text as they did on NumPy 1. MXNet passes the parameters
  of operators as text, and ``str((np.int64(3),))`` is ``(np.int64(3),)`` today
  (``d2lutils._compat.text``);
* on NumPy 2 arithmetic between NumPy's and Python's numbers keeps the precision it had:
  a metric's sum stays float64 (``d2lutils._compat.promotion``);
* ``distutils.version``, gone from Python 3.12, is replaced
  (``d2lutils._compat.versions``);
* where a minimal Linux lacks ``libgomp`` or ``libquadmath``, copies that other
  installed packages carry are loaded instead (``d2lutils._compat.libraries``).

Everybody else sees NumPy and Python as they are. What changes for the whole process:

``sys.meta_path``
    gains one finder, first in the list, for ``mxnet`` and ``mxnet.*`` only, and what
    `also` names. It stays, because submodules may be imported at any time later.
``os.environ``
    gains ``MXNET_STORAGE_FALLBACK_LOG_VERBOSE=0`` and ``MXNET_SUBGRAPH_VERBOSE=0``,
    unless they are set already. MXNet's C++ side reads them there; otherwise it writes
    paragraphs on sparse storage, and a line with the time for each bound symbol, to
    standard error.
``sys.modules``
    gains MXNet and what it imports, and ``d2lutils._compat.*``.

The changed bytecode is cached beside Python's own, as ``*.opt-d2lutils*.pyc``, unless
``PYTHONDONTWRITEBYTECODE`` is set or the folder is read-only.
A process started by ``multiprocessing`` with ``spawn`` or ``forkserver`` must import
this module before MXNet, as any new process; a forked one needs nothing.
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
    """Import MXNet through the bridge, or return the one that is imported."""
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
    """Import MXNet, with other packages' libraries where the system lacks some."""
    try:
        return importlib.import_module("mxnet")
    except OSError as error:
        if not libraries.missing(error):
            raise
        # MXNet's own rule which file it is; the environment can choose another.
        [path, *_] = sys.modules["mxnet.libinfo"].find_lib_path()
        _forget()
        libraries.load(Path(path), error)
    return importlib.import_module("mxnet")


def _complete(module: ModuleType) -> bool:
    """Whether a native import of MXNet came to its last line."""
    return all(hasattr(module, name) for name in ("__version__", "nd", "gluon", "api"))


def _forget() -> None:
    """Remove what an import of MXNet that failed has left behind."""
    for name in list(sys.modules):
        if name == "mxnet" or name.startswith("mxnet."):
            del sys.modules[name]


def _installed() -> Path:
    """Return MXNet's folder; raise the one error that says how to get it."""
    spec = importlib.util.find_spec("mxnet")
    # No origin: an empty folder that an uninstalled MXNet has left behind.
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
    """Give packages on top of MXNet what MXNet itself is given, before their import.

    >>> from d2lutils import compat
    >>> compat.also("gluoncv")  # doctest: +SKIP
    >>> import gluoncv  # doctest: +SKIP

    A package that stops at the installed PyTorch (a RuntimeError of its first import
    that names it) is imported as if there were none; only its MXNet half works then.
    What else a package needs must be installed: gluoncv needs portalocker, yacs,
    autocfg, tqdm and Pillow, and calls any that is missing "missing `mxnet` & `torch`".
    The true reason stands above that in the traceback.

    Args:
        names: top-level packages, installed and not imported yet. Naming one twice
            does no harm.

    Raises:
        TypeError: a name is not a string.
        ValueError: a name is that of no package, or of one that the bridge builds on.
        ImportError: a package is not installed, or is imported already.
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
