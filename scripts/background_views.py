"""Makes the views of panoramas that ship as backgrounds, from `views.csv` beside them.

    python scripts/background_views.py BLENDER PMNDRS

BLENDER is the folder of Blender's world lights (Debian's blender-data 3.4.1: /usr/share/blender/datafiles/studiolights/
world), PMNDRS the folder `hdri` of the npm package @pmndrs/assets 1.7.0. Needs OpenEXR 3 (pip), SciPy, Pillow and a
checkout. Written once, kept because it says how the pictures came to be: perspective views, luminance compressed by
Reinhard's curve with a white point (Reinhard et al. 2002, equation 4), colours kept.
"""

from __future__ import annotations

import base64
import csv
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
from PIL import Image
from scipy.ndimage import map_coordinates

DATA = Path(__file__).parents[1] / "shardtools/rendering/backgrounds/data"
SIDE = 256
OVERSAMPLING = 2
MAX_BYTES = 26_000
KEY = 0.21
"""Mean luminance (geometric) before compression; exposure is set for it."""

WHITE = 3.0
GAIN = 1.6
LUMINANCE = (0.2126, 0.7152, 0.0722)


def main() -> None:
    """Writes every view."""
    folders = dict(zip(("blender", "pmndrs"), map(Path, sys.argv[1:]), strict=True))
    with open(DATA / "views.csv", newline="") as file:
        for row in csv.DictReader(file):
            kind, name = row["panorama"].split("/")
            seen = _view(_panorama(kind, folders[kind], name), *(float(row[angle]) for angle in _ANGLES))
            content, quality = _jpeg(Image.fromarray(_displayed(seen)))
            (DATA / f"{row['name']}.jpg").write_bytes(content)
            sys.stdout.write(f"{row['name']}: {len(content)} bytes at quality {quality}\n")


_ANGLES = ("yaw", "pitch", "field_of_view")


def _panorama(kind: str, folder: Path, name: str) -> Any:
    """Linear light, float64 [H, W, 3]."""
    path = folder / f"{name}.exr"
    if kind == "pmndrs":
        text = (folder / f"{name}.exr.js").read_text()
        path = Path(tempfile.mkdtemp()) / f"{name}.exr"
        path.write_bytes(base64.b64decode(text.partition("base64,")[2].partition("'")[0]))
    with OpenEXR.File(str(path)) as file:
        channels = file.channels()
        pixels = channels["RGB"].pixels if "RGB" in channels else np.stack([channels[one].pixels for one in "RGB"], -1)
        return np.maximum(np.nan_to_num(np.asarray(pixels, np.float64)), 0)


def _view(panorama: Any, yaw: float, pitch: float, field_of_view: float) -> Any:
    """A perspective view, float64 [SIDE, SIDE, 3]."""
    height, width, _ = panorama.shape
    side = SIDE * OVERSAMPLING
    steps = ((np.arange(side) + 0.5) / side * 2 - 1) * np.tan(np.radians(field_of_view) / 2)
    x, y = np.meshgrid(steps, -steps)
    turn = np.radians(pitch)
    y, z = y * np.cos(turn) + np.sin(turn), np.cos(turn) - y * np.sin(turn)
    column = ((np.arctan2(x, z) + np.radians(yaw)) / (2 * np.pi) % 1) * width - 0.5
    row = (0.5 - np.arctan2(y, np.hypot(x, z)) / np.pi) * height - 0.5
    around = np.concatenate([panorama[:, -1:], panorama, panorama[:, :1]], 1)
    channels = [map_coordinates(around[..., one], [row, column + 1], order=1, mode="nearest") for one in range(3)]
    return np.stack(channels, -1).reshape(SIDE, OVERSAMPLING, SIDE, OVERSAMPLING, 3).mean((1, 3))


def _displayed(light: Any) -> Any:
    """What a screen shows, uint8 sRGB."""
    exposed = light * KEY / np.exp(np.log(light @ LUMINANCE + 1e-4).mean())
    bright = exposed @ LUMINANCE
    compressed = bright * (1 + bright / WHITE**2) / (1 + bright)
    linear = np.clip(GAIN * exposed * (compressed / np.maximum(bright, 1e-9))[..., None], 0, 1)
    return np.uint8(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) + 0.5)


def _jpeg(image: Image.Image) -> tuple[bytes, int]:
    """The best quality that stays small."""
    for quality in range(95, 60, -1):
        sink = io.BytesIO()
        image.save(sink, "JPEG", quality=quality, subsampling="4:4:4", optimize=True)
        if sink.tell() <= MAX_BYTES:
            break
    return sink.getvalue(), quality


if __name__ == "__main__":
    main()
