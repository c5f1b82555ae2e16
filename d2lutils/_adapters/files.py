"""Parameters by name, from a dict or a file, and the names that MXNet gives them."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from d2lutils._adapters import (
    STATISTICS,
    Layer,
    Parameters,
    adapter_of,
    params,
    to_numpy,
)
from d2lutils._errors import ConversionError

# Gluon's and the symbols' names of what PyTorch calls weight, bias and so on.
_ROLES = {
    **{"gamma": "weight", "beta": "bias", "alpha": "weight"},
    **{"moving_mean": "running_mean", "moving_var": "running_var"},
}
# l0_i2h_weight of a recurrent layer, i2h_weight of a cell. Both frameworks have the
# gates in the same order: i, f, g, o of an LSTM and r, z, n of a GRU.
_RECURRENT = re.compile(r"(?:([lr])(\d+)_)?([ih])2([hr])_(weight|bias)")
# The end of a full name without dots, which tells the layer's name from the role.
_ENDING = re.compile(
    rf"(?:^|_)({_RECURRENT.pattern}|(?:running|moving)_(?:mean|var)"
    r"|weight|bias|gamma|beta|alpha)$"
)
_MXNET_FILE = b"\x12\x01\0\0\0\0\0\0"


def torch_role(name: str) -> str:
    """PyTorch's name of a parameter that Gluon may call otherwise."""
    found = _RECURRENT.fullmatch(name)
    if not found:
        return _ROLES.get(name, name)
    direction, layer, one, two, kind = found.groups()
    place = f"_l{layer}" if layer else ""
    return f"{kind}_{one}{two}{place}{'_reverse' if direction == 'r' else ''}"


def fixed_gamma(options: dict[str, Any]) -> dict[str, np.ndarray]:
    """Ones if `fix_gamma` is set: MXNet then computes with ones, whatever it stores."""
    return {"weight": np.ones(())} if options.get("fix_gamma") is True else {}


def norm_options(graph: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The options of the batch norms in a symbol's JSON, by their inputs' names."""
    nodes, found = graph["nodes"], {}
    for node in nodes:
        if node["op"] in ("BatchNorm", "BatchNorm_v1", "_contrib_SyncBatchNorm"):
            given = node.get("attrs", {})
            options = {
                "momentum": float(given.get("momentum", 0.9)),
                "fix_gamma": given.get("fix_gamma", "True") in ("True", "1"),
                "use_global_stats": given.get("use_global_stats") in ("True", "1"),
            }
            for index, *_ in node["inputs"][1:]:
                found[nodes[index]["name"]] = options
    return found


def layers_by_name(
    arrays: Mapping[str, Any], norms: Mapping[str, dict[str, Any]]
) -> list[Layer]:
    """Layers from the names of their parameters, each where its first one stands."""
    layers: dict[str, Layer] = {}
    for name, array in arrays.items():
        own = name.removeprefix("arg:").removeprefix("aux:")
        path, _, role = own.rpartition(".")
        ending = _ENDING.search(own)
        if not path and ending:
            path, role = own[: ending.start()], ending[1]
        if role == "num_batches_tracked":
            continue
        role = torch_role(role)
        if path not in layers:
            options = norms.get(own, {})
            layers[path] = Layer(
                path, "by name", {}, set(), {}, fixed_gamma(options), options
            )
        layers[path].tensors[role] = array
        if role not in STATISTICS:
            layers[path].trained.add(role)
    return list(layers.values())


class Arrays(Parameters):
    """Arrays by name, to copy from."""

    def __init__(
        self, owner: str, arrays: Mapping[str, Any], norms: Mapping[str, Any]
    ) -> None:
        self.owner = owner
        plain = {}
        for name, array in arrays.items():
            if not isinstance(name, str):
                raise TypeError(f"{owner}: source has a key that is no name: {name!r}")
            gluon = hasattr(array, "list_data")  # a Parameter
            plain[name] = to_numpy(array.list_data()[0] if gluon else array)
            if plain[name].dtype.kind not in "biufc":
                raise TypeError(
                    f"{owner}: source[{name!r}] must be an array, "
                    f"got {type(array).__name__}"
                )
        if not plain:
            raise ValueError(f"{owner}: source holds no arrays")
        self.layers = self.all_layers = layers_by_name(plain, norms)

    def get(self, tensor: Any) -> np.ndarray | None:
        return tensor

    def shape(self, tensor: Any) -> tuple[int, ...]:
        return tensor.shape


def _read(owner: str, path: Path) -> Arrays:
    """The arrays of a file that MXNet, PyTorch or NumPy has written."""
    if not path.is_file():
        raise FileNotFoundError(f"{owner}: source names no file: {path.name}")
    norms: dict[str, Any] = {}
    with path.open("rb") as file:
        start = file.read(len(_MXNET_FILE))
    if start == _MXNET_FILE:
        try:
            arrays = params.read(path)
        except ConversionError as error:
            raise ValueError(f"{owner}: source {error}") from None
        # `export` writes net-symbol.json beside net-0000.params. Only that file says
        # which gammas are fixed.
        graph = path.with_name(re.sub(r"-\d+$", "", path.stem) + "-symbol.json")
        if graph.is_file():
            norms = norm_options(json.loads(graph.read_text(encoding="utf-8")))
    elif zipfile.is_zipfile(path) and any(
        name.endswith(".npy") for name in zipfile.ZipFile(path).namelist()
    ):
        arrays = dict(np.load(path))
    else:
        import torch

        try:
            arrays = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ValueError(
                f"{owner}: source {path.name} is not what save_parameters, export, "
                "torch.save(net.state_dict(), …) or numpy.savez writes"
            ) from error
    if not isinstance(arrays, Mapping):
        raise ValueError(f"{owner}: source {path.name} holds arrays without names")
    return Arrays(owner, arrays, norms)


def source_of(owner: str, name: str, source: Any) -> Parameters:
    """The parameters of a net, a dict of arrays or a file, to copy from."""
    if isinstance(source, (str, Path)):
        return _read(owner, Path(source))
    # The ParameterDict that collect_params returns is no Mapping.
    if isinstance(source, Mapping) or hasattr(source, "get_constant"):
        return Arrays(owner, source, {})
    return adapter_of(owner, name, source, other=" (nor a file, nor arrays by name)")
