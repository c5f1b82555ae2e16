"""What a pair's call is made of, and how it is run.

A call is one line of Python, such as `nin_block(2, 8, 3, padding=1)(x)`. It is read
into a tree, and the tree is walked here, by the few kinds of nodes that the list
needs: nothing is handed to `eval`. This is a small language for the package's own
list. It is no sandbox, and nothing else should be run through it.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

__all__ = ["parts", "run"]

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
    ast.Pow: operator.pow,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.NotEq: operator.ne,
}
_BUILTINS = {"len": len, "list": list}


def run(call: str, names: dict[str, Any]) -> Any:
    """The value of a call.

    Args:
        call: an expression of names, constants, tuples, attributes without a leading
            underscore, items, calls, negative numbers, `+ * ** > >= !=`, and lists
            made by one `for`.
        names: what the names in it stand for, besides `len` and `list`.

    Raises:
        ValueError: anything else stands in it.
        NameError: a name that stands for nothing.
    """
    try:
        tree = ast.parse(call, mode="eval")
    except SyntaxError as error:
        raise ValueError(f"run: {call!r} is no expression: {error.msg}") from None
    return _value(tree.body, _BUILTINS | names)


def parts(call: str) -> tuple[str, str]:
    """A block's call in two: what makes the block, and what calls it.

    The first is "" where a function is called, not a block.
    """
    tree = ast.parse(call, mode="eval").body
    if not (isinstance(tree, ast.Call) and isinstance(tree.func, ast.Call)):
        return "", call
    made = ast.unparse(tree.func)
    tree.func = ast.Name("block", ast.Load())
    return made, ast.unparse(tree)


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    """The value of a node whose names are known."""

    def of(inner: ast.expr) -> Any:
        return _value(inner, names)

    match node:
        case ast.Constant(value):
            return value
        case ast.Name(name):
            if name not in names:
                raise NameError(f"name {name!r} is not defined")
            return names[name]
        case ast.Tuple(items):
            return tuple(map(of, items))
        case ast.Attribute(owner, name) if not name.startswith("_"):
            return getattr(of(owner), name)
        case ast.Subscript(owner, index):
            return of(owner)[of(index)]
        case ast.UnaryOp(ast.USub(), operand):
            return -of(operand)
        case ast.BinOp(left, sign, right) | ast.Compare(left, [sign], [right]) if (
            type(sign) in _OPERATORS
        ):
            return _OPERATORS[type(sign)](of(left), of(right))
        # No `**` among the arguments, and none twice.
        case ast.Call(function, arguments, keywords) if len(
            {k.arg for k in keywords} - {None}
        ) == len(keywords):
            called, given = of(function), map(of, arguments)
            return called(*given, **{k.arg: of(k.value) for k in keywords if k.arg})
        case ast.ListComp(item, [ast.comprehension(ast.Name(name), many, tests, 0)]):
            each = (names | {name: element} for element in of(many))
            return [_value(item, n) for n in each if all(_value(t, n) for t in tests)]
    raise ValueError(f"run: a call may not hold {ast.unparse(node)!r}")
