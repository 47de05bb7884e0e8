"""`shardtools gen-sd`: make an image dataset with a Stable Diffusion pipeline."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from shardtools.cli.made import made_lines
from shardtools.cli.options import options_of
from shardtools.generation import GenerateOptions
from shardtools.quoting import shell_word
from shardtools.words import counted, duration, rough_size

EPILOG = """\b
Examples:
  shardtools gen-sd --prompt "c, d_c"
  shardtools gen-sd --prompt "c, h_c inside b" --images-per-class 100 --out fashion-scenes
  shardtools gen-sd --prompt "c, h_c inside b" --classes imagenet-100 --images-per-class 1300 --scale 10 \\
    --model CompVis/stable-diffusion-v1-4 --width 512 --height 384 --guidance-scale 2 \\
    --num-processes 2 --out s3://bucket/in100-sd

\b
The same command resumes a run that was stopped or killed. SIGTERM and Ctrl-C finish the shard in hand. It is the
command for torchrun, accelerate launch and srun too: torchrun --nproc-per-node 8 -m shardtools gen-sd ...
Exit codes: 0 done, 1 a known error (one line), 2 wrong usage.
"""


@click.command("gen-sd", epilog=EPILOG)
@options_of(
    GenerateOptions,
    first=(
        "prompt_template",
        "classes",
        "images_per_class",
        "like",
        "scale",
        "lemmas",
        "hypernyms",
        "scenes",
        "scene_order",
        "model",
    ),
    changes={
        "out": {
            "required": False,
            "help": "Folder or s3://bucket/prefix.  [default: a folder named after the model]",
        }
    },
)
@click.option("--dry-run", is_flag=True, help="Print images, shards, bytes and time; make nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool, dry_run: bool, out: str | None, **options: Any) -> None:
    """Make an image dataset with a Stable Diffusion pipeline.

    Each image has one manifest row that says how it was made. A run that is killed is resumed by the same command,
    on any
    number of processes, and gives the same bytes.
    """
    from shardtools.cli.launched import run_job
    from shardtools.generation import generate

    wanted = GenerateOptions(out=out or default_out(options["model"]), **options)
    if dry_run:
        _print_estimate(wanted, as_json)
        return
    from shardtools.cli.progress import RunProgress

    def as_rank(progress: Any) -> Any:
        from shardtools.pipelines.generate.job import run_launched

        return run_launched(wanted, progress)

    shown = RunProgress(noun="images", before="loading the model", doing="reading the model")
    result = run_job(shown, alone=lambda progress: generate(wanted, progress=progress), as_rank=as_rank)
    if result is not None:
        click.echo(json.dumps(asdict(result)) if as_json else summary(result))


def default_out(model: str) -> str:
    """Folder for a dataset whose place was not named: the last part of the model's name."""
    return model.rstrip("/").rsplit("/", 1)[-1]


def summary(result: Any) -> str:
    """What a run did and the next three commands worth typing."""
    place = shell_word(result.url)
    if result.num_made:
        speed = result.num_made / result.seconds
        processes = counted(result.num_processes, "process", "processes")
        head = f"{counted(result.num_made, 'image')} in {result.seconds:.1f} s ({speed:.1f} images/s, {processes})"
    else:
        head = "nothing left to make"
    failed = result.num_rows - result.num_images
    holds = f"{result.url} holds {counted(result.num_images, 'image')}"
    lines = [f"{head}: {holds}" + (f", {counted(failed, 'row')} failed" if failed else "")]
    lines += made_lines(result.contents, result.statuses, result.splits)
    lines += ["Next:", f"  shardtools query classes {place}", f"  shardtools verify {place}"]
    if failed:
        lines.append("  the same gen-sd command with --retry-failed")
    else:
        lines.append(f'  shardtools sql "select prompt, seed, num_bytes from samples limit 5" {place}')
    return "\n".join(lines)


def _print_estimate(options: Any, as_json: bool) -> None:
    from shardtools.cli.progress import RunProgress
    from shardtools.generation import measured_estimate, prepare

    with RunProgress(noun="images", doing="measuring the speed"):
        found = measured_estimate(prepare(options))
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    distinct = counted(found.num_distinct_prompts, "distinct prompt")
    click.echo(f"{counted(found.num_images, 'image')} of {counted(found.num_classes, 'class', 'classes')}, {distinct}")
    click.echo(f"{counted(found.num_shards, 'shard')}, about {rough_size(found.num_bytes)}")
    click.echo(
        f"about {duration(found.seconds)} on {counted(found.num_processes, 'process', 'processes')} "
        f"({found.images_per_second:.2f} images/s, measured on this machine)"
    )
    click.echo(f"would be written to {options.out}; nothing was made")
