"""One contender of `benchmarks/read.py`, once, in this process: the last line says how fast it read.

    python benchmarks/peers_read.py webdataset --data /tmp/read/tar --epochs 3

A contender is a function that imports what it needs and returns `start`; `start` opens the dataset and returns a
function of an epoch's number, which counts the images of each batch. Imports are in no figure; the first batch counts
from the call of `start`; the first epoch, in which peers compile, start processes and fill caches, is left out of the
speed.

Peers make uint8 pixels of 3 x 224 x 224 (FFCV, DALI and ours of 224 x 224 x 3) and no floats, which would cost each the
same. Those that leave pixels to the user get torchvision's transforms of Pillow images (`Augmentation`), as in their
examples; `webdataset_tensors` shows what torchvision's decoder and transforms of tensors make of it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.process_tree import MemoryPeak, cpu_seconds
from benchmarks.read_ours import bound, ours, ours_multi_crop, ranges

Epoch = Callable[[int], Iterable[int]]
"""Number of an epoch -> images in each of its batches."""
Start = Callable[[], Epoch]

SIZE = 224
INITIAL_SHUFFLE = 1000
"""Samples that webdataset and DALI hold to shuffle them: about as many as their examples take."""


class Augmentation:
    """RandomResizedCrop and flip of an encoded image, with Pillow."""

    def __init__(self) -> None:
        from torchvision import transforms

        self._steps = transforms.Compose(
            [transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
        )

    def __call__(self, image: Any) -> Any:
        from PIL import Image

        picture = image if isinstance(image, Image.Image) else Image.open(io.BytesIO(image))
        return self._steps(picture.convert("RGB"))


class TensorAugmentation:
    """The same with torchvision's decoder and its transforms of uint8 tensors, which its documentation recommends."""

    def __init__(self) -> None:
        from torchvision.transforms import v2

        self._steps = v2.Compose([v2.RandomResizedCrop(SIZE), v2.RandomHorizontalFlip()])

    def __call__(self, image: bytes) -> Any:
        import numpy as np
        import torch
        from torchvision.io import decode_image

        # A copy: torch takes no memory that cannot be written.
        encoded = torch.from_numpy(np.frombuffer(image, np.uint8).copy())
        return self._steps(decode_image(encoded, mode="RGB"))


class DinoAugmentation:
    """One crop of 224 pixels and eight of 96 with DINO's colours, as its own code makes them from a Pillow image."""

    def __init__(self) -> None:
        self._views = [_dino_view(SIZE, (0.25, 1.0), 0.2, 0.2), *[_dino_view(96, (0.05, 0.25), 0.5, 0.0)] * 8]

    def __call__(self, image: Any) -> list[Any]:
        return [view(image) for view in self._views]


def _dino_view(size: int, scale: tuple[float, float], blur: float, solarize: float) -> Any:
    from torchvision import transforms

    steps = [
        transforms.RandomResizedCrop(size, scale=scale, interpolation=transforms.InterpolationMode.BICUBIC),
        transforms.RandomHorizontalFlip(),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
        transforms.RandomGrayscale(0.2),
        transforms.RandomApply([PillowBlur()], p=blur),
    ]
    if solarize:
        steps.append(transforms.RandomSolarize(128, solarize))
    return transforms.Compose([*steps, transforms.PILToTensor()])


class PillowBlur:
    """DINO's Gaussian blur."""

    def __call__(self, image: Any) -> Any:
        from PIL import ImageFilter

        return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


def _epochs_of(loader: Iterable[Any]) -> Epoch:
    """A torch DataLoader's batches: images, labels."""
    return lambda _: (len(labels) for _, labels in loader)


def _workers(arguments: argparse.Namespace) -> dict[str, Any]:
    """How every DataLoader runs; workers stay for the next epoch."""
    return {"num_workers": arguments.threads, "persistent_workers": True, "prefetch_factor": 4}


def imagefolder(arguments: argparse.Namespace) -> Start:
    """ImageFolder of torchvision in torch's DataLoader."""
    return _imagefolder(arguments, Augmentation())


def multi_crop(arguments: argparse.Namespace) -> Start:
    """The same with DINO's nine views."""
    return _imagefolder(arguments, DinoAugmentation())


def _imagefolder(arguments: argparse.Namespace, transform: Any) -> Start:
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    def start() -> Epoch:
        dataset = ImageFolder(str(arguments.data), transform)
        return _epochs_of(DataLoader(dataset, batch_size=arguments.batch_size, shuffle=True, **_workers(arguments)))

    return start


def webdataset(arguments: argparse.Namespace) -> Start:
    """webdataset, which makes batches in the workers, in torch's DataLoader."""
    return _webdataset(arguments, Augmentation())


def webdataset_tensors(arguments: argparse.Namespace) -> Start:
    """The same with tensors from the decoder on."""
    return _webdataset(arguments, TensorAugmentation())


def _webdataset(arguments: argparse.Namespace, transform: Any) -> Start:
    import webdataset as wds

    def start() -> Epoch:
        urls = sorted(str(path) for path in arguments.data.glob("shards/*.tar"))
        dataset = (
            wds.WebDataset(urls, shardshuffle=len(urls), workersplitter=wds.split_by_worker)
            .shuffle(INITIAL_SHUFFLE)
            .to_tuple("jpg", "cls")
            .map_tuple(transform, int)
            .batched(arguments.batch_size)
        )
        return _epochs_of(wds.WebLoader(dataset, batch_size=None, shuffle=False, **_workers(arguments)))

    return start


def streaming(arguments: argparse.Namespace) -> Start:
    """MosaicML's StreamingDataset over local MDS shards, in torch's DataLoader."""
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory
    from torch.utils.data import DataLoader

    class Photos(StreamingDataset):
        """Decoded by the library's own encoding `jpeg`, which opens it with Pillow."""

        augmentation = Augmentation()

        def __getitem__(self, number: int) -> tuple[Any, int]:
            sample = super().__getitem__(number)
            return self.augmentation(sample["image"]), sample["label"]

    def start() -> Epoch:
        clean_stale_shared_memory()
        folder = str(arguments.data / "shards" / "train")
        dataset = Photos(local=folder, shuffle=True, batch_size=arguments.batch_size)
        return _epochs_of(DataLoader(dataset, batch_size=arguments.batch_size, **_workers(arguments)))

    return start


def litdata(arguments: argparse.Namespace) -> Start:
    """LitData's StreamingDataset over local chunks, in its own loader."""
    from litdata import StreamingDataLoader, StreamingDataset

    augmentation = Augmentation()

    def start() -> Epoch:
        dataset = StreamingDataset(
            str(arguments.data / "shards" / "train"),
            shuffle=True,
            transform=lambda sample: (augmentation(sample["image"]), sample["label"]),
        )
        return _epochs_of(StreamingDataLoader(dataset, batch_size=arguments.batch_size, **_workers(arguments)))

    return start


def ffcv(arguments: argparse.Namespace) -> Start:
    """FFCV's loader over one `.beton`, memory-mapped, with its threads."""
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, Squeeze, ToTensor

    def start() -> Epoch:
        image = [RandomResizedCropRGBImageDecoder((SIZE, SIZE)), RandomHorizontalFlip(), ToTensor()]
        return _epochs_of(
            Loader(
                str(arguments.data / "shards" / "train.beton"),
                batch_size=arguments.batch_size,
                num_workers=arguments.threads,
                os_cache=True,
                order=OrderOption.RANDOM,
                drop_last=False,
                pipelines={"image": image, "label": [IntDecoder(), ToTensor(), Squeeze()]},
            )
        )

    return start


def dali(arguments: argparse.Namespace) -> Start:
    """DALI without a GPU: the crop's rows alone are decoded."""
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def(batch_size=arguments.batch_size, num_threads=arguments.threads, device_id=None, seed=0)
    def photos() -> Any:
        encoded, labels = fn.readers.file(
            file_root=str(arguments.data), random_shuffle=True, initial_fill=INITIAL_SHUFFLE, name="reader"
        )
        images = fn.decoders.image_random_crop(encoded, device="cpu", output_type=types.RGB)
        images = fn.resize(images, resize_x=SIZE, resize_y=SIZE)
        return fn.flip(images, horizontal=fn.random.coin_flip()), labels

    def start() -> Epoch:
        pipeline = photos()
        pipeline.build()
        num_batches = -(-pipeline.reader_meta("reader")["epoch_size"] // arguments.batch_size)

        def epoch(_: int) -> Iterator[int]:
            # The reader goes on with the next epoch where a batch crosses its end, so all batches are full.
            for _ in range(num_batches):
                images, _ = pipeline.run()
                yield len(images.as_array())

        return epoch

    return start


CONTENDERS: dict[str, Callable[[argparse.Namespace], Start]] = {
    "ours": ours,
    "ours_multi_crop": ours_multi_crop,
    "bound": bound,
    "ranges": ranges,
    "ffcv": ffcv,
    "dali": dali,
    "webdataset": webdataset,
    "webdataset_tensors": webdataset_tensors,
    "streaming": streaming,
    "litdata": litdata,
    "imagefolder": imagefolder,
    "multi_crop": multi_crop,
}
"""Name -> imports what it needs and returns what is timed."""


def measure(start: Start, num_epochs: int, max_batches: int | None) -> dict[str, Any]:
    """Seconds to the first batch, images and seconds of each epoch after the first, CPU time and memory of all.

    Args:
        start: Opens the dataset.
        num_epochs: After the first, which is left out; with 0 only the first is read.
        max_batches: Ends each epoch early.
    """
    with MemoryPeak() as memory:
        started = time.perf_counter()
        epoch = start()
        first_batch_seconds, images, seconds = None, [], []
        cpu = 0.0
        for number in range(num_epochs + 1):
            if number == 1:
                cpu = cpu_seconds()
            begun, count = time.perf_counter(), 0
            for batch, size in enumerate(epoch(number), 1):
                if first_batch_seconds is None:
                    first_batch_seconds = time.perf_counter() - started
                count += size
                if batch == max_batches:
                    break
            images.append(count)
            seconds.append(time.perf_counter() - begun)
        cpu = cpu_seconds() - cpu
    return {
        "first_batch_seconds": first_batch_seconds,
        "images": images,
        "seconds": seconds,
        "cpu_ms_per_image": cpu * 1e3 / sum(images[1:]) if num_epochs else None,
        **memory.found,
    }


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="One contender of benchmarks/read.py, once.")
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("--data", type=Path, help="a format that benchmarks/read_data.py made")
    parser.add_argument("--url", help="for ours and ranges: a dataset on an object store instead")
    parser.add_argument("--epochs", type=int, default=3, help="after the first")
    parser.add_argument("--max-batches", type=int, help="of each epoch")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shuffle", default="global", help="for ours")
    parser.add_argument("--block-size", type=int, help="for ours with --shuffle blocks; the loader's own unless told")
    parser.add_argument("--view", help="for ours: SQL that returns keys")
    arguments = parser.parse_args()
    if (arguments.data is None) == (arguments.url is None):
        parser.error("give --data or --url")
    return arguments


def main() -> None:
    """Import, measure, print."""
    arguments = parse()
    cores = sorted(os.sched_getaffinity(0))[: arguments.threads]
    os.sched_setaffinity(0, cores)
    # Peers print what they like.
    with contextlib.redirect_stdout(sys.stderr):
        found = measure(CONTENDERS[arguments.contender](arguments), arguments.epochs, arguments.max_batches)
    print(json.dumps(found), flush=True)
    # Peers' threads and workers need not end by themselves.
    os._exit(0)


if __name__ == "__main__":
    main()
