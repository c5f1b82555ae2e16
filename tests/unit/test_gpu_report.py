"""The GPU report, on the CPU: each part, its verdicts, and that no part ends it."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from halves import PYTORCH
from torch._subclasses import FakeTensorMode

from d2lutils import gpu_report
from d2lutils._compat import cuda11
from d2lutils.gpu_report import agreement, cells, child, gluon, nets, speed
from d2lutils.pytorch import condconv

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
Parts = dict[str, Callable[..., dict[str, Any]]]


def options(**more: Any) -> Namespace:
    return Namespace(budget=480.0, **more)


# -- the command -----------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_one_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_report.main([]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert "no NVIDIA card" in output.err
    assert "--device cpu" in output.err
    assert gpu_report.main(["--device", "tpu"]) == 2


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--device", "cpu", "--store"], "--store is for all parts on a card"),
        (["--parts", "parity,magic"], "no such part: magic"),
    ],
)
def test_refused(
    argv: list[str], words: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # restored, because the command sets it
    with pytest.raises(SystemExit):
        gpu_report.main(argv)
    assert words in capsys.readouterr().err


def failing(*_: Any) -> dict[str, Any]:
    raise RuntimeError(f"a kernel failed in {Path.home()}/somewhere/file.py")


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command in an empty folder with other parts; status and report."""
    monkeypatch.chdir(tmp_path)
    # Restored afterwards, because the command sets them.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")

    def run(parts: Parts, *more: str) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr(gpu_report, "PARTS", parts)
        names = ",".join(parts)
        status = gpu_report.main(["--device", "cpu", "--parts", names, *more])
        return status, json.loads((tmp_path / "gpu-report.json").read_text("utf-8"))

    return run


def test_a_part_that_fails_does_not_end_the_report(written: Any, capsys: Any) -> None:
    case = {"case": "a", "base": "b", "rows": []}
    good = {"summary": "well", "cases": [case]}
    parts: Parts = {"first": failing, "second": lambda *_: dict(good)}
    status, found = written(parts)
    assert status == 1
    assert found["parts"]["first"]["failed"] == (
        "RuntimeError: a kernel failed in file.py"
    )
    assert found["parts"]["second"]["summary"] == "well"
    assert found["cases"] == [case]
    assert found["machine"]["device"] == "CPU"
    assert {"numpy", "torch"} <= set(found["machine"]["versions"])
    assert len(found["date"]) == 10
    text = json.dumps(found)
    for place in (Path.home(), ROOT, Path(sys.prefix), Path(sys.executable).parent):
        assert str(place) == "/" or f"{place}/" not in text
    output = capsys.readouterr().out
    assert "first     failed" in output
    assert output.splitlines()[-1].endswith("failed: first")
    assert written({"second": parts["second"]})[0] == 0


def test_a_part_after_the_budget_is_skipped(written: Any) -> None:
    status, found = written({"first": failing}, "--budget", "0")
    assert status == 0
    assert found["parts"]["first"]["skipped"] == "the budget of 0 s was used up"


def test_red_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    line = gpu_report._line("speed", {"failed": "why", "seconds": 1.0})
    assert line.startswith(gpu_report.RED)
    assert "why" in line


def test_the_pages_say_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lists

    assert lists.GpuReport.data == gpu_report.STORED.relative_to(ROOT).as_posix()
    monkeypatch.setattr(lists, "ROOT", tmp_path)
    assert lists.GpuReport.markdown() == ["**No card has run it yet.**"]
    machine = {"device": "H1", "capability": "9.0", "driver": "5", "cuda": "13"}
    machine |= {"versions": {"torch": "3"}}  # type: ignore[dict-item]
    parts = {
        "speed": {"seconds": 3.2, "summary": "quick"},
        "gluon": {"seconds": 1, "failed": "no"},
    }
    path = tmp_path / lists.GpuReport.data
    path.parent.mkdir(parents=True)
    found = {"date": "2030-01-02", "machine": machine, "parts": parts}
    path.write_text(json.dumps(found))
    assert lists.GpuReport.markdown() == [
        "On one H1 (compute capability 9.0, driver 5, CUDA 13, PyTorch 3), 2030-01-02:",
        "",
        "- speed, 3 s: quick",
        "- gluon, 1 s: **failed**: no",
    ]


# -- parity ----------------------------------------------------------------------------


def test_every_public_block_is_compared() -> None:
    modules = ("blocks", "residual", "shortcuts", "padded_sums", "stochastic_depth")
    modules += ("pyramidnet", "nin", "condconv", "squeeze_excite", "weightnet")
    names = {
        name
        for module in (*modules, "resnet")
        for name in getattr(PYTORCH, module).__all__
        if not name.isupper()
    }
    compared = {block.name.partition(",")[0] for block in agreement.blocks()}
    assert names - compared == {"capabilities"}  # a table of what the ways can do
    assert {"vmapped", "add_zero_padded"} <= names


def test_blocks_on_the_cpu() -> None:
    some = ("ConvChunk", "CondConv2d, form='auto'", "StochasticDepth", "ConstantZeros")
    found = agreement.run(CPU, lambda name: name.startswith(some))
    assert "failed" not in found
    assert found["summary"].startswith("8 blocks, 7 with their equation")
    for row in found["blocks"].values():
        assert row.get("equation", 0) <= 1e-10
        assert row["float64"] == 0
        assert 0 <= row["float32"] == row["float32_floor"] < 1e-4


@pytest.mark.parametrize(
    ("off", "dtype", "words"),
    [
        (1e-9, torch.float64, "float64 differs by 1e-9"),
        (5e-4, torch.float32, "float32 differs by 0.0005"),
        (1e-9, torch.float32, ""),
    ],
)
def test_a_device_that_computes_something_else(
    off: float, dtype: torch.dtype, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last case is rounding; the one before is what TF32 would do."""
    passed, card = agreement._passed, torch.device("cpu", 0)

    def wrong(net: Any, arrays: Any, device: Any, kind: Any, autocast: Any = False):
        found = passed(net, arrays, device, kind, autocast)
        if device == card and kind is dtype:
            found["output"][""] = found["output"][""] * (1 + off)
        return found

    monkeypatch.setattr(agreement, "_passed", wrong)
    row = agreement.run(card, "nin_block".__eq__)["blocks"]["nin_block"]
    assert words in row.get("failed", "")
    assert ("failed" in row) == bool(words)


def test_a_wrong_equation_and_a_block_that_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = [
        agreement.Block("a", torch.nn.ReLU, [(2, 3)], lambda w, x: x.abs()),
        agreement.Block("b", torch.nn.ReLU, [np.zeros(2, "int32")]),
    ]
    monkeypatch.setattr(agreement, "blocks", lambda: made)
    found = agreement.run(CPU)
    assert "a: equation differs by" in found["failed"]
    assert "; b: RuntimeError" in found["failed"]


# -- speed -----------------------------------------------------------------------------


def test_cases_are_measured_and_one_fails(capsys: Any) -> None:
    size = (2, 4, 4, 5)
    made: list[Any] = [
        *speed._condconv([size], (True, False)),
        *speed._sums([(2, 3, 4, 5)]),
        failing,
    ]
    assert len(made) == 8 + 4 + 1
    found = speed._all_measured([made[2], made[6], made[9], failing], 60.0, 10**6)
    assert [case["case"] for case in found["cases"]] == [
        "CondConv, forward and backward, 2x4x4x5x5, float32, channels_last",
        "CondConv, forward and backward, 2x4x4x5x5, bfloat16, channels_last",
        "zero-padded sum, 2x(3→4)x5x5, float32, channels_last",
    ]
    for case in found["cases"]:
        rows = {row["name"]: row for row in case["rows"]}
        assert speed.PLAIN in rows
        assert rows[case["base"]]["ratio"] == 1
        assert all(row["runs"] >= 3 for row in rows.values())
    assert found["failed"] == "RuntimeError: a kernel failed in file.py"
    assert "ratio to: plain convolution" in capsys.readouterr().out
    late = speed._all_measured([failing], -1.0, 1)
    assert late == {"cases": [], "not_measured": "1 cases, for want of time"}


def test_public_layers_without_the_rest_of_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = tmp_path / "timm" / "layers"
    layers.mkdir(parents=True)
    (tmp_path / "timm" / "__init__.py").write_text("import nothing_like_this")
    (layers / "__init__.py").write_text("import nothing_like_this")
    (layers / "drop.py").write_text(
        "import torch\n"
        "class DropPath(torch.nn.Module):\n"
        "    def __init__(self, p):\n"
        "        super().__init__()\n"
        "    def forward(self, x):\n"
        "        return 2 * x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [n for n in sys.modules if n.partition(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    assert speed.public("timm.layers.cond_conv2d", "CondConv2d") is None
    assert speed.public("no_such_package.x", "y") is None
    drop = speed.public_depths()["timm's DropPath (row)"]
    ours = SimpleNamespace(branch=abs, extra=0, add=lambda y, i, extra: y + i)
    assert speed._Public(ours, drop(0.5))(torch.tensor(-3.0), 1) == 7
    assert "timm" not in sys.modules


def case(name: str, **ms: float) -> dict[str, Any]:
    names = {"timm": speed.TIMM, "plain": speed.PLAIN}
    rows = [{"name": names.get(n, n), "ms": value} for n, value in ms.items()]
    return {"case": f"CondConv, forward and backward, {name}", "rows": rows}


CASES = [
    case("64x64x64x56x56, float32", auto=3, folded=3, unfolded=2, timm=4, plain=1),
    case("8x64x64x16x16, float32", auto=3, folded=3, unfolded=4, timm=2, plain=1),
    case("64x64x64x56x56, bfloat16", auto=3, folded=1.5, unfolded=2, timm=3, plain=1),
    case("64x64x64x56x56, float32, channels_last", auto=1, folded=1, unfolded=9),
]


def test_what_is_said_of_condconv() -> None:
    said = speed.verdicts(CASES[:3])
    assert "at most 1.50 of timm's" in said[0]
    assert "8x64x64x16x16, float32" in said[0]
    assert "1.50 of a plain convolution, the aim is 1.20" in said[1]


def test_compiled_or_why_not(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def broken(net: Any) -> Any:
        if isinstance(net, torch.nn.Conv2d):
            raise RuntimeError("no C++ compiler")
        return net

    def made(batch: int) -> Any:
        yield "a", lambda: torch.nn.Conv2d(2, 2, 1), (2, 3)
        yield "b", lambda: torch.nn.BatchNorm2d(2), (2, 3)

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr(speed, "_compiled", made)
    found = speed.run_compiled(CPU, 60.0)
    assert found["not"] == {"a": "RuntimeError: no C++ compiler"}
    assert len(found["cases"]) == 1
    assert "1 of 2 blocks compiled" in found["summary"]
    assert "failed" not in found


# -- CondConv on a GPU -----------------------------------------------------------------


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A layer made where the report of a card is stored."""
    rows = {"condconv": speed.chosen(CASES)}
    assert [row["size"] for row in rows["condconv"]] == [
        *([64, 64, 64, 56], [8, 64, 64, 16], [64, 64, 64, 56])
    ]
    monkeypatch.setattr(condconv, "stored", lambda suite: rows)
    condconv._measured.cache_clear()
    yield condconv.Experts2d(64, 64, 3, padding=1)
    condconv._measured.cache_clear()


def test_the_form_by_what_was_stored(layer: Any) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        big = torch.empty(32, 64, 56, 56, device="cuda")
        small = torch.empty(4, 64, 14, 14, device="cuda")
        assert layer._form(big) == "unfolded"
        assert layer._form(small) == "folded"
        assert layer._form(big.bfloat16()) == "folded"
        assert layer._form(big.half()) == "unfolded"  # as in the first dtype
        layer.form = "looped"
        assert layer._form(big) == "looped"
    layer.form = "auto"
    assert layer._form(torch.ones(32, 64, 56, 56)) == "folded"  # on a CPU, its rule
    # In a graph, too.
    known = layer.measured[torch.float32]

    def grown(x: torch.Tensor) -> torch.Tensor:
        size = (x.shape[0], 64, 64, 3136)
        return x + (condconv._nearest(known, size) == "unfolded")

    graph: Any = torch.compile(grown, backend="eager", fullgraph=True)
    assert graph(torch.zeros(64, 1)).max() == 1


def test_without_stored_results_the_cpus_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(suite: str) -> Any:
        raise ValueError("stored: …")

    monkeypatch.setattr(condconv, "stored", nothing)
    condconv._measured.cache_clear()
    layer = condconv.Experts2d(64, 512, 3)
    condconv._measured.cache_clear()
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert layer._form(torch.empty(2, 64, 7, 7, device="cuda")) == "unfolded"


# -- nets ------------------------------------------------------------------------------


def test_a_training_and_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nets, "SIZE", 67)
    monkeypatch.setattr(nets, "EPOCHS", 2)
    found = nets.train(CPU, 0.0)
    assert (found["steps"], found["batch"], len(found["loss"])) == (2, 8, 2)
    assert np.isfinite(found["loss"]).all()
    assert nets.memory(CPU)["ratio"] == 1


# -- chapters --------------------------------------------------------------------------


def notebook(path: Path, *sources: tuple[str, str]) -> Path:
    nb = nbformat.v4.new_notebook()
    for source, tag in sources:
        cell = nbformat.v4.new_code_cell(source)
        cell.metadata["tags"] = [tag] if tag else []
        nb.cells.append(cell)
    path.write_text(nbformat.writes(nb), encoding="utf-8")
    return path


def test_cells_of_one_chapter(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "own.ipynb",
        ("import sys\nif 'google.colab' in sys.modules:\n    !pip install x", ""),
        ("# Gluon\nfrom mxnet import nd\nkernels = nd.ones(3)", "gluon"),
        ("# PyTorch\nimport torch\nclass Own(torch.nn.Module):\n    pass", "pytorch"),
        ("import inspect\nassert 'class Own' in inspect.getsource(Own)", ""),
        ("shown = sum(kernels)\nshown", ""),
        ("print(shown)", ""),
        ("print(unknown)", ""),
        ("raise ValueError('as planned')", "pytorch"),
        ("class Seen:\n    def __repr__(self):\n        return 1 / 0\nSeen()", ""),
    )
    found = child.ask("cells", str(path), 60.0)
    ids = [cell["id"] for cell in nbformat.read(path, 4).cells]
    assert found["ran"] == [ids[0], ids[2], ids[3]]
    assert found["left_out"] == [ids[1]]
    assert found["needs_gluon"] == {ids[4]: "kernels", ids[5]: "shown"}
    assert found["failed"] == [
        f"{ids[6]}: NameError: name 'unknown' is not defined",
        f"{ids[7]}: ValueError: as planned",
        f"{ids[8]}: ZeroDivisionError: division by zero",
    ]


def test_one_chapter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shortest, in the report's words."""
    found = cells.chapters()
    assert len(found) == len(list((ROOT / "chapters").glob("*.ipynb")))
    monkeypatch.setattr(cells, "chapters", lambda: {"take_along": found["take_along"]})
    result = cells.run(100.0)
    assert "failed" not in result
    assert result["summary"].startswith("1 chapters, 6 cells ran, 0 need Gluon's")
    assert cells.run(-1.0)["not_run"] == ["take_along"]
    monkeypatch.setattr(cells, "chapters", dict)
    assert cells.run(1.0)["failed"] == "this installation has no chapters"


def test_how_a_child_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    found = child.ask("no_such_part", "x", 60.0)["failed"]
    assert found.startswith("it ended with exit status 1: ")
    assert found.endswith("No module named d2lutils.gpu_report.no_such_part")

    def late(*_: Any, **options: Any) -> Any:
        raise subprocess.TimeoutExpired("python", options["timeout"])

    monkeypatch.setattr(child.subprocess, "run", late)
    assert child.ask("cells", "x", 7.0)["failed"] == "no end within 7 s"
    found = cells.run(7.0)  # for want of time, which is no failure
    assert len(found["not_run"]) == len(cells.chapters())
    assert "failed" not in found
    assert "no end within 120 s" in cells.run(1e6)["failed"]


# -- Gluon -----------------------------------------------------------------------------


@pytest.mark.needs_mxnet
def test_gluon_on_the_cpu() -> None:
    found = gluon.run("cpu")
    assert "failed" not in found
    assert set(found["float64"].values()) == {0.0}
    assert found["loss"][-1] < found["loss"][0]
    assert "a kernel ran, 5 blocks" in found["summary"]


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (None, "no NVIDIA card answers"),
        ((9, 0), "the card has compute capability 9.0"),
        ((7, 5), "python -m d2lutils gpu-report --install-gluon"),
    ],
)
def test_why_gluon_does_not_run(
    card: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda11, "capability", lambda: card)
    monkeypatch.setattr(gluon.platform, "system", lambda: "Linux")
    monkeypatch.setattr(gluon.platform, "machine", lambda: "x86_64")
    asked: list[Any] = []
    monkeypatch.setattr(cuda11, "install", asked.append)
    monkeypatch.setattr(child, "ask", lambda *_: {"summary": "ran"})
    found = gluon.run("cuda")
    assert words in found["why_not"]
    assert asked == []
    monkeypatch.setattr(gluon.importlib.util, "find_spec", lambda name: None)
    assert gluon.run("cpu")["why_not"] == "MXNet is not installed"
    if card == (7, 5):
        assert gluon.run("cuda", install=True) == {"summary": "ran"}
        assert asked == [card]
