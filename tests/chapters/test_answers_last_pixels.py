"""The checks of `last_pixels` reject plausible wrong answers."""

import answers
import torch

from d2lutils.shapes import Window, lossless_sizes, unread


def sizes(layers, **options):
    return lossless_sizes([Window(*layer) for layer in layers], **options)


def first_that(reads_all):
    def next_size(n, layers):
        while not reads_all(n, layers):
            n += 1
        return n

    return next_size


def though_nothing_fits(n, layers):
    """Backwards from a size that may be negative."""
    while True:
        sizes = [n]
        for k, s, p in layers:
            sizes.append((sizes[-1] + 2 * p - k) // s + 1)
        wanted = sizes[-1]
        for (k, s, p), size in zip(layers[::-1], sizes[-2::-1], strict=True):
            wanted = min(size, (wanted - 1) * s + k - p)
        if wanted == n:
            return n
        n += 1


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


test_right, test_wrong = answers.tests(
    {
        "last_pixels_next_size": [lambda n, layers: sizes(layers).above(n)],
        "last_pixels_never_read": [never_read(300, "random"), by_nan],
    },
    {
        "last_pixels_next_size": [
            (lambda n, layers: sizes(layers, exact=True).above(n), "203, got 227"),
            (first_that(lambda n, layers: not unread(n, *layers[0])), "203, got 199"),
            (lambda n, layers: sizes(layers).below(n), "expected 227, got 219"),
            (lambda n, layers: 227, "expected"),
            (though_nothing_fits, "expected 67, got 3"),
        ],
        "last_pixels_never_read": [
            (never_read(1, "random"), "expected"),
            (never_read(300, "ones"), "('weights that cancel', 12) expected"),
            (on_ones, "expected"),
            (lambda net, n: [1, 2], "a set is expected"),
        ],
    },
)
