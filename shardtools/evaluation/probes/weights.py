"""Weights of a fitted classifier as a .safetensors file, with the names of its classes.

Owns the names in the file: "weight" [C, D] and "bias" [C], as torch's Linear has them, so that `shardtools train` and
anyone's own program begin with them. The price: the library that writes such files is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from shardtools.errors import DatasetError, first_line
from shardtools.evaluation.probes.logistic import Linear
from shardtools.storage import Storage

WEIGHT, BIAS = "weight", "bias"
_CLASSES = "classes"
# One entry of the file's own header: the library writes several in an order that changes from call to call, and the
# same weights would not be the same bytes.
_HEADER = "shardtools"


def weights_content(classifier: Linear, classes: tuple[str, ...], facts: Mapping[str, Any]) -> bytes:
    """The bytes of a file.

    Args:
        classifier: What is kept.
        classes: Name of each output.
        facts: What else a reader should know: values of JSON by name.
    """
    from safetensors.numpy import save

    tensors = {WEIGHT: np.ascontiguousarray(classifier.weights), BIAS: np.ascontiguousarray(classifier.intercept)}
    content: bytes = save(tensors, metadata={_HEADER: json.dumps({_CLASSES: classes, **facts})})
    return content


def read_weights(storage: Storage, path: str) -> tuple[Linear, tuple[str, ...]]:
    """A classifier and the names of its outputs.

    Raises:
        NotFoundError: There is no such file.
        DatasetError: It is damaged, or none of a probe.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = storage.read(path)
    try:
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        classes = tuple(map(str, json.loads(header["__metadata__"][_HEADER])[_CLASSES]))
        classifier = Linear(weights=tensors[WEIGHT], intercept=tensors[BIAS])
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise DatasetError(
            f"{storage.object_url(path)} holds no classifier of a probe ({first_line(error)}): remove the cell of that "
            "name beside it and run the same command again"
        ) from None
    if classifier.weights.ndim != 2 or not len(classes) == len(classifier.weights) == len(classifier.intercept):
        raise DatasetError(f"{storage.object_url(path)} has {len(classes)} classes, found {classifier.weights.shape}")
    return classifier, classes
