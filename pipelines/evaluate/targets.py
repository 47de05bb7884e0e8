"""What every job over a dataset asks before its first batch: how the images are seen, what is there, which labels.

Owns what `job` and `attack_job` do alike; the price of one module for both is that neither can be read alone.
"""

from __future__ import annotations

import numpy as np

from shardtools.arrays import Int32s
from shardtools.errors import ShardtoolsError
from shardtools.evaluation import ModelFacts, ModelOptions, check_files, check_resize, image_sizes
from shardtools.evaluation.predictions import NO_LABEL, BatchPlan, Done, claim
from shardtools.pipelines.ranks import Rank
from shardtools.storage import Storage


def seen_as(model: ModelOptions, split: str | None, url: str, facts: ModelFacts) -> tuple[ModelFacts, tuple[str, ...]]:
    """The facts with the preprocessing that a dataset gets, and a line where it is not the model's own."""
    sizes = image_sizes(url, split)
    check_files(model, sizes, where=url)
    seen = check_resize(facts, sizes, where=url, asked=model.asks_resize, force=model.force_resize)
    if seen == facts:
        return facts, ()
    side = f"{seen.image_size} x {seen.image_size}"
    return seen, (f"{url}: all images are {side} pixels, so they are taken whole (--force-resize cuts them)",)


def first_claims(world: Rank, storage: Storage, plan: BatchPlan, *, replace: bool) -> Done:
    """What is there already, as the first rank found it; an error of its is raised in all of them."""
    found: tuple[Done, ShardtoolsError | None] = Done(), None
    if world.rank == 0:
        try:
            found = claim(storage, plan, replace=replace), None
        except ShardtoolsError as error:
            found = Done(), error
    done, refused = world.from_first(found)
    if refused is not None:
        raise refused
    return done


def output_of_rows(plan: BatchPlan, class_indexes: Int32s) -> Int32s:
    """Label of each row of the loader's table as an output of the model, or `NO_LABEL`; int32 [N]."""
    outputs = np.full(max([int(class_indexes.max()), *(number for number, _ in plan.labels)]) + 2, NO_LABEL, np.int32)
    for number, output in plan.labels:
        outputs[number] = output
    # A row without a class has -1, which is the last place, and stays without a label.
    found: Int32s = outputs[class_indexes]
    return found
