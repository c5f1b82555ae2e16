"""The dimension explorer: which inputs of an axis reach an output, and which do not.

It opens with NiN at 224, where the last five inputs are lost: red. With 227 inputs none
is lost; padding 1 makes it worse, padding 2 cures it.

At the top is the axis: all inputs if there are at most 32, else the last 16 or those
around the pinned one. Below it are a window and its output, and at the bottom the whole
chain at the scale of the input. A click on an input pins it: the outputs that depend on
it, in every layer, turn blue.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any, Literal

from d2lutils._arguments import Bool, NonNegative, Positive, checked_as, one_of
from d2lutils.explorers.base import (
    Pin,
    choice,
    clicked,
    number,
    opener,
    slider,
    switch,
)
from d2lutils.shapes import (
    FRAMEWORKS,
    NIN,
    Window,
    chain_readers,
    chain_unread,
    receptive_field,
    repairing_padding,
    unread_parts,
)

__all__ = ["compute", "dimensions", "words"]

LAST = 255  # the slider "Window shown" at its right end: the last window
LIMIT = 512  # the largest size in the search for a lossless one

CONTROLS = (
    slider("n", "Inputs", 1, 256),
    choice(
        "chain",
        "Layers",
        ("nin", "NiN"),
        ("conv", "one convolution"),
        ("pool", "one pooling"),
    ),
    number("kernel_size", "Kernel size", 1, 16),
    slider("stride", "Stride", 1, 8),
    slider("padding", "Padding", 0, 8),
    slider("dilation", "Dilation", 1, 4),
    choice(
        "framework", "Framework", ("pytorch", "PyTorch"), ("gluon", "Gluon (MXNet)")
    ),
    switch("ceil_mode", "Pooling rounds up"),
    slider("step", "Window shown", 0, LAST),
    clicked("pin", "Pinned input", -1, 255),
)


def _plan(s: dict[str, Any]) -> tuple[Window, ...]:
    """The layers; ValueError with the layer's name if a window is impossible."""
    window = (s["kernel_size"], s["stride"], s["padding"], s["dilation"])
    if s["chain"] != "nin":
        return (Window(*window, s["ceil_mode"], s["chain"], s["chain"]),)
    rest = (
        replace(layer, ceil_mode=s["ceil_mode"]) if layer.kind == "pool" else layer
        for layer in NIN[1:]
    )
    return (Window(*window, name="conv1"), *rest)


@lru_cache(maxsize=64)
def _nearest(
    n: int, layers: tuple[Window, ...], framework: str
) -> tuple[int | None, int | None]:
    """The nearest lossless sizes at or below `n` and at or above it, up to LIMIT."""

    def lossless(m: int) -> bool:
        try:
            return not chain_unread(m, layers, framework)
        except ValueError:
            return False

    return (
        next((m for m in range(n, 0, -1) if lossless(m)), None),
        next((m for m in range(n, LIMIT + 1) if lossless(m)), None),
    )


@checked_as("dimensions")
def compute(
    chain: Literal["nin", "conv", "pool"] = "nin",
    n: Positive = 224,
    kernel_size: Positive = 11,
    stride: Positive = 4,
    padding: NonNegative = 0,
    dilation: Positive = 1,
    ceil_mode: Bool = False,
    framework: Annotated[str, one_of(*FRAMEWORKS)] = "pytorch",
    step: NonNegative = LAST,
    pin: Pin = -1,
) -> dict[str, Any]:
    """What a chain of layers does with an axis of `n` inputs.

    Args:
        chain: "conv" or "pool" for a single layer, "nin" for `shapes.NIN`.
        n: inputs along the axis.
        kernel_size, stride, padding, dilation: the numbers of the single layer, or of
            NiN's first.
        ceil_mode: whether the pooling layers round up.
        framework: "pytorch" or "gluon", whose rules in ceil mode differ.
        step: the window of the first layer to show; beyond the last one, the last.
        pin: the position of an input to follow; -1, or one beyond the last, for none.

    Returns:
        A JSON-serialisable dict:

        - "settings": the arguments;
        - "error": why there is no output, in the words of `shapes`, else "";
        - "sizes": of the input and after each layer, None from a failing layer on;
        - "layers": for each layer a dict of its numbers and

          - "inputs", "outputs": sizes, None if not reached;
          - "value": (inputs - span + 2 * padding) / stride + 1, not rounded, and
            "remainder", that of the division; None if not reached;
          - "unread": positions of its inputs, in "left", "gaps" and "right";
          - "idle": outputs that do not affect the last layer's;
          - "readers": outputs that depend on the pinned input;
          - "size", "jump", "offset": the receptive field of its outputs;

        - "unread": inputs that do not affect the last layer's outputs, in the same
          parts, and "lost", their number;
        - "windows": the number of windows of the first layer, "step": the one shown or
          None, "taps": the positions that it reads, including padding;
        - "pin": the input followed, or None;
        - "below", "above": the nearest lossless sizes from 1 to 512, or None; both are
          `n` if that is lossless;
        - "repair": the smallest padding with which the first layer reads every input,
          or None;
        - "ok": whether there are outputs and nothing is lost.

    Raises:
        TypeError, ValueError: a bad argument, named. A window that does not fit, or
            settings that a layer refuses, are reported in "error" instead.
    """
    s = dict(locals())  # the arguments
    followed = pin if 0 <= pin < n else None
    reached = [n]
    # An impossible window also has a row, without outputs.
    window = (kernel_size, stride, padding, dilation)
    layers: tuple[Window, ...] = (Window(*window, False, "conv", chain),)
    plan: tuple[Window, ...] = ()
    try:
        layers = plan = _plan(s)
        for layer in layers:
            reached.append(layer.output_size(reached[-1], framework))
        error = ""
    except ValueError as reason:
        error = str(reason)
    sizes = [*reached, *[None] * (len(layers) + 1 - len(reached))]

    lost: set[int] = set()
    readers: list[set[int]] = [set()] * len(layers)
    if not error:
        lost = chain_unread(n, layers, framework)
        if followed is not None:
            readers = chain_readers(n, layers, followed, framework)
    rows = []
    for i, layer in enumerate(layers):
        size, outputs = sizes[i], sizes[i + 1]
        kind = layer.kind if plan else chain
        own: set[int] = set()
        idle: set[int] = set()
        if not error:
            own = chain_unread(reached[i], (layer,), framework)
            if i + 1 < len(layers):
                idle = chain_unread(reached[i + 1], layers[i + 1 :], framework)
        room = None
        if size is not None and outputs is not None:
            room = size + 2 * layer.padding - layer.span
        rows.append(
            {
                "name": layer.name,
                "kind": kind,
                "kernel_size": layer.kernel_size,
                "stride": layer.stride,
                "padding": layer.padding,
                "dilation": layer.dilation,
                "span": layer.span,
                "ceil_mode": ceil_mode and kind == "pool",
                "inputs": size,
                "outputs": outputs,
                "value": None if room is None else room / layer.stride + 1,
                "remainder": None if room is None else room % layer.stride,
                "unread": unread_parts(own, size or 1),
                "idle": sorted(idle),
                "readers": sorted(readers[i]),
            }
            | vars(receptive_field(layers[: i + 1]))
        )

    windows = sizes[1] or 0
    shown = min(s["step"], windows - 1) if windows else None
    below, above = _nearest(n, plan, framework) if plan else (None, None)
    return {
        "settings": s,
        "error": error,
        "sizes": sizes,
        "layers": rows,
        "unread": unread_parts(lost, n),
        "lost": len(lost),
        "windows": windows,
        "step": shown,
        "taps": [] if shown is None else layers[0].taps(n, framework)[shown].tolist(),
        "pin": followed,
        "below": below,
        "above": above,
        "repair": _repairing_padding(s),
        "ok": not error and not lost,
    }


def _repairing_padding(s: dict[str, Any]) -> int | None:
    """The smallest possible padding with which the first layer reads all inputs."""
    pool = s["chain"] == "pool"
    up, wide = s["ceil_mode"] and pool, s["dilation"] > 1
    if s["chain"] == "conv" and s["ceil_mode"]:
        return None
    if pool and wide and s["framework"] == "gluon":
        return None
    window = (s["n"], s["kernel_size"], s["stride"], s["dilation"])
    padding = repairing_padding(*window, up, s["framework"])
    return None if pool and padding and 2 * padding > s["kernel_size"] else padding


def _listed(positions: list[int]) -> str:
    """Positions as text, at most four contiguous runs: "0, 2, 4 to 9"."""
    runs: list[list[int]] = []
    for q in positions:
        if runs and q == runs[-1][1] + 1:
            runs[-1][1] = q
        else:
            runs.append([q, q])
    words = [
        f"{a}" if a == b else f"{a}, {b}" if b == a + 1 else f"{a} to {b}"
        for a, b in runs[:4]
    ]
    return ", ".join(words + ["…"] * (len(runs) > 4)) or "none"


def words(result: dict[str, Any]) -> tuple[str, str]:
    """Verdict and summary."""
    n, pin = result["settings"]["n"], result["pin"]
    where = {"left": "on the left", "gaps": "in gaps", "right": "on the right"}
    places = "; ".join(
        f"{_listed(result['unread'][side])} {there}"
        for side, there in where.items()
        if result["unread"][side]
    )
    if result["error"]:
        verdict = f"✗ {result['error']}"
    elif result["ok"]:
        verdict = f"✓ nothing is lost: of {n} inputs each reaches an output"
    else:
        verdict = f"✗ {result['lost']} of {n} inputs lost: {places}"
    sizes = " → ".join("✗" if m is None else str(m) for m in result["sizes"])
    summary = f"Sizes {sizes}."
    if not result["error"]:
        inside = [q for q in result["taps"] if 0 <= q < n]
        reads = [_listed(inside)] if inside else []
        if padding := len(result["taps"]) - len(inside):
            reads.append(f"{padding} of padding")
        summary += f" Window {result['step']} reads {' and '.join(reads)}."
        summary += f" Lost: {places or 'none'}."
    if pin is not None:
        reach = "; ".join(
            f"{row['name']} {_listed(row['readers'])}" for row in result["layers"]
        )
        summary += f" Outputs that depend on input {pin}: {reach}."
    return verdict, summary


dimensions = opener(
    "dimensions",
    compute,
    words,
    CONTROLS,
    title="Dimension explorer",
    goal="Make the red vanish: let every input reach an output at the end.",
)
