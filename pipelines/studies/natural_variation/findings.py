"""What the seed found beside what is found here: how large, and whether the objects can tell.

Owns the list and the verdicts. A verdict is given only where the interval of 95 % leaves zero out: of features it is a
bootstrap over objects, of networks trained from nothing Student's over seeds. What needs networks that are not measured
is said to be not testable. The seed's numbers are of single runs on 270 pictures and are taken as they stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shardtools.evaluation.variation import Estimate
from shardtools.pipelines.studies.natural_variation import seed
from shardtools.pipelines.studies.natural_variation.measured import (
    ACCURACY,
    CHANGE,
    GAP,
    SLOPE,
    SPEARMAN,
    Key,
    Measured,
    difference,
    mean_estimate,
)
from shardtools.pipelines.studies.natural_variation.plan import (
    ALL,
    CANONICAL_SETTING,
    CLASSES,
    EVERYTHING,
    FINE_TUNED,
    INSTANCES,
    MAIN,
    POSE,
    SAMPLES,
    StudyOptions,
    Training,
)
from shardtools.pipelines.studies.natural_variation.repeats import model_name
from shardtools.rendering import FACTORS

HOLDS, WEAKER, NOT, OPEN, UNTESTABLE = "holds", "holds more weakly", "does not hold", "open", "not testable"

_LARGE, _SMALL = ("pose", "background", "size"), ("position", "lighting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A finding of the seed.

    Attributes:
        text: What it says.
        where: Section, table or figure.
        seed: Its number in points or, of slopes and correlations, as printed; `None` where it prints none.
        direction: Sign of what it says.
        here: What is found here, in the same unit; `None` where nothing was measured.
        why: Why it cannot be tested, where that is so.
        is_points: Whether numbers are points.
    """

    text: str
    where: str
    seed: float | None = None
    direction: int = -1
    here: Estimate | None = None
    why: str = ""
    is_points: bool = True

    @property
    def verdict(self) -> str:
        """What can be said."""
        if self.here is None:
            return f"{UNTESTABLE}: {self.why or 'not measured here'}"
        return judged(self.here, self.direction, self.seed)


def judged(here: Estimate, direction: int, seed_value: float | None) -> str:
    """A verdict.

    Args:
        here: What was found.
        direction: Sign of the seed's finding.
        seed_value: Its number; `None` where it prints none.

    Returns:
        `OPEN` where there is no interval or zero is in it; `NOT` where it lies on the other side; on the finding's
        `WEAKER` where all of it is smaller than the seed's number, else `HOLDS`.
    """
    if here.low is None or here.high is None or here.low <= 0 <= here.high:
        return OPEN
    if (here.low > 0) != (direction > 0):
        return NOT
    far = max(abs(here.low), abs(here.high))
    return WEAKER if seed_value is not None and far < abs(seed_value) else HOLDS


def judge(options: StudyOptions, found: Measured) -> list[Finding]:
    """All findings, in the order of the seed's sections."""
    models = [name for name in options.features.values() if name in found.figures]
    return [
        *_robustness(found, models),
        *_fine_tuning(options, found),
        *_not_testable(),
        *_samples(found, models),
        *_instances(found, models),
        *_others(found, models),
        *_everything(options, found, models),
        *_classes(found, models),
    ]


def _canonical(measured: str) -> Key:
    return Key(world=MAIN, setting=CANONICAL_SETTING, metric=GAP, measured=measured)


def _points(one: Estimate | None) -> Estimate | None:
    """A share as points."""
    if one is None:
        return None
    low, high = (None if end is None else 100 * end for end in (one.low, one.high))
    return Estimate(value=100 * one.value, low=low, high=high)


def _robustness(found: Measured, models: list[str]) -> Iterator[Finding]:
    average = seed.table1(seed.LINEAR)[seed.AVERAGE]
    gaps = {factor: found.mean(models, _canonical(factor)) for factor in FACTORS}
    for factor in (*_LARGE, *_SMALL):
        yield Finding(
            text=f"gap when the {factor} varies", where="table 1a", seed=average[factor], here=_points(gaps[factor])
        )
    large = mean_estimate([gaps[factor] for factor in _LARGE])
    small = mean_estimate([gaps[factor] for factor in _SMALL])
    number = sum(average[factor] for factor in _LARGE) / 3 - sum(average[factor] for factor in _SMALL) / 2
    yield Finding(
        text="pose, background and size cost more than position and light",
        where="section 4",
        seed=number,
        here=None if large is None or small is None else _points(difference(large, small)),
    )


def _fine_tuning(options: StudyOptions, found: Measured) -> Iterator[Finding]:
    """The fine-tuned network against linear classifiers of the same; folds differ, so the interval is wide."""
    linear_seed, fine_seed = (seed.table1(mode)[seed.AVERAGE] for mode in (seed.LINEAR, seed.FINETUNE))
    texts = {
        "canonical": ("fine-tuning raises the canonical accuracy", 1),
        POSE: ("fine-tuning widens the gap of pose", -1),
        "background": ("fine-tuning narrows the gap of background", 1),
    }
    linear = options.features.get(options.fine_tuned, "")
    training = Training(how=FINE_TUNED, encoder=options.fine_tuned, varied=False, seed=0)
    for measured, (text, direction) in texts.items():
        metric = ACCURACY if measured == "canonical" else GAP
        key = Key(world=MAIN, setting=CANONICAL_SETTING, metric=metric, measured=measured)
        one, other = found.get(model_name(training), key), found.get(linear, key)
        yield Finding(
            text=text,
            where="table 1",
            seed=fine_seed[measured] - linear_seed[measured],
            direction=direction,
            here=None if one is None or other is None else _points(difference(one, other)),
            why="no network was fine-tuned",
        )


def _not_testable() -> Iterator[Finding]:
    lites = "the networks at hand are of one architecture, trained with labels on ImageNet-1k"
    yield Finding(text="architecture matters little", where="section 4.1", why=lites)
    yield Finding(text="fine-tuning helps supervised networks more than others", where="figure 2", why=lites)
    yield Finding(text="more pretraining data makes networks more robust", where="figure 3", why=lites)


def _samples(found: Measured, models: list[str]) -> Iterator[Finding]:
    for factor in FACTORS:
        shares = found.shares(MAIN, SAMPLES, factor)
        key = Key(
            world=MAIN,
            setting=SAMPLES,
            metric=CHANGE,
            varied=factor,
            share=shares[-1] if shares else None,
            measured=factor,
        )
        yield Finding(
            text=f"variation of {key.share} % of the samples narrows the gap of {factor}",
            where="figure 4",
            direction=1,
            here=_points(found.mean(models, key)),
        )
    for factor in (POSE, "size"):
        key = Key(world=MAIN, setting=SAMPLES, metric=GAP, varied=factor, share=50, measured=factor)
        yield Finding(
            text=f"with half of the samples varying, {factor} still has a gap",
            where="section 5.1",
            here=_points(found.mean(models, key)),
        )


def _instances(found: Measured, models: list[str]) -> Iterator[Finding]:
    for factor, (before, after) in seed.DIP.items():
        shares = found.shares(MAIN, INSTANCES, factor)
        key = Key(
            world=MAIN,
            setting=INSTANCES,
            metric=CHANGE,
            varied=factor,
            share=shares[0] if shares else None,
            measured=factor,
        )
        yield Finding(
            text=f"few instances varying ({key.share} %) widen the gap of {factor}",
            where="section 5.2",
            seed=after - before,
            here=_points(found.mean(models, key)),
        )
    slope = Key(world=MAIN, setting=INSTANCES, metric=SLOPE, varied="average", measured="own")
    yield Finding(
        text="slope of the gap over the share of instances that vary, mean of factors, linear",
        where="section 5.2",
        seed=seed.SLOPES[seed.LINEAR][0],
        direction=1,
        here=found.mean(models, slope),
        is_points=False,
    )


def _others(found: Measured, models: list[str]) -> Iterator[Finding]:
    for factor in FACTORS:
        key = Key(world=MAIN, setting=INSTANCES, metric=CHANGE, varied=factor, share=50, measured="others")
        yield Finding(
            text=f"half of the instances varying in {factor} narrow the gaps of the other factors",
            where="section 5.2",
            seed=sum(seed.OTHERS_AT_50) / 2,
            direction=1,
            here=_points(found.mean(models, key)),
        )


def _everything(options: StudyOptions, found: Measured, models: list[str]) -> Iterator[Finding]:
    why = "no combinations were rendered" if not options.draws else ""
    shares = found.shares(MAIN, EVERYTHING, ALL)
    share = shares[-1] if shares else None
    for factor in FACTORS:
        key = Key(world=MAIN, setting=EVERYTHING, metric=CHANGE, varied=ALL, share=share, measured=factor)
        yield Finding(
            text=f"all factors varying together narrow the gap of {factor}",
            where="figure 6",
            direction=1,
            here=_points(found.mean(models, key)),
            why=why,
        )


def _classes(found: Measured, models: list[str]) -> Iterator[Finding]:
    average = seed.table3()[seed.AVERAGE]
    for factor in FACTORS:
        key = Key(world=MAIN, setting=CLASSES, metric=GAP, varied=factor, measured=factor, group="difference")
        yield Finding(
            text=f"classes not seen varying have a larger gap of {factor} than those seen",
            where="table 3",
            seed=average[factor],
            here=_points(found.mean(models, key)),
        )
    for factor in FACTORS:
        key = Key(world=MAIN, setting=CLASSES, metric=GAP, varied=factor, measured=factor, group="unseen")
        unseen, before = found.mean(models, key), found.mean(models, _canonical(factor))
        yield Finding(
            text=f"their gap of {factor} is larger than without any variation",
            where="section 5.4",
            here=None if unseen is None or before is None else _points(difference(unseen, before)),
        )
    correlation = Key(
        world=MAIN, setting=CLASSES, metric=SPEARMAN, varied="average", measured="similarity", group="unseen"
    )
    yield Finding(
        text="classes like those seen varying have smaller gaps (Spearman)",
        where="figure 7",
        direction=1,
        here=found.mean(models, correlation),
        is_points=False,
    )


def findings_table(findings: list[Finding]) -> str:
    """As Markdown."""
    lines = ["| finding | in | seed | here [95 %] | verdict |", "| --- | --- | --- | --- | --- |"]
    for one in findings:
        digits = 1 if one.is_points else 2
        there = "" if one.seed is None else f"{one.seed:+.{digits}f}"
        lines.append(f"| {one.text} | {one.where} | {there} | {shown(one.here, digits)} | {one.verdict} |")
    return "\n".join(lines) + "\n"


def shown(one: Estimate | None, digits: int = 1) -> str:
    """A number and its interval."""
    if one is None:
        return ""
    interval = "" if one.low is None or one.high is None else f" [{one.low:+.{digits}f}, {one.high:+.{digits}f}]"
    return f"{one.value:+.{digits}f}{interval}"
