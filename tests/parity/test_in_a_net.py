"""Each block inside a whole net, in training: hybridized, exported, compiled.

Forms that work alone have failed there: MXNet's `!is_view` with batch norm where the
channels are a multiple of 8, and oneDNN's sub-memory where they are not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pairs import gnn, halves, mirrored, nn, noise, pair, sequence, train

from d2lutils import parity
from d2lutils.compat import mx

GLUON, PYTORCH = zip(
    *(halves(name) for name in ("blocks", "residual", "shortcuts")), strict=True
)
gluon_blocks, _, gluon_shortcuts = GLUON
SIZES = {1: (11,), 2: (9, 7)}


def net_of(half: Any, rank: int, widths: tuple[int, int], shortcut: str) -> list[Any]:
    """The blocks of a net, but for its head."""
    blocks, residual, shortcuts = half
    first, second = widths
    block = {"shortcut": shortcut, "rank": rank}
    return [
        blocks.ConvChunk(2, first, 3, rank=rank),
        residual.ResidualChunks(first, first, 3, 1, 2, rank=rank),
        residual.ResidualChunks(first, second, 3, 2, 3, **block),
        shortcuts.SubsampleZeroPad(second, second + 3, 1, rank),
        blocks.ConvChunk(second + 3, first, 1, relu=False, rank=rank),
    ]


def nets(rank: int, widths: tuple[int, int], shortcut: str) -> tuple[Any, Any]:
    """The pair of nets, with the same random values."""
    pool = (gnn.GlobalAvgPool1D if rank == 1 else gnn.GlobalAvgPool2D)()
    gluon = sequence(
        *net_of(GLUON, rank, widths, shortcut),
        *(pool, gnn.Flatten(), gnn.Dense(3, in_units=widths[0])),
    )
    mean = (nn.AdaptiveAvgPool1d if rank == 1 else nn.AdaptiveAvgPool2d)(1)
    pytorch = nn.Sequential(
        *net_of(PYTORCH, rank, widths, shortcut),
        *(mean, nn.Flatten(), nn.Linear(widths[0], 3)),
    )
    return pair(gluon, pytorch)


#: Rank, widths and shortcut: multiples of 8 and not, in either rank.
CASES = [
    *((1, (8, 16), "zeros"), (2, (8, 13), "zeros")),
    *((1, (6, 10), "projection"), (2, (8, 16), "projection"), (2, (5, 8), "zeros")),
]


@pytest.mark.parametrize(("rank", "widths", "shortcut"), CASES)
def test_gluon_trains_hybridized(
    rank: int, widths: tuple[int, int], shortcut: str
) -> None:
    """In float32, as readers do, with a short last batch: as when run imperatively."""
    batches = [noise(n, 2, *SIZES[rank], seed=n) for n in (5, 5, 3, 1, 7)]
    results = []
    for hybrid in ({}, {"static_alloc": True}):
        net, _ = nets(rank, widths, shortcut)
        if hybrid:
            net.hybridize(**hybrid)
        results.append(train(net, batches))
    (plain, output), (hybridized, other) = results
    assert np.isfinite(plain).all()
    np.testing.assert_allclose(hybridized, plain, rtol=1e-3)
    np.testing.assert_allclose(other, output, rtol=1e-2, atol=1e-3)


def test_gluon_trains_with_a_static_shape() -> None:
    net, _ = nets(1, (8, 13), "zeros")
    net.hybridize(static_alloc=True, static_shape=True)
    losses, _ = train(net, [noise(5, 2, 11, seed=1)] * 5)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("rank", "widths"), [(1, (8, 16)), (2, (6, 11))])
def test_whole_nets_are_equal(rank: int, widths: tuple[int, int]) -> None:
    report = parity.compare(*nets(rank, widths, "zeros"), noise(5, 2, *SIZES[rank]))
    assert report.ok, report


@pytest.mark.parametrize("shape", [(3, 2, 7), (3, 2, 5, 4)])
@pytest.mark.parametrize("channels", [2, 8])
def test_zero_pad_channels_in_a_graph(
    shape: tuple[int, ...], channels: int, tmp_path: Path
) -> None:
    """On a Symbol: exported, and read back for another batch size."""

    class Pads(gnn.HybridBlock):
        def hybrid_forward(self, F: Any, x: Any) -> Any:
            return gluon_shortcuts.zero_pad_channels(2 * x, channels)

    net = Pads()
    net.hybridize()
    x = noise(*shape)
    net(mx.nd.array(x))
    net.export(str(tmp_path / "pads"))
    again = mx.gluon.SymbolBlock.imports(str(tmp_path / "pads-symbol.json"), ["data"])
    for n in (1, 3, 8):
        x = noise(n, *shape[1:], seed=n)
        expected = np.zeros((n, channels, *shape[2:]), "float32")
        expected[:, :2] = 2 * x
        assert np.array_equal(net(mx.nd.array(x)).asnumpy(), expected)
        assert np.array_equal(again(mx.nd.array(x)).asnumpy(), expected)


def test_zero_pad_channels_on_a_symbol_infers_its_shape() -> None:
    padded = gluon_shortcuts.zero_pad_channels(mx.sym.var("x"), 5)
    for shape in ((4, 2, 7), (4, 5, 7), (2, 3, 6, 5)):
        assert padded.infer_shape(x=shape)[1] == [(shape[0], 5, *shape[2:])]


@pytest.mark.filterwarnings("ignore:Cannot decide type")  # MXNet's own, on reading
@pytest.mark.parametrize(("rank", "shortcut"), [(1, "zeros"), (2, "projection")])
def test_gluon_net_exported(rank: int, shortcut: str, tmp_path: Path) -> None:
    net, _ = nets(rank, (8, 13), shortcut)
    net.hybridize()
    net(mx.nd.array(noise(3, 2, *SIZES[rank])))
    net.export(str(tmp_path / "net"))
    files = [str(tmp_path / f"net-{end}") for end in ("symbol.json", "0000.params")]
    again = mx.gluon.SymbolBlock.imports(files[0], ["data"], files[1])
    for n in (1, 4):
        x = mx.nd.array(noise(n, 2, *SIZES[rank], seed=n))
        np.testing.assert_allclose(
            again(x).asnumpy(), net(x).asnumpy(), rtol=1e-4, atol=1e-5
        )


def test_inside_somebody_elses_hybridized_net() -> None:
    """No shapes are seen there, and a wrong one is MXNet's own error, but an error."""
    net = sequence(gnn.Conv1D(3, 3, in_channels=2), gluon_blocks.ConvChunk(4, 8, 3))
    net.initialize()
    net.hybridize()
    with pytest.raises(mx.MXNetError):
        net(mx.nd.array(noise(2, 2, 9))).wait_to_read()


@pytest.mark.parametrize("options", [{"stride": 2, "shortcut": "zeros"}, {"rank": 2}])
class TestPyTorch:
    """Blocks must work under whatever a reader wraps them in."""

    @staticmethod
    def block(options: dict[str, Any]) -> tuple[Any, torch.Tensor]:
        rank = options.get("rank", 1)
        block = mirrored("residual", "ResidualChunks", 2, 6, 3, **options)[1]
        return block, torch.as_tensor(noise(4, 2, *SIZES[rank]))

    def test_export_with_any_batch(self, options: dict[str, Any]) -> None:
        block, x = self.block(options)
        block.eval()
        batch = torch.export.Dim("batch", min=1, max=64)
        exported = torch.export.export(block, (x,), dynamic_shapes=({0: batch},))
        for n in (1, 3, 64):
            other = torch.as_tensor(noise(n, *x.shape[1:], seed=n))
            torch.testing.assert_close(exported.module()(other), block(other))

    def test_compile(self, options: dict[str, Any]) -> None:
        block, x = self.block(options)
        compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
        for inputs in (x, x[:3]):
            block.zero_grad()
            expected = block(inputs)
            expected.sum().backward()
            gradients = [p.grad.clone() for p in block.parameters()]
            block.zero_grad()
            found = compiled(inputs)
            found.sum().backward()
            torch.testing.assert_close(found, expected)
            for p, gradient in zip(block.parameters(), gradients, strict=True):
                torch.testing.assert_close(p.grad, gradient)

    def test_memory_in_another_order(self, options: dict[str, Any]) -> None:
        """The input stays as it is, too."""
        block, x = self.block(options)
        block.eval()
        other = x.transpose(0, -1).contiguous().transpose(0, -1)
        torch.testing.assert_close(block(other), block(x))
        assert torch.equal(other, x)
        if x.ndim == 4:
            last = x.contiguous(memory_format=torch.channels_last)
            torch.testing.assert_close(block(last), block(x))

    def test_autocast(self, options: dict[str, Any]) -> None:
        block, x = self.block(options)
        expected = block(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = block(x)
            found.float().sum().backward()
            # An earlier layer may have given half precision.
            assert block(x.bfloat16()).shape == found.shape
        torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=0.1)
        assert all(p.grad.dtype == torch.float32 for p in block.parameters())
