"""Draw docs/corruptions.jpg: a photo and its nineteen corruptions at severity 3, with their names.

    PYTHONPATH=. python scripts/corruption_sheet.py docs/corruptions.jpg

The photo is "seeding" by Clemens Engelhardt, in the public domain (CC0 1.0), from Debian's lomiri-wallpapers-16.04.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from shardtools.corruption import CORRUPTIONS, corrupt, sample_seed

PHOTO = Path("/usr/share/backgrounds/seeding_by_Clements_Engelhardt.jpg")
SIDE, COLUMNS, CAPTION = 224, 5, 18
SEVERITY = 3


def draw_sheet(photo: Image.Image) -> Image.Image:
    """The photo's middle and its corruptions, row by row."""
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    square = photo.convert("RGB").resize(
        (SIDE, SIDE), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side)
    )
    image = np.asarray(square)
    tiles = {"as it is": image}
    for name in CORRUPTIONS:
        tiles[name] = corrupt(image, name, SEVERITY, seeds=sample_seed(0, "sheet", name, SEVERITY))
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * SIDE, rows * (SIDE + CAPTION)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (name, tile) in enumerate(tiles.items()):
        x, y = place % COLUMNS * SIDE, place // COLUMNS * (SIDE + CAPTION)
        sheet.paste(Image.fromarray(tile), (x, y))
        pen.text((x + 4, y + SIDE + 2), name.replace("_", " "), fill="black", font=ImageFont.load_default(13))
    return sheet


def main() -> None:
    """Parses the options and writes the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--photo", type=Path, default=PHOTO)
    given = parser.parse_args()
    with Image.open(given.photo) as photo:
        draw_sheet(photo).save(given.out, "JPEG", quality=80, optimize=True)


if __name__ == "__main__":
    main()
