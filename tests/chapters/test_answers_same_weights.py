"""The checks of `same_weights` reject plausible wrong answers."""

import answers
import torch

from d2lutils.compat import mx

nn = mx.gluon.nn
ROLES = {"gamma": "weight", "beta": "bias"}


def values_of(source):
    return {
        ROLES.get(name, name): torch.as_tensor(p.data().asnumpy())
        for name, p in source._collect_params_with_prefix().items()
    }


def copied(*, only=None, anyway=()):
    def answer(source, target):
        values = values_of(source)
        for name in [*(only(target) if only else values), *anyway]:
            getattr(target, name).data.copy_(values[name])

    return answer


def loaded(source, target):
    target.load_state_dict(values_of(source), strict=False)


def new_parameters(source, target):
    for name, values in values_of(source).items():
        if name.startswith("running"):
            setattr(target, name, values)
        else:
            setattr(target, name, torch.nn.Parameter(values))


def layers_where(flattens):
    """An answer: the paths of the dense layers for which that holds of their input."""

    def paths(net, x):
        found = []

        def go(block, path, x):
            if isinstance(block, nn.Dense) and flattens(block, x):
                found.append(path)
            if not block._children or isinstance(block, nn.Dense):
                return block(x)
            for name, child in block._children.items():
                x = go(child, f"{path}.{name}".lstrip("."), x)
            return x

        go(net, "", x)
        return sorted(found)

    return paths


flattened = layers_where(lambda block, x: block._flatten and x.ndim > 2)


test_right, test_wrong = answers.tests(
    {
        "same_weights_copy": [copied(), loaded],
        "same_weights_flatten": [flattened],
    },
    {
        "same_weights_copy": [
            (
                copied(only=lambda target: dict(target.named_parameters())),
                "outputs in evaluation differ",
            ),
            (copied(only=lambda target: ["weight"]), "outputs in evaluation differ"),
            (new_parameters, "no longer those it had"),
            (copied(anyway=["bias"]), "was raised"),
        ],
        "same_weights_flatten": [
            (layers_where(lambda block, x: block._flatten), "expected"),
            (layers_where(lambda block, x: x.ndim > 2), "expected"),
            # Takes an axis of length one for no axis.
            (
                layers_where(
                    lambda b, x: b._flatten and sum(n > 1 for n in x.shape) > 2
                ),
                "expected",
            ),
            (lambda *call: [p for p in flattened(*call) if "." not in p], "expected"),
        ],
    },
)
