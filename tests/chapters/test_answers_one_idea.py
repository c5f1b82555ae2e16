"""The checks of `one_idea` reject plausible wrong answers."""

import answers
import numpy as np

from d2lutils.pytorch.weightnet import WeightNet2d


def tiled(gate, o, i, side):
    return gate if side == "output" else gate.repeat(1, o)


def interleaved(gate, o, i, side):
    return gate if side == "output" else gate.repeat_interleave(o, dim=1)


def all_pairs(gate, o, i, side):
    return gate.repeat_interleave(i, dim=1) if side == "output" else gate.repeat(1, o)


def weightnet(
    alpha=tiled, groups=lambda i, side: 1 if side == "output" else i, **other
):
    """An answer whose M = G and alpha follow from the kernel, the gate and the side."""

    def answer(kernel, gate, side):
        o, i, k, _ = kernel.shape
        count = groups(i, side)
        padding = other.get("padding", k // 2)
        layer = WeightNet2d(i, o, k, padding=padding, M=count, G=count, reduction=1)
        weights = kernel.permute(other.get("order", (0, 1, 2, 3)))
        layer.generated.linear.weight.data = weights.reshape(-1, 1, 1, 1)
        return layer, alpha(gate, o, i, side)

    return answer


def folded(eps_used=True, shift_gated=True, mean_used=True, kernels_gated=True):
    def answer(weight, gamma, beta, mean, var, eps, gate):
        c = gamma / np.sqrt(var + (eps if eps_used else 0))
        d = beta - c * mean if mean_used else beta
        ones = np.ones_like(gate)
        scale = (gate if kernels_gated else ones) * c
        kernels = scale[:, :, None, None, None] * weight
        return kernels, (gate if shift_gated else ones) * d

    return answer


test_right, test_wrong = answers.tests(
    {
        # The second has a number for each pair of channels on both sides.
        "one_idea_weightnet": [weightnet(), weightnet(all_pairs, lambda i, side: i)],
        "one_idea_fold": [folded()],
    },
    {
        "one_idea_weightnet": [
            (weightnet(interleaved), "not that of the gated convolution"),
            (weightnet(order=(0, 1, 3, 2)), "not that of the gated convolution"),
            (weightnet(groups=lambda i, side: 1), "alpha must have shape"),
            (weightnet(padding=0), "the shape must be"),
            (lambda kernel, gate, side: (kernel, gate), "a WeightNet2d is expected"),
        ],
        "one_idea_fold": [
            (folded(shift_gated=False), "the biases are not"),
            (folded(mean_used=False), "the biases are not"),
            (folded(eps_used=False), "the kernels are not those"),
            (folded(kernels_gated=False), "the kernels are not those"),
            (lambda w, *_: (w, w[:, 0, 0, 0]), "kernels: the shape must be"),
            (lambda *_: 3, "was raised"),
        ],
    },
)
