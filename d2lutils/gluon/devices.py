"""Devices: a GPU is returned only if a kernel runs on it."""

from __future__ import annotations

from typing import Any

from d2lutils._arguments import NonNegative, checked
from d2lutils._errors import reason
from d2lutils.compat import mx

__all__ = ["try_all_gpus", "try_gpu", "use_gpu", "why_no_gpu"]


def _candidates() -> tuple[list[Any], str]:
    """The GPUs that MXNet lists, or none and the reason."""
    if not mx.runtime.Features().is_enabled("CUDA"):
        return [], "this build of MXNet is for the CPU only"
    count = mx.context.num_gpus()
    return [
        mx.gpu(i) for i in range(count)
    ], "" if count else "no GPU was found"


def _failure(device: Any) -> str:
    """Run a kernel on `device`; the reason if it fails, or ""."""
    # A listed GPU may not work: the wheels have machine code up to
    # sm_86 and no PTX, so on a newer card the first kernel fails.
    try:
        x = mx.nd.ones((2, 2), ctx=device)
        total = float(mx.nd.dot(x, x).sum().asscalar())
    except Exception as error:
        why = reason(error)
        return f"{device} is there, but a kernel failed: {why}"
    return (
        ""
        if total == 8.0
        else f"{device} computed {total} where 8.0 is right"
    )


@checked
def why_no_gpu(i: NonNegative = 0) -> str:
    """Why `try_gpu(i)` returns the CPU; "" if it returns a GPU.

    >>> why_no_gpu(99) == ""
    False
    """
    devices, why = _candidates()
    if i < len(devices):
        return _failure(devices[i])
    if devices:
        return f"GPU {i} was asked for, but there are {len(devices)}"
    return why


@checked
def try_gpu(i: NonNegative = 0) -> Any:
    """The i-th GPU if it works, else the CPU.

    Args:
        i: index of the GPU, from 0.

    Raises:
        TypeError, ValueError: `i` is not an integer ≥ 0.

    >>> try_gpu(99)
    cpu(0)
    """
    if why_no_gpu(i):
        return mx.cpu()
    return _candidates()[0][i]


def try_all_gpus() -> list[Any]:
    """All GPUs on which a kernel runs, or only the CPU if none works.

    >>> len(try_all_gpus()) > 0
    True
    """
    working = [
        device for device in _candidates()[0] if not _failure(device)
    ]
    return working or [mx.cpu()]


@checked
def use_gpu(i: NonNegative = 0) -> Any:
    """Make `try_gpu(i)` the default device; print it and the reason.

    What this thread creates from here on is created there, unless a
    call names another device.

    Args:
        i: index of the GPU, from 0.

    Raises:
        TypeError, ValueError: `i` is not an integer ≥ 0.

    >>> device = use_gpu(99)  # doctest: +ELLIPSIS
    Gluon computes on cpu...: ...
    """
    why, device = why_no_gpu(i), try_gpu(i)
    device.__enter__()  # never left: MXNet has no other public way
    print(f"Gluon computes on {device}: {why or 'a kernel ran on it'}")
    return device
