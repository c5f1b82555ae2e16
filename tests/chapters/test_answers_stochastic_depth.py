"""The checks of `stochastic_depth` reject plausible wrong answers."""

from itertools import pairwise

import answers
import torch

from d2lutils.exercises.stochastic_depth import stochastic_depth_last as last


def errors(dropped, steps, probabilities):
    """How far each count is from its expectation, and its standard error."""
    for count, p in zip(dropped, probabilities, strict=True):
        yield abs(count - steps * p), (steps * p * (1 - p)) ** 0.5


def rejects(bound, certain=True):
    def answer(*counts):
        return any(
            away > bound * error for away, error in errors(*counts) if error or certain
        )

    return answer


def by_chi_square(dropped, steps, probabilities):
    total = 0.0
    for away, error in errors(dropped, steps, probabilities):
        if error == 0 and away:
            return True
        total += (away / error) ** 2 if error else 0
    blocks = len(probabilities)
    return total > blocks + 4 * (2 * blocks) ** 0.5


def by_the_total(dropped, steps, probabilities):
    variance = sum(steps * p * (1 - p) for p in probabilities)
    return abs(sum(dropped) - steps * sum(probabilities)) > 4 * variance**0.5


def by_a_margin(dropped, steps, probabilities):
    both = zip(dropped, probabilities, strict=True)
    return any(abs(count / steps - p) > 0.02 for count, p in both)


def rescaled(tensors, factor=lambda survival: 1 / survival):
    """A branch some of whose parameters are multiplied by factor(survival)."""

    def answer(branch, survival):
        with torch.no_grad():
            for tensor in tensors(branch):
                tensor.mul_(factor(survival))
        return branch

    return answer


class Scaled(torch.nn.Module):
    def __init__(self, branch, survival):
        super().__init__()
        self.branch, self.survival = branch, survival

    def forward(self, x):
        return self.branch(x) / self.survival


def dark(order):
    def answer(widths, drops):
        total, never_kept = 0.0, 1.0
        for k in order(range(len(drops))):
            never_kept *= drops[k]
            total += never_kept * (widths[k + 1] - widths[k])
        return total

    return answer


def dark_for_ever(widths, drops):
    both = zip(drops, pairwise(widths), strict=True)
    return sum(p * (after - before) for p, (before, after) in both)


test_right, test_wrong = answers.tests(
    {
        "stochastic_depth_rejects": [rejects(4), rejects(5), by_chi_square],
        "stochastic_depth_paper": [rescaled(lambda branch: branch[-1].parameters())],
        "stochastic_depth_dark": [dark(reversed)],
    },
    {
        "stochastic_depth_last": [
            (lambda n, e: 2 * e / n - 1, "expected 0.0181818, got 0"),
            (lambda n, e: (4 * e + 1) / (3 * n), "expected"),
            (lambda n, e: 1 - last(n, e), "expected 0.0181818, got 0.981818"),
        ],
        "stochastic_depth_rejects": [
            (rejects(2), "a fair sample of these probabilities, and were rejected"),
            (by_the_total, "and were accepted"),
            (by_a_margin, "were rejected"),
            (rejects(4, certain=False), "and were accepted"),
            (lambda *_: True, "were rejected"),
            (lambda *_: False, "were accepted"),
            (lambda *_: None, "True or False is expected"),
        ],
        "stochastic_depth_paper": [
            (rescaled(lambda b: b[-1].parameters(), lambda p: p), "in evaluation"),
            (rescaled(lambda branch: [branch[-1].weight]), "in evaluation"),
            (rescaled(lambda branch: branch.parameters()), "in evaluation"),
            (lambda branch, survival: branch, "in evaluation"),
            (Scaled, "the layers and their parameters must stay"),
            (lambda branch, survival: 3, "a Module is expected"),
        ],
        "stochastic_depth_dark": [
            (dark_for_ever, "expected"),
            (dark(iter), "expected"),
        ],
    },
)
