"""Our own side of `benchmarks/read.py`: the loader, and the two limits it is held against.

`bound` is the decoder alone: the crops that the loader would make, from bytes in memory into arrays that are used
again, with two batches on their way so that no thread waits for a batch's end. `ranges` is the object store alone:
whole shards in ranges, several at a time, nothing decoded.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

Epoch = Callable[[int], Iterable[int]]
Start = Callable[[], Epoch]

SEED = 0
SPLIT = "train"
SIZE = 224
RANGE_BYTES = 8 * 1024 * 1024
NUM_REQUESTS = 8
"""`RANGE_BYTES` and these are the loader's own defaults."""


def ours(arguments: argparse.Namespace) -> Start:
    """The loader, with one random crop."""
    from shardtools.loader import CropOptions

    return _loader(arguments, CropOptions(size=SIZE))


def ours_multi_crop(arguments: argparse.Namespace) -> Start:
    """The loader, with DINO's nine crops at t-ReX's scales, which the other side has too."""
    from shardtools.loader import dino_multi_crop

    return _loader(arguments, dino_multi_crop((0.25, 1.0), (0.05, 0.25)))


def _loader(arguments: argparse.Namespace, crop: Any) -> Start:
    from shardtools.loader import Loader, LoaderOptions, OrderOptions

    def start() -> Epoch:
        options = LoaderOptions(
            datasets=(arguments.url or str(arguments.data),),
            split=None if arguments.view else SPLIT,
            view=arguments.view,
            batch_size=arguments.batch_size,
            crop=crop,
            order=OrderOptions(seed=SEED, shuffle=arguments.shuffle, block_size=arguments.block_size),
            num_threads=arguments.threads,
            # As many images as the peers read, none twice.
            last="short",
        )
        loader = Loader(options)
        return lambda epoch: (len(batch.labels) for batch in loader.epoch(epoch))

    return start


def bound(arguments: argparse.Namespace) -> Start:
    """The bare decoding of the loader's crops, in the loader's order."""
    import numpy as np

    from shardtools.decode import DecodeOptions, Decoder
    from shardtools.loader import (
        CropOptions,
        Draws,
        EpochOrder,
        OrderOptions,
        read_split,
        view_parameters,
    )

    def start() -> Epoch:
        table = read_split((str(arguments.data),), SPLIT)
        images = _encoded_images(table, arguments)
        decoder = Decoder(DecodeOptions(num_threads=arguments.threads))
        outs = [np.empty((arguments.batch_size, SIZE, SIZE, 3), np.uint8) for _ in range(2)]

        def decode(rows: Any, out: Any, parameters: Any) -> int:
            statuses = decoder.decode_batch(
                [images[row] for row in rows.tolist()], parameters.rects, parameters.flips, out[: len(rows)]
            )
            if statuses.any():
                raise SystemExit("an image of the corpus cannot be decoded: make it anew")
            return len(rows)

        def epoch(number: int) -> Iterator[int]:
            order = EpochOrder(OrderOptions(seed=SEED), epoch=number, num_samples=len(table))
            rows = order.rows(np.arange(len(table)))
            draws = Draws(seed=SEED, epoch=number, keys=table.key_hash[rows])
            crops = view_parameters(draws, table.width[rows], table.height[rows], CropOptions(size=SIZE))
            with ThreadPoolExecutor(len(outs)) as callers:
                waiting: deque[Future[int]] = deque()
                for first, out in zip(range(0, len(rows), arguments.batch_size), itertools.cycle(outs), strict=False):
                    if len(waiting) == len(outs):
                        yield waiting.popleft().result()
                    stop = min(first + arguments.batch_size, len(rows))
                    waiting.append(callers.submit(decode, rows[first:stop], out, crops.part(first, stop)))
                yield from (left.result() for left in waiting)

        return epoch

    return start


def _encoded_images(table: Any, arguments: argparse.Namespace) -> list[bytes]:
    """Every image's bytes, in the table's order."""
    images = []
    places = zip(table.shard.tolist(), table.member_offset.tolist(), table.num_bytes.tolist(), strict=True)
    for shard, rows in itertools.groupby(places, key=lambda place: place[0]):
        with (arguments.data / table.shards[shard][1]).open("rb") as file:
            for _, offset, length in rows:
                file.seek(offset)
                images.append(file.read(length))
    return images


def ranges(arguments: argparse.Namespace) -> Start:
    """All bytes of the shards from the server; an image counts as its share of them."""
    import obstore
    from obstore.store import S3Store

    from shardtools.dataset import open_dataset

    def start() -> Epoch:
        info = open_dataset(arguments.url).info
        if info is None:
            raise SystemExit(f"{arguments.url} is not finished: store it anew")
        bucket, _, prefix = arguments.url.removeprefix("s3://").partition("/")
        options: Any = {"allow_http": True, "proxy_excludes": "127.0.0.1"}
        store = S3Store(bucket, prefix=prefix, endpoint=os.environ["AWS_ENDPOINT_URL"], client_options=options)
        wanted = [
            (shard.path, begin, min(begin + RANGE_BYTES, shard.num_bytes))
            for shard in info.shards
            for begin in range(0, shard.num_bytes, RANGE_BYTES)
        ]
        num_bytes = sum(shard.num_bytes for shard in info.shards)
        num_images = info.splits[SPLIT].num_images

        def read(one: tuple[str, int, int]) -> int:
            return len(obstore.get_range(store, one[0], start=one[1], end=one[2]))

        def epoch(_: int) -> Iterator[int]:
            done = 0
            with ThreadPoolExecutor(NUM_REQUESTS) as pool:
                for length in pool.map(read, wanted):
                    yield num_images * (done + length) // num_bytes - num_images * done // num_bytes
                    done += length

        return epoch

    return start
