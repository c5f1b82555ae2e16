"""The checks of the chapter `condconv`."""

from __future__ import annotations

from typing import Any

from d2lutils.exercises import (
    by_property,
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
        return torch.as_tensor(wave(*shape))

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
