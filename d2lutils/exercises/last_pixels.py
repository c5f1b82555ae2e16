"""The checks of the chapter `last_pixels`."""

from __future__ import annotations

from typing import Any

from d2lutils import shapes
from d2lutils.exercises import (
    by_property,
    by_reference,
    framework,
    require_kind,
    require_same,
)

_NIN_WINDOWS = ((11, 4, 0), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1), (3, 2, 0))


@by_reference(
    (224, [*_NIN_WINDOWS, (3, 1, 1)]),
    (196, [*_NIN_WINDOWS]),
    (224, [(11, 4, 0)]),
    (224, [(11, 4, 2), (3, 2, 0)]),
    (227, [(11, 4, 0), (3, 2, 0)]),
    (30, [(3, 2, 1), (3, 2, 1), (5, 3, 0)]),
    (100, [(7, 5, 1)]),
    # Sizes at which a window does not fit, though the arithmetic has an answer.
    (1, [*_NIN_WINDOWS, (3, 1, 1)]),
    (50, [*_NIN_WINDOWS, (3, 1, 1)]),
    (1, [(3, 2, 0), (3, 2, 0)]),
    (2, [(5, 2, 1), (4, 3, 0)]),
)
def last_pixels_next_size(n: int, layers: list[tuple[int, int, int]]) -> int | None:
    return shapes.lossless_sizes([shapes.Window(*layer) for layer in layers]).above(n)


@by_property(
    ("one layer", 224),
    ("padded", 30),
    ("maxima", 20),
    ("weights that cancel", 12),
    ("gaps", 20),
    ("a chain", 99),
)
def last_pixels_never_read(answer: Any, kind: str, n: int) -> None:
    from d2lutils.ledger import chain_of

    torch = framework("pytorch")
    nn = torch.nn
    nets: dict[str, list[Any]] = {
        "one layer": [nn.Conv1d(1, 1, 11, 4)],
        "padded": [nn.Conv1d(1, 2, 5, 4, padding=1)],
        "maxima": [nn.MaxPool1d(3, 3)],
        "weights that cancel": [nn.Conv1d(1, 1, 2, 2), nn.Conv1d(1, 1, 2)],
        "gaps": [nn.Conv1d(1, 1, 3, 4, dilation=2)],
        "a chain": [
            nn.Conv1d(1, 3, 11, 4),
            nn.ReLU(),
            nn.MaxPool1d(3, 2),
            nn.Conv1d(3, 2, 5, padding=2),
        ],
    }
    net = nn.Sequential(*nets[kind])
    with torch.no_grad():
        for p in net.parameters():  # alternating signs, no zeros
            size = 1 + torch.arange(p.numel()) % 3 / 4
            sign = 1 - 2 * (torch.arange(p.numel()) % 2)
            equal = kind == "weights that cancel"
            p.copy_((sign if equal else sign * size).reshape(p.shape))
    expected = sorted(shapes.chain_unread(n, chain_of(net)))
    got = answer(net, n)
    require_kind(got, set | frozenset, "a set")
    require_same(expected, sorted(int(q) for q in got))
