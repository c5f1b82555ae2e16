"""Interactive figures: one self-contained HTML fragment each.

Of each there are two files: `<name>.py` says what is true of the settings, and
`<name>.js` draws it. The function that shows it has the same name:

    from d2lutils.explorers.residual_builder import residual_builder
    residual_builder()

`base` says how to write one. No framework is imported.
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
