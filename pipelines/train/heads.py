"""A head that begins as a probe's classifier: linear probing, then fine-tuning (LP-FT).

Owns what of a probe fits a head: Kumar et al., "Fine-tuning can distort pretrained features and underperform
out-of-distribution" (2022), and seed 003 for its CLIP models. Outputs are found by the names of their classes. The
price of a file that says nothing of the pixels: that its features were those of this encoder is seen by their number
alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from shardtools.errors import OptionError
from shardtools.evaluation.probes import read_weights
from shardtools.pipelines.train.models import Classifier, LinearHead
from shardtools.storage import open_storage
from shardtools.training import Names

_FOLDER = "weights"
_SUFFIX = ".safetensors"


def fill_head(model: Classifier, names: Names, init_head: str) -> None:
    """Puts the classifier of a probe into the head of a model.

    Args:
        model: With a linear head and no projector.
        names: Output -> name of its class; one without a name is called by its number.
        init_head: Folder of a probe's run, `DATASET/probes/NAME`, or one of its files of weights.

    Raises:
        OptionError: It is neither, or of features of length 1, or it does not fit.
        DatasetError: The file is damaged, or none of a probe.
    """
    if not isinstance(model.head, LinearHead) or model.projector is not None:
        raise OptionError("init_head fills a head of linear outputs behind the encoder: set head=linear, no projector")
    path = weights_file(init_head)
    probe, facts = read_weights(open_storage(path.parent), path.name)
    if facts.l2:
        raise OptionError(
            f"{path} is a classifier of features of length 1, and a head sees them as they are: probe without l2 "
            "(shardtools probe --no-l2)"
        )
    dim = model.head.weight.shape[1]
    if probe.weights.shape[1] != dim:
        raise OptionError(
            f"{path}: expected a classifier of features of {dim} dimensions, which the encoder gives, found "
            f"{probe.weights.shape[1]}: probe the features of this encoder"
        )
    place_of = {name: place for place, name in enumerate(facts.classes)}
    wanted = {number: name or str(number) for number, name in names.items()}
    missing = [name for name in wanted.values() if name not in place_of]
    if missing:
        raise OptionError(
            f"{path}: expected a classifier of the {len(wanted)} classes of the training data, found none of "
            f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''} ({len(missing)} are missing): probe a "
            "dataset that has them"
        )
    outputs, places = list(wanted), [place_of[name] for name in wanted.values()]
    with torch.no_grad():
        for parameter, values in ((model.head.weight, probe.weights), (model.head.bias, probe.intercept)):
            parameter[outputs] = torch.from_numpy(np.asarray(values, np.float32)[places])


def weights_file(init_head: str) -> Path:
    """The file that a head begins as.

    Raises:
        OptionError: There is none, or the folder holds several.
    """
    given = Path(init_head)
    if given.is_file():
        return given
    found = sorted((given / _FOLDER).glob(f"*{_SUFFIX}")) if given.is_dir() else []
    if len(found) == 1:
        return found[0]
    if found:
        raise OptionError(
            f"{given} holds the classifiers of {len(found)} measurements ({', '.join(one.name for one in found[:3])}"
            f"{', ...' if len(found) > 3 else ''}): give one of the files in {given / _FOLDER}"
        )
    raise OptionError(
        f"init_head {init_head}: expected the folder of a probe's run with {_FOLDER}/, or one of its {_SUFFIX} files, "
        "found neither: `shardtools probe` makes it"
    )
