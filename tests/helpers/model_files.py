"""Classifiers on disk: folders of training runs that nobody trained, with weights drawn from a fixed seed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from shardtools.pipelines.train.models import Classifier, build_classifier
from shardtools.storage import open_storage
from shardtools.training import TrainOptions, write_run_file
from tests.helpers.training_runs import RECIPE

WNIDS = ("n03595614", "n04489008", "n04021028")


def run_folder(
    folder: Path, names: Mapping[int, str | None] | None = None, *, seed: int = 0, **recipe: Any
) -> tuple[Path, Classifier]:
    """The folder that a training of resnet-micro leaves: run file, classes, weights; and its network.

    Args:
        folder: Made.
        names: Class number -> wnid; `None` for three of Fashion-MNIST's.
        seed: Of the weights.
        recipe: Changes of the tests' recipe, whose head is "ocm".
    """
    folder.mkdir(parents=True)
    names = dict(enumerate(WNIDS)) if names is None else names
    wanted = replace(RECIPE, **recipe)
    network = build_classifier(wanted, max(names) + 1, seed=seed)
    for name, buffer in network.named_buffers():
        # What a batch norm has seen, so that the network in evaluation is not the one in training.
        if name.endswith("running_mean"):
            buffer.copy_(torch.linspace(-0.1, 0.1, len(buffer)))
    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / "model.safetensors"
    )
    (folder / "classes.json").write_text(json.dumps({"classes": {number: str(name) for number, name in names.items()}}))
    write_run_file(open_storage(str(folder)), TrainOptions(datasets=("d",), out=str(folder), recipe=wanted), {})
    return folder, network.eval()
