"""The checks of `many_devices` reject plausible wrong answers."""

import answers
import numpy as np


def mean(weighted=True, skips=True):
    def answer(means, counts):
        if not weighted:
            return sum(means) / len(means)
        pairs = zip(means, counts, strict=True)
        return sum(m * n for m, n in pairs if n or not skips) / sum(counts)

    return answer


def statistics(between=True, squares=False, weighted=True):
    def answer(counts, means, variances):
        share = np.array(counts)[:, None] / sum(counts)
        if not weighted:
            share = np.ones_like(share) / len(counts)
        mean = (share * means).sum(axis=0)
        if squares:
            return mean, (share * (variances + means**2)).sum(axis=0) - mean**2
        spread = (means - mean) ** 2 if between else 0
        return mean, (share * (variances + spread)).sum(axis=0)

    return answer


test_right, test_wrong = answers.tests(
    {
        "many_devices_mean": [mean()],
        "many_devices_statistics": [statistics()],
    },
    {
        "many_devices_mean": [
            (mean(weighted=False), "not the mean of all examples"),
            (mean(skips=False), "NaN for parts of"),
        ],
        "many_devices_statistics": [
            (statistics(between=False), "the variance is wrong"),
            (statistics(weighted=False), "the mean is wrong"),
            (statistics(squares=True), "near 1e9"),
            (lambda *_: None, "a mean and a variance are expected"),
        ],
    },
)
