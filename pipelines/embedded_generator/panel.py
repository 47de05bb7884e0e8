"""The three judges of the embedded generator and how long each trains.

`black` knows real products on black, `scene` the same products in painted scenes (by
class), `group` those pictures by scene group. None sees a generated picture. The price
of training them here instead of shipping them: about ten minutes of one core, once.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch

from shardtools.pipelines.embedded_generator.captions import CLASSES
from shardtools.pipelines.embedded_generator.data import load_split, place_in_scenes
from shardtools.pipelines.embedded_generator.judge import (
    Judge,
    JudgeOptions,
    gray_batcher,
    load_judge,
    save_judge,
    train_judge,
)
from shardtools.pipelines.embedded_generator.scenes import SCENE_GROUPS, paint_bank
from shardtools.pipelines.embedded_generator.vae import to_tensor


def _cached(path: Path, num_classes: int, build: Callable[[], Judge]) -> Judge:
    if not path.is_file():
        save_judge(build(), path)
    return load_judge(path, num_classes)


def _train_black(data: Path, epochs: float) -> Judge:
    """Six parts of shifted pictures, then one and a half as they are at a low rate."""
    gray, labels = (torch.from_numpy(a) for a in load_split(data, "train"))
    judge, batcher = Judge(), gray_batcher(gray, labels)
    train_judge(judge, len(gray), batcher, JudgeOptions(epochs=epochs, max_shift=2))
    refine_black(judge, gray, labels, epochs / 4)
    return judge


def refine_black(judge: Judge, gray: torch.Tensor, labels: torch.Tensor, epochs: float) -> None:
    """The last part of the black judge's training: no shifts, a low rate."""
    options = JudgeOptions(epochs=epochs, max_shift=0, max_rate=5e-4, seed=1)
    train_judge(judge, len(gray), gray_batcher(gray, labels), options)


def _train_scene(data: Path, epochs: float, start: Judge | None) -> Judge:
    """A judge of painted scenes, freshly composed for every batch.

    By class when it starts from the black judge, by scene group when it starts from nothing.
    """
    gray, labels = load_split(data, "train")
    backgrounds, groups = paint_bank(400, seed=1001)
    rng = np.random.default_rng(1002)

    def batch_of(chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        index, at = chosen.numpy(), rng.integers(0, len(backgrounds), len(chosen))
        images = to_tensor(place_in_scenes(gray[index], backgrounds[at], rng))
        return images, torch.from_numpy(groups[at] if start is None else labels[index])

    judge = Judge(len(SCENE_GROUPS)) if start is None else deepcopy(start)
    train_judge(judge, len(gray), batch_of, JudgeOptions(epochs=epochs))
    return judge


def load_judges(data: Path, folder: Path, epochs: float) -> dict[str, Judge]:
    """The judges by name, trained where `folder` does not hold them yet."""
    mark = f"{epochs:g}.safetensors"
    black = _cached(folder / f"black-{mark}", len(CLASSES), lambda: _train_black(data, epochs))
    scene_epochs, group_epochs = epochs / 4, epochs / 20
    return {
        "black": black,
        "scene": _cached(folder / f"scene-{mark}", len(CLASSES), lambda: _train_scene(data, scene_epochs, black)),
        "group": _cached(folder / f"group-{mark}", len(SCENE_GROUPS), lambda: _train_scene(data, group_epochs, None)),
    }
