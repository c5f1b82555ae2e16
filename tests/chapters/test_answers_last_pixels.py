"""The checks of `last_pixels` reject stubs and plausible wrong answers."""

import answers
import torch

from d2lutils.shapes import Window, lossless_sizes, output_size, unread


def windows(layers):
    return [Window(*layer) for layer in layers]


def by_trying(n, layers):
    while n not in lossless_sizes(windows(layers)):
        n += 1
    return n


def no_rest_anywhere(n, layers):
    return lossless_sizes(windows(layers), exact=True).above(n)


def first_layer_only(n, layers):
    while unread(n, *layers[0]):
        n += 1
    return n


def the_one_below(n, layers):
    return lossless_sizes(windows(layers)).below(n)


def worse(lost):
    def paddings(n, k, s):
        tried = range(1, k // 2 + 1)
        return [p for p in tried if lost(n, k, s, p) > lost(n, k, s, 0)]

    return paddings


def counted(n, k, s, p):
    return len(unread(n, k, s, p))


def rest(n, k, s, p):
    return (n + 2 * p - k) % s


def rest_on_one_side(n, k, s, p):
    return max(0, (n + p - k) % s - p)


def fewer_windows(n, k, s, p):
    return -output_size(n, k, s, p)


def never_read(times, direction):
    def positions(net, n):
        draw = torch.Generator().manual_seed(1)
        read = torch.zeros(n, dtype=torch.bool)
        for _ in range(times):
            x = torch.randn(1, 1, n, generator=draw).requires_grad_()
            y = net(x)
            random = torch.randn(y.shape, generator=draw)
            y.backward(random if direction == "random" else torch.ones_like(y))
            read |= x.grad[0, 0] != 0
        return set(torch.nonzero(~read).ravel().tolist())

    return positions


def by_nan(net, n):
    found = set()
    for q in range(n):
        x = torch.ones(1, 1, n)
        x[0, 0, q] = torch.nan
        if not torch.isnan(net(x)).any():
            found.add(q)
    return found


def on_ones(net, n):
    x = torch.ones(1, 1, n).requires_grad_()
    net(x).sum().backward()
    return set(torch.nonzero(x.grad[0, 0] == 0).ravel().tolist())


RIGHT = {
    "last_pixels_next_size": [
        by_trying,
        lambda n, layers: lossless_sizes(windows(layers)).above(n),
    ],
    "last_pixels_worse_padding": [
        worse(counted),
        worse(lambda n, k, s, p: max(0, rest(n, k, s, p) - p)),
    ],
    "last_pixels_never_read": [never_read(300, "random"), by_nan],
}
WRONG = {
    "last_pixels_next_size": [
        (no_rest_anywhere, "expected 203, got 227"),
        (first_layer_only, "expected 203, got 199"),
        (the_one_below, "expected 227, got 219"),
        (lambda n, layers: 227, "expected"),
    ],
    "last_pixels_worse_padding": [
        (worse(rest), "(224, 11, 4) expected [1], got [1, 3, 5]"),
        (worse(rest_on_one_side), "expected"),
        (worse(fewer_windows), "expected [1], got []"),
        (lambda n, k, s: [1], "expected"),
    ],
    "last_pixels_never_read": [
        (never_read(1, "random"), "expected"),
        (never_read(300, "ones"), "('weights that cancel', 12) expected"),
        (on_ones, "expected"),
        (lambda net, n: sorted(never_read(300, "random")(net, n)), "a set is expected"),
    ],
}


(
    test_stub_is_not_attempted,
    test_right_answer_passes,
    test_wrong_answer_is_rejected,
) = answers.tests(RIGHT, WRONG)
