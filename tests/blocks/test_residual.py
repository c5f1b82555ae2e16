"""ResidualChunks: ReLU(branch + shortcut), the branch a chain of chunks."""

from __future__ import annotations

from typing import Any

import pytest
from halves import both, compared
from reference import check, ways

from d2lutils.gpu_report.equations import residual

SIZES = {1: (9,), 2: (7, 6)}
KINDS = [
    # shortcut, widths, stride
    ("identity", (8, 8), 1),
    ("projection", (3, 8), 1),
    ("projection", (3, 6), 2),
    ("zeros", (3, 6), 1),
    ("zeros", (3, 8), 2),
]


@ways
@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize(("relu_before_sum", "chain_length"), [(True, 1), (False, 3)])
@pytest.mark.parametrize(("shortcut", "widths", "stride"), KINDS)
def test_equation(
    way: str,
    shortcut: str,
    widths: tuple[int, int],
    stride: int,
    relu_before_sum: bool,
    chain_length: int,
    rank: int,
) -> None:
    o = {"shortcut": shortcut, "stride": stride, "chain_length": chain_length}
    o |= {"relu_before_sum": relu_before_sum}

    def build(half: Any) -> Any:
        return half.residual.ResidualChunks(
            *(*widths, 3, stride, chain_length, "same", shortcut),
            relu_before_sum=relu_before_sum,
            rank=rank,
        )

    shape = (3, widths[0], *SIZES[rank])
    check(way, build, lambda w, x: residual(w, x, widths[1], o), shape)


@both
@pytest.mark.parametrize(("inputs", "kind"), [(4, "Identity"), (3, "ConvChunk")])
def test_auto(half: Any, inputs: int, kind: str) -> None:
    """Identity where it fits, else projection."""
    net = half.residual.ResidualChunks(inputs, 4, 3)
    assert type(net.shortcut).__name__ == kind


def test_no_padding_where_both_paths_end_with_the_same_size() -> None:
    options = {"padding": 0, "shortcut": "projection"}
    compared(lambda h: h.residual.ResidualChunks(2, 4, 2, 2, **options), 3, 2, 8)
