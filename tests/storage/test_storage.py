"""What every storage promises, on a local folder and on a real S3 server; and what only a folder can do wrong."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shardtools.errors import AlreadyExistsError, NotFoundError, StorageError
from shardtools.storage import Storage, StoredObject, open_storage
from shardtools.storage.process import is_running, start_ticks, this_process
from tests.helpers.mounts import run_on_full_disk, run_on_read_only

BAD_PATHS = [
    "",
    "/etc/passwd",
    "../x",
    "a/../b",
    "a//b",
    "./a",
    "a/",
    "a\nb",
    "a\0b",
    "a\x7f",
    "a\\b",
    "\ud800",
    ".tmp/x",
]
NAMES = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="/\\"), min_size=1, max_size=20)


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty place of each kind."""
    if request.param == "local":
        return open_storage(tmp_path / "dataset")
    return open_storage(request.getfixturevalue("s3_environment").url(f"contract/{tmp_path.name}-{os.getpid()}"))


def test_what_is_written_is_read(storage: Storage) -> None:
    storage.write("shards/train/000001.tar", b"0123456789")

    assert storage.read("shards/train/000001.tar") == b"0123456789"
    assert storage.read_range("shards/train/000001.tar", 3, 4) == b"3456"
    assert storage.read_range("shards/train/000001.tar", 10, 0) == b""
    assert storage.size("shards/train/000001.tar") == 10
    assert storage.exists("shards/train/000001.tar")
    assert not storage.exists("shards/train")


def test_write_replaces(storage: Storage) -> None:
    storage.write("a", b"long old content")
    storage.write("a", b"new")
    storage.write("empty", b"")

    assert storage.read("a") == b"new"
    assert storage.read("empty") == b""
    assert storage.list() == [StoredObject("a", 3), StoredObject("empty", 0)]


def test_missing_is_named_with_its_full_url(storage: Storage) -> None:
    storage.write("other", b"")
    for ask in (storage.read, storage.size, storage.open, lambda path: storage.read_range(path, 0, 1)):
        with pytest.raises(NotFoundError) as error_info:
            ask("folder/missing.tar")
        assert storage.object_url("folder/missing.tar") in str(error_info.value)
    assert not storage.exists("folder/missing.tar")
    storage.delete("folder/missing.tar")


@pytest.mark.parametrize(("offset", "num_bytes"), [(8, 3), (10, 1), (50, 1)])
def test_short_read_is_an_error(storage: Storage, offset: int, num_bytes: int) -> None:
    storage.write("a.tar", b"0123456789")
    with pytest.raises(
        StorageError, match=rf"a\.tar is truncated: expected {num_bytes} bytes at offset {offset}, found"
    ):
        storage.read_range("a.tar", offset, num_bytes)


def test_negative_range_is_an_error(storage: Storage) -> None:
    with pytest.raises(StorageError, match="at least 0, found -1 and 2"):
        storage.read_range("a", -1, 2)


def test_list_is_recursive_sorted_and_below_a_folder(storage: Storage) -> None:
    assert storage.list() == []
    assert storage.list("manifest/") == []
    for path in (
        "manifest/train/000002.parquet",
        "manifest/train/000001.parquet",
        "manifesto",
        "dataset.json",
        "a/b/c",
    ):
        storage.write(path, path.encode())

    assert [stored.path for stored in storage.list()] == [
        "a/b/c",
        "dataset.json",
        "manifest/train/000001.parquet",
        "manifest/train/000002.parquet",
        "manifesto",
    ]
    assert storage.list("manifest/") == [
        StoredObject("manifest/train/000001.parquet", 29),
        StoredObject("manifest/train/000002.parquet", 29),
    ]
    assert storage.list("manifest") == storage.list("manifest/")


def test_delete_leaves_nothing(storage: Storage) -> None:
    storage.write("a/b", b"1")
    storage.write("a/c/d", b"2")
    storage.delete("a/c/d")
    assert storage.list() == [StoredObject("a/b", 1)]
    storage.delete("a/b")
    assert storage.list() == []


def test_put_if_absent(storage: Storage) -> None:
    storage.write("a", b"first", if_absent=True)
    for content in (b"second", b"first"):
        with pytest.raises(AlreadyExistsError, match="exists already"):
            storage.write("a", content, if_absent=True)
    with pytest.raises(AlreadyExistsError), storage.writer("a", if_absent=True) as stream:
        stream.write(b"third")
    assert storage.read("a") == b"first"
    assert storage.list() == [StoredObject("a", 5)]


def test_put_if_absent_has_one_winner_of_eight(storage: Storage) -> None:
    start = threading.Barrier(8)
    winners: list[bytes] = []

    def put(content: bytes) -> None:
        start.wait()
        try:
            storage.write("race", content, if_absent=True)
        except AlreadyExistsError:
            return
        winners.append(content)

    threads = [threading.Thread(target=put, args=(str(index).encode(),)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(winners) == 1
    assert storage.read("race") == winners[0]


def test_writer_publishes_when_the_block_ends(storage: Storage) -> None:
    with storage.writer("shards/a.tar") as stream:
        with tarfile.open(fileobj=stream, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("empty.txt"))
        assert not storage.exists("shards/a.tar")
        assert storage.list() == []
    with storage.open("shards/a.tar") as stream, tarfile.open(fileobj=stream) as tar:
        assert tar.getnames() == ["empty.txt"]


def test_writer_discards_when_the_block_raises(storage: Storage) -> None:
    storage.write("a", b"old")
    with pytest.raises(FileNotFoundError, match="not the storage's"), storage.writer("a") as stream:
        stream.write(b"new")
        raise FileNotFoundError("not the storage's")
    assert storage.read("a") == b"old"
    assert storage.list() == [StoredObject("a", 3)]


def test_large_objects_are_streamed_and_sought(storage: Storage) -> None:
    # Above one part of an upload and above one read ahead, and no multiple of either.
    content = bytes(range(251)) * 84_000
    with storage.writer("large") as stream:
        for start in range(0, len(content), 1_000_003):
            stream.write(content[start : start + 1_000_003])

    assert storage.size("large") == len(content)
    with storage.open("large") as stream:
        assert stream.seekable()
        assert stream.seek(-7, io.SEEK_END) == len(content) - 7
        assert stream.read() == content[-7:]
        assert stream.read(1) == b""
        stream.seek(5_000_000)
        assert stream.read(6_000_000) == content[5_000_000:11_000_000]
        stream.seek(0)
        assert b"".join(iter(lambda: stream.read(999_999), b"")) == content


@pytest.mark.parametrize("path", BAD_PATHS, ids=repr)
def test_bad_paths_are_refused(storage: Storage, path: str) -> None:
    calls = [
        lambda: storage.read(path),
        lambda: storage.read_range(path, 0, 0),
        lambda: storage.size(path),
        lambda: storage.exists(path),
        lambda: storage.write(path, b""),
        lambda: storage.open(path),
        lambda: storage.delete(path),
        lambda: storage.local_path(path),
        lambda: storage.writer(path).__enter__(),
    ]
    for call in calls:
        with pytest.raises(StorageError, match="bad path") as error_info:
            call()
        assert "\n" not in str(error_info.value)
    assert storage.list() == []


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES.filter(lambda name: name not in (".", "..", ".tmp")), content=st.binary(max_size=100))
def test_any_name_round_trips(storage: Storage, name: str, content: bytes) -> None:
    path = f"{name}/{name}"
    storage.write(path, content)
    assert storage.read(path) == content
    assert storage.list() == [StoredObject(path, len(content))]
    storage.delete(path)
    assert storage.list() == []


def test_check_writable_leaves_nothing(storage: Storage) -> None:
    storage.check_writable()
    storage.clean_temporary()
    assert storage.list() == []


def test_storage_travels_to_other_processes(storage: Storage) -> None:
    storage.write("a", b"1")
    script = "import pickle, sys; sys.stdout.buffer.write(pickle.load(sys.stdin.buffer).read('a'))"
    # Another working folder: a relative address must not mean another place there.
    answer = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps(storage), stdout=subprocess.PIPE, cwd="/", check=True
    )
    assert answer.stdout == b"1"


BAD_URLS = ["gs://bucket/x", "https://host/x", "s3:/bucket", "s3://", "", "a\0b", "file://host/x", "file:/x"]


@pytest.mark.parametrize("url", BAD_URLS, ids=repr)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(StorageError, match="expected"):
        open_storage(url)


def test_addresses_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_storage("some folder").write("a", b"1")
    absolute = open_storage(f"file://{tmp_path}/some%20folder")

    assert absolute.read("a") == b"1"
    assert absolute.local_path("a") == tmp_path / "some folder" / "a"
    assert open_storage("some folder").url == "some folder"
    assert open_storage(tmp_path).is_local


def test_reading_makes_no_folder(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "new")
    assert storage.list() == []
    assert not storage.exists("a")
    storage.clean_temporary()
    assert list(tmp_path.iterdir()) == []


def test_files_have_ordinary_permissions_and_no_empty_folders_stay(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "dataset")
    storage.write("a/b", b"1")
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert (tmp_path / "dataset/a/b").stat().st_mode == plain.stat().st_mode
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "dataset", "plain"]
    storage.delete("a/b")
    assert list((tmp_path / "dataset").iterdir()) == []


def test_a_file_where_a_folder_is_needed_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    storage = open_storage(tmp_path / "file" / "dataset")
    for call in (storage.check_writable, storage.list, lambda: storage.read("a"), lambda: storage.write("a", b"")):
        with pytest.raises(StorageError, match=f"expected a folder, found a file at {tmp_path}/file;"):
            call()
    (tmp_path / "folder" / "a").mkdir(parents=True)
    with pytest.raises(StorageError, match="expected a file, found a folder"):
        open_storage(tmp_path / "folder").write("a", b"")


WRITE_UNTIL_KILLED = """
import sys
from shardtools.storage import open_storage
with open_storage(sys.argv[1]).writer("shards/a.tar") as stream:
    stream.write(bytes(1_000_000))
    stream.flush()
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_killed_writer_leaves_nothing_under_the_name(storage: Storage, tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", WRITE_UNTIL_KILLED, storage.url]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        # What a living process has not published yet is not swept away.
        storage.clean_temporary()
        leftovers = len(list(tmp_path.glob("dataset/.tmp/*")))
        assert leftovers == (1 if storage.is_local else 0)
        process.send_signal(signal.SIGKILL)

    assert storage.list() == []
    assert not storage.exists("shards/a.tar")
    storage.clean_temporary()
    assert list(tmp_path.rglob("*")) in ([], [tmp_path / "dataset"])


REPORT = """
import sys
from shardtools.errors import ShardtoolsError
from shardtools.storage import open_storage
storage = open_storage(sys.argv[1])
for call in (storage.check_writable, lambda: storage.write("big", bytes(1_000_000)), lambda: storage.write("b", b"1")):
    try:
        call()
        print("fine")
    except ShardtoolsError as error:
        print(type(error).__name__, error)
print(storage.list())
"""


def test_full_disk(tmp_path: Path) -> None:
    result = run_on_full_disk(tmp_path, REPORT)

    assert result.stderr == ""
    check, big, small, listed = result.stdout.splitlines()
    assert check == "fine"
    assert big.startswith(f"NoSpaceError cannot write {tmp_path}/") and "free some space" in big
    # The failed write gave its space back.
    assert (small, listed) == ("fine", "[StoredObject(path='b', num_bytes=1)]")


def test_read_only_target(tmp_path: Path) -> None:
    result = run_on_read_only(tmp_path, REPORT)

    assert result.stderr == ""
    *errors, listed = result.stdout.splitlines()
    assert [error.split()[0] for error in errors] == ["AccessError"] * 3
    assert "choose a target you may write to" in errors[0]
    assert listed == "[]"


def test_process_identity() -> None:
    me = this_process()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        child_ticks = start_ticks(child.pid)
        assert is_running(child.pid, child_ticks)
        child.kill()
        # Dead though not yet waited for: a zombie writes nothing.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not is_running(child.pid, child_ticks)
    assert not is_running(child.pid, child_ticks)
    assert is_running(me.pid, me.start_ticks)
    assert not is_running(me.pid, (me.start_ticks or 0) + 1)
    assert me == this_process()


def test_links_that_go_round_are_named(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/1").write_bytes(b"x")
    os.symlink("2", tmp_path / "a/2")
    storage = open_storage(str(tmp_path))
    assert [stored.path for stored in storage.list()] == ["a/1"]
    os.symlink("..", tmp_path / "a/b/up")
    with pytest.raises(StorageError, match=r"a/b/up.*: it is a link to a folder above it"):
        storage.list()
