"""Draws images of a dataset as one PNG: a row a class, the first images of each (the pictures in README.md and docs/).

python scripts/contact_sheet.py fashion-sd docs/images/fashion-sd.png --columns 16
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from PIL import Image, ImageDraw

from shardtools.dataset import open_dataset
from shardtools.taxonomy import find_classes

GAP = 2
LABEL_WIDTH = 92


def draw(url: str, columns: int, scale: int) -> Image.Image:
    """The sheet as an RGB image; every picture is enlarged `scale` times without smoothing."""
    dataset = open_dataset(url)
    by_class: dict[int, list[dict[str, object]]] = {}
    for table in dataset.tables():
        for row in table.to_pylist():
            if row["status"] == "ok":
                by_class.setdefault(row["class_index"], []).append(row)
    groups = [sorted(rows, key=lambda row: row["replica"])[:columns] for _, rows in sorted(by_class.items())]
    side_x, side_y = groups[0][0]["width"] * scale, groups[0][0]["height"] * scale
    sheet = Image.new("RGB", (LABEL_WIDTH + columns * (side_x + GAP), len(groups) * (side_y + GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    for line, rows in enumerate(groups):
        top = line * (side_y + GAP)
        name = find_classes(str(rows[0]["wnid"]))[0].lemmas[0]
        pen.text((4, top + side_y // 2 - 6), name, fill="black")
        for column, row in enumerate(rows):
            content = dataset.storage.read_range(row["shard"], row["member_offset"], row["num_bytes"])
            with Image.open(io.BytesIO(content)) as image:
                picture = image.convert("RGB").resize((side_x, side_y), Image.Resampling.NEAREST)
            sheet.paste(picture, (LABEL_WIDTH + column * (side_x + GAP), top))
    return sheet


def main() -> None:
    """Writes the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("output", type=Path)
    parser.add_argument("--columns", type=int, default=16)
    parser.add_argument("--scale", type=int, default=1)
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    draw(arguments.dataset, arguments.columns, arguments.scale).save(arguments.output, optimize=True)


if __name__ == "__main__":
    main()
