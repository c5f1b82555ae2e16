"""The explorers and settings to try them with, for the tests of scripts and pages."""

from __future__ import annotations

import importlib
import random
from dataclasses import dataclass
from typing import Any

from d2lutils.explorers import Explorer

Settings = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One explorer.

    Attributes:
        name: of its module and its function.
        press: a control, a key, and the value that the key gives it from the opening
            settings, which changes the verdict.
        corners: changes to the opening settings.
    """

    name: str
    press: tuple[str, str, Any]
    corners: tuple[Settings, ...]

    @property
    def module(self) -> Any:
        return importlib.import_module(f"d2lutils.explorers.{self.name}")

    def make(self, **changes: Any) -> Explorer:
        return getattr(self.module, self.name)(**changes)

    def compute(self, **settings: Any) -> dict[str, Any]:
        return self.module.compute(**settings)

    def settings(self, count: int, seed: int) -> list[Settings]:
        """The corners, then what the controls can show at random."""
        explorer, rng = self.make(), random.Random(seed)
        drawn = [explorer.settings | corner for corner in self.corners]
        return drawn + [from_controls(explorer, rng) for _ in range(count)]


def from_controls(explorer: Explorer, rng: random.Random) -> Settings:
    """Settings that the controls can show; every third setting stays as it opens."""
    settings = dict(explorer.settings)
    for control in explorer.controls:
        if rng.random() < 1 / 3:
            continue
        if control.kind == "select":
            settings[control.name] = rng.choice(control.options)[0]
        elif control.kind == "checkbox":
            settings[control.name] = rng.random() < 0.5
        else:
            steps = round((control.high - control.low) / control.step)
            # The low end is where things stop fitting: visit it often.
            k = rng.randint(0, steps if rng.random() < 0.7 else min(steps, 10))
            value = round(control.low + k * control.step, 10)
            settings[control.name] = int(value) if value == int(value) else value
    return settings


ALL = (
    Case(
        "residual_builder",
        ("padding", "ArrowRight", 1),
        (
            {"padding": 1, "shortcut": "projection"},
            {"length": 1, "kernel_size": 9, "chain_length": 6},
            {"length": 128, "in_channels": 64, "channels": 1, "shortcut": "zeros"},
            {"length": 128, "kernel_size": 1, "padding": 4, "chain_length": 6},
            {"length": 10, "padding": 2},
            {"length": 8, "kernel_size": 4, "chain_length": 4, "padding": 1},
            {"channels": 16, "padding": 1, "shortcut": "zeros"},
        ),
    ),
    Case(
        "pyramid_widths",
        ("alpha", "ArrowUp", 49),
        (
            {"rounding": "exact"},
            {"alpha": 108},
            {"alpha": 1, "widening": "multiplicative"},
            {"alpha": 300, "widening": "multiplicative", "depth": 272},
            # The sixth root of 64 is 2, on the nose.
            {"depth": 20, "alpha": 64, "block": "bottleneck"}
            | {"widening": "multiplicative"},
        ),
    ),
    Case(
        "stochastic_grid",
        ("mode", "ArrowUp", "batch"),
        (
            {"mode": "batch", "rule": "paper", "drop_prob": 0.5},
            {"mode": "batch", "rule": "end to end", "drop_prob": 0.5},
            {"mode": "batch", "rule": "from zero", "drop_prob": 1},
            {"num_blocks": 1, "rule": "end to end", "samples": 1, "drop_prob": 1},
            {"num_blocks": 54, "samples": 16, "drop_prob": 1, "seed": 999},
        ),
    ),
    Case(
        "dimensions",
        ("n", "ArrowRight", 225),
        (
            {"n": 227},
            {"padding": 2, "pin": 48},
            {"ceil_mode": True, "pin": 219},
            {"n": 60},
            {"chain": "conv", "ceil_mode": True},
            {"chain": "conv", "n": 20, "kernel_size": 2, "stride": 5, "pin": 10},
            {"chain": "conv", "n": 32, "kernel_size": 1, "stride": 2, "padding": 8},
            # PyTorch drops the window that would start in the padding.
            {"chain": "pool", "n": 5, "kernel_size": 2, "stride": 3, "padding": 1}
            | {"ceil_mode": True},
            {"chain": "pool", "padding": 6},
            {"chain": "pool", "dilation": 2, "framework": "gluon"},
        ),
    ),
    Case(
        "memory_ledger",
        ("size", "ArrowLeft", 223),
        (
            {"batch_size": 32, "optimizer": "sgd"},
            {"dtype": "float16", "framework": "gluon"},
            {"size": 66},
            {"net": "cifar", "size": 256, "batch_size": 256, "dtype": "float64"},
            {"net": "cifar", "size": 32, "inplace": True, "mode": "inference"},
            {"net": "small", "size": 28, "dropout": False},
        ),
    ),
    Case(
        "kernel_mixer",
        ("vertical", "ArrowRight", 0.6),
        (
            {"inside": False},
            {"solo": 0},
            {"vertical": 0, "horizontal": 0},
            {"vertical": 0, "horizontal": 0, "blur": 0, "identity": 0},
            {"side": 256},
        ),
    ),
    Case(
        "batch_fold",
        ("batch_size", "ArrowUp", 2),
        (
            {"batch_size": 4, "channels": 4, "order": "example", "pin": 7},
            {"batch_size": 3, "channels": 2, "samples": "equal", "pin": 2},
            {"batch_size": 3, "order": "reverse", "handed": "reverse", "pin": 0},
            {"batch_size": 2, "order": "example", "samples": "constant"},
            {"channels": 1, "kernels": "shared", "order": "example"},
        ),
    ),
)
CASES = {case.name: case for case in ALL}
