"""A command in a process of its own that need not import torch: a fork of a server that has done so once a file."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path


class ForkedCommand:
    """`shardtools WORDS` on its way; what it prints goes to files. Used as `subprocess.Popen` is."""

    def __init__(self, words: Sequence[str], *, preload: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts it.

        Args:
            words: Of the command line.
            preload: Modules that the server imports; those of the first command of a test process count.
            environment: Added to this process's own.
        """
        self._folder = Path(tempfile.mkdtemp())
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([*preload])
        self._process: ForkServerProcess = context.Process(
            target=_main, args=([*words], {**os.environ, **environment}, str(self._folder))
        )
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """Exit code, or `None` while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Exit code, or `None` while it runs."""
        return self._process.exitcode

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def communicate(self) -> tuple[str, str]:
        """Waits for its end; standard output and standard error."""
        self._process.join()
        return (self._folder / "1").read_text(), (self._folder / "2").read_text()


def _main(words: list[str], environment: dict[str, str], folder: str) -> None:
    from shardtools.cli import main

    # The server was started earlier, with what was set and open then.
    os.environ.update(environment)
    for number in (1, 2):
        file = os.open(f"{folder}/{number}", os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["shardtools", *words]
    main()
