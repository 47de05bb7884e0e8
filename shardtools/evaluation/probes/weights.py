"""Weights of a fitted classifier as a .safetensors file, with the names of its classes.

Owns the names in the file: "weight" [C, D] and "bias" [C], as torch's Linear has them, so that `shardtools train` and
anyone's own program begin with them. The price: the library that writes such files is asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from shardtools.documents import FieldError, build
from shardtools.errors import DatasetError, first_line
from shardtools.evaluation.probes.logistic import Linear
from shardtools.storage import Storage

WEIGHT, BIAS = "weight", "bias"

# One entry of the file's own header: the library writes several in an order that changes from call to call, and the
# same weights would not be the same bytes.
_HEADER = "shardtools"
_LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFacts:
    """What a file says of its classifier.

    Attributes:
        classes: Name of each output: wnids, or class numbers where classes go by number.
        encoder: Fingerprint of the features that it was fitted to.
        l2: Whether these were divided by their length.
    """

    classes: tuple[str, ...]
    encoder: str
    l2: bool


def weights_content(classifier: Linear, facts: WeightFacts) -> bytes:
    """The bytes of a file; the same classifier gives the same."""
    from safetensors.numpy import save

    tensors = {WEIGHT: np.ascontiguousarray(classifier.weights), BIAS: np.ascontiguousarray(classifier.intercept)}
    said = {"classes": facts.classes, "encoder": facts.encoder, "l2": facts.l2}
    content: bytes = save(tensors, metadata={_HEADER: json.dumps(said)})
    return content


def read_weights(storage: Storage, path: str) -> tuple[Linear, WeightFacts]:
    """A classifier, and what its file says of it.

    Args:
        storage: The folder of a run, say.
        path: Of the file in it.

    Raises:
        NotFoundError: There is no such file.
        DatasetError: It is damaged, or none of a probe.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = storage.read(path)
    try:
        tensors = load(content)
        end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
        said = json.loads(json.loads(content[_LENGTH_BYTES:end])["__metadata__"][_HEADER])
        facts = build(WeightFacts, said)
        classifier = Linear(weights=tensors[WEIGHT], intercept=tensors[BIAS])
    except (SafetensorError, FieldError, KeyError, ValueError, TypeError) as error:
        raise DatasetError(
            f"{storage.object_url(path)} holds no classifier of a probe ({first_line(error)}): `shardtools probe` "
            "writes one, with --replace anew"
        ) from None
    if classifier.weights.ndim != 2 or not len(facts.classes) == len(classifier.weights) == len(classifier.intercept):
        raise DatasetError(
            f"{storage.object_url(path)} names {len(facts.classes)} classes, found weights {classifier.weights.shape}: "
            "begin the run anew with --replace"
        )
    return classifier, facts
