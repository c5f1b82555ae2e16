"""`add_zero_padded` and `ZeroPadShortcut` by hand: values, gradients, every mode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pairs import gnn, halves, nn, noise, pair, sequence

from d2lutils import parity
from d2lutils.compat import mx

GLUON, PYTORCH = halves("shortcuts")

# (shape of x, channels of the identity): nothing to add, one channel, more channels to
# add than there are, one position, one example.
SUMS = [
    ((3, 5, 7), 5),
    ((3, 5, 7), 4),
    ((2, 9, 7), 2),
    ((1, 3, 1), 1),
    ((2, 5, 3, 4), 5),
    ((2, 8, 2, 3), 3),
    ((2, 9, 2, 2), 2),
    ((1, 4, 1, 3), 3),
]


def operands(
    shape: tuple[int, ...], channels: int, dtype: str = "float32", seed: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(x, identity, gradient of the sum, the sum) in NumPy."""
    x, identity, grad = (
        noise(shape[0], c, *shape[2:], seed=seed + i, dtype=dtype)
        for i, c in enumerate((shape[1], channels, shape[1]))
    )
    total = x.copy()
    total[:, :channels] += identity
    return x, identity, grad, total


class GluonSum(gnn.HybridBlock):
    """The sum as a block: with the number of channels to add, or without."""

    def __init__(self, extra: int | None) -> None:
        super().__init__()
        self.extra = extra

    def hybrid_forward(self, F: Any, x: Any, identity: Any) -> Any:
        return GLUON.add_zero_padded(x, identity, self.extra)


class TorchSum(nn.Module):
    """The same."""

    def __init__(self, extra: int | None) -> None:
        super().__init__()
        self.extra = extra

    def forward(self, x: Any, identity: Any) -> Any:
        return PYTORCH.add_zero_padded(x, identity, self.extra)


def gluon_values(
    block: Any, x: np.ndarray, identity: np.ndarray, grad: np.ndarray
) -> Iterator[np.ndarray]:
    """The sum and the gradients of x and identity."""
    a, b = (mx.nd.array(v, dtype=v.dtype) for v in (x, identity))
    a.attach_grad()
    b.attach_grad()
    with mx.autograd.record():
        out = block(a, b)
    out.backward(mx.nd.array(grad, dtype=grad.dtype))
    yield from (out.asnumpy(), a.grad.asnumpy(), b.grad.asnumpy())


def torch_values(
    block: Any, x: np.ndarray, identity: np.ndarray, grad: np.ndarray
) -> Iterator[np.ndarray]:
    """The same."""
    a, b = (torch.tensor(v, requires_grad=True) for v in (x, identity))
    out = block(a, b)
    out.backward(torch.as_tensor(grad))
    yield from (out.detach().numpy(), a.grad.numpy(), b.grad.numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", [True, False], ids=["extra", "found"])
@pytest.mark.parametrize(("shape", "channels"), SUMS)
def test_sum_and_gradients(
    shape: tuple[int, ...], channels: int, given: bool, dtype: str
) -> None:
    x, identity, grad, total = operands(shape, channels, dtype)
    expected = (total, grad, grad[:, :channels])
    extra = shape[1] - channels if given else None
    hybridized = GluonSum(extra)
    hybridized.hybridize(static_alloc=True)
    for values in (
        gluon_values(GluonSum(extra), x, identity, grad),
        gluon_values(hybridized, x, identity, grad),
        torch_values(TorchSum(extra), x, identity, grad),
    ):
        for found, wanted in zip(values, expected, strict=True):
            assert found.dtype == dtype
            assert np.array_equal(found, wanted)


@pytest.mark.parametrize("given", [True, False], ids=["extra", "found"])
@pytest.mark.parametrize(("shape", "channels"), SUMS)
def test_in_a_graph_for_any_batch(
    shape: tuple[int, ...], channels: int, given: bool, tmp_path: Path
) -> None:
    """Hybridized, then exported and read back: at other batch sizes as at the first."""
    net = GluonSum(shape[1] - channels if given else None)
    net.hybridize()
    net(*map(mx.nd.array, operands(shape, channels)[:2]))
    net.export(str(tmp_path / "sum"))
    names = ["data0", "data1"]
    again = mx.gluon.SymbolBlock.imports(str(tmp_path / "sum-symbol.json"), names)
    for n in (1, 4, 7):
        x, identity, grad, total = operands((n, *shape[1:]), channels, seed=n)
        for block in (net, again):
            values = list(gluon_values(block, x, identity, grad))
            for found, wanted in zip(
                values, (total, grad, grad[:, :channels]), strict=True
            ):
                assert np.array_equal(found, wanted)


def test_a_symbol_infers_its_shape() -> None:
    x, identity = mx.sym.var("x"), mx.sym.var("identity")
    for total in (
        GLUON.add_zero_padded(x, identity),
        GLUON.add_zero_padded(x, identity, 2),
    ):
        for shape in ((4, 5, 7), (2, 5, 6, 3)):
            narrow = (shape[0], 3, *shape[2:])
            assert total.infer_shape(x=shape, identity=narrow)[1] == [shape]
    free = GLUON.add_zero_padded(x, identity)
    assert free.infer_shape(x=(2, 9, 7), identity=(2, 1, 7))[1] == [(2, 9, 7)]


@pytest.mark.parametrize("given", [True, False], ids=["extra", "found"])
@pytest.mark.parametrize(("shape", "channels"), SUMS)
def test_not_a_number_stays_where_it_is(
    shape: tuple[int, ...], channels: int, given: bool
) -> None:
    """Zeros are zeros, not 0 times something."""
    x, identity, grad, total = operands(shape, channels)
    identity[:] = np.nan
    grad[:, channels:] = np.nan
    extra = shape[1] - channels if given else None
    hybridized = GluonSum(extra)
    hybridized.hybridize()
    for values in (
        gluon_values(GluonSum(extra), x, identity, grad),
        gluon_values(hybridized, x, identity, grad),
        torch_values(TorchSum(extra), x, identity, grad),
    ):
        out, _, narrow = values
        assert np.array_equal(out[:, channels:], total[:, channels:])
        assert np.isnan(out[:, :channels]).all()
        assert np.array_equal(narrow, grad[:, :channels])


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5)])
def test_padding_what_is_not_a_number(shape: tuple[int, ...]) -> None:
    x = np.full(shape, np.nan, "float32")
    one = GLUON.zero_pad_channels(mx.nd.array(x), 8).asnumpy()
    two = PYTORCH.zero_pad_channels(torch.tensor(x), 8).numpy()
    for found in (one, two):
        assert np.isnan(found[:, :3]).all()
        assert (found[:, 3:] == 0).all()


@pytest.mark.parametrize(("shape", "channels"), SUMS)
def test_the_result_is_its_own(shape: tuple[int, ...], channels: int) -> None:
    """Writing into it changes neither operand, and the sum itself changed none."""
    x, identity, _, total = operands(shape, channels)
    a, b = mx.nd.array(x), mx.nd.array(identity)
    c, d = torch.tensor(x), torch.tensor(identity)
    blocks = [GluonSum(None), GluonSum(None)]
    blocks[1].hybridize()
    for block in blocks:
        out = block(a, b)
        assert np.array_equal(out.asnumpy(), total)
        out[:] = 7
    out = PYTORCH.add_zero_padded(c, d)
    assert np.array_equal(out.numpy(), total)
    out.fill_(7)
    mx.nd.waitall()
    for found, own in ((a, x), (b, identity), (c, x), (d, identity)):
        found = found.asnumpy() if isinstance(found, mx.nd.NDArray) else found.numpy()
        assert np.array_equal(found, own)


def test_one_gradient_for_x_and_identity() -> None:
    """The same tensor on both sides gets both gradients."""
    value = noise(2, 3, 4)
    a = mx.nd.array(value)
    a.attach_grad()
    with mx.autograd.record():
        out = GLUON.add_zero_padded(a, a)
    out.backward()
    b = torch.tensor(value, requires_grad=True)
    PYTORCH.add_zero_padded(b, b).sum().backward()
    assert (a.grad.asnumpy() == 2).all()
    assert (b.grad.numpy() == 2).all()
    c = torch.tensor(value, requires_grad=True)
    PYTORCH.add_zero_padded(c, c[:, :2]).sum().backward()
    assert np.array_equal(c.grad[0, :, 0].numpy(), [2, 2, 1])


# -- ZeroPadShortcut -------------------------------------------------------------------


def pooled(x: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of windows, the last over what there is, and each position's share."""
    share = np.ones_like(x)
    for axis in range(2, x.ndim):
        n = x.shape[axis]
        parts = [range(i, min(i + stride, n)) for i in range(0, n, stride)]
        x = np.stack([x.take(part, axis).mean(axis) for part in parts], axis)
        sizes = np.concatenate([[1 / len(part)] * len(part) for part in parts])
        share = share * sizes.reshape((-1,) + (1,) * (share.ndim - 1 - axis))
    return x, share


def spread(grad: np.ndarray, stride: int, shape: tuple[int, ...]) -> np.ndarray:
    """A gradient of the means, repeated for the positions of each window."""
    for axis in range(2, len(shape)):
        grad = grad.repeat(stride, axis).take(range(shape[axis]), axis)
    return grad


@pytest.mark.parametrize("channels", [3, 4, 8])
@pytest.mark.parametrize(
    ("size", "stride"),
    [
        ((6,), 1),
        ((6,), 2),
        ((7,), 2),
        ((2,), 2),
        ((8,), 3),
        ((4, 6), 1),
        ((4, 6), 2),
        ((5, 6), 2),
        ((7, 3), 2),
        ((7, 5), 3),
    ],
)
def test_zero_pad_shortcut(size: tuple[int, ...], stride: int, channels: int) -> None:
    """Values and gradients by hand, imperatively and hybridized."""
    rank = len(size)
    x = noise(2, 3, *size, dtype="float64")
    means, share = pooled(x, stride)
    expected = np.zeros((2, channels, *means.shape[2:]))
    expected[:, :3] = means
    assert means.shape[2:] == tuple(-(-n // stride) for n in size)
    grad = noise(*expected.shape, seed=2, dtype="float64")
    gradient = spread(grad[:, :3], stride, x.shape) * share
    block = GLUON.ZeroPadShortcut(3, channels, stride, rank)
    # MXNet records nothing for a hybridized net that returns its input as it is.
    changes = stride > 1 or channels > 3
    for hybrid in (False, True) if changes else (False,):
        block.hybridize(hybrid)
        a = mx.nd.array(x, dtype="float64")
        a.attach_grad()
        with mx.autograd.record():
            y = block(a)
            total = (y * mx.nd.array(grad, dtype="float64")).sum()
        total.backward()
        np.testing.assert_allclose(y.asnumpy(), expected, rtol=0, atol=1e-14)
        np.testing.assert_allclose(a.grad.asnumpy(), gradient, rtol=0, atol=1e-14)
        assert (y.asnumpy()[:, 3:] == 0).all()
    b = torch.tensor(x, requires_grad=True)
    y = PYTORCH.ZeroPadShortcut(3, channels, stride, rank)(b)
    y.backward(torch.tensor(grad))
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(b.grad.numpy(), gradient, rtol=0, atol=1e-14)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_zero_pad_shortcut_in_a_net(rank: int, stride: int) -> None:
    one, two = (half.ZeroPadShortcut for half in (GLUON, PYTORCH))
    convs = (gnn.Conv1D, nn.Conv1d) if rank == 1 else (gnn.Conv2D, nn.Conv2d)
    nets = pair(
        sequence(one(2, 7, stride, rank), convs[0](3, 3, in_channels=7)),
        nn.Sequential(two(2, 7, stride, rank), convs[1](7, 3, 3)),
    )
    report = parity.compare(*nets, noise(3, 2, *(9, 8)[:rank]))
    assert report.ok, report


def test_zero_pad_shortcut_for_any_batch(tmp_path: Path) -> None:
    net = sequence(GLUON.ZeroPadShortcut(2, 5, 2), gnn.Activation("relu"))
    net.hybridize()
    net(mx.nd.array(noise(3, 2, 5, 4)))
    net.export(str(tmp_path / "net"))
    again = mx.gluon.SymbolBlock.imports(str(tmp_path / "net-symbol.json"), ["data"])
    other = nn.Sequential(PYTORCH.ZeroPadShortcut(2, 5, 2), nn.ReLU())
    for n in (1, 6):
        x = noise(n, 2, 5, 4, seed=n)
        expected = other(torch.tensor(x)).numpy()
        for block in (net, again):
            np.testing.assert_allclose(
                block(mx.nd.array(x)).asnumpy(), expected, rtol=1e-6, atol=1e-7
            )


# -- between convolutions, in Gluon's graphs -------------------------------------------


class Between(gnn.HybridBlock):
    """convolution → sum with its input, or a shortcut with padding → convolution."""

    def __init__(self, rank: int, channels: int, kind: str) -> None:
        super().__init__()
        conv = (gnn.Conv1D, gnn.Conv2D)[rank - 1]
        width = 3 if kind == "shortcut" else channels
        self.first = conv(width, 3, padding=1, in_channels=3)
        self.pad = GLUON.ZeroPadShortcut(3, channels, 2, rank)
        self.last = conv(16, 3, padding=1, in_channels=channels)
        self.kind, self.extra = kind, channels - 3

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        if self.kind == "shortcut":
            return self.last(self.pad(self.first(x)))
        extra = self.extra if self.kind == "extra" else None
        return self.last(GLUON.add_zero_padded(self.first(x), x, extra))


@pytest.mark.parametrize("kind", ["extra", "found", "shortcut"])
@pytest.mark.parametrize("channels", [4, 7, 8, 16, 24, 32])
@pytest.mark.parametrize("rank", [1, 2])
def test_between_convolutions(rank: int, channels: int, kind: str) -> None:
    """In float32, where on rank 4 a concatenation fails, or ends the process.

    A convolution from a multiple of 8 channels hands oneDNN a gradient in blocks of
    channels, which cannot be cut at the third one.
    """
    results = []
    for flags in ({}, {}, {"static_alloc": True, "static_shape": True}):
        net = Between(rank, channels, kind)
        mx.random.seed(0)
        net.initialize(mx.init.Xavier())
        if results:
            net.hybridize(**flags)
        found = []
        for n in (4, 4, 3):
            x = mx.nd.array(noise(n, 3, *(8, 7)[:rank], seed=n))
            x.attach_grad()
            with mx.autograd.record():
                loss = (net(x) ** 2).mean()
            loss.backward()
            found += [loss.asnumpy(), x.grad.asnumpy()]
        mx.nd.waitall()
        results.append(found)
    for other in results[1:]:
        for one, two in zip(other, results[0], strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5)


# -- what PyTorch's readers wrap around it ---------------------------------------------


@pytest.mark.parametrize(("shape", "channels"), SUMS)
class TestPyTorch:
    @staticmethod
    def tensors(
        shape: tuple[int, ...], channels: int, dtype: str = "float32"
    ) -> list[torch.Tensor]:
        x, identity, *_ = operands(shape, channels, dtype)
        return [torch.tensor(v, requires_grad=True) for v in (x, identity)]

    def test_derivatives(self, shape: tuple[int, ...], channels: int) -> None:
        """First and second, against differences."""
        tensors = self.tensors(shape, channels, "float64")
        assert torch.autograd.gradcheck(PYTORCH.add_zero_padded, tensors)
        # The sum is linear: the square makes a second derivative that is not zero.
        assert torch.autograd.gradgradcheck(
            lambda x, identity: PYTORCH.add_zero_padded(x, identity) ** 2, tensors
        )

    @pytest.mark.parametrize("only", [0, 1])
    def test_one_gradient_only(
        self, shape: tuple[int, ...], channels: int, only: int
    ) -> None:
        tensors = self.tensors(shape, channels)
        tensors[1 - only].requires_grad_(False)
        PYTORCH.add_zero_padded(*tensors).sum().backward()
        assert (tensors[only].grad == 1).all()
        assert tensors[1 - only].grad is None

    @pytest.mark.parametrize("dims", [(0, 0), (0, None), (None, 0), (1, 0), (2, 1)])
    def test_vmap(
        self,
        shape: tuple[int, ...],
        channels: int,
        dims: tuple[int | None, int | None],
    ) -> None:
        """A mapped axis, wherever it is, is a loop over it."""
        count = 3
        rows = [operands(shape, channels, seed=i)[:2] for i in range(count)]
        stacks = []
        for values, dim in zip(zip(*rows, strict=True), dims, strict=True):
            stack = values[0] if dim is None else np.stack(values, dim)
            stacks.append(torch.tensor(stack))
        found = torch.vmap(PYTORCH.add_zero_padded, dims)(*stacks)
        for i in range(count):
            x, identity = (
                stack if dim is None else stack.select(dim, i)
                for stack, dim in zip(stacks, dims, strict=True)
            )
            assert torch.equal(found[i], PYTORCH.add_zero_padded(x, identity))

    def test_gradients_for_each_example(
        self, shape: tuple[int, ...], channels: int
    ) -> None:
        """torch.func: vmap over grad."""

        def loss(x: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
            out = PYTORCH.add_zero_padded(x[None], identity[None])
            return (out**2).sum() / 2

        x, identity = (t.detach() for t in self.tensors(shape, channels))
        grads = torch.vmap(torch.func.grad(loss, argnums=(0, 1)))(x, identity)
        total = PYTORCH.add_zero_padded(x, identity)
        torch.testing.assert_close(grads[0], total)
        torch.testing.assert_close(grads[1], total[:, :channels])

    def test_compile(self, shape: tuple[int, ...], channels: int) -> None:
        torch.compiler.reset()
        block = torch.compile(TorchSum(None), backend="aot_eager", fullgraph=True)
        for n in (shape[0], shape[0] + 2):
            x, identity, grad, total = operands((n, *shape[1:]), channels)
            for found, wanted in zip(
                torch_values(block, x, identity, grad),
                (total, grad, grad[:, :channels]),
                strict=True,
            ):
                assert np.array_equal(found, wanted)

    def test_export_with_any_batch(self, shape: tuple[int, ...], channels: int) -> None:
        batch = torch.export.Dim("batch", min=1, max=64)
        x, identity, *_ = operands((3, *shape[1:]), channels)
        arguments = (torch.tensor(x), torch.tensor(identity))
        exported = torch.export.export(
            TorchSum(None), arguments, dynamic_shapes=({0: batch}, {0: batch})
        )
        for n in (1, 5, 64):
            x, identity, _, total = operands((n, *shape[1:]), channels, seed=n)
            found = exported.module()(torch.tensor(x), torch.tensor(identity))
            assert np.array_equal(found.numpy(), total)

    @pytest.mark.parametrize("wide", [torch.bfloat16, torch.float32])
    def test_autocast(
        self, shape: tuple[int, ...], channels: int, wide: torch.dtype
    ) -> None:
        """A branch in bfloat16 and an identity in float32, and the reverse."""
        narrow = torch.float32 if wide is torch.bfloat16 else torch.bfloat16
        x, identity, _, total = operands(shape, channels)
        a = torch.tensor(x).to(wide).requires_grad_()
        b = torch.tensor(identity).to(narrow).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = PYTORCH.add_zero_padded(a, b)
        assert out.dtype == torch.float32
        out.sum().backward()
        assert (a.grad.dtype, b.grad.dtype) == (wide, narrow)
        assert (a.grad == 1).all()
        assert (b.grad == 1).all()
        torch.testing.assert_close(
            out.detach().float(), torch.tensor(total), rtol=2e-2, atol=2e-2
        )
        with pytest.raises(ValueError, match=r"^add_zero_padded: identity has dtype"):
            PYTORCH.add_zero_padded(a, b)

    def test_memory_in_another_order(
        self, shape: tuple[int, ...], channels: int
    ) -> None:
        x, identity, grad, total = operands(shape, channels)
        turned = [
            torch.tensor(v).transpose(0, -1).contiguous().transpose(0, -1)
            for v in (x, identity)
        ]
        assert np.array_equal(PYTORCH.add_zero_padded(*turned).numpy(), total)
        if len(shape) == 4:
            last = torch.channels_last
            a = torch.tensor(x).contiguous(memory_format=last).requires_grad_()
            b = torch.tensor(identity, requires_grad=True)
            out = PYTORCH.add_zero_padded(a, b)
            assert out.is_contiguous(memory_format=last)
            out.backward(torch.tensor(grad))
            assert np.array_equal(out.detach().numpy(), total)
            assert np.array_equal(a.grad.numpy(), grad)
            assert np.array_equal(b.grad.numpy(), grad[:, :channels])

    def test_without_gradients(self, shape: tuple[int, ...], channels: int) -> None:
        x, identity, _, total = operands(shape, channels)
        for mode in (torch.no_grad(), torch.inference_mode()):
            with mode:
                out = PYTORCH.add_zero_padded(torch.tensor(x), torch.tensor(identity))
                assert np.array_equal(out.numpy(), total)
                assert not out.requires_grad
