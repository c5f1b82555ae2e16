"""Exception messages without the parts that differ from one machine to the next."""

from __future__ import annotations

import re

__all__ = ["ConversionError", "reason", "without_places"]


class ConversionError(ValueError):
    """What cannot be read or converted, and where it stands."""


_NOISE_LINE = re.compile(r'Traceback \(most recent|File "|Stack trace|\[bt\]|[~^\s]*$')
_CPP_PLACE = re.compile(
    r"(\[\d\d:\d\d:\d\d\]\s*)|([\w.+~/\\-]*\.(cc|cpp|cu|cuh|h|hpp|py):\d+:?\s*)"
    # The counter in an operator's name depends on what ran before.
    r"|(Error in operator \S+:\s*)"
)


def reason(error: BaseException) -> str:
    """The first informative line of an exception's message, without file locations."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not _NOISE_LINE.match(line)]
    if not lines:
        return type(error).__name__
    line = lines[0]
    if line.endswith(":") and len(lines) > 1:
        line = f"{line} {lines[1]}"
    # PyTorch 2.15 begins matrix-product errors with the operator: "addmm: mat1 and …".
    line = re.sub(rf"^({type(error).__name__}|MXNetError|\w*mm):\s*", "", line)
    line = _CPP_PLACE.sub("", line)
    return without_places(line).strip().rstrip(":").rstrip()


def without_places(text: str) -> str:
    """Shorten absolute paths to file names, and hide memory addresses."""
    text = re.sub(r"(?<![\w.:/])(?:~|[A-Za-z]:)?[/\\](?:[\w.+@-]+[/\\])+", "", text)
    return re.sub(r"\b0x[0-9a-fA-F]{6,}", "0x…", text)
