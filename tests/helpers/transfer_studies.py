"""Small studies of transfer: a dataset of drawings, study files, and a runner that trains nothing.

Owns `pretend`, a `transfer.Runner` with real files: it notes every call in `calls/` beside the study, so that a test
can count how often each cell was done, and its values follow from the settings alone.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections import Counter
from pathlib import Path

from shardtools.errors import RunError
from shardtools.sources import SourceOptions
from shardtools.transfer.cells import Cell
from shardtools.transfer.options import TransferOptions
from shardtools.transfer.outcomes import DONE, Outcome
from shardtools.writing import WriteOptions
from tests.helpers.pictures import jpeg, write_files
from tests.helpers.writing_jobs import write_in_process

NUM_IMAGES = 24
SPLITS = ("train", "val", "test")

STUDY = """\
recipe = "micro"

[changes]
batch_size = 8

[[models]]
name = "small"
encoder = "resnet-micro"
accuracy = 0.61

[[sets]]
name = "drawings"
dataset = "{dataset}"
test_split = "test"
"""


def write_sets(folder: Path) -> str:
    """A dataset of drawings in three classes, with three splits."""
    files = {
        f"{split}/class{number % 3}/{number}.jpg": jpeg(number + 100 * place)
        for place, split in enumerate(SPLITS)
        for number in range(NUM_IMAGES)
    }
    source = str(write_files(folder / "files", files))
    out = str(folder / "drawings")
    write_in_process(WriteOptions(source=SourceOptions(source=source), out=out, samples_per_shard=NUM_IMAGES))
    return out


def pretend(cell: Cell, folder: str, options: TransferOptions) -> Outcome:
    """Does a cell without any training; decays of 1e-6 fail."""
    del options
    calls = Path(folder).parents[1] / "calls"
    calls.mkdir(exist_ok=True)
    (calls / f"{cell.digest}-{secrets.token_hex(4)}").touch()
    setting = cell.setting
    if setting.decay == 1e-6:
        raise RunError("weights after step 3 are not numbers: lower base_lr")
    value = 0.5 + min(setting.rate, 0.1) + 10 * setting.decay + 0.01 * len(cell.model.name) + 0.001 * cell.seed
    return Outcome(settings=cell.settings, status=DONE, epoch=3, val=value, test=value - 0.02, seconds=4.0)


def pretend_slowly(cell: Cell, folder: str, options: TransferOptions) -> Outcome:
    """The same, in time to be killed."""
    outcome = pretend(cell, folder, options)
    time.sleep(0.02)
    return outcome


def die(cell: Cell, folder: str, options: TransferOptions) -> Outcome:
    """The same, but that the fifth cell ends the process as a power cut would."""
    outcome = pretend(cell, folder, options)
    if len(calls_of(Path(folder).parents[1])) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return outcome


def calls_of(out: Path) -> Counter[str]:
    """Digest of a cell -> how often it was begun."""
    return Counter(path.name.partition("-")[0] for path in (out / "calls").glob("*"))
