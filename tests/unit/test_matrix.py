"""The environments of `noxfile.py`, and the versions that it and others promise."""

from __future__ import annotations

import re
from pathlib import Path

import tomllib

import noxfile
from d2lutils import doctor

ROOT = Path(__file__).resolve().parents[2]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_python_is_run_with_every_numpy_and_pytorch() -> None:
    bridge = [leg.args for leg in noxfile.bridge_legs()]
    assert {(python, numpy) for python, numpy, _ in bridge} == {
        (python, numpy) for python, all_ in noxfile.NUMPY.items() for numpy in all_
    }
    torch = [leg.args for leg in noxfile.torch_legs()]
    assert {leg[2] for leg in torch} == {
        noxfile.oldest_torch(),
        *map(noxfile.locked_torch, noxfile.PYTHONS),
    }
    assert {leg[0] for leg in torch} == set(noxfile.PYTHONS)
    # With the oldest and with the newest, the chapters run as well.
    assert sum(leg[3] for leg in torch) == 2


def test_each_leg_can_be_chosen_alone() -> None:
    legs = [*noxfile.bridge_legs(), *noxfile.torch_legs()]
    names = [leg.id for leg in legs]
    assert len(set(names)) == len(names)
    for leg in legs:
        assert [other.id for other in legs if leg.id in other.tags] == [leg.id]
        assert {"matrix", leg.args[0]} < set(leg.tags)


def test_tests_of_tools_are_left_out_and_no_others() -> None:
    names = {Path(path).stem for path in noxfile.tests_of_tools()}
    assert {"test_matrix", "test_tools", "test_stages"} <= names
    assert not names & {"test_shapes", "test_training", "test_show", "test_imports"}


def test_the_oldest_pytorch_is_the_same_everywhere() -> None:
    extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    page, requirements = read("book/setup.md"), read("requirements.txt")
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
    oldest = f"torch>={noxfile.oldest_torch().removesuffix('.0')}"
    assert stated == {place: [oldest] for place in stated}


def test_the_pythons_are_the_same_everywhere() -> None:
    """Makefile, metadata, set-up page, README, doctor and workflows name one range."""
    all_, newest = list(noxfile.PYTHONS), noxfile.PYTHONS[-1]
    book = all_[1:]  # the package runs on one more than the book
    ends = tuple(tuple(map(int, version.split("."))) for version in (all_[0], newest))
    assert ends == doctor.TESTED
    assert re.findall(r"Python :: (3\.\d+)", read("pyproject.toml")) == all_
    assert f"for v in {' '.join(book)};" in read("Makefile")
    assert f"Python {book[0]} to {newest}" in read("Makefile")
    assert f"With Python {book[0]} to {newest}," in read("README.md")
    assert f"Python {all_[0]}–{newest}" in read("README.md")
    assert f"you need Python {book[0]} to {newest}" in read("book/setup.md")
    legs = re.findall(r"python: (\[.*\])", read(".github/workflows/matrix.yml"))
    assert legs == [str(all_).replace("'", '"')]
    assert f'python-version: "{newest}"' in read(".github/workflows/weekly.yml")
