"""The checks of `condconv` reject stubs and plausible wrong answers."""

from functools import partial

import answers
import numpy as np


def layer(x, matrix, offset, experts, mistake=0):
    """The function of the exercise with one of its mistakes left in, or none."""
    import torch
    from torch.nn import functional

    means = x.mean(dim=(2, 3))
    if mistake == 1:
        means = x.mean(dim=(0, 2, 3)).expand(len(x), -1)
    logits = means @ matrix.T + offset
    routing = torch.softmax(logits, dim=0) if mistake == 2 else torch.sigmoid(logits)
    if mistake == 6:
        routing = torch.softmax(logits, dim=1)
    mixing = routing.T if mistake == 3 else routing
    kernels = (mixing @ experts.flatten(1)).reshape(-1, *experts.shape[2:])
    if mistake == 4:
        wide = x.transpose(0, 1).reshape(1, -1, *x.shape[2:])
    elif mistake == 7:
        wide = x.view(1, -1, *x.shape[2:])
    elif mistake == 8:
        wide = x.flip(0).reshape(1, -1, *x.shape[2:])
    else:
        wide = x.reshape(1, -1, *x.shape[2:])
    y = functional.conv2d(wide, kernels, padding=1, groups=len(x))
    if mistake == 5:
        return y.reshape(-1, len(x), *y.shape[2:]).transpose(0, 1)
    return y.reshape(len(x), -1, *y.shape[2:])


def by_loop(x, matrix, offset, experts):
    import torch
    from torch.nn import functional

    routing = torch.sigmoid(x.mean(dim=(2, 3)) @ matrix.T + offset)
    kernels = torch.einsum("nk,koihw->noihw", routing, experts)
    pairs = zip(x, kernels, strict=True)
    return torch.stack([functional.conv2d(a[None], k, padding=1)[0] for a, k in pairs])


def deviation(shape, weights, whole_tensor=False):
    fan_in = np.prod(shape[2:]) * (shape[1] if whole_tensor else 1)
    return np.sqrt(2 / fan_in) * np.linalg.norm(weights)


def half_of_each(shape, weights, whole_tensor=False):
    fan_in = np.prod(shape[2:]) * (shape[1] if whole_tensor else 1)
    return np.sqrt(2 / fan_in) * shape[0] ** 0.5 / 2


def as_if_equal(shape, weights, whole_tensor=False):
    fan_in = np.prod(shape[2:]) * (shape[1] if whole_tensor else 1)
    return np.sqrt(2 / fan_in) * np.sum(weights)


def never_whole(shape, weights, whole_tensor=False):
    return deviation(shape, weights)


def counted(experts):
    return 272_474 + (experts - 1) * 267_264 + experts * 642


def experts(limit):
    count = 1
    while counted(count) <= limit:
        count += 1
    return count


def at_least(limit):
    count = 1
    while counted(count) < limit:
        count += 1
    return count


def without_routing(limit):
    return max(1, (limit - 272_474) // 267_264 + 2)


def pointwise(F, x, routing, experts, shape):
    flat = F.reshape(experts, (shape[0], -1))
    kernels = F.reshape(F.dot(routing, flat), (-1, shape[1], shape[2]))
    y = F.batch_dot(kernels, F.reshape(x, (0, 0, -1)))
    return F.reshape_like(y, x, lhs_begin=2, lhs_end=3, rhs_begin=2, rhs_end=4)


def without_the_end(F, x, routing, experts, shape):
    flat = F.reshape(experts, (shape[0], -1))
    kernels = F.reshape(F.dot(routing, flat), (-1, shape[1], shape[2]))
    return F.batch_dot(kernels, F.reshape(x, (0, 0, -1)))


def one_kernel(F, x, routing, experts, shape):
    mean = F.broadcast_like(F.mean(routing, axis=0, keepdims=True), routing)
    return pointwise(F, x, mean, experts, shape)


def asks_for_shapes(F, x, routing, experts, shape):
    y = pointwise(F, x, routing, experts, shape)
    return y.reshape((x.shape[0], shape[1], *x.shape[2:]))


def with_groups(F, x, routing, experts, shape):
    flat = F.reshape(experts, (shape[0], -1))
    kernels = F.reshape(F.dot(routing, flat), (-1, shape[2], 1, 1))
    wide = F.reshape(x, (1, -3, 0, 0))
    many = {"kernel": (1, 1), "no_bias": True}
    y = F.Convolution(wide, kernels, num_filter=2 * shape[1], num_group=2, **many)
    return F.reshape(y, (-1, shape[1], 0, 0), reverse=False)


RIGHT = {
    "condconv_repair": [layer, by_loop],
    "condconv_deviation": [deviation],
    "condconv_experts": [experts],
    "condconv_pointwise": [pointwise],
}
WRONG = {
    "condconv_repair": [
        (partial(layer, mistake=1), "image 0 differs"),
        (partial(layer, mistake=2), "image 0 differs"),
        (partial(layer, mistake=3), "RuntimeError"),
        (partial(layer, mistake=4), "image 0 differs"),
        (partial(layer, mistake=5), "image 0 differs"),
        (partial(layer, mistake=6), "image 0 differs"),
        (partial(layer, mistake=7), "view size is not compatible"),
        (partial(layer, mistake=8), "image 0 differs"),
        (lambda x, *_: x, "the shape must be"),
        (lambda *_: 3, "a tensor is expected"),
    ],
    "condconv_deviation": [
        (half_of_each, "expected"),
        (as_if_equal, "expected 0.0833333, got 0.235702"),
        (never_whole, "expected"),
    ],
    "condconv_experts": [
        (at_least, "expected 5, got 4"),
        (without_routing, "expected"),
        (lambda limit: experts(limit) - 1, "expected 10, got 9"),
    ],
    "condconv_pointwise": [
        (without_the_end, "the shape must be"),
        (one_kernel, "it differs from a loop"),
        (asks_for_shapes, "was raised"),
        (with_groups, "was raised"),
    ],
}


(
    test_stub_is_not_attempted,
    test_right_answer_passes,
    test_wrong_answer_is_rejected,
) = answers.tests(RIGHT, WRONG)
