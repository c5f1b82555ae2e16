"""The batch fold: one convolution for a batch whose examples have their own kernels.

N examples of I channels become one example of N * I channels, and the layer becomes a
convolution with N groups, each with the kernel of its example. The figure opens with a
batch of one, folded channel by channel. This order is wrong, but with one example the
output is right and the test passes. Two changes solve the puzzle: a larger batch makes
the test fail, and folding example by example mends the fold.

Each example is a single pixel and each kernel has one output channel, so an output is a
sum of products of small whole numbers. It is compared with the output of a loop over
the examples. The numbers are chosen so that two sums are equal only if they have the
same products; a test verifies this for all settings.

These batches hide a mistake:

- the order by channel is hidden by a batch of one, by a single channel and by examples
  that are all the same number. Equal examples do not hide it, except for one output:
  with two channels and three equal examples, the middle output reads channel 0 of the
  last and channel 1 of the first example, which equal its own;
- reversed examples are hidden by equal examples, whatever the kernels;
- reversed kernels are hidden by equal kernels, and so by equal examples if the kernels
  are computed from them.

The middle example of an odd batch keeps its place in both reversals.
"""

from __future__ import annotations

from typing import Annotated, Any

from d2lutils import _arguments
from d2lutils.explorers.base import (
    Pin,
    choice,
    clicked,
    number,
    opener,
    plural,
    slider,
)

__all__ = ["batch_fold", "compute", "words"]

NAMES = "ABCD"
# A row for each example: its value in each channel, and its kernel's weights.
SAMPLES = ((6, 1, 7, 3), (5, 2, 1, 6), (1, 3, 4, 7), (7, 1, 5, 4))
KERNELS = ((4, 2, 5, 3), (3, 1, 4, 5), (2, 3, 1, 5), (5, 3, 1, 4))
CONSTANT = 2
MOST = 4  # the largest number of examples and of channels

ORDERS = {"example": "by example", "channel": "by channel", "reverse": "reversed"}
ALIKE = {"distinct": "different", "equal": "equal", "constant": "one number"}
SOURCES = {"routed": "from routing", "given": "different", "shared": "equal"}
HANDED = {"own": "each its own", "reverse": "reversed"}
MISTAKES = {
    "channel": "an order by channel",
    "reverse": "reversed examples",
    "kernels": "reversed kernels",
}

CONTROLS = (
    number("batch_size", "Batch size", 1, MOST),
    slider("channels", "Channels", 1, MOST),
    choice("order", "Order of the fold", *ORDERS.items()),
    choice("samples", "Examples", *ALIKE.items()),
    choice("kernels", "Kernels", *SOURCES.items()),
    choice("handed", "Kernels handed out", *HANDED.items()),
    clicked("pin", "Channel followed", -1, MOST * MOST - 1),
)


def _fold(order: str, n: int, channels: int) -> list[list[int]]:
    """[example, channel] at each position of the folded strip."""
    strip = []
    for p in range(n * channels):
        e, c = divmod(p, channels)
        if order == "channel":
            e, c = p % n, p // n
        strip.append([n - 1 - e if order == "reverse" else e, c])
    return strip


def _outputs(
    x: list[list[int]], kernels: list[list[int]], strip: list[list[int]], hands: range
) -> list[int]:
    """The sum of each group; group g has the kernel of example hands[g]."""
    width = len(kernels[0])
    return [
        sum(
            kernels[hand][i] * x[e][c]
            for i, (e, c) in enumerate(strip[g * width : (g + 1) * width])
        )
        for g, hand in enumerate(hands)
    ]


def _few(owner: str, name: str, value: Any) -> int:
    value = _arguments.integer(owner, name, value)
    _arguments.number(owner, name, value, 1, MOST)
    return value


Few = Annotated[int, _arguments.Rule(_few)]


@_arguments.checked_as("batch_fold")
def compute(
    batch_size: Few = 1,
    channels: Few = 3,
    order: Annotated[str, _arguments.one_of(ORDERS)] = "channel",
    samples: Annotated[str, _arguments.one_of(ALIKE)] = "distinct",
    kernels: Annotated[str, _arguments.one_of(SOURCES)] = "routed",
    handed: Annotated[str, _arguments.one_of(HANDED)] = "own",
    pin: Pin = -1,
) -> dict[str, Any]:
    """Fold a batch into the groups of one convolution, and compare with the loop.

    Args:
        batch_size: number of examples, 1 to 4.
        channels: channels of each example, 1 to 4.
        order: the order of the folded channels: "example" (right), "channel"
            (transposed first) or "reverse" (by example, the last one first).
        samples: "distinct", "equal", or "constant" (equal, and all the same number).
        kernels: "routed" (computed from the example, so equal for equal examples),
            "given" (all different) or "shared" (all equal).
        handed: the kernel of each group: its "own", or in "reverse" order.
        pin: a position of the strip to follow; -1, or one beyond the last, for none.

    Returns:
        A JSON-serialisable dict:

        - "settings": the arguments;
        - "x", "kernels": a row of numbers for each example;
        - "strip": [example, channel] at each position; "hands": the example whose
          kernel each group has; "fits": at each position, whether the weight there
          belongs to that channel of that example;
        - "outputs", "loop": the outputs of the fold and of the loop; "right": where
          they agree; "wrong": how many do not; "lucky": the groups whose output is
          right although its products are not those of the loop;
        - "shows": how many outputs each single mistake would change on this batch;
        - "mended": whether there is no mistake in the settings;
        - "pin": None, or a dict about the position followed: "position", "example",
          "channel", and the "kernel" (an example) that reads it "as" a channel;
        - "ok": whether the fold is mended and the batch would show every mistake.

    Raises:
        TypeError, ValueError: a bad argument, named.
    """
    settings = dict(locals())  # the arguments
    n, width = batch_size, channels
    equal = samples != "distinct"
    alike = kernels == "shared" or (kernels == "routed" and equal)
    rows = [list(SAMPLES[0 if equal else e][:width]) for e in range(n)]
    if samples == "constant":
        rows = [[CONSTANT] * width] * n
    weights = [list(KERNELS[0 if alike else e][:width]) for e in range(n)]
    own, back = range(n), range(n - 1, -1, -1)
    hands = own if handed == "own" else back
    strip = _fold(order, n, width)
    outputs = _outputs(rows, weights, strip, hands)
    loop = _outputs(rows, weights, _fold("example", n, width), own)

    def changed(order: str, hands: range) -> int:
        other = _outputs(rows, weights, _fold(order, n, width), hands)
        return sum(a != b for a, b in zip(other, loop, strict=True))

    right = [a == b for a, b in zip(outputs, loop, strict=True)]
    shows = {
        "channel": changed("channel", own),
        "reverse": changed("reverse", own),
        "kernels": changed("example", back),
    }
    lucky = [
        g
        for g, hand in enumerate(hands)
        if right[g]
        and (hand, strip[g * width : (g + 1) * width])
        != (g, [[g, i] for i in range(width)])
    ]
    mended = order == "example" and handed == "own"
    followed = None
    if 0 <= pin < n * width:
        g, i = divmod(pin, width)
        followed = {
            "position": pin,
            "example": strip[pin][0],
            "channel": strip[pin][1],
            "kernel": hands[g],
            "as": i,
        }
    return {
        "settings": settings,
        "x": rows,
        "kernels": weights,
        "strip": strip,
        "hands": list(hands),
        "fits": [at == [hands[p // width], p % width] for p, at in enumerate(strip)],
        "outputs": outputs,
        "loop": loop,
        "right": right,
        "wrong": right.count(False),
        "lucky": lucky,
        "shows": shows,
        "mended": mended,
        "pin": followed,
        "ok": mended and all(shows.values()),
    }


def words(result: dict[str, Any]) -> tuple[str, str]:
    """Verdict and summary."""
    n, wrong, pin = len(result["loop"]), result["wrong"], result["pin"]
    if result["ok"]:
        verdict = (
            f"✓ mended: {n} of {plural(n, 'output')} as in the loop, and this batch "
        )
        verdict += "would show every mistake"
    elif result["mended"]:
        hidden = [text for name, text in MISTAKES.items() if not result["shows"][name]]
        listed = " and ".join(", ".join(hidden).rsplit(", ", 1))
        verdict = f"✗ mended, but this batch would hide {listed}"
    elif wrong:
        verdict = f"✗ exposed: {wrong} of {n} outputs wrong. Now mend the fold"
    else:
        verdict = "✗ nobody notices: the test passes, and the fold is wrong"
    order = " ".join(f"{NAMES[e]}{c}" for e, c in result["strip"])
    hands = ", ".join(NAMES[e] for e in result["hands"])
    outputs, loop = (", ".join(map(str, result[key])) for key in ("outputs", "loop"))
    summary = f"Folded: {order}. Kernels: {hands}. Outputs: {outputs}; "
    summary += f"the loop's: {loop}."
    if pin is not None:
        here = f"{NAMES[pin['example']]}{pin['channel']}"
        kernel = NAMES[pin["kernel"]]
        read = f"{kernel}{pin['as']}"
        reads = "reads it as such ✓" if here == read else f"takes it for {read} ✗"
        summary += f" Followed: position {pin['position']} is {here}; kernel {kernel} "
        summary += f"{reads}."
    return verdict, summary


batch_fold = opener(
    "batch_fold",
    compute,
    words,
    CONTROLS,
    title="Batch fold",
    goal=(
        "This fold is wrong, and its test is green. Find a batch that turns the test "
        "red, then mend the fold."
    ),
    tables={
        "samples": SAMPLES,
        "kernels": KERNELS,
        "constant": CONSTANT,
        "mistakes": MISTAKES,
    },
)
