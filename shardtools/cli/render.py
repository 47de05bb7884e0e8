"""`shardtools render`: meshes before photographs, every factor known, as a dataset."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from shardtools.cli.made import made_lines, printed
from shardtools.cli.options import options_of, values_of
from shardtools.cli.writing_options import require_images
from shardtools.quoting import shell_word
from shardtools.rendering import RenderOptions, SceneOptions
from shardtools.words import counted, duration, rough_size, size
from shardtools.writing import WriteOptions

EPILOG = """\b
Examples:
  shardtools render meshes --backgrounds backgrounds --objects 10 --at-least 10 --out world --dry-run
  shardtools render meshes --backgrounds backgrounds --objects 10 --at-least 10 --out world
  shardtools render meshes --backgrounds backgrounds --grid canonical,all --pose-axis yaw --out s3://bucket/world
  shardtools sql "select grid, varied, count(*) from samples group by all" world

\b
The same command resumes a run that was stopped or killed. Draws depend on --seed, the object, the grid and the
picture's place in it alone. Pictures are the same bytes on one renderer (a driver and its version); a run on another is
refused.
Exit codes: 0 done, 1 a known error (one line), 2 wrong usage.
"""


@click.command("render", epilog=EPILOG)
@click.argument("meshes")
@click.option("--backgrounds", required=True, metavar="FOLDER", help="What `shardtools backgrounds` made.")
@click.option("--out", required=True, metavar="DATASET", help="Folder or s3://bucket/prefix.")
@options_of(RenderOptions)
@options_of(SceneOptions)
@options_of(WriteOptions, only=("samples_per_shard", "num_processes"))
@click.option("--dry-run", is_flag=True, help="Print images, bytes and time; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(meshes: str, backgrounds: str, out: str, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Render objects before photographs: pose, size, position, light and background are chosen and written down.

    MESHES is what `shardtools meshes` made. The grid "single" varies one factor at a time over --values of each,
    "pairs" two at a time, "all" draws combinations of all five; "canonical" has each object once.
    """
    wanted = RenderOptions(**values_of(RenderOptions, options))
    scene = SceneOptions(**values_of(SceneOptions, options))
    writing = values_of(WriteOptions, options)
    from shardtools.cli.progress import RunProgress

    if dry_run:
        from shardtools.writing import estimate_rendered

        with RunProgress(noun="images", doing="drawing some images to measure"):
            found = estimate_rendered(meshes, backgrounds, wanted, scene, **writing)
        click.echo(json.dumps(asdict(found)) if as_json else _estimated(found, out))
        return
    from shardtools.writing import write_rendered

    with RunProgress(noun="images", before="starting", doing="reading the catalogues") as progress:
        result = write_rendered(meshes, backgrounds, out, wanted, scene, progress=progress, **writing)
    click.echo(json.dumps(asdict(result)) if as_json else summary(result))
    require_images(result)


def summary(result: Any) -> str:
    """What a run did and the next three commands worth typing."""
    place = shell_word(result.url)
    if result.num_written:
        speed = result.num_written / result.seconds
        processes = counted(result.num_processes, "process", "processes")
        head = f"{counted(result.num_written, 'image')} in {result.seconds:.1f} s ({speed:.1f} images/s, {processes})"
    else:
        head = "nothing left to render"
    holds = f"{counted(result.num_images, 'image')} ({size(result.num_bytes)}) in {counted(result.num_shards, 'shard')}"
    lines = [f"{head}: {result.url} holds {holds}"]
    lines += made_lines(result.contents, result.statuses)
    lines += [printed(note, 1000) for note in result.notes]
    question = "select grid, varied, count(*) as images from samples group by all order by all"
    return "\n".join(
        [
            *lines,
            "Next:",
            f'  shardtools sql "{question}" {place}',
            f"  shardtools verify {place}",
            f"  shardtools describe {place}",
        ]
    )


def _estimated(found: Any, out: str) -> str:
    """What a plan would come to."""
    grids = ", ".join(f"{grid} {count}" for grid, count in found.counts.items())
    objects = f"{counted(found.num_objects, 'object')} of {counted(found.num_classes, 'class', 'classes')}"
    how = "measured on this machine" if found.unmeasured is None else f"not measured here: {found.unmeasured}"
    return "\n".join(
        [
            f"{counted(found.num_images, 'image')} of {objects}: {grids}",
            *(printed(note, 1000) for note in found.notes),
            f"{counted(found.num_shards, 'shard')}, about {rough_size(found.num_bytes)}",
            f"about {duration(found.seconds)} on {counted(found.num_processes, 'process', 'processes')} "
            f"({found.images_per_second:.1f} images/s of one; {how})",
            f"would be written to {out}; nothing was made",
        ]
    )
