"""What an exception says, in one line and without places."""

from __future__ import annotations

import pytest

from d2lutils._errors import reason, without_places
from d2lutils.compat import mx


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("short"), "short"),
        (ValueError("\n  first \nsecond"), "first"),
        (AssertionError(), "AssertionError"),
        (
            RuntimeError(
                'Traceback (most recent call last):\n  File "../src/a.cc", line 1\n'
                "MXNetError: Check failed: a == b (1 vs. 2)"
            ),
            "Check failed: a == b (1 vs. 2)",
        ),
        (RuntimeError("RuntimeError: twice named"), "twice named"),
        (
            ValueError("[12:30:01] src/operator/a-inl.h:134: Check failed: b"),
            "Check failed: b",
        ),
        (ValueError("Error in operator net0_conv12: it broke"), "it broke"),
        (
            ValueError("The message begins here:\n  and ends here"),
            "The message begins here: and ends here",
        ),
        (RuntimeError("addmm: mat1 and mat2 differ"), "mat1 and mat2 differ"),
        (RuntimeError("mm: mat1 and mat2 differ"), "mat1 and mat2 differ"),
        (OSError("no file /home/reader/book/data.npz"), "no file data.npz"),
        (TypeError("<Net object at 0x7f12ab34cd56>"), "<Net object at 0x…>"),
        (ValueError("^^^^\n~~~\nwhat went wrong:"), "what went wrong"),
    ],
)
def test_reason(error: Exception, text: str) -> None:
    assert reason(error) == text


@pytest.mark.needs_mxnet
def test_reason_of_a_real_mxnet_error() -> None:
    with pytest.raises(mx.MXNetError) as caught:
        mx.nd.dot(mx.nd.ones((2, 3)), mx.nd.ones((2, 3))).wait_to_read()
    text = reason(caught.value)
    assert "\n" not in text
    assert "src/" not in text
    assert "dot" in text or "Shape" in text or "shape" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words, 3/4 of them", "plain words, 3/4 of them"),
        ("in /usr/lib/python3/site.py line 3", "in site.py line 3"),
        ("in ~/book/a.py", "in a.py"),
        (r"in C:\Users\me\a.py", "in a.py"),
        ("at 0x7ffe1234 and 0x12", "at 0x… and 0x12"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("x of shape (2, 3)/(2, 4)", "x of shape (2, 3)/(2, 4)"),
    ],
)
def test_without_places(text: str, expected: str) -> None:
    assert without_places(text) == expected
