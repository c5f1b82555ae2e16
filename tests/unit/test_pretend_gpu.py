"""The pretended GPU refuses what a GPU refuses, and computes as the CPU does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook
from torch import nn

from tools import execute, notebook
from tools.pretend_gpu import THERE, PretendGPU, marking_parameters

pytestmark = pytest.mark.rare
TWO = "Expected all tensors to be on the same device"


@pytest.fixture(autouse=True)
def mode() -> Iterator[PretendGPU]:
    with PretendGPU() as mode:
        yield mode


def test_a_tensor_says_where_it_is() -> None:
    x = torch.ones(2, 3)
    assert x.device.type == "cpu"
    for moved in (x.to(THERE), x.cuda(), x.to("cuda"), x.to(device="cuda:0")):
        assert moved is not x
        assert moved.device == THERE
        assert moved.is_cuda
        assert (moved + 1).device == moved[0].device == moved.detach().device == THERE
        assert moved.to(torch.float64).device == THERE
        assert x.to(moved).device == THERE
        assert moved.cpu().device == moved.to("cpu").device == x.device
    assert torch.zeros(2, device="cuda").device == THERE
    assert torch.as_tensor([1.0], device=THERE).device == THERE
    assert x.device.type == "cpu"


def test_what_may_meet_and_what_may_not() -> None:
    x = torch.ones(3, device=THERE)
    assert (x * torch.tensor(2.0)).device == THERE  # a number
    assert x[torch.tensor([0, 1])].device == THERE  # an index
    x.copy_(torch.zeros(3))
    assert x.device == THERE
    for one, other in ((THERE, "cpu"), ("cpu", THERE)):
        net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).to(one)
        with pytest.raises(RuntimeError, match=TWO):
            net(torch.ones(2, 1, 5, 5, device=other))
    with pytest.raises(RuntimeError, match=TWO):
        torch.cat([x, torch.ones(2)])
    with pytest.raises(RuntimeError, match=TWO):
        torch.ones(3)[torch.tensor([0, 1], device=THERE)]
    with pytest.raises(RuntimeError, match="'cuda' device type for generator"):
        torch.rand(2, generator=torch.Generator(), device=THERE)
    with pytest.raises(TypeError, match=r"Use Tensor\.cpu\(\)"):
        x.numpy()
    assert x.cpu().numpy().tolist() == [0, 0, 0]


def test_it_can_be_the_default(
    mode: PretendGPU, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn.Parameter, "__new__", marking_parameters(mode))
    mode.set_default_device(THERE)
    made = (torch.ones(2), torch.tensor([1.0]), torch.as_tensor([1]), nn.Linear(1, 1))
    assert all(getattr(x, "weight", x).device == THERE for x in made)
    assert torch.ones(2, device="cpu").device.type == "cpu"
    with pytest.raises(RuntimeError, match="'cuda' device type for generator"):
        torch.rand(2, generator=torch.Generator())
    mode.set_default_device(None)
    assert torch.ones(2).device.type == "cpu"


def test_training_is_that_of_the_cpu() -> None:
    def trained(device: str) -> list[float]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).to(device)
        step = torch.optim.SGD(net.parameters(), 0.5, momentum=0.9)
        x, y = torch.randn(8, 4).to(device), (torch.arange(8) % 2).to(device)
        losses = []
        for _ in range(3):
            step.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            step.step()
            losses.append(loss.item())
        assert {p.device.type for p in net.parameters()} == {device}
        assert {p.grad.device.type for p in net.parameters()} == {device}
        return losses

    assert trained("cuda") == trained("cpu")


@pytest.mark.needs_mxnet
def test_kernels_load_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "from d2lutils.gluon.devices import try_gpu as context\n"
        "from d2lutils.pytorch.devices import try_gpu\n"
        "print(try_gpu(), context())"
    )
    monkeypatch.setenv(execute.D2L_EXTENSION, "tools.pretend_gpu")
    nb = notebook.normalize(new_notebook(cells=[new_code_cell(code)]))
    (cell,) = execute.execute(nb, tmp_path).cells
    assert cell.outputs[0].text == "cuda:0 cpu(1)\n"
