"""Rows: data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from d2lutils.compat import mx
from d2lutils.porting import Row, functions, values

__all__ = ["ROWS"]

nd: Any = mx.nd
tdata: Any = torch.utils.data
gluon: Any = mx.gluon
gdata: Any = mx.gluon.data
transforms: Any = mx.gluon.data.vision.transforms

X = np.arange(20.0, dtype="float32").reshape(10, 2)
Y = np.arange(10, dtype="float32")
IMAGE = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (4, 5, 3), "uint8")


def gluon_dataset(x: Any, y: Any) -> Any:
    dataset = gdata.ArrayDataset(x, y)
    return [len(dataset), *dataset[3]]


def pytorch_dataset(x: Any, y: Any) -> Any:
    dataset = tdata.TensorDataset(x, y)
    return [len(dataset), *dataset[3]]


def gluon_batches(x: Any, y: Any) -> Any:
    loader = gdata.DataLoader(gdata.ArrayDataset(x, y), batch_size=4)
    return [part for batch in loader for part in batch]


def pytorch_batches(x: Any, y: Any) -> Any:
    loader = tdata.DataLoader(tdata.TensorDataset(x, y), batch_size=4)
    return [part for batch in loader for part in batch]


def gluon_discard(x: Any) -> Any:
    return list(gdata.DataLoader(x, batch_size=4, last_batch="discard"))


def pytorch_discard(x: Any) -> Any:
    return list(tdata.DataLoader(x, batch_size=4, drop_last=True))


def gluon_rollover(x: Any) -> Any:
    loader = gdata.DataLoader(x, batch_size=4, last_batch="rollover")
    return [len(batch) for epoch in range(3) for batch in loader]


def pytorch_rollover(x: Any) -> Any:
    loader = tdata.DataLoader(x, batch_size=4)
    return [len(batch) for epoch in range(3) for batch in loader]


def pytorch_own_rollover(x: Any) -> Any:
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


def gluon_shuffled(x: Any) -> Any:
    loader = gdata.DataLoader(x, batch_size=4, shuffle=True)
    return sorted(int(i) for batch in loader for i in batch[:, 0].asnumpy())


def pytorch_shuffled(x: Any) -> Any:
    loader = tdata.DataLoader(x, batch_size=4, shuffle=True)
    return sorted(int(i) for batch in loader for i in batch[:, 0])


def gluon_own_dataset() -> Any:
    class Squares(gdata.Dataset):
        def __len__(self) -> int:
            return 6

        def __getitem__(self, i: int) -> Any:
            return float(i), i * i

    return [part for batch in gdata.DataLoader(Squares(), 3) for part in batch]


def pytorch_own_dataset() -> Any:
    class Squares(tdata.Dataset):
        def __len__(self) -> int:
            return 6

        def __getitem__(self, i: int) -> Any:
            return float(i), i * i

    return [part for batch in tdata.DataLoader(Squares(), 3) for part in batch]


def gluon_floats() -> Any:
    loader = gdata.DataLoader([0.5, 1.5, 2.5], 3)
    return next(iter(loader))


def pytorch_floats() -> Any:
    loader = tdata.DataLoader([0.5, 1.5, 2.5], 3)
    return next(iter(loader))


def gluon_transformed(x: Any, y: Any) -> Any:
    dataset = gdata.ArrayDataset(x, y).transform_first(lambda x: x * 2)
    return list(dataset[3])


def pytorch_transformed(x: Any, y: Any) -> Any:
    class Doubled(tdata.TensorDataset):
        def __getitem__(self, i: int) -> Any:
            x, y = super().__getitem__(i)
            return x * 2, y

    dataset = Doubled(x, y)
    return list(dataset[3])


def gluon_padded() -> Any:
    def padded(texts: Any) -> Any:
        batch = np.zeros((len(texts), max(map(len, texts))))
        for row, text in zip(batch, texts, strict=True):
            row[: len(text)] = text
        return nd.array(batch)

    texts = [np.ones(2), np.ones(4), np.ones(3)]
    loader = gdata.DataLoader(texts, 3, batchify_fn=padded)
    return next(iter(loader))


def pytorch_padded() -> Any:
    def padded(texts: Any) -> Any:
        return torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)

    texts = [torch.ones(2), torch.ones(4), torch.ones(3)]
    loader = tdata.DataLoader(texts, 3, collate_fn=padded)
    return next(iter(loader))


def gluon_part(x: Any) -> Any:
    dataset = gdata.SimpleDataset(x).take(6)
    return list(dataset.filter(lambda row: row[0] > 3))


def pytorch_part(x: Any) -> Any:
    rows = [i for i in range(6) if x[i, 0] > 3]
    return list(tdata.Subset(x, rows))


def gluon_image(image: Any) -> Any:
    return transforms.ToTensor()(image)


def pytorch_image(image: Any) -> Any:
    return image.permute(2, 0, 1) / 255


def gluon_normalised(image: Any) -> Any:
    steps = [transforms.ToTensor(), transforms.Normalize(0.5, 0.25)]
    return transforms.Compose(steps)(image)


def pytorch_normalised(image: Any) -> Any:
    return (image.permute(2, 0, 1) / 255 - 0.5) / 0.25


def gluon_devices(x: Any) -> Any:
    return gluon.utils.split_and_load(x, [mx.cpu(0), mx.cpu(1)])


def pytorch_devices(x: Any) -> Any:
    return [part.to("cpu") for part in x.chunk(2)]


def gluon_iterator(x: Any) -> Any:
    batches = mx.io.NDArrayIter(x, batch_size=4)
    return [batch.data[0] for batch in batches]


def pytorch_iterator(x: Any) -> Any:
    return list(tdata.DataLoader(x, batch_size=4))


def pytorch_wrapped(x: Any) -> Any:
    places = torch.arange(12) % len(x)
    return list(tdata.DataLoader(tdata.Subset(x, places), batch_size=4))


ROWS = [
    Row(
        "arrays as a dataset",
        gluon=gluon_dataset,
        pytorch=pytorch_dataset,
        judge=functions(X, Y, gradient=False),
    ),
    Row(
        "a dataset of one's own",
        gluon=gluon_own_dataset,
        pytorch=pytorch_own_dataset,
        judge=values(),
    ),
    Row(
        "Python floats in a batch",
        gluon=gluon_floats,
        pytorch=pytorch_floats,
        judge=values(dtype=True),
    ),
    Row(
        "batches",
        gluon=gluon_batches,
        pytorch=pytorch_batches,
        judge=functions(X, Y, gradient=False),
    ),
    Row(
        "batches, the last one dropped",
        gluon=gluon_discard,
        pytorch=pytorch_discard,
        judge=functions(X, gradient=False),
    ),
    Row(
        "batches, the rest kept for the next epoch",
        gluon=gluon_rollover,
        pytorch=pytorch_rollover,
        judge=functions(X, gradient=False),
        differs="PyTorch has no `rollover`",
        cure=pytorch_own_rollover,
    ),
    Row(
        "shuffled: each example once",
        gluon=gluon_shuffled,
        pytorch=pytorch_shuffled,
        judge=functions(X, gradient=False),
    ),
    Row(
        "`NDArrayIter`",
        gluon=gluon_iterator,
        pytorch=pytorch_iterator,
        judge=functions(X, gradient=False),
        differs="fills the last batch from the beginning",
        cure=pytorch_wrapped,
    ),
    Row(
        "change each example",
        gluon=gluon_transformed,
        pytorch=pytorch_transformed,
        judge=functions(X, Y, gradient=False),
    ),
    Row(
        "examples of unequal length",
        gluon=gluon_padded,
        pytorch=pytorch_padded,
        judge=values(),
    ),
    Row(
        "some of the examples",
        gluon=gluon_part,
        pytorch=pytorch_part,
        judge=functions(X, gradient=False),
    ),
    Row(
        "an image as a tensor",
        gluon=gluon_image,
        pytorch=pytorch_image,
        judge=functions(IMAGE, dtype=True),
        within=1e-6,
    ),
    Row(
        "an image, normalised",
        gluon=gluon_normalised,
        pytorch=pytorch_normalised,
        judge=functions(IMAGE, dtype=True),
        within=1e-6,
    ),
    Row(
        "a batch for several devices",
        gluon=gluon_devices,
        pytorch=pytorch_devices,
        judge=functions(X, gradient=False),
    ),
]
