"""The tool behind ``make test-stable``: it lists what moved, and nothing stays running.

That settings reach a notebook is seen by running one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools import execute, notebook, stable  # noqa: E402

APPROX = {"compare": {"rtol": 0.01, "reason": "comes from training"}}


def told(text: str, metadata: dict[str, Any] | None = None, **cell: Any) -> Any:
    outputs = [new_output("stream", name="stdout", text=text)]
    return new_code_cell(
        "code", outputs=outputs, metadata=metadata or {}, execution_count=1, **cell
    )


def chapter(*cells: Any) -> Any:
    return new_notebook(cells=list(cells))


def test_cells_that_moved_are_listed() -> None:
    stored = chapter(
        new_markdown_cell("text", id="words"),
        told("the same\n", id="same"),
        told("loss 0.500, accuracy 0.80\n", id="planted"),
        told("loss 1,000.0\n", APPROX, id="within"),
        told("loss 1.00, accuracy 0.50\n", APPROX, id="beyond"),
    )
    fresh = nbformat.from_dict(stored)
    assert stable.moved(stored, fresh) == []
    for number, text in (
        (2, "loss 0.501, accuracy 0.81\n"),
        (3, "loss 1,009.0\n"),
        (4, "loss 1.02, accuracy 0.50\n"),
    ):
        fresh.cells[number].outputs[0].text = text
    exact, approx = stable.moved(stored, fresh)
    assert (exact.cell, exact.kind) == ("cell 2 (planted)", "exact")
    assert exact.most == "0.80 became 0.81, 0.013 of itself"
    assert (approx.cell, approx.kind) == ("cell 4 (beyond)", "approx")
    assert approx.most == "1.00 became 1.02, 0.02 of itself"
    assert str(approx).splitlines() == [
        "cell 4 (beyond), approx, 1.00 became 1.02, 0.02 of itself",
        "    stdout: 1.00 was stored, 1.02 is fresh (rtol=0.01, atol=0)",
    ]


@pytest.mark.parametrize(
    ("stored", "fresh", "most"),
    [
        ("1.0 2.0", "1.0 2.0", ""),
        ("0 2.0", "1 4.0", "0 became 1, inf of itself"),
        ("900 words", "1,080 words", "900 became 1,080, 0.2 of itself"),
        ("1 2", "1 2 3", ""),
        ("some words", "other words", ""),
    ],
)
def test_what_moved_most(stored: str, fresh: str, most: str) -> None:
    assert stable.largest_change(told(stored).outputs, told(fresh).outputs) == most


def test_long_stories_are_cut() -> None:
    story = stable.Moved("cell 1 (a)", "exact", "", ("first\n" * 20, "last\n" * 20))
    lines = str(story).splitlines()
    assert lines[0] == "cell 1 (a), exact"
    half = stable.SHOWN_LINES // 2
    more = f"    … {40 - stable.SHOWN_LINES} more lines"
    assert lines[1:] == ["    first"] * half + [more] + ["    last"] * half


def test_a_setting_reaches_the_notebook(tmp_path: Path) -> None:
    """A cell that prints a variable is the same under one setting, moved in others."""
    path = tmp_path / "planted.ipynb"
    code = 'import os\nprint(os.environ["OMP_NUM_THREADS"])'
    cell = told("1\n", id="threads")
    cell.source = code
    nb = chapter(cell)
    nb.metadata["d2l"] = {"code_hash": execute.code_hash(nb, path.stem)}
    notebook.write(nb, path)
    before = path.read_bytes()
    assert stable.judge(path, stable.SETTINGS["threads-1"]) == []
    [moved] = stable.judge(path, stable.SETTINGS["threads-2"])
    assert (moved.cell, moved.kind) == ("cell 0 (threads)", "exact")
    assert moved.most == "1 became 2, 1 of itself"
    [stopped] = stable.judge(path, stable.SETTINGS["avx2"])
    assert stopped.cell == "not run"
    assert "KeyError: 'OMP_NUM_THREADS'" in str(stopped)
    assert path.read_bytes() == before
    nb.cells[0].source = f"{code} + 1"
    notebook.write(nb, path)
    [stale] = stable.judge(path, stable.SETTINGS["threads-1"])
    assert stale.cell == "stale"


def test_spinners_end_with_the_block() -> None:
    with stable.spinning(2) as spinners:
        assert len(spinners) == 2
        assert [spinner.poll() for spinner in spinners] == [None, None]
    assert None not in [spinner.poll() for spinner in spinners]
    with pytest.raises(ZeroDivisionError), stable.spinning(1) as spinners:
        raise ZeroDivisionError
    assert spinners[0].poll() is not None


def test_spinners_end_with_the_tool() -> None:
    """The pipe closes when the last process that holds it has ended."""
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from tools import stable\n"
        "with stable.spinning(1) as spinners:\n"
        "    print(spinners[0].pid, flush=True)\n"
        "    os._exit(5)"
    )
    command = [sys.executable, "-c", code, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 5, done.stderr
    assert done.stdout.strip().isdigit()


@pytest.mark.parametrize("busy", [True, False])
def test_only_a_busy_setting_spins(
    busy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "nothing.ipynb"
    notebook.write(chapter(), path)
    started: list[int] = []
    spinning = stable.spinning

    def counted(count: int) -> Any:
        started.append(count)
        return spinning(count)

    monkeypatch.setattr(stable, "spinning", counted)
    monkeypatch.setattr(execute, "is_stale", lambda path: False)
    monkeypatch.setattr(execute, "execute", lambda nb, folder, **options: nb)
    assert stable.judge(path, stable.Setting(busy=busy)) == []
    assert started == [stable.cores() if busy else 0]


def test_the_table_and_the_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = stable.Moved("cell 7 (abc)", "exact", "1 became 2", ("text differs",))

    def judge(path: Path, setting: stable.Setting) -> list[stable.Moved]:
        return [planted] if (path.stem, setting.busy) == ("nin", True) else []

    monkeypatch.setattr(stable, "judge", judge)
    monkeypatch.setattr(stable, "reached", lambda setting: "as asked")
    chosen = ["--settings", "avx2", "busy"]
    assert stable.main(["--chapters", "blocks", *chosen]) == 0
    assert capsys.readouterr().out.endswith("\nno cell moved\n")
    assert stable.main(["--chapters", "blocks", "nin", *chosen]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["avx2: as asked", "busy: as asked"]
    assert "| chapter | avx2 | busy | s |" in lines
    rows = [line.rsplit("| ", 1)[0] for line in lines]
    assert "| blocks | same | same " in rows
    assert "| nin | same | cell 7 (abc) " in rows
    assert "nin, busy: cell 7 (abc), exact, 1 became 2" in lines
    assert lines[-1] == "not the same: 1"
    with pytest.raises(SystemExit) as caught:
        stable.main(["--chapters", "no_such_chapter"])
    assert caught.value.code == 2


def test_every_stored_notebook_is_run_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = []
    monkeypatch.setattr(stable, "judge", lambda path, setting: ran.append(path) or [])
    monkeypatch.setattr(stable, "reached", lambda setting: "")
    assert stable.main([]) == 0
    assert ran == [
        path for path in execute.executed_notebooks() for _ in stable.SETTINGS
    ]


def test_settings_do_what_their_names_say() -> None:
    names = [f"{library}_NUM_THREADS" for library in ("OMP", "MKL", "OPENBLAS")]
    for count in (1, 2):
        setting = stable.SETTINGS[f"threads-{count}"]
        assert setting.variables == dict.fromkeys(names, str(count))
    # What the stored outputs were made with has none of them.
    for setting in stable.SETTINGS.values():
        assert not set(setting.variables) & set(execute.ENVIRONMENT)
    assert [name for name, s in stable.SETTINGS.items() if s.busy] == ["busy"]
