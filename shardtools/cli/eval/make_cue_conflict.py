"""`shardtools eval make-cue-conflict`: a small cue-conflict set out of cut-outs and textures."""

from __future__ import annotations

from typing import Any

import click

from shardtools.cli.options import options_of
from shardtools.evaluation.sets import CueConflictOptions

EPILOG = """\b
Examples:
  shardtools eval make-cue-conflict cutouts textures cues
  shardtools eval ood timm:resnet50 --on cue-conflict=cues
  shardtools sql "select shape, texture, cutout_path from overlays.cue_conflict" cues

\b
CUTOUTS/airplane/*.png (with transparency) and TEXTURES/bicycle/*.jpg: a folder a category. The sixteen categories of
Geirhos et al. are airplane, bear, bicycle, ...; any other category is named by its wnid.
"""


@click.command("make-cue-conflict", epilog=EPILOG)
@click.argument("cutouts")
@click.argument("textures")
@click.argument("out")
@options_of(CueConflictOptions)
def command(cutouts: str, textures: str, out: str, **options: Any) -> None:
    """Fill the outlines of CUTOUTS with TEXTURES of other categories; OUT is a dataset of the pictures."""
    from shardtools.evaluation.sets import make_cue_conflict

    wanted = CueConflictOptions(cutouts=cutouts, textures=textures, out=out, **options)
    make_cue_conflict(wanted, report=lambda line: click.echo(line, err=True))
