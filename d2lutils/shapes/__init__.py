"""Arithmetic without arrays: sizes, windows, padding, widths, survival probabilities.

- `windows`: how many outputs a layer has and which inputs they read; chains of layers.
- `padding`: "same" and "valid" as numbers, and whether two paths can be added.
- `widths`: blocks and channels of PyramidNet and ResNet, CondConv's faster form.
- `survival`: how often stochastic depth drops each block.
"""

from d2lutils.shapes.padding import (
    PADDING_MODES,
    check_addable,
    check_fits,
    check_padded_fits,
    least_sizes,
    padding_sides,
    residual_sizes,
    resolve_padding,
    same_padding,
)
from d2lutils.shapes.survival import MODES, RULES, drop_probs, expected_blocks
from d2lutils.shapes.widths import (
    BLOCKS,
    STEMS,
    WIDENINGS,
    condconv_form,
    pyramid_blocks,
    pyramid_widths,
    resnet_blocks,
)
from d2lutils.shapes.windows import (
    FRAMEWORKS,
    NIN,
    NIN_CIFAR,
    ReceptiveField,
    Sizes,
    Window,
    chain_readers,
    chain_sizes,
    chain_unread,
    lossless_sizes,
    output_size,
    reads,
    receptive_field,
    repairing_padding,
    smallest_size,
    transposed_output_size,
    unread,
    unread_parts,
)

__all__ = [
    "BLOCKS",
    "FRAMEWORKS",
    "MODES",
    "NIN",
    "NIN_CIFAR",
    "PADDING_MODES",
    "RULES",
    "STEMS",
    "WIDENINGS",
    "ReceptiveField",
    "Sizes",
    "Window",
    "chain_readers",
    "chain_sizes",
    "chain_unread",
    "check_addable",
    "check_fits",
    "check_padded_fits",
    "condconv_form",
    "drop_probs",
    "expected_blocks",
    "least_sizes",
    "lossless_sizes",
    "output_size",
    "padding_sides",
    "pyramid_blocks",
    "pyramid_widths",
    "reads",
    "receptive_field",
    "repairing_padding",
    "residual_sizes",
    "resnet_blocks",
    "resolve_padding",
    "same_padding",
    "smallest_size",
    "transposed_output_size",
    "unread",
    "unread_parts",
]
