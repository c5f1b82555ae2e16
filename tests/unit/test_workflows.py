"""The workflows: only make targets, least rights, pinned actions; zizmor is content."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import ROOT
from tools import test as stages

FOLDER = ROOT / ".github"
FILES = sorted((FOLDER / "workflows").glob("*.yml"))
each = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
JOB = {
    *("name", "runs-on", "timeout-minutes", "permissions", "strategy", "env"),
    *("defaults", "needs", "environment", "steps"),
}
STEP = {"id", "name", "uses", "with", "run", "env"}
#: What no target can do: the runner's own disk is not ours to clear elsewhere.
BESIDES = "sudo rm -rf "


def read(path: Path) -> dict[Any, Any]:
    """A workflow as a plain dict; YAML takes the key ``on`` for true."""
    found: dict[Any, Any] = yaml.safe_load(path.read_text("utf-8"))
    return found


def test_there_is_one_for_each_occasion() -> None:
    by_hand = {"workflow_dispatch"}
    change, clock = {"pull_request", "push"} | by_hand, {"schedule"} | by_hand
    assert {path.stem: set(read(path)[True]) for path in FILES} == {
        "links": clock,
        "matrix": change,
        "pages": {"push"} | by_hand,
        "pull-request": change,
        "weekly": clock,
    }
    assert read(FOLDER / "workflows" / "pages.yml")[True]["push"] == {"tags": ["v*"]}


@each
def test_each_step_is_a_target_that_there_is(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    rules = re.findall(r"^([a-z][a-z0-9 -]*):", makefile, re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    for job in read(path)["jobs"].values():
        choices = job.get("strategy", {}).get("matrix", {})
        for step in job["steps"]:
            line = step.get("run", BESIDES)
            for variable, value in step.get("env", {}).items():
                (of,) = re.findall(r"\$\{\{ matrix\.(\w+) \}\}", value)
                variants = [line.replace(f'"${variable}"', v) for v in choices[of]]
                line = "\n".join(variants)
            for command in line.splitlines():
                made = command.startswith("make ") and command.split()[1] in targets
                assert made or command.startswith(BESIDES), command


@each
def test_keys_times_and_expressions_are_known(path: Path) -> None:
    """A misspelt key or name is no error to the host: it means nothing there."""
    workflow, text = read(path), path.read_text("utf-8")
    known = {"github.workflow", "github.ref", "steps.deployment.outputs.page_url"}
    for job in workflow["jobs"].values():
        assert set(job) <= JOB
        assert all(set(step) <= STEP for step in job["steps"])
        matrix = job.get("strategy", {}).get("matrix", {})
        known |= {f"matrix.{name}" for name in matrix}
    assert text.count("${{") == text.count("}}")
    assert set(re.findall(r"\$\{\{ (.*?) \}\}", text)) <= known
    for minute, hour in re.findall(r'cron: "(\d+) (\d+) \* \* [0-6]"', text):
        assert int(minute) < 60
        assert int(hour) < 24
    assert text.count("cron:") == len(re.findall(r'cron: "\d+ \d+ \* \* [0-6]"', text))


@each
def test_least_rights_and_an_end(path: Path) -> None:
    workflow, text = read(path), path.read_text("utf-8")
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["group"]
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 120
        publishes = (path.stem, name) == ("pages", "deploy")
        assert set(job["permissions"].values()) == {"read"} or publishes
    # Nothing to be set up first, and no place of anybody's.
    assert "secrets." not in text
    assert not re.search(r"github\.com/|ghcr\.io", text)


def test_actions_are_the_hosts_own_and_in_one_version() -> None:
    uses = {u for p in FILES for u in re.findall(r"uses: (.*)", p.read_text("utf-8"))}
    for action in uses:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
    assert len(uses) == len({action.split("@")[0] for action in uses})


@pytest.mark.parametrize(
    ("file", "there", "planted"),
    [
        ("workflows/links.yml", "make test-links", "echo ${{ github.head_ref }}"),
        ("workflows/links.yml", "contents: read", "contents: reed"),
        ("dependabot.yml", "monthly", "mothly"),
    ],
)
def test_the_linter_finds_what_is_planted(
    file: str, there: str, planted: str, tmp_path: Path
) -> None:
    shutil.copytree(FOLDER, tmp_path / ".github")
    changed = tmp_path / ".github" / file
    text = changed.read_text("utf-8")
    assert there in text
    changed.write_text(text.replace(there, planted), "utf-8")
    tool, *arguments = stages.LINT["workflows"]
    command = [str(stages.BIN / tool), *arguments]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode
    changed.write_text(text, "utf-8")
    assert not subprocess.run(command, cwd=tmp_path, capture_output=True).returncode
