"""Every block inside a net, and under whatever a reader wraps around it.

Forms that work alone have failed there: MXNet's `!is_view` with batch norm where the
channels are a multiple of 8, and oneDNN's sub-memory where they are not.
"""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from halves import GLUON, PYTORCH, compared, exported, losses, made, mirrored, noise
from reference import close

from d2lutils.compat import mx

Shape = tuple[int, ...]


def chunks(rank: int, widths: tuple[int, int], shortcut: str) -> Any:
    """A net of chunks and shortcuts, with other layers around them."""
    first, second = widths

    def build(half: Any) -> Any:
        chunk, residual = half.blocks.ConvChunk, half.residual.ResidualChunks
        return half.sequence(
            chunk(2, first, 3, rank=rank),
            residual(first, first, 3, 1, 2, rank=rank),
            residual(first, second, 3, 2, 3, shortcut=shortcut, rank=rank),
            half.shortcuts.SubsampleZeroPad(second, second + 3, 1, rank),
            chunk(second + 3, first, 1, relu=False, rank=rank),
            half.shortcuts.ZeroPadShortcut(first, first + 1, 2, rank),
            half.conv(first + 1, 4, 1, rank=rank),
            half.flatten(),
            half.dense(4 * (3 if rank == 1 else 6), 3),
        )

    return build


def family(**options: Any) -> Any:
    """A layer of each kind that looks at the example."""

    def build(half: Any) -> Any:
        return half.sequence(
            half.condconv.CondConv2d(4, 6, 3, 2, 1, dropout=0.0, **options),
            half.squeeze_excite.SqueezeExcite(6, 2),
            half.weightnet.WeightNet2d(6, 4, 3, 1, 1, reduction=2),
            half.relu(),
        )

    return build


def nin(half: Any) -> Any:
    """With a batch norm behind, as one builds on from here."""
    stem = {"widths": (8, 16, 8), "stem": (3, 1, 1)}
    net = half.nin.NiN(6, in_channels=1, dropout=0.0, **stem)
    return half.sequence(
        half.nin.nin_block(2, 8, 3, 1, 1), half.norm(8), half.conv(8, 1, 1), net
    )


def pyramid(*arguments: Any, **options: Any) -> Any:
    return lambda half: half.pyramidnet.PyramidNet(*arguments, **options)


ROWS, COLUMNS = (4, 2, 11), (4, 2, 9, 7)
NETS: dict[str, tuple[Any, Shape]] = {
    "chunks 8-16, projection": (chunks(1, (8, 16), "projection"), ROWS),
    "chunks 8-13, zeros": (chunks(1, (8, 13), "zeros"), ROWS),
    "chunks 6-10, zeros": (chunks(1, (6, 10), "zeros"), ROWS),
    "2-D chunks 8-16, zeros": (chunks(2, (8, 16), "zeros"), COLUMNS),
    "2-D chunks 8-13, projection": (chunks(2, (8, 13), "projection"), COLUMNS),
    "2-D chunks 5-8, zeros": (chunks(2, (5, 8), "zeros"), COLUMNS),
    "CondConv, SE, WeightNet": (family(), (4, 4, 7, 6)),
    "CondConv unfolded": (family(form="unfolded"), (4, 4, 7, 6)),
    "CondConv mixture": (
        family(form="mixture", mix_bias=True, groups=2, padding_mode="reflect"),
        (4, 4, 7, 6),
    ),
    "ResNet, experts and gates": (
        lambda h: h.resnet.ResNet(8, 5, 2, num_experts=2, reduction=8, dropout=0.0),
        (4, 2, 9, 8),
    ),
    "PyramidNet, odd widths": (pyramid(8, 13), (4, 3, 9, 8)),
    "PyramidNet, multiples of 8": (pyramid(8, 24), (4, 3, 9, 8)),
    "PyramidNet, bottleneck": (pyramid(11, 9, block="bottleneck"), (4, 3, 9, 8)),
    "NiN": (nin, (4, 2, 17, 18)),
    "NiN for CIFAR": (lambda h: h.nin.CIFARNiN(5, 2, dropout=0.0), (4, 2, 9, 12)),
}
nets = pytest.mark.parametrize(("build", "shape"), NETS.values(), ids=list(NETS))


# -- Gluon -----------------------------------------------------------------------------


@nets
def test_gluon_trains_hybridized(build: Any, shape: Shape) -> None:
    """In float32, as readers do, with a short last batch: as when run imperatively."""
    batches = [noise(n, *shape[1:], seed=n) for n in (5, 5, 3, 1, 7)]
    static = {"static_alloc": True}
    results = []
    for flags in (None, static, static | {"static_shape": True}):
        net, _ = mirrored(build)
        if flags is not None:
            net.hybridize(**flags)
        results.append(losses(net, batches, 2**-7))
    (plain, output), *others = results
    assert np.isfinite(plain).all()
    assert len(set(plain)) == len(plain)
    for hybridized, other in others:
        np.testing.assert_allclose(hybridized, plain, rtol=1e-2)
        close(other, output, 2e-2)


@nets
def test_gluon_net_exported(build: Any, shape: Shape, tmp_path: Path) -> None:
    """Read back for other batch sizes; its parameters loaded into another one."""
    net, other = mirrored(build)
    net.hybridize()
    GLUON.output(net, noise(*shape))
    again, loaded = exported(net, tmp_path), build(GLUON)
    net.save_parameters(str(tmp_path / "net.params"))
    loaded.load_parameters(str(tmp_path / "net.params"))
    for n in (1, 7):
        x = noise(n, *shape[1:], seed=n)
        wanted = PYTORCH.output(other, x)
        for one in (net, again, loaded):
            close(GLUON.output(one, x), wanted, 1e-4)


@pytest.mark.parametrize("hybrid", [False, True])
def test_inside_somebody_elses_net(hybrid: bool) -> None:
    """A part of a block that is not ours; with several sizes of map, too."""

    def build(half: Any) -> Any:
        part = half.nin.NiN(3, 1, (8, 8, 8), (3, 1, 1), dropout=0.0)
        return half.call(lambda x: 2 * part(x * x) + 1, part)

    net, other = mirrored(build)
    net.hybridize(hybrid)
    for shape in ((2, 1, 17, 19), (5, 1, 17, 19), (1, 1, 23, 31)):
        x = noise(*shape)
        close(GLUON.output(net, x), PYTORCH.output(other, x), 1e-5)


def test_a_wrong_shape_inside_somebody_elses_hybridized_net() -> None:
    """No shapes are seen there, and it is MXNet's own error, but an error."""
    net = GLUON.sequence(GLUON.conv(2, 3, 3, rank=1), GLUON.blocks.ConvChunk(4, 8, 3))
    GLUON.ready(net).hybridize()
    with pytest.raises(mx.MXNetError):
        net(GLUON.zeros(2, 2, 9)).wait_to_read()


@pytest.mark.parametrize("name", ["chunks 8-13, zeros", "2-D chunks 5-8, zeros", "NiN"])
def test_whole_nets_are_equal(name: str) -> None:
    build, shape = NETS[name]
    compared(build, *shape, steps=3, learning_rate=2**-9)


# -- PyTorch ---------------------------------------------------------------------------


OF_EACH_KIND = (
    *("chunks 8-13, zeros", "2-D chunks 8-13, projection", "CondConv, SE, WeightNet"),
    *("CondConv unfolded", "CondConv mixture"),
    *("ResNet, experts and gates", "PyramidNet, odd widths", "PyramidNet, bottleneck"),
    *("NiN", "NiN for CIFAR"),
)


@pytest.mark.parametrize(
    ("build", "shape"), [NETS[name] for name in OF_EACH_KIND], ids=OF_EACH_KIND
)
class TestPyTorch:
    def test_compile(self, build: Any, shape: Shape) -> None:
        """Whole: no Python is left between the layers, in training either."""
        net, x = made(PYTORCH, build), noise(*shape)
        torch.compiler.reset()
        compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
        wanted, found = PYTORCH.gradients(net, x), PYTORCH.gradients(compiled, x)
        for one, two in zip(found, wanted, strict=True):
            close(one, two, 1e-3)
        for n in (shape[0], 3):
            x = noise(n, *shape[1:], seed=n)
            close(PYTORCH.output(compiled, x), PYTORCH.output(net, x), 1e-4)

    def test_export_with_any_batch(self, build: Any, shape: Shape) -> None:
        net = made(PYTORCH, build).eval()
        batch = torch.export.Dim("batch", min=1, max=64)
        arguments = (torch.tensor(noise(*shape)),)
        graph = torch.export.export(net, arguments, dynamic_shapes=({0: batch},))
        for n in (1, 3, 64):
            x = torch.tensor(noise(n, *shape[1:], seed=n))
            torch.testing.assert_close(graph.module()(x), net(x), rtol=1e-4, atol=1e-4)

    def test_memory_in_another_order(self, build: Any, shape: Shape) -> None:
        net, x = made(PYTORCH, build).eval(), torch.tensor(noise(*shape))
        orders = [x.transpose(0, -1).contiguous().transpose(0, -1)]
        orders.append(x.repeat_interleave(2, -1)[..., ::2])
        if x.ndim == 4:
            orders.append(x.contiguous(memory_format=torch.channels_last))
        for order in orders:
            torch.testing.assert_close(net(order), net(x), rtol=1e-4, atol=1e-4)

    def test_autocast(self, build: Any, shape: Shape) -> None:
        """What an earlier layer gave in bfloat16 is taken, too."""
        net, x = made(PYTORCH, build).eval(), torch.tensor(noise(*shape))
        wanted = net(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = net(x)
            found.float().sum().backward()
            assert len(net(x.bfloat16())) == len(x)
        assert (found - wanted).abs().max() < 0.1 * wanted.abs().max()
        assert all(p.grad.dtype == torch.float32 for p in net.parameters())

    def test_copied_saved_and_loaded(self, build: Any, shape: Shape) -> None:
        """And its input stays as it is."""
        net, x = made(PYTORCH, build), torch.tensor(noise(*shape))
        before = x.clone()
        net(x).sum().backward()
        assert torch.equal(x, before)
        file, loaded = io.BytesIO(), build(PYTORCH)
        torch.save(net.state_dict(), file)
        file.seek(0)
        loaded.load_state_dict(torch.load(file, weights_only=True))
        copies = (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), loaded)
        for other in copies:
            assert torch.equal(other.eval()(x), net.eval()(x))
