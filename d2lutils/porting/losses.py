"""Rows: losses and metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from d2lutils.compat import mx
from d2lutils.porting.judges import functions, outputs
from d2lutils.porting.rows import Rows

__all__ = ["ROWS"]

nd: Any = mx.nd
loss: Any = mx.gluon.loss
metric: Any = mx.metric

CLASSES = np.array([2, 0, 4])
SIGNS = np.array([1.0, -1.0, 1.0])
ZEROS_ONES = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
SHARES = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]])
LABELS = np.array([[0, 2], [1, 1]])
WEIGHTS = np.array([[0.5], [2.0], [1.0]])
SCORES = np.random.Generator(np.random.PCG64(2)).standard_normal((9, 5))
FEATURES = SCORES[:3, :4].astype("float32")
RIGHT = np.array([0, 1, 2, 3, 4, 4, 3, 2, 1])

ROWS = Rows()
row, pytorch, cure = ROWS.row, ROWS.pytorch, ROWS.cure


row("cross entropy from scores", functions((3, 5), CLASSES))(
    gluon=lambda x, y: loss.SoftmaxCELoss()(x, y),
    pytorch=lambda x, y: F.cross_entropy(x, y),
    differs="one number for each example there, their mean here",
    cure=lambda x, y: F.cross_entropy(x, y, reduction="none"),
)
row("cross entropy, the mean", functions((3, 5), CLASSES))(
    gluon=lambda x, y: loss.SoftmaxCELoss()(x, y).mean().reshape(()),
    pytorch=lambda x, y: F.cross_entropy(x, y),
)
row(
    "cross entropy with shares for labels", functions((2, 3), SHARES.astype("float64"))
)(
    gluon=lambda x, y: loss.SoftmaxCELoss(sparse_label=False)(x, y),
    pytorch=lambda x, y: F.cross_entropy(x, y, reduction="none"),
)
row("cross entropy from log probabilities", functions((3, 5), CLASSES))(
    gluon=lambda x, y: loss.SoftmaxCELoss(from_logits=True)(x, y),
    pytorch=lambda x, y: F.nll_loss(x, y, reduction="none"),
)
row("cross entropy of each pixel", functions((2, 5, 2), LABELS))(
    gluon=lambda x, y: loss.SoftmaxCELoss(axis=1)(x, y),
    pytorch=lambda x, y: F.cross_entropy(x, y, reduction="none"),
    differs="mean over the pixels of each example there",
    cure=lambda x, y: F.cross_entropy(x, y, reduction="none").mean(1),
)
row("squared error", functions((3, 4), np.ones((3, 4))))(
    gluon=lambda x, y: loss.L2Loss()(x, y),
    pytorch=lambda x, y: F.mse_loss(x, y, reduction="none").mean(1),
    differs="half of it there",
    cure=lambda x, y: F.mse_loss(x, y, reduction="none").mean(1) / 2,
)
row("absolute error", functions((3, 4), np.ones((3, 4))))(
    gluon=lambda x, y: loss.L1Loss()(x, y),
    pytorch=lambda x, y: F.l1_loss(x, y, reduction="none").mean(1),
)
row("binary cross entropy from scores", functions((3, 2), ZEROS_ONES))(
    gluon=lambda x, y: loss.SigmoidBCELoss()(x, y).mean(),
    pytorch=lambda x, y: F.binary_cross_entropy_with_logits(x, y).reshape(1),
)
row(
    "binary cross entropy from probabilities",
    functions(np.array([[0.25, 0.5]]), np.array([[0.0, 1.0]])),
    within=1e-6,
)(
    gluon=lambda x, y: loss.SigmoidBCELoss(from_sigmoid=True)(x, y).mean(),
    pytorch=lambda x, y: F.binary_cross_entropy(x, y).reshape(1),
)
row(
    "binary cross entropy of a certain mistake",
    outputs(np.zeros((1, 1)), np.ones((1, 1))),
    within=1e-6,
)(
    gluon=lambda x, y: loss.SigmoidBCELoss(from_sigmoid=True)(x, y),
    pytorch=lambda x, y: F.binary_cross_entropy(x, y, reduction="none").mean(1),
    differs="-log(1e-12) there, 100 here",
    cure=lambda x, y: -(y * (x + 1e-12).log() + (1 - y) * (1 - x).log()).mean(1),
)
row("Huber", functions((3, 4), np.ones((3, 4))))(
    gluon=lambda x, y: loss.HuberLoss(rho=0.5)(x, y),
    pytorch=lambda x, y: F.huber_loss(x, y, "none", delta=0.5).mean(1),
    differs="divided by `rho` there, which is smooth L1",
    cure=lambda x, y: F.smooth_l1_loss(x, y, reduction="none", beta=0.5).mean(1),
)
row("divergence of distributions", outputs((2, 3), SHARES))(
    lambda x, y: loss.KLDivLoss(from_logits=False)(x, y).mean()
)


@pytorch
def _(x: Any, y: Any) -> Any:
    loss = F.kl_div(x.log_softmax(1), y, reduction="batchmean")
    return loss.reshape(1)


row("hinge", functions((3,), SIGNS))(
    gluon=lambda x, y: loss.HingeLoss()(x, y),
    pytorch=lambda x, y: (1 - x * y).relu(),
)
row("logistic, labels ±1", outputs((3,), SIGNS))(
    gluon=lambda x, y: loss.LogisticLoss()(x, y),
    pytorch=lambda x, y: F.soft_margin_loss(x, y, reduction="none"),
)
row(
    "cosine embedding, float32",
    outputs(FEATURES, FEATURES[::-1].copy(), SIGNS.astype("float32")),
    within=1e-6,
)(
    gluon=lambda x, y, s: loss.CosineEmbeddingLoss()(x, y, s).reshape(-1),
    pytorch=lambda x, y, s: F.cosine_embedding_loss(x, y, s, reduction="none"),
)
row("triplet", functions((3, 4), np.ones((3, 4)), np.zeros((3, 4))))(
    gluon=lambda a, p, n: loss.TripletLoss()(a, p, n),
    pytorch=lambda a, p, n: F.triplet_margin_loss(a, p, n, reduction="none"),
    differs="squared distances there",
    cure=lambda a, p, n: (((a - p) ** 2).sum(1) - ((a - n) ** 2).sum(1) + 1).relu(),
)
row("Poisson", functions((3, 4), np.ones((3, 4))))(
    gluon=lambda x, y: loss.PoissonNLLLoss()(x, y),
    pytorch=lambda x, y: F.poisson_nll_loss(x, y).reshape(1),
)
row("CTC", outputs((2, 6, 4), LABELS), within=1e-6)(
    lambda x, y: loss.CTCLoss()(x.astype("float32"), y)
)


@pytorch(differs="the last class is the blank there, the first here")
def _(x: Any, labels: Any) -> Any:
    steps, counts = torch.full((2,), 6), torch.full((2,), 2)
    log_p = x.log_softmax(-1).swapaxes(0, 1)
    return F.ctc_loss(log_p, labels, steps, counts, 0, "none")


@cure
def _(x: Any, labels: Any) -> Any:
    steps, counts = torch.full((2,), 6), torch.full((2,), 2)
    log_p = x.log_softmax(-1).swapaxes(0, 1)
    return F.ctc_loss(log_p, labels, steps, counts, x.shape[-1] - 1, "none")


row("a weight for each example", functions((3, 4), np.ones((3, 4)), WEIGHTS))(
    gluon=lambda x, y, w: loss.L1Loss()(x, y, w),
    pytorch=lambda x, y, w: (F.l1_loss(x, y, reduction="none") * w).mean(1),
)


@row("accuracy", outputs(SCORES, RIGHT))
def _(scores: Any, labels: Any) -> Any:
    accuracy = metric.Accuracy()
    accuracy.update(labels, scores)
    return accuracy.get()[1]


pytorch(lambda scores, labels: (scores.argmax(1) == labels).double().mean())


@row("accuracy over batches of unequal size", outputs(SCORES, RIGHT), within=1e-6)
def _(scores: Any, labels: Any) -> Any:
    accuracy = metric.Accuracy()
    for part in (slice(0, 6), slice(6, 9)):
        accuracy.update(labels[part], scores[part])
    return accuracy.get()[1]


@pytorch
def _(scores: Any, labels: Any) -> Any:
    right = [scores[:6].argmax(1) == labels[:6], scores[6:].argmax(1) == labels[6:]]
    return sum(r.sum() for r in right) / sum(r.numel() for r in right)


@row("among the best `k`", outputs(SCORES, RIGHT))
def _(scores: Any, labels: Any) -> Any:
    accuracy = metric.TopKAccuracy(3)
    accuracy.update([labels], [scores])
    return accuracy.get()[1]


@pytorch
def _(scores: Any, labels: Any) -> Any:
    places = scores.topk(3).indices
    return (places == labels[:, None]).any(1).double().mean()


@row("F1 over batches", outputs(SCORES[:, :2], RIGHT % 2), within=1e-6)
def _(scores: Any, labels: Any) -> Any:
    f1 = metric.F1()
    for part in (slice(0, 6), slice(6, 9)):
        f1.update(labels[part], nd.softmax(scores[part]))
    return f1.get()[1]


@pytorch(differs="the mean of the batches' F1 there, unless `average` is micro")
def _(scores: Any, labels: Any) -> Any:
    found = scores.argmax(1)
    return 2 * (found * labels).sum() / (found.sum() + labels.sum())


@row("perplexity, one label ignored", outputs(SCORES, RIGHT), within=1e-6)
def _(scores: Any, labels: Any) -> Any:
    perplexity = metric.Perplexity(ignore_label=0)
    perplexity.update([labels], [nd.softmax(scores)])
    return perplexity.get()[1]


pytorch(lambda scores, labels: F.cross_entropy(scores, labels, ignore_index=0).exp())


@row("cross entropy as a metric", outputs(SCORES, RIGHT))
def _(scores: Any, labels: Any) -> Any:
    entropy = metric.CrossEntropy()
    entropy.update(labels, nd.softmax(scores))
    return entropy.get()[1]


pytorch(lambda scores, labels: F.cross_entropy(scores, labels))


@row("root mean squared error over batches", outputs((3, 4), np.ones((3, 4))))
def _(x: Any, y: Any) -> Any:
    rmse = metric.RMSE()
    for part in (slice(0, 2), slice(2, 3)):
        rmse.update(y[part], x[part])
    return rmse.get()[1]


pytorch(
    lambda x, y: F.mse_loss(x, y).sqrt(), differs="the mean of the batches' roots there"
)


@cure
def _(x: Any, y: Any) -> Any:
    roots = [F.mse_loss(x[:2], y[:2]).sqrt(), F.mse_loss(x[2:], y[2:]).sqrt()]
    return sum(roots) / 2


@row("mean of a loss", outputs((3, 4), np.ones((3, 4))), within=1e-6)
def _(x: Any, y: Any) -> Any:
    mean = metric.Loss()
    mean.update(0, loss.L2Loss()(x, y))
    return mean.get()[1]


pytorch(lambda x, y: F.mse_loss(x, y) / 2)
