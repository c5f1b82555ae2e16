"""Shortcuts without parameters: zeros behind, every second position, means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from halves import GLUON, PYTORCH, both, exported, gnn, losses, noise
from reference import check, close, ways

from d2lutils.compat import mx
from d2lutils.gpu_report.equations import means, zeros_behind

Shape = tuple[int, ...]
SIZES = {1: (9,), 2: (7, 6)}
# (shape of x, channels of the identity): nothing to add, one channel, more channels to
# add than there are, one position, one example.
SUMS = [
    ((3, 5, 7), 5),
    ((3, 5, 7), 4),
    ((1, 3, 1), 1),
    ((2, 5, 3, 4), 5),
    ((2, 8, 2, 3), 3),
    ((2, 9, 2, 2), 2),
]
sums = pytest.mark.parametrize(("shape", "channels"), SUMS)
given = pytest.mark.parametrize("given", [True, False], ids=["extra", "found"])


def adding(extra: int | None) -> Any:
    """What makes a block of the sum: with the number of channels to add, or without."""

    def build(half: Any) -> Any:
        add = half.shortcuts.add_zero_padded
        return half.call(lambda x, identity: add(x, identity, extra))

    return build


def narrow(shape: Shape, channels: int) -> Shape:
    return (shape[0], channels, *shape[2:])


# -- equations -------------------------------------------------------------------------


@ways
@given
@sums
def test_sum(way: str, shape: Shape, channels: int, given: bool) -> None:
    """To the last bit; the gradient of the identity is a slice."""
    check(
        way,
        adding(shape[1] - channels if given else None),
        lambda w, x, identity: x + zeros_behind(identity, shape[1]),
        *(shape, narrow(shape, channels)),
        batches=(shape[0], 1, 7),
        bound=0,
    )


@ways
@pytest.mark.parametrize("shape", [(3, 2, 5), (2, 3, 4, 5), (1, 1, 1)])
@pytest.mark.parametrize("extra", [1, 6])
def test_zero_pad_channels(way: str, shape: Shape, extra: int) -> None:
    channels = shape[1] + extra
    check(
        way,
        lambda h: h.call(lambda x: h.shortcuts.zero_pad_channels(x, channels)),
        lambda w, x: zeros_behind(x, channels),
        shape,
        batches=(shape[0], 1, 7),
        bound=0,
    )


@both
def test_zero_padding_nothing_returns_the_input(half: Any) -> None:
    x = half.zeros(1, 2, 3)
    assert half.shortcuts.zero_pad_channels(x, 2) is x


@ways
@pytest.mark.parametrize(
    ("rank", "stride", "channels"),
    [(1, 1, 5), (1, 2, 2), (1, 3, 8), (2, 1, 8), (2, 2, 2), (2, 3, 5), (2, (1, 2), 3)],
)
def test_subsample_zero_pad(way: str, rank: int, stride: Any, channels: int) -> None:
    """Option A of He et al., 2015: every stride-th position, zeros behind."""
    steps = stride if isinstance(stride, tuple) else (stride,) * rank
    every = (..., *(slice(None, None, step) for step in steps))
    check(
        way,
        lambda half: half.shortcuts.SubsampleZeroPad(2, channels, stride, rank),
        lambda w, x: zeros_behind(x[every], channels),
        (3, 2, *SIZES[rank]),
        batches=(3, 1),
        bound=0,
    )


@ways
@pytest.mark.parametrize(
    ("size", "stride", "channels"),
    [
        ((6,), 1, 4),
        ((7,), 2, 3),
        ((2,), 2, 8),
        ((8,), 3, 8),
        ((4, 6), 1, 8),
        ((4, 6), 2, 3),
        ((5, 6), 2, 8),
        ((7, 5), 3, 4),
    ],
)
def test_zero_pad_shortcut(way: str, size: Shape, stride: int, channels: int) -> None:
    """Han et al., 2017, section 3.2: average pooling, zeros behind."""
    check(
        way,
        lambda half: half.shortcuts.ZeroPadShortcut(3, channels, stride, len(size)),
        lambda w, x: zeros_behind(means(x, stride), channels),
        (2, 3, *size),
        batches=(2, 6),
        bound=1e-14,
    )


# -- its own ---------------------------------------------------------------------------


@both
@sums
def test_zeros_are_not_0_times_something(
    half: Any, shape: Shape, channels: int
) -> None:
    """What is not a number stays where it is."""
    x, identity, grad = noise(*shape), noise(*narrow(shape, channels)), noise(*shape)
    identity[:], grad[:, channels:] = np.nan, np.nan
    out, _, back = half.gradients(adding(None)(half), x, identity, head=grad)
    assert np.array_equal(out[:, channels:], x[:, channels:])
    assert np.isnan(out[:, :channels]).all()
    assert np.array_equal(back, grad[:, :channels])
    padded = half.output(
        half.shortcuts.ZeroPadShortcut(2, 5), noise(2, 2, 3, 4) * np.nan
    )
    assert np.isnan(padded[:, :2]).all()
    assert (padded[:, 2:] == 0).all()


@both
@sums
def test_the_result_is_its_own(half: Any, shape: Shape, channels: int) -> None:
    """Writing into it changes neither operand, and the sum itself changed none."""
    values = noise(*shape), noise(*narrow(shape, channels))
    arrays = [half.tensor(v) for v in values]
    half.shortcuts.add_zero_padded(*arrays)[:] = 7
    for array, own in zip(arrays, values, strict=True):
        assert np.array_equal(half.numpy(array), own)


@both
def test_the_same_tensor_on_both_sides(half: Any) -> None:
    """It gets both gradients."""
    twice = half.call(lambda x: half.shortcuts.add_zero_padded(x, x))
    assert (half.gradients(twice, noise(2, 3, 4))[1] == 2).all()


# -- Gluon's graphs --------------------------------------------------------------------


@given
def test_exported_for_any_batch(given: bool, tmp_path: Path) -> None:
    net = adding(2 if given else None)(GLUON)
    net.hybridize()
    GLUON.output(net, noise(3, 5, 7), noise(3, 3, 7))
    again = exported(net, tmp_path, "data0", "data1")
    for n in (1, 4):
        x, identity = noise(n, 5, 7), noise(n, 3, 7, seed=2)
        found = GLUON.output(again, x, identity)
        assert np.array_equal(found, GLUON.output(net, x, identity))


def test_a_symbol_infers_its_shape() -> None:
    x, identity = mx.sym.var("x"), mx.sym.var("identity")
    for extra in (None, 2):
        total = GLUON.shortcuts.add_zero_padded(x, identity, extra)
        for shape in ((4, 5, 7), (2, 5, 6, 3)):
            sizes = {"x": shape, "identity": narrow(shape, 3)}
            assert total.infer_shape(**sizes)[1] == [shape]
    padded = GLUON.shortcuts.zero_pad_channels(x, 5)
    for shape in ((4, 2, 7), (4, 5, 7), (2, 3, 6, 5)):
        assert padded.infer_shape(x=shape)[1] == [narrow(shape, 5)]


class Between(gnn.HybridBlock):
    """convolution → sum with its input, or a shortcut with padding → convolution."""

    def __init__(self, rank: int, channels: int, kind: str) -> None:
        super().__init__()
        width = 3 if kind == "shortcut" else channels
        self.first = GLUON.conv(3, width, 3, 1, rank)
        self.pad = GLUON.shortcuts.ZeroPadShortcut(3, channels, 2, rank)
        self.last = GLUON.conv(channels, 16, 3, 1, rank)
        self.kind, self.extra = kind, channels - 3

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        if self.kind == "shortcut":
            return self.last(self.pad(self.first(x)))
        extra = self.extra if self.kind == "extra" else None
        return self.last(GLUON.shortcuts.add_zero_padded(self.first(x), x, extra))


@pytest.mark.parametrize("kind", ["extra", "found", "shortcut"])
@pytest.mark.parametrize("channels", [4, 7, 8, 16, 32])
@pytest.mark.parametrize("rank", [1, 2])
def test_between_convolutions(rank: int, channels: int, kind: str) -> None:
    """In float32, where on rank 4 a concatenation fails, or ends the process.

    A convolution from a multiple of 8 channels hands oneDNN a gradient in blocks of
    channels, which cannot be cut at the third one.
    """
    results = []
    for flags in (None, {}, {"static_alloc": True, "static_shape": True}):
        net = Between(rank, channels, kind)
        mx.random.seed(0)
        net.initialize(mx.init.Xavier())
        if flags is not None:
            net.hybridize(**flags)
        batches = [noise(n, 3, *(8, 7)[:rank], seed=n) for n in (4, 4, 3)]
        steps, output = losses(net, batches, 2**-6)
        gradient = GLUON.gradients(net, batches[0])[1]
        results.append((np.array(steps), output, gradient))
    for other in results[1:]:
        for one, two in zip(other, results[0], strict=True):
            close(one, two, 1e-4)


# -- what PyTorch's readers wrap around it ---------------------------------------------


@pytest.mark.parametrize(("shape", "channels"), [SUMS[i] for i in (1, 3, 5)])
class TestPyTorch:
    add = staticmethod(PYTORCH.shortcuts.add_zero_padded)

    @staticmethod
    def tensors(shape: Shape, channels: int, dtype: str = "float32") -> list[Any]:
        values = (noise(*s, dtype=dtype) for s in (shape, narrow(shape, channels)))
        return [torch.tensor(v, requires_grad=True) for v in values]

    def test_derivatives(self, shape: Shape, channels: int) -> None:
        """First and second, against differences."""
        tensors = self.tensors(shape, channels, "float64")
        assert torch.autograd.gradcheck(self.add, tensors)
        # The sum is linear: the square makes a second derivative that is not zero.
        square = lambda x, identity: self.add(x, identity) ** 2  # noqa: E731
        assert torch.autograd.gradgradcheck(square, tensors)

    @pytest.mark.parametrize("only", [0, 1])
    def test_one_gradient_only(self, shape: Shape, channels: int, only: int) -> None:
        tensors = self.tensors(shape, channels)
        tensors[1 - only].requires_grad_(False)
        self.add(*tensors).sum().backward()
        assert (tensors[only].grad == 1).all()
        assert tensors[1 - only].grad is None

    @pytest.mark.parametrize("dims", [(0, 0), (0, None), (None, 0), (1, 0), (2, 1)])
    def test_vmap(self, shape: Shape, channels: int, dims: Any) -> None:
        """A mapped axis, wherever it is, is a loop over it."""
        stacks = []
        for size, dim in zip((shape, narrow(shape, channels)), dims, strict=True):
            stack = noise(3, *size) if dim is not None else noise(*size)
            stacks.append(torch.tensor(stack).movedim(0, dim or 0))
        found = torch.vmap(self.add, dims)(*stacks)
        for i in range(3):
            operands = (
                stack if dim is None else stack.select(dim, i)
                for stack, dim in zip(stacks, dims, strict=True)
            )
            assert torch.equal(found[i], self.add(*operands))

    def test_gradients_for_each_example(self, shape: Shape, channels: int) -> None:
        """torch.func: vmap over grad."""

        def loss(x: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
            return (self.add(x[None], identity[None]) ** 2).sum() / 2

        x, identity = (t.detach() for t in self.tensors(shape, channels))
        grads = torch.vmap(torch.func.grad(loss, argnums=(0, 1)))(x, identity)
        total = self.add(x, identity)
        torch.testing.assert_close(grads, (total, total[:, :channels]))

    def test_compile_and_export(self, shape: Shape, channels: int) -> None:
        """Whole, for any batch."""
        torch.compiler.reset()
        block, inputs = adding(None)(PYTORCH), [shape, narrow(shape, channels)]
        compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
        batch = torch.export.Dim("batch", min=1, max=64)
        arguments = tuple(torch.tensor(noise(3, *s[1:])) for s in inputs)
        sizes = (({0: batch}, {0: batch}),)
        graph = torch.export.export(block, arguments, dynamic_shapes=sizes).module()
        for n in (shape[0], 5):
            values = [noise(n, *s[1:]) for s in inputs]
            wanted = PYTORCH.gradients(block, *values)
            for one, two in zip(
                PYTORCH.gradients(compiled, *values), wanted, strict=True
            ):
                assert np.array_equal(one, two)
            assert np.array_equal(graph(*map(torch.tensor, values)).numpy(), wanted[0])

    @pytest.mark.parametrize("wide", [torch.bfloat16, torch.float32])
    def test_autocast(self, shape: Shape, channels: int, wide: torch.dtype) -> None:
        """A branch in bfloat16 and an identity in float32, and the reverse."""
        other = torch.float32 if wide is torch.bfloat16 else torch.bfloat16
        x, identity = (t.detach() for t in self.tensors(shape, channels))
        a, b = x.to(wide).requires_grad_(), identity.to(other).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = self.add(a, b)
        assert out.dtype == torch.float32
        out.sum().backward()
        assert (a.grad.dtype, b.grad.dtype) == (wide, other)
        wanted = self.add(x, identity)
        torch.testing.assert_close(out.detach(), wanted, rtol=2e-2, atol=2e-2)
        with pytest.raises(ValueError, match=r"^add_zero_padded: identity has dtype"):
            self.add(a, b)

    def test_memory_in_another_order(self, shape: Shape, channels: int) -> None:
        tensors = [t.detach() for t in self.tensors(shape, channels)]
        wanted = self.add(*tensors)
        turned = [t.transpose(0, -1).contiguous().transpose(0, -1) for t in tensors]
        assert torch.equal(self.add(*turned), wanted)
        if len(shape) == 4:
            last = tensors[0].to(memory_format=torch.channels_last).requires_grad_()
            out = self.add(last, tensors[1])
            assert out.is_contiguous(memory_format=torch.channels_last)
            assert torch.equal(out, wanted)
            out.backward(wanted)
            assert torch.equal(last.grad, wanted)
