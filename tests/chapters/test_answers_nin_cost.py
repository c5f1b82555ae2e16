"""The checks of `nin_cost` reject plausible wrong answers."""

from functools import partial

import answers
import numpy as np
import pytest
from torch import nn

from d2lutils.exercises.nin_cost import nin_cost_kept as right
from d2lutils.pytorch.memory import kept_bytes


def kept(given, chain, twice=False, through=(), places=8, masks=True):
    """Going backwards; `through` are kinds that read too much."""
    sizes, read, more = [given, *(size for _, size in chain)], [], 0
    for i, (kind, size) in reversed(list(enumerate(chain))):
        read += [i] * (kind in ("conv", "max", *through)) + [i + 1] * (kind == "relu")
        more += size * (places // 4 if kind == "max" else masks * (kind == "dropout"))
    return more + sum(sizes[i] for i in (read if twice else set(read)))


def every_output(given, chain):
    return given + sum(size for _, size in chain)


def live(operations, sizes, held, caller=True, waits=True):
    last = {}
    for i, (reads, writes) in enumerate(operations):
        last.update(dict.fromkeys([*reads, *writes], i))
    made = {name for _, writes in operations for name in writes}
    alive = set(held) - made if caller else set()
    most = 0
    for i, (reads, writes) in enumerate(operations):
        alive |= {*reads, *writes}
        most = max(most, sum(sizes[name] for name in alive))
        kept = set(held) if caller else set()
        if waits:
            kept |= {name for name in alive if last[name] > i}
        alive &= kept
    return most


def two_consecutive(operations, sizes, held):
    return max(
        sum(sizes[n] for n in {reads[0], *writes}) for reads, writes in operations
    )


test_right, test_wrong = answers.tests(
    {"nin_cost_kept": [kept], "nin_cost_live_set": [live]},
    {
        "nin_cost_kept": [
            (every_output, "expected 4079104"),
            (lambda given, chain: 2 * every_output(given, chain), "expected 4079104"),
            (partial(kept, twice=True), "expected 4079104"),
            (partial(kept, through=("relu",)), "expected 4079104"),
            (partial(kept, through=("dropout",)), "expected"),
            (partial(kept, places=4), "expected 4079104"),
            (partial(kept, masks=False), "expected"),
        ],
        "nin_cost_live_set": [
            (two_consecutive, "expected 10240"),
            (lambda operations, sizes, held: sum(sizes.values()), "expected 10240"),
            (partial(live, waits=False), "expected 87"),
            (partial(live, caller=False), "expected 10240"),
        ],
    },
)


@pytest.mark.parametrize("seed", range(8))
def test_kept_is_what_pytorch_keeps(seed):
    draw = np.random.default_rng(seed)
    kinds = ["conv", *draw.choice(["conv", "relu", "max", "dropout"], 6)]
    layers = {
        "conv": lambda: nn.Conv2d(3, 3, 3),
        "relu": nn.ReLU,
        "max": lambda: nn.MaxPool2d(2, 1),
        "dropout": nn.Dropout,
    }
    net, n, chain = nn.Sequential(), 24, []
    for kind in kinds:
        net.append(layers[kind]())
        n -= {"conv": 2, "max": 1}.get(kind, 0)
        chain.append((str(kind), 4 * 3 * n**2))
    assert right(4 * 3 * 24**2, chain) == kept_bytes(net, (1, 3, 24, 24))
