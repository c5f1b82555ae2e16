"""The checks of `one_idea` reject stubs and plausible wrong answers."""

import answers
import numpy as np


def weightnet(parts, alpha, order=(0, 1, 2, 3)):
    """An answer whose M = G and alpha follow from the kernel, the gate and the side."""

    def answer(kernel, gate, side):
        from d2lutils.pytorch.weightnet import WeightNet2d

        o, i, k, _ = kernel.shape
        count = parts(o, i, side)
        layer = WeightNet2d(
            i, o, k, padding=k // 2, M=count, G=count, reduction=1
        ).requires_grad_(False)
        layer.generated.linear.weight.copy_(kernel.permute(order).reshape(-1, 1, 1, 1))
        return layer, alpha(gate, o, side)

    return answer


def parts(o, i, side):
    return 1 if side == "output" else i


def tiled(gate, o, side):
    return gate if side == "output" else gate.repeat(1, o)


def interleaved(gate, o, side):
    return gate if side == "output" else gate.repeat_interleave(o, dim=1)


def without_padding(kernel, gate, side):
    from d2lutils.pytorch.weightnet import WeightNet2d

    o, i, k, _ = kernel.shape
    layer = WeightNet2d(i, o, k, M=parts(o, i, side), G=parts(o, i, side), reduction=1)
    layer.generated.linear.weight.data = kernel.reshape(-1, 1, 1, 1)
    return layer, tiled(gate, o, side)


def as_pairs(kernel, gate, side):
    """Right, in another way: a number for each pair of channels on both sides."""
    from d2lutils.pytorch.weightnet import WeightNet2d

    o, i, k, _ = kernel.shape
    layer = WeightNet2d(i, o, k, padding=k // 2, M=i, G=i, reduction=1)
    layer.generated.linear.weight.data = kernel.reshape(-1, 1, 1, 1)
    if side == "output":
        return layer, gate.repeat_interleave(i, dim=1)
    return layer, gate.repeat(1, o)


def gates(hidden_of, terms, blocks_of):
    def answer(depth, reduction):
        widths = [(c, hidden_of(c, reduction)) for c in (16, 32, 64)]
        return blocks_of(depth) * sum(terms(c, h) for c, h in widths)

    return answer


def floor(c, r):
    return c // r


def blocks(depth):
    return (depth - 2) // 6


def everything(c, h):
    return 2 * c * h + h + c


def folded(eps_used=True, shift_gated=True, mean_used=True):
    def answer(weight, gamma, beta, mean, var, eps, gate):
        c = gamma / np.sqrt(var + (eps if eps_used else 0))
        d = beta - c * mean if mean_used else beta
        kernels = (gate * c)[:, :, None, None, None] * weight
        return kernels, gate * d if shift_gated else np.tile(d, (len(gate), 1))

    return answer


def on_the_input(weight, gamma, beta, mean, var, eps, gate):
    c = gamma / np.sqrt(var + eps)
    kernels, biases = folded()(weight, gamma, beta, mean, var, eps, gate)
    return (c[:, None, None, None] * weight) + 0 * kernels, biases


RIGHT = {
    "one_idea_weightnet": [weightnet(parts, tiled), as_pairs],
    "one_idea_reduction": [gates(floor, everything, blocks)],
    "one_idea_fold": [folded()],
    "one_idea_input_mean": [
        lambda weight, kernel: weight @ kernel.sum(axis=(2, 3)),
        lambda weight, kernel: np.einsum("ho,oiuv->hi", weight, kernel),
    ],
}
WRONG = {
    "one_idea_weightnet": [
        (weightnet(parts, interleaved), "not that of the gated convolution"),
        (weightnet(parts, tiled, (0, 1, 3, 2)), "not that of the gated convolution"),
        (weightnet(lambda o, i, side: 1, tiled), "alpha must have shape"),
        (without_padding, "expected"),
        (lambda kernel, gate, side: (kernel, gate), "a WeightNet2d is expected"),
    ],
    "one_idea_reduction": [
        (gates(floor, lambda c, h: 2 * c * h, blocks), "expected 2373, got"),
        (gates(floor, everything, lambda depth: depth - 2), "expected 2373, got"),
        (gates(lambda c, r: c / r, everything, blocks), "expected"),
        (gates(floor, lambda c, h: 2 * c * h + 2 * c, blocks), "expected"),
    ],
    "one_idea_fold": [
        (folded(shift_gated=False), "the biases are not"),
        (folded(mean_used=False), "the biases are not"),
        (folded(eps_used=False), "the kernels are not those"),
        (on_the_input, "the kernels are not those"),
        (lambda w, *_: (w, w[:, 0, 0, 0]), "the kernels' shape: expected"),
        (lambda *_: 3, "was raised"),
    ],
    "one_idea_input_mean": [
        (lambda weight, kernel: weight @ kernel.mean(axis=(2, 3)), "expected"),
        (lambda weight, kernel: weight @ kernel[:, :, 0, 0], "expected"),
        (lambda weight, kernel: weight.sum(1, keepdims=True), "expected"),
    ],
}


(
    test_stub_is_not_attempted,
    test_right_answer_passes,
    test_wrong_answer_is_rejected,
) = answers.tests(RIGHT, WRONG)
