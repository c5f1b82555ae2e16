"""The rule for numbers in prose catches planted numbers and passes rightful ones."""

from __future__ import annotations

from typing import Any

import prose
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

OUTPUT = new_output("stream", name="stdout", text="(2, 10, 64) 98.06% 1e-10 0.965\n")
HTML = new_output(
    "display_data",
    data={"text/html": "<style>p{width:77px}</style><td>1,772,706</td>"},
)


def planted(text: str, heading: str = "## A section") -> list[str]:
    cells = [
        new_markdown_cell("# Title"),
        new_code_cell("kernel = 27 + 64\n", outputs=[OUTPUT, HTML]),
        new_markdown_cell("## Another\n\nWith nothing."),
        new_markdown_cell(f"{heading}\n\n{text}"),
        new_code_cell("kernel = 27 + 64\n", outputs=[OUTPUT, HTML]),
    ]
    return [found.number for found in prose.planted_numbers(cells)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("It reaches 97.3 % in the end.", "97.3 %"),
        ("It reaches 97.3% in the end.", "97.3%"),
        ("It takes 5 ms.", "5 ms"),
        ("It takes 7 seconds.", "7 seconds"),
        ("The file has 3 MB.", "3 MB"),
        ("It is 3 times faster.", "3 times faster"),
        ("It is 4x slower.", "4x slower"),
        ("The last of 28 positions.", "28"),
        ("A factor of 0.4 remains.", "0.4"),
        ("A factor of .4 remains.", ".4"),
        ("There are 1,772,707 parameters.", "1,772,707"),
        ("The bound is $10^{-9}$.", "1e-9"),
        ("The sum is `27 + 65`.", "65"),
        ("The sum is $27 + 65$.", "65"),
        ("A picture of 32x27.", "32"),
        ("A picture of 27 × 32.", "32"),
        ("- a point with 81 of them", "81"),
        ("| a | 81 |\n|---|---|", "81"),
        ("### Width 81", "81"),
        ("<p>Width 81</p>", "81"),
        ("```\nloss 0.31\n```", "0.31"),
        ("First [this](https://example.org/2).\nThen 81 of them.", "81"),
        ("The width is 77.", "77"),  # a style sheet is no evidence
        ("It was 0.966, [they say](references.html).", "0.966"),
    ],
)
def test_a_planted_number_is_caught(text: str, number: str) -> None:
    assert planted(text) == [number]


@pytest.mark.parametrize(
    "text",
    [
        "Three chunks, 3 of them, 10 channels.",
        "The kernel has 27 entries and 64 remain; 27 against 64.",
        "It reaches 98.06 % (that is 0.965).",
        "A share of 96.5 % is 0.965.",
        "There are 1,772,706 parameters, or 1772706.",
        "Within $10^{-10}$, that is `1e-10`.",
        "The sum is `27 + 64`, in math $27+64$.",
        "A shape of 27x64, or 27 × 64, or $27 \\times 64$.",
        "A ResNet-110 on CIFAR-10 in float64, Conv2d and x86-64, 64-bit.",
        "MXNet 1.9.1 was retired in 2023; Python 3.11 and NumPy 1.26 run it.",
        "They report 6.43 % ([He et al., 2015](../book/references.md#he2015deep)).",
        "See [this page](https://example.org/2016/1234.html) <https://x.org/55>.",
        '<img src="figure55.png" width="720">',
        "1. first\n2. second\n11. eleventh",
        "### Exercise 12: A chain",
        "The numbers 0, 1 and 10.",
        "```python\nkernel = 27 + 64\n```",
    ],
)
def test_a_rightful_number_passes(text: str) -> None:
    assert planted(text) == []


def test_evidence_of_another_section_does_not_count() -> None:
    cells: list[Any] = [
        new_markdown_cell("# Title"),
        new_markdown_cell("## One"),
        new_code_cell("width = 81"),
        new_markdown_cell("It is 81.\n\n## Two\n\nIt was 81."),
    ]
    found = prose.planted_numbers(cells)
    assert [(planted.cell, planted.sentence) for planted in found] == [
        (3, "It was 81.")
    ]
    assert "81" in str(found[0])
    assert "cell 3" in str(found[0])


def test_the_opening_belongs_to_the_first_section() -> None:
    cells: list[Any] = [
        new_markdown_cell("# Title\n\nWhy 81?"),
        new_markdown_cell("## One"),
        new_code_cell("width = 81"),
    ]
    assert prose.planted_numbers(cells) == []


def test_references_are_free_and_a_comment_in_code_is_no_heading() -> None:
    assert planted("arXiv 1512.03385, pages 770 to 778, 2016", "## References") == []
    assert planted("```python\n## 27\nx = 64\n```\n\nStill 64.") == []


def test_words_are_those_of_prose() -> None:
    cells: list[Any] = [
        new_markdown_cell("# A title\n\nTwo words `and code`.\n\n```\nnot these\n```"),
        new_code_cell("not_these = 1"),
        new_markdown_cell("## Here\n\n## References\n\nnor these"),
    ]
    assert prose.words(cells) == 6
