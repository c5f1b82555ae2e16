"""Interactive figures: one self-contained HTML fragment each.

Each module `<name>.py` has `compute(**settings) -> dict`, which says everything the
figure shows, and a function `<name>(**settings)` that returns an `Explorer`:

    from d2lutils.explorers.residual_builder import residual_builder
    residual_builder()

`base` is the contract they share. No framework is imported.
"""

from d2lutils.explorers.base import (
    Control,
    Explorer,
    View,
    choice,
    number,
    slider,
    switch,
)

__all__ = ["Control", "Explorer", "View", "choice", "number", "slider", "switch"]
