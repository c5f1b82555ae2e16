"""The graph in a ``net-symbol.json``, checked, in one form for all versions of MXNet.

The file is a stranger's: whatever it holds, reading it ends in a `Graph` or in one
`ConversionError` that says what is wrong and where.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from d2lutils._errors import ConversionError

#: Names that operators had in older files, or have in other interfaces.
ALIASES = {
    **{"_Plus": "elemwise_add", "_plus": "elemwise_add", "_add": "elemwise_add"},
    **{"_Minus": "elemwise_sub", "_minus": "elemwise_sub", "_sub": "elemwise_sub"},
    **{"_Mul": "elemwise_mul", "_mul": "elemwise_mul"},
    **{"_Div": "elemwise_div", "_div": "elemwise_div"},
    **{"_grad_add": "elemwise_add", "broadcast_plus": "broadcast_add"},
    **{"broadcast_minus": "broadcast_sub", "ElementWiseSum": "add_n"},
    **{"_PlusScalar": "_plus_scalar", "_MinusScalar": "_minus_scalar"},
    **{"_RMinusScalar": "_rminus_scalar", "_MulScalar": "_mul_scalar"},
    **{"_DivScalar": "_div_scalar", "_RDivScalar": "_rdiv_scalar"},
    **{"_PowerScalar": "_power_scalar", "_RPowerScalar": "_rpower_scalar"},
    **{"_MaximumScalar": "_maximum_scalar", "_MinimumScalar": "_minimum_scalar"},
    **{"_Maximum": "broadcast_maximum", "_maximum": "broadcast_maximum"},
    **{"_Minimum": "broadcast_minimum", "_minimum": "broadcast_minimum"},
    **{"_Power": "broadcast_power", "_power": "broadcast_power", "pow": "_power"},
    **{"Concat": "concat", "reshape": "Reshape", "SliceChannel": "split"},
    **{"SwapAxis": "swapaxes", "Cast": "cast", "Pad": "pad", "flatten": "Flatten"},
    **{"Softmax": "SoftmaxOutput", "identity": "_copy", "BatchNorm_v1": "BatchNorm"},
    **{"CuDNNBatchNorm": "BatchNorm", "Convolution_v1": "Convolution"},
    **{"Pooling_v1": "Pooling", "sum_axis": "sum", "max_axis": "max"},
    **{
        "min_axis": "min",
        "crop": "slice",
        "reverse": "flip",
        "stop_gradient": "BlockGrad",
    },
    **{"MakeLoss": "make_loss", "batchnorm": "BatchNorm", "add": "broadcast_add"},
    **{"broadcast_axes": "broadcast_axis", "_mod": "broadcast_mod"},
    **{"_equal": "broadcast_equal", "_not_equal": "broadcast_not_equal"},
    **{"_greater": "broadcast_greater", "_lesser": "broadcast_lesser"},
    **{"_greater_equal": "broadcast_greater_equal"},
    **{"_lesser_equal": "broadcast_lesser_equal"},
}
# States of layers that files from before version 0.9 do not list among the inputs.
_HIDDEN = {"BatchNorm": ("moving_mean", "moving_var")}


@dataclass
class Node:
    """An operator or, with `op` "null", a variable: an input, parameter or state.

    `inputs` are (index of a node, which of its outputs); a node comes after its inputs.
    """

    name: str
    op: str
    attrs: dict[str, str]
    inputs: list[tuple[int, int]] = field(default_factory=list)

    @property
    def is_variable(self) -> bool:
        """Whether this is no operator."""
        return self.op == "null"


@dataclass
class Graph:
    """The nodes, each after its inputs, and the outputs of the net among theirs.

    `text` is the JSON with the same names, for MXNet.
    """

    nodes: list[Node]
    heads: list[tuple[int, int]]
    text: str = ""

    @property
    def operators(self) -> list[Node]:
        """The nodes that compute something."""
        return [node for node in self.nodes if not node.is_variable]


def read(path: Path) -> Graph:
    """The graph in a file that MXNet's ``export``, ``Symbol.save`` or Module wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ConversionError: it holds no graph; the message names the place.
    """
    if not path.is_file():
        raise FileNotFoundError(f"symbol names no file: {path.name}")
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")), path.name)
    except UnicodeDecodeError:
        raise ConversionError(f"{path.name} is no text, so no symbol file") from None
    except json.JSONDecodeError as error:
        raise ConversionError(
            f"{path.name} is no JSON: {error.msg} in line {error.lineno}"
        ) from None
    except (RecursionError, ValueError) as error:
        if isinstance(error, ConversionError):
            raise
        raise ConversionError(f"{path.name} is no graph of MXNet's: {error}") from None


def parse(data: Any, name: str = "the symbol") -> Graph:
    """The graph in what the JSON holds; `ConversionError` names the place."""
    if not isinstance(data, dict) or not isinstance(data.get("nodes"), list):
        raise ConversionError(
            f"{name} has no list of nodes, so it is no graph of MXNet's"
        )
    nodes: list[Node] = []
    seen: set[str] = set()
    _distinguish(data["nodes"])
    # Old files hide some states: these come as new nodes, and later numbers move.
    moved: list[int] = []
    for i, item in enumerate(data["nodes"]):
        node = _node(item, f"{name}: nodes[{i}]")
        node.inputs = [(moved[j], k) for j, k in _entries(item, "inputs", i, name)]
        if not node.is_variable:
            for state in _HIDDEN.get(node.op, ())[max(0, len(node.inputs) - 3) :]:
                nodes.append(Node(f"{node.name}_{state}", "null", {}))
                node.inputs.append((len(nodes) - 1, 0))
        if node.is_variable and node.name in seen:
            raise ConversionError(f"{name}: two variables are called {node.name!r}")
        seen.add(node.name)
        moved.append(len(nodes))
        nodes.append(node)
    heads = [(moved[j], k) for j, k in _entries(data, "heads", len(nodes), name)]
    if not heads:
        raise ConversionError(f"{name} names no outputs (heads)")
    # MXNet's reader knows no "\\u" escapes.
    return Graph(nodes, heads, json.dumps(data, ensure_ascii=False))


def _distinguish(items: list[Any]) -> None:
    """Give operators names of their own: MXNet lets two share one."""
    named = [i for i in items if isinstance(i, dict) and isinstance(i.get("name"), str)]
    taken = {item["name"] for item in named}
    seen = {item["name"] for item in named if item.get("op") == "null"}
    next_number: Counter[str] = Counter()
    for item in (item for item in named if item.get("op") != "null"):
        name = item["name"]
        while item["name"] in seen:
            next_number[name] += 1
            wish = f"{name}_{next_number[name]}"
            item["name"] = name if wish in taken else wish
        seen.add(item["name"])
        taken.add(item["name"])


def _node(given: Any, place: str) -> Node:
    item: dict[str, Any] = given if isinstance(given, dict) else {}
    if item is not given:
        raise ConversionError(f"{place} is no node: {given!r:.80}")
    for key in ("op", "name"):
        if not isinstance(item.get(key), str):
            raise ConversionError(f"{place} has no {key}: {item.get(key)!r:.80}")
    attrs: dict[str, str] = {}
    for key in ("param", "attr", "attrs"):  # by version: 0.8, 0.9 and since 0.11
        found = item.get(key) or {}
        if not isinstance(found, dict):
            raise ConversionError(f"{place}.{key} is no object: {found!r:.80}")
        attrs |= {str(k): str(v) for k, v in found.items()}
    op = ALIASES.get(item["op"], item["op"])
    return Node(item["name"], op, attrs)


def _entries(item: Any, key: str, before: int, name: str) -> list[tuple[int, int]]:
    """(node, output) pairs; each must name an earlier node."""
    found = item.get(key, [])
    if not isinstance(found, list):
        raise ConversionError(f"{name}: {key} of nodes[{before}] is no list")
    result = []
    for entry in found:
        numbers: list[Any] = entry if isinstance(entry, list) else [None]
        whole = all(isinstance(n, int) and not isinstance(n, bool) for n in numbers)
        if not whole or len(numbers) not in (2, 3):
            raise ConversionError(
                f"{name}: {key} of nodes[{before}] must hold [node, output], "
                f"got {entry!r:.80}"
            )
        if not (0 <= numbers[0] < before and 0 <= numbers[1] < 2**16):
            raise ConversionError(
                f"{name}: {key} of nodes[{before}] names node {numbers[0]}, which is "
                "not before it"
            )
        result.append((numbers[0], numbers[1]))
    return result
