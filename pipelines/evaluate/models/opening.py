"""From what a user calls a model to a classifier.

Owns the order in which a name is understood: one of the Lite models, "timm:NAME", "clip:FOLDER", a folder (of a
training run, of timm, of transformers), a file of weights, a name of torchvision; and whose word counts on how images
are prepared: the model's own, the user's in its place, or a protocol's. Nothing is downloaded unless it is asked for;
the price is that a network without weights on this machine is refused, since predictions of random weights look like
predictions.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from shardtools.errors import OptionError, first_line
from shardtools.evaluation import ModelFacts, ModelOptions
from shardtools.evaluation.protocols import PROTOCOLS, ProtocolStep
from shardtools.pipelines.encoders.lite import LITE, lite_preprocessing, load_lite
from shardtools.pipelines.encoders.local_models import (
    CONFIG_FILE,
    PREFIXES,
    Preprocessing,
    local_folder,
    weights_digest,
)
from shardtools.pipelines.evaluate.models.classes import imagenet_wnids, output_classes
from shardtools.pipelines.evaluate.models.classifier import Classifier
from shardtools.pipelines.evaluate.models.files import network_of_file, open_timm_folder, timm_config
from shardtools.pipelines.evaluate.models.opened import Opened
from shardtools.pipelines.evaluate.models.published import TIMM, open_timm, open_torchvision
from shardtools.pipelines.evaluate.models.runs import load_run
from shardtools.pipelines.evaluate.models.zero_shot import open_zero_shot
from shardtools.training import MODEL_FILE, RUN_FILE


def load_classifier(options: ModelOptions) -> Classifier:
    """The classifier on the CPU, with its weights.

    Raises:
        OptionError: There is no such model, or no weights, or they do not fit; or the protocol does not have it.
        RunError: A library is missing, or published weights cannot be fetched.
        TaxonomyError: There are no such classes.
        PromptError: A template of a zero-shot model that the classes cannot fill.
    """
    name, step = options.model, None
    if options.protocol is not None:
        name, step = _of_protocol(options)
    found = _open(replace(options, model=name))
    chosen = _chosen(options, found.preprocessing)
    facts = ModelFacts(
        name=found.name,
        weights_sha256=found.weights_sha256 or weights_digest(found.network),
        num_outputs=found.num_outputs,
        classes=output_classes(found, options.classes),
        crop=chosen.crop,
        image_size=chosen.image_size,
        resize=chosen.resize if chosen.crop == "center" else chosen.image_size,
        interpolation=chosen.interpolation,
        mean=chosen.mean,
        std=chosen.std,
        precision=options.precision,
    )
    if step is not None:
        facts = prepared_by(facts, step)
    classifier = Classifier(found.network, facts)
    if (facts.enlarge or facts.image_size) != found.preprocessing.image_size:
        _try(classifier)
    return classifier


def prepared_by(facts: ModelFacts, step: ProtocolStep) -> ModelFacts:
    """The facts of a model whose images a protocol prepares."""
    return replace(
        facts,
        crop=step.crop,
        image_size=step.image_size,
        resize=step.resize if step.crop == "center" else step.image_size,
        interpolation=step.interpolation,
        enlarge=step.enlarge,
        mean=step.mean,
        std=step.std,
    )


def _of_protocol(options: ModelOptions) -> tuple[str, ProtocolStep]:
    """What this project calls the protocol's model, and how the set's images are prepared for it."""
    protocol = PROTOCOLS[str(options.protocol)]
    name, model = protocol.find(options.model)
    step = protocol.step(name, str(options.protocol_set))
    if model.network is None or not (model.is_published or options.weights):
        raise OptionError(f"model {name} of protocol {protocol.name} is {model.note}")
    return model.network, step


def _open(options: ModelOptions) -> Opened:
    name, path = options.model, Path(options.model)
    if name in LITE:
        return _open_lite(options)
    if name.startswith(TIMM):
        return open_timm(options, name.removeprefix(TIMM))
    # A folder with a run's record is a training run, whatever else lies in it.
    if path.is_dir() and not (path / CONFIG_FILE).is_file():
        return _open_run(options, path)
    if path.is_dir() or name.startswith(PREFIXES):
        return _open_folder(options, path)
    if path.is_file():
        return _open_file(options, path)
    return open_torchvision(options, name)


def _open_lite(options: ModelOptions) -> Opened:
    # The weights of their packages are the published ones.
    return Opened(
        name=options.model,
        network=load_lite(options.model, options.weights),
        num_outputs=1000,
        classes=imagenet_wnids(),
        preprocessing=lite_preprocessing(options.model),
    )


def _open_run(options: ModelOptions, run: Path) -> Opened:
    if options.pretrained:
        raise OptionError(f"model {run} is a training run and brings its weights: leave --pretrained out")
    return load_run(run, options.weights)


def _open_folder(options: ModelOptions, path: Path) -> Opened:
    """A folder of timm or of transformers; a prefix says that it is of the latter."""
    if (path / RUN_FILE).is_file():
        return _open_run(options, path)
    config = timm_config(path)
    if config is not None:
        return open_timm_folder(options, path, config)
    folder = local_folder(options.model)
    assert folder is not None
    return open_zero_shot(options, folder)


def _open_file(options: ModelOptions, path: Path) -> Opened:
    """A file of weights, by what lies beside it or by its name."""
    if options.weights is not None or options.pretrained:
        raise OptionError(f"model {path} is a file of weights: leave --weights and --pretrained out")
    folder = path.parent
    if (folder / RUN_FILE).is_file():
        return load_run(folder, None if path.name == MODEL_FILE else str(path))
    config = timm_config(folder)
    if config is not None:
        return open_timm_folder(replace(options, weights=str(path)), folder, config)
    return _open(replace(options, model=network_of_file(path), weights=str(path)))


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


def _try(classifier: Classifier) -> None:
    """One image of another size than the network's own: some take any, some raise whatever comes to them.

    Raises:
        OptionError: The network does not take it.
    """
    side = classifier.facts.image_size
    try:
        with torch.inference_mode():
            classifier(torch.zeros(1, 3, side, side))
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        raise OptionError(
            f"model {classifier.facts.name} does not take images of {classifier.facts.enlarge or side} pixels "
            f"({first_line(error)[:200]}): leave --image-size out"
        ) from None
