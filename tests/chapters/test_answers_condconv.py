"""The checks of `condconv` reject plausible wrong answers."""

from functools import partial

import answers
import torch
from torch.nn import functional


def layer(x, matrix, offset, experts, mistake=""):
    """The function of the exercise with one mistake in it, or none."""
    means = x.mean(dim=(2, 3))
    if mistake == "one mean for the batch":
        means = x.mean(dim=(0, 2, 3)).expand(len(x), -1)
    logits = means @ matrix.T + offset
    routing = torch.sigmoid(logits)
    if mistake.startswith("softmax"):
        routing = torch.softmax(logits, dim=int(mistake[-1]))
    mixing = routing.T if mistake == "transposed" else routing
    kernels = (mixing @ experts.flatten(1)).reshape(-1, *experts.shape[2:])
    if mistake == "channels first":
        wide = x.transpose(0, 1).reshape(1, -1, *x.shape[2:])
    elif mistake == "view":
        wide = x.view(1, -1, *x.shape[2:])
    else:
        images = x.flip(0) if mistake == "reversed" else x
        wide = images.reshape(1, -1, *x.shape[2:])
    y = functional.conv2d(wide, kernels, padding=1, groups=len(x))
    if mistake == "channels first at the end":
        return y.reshape(-1, len(x), *y.shape[2:]).transpose(0, 1)
    return y.reshape(len(x), -1, *y.shape[2:])


def by_loop(x, matrix, offset, experts):
    routing = torch.sigmoid(x.mean(dim=(2, 3)) @ matrix.T + offset)
    kernels = torch.einsum("nk,koihw->noihw", routing, experts)
    both = zip(x, kernels, strict=True)
    return torch.stack([functional.conv2d(a[None], k, padding=1)[0] for a, k in both])


def pointwise(F, x, routing, experts, shape, reshape=True):
    flat = F.reshape(experts, (shape[0], -1))
    kernels = F.reshape(F.dot(routing, flat), (-1, shape[1], shape[2]))
    y = F.batch_dot(kernels, F.reshape(x, (0, 0, -1)))
    if not reshape:
        return y
    return F.reshape_like(y, x, lhs_begin=2, lhs_end=3, rhs_begin=2, rhs_end=4)


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


test_right, test_wrong = answers.tests(
    {"condconv_repair": [layer, by_loop], "condconv_pointwise": [pointwise]},
    {
        "condconv_repair": [
            (partial(layer, mistake="one mean for the batch"), "image 0 differs"),
            (partial(layer, mistake="softmax over 0"), "image 0 differs"),
            (partial(layer, mistake="softmax over 1"), "image 0 differs"),
            (partial(layer, mistake="transposed"), "RuntimeError"),
            (partial(layer, mistake="channels first"), "image 0 differs"),
            (partial(layer, mistake="channels first at the end"), "image 0 differs"),
            (partial(layer, mistake="view"), "view size is not compatible"),
            (partial(layer, mistake="reversed"), "image 0 differs"),
            (lambda x, *_: x, "the shape must be"),
            (lambda *_: 3, "a tensor is expected"),
        ],
        "condconv_pointwise": [
            (partial(pointwise, reshape=False), "the shape must be"),
            (one_kernel, "it differs from a loop"),
            (asks_for_shapes, "was raised"),
            (with_groups, "was raised"),
        ],
    },
)
