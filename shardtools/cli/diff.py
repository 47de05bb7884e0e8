"""`shardtools diff`: what differs between two datasets or versions."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING

import click

from shardtools.words import counted

if TYPE_CHECKING:
    from shardtools.curation import DatasetDiff, Difference

_CLASSES_SHOWN = 5

EPILOG = """\b
Examples:
  shardtools diff photos photos-clean
  shardtools diff photos@0a1b2c3d photos
  shardtools diff s3://bucket/v1 s3://bucket/v2 --json

\b
Exit codes: 0 no row differs, 1 some do (or a known error: one line on the standard error), 2 wrong usage.
"""


@click.command("diff", epilog=EPILOG)
@click.argument("a")
@click.argument("b")
@click.option("--keys", "num_examples", type=click.IntRange(min=0), default=5, show_default=True, help="Keys to name.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(a: str, b: str, num_examples: int, as_json: bool) -> int:
    """Say what differs between the datasets A and B, by key, from their manifests alone.

    Each is a folder or an s3:// address; DATASET@COMMIT is an earlier state of one. Digests in the manifests stand for
    the images; whether files still match them is for `shardtools verify`.
    """
    from shardtools.cli.progress import RunProgress

    with RunProgress(noun="rows", doing="comparing the manifests"):
        from shardtools.curation import diff_datasets

        result = diff_datasets(a, b, num_examples=num_examples)
    if as_json:
        click.echo(json.dumps({**asdict(result), "equal": result.equal}, ensure_ascii=False))
    else:
        click.echo(text(result))
    return 0 if result.equal else 1


def text(result: DatasetDiff) -> str:
    """The comparison for eyes."""
    from shardtools.curation import KINDS

    lines = [
        f"a: {result.a} at commit {result.a_sha256[:8]}, {counted(result.num_rows_a, 'row')}, "
        f"{counted(result.num_shards_a, 'shard')}",
        f"b: {result.b} at commit {result.b_sha256[:8]}, {counted(result.num_rows_b, 'row')}, "
        f"{counted(result.num_shards_b, 'shard')}",
        f"shards that both have byte for byte: {result.num_shards_shared}, under another name: "
        f"{result.num_shards_renamed}",
        f"rows without a difference: {result.num_rows_same}",
    ]
    for kind, difference in result.differences.items():
        lines += [f"{kind}: {difference.count} ({KINDS[kind]})", *_details(difference)]
    if result.equal:
        lines.append("no row differs")
    return "\n".join(lines)


def _details(difference: Difference) -> list[str]:
    splits = ", ".join(f"{name} {count}" for name, count in difference.by_split.items())
    classes = ", ".join(f"{name} {count}" for name, count in islice(difference.by_class.items(), _CLASSES_SHOWN))
    left = len(difference.by_class) - _CLASSES_SHOWN
    lines = [f"  by split: {splits}", f"  by class: {classes}{f', and {left} more' if left > 0 else ''}"]
    for example in difference.examples:
        values = "" if example.a is None and example.b is None else f": {_side(example.a)} -> {_side(example.b)}"
        lines.append(f"  {example.key}{values}")
    # Class names are the user's own: one line each, whatever they hold.
    return ["".join(one if one.isprintable() else ascii(one)[1:-1] for one in line) for line in lines]


def _side(value: str | None) -> str:
    return "none" if value is None else value
