from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from shardtools.documents import Document, FieldError, Format, build
from shardtools.errors import DatasetError, FormatVersionError, OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    path: str
    num_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Content(Document):
    format: ClassVar[Format] = Format(name="test-content", version=3, what="a test's file", remedy="write it again")

    name: str
    share: float
    is_whole: bool
    parent: str | None
    entries: tuple[Entry, ...]
    counts: Mapping[str, int]
    settings: Mapping[str, Any]
    options: Mapping[str, str | int | None] = field(default_factory=dict)
    best: Entry | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise OptionError("a name has letters")


CONTENT = Content(
    name="é",
    share=0.5,
    is_whole=True,
    parent=None,
    entries=(Entry(path="a", num_rows=1), Entry(path="b", num_rows=2)),
    counts={"ok": 3},
    settings={"any": [1, {"thing": None}]},
    options={"one": 1, "two": "2", "three": None},
    best=Entry(path="b", num_rows=2),
)
FIELDS = json.loads(CONTENT.to_json())


def test_what_is_written_is_read_again() -> None:
    content = CONTENT.to_json()
    assert content.startswith(b'{\n "format": "test-content",\n "format_version": 3,\n "name": "\xc3\xa9",\n')
    assert content.endswith(b"}\n")
    assert Content.from_json(content, where="here") == CONTENT


def test_fields_with_a_default_may_be_missing_and_whole_numbers_are_numbers() -> None:
    short = {name: value for name, value in FIELDS.items() if name not in ("options", "best")} | {"share": 1}
    found = Content.from_json(json.dumps(short).encode(), where="here")
    assert found.share == 1 and found.options == {} and found.best is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"{}", b'{"format_version": 3}', b"[" * 100_000])
def test_another_file_is_named(content: bytes) -> None:
    with pytest.raises(DatasetError, match=r"^here is not a test's file: write it again$"):
        Content.from_json(content, where="here")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"format_version": 4}, "test-content version 4"),
        ({"format_version": "3"}, "test-content version 3"),
        ({"format_version": [1]}, r"test-content version \[1\]"),
        ({"format": "other"}, "other version 3"),
        ({"format": "two\nlines"}, r'"two\\nlines" version 3'),
        ({"format": "x" * 99}, "x{60}... version 3"),
    ],
)
def test_another_version_is_named(change: dict[str, Any], found: str) -> None:
    message = f"^here has format {found}, this release reads test-content version 3: use the release that wrote it$"
    with pytest.raises(FormatVersionError, match=message):
        Content.from_json(json.dumps(FIELDS | change).encode(), where="here")


def test_a_true_version_is_no_number() -> None:
    of_one = Format(name=None, version=1, what="a file", remedy="write it again")
    with pytest.raises(FormatVersionError, match=r"^here has format version true, this release reads version 1: use"):
        of_one.decode(b'{"format_version": true}', where="here")
    assert of_one.decode(of_one.encode({"a": 1}), where="here") == {"a": 1}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": None}, "name is a text, found null"),
        ({"name": "x" * 3, "share": "0.5"}, 'share is a number, found "0.5"'),
        ({"share": True}, "share is a number, found true"),
        ({"is_whole": 1}, "is_whole is true or false, found 1"),
        ({"parent": 5}, "parent is a text or null, found 5"),
        ({"entries": {}}, "entries is a list, found {}"),
        ({"entries": [FIELDS["entries"][0], {"path": "b"}]}, "entries[1].num_rows is missing"),
        ({"entries": [3]}, "entries[0] is an object, found 3"),
        ({"best": {**FIELDS["best"], "more": 1}}, "best.more is unknown"),
        ({"counts": []}, "counts is an object, found []"),
        ({"counts": {"ok": 1.5}}, "counts.ok is a whole number, found 1.5"),
        ({"options": {"one": [1]}}, "options.one is a text or a whole number or null, found [1]"),
        ({"settings": "none"}, 'settings is an object, found "none"'),
        ({"extra": 1}, "extra is unknown"),
        ({"name": ""}, "a name has letters"),
    ],
)
def test_the_field_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(DatasetError) as caught:
        Content.from_json(json.dumps(FIELDS | change).encode(), where="here")
    assert str(caught.value) == f"here has not the fields of format version 3 ({words}): write it again"


def test_a_reader_may_want_a_part_of_a_file() -> None:
    value = {"path": "a", "num_rows": 1, "more": 2}
    assert build(Entry, value, others=True) == Entry(path="a", num_rows=1)
    with pytest.raises(FieldError, match=r"^more is unknown$"):
        build(Entry, value)
    with pytest.raises(FieldError, match=r"^the file is an object, found 3$"):
        build(Entry, 3)
