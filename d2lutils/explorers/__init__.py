"""Interactive figures: one self-contained HTML fragment each.

Each has two files: `<name>.py` computes the results for the reader's settings, and
`<name>.js` draws them. The function that shows the figure has the same name:

    from d2lutils.explorers.residual_builder import residual_builder
    residual_builder()

`base` explains how to write one. No framework is imported.
"""

from d2lutils.explorers.base import (
    Control,
    Explorer,
    choice,
    clicked,
    number,
    opener,
    slider,
    switch,
)

__all__ = [
    "Control",
    "Explorer",
    "choice",
    "clicked",
    "number",
    "opener",
    "slider",
    "switch",
]
