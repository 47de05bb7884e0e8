"""What a worker process says to its launcher, and what of it does not mix with that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shardtools.errors import OptionError, RunError, ShardtoolsError
from shardtools.pipelines.channel import error_message
from shardtools.processes import Child, run_children

NOISY = """
import os, sys
from shardtools.pipelines.channel import open_channel
report = open_channel()
print("printed", flush=True)
os.write(1, b"of native code\\n")
pid = os.fork()
for number in range(50):
    report({"event": "step", "of": "fork" if pid == 0 else "parent", "step": number})
if pid == 0:
    print("printed in a fork", flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""
FAILING = """
import atexit
from shardtools.errors import OptionError
from shardtools.pipelines.channel import end_with_error, open_channel
report = open_channel()
atexit.register(report, {{"event": "teardown"}})
try:
    raise {error}
except BaseException as error:
    end_with_error(error, report)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)


def test_messages_are_alone_on_the_standard_output() -> None:
    done = run(NOISY)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    for who in ("fork", "parent"):
        assert [one["step"] for one in messages if one["of"] == who] == list(range(50))
    assert sorted(done.stderr.splitlines()) == ["of native code", "printed", "printed in a fork"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OptionError("no such class"), ("OptionError", "no such class")),
        (ValueError("first\nsecond"), ("RunError", "ValueError: first")),
        (KeyboardInterrupt(), ("RunError", "KeyboardInterrupt: ")),
        (RunError("\n  \n"), ("RunError", "")),
    ],
)
def test_an_error_is_one_line_that_names_its_kind(error: BaseException, expected: tuple[str, str]) -> None:
    message = error_message(error)
    assert message == {"event": "error", "kind": expected[0], "message": expected[1]}


def test_a_message_of_an_error_may_share_a_pipe() -> None:
    assert len(json.dumps(error_message(RuntimeError("x" * 100_000)))) < 4096


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        ("OptionError('no such class')", OptionError, "no such class"),
        ("ValueError('odd')", RunError, "ValueError: odd"),
    ],
)
def test_the_launcher_raises_what_ended_the_worker(
    tmp_path: Path, error: str, kind: type[ShardtoolsError], said: str
) -> None:
    heard: list[object] = []
    child = Child(arguments=("-c", FAILING.format(error=error)), job=None, environment={})
    with pytest.raises(kind) as caught:
        run_children([child], heard.append, where=str(tmp_path))
    assert (type(caught.value), str(caught.value)) == (kind, said)
    # The interpreter's teardown is left out.
    assert heard == []


def test_only_an_error_that_nobody_expected_leaves_a_trace() -> None:
    known, unknown = run(FAILING.format(error="OptionError('no')")), run(FAILING.format(error="ValueError('odd')"))
    assert (known.returncode, known.stderr) == (1, "")
    assert unknown.returncode == 1 and unknown.stderr.startswith("Traceback") and "ValueError: odd" in unknown.stderr


def test_a_study_starts_without_torch() -> None:
    """Its process has torch only where it does the work."""
    heavy = "{'torch', 'accelerate', 'diffusers'}"
    done = run(f"import sys; from shardtools.pipelines import study_work; print(sorted({heavy} & sys.modules.keys()))")
    assert (done.returncode, done.stdout) == (0, "[]\n")
