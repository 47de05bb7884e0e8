"""What a user may ask of the funnel, the levels and a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.errors import OptionError
from shardtools.evaluation.probes import ProbeOptions
from shardtools.options import check_options, option, same
from shardtools.overlays import check_name

MEASURES: dict[str, str] = {
    "lin": "Lin's, by the information that two concepts share (thesis, section 3.3.3)",
    "wu-palmer": "Wu and Palmer's, by depth in the tree",
    "jiang-conrath": "Jiang and Conrath's, by the information that is not shared",
    "text": "the cosine of vectors of the concepts' texts (thesis, section 3.5.2)",
}
"""Name of a measure of similarity -> what it is."""

LEAVES: dict[str, str] = {
    "ancestors": "no remaining concept lies below it, at any depth",
    "parents": "no remaining concept has it as a direct parent",
}
"""Name of a reading of "leaf" -> which concepts stay (thesis, section 3.3.2 has the first in words, the second in
its formula)."""

PERSON = "n00007846"
NO_EXCLUSION = "none"
EXCLUDED_70 = "cog"


@dataclass(frozen=True, slots=True, kw_only=True)
class EligibleOptions:
    """Which concepts may be unseen ones; the defaults are those of ImageNet-CoG (thesis, section 3.3.2).

    Attributes:
        seen: Classes that models were trained on, as `shardtools classes` takes them.
        pool: Classes to choose from.
        without: Synsets that are left out with all that is below them.
        leaves: A name of `LEAVES`.
        counts: A .csv with the columns wnid and count, or a dataset whose images are counted; `None` skips the step.
        least: Images that a concept has at least.
        exclude: Classes left out at the end: "cog" for the 70 of the thesis's table 3.1, "none", or any others.

    Raises:
        OptionError: A value is out of range.
    """

    seen: str = field(
        default="imagenet-1k",
        metadata=option("Classes that models have seen: a class set, a .txt, wnids.", metavar="CLASSES"),
    )
    pool: str = field(
        default="imagenet-21k", metadata=option("Classes that unseen ones are chosen from.", metavar="CLASSES")
    )
    without: tuple[str, ...] = field(
        default=(PERSON,), metadata=option("Synsets left out with all below them.", metavar="WNIDS", commas=True)
    )
    leaves: str = field(
        default="ancestors",
        metadata=option("A leaf has nothing that remains below it, or is no direct parent.", choices=tuple(LEAVES)),
    )
    counts: str | None = field(
        default=None,
        metadata=option("Images a concept: a .csv of wnid,count, or a dataset.", metavar="FILE", unset="not filtered"),
    )
    least: int = field(default=782, metadata=option("Images that a concept has at least.", bounds=(0, 10**9)))
    exclude: str = field(
        default=EXCLUDED_70,
        metadata=option("Classes left out at the end; cog: the 70 of the thesis; none.", metavar="CLASSES"),
    )

    def __post_init__(self) -> None:
        check_options(self)
        if isinstance(self.without, str):
            raise OptionError(f"without is a tuple of wnids, found {self.without!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelOptions:
    """Which levels are made, of which concepts; the defaults are those of ImageNet-CoG (thesis, section 3.3.3).

    Attributes:
        measure: A name of `MEASURES`.
        vectors: Of the texts, for "text": a folder of `shardtools text-features` or a .npy.
        num_levels: How many levels.
        size: Concepts a level.
        concepts: Classes that levels are made of; `None` takes what the funnel leaves.
        levels: A .csv of levels or the published .pkl, taken as they are; `None` makes some.
        again: Whether the concepts of `levels` are ranked again by the measure and cut anew.
        random: How many levels of concepts drawn at random are made instead; `None` ranks.
        seed: Of all draws.

    Raises:
        OptionError: A value is out of range, or two options contradict each other.
    """

    measure: str = field(
        default="lin", metadata=option("How alike two concepts are.", choices=tuple(MEASURES), metavar="MEASURE")
    )
    vectors: str | None = field(
        default=None,
        metadata=option("Vectors of texts for text: a folder of text-features, or a .npy.", metavar="PATH"),
    )
    num_levels: int = field(default=5, metadata=option("How many levels.", bounds=(1, 10_000)))
    size: int = field(default=1000, metadata=option("Concepts a level.", bounds=(2, 1_000_000)))
    concepts: str | None = field(
        default=None,
        metadata=option("Classes that levels are made of.", metavar="CLASSES", unset="what the funnel leaves"),
    )
    levels: str | None = field(
        default=None,
        metadata=option("Levels as they are: a .csv of this command, or the published .pkl.", metavar="FILE"),
    )
    again: bool = field(default=False, metadata=option("Rank the concepts of --levels by --measure and cut them anew."))
    random: int | None = field(
        default=None,
        metadata=option(
            "Draw this many levels (the thesis: 15) without regard to similarity.", bounds=(1, 10_000), metavar="N"
        ),
    )
    seed: int = field(default=22, metadata=option("Of all draws.", bounds=(0, 2**63 - 1)))

    def __post_init__(self) -> None:
        check_options(self)
        if self.levels is not None and self.concepts is not None:
            raise OptionError("levels hold their own concepts: give --levels or --concepts, not both")
        if self.again and self.levels is None:
            raise OptionError("--again ranks the concepts of levels: name them with --levels FILE")
        if self.again and self.random is not None:
            raise OptionError("--again ranks concepts and --random draws them: give one")
        if self.vectors is not None and self.measure != "text":
            raise OptionError(f"vectors are for --measure text, found --measure {self.measure}: give one or the other")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOptions:
    """How the images of a dataset are dealt to training and test of each level.

    Attributes:
        name: Of the overlay that says so.
        num_train: Images a concept for training, at most.
        num_test: Images a concept for testing.
        parts: The published .pkl that names the images of both; `None` draws them.
        seed: Of the draw.
        replace: Whether an overlay of that name is written anew.

    Raises:
        OptionError: A value is out of range.
    """

    name: str = field(default="cog_levels", metadata=option("Name of the overlay.", metavar="NAME"))
    num_train: int = field(
        default=1300, metadata=option("Images a concept for training, at most.", flag="--train", bounds=(1, 10**9))
    )
    num_test: int = field(
        default=50, metadata=option("Images a concept for testing.", flag="--test", bounds=(1, 10**9))
    )
    parts: str | None = field(
        default=None,
        metadata=option("The published .pkl of images for training and testing.", metavar="FILE", unset="drawn"),
    )
    seed: int = same(LevelOptions, "seed")
    replace: bool = field(default=False, metadata=option("Write that overlay anew."))

    def __post_init__(self) -> None:
        check_options(self)


SHOTS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Images a concept in appendix B of the thesis, beside all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CogOptions:
    """Which representations are measured on which levels; the protocol is that of the thesis, section 3.3.4.

    Attributes:
        levels: "NAME=DATASET", a dataset a level, with splits of its own: "IN-1K=imagenet", "L1=cog-l1".
        dataset: A dataset that holds several levels, which `overlay` says.
        overlay: The overlay that `shardtools cog levels --from` wrote.
        only: Names of its levels that are measured; empty takes all.
        features: Names of features that every dataset has, one a model.
        shots: Images a concept, one measurement each, beside all images; empty measures with all alone.
        whole: Whether it is measured with all images, too.
        train_split: Trained on, of the datasets of `levels`.
        test_split: Tested on, of the datasets of `levels`.
        baseline: The model that others are compared with; `None` is that of the first features.
        name: Names of the probes begin so; they lie in the datasets.
        solver, seeds, num_trials, batch, faithful, balanced, l2, epochs, copies, predictions, device, precision,
            num_processes, threads, replace: As `ProbeOptions` has them.

    Raises:
        OptionError: A value is out of range, a level comes twice, or there is no level, no features or nothing to
            measure.
    """

    levels: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "A dataset a level, such as IN-1K=imagenet; may be repeated.", flag="--level", metavar="NAME=DATASET"
        ),
    )
    dataset: str | None = field(
        default=None, metadata=option("A dataset that holds several levels.", metavar="DATASET")
    )
    overlay: str = same(PartOptions, "name", help="Its overlay that says which images are a level's.")
    only: tuple[str, ...] = field(
        default=(), metadata=option("Of its levels.", metavar="NAMES", commas=True, unset="all")
    )
    features: tuple[str, ...] = field(
        default=(), metadata=option("Features of a model; may be repeated.", metavar="NAME")
    )
    shots: tuple[int, ...] = field(
        default=SHOTS, metadata=option("Images a concept, with commas between them.", metavar="NUMBERS", commas=True)
    )
    whole: bool = field(default=True, metadata=option("All images, too.", flag="--few-only"))
    solver: str = same(ProbeOptions, "solver")
    seeds: tuple[int, ...] = same(ProbeOptions, "seeds")
    num_trials: int = same(ProbeOptions, "num_trials")
    batch: int = same(ProbeOptions, "batch")
    faithful: bool = same(ProbeOptions, "faithful")
    balanced: int | None = same(ProbeOptions, "balanced")
    l2: bool | None = same(ProbeOptions, "l2")
    epochs: int = same(ProbeOptions, "epochs")
    copies: str = same(ProbeOptions, "copies")
    predictions: str = same(ProbeOptions, "predictions")
    train_split: str = same(ProbeOptions, "train_split", help="Trained on, of a dataset a level.")
    test_split: str = same(ProbeOptions, "test_split", help="Tested on, of a dataset a level.")
    baseline: str | None = field(
        default=None, metadata=option("Compare with this model.", metavar="MODEL", unset="the first")
    )
    name: str = field(default="cog", metadata=option("Names of the probes begin so.", metavar="NAME"))
    device: str = same(ProbeOptions, "device")
    precision: str = same(ProbeOptions, "precision")
    num_processes: int | None = same(ProbeOptions, "num_processes")
    threads: int = same(ProbeOptions, "threads")
    replace: bool = same(ProbeOptions, "replace")

    def __post_init__(self) -> None:
        check_options(self)
        check_name(self.name)
        names = [text.partition("=")[0] for text in self.levels]
        for text, name in zip(self.levels, names, strict=True):
            if "=" not in text or not name or text.endswith("="):
                raise OptionError(f"--level is NAME=DATASET, such as L1=cog-l1, found {text!r}")
            if names.count(name) > 1:
                raise OptionError(f"--level {name} comes twice: name each level once")
        if not self.levels and self.dataset is None:
            raise OptionError("a run needs levels: give --level NAME=DATASET, or --dataset with an overlay of levels")
        if self.only and self.dataset is None:
            raise OptionError("--only chooses among the levels of --dataset: give it")
        if not self.features or len(set(self.features)) < len(self.features):
            raise OptionError(
                f"a run needs different features, found {list(self.features)}: give --features NAME (`shardtools "
                "features` makes them)"
            )
        if not self.whole and not self.shots:
            raise OptionError("nothing is measured: give --shots, or leave --few-only out")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """Which figures become tables and pictures.

    Attributes:
        results: Files of `shardtools cog run --results` and the like.
        references: Names of published figures to put beside them.
        models: Parts of names of published models; empty takes all.
        baseline: The model that others are compared with; `None` is the first own one, of published ones alone the
            first of them.
        fine_tuned: A file of results of models that were trained on the levels; `None` where there is none.

    Raises:
        OptionError: There is nothing to report.
    """

    results: tuple[str, ...] = ()
    references: tuple[str, ...] = field(
        default=(), metadata=option("Published figures to put beside: cog.", flag="--reference", metavar="NAME")
    )
    models: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "Of published models those whose name holds this; may be repeated.", flag="--model", metavar="TEXT"
        ),
    )
    baseline: str | None = same(CogOptions, "baseline")
    fine_tuned: str | None = field(
        default=None,
        metadata=option("Results of models trained on the levels, for the figure beside them.", metavar="FILE"),
    )

    def __post_init__(self) -> None:
        check_options(self)
        if not self.results and not self.references:
            raise OptionError(
                "a report needs results: give a file of `shardtools cog run --results`, or --reference cog"
            )
