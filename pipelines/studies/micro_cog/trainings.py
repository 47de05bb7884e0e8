"""Own networks: trained on seen concepts, on the objects that their fold does not hold out.

Owns the choice of pictures, as an SQL condition, so that a run's own file says what it was trained on.
"""

from __future__ import annotations

from pathlib import Path

from shardtools.pipelines.studies.micro_cog.concepts import Concepts, held_out_objects, open_split
from shardtools.pipelines.studies.micro_cog.plan import HEADS, WORLD, StudyOptions, Training
from shardtools.pipelines.studies.training import ONE_CORE
from shardtools.quoting import quoted_text
from shardtools.training import TrainOptions, load_recipe


def run_folder(options: StudyOptions, training: Training) -> Path:
    """Where a training lies."""
    return options.folder / "runs" / training.name


def training_options(options: StudyOptions, concepts: Concepts, training: Training) -> TrainOptions:
    """What `shardtools train` is asked for."""
    world, split = open_split(options)
    seen = ", ".join(map(quoted_text, concepts.seen))
    lost = ", ".join(map(quoted_text, held_out_objects(world, split, training.fold, concepts.seen)))
    where = f"source = 'rendered' and wnid in ({seen}) and wnid || '/' || object_id not in ({lost})"
    datasets = [options.dataset(WORLD)]
    if options.fashion:
        # One of so many photographs, by a digest of the key: the same ones on any machine.
        least = f"{256 // options.fashion_share:02x}"
        photographed = ", ".join(map(quoted_text, concepts.photographed))
        where = (
            f"({where}) or (split = 'train' and wnid in ({photographed}) and source <> 'rendered' and "
            f"substr(md5(key), 1, 2) < {quoted_text(least)})"
        )
        datasets.append(options.dataset("fashion"))
    side = str(options.train_size)
    changes = {
        # The recipe is of 32 pixels and of clothes; ImageNet's mean and deviation are those of photographs.
        "image_size": side,
        "eval_resize": side,
        "mean": "0.485,0.456,0.406",
        "std": "0.229,0.224,0.225",
        "epochs": str(options.epochs),
        "batch_size": str(options.batch_size),
        "base_lr": "0.2",
        **HEADS[training.head],
    }
    return TrainOptions(
        datasets=tuple(datasets),
        out=str(run_folder(options, training)),
        recipe=load_recipe("micro", changes),
        split=None,
        where=where,
        seed=training.fold,
        **ONE_CORE,
    )
