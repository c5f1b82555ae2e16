"""Every known way to add a narrow identity to a wide branch.

Each way is called as `way(x, identity, extra)` and returns the sum as
if `extra` channels of zeros stood behind `identity`, or fails: that is
what `capabilities` finds out. The one to use is
`shortcuts.add_zero_padded`.

>>> x, identity = mx.nd.ones((2, 8, 5)), mx.nd.ones((2, 3, 5))
>>> pad_view(x, identity, 5).shape
(2, 8, 5)
>>> way = WAYS["concatenate a constant parameter"](2, 3, 5, (5,))
>>> way.initialize()
>>> way(x, identity, 5).shape
(2, 8, 5)
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import numpy as np

from d2lutils._arguments import checked, one_of
from d2lutils._errors import reason
from d2lutils.compat import mx
from d2lutils.gluon.pyramidnet import PyramidNet
from d2lutils.gluon.shortcuts import add_zero_padded

__all__ = [
    "WAYS",
    "ConstantZeros",
    "IdentityKernel",
    "capabilities",
    "concat_ahead",
    "concat_derived",
    "custom_function",
    "custom_operator",
    "pad_5d",
    "pad_channels",
    "pad_view",
    "slice_and_concat",
    "slice_in_place",
    "transpose_pad",
]

nn: Any = mx.gluon.nn
Function: Any = mx.autograd.Function
CustomOp: Any = mx.operator.CustomOp
CustomOpProp: Any = mx.operator.CustomOpProp


def _namespace(x: Any) -> Any:
    """Where the operators for an NDArray or a Symbol are."""
    return mx.sym if isinstance(x, mx.sym.Symbol) else mx.nd


def concat_ahead(x: Any, identity: Any, extra: int) -> Any:
    """Concatenate zeros whose size is written down: it needs a shape.

    Shapes, here and below: x (N, C, …), identity (N, C - extra, …) →
    (N, C, …).
    """
    zeros = mx.nd.zeros((x.shape[0], extra, *x.shape[2:]))
    return x + _namespace(x).concat(identity, zeros, dim=1)


def concat_derived(x: Any, identity: Any, extra: int) -> Any:
    """Concatenate zeros shaped like a slice of the branch's output (the
    identity may have fewer channels than are to be added)."""
    F = _namespace(x)
    part = F.slice_axis(x, axis=1, begin=0, end=extra)
    return x + F.concat(identity, F.zeros_like(part), dim=1)


def transpose_pad(x: Any, identity: Any, extra: int) -> Any:
    """Channels to the last axis, padded there, and back."""
    F = _namespace(x)
    last = F.transpose(identity, axes=(0, 2, 3, 1))
    padded = F.pad(
        last,
        mode="constant",
        constant_value=0,
        pad_width=(0, 0, 0, 0, 0, 0, 0, extra),
    )
    return x + F.transpose(padded, axes=(0, 3, 1, 2))


def pad_view(x: Any, identity: Any, extra: int) -> Any:
    """Pad the third axis of a view (N, 1, C, S): no copy."""
    F = _namespace(x)
    # 0 copies an axis, -1 infers one, -4 splits, -3 joins two.
    view = F.reshape(identity, shape=(0, 0, -1))
    view = F.reshape(view, shape=(0, -4, 1, -1, 0))
    padded = F.pad(
        view,
        mode="constant",
        constant_value=0,
        pad_width=(0, 0, 0, 0, 0, extra, 0, 0),
    )
    return x + F.reshape_like(F.reshape(padded, shape=(0, -3, 0)), x)


def pad_5d(x: Any, identity: Any, extra: int) -> Any:
    """Pad the third axis of five, (N, 1, C, H, W)."""
    F = _namespace(x)
    padded = F.pad(
        F.expand_dims(identity, axis=1),
        mode="constant",
        constant_value=0,
        pad_width=(0, 0, 0, 0, 0, extra, 0, 0, 0, 0),
    )
    return x + F.squeeze(padded, axis=1)


def pad_channels(x: Any, identity: Any, extra: int) -> Any:
    """Pad the channel axis itself: the framework's own function."""
    F = _namespace(x)
    padded = F.pad(
        identity,
        mode="constant",
        constant_value=0,
        pad_width=(0, 0, 0, extra, 0, 0, 0, 0),
    )
    return x + padded


def slice_and_concat(x: Any, identity: Any, extra: int) -> Any:
    """Add to the first channels, concatenate the rest: no zeros."""
    F = _namespace(x)
    first = F.slice_axis(x, axis=1, begin=0, end=-extra)
    rest = F.slice_axis(x, axis=1, begin=-extra, end=None)
    return F.concat(first + identity, rest, dim=1)


def slice_in_place(x: Any, identity: Any, extra: int) -> Any:
    """Copy the branch's output and add to a slice of the copy."""
    out = x.copy()
    out[:, :-extra] += identity
    return out


class ConstantZeros(nn.HybridBlock):
    """Concatenate zeros that the net holds: for one batch size.

    Args:
        batch: N, fixed.
        channels: of the identity; not needed here.
        extra: channels to add.
        space: sizes of the spatial axes, fixed.
    """

    def __init__(
        self,
        batch: int,
        channels: int,
        extra: int,
        space: tuple[int, ...],
    ) -> None:
        super().__init__()
        zeros = mx.nd.zeros((batch, extra, *space))
        self.zeros = self.params.get_constant("zeros", zeros)

    def forward(self, x: Any, identity: Any, extra: int) -> Any:
        """The sum of (N, C, …) and (N, C - extra, …)."""
        # A graph takes no numbers as arguments.
        return super().forward(x, identity)

    def hybrid_forward(
        self, F: Any, x: Any, identity: Any, zeros: Any
    ) -> Any:
        return x + F.concat(identity, zeros, dim=1)


class _AddToFirst(Function):
    def forward(self, x: Any, identity: Any) -> Any:
        self.channels = identity.shape[1]
        out = x.copy()
        out[:, : self.channels] += identity
        return out

    def backward(self, grad: Any) -> Any:
        first = grad.slice_axis(axis=1, begin=0, end=self.channels)
        return grad, first


def custom_function(x: Any, identity: Any, extra: int) -> Any:
    """An `autograd.Function` whose backward is a slice."""
    return _AddToFirst()(x, identity)


class _AddToFirstOp(CustomOp):
    # MXNet passes everything by these names.
    def forward(
        self,
        is_train: Any,
        req: Any,
        in_data: Any,
        out_data: Any,
        aux: Any,
    ) -> None:
        x, identity = in_data
        out = x.copy()
        out[:, : identity.shape[1]] += identity
        self.assign(out_data[0], req[0], out)

    def backward(
        self,
        req: Any,
        out_grad: Any,
        in_data: Any,
        out_data: Any,
        in_grad: Any,
        aux: Any,
    ) -> None:
        first = out_grad[0][:, : in_data[1].shape[1]]
        self.assign(in_grad[0], req[0], out_grad[0])
        self.assign(in_grad[1], req[1], first)


@mx.operator.register("d2lutils_add_to_first")
class _AddToFirstProp(CustomOpProp):
    def list_arguments(self) -> list[str]:
        return ["x", "identity"]

    def infer_shape(self, shapes: Any) -> Any:
        return shapes, [shapes[0]], []

    def create_operator(self, *_: Any) -> Any:
        return _AddToFirstOp()


def custom_operator(x: Any, identity: Any, extra: int) -> Any:
    """A registered operator written in Python; its backward is a
    slice."""
    return _namespace(x).Custom(
        x, identity, op_type="d2lutils_add_to_first"
    )


class IdentityKernel(nn.HybridBlock):
    """Widen by a 1x1 convolution whose kernel is a fixed identity.

    Args:
        batch: not needed here.
        channels: of the identity.
        extra: channels to add.
        space: not needed here.
    """

    def __init__(
        self,
        batch: int,
        channels: int,
        extra: int,
        space: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.wide = channels + extra
        kernel = np.eye(self.wide, channels).reshape(-1, channels, 1, 1)
        self.kernel = self.params.get_constant("kernel", kernel)

    def forward(self, x: Any, identity: Any, extra: int) -> Any:
        """The sum of (N, C, …) and (N, C - extra, …)."""
        return super().forward(x, identity)

    def hybrid_forward(
        self, F: Any, x: Any, identity: Any, kernel: Any
    ) -> Any:
        wide = F.Convolution(
            identity,
            kernel,
            kernel=(1, 1),
            num_filter=self.wide,
            no_bias=True,
        )
        return x + wide


def _plain(way: Any) -> Any:
    """A way that needs no sizes when it is made."""
    return lambda batch, channels, extra, space: way


# What makes each way, called with the sizes that some ways need.
WAYS: dict[str, Callable[[int, int, int, tuple[int, ...]], Any]] = {
    "concatenate, sized ahead": _plain(concat_ahead),
    "concatenate, derived from the branch": _plain(concat_derived),
    "concatenate a constant parameter": ConstantZeros,
    "transpose, pad, transpose": _plain(transpose_pad),
    "pad the channel axis": _plain(pad_channels),
    "pad a view (N, 1, C, S)": _plain(pad_view),
    "pad five axes": _plain(pad_5d),
    "1x1 identity kernel": IdentityKernel,
    "add to a slice in place": _plain(slice_in_place),
    "add to a slice, concatenate the rest": _plain(slice_and_concat),
    "autograd.Function": _plain(custom_function),
    "custom operator": _plain(custom_operator),
    "add_zero_padded": _plain(add_zero_padded),
}


class _Sum(nn.HybridBlock):
    """A way as a block, so that it can be hybridized."""

    def __init__(self, way: Any, extra: int) -> None:
        super().__init__()
        self.way, self.extra = way, extra

    def hybrid_forward(self, F: Any, x: Any, identity: Any) -> Any:
        return self.way(x, identity, self.extra)


def _agrees(
    make: Any,
    shape: tuple[int, ...],
    channels: int,
    record: bool = True,
    hybrid: bool = False,
    batches: tuple[int, ...] = (),
) -> None:
    """Raise unless values and gradients equal NumPy's."""
    extra = shape[1] - channels
    block = _Sum(make(shape[0], channels, extra, shape[2:]), extra)
    block.initialize()
    block.hybridize(hybrid)
    generator = np.random.Generator(np.random.PCG64(0))
    for n in batches or (shape[0],):
        x, grad = generator.standard_normal((2, n, *shape[1:]))
        identity = grad[:, :channels] + x[:, -channels:]
        a, b = mx.nd.array(x), mx.nd.array(identity)
        expected = x.copy()
        expected[:, :channels] += identity
        if record:
            a.attach_grad()
            b.attach_grad()
            with mx.autograd.record():
                out = block(a, b)
            out.backward(mx.nd.array(grad))
            _close(a.grad, grad)
            _close(b.grad, grad[:, :channels])
        else:
            out = block(a, b)
        _close(out, expected)


def _close(found: Any, expected: np.ndarray) -> None:
    np.testing.assert_allclose(
        found.asnumpy(), expected, rtol=1e-4, atol=1e-5
    )


def _trains(make: Any) -> None:
    """Two steps of a hybridized PyramidNet; raise if one fails."""
    net = PyramidNet(20, 48)
    space = 32
    for unit in net.blocks:
        space = space if unit.pool is None else space // 2
        inner = unit.sum
        channels = unit.channels - inner.extra
        inner.add = make(4, channels, inner.extra, (space, space))
    net.initialize(mx.init.Xavier())
    net.hybridize(static_alloc=True)
    trainer = mx.gluon.Trainer(
        net.collect_params(), "sgd", {"learning_rate": 2**-6}
    )
    for seed in range(2):
        generator = np.random.Generator(np.random.PCG64(seed))
        x = mx.nd.array(generator.standard_normal((4, 3, 32, 32)))
        with mx.autograd.record():
            loss = (net(x) ** 2).mean()
        loss.backward()
        trainer.step(1)
    if not np.isfinite(loss.asscalar()):
        raise ArithmeticError("the loss is not finite")


@checked
def capabilities(
    way: Annotated[str, one_of(WAYS)],
) -> dict[str, str]:
    """Find out by running what one of `WAYS` can do.

    - eager: values on 4x64x6x6 from 40 channels.
    - gradient: the same while recording for autograd.
    - graph: the same, hybridized (PyTorch: compiled whole).
    - any batch: that graph on another batch size.
    - 1-D: on 4x64x6, also in a graph if it can be one.
    - extra > channels: to 64 from 10, likewise.
    - in a net: two training steps of PyramidNet-20 (alpha 48),
      hybridized. A sum followed by a convolution can still fail where
      this works, on rank 4: batch norm comes between here.

    Args:
        way: its name in `WAYS`.

    Returns:
        By column, "" where it works, else the reason in one line.

    Raises:
        ValueError: an unknown name.
    """
    make, shape = WAYS[way], (4, 64, 6, 6)

    def everywhere(sizes: tuple[int, ...], channels: int) -> None:
        _agrees(make, sizes, channels)
        if not found["graph"]:
            _agrees(make, sizes, channels, hybrid=True)

    tests: dict[str, Callable[[], None]] = {
        "eager": lambda: _agrees(make, shape, 40, record=False),
        "gradient": lambda: _agrees(make, shape, 40),
        "graph": lambda: _agrees(make, shape, 40, hybrid=True),
        "any batch": lambda: _agrees(
            make, shape, 40, hybrid=True, batches=(4, 3)
        ),
        "1-D": lambda: everywhere(shape[:3], 40),
        "extra > channels": lambda: everywhere(shape, 10),
        "in a net": lambda: _trains(make),
    }
    found: dict[str, str] = {}
    for column, test in tests.items():
        found[column] = ""
        try:
            test()
            mx.nd.waitall()
        except Exception as error:
            why = reason(error)
            found[column] = f"{type(error).__name__}: {why}"
            with suppress(mx.MXNetError):
                mx.nd.waitall()  # what else the failure left behind
    return found
