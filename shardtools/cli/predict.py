"""`shardtools predict`: what a model says of every image, beside the manifest."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from shardtools.cli.options import options_of, values_of
from shardtools.evaluation import ModelOptions
from shardtools.evaluation.predictions import PredictOptions
from shardtools.quoting import shell_word
from shardtools.words import counted

EPILOG = """\b
Examples:
  shardtools predict lite0 photos
  shardtools predict fashion-run fashion-real --split test --name predictions_own
  shardtools sql "select avg((rank = 1)::int) as top1 from overlays.predictions_lite0" photos

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
        click.echo(json.dumps([asdict(result) for result in results]) if as_json else _summary(results))


def _summary(results: Any) -> str:
    images, seconds = results[0].images, results[0].seconds
    lines = [
        f"{counted(images, 'image')} in {seconds:.1f} s ({images / max(seconds, 1e-9):.0f}/s)"
        if images
        else "nothing left to do"
    ]
    for one in results:
        top1 = (
            f"top-1 {100 * one.num_top1 / one.num_labeled:.2f} % of {one.num_labeled}"
            if one.num_labeled
            else "no labels"
        )
        lines.append(f"{one.url}: {counted(one.num_rows, 'row')} of {one.model}, {top1}")
    place = shell_word(results[0].dataset)
    lines += [
        "Next:",
        f'  shardtools sql "select avg((rank = 1)::int) as top1 from overlays.{results[0].name}" {place}',
    ]
    return "\n".join(lines)
