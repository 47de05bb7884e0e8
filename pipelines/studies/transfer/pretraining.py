"""Networks of growing accuracy: two pretrainings of the small network, kept after some of their epochs.

Owns the networks' files and their accuracies in pretraining. Checkpoints along one training cost no more than its last
epoch; the price is that the learning rate of an early one has not come down, so it is worse than a training of that
length would be.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from shardtools.pipelines.studies.training import ONE_CORE, train_whole
from shardtools.pipelines.studies.transfer.plan import PRETRAINING, RECIPES, StudyOptions
from shardtools.training import Recipe, TrainOptions, load_recipe, read_metrics

BATCH = 32
RECIPE = "micro"
_ACCURACIES = "accuracies.json"


def pretrain(options: StudyOptions, recipe: str) -> None:
    """Trains one of `RECIPES`, or goes on with it, and keeps the networks of the epochs that are wanted.

    Raises:
        RunError: It was stopped; the same command goes on.
    """
    run = options.folder / "runs" / recipe
    wanted = TrainOptions(
        datasets=(options.dataset(PRETRAINING),),
        out=str(run),
        recipe=pretraining_recipe(options, recipe),
        val=options.dataset(PRETRAINING),
        val_split="test",
        keep_checkpoints=options.epochs,
        **ONE_CORE,
    )
    train_whole(wanted, recipe)
    evaluations = read_metrics(run)["evaluation"]
    top1 = dict(zip(evaluations["epoch"].round().astype(int).tolist(), evaluations["val_top1"].tolist(), strict=True))
    steps = dict(zip(evaluations["epoch"].round().astype(int).tolist(), evaluations["step"].tolist(), strict=True))
    found = {}
    for network in options.networks:
        if network.recipe == recipe:
            target = options.weights(network)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / "checkpoints" / f"step-{int(steps[network.epoch]):09d}" / "model.safetensors", target)
            found[network.name] = top1[network.epoch] / 100
    # Last: where the accuracies are, the networks are.
    (run / _ACCURACIES).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(run / "checkpoints")


def pretraining_recipe(options: StudyOptions, recipe: str) -> Recipe:
    """How a network is pretrained."""
    return load_recipe(RECIPE, {**RECIPES[recipe], "epochs": str(options.epochs), "batch_size": str(BATCH)})


def is_pretrained(options: StudyOptions, recipe: str) -> bool:
    """Whether its networks are there."""
    return (options.folder / "runs" / recipe / _ACCURACIES).exists()


def pretraining_accuracies(options: StudyOptions) -> dict[str, float]:
    """Name of a network -> its accuracy on the test images of what it was pretrained on, 0 to 1."""
    found: dict[str, float] = {}
    for recipe in RECIPES:
        path = Path(options.folder / "runs" / recipe / _ACCURACIES)
        found |= json.loads(path.read_text(encoding="utf-8"))
    return found
