"""The old name of the checks, for modules that still call them by it."""

from d2lutils._arguments import (
    axes,
    boolean,
    choice,
    integer,
    non_negative,
    number,
    positive,
    shape_of,
)
from d2lutils._errors import reason, without_places
from d2lutils._training import some_parameters, some_trained

__all__ = [
    "axes",
    "boolean",
    "choice",
    "integer",
    "non_negative",
    "number",
    "positive",
    "reason",
    "shape_of",
    "some_parameters",
    "some_trained",
    "without_places",
]
