"""`make stamp`: notebooks and configuration say the same, and nothing else changes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import notebook, stamp

ROOT = Path(__file__).resolve().parents[2]

URL = "https://host.example/owner/name"
WHEEL = "https://host.example/d2lutils-0.1.0-py3-none-any.whl"
OLD = """\
import sys

# On Colab, upload the wheel first.
if "google.colab" in sys.modules:
    # beside it
    !pip install -q d2lutils-*.whl
import io

from d2lutils import show

show.setup()"""


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """The real configuration, a chapter and a page with outputs."""
    shutil.copy(ROOT / "_config.yml", tmp_path)
    for folder in ("chapters", "book"):
        cells: list[Any] = [
            new_markdown_cell("# Title", id="title"),
            new_code_cell(OLD, id="setup", execution_count=1),
            new_code_cell("1 + 1", id="sum", execution_count=2),
        ]
        cells[2].outputs = [new_output("stream", name="stdout", text="2\n")]
        nb = notebook.normalize(new_notebook(cells=cells))
        (tmp_path / folder).mkdir()
        notebook.write(nb, tmp_path / folder / "one.ipynb")
    return tmp_path


def contents(book: Path) -> dict[str, bytes]:
    return {p.name + p.parent.name: p.read_bytes() for p in book.rglob("*.*")}


def setup(book: Path, folder: str = "chapters") -> str:
    source: str = notebook.read(book / folder / "one.ipynb").cells[1].source
    return source


def call(book: Path, *arguments: str) -> int:
    return stamp.main(["--root", str(book), *arguments])


UPLOAD = """\
    # Take the wheel, also in the zip, from the book's Downloads page.
    # Upload it with the folder button at the left and run this again.
    !pip install -q --no-deps d2lutils-*.whl || echo "See the comment."
"""


@pytest.mark.parametrize(
    ("arguments", "lines", "source"),
    [
        ([], UPLOAD, stamp.UPLOADED),
        (["--url", URL, "--branch", "v1.0"], "", f"git+{URL}@v1.0"),
        (["--url", URL, "--wheel", WHEEL], "", WHEEL),
        (["--wheel", "/content/d2lutils-0.1.0.whl"], "", "/content/d2lutils-0.1.0.whl"),
    ],
)
def test_the_cell(book: Path, arguments: list[str], lines: str, source: str) -> None:
    assert call(book, *arguments) == 0
    lines = lines or f"    !pip install -q --no-deps {source}\n"
    assert setup(book) == setup(book, "book")
    assert setup(book) == (
        f'import sys\n\nif "google.colab" in sys.modules:\n{lines}'
        "    !python -m d2lutils colab\n\nimport io\n\nfrom d2lutils import show\n\n"
        "show.setup()"
    )
    assert stamp.configured(book) == source


def test_set_and_unset_gives_the_same_bytes(book: Path) -> None:
    assert call(book) == 0
    unset = contents(book)
    assert call(book, "--url", URL, "--branch", "1.0") == 0
    once = contents(book)
    assert all(once[name] != unset[name] for name in unset)
    assert call(book, "--url", URL, "--branch", "1.0") == 0
    assert contents(book) == once
    assert call(book, "--wheel", WHEEL) == 0
    assert call(book) == 0
    assert contents(book) == unset


def test_only_the_cell_and_the_settings_change(book: Path) -> None:
    before = notebook.read(book / "chapters" / "one.ipynb")
    config = (book / "_config.yml").read_text().splitlines()
    assert call(book, "--url", URL, "--branch", "1.0") == 0
    after = notebook.read(book / "chapters" / "one.ipynb")
    after.cells[1].source = before.cells[1].source
    assert after == before
    new = (book / "_config.yml").read_text().splitlines()
    changed = [b for a, b in zip(config, new, strict=True) if a != b]
    assert changed == [f"  url: {URL}", '  branch: "1.0"']  # YAML's word, no number


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--url", "host.example/owner/name"], "URL must look like"),
        (["--url", f"{URL} --pre"], "URL must look like"),
        (["--url", URL, "--branch", "a;b"], "BRANCH must be"),
        (["--wheel", "$HOME/d2lutils.whl"], "WHEEL must be"),
    ],
)
def test_a_bad_address_changes_nothing(
    book: Path, capsys: Any, arguments: list[str], message: str
) -> None:
    before = contents(book)
    assert call(book, *arguments) == 1
    assert message in capsys.readouterr().out
    assert contents(book) == before


def test_what_cannot_be_stamped_is_named_and_stays(book: Path, capsys: Any) -> None:
    path = book / "chapters" / "two.ipynb"
    shutil.copy(book / "chapters" / "one.ipynb", path)
    nb = notebook.read(path)
    nb.cells[1].source = "import sys"
    notebook.write(nb, path)
    before = contents(book)
    assert call(book, "--url", URL) == 1
    assert "two.ipynb: no line" in capsys.readouterr().out
    assert contents(book) == before
    config = book / "_config.yml"
    config.write_text(config.read_text().replace("  branch: main\n", ""))
    with pytest.raises(ValueError, match="branch"):
        stamp.stamp(book, URL)
