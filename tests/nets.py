"""Mirrored nets with the same random values, for the tests beside this file."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Any

from halves import GLUON, gnn, nn, randomize

import d2lutils.pytorch
from d2lutils import parity

sequence = GLUON.sequence
MODULES = [module.name for module in pkgutil.iter_modules(d2lutils.pytorch.__path__)]


def halves(module: str) -> tuple[ModuleType, ModuleType]:
    """The two modules with that name: (Gluon's, PyTorch's)."""
    one, two = (
        importlib.import_module(f"d2lutils.{half}.{module}")
        for half in ("gluon", "pytorch")
    )
    return one, two


def pair(gluon: Any, pytorch: Any, seed: int = 0) -> tuple[Any, Any]:
    """Both nets with the same random values; the Gluon one is initialised by this."""
    randomize(pytorch, seed)
    parity.copy_parameters(pytorch, gluon)
    return gluon, pytorch


def gluon_net(**norm: Any) -> Any:
    """conv → batch norm → ReLU → conv → average → dense, from two channels to three."""
    return sequence(
        gnn.Conv2D(4, 3, padding=1, in_channels=2, use_bias=False),
        gnn.BatchNorm(in_channels=4, **norm),
        gnn.Activation("relu"),
        gnn.Conv2D(4, 3, padding=1, in_channels=4, use_bias=False),
        gnn.GlobalAvgPool2D(),
        gnn.Flatten(),
        gnn.Dense(3, in_units=4),
    )


def torch_net(stride: int = 1, momentum: Any = 0.1) -> Any:
    """Its mirror image, or nearly so."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4, momentum=momentum),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, stride=stride, padding=1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def failing(report: parity.Report) -> dict[tuple[str, str], parity.Row]:
    """The rows that break their bound, by quantity and mode."""
    return {(row.quantity, row.mode): row for row in report.rows if not row.ok}
