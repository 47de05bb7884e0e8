"""`shardtools train`: a classifier on the shards of datasets."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from shardtools.cli.options import options_of
from shardtools.options import default_of
from shardtools.quoting import shell_word
from shardtools.training import TrainOptions
from shardtools.words import counted, duration

EPILOG = """\b
Examples:
  shardtools gen-sd --prompt "c, d_c"
  shardtools train fashion-sd --out fashion-run --recipe micro --set epochs=3
  shardtools train imagenet imagenet-sd --ratio 1:3 --val imagenet --recipe imagenet-sd --out mixed
  shardtools train s3://bucket/imagenet --where "width >= 200" --recipe t-rex --set precision=bf16 --out t-rex
  shardtools train imagenet --view clean.sql --recipe pytorch --num-processes 8 --out clean

\b
The same command resumes a run that was stopped or killed, also on another number of processes. SIGTERM and Ctrl-C
finish the step in hand and write a checkpoint. torchrun, accelerate launch and srun start it too:
torchrun --nproc-per-node 8 -m shardtools train ...
Exit codes: 0 done, 1 a known error (one line), 2 wrong usage.
"""

_READ = ("split", "where", "view", "relabel")
"""What says which samples of the datasets are read."""


@click.command("train", epilog=EPILOG)
@click.argument("datasets", metavar="DATASET...", nargs=-1)
@options_of(TrainOptions, only=("out",), changes={"out": {"required": False}})
@click.option("--recipe", help="Name, or a .toml file: how to train. Required; --list-recipes shows them.")
@click.option(
    "--set", "changes", metavar="KEY=VALUE", multiple=True, help="Change a value of the recipe; may be repeated."
)
@click.option("--list-recipes", is_flag=True, help="Print the recipes and what they are.")
@options_of(TrainOptions, only=_READ, changes={"split": {"default": None}})
@click.option("--ratio", metavar="N:N", help="Samples of each DATASET in turn, 1:3.  [default: all of them as one]")
@options_of(TrainOptions, without=("out", *_READ))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    datasets: tuple[str, ...], changes: tuple[str, ...], list_recipes: bool, as_json: bool, **options: Any
) -> None:
    """Train a classifier on DATASETs, real, generated or mixed.

    The recipe says how (network, augmentation, learning rate); the options say on what and where. RUN then holds
    model.safetensors, metrics.jsonl, curves.png, run.json and the checkpoints.
    """
    if list_recipes:
        from shardtools.cli.recipes import print_recipes

        print_recipes(as_json=as_json)
        return
    wanted = to_options(datasets, changes, **options)
    from shardtools.cli.launched import run_job
    from shardtools.cli.train_progress import TrainProgress
    from shardtools.training import require_training_libraries, train

    def as_rank(progress: Any) -> Any:
        require_training_libraries(wanted)  # what is imported next loads torch
        from shardtools.training import plan_classes

        # Before torch is loaded, which takes each process of a launcher seconds.
        plan_classes(wanted)
        from shardtools.pipelines.train.job import run_launched

        return run_launched(wanted, progress)

    result = run_job(TrainProgress(), alone=lambda progress: train(wanted, progress=progress), as_rank=as_rank)
    if result is not None:
        click.echo(json.dumps(asdict(result)) if as_json else summary(result, wanted))


def to_options(
    datasets: tuple[str, ...],
    changes: tuple[str, ...],
    *,
    out: str | None,
    recipe: str | None,
    split: str | None,
    view: str | None,
    ratio: str | None,
    **options: Any,
) -> Any:
    """The library's `TrainOptions` out of what was typed; the other options have its names.

    Raises:
        click.UsageError: Something is missing, or two options contradict each other.
        ShardtoolsError: The recipe or a value is wrong.
    """
    for value, name, example in (
        (datasets, "DATASET", "fashion-sd"),
        (out, "--out", "--out fashion-run"),
        (recipe, "--recipe", "--recipe micro; --list-recipes shows them"),
    ):
        if not value:
            raise click.UsageError(f"{name} is missing: for instance {example}")
    if view is not None and split is not None:
        raise click.UsageError("--view says itself what is read: leave out --split and write where split = '...' in it")
    from shardtools.training import load_recipe

    return TrainOptions(
        datasets=datasets,
        out=str(out),
        recipe=load_recipe(str(recipe), changes),
        split=None if view is not None or split == "all" else split or default_of(TrainOptions, "split"),
        view=None if view is None else read_view_text(view),
        ratio=None if ratio is None else split_ratio(ratio),
        **options,
    )


def read_view_text(view: str) -> str:
    """SQL as it was typed, or that of a file whose name ends in ".sql"."""
    if not view.endswith(".sql"):
        return view
    try:
        return Path(view).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise click.UsageError(f"--view {view}: cannot read the file: {reason}") from None


def split_ratio(ratio: str) -> tuple[int, ...]:
    """Numbers out of "1:3" or "1,3"."""
    try:
        return tuple(int(part) for part in ratio.replace(",", ":").split(":"))
    except ValueError:
        raise click.UsageError(f"--ratio takes whole numbers like 1:3, found {ratio!r}") from None


def summary(result: Any, options: Any) -> str:
    """What a run came to, where its files are, and the next commands worth typing."""
    from shardtools.cli.train_progress import evaluation_words
    from shardtools.training import CURVES_FILE, MODEL_FILE

    run = Path(result.out)
    if result.images:
        speed = result.images / max(result.seconds, 1e-9)
        head = (
            f"{counted(result.images, 'image')} in {duration(result.seconds)} ({speed:.0f}/s): "
            f"{counted(result.epochs, 'epoch is', 'epochs are')} done"
        )
    else:
        head = f"nothing left to do: the {counted(result.epochs, 'epoch')} in {result.out} are done"
    lines = [f"{head}, {counted(result.steps, 'step')}"]
    if result.metrics:
        of = "last evaluation"
        if options.select == "best" and "best_epoch" in result.metrics:
            of = f"epoch {result.metrics['best_epoch']:.0f}, the best by {options.metric}"
        words = evaluation_words(result.metrics, test=options.test_split or "test")
        lines.append(f"{of}, {options.val_split} of {options.val}: {words}")
    lines.append(f"weights: {run / MODEL_FILE}")
    if (run / CURVES_FILE).exists():
        lines.append(f"curves: {run / CURVES_FILE}")
    place = shell_word(result.out)
    lines += ["Next:", f"  shardtools curves {place} ANOTHER-RUN --out curves.png"]
    if not result.metrics:
        lines.append("  the same command with --val DATASET and another --out says how good it is")
    else:
        lines.append("  the same command with --set epochs=N and another --out trains longer")
    return "\n".join(lines)
