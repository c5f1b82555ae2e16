"""The checks of `nin_cost` reject stubs and plausible wrong answers."""

from typing import Any

import answers
import pytest

torch = pytest.importorskip("torch")

from torch.utils.checkpoint import checkpoint  # noqa: E402


def by_division(one, two, parameters, per_parameter):
    example = two - one
    return max(1, (per_parameter * parameters - one + example) // example + 1)


def by_counting(one, two, parameters, per_parameter):
    kept, batch = one, 1
    while kept <= per_parameter * parameters:
        kept, batch = kept + two - one, batch + 1
    return batch


def live(operations, sizes, held, caller=True, waits=True):
    last = {}
    for i, (reads, writes) in enumerate(operations):
        for name in (*reads, *writes):
            last[name] = i
    made = {name for _, writes in operations for name in writes}
    alive = {name for name in held if name not in made} if caller else set()
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
    def one(reads, writes):
        return sum(sizes[name] for name in {reads[0], *writes})

    return max(one(*operation) for operation in operations)


def everything(operations, sizes, held):
    return sum(sizes.values())


class Parts(torch.nn.Module):
    def __init__(self, net: Any, ends: Any, detached: bool = False) -> None:
        super().__init__()
        self.net, self.ends, self.detached = net, ends, detached

    def forward(self, x: Any) -> Any:
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


def each_layer(net):
    return Parts(net, range(1, len(net.features) + 1))


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


RIGHT = {
    "nin_cost_crossover": [by_division, by_counting],
    "nin_cost_live_set": [live],
    "nin_cost_checkpoint": [after_pools, each_layer],
}
WRONG = {
    "nin_cost_crossover": [
        (lambda a, b, n, per: per * n // a + 1, "(900, 1300, 200, 12) expected"),
        (lambda a, b, n, per: -(-per * n // a), "(1000, 2000, 250, 16) expected"),
        (lambda a, b, n, per: per * n // a, "expected 5"),
        (lambda a, b, n, per: (per * n - 2 * a + b) // (b - a), "expected 5"),
    ],
    "nin_cost_live_set": [
        (two_consecutive, "expected 10240"),
        (everything, "expected 10240"),
        (lambda *a: live(*a, waits=False), "expected 87"),
        (lambda *a: live(*a, caller=False), "expected 10240"),
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
}


(
    test_stub_is_not_attempted,
    test_right_answer_passes,
    test_wrong_answer_is_rejected,
) = answers.tests(RIGHT, WRONG)
