"""Runs Python on a folder that is really full or really read-only, for root and for everybody else.

The folder is a small or read-only file system in a private mount namespace of the child process, so nothing of it is
left. Where the machine grants no namespaces (some containers do not), the child meets a limit on the size of its files
instead of a full disk, and a folder below /sys instead of a read-only file system: the kernel refuses there, too.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

_MOUNT_AND_RUN = 'mount -t tmpfs -o "$1" tmpfs "$2" && exec "$3" -W error -c "$4" "$2"'
_LIMIT_AND_RUN = 'ulimit -f 512 && exec "$3" -W error -c "$4" "$2"'


def run_on_full_disk(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run `script` with `folder`, where less than half a million bytes find space, as its one argument."""
    if _can_mount():
        return _run(["unshare", "-rm", "sh", "-c", _MOUNT_AND_RUN], "size=256k", str(folder), script)
    return _run(["sh", "-c", _LIMIT_AND_RUN], "", str(folder), script)


def run_on_read_only(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run `script` with a folder that nobody may write to, `folder` where possible, as its one argument."""
    if _can_mount():
        return _run(["unshare", "-rm", "sh", "-c", _MOUNT_AND_RUN], "ro", str(folder), script)
    return _run([], "", "/sys/shardtools-tests", script)


@functools.cache
def _can_mount() -> bool:
    # In a user namespace of its own even an ordinary user is root, where the machine allows that.
    trial = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


def _run(shell: list[str], options: str, folder: str, script: str) -> subprocess.CompletedProcess[str]:
    arguments = ["sh", options, folder, sys.executable, script] if shell else [sys.executable, "-c", script, folder]
    return subprocess.run([*shell, *arguments], capture_output=True, text=True, timeout=60, check=False)
