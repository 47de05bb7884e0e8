"""From `plan.json` back to the plan: what the fingerprint only digests, kept beside it.

Owns the notes that a plan is rebuilt from. A class set that ships with the package is kept by name, anything else by
its texts; no path of the machine that planned is kept. The price: a release whose class table differs cannot rebuild a
plan made from a named set, and says so instead of making other images.
"""

from __future__ import annotations

import dataclasses
from itertools import groupby
from typing import Any

from shardtools.dataset import PlanFile
from shardtools.dataset.plan_file import fingerprint
from shardtools.errors import PlanError, ShardtoolsError
from shardtools.generation.plan import (
    OLD_SCENE_ORDER,
    SCENE_ORDERS,
    TEMPLATE_SETTING,
    GeneratorSettings,
    Plan,
    PlanOptions,
)
from shardtools.prompts import PLACES365, PromptOptions, load_scenes
from shardtools.taxonomy import CLASS_SETS, ImageClass, class_set_sizes, load_classes

_CLASS_FIELDS = tuple(field.name for field in dataclasses.fields(ImageClass))
_NESTED_FIELDS = ("lemmas", "hypernym_wnids")


def plan_notes(options: PlanOptions) -> dict[str, Any]:
    """JSON values that, with the plan's settings, give `options` again (see `rebuild_plan`).

    Returns:
        "classes": a class set's name, or one list of `ImageClass` values a class; "images_per_class": [images, number "
        "of
        classes in a row with that many] pairs; "scenes": "places365", a list of names, or `None`.
    """
    scenes = options.prompts.scenes
    return {
        "classes": _class_set_name(options.classes) or [_class_values(one) for one in options.classes],
        "images_per_class": [[count, len(list(run))] for count, run in groupby(options.images_per_class)],
        "scenes": PLACES365 if scenes == load_scenes(None) else (list(scenes) or None),
    }


def rebuild_plan(plan_file: PlanFile) -> Plan:
    """The plan that a `plan.json` stands for, checked against its fingerprint.

    Raises:
        PlanError: The file keeps no notes, or they give another plan with this release.
    """
    try:
        plan = Plan(_rebuild(plan_file))
    except (KeyError, TypeError, ValueError, ShardtoolsError) as error:
        raise PlanError(
            f"plan {plan_file.plan_id} cannot be rebuilt from plan.json ({type(error).__name__}: {error}): "
            "run the gen-sd command that made the dataset again"
        ) from None
    found = fingerprint(plan.options.settings())
    if found != plan_file.plan_id:
        raise PlanError(
            f"plan.json rebuilds to plan {found}, expected {plan_file.plan_id}: the class table of this release "
            "differs, use the release that made the dataset"
        )
    return plan


def generator_settings(plan_file: PlanFile) -> GeneratorSettings:
    """How the images of a plan are made; needs no class and no scene.

    Raises:
        PlanError: The settings lack what this release expects.
    """
    try:
        return GeneratorSettings.from_settings(plan_file.settings)
    except (KeyError, TypeError, ShardtoolsError) as error:
        raise PlanError(
            f"plan {plan_file.plan_id} lacks generator settings ({type(error).__name__}: {error}): restore plan.json"
        ) from None


def _rebuild(plan_file: PlanFile) -> PlanOptions:
    settings, notes = plan_file.settings, plan_file.notes["plan"]
    classes, scenes = notes["classes"], notes["scenes"]
    return PlanOptions(
        classes=tuple(load_classes(classes) if isinstance(classes, str) else map(_class_of_values, classes)),
        images_per_class=tuple(count for count, length in notes["images_per_class"] for _ in range(length)),
        scale=plan_file.scale,
        prompts=PromptOptions(
            template=settings[TEMPLATE_SETTING],
            lemmas=settings["prompt_lemmas"],
            hypernyms=settings["prompt_hypernyms"],
            scenes=load_scenes(scenes) if isinstance(scenes, str) else tuple(scenes or ()),
        ),
        scene_order=settings.get("scene_order", OLD_SCENE_ORDER if settings["scenes"] else SCENE_ORDERS[0]),
        seed=settings["seed"],
        split=settings["split"],
        samples_per_shard=settings["samples_per_shard"],
        generator=generator_settings(plan_file),
    )


def _class_set_name(classes: tuple[ImageClass, ...]) -> str | None:
    """The class set that holds exactly these classes, label by label."""
    sizes = class_set_sizes()
    return next(
        (name for name in CLASS_SETS if sizes[name] == len(classes) and tuple(load_classes(name)) == classes), None
    )


def _class_values(image_class: ImageClass) -> list[Any]:
    return [getattr(image_class, name) for name in _CLASS_FIELDS]


def _class_of_values(values: list[Any]) -> ImageClass:
    fields = dict(zip(_CLASS_FIELDS, values, strict=True))
    fields |= {name: tuple(fields[name]) for name in _NESTED_FIELDS}
    fields["hypernyms"] = tuple(map(tuple, fields["hypernyms"]))
    return ImageClass(**fields)
