"""What notebooks show: the same everywhere, safe, readable, and skipped in words."""

from __future__ import annotations

import io
import linecache
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from d2lutils import show

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def _style_and_figures() -> Any:
    with matplotlib.rc_context():
        yield
    plt.close("all")


# -- colours and style -----------------------------------------------------------------


def _luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    ]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize("name", ["gluon", "pytorch", "both", "neutral", "good", "bad"])
def test_colours_can_be_read_as_text_on_white(name: str) -> None:
    assert 1.05 / (_luminance(show.COLORS[name]) + 0.05) >= 4.5


def test_figures_have_fixed_size_white_ground_and_the_same_bytes() -> None:
    show.setup()

    def draw() -> bytes:
        buffer = io.BytesIO()
        figure, ax = plt.subplots()
        ax.plot([1, 2, 3])
        ax.set_xlabel("a long label")
        figure.savefig(buffer, metadata={"Software": None})
        return buffer.getvalue()

    first, second = draw(), draw()
    assert first == second
    image = Image.open(io.BytesIO(first)).convert("RGBA")
    assert image.size == (720, 360)
    assert image.getpixel((0, 0)) == (255, 255, 255, 255)


def test_setup_forgets_a_reader_s_own_style() -> None:
    matplotlib.rcParams["lines.linestyle"] = ":"
    show.setup()
    assert matplotlib.rcParams["lines.linestyle"] == "-"
    assert matplotlib.rcParams["font.family"] == ["DejaVu Sans"]


# -- cells of a missing framework ------------------------------------------------------

SHELL = """
import sys
from importlib.machinery import PathFinder
from IPython.core.interactiveshell import InteractiveShell

missing = {missing!r}
original = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.split(".")[0] in missing else original(name, path, target)
PathFinder.find_spec = find_spec

shell = InteractiveShell.instance()
shell.run_cell("from d2lutils import show; show.setup(); show.setup()")
assert len([h for h in shell.input_transformers_cleanup
            if getattr(h, "_d2l_skips", False)]) == 1
for cell in [
    "# Gluon\\nprint('gluon ran')",
    "\\n# Gluon\\nprint('second gluon ran')",
    "# PyTorch\\nprint('pytorch ran')",
    "# Gluon and PyTorch\\nprint('both ran')",
    "# Gluons are particles\\nprint('plain ran')",
    "print('no comment ran')\\n# Gluon",
    "",
]:
    assert shell.run_cell(cell).success
"""


MXNET = "Skipped, since this cell needs MXNet. MXNet is not"
TORCH = "Skipped, since this cell needs PyTorch. It is not installed here: pip install "


@pytest.mark.parametrize(
    ("missing", "gluon", "pytorch", "both"),
    [
        ("mxnet", MXNET, "pytorch ran", MXNET),
        ("mxnet torch", MXNET, TORCH, MXNET),  # the first that is missing is named
        pytest.param(
            "", "gluon ran", "pytorch ran", "both ran", marks=pytest.mark.needs_mxnet
        ),
    ],
)
def test_cells_of_a_missing_framework(
    missing: str, gluon: str, pytorch: str, both: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHELL.format(missing=missing.split())],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    begin = (gluon, gluon.replace("gluon", "second gluon"), pytorch, both)
    for line, start in zip(lines, (*begin, "plain ran", "no comment ran"), strict=True):
        assert line.startswith(start)
        if start == MXNET:
            assert line.endswith(".")
            assert line.count(". ") == 1  # one sentence of the import's error


def test_the_hook_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = SimpleNamespace(input_transformers_cleanup=[])
    monkeypatch.setattr(show, "_ipython", lambda: shell)
    show.setup()
    show.setup()
    (hook,) = shell.input_transformers_cleanup
    cell = ["# PyTorch\n", "x = 1\n"]
    monkeypatch.setitem(sys.modules, "torch", None)
    (line,) = hook(cell)
    assert line.startswith("print('Skipped, since this cell needs PyTorch. ")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    assert hook(cell) == cell
    broken = SimpleNamespace()  # a module without `mx` is no missing MXNet
    monkeypatch.setitem(sys.modules, "d2lutils.compat", broken)
    with pytest.raises(AttributeError):
        hook(["# Gluon\n"])


def test_importing_it_imports_no_framework() -> None:
    code = (
        "import sys; from d2lutils import show; show.setup(); "
        "print({'mxnet', 'torch', 'IPython'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


# -- errors ----------------------------------------------------------------------------


Capture = pytest.CaptureFixture[str]


def test_an_error_is_shown_and_held(capsys: Capture) -> None:
    # Which line, and what is left out of it, is `_errors.reason`'s rule.
    with show.error(ValueError) as shown:
        raise ValueError("no file /home/me/x.npz" + " here" * 40 + "\nand more")
    assert shown.text == "ValueError: no file x.npz" + " here" * 40
    assert capsys.readouterr().out == shown.text + "\n"


def test_what_was_not_expected(capsys: Capture) -> None:
    nothing = show.error((ValueError, KeyError))
    with pytest.raises(AssertionError, match="to show ValueError or KeyError"), nothing:
        pass
    with pytest.raises(KeyError), show.error(ValueError):
        raise KeyError("x")
    with pytest.raises(KeyboardInterrupt), show.error():
        raise KeyboardInterrupt
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("expected", [3, "ValueError", (ValueError, 3), SystemExit])
def test_what_is_expected_must_be_an_exception(expected: Any) -> None:
    with pytest.raises(TypeError, match="expected must be an exception type"):
        show.error(expected)


def test_errors_of_mxnet() -> None:
    from d2lutils.compat import mx

    with show.error(mx.MXNetError) as imperative:
        mx.nd.ones((2, 3)) + mx.nd.ones((2, 4))
    assert imperative.text == (
        "MXNetError: Check failed: l == 1 || r == 1: operands could not be broadcast "
        "together with shapes [2,3] [2,4]"
    )

    class Sum(mx.gluon.HybridBlock):
        def hybrid_forward(self, F: Any, x: Any) -> Any:
            return F.ones((2, 3)) + x

    block = Sum(prefix="sum_")
    block.hybridize()
    with show.error(mx.MXNetError) as hybrid:
        block(mx.nd.ones((2, 4)))
    assert "expected [2,3], got [2,4]" in hybrid.text
    assert "src/" not in hybrid.text
    assert not re.search(r"\d\d:\d\d|\.(cc|h):\d", hybrid.text)

    with show.error(mx.MXNetError) as late:
        # Nothing fails before somebody waits for the result.
        mx.nd.random.normal(0, -1, (3,))
    assert late.text.startswith("MXNetError: Check failed: param.scale > 0 (-1 vs. 0)")
    mx.nd.waitall()  # nothing is left over for a later cell

    with pytest.raises(mx.MXNetError), show.error(ValueError):
        mx.nd.random.normal(0, -1, (3,))


def test_errors_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    with show.error(RuntimeError) as shown:
        torch.ones(2, 3) + torch.ones(2, 4)
    assert shown.text == (
        "RuntimeError: The size of tensor a (3) must match the size of tensor b (4) at "
        "non-singleton dimension 1"
    )


# -- sources ---------------------------------------------------------------------------


class Left:
    """A docstring."""

    def forward(self, x: int) -> int:
        """Another, of
        two lines.
        """

        return x < 1

    def only(self) -> None:
        """All there is."""


def right(x: int) -> int:
    # a comment
    return x & 1


def test_sources_side_by_side() -> None:
    page = show.sources(Left, right)._repr_html_()
    assert page.startswith('<div class="d2l-sources"><style>')
    assert page.count("<figure>") == page.count("</figure>") == 2
    assert page.count('<div class="highlight"><pre tabindex="0">') == 2
    assert "&lt;" in page
    assert "&amp;" in page
    assert " id=" not in page
    assert page == show.sources(Left, right)._repr_html_()
    # Every rule of the style block is below the fragment's own root.
    style = page.partition("<style>")[2].partition("</style>")[0]
    for selectors in re.findall(r"([^{}]+)\{", style):
        for selector in re.split(r",(?![^(]*\))", selectors):
            assert ".d2l-sources" in selector
    for theme in ('[data-theme="dark"]', '[data-jp-theme-light="false"]'):
        assert theme in style


def test_sources_as_text() -> None:
    text = repr(show.sources(right, right))
    function = "def right(x: int) -> int:\n    # a comment\n    return x & 1\n"
    assert text == f"# Gluon\n{function}\n\n# PyTorch\n{function}"


def test_docstrings_can_be_dropped() -> None:
    code = show.sources(Left, Left, docstrings=False).codes[0]
    assert code == (
        "class Left:\n"
        "    def forward(self, x: int) -> int:\n"
        "        return x < 1\n"
        "\n"
        "    def only(self) -> None:\n"
        '        """All there is."""\n'
    )
    assert '"""A docstring."""' in show.sources(Left, Left).codes[0]


def test_sources_of_methods_and_modules() -> None:
    code = show.sources(Left.forward, show).codes
    assert code[0].startswith("def forward(self")
    assert code[1] == Path(show.__file__).read_text(encoding="utf-8")


def test_sources_that_are_refused() -> None:
    with pytest.raises(TypeError, match=r"pytorch_object must be a class.* of Left"):
        show.sources(Left, Left())
    with pytest.raises(TypeError, match="gluon_object must be"):
        show.sources(3, Left)
    with pytest.raises(TypeError, match="no source was found for 'int'"):
        show.sources(int, Left)


def test_sources_of_a_class_from_a_cell() -> None:
    code = "x = 1\n\n\nclass Made:\n    def f(self):\n        return 7\n"
    # As IPython keeps its cells.
    linecache.cache["<cell>"] = (len(code), None, code.splitlines(True), "<cell>")
    space: dict[str, Any] = {"__name__": "nowhere"}
    exec(compile(code, "<cell>", "exec"), space)
    made = show.sources(space["Made"], Left).codes[0]
    assert made == "class Made:\n    def f(self):\n        return 7\n"


# -- tables, text, curves --------------------------------------------------------------


def test_a_table_in_both_forms() -> None:
    rows = [["plain & <b>", 1772706, 0.5], ["b", 12, 98.7654]]
    made = show.table(rows, ["name", "count", "share"], caption="What <it> costs")
    assert repr(made) == (
        "What <it> costs\n"
        "name             count  share\n"
        "-----------  ---------  -----\n"
        "plain & <b>  1,772,706    0.5\n"
        "b                   12  98.77"
    )
    page = made._repr_html_()
    assert '<td style="text-align:left">plain &amp; &lt;b&gt;</td>' in page
    assert "<caption>What &lt;it&gt; costs</caption>" in page
    assert '<th scope="col" style="text-align:right">count</th>' in page
    assert page.count("<tr>") == 3
    assert not hasattr(made, "_repr_markdown_")


@pytest.mark.parametrize(
    ("column", "align"),
    [
        ([1, 2.5, None], "right"),
        (["12 %", "100 %"], "right"),
        (["1.7M", "4e-13", "0.99", "–", "1,234", "-3"], "right"),
        (["12 %", 3], "right"),
        (["110/a48", "12"], "left"),
        (["54, 5", "55, 6"], "left"),
        (["one", "2"], "left"),
        ([None, None], "left"),
        ([True, 1], "left"),
        ([], "left"),
    ],
)
def test_columns_of_numbers_are_right_aligned(column: list[Any], align: str) -> None:
    made = show.table([["row", value] for value in column], ["a", "b"])
    assert made.align == ["left", align]
    if column and all(isinstance(value, str) for value in column):
        names = show.table([[value, 1] for value in column], ["a", "b"])
        assert names.align == ["left", "right"]


def test_a_tables_alignment_and_empty_cells() -> None:
    made = show.table([[None, True]], ["a", "bcdef"], align=["center", "right"])
    assert repr(made) == "a  bcdef\n-  -----\n–   True"
    assert "<caption>" not in made._repr_html_()
    assert repr(show.table([], ["a", "b"])) == "a  b\n-  -"
    assert repr(show.table([["x"]], ["abc"], align=["center"])) == "abc\n---\n x"


def test_numpys_numbers_are_numbers_in_a_table() -> None:
    plain = show.table([[1500, 0.25], [2, 12.5]], ["n", "share"])
    theirs = [[np.int64(1500), np.float32(0.25)], [np.uint8(2), np.float64(12.5)]]
    assert repr(show.table(theirs, ["n", "share"])) == repr(plain)
    assert "1,500" in repr(plain)


def test_tables_that_are_refused() -> None:
    with pytest.raises(ValueError, match="headers must all have words, got"):
        show.table([[1, 2]], ["a", " "])
    with pytest.raises(ValueError, match=r"rows\[1\] has 1 cells for 2 headers"):
        show.table([[1, 2], [3]], ["a", "b"])
    for align in (["left"], ["left", "middle"]):
        with pytest.raises(ValueError, match="align must give"):
            show.table([[1, 2]], ["a", "b"], align=align)


def test_markdown_is_itself() -> None:
    text = show.markdown("**98 %**")
    assert text._repr_markdown_() == repr(text) == "**98 %**"
    with pytest.raises(TypeError, match="text must be a string, got float"):
        show.markdown(98.0)  # type: ignore[arg-type]
