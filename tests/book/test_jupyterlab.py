"""The explorers in a real JupyterLab: run, operated by keyboard, stored, not trusted.

`test_explorers_in_browser` plays JupyterLab's part itself and says where a script goes
wrong. Here the real one inserts the outputs, in its own style sheet, beside its own
keyboard shortcuts, and cleans what it does not trust. A server of its own runs on
localhost, with all its folders in a temporary one, and asks nobody for news.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import explorer_harness as harness
import nbformat
import pytest
from conftest import ROOT, Tab
from explorer_cases import CASES
from explorer_harness import live_root, operate_by_keys
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser, Locator, Page
from playwright.sync_api import TimeoutError as Late

from d2lutils.explorers.base import WITHOUT_SCRIPT

pytest.importorskip("jupyterlab", reason="jupyterlab is not installed: the test extra")
# One server and one visit for all, in this order.
pytestmark = [pytest.mark.rare, pytest.mark.xdist_group("jupyterlab")]

NAMES = list(CASES)
OPTIONS = [
    "--no-browser",
    "--allow-root",
    "--ServerApp.ip=127.0.0.1",
    "--LabApp.expose_app_in_browser=True",
    "--LabApp.extension_manager=readonly",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.news_url=",
]
QUIET = {"checkForUpdates": False, "fetchNews": "false", "doNotDisturbMode": True}
# A command sent before the kernel answers would ask which kernel to start.
KERNEL_READY = """async () => {
    const context = jupyterapp.shell.currentWidget.sessionContext;
    await context.ready;
    while (context.session?.kernel?.status !== "idle")
        await new Promise((done) => setTimeout(done, 50));
}"""
NOTEBOOK = """() => {
    const notebook = jupyterapp.shell.currentWidget.content;
    return [notebook.widgets.length, notebook.activeCellIndex, notebook.mode];
}"""


@dataclass
class Lab:
    """A running JupyterLab: where it is, and where its notebooks are."""

    address: str
    token: str
    notebooks: Path

    def open(self, tab: Tab, name: str) -> Page:
        """Open a notebook in a fresh workspace, and wait for its outputs."""
        address = f"{self.address}lab/tree/{name}?reset&token={self.token}"
        for last in (False, True):  # on a busy machine it once showed no notebook
            tab.page.goto(address)
            try:
                tab.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=120_000)
                break
            except Late:
                if last:
                    raise
        tab.page.evaluate(KERNEL_READY)
        return tab.page


def command(page: Page, name: str, **arguments: Any) -> None:
    """Do what the entry of a menu does."""
    page.evaluate(
        "([name, args]) => jupyterapp.commands.execute(name, args).then(() => {})",
        [name, arguments],
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab with one notebook: a cell for each explorer, never run."""
    folder = tmp_path_factory.mktemp("lab")
    notebooks = folder / "notebooks"
    notebooks.mkdir()
    imports = "from d2lutils.explorers.{0} import {0}\n{0}()"
    cells = [new_code_cell(imports.format(name)) for name in NAMES]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(
        new_notebook(cells=cells, metadata={"kernelspec": kernel}),
        str(notebooks / "explorers.ipynb"),
    )
    home = folder / ".jupyter" / "lab" / "user-settings"
    settings = home / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(QUIET))
    token = secrets.token_hex()
    # All that Jupyter reads or writes of its own lies below the home folder.
    elsewhere = ("JUPYTER", "IPYTHON", "XDG")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(elsewhere)}
    environment |= {"PYTHONPATH": str(ROOT), "HOME": str(folder)}
    environment["JUPYTER_TOKEN"] = token
    where = f"--ServerApp.root_dir={notebooks}"
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *OPTIONS, where],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Lab(started(server, folder), token, notebooks)
    finally:
        server.terminate()
        server.wait(30)


def started(server: subprocess.Popen[bytes], folder: Path) -> str:
    """The address that a server has written down, once it answers."""
    log = folder / "log"
    limit = time.monotonic() + 90
    while "Use Control-C to stop" not in log.read_text("utf-8"):
        if server.poll() is not None or time.monotonic() > limit:
            pytest.fail(f"JupyterLab did not start:\n{log.read_text('utf-8')}")
        time.sleep(0.1)
    (written,) = folder.rglob("jpserver-*.json")
    return json.loads(written.read_text("utf-8"))["url"]


@pytest.fixture(scope="module")
def tab(browser: Browser, lab: Lab) -> Iterator[Tab]:
    """JupyterLab with every cell run; at the end it has complained of nothing."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = Tab(context.new_page())
    page = lab.open(tab, "explorers.ipynb")
    assert page.locator("[data-explorer]").count() == 0
    command(page, "notebook:run-all-cells")
    yield tab
    context.close()


@pytest.fixture(scope="module", params=["Light", "Dark"])
def themed(tab: Tab, request: pytest.FixtureRequest) -> tuple[Page, bool]:
    """The notebook in one of JupyterLab's themes."""
    dark = request.param == "Dark"
    command(tab.page, "apputils:change-theme", theme=f"JupyterLab {request.param}")
    tab.page.wait_for_function(
        """light => document.body.dataset.jpThemeLight === light
            && !document.querySelector("#jupyterlab-splash")""",
        arg=str(not dark).lower(),
    )
    return tab.page, dark


def reveal(page: Page, name: str) -> Locator:
    """Scroll to an explorer: JupyterLab draws a cell when it is needed."""
    page.evaluate(
        "i => jupyterapp.shell.currentWidget.content.scrollToItem(i)",
        NAMES.index(name),
    )
    root = live_root(page, name)
    root.scroll_into_view_if_needed()
    return root


@pytest.mark.parametrize("name", NAMES)
def test_live_and_operated_by_keyboard(themed: tuple[Page, bool], name: str) -> None:
    """Computes as Python does; keys reach the explorer and never JupyterLab."""
    page, dark = themed
    root = reveal(page, name)
    assert root.evaluate("r => r.compute({})") == CASES[name].compute()
    # In a cell that has not been entered, each of these edits the notebook.
    operate_by_keys(root, CASES[name], typed_before="ddxz")
    # As many cells as before, the focused one active, and not entered.
    assert page.evaluate(NOTEBOOK) == [len(NAMES), NAMES.index(name), "command"]
    paper = root.evaluate("r => getComputedStyle(r).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) < 3 * 128) is dark
    seen = root.evaluate(harness.CONTRAST)
    assert len(seen) > 10
    assert [text for text in seen if text["ratio"] < 4.5] == []
    assert root.evaluate(harness.CLIPPED) == []


def test_run_again_and_stored(tab: Tab, lab: Lab) -> None:
    """The second output of a cell takes the first one's place and id; both live."""
    old = tab.page.locator("[data-explorer]").element_handles()
    command(tab.page, "notebook:run-all-cells")
    assert len(old) == len(NAMES)
    for element in old:
        element.wait_for_element_state("hidden")
    for name in NAMES:
        assert reveal(tab.page, name).evaluate("r => r.compute({})")
    command(tab.page, "docmanager:save")
    page = lab.open(tab, "explorers.ipynb")
    for name in NAMES:
        assert reveal(page, name).evaluate("r => r.compute({})")


def test_stored_output_that_is_not_trusted_is_words(tab: Tab, lab: Lab) -> None:
    """What JupyterLab leaves is said in words."""
    command(tab.page, "docmanager:save")
    nb = nbformat.read(str(lab.notebooks / "explorers.ipynb"), as_version=4)
    nb.metadata["from"] = "somebody else"  # so the signature no longer fits
    nbformat.write(nb, str(lab.notebooks / "theirs.ipynb"))
    page = lab.open(tab, "theirs.ipynb")
    outputs = page.locator(".jp-OutputArea-output")
    for i, name in enumerate(NAMES):
        page.evaluate("i => jupyterapp.shell.currentWidget.content.scrollToItem(i)", i)
        output, explorer = outputs.nth(i), CASES[name].make()
        output.wait_for(state="visible")
        said = output.inner_text().split("\n")
        heading = f"{explorer.title} {explorer.goal}"
        first, *rest = [line for line in said if line.strip()]
        assert first == heading
        assert rest == [*explorer.words(), WITHOUT_SCRIPT]
        assert output.locator("script, style, input, button").count() == 0


def test_nothing_was_fetched_and_nothing_went_wrong(tab: Tab, lab: Lab) -> None:
    """Runs last: errors of the whole visit. JupyterLab's own warnings are its own."""
    near = (lab.address, "data:", "blob:")
    assert [url for url in tab.requests if not url.startswith(near)] == []
    assert [p for p in tab.problems if not p.startswith("console warning")] == []
