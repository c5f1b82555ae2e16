"""The bridge to MXNet: what it gives MXNet, and what it leaves alone.

What needs a fresh interpreter runs in one; ``noxfile.py`` runs this file in
other environments, so it needs pytest, NumPy and MXNet only.
"""

from __future__ import annotations

import ast
import collections
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2lutils._compat import numpy1, promotion, rewrite, text, versions

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
needs_mxnet = pytest.mark.skipif(
    importlib.util.find_spec("mxnet") is None, reason="MXNet is not installed"
)
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"
)


# One for all processes of this file: compiling MXNet takes longer than any test.
CACHE = tempfile.TemporaryDirectory()


def run(code: str, *options: str, **environment: str) -> subprocess.CompletedProcess:
    """Run ``code`` in a new interpreter that finds this checkout's d2lutils."""
    first = environment.pop("PATH_FIRST", "")
    settings = {
        "PYTHONPATH": os.pathsep.join(filter(None, [first, str(ROOT)])),
        "PYTHONPYCACHEPREFIX": CACHE.name,
        "PYTHONDONTWRITEBYTECODE": "",
    }
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, **settings, **environment},
        timeout=120,
        check=False,
    )


def passes(code: str, *options: str, **environment: str) -> str:
    """Run ``code``; it must succeed and write nothing to standard error."""
    result = run(code, *options, **environment)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout


# --- the whole of it, in a process of its own -----------------------------------------


@needs_mxnet
def test_probe_passes_in_silence() -> None:
    probe = (HERE / "probe.py").read_text(encoding="utf-8")
    summary = json.loads(passes(probe))
    assert summary["failed"] == []
    assert summary["checks"] == 12
    assert summary["numpy"] == np.__version__


@needs_mxnet
def test_numpy_and_the_process_stay_as_they_are() -> None:
    passes(
        """
        import os, sys, warnings
        import numpy as np, numpy.linalg, numpy.random, numpy.fft, numpy.testing
        import numpy.exceptions, numpy.polynomial, numpy.lib
        import requests  # MXNet imports it, and it has warning filters of its own
        try:
            import scipy.sparse, scipy.stats  # likewise
        except ImportError:
            pass

        def public():
            modules = [m for n, m in sys.modules.items() if n.startswith("numpy")]
            return {
                (module.__name__, name): value
                for module in modules
                for name, value in vars(module).items()
                if not name.startswith("__") or name in ("__getattr__", "__version__")
            }

        def state():
            return np.get_printoptions(), np.geterr(), list(warnings.filters)

        before, state_before = public(), state()
        types = {kind: vars(kind).copy() for kind in (np.ndarray, np.float64)}
        modules, environment = set(sys.modules), dict(os.environ)
        finders, hooks = list(sys.meta_path), list(sys.path_hooks)
        builtin = vars(__import__("builtins")).copy()

        from d2lutils.compat import mx
        from mxnet import gluon, nd

        net = gluon.nn.Dense(np.int64(2))
        net.initialize()
        assert "np." not in repr(nd.ones((np.int64(2),))) + repr(net)
        assert net(nd.ones((np.int64(1), 3))).shape == (1, 2)

        after = public()
        changed = [key for key in before if after[key] is not before[key]]
        assert not changed, changed
        # Submodules, and what is private, may come as NumPy's own doing.
        added = [
            (module, name)
            for module, name in set(after) - set(before)
            if module in modules
            and "._" not in module
            and not name.startswith("_")
            and f"{module}.{name}" not in sys.modules
        ]
        assert not added, added
        assert state() == state_before
        for kind, attributes in types.items():
            assert vars(kind) == attributes
        assert vars(__import__("builtins")) == builtin

        new = set(sys.modules) - modules
        assert not any("distutils" in name.split(".")[0] for name in new)
        ours = {name for name in new if name.startswith("d2lutils")}
        expected = ("d2lutils._compat", "d2lutils.compat")
        assert all(name.startswith(expected) for name in ours - {"d2lutils"}), ours
        assert [f for f in sys.meta_path if f not in finders] == [sys.meta_path[0]]
        assert sys.path_hooks == hooks
        new = {name for name in os.environ if os.environ[name] != environment.get(name)}
        new = {name for name in new if not name.startswith("KMP_")}  # scikit-learn's
        quiet = {"MXNET_STORAGE_FALLBACK_LOG_VERBOSE", "MXNET_SUBGRAPH_VERBOSE"}
        assert new == quiet - set(environment), new
        plain = "(3,)" if np.__version__ < "2" else "(np.int64(3),)"
        assert str((np.int64(3),)) == plain
        """,
    )


@needs_mxnet
def test_no_warning_at_import_and_tracebacks_show_mxnets_own_lines() -> None:
    passes(
        """
        import inspect, linecache, traceback
        from d2lutils.compat import mx
        import mxnet.gluon.nn as nn
        lines, first = inspect.getsourcelines(nn.Dense.__init__)
        assert lines[0].strip().startswith("def __init__(self, units")
        path = inspect.getsourcefile(nn.Dense)
        assert linecache.getline(path, first) == lines[0]
        try:
            mx.nd.ones((2,)).reshape((3,))
        except Exception as error:
            frames = [f for f in traceback.extract_tb(error.__traceback__)
                      if "ndarray.py" in f.filename]
            assert frames and all(f.line for f in frames), frames
        """,
        "-W",
        "error",
    )


@needs_mxnet
@needs_torch
@pytest.mark.parametrize("first", ["torch", "mxnet"])
def test_import_order_with_torch(first: str) -> None:
    imports = ["import torch", "from d2lutils.compat import mx"]
    if first == "mxnet":
        imports.reverse()
    work = """
        import numpy as np
        assert mx.nd.ones((np.int64(2),)).sum().asscalar() == torch.ones(2).sum().item()
        layer = mx.gluon.nn.Conv2D(4, 3)
        layer.initialize()
        assert layer(mx.nd.ones((1, 2, 5, 5))).shape == (1, 4, 3, 3)
        assert torch.nn.Conv2d(2, 4, 3)(torch.ones(1, 2, 5, 5)).shape == (1, 4, 3, 3)
        """
    # torch has its bytecode beside it.
    passes("\n".join(imports) + textwrap.dedent(work), PYTHONPYCACHEPREFIX="")


@needs_mxnet
def test_recovers_from_an_import_that_failed_half_way() -> None:
    passes(
        """
        import sys
        import numpy as np
        try:
            import mxnet
        except Exception:
            assert any(name.startswith("mxnet.") for name in sys.modules)
        else:
            assert np.__version__ < "1.24"
        from d2lutils.compat import mx
        assert mx.nd.ones((2,)).sum().asscalar() == 2
        import importlib
        importlib.reload(mx)
        assert mx.nd.ones((2,)).sum().asscalar() == 2
        """,
        "-W",
        "ignore",  # distutils, which MXNet imports natively, warns on 3.10 and 3.11
    )


def test_accepts_an_mxnet_that_is_imported_already() -> None:
    passes(
        """
        import sys, types
        fake = types.ModuleType("mxnet")
        fake.__version__, fake.nd, fake.gluon, fake.api = "1.9.1", 1, 2, 3
        sys.modules["mxnet"] = fake
        from d2lutils.compat import mx
        assert mx is fake
        """
    )


# --- what it says where MXNet is missing ----------------------------------------------


def error(code: str, **environment: str) -> str:
    """Return the text of the ImportError that ``import d2lutils.compat`` raises."""
    template = """
        import importlib.machinery, importlib.util, platform, sys
        {code}
        try:
            import d2lutils.compat
        except ImportError as error:
            print(error)
            assert not any(name.split(".")[0] == "mxnet" for name in sys.modules)
        else:
            raise SystemExit("no ImportError")
        """
    return passes(textwrap.dedent(template).format(code=code), **environment)


HIDE = (
    "real = importlib.util.find_spec; "
    "importlib.util.find_spec = lambda name, *a: None if name == {name!r} "
    "else real(name, *a)"
)


@pytest.mark.parametrize(
    ("system", "machine", "cure"),
    [
        ("Linux", "aarch64", "pip install --no-deps mxnet==1.9.1"),
        ("Darwin", "arm64", "macOS on Intel only"),
        ("Windows", "AMD64", "WSL"),
    ],
)
def test_missing_mxnet(system: str, machine: str, cure: str) -> None:
    fake = f"platform.system = lambda: {system!r}; platform.machine = lambda: "
    message = error(f"{HIDE.format(name='mxnet')}; {fake}{machine!r}")
    version = ".".join(map(str, sys.version_info[:3]))
    assert f"MXNet is not installed on {system} {machine} with Python {version}" in (
        message
    )
    assert cure in message
    assert "The PyTorch half of this package (d2lutils.pytorch) works" in message


def test_missing_numpy() -> None:
    assert "MXNet needs NumPy: pip install numpy" in error(HIDE.format(name="numpy"))


def fake_mxnet(folder: Path, version: str, code: str) -> str:
    """A folder for the path with an MXNet of some version and other code."""
    (folder / "mxnet").mkdir()
    (folder / "mxnet" / "__init__.py").write_text(code)
    (folder / "mxnet" / "libinfo.py").write_text(f"__version__ = '{version}'\n")
    return str(folder)


def test_another_version(tmp_path: Path) -> None:
    place = fake_mxnet(tmp_path, "2.0.0b1", "raise RuntimeError('is not imported')")
    message = error("pass", PATH_FIRST=place)
    assert "MXNet 2.0.0b1 is installed" in message
    assert "mxnet==1.9.1" in message


def test_a_folder_left_by_an_uninstalled_mxnet(tmp_path: Path) -> None:
    (tmp_path / "mxnet" / "__pycache__").mkdir(parents=True)
    isolated = "sys.path[:] = [p for p in sys.path if 'site-packages' not in p]; "
    hidden = "import numpy; " + isolated
    assert "MXNet is not installed" in error(hidden, PATH_FIRST=str(tmp_path))


def test_an_mxnet_that_does_not_load(tmp_path: Path) -> None:
    place = fake_mxnet(
        tmp_path, "1.9.1", "from . import libinfo\nimport no_such_module"
    )
    message = error("pass", PATH_FIRST=place)
    assert "does not load on" in message
    assert "no_such_module" in message
    assert "pip install requests graphviz" in message


# --- the NumPy that MXNet sees --------------------------------------------------------


@needs_mxnet
def test_every_numpy_name_in_mxnet_is_there() -> None:
    """Read all of MXNet's sources for ``np.something`` and look each up."""
    spec = importlib.util.find_spec("mxnet")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    missing, found = set(), 0
    for path in root.rglob("*.py"):
        if path.name.startswith("gen_") or "tools" in path.relative_to(root).parts:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
        names = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
            if alias.name == "numpy"
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or node.attr == "__name__":
                continue
            if isinstance(node.value, ast.Name) and node.value.id in names:
                found += 1
                if not hasattr(numpy1, node.attr):
                    missing.add(node.attr)
    assert found > 1000
    assert missing == set()


def test_stand_in_has_the_old_names_and_the_real_objects() -> None:
    old: Any = numpy1  # the names are made when it is imported
    assert (old.bool, old.int, old.float, old.object) == (bool, int, float, object)
    assert (old.PINF, old.NINF, old.Inf) == (np.inf, -np.inf, np.inf)
    assert np.signbit([old.NZERO, old.PZERO]).tolist() == [True, False]
    assert (old.ndarray, old.linalg) == (np.ndarray, np.linalg)
    assert old.core.numeric.normalize_axis_tuple(-1, 3) == (2,)
    assert isinstance("text", old.compat.basestring)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # NumPy 1.26 still has them
def test_stand_in_computes_what_numpy_1_did() -> None:
    values = np.array([[3, 0], [1, 2]])
    assert not numpy1.alltrue(values)
    assert numpy1.sometrue(values, axis=0).tolist() == [True, True]
    assert numpy1.product(values, axis=1).tolist() == [0, 2]
    assert numpy1.msort(values).tolist() == [[1, 0], [3, 2]]
    assert numpy1.round_(2.567, 1) == 2.6
    assert numpy1.in1d(values, [1, 3]).tolist() == [True, False, True, False]
    assert numpy1.in1d([1, 2], [1], invert=True).tolist() == [False, True]
    assert (numpy1.trapz([1, 2, 3]), numpy1.trapz([1, 2, 3], [0, 2, 4])) == (4, 8)
    assert type(numpy1.count_nonzero(values)) is int
    assert numpy1.nanquantile([1, 2, np.nan], 0.5, interpolation="lower") == 1
    assert numpy1.nanpercentile([1, 2, np.nan], 50, interpolation="lower") == 1
    with pytest.raises(RuntimeError, match="NEP 32, the function pmt was removed"):
        numpy1.__dict__["pmt"](1, 2, 3)


def test_functions_return_and_dispatch_as_numpys() -> None:
    class Array:
        @staticmethod
        def __array_function__(
            self: Any, func: Any, types: Any, args: Any, kwargs: Any
        ) -> Any:
            return func, types, args, kwargs

    array = Array()
    assert numpy1.msort(array) == (numpy1.msort, (Array,), (array,), {})
    assert numpy1.alltrue([array], axis=0)[3] == {"axis": 0}
    functions = (
        *(np.broadcast_arrays, np.meshgrid, np.linalg.eig, np.linalg.eigh),
        *(np.atleast_1d, np.atleast_2d, np.atleast_3d),
    )
    table = {function: lambda *args: list(args) for function in functions}
    numpy1.return_what_numpy_returns(table)
    one = np.ones((1, 1))
    for function, replaced in table.items():
        arguments = (one, one)[: 1 if "eig" in function.__name__ else 2]
        assert type(replaced(1, 2)) is type(function(*arguments)), function
        assert tuple(replaced(1, 2)) == (1, 2)
    pair = collections.namedtuple("pair", "a b")
    assert type(numpy1.rebuilt(pair, [1, 2])) is pair
    assert numpy1.rebuilt(list, (1, 2)) == [1, 2]


def test_fallback_promotes_as_numpy_1_and_refuses_other_arrays() -> None:
    halves = numpy1.fallback(np.divide, np.ones(2, "float32"), np.float64(2))
    assert halves.dtype == np.float32
    assert halves.tolist() == [0.5, 0.5]
    out = np.zeros(2, "float32")
    assert numpy1.fallback(np.sqrt, np.ones(2, "float32"), out=out) is out
    with pytest.raises(RecursionError, match="takes no out="):
        numpy1.fallback(np.sqrt, np.ones(2), out=object())


# --- values as text -------------------------------------------------------------------

named = collections.namedtuple("named", "a b")
I3, F, H = np.int64(3), np.float64(0.5), np.float32(0.1)
RENDERED = [
    ((I3,), "(3,)"),
    ((I3, np.int32(-1), None), "(3, -1, None)"),
    ([F, [H, np.float16(2)]], "[0.5, [0.1, 2.0]]"),
    ({"a": I3, np.int64(2): (F,)}, "{'a': 3, 2: (0.5,)}"),
    (frozenset([I3]), "frozenset({3})"),
    ((np.float64("nan"), np.float64("-inf")), "(nan, -inf)"),
    ((np.str_("x"), np.datetime64("2020")), "('x', numpy.datetime64('2020'))"),
    (slice(I3, None, np.int8(1)), "slice(3, None, 1)"),
    (collections.deque([I3], 2), "deque([3], maxlen=2)"),
    (named(I3, "np.int64(1)"), "named(a=3, b='np.int64(1)')"),
    (("np.int64(3)",), "('np.int64(3)',)"),
    (np.arange(3), "[0 1 2]"),
]


def test_as_str_and_as_repr() -> None:
    for value, expected in RENDERED:
        assert text.as_str(value) == expected
    assert text.as_repr(np.float32(0.1)) == "0.1"
    assert text.as_repr(np.arange(2000)).endswith("1999])")
    assert text.as_repr(np.zeros((0, 3))).startswith("array([], shape=(0, 3)")
    value = collections.defaultdict(list, {"a": [I3]})  # stays as it is
    assert text.as_str(value) == "defaultdict(<class 'list'>, {'a': [3]})"
    assert type(value["a"][0]) is np.int64


def test_modulo_and_format() -> None:
    assert text.modulo("%s and %r", ((I3,), H)) == "(3,) and 0.1"
    assert text.modulo("%d %.2f", (I3, F)) == "3 0.50"
    assert text.modulo("%s", [F]) == "[0.5]"
    assert text.modulo("%(a)s", {"a": [I3]}) == "[3]"
    assert text.modulo(7, 4) == 3
    assert text.modulo("%.1f", np.array([2.5])) == "2.5"
    assert text.formatted("{} {!r} {:>4} {a}", (I3,), H, I3, a=[F]) == (
        "(3,) 0.1    3 [0.5]"
    )
    assert text.formatted("{:.1f} {}", H, [I3]) == "0.1 [3]"
    with pytest.raises(TypeError):
        text.modulo("%d", "x")


# --- arithmetic -----------------------------------------------------------------------


PROMOTED = (
    (promotion.add, 0.0, np.float32(2**24), "float64", 2.0**24),
    (promotion.mul, np.uint8(200), 4, "int64", 800),
    (promotion.sub, np.float32(1), 1e-9, "float64", 1 - 1e-9),
    (promotion.mul, np.ones(1, "float32"), np.float64(0.1), "float32", 0.1),
    (promotion.add, np.ones(1, "int8"), 128, "int16", 129),
    (promotion.sub, np.ones(1, "uint8"), -1, "int16", 2),
    (promotion.add, np.ones(1, "uint8"), 300, "uint16", 301),
    (promotion.mul, np.ones(1, "int32"), np.float32(0.5), "float64", 0.5),
    (promotion.mul, np.ones(1, "float32"), 1e300, "float64", 1e300),
    (promotion.power, np.float32(3), 2, "float64", 9),
)


def test_promotion_of_numpy_1() -> None:
    for operation, a, b, dtype, value in PROMOTED:
        result = operation(a, b)
        assert result.dtype == dtype, (operation, a, b)
        np.testing.assert_allclose(result, value, 1e-6)
    # The rest is left to Python.
    assert promotion.add("a", "b") == "ab"
    assert promotion.mul([1], 2) == [1, 1]
    assert type(promotion.add(1, 2)) is int
    total = [1]
    assert promotion.iadd(total, [2]) is total
    array = np.ones(2, "float32")
    assert promotion.iadd(array, np.float64(1)) is array
    assert promotion.iadd(0.0, np.float32(1)).dtype == np.float64


def test_conversions_of_arrays_with_one_item() -> None:
    one = np.array([2.5])
    assert promotion.as_float(one) == 2.5
    assert promotion.as_int(np.array([[3]])) == 3
    assert promotion.as_int("11", 2) == promotion.as_int("11", base=2) == 3
    assert promotion.as_float() == 0.0
    assert promotion.as_scalars([1, one]) == [1, 2.5]
    assert promotion.equal(np.int64(3), ()) is False
    assert promotion.equal((), ()) is True
    assert promotion.equal(np.array([2, 3]), ()) is False
    assert promotion.not_equal(np.array([2, 3]), ()) is True
    with pytest.raises(TypeError):
        promotion.as_float(np.ones(2))


# --- the sources ----------------------------------------------------------------------


def compiled(source: str, numpy2: bool = True) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "module"}
    code = rewrite.compile_module(
        textwrap.dedent(source).encode(), "f.py", numpy2=numpy2
    )
    exec(code, names)
    return names


def test_rewriting_keeps_docstring_future_and_lines() -> None:
    names = compiled(
        '''
        """Document, with an \\escape."""
        from __future__ import annotations
        import numpy as np, sys
        import numpy
        from distutils.version import LooseVersion
        def f(x: Undefined): return str(x)
        '''
    )
    assert names["__doc__"] == "Document, with an \\escape."
    assert names["np"] is names["numpy"] is numpy1
    assert names["sys"] is sys
    assert names["LooseVersion"] is versions.LooseVersion
    assert names["f"].__code__.co_firstlineno == 7


def test_rewritten_expressions() -> None:
    names = compiled(
        """
        import numpy as np
        i = np.int64(3)
        class Base:
            def __repr__(self): return "base"
        class Derived(Base):
            def __repr__(self): return super().__repr__() + "+"
        texts = [str((i,)), repr(i), "%s" % [i], "{}".format((i,)), f"{(i,)}", f"{i!r}",
                 f"{i:>3}", ", ".join(map(str, [(i,)])), i.__repr__(), repr(Derived())]
        class Counter: pass
        counter = Counter(); counter.total = 0.0
        counter.total += np.float32(1)
        kinds = [type(x).__name__ for x in
                 (counter.total, np.float32(1) * 2.0, pow(np.float16(1), 2))]
        others = [isinstance("a", str), 7 % 4, "a" + "b", [0] * 2, i == (),
                  np.ones(1).tostring(), float(np.ones(1)), int("7"), i.__class__(4)]
        def c_array(kind, values):
            "Document."
            return list(values)
        array = c_array(float, [np.ones(1), 2])
        class scipy:
            csr_matrix = 5
        matrix = scipy.csr.csr_matrix
        """
    )
    plain = ["(3,)", "3", "[3]", "(3,)", "(3,)", "3", "  3", "(3,)", "3", "base+"]
    assert names["texts"] == plain
    assert names["kinds"] == ["float64"] * 3
    one = np.ones(1).tobytes()
    assert names["others"] == [True, 3, "ab", [0, 0], False, one, 1.0, 7, 4]
    assert names["array"] == [1.0, 2]
    assert names["matrix"] == 5
    # NumPy 1 needs fewer changes, and generated modules none.
    names = compiled("import numpy as np\ntext = str((np.int64(3),))", numpy2=False)
    assert names["np"] is numpy1
    assert names["text"] == str((np.int64(3),))
    assert not rewrite.needs_rewriting("/x/mxnet/ndarray/gen_op.py")
    assert rewrite.needs_rewriting("/x/mxnet/ndarray/ndarray.py")


@needs_mxnet
def test_bytecode_is_cached_and_a_damaged_cache_is_ignored() -> None:
    code = "from d2lutils.compat import mx; print(mx.nd.ones((2,)).sum().asscalar())"
    assert passes(code) == "2.0\n"
    files = Path(CACHE.name).rglob("mxnet/*.opt-d2lutils*.pyc")
    cached = {path.name.split(".")[0]: path for path in files}
    assert len(cached) > 20
    cached["libinfo"].write_bytes(cached["libinfo"].read_bytes()[:40])
    cached["context"].write_bytes(b"damaged")
    assert passes(code) == "2.0\n"


# --- integers that do not fit ---------------------------------------------------------


@pytest.mark.filterwarnings("ignore:NumPy will stop:DeprecationWarning")
def test_integers_that_do_not_fit_wrap_in_mxnets_modules() -> None:
    names = compiled(
        """
        import numpy as np
        byte = lambda *values: np.array(values, "uint8")
        made = [np.full(2, -1, "uint8"), np.full_like(byte(1), 300), np.uint8(-1),
                np.full(1, fill_value=-1, dtype=np.int8), np.int8(200),
                np.asarray([-1, 257], dtype="uint8"), np.arange(-1, 2, dtype="uint8"),
                np.array([1.5, -1], "uint8"), np.uint64(-1)]
        a = byte(1, 2, 3, 4)
        a[0] = -1
        a[1:3] = [300, 5]
        a[-1:, ...] = 256 + 7
        table = np.zeros((2, 2), "int8"); table[:, 1] = 200; table[0, None] += 1
        byte_row = byte(5, 7); byte_row[0] += 300; byte_row[1:] *= 256 + 2
        byte_row[:1] -= np.int64(1)
        filled = byte(0); filled.fill(-2)
        summed = byte(1); summed += 300
        items = {}
        items[1, 2] = items["a"] = 3
        items[(1,)] = -1
        wider = [np.maximum(byte(1), 300), np.where(byte(1) > 0, byte(1), -1),
                 np.clip(byte(5), -1, 300), byte(7) & 257, byte(1) | 256, byte(1) - -1]
        combined = [np.clip(byte(5), 0, np.int64(9)), np.clip(byte(5), 0, a_max=300),
                    np.minimum(np.float32(1), 1.5), np.clip(byte(5), None, 40000),
                    np.where(byte(1) > 0, np.ones(1, "float16"), np.float64(2)),
                    byte(3) << 1, byte(3) % 40000, byte(3) // 300, np.clip(5, 1, 3)]
        """
    )
    made = [np.asarray(value).tolist() for value in names["made"]]
    assert made == [
        *([255, 255], [44], 255, [-1], -56),
        *([255, 1], [255, 0, 1], [1, 255], 2**64 - 1),
    ]
    assert names["a"].tolist() == [255, 44, 5, 7]
    assert names["table"].tolist() == [[1, -55], [0, -56]]
    assert (names["filled"].tolist(), names["summed"].tolist()) == ([254], [45])
    assert names["items"] == {(1, 2): 3, "a": 3, (1,): -1}
    values = [value.tolist() for value in names["wider"]]
    assert values == [[300], [1], [5], [1], [257], [2]]
    dtypes = [str(value.dtype) for value in names["wider"]]
    assert dtypes == ["uint16", "int16", "int16", "int16", "int16", "int16"]
    assert names["byte_row"].tolist() == [48, 14]
    dtypes = [str(value.dtype) for value in names["combined"]]
    kinds = ["uint8", "uint16", "float64", "uint16", "float16"]
    assert dtypes == [*kinds, "uint8", "uint16", "int16", "int64"]


def test_items_are_assigned_as_python_does() -> None:
    """The order of evaluation, each once; all kinds of keys; others' errors."""
    source = """
        import numpy as np
        seen = []
        def see(name, value):
            seen.append(name)
            return value
        items = {"a": [1], "b": 2}
        see("target", items)[see("key", "b")] = see("value", 3)
        see("target", items)[see("key", "b")] += see("value", 4)
        items["a"] += [5]
        items["a"] += (6,)
        items["f"] = 1.0
        items["f"] += np.float32(0.1)
        listed = [0, 1, 2, 3]
        listed[::-2] = [7, 8]
        listed[1:1] += [9]
        array = np.arange(6.0).reshape(2, 3)
        array[array > 4] = 0
        array[..., None][1, ::-1, 0] += [10, 20, 30]
        class Owner:
            pass
        self = Owner(); self.a = Owner(); self.a.b = np.float32(0); self.a.n = [0]
        self.a.b += 1e-9
        self.a.n[0] -= 1
        errors = []
        for place, key, value in ((3, 0, 1), ([], 0, 1), ({}, [], 1), ({}, "k", 1)):
            try:
                place[key] += value
            except Exception as error:
                errors.append(type(error).__name__)
        """
    rewritten, plain = compiled(source), dict[str, Any]()
    exec(textwrap.dedent(source), plain)
    assert rewritten["seen"] == plain["seen"]
    assert rewritten["items"]["a"] == plain["items"]["a"] == [1, 5, 6]
    assert rewritten["items"]["f"] == 1 + float(np.float32(0.1))
    assert rewritten["listed"] == plain["listed"] == [0, 9, 8, 2, 7]
    assert (rewritten["array"] == plain["array"]).all()
    assert rewritten["self"].a.n == [-1]
    assert rewritten["self"].a.b == 1e-9
    assert rewritten["errors"] == plain["errors"]


def test_what_numpy_1_refused_is_refused() -> None:
    for source in ("np.full(2, 2**70, 'uint8')", "np.asarray(2**70, 'int8')"):
        with pytest.raises(OverflowError):
            compiled(f"import numpy as np\n{source}")


# --- NumPy's functions given MXNet's arrays -------------------------------------------


@needs_mxnet
def test_numpy_takes_mxnets_arrays() -> None:
    passes(
        """
        import copy, pickle
        import numpy as np
        from d2lutils.compat import mx
        from mxnet import autograd, nd

        values = np.array([[1, 2], [3, 4]], "float32")
        a, one = nd.array(values), nd.array([5.0])
        for kind in ("float32", "float64", "float16", "int64", "int8", "uint8", "bool"):
            array = np.asarray(nd.array(values).astype(kind))
            assert array.dtype == kind and (array == values.astype(kind)).all()
        assert type(np.asarray(a)) is np.ndarray
        assert np.array(a, dtype="int32").dtype == np.int32
        assert np.array([a, a]).shape == (2, 2, 2)
        assert np.array([one, one]).shape == (2, 1)
        for view in (a[0], a[:, 1], a.T, a[1:]):
            assert np.array_equal(np.asarray(view), view.asnumpy())
        for stype in ("csr", "row_sparse"):
            assert (np.asarray(a.tostype(stype)) == values).all()
        assert np.all(a) and not np.all(a - 1) and np.array_equal(a, values)
        assert np.allclose(a, values) and mx.test_utils.same(a, a)
        assert not mx.test_utils.same(a, a + 1)
        np.testing.assert_allclose(a, values)
        assert np.stack([a, a]).shape == (2, 2, 2) and np.float64(one) == 5
        assert (np.add(values, a) == 2 * values).all()
        total = values.copy()
        total[0] = a[1]
        assert total.tolist() == [[3, 4], [3, 4]]

        array = np.asarray(a)
        array[:] = 0  # a copy: NumPy cannot write into an NDArray
        assert a.asnumpy()[1, 1] == 4
        if np.__version__ >= "2":
            try:
                np.asarray(a, copy=False)
            except ValueError as error:
                assert "copy" in str(error)
            else:
                raise AssertionError
        a.attach_grad()
        with autograd.record():
            loss = (a * np.asarray(a).sum()).sum()
        loss.backward()
        assert a.grad.asnumpy().tolist() == [[10, 10], [10, 10]]

        # What NumPy leaves to MXNet, it still does.
        for scalar in (np.float32(2), np.float64(2), np.int64(2), np.uint8(2)):
            assert type(scalar * a) is type(scalar - a) is nd.NDArray
            assert type(scalar > a) is nd.NDArray
        assert type(np.sum(a)) is nd.NDArray and (np.float32(2) - a)[0, 0] == 1
        assert (pickle.loads(pickle.dumps(a)) == copy.deepcopy(a)).asnumpy().all()
        assert nd.array([one, one]).shape == (2, 1)

        b = mx.np.array(values)
        assert (np.asarray(b) == values).all()
        with mx.util.np_shape(True):
            assert np.asarray(mx.np.array(3.0)).shape == ()
        assert np.array([b, b]).shape == (2, 2, 2)
        assert type(np.add(b, b)) is type(np.mean(b)) is mx.np.ndarray
        """
    )


@needs_mxnet
def test_integers_that_do_not_fit_in_mxnets_interfaces() -> None:
    passes(
        """
        from d2lutils.compat import mx
        def first(invalid, dtype, sentence=(1, 2)):
            data = mx.rnn.BucketSentenceIter(
                [list(sentence)], 1, buckets=[2], invalid_label=invalid, dtype=dtype)
            return next(data)
        batch = first(-1, "uint8")
        assert batch.data[0].asnumpy().tolist() == [[1, 2]]
        assert batch.label[0].asnumpy().tolist() == [[2, 255]]
        assert first(300, "int8").label[0].asnumpy().tolist() == [[2, 44]]
        assert first(0, "uint8", (1, 258)).data[0].asnumpy().tolist() == [[1, 2]]
        assert mx.nd.array([-1, 300], dtype="uint8").asnumpy().tolist() == [255, 44]
        x = mx.nd.zeros((3,), dtype="uint8"); x[:2] = [1, 300]
        assert x.asnumpy().tolist() == [1, 44, 0]
        assert mx.np.array([-1], dtype="uint8").item() == 255
        """
    )


# --- packages on top of MXNet ---------------------------------------------------------


@needs_mxnet
def test_a_package_that_is_named_gets_what_mxnet_gets(tmp_path: Path) -> None:
    package = tmp_path / "onmxnet"
    package.mkdir()
    (package / "__init__.py").write_text("from . import part\n")
    (package / "part.py").write_text(
        "import numpy as np\n"
        "from distutils.version import LooseVersion\n"
        "kinds = np.int, np.float, np.bool, np.object, np.str\n"
        "newer = LooseVersion('2.10') > LooseVersion('2.9')\n"
        "def fails():\n    raise RuntimeError\n"
    )
    (tmp_path / "halved.py").write_text(  # stops at a new PyTorch, takes none
        "import sys\n"
        "if sys.modules.get('torch', 1): raise RuntimeError('Legacy torch==2.15')\n"
        "try:\n    import torch\nexcept ImportError:\n    torch = None\n"
    )
    (tmp_path / "silent").mkdir()
    (tmp_path / "silent" / "__init__.py").write_text(
        "try:\n    from . import part\nexcept ImportError:\n    pass\n"
        "raise ImportError('missing `mxnet` & `torch`')\n"
    )
    (tmp_path / "silent" / "part.py").write_text("import no_such_module\n")
    code = """
        from d2lutils import compat
        def refused(kind, *names):
            try:
                compat.also(*names)
            except kind as error:
                return str(error)
            raise AssertionError(names)
        assert "expected str, got 3" in refused(TypeError, 3)
        for name in ("numpy", "torch", "onmxnet.part", "", "json"):
            assert name in refused(ValueError, name)
        assert "not installed" in refused(ImportError, "onmxnet", "no_such_package")
        compat.also("onmxnet")
        compat.also("onmxnet", "mxnet")
        import onmxnet, traceback
        assert onmxnet.part.kinds == (int, float, bool, object, str)
        assert onmxnet.part.newer
        try:
            onmxnet.part.fails()
        except RuntimeError as error:
            assert traceback.extract_tb(error.__traceback__)[-1].lineno == 6
        compat.also("halved", "silent")
        import halved, sys
        assert halved.torch is None
        assert "torch" not in sys.modules or sys.modules["torch"] is not None
        try:
            import silent
        except ImportError as error:
            assert error.__cause__.name == "no_such_module"
        import pytest
        assert "imported already" in refused(ImportError, "pytest")
        """
    passes(code, PATH_FIRST=str(tmp_path))


# --- versions -------------------------------------------------------------------------


def test_versions() -> None:
    loose, strict = versions.LooseVersion, versions.StrictVersion
    assert loose("1.17") < loose("1.26.4") < loose("2.0") <= loose("2.0rc1")
    assert strict("2.5.5") >= strict("1.6.0")
    assert loose("1.10") > "1.9"
    assert loose("1.2") == loose("1.2")
    assert str(loose("1.2")) == "1.2"
    assert loose("").version == []
    assert loose("1") != 1
