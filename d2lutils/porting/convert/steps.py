"""From a graph and its parameters to steps: each an operator as PyTorch spells it.

Each step is tried on PyTorch's meta device, which computes shapes alone, so rules know
the shapes of their inputs and an operator that does not fit is named at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from d2lutils.porting.convert import helpers
from d2lutils.porting.convert.graph import ConversionError, Graph, Node
from d2lutils.porting.convert.rules import RULES, Call, Emission, Layer

#: Operators whose inputs after the first are parameters.
WITH_PARAMETERS = {
    *("Convolution", "Deconvolution", "FullyConnected", "BatchNorm", "Embedding"),
    *("InstanceNorm", "LayerNorm", "GroupNorm"),
}
#: Sizes tried along each axis of space where nobody says which the net takes.
_GUESSES = (224, 32, 28, 299, 64, 96, 112, 128, 256, 300, 512, 48, 16, 8)


@dataclass
class Step:
    """An operator: its spelling and where its inputs come from.

    An input is (number of a step, which of its outputs), or (-1 - i, 0) for the net's
    input i. `shapes` are those of its outputs.
    """

    name: str
    op: str
    emission: Emission
    inputs: list[tuple[int, int]]
    shapes: list[tuple[int, ...]]
    node: str = ""

    @property
    def layer(self) -> Layer | None:
        """The module that it needs."""
        return self.emission.layer


@dataclass
class Program:
    """Everything a net computes, in order, and what it was made from."""

    inputs: dict[str, tuple[int, ...]]
    steps: list[Step] = field(default_factory=list)
    heads: list[tuple[int, int]] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    guessed: bool = False
    ignored: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """What the report says about single operators."""
        found = [
            f"{step.op} `{step.node}` {step.emission.note}"
            for step in self.steps
            if step.emission.note
        ]
        return [*found, *self.ignored]


def plain_names(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Parameters without the prefixes ``arg:`` and ``aux:``; two alike are an error."""
    found: dict[str, np.ndarray] = {}
    for name, value in params.items():
        plain = re.sub(r"^(arg|aux):", "", name)
        if plain in found:
            raise ConversionError(f"params holds {plain!r} twice, as arg and as aux")
        found[plain] = np.asarray(value)
    return found


def convert(
    graph: Graph,
    params: Mapping[str, np.ndarray],
    inputs: Mapping[str, Sequence[int]] | None = None,
) -> Program:
    """The steps of a graph; without `inputs` their shapes are guessed.

    Raises:
        ConversionError: operators without a rule (all of them, with their attributes),
            parameters that are missing or of another shape, an input of no known shape.
    """
    values = plain_names(params)
    needed = _needed(graph)
    _check_rules([graph.nodes[i] for i in needed])
    builder = _Builder(graph, values, needed)
    if inputs is not None:
        return builder.run({k: tuple(int(n) for n in v) for k, v in inputs.items()})
    error: ConversionError | None = None
    for shapes in builder.guesses():
        try:
            program = builder.run(shapes)
        except ConversionError as failure:
            error = error or failure
        else:
            program.guessed = True
            return program
    assert error is not None
    raise error


def _needed(graph: Graph) -> list[int]:
    """The nodes that the outputs depend on, in order."""
    seen, waiting = set[int](), [i for i, _ in graph.heads]
    while waiting:
        i = waiting.pop()
        if i not in seen:
            seen.add(i)
            waiting += [j for j, _ in graph.nodes[i].inputs]
    return sorted(seen)


def _check_rules(nodes: list[Node]) -> None:
    missing: dict[str, list[Node]] = {}
    for node in nodes:
        if not node.is_variable and node.op not in RULES:
            missing.setdefault(node.op, []).append(node)
    if not missing:
        return
    lines = [
        f"  {op}, {len(found)} times, first {found[0].name!r} with {found[0].attrs}"
        for op, found in missing.items()
    ]
    raise ConversionError(
        "no rule for these operators:\n" + "\n".join(lines) + "\nA rule is a function "
        'registered with @convert.rule("name"); see d2lutils.porting.convert.rules'
    )


class _Builder:
    """Goes through the nodes in order and emits a step for each operator."""

    def __init__(
        self, graph: Graph, values: dict[str, np.ndarray], needed: list[int]
    ) -> None:
        self.graph, self.values, self.needed = graph, values, needed
        nodes = graph.nodes
        self.variables = [nodes[i] for i in needed if nodes[i].is_variable]
        self.free = [n for n in self.variables if n.name not in values]

    def guesses(self) -> list[dict[str, tuple[int, ...]]]:
        """Shapes to try for the inputs, from what reads them."""
        parameters = self._missing()
        found = {v.name: self._guess(v) for v in self.free if v.name not in parameters}
        longest = max((len(shapes) for shapes in found.values()), default=1)
        return [
            {name: s[min(i, len(s) - 1)] for name, s in found.items() if s}
            for i in range(longest)
        ]

    def _missing(self) -> set[str]:
        """Free variables that only serve where a layer has its parameters."""
        served: dict[str, bool] = {}
        for i in self.needed:
            node = self.graph.nodes[i]
            for place, (j, _) in enumerate(node.inputs):
                name = self.graph.nodes[j].name
                inner = place > 0 and node.op in WITH_PARAMETERS
                served[name] = served.get(name, True) and inner
        return {v.name for v in self.free if served.get(v.name)}

    def _guess(self, variable: Node) -> list[tuple[int, ...]]:
        nodes = self.graph.nodes
        told = variable.attrs.get("__shape__", "")
        if re.fullmatch(r"[(\[][\d, ]+[)\]]", told):
            shape = tuple(int(n) for n in re.findall(r"\d+", told))
            if min(shape) > 0:
                return [shape]
        place = next(i for i, node in enumerate(nodes) if node is variable)
        waiting, seen = [place], {place}
        while waiting:  # the first layer with a weight that the input comes to
            current = waiting.pop(0)
            for i in self.needed:
                node = nodes[i]
                if i in seen or not any(j == current for j, _ in node.inputs):
                    continue
                weight = self._weight(node)
                if weight is not None and node.op in ("Convolution", "FullyConnected"):
                    return self._shapes_for(node, weight)
                if node.op in ("RNN", "Embedding"):
                    return [(5, 1, 8)] if node.op == "RNN" else [(1, 5)]
                seen.add(i)
                waiting.append(i)
        return [(1, 3, n, n) for n in _GUESSES]

    def _weight(self, node: Node) -> np.ndarray | None:
        if len(node.inputs) < 2:
            return None
        return self._packed(node.inputs[1][0])[1]

    def _shapes_for(self, node: Node, weight: np.ndarray) -> list[tuple[int, ...]]:
        if node.op == "FullyConnected":
            wide = int(np.prod(weight.shape[1:]))
            return [(1, wide), *((1, wide, n, n) for n in _GUESSES)]
        space = weight.ndim - 2
        groups = int(node.attrs.get("num_group", "1") or 1)
        if node.attrs.get("layout", "").endswith("C"):
            return [(1, *(n,) * space, weight.shape[-1] * groups) for n in _GUESSES]
        return [(1, weight.shape[1] * groups, *(n,) * space) for n in _GUESSES]

    def run(self, shapes: dict[str, tuple[int, ...]]) -> Program:
        """The program for inputs of these shapes."""
        unknown = sorted(set(shapes) - {n.name for n in self.free})
        if unknown:
            names = ", ".join(n.name for n in self.free) or "none"
            raise ConversionError(
                f"inputs: no input is called {unknown}; there are: {names}"
            )
        self.program = Program(inputs={})
        self.places: dict[tuple[int, int], tuple[int, int]] = {}
        self.tensors: dict[tuple[int, int], torch.Tensor] = {}
        self.shapes, self.lacking = shapes, list[str]()
        self.reserved = {"self", "x", "forward", "training"}
        self.used: set[str] = set()
        for i in self.needed:
            node = self.graph.nodes[i]
            if not node.is_variable:
                self._operator(i, node)
        if self.lacking:
            raise ConversionError(
                "neither params nor inputs has: "
                + ", ".join(dict.fromkeys(self.lacking))
            )
        self.program.heads = [self._value(i, k) for i, k in self.graph.heads]
        _drop_dead(self.program)
        used = {
            v for s in self.program.steps if s.layer for v in s.layer.variables.values()
        }
        self.program.unused = sorted(set(self.values) - used)
        return self.program

    def _value(self, i: int, k: int) -> tuple[int, int]:
        """Where the value of a node's output comes from; a variable becomes one now."""
        if (i, k) in self.places:
            return self.places[i, k]
        node = self.graph.nodes[i]
        if not node.is_variable:
            raise ConversionError(f"{node.op} {node.name!r} has no output {k}")
        if node.name in self.values:
            return self._parameter(i, node)
        if node.name not in self.shapes:
            self.lacking.append(node.name)
            self.tensors[i, k] = torch.empty(1, device="meta")
            return (-1, 0)
        number = -1 - len(self.program.inputs)
        self.program.inputs[node.name] = self.shapes[node.name]
        self.tensors[i, k] = torch.empty(self.shapes[node.name], device="meta")
        self.places[i, k] = (number, 0)
        return self.places[i, k]

    def _parameter(self, i: int, node: Node) -> tuple[int, int]:
        """A parameter that no layer owns: a step without inputs."""
        value = self.values[node.name]
        layer = Layer("nn.Parameter", {"shape": value.shape})
        layer.tensors, layer.variables = {"": value}, {"": node.name}
        self._add(i, node, Emission("{layer}", layer, inputs=[]), [])
        return self.places[i, 0]

    def _operator(self, i: int, node: Node) -> None:
        shapes, variables, values, producers = [], [], [], []
        for j, k in node.inputs:
            other = self.graph.nodes[j]
            producers.append(other.op)
            name, value = self._packed(j)
            variables.append(name)
            values.append(value)
            if (j, k) in self.tensors:
                shapes.append(tuple(self.tensors[j, k].shape))
            elif values[-1] is not None:
                shapes.append(values[-1].shape)
            else:
                shapes.append(self.shapes.get(other.name, ()))
        call = Call(node, shapes, variables, values, producers)
        try:
            emission = RULES[node.op](call)
        except ConversionError:
            if self._lacks(node, values):
                return
            raise
        except (ArithmeticError, IndexError, KeyError, TypeError, ValueError) as error:
            if self._lacks(node, values):
                return
            given = ", ".join(map(str, shapes))
            raise ConversionError(
                f"{node.op} {node.name!r} with {node.attrs} does not fit its inputs "
                f"{given}: {error}"
            ) from None
        if call.unread:
            said = f"{node.op} `{node.name}`: its rule does not look at {call.unread}"
            self.program.ignored.append(said)
        chosen = range(len(node.inputs)) if emission.inputs is None else emission.inputs
        inputs = [node.inputs[c] for c in chosen]
        if emission.flatten:
            flat = Emission("{layer}({0})", Layer("nn.Flatten", {}))
            self._add(i, Node(f"{node.name}_flatten", "Flatten", {}), flat, inputs[:1])
            inputs = [(i, 0), *inputs[1:]]
        self._add(i, node, emission, inputs)

    def _packed(self, i: int) -> tuple[str, np.ndarray | None]:
        """(name, values) of a parameter, or of several that Gluon joins for an RNN."""
        node = self.graph.nodes[i]
        if node.is_variable:
            return node.name, self.values.get(node.name)
        if node.op == "_mul_scalar" and float(node.attrs.get("scalar", "1")) == 1:
            return self._packed(node.inputs[0][0])  # a copy for MXNet's sake
        if node.op not in ("_rnn_param_concat", "Reshape"):
            return "", None
        parts = [self._packed(j) for j, _ in node.inputs]
        arrays = [value.reshape(-1) for _, value in parts if value is not None]
        if len(arrays) < len(parts):
            return "", None
        return "\n".join(name for name, _ in parts), np.concatenate(arrays)

    def _lacks(self, node: Node, values: list[np.ndarray | None]) -> bool:
        """Whether parameters that this operator needs are missing; remembers them."""
        names = [
            self.graph.nodes[j].name
            for (j, _), value in zip(node.inputs[1:], values[1:], strict=True)
            if self.graph.nodes[j].is_variable and value is None
        ]
        names = [n for n in names if n not in self.shapes]
        self.lacking += names
        if names:
            self.tensors[self.graph.nodes.index(node), 0] = torch.empty(
                1, device="meta"
            )
            self.places[self.graph.nodes.index(node), 0] = (-1, 0)
        return bool(names)

    def _add(
        self, i: int, node: Node, emission: Emission, inputs: list[tuple[int, int]]
    ) -> None:
        places = [self._value(j, k) for j, k in inputs]
        arrays = [self.tensors[j, k] for j, k in inputs]
        if self.lacking:
            outputs = [torch.empty(1, device="meta")] * emission.outputs
        else:
            outputs = self._try(node, emission, arrays)
        step = Step(
            self._name(node.name),
            node.op,
            emission,
            places,
            [tuple(t.shape) for t in outputs],
            node.name,
        )
        self.program.steps.append(step)
        for k, tensor in enumerate(outputs):
            self.places[i, k] = (len(self.program.steps) - 1, k)
            self.tensors[i, k] = tensor

    def _try(
        self, node: Node, emission: Emission, arrays: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Run one step on the meta device."""
        given = ", ".join(str(tuple(a.shape)) for a in arrays)
        try:
            with torch.device("meta"):
                module = None
                if emission.layer is not None:
                    module = namespace_of(emission.layer)
                    module = module.eval() if hasattr(module, "eval") else module
                outputs = run_step(emission, arrays, module)
        except Exception as error:  # what PyTorch says of shapes that do not fit
            text = str(error).strip().splitlines() or [type(error).__name__]
            raise ConversionError(
                f"{node.op} {node.name!r} does not fit its inputs {given}: {text[0]}"
            ) from None
        if len(outputs) < emission.outputs:
            raise ConversionError(
                f"{node.op} {node.name!r} gives {len(outputs)} outputs"
            )
        layer = emission.layer
        if layer is not None and layer.kind not in ("nn.Parameter", "buffer"):
            self._check_shapes(node, layer)
        return outputs

    def _check_shapes(self, node: Node, layer: Layer) -> None:
        with torch.device("meta"):
            state = namespace_of(layer).state_dict()
        for name, value in layer.tensors.items():
            if tuple(state[name].shape) != value.shape:
                raise ConversionError(
                    f"{node.op} {node.name!r}: {layer.variables[name]} has shape "
                    f"{value.shape}, and {tuple(state[name].shape)} is needed"
                )

    def _name(self, name: str) -> str:
        """A Python name of its own for a node."""
        plain = re.sub(r"\W", "_", re.sub(r"_fwd$", "", name), flags=re.ASCII)
        plain = re.sub(r"^(?=\d)|^$", "_", plain)
        taken, i = plain, 1
        while taken in self.used:
            i += 1
            taken = f"{plain}_{i}"
        self.used.add(taken)
        return taken


def _drop_dead(program: Program) -> None:
    """Remove steps and inputs that no output needs, such as the labels of a head."""
    alive, waiting = set[int](), [i for i, _ in program.heads]
    while waiting:
        i = waiting.pop()
        if i not in alive:
            alive.add(i)
            if i >= 0:
                waiting += [j for j, _ in program.steps[i].inputs]
    names = list(program.inputs)
    kept = [n for i, n in enumerate(names) if -1 - i in alive]
    numbers = {-1 - names.index(n): -1 - i for i, n in enumerate(kept)}
    steps = [i for i in range(len(program.steps)) if i in alive]
    numbers |= {old: new for new, old in enumerate(steps)}
    program.inputs = {n: program.inputs[n] for n in kept}
    program.steps = [program.steps[i] for i in steps]
    for step in program.steps:
        step.inputs = [(numbers[i], k) for i, k in step.inputs]
    program.heads = [(numbers[i], k) for i, k in program.heads]
    read = {entry for s in program.steps for entry in s.inputs} | {*program.heads}
    for i, step in enumerate(program.steps):
        if step.op == "RNN" and not {(i, 1), (i, 2)} & read:  # nobody reads the states
            text = re.sub(r"^lstm_outputs\((.*)\)$", r"\1", step.emission.text)
            text = text if text.endswith("[0]") else f"{text}[0]"
            step.emission = replace(step.emission, text=text, outputs=1, helper="")
            step.shapes = step.shapes[:1]


# --- running single steps -------------------------------------------------------------

_NAMES: dict[str, Any] = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional}
for _source in helpers.SOURCES.values():
    exec(_source, _NAMES)  # noqa: S102  ours


def namespace_of(layer: Layer) -> Any:
    """The module (or parameter) of a layer, with the values that PyTorch gives it."""
    if layer.kind == "nn.Parameter":
        return torch.nn.Parameter(torch.empty(layer.arguments["shape"]))
    if layer.kind == "buffer":
        return run_text(layer.arguments["value"], {})
    owner: Any = _NAMES["nn"] if layer.kind.startswith("nn.") else None
    kind = getattr(owner, layer.kind[3:]) if owner else _NAMES[layer.kind]
    return kind(**layer.arguments)


def run_step(
    emission: Emission, arrays: Sequence[torch.Tensor], module: Any = None
) -> list[torch.Tensor]:
    """The outputs of one step; `module` is its layer, if made before."""
    if emission.layer is not None and module is None:
        module = namespace_of(emission.layer)
    names = [f"x{i}" for i in range(len(arrays))]
    text = emission.text.format(*names, layer="layer")
    scope = {"layer": module, "self": torch.nn.Module().eval()}
    result = run_text(text, scope | dict(zip(names, arrays, strict=True)))
    return list(result) if isinstance(result, (tuple, list)) else [result]


def run_text(text: str, names: dict[str, Any]) -> Any:
    """The value of an expression that a rule made.

    Names and attributes of the file stand in it as parsed numbers, or not at all.
    """
    scope = {**_NAMES, **names}
    exec(compile(f"result = {text}", "<rule>", "exec"), scope)  # noqa: S102
    return scope["result"]
