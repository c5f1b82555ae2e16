"""The checks of `nin` reject stubs and plausible wrong answers."""

import answers
import numpy as np

from d2lutils.shapes import NIN, chain_sizes


def by_einsum(weight, bias, x):
    return np.einsum("oi,nihw->nohw", weight[..., 0, 0], x) + bias.reshape(-1, 1, 1)


def pixels_first(weight, bias, x):
    rows = np.moveaxis(x, 1, -1)
    return np.moveaxis(rows @ weight[:, :, 0, 0].T + bias, -1, 1)


def without_moving_channels(weight, bias, x):
    n, i, h, w = x.shape
    rows = x.reshape(-1, i) @ weight.reshape(-1, i).T + bias
    return rows.reshape(n, -1, h, w)


def channels_left_last(weight, bias, x):
    return np.moveaxis(pixels_first(weight, bias, x), 1, -1)


def without_bias(weight, bias, x):
    return by_einsum(weight, 0 * bias, x)


def head(n, hidden=4096, biases=1, bytes_=2**20, side=None):
    side = side or chain_sizes(n, NIN)[-1]
    total, last = 0, 384 * side * side
    for width in (hidden, hidden, 10):
        total += (last + biases) * width
        last = width
    return 4 * total / bytes_


def rolled(x):
    _, c, h, w = x.shape
    return np.stack([_moved(image.reshape(c, -1)).reshape(c, h, w) for image in x])


def _moved(pixels):
    for step in range(1, pixels.shape[1]):
        if not np.array_equal(np.roll(pixels, step, 1), pixels):
            return np.roll(pixels, step, 1)
    return pixels


def each_channel_alone(x):
    result = x.copy()
    for image in result:
        for k, channel in enumerate(image):
            channel[:] = np.roll(channel.ravel(), k + 1).reshape(channel.shape)
    return result


def gradient(maps, above, pool, share=True):
    above = above[:, :, None, None]
    if pool == "avg":
        size = maps.shape[2] * maps.shape[3] if share else 1
        return np.ones_like(maps) * above / size
    return (maps == maps.max((2, 3), keepdims=True)) * above


def zeros_win(maps, above, pool):
    kept = np.maximum(maps, 0)
    return gradient(kept, above, pool)


def one_of_the_batch(maps, above, pool):
    if pool == "avg":
        return gradient(maps, above, pool)
    return (maps == maps.max((0, 2, 3), keepdims=True)) * above[:, :, None, None]


RIGHT = {
    "nin_pointwise": [by_einsum, pixels_first],
    "nin_head_mib": [head],
    "nin_bag_of_pixels": [rolled],
    "nin_head_gradient": [gradient],
}
WRONG = {
    "nin_pointwise": [
        (without_moving_channels, "expected"),
        (channels_left_last, "expected"),
        (without_bias, "expected"),
    ],
    "nin_head_mib": [
        (lambda n, hidden: head(n, hidden, biases=0), "(224, 4096) expected 214."),
        (lambda n, hidden: head(n, hidden, bytes_=10**6), "expected 214."),
        (lambda n, hidden: head(n, hidden, side=5), "(67, 4096) expected"),
        (lambda n, hidden: head(n), "(227, 1024) expected"),
    ],
    "nin_bag_of_pixels": [
        (lambda x: x, "an image came back as it was"),
        (lambda x: x[:, ::-1], "tells the two apart"),
        (each_channel_alone, "tells the two apart"),
        (lambda x: x.swapaxes(2, 3), "shape (2, 3, 4, 5) is expected"),
        (lambda x: np.roll(x, 1, axis=3), "an image came back as it was"),
        (lambda x: x + 1e-3, "tells the two apart"),
    ],
    "nin_head_gradient": [
        (lambda m, a, p: gradient(m, a, p, share=False), "expected"),
        (lambda m, a, p: gradient(m, a, "avg"), "expected"),
        (zeros_win, "expected"),
        (one_of_the_batch, "expected"),
    ],
}


(
    test_stub_is_not_attempted,
    test_right_answer_passes,
    test_wrong_answer_is_rejected,
) = answers.tests(RIGHT, WRONG)
