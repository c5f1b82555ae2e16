"""The checks of `pyramidnet` reject plausible wrong answers."""

import math

import answers

from d2lutils.shapes import pyramid_widths


def parameters(widths, norms=True, head=True):
    total, last = 9 * 3 * 16 + 2 * 16 * norms, 16
    for width in widths:
        total += 9 * last * width + 9 * width * width
        total += (2 * last + 4 * width) * norms
        last = width
    return total + 2 * last * norms + (10 * last + 10) * head


def without_norms(widths):
    return parameters(widths, norms=False)


def running(rounded):
    def widths(depth, alpha):
        found, width, blocks = [], 16, (depth - 2) // 2
        for _ in range(blocks):
            width = rounded(width + alpha / blocks)
            found.append(width)
        return found

    return widths


def smallest(count=parameters, more=0):
    def alpha(depth, at_least):
        guess = 1
        while count(pyramid_widths(depth, guess)) < at_least + more:
            guess += 1
        return guess

    return alpha


test_right, test_wrong = answers.tests(
    {
        "pyramid_running_floor": [running(math.floor)],
        "pyramid_smallest_alpha": [smallest()],
    },
    {
        "pyramid_running_floor": [
            (pyramid_widths, "expected [21, 26, 31"),
            (lambda d, a: [16 + a * k // 9 for k in range(1, 10)], "expected [21, 26"),
            (running(round), "expected [16, 16, 16"),
            (lambda d, a: [16, *running(math.floor)(d, a)], "expected [21, 26, 31"),
        ],
        "pyramid_smallest_alpha": [
            (smallest(without_norms), "expected"),
            (smallest(lambda widths: parameters(widths, head=False)), "expected"),
            (smallest(more=1), "(20, 310845) expected 48, got 49"),
            (lambda depth, at_least: 107, "expected"),
            (lambda depth, at_least: smallest()(depth, at_least) - 1, "expected 107"),
        ],
    },
)
