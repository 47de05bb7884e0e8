"""`shardtools audit`: which labels are likely wrong."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shardtools.audits.labels import LabelAuditOptions
from shardtools.cli.class_words import class_words
from shardtools.cli.options import options_of
from shardtools.quoting import shell_word
from shardtools.words import counted

if TYPE_CHECKING:
    from shardtools.audits.labels import LabelAuditOptions, LabelAuditResult

EPILOG = """\b
Examples:
  shardtools audit fashion-real
  shardtools audit imagenet --features resnet50 --features clip --split train
  shardtools audit photos --probabilities pred_probs.npy
  shardtools audit fashion-real --training fashion-run/records --replace
  shardtools query label-noise fashion-real
  shardtools report fashion-real --out report.html

\b
No label is changed. Exit codes: 0 done, 1 a known error (one line), 2 wrong usage.
"""

_SURE = 0.75
"""Probability of a suggested label from which on the printed command takes it."""

_STEP = 1.15


@click.command("audit", epilog=EPILOG)
@click.argument("dataset")
@options_of(LabelAuditOptions)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(dataset: str, as_json: bool, **options: Any) -> None:
    """Score every label of DATASET by several methods, and say what to expect of the most suspect ones.

    They need features (shardtools features), or --probabilities of a model that has not seen the sample it judges: a
    .npy [N, C], a row for each image in the order of the manifest and a column for each class index, or a .parquet
    with a column `key` and one column of lists, or columns named as the classes.

    Writes the overlay label_noise (all scores, a calibrated probability that the label is wrong, a suggested label,
    the nearest samples) and summary.json beside it (noise rate, and precision and recall at several cuts).
    """
    from shardtools.cli.progress import RunProgress

    wanted = LabelAuditOptions(dataset=dataset, **options)
    with RunProgress(noun="labels", doing="reading features") as progress:
        from shardtools.audits.labels import audit_dataset

        result = audit_dataset(wanted, report=progress.step)
    click.echo(json.dumps(asdict(result), ensure_ascii=False) if as_json else summary(result, wanted))


def summary(result: LabelAuditResult, options: LabelAuditOptions) -> str:
    """What was found, and the next commands worth typing."""
    lines = [
        _rate_line(result),
        *_cut_lines(result.cuts),
        "most suspect:",
    ]
    width = max((len(row["key"]) for row in result.suspects), default=0)
    for row in result.suspects:
        given, suggested = row["given_wnid"], row["suggested_wnid"]
        change = "no better label" if suggested == given else f"-> {class_words(suggested)}"
        lines.append(f"  {row['key']:<{width}}  {row['noise_probability']:.3f}  {class_words(given)} {change}")
    lines += [f"overlay: {result.overlay}", f"summary: {result.summary_file}", "Next:", *_next_lines(result, options)]
    return "\n".join(lines)


def _rate_line(result: LabelAuditResult) -> str:
    """The share of wrong labels; where estimators part, a range and the reason."""
    rate, found, labels = result.noise_rate, result.estimators, counted(result.num_audited, "label")
    if not result.is_range:
        return (
            f"about {_share(rate)} of {labels} are wrong (confident learning alone: {result.confident_noise_rate:.1%})"
        )
    return (
        f"between {rate['low']:.1%} and {rate['high']:.1%} of {labels} are wrong: estimators part (among clear "
        f"pictures {found['clear']:.1%}, mixture {found['mixture']:.1%}, confident learning "
        f"{found['confident_learning']:.1%}, models disagree with {found['disagreement']:.1%}), for labels that are "
        "wrong where the picture is hard look like hard pictures: "
        "look at some of the most suspect"
    )


def _cut_lines(cuts: tuple[Mapping[str, Any], ...]) -> list[str]:
    rows = [("take", "probability", "wrong among them", "of all wrong")]
    last = 0
    for cut in cuts:
        # Cuts that hardly differ say the same.
        if cut["num_samples"] >= _STEP * last or cut is cuts[-1]:
            last = cut["num_samples"]
            rows.append((str(last), f"{cut['threshold']:.3f}", _share(cut["precision"]), _share(cut["recall"])))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _share(interval: Mapping[str, float]) -> str:
    return f"{interval['estimate']:.1%} ({interval['low']:.1%} to {interval['high']:.1%})"


def _next_lines(result: LabelAuditResult, options: LabelAuditOptions) -> list[str]:
    place = shell_word(options.dataset)
    elsewhere = "" if options.out is None else f" --overlay {shell_word(options.out)}"
    table = f'overlays."{options.overlay}"' if "-" in options.overlay else f"overlays.{options.overlay}"
    look = f"from {table} order by vote desc nulls last limit 20"
    view = (
        f"select key, suggested_label as class_index, 'label audit' as reason from {table} "
        f"where suggested_label <> given_label and suggested_probability >= {_SURE}"
    )
    is_usual = options.overlay == "label_noise"
    asked = f"query label-noise {place}" if is_usual and not elsewhere else f"sql '{look}' {place}{elsewhere}"
    lines = [f"  shardtools {asked}"]
    if is_usual:
        lines.append(f"  shardtools report {place} --out report.html{elsewhere}")
    target = shell_word(f"{options.dataset.rstrip('/')}-relabelled")
    # Single quotes within double ones read better; a name in double quotes needs the other way round.
    typed = shlex.quote(view) if '"' in view else f'"{view}"'
    return [*lines, f"  shardtools apply {place} {typed} --out {target}{elsewhere}"]
