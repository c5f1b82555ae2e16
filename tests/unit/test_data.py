"""The digits, the batches that both frameworks see, and images of another size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2lutils.data import Batches, Resized, Split, digits, resize


@pytest.fixture(scope="module")
def parts() -> tuple[Split, Split]:
    return digits()


def toy(n: int = 10, size: int = 4, **options: Any) -> Batches:
    return Batches(np.arange(n) * 1.5, np.arange(n), size, **options)


def order(batches: Batches) -> list[int]:
    return [int(i) for _, y in batches for i in y]


class TestDigits:
    def test_sizes_and_types(self, parts: tuple[Split, Split]) -> None:
        for part, n in zip(parts, (1437, 360), strict=True):
            assert part.x.shape == (n, 1, 8, 8)
            assert part.y.shape == (n,)
            assert len(part) == n
            assert (part.x.dtype, part.y.dtype) == ("float32", "int64")

    def test_stratified(self, parts: tuple[Split, Split]) -> None:
        assert np.bincount(parts[1].y).tolist() == [36] * 10
        train = np.bincount(parts[0].y, minlength=10)
        assert train.min() >= 174 - 36
        assert train.sum() == 1437

    def test_every_digit_is_in_one_part(self, parts: tuple[Split, Split]) -> None:
        from sklearn.datasets import load_digits

        raw = load_digits()
        scaled = np.concatenate([part.x.reshape(-1, 64) for part in parts])
        # Undo the scaling: the smallest grey value is 0, the largest 16.
        grey = np.round((scaled - scaled.min()) / np.ptp(scaled) * 16)
        labels = np.concatenate([part.y for part in parts])
        found = sorted(map(tuple, np.column_stack([grey, labels]).tolist()))
        expected = np.column_stack([raw.data, raw.target])
        assert found == sorted(map(tuple, expected.tolist()))

    def test_training_part_is_standardised(self) -> None:
        train, test = digits(dtype="float64")
        assert abs(train.x.mean()) < 1e-12
        assert train.x.std() == pytest.approx(1)
        # The test part is scaled by the training part's numbers, not by its own.
        assert 1e-6 < abs(test.x.mean()) < 0.05

    def test_again_and_as_sequences(self, parts: tuple[Split, Split]) -> None:
        for one, two, rows in zip(parts, digits(), digits("sequences"), strict=True):
            assert np.array_equal(one.x, two.x)
            assert np.array_equal(one.y, two.y)
            assert rows.x.shape == (len(one), 1, 64)
            assert np.array_equal(rows.x.reshape(one.x.shape), one.x)

    def test_other_dtype(self, parts: tuple[Split, Split]) -> None:
        exact = digits(dtype="float64")[1].x
        assert exact.dtype == "float64"
        assert np.array_equal(exact.astype("float32"), parts[1].x)

    @pytest.mark.parametrize("size", [10, 359, 1500, 1730])
    def test_no_part_without_a_class(self, size: int) -> None:
        train, test = digits(test_size=size)
        assert len(test) == size
        assert len(np.unique(train.y)) == len(np.unique(test.y)) == 10

    @pytest.mark.parametrize("size", [1740, 1780, 1787])
    def test_too_few_left_for_all_classes(self, size: int) -> None:
        """The classes are drawn in turn, so that the smallest runs out first."""
        with pytest.raises(ValueError, match=r"^digits: test_size must be .*got 17"):
            digits(test_size=size)

    @pytest.mark.parametrize(
        ("arguments", "error", "text"),
        [
            (
                {"form": "rows"},
                ValueError,
                "form must be one of 'images', 'sequences', got 'rows'",
            ),
            (
                {"test_size": 9},
                ValueError,
                "test_size must be between 10 and 1787, got 9",
            ),
            ({"test_size": 1788}, ValueError, "test_size must be between 10 and 1787"),
            ({"test_size": 0}, ValueError, "test_size must be at least 1, got 0"),
            ({"test_size": 0.2}, TypeError, "test_size must be an integer, got 0.2"),
            # Integers would cut standardised inputs down to -1, 0, 1 and 2.
            ({"dtype": "int32"}, (TypeError, ValueError), "dtype"),
            ({"dtype": "banana"}, (TypeError, ValueError), "dtype"),
        ],
    )
    def test_refused(self, arguments: dict[str, Any], error: Any, text: str) -> None:
        with pytest.raises(error) as caught:
            digits(**arguments)
        assert str(caught.value).startswith(f"digits: {text}")


class TestBatches:
    @given(st.integers(1, 30), st.integers(1, 12), st.booleans(), st.integers(0, 9))
    def test_each_example_once(
        self, n: int, size: int, shuffle: bool, seed: int
    ) -> None:
        batches = toy(n, size, shuffle=shuffle, seed=seed)
        sizes = [len(y) for _, y in batches]
        assert len(sizes) == len(batches)
        assert sizes[:-1] == [size] * (len(sizes) - 1)
        assert 1 <= sizes[-1] <= size
        for epoch in (order(batches), order(batches)):
            assert sorted(epoch) == list(range(n))

    def test_x_goes_with_y(self) -> None:
        for x, y in toy(shuffle=True):
            assert np.array_equal(x, y * 1.5)

    def test_last_batch_is_short(self) -> None:
        assert [len(y) for _, y in toy(10, 4)] == [4, 4, 2]
        assert len(toy(10, 4)) == 3
        assert len(toy(8, 4)) == 2

    def test_without_shuffling(self) -> None:
        batches = toy()
        assert order(batches) == order(batches) == list(range(10))

    def test_two_objects_agree_epoch_by_epoch(self) -> None:
        one, two = (toy(50, 8, shuffle=True, seed=3) for _ in range(2))
        epochs = [(order(one), order(two)) for _ in range(4)]
        assert all(a == b for a, b in epochs)
        assert len({tuple(a) for a, _ in epochs}) == 4

    def test_seeds_differ(self) -> None:
        orders = {tuple(order(toy(50, shuffle=True, seed=s))) for s in range(5)}
        assert len(orders) == 5

    def test_order_is_the_same_for_ever(self) -> None:
        # A change here changes every stored training of the book.
        assert order(toy(10, shuffle=True, seed=1)) == [8, 4, 7, 0, 1, 2, 5, 9, 6, 3]

    def test_global_seed_plays_no_part(self) -> None:
        np.random.seed(1)
        first = order(toy(30, shuffle=True))
        np.random.seed(2)
        assert order(toy(30, shuffle=True)) == first

    def test_from_a_split(self, parts: tuple[Split, Split]) -> None:
        batches = parts[0].batches(64, shuffle=True, seed=5)
        assert (len(batches), batches.shuffle, batches.seed) == (23, True, 5)
        x, y = next(iter(batches))
        assert (x.shape, y.shape) == ((64, 1, 8, 8), (64,))

    @pytest.mark.parametrize(
        ("arguments", "error", "text"),
        [
            (([1], np.ones(1), 1), TypeError, "x must be a NumPy array, got list"),
            ((np.ones(1), [1], 1), TypeError, "y must be a NumPy array, got list"),
            ((np.ones(2), np.ones(3), 1), ValueError, "got shapes (2,) and (3,)"),
            ((np.ones(0), np.ones(0), 1), ValueError, "got shapes (0,) and (0,)"),
            (
                (np.ones(2), np.ones((2, 1)), 1),
                ValueError,
                "got shapes (2,) and (2, 1)",
            ),
            ((np.ones(()), np.ones(2), 1), ValueError, "got shapes () and (2,)"),
            ((np.ones(2), np.ones(2), 0), ValueError, "batch_size must be at least 1"),
            ((np.ones(2), np.ones(2), 1.0), TypeError, "batch_size must be an integer"),
            ((np.ones(2), np.ones(2), 1, 1), TypeError, "shuffle must be True or"),
            (
                (np.ones(2), np.ones(2), 1, True, -1),
                ValueError,
                "seed must be at least",
            ),
        ],
    )
    def test_refused(self, arguments: Any, error: Any, text: str) -> None:
        with pytest.raises(error) as caught:
            Batches(*arguments)
        assert str(caught.value).startswith("Batches: ")
        assert text in str(caught.value)


class TestResize:
    @pytest.mark.parametrize("size", [1, 5, 27, 28, 56, 224])
    @pytest.mark.parametrize("old", [(28, 28), (5, 9), (1, 1)])
    def test_pytorch_is_the_oracle(self, old: tuple[int, int], size: int) -> None:
        torch = pytest.importorskip("torch")
        images = np.random.Generator(np.random.PCG64(1)).normal(size=(3, 2, *old))
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(images),
            size=(size, size),
            mode="bilinear",
            align_corners=False,
            antialias=False,
        ).numpy()
        for dtype, bound in (("float64", 1e-13), ("float32", 2e-6), ("float16", 5e-3)):
            found = resize(images.astype(dtype), size)
            assert (found.shape, found.dtype) == (expected.shape, dtype)
            assert np.abs(found - expected).max() < bound

    def test_half_is_the_mean_of_four(self) -> None:
        images = np.arange(16.0).reshape(1, 4, 4)
        assert resize(images, 2).tolist() == [[[2.5, 4.5], [10.5, 12.5]]]
        assert np.array_equal(resize(images, 4), images)


class TestResized:
    images = np.random.Generator(np.random.PCG64(3)).normal(size=(300, 2, 6, 6))

    @pytest.mark.parametrize(
        "index",
        [3, -1, slice(8), [4, 2], np.arange(300) % 2 == 0, (3, 0), (slice(1, 4), 1)],
        ids=str,
    )
    def test_indexed_like_the_array(self, index: Any) -> None:
        found = Resized(self.images, 9)[index]
        assert isinstance(found, np.ndarray)
        assert np.array_equal(found, resize(self.images, 9)[index])

    def test_looks_like_the_array(self) -> None:
        lazy, eager = Resized(self.images, 9), resize(self.images, 9)
        assert len(lazy) == len(eager)
        for name in ("shape", "ndim", "dtype", "nbytes"):
            assert getattr(lazy, name) == getattr(eager, name)
        assert np.array_equal(np.asarray(lazy), eager)
        assert np.asarray(lazy, dtype="float32").dtype == "float32"
        assert np.array_equal(np.stack(list(lazy)), eager)
        assert repr(lazy) == "Resized(shape=(300, 2, 9, 9), dtype=float64)"
        with pytest.raises(ValueError, match="always a new one"):
            lazy.__array__(copy=False)

    @pytest.mark.parametrize("index", [..., (..., 0), (3, 0, 2), np.ones((300, 2)) > 0])
    def test_pixels_cannot_be_indexed(self, index: Any) -> None:
        with pytest.raises(TypeError, match=r"^Resized: an index must choose images"):
            Resized(self.images, 9)[index]

    def test_a_batch_of_very_many_images(self) -> None:
        lazy = Resized(np.broadcast_to(self.images[:1, :1], (60_000, 1, 6, 6)), 224)
        assert lazy.nbytes == 60_000 * 224 * 224 * 8
        x, _ = next(iter(Batches(lazy, np.zeros(60_000, "int64"), 8)))
        assert x.shape == (8, 1, 224, 224)


WRONG_SHAPE = "images must have shape ({}, H, W), H and W at least 1, got "


@pytest.mark.parametrize(
    ("function", "images", "size", "error", "text"),
    [
        (resize, [[1.0]], 2, TypeError, "images must be a floating-point array, got l"),
        (resize, np.ones((2, 2), "uint8"), 2, TypeError, "images must be a floating"),
        (resize, np.ones(2), 2, ValueError, WRONG_SHAPE.format("…") + "(2,)"),
        (resize, np.ones((0, 2)), 2, ValueError, WRONG_SHAPE.format("…") + "(0, 2)"),
        (resize, np.ones((2, 2)), 0, ValueError, "size must be at least 1, got 0"),
        (Resized, np.ones((2, 2)), 2, ValueError, WRONG_SHAPE.format("N, C") + "(2, 2"),
        (Resized, np.ones((1, 1, 2, 2)), 2.0, TypeError, "size must be an integer"),
    ],
)
def test_images_refused(
    function: Any, images: Any, size: Any, error: Any, text: str
) -> None:
    with pytest.raises(error) as caught:
        function(images, size)
    assert str(caught.value).startswith(f"{function.__name__}: {text}")
