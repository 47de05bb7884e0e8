"""`README.md`: the dataset card, for people and for the Hugging Face hub and its `datasets` library.

Owns the Markdown and the YAML above it. Names of classes and other texts of the manifest are escaped, since anybody's
folder names end up there; the price is a card whose source is less readable where names are odd.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from shardtools.dataset import DatasetInfo
from shardtools.describe.facts import DatasetFacts
from shardtools.describe.options import DescribeOptions
from shardtools.describe.reading import reading_section
from shardtools.sample import STATUS_OK
from shardtools.words import counted, size

CARD_FILE = "README.md"
MAX_LISTED_CLASSES = 100
"""A table of more classes than these shows the first `_FEW_CLASSES`."""

_FEW_CLASSES = 20
_MAX_CELL_CHARACTERS = 120
_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
)
_DATA_FILES = {"tar": "shards/{split}-*.tar", "imagefolder": "{split}/**"}
"""Layout -> files of a split that `datasets` reads as images; of the other layouts it reads the manifest."""

_MANIFEST_FILES = "manifest/{split}-*.parquet"
_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
_JOINERS = "\u200c\u200d"
_MARKDOWN = re.compile(r"([\\`*_\[\]|~#!])")


def card(info: DatasetInfo, facts: DatasetFacts, options: DescribeOptions, *, name: str, description: str) -> bytes:
    """The content of `README.md`; arguments as for `croissant`."""
    sections = [
        _front_matter(info, facts, options, name),
        f"# {cell(name)}\n\n{description}\n",
        _contents_section(info, facts),
        _classes_section(facts),
        _origin_section(info, facts),
        _credits_section(facts),
        reading_section(info, facts),
        _about_section(options),
    ]
    return "\n".join(section for section in sections if section).encode()


def summary_line(info: DatasetInfo, facts: DatasetFacts) -> str:
    """One sentence from the counts."""
    num_bytes = sum(split.num_bytes for split in info.splits.values())
    classes = f" of {counted(len(facts.classes), 'class', 'classes')}" if facts.classes else ""
    origin = ", ".join(str(one) for one in facts.settings.get("source") or ())
    splits = ", ".join(f"{split} {totals.num_images}" for split, totals in info.splits.items())
    return (
        f"{counted(info.num_images, 'image')}{f' ({origin})' if origin else ''}{classes}, "
        f"{size(num_bytes)}, by split: {splits}."
    )


def scalar(text: str) -> str:
    """A text as a YAML scalar in double quotes; characters that YAML does not print become blanks."""
    return json.dumps("".join(" " if _is_unprintable(one) else one for one in text), ensure_ascii=False)


def cell(value: Any) -> str:
    """A value as text in a Markdown table: no markup, no HTML, no line break, cut where it is long."""
    text = "".join(" " if _is_unprintable(one) else one for one in str(value))
    text = text if len(text) <= _MAX_CELL_CHARACTERS else f"{text[:_MAX_CELL_CHARACTERS]}..."
    return _MARKDOWN.sub(r"\\\1", html.escape(text, quote=False))


def _is_unprintable(character: str) -> bool:
    """Controls, surrogates, line separators, marks of byte order and direction; not the joiners of scripts."""
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp") and character not in _JOINERS


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table of escaped cells."""
    lines = [header, ["---"] * len(header), *([cell(value) for value in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _front_matter(info: DatasetInfo, facts: DatasetFacts, options: DescribeOptions, name: str) -> str:
    lines = ["---", f"pretty_name: {scalar(name)}"]
    if options.license is not None and _SPDX.fullmatch(options.license):
        lines.append(f"license: {options.license.lower()}")
    elif options.license is not None:
        lines += ["license: other", "license_name: other", f"license_link: {scalar(options.license)}"]
    lines += ["task_categories:", "- image-classification"]
    lines += ["size_categories:", f"- {_size_category(info.num_images)}"]
    lines += ["tags:", *(f"- {scalar(tag)}" for tag in _tags(info, facts))]
    pattern = _DATA_FILES.get(info.layout, _MANIFEST_FILES)
    with_images = [
        split for split, totals in info.splits.items() if totals.num_images or info.layout not in _DATA_FILES
    ]
    if with_images:
        lines += ["configs:", "- config_name: default", "  data_files:"]
        for split in with_images:
            lines += [f"  - split: {split}", f"    path: {scalar(pattern.format(split=split))}"]
    return "\n".join([*lines, "---", ""])


def _tags(info: DatasetInfo, facts: DatasetFacts) -> Iterator[str]:
    yield "shardtools"
    yield "croissant"
    if info.layout == "tar":
        yield "webdataset"
    if {"generated", "rendered"} & set(facts.settings.get("source") or ()):
        yield "synthetic"


def _size_category(num_images: int) -> str:
    return next((name for limit, name in _SIZES if num_images < limit), "n>1B")


def _contents_section(info: DatasetInfo, facts: DatasetFacts) -> str:
    rows = [(split, one.num_rows, one.num_images, size(one.num_bytes)) for split, one in info.splits.items()]
    lines = ["## Contents\n", table(("split", "rows", "images", "size"), rows)]
    formats = ", ".join(f"{count} {name}" for name, count in facts.formats.items())
    if formats:
        lines.append(f"Images by format: {cell(formats)}.{_sides(facts)}\n")
    rejected = [(split, status, count) for (split, status), count in facts.statuses.items() if status != STATUS_OK]
    if rejected:
        lines.append("Rows without an image, each with its reason in the manifest:\n")
        lines.append(table(("split", "status", "rows"), rejected))
    return "\n".join(lines)


def _sides(facts: DatasetFacts) -> str:
    if facts.widths is None or facts.heights is None:
        return ""
    (low_width, high_width), (low_height, high_height) = facts.widths, facts.heights
    return f" Width {_span(low_width, high_width)}, height {_span(low_height, high_height)} pixels."


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _classes_section(facts: DatasetFacts) -> str:
    count = len(facts.classes)
    head = f"## Classes\n\n{counted(count, 'class', 'classes')}"
    unlabeled = f"; {counted(facts.num_unlabeled, 'image')} without a label" if facts.num_unlabeled else ""
    if not count:
        return f"{head}{unlabeled}.\n"
    shown = facts.classes if count <= MAX_LISTED_CLASSES else facts.classes[:_FEW_CLASSES]
    more = f" The first {len(shown)} of them:" if len(shown) < count else ""
    rows = [
        ("" if one.class_index is None else one.class_index, one.wnid or "", one.name, one.num_images) for one in shown
    ]
    return f"{head}{unlabeled}.{more}\n\n{table(('class_index', 'wnid', 'name', 'images'), rows)}"


def _origin_section(info: DatasetInfo, facts: DatasetFacts) -> str:
    rows: list[tuple[str, Any]] = [
        (column, "many" if values is None else ", ".join(str(value) for value in values))
        for column, values in facts.settings.items()
    ]
    rows += [("plan_id", info.plan_id)]
    if info.scale > 1:
        rows.append(("scale (clones)", info.scale))
    if info.parent is not None:
        rows.append(("parent: sha256 of the dataset.json it was derived from", info.parent))
    return f"## Where the images come from\n\n{table(('', ''), rows)}"


def _credits_section(facts: DatasetFacts) -> str:
    """Who made the meshes and the photographs, which licenses that ask for attribution want named."""
    if not facts.credits:
        return ""
    lines = ["## Credits\n", "The images show meshes and photographs of others:\n"]
    header = ("what", "license", "author", "works", "images")
    rows = [
        (
            one.what,
            one.license or "not stated",
            one.author or "not stated",
            one.num_names,
            one.num_images,
        )
        for one in facts.credits
    ]
    lines.append(table(header, rows))
    for one in facts.credits:
        more = f", and {one.num_names - len(one.names)} more" if one.num_names > len(one.names) else ""
        by = f" by {cell(one.author)}" if one.author else ""
        lines.append(f"- {one.what}{by}, {cell(one.license or 'no license stated')}: {_named(one.names)}{more}")
    return "\n".join([*lines, ""])


def _named(names: Iterable[str]) -> str:
    return ", ".join(cell(name) for name in names)


def _about_section(options: DescribeOptions) -> str:
    facts: Mapping[str, str | None] = {
        "Creator": options.creator,
        "Published": options.date_published,
        "License": options.license,
        "Page": options.url,
    }
    lines = [f"- {what}: {text}" for what, text in facts.items() if text is not None]
    if options.cite_as is not None:
        lines.append(f"\n```bibtex\n{options.cite_as}\n```")
    return "\n".join(["## About", "", *lines, ""]) if lines else ""
