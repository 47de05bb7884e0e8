"""`shardtools plan-bytes`: which image size and quality reach a decoding speed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any

import click

from shardtools.quoting import shell_word
from shardtools.words import counted, size

EPILOG = """\b
Examples:
  shardtools plan-bytes photos-shards --images-per-second 3000 --cores 8
  shardtools plan-bytes s3://bucket/imagenet --images-per-second 20000 --cores 48 --sample 128 --json

\b
The speeds are of decoding alone, on cores like this machine's. PSNR compares with the same picture at the same size
before it was encoded: what the quality costs, not what the size does.
"""


@click.command("plan-bytes", epilog=EPILOG)
@click.argument("dataset")
@click.option("--images-per-second", type=float, required=True, help="Decoding speed that is wanted.")
@click.option("--cores", type=int, help="CPU cores that decode.  [default: this machine's]")
@click.option("--sample", "num_samples", type=int, default=16, show_default=True, help="Images to try.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which images.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    dataset: str, images_per_second: float, cores: int | None, num_samples: int, seed: int, as_json: bool
) -> None:
    """Say which image size and quality reach a decoding speed.

    Some images of DATASET are encoded at a table of sizes and qualities, and decoded on this machine with a clock
    running. The table says how many bytes an image then has, how many images a second the cores decode, how large the
    dataset becomes, and what it costs in picture.
    """
    from shardtools.cli.progress import RunProgress

    with RunProgress(noun="images", doing="trying sizes and qualities"):
        from shardtools.encoding import plan_bytes

        choice = plan_bytes(
            dataset,
            images_per_second=images_per_second,
            cores=cores if cores is not None else os.cpu_count() or 1,
            num_samples=num_samples,
            seed=seed,
        )
    click.echo(json.dumps(asdict(choice)) if as_json else summary(choice))


def summary(choice: Any) -> str:
    """The cost model, the table, and what to do."""
    from shardtools.cli.columns import format_columns, terminal_width

    cost = choice.cost
    cores = counted(choice.cores, "core")
    lines = [
        f"{choice.url}: {counted(choice.num_images, 'image')}; {choice.num_samples} of them tried on this machine",
        f"decoding a JPEG on one core: {cost.seconds_per_kilobyte * 1e6:.2f} us a kB + "
        f"{cost.seconds_per_pixel * 1e9:.2f} ns a pixel + {cost.seconds_per_image * 1e6:.0f} us "
        f"(off by {choice.cost_error:.0%} for a row of the table, {cost.relative_error:.0%} for one image)",
        "",
    ]
    header = ["max side", "quality", "kB/image", f"images/s on {cores}", "dataset", "PSNR dB", "enough"]
    cells = [_cells(row, choice) for row in (choice.as_is, *choice.rows)]
    for position in range(2, len(header) - 1):
        width = max(len(line[position]) for line in [header, *cells])
        for line in [header, *cells]:
            line[position] = line[position].rjust(width)
    return "\n".join([*lines, *format_columns(header, cells, terminal_width()), "", *_advice(choice, cores)])


def _cells(row: Any, choice: Any) -> list[str]:
    return [
        "as it is" if row.max_side is None else str(row.max_side),
        "as it is" if row.quality is None else str(row.quality),
        f"{row.bytes_per_image / 1e3:.1f}",
        f"{row.images_per_second:.0f}",
        size(row.dataset_bytes),
        "-" if row.psnr is None else f"{row.psnr:.1f}",
        "yes" if row.images_per_second >= choice.target else "",
    ]


def _advice(choice: Any, cores: str) -> list[str]:
    wanted = f"{choice.target:.0f} images/s on {cores}"
    if choice.recommended == choice.as_is:
        return [f"{wanted}: the dataset as it is decodes at {choice.as_is.images_per_second:.0f}/s, nothing to do"]
    if choice.recommended is None:
        share = choice.closest.images_per_second / choice.target
        return [
            f"{wanted}: none of these reaches it; the fastest gives {choice.closest.images_per_second:.0f}/s, "
            f"{share:.0%} of it. As it is, the dataset needs {counted(choice.cores_needed, 'core')}",
        ]
    row = choice.recommended
    side = "the sides they have" if row.max_side is None else f"at most {row.max_side} pixels a side"
    return [
        f"{wanted}: {side} at quality {row.quality} gives {row.images_per_second:.0f}/s; as it is, the dataset needs "
        f"{counted(choice.cores_needed, 'core')}",
        "Next:",
        f"  {choice.command}",
        f"  shardtools query resolution {shell_word(choice.url)}",
    ]
