"""A contact sheet: the photographs of a catalogue, a block of rows a type."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_THUMBNAIL = 128
_IN_A_ROW = 10
_MAX_OF_A_TYPE = 40
_MAX_IN_ALL = 400
_LABEL = 14
_QUALITY = 88


class ContactSheet:
    """Collects thumbnails; the first 40 of a type, 400 in all."""

    def __init__(self) -> None:
        self._thumbnails: dict[str, list[tuple[str, Image.Image]]] = {}

    def add(self, kind: str, name: str, content: bytes) -> None:
        """A photograph's thumbnail.

        Args:
            kind: Its type.
            name: Stands below it.
            content: The encoded square.
        """
        from PIL import Image

        of_type = self._thumbnails.setdefault(kind, [])
        if len(of_type) < _MAX_OF_A_TYPE and sum(map(len, self._thumbnails.values())) < _MAX_IN_ALL:
            with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
                thumbnail = image.convert("RGB").resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
            of_type.append((name, thumbnail))

    def encoded(self) -> bytes:
        """The sheet as a JPEG."""
        from PIL import Image, ImageDraw

        rows = [
            of_type[first : first + _IN_A_ROW]
            for of_type in self._thumbnails.values()
            for first in range(0, len(of_type), _IN_A_ROW)
        ]
        width = _THUMBNAIL * max(map(len, rows))
        sheet = Image.new("RGB", (width, (_THUMBNAIL + _LABEL) * len(rows)), "white")
        draw = ImageDraw.Draw(sheet)
        for row, photos in enumerate(rows):
            top = row * (_THUMBNAIL + _LABEL)
            for column, (name, thumbnail) in enumerate(photos):
                sheet.paste(thumbnail, (column * _THUMBNAIL, top))
                label = name.encode("ascii", "replace").decode()[: _THUMBNAIL // 6]
                draw.text((column * _THUMBNAIL + 2, top + _THUMBNAIL), label, fill="black")
        sink = io.BytesIO()
        sheet.save(sink, "JPEG", quality=_QUALITY)
        return sink.getvalue()
