"""Tars: reproducible, read by others, and never silently wrong."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.errors import ShardError
from shardtools.shards import Member, TarWriter, check_key, part_path, read_members, read_samples, shard_path
from shardtools.shards.names import parse_part_path
from shardtools.shards.tar.members import split_member_name

KEYS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="./\\"), min_size=1, max_size=20
).filter(lambda key: not key.startswith("__"))
MEMBERS = st.dictionaries(st.sampled_from(["jpg", "cls", "json", "seg.png"]), st.binary(max_size=1500), min_size=1)
SAMPLES = st.lists(st.tuples(KEYS, MEMBERS), max_size=5, unique_by=lambda sample: sample[0])


def written(samples: list[tuple[str, dict[str, bytes]]]) -> bytes:
    sink = io.BytesIO()
    writer = TarWriter(sink)
    for key, members in samples:
        writer.write_sample(key, members)
    writer.finish()
    assert writer.num_bytes == len(sink.getvalue())
    return sink.getvalue()


def read(content: bytes) -> list[tuple[str, dict[str, bytes]]]:
    stream = io.BytesIO(content)
    found = []
    for sample in read_samples(read_members(stream, where="x.tar"), where="x.tar"):
        parts = {extension: content[one.offset :][: one.num_bytes] for extension, one in sample.members.items()}
        found.append((sample.key, parts))
    return found


@given(SAMPLES)
def test_what_is_written_is_read(samples: list[tuple[str, dict[str, bytes]]]) -> None:
    assert read(written(samples)) == samples
    assert written(samples) == written([(key, dict(reversed(members.items()))) for key, members in samples])


@given(SAMPLES)
def test_tarfile_reads_the_same(samples: list[tuple[str, dict[str, bytes]]]) -> None:
    with tarfile.open(fileobj=io.BytesIO(written(samples))) as archive:
        found = [(info.name, (archive.extractfile(info) or io.BytesIO()).read()) for info in archive]
    assert found == [(f"{key}.{name}", members[name]) for key, members in samples for name in sorted(members)]


@given(SAMPLES.filter(bool), st.data())
def test_a_cut_tar_is_never_whole(samples: list[tuple[str, dict[str, bytes]]], data: st.DataObject) -> None:
    content = written(samples)
    # All samples are there once the first of the two zero blocks is.
    length = data.draw(st.integers(0, len(content) - 513))
    with pytest.raises(ShardError) as caught:
        read(content[:length])
    assert "\n" not in str(caught.value)


@given(SAMPLES.filter(bool), st.data())
def test_damaged_bytes_never_crash(samples: list[tuple[str, dict[str, bytes]]], data: st.DataObject) -> None:
    content = bytearray(written(samples))
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[position] ^= data.draw(st.integers(1, 255))
    try:
        read(bytes(content))
    except ShardError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "key", ["", "a/b", "a\\b", "..", "a.b", "../x", "/x", "a\nb", "a\0b", "\x7f", "__x", "k" * 95, "\ud800"], ids=ascii
)
def test_keys_that_may_not_be(key: str) -> None:
    with pytest.raises(ShardError, match="key") as caught:
        check_key(key, where="folder/a.tar")
    assert "\n" not in str(caught.value) and "folder/a.tar" in str(caught.value)


def test_long_names_are_refused() -> None:
    with pytest.raises(ShardError, match="at most 100 bytes, found 104"):
        TarWriter(io.BytesIO()).write_sample("k" * 100, {"jpg": b""})


def test_members_of_a_key_are_adjacent() -> None:
    members = [Member("a.jpg", 512, 1), Member("b.jpg", 1536, 1), Member("a.cls", 2560, 1)]
    with pytest.raises(ShardError, match=r"key 'a' are not adjacent in x.tar \(byte 2560\)"):
        list(read_samples(members, where="x.tar"))
    with pytest.raises(ShardError, match=r"two members with extension 'jpg' in x.tar \(byte 1536\)"):
        list(read_samples([Member("a.jpg", 512, 1), Member("a.JPG", 1536, 1)], where="x.tar"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b.seg.png", ("a/b", "seg.png")),
        ("b.JPG", ("b", "jpg")),
        ("v1.0/b.jpg", ("v1.0/b", "jpg")),
        ("README", None),
        (".hidden", None),
        ("a/.hidden.jpg", None),
        ("__index.json__", None),
    ],
)
def test_names_split_as_webdataset_splits_them(name: str, expected: tuple[str, str] | None) -> None:
    assert split_member_name(name) == expected


def test_paths_of_shards_and_parts() -> None:
    assert shard_path("train", 12) == "shards/train-000012.tar"
    assert shard_path("train", 12, 2) == "shards/train-000012-attempt2.tar"
    assert parse_part_path(part_path("val", 1_234_567)) == ("val", 1234567)
    with pytest.raises(ShardError, match="move it away"):
        parse_part_path("manifest/notes.txt")
