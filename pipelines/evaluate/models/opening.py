"""From what a user calls a model to a classifier.

Owns the order in which a name is understood. Nothing is downloaded unless it is asked for; the price is that a network
without weights on this machine is refused, since predictions of random weights look like predictions.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from shardtools.errors import OptionError
from shardtools.evaluation import ModelFacts, ModelOptions
from shardtools.pipelines.encoders.lite import LITE, lite_preprocessing, load_lite
from shardtools.pipelines.encoders.local_models import Preprocessing, weights_digest
from shardtools.pipelines.evaluate.models.classifier import Classifier
from shardtools.pipelines.evaluate.models.opened import Opened
from shardtools.pipelines.evaluate.models.runs import load_run
from shardtools.taxonomy import load_classes
from shardtools.training import RUN_FILE


def load_classifier(options: ModelOptions) -> Classifier:
    """The classifier on the CPU, with its weights.

    Raises:
        OptionError: There is no such model, or no weights, or they do not fit.
        RunError: A library is missing.
    """
    found = _open(options)
    chosen = _chosen(options, found.preprocessing)
    facts = ModelFacts(
        name=found.name,
        weights_sha256=found.weights_sha256 or weights_digest(found.network),
        num_outputs=found.num_outputs,
        classes=found.classes,
        crop=chosen.crop,
        image_size=chosen.image_size,
        resize=chosen.resize if chosen.crop == "center" else chosen.image_size,
        interpolation=chosen.interpolation,
        mean=chosen.mean,
        std=chosen.std,
        precision=options.precision,
    )
    return Classifier(found.network, facts)


def _open(options: ModelOptions) -> Opened:
    name, folder = options.model, Path(options.model)
    if name in LITE:
        return Opened(
            name=name,
            network=load_lite(name, options.weights),
            num_outputs=1000,
            classes=tuple(entry.wnid for entry in load_classes("imagenet-1k")),
            preprocessing=lite_preprocessing(name),
        )
    if (folder / RUN_FILE).is_file():
        return load_run(folder, options.weights)
    raise OptionError(f"MODEL is {', '.join(LITE)} or the folder of a training run, found {name!r}")


def _chosen(options: ModelOptions, own: Preprocessing) -> Preprocessing:
    """The model's own preprocessing with what the user gave in its place."""
    given = {
        name: getattr(options, name)
        for name in ("crop", "image_size", "resize", "interpolation", "mean", "std")
        if getattr(options, name) is not None
    }
    if "image_size" in given and "resize" not in given:
        # The same share of the image is cut out as the model was trained to see.
        given["resize"] = round(given["image_size"] * own.resize / own.image_size)
    return replace(own, **given)
