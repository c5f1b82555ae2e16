"""Blocks that are left out at random while training."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from d2lutils._arguments import (
    Function,
    NonNegative,
    Probability,
    boolean,
    checked,
)
from d2lutils._inputs import kept_rows, mask_shape
from d2lutils.pytorch.inputs import Layer, check_input, traced
from d2lutils.pytorch.shortcuts import (
    add_zero_padded,
    zero_pad_channels,
)
from d2lutils.shapes import Mode

__all__ = ["StochasticDepth"]


class StochasticDepth(nn.Module):
    """identity + branch(x) / (1 - drop_prob), or identity alone (Huang
    et al., 2016, arXiv 1603.09382, section 3).

    In evaluation the branch is kept, unscaled. The paper scales there
    instead, by 1 - drop_prob; the expectation is the same.

    - mode "batch" drops the branch for the whole batch, as the paper
      does: it is then not called, which saves its time.
    - mode "row" drops it for each example by itself: it runs for all.
    - mode "gather" drops the same examples, and the branch runs on the
      kept ones alone, which saves the work of the others. Outputs and
      gradients are those of "row", except that a batch norm sees, in
      its statistics too, the kept examples alone. Where one of several
      is kept, a batch norm over a 1x1 map has one value a channel:
      Gluon's makes its beta of it, PyTorch's is an error, which names
      mode "row" as the cure. Where none is kept, the branch is not
      called: like in mode "batch", its parameters get no gradient.

    The decisions of modes "batch" and "gather" are Python's, so in
    training they break the graph of `torch.compile` at every such
    block; past Dynamo's limit of recompilations the rest runs
    uncompiled. Mode "row" compiles whole; in evaluation all do, and
    export.

    Shapes: x (N, C, …); the branch makes (N, C', …) of it, which is
    also the output. identity is (N, C' - extra, …).

    Args:
        branch: the layer or block that may be left out.
        drop_prob: from 0 to 1; at 1 it is always left out in training.
        mode: "batch", "row" or "gather".
        extra: channels of the branch's output beyond identity's, which
            zeros stand for; a dropped example has zeros there.
        add: called as add(y, identity, extra) for the sum where extra
            is above 0; by default `shortcuts.add_zero_padded`.

    Raises:
        TypeError, ValueError: a bad argument or input, named.

    >>> conv = nn.Conv2d(2, 2, 3, padding=1)
    >>> StochasticDepth(conv, 0.5)(torch.zeros(1, 2, 8, 8)).shape
    torch.Size([1, 2, 8, 8])
    """

    @checked
    def __init__(
        self,
        branch: Layer,
        drop_prob: Probability,
        mode: Mode = "batch",
        extra: NonNegative = 0,
        add: Function | None = None,
    ) -> None:
        super().__init__()
        self.mode, self.extra = mode, extra
        if add is None or extra == 0:
            add = add_zero_padded  # which also checks the shapes
        self.add = add
        self.branch = branch
        self._drop_prob = drop_prob

    @property
    def drop_prob(self) -> float:
        """Read-only: a graph traced earlier would keep its value."""
        return self._drop_prob

    def forward(
        self, x: Any, identity: Any = None, keep: Any = None
    ) -> Any:
        """identity + branch(x) / (1 - drop_prob), or identity alone.

        Args:
            x: what the branch takes.
            identity: what it is added to; x by default.
            keep: the decision, instead of a random one: True or False
                in mode "batch", a tensor of shape (N,) with ones and
                zeros in the others. Evaluation keeps everything.
        """
        identity = x if identity is None else identity
        _check_call(self, x, identity, keep)
        dropping = self.training and (
            self._drop_prob > 0 or keep is not None
        )
        if not dropping:
            return self.add(self.branch(x), identity, self.extra)

        scale = _inverse(1 - self._drop_prob)
        if self.mode == "batch":
            if keep is None:
                keep = torch.rand(1).item() >= self._drop_prob
            if not keep:
                channels = identity.shape[1] + self.extra
                return zero_pad_channels(identity, channels)
            y = self.branch(x) * scale
            return self.add(y, identity, self.extra)

        if self.mode == "gather":
            if keep is None:
                drawn = torch.rand(len(x))
                keep = drawn >= self._drop_prob
            return self._gathered(x, identity, keep, scale)

        y = self.branch(x)
        if keep is None:
            drawn = torch.rand(x.shape[0], device=y.device)
            keep = drawn >= self._drop_prob
        mask = keep.to(y) * scale
        mask = mask.reshape((-1,) + (1,) * (y.ndim - 1))
        return self.add(y * mask, identity, self.extra)

    def _gathered(
        self, x: Any, identity: Any, keep: Any, scale: float
    ) -> Any:
        """The sum, with the branch run on the kept examples alone."""
        rows = keep.nonzero().flatten().to(x.device)
        if len(rows) == 0:
            channels = identity.shape[1] + self.extra
            return zero_pad_channels(identity, channels)
        try:
            y = self.branch(x[rows])
        except ValueError as error:
            if len(rows) == len(x) or len(rows) > 1:
                raise
            raise ValueError(
                f"StochasticDepth: mode='gather' kept 1 of {len(x)} "
                f"examples, and branch fails on one, so use "
                f"mode='row': {error}"
            ) from error
        kept_rows("StochasticDepth", y.shape, len(rows))
        # Dropped examples are zero.
        whole = y.new_zeros((len(x), *y.shape[1:]))
        whole = whole.index_add(0, rows, y * scale)
        return self.add(whole, identity, self.extra)


def _check_call(
    depth: StochasticDepth, x: Any, identity: Any, keep: Any
) -> None:
    """Raise at once unless identity and mask fit x."""
    owner = "StochasticDepth"
    check_input(owner, x, (1, 2), None)
    check_input(owner, identity, (1, 2), None, name="identity")
    if keep is not None and depth.mode == "batch":
        boolean(owner, "keep", keep)
    elif keep is not None and not traced(x):
        if not isinstance(keep, torch.Tensor):
            raise TypeError(
                f"{owner}: keep must be a tensor in mode "
                f"{depth.mode!r}, got {type(keep).__name__}"
            )
        mask_shape(owner, "keep", keep.shape, len(x))


def _inverse(survival: float) -> float:
    """1 / survival, and 0 for a branch that never survives."""
    return 1 / survival if survival > 0 else 0.0
