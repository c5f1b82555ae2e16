"""The source of a function's body, for tables that show the code that ran."""

from __future__ import annotations

import ast
import copy
import functools
import linecache
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["markdown", "spelling"]


def spelling(function: Callable[..., Any]) -> list[str]:
    """The lines of a function's body, without the function around it.

    Raises:
        ValueError: several functions begin on the same line.
    """
    code = function.__code__
    lines = linecache.getlines(code.co_filename)
    functions = _functions("".join(lines))
    on_line = [node for node in functions if _first(node) == code.co_firstlineno]
    # Functions nested in another one on the same line do not count.
    inner = {id(part) for node in on_line for part in ast.walk(node) if part != node}
    found = [node for node in on_line if id(node) not in inner]
    if len(found) != 1:
        raise ValueError(
            f"spelling: line {code.co_firstlineno} of "
            f"{Path(code.co_filename).name} must hold one function, got {len(found)}"
        )
    node = ast.increment_lineno(copy.deepcopy(found[0]), 1 - found[0].lineno)
    source = "".join(lines[found[0].lineno - 1 : found[0].end_lineno])
    if isinstance(node, ast.Lambda):
        return [_joined(source, node.body)]
    body = node.body[1:] if ast.get_docstring(node) else node.body
    shown = [line for part in body for line in _lines(source, part)]
    return [*shown[:-1], shown[-1].removeprefix("return ")]


def _first(node: ast.Lambda | ast.FunctionDef) -> int:
    """A function's first line, including decorators."""
    decorators = getattr(node, "decorator_list", [])
    return min(part.lineno for part in (node, *decorators))


@functools.lru_cache
def _functions(source: str) -> list[ast.Lambda | ast.FunctionDef]:
    """All functions in a file."""
    nodes = ast.walk(ast.parse(source))
    return [node for node in nodes if isinstance(node, (ast.Lambda, ast.FunctionDef))]


def _lines(source: str, node: ast.stmt) -> list[str]:
    """A statement's source, with each simple statement in it on one line."""
    body = getattr(node, "body", None)
    if body is None:
        return [_joined(source, node)]
    marks = [f"@{_joined(source, d)}" for d in getattr(node, "decorator_list", [])]
    if isinstance(node, ast.FunctionDef):
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None  # shorter for the reader
        head = f"def {node.name}({ast.unparse(node.args)}):"
    else:
        # The decorators of its first statement are not part of the head.
        heads = source.splitlines()[node.lineno - 1 : body[0].lineno - 1]
        head = " ".join(line.strip() for line in heads if line.strip()[:1] != "@")
    within = [line for part in body for line in _lines(source, part)]
    return [*marks, head, *(f"    {line}" for line in within)]


def _joined(source: str, node: ast.AST) -> str:
    """A node's source on one line."""
    text = ast.get_source_segment(source, node) or ""
    text = " ".join(part.strip() for part in text.splitlines())
    # Remove spaces and trailing commas inside brackets that spanned several lines.
    return re.sub(r"([(\[{]) ", r"\1", re.sub(r",? ([)\]}])", r"\1", text))


def markdown(function: Callable[..., Any]) -> str:
    """A spelling for a cell of a Markdown table, line by line."""
    lines = [line.replace("|", "\\|") for line in spelling(function)]
    return "<br>".join(f"`{line}`" for line in lines)
