"""The checks of `graph` reject plausible wrong answers."""

from functools import partial

import answers

from d2lutils.compat import mx


def rewritten(F, x, **others):
    results = {
        "doubled": F.repeat(F.reshape(x, (0, -1, 1)), repeats=2, axis=2),
        "centred": F.broadcast_sub(x, F.mean(x, axis=0, keepdims=True)),
        "limited": F.broadcast_div(x, F.maximum(F.max(x, keepdims=True), 1)),
    }
    for name, other in others.items():
        results[name] = other(F, x)
    return list(results.values())


def with_where(F, x):
    scaled = F.broadcast_div(x, F.max(x, keepdims=True))
    large = F.broadcast_greater(F.max(x, keepdims=True), F.ones((1, 1)))
    return F.where(F.broadcast_like(large, x), scaled, x)


def as_it_was(F, x):
    doubled = x.reshape((x.shape[0], -1, 1)).repeat(2, axis=2)
    return [doubled, sums_rows(F, x), x]


def sums_rows(F, x):
    return x - sum(row for row in x) / len(x)


def always_divides(F, x):
    return F.broadcast_div(x, F.max(x, keepdims=True))


def tiles(F, x):
    return F.tile(F.reshape(x, (0, 1, -1)), (1, 2, 1))


def flagged(F, x):
    flag = F.abs(F.Dropout(F.ones_like(x), p=0.5) - 1)
    return x * (3 * flag - 1)


def graphs_made(sizes):
    constants, any_size, count = set(), False, 0
    for n in sizes:
        if n in constants or (any_size and n > 1):
            continue
        if count == 0 or n == 1:
            constants.add(n)
        else:
            any_size = True
        count += 1
    return count


test_right, test_wrong = answers.tests(
    {
        "graph_rewrite": [
            rewritten,
            partial(
                rewritten,
                doubled=lambda F, x: F.stack(x, x, axis=2),
                limited=with_where,
            ),
        ],
        "graph_flag": [flagged],
        "graph_retraces": [graphs_made],
    },
    {
        "graph_rewrite": [
            (as_it_was, "no attribute 'shape'"),
            (lambda F, x: rewritten(F, x)[0], "a list of three"),
            (partial(rewritten, centred=sums_rows), "the values of centred are wrong"),
            (partial(rewritten, limited=always_divides), "the values of limited"),
            (partial(rewritten, doubled=tiles), "the values of doubled are wrong"),
        ],
        "graph_flag": [
            (
                lambda F, x: 2 * x if mx.autograd.is_training() else -x,
                "traced in training, the values in evaluation",
            ),
            # 0 or 2 times x in training.
            (lambda F, x: F.Dropout(x, p=0.5) * 1, "the values in training are wrong"),
            (lambda F, x: F.BlockGrad(flagged(F, x)), "the gradient in training is"),
        ],
        "graph_retraces": [
            (lambda sizes: len(set(sizes)), "expected 2, got 4"),
            (lambda sizes: 1, "expected 2, got 1"),
            (lambda sizes: min(2, len(set(sizes))), "expected 3, got 2"),
        ],
    },
)
