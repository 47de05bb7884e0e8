"""The measurement: first batch, bytes alone, decoding alone, then the loader itself.

Owns the order of the parts. What can be cold comes first, and the loader reads another epoch than the part before it,
so that on a dataset larger than memory it meets cold bytes again. Nothing is thrown out of the system's cache: the
result says how much was there. The price of parts measured one after the other: a machine that is busy in between
shows up as a stage.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from shardtools.arrays import Int64s
from shardtools.decode import DecodeOptions, Decoder, StageSeconds
from shardtools.loader import (
    CenterCropOptions,
    Crop,
    EpochOrder,
    Loader,
    MultiCropOptions,
    ResizeOptions,
    SampleTable,
    resolve_sizes,
)
from shardtools.loader.reading.batch import ReadCounts
from shardtools.loader.reading.ranges import BlockMap
from shardtools.loader.reading.reader import BatchReader
from shardtools.readbench.decoding import (
    MAX_SAMPLE_IMAGES,
    Decoded,
    DecodeSample,
    decode_for,
    entropy_share,
    share_of_cores,
    share_of_large_crops,
    take_sample,
)
from shardtools.readbench.options import ReadBenchOptions
from shardtools.readbench.residency import resident_share
from shardtools.readbench.result import ReadBench, Speed, StageShares
from shardtools.storage import open_storage
from shardtools.storage.s3 import S3Storage

_RESIDENCY_ROWS = 2048
_MIN_LARGE_CROPS = 0.05


def measure_reading(options: ReadBenchOptions) -> ReadBench:
    """Measures; takes about four times `options.seconds`.

    Raises:
        DatasetError: The dataset is not finished or damaged.
        StorageError: A place cannot be read.
        ShardError: Too many samples are bad.
        OptionError: No such split.
    """
    started = time.perf_counter()
    loader_options = options.loader_options()
    loader = Loader(loader_options)
    table_seconds = time.perf_counter() - started
    table = loader.table
    order = EpochOrder(
        resolve_sizes(loader_options.order, table), epoch=0, num_samples=len(table), shard_starts=table.shard_starts
    )
    # Asked before the first byte is read, and not counted.
    asked = time.perf_counter()
    resident = resident_share(table, order.rows(np.arange(min(len(table), _RESIDENCY_ROWS))))
    started += time.perf_counter() - asked
    with loader:
        num_replaced = _first_batch(loader)
        first_batch_seconds = time.perf_counter() - started
        reading, again, counts = _read(order, table, options)
        alone = _decode_alone(order, table, options)
        loaded = _load(loader, options, alone.entropy)
        facts = loader.facts()
    return ReadBench(
        dataset=options.dataset,
        is_remote=isinstance(open_storage(options.dataset), S3Storage),
        num_images=len(table),
        num_bytes=int(table.num_bytes.sum()),
        mean_width=float(alone.sample.sizes[:, 0].mean()),
        mean_height=float(alone.sample.sizes[:, 1].mean()),
        num_cores=len(os.sched_getaffinity(0)),
        num_threads=options.num_threads,
        batch_size=options.batch_size,
        crop=_in_words(options.crop),
        shuffle=options.shuffle,
        decoder=str(facts["decoder"]),
        library=str(facts["library"]),
        simd=str(facts["simd"]),
        table_seconds=table_seconds,
        first_batch_seconds=first_batch_seconds,
        resident_share=resident,
        num_requests=counts.num_requests,
        num_request_bytes=counts.num_request_bytes,
        reading=reading,
        reading_again=again,
        one_thread=alone.one_thread.speed,
        all_threads=alone.all_threads.speed,
        scaled=alone.scaled,
        loader=loaded.speed,
        shares=loaded.shares,
        waiting_at_start=loaded.waiting_at_start,
        cpu_share=min(loaded.cpu_share, alone.one_thread.cpu_share, alone.all_threads.cpu_share),
        num_bad=alone.sample.num_bad + alone.one_thread.num_bad + num_replaced,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Alone:
    """Decoding without reading."""

    sample: DecodeSample
    one_thread: Decoded
    all_threads: Decoded
    entropy: float
    scaled: Speed | None


def _decode_alone(order: EpochOrder, table: SampleTable, options: ReadBenchOptions) -> _Alone:
    loader_options = options.loader_options()
    decode, crop, seed, half = loader_options.decode_options(), options.crop, options.seed, options.seconds / 2
    rows = order.rows(np.arange(min(len(table), MAX_SAMPLE_IMAGES)))
    with BatchReader(table, loader_options.read, seed=seed) as reader:
        sample = take_sample(table, rows, reader, Decoder(decode))
    one = decode_for(half, sample, crop, seed, replace(decode, num_threads=1))
    every = decode_for(half, sample, crop, seed, decode) if options.num_threads > 1 else one
    scaled = None
    if one.stages.decode and share_of_large_crops(sample, crop, seed) >= _MIN_LARGE_CROPS:
        wanted = DecodeOptions(allow_scaled=True, interpolation=decode.interpolation, backend="native")
        scaled = decode_for(half, sample, crop, seed, wanted).speed
    return _Alone(
        sample=sample,
        one_thread=one,
        all_threads=every,
        entropy=entropy_share(half / 2, sample, crop, seed, one),
        scaled=scaled,
    )


def _first_batch(loader: Loader) -> int:
    """Takes one batch; how many of its samples were replaced."""
    return len(next(loader.epoch(0)).replacements)


def _read(order: EpochOrder, table: SampleTable, options: ReadBenchOptions) -> tuple[Speed, Speed, ReadCounts]:
    """Bytes alone: for some time, then the same samples again; and what the first time asked of a store."""
    seconds = options.seconds / 2
    first, counts = _read_pass(order, table, options, seconds, order.num_positions)
    return first, _read_pass(order, table, options, seconds, first.num_images)[0], counts


def _read_pass(
    order: EpochOrder, table: SampleTable, options: ReadBenchOptions, seconds: float, num_images: int
) -> tuple[Speed, ReadCounts]:
    loader_options = options.loader_options()
    blocks = BlockMap(order) if options.shuffle == "blocks" else None

    def steps() -> Iterator[Int64s]:
        for start in range(0, num_images, options.batch_size):
            yield order.rows(np.arange(start, min(start + options.batch_size, num_images)))

    num_read = num_bytes = 0
    with BatchReader(table, loader_options.read, seed=options.seed) as reader:
        started = time.perf_counter()
        for raw in reader.batches(steps(), blocks=blocks):
            for content in raw.buffers:
                # A mapped file is read when its pages are touched.
                np.frombuffer(content, np.uint8)[::4096].max()
            num_read += len(raw)
            num_bytes += int(raw.lengths.sum())
            if time.perf_counter() - started >= seconds:
                break
        took = time.perf_counter() - started
        return Speed(num_images=num_read, num_bytes=num_bytes, seconds=took), reader.counts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """What the loader itself did: see `ReadBench`."""

    speed: Speed
    shares: StageShares
    waiting_at_start: float
    cpu_share: float


def _load(loader: Loader, options: ReadBenchOptions, entropy: float) -> _Loaded:
    """The loader itself, through as many epochs as the time allows."""
    # The loader has made one batch already, which is not counted.
    stages, waited = loader.stage_seconds(), loader.read_counts().wait_seconds
    num_images = num_bytes = 0
    waited_at_start = 0.0
    started, cpu_started = time.perf_counter(), time.process_time()
    # From epoch 1: the parts before have read epoch 0, whose bytes may be in memory by now.
    for epoch in itertools.count(1):
        before = loader.read_counts().wait_seconds
        for batch in loader.epoch(epoch):
            if batch.step == 0:
                waited_at_start += loader.read_counts().wait_seconds - before
            num_images += len(batch.keys)
            num_bytes += int(loader.table.num_bytes[batch.rows].sum())
            if time.perf_counter() - started >= options.seconds:
                break
        if time.perf_counter() - started >= options.seconds:
            break
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    waited = loader.read_counts().wait_seconds - waited
    after = loader.stage_seconds()
    took = np.array([after.decode, after.resize, after.color]) - [stages.decode, stages.resize, stages.color]
    spent = StageSeconds(decode=float(took[0]), resize=float(took[1]), color=float(took[2]))
    return _Loaded(
        speed=Speed(num_images=num_images, num_bytes=num_bytes, seconds=seconds),
        shares=_shares(spent, waited / seconds, seconds * options.num_threads, entropy),
        waiting_at_start=min(1.0, waited_at_start / waited) if waited else 0.0,
        cpu_share=share_of_cores(cpu_seconds, spent, options.num_threads),
    )


def _shares(spent: StageSeconds, waiting: float, thread_seconds: float, entropy: float) -> StageShares:
    """Shares of the threads' time, of which `waiting` is at most what no stage took."""
    busy = spent.decode + spent.resize + spent.color
    # What was decoded ahead is in it too, so the sum may come out above the whole.
    whole = max(thread_seconds, busy)
    idle = max(0.0, 1 - busy / whole)
    waiting = min(max(0.0, waiting), idle)
    decode = spent.decode / whole
    return StageShares(
        entropy=decode * entropy,
        pixels=decode * (1 - entropy),
        resize=spent.resize / whole,
        color=spent.color / whole,
        waiting=waiting,
        rest=idle - waiting,
    )


def _in_words(crop: Crop) -> str:
    if isinstance(crop, MultiCropOptions):
        return (
            f"multi-crop of {crop.num_global} x {crop.global_crop.size} and {crop.num_local} x {crop.local_crop.size}"
        )
    if isinstance(crop, CenterCropOptions):
        return f"centre crop {crop.size} of {crop.resize}"
    if isinstance(crop, ResizeOptions):
        return f"resize to {crop.height} x {crop.width}"
    return f"RandomResizedCrop {crop.size}"
