"""The doctor: what it says of frameworks that work, are missing, or fail in some way.

Missing and broken ones are made with folders on the path of fresh interpreters, as a
reader's machine would have them.
"""

from __future__ import annotations

import functools
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
from d2lutils import cuda11, doctor
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


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
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
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, cwd=ROOT, **options
    )


# -- the command, with what is installed here ------------------------------------------


def test_json_on_this_machine() -> None:
    done = run("--json")
    found = json.loads(done.stdout)
    assert done.stderr == ""
    assert set(found) == {"d2lutils", "status", "reasons", "findings"}
    assert (done.returncode, found["status"], found["reasons"]) == (0, 0, [])
    for line in found["findings"]:
        assert set(line) == {"name", "state", "version", "detail", "cure"}
        assert all(isinstance(value, str) for value in line.values())
        assert line["state"] in (OK, MISSING, WAITS)
        assert line["name"]
    states = {line["name"]: line["state"] for line in found["findings"]}
    assert len(states) == len(found["findings"])
    working = {name for name, state in states.items() if state == OK}
    both = {"MXNet", "MXNet device", "parity"} if doctor._installed("mxnet") else set()
    assert working >= {"Python", "NumPy", "PyTorch", "PyTorch device", *both}


# -- missing ---------------------------------------------------------------------------


def test_without_numpy_and_frameworks(machine: Machine) -> None:
    done = run(env=machine("numpy", "torch", "mxnet"))
    assert done.returncode == 1
    assert done.stderr == ""
    for name in ("NumPy", "PyTorch", "MXNet"):
        assert re.search(rf"^  missing +{name} ", done.stdout, re.MULTILINE), name
    assert re.search(
        r"^  waits +parity +needs a working PyTorch and MXNet$", *multi(done)
    )
    assert re.search(r"-m pip install numpy$", *multi(done))
    assert re.search(r'-m pip install "torch>=2\.8"$', *multi(done))
    assert done.stdout.endswith("neither PyTorch nor MXNet can be used.\n")


def multi(done: subprocess.CompletedProcess[str]) -> tuple[str, int]:
    return done.stdout, re.MULTILINE


@pytest.mark.needs_mxnet
def test_without_numpy_alone(machine: Machine) -> None:
    done = run("--json", env=machine("numpy"))
    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (1, "")
    states = {line["name"]: line for line in found["findings"]}
    assert states["NumPy"]["state"] == MISSING
    for name in ("PyTorch", "MXNet"):
        assert states[name]["state"] == WAITS
        assert states[name]["detail"] == "needs a working NumPy"
        assert states[name]["version"]
    assert found["reasons"] == ["neither PyTorch nor MXNet can be used"]


@pytest.mark.parametrize(
    ("hidden", "missing", "works"),
    [
        ("mxnet", "MXNet", "PyTorch"),
        pytest.param("torch", "PyTorch", "MXNet", marks=pytest.mark.needs_mxnet),
    ],
)
def test_one_framework_is_enough(
    hidden: str, missing: str, works: str, machine: Machine
) -> None:
    done = run("--json", env=machine(hidden))
    found = json.loads(done.stdout)
    states = {line["name"]: line for line in found["findings"]}
    assert (done.returncode, done.stderr, found["reasons"]) == (0, "", [])
    assert states[missing]["state"] == MISSING
    assert " -m pip install " in states[missing]["cure"]
    assert states[works]["state"] == states[f"{works} device"]["state"] == OK
    assert states["parity"]["state"] == WAITS
    assert states["parity"]["detail"] == f"needs a working {missing}"


def test_where_mxnet_has_no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda module: False)
    monkeypatch.setattr(doctor.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(doctor.platform, "machine", lambda: "arm64")
    [found] = doctor.answer("MXNet")
    assert (found.state, found.cure) == (MISSING, "")
    why = "there is none for Darwin arm64; the PyTorch half works alone"
    assert found.detail == why
    monkeypatch.setattr(doctor.platform, "machine", lambda: "x86_64")
    [found] = doctor.answer("MXNet")
    assert found.cure.endswith("pip install --no-deps mxnet==1.9.1 graphviz")


def test_an_empty_folder_is_no_framework(machine: Machine, tmp_path: Path) -> None:
    machine()
    (tmp_path / "leftover").mkdir()
    code = (
        "from d2lutils import doctor as d;"
        "print(d._installed('leftover'), d._installed('d2lutils'), d._installed('nil'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False True False\n"


# -- broken ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        (
            f"{NOISE}\nraise ImportError('libgone.so.9: cannot open\\n  more lines')",
            "ImportError: libgone.so.9: cannot open",
        ),
        (f"{NOISE}\nsys.exit(3)", "SystemExit: 3"),
        pytest.param(
            "import os\nos.abort()",
            "it crashed (SIGABRT)",
            marks=pytest.mark.skipif(os.name == "nt", reason="it knows no signals"),
        ),
        (f"{NOISE}\nos._exit(9)", "it ended with exit status 9: a warning"),
        ("def broken(:", "SyntaxError: "),
        ("raise KeyError", "KeyError"),
    ],
    ids=["raises", "exits", "crashes", "vanishes", "damaged", "says nothing"],
)
def test_a_framework_that_fails_is_a_line(
    code: str, detail: str, machine: Machine
) -> None:
    done = run(env=machine("mxnet", torch=code))
    assert done.returncode == 1
    assert done.stderr == ""
    [line] = re.findall(r"^  broken +PyTorch +(.*)$", *multi(done))
    assert detail in line
    assert "greeting" not in done.stdout
    assert "from its C++ side" not in done.stdout
    assert re.search(
        r"pip install --force-reinstall --no-deps torch(==\S+)?$", *multi(done)
    )
    ends = "Exit status 1: PyTorch is broken; neither PyTorch nor MXNet can be used.\n"
    assert done.stdout.endswith(ends)


def test_a_framework_that_hangs(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(torch="import time\ntime.sleep(600)")
    monkeypatch.setattr(doctor, "PATIENCE_SECONDS", 2)
    [found] = doctor.ask("PyTorch")
    assert (found.state, found.detail) == (BROKEN, "no answer within 2 s")


def test_what_a_framework_prints_is_not_the_answer(machine: Machine) -> None:
    machine(numpy=f"{NOISE}\n__version__ = 'fake'\nraise OSError('no')")
    [found] = doctor.ask("NumPy")
    assert (found.name, found.state, found.detail) == ("NumPy", BROKEN, "OSError: no")


def test_the_first_cause_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> list[Finding]:
        try:
            raise ModuleNotFoundError("No module named 'graphviz'")
        except ModuleNotFoundError as error:
            raise ImportError(
                "MXNet is installed in /a/b, but does not load"
            ) from error

    monkeypatch.setitem(doctor.PROBES, "MXNet", fails)
    [found] = doctor.answer("MXNet")
    assert found.detail == "ModuleNotFoundError: No module named 'graphviz'"
    assert found.cure.endswith(
        "install --force-reinstall --no-deps mxnet==1.9.1 graphviz"
    )


@pytest.mark.parametrize("half", ["pytorch", "gluon"])
def test_a_card_that_fails_is_broken(
    half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "gpu(0) is there, but a kernel failed: no kernel image"
    fake = SimpleNamespace(
        try_gpu=lambda: "cpu(0)",
        why_no_gpu=lambda: why,
        _candidates=lambda: (["gpu(0)"], ""),
    )
    found = doctor._device(half, fake)
    assert (found.name, found.state) == (f"{half} device", BROKEN)
    assert found.detail == f"cpu(0) computes; {why}"
    fake._candidates = lambda: ([], "no GPU was found")
    assert doctor._device(half, fake).state == OK


@pytest.mark.parametrize(
    "name", ["PyTorch", pytest.param("MXNet", marks=pytest.mark.needs_mxnet)]
)
def test_numbers_that_are_not_finite(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "PyTorch":
        from d2lutils.pytorch import blocks
    else:
        from d2lutils.gluon import blocks
    right = blocks.ConvChunk

    class Wrong(right):  # type: ignore[misc, valid-type]
        def forward(self, *args: Any) -> Any:
            return super().forward(*args) + float("nan")

    monkeypatch.setattr(blocks, "ConvChunk", Wrong)
    [found] = doctor.answer(name)
    assert found.state == BROKEN
    assert found.version
    assert found.detail.startswith("ArithmeticError: a convolution on cpu")
    monkeypatch.setattr(blocks, "ConvChunk", right)
    assert [f.state for f in doctor.answer(name)] == [OK, OK]


# -- parity ----------------------------------------------------------------------------


@pytest.mark.needs_mxnet
def test_parity_that_fails_is_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    from d2lutils.pytorch import blocks

    [found] = doctor.answer("parity")
    same = "ConvChunk: same outputs, gradients and 5 training steps"
    assert (found.state, found.detail) == (OK, same)
    planted = functools.partial(blocks.ConvChunk, relu=False)
    monkeypatch.setattr(blocks, "ConvChunk", planted)
    [found] = doctor.answer("parity")
    assert found.state == BROKEN
    why = "ConvChunk: output, evaluation, imperative: differs by"
    assert found.detail.startswith(why)

    def ask(name: str) -> list[Finding]:
        return [found] if name == "parity" else [Finding(name, OK)]

    diagnosis = doctor.diagnose(ask)
    assert (diagnosis.status, diagnosis.reasons) == (1, ["parity is broken"])
    assert doctor.screen(diagnosis).endswith("Exit status 1: parity is broken.")


# -- what it comes to ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "reasons"),
    [
        ((OK, OK, OK), []),
        ((OK, MISSING, MISSING), []),
        ((MISSING, OK, WAITS), []),
        ((OK, BROKEN, OK), ["MXNet is broken"]),
        ((OK, OK, BROKEN), ["Node is broken"]),
        ((WAITS, MISSING, OK), ["neither PyTorch nor MXNet can be used"]),
        (
            (BROKEN, MISSING, OK),
            ["PyTorch is broken", "neither PyTorch nor MXNet can be used"],
        ),
    ],
)
def test_status(states: tuple[str, ...], reasons: list[str]) -> None:
    names = ("PyTorch", "MXNet", "Node")
    findings = tuple(Finding(n, s) for n, s in zip(names, states, strict=True))
    diagnosis = Diagnosis(findings)
    assert diagnosis.reasons == reasons
    assert diagnosis.status == int(bool(reasons))
    assert diagnosis.plain()["status"] == diagnosis.status


def test_everything_fits_on_a_screen() -> None:
    cure = f"python -m pip install {'x' * 100}"

    def ask(name: str) -> list[Finding]:
        device = [Finding(f"{name} device", OK)] if name in doctor.HALVES else []
        return [Finding(name, BROKEN, "1.0", "word " * 80, f"{cure}{name}"), *device]

    text = doctor.screen(doctor.diagnose(ask))
    lines = text.splitlines()
    assert len(lines) <= 30
    cures = [line for line in lines if line.startswith("  python")]
    assert f"  {cure}NumPy" in cures
    assert max(len(line) for line in lines if line not in cures) == doctor.WIDTH
    [numpy] = [line for line in lines if "  NumPy  " in line]
    assert numpy.endswith("...")


def test_a_command_is_shown_once() -> None:
    findings = (
        Finding("a", MISSING, cure="get it"),
        Finding("b", MISSING, cure="get it"),
    )
    assert doctor.screen(Diagnosis(findings)).count("get it") == 1


def test_a_console_without_the_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    found = (Finding("PyTorch", OK, "2 → 3"),)
    monkeypatch.setattr(doctor, "diagnose", lambda: Diagnosis(found))
    console = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(console, encoding="ascii"))
    assert doctor.main([]) == 0
    sys.stdout.flush()
    assert b"2 ? 3" in console.getvalue()


# -- the other lines -------------------------------------------------------------------


def test_a_python_that_nobody_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "tested" not in doctor._interpreter().detail
    monkeypatch.setattr(doctor, "TESTED", ((3, 1), (3, 2)))
    assert doctor._interpreter().detail.endswith("; tested are 3.1 to 3.2")


def test_how_this_python_is_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = tmp_path / "venv" / "bin" / "python"
    monkeypatch.setattr(doctor.sys, "executable", str(here))
    monkeypatch.setattr(doctor.shutil, "which", lambda name: str(here))
    assert doctor._python() == "python"
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert doctor._python() == str(here)
    monkeypatch.chdir(tmp_path)
    assert doctor._python() == str(Path("venv", "bin", "python"))
    monkeypatch.setattr(doctor.sys, "executable", str(tmp_path / "my venv" / "python"))
    assert doctor._python() == f'"{Path("my venv", "python")}"'


def test_libraries_and_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"matplotlib": "3", "tqdm": "4", "jupyter-book": "2.0"}
    monkeypatch.setattr(doctor, "_version", lambda name: versions.get(name, ""))
    found = doctor._libraries()
    assert (found.state, found.detail) == (
        MISSING,
        "scikit-learn pygments pooch requests",
    )
    assert found.cure.endswith(f"pip install {found.detail}")
    assert doctor._jupyter_book().state == MISSING
    assert doctor._jupyter_book().version == "2.0"
    versions["jupyter-book"] = "1.0.4.post1"
    assert doctor._jupyter_book().state == OK
    assert doctor._jupyterlab().state == MISSING
    versions["jupyterlab"] = "4"
    assert doctor._jupyterlab() == Finding("JupyterLab", OK, "4")


def test_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_says", lambda program: "")
    monkeypatch.setattr(doctor, "_installed", lambda module: False)
    assert doctor._node().state == MISSING
    monkeypatch.setattr(doctor, "_installed", lambda module: True)
    assert doctor._node().state == BROKEN
    monkeypatch.setattr(doctor, "_says", lambda program: "v24.1.0")
    assert doctor._node() == Finding("Node", OK, "24.1.0")


def test_chromium(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", sys.executable)
    [found] = doctor.answer("Chromium")
    version = doctor.platform.python_version()
    assert (found.state, found.version) == (OK, version)
    monkeypatch.setenv("CHROMIUM", "no-such-program")
    [found] = doctor.answer("Chromium")
    assert found.state == MISSING
    assert found.detail == "CHROMIUM=no-such-program is not a program that starts"
    assert found.cure.endswith("-m playwright install chromium")
    monkeypatch.delenv("CHROMIUM")
    monkeypatch.setattr(doctor, "MAC", "/no/such/file")
    monkeypatch.setattr(doctor, "_installed", lambda module: False)
    tried = []
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/bin/{name}")

    def says(program: str) -> str:
        tried.append(program)
        return "Chromium 1.2 (3.4)" if program == "/bin/chrome" else ""

    monkeypatch.setattr(doctor, "_says", says)
    [found] = doctor.answer("Chromium")
    assert (found.state, found.version) == (OK, "1.2")
    assert tried == [f"/bin/{name}" for name in doctor.BROWSERS[:5]]
    monkeypatch.setattr(doctor, "_says", lambda program: "")
    [found] = doctor.answer("Chromium")
    assert (found.state, found.detail) == (
        MISSING,
        "the book's tests and its PDF need one",
    )
    assert " -m pip install playwright && " in found.cure


REFUSED = "newer than its machine code"


@pytest.mark.parametrize(
    ("capability", "refusal", "version", "complete", "states", "cure"),
    [
        (None, "no card answers", "", False, [], ""),
        ((8, 0), "", "", False, [MISSING], "-m d2lutils cuda11 --install"),
        ((9, 0), REFUSED, "", False, [WAITS], ""),
        ((8, 0), "", "1.9.1", True, [OK], ""),
        ((8, 0), "", "1.9.1", False, [BROKEN], "-m d2lutils cuda11 --install"),
        ((9, 0), REFUSED, "1.9.1", True, [BROKEN], "--no-deps mxnet==1.9.1 graphviz"),
        (None, "no card", "1.9.1", True, [BROKEN], "--no-deps mxnet==1.9.1 graphviz"),
    ],
)
def test_the_cuda_build_of_mxnet(
    capability: tuple[int, int] | None,
    refusal: str,
    version: str,
    complete: bool,
    states: list[str],
    cure: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cuda11, "capability", lambda: capability)
    monkeypatch.setattr(cuda11, "refusal", lambda card, system, machine: refusal)
    monkeypatch.setattr(cuda11, "installed", lambda: complete)
    monkeypatch.setattr(doctor, "_version", lambda name: version)
    found = doctor.answer("MXNet for CUDA 11")
    assert [finding.state for finding in found] == states
    for finding in found:
        assert finding.detail == refusal or not refusal
        assert finding.cure.endswith(cure)
        assert bool(finding.cure) is bool(cure)


def test_a_broken_cuda_build_goes_back_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "1.9.1")
    found = doctor._broken("MXNet", "no driver")
    assert (found.state, found.version, found.detail) == (BROKEN, "1.9.1", "no driver")
    assert " -m pip uninstall --yes mxnet-cu117 && " in found.cure


# -- the commands ----------------------------------------------------------------------


def test_an_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        commands.main(["nurse"])
    assert caught.value.code == 2
    assert "invalid choice: 'nurse'" in capsys.readouterr().err


def test_the_rest_of_the_line_goes_to_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[list[str]] = []

    def command(argv: list[str]) -> int:
        heard.append(argv)
        return 7

    for name in commands.COMMANDS:
        fake = SimpleNamespace(main=command)
        monkeypatch.setitem(sys.modules, f"d2lutils.{name}", fake)  # type: ignore[arg-type]
        assert commands.main([name, "--help", "more"]) == 7
    assert heard == [["--help", "more"]] * len(commands.COMMANDS)


def test_what_stands_in_two_places_is_the_same() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    [needs] = re.findall(
        r"^dependencies = \[(.*?)\]", project, re.MULTILINE | re.DOTALL
    )
    assert re.findall(r'"(.+?)"', needs) == ["numpy", *doctor.LIBRARIES]
    assert f"    {doctor.BOOK},\n" in project
    assert f'"{doctor.MXNET.split()[1]}"' in project
    lowest = ".".join(map(str, doctor.TESTED[0]))
    assert f'requires-python = ">={lowest}"' in project
    assert doctor.PYTORCH.strip('"') in (ROOT / "requirements.txt").read_text().split()
