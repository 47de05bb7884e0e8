"""What a user asks of verify, repair and regenerate.

Owns the defaults and the bounds. Each of the three takes options of its own; the price is that `model` and `device`
stand twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.errors import OptionError
from shardtools.options import option, same

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """Options of `verify`.

    Attributes:
        sample: Check this many random images, read one by one, instead of every byte; 1 or more. `None`: everything.
        seed: Seed of the random choice.
        num_workers: Shards looked at at a time; `None`: one a CPU core.
    """

    sample: int | None = field(
        default=None,
        metadata=option("Quick: the manifests, the shards' lengths and N random images only.", metavar="N"),
    )
    seed: int = field(default=0, metadata=option("Of the random choice."))
    num_workers: int | None = field(default=None, metadata=option("Shards checked at a time.", unset="one a CPU core"))

    def __post_init__(self) -> None:
        if self.sample is not None and self.sample < 1:
            raise OptionError(f"--sample is 1 or more, found {self.sample}")
        _check_seed(self.seed)
        _check_workers(self.num_workers)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairOptions:
    """Options of `repair`.

    Attributes:
        model: Folder or hub id of the pipeline; `None`: the one that `plan.json` names.
        device: "cpu", "cuda", or "auto": the kind of device that the plan was made for.
        num_workers: As in `VerifyOptions`.
    """

    model: str | None = field(
        default=None, metadata=option("With --repair, --regenerate: folder or hub id.", unset="as recorded")
    )
    device: str = field(
        default="auto", metadata=option("With --repair, --regenerate: auto is the recorded kind.", choices=DEVICES)
    )
    num_workers: int | None = same(VerifyOptions, "num_workers")

    def __post_init__(self) -> None:
        _check_device(self.device)
        _check_workers(self.num_workers)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegenerateOptions:
    """Options of `regenerate`.

    Attributes:
        count: Images to generate anew; 1 or more.
        seed: Seed of the random choice.
        model: As in `RepairOptions`.
        device: As in `RepairOptions`.
    """

    count: int = field(
        metadata=option("Instead: generate N random images anew and compare.", flag="--regenerate", metavar="N")
    )
    seed: int = same(VerifyOptions, "seed")
    model: str | None = same(RepairOptions, "model")
    device: str = same(RepairOptions, "device")

    def __post_init__(self) -> None:
        if self.count < 1:
            raise OptionError(f"--regenerate is 1 or more, found {self.count}")
        _check_seed(self.seed)
        _check_device(self.device)


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise OptionError(f"--seed is 0 or more, found {seed}")


def _check_workers(num_workers: int | None) -> None:
    if num_workers is not None and not 1 <= num_workers <= 1024:
        raise OptionError(f"--num-workers is 1 to 1024, found {num_workers}")


def _check_device(device: str) -> None:
    if device not in DEVICES:
        raise OptionError(f"--device is {', '.join(DEVICES)}, found {device!r}")
