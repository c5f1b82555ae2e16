"""Devices: the CPU with a reason where there is no GPU that works."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from halves import GLUON, PYTORCH, both

from d2lutils.compat import mx


class FailingGPU:
    """A GPU that is listed and fails at its first kernel."""

    def __repr__(self) -> str:
        return "gpu(0)"


def cpu(half: Any) -> Any:
    return mx.cpu() if half is GLUON else torch.device("cpu")


def list_devices(patch: Any, half: Any, *devices: Any, reason: str = "") -> None:
    patch.setattr(half.devices, "_candidates", lambda: (list(devices), reason))


def fail_at(patch: Any, half: Any, bad: Any, error: Exception | float) -> None:
    """Kernels on `bad` raise an error, or compute a number."""
    module = mx.nd if half is GLUON else torch
    ones = module.ones

    def patched(*arguments: Any, **options: Any) -> Any:
        if (options.get("ctx") or options.get("device")) is bad:
            if isinstance(error, Exception):
                raise error
            options = {"ctx": mx.cpu()} if half is GLUON else {}
            return ones(*arguments, **options) * error
        return ones(*arguments, **options)

    patch.setattr(module, "ones", patched)


@both
def test_here(half: Any) -> None:
    """On a CPU-only build: the CPU, and why."""
    devices = half.devices
    if devices._candidates()[0]:  # pragma: needs-gpu
        pytest.skip("this machine has a GPU")
    assert devices.try_gpu() == devices.try_gpu(np.int64(3)) == cpu(half)
    assert devices.try_all_gpus() == [cpu(half)]
    name = "MXNet" if half is GLUON else "PyTorch"
    reasons = (f"this build of {name} is for the CPU only", "no GPU was found")
    assert devices.why_no_gpu() in reasons


@both
def test_devices_that_work(half: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = half.devices
    list_devices(monkeypatch, half, cpu(half), cpu(half))
    assert devices.try_gpu(1) == devices.try_gpu(2) == cpu(half)
    assert devices.try_all_gpus() == [cpu(half)] * 2
    assert devices.why_no_gpu(1) == ""
    assert devices.why_no_gpu(2) == "GPU 2 was asked for, but there are 2"
    list_devices(monkeypatch, half, reason="no GPU was found")
    assert devices.try_gpu() == cpu(half)
    assert devices.why_no_gpu() == "no GPU was found"


@both
def test_the_default_device(
    half: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """PyTorch's meta device and a second CPU context stand for a GPU."""
    other = mx.cpu(1) if half is GLUON else torch.device("meta")

    def made() -> Any:
        return mx.nd.ones(2).context if half is GLUON else torch.ones(2).device

    name = "Gluon" if half is GLUON else "PyTorch"
    monkeypatch.setattr(half.devices, "_failure", lambda device: "")
    for listed, expected, words in (
        ([other], other, f"{name} computes on {other}: a kernel ran on it\n"),
        ([], cpu(half), f"{name} computes on {cpu(half)}: none\n"),
    ):
        list_devices(monkeypatch, half, *listed, reason="none")
        assert half.devices.use_gpu() == expected == made()
        assert capsys.readouterr().out == words


KERNEL_FAILED = "gpu(0) is there, but a kernel failed: "
TRACEBACK = 'Traceback (most recent call last):\n  File "../src/a.cc", line 9\n'


@both
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError(), f"{KERNEL_FAILED}RuntimeError"),
        (RuntimeError("no image\n  more lines\n"), f"{KERNEL_FAILED}no image"),
        (
            RuntimeError(f"{TRACEBACK}MXNetError: no image"),
            f"{KERNEL_FAILED}no image",
        ),
        (2.0, "gpu(0) computed 32.0 where 8.0 is right"),
    ],
)
def test_listed_but_broken(
    half: Any, monkeypatch: pytest.MonkeyPatch, error: Any, reason: str
) -> None:
    """In words; index 1 means the second one listed, which works."""
    gpu, devices = FailingGPU(), half.devices
    fail_at(monkeypatch, half, gpu, error)
    list_devices(monkeypatch, half, gpu)
    assert devices.try_gpu() == cpu(half)
    assert devices.try_all_gpus() == [cpu(half)]
    list_devices(monkeypatch, half, gpu, cpu(half))
    assert devices.try_gpu(0) == cpu(half)
    assert [devices.why_no_gpu(i) for i in (0, 1)] == [reason, ""]
    assert devices.try_all_gpus() == [cpu(half)]


@both
@pytest.mark.parametrize("function", ["try_gpu", "use_gpu", "why_no_gpu"])
@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        (-1, ValueError, "i must be at least 0, got -1"),
        ("cuda:0", TypeError, "i must be an integer, got 'cuda:0'"),
    ],
)
def test_refused(half: Any, function: str, wrong: Any, error: Any, text: str) -> None:
    with pytest.raises(error) as caught:
        getattr(half.devices, function)(wrong)
    assert str(caught.value) == f"{function}: {text}"


def test_what_mxnet_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    built = SimpleNamespace(is_enabled=lambda feature: feature == "CUDA")
    monkeypatch.setattr(mx.runtime, "Features", lambda: built)
    for count, reason in ((2, ""), (0, "no GPU was found")):
        monkeypatch.setattr(mx.context, "num_gpus", lambda count=count: count)
        listed = [mx.gpu(i) for i in range(count)]
        assert GLUON.devices._candidates() == (listed, reason)


def test_what_pytorch_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(cuda: bool, mps: bool, built: str | None) -> Any:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.version, "cuda", built)
        return PYTORCH.devices._candidates()

    two = [torch.device("cuda", 0), torch.device("cuda", 1)]
    assert listed(True, False, "12.8") == (two, "")
    assert listed(False, True, None) == ([torch.device("mps", 0)], "")
    assert listed(False, False, "12.8") == ([], "no GPU was found")
    reason = "this build of PyTorch is for the CPU only"
    assert listed(False, False, None) == ([], reason)
