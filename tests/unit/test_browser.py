"""The browser for the tests is found or installed once, before any of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools import browser  # noqa: E402
from tools import test as stages  # noqa: E402


def test_it_is_installed_before_any_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    outcome = stages.Outcome("some", 1, 0, 0, 0.0, 0)

    def chromium() -> str:
        done.append("browser")
        return "/path/to/chromium"

    def run(name: str, arguments: list[str]) -> stages.Outcome:
        done.append(os.environ["CHROMIUM"])
        return outcome

    monkeypatch.setenv("CHROMIUM", "")
    monkeypatch.setattr(browser, "chromium", chromium)
    monkeypatch.setattr(stages, "run", run)
    monkeypatch.setattr(stages, "lint", lambda: outcome)
    monkeypatch.setattr(sys, "argv", ["test.py"])
    assert stages.main() == 0
    assert done == ["browser"] + ["/path/to/chromium"] * len(stages.STAGES)


def test_without_one_no_test_runs_and_one_line_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(browser, "found", lambda: None)
    monkeypatch.setattr(browser, "install", lambda: None)
    monkeypatch.delattr(stages, "run")
    monkeypatch.delattr(stages, "lint")
    monkeypatch.setattr(sys, "argv", ["test.py"])
    assert stages.main() == 1
    assert capsys.readouterr().out == f"test: {browser.CURE}\n"


def test_other_stages_need_none(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = stages.Outcome("some", 1, 0, 0, 0.0, 0)
    monkeypatch.delattr(browser, "chromium")
    monkeypatch.setattr(stages, "run", lambda *_: outcome)
    monkeypatch.setattr(sys, "argv", ["test.py", "package"])
    assert stages.main() == 0


@pytest.mark.parametrize("root", [True, False])
def test_root_asks_the_package_manager_first(
    root: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> None:
        commands.append(command)

    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000, raising=False)
    monkeypatch.setattr(browser.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(browser, "found", lambda: None)
    monkeypatch.setattr(subprocess, "run", run)
    browser.install()
    assert commands[-1][-3:] == ["playwright", "install", "chromium"]
    packages = [command[-1] for command in commands[:-1] if "install" in command]
    assert packages == (["chromium"] if root else [])
