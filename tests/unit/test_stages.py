"""The tool behind ``make test``: two workers run and count what one would."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools import build  # noqa: E402
from tools import test as stages  # noqa: E402

# Three files, so that two workers have to share: 4 pass, 1 fails, 1 errs, 2 skip.
FILES = {
    "test_a.py": """
import pytest
@pytest.fixture(scope="module")
def made_once(): return []
def test_one(made_once): made_once.append(1)
def test_two(made_once): assert made_once == [1]
def test_wrong(): assert False
""",
    "test_b.py": """
import pytest
@pytest.fixture
def broken(): raise OSError
def test_err(broken): pass
@pytest.mark.skip
def test_skipped(): pass
def test_fine(): pass
""",
    "test_c.py": """
import os, pytest
def test_stored(): assert os.environ["D2L_STORED_OUTPUTS"] == "1"
def test_skipped(): pytest.skip("not here")
""",
}


@pytest.mark.parametrize("available", [1, 2])
def test_any_number_of_workers_counts_the_same(
    available: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(stages, "cores", lambda: available)
    # Where this test runs in a worker itself, what it starts is none of its kind.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    outcome = stages.run("some", [str(tmp_path), "-p", "no:cacheprovider"])
    assert (outcome.passed, outcome.failed, outcome.skipped) == (4, 2, 2)
    assert outcome.code == 1


def test_workers_are_two_at_most() -> None:
    assert stages.side_by_side(1) == stages.side_by_side(1, divide=True) == []
    for available in (2, 3, 64):
        assert stages.side_by_side(available) == ["-n", "2", "--dist", "loadfile"]
        divided = stages.side_by_side(available, divide=True)
        assert divided == ["-n", "2", "--dist", "loadgroup"]
    assert 1 <= stages.cores() <= (os.cpu_count() or 1)


def test_a_report_that_was_never_written_counts_nothing(tmp_path: Path) -> None:
    assert stages.counts(tmp_path / "report.xml") == (0, 0, 0)


def test_the_book_is_rendered_once_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("D2L_SITE", raising=False)
    monkeypatch.setattr(build, "build", lambda output: output / "html" / "index.html")
    assert stages.rendered(tmp_path) == {"D2L_SITE": str(tmp_path / "html")}

    def fails(output: Path) -> Path:
        raise RuntimeError("a page that warns")

    monkeypatch.setattr(build, "build", fails)
    assert stages.rendered(tmp_path) == {}
    assert "a page that warns" in capsys.readouterr().out
    monkeypatch.setenv("D2L_SITE", "rendered/already")
    assert stages.rendered(tmp_path) == {}
