"""Fashion-MNIST from small files and a server of our own: no test needs the network."""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2lutils import _training, data
from d2lutils.data import FASHION_CLASSES, Resized, Split, fashion_mnist, resize

SIZES = {"train": 60, "t10k": 30}
PUBLISHED = (dict(data._FASHION_SIZES), dict(data._FASHION_MD5))
NAMES = tuple(data._FASHION_MD5)
FIRST = NAMES[0]


def idx(array: np.ndarray, magic: bytes | None = None) -> bytes:
    """The array as an IDX file of unsigned bytes."""
    lengths = np.array(array.shape, ">u4").tobytes()
    return (magic or bytes((0, 0, 8, array.ndim))) + lengths + array.tobytes()


def arrays() -> dict[str, np.ndarray]:
    generator = np.random.Generator(np.random.PCG64(7))
    made = {}
    for part, n in SIZES.items():
        images = generator.integers(0, 256, (n, 28, 28)).astype("uint8")
        made[f"{part}-images-idx3-ubyte.gz"] = images
        labels = generator.permutation(np.arange(n) % 10)
        made[f"{part}-labels-idx1-ubyte.gz"] = labels.astype("uint8")
    return made


ARRAYS = arrays()
FILES = {name: gzip.compress(idx(array), mtime=0) for name, array in ARRAYS.items()}
# Each of these sends one answer.
Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


def send(
    handler: BaseHTTPRequestHandler, body: bytes, length: int | None = None, **more: str
) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    for key, value in more.items():
        handler.send_header(key.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def good(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    send(handler, body)


def damaged(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    send(handler, body[:-1] + bytes([body[-1] ^ 1]))


def broken_off(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    send(handler, body[: len(body) // 2], len(body))


def short_without_a_length(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])


def labelled_as_compressed(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    send(handler, body, Content_Encoding="gzip")


def silent(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    time.sleep(0.3)


def status(code: int) -> Answer:
    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        handler.send_response(code)
        handler.send_header("Content-Length", "5")
        handler.end_headers()
        handler.wfile.write(b"sorry")

    return answer


class Server:
    """Serves FILES; `answers` holds what to do first, file by file or for all."""

    def __init__(self) -> None:
        outer = self
        self.requests: list[str] = []
        self.answers: dict[str, list[Answer]] = {}
        self.otherwise: Answer = good

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                outer.requests.append(name)
                queue = outer.answers.get(name, [])
                answer = queue.pop(0) if queue else outer.otherwise
                answer(self, FILES[name])

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:  # a client that was killed
                pass

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/data/fashion/"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def stop(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    both = (Server(), Server())
    yield both
    for server in both:
        server.stop()


@pytest.fixture
def server(servers: tuple[Server, Server]) -> Server:
    return servers[0]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our files' checksums and sizes, no long waits, no proxy and no cache."""
    sums = {name: hashlib.md5(body).hexdigest() for name, body in FILES.items()}
    monkeypatch.setattr(data, "_FASHION_MD5", sums)
    monkeypatch.setattr(data, "_FASHION_SIZES", SIZES)
    monkeypatch.setattr(data, "_PAUSE", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("D2L_STORED_OUTPUTS", "1")
    monkeypatch.delenv("D2L_DATA", raising=False)


def load(
    where: Path | str | None, *servers: Server, **options: Any
) -> tuple[Split, Split]:
    urls = [server.url for server in servers]
    sizes = {"train_size": 60, "test_size": 30}
    return fashion_mnist(**{**sizes, "folder": where, "urls": urls, **options})


def fill(folder: Path) -> Path:
    """A folder with the four files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in FILES.items():
        (folder / name).write_bytes(body)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return fill(tmp_path / "cache")


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


def grey(part: str) -> np.ndarray:
    return ARRAYS[f"{part}-images-idx3-ubyte.gz"].astype("float64")[:, None] / 255


def expected(part: str) -> np.ndarray:
    """Standardised by the training images, computed the plain way."""
    return (grey(part) - grey("train").mean()) / grey("train").std()


def test_constants_are_the_published_ones() -> None:
    assert len(FASHION_CLASSES) == len(set(FASHION_CLASSES)) == 10
    assert FASHION_CLASSES[9] == "Ankle boot"
    assert all(url.endswith("/") for url in data.FASHION_URLS)
    # The table "Get the Data" of the data set's README.
    assert PUBLISHED == (
        {"train": 60_000, "t10k": 10_000},
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    )


class TestArrays:
    def test_sizes_types_values(self, cache: Path) -> None:
        for split, part in zip(load(cache), SIZES, strict=True):
            assert isinstance(split.x, np.ndarray)
            assert split.x.shape == (SIZES[part], 1, 28, 28)
            assert (split.x.dtype, split.y.dtype) == ("float32", "int64")
            assert split.x.flags.c_contiguous
            assert np.abs(split.x - expected(part)).max() < 1e-6
            labels = ARRAYS[f"{part}-labels-idx1-ubyte.gz"]
            assert split.y.tolist() == labels.tolist()

    def test_training_images_are_standardised(self, cache: Path) -> None:
        train, test = load(cache, dtype="float64")
        assert abs(np.mean(train.x)) < 1e-12
        assert np.std(train.x) == pytest.approx(1)
        assert abs(np.mean(test.x)) > 1e-6
        assert np.abs(test.x - expected("t10k")).max() < 1e-12

    @pytest.mark.parametrize("dtype", ["float16", np.float32, np.dtype("float64")])
    def test_other_dtypes(self, cache: Path, dtype: Any) -> None:
        exact = load(cache, dtype="float64")[0].x
        assert np.array_equal(load(cache, dtype=dtype)[0].x, exact.astype(dtype))

    def test_parts_are_balanced_nested_and_equal(self, cache: Path) -> None:
        whole, held_out = load(cache)
        part, test = load(cache, train_size=20, test_size=10)
        larger, _ = load(cache, train_size=30)
        again, _ = load(cache, train_size=20, test_size=11)
        assert np.bincount(part.y).tolist() == [2] * 10
        assert np.bincount(test.y).tolist() == [1] * 10
        assert np.array_equal(part.x, again.x)
        assert np.array_equal(part.y, again.y)

        def within(small: Split, large: Split) -> bool:
            known = {(x.tobytes(), y) for x, y in zip(large.x, large.y, strict=True)}
            mine = {(x.tobytes(), y) for x, y in zip(small.x, small.y, strict=True)}
            return len(mine) == len(small) and mine <= known

        # The same values in each part: the scaling is that of all training images.
        assert within(part, larger)
        assert within(larger, whole)
        assert within(test, held_out)

    def test_one_example(self, cache: Path) -> None:
        train, test = load(cache, train_size=1, test_size=1)
        assert train.x.shape == test.x.shape == (1, 1, 28, 28)

    def test_batches(self, cache: Path) -> None:
        batches = load(cache)[0].batches(16, shuffle=True, seed=2)
        shapes = [x.shape for x, _ in batches]
        assert shapes == [(16, 1, 28, 28)] * 3 + [(12, 1, 28, 28)]


class TestResize:
    @pytest.mark.parametrize("size", [1, 2, 5, 14, 27, 28, 29, 56, 64, 224])
    @pytest.mark.parametrize("old", [(28, 28), (5, 9), (1, 1), (2, 3)])
    def test_pytorch_is_the_oracle(self, old: tuple[int, int], size: int) -> None:
        torch = pytest.importorskip("torch")
        images = np.random.Generator(np.random.PCG64(1)).normal(size=(3, 2, *old))
        other = torch.nn.functional.interpolate(
            torch.from_numpy(images),
            size=(size, size),
            mode="bilinear",
            align_corners=False,
            antialias=False,
        ).numpy()
        mine = resize(images, size)
        assert mine.shape == other.shape
        assert np.abs(mine - other).max() < 1e-13
        for dtype, bound in (("float32", 2e-6), ("float16", 5e-3)):
            rough = resize(images.astype(dtype), size)
            assert rough.dtype == dtype
            assert np.abs(rough - mine).max() < bound

    def test_half_is_the_mean_of_four(self) -> None:
        images = np.arange(16.0).reshape(1, 4, 4)
        assert resize(images, 2).tolist() == [[[2.5, 4.5], [10.5, 12.5]]]

    def test_same_size_is_the_same(self) -> None:
        image = np.random.Generator(np.random.PCG64(2)).normal(size=(7, 7))
        assert np.array_equal(resize(image, 7), image)

    def test_of_the_data(self, cache: Path) -> None:
        for split, small in zip(load(cache, size=40), load(cache), strict=True):
            assert isinstance(split.x, np.ndarray)
            assert np.array_equal(split.x, resize(np.asarray(small.x), 40))
            assert split.y.tolist() == small.y.tolist()

    def test_large_ones_are_resized_when_drawn(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options = {"size": 64, "train_size": 40}
        eager, _ = load(cache, **options)
        monkeypatch.setattr(data, "_LARGE", 40 * 64 * 64 * 4 - 1)
        lazy, test = load(cache, **options)
        assert isinstance(lazy.x, Resized)
        assert isinstance(test.x, np.ndarray)  # 30 images are below the limit
        assert lazy.x.shape == eager.x.shape
        for one, two in zip(
            lazy.batches(16, True, 3), eager.batches(16, True, 3), strict=True
        ):
            assert isinstance(one[0], np.ndarray)
            assert np.array_equal(one[0], two[0])
            assert np.array_equal(one[1], two[1])

    def test_all_of_it_at_224_takes_little_memory(self, cache: Path) -> None:
        split, _ = load(cache)
        many = np.broadcast_to(np.asarray(split.x)[:1], (60_000, 1, 28, 28))
        lazy = Resized(many, 224)
        assert lazy.nbytes == 60_000 * 224 * 224 * 4
        x, _ = next(iter(data.Batches(lazy, np.zeros(60_000, "int64"), 8)))
        assert x.shape == (8, 1, 224, 224)


class TestResized:
    images = np.random.Generator(np.random.PCG64(3)).normal(size=(300, 1, 6, 6))

    def pair(self) -> tuple[Resized, np.ndarray]:
        return Resized(self.images, 9), resize(self.images, 9)

    @pytest.mark.parametrize(
        "index",
        [
            3,
            -1,
            np.int64(4),
            slice(None, 8),
            slice(None),
            [4, 2],
            np.array([7, 7, 1]),
            np.arange(300) % 2 == 0,
            (3, 0),
            (2, 0, slice(2, 5)),
            (slice(1, 4), 0),
            (slice(1, 4), slice(None), 2, 3),
        ],
        ids=str,
    )
    def test_indexed_like_the_array(self, index: Any) -> None:
        lazy, eager = self.pair()
        found = lazy[index]
        assert isinstance(found, (np.ndarray, np.floating))
        assert np.array_equal(found, eager[index])

    def test_looks_like_the_array(self) -> None:
        lazy, eager = self.pair()
        assert (lazy.shape, lazy.ndim, lazy.dtype, lazy.nbytes, len(lazy)) == (
            eager.shape,
            eager.ndim,
            eager.dtype,
            eager.nbytes,
            len(eager),
        )
        assert np.array_equal(np.asarray(lazy), eager)
        assert np.asarray(lazy, dtype="float32").dtype == "float32"
        assert np.array_equal(np.stack(list(lazy)), eager)
        assert repr(lazy) == "Resized(shape=(300, 1, 9, 9), dtype=float64)"
        with pytest.raises(ValueError, match="always a new one"):
            lazy.__array__(copy=False)

    @pytest.mark.parametrize(
        "index", [..., None, (), (..., 0), ([1], 0), True, "x"], ids=repr
    )
    def test_other_indices(self, index: Any) -> None:
        with pytest.raises(TypeError, match=r"^Resized: the first index must "):
            self.pair()[0][index]

    def test_index_out_of_range(self) -> None:
        with pytest.raises(IndexError):
            self.pair()[0][300]

    @pytest.mark.parametrize(
        ("call", "error", "text"),
        [
            (
                lambda: resize([[1.0]], 2),
                TypeError,
                "resize: images must be a floating-point array, got list",
            ),
            (
                lambda: resize(np.ones((2, 2), "uint8"), 2),
                TypeError,
                "resize: images must be a floating-point array, got uint8",
            ),
            (
                lambda: resize(np.ones(2), 2),
                ValueError,
                "resize: images must have shape (…, H, W), H and W at least 1, got "
                "(2,)",
            ),
            (
                lambda: resize(np.ones((1, 0, 2)), 2),
                ValueError,
                "resize: images must have shape (…, H, W), H and W at least 1, got "
                "(1, 0, 2)",
            ),
            (
                lambda: resize(np.ones((2, 2)), 0),
                ValueError,
                "resize: size must be at least 1, got 0",
            ),
            (
                lambda: Resized(np.ones((2, 2, 2)), 2),
                ValueError,
                "Resized: images must have shape (N, C, H, W), H and W at least 1, got "
                "(2, 2, 2)",
            ),
            (
                lambda: Resized(np.ones((2, 1, 2, 2)), 2.0),
                TypeError,
                "Resized: size must be an integer, got 2.0",
            ),
        ],
    )
    def test_refused(self, call: Any, error: Any, text: str) -> None:
        with pytest.raises(error) as caught:
            call()
        assert str(caught.value) == text


class TestDownload:
    def test_once_and_never_again(self, server: Server, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "folder"
        first = load(folder, server)
        assert server.requests == list(NAMES)
        assert contents(folder) == set(NAMES)
        assert all((folder / name).read_bytes() == FILES[name] for name in NAMES)
        second = load(folder, server)
        assert len(server.requests) == 4
        for one, two in zip(first, second, strict=True):
            assert np.array_equal(one.x, two.x)
            assert np.array_equal(one.y, two.y)

    @pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
    def test_others_may_read_the_files(self, server: Server, tmp_path: Path) -> None:
        load(tmp_path, server)
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}

    def test_an_address_without_its_slash(self, server: Server, tmp_path: Path) -> None:
        load(tmp_path, urls=[server.url.rstrip("/")])
        assert len(server.requests) == 4

    def test_only_what_is_missing(self, server: Server, cache: Path) -> None:
        (cache / NAMES[2]).unlink()
        load(cache, server)
        assert server.requests == [NAMES[2]]

    @pytest.mark.parametrize("body", [b"", b"<html>", FILES[FIRST][:-40]])
    def test_damaged_in_the_cache(
        self, server: Server, cache: Path, body: bytes
    ) -> None:
        (cache / FIRST).write_bytes(body)
        load(cache, server)
        assert server.requests == [FIRST]
        assert (cache / FIRST).read_bytes() == FILES[FIRST]

    @pytest.mark.parametrize(
        ("answer", "times", "why"),
        [
            (damaged, 1, "wrong checksum"),
            (short_without_a_length, 1, "wrong checksum"),
            (broken_off, 3, "connection broke off"),
            (status(404), 1, "HTTP status 404"),
            (status(403), 1, "HTTP status 403"),
            (status(500), 3, "HTTP status 500"),
            (status(429), 3, "HTTP status 429"),
        ],
    )
    def test_next_address(
        self,
        servers: tuple[Server, Server],
        tmp_path: Path,
        answer: Answer,
        times: int,
        why: str,
    ) -> None:
        """A second try only where it may help; then the next; then one clear error."""
        bad, other = servers
        bad.otherwise = answer
        load(tmp_path / "one", bad, other)
        assert bad.requests == [name for name in NAMES for _ in range(times)]
        assert other.requests == list(NAMES)
        assert contents(tmp_path / "one") == set(NAMES)

        folder = tmp_path / "two"
        with pytest.raises(ConnectionError) as caught:
            load(folder, bad)
        assert f"tried {bad.url}{FIRST} ({why}). Put" in str(caught.value)
        assert contents(folder) == set()

    @pytest.mark.parametrize("answer", [status(500), status(503), broken_off])
    def test_a_second_try(self, server: Server, tmp_path: Path, answer: Answer) -> None:
        server.answers = {name: [answer] for name in NAMES}
        server.answers[FIRST] = [answer, answer]
        load(tmp_path, server)
        assert server.requests == [FIRST, *(n for n in NAMES for _ in range(2))]
        assert contents(tmp_path) == set(NAMES)

    def test_waits_longer_before_each_try(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waits: list[float] = []
        monkeypatch.setattr(data.time, "sleep", waits.append)
        monkeypatch.setattr(data, "_PAUSE", 1.0)
        server.otherwise = status(500)
        with pytest.raises(ConnectionError):
            load(tmp_path, server)
        assert waits == [0, 1, 2]

    def test_no_answer_in_time(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(data, "_TIMEOUT", (0.5, 0.05))
        monkeypatch.setattr(data, "_ATTEMPTS", 2)
        server.otherwise = silent
        with pytest.raises(ConnectionError, match=r"\(no answer in time\)"):
            load(tmp_path, server)
        assert server.requests == [FIRST, FIRST]

    def test_stored_as_it_lies_there(self, server: Server, tmp_path: Path) -> None:
        """Some web servers say of a .gz file that it is compressed on its way."""
        server.otherwise = labelled_as_compressed
        load(tmp_path, server)
        assert (tmp_path / FIRST).read_bytes() == FILES[FIRST]

    def test_offline(self, tmp_path: Path) -> None:
        one, two = closed_port(), closed_port()
        with pytest.raises(ConnectionError) as caught:
            load(tmp_path, urls=[one, two])
        assert str(caught.value) == (
            f"fashion_mnist: cannot get {FIRST} of Fashion-MNIST; tried {one}{FIRST} "
            f"(not reachable), {two}{FIRST} (not reachable). Put its four files, "
            f"{', '.join(NAMES)}, into {tmp_path}; or name another folder by folder=, "
            "or the one that holds a folder fashion-mnist by the environment variable "
            "D2L_DATA"
        )
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert contents(tmp_path) == set()

    def test_offline_with_the_files(self, cache: Path) -> None:
        load(cache, urls=[closed_port()])
        load(cache, urls=())

    def test_offline_with_a_damaged_file(self, cache: Path) -> None:
        (cache / NAMES[1]).write_bytes(b"mine")
        with pytest.raises(ConnectionError) as caught:
            load(cache, urls=())
        text = str(caught.value)
        assert f"cannot get {NAMES[1]} of" in text
        assert "tried the copy in the folder (wrong checksum). Put" in text
        # What somebody put there is theirs until there is a better one.
        assert (cache / NAMES[1]).read_bytes() == b"mine"

    def test_no_address(self, tmp_path: Path) -> None:
        folder = tmp_path / "none"
        with pytest.raises(ConnectionError, match="tried no address"):
            load(folder, urls=())
        assert not folder.exists()

    def test_useless_addresses(self, tmp_path: Path) -> None:
        with pytest.raises(ConnectionError, match=r"\(InvalidURL\)"):
            load(tmp_path, urls=["http://"])

    def test_no_trusted_connection(self, server: Server, tmp_path: Path) -> None:
        with pytest.raises(ConnectionError, match=r"\(no trusted connection\)"):
            load(tmp_path, urls=[server.url.replace("http:", "https:")])
        assert server.requests == []

    def test_no_proxy_there(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("http_proxy", closed_port())
        with pytest.raises(ConnectionError, match=r"\(proxy not reachable\)"):
            load(tmp_path, server)
        assert server.requests == []

    @pytest.mark.parametrize("made", ["file", "below a file"])
    def test_folder_that_cannot_be(
        self, server: Server, tmp_path: Path, made: str
    ) -> None:
        folder = tmp_path / "file"
        folder.write_text("in the way")
        if made == "below a file":
            folder = folder / "sub"
        with pytest.raises(OSError, match="cannot use the folder") as caught:
            load(folder, server)
        assert not isinstance(caught.value, ConnectionError)
        assert str(caught.value).startswith(
            f"fashion_mnist: cannot use the folder {folder}: "
        )
        assert str(caught.value).endswith("environment variable D2L_DATA")
        assert server.requests == []

    def test_full_disk(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(data.os, "replace", full)
        with pytest.raises(OSError, match="No space left on device; name another"):
            load(tmp_path, server)
        assert contents(tmp_path) == set()

    def test_interrupted(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import pooch

        def interrupt(self: Any, url: str, output_file: str, pooch: Any) -> None:
            Path(output_file).write_bytes(FILES[FIRST][:100])
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(pooch.HTTPDownloader, "__call__", interrupt)
            with pytest.raises(KeyboardInterrupt):
                load(tmp_path, server)
        assert contents(tmp_path) == set()
        load(tmp_path, server)

    def test_killed(self, server: Server, tmp_path: Path) -> None:
        """Not even a process that cannot clean up leaves something to be mistaken."""
        go_on = threading.Event()

        def half(handler: BaseHTTPRequestHandler, body: bytes) -> None:
            send(handler, body[: len(body) // 2], len(body))
            handler.wfile.flush()
            half_sent.set()
            go_on.wait(20)

        half_sent = threading.Event()
        server.otherwise = half
        code = (
            f"from d2lutils import data; data._FASHION_MD5 = {data._FASHION_MD5!r}; "
            f"data.fashion_mnist(folder={str(tmp_path)!r}, urls=[{server.url!r}])"
        )
        child = subprocess.Popen([sys.executable, "-c", code])
        try:
            assert half_sent.wait(60)
        finally:
            child.kill()
            child.wait()
            go_on.set()
        assert not contents(tmp_path) & set(NAMES)
        server.otherwise = good
        load(tmp_path, server)
        left = contents(tmp_path) - set(NAMES)
        assert [name.startswith(".download-") for name in left] == [True]
        # A day later it goes.
        for name in left:
            os.utime(tmp_path / name, (0, 0))
        (tmp_path / FIRST).unlink()
        load(tmp_path, server)
        assert contents(tmp_path) == set(NAMES)

    def test_two_at_a_time(self, server: Server, tmp_path: Path) -> None:
        together = threading.Barrier(2)

        def both(handler: BaseHTTPRequestHandler, body: bytes) -> None:
            # The second half comes when both downloads of the file are under way.
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body[:50])
            handler.wfile.flush()
            together.wait(20)
            handler.wfile.write(body[50:])

        server.answers = {name: [both, both] for name in NAMES}
        found: list[tuple[Split, Split]] = []
        threads = [
            threading.Thread(target=lambda: found.append(load(tmp_path, server)))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(found) == 2
        assert np.array_equal(found[0][0].x, found[1][0].x)
        assert sorted(server.requests) == sorted(NAMES * 2)
        assert contents(tmp_path) == set(NAMES)


class TestFolder:
    def test_environment_variable(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("D2L_DATA", str(tmp_path))
        load(None, server)
        assert contents(tmp_path) == {"fashion-mnist"}
        assert contents(tmp_path / "fashion-mnist") == set(NAMES)

    def test_argument_comes_first(
        self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("D2L_DATA", str(tmp_path / "nowhere"))
        load(cache, urls=())
        load(str(cache), urls=())

    @pytest.mark.parametrize("value", [None, ""])
    def test_the_user_s_cache(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
    ) -> None:
        import pooch

        if value is not None:
            monkeypatch.setenv("D2L_DATA", value)
        monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
        fill(tmp_path / "d2lutils" / "fashion-mnist")
        load(None, urls=())

    def test_default_is_outside_the_repository(self) -> None:
        root = Path(data.__file__).resolve().parents[1]
        assert not data._data_folder(None).resolve().is_relative_to(root)

    def test_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        monkeypatch.setenv("D2L_DATA", "~/data")
        assert data._data_folder(None) == tmp_path / "data" / "fashion-mnist"
        assert data._data_folder("~/here") == tmp_path / "here"


class TestProgress:
    def test_on(
        self, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        load(tmp_path, server, progress=True)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert all(name in captured.err for name in NAMES)
        assert str(tmp_path) not in captured.err
        assert captured.err.endswith("\r")  # a finished bar goes away

    @pytest.mark.parametrize("answer", [broken_off, status(500), damaged])
    def test_on_while_it_fails(
        self, server: Server, tmp_path: Path, answer: Answer, capsys: Any
    ) -> None:
        server.answers[FIRST] = [answer]
        load(tmp_path, server, server, progress=True)
        assert FIRST in capsys.readouterr().err

    @pytest.mark.parametrize("progress", [False, None])
    def test_off(
        self, server: Server, tmp_path: Path, progress: bool | None, capsys: Any
    ) -> None:
        server.answers[FIRST] = [status(500), damaged]
        load(tmp_path, server, server, progress=progress)
        captured = capsys.readouterr()
        assert (captured.out, captured.err) == ("", "")

    @pytest.mark.parametrize("stored", ["", "1"])
    @pytest.mark.parametrize("terminal", [True, False])
    @pytest.mark.parametrize("notebook", [True, False])
    @pytest.mark.parametrize("show", [None, True, False])
    def test_same_rule_as_in_training(
        self, stored: str, terminal: bool, notebook: bool, show: Any, monkeypatch: Any
    ) -> None:
        monkeypatch.setenv("D2L_STORED_OUTPUTS", stored)
        monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
        if notebook:
            monkeypatch.setitem(sys.modules, "ipykernel", _training)
        else:
            monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
        items = range(0)
        training = _training.progress_bar(items, "x", show)
        with data._bar("x", show) as bar:
            assert (bar is not False) == (training is not items)
        if training is not items:
            training.close()

    def test_pooch_is_quiet_and_logs_as_before(
        self, server: Server, tmp_path: Path
    ) -> None:
        import pooch

        told: list[str] = []

        class Listener(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                told.append(record.getMessage())

        logger, listener = pooch.get_logger(), Listener()
        before = logger.level
        logger.addHandler(listener)
        try:
            load(tmp_path, server)
        finally:
            logger.removeHandler(listener)
        assert told == []  # its messages tell of folders
        assert logger.level == before


def packed(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


IMAGES = ARRAYS[FIRST]
LABELS = ARRAYS[NAMES[1]]
WHOLE = idx(IMAGES)


class TestContents:
    """Files with the right checksum and the wrong contents: one error each."""

    @pytest.mark.parametrize(
        ("name", "body", "text"),
        [
            (FIRST, b"plain", "{} is not a complete gzip file"),
            (FIRST, packed(b"")[:10] + b"\xff" * 9, "{} is not a complete gzip file"),
            (FIRST, FILES[FIRST][:-20], "{} is not a complete gzip file"),
            (FIRST, FILES[FIRST] + b"more", "{} is not a complete gzip file"),
            (
                FIRST,
                FILES[FIRST][:500] + b"\0" * 40 + FILES[FIRST][540:],
                "{} is not a complete gzip file",
            ),
            (
                FIRST,
                packed(idx(IMAGES, b"\1\0\x08\3")),
                "{} must begin with the magic number 0x00000803 (IDX, unsigned bytes, "
                "3 axes), got 0x01000803",
            ),
            (
                FIRST,
                packed(idx(IMAGES, b"\0\0\x0d\3")),
                "{} must begin with the magic number 0x00000803 (IDX, unsigned bytes, "
                "3 axes), got 0x00000d03",
            ),
            (
                NAMES[1],
                FILES[FIRST],
                "{} must begin with the magic number 0x00000801 (IDX, unsigned bytes, "
                "1 axes), got 0x00000803",
            ),
            (
                FIRST,
                packed(b""),
                "{} must begin with the magic number 0x00000803 (IDX, unsigned bytes, "
                "3 axes), got 0x",
            ),
            (FIRST, packed(WHOLE[:13]), "{} ends within its header, after 13 bytes"),
            (
                FIRST,
                packed(idx(IMAGES[:, :27])),
                "{} must have shape (60, 28, 28), its header says (60, 27, 28)",
            ),
            (
                FIRST,
                packed(idx(IMAGES[:59])),
                "{} must have shape (60, 28, 28), its header says (59, 28, 28)",
            ),
            (
                NAMES[1],
                packed(idx(LABELS[:59])),
                "{} must have shape (60,), its header says (59,)",
            ),
            (
                FIRST,
                packed(WHOLE[:-1]),
                "{} must have 47040 values after its header, got 47039",
            ),
            (
                NAMES[3],
                packed(idx(ARRAYS[NAMES[3]]) + b"\0\0"),
                "{} must have 30 values after its header, got 32",
            ),
            (
                NAMES[1],
                packed(idx(np.where(LABELS == 3, 10, LABELS).astype("uint8"))),
                "{} must have labels from 0 to 9, got 10",
            ),
        ],
    )
    def test_refused(
        self,
        cache: Path,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        body: bytes,
        text: str,
    ) -> None:
        (cache / name).write_bytes(body)
        monkeypatch.setitem(data._FASHION_MD5, name, hashlib.md5(body).hexdigest())
        with pytest.raises(ValueError, match=r"^fashion_mnist: ") as caught:
            load(cache, urls=())
        assert str(caught.value) == "fashion_mnist: " + text.format(name)
        assert caught.value.__cause__ is None

    def test_a_folder_may_hold_more(self, cache: Path) -> None:
        (cache / "readme.txt").write_text("mine")
        load(cache, urls=())


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "error", "text"),
        [
            ({"size": 0}, ValueError, "size must be at least 1, got 0"),
            ({"size": 28.0}, TypeError, "size must be an integer, got 28.0"),
            ({"size": True}, TypeError, "size must be an integer, got True"),
            (
                {"train_size": 61},
                ValueError,
                "train_size must be between 1 and 60, got 61",
            ),
            (
                {"train_size": 0},
                ValueError,
                "train_size must be between 1 and 60, got 0",
            ),
            (
                {"test_size": 31},
                ValueError,
                "test_size must be between 1 and 30, got 31",
            ),
            ({"test_size": 0.5}, TypeError, "test_size must be an integer, got 0.5"),
            ({"test_size": None}, TypeError, "test_size must be an integer, got None"),
            (
                {"dtype": "int32"},
                ValueError,
                "dtype must be floating point, got 'int32'",
            ),
            ({"dtype": "x"}, ValueError, "dtype must be floating point, got 'x'"),
            ({"folder": 3}, TypeError, "folder must be a path, got 3"),
            (
                {"urls": "http://a/"},
                TypeError,
                "urls must be a sequence of addresses, got 'http://a/'",
            ),
            (
                {"urls": None},
                TypeError,
                "urls must be a sequence of addresses, got None",
            ),
            (
                {"urls": ["http://a/", "ftp://b/"]},
                ValueError,
                "urls must be addresses that begin with http:// or https://, got "
                "'ftp://b/'",
            ),
            (
                {"urls": [3]},
                ValueError,
                "urls must be addresses that begin with http:// or https://, got 3",
            ),
            ({"progress": 1}, TypeError, "progress must be True or False, got 1"),
        ],
    )
    def test_refused(
        self, cache: Path, arguments: dict[str, Any], error: Any, text: str
    ) -> None:
        with pytest.raises(error) as caught:
            load(cache, **{"urls": (), **arguments})
        assert str(caught.value) == f"fashion_mnist: {text}"

    def test_refused_before_any_download(self, server: Server, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="train_size"):
            load(tmp_path, server, train_size=61)
        assert server.requests == []
