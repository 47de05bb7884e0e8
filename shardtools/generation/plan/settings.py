"""What a plan is made from: every option that changes a pixel, a label or a name, and none that does not.

Owns the fingerprint's content. Every option of the generator (`generation.plan.options`) is in it without being named
here; the price is that an option which changes no pixel may not be declared there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any

from shardtools.errors import OptionError
from shardtools.generation.plan.options import (
    DEVICES,
    DTYPES,
    MAX_AUTO_SAMPLES_PER_SHARD,
    OLD_SCENE_ORDER,
    SCENE_ORDERS,
    SIDES,
    GeneratorOptions,
)
from shardtools.generation.plan.seeds import MAX_REPLICAS
from shardtools.options import check_options, option, option_of
from shardtools.prompts import PromptOptions, parse_template
from shardtools.shards import check_split
from shardtools.taxonomy import ImageClass

TEMPLATE_SETTING = "prompt"
"""Key of the prompt template in `plan.json`: the fingerprints of all datasets are made of it."""

_AUTO_SHARDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorSettings(GeneratorOptions):
    """The generator's options on a certain model and machine: nothing is left open.

    Attributes:
        model_digest: sha256 over the pipeline's files.
        scheduler: Class name of the diffusers scheduler.
        width: Pixels, a multiple of 8.
        height: Pixels, a multiple of 8.
        dtype: "float32", "float16" or "bfloat16".
        device: "cpu" or "cuda".
    """

    model_digest: str
    scheduler: str = "PNDMScheduler"
    width: int = field(metadata=option(bounds=SIDES))
    height: int = field(metadata=option(bounds=SIDES))
    dtype: str = field(default="float32", metadata=option(choices=DTYPES))
    device: str = field(default="cpu", metadata=option(choices=DEVICES))

    def __post_init__(self) -> None:
        check_options(self)
        for flag, pixels in (("--width", self.width), ("--height", self.height)):
            if pixels % 8:
                raise OptionError(f"{flag} is a multiple of 8 pixels, found {pixels}: try {pixels // 8 * 8 or 8}")

    def settings(self) -> dict[str, Any]:
        """Option name -> JSON value for the fingerprint, without late options at their defaults."""
        values = {"model_digest": self.model_digest, **asdict(self)}
        for one in fields(self):
            if _is_late(one) and values[one.name] == one.default:
                del values[one.name]
        return values

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> GeneratorSettings:
        """The reverse of `settings`; what else is in the mapping is not looked at.

        Raises:
            KeyError: A setting is missing.
            OptionError: A value is out of range.
        """
        names = [one.name for one in fields(cls) if one.name in settings or not _is_late(one)]
        return cls(**{name: settings[name] for name in names})


def _is_late(field: Field[Any]) -> bool:
    """Whether an option came after the first plans were written."""
    declared = option_of(field)
    return declared is not None and declared.late


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """Everything a plan is computed from.

    Attributes:
        classes: In label order.
        images_per_class: Images of each class in one clone; 0 or more each.
        scale: Number of clones; clone k is the same whatever the scale is.
        prompts: Template and how it is filled.
        scene_order: One of `SCENE_ORDERS`. "shuffled": one seeded order for all classes, so that the scene does not
            tell the class. "by-class": the list's own order, each class from another scene on, as earlier releases did;
            with fewer images a class than scenes each class has its own part of the list.
        seed: Base of all image seeds.
        split: Name of the split the images go to.
        samples_per_shard: Rows of one shard.
        generator: How images are made.
    """

    classes: tuple[ImageClass, ...]
    images_per_class: tuple[int, ...]
    scale: int = 1
    prompts: PromptOptions
    scene_order: str = SCENE_ORDERS[0]
    seed: int = 0
    split: str = "train"
    samples_per_shard: int
    generator: GeneratorSettings

    def __post_init__(self) -> None:
        check_split(self.split)
        if self.scene_order not in SCENE_ORDERS:
            raise OptionError(f"--scene-order is one of {', '.join(SCENE_ORDERS)}, found {self.scene_order!r}")
        _check_range("--scale", self.scale, 1, 10_000)
        _check_range("--seed", self.seed, 0, 2**63 - 1)
        _check_range("--samples-per-shard", self.samples_per_shard, 1, 1_000_000)
        if len(self.classes) != len(self.images_per_class):
            raise OptionError(
                f"expected one image count for each of {len(self.classes)} classes, found {len(self.images_per_class)}"
            )
        if parse_template(self.prompts.template).uses_scene != bool(self.prompts.scenes):
            raise OptionError(
                f"a template with b goes with scenes, and no other does: found {self.prompts.template!r} "
                f"with {len(self.prompts.scenes)} scenes"
            )
        if not any(self.images_per_class):
            raise OptionError("a plan has at least one image, found none: raise --images-per-class")
        if min(self.images_per_class) < 0 or max(self.images_per_class) * self.scale > MAX_REPLICAS:
            raise OptionError(
                f"a class has 0 to {MAX_REPLICAS} images over all clones, found {max(self.images_per_class)} times "
                f"--scale {self.scale}: lower one of them"
            )

    def settings(self) -> dict[str, Any]:
        """Option name -> JSON value of all that the fingerprint covers.

        `scale` is left out because clones are a prefix.
        """
        prompts = asdict(self.prompts)
        scenes, template = prompts.pop("scenes"), prompts.pop("template")
        return {
            "classes": {
                "count": len(self.classes),
                "sha256": _digest([asdict(image_class) for image_class in self.classes]),
            },
            "images_per_class": _summarize(self.images_per_class),
            "seed": self.seed,
            "split": self.split,
            "samples_per_shard": self.samples_per_shard,
            "scenes": {"count": len(scenes), "sha256": _digest(scenes)} if scenes else None,
            TEMPLATE_SETTING: template,
            **{f"prompt_{name}": value for name, value in prompts.items()},
            # Plans of before the choice have scenes "by-class" and no such key; they stay the plans they are.
            **({"scene_order": self.scene_order} if scenes and self.scene_order != OLD_SCENE_ORDER else {}),
            **self.generator.settings(),
        }


def auto_samples_per_shard(rows_per_clone: int, batch_size: int) -> int:
    """Whole batches, about eight shards for a small clone, at most 1000 samples for a large one.

    A function of the plan alone, never of the number of processes: shards must not move when a run is resumed
    elsewhere.
    """
    per_shard = -(-rows_per_clone // _AUTO_SHARDS)
    batches = -(-min(per_shard, MAX_AUTO_SAMPLES_PER_SHARD) // batch_size)
    return max(1, batches) * batch_size


def _summarize(counts: tuple[int, ...]) -> int | dict[str, Any]:
    if len(set(counts)) == 1:
        return counts[0]
    return {"total": sum(counts), "sha256": _digest(counts)}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()[:16]


def _check_range(option: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise OptionError(f"{option} is {low} to {high}, found {value}")
