"""What the fields of a `.beton` are for, and the members that those beside image, label and key become.

Owns the roles and the extensions. The price of members as files: numbers become text, and arrays NumPy files, which is
what readers of tars decode.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shardtools.errors import SourceError
from shardtools.shards import Beton
from shardtools.shards.beton.format import (
    ARRAY_TYPES,
    MODE_RAW,
    SCALAR_TYPES,
    SIZED_TYPES,
    FieldType,
    array_form,
)
from shardtools.shards.beton.writer import JSON_FIELD, KEY_FIELD, NO_JSON
from shardtools.sources.image.check import IMAGE_EXTENSIONS
from shardtools.sources.image.png import encode_rgb_png

CLS_FIELD = "cls"
_NOT_IN_EXTENSIONS = re.compile(r"[^a-z0-9_.-]")


@dataclass(frozen=True, slots=True)
class Roles:
    """Numbers of the fields of one file by what they are for.

    Attributes:
        image: The first RGBImage.
        label: The first Int.
        texts: Name -> field, for those of "key", "json" and "cls" that are Bytes or JSON.
        members: Field -> extension of the member that it becomes.
    """

    image: int
    label: int
    texts: Mapping[str, int]
    members: Mapping[int, str]


def find_roles(beton: Beton) -> Roles:
    """What the fields of a file are for.

    Raises:
        SourceError: There is no image or no label.
    """
    by_type: dict[FieldType, list[int]] = {}
    for number, one in enumerate(beton.fields):
        by_type.setdefault(one.type, []).append(number)
    found = ", ".join(f"{one.name} ({one.type.name.lower()})" for one in beton.fields)
    if FieldType.IMAGE not in by_type or FieldType.INT not in by_type:
        raise SourceError(
            f"{beton.where} needs a field RGBImage and, for the label, a field Int, found {found}"
            f"{', not read: ' if beton.skipped else ''}{', '.join(beton.skipped)}: write it again with both (label -1 "
            "where there is none)"
        )
    image, label = by_type[FieldType.IMAGE][0], by_type[FieldType.INT][0]
    texts = {
        one.name: number
        for number, one in enumerate(beton.fields)
        if one.type in SIZED_TYPES and one.name in (KEY_FIELD, JSON_FIELD, CLS_FIELD)
    }
    # `json` and `cls` say labels and stay members as well; the key is in each member's name already.
    own = (image, label, texts.get(KEY_FIELD))
    members = {number: _extension(one.name) for number, one in enumerate(beton.fields) if number not in own}
    # Lower-casing may make two names one: the second would silently take the place of the first.
    if len(set(members.values())) < len(members):
        raise SourceError(f"{beton.where}: two of its fields become one extension ({found}): rename one of them")
    return Roles(image, label, texts, members)


def _extension(name: str) -> str:
    """Extension of a field's member: lower-case, and never one that the image itself may have."""
    extension = _NOT_IN_EXTENSIONS.sub("_", name.lower())
    return f"field.{extension}" if extension in IMAGE_EXTENSIONS else extension


def further_members(
    beton: Beton, roles: Roles, values: Sequence[Any], payloads: Mapping[int, bytes]
) -> dict[str, bytes]:
    """Extension -> payload of what a sample has beside image, label and key.

    Bytes and JSON (without the NUL that ends it) come as they are, numbers as text, arrays as NumPy files, further
    images as JPEG or PNG. An empty payload and a `json` of null stand for members that the sample lacks.

    Args:
        beton: The file.
        roles: Of its fields.
        values: One a field, from the sample's row.
        payloads: Field -> payload.
    """
    found: dict[str, bytes] = {}
    for number, extension in roles.members.items():
        one = beton.fields[number]
        value = values[number]
        if one.type in SCALAR_TYPES:
            found[extension] = repr(value).encode()
        elif one.type is FieldType.IMAGE:
            mode, width, height, _ = value
            is_raw = mode == MODE_RAW
            image = encode_rgb_png(payloads[number], width, height) if is_raw else payloads[number]
            found[f"{extension}.{'png' if is_raw else 'jpg'}"] = image
        elif one.type in ARRAY_TYPES:
            suffix, payload = _array_file(array_form(one), payloads[number])
            found[extension + suffix] = payload
        else:
            payload = payloads[number]
            if one.type is FieldType.JSON:
                payload = payload.removesuffix(b"\0")
            if payload and not (number == roles.texts.get(JSON_FIELD) and payload == NO_JSON):
                found[extension] = payload
    return found


def _array_file(form: tuple[np.dtype[Any], tuple[int, ...]] | None, payload: bytes) -> tuple[str, bytes]:
    """Extension and payload of an array: NumPy's file format, or its bytes alone where its layout is unknown."""
    if form is None or form[0].itemsize * math.prod(form[1]) != len(payload):
        return "", payload
    stream = io.BytesIO()
    np.save(stream, np.frombuffer(payload, form[0]).reshape(form[1]), allow_pickle=False)
    return ".npy", stream.getvalue()
