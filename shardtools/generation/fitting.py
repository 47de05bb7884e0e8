"""What cannot draw from a model, refused before anything is written: its pipeline, a scheduler, classes.

Owns those rules, from names alone. The price: a scheduler that a later diffusers brings has to be added here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from shardtools.errors import ModelError, OptionError
from shardtools.generation.plan import SCHEDULERS
from shardtools.taxonomy import DEFAULT_CLASSES, ImageClass, load_classes

NOISE_SCHEDULERS = (
    *SCHEDULERS.values(),
    "DDIMParallelScheduler",
    "DDPMParallelScheduler",
    "DEISMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
)
"""Classes of diffusers that take each other's settings: for models that predict the noise."""

_NEEDING = {"DPMSolverSDEScheduler": "torchsde"}

FLOW_SCHEDULERS = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler")
"""The same for models that predict a flow."""

_OTHER_TASKS = re.compile(
    r"Img2Img|Image2|ImageTo|Inpaint|Upscale|Variation|Edit|Pix2Pix|Depth|ControlNet|Adapter|Video|Audio|Music|Animat"
    r"|Prior|3D|Marigold|Reimagine|Kontext|Fill|Redux|Paint|I2V|^Wan|^LTX|^Mochi|^Allegro|^Latte"
)
"""In the name of a pipeline: it needs more than a text, or gives no image."""


def check_pipeline(path: Path, index: dict[str, Any]) -> None:
    """Refuses a pipeline that does not make an image from a text.

    Raises:
        ModelError: It does not, or it needs code of its own.
    """
    name = index.get("_class_name", "DiffusionPipeline")
    if not isinstance(name, str):
        raise ModelError(
            f"{path} needs program code of its own ({name}), which is never run from a model's folder: choose a "
            "pipeline of diffusers"
        )
    parts = {part for part, value in index.items() if isinstance(value, list) and value[0] is not None}
    draws = parts & {"unet", "transformer"} and any(part.startswith("tokenizer") for part in parts)
    if _OTHER_TASKS.search(name) or not draws:
        raise ModelError(
            f"{path} holds {name}, which does not make images from texts alone: expected a text-to-image pipeline with "
            "a unet or transformer and a tokenizer, such as StableDiffusionPipeline: choose another --model"
        )


def check_scheduler(scheduler: str, own: str, where: str) -> None:
    """Refuses a scheduler that does not fit the model.

    Args:
        scheduler: Class name of what is asked for.
        own: Class name of what the model comes with.
        where: Name of the model.

    Raises:
        OptionError: It does not fit.
    """
    if scheduler == own:
        return
    if scheduler in _NEEDING and find_spec(_NEEDING[scheduler]) is None:
        raise OptionError(f"--scheduler {scheduler} needs the package {_NEEDING[scheduler]}, found none: install it")
    family = next((names for names in (NOISE_SCHEDULERS, FLOW_SCHEDULERS) if own in names), (own,))
    if scheduler not in family:
        short = {name: key for key, name in SCHEDULERS.items()}
        fitting = ", ".join(short.get(name, name) for name in family)
        raise OptionError(
            f"--scheduler {scheduler} cannot draw from the model {where}, which was made for {own}: expected one of "
            f"{fitting}, or leave the option out"
        )


def check_classes(classes: Sequence[ImageClass], *, own: bool) -> str | None:
    """Compares classes with the ten that the embedded model was taught.

    Args:
        classes: What is asked for.
        own: Whether they come with texts of the user's own, which it is then drawn from as far as it goes.

    Returns:
        One line for the user, where there is something to say.

    Raises:
        OptionError: Classes of WordNet that it was never taught.
    """
    known = _taught()
    unknown = [one for one in classes if one.wnid not in known]
    if not unknown:
        return None
    named = ", ".join(one.lemmas[0] for one in unknown[:3]) + ", ..." * (len(unknown) > 3)
    taught = ", ".join(known.values())
    count = f"{len(unknown)} of {len(classes)} classes" if len(classes) > 1 else "the class"
    if own:
        return (
            f"the embedded model was never taught {count} ({named}): the pictures will show the clothing it knows "
            f"({taught}); another model: --model OWNER/NAME or a folder"
        )
    raise OptionError(
        f"the embedded model was never taught {count} ({named}), it knows {taught}: choose among these, or name a "
        "model that knows them, as in --model CompVis/stable-diffusion-v1-4"
    )


@cache
def _taught() -> dict[str, str]:
    return {one.wnid: one.lemmas[0] for one in load_classes(DEFAULT_CLASSES)}
