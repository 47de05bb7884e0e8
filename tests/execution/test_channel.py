"""What a worker process says to its launcher, and what of it does not mix with that."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.errors import OptionError, RunError, ShardtoolsError
from shardtools.execution import Child, Failed, Message, Notice, TaskDone, TaskFacts, failure, ignore, run_children
from shardtools.execution.channel import pack, unpack

NOISY = """
import os, sys
from shardtools.execution import Notice, open_channel
report = open_channel()
print("printed", flush=True)
os.write(1, b"of native code\\n")
pid = os.fork()
for number in range(50):
    report(Notice(text=f"{'fork' if pid == 0 else 'parent'} {number}"))
if pid == 0:
    print("printed in a fork", flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""
FAILING = """
import atexit
from shardtools.errors import OptionError
from shardtools.execution import Notice, end_with_error, open_channel
report = open_channel()
atexit.register(report, Notice(text="teardown"))
try:
    raise {error}
except BaseException as error:
    end_with_error(error, report)
"""


def run(program: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120, check=False)


def test_messages_are_alone_on_the_standard_output() -> None:
    done = run(NOISY)
    buffer = bytearray(done.stdout)
    told = [message.text for message in unpack(buffer) if isinstance(message, Notice)]
    assert not buffer
    for who in ("fork", "parent"):
        assert [text for text in told if text.startswith(who)] == [f"{who} {number}" for number in range(50)]
    assert sorted(done.stderr.splitlines()) == [b"of native code", b"printed", b"printed in a fork"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OptionError("no such class"), ("OptionError", "no such class")),
        (ValueError("first\nsecond"), ("RunError", "ValueError: first")),
        (KeyboardInterrupt(), ("RunError", "KeyboardInterrupt")),
        (RunError("\n  \n"), ("RunError", "RunError")),
    ],
)
def test_an_error_is_one_line_that_names_its_kind(error: BaseException, expected: tuple[str, str]) -> None:
    assert failure(error) == Failed(kind=expected[0], text=expected[1])


@pytest.mark.parametrize("letter", ["x", "\N{GRINNING FACE}"])
def test_a_message_of_an_error_may_share_a_pipe(letter: str) -> None:
    """Shorter than what Linux writes to a pipe at once."""
    message = failure(RuntimeError(letter * 100_000))
    assert len(message.text) > 700 and len(pack(message)) < 4096


@given(st.lists(st.integers(0, 70_000)), st.randoms(use_true_random=False))
def test_messages_come_whole_however_their_bytes_do(sizes: list[int], chance: random.Random) -> None:
    sent: list[Message] = [TaskDone(task=n, facts=TaskFacts(result=b"x" * size)) for n, size in enumerate(sizes)]
    content, buffer, heard = b"".join(map(pack, sent)), bytearray(), list[Message]()
    while content:
        length = chance.choice((1, 3, 5, 100, 65_536))
        buffer += content[:length]
        content = content[length:]
        heard += unpack(buffer)
    assert heard == sent and not buffer


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
    assert (known.returncode, known.stderr) == (1, b"")
    assert unknown.returncode == 1 and unknown.stderr.startswith(b"Traceback") and b"ValueError: odd" in unknown.stderr


def test_a_study_starts_without_torch() -> None:
    """Its process has torch only where it does the work."""
    heavy = "{'torch', 'accelerate', 'diffusers'}"
    done = run(
        f"import sys; import shardtools.pipelines.studies.imagenet_sd.work; print(sorted({heavy} & sys.modules.keys()))"
    )
    assert (done.returncode, done.stdout) == (0, b"[]\n")


def test_a_child_that_dies_is_named_and_not_those_that_are_stopped_with_it(tmp_path: Path) -> None:
    """The second one kills itself; the first is then ended by the launcher, before it listens to SIGTERM."""
    waits = Child(arguments=("-c", "import time; time.sleep(60)"), job=None, environment={})
    dies = Child(
        arguments=("-c", "import os, time; time.sleep(0.3); os.kill(os.getpid(), 9)"), job=None, environment={}
    )
    with pytest.raises(RunError, match=r"process 1 of 2 was killed by signal 9: what is committed in .* stays"):
        run_children([waits, dies], ignore, where=str(tmp_path))
