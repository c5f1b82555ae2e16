"""The checks of `nin` reject plausible wrong answers."""

import answers
import numpy as np

from d2lutils.exercises.nin import nin_head_mib as head
from d2lutils.exercises.nin import nin_pointwise
from d2lutils.shapes import NIN, chain_sizes


def pixels_first(weight, bias, x):
    rows = np.moveaxis(x, 1, -1)
    return np.moveaxis(rows @ weight[:, :, 0, 0].T + bias, -1, 1)


def without_moving_channels(weight, bias, x):
    n, i, h, w = x.shape
    rows = x.reshape(-1, i) @ weight.reshape(-1, i).T + bias
    return rows.reshape(n, -1, h, w)


def weights_only(n, hidden):
    flat = 384 * chain_sizes(n, NIN)[-1] ** 2
    return 4 * (flat * hidden + hidden * hidden + hidden * 10) / 2**20


def rolled(x):
    """Each image moved by as few pixels as change it."""
    result = x.copy()
    for image, new in zip(x.reshape(*x.shape[:2], -1), result, strict=True):
        steps = (np.roll(image, step, 1) for step in range(1, image.shape[1]))
        new[:] = next(r for r in steps if (r != image).any()).reshape(new.shape)
    return result


def only_the_first(x):
    return np.concatenate([rolled(x[:1]), x[1:]])


def each_channel_alone(x):
    result = x.copy()
    for image in result:
        for k, channel in enumerate(image):
            channel[:] = np.roll(channel.ravel(), k + 1).reshape(channel.shape)
    return result


test_right, test_wrong = answers.tests(
    {
        "nin_pointwise": [pixels_first],
        "nin_bag_of_pixels": [rolled],
    },
    {
        "nin_pointwise": [
            (without_moving_channels, "expected"),
            (lambda w, b, x: np.moveaxis(pixels_first(w, b, x), 1, -1), "expected"),
            (lambda w, b, x: nin_pointwise(w, 0 * b, x), "expected"),
        ],
        "nin_head_mib": [
            (weights_only, "(224, 4096) expected 214."),
            (lambda n, hidden: head(n, hidden) * 2**20 / 10**6, "expected 214."),
            (lambda n, hidden: head(224, hidden), "(67, 4096) expected"),
            (lambda n, hidden: head(n, 4096), "(227, 1024) expected"),
        ],
        "nin_bag_of_pixels": [
            (lambda x: x, "an image came back as it was"),
            (lambda x: x[:, ::-1], "tells the two apart"),
            (each_channel_alone, "tells the two apart"),
            (lambda x: x.swapaxes(2, 3), "the shape must be (2, 3, 4, 5)"),
            (lambda x: np.roll(x, 1, axis=3), "an image came back as it was"),
            (lambda x: x + 1e-3, "tells the two apart"),
            (only_the_first, "an image came back as it was"),
        ],
    },
)
