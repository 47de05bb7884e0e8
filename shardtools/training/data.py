"""From a run's options to what its loaders read: samples, crops, classes.

Owns the translation and the checks that need no pixel: that there are rows, that every label has a place in the head.
Which number is which class is settled in `classes.py`, before torch is loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shardtools.errors import OptionError
from shardtools.loader import (
    NO_CLASS,
    CenterCropOptions,
    CropOptions,
    LoaderOptions,
    MixOptions,
    MultiCropOptions,
    OrderOptions,
    SampleTable,
    dino_multi_crop,
)
from shardtools.loader.reading.options import ReadOptions
from shardtools.quoting import quoted_name, quoted_text
from shardtools.training.classes import ClassPlan
from shardtools.training.options import TrainOptions
from shardtools.training.recipe import Recipe
from shardtools.words import counted

EVALUATION_BATCH = 2
"""Images of an evaluation's batch for each of a training batch: nothing is kept for a backward pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one process of a run does.

    Attributes:
        rank: 0-based number of the process.
        world_size: Processes of the run.
        threads: CPU threads that decode for it.
    """

    rank: int = 0
    world_size: int = 1
    threads: int = 1


def training_crop(recipe: Recipe) -> CropOptions | MultiCropOptions:
    """What is done to a training image."""
    if recipe.augmentation == "plain":
        return CropOptions(size=recipe.image_size, scale=(recipe.scale, 1.0), flip_probability=recipe.flip)
    both = dino_multi_crop((recipe.scale, 1.0), (recipe.local_scale, recipe.scale))
    one = replace(both.global_crop, size=recipe.image_size, flip_probability=recipe.flip)
    if recipe.augmentation == "color":
        return one
    local = replace(both.local_crop, size=recipe.local_size, flip_probability=recipe.flip)
    return replace(both, num_local=recipe.num_local, global_crop=one, local_crop=local)


def training_loader(options: TrainOptions, share: Share, classes: ClassPlan | None = None) -> LoaderOptions:
    """What a process reads to train on: the last samples of an epoch that fill no batch are left out.

    Args:
        options: Of the run.
        share: Of the process.
        classes: Of the run; `None` takes labels as they are.

    Raises:
        OptionError: The batch cannot be shared by the processes and their passes.
    """
    batch_size = options.recipe.batch_size
    parts = share.world_size * options.accumulation
    if batch_size % parts:
        fitting = -(-batch_size // parts) * parts
        raise OptionError(
            f"batch_size {batch_size} is not a multiple of {counted(share.world_size, 'process', 'processes')} "
            f"x {options.accumulation} "
            f"passes: take another number of processes or another --accumulation, or --set batch_size={fitting}"
        )
    shuffle = "weighted" if options.weighted == "sampling" else options.shuffle
    view, parameters = _view(options, None if classes is None else classes.training)
    return LoaderOptions(
        datasets=options.datasets,
        split=options.split if view is None else None,
        view=view,
        view_parameters=parameters,
        crop=training_crop(options.recipe),
        batch_size=batch_size // share.world_size,
        order=OrderOptions(seed=options.seed, shuffle=shuffle),
        mix=None if options.ratio is None else MixOptions(ratio=options.ratio),
        last="drop",
        read=ReadOptions(cache_folder=options.cache_folder, cache_bytes=options.cache_bytes),
        table_cache=_table_cache(options, view),
        rank=share.rank,
        world_size=share.world_size,
        num_threads=share.threads,
    )


def evaluation_loader(
    options: TrainOptions, share: Share, classes: ClassPlan | None = None, split: str | None = None
) -> LoaderOptions:
    """What a process reads to evaluate: every sample once, the centre of the image; see `training_loader`.

    Args:
        options: Of the run.
        share: Of the process.
        classes: Of the run; `None` takes labels as they are.
        split: Of the evaluation's dataset; `None` for `val_split`.

    Raises:
        OptionError: The run has no dataset to evaluate on.
    """
    if options.val is None:
        raise OptionError("an evaluation needs a dataset: give val")
    recipe, split = options.recipe, split or options.val_split
    mapped = None if classes is None else classes.evaluation
    return LoaderOptions(
        datasets=(options.val,),
        split=split if mapped is None else None,
        view=None if mapped is None else _mapped_view(mapped),
        view_parameters=None if mapped is None else {"split": split},
        crop=CenterCropOptions(size=recipe.image_size, resize=recipe.eval_resize),
        batch_size=max(1, EVALUATION_BATCH * recipe.batch_size // (share.world_size * options.accumulation)),
        order=OrderOptions(shuffle="none"),
        last="short",
        read=ReadOptions(cache_folder=options.cache_folder, cache_bytes=options.cache_bytes),
        rank=share.rank,
        world_size=share.world_size,
        num_threads=share.threads,
    )


def _table_cache(options: TrainOptions, view: str | None) -> str | None:
    """A folder in the run's, so that the processes of a machine make the table of a split once."""
    if view is not None or options.split is None:
        return None
    name = hashlib.sha256("\0".join((*options.datasets, options.split)).encode()).hexdigest()[:16]
    return str(Path(options.out) / "tables" / name)


def _mapped_view(mapped: Mapping[int, int]) -> str:
    """SQL for a split's images of the classes that are mapped; images without a label stay, to be refused."""
    pairs = ", ".join(f"({own}, {label})" for own, label in sorted(mapped.items()))
    return (
        "select samples.key, cast(numbering.label as integer) as class_index from samples "
        f"left join (values {pairs}) as numbering(own, label) on numbering.own = samples.class_index "
        "where samples.status = 'ok' and samples.split = $split "
        "and (samples.class_index is null or numbering.label is not null)"
    )


def _view(
    options: TrainOptions, mapped: Sequence[Mapping[int, int]] | None
) -> tuple[str | None, Mapping[str, Any] | None]:
    """The SQL that selects the samples; none where a whole split is read as it is labeled."""
    if options.view is not None:
        return options.view, None
    if options.where is None and options.relabel is None and mapped is None:
        return None, None
    label, join = "samples.class_index", ""
    if options.relabel is not None:
        label = "coalesce(relabel.class_index, samples.class_index)"
        join = (
            f" left join overlays.{quoted_name(options.relabel)} as relabel"
            " on relabel.key = samples.key and relabel.dataset = samples.dataset"
        )
    if mapped is not None:
        rows = ", ".join(
            f"({quoted_text(url)}, {own}, {to})"
            for url, of_one in zip(options.datasets, mapped, strict=True)
            for own, to in sorted(of_one.items())
        )
        join += (
            f" left join (values {rows}) as numbering(dataset, own, label)"
            f" on numbering.dataset = samples.dataset and numbering.own = {label}"
        )
        label = "numbering.label"
    conditions = ["samples.status = 'ok'"]
    if options.split is not None:
        conditions.append("samples.split = $split")
    if options.where is not None:
        # On lines of its own, so that a comment at its end ends there.
        conditions.append(f"(\n{options.where}\n)")
    # Images of several classes have no label, and a view none that is null.
    given = "" if options.recipe.head == "sigmoid" else f", cast({label} as integer) as class_index"
    sql = f"select samples.key, samples.dataset{given} from samples{join} where {' and '.join(conditions)}"
    return sql, None if options.split is None else {"split": options.split}


def check_labels(table: SampleTable, num_classes: int, what: str) -> None:
    """That every row of a loader's table has a place in the head.

    Args:
        table: Of the loader.
        num_classes: Of the head.
        what: Names the data in the error.

    Raises:
        OptionError: A row has no label, or one that the head does not have.
    """
    labels = np.asarray(table.class_index)
    if num_classes == 0:
        raise OptionError(
            f"{what}: expected samples with a class, found none among {len(labels)}: write the dataset with labels, "
            "give them with --view, or, where images have several, take head=sigmoid"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if not wrong.size:
        return
    label, key = int(labels[wrong[0]]), table.key_strings(wrong[:1].astype(np.int64))[0]
    found = "no class" if label == NO_CLASS else f"class {label}"
    raise OptionError(
        f"{what}: expected labels 0 to {num_classes - 1}, which the head has, found {found} at {key!r} "
        f"({wrong.size} rows of {len(labels)}): leave them out with --where, or give them a label"
    )
