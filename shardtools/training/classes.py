"""Which class each label of a run's datasets is: the numbers of the head, and what other numberings become.

Owns the rule that a class is its name (WordNet id or the user's own), not its number: datasets that count their classes
differently, or have only some of them, are mapped. It reads manifests only, so a mistake is found before torch is
loaded; the price is that a class without a name fits only where nothing has to be mapped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shardtools.dataset import open_dataset
from shardtools.errors import OptionError, PlanMismatchError
from shardtools.training.options import TrainOptions
from shardtools.training.sets import count_classes

Names = dict[int, str | None]
"""Class number -> WordNet id or class name; `None` where a class has no name."""

_ADVICE = (
    "give --labels-by index if the numbers of all datasets mean the same, or write one of them anew with --classes"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPlan:
    """The classes of a run.

    Attributes:
        names: Of the head's outputs.
        training: For each dataset, its own number -> the head's; `None` where they are the same in all of them.
        evaluation: The evaluation's own number -> the head's, without classes that the head does not have; `None` where
            they are the same.
        notes: Lines for the user: what is mapped, and what is left out.
    """

    names: Names
    training: tuple[Mapping[int, int], ...] | None = None
    evaluation: Mapping[int, int] | None = None
    notes: tuple[str, ...] = ()


def plan_classes(options: TrainOptions) -> ClassPlan:
    """The classes of all datasets of a run, by their manifests.

    Raises:
        PlanMismatchError: Numbers stand for different classes and cannot be mapped, or the evaluation shares no class.
        OptionError: The evaluation's dataset has no such split, or head "sigmoid" finds no images of several classes.
        DatasetError: A dataset is not finished, or damaged.
    """
    if options.recipe.head == "sigmoid":
        _check_splits(options)
        # Their numbers are all that a manifest knows of them.
        return ClassPlan(names={number: str(number) for number in range(count_classes(options.datasets))})
    of_each = [read_names(url) for url in options.datasets]
    names, training, notes = _of_training(options, of_each)
    if options.val is None:
        return ClassPlan(names=names, training=training, notes=notes)
    found: Names = {}
    for split in _check_splits(options):
        found |= read_names(options.val, split)
    evaluation, more = _of_evaluation(options, names, found)
    return ClassPlan(names=names, training=training, evaluation=evaluation, notes=(*notes, *more))


def _check_splits(options: TrainOptions) -> list[str]:
    """The splits that a run evaluates and tests on.

    Raises:
        OptionError: The dataset does not have one of them.
    """
    if options.val is None:
        return []
    splits = open_dataset(options.val).commit.splits
    for flag, split in (("--val-split", options.val_split), ("--test-split", options.test_split)):
        if split is not None and split not in splits:
            raise OptionError(
                f"{options.val} has no split {split!r} to evaluate on: it has {', '.join(splits) or 'none'}; "
                f"give {flag}"
            )
    return [split for split in (options.val_split, options.test_split) if split is not None]


def read_names(url: str, split: str | None = None) -> Names:
    """The classes of one dataset, or of one of its splits.

    Raises:
        PlanMismatchError: A number stands for two classes.
        DatasetError: It is not finished, or damaged.
    """
    from shardtools.sql import query

    found = query(
        "select class_index, min(wnid) as least, max(wnid) as most from samples where class_index is not null "
        "and ($split is null or split = $split) group by class_index order by class_index",
        (url,),
        {"split": split},
    )
    names: Names = {}
    for row in found.to_pylist():
        if row["least"] != row["most"]:
            raise PlanMismatchError(
                f"{url}: class {row['class_index']} is {row['least']} and {row['most']}: expected one class for each "
                "number, write the dataset anew with --classes"
            )
        names[int(row["class_index"])] = row["least"]
    return names


def _of_training(
    options: TrainOptions, of_each: Sequence[Names]
) -> tuple[Names, tuple[Mapping[int, int], ...] | None, tuple[str, ...]]:
    names: Names = {}
    for found in of_each:
        names = found | names
    if options.labels_by == "index" or all(_agree(names, found) for found in of_each):
        return names, None, _other_names(options, names, of_each)
    first = options.datasets[0]
    if options.view is not None:
        raise PlanMismatchError(
            f"{_disagreement(options.datasets, of_each)}, and --view gives the labels itself: give --labels-by index "
            "if its labels are numbered alike for all of them"
        )
    # The first dataset's numbers are the head's; classes that it does not have come behind them.
    names = dict(of_each[0])
    maps: list[Mapping[int, int]] = []
    for url, found in zip(options.datasets, of_each, strict=True):
        number_of = _by_name(names, first)
        _by_name(found, url)
        mapped: dict[int, int] = {}
        for number, name in found.items():
            if name is None:
                raise PlanMismatchError(
                    f"{_disagreement(options.datasets, of_each)}, and class {number} of {url} has no name to find it "
                    f"by: {_ADVICE}"
                )
            if name not in number_of:
                number_of[name] = max(names, default=-1) + 1
                names[number_of[name]] = name
            mapped[number] = number_of[name]
        maps.append(mapped)
    note = f"the datasets number their classes differently: labels are those of {first}, by the names of classes"
    return names, tuple(maps), (note,)


def _of_evaluation(
    options: TrainOptions, names: Names, found: Names
) -> tuple[Mapping[int, int] | None, tuple[str, ...]]:
    val = f"{options.val_split} of {options.val}"
    if options.labels_by == "index":
        return None, _other_names(options, names, [found], val)
    if found.keys() <= names.keys() and _agree(names, found):
        return None, ()
    return map_classes(names, found, where=val, whose="the training data", advice=_ADVICE)


def map_classes(
    names: Names, found: Names, *, where: str, whose: str, advice: str
) -> tuple[Mapping[int, int], tuple[str, ...]]:
    """The outputs of a network for the classes of a dataset, by their names.

    Args:
        names: Output -> name.
        found: Class number of the dataset -> name.
        where: Names the dataset in messages.
        whose: Names the network.
        advice: What else may be done.

    Returns:
        Class number -> output, for the classes that the network has; and lines for the user.

    Raises:
        PlanMismatchError: The network has none of the classes, or one of them has no name.
    """
    number_of = _by_name(names, whose, advice)
    _by_name(found, where, advice)
    mapped = {number: number_of[name] for number, name in found.items() if name is not None and name in number_of}
    nameless = next((number for number, name in found.items() if name is None), None)
    if nameless is not None:
        raise PlanMismatchError(f"{where}: class {nameless} has no name to find it by in {whose}: {advice}")
    if not mapped:
        here, there = next(iter(found.items()), (0, None)), next(iter(names.items()), (0, None))
        raise PlanMismatchError(
            f"{where}: expected classes of {whose}, found none of them: class {here[0]} is {here[1]} here, "
            f"class {there[0]} is {there[1]} in {whose}: {advice}"
        )
    left_out = [str(name) for number, name in found.items() if number not in mapped]
    note = f"{where} numbers its classes differently: they are found by their names"
    if left_out:
        note = (
            f"{where}: {len(mapped)} of {len(found)} classes are evaluated, found by their names; the images of the "
            f"others ({', '.join(left_out[:3])}{', ...' if len(left_out) > 3 else ''}) are left out"
        )
    return mapped, (note,)


def _agree(names: Names, found: Names) -> bool:
    """Whether numbers stand for the same classes, and no class has another number."""
    number_of = {name: number for number, name in names.items() if name is not None}
    return all(
        names.get(number) == name and (name is None or number_of.get(name) == number) for number, name in found.items()
    )


def _by_name(names: Names, where: str, advice: str = _ADVICE) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for number, name in names.items():
        if name is not None and numbers.setdefault(name, number) != number:
            raise PlanMismatchError(
                f"{name} is class {numbers[name]} and class {number} in {where}: expected one number for each class, "
                f"{advice}"
            )
    return numbers


def _disagreement(urls: Sequence[str], of_each: Sequence[Names]) -> str:
    """The first number or name that two datasets use otherwise."""
    first = of_each[0]
    number_of = {name: number for number, name in first.items()}
    for url, found in zip(urls, of_each, strict=True):
        for number, name in found.items():
            if number in first and first[number] != name:
                return f"class {number} is {first[number]} in {urls[0]} and {name} in {url}"
            if name is not None and number_of.get(name, number) != number:
                return f"{name} is class {number_of[name]} in {urls[0]} and class {number} in {url}"
    return f"{', '.join(urls)} number their classes differently"


def _other_names(
    options: TrainOptions, names: Names, of_each: Sequence[Names], where: str | None = None
) -> tuple[str, ...]:
    """With `labels_by` "index": a line where numbers have other names."""
    for place, found in zip([where] if where else options.datasets, of_each, strict=True):
        for number, name in found.items():
            if names.get(number, name) != name:
                return (
                    f"labels by index: class {number} is {names[number]} in the training data and {name} in {place}",
                )
    return ()
