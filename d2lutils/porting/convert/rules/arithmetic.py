"""Arithmetic, reductions, comparisons, and heads that compute a loss in training."""

from __future__ import annotations

from d2lutils.porting.convert.rules import Call, Emission, Layer, rule

_BINARY = {
    **{"add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "{0} / {1}"},
    **{"power": "{0} ** {1}", "mod": "torch.remainder({0}, {1})"},
    **{"maximum": "torch.maximum({0}, {1})", "minimum": "torch.minimum({0}, {1})"},
    "hypot": "torch.hypot({0}, {1})",
}
# MXNet's comparisons give numbers of the inputs' type, PyTorch's give booleans.
_COMPARE = {
    **{"equal": "==", "not_equal": "!=", "greater": ">", "lesser": "<"},
    **{"greater_equal": ">=", "lesser_equal": "<="},
}
_LOGICAL = {"and": "&", "or": "|", "xor": "^"}


@rule(*(f"broadcast_{name}" for name in _BINARY), "_hypot")
@rule("elemwise_add", "elemwise_sub", "elemwise_mul", "elemwise_div")
def binary(call: Call) -> Emission:
    return Emission(_BINARY[call.node.op.rpartition("_")[2]])


@rule(*(f"broadcast_{name}" for name in _COMPARE))
def compare(call: Call) -> Emission:
    sign = _COMPARE[call.node.op.removeprefix("broadcast_")]
    return Emission(f"({{0}} {sign} {{1}}).to({{0}}.dtype)")


@rule(*(f"broadcast_logical_{name}" for name in _LOGICAL))
def logical(call: Call) -> Emission:
    sign = _LOGICAL[call.node.op.rpartition("_")[2]]
    return Emission(f"(({{0}} != 0) {sign} ({{1}} != 0)).to({{0}}.dtype)")


@rule("logical_not")
def logical_not(call: Call) -> Emission:
    return Emission("({0} == 0).to({0}.dtype)")


_SCALAR = {
    **{"_plus_scalar": "{0} + {s}", "_minus_scalar": "{0} - {s}"},
    **{"_rminus_scalar": "{s} - {0}", "_mul_scalar": "{0} * {s}"},
    **{"_div_scalar": "{0} / {s}", "_rdiv_scalar": "{s} / {0}"},
    **{"_power_scalar": "{0} ** {s}", "_rpower_scalar": "{s} ** {0}"},
    **{
        "_maximum_scalar": "{0}.clamp(min={s})",
        "_minimum_scalar": "{0}.clamp(max={s})",
    },
    **{"_mod_scalar": "torch.remainder({0}, {s})"},
    **{"_rmod_scalar": "torch.remainder(torch.full_like({0}, {s}), {0})"},
    **{
        f"_{name}_scalar": f"({{0}} {sign} {{s}}).to({{0}}.dtype)"
        for name, sign in _COMPARE.items()
    },
}


@rule(*_SCALAR)
def scalar(call: Call) -> Emission:
    value = repr(call.number("scalar", 1.0))
    text = _SCALAR[call.node.op]
    if value.startswith("-") and not text.startswith("{s}"):
        text = text.replace(" {s}", " ({s})")
    return Emission(text.replace("{s}", value))


_UNARY = {
    **{
        name: f"{{0}}.{name}()"
        for name in (
            *("abs", "exp", "expm1", "log", "log10", "log1p", "log2", "sqrt", "rsqrt"),
            *(
                "square",
                "sign",
                "floor",
                "ceil",
                "trunc",
                "reciprocal",
                "erf",
                "erfinv",
            ),
            *("sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh"),
            *("arcsinh", "arccosh", "arctanh"),
        )
    },
    **{"negative": "-{0}", "rint": "{0}.round()", "fix": "{0}.trunc()"},
    **{"cbrt": "{0}.sign() * {0}.abs() ** (1 / 3)", "rcbrt": "{0} ** (-1 / 3)"},
    **{"round": "{0}.sign() * ({0}.abs() + 0.5).floor()"},
    **{"degrees": "torch.rad2deg({0})", "radians": "torch.deg2rad({0})"},
    **{"gammaln": "torch.lgamma({0})", "gamma": "torch.lgamma({0}).exp()"},
    **{"digamma": "torch.digamma({0})", "BlockGrad": "{0}.detach()"},
    **{"_copy": "{0}", "make_loss": "{0}", "IdentityAttachKLSparseReg": "{0}"},
    **{"zeros_like": "torch.zeros_like({0})", "ones_like": "torch.ones_like({0})"},
    **{"LinearRegressionOutput": "{0}", "MAERegressionOutput": "{0}"},
    **{"_contrib_div_sqrt_dim": "{0} / {0}.shape[-1] ** 0.5"},
}
_HEADS = {
    **{"LinearRegressionOutput": "is its input in inference"},
    **{"MAERegressionOutput": "is its input in inference"},
    **{"make_loss": "is its input in inference"},
    **{"LogisticRegressionOutput": "is a sigmoid in inference"},
}


@rule(*_UNARY)
def unary(call: Call) -> Emission:
    note = _HEADS.get(call.node.op, "")
    return Emission(_UNARY[call.node.op], inputs=[0], note=note)


@rule("LogisticRegressionOutput")
def logistic_output(call: Call) -> Emission:
    layer = Layer("nn.Sigmoid", {})
    return Emission("{layer}({0})", layer, inputs=[0], note=_HEADS[call.node.op])


@rule("hard_sigmoid")
def hard_sigmoid(call: Call) -> Emission:
    alpha, beta = call.number("alpha", 0.2), call.number("beta", 0.5)
    return Emission(f"({{0}} * {alpha!r} + {beta!r}).clamp(0, 1)")


@rule("smooth_l1")
def smooth_l1(call: Call) -> Emission:
    beta = 1 / call.number("scalar", 1.0) ** 2
    zeros = "torch.zeros_like({0})"
    return Emission(
        f'F.smooth_l1_loss({{0}}, {zeros}, reduction="none", beta={beta!r})'
    )


@rule("add_n")
def add_n(call: Call) -> Emission:
    return Emission(" + ".join(f"{{{i}}}" for i in range(len(call))))


@rule("where")
def where(call: Call) -> Emission:
    return Emission("torch.where({0} != 0, {1}, {2})")


# --- reductions -----------------------------------------------------------------------


def _axes(call: Call) -> tuple[int, ...]:
    rank = len(call.shapes[0])
    axes = call.sizes("axis") or tuple(range(rank))
    found = sorted({a % rank for a in axes})
    if call.flag("exclude"):
        found = [a for a in range(rank) if a not in found]
    return tuple(found)


@rule("sum", "mean", "max", "min", "nansum")
def reduce(call: Call) -> Emission:
    names = {"max": "amax", "min": "amin"}
    keep = ", keepdim=True" if call.flag("keepdims") else ""
    axes = _axes(call)
    listed = repr(axes[0] if len(axes) == 1 else axes)
    text = f"{{0}}.{names.get(call.node.op, call.node.op)}({listed}{keep})"
    # MXNet has no arrays without axes.
    whole = not keep and len(axes) == len(call.shapes[0])
    return Emission(text + (".reshape(1)" if whole else ""))


@rule("prod", "nanprod")
def product(call: Call) -> Emission:
    text, keep = "{0}", call.flag("keepdims")
    axes = _axes(call)
    for axis in reversed(axes):
        text += f".prod({axis}, keepdim={keep})" if keep else f".prod({axis})"
    whole = not keep and len(axes) == len(call.shapes[0])
    return Emission(text + (".reshape(1)" if whole else ""))


@rule("norm")
def norm(call: Call) -> Emission:
    keep = ", keepdim=True" if call.flag("keepdims") else ""
    axes, order = _axes(call), call.whole("ord", 2)
    text = f"torch.linalg.vector_norm({{0}}, {order}, {axes!r}{keep})"
    whole = not keep and len(axes) == len(call.shapes[0])
    return Emission(text + (".reshape(1)" if whole else ""))


@rule("argmax", "argmin")
def argument(call: Call) -> Emission:
    if not call.has("axis"):
        text = f"{{0}}.flatten().{call.node.op}(0, keepdim=True)"
    else:
        keep = ", keepdim=True" if call.flag("keepdims") else ""
        text = f"{{0}}.{call.node.op}({call.axis('axis', 0)}{keep})"
    return Emission(f"{text}.to({{0}}.dtype)")


@rule("argmax_channel")
def argmax_channel(call: Call) -> Emission:
    return Emission("{0}.argmax(1).to({0}.dtype)")


# --- softmax and the heads that are one -----------------------------------------------


def _softmax(axis: int) -> Emission:
    return Emission("{layer}({0})", Layer("nn.Softmax", {"dim": axis}), inputs=[0])


@rule("softmax", "softmin", "log_softmax")
def softmax(call: Call) -> Emission:
    if call.flag("use_length"):
        raise call.fail("use_length=True")
    axis, temperature = (
        call.whole("axis", -1),
        call.number("temperature", 1.0) if (call.has("temperature")) else 1.0,
    )
    text = "{0}" if temperature == 1 else f"{{0}} / {temperature!r}"
    if call.node.op == "softmin":
        text = f"-{text}"
    name = "nn.LogSoftmax" if call.node.op == "log_softmax" else "nn.Softmax"
    return Emission(f"{{layer}}({text})", Layer(name, {"dim": axis}), inputs=[0])


@rule("SoftmaxActivation")
def softmax_activation(call: Call) -> Emission:
    mode = call.choice("mode", "instance", ("instance", "channel"))
    return _softmax(1 if mode == "channel" else -1)


@rule("SoftmaxOutput")
def softmax_output(call: Call) -> Emission:
    note = "is a softmax in inference; its loss in training is not converted"
    rank = len(call.shapes[0])
    if call.flag("preserve_shape"):
        emission = _softmax(-1)
    elif call.flag("multi_output") or rank == 2:
        emission = _softmax(1)
    else:
        emission = Emission("{0}.flatten(1).softmax(1).view_as({0})", inputs=[0])
    emission.note = note
    return emission


# --- products -------------------------------------------------------------------------


def _turned(name: str, flag: bool) -> str:
    return f"{name}.transpose(-1, -2)" if flag else name


@rule("batch_dot")
def batch_dot(call: Call) -> Emission:
    left = _turned("{0}", call.flag("transpose_a"))
    return Emission(f"{left} @ {_turned('{1}', call.flag('transpose_b'))}")


@rule("_linalg_gemm2", "linalg_gemm2")
def gemm2(call: Call) -> Emission:
    left = _turned("{0}", call.flag("transpose_a"))
    text = f"{left} @ {_turned('{1}', call.flag('transpose_b'))}"
    alpha = call.number("alpha", 1.0)
    return Emission(text if alpha == 1 else f"{alpha!r} * ({text})")


@rule("dot")
def dot(call: Call) -> Emission:
    first, second = (len(shape) for shape in call.shapes[:2])
    left = "{0}.movedim(0, -1)" if call.flag("transpose_a") else "{0}"
    right = "{1}.movedim(-1, 0)" if call.flag("transpose_b") else "{1}"
    if first == second == 1:
        return Emission("({0} * {1}).sum(0, keepdim=True)")
    if first == second == 2:
        return Emission(
            f"{left} @ {right}".replace(".movedim(0, -1)", ".T").replace(
                ".movedim(-1, 0)", ".T"
            )
        )
    return Emission(f"torch.tensordot({left}, {right}, 1)")
