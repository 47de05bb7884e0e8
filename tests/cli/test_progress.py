"""What a job says while it runs: nothing for two seconds, then what it does, then how far it is."""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardtools import cli
from shardtools.cli import progress
from shardtools.cli.progress import RunProgress
from shardtools.execution import Batch, Doing, Notice, Planned, Ready
from tests.helpers.feature_datasets import clusters, make_labeled, with_features
from tests.helpers.pictures import jpeg, write_files

NUM_ROWS = 60
PATIENCE_SECONDS = 30.0


class Heard(io.StringIO):
    """A standard error that says when a line was written."""

    def __init__(self) -> None:
        super().__init__()
        self.is_written = threading.Event()

    def write(self, text: str) -> int:
        count = super().write(text)
        self.is_written.set()
        return count

    def next_line(self) -> str:
        """Waits for something to be said."""
        assert self.is_written.wait(PATIENCE_SECONDS)
        self.is_written.clear()
        return self.getvalue().splitlines()[-1]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds and ten are over at once."""
    for name in ("FIRST_SECONDS", "_LINE_SECONDS", "_LOOK_SECONDS"):
        monkeypatch.setattr(progress, name, 0.01)


def test_a_silent_job_says_what_it_does(hasty: None, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    monkeypatch.setattr(sys, "stderr", heard)
    with RunProgress(noun="images", doing="reading [the] manifest") as shown:
        assert re.fullmatch(r"reading \[the\] manifest: \d+ s so far", heard.next_line())
        shown(Doing(text="comparing", total=4, noun="hashes"))
        heard.is_written.clear()
        while not heard.next_line().startswith("comparing: "):
            pass
        shown(Batch(rows=1))
        while not re.fullmatch(r"1 of 4 hashes, \d+\.\d hashes/s, .* left", heard.next_line()):
            pass
        shown(Doing(text="writing"))
        while not heard.next_line().startswith("writing: "):
            pass
    said = heard.getvalue()
    assert heard.getvalue() == said, "it is over, so is the thread"


def test_a_short_job_says_what_it_always_said(capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress(noun="images", before="loading the model", doing="reading") as shown:
        shown(Planned(rows_to_make=1, num_tasks=1, num_processes=1))
        shown(Ready())
        shown(Batch(rows=1))
        shown(Notice(text="one line"))
    with RunProgress(noun="shards", doing="checking shards") as shown:
        shown(Planned(rows_to_make=7, num_tasks=7, num_processes=2))
        shown(Doing(text="comparing", total=7))
        shown(Batch(rows=7))
    assert capsys.readouterr().err == "1 image in 1 shard on 1 process: loading the model\none line\n"


def test_a_terminal_gets_a_bar_when_it_takes_long(hasty: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with RunProgress(noun="images", doing="reading the manifest") as shown:
            seen = _read_until(ours, "reading the manifest")
            shown(Doing(text="shrinking", total=20, noun="pictures"))
            shown(Batch(rows=5))
            seen += _read_until(ours, "5/20")
            shown(Notice(text="see [red] here"))
            seen += _read_until(ours, "see [red] here")
        assert "so far" not in seen
    os.close(ours)


def _read_until(terminal: int, text: str) -> str:
    seen = ""
    while text not in seen:
        seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(terminal, 65536).decode(errors="replace"))
    return seen


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, a dataset with features, and a table for an overlay."""
    place = tmp_path_factory.mktemp("progress")
    write_files(
        place / "photos", {f"{name}/{number}.jpg": jpeg(number) for name in ("cat", "dog") for number in (1, 2)}
    )
    make_labeled(place / "data", [number % 3 for number in range(NUM_ROWS)])
    with_features(str(place / "data"), clusters(NUM_ROWS, 8, 3))
    (place / "fixes.csv").write_text("key,good\ns0001,1\n")
    return place


@pytest.fixture
def reminded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every job takes so long that it must say so, once, as it begins."""
    monkeypatch.setattr(progress.Watch, "start", lambda watch: watch._remind())
    yield


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("audit data", "reading features"),
        ("nearest data", "reading features"),
        ("duplicates data --kind exact,embedding --min-similarity 0.999", "reading the manifest"),
        ("report data", "reading the manifest"),
        ("index build data --kind flat", "reading features"),
        ("index graph data -k 3", "reading features"),
        ("index search data --key s0001", "reading features"),
        ("verify data --sample 3", "checking shards"),
        ("write photos written", "listing the source"),
        ("convert data copied --to imagefolder", "listing the source"),
        ('apply data "select key from samples where class_index = 0" --out kept', "reading the view"),
        ("diff data data", "comparing the manifests"),
        ("describe data", "reading the manifest"),
        ("plan-bytes data --images-per-second 10 --sample 2", "trying sizes and qualities"),
        ("bench read data --seconds 0.01", "measuring"),
        ('sql "select 1 as one" data', "asking"),
        ("query classes data", "asking"),
        ("quality data", "reading the manifest"),
        ("status data", "listing files"),
        ("overlay import data fixes fixes.csv", "reading the table"),
    ],
)
def test_a_long_job_says_what_it_does(
    line: str,
    said: str,
    place: Path,
    reminded: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    with pytest.raises(SystemExit):
        cli.main(shlex.split(line))
    assert re.match(rf"{said}: \d+ s so far\n", capsys.readouterr().err)
