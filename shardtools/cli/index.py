"""`shardtools index`: what is near, by the features of a dataset."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shardtools.cli.options import options_of
from shardtools.execution import Batch, Doing
from shardtools.features.neighbors import KINDS, IndexOptions
from shardtools.words import counted

if TYPE_CHECKING:
    from shardtools.features import FeatureStore
    from shardtools.features.neighbors import Neighbors

EPILOG = """\b
Examples:
  shardtools index build imagenet --features lite0 --kind ivf-pq --recall 0.95
  shardtools index search fashion-sd --key 00000012
  shardtools index search fashion-sd --image photo.jpg -k 5
  shardtools index search photos --text "a red shoe"
  shardtools index graph fashion-sd -k 20
"""


@click.group("index", epilog=EPILOG)
def command() -> None:
    """Build indexes over the features of a dataset, and search them by key, image or text."""


@command.command("build")
@click.argument("dataset")
@click.option("--features", help="Name of the features.  [default: the only ones]")
@options_of(IndexOptions)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def build_command(dataset: str, features: str | None, as_json: bool, **options: Any) -> None:
    """Build an index of DATASET's features and measure its recall."""
    from shardtools.cli.progress import RunProgress

    with RunProgress(noun="rows", doing="reading features") as progress:
        from shardtools.features.neighbors import build_index

        info = build_index(_open(dataset, features), IndexOptions(**options), progress=progress).info
    if as_json:
        click.echo(json.dumps(asdict(info)))
        return
    click.echo(
        f"{info.kind} index of {counted(info.num_rows, 'row')}: {info.num_bytes / 1e6:.1f} MB in "
        f"{info.seconds:.1f} s, recall "
        f"{info.recall:.1%} of {counted(info.recall_k, 'neighbour')}"
    )


@command.command("search")
@click.argument("dataset")
@click.option("--features", help="Name of the features.  [default: the only ones]")
@click.option("--key", "keys", multiple=True, help="Look for what is near this sample; may be repeated.")
@click.option("--image", "images", metavar="FILE", multiple=True, help="Likewise an image file; may be repeated.")
@click.option("--text", "texts", multiple=True, help="Likewise a text, with features of a dual encoder such as CLIP.")
@click.option("--encoder", help="What made the features, of clip its folder.  [default: what they say]")
@click.option("--weights", metavar="FILE", help="Its weights.  [default: what they say]")
@click.option("-k", "k", type=int, default=10, show_default=True, help="Neighbours to list.")
@click.option("--kind", type=click.Choice(list(KINDS)), help="[default: the best there is]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array of objects.")
def search_command(
    dataset: str,
    features: str | None,
    keys: tuple[str, ...],
    images: tuple[str, ...],
    texts: tuple[str, ...],
    encoder: str | None,
    weights: str | None,
    k: int,
    kind: str | None,
    as_json: bool,
) -> None:
    """List the samples of DATASET that are nearest to samples, image files or texts."""
    if sum(map(bool, (keys, images, texts))) != 1:
        raise click.UsageError("give --key, --image or --text: for instance --key 00000012")
    from shardtools.cli.progress import RunProgress
    from shardtools.extras import ENCODING, require

    with RunProgress(noun="neighbours", doing="reading features") as progress:
        from shardtools.features.neighbors import open_index

        store = _open(dataset, features)
        index = open_index(store, kind)
        records = []
        for key in keys:
            records += _json_objects(store, key, index.neighbors_of(key, k))
        if not keys:
            what = "text" if texts else "image"
            require(f"index search --{what}", ENCODING, extra="audit", otherwise="search by --key")
            progress(Doing(text="loading the encoder"))
            from shardtools.pipelines.features import search

            if texts:
                vectors = search.text_features(store, texts, encoder=encoder)
            else:
                vectors = search.image_features(store, images, encoder=encoder, weights=weights)
            for number, query in enumerate(texts or images):
                records += _json_objects(store, query, index.search(vectors[number : number + 1], k))
    if as_json:
        click.echo(json.dumps(records, indent=1, ensure_ascii=False))
        return
    from shardtools.cli.columns import format_columns, terminal_width

    cells = [[str(value) for value in record.values()] for record in records]
    click.echo("\n".join(format_columns(["query", "key", "class", "distance"], cells, terminal_width())))


@command.command("graph")
@click.argument("dataset")
@click.option("--features", help="Name of the features.  [default: the only ones]")
@click.option("-k", "k", type=int, default=20, show_default=True, help="Neighbours of each sample.")
@options_of(IndexOptions, only=("metric",))
@click.option("--kind", type=click.Choice(list(KINDS)), default="flat", show_default=True)
def graph_command(dataset: str, features: str | None, k: int, metric: str, kind: str) -> None:
    """Find the neighbours of every sample of DATASET and keep them beside its features."""
    from shardtools.cli.progress import RunProgress

    with RunProgress(noun="blocks", doing="reading features") as progress:
        from shardtools.features.neighbors import neighbor_graph

        store = _open(dataset, features)

        def report(done: int, total: int) -> None:
            if done == 1:
                progress(Doing(text=f"comparing {counted(len(store), 'sample')}", total=total, noun="blocks"))
            progress(Batch(rows=1))

        graph = neighbor_graph(store, k, metric=metric, kind=kind, report=report)
    click.echo(
        f"{counted(graph.rows.shape[1], 'neighbour')} of each of {counted(len(store), 'sample')} are kept in "
        f"{store.storage.url}/index"
    )


def _open(dataset: str, features: str | None) -> FeatureStore:
    from shardtools.features import only_features, open_features

    return open_features(dataset, only_features(dataset, features))


def _json_objects(store: FeatureStore, query: str, found: Neighbors) -> list[dict[str, Any]]:
    rows = [row for row in found.rows[0].tolist() if row >= 0]
    names, labels = store.class_names, store.labels
    return [
        {
            "query": query,
            "key": store.keys[row].as_py(),
            "class": names.get(int(labels[row])),
            "distance": round(distance, 6),
        }
        for row, distance in zip(rows, found.distances[0].tolist(), strict=False)
    ]
