"""Options that `write` and `convert` share, and what both print."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click

from shardtools.cli.made import made_lines, printed
from shardtools.cli.options import options_of, values_of
from shardtools.encoding import EncodingOptions
from shardtools.errors import RunError
from shardtools.quoting import shell_word
from shardtools.sources import SourceOptions
from shardtools.words import counted, size
from shardtools.writing import WriteOptions


def writing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options of source, target and encoding that `write` and `convert` share."""
    for decorator in (
        options_of(EncodingOptions),
        options_of(WriteOptions, without=("layout", "append")),
        options_of(SourceOptions),
    ):
        command = decorator(command)
    return command


def run(source: str, dataset: str, options: dict[str, Any], *, as_json: bool) -> None:
    """Writes SOURCE to DATASET as the options say, and prints what came of it."""
    from shardtools.cli.progress import RunProgress
    from shardtools.writing import write_dataset

    wanted = WriteOptions(
        source=SourceOptions(source=source, **values_of(SourceOptions, options)),
        out=dataset,
        encoding=EncodingOptions(**values_of(EncodingOptions, options)),
        **values_of(WriteOptions, options),
    )
    with RunProgress(noun="samples", before="starting", doing="listing the source") as progress:
        result = write_dataset(wanted, progress=progress)
    click.echo(json.dumps(asdict(result)) if as_json else summary(result))
    require_images(result)


def require_images(result: Any) -> None:
    """Ends a command whose dataset has not one image.

    Raises:
        RunError: It has none.
    """
    if not result.num_images:
        # The rows and their reasons are kept; a script must not take this for a dataset that can be trained on.
        raise RunError(f"{result.url} has no image, expected at least one: see the reasons above, or check the source")


def summary(result: Any) -> str:
    """What a run did and the next three commands worth typing."""
    place = shell_word(result.url)
    splits = ", ".join(f"{split} {count}" for split, count in result.splits.items())
    if result.num_written:
        speed = result.num_written / result.seconds
        processes = counted(result.num_processes, "process", "processes")
        head = f"{counted(result.num_written, 'sample')} read in {result.seconds:.1f} s ({speed:.0f}/s, {processes})"
    else:
        head = "nothing left to write"
    where = counted(result.num_shards, "shard") if result.num_shards else "files"
    images = f"{counted(result.num_images, 'image')} ({size(result.num_bytes)})"
    lines = [f"{head}: {result.url} holds {images} in {where}; rows by split: {splits}"]
    lines += made_lines(result.contents, result.statuses)
    lines += [printed(note, 1000) for note in result.notes]
    lines += ["Next:", f"  shardtools query classes {place}", f"  shardtools verify {place}"]
    if set(result.statuses) - {"ok"}:
        question = "select key, status, reason from samples where status <> 'ok' limit 5"
    else:
        question = "select key, wnid, class_index, num_bytes from samples limit 5"
    lines.append(f'  shardtools sql "{question}" {place}')
    return "\n".join(lines)
