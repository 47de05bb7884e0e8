"""`.beton` files that are damaged or hold fields of others: named with the place, not read wrongly."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import ShardError, ShardtoolsError
from shardtools.shards.beton import format as beton_format
from shardtools.shards.beton.format import ALLOCATION, HEADER
from shardtools.shards.beton.join import join_betons
from tests.helpers.beton_files import encode_beton, header, opened_beton, payloads, raw_sample


def refused(content: bytes, folder: Path) -> str:
    with pytest.raises(ShardError) as caught:
        opened_beton(content, folder)
    message = str(caught.value)
    assert "\n" not in message
    assert "x.beton" in message
    return message


def small_beton() -> bytes:
    samples = [
        raw_sample(f"k{number}", 2, 2, bytes([number]) * 12, {"x": b"x" * number, "json": b"{}"}) for number in range(4)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beton_format, "MIN_PAGE_BYTES", 1)
        return encode_beton(samples, ("key", "x", "json"), page_bytes=64)[0]


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    content = small_beton()
    for length in range(0, len(content), 13):
        message = refused(content[:length], tmp_path)
        assert "cut off" in message or "byte" in message
    for length in range(len(content) - 100, len(content)):
        refused(content[:length], tmp_path)


def changed(content: bytes, offset: int, dtype: str, value: int) -> bytes:
    new = np.array([value], dtype).tobytes()
    return content[:offset] + new + content[offset + len(new) :]


def test_damage_is_named_with_its_place(tmp_path: Path) -> None:
    content = small_beton()
    table = header(content)[4]
    row = 24 + 5 * 1041
    first = int(np.frombuffer(content, ALLOCATION, 1, table)[0]["ptr"])

    assert "byte 0: expected version 2 of .beton, found 1" in refused(changed(content, 0, "<u2", 1), tmp_path)
    assert "interrupted" in refused(changed(content, 16, "<u8", 0), tmp_path)
    assert "power of two, found 100" in refused(changed(content, 4, "<u4", 100), tmp_path)
    assert "number of 0 fields" in refused(changed(content, 2, "<u2", 0), tmp_path)
    assert "number of 9999 fields" in refused(changed(content, 2, "<u2", 9999), tmp_path)
    assert "byte 8: " in refused(changed(content, 8, "<u8", 2**63), tmp_path)
    assert "has type 9, expected" in refused(changed(content, 24, "u1", 9), tmp_path)
    assert "field name" in refused(changed(content, 25, "u1", 200), tmp_path)
    assert "two fields have one name" in refused(content[:25] + content[1066:1082] + content[41:], tmp_path)
    for pointer in (0, 100, row, first + 1, len(content) + 5, 2**64 - 1):
        message = refused(changed(content, row + 5, "<u8", pointer), tmp_path)
        assert f"byte {row}, sample 0, field 'image'" in message
        assert f"found {pointer}:" in message
    assert "mode 0" in refused(changed(content, row, "u1", 2), tmp_path)
    assert "3 bytes a pixel" in refused(changed(content, row + 1, "<u2", 3), tmp_path)
    assert "a width and a height" in refused(changed(content, row + 3, "<u2", 0), tmp_path)
    # An allocation: its sample, its address, its length.
    assert f"byte {table}: expected a sample below 4" in refused(changed(content, table, "<u8", 4), tmp_path)
    assert "address of a payload of this sample" in refused(changed(content, table, "<u8", 1), tmp_path)
    assert "at or behind byte" in refused(changed(content, table + 8, "<u8", 30), tmp_path)
    assert "within a page of 64" in refused(changed(content, table + 16, "<u8", 80), tmp_path)
    assert "overlap" in refused(changed(content, table + 16, "<u8", 13), tmp_path)
    for size in (2**64 - 1, len(content)):
        assert "an end at or before byte" in refused(changed(content, table + 16, "<u8", size), tmp_path)


@settings(max_examples=150)
@given(data=st.data())
def test_changed_bytes_of_the_tables_give_an_error_or_the_same_payloads(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = small_beton()
    table = header(content)[4]
    folder = tmp_path_factory.mktemp("changed")
    whole = opened_beton(content, folder)
    expected = [payloads(whole, field) for field in (0, 2, 3, 4)]
    places = st.one_of(st.integers(0, 23), st.integers(24 + 5 * 1041, table - 1), st.integers(table, len(content) - 1))
    at = data.draw(places)
    damaged = changed(content, at, "u1", data.draw(st.integers(0, 255)))
    try:
        beton = opened_beton(damaged, folder)
    except ShardtoolsError:
        return
    if not whole.data_start <= at < whole.data_stop:
        assert [payloads(beton, field) for field in (0, 2, 3, 4)] == expected


def test_a_payload_that_no_row_names_is_missed(tmp_path: Path) -> None:
    message = refused(changed(small_beton(), 24 + 5 * 1041 + 24 + 8, "<u8", 0), tmp_path)

    assert "15 payloads in its allocation table, its rows name 14" in message


def custom_beton(width: int) -> bytes:
    """A file with a custom field of `width` bytes a row between image and label."""
    content = small_beton()
    _, _, page, count, table = header(content)
    plain = np.dtype([("f0", "V13"), ("f1", "<i8"), ("f2", "V16"), ("f3", "V16"), ("f4", "V16")], align=True)
    rows = np.frombuffer(content, plain, count, 24 + 5 * 1041)
    custom = np.zeros(count, np.dtype([("f0", "V13"), ("custom", f"V{width}"), ("f1", "<i8")], align=True))
    custom["f0"], custom["f1"] = rows["f0"], rows["f1"]
    descriptors = content[24:1065] + b"\xffmine".ljust(1041, b"\0") + content[1065:2106]
    beginning = np.array([(2, 3, page, count, table)], HEADER).tobytes() + descriptors + custom.tobytes()
    return beginning + content[len(beginning) :]


@pytest.mark.parametrize("width", [1, 8, 24, 300])
def test_fields_before_a_custom_one_are_read(tmp_path: Path, width: int) -> None:
    beton = opened_beton(custom_beton(width), tmp_path)

    assert [one.name for one in beton.fields] == ["image"]
    assert beton.skipped == ("mine", "label")
    assert payloads(beton, 0) == [bytes([number]) * 12 for number in range(4)]
    with pytest.raises(ShardError, match="cannot be joined"):
        join_betons([beton], io.BytesIO())


def test_a_custom_field_in_front_hides_the_rest(tmp_path: Path) -> None:
    assert "custom type" in refused(changed(small_beton(), 24, "u1", 255), tmp_path)
