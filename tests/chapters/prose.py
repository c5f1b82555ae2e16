"""The rule for numbers in prose. Pure functions over a notebook's cells.

A number that a reader could mistake for a result must come from the code beside it.
A number counts if it has a decimal point or at least two digits, or if a unit or a
comparison follows ("5 %", "3 ms", "3 times faster"). It is fine if

- the same number occurs in the code or the outputs of its section, which reaches from
  one ``##`` heading to the next; the part above the first heading and the first section
  are one;
- its sentence has a citation, a link to the references page;
- it stands in a code span or in ``$math$`` that occurs as a whole in that code or
  output;
- it is part of a name (``CIFAR-10``, ``float64``, ``Python 3.11 or 3.12``, ``1.9.1``,
  ``64-bit``, ``CC BY 4.0``) or a year ("in 2016");
- it stands in the section "References".

The integers from 0 to 10 are free where no unit follows.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.stamp import HURRY

NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?|\.\d+"
UNIT = (
    r"\s?(?:%|percent\b|ms\b|µs\b|s\b|seconds?\b|minutes?\b|[kMG]i?B\b|bytes\b)"
    r"|\s?(?:x|×|times)\s(?:faster|slower|less|more|smaller|larger|cheaper)\b"
)
CANDIDATE = re.compile(
    rf"(?<![\w.])(?<![A-Za-z]-)(?P<number>{NUMBER})(?P<unit>{UNIT})?", re.IGNORECASE
)
ANY_NUMBER = re.compile(NUMBER, re.IGNORECASE)
CITATION = re.compile(r"\]\((?:(?:\.\./)+book/|\./)?references\.(?:md|html)#[^)\s]+\)")
NAMES = re.compile(
    r"\b(?:MXNet|PyTorch|Python|NumPy|CUDA|Jupyter Book|matplotlib|version)"
    r" \d+(?:\.\w+)*(?:(?:, | or | and | to |, or )\d+\.\d+)*"
    r"|\b\d+\.\d+\.\d+\b|\bCC BY \d\.\d"
    r"|\b\d+-(?:bit|D|d)\b|\bx86-64\b"
    r"|\b(?:in|since|until|of|by|from)\s(?:19|20)\d\d\b"
)
FENCE = re.compile(r"^(```+|~~~+).*?^\1\s*$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(
    r"(?P<code>(?P<tick>`+)(?P<inner>.+?)(?P=tick))|\$\$?(?P<math>[^$]+)\$"
)
FREE = {float(n) for n in range(11)}


@dataclass(frozen=True)
class Planted:
    """A number in prose that nothing beside it produces."""

    cell: int
    sentence: str
    number: str

    def __str__(self) -> str:
        sentence = " ".join(self.sentence.split())
        shown = sentence if len(sentence) <= 160 else sentence[:159] + "…"
        return (
            f"cell {self.cell}: {self.number} is in no code or output of its section, "
            f'and its sentence has no citation: "{shown}"'
        )


@dataclass
class Section:
    """A heading's cells: their text with its cell numbers, and their evidence."""

    title: str
    texts: list[tuple[int, str]]
    evidence: str = ""


def planted_numbers(cells: Sequence[Mapping[str, Any]]) -> list[Planted]:
    """Find the numbers in a notebook's prose that have no evidence beside them."""
    found = []
    for section in sections(cells):
        if section.title.lower() == "references":
            continue
        known = numbers_in(section.evidence)
        squeezed = _squeeze(section.evidence)
        for cell, text in section.texts:
            # Judged beside the cells it links to, in tests/book/test_data_files.py.
            in_a_hurry = cells[cell]["source"].startswith(HURRY)
            for sentence in [] if in_a_hurry else sentences(text):
                if not CITATION.search(sentence):
                    found += [
                        Planted(cell, sentence, number)
                        for number in unknown_numbers(sentence, known, squeezed)
                    ]
    return found


def sections(cells: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Split a notebook at its ``##`` headings; the first section has the opening."""
    result = [Section("", [])]
    opening = True
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            result[-1].evidence += "\n" + evidence_of(cell)
            continue
        for part in re.split(r"^(?=## )", _shield_fences(cell["source"]), flags=re.M):
            if part.startswith("## "):
                title = part.splitlines()[0].removeprefix("## ").strip()
                if opening and title.lower() != "references":
                    result[-1].title, opening = title, False
                else:
                    result.append(Section(title, []))
            if part.strip():
                result[-1].texts.append((number, part))
    return result


def evidence_of(cell: Mapping[str, Any]) -> str:
    """A code cell's source and the text of its outputs, markup taken away."""
    texts = [cell["source"]]
    for output in cell.get("outputs", []):
        texts.append(output.get("text", ""))
        for mime, value in output.get("data", {}).items():
            if mime == "text/html":
                value = re.sub(r"<(style|script).*?</\1>", " ", value, flags=re.S)
                value = html.unescape(re.sub(r"<[^>]*>", " ", value))
            if mime.startswith("text/"):
                texts.append(value)
    return "\n".join(texts)


def unknown_numbers(sentence: str, known: set[float], evidence: str) -> Iterator[str]:
    """The sentence's numbers that count and are not in the evidence."""
    text = re.sub(r"\]\([^)]*\)", "]", sentence)  # a link's target is no prose
    text = re.sub(r"<[a-zA-Z/!][^>]*>|https?://\S+", " ", text)

    def open_span(match: re.Match[str]) -> str:
        inner = match["inner"] or match["math"]
        if not _is_number(inner) and _squeeze(inner) in evidence:
            return " "
        # 10^{-3} is 1e-3; spans are read like prose, without their markup
        inner = re.sub(r"\b10\s*\^\s*\{?\s*(-?\d+)\s*\}?", r"1e\1", inner)
        return f" {re.sub(r'[{}$]', ' ', inner)} "

    text = SPAN.sub(open_span, text)
    text = re.sub(r"(?<=\d)\s?(?:x|×|\\times)\s?(?=\d)", " × ", text)
    text = NAMES.sub(" ", text)
    for match in CANDIDATE.finditer(text):
        number, unit = match["number"], match["unit"]
        value = _value(number)
        if unit is None and value in FREE and "." not in number:
            continue
        percent = unit is not None and unit.strip().lower() in ("%", "percent")
        if value in known or (percent and round(value / 100, 12) in known):
            continue
        yield (number + (unit or "")).strip()


def numbers_in(text: str) -> set[float]:
    """All numbers in code or output, wherever they stand; ``1,234`` also as parts."""
    found: set[float] = set()
    for match in ANY_NUMBER.findall(text.replace("_", "")):
        found.add(_value(match))
        found |= {float(part) for part in match.split(",") if _is_number(part)}
    return found


def sentences(text: str) -> Iterator[str]:
    """Split Markdown into sentences: paragraphs, list items and table rows first."""
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*+|#>]|\d+\.)\s?)", text)
    for block in blocks:
        block = re.sub(r"^\s*\d+\.\s", "", block)  # the number of a list item
        block = re.sub(r"^#+\s+(?:Exercise\s)?\d+[.:]?\s", "", block)
        parts = re.split(r"(?<=[.!?])(?<!et al\.)(?<!\be\.g\.)(?<!\bi\.e\.)\s+", block)
        yield from (part for part in parts if part.strip())


def _shield_fences(text: str) -> str:
    """Indent fenced code: a comment there is no heading. Its numbers count."""
    return FENCE.sub(lambda match: match[0].replace("\n#", "\n #"), text)


def _squeeze(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def _is_number(text: str) -> bool:
    return re.fullmatch(NUMBER, text.strip(), re.IGNORECASE) is not None
