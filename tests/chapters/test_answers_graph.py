"""The checks of `graph` reject stubs and plausible wrong answers."""

import json
import tempfile
from pathlib import Path

import answers
import pytest

from d2lutils import exercises
from d2lutils.compat import mx


def rewritten(F, x):
    doubled = F.repeat(F.reshape(x, (0, -1, 1)), repeats=2, axis=2)
    centred = F.broadcast_sub(x, F.mean(x, axis=0, keepdims=True))
    largest = F.maximum(F.max(x, keepdims=True), 1)
    return [doubled, centred, F.broadcast_div(x, largest)]


def rewritten_with_where(F, x):
    doubled = F.stack(x, x, axis=2)
    centred = F.broadcast_sub(x, F.mean(x, axis=0, keepdims=True))
    scaled = F.broadcast_div(x, F.max(x, keepdims=True))
    large = F.broadcast_greater(F.max(x, keepdims=True), F.ones((1, 1)))
    large = F.broadcast_like(large, x)
    return (doubled, centred, F.where(large, scaled, x))


def as_it_was(F, x):
    doubled = x.reshape((x.shape[0], -1, 1)).repeat(2, axis=2)
    return [doubled, x - sum(row for row in x) / len(x), x]


def only_the_first(F, x):
    return rewritten(F, x)[0]


def sums_in_silence(F, x):
    doubled, _, limited = rewritten(F, x)
    return [doubled, x - sum(row for row in x) / len(x), limited]


def always_divides(F, x):
    doubled, centred, _ = rewritten(F, x)
    return [doubled, centred, F.broadcast_div(x, F.max(x, keepdims=True))]


def tiles(F, x):
    _, centred, limited = rewritten(F, x)
    return [F.tile(F.reshape(x, (0, 1, -1)), (1, 2, 1)), centred, limited]


def flagged(F, x):
    flag = F.abs(F.Dropout(F.ones_like(x), p=0.5) - 1)
    return x * (3 * flag - 1)


def asks_python(F, x):
    return 2 * x if mx.autograd.is_training() else -x


def drops_half(F, x):
    # 0 or 2 times x in training.
    return F.Dropout(x, p=0.5) * 1


def stops_the_gradient(F, x):
    return F.BlockGrad(flagged(F, x))


def survives(line):
    if line.startswith(("print", "self.calls", "if autograd")):
        return "gone"
    return "alive" if "F." in line and "self" not in line else "frozen"


def all_alive(line):
    return "alive" if "x =" in line else "gone"


def flag_is_alive(line):
    return "alive" if "is_training" in line else survives(line)


def in_other_words(line):
    return "lost"


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


def depth(text):
    graph = json.loads(text)
    depths = []
    for node in graph["nodes"]:
        before = [depths[i] for i, *_ in node["inputs"]]
        depths.append(max(before, default=0) + (node["op"] != "null"))
    return depths[graph["heads"][0][0]]


def counts_operators(text):
    return sum(node["op"] != "null" for node in json.loads(text)["nodes"])


def first_input_only(text):
    graph = json.loads(text)
    depths = []
    for node in graph["nodes"]:
        before = [depths[i] for i, *_ in node["inputs"][:1]]
        depths.append(max(before, default=0) + (node["op"] != "null"))
    return depths[graph["heads"][0][0]]


def deepest_anywhere(text):
    graph = json.loads(text)
    depths = []
    for node in graph["nodes"]:
        before = [depths[i] for i, *_ in node["inputs"]]
        depths.append(max(before, default=0) + (node["op"] != "null"))
    return max(depths)


RIGHT = {
    "graph_rewrite": [rewritten, rewritten_with_where],
    "graph_flag": [flagged],
    "graph_survives": [survives],
    "graph_retraces": [graphs_made],
    "graph_depth": [depth],
}
WRONG = {
    "graph_rewrite": [
        (as_it_was, "no attribute 'shape'"),
        (only_the_first, "a list of three"),
        (sums_in_silence, "the values of centred are wrong"),
        (always_divides, "the values of limited are wrong"),
        (tiles, "the values of doubled are wrong"),
    ],
    "graph_flag": [
        (asks_python, "traced in training, the values in evaluation"),
        (drops_half, "the values in training are wrong"),
        (stops_the_gradient, "the gradient in training is wrong"),
    ],
    "graph_survives": [
        (all_alive, "is not what happens"),
        (flag_is_alive, "is not what happens"),
        (in_other_words, "is expected"),
    ],
    "graph_retraces": [
        (lambda sizes: len(set(sizes)), "expected 2, got 4"),
        (lambda sizes: 1, "expected 2, got 1"),
        (lambda sizes: min(2, len(set(sizes))), "expected 3, got 2"),
    ],
    "graph_depth": [
        (counts_operators, "expected"),
        (first_input_only, "expected"),
        (deepest_anywhere, "expected"),
    ],
}


(
    test_stub_is_not_attempted,
    test_right_answer_passes,
    test_wrong_answer_is_rejected,
) = answers.tests(RIGHT, WRONG)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("line", exercises._GRAPH_LINES)
@pytest.mark.filterwarnings("ignore:Cannot decide type")
def test_what_survives_is_what_mxnet_does(line):
    """Run the line as the exercise says, and look at the loaded net."""
    printed: list[str] = []
    scope = {"autograd": mx.autograd, "print": printed.append}
    body = line if line.startswith(("if", "for")) else f"if True: {line}"
    code = (
        "import random\n"
        "def hybrid_forward(self, F, x):\n"
        "    x = x * 1\n"
        f"    {body}\n"
        "    return x\n"
    )
    exec(code, scope)
    block = type("Line", (mx.gluon.HybridBlock,), scope)()
    block.calls, block.scale, block.depth = 0, 3.0, 2
    block.hybridize()
    x = mx.nd.array([-1.0, 2.0, -3.0] * 9)
    traced = block(x).asnumpy()
    with tempfile.TemporaryDirectory() as folder:
        base = str(Path(folder, "line"))
        block.export(base)
        loaded = mx.gluon.SymbolBlock.imports(f"{base}-symbol.json", ["data"], None)
    assert block.calls == ("calls" in line)
    assert len(printed) == ("print" in line)
    runs = []
    for given in (x, x, -x):
        with mx.autograd.record():
            runs.append(loaded(given).asnumpy())
    nothing = (runs[0] == x.asnumpy()).all() and (runs[2] == -x.asnumpy()).all()
    decided = (runs[0] == traced).all() and not nothing
    # A selection by data has to be looked at with other data.
    if "F.where" in line:
        decided = bool((runs[2] == -runs[0]).all())
    found = "gone" if nothing else "frozen" if decided else "alive"
    assert found == exercises._GRAPH_LINES[line]
