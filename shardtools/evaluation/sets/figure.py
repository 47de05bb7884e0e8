"""One figure of a model on a test set, before it becomes a row of results."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A value and what it is of.

    Attributes:
        metric: A name in `evaluation.metrics.METRICS`.
        value: As the metric's function gives it; shares are 0 to 1.
        split: Part of the set, "" for the whole: "gaussian_noise/3".
        how: What is particular about it, for its protocol: the classes it is restricted to, the decision.
        interval: Ends of its interval of 95 %; `None` where there is none.
        is_main: Whether tables show it where nothing else is asked for.
    """

    metric: str
    value: float
    split: str = ""
    how: str = ""
    interval: tuple[float, float] | None = None
    is_main: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """All figures of a model on a test set, and what a reader should know of them.

    Attributes:
        figures: In the order of tables.
        notes: One line each: what was left out, and how much.
    """

    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()
