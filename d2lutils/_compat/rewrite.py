"""MXNet's sources, compiled as if for the Python and NumPy they were written for.

The changes are made to the syntax tree, never to text, so file names and line
numbers in tracebacks and ``inspect.getsource`` stay those of MXNet's own files.
"""

from __future__ import annotations

import ast
import copy
import re
import warnings
from collections.abc import Callable
from types import CodeType
from typing import Any

# Modules that MXNet's imports are pointed to.
_MODULES = {
    "numpy": "d2lutils._compat.numpy1",
    "distutils.version": "d2lutils._compat.versions",
}
_HELPERS = {
    "d2lutils._compat.text": ("as_str", "as_repr", "formatted", "modulo"),
    "d2lutils._compat.promotion": (
        *("add", "sub", "mul", "truediv", "floordiv", "power"),
        *("mod", "and_", "or_", "xor", "lshift", "rshift"),
        *("iadd", "isub", "imul", "itruediv", "ifloordiv", "ipower"),
        *("iand_", "ior_", "ixor", "equal", "not_equal"),
        *("as_float", "as_int", "as_scalars"),
    ),
    "d2lutils._compat.numpy1": (
        *("rebuilt", "fallback", "wrapping", "combined", "set_item", "item", "fill"),
    ),
    "d2lutils._compat.processes": ("context",),
}
_PREFIX = "_d2lutils_"
# What MXNet takes from ``multiprocessing`` that starts a process or belongs to one.
_STARTERS = {"Process", "Pool", "Queue", "SimpleQueue", "get_context", "Manager"}
_OPERATORS = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "truediv",
    ast.FloorDiv: "floordiv",
    ast.Pow: "power",
    ast.Mod: "modulo",
    ast.BitAnd: "and_",
    ast.BitOr: "or_",
    ast.BitXor: "xor",
    ast.LShift: "lshift",
    ast.RShift: "rshift",
}
# Functions of NumPy that make arrays, and refuse integers which do not fit.
_INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_STRICT = {*_INTEGERS, *("asarray", "ascontiguousarray", "full", "full_like", "arange")}
# Functions of NumPy in which Python's numbers have no type of their own, since NumPy 2.
_COMBINING = {"clip", "where", "minimum", "maximum", "fmin", "fmax", "power"}
_COMBINING |= {"add", "subtract", "multiply", "divide", "true_divide"}
# Stubs of operators that MXNet's build generated: long, and nothing to change in them.
_GENERATED = re.compile(r"/gen_\w+\.py$")


def needs_rewriting(path: str) -> bool:
    """Whether the module at ``path`` may hold something to change."""
    return _GENERATED.search(path.replace("\\", "/")) is None


def compile_module(source: bytes, path: str, *, numpy2: bool) -> CodeType:
    """Return the code of the module at ``path``.

    ``numpy2``: also render values and promote scalars as NumPy 1 did.
    """
    with warnings.catch_warnings():
        # Invalid escapes in MXNet's docstrings. Natively nobody sees these
        # warnings either, because pip compiles in silence.
        warnings.simplefilter("ignore")
        tree = ast.parse(source, path)
        rewriter = _Rewriter(numpy2)
        rewriter.visit(tree)
        if rewriter.used:
            place = _prologue(tree)
            tree.body[place:place] = _import_helpers(rewriter.used)
        return compile(tree, path, "exec", dont_inherit=True)


def _prologue(tree: ast.Module) -> int:
    """How many statements must stay first: the docstring and future imports."""
    count = int(ast.get_docstring(tree, clean=False) is not None)
    for node in tree.body[count:]:
        if not isinstance(node, ast.ImportFrom) or node.module != "__future__":
            break
        count += 1
    return count


def _import_helpers(used: set[str]) -> list[ast.stmt]:
    imports: list[ast.stmt] = []
    for module, names in _HELPERS.items():
        aliases = [ast.alias(name, _PREFIX + name) for name in names if name in used]
        if aliases:
            node = ast.ImportFrom(module, aliases, 0)
            node.lineno, node.col_offset = 1, 0
            imports.append(ast.fix_missing_locations(node))
    return imports


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not isinstance(node.value, (str, bytes))


def _is_super(node: ast.expr) -> bool:
    """Whether ``node`` is ``super(...)``, whose methods are not its own."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "super"
    )


def _is_sequence(node: ast.expr) -> bool:
    """Whether ``node`` is a string, list or tuple, which no number is added to."""
    kinds = (ast.List, ast.Tuple, ast.ListComp, ast.JoinedStr)
    constant = isinstance(node, ast.Constant) and not _is_number(node)
    return constant or isinstance(node, kinds)


def _as_value(key: ast.expr) -> ast.expr:
    """Return what stands in brackets as an argument: ``slice(1, None)`` for ``1:``."""
    if isinstance(key, ast.Tuple):
        key.elts = [_as_value(item) for item in key.elts]
    elif isinstance(key, ast.Slice):
        parts = (
            part or ast.Constant(None) for part in (key.lower, key.upper, key.step)
        )
        call = ast.Call(ast.Name("slice", ast.Load()), list(parts), [])
        return ast.fix_missing_locations(ast.copy_location(call, key))
    return key


class _Rewriter:
    """Changes a tree in place. ast.NodeTransformer takes twice the time."""

    def __init__(self, numpy2: bool) -> None:
        self.used: set[str] = set()
        self._numpy2 = numpy2
        self._handlers: dict[type[ast.AST], Callable[[Any], ast.AST]] = {
            ast.Import: self._import,
            ast.ImportFrom: self._import_from,
            ast.Attribute: self._attribute,
            ast.Call: self._call,
            ast.FunctionDef: self._function,
        }
        if numpy2:
            self._handlers[ast.BinOp] = self._bin_op
            self._handlers[ast.Compare] = self._compare
            self._handlers[ast.FormattedValue] = self._formatted_value
            self._handlers[ast.AugAssign] = self._aug_assign
            self._handlers[ast.Assign] = self._assign

    def visit(self, node: ast.AST) -> ast.AST:
        """Change what is below ``node``; return what replaces ``node`` itself."""
        kind = type(node)
        if kind is ast.Name or kind is ast.Constant:
            return node
        for field in node._fields:
            value = getattr(node, field, None)
            if type(value) is list:
                value[:] = [
                    self.visit(item) if isinstance(item, ast.AST) else item
                    for item in value
                ]
            elif isinstance(value, ast.AST):
                changed = self.visit(value)
                if changed is not value:
                    setattr(node, field, changed)
        handler = self._handlers.get(kind)
        return node if handler is None else handler(node)

    def _name(self, helper: str, where: ast.expr) -> ast.Name:
        self.used.add(helper)
        return ast.copy_location(ast.Name(_PREFIX + helper, ast.Load()), where)

    def _wrapped(self, helper: str, *args: ast.expr) -> ast.Call:
        call = ast.Call(self._name(helper, args[0]), list(args), [])
        return ast.copy_location(call, args[0])

    def _import(self, node: ast.Import) -> ast.Import:
        """``import numpy [as np]``."""
        for alias in node.names:
            if alias.name in _MODULES:
                alias.asname = alias.asname or alias.name
                alias.name = _MODULES[alias.name]
        return node

    def _import_from(self, node: ast.ImportFrom) -> ast.ImportFrom:
        """``from distutils.version import ...``."""
        if node.level == 0 and node.module in _MODULES:
            node.module = _MODULES[node.module]
        return node

    def _attribute(self, node: ast.Attribute) -> ast.Attribute:
        """Old places of names, and ``multiprocessing.Pool``, which starts processes."""
        owner = node.value
        if isinstance(owner, ast.Name) and owner.id == "multiprocessing":
            if node.attr in _STARTERS:
                context = self._name("context", owner)
                node.value = ast.copy_location(ast.Call(context, [], []), owner)
        elif node.attr == "tostring":  # of an array, until NumPy 2.3
            node.attr = "tobytes"
        elif (
            node.attr == "csr_matrix"
            and isinstance(owner, ast.Attribute)
            and owner.attr == "csr"
        ):
            node.value = owner.value  # scipy.sparse.csr.csr_matrix, until SciPy 2
        return node

    def _function(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """``mxnet.base.c_array(ctype, values)``, which hands the values to ctypes."""
        if node.name == "c_array":
            values = node.args.args[1].arg
            name = ast.copy_location(ast.Name(values, ast.Load()), node)
            target = ast.copy_location(ast.Name(values, ast.Store()), node)
            assign = ast.Assign([target], self._wrapped("as_scalars", name))
            node.body.insert(1, ast.copy_location(assign, node))  # after the docstring
        return node

    def _call(self, node: ast.Call) -> ast.Call:
        """The calls that make text, and ``x.__class__(items)``."""
        function = node.func
        if isinstance(function, ast.Attribute):
            if function.attr == "__class__" and node.args:
                # Results that were tuples are named tuples since NumPy 1.25.
                node.func = self._name("rebuilt", function)
                node.args.insert(0, function)
            elif function.attr == "format" and self._numpy2:
                node.func = self._name("formatted", function)
                node.args.insert(0, function.value)
            elif not self._numpy2:
                pass
            elif function.attr == "fill":
                node.func = self._name("fill", function)
                node.args.insert(0, function.value)
            elif function.attr in _STRICT | _COMBINING and isinstance(
                function.value, ast.Name
            ):
                if function.value.id in ("np", "_np", "onp", "numpy"):
                    strict = function.attr in _STRICT
                    helper = "wrapping" if strict else "combined"
                    node.func = self._name(helper, function)
                    node.args.insert(0, function)
            elif (
                function.attr == "__repr__"
                and self._numpy2
                and not node.args
                and not _is_super(function.value)
            ):
                node.func = self._name("as_repr", function)
                node.args.append(function.value)
        elif isinstance(function, ast.Name):
            if function.id == "onp_op":  # in mxnet.numpy.ndarray.__array_ufunc__
                node.func = self._name("fallback", function)
                node.args.insert(0, function)
            elif function.id in ("float", "int"):
                node.func = self._name("as_" + function.id, function)
            elif not self._numpy2:
                pass
            elif function.id == "pow" and len(node.args) == 2:
                node.func = self._name("power", function)
            elif function.id in ("str", "repr"):
                node.func = self._name("as_" + function.id, function)
            elif function.id == "map" and isinstance(node.args[0], ast.Name):
                if node.args[0].id in ("str", "repr"):
                    node.args[0] = self._name("as_" + node.args[0].id, node.args[0])
            elif function.id == "print":
                node.args = [
                    arg
                    if isinstance(arg, (ast.Constant, ast.Starred))
                    else self._wrapped("as_str", arg)
                    for arg in node.args
                ]
        return node

    def _bin_op(self, node: ast.BinOp) -> ast.expr:
        """``"..." % x`` and the arithmetic operators."""
        helper = _OPERATORS.get(type(node.op))
        if helper is None:
            return node
        sides = (node.left, node.right)
        plain = all(map(_is_number, sides))
        if helper == "modulo" and any(map(_is_number, sides)):
            helper = "mod"  # no value becomes text otherwise than it did
        if helper != "modulo":
            plain = plain or any(map(_is_sequence, sides))
        return node if plain else self._wrapped(helper, *sides)

    def _compare(self, node: ast.Compare) -> ast.expr:
        """``size == ()``, which is an empty array where ``size`` is a scalar."""
        helper = {ast.Eq: "equal", ast.NotEq: "not_equal"}.get(type(node.ops[0]))
        other = node.comparators[0]
        if helper and isinstance(other, (ast.Tuple, ast.List)) and not other.elts:
            return self._wrapped(helper, node.left, other)
        return node

    def _assign(self, node: ast.Assign) -> ast.stmt:
        """``x[key] = value``."""
        target = node.targets[0]
        if len(node.targets) > 1 or not isinstance(target, ast.Subscript):
            return node
        if isinstance(target.slice, ast.Constant) and not _is_number(target.slice):
            return node  # a dictionary's item
        key = _as_value(target.slice)
        call = self._wrapped("set_item", node.value, target.value, key)
        return ast.copy_location(ast.Expr(call), node)

    def _aug_assign(self, node: ast.AugAssign) -> ast.stmt:
        """``x += y``, ``self.x += y`` and ``x[key] += y``."""
        helper = "i" + _OPERATORS.get(type(node.op), "")
        target = node.target
        if helper not in _HELPERS["d2lutils._compat.promotion"] or _is_sequence(
            node.value
        ):
            return node
        if isinstance(target, ast.Subscript):
            item = self._wrapped("item", target.value, _as_value(target.slice))
            change = ast.copy_location(
                ast.Attribute(item, "change", ast.Load()), target
            )
            call = ast.Call(change, [self._name(helper, target), node.value], [])
            call = ast.copy_location(call, target)
            return ast.copy_location(ast.Expr(call), node)
        owner: ast.expr = target
        while isinstance(owner, ast.Attribute):
            owner = owner.value
        if not isinstance(owner, ast.Name):
            return node
        current = copy.copy(target)
        current.ctx = ast.Load()
        value = self._wrapped(helper, current, node.value)
        return ast.copy_location(ast.Assign([target], value), node)

    def _formatted_value(self, node: ast.FormattedValue) -> ast.FormattedValue:
        """``f"{x}"``, ``f"{x!s}"`` and ``f"{x!r}"``."""
        if node.conversion == ord("r"):
            node.value = self._wrapped("as_repr", node.value)
        elif node.conversion == ord("s") or node.format_spec is None:
            node.value = self._wrapped("as_str", node.value)
        else:
            return node
        node.conversion = -1
        return node
