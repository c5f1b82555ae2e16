"""Pyramid widths: the width of every block, and the effect of rounding.

It opens with PyramidNet-110, alpha 48 and the floor of the running width: red, because
all 54 steps of 48/54 are rounded down to 0 and the net stays 16 wide. The goal is the
width that alpha promises for the last block. The exact rule always gives it; the
running floor only if no step is rounded, for additive widening if the number of blocks
divides alpha.

The slider has the depths that exist for both kinds of blocks, 18 j + 2.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from d2lutils._arguments import Positive, checked_as, one_of
from d2lutils.explorers.base import choice, num, number, opener, slider
from d2lutils.shapes import BLOCKS, WIDENINGS, pyramid_blocks
from d2lutils.shapes import pyramid_widths as exact_widths

__all__ = ["compute", "pyramid_widths", "words"]

START = 16  # width of the stem

CONTROLS = (
    slider("depth", "Depth", 20, 272, 18),
    number("alpha", "Alpha", 1, 300),
    choice("block", "Block", *((name, name) for name in BLOCKS)),
    choice("widening", "Widening", *((name, name) for name in WIDENINGS)),
    choice(
        "rounding",
        "Rounding",
        ("exact", "exact, half up"),
        ("floor", "running floor"),
    ),
)


@checked_as("pyramid_widths")
def compute(
    depth: int = 110,
    alpha: Positive = 48,
    block: Annotated[str, one_of(*BLOCKS)] = "basic",
    widening: Annotated[str, one_of(*WIDENINGS)] = "additive",
    rounding: Literal["exact", "floor"] = "floor",
) -> dict[str, Any]:
    """Widths, zeros and parameters of a PyramidNet for CIFAR (3 channels, 10 classes).

    Args:
        depth: layers with weights, 6 n + 2 for basic blocks, 9 n + 2 for bottlenecks.
        alpha: channels that the whole net adds, or the factor by which it widens.
        block: "basic" or "bottleneck", whose output is 4 times as wide.
        widening: "additive" or "multiplicative".
        rounding: "exact" rounds each exact width half up
            (`d2lutils.shapes.pyramid_widths`); "floor" rounds each width down and adds
            to the rounded one.

    Returns:
        A JSON-serialisable dict:

        - "settings": the arguments;
        - "blocks": the number of blocks;
        - "promised": 16 + alpha or 16 * alpha, the width of the last block;
        - "widths": the width of each block;
        - "extra": channels of zeros in each block's sum;
        - "share": the largest share of zeros in a sum, 0 to 1;
        - "still": the number of blocks whose sum needs no zeros;
        - "parameters": the number of trained parameters, equal to `PyramidNet`'s for
          the exact rule;
        - "ok": whether the last block is as wide as promised.

    Raises:
        TypeError: depth or alpha is not an integer.
        ValueError: an impossible depth, alpha below 1, or an unknown option.
    """
    settings = dict(locals())  # the arguments
    blocks = sum(pyramid_blocks(depth, block))
    settings["depth"] = int(depth)
    if rounding == "exact":
        widths = exact_widths(depth, alpha, block, widening)
    else:
        widths, width = [], START
        for _ in range(blocks):
            if widening == "additive":
                width += alpha // blocks
            else:  # plus 1e-9, because a root of 1.99… instead of 2 would give 31
                width = math.floor(width * alpha ** (1 / blocks) + 1e-9)
            widths.append(width)

    factor = 4 if block == "bottleneck" else 1
    extra, share, parameters, last = [], 0.0, 29 * START, START
    for w in widths:
        out = factor * w
        extra.append(out - last)
        share = max(share, (out - last) / out)
        parameters += 2 * last + 9 * w * w + 4 * w
        parameters += 9 * last * w if factor == 1 else w * last + w * out + 2 * out
        last = out
    promised = START + alpha if widening == "additive" else START * alpha
    return {
        "settings": settings,
        "blocks": blocks,
        "promised": promised,
        "widths": widths,
        "extra": extra,
        "share": share,
        "still": extra.count(0),
        "parameters": parameters + 12 * last + 10,
        "ok": widths[-1] == promised,
    }


def words(result: dict[str, Any]) -> tuple[str, str]:
    """Verdict and summary."""
    s, n, widths = result["settings"], result["blocks"], result["widths"]
    first, last, promised = widths[0], widths[-1], result["promised"]
    if result["ok"]:
        verdict = f"✓ The last block is {last} wide, as alpha promises"
    else:
        verdict = f"✗ The last block is {last} wide, {promised} are promised: "
        if s["widening"] == "additive":
            verdict += f"{s['alpha']}/{n} a block, rounded down, is {s['alpha'] // n}"
        else:
            verdict += f"{n} blocks each lose a fraction"
    most = num(math.floor(result["share"] * 1000 + 0.5) / 10)
    summary = (
        f"{n} blocks, {first} in the first block, {last} in the last, {promised} "
        f"promised. {result['parameters']:,} parameters. Zeros are at most {most} % of "
        f"a sum; {result['still']} of {n} blocks add no channel."
    )
    return verdict, summary


pyramid_widths = opener(
    "pyramid_widths",
    compute,
    words,
    CONTROLS,
    title="Pyramid widths",
    goal=(
        "Make the last block as wide as alpha promises. Then do it once more, but "
        "keep the running floor."
    ),
)
