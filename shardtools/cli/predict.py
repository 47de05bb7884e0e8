"""`shardtools predict`: what a model says of every image, beside the manifest."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from shardtools.cli.options import options_of, values_of
from shardtools.evaluation import ModelOptions
from shardtools.evaluation.predictions import PredictOptions
from shardtools.quoting import quoted_name, shell_word
from shardtools.words import counted

EPILOG = """\b
Examples:
  shardtools predict lite0 photos
  shardtools predict fashion-run fashion-real --split test --name predictions_own
  shardtools predict lite0 photos --corruption none,imagenet-c --severity 1,3,5
  shardtools query mistakes photos --on predictions=predictions_lite0

\b
The same command resumes a run that was stopped or killed, also on another number of processes. torchrun, accelerate
launch and srun start it too: torchrun --nproc-per-node 8 -m shardtools predict ...
"""


@click.command("predict", epilog=EPILOG)
@click.argument("model")
@click.argument("datasets", metavar="DATASET...", nargs=-1, required=True)
@options_of(PredictOptions)
@options_of(ModelOptions)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(model: str, datasets: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Write what MODEL says of every image of DATASETs, for metrics and SQL to read.

    MODEL is lite0, lite1, lite2, the folder of a training run, timm:NAME, a torchvision model, a file of weights, or
    clip:FOLDER. Each dataset gets an overlay with, of each image, the five likeliest classes, and the rank and margin
    of its label.
    """
    from shardtools.cli.launched import run_job
    from shardtools.cli.progress import RunProgress
    from shardtools.evaluation.predictions import predict, require_prediction_libraries

    wanted = PredictOptions(
        datasets=datasets,
        model=ModelOptions(model=model, **values_of(ModelOptions, options)),
        **values_of(PredictOptions, options),
    )

    def as_rank(progress: Any) -> Any:
        require_prediction_libraries(wanted)  # what is imported next loads torch
        from shardtools.pipelines.evaluate.job import run_launched

        return run_launched(wanted, progress)

    shown = RunProgress(noun="images", before="loading the model", doing="loading the model")
    results = run_job(shown, alone=lambda progress: predict(wanted, progress=progress), as_rank=as_rank)
    if results is not None:
        click.echo(json.dumps([asdict(result) for result in results]) if as_json else _summary(results, wanted))


def _summary(results: Any, wanted: PredictOptions) -> str:
    lines = []
    for one in results:
        what = counted(one.num_rows, "prediction")
        lines.append(f"{what} of {one.model} in {one.url}: {_accuracy(one, has_variants=bool(wanted.corruption))}")
        if one.num_unread:
            lines.append(
                f"{counted(one.num_unread, 'row has', 'rows have')} none, for the image could not be read; `shardtools "
                f"verify {shell_word(one.dataset)}`"
            )
    images, seconds = results[0].images, results[0].seconds
    speed = f"{counted(images, 'image')} in {seconds:.1f} s ({images / max(seconds, 1e-9):.3g}/s)"
    return "\n".join([speed if images else "nothing was left to do", *lines, "Next:", *_next(results[0], wanted)])


def _accuracy(one: Any, *, has_variants: bool) -> str:
    """Top-1 with its interval, or why there is none."""
    if not one.num_labeled:
        return "no labels"
    from shardtools.evaluation.metrics import Share

    share = Share(one.num_top1, one.num_labeled)
    if has_variants:
        # Variants of one image are no independent samples, which an interval is of.
        return f"top-1 {100 * share.value:.1f}% over all variants"
    low, high = share.interval
    return f"top-1 {100 * share.value:.1f}% ({100 * low:.1f}% to {100 * high:.1f}%) of {one.num_labeled}"


def _next(one: Any, wanted: PredictOptions) -> list[str]:
    """Commands on the first dataset."""
    place, name = shell_word(one.dataset), one.name if "-" not in one.name else quoted_name(one.name)
    group = "corruption, severity, " if wanted.corruption else ""
    sql = f"select {group}avg((rank = 1)::int) as top1, avg((rank <= 5)::int) as top5 from overlays.{name}"
    sql += " group by all order by all" if group else ""
    if wanted.out is not None:
        return [f"  shardtools sql {shell_word(sql)} {place} --overlay {shell_word(one.url)}"]
    lines = [f"  shardtools sql {shell_word(sql)} {place}"]
    asked = shell_word(f"predictions={one.name}")
    return [*lines, f"  shardtools query mistakes {place} --on {asked}"] if one.num_labeled else lines
