"""What a user may ask of `measure_transfer`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from shardtools.errors import OptionError
from shardtools.evaluation.probes import SOLVERS, ProbeOptions
from shardtools.features import FEATURE_PROTOCOLS, FeatureOptions
from shardtools.options import check_options, option, same

AUTO = "auto"
LARGE = 100_000
"""Training images above which "auto" takes SGD. The thesis fits Food-101 (75,750) by L-BFGS, and iNaturalist 2019
(265,213), ImageNet-CoG's levels and ImageNet by SGD."""

# A comma stands between two sets only where NAME= follows, so that addresses may hold commas.
_BETWEEN = re.compile(r",(?=[a-z0-9-]+=)")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferSet:
    """One dataset that features are probed on.

    Attributes:
        name: In tables and results: "eurosat".
        dataset: Folder or address.
    """

    name: str
    dataset: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOptions:
    """Which features are probed on which sets, and how.

    Attributes:
        models: Names of features that every dataset has; with `extract` encoders.
        sets: Datasets, "NAME=DATASET" or "DATASET", which is called as its folder is; one text may hold several with
            commas between them.
        training: The set that the models were trained for, of the same form, which is probed too; or a name that a set
            has in `beside`.
        apply: Other pictures of the training set's classes, "NAME=DATASET" with a name of `APPLIED` in `applied.py`, on
            which the training set's classifiers are judged.
        beside: Files of results of the same models: accuracies in training, and what `shardtools eval ood` measured.
        extract: Whether features that are missing are made, by the encoders that `models` are.
        protocol: A name of `FEATURE_PROTOCOLS`: missing features are made by it, others are held against it.
        solver: A name of `SOLVERS`, or "auto": L-BFGS up to `LARGE` training images, SGD above.
        train_split: Of every set; `None` takes "train", and "val" where "test" is tested on.
        test_split: Of every set; `None` takes "test", or "val" where there is none.
        seeds: As in `ProbeOptions`, like the nine below.
        num_trials: Settings that a search tries.
        batch: Of them, how many together.
        faithful: Whether they are tried one after the other.
        labels_by: What makes classes of two datasets the same.
        copies: What becomes of a test image whose copy would be trained on.
        device: For SGD.
        precision: What SGD multiplies.
        num_processes: That measure with SGD.
        threads: CPU threads of each.
        replace: Whether probes are begun anew.
        name: First part of the probes' names in every dataset.
        out: A folder for the probes; `None` puts each into its dataset.
        analyze: Whether the features of every set are analysed.

    Raises:
        OptionError: No model or set, one twice, or a value out of range.
    """

    models: tuple[str, ...]
    sets: tuple[str, ...] = field(
        metadata=option("Transfer sets: NAME=DATASET or DATASET, with commas.", metavar="SETS")
    )
    training: str | None = field(
        default=None,
        metadata=option("The set that models were trained for: NAME=DATASET, or a NAME in --beside.", metavar="SET"),
    )
    apply: tuple[str, ...] = field(
        default=(),
        metadata=option("Judge the training set's classifiers on v2-..., sketch, r, a.", metavar="NAME=DATASET,..."),
    )
    beside: tuple[str, ...] = field(
        default=(),
        metadata=option("Results of the same models (tables 4.2, 5.2); may be repeated.", metavar="FILE"),
    )
    extract: bool = field(default=False, metadata=option("Make missing features: each MODEL is an encoder."))
    protocol: str | None = field(
        default=None,
        metadata=option(
            "How features are made: trex, as the thesis's. Those that are there are held against it.",
            choices=tuple(FEATURE_PROTOCOLS),
            unset="any; --extract takes the encoder's own",
        ),
    )
    solver: str = field(
        default=AUTO,
        metadata=option(f"auto: lbfgs up to {LARGE:,} training images, sgd above.", choices=(AUTO, *SOLVERS)),
    )
    train_split: str | None = field(
        default=None, metadata=option("Trained on.", unset="train, and val where test is tested on")
    )
    test_split: str | None = field(default=None, metadata=option("Tested on.", unset="test, else val"))
    seeds: tuple[int, ...] = same(ProbeOptions, "seeds")
    num_trials: int = same(ProbeOptions, "num_trials")
    batch: int = same(ProbeOptions, "batch")
    faithful: bool = same(ProbeOptions, "faithful")
    labels_by: str = same(ProbeOptions, "labels_by")
    copies: str = same(ProbeOptions, "copies")
    device: str = same(ProbeOptions, "device")
    precision: str = same(ProbeOptions, "precision")
    num_processes: int | None = same(ProbeOptions, "num_processes")
    threads: int = same(ProbeOptions, "threads")
    replace: bool = same(ProbeOptions, "replace", help="Begin all probes anew.")
    name: str = field(default="transfer", metadata=option("First part of the probes' names in every dataset."))
    out: str | None = field(
        default=None, metadata=option("Write the probes there, where datasets cannot be written.", metavar="FOLDER")
    )
    analyze: bool = field(default=True, metadata=option("Leave the analyses of features out.", flag="--no-analysis"))

    def __post_init__(self) -> None:
        if isinstance(self.models, str) or not self.models or len(set(self.models)) < len(self.models):
            raise OptionError(f"models are different names of features, at least one, found {self.models!r}")
        check_options(self)
        names = [one.name for one in self.requests]
        twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
        if twice is not None:
            raise OptionError(f"--sets has {twice} twice: give each once, or another name (NAME=DATASET)")
        features = [self.features_name(model) for model in self.models]
        if len(set(features)) < len(features):
            raise OptionError(
                f"--extract names features after their encoders, and two of {', '.join(self.models)} get one name: "
                "extract them with shardtools features --name, and give these names"
            )
        if self.applied and self.training is None:
            raise OptionError("--apply judges the classifiers of --training, found none: give --training NAME=DATASET")

    @property
    def requests(self) -> tuple[TransferSet, ...]:
        """The sets, in their order.

        Raises:
            OptionError: There is none, or one is not of the form.
        """
        texts = [text for given in self.sets for text in _pieces(given)]
        if not texts:
            raise OptionError("--sets names no set: give DATASET or NAME=DATASET")
        return tuple(map(transfer_set, texts))

    def features_name(self, model: str) -> str:
        """Name of a model's features: itself, or the encoder's where missing ones are extracted."""
        return FeatureOptions(dataset="any", encoder=model).features_name if self.extract else model

    @property
    def applied(self) -> tuple[TransferSet, ...]:
        """What the training set's classifiers are judged on.

        Raises:
            OptionError: One is not of the form.
        """
        return tuple(transfer_set(text) for given in self.apply for text in _pieces(given))


def transfer_set(text: str) -> TransferSet:
    """A set as it is typed.

    Raises:
        OptionError: It is not of the form.
    """
    before, equals, after = text.strip().partition("=")
    # An "=" behind a "/" is part of an address.
    if equals and "/" not in before:
        name, dataset = before, after
    else:
        name, dataset = text.strip().rstrip("/").rpartition("/")[2].lower().replace("_", "-"), text.strip()
    if not dataset or not _NAME.fullmatch(name):
        raise OptionError(f"a set is DATASET or NAME=DATASET, the name of small letters, digits and -, found {text!r}")
    return TransferSet(name=name, dataset=dataset)


def _pieces(given: str) -> list[str]:
    """Sets of one text; where none has a name, every comma stands between two."""
    return _BETWEEN.split(given) if _BETWEEN.search(f",{given}") else given.split(",")
