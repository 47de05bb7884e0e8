"""What an audit can be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.errors import OptionError
from shardtools.options import option

FEWEST_NEIGHBORS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """How an audit works.

    Attributes:
        seed: Of folds and planted noise.
        num_folds: Parts of the dataset, each judged by a model of the others.
        num_dimensions: Principal components that are kept of each encoder.
        num_neighbors: Neighbours found of each sample.
        planted_rates: Share of samples given a wrong label on purpose, once for each rate, to learn the vote.
        hard_rate: Share of samples given a wrong label in one more round, on hard pictures.
        confidence: Of all intervals.
    """

    seed: int = field(default=0, metadata=option("Of folds and planted noise."))
    num_folds: int = field(default=5, metadata=option("Parts that are judged in turn.", flag="--folds"))
    num_dimensions: int = 256
    num_neighbors: int = field(default=50, metadata=option("Neighbours found of each sample.", flag="-k"))
    planted_rates: tuple[float, ...] = (0.05, 0.1, 0.2)
    hard_rate: float = 0.1
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise OptionError(f"seed is at least 0, found {self.seed}")
        if self.num_folds < 2:
            raise OptionError(f"num_folds is at least 2, found {self.num_folds}")
        if self.num_dimensions < 1:
            raise OptionError(f"num_dimensions is at least 1, found {self.num_dimensions}")
        if self.num_neighbors < FEWEST_NEIGHBORS:
            raise OptionError(f"num_neighbors is at least {FEWEST_NEIGHBORS}, found {self.num_neighbors}")
        if not self.planted_rates or not all(0 < rate <= 0.5 for rate in self.planted_rates):
            raise OptionError(f"planted_rates are one or more, above 0 and at most 0.5, found {self.planted_rates}")
        if not 0 < self.hard_rate <= 0.5:
            raise OptionError(f"hard_rate is above 0 and at most 0.5, found {self.hard_rate}")
        if not 0.5 <= self.confidence < 1:
            raise OptionError(f"confidence is at least 0.5 and below 1, found {self.confidence}")
