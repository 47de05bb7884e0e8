"""What the columns of a Parquet file of images mean: which one is the image, the label, the key, and what the rest is.

Owns the names that are looked for. Columns are taken by name and type, not by a user's mapping: the price is that a
table whose image column has an unusual name beside another binary column must be renamed first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from shardtools.errors import SourceError
from shardtools.sources.image.check import IMAGE_EXTENSIONS

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "image_bytes", "img_bytes", "bytes")
LABEL_COLUMNS = ("label", "labels", "cls", "class_index", "fine_label", "target", "class", "class_name", "wnid")
KEY_COLUMNS = ("__key__", "key")
ROW_MEMBER = "row.json"
"""Member of a sample that holds the columns that are neither image, label nor key, as a JSON object."""

_EXPECTED = (
    f"a binary column or a struct with binary 'bytes' (as Hugging Face writes) named {', '.join(IMAGE_COLUMNS)}, or "
    "one such struct of any name"
)
_MEMBER_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_SHOWN_COLUMNS = 12
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of a file.

    Attributes:
        image: The image: binary, or a struct with "bytes" and perhaps "path".
        is_struct: Which of the two.
        has_path: Whether the struct has a text "path".
        label: Integers or class names; `None` where there are no labels.
        label_is_text: Which of the two.
        label_names: Class names by integer label, from Hugging Face's metadata.
        key: Texts that name the samples, if any.
        extras: Further columns, whose values go into a JSON object.
        payloads: Further columns of bytes, or of structs with "bytes": column -> whether it is a struct.
    """

    image: str
    is_struct: bool
    has_path: bool
    label: str | None
    label_is_text: bool
    label_names: tuple[str, ...] | None
    key: str | None
    extras: tuple[str, ...]
    payloads: Mapping[str, bool]

    @property
    def paths(self) -> list[str]:
        """What a reader asks Parquet for; nothing else is read from the file."""
        image = [f"{self.image}.bytes"] if self.is_struct else [self.image]
        image += [f"{self.image}.path"] if self.has_path else []
        image += [f"{name}.bytes" if is_struct else name for name, is_struct in self.payloads.items()]
        return [*image, *(name for name in (self.label, self.key) if name is not None), *self.extras]


def find_columns(schema: pa.Schema, *, where: str) -> Columns:
    """Says what the columns are.

    Args:
        schema: Of the file.
        where: The file, for messages.

    Raises:
        SourceError: There is no image column, two could be it, or the label is of a type that is none.
    """
    types = {field.name: _plain(field.type) for field in schema}
    if len(types) != len(schema):
        raise SourceError(f"{where} has two columns of one name, found {_listed(schema)}: rename one")
    image = _find_image(types, schema, where)
    label = next((name for name in LABEL_COLUMNS if name in types and name != image), None)
    # A column without one value has this type, as the labels of a test set often have: no label, not a wrong one.
    if label is not None and pa.types.is_null(types[label]):
        label = None
    if label is not None and not (_is_text(types[label]) or pa.types.is_integer(types[label])):
        raise SourceError(
            f"{where}: expected integers or class names in column {label!r}, found {_short(types[label])}: write one "
            "label a row as integer or text"
        )
    key = next((name for name in KEY_COLUMNS if name in types and _is_text(types[name])), None)
    others = [name for name in types if name not in (image, label, key)]
    payloads = {name: _has_bytes(types[name]) for name in others if _holds_images(types[name])}
    for name in payloads:
        if not _MEMBER_NAME.fullmatch(name):
            raise SourceError(
                f"{where}: column {name!r} holds bytes, which become members named so: expected lower-case letters, "
                "digits, '_' and '.': rename the column"
            )
        if name == ROW_MEMBER:
            raise SourceError(
                f"{where}: column {name!r} holds bytes and has the name of the member that all other columns go into: "
                "rename the column"
            )
        if name in IMAGE_EXTENSIONS and image not in IMAGE_EXTENSIONS:
            raise SourceError(
                f"{where}: columns {image!r} and {name!r} could each be the image, as readers take a member .{name} "
                f"for it: expected one, rename the other ('mask.{name}')"
            )
    is_struct = pa.types.is_struct(types[image])
    return Columns(
        image=image,
        is_struct=is_struct,
        has_path=is_struct and "path" in _children(types[image]) and _is_text(_children(types[image])["path"]),
        label=label,
        label_is_text=label is not None and _is_text(types[label]),
        label_names=_class_names(schema, label),
        key=key,
        extras=tuple(name for name in others if name not in payloads),
        payloads=payloads,
    )


def _find_image(types: dict[str, pa.DataType], schema: pa.Schema, where: str) -> str:
    for name in IMAGE_COLUMNS:
        if name in types and _holds_images(types[name]):
            return name
    # No usual name. A struct with bytes is how Hugging Face writes an image; a plain binary column may be anything, so
    # none is guessed.
    structs = [name for name, arrow_type in types.items() if _has_bytes(arrow_type)]
    if len(structs) == 1:
        return structs[0]
    if structs:
        raise SourceError(
            f"{where}: {' and '.join(structs)} could each be the image column: name the right one 'image' and write "
            "the file again"
        )
    # Nothing is left to find: this is for the message alone, since a table of paths is the usual mistake.
    only_paths = [
        name
        for name in IMAGE_COLUMNS
        if name in types and (_is_text(types[name]) or _only_path(types[name])) and not _holds_images(types[name])
    ]
    if only_paths:
        raise SourceError(
            f"{where}: column {only_paths[0]!r} names other files ({_short(types[only_paths[0]])}), expected the "
            "images' bytes: write the folder of those files with --source-kind imagefolder, or embed them in the "
            "Parquet file"
        )
    raise SourceError(f"{where} has no image column: expected {_EXPECTED}; found {_listed(schema)}: rename the column")


def _class_names(schema: pa.Schema, label: str | None) -> tuple[str, ...] | None:
    """The names of a Hugging Face ClassLabel, which stand as JSON in the schema's metadata."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        feature: dict[str, Any] = features[label]
        names = feature["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if feature.get("_type") != "ClassLabel" or not isinstance(names, list):
        return None
    return tuple(names) if names and all(isinstance(name, str) for name in names) else None


def _plain(arrow_type: pa.DataType) -> pa.DataType:
    """The type behind an extension type."""
    return arrow_type.storage_type if isinstance(arrow_type, pa.BaseExtensionType) else arrow_type


def _is_text(arrow_type: pa.DataType) -> bool:
    if pa.types.is_dictionary(arrow_type):
        return _is_text(arrow_type.value_type)
    return bool(
        pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type) or pa.types.is_string_view(arrow_type)
    )


def _is_bytes(arrow_type: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(arrow_type) or pa.types.is_large_binary(arrow_type) or pa.types.is_binary_view(arrow_type)
    )


def _children(arrow_type: pa.DataType) -> dict[str, pa.DataType]:
    return {field.name: field.type for field in arrow_type} if pa.types.is_struct(arrow_type) else {}


def _has_bytes(arrow_type: pa.DataType) -> bool:
    children = _children(arrow_type)
    return "bytes" in children and _is_bytes(children["bytes"])


def _holds_images(arrow_type: pa.DataType) -> bool:
    return _is_bytes(arrow_type) or _has_bytes(arrow_type)


def _only_path(arrow_type: pa.DataType) -> bool:
    return "path" in _children(arrow_type)


def _listed(schema: pa.Schema) -> str:
    shown = [f"{field.name} ({_short(field.type)})" for field in list(schema)[:_SHOWN_COLUMNS]]
    more = [f"and {len(schema) - _SHOWN_COLUMNS} more"] if len(schema) > _SHOWN_COLUMNS else []
    return " ".join(", ".join(shown + more).split()) or "no columns"


def _short(arrow_type: pa.DataType) -> str:
    text = " ".join(str(arrow_type).split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
