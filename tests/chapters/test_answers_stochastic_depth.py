"""The checks of `stochastic_depth` reject plausible wrong answers."""

from statistics import NormalDist

import answers
import torch


def rejects(limit, certain=True):
    """An answer that rejects beyond limit(alarm, blocks) standard errors."""

    def answer(dropped, steps, probabilities, alarm):
        far = limit(alarm, len(probabilities))
        for count, p in zip(dropped, probabilities, strict=True):
            error = (steps * p * (1 - p)) ** 0.5
            if (error or certain) and abs(count - steps * p) > far * error:
                return True
        return False

    return answer


def quantile(alarm):
    """Standard errors that a normal number exceeds, up or down, in this share."""
    return NormalDist().inv_cdf(1 - alarm / 2)


def shared(alarm, blocks):
    return quantile(alarm / blocks)


def of_independent(alarm, blocks):
    return quantile(1 - (1 - alarm) ** (1 / blocks))


def by_the_total(dropped, steps, probabilities, alarm):
    variance = sum(steps * p * (1 - p) for p in probabilities)
    away = abs(sum(dropped) - steps * sum(probabilities))
    return away > quantile(alarm) * variance**0.5


def by_a_margin(dropped, steps, probabilities, alarm):
    both = zip(dropped, probabilities, strict=True)
    return any(abs(count / steps - p) > alarm for count, p in both)


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


test_right, test_wrong = answers.tests(
    {
        "stochastic_depth_rejects": [rejects(shared), rejects(of_independent)],
        "stochastic_depth_paper": [rescaled(lambda branch: branch[-1].parameters())],
    },
    {
        "stochastic_depth_rejects": [
            (rejects(lambda *_: 4), "with 1 block and a false-alarm rate of 0.05"),
            (rejects(lambda *_: 2.5), "beyond the limit and were accepted"),
            (rejects(lambda *_: 6), "beyond the limit and were accepted"),
            (rejects(lambda alarm, _: quantile(alarm)), "with 6 blocks"),
            (rejects(lambda alarm, n: quantile(2 * alarm / n)), "with 1 block"),
            (rejects(shared, certain=False), "with 3 blocks"),
            (by_the_total, "and were"),
            (by_a_margin, "were accepted"),
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
    },
)
