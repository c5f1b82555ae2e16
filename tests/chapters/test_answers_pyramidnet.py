"""The checks of `pyramidnet` reject stubs and plausible wrong answers."""

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


def running(rounded):
    def widths(depth, alpha):
        found, width, blocks = [], 16, (depth - 2) // 2
        for _ in range(blocks):
            width = rounded(width + alpha / blocks)
            found.append(width)
        return found

    return widths


def floor_of_the_exact(depth, alpha):
    blocks = (depth - 2) // 2
    return [16 + alpha * k // blocks for k in range(1, blocks + 1)]


def with_the_stem(depth, alpha):
    return [16, *running(math.floor)(depth, alpha)]


def smallest(count=parameters, first=1, more_than=False):
    def alpha(depth, at_least):
        guess = first
        while count(pyramid_widths(depth, guess)) < at_least + more_than:
            guess += 1
        return guess

    return alpha


def by_bisection(depth, at_least):
    low, high = 1, 10_000
    while low < high:
        middle = (low + high) // 2
        if parameters(pyramid_widths(depth, middle)) < at_least:
            low = middle + 1
        else:
            high = middle
    return low


def same_end(depth, end, factor=None, count=parameters):
    curve = pyramid_widths(depth, factor or end / 16, widening="multiplicative")
    return count(pyramid_widths(depth, end - 16)), count(curve)


RIGHT = {
    "pyramid_running_floor": [running(math.floor), running(int)],
    "pyramid_smallest_alpha": [smallest(), by_bisection],
    "pyramid_same_end": [same_end, lambda d, e: list(same_end(d, e))],
}
WRONG = {
    "pyramid_running_floor": [
        (pyramid_widths, "expected [21, 26, 31"),
        (floor_of_the_exact, "expected [21, 26, 31"),
        (running(round), "expected [16, 16, 16"),
        (with_the_stem, "expected [21, 26, 31"),
    ],
    "pyramid_smallest_alpha": [
        (smallest(lambda widths: parameters(widths, norms=False)), "expected"),
        (smallest(lambda widths: parameters(widths, head=False)), "expected"),
        (smallest(more_than=True), "(20, 310845) expected 48, got 49"),
        (lambda depth, at_least: 107, "expected"),
        (lambda depth, at_least: smallest()(depth, at_least) - 1, "expected 107"),
    ],
    "pyramid_same_end": [
        (lambda d, e: same_end(d, e)[::-1], "expected"),
        (lambda d, e: same_end(d, e, factor=4), "expected"),
        (
            lambda d, e: same_end(d, e, count=lambda w: parameters(w, norms=False)),
            "expected",
        ),
        (lambda d, e: same_end(d, e)[0], "expected"),
    ],
}


(
    test_stub_is_not_attempted,
    test_right_answer_passes,
    test_wrong_answer_is_rejected,
) = answers.tests(RIGHT, WRONG)
