"""The checks of `residual_chunks` reject plausible wrong answers."""

import answers
from torch import nn

from d2lutils.exercises.residual_chunks import residual_ladder as ladder


def lengths(sides=2, later_stride=1):
    def answer(length, kernel_size, stride, padding, chain_length):
        found = []
        for i in range(chain_length):
            step = later_stride or stride if i else stride
            length = (length + sides * padding - kernel_size) // step + 1
            found.append(length)
        return found

    return answer


def pads_first_chunk_only(length, kernel_size, stride, padding, chain_length):
    first = ladder(length, kernel_size, stride, padding, 1)
    return first + ladder(first[0], kernel_size, 1, 0, chain_length)[:-1]


def modules(*kinds):
    def branches(channels):
        made = {
            "conv": nn.Conv1d(channels, channels, 3, padding=1),
            "sigmoid": nn.Sigmoid(),
            "tanh": nn.Tanh(),
            "relu": nn.ReLU(),
            "norm": nn.BatchNorm1d(channels),
            "short": nn.Conv1d(channels, channels, 3),
            "other": nn.Conv1d(channels + 1, channels, 1),
        }
        return tuple(made.get(kind, kind) for kind in kinds)

    return branches


test_right, test_wrong = answers.tests(
    {
        "residual_ladder": [lengths()],
        "residual_inplace": [modules("conv", "sigmoid"), modules("conv", "tanh")],
    },
    {
        "residual_ladder": [
            (lengths(later_stride=None), "expected [31, 29, 27]"),
            (lengths(sides=1), "expected [32, 32, 32]"),
            (pads_first_chunk_only, "expected"),
            (lambda n, k, s, p, chain: ladder(n, k, 1, p, chain), "expected"),
            (lambda *call: [call[0], *ladder(*call)], "got [64, 31, 29, 27]"),
            (lambda *call: ladder(*call)[-1], "got 27"),
        ],
        "residual_inplace": [
            (modules("conv", "conv"), "second branch raises no error"),
            (modules("sigmoid", "conv"), "first branch raises the error"),
            (modules("short", "sigmoid"), "the branch makes"),
            (modules("other", "sigmoid"), "RuntimeError was raised"),
            (modules("norm", "sigmoid"), "neither branch may end"),
            (modules("conv", "relu"), "neither branch may end"),
            (modules(1, 2), "a PyTorch Module"),
            (modules("conv"), "ValueError was raised"),
            (lambda channels: 3, "a pair (passes, fails)"),
        ],
    },
)
