"""What a user may ask of a run of cells beside the study: where, by how many, which share.

Owns how cells are dealt over machines: `--task 17/100`, or what a launcher says of this process (torchrun, srun, an
array of Slurm). None of it decides on a figure.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import PurePath

from shardtools.errors import OptionError
from shardtools.options import check_options, option, same
from shardtools.training import TrainOptions

_TASK = re.compile(r"(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOptions:
    """A run of cells.

    Attributes:
        out: Folder of the study, shared by all machines of it; `None` for the study file's name without its ending.
        processes: Cells that are trained at once on this machine.
        task: Which share of the cells, as "17/100": the 17th of 100; `None` takes what a launcher says, or all.
        retry_failed: Whether failed cells are tried again.
        keep_weights: Whether a finished cell keeps its weights and checkpoints; 80 of them a model and set are much.
        device: Of the trainings.
        threads: Threads that decode in each training; `None` for its share of the cores.
        compute_threads: CPU threads of torch in each; `None` for its share, 1 beside a GPU.
    """

    out: str | None = field(
        default=None,
        metadata=option("Folder of the study, one for all machines.", metavar="DIR", unset="STUDY without .toml"),
    )
    processes: int = field(default=1, metadata=option("Cells that are trained at once here.", bounds=(1, 4096)))
    task: str | None = field(
        default=None,
        metadata=option("Only this share of the cells: 17/100.", metavar="N/M", unset="the launcher's, or all"),
    )
    retry_failed: bool = field(default=False, metadata=option("Try failed cells again."))
    keep_weights: bool = field(default=False, metadata=option("Keep weights and checkpoints of finished cells."))
    device: str = same(TrainOptions, "device")
    threads: int | None = same(TrainOptions, "threads")
    compute_threads: int | None = same(TrainOptions, "compute_threads")

    def __post_init__(self) -> None:
        check_options(self)
        if self.task is not None:
            parse_task(self.task)

    @property
    def share(self) -> tuple[int, int]:
        """0-based number of this run's share, and how many there are."""
        return share_of_launcher(os.environ) if self.task is None else parse_task(self.task)


def out_folder(study: str, out: str | None) -> str:
    """Where a study's cells lie."""
    if out is not None:
        return out
    path = PurePath(study)
    if path.suffix != ".toml":
        raise OptionError(f"a study is a .toml file, found {study!r}: give --out for another name")
    return str(path.with_suffix(""))


def parse_task(text: str) -> tuple[int, int]:
    """0-based number of a share, and how many there are, of "17/100".

    Raises:
        OptionError: It is none.
    """
    found = _TASK.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise OptionError(f"--task is N/M with N of 1 to M, found {text!r}: the 17th of 100 shares is 17/100")
    return int(found[1]) - 1, int(found[2])


def share_of_launcher(environment: os._Environ[str] | dict[str, str]) -> tuple[int, int]:
    """The share of a process that a launcher started as one of many; all, where a user did.

    Raises:
        OptionError: What the launcher says is no share.
    """
    pairs = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))
    first = 0
    number, count = next(
        ((environment[a], environment[b]) for a, b in pairs if a in environment and b in environment), ("0", "1")
    )
    if count == "1" and "SLURM_ARRAY_TASK_ID" in environment:
        number, count = environment["SLURM_ARRAY_TASK_ID"], environment.get("SLURM_ARRAY_TASK_COUNT", "1")
        first = int(environment.get("SLURM_ARRAY_TASK_MIN", "0"))
    try:
        share = int(number) - first, int(count)
    except ValueError:
        share = -1, 0
    if not 0 <= share[0] < share[1]:
        raise OptionError(
            f"the launcher says that this is process {number} of {count}, which is no share: give --task N/M"
        )
    return share
