"""JSON files with a format and a version: a dataclass is the content, and reading checks it against its annotations.

Owns what all such files have in common: how they are written, and that whatever else is found (another file, another
version, a missing field, a value of another type) is one line that names the file and the field. The price: a field of
another release is refused, so a new field needs a default and a removed one a new version.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, ClassVar, Self, TypeVar, Union, cast

from shardtools.errors import DatasetError, FormatVersionError, OptionError

_T = TypeVar("_T")
_Checked = Callable[[Any, str], Any]
"""Takes a value of JSON and its place in the file, returns the value of the dataclass."""

_MAX_SHOWN_CHARACTERS = 60
_MAX_INTEGER = 2**63 - 1
"""Larger numbers are nothing that a file counts, and no column of a table holds them."""

_MAX_DEPTH = 50
_DIGEST = 64
"""Hexadecimal digits of a sha256."""

_NOUNS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}


class FieldError(ValueError):
    """A field that is missing, unknown or of another type; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A kind of file.

    Attributes:
        name: Under "format" in the file; `None` for a file that has only a version.
        version: Under "format_version": the one that this release reads and writes.
        what: Names the file in messages: "the plan of a dataset".
        remedy: What to do about a damaged one.
        outdated: What to do about one of another version.
    """

    name: str | None
    version: int
    what: str
    remedy: str
    outdated: str = "use the release that wrote it"

    def encode(self, content: Mapping[str, Any]) -> bytes:
        """The bytes of a file."""
        name = {} if self.name is None else {"format": self.name}
        return json_bytes({**name, "format_version": self.version, **content})

    def decode(self, content: bytes, *, where: str) -> dict[str, Any]:
        """The fields of a file, which are not looked at; `where` names it in messages.

        Raises:
            DatasetError: It is none of this kind.
            FormatVersionError: It is of another format or version.
        """
        try:
            found = read_json(content)
            version = found.pop("format_version")
            name = None if self.name is None else found.pop("format")
        except (ValueError, KeyError, AttributeError, TypeError):
            raise DatasetError(f"{where} is not {self.what}: {self.remedy}") from None
        if name != self.name or version != self.version or type(version) is not int:
            kind, wanted = ("", "") if self.name is None else (f"{_plain(name)} ", f"{self.name} ")
            raise FormatVersionError(
                f"{where} has format {kind}version {_plain(version)}, this release reads {wanted}version "
                f"{self.version}: {self.outdated}"
            )
        return cast(dict[str, Any], found)

    def damaged(self, where: str, error: object) -> DatasetError:
        """The error for a file whose fields are not those of the format."""
        return DatasetError(f"{where} has not the fields of format version {self.version} ({error}): {self.remedy}")


class Document:
    """Base of a dataclass that is the content of such a file."""

    __slots__ = ()
    format: ClassVar[Format]

    def to_json(self) -> bytes:
        """The bytes of the file; the same content gives the same bytes."""
        return self.format.encode(asdict(cast(Any, self)))

    @classmethod
    def from_json(cls, content: bytes, *, where: str) -> Self:
        """The reverse of `to_json`.

        Raises:
            DatasetError: Not such a file.
            FormatVersionError: Written by another format version.
        """
        found = cls.format.decode(content, where=where)
        try:
            return build(cls, found)
        except (FieldError, OptionError) as error:
            raise cls.format.damaged(where, error) from None


def json_bytes(content: Any) -> bytes:
    """A value as a file that people may read too."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def read_json(content: bytes | str) -> Any:
    """What a file of unknown origin holds, whatever it is.

    Raises:
        ValueError: No JSON, or one that is nested too deeply to be read.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What two files of a kind say otherwise, for the message that refuses to go on with the one as the other.

    Args:
        found: Fields of the one that is there.
        wanted: Fields of the one that is asked for.

    Returns:
        "epochs is 90 there, 100 here" for each field that differs.
    """
    return [
        f"{name} is {_told(found.get(name))} there, {_told(wanted.get(name))} here"
        for name in {**found, **wanted}
        if found.get(name) != wanted.get(name)
    ]


def _told(value: Any) -> str:
    """A value in a message; of a digest its beginning."""
    is_digest = isinstance(value, str) and len(value) == _DIGEST
    return f"{value[:8]}..." if is_digest else repr(value)


def build(kind: type[_T], value: Any, *, others: bool = False) -> _T:
    """A dataclass out of what JSON gave for it; lists become tuples, objects the dataclasses of their fields.

    Args:
        kind: The dataclass.
        value: What JSON gave.
        others: Whether fields that the dataclasses lack are passed over, for a reader that wants a part of a file.

    Raises:
        FieldError: A field is missing, unknown or of another type.
        OptionError: The dataclass refuses a value.
    """
    return cast(_T, _of_dataclass(cast(Any, kind), others)(value, ""))


@cache
def _of_dataclass(kind: type, others: bool) -> _Checked:
    hints = typing.get_type_hints(kind)
    known = {field.name: _checker(hints[field.name], others) for field in fields(kind)}
    required = [one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING]

    def checked(value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            raise wrong_field(place, "an object", value)
        prefix = f"{place}." if place else ""
        for name in required:
            if name not in value:
                raise FieldError(f"{prefix}{name} is missing")
        unknown = None if others else next((name for name in value if name not in known), None)
        if unknown is not None:
            raise FieldError(f"{prefix}{_plain(unknown)} is unknown")
        return kind(**{name: check(value[name], prefix + name) for name, check in known.items() if name in value})

    return checked


def _checker(hint: Any, others: bool) -> _Checked:
    """The check of one annotation: plain values, `None`, Any, tuple[X, ...], Mapping[str, X] and dataclasses."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    kinds = arguments if origin in (types.UnionType, Union) else (hint,)
    if all(kind in _NOUNS for kind in kinds):
        return _of_plain(kinds)
    if types.NoneType in kinds:
        [inner] = [_checker(kind, others) for kind in kinds if kind is not types.NoneType]
        return lambda value, place: None if value is None else inner(value, place)
    if hint is Any:
        return _of_anything
    if origin is tuple:
        return _of_list(_checker(arguments[0], others))
    return _of_dataclass(cast(Any, hint), others) if is_dataclass(hint) else _of_object(_checker(arguments[1], others))


def _of_plain(kinds: tuple[type, ...]) -> _Checked:
    # JSON may have 1 for 1.0; a truth value is a number for Python alone.
    accepted = {*kinds, int} if float in kinds else {*kinds}

    def checked(value: Any, place: str) -> Any:
        if type(value) not in accepted or not _is_usable(value):
            raise wrong_field(place, " or ".join(_NOUNS[kind] for kind in kinds), value)
        return value

    return checked


def _is_usable(value: Any) -> bool:
    """Whether what is no number, no whole number of 64 bits and no valid text is kept out: JSON has room for all."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) <= _MAX_INTEGER
    return not isinstance(value, str) or not any("\ud800" <= one <= "\udfff" for one in value)


def _of_list(inner: _Checked) -> _Checked:
    def checked(value: Any, place: str) -> Any:
        if not isinstance(value, list):
            raise wrong_field(place, "a list", value)
        return tuple(inner(one, f"{place}[{number}]") for number, one in enumerate(value))

    return checked


def _of_anything(value: Any, place: str) -> Any:
    # What is kept unread is written, hashed and copied all the same, and each of these goes down by calling itself.
    level = [value]
    for _ in range(_MAX_DEPTH):
        if not all(_is_usable(one) for one in level):
            raise wrong_field(place, "texts and numbers that can be written", value)
        objects = [one for one in level if isinstance(one, dict)]
        lists = [*(one for one in level if isinstance(one, list)), *(one.values() for one in objects), *objects]
        level = [each for one in lists for each in one]
        if not level:
            return value
    raise FieldError(f"{_plain(place)} is nested at most {_MAX_DEPTH} deep, found more")


def _of_object(inner: _Checked) -> _Checked:
    def checked(value: Any, place: str) -> Any:
        if not isinstance(value, dict) or not all(map(_is_usable, value)):
            raise wrong_field(place, "an object", value)
        return {name: inner(one, f"{place}.{name}") for name, one in value.items()}

    return checked


def wrong_field(place: str, expected: str, value: Any) -> FieldError:
    """The error for a field that is not what it should be; the value is of unknown origin and shown as JSON."""
    return FieldError(f"{_plain(place) or 'the file'} is {expected}, found {_as_json(value)}")


def _plain(value: Any) -> str:
    """A name or a version of unknown origin in a message."""
    return _short(value) if isinstance(value, str) and value.isprintable() else _as_json(value)


def _as_json(value: Any) -> str:
    try:
        return _short(json.dumps(value))
    except RecursionError:
        return "a value that is nested deeply"


def _short(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}..."
