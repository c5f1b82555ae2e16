"""The kernel mixer: mixing kernels, or mixing the answers of all kernels.

It opens with a ReLU inside each expert and all routing values at one half: red, because
the weighted sum of the answers is not the answer of the mixed kernel. With experts on,
there are three ways to make them equal: the ReLU after the mixing, so that only
convolutions are mixed; a single expert; or experts whose answers have the same sign in
every pixel.

A click on an expert's kernel plays it solo: the other experts are off, and the sliders
do not move.

Images are integers in units of a quarter, kernels of a sixteenth and routing values of
a tenth. There is only one division, at the end, so that Python and JavaScript agree to
the bit.
"""

from __future__ import annotations

from typing import Any

from d2lutils import _arguments
from d2lutils.explorers.base import clicked, num, number, opener, slider, switch

__all__ = ["compute", "kernel_mixer", "words"]

# An edge, a dot and a stripe, in quarters.
IMAGE = (
    "00000000",
    "00003330",
    "04003330",
    "00003330",
    "00003330",
    "22223330",
    "00003330",
    "00000000",
)
SIZE = len(IMAGE)

# Row by row, in sixteenths.
EXPERTS: dict[str, tuple[int, ...]] = {
    "vertical": (-16, 0, 16, -16, 0, 16, -16, 0, 16),
    "horizontal": (-16, -16, -16, 0, 0, 0, 16, 16, 16),
    "blur": (1, 2, 1, 2, 4, 2, 1, 2, 1),
    "identity": (0, 0, 0, 0, 16, 0, 0, 0, 0),
}
K, TAPS = len(EXPERTS), 9

CONTROLS = (
    slider("vertical", "Vertical", 0, 1, 0.1),
    slider("horizontal", "Horizontal", 0, 1, 0.1),
    slider("blur", "Blur", 0, 1, 0.1),
    slider("identity", "Identity", 0, 1, 0.1),
    switch("inside", "ReLU inside the experts"),
    number("side", "Map side, for the cost", 1, 256),
    clicked("solo", "Expert that plays solo", -1, K - 1),
)


def _convolved(kernel: tuple[int, ...]) -> list[list[int]]:
    """The image, zero-padded, convolved with a kernel; in units of 1/64."""
    return [
        [
            sum(
                kernel[3 * i + j] * int(IMAGE[y + i - 1][x + j - 1])
                for i in range(3)
                for j in range(3)
                if 0 <= y + i - 1 < SIZE and 0 <= x + j - 1 < SIZE
            )
            for x in range(SIZE)
        ]
        for y in range(SIZE)
    ]


@_arguments.checked_as("kernel_mixer")
def compute(
    vertical: float = 0.5,
    horizontal: float = 0.5,
    blur: float = 0.5,
    identity: float = 0.5,
    inside: _arguments.Bool = True,
    side: _arguments.Positive = 8,
    solo: int = -1,
) -> dict[str, Any]:
    """The mixed kernel's answer, and the mixture of the experts' answers.

    Args:
        vertical, horizontal, blur, identity: routing values from 0 to 1 in tenths.
        inside: whether the ReLU of "mix answers" is in each expert, before the weighted
            sum, or after it.
        side: side of the square map for which multiply-adds are counted.
        solo: the only expert, 0 to 3, that is on; -1 for all.

    Returns:
        A JSON-serialisable dict:

        - "settings": the arguments;
        - "routing": the four values in effect;
        - "kernel": the mixed kernel, row by row;
        - "answers": the image convolved with each expert's kernel, before any ReLU;
        - "mixed": ReLU(mixed kernel * image);
        - "summed": the weighted sum of the answers, with the ReLU inside or after it;
        - "largest": the largest difference of the two, "unequal": how many pixels
          differ, "pixel": row and column of the first largest difference, or None;
        - "on": experts whose routing value is not 0;
        - "cost": multiply-adds for one channel, mixing kernels and mixing answers;
        - "way": why the two are equal: "outside", "one" or "signs", else "";
        - "ok": whether the two are equal and an expert is on.

    Raises:
        TypeError, ValueError: a bad argument, named.
    """
    owner = "kernel_mixer"
    given = (vertical, horizontal, blur, identity)
    for control, value in zip(CONTROLS, given, strict=False):  # the first four
        control.check(owner, value)
    tenths = [round(10 * value) for value in given]
    settings: dict[str, Any] = {
        name: t / 10 for name, t in zip(EXPERTS, tenths, strict=True)
    }
    solo = _arguments.integer(owner, "solo", solo)
    if not -1 <= solo < K:
        raise ValueError(f"{owner}: solo must be from -1 to {K - 1}, got {solo}")
    settings |= {"inside": inside, "side": side, "solo": solo}
    tenths = [t if solo in (-1, k) else 0 for k, t in enumerate(tenths)]

    kernels = list(EXPERTS.values())
    answers = [_convolved(kernel) for kernel in kernels]
    kernel = [
        sum(t * w[i] for t, w in zip(tenths, kernels, strict=True)) for i in range(TAPS)
    ]
    mixed, summed = [], []
    largest, unequal, pixel = 0, 0, None
    # One convolution with the mixed kernel, not a shortcut through the answers.
    for y, row in enumerate(_convolved(tuple(kernel))):
        mixed.append([max(0, v) for v in row])
        sums = []
        for x in range(SIZE):
            parts = [a[y][x] for a in answers]
            if inside:
                parts = [max(0, v) for v in parts]
            total = sum(t * v for t, v in zip(tenths, parts, strict=True))
            sums.append(max(0, total))
            gap = abs(sums[x] - mixed[y][x])
            unequal += gap > 0
            if gap > largest:
                largest, pixel = gap, [y, x]
        summed.append(sums)
    on = K - tenths.count(0)
    ok = on > 0 and not unequal
    way = ("one" if on == 1 else "signs") if inside else "outside"
    places = side * side
    return {
        "settings": settings,
        "routing": [t / 10 for t in tenths],
        "kernel": [v / 160 for v in kernel],
        "answers": [[[v / 64 for v in row] for row in a] for a in answers],
        "mixed": [[v / 640 for v in row] for row in mixed],
        "summed": [[v / 640 for v in row] for row in summed],
        "largest": largest / 640,
        "unequal": unequal,
        "pixel": pixel,
        "on": on,
        "cost": [(K + places) * TAPS, K * places * (TAPS + 1)],
        "way": way if ok else "",
        "ok": ok,
    }


WAYS = {
    "outside": "✓ Equal, way 1 of 3: the ReLU waits until all is summed",
    "one": "✓ Equal, way 2 of 3: one expert alone, nothing to mix",
    "signs": "✓ Equal, way 3 of 3: no two experts differ in sign, anywhere",
}


def words(result: dict[str, Any]) -> tuple[str, str]:
    """Verdict and summary."""
    largest = num(result["largest"])
    if result["ok"]:
        verdict = WAYS[result["way"]]
    elif result["on"]:
        verdict = (
            f"✗ Up to {largest} apart in {result['unequal']} of {SIZE * SIZE} pixels: "
            "each ReLU cuts too soon"
        )
    else:
        verdict = "✗ Equal, but only because every expert is off"
    routing = ", ".join(
        f"{name} {num(r)}" for name, r in zip(EXPERTS, result["routing"], strict=True)
    )
    place = "inside the experts" if result["settings"]["inside"] else "after the sum"
    kernels, answers = result["cost"]
    summary = (
        f"Routing: {routing}; ReLU {place}. Mixed kernel: "
        f"{', '.join(num(v) for v in result['kernel'])}. Largest difference of the two "
        f"answers: {largest}. Multiply-adds: mix kernels {kernels:,}, mix answers "
        f"{answers:,}."
    )
    return verdict, summary


kernel_mixer = opener(
    "kernel_mixer",
    compute,
    words,
    CONTROLS,
    title="Kernel mixer",
    goal=(
        "Make the two answers equal with at least one expert on. There are three ways; "
        "two of them keep the ReLU inside."
    ),
    tables={"image": IMAGE, "experts": EXPERTS},
)
