"""The checks of the chapter `stochastic_depth`."""

from __future__ import annotations

import copy
from statistics import NormalDist
from typing import Any

from d2lutils.exercises import (
    brief,
    by_property,
    by_reference,
    framework,
    require,
    require_kind,
)
from d2lutils.shapes import drop_probs


@by_reference((54, 27), (54, 40.25), (54, 54), (9, 5), (18, 12.6), (1, 0.25))
def stochastic_depth_last(num_blocks: int, expected: float) -> float:
    return 1 - 2 * (num_blocks - expected) / (num_blocks + 1)


def _counts() -> list[tuple[Any, ...]]:
    """Counts, steps, claimed probabilities, and whether the claim is wrong.

    The counts are not random: they deviate from their expectations by the quantiles of
    the normal distribution, as those of a fair sample would. A wrong claim is at least
    eight standard errors away in some block.
    """

    def sample(probabilities: list[float], steps: int) -> list[int]:
        blocks = len(probabilities)
        counts = []
        for i, p in enumerate(probabilities):
            # Steps of 5 give each quantile once, unless 5 divides blocks.
            share = (i * 5 % blocks + 0.5) / blocks
            away = NormalDist().inv_cdf(share) * (steps * p * (1 - p)) ** 0.5
            counts.append(min(steps, max(0, round(steps * p + away))))
        return counts

    paper, zero, ends, same = (
        drop_probs(54, 0.5, rule)
        for rule in ("paper", "from zero", "end to end", "constant")
    )
    large = 1_000_000
    cases = [
        (paper, paper, large),
        (zero, zero, large),
        (ends, ends, large),
        (same, same, 400),
        (paper, paper, 2_000),
        (paper, zero, large),
        (zero, paper, large),
        (ends, zero, large),
        (paper, paper[::-1], large),  # the same total
        (same, paper, 2_000),
    ]
    certain = [0.0, 0.5, 1.0]
    return [
        *(
            (sample(made, steps), steps, claimed, made != claimed)
            for claimed, made, steps in cases
        ),
        ([0, 505, 1000], 1000, certain, False),
        ([1, 505, 1000], 1000, certain, True),
        ([0, 505, 999], 1000, certain, True),
    ]


@by_property(_counts)
def stochastic_depth_rejects(
    answer: Any,
    dropped: list[int],
    steps: int,
    probabilities: list[float],
    wrong: bool,
) -> None:
    got = answer(list(dropped), steps, list(probabilities))
    require(got in (True, False), f"True or False is expected, got {brief(got)}")
    verdict = (
        "cannot come from these probabilities, and were accepted"
        if wrong
        else "are a fair sample of these probabilities, and were rejected"
    )
    require(bool(got) == wrong, f"the counts {verdict}")


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


@by_reference(
    ([16, 20, 24, 28], [0.0, 0.25, 0.5]),
    ([16, 32], [0.5]),
    ([16, 16, 21, 40], [0.5, 1.0, 1.0]),
    ([16, 22, 24, 24, 30], [0.5, 0.25, 0.75, 0.125]),
    ([8, 16, 24], [0.0, 0.0]),
)
def stochastic_depth_dark(widths: list[int], drops: list[float]) -> float:
    expected, never_kept = 0.0, 1.0
    for k in reversed(range(len(drops))):
        never_kept *= drops[k]
        expected += never_kept * (widths[k + 1] - widths[k])
    return expected
