"""The checks of `residual_chunks` reject stubs and plausible wrong answers."""

import answers

from d2lutils.shapes import residual_sizes


def ladder(length, kernel_size, stride, padding, chain_length):
    return residual_sizes(length, kernel_size, stride, padding, chain_length)[0]


def strides_in_every_chunk(length, kernel_size, stride, padding, chain_length):
    lengths = []
    for _ in range(chain_length):
        length = (length + 2 * padding - kernel_size) // stride + 1
        lengths.append(length)
    return lengths


def pads_one_side(length, kernel_size, stride, padding, chain_length):
    lengths = []
    for i in range(chain_length):
        length = (length + padding - kernel_size) // (stride if i == 0 else 1) + 1
        lengths.append(length)
    return lengths


def pads_first_chunk_only(length, kernel_size, stride, padding, chain_length):
    first = ladder(length, kernel_size, stride, padding, 1)
    rest = ladder(first[0], kernel_size, 1, 0, chain_length)[:-1]
    return first + rest


def modules(*kinds):
    def branches(channels):
        from torch import nn

        made = {
            "conv": nn.Conv1d(channels, channels, 3, padding=1),
            "sigmoid": nn.Sigmoid(),
            "tanh": nn.Tanh(),
            "relu": nn.ReLU(),
            "norm": nn.BatchNorm1d(channels),
            "short": nn.Conv1d(channels, channels, 3),
        }
        return tuple(made[kind] for kind in kinds)

    return branches


RIGHT = {
    "residual_fewest_edits": [
        lambda length: {"padding": 1, "shortcut": "projection"},
        lambda length: {"padding": "same", "shortcut": "zeros"},
        lambda length: {"kernel_size": 1, "shortcut": "projection"},
    ],
    "residual_ladder": [ladder],
    "residual_inplace": [modules("conv", "sigmoid"), modules("conv", "tanh")],
}
WRONG = {
    "residual_fewest_edits": [
        (lambda length: {"shortcut": "projection"}, "leaves 27 + 32"),
        (lambda length: {"padding": 1}, "leaves 32 + 64"),
        (lambda length: {"stride": 1, "padding": 1}, "stride is part of the question"),
        (
            lambda length: {"kernel_size": 5, "padding": 2, "shortcut": "zeros"},
            "fewer edits",
        ),
        (lambda length: {"pad": 1}, "no argument 'pad'"),
        (lambda length: {"padding": length % 7}, "the same for every length"),
        (lambda length: None, "a dictionary of changed arguments"),
    ],
    "residual_ladder": [
        (strides_in_every_chunk, "expected [31, 29, 27]"),
        (pads_one_side, "expected [32, 32, 32]"),
        (pads_first_chunk_only, "expected"),
    ],
    "residual_inplace": [
        (modules("conv", "conv"), "second branch raises no error"),
        (modules("sigmoid", "conv"), "first branch raises the error"),
        (modules("short", "sigmoid"), "the branch makes"),
        (modules("norm", "sigmoid"), "neither branch may end"),
        (modules("conv", "relu"), "neither branch may end"),
        (lambda channels: 3, "a pair (passes, fails)"),
    ],
}


(
    test_stub_is_not_attempted,
    test_right_answer_passes,
    test_wrong_answer_is_rejected,
) = answers.tests(RIGHT, WRONG)
