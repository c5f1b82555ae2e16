"""The settings of ``make test-stable`` reach a kernel, and nothing stays running."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from tools import ROOT, execute, stable
from tools import test as stages


def test_settings_reach_a_kernel() -> None:
    for count in ("1", "2"):
        with stable.variables(stable.SETTINGS[f"threads-{count}"]):
            found = execute.fixed_environment()
        assert {found[name] for name in execute.THREADS} == {count}
    with stable.variables({"OMP_NUM_THREADS": "7", **stable.SETTINGS["avx2"]}):
        found = execute.fixed_environment()
    assert not set(execute.THREADS) & set(found)
    assert found["ATEN_CPU_CAPABILITY"] == "avx2"
    assert "ATEN_CPU_CAPABILITY" not in os.environ
    # What the stored outputs were made with stays.
    for setting in stable.SETTINGS.values():
        assert not set(setting) & set(execute.ENVIRONMENT)


def test_spinners_end_with_the_block() -> None:
    with stable.spinning(2) as spinners:
        assert [spinner.poll() for spinner in spinners] == [None, None]
    assert None not in [spinner.poll() for spinner in spinners]
    with pytest.raises(ZeroDivisionError), stable.spinning(1) as spinners:
        raise ZeroDivisionError
    assert spinners[0].poll() is not None


def test_spinners_end_with_the_tool() -> None:
    """The pipe closes when the last process that holds it has ended."""
    code = (
        "import os; from tools import stable\n"
        "with stable.spinning(1) as spinners:\n"
        "    print(spinners[0].pid, flush=True)\n"
        "    os._exit(5)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 5, done.stderr
    assert done.stdout.strip().isdigit()


def test_each_setting_runs_the_chosen_chapters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[Any] = []
    spun: list[int] = []
    spinning = stable.spinning

    def run(name: str, arguments: list[str]) -> stages.Outcome:
        ran.append((name, arguments[-1], os.environ.get(execute.D2L_THREADS)))
        return stages.Outcome(name, 5, 0, 0, 1.0, int(name == "avx2"))

    def counted(count: int) -> Any:
        spun.append(count)
        return spinning(0)

    monkeypatch.setattr(stable, "run", run)
    monkeypatch.setattr(stable, "spinning", counted)
    monkeypatch.setattr(stable, "reached", lambda setting: "as asked")
    assert stable.main(["--chapters", "blocks", "--settings", "threads-2", "busy"]) == 0
    path = "chapters/blocks.ipynb"
    assert ran == [("threads-2", path, "2"), ("busy", path, None)]
    assert spun == [0, stages.cores()]
    assert "threads-2: as asked\n" in capsys.readouterr().out
    assert stable.main(["--chapters", "blocks"]) == 1
    assert [name for name, *_ in ran[2:]] == list(stable.SETTINGS)
    with pytest.raises(SystemExit):
        stable.main(["--chapters", "no_such_chapter"])
