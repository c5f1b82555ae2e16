"""The checks of the chapter `residual_chunks`."""

from __future__ import annotations

from typing import Any

from d2lutils import shapes
from d2lutils.exercises import (
    by_property,
    by_reference,
    framework,
    require,
    require_kind,
)


@by_reference(
    (64, 3, 2, 0, 3),
    (64, 3, 2, 1, 3),
    (63, 5, 3, 1, 4),
    (33, 4, 1, 0, 2),
    (10, 1, 2, 0, 1),
)
def residual_ladder(
    length: int, kernel_size: int, stride: int, padding: int, chain_length: int
) -> list[int]:
    return shapes.residual_sizes(length, kernel_size, stride, padding, chain_length)[0]


@by_property((2, 3, 8), (1, 4, 16), (5, 2, 9))
def residual_inplace(answer: Any, n: int, c: int, length: int) -> None:
    torch = framework("pytorch")
    branches = answer(c)
    require_kind(branches, tuple, "a pair (passes, fails)")
    for branch, should_fail in zip(branches, (False, True), strict=True):
        require_kind(branch, torch.nn.Module, "a PyTorch Module")
        x = torch.randn(n, c, length, requires_grad=True)
        out = branch(x)
        last = out.grad_fn.name() if out.grad_fn is not None else ""
        given = "BatchNorm" in last or "Relu" in last
        require(not given, "neither branch may end in a batch norm or a ReLU")
        shapes_ = f"the branch makes {tuple(out.shape)} of {tuple(x.shape)}"
        require(out.shape == x.shape, shapes_)
        try:
            out += x
            out.sum().backward()
            failed = False
        except RuntimeError as error:
            if "inplace" not in str(error) and "in-place" not in str(error):
                raise
            failed = True
        which = "second" if should_fail else "first"
        does = "raises the error" if failed else "raises no error"
        require(failed == should_fail, f"the {which} branch {does}")
