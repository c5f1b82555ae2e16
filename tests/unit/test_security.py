"""What SECURITY.md says of the code and no linter judges."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = [
    path
    for folder in ("d2lutils", "book", "tools", "benchmarks", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def unpickling(source: str) -> list[int]:
    """The lines on which `torch.load` may run what a file says."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "torch.load"
        and not any(
            keyword.arg == "weights_only"
            and isinstance(keyword.value, ast.Constant)
            and keyword.value.value is True
            for keyword in node.keywords
        )
    ]


def test_torch_reads_weights_alone() -> None:
    """The default is another one before PyTorch 2.6."""
    found = {path: unpickling(path.read_text("utf-8")) for path in CODE}
    assert {path.name: lines for path, lines in found.items() if lines} == {}
    loads = [p for p in CODE if "torch.load(" in p.read_text("utf-8")]
    assert ROOT / "d2lutils" / "porting" / "files.py" in loads


@pytest.mark.parametrize(
    "call",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "net.load_state_dict(torch.load(path, map_location='cpu'))",
    ],
)
def test_another_call_is_found(call: str) -> None:
    assert unpickling(f"x = 1\n{call}") == [2]


def test_it_is_said_where_people_look() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    assert "private vulnerability reporting" in text
    assert "@" not in text, "no address that nobody has given"
