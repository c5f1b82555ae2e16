"""The import hook that compiles ``mxnet`` and its submodules through the bridge."""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import ClassVar

from d2lutils._compat import rewrite
from d2lutils._compat.numpy1 import NUMPY_2, as_array, return_what_numpy_returns

# Part of the name of cached bytecode, so that a change to `rewrite` invalidates it.
_TAG = f"d2lutils{zlib.crc32(Path(rewrite.__file__).read_bytes()):x}"


class MXNetFinder:
    """Finds MXNet and the named packages; other finders handle all other names."""

    #: Top-level packages that are compiled through the bridge, with their submodules.
    packages: ClassVar[set[str]] = {"mxnet"}

    @classmethod
    def find_spec(
        cls,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in cls.packages:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return spec
        if rewrite.needs_rewriting(spec.loader.path):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Make imports of ``name`` fail, as if it were not installed."""
    present = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if present is None:
            del sys.modules[name]
        else:
            sys.modules[name] = present


class _Loader(SourceFileLoader):
    """Compiles a module through ``rewrite``, with its own cached bytecode."""

    #: The first failure among each package's modules.
    _failed: ClassVar[dict[str, ImportError]] = {}

    def exec_module(self, module: ModuleType) -> None:
        """Run the module; patch MXNet's array class and table of NumPy functions."""
        package, _, part = module.__name__.partition(".")
        try:
            self._run(module)
        except ImportError as error:
            if part:
                self._failed.setdefault(package, error)
            elif error.__cause__ is None:
                # gluoncv says "missing `mxnet` & `torch`", whatever is missing.
                error.__cause__ = self._failed.get(package)
            raise
        if module.__name__ == "mxnet.ndarray.ndarray":
            module.NDArray.__array__ = as_array
        if module.__name__ == "mxnet.numpy_dispatch_protocol":
            return_what_numpy_returns(module._NUMPY_ARRAY_FUNCTION_DICT)

    def _run(self, module: ModuleType) -> None:
        """Run the module; if it refuses PyTorch, run it as if PyTorch were missing."""
        try:
            super().exec_module(module)
        except RuntimeError as error:
            # gluoncv works without PyTorch, but raises if PyTorch is 2.0 or later.
            name = module.__name__
            if name == "mxnet" or "." in name or "torch" not in str(error):
                raise
            with _without("torch"):
                super().exec_module(module)

    def get_code(self, fullname: str) -> CodeType:
        """Return the module's code, from the cache if it is current.

        The cache file is beside Python's own. Its name has our tag in the place of
        the optimisation level, so that neither is mistaken for the other.
        """
        path = self.get_filename(fullname)
        stat = os.stat(path)
        source = f"{path} {stat.st_mtime_ns} {stat.st_size}\n".encode()
        header = importlib.util.MAGIC_NUMBER + source
        tag = f"{_TAG}n{1 + NUMPY_2}o{sys.flags.optimize}"
        cached = Path(importlib.util.cache_from_source(path, optimization=tag))
        try:
            data = cached.read_bytes()
            if data.startswith(header):
                code = marshal.loads(data[len(header) :])
                if isinstance(code, CodeType):
                    return code
        except (OSError, ValueError, EOFError, TypeError):
            pass  # no cache, or a damaged one: compile
        code = rewrite.compile_module(self.get_data(path), path, numpy2=NUMPY_2)
        if not sys.dont_write_bytecode:
            # Makes the folder, writes atomically, ignores missing permissions.
            self.set_data(os.fspath(cached), header + marshal.dumps(code))
        return code
