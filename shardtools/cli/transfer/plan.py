"""`shardtools transfer plan`: what a study will train."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from shardtools.cli.options import options_of
from shardtools.transfer import TransferOptions
from shardtools.words import counted, duration

if TYPE_CHECKING:
    from shardtools.transfer import StudyPlan

EPILOG = """\b
Examples:
  shardtools transfer plan study.toml
  shardtools transfer plan study.toml --json
"""


@click.command("plan", epilog=EPILOG)
@click.argument("study", metavar="STUDY.toml")
@options_of(TransferOptions, only=("out",))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: groups, and every cell.")
def command(study: str, out: str | None, as_json: bool) -> None:
    """Say what STUDY.toml will train: cells by model and set, what is done, and how long the rest takes.

    Times are those of finished cells of the same model. Nothing is written.
    """
    from shardtools.transfer import plan_study

    plan = plan_study(study, out)
    click.echo(json_text(plan) if as_json else "\n".join(text_lines(plan)))


def json_text(plan: StudyPlan) -> str:
    """Groups with what is left of them, and every cell with its folder's name."""
    groups = [{**asdict(group), "num_left": group.num_left} for group in plan.groups]
    cells = [
        {
            "digest": cell.digest,
            "model": cell.model.name,
            "set": cell.on.name,
            "augmentation": cell.augmentation,
            **asdict(cell.setting),
            "seed": cell.seed,
        }
        for cell in plan.cells
    ]
    return json.dumps(
        {"out": plan.out, "seconds_left": plan.seconds_left, "groups": groups, "cells": cells, "notes": plan.notes},
        indent=1,
    )


def text_lines(plan: StudyPlan) -> list[str]:
    """A line a group, and the sum."""
    from shardtools.cli.columns import format_columns, terminal_width

    header = ["model", "set", "augmentation", "cells", "done", "failed", "a cell", "left"]
    rows = [
        [
            group.model,
            group.set,
            group.augmentation,
            *(str(number) for number in (group.num_cells, group.num_done, group.num_failed)),
            "?" if group.cell_seconds is None else duration(group.cell_seconds),
            "?" if group.seconds_left is None else duration(group.seconds_left) if group.num_left else "-",
        ]
        for group in plan.groups
    ]
    left = sum(group.num_left for group in plan.groups)
    lines = [*format_columns(header, rows, terminal_width()), "", f"{counted(len(plan.cells), 'cell')}, {left} left"]
    if plan.seconds_left is not None:
        lines[-1] += f": {duration(plan.seconds_left)} one after the other"
        if plan.num_unknown:
            lines[-1] += f", and {counted(plan.num_unknown, 'cell')} of unknown time"
    return [*lines, *plan.notes]
