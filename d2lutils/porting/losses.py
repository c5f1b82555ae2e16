"""Rows: losses and metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from d2lutils.compat import mx
from d2lutils.porting import Judge, Row, functions, refusal

__all__ = ["ROWS"]

nd: Any = mx.nd
loss: Any = mx.gluon.loss
metric: Any = mx.metric

CLASSES = np.array([2, 0, 4])
SIGNS = np.array([1.0, -1.0, 1.0])
FLAGS = np.array([1, -1, 1])
ZEROS_ONES = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
SHARES = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]])
LABELS = np.array([[0, 2], [1, 1]])
WEIGHTS = np.array([[0.5], [2.0], [1.0]])
SCORES = np.random.Generator(np.random.PCG64(2)).standard_normal((9, 5))
FEATURES = SCORES[:3, :4].astype("float32")
RIGHT = np.array([0, 1, 2, 3, 4, 4, 3, 2, 1])


def measured(*inputs: Any) -> Judge:
    """A metric's value."""
    return functions(*inputs, gradient=False)


def gluon_accuracy(scores: Any, labels: Any) -> Any:
    accuracy = metric.Accuracy()
    accuracy.update(labels, scores)
    return accuracy.get()[1]


def pytorch_accuracy(scores: Any, labels: Any) -> Any:
    return (scores.argmax(1) == labels).double().mean()


def gluon_top(scores: Any, labels: Any) -> Any:
    accuracy = metric.TopKAccuracy(3)
    accuracy.update([labels], [scores])
    return accuracy.get()[1]


def pytorch_top(scores: Any, labels: Any) -> Any:
    places = scores.topk(3).indices
    return (places == labels[:, None]).any(1).double().mean()


def gluon_two_batches(scores: Any, labels: Any) -> Any:
    accuracy = metric.Accuracy()
    for part in (slice(0, 6), slice(6, 9)):
        accuracy.update(labels[part], scores[part])
    return accuracy.get()[1]


def pytorch_two_batches(scores: Any, labels: Any) -> Any:
    right = [scores[:6].argmax(1) == labels[:6], scores[6:].argmax(1) == labels[6:]]
    return sum(r.sum() for r in right) / sum(r.numel() for r in right)


def gluon_entropy(scores: Any, labels: Any) -> Any:
    entropy = metric.CrossEntropy()
    entropy.update(labels, nd.softmax(scores))
    return entropy.get()[1]


def pytorch_entropy(scores: Any, labels: Any) -> Any:
    return F.cross_entropy(scores, labels)


def gluon_rmse(x: Any, y: Any) -> Any:
    rmse = metric.RMSE()
    for part in (slice(0, 2), slice(2, 3)):
        rmse.update(y[part], x[part])
    return rmse.get()[1]


def pytorch_rmse(x: Any, y: Any) -> Any:
    return F.mse_loss(x, y).sqrt()


def mean_of_roots(x: Any, y: Any) -> Any:
    roots = [F.mse_loss(x[:2], y[:2]).sqrt(), F.mse_loss(x[2:], y[2:]).sqrt()]
    return sum(roots) / 2


def gluon_mean_loss(x: Any, y: Any) -> Any:
    mean = metric.Loss()
    mean.update(0, loss.L2Loss()(x, y))
    return mean.get()[1]


def pytorch_mean_loss(x: Any, y: Any) -> Any:
    return F.mse_loss(x, y) / 2


def pytorch_ctc(x: Any, labels: Any) -> Any:
    steps, counts = torch.full((2,), 6), torch.full((2,), 2)
    log_p = x.log_softmax(-1).swapaxes(0, 1)
    return F.ctc_loss(log_p, labels, steps, counts, 0, "none")


def pytorch_ctc_blank_last(x: Any, labels: Any) -> Any:
    steps, counts = torch.full((2,), 6), torch.full((2,), 2)
    log_p = x.log_softmax(-1).swapaxes(0, 1)
    return F.ctc_loss(log_p, labels, steps, counts, x.shape[-1] - 1, "none")


def squared_triplet(a: Any, p: Any, n: Any) -> Any:
    return (((a - p) ** 2).sum(1) - ((a - n) ** 2).sum(1) + 1).relu()


def kl_divergence(x: Any, y: Any) -> Any:
    loss = F.kl_div(x.log_softmax(1), y, reduction="batchmean")
    return loss.reshape(1)


ROWS = [
    Row(
        "cross entropy from scores",
        gluon=lambda x, y: loss.SoftmaxCELoss()(x, y),
        pytorch=lambda x, y: F.cross_entropy(x, y),
        judge=functions((3, 5), CLASSES),
        differs="one number for each example there, their mean here",
        cure=lambda x, y: F.cross_entropy(x, y, reduction="none"),
    ),
    Row(
        "cross entropy, the mean",
        gluon=lambda x, y: loss.SoftmaxCELoss()(x, y).mean().reshape(()),
        pytorch=lambda x, y: F.cross_entropy(x, y),
        judge=functions((3, 5), CLASSES),
    ),
    Row(
        "cross entropy with shares for labels",
        gluon=lambda x, y: loss.SoftmaxCELoss(sparse_label=False)(x, y),
        pytorch=lambda x, y: F.cross_entropy(x, y, reduction="none"),
        judge=functions((2, 3), SHARES.astype("float64")),
    ),
    Row(
        "cross entropy from log probabilities",
        gluon=lambda x, y: loss.SoftmaxCELoss(from_logits=True)(x, y),
        pytorch=lambda x, y: F.nll_loss(x, y, reduction="none"),
        judge=functions((3, 5), CLASSES),
    ),
    Row(
        "cross entropy of each pixel",
        gluon=lambda x, y: loss.SoftmaxCELoss(axis=1)(x, y),
        pytorch=lambda x, y: F.cross_entropy(x, y, reduction="none"),
        judge=functions((2, 5, 2), LABELS),
        differs="mean over the pixels of each example there",
        cure=lambda x, y: F.cross_entropy(x, y, reduction="none").mean(1),
    ),
    Row(
        "squared error",
        gluon=lambda x, y: loss.L2Loss()(x, y),
        pytorch=lambda x, y: F.mse_loss(x, y, reduction="none").mean(1),
        judge=functions((3, 4), np.ones((3, 4))),
        differs="half of it there",
        cure=lambda x, y: F.mse_loss(x, y, reduction="none").mean(1) / 2,
    ),
    Row(
        "absolute error",
        gluon=lambda x, y: loss.L1Loss()(x, y),
        pytorch=lambda x, y: F.l1_loss(x, y, reduction="none").mean(1),
        judge=functions((3, 4), np.ones((3, 4))),
    ),
    Row(
        "binary cross entropy from scores",
        gluon=lambda x, y: loss.SigmoidBCELoss()(x, y).mean(),
        pytorch=lambda x, y: F.binary_cross_entropy_with_logits(x, y).reshape(1),
        judge=functions((3, 2), ZEROS_ONES),
    ),
    Row(
        "binary cross entropy from probabilities",
        gluon=lambda x, y: loss.SigmoidBCELoss(from_sigmoid=True)(x, y).mean(),
        pytorch=lambda x, y: F.binary_cross_entropy(x, y).reshape(1),
        judge=functions(np.array([[0.25, 0.5]]), np.array([[0.0, 1.0]])),
        within=1e-6,
    ),
    Row(
        "binary cross entropy of a certain mistake",
        gluon=lambda x, y: loss.SigmoidBCELoss(from_sigmoid=True)(x, y),
        pytorch=lambda x, y: F.binary_cross_entropy(x, y, reduction="none").mean(1),
        judge=functions(np.zeros((1, 1)), np.ones((1, 1)), gradient=False),
        differs="-log(1e-12) there, 100 here",
        cure=lambda x, y: -(y * (x + 1e-12).log() + (1 - y) * (1 - x).log()).mean(1),
        within=1e-6,
    ),
    Row(
        "Huber",
        gluon=lambda x, y: loss.HuberLoss(rho=0.5)(x, y),
        pytorch=lambda x, y: F.huber_loss(x, y, "none", delta=0.5).mean(1),
        judge=functions((3, 4), np.ones((3, 4))),
        differs="divided by `rho` there, which is smooth L1",
        cure=lambda x, y: F.smooth_l1_loss(x, y, reduction="none", beta=0.5).mean(1),
    ),
    Row(
        "divergence of distributions",
        gluon=lambda x, y: loss.KLDivLoss(from_logits=False)(x, y).mean(),
        pytorch=kl_divergence,
        judge=functions((2, 3), SHARES, gradient=False),
    ),
    Row(
        "hinge",
        gluon=lambda x, y: loss.HingeLoss()(x, y),
        pytorch=lambda x, y: (1 - x * y).relu(),
        judge=functions((3,), SIGNS),
    ),
    Row(
        "logistic, labels ±1",
        gluon=lambda x, y: loss.LogisticLoss()(x, y),
        pytorch=lambda x, y: F.soft_margin_loss(x, y, reduction="none"),
        judge=functions((3,), SIGNS, gradient=False),
    ),
    Row(
        "cosine embedding, float32",
        gluon=lambda x, y, s: loss.CosineEmbeddingLoss()(x, y, s).reshape(-1),
        pytorch=lambda x, y, s: F.cosine_embedding_loss(x, y, s, reduction="none"),
        judge=measured(FEATURES, FEATURES[::-1].copy(), SIGNS.astype("float32")),
        within=1e-6,
    ),
    Row(
        "cosine embedding in float64",
        gluon=lambda x, y, s: loss.CosineEmbeddingLoss()(x, y, s),
        pytorch=lambda x, y, s: F.cosine_embedding_loss(x, y, s),
        judge=refusal("Incompatible attr", functions((3, 4), np.eye(3, 4), FLAGS)),
        differs="refused there",
    ),
    Row(
        "triplet",
        gluon=lambda a, p, n: loss.TripletLoss()(a, p, n),
        pytorch=lambda a, p, n: F.triplet_margin_loss(a, p, n, reduction="none"),
        judge=functions((3, 4), np.ones((3, 4)), np.zeros((3, 4))),
        differs="squared distances there",
        cure=squared_triplet,
    ),
    Row(
        "Poisson",
        gluon=lambda x, y: loss.PoissonNLLLoss()(x, y),
        pytorch=lambda x, y: F.poisson_nll_loss(x, y).reshape(1),
        judge=functions((3, 4), np.ones((3, 4))),
    ),
    Row(
        "CTC",
        gluon=lambda x, y: loss.CTCLoss()(x.astype("float32"), y),
        pytorch=pytorch_ctc,
        judge=functions((2, 6, 4), LABELS, gradient=False),
        differs="the last class is the blank there, the first here",
        cure=pytorch_ctc_blank_last,
        within=1e-6,
    ),
    Row(
        "a weight for each example",
        gluon=lambda x, y, w: loss.L1Loss()(x, y, w),
        pytorch=lambda x, y, w: (F.l1_loss(x, y, reduction="none") * w).mean(1),
        judge=functions((3, 4), np.ones((3, 4)), WEIGHTS),
    ),
    Row(
        "accuracy",
        gluon=gluon_accuracy,
        pytorch=pytorch_accuracy,
        judge=measured(SCORES, RIGHT),
    ),
    Row(
        "accuracy over batches of unequal size",
        gluon=gluon_two_batches,
        pytorch=pytorch_two_batches,
        judge=measured(SCORES, RIGHT),
        within=1e-6,
    ),
    Row(
        "among the best `k`",
        gluon=gluon_top,
        pytorch=pytorch_top,
        judge=measured(SCORES, RIGHT),
    ),
    Row(
        "cross entropy as a metric",
        gluon=gluon_entropy,
        pytorch=pytorch_entropy,
        judge=measured(SCORES, RIGHT),
    ),
    Row(
        "root mean squared error over batches",
        gluon=gluon_rmse,
        pytorch=pytorch_rmse,
        judge=measured((3, 4), np.ones((3, 4))),
        differs="the mean of the batches' roots there",
        cure=mean_of_roots,
    ),
    Row(
        "mean of a loss",
        gluon=gluon_mean_loss,
        pytorch=pytorch_mean_loss,
        judge=measured((3, 4), np.ones((3, 4))),
        within=1e-6,
    ),
]
