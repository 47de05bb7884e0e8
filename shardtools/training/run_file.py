"""`run.json`: what a run was asked, by which release, and how it ended.

Owns the file and what "finished" means: the file holds a result and the weights lie beside it. The price of asking the
folder: a run whose weights were moved away is taken up again from its last checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from importlib.metadata import version
from typing import Any

from shardtools.documents import read_json
from shardtools.errors import DatasetError, NotFoundError, PlanMismatchError
from shardtools.storage import Storage
from shardtools.training.options import TrainOptions, TrainResult
from shardtools.training.recipe import Recipe

MODEL_FILE = "model.safetensors"
CURVES_FILE = "curves.png"
RUN_FILE = "run.json"
RUN_VERSION = 1

_RENAMED = {"memory_normalised": "memory_normalized"}
_RESPELLED: dict[tuple[str, Any], Any] = {("projector_layers", -1): None, ("augmentation", "colour"): "color"}
"""Keys and values of recipes that runs of before say in other words, and today's."""


def write_run_file(
    storage: Storage, options: TrainOptions, facts: Mapping[str, Any], result: TrainResult | None = None
) -> None:
    """Writes the file anew, whole or not at all.

    Args:
        storage: The run's folder.
        options: What was asked for.
        facts: What the run found: "steps_per_epoch", "num_processes", "classes", "decoder", ...
        result: What it ended with; `None` while it goes on.
    """
    content = {
        "version": RUN_VERSION,
        "shardtools": version("shardtools"),
        "options": asdict(options),
        "settings": options.result(),
        "facts": dict(facts),
        "result": None if result is None else asdict(result),
    }
    storage.write(RUN_FILE, (json.dumps(content, indent=1) + "\n").encode())


def read_finished(storage: Storage, options: TrainOptions) -> TrainResult | None:
    """What the folder's training ended with; `None` where it has none or is not finished.

    Returns:
        The result with `images` and `seconds` of 0: this run did nothing.

    Raises:
        PlanMismatchError: The folder holds a finished training with other settings.
        DatasetError: The file is damaged.
    """
    try:
        content = read_json(storage.read(RUN_FILE))
        result, settings = content["result"], content["settings"]
        if result is None or not result["finished"] or not storage.exists(MODEL_FILE):
            return None
        found = TrainResult(**result)
        if not isinstance(settings, dict):
            raise ValueError("settings is no object")
    except NotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        raise DatasetError(
            f"{storage.object_url(RUN_FILE)}: expected a run file, found another content: remove the file, "
            "the run then goes on from its last checkpoint"
        ) from None
    changes = changed_settings(settings, options.result())
    if changes:
        shown = "; ".join(changes[:3]) + (f" and {len(changes) - 3} more" if len(changes) > 3 else "")
        raise PlanMismatchError(f"{storage.url} holds a finished training of other options ({shown}): give another out")
    return replace(found, out=storage.url, images=0, seconds=0.0)


def todays_recipe(found: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Keys and values of a recipe out of a file, in the words of this release; other keys as they are.

    Args:
        found: What the file says.
        prefix: Of the recipe's keys.
    """
    values = dict(found)
    for old, new in _RENAMED.items():
        if prefix + old in values:
            values[prefix + new] = values.pop(prefix + old)
    for (name, was), now in _RESPELLED.items():
        if values.get(prefix + name) == was:
            values[prefix + name] = now
    return values


def changed_settings(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Differences between two `TrainOptions.result()`, one line each; the first may come out of a JSON file.

    A key of recipes that one of them does not have has its default there: it is younger than a run that an earlier
    release began, which can be resumed, or was left out for that reason (`Recipe.settings`).
    """
    standard = _as_json({f"recipe.{field.name}": field.default for field in fields(Recipe) if field.name != "name"})
    before = todays_recipe(found, "recipe.")
    after = _as_json(wanted)
    for values in (before, after):
        values.update({name: value for name, value in standard.items() if name not in values})
    return [
        f"{name} was {before.get(name)!r}, is {after.get(name)!r}"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """As a file of JSON gives them back: tuples as lists."""
    found: dict[str, Any] = json.loads(json.dumps(dict(values)))
    return found
