"""`shardtools text-features`: one vector a class, out of its names and definition."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shardtools.cli.options import options_of
from shardtools.features import ClassTextOptions
from shardtools.words import counted

if TYPE_CHECKING:
    from shardtools.features import ClassTexts
    from shardtools.features.neighbors import Neighbors

EPILOG = """\b
Examples:
  shardtools text-features --classes imagenet-1k --encoder models/all-MiniLM-L6-v2 --out class-texts
  shardtools text-features --classes my.csv --encoder models/clip --prompt "a photo of a c" --prompt "a c" --out texts

\b
--encoder is a folder on this machine, of CLIP, SigLIP or a sentence encoder, as transformers writes it.
"""

_SHOWN = 10


@click.command("text-features", epilog=EPILOG)
@options_of(ClassTextOptions)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with the nearest class of each class.")
def command(as_json: bool, **options: Any) -> None:
    """Write one feature a class, of its names and definition, and say which classes are nearest by them.

    Writes texts.npy (float32, rows of length 1), texts.parquet (wnid, class_index, texts) and texts.json to --out.
    """
    from shardtools.cli.progress import RunProgress
    from shardtools.extras import ENCODING, require

    wanted = ClassTextOptions(**options)
    require("text-features", ENCODING, extra="audit")
    with RunProgress(noun="texts", doing="loading the encoder"):
        from shardtools.pipelines.features.texts import make_class_texts

        found, num_cut = make_class_texts(wanted)
        near = _nearest(found)
    if as_json:
        click.echo(json.dumps(_json_object(found, near, wanted.out, num_cut), ensure_ascii=False))
        return
    num_classes, dim = found.features.shape
    click.echo(
        f"{counted(num_classes, 'class', 'classes')}: features of {dim} numbers by {found.encoder.name} in {wanted.out}"
    )
    if num_cut:
        click.echo(
            f"{counted(num_cut, 'text is', 'texts are')} longer than the {found.encoder.max_tokens} "
            "tokens that it reads: cut"
        )
    if near is not None:
        click.echo("\n".join(_lines(found, near)))


def _nearest(found: ClassTexts) -> Neighbors | None:
    """The nearest other class of each, where there is one."""
    import numpy as np

    from shardtools.features.neighbors import search_exact

    count = len(found.wnids)
    return None if count < 2 else search_exact(found.features, found.features, 1, exclude=np.arange(count))


def _json_object(found: ClassTexts, near: Neighbors | None, out: str, num_cut: int) -> dict[str, Any]:
    nearest = [] if near is None else near.rows[:, 0].tolist()
    distances = [] if near is None else near.distances[:, 0].tolist()
    return {
        "url": out,
        "num_classes": len(found.wnids),
        "num_cut": num_cut,
        "encoder": asdict(found.encoder),
        "nearest": [
            {"wnid": wnid, "nearest_wnid": found.wnids[row], "cosine": round(1 - distance, 6)}
            for wnid, row, distance in zip(found.wnids, nearest, distances, strict=False)
        ],
    }


def _lines(found: ClassTexts, near: Neighbors) -> list[str]:
    from shardtools.cli.columns import format_columns, terminal_width

    order = near.distances[:, 0].argsort(kind="stable").tolist()
    pairs = {tuple(sorted((row, int(near.rows[row, 0])))): 1 - float(near.distances[row, 0]) for row in order}
    cells = [
        [f"{cosine:.3f}", found.wnids[one], found.texts[one][0], found.wnids[other], found.texts[other][0]]
        for (one, other), cosine in list(pairs.items())[:_SHOWN]
    ]
    return ["nearest classes:", *format_columns(["cosine", "class", "text", "other", "text"], cells, terminal_width())]
