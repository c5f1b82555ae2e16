"""Every known way to add a narrow identity to a wide branch.

Each way is called as `way(x, identity, extra)` and returns the sum as
if `extra` channels of zeros stood behind `identity`, or fails: that is
what `capabilities` finds out. The one to use is
`shortcuts.add_zero_padded`.

>>> x, identity = torch.ones(2, 8, 5), torch.ones(2, 3, 5)
>>> pad_view(x, identity, 5).shape
torch.Size([2, 8, 5])
>>> way = WAYS["concatenate a constant parameter"](2, 3, 5, (5,))
>>> way(x, identity, 5).shape
torch.Size([2, 8, 5])
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from d2lutils._arguments import checked, one_of
from d2lutils._errors import reason
from d2lutils.pytorch.pyramidnet import PyramidNet
from d2lutils.pytorch.shortcuts import add_zero_padded

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


def concat_ahead(x: Any, identity: Any, extra: int) -> Any:
    """Concatenate zeros whose size is written down: it needs a shape.

    Shapes, here and below: x (N, C, …), identity (N, C - extra, …) →
    (N, C, …).
    """
    zeros = x.new_zeros((x.shape[0], extra, *x.shape[2:]))
    return x + torch.cat((identity, zeros), dim=1)


def concat_derived(x: Any, identity: Any, extra: int) -> Any:
    """Concatenate zeros shaped like a slice of the branch's output (the
    identity may have fewer channels than are to be added)."""
    zeros = torch.zeros_like(x[:, :extra])
    return x + torch.cat((identity, zeros), dim=1)


def transpose_pad(x: Any, identity: Any, extra: int) -> Any:
    """Channels to the last axis, padded there, and back."""
    last = identity.permute(0, 2, 3, 1)
    padded = functional.pad(last, (0, extra))
    return x + padded.permute(0, 3, 1, 2)


def pad_view(x: Any, identity: Any, extra: int) -> Any:
    """Pad the third axis of a view (N, 1, C, S): no copy."""
    view = identity.flatten(2).unsqueeze(1)
    padded = functional.pad(view, (0, 0, 0, extra))
    return x + padded.reshape(x.shape)


def pad_5d(x: Any, identity: Any, extra: int) -> Any:
    """Pad the third axis of five, (N, 1, C, H, W)."""
    five = identity.unsqueeze(1)
    padded = functional.pad(five, (0, 0, 0, 0, 0, extra))
    return x + padded.squeeze(1)


def pad_channels(x: Any, identity: Any, extra: int) -> Any:
    """Pad the channel axis itself: the framework's own function."""
    behind = (0, 0) * (x.ndim - 2) + (0, extra)
    return x + functional.pad(identity, behind)


def slice_and_concat(x: Any, identity: Any, extra: int) -> Any:
    """Add to the first channels, concatenate the rest: no zeros."""
    return torch.cat((x[:, :-extra] + identity, x[:, -extra:]), dim=1)


def slice_in_place(x: Any, identity: Any, extra: int) -> Any:
    """Copy the branch's output and add to a slice of the copy."""
    out = x.clone()
    out[:, :-extra] += identity
    return out


class ConstantZeros(nn.Module):
    """Concatenate zeros that the net holds: for one batch size.

    Args:
        batch: N, fixed.
        channels: of the identity; not needed here.
        extra: channels to add.
        space: sizes of the spatial axes, fixed.
    """

    zeros: torch.Tensor

    def __init__(
        self,
        batch: int,
        channels: int,
        extra: int,
        space: tuple[int, ...],
    ) -> None:
        super().__init__()
        zeros = torch.zeros((batch, extra, *space))
        self.register_buffer("zeros", zeros)

    def forward(self, x: Any, identity: Any, extra: int) -> Any:
        """The sum of (N, C, …) and (N, C - extra, …)."""
        return x + torch.cat((identity, self.zeros), dim=1)


class _AddToFirst(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, identity: Any) -> Any:
        ctx.channels = identity.shape[1]
        out = x.clone()
        out[:, : ctx.channels] += identity
        return out

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad, grad[:, : ctx.channels]


def custom_function(x: Any, identity: Any, extra: int) -> Any:
    """An `autograd.Function` whose backward is a slice."""
    return _AddToFirst.apply(x, identity)


@torch.library.custom_op("d2lutils::add_to_first", mutates_args=())
def _add_to_first(
    x: torch.Tensor, identity: torch.Tensor
) -> torch.Tensor:
    out = x.clone()
    out[:, : identity.shape[1]] += identity
    return out


@_add_to_first.register_fake
def _(x: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.channels = inputs[1].shape[1]


def _backward(ctx: Any, grad: Any) -> Any:
    return grad, grad[:, : ctx.channels]


_add_to_first.register_autograd(_backward, setup_context=_setup)


def custom_operator(x: Any, identity: Any, extra: int) -> Any:
    """A registered operator written in Python; its backward is a
    slice."""
    return _add_to_first(x, identity)


class IdentityKernel(nn.Module):
    """Widen by a 1x1 convolution whose kernel is a fixed identity.

    Args:
        batch: not needed here.
        channels: of the identity.
        extra: channels to add.
        space: not needed here.
    """

    kernel: torch.Tensor

    def __init__(
        self,
        batch: int,
        channels: int,
        extra: int,
        space: tuple[int, ...],
    ) -> None:
        super().__init__()
        kernel = torch.eye(channels + extra, channels)
        self.register_buffer("kernel", kernel[:, :, None, None])

    def forward(self, x: Any, identity: Any, extra: int) -> Any:
        """The sum of (N, C, …) and (N, C - extra, …)."""
        return x + functional.conv2d(identity, self.kernel)


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


class _Sum(nn.Module):
    """A way as a module, so that it can be compiled."""

    def __init__(self, way: Any, extra: int) -> None:
        super().__init__()
        self.way, self.extra = way, extra

    def forward(self, x: Any, identity: Any) -> Any:
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
    block: Any = _Sum(make(shape[0], channels, extra, shape[2:]), extra)
    if hybrid:
        torch.compiler.reset()
        block = torch.compile(
            block, backend="aot_eager", fullgraph=True
        )
    generator = np.random.Generator(np.random.PCG64(0))
    for n in batches or (shape[0],):
        x, grad = generator.standard_normal((2, n, *shape[1:]))
        identity = grad[:, :channels] + x[:, -channels:]
        a, b, g = (
            torch.as_tensor(v).float() for v in (x, identity, grad)
        )
        expected = x.copy()
        expected[:, :channels] += identity
        if record:
            a.requires_grad_()
            b.requires_grad_()
            out = block(a, b)
            out.backward(g)
            _close(a.grad, grad)
            _close(b.grad, grad[:, :channels])
        else:
            with torch.no_grad():
                out = block(a, b)
        _close(out, expected)


def _close(found: Any, expected: np.ndarray) -> None:
    np.testing.assert_allclose(
        found.numpy(force=True), expected, rtol=1e-4, atol=1e-5
    )


def _trains(make: Any) -> None:
    """Two steps of a PyramidNet; raise if one fails."""
    net: Any = PyramidNet(20, 48)
    space = 32
    for unit in net.blocks:
        space = space if unit.pool is None else space // 2
        inner = unit.sum
        channels = unit.channels - inner.extra
        inner.add = make(4, channels, inner.extra, (space, space))
    sgd = torch.optim.SGD(net.parameters(), 2**-6)
    for seed in range(2):
        generator = np.random.Generator(np.random.PCG64(seed))
        x = generator.standard_normal((4, 3, 32, 32))
        sgd.zero_grad()
        loss = (net(torch.as_tensor(x).float()) ** 2).mean()
        loss.backward()
        sgd.step()
    if not np.isfinite(loss.item()):
        raise ArithmeticError("the loss is not finite")


@checked
def capabilities(
    way: Annotated[str, one_of(WAYS)],
) -> dict[str, str]:
    """Find out by running what one of `WAYS` can do.

    - eager: values on 4x64x6x6 from 40 channels.
    - gradient: the same while recording for autograd.
    - graph: the same, compiled whole (Gluon: hybridized).
    - any batch: that graph on another batch size.
    - 1-D: on 4x64x6, also in a graph if it can be one.
    - extra > channels: to 64 from 10, likewise.
    - in a net: two training steps of PyramidNet-20 (alpha 48).

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
            with _quiet():
                test()
        except Exception as error:
            why = reason(error)
            found[column] = f"{type(error).__name__}: {why}"
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the compiler's log of a failure, which is caught here."""
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
