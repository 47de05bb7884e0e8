"""`shardtools backgrounds`: photographs that objects are rendered before."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from shardtools.cli.options import options_of, values_of
from shardtools.rendering import BackgroundOptions

EPILOG = """\b
Examples:
  shardtools backgrounds --out backgrounds
  shardtools backgrounds photos --out backgrounds
  shardtools backgrounds BG-20k --out s3://bucket/backgrounds --side 1024

\b
photos/backgrounds.csv, where there is one, says of each photo: type,name (or path),license,author,source,crop.
A crop is left, top and side of a square in pixels; without one it is the largest square in the middle.
Next: shardtools render --help.
Exit codes: 0 done, 1 a known error (one line), 2 wrong usage.
"""


@click.command("backgrounds", epilog=EPILOG)
@click.argument("source", required=False)
@click.option("--out", required=True, metavar="BACKGROUNDS", help="The catalogue: a folder or s3://bucket/prefix.")
@options_of(BackgroundOptions)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(source: str | None, out: str, as_json: bool, **options: Any) -> None:
    """Make a catalogue of photographs out of SOURCE/TYPE/*.jpg (png, webp).

    Each becomes a square JPEG, with its digest, license and author in BACKGROUNDS/backgrounds.csv; sheet.jpg shows them
    all. Without SOURCE, or with the word default, they are the set of the package: five photographs each of home, city,
    grass, sky and water, some of them out of Debian's packages.
    """
    from shardtools.cli.progress import RunProgress
    from shardtools.rendering import make_backgrounds

    wanted = BackgroundOptions(**values_of(BackgroundOptions, options))
    with RunProgress(noun="photos", doing="listing photos") as progress:
        made = make_backgrounds(source, out, wanted, progress=progress)
    if as_json:
        click.echo(json.dumps(asdict(made)))
        return
    counts = ", ".join(f"{name} {count}" for name, count in made.num_photos.items())
    click.echo(f"{made.out}: {counts}; look at sheet.jpg")
    for line in made.notes:
        click.echo(line, err=True)
