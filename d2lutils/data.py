"""Small real data, the same arrays in the same order for both frameworks.

The embedded default is scikit-learn's copy of the UCI handwritten digits: 1,797
images of 8x8 pixels, ten classes, no download. As images they have shape
(N, 1, 8, 8); as sequences (N, 1, 64), each image read row by row. Such small images
cannot show the benefit of depth, but they show whether two programs learn the same.

Fashion-MNIST has 70,000 grey images of 28x28 pixels, ten classes. It is downloaded
once, about 30 MB, into a cache outside the repository.
"""

from __future__ import annotations

import gzip
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from d2lutils import _arguments
from d2lutils._arguments import Bool, NonNegative, Positive, checked
from d2lutils._training import shows_progress

__all__ = [
    "FASHION_CLASSES",
    "FASHION_URLS",
    "Batches",
    "Resized",
    "Split",
    "digits",
    "fashion_mnist",
    "resize",
]

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""The names of Fashion-MNIST's classes 0 to 9."""

FASHION_URLS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
"""Download addresses of Fashion-MNIST: its authors' server, then their repository."""


@dataclass(frozen=True)
class Split:
    """One part of a data set: `x` (N, C, …) floating point, `y` (N,) int64.

    `x` is a NumPy array, or a `Resized` if the array would be very large.
    """

    x: np.ndarray | Resized
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def batches(self, batch_size: int, shuffle: bool = False, seed: int = 0) -> Batches:
        """Iterate over mini-batches; see `Batches`."""
        return Batches(self.x, self.y, batch_size, shuffle=shuffle, seed=seed)


class Resized:
    """Images (N, C, size, size) that are resized only when they are indexed.

    It stands in for the array that `resize` would return, if that is too large to
    keep: `x[3]`, `x[:8]`, `x[numbers]` and `x[3, 0]` are NumPy arrays with the same
    values; `np.asarray(x)` returns all images at once.

    Args:
        images: (N, C, H, W), floating point.
        size: height and width of the result.

    Raises:
        TypeError: images are not a floating-point array, or size is not an integer.
        ValueError: images of another rank or empty, or size below 1.
    """

    ndim = 4

    def __init__(self, images: np.ndarray, size: int) -> None:
        _floating_images("Resized", images, (4,))
        self._images = images
        self._size = _arguments.positive("Resized", "size", size)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, size, size)."""
        return (*self._images.shape[:2], self._size, self._size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy type of the pixels."""
        return self._images.dtype

    @property
    def nbytes(self) -> int:
        """The bytes that all images together would take."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self._images)

    def __repr__(self) -> str:
        return f"Resized(shape={self.shape}, dtype={self.dtype})"

    def __getitem__(self, index: Any) -> np.ndarray:
        axes = index if isinstance(index, tuple) else (index,)
        if len(axes) > 2 or any(i is Ellipsis or np.ndim(i) > 1 for i in axes):
            raise TypeError(
                "Resized: an index must choose images, or images and channels; for "
                "pixels, index np.asarray(x)"
            )
        return resize(self._images[index], self._size)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("Resized: an array of all images is always a new one")
        everything = np.empty(self.shape, self.dtype if dtype is None else dtype)
        # In pieces, so that no intermediate array is large.
        for start in range(0, len(self), 256):
            everything[start : start + 256] = self[start : start + 256]
        return everything


class Batches:
    """Mini-batches of NumPy arrays; their order depends only on the seed and the epoch.

    The e-th iteration over an object gives the e-th order of its seed, so that two
    frameworks, each with its own object, see the same batches. The last batch of an
    epoch is smaller if batch_size does not divide N.

    Args:
        x: inputs, (N, …), a NumPy array or a `Resized`.
        y: labels, (N,).
        batch_size: examples per batch.
        shuffle: draw a new order each epoch.
        seed: determines the orders.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: `x` and `y` of different lengths or empty, or batch_size below 1.
    """

    @checked
    def __init__(
        self,
        x: np.ndarray | Resized,
        y: np.ndarray,
        batch_size: Positive,
        shuffle: Bool = False,
        seed: NonNegative = 0,
    ) -> None:
        for name, value in (("x", x), ("y", y)):
            lazy = name == "x" and isinstance(value, Resized)
            if not lazy and not isinstance(value, np.ndarray):
                raise TypeError(
                    f"Batches: {name} must be a NumPy array, got {type(value).__name__}"
                )
        if y.ndim != 1 or x.ndim == 0 or len(x) != len(y) or len(y) == 0:
            raise ValueError(
                "Batches: x and y must have the same, positive number of examples "
                f"and y must be flat, got shapes {x.shape} and {y.shape}"
            )
        self.x, self.y = x, y
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.y) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = np.arange(len(self.y))
        if self.shuffle:
            # PCG64 by name, since a later NumPy may give default_rng another one.
            bits = np.random.PCG64([self.seed, self.epoch])
            order = np.random.Generator(bits).permutation(len(self.y))
        self.epoch += 1
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield self.x[chosen], self.y[chosen]


@checked
def digits(
    form: Literal["images", "sequences"] = "images",
    test_size: Positive = 360,
    dtype: Any = "float32",
) -> tuple[Split, Split]:
    """The embedded digits, with a fixed split into training and test set.

    Args:
        form: "images" for (N, 1, 8, 8), "sequences" for (N, 1, 64).
        test_size: examples held out; the split is stratified by class and the same
            on every machine.
        dtype: type of the inputs, which are scaled from 0..16 to 0..1 and normalised by
            the training set's mean and standard deviation.

    Returns:
        (train, test), each a `Split`.

    Raises:
        ValueError: an unknown form, a dtype that is not floating point, or a
            test_size that leaves a part without all ten classes.
    """
    from sklearn.datasets import load_digits

    _floating_type("digits", dtype)
    raw = load_digits()
    x = raw.images.astype("float64") / 16.0
    y = raw.target.astype("int64")
    if not 10 <= test_size <= len(y) - 10:
        raise ValueError(
            f"digits: test_size must be between 10 and {len(y) - 10}, got {test_size}"
        )
    test = _stratified(y, test_size)
    train = np.setdiff1d(np.arange(len(y)), test)
    if len(np.unique(y[train])) < 10:
        raise ValueError(
            "digits: test_size must be small enough to leave all ten classes for "
            f"training, got {test_size}"
        )
    mean, std = x[train].mean(), x[train].std()
    shape = (-1, 1, 8, 8) if form == "images" else (-1, 1, 64)
    x = ((x - mean) / std).reshape(shape).astype(dtype)
    return Split(x[train], y[train]), Split(x[test], y[test])


def _stratified(y: np.ndarray, size: int) -> np.ndarray:
    """Indices of `size` examples, cycling through the classes, from a fixed seed."""
    generator = np.random.Generator(np.random.PCG64(1797))
    by_class = [generator.permutation(np.flatnonzero(y == c)) for c in range(10)]
    depth = max(len(indices) for indices in by_class)
    in_turn = [
        indices[i] for i in range(depth) for indices in by_class if i < len(indices)
    ]
    return np.sort(np.array(in_turn[:size]))


def _floating_type(owner: str, dtype: Any) -> None:
    """ValueError unless `dtype` is floating point."""
    try:
        kind = np.dtype(dtype).kind
    except TypeError:
        kind = ""
    if kind != "f":
        raise ValueError(f"{owner}: dtype must be floating point, got {dtype!r}")


# --- resizing -------------------------------------------------------------------------


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Images resized to size x size by bilinear interpolation.

    Pixel i of n is an area with its centre at (i + 1/2) / n. A new pixel is the mean of
    the four old ones around its centre, weighted by distance; beyond the outermost
    centres the edge pixels repeat. PyTorch's name for this is
    `interpolate(mode="bilinear", align_corners=False, antialias=False)`. Like
    PyTorch's, it skips pixels when it shrinks an image to less than half.

    Args:
        images: (…, H, W), floating point.
        size: height and width of the result.

    Returns:
        (…, size, size) of the same dtype; float16 is computed in float32.

    Raises:
        TypeError: images are not a floating-point array, or size is not an integer.
        ValueError: images with fewer than two axes or empty, or size below 1.
    """
    _floating_images("resize", images, None)
    size = _arguments.positive("resize", "size", size)
    work = np.promote_types(images.dtype, np.float32)
    low, high, weight = _neighbours(images.shape[-1], size, work)
    wide = images.take(low, -1) * (1 - weight) + images.take(high, -1) * weight
    low, high, weight = _neighbours(images.shape[-2], size, work)
    weight = weight[:, None]
    result = wide.take(low, -2) * (1 - weight) + wide.take(high, -2) * weight
    return result.astype(images.dtype, copy=False)


def _neighbours(
    n: int, size: int, dtype: np.dtype[Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `size` new pixels, two of `n` old ones and the second's weight."""
    centre = np.clip((np.arange(size) + 0.5) * (n / size) - 0.5, 0, n - 1)
    low = np.floor(centre).astype("int64")
    return low, np.minimum(low + 1, n - 1), (centre - low).astype(dtype)


def _floating_images(owner: str, images: Any, axes: tuple[int, ...] | None) -> None:
    """Raise unless `images` is a floating-point array with one of these ranks."""
    if not isinstance(images, np.ndarray) or images.dtype.kind != "f":
        got = getattr(images, "dtype", type(images).__name__)
        raise TypeError(f"{owner}: images must be a floating-point array, got {got}")
    fits = images.ndim in axes if axes else images.ndim >= 2
    if not fits or 0 in images.shape[-2:]:
        layout = "(N, C, H, W)" if axes else "(…, H, W)"
        raise ValueError(
            f"{owner}: images must have shape {layout}, H and W at least 1, got "
            f"{images.shape}"
        )


# --- Fashion-MNIST --------------------------------------------------------------------

_FASHION_SIZES = {"train": 60_000, "t10k": 10_000}
# The MD5 checksums in the table "Get the Data" of the data set's own README,
# https://github.com/zalandoresearch/fashion-mnist#get-the-data
_FASHION_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_RETRIES = 1
# An array larger than this is resized batch by batch.
_LARGE = 2**30


@checked
def fashion_mnist(
    size: Positive = 28,
    train_size: int = 60_000,
    test_size: int = 10_000,
    dtype: Any = "float32",
    folder: str | os.PathLike[str] | None = None,
    urls: Sequence[str] = FASHION_URLS,
    progress: Bool | None = None,
) -> tuple[Split, Split]:
    """Fashion-MNIST: grey images of clothes, `FASHION_CLASSES` (arXiv 1708.07747).

    pooch downloads the four files once, about 30 MB. Whenever they are read, they are
    compared with the MD5 checksums in the data set's README
    (https://github.com/zalandoresearch/fashion-mnist#get-the-data), which detect damage
    but not tampering. A damaged file is downloaded again.

        train, test = fashion_mnist(size=32, train_size=1_000)
        train.x.shape  # (1000, 1, 32, 32)

    Args:
        size: height and width, 28 without resizing; see `resize` for the method.
        train_size: training examples, 60,000 for all. A subset cycles through the ten
            classes and is drawn with a fixed seed: it is the same on every machine, and
            a smaller subset is contained in a larger one.
        test_size: test examples, 10,000 for all, drawn in the same way.
        dtype: type of the inputs, which are normalised by the mean and standard
            deviation of all 60,000 training images, so that an image has the same
            values in every subset.
        folder: where the files are, or will be downloaded to. By default a folder
            `fashion-mnist` in the folder that the environment variable D2L_DATA names,
            or in the user's cache.
        urls: addresses of folders with the four files, in the order to try them; empty
            to use only the files in `folder`.
        progress: show a bar for each download. None shows it on a terminal and in a
            live notebook, but not where outputs are stored.

    Returns:
        (train, test), each a `Split` with x (N, 1, size, size). Where a resized x
        would exceed 1 GiB it is a `Resized`, which resizes a batch when it is indexed.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: an argument out of range, a dtype that is not floating point, or
            an address that is not one.
        ConnectionError: a file is neither in the folder nor at any address.
        OSError: the folder cannot be read or written.
    """
    owner = "fashion_mnist"
    wanted = [
        _part_size("train_size", train_size, _FASHION_SIZES["train"]),
        _part_size("test_size", test_size, _FASHION_SIZES["t10k"]),
    ]
    _floating_type(owner, dtype)
    where = _fashion_folder(folder)
    addresses = _addresses(urls)
    show = shows_progress(progress)
    files = [
        np.frombuffer(gzip.decompress(_obtain(name, where, addresses, show)), "uint8")
        for name in _FASHION_MD5
    ]
    # IDX format: a header of 16 bytes for images and 8 for labels, then the values.
    images = [values[16:].reshape(-1, 28, 28) for values in files[::2]]
    labels = [values[8:].astype("int64") for values in files[1::2]]
    grey = np.arange(256)
    counts = np.bincount(images[0].reshape(-1), minlength=256)
    mean = counts @ grey / counts.sum()
    deviation = math.sqrt(counts @ grey**2 / counts.sum() - mean**2)
    values = ((grey - mean) / deviation).astype(dtype)
    train, test = (
        _fashion_part(x, y, n, values, size)
        for x, y, n in zip(images, labels, wanted, strict=True)
    )
    return train, test


def _fashion_part(
    images: np.ndarray, y: np.ndarray, n: int, values: np.ndarray, size: int
) -> Split:
    """`n` examples of this size, with grey values replaced by their `values`."""
    chosen = _stratified(y, n)
    x = values[images[chosen]][:, None]
    if size == x.shape[-1]:
        return Split(x, y[chosen])
    resized = Resized(x, size)
    lazy = resized.nbytes > _LARGE
    return Split(resized if lazy else np.asarray(resized), y[chosen])


def _part_size(name: str, value: Any, most: int) -> int:
    value = _arguments.integer("fashion_mnist", name, value)
    if not 1 <= value <= most:
        raise ValueError(
            f"fashion_mnist: {name} must be between 1 and {most}, got {value}"
        )
    return value


def _fashion_folder(folder: str | os.PathLike[str] | None) -> Path:
    """The folder of Fashion-MNIST's files: `folder`, or in D2L_DATA or the cache."""
    if folder is None:
        import pooch

        root = os.environ.get("D2L_DATA") or pooch.os_cache("d2lutils")
        folder = Path(root) / "fashion-mnist"
    elif not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"fashion_mnist: folder must be a path, got {folder!r}")
    return Path(folder).expanduser()


def _addresses(urls: Any) -> list[str]:
    if isinstance(urls, (str, bytes)) or not isinstance(urls, Iterable):
        raise TypeError(
            f"fashion_mnist: urls must be a sequence of addresses, got {urls!r}"
        )
    addresses = list(urls)
    for url in addresses:
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise ValueError(
                "fashion_mnist: urls must be addresses that begin with http:// or "
                f"https://, got {url!r}"
            )
    return [url.rstrip("/") + "/" for url in addresses]


def _close_if_refused(response: Any, **_: Any) -> None:
    """pooch raises on an error status and leaves the connection open."""
    if not response.ok:
        response.close()


def _obtain(name: str, folder: Path, urls: Sequence[str], progress: bool) -> bytes:
    """The contents of a file, downloaded if it is missing or its checksum is wrong."""
    import pooch
    import requests

    path, md5 = folder / name, _FASHION_MD5[name]
    tried = []
    try:
        if path.exists():
            if pooch.file_hash(path, alg="md5") == md5:
                return path.read_bytes()
            tried.append("the copy in the folder (wrong checksum)")
        for url in urls:
            # pooch writes to a temporary file and renames it once the checksum is
            # right, so that a crash leaves no partial file.
            store = pooch.create(
                folder, url, registry={name: f"md5:{md5}"}, retry_if_failed=_RETRIES
            )
            http = pooch.HTTPDownloader(
                progressbar=progress, hooks={"response": _close_if_refused}
            )
            try:
                store.fetch(name, downloader=http)
            except requests.RequestException as error:
                answer = error.response
                why = f"HTTP status {answer.status_code}" if answer is not None else ""
                tried.append(f"{url}{name} ({why or type(error).__name__})")
            except ValueError:
                tried.append(f"{url}{name} (wrong checksum)")
            else:
                path.chmod(0o644)  # temporary files are private to their owner
                return path.read_bytes()
    except OSError as error:
        raise OSError(
            f"fashion_mnist: cannot use the folder {folder}: "
            f"{error.strerror or type(error).__name__}; name another one by folder= or "
            "by the environment variable D2L_DATA"
        ) from None
    raise ConnectionError(
        f"fashion_mnist: cannot get {name} of Fashion-MNIST; tried "
        f"{', '.join(tried) or 'no address'}. Put its four files, "
        f"{', '.join(_FASHION_MD5)}, into {folder}; or name another folder by folder=, "
        "or the one that holds a folder fashion-mnist by the environment variable "
        "D2L_DATA"
    )
