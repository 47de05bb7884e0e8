"""What a user may ask of a label audit, and what came of it.

Owns the names. Bounds of folds, neighbours and seed are those of `shardtools.audits.labels.scores.AuditOptions`,
checked here so that a wrong one is refused before anything is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shardtools.audits.labels.scores import AuditOptions
from shardtools.errors import OptionError
from shardtools.options import option, same
from shardtools.overlays import check_name


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAuditOptions:
    """Whose labels, by which evidence.

    Attributes:
        dataset: Folder or address of a finished dataset with features.
        features: Names of the features, or folders where they lie, one an encoder; none takes the only ones, or with
            `probabilities` does without.
        probabilities: Files with the probabilities of a model that has not seen the sample it judges (out of fold),
            .npy or .parquet; see `shardtools.features.read_rows_file`. They need no features.
        training: Overlay with the records of a training on these labels: a name in the dataset, or a folder ("/" in
            it); `None` does without.
        split: Only the samples of this split.
        where: Only the samples for which this SQL condition on `samples` holds.
        num_folds: Parts of the dataset, each judged by models of the others.
        k: Neighbours found of each sample.
        seed: Of folds and planted noise.
        overlay: Name of the overlay that is written.
        out: Folder for the overlay, where the dataset cannot be written.
        replace: Whether an overlay of that name is written anew.
        allow_small: Whether classes with one sample may be there; they are left out.

    Raises:
        OptionError: A value is out of range.
    """

    dataset: str
    features: tuple[str, ...] = field(
        default=(), metadata=option("Again for a second encoder.", metavar="NAME", unset="the only ones")
    )
    probabilities: tuple[str, ...] = field(
        default=(),
        metadata=option("Own out-of-fold probabilities, .npy or .parquet; again for a second model.", metavar="FILE"),
    )
    training: str | None = field(
        default=None,
        metadata=option("Records of a training on these labels: RUN/records, or a name.", metavar="OVERLAY"),
    )
    split: str | None = field(default=None, metadata=option("Only this split.", unset="all"))
    where: str | None = field(
        default=None, metadata=option("Condition on the rows of `samples`: \"source = 'real'\".", metavar="SQL")
    )
    num_folds: int = same(AuditOptions, "num_folds")
    k: int = same(AuditOptions, "num_neighbors")
    seed: int = same(AuditOptions, "seed")
    overlay: str = field(default="label_noise", metadata=option("Name of the overlay that is written."))
    out: str | None = field(
        default=None, metadata=option("Write the overlay there, where DATASET cannot be written.", metavar="FOLDER")
    )
    replace: bool = field(default=False, metadata=option("Write anew an overlay that is there."))
    allow_small: bool = field(
        default=False, metadata=option("Leave out classes with one sample; their scores stay empty.")
    )

    def __post_init__(self) -> None:
        check_name(self.overlay)
        if isinstance(self.features, str) or len(set(self.features)) < len(self.features):
            raise OptionError(f"features is a tuple of different names, found {self.features!r}")
        if isinstance(self.probabilities, str) or len(set(self.probabilities)) < len(self.probabilities):
            raise OptionError(f"probabilities is a tuple of different files, found {self.probabilities!r}")
        self.audit_options()

    def audit_options(self) -> AuditOptions:
        """What the audit itself is told."""
        return AuditOptions(seed=self.seed, num_folds=self.num_folds, num_neighbors=self.k)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAuditResult:
    """What came of it.

    Attributes:
        dataset: As given.
        overlay: Address of the overlay.
        summary_file: Address of `summary.json`.
        num_samples: Rows of the overlay.
        num_audited: Those with scores.
        left_out: Reason -> samples without scores.
        noise_rate: Share of wrong labels: "low", "estimate", "high".
        confident_noise_rate: The same as confident learning alone has it.
        estimators: The same by each estimator, as in `shardtools.audits.labels.scores.Estimators`: "mixture",
            "confident_learning", "disagreement", "agreed", "clear", and how much "clear" says: "clear_labels",
            "unexpected". Where they part, the interval of the rate is wide.
        cuts: What to expect of taking the most suspect, as in `summary.json`.
        suspects: The most suspect, worst first: "key", "given_wnid", "suggested_wnid", "noise_probability".
        vote_weights: Evidence -> its weight in the vote.
    """

    dataset: str
    overlay: str
    summary_file: str
    num_samples: int
    num_audited: int
    left_out: Mapping[str, int]
    noise_rate: Mapping[str, float]
    confident_noise_rate: float
    estimators: Mapping[str, float]
    cuts: tuple[Mapping[str, Any], ...]
    suspects: tuple[Mapping[str, Any], ...]
    vote_weights: Mapping[str, float]

    @property
    def is_range(self) -> bool:
        """Whether the noise rate is better told as a range than as a number."""
        return self.noise_rate["high"] > max(2 * self.noise_rate["low"], 0.01)
