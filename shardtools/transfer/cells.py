"""The cells of a study: what exactly is trained, and the name of each.

Owns what a cell is. Its digest is made of all that decides on its figures (the recipe, the weights it starts from, the
commit of the dataset, the splits, the seed) and of no name, so a study that is renamed, reordered or extended repeats
no cell, and one that changes a number repeats just those it changes. The price: the weights are known by the name that
they are asked for by; a file that is overwritten with others needs another folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from shardtools.dataset import open_dataset
from shardtools.dataset.plan_file import fingerprint
from shardtools.errors import OptionError, ShardtoolsError
from shardtools.sql import query
from shardtools.training import Recipe, load_recipe
from shardtools.transfer.study import SET_METRICS, Augmentation, Study, StudyModel, StudySet


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFacts:
    """What is known of a dataset before anything is trained on it.

    Attributes:
        commit: sha256 of its `dataset.json`.
        has_several: Whether its training images have any number of labels each.
        num_train: Images of the training split.
        num_judged: Images of the validation split, and of the test split where there is one.
    """

    commit: str
    has_several: bool
    num_train: int
    num_judged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A point of the grid.

    Attributes:
        optimizer: Of `OPTIMIZERS`.
        schedule: Of `SCHEDULES`.
        rate: Peak learning rate.
        decay: Weight decay; that of "adamw" is divided by the rate in training.
    """

    optimizer: str
    schedule: str
    rate: float
    decay: float

    def __str__(self) -> str:
        return f"{self.optimizer} {self.schedule}, rate {self.rate:g}, decay {self.decay:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One training.

    Attributes:
        model: What is trained.
        on: The set that it is trained on and judged by.
        augmentation: Name of what is done to the images.
        setting: The point of the grid.
        seed: Of order, augmentation and head.
        recipe: All of it.
        num_train: Images of an epoch.
        settings: JSON values of all that decides on the figures.
        digest: Of `settings`, 16 hexadecimal digits.
    """

    model: StudyModel
    on: StudySet
    augmentation: str
    setting: Setting
    seed: int
    recipe: Recipe
    num_train: int
    settings: Mapping[str, Any]
    digest: str

    def __str__(self) -> str:
        other = "" if self.augmentation == "default" else f", {self.augmentation}"
        return f"{self.model.name} on {self.on.name}{other}: {self.setting}, seed {self.seed}"


def read_facts(on: StudySet) -> SetFacts:
    """Opens a set's dataset and looks for its splits.

    Raises:
        DatasetError: There is no dataset, or it is not finished.
        OptionError: It lacks a split, or one has no images.
    """
    try:
        found = open_dataset(on.dataset)
    except ShardtoolsError as error:
        raise type(error)(f"set {on.name}: {error}") from None
    splits = found.commit.splits
    for key, split in (("train_split", on.train_split), ("val_split", on.val_split), ("test_split", on.test_split)):
        if split is not None and (split not in splits or not splits[split].num_images):
            raise OptionError(
                f"set {on.name}: {on.dataset} has no images of split {split!r} ({key}), expected one of "
                f"{', '.join(sorted(splits))}"
            )
    judged = {on.val_split, *([] if on.test_split is None else [on.test_split])}
    return SetFacts(
        commit=hashlib.sha256(found.content).hexdigest(),
        has_several=_has_several(on),
        num_train=splits[on.train_split].num_images,
        num_judged=sum(splits[split].num_images for split in judged),
    )


def _has_several(on: StudySet) -> bool:
    """Whether images of the training split have any number of labels."""
    asked = "select count(class_indexes) > 0 as several from samples where split = $split"
    [row] = query(asked, [on.dataset], {"split": on.train_split}).to_pylist()
    return bool(row["several"])


def list_cells(study: Study, facts: Mapping[str, SetFacts] | None = None) -> tuple[Cell, ...]:
    """All cells: models, sets, augmentations, seeds and the grid, the grid innermost.

    Args:
        study: The study.
        facts: Name of a set -> what is known of its dataset; `None` opens them.

    Raises:
        DatasetError: A dataset is missing.
        OptionError: A recipe, a key of its changes, or a split is wrong; two cells are the same training.
    """
    known = {on.name: read_facts(on) for on in study.sets} if facts is None else facts
    cells: dict[str, Cell] = {}
    for model, on in product(study.models, study.sets):
        for augmentation in study.augmentations_of(model, on):
            for seed in study.seeds:
                for cell in _grid(study, model, on, augmentation, seed, known[on.name]):
                    if cell.digest in cells:
                        raise OptionError(
                            f"two cells are one training: {cells[cell.digest]}, and {cell}: leave one out, or change "
                            "what differs between them"
                        )
                    cells[cell.digest] = cell
    return tuple(cells.values())


def _grid(
    study: Study, model: StudyModel, on: StudySet, augmentation: Augmentation, seed: int, facts: SetFacts
) -> Iterator[Cell]:
    base = _recipe(study, model, on, augmentation)
    if facts.has_several != (base.head == "sigmoid"):
        found, wanted = ("several labels", "sigmoid") if facts.has_several else ("one label", "linear")
        raise OptionError(
            f"set {on.name}: images of {on.dataset} have {found} each, and the head is {base.head!r}: put head = "
            f'"{wanted}" among its changes'
        )
    for setting in settings_of(study):
        recipe = replace(base, **_by_grid(study.step_at_of(model), base, setting))
        settings = {
            "recipe": {name: value for name, value in recipe.settings().items() if name != "name"},
            "init": model.init,
            "probe": model.probe,
            "commit": facts.commit,
            "splits": [on.train_split, on.val_split, on.test_split],
            "metric": on.metric,
            "seed": seed,
        }
        yield Cell(
            model=model,
            on=on,
            augmentation=augmentation.name,
            setting=setting,
            seed=seed,
            recipe=recipe,
            num_train=facts.num_train,
            settings=settings,
            digest=fingerprint(settings),
        )


def settings_of(study: Study) -> Iterator[Setting]:
    """The points of a study's grid."""
    grid = study.grid
    for optimizer, schedule in product(grid.optimizers, grid.schedules):
        for rate, decay in product(grid.rates(optimizer), grid.decays):
            yield Setting(optimizer=optimizer, schedule=schedule, rate=float(rate), decay=float(decay))


def _recipe(study: Study, model: StudyModel, on: StudySet, augmentation: Augmentation) -> Recipe:
    """What the cells of a model and a set share: the study's recipe, changed by study, model, set and augmentation.

    The later one wins, and what the grid says wins over all.

    Raises:
        OptionError: A key or a value is wrong.
    """
    places: dict[str, str] = {}
    values: dict[str, str] = {}
    changes = (
        ("changes", study.changes),
        (f"models ({model.name}).changes", model.changes),
        (f"sets ({on.name}).changes", on.changes),
        (f"augmentations ({augmentation.name}).changes", augmentation.all_changes),
    )
    for place, pairs in changes:
        for key, value in pairs:
            if key in _OF_THE_GRID:
                raise OptionError(f"{place}: {key} is not the recipe's here: {_OF_THE_GRID[key]}")
            values[key], places[key] = value, place
    try:
        return load_recipe(study.recipe, {**values, "encoder": model.encoder, "epochs": str(study.epochs_of(model))})
    except OptionError as error:
        wrong = next((key for key in places if f" {key!r}" in str(error) or f" {key} " in str(error)), None)
        raise OptionError(f"{places[wrong]}: {error}" if wrong else str(error)) from None


_OF_THE_GRID = {
    "epochs": "give epochs of the study or of a model",
    "encoder": "give a model's encoder",
    "optimizer": "give grid.optimizers",
    "schedule": "give grid.schedules",
    "step_at": "give grid.step_at, or a model's",
    "base_lr": "give grid.sgd_rates or grid.adamw_rates",
    "lr_batch_size": "rates of the grid are peaks, whatever the batch",
    "weight_decay": "give grid.decays",
    "decay_over_rate": "it is true for adamw",
    "nesterov": "it is true for sgd",
    "rate_by": "the rate changes once an epoch",
}


def _by_grid(step_at: tuple[float, ...], base: Recipe, setting: Setting) -> dict[str, Any]:
    is_sgd = setting.optimizer == "sgd"
    falls = setting.schedule == "step"
    return {
        "optimizer": setting.optimizer,
        "nesterov": is_sgd,
        "schedule": setting.schedule,
        "step_at": tuple(map(float, step_at)) if falls else (),
        "rate_by": "epoch",
        # A rate of the grid is the peak itself, whatever the batch.
        "base_lr": setting.rate,
        "lr_batch_size": base.batch_size,
        "weight_decay": setting.decay,
        "decay_over_rate": not is_sgd,
    }


def metric_name(on: StudySet) -> str:
    """The name that a set's metric has in rows of results."""
    return SET_METRICS[on.metric].name
