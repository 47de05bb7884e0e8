"""`shardtools meshes`: outside meshes become a catalogue that pictures are rendered of."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click

from shardtools.cli.options import options_of, values_of
from shardtools.rendering import MeshOptions
from shardtools.words import counted

EPILOG = """\b
Examples:
  shardtools meshes sweethome3d --out meshes
  shardtools meshes ShapeNetCore.v2 --out meshes

\b
SOURCE is a folder <wnid>/<object>/**/*.glb, .gltf or .obj (ShapeNet's and Objaverse's layouts fit), or the word
sweethome3d: Debian's furniture (apt-get install sweethome3d-furniture). meshes.csv in the folder may say wnid, object,
path, license, author, source, up, front, scale. --sheets draws a sheet a class, to be looked at.
Next: shardtools render --help.
Exit codes: 0 done, 1 a known error (one line), 2 wrong usage.
"""


@click.command("meshes", epilog=EPILOG)
@click.argument("source")
@options_of(MeshOptions)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(source: str, as_json: bool, **options: Any) -> None:
    """Prepare the meshes of SOURCE, objects of WordNet classes, to be rendered."""
    from shardtools.cli.progress import RunProgress
    from shardtools.extras import require
    from shardtools.rendering import make_catalogue

    wanted = MeshOptions(source=source, **values_of(MeshOptions, options))
    require("meshes", ("trimesh", "moderngl") if wanted.sheets else ("trimesh",), extra="render")
    with RunProgress(noun="meshes", before="reading", doing="listing the source") as progress:
        result = make_catalogue(wanted, progress)
    objects = result.catalogue.objects
    sizes = Counter(one.wnid for one in objects)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "url": result.catalogue.storage.url,
                    "classes": dict(sizes),
                    "left_out": result.left_out,
                    "notes": result.notes,
                    "twins": result.catalogue.twins,
                }
            )
        )
        return
    click.echo(
        f"{result.catalogue.storage.url}: {counted(len(objects), 'object')} of "
        f"{counted(len(sizes), 'class', 'classes')}, {counted(sum(one.num_triangles for one in objects), 'triangle')}"
    )
    for line in (*result.left_out, *result.notes):
        click.echo(line, err=True)
