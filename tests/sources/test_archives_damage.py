"""Archives with odd or damaged members: refused with their place, or rows that say why; none is read wrongly."""

from __future__ import annotations

import io
import random
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import ShardError, ShardtoolsError, SourceError
from shardtools.shards.tar.headers import TarEntry, read_entries
from tests.helpers.archive_files import FILES, PACKERS, opened, refused, tar_bytes, zip_bytes
from tests.helpers.opened_sources import by_key, everything
from tests.helpers.pictures import jpeg, write_files, write_tar


def test_links_and_devices_are_rows(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, kind in (("a", tarfile.DIRTYPE), ("a/l.jpg", tarfile.SYMTYPE), ("a/h.jpg", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a/1.jpg"
            archive.addfile(info)
        fifo = tarfile.TarInfo("a/f.jpg")
        fifo.type = tarfile.FIFOTYPE
        archive.addfile(fifo)
        info = tarfile.TarInfo("a/1.jpg")
        info.size = len(jpeg(1))
        archive.addfile(info, io.BytesIO(jpeg(1)))
    found = by_key(opened(write_files(tmp_path, {"x.tar": stream.getvalue()}) / "x.tar", tmp_path / "listing"))

    assert {key: sample.status for key, sample in found.items()} == {
        "a_l": "not-an-image",
        "a_h": "not-an-image",
        "a_f": "not-an-image",
        "a_1": "ok",
    }
    assert "a link or a device" in (found["a_h"].reason or "")
    link = zipfile.ZipInfo("a/l.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr(link, "a/1.jpg")
        packed.writestr("a/1.jpg", jpeg(1))
    found = by_key(opened(tmp_path / "x.zip", tmp_path / "listing"))
    assert {key: sample.status for key, sample in found.items()} == {"a_l": "not-an-image", "a_1": "ok"}


@pytest.mark.parametrize(
    "name", ["../up.jpg", "a/../../up.jpg", "/etc/x.jpg", "a/line\nbreak.jpg", "a/back\\slash.jpg"]
)
@pytest.mark.parametrize("packer", ["x.tar", "x.tar.gz", "x.zip"])
def test_names_that_no_archive_may_have(tmp_path: Path, packer: str, name: str) -> None:
    content = PACKERS[packer]({"a/1.jpg": jpeg(1), name: jpeg(2)})
    message = refused(write_files(tmp_path, {packer: content}) / packer, tmp_path / "listing")

    assert f"{packer}, byte " in message and repr(name) in message and "pack the archive anew" in message


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", encoding="latin-1", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("a/\xe9.jpg")
        archive.addfile(info)
    message = refused(write_files(tmp_path, {"x.tar": stream.getvalue()}) / "x.tar", tmp_path / "listing")
    assert "x.tar, byte 512: expected a relative path in UTF-8" in message

    content = zip_bytes({"a/\u00e9.jpg": jpeg(1)}).replace("\u00e9".encode(), b"\xff\xfe")
    message = refused(write_files(tmp_path, {"x.zip": content}) / "x.zip", tmp_path / "listing")
    assert "x.zip, byte 0: expected a name in UTF-8" in message


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning:zipfile")
def test_a_name_twice_in_one_archive(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [("a/1.jpg", jpeg(1)), ("a/2.jpg", jpeg(2)), ("./a/1.jpg", jpeg(3))])
    with tarfile.open(path) as archive:
        offsets = [member.offset_data for member in archive]
    message = refused(path, tmp_path / "listing")
    assert f"x.tar has 'a/1.jpg' twice, at byte {offsets[0]} and at byte {offsets[2]}" in message

    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("a/1.jpg", jpeg(1))
        packed.writestr("a/1.jpg", jpeg(2))
    assert "x.zip has 'a/1.jpg' twice, at byte 0 and at byte" in refused(tmp_path / "x.zip", tmp_path / "listing")
    # In two archives they are two files.
    write_tar(tmp_path / "two/p.tar", [("a/1.jpg", jpeg(1)), ("b/1.jpg", jpeg(5))])
    write_tar(tmp_path / "two/q.tar", [("a/1.jpg", jpeg(2))])
    found = by_key(opened(tmp_path / "two", tmp_path / "listing"))
    assert {key: sample.image_bytes for key, sample in found.items()} == {
        "a_1": jpeg(1),
        "a_1-2": jpeg(2),
        "b_1": jpeg(5),
    }


def test_damaged_tars(tmp_path: Path) -> None:
    inner = tar_bytes({f"n00004475_{n}.JPEG": jpeg(n) for n in range(3)})
    whole = tar_bytes({"n00004475.tar": inner, "n00005787.tar": inner})
    second = 512 + len(inner) + 512
    header = second + 512 + -(-len(jpeg(0)) // 512) * 512
    third = 3 * (header - second)
    cases = {
        "is cut off: member 'n00005787.tar'": whole[: second + 700],
        f"in n00005787.tar has no end mark at byte {header}": whole[:header] + b"\1" * 512 + whole[header + 512 :],
        "in n00004475.tar is cut off: member 'n00004475_2.JPEG'": tar_bytes({"n00004475.tar": inner[: third - 1000]}),
        f"in n00004475.tar has no end mark at byte {512 + third}": tar_bytes({"n00004475.tar": inner[:third]}),
        "in n00004475.tar is no intact tar at byte 512": tar_bytes({"n00004475.tar": b"<html>" * 100}),
        "goes on behind its end mark": whole + whole,
    }
    for words, content in cases.items():
        write_files(tmp_path, {"x.tar": content})
        message = refused(tmp_path / "x.tar", tmp_path / "listing")
        assert words in message and "byte" in message and f"{tmp_path}/x.tar" in message, message


def test_damaged_compressed_tars(tmp_path: Path) -> None:
    whole = PACKERS["x.tar.gz"](FILES)
    flipped = bytearray(whole)
    flipped[-6] ^= 1
    for content in (whole[:-40], bytes(flipped), b"not gzip", b"", whole[: len(whole) // 2]):
        write_files(tmp_path, {"x.tar.gz": content})
        message = refused(tmp_path / "x.tar.gz", tmp_path / "listing")
        assert "x.tar.gz is damaged at byte" in message or "x.tar.gz is no intact tar" in message, message
    # Nothing is lost where the archive changes under the reader's hands.
    write_files(tmp_path, {"x.tar.gz": whole})
    source = opened(tmp_path / "x.tar.gz", tmp_path / "listing")
    write_files(tmp_path, {"x.tar.gz": whole[: len(whole) // 2]})
    with pytest.raises(SourceError, match=r"x.tar.gz"):
        everything(source)


def test_damaged_zips(tmp_path: Path) -> None:
    whole = zip_bytes(FILES)
    encrypted = bytearray(whole)
    directory = whole.index(b"PK\1\2")
    encrypted[directory + 8] |= 1
    other = bytearray(whole)
    other[directory + 10] = 12
    cases = {
        "no central directory": whole[:-30],
        "byte 0: b'cat/1.jpg' is encrypted": bytes(encrypted),
        "byte 0: b'cat/1.jpg' is compressed by method 12": bytes(other),
        "has no directory entry at byte": whole[:directory] + b"XX" + whole[directory + 2 :],
        "cut off, fetch it again": whole[200:],
        "has 6 members in its directory, its end record says 7": _forget_one(whole),
    }
    for words, content in cases.items():
        write_files(tmp_path, {"x.zip": content})
        assert words in refused(tmp_path / "x.zip", tmp_path / "listing")


def _forget_one(whole: bytes) -> bytes:
    """The zip with the first entry of its directory taken out and the lengths set right, but not the count."""
    first = whole.index(b"PK\1\2")
    second = whole.index(b"PK\1\2", first + 4)
    end = bytearray(whole[whole.rindex(b"PK\5\6") :])
    struct.pack_into("<I", end, 12, struct.unpack_from("<I", end, 12)[0] - (second - first))
    return whole[:first] + whole[second : whole.rindex(b"PK\5\6")] + bytes(end)


def test_members_of_zips_that_do_not_hold_what_they_say(tmp_path: Path) -> None:
    whole = zip_bytes({"a/1.jpg": jpeg(1), "a/bomb.jpg": bytes(5_000_000), "a/2.jpg": jpeg(2)})
    content = bytearray(whole)
    bomb = whole.index(b"PK\1\2", whole.index(b"PK\1\2") + 4)
    struct.pack_into("<I", content, bomb + 24, 1000)
    last = whole.index(b"PK\1\2", bomb + 4)
    struct.pack_into("<I", content, last + 16, zlib.crc32(b"other"))
    found = by_key(opened(write_files(tmp_path, {"x.zip": bytes(content)}) / "x.zip", tmp_path / "listing"))

    assert {key: sample.status for key, sample in found.items()} == {
        "a_1": "ok",
        "a_bomb": "undecodable",
        "a_2": "undecodable",
    }
    assert found["a_bomb"].reason == "the zip's packed bytes hold more than 1000 bytes, its directory says 1000"
    assert "checksum" in (found["a_2"].reason or "")
    # What says that it is large is never read.
    struct.pack_into("<I", content, bomb + 24, 300 << 20)
    found = by_key(opened(write_files(tmp_path, {"x.zip": bytes(content)}) / "x.zip", tmp_path / "listing"))
    assert found["a_bomb"].status == "too-large"


LONG = st.text("abcdefgh\u00e4", min_size=1, max_size=160)


@settings(max_examples=40)
@given(
    names=st.lists(st.tuples(LONG, LONG), min_size=1, max_size=6, unique=True),
    form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_headers_are_read_as_tarfile_reads_them(names: list[tuple[str, str]], form: int) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for number, parts in enumerate(names):
            info = tarfile.TarInfo("/".join(parts))
            info.size = number * 300
            try:
                archive.addfile(info, io.BytesIO(bytes(info.size)))
            except ValueError:
                assert form == tarfile.USTAR_FORMAT
    content = stream.getvalue()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        expected = [TarEntry(info.name, "file", info.offset_data, info.size) for info in archive]
    found = read_entries(lambda start, count: content[start : start + count], where="x.tar", stop=len(content))
    assert list(found) == expected or not expected


def test_headers_of_large_and_odd_members() -> None:
    large = tarfile.TarInfo("large")
    large.size = 20 << 30
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        header = large.tobuf(format=form)
        entries = read_entries(
            lambda start, count, header=header: header[start : start + count], where="x", stop=1 << 40
        )
        assert next(entries).num_bytes == 20 << 30
    sparse = tarfile.TarInfo("s")
    sparse.type = tarfile.GNUTYPE_SPARSE
    content = sparse.tobuf()
    with pytest.raises(ShardError, match="at byte 0: 's' is a sparse file"):
        list(read_entries(lambda start, count: content[start : start + count], where="x.tar", stop=len(content)))


WHOLE = {
    "x.tar": tar_bytes({"n00004475.tar": tar_bytes({f"{n}.jpg": jpeg(n) for n in range(3)}), "b/1.jpg": jpeg(7)}),
    "x.zip": zip_bytes({f"a/{n}.jpg": jpeg(n) for n in range(4)}),
    "x.tar.gz": PACKERS["x.tar.gz"]({f"a/{n}.jpg": jpeg(n) for n in range(4)}),
}


@settings(max_examples=60)
@given(data=st.data(), name=st.sampled_from(list(WHOLE)))
def test_mutated_archives_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    folder = tmp_path_factory.mktemp("mutated")
    content = bytearray(WHOLE[name])
    headers = [0, len(content) - 1]
    if name == "x.zip":
        headers = [content.index(b"PK\1\2"), len(content) - 1]
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(*headers))
        content[position] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(1, len(content) - 1)) :]
    write_files(folder, {name: bytes(content)})
    try:
        source = opened(folder / name, folder / "listing")
        found = everything(source)
    except ShardtoolsError as error:
        assert "\n" not in str(error)
        return
    assert {split: len(samples) for split, samples in found.items()} == dict(source.splits)
    # A changed byte may rename a file or damage a picture, but none goes missing.
    assert sum(source.splits.values()) == 4


def test_random_bytes_are_no_archive(tmp_path: Path) -> None:
    for name in ("x.tar", "x.zip", "x.tgz", "x.tar.xz"):
        write_files(tmp_path, {name: random.Random(name).randbytes(3000)})
        assert name in refused(tmp_path / name, tmp_path / "listing")
