"""Options that `write` and `convert` share, and what both print."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click

from shardtools.cli.layout_names import SOURCE_KINDS
from shardtools.words import counted, size

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

SOURCE_OPTIONS: tuple[_Decorator, ...] = (
    click.option(
        "--source-kind",
        type=click.Choice(SOURCE_KINDS),
        default="auto",
        show_default=True,
        help="How SOURCE is laid out; auto looks at its names.",
    ),
    click.option(
        "--split", help="Name for a source without splits, or the one to write.  [default: the source's, or train]"
    ),
    click.option(
        "--classes", help="Class set whose order gives the labels (imagenet-1k, ...), wnids, or a .txt/.csv file."
    ),
    click.option(
        "--check",
        type=click.Choice(["decode", "header"]),
        default="decode",
        show_default=True,
        help="Decode every image in full, or read only its header.",
    ),
    click.option(
        "--shuffle/--no-shuffle",
        default=None,
        help="Write samples in a fixed random order.  [default: yes for image folders and archives, no for others]",
    ),
    click.option("--shuffle-seed", type=int, default=0, show_default=True, help="Another seed gives another order."),
    click.option("--flatten-keys", is_flag=True, help='Write the key "a/b" of a tar as "a__b" instead of refusing it.'),
)

TARGET_OPTIONS: tuple[_Decorator, ...] = (
    click.option(
        "--fields",
        default="",
        help="Members to keep beside image and label in formats with columns: key,json,seg.png  [default: none]",
    ),
    click.option("--drop-members", is_flag=True, help="Leave out members that the format does not hold."),
    click.option("--one-file", is_flag=True, help="Join the shards of each split into one .beton, as FFCV reads it."),
    click.option("--key-prefix", default="", help="Put this before every key."),
    click.option("--samples-per-shard", type=int, default=1000, show_default=True, help="Rows of one shard."),
    click.option("--num-processes", type=int, help="Processes on this machine.  [default: one a CPU core]"),
)

ENCODING_OPTIONS: tuple[_Decorator, ...] = (
    click.option("--max-side", type=int, help="Shrink images whose longer side is above this (pixels)."),
    click.option("--min-side", type=int, help="Shrink images whose shorter side is above this (pixels)."),
    click.option("--quality", type=int, help="JPEG quality, 1 to 100, of images that are encoded anew."),
    click.option(
        "--write-mode",
        type=click.Choice(["keep", "jpg", "raw", "smart", "proportion"]),
        default="keep",
        show_default=True,
        help="keep: the source's bytes; jpg, raw, smart, proportion: as FFCV's writer (raw only in .beton).",
    ),
    click.option("--smart-threshold", type=int, help="smart: images above this many raw bytes become JPEG."),
    click.option("--compress-probability", type=float, help="Share of the images that is encoded anew, 0 to 1."),
    click.option("--encoding-seed", type=int, default=0, show_default=True, help="Another seed picks other images."),
)


def with_options(*groups: tuple[_Decorator, ...]) -> _Decorator:
    """A decorator that adds the options of all groups, in their order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed([option for group in groups for option in group]):
            function = option(function)
        return function

    return decorate


def run(source: str, dataset: str, options: dict[str, Any], *, layout: str, append: bool, as_json: bool) -> None:
    """Writes the dataset and prints what came of it; `options` are those of the groups above, by name."""
    from shardtools.cli.progress import RunProgress
    from shardtools.encoding import EncodingOptions
    from shardtools.sources import SourceOptions
    from shardtools.writing import WriteOptions, write_dataset

    def some(*names: str) -> dict[str, Any]:
        return {name: options[name] for name in names}

    wanted = WriteOptions(
        source=SourceOptions(
            source=source,
            kind=options["source_kind"],
            **some("split", "classes", "check", "shuffle", "shuffle_seed", "flatten_keys"),
        ),
        out=dataset,
        layout=layout,
        append=append,
        fields=tuple(field for field in options["fields"].split(",") if field),
        encoding=EncodingOptions(
            **some("max_side", "min_side", "quality", "write_mode", "smart_threshold", "compress_probability"),
            seed=options["encoding_seed"],
        ),
        **some("drop_members", "one_file", "key_prefix", "samples_per_shard", "num_processes"),
    )
    with RunProgress(noun="samples", before="starting") as progress:
        result = write_dataset(wanted, progress=progress)
    click.echo(json.dumps(asdict(result)) if as_json else summary(result))


def summary(result: Any) -> str:
    """What a run did and the next three commands worth typing."""
    place = shlex.quote(result.url)
    splits = ", ".join(f"{split} {count}" for split, count in result.splits.items())
    if result.num_written:
        speed = result.num_written / result.seconds
        processes = counted(result.num_processes, "process", "processes")
        head = f"{result.num_written} samples read in {result.seconds:.1f} s ({speed:.0f}/s, {processes})"
    else:
        head = "nothing left to write"
    where = counted(result.num_shards, "shard") if result.num_shards else "files"
    images = f"{result.num_images} images ({size(result.num_bytes)})"
    lines = [f"{head}: {result.url} holds {images} in {where}; rows by split: {splits}"]
    rejected = {status: count for status, count in result.statuses.items() if status != "ok"}
    if rejected:
        reasons = ", ".join(f"{count} {status}" for status, count in rejected.items())
        lines.append(f"rejected: {reasons}; each has a row that says why")
    lines += ["Next:", f"  shardtools query classes {place}", f"  shardtools verify {place}"]
    if rejected:
        question = "select key, status, reason from samples where status <> 'ok' limit 5"
    else:
        question = "select key, wnid, class_index, num_bytes from samples limit 5"
    lines.append(f'  shardtools sql "{question}" {place}')
    return "\n".join(lines)
