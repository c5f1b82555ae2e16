"""The checks of `zero_padded_shortcuts` reject plausible wrong answers."""

import answers
import numpy as np

from d2lutils.exercises.zero_padded_shortcuts import zero_padded_gradient


def take_and_where(F, x, identity, channels, extra):
    wide = F.take(identity, F.arange(channels + extra), axis=1, mode="clip")
    first = F.swapaxes(wide, 0, 1)
    keep = F.arange(channels + extra) < channels
    return x + F.swapaxes(F.where(keep, first, F.zeros_like(first)), 0, 1)


def take_and_multiply(F, x, identity, channels, extra):
    # 0 * NaN is NaN, and a product with the identity's matrix mixes all channels.
    view = F.swapaxes(F.reshape(identity, shape=(0, 0, -1)), 0, 1)
    matrix = F.eye(N=channels + extra, M=channels)
    wide = F.swapaxes(F.dot(matrix, view), 0, 1)
    return x + F.reshape_like(wide, x)


def with_concat(F, x, identity, channels, extra):
    part = F.zeros_like(F.slice_axis(x, axis=1, begin=0, end=extra))
    return x + F.concat(identity, part, dim=1)


def repeats_the_last_channel(F, x, identity, channels, extra):
    return x + F.take(identity, F.arange(channels + extra), axis=1, mode="clip")


def stops_the_gradient(F, x, identity, channels, extra):
    return take_and_where(F, x, F.BlockGrad(identity), channels, extra)


def only_for_images(F, x, identity, channels, extra):
    last = F.transpose(identity, axes=(0, 2, 3, 1))
    wide = F.take(last, F.arange(channels + extra), axis=3, mode="clip")
    wide = F.transpose(wide, axes=(1, 2, 3, 0))
    kept = F.swapaxes(wide, 0, 2)
    keep = F.arange(channels + extra) < channels
    kept = F.where(keep, kept, F.zeros_like(kept))
    return x + F.transpose(kept, axes=(3, 0, 2, 1))


def in_place(F, x, identity, channels, extra):
    out = x.copy()
    out[:, :channels] += identity
    return out


def gradient(grad, in_channels, height, width, share=None):
    """By windows; `share` is what to divide by instead of a window's size."""
    result = np.zeros((len(grad), in_channels, height, width))
    for i in range(0, height, 2):
        for j in range(0, width, 2):
            window = result[:, :, i : i + 2, j : j + 2]
            part = grad[:, :in_channels, i // 2, j // 2]
            window[...] = part[:, :, None, None] / (share or window[0, 0].size)
    return result


def front(last, following, extra):
    return np.roll(last, extra, axis=0), np.roll(following, extra, axis=1)


def front_with_new_channels_reversed(last, following, extra):
    # The new channels have no partner, so their order is free.
    order = [*range(len(last))[::-1][:extra], *range(len(last) - extra)]
    return last[order], following[:, order]


def rolled_the_outputs(last, following, extra):
    return np.roll(last, extra, axis=0), np.roll(following, extra, axis=0)


test_right, test_wrong = answers.tests(
    {
        "zero_padded_own_way": [take_and_where],
        "zero_padded_gradient": [gradient],
        "zero_padded_front": [front, front_with_new_channels_reversed],
    },
    {
        "zero_padded_own_way": [
            (with_concat, "'Concat' in the graph"),
            (repeats_the_last_channel, "the values are wrong"),
            (take_and_multiply, "have NaNs that spread"),
            (stops_the_gradient, "the gradient of identity is wrong"),
            (only_for_images, "was raised"),
            (in_place, "was raised"),
        ],
        "zero_padded_gradient": [
            (lambda *call: gradient(*call, share=4), "expected"),
            (lambda g, *rest: zero_padded_gradient(g[:, ::-1], *rest), "expected"),
            (lambda *call: gradient(*call, share=1), "expected"),
        ],
        "zero_padded_front": [
            (
                lambda a, b, extra: (a, front(a, b, extra)[1]),
                "channels have to move, too",
            ),
            (lambda a, b, extra: front(a, b, -extra), "is not the same"),
            (rolled_the_outputs, "is not the same"),
            (lambda last, following, extra: following, "a pair of weights"),
            (lambda a, b, extra: (b, a), "last: the shape must be"),
        ],
    },
)
