"""Which blocks stochastic depth drops, and how often: the rule of Huang et al., 2016.

Block l of L survives with probability p_l = 1 - (l / L) * (1 - p_L), l = 1 … L: the
first almost always, the last with p_L. Libraries count blocks differently; their
variants have names here.
"""

from __future__ import annotations

import math
from typing import Annotated

from d2lutils._arguments import Positive, Probability, checked, one_of

__all__ = ["MODES", "RULES", "Mode", "drop_probs", "expected_blocks"]

# What is dropped together, and whether a dropped branch runs: see `StochasticDepth`.
MODES = ("batch", "row", "gather")
Mode = Annotated[str, one_of(*MODES)]

# The drop probability of block i = 0 … L - 1, as a share of drop_prob.
RULES = {
    "paper": "(i + 1) / L",
    "from zero": "i / L",
    "end to end": "i / (L - 1)",
    "constant": "1",
}
Rule = Annotated[str, one_of(RULES)]


@checked
def drop_probs(
    num_blocks: Positive, drop_prob: Probability, rule: Rule = "paper"
) -> list[float]:
    """The probability of being dropped for each block, first to last.

    Rules, for block i = 0 … L - 1 (arXiv 1603.09382, section 3, and libraries'
    variants):

    - "paper": drop_prob * (i + 1) / L. The last block has drop_prob.
    - "from zero": drop_prob * i / L. The first is never dropped, the last less often
      than drop_prob.
    - "end to end": drop_prob * i / (L - 1), or 0 if L is 1. From 0 to drop_prob.
    - "constant": drop_prob everywhere.

    Args:
        num_blocks: L, at least 1.
        drop_prob: the requested rate, from 0 to 1; the paper's 1 - p_L.
        rule: one of the four above.

    Raises:
        TypeError, ValueError: a bad argument, named.

    >>> drop_probs(4, 0.5)
    [0.125, 0.25, 0.375, 0.5]
    """
    blocks = range(num_blocks)
    if rule == "paper":
        return [drop_prob * (i + 1) / num_blocks for i in blocks]
    if rule == "from zero":
        return [drop_prob * i / num_blocks for i in blocks]
    if rule == "end to end":
        return [drop_prob * i / max(1, num_blocks - 1) for i in blocks]
    return [drop_prob for _ in blocks]


def expected_blocks(num_blocks: int, drop_prob: float, rule: str = "paper") -> float:
    """How many blocks survive a training step on average.

    (3L - 1) / 4 for the paper's rule with drop_prob 0.5. For arguments and errors see
    `drop_probs`.

    >>> expected_blocks(54, 0.5)
    40.25
    """
    return num_blocks - math.fsum(drop_probs(num_blocks, drop_prob, rule))
