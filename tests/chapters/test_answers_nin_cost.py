"""The checks of `nin_cost` reject plausible wrong answers."""

from functools import partial

import answers
import torch
from torch.utils.checkpoint import checkpoint


def by_division(one, two, parameters, per):
    example = two - one
    return max(1, (per * parameters - one + example) // example + 1)


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


class Parts(torch.nn.Module):
    """The net's features as parts up to each end, computed again when needed."""

    def __init__(self, net, ends, detached=False):
        super().__init__()
        self.net, self.ends, self.detached = net, ends, detached

    def forward(self, x):
        start = 0
        for end in self.ends:
            part = self.net.features[start:end]
            if self.detached:
                with torch.no_grad():
                    x = part(x)
            else:
                x = checkpoint(part, x, use_reentrant=False)
            start = end
        return self.net.head(self.net.features[start:](x))


def after_pools(net):
    layers = enumerate(net.features)
    return Parts(net, [i + 1 for i, layer in layers if "Pool" in str(layer)])


def in_place(net):
    for layer in net.modules():
        if isinstance(layer, torch.nn.ReLU):
            layer.inplace = True
    return net


def without_dropout(net):
    for layer in net.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    return after_pools(net)


test_right, test_wrong = answers.tests(
    {
        "nin_cost_crossover": [by_division],
        "nin_cost_live_set": [live],
        "nin_cost_checkpoint": [
            after_pools,
            lambda net: Parts(net, range(1, len(net.features) + 1)),
        ],
    },
    {
        "nin_cost_crossover": [
            (lambda a, b, n, per: per * n // a + 1, "(900, 1300, 200, 12) expected"),
            (lambda a, b, n, per: -(-per * n // a), "(1000, 2000, 250, 16) expected"),
            (lambda a, b, n, per: per * n // a, "expected 5"),
            (lambda a, b, n, per: (per * n - 2 * a + b) // (b - a), "expected 5"),
        ],
        "nin_cost_live_set": [
            (two_consecutive, "expected 10240"),
            (lambda operations, sizes, held: sum(sizes.values()), "expected 10240"),
            (partial(live, waits=False), "expected 87"),
            (partial(live, caller=False), "expected 10240"),
        ],
        "nin_cost_checkpoint": [
            (lambda net: net, "bytes are kept, more than half of"),
            (in_place, "bytes are kept, more than half of"),
            (lambda net: Parts(net, [2]), "bytes are kept, more than half of"),
            (lambda net: Parts(net, [len(net.features)]), "the worst moment has"),
            (lambda net: Parts(net, [4]), "the worst moment has"),
            (lambda net: Parts(net, [2, 4], detached=True), "the gradients differ"),
            (without_dropout, "the outputs differ"),
        ],
    },
)
