"""Blocks that are left out at random while training."""

from __future__ import annotations

from typing import Any

import numpy as np

from d2lutils._arguments import (
    Function,
    NonNegative,
    Probability,
    boolean,
    checked,
)
from d2lutils._inputs import kept_rows, mask_shape
from d2lutils.compat import mx
from d2lutils.gluon.inputs import (
    Layer,
    check_input,
    mixed_precision,
    operators,
    traced,
)
from d2lutils.gluon.shortcuts import add_zero_padded, zero_pad_channels
from d2lutils.shapes import Mode

__all__ = ["StochasticDepth"]

nn: Any = mx.gluon.nn


class _Exported(nn.HybridBlock):
    """A block that can be exported although Python decides in it; the
    graph decides as evaluation does."""

    def export(
        self, path: str, epoch: int = 0, remove_amp_cast: bool = True
    ) -> Any:
        """As Gluon's, called with x alone; with a drop_mode other than
        "row" every branch is kept."""
        if self._cached_graph:
            return super().export(path, epoch, remove_amp_cast)
        sums = _deciding(self)
        probs = [s.drop_prob for s in sums]
        array = mx.np if mx.util.is_np_array() else mx.nd
        try:
            for s in sums:
                s._drop_prob = 0.0
            # A graph has no sizes, so any array will do.
            self._build_cache(array.zeros((1,)))
            return super().export(path, epoch, remove_amp_cast)
        finally:
            for s, prob in zip(sums, probs, strict=True):
                s._drop_prob = prob
            self._clear_cached_op()


class StochasticDepth(_Exported):
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

    The decisions of modes "batch" and "gather" are Python's, so a graph
    cannot hold them: hybridize the branch, not a net around this block.
    `PyramidNet` does so by itself; elsewhere an error says it, since
    mode "row", which hybridizes, has other statistics than "gather".
    `export` writes a graph that is called with x alone; in modes
    "batch" and "gather" the branch is always kept there.

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

    >>> block = StochasticDepth(nn.Conv2D(2, 3, padding=1), 0.5)
    >>> block.branch.initialize()
    >>> block(mx.nd.zeros((1, 2, 8, 8))).shape
    (1, 2, 8, 8)
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

    def __call__(
        self, x: Any, identity: Any = None, keep: Any = None
    ) -> Any:
        # Gluon's own takes no arguments by name.
        return super().__call__(x, identity, keep)

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
        if traced(x):
            return self._graph(x, identity, keep)
        _check_call(self, x, identity, keep)
        dropping = mx.autograd.is_training() and (
            self._drop_prob > 0 or keep is not None
        )
        if not dropping:
            return self.add(self.branch(x), identity, self.extra)

        scale = _inverse(1 - self._drop_prob)
        if self.mode == "batch":
            if keep is None:
                drawn = mx.nd.random.uniform(shape=(1,))
                keep = drawn.asscalar() >= self._drop_prob
            if not keep:
                channels = identity.shape[1] + self.extra
                return zero_pad_channels(identity, channels)
            y = self.branch(x)
            kept = mx.nd.array([scale], ctx=y.context, dtype="float64")
            y = _scaled(y, kept)
            return self.add(y, identity, self.extra)

        if self.mode == "gather":
            if keep is None:
                drawn = mx.nd.random.uniform(shape=len(x))
                keep = drawn >= self._drop_prob
            return self._gathered(x, identity, keep.asnumpy(), scale)

        y = self.branch(x)
        if keep is None:
            drawn = mx.nd.random.uniform(shape=len(x), ctx=y.context)
            keep = drawn >= self._drop_prob
        y = _scaled(y, keep.astype("float64") * scale)
        return self.add(y, identity, self.extra)

    def _gathered(
        self, x: Any, identity: Any, keep: np.ndarray, scale: float
    ) -> Any:
        """The sum, with the branch run on the kept examples alone."""
        rows = keep.nonzero()[0]
        if len(rows) == 0:
            channels = identity.shape[1] + self.extra
            return zero_pad_channels(identity, channels)
        rows = mx.nd.array(rows, ctx=x.context, dtype="int64")
        y = self.branch(x.take(rows))
        kept_rows("StochasticDepth", y.shape, len(rows))
        # Dropped examples are zero.
        whole = mx.nd.scatter_nd(
            y * scale, rows.reshape((1, -1)), (len(x), *y.shape[1:])
        )
        return self.add(whole, identity, self.extra)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        # Only `export` comes here; calls go through `forward`.
        return self._graph(x, x, None)

    def _graph(self, x: Any, identity: Any, keep: Any) -> Any:
        """The same on Symbols, inside somebody else's graph."""
        F, p = mx.sym, self._drop_prob
        if self.mode != "row" and (p > 0 or keep is not None):
            raise ValueError(
                f"StochasticDepth: mode={self.mode!r} decides anew for "
                "each batch, which a hybridized net cannot: it would "
                "repeat its first decision; hybridize the branches "
                "only, or use mode='row'"
            )
        y = self.branch(x)
        if p == 0 and keep is None:
            return self.add(y, identity, self.extra)
        rows = F.reshape(y.as_nd_ndarray(), shape=(0, -1))
        first = F.slice_axis(rows, axis=1, begin=0, end=1)
        if mixed_precision(x):  # see _scaled
            first = F.cast(first, dtype="float32")
        # Dropout is what tells training from evaluation in a graph:
        # here it gives 0 or 2 in training and 1 in evaluation.
        evaluation = F.Dropout(F.ones_like(first), p=0.5) == 1
        if keep is None:
            keep = F.random.uniform_like(first) >= p
        else:
            # The mask may have another dtype than the branch.
            ones, zeros = F.ones_like(first), F.zeros_like(first)
            keep = F.reshape(keep.as_nd_ndarray(), shape=(-1, 1))
            keep = F.where(keep, ones, zeros)
        mask = F.broadcast_maximum(
            keep * _inverse(1 - p) * (1 - evaluation), evaluation
        )
        rows = F.broadcast_mul(rows, F.BlockGrad(mask))
        y = operators(y).reshape_like(rows, y)
        return self.add(y, identity, self.extra)


def _deciding(block: Any) -> list[StochasticDepth]:
    """A net's sums that a graph cannot hold, its own among them."""
    found = [s for b in block._children.values() for s in _deciding(b)]
    depth = isinstance(block, StochasticDepth)
    if depth and block.mode != "row" and block.drop_prob > 0:
        found.append(block)
    return found


def _scaled(y: Any, factors: Any) -> Any:
    """Each example times its factor, or all times the only one.

    MXNet multiplies bfloat16, which mixed precision makes, wrongly by
    a number, and rightly by an array of float32.
    """
    kind = "float32" if mixed_precision(y) else y.dtype
    factors = factors.astype(kind)
    factors = factors.reshape((-1,) + (1,) * (y.ndim - 1))
    return operators(y).broadcast_mul(y, factors)


def _check_call(
    depth: StochasticDepth, x: Any, identity: Any, keep: Any
) -> None:
    """Raise at once unless identity and mask fit x."""
    owner = "StochasticDepth"
    check_input(owner, x, (1, 2), None)
    check_input(owner, identity, (1, 2), None, name="identity")
    if keep is not None and depth.mode == "batch":
        boolean(owner, "keep", keep)
    elif keep is not None:
        if not isinstance(keep, mx.nd.NDArray):
            raise TypeError(
                f"{owner}: keep must be a tensor in mode "
                f"{depth.mode!r}, got {type(keep).__name__}"
            )
        mask_shape(owner, "keep", keep.shape, len(x))


def _inverse(survival: float) -> float:
    """1 / survival, and 0 for a branch that never survives."""
    return 1 / survival if survival > 0 else 0.0
