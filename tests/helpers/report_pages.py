"""Datasets and overlays for the tests of the report, and a parser that says what a page holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from shardtools.dataset import PlanFile, ShardWriter, commit_dataset, store_plan_file
from shardtools.overlays import write_overlay
from shardtools.sample import Sample
from shardtools.shards import part_path
from shardtools.storage import open_storage
from tests.helpers.pictures import encode, fashion_labels, fashion_pixels

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \"'&amp; \u202e\x07"
"""A name that tries to become markup, to leave an attribute, to turn the line, and to ring."""

HOSTILE_KEY = "<img src=x onerror=alert(3)>\"'&lt;"
CLASSES = ("n03595614", "n04489008", "n04021028", "n03236735", "n03057021")
VOID = {"br", "input", "link", "meta"}


def fashion_dataset(
    url: Path | str,
    number: int,
    *,
    test_from: int | None = None,
    classes: Sequence[str] = CLASSES,
    odd_keys: dict[int, str] | None = None,
    **provenance: Any,
) -> list[str]:
    """Writes real pictures in one shard a split and returns their keys; each tenth row of train failed."""
    pixels, labels = fashion_pixels(number), fashion_labels(number)
    test_from = number if test_from is None else test_from
    storage = open_storage(url)
    kind = "generated" if provenance else "real"
    store_plan_file(
        storage, PlanFile(kind=kind, plan_id="plan", scale=1, settings={}, notes={}, num_shards=2, num_rows=number)
    )
    keys = [(odd_keys or {}).get(row, f"image{row:05d}") for row in range(number)]
    paths = []
    for split, rows in (("train", range(test_from)), ("test", range(test_from, number))):
        if not rows:
            continue
        with ShardWriter(storage, split=split, shard_index=0) as writer:
            for row in rows:
                failed = split == "train" and row % 10 == 9
                content = None if failed else encode(Image.fromarray(pixels[row]), "PNG")
                label = labels[row] % len(classes)
                writer.add(_sample(keys[row], content, label, classes[label], kind, provenance))
            writer.commit()
        paths.append(part_path(split, 0))
    commit_dataset(storage, kind=kind, plan_id="plan", scale=1, part_paths=paths)
    return keys


def _sample(key: str, content: bytes | None, label: int, wnid: str, kind: str, provenance: dict[str, Any]) -> Sample:
    size: dict[str, Any] = {} if content is None else {"image_format": "png", "width": 28, "height": 28, "mode": "L"}
    return Sample(
        key=key,
        image_bytes=content,
        wnid=wnid,
        class_index=label,
        label_source="idx",
        source=kind,
        status="black" if content is None else "ok",
        reason="all pixels are 0" if content is None else None,
        provenance=provenance,
        **size,
    )


def write(url: Path | str, name: str, *, made_by: str = "a test", **columns: Any) -> None:
    write_overlay(url, name, [pa.table(columns)], made_by=made_by, settings={"rate": 0.5}, replace=True)


def write_noise(url: Path | str, keys: list[str], *, suggested: Sequence[int | None], **columns: Any) -> None:
    """An audit of these keys, the first the most suspicious."""
    number = len(keys)
    write(
        url,
        "label_noise",
        key=keys,
        given=pa.array([0] * number, pa.int32()),
        suggested=pa.array(suggested, pa.int32()),
        probability=pa.array([0.5 + 0.4 * (number - row) / number for row in range(number)], pa.float32()),
        noise_probability=pa.array([(number - row) / number for row in range(number)], pa.float32()),
        neighbors=[[keys[(row + step) % number] for step in range(1, 7)] for row in range(number)],
        **columns,
    )


class PageReader(HTMLParser):
    """Elements, attributes, texts and scripts of a page, as a browser's parser sees them."""

    def __init__(self, content: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.file = content
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[dict[str, str | None], str]] = []
        self.texts: list[str] = []
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(content.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] in ("script", "style"):
            self.raw.append((self._open[-1][1] | {"tag": self._open[-1][0]}, data))
        else:
            self.texts.append(data)

    @property
    def is_closed(self) -> bool:
        return not self._open

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def attribute(self, tag: str, name: str, **where: str) -> str | None:
        """The attribute of the first element of that tag with these others."""
        found = (given for kind, given in self.elements if kind == tag and where.items() <= given.items())
        return next(found)[name]

    def raw_text(self, tag: str, **where: str) -> str:
        return next(text for given, text in self.raw if ({"tag": tag} | where).items() <= given.items())

    def content(self) -> Any:
        """The JSON for the page's script."""
        return json.loads(self.raw_text("script", id="content"))

    def pictures(self) -> list[str]:
        found: list[str] = json.loads(self.raw_text("script", id="pictures"))
        return found


def read_page(path: Path | str) -> PageReader:
    return PageReader(Path(path).read_bytes())
