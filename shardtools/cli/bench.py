"""`shardtools bench`: measurements on this machine."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any

import click

from shardtools.cli.options import options_of
from shardtools.readbench import CROP_SIDE, ReadBenchOptions
from shardtools.words import counted

READ_EPILOG = """\b
Examples:
  shardtools bench read photos-shards
  shardtools bench read s3://bucket/imagenet --shuffle blocks --threads 8
  shardtools bench read photos-shards --multi-crop --seconds 2 --json

\b
Nothing is thrown out of the system's cache: a dataset that was read a moment ago is measured warm, and the second line
says so. Other programs on the machine make every number worse.
"""


@click.group("bench", epilog=READ_EPILOG)
def command() -> None:
    """Measure what this machine does with a dataset."""


@command.command("read", epilog=READ_EPILOG)
@click.argument("dataset")
@options_of(ReadBenchOptions, only=("split",))
@click.option(
    "--crop", type=click.IntRange(min=1), default=CROP_SIDE, show_default=True, help="Side of RandomResizedCrop."
)
@click.option("--multi-crop", is_flag=True, help="Make one global crop of 224 and eight local ones of 96 instead.")
@options_of(
    ReadBenchOptions,
    without=("split",),
    changes={
        "batch_size": {"type": click.IntRange(min=1)},
        "num_threads": {
            "type": click.IntRange(min=1),
            "default": None,
            "help": "Threads that decode.  [default: one a core]",
        },
        "seconds": {"type": click.FloatRange(min=0, min_open=True)},
    },
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def read(dataset: str, crop: int, multi_crop: bool, num_threads: int | None, as_json: bool, **given: Any) -> None:
    """Say what this machine reads from DATASET, where the time goes, and what would help.

    Measures the first batch, reading alone, decoding alone from memory (the bound) with one thread and with all, and
    then the loader itself: random crops with flips, or multi-crop with DINO's colours.
    """
    from shardtools.loader import CropOptions, dino_multi_crop
    from shardtools.readbench import advise, measure_reading

    options = ReadBenchOptions(
        dataset=dataset,
        crop=dino_multi_crop() if multi_crop else CropOptions(size=crop),
        num_threads=num_threads or len(os.sched_getaffinity(0)),
        **given,
    )
    bench = measure_reading(options)
    click.echo(json.dumps(as_plain(bench, advise(bench))) if as_json else summary(bench, advise(bench)))


def as_plain(bench: Any, advice: list[str]) -> dict[str, Any]:
    """One JSON object: what was measured, the speeds also a second, and the advice."""
    found = asdict(bench)
    for name in ("loader", "all_threads", "one_thread", "scaled", "reading", "reading_again"):
        speed = getattr(bench, name)
        if speed is not None:
            found[name] |= {
                "images_per_second": speed.images_per_second,
                "bytes_per_second": speed.bytes_per_second,
            }
    return {**found, "advice": advice}


def summary(bench: Any, advice: list[str]) -> str:
    """Three tables and what would help, on one screen."""
    from shardtools.cli.columns import format_columns, terminal_width

    width = terminal_width()
    threads = counted(bench.num_threads, "thread")
    simd = f" ({bench.simd})" if bench.simd else ""
    lines = [
        f"{bench.dataset}: {counted(bench.num_images, 'image')} of {bench.mean_bytes / 1e3:.1f} kB and "
        f"{bench.mean_width:.0f} x {bench.mean_height:.0f} pixels on average, {_warmth(bench)}",
        f"{bench.crop}, batches of {bench.batch_size}, shuffle {bench.shuffle}; {threads} on "
        f"{counted(bench.num_cores, 'core')}; {bench.decoder} decoder, {bench.library}{simd}",
        f"first batch after {bench.first_batch_seconds:.2f} s, of which {bench.table_seconds:.2f} s for the table",
        *_requests(bench),
        "",
    ]
    speeds = [
        (f"loader, {threads}", bench.loader),
        (f"decoding alone, {threads}: the bound", bench.all_threads),
        ("decoding alone, 1 thread", bench.one_thread),
        ("reading alone", bench.reading),
        ("reading alone, once more", bench.reading_again),
    ]
    cells = [
        [what, f"{speed.images_per_second:.0f}", f"{speed.bytes_per_second / 1e6:.1f}", f"{speed.seconds:.1f}"]
        for what, speed in speeds
    ]
    lines += format_columns(*_right(["what", "images/s", "MB/s", "seconds"], cells), width)
    each = bench.loader.seconds * bench.num_threads / bench.loader.num_images
    stages = [
        ("reading codes (entropy decoding, an estimate)", bench.shares.entropy),
        ("making pixels (inverse transform, upsampling, RGB)", bench.shares.pixels),
        ("resizing, straight into the batch", bench.shares.resize),
        ("colours", bench.shares.color),
        ("waiting for bytes", bench.shares.waiting),
        ("all else", bench.shares.rest),
    ]
    cells = [[what, f"{share * each * 1e6:.0f}", f"{share:.0%}"] for what, share in stages]
    lines += ["", *format_columns(*_right([f"the time of {threads}", "us/image", "share"], cells), width)]
    return "\n".join([*lines, "", "What would help:", *(f"  {line}" for line in advice)])


def _right(header: list[str], cells: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """The same with all columns but the first set to the right."""
    rows = [header, *cells]
    for position in range(1, len(header)):
        width = max(len(row[position]) for row in rows)
        for row in rows:
            row[position] = row[position].rjust(width)
    return header, cells


def _warmth(bench: Any) -> str:
    if bench.is_remote:
        return "in an object store"
    if bench.resident_share is None:
        return "local; how much was in memory before is not known"
    return f"local, {bench.resident_share:.0%} in memory before"


def _requests(bench: Any) -> list[str]:
    """What reading alone asked of a store."""
    if not bench.num_requests:
        return []
    each, share = bench.num_request_bytes / bench.num_requests, bench.num_request_bytes / bench.reading.num_bytes
    return [
        f"reading alone asked for {counted(bench.num_requests, 'range')} of {each / 1e6:.2f} MB on average: "
        f"{share:.2f} times the images' bytes"
    ]
