"""What goes wrong with object stores: keys, buckets, endpoints, servers that die, answers that get lost."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import select
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardtools.errors import AccessError, AlreadyExistsError, NotFoundError, OptionError, StorageError
from shardtools.storage import Storage, open_storage
from shardtools.storage.s3_config import RETRY_VARIABLE, read_config, read_retry_seconds
from tests.helpers.s3_server import S3Server

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
SECRETS = ("test-access-key", "test-secret-value", "wrong-key-5417", "wrong-secret-5417")


@pytest.fixture
def storage(s3_environment: S3Server, tmp_path: Path) -> Storage:
    return open_storage(s3_environment.url(f"s3/{tmp_path.name}-{os.getpid()}"))


@pytest.mark.parametrize(
    ("variable", "value"), [("AWS_ACCESS_KEY_ID", "wrong-key-5417"), ("AWS_SECRET_ACCESS_KEY", "wrong-secret-5417")]
)
def test_wrong_credentials(storage: Storage, monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    for number in range(7):
        with pytest.raises(AccessError) as error_info:
            _call(storage, number)
        message = str(error_info.value)
        assert "refused the credentials (403" in message and variable in message and "\n" not in message
        assert [secret for secret in SECRETS if secret in message + repr(error_info.value.__cause__)] == []


@pytest.mark.parametrize("number", range(8))
def test_no_bucket(s3_environment: S3Server, number: int) -> None:
    storage = open_storage("s3://no-such-bucket/prefix")
    with pytest.raises(NotFoundError, match="there is no bucket 'no-such-bucket' at http://127") as error_info:
        _call(storage, number)
    assert "\n" not in str(error_info.value)


def _call(storage: Storage, number: int) -> None:
    calls = [
        storage.check_writable,
        storage.list,
        lambda: storage.read("a"),
        lambda: storage.exists("a"),
        lambda: storage.write("a", b"1"),
        lambda: storage.write("a", b"1", if_absent=True),
        lambda: storage.write("large", bytes(9_000_000)),
        storage.clean_temporary,
    ]
    calls[number]()


def test_no_credentials_is_said_at_once(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    start = time.monotonic()
    with pytest.raises(AccessError, match="AWS_SECRET_ACCESS_KEY not set"):
        storage.check_writable()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(AccessError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY not set"):
        storage.read("a")
    assert time.monotonic() - start < 1


def test_nobody_listens(storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv(RETRY_VARIABLE, "0.5")
    with caplog.at_level(logging.WARNING), pytest.raises(StorageError, match=f"{endpoint} does not answer"):
        storage.read("a")
    # Said once a call, not once a try.
    assert [record.getMessage() for record in caplog.records] == [f"{endpoint}: no answer, trying again for up to 0 s"]


def test_killed_server_comes_back_while_a_put_waits(storage: Storage, s3_environment: S3Server) -> None:
    s3_environment.kill()
    thread = threading.Thread(target=storage.write, args=("a", b"1"), kwargs={"if_absent": True})
    thread.start()
    time.sleep(0.5)
    s3_environment.restart()
    thread.join()

    assert storage.read("a") == b"1"
    assert [stored.path for stored in storage.list()] == ["a"]


def test_server_killed_in_the_middle_of_writes(storage: Storage, s3_environment: S3Server) -> None:
    contents = {f"shards/{index}.tar": bytes([index]) * 10_000_019 for index in range(6)}
    failures: list[BaseException] = []
    some_written = threading.Event()

    def write_all() -> None:
        try:
            for path, content in contents.items():
                with storage.writer(path) as stream:
                    stream.write(content)
                some_written.set()
        except BaseException as error:
            failures.append(error)
            raise

    thread = threading.Thread(target=write_all)
    thread.start()
    assert some_written.wait(60)
    # Somewhere inside the next uploads.
    time.sleep(0.1)
    s3_environment.restart()
    thread.join()

    assert failures == []
    assert [stored.path for stored in storage.list()] == list(contents)
    assert all(storage.read(path) == content for path, content in contents.items())


def test_own_put_whose_answer_got_lost_is_no_conflict(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    with lossy_proxy() as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        storage.write("mine", b"1", if_absent=True)
        assert storage.read("mine") == b"1"


@pytest.mark.parametrize("theirs", [b"2", b"longer"])
def test_foreign_object_is_a_conflict_after_a_lost_answer(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, theirs: bytes
) -> None:
    storage.write("taken", theirs)
    with lossy_proxy() as endpoint, pytest.raises(AlreadyExistsError):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        open_storage(storage.url).write("taken", b"1", if_absent=True)
    assert storage.read("taken") == theirs


@contextlib.contextmanager
def lossy_proxy() -> Iterator[str]:
    """The endpoint of a way to the server that carries the first request there, loses its answer, and then works."""
    server_port = int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2])
    num_lost = 0

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            nonlocal num_lost
            client: socket.socket = self.request
            with socket.create_connection(("127.0.0.1", server_port)) as server:
                while True:
                    for readable in select.select([client, server], [], [])[0]:
                        content = readable.recv(65536)
                        if readable is server and num_lost == 0:
                            # The server has done its work; nobody will hear of it.
                            num_lost += 1
                            return
                        if content == b"":
                            return
                        (server if readable is client else client).sendall(content)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as proxy:
        proxy.daemon_threads = True
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}"
        finally:
            proxy.shutdown()
            thread.join()
    assert num_lost == 1


def test_reading_notices_another_version(storage: Storage) -> None:
    storage.write("a", b"1" * 9_000_000)
    with storage.open("a") as stream:
        stream.read(10)
        storage.write("a", b"2" * 9_000_000)
        with pytest.raises(StorageError, match="it changed while it was read"):
            stream.read()


def test_forked_process_is_told_to_spawn(storage: Storage) -> None:
    storage.write("a", b"1")
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            storage.read("a")
        except StorageError as error:
            os.write(write_end, str(error).encode())
        os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as answer:
        assert b'start processes with multiprocessing.get_context("spawn")' in answer.read()
    os.waitpid(pid, 0)


def test_secrets_stay_in_the_environment(storage: Storage) -> None:
    storage.write("a", b"1")
    for shown in (repr(storage), storage.url, repr(pickle.dumps(storage)), storage.object_url("a")):
        assert [secret for secret in SECRETS if secret in shown] == []


@pytest.mark.parametrize("url", ["s3://key:secret@bucket/x", "s3://bucket?secret/x", "s3:///x", "s3://"])
def test_bad_address_is_not_repeated(url: str) -> None:
    with pytest.raises(StorageError, match="expected s3://bucket/prefix") as error_info:
        open_storage(url)
    assert "key:" not in str(error_info.value) and "?secret" not in str(error_info.value)


def test_bad_prefix() -> None:
    with pytest.raises(StorageError, match="bad path"):
        open_storage("s3://bucket/a/../b")
    assert open_storage("s3://bucket/a/b/").url == "s3://bucket/a/b"
    assert open_storage("s3://bucket").object_url("x") == "s3://bucket/x"
    assert open_storage("s3://bucket").local_path("x") is None


@pytest.mark.parametrize("endpoint", ["localhost:8333", "ftp://host", "http://", "notaurl", "http://host:port"])
def test_bad_endpoint(endpoint: str) -> None:
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL: expected http"):
        read_config({**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint})


def test_endpoint_with_a_password_is_not_repeated() -> None:
    with pytest.raises(StorageError, match="without user, password") as error_info:
        read_config({**CREDENTIALS, "AWS_ENDPOINT": "https://user:password-5417@host"})
    assert "5417" not in str(error_info.value)


def test_what_the_environment_says() -> None:
    both = {**CREDENTIALS, "AWS_ENDPOINT_URL": "http://one/", "AWS_ENDPOINT": "http://two", "AWS_DEFAULT_REGION": "r"}
    assert (read_config(both).endpoint, read_config(both).region) == ("http://one", "r")
    assert read_config(CREDENTIALS).name == "Amazon S3 in region us-east-1"
    assert read_config({"AWS_SKIP_SIGNATURE": "true"}).endpoint is None
    assert read_config({"AWS_METADATA_ENDPOINT": "http://169.254.169.254"}).endpoint is None
    with pytest.raises(AccessError, match="AWS_ACCESS_KEY_ID not set"):
        read_config({"AWS_SECRET_ACCESS_KEY": "secret", "AWS_METADATA_ENDPOINT": "http://169.254.169.254"})


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_bad_retry_seconds(text: str) -> None:
    with pytest.raises(OptionError, match=f"{RETRY_VARIABLE}: expected a number of seconds of at least 0, found"):
        read_retry_seconds({RETRY_VARIABLE: text})


def test_retry_seconds() -> None:
    assert read_retry_seconds({}) == 60
    assert read_retry_seconds({RETRY_VARIABLE: "2.5"}) == 2.5
