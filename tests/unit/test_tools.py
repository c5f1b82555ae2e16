"""The tools behind ``make execute`` and the editor's round trip."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import execute, notebook

ROOT = Path(__file__).resolve().parents[2]

LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}

CHAPTER = """# %% [markdown]
# # Title
#
# Text with `code`.

# %% [markdown]
# A second text cell.

# %% tags=["gluon"] compare={"rtol": 0.1, "reason": "it trains"}
# Gluon
x = 1


# %% tags=["solution", "hide-cell"]
def f(x):
    return x


print(f(x));

# %%
print("last")
"""


def run_cells(nb: Any) -> Any:
    """Pretend that every code cell was run and printed its position."""
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, start=1):
        cell.execution_count = count
        cell.outputs = [new_output("stream", name="stdout", text=f"{count}\n")]
    return nb


def chapter() -> Any:
    return run_cells(notebook.to_notebook(CHAPTER, "py:percent"))


# -- round trip ------------------------------------------------------------------------


def test_a_chapter_is_made_from_text() -> None:
    nb = notebook.to_notebook(CHAPTER, "py:percent")
    nbformat.validate(nb)
    kinds = [cell.cell_type for cell in nb.cells]
    assert kinds == ["markdown", "markdown", "code", "code", "code"]
    assert nb.cells[0].source == "# Title\n\nText with `code`."
    assert nb.cells[2].source == "# Gluon\nx = 1"
    assert nb.cells[2].metadata == {
        "tags": ["gluon"],
        "compare": {"rtol": 0.1, "reason": "it trains"},
    }
    assert nb.metadata == {
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        "language_info": LANGUAGE,
        "accelerator": "GPU",
        "colab": {"provenance": [], "toc_visible": True, "gpuType": "T4"},
    }
    assert (nb.nbformat, nb.nbformat_minor) == (4, 5)
    assert notebook.to_notebook(CHAPTER, "py:percent") == nb  # ids, too


def test_hidden_cells_are_collapsed_by_their_tags() -> None:
    nb = chapter()
    assert nb.cells[3].metadata["cellView"] == "form"
    assert nb.cells[3].metadata["jupyter"] == {"source_hidden": True}
    assert "cellView" not in nb.cells[2].metadata
    text = notebook.to_text(nb, "py:percent")
    assert "cellView" not in text
    assert "source_hidden" not in text
    shown = notebook.to_notebook(
        text.replace('"solution", "hide-cell"', ""), "py:percent", nb
    )
    assert shown.cells[3].metadata == {"tags": []}


def test_the_round_trip_keeps_everything() -> None:
    nb = chapter()
    nb.metadata["d2l"] = {"code_hash": "abc"}
    for fmt in ("py:percent", "md"):
        text = notebook.to_text(nb, fmt)
        assert notebook.to_notebook(text, fmt, nb) == nb
        assert "outputs" not in text


def test_what_changed_loses_its_outputs() -> None:
    nb = chapter()
    text = notebook.to_text(nb, "py:percent")
    # With ids in the text: a changed cell keeps its own, a copied one gets another.
    last = text[text.rindex("# %%") :]
    new = notebook.to_notebook(
        text.replace('"last"', '"very last"') + "\n" + last, "py:percent", nb
    )
    assert [cell.id for cell in new.cells[:5]] == [cell.id for cell in nb.cells]
    assert new.cells[5].id not in [cell.id for cell in nb.cells]
    assert new.cells[3] == nb.cells[3]
    for cell in new.cells[4:]:
        assert (cell.outputs, cell.execution_count) == ([], None)
    # Without ids: unchanged cells are found again.
    changed = CHAPTER.replace("# %%\n", '# %%\nprint("new")\n\n# %%\n')
    new = notebook.to_notebook(changed.replace("x = 1", "x = 2"), "py:percent", nb)
    ids = [cell.id for cell in new.cells]
    assert len(set(ids)) == len(ids) == 6
    assert ids[:2] == [cell.id for cell in nb.cells[:2]]
    assert new.cells[2].outputs == new.cells[4].outputs == []
    assert [new.cells[3], new.cells[5]] == nb.cells[3:]


def test_editors_noise_goes() -> None:
    nb = chapter()
    nb.metadata["language_info"] = {"name": "python", "version": "3.9"}
    nb.metadata["widgets"] = {}
    nb.metadata["colab"] = {"name": "Copy of blocks.ipynb", "provenance": [{}]}
    nb.cells[4].metadata.update({"scrolled": True, "ExecuteTime": {"start": 1}})
    nb.cells[4].outputs = [
        new_output(
            "display_data",
            data={"image/png": ""},
            metadata={"needs_background": "light", "image/png": {"width": 720}},
        )
    ]
    notebook.normalize(nb)
    assert nb.metadata["language_info"] == LANGUAGE
    assert "widgets" not in nb.metadata
    assert nb.metadata["colab"] == chapter().metadata["colab"]
    assert nb.cells[4].metadata == {}
    assert nb.cells[4].outputs[0].metadata == {"image/png": {"width": 720}}


def test_a_cell_that_text_cannot_hold_is_refused() -> None:
    nb = new_notebook(cells=[new_code_cell("x = 1\n# %%\ny = 2", id="a")])
    with pytest.raises(ValueError, match="cell"):
        notebook.to_text(nb, "py:percent")


def test_cells_without_ids_get_them(tmp_path: Path) -> None:
    old = new_notebook(cells=[new_markdown_cell("a"), new_markdown_cell("a")])
    for cell in old.cells:
        del cell["id"]
    old.nbformat_minor = 4
    path = tmp_path / "old.ipynb"
    path.write_text(nbformat.writes(old))
    ids = [cell.id for cell in notebook.read(path).cells]
    assert len(set(ids)) == 2
    assert ids == [cell.id for cell in notebook.read(path).cells]


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, path, back = (tmp_path / name for name in ("a.py", "a.ipynb", "b.md"))
    text.write_text(CHAPTER)
    assert notebook.main(["to-notebook", str(text), str(path)]) == 0
    first = path.read_bytes()
    assert notebook.main(["to-text", str(path), str(back)]) == 0
    assert notebook.main(["to-notebook", str(back), str(path)]) == 0
    assert path.read_bytes() == first
    assert "a.ipynb" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="must end in"):
        notebook.main(["to-text", str(path), str(tmp_path / "a.txt")])


# -- what is stale ---------------------------------------------------------------------


INNER = '''"""{}"""
def f():  # {}
    """{}"""

    return 1
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small repository: a package with imports of each kind, and a chapter."""
    files = {
        "__init__.py": "",
        "direct.py": "from . import sibling\n",
        "sibling.py": "",
        "unused.py": "",
        "lazy.py": "",
        "named.py": "",
        "half/__init__.py": "",
        "half/blocks.py": "from ..direct import a\nfrom .inner import b\n",
        "half/inner.py": INNER.format("Words.", "why", "What."),
        "exercises/__init__.py": (
            "def f():\n    import d2lutils.lazy\n    g('d2lutils.named')\n"
            "    import_module(f'd2lutils.exercises.{chapter}')\n"
        ),
        "exercises/mine.py": "x = 1\n",
        "exercises/theirs.py": "from d2lutils import unused\n",
        "results/one.json": "{}",
        "results/two.json": "{}",
    }
    for name, text in files.items():
        path = tmp_path / "d2lutils" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    cells = [
        new_markdown_cell("text"),
        new_code_cell("%matplotlib inline\nfrom d2lutils import exercises"),
        new_code_cell("def f():\n    from d2lutils.half.blocks import b"),
        new_code_cell("timing.stored(\n    'one',\n)  # drawn below"),
    ]
    nb = run_cells(notebook.normalize(new_notebook(cells=cells)))
    nb.metadata["d2l"] = {"code_hash": execute.code_hash(nb, "mine", tmp_path)}
    (tmp_path / "chapters").mkdir()
    notebook.write(nb, mine(tmp_path))
    assert not execute.is_stale(mine(tmp_path), tmp_path)
    return tmp_path


def mine(project: Path) -> Path:
    return project / "chapters" / "mine.ipynb"


def stale_after(project: Path, name: str) -> bool:
    """Whether a file of the package makes the chapter stale; it is put back."""
    path = project / "d2lutils" / name
    before = path.read_text()
    path.write_text(before + ("y = 1\n" if path.suffix == ".py" else " "))
    try:
        return execute.is_stale(mine(project), project)
    finally:
        path.write_text(before)


def test_what_a_chapter_uses_makes_it_stale(project: Path) -> None:
    used = (
        *("half/inner.py", "half/blocks.py", "half/__init__.py", "direct.py"),
        *("sibling.py", "lazy.py", "named.py", "__init__.py"),
        *("exercises/__init__.py", "exercises/mine.py", "results/one.json"),
    )
    others = ("unused.py", "exercises/theirs.py", "results/two.json")
    assert [name for name in used + others if stale_after(project, name)] == [*used]
    (project / "d2lutils" / "results" / "one.json").unlink()
    assert execute.is_stale(mine(project), project)


def test_comments_and_docstrings_do_not_count(project: Path) -> None:
    path = project / "d2lutils" / "half" / "inner.py"
    path.write_text(INNER.format("Other\nwords.", "because", "Which."))
    nb = notebook.read(mine(project))
    nb.cells[0].source = "other text"
    nb.cells[3].source = nb.cells[3].source.replace("drawn below", "below, drawn")
    notebook.write(nb, mine(project))
    assert not execute.is_stale(mine(project), project)
    path.write_text(path.read_text().replace("return 1", "return '# 1'"))
    assert execute.is_stale(mine(project), project)
    path.write_text("def f(): 'no docstring of a line of its own'")
    assert "def f()" in execute.code_only(path.read_text())


@pytest.mark.parametrize(
    "change",
    [
        lambda nb: nb.cells[1].update(source=nb.cells[1].source + "\nx = 1"),
        lambda nb: nb.cells[2].update(source=nb.cells[2].source + '\n"shown"'),
        lambda nb: nb.cells[2].update(execution_count=None),  # it never ran
    ],
)
def test_a_changed_cell_makes_a_chapter_stale(project: Path, change: Any) -> None:
    nb = notebook.read(mine(project))
    change(nb)
    notebook.write(nb, mine(project))
    assert execute.is_stale(mine(project), project)


# -- running ---------------------------------------------------------------------------


def write_cells(folder: Path, *sources: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "trial.ipynb"
    made = [new_code_cell(source) for source in sources]
    nb = notebook.normalize(new_notebook(cells=[new_markdown_cell("# Trial"), *made]))
    notebook.write(nb, path)
    return path


def test_a_notebook_is_run_and_stored_the_same_way_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_cells(
        tmp_path / "chapters",
        "import os, sys\nprint(os.path.basename(os.getcwd()))\nprint('b', flush=True)",
        "print(os.environ['PYTHONHASHSEED'], os.environ.get('OMP_NUM_THREADS'))\n6 * 7",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
        "1 + 1;",
        f"print(sys.executable == {sys.executable!r})",
    )
    assert execute.main(["--root", str(tmp_path)]) == 0
    first = path.read_bytes()
    report = capsys.readouterr().out
    assert "0 of 1 notebooks are up to date" in report
    assert "chapters/trial.ipynb: " in report
    assert " kB" in report
    nb = notebook.read(path)
    code = nb.cells[1:]
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4, 5]
    assert [output.text for output in code[0].outputs] == ["chapters\nb\n"]
    assert code[1].outputs[0].text == "0 None\n"
    assert code[1].outputs[1].data == {"text/plain": "42"}
    assert code[1].outputs[1].execution_count == 2
    assert "image/png" in code[2].outputs[0].data
    assert code[3].outputs == []
    assert code[4].outputs[0].text == "True\n"
    assert nb.metadata["language_info"] == LANGUAGE
    assert all("execution" not in cell.metadata for cell in nb.cells)

    assert execute.main(["--root", str(tmp_path)]) == 0
    assert "1 of 1 notebooks are up to date" in capsys.readouterr().out
    assert execute.main(["--all", "--root", str(tmp_path)]) == 0
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys\nprint(sys.prefix)", "printed a path of this machine"),
        ("import random\nrandom.random();", "wrote to stderr"),  # it has no seed
        ("import time\ntime.sleep(30)", "took longer than 3 s"),
    ],
)
def test_a_bad_run_is_told_and_not_stored(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    bad: str,
    reason: str,
) -> None:
    monkeypatch.setattr(execute, "CELL_TIMEOUT_SECONDS", 3 if "sleep" in bad else 120)
    path = write_cells(tmp_path / "chapters", "x = 1", bad)
    before = path.read_bytes()
    assert execute.main(["--root", str(tmp_path)]) == 1
    report = capsys.readouterr().out
    assert reason in report
    assert "\x1b" not in report
    if "sleep" not in bad:
        assert "cell 2" in report
        assert bad.splitlines()[-1] in report
    assert path.read_bytes() == before


UNSEEDED = {
    "random was never": ["random.shuffle([1, 2])", "random.seed()\nrandom.random()"],
    "random.Random was": ["random.Random().random();"],
    "np.random was never": ["from sklearn.utils import shuffle\nshuffle([1, 2]);"],
    "NumPy generator": ["np.random.default_rng();", "np.random.RandomState();"],
    "torch was never": [
        "torch.nn.Linear(1, 1);",
        "list(torch.utils.data.DataLoader([1, 2], shuffle=True));",
    ],
}
SEEDED = [
    "random.seed(0)\nrandom.random();",
    "np.random.seed(1)\nnp.random.rand(2)\nnp.random.default_rng(1).random(2);",
    "random.Random(3).random();",
    "torch.manual_seed(1)\ntorch.nn.Linear(1, 1);",
    "torch.randn(2, generator=torch.Generator().manual_seed(0));",
    "import tempfile\ntempfile.TemporaryDirectory().cleanup()",
]


def test_a_draw_without_a_seed_is_seen(tmp_path: Path) -> None:
    head = "import random\nimport numpy as np\nimport torch"
    words = [(word, code) for word, codes in UNSEEDED.items() for code in codes]
    path = write_cells(tmp_path, head, *(code for _, code in words), *SEEDED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "_refuse_noise", lambda *cell: None)
        cells = execute.execute(notebook.read(path), tmp_path).cells[2:]
    noise = [
        "".join(o.text for o in c.outputs if o.get("name") == "stderr") for c in cells
    ]
    for (word, code), said in zip(words, noise, strict=False):
        assert "draws without a seed" in said, code
        assert word in said, (code, said)
    assert noise[len(words) :] == [""] * len(SEEDED)
