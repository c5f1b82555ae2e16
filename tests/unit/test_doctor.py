"""The doctor: what it says of frameworks that work, are missing, or fail in some way.

Missing and broken ones are made with folders on the path of fresh interpreters, as a
reader's machine would have them.
"""

from __future__ import annotations

import functools
import importlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from d2lutils import __main__ as commands
from d2lutils import doctor
from d2lutils._compat import cuda11
from d2lutils.doctor import BROKEN, MISSING, OK, WAITS, Diagnosis, Finding

ROOT = Path(__file__).resolve().parents[2]

HIDE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Missing())
"""
NOISE = """
import os, sys
print("a framework's greeting")
os.write(1, b"from its C++ side")
print("a warning\\n" * 50, file=sys.stderr)
"""

Machine = Callable[..., "dict[str, str]"]
Patch = pytest.MonkeyPatch
NEEDS_MXNET = pytest.mark.needs_mxnet


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: Patch) -> Machine:
    """Make an environment in which some modules are missing or other code."""

    def make(*hidden: str, **code: str) -> dict[str, str]:
        (tmp_path / "sitecustomize.py").write_text(HIDE.format(hidden=hidden))
        for name, text in code.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text(text)
        # Any program that starts will do for a browser, and this one is quick.
        monkeypatch.setenv("CHROMIUM", sys.executable)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
        return dict(os.environ)

    return make


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "d2lutils", "doctor", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, cwd=ROOT, **options
    )
    assert done.stderr == ""
    return done


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, Finding]:
    found = json.loads(done.stdout)
    assert set(found) == {"d2lutils", "status", "reasons", "findings"}
    assert done.returncode == found["status"]
    lines = [Finding(**line) for line in found["findings"]]
    assert list(Diagnosis(tuple(lines)).reasons) == found["reasons"]
    return {line.name: line for line in lines}


# -- what is installed here, and what is missing ---------------------------------------


def test_this_machine() -> None:
    found = findings(run("--json"))
    assert {line.state for line in found.values()} <= {OK, MISSING, WAITS}
    working = {name for name, line in found.items() if line.state == OK}
    both = {"MXNet", "MXNet device", "parity"} if doctor._installed("mxnet") else set()
    assert working >= {"Python", "NumPy", "PyTorch", "PyTorch device", *both}


@pytest.mark.parametrize(
    ("hidden", "states", "parity_needs"),
    [
        ("numpy torch mxnet", (MISSING, MISSING, MISSING), "PyTorch and MXNet"),
        pytest.param(
            "numpy", (MISSING, WAITS, WAITS), "PyTorch and MXNet", marks=NEEDS_MXNET
        ),
        ("mxnet", (OK, OK, MISSING), "MXNet"),
        pytest.param("torch", (OK, MISSING, OK), "PyTorch", marks=NEEDS_MXNET),
    ],
)
def test_missing(
    hidden: str, states: tuple[str, ...], parity_needs: str, machine: Machine
) -> None:
    done = run("--json", env=machine(*hidden.split()))
    found = findings(done)
    for name, state in zip(("NumPy", "PyTorch", "MXNet"), states, strict=True):
        line = found[name]
        assert line.state == state
        assert (f"{name} device" in found) == (state == OK and name != "NumPy")
        assert (" -m pip install " in line.cure) == (state == MISSING)
        if state == WAITS:
            assert line.version
            assert line.detail == "needs a working NumPy"
    assert found["parity"].state == WAITS
    assert found["parity"].detail == f"needs a working {parity_needs}"
    assert done.returncode == (0 if OK in states[1:] else 1)  # one framework is enough


def test_where_mxnet_has_no_wheel(monkeypatch: Patch) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda module: False)
    monkeypatch.setattr(doctor.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(doctor.platform, "machine", lambda: "arm64")
    why = "there is none for Darwin arm64; the PyTorch half works alone"
    assert doctor.answer("MXNet") == [Finding("MXNet", MISSING, detail=why)]
    monkeypatch.setattr(doctor.platform, "machine", lambda: "x86_64")
    [found] = doctor.answer("MXNet")
    assert found.cure.endswith("pip install --no-deps mxnet==1.9.1 graphviz")


# -- broken ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        (
            f"{NOISE}\nraise ImportError('libgone.so.9: cannot open\\n  more lines')",
            "ImportError: libgone.so.9: cannot open",
        ),
        pytest.param(
            "import os\nos.abort()",
            "it crashed (SIGABRT)",
            marks=pytest.mark.skipif(os.name == "nt", reason="it knows no signals"),
        ),
        (f"{NOISE}\nos._exit(9)", "it ended with exit status 9: a warning"),
        ("import time\ntime.sleep(600)", "no answer within 2 s"),
    ],
    ids=["raises", "crashes", "vanishes", "hangs"],
)
def test_a_framework_that_fails_is_a_finding(
    code: str, detail: str, machine: Machine, monkeypatch: Patch
) -> None:
    machine(torch=code)
    if "sleep" in code:
        monkeypatch.setattr(doctor, "PATIENCE_SECONDS", 2)
    [found] = doctor.ask("PyTorch")
    assert (found.name, found.state) == ("PyTorch", BROKEN)
    assert detail in found.detail
    assert re.search(r"install --force-reinstall --no-deps torch(==\S+)?$", found.cure)


def test_the_screen_for_a_framework_that_fails(machine: Machine) -> None:
    done = run(env=machine("mxnet", torch=f"{NOISE}\nraise OSError('no')"))
    assert done.returncode == 1
    for line in (
        r"  broken +PyTorch +(\S+, )?OSError: no",
        r"  missing +MXNet +.*",
        r"  .* --force-reinstall --no-deps torch(==\S+)?",
    ):
        assert re.search(f"^{line}$", done.stdout, re.MULTILINE), line
    assert "greeting" not in done.stdout
    assert "from its C++ side" not in done.stdout
    ends = "Exit status 1: PyTorch is broken; neither PyTorch nor MXNet can be used.\n"
    assert done.stdout.endswith(ends)


def test_the_first_cause_is_told(monkeypatch: Patch) -> None:
    def fails() -> list[Finding]:
        cause = ModuleNotFoundError("No module named 'graphviz'")
        raise ImportError("MXNet is installed, but does not load") from cause

    monkeypatch.setitem(doctor.PROBES, "MXNet", fails)
    [found] = doctor.answer("MXNet")
    assert found.detail == "ModuleNotFoundError: No module named 'graphviz'"
    assert found.cure.endswith("--force-reinstall --no-deps mxnet==1.9.1 graphviz")


@pytest.mark.parametrize(("cards", "state"), [(["gpu(0)"], BROKEN), ([], OK)])
def test_a_card_that_fails_is_broken(cards: list[str], state: str) -> None:
    fake = SimpleNamespace(
        try_gpu=lambda: "cpu(0)",
        why_no_gpu=lambda: "no kernel image",
        _candidates=lambda: (cards, ""),
    )
    detail = "cpu(0) computes; no kernel image"
    found = doctor._device("MXNet", fake)
    assert found == Finding("MXNet device", state, detail=detail)


@pytest.mark.parametrize(
    ("name", "half"),
    [("PyTorch", "pytorch"), pytest.param("MXNet", "gluon", marks=NEEDS_MXNET)],
)
def test_numbers_that_are_not_finite(name: str, half: str, monkeypatch: Patch) -> None:
    assert [f.state for f in doctor.answer(name)] == [OK, OK]
    blocks = importlib.import_module(f"d2lutils.{half}.blocks")

    class Wrong(blocks.ConvChunk):  # type: ignore[name-defined]
        def forward(self, *args: Any) -> Any:
            return super().forward(*args) + float("nan")

    monkeypatch.setattr(blocks, "ConvChunk", Wrong)
    [found] = doctor.answer(name)
    assert found.state == BROKEN
    assert found.version
    assert found.detail.startswith("ArithmeticError: a convolution on cpu")


@NEEDS_MXNET
def test_parity_that_fails(monkeypatch: Patch) -> None:
    from d2lutils.pytorch import blocks

    detail = "ConvChunk: same outputs, gradients and 5 training steps"
    assert doctor.answer("parity") == [Finding("parity", OK, detail=detail)]
    planted = functools.partial(blocks.ConvChunk, relu=False)
    monkeypatch.setattr(blocks, "ConvChunk", planted)
    [found] = doctor.answer("parity")
    assert found.state == BROKEN
    why = "ConvChunk: output, evaluation, imperative: differs by"
    assert found.detail.startswith(why)


# -- what it comes to ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "reasons"),
    [
        ((MISSING, OK, WAITS), []),
        ((OK, OK, BROKEN), ["parity is broken"]),
        ((WAITS, MISSING, OK), ["neither PyTorch nor MXNet can be used"]),
        (
            (BROKEN, MISSING, OK),
            ["PyTorch is broken", "neither PyTorch nor MXNet can be used"],
        ),
    ],
)
def test_status(states: tuple[str, ...], reasons: list[str]) -> None:
    names = ("PyTorch", "MXNet", "parity")
    lines = tuple(Finding(n, s) for n, s in zip(names, states, strict=True))
    diagnosis = Diagnosis(lines)
    assert diagnosis.reasons == reasons
    assert diagnosis.plain()["status"] == diagnosis.status == int(bool(reasons))


def test_everything_fits_on_a_screen() -> None:
    cure = f"python -m pip install {'x' * 100}"

    def ask(name: str) -> list[Finding]:
        device = [Finding(f"{name} device", OK)] if name in doctor.HALVES else []
        return [Finding(name, BROKEN, "1.0", "word " * 80, cure), *device]

    lines = doctor.screen(doctor.diagnose(ask)).splitlines()
    assert len(lines) <= 30
    assert lines.count(f"  {cure}") == 1  # a command is shown once
    lines.remove(f"  {cure}")
    assert max(map(len, lines)) == doctor.WIDTH
    [numpy] = [line for line in lines if "  NumPy  " in line]
    assert numpy.endswith("...")


def test_a_console_without_the_letters(monkeypatch: Patch) -> None:
    found = (Finding("PyTorch", OK, "2 → 3"),)
    monkeypatch.setattr(doctor, "diagnose", lambda: Diagnosis(found))
    console = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(console, encoding="ascii"))
    assert doctor.main([]) == 0
    sys.stdout.flush()
    assert b"2 ? 3" in console.getvalue()


# -- the other lines -------------------------------------------------------------------


def test_this_python(monkeypatch: Patch, tmp_path: Path) -> None:
    assert "tested" not in doctor._interpreter().detail
    monkeypatch.setattr(doctor, "TESTED", ((3, 1), (3, 2)))
    assert doctor._interpreter().detail.endswith("; tested are 3.1 to 3.2")
    # How its commands call it.
    here = str(tmp_path / "my venv" / "python")
    monkeypatch.setattr(doctor.sys, "executable", here)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: here)
    assert doctor._python() == "python"
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert doctor._python() == f'"{here}"'
    monkeypatch.chdir(tmp_path)
    assert doctor._python() == f'"{Path("my venv", "python")}"'


def test_libraries_and_tools(monkeypatch: Patch) -> None:
    versions = {"matplotlib": "3", "tqdm": "4", "jupyter-book": "2.0"}
    monkeypatch.setattr(doctor, "_version", lambda name: versions.get(name, ""))
    found = doctor._libraries()
    names = "scikit-learn pygments pooch requests"
    assert (found.state, found.detail) == (MISSING, names)
    assert found.cure.endswith(f"pip install {names}")
    book = doctor._jupyter_book()
    assert (book.state, book.version) == (MISSING, "2.0")
    assert doctor._jupyterlab().state == MISSING
    versions |= {"jupyter-book": "1.0.4.post1", "jupyterlab": "4"}
    assert doctor._jupyter_book().state == OK
    assert doctor._jupyterlab() == Finding("JupyterLab", OK, "4")
    for there, says, state in (
        *((False, "", MISSING), (True, "", BROKEN), (True, "v24.1", OK)),
    ):
        monkeypatch.setattr(doctor, "_version_output", lambda program, says=says: says)
        monkeypatch.setattr(doctor, "_installed", lambda module, there=there: there)
        node = doctor._node()
        assert (node.state, node.version) == (state, says[1:])


def test_chromium(monkeypatch: Patch) -> None:
    monkeypatch.setenv("CHROMIUM", sys.executable)
    version = doctor.platform.python_version()
    assert doctor.answer("Chromium") == [Finding("Chromium", OK, version)]
    monkeypatch.setenv("CHROMIUM", "no-such-program")
    [found] = doctor.answer("Chromium")
    why = "CHROMIUM=no-such-program is not a program that starts"
    assert (found.state, found.detail) == (MISSING, why)
    monkeypatch.delenv("CHROMIUM")
    monkeypatch.setattr(doctor, "_installed", lambda module: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/bin/{name}")
    answers = {"/bin/chrome": "Chromium 1.2 (3.4)"}
    monkeypatch.setattr(
        doctor, "_version_output", lambda program: answers.get(program, "")
    )
    assert doctor.answer("Chromium") == [Finding("Chromium", OK, "1.2")]
    answers.clear()  # stubs that start nothing
    [found] = doctor.answer("Chromium")
    assert found.state == MISSING
    assert " -m pip install playwright && " in found.cure


NEWER = "newer than its machine code"
SET_UP = "-m d2lutils cuda11 --install"
CPU = "--no-deps mxnet==1.9.1 graphviz"


@pytest.mark.parametrize(
    ("card", "refusal", "version", "complete", "states", "cure"),
    [
        (None, "no card answers", "", False, [], ""),
        ((8, 0), "", "", False, [MISSING], SET_UP),
        ((9, 0), NEWER, "", False, [WAITS], ""),
        ((8, 0), "", "1.9.1", True, [OK], ""),
        ((8, 0), "", "1.9.1", False, [BROKEN], SET_UP),
        ((9, 0), NEWER, "1.9.1", True, [BROKEN], CPU),
    ],
)
def test_the_cuda_build_of_mxnet(
    card: Any,
    refusal: str,
    version: str,
    complete: bool,
    states: list[str],
    cure: str,
    monkeypatch: Patch,
) -> None:
    monkeypatch.setattr(cuda11, "capability", lambda: card)
    monkeypatch.setattr(cuda11, "refusal", lambda card, system, machine: refusal)
    monkeypatch.setattr(cuda11, "installed", lambda: complete)
    monkeypatch.setattr(doctor, "_version", lambda name: version)
    found = doctor.answer("MXNet for CUDA 11")
    assert [finding.state for finding in found] == states
    for finding in found:
        assert finding.detail == refusal or not refusal
        assert finding.cure.endswith(cure)
        assert bool(finding.cure) is bool(cure)
    if version:
        assert (
            " -m pip uninstall --yes mxnet-cu117 && "
            in doctor._broken("MXNet", "").cure
        )


# -- the commands ----------------------------------------------------------------------


def test_the_rest_of_the_line_goes_to_the_command(
    monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[str] = []

    def main(argv: list[str]) -> int:
        heard.extend(argv)
        return 7

    fake: Any = SimpleNamespace(main=main)
    monkeypatch.setitem(sys.modules, f"d2lutils.{commands.COMMANDS['doctor'][0]}", fake)
    assert commands.main(["doctor", "--help", "more"]) == 7
    assert heard == ["--help", "more"]
    with pytest.raises(SystemExit) as caught:
        commands.main(["nurse"])
    assert caught.value.code == 2
    assert "invalid choice: 'nurse'" in capsys.readouterr().err


def test_what_stands_in_two_places_is_the_same() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    needs = project.partition("\ndependencies = [")[2].partition("]")[0]
    assert re.findall(r'"(.+?)"', needs) == ["numpy", *doctor.LIBRARIES]
    assert f"    {doctor.BOOK},\n" in project
    assert f'"{doctor.MXNET.split()[1]}"' in project
    lowest = ".".join(map(str, doctor.TESTED[0]))
    assert f'requires-python = ">={lowest}"' in project
    assert doctor.PYTORCH.strip('"') in (ROOT / "requirements.txt").read_text().split()
