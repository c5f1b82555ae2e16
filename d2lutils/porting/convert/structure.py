"""From a flat list of steps to the modules an engineer would write.

A net is a chain of segments: a cut goes wherever exactly one value is alive. Segments
whose names begin alike become a submodule, and what has the same structure again, with
other numbers, becomes one class with arguments.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from d2lutils.porting.convert.steps import Program, Step

#: Modules without arguments that a forward pass may write as functions.
ACTIVATIONS = {
    *("nn.ReLU", "nn.ReLU6", "nn.Sigmoid", "nn.Tanh", "nn.Softplus", "nn.Softsign"),
    *("nn.LogSigmoid", "nn.Mish", "nn.GELU", "nn.SELU"),
}
_LONGEST = 40  # steps in a part of a chain that is looked for again


@dataclass
class Leaf:
    """One step in a chain: a layer, or an expression of its one input."""

    name: str
    step: int


@dataclass
class Block:
    """Steps that become an instance of a class of their own.

    `steps` are their numbers in the program; the first one's first input is the
    block's. `names` are those of the layers inside.
    """

    name: str
    steps: list[int]
    signature: Any = None
    names: dict[int, str] = field(default_factory=dict)


@dataclass
class Chain:
    """Submodules that are called one after the other."""

    name: str
    items: list[Leaf | Block | Chain]


Item = Leaf | Block | Chain


def leaves(item: Item) -> list[int]:
    """The numbers of all steps in an item."""
    if isinstance(item, Leaf):
        return [item.step]
    if isinstance(item, Block):
        return item.steps
    return [number for part in item.items for number in leaves(part)]


def arrange(program: Program) -> list[Item]:
    """The net's parts in order; a `Block` without a signature is written in place."""
    paths = _paths([step.name for step in program.steps])
    shared = _shares(program)
    segments = _segments(program)
    if shared or len(segments) < 3:
        return [Block("", list(range(len(program.steps))))]
    first = 1 if not _closed(program, segments[0]) else 0
    last = len(segments) - (0 if _closed(program, segments[-1]) else 1)
    items: list[Item] = [Block("", segments[0])] if first else []
    inside = segments[first:last]
    items += _group(program, inside, paths, _units(program, inside, paths))
    if last < len(segments):
        items.append(Block("", segments[-1]))
    return items


def _shares(program: Program) -> bool:
    """Whether a parameter belongs to two layers."""
    owners = Counter(
        name
        for step in program.steps
        if step.layer is not None
        for name in set(step.layer.variables.values())
    )
    return any(count > 1 for count in owners.values())


def _segments(program: Program) -> list[list[int]]:
    """Runs of steps between which one value alone passes."""
    last_use = dict.fromkeys((i for i, _ in program.heads), len(program.steps))
    for number, step in enumerate(program.steps):
        for i, _ in step.inputs:
            last_use[i] = max(last_use.get(i, 0), number)
    segments: list[list[int]] = [[]]
    alive = {-1 - i for i in range(len(program.inputs))}
    for number, step in enumerate(program.steps):
        segments[-1].append(number)
        alive = {i for i in alive if last_use.get(i, -2) > number} | {number}
        if alive == {number} and len(step.shapes) == 1:
            segments.append([])
    found: list[list[int]] = []
    for segment in segments:
        # The activation after a sum belongs to the block that it ends.
        if found and len(found[-1]) > 1 and _is_activation(program, segment):
            found[-1] += segment
        elif segment:
            found.append(segment)
    return found


def _is_activation(program: Program, segment: list[int]) -> bool:
    layer = program.steps[segment[0]].layer if len(segment) == 1 else None
    return layer is not None and layer.kind in ACTIVATIONS and not layer.tensors


def _closed(program: Program, segment: Sequence[int]) -> bool:
    """Whether steps have one input and one output as seen from outside."""
    outside = {
        entry
        for number in segment
        for entry in program.steps[number].inputs
        if entry[0] not in segment
    }
    return len(outside) == 1 and len(program.steps[segment[-1]].shapes) == 1


# --- grouping by name -----------------------------------------------------------------


def _paths(names: list[str]) -> list[list[str]]:
    """Names in parts: ``resnetv10_stage1_conv0`` is stage1, conv0 in ``resnetv10``."""
    split = [[part for part in name.split("_") if part] or ["_"] for name in names]
    # A part that stands in front of everything names the net, not a part of it.
    while len(split) > 1 and all(len(p) > 1 for p in split):
        if len({p[0] for p in split}) > 1:
            break
        split = [p[1:] for p in split]
    return split


def _group(
    program: Program,
    segments: list[list[int]],
    paths: list[list[str]],
    units: Counter[Any],
    depth: int = 0,
) -> list[Item]:
    """Neighbouring segments with the same next part of their names, as submodules."""
    items: list[Item] = []
    plain: list[list[int]] = []
    runs = _runs(segments, paths, depth)
    for part, run in runs:
        steps = [n for segment in run for n in segment]
        if not part or len(steps) == 1:
            plain += run
            continue
        items += _repeats(program, plain, paths)
        plain = []
        inner = _group(program, run, paths, units, depth + 1)
        sign = _unit(program, run)
        if len(runs) == 1:
            items += inner
        elif (sign and units[sign] > 1) or not _chains(program, inner):
            items.append(_block(program, steps, paths, part))
        elif len(inner) == 1 and isinstance(inner[0], Block):
            inner[0].name = part
            items.append(inner[0])
        else:
            items.append(Chain(part, inner))
    return items + _repeats(program, plain, paths)


def _chains(program: Program, items: list[Item]) -> bool:
    """Whether every part is a module that is called with one tensor for another."""
    for item in items:
        if isinstance(item, Leaf):
            step = program.steps[item.step]
            if step.layer is None or step.emission.text != "{layer}({0})":
                return False
    return True


def _runs(
    segments: list[list[int]], paths: list[list[str]], depth: int
) -> list[tuple[str, list[list[int]]]]:
    """Neighbouring segments by the next part of their names; "" where there is none."""
    runs: list[tuple[str, list[list[int]]]] = []
    for segment in segments:
        # A sum that nobody named, as _plus3, belongs where its neighbours do.
        parts = {paths[n][depth] for n in segment if len(paths[n]) > depth + 1}
        part = parts.pop() if len(parts) == 1 else ""
        if part and runs and runs[-1][0] == part:
            runs[-1][1].append(segment)
        else:
            runs.append((part, [segment]))
    return runs


def _units(
    program: Program, segments: list[list[int]], paths: list[list[str]], depth: int = 0
) -> Counter[Any]:
    """How often the named parts of a net that are one block or less come."""
    found: Counter[Any] = Counter()
    runs = _runs(segments, paths, depth)
    for part, run in runs:
        if part:
            found[_unit(program, run)] += len(runs) > 1
            found += _units(program, run, paths, depth + 1)
    return found


def _unit(program: Program, run: list[list[int]]) -> Any:
    """The signature of a named part; None for one that holds several blocks."""
    steps = [n for segment in run for n in segment]
    several = sum(len(segment) > 1 for segment in run) > 1
    return None if several or len(steps) < 3 else signature(program, steps)


# --- what comes again -----------------------------------------------------------------


def _repeats(
    program: Program, segments: list[list[int]], paths: list[list[str]]
) -> list[Item]:
    """Segments as leaves and blocks; what comes twice or more in a row as blocks."""
    signs = [signature(program, segment) for segment in segments]
    items: list[Item] = []
    i = 0
    while i < len(segments):
        period, count = _best_period(segments, signs, i)
        if count > 1 and sum(len(s) for s in segments[i : i + period]) > 1:
            for j in range(count):
                start = i + j * period
                steps = [n for s in segments[start : start + period] for n in s]
                items.append(_block(program, steps, paths))
            i += period * count
            continue
        segment = segments[i]
        if len(segment) == 1:
            items.append(Leaf("_".join(paths[segment[0]][-2:]), segment[0]))
        else:
            items.append(_block(program, segment, paths))
        i += 1
    return items


def _best_period(
    segments: list[list[int]], signs: list[Any], start: int
) -> tuple[int, int]:
    """(segments in the shortest part that comes again in a row, how often)."""
    for period in range(1, min(_LONGEST, (len(signs) - start) // 2) + 1):
        part = signs[start : start + period]
        if period > 1 and _has_repeat(part):
            continue
        count = 1
        while signs[start + count * period : start + (count + 1) * period] == part:
            count += 1
        # Two layers that come twice are clearer written out.
        steps = sum(len(s) for s in segments[start : start + period])
        if count > 1 and steps >= 3:
            return period, count
    return 1, 1


def _has_repeat(signs: list[Any]) -> bool:
    """Whether a part of at least three steps comes twice in a row somewhere inside."""
    for start in range(len(signs)):
        for period in range(1, (len(signs) - start) // 2 + 1):
            part = signs[start : start + period]
            if sum(map(len, part)) < 3:
                continue
            if signs[start + period : start + 2 * period] == part:
                return True
    return False


def _block(
    program: Program, steps: list[int], paths: list[list[str]], name: str = ""
) -> Block:
    names = _inner_names(program, steps, paths)
    return Block(name, steps, signature(program, steps), names)


def _inner_names(
    program: Program, steps: list[int], paths: list[list[str]]
) -> dict[int, str]:
    """Names of the layers in a block: Gluon's kind of name, counted from 0 in each."""
    counts: Counter[str] = Counter()
    kinds: dict[int, str] = {}
    for number in steps:
        if program.steps[number].layer is not None:
            kinds[number] = re.sub(r"[\d_]+$", "", paths[number][-1]) or "layer"
    total = Counter(kinds.values())
    names = {}
    for number, kind in kinds.items():
        names[number] = f"{kind}{counts[kind]}" if total[kind] > 1 else kind
        counts[kind] += 1
    return names


def signature(program: Program, steps: Sequence[int]) -> Any:
    """What two blocks must share to be of one class: everything but numbers."""
    places = {number: k for k, number in enumerate(steps)}
    return tuple(_sign(program.steps[n], places) for n in steps)


def _sign(step: Step, places: dict[int, int]) -> Any:
    wiring = tuple((places.get(i, -1), k) for i, k in step.inputs)
    layer = step.layer
    kind: Any = None
    if layer is not None:
        kind = layer.kind, tuple(layer.arguments), layer.frozen
        kind += (tuple(type(v).__name__ for v in layer.arguments.values()),)
    return step.emission.text, kind, wiring, len(step.shapes)
