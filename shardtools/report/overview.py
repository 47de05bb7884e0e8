"""The overview: what the dataset is, counts and distributions, and where the facts on the page come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shardtools.overlays import OverlayInfo
from shardtools.report.charts import bar_table, histogram, legend
from shardtools.report.class_map import ClassMap
from shardtools.report.content import Findings
from shardtools.report.facts import ClassFacts, DatasetFacts, Spread, value_text
from shardtools.report.markup import Markup, element, isolated, join, table
from shardtools.report.outliers import OutlierKind
from shardtools.report.pairs import Pairs
from shardtools.report.reading import Missing
from shardtools.report.suspects import Suspects
from shardtools.words import counted, rough_size

_BARS = 40
"""Classes with a bar each; of more, those with the most and the fewest images."""

_TABLE_ROWS = 2000
_SETTING_CHARACTERS = 400


def overview_section(
    facts: DatasetFacts, findings: Findings, class_map: ClassMap | Missing, overlays: Sequence[OverlayInfo]
) -> Markup:
    """The section `overview`."""
    panels = [_classes_panel(facts), *_spread_panels(facts), _sizes_panel(facts), *_counted_panels(facts)]
    if facts.reasons:
        panels.append(_reasons_panel(facts))
    return element(
        "section",
        element("h2", "Overview", tabindex="-1"),
        _tiles(facts, findings, class_map),
        element("div", *panels, class_="panels"),
        element("div", _identity(facts), _made_of(facts), class_="panels wide"),
        _overlays(overlays),
        id="overview",
        class_="view",
    )


def _tiles(facts: DatasetFacts, findings: Findings, class_map: ClassMap | Missing) -> Markup:
    info = facts.info
    num_bytes = sum(split.num_bytes for split in info.splits.values())
    tiles: list[tuple[str, str, str | None]] = [
        (f"{info.num_images:,}", "images", None),
        (f"{len(facts.classes):,}", "classes", None),
        (", ".join(facts.splits) or "none", "splits", None),
        (rough_size(num_bytes), "of image data", None),
    ]
    if info.num_rows > info.num_images:
        tiles.append((f"{info.num_rows - info.num_images:,}", "rows without an image", None))
    if isinstance(findings.suspects, Suspects):
        tiles.append((f"{findings.suspects.num_all:,}", "suspect labels", "#suspects"))
    if isinstance(findings.pairs, Pairs):
        tiles.append((f"{findings.pairs.num_leaks:,}", "duplicates across splits", "#duplicates"))
        tiles.append((f"{findings.pairs.num_all - findings.pairs.num_leaks:,}", "other duplicates", "#duplicates"))
    if isinstance(findings.outliers, tuple) and (counted := _counted(findings.outliers)) is not None:
        tiles.append((f"{counted:,}", "findings of image quality", "#quality"))
    if isinstance(class_map, ClassMap):
        tiles.append((f"{class_map.share:.1%}", "nearest to their own class", "#classes"))
    return element("ul", *(_tile(*tile) for tile in tiles), class_="tiles")


def _tile(figure: str, words: str, link: str | None) -> Markup:
    inner = [element("strong", isolated(figure)), element("span", words)]
    return element("li", element("a", *inner, href=link) if link else join(inner))


def _counted(kinds: tuple[OutlierKind, ...]) -> int | None:
    totals = [kind.num_all for kind in kinds if kind.num_all is not None]
    return sum(totals) if totals or not kinds else None


def _panel(*content: Markup, class_: str = "panel") -> Markup:
    return element("div", *content, class_=class_)


def _classes_panel(facts: DatasetFacts) -> Markup:
    splits = facts.splits
    if not facts.classes:
        return _panel(element("p", "No image has a label.", class_="note"))
    by_count = sorted(facts.classes, key=lambda one: (-sum(one.images.values()), one.class_index))
    if len(by_count) <= _BARS:
        charts = [bar_table("Images by class", [_class_row(one, splits) for one in facts.classes], heading="class")]
    else:
        half = _BARS // 2
        charts = [
            bar_table(
                f"The {half} largest of {len(by_count):,} classes",
                [_class_row(one, splits) for one in by_count[:half]],
                heading="class",
            ),
            bar_table(f"The {half} smallest", [_class_row(one, splits) for one in by_count[-half:]], heading="class"),
            _all_classes(facts, splits),
        ]
    notes = []
    if facts.num_unlabeled:
        notes.append(
            element(
                "p", f"{counted(facts.num_unlabeled, 'image has', 'images have', spec=',')} no label.", class_="note"
            )
        )
    counts = [sum(one.images.values()) for one in facts.classes]
    if min(counts) != max(counts):
        ratio = f", {max(counts) / min(counts):.3g} to 1" if min(counts) else ""
        notes.append(
            element(
                "p", f"Largest and smallest class: {max(counts):,} and {min(counts):,} images{ratio}.", class_="note"
            )
        )
    return _panel(*charts, legend(splits) if len(splits) > 1 else Markup(""), *notes, class_="panel tall")


def _class_row(one: ClassFacts, splits: Sequence[str]) -> tuple[str, list[float], str]:
    values = [float(one.images.get(split, 0)) for split in splits]
    return one.name, values, f"{sum(one.images.values()):,}"


def _all_classes(facts: DatasetFacts, splits: Sequence[str]) -> Markup:
    rows = [
        [isolated(one.name), str(one.class_index), one.wnid or "", *(f"{one.images.get(name, 0):,}" for name in splits)]
        for one in facts.classes[:_TABLE_ROWS]
    ]
    left = len(facts.classes) - len(rows)
    caption = "Images by class and split" + (f" (the first {_TABLE_ROWS:,})" if left else "")
    return element(
        "details",
        element("summary", f"All {len(facts.classes):,} classes"),
        table(["class", "label", "wnid", *splits], rows, caption=caption),
    )


def _spread_panels(facts: DatasetFacts) -> list[Markup]:
    shapes: dict[str, tuple[str, Callable[[float], str]]] = {
        "shorter_side": ("Shorter side", lambda value: f"{value:.0f} px"),
        "aspect": ("Width to height", lambda value: f"{value:.2f}"),
        "num_bytes": ("File size", rough_size),
    }
    panels = []
    for name, (title, text) in shapes.items():
        spread = facts.spreads.get(name)
        # Where all are alike, the table of sizes says so.
        if spread is not None and spread.bins:
            panels.append(_panel(_histogram(title, spread, [text(value) for value in spread.quantiles])))
    return panels


def _histogram(title: str, spread: Spread, quantiles: Sequence[str]) -> Markup:
    low, fifth, median, rest, high = quantiles
    return histogram(
        title,
        spread.bins,
        label=f"{title}: from {low} to {high}, median {median}, nine of ten between {fifth} and {rest}",
        ends=(low, high),
        middle=f"median {median}",
    )


def _sizes_panel(facts: DatasetFacts) -> Markup:
    rows = [(f"{width} x {height}", [float(images)], f"{images:,}") for width, height, images in facts.sizes]
    others = facts.num_sizes - len(rows)
    title = "Width x height" + (f" (the most frequent of {facts.num_sizes:,})" if others > 0 else "")
    return _panel(bar_table(title, rows, heading="pixels"))


def _counted_panels(facts: DatasetFacts) -> list[Markup]:
    titles = {"image_format": "Format", "mode": "Pixels", "source": "Source"}
    statuses = [
        (f"{split}: {status}", [float(count)], f"{count:,}") for (split, status), count in facts.statuses.items()
    ]
    tables = [bar_table("Rows by split and status", statuses, heading="status")]
    for name, title in titles.items():
        rows = [(value, [float(count)], f"{count:,}") for value, count in facts.counted[name]]
        if rows:
            tables.append(bar_table(title, rows, heading=title.lower()))
    return [_panel(*tables)]


def _reasons_panel(facts: DatasetFacts) -> Markup:
    rows = [[status, isolated(reason), f"{count:,}"] for status, reason, count in facts.reasons]
    return _panel(table(["status", "reason", "rows"], rows, caption="Why rows have no image"))


def _identity(facts: DatasetFacts) -> Markup:
    info = facts.info
    rows = [
        ("address", facts.url),
        ("kind", info.kind),
        ("layout", info.layout),
        ("files with images", f"{len(info.shards):,}" if info.shards else "one an image"),
        ("commit (sha256 of dataset.json)", facts.sha256),
        ("derived from commit", info.parent or "none"),
        ("plan", info.plan_id),
        ("clones", str(info.scale) if info.kind == "generated" else ""),
    ]
    return _panel(element("h3", "What it is"), _definitions([(name, value) for name, value in rows if value]))


def _made_of(facts: DatasetFacts) -> Markup:
    rows = []
    for name, values in facts.values.items():
        shown = "; ".join(f"{value} ({count:,})" if len(values) > 1 else value for value, count in values)
        rows.append((name.replace("_", " "), shown))
    known = {name for name, _ in rows}
    for name, value in facts.settings.items():
        if value is not None and name.replace("_", " ") not in known:
            rows.append((f"plan: {name}", value_text(value)[:_SETTING_CHARACTERS]))
    if not rows:
        return Markup("")
    return _panel(element("h3", "How it was made"), _definitions(rows))


def _definitions(rows: Sequence[tuple[str, str]]) -> Markup:
    return element("dl", *(join((element("dt", name), element("dd", isolated(value)))) for name, value in rows))


def _overlays(overlays: Sequence[OverlayInfo]) -> Markup:
    if not overlays:
        note = "The dataset has no overlays: the other sections say which command makes each of them."
        return element("p", note, class_="note")
    rows = [
        [
            isolated(info.name),
            f"{info.num_rows:,}",
            isolated(info.made_by),
            isolated(value_text(dict(info.settings))[:_SETTING_CHARACTERS]),
        ]
        for info in overlays
    ]
    return _panel(table(["overlay", "rows", "made by", "settings"], rows, caption="Where the facts come from"))
