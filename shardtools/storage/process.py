"""Which process wrote something, and whether it still runs.

Owns the identity of a process. A pid alone does not identify one: pids repeat, and each container counts from 1.
The price of being sure: the start time comes from /proc, so elsewhere than on Linux only the pid is compared.
"""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path

_MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """One process of one boot of one host.

    Attributes:
        hostname: For people.
        machine: Same for all processes of one boot of one machine, and for no others: a digest over the machine id
            (hostname where there is none), the boot id and the pid namespace.
        pid: Process id within the pid namespace.
        start_ticks: When it started, in clock ticks since boot; `None` where there is no /proc.
    """

    hostname: str
    machine: str
    pid: int
    start_ticks: int | None


def this_process() -> ProcessIdentity:
    """Return the identity of the calling process (asked anew each time: a fork changes it)."""
    return ProcessIdentity(
        hostname=socket.gethostname(), machine=_machine(), pid=os.getpid(), start_ticks=start_ticks(os.getpid())
    )


def start_ticks(pid: int) -> int | None:
    """Return when the process started, in clock ticks since boot; `None` if it is gone, dead, or there is no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold spaces and ")": the fields that follow start after the last one.
    fields = stat.rpartition(")")[2].split()
    is_dead = fields[0] in ("Z", "X")
    return None if is_dead else int(fields[19])


def is_running(pid: int, expected_start_ticks: int | None) -> bool:
    """Say whether the process on this host with that pid and that start time still runs."""
    if expected_start_ticks is not None:
        return start_ticks(pid) == expected_start_ticks
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _machine() -> str:
    machine_id = next((content for file in _MACHINE_ID_FILES if (content := _content(file))), socket.gethostname())
    # In another pid namespace the same pid is another process, so a container counts as another machine.
    try:
        pid_namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        pid_namespace = ""
    # A digest, because systemd asks to keep the machine id itself private.
    parts = "/".join((machine_id, _content(_BOOT_ID_FILE), pid_namespace))
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


def _content(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
