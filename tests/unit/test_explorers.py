"""The explorers without a browser: their core, their fragments, their fallback."""

from __future__ import annotations

import dataclasses
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

from d2lutils import shapes
from d2lutils.explorers import Explorer, View, choice, number, slider, switch
from d2lutils.explorers.base import clicked, esc, num, part
from d2lutils.explorers.batch_fold import ALIKE, HANDED, ORDERS, SOURCES, batch_fold
from d2lutils.explorers.batch_fold import compute as fold_compute
from d2lutils.explorers.dimensions import compute as dimensions_compute
from d2lutils.explorers.dimensions import dimensions
from d2lutils.explorers.kernel_mixer import EXPERTS, IMAGE, kernel_mixer
from d2lutils.explorers.kernel_mixer import compute as mixer_compute
from d2lutils.explorers.memory_ledger import compute as memory_compute
from d2lutils.explorers.memory_ledger import memory_ledger
from d2lutils.explorers.pyramid_widths import compute as pyramid_compute
from d2lutils.explorers.pyramid_widths import pyramid_widths
from d2lutils.explorers.residual_builder import (
    CONTROLS,
    FIRST_CALL,
    compute,
    residual_builder,
)
from d2lutils.explorers.stochastic_grid import compute as stochastic_compute
from d2lutils.explorers.stochastic_grid import draws, stochastic_grid

EXPLORERS = [residual_builder(), pyramid_widths(), stochastic_grid(), dimensions()]
EXPLORERS += [memory_ledger()]
EXPLORERS += [batch_fold()]
EXPLORERS += [kernel_mixer()]


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


class TestPyramidWidths:
    def test_opens_flat(self) -> None:
        result = pyramid_compute()
        assert result["widths"] == [16] * 54
        assert (result["promised"], result["reached"]) == (64, False)
        assert (result["share"], result["still"]) == (0, 54)

    def test_exact_rule(self) -> None:
        result = pyramid_compute(rounding="exact")
        assert result["widths"][:8] == [17, 18, 19, 20, 20, 21, 22, 23]
        assert result["widths"][17::18] == [32, 48, 64]
        assert result["parameters"] == 1_772_706
        assert (result["still"], result["share"]) == (6, 1 / 17)
        assert result["reached"]

    @pytest.mark.parametrize(
        ("depth", "alpha", "block", "parameters"),
        [
            (110, 84, "basic", 3_904_446),
            (110, 270, "basic", 28_485_477),
            (164, 270, "bottleneck", 27_216_021),
            (20, 48, "basic", 310_845),
        ],
    )
    def test_known_parameters(
        self, depth: int, alpha: int, block: str, parameters: int
    ) -> None:
        result = pyramid_compute(depth, alpha, block, rounding="exact")
        assert result["parameters"] == parameters

    @pytest.mark.parametrize("block", ["basic", "bottleneck"])
    @pytest.mark.parametrize("widening", ["additive", "multiplicative"])
    def test_parameters_are_those_of_the_net(self, block: str, widening: str) -> None:
        torch = pytest.importorskip("torch")
        from d2lutils.pytorch.pyramidnet import PyramidNet

        for depth, alpha in ((20, 48), (20, 3), (38, 7)):
            with torch.device("meta"):
                net = PyramidNet(depth, alpha, block=block, widening=widening)
            result = pyramid_compute(depth, alpha, block, widening, "exact")
            assert result["parameters"] == sum(p.numel() for p in net.parameters())
            sums = [unit.sum.extra for unit in net.blocks]
            assert result["extra"] == sums

    @given(
        depth=st.integers(1, 30).map(lambda n: 6 * n + 2),
        alpha=st.integers(1, 300),
    )
    def test_running_floor(self, depth: int, alpha: int) -> None:
        """It keeps what alpha promises where the number of blocks divides alpha."""
        result = pyramid_compute(depth, alpha)
        n = result["blocks"]
        assert result["reached"] == (alpha % n == 0)
        assert result["widths"][-1] == 16 + alpha - alpha % n
        assert (result["still"] == n) == (alpha < n)

    def test_running_floor_at_depth_20(self) -> None:
        assert pyramid_compute(20, 48)["widths"][-1] == 61
        result = pyramid_compute(20, 64, "bottleneck", "multiplicative")
        assert result["widths"] == [32, 64, 128, 256, 512, 1024]

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"alpha": 0}, ValueError, "alpha must be at least 1, got 0"),
            ({"alpha": 4.75}, TypeError, "alpha must be an integer, got 4.75"),
            ({"depth": 100}, ValueError, "depth must be 6n . 2 .* nearest is 98"),
            ({"rounding": "up"}, ValueError, "rounding must be one of .* got 'up'"),
        ],
    )
    def test_bad_arguments(
        self, arguments: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        for function in (pyramid_compute, pyramid_widths):
            with pytest.raises(error, match=message):
                function(**arguments)

    def test_fallback_says_the_same(self) -> None:
        words = repr(pyramid_widths())
        assert "✗ The last block is 16 wide, 64 are promised" in words
        words = repr(pyramid_widths(rounding="exact"))
        assert "✓ The last block is 64 wide, as alpha promises" in words


class TestStochasticGrid:
    def test_numbers_are_those_of_mulberry32(self) -> None:
        """Printed by the generator's JavaScript original, seed 1."""
        assert draws(1, 3) == [
            0.6270739405881613,
            0.002735721180215478,
            0.5274470399599522,
        ]
        assert all(0 <= u < 1 for u in draws(999, 2000))
        assert abs(np.mean(draws(7, 10_000)) - 0.5) < 4 / np.sqrt(12 * 10_000)

    def test_three_changes_solve_it(self) -> None:
        for changes, ok in (
            ({"mode": "batch"}, False),
            ({"mode": "batch", "rule": "paper"}, False),
            ({"rule": "paper", "drop_prob": 0.5}, False),
            ({"mode": "batch", "drop_prob": 0.5}, False),
            ({"mode": "batch", "rule": "from zero", "drop_prob": 0.5}, False),
            ({"mode": "batch", "rule": "paper", "drop_prob": 0.5}, True),
            ({"mode": "batch", "rule": "end to end", "drop_prob": 0.5}, True),
        ):
            assert stochastic_compute(**changes)["ok"] is ok, changes

    @pytest.mark.parametrize("rule", ["paper", "from zero", "end to end", "constant"])
    @pytest.mark.parametrize("blocks", [1, 2, 18, 54])
    def test_same_as_the_package(self, blocks: int, rule: str) -> None:
        from d2lutils.shapes import drop_probs, expected_blocks
        from d2lutils.shapes import pyramid_widths as widths

        result = stochastic_compute(blocks, "batch", rule, 0.45)
        probabilities = [1 - p for p in drop_probs(blocks, 0.45, rule)]
        assert np.allclose(result["survival"], probabilities, atol=6e-5)
        expected = expected_blocks(blocks, 0.45, rule)
        assert abs(result["expected"] - expected) < 0.006
        assert abs(result["average"] - 100 * (1 - expected / blocks)) < 0.006
        if blocks % 3 == 0:
            assert result["widths"] == list(widths(2 * blocks + 2, 48))

    def test_row_mode_saves_nothing_and_batch_mode_wastes_nothing(self) -> None:
        for seed in range(20):
            row = stochastic_compute(mode="row", seed=seed)
            batch = stochastic_compute(mode="batch", seed=seed)
            assert row["evaluated"] == row["cells"] == 18 * 8
            assert row["saved"] == row["average"] == batch["thrown_away"] == 0
            assert len(set(batch["kept"])) == 1
            assert batch["evaluated"] == 8 * batch["kept"][0].count("1")

    def test_dark_until_the_next_block_that_is_kept(self) -> None:
        for p, dark in ((1, 48), (0, 0)):
            result = stochastic_compute(drop_prob=p, rule="constant")
            assert result["dark"] == [dark] * 8
        result = stochastic_compute(num_blocks=3, seed=4, samples=16, drop_prob=0.5)
        assert result["widths"] == [32, 48, 64]
        ends = {"1": 0, "10": 16, "100": 32, "000": 48}
        assert {k[k.rfind("1") :] if "1" in k else k for k in result["kept"]} == {*ends}
        for kept, dark in zip(result["kept"], result["dark"], strict=True):
            assert dark == ends[kept[kept.rfind("1") :] if "1" in kept else kept]

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"num_blocks": 0}, ValueError, "num_blocks must be at least 1, got 0"),
            ({"mode": "sample"}, ValueError, "mode must be one of .* got 'sample'"),
            ({"rule": "linear"}, ValueError, "rule must be one of .* got 'linear'"),
            ({"drop_prob": 2}, ValueError, "drop_prob must be .* got 2"),
            ({"samples": 1.5}, TypeError, "samples must be an integer, got 1.5"),
            ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ],
    )
    def test_bad_arguments(
        self, arguments: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        for function in (stochastic_compute, stochastic_grid):
            with pytest.raises(error, match=f"stochastic_grid: {message}"):
                function(**arguments)


class TestDimensions:
    def test_opens_on_nin_at_224(self) -> None:
        result = dimensions_compute()
        assert result["sizes"] == [224, 54, 26, 26, 12, 12, 5, 5]
        assert result["unread"]["right"] == [219, 220, 221, 222, 223]
        assert (result["below"], result["above"], result["repair"]) == (219, 227, 2)
        assert result["layers"][0]["value"] == 54.25
        assert result["layers"][0]["unread"]["right"] == [223]
        assert result["layers"][0]["idle"] == [53]
        assert result["taps"] == list(range(212, 223))

    def test_puzzle(self) -> None:
        """227 inputs lose none; one zero on each side loses more, two lose none."""
        for changes, lost in (
            ({"n": 227}, 0),
            ({"padding": 1}, 6),
            ({"padding": 2}, 0),
            ({"ceil_mode": True}, 1),
            ({"ceil_mode": True, "n": 223}, 0),
            ({"stride": 3}, 3),
        ):
            result = dimensions_compute(**changes)
            assert result["lost"] == lost, changes
            assert result["ok"] is (lost == 0)

    @given(st.data())
    @settings(deadline=None, max_examples=60)
    def test_same_as_shapes(self, data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(["nin", "conv", "pool"]))
        k, stride, n = (data.draw(st.integers(1, m)) for m in (12, 4, 256))
        padding = data.draw(st.integers(0, k // 2))
        ceil_mode = kind != "conv" and data.draw(st.booleans())
        framework = data.draw(st.sampled_from(["pytorch", "gluon"]))
        pin = data.draw(st.integers(0, n - 1))
        result = dimensions_compute(
            kind, n, k, stride, padding, 1, ceil_mode, framework, pin=pin
        )
        layers: list[shapes.Window] = [
            shapes.Window(k, stride, padding, 1, ceil_mode, "pool")
            if kind == "pool"
            else shapes.Window(k, stride, padding)
        ]
        for layer in shapes.NIN[1:] if kind == "nin" else ():
            up = ceil_mode and layer.kind == "pool"
            layers.append(dataclasses.replace(layer, ceil_mode=up))
        good = shapes.lossless_sizes(layers, framework)
        assert result["below"] == good.below(n)
        above = good.above(n)
        assert result["above"] == (above if above and above <= 512 else None)
        assert result["ok"] is (n in good)
        if result["error"]:
            name = layers[0].name or result["layers"][0]["name"]
            layers[0] = dataclasses.replace(layers[0], name=name)
            with pytest.raises(ValueError, match=re.escape(result["error"])):
                shapes.chain_sizes(n, layers, framework)
            return
        assert result["sizes"] == shapes.chain_sizes(n, layers, framework)
        lost = shapes.chain_unread(n, layers, framework)
        assert result["unread"] == shapes.unread_parts(lost, n)
        readers = shapes.chain_readers(n, layers, pin, framework)
        assert [row["readers"] for row in result["layers"]] == list(
            map(sorted, readers)
        )
        # What no output at the end depends on is lost, and nothing else.
        assert bool(readers[-1]) is (pin not in lost)
        assert result["layers"][-1]["size"] == shapes.receptive_field(layers).size

    def test_gaps(self) -> None:
        result = dimensions_compute("conv", 20, 2, 5, pin=3)
        assert result["unread"]["gaps"] == [2, 3, 4, 7, 8, 9, 12, 13, 14]
        assert result["unread"]["right"] == [17, 18, 19]
        assert result["layers"][0]["readers"] == []
        nothing = (result["below"], result["above"], result["repair"])
        assert nothing == (2, None, None)

    def test_each_framework_rounds_up_in_its_way(self) -> None:
        window = {"n": 5, "kernel_size": 2, "stride": 3, "padding": 1}
        sizes = [
            dimensions_compute("pool", **window, ceil_mode=True, framework=framework)
            for framework in ("pytorch", "gluon")
        ]
        assert [r["sizes"] for r in sizes] == [[5, 2], [5, 3]]
        view = dimensions(chain="pool", **window, ceil_mode=True).first
        assert "3 (up) → 2 (none may start in the padding)" in view.detail

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            (
                {"n": 60},
                "pool3: a window of 3 (kernel_size=3, dilation=1) does not fit into 2 "
                "inputs (n=2, padding=0 on each side)",
            ),
            (
                {"chain": "conv", "n": 5, "dilation": 2},
                "conv: a window of 21 (kernel_size=11, dilation=2) does not fit into 5 "
                "inputs (n=5, padding=0 on each side)",
            ),
            (
                {"chain": "pool", "padding": 6},
                "pool: padding must be at most half of kernel_size=11 for kind='pool', "
                "got 6",
            ),
            (
                {"chain": "conv", "ceil_mode": True},
                "conv: ceil_mode is for kind='pool' only",
            ),
            (
                {"chain": "pool", "dilation": 2, "framework": "gluon"},
                "pool: MXNet's pooling has no dilation, got 2",
            ),
        ],
    )
    def test_no_outputs(self, changes: dict[str, Any], error: str) -> None:
        result = dimensions_compute(**changes)
        assert (result["error"], result["ok"]) == (error, False)
        view = dimensions(**changes).first
        assert view.verdict == f"✗ {error}"
        assert "✗ no outputs" in view.svg

    def test_step_and_pin_beyond_the_end(self) -> None:
        result = dimensions_compute(n=227, step=255, pin=227)
        assert (result["step"], result["pin"]) == (54, None)
        assert dimensions_compute(n=227, step=3)["taps"] == list(range(12, 23))

    def test_calls_of_both_frameworks(self) -> None:
        explorer = dimensions(chain="conv")
        view = explorer.view(padding=2)
        words = re.sub("</?mark>", "", view.detail)
        for call in (
            "nn.Conv2d(1, 96, kernel_size=11, stride=4, padding=2, dilation=1)",
            "nn.Conv2D(96, kernel_size=11, strides=4, padding=2, dilation=1)",
        ):
            assert call in words
        assert view.detail.count("<mark>padding=2</mark>") == 2
        detail = explorer.view(chain="pool").detail
        assert "nn.MaxPool2d(kernel_size=11, stride=4, padding=0, dilation=1" in detail
        assert "nn.MaxPool2D(pool_size=11, strides=4, padding=0, ceil_mode" in detail

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"chain": "vgg"}, ValueError, "chain must be one of .* got 'vgg'"),
            ({"n": 0}, ValueError, "n must be at least 1, got 0"),
            ({"n": 22.5}, TypeError, "n must be an integer, got 22.5"),
            ({"kernel_size": 0}, ValueError, "kernel_size must be at least 1, got 0"),
            ({"stride": 0}, ValueError, "stride must be at least 1, got 0"),
            ({"padding": -1}, ValueError, "padding must be at least 0, got -1"),
            ({"dilation": "2"}, TypeError, "dilation must be an integer, got '2'"),
            ({"ceil_mode": 1}, TypeError, "ceil_mode must be True or False, got 1"),
            ({"framework": "mx"}, ValueError, "framework must be one of .* got 'mx'"),
            ({"step": -1}, ValueError, "step must be at least 0, got -1"),
            ({"pin": -2}, ValueError, "pin must be at least -1, got -2"),
            ({"pin": None}, TypeError, "pin must be an integer, got None"),
        ],
    )
    def test_bad_arguments(
        self, arguments: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        for function in (dimensions_compute, dimensions):
            with pytest.raises(error, match=f"dimensions: {message}"):
                function(**arguments)

    def test_what_no_control_can_show(self) -> None:
        assert dimensions_compute(n=1000)["sizes"][1] == 248
        for name, value in (("n", 1000), ("pin", 256), ("kernel_size", 17)):
            with pytest.raises(ValueError, match=f"{name} must be at least"):
                dimensions(**{name: value})

    def test_fallback_says_the_same(self) -> None:
        words = repr(dimensions(pin=219))
        assert "✗ 5 of 224 inputs lost: 219 to 223 on the right" in words
        assert "224 → 54 → 26 → 26 → 12 → 12 → 5 → 5" in words
        assert "depend on input 219: conv1 53; pool1 none" in words
        assert "✓ nothing is lost: of 227 inputs" in repr(dimensions(n=227))


class TestMemoryLedger:
    """Its arithmetic is held against the ledger in tests/parity/test_memory.py."""

    def test_opens_red(self) -> None:
        result = memory_compute()
        assert result["training"] == 16 * 1_992_166 + 64 * 7_677_880
        assert result["crossover"] == 5
        assert not result["ok"]
        view = memory_ledger().first
        assert view.verdict == "✗ 499.02 MiB, 243.02 MiB too much"
        assert "Crossover at batch 5." in view.summary
        for words in ("optimiser's state 15.20 MiB", "places of maxima 54.38 MiB"):
            assert words in view.summary
        for words in ("crossover 5", "256 MiB", "523,258,976"):
            assert f">{words}<" in view.svg

    @pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
    @pytest.mark.parametrize("net", ["nin", "cifar", "small"])
    def test_in_place_relu_does_not_move_the_bar(self, net: str, dtype: str) -> None:
        plain, reused = (
            memory_compute(net=net, dtype=dtype, inplace=inplace)
            for inplace in (False, True)
        )
        same = plain.keys() - {"settings", "ops", "largest", "inference"}
        assert {k: plain[k] for k in same} == {k: reused[k] for k in same}
        assert plain["spared"]["training"] == 0
        spared = plain["inference"] - reused["inference"]
        assert plain["spared"]["inference"] == spared
        # Only where the convolutions of a block differ in width, the next less.
        assert (spared > 0) == (net == "cifar")

    def test_it_says_why(self) -> None:
        explorer = memory_ledger()
        plain, reused = explorer.view(), explorer.view(inplace=True)
        assert plain.svg == reused.svg
        assert reused.verdict == plain.verdict + ", in-place ReLU or not"
        assert "the convolution's own output, nothing keeps" in reused.detail
        assert "<b>0 bytes</b> less" in reused.detail
        gluon = explorer.view(inplace=True, framework="gluon").detail
        assert "no such argument" in gluon

    @pytest.mark.parametrize(
        ("changes", "ok"),
        [
            ({"batch_size": 32}, False),
            ({"batch_size": 32, "optimizer": "momentum"}, False),
            ({"batch_size": 32, "optimizer": "momentum", "inplace": True}, False),
            ({"batch_size": 32, "optimizer": "momentum", "dropout": False}, True),
            ({"batch_size": 32, "optimizer": "sgd"}, True),
            ({"batch_size": 32, "framework": "gluon"}, True),
            ({"batch_size": 31, "optimizer": "sgd"}, False),  # too few images
            ({"dtype": "float16"}, False),  # places stay as they are
            ({"dtype": "float16", "framework": "gluon"}, True),
            ({"dtype": "float16", "optimizer": "sgd"}, False),
            ({"size": 163}, False),
            ({"size": 160}, True),
            ({"batch_size": 256, "size": 67, "dtype": "float16"}, True),
            ({"net": "small", "size": 28}, False),  # fits, but was not asked for
            ({"mode": "inference"}, False),
        ],
        ids=str,
    )
    def test_ways(self, changes: dict[str, Any], ok: bool) -> None:
        result = memory_compute(**changes)
        assert result["ok"] is ok
        view = memory_ledger().view(**changes)
        assert view.ok is ok
        assert view.verdict.startswith("✓" if ok else "✗")

    def test_why_not(self) -> None:
        view = memory_ledger().view
        for changes, words in (
            ({"batch_size": 31}, "but on 31 images; 32 were asked for"),
            ({"batch_size": 1}, "but on 1 image; 32 were asked for"),
            ({"net": "small", "size": 28}, "but of nin_small; NiN was asked for"),
            ({"mode": "inference"}, "a training step was asked for"),
            ({"size": 66}, "NiN needs at least 67 pixels, not 66"),
        ):
            assert words in view(**changes).verdict

    def test_rows_are_the_bar(self) -> None:
        for framework in ("pytorch", "gluon"):
            result = memory_compute(framework=framework, batch_size=3)
            kept = result["training"] - result["fixed"]
            names = ("activations", "indices", "masks")
            assert sum(row[n] for row in result["rows"] for n in names) == kept
            assert result["example"] * 3 == kept

    def test_crossover_is_on_the_axis(self) -> None:
        """Of every net, size and setting: the axis ends at 256."""
        grid = itertools.product(
            ("nin", "cifar", "small"),
            ("pytorch", "gluon"),
            ("sgd", "adam"),
            ("float16", "float32", "float64"),
            (67, 28),
        )
        for net, framework, optimizer, dtype, size in grid:
            if (net, size) == ("nin", 28):
                continue
            result = memory_compute(net, framework, 1, size, optimizer, dtype)
            assert 1 <= result["crossover"] <= 256

    def test_thousands_and_halves(self) -> None:
        view = memory_ledger().view(
            net="cifar", size=256, batch_size=256, dtype="float64"
        )
        assert view.verdict.startswith("✗ 91,629.51 MiB, but of NiN for CIFAR")

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({"net": "vgg"}, "net must be one of 'nin', 'cifar', 'small', got 'vgg'"),
            ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
            ({"size": 0}, "size must be at least 1, got 0"),
            ({"dtype": "bfloat16"}, "dtype must be one of "),
            ({"optimizer": "rms"}, "optimizer must be one of "),
            ({"mode": "test"}, "mode must be one of "),
            ({"framework": "jax"}, "framework must be one of "),
        ],
        ids=str,
    )
    def test_refused(self, arguments: dict[str, Any], text: str) -> None:
        for function in (memory_compute, memory_ledger):
            with pytest.raises(ValueError, match="must be") as caught:
                function(**arguments)
            assert str(caught.value).startswith(f"memory_ledger: {text}")

    def test_what_no_control_can_show(self) -> None:
        with pytest.raises(
            ValueError, match="size must be at least 28 and at most 256"
        ):
            memory_ledger(net="small", size=20)


class TestKernelMixer:
    def test_opens_one_apart(self) -> None:
        result = mixer_compute()
        assert (result["largest"], result["unequal"]) == (1, 30)
        assert result["pixel"] == [6, 4]
        assert result["cost"] == [612, 2560]
        detail = kernel_mixer().first.detail
        for line in (
            "ReLU(0.5·1 + 0.5·(-2) + 0.5·0.45 + 0.5·0.75) = 0.1",
            "0.5·ReLU(1) + 0.5·ReLU(-2) + 0.5·ReLU(0.45) + 0.5·ReLU(0.75) = 1.1",
        ):
            assert line in detail

    def test_three_ways(self) -> None:
        off: dict[str, Any] = dict.fromkeys(EXPERTS, 0)
        for changes, way in (
            ({"inside": False}, "outside"),
            ({"inside": False, "solo": 0}, "outside"),
            ({"solo": 0}, "one"),
            (off | {"horizontal": 0.3}, "one"),
            ({"vertical": 0, "horizontal": 0}, "signs"),
            ({"vertical": 0}, ""),
            ({"horizontal": 0}, ""),
            (off | {"horizontal": 0.1, "identity": 1}, ""),
            (off, ""),
            (off | {"inside": False}, ""),
            ({"solo": 1, "horizontal": 0}, ""),
        ):
            result = mixer_compute(**changes)
            assert (result["way"], result["ok"]) == (way, way != ""), changes
            view = kernel_mixer().view(**changes)
            assert view.verdict.startswith("✓" if way else "✗")
            assert "every expert is off" in view.verdict or result["on"]

    @settings(max_examples=100, deadline=None)
    @given(
        tenths=st.tuples(*[st.integers(0, 10)] * 4),
        solo=st.integers(-1, 3),
        inside=st.booleans(),
    )
    def test_same_as_pytorch(
        self, tenths: tuple[int, ...], solo: int, inside: bool
    ) -> None:
        torch = pytest.importorskip("torch")
        from d2lutils.pytorch import condconv

        shares = [t / 10 for t in tenths]
        result = mixer_compute(*shares, inside=inside, solo=solo)
        assert result["settings"] == mixer_compute(**result["settings"])["settings"]
        routing = torch.tensor([result["routing"]], dtype=torch.float64)
        mask = [solo in (-1, k) for k in range(4)]
        assert result["routing"] == [s * m for s, m in zip(shares, mask, strict=True)]
        image = [[int(v) / 4 for v in row] for row in IMAGE]
        x = torch.tensor(image, dtype=torch.float64)[None, None]
        experts = torch.tensor(list(EXPERTS.values()), dtype=torch.float64) / 16
        experts = experts.view(4, 1, 1, 3, 3)

        def close(name: str, value: Any) -> None:
            assert np.allclose(result[name], value.squeeze().numpy(), atol=1e-12)

        close("kernel", condconv.mixed(routing, experts).flatten())
        answers = torch.nn.functional.conv2d(x, experts[:, 0], padding=1)
        close("answers", answers)
        mixed = condconv.folded(x, routing, experts, padding=1).relu()
        close("mixed", mixed)
        if inside:
            summed = (routing.view(-1, 1, 1) * answers[0].relu()).sum(0)
        else:
            summed = condconv.mixture(x, routing, experts, padding=1).relu()
        close("summed", summed)
        gap = (summed - mixed).abs().squeeze()
        assert abs(result["largest"] - gap.max()) < 1e-12
        assert result["unequal"] == (gap > 1e-9).sum()
        # The ReLU of a sum is never more than the sum of ReLUs.
        assert (summed - mixed).min() > -1e-12

    @pytest.mark.parametrize(
        ("side", "cost"), [(1, [45, 40]), (2, [72, 160]), (56, [28_260, 125_440])]
    )
    def test_on_one_pixel_mixing_the_kernel_costs_more(
        self, side: int, cost: list[int]
    ) -> None:
        assert mixer_compute(side=side)["cost"] == cost
        assert f">{cost[1]:,}<" in kernel_mixer(side=side).first.svg

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"vertical": 1.1}, ValueError, "vertical must be .* at most 1, got 1.1"),
            ({"blur": 0.25}, ValueError, "blur must go in steps of 0.1, got 0.25"),
            ({"identity": "1"}, TypeError, "identity must be a number, got '1'"),
            ({"inside": 1}, TypeError, "inside must be True or False, got 1"),
            ({"side": 0}, ValueError, "side must be at least 1, got 0"),
            ({"solo": 4}, ValueError, "solo must be from -1 to 3, got 4"),
            ({"solo": -2}, ValueError, "solo must be from -1 to 3, got -2"),
        ],
    )
    def test_bad_arguments(
        self, arguments: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        for function in (mixer_compute, kernel_mixer):
            with pytest.raises(error, match=f"kernel_mixer: {message}"):
                function(**arguments)

    def test_what_no_control_can_show(self) -> None:
        assert mixer_compute(side=1000)["cost"][1] == 40_000_000
        with pytest.raises(ValueError, match=r"side must be .*256, got 1000"):
            kernel_mixer(side=1000)

    def test_fallback_says_the_same(self) -> None:
        words = repr(kernel_mixer())
        assert "✗ Up to 1 apart in 30 of 64 pixels" in words
        assert "mix kernels 612, mix answers 2,560" in words
        assert "✓ Equal, way 2 of 3" in repr(kernel_mixer(solo=3))


def folds(**fixed: Any) -> list[dict[str, Any]]:
    """All settings of the batch fold with these fixed."""
    values: dict[str, Any] = {"batch_size": range(1, 5), "channels": range(1, 5)}
    values |= {"order": ORDERS, "samples": ALIKE, "kernels": SOURCES, "handed": HANDED}
    values |= {name: [value] for name, value in fixed.items()}
    rows = itertools.product(*values.values())
    return [dict(zip(values, row, strict=True)) for row in rows]


class TestBatchFold:
    def test_opens_green_on_a_wrong_fold(self) -> None:
        result = fold_compute()
        assert (result["outputs"], result["loop"]) == ([61], [61])
        assert (result["mended"], result["wrong"], result["ok"]) == (False, 0, False)
        assert "✓ the test passes: 1 of 1 output" in batch_fold().first.svg
        result = fold_compute(batch_size=3)
        assert result["strip"][:4] == [[0, 0], [1, 0], [2, 0], [0, 1]]
        assert (result["outputs"], result["loop"]) == ([39, 17, 21], [61, 21, 15])
        result = fold_compute(batch_size=3, order="example")
        assert (result["outputs"], result["ok"]) == ([61, 21, 15], True)

    def test_fewest_changes(self) -> None:
        """A larger batch and the order; neither alone, and every such batch."""
        assert not fold_compute(order="example")["ok"]
        for n in (2, 3, 4):
            assert not fold_compute(batch_size=n)["ok"]
            assert fold_compute(batch_size=n, order="example")["ok"]

    def test_right_only_where_the_same_products_are_summed(self) -> None:
        for s in folds():
            r = fold_compute(**s)
            width = s["channels"]
            for g, hand in enumerate(r["hands"]):
                group = r["strip"][g * width : (g + 1) * width]
                read = [r["x"][e][c] for e, c in group]
                same = (r["kernels"][hand], read) == (r["kernels"][g], r["x"][g])
                assert r["right"][g] is same, s
                own = hand == g and group == [[g, i] for i in range(width)]
                assert (g in r["lucky"]) is (same and not own), s

    def test_what_hides_the_order_by_channel(self) -> None:
        """A batch of one, one channel, or one number: equal examples do not."""
        for s in folds(order="example", handed="own"):
            n, width = s["batch_size"], s["channels"]
            hidden = n == 1 or width == 1 or s["samples"] == "constant"
            shows = fold_compute(**s)["shows"]["channel"]
            assert (shows == 0) is hidden, s
            if hidden:
                continue
            middle = s["samples"] == "equal" and width == 2 and n == 3
            assert shows == n - middle, s

    def test_what_hides_a_reversal(self) -> None:
        for s in folds(order="example", handed="own"):
            n = s["batch_size"]
            equal = s["samples"] != "distinct"
            alike = s["kernels"] == "shared" or (s["kernels"] == "routed" and equal)
            shows, moved = fold_compute(**s)["shows"], n - n % 2
            assert shows["reverse"] == (0 if equal else moved), s
            assert shows["kernels"] == (0 if alike else moved), s

    def test_both_reversed(self) -> None:
        """Each kernel meets its example, and the outputs come out in reverse."""
        result = fold_compute(4, 3, "reverse", handed="reverse")
        assert all(result["fits"])
        assert result["outputs"] == result["loop"][::-1]
        assert result["wrong"] == 4

    @pytest.mark.parametrize("framework", ["PyTorch", "Gluon"])
    def test_call_shown_computes_what_is_shown(self, framework: str) -> None:
        names: dict[str, Any] = {"H": 1, "W": 1}
        if framework == "PyTorch":
            torch = pytest.importorskip("torch")
            names["F"] = torch.nn.functional
            tensor = torch.tensor
        else:
            from d2lutils.compat import mx

            names["mx"], tensor = mx, mx.nd.array
        for s in folds(samples="distinct", kernels="routed"):
            result, detail = fold_compute(**s), batch_fold(**s).first.detail
            found = re.search(f"{framework}<code>(.*?)</code>", detail, re.DOTALL)
            assert found is not None
            x = np.array(result["x"], "float32")[:, :, None, None]
            kernels = np.array(result["kernels"], "float32")[:, None, :, None, None]
            here = names | {"x": tensor(x), "kernels": tensor(kernels)}
            exec(html.unescape(re.sub("</?mark>", "", found[1])), here)
            y = here["y"]
            got = y.numpy() if framework == "PyTorch" else y.asnumpy()
            assert got.ravel().tolist() == result["outputs"], s

    def test_pin(self) -> None:
        explorer = batch_fold(batch_size=3, pin=5)
        pin = {"position": 5, "example": 2, "channel": 1, "kernel": 1, "as": 2}
        assert explorer.result["pin"] == pin
        words = "position 5 is C1; kernel B takes it for B2 ✗"
        assert words in explorer.first.svg
        assert words in repr(explorer)
        mended = explorer.view(order="example")
        assert "position 5 is B2; kernel B reads it as such ✓" in mended.svg
        assert fold_compute(pin=3)["pin"] is None

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"batch_size": 0}, ValueError, "batch_size must be at least 1 and at"),
            ({"batch_size": 2.5}, TypeError, "batch_size must be an integer, got 2.5"),
            ({"channels": 5}, ValueError, "channels must be at least 1 and at most 4"),
            ({"order": "rows"}, ValueError, "order must be one of .* got 'rows'"),
            ({"samples": "same"}, ValueError, "samples must be one of .* got 'same'"),
            ({"kernels": 1}, ValueError, "kernels must be one of .* got 1"),
            ({"handed": "on"}, ValueError, "handed must be one of .* got 'on'"),
            ({"pin": -2}, ValueError, "pin must be at least -1, got -2"),
        ],
    )
    def test_bad_arguments(
        self, arguments: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        for function in (fold_compute, batch_fold):
            with pytest.raises(error, match=f"batch_fold: {message}"):
                function(**arguments)

    def test_fallback_says_the_same(self) -> None:
        words = repr(batch_fold())
        assert "✗ nobody notices" in words
        words = repr(batch_fold(batch_size=2, channels=2))
        assert "✗ exposed: 2 of 2 outputs wrong" in words
        assert "Folded: A0 B0 A1 B1. Kernels: A, B." in words
        words = repr(batch_fold(batch_size=2, order="example", samples="equal"))
        hidden = "hide reversed examples and reversed kernels"
        assert f"✗ mended, but this batch would {hidden}" in words


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


def test_part_of_a_picture() -> None:
    assert part("pin", 3, 'a<"b"', False, "<rect/>") == (
        '<g data-set="pin" data-to="3" aria-label="a&lt;&quot;b&quot;"><rect/></g>'
    )
    assert " data-on " in part("pin", -1, "a", True, "")
    # Without script nothing can be pressed, and so nothing says that it can.
    fragment = dimensions()._repr_html_().partition("<script>")[0]
    assert "data-set" in fragment
    assert 'role="button"' not in fragment
    assert "tabindex" not in fragment
    assert '<svg role="img"' in fragment


def test_clicked_control() -> None:
    control = clicked("pin", "Pin", -1, 9)
    assert control.markup(4) == (
        '<input type="hidden" name="pin" value="4" autocomplete="off">'
    )
    for value in (10, -2, 0.5):
        with pytest.raises(ValueError, match="toy: pin must"):
            control.check("toy", value)


def test_slider_with_a_limit() -> None:
    control = slider("step", "Step", 0, 255)
    for limit, value, shown in ((None, 255, 255), (53, 255, 53), (300, 7, 7)):
        markup = control.markup(value, limit)
        assert f'max="{min(limit or 255, 255)}"' in markup
        assert f'value="{shown}"' in markup
        assert f">{shown}</b>" in markup
    assert 'class="x-wide"' in control.markup(3)
    assert 'class="x-wide"' not in slider("x", "X", 0, 1, 0.01).markup(0.5)


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
