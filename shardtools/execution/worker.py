"""One process of `run_in_processes`: `python -m shardtools.execution.worker` with the work on its input.

Owns nothing but its own life: it dies with the launcher, and ends after the task in hand when it is asked to.
"""

from __future__ import annotations

import pickle
import sys

from shardtools.execution.channel import end_with_error, open_channel
from shardtools.execution.lifetime import die_with_parent, stop_on_sigterm
from shardtools.execution.work import work_off


def main() -> None:
    """Works off this process's share."""
    stop = stop_on_sigterm()
    report = open_channel()
    try:
        # Unpickling imports the room that the work is from.
        work, rank, num_processes, launcher_pid = pickle.load(sys.stdin.buffer)
        die_with_parent(launcher_pid)
        work_off(work, rank, num_processes, report, stop)
    except BaseException as error:
        end_with_error(error, report)


if __name__ == "__main__":
    main()
