"""The comparer turns red for each thing that may go wrong, and green within bounds."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import compare
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image, ImageDraw

from tools import execute, notebook

APPROX = {"compare": {"rtol": 0.01, "atol": 0.001, "reason": "comes from training"}}
IMAGE = {"compare": {"image": 5, "reason": "curves of a training"}}
IGNORED = {"tags": ["nbval-ignore-output"], "compare": {"reason": "it shows times"}}


def stream(text: str, name: str = "stdout") -> Any:
    return new_output("stream", name=name, text=text)


def shown(**data: str) -> Any:
    return new_output("display_data", data={k.replace("_", "/"): data[k] for k in data})


def figure(line: int = 50, height: int = 200, dot: int = 100, darker: int = 0) -> Any:
    """A figure: a horizontal line, 2 pixels wide, and a marker on it."""
    image = Image.new("RGB", (1440, height), "white")
    draw = ImageDraw.Draw(image)
    draw.line((0, line, 1440, line), fill="navy", width=2)
    draw.ellipse((dot, line - 5, dot + 10, line + 5), fill="navy")
    image = image.point(lambda value: max(0, value - darker))
    buffer = io.BytesIO()
    image.save(buffer, "png", compress_level=1 + bool(darker))
    return shown(image_png=base64.b64encode(buffer.getvalue()).decode())


#: The copy of the repository gets notebooks of its own.
NOT_COPIED = shutil.ignore_patterns("*.ipynb", "__pycache__")
ERROR = new_output("error", ename="ValueError", evalue="x", traceback=[])
CAREFUL = stream("careful", "stderr")
A, B = stream("a"), shown(text_plain="b")
#: Stored outputs, fresh ones, the cell's metadata; a text is what the cell printed.
RED = [
    ("within 1e-10\n", "within 1e-9\n", {}),
    ("a\n", "a", {}),
    ("accuracy 0.900\n", "accuracy 0.930\n", APPROX),
    ("x 0.9\n", "x nan\n", APPROX),
    ("x nan\n", "x 0.9\n", APPROX),
    ("x inf\n", "x -inf\n", APPROX),
    ("accuracy 0.9\n", "loss 0.9\n", APPROX),
    ("1 2\n", "1 2 3\n", APPROX),
    ("1,772,706\n", "1,872,706\n", APPROX),
    ([shown(text_html="<b>1</b>")], [shown(text_html="<i>1</i>")], {}),
    (
        [shown(text_html="1", text_plain="1")],
        [shown(text_html="1", text_plain="2")],
        {},
    ),
    ([shown(text_html="<td>0.9</td>")], [shown(text_html="<th>0.9</th>")], APPROX),
    ([A, B], [A], {}),
    ([A], [A, B], {}),
    ([A, B], [B, A], {}),
    ([shown(text_plain="b", text_html="b")], [B], APPROX),
    ([figure()], [figure(line=51)], {}),
    ([figure()], [figure(dot=104)], {}),
    ([figure()], [figure(line=51)], APPROX),  # no bound for images
    ([figure()], [figure(height=201)], IMAGE),
    ([figure()], [figure(darker=6)], IMAGE),
    ([A], [A, CAREFUL], {}),
    ([CAREFUL], [CAREFUL], {}),
    ([], [CAREFUL], IGNORED),
    ([], [ERROR], IGNORED),
    ([], [], {"tags": ["nbval-ignore-output"]}),  # without a reason, as the next
    ([], [], {"compare": {"rtol": 0.1}}),
    ([], [], {"compare": {"reason": "it trains a net"}}),
    ([], [], {"compare": {"rtl": 0.1, "reason": "it trains"}}),
    ([], [], {"compare": {"rtol": "0.1", "reason": "it trains"}}),
]
GREEN = [
    ("accuracy 0.900, nan, inf, 1,000\n", "accuracy 0.905, nan, inf, 1,009\n", APPROX),
    ("loss   9.99\n----  -----\n", "loss  10.01\n----  ------\n", APPROX),
    (
        [shown(text_html='<td style="color:#1f6fb4">0.900</td>')],
        [shown(text_html='<td style="color:#1f6fb4">0.905</td>')],
        APPROX,
    ),
    ([figure()], [figure()], {}),
    ([figure()], [figure(darker=4)], IMAGE),
    ("1 s\n", "2 s\n", IGNORED),
    ("1 s\n", [], IGNORED),
]


def differences(old: Any, new: Any, metadata: dict[str, Any]) -> list[str]:
    sides = [[stream(side)] if isinstance(side, str) else side for side in (old, new)]
    return compare.compare_cell(*sides, metadata)


def test_what_is_red_and_what_is_green() -> None:
    for case in RED:
        assert differences(*case), case
    for case in GREEN:
        assert differences(*case) == [], case


def test_a_mismatch_shows_both_sides() -> None:
    (message,) = differences("a 1\nb\n", "a 2\nb\n", {})
    assert "-a 1" in message
    assert "+a 2" in message
    old = "x" * 500 + "1" + "y" * 500
    (message,) = differences(old, old.upper(), {})
    assert "first difference" in message
    assert len(message) < 1500


# -- a stored notebook by itself -------------------------------------------------------


def stored_notebook(counts: tuple[int | None, ...] = (1, 2, 3)) -> Any:
    return new_notebook(
        cells=[
            new_code_cell(f"print({n})", execution_count=n, outputs=[stream(f"{n}\n")])
            for n in counts
        ]
    )


def test_a_notebook_must_have_run_once_from_top_to_bottom() -> None:
    assert compare.check_stored(stored_notebook()) == []
    for counts in ((1, 3, 2), (2, 3, 4), (1, 2, 2)):
        assert compare.check_stored(stored_notebook(counts))
    (message, *_) = compare.check_stored(stored_notebook((1, None, 3)))
    assert "never executed" in message
    for output in (*(ERROR, CAREFUL, new_output("execute_result", execution_count=7)),):
        nb = stored_notebook()
        nb.cells[0].outputs = [output]
        assert compare.check_stored(nb)
    nb = stored_notebook()
    for cell in nb.cells[:2]:
        cell.metadata.update(IGNORED)
    assert compare.check_stored(nb) == []
    nb.cells[2].metadata.update(IGNORED)
    assert compare.check_stored(nb)


# -- without MXNet ---------------------------------------------------------------------

WHY = "Skipped, since this cell needs MXNet. MXNet is not installed on Linux x86_64.\n"
UNJUDGED = "graph_flag: cannot be judged here. MXNet is not installed on Linux.\n"


def test_a_skipped_cell_says_why_in_one_line_and_nothing_else() -> None:
    assert compare.check_skipped([stream(WHY)]) == []
    for fresh in (
        [],
        [stream(WHY + "(2, 3)\n")],
        [stream("first\n" + WHY)],
        [stream(WHY.replace("MXNet.", "PyTorch.", 1))],
        [stream(WHY, "stderr")],
        [stream(WHY), CAREFUL],
        [stream(WHY), shown(text_plain="1")],
    ):
        assert compare.check_skipped(fresh), fresh


@pytest.mark.parametrize(
    ("fresh", "metadata", "good"),
    [
        (WHY, {"tags": ["hide-input", "both"]}, True),
        ("1\n", {"tags": ["gluon"]}, False),
        (WHY, {"tags": ["pytorch"]}, False),
        ("1\n", {"tags": ["pytorch"]}, True),
        ("2\n", {"tags": ["pytorch"]}, False),
        ("2\n", {"tags": ["pytorch"], "compare": {"atol": 0.5, "reason": "a b"}}, True),
        ("2\n", {"compare": {"atol": 0.5}}, False),  # without a reason
        (UNJUDGED, {"tags": ["solution", "hide-cell"]}, True),
        (UNJUDGED, {}, False),
        ("graph_flag: not yet.\n", {"tags": ["solution"]}, False),
    ],
)
def test_without_mxnet_what_is_exact_is_compared(
    fresh: str, metadata: dict[str, Any], good: bool
) -> None:
    found = compare.compare_without_gluon([stream("1\n")], [stream(fresh)], metadata)
    assert (found == []) == good


# -- end to end: notebooks on a disk, pytest in a process of its own -------------------

BAR = """from tqdm import tqdm
for _ in tqdm(range(2)):
    pass"""
DRAW = """import matplotlib.pyplot as plt
plt.plot([1, 2, {last}])
plt.show()"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small copy of this test set-up, with a notebook for each outcome."""
    root = tmp_path_factory.mktemp("book")
    for folder in ("chapters", "d2lutils", "tools"):
        shutil.copytree(execute.ROOT / folder, root / folder, ignore=NOT_COPIED)
    shutil.copytree(Path(__file__).parent, root / "tests" / "chapters")
    for name in ("conftest.py", "pyproject.toml", "tests/without_mxnet.py"):
        shutil.copy(execute.ROOT / name, root / name)

    sources = ["x = 1", "print(x + 1)", "x * 3;", "x * 4", DRAW.format(last=3), BAR]
    green = new_notebook(cells=[new_code_cell(source) for source in sources])
    green = execute.execute(notebook.normalize(green), root, root)
    notebook.write(green, root / "chapters" / "green.ipynb")

    red = json.loads((root / "chapters" / "green.ipynb").read_text())
    cells = red["cells"]
    cells[1]["outputs"][0]["text"] = ["3\n"]
    cells[2]["outputs"] = [stream("3\n")]
    cells[3]["execution_count"] = None
    cells[4]["source"] = [DRAW.format(last=4)]
    cells.append(new_code_cell("import sys", id="s0"))
    cells.append(new_code_cell("print('careful', file=sys.stderr)", id="s1"))
    (root / "chapters" / "red.ipynb").write_text(json.dumps(red))

    stops = new_notebook(cells=[new_code_cell("1 / 0"), new_code_cell("1")])
    notebook.write(stops, root / "chapters" / "stops.ipynb")
    notebook.write(
        new_notebook(cells=[new_code_cell("1 / 0", execution_count=1)]),
        root / "own.ipynb",
    )
    return root


def outcome(folder: Path, *arguments: str) -> dict[str, str]:
    """What came of each test in a shell that knows nothing of the book; "": passed."""
    ours = ("PYTEST", "D2L_", "PYTHONPATH", "TQDM_")
    process = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, "--junitxml=result.xml"],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith(ours)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode in (0, 1), process.stdout + process.stderr
    found = {}
    for case in ElementTree.parse(folder / "result.xml").iter("testcase"):
        name = f"{case.get('classname')} {case.get('name')}"
        found[name] = "".join(f"{e.tag}: {e.text or e.get('message')}" for e in case)
    return found


@pytest.mark.rare
def test_from_end_to_end(root: Path) -> None:
    paths = ("tests/chapters/test_outputs.py", "chapters")
    found = outcome(root, "--nbval", *paths)
    green = {name: text for name, text in found.items() if "green" in name}
    assert len(green) == 7  # six cells, and a test of the notebook itself
    assert not any(green.values()), green
    for parts, words in (
        (("chapters.red", "Cell 0"), ""),
        (("chapters.red", "Cell 1"), "stdout differs"),
        (("chapters.red", "Cell 2"), "other outputs"),
        (("chapters.red", "Cell 3"), "never executed"),
        (("chapters.red", "Cell 4"), "image"),
        (("chapters.red", "Cell 7"), "stderr"),
        (("run_once", "[red]"), "never executed"),
        (("chapters.stops", "Cell 0"), "ZeroDivisionError"),
        (("chapters.stops", "Cell 1"), "skipped: "),
    ):
        (text,) = [found[name] for name in found if all(part in name for part in parts)]
        assert (words in text) if words else text == "", (parts, text)
        assert "\x1b" not in text


@pytest.mark.rare
def test_other_ways_to_call_nbval(root: Path) -> None:
    found = outcome(root / "chapters", "--nbval", "-k", "green", "-n", "2")
    assert [*found.values()] == [""] * 6
    lax = [*outcome(root, "--nbval-lax", "chapters/red.ipynb").values()]
    assert sum(map(bool, lax)) == 3  # never run, stderr, stderr
    assert "differs" not in "".join(lax)
    # A notebook that is not the book's stays nbval's.
    (own,) = outcome(root, "--nbval", "own.ipynb").values()
    assert "Cell execution caused an exception" in own
