"""The residual builder: make branch and shortcut fit, so that they can be added.

It opens with the call in the chapter's question: 64 steps, 10 channels, three chunks
with kernel 3, stride 2 and no padding, and `x` itself as the shortcut. Its sum of
lengths, 27 + 64, is red.

No single change makes it green, but two can. Within the ranges of the controls there
are six solutions: padding 1 or kernel 1, each with stride 1 (64 + 64), a projection or
zeros (32 + 32). The tests find them by brute force.
"""

from __future__ import annotations

from typing import Annotated, Any

from d2lutils._arguments import NonNegative, Positive, checked_as, one_of
from d2lutils.explorers.base import choice, number, opener, plural, slider
from d2lutils.shapes import output_size

__all__ = ["compute", "residual_builder", "words"]

SHORTCUTS = ("identity", "projection", "zeros")

CONTROLS = (
    number("length", "Length", 1, 128),
    number("in_channels", "Channels in", 1, 64),
    number("channels", "Channels out", 1, 64),
    choice("shortcut", "Shortcut", *((name, name) for name in SHORTCUTS)),
    slider("kernel_size", "Kernel size", 1, 9),
    slider("stride", "Stride", 1, 4),
    slider("padding", "Padding", 0, 4),
    slider("chain_length", "Chunks", 1, 6),
)


@checked_as("residual_builder")
def compute(
    length: Positive = 64,
    in_channels: Positive = 10,
    channels: Positive = 10,
    kernel_size: Positive = 3,
    stride: Positive = 2,
    chain_length: Positive = 3,
    padding: NonNegative = 0,
    shortcut: Annotated[str, one_of(*SHORTCUTS)] = "identity",
) -> dict[str, Any]:
    """The shapes of an input (N, in_channels, length) in a block `ResidualChunks(...)`.

    The first chunk of the branch has the stride and the new width, the others change
    neither. The shortcut is `x` itself ("identity"), a 1x1 convolution with the stride
    and without padding ("projection"), or every stride-th step of x with channels of
    zeros appended ("zeros"). The identity can have neither a stride nor a new width,
    even if the padding happens to make the lengths equal.

    Args:
        length: steps of the input.
        in_channels: channels of the input.
        channels: channels of each chunk and of the output.
        kernel_size: taps of the convolutions in the branch.
        stride: stride of the first chunk and of the shortcut.
        chain_length: chunks in the branch.
        padding: zeros on each side in each chunk; one number, not "same".
        shortcut: "identity", "projection" or "zeros".

    Returns:
        A JSON-serialisable dict:

        - "settings": the arguments;
        - "ladder": the length of the input and after each chunk, None from the first
          chunk whose window does not fit into its padded input;
        - "widths": the channels of the input and after each chunk;
        - "branch", "skip": [length, channels] of the two summands ("branch" is None if
          a chunk does not fit);
        - "ok": whether they can be added;
        - "sum": the sum in numbers, such as "27 + 64", "" without a branch;
        - "reason": the first reason against the sum (a window that does not fit,
          lengths, channels, an identity with a stride), "" if it is possible;
        - "output": [length, channels], None without a sum;
        - "parameters": the numbers of trained parameters in "branch", "shortcut" and
          "total", as in `ResidualChunks`: convolutions without bias, each followed by
          a batch norm with scale and shift.

    Raises:
        TypeError: an argument is not an integer.
        ValueError: a size below 1, a negative padding, an unknown shortcut.
    """
    settings = dict(locals())  # the arguments
    ladder: list[int | None] = [length]
    reason = ""
    for i in range(chain_length):
        n = ladder[-1]
        if n is not None and kernel_size > n + 2 * padding:
            padded = f" padded to {n + 2 * padding}" if padding else ""
            reason = f"the kernel {kernel_size} does not fit length {n}{padded}"
        if n is None or reason:
            ladder.append(None)
        else:
            step = stride if i == 0 else 1
            ladder.append(output_size(n, kernel_size, step, padding))

    skip = [length, in_channels]
    if shortcut != "identity":
        skip[0] = output_size(length, 1, stride)
    if shortcut == "projection":
        skip[1] = channels
    if shortcut == "zeros":
        skip[1] = max(in_channels, channels)

    end = ladder[-1]
    total = ""
    if end is not None:
        total = f"{end} + {skip[0]}"
        if end != skip[0]:
            reason = f"lengths {end} and {skip[0]} differ"
        elif channels != skip[1]:
            total = f"{channels}×{end} + {skip[1]}×{skip[0]}"
            reason = f"channels {channels} and {skip[1]} differ"
        elif shortcut == "identity" and stride > 1:
            reason = "the identity cannot stride, its steps only happen to be as many"

    rest = chain_length - 1
    weights = kernel_size * channels * (in_channels + rest * channels)
    branch = weights + 2 * channels * chain_length
    extra = channels * (in_channels + 2) if shortcut == "projection" else 0
    return {
        "settings": settings,
        "ladder": ladder,
        "widths": [in_channels] + [channels] * chain_length,
        "branch": None if end is None else [end, channels],
        "skip": skip,
        "ok": not reason,
        "sum": total,
        "reason": reason,
        "output": None if reason else [end, channels],
        "parameters": {"branch": branch, "shortcut": extra, "total": branch + extra},
    }


def words(result: dict[str, Any]) -> tuple[str, str]:
    """Verdict and summary."""
    s, skip, counts = result["settings"], result["skip"], result["parameters"]
    total = result["sum"]
    if result["ok"]:
        n, c = result["output"]
        verdict = f"✓ {total}: the sum has {plural(n, 'step')} and "
        verdict += plural(c, "channel")
    else:
        verdict = f"✗ {total}{': ' if total else ''}{result['reason']}"
    steps = " → ".join("✗" if n is None else str(n) for n in result["ladder"])
    summary = (
        f"Branch: {steps} steps, {plural(s['channels'], 'channel')}. "
        f"Shortcut ({s['shortcut']}): {plural(skip[0], 'step')}, "
        f"{plural(skip[1], 'channel')}. "
        f"Parameters: {counts['branch']} + {counts['shortcut']}."
    )
    return verdict, summary


residual_builder = opener(
    "residual_builder",
    compute,
    words,
    CONTROLS,
    title="Residual builder",
    goal="Change the call until the two paths can be added: make it green.",
)
