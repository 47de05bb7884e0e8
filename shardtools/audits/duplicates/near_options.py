"""What may be asked of the search for near features, which is above this room (`shardtools.features.neighbors`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.errors import OptionError
from shardtools.options import option

SEARCHES = ("auto", "exact", "index")
EXACT_ROWS = 100_000
"""Rows of all datasets up to which "auto" compares all with all: some minutes on two cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearOptions:
    """Which features are compared, and how.

    Attributes:
        features: Their name in every dataset, or one for each; none takes the only ones of each dataset.
        search: "exact" compares all with all, "index" asks an index, "auto" takes the first up to `exact_rows`.
        exact_rows: Rows that are compared all with all at most.

    Raises:
        OptionError: A value is out of range.
    """

    features: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "Features of embedding, in all DATASETs; or once for each.", metavar="NAME", unset="the only ones"
        ),
    )
    search: str = field(
        default="auto",
        metadata=option(
            f"Compare all features, or by an index; auto: by an index above {EXACT_ROWS:,}.", choices=SEARCHES
        ),
    )
    exact_rows: int = EXACT_ROWS

    def __post_init__(self) -> None:
        if self.search not in SEARCHES:
            raise OptionError(f"search is one of {', '.join(SEARCHES)}, found {self.search!r}")
        if self.exact_rows < 0:
            raise OptionError(f"exact_rows is at least 0, found {self.exact_rows}")
