"""Tests where MXNet is not installed: the PyTorch half is judged, the rest skipped.

This is the one place that skips a test for want of MXNet, and it does nothing where
MXNet is installed. Most test files take MXNet and the Gluon half at their head, and
make tables of both halves there. So while pytest collects, `d2lutils.compat` and
`d2lutils.gluon` are stand-ins: their names can be asked for, inherited from and put
into tables. A running test that uses one of these is skipped. The package itself sees
no stand-in: when the first test runs, the real modules are back, and importing MXNet
fails there as it does for a reader. A test that fails with that error is skipped, too,
unless the PyTorch half or its import raised it.

`@pytest.mark.needs_mxnet` is for a test that needs MXNet in another process.
"""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NoReturn

import pytest

import d2lutils
from d2lutils import exercises, pytorch

REASON = "MXNet is not installed"
STANDS_IN_FOR = ("d2lutils.compat", "d2lutils.gluon")
MARKER = "needs_mxnet: the test needs MXNet in a process that it starts"


def is_missing() -> bool:
    """Whether MXNet is not installed. One that is there but does not load is not so."""
    spec = importlib.util.find_spec("mxnet")
    # No origin: an empty folder that an uninstalled MXNet has left behind.
    return spec is None or spec.origin is None


def halves_here(both: Mapping[str, Any]) -> dict[str, Any]:
    """The halves that can be judged: without "gluon" where MXNet is missing.

    Asking the result for "gluon" by name skips the test then.
    """
    return _Halves(both) if is_missing() else dict(both)


def judged(name: str, answer: Any) -> exercises.Result:
    """`exercises.judge`; the test is skipped where the check itself needs MXNet."""
    result = exercises.judge(name, answer)
    if "cannot be judged here" in result.message:
        importlib.import_module("d2lutils.compat")  # where it is missing, this raises
    return result


class _Halves(dict[str, Any]):
    def __init__(self, both: Mapping[str, Any]) -> None:
        super().__init__({name: h for name, h in both.items() if name != "gluon"})

    def __missing__(self, name: str) -> NoReturn:
        if name == "gluon":
            pytest.skip(REASON)
        raise KeyError(name)


class StandIn:
    """Something of MXNet's or of the Gluon half, by name only."""

    collecting = False

    def __init__(self, name: str) -> None:
        self.__name__ = name
        self.__module__ = name.rpartition(".")[0]

    def __repr__(self) -> str:
        return f"<{self.__name__}, without MXNet>"

    def __getattr__(self, name: str) -> Any:
        # What Python and pytest look for to find out what an object is.
        if name.startswith(("__", "_pytest")):
            raise AttributeError(name)
        if name == "waitall":
            return lambda: None  # without MXNet there is nothing to wait for
        setattr(self, name, StandIn(f"{self.__name__}.{name}"))
        return vars(self)[name]

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (_Base,)

    def __instancecheck__(self, value: Any) -> bool:
        return False

    def __call__(self, *arguments: Any, **options: Any) -> StandIn:
        if not StandIn.collecting:
            pytest.skip(REASON)
        return StandIn(f"{self.__name__}()")

    def __iter__(self) -> Iterator[StandIn]:
        return iter([self(), self()])

    def __getitem__(self, key: Any) -> StandIn:
        return self(key)

    def __enter__(self) -> StandIn:
        return self()

    def __exit__(self, *problem: Any) -> None:
        """Never reached: nothing is entered."""


class _Base:
    """What a class inherits from whose base in MXNet is a stand-in."""

    def __new__(cls, *arguments: Any, **options: Any) -> Any:
        return StandIn(cls.__name__)(*arguments, **options)


class _Finder:
    """Finds stand-ins for modules; it is its own loader."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        if name.startswith(STANDS_IN_FOR):
            return ModuleSpec(name, _Finder, is_package=True)  # type: ignore[arg-type]
        return None

    @staticmethod
    def create_module(spec: ModuleSpec) -> Any:
        return StandIn(spec.name)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """It is there already."""


def _stand_in() -> None:
    """Let the modules in question be stand-ins."""
    sys.meta_path.insert(0, _Finder)
    StandIn.collecting = True
    _forget()


def _stand_back() -> None:
    """Give the real modules back: `d2lutils.compat` cannot be imported again."""
    sys.meta_path.remove(_Finder)
    StandIn.collecting = False
    _forget()
    importlib.import_module("d2lutils.gluon")


def _forget() -> None:
    for name in [name for name in sys.modules if name.startswith(STANDS_IN_FOR)]:
        del sys.modules[name]
    for name in STANDS_IN_FOR:
        vars(d2lutils).pop(name.rpartition(".")[2], None)


def _is_reason(error: ImportError) -> bool:
    """Whether the missing MXNet is what failed, and not in the PyTorch half."""
    half = Path(pytorch.__path__[0])
    if isinstance(error.__cause__, ImportError):  # told in other words
        return _is_reason(error.__cause__)
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        if half in Path(trace.tb_frame.f_code.co_filename).parents:
            return False
        trace = trace.tb_next
    return str(error).startswith(REASON) or error.name == "mxnet"


class WithoutMXNet:
    """The plugin; `tests/conftest.py` registers it where MXNet is missing."""

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Stand-ins while test files are imported, and no longer."""
        _stand_in()
        try:
            return (yield)
        finally:
            _stand_back()

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leave out the examples in the Gluon half: it cannot be imported."""
        root = Path(d2lutils.__path__[0])
        left_out = (root / "gluon", root / "compat.py")
        return True if collection_path in left_out else None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(
        self, item: pytest.Item
    ) -> Generator[None, object, object]:
        """Skip what needs MXNet by its mark, its parameters or its fixtures."""
        call = getattr(item, "callspec", None)
        parameters = call.params.values() if call else ()
        given = any(isinstance(value, StandIn) for value in parameters)
        if given or item.get_closest_marker("needs_mxnet"):
            pytest.skip(REASON)
        return (yield from self.pytest_runtest_call())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        """Skip a test that fails for want of MXNet."""
        try:
            return (yield)
        except (ImportError, doctest.UnexpectedException) as failure:
            example = isinstance(failure, doctest.UnexpectedException)
            error = failure.exc_info[1] if example else failure
            if isinstance(error, ImportError) and _is_reason(error):
                pytest.skip(REASON)
            raise
