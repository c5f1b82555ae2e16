"""What SECURITY.md says of the code and no linter judges."""

from __future__ import annotations

import ast
from pathlib import Path

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
        and "weights_only=True" not in map(ast.unparse, node.keywords)
    ]


def test_torch_reads_weights_alone() -> None:
    """The default is another one before PyTorch 2.6."""
    found = {path: unpickling(path.read_text("utf-8")) for path in CODE}
    assert {path.name: lines for path, lines in found.items() if lines} == {}
    loads = [p for p in CODE if "torch.load(" in p.read_text("utf-8")]
    assert ROOT / "d2lutils" / "porting" / "files.py" in loads
    for planted in ("torch.load(path)", "f(torch.load(path, weights_only=flag))"):
        assert unpickling(f"x = 1\n{planted}") == [2]


def test_it_is_said_where_people_look() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    assert "private vulnerability reporting" in text
    assert "@" not in text, "no address that nobody has given"
