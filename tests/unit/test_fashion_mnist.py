"""Fashion-MNIST from small files and a server of our own: no test needs the network."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from d2lutils import data
from d2lutils.data import Resized, Split, fashion_mnist, resize

SIZES = {"train": 60, "t10k": 30}
NAMES = tuple(data._FASHION_MD5)
FIRST = NAMES[0]


def idx(array: np.ndarray) -> bytes:
    """The array as a compressed IDX file of unsigned bytes."""
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.tobytes(), mtime=0)


GENERATOR = np.random.Generator(np.random.PCG64(7))
IMAGES = {p: GENERATOR.integers(0, 256, (n, 28, 28), "uint8") for p, n in SIZES.items()}
LABELS = {p: (np.arange(n) * 7 % 10).astype("uint8") for p, n in SIZES.items()}
ARRAYS = [IMAGES["train"], LABELS["train"], IMAGES["t10k"], LABELS["t10k"]]
FILES = {name: idx(array) for name, array in zip(NAMES, ARRAYS, strict=True)}


class Server(ThreadingHTTPServer):
    """Serves the folder `root`; `status` decides on the status of each answer."""

    def __init__(self, root: Path) -> None:
        self.requests: list[str] = []
        self.status: Callable[[], int] = lambda: 200

        class Handler(SimpleHTTPRequestHandler):
            server: Server

            def do_GET(self) -> None:
                self.server.requests.append(self.path[1:])
                status = self.server.status()
                if status == 200:
                    super().do_GET()
                else:
                    self.send_error(status)

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(root)))
        self.url = f"http://127.0.0.1:{self.server_port}/"


def fill(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, body in FILES.items():
        (folder / name).write_bytes(body)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return fill(tmp_path / "d2lutils" / "fashion-mnist")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Files from `url`; damaged ones from `url` + "damaged"."""
    damaged = fill(fill(tmp_path / "served") / "damaged")
    for name, body in FILES.items():
        (damaged / name).write_bytes(body[:-20])
    with Server(tmp_path / "served") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checksums and sizes of our files; no second try, proxy or cache."""
    sums = {name: hashlib.md5(body).hexdigest() for name, body in FILES.items()}
    monkeypatch.setattr(data, "_FASHION_MD5", sums)
    monkeypatch.setattr(data, "_FASHION_SIZES", SIZES)
    monkeypatch.setattr(data, "_RETRIES", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("D2L_STORED_OUTPUTS", "1")
    monkeypatch.delenv("D2L_DATA", raising=False)


def load(folder: Path | str | None, *urls: str, **options: Any) -> tuple[Split, Split]:
    sizes = {"train_size": 60, "test_size": 30}
    return fashion_mnist(**{**sizes, "folder": folder, "urls": urls, **options})


class TestArrays:
    @pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-6), (float, 1e-12)])
    def test_types_and_values(self, cache: Path, dtype: Any, bound: float) -> None:
        grey = IMAGES["train"] / 255
        for split, part in zip(load(cache, dtype=dtype), SIZES, strict=True):
            assert isinstance(split.x, np.ndarray)
            assert split.x.shape == (SIZES[part], 1, 28, 28)
            assert (split.x.dtype, split.y.dtype) == (dtype, "int64")
            # Both parts are standardised by the training images.
            expected = (IMAGES[part][:, None] / 255 - grey.mean()) / grey.std()
            assert np.abs(split.x - expected).max() < bound
            assert split.y.tolist() == LABELS[part].tolist()

    def test_parts_are_balanced_and_nested(self, cache: Path) -> None:
        whole, held_out = load(cache)
        part, test = load(cache, train_size=20, test_size=10)
        larger, _ = load(cache, train_size=30, test_size=11)
        assert np.bincount(part.y).tolist() == [2] * 10
        assert np.bincount(test.y).tolist() == [1] * 10
        for small, large in ((part, larger), (larger, whole), (test, held_out)):
            known = {(x.tobytes(), y) for x, y in zip(large.x, large.y, strict=True)}
            mine = {(x.tobytes(), y) for x, y in zip(small.x, small.y, strict=True)}
            assert len(mine) == len(small)
            assert mine <= known

    def test_resized_when_drawn_if_large(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain, _ = load(cache)
        eager, _ = load(cache, size=64)
        assert np.array_equal(eager.x, resize(np.asarray(plain.x), 64))
        monkeypatch.setattr(data, "_LARGE", 60 * 64 * 64 * 4 - 1)
        lazy, test = load(cache, size=64)
        assert isinstance(lazy.x, Resized)
        assert isinstance(test.x, np.ndarray)  # 30 images are below the limit
        for one, two in zip(
            lazy.batches(16, True, 3), eager.batches(16, True, 3), strict=True
        ):
            assert np.array_equal(one[0], two[0])
            assert np.array_equal(one[1], two[1])


class TestDownload:
    def test_only_what_is_missing(self, server: Server, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "folder"
        first = load(folder, server.url.rstrip("/"))
        assert server.requests == list(NAMES)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
        if os.name == "posix":  # others may use the folder, too
            assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
        (folder / NAMES[2]).unlink()
        second = load(folder, server.url)
        assert server.requests == [*NAMES, NAMES[2]]
        for one, two in zip(first, second, strict=True):
            assert np.array_equal(one.x, two.x)

    @pytest.mark.parametrize("body", [b"", FILES[FIRST][:-40]])
    def test_half_a_file_in_the_cache(
        self, server: Server, cache: Path, body: bytes
    ) -> None:
        (cache / FIRST).write_bytes(body)
        wrong = r"tried the copy in the folder \(wrong checksum\)\. Put"
        with pytest.raises(ConnectionError, match=wrong):
            load(cache)
        # What somebody put there stays until there is a better one.
        assert (cache / FIRST).read_bytes() == body
        load(cache, server.url)
        assert server.requests == [FIRST]
        assert (cache / FIRST).read_bytes() == FILES[FIRST]

    @pytest.mark.parametrize(
        ("bad", "why"),
        [("damaged/", "wrong checksum"), ("missing/", "HTTP status 404")],
    )
    def test_next_address(
        self, server: Server, tmp_path: Path, bad: str, why: str
    ) -> None:
        with pytest.raises(ConnectionError) as caught:
            load(tmp_path / "new", server.url + bad)
        assert f"tried {server.url}{bad}{FIRST} ({why}). Put" in str(caught.value)
        assert list((tmp_path / "new").iterdir()) == []
        server.requests.clear()
        load(tmp_path / "new", server.url + bad, server.url)
        assert server.requests == [f for name in NAMES for f in (bad + name, name)]

    def test_second_try(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(data, "_RETRIES", 1)
        monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
        statuses = iter([503, 200, 200, 200, 200])
        server.status = lambda: next(statuses)
        answers: list[requests.Response] = []
        send = requests.Session.send

        def recorded(*arguments: Any, **options: Any) -> requests.Response:
            answers.append(send(*arguments, **options))
            return answers[-1]

        monkeypatch.setattr(requests.Session, "send", recorded)
        load(tmp_path / "new", server.url)
        assert server.requests == [FIRST, *NAMES]
        assert [answer.status_code for answer in answers] == [503, 200, 200, 200, 200]
        assert all(answer.raw.closed for answer in answers)

    def test_offline(self, cache: Path, tmp_path: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        load(cache, url)
        load(str(cache))
        folder = tmp_path / "none"
        with pytest.raises(ConnectionError) as caught:
            load(folder, url, "http://")
        assert str(caught.value) == (
            f"fashion_mnist: cannot get {FIRST} of Fashion-MNIST; tried {url}{FIRST} "
            f"(ConnectionError), http:/{FIRST} (InvalidURL). Put its four files, "
            f"{', '.join(NAMES)}, into {folder}; or name another folder by folder=, "
            "or the one that holds a folder fashion-mnist by the environment variable "
            "D2L_DATA"
        )
        with pytest.raises(ConnectionError, match="tried no address"):
            load(folder)

    @pytest.mark.parametrize("below", ["", "sub"])
    def test_folder_that_cannot_be(
        self, server: Server, tmp_path: Path, below: str
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(OSError, match=r"cannot use the folder .* D2L_DATA") as why:
            load(tmp_path / "file" / below, server.url)
        assert not isinstance(why.value, ConnectionError)
        assert server.requests == []

    def test_two_at_a_time(self, server: Server, tmp_path: Path) -> None:
        """Each file is sent only when both downloads have asked for it."""
        together = threading.Barrier(2)
        server.status = lambda: 200 if together.wait(20) < 2 else 500
        with ThreadPoolExecutor(2) as pool:
            one, two = pool.map(load, [tmp_path / "new"] * 2, [server.url] * 2)
        assert np.array_equal(one[0].x, two[0].x)
        assert {path.name for path in (tmp_path / "new").iterdir()} == set(NAMES)

    @pytest.mark.parametrize(("progress", "bars"), [(True, 4), (False, 0), (None, 0)])
    def test_progress(
        self, server: Server, tmp_path: Path, progress: Any, bars: int, capsys: Any
    ) -> None:
        load(tmp_path / "new", server.url, progress=progress)
        assert capsys.readouterr().err.count("100%") == bars


def test_default_folder(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = cache.parents[1]
    for variable, user_cache in (("", root), ("~/d2lutils", root / "other")):
        monkeypatch.setenv("HOME", str(root))
        monkeypatch.setenv("USERPROFILE", str(root))
        monkeypatch.setenv("D2L_DATA", variable)
        monkeypatch.setattr("pooch.os_cache", user_cache.joinpath)
        load(None)


WRONG = "urls must be addresses that begin with http:// or https://, got "


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"size": 0}, ValueError, "size must be at least 1, got 0"),
        ({"train_size": 61}, ValueError, "train_size must be between 1 and 60, got 61"),
        ({"test_size": 0}, ValueError, "test_size must be between 1 and 30, got 0"),
        ({"test_size": None}, TypeError, "test_size must be an integer, got None"),
        ({"dtype": "int32"}, ValueError, "dtype must be floating point, got 'int32'"),
        ({"folder": 3}, TypeError, "folder must be a path, got 3"),
        ({"urls": "a"}, TypeError, "urls must be a sequence of addresses, got 'a'"),
        ({"urls": None}, TypeError, "urls must be a sequence of addresses, got None"),
        ({"urls": ["http://a/", "ftp://b/"]}, ValueError, WRONG + "'ftp://b/'"),
        ({"progress": 1}, TypeError, "progress must be True or False, got 1"),
    ],
)
def test_refused(arguments: dict[str, Any], error: Any, text: str) -> None:
    with pytest.raises(error) as caught:
        fashion_mnist(**{"train_size": 60, "test_size": 30, **arguments})
    assert str(caught.value) == f"fashion_mnist: {text}"
