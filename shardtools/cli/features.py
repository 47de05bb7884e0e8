"""`shardtools features`: one vector an image, beside the manifest."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from shardtools.cli.options import options_of
from shardtools.features import FeatureOptions
from shardtools.quoting import shell_word
from shardtools.words import counted

EPILOG = """\b
Examples:
  shardtools features fashion-sd --encoder lite0
  shardtools features imagenet --encoder resnet50 --weights resnet50.pth --split val --l2
  shardtools features imagenet --encoder timm:vit_small_patch16_224 --weights vit.safetensors --precision bf16
  shardtools features fashion-real --encoder fashion-run --name own
  shardtools features photos --encoder clip:models/clip-vit-base-patch32 --name clip
  shardtools features fashion-sd                      (lists the features that are there)
  shardtools features import photos embeddings.npy --name own

\b
The same command resumes a run that was stopped or killed, also on another number of processes. torchrun, accelerate
launch and srun start it too: torchrun --nproc-per-node 8 -m shardtools features ...
"""


class _FeaturesCommand(click.Command):
    """The command, and `import` beside it: a dataset of that name is given as ./import."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args[:1] == ["import"]:
            return import_command.make_context(f"{info_name} import", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command("features", epilog=EPILOG, cls=_FeaturesCommand)
@click.argument("dataset")
@options_of(FeatureOptions, changes={"encoder": {"required": False}})
@click.option("--remove", metavar="NAME", help="Remove the features NAME of DATASET.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(dataset: str, encoder: str | None, remove: str | None, as_json: bool, **options: Any) -> None:
    """Extract a feature of every image of DATASET with an encoder, or list the features there are.

    They are written to DATASET/features/NAME as float16, with the encoder's fingerprint.
    """
    if remove is not None:
        from shardtools.features import remove_features

        remove_features(dataset, remove)
        click.echo(f"removed features {remove} of {dataset}", err=True)
        return
    if encoder is None:
        _print_list(dataset, as_json=as_json)
        return
    from shardtools.cli.launched import run_job
    from shardtools.cli.progress import RunProgress
    from shardtools.features import extract_features, require_feature_libraries

    wanted = FeatureOptions(dataset=dataset, encoder=encoder, **options)

    def as_rank(progress: Any) -> Any:
        require_feature_libraries(wanted)  # what is imported next loads torch
        from shardtools.pipelines.features.job import run_launched

        return run_launched(wanted, progress)

    shown = RunProgress(noun="images", before="loading the encoder", doing="loading the encoder")
    result = run_job(shown, alone=lambda progress: extract_features(wanted, progress=progress), as_rank=as_rank)
    if result is not None:
        click.echo(json.dumps(asdict(result)) if as_json else _summary(result, dataset))


@click.command("import")
@click.argument("dataset")
@click.argument("file")
@click.option("--name", required=True, help="Name of the features.")
@click.option("--encoder", metavar="TEXT", help="What made them; only the same is compared.  [default: FILE's digest]")
@click.option("--out", metavar="FOLDER", help="Write the features there, where DATASET cannot be written.")
@click.option("--replace", is_flag=True, help="Write anew features of that name.")
def import_command(dataset: str, file: str, name: str, encoder: str | None, out: str | None, replace: bool) -> None:
    """Take features of DATASET that were made elsewhere out of FILE.

    A .npy file holds [N, D], a row for each image in the order of the manifest; a .parquet file a column `key`, in any
    order, and one column of lists or D columns of numbers.
    """
    from shardtools.features import import_features

    info = import_features(dataset, file, name=name, encoder=encoder, out=out, replace=replace)
    place = shell_word(dataset)
    click.echo(f"{info.num_rows} features of {info.encoder.feature_dim} numbers as {name}")
    click.echo(f"Next:\n  shardtools audit {place} --features {shell_word(out or name)}")


def _summary(result: Any, dataset: str) -> str:
    place, speed = shell_word(dataset), result.images / max(result.seconds, 1e-9)
    head = (
        f"{counted(result.images, 'image')} in {result.seconds:.1f} s ({speed:.0f}/s)"
        if result.images
        else "nothing left to do"
    )
    lines = [
        f"{head}: {counted(result.num_rows, 'feature')} of {result.encoder['feature_dim']} numbers in {result.url}"
    ]
    if result.num_skipped:
        lines.append(
            f"{counted(result.num_skipped, 'image has', 'images have')} none and could not be read; "
            f"`shardtools verify {place}`"
        )
    lines += [
        "Next:",
        f"  shardtools nearest {place} --features {shell_word(result.name)}",
        f"  shardtools index build {place} --features {shell_word(result.name)}",
    ]
    return "\n".join(lines)


def _print_list(dataset: str, *, as_json: bool) -> None:
    from shardtools.dataset import open_dataset
    from shardtools.features import feature_names, open_features

    stores = [open_features(dataset, name, any_version=True) for name in feature_names(open_dataset(dataset))]
    if as_json:
        records = [
            {
                "name": one.info.plan.name,
                "url": one.storage.url,
                "num_rows": len(one),
                "encoder": asdict(one.info.encoder),
            }
            for one in stores
        ]
        click.echo(json.dumps(records, indent=1))
        return
    if not stores:
        click.echo(
            f"{dataset} has no features; make some: shardtools features {shell_word(dataset)} --encoder lite0", err=True
        )
        return
    from shardtools.cli.columns import format_columns, terminal_width

    cells = [
        [one.info.plan.name, str(len(one)), str(one.shape[1]), one.info.encoder.name, one.info.encoder.fingerprint[:8]]
        for one in stores
    ]
    header = ["name", "rows", "dimensions", "encoder", "fingerprint"]
    click.echo("\n".join(format_columns(header, cells, terminal_width())))
