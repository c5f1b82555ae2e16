"""Whether the converted net computes what MXNet does, node by node."""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from d2lutils._errors import reason as words
from d2lutils.porting.convert.steps import Program, Step, namespace_of, run_step

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
OVERALL = 1e-5
# Operators that take float64 and compute in float32, or with constants of that type.
SINGLE = {
    "_contrib_BilinearResize2D",
    "LeakyReLU",
    "radians",
    "degrees",
    "hard_sigmoid",
    "RNN",
}


@dataclass
class Proof:
    """What the comparison found, each difference relative to the largest value.

    Every node gets the same inputs in both frameworks, so `differences` are each
    node's own, in the graph's order; `output` is that of the whole net's outputs.
    `apart` is the first node above the tolerance, or "the outputs".
    """

    differences: dict[str, float] = field(default_factory=dict)
    output: float = 0.0
    apart: str = ""
    single: int = 0
    reason: str = ""

    def __str__(self) -> str:
        if self.reason:
            return self.reason
        worst = max(self.differences.values(), default=0.0)
        count = len(self.differences)
        if self.apart:
            by = self.differences.get(self.apart, self.output)
            return f"{self.apart} is the first of {count} nodes to part, by {by:.0e}"
        text = (
            f"equal to {worst:.0e} at all {count} nodes, to {self.output:.0e} overall"
        )
        if self.single:
            text += f"; MXNet computes {self.single} of them in float32"
        return text


def example(program: Program, seed: int = 0) -> list[np.ndarray]:
    """Seeded values for the net's inputs: whole numbers where they serve as indices."""
    rng = np.random.default_rng(seed)
    found = []
    for i, shape in enumerate(program.inputs.values()):
        most = _most(program, -1 - i)
        values = rng.normal(size=shape) if most is None else rng.integers(*most, shape)
        found.append(np.asarray(values, "float64"))
    return found


def _most(program: Program, number: int) -> tuple[int, int] | None:
    """The range of an input that indexes something, or counts steps of a sequence."""
    for step in program.steps:
        places = [k for k, (i, _) in enumerate(step.inputs) if i == number]
        if not places:
            continue
        if step.op == "Embedding" and step.layer is not None:
            return 0, int(step.layer.arguments["num_embeddings"])
        if step.op.startswith("Sequence") and places == [1]:
            return 1, 1 + min(program_shape(program, step)[:2])
        if step.op in ("one_hot", "pick", "take"):
            return 0, 2
        if step.op in ("cast", "_copy", "expand_dims", "transpose"):
            return _most(program, program.steps.index(step))
    return None


def program_shape(program: Program, step: Step) -> tuple[int, ...]:
    """The shape of a step's first input."""
    i, k = step.inputs[0]
    return (
        program.steps[i].shapes[k] if i >= 0 else list(program.inputs.values())[-1 - i]
    )


def prove(
    program: Program,
    symbol: str,
    params: Mapping[str, np.ndarray],
    module: torch.nn.Module,
) -> Proof:
    """Compare every node with MXNet's, in float64 where MXNet has it.

    `symbol` is the graph's JSON, `module` the converted net with its weights.
    """
    arrays = example(program)
    try:
        theirs = _Theirs(symbol, params, dict(zip(program.inputs, arrays, strict=True)))
    except Exception as error:
        return Proof(reason=f"not compared: MXNet cannot read it: {words(error)}")
    proof = Proof()
    for step in program.steps:
        given = [
            theirs.values[program.steps[i].node][k] if i >= 0 else arrays[-1 - i]
            for i, k in step.inputs
        ]
        found = _ours(step, [torch.tensor(x.astype("float64")) for x in given])
        expected = theirs.node(step.node)
        if expected is None:
            theirs.values.setdefault(step.node, [x.detach().numpy() for x in found])
            continue
        exact = step.node not in theirs.single and step.op not in SINGLE
        proof.single += not exact
        for k, result in enumerate(found[: len(step.shapes)]):
            name = step.node if len(step.shapes) == 1 else f"{step.node}[{k}]"
            difference = _difference(result.numpy(), expected[k])
            proof.differences[name] = difference
            bound = TOLERANCE["float64" if exact else "float32"]
            if not proof.apart and not difference <= bound:
                proof.apart = name
    with torch.no_grad():
        own = _as_mxnet(copy.deepcopy(module).double().eval())
        outputs = own(*map(torch.tensor, arrays))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    heads = [theirs.values[program.steps[i].node][k] for i, k in program.heads]
    pairs = zip(outputs, heads, strict=True)
    proof.output = max(_difference(a.numpy(), b) for a, b in pairs)
    # Equal nodes may part by their rounding, which a deep net makes larger.
    if not proof.apart and not proof.output <= OVERALL:
        proof.apart = "the outputs"
    return proof


def _ours(step: Step, given: list[torch.Tensor]) -> list[torch.Tensor]:
    """The outputs of one step in evaluation mode, with the net's own parameters."""
    layer = step.layer
    module = None if layer is None else namespace_of(layer).double()
    if layer is not None and isinstance(module, torch.nn.Module):
        module.eval()
        state = {name: torch.tensor(value) for name, value in layer.tensors.items()}
        module.load_state_dict({**module.state_dict(), **state})
        module = _as_mxnet(module)
    with torch.no_grad():
        return run_step(step.emission, given, module)


def _as_mxnet(module: Any) -> Any:
    """The module with its settings in float32, which is how MXNet keeps its own."""
    for one in module.modules():
        for name, value in vars(one).items():
            if isinstance(value, float):
                setattr(one, name, float(np.float32(value)))
    return module


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    if a.shape != b.shape:
        return float("inf")
    if not a.size:
        return 0.0
    a, b = a.astype("float64"), b.astype("float64")
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(a - b))
    scale = np.abs(b[np.isfinite(b)]).max(initial=0.0)
    return float(np.nan_to_num(apart, nan=np.inf).max() / (scale or 1.0))


class _Theirs:
    """MXNet, asked for one node at a time."""

    def __init__(
        self, symbol: str, params: Mapping[str, np.ndarray], inputs: dict[str, Any]
    ) -> None:
        from d2lutils.compat import mx

        self.mx = mx
        # MXNet brings a graph of an older version up to date.
        self.nodes = json.loads(mx.sym.load_json(symbol).tojson())["nodes"]
        self.places = {node["name"]: node for node in self.nodes}
        self.values: dict[str, list[np.ndarray]] = {}
        self.single: set[str] = set()
        for name, array in {**params, **inputs}.items():
            self.values[name] = [np.asarray(array)]

    def node(self, name: str) -> list[np.ndarray] | None:
        """The outputs of a node in inference; None for a variable and what is ours."""
        node = self.places.get(name, {"op": "null"})
        if node["op"] == "null":
            return None
        if name not in self.values:
            given = [self._value(i, k) for i, k, *_ in node["inputs"]]
            try:
                found = self._run(node, given, "float64")
            except Exception:  # an operator that MXNet does not have in float64
                found = self._run(node, given, "float32")
                self.single.add(name)
            self.values[name] = found
        return self.values[name]

    def _value(self, i: int, k: int) -> np.ndarray | None:
        node = self.nodes[i]
        if node["op"] == "null":  # None: a label
            return self.values.get(node["name"], [None])[0]
        if node["op"] == "_zeros" and "0" in re.findall(r"\d+", str(node["attrs"])):
            return None  # the state of an RNN, for as many examples as there are
        outputs = self.node(node["name"])
        assert outputs is not None
        return outputs[k]

    def _run(self, node: Any, given: list[Any], dtype: str) -> list[np.ndarray]:
        names = [f"x{i}" for i in range(len(given))]
        variables = [{"op": "null", "name": name, "inputs": []} for name in names]
        inputs = [[i, 0, 0] for i in range(len(given))]
        nodes = [*variables, {**node, "name": "node", "inputs": inputs}]
        text = json.dumps(
            {
                "nodes": nodes,
                "arg_nodes": list(range(len(given))),
                "heads": [[len(given), 0, 0]],
                "attrs": {"mxnet_version": ["int", 10901]},
            }
        )
        one = self.mx.sym.load_json(text).get_internals()
        outputs = [n for n in one.list_outputs() if n not in names]
        known = {n: x.shape for n, x in zip(names, given, strict=True) if x is not None}
        shapes, _, _ = one.infer_shape_partial(**known)
        shape = dict(zip(one.list_arguments(), shapes, strict=True))
        arrays = {
            n: self.mx.nd.array(np.zeros(shape[n]) if x is None else x, dtype=dtype)
            for n, x in zip(names, given, strict=True)
        }
        states = one.list_auxiliary_states()
        executor = self.mx.sym.Group([one[n] for n in outputs]).bind(
            self.mx.cpu(),
            {n: x for n, x in arrays.items() if n not in states},
            aux_states={n: arrays[n] for n in states},
            grad_req="null",
        )
        return [x.asnumpy() for x in executor.forward(is_train=False)]


def available() -> str:
    """Why MXNet cannot be asked here, or nothing."""
    try:
        from d2lutils.compat import mx  # noqa: F401
    except ImportError as error:
        return str(error).split(". ")[0]
    return "" if "mxnet" in sys.modules else "MXNet is not imported"
