"""Preparing a Colab runtime, by a pip that only pretends; the emulation's parts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from d2lutils import colab
from tools import colab as emulation
from tools import notebook, stamp

THERE = {
    "d2lutils": "0.1.0",
    "numpy": "2.1.3",
    "torch": "2.11.0+cu128",
    "scikit_learn": "1.6.1",
    "Pygments": "2.19",
    "odd": "unknown-version",
    "requests": "2.32",
}
REQUIRES = [
    "numpy",
    "scikit-learn",
    "pygments",
    "pooch",
    'torch; extra == "pytorch"',
    "mxnet==1.9.1; extra == 'gluon'",
    'requests; extra == "gluon"',
    'graphviz; extra == "gluon"',
    'pytest; extra == "test"',
]
OFFERED = {"pooch": "1.8.2", "graphviz": "0.21", "mxnet": "1.9.1", "platformdirs": "4"}


class Pip:
    """What is installed, and a pip that installs what is offered."""

    def __init__(self) -> None:
        self.there = dict(THERE)
        self.calls: list[list[str]] = []
        self.pins: list[str] = []
        self.error = ""
        self.changes: dict[str, str] = {}
        self.removes = ""

    def distributions(self) -> list[Any]:
        broken = SimpleNamespace(metadata={"Name": None}, version=None)
        return [broken] + [
            SimpleNamespace(metadata={"Name": name}, version=version)
            for name, version in self.there.items()
        ]

    def run(self, command: list[str], **options: Any) -> Any:
        assert command[:3] == [sys.executable, "-m", "pip"]
        arguments = command[command.index("install") + 1 :]
        self.calls.append(arguments)
        if "--constraint" in arguments:
            file = Path(arguments[arguments.index("--constraint") + 1])
            self.pins = file.read_text().splitlines()
        if self.error:
            return SimpleNamespace(returncode=1, stderr=self.error)
        for argument in arguments:
            name = argument.partition("==")[0]
            if name in OFFERED:
                self.there[name] = OFFERED[name]
        if "pooch" in arguments:
            self.there["platformdirs"] = OFFERED["platformdirs"]
        self.there |= self.changes
        self.there.pop(self.removes, None)
        return SimpleNamespace(returncode=0, stderr="")


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    fake = Pip()
    monkeypatch.setattr(colab.metadata, "distributions", fake.distributions)
    monkeypatch.setattr(colab.metadata, "requires", lambda name: REQUIRES)
    monkeypatch.setattr(colab.subprocess, "run", fake.run)
    monkeypatch.setattr(colab, "_devices", lambda: ["MXNet runs on the CPU: why"])
    return fake


Say = Callable[[], str]


@pytest.fixture
def prepare(pip: Pip, capsys: pytest.CaptureFixture[str]) -> Say:
    def call() -> str:
        assert colab.main([]) == 0
        return capsys.readouterr().out

    return call


def test_what_is_missing_is_installed_beside_what_is_there(
    pip: Pip, prepare: Say
) -> None:
    said = prepare()
    assert said.splitlines() == [
        "d2lutils 0.1.0",
        "Installed: graphviz 0.21, mxnet 1.9.1, platformdirs 4, pooch 1.8.2",
        f"Python {sys.version.split()[0]}, NumPy 2.1.3, PyTorch 2.11.0+cu128",
        "MXNet runs on the CPU: why",
    ]
    rest, mxnet = pip.calls
    assert rest[-2:] == ["pooch", "graphviz"]
    assert mxnet[1:] == ["--no-deps", "mxnet==1.9.1"]
    assert not any("upgrade" in word for call in pip.calls for word in call)
    # All but a version that pip could not read: it would refuse the whole list.
    assert sorted(pip.pins) == [
        *("d2lutils==0.1.0", "numpy==2.1.3", "pygments==2.19", "requests==2.32"),
        *("scikit-learn==1.6.1", "torch==2.11.0+cu128"),
    ]
    pip.calls.clear()
    assert "Nothing to install" in prepare()
    assert pip.calls == []


def test_mxnets_build_for_gpus_stays(pip: Pip, prepare: Say) -> None:
    pip.there["mxnet-cu117"] = "1.9.1"
    assert "mxnet" not in prepare().splitlines()[1]
    assert "Nothing to install" in prepare()
    assert "mxnet" not in pip.there


def test_what_changed_or_is_gone_is_told(pip: Pip, prepare: Say) -> None:
    pip.changes, pip.removes = {"numpy": "1.26.4"}, "odd"
    said = prepare()
    assert "CHANGED, which must not be: numpy 2.1.3 is now 1.26.4" in said
    assert "odd unknown-version is now gone" in said
    assert "CHANGED" not in prepare()


@pytest.mark.parametrize(
    ("error", "why"),
    [
        ("WARNING: no net\nERROR: No matching distribution\n\n[notice] x\n", "ERROR"),
        ("/usr/bin/python3: No module named pip\n", "/usr/bin/python3: No module"),
        ("\n", "exit status 1"),
    ],
)
def test_a_pip_that_fails_is_told_in_one_line(
    pip: Pip, prepare: Say, error: str, why: str
) -> None:
    pip.error = error
    lines = prepare().splitlines()
    assert lines[0].startswith(f"pip could not install pooch, graphviz: {why}")
    assert lines[1].startswith(f"pip could not install mxnet==1.9.1: {why}")
    assert lines[2:4] == ["d2lutils 0.1.0", "Installed: nothing"]
    assert lines[-1] == "MXNet runs on the CPU: why"


def test_what_the_package_asks_for_itself() -> None:
    """The real metadata: each half is an extra, and no dependency."""
    always = {colab._name(line) for line in colab._requirements()}
    assert {"numpy", "matplotlib", "pooch"} <= always
    assert not {"torch", "mxnet", "pytest"} & always
    gluon = colab._requirements("gluon")
    assert {colab._name(line) for line in gluon} == {"mxnet", "requests", "graphviz"}
    assert "mxnet==1.9.1" in gluon


# -- devices ---------------------------------------------------------------------------


def machine(
    card: tuple[int, int] | None, mxnet: str | Exception, torch: Exception | None = None
) -> Callable[[str], Any]:
    """`import_module` of a machine with this card, and MXNet as it is there."""
    cuda = SimpleNamespace(
        is_available=lambda: card is not None,
        get_device_capability=lambda i: card,
        get_device_name=lambda i: "Tesla T4",
    )

    def devices(device: str, why: str) -> Any:
        return SimpleNamespace(try_gpu=lambda: device, why_no_gpu=lambda: why)

    def import_module(name: str) -> Any:
        if name == "torch":
            if torch is not None:
                raise torch
            return SimpleNamespace(cuda=cuda)
        if name == "d2lutils.pytorch.devices":
            return devices("cuda:0", "") if card else devices("cpu", "no GPU was found")
        assert name == "d2lutils.gluon.devices"
        if isinstance(mxnet, Exception):
            raise mxnet
        return devices("gpu(0)", mxnet)

    return import_module


CPU_BUILD = "this build of MXNet is for the CPU only"


OFFER = "!python -m d2lutils cuda11 --install"


@pytest.mark.parametrize(
    ("card", "offer"),
    [((7, 5), OFFER), ((9, 0), "the card has compute capability 9.0")],
)
def test_the_gpu_build_is_offered_where_it_can_run(
    monkeypatch: pytest.MonkeyPatch, card: tuple[int, int], offer: str
) -> None:
    monkeypatch.setattr(colab.importlib, "import_module", machine(card, CPU_BUILD))
    monkeypatch.setattr(colab.platform, "system", lambda: "Linux")
    monkeypatch.setattr(colab.platform, "machine", lambda: "x86_64")
    *found, last = colab._devices()
    assert found == [
        f"GPU: Tesla T4, compute capability {card[0]}.{card[1]}",
        "PyTorch runs on cuda:0",
        f"MXNet runs on the CPU: {CPU_BUILD}",
    ]
    assert last.startswith(f"MXNet's build for this GPU: {offer}")


def test_a_gpu_build_that_works_or_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(colab.importlib, "import_module", machine((7, 5), ""))
    assert colab._devices()[-1] == "MXNet runs on gpu(0)"
    broken = machine(None, ImportError("no wheel here"), OSError("libtorch.so"))
    monkeypatch.setattr(colab.importlib, "import_module", broken)
    assert colab._devices() == [
        "PyTorch cannot be used: libtorch.so",
        "MXNet cannot be used: no wheel here",
    ]


# -- the emulation ---------------------------------------------------------------------


def test_the_emulation_reads_what_is_announced(prepare: Say) -> None:
    assert emulation.announced(prepare()) == {"d2lutils": "0.1.0", **OFFERED}
    assert emulation.announced(prepare()) == {"d2lutils": "0.1.0"}


class Runtime:
    """Stands for a runtime whose set-up cell printed this and installed that."""

    def __init__(self, printed: list[str], after: dict[str, str] | None) -> None:
        self.printed, self.after = printed, after

    def run(self, nb: Any) -> list[str]:
        for cell, text in zip(nb.cells, self.printed, strict=True):
            cell.outputs = [new_output("stream", name="stdout", text=text)]
        if self.after is None:
            raise emulation.Red("the cell failed")
        return self.printed

    def packages(self) -> dict[str, str]:
        return self.after or {}


FIRST = "d2lutils 0.1.0\nInstalled: mxnet 1.9.1\n"
SECOND = "d2lutils 0.1.0\nNothing to install\n"
AFTER = {"numpy": "2", "d2lutils": "0.1.0", "mxnet": "1.9.1"}
SAID = f"ERROR: no wheel\r\n{stamp.NO_WHEEL}\r\n"


@pytest.mark.rare
def test_the_emulation_sees_what_is_not_as_announced(tmp_path: Path) -> None:
    path = tmp_path / "one.ipynb"
    cell = new_code_cell(stamp.block(stamp.UPLOADED), id="a")
    notebook.write(new_notebook(cells=[cell]), path)

    def prepared(*what: Any) -> str:
        return emulation.prepared(Runtime(*what), path, {"numpy": "2"})  # type: ignore[arg-type]

    def explained(*what: Any) -> str:
        return emulation.explained(Runtime(*what), path)  # type: ignore[arg-type]

    assert prepared([FIRST, SECOND], AFTER) == "d2lutils 0.1.0, mxnet 1.9.1"
    assert stamp.NO_WHEEL in explained([SAID], None)
    for step, printed, after in (
        (prepared, [FIRST, SECOND], AFTER | {"numpy": "1.26.4"}),
        (prepared, [FIRST, SECOND], AFTER | {"scipy": "1"}),
        (prepared, [FIRST, FIRST], AFTER),
        (prepared, ["d2lutils 0.1.0\n", SECOND], {"numpy": "2", "d2lutils": "0.1.0"}),
        (explained, ["ERROR: no wheel\r\n"], None),
        (explained, [SAID], AFTER),  # it went on
    ):
        with pytest.raises(emulation.Red):
            step(printed, after)


@pytest.mark.rare
def test_a_chapter_runs_as_on_colab(tmp_path: Path) -> None:
    try:  # IPython runs `!` in a terminal
        for end in os.openpty():
            os.close(end)
    except OSError:
        pytest.skip("this system has no terminals")
    here = emulation.Runtime(tmp_path)
    nb = new_notebook(
        cells=[
            new_code_cell("import sys\nprint('google.colab' in sys.modules)", id="a"),
            new_code_cell(
                "!python -c 'import sys; print(sys.prefix)'\nprint(sys.prefix)", id="b"
            ),
            new_code_cell("import os\nprint(os.getcwd())", id="c"),
        ]
    )
    stand_in, prefixes, folder = here.run(nb)
    assert stand_in == "True\n"
    assert len(set(prefixes.split())) == 1
    assert Path(folder.strip()) == tmp_path.resolve()
    nb.cells.append(new_code_cell("1 / 0", id="broken"))
    with pytest.raises(emulation.Red, match=r"cell 3 \(broken\): ZeroDivisionError"):
        here.run(nb)
    nb = new_notebook(cells=[new_code_cell("import os\nos._exit(1)", id="a")])
    with pytest.raises(emulation.Red, match="DeadKernelError: Kernel died"):
        here.run(nb)


def test_the_emulation_refuses_what_it_cannot_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert emulation.main(["no_such_chapter"]) == 1
    assert "no chapter is called no_such_chapter" in capsys.readouterr().out
    assert emulation.main([]) == 1  # d2lutils is installed where tests run
    assert "would replace this interpreter's own d2lutils" in capsys.readouterr().out
