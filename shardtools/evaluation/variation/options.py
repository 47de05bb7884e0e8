"""What a user may ask of `measure`."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.errors import OptionError
from shardtools.options import check_options, option

SETTINGS: dict[str, str] = {
    "canonical": "canonical pictures alone (seed 002, section 4)",
    "samples": "a share of the pictures of every object varies (section 5.1)",
    "instances": "all pictures of a share of the objects vary (section 5.2)",
    "all": "a share of the pictures of every object varies in all factors at once (section 5.3)",
    "classes": "half of the objects of half of the classes vary (section 5.4)",
}
"""Name of a setting -> what is trained on."""

SHARES = (5, 25, 50, 75, 95)
"""Percent that varies, as seed 002 has it: from 5 to 95."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariationOptions:
    """Which models are measured on which rendered datasets, and how.

    Attributes:
        datasets: Folders or addresses of rendered datasets of the same objects, such as one a grid.
        features: Names of features that every dataset has; a linear classifier is fitted to each.
        predictions: Names of predictions that every dataset has; judged as they are, nothing is fitted.
        setting: A name of `SETTINGS`.
        factors: Factors that vary in training, one after another; empty takes all that the datasets vary.
        shares: Percent that varies, in `samples`, `instances` and `all`.
        images: Pictures an object that a classifier is trained on; an object's weights sum to one whatever the number.
        held_out: Objects of each class that are held out in a fold; `None` takes a tenth, at least one; with
            `num_folds` alone, all objects are held out once.
        num_folds: Folds, whose held-out objects are disjoint; `None` is one.
        halves: How often half of the classes is drawn, in `classes`; every second draw is the other half.
        repeats: How often pictures and objects are drawn, in the other settings.
        C: Of the classifier, as scikit-learn defines it, an object counting as one sample.
        seed: Of the split by object and of all draws.
        twins: A folder of prepared meshes, whose `twins.csv` names pairs of near-duplicates, or such a file.
        text_features: A folder that `shardtools text-features` wrote, for the similarity of classes; `None` takes
            WordNet's tree.
        bins: Of similarity, in `classes`.
        fold: Only objects that are held out in this fold, in judging predictions; `None` takes all objects.

    Raises:
        OptionError: A value is out of range, or a name comes twice.
    """

    datasets: tuple[str, ...]
    features: tuple[str, ...] = field(
        default=(), metadata=option("Name of features to fit linear classifiers to; may be repeated.", metavar="NAME")
    )
    predictions: tuple[str, ...] = field(
        default=(), metadata=option("Name of predictions to judge as they are; may be repeated.", metavar="NAME")
    )
    setting: str = field(default="canonical", metadata=option("What varies in training.", choices=tuple(SETTINGS)))
    factors: tuple[str, ...] = field(
        default=(),
        metadata=option("Factors that vary in training.", unset="all there are", metavar="NAMES", commas=True),
    )
    shares: tuple[int, ...] = field(
        default=SHARES, metadata=option("Percent that varies in training.", metavar="NUMBERS", commas=True)
    )
    images: int = field(default=20, metadata=option("Pictures an object in training.", bounds=(2, 10000)))
    held_out: int | None = field(
        default=None,
        metadata=option("Objects of a class that are held out.", bounds=(1, 10**6), unset="a tenth, at least one"),
    )
    num_folds: int | None = field(
        default=None,
        metadata=option("Folds; alone, every object is held out once.", flag="--folds", bounds=(1, 1000), unset="1"),
    )
    halves: int = field(default=4, metadata=option("Draws of half of the classes.", bounds=(1, 10000)))
    repeats: int = field(default=1, metadata=option("Draws of what varies.", bounds=(1, 10000)))
    C: float = field(
        default=1.0, metadata=option("Freedom of the classifier, as in scikit-learn.", flag="--C", bounds=(1e-9, 1e9))
    )
    seed: int = field(default=0, metadata=option("Of split and draws.", bounds=(0, 2**63 - 1)))
    twins: str | None = field(
        default=None,
        metadata=option("Pairs of near-duplicate meshes, kept on one side of the split.", metavar="MESHES"),
    )
    text_features: str | None = field(
        default=None,
        metadata=option(
            "Text features of the classes, for their similarity.", metavar="FOLDER", unset="WordNet's tree"
        ),
    )
    bins: int = field(default=4, metadata=option("Bins of similarity.", bounds=(1, 100)))
    fold: int | None = field(
        default=None,
        metadata=option("Only objects held out in this fold, of predictions.", bounds=(0, 999), unset="all objects"),
    )

    def __post_init__(self) -> None:
        for name in ("datasets", "features", "predictions", "factors"):
            given = getattr(self, name)
            if isinstance(given, str) or len(set(given)) < len(given):
                raise OptionError(f"{name} is a tuple of different names, found {given!r}")
        check_options(self)
        if not self.datasets:
            raise OptionError("a measurement needs a dataset: name one")
        if self.predictions and self.setting != "canonical":
            raise OptionError(
                f"predictions are of trained models, so nothing is fitted for --setting {self.setting}: "
                "give --features, or leave --setting out"
            )
        if (
            not self.shares
            or list(self.shares) != sorted(set(self.shares))
            or not 0 < self.shares[0] <= self.shares[-1] <= 100
        ):
            raise OptionError(f"shares are percent above 0 up to 100, rising, found {list(self.shares)}")
