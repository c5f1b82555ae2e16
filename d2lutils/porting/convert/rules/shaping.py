"""What moves, cuts and joins values without computing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from d2lutils.porting.convert.rules import (
    Call,
    Emission,
    Layer,
    Text,
    rule,
    same,
)

_DTYPES = {
    **{"float32": "float32", "float64": "float64", "float16": "float16"},
    **{"uint8": "uint8", "int8": "int8", "int32": "int32", "int64": "int64"},
    **{"bool": "bool", "bfloat16": "bfloat16"},
}


@rule("Flatten")
def flatten(call: Call) -> Emission:
    return Emission("{layer}({0})", Layer("nn.Flatten", {}))


@rule("concat", "_rnn_param_concat")
def concat(call: Call) -> Emission:
    axis = call.whole("dim", 1)
    names = ", ".join(f"{{{i}}}" for i in range(len(call)))
    return Emission(f"torch.cat([{names}], {axis})")


@rule("stack")
def stack(call: Call) -> Emission:
    names = ", ".join(f"{{{i}}}" for i in range(len(call)))
    return Emission(f"torch.stack([{names}], {call.whole('axis', 0)})")


@rule("split")
def split(call: Call) -> Emission:
    count, axis = call.whole("num_outputs"), call.axis("axis", 1)
    if call.flag("squeeze_axis"):
        text = f"{{0}}.unbind({axis})"
    else:
        text = f"{{0}}.chunk({count}, {axis})"
    return Emission(text + ("[0]" if count == 1 else ""), outputs=count)


@rule("_split_v2")
def split_v2(call: Call) -> Emission:
    axis, squeezed = call.axis("axis", 0), call.flag("squeeze_axis")
    sections = call.whole("sections", 0)
    if sections:
        text, count = f"{{0}}.chunk({sections}, {axis})", sections
    else:
        places = [n for n in call.sizes("indices") if n]
        text, count = f"{{0}}.tensor_split({places!r}, {axis})", len(places) + 1
    if squeezed:
        text = f"{{0}}.unbind({axis})"
    return Emission(text + ("[0]" if count == 1 else ""), outputs=count)


@rule("Reshape")
def reshape(call: Call) -> Emission:
    codes = call.sizes("shape") or call.sizes("target_shape")
    old = list(call.shapes[0])
    if call.flag("reverse"):
        raise call.fail("reverse=True")
    if text := _one_axis(codes, len(old)):
        return Emission(text, inputs=[0])
    new: list[str] = []
    i, known = 0, list(codes)
    while known:
        code = known.pop(0)
        if code == 0:
            new.append(_size(old, i))
            i += 1
        elif code == -2:
            new += [_size(old, j) for j in range(i, len(old))]
            i = len(old)
        elif code == -3:
            if i + 1 >= len(old):
                raise call.fail(f"shape={codes} does not fit {tuple(old)}")
            both = old[i : i + 2]
            new.append(
                f"{{0}}.shape[0] * {both[1]}" if i == 0 else str(math.prod(both))
            )
            i += 2
        elif code == -4:
            if len(known) < 2:
                raise call.fail(f"shape={codes} is cut off")
            parts = [known.pop(0), known.pop(0)]
            new += [str(n) for n in parts]
            i += 1
        else:
            new.append(str(code))
            i += 1
    # A number of the batch alone may stay open.
    if new[0] == "{0}.shape[0]" and "-1" not in new:
        new[0] = "-1"
        if len(new) == 2 and len(old) > 1:
            return Emission("{0}.flatten(1)")
    return Emission(f"{{0}}.reshape({', '.join(new)})", inputs=[0])


def _one_axis(codes: Sequence[int], rank: int) -> str:
    """Codes that split one axis or join two, for images of any size; else nothing."""
    at = next((i for i, code in enumerate(codes) if code), len(codes))
    kind, rest = codes[at : at + 1], codes[at + 1 :]
    if kind == (-4,) and len(rest) >= 2:
        text, behind, rest = f"{{0}}.unflatten({at}, {rest[:2]})", at + 1, rest[2:]
    elif kind == (-3,):
        text, behind = f"{{0}}.flatten({at}, {at + 1})", at + 2
    else:
        return ""
    copied = rest == (-2,) or (not any(rest) and len(rest) == rank - behind)
    return text if copied and behind <= rank else ""


def _size(old: list[int], i: int) -> str:
    if i >= len(old):
        return "1"
    return "{0}.shape[0]" if i == 0 else str(old[i])


@rule("reshape_like")
def reshape_like(call: Call) -> Emission:
    left, right = (len(shape) for shape in call.shapes)
    begin = call.axis("lhs_begin", 0, left) if call.has("lhs_begin") else 0
    end = call.whole("lhs_end") % (left + 1) if call.has("lhs_end") else left
    first = call.axis("rhs_begin", 0, right) if call.has("rhs_begin") else 0
    last = call.whole("rhs_end") % (right + 1) if call.has("rhs_end") else right
    if (begin, end, first, last) == (0, left, 0, right):
        return Emission("{0}.reshape({1}.shape)")
    own, other = "{0}.shape[%s:%s]", "{1}.shape[%s:%s]"
    parts = [own % (0, begin), other % (first, last), own % (end, left)]
    kept = [parts[0]] * (begin > 0) + [parts[1]] + [parts[2]] * (end < left)
    return Emission(f"{{0}}.reshape({' + '.join(kept)})")


@rule("expand_dims")
def expand_dims(call: Call) -> Emission:
    return Emission(f"{{0}}.unsqueeze({call.whole('axis')})")


@rule("squeeze")
def squeeze(call: Call) -> Emission:
    axes = call.sizes("axis")
    if not axes:
        return Emission("{0}.squeeze()")
    return Emission(f"{{0}}.squeeze({axes[0] if len(axes) == 1 else axes!r})")


@rule("transpose")
def transpose(call: Call) -> Emission:
    rank = len(call.shapes[0])
    axes = call.sizes("axes") or tuple(reversed(range(rank)))
    return Emission(f"{{0}}.permute({', '.join(map(str, axes))})")


@rule("swapaxes")
def swapaxes(call: Call) -> Emission:
    return Emission(
        f"{{0}}.transpose({call.whole('dim1', 0)}, {call.whole('dim2', 0)})"
    )


def _cut(begin: object, end: object, step: object = None) -> str:
    text = f"{'' if begin in (None, 0) else begin}:{'' if end is None else end}"
    return text if step in (None, 1) else f"{text}:{step}"


@rule("slice")
def slice_(call: Call) -> Emission:
    begin, end, step = (call.sizes(name) for name in ("begin", "end", "step"))
    step = step or (1,) * len(begin)
    if any(s is not None and s < 0 for s in step):
        raise call.fail(f"step={step}: PyTorch steps forward only")
    cuts = [_cut(b, e, s) for b, e, s in zip(begin, end, step, strict=True)]
    return Emission(f"{{0}}[{', '.join(cuts)}]")


@rule("slice_axis")
def slice_axis(call: Call) -> Emission:
    axis = call.axis("axis", 0)
    begin = call.whole("begin", 0)
    end = call.whole("end") if call.has("end") else None
    return Emission(f"{{0}}[{':, ' * axis}{_cut(begin, end)}]")


@rule("slice_like")
def slice_like(call: Call) -> Emission:
    rank = len(call.shapes[1])
    axes = {a % rank for a in call.sizes("axes") or range(rank)}
    cuts = [f":{{1}}.shape[{i}]" if i in axes else ":" for i in range(max(axes) + 1)]
    return Emission(f"{{0}}[{', '.join(cuts)}]")


@rule("Crop")
def crop(call: Call) -> Emission:
    top, left = call.sizes("offset", (0, 0))
    size = ("{1}.shape[2]", "{1}.shape[3]")
    if len(call) == 1:
        size = tuple(map(str, call.sizes("h_w")))  # type: ignore[assignment]
    height, width = call.shapes[0][2:]
    if call.flag("center_crop"):
        target = call.shapes[1][2:] if len(call) > 1 else call.sizes("h_w")
        top, left = (height - target[0]) // 2, (width - target[1]) // 2
    cuts = [
        f":{n}" if at == 0 else f"{at}:{at} + {n}"
        for at, n in zip((top, left), size, strict=True)
    ]
    return Emission(f"{{0}}[:, :, {', '.join(cuts)}]")


@rule("pad")
def pad(call: Call) -> Emission:
    modes = {"constant": "constant", "edge": "replicate", "reflect": "reflect"}
    mode = modes[call.choice("mode", "constant", tuple(modes))]
    widths = call.sizes("pad_width")
    pairs = list(zip(widths[::2], widths[1::2], strict=True))
    while pairs and pairs[0] == (0, 0):
        pairs.pop(0)
    edges = tuple(n for pair in reversed(pairs) for n in pair)
    value = call.number("constant_value", 0)
    if mode != "constant":
        return Emission(f'F.pad({{0}}, {edges!r}, "{mode}")')
    extra = f", value={value!r}" if value else ""
    return Emission(f"F.pad({{0}}, {edges!r}{extra})")


@rule("tile")
def tile(call: Call) -> Emission:
    return Emission(f"{{0}}.tile({call.sizes('reps')!r})")


@rule("repeat")
def repeat(call: Call) -> Emission:
    count = call.whole("repeats")
    if not call.has("axis"):
        return Emission(f"{{0}}.flatten().repeat_interleave({count})")
    return Emission(f"{{0}}.repeat_interleave({count}, {call.axis('axis', 0)})")


@rule("flip")
def flip(call: Call) -> Emission:
    return Emission(f"{{0}}.flip({call.sizes('axis')!r})")


@rule("broadcast_to")
def broadcast_to(call: Call) -> Emission:
    sizes = (n or -1 for n in call.sizes("shape"))
    return Emission(f"{{0}}.expand({', '.join(map(str, sizes))})")


@rule("broadcast_axis")
def broadcast_axis(call: Call) -> Emission:
    sizes = ["-1"] * len(call.shapes[0])
    for axis, size in zip(call.sizes("axis"), call.sizes("size"), strict=True):
        sizes[axis] = str(size)
    return Emission(f"{{0}}.expand({', '.join(sizes)})")


@rule("broadcast_like")
def broadcast_like(call: Call) -> Emission:
    if call.has("lhs_axes") or call.has("rhs_axes"):
        raise call.fail("a part of the axes")
    return Emission("{0}.expand_as({1})")


@rule("im2col")
def im2col(call: Call) -> Emission:
    names = {"kernel_size": "kernel", "dilation": "dilate", "padding": "pad"}
    names["stride"] = "stride"
    default = {"padding": (0, 0), "dilation": (1, 1), "stride": (1, 1)}
    given = {k: call.sizes(v, default.get(k)) for k, v in names.items()}
    shown = (f"{k}={same(v)!r}" for k, v in given.items() if v != default.get(k))
    return Emission(f"F.unfold({{0}}, {', '.join(shown)})")


@rule("depth_to_space")
def depth_to_space(call: Call) -> Emission:
    size = call.whole("block_size")
    return Emission(f"depth_to_space({{0}}, {size})", helper="depth_to_space")


@rule("space_to_depth")
def space_to_depth(call: Call) -> Emission:
    size = call.whole("block_size")
    return Emission(f"space_to_depth({{0}}, {size})", helper="space_to_depth")


def _dtype(call: Call, default: str) -> str:
    name = call.node.attrs.get("dtype", default)
    if name not in _DTYPES:
        raise call.fail(f"dtype={name!r}")
    return f"torch.{_DTYPES[name]}"


@rule("cast", "amp_cast")
def cast(call: Call) -> Emission:
    return Emission(f"{{0}}.to({_dtype(call, 'float32')})")


def _constant(call: Call, text: str) -> Emission:
    """A tensor that depends on no input: a buffer, so that it moves with the module."""
    kind = _dtype(call, "float32")
    if kind != "torch.float32":  # the type that PyTorch takes by itself
        text = f"{text[:-1]}, dtype={kind})"
    return Emission("{layer}", Layer("buffer", {"value": Text(text)}), inputs=[])


@rule("_zeros", "_ones")
def filled(call: Call) -> Emission:
    name, sizes = call.node.op.removeprefix("_"), call.sizes("shape")
    return _constant(call, f"torch.{name}({', '.join(map(str, sizes))})")


@rule("_full")
def full(call: Call) -> Emission:
    sizes, value = call.sizes("shape"), float(call.number("value"))
    return _constant(call, f"torch.full({sizes!r}, {value!r})")


@rule("_arange")
def arange(call: Call) -> Emission:
    if call.whole("repeat", 1) != 1:
        raise call.fail("repeat")
    start, step = call.number("start", 0), call.number("step", 1.0)
    start, stop = (start, call.number("stop")) if call.has("stop") else (0, start)
    return _constant(
        call, f"torch.arange({float(start)}, {float(stop)}, {float(step)})"
    )


@rule("one_hot")
def one_hot(call: Call) -> Emission:
    depth = call.whole("depth")
    on, off = call.number("on_value", 1.0), call.number("off_value", 0.0)
    text = f"F.one_hot({{0}}.long(), {depth}).to({_dtype(call, 'float32')})"
    return Emission(text if (on, off) == (1, 0) else f"{text} * {on - off!r} + {off!r}")


@rule("take")
def take(call: Call) -> Emission:
    axis = call.axis("axis", 0)
    mode = call.choice("mode", "clip", ("clip", "wrap", "raise"))
    size = f"{{0}}.shape[{axis}]"
    index = {
        "clip": f"{{1}}.long().clamp(0, {size} - 1)",
        "wrap": f"{{1}}.long() % {size}",
        "raise": "{1}.long()",
    }[mode]
    return Emission(f"{{0}}[{':, ' * axis}{index}]")


@rule("pick")
def pick(call: Call) -> Emission:
    axis, keep = call.axis("axis", -1), call.flag("keepdims")
    if len(call.shapes[1]) == len(call.shapes[0]):
        index = "{1}.long()"
    else:
        index = f"{{1}}.long().unsqueeze({axis})"
    text = f"{{0}}.gather({axis}, {index}.clamp(0, {{0}}.shape[{axis}] - 1))"
    return Emission(text if keep else f"{text}.squeeze({axis})")
