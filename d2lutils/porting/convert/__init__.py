"""A trained Gluon net as PyTorch source that its owner keeps.

``python -m d2lutils convert net-symbol.json net-0000.params -o DIR`` reads what
MXNet's ``export`` (or a Module's checkpoint) wrote and leaves ``net.py``, which needs
PyTorch alone, ``net.safetensors`` and ``report.md``. Converting needs no MXNet; where
there is one, the report compares every node of the graph.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from d2lutils._adapters import params
from d2lutils._errors import ConversionError
from d2lutils.porting.convert import files, graph, proof, source, steps
from d2lutils.porting.convert.rules import Call, Emission, Layer, rule

__all__ = [
    "Call",
    "ConversionError",
    "Converted",
    "Emission",
    "Layer",
    "main",
    "rule",
    "to_pytorch",
]


@dataclass
class Converted:
    """A net in PyTorch: the module with its weights, its source, and the report.

    `names` gives MXNet's name for each tensor of the module.
    """

    module: torch.nn.Module
    source: str
    report: str
    names: dict[str, str] = field(repr=False)
    proof: proof.Proof | None = None

    def save(self, folder: str | Path) -> Path:
        """Write net.py, net.safetensors and report.md; return the folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {k: v for k, v in self.module.state_dict().items() if k in self.names}
        files.write_safetensors(folder / "net.safetensors", state)
        (folder / "net.py").write_text(self.source, encoding="utf-8")
        (folder / "report.md").write_text(self.report, encoding="utf-8")
        return folder


def to_pytorch(
    symbol: Any,
    parameters: Any = None,
    inputs: Mapping[str, Sequence[int]] | None = None,
    name: str | None = None,
    compare: bool = True,
) -> Converted:
    """Convert an exported net, or a Gluon block that has run.

    Args:
        symbol: path of the ``-symbol.json``, a HybridBlock or a SymbolBlock.
        parameters: path of the ``.params`` file, or arrays by name; not for a block.
        inputs: shape by name of each input, as {"data": (1, 3, 224, 224)}. Without it
            the shapes are guessed from the first layers; the report says which.
        name: of the module's class; by default made of the file's name.
        compare: compare with MXNet, where it is installed.

    Raises:
        FileNotFoundError: no such file.
        ConversionError: a file is damaged, an operator has no rule, parameters are
            missing; the message lists them all.
        TypeError: `symbol` is none of these.

    >>> net = to_pytorch("net-symbol.json", "net-0000.params")  # doctest: +SKIP
    >>> net.save("net")  # doctest: +SKIP
    """
    if isinstance(symbol, (str, Path)):
        if parameters is None:
            raise TypeError("to_pytorch: parameters must be a file or arrays by name")
        path = Path(symbol)
        read = graph.read(path)
        if isinstance(parameters, (str, Path)):
            arrays = params.read(Path(parameters))
        else:
            arrays = {str(k): files.plain(v) for k, v in dict(parameters).items()}
        origin = path.name
    elif hasattr(symbol, "export") and hasattr(symbol, "collect_params"):
        if parameters is not None:
            raise TypeError("to_pytorch: a block has its own parameters; give inputs=")
        with tempfile.TemporaryDirectory() as folder:
            paths = _exported(symbol, Path(folder))
            read, arrays = graph.read(paths[0]), params.read(paths[1])
        origin = type(symbol).__name__
    else:
        raise TypeError(
            "to_pytorch: symbol must be a path or a Gluon HybridBlock, got "
            f"{type(symbol).__name__}"
        )
    wish = name or re.sub(r"-symbol$", "", Path(origin).stem)
    return _convert(read, arrays, inputs, wish, origin, compare)


def _exported(block: Any, folder: Path) -> tuple[Path, Path]:
    """The two files of a block; one that has not run hybridized is traced here."""
    try:
        block.export(str(folder / "net"))
    except Exception as error:
        if "hybridize" not in str(error):
            raise ConversionError(
                f"to_pytorch: {type(block).__name__} cannot be exported: {error}"
            ) from None
        raise ConversionError(
            f"to_pytorch: {type(block).__name__} has no graph yet: call "
            "net.hybridize() and then net(x) once"
        ) from None
    return folder / "net-symbol.json", folder / "net-0000.params"


def _convert(
    read: graph.Graph,
    arrays: dict[str, np.ndarray],
    inputs: Mapping[str, Sequence[int]] | None,
    wish: str,
    origin: str,
    compare: bool,
) -> Converted:
    program = steps.convert(read, arrays, inputs)
    header = f"{_title(wish)}, converted from {origin} (MXNet); see report.md."
    written = source.write(program, wish, header)
    scope: dict[str, Any] = {"__name__": "converted"}
    # Our own text: identifiers are made, strings quoted, numbers parsed.
    exec(compile(written.text, "net.py", "exec"), scope)  # noqa: S102
    module = scope[written.name]()
    state = {k: torch.tensor(np.asarray(v)) for k, v in written.tensors.items()}
    module.load_state_dict({**module.state_dict(), **state})
    found: proof.Proof | None = None
    if compare:
        why = proof.available()
        if why:
            found = proof.Proof(reason=f"not compared: {why}")
        else:
            plain = steps.plain_names(arrays)
            found = proof.prove(program, read.text, plain, module)
    report = _report(program, read, written, origin, found)
    return Converted(module.eval(), written.text, report, written.variables, found)


def _title(wish: str) -> str:
    return re.sub(r"[^\w.+-]", " ", wish)[:60]


def _report(
    program: steps.Program,
    read: graph.Graph,
    written: source.Source,
    origin: str,
    found: proof.Proof | None,
) -> str:
    """The report as Markdown."""
    count = sum(v.size for v in written.tensors.values())
    lines = [f"# {_title(origin)} in PyTorch", ""]
    told = found if found is not None else "not compared: compare=False"
    lines += [f"**Outputs:** {told}.", ""]
    if found is not None and found.reason:
        lines += [
            "To compare, run the same command where MXNet 1.9.1 is installed "
            "(Linux, macOS on Intel, or Colab).",
            "",
        ]
    shapes = ", ".join(f"`{n}` {s}" for n, s in program.inputs.items())
    how = " (guessed; `--input` says it)" if program.guessed else ""
    lines += [
        f"- inputs: {shapes}{how}",
        f"- operators: {len(read.operators)} in the graph, {len(program.steps)} here",
        f"- numbers in the weights: {count:,}",
    ]
    if program.unused:
        lines.append(
            f"- in the parameter file, but not used: {', '.join(program.unused)}"
        )
    lines += [f"- {note}" for note in program.notes()]
    lines += ["", "| tensor here | in MXNet | shape |", "|---|---|---|"]
    lines += [
        f"| `{path}` | `{variable}` | {written.tensors[path].shape} |"
        for path, variable in written.variables.items()
    ]
    return "\n".join(lines) + "\n"


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    found = re.fullmatch(r"([^=]+)=(\d+(?:,\d+)*)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not like data=1,3,224,224")
    return found[1], tuple(int(n) for n in found[2].split(","))


def main(argv: list[str] | None = None) -> int:
    """``python -m d2lutils convert``: returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m d2lutils convert",
        description="A trained Gluon net as PyTorch source.",
    )
    parser.add_argument("symbol", help="net-symbol.json")
    parser.add_argument("params", help="net-0000.params")
    parser.add_argument("-o", "--output", required=True, help="folder to write to")
    parser.add_argument(
        "--input", action="append", type=_shape, metavar="NAME=1,3,32,32"
    )
    parser.add_argument("--name", help="of the class in net.py")
    given = parser.parse_args(argv)
    inputs = dict(given.input) if given.input else None
    try:
        net = to_pytorch(given.symbol, given.params, inputs, given.name)
    except (ConversionError, FileNotFoundError) as error:
        print(f"convert: {error}", file=sys.stderr)
        return 1
    folder = net.save(given.output)
    print(f"{folder / 'net.py'}: {len(net.source.splitlines())} lines; {net.proof}")
    return int(net.proof is not None and bool(net.proof.apart))
