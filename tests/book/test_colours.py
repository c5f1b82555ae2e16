"""Colours that mean different things stay apart for everybody; code can be read."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from d2lutils import show

#: How far apart colours have to be in Lab; 2.3 is just noticed side by side.
APART = 20.0


def matrix(numbers: str) -> np.ndarray:
    """Nine numbers as three rows."""
    return np.array(numbers.split(), float).reshape(3, 3)


# Machado, Oliveira and Fernandes, 2009, at full severity, on linear RGB.
SIGHT = {
    "all three cones": np.eye(3),
    "protanopia": matrix(
        "0.152286 1.052583 -0.204868  0.114503 0.786281 0.099216 "
        "-0.003882 -0.048116 1.051998"
    ),
    "deuteranopia": matrix(
        "0.367322 0.860646 -0.227968  0.280085 0.672501 0.047413 "
        "-0.011820 0.042940 0.968881"
    ),
    "tritanopia": matrix(
        "1.255528 -0.076749 -0.178779  -0.078411 0.930809 0.147602 "
        "0.004733 0.691367 0.303900"
    ),
}
TO_XYZ = matrix(
    "0.4124564 0.3575761 0.1804375  0.2126729 0.7151522 0.0721750 "
    "0.0193339 0.1191920 0.9503041"
)
# What the dark book does to figures: invert(1) hue-rotate(180deg).
ROTATE = matrix("-0.574 1.43 0.144  0.426 0.43 0.144  0.426 1.43 -0.856")


def linear(color: str, inverted: bool = False) -> np.ndarray:
    """``#rrggbb`` as linear RGB, also as the dark book shows it in a figure."""
    rgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    rgb = np.clip(ROTATE @ (1 - rgb), 0, 1) if inverted else rgb
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(color: np.ndarray, sight: str) -> np.ndarray:
    """Linear RGB in Lab, as somebody sees it."""
    xyz = TO_XYZ @ np.clip(SIGHT[sight] @ color, 0, 1) / TO_XYZ.sum(axis=1)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def too_close(*colors: np.ndarray) -> list[str]:
    """Who mixes up some of the colours."""
    return [
        sight
        for sight in SIGHT
        for a, b in itertools.combinations(colors, 2)
        if np.linalg.norm(lab(a, sight) - lab(b, sight)) < APART
    ]


def in_sheet(sheet: Path, name: str, theme: str) -> str:
    """What a style sheet says that a colour is in one theme."""
    text = sheet.read_text("utf-8")
    if both := re.search(rf"--{name}: light-dark\((#\w{{6}}), (#\w{{6}})\)", text):
        return both[1 + (theme == "dark")]
    rule = re.search(rf'data-theme="{theme}"\][^}}]*--{name}: (#\w{{6}})', text)
    assert rule, f"{sheet.name} sets no --{name}"
    return rule[1]


def test_mixed_up_colours_are_found() -> None:
    red, green, blue = map(linear, ("#d62728", "#2ca02c", "#1f77b4"))
    assert too_close(red, blue) == []
    assert too_close(red, green) == ["deuteranopia"]
    white = lab(linear("#ffffff"), "all three cones")
    assert np.allclose(white, [100, 0, 0], atol=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_means_different_things_differs_for_everybody(theme: str) -> None:
    page = ROOT / "book/assets/book.css"
    explorers = ROOT / "d2lutils/explorers/explorers.css"
    for sheet, names in ((page, ("gluon", "pytorch")), (explorers, ("ok", "bad"))):
        assert too_close(*(linear(in_sheet(sheet, n, theme)) for n in names)) == []
    for names in (("gluon", "pytorch"), ("good", "bad")):
        colors = (linear(show.COLORS[name], theme == "dark") for name in names)
        assert too_close(*colors) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_code_can_be_read(fixture_site: Path, theme: str) -> None:
    """WCAG's 4.5 for every kind of word; the visits of pages leave code out."""

    def luminance(color: str) -> float:
        return float(TO_XYZ[1] @ linear(color))

    static = fixture_site / "_static"
    behind = luminance(in_sheet(static / "book.css", "pst-color-surface", theme))
    pale, judged = [], 0
    for rule in (static / "pygments.css").read_text("utf-8").splitlines():
        color = re.search(rf'"{theme}"\] \.highlight .*[ {{;]color: (#\w{{6}})', rule)
        if color and not re.search(r"background|\.linenos|\.highlight \.w ", rule):
            dark, light = sorted((luminance(color[1]), behind))
            judged += 1
            if (light + 0.05) / (dark + 0.05) < 4.5:
                pale.append(rule)
    assert pale == []
    assert judged > 20
