"""What a user may ask of a probe.

Owns the names. What decides on a cell goes into `ProbePlan`; seeds, shots and devices do not: a run of more seeds goes
on with the cells that are there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from shardtools.errors import OptionError
from shardtools.evaluation.protocols import PROBE_PROTOCOLS
from shardtools.features import FeatureOptions
from shardtools.options import check_options, option, same
from shardtools.overlays import check_name

SOLVERS: dict[str, str] = {
    "sgd": "the protocol of ImageNet-CoG: momentum, cosine, batches of 1,024; learning rate and decay are searched",
    "lbfgs": "the protocol of t-ReX's small sets: L-BFGS to the minimum; C is searched",
}
"""Name of a solver -> what it does."""

SEEDS = (22, 37, 45, 77, 93)
"""Of ImageNet-CoG."""

EPOCHS, NUM_TRIALS = 100, 30
"""Of a classifier by "sgd", and of a search, in ImageNet-CoG."""

TRIALS_TOGETHER = 10
"""Ours; as published, one after the other."""

LABELS_BY = ("wnid", "index")
PRECISIONS = ("fp32", "tf32", "bf16")
"""What is multiplied: numbers as they are; on a GPU with 10 bits after the point; with 7. Sums stay float32."""

COPIES = ("refuse", "drop", "keep")
PREDICTIONS = ("first", "all", "none")
_MAX_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """Linear classifiers on which features, and how they are found.

    Attributes:
        dataset: Folder or address of the dataset that is trained on.
        features: Name of its features; or, with a "/" in it, the folder where they lie.
        test_dataset: The dataset that is tested on; `None` is the same.
        test_features: Name or folder of its features; `None` takes the same name.
        train_split: Trained on.
        val_split: Chooses the settings; `None` draws a fifth of each class of the training split.
        test_split: Tested on.
        train_view: SQL that returns `key`, as in `LoaderOptions.view`, instead of `train_split`.
        test_view: The same instead of `test_split`.
        overlays: Folders or addresses of overlays that the views name and that are not in their dataset.
        solver: A name of `SOLVERS`.
        shots: Images a class that are learnt from, one measurement each; empty takes all.
        seeds: Of the draws, the search and the first weights; one measurement each.
        num_trials: Settings that the search tries.
        batch: Of them, how many are tried together.
        faithful: Whether they are tried one after the other, each knowing all before, as published.
        balanced: Training images of every class, drawn once; `None` takes all.
        l2: Whether features get length 1; `None` does for "sgd" and not for "lbfgs", as published.
        epochs: Of "sgd".
        labels_by: Whether classes of two datasets are the same by "wnid" or by "index".
        copies: What becomes of a test or validation image whose exact copy would be trained on: "refuse" ends, "drop"
            leaves the copy out of training, "keep" trains on it, as programs do that do not look.
        predictions: Whether an overlay of predictions is written of the "first" seed of each number of shots, of "all"
            seeds, or of "none".
        name: Of the run in the dataset; `None` makes one of the features' and the solver's.
        out: A folder for the run itself; `None` puts it into the dataset.
        apply: Other datasets whose images the first classifier of each number of shots judges, as the thesis looks for
            labels that are missing (section 3.5.3); an overlay of predictions in each.
        apply_split: Only the images of this split there; `None` takes all.
        device: One of `DEVICES` of features; for "sgd".
        precision: What "sgd" multiplies: one of `PRECISIONS`, the last two for a GPU.
        num_processes: That measure with "sgd", each its own share of shots and seeds; `None` takes one a GPU, or one.
        threads: CPU threads of each.
        replace: Whether a run of that name is begun anew.

    Raises:
        OptionError: A value is out of range, or two contradict each other.
    """

    dataset: str
    features: str = field(metadata=option("Name of the features, or their folder.", metavar="NAME"))
    test_dataset: str | None = field(
        default=None, metadata=option("Test on this dataset.", metavar="DATASET", unset="the same")
    )
    test_features: str | None = field(
        default=None, metadata=option("Name or folder of its features.", metavar="NAME", unset="the same name")
    )
    solver: str = field(default="sgd", metadata=option("How the classifier is found.", choices=tuple(SOLVERS)))
    shots: tuple[int, ...] = field(
        default=(),
        metadata=option("Images a class, with commas between them.", metavar="NUMBERS", commas=True, unset="all"),
    )
    seeds: tuple[int, ...] = field(
        default=SEEDS,
        metadata=option("One measurement each, with commas between them.", metavar="NUMBERS", commas=True),
    )
    train_split: str = field(default="train", metadata=option("Trained on."))
    val_split: str | None = field(
        default=None, metadata=option("Chooses the settings.", unset="a fifth of each class of the training split")
    )
    test_split: str = field(default="val", metadata=option("Tested on."))
    train_view: str | None = field(
        default=None, metadata=option("SQL that returns the keys to train on, instead of a split.", metavar="SQL")
    )
    test_view: str | None = field(
        default=None, metadata=option("SQL that returns the keys to test on, instead of a split.", metavar="SQL")
    )
    overlays: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "An overlay elsewhere that the SQL names; may be repeated.", flag="--overlay", metavar="FOLDER"
        ),
    )
    num_trials: int = field(
        default=NUM_TRIALS, metadata=option("Settings that are tried.", flag="--trials", bounds=(1, 100_000))
    )
    batch: int = field(default=TRIALS_TOGETHER, metadata=option("Of them, how many together.", bounds=(1, 1000)))
    faithful: bool = field(default=False, metadata=option("Try them one after the other, as published."))
    balanced: int | None = field(
        default=None,
        metadata=option("Training images of every class (732 in ImageNet-CoG).", bounds=(1, 10**9), unset="all"),
    )
    l2: bool | None = field(
        default=None, metadata=option("Features of length 1.", unset="with sgd, not with lbfgs, as published")
    )
    epochs: int = field(default=EPOCHS, metadata=option("Of sgd.", bounds=(1, 100_000)))
    labels_by: str = field(
        default="wnid", metadata=option("What makes classes of two datasets the same.", choices=LABELS_BY)
    )
    copies: str = field(
        default="refuse",
        metadata=option("Of test and validation images among those trained on.", choices=COPIES),
    )
    predictions: str = field(
        default="first", metadata=option("Seeds whose predictions become an overlay.", choices=PREDICTIONS)
    )
    name: str | None = field(default=None, metadata=option("Name of the run.", unset="FEATURES_SOLVER"))
    out: str | None = field(
        default=None, metadata=option("Write the run there, where DATASET cannot be written.", metavar="FOLDER")
    )
    apply: tuple[str, ...] = field(
        default=(),
        metadata=option("Judge the images of this dataset too; may be repeated.", metavar="DATASET"),
    )
    apply_split: str | None = field(default=None, metadata=option("Only this split of it.", unset="all"))
    device: str = same(FeatureOptions, "device")
    precision: str = field(default="fp32", metadata=option("Of sgd's products of matrices.", choices=PRECISIONS))
    num_processes: int | None = field(
        default=None, metadata=option("Processes of sgd on this machine.", bounds=(1, 4096), unset="one a GPU, or one")
    )
    threads: int = field(default=1, metadata=option("CPU threads of each.", bounds=(1, 1024)))
    replace: bool = field(default=False, metadata=option("Begin a run of that name anew."))

    def __post_init__(self) -> None:
        check_options(self)
        for name in ("shots", "seeds"):
            given = getattr(self, name)
            if len(set(given)) < len(given) or any(one < (1 if name == "shots" else 0) for one in given):
                raise OptionError(
                    f"--{name} are different numbers from {1 if name == 'shots' else 0}, found {list(given)}"
                )
        if not self.seeds or max(self.seeds) > _MAX_SEED:
            raise OptionError(f"--seeds are one or more numbers up to {_MAX_SEED}, found {list(self.seeds)}")
        if self.train_view is not None and self.val_split is not None:
            raise OptionError("--train-view chooses its own samples, validation is drawn from them: leave --val-split")
        if self.overlays and self.train_view is None and self.test_view is None:
            raise OptionError("--overlay is for the SQL of a view, found none: give --train-view or --test-view")
        if self.test_features is not None and self.test_dataset is None:
            raise OptionError("--test-features are of --test-dataset, found none: give both")
        if self.apply_split is not None and not self.apply:
            raise OptionError("--apply-split is of --apply, found none: give a dataset")
        if (self.test_dataset or self.dataset) in self.apply:
            raise OptionError("--apply judges other datasets, found the one that is tested on anyway: leave it out")
        check_name(self.run_name)

    @property
    def run_name(self) -> str:
        """Name of the run: as given, or the features' and the solver's."""
        if self.name is not None:
            return self.name
        plain = re.sub(r"[^a-z0-9]+", "_", self.features.rstrip("/").rpartition("/")[2].lower()).strip("_")
        return f"{plain}_{self.solver}"[:64] if plain[:1].isalpha() else f"f_{plain}_{self.solver}"[:64]

    @property
    def normalizes(self) -> bool:
        """Whether features get length 1."""
        return PROBE_PROTOCOLS[self.solver].l2 if self.l2 is None else self.l2

    @property
    def trials_together(self) -> int:
        """Settings that are tried together."""
        return 1 if self.faithful else min(self.batch, self.num_trials)
