"""`shardtools gen-sd`: make an image dataset with a Stable Diffusion pipeline."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import Any

import click

from shardtools.words import duration, rough_size

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
@click.option(
    "--prompt",
    default="c, d_c",
    show_default=True,
    help="Template: c class names, h_c hypernyms, d_c definition, b scene.",
)
@click.option(
    "--classes", help="Class set, wnids or synset names, or a .txt/.csv file.  [default: the ten Fashion-MNIST classes]"
)
@click.option("--images-per-class", type=int, help="Images of each class in one clone.  [default: 16]")
@click.option("--like", metavar="DATASET", help="Copy the image count of each class from this dataset.")
@click.option(
    "--scale", type=int, default=1, show_default=True, help="Clones; a larger scale later makes only the new ones."
)
@click.option(
    "--lemmas", type=click.Choice(["all", "first"]), default="all", show_default=True, help="Names of a class in `c`."
)
@click.option(
    "--hypernyms", type=click.Choice(["all", "first"]), default="all", show_default=True, help="Parents in `h_c`."
)
@click.option("--scenes", metavar="FILE", help="Scene names for `b`, one a line.  [default: the 365 of Places]")
@click.option(
    "--model",
    default="fashion-sd",
    show_default=True,
    help="Folder or hub id of a diffusers pipeline, or the embedded one.",
)
@click.option("--guidance-scale", type=float, default=2.0, show_default=True, help="2: diverse; 7.5: typical images.")
@click.option("--num-inference-steps", type=int, default=50, show_default=True, help="Denoising steps.")
@click.option(
    "--scheduler",
    help="ddim, ddpm, dpm++, euler, euler-a, heun, lms, pndm, unipc or a diffusers class.  [default: the model's]",
)
@click.option("--width", type=int, help="Pixels.  [default: the model's]")
@click.option("--height", type=int, help="Pixels.  [default: the model's]")
@click.option("--negative-prompt", help="Text to steer away from.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    help="[default: float16 on a GPU, float32 on a CPU]",
)
@click.option("--batch-size", type=int, default=20, show_default=True, help="Images denoised together.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--compile", is_flag=True, help="Compile the denoiser (slow start, faster batches).")
@click.option(
    "--safety",
    type=click.Choice(["record", "drop", "off"]),
    default="record",
    show_default=True,
    help="What the pipeline's safety checker does.",
)
@click.option("--quality", type=int, default=95, show_default=True, help="JPEG quality.")
@click.option("--seed", type=int, default=0, show_default=True, help="Base of all image seeds.")
@click.option("--split", default="train", show_default=True, help="Name of the split.")
@click.option("--samples-per-shard", type=int, help="[default: whole batches, at most 1000]")
@click.option("--num-processes", type=int, help="Processes on this machine.  [default: one a GPU, or one a CPU core]")
@click.option("--threads-per-process", type=int, default=1, show_default=True, help="CPU threads of one process.")
@click.option(
    "--out", metavar="DATASET", help="Folder or s3://bucket/prefix.  [default: a folder named after the model]"
)
@click.option(
    "--retry-failed", is_flag=True, help="Make the failed images of a finished dataset again, with other seeds."
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
    from shardtools.generation import GenerateOptions, generate

    wanted = GenerateOptions(out=out or default_out(options["model"]), **options)
    if dry_run:
        _print_estimate(wanted, as_json)
        return
    from shardtools.cli.progress import RunProgress

    def as_rank(progress: Any) -> Any:
        from shardtools.pipelines.generate import run_launched

        return run_launched(wanted, progress)

    shown = RunProgress(noun="images", before="loading the model")
    result = run_job(shown, alone=lambda progress: generate(wanted, progress=progress), as_rank=as_rank)
    if result is not None:
        click.echo(json.dumps(asdict(result)) if as_json else summary(result))


def default_out(model: str) -> str:
    """Folder for a dataset whose place was not named: the last part of the model's name."""
    return model.rstrip("/").rsplit("/", 1)[-1]


def summary(result: Any) -> str:
    """What a run did and the next three commands worth typing."""
    place = shlex.quote(result.url)
    if result.num_made:
        speed = result.num_made / result.seconds
        processes = f"{result.num_processes} process" + ("es" if result.num_processes > 1 else "")
        head = f"{result.num_made} images in {result.seconds:.1f} s ({speed:.1f} images/s, {processes})"
    else:
        head = "nothing left to make"
    failed = result.num_rows - result.num_images
    lines = [f"{head}: {result.url} holds {result.num_images} images" + (f", {failed} rows failed" if failed else "")]
    lines += ["Next:", f"  shardtools query classes {place}", f"  shardtools verify {place}"]
    if failed:
        lines.append("  the same gen-sd command with --retry-failed")
    else:
        lines.append(f'  shardtools sql "select prompt, seed, num_bytes from samples limit 5" {place}')
    return "\n".join(lines)


def _print_estimate(options: Any, as_json: bool) -> None:
    from shardtools.generation import measured_estimate, prepare

    found = measured_estimate(prepare(options))
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    click.echo(
        f"{found.num_images} images of {found.num_classes} classes, {found.num_distinct_prompts} distinct prompts"
    )
    click.echo(f"{found.num_shards} shards, about {rough_size(found.num_bytes)}")
    click.echo(
        f"about {duration(found.seconds)} on {found.num_processes} processes "
        f"({found.images_per_second:.2f} images/s, measured on this machine)"
    )
    click.echo(f"would be written to {options.out}; nothing was made")
