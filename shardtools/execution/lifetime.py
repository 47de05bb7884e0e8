"""How a worker process ends: with its parent, or after the work in hand.

Owns the two signals that matter to workers. The price: dying with the parent is a request to Linux; elsewhere a worker
whose parent is killed goes on to the end of its work.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from types import FrameType

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Ask Linux to kill this process when its parent dies, so that a killed launcher leaves no writer behind.

    Args:
        parent_pid: The launcher's pid, told by the launcher: one that died before this call is noticed, and a launcher
            that is process 1 of its container is not mistaken for a dead one.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def stop_on_sigterm() -> threading.Event:
    """Return an event that SIGTERM sets; SIGINT is ignored, it is the launcher's to answer."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return stop
