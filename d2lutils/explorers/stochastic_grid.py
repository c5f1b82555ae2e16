"""The stochastic-depth grid: which branches run in a training step, and the savings.

It opens in mode "row" with the same drop probability for every block: red, "saves 0 %".
The goal needs three changes: mode "batch", a rule that keeps the first block, and a
last block that is dropped often enough. With drop probability 0.5 the rule "from zero"
just misses it.

Thick cells are branches that ran and counted, thin ones ran but were thrown away, empty
ones did not run. Below them are the added channels at the net's output: the new
channels of a dropped block are zero until a later, kept block adds to them.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from d2lutils._arguments import (
    NonNegative,
    Positive,
    Probability,
    checked_as,
    one_of,
)
from d2lutils.explorers.base import choice, num, number, opener, plural, slider
from d2lutils.shapes import RULES, drop_probs

__all__ = ["compute", "draws", "stochastic_grid", "words"]

MODES = ("batch", "row")
START, ALPHA = 16, 48  # channels of PyramidNet's stem, and channels that blocks add
SAVE, FIRST = 25, 95  # the goal, in percent

CONTROLS = (
    number("num_blocks", "Blocks", 1, 54),
    choice("mode", "Mode", *((name, name) for name in MODES)),
    choice(
        "rule",
        "Rule",
        ("paper", "paper: (i+1)/L"),
        ("from zero", "from zero: i/L"),
        ("end to end", "end to end: i/(L-1)"),
        ("constant", "constant"),
    ),
    slider("drop_prob", "Drop probability", 0, 1, 0.05),
    slider("samples", "Samples", 1, 16),
    number("seed", "Seed", 1, 999),
)


def draws(seed: int, count: int) -> list[float]:
    """Uniform numbers in [0, 1) by mulberry32, to the bit those of JavaScript."""
    mask, state, result = 0xFFFFFFFF, seed & 0xFFFFFFFF, []
    for _ in range(count):
        state = (state + 0x6D2B79F5) & mask
        t = ((state ^ (state >> 15)) * (state | 1)) & mask
        t ^= (t + ((t ^ (t >> 7)) * (t | 61))) & mask
        result.append((t ^ (t >> 14)) / 2**32)
    return result


def _round(value: float, digits: int) -> float:
    """`value` rounded half up, which is the same in JavaScript."""
    unit = 10**digits
    return math.floor(value * unit + 0.5) / unit


@checked_as("stochastic_grid")
def compute(
    num_blocks: Positive = 18,
    mode: Annotated[str, one_of(*MODES)] = "row",
    rule: Annotated[str, one_of(*RULES)] = "constant",
    drop_prob: Probability = 0.3,
    samples: Positive = 8,
    seed: NonNegative = 1,
) -> dict[str, Any]:
    """One training step of a PyramidNet with `num_blocks` blocks and alpha 48.

    Args:
        num_blocks: L, the number of blocks.
        mode: "batch" draws one decision per block, "row" one per block and sample.
        rule: one of `d2lutils.shapes.survival`.
        drop_prob: the drop probability that the rule distributes over the blocks.
        samples: samples in the batch.
        seed: determines the decisions.

    Returns:
        A JSON-serialisable dict:

        - "settings": the arguments;
        - "survival": each block's survival probability, four digits;
        - "expected": blocks that survive a step on average;
        - "kept": for each sample a string of 1 (kept) and 0 (dropped);
        - "kept_blocks": blocks kept in this draw, mean over the samples;
        - "cells": samples times blocks;
        - "evaluated": branch evaluations that ran, "thrown_away": those whose results
          were not used;
        - "saved": percent of the evaluations saved in this draw, "average": the same
          on average; "first": percent of steps that the first block survives;
        - "widths": channels after each block;
        - "dark": for each sample, the number of channels that are zero at the output;
        - "ok": whether at least 25 % are saved on average and the first block survives
          in at least 95 % of steps.

    Raises:
        TypeError, ValueError: a bad argument, named.
    """
    settings = dict(locals())  # the arguments
    drops = drop_probs(num_blocks, drop_prob, rule)
    lost = 0.0
    for p in drops:  # not sum(), whose rounding differs from the script's
        lost += p
    rows = samples if mode == "row" else 1
    numbers = draws(seed, rows * num_blocks)
    kept = [
        "".join(
            "1" if numbers[row * num_blocks + i] >= p else "0"
            for i, p in enumerate(drops)
        )
        for row in range(rows)
    ]
    kept = kept if mode == "row" else kept * samples
    widths = [
        (2 * START * num_blocks + 2 * ALPHA * k + num_blocks) // (2 * num_blocks)
        for k in range(1, num_blocks + 1)
    ]
    cells = samples * num_blocks
    survivors = sum(row.count("1") for row in kept)
    evaluated = cells if mode == "row" else survivors
    average = 0 if mode == "row" else _round(100 * lost / num_blocks, 2)
    first = _round(100 * (1 - drops[0]), 2)
    # The final width, less the width after the last kept block.
    lit = [row.rfind("1") for row in kept]
    return {
        "settings": settings,
        "survival": [_round(1 - p, 4) for p in drops],
        "expected": _round(num_blocks - lost, 2),
        "kept": kept,
        "kept_blocks": _round(survivors / samples, 2),
        "cells": cells,
        "evaluated": evaluated,
        "thrown_away": evaluated - survivors,
        "saved": _round(100 * (cells - evaluated) / cells, 2),
        "average": average,
        "first": first,
        "widths": widths,
        "dark": [widths[-1] - (START if k < 0 else widths[k]) for k in lit],
        "ok": average >= SAVE and first >= FIRST,
    }


def words(result: dict[str, Any]) -> tuple[str, str]:
    """Verdict and summary."""
    s = result["settings"]
    saves = f"saves {num(result['average'])} % on average"
    survives = f"the first block survives in {num(result['first'])} % of steps"
    if result["ok"]:
        verdict = f"✓ {saves}, and {survives}"
    elif s["mode"] == "row":
        verdict = "✗ saves 0 %: in row mode every branch runs for the whole batch"
    elif result["average"] < SAVE:
        verdict = f"✗ {saves}, {SAVE} % were asked for"
    else:
        verdict = f"✗ {saves}, but {survives}, {FIRST} % were asked for"
    summary = (
        f"Mode {s['mode']}, rule {s['rule']}: {num(result['expected'])} of "
        f"{plural(s['num_blocks'], 'block')} survive on average, "
        f"{num(result['kept_blocks'])} in this draw. {result['evaluated']} of "
        f"{result['cells']} branch evaluations ran, {result['thrown_away']} for "
        "nothing."
    )
    return verdict, summary


stochastic_grid = opener(
    "stochastic_grid",
    compute,
    words,
    CONTROLS,
    title="Stochastic-depth grid",
    goal=(
        "Save at least 25 % of the branch evaluations on average, and let the first "
        "block survive in at least 95 % of steps."
    ),
)
