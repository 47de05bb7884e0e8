"""`shardtools apply`: a new version of a dataset, by SQL or a file of edits; and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shardtools.cli.made import made_lines
from shardtools.cli.options import options_of
from shardtools.curation import ApplyOptions, UndoOptions
from shardtools.quoting import shell_word
from shardtools.words import counted

if TYPE_CHECKING:
    from shardtools.curation import CurationResult

EPILOG = """\b
What the view returns says what happens:
  key                        the samples to keep; all others are dropped (--drop: the ones to drop)
  key, class_index/weight    other labels and weights for these; all others stay (--keep: all others are dropped)
  key, action, ...           drop, relabel (class_index), reweight (weight), or null; all others stay
A column `reason` is recorded with each change; other columns are not looked at.

\b
Examples:
  shardtools apply photos "select key from samples where width >= 64" --out photos-large
  shardtools apply photos "select key, 'dark' as reason from overlays.quality where brightness < 10" \\
      --drop --out photos-clean
  shardtools apply photos picked.json --out photos-fixed
  shardtools apply photos-fixed --undo --parent photos --out photos-again

\b
The dataset itself is never changed. The same command resumes a run that was stopped or killed.
Exit codes: 0 done, 1 a known error (one line), 2 wrong usage.
"""


@click.command("apply", epilog=EPILOG)
@click.argument("dataset")
@click.argument("view", required=False)
@options_of(ApplyOptions, only=("out", "keep", "drop", "classes"))
@click.option("--param", "params", metavar="NAME=VALUE", multiple=True, help="Value of $NAME in the SQL.")
@options_of(ApplyOptions, only=("overlays", "carry"))
@click.option("--undo", "is_undo", is_flag=True, help="Give back what DATASET was made from; needs --parent.")
@options_of(UndoOptions, only=("parent",), changes={"parent": {"required": False}})
@options_of(ApplyOptions, only=("link", "num_processes"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    dataset: str,
    view: str | None,
    out: str,
    is_undo: bool,
    parent: str | None,
    link: bool,
    num_processes: int | None,
    as_json: bool,
    params: tuple[str, ...],
    **options: Any,
) -> None:
    """Write a new version of DATASET: samples dropped, relabelled, reweighted as VIEW says.

    VIEW is SQL over the tables of `shardtools sql`, a .sql file, or a file of edits (.json, as the report exports it,
    .csv or .parquet). Images keep their bytes; shards without a change are taken over as they are; dropped samples keep
    a row with the reason; the overlay `changes` records each change.
    """
    from shardtools.cli.progress import RunProgress
    from shardtools.cli.results import guess_params
    from shardtools.curation import apply_view, undo

    common: dict[str, Any] = {"dataset": dataset, "out": out, "link": link, "num_processes": num_processes}
    with RunProgress(noun="samples", before="starting", doing="reading the view") as progress:
        if is_undo:
            given = [name for name, value in {"VIEW": view, "--param": params, **_flags(options)}.items() if value]
            if parent is None or given:
                raise click.UsageError(f"--undo takes --parent and --out, found {', '.join(given) or 'no --parent'}")
            result = undo(UndoOptions(parent=parent, **common), progress=progress)
        else:
            if view is None or parent is not None:
                found = "no VIEW" if view is None else "--parent without --undo"
                raise click.UsageError(f"give DATASET, VIEW and --out, found {found}")
            wanted = ApplyOptions(view=view, parameters=guess_params(params), **options, **common)
            result = apply_view(wanted, progress=progress)
    click.echo(json.dumps(asdict(result)) if as_json else summary(result, dataset))


def _flags(options: dict[str, Any]) -> dict[str, Any]:
    names = {"carry": "--carry-overlay", "overlays": "--overlay"}
    return {names.get(name, f"--{name}"): value for name, value in options.items()}


def summary(result: CurationResult, dataset: str) -> str:
    """What changed, what stayed, and the next commands worth typing."""
    place, parent = shell_word(result.url), shell_word(dataset)
    done = {"drop": "dropped", "relabel": "relabelled", "reweight": "reweighted"}
    changes = [f"{result.changes[action]} {word}" for action, word in done.items() if result.changes.get(action)]
    changes += [f"{count} {what}" for what, count in result.changes.items() if what not in done]
    head = (
        f"{counted(result.num_written, 'sample')} in {result.seconds:.1f} s"
        if result.num_processes
        else "nothing left to write"
    )
    lines = [
        f"{head}: {result.url} holds {counted(result.num_images, 'image')} in {counted(result.num_shards, 'shard')}, "
        f"and {counted(result.num_rows, 'row')}",
        f"changes: {', '.join(changes) or 'undone'}; parts taken over byte for byte {result.num_taken_over}, made anew "
        f"{result.num_made_anew}",
    ]
    lines += made_lines(result.contents, result.statuses, result.splits)
    if result.overlays_left:
        lines.append(
            f"overlays not carried over: {', '.join(result.overlays_left)} (the keys still fit: --carry-overlay NAME, "
            "or copy the folder and run shardtools overlay accept)"
        )
    lines += ["Next:", f"  shardtools diff {parent} {place}", f"  shardtools verify {place}"]
    if result.changes:
        lines.append(f'  shardtools sql "from overlays.changes limit 5" {place}')
    return "\n".join(lines)
