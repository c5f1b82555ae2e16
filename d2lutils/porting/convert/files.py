"""The files of a converted net: weights as safetensors, and what loads them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

_KINDS = {
    **{torch.float32: "F32", torch.float64: "F64", torch.float16: "F16"},
    **{torch.int64: "I64", torch.int32: "I32", torch.int8: "I8"},
    **{torch.uint8: "U8", torch.bool: "BOOL"},
}

#: What a generated source needs to load its weights, with PyTorch alone.
LOADER = '''
DTYPES = {{"F16": torch.float16, "F32": torch.float32, "F64": torch.float64}}


def load(path: str | Path | None = None) -> {name}:
    """The net with its trained weights, in evaluation mode."""
    path = Path(path or Path(__file__).with_name("net.safetensors"))
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    net = {name}()
    counters = "num_batches_tracked"  # MXNet has none
    state = {{k: v for k, v in net.state_dict().items() if k.endswith(counters)}}
    for name, entry in json.loads(data[8:start]).items():
        begin, end = (start + place for place in entry["data_offsets"])
        flat = torch.frombuffer(data[begin:end], dtype=DTYPES[entry["dtype"]])
        state[name] = flat.reshape(entry["shape"])
    net.load_state_dict(state)
    return net.eval()
'''


def plain(array: Any) -> np.ndarray:
    """An array of any framework as NumPy's."""
    if hasattr(array, "asnumpy"):
        array = array.asnumpy()
    if hasattr(array, "detach"):
        array = array.detach().cpu().numpy()
    return np.asarray(array)


def write_safetensors(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Write tensors by name in the safetensors format."""
    header, parts, place = {}, [], 0
    for name, tensor in state.items():
        data = tensor.detach().cpu().contiguous().numpy().tobytes()
        header[name] = {
            "dtype": _KINDS[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [place, place + len(data)],
        }
        place += len(data)
        parts.append(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
