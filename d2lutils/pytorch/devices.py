"""Devices: a GPU is returned only if a kernel runs on it."""

from __future__ import annotations

import torch

from d2lutils._arguments import NonNegative, checked
from d2lutils._errors import reason

__all__ = ["try_all_gpus", "try_gpu", "use_gpu", "why_no_gpu"]


def _candidates() -> tuple[list[torch.device], str]:
    """The accelerators that PyTorch lists, or none and the reason."""
    if torch.cuda.is_available():  # pragma: needs-gpu
        count = torch.cuda.device_count()
        return [torch.device("cuda", i) for i in range(count)], ""
    mps = getattr(torch.backends, "mps", None)
    if mps is not None and mps.is_available():  # pragma: needs-gpu
        return [torch.device("mps", 0)], ""
    if torch.version.cuda is None:
        return [], "this build of PyTorch is for the CPU only"
    return [], "no GPU was found"  # pragma: needs-gpu


def _failure(device: torch.device) -> str:
    """Run a kernel on `device`; the reason if it fails, or ""."""
    try:
        x = torch.ones(2, 2, device=device)
        total = float((x @ x).sum())
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
def try_gpu(i: NonNegative = 0) -> torch.device:
    """The i-th GPU (CUDA or Apple's MPS) if it works, else the CPU.

    Args:
        i: index of the GPU, from 0.

    Raises:
        TypeError, ValueError: `i` is not an integer ≥ 0.

    >>> try_gpu(99)
    device(type='cpu')
    """
    if why_no_gpu(i):
        return torch.device("cpu")
    return _candidates()[0][i]


def try_all_gpus() -> list[torch.device]:
    """All GPUs on which a kernel runs, or only the CPU if none works.

    >>> len(try_all_gpus()) > 0
    True
    """
    working = [
        device for device in _candidates()[0] if not _failure(device)
    ]
    return working or [torch.device("cpu")]


@checked
def use_gpu(i: NonNegative = 0) -> torch.device:
    """Make `try_gpu(i)` the default device; print it and the reason.

    What this thread creates from here on is created there, unless a
    call names another device.

    Args:
        i: index of the GPU, from 0.

    Raises:
        TypeError, ValueError: `i` is not an integer ≥ 0.

    >>> device = use_gpu(99)  # doctest: +ELLIPSIS
    PyTorch computes on cpu...: ...
    """
    why, device = why_no_gpu(i), try_gpu(i)
    on_cpu = device.type == "cpu"
    torch.set_default_device(None if on_cpu else device)
    print(
        f"PyTorch computes on {device}: {why or 'a kernel ran on it'}"
    )
    return device
