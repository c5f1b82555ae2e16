"""The workflows: make targets alone, least rights, pinned actions of the host."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import ROOT

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
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
    workflow = read(path)
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["group"]
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 120
        publishes = (path.stem, name) == ("pages", "deploy")
        assert set(job["permissions"].values()) == {"read"} or publishes
    # A clone needs nothing to be set up before they work.
    assert "secrets." not in path.read_text("utf-8")


def test_actions_are_the_hosts_own_and_in_one_version() -> None:
    uses = {u for p in FILES for u in re.findall(r"uses: (.*)", p.read_text("utf-8"))}
    for action in uses:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
    assert len(uses) == len({action.split("@")[0] for action in uses})
