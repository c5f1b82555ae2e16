"""The checks of the chapter `condconv`."""

from __future__ import annotations

from typing import Any

import numpy as np

from d2lutils.exercises import (
    by_property,
    by_reference,
    framework,
    require_kind,
    require_same,
    require_shape,
    wave,
)


@by_property(
    # images, experts, sizes (O, I, k), whether all images are equal, memory format
    (5, 3, (4, 6, 3), False, "contiguous"),
    (1, 3, (4, 6, 3), False, "contiguous"),
    (4, 4, (3, 2, 3), False, "contiguous"),
    (4, 2, (6, 4, 3), True, "contiguous"),
    (3, 4, (5, 3, 3), False, "channels_last"),
)
def condconv_repair(
    answer: Any,
    batch: int,
    count: int,
    sizes: tuple[int, int, int],
    equal: bool,
    memory: str,
) -> None:
    torch = framework("pytorch")
    from d2lutils.pytorch.condconv import looped

    def waves(*shape: int) -> Any:
        return torch.from_numpy(wave(*shape))

    outputs, inputs, k = sizes
    # Images of different brightness get different routing.
    x = waves(batch, inputs, 6, 5) + waves(batch, inputs, 1, 1)
    if equal:
        x = x[:1].repeat(batch, 1, 1, 1)
    matrix, offset = 2 * waves(count, inputs), waves(count) / 2
    experts = waves(count, outputs, inputs, k, k)
    if memory == "channels_last":
        x = x.to(memory_format=torch.channels_last)
    routing = torch.sigmoid(x.mean(dim=(2, 3)) @ matrix.T + offset)
    expected = looped(x, routing, experts, padding=1)
    got = answer(x, matrix, offset, experts)
    require_kind(got, torch.Tensor, "a tensor")
    require_shape(expected.shape, got)
    for i, (a, b) in enumerate(zip(expected, got, strict=True)):
        wrong = f"image {i} differs from what a loop over the images gives"
        require_same(a, b, wrong, rtol=1e-5)


_HALF8 = np.full(8, 0.5)


@by_reference(
    ((8, 64, 64, 3, 3), _HALF8),
    ((8, 64, 64, 3, 3), _HALF8, True),
    ((4, 16, 8, 3, 3), np.array([1.0, 0.0, 0.0, 0.0])),
    ((3, 32, 16, 5, 5), np.array([0.9, 0.25, 0.5]), False),
    ((2, 24, 6, 1, 3), np.array([0.75, 0.125]), True),
)
def condconv_deviation(
    shape: tuple[int, ...], weights: np.ndarray, whole_tensor: bool = False
) -> float:
    _, outputs, inputs, height, width = shape
    fan_in = inputs * height * width * (outputs if whole_tensor else 1)
    return float(np.sqrt(2 / fan_in * np.square(weights).sum()))


@by_reference(
    (2_500_000,), (1_076_834,), (1_076_833,), (2_148_458,), (300_000,), (200_000,)
)
def condconv_experts(limit: int) -> int:
    # Stem, projections, batch norms, classifier; then the parameters of an expert.
    without = 272_474 - 267_264
    return max(1, (limit - without) // (267_264 + 642) + 1)


@by_property(
    # two batch sizes, sizes (K, O, I), height and width
    ((2, 5), (3, 4, 6), (5, 7)),
    ((1, 4), (1, 2, 3), (4, 4)),
    ((3, 1), (3, 3, 3), (1, 6)),
    ((4, 2), (2, 8, 2), (3, 1)),
)
def condconv_pointwise(
    answer: Any,
    batches: tuple[int, int],
    sizes: tuple[int, int, int],
    space: tuple[int, int],
) -> None:
    mx = framework("gluon")
    from d2lutils.gluon.condconv import looped

    count, outputs, inputs = sizes
    shape = (count, outputs, inputs, 1, 1)
    hybrid: Any = mx.gluon.HybridBlock

    class Block(hybrid):
        def hybrid_forward(self, F: Any, x: Any, routing: Any, experts: Any) -> Any:
            return answer(F, x, routing, experts, shape)

    def waves(*shape: int) -> Any:
        return mx.nd.array(wave(*shape))

    block = Block()
    block.hybridize()
    for batch in batches:  # in one graph
        given = (waves(batch, inputs, *space), waves(batch, count), waves(*shape))
        got = block(*given)
        require_kind(got, mx.nd.NDArray, "one array")
        expected = looped(*given)
        require_shape(expected.shape, got, f"with {batch} images")
        wrong = f"with {batch} images it differs from a loop over the images"
        require_same(expected, got, wrong, 1e-4, 1e-5)
