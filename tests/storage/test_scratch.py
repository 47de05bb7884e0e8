"""Temporary folders: gone with the run that made them, and one line where there is no room."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from shardtools.errors import NoSpaceError, ShardtoolsError, StorageError, resource_error
from shardtools.storage.scratch import scratch_file, scratch_folder
from tests.helpers.mounts import run_on_full_disk

HOLD = """
import sys, time
from shardtools.storage.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "entries.arrow").write_bytes(b"x")
    print(folder, flush=True)
    time.sleep(60)
"""

FILL = """
import os, sys, tempfile
import numpy as np
from shardtools.errors import NoSpaceError
from shardtools.storage.scratch import scratch_folder
tempfile.tempdir = sys.argv[1]
try:
    with scratch_folder() as folder:
        np.save(folder / "order.npy", np.ones(10_000_000))
except NoSpaceError as error:
    print(error, os.listdir(sys.argv[1]))
"""


def test_a_folder_goes_with_its_block() -> None:
    with scratch_folder() as folder:
        (folder / "file").write_bytes(b"x")
    assert not folder.exists()
    with pytest.raises(ZeroDivisionError), scratch_folder() as folder:
        raise ZeroDivisionError
    assert not folder.exists()
    with scratch_file() as file:
        file.write(b"x")


def test_a_folder_goes_with_a_killed_run(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, env=environment, text=True) as run:
        assert run.stdout is not None
        folder = Path(run.stdout.readline().strip())
        assert (folder / "entries.arrow").exists()
        run.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while folder.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not list(tmp_path.iterdir())


def test_a_full_folder_is_one_line(tmp_path: Path) -> None:
    done = run_on_full_disk(tmp_path, FILL)
    assert done.stderr == ""
    assert done.stdout.startswith("no space left: ") and done.stdout.endswith(
        "set TMPDIR to a folder with more of it []\n"
    )


def test_no_folder_at_all_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(StorageError, match=r"needs a place for temporary files, .*missing failed: No such file"):
        scratch_file()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device", "/tmp/x\x1b[31m"), r"no space left: /tmp/x\\x1b\[31m is full"),
        (OSError("16384 requested and 0 written"), "no space left"),
        (OSError("Not enough free space to write 80 bytes after offset 128"), "no space left"),
        (MemoryError(), "out of memory"),
        (np.exceptions.AxisError("x"), None),
        (OSError(12, "Cannot allocate memory"), "out of memory"),
        (ImportError("x.so: failed to map segment from shared object"), "out of memory while loading"),
        (RuntimeError("can't start new thread"), "no further process or thread"),
        (BlockingIOError(11, "Resource temporarily unavailable"), "no further process or thread"),
        (OSError(24, "Too many open files"), "too many files"),
        (FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"), "no place for temporary files"),
        (RuntimeError("another"), None),
        (FileNotFoundError(2, "No such file", "x"), None),
        (NoSpaceError("known"), None),
    ],
)
def test_what_a_machine_lacks_is_named(error: Exception, words: str | None) -> None:
    found = resource_error(error)
    if words is None:
        assert found is None
    else:
        with pytest.raises(ShardtoolsError, match=words):
            raise found or error
        assert "\n" not in str(found)
