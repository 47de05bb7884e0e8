"""What a user may ask about features, and what came of it.

Owns the names.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.errors import OptionError
from shardtools.options import option


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzeOptions:
    """Whose features are analysed.

    Attributes:
        datasets: Folders or addresses of finished datasets with features.
        features: Their name in every dataset; `None` takes the only ones.
        split: Split whose features are taken; `None` for all.

    Raises:
        OptionError: No dataset, or one twice.
    """

    datasets: tuple[str, ...]
    features: str | None = field(
        default=None, metadata=option("Name of the features in every dataset.", unset="the only ones")
    )
    split: str | None = field(default=None, metadata=option("Split whose features are taken.", unset="all"))

    def __post_init__(self) -> None:
        if isinstance(self.datasets, str) or not self.datasets:
            raise OptionError(f"an analysis needs a tuple of datasets, found {self.datasets!r}: name one")
        twice = [one for number, one in enumerate(self.datasets) if one in self.datasets[:number]]
        if twice:
            raise OptionError(f"{twice[0]} is given twice: each dataset counts once in the mean, give it once")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureAnalysis:
    """The four measures of one dataset's features (thesis, section 5.5.5), all of l2-normalised features.

    Attributes:
        dataset: As given; "mean" for the mean over several.
        features: Name of the features.
        encoder: Name of the encoder, as `features.json` has it.
        num_samples: Features that were looked at.
        num_classes: Classes with two samples or more, which the distance is of.
        sparsity: Share of values near 0, 0 to 1.
        intra_class_distance: Mean distance of two samples of a class, 0 to 2; `None` where no class has two.
        redundancy: Mean absolute correlation of two dimensions; `None` of a single sample.
        coding_length: Nats a sample.
    """

    dataset: str
    features: str
    encoder: str
    num_samples: int
    num_classes: int
    sparsity: float
    intra_class_distance: float | None
    redundancy: float | None
    coding_length: float
