"""What a model did on a test set: one function a kind of set, the predictions in, figures out.

Owns the list of kinds, and which pictures count. A picture whose class the model does not know is left out and
counted; a set whose classes are others than its name promises is refused. The price of judging by wnid: a dataset
without wnids is refused too, even where its numbers happen to be right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from shardtools.arrays import Bools, Float64s, Int64s
from shardtools.errors import DatasetError, OptionError
from shardtools.evaluation.metrics import (
    DECISIONS,
    Calibration,
    Share,
    decide_category,
    error_ratios,
    errors_by_corruption,
    factor_shares,
    measure_calibration,
    shape_bias,
    top_k_accuracy,
    worst_factor,
)
from shardtools.evaluation.published import cue_categories
from shardtools.evaluation.sets.backgrounds import VARIANTS, group_of, output_groups, read_map
from shardtools.evaluation.sets.corrupted import judge_errors
from shardtools.evaluation.sets.cue_conflict import output_categories, positions
from shardtools.evaluation.sets.factors import FACTORS, factors_of, read_factors
from shardtools.evaluation.sets.figure import Figure, Judgement
from shardtools.evaluation.sets.real_labels import count_real, find_real_labels, read_real_labels
from shardtools.evaluation.sets.restricting import check_wnids, outputs_of, restrict
from shardtools.evaluation.sets.sequences import judge_sequences, sequences_of
from shardtools.evaluation.sets.test_sets import Kind, TestSet
from shardtools.evaluation.sets.view import SetView
from shardtools.taxonomy import load_classes
from shardtools.words import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class SetInputs:
    """Files of others that some sets need.

    Attributes:
        real_labels: ReaL's list; `None` looks for timm's copy.
        factors: ImageNet-X's annotations.
        prototypes: ImageNet-X's list of prototypes, which are left out.
        in9_map: ImageNet-9's map.
    """

    real_labels: str | None = None
    factors: str | None = None
    prototypes: str | None = None
    in9_map: str | None = None


def judge_set(test_set: TestSet, view: SetView, files: SetInputs, part: str = "") -> Judgement:
    """All figures of a model on a test set.

    Args:
        test_set: Which.
        view: The predictions.
        files: For the sets that need them.
        part: Which dataset of a set of several: a variant of ImageNet-9.

    Raises:
        DatasetError: The dataset is not what the set needs: classes, names, corruptions, frames, kept logits.
        OptionError: The model's classes do not fit, or a file is needed that was not given.
    """
    return JUDGES[test_set.kind](test_set, view, files, part)


def _classes(test_set: TestSet, view: SetView, _files: SetInputs, _part: str) -> Judgement:
    rows, notes = _labeled(test_set, view)
    labels, rank = view.labels[rows], view.rank[rows]
    num_outputs = view.model.num_outputs
    if not test_set.is_restricted:
        figures = _accuracies(rank, view.confidence[rows], f"all {num_outputs} classes")
        return Judgement(figures=figures, notes=notes)
    wnids = _wnids(test_set)
    among = restrict(view.all_logits[rows], view.model.classes, wnids)
    of = counted(len(among.outputs), "class", "classes")
    how = of if len(among.outputs) == len(wnids) else f"{len(among.outputs)} of {len(wnids)} classes"
    figures = _accuracies(among.rank(labels), among.confidence, how)
    # Beside them, as it would be for a user who does not know which 200 classes may come.
    figures += _accuracies(rank, view.confidence[rows], f"all {num_outputs} classes")
    return Judgement(figures=figures, notes=notes)


def _real(test_set: TestSet, view: SetView, files: SetInputs, _part: str) -> Judgement:
    labels = read_real_labels(find_real_labels(files.real_labels))
    counts = count_real(view.keys, view.classes[:, 0], view.model.classes, labels, _wnids(test_set))
    notes = (f"{counted(counts.num_empty, 'picture')} without a ReaL label left out",) if counts.num_empty else ()
    if not counts.num_judged:
        raise DatasetError(f"{view.dataset}: no picture has a ReaL label: is it ImageNet's validation set?")
    figure = _share("top1_accuracy", Share(counts.num_right, counts.num_judged), how="ReaL labels", is_main=True)
    return Judgement(figures=(figure,), notes=notes)


def _factors(test_set: TestSet, view: SetView, files: SetInputs, _part: str) -> Judgement:
    if files.factors is None:
        raise OptionError(
            "x needs ImageNet-X's annotations, which are not shipped (CC BY-NC): give "
            "imagenet_x_val_multi_factor.jsonl of facebookresearch/imagenetx (--imagenet-x FILE)"
        )
    rows, notes = _labeled(test_set, view)
    known, on = factors_of([view.keys[row] for row in rows], read_factors(files.factors, files.prototypes))
    if not known.any():
        raise DatasetError(f"{view.dataset}: none of its pictures is annotated: is it ImageNet's validation set?")
    right = (view.rank[rows] == 1)[known]
    columns: dict[str, Bools] = {name: on[known, number] for number, name in enumerate(FACTORS)}
    how = "without prototypes" if files.prototypes else "with prototypes"
    figures = [_share("top1_accuracy", Share(int(right.sum()), len(right)), how=how, is_main=True)]
    ratios = error_ratios(right, columns)
    for name, share in factor_shares(right, columns).items():
        if share.of:
            figures.append(_share("top1_accuracy", share, split=f"factor/{name}", how=how))
        ratio = ratios[name]
        if ratio is not None:
            figures.append(Figure(metric="error_ratio", value=ratio, split=f"factor/{name}", how=how))
    if any(on_any.any() for on_any in columns.values()):
        name, accuracy = worst_factor(right, columns)
        notes = (*notes, f"the worst factor is {name}, with {100 * accuracy:.1f} %")
    left_out = int((~known).sum())
    if left_out:
        notes = (*notes, f"{counted(left_out, 'picture')} without annotation left out")
    return Judgement(figures=tuple(figures), notes=notes)


def _backgrounds(test_set: TestSet, view: SetView, files: SetInputs, part: str) -> Judgement:
    if part not in VARIANTS:
        raise OptionError(f"in9 has eight datasets, name which: --on in9:mixed_same=DATASET ({', '.join(VARIANTS)})")
    if files.in9_map is None:
        raise OptionError(
            "in9 needs the map from ImageNet's classes to its nine: give in_to_in9.json of "
            "MadryLab/backgrounds_challenge (--in9-map FILE)"
        )
    groups = output_groups(
        view.model.classes, read_map(files.in9_map), [one.wnid for one in load_classes("imagenet-1k")]
    )
    wanted = np.array([group_of(folder) for folder in view.wnids], np.int64)
    # A class outside of the nine is -1, which no folder is.
    right = groups[view.classes[:, 0]] == wanted
    share = Share(int(right.sum()), len(right))
    return Judgement(figures=(_share("top1_accuracy", share, split=part, how="9 classes", is_main=True),))


def _corrupted(test_set: TestSet, view: SetView, _files: SetInputs, _part: str) -> Judgement:
    rows, notes = _labeled(test_set, view)
    names = np.asarray([view.corruption[row] for row in rows])
    right = view.rank[rows] == 1
    is_corrupted = names != ""
    if not is_corrupted.any():
        raise DatasetError(
            f"{view.dataset}: no picture has a corruption in its row: write corrupted ones with `shardtools corrupt`, "
            f"or give --on-the-fly to corrupt while predicting"
        )
    errors = errors_by_corruption(right[is_corrupted], names[is_corrupted], view.severity[rows][is_corrupted])
    clean = right[~is_corrupted]
    # A sample of the pictures will do, as RobustBench's 5,000 do: what counts is among which classes the model chose.
    imagenet = {one.wnid for one in load_classes("imagenet-1k")}
    is_imagenet = set(view.model.output_of) == imagenet >= {view.wnids[row] for row in rows}
    found = judge_errors(errors, 1 - float(clean.mean()) if len(clean) else None, is_imagenet=is_imagenet)
    return Judgement(figures=found.figures, notes=(*notes, *found.notes))


def _sequences(_test_set: TestSet, view: SetView, _files: SetInputs, _part: str) -> Judgement:
    hard = (f"{name}/{level}" if level else name for name, level in zip(view.corruption, view.severity, strict=True))
    rows = sequences_of(list(hard), view.paths, view.frame, dataset=view.dataset)
    return Judgement(
        figures=judge_sequences(rows, view.classes, view.logits),
        notes=() if view.logits is not None else ("no Zipf distance: it needs all logits (predict with --logits all)",),
    )


def _cues(_test_set: TestSet, view: SetView, _files: SetInputs, _part: str) -> Judgement:
    assert view.cues is not None
    shapes, textures = (list(names) for names in zip(*view.cues, strict=True))
    categories = _categories([*shapes, *textures])
    outputs = output_categories(view.model.classes, categories)
    figures: list[Figure] = []
    for decision in DECISIONS:
        decided = decide_category(view.all_logits, outputs, decision)
        counts = shape_bias(decided, positions(shapes, categories, "shape"), positions(textures, categories, "texture"))
        for metric, value, interval in (
            ("shape_bias", counts.bias, counts.interval),
            ("cue_accuracy", counts.accuracy, None),
        ):
            if value is not None:
                figures.append(
                    Figure(
                        metric=metric,
                        value=value,
                        how=decision,
                        interval=interval,
                        is_main=metric == "shape_bias",
                    )
                )
    if not figures:
        raise DatasetError(
            f"{view.dataset}: no picture's shape and texture are of two categories: there is no conflict"
        )
    agreeing = counts.num_agreeing
    notes = (f"{counted(agreeing, 'picture')} whose shape and texture agree left out",) if agreeing else ()
    return Judgement(figures=tuple(figures), notes=notes)


def _whole_categories(_test_set: TestSet, view: SetView, _files: SetInputs, _part: str) -> Judgement:
    categories = _categories(view.wnids)
    outputs = output_categories(view.model.classes, categories)
    wanted = positions(view.wnids, categories, "category")
    figures = []
    for decision in DECISIONS:
        right = decide_category(view.all_logits, outputs, decision) == wanted
        share = Share(int(right.sum()), len(right))
        figures.append(_share("top1_accuracy", share, how=f"{len(categories)} categories, {decision}", is_main=True))
    return Judgement(figures=tuple(figures))


JUDGES: dict[Kind, Callable[[TestSet, SetView, SetInputs, str], Judgement]] = {
    "classes": _classes,
    "real": _real,
    "factors": _factors,
    "backgrounds": _backgrounds,
    "corrupted": _corrupted,
    "sequences": _sequences,
    "cues": _cues,
    "categories": _whole_categories,
}
"""Kind of a set -> what makes figures of it."""


def _labeled(test_set: TestSet, view: SetView) -> tuple[Int64s, tuple[str, ...]]:
    """Rows whose class the model knows, and what was left out; refuses a dataset of other classes than the set's."""
    check_wnids(view.wnids, view.dataset)
    there = list(dict.fromkeys(wnid for wnid in view.wnids if wnid is not None))
    if test_set.class_set is not None:
        own = set(_wnids(test_set))
        other = [wnid for wnid in there if wnid not in own]
        if other:
            raise DatasetError(
                f"{view.dataset}: {counted(len(other), 'class', 'classes')} of {len(there)} are none of "
                f"{test_set.title}'s {len(own)} ({other[0]}): give it under its own name, or as plain=..."
            )
    # Refused here with the classes' names, before anything says that no sample has a label.
    outputs_of(view.model.classes, there)
    rows = np.flatnonzero(view.labels >= 0)
    if not len(rows):
        raise DatasetError(
            f"{view.source} has no label that the model knows: predict again with labels by wnid (--replace)"
        )
    left_out = len(view) - len(rows)
    notes = [f"{counted(left_out, 'picture')} of classes that the model does not know left out"] if left_out else []
    if view.num_unread:
        notes.append(f"{counted(view.num_unread, 'picture')} could not be read")
    return rows, tuple(notes)


def _accuracies(rank: Int64s, confidence: Float64s, how: str) -> tuple[Figure, ...]:
    figures = [_share("top1_accuracy", top_k_accuracy(rank, 1), how=how, is_main=True)]
    figures.append(_share("top5_accuracy", top_k_accuracy(rank, 5), how=how))
    calibration = measure_calibration(confidence, rank == 1)
    for one in fields(Calibration):
        value = getattr(calibration, one.name)
        if value is not None:
            figures.append(Figure(metric=one.name, value=value, how=how))
    return tuple(figures)


def _share(metric: str, share: Share, *, split: str = "", how: str = "", is_main: bool = False) -> Figure:
    return Figure(
        metric=metric,
        value=share.value,
        split=split,
        how=how,
        interval=share.interval,
        is_main=is_main,
    )


def _categories(names: Sequence[str | None]) -> Mapping[str, tuple[str, ...]]:
    """The sixteen categories; or, where names are wnids, a category for each of them."""
    sixteen = cue_categories()
    given = sorted({name for name in names if name is not None})
    if any(name in sixteen for name in given) or not given:
        return sixteen
    return {name: (name,) for name in given}


def _wnids(test_set: TestSet) -> list[str]:
    return [one.wnid for one in load_classes(test_set.class_set or "")]
