"""`make test`: stages, workers and counts; the book and the browser come first."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools import browser
from tools import test as stages

# Three files, so that two workers have to share: 4 pass, 1 fails, 1 errs, 2 skip.
FILES = {
    "test_a.py": """
import pytest
@pytest.fixture(scope="module")
def made_once(): return []
def test_one(made_once): made_once.append(1)
def test_two(made_once): assert made_once == [1]
def test_wrong(): assert False
""",
    "test_b.py": """
import pytest
@pytest.fixture
def broken(): raise OSError
def test_err(broken): pass
@pytest.mark.skip
def test_skipped(): pass
def test_fine(): pass
""",
    "test_c.py": """
import os, pytest
def test_stored(): assert os.environ["D2L_STORED_OUTPUTS"] == "1"
def test_skipped(): pytest.skip("not here")
""",
}
GOOD = stages.Outcome("some", 1, 0, 0, 0.0, 0)


@pytest.mark.rare
@pytest.mark.parametrize("available", [1, 2])
def test_any_number_of_workers_counts_the_same(
    available: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(stages, "cores", lambda: available)
    # Where this test runs in a worker itself, what it starts is none of its kind.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    outcome = stages.run("some", [str(tmp_path), "-p", "no:cacheprovider"])
    assert (outcome.passed, outcome.failed, outcome.skipped) == (4, 2, 2)
    assert outcome.code == 1
    assert stages.told([GOOD, outcome]) == 1
    assert stages.told([GOOD]) == 0


def test_stages_run_after_the_browser_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[Any] = []

    def run(name: str, arguments: list[str], site: Any = None) -> stages.Outcome:
        ran.append((name, os.environ.get("CHROMIUM"), site and site()))
        return GOOD

    monkeypatch.setenv("CHROMIUM", "")
    monkeypatch.setattr(browser, "chromium", lambda: ran.append("browser") or "/path")
    monkeypatch.setattr(stages, "rendered", lambda folder: "the book")
    monkeypatch.setattr(stages, "lint", lambda: ran.append("lint") or GOOD)
    monkeypatch.setattr(stages, "run", run)
    assert stages.main(["package"]) == 0
    assert ran == [("package", "", None)]  # it needs no browser
    ran.clear()
    assert stages.main([]) == 0
    package, chapters = ("package", "/path", None), ("chapters", "/path", None)
    pages = ("pages", "/path", "the book")
    assert ran == ["browser", "lint", package, chapters, pages]
    assert stages.main(["chapter"]) == 2
    assert "no stage is called chapter; there are: lint" in capsys.readouterr().out


def test_without_a_browser_no_test_runs_and_one_line_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(browser, "found", lambda: None)
    monkeypatch.setattr(browser, "install", lambda: None)
    monkeypatch.delattr(stages, "run")
    monkeypatch.delattr(stages, "lint")
    assert stages.main([]) == 1
    assert capsys.readouterr().out == f"test: {browser.CURE}\n"


@pytest.mark.parametrize("root", [True, False])
def test_root_asks_the_package_manager_first(
    root: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(browser, "ROOT_USER", root)
    monkeypatch.setattr(browser.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(browser, "found", lambda: None)
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: commands.append(command)
    )
    browser.install()
    assert commands[-1][-3:] == ["playwright", "install", "chromium"]
    packages = [command[-1] for command in commands[:-1] if "install" in command]
    assert packages == (["chromium"] if root else [])
