"""The text of a module: classes, constructors, forward passes with shape comments."""

from __future__ import annotations

import ast
import keyword
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from d2lutils.porting.convert import files, helpers
from d2lutils.porting.convert.rules import Layer
from d2lutils.porting.convert.steps import Program
from d2lutils.porting.convert.structure import Block, Chain, Item, Leaf, arrange, leaves

WIDTH = 88
# Arguments that everybody passes by position.
_POSITIONAL = {
    *("in_channels", "out_channels", "in_features", "out_features", "num_features"),
    *("num_embeddings", "embedding_dim", "input_size", "hidden_size", "output_size"),
    *("normalized_shape", "num_groups", "num_channels", "num_parameters", "p"),
}
# Activations that a forward pass writes as a function.
_FUNCTIONS = {
    **{"nn.ReLU": "F.relu({0})", "nn.ReLU6": "F.relu6({0})"},
    **{"nn.Sigmoid": "torch.sigmoid({0})", "nn.Tanh": "torch.tanh({0})"},
    **{"nn.Softplus": "F.softplus({0})", "nn.Softsign": "F.softsign({0})"},
    **{"nn.LogSigmoid": "F.logsigmoid({0})", "nn.Mish": "F.mish({0})"},
    **{"nn.GELU": "F.gelu({0})", "nn.SELU": "F.selu({0})"},
    **{"nn.Flatten": "{0}.flatten(1)", "nn.Softmax": "{0}.softmax({dim})"},
    **{"nn.LogSoftmax": "{0}.log_softmax({dim})"},
}
# What a block's argument is where nothing is said.
_DEFAULTS = {"stride": 1, "padding": 0, "groups": 1, "dilation": 1}
_WIDTHS = {"channels", "in_channels", "out_channels"}
_DEEPEST = 3  # calls inside each other on a line
_WEIGHING = ("nn.Conv", "nn.Linear", "nn.LSTM", "nn.GRU", "nn.RNN")


@dataclass
class Source:
    """The text and, for each tensor of the module, its values and MXNet's name."""

    name: str
    text: str
    tensors: dict[str, np.ndarray]
    variables: dict[str, str]


@dataclass
class _Class:
    """A class that blocks of the same structure share."""

    name: str
    instances: list[Block]
    # Arguments by name, and where numbers come from them: (step's place, argument).
    parameters: dict[str, list[Any]] = field(default_factory=dict)
    columns: dict[tuple[int, str], str] = field(default_factory=dict)


def write(program: Program, name: str, origin: str) -> Source:
    """The source of a module called `name` that computes a program."""
    return _Writer(program, name, origin).source()


class _Writer:
    def __init__(self, program: Program, name: str, origin: str) -> None:
        self.program, self.origin = program, origin
        self.items = arrange(program)
        self.taken = {"nn", "F", "torch", "json", "Path", "load", *helpers.SOURCES}
        self.name = self._class_name(name)
        self.classes = self._find_classes()
        self.tensors: dict[str, np.ndarray] = {}
        self.variables: dict[str, str] = {}

    def source(self) -> Source:
        """Everything, top to bottom."""
        net = self._net()
        blocks = [self._block_class(kind) for kind in self.classes.values()]
        used = {s.emission.helper for s in self.program.steps} - {""}
        parts = [helpers.SOURCES[name].strip() for name in sorted(used)]
        load = files.LOADER.format(name=self.name).strip()
        dtypes, load = load.split("\n\n\n")
        body = "\n\n\n".join([*parts, *blocks, net, load])
        imports = ["import json", "from pathlib import Path", "", "import torch"]
        if re.search(r"\bF\.", body):
            imports.append("import torch.nn.functional as F")
        imports += ["from torch import nn", "", dtypes]
        head = f'"""{self.origin}"""\n\n' + "\n".join(imports)
        text = f"{head}\n\n\n{body}\n"
        return Source(self.name, text, self.tensors, self.variables)

    # --- classes ----------------------------------------------------------------------

    def _class_name(self, wish: str) -> str:
        plain = re.sub(r"[^0-9A-Za-z]+", " ", wish).strip() or "Net"
        words = (word[0].upper() + word[1:] for word in plain.split())
        base = re.sub(r"^(?=\d)", "Net", "".join(words))
        name, i = base, 1
        while name in self.taken or keyword.iskeyword(name):
            i += 1
            name = f"{base}{i}"
        self.taken.add(name)
        return name

    def _find_classes(self) -> dict[Any, _Class]:
        found: dict[Any, list[Block]] = {}
        for block in _blocks(self.items):
            if block.signature is not None:
                found.setdefault(block.signature, []).append(block)
        classes = {}
        for sign, instances in found.items():
            name = self._class_name(self._kind_of(instances))
            classes[sign] = _Class(name, instances)
            self._abstract(classes[sign])
        return classes

    def _kind_of(self, instances: list[Block]) -> str:
        """What a class is called: by Gluon's name, else by what it does."""
        names = {re.sub(r"\d+$", "", block.name) for block in instances}
        steps = [self.program.steps[n] for n in instances[0].steps]
        layers = {re.sub(r"\d+$", "", step.name.split("_")[-1]) for step in steps}
        if len(names) == 1 and (only := names.pop()) not in {"", "stage", *layers}:
            return only
        texts = [step.emission.text for step in steps]
        inside = set(instances[0].steps)
        for step in steps:
            if step.emission.text in ("{0} + {1}", "{1} + {0}"):
                direct = any(i not in inside for i, _ in step.inputs)
                return "ResidualBlock" if direct else "ProjectionBlock"
        if any(text.startswith("torch.cat") for text in texts):
            return "ConcatBlock"
        kinds = [step.layer.kind[3:] for step in steps if step.layer is not None]
        short = [re.sub(r"\dd$", "", k).replace("BatchNorm", "BN") for k in kinds]
        return "".join(short) if 1 < len(short) <= 3 else "Block"

    def _abstract(self, kind: _Class) -> None:
        """Turn numbers that differ between the instances into arguments."""
        columns: dict[tuple[str, ...], list[tuple[int, str]]] = {}
        values: dict[tuple[str, ...], list[Any]] = {}
        for place in range(len(kind.instances[0].steps)):
            layers = [self._layer(block, place) for block in kind.instances]
            for argument in layers[0].arguments if layers[0] is not None else ():
                found = [layer.arguments[argument] for layer in layers if layer]
                key = tuple(map(repr, found))
                if len(set(key)) > 1:
                    columns.setdefault(key, []).append((place, argument))
                    values[key] = found
        wide = [p for p in range(len(kind.instances[0].steps)) if self._weighs(kind, p)]
        for key, places in columns.items():
            wish = _argument_name(places, wide)
            name = _unique(wish, set(kind.parameters))
            kind.parameters[name] = values[key]
            kind.columns |= dict.fromkeys(places, name)
        ordered = sorted(kind.parameters, key=_DEFAULTS.__contains__)
        kind.parameters = {name: kind.parameters[name] for name in ordered}

    def _weighs(self, kind: _Class, place: int) -> bool:
        layer = self._layer(kind.instances[0], place)
        return layer is not None and layer.kind.startswith(_WEIGHING)

    def _layer(self, block: Block, place: int) -> Layer | None:
        return self.program.steps[block.steps[place]].layer

    def _block_class(self, kind: _Class) -> str:
        block = kind.instances[0]
        places = {number: k for k, number in enumerate(block.steps)}
        lines, uses = [], self._modules_needed(block.steps)
        for number in block.steps:
            layer = self.program.steps[number].layer
            if layer is None or number not in uses:
                continue

            def value(argument: str, literal: Any, number: int = number) -> str:
                name = kind.columns.get((places[number], argument))
                return name or _literal(literal)

            lines += self._assign(f"self.{block.names[number]}", layer, value)
        names = {n: f"self.{name}" for n, name in block.names.items()}
        names = {n: name for n, name in names.items() if n in uses}
        forward = _Forward(self.program, block.steps, names, comments=False)
        types = {p: _type(v) for p, v in kind.parameters.items()}
        return _class(kind.name, types, lines, ["x"], forward.block())

    def _modules_needed(self, steps: Sequence[int]) -> set[int]:
        """Steps whose layer stands in the constructor."""
        return {
            n
            for n in steps
            if (layer := self.program.steps[n].layer) is not None
            and not (layer.kind in _FUNCTIONS and not layer.tensors)
        }

    # --- the net ----------------------------------------------------------------------

    def _net(self) -> str:
        used: set[str] = set()
        lines: list[str] = []
        calls: dict[int, str] = {}
        open_steps: list[int] = []
        named: dict[int, str] = {}
        for item in self.items:
            if isinstance(item, Block) and item.signature is None:
                open_steps += item.steps
                for n in sorted(self._modules_needed(item.steps)):
                    layer = self.program.steps[n].layer
                    assert layer is not None
                    named[n] = _unique(self.program.steps[n].name, used)
                    lines += self._assign(f"self.{named[n]}", layer)
                    self._store(named[n], layer)
            elif isinstance(item, Leaf):
                if item.step in self._modules_needed([item.step]):
                    layer = self.program.steps[item.step].layer
                    assert layer is not None
                    named[item.step] = _unique(item.name, used)
                    lines += self._assign(f"self.{named[item.step]}", layer)
                    self._store(named[item.step], layer)
                open_steps.append(item.step)
            else:
                wish = item.name or f"block{len(calls)}"
                name = _unique(wish, used)
                lines += self._made_item(f"self.{name} = ", item, name, "")
                calls[leaves(item)[-1]] = name
        names = {n: f"self.{name}" for n, name in named.items()}
        forward = _Forward(
            self.program,
            [n for item in self.items for n in leaves(item)],
            names,
            comments=True,
            modules=[
                (leaves(i), f"self.{calls[leaves(i)[-1]]}")
                for i in self.items
                if leaves(i)[-1] in calls
            ],
        )
        single = len(self.program.inputs) == 1
        arguments = (
            ["x"]
            if single
            else [_unique(_identifier(n), used) for n in self.program.inputs]
        )
        start = {(-1 - i, 0): name for i, name in enumerate(arguments)}
        frozen = [
            f"self.{path}.requires_grad_(False)  # {note}"
            for path, note in self._frozen()
        ]
        return _class(self.name, {}, lines + frozen, arguments, forward.lines(start))

    def _frozen(self) -> Iterator[tuple[str, str]]:
        for item in self.items:
            for n in leaves(item):
                layer = self.program.steps[n].layer
                for name in layer.frozen if layer is not None else ():
                    assert layer is not None
                    variable = layer.variables[name]
                    path = next(p for p, v in self.variables.items() if v == variable)
                    yield re.sub(r"\.(\d+)(?=\.)", r"[\1]", path), layer.note

    def _made_item(self, start: str, item: Item, path: str, end: str) -> list[str]:
        """The lines that make a submodule; its tensors are stored below `path`."""
        if isinstance(item, Leaf):
            layer = self.program.steps[item.step].layer
            assert layer is not None
            self._store(path, layer)
            return _wrapped(f"{start}{_made(layer)}{end}")
        if isinstance(item, Block):
            kind = self.classes[item.signature]
            for n, name in item.names.items():
                layer = self.program.steps[n].layer
                if layer is not None:
                    self._store(f"{path}.{name}", layer)
            at = next(i for i, block in enumerate(kind.instances) if block is item)
            given = _given({p: v[at] for p, v in kind.parameters.items()})
            return _wrapped(f"{start}{kind.name}({given}){end}")
        lines = [f"{start}nn.Sequential("]
        shape: Any = None
        parts: list[tuple[list[str], str]] = []
        for i, part in enumerate(item.items):
            made = self._made_item("", part, f"{path}.{i}", ",")
            now = self.program.steps[leaves(part)[-1]].shapes[0]
            told = now == shape or isinstance(part, Chain)
            parts.append((made, "" if told else f"  # {_shape(now)}"))
            shape = now
        for made, comment in _with_loops(parts):
            if len(made[-1]) + len(comment) + 12 > WIDTH:
                comment = ""
            lines += [f"    {line}" for line in [*made[:-1], made[-1] + comment]]
        return [*lines, f"){end}"]

    def _store(self, path: str, layer: Layer) -> None:
        for name, values in layer.tensors.items():
            full = f"{path}.{name}" if name else path
            self.tensors[full], self.variables[full] = values, layer.variables[name]

    def _assign(
        self,
        target: str,
        layer: Layer,
        value: Callable[[str, Any], str] | None = None,
    ) -> list[str]:
        if layer.kind == "buffer":
            made = f'"{target.removeprefix("self.")}", {layer.arguments["value"]}'
            return _wrapped(f"self.register_buffer({made}, persistent=False)")
        return _wrapped(f"{target} = {_made(layer, value)}")


def _blocks(items: Sequence[Item]) -> Iterator[Block]:
    for item in items:
        if isinstance(item, Block):
            yield item
        elif isinstance(item, Chain):
            yield from _blocks(item.items)


# --- forward passes -------------------------------------------------------------------


Entry = tuple[int, int]  # the number of a step, and which of its outputs
_OUTSIDE: Entry = (-(10**9), 0)  # whatever comes into a block


class _Forward:
    """Writes a forward pass: one line for what belongs together.

    Args:
        steps: the numbers of the steps, in order.
        names: how the layers among them are called, as ``self.conv0``.
        modules: submodules as (numbers of their steps, how they are called).
        comments: write a shape behind a line that changes it.
    """

    def __init__(
        self,
        program: Program,
        steps: Sequence[int],
        names: dict[int, str],
        *,
        comments: bool,
        modules: Sequence[tuple[list[int], str]] = (),
    ) -> None:
        self.program, self.names, self.comments = program, names, comments
        self.modules = {numbers[-1]: (numbers, name) for numbers, name in modules}
        hidden = {n for numbers, _ in modules for n in numbers[:-1]}
        self.visible = [n for n in steps if n not in hidden]
        self.inputs = {n: self._inputs(n) for n in self.visible}
        self.heads = program.heads
        self.shape: Sequence[int] = next(iter(program.inputs.values()), ())
        self.values: dict[Entry, str] = {}  # the variable that holds a value
        self.folded: dict[Entry, str] = {}  # an expression written where it is read
        self.depth: Counter[Entry] = Counter()

    def block(self) -> list[str]:
        """The lines of a block, whose one input is called x."""
        inside = set(self.visible)
        self.inputs = {
            n: [e if e[0] in inside else _OUTSIDE for e in found]
            for n, found in self.inputs.items()
        }
        self.heads = [(self.visible[-1], 0)]
        return self.lines({_OUTSIDE: "x"})

    def lines(self, start: dict[Entry, str]) -> list[str]:
        """The lines; `start` names the values that come in."""
        self.values = dict(start)
        uses = Counter(e for found in self.inputs.values() for e in found)
        uses.update(self.heads)
        found: list[str] = []
        for n in self.visible:
            line = self._line(n)
            if self.heads == [(n, 0)] and n == self.visible[-1]:
                found.append(f"return {line}")
                break
            if uses[n, 0] == 1 and self._folds(n, line):
                self.folded[n, 0] = line
                self.depth[n, 0] = self._level(n)
            else:
                found.append(self._assignment(n, line))
        else:
            found.append(f"return {', '.join(map(self._value, self.heads))}")
        return [part for one in found for part in _wrapped(one)]

    def _line(self, n: int) -> str:
        given = [
            f"({self.folded[e]})" if e in self.folded else self._value(e)
            for e in self.inputs[n]
        ]
        return _tidy(self._text(n).format(*given, **self._settings(n)))

    def _value(self, entry: Entry) -> str:
        return self.folded.get(entry) or self.values[entry]

    def _level(self, n: int) -> int:
        return 1 + max((self.depth[e] for e in self.inputs[n]), default=0)

    def _assignment(self, n: int, line: str) -> str:
        """``y = line``, in the variable of a value that nothing reads any more."""
        targets = []
        dying = [self.values[e] for e in self._read(n) if self._dies(e, n)]
        for k in range(len(self.program.steps[n].shapes)):
            name = dying.pop(0) if dying else self._free()
            self.values = {e: v for e, v in self.values.items() if v != name}
            self.values[n, k] = name
            targets.append(name)
        comment, shape = "", self.program.steps[n].shapes[0]
        if self.comments and shape != self.shape:
            self.shape, comment = shape, f"  # {_shape(shape)}"
        return f"{', '.join(targets)} = {line}{comment}"

    def _free(self) -> str:
        taken = set(self.values.values())
        names = (*"yzuvw", *(f"y{i}" for i in range(2, len(taken) + 9)))
        return next(name for name in names if name not in taken)

    def _read(self, n: int) -> list[Entry]:
        """The named values that a line reads, those of folded steps included."""
        found: list[Entry] = []
        for entry in self.inputs[n]:
            inner = self._read(entry[0]) if entry in self.folded else [entry]
            found += [e for e in inner if e not in found]
        return found

    def _dies(self, entry: Entry, n: int) -> bool:
        """Whether nothing after step n reads a value."""
        after = self.visible[self.visible.index(n) + 1 :]
        return entry not in self.heads and all(
            entry not in self._read(later) for later in after
        )

    def _inputs(self, n: int) -> list[tuple[int, int]]:
        if n in self.modules:
            first = set(self.modules[n][0])
            return [
                e
                for m in self.modules[n][0]
                for e in self.program.steps[m].inputs
                if e[0] not in first
            ][:1]
        return self.program.steps[n].inputs

    def _text(self, n: int) -> str:
        if n in self.modules:
            return f"{self.modules[n][1]}({{0}})"
        step = self.program.steps[n]
        layer = step.layer
        if layer is None:
            return step.emission.text
        if n in self.names:
            return step.emission.text.replace("{layer}", self.names[n])
        function = _FUNCTIONS[layer.kind]
        inner = re.search(r"\{layer\}\((.*)\)$", step.emission.text)
        inside = inner[1] if inner else "{0}"
        simple = re.fullmatch(r"\{\d\}", inside)
        return function.replace("{0}", inside if simple else f"({inside})")

    def _settings(self, n: int) -> dict[str, str]:
        layer = self.program.steps[n].layer
        given = layer.arguments if layer is not None else {}
        return {name: _literal(value) for name, value in given.items()}

    def _folds(self, n: int, line: str) -> bool:
        """Whether a value is written inside the line that reads it, the next one."""
        at, entry = self.visible.index(n) + 1, (n, 0)
        if at >= len(self.visible) or entry in self.heads or n in self.modules:
            return False
        if len(self.program.steps[n].shapes) > 1:
            return False
        reader = self.visible[at]
        layer = self.program.steps[reader].layer
        # A layer with weights begins a line.
        weighs = layer is not None and layer.kind.startswith(_WEIGHING)
        if weighs or reader in self.modules or entry not in self.inputs[reader]:
            return False
        place = self.inputs[reader].index(entry)
        once = self._text(reader).count(f"{{{place}}}") == 1
        return once and self._level(n) < _DEEPEST and len(line) <= 60


# --- text -----------------------------------------------------------------------------


def _identifier(name: str) -> str:
    plain = re.sub(r"\W", "_", name, flags=re.ASCII) or "_"
    plain = re.sub(r"^(?=\d)", "_", plain)
    return f"{plain}_" if keyword.iskeyword(plain) else plain


_RESERVED = {"x", "self", *dir(__import__("torch").nn.Module())}


def _unique(wish: str, used: set[str]) -> str:
    name, i = _identifier(wish), 1
    while name in used or name in _RESERVED:
        i += 1
        name = f"{_identifier(wish)}_{i}"
    used.add(name)
    return name


def _given(values: Mapping[str, Any]) -> str:
    """The arguments of a block: widths by position, the others by name."""
    parts: list[str] = []
    plain = True
    for name, value in values.items():
        plain = plain and len(parts) < 2 and name in _WIDTHS
        if name not in _DEFAULTS or value != _DEFAULTS[name]:
            parts.append(_literal(value) if plain else f"{name}={_literal(value)}")
    return ", ".join(parts)


def _argument_name(places: list[tuple[int, str]], wide: list[int]) -> str:
    """What to call a number that serves as these arguments of layers.

    Args:
        places: (step of the block, argument of its layer).
        wide: the steps that have weights.
    """
    arguments = [argument for _, argument in places]
    channels = {"in_channels", "out_channels", "num_features", "groups"}
    if arguments[0] == "groups" or not channels & {*arguments}:
        return arguments[0]
    comes_in = bool(wide) and (wide[0], "in_channels") in places
    goes_out = bool(wide) and (wide[-1], "out_channels") in places
    if comes_in:
        return "channels" if goes_out else "in_channels"
    inner = len(wide) > 1 and not goes_out and "num_features" not in arguments[:1]
    return "hidden_channels" if inner else "channels" if not wide else "out_channels"


def _literal(value: Any) -> str:
    text = repr(value)
    return text.replace("'", '"') if isinstance(value, str) else text


def _type(values: Sequence[Any]) -> str:
    kinds = {type(v).__name__ for v in values}
    if "tuple" in kinds:
        return "int | tuple[int, ...]" if "int" in kinds else "tuple[int, ...]"
    return "float" if kinds == {"int", "float"} else kinds.pop()


def _made(layer: Layer, value: Callable[[str, Any], str] | None = None) -> str:
    """The expression that makes a layer."""
    value = value or (lambda _, literal: _literal(literal))
    if layer.kind == "nn.Parameter":
        return f"nn.Parameter(torch.empty({value('shape', layer.arguments['shape'])}))"
    given = []
    for name, literal in layer.arguments.items():
        text = value(name, literal)
        plain = text == _literal(literal)
        if plain and name in layer.defaults and literal == layer.defaults[name]:
            continue
        given.append(text if name in _POSITIONAL else f"{name}={text}")
    return f"{layer.kind}({', '.join(given)})"


def _with_loops(parts: list[tuple[list[str], str]]) -> list[tuple[list[str], str]]:
    """The same expression three times or more in a row, as a loop."""
    found: list[tuple[list[str], str]] = []
    i = 0
    while i < len(parts):
        made = parts[i][0]
        count = 1
        while i + count < len(parts) and parts[i + count][0] == made:
            count += 1
        if count > 2 and len(made) == 1:
            loop = f"*[{made[0].removesuffix(',')} for _ in range({count})],"
            found.append(([loop], parts[i][1]))
        else:
            found += parts[i : i + count]
        i += count
    return found


def _shape(shape: Sequence[int]) -> str:
    return (
        f"({', '.join(['N', *map(str, shape[1:])])})" if len(shape) > 1 else str(shape)
    )


def _tidy(text: str) -> str:
    """An expression with the parentheses it needs, in the spelling of ruff."""
    plain = ast.unparse(ast.parse(text, mode="eval")).replace("'", '"')
    return re.sub(r"(?<![\w)\]] )\b([\w.]+) \*\* ([\w.]+)", r"\1**\2", plain)


def _wrapped(line: str, indent: int = 8) -> list[str]:
    """A line as it is, or with the arguments of its outermost call on their own."""
    code, mark, comment = line.partition("  #")
    if indent + len(line) <= WIDTH:
        return [line]
    if mark and indent + len(code) > WIDTH - 4:
        return [f"{mark.strip()}{comment}", *_wrapped(code, indent)]
    if mark:
        return [f"{mark.strip()}{comment}", code]
    at = code.find("(")
    if at < 0 or not code.endswith(")"):
        return [code]
    inside = _split(code[at + 1 : -1])
    joined = ", ".join(inside)
    if indent + 4 + len(joined) <= WIDTH:
        return [code[: at + 1], f"    {joined}", ")"]
    lines = [code[: at + 1]]
    for part in inside:
        wrapped = _wrapped(f"{part},", indent + 4)
        if len(wrapped) == 1 and indent + 4 + len(wrapped[0]) > WIDTH:
            pieces = _wrapped(part, indent + 4)
            wrapped = [*pieces[:-1], f"{pieces[-1]},"]
        lines += [f"    {one}" for one in wrapped]
    return [*lines, ")"]


def _split(text: str) -> list[str]:
    """The arguments of a call, at the commas outside all brackets."""
    parts, level, start = [], 0, 0
    for i, sign in enumerate(text):
        level += (sign in "([{") - (sign in ")]}")
        if sign == "," and level == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    return [*parts, text[start:].strip()]


def _class(
    name: str,
    parameters: dict[str, str],
    constructor: list[str],
    arguments: list[str],
    forward: list[str],
) -> str:
    """The text of a module's class."""
    if not constructor:
        return _with_forward([f"class {name}(nn.Module):"], arguments, forward)
    told = {p: f" = {_DEFAULTS[p]}" for p in parameters if p in _DEFAULTS}
    parameters = {p: kind + told.get(p, "") for p, kind in parameters.items()}
    given = "".join(f", {p}: {kind}" for p, kind in parameters.items())
    head = [f"    def __init__(self{given}) -> None:"]
    if len(head[0]) > WIDTH:
        inside = ", ".join(["self", *(f"{p}: {k}" for p, k in parameters.items())])
        head = ["    def __init__("]
        if 8 + len(inside) <= WIDTH:
            head.append(f"        {inside}")
        else:
            head += [f"        {part}," for part in inside.split(", ")]
        head.append("    ) -> None:")
    lines = [f"class {name}(nn.Module):", *head, "        super().__init__()"]
    lines += [f"        {line}" for line in constructor]
    return _with_forward(lines, arguments, forward)


def _with_forward(lines: list[str], arguments: list[str], forward: list[str]) -> str:
    given = ", ".join(f"{name}: torch.Tensor" for name in arguments)
    several = len(_split(forward[-1].removeprefix("return "))) > 1
    result = "tuple[torch.Tensor, ...]" if several else "torch.Tensor"
    head = f"    def forward(self, {given}) -> {result}:"
    if len(head) <= WIDTH:
        lines += ["", head]
    else:
        lines += ["", "    def forward("]
        inside = f"self, {given}"
        if 8 + len(inside) <= WIDTH:
            lines.append(f"        {inside}")
        else:
            lines += [f"        {part}," for part in inside.split(", ")]
        lines.append(f"    ) -> {result}:")
    return "\n".join([*lines, *(f"        {line}" for line in forward)])
