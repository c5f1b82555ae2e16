"""The explorers without a browser: their core, their fragments, their fallback."""

from __future__ import annotations

import html
import itertools
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2lutils.explorers import Explorer, View, choice, number, slider, switch
from d2lutils.explorers.base import esc, num
from d2lutils.explorers.residual_builder import (
    CONTROLS,
    FIRST_CALL,
    compute,
    residual_builder,
)

EXPLORERS = [residual_builder()]


def first_call(**changes: Any) -> dict[str, Any]:
    return compute(**FIRST_CALL | changes)


class TestResidualBuilder:
    def test_call_as_first_asked(self) -> None:
        result = compute()
        assert result["settings"] == FIRST_CALL
        assert result["ladder"] == [64, 31, 29, 27]
        assert result["branch"] == [27, 10]
        assert result["skip"] == [64, 10]
        assert result["sum"] == "27 + 64"
        assert result["reason"] == "lengths 27 and 64 differ"
        assert not result["addable"]
        assert result["output"] is None

    def test_projection_alone_stays_red(self) -> None:
        result = first_call(shortcut="projection")
        assert (result["sum"], result["addable"]) == ("27 + 32", False)

    def test_projection_and_padding(self) -> None:
        result = first_call(shortcut="projection", padding=1)
        assert (result["sum"], result["addable"]) == ("32 + 32", True)
        assert result["output"] == [32, 10]
        assert result["reason"] == ""

    def test_stride_one(self) -> None:
        assert first_call(stride=1)["sum"] == "58 + 64"
        assert first_call(stride=1, padding=1)["output"] == [64, 10]

    @pytest.mark.parametrize(
        ("shortcut", "reason"),
        [
            ("identity", "channels 16 and 10 differ"),
            ("projection", ""),
            ("zeros", ""),
        ],
    )
    def test_wider(self, shortcut: str, reason: str) -> None:
        result = first_call(channels=16, stride=1, padding=1, shortcut=shortcut)
        assert result["reason"] == reason

    def test_zeros_cannot_remove_channels(self) -> None:
        result = first_call(in_channels=16, padding=1, shortcut="zeros")
        assert result["skip"] == [32, 16]
        assert result["sum"] == "10×32 + 16×32"
        assert result["reason"] == "channels 10 and 16 differ"

    def test_window_that_does_not_fit(self) -> None:
        result = first_call(length=6, stride=1, shortcut="projection")
        assert result["ladder"] == [6, 4, 2, None]
        assert result["reason"] == "the kernel 3 does not fit length 2"
        assert (result["branch"], result["sum"]) == (None, "")
        result = first_call(length=2, kernel_size=5, padding=1)
        assert result["ladder"] == [2, None, None, None]
        assert result["reason"] == "the kernel 5 does not fit length 2 padded to 4"

    def test_even_kernels(self) -> None:
        """Never equal, except for a single chunk with a stride (by the floor)."""
        green = [
            (k, p, stride, chunks, n)
            for k, p, stride, chunks, n in itertools.product(
                (2, 4, 6, 8), range(5), range(1, 5), range(1, 5), range(1, 70)
            )
            if compute(n, 4, 4, k, stride, chunks, p, "projection")["addable"]
        ]
        assert {chunks for *_, chunks, _ in green} == {1}
        assert min(stride for _, _, stride, _, _ in green) == 2
        assert (2, 0, 2, 1, 64) in green

    def test_identity_never_strides(self) -> None:
        """Not even where padding makes the lengths equal by accident."""
        result = first_call(length=10, padding=2)
        assert result["branch"] == result["skip"] == [10, 10]
        assert "identity cannot stride" in result["reason"]
        for n, p in itertools.product(range(1, 130), range(5)):
            assert not first_call(length=n, padding=p)["addable"]

    def test_fewest_changes(self) -> None:
        values = {
            c.name: [value for value, _ in c.options]
            or range(int(c.low), int(c.high) + 1)
            for c in CONTROLS
        }
        assert set(values) == set(FIRST_CALL)

        def solutions(changes: int) -> list[dict[str, Any]]:
            found = []
            for names in itertools.combinations(values, changes):
                for row in itertools.product(*(values[name] for name in names)):
                    change = dict(zip(names, row, strict=True))
                    if any(FIRST_CALL[name] == v for name, v in change.items()):
                        continue
                    if first_call(**change)["addable"]:
                        found.append(change)
            return found

        assert solutions(1) == []
        lengths = ({"padding": 1}, {"kernel_size": 1})
        skips = ({"stride": 1}, {"shortcut": "projection"}, {"shortcut": "zeros"})
        pairs = [a | b for a in lengths for b in skips]
        found = solutions(2)
        assert len(found) == len(pairs) == 6
        assert all(pair in found for pair in pairs)

    @settings(max_examples=300, deadline=None)
    @given(
        n=st.integers(1, 80),
        kernel_size=st.integers(1, 9),
        stride=st.integers(1, 4),
        padding=st.integers(0, 5),
        chain_length=st.integers(1, 5),
    )
    def test_lengths_are_those_of_pytorch(
        self, n: int, kernel_size: int, stride: int, padding: int, chain_length: int
    ) -> None:
        torch = pytest.importorskip("torch")
        result = compute(
            n, 2, 3, kernel_size, stride, chain_length, padding, "projection"
        )
        x, ladder = torch.zeros(1, 2, n), [n]
        for i in range(chain_length):
            layer = torch.nn.Conv1d(
                x.shape[1], 3, kernel_size, stride if i == 0 else 1, padding
            )
            if result["ladder"][i + 1] is None:
                with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
                    layer(x)
                ladder += [None] * (chain_length - i)
                break
            x = layer(x)
            ladder.append(x.shape[-1])
        assert result["ladder"] == ladder
        skip = torch.nn.Conv1d(2, 3, 1, stride)(torch.zeros(1, 2, n))
        assert result["skip"] == [skip.shape[-1], skip.shape[1]]

    @settings(max_examples=200, deadline=None)
    @given(
        length=st.integers(1, 20),
        in_channels=st.integers(1, 3),
        channels=st.integers(1, 3),
        kernel_size=st.integers(1, 4),
        stride=st.integers(1, 3),
        chain_length=st.integers(1, 3),
        padding=st.integers(0, 2),
        shortcut=st.sampled_from(["identity", "projection", "zeros"]),
    )
    def test_green_means_that_the_call_shown_runs(self, **arguments: Any) -> None:
        torch = pytest.importorskip("torch")
        from d2lutils import pytorch
        from d2lutils.pytorch import residual

        result = compute(**arguments)
        detail = residual_builder(**arguments).first.detail
        call = re.search(r"PyTorch<code>(.*?)</code>", detail)
        assert call is not None
        source = html.unescape(re.sub("<[^>]*>", "", call[1]))
        names = {"pytorch": pytorch}
        assert pytorch.residual is residual
        x = torch.zeros(2, arguments["in_channels"], arguments["length"])
        try:
            net = eval(source, names).eval()
            shape = list(net(x).shape)
        except ValueError:
            assert not result["addable"]
            assert "This call is refused" in detail
        else:
            assert result["addable"]
            assert "This call runs" in detail
            assert shape == [2, *result["output"][::-1]]
            parameters = {
                part: sum(p.numel() for p in getattr(net, part).parameters())
                for part in ("branch", "shortcut")
            }
            total = sum(p.numel() for p in net.parameters())
            assert result["parameters"] == {**parameters, "total": total}

    def test_json(self) -> None:
        result = compute(length=np.int64(64))
        assert json.loads(json.dumps(result)) == result

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"length": 0}, ValueError, "length must be at least 1, got 0"),
            ({"length": "64"}, TypeError, "length must be an integer, got '64'"),
            ({"in_channels": -1}, ValueError, "in_channels must be at least 1, got -1"),
            ({"channels": 1.5}, TypeError, "channels must be an integer, got 1.5"),
            ({"kernel_size": 0}, ValueError, "kernel_size must be at least 1"),
            ({"stride": True}, TypeError, "stride must be an integer, got True"),
            ({"padding": -1}, ValueError, "padding must be at least 0, got -1"),
            ({"chain_length": None}, TypeError, "chain_length must be an integer"),
            ({"shortcut": "auto"}, ValueError, "shortcut must be one of .* got 'auto'"),
            ({"shortcut": 3}, ValueError, "shortcut must be one of .* got 3"),
        ],
    )
    def test_bad_arguments(
        self, arguments: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        for function in (compute, residual_builder):
            with pytest.raises(error, match=f"residual_builder: {message}"):
                function(**arguments)

    def test_what_no_control_can_show(self) -> None:
        assert compute(length=1000)["ladder"][1] == 499
        with pytest.raises(ValueError, match=r"length must be .*128, got 1000"):
            residual_builder(length=1000)

    def test_fallback_says_the_same(self) -> None:
        words = repr(residual_builder())
        assert "✗ 27 + 64: lengths 27 and 64 differ" in words
        assert "64 → 31 → 29 → 27" in words
        words = repr(residual_builder(padding=1, shortcut="projection"))
        assert "✓ 32 + 32: the sum has 32 steps and 10 channels" in words


class Elements(HTMLParser):
    """Start tags with attributes, and whether every element is closed in order."""

    VOID = frozenset({"input", "wbr", "br"})

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(fragment)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def ids(self) -> set[str]:
        return {a["id"] for _, a in self.found if a.get("id")}  # type: ignore[misc]


@pytest.mark.parametrize("explorer", EXPLORERS, ids=lambda e: e.name)
class TestEveryFragment:
    def test_small_and_self_contained(self, explorer: Explorer) -> None:
        fragment = explorer._repr_html_()
        assert len(fragment.encode()) <= 30_000
        assert not re.search(r"(?i)https?:|//[a-z]|url\(|@import|\bsrc=", fragment)
        assert fragment.count("</script") == 1

    def test_well_formed(self, explorer: Explorer) -> None:
        elements = Elements(explorer._repr_html_())
        assert elements.open == []
        root = elements.found[0][1]
        assert root["data-explorer"] == explorer.name
        assert root["id"] == explorer.id
        names = {a["name"] for t, a in elements.found if t in ("input", "select")}
        assert names == {control.name for control in explorer.controls}

    def test_deterministic(self, explorer: Explorer) -> None:
        """The same bytes in another process, whatever its hash seed."""
        name = explorer.name
        code = (
            f"from d2lutils.explorers.{name} import {name};"
            f"import sys; sys.stdout.buffer.write({name}()._repr_html_().encode())"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": "7"},
            capture_output=True,
            check=True,
        )
        assert done.stdout.decode() == explorer._repr_html_()

    def test_first_frame_is_wrong(self, explorer: Explorer) -> None:
        assert not explorer.first.ok
        assert explorer.first.verdict.startswith("✗")
        assert explorer.first.verdict in explorer._repr_html_()


def test_two_instances_share_no_id() -> None:
    first, second = residual_builder(), residual_builder(channels=16)
    ids = [Elements(e._repr_html_()).ids() for e in (first, second)]
    assert all(ids)
    assert not ids[0] & ids[1]


def test_what_the_user_passes_is_escaped() -> None:
    nasty = """</script><img src=x onerror="alert('1')"> & so on"""
    fragment = residual_builder(title=nasty, goal=nasty)._repr_html_()
    assert "<img" not in fragment
    assert fragment.count(html.escape(nasty)) >= 3
    toy = make_toy(words=nasty)
    assert "<img" not in toy._repr_html_()
    assert toy._repr_html_().count("</script") == 1


def make_toy(name: str = "toy", words: str = "a", **changes: Any) -> Explorer:
    arguments = {"x": 0.5, "n": 3, "kind": words, "on": False} | changes
    return Explorer(
        name=name,
        title=words,
        goal=words,
        settings=arguments,
        defaults=arguments,
        controls=(
            slider("x", words, 0, 1, 0.05),
            number("n", words, 1, 9),
            choice("kind", words, (words, words), ("b", "b")),
            switch("on", words),
        ),
        compute=lambda **s: s,
        view=lambda r, start: View("", 10, 10, True, esc(r["kind"]), r["kind"]),
        script="",
    )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"name": "Two words"}, ValueError, "name must be lower case"),
        ({"x": 1.5}, ValueError, "toy: x must be at least 0 and at most 1, got 1.5"),
        ({"x": 0.52}, ValueError, "toy: x must go in steps of 0.05 from 0, got 0.52"),
        ({"x": "1"}, TypeError, "toy: x must be a number, got '1'"),
        ({"kind": "c"}, ValueError, "toy: kind must be one of 'a', 'b', got 'c'"),
        ({"on": 1}, TypeError, "toy: on must be True or False, got 1"),
    ],
)
def test_contract(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    make_toy()
    with pytest.raises(error, match=message):
        make_toy(**changes)


def test_control_without_a_setting() -> None:
    with pytest.raises(ValueError, match="no setting for the control 'y', got x"):
        Explorer("toy", "", "", {"x": 1}, {}, (switch("y", "y"),), dict, make_toy, "")


def test_numbers_are_written_as_javascript_writes_them() -> None:
    assert [num(v) for v in (3, 3.0, 0.125, 2.999, -0.001, 1 / 3)] == [
        "3",
        "3",
        "0.13",
        "3",
        "0",
        "0.33",
    ]
