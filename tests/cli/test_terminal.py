"""What comes out of files of other people never reaches a terminal as it is."""

from __future__ import annotations

import io
import sys

import pytest

from shardtools.cli import main
from shardtools.cli.terminal import data_output, guarded_output, unguarded
from shardtools.errors import printable

HOSTILE = "red\x1b[31m bell\x07 c1\x9b2J return\rover \u202egnp \ud800"
SHOWN = "red\\x1b[31m bell\\x07 c1\\x9b2J return\\rover \\u202egnp \\ud800"


def test_only_what_cannot_be_seen_is_written_out() -> None:
    assert printable(HOSTILE) == SHOWN
    assert printable("Katze, 猫\tis\nfine\r\n") == "Katze, 猫\tis\nfine\r\n"


def test_both_streams_are_guarded(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded_output():
        print(HOSTILE)
        print(HOSTILE, file=sys.stderr)
        sys.stdout.writelines(["a\x1b", "b\n"])
        bar = unguarded(sys.stderr)
    assert capsys.readouterr() == (f"{SHOWN}\na\\x1bb\n", f"{SHOWN}\n")
    assert bar is sys.stderr


def test_rows_for_a_program_keep_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    with guarded_output():
        data_output().write("a\x1b")
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
        data_output().write("b\x1b")
    assert stream.getvalue() == "a\x1bb\\x1b"


def test_an_error_of_a_command_is_one_printable_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["status", "no\x1b[31mfolder"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("shardtools: ")
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "words"),
    [(MemoryError("x"), "out of memory"), (RuntimeError("can't start new thread"), "ulimit -u")],
)
def test_what_the_machine_lacks_is_one_line(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_url: str) -> None:
        raise error

    monkeypatch.setattr("shardtools.dataset.read_status", fail)
    monkeypatch.setattr("shardtools.cli.status.read_status", fail, raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["status", "folder"])
    assert ended.value.code == 1
    found = capsys.readouterr().err
    assert words in found and found.count("\n") == 1
