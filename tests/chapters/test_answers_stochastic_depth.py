"""The checks of `stochastic_depth` reject stubs and plausible wrong answers."""

from itertools import pairwise

import answers


def last(num_blocks, expected):
    return 1 - 2 * (num_blocks - expected) / (num_blocks + 1)


def errors(dropped, steps, probabilities):
    """How far each count is from its expectation, and its standard error."""
    for count, p in zip(dropped, probabilities, strict=True):
        yield abs(count - steps * p), (steps * p * (1 - p)) ** 0.5


def rejects(bound):
    def answer(dropped, steps, probabilities):
        return any(a > bound * e for a, e in errors(dropped, steps, probabilities))

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
    pairs = zip(dropped, probabilities, strict=True)
    return any(abs(count / steps - p) > 0.02 for count, p in pairs)


def without_certainties(dropped, steps, probabilities):
    pairs = errors(dropped, steps, probabilities)
    return any(error and away > 4 * error for away, error in pairs)


def rescaled(which, factor):
    """A branch whose layers of some kind are multiplied by factor(survival)."""

    def answer(branch, survival):
        import torch

        with torch.no_grad():
            for tensor in which(branch):
                tensor.mul_(factor(survival))
        return branch

    return answer


def last_layer(branch):
    return list(branch[-1].parameters())


def last_weight(branch):
    return [branch[-1].weight]


def everything(branch):
    return list(branch.parameters())


def wrapped(branch, survival):
    from torch import nn

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.branch = branch

        def forward(self, x):
            return self.branch(x) / survival

    return Scaled()


def dark(widths, drops):
    total, never_kept = 0.0, 1.0
    for k in reversed(range(len(drops))):
        never_kept *= drops[k]
        total += never_kept * (widths[k + 1] - widths[k])
    return total


def dark_for_ever(widths, drops):
    new = [b - a for a, b in pairwise(widths)]
    return sum(p * n for p, n in zip(drops, new, strict=True))


def dark_from_the_front(widths, drops):
    total, never_kept = 0.0, 1.0
    for k, p in enumerate(drops):
        never_kept *= p
        total += never_kept * (widths[k + 1] - widths[k])
    return total


def inverse(survival):
    return 1 / survival


RIGHT = {
    "stochastic_depth_last": [last],
    "stochastic_depth_rejects": [rejects(4), rejects(5), by_chi_square],
    "stochastic_depth_paper": [rescaled(last_layer, inverse)],
    "stochastic_depth_dark": [dark],
}
WRONG = {
    "stochastic_depth_last": [
        (lambda n, e: 2 * e / n - 1, "expected 0.0181818, got 0"),
        (lambda n, e: (4 * e + 1) / (3 * n), "expected"),
        (lambda n, e: 1 - last(n, e), "expected 0.0181818, got 0.981818"),
    ],
    "stochastic_depth_rejects": [
        (rejects(2), "a fair sample of these probabilities, and were rejected"),
        (by_the_total, "and were accepted"),
        (by_a_margin, "were rejected"),
        (without_certainties, "and were accepted"),
        (lambda *_: True, "were rejected"),
        (lambda *_: False, "were accepted"),
        (lambda *_: None, "True or False is expected"),
    ],
    "stochastic_depth_paper": [
        (rescaled(last_layer, lambda p: p), "in evaluation"),
        (rescaled(last_weight, inverse), "in evaluation"),
        (rescaled(everything, inverse), "in evaluation"),
        (lambda branch, survival: branch, "in evaluation"),
        (wrapped, "the layers and their parameters must stay"),
        (lambda branch, survival: 3, "a Module is expected"),
    ],
    "stochastic_depth_dark": [
        (dark_for_ever, "expected"),
        (dark_from_the_front, "expected"),
    ],
}


(
    test_stub_is_not_attempted,
    test_right_answer_passes,
    test_wrong_answer_is_rejected,
) = answers.tests(RIGHT, WRONG)
