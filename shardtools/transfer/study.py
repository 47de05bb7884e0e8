"""A study of transfer as data: which models are trained on which sets, in which grid of settings.

Owns the names that a study file uses, what they default to, and what a study alone can say is wrong. The defaults are
seed 003's: Fang, Kornblith, Schmidt, "Does progress on ImageNet transfer to real-world datasets?" (2023), appendix C,
and mlfoundations/imagenet-applications-transfer [5210027], sample_train.py. Datasets are not opened here; the price is
that a split that is not there is noticed by `plan`, not by reading the file.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from itertools import pairwise, permutations

from shardtools.errors import OptionError

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "step")

DEFAULT = "default"
"""The augmentation that every model and set is trained with: the recipe's, and nothing changed."""

Changes = tuple[tuple[str, str], ...]
"""Keys of a recipe and their values as text, as `load_recipe` takes them."""

AUGMENTATIONS: dict[str, Changes] = {
    DEFAULT: (),
    "randaugment": (("policy", "randaugment"),),
    "augmix": (("policy", "augmix"),),
    **{"".join(order): (("channels", "".join(order)),) for order in permutations("rgb")},
}
"""Name -> what it changes of a recipe; a study may have others, with changes of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMetric:
    """A metric that a set is judged by.

    Attributes:
        val_metric: What `shardtools train` calls it.
        name: In `shardtools.evaluation.metrics.METRICS`.
        unit: What the training's values are divided by, to be those of `METRICS`.
        least: Its least value; the greatest is 1.
    """

    val_metric: str
    name: str
    unit: float = 1.0
    least: float = 0.0


SET_METRICS: dict[str, SetMetric] = {
    "accuracy": SetMetric(val_metric="top1", name="top1_accuracy", unit=100.0),
    "kappa": SetMetric(val_metric="kappa", name="quadratic_weighted_kappa", least=-1.0),
    "macro_f1": SetMetric(val_metric="macro_f1", name="macro_f1"),
    "roc_auc": SetMetric(val_metric="roc_auc", name="roc_auc"),
}
"""What a study file calls a metric -> what it is. Higher is better for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Settings that every model is trained with on every set: optimizers x schedules x rates x decays.

    Attributes:
        optimizers: Of `OPTIMIZERS`. "sgd" has Nesterov's momentum; the decay of "adamw" is divided by its rate.
        schedules: Of `SCHEDULES`; both change the rate once an epoch.
        sgd_rates: Peak learning rates.
        adamw_rates: Likewise.
        decays: Weight decays.
        step_at: Epochs at which "step" falls to a tenth.
    """

    optimizers: tuple[str, ...] = OPTIMIZERS
    schedules: tuple[str, ...] = SCHEDULES
    sgd_rates: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4)
    adamw_rates: tuple[float, ...] = (1e-2, 1e-3, 1e-4, 1e-5)
    decays: tuple[float, ...] = (1e-3, 1e-4, 1e-5, 1e-6, 0.0)
    step_at: tuple[float, ...] = (15.0, 20.0, 25.0)

    def __post_init__(self) -> None:
        for name, allowed in (("optimizers", OPTIMIZERS), ("schedules", SCHEDULES)):
            given = getattr(self, name)
            if not given or not set(given) <= set(allowed):
                raise OptionError(f"grid.{name} is one or more of {', '.join(allowed)}, found {list(given)}")
        for name, least in (("sgd_rates", "above 0"), ("adamw_rates", "above 0"), ("decays", "0 or more")):
            given = getattr(self, name)
            if not given or not all(value > 0 or (value == 0 and name == "decays") for value in given):
                raise OptionError(f"grid.{name} is one or more numbers, each {least}, found {list(given)}")
        for name in ("optimizers", "schedules", "sgd_rates", "adamw_rates", "decays"):
            given = getattr(self, name)
            if len(set(given)) < len(given):
                raise OptionError(f"grid.{name} names a value twice: {list(given)}: a cell is trained once")
        if not all(before < after for before, after in pairwise((0.0, *self.step_at, math.inf))):
            raise OptionError(f"grid.step_at is rising epochs above 0, found {list(self.step_at)}")
        if "step" in self.schedules and not self.step_at:
            raise OptionError('grid.step_at is empty: say at which epochs "step" falls, or leave it out of schedules')

    def rates(self, optimizer: str) -> tuple[float, ...]:
        """The peak rates of an optimizer."""
        return self.sgd_rates if optimizer == "sgd" else self.adamw_rates

    def __len__(self) -> int:
        """Cells of one model, set, augmentation and seed."""
        rates = sum(len(self.rates(optimizer)) for optimizer in self.optimizers)
        return rates * len(self.schedules) * len(self.decays)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyModel:
    """A network to start from.

    Attributes:
        name: In tables.
        encoder: As a recipe has it: "resnet50", "timm:NAME", "lite0".
        init: Its weights, as `shardtools train --init` takes them; `None` trains from nothing.
        accuracy: Its accuracy on what it was pretrained on, 0 to 1; `None` where none is known: it stands in tables
            and is left out of correlations.
        accuracy_from: A file of results, or the name of published figures, that has the accuracy.
        accuracy_model: Its name there; empty for `name`.
        probe: Name of features of every set, for training in two steps (LP-FT): the head starts as the linear probe of
            these features. Empty for a head drawn at random.
        epochs: Of its trainings; `None` for the study's. Seed 003 trains from nothing for 50.
        step_at: Epochs at which its "step" falls; empty for the grid's. From nothing they are 20, 30 and 40.
        changes: Of the recipe, for this model.
    """

    name: str
    encoder: str
    init: str | None = None
    accuracy: float | None = None
    accuracy_from: str = ""
    accuracy_model: str = ""
    probe: str = ""
    epochs: int | None = None
    step_at: tuple[float, ...] = ()
    changes: Changes = ()

    def __post_init__(self) -> None:
        if self.accuracy is not None and not 0 <= self.accuracy <= 1:
            raise OptionError(f"model {self.name}: accuracy is 0 to 1, found {self.accuracy}: 76.1 % is 0.761")
        if self.epochs is not None and self.epochs < 1:
            raise OptionError(f"model {self.name}: epochs is at least 1, found {self.epochs}")
        if self.accuracy is not None and self.accuracy_from:
            raise OptionError(f"model {self.name}: give accuracy or accuracy_from, not both")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySet:
    """A dataset that models are trained on, and how it is judged.

    Attributes:
        name: In tables.
        dataset: Its folder or address.
        metric: A name of `SET_METRICS`.
        train_split: What is trained on.
        val_split: What chooses the epoch and the cell.
        test_split: What is reported; `None` reports the value of `val_split`, as seed 003 does where there is no test
            set with labels.
        changes: Of the recipe, for this set: image_size, flip, vertical_flip, channels, head.
    """

    name: str
    dataset: str
    metric: str = "accuracy"
    train_split: str = "train"
    val_split: str = "val"
    test_split: str | None = None
    changes: Changes = ()

    def __post_init__(self) -> None:
        if self.metric not in SET_METRICS:
            raise OptionError(f"set {self.name}: metric is one of {', '.join(SET_METRICS)}, found {self.metric!r}")
        if self.train_split in (self.val_split, self.test_split):
            raise OptionError(
                f"set {self.name}: trains on {self.train_split!r} and is judged by the same: name another split"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What else is done to training images, as a further grid of some models on some sets.

    Attributes:
        name: Of `AUGMENTATIONS`, or one of the study's own.
        changes: Of the recipe; empty takes those of `AUGMENTATIONS`.
        models: Names of models; empty for all.
        sets: Names of sets; empty for all.
    """

    name: str
    changes: Changes = ()
    models: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.changes and self.name not in AUGMENTATIONS:
            raise OptionError(
                f"augmentation {self.name} changes nothing: give it changes, or a name of {', '.join(AUGMENTATIONS)}"
            )

    @property
    def all_changes(self) -> Changes:
        """What it changes of a recipe."""
        return self.changes or AUGMENTATIONS[self.name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """All that decides on the cells of a study.

    Attributes:
        models: What is trained.
        sets: On what.
        augmentations: Beside `DEFAULT`, which every model and set has.
        grid: The settings of each.
        recipe: What the grid does not say, as `shardtools train --recipe` takes it.
        changes: Of the recipe, for all.
        epochs: Of every training.
        seeds: Each cell is trained with each; values are then means.
        pretraining: What `accuracy` of the models was measured on, for titles.
        above: Correlations are taken of all models, and of those with more than this accuracy.
    """

    models: tuple[StudyModel, ...] = ()
    sets: tuple[StudySet, ...] = ()
    augmentations: tuple[Augmentation, ...] = ()
    grid: Grid = field(default_factory=Grid)
    recipe: str = "real-world"
    changes: Changes = ()
    epochs: int = 30
    seeds: tuple[int, ...] = (0,)
    pretraining: str = "ImageNet"
    above: float = 0.7

    def __post_init__(self) -> None:
        for name in ("models", "sets"):
            if not getattr(self, name):
                raise OptionError(f"a study has one of {name} at least: write [[{name}]]")
        for name in ("models", "sets", "augmentations"):
            _refuse_twice(name, (one.name for one in getattr(self, name)))
        if self.epochs < 1:
            raise OptionError(f"epochs is at least 1, found {self.epochs}")
        for who, epochs, step_at in self._schedules():
            if not all(before < after for before, after in pairwise((0.0, *step_at, math.inf))):
                raise OptionError(f"{who}step_at is rising epochs above 0, found {list(step_at)}")
            if "step" in self.grid.schedules and step_at[-1] >= epochs:
                raise OptionError(
                    f"{who}step_at falls at epoch {step_at[-1]:g} of {epochs}: give epochs before the last"
                )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise OptionError(f"seeds are one or more different numbers, found {list(self.seeds)}")
        if not 0 <= self.above < 1:
            raise OptionError(f"above is an accuracy of 0 to 1, found {self.above}: 70 % is 0.7")
        self._check_augmentations()

    def _schedules(self) -> Iterator[tuple[str, int, tuple[float, ...]]]:
        """Whose they are, epochs, and epochs at which "step" falls: of the study and of each model."""
        yield "grid.", self.epochs, self.grid.step_at
        for model in self.models:
            yield f"model {model.name}: ", self.epochs_of(model), self.step_at_of(model)

    def epochs_of(self, model: StudyModel) -> int:
        """Epochs of a model's trainings."""
        return self.epochs if model.epochs is None else model.epochs

    def step_at_of(self, model: StudyModel) -> tuple[float, ...]:
        """Epochs at which a model's "step" falls."""
        return model.step_at or self.grid.step_at

    def _check_augmentations(self) -> None:
        known = {"models": [one.name for one in self.models], "sets": [one.name for one in self.sets]}
        for one in self.augmentations:
            if one.name == DEFAULT:
                raise OptionError(f"augmentation {DEFAULT} is there for all models and sets: leave it out")
            for what, names in known.items():
                lost = [name for name in getattr(one, what) if name not in names]
                if lost:
                    raise OptionError(
                        f"augmentation {one.name}: {what} has no {lost[0]!r}, expected one of {', '.join(names)}"
                    )

    def augmentations_of(self, model: StudyModel, on: StudySet) -> tuple[Augmentation, ...]:
        """Those that a model is trained with on a set, `DEFAULT` first."""
        others = (
            one
            for one in self.augmentations
            if (not one.models or model.name in one.models) and (not one.sets or on.name in one.sets)
        )
        return (Augmentation(name=DEFAULT), *others)


def _refuse_twice(what: str, names: Iterable[str]) -> None:
    counts = Counter(names)
    if "" in counts:
        raise OptionError(f"one of {what} has an empty name: name it")
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice is not None:
        raise OptionError(f"{what} has {twice!r} twice: give each a name of its own")


def keys_of(kind: type) -> list[str]:
    """The keys that a table of a study file may have."""
    return [one.name for one in fields(kind)]
