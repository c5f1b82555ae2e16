"""Rows: data."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from d2lutils.compat import mx
from d2lutils.porting.judges import filed, functions, outputs, values
from d2lutils.porting.rows import Rows

__all__ = ["ROWS"]

nd: Any = mx.nd
tdata: Any = torch.utils.data
gdata: Any = mx.gluon.data
transforms: Any = mx.gluon.data.vision.transforms

X = np.arange(20.0, dtype="float32").reshape(10, 2)
Y = np.arange(10, dtype="float32")
IMAGE = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (4, 5, 3), "uint8")


def write_images(path: str) -> None:
    for i, name in enumerate(["cat", "cat", "dog"]):
        os.makedirs(f"{path}/{name}", exist_ok=True)
        Image.fromarray(IMAGE + i).save(f"{path}/{name}/{i}.png")


def write_records(path: str) -> None:
    records = mx.recordio.MXIndexedRecordIO(f"{path}.idx", f"{path}.rec", "w")
    for i, content in enumerate([b"one", b"two"]):
        header = mx.recordio.IRHeader(0, float(i), i, 0)
        records.write_idx(i, mx.recordio.pack(header, content))
    records.close()


ROWS = Rows()
row, pytorch, cure = ROWS.row, ROWS.pytorch, ROWS.cure


@row("arrays as a dataset", outputs(X, Y))
def _(x: Any, y: Any) -> Any:
    dataset = gdata.ArrayDataset(x, y)
    return [len(dataset), *dataset[3]]


@pytorch
def _(x: Any, y: Any) -> Any:
    dataset = tdata.TensorDataset(x, y)
    return [len(dataset), *dataset[3]]


@row("a dataset of one's own", values())
def _() -> Any:
    class Squares(gdata.Dataset):
        def __len__(self) -> int:
            return 6

        def __getitem__(self, i: int) -> Any:
            return float(i), i * i

    return [part for batch in gdata.DataLoader(Squares(), 3) for part in batch]


@pytorch
def _() -> Any:
    class Squares(tdata.Dataset):
        def __len__(self) -> int:
            return 6

        def __getitem__(self, i: int) -> Any:
            return float(i), i * i

    return [part for batch in tdata.DataLoader(Squares(), 3) for part in batch]


@row("Python floats in a batch", values(dtype=True))
def _() -> Any:
    loader = gdata.DataLoader([0.5, 1.5, 2.5], 3)
    return next(iter(loader))


@pytorch
def _() -> Any:
    loader = tdata.DataLoader([0.5, 1.5, 2.5], 3)
    return next(iter(loader))


@row("batches", outputs(X, Y))
def _(x: Any, y: Any) -> Any:
    loader = gdata.DataLoader(gdata.ArrayDataset(x, y), batch_size=4)
    return [part for batch in loader for part in batch]


@pytorch
def _(x: Any, y: Any) -> Any:
    loader = tdata.DataLoader(tdata.TensorDataset(x, y), batch_size=4)
    return [part for batch in loader for part in batch]


@row("batches by worker processes", outputs(X, Y))
def _(x: Any, y: Any) -> Any:
    dataset = gdata.ArrayDataset(x, y)
    loader = gdata.DataLoader(dataset, 4, num_workers=2)
    return [part for batch in loader for part in batch]


@pytorch
def _(x: Any, y: Any) -> Any:
    dataset = tdata.TensorDataset(x, y)
    loader = tdata.DataLoader(dataset, 4, num_workers=2)
    return [part for batch in loader for part in batch]


row("batches, the last one dropped", outputs(X))(
    gluon=lambda x: list(gdata.DataLoader(x, batch_size=4, last_batch="discard")),
    pytorch=lambda x: list(tdata.DataLoader(x, batch_size=4, drop_last=True)),
)


@row("batches, the rest kept for the next epoch", outputs(X))
def _(x: Any) -> Any:
    loader = gdata.DataLoader(x, batch_size=4, last_batch="rollover")
    return [len(batch) for epoch in range(3) for batch in loader]


@pytorch(differs="PyTorch has no `rollover`")
def _(x: Any) -> Any:
    loader = tdata.DataLoader(x, batch_size=4)
    return [len(batch) for epoch in range(3) for batch in loader]


@cure
def _(x: Any) -> Any:
    class RollOver:
        def __init__(self, sampler: Any, size: int) -> None:
            self.sampler, self.size = sampler, size
            self.left: list[int] = []

        def __iter__(self) -> Any:
            for i in self.sampler:
                self.left.append(i)
                if len(self.left) == self.size:
                    yield self.left
                    self.left = []

    batches = RollOver(tdata.SequentialSampler(x), 4)
    loader = tdata.DataLoader(x, batch_sampler=batches)
    return [len(batch) for epoch in range(3) for batch in loader]


@row("shuffled: each example once", outputs(X))
def _(x: Any) -> Any:
    loader = gdata.DataLoader(x, batch_size=4, shuffle=True)
    return sorted(int(i) for batch in loader for i in batch[:, 0].asnumpy())


@pytorch
def _(x: Any) -> Any:
    loader = tdata.DataLoader(x, batch_size=4, shuffle=True)
    return sorted(int(i) for batch in loader for i in batch[:, 0])


@row("`NDArrayIter`", outputs(X))
def _(x: Any) -> Any:
    batches = mx.io.NDArrayIter(x, batch_size=4)
    return [batch.data[0] for batch in batches]


pytorch(
    lambda x: list(tdata.DataLoader(x, batch_size=4)),
    differs="fills the last batch from the beginning",
)


@cure
def _(x: Any) -> Any:
    places = torch.arange(12) % len(x)
    return list(tdata.DataLoader(tdata.Subset(x, places), batch_size=4))


@row("change each example", outputs(X, Y))
def _(x: Any, y: Any) -> Any:
    dataset = gdata.ArrayDataset(x, y).transform_first(lambda x: x * 2)
    return list(dataset[3])


@pytorch
def _(x: Any, y: Any) -> Any:
    class Doubled(tdata.TensorDataset):
        def __getitem__(self, i: int) -> Any:
            x, y = super().__getitem__(i)
            return x * 2, y

    dataset = Doubled(x, y)
    return list(dataset[3])


@row("examples of unequal length", values())
def _() -> Any:
    def padded(texts: Any) -> Any:
        batch = np.zeros((len(texts), max(map(len, texts))))
        for row, text in zip(batch, texts, strict=True):
            row[: len(text)] = text
        return nd.array(batch)

    texts = [np.ones(2), np.ones(4), np.ones(3)]
    loader = gdata.DataLoader(texts, 3, batchify_fn=padded)
    return next(iter(loader))


@pytorch
def _() -> Any:
    def padded(texts: Any) -> Any:
        return torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)

    texts = [torch.ones(2), torch.ones(4), torch.ones(3)]
    loader = tdata.DataLoader(texts, 3, collate_fn=padded)
    return next(iter(loader))


@row("some of the examples", outputs(X))
def _(x: Any) -> Any:
    dataset = gdata.SimpleDataset(x).take(6)
    return list(dataset.filter(lambda row: row[0] > 3))


@pytorch
def _(x: Any) -> Any:
    rows = [i for i in range(6) if x[i, 0] > 3]
    return list(tdata.Subset(x, rows))


row("an image as a tensor", functions(IMAGE, dtype=True), within=1e-6)(
    gluon=lambda image: transforms.ToTensor()(image),
    pytorch=lambda image: image.permute(2, 0, 1) / 255,
)


@row("an image, normalised", functions(IMAGE, dtype=True), within=1e-6)
def _(image: Any) -> Any:
    steps = [transforms.ToTensor(), transforms.Normalize(0.5, 0.25)]
    return transforms.Compose(steps)(image)


pytorch(lambda image: (image.permute(2, 0, 1) / 255 - 0.5) / 0.25)


row("crop the centre of an image", outputs(IMAGE))(
    gluon=lambda image: transforms.CenterCrop((3, 2))(image),
    pytorch=lambda image: image[0:3, 1:3],
    differs="(width, height) there, rows and columns here",
    cure=lambda image: image[1:3, 1:4],
)
row("flip an image of even width", outputs(IMAGE[:, :4]))(
    gluon=lambda image: nd.image.flip_left_right(image),
    pytorch=lambda image: image.flip(1),
)


@row("resize an image", outputs(IMAGE.astype("float32")), within=1e-5)
def _(image: Any) -> Any:
    return transforms.Resize((6, 8))(image)


@pytorch(differs="(width, height) there, (height, width) here")
def _(image: Any) -> Any:
    batch = image.permute(2, 0, 1)[None]
    return F.interpolate(batch, (6, 8), mode="bilinear")[0].permute(1, 2, 0)


@cure
def _(image: Any) -> Any:
    batch = image.permute(2, 0, 1)[None]
    return F.interpolate(batch, (8, 6), mode="bilinear")[0].permute(1, 2, 0)


@row("folders of images, one for each class", filed())
def _(path: str) -> Any:
    write_images(path)
    dataset = gdata.vision.ImageFolderDataset(path)
    return [dataset.synsets, *dataset[2]]


@pytorch
def _(path: str) -> Any:
    class ImageFolder(tdata.Dataset):
        def __init__(self, path: str) -> None:
            self.classes = sorted(os.listdir(path))
            self.files = sorted(Path(path).glob("*/*"))

        def __getitem__(self, i: int) -> Any:
            image = torch.tensor(np.asarray(Image.open(self.files[i])))
            return image, self.classes.index(self.files[i].parent.name)

    write_images(path)
    dataset = ImageFolder(path)
    return [dataset.classes, *dataset[2]]


@row("records, read without MXNet", filed())
def _(path: str) -> Any:
    write_records(path)
    records = mx.recordio.MXIndexedRecordIO(f"{path}.idx", f"{path}.rec", "r")
    header, content = mx.recordio.unpack(records.read_idx(1))
    return [header.label, content.decode()]


@pytorch
def _(path: str) -> Any:
    class Records(tdata.Dataset):
        def __init__(self, path: str) -> None:
            with open(f"{path}.idx") as lines:
                self.places = [int(line.split()[1]) for line in lines]
            self.path = f"{path}.rec"

        def __getitem__(self, i: int) -> Any:
            with open(self.path, "rb") as file:
                file.seek(self.places[i])
                _, size = struct.unpack("<II", file.read(8))
                record = file.read(size)
            _, label, *_ = struct.unpack("<IfQQ", record[:24])
            return label, record[24:].decode()

    write_records(path)
    return list(Records(path)[1])
