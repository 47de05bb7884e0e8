"""FFCV's own loader, writer and decoder, called in a process of their own: numba leaves errors behind in its wake.

The functions here run in that process; nothing of FFCV is imported by the tests'.
"""

from __future__ import annotations

import multiprocessing
from typing import Any

import numpy as np

from tests.helpers.pictures import drawing

NUM_PICTURES = 250


def read_all(path: str, os_cache: bool) -> list[tuple[Any, ...]]:
    """What the loader gives for each sample of a file with images of one size: image, label, JSON, bytes of others."""
    from ffcv.fields.decoders import BytesDecoder, IntDecoder, SimpleRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.reader import Reader

    names = list(Reader(path).field_names)
    pipelines: dict[str, Any] = {name: [BytesDecoder()] for name in names}
    pipelines |= {"image": [SimpleRGBImageDecoder()], "label": [IntDecoder()]}
    loader = Loader(
        path,
        batch_size=4,
        num_workers=1,
        drop_last=False,
        pipelines=pipelines,
        os_cache=os_cache,
        order=OrderOption.SEQUENTIAL,
    )
    # Copies: the loader's buffers are used again.
    return [sample for batch in loader for sample in zip(*(np.array(column) for column in batch), strict=True)]


def read_labels_at_random(path: str) -> list[int]:
    """Labels in a random order, the images of any size cropped on the way."""
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption

    pipelines: dict[str, Any] = {"image": [RandomResizedCropRGBImageDecoder((16, 16))], "label": [IntDecoder()]}
    loader = Loader(path, batch_size=4, num_workers=1, order=OrderOption.RANDOM, seed=1, pipelines=pipelines)
    return [int(label) for _, labels in loader for label in np.array(labels).ravel()]


def unpack_json(payload: np.ndarray) -> Any:
    from ffcv.fields import JSONField

    return JSONField.unpack(payload)


def decode(image: bytes, width: int, height: int) -> tuple[int, np.ndarray]:
    """The decoder's return value, which the loader ignores, and the pixels."""
    from ffcv.libffcv import imdecode

    target = np.zeros((height, width, 3), np.uint8)
    source = np.frombuffer(image, np.uint8)
    return imdecode(source, target, height, width, height, width, 0, 0, 1, 1, False, False), target


class _Pictures:
    """A dataset as FFCV's writer takes it."""

    def __len__(self) -> int:
        return NUM_PICTURES

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        import torch

        return (
            np.asarray(drawing(number)),
            number % 7,
            number / 4,
            np.full(number % 5 + 1, number % 256, np.uint8),
            {"key": f"name{number}", "wnid": f"n{number % 7:08d}"},
            np.arange(6, dtype=np.float32).reshape(2, 3) + np.float32(number),
            torch.full((2,), number, dtype=torch.int64),
        )


def write(path: str, **options: Any) -> None:
    """Writes `NUM_PICTURES` samples with fields of all types."""
    import torch
    from ffcv.fields import BytesField, FloatField, IntField, JSONField, NDArrayField, RGBImageField, TorchTensorField
    from ffcv.writer import DatasetWriter

    fields = {
        "image": RGBImageField(**options),
        "label": IntField(),
        "weight": FloatField(),
        "Text": BytesField(),
        "json": JSONField(),
        "box": NDArrayField(np.dtype("<f4"), (2, 3)),
        "ids": TorchTensorField(torch.int64, (2,)),
    }
    # As FFCV's writer is started by hand; a spawned process would spawn its own, which import FFCV for 15 s each.
    multiprocessing.set_start_method("fork", force=True)
    # Two processes: the samples' pages come in an order of chance.
    writer = DatasetWriter(path, fields, num_workers=2, page_size=1 << 21)
    writer.from_indexed_dataset(_Pictures(), chunksize=20)
