"""What the micro study of ImageNet-SD consists of: which pictures are generated, and what is trained on which.

    real                    as many photographs as one clone has, class by class
    templates x guidances   one clone each (table 5.2 of the thesis, rows 2 to 9)
    scales                  more clones of one template at one guidance (row 10, figure 5.4)
    guidance and steps      one template again, one value after the other (figure 5.5)

Owns the list and the names; torch is not needed to make it. A seed stands for everything that is drawn: the noise of
the generated pictures, which photographs are taken, the first weights, order and crops. The price: each seed generates
its own datasets. What it buys: the deviation over seeds also holds the luck of the pictures, not only of the training.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shardtools.errors import OptionError
from shardtools.execution import Message

NUM_CLASSES = 10
REAL = "real"
"""What a cell that is trained on photographs is called."""

TEST = "photographs-test"
"""Name of the dataset that everything is tested on."""

RECIPES = {"plain": "micro", "multi-crop": "micro-multi-crop"}
"""Augmentation -> recipe."""

PROTOCOL = 2
"""How the study is made, in its folder's settings. Folders of the first name none: crops of (0.5, 1) and (0.2, 0.5) of
the image, all lemmas of all parents in `h_c`, scenes dealt by class. Their results are shown and not added to."""

BATCH_SIZE = 50
"""Divides a clone, so that no sample is left out and all scales take exactly the same number of steps."""

SWEEP_TEMPLATE = "c, d_c"
SWEEP_GUIDANCE = 7.5
"""Guidance at which the steps are varied, as in figure 5.5."""

SCALE_GUIDANCE = 2.0
"""Guidance of more than one clone, as in table 5.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """The sizes of the study. The defaults are its full form.

    Attributes:
        out: Folder for datasets, runs, results and figures.
        data: Folder with the four idx files of Fashion-MNIST.
        seeds: Repetitions of the table, at least 1; a finished study can be given more.
        sweep_seeds: Repetitions of the two sweeps, of which nothing is decided; `seeds` at the most.
        processes: Trainings (or datasets) at a time, of one thread each; does not change the results.
        only: Trains this augmentation alone, and makes what it needs; `None` for all. The rest is made by a run
            without it, and does not differ.
        images_per_class: Pictures of each class in a clone, and in the photographs to train on.
        test_per_class: Test photographs of each class; `None` for all, 1,000.
        epochs: Passes over one clone; more clones get fewer, so that all trainings have as many steps.
        templates: Prompt templates that are compared.
        guidances: Guidance scales that they are compared at.
        scales: Clones that are compared, the first of them 1.
        guidance_sweep: Guidance scales of the figure.
        steps_sweep: Denoising steps of the figure.
        augmentations: Of `RECIPES`; the sweeps take the first one.
        num_inference_steps: Denoising steps everywhere else, with DPM++.

    Raises:
        OptionError: A value is out of range.
    """

    out: str
    data: str = "/usr/share/datasets/fashion-mnist"
    seeds: int = 6
    sweep_seeds: int = 3
    processes: int = 2
    only: str | None = None
    images_per_class: int = 50
    test_per_class: int | None = None
    epochs: int = 40
    templates: tuple[str, ...] = ("c", "c, h_c", "c, d_c", "c, h_c inside b")
    guidances: tuple[float, ...] = (7.5, 2.0)
    scales: tuple[int, ...] = (1, 5, 10)
    guidance_sweep: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0)
    steps_sweep: tuple[int, ...] = (2, 5, 10, 25, 50)
    augmentations: tuple[str, ...] = ("plain", "multi-crop")
    num_inference_steps: int = 10

    def __post_init__(self) -> None:
        for name in ("seeds", "sweep_seeds", "processes", "images_per_class", "epochs", "num_inference_steps"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is at least 1, found {getattr(self, name)}")
        if self.images_per_class * NUM_CLASSES % BATCH_SIZE:
            raise OptionError(
                f"images_per_class is a multiple of {BATCH_SIZE // NUM_CLASSES}, so that batches of {BATCH_SIZE} "
                f"leave nothing out, found {self.images_per_class}"
            )
        unknown = set(self.augmentations) - set(RECIPES)
        if unknown or not self.augmentations:
            raise OptionError(f"augmentations are of {', '.join(RECIPES)}, found {self.augmentations}")
        if self.only is not None and self.only not in self.augmentations:
            raise OptionError(f"only is one of {', '.join(self.augmentations)}, found {self.only!r}")
        for scale in self.scales:
            if scale < 1 or self.epochs % scale:
                raise OptionError(f"epochs are a multiple of every scale, found {self.epochs} epochs, scale {scale}")

    def settings(self) -> dict[str, Any]:
        """What a study's folder holds to: all that changes a result."""
        free = ("out", "data", "seeds", "sweep_seeds", "processes", "only")
        return {"protocol": PROTOCOL, **{name: value for name, value in asdict(self).items() if name not in free}}


SHORT: dict[str, Any] = {
    "seeds": 1,
    "images_per_class": 20,
    "epochs": 40,
    "augmentations": ("plain",),
    "templates": ("c", "c, d_c"),
    "scales": (1,),
    "guidance_sweep": (),
    "steps_sweep": (),
}
"""What `--short` changes."""


def photographs(seed: int) -> str:
    """Name of the dataset of photographs to train on."""
    return f"photographs-seed{seed}"


def dataset_folder(out: str, name: str) -> Path:
    """Where a study keeps a dataset."""
    return Path(out).absolute() / "datasets" / name


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedSet:
    """A dataset to generate.

    Attributes:
        prompt_template: Template.
        guidance: Scale of the classifier-free guidance.
        steps: Denoising steps.
        clones: How many of `images_per_class` pictures a class.
        seed: Of the noise.
    """

    prompt_template: str
    guidance: float
    steps: int
    clones: int
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        words = re.sub(r"[^a-z_]+", "-", self.prompt_template.lower())
        return f"{words}-guidance{self.guidance:g}-steps{self.steps}-seed{self.seed}"

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the datasets that must be there first: none."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A training and its test.

    Attributes:
        dataset: What it is trained on; `None` for photographs.
        scale: Clones of it that are read.
        augmentation: Of `RECIPES`.
        seed: Of everything.
    """

    dataset: GeneratedSet | None
    scale: int
    augmentation: str
    seed: int

    @property
    def name(self) -> str:
        """Of its folder and its line of results."""
        source = REAL if self.dataset is None else self.dataset.name.rpartition("-seed")[0]
        return f"{source}-x{self.scale}-{self.augmentation}-seed{self.seed}"

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the datasets that must be there first; the photographs always are."""
        return () if self.dataset is None else (self.dataset.name,)

    def facts(self) -> dict[str, Any]:
        """What a line of results says of it."""
        dataset = self.dataset
        return {
            "cell": self.name,
            "source": REAL if dataset is None else "generated",
            "prompt_template": None if dataset is None else dataset.prompt_template,
            "guidance_scale": None if dataset is None else dataset.guidance,
            "num_inference_steps": None if dataset is None else dataset.steps,
            "scale": self.scale,
            "augmentation": self.augmentation,
            "seed": self.seed,
        }


Task = GeneratedSet | Cell


def list_cells(options: StudyOptions) -> list[Cell]:
    """All trainings, each once: the table seed by seed, then the sweeps seed by seed."""
    return [cell for part in _parts(options) for cell in part]


def list_tasks(options: StudyOptions) -> list[Task]:
    """All work in the order in which it is begun: for each part its datasets, the longest first, then its trainings."""
    datasets: dict[str, GeneratedSet] = {}
    tasks: list[Task] = []
    for cells in _parts(options):
        wanted = {cell.dataset.name: cell.dataset for cell in cells if cell.dataset is not None}
        new = [dataset for name, dataset in wanted.items() if name not in datasets]
        new.sort(key=lambda one: -one.clones * one.steps)
        tasks.extend(new)
        tasks.extend(cells)
        datasets |= wanted
    return tasks


def _parts(options: StudyOptions) -> Iterator[list[Cell]]:
    """The cells of the table for each seed, then those of the sweeps, without those that were there before."""
    seen: set[str] = set()
    for cells_of_seed, seeds in (
        (_table_cells, options.seeds),
        (_sweep_cells, min(options.seeds, options.sweep_seeds)),
    ):
        for seed in range(seeds):
            cells = [cell for cell in cells_of_seed(options, seed) if options.only in (None, cell.augmentation)]
            part = {cell.name: cell for cell in cells if cell.name not in seen}
            seen.update(part)
            yield list(part.values())


def _table_cells(options: StudyOptions, seed: int) -> Iterator[Cell]:
    table = [(prompt_template, guidance, 1) for guidance in options.guidances for prompt_template in options.templates]
    table += [(SWEEP_TEMPLATE, SCALE_GUIDANCE, scale) for scale in options.scales if scale > 1]
    for augmentation in options.augmentations:
        yield Cell(dataset=None, scale=1, augmentation=augmentation, seed=seed)
        for prompt_template, guidance, scale in table:
            yield _cell(options, prompt_template, guidance, options.num_inference_steps, scale, augmentation, seed)


def _sweep_cells(options: StudyOptions, seed: int) -> Iterator[Cell]:
    augmentation = options.augmentations[0]
    for guidance in options.guidance_sweep:
        yield _cell(options, SWEEP_TEMPLATE, guidance, options.num_inference_steps, 1, augmentation, seed)
    for number in options.steps_sweep:
        yield _cell(options, SWEEP_TEMPLATE, SWEEP_GUIDANCE, number, 1, augmentation, seed)


def _cell(
    options: StudyOptions, prompt_template: str, guidance: float, steps: int, scale: int, augmentation: str, seed: int
) -> Cell:
    # One dataset with all clones serves every scale, as fewer clones are a prefix of it.
    has_scales = (prompt_template, guidance, steps) == (SWEEP_TEMPLATE, SCALE_GUIDANCE, options.num_inference_steps)
    clones = max(options.scales, default=1) if has_scales else 1
    dataset = GeneratedSet(prompt_template=prompt_template, guidance=guidance, steps=steps, clones=clones, seed=seed)
    return Cell(dataset=dataset, scale=scale, augmentation=augmentation, seed=seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetMade(Message):
    """A dataset is whole: its name in the study, its images, and how long it took."""

    name: str
    images: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CellDone(Message):
    """A training is tested: its line of `results.jsonl`."""

    result: dict[str, Any]
