"""The classifier of a `shardtools train` run: its encoder, projector and head, and what its outputs stand for.

Owns how a run's folder is read for its logits; the price of asking `classes.json` for names alone: a run whose datasets
had no names gives a model whose outputs are not known, unless the user names them.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from shardtools.documents import read_json
from shardtools.errors import OptionError, first_line
from shardtools.pipelines.encoders.trained import check_run_weights, run_preprocessing, run_recipe
from shardtools.pipelines.evaluate.models.opened import Opened
from shardtools.pipelines.train.models import build_classifier
from shardtools.pipelines.train.run import CLASSES_FILE
from shardtools.training import MODEL_FILE

_NAMELESS = "None"
"""What `classes.json` says of a class without a name."""


def load_run(run: Path, weights: str | None) -> Opened:
    """The classifier of a run.

    Args:
        run: Folder of the run.
        weights: Another file of its weights.

    Raises:
        OptionError: The folder is no run, or has no weights yet, or they do not fit.
    """
    recipe = run_recipe(run)
    if recipe.head == "sigmoid":
        raise OptionError(
            f"{run} is a training of images that may have several classes (head 'sigmoid'), and predictions are of "
            "one class an image: its macro F1 and ROC AUC are those of `shardtools train --val --test-split`, and "
            "`shardtools features` takes its encoder"
        )
    path = Path(weights) if weights else run / MODEL_FILE
    check_run_weights(run, path)
    names = _read_names(run)
    num_outputs = max(names) + 1
    network = build_classifier(recipe, num_outputs)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise OptionError(
            f"{path}: expected the weights of a {recipe.encoder} with {num_outputs} outputs, found others "
            f"({first_line(error)}): give the run's own {MODEL_FILE}"
        ) from None
    known = _NAMELESS not in names.values()
    return Opened(
        name=recipe.encoder,
        network=network,
        num_outputs=num_outputs,
        classes=tuple(names.get(number, "") for number in range(num_outputs)) if known else None,
        preprocessing=run_preprocessing(recipe),
    )


def _read_names(run: Path) -> dict[int, str]:
    """Output -> name of its class."""
    path = run / CLASSES_FILE
    try:
        found = {int(number): str(name) for number, name in read_json(path.read_bytes())["classes"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        found = {}
    if not found or min(found) < 0:
        raise OptionError(
            f"{path}: expected the classes of the run's outputs, found none: copy the whole folder, or train again"
        )
    return found
