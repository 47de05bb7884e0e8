"""What of seed 003 can be seen: one line a finding, with the figure here and a verdict.

Owns the rule of verdicts: an interval of 95 % over networks that leaves zero out says yes or no, one that does not is
open; what has no interval is told without a verdict. Nothing is tuned on these figures. The price of that rule is that
ten networks leave much open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardtools.evaluation.metrics import Estimated
from shardtools.evaluation.results import TextTable
from shardtools.pipelines.studies.transfer.plan import CLOTHES, LITE_ACCURACY
from shardtools.pipelines.studies.transfer.tuning import NOTHING
from shardtools.transfer import ALL, Agreement, Correlation, Point, Report, estimate_text

YES, NO, OPEN, TOLD = "holds", "does not hold", "open", ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A line.

    Attributes:
        text: What is asked.
        place: Where the seed has it.
        here: The figure.
        verdict: `YES`, `NO`, `OPEN`, or `TOLD`.
    """

    text: str
    place: str
    here: str
    verdict: str


def judge(
    correlations: Sequence[Correlation], agreements: Sequence[Agreement], lite: Sequence[Point], tuned: Report
) -> list[Finding]:
    """All findings.

    Args:
        correlations: Of probes with the accuracy in pretraining.
        agreements: Of probes, sets among one another.
        lite: EfficientNet-Lite with ImageNet's accuracy.
        tuned: What fine-tuning came to.
    """
    return [
        *(_rank(one) for one in correlations if one.group == ALL),
        *(_bar(correlations, one) for one in correlations if one.group == ALL),
        *(_others(one) for one in agreements),
        *_tuned(tuned),
        *_lite(lite),
    ]


def _rank(one: Correlation) -> Finding:
    near = "like the pretraining" if one.set == CLOTHES else "unlike it"
    figure = one.figures.get("spearman")
    return Finding(
        text=f"{one.set} ({near}): the more accurate network in pretraining is the better one (Spearman)",
        place="figure 1",
        here=estimate_text(figure),
        verdict=_verdict(figure),
    )


def _bar(correlations: Sequence[Correlation], one: Correlation) -> Finding:
    """Less of it is left among the better networks: two slopes, told beside each other."""
    above = next(other for other in correlations if other.set == one.set and other.group != ALL)
    slopes = [estimate_text(each.figures.get("normalized_slope")) for each in (one, above)]
    return Finding(
        text=f"{one.set}: slope of all networks, and of the {above.num_networks} {above.group}",
        place="table 2",
        here=f"{slopes[0]}; {slopes[1]}",
        verdict=TOLD,
    )


def _others(one: Agreement) -> Finding:
    return Finding(
        text=f"{one.set}: ranks on the other sets say more than the accuracy in pretraining (Spearman, difference)",
        place="N.2",
        here=f"{one.ranks.with_others:+.2f} - {one.ranks.with_reference:+.2f} = {estimate_text(one.ranks.difference)}",
        verdict=_verdict(one.ranks.difference),
    )


def _verdict(figure: Estimated | None) -> str:
    if figure is None or figure.interval is None:
        return TOLD
    low, high = figure.interval
    return YES if low > 0 else NO if high < 0 else OPEN


def _tuned(report: Report) -> list[Finding]:
    """What fine-tuning leaves of the differences."""
    found = []
    for on in report.study.sets:
        values = {one.model: one.values[on.name] for one in report.points if on.name in one.values}
        nothing = values.pop(NOTHING, None)
        if nothing is None or not values:
            continue
        low, high = min(values.values()), max(values.values())
        found.append(
            Finding(
                text=f"{on.name}, fine-tuned: from the worst to the best pretrained network, and from nothing",
                place="figure 1",
                here=f"{100 * low:.1f} to {100 * high:.1f}; {100 * nothing:.1f}",
                verdict=TOLD,
            )
        )
    return found


def _lite(points: Sequence[Point]) -> list[Finding]:
    """Whether the order on ImageNet is the order here; three networks make no interval."""
    if len(points) < len(LITE_ACCURACY):
        return []
    found = []
    for name in points[0].values:
        order = sorted(points, key=lambda one: one.accuracy or 0)
        values = [one.values[name] for one in order]
        found.append(
            Finding(
                text=f"{name}: EfficientNet-Lite in the order of ImageNet",
                place="figure 1",
                here=", ".join(f"{one.model} {100 * value:.1f}" for one, value in zip(order, values, strict=True)),
                verdict="rises" if values == sorted(values) else "does not rise",
            )
        )
    return found


def findings_table(findings: Sequence[Finding]) -> TextTable:
    """The lines as a table."""
    return TextTable(
        title="what of seed 003 can be seen",
        header=["finding", "in the seed", "here [95 %]", "verdict"],
        rows=[[one.text, one.place, one.here, one.verdict] for one in findings],
    )
