"""Which output of a model each class of a dataset is.

Owns the rule that a class is its wnid, for judging as for training. A dataset that numbers its folders, as ImageNet-A
does its 200, is mapped by name; numbers are trusted where nobody knows names, and the user says so. The price: a
dataset without names is refused until somebody does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from shardtools.errors import PlanMismatchError
from shardtools.evaluation import ModelFacts
from shardtools.training import Names, map_classes, read_names

_WNID = re.compile(r"n\d{8}")
_ADVICE = (
    "give --labels-by index if the dataset's class numbers are the model's outputs, or --labels-by none for "
    "predictions without labels"
)


def map_labels(
    facts: ModelFacts, dataset: str, split: str | None, labels_by: str
) -> tuple[Mapping[int, int], tuple[str, ...]]:
    """The outputs of a model for the classes of a dataset.

    Args:
        facts: Of the model.
        dataset: Its address.
        split: Only the classes of this split; `None` for all.
        labels_by: "wnid", "index" or "none".

    Returns:
        Class number of the dataset -> output, for the classes that the model has; and lines for the user.

    Raises:
        PlanMismatchError: They do not fit.
        DatasetError: The dataset is not finished, or damaged.
    """
    if labels_by == "none":
        return {}, ()
    found = read_names(dataset, split)
    where = dataset if split is None else f"{split} of {dataset}"
    if not found:
        return {}, (f"{where} has no labels: the predictions have none",)
    if labels_by == "index":
        return _by_index(facts, found, where), ()
    if facts.classes is None:
        raise PlanMismatchError(f"{facts.name} does not say which class each of its outputs is: {_ADVICE}")
    names: Names = {number: name or None for number, name in enumerate(facts.classes)}
    mapping, notes = map_classes(names, found, where=where, whose=facts.name, advice=_ADVICE)
    # Only what is left out is worth a line: that classes are found by their names is how it always is.
    return mapping, notes if len(mapping) < len(found) else ()


def _by_index(facts: ModelFacts, found: Names, where: str) -> Mapping[int, int]:
    for number, name in found.items():
        if number >= facts.num_outputs:
            raise PlanMismatchError(
                f"{where}: class {number} is no output of {facts.name}, which has 0 to {facts.num_outputs - 1}: leave "
                "--labels-by index out"
            )
        there = None if facts.classes is None else facts.classes[number]
        # The number of a folder, taken for that of a class, gives an accuracy of a tenth of a percent and no error.
        if name != there and _is_wnid(name) and _is_wnid(there):
            raise PlanMismatchError(
                f"{where}: class {number} is {name} here and {there} in {facts.name}, so numbers are not outputs: "
                "leave --labels-by index out, wnids are then mapped"
            )
    return {number: number for number in found}


def _is_wnid(name: str | None) -> bool:
    return name is not None and _WNID.fullmatch(name) is not None
