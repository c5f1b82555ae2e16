"""Rows: data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from d2lutils.compat import mx
from d2lutils.porting.judges import functions, outputs, values
from d2lutils.porting.rows import Rows

__all__ = ["ROWS"]

nd: Any = mx.nd
tdata: Any = torch.utils.data
gluon: Any = mx.gluon
gdata: Any = mx.gluon.data
transforms: Any = mx.gluon.data.vision.transforms

X = np.arange(20.0, dtype="float32").reshape(10, 2)
Y = np.arange(10, dtype="float32")
IMAGE = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (4, 5, 3), "uint8")

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

row("a batch for several devices", outputs(X))(
    gluon=lambda x: gluon.utils.split_and_load(x, [mx.cpu(0), mx.cpu(1)]),
    pytorch=lambda x: [part.to("cpu") for part in x.chunk(2)],
)
