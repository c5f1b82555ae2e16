"""Run the chapters as if there were a GPU: ``make test-pretend-gpu``.

Chapters train on ``try_gpu()`` and then use the nets, so a tensor left on the CPU is an
error that only a machine with a GPU shows. Here each framework gets a second device
that computes on the CPU and refuses what a GPU would refuse:

- MXNet's is ``cpu(1)``: another context to everything in MXNet.
- PyTorch's is called ``cuda:0``. A `TorchFunctionMode` removes that name from every
  call and remembers which tensors are "there". It raises PyTorch's own errors when
  tensors of two devices meet, or when a tensor that is there becomes a NumPy array.

It is an extension of IPython, loaded into the kernels of ``pytest --nbval`` by
``D2L_EXTENSION=tools.pretend_gpu``.

All numbers are the CPU's, so stored outputs are compared as on any machine; nothing is
said about a GPU's kernels, memory or speed. The mode does not see tensors that PyTorch
makes in C++, such as gradients in the backward pass, and compiled code runs without the
mode: a tensor whose device is unknown may meet any other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.parameter import UninitializedParameter, is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

THERE = torch.device("cuda", 0)
#: May take tensors of two devices: they copy from one to the other.
COPIES = {"copy_", "__setitem__", "_has_compatible_shallow_copy_type"}
TO_HOST = {"numpy", "__array__"}


def device_of(value: Any) -> torch.device | None:
    """The device that an argument names; None if it names none."""
    if isinstance(value, torch.device):
        return value
    if isinstance(value, str):
        try:
            return torch.device(value)
        except RuntimeError:
            return None
    return None


def tensors(values: Any) -> list[torch.Tensor]:
    """All tensors in nested arguments."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


class PretendGPU(TorchFunctionMode):
    """A second device for PyTorch; see the head of this file."""

    def __init__(self) -> None:
        super().__init__()
        self._there: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self.default: torch.device | None = None

    def set_default_device(self, device: torch.device | None) -> None:
        """In place of PyTorch's own, which would look for a GPU."""
        self.default = device

    def is_there(self, tensor: torch.Tensor) -> bool | None:
        """Whether a tensor is on the pretended GPU; None if nobody knows."""
        found: bool | None = self._there.get(tensor)
        return found

    def mark(self, result: Any, there: bool | None) -> Any:
        """Remember where tensors are that a call returned."""
        for tensor in tensors(result) if there is not None else ():
            self._there[tensor] = there
        return result

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        owner = getattr(func, "__self__", None)  # a property's: Tensor.device
        attribute = getattr(owner, "__name__", "")
        if name == "__get__" and attribute in ("device", "is_cuda"):
            there = self.is_there(args[0])
            real = func(*args, **kwargs)
            return (THERE if attribute == "device" else True) if there else real
        if name == "__set__" and attribute == "data":
            func(*args, **kwargs)
            return self.mark(args[0], self.is_there(args[1]))
        if name in ("to", "cuda", "cpu"):
            return self._moved(func, name, args, kwargs)
        given = tensors([args, kwargs])
        known = {self.is_there(t) for t in given} - {None}
        if name in TO_HOST and True in known and not kwargs.get("force"):
            raise TypeError(
                f"can't convert {THERE} device type tensor to numpy. Use Tensor.cpu() "
                "to copy the tensor to host memory first."
            )
        self._refuse_two_devices(name, args, given)
        if self.default and func in _device_constructors():
            kwargs.setdefault("device", None)
        if self.default and kwargs.get("device", "") is None:
            kwargs["device"] = self.default
        wanted = device_of(kwargs.get("device"))
        if wanted == THERE or wanted == torch.device("cuda"):
            kwargs["device"] = "cpu"
            generator = kwargs.get("generator")
            if generator is not None:
                raise RuntimeError(
                    f"Expected a '{THERE.type}' device type for generator but found "
                    f"'{generator.device.type}'"
                )
            return self.mark(func(*args, **kwargs), True)
        result = func(*args, **kwargs)
        if name in COPIES:
            return result
        if wanted is not None or not given:
            return self.mark(result, False)
        there = True if True in known else False if known else None
        return self.mark(result, there)

    def _moved(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """A tensor on another device is a new one."""
        before = self.is_there(args[0])
        if name != "to":
            device = THERE if name == "cuda" else torch.device("cpu")
            func, args, kwargs = torch.Tensor.to, (args[0], device), {}
        plain, target = [], None
        for value in args[1:]:
            if isinstance(value, torch.Tensor):  # x.to(other)
                target = THERE if self.is_there(value) else value.device
                value = value.dtype
            found = device_of(value)
            target = found or target
            plain.append("cpu" if found and found.type == "cuda" else value)
        found = device_of(kwargs.get("device"))
        if found is not None:
            target = found
            kwargs["device"] = "cpu" if found.type == "cuda" else found
        result = func(args[0], *plain, **kwargs)
        after = before if target is None else target.type == "cuda"
        if result is args[0] and after != before and (after or before):
            result = result.clone()
        return self.mark(result, after)

    def _refuse_two_devices(
        self, name: str, args: Any, given: list[torch.Tensor]
    ) -> None:
        if name in COPIES:
            return
        # A number in a tensor may come from the CPU, and so may an index.
        made = [t for t in given if not is_lazy(t)]
        large = [t for t in made if t.dim() > 0 or self.is_there(t)]
        if name == "__getitem__" and self.is_there(args[0]):
            return
        if {self.is_there(t) for t in large} >= {True, False}:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least "
                f"two devices, {THERE} and cpu! (in {name})"
            )


def apart(call: Any) -> Any:
    """Call without the mode, whose Python the compiler would trace into the graph."""

    @functools.wraps(call)
    def without(*args: Any, **kwargs: Any) -> Any:
        if not torch._C._len_torch_function_stack():  # compiled code in compiled code
            return call(*args, **kwargs)
        with torch.overrides._pop_mode_temporarily():
            return call(*args, **kwargs)

    return without


def marking_parameters(mode: PretendGPU) -> Callable[..., Any]:
    """A parameter's `__new__`, which no mode sees: it is where its data is."""
    new = torch.nn.Parameter.__new__

    def parameter(cls: Any, data: Any = None, requires_grad: bool = True) -> Any:
        there = None if data is None else mode.is_there(data)
        return mode.mark(new(cls, data, requires_grad), there)

    return parameter


def install() -> PretendGPU:
    """Give both frameworks their second device, for the rest of this process."""
    from d2lutils.pytorch import devices

    mode = PretendGPU()
    mode.__enter__()
    devices._candidates = lambda: ([THERE], "")
    torch.set_default_device = mode.set_default_device
    torch.backends.cudnn.allow_tf32 = False  # a CPU has none to switch off
    torch.cuda.synchronize = lambda device=None: None
    torch.cuda.get_rng_state = lambda device=None: torch.get_rng_state()
    torch.cuda.set_rng_state = lambda state, device=None: None
    from_numpy = torch.from_numpy  # which no mode sees
    torch.from_numpy = lambda array: mode.mark(from_numpy(array), False)

    torch.nn.Parameter.__new__ = marking_parameters(mode)
    new_lazy = UninitializedParameter.__new__

    def lazy(
        cls: Any, requires_grad: bool = True, device: Any = None, dtype: Any = None
    ) -> Any:
        found = device_of(device) or mode.default
        there = found is not None and found.type == "cuda"
        return mode.mark(new_lazy(cls, requires_grad, "cpu", dtype), there)

    UninitializedParameter.__new__ = lazy

    from torch._dynamo.eval_frame import OptimizedModule

    compiled = torch.compile

    def compile_apart(model: Any = None, **options: Any) -> Any:
        made = compiled(model, **options)
        return made if isinstance(made, torch.nn.Module) else apart(made)

    torch.compile = compile_apart
    torch.export.export = apart(torch.export.export)
    torch.export.save = apart(torch.export.save)
    torch.export.load = apart(torch.export.load)
    OptimizedModule.__call__ = apart(OptimizedModule.__call__)

    from d2lutils.compat import mx
    from d2lutils.gluon import devices as gluon_devices

    gluon_devices._candidates = lambda: ([mx.cpu(1)], "")
    return mode


def load_ipython_extension(shell: Any) -> None:
    """Install the devices; IPython calls this before the first cell."""
    install()
