"""Options of a printed table of results."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.errors import OptionError
from shardtools.options import check_options, option

REFERENCE_NAMES = (
    "seed001",
    "robustbench",
    "robustness",
    "linf",
    "testbed",
    "timm",
    "imagenet-x",
    "cue-conflict",
    "seed002",
    "cog",
    "trex",
    "imagenet-sd",
)
"""Shipped sets of published figures; `shardtools.evaluation.results.REFERENCES` says what each is."""

LAYOUT_NAMES = ("4.2", "4.3", "D.1", "5.2", "5.3", "5.4")
"""Tables of the thesis; `shardtools.evaluation.results.LAYOUTS` says what each is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """What is put together.

    Attributes:
        results: Files of own results; none for published ones alone.
        references: Names of shipped figures to put beside them.
        study: Of which rows are taken; `None` takes all.
        models: Parts of names of networks; empty takes all.
        datasets: Names of test sets; empty takes all.
        metrics: Names of metrics; empty takes all.
        parts: Whether figures of parts of a set (a corruption at a severity, a factor) are taken too.
        limit: Most networks of each set of published figures.
        table: A table of the thesis, with its published figures; its columns choose the rows.
    """

    results: tuple[str, ...] = ()
    references: tuple[str, ...] = field(
        default=(),
        metadata=option(
            f"Published figures to put beside: {', '.join(REFERENCE_NAMES)}; may be repeated.",
            flag="--reference",
            metavar="NAME",
        ),
    )
    study: str | None = field(default=None, metadata=option("Only rows of this study (ood, ...).", metavar="NAME"))
    models: tuple[str, ...] = field(
        default=(),
        metadata=option("Only networks whose name holds this; may be repeated.", flag="--model", metavar="TEXT"),
    )
    datasets: tuple[str, ...] = field(
        default=(), metadata=option("Only this test set; may be repeated.", flag="--on", metavar="NAME")
    )
    metrics: tuple[str, ...] = field(
        default=(), metadata=option("Only this metric; may be repeated.", flag="--metric", metavar="NAME")
    )
    parts: bool = field(
        default=False, metadata=option("Figures of parts of a set too: a corruption at a severity, a factor.")
    )
    limit: int = field(
        default=30, metadata=option("Most networks of each published set in a table.", bounds=(1, 100_000))
    )

    table: str | None = field(
        default=None,
        metadata=option("Lay them out as this table of the thesis, beside its figures.", choices=LAYOUT_NAMES),
    )

    def __post_init__(self) -> None:
        """Holds the values against their declarations.

        Raises:
            OptionError: One is outside, or there is neither a file nor a name of published figures.
        """
        check_options(self)
        unknown = [name for name in self.references if name not in REFERENCE_NAMES]
        if unknown:
            raise OptionError(f"--reference is one of {', '.join(REFERENCE_NAMES)}, found {unknown[0]!r}")
        if self.table is not None:
            if self.references or self.datasets or self.metrics or self.parts:
                raise OptionError(
                    f"--table {self.table} has its own columns and published figures: leave --reference, --on, "
                    "--metric, --parts and --severities out"
                )
        elif not self.results and not self.references:
            raise OptionError(
                "a table needs results: give a file that `shardtools eval ood --results` wrote, or --reference with "
                f"one of {', '.join(REFERENCE_NAMES)}"
            )
