"""The checks of the chapter `stochastic_depth`."""

from __future__ import annotations

import copy
from statistics import NormalDist
from typing import Any

from d2lutils.exercises import (
    brief,
    by_property,
    framework,
    require,
    require_kind,
)
from d2lutils.shapes import drop_probs


def _counts() -> list[tuple[Any, ...]]:
    """Counts, steps, claimed probabilities, the false-alarm rate, and the verdict.

    The counts are not random. One block strays 2 % less, or 2 % more, than the limit
    that belongs to the rate and the number of blocks; the others stray less.
    """
    steps = 100_000_000
    cases: list[tuple[Any, ...]] = []
    for blocks, alarm in ((1, 0.05), (6, 0.05), (54, 0.05), (54, 0.001), (54, 1e-6)):
        claimed = drop_probs(blocks, 0.5)
        limit = NormalDist().inv_cdf(1 - alarm / blocks / 2)
        for share, sign in ((0.98, 1), (1.02, 1), (0.98, -1), (1.02, -1)):
            counts = []
            for i, p in enumerate(claimed):
                # In the middle, or as far as an ordinary block.
                away = share * limit if i == blocks // 2 else min(1, limit / 2)
                error = (steps * p * (1 - p)) ** 0.5
                counts.append(round(steps * p + sign * away * error))
            cases.append((counts, steps, claimed, alarm, share > 1))
    paper, zero = drop_probs(54, 0.5), drop_probs(54, 0.5, "from zero")
    for made in (zero, paper[::-1]):  # the latter has the same total
        counts = [round(steps * p) for p in made]
        cases.append((counts, steps, paper, 0.001, True))
    certain = [0.0, 0.5, 1.0]
    return [
        *cases,
        ([0, 505, 1000], 1000, certain, 0.01, False),
        ([1, 505, 1000], 1000, certain, 0.01, True),
        ([0, 505, 999], 1000, certain, 1e-9, True),
    ]


@by_property(_counts)
def stochastic_depth_rejects(
    answer: Any,
    dropped: list[int],
    steps: int,
    probabilities: list[float],
    alarm: float,
    wrong: bool,
) -> None:
    got = answer(list(dropped), steps, list(probabilities), alarm)
    require(got in (True, False), f"True or False is expected, got {brief(got)}")
    blocks = len(probabilities)
    verdict = (
        "lie beyond the limit and were accepted"
        if wrong
        else "lie within the limit and were rejected"
    )
    where = f"{blocks} block{'s' * (blocks > 1)} and a false-alarm rate of {alarm:g}"
    require(bool(got) == wrong, f"with {where}, counts {verdict}")


@by_property(("conv", 0.5), ("norm", 0.5), ("norm", 0.75), ("pyramid", 0.9375))
def stochastic_depth_paper(answer: Any, kind: str, survival: float) -> None:
    torch = framework("pytorch")
    nn = torch.nn
    layers = [nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)]
    layers += [nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)]
    if kind != "conv":
        layers.append(nn.BatchNorm2d(4))
    if kind == "pyramid":
        layers.insert(0, nn.BatchNorm2d(4))
    branch = nn.Sequential(*layers).double()
    with torch.no_grad():  # as if trained: no initial value remains
        for i, tensor in enumerate([*branch.parameters(), *branch.buffers()]):
            if tensor.is_floating_point():
                values = torch.sin(torch.arange(tensor.numel()) * 1.7 + i)
                tensor.copy_((1.25 + values).reshape(tensor.shape) / 4)
    x = torch.sin(torch.arange(2 * 4 * 25).double()).reshape(2, 4, 5, 5)
    original = copy.deepcopy(branch)
    changed = answer(branch, survival)
    require_kind(changed, nn.Module, "a Module")
    names, found = (
        [name for name, _ in net.named_parameters()] for net in (original, changed)
    )
    stay = "the layers and their parameters must stay, with other values"
    require(found == names, stay)
    with torch.no_grad():
        original.eval()
        changed.eval()
        equal = torch.allclose(x + survival * changed(x), x + original(x))
        require(equal, "in evaluation the paper's block differs from the library's")
        original.train()
        changed.train()
        equal = torch.allclose(x + changed(x), x + original(x) / survival)
        require(equal, "in a training pass that keeps the branch the two differ")
