"""What would make reading faster, each with the number that says so (pure)."""

from __future__ import annotations

import math

from shardtools.quoting import shell_word
from shardtools.readbench.result import ReadBench
from shardtools.words import counted

_WORTH_SAYING = 0.1
_SLOW_TABLE_SECONDS = 1.0
_FULL = 0.85
_TARGET = 1.5
_MOSTLY = 0.5


def advise(bench: ReadBench) -> list[str]:
    """Lines, those that help most first; never empty."""
    lines = [
        *_busy(bench),
        *_decoder(bench),
        *_waiting(bench),
        *_threads(bench),
        *_bytes(bench),
        *_scaled(bench),
        *_rest(bench),
        *_table(bench),
    ]
    if bench.num_bad:
        lines.append(
            f"{counted(bench.num_bad, 'image')} could not be decoded: shardtools verify {shell_word(bench.dataset)}"
        )
    return lines


def _share_of_bound(bench: ReadBench) -> float:
    return bench.loader.images_per_second / bench.all_threads.images_per_second


def _busy(bench: ReadBench) -> list[str]:
    if bench.cpu_share >= _FULL:
        return []
    return [
        f"a quieter machine: decoding got {bench.cpu_share:.0%} of the cores' time, other programs the rest; all "
        "numbers above are too low"
    ]


def _decoder(bench: ReadBench) -> list[str]:
    if bench.decoder == "native":
        return []
    return [
        "the native decoder: it was not built, or not wanted, and Pillow takes about three times as long; install g++ "
        "and libjpeg62-turbo-dev (Debian), then shardtools again"
    ]


def _waiting(bench: ReadBench) -> list[str]:
    waiting = bench.shares.waiting
    if waiting < _WORTH_SAYING:
        return []
    without = min(bench.loader.images_per_second / (1 - waiting), bench.all_threads.images_per_second)
    head = f"reading: threads wait for bytes {waiting:.0%} of the time"
    if bench.waiting_at_start >= _MOSTLY:
        # Of a small dataset more epochs begin in the time than of a large one.
        head += f", mostly at the start of an epoch of {bench.num_images} images"
    head += f"; without, {without:.0f} images/s"
    if bench.is_remote:
        cache = f"ReadOptions(cache_folder=..., cache_bytes={_gibibytes(bench.num_bytes)}) keeps all of it on a disk"
        blocks = "" if bench.shuffle == "blocks" else "; shuffle='blocks' reads long ranges instead of one a sample"
        return [f"{head}: {cache}{blocks}"]
    cold = bench.resident_share is not None and bench.resident_share < _FULL
    if cold and bench.reading_again.bytes_per_second > 2 * bench.reading.bytes_per_second:
        return [
            f"{head}: from memory bytes come at {bench.reading_again.bytes_per_second / 1e6:.0f} MB/s instead of "
            f"{bench.reading.bytes_per_second / 1e6:.0f}; {bench.num_bytes / 1e9:.1f} GB of free memory would do, or a "
            "faster disk, or shuffle='blocks'"
        ]
    return [f"{head}: a faster disk, or shuffle='blocks'"]


def _threads(bench: ReadBench) -> list[str]:
    one = bench.one_thread.images_per_second
    if bench.num_threads < bench.num_cores:
        return [
            f"threads: {bench.num_threads} on {bench.num_cores} cores; with --threads {bench.num_cores} at most "
            f"{one * bench.num_cores:.0f} images/s"
        ]
    if bench.num_threads > bench.num_cores:
        return [f"threads: {bench.num_threads} share {bench.num_cores} cores; take --threads {bench.num_cores}"]
    return [f"cores: one decodes {one:.0f} images/s, so 10,000/s take about {math.ceil(10_000 / one)} like these"]


def _bytes(bench: ReadBench) -> list[str]:
    shares = bench.shares
    if shares.entropy < _WORTH_SAYING:
        return []
    # Half of the codes is half of their time.
    half = bench.loader.images_per_second / (1 - shares.entropy / 2)
    target = math.ceil(bench.all_threads.images_per_second * _TARGET / 100) * 100
    return [
        f"fewer bytes: decoding takes {shares.entropy + shares.pixels:.0%} of the time, {shares.entropy:.0%} for the "
        f"codes of {bench.mean_bytes / 1e3:.0f} kB an image; half of them would give about {half:.0f} images/s:",
        f"  shardtools plan-bytes {shell_word(bench.dataset)} --images-per-second {target} --cores {bench.num_threads}",
    ]


def _scaled(bench: ReadBench) -> list[str]:
    if bench.scaled is None:
        return []
    gain = bench.scaled.images_per_second / bench.one_thread.images_per_second
    if gain < 1 + _WORTH_SAYING / 2:
        return []
    return [
        f"LoaderOptions(allow_scaled=True): {gain:.2f} times as fast to decode; large crops get slightly other pixels"
    ]


def _rest(bench: ReadBench) -> list[str]:
    if bench.decoder != "native" or _share_of_bound(bench) >= _FULL or bench.shares.rest < _WORTH_SAYING:
        return []
    return [
        f"larger batches, or a quieter machine: threads had no work for {bench.shares.rest:.0%} of the time, at "
        f"{bench.batch_size} images a batch"
    ]


def _table(bench: ReadBench) -> list[str]:
    if bench.table_seconds < _SLOW_TABLE_SECONDS:
        return []
    return [
        f"a table that is kept: {bench.table_seconds:.1f} s of the start make the table of samples; "
        "LoaderOptions(split=..., table_cache=FOLDER) makes it once"
    ]


def _gibibytes(num_bytes: int) -> str:
    """A limit in whole GiB with some room; at least what a cache may be."""
    return f"{math.ceil(num_bytes * 1.02 / 2**30)} * 2**30"
