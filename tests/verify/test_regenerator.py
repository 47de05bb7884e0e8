"""The process that makes images again: what is said of one that ends, or answers with something else."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from shardtools.errors import RunError
from shardtools.storage import scratch_file
from shardtools.verify import regenerator
from shardtools.verify.regenerator import Regenerator, RegeneratorRequest


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (
            "import sys, time; sys.stdout.buffer.write(b'\\xff'); sys.stdout.flush(); time.sleep(60)",
            "it answered with something that",
        ),
        ("import sys; sys.exit('out of memory')", "exit code 1: out of memory"),
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9"),
    ],
)
def test_its_last_words_are_said_and_it_is_never_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch, program: str, words: str
) -> None:
    def start(self: Any) -> None:
        self._errors, pipe = scratch_file(), subprocess.PIPE
        command = [sys.executable, "-c", program]
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._errors)

    monkeypatch.setattr(Regenerator, "_start", start)
    monkeypatch.setattr(regenerator, "_END_SECONDS", 5.0 if "exit" in program or "kill" in program else 0.1)
    begun: Any = object.__new__(Regenerator)
    begun._process = begun._errors = None
    with begun as process, pytest.raises(RunError, match=f"the generating process ended: {words}"):
        asked = time.monotonic()
        process._ask(RegeneratorRequest(rows=(), attempt=1))
    assert begun._process.poll() is not None and time.monotonic() - asked < 60
