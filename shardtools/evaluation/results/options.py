"""Options of a printed table of results."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.options import check_options, option

REFERENCE_NAMES = ("seed001", "robustbench")
"""Shipped sets of published figures; `shardtools.evaluation.results.references` says what each is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """What is printed.

    Attributes:
        results: Files of own results; none prints the published ones alone.
        references: Names of shipped figures to put beside them.
        study: Of which rows are taken; `None` takes all.
        models: Names of networks, or parts of names; empty takes all.
        datasets: Names of test sets; empty takes all.
        metrics: Names of metrics; empty takes all.
    """

    results: tuple[str, ...] = ()
    references: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "Published figures to print beside own ones; may be repeated.",
            flag="--reference",
            metavar=f"[{'|'.join(REFERENCE_NAMES)}]",
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

    def __post_init__(self) -> None:
        """Holds the values against their declarations."""
        check_options(self)
