"""`shardtools duplicates`: equal and near-equal images within and across datasets, and leaks between splits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from shardtools.audits.duplicates import DuplicatesOptions, NearOptions
from shardtools.cli.options import options_of, values_of
from shardtools.words import counted

if TYPE_CHECKING:
    from shardtools.audits.duplicates import DuplicatesResult

LEAK_EXIT_CODE = 3
LEAKS_SHOWN = 10
COSINES_SHOWN = (0.9, 0.95, 0.97, 0.98, 0.99, 0.995)

EPILOG = """\b
Examples:
  shardtools duplicates photos-shards --kind exact
  shardtools quality photos-shards && shardtools duplicates photos-shards
  shardtools duplicates imagenet generated-shards --fail-on-leak --pairs pairs.parquet
  shardtools duplicates imagenet generated-shards --kind embedding --features lite0 --min-similarity 0.97
  shardtools query leakage imagenet generated-shards

\b
Exit codes: 0 done, 3 with --fail-on-leak: images of different splits are copies, 1 a known error, 2 wrong usage.
"""


@click.command("duplicates", epilog=EPILOG)
@click.argument("datasets", metavar="DATASET...", nargs=-1, required=True)
@options_of(DuplicatesOptions, only=("kinds", "radius", "min_quality"))
@options_of(NearOptions, only=("features",))
@options_of(DuplicatesOptions, only=("min_similarity",))
@options_of(NearOptions, only=("search",))
@click.option("--fail-on-leak", is_flag=True, help="Exit with 3 where images of different splits are copies.")
@options_of(DuplicatesOptions, only=("pairs_file", "write", "overlays", "replace"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with every leak.")
def command(datasets: tuple[str, ...], fail_on_leak: bool, as_json: bool, **given: Any) -> int:
    """Find images that occur more than once in the DATASETs, or nearly so, and those that leak between splits.

    All datasets are compared with each other and themselves. Exact copies have the same digest; near ones have
    perceptual hashes at most --radius bits apart, which `shardtools quality` makes; none within the radius is missed.
    The kind embedding compares what `shardtools features` makes; what is near by it depends on the encoder.
    """
    from shardtools.cli.progress import RunProgress

    options = DuplicatesOptions(datasets=datasets, **values_of(DuplicatesOptions, given))
    near = NearOptions(**values_of(NearOptions, given))
    if near.features and "embedding" not in options.kinds:
        raise click.UsageError("--features are for the kind embedding: add --kind embedding")
    with RunProgress(noun="images", doing="reading the manifest") as progress:
        from shardtools.audits.duplicates import find_duplicates, open_feature_tables

        feature_tables = open_feature_tables(datasets, near, progress.step) if "embedding" in options.kinds else None
        result = find_duplicates(options, feature_tables, progress=progress)
    if as_json:
        click.echo(json.dumps(_json_object(result), ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(result)))
    return LEAK_EXIT_CODE if fail_on_leak and len(result.leaks) else 0


def _json_object(result: DuplicatesResult) -> dict[str, Any]:
    counts = [
        dict(zip(("kind", "dataset_a", "split_a", "dataset_b", "split_b", "num_pairs"), (*place, count), strict=True))
        for place, count in sorted(result.counts().items())
    ]
    return {
        "num_images": result.num_images,
        "num_without_hash": result.num_without_hash,
        "num_without_feature": result.num_without_feature,
        "num_by_design": result.num_by_design,
        "num_pairs": len(result.pairs),
        "num_groups": _num_groups(result),
        "num_leaks": len(result.leaks),
        "counts": counts,
        "leaks": result.leaks.to_pylist(),
    }


def _num_groups(result: DuplicatesResult) -> int:
    return int(sum(result.groups["is_representative"].to_pylist()))


def _lines(result: DuplicatesResult) -> list[str]:
    from shardtools.cli.columns import format_columns, terminal_width

    lines = [
        (
            f"{counted(result.num_images, 'image')}: {counted(len(result.pairs), 'pair')} in "
            f"{counted(_num_groups(result), 'group')}"
        )
    ]
    if result.num_without_hash:
        lines[0] += (
            f"; {counted(result.num_without_hash, 'image has', 'images have')} no hash that is good enough to compare"
        )
    if result.num_without_feature:
        lines[0] += f"; {counted(result.num_without_feature, 'image has', 'images have')} no feature"
    if result.num_by_design:
        lines.append(
            f"{counted(result.num_by_design, 'pair')} of one rendered object left out: a grid's own (the ends of a "
            "circle, a canonical picture in several grids, a view beside the next)"
        )
    if len(result.pairs):
        cells = [
            [kind, f"{_shown(split_a)} of {_shown(a)}", f"{_shown(split_b)} of {_shown(b)}", str(count)]
            for (kind, a, split_a, b, split_b), count in sorted(result.counts().items())
        ]
        lines += format_columns(["kind", "one", "other", "pairs"], cells, terminal_width())
    lines += _cosine_lines(result)
    leaks = result.leaks
    for pair in leaks.slice(0, LEAKS_SHOWN).to_pylist():
        label = {True: "same label", False: "other label", None: "label unknown"}[pair["same_label"]]
        one, other = (
            f"{_shown(pair[f'key_{side}'])} ({_shown(pair[f'split_{side}'])} of {_shown(pair[f'dataset_{side}'])})"
            for side in "ab"
        )
        lines.append(f"leak: {one} and {other}: {pair['kind']}, distance {pair['distance']:g}, {label}")
    if len(leaks) > LEAKS_SHOWN:
        lines.append(f"leak: and {len(leaks) - LEAKS_SHOWN} more (--json or --pairs FILE.parquet gives all)")
    return [
        *lines,
        f"{counted(len(leaks), 'pair lies', 'pairs lie')} across splits"
        if len(leaks)
        else "no pair lies across splits",
    ]


def _cosine_lines(result: DuplicatesResult) -> list[str]:
    """How many pairs of features would be left at higher bounds, which is how one finds a bound for an encoder."""
    import pyarrow.compute as pc

    cosines = 1 - result.pairs.filter(pc.equal(result.pairs["kind"], "embedding"))["distance"].to_numpy()
    if not len(cosines):
        return []
    counts = {bound: int((cosines >= bound).sum()) for bound in COSINES_SHOWN if bound > cosines.min()}
    higher = ", ".join(f"{count} from {bound:g}" for bound, count in counts.items())
    lines = [
        f"embedding: {counted(len(cosines), 'pair')} of a cosine from "
        f"{cosines.min():.3f}" + (f", {higher}" if higher else "")
    ]
    if len(cosines) > result.num_images:
        lines.append("more pairs than images: images that are merely alike pass; give a larger --min-similarity")
    return lines


def _shown(text: str | None) -> str:
    """A key or an address on one line, whatever it holds."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text or "-")
