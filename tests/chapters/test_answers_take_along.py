"""The checks of `take_along` reject plausible wrong answers."""

import json

import answers
import numpy as np


def fold(fixed_used=True, eps_used=True, mean_scaled=True, axis=0):
    def answer(weight, gamma, beta, mean, variance, eps, fix_gamma):
        if fix_gamma and fixed_used:
            gamma = np.ones_like(gamma)
        scale = gamma / np.sqrt(variance + (eps if eps_used else 0))
        shape = [-1 if i == axis else 1 for i in range(4)]
        bias = beta - mean * (scale if mean_scaled else 1)
        return weight * scale.reshape(shape), bias

    return answer


def edges(once=False, variables=False, swapped=False):
    def answer(graph):
        nodes = json.loads(graph)["nodes"]
        found = [
            (nodes[i]["name"], node["name"])
            for node in nodes
            for i, *_ in node["inputs"]
            if variables or nodes[i]["op"] != "null"
        ]
        if once:
            found = list(dict.fromkeys(found))
        return [pair[::-1] for pair in found] if swapped else found

    return answer


test_right, test_wrong = answers.tests(
    {"take_along_fold": [fold()], "take_along_edges": [edges()]},
    {
        "take_along_fold": [
            (fold(fixed_used=False), "folded layer is not"),
            (fold(eps_used=False), "folded layer is not"),
            (fold(mean_scaled=False), "folded layer is not"),
            (lambda weight, *_: weight, "a weight and a bias are expected"),
        ],
        "take_along_edges": [
            (edges(once=True), "square"),
            (edges(variables=True), "data"),
            (edges(swapped=True), "conv"),
            (lambda graph: [], "conv"),
        ],
    },
)
