"""The tool behind ``make test-matrix``: its legs, and the versions that it promises."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import tomllib

from d2lutils import doctor

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools import environments, matrix  # noqa: E402
from tools.matrix import Leg  # noqa: E402

LEGS = list(matrix.legs())
NAMES = [leg.name for leg in LEGS]


def test_the_oldest_pytorch_is_the_same_everywhere() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    page = (ROOT / "book" / "setup.md").read_text(encoding="utf-8")
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    stated = {
        "pyproject.toml": extras["pytorch"],
        "requirements.txt": re.findall(r"^torch.*", requirements, re.MULTILINE),
        "book/setup.md": [
            f"torch>={version}"
            for version in re.findall(r"PyTorch,? (\d+\.\d+) or newer", page)
        ],
        "book/setup.md, what was run": [
            f"torch>={version}"
            for version in re.findall(r"with PyTorch (\d+\.\d+)\.$", page, re.MULTILINE)
        ],
        "the doctor": [doctor.PYTORCH.strip('"')],
    }
    oldest = f"torch>={matrix.oldest_torch().removesuffix('.0')}"
    assert stated == {place: [oldest] for place in stated}


def test_both_versions_of_pytorch_are_run() -> None:
    torch = {(leg.python, leg.torch) for leg in LEGS if leg.torch}
    assert {torch for _, torch in torch} == {
        matrix.oldest_torch(),
        *map(matrix.locked_torch, environments.VERSIONS),
    }
    assert {python for python, _ in torch} == set(environments.VERSIONS)


def test_every_python_is_run_with_every_numpy() -> None:
    bridge = [(leg.python, leg.numpy) for leg in LEGS if not leg.torch]
    assert set(bridge) == {(p, n) for p, all_ in matrix.NUMPY.items() for n in all_}
    assert set(matrix.NUMPY) == set(environments.VERSIONS)


def test_names_are_different_and_choose_one_leg() -> None:
    assert len(set(NAMES)) == len({leg.folder for leg in LEGS}) == len(LEGS)
    for name in NAMES:
        assert [leg.name for leg in LEGS if leg.chosen([name])] == [name]


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        ([], ".*"),
        (["3.12"], r"3\.12-.*"),
        (["3.10", "3.13"], r"3\.1[03]-.*"),
        (["torch"], ".*-torch.*"),
        (["torch2.8"], r".*-torch2\.8"),
        (["bridge"], ".*-numpy.*"),
        (["setuptools"], ".*-setuptools"),
    ],
)
def test_words_choose_legs(words: list[str], pattern: str) -> None:
    expected = [name for name in NAMES if re.fullmatch(pattern, name)]
    assert [leg.name for leg in LEGS if leg.chosen(words)] == expected
    assert expected


def test_a_word_that_chooses_none_is_red(capsys: pytest.CaptureFixture[str]) -> None:
    assert matrix.main(["3.9"]) == 1
    assert "no leg is called 3.9" in capsys.readouterr().out


def test_the_list_runs_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(Leg, "row")
    assert matrix.main(["--list"]) == 0
    assert capsys.readouterr().out.split() == NAMES


def test_no_interpreter_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "interpreters", dict)
    assert matrix.main(["3.12"]) == 1


@pytest.mark.parametrize("well", [True, False])
def test_one_red_leg_makes_the_whole_red(
    well: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And what is large is removed, unless it shall be kept."""
    monkeypatch.setattr(environments, "interpreters", lambda: {"3.12": "python"})
    monkeypatch.setattr(matrix, "FOLDER", tmp_path)
    monkeypatch.setattr(environments, "megabytes", lambda _: matrix.LARGE_MB + 1)

    def row(leg: Leg, interpreter: str, quick: bool) -> tuple[list[str], bool]:
        assert (interpreter, quick) == ("python", True)
        leg.folder.mkdir()
        return [leg.name, "cell"], well or leg.name != "3.12-torch2.8"

    monkeypatch.setattr(Leg, "row", row)
    assert matrix.main(["3.12", "--quick"]) == (0 if well else 1)
    assert "| 3.12-torch2.8 | cell |" in capsys.readouterr().out
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"py{leg.name}" for leg in LEGS if leg.chosen(["3.12"])} - {
        f"py{leg.name}" for leg in LEGS if leg.torch
    }
    for name in left:
        (tmp_path / name).rmdir()
    matrix.main(["3.12-torch2.8", "--quick", "--keep"])
    assert [path.name for path in tmp_path.iterdir()] == ["py3.12-torch2.8"]


@pytest.mark.parametrize(
    ("code", "counts", "options", "cell"),
    [
        (0, (5, 0, 0), {}, "5 passed"),
        (0, (5, 0, 2), {}, "5 passed, 2 skipped"),
        (0, (5, 0, 2), {"skips": False}, "**too few**, 1 are expected: 5 passed, 2 s"),
        (0, (5, 0, 2), {"least": 6}, "**too few**, 6 are expected: 5 passed, 2 skippe"),
        (0, (0, 0, 9), {}, "**too few**"),
        (1, (5, 3, 0), {}, "**3 failed**, 5 passed"),
        (2, (0, 0, 0), {}, "**no tests ran**, 0 passed"),
    ],
)
def test_what_a_run_of_tests_comes_to(
    code: int,
    counts: tuple[int, int, int],
    options: dict[str, Any],
    cell: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(matrix, "FOLDER", tmp_path)
    monkeypatch.setattr(matrix.stages, "counts", lambda _: counts)
    ran = CompletedProcess([], code, stdout="lines\nno tests ran\n", stderr="why")
    monkeypatch.setattr(matrix, "run", lambda *_: ran)
    text, well = Leg("3.12", "", "2.13.0").pytest("tests", **options)
    assert text.startswith(cell)
    assert well == ("**" not in cell)
    Leg("3.12", "", "2.13.0").pytest("tests", path="mxnet")
    for name in ("3.12-torch2.13", "3.12-torch2.13-with-mxnet"):
        log = (tmp_path / f"{name}.log").read_text()
        assert log == "lines\nno tests ran\nwhy"


def test_an_environment_is_made_once_for_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str]) -> CompletedProcess[str]:
        commands.append(command)
        (tmp_path / "some").mkdir(exist_ok=True)
        failed = "no-such-package" in command
        return CompletedProcess(command, int(failed), "", "first\nnot found\n")

    monkeypatch.setattr(environments, "run", run)
    place, step = tmp_path / "some", (*environments.PIP, "numpy")
    for _ in range(2):
        assert environments.build(place, "python3", step) is None
    python = str(environments.python_in(place))
    expected = [["python3", "-m", "venv", str(place)], [python, *step]]
    assert commands == expected
    (place / "stale").touch()
    assert environments.build(place, "python3", step, also="a new lock") is None
    assert commands == [*expected, *expected]
    assert not (place / "stale").exists()
    bad = ("-m", "pip", "install", "no-such-package")
    for _ in range(2):  # and a broken one is never taken for a whole one
        assert environments.build(place, "python3", bad) == "not found"


@pytest.mark.parametrize(
    ("platform", "end"), [("linux", "bin/python"), ("win32", "Scripts/python.exe")]
)
def test_the_interpreter_of_an_environment(
    platform: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert environments.python_in(Path("some")).as_posix() == f"some/{end}"


def test_this_interpreter_is_found() -> None:
    found = environments.interpreters()
    version = ".".join(map(str, sys.version_info[:2]))
    assert version in found
    assert all(re.fullmatch(r"3\.1[0-5]", name) for name in found)


def test_tests_of_tools_are_left_out_and_no_others() -> None:
    names = {path.stem for path in matrix.about_tools()}
    assert {"test_matrix", "test_tools", "test_stages"} <= names
    assert not names & {"test_shapes", "test_training", "test_show", "test_imports"}


def test_the_pythons_are_the_same_everywhere() -> None:
    """Makefile, metadata, set-up page, README, doctor and workflows name one range."""
    text = {
        name: (ROOT / name).read_text(encoding="utf-8")
        for name in (
            *("Makefile", "pyproject.toml", "README.md", "book/setup.md"),
            *(f".github/workflows/{name}.yml" for name in ("matrix", "weekly")),
        )
    }
    all_, newest = list(environments.VERSIONS), environments.VERSIONS[-1]
    book = all_[1:]  # the package runs on one more than the book
    assert (
        tuple(tuple(map(int, version.split("."))) for version in (all_[0], newest))
        == doctor.TESTED
    )
    assert re.findall(r"Python :: (3\.\d+)", text["pyproject.toml"]) == all_
    assert f"for v in {' '.join(book)};" in text["Makefile"]
    assert f"Python {book[0]} to {newest}" in text["Makefile"]
    assert f"With Python {book[0]} to {newest}," in text["README.md"]
    assert f"Python {all_[0]}–{newest}" in text["README.md"]
    assert f"you need Python {book[0]} to {newest}" in text["book/setup.md"]
    legs = re.findall(r"python: (\[.*\])", text[".github/workflows/matrix.yml"])
    assert legs == [str(all_).replace("'", '"')]
    assert f'python-version: "{newest}"' in text[".github/workflows/weekly.yml"]
