"""Contact sheets: one picture a class with all of its objects, their names, licenses and authors.

Owns the look of a sheet. It is how a catalogue is checked by eye: what is not of the class shows at once.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from shardtools.rendering.factors import CANONICAL_HUE, FactorValues
from shardtools.rendering.mesh import Mesh
from shardtools.rendering.meshes.catalogue import MeshObject
from shardtools.rendering.opengl import Renderer
from shardtools.rendering.scene_options import SceneOptions
from shardtools.storage import Storage
from shardtools.taxonomy import load_classes

SHEETS = "sheets"

_SIDE = 160
_TEXT = 40
_COLUMNS = 8
_GRAY = 225
_CANONICAL = FactorValues(pose=0, size=1, position=0, hue=CANONICAL_HUE, background="")


class SheetMaker:
    """Takes objects class by class and writes a sheet when the next class begins; does nothing without a renderer."""

    def __init__(self, storage: Storage, renderer: Renderer | None) -> None:
        self._storage = storage
        self._renderer = renderer
        self._photo = np.full((_SIDE, _SIDE, 3), _GRAY, np.uint8)
        self._tiles: list[tuple[MeshObject, Image.Image]] = []

    def add(self, one: MeshObject, mesh: Mesh) -> None:
        """Draws an object, in its canonical pose."""
        if self._renderer is None:
            return
        if self._tiles and self._tiles[0][0].wnid != one.wnid:
            self.finish()
        self._tiles.append((one, Image.fromarray(self._renderer.render(mesh, _CANONICAL, self._photo))))

    def finish(self) -> None:
        """Writes the sheet of the last class."""
        if self._tiles:
            sink = io.BytesIO()
            _sheet(self._tiles).save(sink, "JPEG", quality=92)
            self._storage.write(f"{SHEETS}/{self._tiles[0][0].wnid}.jpg", sink.getvalue())
            self._tiles = []


@contextmanager
def sheet_maker(storage: Storage, *, wanted: bool) -> Iterator[SheetMaker]:
    """A maker of sheets, with an open renderer where they are wanted.

    Raises:
        RunError: There is nothing that draws here.
    """
    if not wanted:
        yield SheetMaker(storage, None)
        return
    with Renderer(SceneOptions(image_size=_SIDE, span=0.9)) as renderer:
        yield SheetMaker(storage, renderer)


def _sheet(tiles: list[tuple[MeshObject, Image.Image]]) -> Image.Image:
    font, small = ImageFont.load_default(13), ImageFont.load_default(10)
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (max(columns * _SIDE, 3 * _SIDE), 24 + rows * (_SIDE + _TEXT)), "white")
    draw = ImageDraw.Draw(sheet)
    wnid = tiles[0][0].wnid
    [of] = load_classes(wnid)
    draw.text((4, 4), f"{wnid} {', '.join(of.lemmas[:3])}: {len(tiles)} objects", fill="black", font=font)
    for number, (one, picture) in enumerate(tiles):
        left, top = number % columns * _SIDE, 24 + number // columns * (_SIDE + _TEXT)
        sheet.paste(picture, (left, top))
        for line, text in enumerate((one.object_id, one.license, one.author)):
            # The default font has Latin letters alone.
            said = text.encode("latin-1", "replace").decode("latin-1")[:28]
            draw.text((left + 3, top + _SIDE + 12 * line), said, fill="black" if not line else "dimgray", font=small)
    return sheet
