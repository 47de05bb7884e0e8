"""Which class each output of a model is."""

from __future__ import annotations

from shardtools.errors import OptionError
from shardtools.pipelines.evaluate.models.opened import Opened
from shardtools.taxonomy import load_classes
from shardtools.words import counted

IMAGENET = "imagenet-1k"


def imagenet_wnids() -> tuple[str, ...]:
    """The 1,000 classes of ILSVRC 2012 in the order of all published networks: sorted by wnid."""
    return tuple(entry.wnid for entry in load_classes(IMAGENET))


def output_classes(found: Opened, spec: str | None) -> tuple[str, ...] | None:
    """The classes of a model's outputs, as its source says or as the user does.

    Args:
        found: The model.
        spec: As `taxonomy.load_classes` takes it; `None` leaves it to the source.

    Raises:
        OptionError: The model has another number of outputs.
        TaxonomyError: There are no such classes.
    """
    if spec is None:
        return found.classes
    named = tuple(entry.wnid for entry in load_classes(spec))
    if len(named) != found.num_outputs:
        raise OptionError(
            f"model {found.name} has {counted(found.num_outputs, 'output')}, found "
            f"{counted(len(named), 'class', 'classes')} in {spec}: give --classes those that it was trained on, in the "
            "order of its outputs"
        )
    return named
