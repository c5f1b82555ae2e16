"""Bytes of memory that a net really takes, measured on this machine."""

from __future__ import annotations

import gc
import json
import re
import tempfile
import time
from collections.abc import Callable, Hashable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from d2lutils import _arguments, _errors
from d2lutils._adapters import arrays_in, with_zeros
from d2lutils._adapters.gluon import GluonNet
from d2lutils._lifetimes import Lifetimes, Operation
from d2lutils._training import some_parameters, some_trained
from d2lutils.compat import mx

__all__ = [
    "kept_bytes",
    "lifetimes",
    "live_bytes",
    "peak_bytes",
    "planned_bytes",
]

autograd = mx.autograd
_COUNTER = re.compile(
    r'"ts": (\d+),\s*"args": \{ "Memory: [^"]*": (\d+) \}'
)
_WARM_UP = 5  # the four work spaces of a CPU grow in turn
_FLUSH = 8


def kept_bytes(net: Any, input_shape: Sequence[int]) -> int:
    """Bytes that a forward pass in training keeps for backward.

    Measured with MXNet's profiler, which counts every allocation: what
    is there after a recorded pass and was not there before. The input
    is made anew and let go of, so it counts if it is kept.

    Args:
        net: a Block, initialised; hybridized or not, but measured
            without static allocation, which happens once and for all.
            It is run on zeros and left as it was; a profile in
            progress ends.
        input_shape: (N, C, L) or (N, C, H, W).

    Raises:
        TypeError, ValueError: a bad argument, or a forward that fails.
    """
    owner = "kept_bytes"
    adapter, x = with_zeros(owner, net, input_shape, "gluon")
    parameters = net.collect_params().values()
    some_parameters(owner, parameters)
    if all(p.grad_req == "null" for p in parameters):
        return 0  # nothing will go backward, and MXNet would refuse to

    def record() -> Any:
        given = x.copy()
        with autograd.record():
            # A ReLU keeps its output, not its input: so the net's own
            # output counts only if the net keeps it.
            out = arrays_in(_run(owner, net, given))[0]
            np_mode = mx.util.is_np_array()
            return (mx.npx if np_mode else mx.nd).relu(out)

    with adapter.undisturbed(dropout=True):
        _allocate_freely(adapter)
        for _ in range(_WARM_UP):
            out = record()
            out.backward()
        made = _size(out)
        del out
        return _allocated(record)[-1] - made


def live_bytes(net: Any, input_shape: Sequence[int]) -> tuple[int, str]:
    """The bytes that inference needs at the same time, at least.

    From the list of operations of one pass: the largest set of tensors
    that are needed at once, the input and the output included, and the
    operation that needs them. See `_lifetimes.largest_live_set`.

    Args, Raises: as `kept_bytes`; a net that cannot be traced.
    """
    return _lifetimes("live_bytes", net, input_shape).largest()


def lifetimes(net: Any, input_shape: Sequence[int]) -> Lifetimes:
    """The operations of one pass in inference, with what they touch.

    Args, Raises: as `live_bytes`.
    """
    return _lifetimes("lifetimes", net, input_shape)


def _lifetimes(
    owner: str, net: Any, input_shape: Sequence[int]
) -> Lifetimes:
    adapter, x = with_zeros(owner, net, input_shape, "gluon")
    with adapter.undisturbed(), autograd.predict_mode():
        adapter.hybridize(False)
        _run(owner, net, x)
        graph = _traced(owner, net)
        try:
            inside = graph.get_internals()
            _, shapes, _ = inside.infer_shape(data=x.shape)
        except mx.MXNetError as error:
            raise ValueError(
                f"{owner}: the shapes inside net cannot be inferred: "
                f"{_errors.reason(error)}"
            ) from error
    return _operations(adapter, graph, shapes, x)


def peak_bytes(
    net: Any, input_shape: Sequence[int], training: bool = False
) -> int:
    """The bytes of tensors that exist at the same time, the input
    included.

    Measured with MXNet's profiler, which counts every allocation: in
    inference, or in forward and backward of a classifier with softmax
    cross-entropy. Parameters and their gradients are left out.

    Args:
        net, input_shape: as in `kept_bytes`.
        training: whether to measure a training step.

    Raises:
        TypeError, ValueError: as `kept_bytes`; all is frozen.
    """
    owner = "peak_bytes"
    adapter, x = with_zeros(owner, net, input_shape, "gluon")
    array = mx.np if mx.util.is_np_array() else mx.nd
    labels = array.zeros(len(x), ctx=x.context)
    loss_of = mx.gluon.loss.SoftmaxCrossEntropyLoss()

    def step() -> Any:
        if not training:
            return _run(owner, net, x)
        with autograd.record():
            loss = loss_of(arrays_in(_run(owner, net, x))[0], labels)
        loss.backward()
        return loss

    if training:
        some_trained(owner, net.collect_params().values())
    with (
        adapter.undisturbed(dropout=training),
        autograd.predict_mode(),
    ):
        _allocate_freely(adapter)
        for _ in range(_WARM_UP):
            step()
        return max(_allocated(step)) + _size(x)


def planned_bytes(
    net: Any, input_shape: Sequence[int], training: bool = True
) -> int:
    """Bytes that MXNet plans for the whole graph, without parameters.

    From `debug_str` of the bound graph, which counts in whole MiB: the
    plan is made, and its memory allocated, for so many copies of the
    batch that a MiB is less than a hundredth (256 to 512 MiB), and
    divided again.

    Args:
        net, input_shape: as `kept_bytes`; the net must be traceable and
            float32.
        training: plan forward and backward, or forward alone.

    Raises:
        TypeError, ValueError: as `live_bytes`.
    """
    owner = "planned_bytes"
    adapter, x = with_zeros(owner, net, input_shape, "gluon")
    _arguments.boolean(owner, "training", training)
    dtype = np.dtype(x.dtype).name
    if dtype != "float32":
        raise ValueError(
            f"{owner}: net must be float32, since MXNet reports the "
            f"same for every dtype, got {dtype}"
        )
    with adapter.undisturbed(dropout=True):
        adapter.hybridize(False)
        with autograd.predict_mode():
            _run(owner, net, x)
        graph = _traced(owner, net)
        copies = 1
        while True:
            shape = (copies * x.shape[0], *x.shape[1:])
            requests = "write" if training else "null"
            bound = graph.simple_bind(
                x.context, grad_req=requests, data=shape
            )
            plan = bound.debug_str()
            found = re.search(r"Total (\d+) MB allocated", plan)
            total = int(found.group(1)) if found else 0
            if total >= 256 or copies >= 2**16:
                return total * 2**20 // copies
            copies *= 2


def _run(owner: str, net: Any, x: Any) -> Any:
    try:
        out = net(x)
        mx.nd.waitall()
        return out
    except Exception as error:
        raise ValueError(
            f"{owner}: the net fails on input_shape={x.shape}: "
            f"{_errors.reason(error)}"
        ) from error


def _allocate_freely(adapter: GluonNet) -> None:
    """Turn static allocation off where it is on."""
    if any(
        getattr(b, "_active", 0) and b._flags for b in adapter.blocks
    ):
        adapter.net.hybridize(True)


def _size(array: Any) -> int:
    return prod(array.shape) * np.dtype(array.dtype).itemsize


def _allocated(function: Callable[[], Any]) -> list[int]:
    """Bytes allocated, less those freed, after each change; the result
    of `function` still exists at the last."""
    gc.collect()  # what is freed later would be subtracted here
    _wait_for_frees()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profile.json"
        mx.profiler.set_config(
            profile_memory=True,
            profile_imperative=False,
            profile_symbolic=False,
            profile_api=False,
            aggregate_stats=False,
            filename=str(path),
        )
        mx.profiler.set_state("run")
        try:
            # The profiler writes the counter only when it changes.
            mark = mx.nd.zeros(1, dtype="uint8")
            mark.wait_to_read()
            result = function()
            _wait_for_frees()
            # What was freed is only reported at the next allocation.
            # These bytes stay, and are subtracted.
            last = [mx.nd.ones(1, dtype="uint8") for _ in range(_FLUSH)]
            # One more, after all has been reported.
            _wait_for_frees()
            last.append(mx.nd.ones(1, dtype="uint8"))
            mx.nd.waitall()
        finally:
            mx.profiler.set_state("stop")
        mx.profiler.dump(finished=False)
        # The file lists the events of one thread after the other's.
        events = _COUNTER.findall(path.read_text())
        events.sort(key=lambda event: int(event[0]))
        points = [int(n) for _, n in events]
        del result, mark, last
    added = _FLUSH + 1
    final = points[-1] - added
    return [point - points[0] for point in (*points[:-added], final)]


def _wait_for_frees() -> None:
    """Wait until MXNet has freed what is not referred to any more.

    `waitall` returns once the last operation has run; the thread that
    ran it frees what it held a moment later.
    """
    mx.nd.waitall()
    time.sleep(0.02)
    mx.nd.waitall()


def _traced(owner: str, net: Any) -> Any:
    """The net's graph."""
    data = mx.sym.var("data")
    if mx.util.is_np_array():
        data = data.as_np_ndarray()
    try:
        out = net(data)
        several = isinstance(out, (list, tuple))
        return mx.sym.Group(out) if several else out
    except Exception as error:
        raise ValueError(
            f"{owner}: net cannot be traced: {_errors.reason(error)}"
        ) from error


# Operations whose output is the memory of their input.
_VIEWS = {"Reshape", "Flatten", "expand_dims", "squeeze", "identity"}
_VIEWS |= {"_copy", "Dropout"}  # which does nothing in inference


def _operations(
    adapter: GluonNet, graph: Any, shapes: Sequence[Any], x: Any
) -> Lifetimes:
    """The operations of a graph, with the bytes that they touch."""
    itemsize = np.dtype(adapter.mx_dtype()).itemsize
    found = Lifetimes(itemsize=itemsize)
    if np.issubdtype(x.dtype, np.integer):
        found.whole.add("data")
    internals = graph.get_internals().list_outputs()
    by_name = dict(zip(internals, shapes, strict=True))
    description = json.loads(graph.tojson())
    keys: dict[tuple[int, int], Hashable] = {}
    for i, node in enumerate(description["nodes"]):
        name = node["name"]
        if node["op"] == "null":
            if name == "data":
                keys[i, 0] = name
                found.sizes[name] = _size(x)
            continue
        reads = [keys.get((a, b)) for a, b, *_ in node["inputs"]]
        known = tuple(key for key in reads if key is not None)
        if node["op"] in _VIEWS and known:
            keys[i, 0] = known[0]
            continue
        # One output, or several with numbers; hidden ones, such as a
        # batch norm's statistics, are not listed.
        names = [f"{name}_output"]
        if names[0] not in by_name:
            names = [n for n in internals if n.startswith(names[0])]
        for j, output in enumerate(names):
            keys[i, j] = output
            found.sizes[output] = prod(by_name[output]) * itemsize
        found.operations.append(Operation(name, known, tuple(names)))
    heads = (keys[a, b] for a, b, *_ in description["heads"])
    found.held = ["data", *heads]
    return found
