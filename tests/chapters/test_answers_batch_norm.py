"""The checks of `batch_norm` reject plausible wrong answers."""

import answers
import numpy as np
import pytest
import torch

from d2lutils.compat import mx
from d2lutils.exercises.batch_norm import batch_norm_entry as entry


def corrected_by_the_batch(x, running_var, momentum):
    used = x.var(axis=(0, *range(2, x.ndim)))
    kept, n = momentum * running_var, len(x)
    return (
        kept + (1 - momentum) * used,
        kept + (1 - momentum) * used * n / (n - 1),
    )


def only_for_images(x, running_var, momentum):
    used, unbiased = (x.var(axis=(0, 2, 3), ddof=d) for d in (0, 1))
    kept = momentum * running_var
    return kept + (1 - momentum) * used, kept + (1 - momentum) * unbiased


def renew(net, batches):
    for x in batches:
        with mx.autograd.record():
            y = net(x)
        y.backward()


def forward_only(net, batches):
    for x in batches:
        with mx.autograd.train_mode():
            net(x)


def with_a_trainer(net, batches):
    settings = {"learning_rate": 0.1}
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", settings)
    for x in batches:
        renew(net, [x])
        trainer.step(len(x))


def all_at_once(net, batches):
    """A graph that holds all batches writes in the order of its backward pass."""
    with mx.autograd.record():
        y = sum(net(x) for x in batches)
    y.backward()


test_right, test_wrong = answers.tests(
    {"batch_norm_renew": [renew]},
    {
        "batch_norm_entry": [
            (lambda x, v, m: (entry(x, v, m)[0],) * 2, "expected"),
            (corrected_by_the_batch, "expected"),
            (lambda x, v, m: (entry(x, v, m)[0], entry(x, v, 1 - m)[1]), "expected"),
            (only_for_images, "was raised"),
        ],
        "batch_norm_renew": [
            (forward_only, "have not moved"),
            (with_a_trainer, "the weights have changed"),
            (all_at_once, "the running statistics are wrong"),
            (lambda net, batches: renew(net, batches * 2), "statistics are wrong"),
        ],
    },
)


@pytest.mark.parametrize("shape", [(4, 3), (3, 2, 5), (2, 3, 4, 4)])
def test_the_entry_is_what_the_layers_write(shape):
    x = np.sin(1.3 * np.arange(np.prod(shape))).reshape(shape)
    start = np.linspace(0.5, 2.0, shape[1])
    gluon = mx.gluon.nn.BatchNorm(in_channels=shape[1], momentum=0.75)
    gluon.initialize()
    gluon.cast("float64")
    gluon.running_var.set_data(mx.nd.array(start, dtype="float64"))
    renew(gluon, [mx.nd.array(x, dtype="float64")])
    layer = torch.nn.BatchNorm2d if len(shape) == 4 else torch.nn.BatchNorm1d
    norm = layer(shape[1], momentum=0.25).double()
    norm.running_var.copy_(torch.as_tensor(start))
    norm(torch.as_tensor(x))
    one, two = entry(x, start, 0.75)
    np.testing.assert_allclose(gluon.running_var.data().asnumpy(), one, rtol=1e-12)
    np.testing.assert_allclose(norm.running_var.numpy(), two, rtol=1e-12)
