"""Everything about a net that measuring and comparing must leave as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from d2lutils.compat import mx


class Snapshot:
    """Nets of either framework as they are now."""

    def __init__(self, *nets: Any) -> None:
        self.nets, self.facts = nets, [_facts(net) for net in nets]

    def check(self) -> None:
        """Nothing has changed."""
        for net, facts in zip(self.nets, self.facts, strict=True):
            now = _facts(net)
            assert now.keys() == facts.keys()
            for name, before in facts.items():
                if isinstance(before, np.ndarray):
                    assert before.dtype == now[name].dtype, name
                    assert np.array_equal(before, now[name]), name
                else:
                    assert before == now[name], name


def _facts(net: Any) -> dict[str, Any]:
    return _torch(net) if isinstance(net, torch.nn.Module) else _gluon(net)


def _torch(net: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, tensor in net.state_dict().items():
        found[name] = tensor.numpy().copy()
        found[f"{name}, address"] = tensor.data_ptr()
    for name, p in net.named_parameters():
        found[f"{name}, trained"] = p.requires_grad
        found[f"{name}, gradient"] = None if p.grad is None else p.grad.numpy().copy()
        found[f"{name}, gradient's address"] = id(p.grad)
    for name, module in net.named_modules():
        found[f"{name}, training"] = module.training
        found[f"{name}, rate"] = getattr(module, "p", None)
        found[f"{name}, hooks"] = len(module._forward_hooks)
    found["random numbers"] = torch.get_rng_state().numpy().copy()
    return found


def _gluon(net: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"training": mx.autograd.is_training()}
    for name, p in net.collect_params().items():
        found[name] = p.data().asnumpy()
        found[f"{name}, dtype"] = np.dtype(p.dtype)
        found[f"{name}, gradient"] = p.grad().asnumpy() if p._grad else None
    for i, block in enumerate([net, *net._children.values()]):
        found[f"{i}, active"] = (block._active, dict(block._flags))
        found[f"{i}, rate"] = getattr(block, "_rate", None)
        found[f"{i}, hooks"] = len(block._forward_hooks)
    return found
