"""The one comparer of stored and fresh outputs. Pure functions, no kernel, no pytest.

A cell belongs to one of three classes, which its metadata says:

- *exact*, the default: the same output types, the same text in every representation.
- *approx*: ``"compare": {"rtol": …, "atol": …, "image": …, "reason": "…"}``. Texts must
  match once numbers are taken out; the numbers are compared pairwise with
  ``|stored - fresh| <= atol + rtol * |stored|``.
- *ignore*: the tag ``nbval-ignore-output``, and the reason in ``compare.reason``.

In every class a fresh error or anything on stderr is a mismatch.

Images are decoded. In an exact cell the mean difference may be 0.5 of 255 levels, and
at most 2 in 100,000 pixels may differ by more than 32 levels: Matplotlib's wheels bring
their own fonts and rasteriser, so two machines differ in the last bit of an
anti-aliased edge or not at all, while a moved marker or another digit changes at least
a hundred pixels of a figure with a million, and a mean alone would never see it.
``compare.image`` replaces both bounds by one on the mean, for curves of a training.
"""

from __future__ import annotations

import base64
import difflib
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

IGNORE_TAG = "nbval-ignore-output"
MAX_IGNORED = 2
#: Prints which device there is, and counts for no ignored cell.
DEVICE = "use_gpu()"
EXACT_IMAGE_MEAN = 0.5
EXACT_PIXEL_LEVELS = 32
EXACT_PIXEL_SHARE = 2e-5
GLUON_TAGS = {"gluon", "both"}
SKIPPED = re.compile(r"Skipped, since this cell needs MXNet\. \S.*\.\n")
EXERCISE_TAGS = {"exercise", "solution"}
UNJUDGED = re.compile(
    r"^\w+: cannot be judged here\. MXNet is not installed\b.*\n\Z", re.MULTILINE
)
KEYS = {"rtol", "atol", "image", "reason"}
NUMBER = re.compile(
    r"(?<![\w.#])[-+]?"
    r"(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?(?:[eE][-+]?\d+)?"
    r"|\.\d+(?:[eE][-+]?\d+)?|nan\b|inf\b)"
)


@dataclass(frozen=True)
class Policy:
    """How a cell's outputs are compared; ``image=None`` means the exact rule."""

    kind: str = "exact"
    rtol: float = 0.0
    atol: float = 0.0
    image: float | None = None


def policy_of(metadata: Mapping[str, Any]) -> Policy:
    """Read a cell's class from its metadata; ``ValueError`` if it is malformed."""
    settings = metadata.get("compare")
    ignored = IGNORE_TAG in metadata.get("tags", [])
    if settings is None:
        if ignored:
            raise ValueError(f"{IGNORE_TAG} needs a reason in metadata.compare.reason")
        return Policy()
    unknown = set(settings) - KEYS
    if unknown:
        raise ValueError(f"metadata.compare has unknown keys {sorted(unknown)}")
    reason = settings.get("reason")
    if not isinstance(reason, str) or len(reason.split()) < 2:
        raise ValueError("metadata.compare.reason must say why, in words")
    if ignored:
        return Policy("ignore")
    if set(settings) == {"reason"}:
        raise ValueError("metadata.compare gives a reason but no rtol, atol or image")
    bounds = {}
    for key in ("rtol", "atol", "image"):
        value = settings.get(key, None if key == "image" else 0.0)
        good = value is None or (isinstance(value, int | float) and 0 <= value < 1e9)
        if not good:
            raise ValueError(f"metadata.compare.{key} must be a number >= 0")
        bounds[key] = value
    return Policy("approx", **bounds)


def compare_cell(
    stored: Sequence[Mapping[str, Any]],
    fresh: Sequence[Mapping[str, Any]],
    metadata: Mapping[str, Any],
) -> list[str]:
    """Say how the fresh outputs of a cell differ from the stored ones, if at all."""
    try:
        policy = policy_of(metadata)
    except ValueError as problem:
        return [str(problem)]
    found = []
    for output in fresh:
        if output["output_type"] == "error":
            found.append(f"{output['ename']} was raised: {output['evalue']}")
        elif output.get("name") == "stderr":
            found.append(f"the cell wrote to stderr:\n{output['text']}")
    if found or policy.kind == "ignore":
        return found
    kinds = [[_kind(output) for output in outputs] for outputs in (stored, fresh)]
    if kinds[0] != kinds[1]:
        return [
            "other outputs:"
            f"\n  stored: {', '.join(kinds[0]) or 'none'}"
            f"\n  fresh:  {', '.join(kinds[1]) or 'none'}"
        ]
    for old, new in zip(stored, fresh, strict=True):
        found += _compare_output(old, new, policy)
    return found


def needs_gluon(metadata: Mapping[str, Any]) -> bool:
    """Whether a cell cannot run without MXNet."""
    return bool(GLUON_TAGS.intersection(metadata.get("tags", [])))


def compare_without_gluon(
    stored: Sequence[Mapping[str, Any]],
    fresh: Sequence[Mapping[str, Any]],
    metadata: Mapping[str, Any],
) -> list[str]:
    """The same where MXNet is missing: only what must be the same there, too.

    A cell that needs MXNet says why it was skipped; an exercise may say that it cannot
    be judged. What comes out of a training may have begun with weights that a skipped
    cell would have set, so such a cell has to run, and no more.
    """
    if needs_gluon(metadata):
        return check_skipped(fresh)
    text = "".join(output.get("text", "") for output in fresh)
    if EXERCISE_TAGS.intersection(metadata.get("tags", [])) and UNJUDGED.search(text):
        return compare_cell(fresh, fresh, metadata)
    reference = fresh if "compare" in metadata else stored
    return compare_cell(reference, fresh, metadata)


def check_skipped(fresh: Sequence[Mapping[str, Any]]) -> list[str]:
    """Judge a cell that needs MXNet where there is none: one line says why."""
    text = "".join(o.get("text", "") for o in fresh if o.get("name") == "stdout")
    kinds = {_kind(output) for output in fresh}
    if kinds == {"stream stdout"} and SKIPPED.fullmatch(text):
        return []
    return [
        "not one line that says why the cell was skipped: "
        f"{', '.join(sorted(kinds)) or 'no output'} {text!r}"
    ]


def _kind(output: Mapping[str, Any]) -> str:
    """An output's type with what tells two of that type apart."""
    kind: str = output["output_type"]
    if kind == "stream":
        return f"stream {output['name']}"
    if kind == "error":
        return f"error {output['ename']}"
    return f"{kind} {'+'.join(sorted(output['data']))}"


def _compare_output(
    old: Mapping[str, Any], new: Mapping[str, Any], policy: Policy
) -> list[str]:
    if old["output_type"] == "error":
        return []  # the names were compared as part of the kind
    if old["output_type"] == "stream":
        return compare_text(old["text"], new["text"], policy, old["name"])
    found = []
    for mime, value in old["data"].items():
        if mime in ("image/png", "image/jpeg"):
            found += compare_image(value, new["data"][mime], policy)
        elif isinstance(value, str):
            found += compare_text(value, new["data"][mime], policy, mime)
        elif value != new["data"][mime]:
            found.append(f"{mime} differs")
    return found


def compare_text(old: str, new: str, policy: Policy, what: str = "text") -> list[str]:
    """Compare two texts, exactly or with numbers within the policy's tolerances."""
    if old == new:
        return []
    if policy.kind == "exact":
        return [f"{what} differs:\n{_diff(old, new)}"]
    if _without_numbers(old) != _without_numbers(new):
        return [f"{what} differs in more than its numbers:\n{_diff(old, new)}"]
    found = []
    for a, b in zip(NUMBER.findall(old), NUMBER.findall(new), strict=True):
        if not _close(_number(a), _number(b), policy):
            found.append(
                f"{what}: {a} was stored, {b} is fresh (rtol={policy.rtol:g}, "
                f"atol={policy.atol:g})"
            )
    return found


def _without_numbers(text: str) -> str:
    """A text's shape: each number a mark; padding and table rules count as one."""
    text = NUMBER.sub("\N{NUMERO SIGN}", text)
    return re.sub(r"-{2,}", "--", re.sub(r"[ \t]+", " ", text))


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _close(old: float, new: float, policy: Policy) -> bool:
    if not (math.isfinite(old) and math.isfinite(new)):
        return old == new or (math.isnan(old) and math.isnan(new))
    return abs(old - new) <= policy.atol + policy.rtol * abs(old)


def compare_image(old: str, new: str, policy: Policy) -> list[str]:
    """Compare two base64 images by their decoded pixels; sizes must agree."""
    if old == new:
        return []
    a, b = _pixels(old), _pixels(new)
    if a.shape != b.shape:
        sizes = [f"{image.shape[1]} x {image.shape[0]}" for image in (a, b)]
        return [f"image: {sizes[0]} pixels were stored, {sizes[1]} are fresh"]
    difference = np.abs(a - b)
    mean = float(difference.mean())
    bound = EXACT_IMAGE_MEAN if policy.image is None else policy.image
    if mean > bound:
        return [f"image: mean difference {mean:.3f} of 255 levels, allowed {bound:g}"]
    share = float((difference.max(axis=2) > EXACT_PIXEL_LEVELS).mean())
    if policy.image is None and share > EXACT_PIXEL_SHARE:
        return [
            f"image: {share:.4%} of the pixels differ by more than "
            f"{EXACT_PIXEL_LEVELS} levels, allowed {EXACT_PIXEL_SHARE:.4%}"
        ]
    return []


def _pixels(data: str) -> np.ndarray:
    """A base64 image on white, as floats of shape (height, width, 3)."""
    image = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    pixels = np.asarray(Image.alpha_composite(white, image).convert("RGB"))
    return pixels.astype(np.float64)


def _diff(old: str, new: str, limit: int = 40) -> str:
    lines = list(
        difflib.unified_diff(
            old.splitlines(), new.splitlines(), "stored", "fresh", n=1, lineterm=""
        )
    )
    shown = [line if len(line) <= 200 else line[:199] + "…" for line in lines[:limit]]
    if len(lines) > limit:
        shown.append(f"… {len(lines) - limit} more lines")
    if not lines:
        shown = ["only the line endings or the last newline differ"]
    elif any(len(line) > 200 for line in lines[:limit]):
        place = next(
            (i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b),
            min(len(old), len(new)),
        )
        around = slice(max(0, place - 60), place + 60)
        shown.append(f"first difference: {old[around]!r} became {new[around]!r}")
    return "\n".join(f"  {line}" for line in shown)


def check_stored(nb: Mapping[str, Any]) -> list[str]:
    """Judge a stored notebook by itself: was it run once, top to bottom, and well?"""
    found, ignored, count = [], [], 0
    for number, cell in enumerate(nb["cells"]):
        if cell["cell_type"] != "code":
            continue
        where, count = f"cell {number} ({cell.get('id', 'no id')})", count + 1
        actual = cell.get("execution_count")
        if actual is None:
            found.append(f"{where} was never executed: `make execute`")
        elif actual != count:
            found.append(f"{where} has execution count {actual}, expected {count}")
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                found.append(f"{where} stores an error; show it with show.error")
            if output.get("name") == "stderr":
                found.append(f"{where} stores stderr output")
            result = output["output_type"] == "execute_result"
            if result and output.get("execution_count") != actual:
                found.append(f"{where}: its result has another execution count")
        try:
            ignores = policy_of(cell["metadata"]).kind == "ignore"
            if ignores and DEVICE not in cell["source"]:
                ignored.append(where)
        except ValueError as problem:
            found.append(f"{where}: {problem}")
    if len(ignored) > MAX_IGNORED:
        found.append(
            f"outputs of {len(ignored)} cells are ignored, {MAX_IGNORED} are allowed: "
            f"{', '.join(ignored)}"
        )
    return found
