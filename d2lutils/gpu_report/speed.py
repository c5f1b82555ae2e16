"""What benchmarks are made of, and those of the PyTorch half.

``make bench`` measures both halves with this on a CPU; the GPU report measures the
PyTorch half with it on a card.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import platform
import re
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from d2lutils._errors import reason
from d2lutils.pytorch import condconv, padded_sums
from d2lutils.pytorch.blocks import ConvChunk
from d2lutils.pytorch.devices import try_gpu
from d2lutils.pytorch.nin import nin_block
from d2lutils.pytorch.pyramidnet import PyramidNet
from d2lutils.pytorch.residual import ResidualChunks
from d2lutils.pytorch.resnet import ResNet
from d2lutils.timing import Timing, interleaved, synchronize

#: Images in a training step of a whole net, and their shape.
STEP = 16
IMAGES = STEP, 3, 32, 32
Size = tuple[int, int, int, int]
Options = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """Candidates that do the same, and the one that the others are measured by.

    `repeat` caps the counted rounds, for candidates that take long.
    """

    name: str
    base: str
    candidates: dict[str, Callable[[], Any]]
    repeat: int | None = None


@dataclass(frozen=True)
class Half:
    """What the suites ask of either framework, in the same words.

    Attributes:
        name: "pytorch" or "gluon".
        array: random numbers of a shape, that want a gradient unless `backward` is
            False; from 0 to 1 if `uniform`.
        conv: a 3x3 convolution without bias that keeps height and width.
        run: forward and backward of a call on inputs, to these and to the weights if it
            is a layer; `grad` is the output's gradient, ones by default. Without
            `backward` the forward pass alone.
        step: a training step of a net on random images: forward, backward, SGD with
            momentum.
        predict: inference on as many images.

    A layer or net is given to them without values (Gluon) and on any device (PyTorch).
    """

    name: str
    array: Callable[..., Any]
    conv: Callable[[int, int], Any]
    run: Callable[..., Callable[[], Any]]
    step: Callable[..., Callable[[], Any]]
    predict: Callable[[Any], Callable[[], Any]]


# -- measuring -------------------------------------------------------------------------


def processor() -> str:
    """The processor's own name, where the system tells it."""
    cpus = Path("/proc/cpuinfo")
    words = cpus.read_text() if cpus.exists() else ""
    found = re.search(r"^model name\s*: (.+)", words, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def versions(*names: str) -> dict[str, str]:
    """The versions of those distributions that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine(*names: str) -> dict[str, Any]:
    """What the numbers depend on; the device is the one of the PyTorch half."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions("numpy", "torch", "mxnet", *names),
        "device": torch.cuda.get_device_name() if try_gpu().type == "cuda" else "CPU",
    }


def _row(name: str, timing: Timing, base: Timing) -> dict[str, Any]:
    """One candidate as plain data: milliseconds, quartiles, ratio to the base."""
    return {
        "name": name,
        "ms": round(timing.median * 1e3, 5),
        "ms_quartiles": [round(timing.low * 1e3, 5), round(timing.high * 1e3, 5)],
        "ratio": round(timing.ratio(base), 3),
        "runs": timing.runs,
    }


def measured(case: Case, repeat: int, warmup: int = 3) -> dict[str, Any]:
    """One case as plain data, `case`, `base` and `rows`; its table is printed."""
    timings = interleaved(case.candidates, min(repeat, case.repeat or repeat), warmup)
    base = timings[case.base]
    rows = [_row(name, timing, base) for name, timing in timings.items()]
    print(f"\n{case.name} (ratio to: {case.base})", flush=True)
    for row in rows:
        low, high = row["ms_quartiles"]
        print(
            f"  {row['ratio']:6.2f}  {row['name']:<44} "
            f"{row['ms']:8.3f} ms  [{low:.3f}, {high:.3f}]"
        )
    return {"case": case.name, "base": case.base, "rows": rows}


def measured_for(case: Case, seconds: float) -> dict[str, Any]:
    """The same with as many rounds as fit, from 3 to 20, after two that warm up."""
    took = 0.0
    for _ in range(2):
        synchronize()
        start = time.perf_counter()
        for candidate in case.candidates.values():
            candidate()
        synchronize()
        took = time.perf_counter() - start
    return measured(case, max(3, min(20, round(seconds / took))), warmup=0)


# -- PyTorch, on the GPU if there is one -----------------------------------------------


def _array(
    *shape: int,
    backward: bool = True,
    uniform: bool = False,
    dtype: torch.dtype | None = None,
    channels_last: bool = False,
) -> torch.Tensor:
    draw: Any = torch.rand if uniform else torch.randn
    x = draw(shape, device=try_gpu(), dtype=dtype)
    if channels_last and len(shape) == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    return x.requires_grad_(backward)


def _conv(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


def placed(layer: Any, dtype: Any = None, channels_last: bool = False) -> Any:
    """A PyTorch layer on the device, like the arrays of these options."""
    layer = layer.to(try_gpu(), dtype)
    for parameter in layer.parameters() if channels_last else ():
        if parameter.ndim == 4:  # the experts of CondConv have five axes
            data = parameter.data.contiguous(memory_format=torch.channels_last)
            parameter.data = data
    return layer


def _run(
    call: Callable[..., Any],
    inputs: Sequence[Any],
    grad: Any = None,
    backward: bool = True,
) -> Callable[[], None]:
    weights: list[Any] = []
    if isinstance(call, nn.Module):
        weights = list(call.to(try_gpu()).parameters())
    wanted = [tensor for tensor in (*inputs, *weights) if tensor.requires_grad]

    def forward() -> None:
        with torch.no_grad():
            call(*inputs)

    def both() -> None:
        out = call(*inputs)
        ones = torch.ones_like(out) if grad is None else grad
        torch.autograd.grad(out, wanted, ones)

    return both if backward else forward


def _step(
    net: nn.Module, dtype: torch.dtype | None = None, channels_last: bool = False
) -> Callable[[], None]:
    """With a dtype: under autocast, the parameters in float32."""
    net = placed(net, channels_last=channels_last).train()
    x = _array(*IMAGES, backward=False, channels_last=channels_last)
    y = torch.randint(10, (STEP,), device=try_gpu())
    sgd = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9)

    def step() -> None:
        sgd.zero_grad()
        with torch.autocast(x.device.type, dtype, enabled=dtype is not None):
            logits = net(x)
        nn.functional.cross_entropy(logits.float(), y).backward()
        sgd.step()

    return step


def _predict(net: nn.Module) -> Callable[[], Any]:
    return _run(net.eval(), [_array(*IMAGES)], backward=False)


TORCH = Half("pytorch", _array, _conv, _run, _step, _predict)


# -- public implementations ------------------------------------------------------------


def public(module: str, name: str) -> Any:
    """A class of timm or torchvision; None where it cannot be imported.

    Only its own module is imported: the packages' import more, such as all of timm's
    models, or torchvision's operators, which belong to one build of PyTorch.
    """
    package, *inner = module.split(".")[:-1]
    spec = importlib.util.find_spec(package) if package not in sys.modules else None
    root = next(iter(spec.submodule_search_locations or ()), "") if spec else ""
    parents = [".".join((package, *inner[:n])) for n in range(len(inner) + 1)]
    added = [parent for parent in parents if root and parent not in sys.modules]
    for parent in added:
        stub = types.ModuleType(parent)
        stub.__path__ = [str(Path(root).parent / parent.replace(".", "/"))]
        sys.modules[parent] = stub
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, RuntimeError):
        return None
    finally:
        for parent in added:
            sys.modules.pop(parent)


# -- CondConv --------------------------------------------------------------------------

EXPERTS, KERNEL, PADDING = 4, 3, 1
# (batch, channels in, channels out, height and width): whole layers from large maps to
# small, from few channels to many, and two sizes near the point where the faster form
# changes.
LAYERS: tuple[Size, ...] = (
    *((8, 16, 16, 32), (8, 64, 64, 56), (8, 64, 64, 16), (32, 64, 64, 16)),
    *((8, 256, 256, 14), (8, 128, 128, 8), (8, 256, 256, 8), (32, 256, 256, 8)),
    (8, 512, 512, 7),
)
#: A card is busy only with more, and this is the one with an aim.
AIMED: Size = (64, 64, 64, 56)
PLAIN = "plain convolution (for scale)"
TIMM = "timm's CondConv2d"
CHOICE = ("folded", "unfolded")


def timm_layer() -> Any:
    """timm's conditional convolution; None where it is not installed."""
    return public("timm.layers.cond_conv2d", "CondConv2d")


def shape_of(size: Size) -> str:
    """Batch, channels in and out, height and width, as the cases are named."""
    return "x".join(map(str, (*size, size[-1])))


def layers(
    half: Half, module: Any, size: Size, train: bool, **options: Any
) -> tuple[dict[str, Any], Callable[[Any], Any]]:
    """Layers given their routing weights, with their checks; timm's the same way.

    Returns:
        What to measure, by name, and a function that makes such a candidate of one
        more layer.
    """
    batch, inputs, outputs, space = size
    x = half.array(batch, inputs, space, space, backward=train, **options)
    routing = half.array(batch, EXPERTS, uniform=True, backward=train, **options)
    grad = half.array(batch, outputs, space, space, backward=False, **options)

    def run(layer: Any, *given: Any) -> Any:
        layer = placed(layer, **options) if options else layer
        return half.run(layer, [x, *given], grad, train)

    made = {"padding": PADDING, "bias": False, "num_experts": EXPERTS}
    found = {PLAIN: run(half.conv(inputs, outputs))}
    for form in ("auto", *CHOICE):
        layer = module.Experts2d(inputs, outputs, KERNEL, **made, form=form)
        found[form] = run(layer, routing)
    theirs = timm_layer() if half is TORCH else None
    if theirs is not None:
        found[TIMM] = run(theirs(inputs, outputs, KERNEL, **made), routing)
    return found, lambda layer: run(layer, routing)


def _named(options: Options) -> str:
    """The columns float32 or bfloat16, and channels_last."""
    dtype = str(options.get("dtype") or torch.float32).removeprefix("torch.")
    return f"{dtype}, channels_last" if options.get("channels_last") else dtype


def _columns() -> Iterator[Options]:
    for dtype in (None, torch.bfloat16):
        for channels_last in (False, True):
            yield {"dtype": dtype, "channels_last": channels_last}


def _condconv(sizes: Sequence[Size], modes: Sequence[bool]) -> Iterator[Any]:
    def case(size: Size, train: bool, options: Options) -> Case:
        what = "forward and backward" if train else "forward"
        name = f"CondConv, {what}, {shape_of(size)}, {_named(options)}"
        return Case(name, PLAIN, layers(TORCH, condconv, size, train, **options)[0])

    for size in sizes:
        for options in _columns():
            for train in modes:
                yield partial(case, size, train, options)


# -- zero-padded sums ------------------------------------------------------------------

# (batch, channels of the identity, channels of the sum, height and width). The first
# doubles the width, as a classic ResNet does; the next two are blocks of PyramidNet-110
# with alpha 48; the last has its smallest map and a wider step than it ever takes.
SUMS: tuple[Size, ...] = (
    *((64, 32, 64, 32), (128, 17, 18, 32), (128, 40, 41, 16), (128, 60, 64, 8)),
)
CONCAT = "concatenate, sized ahead"


def sum_inputs(
    half: Half, size: Size, backward: bool, **options: Any
) -> tuple[list[Any], Any]:
    """What the branch computed, the identity, and the gradient of the sum."""
    batch, narrow, wide, space = size
    inputs = [
        half.array(batch, n, space, space, backward=backward, **options)
        for n in (wide, narrow)
    ]
    return inputs, half.array(batch, wide, space, space, backward=False, **options)


def torch_way(make: Any, size: Size, dtype: Any = None) -> Callable[..., Any]:
    """One of PyTorch's ways as a function of x and identity."""
    batch, narrow, wide, space = size
    way, extra = make(batch, narrow, wide - narrow, (space, space)), wide - narrow
    if isinstance(way, nn.Module):
        way.to(try_gpu(), dtype)
    return lambda x, identity: way(x, identity, extra)


def _sums(sizes: Sequence[Size]) -> Iterator[Any]:
    def case(size: Size, options: Options) -> Case:
        batch, narrow, wide, space = size
        inputs, grad = sum_inputs(TORCH, size, True, **options)
        candidates = {
            name: _run(torch_way(make, size, options["dtype"]), inputs, grad)
            for name, make in padded_sums.WAYS.items()
        }
        conv = placed(_conv(wide, wide), **options)
        candidates[PLAIN] = _run(conv, inputs[:1], grad)
        shape = f"{batch}x({narrow}→{wide})x{space}x{space}"
        return Case(f"zero-padded sum, {shape}, {_named(options)}", CONCAT, candidates)

    for size in sizes:
        for options in _columns():
            yield partial(case, size, options)


# -- stochastic depth ------------------------------------------------------------------

#: Steps in a run, each with decisions of its own: a single depth says little.
STEPS = 4
BASE = "every block"
#: By name: how the net decides, and the last block's drop probability.
MODES = {
    BASE: ("batch", 0.0),
    "decides, drops none": ("batch", 1e-12),
    "batch": ("batch", 0.5),
    "row": ("row", 0.5),
    "gather": ("gather", 0.5),
}


def several(step: Callable[[], None], count: int = STEPS) -> Callable[[], None]:
    """Several training steps."""

    def steps() -> None:
        for _ in range(count):
            step()

    return steps


class _Public(nn.Module):
    """Somebody else's layer in the place of this package's stochastic depth."""

    def __init__(self, ours: Any, drop: nn.Module) -> None:
        super().__init__()
        self.branch, self.add, self.extra = ours.branch, ours.add, ours.extra
        self.drop = drop

    def forward(self, x: Any, identity: Any) -> Any:
        return self.add(self.drop(self.branch(x)), identity, self.extra)


def public_depths() -> dict[str, Callable[[float], nn.Module]]:
    """Stochastic depth of timm and torchvision, where they are installed."""
    timm = public("timm.layers.drop", "DropPath")
    vision = public("torchvision.ops.stochastic_depth", "StochasticDepth")
    found: dict[str, Callable[[float], nn.Module]] = {}
    if timm is not None:
        found["timm's DropPath (row)"] = timm
    if vision is not None:
        for mode in ("batch", "row"):
            found[f"torchvision's StochasticDepth ({mode})"] = partial(
                vision, mode=mode
            )
    return found


def _depths(depth: int, alpha: int, steps: int) -> Iterator[Any]:
    def case(options: Options) -> Case:
        nets: dict[str, nn.Module] = {
            name: PyramidNet(depth, alpha, drop_prob=p, drop_mode=mode)
            for name, (mode, p) in MODES.items()
        }
        for name, make in public_depths().items():
            net: Any = PyramidNet(depth, alpha, drop_prob=0.5)
            for unit in net.blocks:
                unit.sum = _Public(unit.sum, make(unit.sum.drop_prob))
            nets[name] = net
        candidates = {
            name: several(_step(net, **options), steps) for name, net in nets.items()
        }
        what = f"{steps} training steps of PyramidNet-{depth}/a{alpha}, {STEP} images"
        return Case(f"stochastic depth, {what}, {_named(options)}", BASE, candidates)

    for options in _columns():
        yield partial(case, options)


# -- torch.compile ---------------------------------------------------------------------

EAGER = "eager"


def _compiled(count: int) -> Iterator[tuple[str, Callable[[], nn.Module], Any]]:
    """Blocks that compile whole, and what they get; `count` scales the batch."""
    yield "CondConv2d", partial(condconv.CondConv2d, 64, 64, 3, padding=1), (64, 28)
    yield "ResidualChunks", partial(ResidualChunks, 64, 64, 3, rank=2), (64, 28)
    yield "nin_block", partial(nin_block, 64, 64, 3, padding=1), (64, 28)
    yield "ConvChunk", partial(ConvChunk, 64, 64, 3, rank=2), (64, 28)
    yield "PyramidNet-20/a48", partial(PyramidNet, 20, 48), (3, 32)
    options: Options = {"reduction": 16, "num_experts": 4}
    yield "ResNet-20, gates and experts", partial(ResNet, 20, **options), (3, 32)


# -- the parts of the report -----------------------------------------------------------


def _all_measured(
    made: Iterable[Callable[[], Case]], seconds: float, count: int
) -> dict[str, Any]:
    """Measure cases while there is time; a case that fails is one line."""
    end = time.monotonic() + seconds
    cases, failed, late = [], [], 0
    for make in made:
        if time.monotonic() > end:
            late += 1
            continue
        try:
            cases.append(measured_for(make(), seconds / count / 2))
        except Exception as error:
            failed.append(f"{type(error).__name__}: {reason(error)}")
        if torch.cuda.is_available():  # pragma: needs-gpu
            torch.cuda.empty_cache()
    result: dict[str, Any] = {"cases": cases}
    if late:
        result["not_measured"] = f"{late} cases, for want of time"
    return result | ({"failed": "; ".join(dict.fromkeys(failed))} if failed else {})


def run(device: torch.device, seconds: float) -> dict[str, Any]:
    """CondConv, zero-padded sums and stochastic depth; smaller on a CPU."""
    small = device.type == "cpu"
    sizes = ((8, 16, 16, 32), (4, 64, 64, 16), (4, 128, 128, 8))
    modes = (True,) if small else (True, False)
    made = [
        *_condconv(sizes if small else (AIMED, *LAYERS), modes),
        *_sums([(8, 17, 18, 16)] if small else SUMS),
        *_depths(*((8, 12, 1) if small else (20, 48, STEPS))),
    ]
    result = _all_measured(made, seconds, len(made))
    result["condconv"] = chosen(result["cases"])
    others = {"timm": timm_layer(), "torchvision": public_depths().get(VISION)}
    missing = [name for name, layer in others.items() if layer is None]
    result["public"] = f"not to be had here: {', '.join(missing) or 'nothing'}"
    result["summary"] = "; ".join(
        [
            f"{len(result['cases'])} of {len(made)} cases",
            *(["sizes reduced for a CPU"] if small else []),
            *verdicts(result["cases"]),
            result["public"],
        ]
    )
    if small:
        result["reduced"] = "fewer and smaller sizes, for a CPU"
    return result


VISION = "torchvision's StochasticDepth (row)"


def chosen(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `form="auto"` looks up: milliseconds of both forms, by size and dtype."""
    found = []
    for case in cases:
        name = re.fullmatch(
            r"CondConv, forward and backward, (\d+)x(\d+)x(\d+)x(\d+)x\d+, (\w+)",
            case["case"],
        )
        if name is not None:
            size, dtype = [int(n) for n in name.groups()[:4]], name[5]
            ms = {row["name"]: row["ms"] for row in case["rows"]}
            times = {form: ms[form] for form in CHOICE}
            found.append({"size": size, "dtype": dtype, "ms": times})
    return found


def verdicts(cases: Sequence[dict[str, Any]]) -> list[str]:
    """CondConv's faster form, which "auto" takes once this is stored: its worst ratio
    to timm's layer, and that to a plain convolution where an aim is set."""
    ms = {
        case["case"]: {row["name"]: row["ms"] for row in case["rows"]}
        for case in cases
        if case["case"].startswith("CondConv")
    }
    faster = {name: min(rows[form] for form in CHOICE) for name, rows in ms.items()}
    theirs = {n: faster[n] / rows[TIMM] for n, rows in ms.items() if TIMM in rows}
    said = []
    if theirs:
        worst = max(theirs, key=lambda name: theirs[name])
        said.append(
            f"the faster form of CondConv takes at most {theirs[worst]:.2f} of timm's "
            f"({worst.removeprefix('CondConv, ')}), the aim is 1.00"
        )
    aimed = f"CondConv, forward and backward, {shape_of(AIMED)}, bfloat16"
    plain = [faster[n] / rows[PLAIN] for n, rows in ms.items() if n.startswith(aimed)]
    if plain:
        said.append(
            f"in bfloat16 at {shape_of(AIMED)} {min(plain):.2f} of a plain "
            "convolution, the aim is 1.20"
        )
    rule = "a stored report" if condconv._measured() else "the CPU's rule"
    return [*said, f'form="auto" took it by {rule}']


def run_compiled(device: torch.device, seconds: float) -> dict[str, Any]:
    """Each block eager and compiled: seconds to compile, then forward and backward."""
    small = device.type == "cpu"
    end, batch = time.monotonic() + seconds, 4 if small else 64
    cases, notes, took = [], {}, {}
    made = list(_compiled(batch))[: 2 if small else None]
    for name, build, (channels, space) in made:
        if time.monotonic() > end:
            notes[name] = "for want of time"
            continue
        torch.compiler.reset()
        net = build().to(device)
        x = _array(batch, channels, space, space)
        start = time.perf_counter()
        try:
            compiled = _run(torch.compile(net), [x])
            compiled()
            synchronize()
        except Exception as error:
            notes[name] = f"{type(error).__name__}: {reason(error)}"
            continue
        took[name] = round(time.perf_counter() - start, 1)
        case = Case(
            f"torch.compile, forward and backward, {name}, "
            f"{batch}x{channels}x{space}x{space}",
            EAGER,
            {EAGER: _run(net, [x]), "compiled": compiled},
        )
        cases.append(measured_for(case, 2.0))
    said = f"{len(cases)} of {len(made)} blocks compiled"
    if took:
        said += f", in {math.fsum(took.values()):.0f} s"
    if notes:
        said += f"; not: {'; '.join(f'{n}, {why}' for n, why in notes.items())}"
    return {"cases": cases, "seconds_to_compile": took, "not": notes, "summary": said}
