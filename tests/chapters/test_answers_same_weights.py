"""The checks of `same_weights`: right answers pass, stubs and wrong ones do not."""

from __future__ import annotations

from typing import Any

import answers
import numpy as np
import torch

from d2lutils.compat import mx

nn = mx.gluon.nn
ROLES = {"gamma": "weight", "beta": "bias"}


# -- same_weights_copy -----------------------------------------------------------------


def values_of(source: Any) -> dict[str, torch.Tensor]:
    return {
        ROLES.get(name, name): torch.as_tensor(p.data().asnumpy())
        for name, p in source._collect_params_with_prefix().items()
    }


def copied(source: Any, target: Any) -> None:
    with torch.no_grad():
        for name, values in values_of(source).items():
            getattr(target, name).copy_(values)


def loaded(source: Any, target: Any) -> None:
    target.load_state_dict(values_of(source), strict=False)


def without_statistics(source: Any, target: Any) -> None:
    with torch.no_grad():
        for name, p in target.named_parameters():
            p.copy_(values_of(source)[name])


def weight_only(source: Any, target: Any) -> None:
    with torch.no_grad():
        target.weight.copy_(values_of(source)["weight"])


def new_parameters(source: Any, target: Any) -> None:
    for name, values in values_of(source).items():
        if name.startswith("running"):
            setattr(target, name, values)
        else:
            setattr(target, name, torch.nn.Parameter(values))


def needs_a_bias(source: Any, target: Any) -> None:
    copied(source, target)
    target.bias.data.copy_(values_of(source)["bias"])


# -- same_weights_flatten --------------------------------------------------------------


def walk(net: Any, x: Any, is_one: Any) -> list[str]:
    found = []

    def go(block: Any, path: str, x: Any) -> Any:
        if isinstance(block, nn.Dense) and is_one(block, x):
            found.append(path)
        if not block._children or isinstance(block, nn.Dense):
            return block(x)
        for name, child in block._children.items():
            x = go(child, f"{path}.{name}".lstrip("."), x)
        return x

    go(net, "", x)
    return sorted(found)


def flattened(net: Any, x: Any) -> list[str]:
    return walk(net, x, lambda block, x: block._flatten and x.ndim > 2)


def by_setting(net: Any, x: Any) -> list[str]:
    return walk(net, x, lambda block, x: block._flatten)


def by_axes(net: Any, x: Any) -> list[str]:
    return walk(net, x, lambda block, x: x.ndim > 2)


def more_than_one(net: Any, x: Any) -> list[str]:
    """Takes an axis of length one for no axis."""
    return walk(net, x, lambda b, x: b._flatten and sum(n > 1 for n in x.shape) > 2)


def top_only(net: Any, x: Any) -> list[str]:
    return [path for path in flattened(net, x) if "." not in path]


# -- same_weights_leaves ---------------------------------------------------------------


def leaves(one: Any, two: Any, bound: float) -> int | None:
    for step in range(len(one)):
        for name, b in two[step].items():
            a = one[step][name]
            if np.array_equal(a, b):
                continue
            with np.errstate(divide="ignore"):
                if not np.abs(a - b).max() / np.abs(b).max() <= bound:
                    return step + 1
    return None


def from_zero(one: Any, two: Any, bound: float) -> int | None:
    step = leaves(one, two, bound)
    return None if step is None else step - 1


def blind_to_nan(one: Any, two: Any, bound: float) -> int | None:
    for step, (ours, theirs) in enumerate(zip(one, two, strict=True), 1):
        for name, b in theirs.items():
            if np.abs(ours[name] - b).max() > bound * np.abs(b).max():
                return step
    return None


def element_by_element(one: Any, two: Any, bound: float) -> int | None:
    for step, (ours, theirs) in enumerate(zip(one, two, strict=True), 1):
        for name, b in theirs.items():
            if not np.allclose(ours[name], b, rtol=bound, atol=0):
                return step
    return None


def absolute(one: Any, two: Any, bound: float) -> int | None:
    for step, (ours, theirs) in enumerate(zip(one, two, strict=True), 1):
        for name, b in theirs.items():
            if not np.abs(ours[name] - b).max() <= bound:
                return step
    return None


# -- same_weights_threads --------------------------------------------------------------


def add_up(values: Any) -> Any:
    total = np.float32(0)
    for value in values:
        total += value
    return total


def threaded(x: Any, threads: int) -> Any:
    return add_up(add_up(piece) for piece in np.array_split(x, threads))


def in_pairs(x: Any, threads: int) -> Any:
    return add_up(piece.sum() for piece in np.array_split(x, threads))


def interleaved(x: Any, threads: int) -> Any:
    return add_up(add_up(x[i::threads]) for i in range(threads))


def one_thread(x: Any, threads: int) -> Any:
    return add_up(x)


def double(x: Any, threads: int) -> Any:
    return threaded(x.astype("float64"), threads)


right: dict[str, list[Any]] = {
    "same_weights_copy": [copied, loaded],
    "same_weights_flatten": [flattened],
    "same_weights_leaves": [leaves],
    "same_weights_threads": [threaded],
}
wrong: dict[str, list[tuple[Any, str]]] = {
    "same_weights_copy": [
        (without_statistics, "outputs in evaluation differ"),
        (weight_only, "outputs in evaluation differ"),
        (new_parameters, "no longer those it had"),
        (needs_a_bias, "was raised"),
    ],
    "same_weights_flatten": [
        (by_setting, "expected"),
        (by_axes, "expected"),
        (more_than_one, "expected"),
        (top_only, "expected"),
    ],
    "same_weights_leaves": [
        (from_zero, "expected 3, got 2"),
        (blind_to_nan, "expected 2, got None"),
        (element_by_element, "expected"),
        (absolute, "expected"),
    ],
    "same_weights_threads": [
        (in_pairs, "expected"),
        (interleaved, "expected"),
        (one_thread, "expected"),
        (double, "float32"),
    ],
}
test_stub, test_right, test_wrong = answers.tests(right, wrong)
