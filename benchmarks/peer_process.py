"""A peer that needs an environment of its own: a script that answers a line of JSON with a line of JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Ask = Callable[[dict[str, Any]], dict[str, Any]]


@contextmanager
def peer_process(python: str, script: str, *arguments: str, needs: str) -> Iterator[Ask]:
    """Starts a script and gives what asks it.

    Args:
        python: Of its environment.
        script: In this folder.
        arguments: Its own.
        needs: What is said when it ends without an answer.
    """
    command = [python, "-W", "ignore", str(Path(__file__).with_name(script)), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None

        def ask(request: dict[str, Any]) -> dict[str, Any]:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                sys.exit(f"{script} ended: {python} needs {needs}")
            return dict(json.loads(line))

        yield ask
        process.stdin.close()
