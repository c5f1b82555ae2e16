"""Recurrent layers and masks of sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from d2lutils.porting.convert.rules import Call, Emission, Layer, rule

_GATES = {"rnn_relu": 1, "rnn_tanh": 1, "lstm": 4, "gru": 3}


@rule("RNN")
def rnn(call: Call) -> Emission:
    mode = call.choice("mode", "", tuple(_GATES))
    hidden, layers = call.whole("state_size"), call.whole("num_layers", 1)
    both = call.flag("bidirectional")
    for name in ("projection_size", "lstm_state_clip_min", "use_sequence_length"):
        if call.has(name) and call.node.attrs[name] not in ("0", "False"):
            raise call.fail(f"{name}={call.node.attrs[name]!r}")
    inputs = call.shapes[0][2]
    tensors = _unpacked(call, _GATES[mode] * hidden, inputs, hidden, layers, 1 + both)
    arguments: dict[str, Any] = {"input_size": inputs, "hidden_size": hidden}
    arguments |= {"num_layers": layers, "bidirectional": both}
    arguments["dropout"] = call.number("p", 0.0) if layers > 1 else 0.0
    defaults = {"num_layers": 1, "bidirectional": False, "dropout": 0.0}
    if mode == "rnn_relu":
        arguments["nonlinearity"] = "relu"
    kind = {"lstm": "nn.LSTM", "gru": "nn.GRU"}.get(mode, "nn.RNN")
    names = call.variables[1].split("\n")  # one for all, or one for each
    names = names if len(names) == len(tensors) else names[:1] * len(tensors)
    variables = dict(zip(tensors, names, strict=True))
    layer = Layer(kind, arguments, tensors, variables, defaults)
    places = [0, 2, 3] if mode == "lstm" else [0, 2]
    if all(call.producers[i] == "_zeros" for i in places[1:]):
        text, places = "{layer}({0})", [0]  # which starts with zeros by itself
    else:
        states = "({1}, {2})" if mode == "lstm" else "{1}"
        text = f"{{layer}}({{0}}, {states})"
    if not call.flag("state_outputs"):
        return Emission(f"{text}[0]", layer, inputs=places)
    if mode == "lstm":
        helper = "lstm_outputs"
        return Emission(f"lstm_outputs({text})", layer, places, 3, helper=helper)
    return Emission(text, layer, inputs=places, outputs=2)


def _unpacked(
    call: Call, gates: int, inputs: int, hidden: int, layers: int, directions: int
) -> dict[str, np.ndarray]:
    """The weights of each layer and direction, from MXNet's one long vector."""
    packed = call.parameter(1).reshape(-1)
    places = [(n, d) for n in range(layers) for d in range(directions)]
    found: dict[str, np.ndarray] = {}
    start = 0
    for kinds in (("weight_ih", "weight_hh"), ("bias_ih", "bias_hh")):
        for n, d in places:
            width = inputs if n == 0 else hidden * directions
            for kind in kinds:
                shape: tuple[int, ...] = (gates,)
                if kind.startswith("weight"):
                    shape = (gates, width if kind == "weight_ih" else hidden)
                size = int(np.prod(shape))
                part = packed[start : start + size]
                if part.size != size:
                    raise call.fail(f"{packed.size} parameters are too few")
                found[f"{kind}_l{n}{'_reverse' if d else ''}"] = part.reshape(shape)
                start += size
    if start != packed.size:
        raise call.fail(f"{packed.size} parameters are {packed.size - start} too many")
    return found


def _masked(call: Call) -> bool:
    if call.axis("axis", 0) not in (0, 1):
        raise call.fail("axis must be 0 or 1")
    return call.flag("use_sequence_length")


@rule("SequenceMask")
def sequence_mask(call: Call) -> Emission:
    if not _masked(call):
        return Emission("{0}", inputs=[0])
    axis, value = call.axis("axis", 0), call.number("value", 0.0)
    text = f"sequence_mask({{0}}, {{1}}, {axis}, {value!r})"
    return Emission(text, helper="sequence_mask")


@rule("SequenceLast")
def sequence_last(call: Call) -> Emission:
    axis = call.axis("axis", 0)
    if not _masked(call):
        return Emission(f"{{0}}.select({axis}, -1)", inputs=[0])
    return Emission(f"sequence_last({{0}}, {{1}}, {axis})", helper="sequence_last")


@rule("SequenceReverse")
def sequence_reverse(call: Call) -> Emission:
    axis = call.axis("axis", 0)
    if not _masked(call):
        return Emission(f"{{0}}.flip({axis})", inputs=[0])
    text = f"sequence_reverse({{0}}, {{1}}, {axis})"
    return Emission(text, helper="sequence_reverse")
