"""What a user may ask of an attack, and what came of it.

Owns the names. What decides on a row goes into `AttackPlan`; processes, threads and devices do not. The price of radii
as text, so that 4/255 is typed as it is published: they are checked here and not by the command line.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from shardtools.errors import OptionError
from shardtools.evaluation.attacks.settings import (
    DEFAULTS,
    LOSSES,
    MAX_RESTARTS,
    MAX_STEPS,
    TARGETS,
    AttackSettings,
    attack_settings,
)
from shardtools.evaluation.model_options import ModelOptions
from shardtools.features import FeatureOptions
from shardtools.options import check_options, default_of, option, same
from shardtools.overlays import check_name

ATTACK_LABELS = ("wnid", "index")
_COUNTS = ("num_processes", "threads", "compute_threads")
_EVERY = {"pgd-seed": 2}
"""Attack -> which share of the images it takes, where that is not all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackOptions:
    """Which attack on which model with which images, and where to.

    Attributes:
        dataset: Folder or s3:// address of a finished dataset with labels.
        model: Whose answers are judged, and whose preprocessing makes the pixels.
        attack: Name in `DEFAULTS`.
        eps: Radius in pixel values of 0 to 1, as "0.06" or "4/255"; `None` takes the attack's own, as the six below.
        step: Likewise.
        num_steps: Gradients of a restart.
        restarts: How often it begins anew.
        target: See `AttackSettings`.
        loss: Likewise.
        full: Whether all steps are taken, also where the image is wrong already; an attack by another model always
            does, but for pgd-seed.
        seed: Of starts and targets.
        source: Another model that the attack is made with, as `ModelOptions.model`; `None` attacks the model itself.
        source_weights: Its weights, where it brings none.
        every: Each how manieth image is attacked; `None` takes every one, with pgd-seed every other.
        split: Only this split; `None` takes all.
        labels_by: How a class of the dataset becomes an output of the model: "wnid" by name, "index" by number.
        name: Of the overlay; `None` makes one of the names of model and attack.
        out: A dataset that the attacked images are written to; `None` writes none.
        batch_size: Images that are attacked together.
        num_processes: Processes on this machine; `None` takes one a GPU, or one a core.
        threads: Threads that decode in each; `None` takes its share of the cores.
        compute_threads: CPU threads of torch in each.
        device: One of `DEVICES` of features.
        replace: Whether results of that name are written anew.

    Raises:
        OptionError: A value is out of range, or two contradict each other.
    """

    dataset: str
    model: ModelOptions
    attack: str = field(default="pgd", metadata=option("Which attack.", choices=tuple(DEFAULTS)))
    eps: str | None = field(
        default=None,
        metadata=option("Radius in pixel values of 0 to 1: 0.06 or 4/255.", metavar="R", unset="the attack's"),
    )
    step: str | None = field(
        default=None, metadata=option("Length of a step, likewise.", metavar="R", unset="the attack's")
    )
    num_steps: int | None = field(
        default=None,
        metadata=option("Steps of a restart.", flag="--steps", bounds=(1, MAX_STEPS), unset="the attack's"),
    )
    restarts: int | None = field(
        default=None,
        metadata=option("Times that it begins anew with what withstood.", bounds=(1, MAX_RESTARTS), unset="1"),
    )
    target: str | None = field(
        default=None, metadata=option("What the images are to become.", choices=TARGETS, unset="the attack's")
    )
    loss: str | None = field(default=None, metadata=option("What is raised.", choices=LOSSES, unset="the attack's"))
    full: bool = field(default=False, metadata=option("Take all steps, also where the image is wrong already."))
    seed: int = field(
        default=default_of(AttackSettings, "seed"), metadata=option("Of starts and targets.", bounds=(0, 2**63 - 1))
    )
    source: str | None = field(
        default=None,
        metadata=option("Another model that makes the attack; MODEL is judged.", metavar="MODEL", unset="MODEL"),
    )
    source_weights: str | None = field(
        default=None, metadata=option("Weights of the source, a local file.", metavar="FILE")
    )
    every: int | None = field(
        default=None, metadata=option("Attack each N-th image.", metavar="N", unset="1, with pgd-seed 2")
    )
    split: str | None = field(default=None, metadata=option("Only this split.", unset="all"))
    labels_by: str = field(
        default="wnid", metadata=option("How the model's output of a class is found.", choices=ATTACK_LABELS)
    )
    name: str | None = field(default=None, metadata=option("Name of the overlay.", unset="attacked_MODEL_ATTACK"))
    out: str | None = field(
        default=None, metadata=option("Write the attacked images there, as a dataset.", metavar="DATASET")
    )
    batch_size: int = field(default=32, metadata=option("Images that are attacked together.", bounds=(1, 1 << 16)))
    num_processes: int | None = same(FeatureOptions, "num_processes")
    threads: int | None = same(FeatureOptions, "threads")
    compute_threads: int = same(FeatureOptions, "compute_threads")
    device: str = same(FeatureOptions, "device")
    replace: bool = field(default=False, metadata=option("Write anew results of that name."))

    def __post_init__(self) -> None:
        check_options(self)
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} is at least 1, found {value}")
        if self.every is not None and self.every < 1:
            raise OptionError(f"--every is at least 1, found {self.every}")
        if self.source_weights is not None and self.source is None:
            raise OptionError("--source-weights are of a source, found none: give --source MODEL")
        if self.out is not None and self.out.rstrip("/") == self.dataset.rstrip("/"):
            raise OptionError(f"--out is another dataset than the one that is attacked, found {self.out} for both")
        self.settings()
        check_name(self.overlay_name)

    def settings(self) -> AttackSettings:
        """The attack in numbers.

        Raises:
            OptionError: The attack has no such parameter, or a value is out of range.
        """
        is_full = self.full or (self.source is not None and self.attack != "pgd-seed")
        return attack_settings(
            self.attack,
            eps=None if self.eps is None else fraction(self.eps, "--eps"),
            step=None if self.step is None else fraction(self.step, "--step"),
            num_steps=self.num_steps,
            restarts=self.restarts,
            target=self.target,
            loss=self.loss,
            early_stop=False if is_full else None,
            seed=self.seed,
        )

    @property
    def stride(self) -> int:
        """Each how manieth image is attacked."""
        return self.every if self.every is not None else _EVERY.get(self.attack, 1)

    @property
    def overlay_name(self) -> str:
        """Name of the overlay: as given, or one of the model's and the attack's, in letters that SQL takes bare."""
        if self.name is not None:
            return self.name
        parts = [self.model.model, *([] if self.source is None else [self.source]), self.attack]
        plain = [re.sub(r"[^a-z0-9]+", "_", part.rstrip("/").rpartition("/")[2].lower()).strip("_") for part in parts]
        return "_".join(["attacked", *(part or "model" for part in plain)])[:64].rstrip("_")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackResult:
    """What an attack came to.

    Attributes:
        url: Folder of the overlay.
        name: Of the overlay.
        model: Name of the judged network.
        source: Of the one that made the attack.
        attack: The settings, in a line.
        num_rows: Rows of the overlay.
        num_attacked: Images that were attacked; the others have a reason.
        clean_accuracy: Share of the attacked images that the model sees right as they are.
        accuracy: That it sees right afterwards.
        success: Share of the images that became what they were to become.
        max_linf: Largest difference of a pixel value, 0 to 1.
        images: That were attacked in this run.
        seconds: From the first to the last of them.
        out: The dataset of attacked images; `None` where none was asked for.
    """

    url: str
    name: str
    model: str
    source: str
    attack: str
    num_rows: int
    num_attacked: int
    clean_accuracy: float
    accuracy: float
    success: float
    max_linf: float
    images: int
    seconds: float
    out: str | None


def fraction(text: str, flag: str) -> float:
    """A number that is typed as "0.06" or "4/255".

    Raises:
        OptionError: It is none.
    """
    number, slash, divisor = text.partition("/")
    try:
        value = float(number) / (float(divisor) if slash else 1)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise OptionError(f"{flag} is a number like 0.06 or 4/255, found {text!r}")
    return value
