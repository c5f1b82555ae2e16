"""Layers with parameters or windows, and activations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from d2lutils.porting.convert.rules import Call, Emission, Layer, rule, same

_LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}


def _channels_last(call: Call, rank: int) -> bool:
    layout = call.node.attrs.get("layout", "None")
    first, last = _LAYOUTS[rank]
    if layout in ("None", "", first):
        return False
    if layout != last:
        raise call.fail(f"layout={layout!r} is neither {first} nor {last}")
    return True


def _around(text: str, rank: int, last: bool) -> str:
    """The expression with channels moved to the front and back again, if last."""
    if not last:
        return text
    space = ", ".join(str(i) for i in range(1, rank + 1))
    back = ", ".join(str(i) for i in range(2, rank + 2))
    text = text.replace("{0}", f"{{0}}.permute(0, {rank + 1}, {space})")
    return f"{text}.permute(0, {back}, 1)"


def _window(call: Call) -> tuple[tuple[int, ...], ...]:
    kernel = call.sizes("kernel")
    rank = len(kernel)
    if rank not in _LAYOUTS:
        raise call.fail(f"a kernel of {rank} axes")
    return (
        kernel,
        call.sizes("stride", (1,) * rank),
        call.sizes("pad", (0,) * rank),
        call.sizes("dilate", (1,) * rank),
    )


def _functional(call: Call, name: str, options: dict[str, Any]) -> Emission:
    """A layer whose kernel is computed, and so no parameter of its own."""
    defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    defaults["output_padding"] = 0
    shown = (f", {k}={v!r}" for k, v in options.items() if v != defaults[k])
    values = ", ".join(f"{{{i}}}" for i in range(len(call)))
    return Emission(f"F.{name}({values}{''.join(shown)})")


@rule("Convolution")
def convolution(call: Call) -> Emission:
    kernel, stride, pad, dilate = _window(call)
    rank, groups = len(kernel), call.whole("num_group", 1)
    last, bias = _channels_last(call, rank), not call.flag("no_bias")
    if call.values[1] is None and call.producers[1] != "null" and not last:
        options = {"stride": same(stride), "padding": same(pad)}
        options |= {"dilation": same(dilate), "groups": groups}
        return _functional(call, f"conv{rank}d", options)
    places = {"weight": 1, "bias": 2} if bias else {"weight": 1}
    tensors, variables = call.tensors(**places)
    if last:  # (out, space, in) there
        tensors["weight"] = np.moveaxis(tensors["weight"], -1, 1)
    weight = tensors["weight"]
    if weight.ndim != rank + 2 or weight.shape[2:] != kernel:
        raise call.fail(f"weight has shape {weight.shape} for kernel {kernel}")
    arguments = {
        "in_channels": weight.shape[1] * groups,
        "out_channels": weight.shape[0],
        "kernel_size": same(kernel),
        "stride": same(stride),
        "padding": same(pad),
        "dilation": same(dilate),
        "groups": groups,
        "bias": bias,
    }
    defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True}
    layer = Layer(f"nn.Conv{rank}d", arguments, tensors, variables, defaults)
    return Emission(_around("{layer}({0})", rank, last), layer, inputs=[0])


@rule("Deconvolution")
def deconvolution(call: Call) -> Emission:
    kernel, stride, pad, dilate = _window(call)
    rank, groups = len(kernel), call.whole("num_group", 1)
    last, bias = _channels_last(call, rank), not call.flag("no_bias", True)
    places = {"weight": 1, "bias": 2} if bias else {"weight": 1}
    tensors, variables = call.tensors(**places)
    if last:
        tensors["weight"] = np.moveaxis(tensors["weight"], -1, 1)
    weight, extra = tensors["weight"], call.sizes("adj", (0,) * rank)
    target = call.sizes("target_shape")
    if target and any(target):
        space = call.shapes[0][1:-1] if last else call.shapes[0][2:]
        totals = [
            s * (n - 1) + d * (k - 1) + 1 - t
            for s, n, k, d, t in zip(stride, space, kernel, dilate, target, strict=True)
        ]
        if min(totals) < 0:
            raise call.fail(f"target_shape={target} is too large")
        extra, pad = tuple(t % 2 for t in totals), tuple((t + 1) // 2 for t in totals)
    arguments = {
        "in_channels": weight.shape[0],
        "out_channels": weight.shape[1] * groups,
        "kernel_size": same(kernel),
        "stride": same(stride),
        "padding": same(pad),
        "output_padding": same(extra),
        "groups": groups,
        "bias": bias,
        "dilation": same(dilate),
    }
    defaults = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1}
    defaults |= {"bias": True, "dilation": 1}
    kind = f"nn.ConvTranspose{rank}d"
    layer = Layer(kind, arguments, tensors, variables, defaults)
    return Emission(_around("{layer}({0})", rank, last), layer, inputs=[0])


@rule("FullyConnected")
def fully_connected(call: Call) -> Emission:
    bias = not call.flag("no_bias")
    if call.values[1] is None and call.producers[1] != "null":
        flat = "{0}.flatten(1)" if call.flag("flatten", True) else "{0}"
        return Emission(f"F.linear({flat}, {{1}}{', {2}' if bias else ''})")
    places = {"weight": 1, "bias": 2} if bias else {"weight": 1}
    tensors, variables = call.tensors(**places)
    flatten = call.flag("flatten", True) and len(call.shapes[0]) > 2
    tensors["weight"] = tensors["weight"].reshape(len(tensors["weight"]), -1)
    outputs, inputs = tensors["weight"].shape
    arguments = {"in_features": inputs, "out_features": outputs, "bias": bias}
    layer = Layer("nn.Linear", arguments, tensors, variables, {"bias": True})
    return Emission("{layer}({0})", layer, inputs=[0], flatten=flatten)


@rule("BatchNorm", "_contrib_SyncBatchNorm")
def batch_norm(call: Call) -> Emission:
    if call.flag("output_mean_var"):
        raise call.fail("output_mean_var=True")
    rank = len(call.shapes[0])
    axis = call.axis("axis", 1)
    tensors, variables = call.tensors(weight=1, bias=2, running_mean=3, running_var=4)
    fixed = call.flag("fix_gamma", True)
    if fixed:
        tensors["weight"] = np.ones_like(tensors["weight"])
    arguments = {
        "num_features": len(tensors["weight"]),
        "eps": call.number("eps", 1e-3),
        "momentum": round(1 - call.number("momentum", 0.9), 12),
    }
    kind = {2: "nn.BatchNorm1d", 3: "nn.BatchNorm1d", 4: "nn.BatchNorm2d"}
    kind[5] = "nn.BatchNorm3d"
    if rank not in kind:
        raise call.fail(f"an input of {rank} axes")
    name, helper = kind[rank], ""
    if call.flag("use_global_stats"):
        name, helper = "FrozenStatistics", "FrozenStatistics"
    defaults = {"eps": 1e-5, "momentum": 0.1}
    layer = Layer(name, arguments, tensors, variables, defaults)
    if fixed:
        layer.frozen, layer.note = ("weight",), "fix_gamma: the scale stays 1"
    text = "{layer}({0})"
    if axis != 1:
        text = f"{{layer}}({{0}}.movedim({axis}, 1)).movedim(1, {axis})"
    return Emission(text, layer, inputs=[0], helper=helper)


@rule("InstanceNorm")
def instance_norm(call: Call) -> Emission:
    tensors, variables = call.tensors(weight=1, bias=2)
    space = len(call.shapes[0]) - 2
    arguments: dict[str, Any] = {"num_features": len(tensors["weight"])}
    arguments |= {"eps": call.number("eps", 1e-3), "affine": True}
    layer = Layer(f"nn.InstanceNorm{space}d", arguments, tensors, variables)
    return Emission("{layer}({0})", layer, inputs=[0])


@rule("LayerNorm")
def layer_norm(call: Call) -> Emission:
    tensors, variables = call.tensors(weight=1, bias=2)
    rank, axis = len(call.shapes[0]), call.axis("axis", -1)
    arguments: dict[str, Any] = {"normalized_shape": len(tensors["weight"])}
    arguments |= {"eps": call.number("eps", 1e-5)}
    layer = Layer("nn.LayerNorm", arguments, tensors, variables, {"eps": 1e-5})
    text = "{layer}({0})"
    if axis != rank - 1:
        text = f"{{layer}}({{0}}.movedim({axis}, -1)).movedim(-1, {axis})"
    return Emission(text, layer, inputs=[0])


@rule("GroupNorm")
def group_norm(call: Call) -> Emission:
    tensors, variables = call.tensors(weight=1, bias=2)
    groups, channels = call.whole("num_groups", 1), call.shapes[0][1]
    # MXNet 1.9 keeps a scale for each group, not for each channel.
    for name, values in tensors.items():
        if len(values) != channels:
            tensors[name] = np.repeat(values, channels // len(values))
    arguments: dict[str, Any] = {"num_groups": groups, "num_channels": channels}
    arguments |= {"eps": call.number("eps", 1e-5)}
    layer = Layer("nn.GroupNorm", arguments, tensors, variables, {"eps": 1e-5})
    return Emission("{layer}({0})", layer, inputs=[0])


@rule("LRN")
def local_response_norm(call: Call) -> Emission:
    arguments = {"size": call.whole("nsize"), "alpha": call.number("alpha", 1e-4)}
    arguments |= {"beta": call.number("beta", 0.75), "k": call.number("knorm", 2.0)}
    return Emission("{layer}({0})", Layer("nn.LocalResponseNorm", arguments))


@rule("L2Normalization")
def l2_normalization(call: Call) -> Emission:
    mode = call.choice("mode", "instance", ("instance", "channel", "spatial"))
    eps = call.number("eps", 1e-10)
    every = tuple(range(1, len(call.shapes[0])))
    axes = {"instance": every, "channel": (1,), "spatial": every[1:]}[mode]
    total = f"{{0}}.square().sum({axes!r}, keepdim=True)"
    return Emission(f"{{0}} / ({total} + {eps!r}).sqrt()")


_ACTIVATIONS = {
    **{"relu": "ReLU", "sigmoid": "Sigmoid", "tanh": "Tanh", "softrelu": "Softplus"},
    **{"softsign": "Softsign", "log_sigmoid": "LogSigmoid", "mish": "Mish"},
}


@rule("Activation")
def activation(call: Call) -> Emission:
    kind = call.choice("act_type", "", tuple(_ACTIVATIONS))
    return Emission("{layer}({0})", Layer(f"nn.{_ACTIVATIONS[kind]}", {}))


@rule("relu", "sigmoid", "tanh", "softsign", "log_sigmoid", "mish")
def plain_activation(call: Call) -> Emission:
    return Emission("{layer}({0})", Layer(f"nn.{_ACTIVATIONS[call.node.op]}", {}))


@rule("clip")
def clip(call: Call) -> Emission:
    low, high = call.number("a_min"), call.number("a_max")
    if (low, high) == (0, 6):
        return Emission("{layer}({0})", Layer("nn.ReLU6", {}))
    return Emission(f"{{0}}.clamp({low!r}, {high!r})")


@rule("LeakyReLU")
def leaky_relu(call: Call) -> Emission:
    kinds = ("leaky", "prelu", "elu", "selu", "gelu", "rrelu")
    kind, slope = call.choice("act_type", "leaky", kinds), call.number("slope", 0.25)
    if kind == "prelu":
        tensors, variables = call.tensors(weight=1)
        count = {"num_parameters": tensors["weight"].size}
        tensors["weight"] = tensors["weight"].reshape(-1)
        layer = Layer("nn.PReLU", count, tensors, variables)
        return Emission("{layer}({0})", layer, inputs=[0])
    low, high = call.number("lower_bound", 0.125), call.number("upper_bound", 0.334)
    layer = {
        "leaky": Layer("nn.LeakyReLU", {"negative_slope": slope}),
        "elu": Layer("nn.ELU", {} if slope == 1 else {"alpha": slope}),
        "selu": Layer("nn.SELU", {}),
        "gelu": Layer("nn.GELU", {}),
        "rrelu": Layer("nn.RReLU", {"lower": low, "upper": high}),
    }[kind]
    return Emission("{layer}({0})", layer, inputs=[0])


@rule("Dropout")
def dropout(call: Call) -> Emission:
    p, axes = call.number("p", 0.5), call.sizes("axes")
    if call.choice("mode", "training", ("training", "always")) == "always":
        return Emission(f"F.dropout({{0}}, {p!r})", note="drops in evaluation, too")
    rank = len(call.shapes[0])
    if not axes:
        return Emission("{layer}({0})", Layer("nn.Dropout", {"p": p}))
    if sorted(axes) == list(range(2, rank)) and rank in (3, 4, 5):
        return Emission("{layer}({0})", Layer(f"nn.Dropout{rank - 2}d", {"p": p}))
    # One coin for all positions along these axes.
    index = ", ".join(":1" if i in axes else ":" for i in range(rank))
    mask = f"torch.ones_like({{0}}[{index}])"
    return Emission(f"{{0}} * F.dropout({mask}, {p!r}, self.training)")


def _same_sizes(call: Call, rank: int) -> None:
    if len(call.shapes[0]) != rank + 2:
        raise call.fail(f"a window of {rank} axes on an input {call.shapes[0]}")


@rule("Pooling")
def pooling(call: Call) -> Emission:
    kind = call.choice("pool_type", "max", ("max", "avg", "sum", "lp"))
    rank = len(call.shapes[0]) - 2
    if rank not in _LAYOUTS:
        raise call.fail(f"an input of shape {call.shapes[0]}")
    last = _channels_last(call, rank)
    if call.flag("global_pool"):
        call.ignore("kernel", "pad", "stride", "pooling_convention")
        call.ignore("count_include_pad")
        return _global_pooling(call, kind, rank, last)
    kernel, stride, pad, _ = _window(call)
    _same_sizes(call, len(kernel))
    rule_of = call.choice("pooling_convention", "valid", ("valid", "full", "same"))
    space = call.shapes[0][1:-1] if last else call.shapes[0][2:]
    window = {"kernel_size": same(kernel), "stride": same(stride)}
    before, behind = _pool_padding(rule_of, space, kernel, stride, pad)
    ceil = _as_torch_counts(rule_of, space, kernel, stride, pad)
    if ceil is None or (kind in ("sum", "lp") and any(before + behind)):
        sides = before, behind
        return _padded_pooling(call, kind, (kernel, stride, pad), sides, last)
    arguments: dict[str, Any] = {**window, "padding": same(pad), "ceil_mode": ceil}
    defaults: dict[str, Any] = {"padding": 0, "ceil_mode": False}
    if kind == "lp":
        arguments = {
            "norm_type": call.number("p_value", 2),
            **window,
            "ceil_mode": ceil,
        }
    if kind in ("avg", "sum"):
        counts_pad = not any(pad) or call.flag("count_include_pad", True)
        arguments["count_include_pad"], defaults["count_include_pad"] = counts_pad, True
    name = {"max": "MaxPool", "lp": "LPPool"}.get(kind, "AvgPool")
    layer = Layer(f"nn.{name}{rank}d", arguments, defaults=defaults)
    text = (
        f"{{layer}}({{0}}) * {math.prod(kernel)}" if kind == "sum" else "{layer}({0})"
    )
    return Emission(_around(text, rank, last), layer)


def _global_pooling(call: Call, kind: str, rank: int, last: bool) -> Emission:
    space = tuple(range(1, rank + 1) if last else range(2, rank + 2))
    if kind == "sum":
        return Emission(f"{{0}}.sum({space!r}, keepdim=True)")
    if kind == "lp":
        p = call.number("p_value", 2)
        total = f"{{0}}.abs().pow({p!r}).sum({space!r}, keepdim=True)"
        return Emission(f"{total}.pow({1 / p!r})")
    name = {"avg": "AdaptiveAvgPool", "max": "AdaptiveMaxPool"}[kind]
    layer = Layer(f"nn.{name}{rank}d", {"output_size": 1})
    return Emission(_around("{layer}({0})", rank, last), layer)


def _pool_outputs(rule_of: str, n: int, k: int, s: int, p: int) -> int:
    if rule_of == "same":
        return math.ceil(n / s)
    steps = (n + 2 * p - k) / s
    return (math.ceil(steps) if rule_of == "full" else math.floor(steps)) + 1


def _pool_padding(
    rule_of: str, space: Any, kernel: Any, stride: Any, pad: Any
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The positions before and behind that MXNet's windows reach."""
    behind = []
    for n, k, s, p in zip(space, kernel, stride, pad, strict=True):
        outputs = _pool_outputs(rule_of, n, k, s, p)
        behind.append(max(0, (outputs - 1) * s + k - n - p))
    return tuple(pad), tuple(behind)


def _as_torch_counts(
    rule_of: str, space: Any, kernel: Any, stride: Any, pad: Any
) -> bool | None:
    """PyTorch's ceil_mode that counts as MXNet does here; None where neither does."""
    if rule_of == "valid":
        return False
    for ceil in (False, True):
        counts = []
        for n, k, s, p in zip(space, kernel, stride, pad, strict=True):
            count = _pool_outputs("full" if ceil else "valid", n, k, s, p)
            if ceil and (count - 1) * s >= n + p:
                count -= 1
            counts.append(count == _pool_outputs(rule_of, n, k, s, p))
        # A size that is a multiple now may not be with another input: say so by
        # "full" wherever that is right.
        if all(counts) and (ceil or rule_of == "same"):
            return ceil
    return None


def _padded_pooling(
    call: Call, kind: str, window: Any, sides: Any, last: bool
) -> Emission:
    """Pooling after padding by hand: where PyTorch would leave out a last window."""
    kernel, stride, pad = window
    before, behind = sides
    rank = len(kernel)
    edges = tuple(
        n
        for b, e in zip(reversed(before), reversed(behind), strict=True)
        for n in (b, e)
    )
    if kind == "max":
        text = f"F.pad({{0}}, {edges!r}, value=-torch.inf)"
        arguments = {"kernel_size": same(kernel), "stride": same(stride)}
        layer = Layer(f"nn.MaxPool{rank}d", arguments)
        return Emission(_around(f"{{layer}}({text})", rank, last), layer)
    if kind == "lp":
        p = call.number("p_value", 2)
        arguments = {
            "norm_type": p,
            "kernel_size": same(kernel),
            "stride": same(stride),
        }
        layer = Layer(f"nn.LPPool{rank}d", arguments)
        text = f"F.pad({{0}}, {edges!r})"
        return Emission(_around(f"{{layer}}({text})", rank, last), layer)
    if kind == "sum":
        sums = f"F.avg_pool{rank}d(F.pad({{0}}, {edges!r}), {kernel!r}, {stride!r})"
        return Emission(_around(f"{sums} * {math.prod(kernel)}", rank, last))
    # A mean divides by the positions that MXNet counts: the input's and, unless
    # count_include_pad is off, its padding, but none behind that.
    counted = [0] * len(edges)
    if call.flag("count_include_pad", True):
        reach = zip(reversed(pad), reversed(behind), strict=True)
        counted = [n for p, e in reach for n in (p, min(p, e))]
    rest = [e - c for e, c in zip(edges, counted, strict=True)]
    sizes = f"{kernel!r}, {stride!r}, {tuple(counted)!r}, {tuple(rest)!r}"
    text = f"avg_pool_clipped({{0}}, {sizes})"
    return Emission(_around(text, rank, last), helper="avg_pool_clipped")


@rule("_contrib_AdaptiveAvgPooling2D")
def adaptive_pooling(call: Call) -> Emission:
    size = call.sizes("output_size", (1,))
    layer = Layer("nn.AdaptiveAvgPool2d", {"output_size": same(size)})
    return Emission("{layer}({0})", layer)


@rule("UpSampling")
def up_sampling(call: Call) -> Emission:
    scale = call.whole("scale")
    kind = call.choice("sample_type", "nearest", ("nearest", "bilinear"))
    if kind == "nearest":
        if len(call) > 1:
            raise call.fail("several inputs")
        layer = Layer("nn.Upsample", {"scale_factor": scale, "mode": "nearest"})
        return Emission("{layer}({0})", layer)
    # A transposed convolution for each channel, with a kernel that may be trained.
    tensors, variables = call.tensors(weight=1)
    channels = tensors["weight"].shape[0]
    kernel = 2 * scale - scale % 2
    arguments: dict[str, Any] = {"in_channels": channels, "out_channels": channels}
    arguments |= {"kernel_size": kernel, "stride": scale, "bias": False}
    arguments |= {"padding": math.ceil((scale - 1) / 2), "groups": channels}
    layer = Layer("nn.ConvTranspose2d", arguments, tensors, variables)
    return Emission("{layer}({0})", layer, inputs=[0])


@rule("_contrib_BilinearResize2D")
def bilinear_resize(call: Call) -> Emission:
    mode = call.node.attrs.get("mode", "size")
    aligned = call.flag("align_corners", True)
    height, width = call.shapes[0][2:]
    if mode == "size" and not call.has("scale_height"):
        size = (call.whole("height", 1), call.whole("width", 1))
    elif mode == "size":
        scales = call.number("scale_height"), call.number("scale_width")
        size = (int(height * scales[0]), int(width * scales[1]))
    else:
        raise call.fail(f"mode={mode!r}")
    text = f"F.interpolate({{0}}, {size!r}, mode='bilinear', align_corners={aligned})"
    return Emission(text.replace("'", '"'), inputs=[0])


@rule("Embedding")
def embedding(call: Call) -> Emission:
    tensors, variables = call.tensors(weight=1)
    call.ignore("dtype")  # of the weights, which have their own
    count, width = tensors["weight"].shape
    arguments = {"num_embeddings": count, "embedding_dim": width}
    layer = Layer("nn.Embedding", arguments, tensors, variables)
    return Emission("{layer}({0}.long())", layer, inputs=[0])
