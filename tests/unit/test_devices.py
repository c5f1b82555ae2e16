"""Devices: the CPU with a reason where there is no GPU that works."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from d2lutils.compat import mx
from d2lutils.gluon import devices as gluon_devices
from d2lutils.pytorch import devices as pytorch_devices


class FailingGPU:
    """A GPU that is listed and fails at its first kernel."""

    def __str__(self) -> str:
        return "gpu(0)"

    def __repr__(self) -> str:
        return "gpu(0)"


HALVES = {
    "gluon": SimpleNamespace(devices=gluon_devices, cpu=mx.cpu(), name="MXNet"),
    "pytorch": SimpleNamespace(
        devices=pytorch_devices, cpu=torch.device("cpu"), name="PyTorch"
    ),
}


@pytest.fixture(params=list(HALVES))
def half(request: pytest.FixtureRequest) -> Any:
    return HALVES[request.param]


def list_devices(
    monkeypatch: pytest.MonkeyPatch, half: Any, *devices: Any, reason: str = ""
) -> None:
    monkeypatch.setattr(half.devices, "_candidates", lambda: (list(devices), reason))


def fail_at(
    monkeypatch: pytest.MonkeyPatch, half: Any, bad: Any, error: Exception | float
) -> None:
    """Kernels on `bad` raise an error, or compute a number."""
    module = mx.nd if half.name == "MXNet" else torch
    ones = module.ones

    def patched(*arguments: Any, **options: Any) -> Any:
        if (options.get("ctx") or options.get("device")) is bad:
            if isinstance(error, Exception):
                raise error
            options = {"ctx": mx.cpu()} if half.name == "MXNet" else {}
            return ones(*arguments, **options) * error
        return ones(*arguments, **options)

    monkeypatch.setattr(module, "ones", patched)


def test_here(half: Any) -> None:
    """On a CPU-only build: the CPU, and why."""
    if half.devices._candidates()[0]:  # pragma: needs-gpu
        pytest.skip("this machine has a GPU")
    assert half.devices.try_gpu() == half.cpu
    assert half.devices.try_gpu(3) == half.cpu
    assert half.devices.try_all_gpus() == [half.cpu]
    assert half.devices.why_no_gpu() in (
        f"this build of {half.name} is for the CPU only",
        "no GPU was found",
    )


def test_a_device_that_works(half: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    list_devices(monkeypatch, half, half.cpu)
    assert half.devices.try_gpu(0) == half.cpu
    assert half.devices.why_no_gpu(0) == ""
    assert half.devices.try_all_gpus() == [half.cpu]


def test_none_listed(half: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    list_devices(monkeypatch, half, reason="no GPU was found")
    assert half.devices.try_gpu() == half.cpu
    assert half.devices.why_no_gpu() == "no GPU was found"


def test_listed_but_its_kernel_fails(
    half: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = FailingGPU()
    list_devices(monkeypatch, half, gpu, half.cpu)
    error = RuntimeError("no kernel image is available\n  more lines\n")
    fail_at(monkeypatch, half, gpu, error)
    assert half.devices.try_gpu(0) == half.cpu
    reason = "gpu(0) is there, but a kernel failed: no kernel image is available"
    assert half.devices.why_no_gpu(0) == reason
    # The second one works, and index 1 means the second one listed.
    assert half.devices.try_all_gpus() == [half.cpu]
    assert half.devices.why_no_gpu(1) == ""


def test_only_broken_ones(half: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FailingGPU()
    list_devices(monkeypatch, half, gpu)
    fail_at(monkeypatch, half, gpu, RuntimeError("out of order"))
    assert half.devices.try_all_gpus() == [half.cpu]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError(), "RuntimeError"),
        (
            RuntimeError(
                'Traceback (most recent call last):\n  File "../src/a.cc", line 9\n'
                "MXNetError: no kernel image is available"
            ),
            "no kernel image is available",
        ),
    ],
)
def test_reason_is_in_words(
    half: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    gpu = FailingGPU()
    list_devices(monkeypatch, half, gpu)
    fail_at(monkeypatch, half, gpu, error)
    text = f"gpu(0) is there, but a kernel failed: {reason}"
    assert half.devices.why_no_gpu() == text
    assert half.devices.try_gpu() == half.cpu


def test_wrong_numbers(half: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FailingGPU()
    list_devices(monkeypatch, half, gpu)
    fail_at(monkeypatch, half, gpu, 2.0)
    assert half.devices.why_no_gpu() == "gpu(0) computed 32.0 where 8.0 is right"
    assert half.devices.try_gpu() == half.cpu


def test_index_too_large(half: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    list_devices(monkeypatch, half, half.cpu, half.cpu)
    assert half.devices.try_gpu(2) == half.cpu
    assert half.devices.why_no_gpu(2) == "GPU 2 was asked for, but there are 2"


@pytest.mark.parametrize("function", ["try_gpu", "why_no_gpu"])
@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        (-1, ValueError, "i must be at least 0, got -1"),
        (1.0, TypeError, "i must be an integer, got 1.0"),
        ("cuda:0", TypeError, "i must be an integer, got 'cuda:0'"),
        (True, TypeError, "i must be an integer, got True"),
    ],
)
def test_refused(half: Any, function: str, wrong: Any, error: Any, text: str) -> None:
    with pytest.raises(error) as caught:
        getattr(half.devices, function)(wrong)
    assert str(caught.value) == f"{function}: {text}"


def test_numpy_index(half: Any) -> None:
    assert half.devices.try_gpu(np.int64(9)) == half.cpu


def test_what_mxnet_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    built = SimpleNamespace(is_enabled=lambda feature: feature == "CUDA")
    monkeypatch.setattr(mx.runtime, "Features", lambda: built)
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 2)
    assert gluon_devices._candidates() == ([mx.gpu(0), mx.gpu(1)], "")
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 0)
    assert gluon_devices._candidates() == ([], "no GPU was found")


def test_what_pytorch_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    listed = [torch.device("cuda", 0), torch.device("cuda", 1)]
    assert pytorch_devices._candidates() == (listed, "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pytorch_devices._candidates() == ([torch.device("mps", 0)], "")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert pytorch_devices._candidates() == ([], "no GPU was found")
    monkeypatch.setattr(torch.version, "cuda", None)
    reason = "this build of PyTorch is for the CPU only"
    assert pytorch_devices._candidates() == ([], reason)
