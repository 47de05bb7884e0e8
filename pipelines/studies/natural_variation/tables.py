"""The tables of the report: tables 1 and 3 of the seed with what is found here, variation seen, real photographs.

Owns which numbers stand side by side. Those of the seed are the averages that it prints over its 11 networks.
"""

from __future__ import annotations

from collections.abc import Sequence

from shardtools.evaluation.variation import Estimate
from shardtools.pipelines.studies.natural_variation import seed
from shardtools.pipelines.studies.natural_variation.findings import shown
from shardtools.pipelines.studies.natural_variation.measured import ACCURACY, GAP, Key, Measured
from shardtools.pipelines.studies.natural_variation.plan import (
    CANONICAL_SETTING,
    CLASSES,
    INSTANCES,
    MAIN,
    POSE,
    SAMPLES,
    StudyOptions,
    Training,
    list_trainings,
)
from shardtools.pipelines.studies.natural_variation.repeats import over_seeds

_COLUMNS = ("pose", "background", "size", "position", "lighting")
"""In the order of the seed's table 1."""


def make_tables(options: StudyOptions, found: Measured) -> list[str]:
    """All tables as Markdown."""
    models = [name for name in options.features.values() if name in found.figures]
    return [
        _gaps(options, found, models),
        *(_shares(found, models, setting, options) for setting in (SAMPLES, INSTANCES)),
        _classes(found, models, options),
        _real(),
    ]


def _gaps(options: StudyOptions, found: Measured, models: Sequence[str]) -> str:
    """Table 1: accuracies in percent, gaps in points."""
    head = ["table 1", "train", "held out", *_COLUMNS, *options.axes]
    rows = []
    for model in models:
        own = [_canonical(found, model, MAIN, GAP, factor) for factor in _COLUMNS]
        own += [_canonical(found, model, axis, GAP, POSE) for axis in options.axes]
        accuracies = [_canonical(found, model, MAIN, ACCURACY, what) for what in ("train", "canonical")]
        rows.append([f"{model}, linear", *map(_percent, accuracies), *map(_points, own)])
    groups: dict[str, list[Training]] = {}
    for training in list_trainings(options):
        groups.setdefault(training.group, []).append(training)
    for group, trainings in groups.items():
        keys = [("canonical", ACCURACY), *((factor, GAP) for factor in _COLUMNS)]
        own = [over_seeds(found, trainings, metric, measured) for measured, metric in keys]
        rows.append([group, "", _percent(own[0]), *map(_points, own[1:]), *("" for _ in options.axes)])
    for mode, name in ((seed.LINEAR, "seed, linear, average of 11"), (seed.FINETUNE, "seed, fine-tuned")):
        average = seed.table1(mode)[seed.AVERAGE]
        rows.append(
            [
                name,
                f"{average['train']:.1f}",
                f"{average['canonical']:.1f}",
                *(f"{average[factor]:+.1f}" for factor in _COLUMNS),
                *("" for _ in options.axes),
            ]
        )
    return markdown(head, rows)


def _shares(found: Measured, models: Sequence[str], setting: str, options: StudyOptions) -> str:
    """Gaps of what varies against how much varies, means of encoders."""
    curves = [(MAIN, factor, factor) for factor in _COLUMNS] + [(axis, POSE, axis) for axis in options.axes]
    shares = found.shares(MAIN, setting, POSE)
    rows = []
    for world, factor, name in curves:
        before = Key(world=world, setting=setting, metric=GAP, measured=factor)
        keys = [before] + [
            Key(world=world, setting=setting, metric=GAP, varied=factor, share=share, measured=factor)
            for share in shares
        ]
        rows.append([name, *(_points(found.mean(models, key)) for key in keys)])
    return markdown([f"gap, % of {setting} that vary", "0", *map(str, shares)], rows)


def _classes(found: Measured, models: Sequence[str], options: StudyOptions) -> str:
    """Table 3: half of the classes vary."""
    curves = [(MAIN, factor, factor) for factor in _COLUMNS] + [(axis, POSE, axis) for axis in options.axes]
    average = seed.table3()[seed.AVERAGE]
    rows = []
    for world, factor, name in curves:
        own = [
            found.mean(
                models, Key(world=world, setting=CLASSES, metric=GAP, varied=factor, measured=factor, group=group)
            )
            for group in ("seen", "unseen", "difference")
        ]
        rows.append([name, *map(_points, own), f"{average[name]:+.1f}" if name in average else ""])
    return markdown(["table 3", "gap of seen", "gap of unseen", "difference", "seed, fine-tuned"], rows)


def _real() -> str:
    """Real photographs, whose factors are labels of people: another figure, so it stands apart."""
    rows = [[f"ResNet-50, ImageNet-X, {factor}", f"{ratio:.3f}"] for factor, ratio in seed.real_photos().items()]
    return markdown(["real photographs", "error ratio"], rows)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _canonical(found: Measured, model: str, world: str, metric: str, measured: str) -> Estimate | None:
    return found.get(model, Key(world=world, setting=CANONICAL_SETTING, metric=metric, measured=measured))


def _points(one: Estimate | None) -> str:
    if one is None:
        return "-"
    low, high = (None if end is None else 100 * end for end in (one.low, one.high))
    return shown(Estimate(value=100 * one.value, low=low, high=high))


def _percent(one: Estimate | None) -> str:
    return "-" if one is None else f"{100 * one.value:.1f}"
