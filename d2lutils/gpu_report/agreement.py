"""Every block on a device against its CPU self, and on the CPU against its equation.

float64 is the proof, with the bounds of `d2lutils.parity`. float32, with TF32 off, must
stay near the CPU's float64: within `FLOAT32`, or `NOISE` times as far as the CPU's own
float32 is from it. TF32 would be some 5e-4 off. bfloat16 under autocast is reported,
beside the CPU's own.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from d2lutils._adapters import changed
from d2lutils._errors import reason
from d2lutils.gpu_report import equations as eq
from d2lutils.parity import FLOOR, NOISE, ONE_PASS, _about, _largest, _worst
from d2lutils.pytorch import condconv, padded_sums, shortcuts
from d2lutils.pytorch.blocks import ConvChunk
from d2lutils.pytorch.nin import CIFARNiN, NiN, nin_block, nin_small
from d2lutils.pytorch.pyramidnet import PyramidNet, PyramidUnit
from d2lutils.pytorch.residual import ResidualChunks
from d2lutils.pytorch.resnet import ResNet, ResNetUnit
from d2lutils.pytorch.squeeze_excite import SqueezeExcite
from d2lutils.pytorch.stochastic_depth import StochasticDepth
from d2lutils.pytorch.weightnet import GeneratedConv2d, WeightNet2d
from d2lutils.shapes import pyramid_widths

__all__ = ["FLOAT32", "Block", "blocks", "compared", "run"]

FLOAT32 = 1e-4
#: Settings are plain dicts here, which the types of a constructor cannot be held to.
partial: Any = functools.partial
Settings = dict[str, Any]


class Block(NamedTuple):
    """A block and what it is compared on; its name begins with a public name.

    Attributes:
        build: makes it, on the CPU; a function without parameters is wrapped.
        inputs: shapes, which stand for random numbers, or arrays.
        equation: from `equations`; None where there is none of its own.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Sequence[Any]
    equation: Callable[..., Any] | None = None


class _Call(nn.Module):
    """A function as a module, with the layers that it calls."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, *arrays: Any) -> Any:
        return self.function(*self.layers, *arrays)


def _masked(mode: str) -> nn.Module:
    """Convolution, stochastic depth with a mask as second input, classifier."""
    branch = nn.Sequential(
        nn.BatchNorm2d(4), nn.Conv2d(4, 7, 3, padding=1), nn.BatchNorm2d(7)
    )
    last = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(7 * 30, 3))

    def call(first: Any, depth: Any, last: Any, x: Any, keep: Any) -> Any:
        return last(depth(first(x), None, keep))

    depth = StochasticDepth(branch, 0.375, mode, 3)
    return _Call(call, nn.Conv2d(2, 4, 3, padding=1), depth, last)


def _whole(keep: bool) -> nn.Module:
    """Stochastic depth that decides for a whole batch."""
    depth = StochasticDepth(nn.Conv2d(2, 6, 3, padding=1), 0.75, "batch", 4)
    return _Call(lambda depth, x: depth(x, None, keep), depth)


def _whole_equation(keep: bool, w: eq.Weights, x: Any) -> Any:
    y = w.conv(x, 6, 3, bias=True, padding=1) * 4 * keep
    return eq.zeros_behind(x, 6) + y


def _sums() -> Iterator[Block]:
    """Zero-padded shortcuts, and every way to write the sum."""
    narrow, maps = (3, 5, 5, 6), (3, 2, 7, 6)
    build = partial(_Call, partial(shortcuts.zero_pad_channels, channels=8))
    equation = partial(_widened, channels=8)
    yield Block("zero_pad_channels", build, [narrow], equation)
    equation = partial(_widened, channels=6, every=2)
    build = partial(shortcuts.SubsampleZeroPad, 2, 6, 2)
    yield Block("SubsampleZeroPad", build, [maps], equation)
    equation = partial(_widened, channels=6, window=2)
    build = partial(shortcuts.ZeroPadShortcut, 2, 6, 2)
    yield Block("ZeroPadShortcut", build, [maps], equation)
    named = {name: getattr(padded_sums, name) for name in padded_sums.__all__}
    for words, make in padded_sums.WAYS.items():
        way = make(3, 5, 3, (5, 6))
        name = next((n for n, made in named.items() if made in (way, make)), words)
        # Their parts that are never trained are no parameters of the equation.
        layers = [way] if isinstance(way, nn.Module) else []
        build = partial(_Call, partial(_sum, None if layers else way), *layers)
        yield Block(name, build, [(3, 8, 5, 6), narrow], None if layers else _wide)


def _widened(w: Any, x: Any, channels: int, every: int = 1, window: int = 1) -> Any:
    return eq.zeros_behind(eq.means(x[..., ::every, ::every], window), channels)


def _wide(w: Any, x: Any, identity: Any) -> Any:
    return x + eq.zeros_behind(identity, x.shape[1])


def _sum(way: Any, *given: Any) -> Any:
    """A way that is a function, or the layer that comes first."""
    return way(*given, 3) if way else given[0](*given[1:], 3)


def _mixing() -> Iterator[Block]:
    """Kernels that depend on the input."""
    maps, routing, experts = (3, 4, 7, 6), (3, 2), (2, 6, 2, 3, 3)
    o: Settings = {"stride": 2, "padding": 1, "groups": 2}
    for name, form in condconv.FORMS.items():
        build, equation = partial(_Call, partial(form, **o)), partial(_mixture, o=o)
        yield Block(name, build, [maps, routing, experts], equation)
    yield Block("mixed", partial(_Call, condconv.mixed), [routing, experts], _mixed)
    for function in (condconv.convolve_each, condconv.unfold_each):
        build = partial(_Call, partial(function, **o))
        yield Block(function.__name__, build, [maps, (3, 6, 2, 3, 3)], _each)
    o = {"padding": 1, "num_experts": 5, "mix_bias": True}
    equation = partial(_cond_conv, outputs=6, count=5, o=o)
    for name in ("auto", *condconv.FORMS):
        build = partial(condconv.CondConv2d, 4, 6, 3, form=name, **o)
        yield Block(f"CondConv2d, form={name!r}", build, [maps], equation)
    o = {"padding": 1, "padding_mode": "reflect"}
    build, equation = partial(condconv.Experts2d, 4, 6, 3, **o), partial(_experts, o=o)
    yield Block("Experts2d", build, [maps, (3, 3)], equation)
    build, equation = (
        partial(SqueezeExcite, 8, 2),
        partial(eq.squeeze_excite, reduction=2),
    )
    yield Block("SqueezeExcite", build, [(3, 8, 7, 6)], equation)
    build = partial(GeneratedConv2d, 4, 6, 3)
    yield Block("GeneratedConv2d", build, [maps, (3, 12)])
    deep = {"M": 3, "G": 3, "depthwise": True}
    for name, outputs, o in (("", 6, {"padding": 1}), (", depthwise", 4, deep)):
        o = o | {"reduction": 2}
        build = partial(WeightNet2d, 4, outputs, 3, **o)
        equation = partial(eq.weightnet, outputs=outputs, size=3, o=o)
        yield Block(f"WeightNet2d{name}", build, [maps], equation)


def _mixture(w: Any, x: Any, routing: Any, experts: Any, o: Settings) -> Any:
    return eq.mixture(x, routing, experts, None, o)


def _mixed(w: Any, routing: Any, experts: Any) -> Any:
    return torch.einsum("nk,koihw->noihw", routing, experts)


def _each(w: Any, x: Any, kernels: Any) -> Any:
    return eq.each(x, kernels, stride=2, padding=1, groups=2)


def _experts(w: eq.Weights, x: Any, routing: Any, o: Settings) -> Any:
    experts, bias = eq.bank(w, 4, 6, 3, 3, o)
    return eq.mixture(x, routing, experts, bias, o)


def _cond_conv(w: eq.Weights, x: Any, outputs: int, count: int, o: Any) -> Any:
    return eq.cond_conv(w, x, outputs, 3, count, o)


def _nets() -> Iterator[Block]:
    """Chunks, residual blocks, NiN, stochastic depth, PyramidNet, ResNet."""
    o: Settings = {"stride": 2, "pad": 1, "bias": True}
    for rank, size in ((1, (9,)), (2, (7, 6))):
        build = partial(ConvChunk, 2, 8, 3, 2, bias=True, rank=rank)
        equation = partial(eq.chunk, channels=8, size=3, o=o)
        yield Block(f"ConvChunk, {rank}-D", build, [(3, 2, *size)], equation)
    kinds = (("identity", 6, 1), ("projection", 3, 2), ("zeros", 3, 2))
    for kind, inputs, stride in kinds:
        o = {"shortcut": kind, "stride": stride, "chain_length": 3}
        build = partial(ResidualChunks, inputs, 6, 3, rank=2, **o)
        equation = partial(eq.residual, channels=6, o=o)
        yield Block(f"ResidualChunks, {kind}", build, [(3, inputs, 7, 6)], equation)
    build = partial(nin_block, 2, 8, 3, padding=1)
    equation = partial(eq.nin_block, channels=8, size=3, padding=1)
    yield Block("nin_block", build, [(3, 2, 7, 6)], equation)
    o = {"widths": (8, 8, 8), "num_classes": 3}
    yield Block("NiN", partial(NiN, **o), [(2, 1, 67, 67)], partial(eq.nin, o=o))
    o = {"stem": (3, 1, 1), "last_width": 64, "last_relu": False}
    o |= {"widths": (24, 48, 64), "num_classes": 10}
    yield Block("nin_small", nin_small, [(3, 1, 20, 20)], partial(eq.nin, o=o))
    equation = partial(eq.cifar_nin, classes=10)
    yield Block("CIFARNiN", CIFARNiN, [(2, 3, 9, 12)], equation)
    mask = np.array([1, 0, 0, 1, 1], "int32")
    for mode in ("row", "gather"):
        build, equation = partial(_masked, mode), partial(eq.masked_sum, mode)
        yield Block(f"StochasticDepth, {mode}", build, [(5, 2, 6, 5), mask], equation)
    for keep in (True, False):
        name = f"StochasticDepth, batch {'kept' if keep else 'dropped'}"
        build, equation = partial(_whole, keep), partial(_whole_equation, keep)
        yield Block(name, build, [(3, 2, 4, 5)], equation)
    for kind in ("basic", "bottleneck"):
        build = partial(PyramidUnit, 5, 8, 2, kind)
        equation = partial(eq.pyramid_unit, width=8, stride=2, block=kind)
        yield Block(f"PyramidUnit, {kind}", build, [(3, 5, 7, 6)], equation)
    equation = partial(eq.pyramidnet, widths=pyramid_widths(20, 48), groups=3, o={})
    yield Block("PyramidNet", partial(PyramidNet, 20, 48, 5), [(4, 3, 9, 8)], equation)
    equation = partial(eq.resnet_unit, channels=8, stride=2, o={})
    yield Block("ResNetUnit", partial(ResNetUnit, 4, 8, 2), [(3, 4, 7, 6)], equation)
    for name, o in (("", {}), (", gated", {"reduction": 8, "num_experts": 2})):
        build = partial(ResNet, 8, 5, **o)
        equation = partial(eq.resnet, depth=8, classes=5, o=o)
        yield Block(f"ResNet{name}", build, [(6, 3, 9, 8)], equation)


def blocks() -> list[Block]:
    """Every public block of the PyTorch half."""
    return [*_nets(), *_sums(), *_mixing()]


# -- comparing -------------------------------------------------------------------------

#: What one pass computes, by quantity and name.
Pass = dict[str, dict[str, np.ndarray]]


def _filled(inputs: Sequence[Any]) -> list[np.ndarray]:
    return [
        eq.noise(*each, seed=i, dtype="float64") if isinstance(each, tuple) else each
        for i, each in enumerate(inputs)
    ]


def _named(output: Any, gradients: Sequence[Any], net: nn.Module) -> Pass:
    names = [name for name, _ in net.named_parameters()]
    inputs = len(gradients) - len(names)
    return {
        "output": {"": output},
        "input gradients": {f"of {i}": g for i, g in enumerate(gradients[:inputs])},
        "parameter gradients": dict(zip(names, gradients[inputs:], strict=True)),
    }


def _passed(
    net: nn.Module,
    arrays: Sequence[np.ndarray],
    device: torch.device,
    dtype: torch.dtype,
    autocast: bool = False,
) -> Pass:
    """Output and gradients of a copy of the net in training, without dropout."""
    net = copy.deepcopy(net).to(device, dtype).train()
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    given = [torch.tensor(a, device=device) for a in arrays]
    floats = [t.is_floating_point() for t in given]
    given = [
        t.to(dtype).requires_grad_() if f else t
        for t, f in zip(given, floats, strict=True)
    ]
    with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        y = net(*given)
    head = torch.tensor(eq.noise(*y.shape, seed=99, dtype="float64"), device=device)
    wanted = [t for t, f in zip(given, floats, strict=True) if f]
    found = torch.autograd.grad(
        *(y, [*wanted, *net.parameters()], head.to(y.dtype)),
        allow_unused=True,
        materialize_grads=True,
    )
    arrays = [t.detach().double().cpu().numpy() for t in (y, *found)]
    return _named(arrays[0], arrays[1:], net)


def _apart(one: Pass, two: Pass) -> tuple[float, str]:
    """The largest difference, relative to a tensor's largest number, and where it is.

    A gradient counts relative to the largest gradient, where its own is much smaller.
    """
    gradients = [
        a for q, arrays in two.items() if q != "output" for a in arrays.values()
    ]
    worst = 0.0, ""
    for quantity, arrays in two.items():
        floor = 1e-300 + (quantity != "output") * FLOOR * _largest(gradients)
        pairs = {n: (one[quantity][n], a) for n, a in arrays.items()}
        found, where = _worst(pairs, floor)
        if not found <= worst[0]:
            worst = found, f"{quantity} {where}".strip()
    return worst


def compared(block: Block, device: torch.device) -> dict[str, Any]:
    """One block's differences as plain data.

    `equation` and `float64` must be at most 1e-10, `float32` at most `FLOAT32` or
    `NOISE` times `float32_floor`; `bfloat16` is only reported. `failed` says what is
    not so.
    """
    cpu = torch.device("cpu")
    backends: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    with changed((backend, "allow_tf32", False) for backend in backends):
        net, arrays = eq.randomize(block.build()), _filled(block.inputs)
        exact = _passed(net, arrays, cpu, torch.float64)
        found: dict[str, tuple[float, str]] = {}
        if block.equation is not None:
            twin = copy.deepcopy(net).double().train()
            y, gradients = eq.expected(twin, block.equation, arrays, training=True)
            head = eq.noise(*y.shape, seed=99, dtype="float64")
            found["equation"] = _apart(exact, _named(y, gradients(head), twin))
        for dtype in (torch.float64, torch.float32):
            name = str(dtype).removeprefix("torch.")
            found[name] = _apart(_passed(net, arrays, device, dtype), exact)
        plain = torch.float32
        found["float32_floor"] = _apart(_passed(net, arrays, cpu, plain), exact)
        for name, where in (("bfloat16", device), ("bfloat16_floor", cpu)):
            passed = _passed(net, arrays, where, plain, autocast=True)
            found[name] = _apart(passed, exact)
    bounds = {"equation": ONE_PASS, "float64": ONE_PASS}
    bounds["float32"] = max(FLOAT32, NOISE * found["float32_floor"][0])
    wrong = [
        f"{name} differs by {_about(found[name][0])} at {found[name][1]}"
        for name, bound in bounds.items()
        if name in found and not found[name][0] <= bound
    ]
    result: dict[str, Any] = {n: float(f"{d:.1e}") for n, (d, _) in found.items()}
    return result | ({"failed": "; ".join(wrong)} if wrong else {})


def run(device: torch.device, only: Callable[[str], bool] = bool) -> dict[str, Any]:
    """All blocks on a device; `only` chooses some by name."""
    rows: dict[str, dict[str, Any]] = {}
    for block in filter(lambda block: only(block.name), blocks()):
        try:
            rows[block.name] = compared(block, device)
        except Exception as error:
            rows[block.name] = {"failed": f"{type(error).__name__}: {reason(error)}"}
    wrong = [
        f"{name}: {row['failed']}" for name, row in rows.items() if "failed" in row
    ]

    def most(kind: str) -> str:
        return _about(max((row.get(kind, 0.0) for row in rows.values()), default=0.0))

    said = (
        f"{len(rows)} blocks, {sum('equation' in row for row in rows.values())} with "
        f"their equation; most: float64 {most('float64')}, float32 {most('float32')} "
        f"(the CPU's own {most('float32_floor')}), bfloat16 {most('bfloat16')} (the "
        f"CPU's own {most('bfloat16_floor')})"
    )
    result: dict[str, Any] = {"summary": said, "bound_float32": FLOAT32, "blocks": rows}
    return result | ({"failed": "; ".join(wrong)} if wrong else {})
